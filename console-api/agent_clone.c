/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/agent_clone.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/agent.h"
#include "console-api/audit.h"
#include "console-api/events.h"
#include "console-api/node.h"
#include "console-api/soft.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"

#define RETURNS_CLONED   2
#define PUT_BACK_PAUSE_S 600 /* between two events that say so of one node */

/* Of the instance of a node, each of which is written down. */
static const struct soft_budget instance_budget = {.each_ns = NS_PER_S, .burst = 5};

static const char *const policy_names[] = {
	[CLONE_ALARM] = "alarm",
	[CLONE_REJECT] = "reject",
	[CLONE_REPLACE] = "replace",
	[CLONE_REENROL] = "re-enrol",
};

bool clone_policy_parse(const char *text, enum clone_policy *ret_policy)
{
	for (size_t i = 0; i < sizeof(policy_names) / sizeof(policy_names[0]); i++) {
		if (!strcmp(policy_names[i], text)) {
			*ret_policy = (enum clone_policy)i;
			return true;
		}
	}
	return false;
}

/* -- the record -- */

static void add(struct json_object *o, const char *name, struct json_object *value)
{
	if (json_object_object_add(o, name, value))
		abort();
}

static struct json_object *array_of(struct json_object *rec, const char *name)
{
	struct json_object *array = json_object_object_get(rec, name);

	if (!json_object_is_type(array, json_type_array)) {
		array = json_object_new_array();
		add(rec, name, array);
	}
	return array;
}

static bool is_refused(struct json_object *rec, const char *id)
{
	struct json_object *refused = json_object_object_get(rec, "refused");

	if (json_object_get_boolean(json_object_object_get(rec, "locked")))
		return true;
	for (size_t i = 0; refused && i < json_object_array_length(refused); i++)
		if (!strcmp(json_object_get_string(json_object_array_get_idx(refused, i)), id))
			return true;
	return false;
}

static void refuse(struct json_object *rec, const char *id)
{
	struct json_object *refused = array_of(rec, "refused");

	if (is_refused(rec, id))
		return;
	if (json_object_array_length(refused) >= CLONE_KNOWN)
		json_object_array_del_idx(refused, 0, 1);
	json_object_array_add(refused, json_object_new_string(id));
}

/* The entry of an instance, or NULL. */
static struct json_object *known(struct json_object *rec, const char *id)
{
	struct json_object *list = array_of(rec, "known");

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (!strcmp(record_text(o, "id"), id))
			return o;
	}
	return NULL;
}

static struct json_object *know(struct json_object *rec, const char *id)
{
	struct json_object *list = array_of(rec, "known"), *o = json_object_new_object();

	if (json_object_array_length(list) >= CLONE_KNOWN)
		json_object_array_del_idx(list, 0, 1); /* the one that came first */
	json_set_string(o, "id", id);
	json_object_array_add(list, o);
	return o;
}

/* -- what happens -- */

struct hearing {
	const char *node_id;
	const struct agenthello *hello;
	const struct ip *address;
	uint64_t signed_s; /* by the node's clock */
	uint64_t now_s, now_ns;
	char id[17];
	bool refused; /* the answer */
	bool cloned;  /* it was found out now */
};

static void tell(struct store_txn *txn, const struct hearing *h, enum event_severity severity,
	struct json_object *node, const char *text)
{
	registry_event(txn, record_org(node), severity, "node", h->node_id, "%s: %s",
		record_text(node, "name"), text);
}

/* Two of them live: what the policy says. other: the instance that had the place. */
static void judge(struct registry *r, struct store_txn *txn, struct hearing *h,
	struct json_object *rec, struct json_object *node, struct json_object *other)
{
	struct json_object *mine = known(rec, h->id);
	bool newer = record_int(mine, "first_s") >= record_int(other, "first_s");
	const char *first = record_text(newer ? other : mine, "id");
	const char *last = record_text(newer ? mine : other, "id");
	char text[400];

	switch (r->clone_policy) {
	case CLONE_ALARM:
		break;
	case CLONE_REJECT:
		refuse(rec, last);
		json_set_string(rec, "current", first);
		break;
	case CLONE_REPLACE:
		refuse(rec, first);
		json_set_string(rec, "current", last);
		break;
	case CLONE_REENROL:
		json_set_bool(rec, "locked", true);
		break;
	}
	json_set_int(rec, "cloned_s", (int64_t)h->now_s);
	snprintf(text, sizeof(text),
		"its identity is in use on two machines at once, seen from %s and %s: remove the "
		"state directory of the copy (policy: %s)",
		record_text(other, "address"), record_text(mine, "address"),
		policy_names[r->clone_policy]);
	tell(txn, h, EVENT_ERROR, node, text);
	h->cloned = true;
}

/* The instance takes the place of the one that has it. */
static void take_place(struct registry *r, struct store_txn *txn, struct hearing *h,
	struct json_object *rec, struct json_object *node)
{
	struct json_object *before = known(rec, record_text(rec, "current"));
	struct json_object *mine = known(rec, h->id);
	int64_t returned_s = record_int(rec, "returned_s");
	int64_t returns = record_int(rec, "returns");
	char address[IP_TEXT_LEN] = "an unknown address";
	bool back = mine;

	if (h->address->family != AF_UNSPEC)
		ip_format(h->address, address);
	if (!mine) {
		mine = know(rec, h->id);
		json_set_int(mine, "first_s", (int64_t)h->now_s);
		if (before && (int64_t)h->hello->start <= record_int(before, "start") &&
			record_int(rec, "put_back_s") + PUT_BACK_PAUSE_S <= (int64_t)h->now_s) {
			json_set_int(rec, "put_back_s", (int64_t)h->now_s);
			tell(txn, h, EVENT_INFO, node,
				"its state directory was put back to what it was before");
		}
		before = known(rec, record_text(rec, "current")); /* may have given way */
	}
	json_set_int(mine, "start", (int64_t)h->hello->start);
	json_set_int(mine, "signed_s", (int64_t)h->signed_s);
	json_set_string(mine, "address", address);
	if (before)
		json_set_int(before, "left_s", (int64_t)h->now_s);
	json_set_string(rec, "current", h->id);
	json_set_int(rec, "cloned_s", 0);
	if (!back)
		return;
	returns = returned_s + CLONE_WINDOW_S < (int64_t)h->now_s ? 1 : returns + 1;
	json_set_int(rec, "returns", returns);
	json_set_int(rec, "returned_s", (int64_t)h->now_s);
	if (returns >= RETURNS_CLONED && before)
		judge(r, txn, h, rec, node, before);
}

/* True when what it says changes nothing. */
static bool is_settled(const struct hearing *h, struct json_object *rec)
{
	const char *current = record_text(rec, "current");
	struct json_object *mine = known(rec, h->id), *now = known(rec, current);
	int64_t since_s = mine ? record_int(mine, "left_s") : 0;

	if (!strcmp(current, h->id) || is_refused(rec, h->id))
		return true;
	/* Found out already, and both go on. */
	if (mine && now && record_int(rec, "cloned_s"))
		return true;
	/* Sent before the other one came: by a process that may have ended meanwhile, for the kernel
	 * repeats what was lost on the way. */
	return mine && (since_s + CLONE_GRACE_S > (int64_t)h->now_s ||
			       (now && (int64_t)h->signed_s <= record_int(now, "signed_s")));
}

static int too_often(struct problem *p)
{
	int rc = problem_set(p, 429, "too_many_requests",
		"too many processes speak for this node at once: wait 1 s");

	p->retry_after_s = 1;
	return rc;
}

static int build_heard(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct hearing *h = ctx;
	CLEANUP(record) struct record rec = {0};
	CLEANUP(record) struct record node = {0};
	int rc = registry_load(r, KEY("/instances/%s", h->node_id), &rec, p);

	if (rc && rc != -ENOENT)
		return rc;
	if (rc)
		rec.o = json_object_new_object();
	h->cloned = false;
	h->refused = is_refused(rec.o, h->id);
	if (is_settled(h, rec.o))
		return REGISTRY_NO_CHANGE;
	if (!soft_may(soft_node(r->soft, h->node_id)->instance_due_ns, &instance_budget, h->now_ns))
		return too_often(p);
	rc = node_load(r, h->node_id, &node, p);
	if (rc)
		return rc == -ENOENT ? agent_gone(p) : rc;
	take_place(r, txn, h, rec.o, node.o);
	h->refused = is_refused(rec.o, h->id);
	registry_put(txn, KEY("/instances/%s", h->node_id), rec.o);
	return 0;
}

static int refused(struct problem *p, const struct registry *r)
{
	int rc = problem_set(p, 409, "cloned",
		r->clone_policy == CLONE_REENROL
			? "the identity of this node was in use on two machines at once: remove the "
			  "state directory of the copy, then join with a new token"
			: "another machine uses the identity of this node: remove the state directory "
			  "of the copy, then start vand again on the one that is to stay");

	p->retry_after_s = 30;
	return rc;
}

/* A request that does not say which process it is of: fine of a node that never has. */
static int check_silent(struct registry *r, const char *node_id, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, KEY("/instances/%s", node_id), &rec, p);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (json_object_get_boolean(json_object_object_get(rec.o, "locked")))
		return refused(p, r);
	rc = problem_set(p, 409, "cloned",
		"this node's requests have said which process they are of (header " AGENTHELLO_NAME
		"), and this one does not: join again with a new token after a return to version 0.1");
	p->retry_after_s = 30;
	return rc;
}

int agent_clone_check(struct registry *r, const char *node_id, const struct agenthello *hello,
	uint64_t signed_s, const struct ip *address, uint64_t now_ns, uint64_t now_s,
	struct problem *p)
{
	struct hearing h = {.node_id = node_id,
		.hello = hello,
		.signed_s = signed_s,
		.address = address,
		.now_s = now_s,
		.now_ns = now_ns};
	struct soft_node *soft;
	int rc;

	if (!hello)
		return check_silent(r, node_id, p);
	soft = soft_node(r->soft, node_id);
	if (soft->instance == hello->instance)
		return soft->refused ? refused(p, r) : 0;
	snprintf(h.id, sizeof(h.id), "%016" PRIx64, hello->instance);
	rc = registry_transact(r, build_heard, &h, NULL, p);
	if (rc < 0)
		return rc;
	if (rc != REGISTRY_NO_CHANGE)
		soft_spend(&soft_node(r->soft, node_id)->instance_due_ns, &instance_budget, now_ns);
	if (h.cloned)
		log_error("node %s: its identity is in use on two machines at once", node_id);
	/* A straggler does not stand for the node. */
	soft = soft_node(r->soft, node_id);
	soft->instance = hello->instance;
	soft->refused = h.refused;
	return h.refused ? refused(p, r) : 0;
}

int agent_clone_locked(
	struct registry *r, const char *node_id, bool silent, bool *ret_locked, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, KEY("/instances/%s", node_id), &rec, p);

	if (rc && rc != -ENOENT)
		return rc;
	*ret_locked =
		!rc && (silent || json_object_get_boolean(json_object_object_get(rec.o, "locked")));
	return 0;
}

void agent_clone_build_reset(struct store_txn *txn, const char *node_id)
{
	store_txn_delete(txn, KEY("/instances/%s", node_id));
}
