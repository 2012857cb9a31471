/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sliding replay window over 64-bit counters, as in RFC 6479 (blocks instead of shifts). Pure: no
 * locks, no I/O. One for each session and lane.
 */
#ifndef VAND_REPLAY_H
#define VAND_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#define REPLAY_WINDOW 8192                     /* packets that may arrive late */
#define REPLAY_WORDS  (REPLAY_WINDOW / 64 + 1) /* one spare word, RFC 6479 §4 */

struct replay {
	uint64_t next; /* highest counter committed, plus one; 0: nothing seen */
	uint64_t seen[REPLAY_WORDS];
};

void replay_init(struct replay *r);

/* True when the counter is neither too old nor seen: worth the cost of opening. Changes nothing. */
bool replay_check(const struct replay *r, uint64_t counter);

/*
 * To be called once the packet is authentic. False when it is a duplicate after all (seen between
 * check and commit). *ret_highest: true when this counter is the highest so far, the only case in
 * which an end point may move.
 */
bool replay_commit(struct replay *r, uint64_t counter, bool *ret_highest);

#endif
