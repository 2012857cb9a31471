/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include <string.h>
#include "vand/replay.h"

static void accept(struct replay *r, uint64_t counter, bool expect_highest)
{
	bool highest = !expect_highest;

	assert_true(replay_check(r, counter));
	assert_true(replay_commit(r, counter, &highest));
	assert_int_equal(highest, expect_highest);
	assert_false(replay_check(r, counter));
	assert_false(replay_commit(r, counter, &highest));
}

static void refuse(struct replay *r, uint64_t counter)
{
	bool highest = true;

	assert_false(replay_check(r, counter));
	assert_false(replay_commit(r, counter, &highest));
	assert_true(highest); /* an output is not touched on failure */
}

static void test_edges(void **state)
{
	struct replay r;

	(void)state;
	replay_init(&r);
	accept(&r, 0, true);
	accept(&r, 1, true);
	accept(&r, REPLAY_WINDOW - 1, true);
	accept(&r, 2, false);
	accept(&r, REPLAY_WINDOW, true); /* 0 falls out, 1 is still in and seen */
	refuse(&r, 0);
	refuse(&r, 1);
	accept(&r, 3, false);
	accept(&r, REPLAY_WINDOW + 10, true);
	refuse(&r, 4);
	refuse(&r, 10);
	accept(&r, 11, false);
}

static void test_late_packets_over_a_whole_window(void **state)
{
	struct replay r;

	(void)state;
	/* Wherever in its word the highest is, exactly REPLAY_WINDOW counters are acceptable. */
	for (uint64_t top = 100000; top < 100000 + 130; top++) {
		replay_init(&r);
		accept(&r, top, true);
		for (uint64_t c = top - REPLAY_WINDOW + 1; c < top; c++)
			accept(&r, c, false);
		refuse(&r, top - REPLAY_WINDOW);
	}
}

static void test_far_jumps(void **state)
{
	struct replay r;

	(void)state;
	replay_init(&r);
	accept(&r, 5, true);
	accept(&r, 1ull << 40, true);
	refuse(&r, 5);
	for (uint64_t c = (1ull << 40) - REPLAY_WINDOW + 1; c < 1ull << 40; c++)
		accept(&r, c, false); /* the jump has cleared them all */
	accept(&r, UINT64_MAX - 1, true);
	refuse(&r, UINT64_MAX);
	accept(&r, UINT64_MAX - 2, false);
	accept(&r, UINT64_MAX - REPLAY_WINDOW, false);
	refuse(&r, UINT64_MAX - REPLAY_WINDOW - 1);
}

static void test_jumps_of_every_length(void **state)
{
	struct replay r;

	(void)state;
	/* Fill a window, jump ahead by n: what was seen stays seen, what is new is new. */
	for (uint64_t n = 1; n < REPLAY_WINDOW + 300; n += 61) {
		const uint64_t top = 20000;

		replay_init(&r);
		for (uint64_t c = top - REPLAY_WINDOW + 1; c <= top; c++)
			accept(&r, c, true);
		accept(&r, top + n, true);
		for (uint64_t c = top - REPLAY_WINDOW + 1; c <= top; c++)
			refuse(&r, c);
		for (uint64_t c = top + 1; c < top + n; c++) {
			if (top + n - c < REPLAY_WINDOW)
				accept(&r, c, false);
			else
				refuse(&r, c);
		}
	}
}

static void test_against_plain_model(void **state)
{
	/* One byte a counter and a highest: what the window means, without its tricks. */
	enum { SPACE = 60000 };
	static uint8_t seen[SPACE];
	struct replay r;
	int64_t highest = -1;
	uint64_t base = 0;

	(void)state;
	memset(seen, 0, sizeof(seen));
	replay_init(&r);
	for (int i = 0; i < 400000; i++) {
		uint64_t c = base + randombytes_uniform(12000);
		bool fresh, is_highest, ret_highest;

		if (c >= SPACE)
			break;
		is_highest = (int64_t)c > highest;
		fresh = is_highest || (!seen[c] && highest - (int64_t)c < REPLAY_WINDOW);
		assert_int_equal(replay_check(&r, c), fresh);
		assert_int_equal(replay_commit(&r, c, &ret_highest), fresh);
		if (fresh) {
			assert_int_equal(ret_highest, is_highest);
			seen[c] = 1;
			if (is_highest)
				highest = (int64_t)c;
		}
		base += randombytes_uniform(8) == 0;
	}
	assert_true(highest > 40000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_late_packets_over_a_whole_window),
		cmocka_unit_test(test_far_jumps),
		cmocka_unit_test(test_jumps_of_every_length),
		cmocka_unit_test(test_against_plain_model),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
