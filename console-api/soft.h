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
	struct soft_node *next;                 /* in its bucket */
};

struct soft;

struct soft *soft_new(void);
void soft_free(struct soft *s);
/* The entry of a node that exists, made when there is none yet. Valid until soft_forget(). */
struct soft_node *soft_node(struct soft *s, const char *id);
/* The entry or NULL. */
const struct soft_node *soft_find(const struct soft *s, const char *id);
void soft_forget(struct soft *s, const char *id);
void soft_seen(struct soft *s, const char *id, uint64_t now_ns, uint64_t wall_ns);
bool soft_online(const struct soft *s, const char *id, uint64_t now_ns);

#endif
