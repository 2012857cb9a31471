/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <sodium.h>
#include "console-api/limit.h"
#include "lib/clock.h"

#define T0 (1000 * NS_PER_S)

static void burst_then_rate(void **state)
{
	struct limit *l = limit_new(10, 20);
	unsigned int retry_after_s = 0;

	(void)state;
	for (int i = 0; i < 20; i++)
		assert_true(limit_take(l, "a", 1, T0, &retry_after_s));
	assert_false(limit_take(l, "a", 1, T0, &retry_after_s));
	assert_int_equal(retry_after_s, 1);
	assert_true(limit_take(l, "b", 1, T0, NULL));
	assert_false(limit_take(l, "a", 1, T0 + 99 * NS_PER_MS, NULL));
	assert_true(limit_take(l, "a", 1, T0 + 101 * NS_PER_MS, NULL));
	assert_false(limit_take(l, "a", 1, T0 + 101 * NS_PER_MS, NULL));
	/* A long time fills the bucket, not more. */
	for (int i = 0; i < 20; i++)
		assert_true(limit_take(l, "a", 1, T0 + 3600 * NS_PER_S, NULL));
	assert_false(limit_take(l, "a", 1, T0 + 3600 * NS_PER_S, NULL));
	limit_free(l);
}

static void the_average_is_the_rate(void **state)
{
	struct limit *l = limit_new(200, 400);
	unsigned int passed = 0;

	(void)state;
	for (uint64_t ms = 0; ms < 10000; ms++)
		passed += limit_take(l, "k", 1, T0 + ms * NS_PER_MS, NULL);
	assert_in_range(passed, 2398, 2401); /* 400 at once and 200 a second */
	limit_free(l);
}

static void peek_takes_nothing(void **state)
{
	struct limit *l = limit_new(1, 2);
	unsigned int retry_after_s;

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_true(limit_peek(l, "a", 1, T0, NULL));
	assert_true(limit_take(l, "a", 1, T0, NULL));
	assert_true(limit_take(l, "a", 1, T0, NULL));
	assert_false(limit_peek(l, "a", 1, T0, &retry_after_s));
	assert_in_range(retry_after_s, 1, 2);
	limit_free(l);
}

static void a_clock_that_stands_still_or_goes_back(void **state)
{
	struct limit *l = limit_new(1, 1);

	(void)state;
	assert_true(limit_take(l, "a", 1, T0, NULL));
	assert_false(limit_take(l, "a", 1, T0 - NS_PER_S, NULL));
	assert_false(limit_take(l, "a", 1, T0, NULL));
	assert_true(limit_take(l, "a", 1, T0 + NS_PER_S, NULL));
	limit_free(l);
}

/* Strangers from very many addresses cannot make it grow, and the recent stay known. */
static void bounded(void **state)
{
	struct limit *l = limit_new(1, 1);
	unsigned int forgotten = 0;

	(void)state;
	for (uint32_t i = 0; i < 200000; i++)
		limit_take(l, &i, sizeof(i), T0 + i, NULL);
	for (uint32_t i = 199000; i < 200000; i++)
		forgotten += limit_take(l, &i, sizeof(i), T0 + 200000, NULL);
	assert_true(forgotten < 100);
	limit_free(l);
}

static void charges_may_leave_a_debt(void **state)
{
	struct limit *l = limit_new(10, 20);

	(void)state;
	limit_charge(l, "a", 1, T0, 19.5);
	assert_false(limit_peek(l, "a", 1, T0, NULL));
	assert_true(limit_take(l, "a", 1, T0 + NS_PER_S, NULL));
	limit_charge(l, "a", 1, T0 + NS_PER_S, 1e9);
	assert_false(limit_peek(l, "a", 1, T0 + 3 * NS_PER_S, NULL));
	assert_true(limit_peek(l, "a", 1, T0 + 3200 * NS_PER_MS, NULL)); /* -20 + 2.2 s * 10 */
	assert_true(limit_take(l, "b", 1, T0, NULL));
	limit_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst_then_rate),
		cmocka_unit_test(the_average_is_the_rate),
		cmocka_unit_test(peek_takes_nothing),
		cmocka_unit_test(a_clock_that_stands_still_or_goes_back),
		cmocka_unit_test(bounded),
		cmocka_unit_test(charges_may_leave_a_debt),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
