/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which nodes are heard by other consoles on the same store. What soft.h knows is in one console's
 * memory; here a little of it is shared, by two kinds of keys:
 *
 *   /pulse/INSTANCE   seconds since 1970: put by each console every PRESENCE_PULSE_S seconds
 *   /online/NODE      "INSTANCE SECONDS": that console hears the node, since then;
 *                     "- SECONDS": nobody does, it was last heard then
 *
 * So a steady state costs one write in ten seconds for each console, however many nodes there are,
 * and a node one write when it comes and one when it has been silent for SOFT_ONLINE_NS. A claim is
 * good for as long as its console's pulse is seen here to go on, by this console's own clock: clocks
 * need not agree. A node that changes consoles is taken over when the first one has noticed.
 * A store that is not shared has none of this.
 */
#ifndef CONSOLE_API_PRESENCE_H
#define CONSOLE_API_PRESENCE_H

#include "console-api/registry.h"

#define PRESENCE_PULSE_S 10
#define PRESENCE_DEAD_NS (35 * 1000000000ull) /* three pulses, and the way */

/* Sets registry->presence where the store is shared. Under the registry's lock, like all below. */
void presence_new(struct registry *r, uint64_t now_ns);
void presence_free(struct registry *r);

/* To be called every few seconds: a bounded piece of work. Times are CLOCK_BOOTTIME and wall. */
void presence_turn(struct registry *r, uint64_t now_ns, uint64_t wall_ns);

/*
 * Writes events of nodes that went offline, and of those that are back, as soft.h tells: of each node
 * one pair in PRESENCE_SAID_NS at most, and where more than PRESENCE_EACH of them do so at a time, one
 * event for all those of an organisation. What was offline before this console was started is not
 * noticed. To be called every few seconds.
 */
#define PRESENCE_SAID_NS (300 * 1000000000ull)
#define PRESENCE_EACH    10
void presence_events(struct registry *r, uint64_t now_ns);

/* Whether another console hears the node now. ret_seen_s (may be NULL): when it was last known to be
 * heard by whomever, seconds since 1970; 0: not known. */
bool presence_elsewhere(
	struct registry *r, const char *node_id, uint64_t now_ns, uint64_t *ret_seen_s);

#endif
