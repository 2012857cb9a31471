/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include "console-api/console.h"
#include "console-api/network.h"

static const char *const page_parameters[] = {"limit", "cursor", NULL};

int api_network_list(struct console *c, struct request *q)
{
	struct json_object *list;
	struct page page;
	int rc = request_query_only(q, page_parameters);

	if (!rc)
		rc = request_page(q, &page);
	if (!rc)
		rc = network_list(c->registry, &page, &list, &q->problem);
	return rc ? rc : request_reply(q, 200, list);
}

static int reply_network(
	struct console *c, struct request *q, int status, const struct network *net)
{
	struct json_object *view;
	int rc = network_view(c->registry, net, &view, &q->problem);

	return rc ? rc : request_reply_revision(q, status, view, net->mod_revision);
}

int api_network_create(struct console *c, struct request *q)
{
	struct json_object *body;
	struct network_spec spec;
	struct network net;
	int rc = request_json(q, false, &body);

	if (!rc)
		rc = network_spec_from_json(body, &spec, &q->problem);
	if (!rc)
		rc = network_create(c->registry, &q->actor, &spec, &net, &q->problem);
	return rc ? rc : reply_network(c, q, 201, &net);
}

int api_network_get(struct console *c, struct request *q)
{
	struct network net;
	int rc = network_by_ref(c->registry, q->params[0], &net, &q->problem);

	return rc ? rc : reply_network(c, q, 200, &net);
}

int api_network_delete(struct console *c, struct request *q)
{
	int rc = network_delete(c->registry, &q->actor, q->params[0], q->if_match, &q->problem);

	return rc ? rc : request_reply_none(q);
}
