/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/agent.h"
#include "console-api/console.h"
#include "console-api/jointoken.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/netmap.h"

#define WAIT_MAX_S 60

static struct json_object *id_and_name(const char *id, const char *name)
{
	struct json_object *o = json_object_new_object();

	json_set_string(o, "id", id);
	json_set_string(o, "name", name);
	return o;
}

/* Before the signature: anybody can sign with a key of his own making, and what is signed takes
 * room in the table of nonces. */
static int check_token_known(struct console *c, struct request *q, const struct enrolment *en)
{
	struct record token = {0};
	int rc = jointoken_find(c->registry, en->secret, &token, &q->problem);

	record_done(&token);
	return rc;
}

int api_agent_enroll(struct console *c, struct request *q)
{
	struct auth_client client = {.address = q->client,
		.authorization = q->authorization,
		.now_ns = clock_boottime_ns(),
		.now_s = clock_wall_ns() / NS_PER_S};
	const struct agentsig_request signed_part = {.method = q->method_text,
		.path = q->raw_target,
		.body = q->body,
		.body_len = q->body_len};
	struct enrolled done = {0};
	struct enrolment en = {0};
	struct json_object *body, *o;
	int rc = auth_enrolment_rate(c->auth, &client, &q->problem);

	if (!rc)
		rc = request_json(q, false, &body);
	if (!rc)
		rc = enrolment_from_json(body, &en, &q->problem);
	if (!rc)
		rc = check_token_known(c, q, &en);
	if (!rc)
		rc = auth_enrolment(
			c->auth, &client, &signed_part, &en.sign_key, &q->actor, &q->problem);
	if (!rc)
		rc = agent_enroll(c->registry, &q->actor, &en, client.now_s, &done, &q->problem);
	sodium_memzero(&en, sizeof(en));
	if (rc)
		return rc;
	soft_seen(c->registry->soft, done.node_id, client.now_ns, clock_wall_ns());
	o = json_object_new_object();
	json_object_object_add(o, "node", id_and_name(done.node_id, done.node_name));
	json_set_string(o, "console", c->registry->console_id);
	json_set_string(o, "mesh", c->registry->mesh_hex);
	json_object_object_add(o, "network", id_and_name(done.net_id, done.net_name));
	json_set_int(o, "server_time", (int64_t)client.now_s);
	return request_reply(q, done.created ? 201 : 200, o);
}

/* What `since` says of a map with this number: 0 answer it, HANDLER_WAIT, or 503. */
static int compare_since(struct console *c, struct request *q, const char *since, uint64_t number)
{
	uint64_t generation, had;
	int rc;

	if (!since)
		return 0;
	if (!netmap_revision_parse(since, &generation, &had))
		return problem_set(&q->problem, 400, "invalid",
			"since must be the revision of a netmap, HEX16.N");
	if (generation != c->registry->store->generation || had < number)
		return 0;
	if (had == number)
		return HANDLER_WAIT;
	/* The node has seen more than this store knows: never take it back. */
	rc = problem_set(&q->problem, 503, "store_behind",
		"the console's store is behind what the node has: wait until it has caught up");
	q->problem.retry_after_s = 5;
	return rc;
}

static int read_wait(struct request *q, uint64_t *ret_wait_s)
{
	const char *text = target_query(&q->target, "wait");
	char *end;

	*ret_wait_s = 0;
	if (!text)
		return 0;
	*ret_wait_s = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end)
		return problem_set(&q->problem, 400, "invalid",
			"wait must be a number of seconds; more than %d count as %d", WAIT_MAX_S,
			WAIT_MAX_S);
	if (*ret_wait_s > WAIT_MAX_S)
		*ret_wait_s = WAIT_MAX_S;
	return 0;
}

/* Called again for a request that waited, whenever its map may have changed. */
int api_agent_netmap(struct console *c, struct request *q)
{
	const char *since = target_query(&q->target, "since");
	struct json_object *o;
	uint64_t number, wait_s;
	int rc = read_wait(q, &wait_s);

	if (!rc)
		rc = agent_netmap_number(c->registry, q->node_id, &number, &q->scope, &q->problem);
	if (!rc)
		rc = compare_since(c, q, since, number);
	if (rc < 0)
		return rc;
	if (!q->was_waiting)
		q->deadline_ns = q->started_ns + wait_s * NS_PER_S;
	if (rc == HANDLER_WAIT)
		return clock_boottime_ns() < q->deadline_ns ? rc : request_reply_none(q);
	rc = agent_netmap_json(c->registry, q->node_id, &o, &q->problem);
	return rc ? rc : request_reply(q, 200, o);
}

int api_agent_report(struct console *c, struct request *q)
{
	struct agent_report report;
	struct json_object *body, *o;
	int rc = request_json(q, false, &body);

	if (!rc)
		rc = agent_report_from_json(body, &report, &q->problem);
	if (!rc)
		rc = agent_apply_report(c->registry, q->node_id, &report, &q->client, &q->problem);
	if (rc)
		return rc;
	o = json_object_new_object();
	json_set_int(o, "interval_s", AGENT_REPORT_INTERVAL_S);
	return request_reply(q, 200, o);
}

int api_agent_leave(struct console *c, struct request *q)
{
	int rc = agent_leave(c->registry, &q->actor, q->node_id, q->params[0], &q->problem);

	return rc ? rc : request_reply_none(q);
}
