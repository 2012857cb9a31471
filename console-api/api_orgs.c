/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include "console-api/apikey.h"
#include "console-api/console.h"
#include "console-api/org.h"
#include "lib/cleanup.h"
#include "lib/json.h"

/* Who the key is, and where it acts. */
int api_whoami(struct console *c, struct request *q)
{
	static const char *const of_key[] = {"name", "user", "user_name", "expires_at"};
	CLEANUP(json) struct json_object *org = NULL;
	CLEANUP(json) struct json_object *key = NULL;
	struct json_object *o;
	int rc = org_view(c->registry, q->actor.org, &org, &q->problem);

	if (!rc)
		rc = apikey_view_hashed(c->registry, q->key_hash, &key, &q->problem);
	if (rc)
		return rc;
	o = json_object_new_object();
	json_set_string(o, "actor", q->actor.who);
	for (size_t i = 0; i < sizeof(of_key) / sizeof(of_key[0]); i++)
		json_object_object_add(
			o, of_key[i], json_object_get(json_object_object_get(key, of_key[i])));
	json_set_string(o, "role", role_name(q->actor.role));
	json_set_string(o, "organization", q->actor.org);
	json_set_string(o, "organization_name", record_text(org, "name"));
	return request_reply(q, 200, o);
}

int api_org_list(struct console *c, struct request *q)
{
	struct json_object *list;
	int rc = org_list(c->registry, &q->actor, &q->page, &list, &q->problem);

	return rc ? rc : request_reply(q, 200, list);
}

static int reply_org(struct console *c, struct request *q, int status, const char *id)
{
	CLEANUP(json) struct json_object *view = NULL;
	struct json_object *usage;
	int rc = org_view(c->registry, id, &view, &q->problem);

	if (!rc)
		rc = quota_usage(c->registry, id, &usage, &q->problem);
	if (rc)
		return rc;
	json_object_object_add(view, "usage", usage);
	return request_reply(q, status, STEAL(view));
}

int api_org_create(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = org_create(c->registry, &q->actor, q->json, id, &q->problem);

	return rc ? rc : reply_org(c, q, 201, id);
}

int api_org_get(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = org_by_ref(c->registry, &q->actor, q->params[0], id, &q->problem);

	return rc ? rc : reply_org(c, q, 200, id);
}

int api_org_change(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = org_change(
		c->registry, &q->actor, q->params[0], q->json, q->if_match, id, &q->problem);

	return rc ? rc : reply_org(c, q, 200, id);
}

int api_org_delete(struct console *c, struct request *q)
{
	int rc = org_delete(c->registry, &q->actor, q->params[0], q->if_match, &q->problem);

	return rc ? rc : request_reply_none(q);
}
