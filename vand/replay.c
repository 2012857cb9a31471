/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works. `seen` is a ring of 64-bit words, one bit a counter. The window moves forward word
 * by word, clearing words as it enters them, instead of shifting all bits (RFC 6479). The word that
 * the highest counter is in is only partly in use, hence the spare word: a full window lies behind
 * it.
 */
#include "vand/replay.h"

#include <string.h>

static uint64_t *word_of(struct replay *r, uint64_t counter)
{
	return &r->seen[counter / 64 % REPLAY_WORDS];
}

static uint64_t bit_of(uint64_t counter)
{
	return 1ull << counter % 64;
}

void replay_init(struct replay *r)
{
	memset(r, 0, sizeof(*r));
}

bool replay_check(const struct replay *r, uint64_t counter)
{
	if (counter >= r->next)
		return counter != UINT64_MAX; /* `next` could not follow */
	if (r->next - 1 - counter >= REPLAY_WINDOW)
		return false;
	return !(r->seen[counter / 64 % REPLAY_WORDS] & bit_of(counter));
}

bool replay_commit(struct replay *r, uint64_t counter, bool *ret_highest)
{
	bool highest = counter >= r->next;

	if (!replay_check(r, counter))
		return false;
	if (highest) {
		/* The words entered by moving on hold bits of a window ago. */
		uint64_t from = r->next ? (r->next - 1) / 64 : 0;
		uint64_t to = counter / 64;

		if (to - from >= REPLAY_WORDS) {
			memset(r->seen, 0, sizeof(r->seen));
		} else {
			for (uint64_t word = from + 1; word <= to; word++)
				r->seen[word % REPLAY_WORDS] = 0;
		}
		r->next = counter + 1;
	}
	*word_of(r, counter) |= bit_of(counter);
	*ret_highest = highest;
	return true;
}
