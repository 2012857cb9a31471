/* SPDX-License-Identifier: Apache-2.0 */
/* The queue is a binary heap: children of i are 2i and 2i + 1. */
#include "vand/timers.h"

#include <errno.h>
#include <stdlib.h>
#include "lib/clock.h"

void timers_init(struct timers *q)
{
	*q = (struct timers){0};
}

void timers_done(struct timers *q)
{
	free(q->heap);
	*q = (struct timers){0};
}

int timers_reserve(struct timers *q, size_t n)
{
	size_t room = q->room ? q->room : 64;
	struct timer **heap;

	if (n <= q->room)
		return 0;
	while (room < n)
		room *= 2;
	heap = reallocarray(q->heap, room + 1, sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	q->heap = heap;
	q->room = room;
	return 0;
}

static void put(struct timers *q, struct timer *t, size_t place)
{
	q->heap[place] = t;
	t->place = place;
}

/* Moves t from a place up or down to where it belongs. */
static void settle(struct timers *q, struct timer *t, size_t place)
{
	while (place > 1 && q->heap[place / 2]->due_ns > t->due_ns) {
		put(q, q->heap[place / 2], place);
		place /= 2;
	}
	for (;;) {
		size_t child = 2 * place;

		if (child < q->count && q->heap[child + 1]->due_ns < q->heap[child]->due_ns)
			child++;
		if (child > q->count || q->heap[child]->due_ns >= t->due_ns)
			break;
		put(q, q->heap[child], place);
		place = child;
	}
	put(q, t, place);
}

void timers_set(struct timers *q, struct timer *t, uint64_t due_ns)
{
	t->due_ns = due_ns;
	if (!t->place)
		put(q, t, ++q->count);
	settle(q, t, t->place);
}

void timers_clear(struct timers *q, struct timer *t)
{
	size_t place = t->place;
	struct timer *last;

	if (!place)
		return;
	last = q->heap[q->count--];
	if (last != t)
		settle(q, last, place);
	t->place = 0;
}

struct timer *timers_first(const struct timers *q)
{
	return q->count ? q->heap[1] : NULL;
}

/* Up to a quarter more, so that peers which lost the same link do not come back in step. */
static uint64_t jittered(uint64_t ns, uint32_t random)
{
	return ns + ((ns / 4) * (random >> 16) >> 16);
}

uint64_t timers_retry_ns(unsigned int try, uint32_t random)
{
	static const uint16_t wait_ms[] = {250, 500, 1000, 2000, 5000};
	const unsigned int last = sizeof(wait_ms) / sizeof(wait_ms[0]);
	unsigned int i = try < 1 ? 1 : try > last ? last : try;

	return jittered(wait_ms[i - 1] * NS_PER_MS, random);
}

uint64_t timers_slow_retry_ns(uint32_t random)
{
	return jittered(TIMERS_SLOW_RETRY_NS, random);
}

uint64_t timers_rekey_ns(const struct session_timers *t, bool initiator, uint32_t random)
{
	uint64_t latest = timers_key_life_ns(t) / 12 * 11;
	uint64_t at = t->rekey_after;

	if (initiator)
		at += (t->rekey_after / 10) * (random >> 16) >> 16;
	else
		at += 10 * NS_PER_S + ((10 * NS_PER_S) * (random >> 16) >> 16);
	return at < latest ? at : latest;
}

unsigned int timers_look(const struct session_timers *t, const struct timers_facts *f,
	struct timers_memory *memory, uint64_t now_ns)
{
	unsigned int due = 0;

	/* The peer sent data and may wonder whether we are still here. Each clock starts anew when
	 * what it waits for happened since it started, even if it has to wait again by now. */
	if (f->last_received_data_ns <= f->last_sent_ns)
		memory->unacknowledged_since_ns = 0;
	else if (memory->unacknowledged_since_ns <= f->last_sent_ns)
		memory->unacknowledged_since_ns = now_ns;
	else if (timers_since(now_ns, memory->unacknowledged_since_ns) >= t->keepalive)
		due |= TIMERS_KEEPALIVE;

	/* We sent data, and it should have kept us informed by now. */
	if (f->last_sent_data_ns <= f->last_received_ns)
		memory->unanswered_since_ns = 0;
	else if (memory->unanswered_since_ns <= f->last_received_ns)
		memory->unanswered_since_ns = now_ns;
	else if (timers_since(now_ns, memory->unanswered_since_ns) >=
		 t->keepalive + t->keepalive / 2)
		due |= TIMERS_SILENT;

	if (f->behind_nat && timers_since(now_ns, f->last_sent_ns) >= t->nat_keepalive)
		due |= TIMERS_KEEPALIVE;
	if (f->key_is_full || (now_ns >= f->rekey_at_ns && (f->key_was_used || f->eager)))
		due |= TIMERS_REKEY;
	return due;
}
