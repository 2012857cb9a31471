/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include "console-api/console.h"
#include "console-api/form.h"
#include "console-api/member.h"
#include "console-api/node.h"

/* -- nodes -- */

int api_node_list(struct console *c, struct request *q)
{
	struct json_object *list;
	int rc = node_list(c->registry, q->actor.org, &q->page, &list, &q->problem);

	return rc ? rc : request_reply(q, 200, list);
}

static int reply_node(struct console *c, struct request *q, const char *id)
{
	struct json_object *view;
	int rc = node_view(c->registry, id, &view, NULL, &q->problem);

	return rc ? rc : request_reply(q, 200, view);
}

int api_node_get(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = node_by_ref(c->registry, q->actor.org, q->params[0], id, &q->problem);

	return rc ? rc : reply_node(c, q, id);
}

int api_node_change(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = node_change(
		c->registry, &q->actor, q->params[0], q->json, q->if_match, id, &q->problem);

	return rc ? rc : reply_node(c, q, id);
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
	int rc = member_list(c->registry, q->actor.org, q->params[0], &q->page, &list, &q->problem);

	return rc ? rc : request_reply(q, 200, list);
}

static int reply_member(struct console *c, struct request *q, int status, const char *node_ref)
{
	struct json_object *view;
	int rc = member_view(
		c->registry, q->actor.org, q->params[0], node_ref, &view, NULL, &q->problem);

	return rc ? rc : request_reply(q, status, view);
}

int api_member_add(struct console *c, struct request *q)
{
	const char *node = "";
	struct ip address;
	bool has_address;
	struct form f;
	int rc;

	form_init(&f, q->json, &q->problem);
	form_string(&f, "node", FORM_REQUIRED, 1, NETMAP_NAME_MAX, &node);
	has_address = form_ip(&f, "address", FORM_OPTIONAL, &address);
	rc = form_end(&f);
	if (!rc)
		rc = member_add(c->registry, &q->actor, q->params[0], node,
			has_address ? &address : NULL, &q->problem);
	return rc ? rc : reply_member(c, q, 201, node);
}

int api_member_get(struct console *c, struct request *q)
{
	return reply_member(c, q, 200, q->params[1]);
}

/* A merge patch (RFC 7396) of what can be set; null would remove, and nothing of it can be. */
int api_member_change(struct console *c, struct request *q)
{
	struct member_change change = {0};
	char node_id[NETMAP_ID_MAX + 1], name[NETMAP_NAME_MAX + 1];
	bool approved = true;
	struct form f;
	int rc;

	form_init(&f, q->json, &q->problem);
	json_object_object_foreach(q->json, member, value)
	{
		if (!value)
			form_fail(&f, member, "cannot be removed, only changed");
	}
	if (form_name(&f, "name", FORM_OPTIONAL, name))
		change.name = name;
	change.has_address = form_ip(&f, "address", FORM_OPTIONAL, &change.address);
	change.approve = form_bool(&f, "approved", FORM_OPTIONAL, &approved);
	if (!approved)
		form_fail(&f, "approved", "cannot be taken back: disable the node or remove it");
	rc = form_end(&f);
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
