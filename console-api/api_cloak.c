/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include <stdlib.h>
#include <string.h>
#include "console-api/cloak.h"
#include "console-api/console.h"
#include "lib/clock.h"

static uint64_t now_s(void)
{
	return clock_wall_ns() / NS_PER_S;
}

int request_confirm_within(struct request *q, int64_t *ret_s)
{
	const char *text = target_query(&q->target, "confirm_within_s");
	char *end;
	long value;

	*ret_s = CLOAK_CONFIRM_DEFAULT_S;
	if (!text)
		return 0;
	value = strtol(text, &end, 10);
	if (!text[0] || strlen(text) > 6 || *end || text[strspn(text, "0123456789")] ||
		(value && (value < CLOAK_CONFIRM_MIN_S || value > CLOAK_CONFIRM_MAX_S)))
		return problem_set(&q->problem, 400, "invalid",
			"confirm_within_s must be 0 or a number of seconds from %d to %d",
			CLOAK_CONFIRM_MIN_S, CLOAK_CONFIRM_MAX_S);
	*ret_s = value;
	return 0;
}

static int edit_of(struct request *q, struct cloak_edit *ret_edit)
{
	*ret_edit = (struct cloak_edit){.actor = &q->actor,
		.net_ref = q->params[0],
		.if_match = q->if_match,
		.now_s = now_s()};
	return request_confirm_within(q, &ret_edit->confirm_within_s);
}

static int reply_cloak(struct console *c, struct request *q)
{
	struct json_object *o;
	int rc = cloak_view(c->registry, q->actor.org, q->params[0], now_s(), &o, &q->problem);

	return rc ? rc : request_reply(q, 200, o);
}

int api_cloak_get(struct console *c, struct request *q)
{
	return reply_cloak(c, q);
}

int api_cloak_change(struct console *c, struct request *q)
{
	struct cloak_edit edit;
	int rc = edit_of(q, &edit);

	if (!rc)
		rc = cloak_change(c->registry, &edit, q->json, &q->problem);
	return rc ? rc : reply_cloak(c, q);
}

int api_cloak_confirm(struct console *c, struct request *q)
{
	struct cloak_edit edit;
	int rc = edit_of(q, &edit);

	if (!rc)
		rc = cloak_confirm(c->registry, &edit, &q->problem);
	return rc ? rc : reply_cloak(c, q);
}

/* -- rules -- */

static int reply_rule(struct console *c, struct request *q, int status, const char *id)
{
	struct json_object *o;
	int rc = cloak_rule_view(
		c->registry, q->actor.org, q->params[0], id, now_s(), &o, &q->problem);

	return rc ? rc : request_reply(q, status, o);
}

int api_cloak_rule_list(struct console *c, struct request *q)
{
	struct json_object *o;
	int rc = cloak_rule_list(
		c->registry, q->actor.org, q->params[0], now_s(), &q->page, &o, &q->problem);

	return rc ? rc : request_reply(q, 200, o);
}

int api_cloak_rule_create(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	struct cloak_edit edit;
	int rc = edit_of(q, &edit);

	if (!rc)
		rc = cloak_rule_create(c->registry, &edit, q->json, id, &q->problem);
	return rc ? rc : reply_rule(c, q, 201, id);
}

int api_cloak_rule_get(struct console *c, struct request *q)
{
	return reply_rule(c, q, 200, q->params[1]);
}

int api_cloak_rule_change(struct console *c, struct request *q)
{
	struct cloak_edit edit;
	int rc = edit_of(q, &edit);

	if (!rc)
		rc = cloak_rule_change(c->registry, &edit, q->params[1], q->json, &q->problem);
	return rc ? rc : reply_rule(c, q, 200, q->params[1]);
}

int api_cloak_rule_delete(struct console *c, struct request *q)
{
	struct cloak_edit edit;
	int rc = edit_of(q, &edit);

	if (!rc)
		rc = cloak_rule_delete(c->registry, &edit, q->params[1], &q->problem);
	return rc ? rc : request_reply_none(q);
}
