/* SPDX-License-Identifier: Apache-2.0 */
/* The audit trail as people see it: the rows of their organization. */
#include "console-api/api.h"

#include <string.h>
#include "console-api/apikey.h"
#include "console-api/console.h"
#include "console-api/node.h"
#include "lib/cleanup.h"
#include "lib/json.h"

/* Of a key or node of the organization, "key:ID" or "node:ID"; those of others are none of its
 * business. Null: there is none, or it is gone. */
static int add_actor_name(
	struct registry *r, const struct actor *asker, struct json_object *row, struct problem *p)
{
	CLEANUP(json) struct json_object *key = NULL;
	CLEANUP(record) struct record node = {0};
	const char *who = record_text(row, "actor"), *name = NULL;
	struct actor first = *asker;
	struct problem why = {0};
	int rc = 0;

	strcpy(first.org, ORG_DEFAULT);
	if (!strncmp(who, "key:", 4)) {
		rc = apikey_view(r, asker, who + 4, &key, &why);
		if (rc == -VAN_E_NOT_FOUND && asker->role == ROLE_CONSOLE)
			rc = apikey_view(r, &first, who + 4, &key, &why);
		name = rc ? NULL : record_text(key, "name");
	} else if (!strncmp(who, "node:", 5)) {
		rc = node_load(r, who + 5, &node, &why);
		if (!rc && !strcmp(record_org(node.o), asker->org))
			name = record_text(node.o, "name");
	}
	json_set_string(row, "actor_name", name);
	if (!rc || rc == -ENOENT || rc == -VAN_E_NOT_FOUND)
		return 0;
	*p = why;
	return rc;
}

static int view_row(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	CLEANUP(json) struct json_object *row = NULL;
	int rc;

	if (json_parse(item->value, strlen(item->value), &row, NULL))
		return problem_from_store(p, -VAN_E_CORRUPT);
	rc = add_actor_name(r, ctx, row, p);
	if (rc)
		return rc;
	record_empty_is_null(row, "address");
	record_empty_is_null(row, "org");
	record_empty_is_null(row, "request");
	*ret_view = STEAL(row);
	return 0;
}

int api_audit_list(struct console *c, struct request *q)
{
	struct json_object *list;
	int rc;

	/* A console administrator sees besides what belongs to no organization. */
	if (q->actor.role == ROLE_CONSOLE)
		q->page.also = "/audit/" ORG_NONE "/";
	rc = page_list(c->registry, KEY("/audit/%s/", q->actor.org), &q->page, view_row, &q->actor,
		&list, &q->problem);
	return rc ? rc : request_reply(q, 200, list);
}
