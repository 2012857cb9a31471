/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/presence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

#define PULSE   "/pulse/"
#define ONLINE  "/online/"
#define NOBODY  "-"
#define OTHERS  64 /* consoles on one store that are known at one time */
#define AT_ONCE 60 /* nodes in one transaction */
#define ROUNDS  4  /* transactions in one turn */

struct other {
	char instance[STORE_INSTANCE_MAX + 1];
	uint64_t heard_ns; /* its pulse */
	uint64_t pulse_s;  /* what it said */
};

struct presence {
	struct registry *registry;
	struct other others[OTHERS];
	size_t other_count;
	uint64_t started_ns;
	uint64_t turn_ns; /* of the last turn: the time by which pulses are heard */
	uint64_t pulse_due_ns;
};

struct claim {
	char instance[STORE_INSTANCE_MAX + 1];
	uint64_t since_s;
	uint64_t mod_revision; /* 0: there is none */
};

/* -- other consoles -- */

static struct other *other_find(struct presence *p, const char *instance)
{
	for (size_t i = 0; i < p->other_count; i++)
		if (!strcmp(p->others[i].instance, instance))
			return &p->others[i];
	return NULL;
}

static void hear_pulse(struct presence *p, const char *instance, const char *value)
{
	struct other *o = other_find(p, instance);

	if (!strcmp(instance, p->registry->store->instance))
		return;
	if (!o && p->other_count == OTHERS) {
		/* The one that was silent for longest has its place taken. */
		o = &p->others[0];
		for (size_t i = 1; i < OTHERS; i++)
			if (p->others[i].heard_ns < o->heard_ns)
				o = &p->others[i];
	} else if (!o) {
		o = &p->others[p->other_count++];
	}
	snprintf(o->instance, sizeof(o->instance), "%s", instance);
	o->heard_ns = p->turn_ns;
	o->pulse_s = strtoull(value, NULL, 10);
}

static bool is_alive(const struct other *o, uint64_t now_ns)
{
	return o && now_ns < o->heard_ns + PRESENCE_DEAD_NS;
}

static void doubt(void *ctx, struct soft_node *n)
{
	(void)ctx;
	n->online_said = false;
}

static void on_change(void *ctx, uint64_t revision, const struct store_op *ops, size_t n)
{
	struct presence *p = ctx;

	(void)revision;
	if (!n)
		soft_each(p->registry->soft, doubt, NULL); /* what we said is looked up again */
	for (size_t i = 0; i < n; i++)
		if (ops[i].kind == STORE_PUT && !strncmp(ops[i].key, PULSE, strlen(PULSE)))
			hear_pulse(p, ops[i].key + strlen(PULSE), ops[i].value);
}

/* -- claims -- */

static void parse_claim(const char *value, struct claim *ret_claim)
{
	size_t len = strcspn(value, " ");

	if (len > STORE_INSTANCE_MAX)
		len = 0;
	snprintf(ret_claim->instance, sizeof(ret_claim->instance), "%.*s", (int)len, value);
	ret_claim->since_s = strtoull(value + len, NULL, 10);
}

static int read_claim(struct registry *r, const char *node_id, struct claim *ret_claim)
{
	CLEANUP(store_item) struct store_item item = {0};
	int rc = store_get(r->store, KEY(ONLINE "%s", node_id), &item);

	*ret_claim = (struct claim){.instance = NOBODY};
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	parse_claim(item.value, ret_claim);
	ret_claim->mod_revision = item.mod_revision;
	return 0;
}

bool presence_elsewhere(
	struct registry *r, const char *node_id, uint64_t now_ns, uint64_t *ret_seen_s)
{
	const struct other *o;
	struct claim claim;

	if (ret_seen_s)
		*ret_seen_s = 0;
	if (!r->presence || read_claim(r, node_id, &claim))
		return false;
	o = other_find(r->presence, claim.instance);
	if (ret_seen_s)
		*ret_seen_s = o && o->pulse_s > claim.since_s ? o->pulse_s : claim.since_s;
	return is_alive(o, now_ns);
}

struct publishing {
	struct registry *r;
	struct store_txn txn;
	uint64_t now_ns, wall_ns;
	struct {
		char id[NETMAP_ID_MAX + 1];
		bool is_on;
	} said[AT_ONCE];
	size_t count;
};

/* Whether the node is still there, and what must not change meanwhile. */
static bool expect_node(struct publishing *pub, const char *node_id, const struct claim *claim)
{
	CLEANUP(store_item) struct store_item node = {0};

	if (store_get(pub->r->store, KEY("/nodes/%s", node_id), &node))
		return false;
	store_txn_expect(&pub->txn, node.key, node.mod_revision);
	store_txn_expect(&pub->txn, KEY(ONLINE "%s", node_id), claim->mod_revision);
	return true;
}

static void say(
	struct publishing *pub, const struct soft_node *n, bool is_on, const struct claim *claim)
{
	uint64_t since_s = pub->wall_ns / NS_PER_S;
	char value[STORE_INSTANCE_MAX + 24];

	if (!is_on)
		since_s = n->seen_wall_ns ? n->seen_wall_ns / NS_PER_S : claim->since_s;
	snprintf(value, sizeof(value), "%s %llu", is_on ? pub->r->store->instance : NOBODY,
		(unsigned long long)since_s);
	store_txn_put(&pub->txn, KEY(ONLINE "%s", n->id), value);
	snprintf(pub->said[pub->count].id, sizeof(pub->said[0].id), "%s", n->id);
	pub->said[pub->count++].is_on = is_on;
}

/* Adds to the transaction what is to be said of the node, if anything. */
static void consider(void *ctx, struct soft_node *n)
{
	struct publishing *pub = ctx;
	struct presence *p = pub->r->presence;
	bool is_on = n->seen_ns && pub->now_ns - n->seen_ns < SOFT_ONLINE_NS;
	struct claim claim;
	bool is_ours;

	/* Just started: those that were heard before get their time to be heard again. */
	if (n->online_said && !n->seen_ns && pub->now_ns - p->started_ns < SOFT_ONLINE_NS)
		is_on = true;
	if (is_on == n->online_said || pub->count == AT_ONCE || read_claim(pub->r, n->id, &claim))
		return;
	is_ours = !strcmp(claim.instance, pub->r->store->instance);
	if (is_on == is_ours)
		n->online_said = is_on; /* said already, or not ours to say */
	else if ((is_ours || !is_alive(other_find(p, claim.instance), pub->now_ns)) &&
		 expect_node(pub, n->id, &claim))
		say(pub, n, is_on, &claim);
}

/* True when there may be more. */
static bool publish(struct registry *r, uint64_t now_ns, uint64_t wall_ns)
{
	struct publishing pub = {.r = r, .now_ns = now_ns, .wall_ns = wall_ns};
	int rc = 0;

	store_txn_init(&pub.txn);
	soft_each(r->soft, consider, &pub);
	if (pub.count)
		rc = store_commit(r->store, &pub.txn, NULL);
	for (size_t i = 0; i < pub.count && !rc; i++)
		if (soft_find(r->soft, pub.said[i].id))
			soft_node(r->soft, pub.said[i].id)->online_said = pub.said[i].is_on;
	store_txn_done(&pub.txn);
	return pub.count == AT_ONCE && !rc; /* what failed is tried again at the next turn */
}

static void pulse(struct registry *r, uint64_t now_ns, uint64_t wall_ns)
{
	CLEANUP(store_txn) struct store_txn txn;
	char value[24];

	store_txn_init(&txn);
	if (now_ns < r->presence->pulse_due_ns)
		return;
	snprintf(value, sizeof(value), "%llu", (unsigned long long)(wall_ns / NS_PER_S));
	store_txn_put(&txn, KEY(PULSE "%s", r->store->instance), value);
	if (!store_commit(r->store, &txn, NULL))
		r->presence->pulse_due_ns = now_ns + PRESENCE_PULSE_S * NS_PER_S;
}

void presence_turn(struct registry *r, uint64_t now_ns, uint64_t wall_ns)
{
	if (!r->presence)
		return;
	r->presence->turn_ns = now_ns;
	pulse(r, now_ns, wall_ns);
	for (int i = 0; i < ROUNDS && publish(r, now_ns, wall_ns); i++) {
	}
}

/* -- start and stop -- */

/* What this console said before it was started again is still its to say. */
static void adopt_claims(struct registry *r)
{
	CLEANUP(store_items) struct store_items items = {0};

	if (store_range(r->store, ONLINE, NULL, 0, &items))
		return;
	for (size_t i = 0; i < items.count; i++) {
		struct claim claim;

		parse_claim(items.items[i].value, &claim);
		if (!strcmp(claim.instance, r->store->instance))
			soft_node(r->soft, registry_key_tail(items.items[i].key))->online_said =
				true;
	}
}

/* Whoever put a pulse before is taken for alive until it fails to come again. */
static void adopt_pulses(struct registry *r)
{
	CLEANUP(store_items) struct store_items items = {0};

	if (store_range(r->store, PULSE, NULL, 0, &items))
		return;
	for (size_t i = 0; i < items.count; i++)
		hear_pulse(
			r->presence, registry_key_tail(items.items[i].key), items.items[i].value);
}

void presence_new(struct registry *r, uint64_t now_ns)
{
	if (!store_is_shared(r->store))
		return;
	r->presence = xcalloc(1, sizeof(*r->presence));
	r->presence->registry = r;
	r->presence->started_ns = r->presence->turn_ns = now_ns;
	adopt_claims(r);
	adopt_pulses(r);
	store_on_change(r->store, on_change, r->presence);
}

void presence_free(struct registry *r)
{
	if (!r->presence)
		return;
	store_off_change(r->store, r->presence);
	free(r->presence);
	r->presence = NULL;
}
