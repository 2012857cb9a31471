/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/events.h"
#include "console-api/node.h"
#include "console-api/presence.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"

#define ORGS_MAX 16 /* that have a summary in one turn; the others wait for the next */

/* Nodes that all went, or all came back. */
struct passage {
	struct registry *r;
	uint64_t now_ns;
	bool away;
	struct soft_node **nodes; /* heap */
	size_t count, room;
};

struct summary {
	char org[NETMAP_ID_MAX + 1];
	char first[NETMAP_NAME_MAX + 1];
	size_t count;
};

static void consider(void *ctx, struct soft_node *n)
{
	struct passage *ps = ctx;
	bool online = n->seen_ns && ps->now_ns - n->seen_ns < SOFT_ONLINE_NS;

	if (!n->seen_ns || n->away_said == ps->away || (online && ps->away))
		return;
	if (ps->away && n->away_ns && ps->now_ns < n->away_ns + PRESENCE_SAID_NS)
		return;
	if (!online && presence_elsewhere(ps->r, n->id, ps->now_ns, NULL) == ps->away)
		return;
	if (ps->count == ps->room) {
		ps->room = ps->room ? 2 * ps->room : 64;
		ps->nodes = xrealloc(ps->nodes, ps->room, sizeof(*ps->nodes));
	}
	ps->nodes[ps->count++] = n;
}

static struct summary *summary_of(struct summary *all, const char *org)
{
	size_t i;

	for (i = 0; i < ORGS_MAX && all[i].count && strcmp(all[i].org, org) != 0; i++) {
	}
	if (i == ORGS_MAX)
		return NULL;
	if (!all[i].count)
		snprintf(all[i].org, sizeof(all[i].org), "%s", org);
	return &all[i];
}

static void tell_each(const struct passage *ps, struct store_txn *txn, const struct soft_node *n,
	struct json_object *node)
{
	const char *name = record_text(node, "name");

	if (ps->away)
		registry_event(txn, record_org(node), EVENT_WARNING, "node", n->id,
			"%s is offline: it was not heard for %llu s", name,
			(unsigned long long)((ps->now_ns - n->seen_ns) / 1000000000u));
	else
		registry_event(txn, record_org(node), EVENT_INFO, "node", n->id,
			"%s is online again", name);
}

static void tell_all(const struct passage *ps, struct store_txn *txn, const struct summary *all)
{
	for (size_t i = 0; i < ORGS_MAX && all[i].count; i++)
		registry_event(txn, all[i].org, ps->away ? EVENT_WARNING : EVENT_INFO,
			"organization", all[i].org, "%zu nodes %s at once, %s among them",
			all[i].count, ps->away ? "went offline" : "are online again", all[i].first);
}

/* Takes those out of the list that nothing is said of in this turn. */
static void compose(struct passage *ps, struct store_txn *txn)
{
	bool each = ps->count <= PRESENCE_EACH;
	struct summary all[ORGS_MAX] = {0};
	size_t kept = 0;

	for (size_t i = 0; i < ps->count; i++) {
		struct soft_node *n = ps->nodes[i];
		CLEANUP(record) struct record node = {0};
		struct summary *sum;
		struct problem p = {0};
		int rc = node_load(ps->r, n->id, &node, &p);

		if (rc == -ENOENT)
			n->seen_ns = 0; /* it was deleted */
		if (rc)
			continue;
		sum = summary_of(all, record_org(node.o));
		if (!sum)
			continue;
		if (!sum->count++)
			snprintf(sum->first, sizeof(sum->first), "%s", record_text(node.o, "name"));
		if (each)
			tell_each(ps, txn, n, node.o);
		ps->nodes[kept++] = n;
	}
	ps->count = kept;
	if (!each)
		tell_all(ps, txn, all);
}

static void pass(struct registry *r, uint64_t now_ns, bool away)
{
	struct passage ps = {.r = r, .now_ns = now_ns, .away = away};
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	soft_each(r->soft, consider, &ps);
	compose(&ps, &txn);
	if (txn.op_count && !store_commit(r->store, &txn, NULL)) { /* else the next turn tries */
		for (size_t i = 0; i < ps.count; i++) {
			ps.nodes[i]->away_said = away;
			if (away)
				ps.nodes[i]->away_ns = now_ns;
		}
	}
	free(ps.nodes);
}

void presence_events(struct registry *r, uint64_t now_ns)
{
	pass(r, now_ns, true);
	pass(r, now_ns, false);
}
