/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include "console-api/console.h"
#include "console-api/network.h"

int api_network_list(struct console *c, struct request *q)
{
	struct json_object *list;
	int rc = network_list(c->registry, q->actor.org, &q->page, &list, &q->problem);

	return rc ? rc : request_reply(q, 200, list);
}

static int reply_network(struct console *c, struct request *q, int status, const char *id)
{
	struct json_object *view;
	int rc = network_view(c->registry, id, &view, &q->problem);

	return rc ? rc : request_reply(q, status, view);
}

int api_network_create(struct console *c, struct request *q)
{
	struct network_spec spec;
	struct network net;
	int rc = network_spec_from_json(q->json, &spec, &q->problem);

	if (!rc)
		rc = network_create(c->registry, &q->actor, &spec, &net, &q->problem);
	return rc ? rc : reply_network(c, q, 201, net.id);
}

int api_network_get(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = registry_resolve(
		c->registry, q->actor.org, "network", q->params[0], id, &q->problem);

	return rc ? rc : reply_network(c, q, 200, id);
}

int api_network_change(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = network_change(
		c->registry, &q->actor, q->params[0], q->json, q->if_match, id, &q->problem);

	return rc ? rc : reply_network(c, q, 200, id);
}

int api_network_delete(struct console *c, struct request *q)
{
	int rc = network_delete(c->registry, &q->actor, q->params[0], q->if_match, &q->problem);

	return rc ? rc : request_reply_none(q);
}
