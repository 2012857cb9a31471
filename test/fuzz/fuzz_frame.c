/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what looks into frames beside the offloads: "too big" answers, MSS clamping, ECN, and parts
 * of frames. The input is a list of records: what to do 1 | parameter 2 | length 2 (both big-endian)
 * | bytes. Buffers are of exactly the sizes that the contracts promise.
 */
#include <stdlib.h>
#include <string.h>
#include "lib/wirebuf.h"
#include "vand/ecn.h"
#include "vand/fragment.h"
#include "vand/toobig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORD_TOO_BIG, RECORD_MSS, RECORD_ECN, RECORD_PART, RECORD_CUT, RECORD_TIME };

#define RECORD_KIND 0x07
#define RECORD_FLAG 0x08 /* too big: a super-frame; MSS: partial checksum; part: other sender */

struct fuzz {
	struct fragment_joiner joiner;
	struct counters counters;
	uint64_t now_ns;
	uint64_t counter;
};

static const int sender, other_sender;

static void check(bool good)
{
	if (!good)
		abort();
}

/* Ones' complement sum; 0 and 0xffff are the same number. */
static unsigned int sum_of(const uint8_t *p, size_t len)
{
	unsigned int sum = 0;

	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : p[i] * 256u;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return sum == 0xffff ? 0 : sum;
}

static uint8_t *copy_of(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (len)
		memcpy(copy, bytes, len);
	return copy;
}

/* Nothing but what an answer may be; and nobody ever answers one. */
static void check_too_big(const uint8_t *bytes, size_t len, size_t frame_max, bool cut)
{
	uint8_t *frame = copy_of(bytes, len), *answer = malloc(TOOBIG_ANSWER_MAX), *again;
	size_t segment_len = cut ? len / 2 : len;
	size_t n = toobig_answer(frame, len, segment_len, frame_max, answer);

	check(len == 0 || memcmp(frame, bytes, len) == 0);
	if (n) {
		check(n <= TOOBIG_ANSWER_MAX && n >= 14 + 20 + 8 && segment_len > frame_max);
		check(memcmp(answer, frame + 6, 6) == 0 && memcmp(answer + 6, frame, 6) == 0);
		check(!(answer[0] & 1) && !(answer[6] & 1));
		again = copy_of(answer, n);
		check(toobig_answer(again, n, n, 0, answer) == 0);
		check(toobig_answer(again, n, n, 600, answer) == 0);
		free(again);
	}
	free(answer);
	free(frame);
}

static void check_mss(const uint8_t *bytes, size_t len, size_t frame_max, bool partial)
{
	uint8_t *frame = copy_of(bytes, len);
	size_t changed = 0, first = len, last = 0;

	if (toobig_clamp_mss(frame, len, partial, frame_max)) {
		for (size_t i = 0; i < len; i++) {
			if (frame[i] == bytes[i])
				continue;
			changed++;
			first = i < first ? i : first;
			last = i;
		}
		/* The option, the checksum, and the sum of all stays what it was. */
		check(changed >= 1 && changed <= (partial ? 2 : 4) && last - first < 60);
		if (!partial)
			check(sum_of(frame, len) == sum_of(bytes, len));
		check(!toobig_clamp_mss(frame, len, partial, frame_max));
	} else {
		check(len == 0 || memcmp(frame, bytes, len) == 0);
	}
	free(frame);
}

static void check_ecn(const uint8_t *bytes, size_t len, uint8_t outer)
{
	uint8_t *frame = copy_of(bytes, len);
	uint8_t before = ecn_frame_tos(frame, len), after;
	bool passes = ecn_inner(frame, len, outer & ECN_MASK);

	after = ecn_frame_tos(frame, len);
	check((before & ~ECN_MASK) == (after & ~ECN_MASK));
	check(passes || ((before & ECN_MASK) == ECN_NOT_ECT && (outer & ECN_MASK) == ECN_CE));
	if (before == after)
		check(len == 0 || memcmp(frame, bytes, len) == 0);
	/* Once is enough. */
	check(ecn_inner(frame, len, outer & ECN_MASK) == passes);
	check(ecn_frame_tos(frame, len) == after);
	check(ecn_outer(frame, len, 0) == 0);
	free(frame);
}

static struct fragment_key key_of(unsigned int what)
{
	return (struct fragment_key){.sender = what & RECORD_FLAG ? &other_sender : &sender,
		.local_index = what >> 4 & 1,
		.van_id = 1 + (what >> 5 & 1),
		.needs_csum = what >> 6 & 1,
		.lane = (uint8_t)(what >> 7 & 1)};
}

static void add_part(struct fuzz *f, const uint8_t *bytes, size_t len, unsigned int what)
{
	const struct fragment_key key = key_of(what);
	struct fragment_joined joined;
	uint8_t *body = copy_of(bytes, len);

	if (fragment_add(
		    &f->joiner, &key, f->counter++, what >> 5 & 3, body, len, f->now_ns, &joined)) {
		check(joined.len >= 1 && joined.len <= FRAGMENT_FRAME_MAX);
		/* All of it may be read, and the room in front of it written. */
		(void)sum_of(joined.frame, joined.len);
		memset(joined.frame - FRAGMENT_HEADROOM, 0xa5, FRAGMENT_HEADROOM);
	}
	check(f->joiner.count <= FRAGMENT_FRAMES);
	free(body);
}

/* What is cut comes together again, in an order that the input chooses, whatever else is there. */
static void cut_and_join(
	struct fuzz *f, const uint8_t *bytes, size_t len, size_t part_max, unsigned int what)
{
	struct fragment_key key = key_of(what);
	uint8_t *parts[FRAGMENT_PARTS_MAX];
	size_t lengths[FRAGMENT_PARTS_MAX], count = 0, offset, part_len;
	struct fragment_joined joined;
	struct fragment_cut cut;
	bool more, complete = false;

	key.local_index = 99; /* nobody else's */
	if (fragment_cut_init(&cut, len, part_max) < 0)
		return;
	while (fragment_cut_next(&cut, &offset, &part_len, &more)) {
		check(count < FRAGMENT_PARTS_MAX && part_len <= part_max);
		lengths[count] = sizeof(struct message_fragment) + part_len;
		parts[count] = malloc(lengths[count]);
		fragment_put((struct message_fragment *)parts[count], (uint16_t)what, offset, more);
		memcpy(parts[count++] + sizeof(struct message_fragment), bytes + offset, part_len);
	}
	for (size_t i = 0; i < count; i++) {
		size_t at = (i + what) % count;

		check(!complete);
		complete = fragment_add(&f->joiner, &key, f->counter++, 0, parts[at], lengths[at],
			f->now_ns, &joined);
		free(parts[at]);
	}
	check(complete && joined.len == len && memcmp(joined.frame, bytes, len) == 0);
}

static void run_record(
	struct fuzz *f, unsigned int what, uint16_t parameter, const uint8_t *bytes, size_t len)
{
	switch (what & RECORD_KIND) {
	case RECORD_TOO_BIG:
		check_too_big(bytes, len, parameter, what & RECORD_FLAG);
		break;
	case RECORD_MSS:
		check_mss(bytes, len, parameter, what & RECORD_FLAG);
		break;
	case RECORD_ECN:
		check_ecn(bytes, len, (uint8_t)parameter);
		break;
	case RECORD_PART:
		add_part(f, bytes, len, what);
		break;
	case RECORD_CUT:
		cut_and_join(f, bytes, len, parameter, what);
		break;
	case RECORD_TIME:
		f->now_ns += (uint64_t)parameter << 16;
		f->counter += what >> 4;
		fragment_expire(&f->joiner, f->now_ns);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_reader r = wire_reader(data, size);
	struct fuzz *f = aligned_alloc(64, (sizeof(*f) + 63) & ~(size_t)63);

	memset(f, 0, sizeof(*f));
	check(fragment_init(&f->joiner, &f->counters) == 0);
	while (wire_left(&r) >= 5) {
		unsigned int what = wire_get_u8(&r);
		uint16_t parameter = wire_get_be16(&r);
		size_t len = wire_get_be16(&r);

		if (len > wire_left(&r))
			len = wire_left(&r);
		run_record(f, what, parameter, wire_take(&r, len), len);
	}
	fragment_done(&f->joiner);
	free(f);
	return 0;
}
