/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which series there are, and how they are found. Everything about a node hangs on its stats_node;
 * a network has a series of its own beside those of its members, because what a node had sent in it
 * before it left stays in the network's sum.
 */
#include "console-api/stats_internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/registry.h"
#include "console-api/xalloc.h"

/* Peers get at most a quarter of the memory; a pair takes this with a few hours of figures. */
#define PAIR_BYTES 4096

static size_t bucket_of(const char *id)
{
	uint32_t h = 2166136261u; /* FNV-1a; ids are made here, nobody else chooses them */

	while (*id)
		h = (h ^ (unsigned char)*id++) * 16777619u;
	return h % STATS_BUCKETS;
}

const char *stats_metric_name(enum stats_metric metric)
{
	static const char *const names[STATS_METRICS] = {
		[STATS_RX_BYTES] = "rx_bytes",
		[STATS_TX_BYTES] = "tx_bytes",
		[STATS_RX_PACKETS] = "rx_packets",
		[STATS_TX_PACKETS] = "tx_packets",
	};

	return names[metric];
}

struct stats *stats_new(size_t memory_limit)
{
	struct stats *st = xcalloc(1, sizeof(*st));

	pthread_mutex_init(&st->lock, NULL);
	stats_memory_init(&st->memory, memory_limit);
	list_init(&st->pairs);
	list_init(&st->unsaved);
	st->pairs_max = memory_limit / 4 / PAIR_BYTES;
	st->sweep = true;
	return st;
}

void stats_lock(struct stats *st)
{
	pthread_mutex_lock(&st->lock);
}

void stats_unlock(struct stats *st)
{
	pthread_mutex_unlock(&st->lock);
}

/* -- items -- */

static void item_init(
	struct stats *st, struct stats_item *item, enum stats_kind kind, enum stats_ring finest)
{
	item->kind = kind;
	randombytes_buf(&item->id, sizeof(item->id));
	item->id &= INT64_MAX; /* as SQLite's integers */
	list_init(&item->unsaved);
	stats_series_init(&item->series, &st->memory, finest);
	st->series_count++;
}

static void item_done(struct stats *st, struct stats_item *item)
{
	list_del(&item->unsaved);
	stats_series_done(&item->series);
	st->series_count--;
	if ((st->gone_count & (st->gone_count - 1)) == 0)
		st->gone = xrealloc(st->gone, st->gone_count * 2 + 1, sizeof(*st->gone));
	st->gone[st->gone_count++] = item->id;
}

void stats_changed(struct stats *st, struct stats_item *item)
{
	if (list_empty(&item->unsaved))
		list_add_tail(&st->unsaved, &item->unsaved);
}

struct stats_node *stats_find_node(const struct stats *st, const char *id)
{
	for (struct stats_node *n = st->nodes[bucket_of(id)]; n; n = n->next)
		if (!strcmp(n->id, id))
			return n;
	return NULL;
}

struct stats_node *stats_make_node(struct stats *st, const char *id)
{
	struct stats_node *n = stats_find_node(st, id);

	if (n)
		return n;
	n = stats_memory_alloc(&st->memory, sizeof(*n));
	item_init(st, &n->item, STATS_NODE, STATS_1S);
	snprintf(n->id, sizeof(n->id), "%s", id);
	list_init(&n->members);
	list_init(&n->pairs);
	n->next = st->nodes[bucket_of(id)];
	st->nodes[bucket_of(id)] = n;
	st->node_count++;
	return n;
}

struct stats_network *stats_find_network(const struct stats *st, const char *id)
{
	for (struct stats_network *n = st->networks[bucket_of(id)]; n; n = n->next)
		if (!strcmp(n->id, id))
			return n;
	return NULL;
}

struct stats_network *stats_make_network(struct stats *st, const char *id)
{
	struct stats_network *n = stats_find_network(st, id);

	if (n)
		return n;
	n = stats_memory_alloc(&st->memory, sizeof(*n));
	item_init(st, &n->item, STATS_NETWORK, STATS_1S);
	snprintf(n->id, sizeof(n->id), "%s", id);
	n->next = st->networks[bucket_of(id)];
	st->networks[bucket_of(id)] = n;
	return n;
}

struct stats_member *stats_find_member(const struct stats_node *n, const char *net_id)
{
	list_for_each (it, &n->members) {
		struct stats_member *m = container_of(it, struct stats_member, node);

		if (!strcmp(m->net_id, net_id))
			return m;
	}
	return NULL;
}

struct stats_member *stats_make_member(struct stats *st, struct stats_node *n, const char *net_id)
{
	struct stats_member *m = stats_find_member(n, net_id);

	if (m)
		return m;
	m = stats_memory_alloc(&st->memory, sizeof(*m));
	item_init(st, &m->item, STATS_MEMBER, STATS_1S);
	m->of = n;
	snprintf(m->net_id, sizeof(m->net_id), "%s", net_id);
	list_add_tail(&n->members, &m->node);
	return m;
}

static void free_member(struct stats *st, struct stats_member *m)
{
	list_del(&m->node);
	item_done(st, &m->item);
	stats_memory_free(&st->memory, m, sizeof(*m));
}

static void free_pair(struct stats *st, struct stats_pair *p)
{
	list_del(&p->node);
	list_del(&p->age);
	p->of->pair_count--;
	st->pair_count--;
	item_done(st, &p->item);
	stats_memory_free(&st->memory, p, sizeof(*p));
}

static struct stats_pair *find_pair(const struct stats_node *n, const char *peer_id)
{
	list_for_each (it, &n->pairs) {
		struct stats_pair *p = container_of(it, struct stats_pair, node);

		if (!strcmp(p->peer_id, peer_id))
			return p;
	}
	return NULL;
}

/* What gives way to a further peer of a node, or NULL. Those that are measured all the time stay,
 * for many that take turns would each have a few minutes of history and none of them a day's. */
static struct stats_pair *oldest_pair(struct stats *st, struct stats_node *n)
{
	if (n->pair_count == STATS_PAIRS_MAX)
		return container_of(n->pairs.next, struct stats_pair, node);
	if (st->pair_count > 0 && st->pair_count >= st->pairs_max)
		return container_of(st->pairs.next, struct stats_pair, age);
	return NULL;
}

static struct stats_pair *add_pair(
	struct stats *st, struct stats_node *n, const char *peer_id, uint64_t now_s)
{
	struct stats_pair *oldest = oldest_pair(st, n), *p;

	if (oldest && oldest->measured_s + STATS_PAIR_KEEP_S > now_s && oldest->measured_s <= now_s)
		return NULL;
	if (oldest)
		free_pair(st, oldest);
	p = stats_memory_alloc(&st->memory, sizeof(*p));
	item_init(st, &p->item, STATS_PAIR, STATS_1M);
	p->of = n;
	snprintf(p->peer_id, sizeof(p->peer_id), "%s", peer_id);
	n->pair_count++;
	st->pair_count++;
	return p;
}

struct stats_pair *stats_make_pair(
	struct stats *st, struct stats_node *n, const char *peer_id, uint64_t now_s)
{
	struct stats_pair *p = find_pair(n, peer_id);

	if (p) {
		list_del(&p->node);
		list_del(&p->age);
	} else {
		p = add_pair(st, n, peer_id, now_s);
		if (!p)
			return NULL;
	}
	p->measured_s = now_s;
	list_add_tail(&n->pairs, &p->node);
	list_add_tail(&st->pairs, &p->age);
	return p;
}

struct stats_reason *stats_make_reason(struct stats *st, struct stats_node *n, const char *name)
{
	size_t size = sizeof(*n->reasons);
	struct stats_reason *grown;

	for (size_t i = 0; i < n->reason_count; i++)
		if (!strcmp(n->reasons[i].name, name))
			return &n->reasons[i];
	if (n->reason_count == STATS_REASONS_MAX)
		return NULL;
	grown = stats_memory_alloc(&st->memory, (n->reason_count + 1) * size);
	if (n->reasons)
		memcpy(grown, n->reasons, n->reason_count * size);
	stats_memory_free(&st->memory, n->reasons, n->reason_count * size);
	n->reasons = grown;
	snprintf(grown[n->reason_count].name, sizeof(grown->name), "%s", name);
	return &grown[n->reason_count++];
}

/* -- forgetting -- */

static void forget_node(struct stats *st, const char *id)
{
	for (struct stats_node **at = &st->nodes[bucket_of(id)]; *at; at = &(*at)->next) {
		struct stats_node *n = *at;

		if (strcmp(n->id, id) != 0)
			continue;
		*at = n->next;
		list_for_each_safe (it, &n->members)
			free_member(st, container_of(it, struct stats_member, node));
		list_for_each_safe (it, &n->pairs)
			free_pair(st, container_of(it, struct stats_pair, node));
		stats_memory_free(&st->memory, n->reasons, n->reason_count * sizeof(*n->reasons));
		item_done(st, &n->item);
		stats_memory_free(&st->memory, n, sizeof(*n));
		st->node_count--;
		return;
	}
}

static void forget_network(struct stats *st, const char *id)
{
	for (struct stats_network **at = &st->networks[bucket_of(id)]; *at; at = &(*at)->next) {
		struct stats_network *n = *at;

		if (strcmp(n->id, id) != 0)
			continue;
		*at = n->next;
		item_done(st, &n->item);
		stats_memory_free(&st->memory, n, sizeof(*n));
		return;
	}
}

static void forget_member(struct stats *st, const char *net_id, const char *node_id)
{
	struct stats_node *n = stats_find_node(st, node_id);
	struct stats_member *m = n ? stats_find_member(n, net_id) : NULL;

	if (m)
		free_member(st, m);
}

void stats_on_change(void *stats, uint64_t revision, const struct store_op *ops, size_t n)
{
	struct stats *st = stats;
	char net_id[NETMAP_ID_MAX + 1];

	(void)revision;
	stats_lock(st);
	st->sweep |= n == 0;
	for (size_t i = 0; i < n; i++) {
		const char *key = ops[i].key, *slash;

		if (ops[i].kind != STORE_DELETE)
			continue;
		slash = strrchr(key, '/');
		if (!strncmp(key, "/nodes/", 7)) {
			forget_node(st, key + 7);
		} else if (!strncmp(key, "/nets/", 6)) {
			forget_network(st, key + 6);
		} else if (!strncmp(key, "/members/", 9) && slash - key - 9 <= NETMAP_ID_MAX &&
			   slash - key > 9) {
			snprintf(net_id, sizeof(net_id), "%.*s", (int)(slash - key - 9), key + 9);
			forget_member(st, net_id, slash + 1);
		}
	}
	stats_unlock(st);
}

static bool has_key(struct store *store, const char *key)
{
	struct store_item item;
	int rc = store_get(store, key, &item);

	if (rc == 0)
		store_item_done(&item);
	return rc != -ENOENT; /* in doubt nothing is forgotten */
}

void stats_sweep(struct stats *st, struct store *store)
{
	stats_lock(st);
	for (size_t i = 0; st->sweep && i < STATS_BUCKETS; i++) {
		for (struct stats_node *n = st->nodes[i], *next; n; n = next) {
			next = n->next;
			list_for_each_safe (it, &n->members) {
				struct stats_member *m =
					container_of(it, struct stats_member, node);

				if (!has_key(store, KEY("/members/%s/%s", m->net_id, n->id)))
					free_member(st, m);
			}
			if (!has_key(store, KEY("/nodes/%s", n->id)))
				forget_node(st, n->id);
		}
		for (struct stats_network *n = st->networks[i], *next; n; n = next) {
			next = n->next;
			if (!has_key(store, KEY("/nets/%s", n->id)))
				forget_network(st, n->id);
		}
	}
	st->sweep = false;
	stats_unlock(st);
}

void stats_free(struct stats *st)
{
	if (!st)
		return;
	for (size_t i = 0; i < STATS_BUCKETS; i++) {
		while (st->nodes[i])
			forget_node(st, st->nodes[i]->id);
		while (st->networks[i])
			forget_network(st, st->networks[i]->id);
	}
	free(st->gone);
	pthread_mutex_destroy(&st->lock);
	free(st);
}
