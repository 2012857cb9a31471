/* SPDX-License-Identifier: Apache-2.0 */
/* What the stats*.c files share; nobody else's business. */
#ifndef CONSOLE_API_STATS_INTERNAL_H
#define CONSOLE_API_STATS_INTERNAL_H

#include <pthread.h>
#include "console-api/stats.h"
#include "lib/list.h"

/* The numbers are on disk. */
enum stats_kind { STATS_MEMBER = 1, STATS_NETWORK = 2, STATS_NODE = 3, STATS_PAIR = 4 };

/* One series and what goes with it; embedded in one of those below, as its kind says. */
struct stats_item {
	enum stats_kind kind;
	uint64_t id; /* random: its number on disk, never used again */
	struct stats_series series;
	struct list unsaved; /* in stats->unsaved when something changed since it was saved */
};

struct stats_member {
	struct stats_item item;
	struct list node; /* in its stats_node */
	struct stats_node *of;
	char net_id[NETMAP_ID_MAX + 1];
	uint64_t base[STATS_METRICS]; /* what the node had reported when it last did */
	uint64_t totals[STATS_METRICS];
};

struct stats_network {
	struct stats_item item;
	struct stats_network *next; /* in its bucket */
	char id[NETMAP_ID_MAX + 1];
	uint64_t totals[STATS_METRICS];
};

struct stats_pair {
	struct stats_item item;
	struct list node; /* in its stats_node: the one measured last comes last */
	struct list age;  /* in stats->pairs, likewise */
	struct stats_node *of;
	uint64_t measured_s; /* 0: not since the start */
	char peer_id[NETMAP_ID_MAX + 1];
};

struct stats_reason {
	char name[STATS_REASON_NAME_MAX + 1];
	uint64_t base, total;
};

struct stats_node {
	struct stats_item item; /* its series: drops, a column for each reason */
	struct stats_node *next;
	char id[NETMAP_ID_MAX + 1];
	uint64_t instance; /* of the last report; 0: there was none */
	uint64_t tick;
	int64_t offset_s; /* wall clock less tick */
	uint64_t heard_s; /* wall clock of the last report that was counted */
	struct list members;
	struct list pairs;
	size_t pair_count;
	struct stats_reason *reasons; /* heap */
	size_t reason_count;
};

#define STATS_BUCKETS 4096 /* chains stay short into the tens of thousands of nodes */

struct stats {
	pthread_mutex_t lock;
	struct stats_memory memory;
	struct stats_node *nodes[STATS_BUCKETS];
	struct stats_network *networks[STATS_BUCKETS];
	size_t node_count, series_count;
	struct list pairs; /* of all nodes, the one measured longest ago first */
	size_t pair_count, pairs_max;
	bool sweep; /* compare everything with the store */

	/* For stats_file.c. */
	struct list unsaved; /* of struct stats_item */
	uint64_t *gone;      /* heap: ids of items that are no more */
	size_t gone_count;
};

/* stats.c; with the lock */
struct stats_node *stats_find_node(const struct stats *st, const char *id);
struct stats_node *stats_make_node(struct stats *st, const char *id);
struct stats_network *stats_find_network(const struct stats *st, const char *id);
struct stats_network *stats_make_network(struct stats *st, const char *id);
struct stats_member *stats_find_member(const struct stats_node *n, const char *net_id);
struct stats_member *stats_make_member(struct stats *st, struct stats_node *n, const char *net_id);
/* Made, and the one measured last now. Where there are too many, one gives way to it that has not
 * been measured for STATS_PAIR_KEEP_S; NULL when there is none. */
struct stats_pair *stats_make_pair(
	struct stats *st, struct stats_node *n, const char *peer_id, uint64_t now_s);
/* NULL when there are too many. */
struct stats_reason *stats_make_reason(struct stats *st, struct stats_node *n, const char *name);
void stats_changed(struct stats *st, struct stats_item *item);

/* stats_state.c */
#define STATS_STATE_MAX (64 + STATS_REASONS_MAX * (1 + STATS_REASON_NAME_MAX + 16))
/* Who an item is: two ids, the second one empty for nodes and networks. */
void stats_item_names(const struct stats_item *item, const char **ret_a, const char **ret_b);
/* Everything about an item but its series. Returns the length. */
size_t stats_item_state(const struct stats_item *item, uint8_t ret_state[STATS_STATE_MAX]);
/* Makes the item from that. NULL when it is not right, or there is one already. */
struct stats_item *stats_item_restore(struct stats *st, enum stats_kind kind, uint64_t id,
	const char *a, const char *b, const uint8_t *state, size_t len);

#endif
