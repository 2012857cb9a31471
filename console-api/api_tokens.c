/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include "console-api/console.h"
#include "console-api/jointoken.h"

int api_token_list(struct console *c, struct request *q)
{
	static const char *const parameters[] = {"network", "limit", "cursor", NULL};
	struct json_object *list;
	struct page page;
	int rc = request_query_only(q, parameters);

	if (!rc)
		rc = request_page(q, &page);
	if (!rc)
		rc = jointoken_list(c->registry, target_query(&q->target, "network"), &page, &list,
			&q->problem);
	return rc ? rc : request_reply(q, 200, list);
}

int api_token_issue(struct console *c, struct request *q)
{
	struct jointoken_spec spec;
	struct json_object *body, *view;
	int rc = request_json(q, true, &body);

	if (!rc)
		rc = jointoken_spec_from_json(body, &spec, &q->problem);
	if (!rc)
		rc = jointoken_issue(
			c->registry, &q->actor, q->params[0], &spec, &view, &q->problem);
	if (rc)
		return rc;
	return request_reply_revision(q, 201, view, (uint64_t)record_int(view, "revision"));
}

int api_token_revoke(struct console *c, struct request *q)
{
	int rc = jointoken_revoke(c->registry, &q->actor, q->params[0], q->if_match, &q->problem);

	return rc ? rc : request_reply_none(q);
}
