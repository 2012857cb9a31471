/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How parts find together, and what may go wrong.
 *
 * A sender seals the parts of a frame one after the other, so their counters are consecutive. An id
 * of 16 bits comes round again within a second at high rates; that a part belongs to the frame with
 * its id is therefore only believed where its counter is near. What is left of an earlier frame of
 * the same id gives way.
 *
 * There is a fixed number of buffers. A sender that has FRAGMENT_PER_SENDER incomplete frames loses
 * its own oldest one; only where all buffers are taken does somebody else's oldest go. Lost parts
 * are what makes frames wait, so the oldest is also the one that is least likely to be completed.
 *
 * Nothing is trusted about parts but that they are authentic: bounds, alignment, count, overlaps and
 * two ends are checked, and whoever contradicts himself loses the whole frame. A part that is there
 * already, to the byte range, is ignored.
 */
#include "vand/fragment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "lib/wirebuf.h"
#include "vand/ecn.h"

#define OFFSET_MORE   1
#define BUFFER_STRIDE ((FRAGMENT_HEADROOM + FRAGMENT_FRAME_MAX + 63) & ~(size_t)63)

/* -- cutting -- */

int fragment_cut_init(struct fragment_cut *cut, size_t len, size_t part_max)
{
	size_t count;

	part_max &= ~(size_t)1;
	if (part_max == 0 || len == 0 || len > FRAGMENT_FRAME_MAX)
		return -EMSGSIZE;
	count = (len + part_max - 1) / part_max;
	if (count > FRAGMENT_PARTS_MAX)
		return -EMSGSIZE;
	/* Evenly: a tiny last part costs as much as a large one. Rounding up does not pass part_max,
	 * which is even. */
	*cut = (struct fragment_cut){
		.len = len, .part_len = ((len + count - 1) / count + 1) & ~(size_t)1};
	return 0;
}

bool fragment_cut_next(
	struct fragment_cut *cut, size_t *ret_offset, size_t *ret_len, bool *ret_more)
{
	size_t left = cut->len - cut->next;
	size_t len = left < cut->part_len ? left : cut->part_len;

	if (left == 0)
		return false;
	*ret_offset = cut->next;
	*ret_len = len;
	*ret_more = len < left;
	cut->next += len;
	return true;
}

void fragment_put(struct message_fragment *header, uint16_t id, size_t offset, bool more)
{
	struct wire_writer w = wire_writer(header, sizeof(*header));

	wire_put_be16(&w, id);
	wire_put_be16(&w, (uint16_t)(offset | (more ? OFFSET_MORE : 0)));
}

/* -- rejoining -- */

int fragment_init(struct fragment_joiner *j, struct counters *counters)
{
	memset(j, 0, sizeof(*j));
	j->counters = counters;
	j->memory = aligned_alloc(64, FRAGMENT_FRAMES * BUFFER_STRIDE);
	return j->memory ? 0 : -ENOMEM;
}

void fragment_done(struct fragment_joiner *j)
{
	free(j->memory);
	j->memory = NULL;
}

static uint8_t *buffer_of(const struct fragment_joiner *j, const struct fragment_frame *f)
{
	return j->memory + (size_t)(f - j->frames) * BUFFER_STRIDE + FRAGMENT_HEADROOM;
}

static void release(struct fragment_joiner *j, struct fragment_frame *f)
{
	f->used = false;
	j->count--;
}

static void drop(struct fragment_joiner *j, struct fragment_frame *f, enum drop_reason reason)
{
	release(j, f);
	stats_drop(j->counters, reason);
}

void fragment_expire(struct fragment_joiner *j, uint64_t now_ns)
{
	for (unsigned int i = 0; i < FRAGMENT_FRAMES && j->count; i++) {
		struct fragment_frame *f = &j->frames[i];

		if (f->used && now_ns > f->since_ns && now_ns - f->since_ns >= FRAGMENT_TIMEOUT_NS)
			drop(j, f, DROP_fragment_timeout);
	}
}

static bool same_key(const struct fragment_key *a, const struct fragment_key *b)
{
	return a->sender == b->sender && a->local_index == b->local_index && a->lane == b->lane;
}

/* The rest of the key does not say which frame it is, but has to agree. */
static bool agrees(const struct fragment_key *a, const struct fragment_key *b)
{
	return a->van_id == b->van_id && a->mode == b->mode && a->needs_csum == b->needs_csum &&
	       a->csum_start == b->csum_start && a->csum_offset == b->csum_offset;
}

static struct fragment_frame *find(
	struct fragment_joiner *j, const struct fragment_key *key, uint16_t id, uint64_t counter)
{
	for (unsigned int i = 0; i < FRAGMENT_FRAMES && j->count; i++) {
		struct fragment_frame *f = &j->frames[i];
		uint64_t apart;

		if (!f->used || f->id != id || !same_key(&f->key, key))
			continue;
		apart = counter > f->counter ? counter - f->counter : f->counter - counter;
		if (apart < FRAGMENT_PARTS_MAX)
			return f;
		drop(j, f, DROP_fragment_evicted); /* of an earlier turn of the ids */
		return NULL;
	}
	return NULL;
}

static struct fragment_frame *older(struct fragment_frame *a, struct fragment_frame *b)
{
	return a && a->since_ns <= b->since_ns ? a : b;
}

/* A frame for parts that are the first to come. */
static struct fragment_frame *begin(struct fragment_joiner *j, const struct fragment_key *key)
{
	struct fragment_frame *unused = NULL, *oldest = NULL, *own_oldest = NULL;
	unsigned int own = 0;

	for (unsigned int i = 0; i < FRAGMENT_FRAMES; i++) {
		struct fragment_frame *f = &j->frames[i];

		if (!f->used) {
			unused = f;
			continue;
		}
		oldest = older(oldest, f);
		if (f->key.sender == key->sender) {
			own_oldest = older(own_oldest, f);
			own++;
		}
	}
	if (own >= FRAGMENT_PER_SENDER)
		unused = own_oldest;
	else if (!unused)
		unused = oldest;
	if (unused->used)
		drop(j, unused, DROP_fragment_evicted);
	j->count++;
	return unused;
}

enum fit { FITS, IS_THERE, CONTRADICTS };

/* total: where it is the last part, else 0. */
static enum fit fit_of(const struct fragment_frame *f, size_t offset, size_t len, size_t total)
{
	size_t end = offset + len;

	if (total && f->total && total != f->total)
		return CONTRADICTS;
	if (f->total && end > f->total)
		return CONTRADICTS;
	for (unsigned int i = 0; i < f->count; i++) {
		const struct fragment_part *p = &f->parts[i];
		size_t p_end = (size_t)p->offset + p->len;

		if (p->offset == offset && p->len == len)
			return (total ? f->total == total : f->total != end) ? IS_THERE
									     : CONTRADICTS;
		if ((offset < p_end && p->offset < end) || (total && p_end > total))
			return CONTRADICTS;
	}
	return f->count < FRAGMENT_PARTS_MAX ? FITS : CONTRADICTS;
}

bool fragment_add(struct fragment_joiner *j, const struct fragment_key *key, uint64_t counter,
	uint8_t outer_ecn, const uint8_t *body, size_t len, uint64_t now_ns,
	struct fragment_joined *ret_joined)
{
	struct wire_reader r = wire_reader(body, len);
	uint16_t id = wire_get_be16(&r), offset = wire_get_be16(&r);
	bool more = offset & OFFSET_MORE;
	size_t part_len = wire_left(&r), end;
	struct fragment_frame *f;

	fragment_expire(j, now_ns);
	offset &= (uint16_t)~OFFSET_MORE;
	end = offset + part_len;
	/* Only the last part may be of odd length: the next one could not follow it. */
	if (r.failed || part_len == 0 || end > FRAGMENT_FRAME_MAX || (more && part_len % 2)) {
		stats_drop(j->counters, DROP_fragment_bad);
		return false;
	}
	f = find(j, key, id, counter);
	if (!f) {
		f = begin(j, key);
		*f = (struct fragment_frame){.used = true,
			.key = *key,
			.id = id,
			.counter = counter,
			.since_ns = now_ns,
			.ecn = outer_ecn};
	}
	switch (agrees(&f->key, key) ? fit_of(f, offset, part_len, more ? 0 : end) : CONTRADICTS) {
	case IS_THERE:
		return false;
	case CONTRADICTS:
		drop(j, f, DROP_fragment_bad);
		return false;
	case FITS:
		break;
	}
	memcpy(buffer_of(j, f) + offset, wire_take(&r, part_len), part_len);
	f->parts[f->count++] = (struct fragment_part){offset, (uint16_t)part_len};
	f->have = (uint16_t)(f->have + part_len);
	if (!more)
		f->total = (uint16_t)end;
	if (outer_ecn == ECN_CE)
		f->ecn = ECN_CE;
	if (f->have != f->total)
		return false;
	*ret_joined = (struct fragment_joined){
		.frame = buffer_of(j, f), .len = f->total, .outer_ecn = f->ecn};
	release(j, f);
	return true;
}
