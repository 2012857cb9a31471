/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the console knows of nodes in memory only: when each was last heard, and what it applied.
 * Lost at a restart and back within one report interval; nothing of it is in a netmap.
 */
#ifndef CONSOLE_API_SOFT_H
#define CONSOLE_API_SOFT_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/netmap.h"

#define SOFT_ONLINE_NS (30ull * 1000 * 1000 * 1000) /* three reports */

struct soft_node {
	char id[NETMAP_ID_MAX + 1];
	uint64_t seen_ns;         /* CLOCK_BOOTTIME; 0: not since the start */
	uint64_t seen_wall_ns;    /* since 1970 */
	uint64_t counted_from_ns; /* CLOCK_BOOTTIME: of an ephemeral node not seen yet */
	char applied[NETMAP_REVISION_TEXT_LEN]; /* "": unknown */
	struct agent_view *view;                /* of its netmap, owned; NULL: none; agent_view.h */
	uint64_t answered_ns; /* CLOCK_BOOTTIME: when it last got news by a long poll */
	uint64_t change_due_ns, instance_due_ns; /* see soft_may() */
	uint64_t instance;      /* the last one heard and judged; 0: none; agent_clone.h */
	bool refused;           /* that instance is */
	bool away_said;         /* an event says that it is offline … */
	uint64_t away_ns;       /* … and this is when it was written; 0: none was; presence.h */
	bool online_said;       /* the store says that it is heard here; presence.h */
	struct soft_node *next; /* in its bucket */
};

struct soft;

struct soft *soft_new(void);
void soft_free(struct soft *s);
/* The entry of a node that exists, made when there is none yet. Valid until soft_forget(). */
struct soft_node *soft_node(struct soft *s, const char *id);
/* The entry or NULL. */
const struct soft_node *soft_find(const struct soft *s, const char *id);
void soft_forget(struct soft *s, const char *id);
/* What is kept of the store may not be true any more: a node's view, its instance, everything. */
void soft_doubt_view(struct soft *s, const char *id);
void soft_doubt_instance(struct soft *s, const char *id);
void soft_doubt_all(struct soft *s);
void soft_seen(struct soft *s, const char *id, uint64_t now_ns, uint64_t wall_ns);
/* What one node may cause to be written: burst at once, then one each each_ns. due_ns is the node's
 * account, 0 at first. */
struct soft_budget {
	uint64_t each_ns;
	unsigned int burst;
};
bool soft_may(uint64_t due_ns, const struct soft_budget *b, uint64_t now_ns);
void soft_spend(uint64_t *due_ns, const struct soft_budget *b, uint64_t now_ns);
/* Calls visit for every entry; it must not make or remove any. */
void soft_each(struct soft *s, void (*visit)(void *ctx, struct soft_node *n), void *ctx);
bool soft_online(const struct soft *s, const char *id, uint64_t now_ns);

#endif
