/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of an item besides its series, in bytes. With the counters that a node had reported
 * last, what it counts while the console is down is not lost.
 */
#include "console-api/stats_internal.h"

#include <stdio.h>
#include <string.h>
#include "lib/wirebuf.h"

void stats_item_names(const struct stats_item *item, const char **ret_a, const char **ret_b)
{
	*ret_b = "";
	switch (item->kind) {
	case STATS_MEMBER: {
		const struct stats_member *m = container_of(item, struct stats_member, item);

		*ret_a = m->of->id;
		*ret_b = m->net_id;
		break;
	}
	case STATS_NETWORK:
		*ret_a = container_of(item, struct stats_network, item)->id;
		break;
	case STATS_NODE:
		*ret_a = container_of(item, struct stats_node, item)->id;
		break;
	case STATS_PAIR: {
		const struct stats_pair *p = container_of(item, struct stats_pair, item);

		*ret_a = p->of->id;
		*ret_b = p->peer_id;
		break;
	}
	}
}

static void put_metrics(struct wire_writer *w, const uint64_t metrics[STATS_METRICS])
{
	for (size_t i = 0; i < STATS_METRICS; i++)
		wire_put_be64(w, metrics[i]);
}

static void get_metrics(struct wire_reader *r, uint64_t metrics[STATS_METRICS])
{
	for (size_t i = 0; i < STATS_METRICS; i++)
		metrics[i] = wire_get_be64(r);
}

static void put_node(struct wire_writer *w, const struct stats_node *n)
{
	wire_put_be64(w, n->instance);
	wire_put_be64(w, n->tick);
	wire_put_be64(w, (uint64_t)n->offset_s);
	for (size_t i = 0; i < n->reason_count; i++) {
		size_t len = strlen(n->reasons[i].name);

		wire_put_u8(w, (uint8_t)len);
		wire_put(w, n->reasons[i].name, len);
		wire_put_be64(w, n->reasons[i].base);
		wire_put_be64(w, n->reasons[i].total);
	}
}

static void get_node(struct stats *st, struct wire_reader *r, struct stats_node *n)
{
	n->instance = wire_get_be64(r);
	n->tick = wire_get_be64(r);
	n->offset_s = (int64_t)wire_get_be64(r);
	while (!r->failed && wire_left(r) > 0) {
		char name[STATS_REASON_NAME_MAX + 1] = "";
		size_t len = wire_get_u8(r);
		struct stats_reason *reason;

		if (len > STATS_REASON_NAME_MAX) {
			r->failed = true;
			return;
		}
		wire_get(r, name, len);
		reason = stats_make_reason(st, n, name);
		if (!reason) {
			r->failed = true;
			return;
		}
		reason->base = wire_get_be64(r);
		reason->total = wire_get_be64(r);
	}
}

size_t stats_item_state(const struct stats_item *item, uint8_t ret_state[STATS_STATE_MAX])
{
	struct wire_writer w = wire_writer(ret_state, STATS_STATE_MAX);

	switch (item->kind) {
	case STATS_MEMBER: {
		const struct stats_member *m = container_of(item, struct stats_member, item);

		put_metrics(&w, m->base);
		put_metrics(&w, m->totals);
		break;
	}
	case STATS_NETWORK:
		put_metrics(&w, container_of(item, struct stats_network, item)->totals);
		break;
	case STATS_NODE:
		put_node(&w, container_of(item, struct stats_node, item));
		break;
	case STATS_PAIR:
		break;
	}
	return wire_written(&w);
}

static struct stats_item *restore_member(
	struct stats *st, const char *node_id, const char *net_id, struct wire_reader *r)
{
	struct stats_node *n = stats_make_node(st, node_id);
	struct stats_member *m;

	if (stats_find_member(n, net_id))
		return NULL;
	m = stats_make_member(st, n, net_id);
	get_metrics(r, m->base);
	get_metrics(r, m->totals);
	return &m->item;
}

static struct stats_item *restore_network(struct stats *st, const char *id, struct wire_reader *r)
{
	struct stats_network *n;

	if (stats_find_network(st, id))
		return NULL;
	n = stats_make_network(st, id);
	get_metrics(r, n->totals);
	return &n->item;
}

/* The node may be there already, without state, for the sake of a member. */
static struct stats_item *restore_node(struct stats *st, const char *id, struct wire_reader *r)
{
	struct stats_node *n = stats_make_node(st, id);

	if (n->instance || n->reason_count)
		return NULL;
	get_node(st, r, n);
	return &n->item;
}

/* None gives way to another here. */
static struct stats_item *restore_pair(struct stats *st, const char *node_id, const char *peer_id)
{
	struct stats_node *n = stats_make_node(st, node_id);
	struct stats_pair *p;

	if (n->pair_count == STATS_PAIRS_MAX || st->pair_count >= st->pairs_max)
		return NULL;
	p = stats_make_pair(st, n, peer_id, 0);
	return p ? &p->item : NULL;
}

struct stats_item *stats_item_restore(struct stats *st, enum stats_kind kind, uint64_t id,
	const char *a, const char *b, const uint8_t *state, size_t len)
{
	struct wire_reader r = wire_reader(state, len);
	struct stats_item *item = NULL;

	if (!*a || strlen(a) > NETMAP_ID_MAX || strlen(b) > NETMAP_ID_MAX)
		return NULL;
	if (kind == STATS_MEMBER && *b)
		item = restore_member(st, a, b, &r);
	else if (kind == STATS_NETWORK && !*b)
		item = restore_network(st, a, &r);
	else if (kind == STATS_NODE && !*b)
		item = restore_node(st, a, &r);
	else if (kind == STATS_PAIR && *b && strcmp(a, b) != 0)
		item = restore_pair(st, a, b);
	if (!item || !wire_done(&r))
		return NULL; /* it stays without what was not right; its counts begin anew */
	item->id = id;
	return item;
}
