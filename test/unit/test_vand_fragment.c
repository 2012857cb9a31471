/* SPDX-License-Identifier: Apache-2.0 */
/* Frames in parts: cutting, rejoining, and everything that may be wrong with parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "test/unit/offload_frames.h"
#include "vand/ecn.h"
#include "vand/fragment.h"

#define MS       1000000ull
#define HEADER   sizeof(struct message_fragment)
#define BODY_MAX (HEADER + FRAGMENT_FRAME_MAX)

struct fixture {
	struct fragment_joiner joiner;
	struct counters counters;
	uint64_t counter;
	uint64_t now_ns;
	struct fragment_joined joined; /* the last one */
};

static const int somebody, somebody_else;
static const struct fragment_key any_key = {.sender = &somebody,
	.local_index = 7,
	.van_id = 1,
	.lane = 1,
	.needs_csum = true,
	.csum_start = 34,
	.csum_offset = 16};

static int set_up(void **state)
{
	struct fixture *f = aligned_alloc(64, (sizeof(*f) + 63) & ~(size_t)63);

	memset(f, 0, sizeof(*f));
	f->now_ns = 1000000 * MS;
	assert_int_equal(fragment_init(&f->joiner, &f->counters), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	fragment_done(&f->joiner);
	free(f);
	return 0;
}

static uint64_t drops(const struct fixture *f, enum drop_reason reason)
{
	return stats_read(&f->counters.drops[reason]);
}

static uint64_t all_drops(const struct fixture *f)
{
	uint64_t sum = 0;

	for (int i = 0; i < DROP__COUNT; i++)
		sum += drops(f, (enum drop_reason)i);
	return sum;
}

/* Adds a part, from a buffer of exactly its size. */
static bool add_as(struct fixture *f, const struct fragment_key *key, uint16_t id, size_t offset,
	const uint8_t *bytes, size_t len, bool more)
{
	uint8_t *body = malloc(HEADER + len);
	bool complete;

	fragment_put((struct message_fragment *)body, id, offset, more);
	if (len)
		memcpy(body + HEADER, bytes, len);
	complete = fragment_add(&f->joiner, key, f->counter++, ECN_NOT_ECT, body, HEADER + len,
		f->now_ns, &f->joined);
	free(body);
	return complete;
}

static bool add(
	struct fixture *f, uint16_t id, size_t offset, const uint8_t *frame, size_t len, bool more)
{
	return add_as(f, &any_key, id, offset, frame + offset, len, more);
}

static void assert_joined(const struct fixture *f, const uint8_t *frame, size_t len)
{
	assert_int_equal(f->joined.len, len);
	assert_memory_equal(f->joined.frame, frame, len);
	/* Room in front of it that may be used. */
	memset(f->joined.frame - FRAGMENT_HEADROOM, 0xee, FRAGMENT_HEADROOM);
}

static void test_wire_format(void **state)
{
	struct message_fragment header;

	(void)state;
	fragment_put(&header, 0x1234, 0x0102, false);
	assert_memory_equal(&header, "\x12\x34\x01\x02", 4);
	fragment_put(&header, 0xffff, 0x2000, true);
	assert_memory_equal(&header, "\xff\xff\x20\x01", 4);
}

/* Every length with every part size: parts fit, are even, follow each other, and are few. */
static void test_cut(void **state)
{
	struct fragment_cut cut;
	size_t at, len;
	bool more;

	(void)state;
	for (size_t whole = 1; whole <= FRAGMENT_FRAME_MAX; whole += whole < 100 ? 1 : 37) {
		for (size_t part_max = 1; part_max < 2000; part_max += 7) {
			size_t next = 0, count = 0, even = part_max & ~(size_t)1;
			int rc = fragment_cut_init(&cut, whole, part_max);

			if (!even || (whole + even - 1) / even > FRAGMENT_PARTS_MAX) {
				assert_int_equal(rc, -EMSGSIZE);
				continue;
			}
			assert_int_equal(rc, 0);
			while (fragment_cut_next(&cut, &at, &len, &more)) {
				assert_int_equal(at, next);
				assert_int_equal(at % 2, 0);
				assert_in_range(len, 1, part_max);
				next += len;
				assert_int_equal(more, next < whole);
				if (more)
					assert_int_equal(len, cut.part_len);
				count++;
			}
			assert_int_equal(next, whole);
			assert_true(count <= (whole + even - 1) / even);
		}
	}
	assert_int_equal(fragment_cut_init(&cut, 0, 100), -EMSGSIZE);
	assert_int_equal(fragment_cut_init(&cut, FRAGMENT_FRAME_MAX + 1, 5000), -EMSGSIZE);
	assert_int_equal(fragment_cut_init(&cut, 100, 0), -EMSGSIZE);
}

/* Cut and joined in every order: three parts have six. */
static void test_rejoin_in_any_order(void **state)
{
	static const int orders[6][3] = {
		{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	struct fixture *f = *state;
	uint8_t *frame = random_bytes(3001, 1);

	for (int o = 0; o < 6; o++) {
		for (int i = 0; i < 3; i++) {
			int k = orders[o][i];

			assert_int_equal(add(f, (uint16_t)o, (size_t)k * 1002, frame,
						 k == 2 ? 3001 - 2004 : 1002, k != 2),
				i == 2);
		}
		assert_joined(f, frame, 3001);
		assert_int_equal(f->joiner.count, 0);
	}
	assert_int_equal(all_drops(f), 0);
	free(frame);
}

static void test_largest_and_smallest(void **state)
{
	struct fixture *f = *state;
	uint8_t *frame = random_bytes(FRAGMENT_FRAME_MAX, 2);

	for (size_t len = 1; len <= FRAGMENT_FRAME_MAX; len = len * 3 + 1) {
		for (size_t part_max = 452; part_max <= 9000; part_max += 1000) {
			struct fragment_cut cut;
			size_t at, n;
			bool more, complete = false;

			assert_int_equal(fragment_cut_init(&cut, len, part_max), 0);
			while (fragment_cut_next(&cut, &at, &n, &more)) {
				assert_false(complete);
				complete = add(f, 9, at, frame, n, more);
			}
			assert_true(complete);
			assert_joined(f, frame, len);
		}
	}
	/* As many parts as there may be. */
	for (unsigned int i = 0; i < FRAGMENT_PARTS_MAX; i++)
		assert_int_equal(add(f, 1, i * 450, frame, i + 1 < FRAGMENT_PARTS_MAX ? 450 : 7,
					 i + 1 < FRAGMENT_PARTS_MAX),
			i + 1 == FRAGMENT_PARTS_MAX);
	assert_int_equal(all_drops(f), 0);
	/* And one more. */
	for (unsigned int i = 0; i <= FRAGMENT_PARTS_MAX; i++) {
		assert_false(add(f, 2, i * 2, frame, 2, true));
		f->counter -= i / 8; /* near enough to belong together */
	}
	assert_int_equal(drops(f, DROP_fragment_bad), 1);
	assert_int_equal(f->joiner.count, 0);
	free(frame);
}

static void test_malformed(void **state)
{
	struct fixture *f = *state;
	uint8_t *frame = random_bytes(BODY_MAX, 3);

	for (size_t len = 0; len <= HEADER; len++) { /* no part in it */
		uint8_t *body = malloc(len ? len : 1);

		memset(body, 0, len);
		assert_false(fragment_add(
			&f->joiner, &any_key, f->counter++, 0, body, len, f->now_ns, &f->joined));
		free(body);
	}
	assert_false(add_as(f, &any_key, 1, 0, frame, 101, true)); /* odd, and not the last */
	assert_false(add_as(f, &any_key, 1, FRAGMENT_FRAME_MAX, frame, 1, false));
	assert_false(add_as(f, &any_key, 1, FRAGMENT_FRAME_MAX - 2, frame, 3, false));
	assert_false(add_as(f, &any_key, 1, 65534, frame, 100, true));
	assert_false(add_as(f, &any_key, 1, 0, frame, FRAGMENT_FRAME_MAX + 1, false));
	assert_int_equal(drops(f, DROP_fragment_bad), HEADER + 1 + 5);
	assert_int_equal(f->joiner.count, 0);
	free(frame);
}

struct pair {
	const char *what;
	struct {
		size_t offset, len;
		bool more;
	} first, second;
};

/* Parts that contradict each other: nothing of the frame is delivered. */
static void test_contradictions(void **state)
{
	static const struct pair pairs[] = {
		{"overlap behind", {0, 100, true}, {50, 100, true}},
		{"overlap in front", {100, 100, true}, {50, 100, true}},
		{"within", {0, 100, true}, {20, 20, true}},
		{"around", {20, 20, true}, {0, 100, true}},
		{"by two bytes", {0, 100, true}, {98, 100, false}},
		{"same begin, longer", {0, 100, true}, {0, 102, true}},
		{"same begin, shorter", {0, 100, true}, {0, 98, true}},
		{"two ends", {100, 50, false}, {200, 50, false}},
		{"an end, and more behind it", {100, 50, false}, {150, 50, true}},
		{"something, and an end in front of it", {100, 50, true}, {0, 50, false}},
		{"the same, now the last", {100, 50, true}, {100, 50, false}},
		{"the same, not the last any more", {100, 50, false}, {100, 50, true}},
	};
	struct fixture *f = *state;
	uint8_t *frame = random_bytes(1000, 4);

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		const struct pair *p = &pairs[i];
		uint64_t before = drops(f, DROP_fragment_bad);

		assert_false(add(f, 1, p->first.offset, frame, p->first.len, p->first.more));
		assert_int_equal(f->joiner.count, 1);
		if (add(f, 1, p->second.offset, frame, p->second.len, p->second.more) ||
			drops(f, DROP_fragment_bad) != before + 1 || f->joiner.count != 0)
			fail_msg("%s: not dropped", p->what);
	}
	free(frame);
}

static void test_duplicates(void **state)
{
	struct fixture *f = *state;
	uint8_t *frame = random_bytes(300, 5), other[100] = {0};

	assert_false(add(f, 1, 0, frame, 100, true));
	assert_false(add(f, 1, 0, frame, 100, true));
	/* The first one counts, whatever the second says. */
	assert_false(add_as(f, &any_key, 1, 0, other, 100, true));
	assert_false(add(f, 1, 200, frame, 100, false));
	assert_false(add(f, 1, 200, frame, 100, false));
	assert_true(add(f, 1, 100, frame, 100, true));
	assert_joined(f, frame, 300);
	assert_int_equal(all_drops(f), 0);
	free(frame);
}

/* Frames that only look alike are not mixed. */
static void test_keys(void **state)
{
	struct fixture *f = *state;
	uint8_t *frame = random_bytes(200, 6);
	struct fragment_key key;

	for (int i = 0; i < 4; i++) {
		key = any_key;
		key.sender = i == 1 ? &somebody_else : &somebody;
		key.local_index += i == 2;
		key.lane = (uint8_t)(key.lane + (i == 3));
		assert_false(add_as(f, &key, 1, 0, frame, 100, true));
	}
	assert_int_equal(f->joiner.count, 4);
	assert_false(add(f, 2, 100, frame, 100, false)); /* another id */
	assert_int_equal(f->joiner.count, 5);
	assert_true(add(f, 1, 100, frame, 100, false));
	assert_int_equal(all_drops(f), 0);
	assert_int_equal(f->joiner.count, 4);
	free(frame);
}

/* What has to agree within a frame. */
static void test_disagreement(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[200] = {0};

	for (int i = 0; i < 5; i++) {
		struct fragment_key key = any_key;

		key.van_id += i == 0;
		key.mode = i == 1;
		key.needs_csum = i != 2;
		key.csum_start = (uint8_t)(key.csum_start + (i == 3));
		key.csum_offset = (uint8_t)(key.csum_offset + (i == 4));
		assert_false(add(f, 1, 0, frame, 100, true));
		assert_false(add_as(f, &key, 1, 100, frame, 100, false));
		assert_int_equal(drops(f, DROP_fragment_bad), i + 1);
		assert_int_equal(f->joiner.count, 0);
	}
}

static void test_time_out(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[200] = {0};

	assert_false(add(f, 1, 0, frame, 100, true));
	f->now_ns += FRAGMENT_TIMEOUT_NS - 1;
	assert_false(add(f, 2, 0, frame, 100, true));
	fragment_expire(&f->joiner, f->now_ns);
	assert_int_equal(f->joiner.count, 2);
	f->now_ns += 1;
	fragment_expire(&f->joiner, f->now_ns);
	assert_int_equal(f->joiner.count, 1);
	assert_int_equal(drops(f, DROP_fragment_timeout), 1);
	assert_false(add(f, 1, 100, frame, 100, false)); /* too late: a new one */
	assert_true(add(f, 2, 100, frame, 100, false));
	f->now_ns += FRAGMENT_TIMEOUT_NS;
	assert_false(add(f, 3, 0, frame, 100, true)); /* expires what it finds */
	assert_int_equal(drops(f, DROP_fragment_timeout), 2);
	f->now_ns -= 100 * MS; /* clocks of workers may differ a little */
	fragment_expire(&f->joiner, f->now_ns);
	assert_int_equal(f->joiner.count, 1);
	assert_int_equal(all_drops(f), 2);
}

/* An id that comes round again is another frame. */
static void test_id_wraps(void **state)
{
	struct fixture *f = *state;
	uint8_t *old = random_bytes(200, 7), *new = random_bytes(200, 8);

	assert_false(add(f, 1, 0, old, 100, true));
	f->counter += FRAGMENT_PARTS_MAX;
	assert_false(add(f, 1, 0, new, 100, true));
	assert_int_equal(drops(f, DROP_fragment_evicted), 1);
	assert_true(add(f, 1, 100, new, 100, false));
	assert_joined(f, new, 200);
	/* Backwards, too: a late one. */
	assert_false(add(f, 2, 0, new, 100, true));
	f->counter -= 100;
	assert_false(add(f, 2, 100, old, 100, false));
	assert_int_equal(drops(f, DROP_fragment_evicted), 2);
	assert_int_equal(f->joiner.count, 1);
	free(old);
	free(new);
}

/* A sender with too many incomplete frames loses its own; the others' stay. */
static void test_fair_eviction(void **state)
{
	struct fixture *f = *state;
	uint8_t *frame = random_bytes(200, 9);
	struct fragment_key other = any_key;

	other.sender = &somebody_else;
	other.local_index = 8;
	assert_false(add_as(f, &other, 1, 0, frame, 100, true));
	for (uint16_t id = 0; id < 1000; id++) {
		f->now_ns += 1;
		assert_false(add(f, id, 0, frame, 100, true));
		assert_true(f->joiner.count <= FRAGMENT_PER_SENDER + 1);
	}
	assert_int_equal(drops(f, DROP_fragment_evicted), 1000 - FRAGMENT_PER_SENDER);
	/* The newest ones are still there. */
	for (uint16_t id = 1000 - FRAGMENT_PER_SENDER; id < 1000; id++) {
		f->counter = 1 + id;
		assert_true(add(f, id, 100, frame, 100, false));
	}
	f->counter = 1;
	assert_true(add_as(f, &other, 1, 100, frame + 100, 100, false));
	assert_joined(f, frame, 200);
	free(frame);
}

/* All buffers taken, each by somebody else: the oldest goes. */
static void test_total_is_bounded(void **state)
{
	struct fixture *f = *state;
	static const uint8_t senders[200];
	uint8_t frame[200] = {0};

	for (unsigned int i = 0; i < 200; i++) {
		struct fragment_key key = any_key;

		key.sender = &senders[i];
		f->now_ns += 1;
		assert_false(add_as(f, &key, 1, 0, frame, 100, true));
		assert_true(f->joiner.count <= FRAGMENT_FRAMES);
	}
	assert_int_equal(f->joiner.count, FRAGMENT_FRAMES);
	assert_int_equal(drops(f, DROP_fragment_evicted), 200 - FRAGMENT_FRAMES);
	/* The newest are those that are left. */
	for (unsigned int i = 200 - FRAGMENT_FRAMES; i < 200; i++) {
		struct fragment_key key = any_key;

		key.sender = &senders[i];
		f->counter = i;
		assert_true(add_as(f, &key, 1, 100, frame, 100, false));
	}
	assert_int_equal(f->joiner.count, 0);
}

/* CE on any part is CE on the frame; otherwise the first part's mark. */
static void test_ecn(void **state)
{
	struct fixture *f = *state;
	uint8_t body[HEADER + 100] = {0};

	for (unsigned int first = 0; first < 4; first++) {
		for (unsigned int second = 0; second < 4; second++) {
			fragment_put((struct message_fragment *)body, 1, 0, true);
			assert_false(fragment_add(&f->joiner, &any_key, f->counter++,
				(uint8_t)first, body, sizeof(body), f->now_ns, &f->joined));
			fragment_put((struct message_fragment *)body, 1, 100, false);
			assert_true(fragment_add(&f->joiner, &any_key, f->counter++,
				(uint8_t)second, body, sizeof(body), f->now_ns, &f->joined));
			assert_int_equal(f->joined.outer_ecn,
				first == ECN_CE || second == ECN_CE ? ECN_CE : first);
		}
	}
}

/* Anything at all, many times: the accounts stay in order, and a frame that comes out is whole. */
static void test_random_parts(void **state)
{
	struct fixture *f = *state;
	uint8_t *frame = random_bytes(FRAGMENT_FRAME_MAX, 10);
	uint64_t random = 77;

	for (int i = 0; i < 200000; i++) {
		struct fragment_key key = any_key;
		uint32_t r = next_random(&random);
		size_t offset = (r >> 8) % 6 * 300, len = 300;

		key.sender = r & 1 ? &somebody : &somebody_else;
		if ((r >> 16) % 50 == 0)
			len = 1 + (r >> 20) % 900;
		f->now_ns += (r >> 4) % 1000 * 1000;
		if (add_as(f, &key, (uint16_t)(r >> 24) % 4, offset, frame + offset, len,
			    (r >> 12) % 6 != 0))
			assert_memory_equal(f->joined.frame, frame, f->joined.len);
		assert_true(f->joiner.count <= 2 * FRAGMENT_PER_SENDER);
	}
	free(frame);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wire_format),
		cmocka_unit_test(test_cut),
		TEST(test_rejoin_in_any_order),
		TEST(test_largest_and_smallest),
		TEST(test_malformed),
		TEST(test_contradictions),
		TEST(test_duplicates),
		TEST(test_keys),
		TEST(test_disagreement),
		TEST(test_time_out),
		TEST(test_id_wraps),
		TEST(test_fair_eviction),
		TEST(test_total_is_bounded),
		TEST(test_ecn),
		TEST(test_random_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
