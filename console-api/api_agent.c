/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/agent.h"
#include "console-api/agent_clone.h"
#include "console-api/console.h"
#include "console-api/consoles.h"
#include "console-api/jointoken.h"
#include "console-api/judge.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/agenthello.h"
#include "lib/netmap.h"
#include "lib/netmap_delta.h"

#define WAIT_MAX_S 60
/* Of a node's long polls: how long it hears nothing more of networks after it has, for each member
 * of them. When many change at once (a hundred nodes that start together), each then hears of
 * several changes together, and the console is not busy with telling. */
#define QUIET_MEMBER_NS (400 * 1000ull)
#define QUIET_MAX_NS    (4 * NS_PER_S)
#define QUIET_GRID_NS   (20 * NS_PER_MS) /* so that those who wait for the same are woken together */
#define VERSION_OLD     "0.1"            /* of agents that do not say */

static struct json_object *id_and_name(const char *id, const char *name)
{
	struct json_object *o = json_object_new_object();

	json_set_string(o, "id", id);
	json_set_string(o, "name", name);
	return o;
}

/* -- who the agent is -- */

static int check_version(struct request *q, const char *version)
{
	if (agenthello_fits(VAN_VERSION, version))
		return 0;
	return problem_set(&q->problem, 403, "version_skew",
		"this vand is version %.40s and the console " VAN_VERSION
		": at most one minor release may lie between them; upgrade the older one",
		version);
}

/* The header VAN-Agent, checked. *ret_hello is NULL when there is none. version: what the body says
 * for agents that send none. */
static int read_hello(struct request *q, const char *version, struct agenthello *hello,
	const struct agenthello **ret_hello)
{
	const char *text =
		MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, AGENTHELLO_NAME);

	*ret_hello = NULL;
	if (!text)
		return check_version(q, version[0] ? version : VERSION_OLD);
	if (agenthello_parse(text, hello))
		return problem_set(&q->problem, 400, "invalid",
			"the header " AGENTHELLO_NAME
			" must be version=TEXT,protocol=N,instance=HEX16,start=N");
	*ret_hello = hello;
	return check_version(q, hello->version);
}

/* At the first look at a request of a node. */
static int meet(struct console *c, struct request *q, const char *version)
{
	const struct agenthello *said;
	struct agenthello hello;
	int rc = read_hello(q, version, &hello, &said);

	if (rc)
		return rc;
	return agent_clone_check(c->registry, q->node.id, said, q->node.signed_s, &q->client,
		clock_boottime_ns(), clock_wall_ns() / NS_PER_S, &q->problem);
}

/* -- enrolment -- */

/* Adds where the mesh's consoles are, and which of them this is. */
static int add_consoles(struct console *c, struct json_object *o, struct problem *p)
{
	struct json_object *consoles, *list;
	int rc = consoles_map(c->registry, &consoles, p);

	if (rc)
		return rc;
	list = json_object_new_array();
	json_object_object_foreach(consoles, id, console)
	{
		(void)id;
		json_object_array_add(list, json_object_get(console));
	}
	json_object_put(consoles);
	json_object_object_add(o, "consoles", list);
	json_set_string(o, "self", c->registry->self_id);
	return 0;
}

int api_agent_enroll(struct console *c, struct request *q)
{
	const struct auth_client client = judge_client(q);
	const struct agentsig_request signed_part = {.method = q->method_text,
		.path = q->raw_target,
		.body = q->body,
		.body_len = q->body_len};
	const struct agenthello *said;
	struct agenthello hello;
	struct enrolled done = {0};
	struct enrolment en = {0};
	struct json_object *o;
	int rc = enrolment_from_json(q->json, &en, &q->problem);

	if (!rc)
		rc = read_hello(q, en.version, &hello, &said);
	en.silent = !rc && !said;
	if (!rc)
		rc = agent_enroll_check(c->registry, &en, client.now_s, &q->problem);
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
	json_set_bool(o, "approved", done.approved);
	json_set_int(o, "server_time", (int64_t)client.now_s);
	rc = add_consoles(c, o, &q->problem);
	if (rc) {
		json_object_put(o);
		return rc;
	}
	return request_reply(q, done.created ? 201 : 200, o);
}

/* -- netmaps -- */

/* What a netmap is asked for with. */
struct wish {
	bool has_since;
	uint64_t generation, since;
	uint64_t wait_s;
	bool patch; /* it may be one */
};

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

/* Whether a media type is in the Accept header (RFC 9110 §12.5.1), its weight aside. */
static bool accepts(struct request *q, const char *type)
{
	const char *at = MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "Accept");
	size_t len = strlen(type);

	for (; at && *at; at += strcspn(at, ",")) {
		at += strspn(at, " \t,");
		if (!strncasecmp(at, type, len) && strchr(" \t,;", at[len]))
			return true;
	}
	return false;
}

static int read_wish(struct console *c, struct request *q, struct wish *ret_wish)
{
	const char *since = target_query(&q->target, "since");
	struct wish w = {.has_since = since};
	int rc = read_wait(q, &w.wait_s);

	if (rc)
		return rc;
	if (since && !netmap_revision_parse(since, &w.generation, &w.since))
		return problem_set(&q->problem, 400, "invalid",
			"since must be the revision of a netmap, HEX16.N");
	/* A map of another store says nothing about this one. */
	w.has_since = since && w.generation == c->registry->store->generation;
	w.patch = w.has_since && accepts(q, NETMAP_DELTA_TYPE);
	*ret_wish = w;
	return 0;
}

/*
 * The node has seen more than this store knows: never take it back. Another console has told it, and
 * this one will know in a moment, or it was restored from a backup.
 */
static int behind(struct request *q, uint64_t now_ns)
{
	int rc;

	if (now_ns < q->deadline_ns)
		return HANDLER_WAIT;
	rc = problem_set(&q->problem, 503, "store_behind",
		"the console's store is behind what the node has: wait until it has caught up");
	q->problem.retry_after_s = 5;
	return rc;
}

/* Whether to answer a long poll that has news now: 0 or HANDLER_WAIT. What concerns the node alone,
 * and that somebody is shut out, it hears at once. */
static int pace(
	struct console *c, struct request *q, uint64_t since, uint64_t now_ns, uint64_t end_ns)
{
	struct soft_node *soft = soft_node(c->registry->soft, q->node.id);

	q->quiet_ns = 0;
	if (now_ns >= end_ns || !soft->answered_ns || q->scope.pressed > since)
		return 0;
	q->quiet_ns = q->scope.members * QUIET_MEMBER_NS;
	if (q->quiet_ns > QUIET_MAX_NS)
		q->quiet_ns = QUIET_MAX_NS;
	q->quiet_ns += soft->answered_ns + QUIET_GRID_NS - 1;
	q->quiet_ns -= q->quiet_ns % QUIET_GRID_NS;
	return now_ns < q->quiet_ns ? HANDLER_WAIT : 0;
}

static int send_netmap(struct console *c, struct request *q, const struct wish *w, uint64_t now_ns)
{
	struct agent_answer answer;
	int rc = agent_netmap(
		c->registry, q->node.id, w->patch ? &w->since : NULL, &answer, &q->problem);

	if (rc)
		return rc;
	if (w->has_since)
		soft_node(c->registry->soft, q->node.id)->answered_ns = now_ns;
	return request_reply_pieces(
		q, answer.patch ? NETMAP_DELTA_TYPE : "application/json", &answer);
}

/* The node may have other keys by now: whoever waits with the old ones is to hear nothing more. */
static int check_key(struct console *c, struct request *q)
{
	char hex[2 * KEY_LEN + 1], id[NETMAP_ID_MAX + 1];
	int rc;

	hash_hex(q->node.sign_key.bytes, KEY_LEN, hex);
	rc = registry_index(c->registry, KEY("/sign-keys/%s", hex), id, NULL, &q->problem);
	if (rc == -ENOENT || (!rc && strcmp(id, q->node.id) != 0))
		return problem_set(&q->problem, 401, "unauthenticated",
			"the node has enrolled again, with other keys than this request's");
	return rc;
}

/* Called again for a request that waited, whenever its map may have changed: whether the node may
 * still ask may have, too. */
int api_agent_netmap(struct console *c, struct request *q)
{
	uint64_t now_ns = clock_boottime_ns(), number, end_ns;
	struct wish w;
	int rc = read_wish(c, q, &w);

	if (!rc)
		rc = agent_netmap_number(c->registry, q->node.id, &number, &q->scope, &q->problem);
	if (!rc)
		rc = check_key(c, q);
	if (!rc && q->was_waiting && !q->deadline_ns)
		return request_reply_none(q); /* the node has sent another one */
	if (!rc)
		rc = meet(c, q, "");
	if (rc)
		return rc;
	end_ns = q->started_ns + w.wait_s * NS_PER_S;
	q->deadline_ns = end_ns;
	if (!w.has_since)
		return send_netmap(c, q, &w, now_ns);
	if (w.since > number)
		return behind(q, now_ns);
	rc = pace(c, q, w.since, now_ns, end_ns);
	if (w.since == number)
		return now_ns < end_ns ? HANDLER_WAIT : request_reply_none(q);
	if (rc == HANDLER_WAIT) {
		if (q->deadline_ns > q->quiet_ns)
			q->deadline_ns = q->quiet_ns;
		return rc;
	}
	return send_netmap(c, q, &w, now_ns);
}

/* -- the rest -- */

/* What a node counts in networks that it is not in is nobody's. */
static bool is_member(void *ctx, const char *net_id, const char *node_id)
{
	struct registry *r = ctx;
	struct store_item item;
	int rc = store_get(r->store, KEY("/members/%s/%s", net_id, node_id), &item);

	if (!rc)
		store_item_done(&item);
	return !rc;
}

int api_agent_report(struct console *c, struct request *q)
{
	struct agent_report report;
	struct stats_report counted = {0};
	unsigned int interval_s = AGENT_REPORT_INTERVAL_S;
	struct json_object *o;
	int rc = agent_report_from_json(q->json, &report, &q->problem);

	if (!rc)
		rc = meet(c, q, report.version);
	if (!rc)
		rc = stats_report_from_json(q->json, &counted, &q->problem);
	if (!rc)
		rc = agent_apply_report(c->registry, q->node.id, &report, &q->client,
			clock_boottime_ns(), &interval_s, &q->problem);
	if (!rc)
		stats_take(c->stats, q->node.id, &counted, clock_wall_ns() / NS_PER_S, is_member,
			c->registry);
	stats_report_done(&counted);
	if (rc)
		return rc;
	o = json_object_new_object();
	json_set_int(o, "interval_s", interval_s);
	return request_reply(q, 200, o);
}

int api_agent_leave(struct console *c, struct request *q)
{
	int rc = meet(c, q, "");

	if (!rc)
		rc = agent_leave(c->registry, &q->actor, q->node.id, q->params[0], &q->problem);
	return rc ? rc : request_reply_none(q);
}
