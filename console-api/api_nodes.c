/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include "console-api/console.h"
#include "console-api/member.h"
#include "console-api/node.h"
#include "lib/json.h"

static const char *const page_parameters[] = {"limit", "cursor", NULL};

/* -- nodes -- */

int api_node_list(struct console *c, struct request *q)
{
	struct json_object *list;
	struct page page;
	int rc = request_query_only(q, page_parameters);

	if (!rc)
		rc = request_page(q, &page);
	if (!rc)
		rc = node_list(c->registry, &page, &list, &q->problem);
	return rc ? rc : request_reply(q, 200, list);
}

int api_node_get(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	struct json_object *view;
	uint64_t revision;
	int rc = node_by_ref(c->registry, q->params[0], id, &q->problem);

	if (!rc)
		rc = node_view(c->registry, id, &view, &revision, &q->problem);
	return rc ? rc : request_reply_revision(q, 200, view, revision);
}

int api_node_delete(struct console *c, struct request *q)
{
	int rc = node_remove(c->registry, &q->actor, q->params[0], q->if_match, &q->problem);

	return rc ? rc : request_reply_none(q);
}

/* -- members -- */

int api_member_list(struct console *c, struct request *q)
{
	struct json_object *list;
	struct page page;
	int rc = request_query_only(q, page_parameters);

	if (!rc)
		rc = request_page(q, &page);
	if (!rc)
		rc = member_list(c->registry, q->params[0], &page, &list, &q->problem);
	return rc ? rc : request_reply(q, 200, list);
}

static int reply_member(struct console *c, struct request *q, int status, const char *node_ref)
{
	struct json_object *view;
	uint64_t revision;
	int rc = member_view(c->registry, q->params[0], node_ref, &view, &revision, &q->problem);

	return rc ? rc : request_reply_revision(q, status, view, revision);
}

/* The member "address" of a body; NULL when it is absent. */
static int read_address(
	struct request *q, struct json_object *body, struct ip *address, bool *ret_has_address)
{
	const char *text = NULL;
	struct err e = {0};

	if (json_opt_string(body, "", "address", 1, 64, &text, &e))
		return problem_from_json(&q->problem, &e);
	if (text && !ip_parse(text, address))
		return problem_invalid(&q->problem, "/address",
			"/address: must be an address without a prefix length");
	*ret_has_address = text != NULL;
	return 0;
}

int api_member_add(struct console *c, struct request *q)
{
	static const char *const known[] = {"node", "address", NULL};
	struct json_object *body;
	struct ip address;
	bool has_address = false;
	struct err e = {0};
	const char *node;
	int rc = request_json(q, false, &body);

	if (rc)
		return rc;
	if (json_only(body, "", known, &e) ||
		json_get_string(body, "", "node", 1, NETMAP_NAME_MAX, &node, &e))
		return problem_from_json(&q->problem, &e);
	rc = read_address(q, body, &address, &has_address);
	if (!rc)
		rc = member_add(c->registry, &q->actor, q->params[0], node,
			has_address ? &address : NULL, &q->problem);
	return rc ? rc : reply_member(c, q, 201, node);
}

int api_member_get(struct console *c, struct request *q)
{
	return reply_member(c, q, 200, q->params[1]);
}

/* A merge patch (RFC 7396) of what can be set; null would remove, and neither can be removed. */
int api_member_change(struct console *c, struct request *q)
{
	static const char *const known[] = {"address", "name", NULL};
	struct member_change change = {0};
	char node_id[NETMAP_ID_MAX + 1];
	struct json_object *body;
	struct err e = {0};
	int rc = request_json(q, false, &body);

	if (rc)
		return rc;
	if (json_only(body, "", known, &e) ||
		json_opt_string(body, "", "name", 1, 255, &change.name, &e))
		return problem_from_json(&q->problem, &e);
	json_object_object_foreach(body, member, value)
	{
		if (!value)
			return problem_set(&q->problem, 400, "invalid",
				"/%s: cannot be removed, only changed", member);
	}
	if (change.name && !netmap_name_valid(change.name))
		return problem_invalid(&q->problem, "/name",
			"/name: must be 1 to 63 characters of a-z, 0-9 and -, no hyphen at the ends");
	rc = read_address(q, body, &change.address, &change.has_address);
	if (!rc)
		rc = member_change(c->registry, &q->actor, q->params[0], q->params[1], &change,
			q->if_match, node_id, &q->problem);
	return rc ? rc : reply_member(c, q, 200, node_id);
}

int api_member_remove(struct console *c, struct request *q)
{
	int rc = member_remove(
		c->registry, &q->actor, q->params[0], q->params[1], q->if_match, &q->problem);

	return rc ? rc : request_reply_none(q);
}
