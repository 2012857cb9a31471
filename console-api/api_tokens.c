/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include "console-api/console.h"
#include "console-api/form.h"
#include "console-api/jointoken.h"

int api_token_list(struct console *c, struct request *q)
{
	struct json_object *list;
	int rc = jointoken_list(c->registry, q->actor.org, target_query(&q->target, "network"),
		&q->page, &list, &q->problem);

	return rc ? rc : request_reply(q, 200, list);
}

int api_token_issue(struct console *c, struct request *q)
{
	struct jointoken_spec spec;
	struct json_object *view;
	int rc = jointoken_spec_from_json(q->json, &spec, &q->problem);

	if (!rc)
		rc = jointoken_issue(
			c->registry, &q->actor, q->params[0], &spec, &view, &q->problem);
	return rc ? rc : request_reply(q, 201, view);
}

int api_token_get(struct console *c, struct request *q)
{
	struct json_object *view;
	int rc = jointoken_view(c->registry, q->actor.org, q->params[0], &view, &q->problem);

	return rc ? rc : request_reply(q, 200, view);
}

int api_token_revoke(struct console *c, struct request *q)
{
	int rc = jointoken_revoke(c->registry, &q->actor, q->params[0], q->if_match, &q->problem);

	return rc ? rc : request_reply_none(q);
}

int api_node_rekey(struct console *c, struct request *q)
{
	struct json_object *view;
	int64_t ttl_s = 3600;
	struct form f;
	int rc;

	form_init(&f, q->json, &q->problem);
	form_int(&f, "ttl_s", FORM_OPTIONAL, 1, JOINTOKEN_TTL_MAX_S, &ttl_s);
	rc = form_end(&f);
	if (!rc)
		rc = jointoken_issue_rekey(
			c->registry, &q->actor, q->params[0], ttl_s, &view, &q->problem);
	return rc ? rc : request_reply(q, 201, view);
}
