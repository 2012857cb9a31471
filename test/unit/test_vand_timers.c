/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include "lib/clock.h"
#include "vand/timers.h"

#define S NS_PER_S

/* -- the queue -- */

static void test_queue_in_order(void **state)
{
	enum { TIMERS = 2000 };
	static struct timer timers[TIMERS];
	struct timers q;
	uint64_t last = 0;
	size_t out = 0;

	(void)state;
	timers_init(&q);
	assert_null(timers_first(&q));
	assert_int_equal(timers_reserve(&q, TIMERS), 0);
	for (size_t i = 0; i < TIMERS; i++)
		timers_set(&q, &timers[i], randombytes_uniform(1000));
	for (size_t i = 0; i < 20000; i++) { /* move them about, take some out, put some back */
		struct timer *t = &timers[randombytes_uniform(TIMERS)];

		if (randombytes_uniform(3) == 0)
			timers_clear(&q, t);
		else
			timers_set(&q, t, randombytes_uniform(1000));
	}
	for (size_t i = 0; i < TIMERS; i += 2)
		timers_set(&q, &timers[i], i);
	for (size_t i = 1; i < TIMERS; i += 2)
		timers_clear(&q, &timers[i]);
	for (struct timer *t; (t = timers_first(&q)); out++) {
		assert_true(t->due_ns >= last);
		last = t->due_ns;
		timers_clear(&q, t);
		timers_clear(&q, t); /* twice is harmless */
	}
	assert_int_equal(out, TIMERS / 2);
	timers_done(&q);
}

static void test_queue_matches_a_list(void **state)
{
	enum { TIMERS = 40 };
	static struct timer timers[TIMERS];
	struct timers q;

	(void)state;
	timers_init(&q);
	assert_int_equal(timers_reserve(&q, 1), 0);
	assert_int_equal(timers_reserve(&q, 500), 0);
	for (int round = 0; round < 50000; round++) {
		struct timer *t = &timers[randombytes_uniform(TIMERS)];
		uint64_t earliest = UINT64_MAX;

		if (randombytes_uniform(2))
			timers_set(&q, t, 1 + randombytes_uniform(100));
		else
			timers_clear(&q, t);
		for (size_t i = 0; i < TIMERS; i++) {
			if (timers[i].place && timers[i].due_ns < earliest)
				earliest = timers[i].due_ns;
		}
		if (earliest == UINT64_MAX)
			assert_null(timers_first(&q));
		else
			assert_int_equal(timers_first(&q)->due_ns, earliest);
	}
	timers_done(&q);
}

/* -- waiting times -- */

static void test_retries(void **state)
{
	const uint64_t base_ms[] = {250, 250, 500, 1000, 2000, 5000, 5000, 5000};

	(void)state;
	for (unsigned int try = 0; try < 8; try++) {
		assert_int_equal(timers_retry_ns(try, 0), base_ms[try] * NS_PER_MS);
		assert_in_range(timers_retry_ns(try, UINT32_MAX),
			base_ms[try] * NS_PER_MS * 12 / 10, base_ms[try] * NS_PER_MS * 5 / 4);
	}
	assert_int_equal(timers_retry_ns(UINT32_MAX, 0), 5 * S);
	assert_int_equal(timers_slow_retry_ns(0), 30 * S);
	assert_in_range(timers_slow_retry_ns(UINT32_MAX), 37 * S, 37500 * NS_PER_MS);
}

static void test_rekey_times(void **state)
{
	struct session_timers t;

	(void)state;
	session_timers_default(&t);
	assert_int_equal(timers_rekey_ns(&t, true, 0), 120 * S);
	assert_in_range(timers_rekey_ns(&t, true, UINT32_MAX), 131 * S, 132 * S);
	assert_int_equal(timers_rekey_ns(&t, false, 0), 130 * S);
	assert_in_range(timers_rekey_ns(&t, false, UINT32_MAX), 139 * S, 140 * S);
	t.rekey_after = 2 * S;
	assert_in_range(timers_rekey_ns(&t, true, UINT32_MAX), 2 * S, 22 * S / 10);
	t.rekey_after = 1000 * S; /* later than a key lives: in time all the same */
	assert_int_equal(timers_rekey_ns(&t, true, 0), 165 * S);
	assert_int_equal(timers_key_life_ns(&t), 180 * S);
	t.reject_after = 9999 * S;
	assert_int_equal(timers_key_life_ns(&t), 540 * S);
}

/* -- what is due -- */

/* Looks once a second from a time to another; the second in which `what` is first due, or 0. */
static uint64_t first_due(const struct timers_facts *f, struct timers_memory *m, uint64_t from_s,
	uint64_t to_s, unsigned int what)
{
	struct session_timers t;

	session_timers_default(&t);
	for (uint64_t s = from_s; s <= to_s; s++) {
		if (timers_look(&t, f, m, s * S) & what)
			return s;
	}
	return 0;
}

static void test_nothing_happened(void **state)
{
	struct timers_facts f = {.rekey_at_ns = 120 * S};
	struct timers_memory m = {0};

	(void)state;
	/* Not even rekeying: nobody used the key. */
	assert_int_equal(first_due(&f, &m, 1, 1000, ~0u), 0);
}

static void test_keepalive_after_data(void **state)
{
	struct timers_facts f = {.rekey_at_ns = UINT64_MAX};
	struct timers_memory m = {0};

	(void)state;
	f.last_received_data_ns = f.last_received_ns = 100 * S;
	assert_int_equal(first_due(&f, &m, 101, 200, TIMERS_KEEPALIVE), 111);
	f.last_sent_ns = 111 * S; /* it was sent */
	assert_int_equal(first_due(&f, &m, 112, 300, ~0u), 0);
	/* A stream that comes in and none that goes out: every ten seconds or so. */
	for (uint64_t s = 300; s < 400; s++) {
		struct session_timers t;

		session_timers_default(&t);
		f.last_received_data_ns = f.last_received_ns = s * S;
		if (timers_look(&t, &f, &m, s * S + 1) & TIMERS_KEEPALIVE) {
			assert_in_range(s * S - f.last_sent_ns, 10 * S, s < 320 ? 400 * S : 12 * S);
			f.last_sent_ns = s * S + 2;
		}
	}
	assert_true(f.last_sent_ns > 380 * S);
	/* Whoever answers with frames needs no keepalive. */
	f.last_received_data_ns = f.last_received_ns = 500 * S;
	f.last_sent_ns = f.last_sent_data_ns = 500 * S + 1;
	assert_int_equal(first_due(&f, &m, 501, 510, TIMERS_KEEPALIVE), 0);
}

static void test_silent_peer(void **state)
{
	struct timers_facts f = {.rekey_at_ns = UINT64_MAX};
	struct timers_memory m = {0};

	(void)state;
	f.last_received_ns = 90 * S;
	f.last_sent_ns = f.last_sent_data_ns = 100 * S;
	assert_int_equal(first_due(&f, &m, 101, 200, TIMERS_SILENT), 116);
	f.last_received_ns = 117 * S; /* it is there after all */
	assert_int_equal(first_due(&f, &m, 118, 300, TIMERS_SILENT), 0);
	/* A keepalive of ours asks for no answer. */
	f.last_sent_ns = 300 * S;
	assert_int_equal(first_due(&f, &m, 301, 400, TIMERS_SILENT), 0);
	/* Sending on and on, with an answer at times. */
	for (uint64_t s = 400; s < 500; s++) {
		struct session_timers t;

		session_timers_default(&t);
		f.last_sent_ns = f.last_sent_data_ns = s * S;
		if (s % 12 == 0)
			f.last_received_ns = s * S - S / 2;
		assert_int_equal(timers_look(&t, &f, &m, s * S) & TIMERS_SILENT, 0);
	}
}

static void test_rekey_conditions(void **state)
{
	struct timers_facts f = {.rekey_at_ns = 120 * S};
	struct timers_memory m = {0};

	(void)state;
	f.key_was_used = true;
	assert_int_equal(first_due(&f, &m, 1, 300, TIMERS_REKEY), 120);
	f.key_was_used = false;
	f.eager = true;
	assert_int_equal(first_due(&f, &m, 1, 300, TIMERS_REKEY), 120);
	f.eager = false;
	f.key_is_full = true;
	assert_int_equal(first_due(&f, &m, 1, 300, TIMERS_REKEY), 1);
}

static void test_nat_mappings(void **state)
{
	struct timers_facts f = {.rekey_at_ns = UINT64_MAX, .behind_nat = true};
	struct timers_memory m = {0};

	(void)state;
	f.last_sent_ns = 100 * S;
	f.last_received_ns =
		119 * S; /* what comes in does not count: some mappings do not mind it */
	assert_int_equal(first_due(&f, &m, 101, 200, TIMERS_KEEPALIVE), 120);
	f.behind_nat = false;
	assert_int_equal(first_due(&f, &m, 101, 200, TIMERS_KEEPALIVE), 0);
}

static void test_stamps_ahead_of_the_clock(void **state)
{
	/* A worker's clock may be read later than ours; and 2^64 is far away. */
	struct timers_facts f = {.rekey_at_ns = UINT64_MAX, .behind_nat = true};
	struct timers_memory m = {0};
	struct session_timers t;

	(void)state;
	session_timers_default(&t);
	f.last_sent_ns = f.last_sent_data_ns = 101 * S;
	f.last_received_ns = f.last_received_data_ns = 102 * S;
	assert_int_equal(timers_look(&t, &f, &m, 100 * S), 0);
	assert_int_equal(timers_look(&t, &f, &m, 100 * S + 1), 0);
	assert_int_equal(timers_since(5, 9), 0);
	assert_int_equal(timers_since(9, 5), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue_in_order),
		cmocka_unit_test(test_queue_matches_a_list),
		cmocka_unit_test(test_retries),
		cmocka_unit_test(test_rekey_times),
		cmocka_unit_test(test_nothing_happened),
		cmocka_unit_test(test_keepalive_after_data),
		cmocka_unit_test(test_silent_peer),
		cmocka_unit_test(test_rekey_conditions),
		cmocka_unit_test(test_nat_mappings),
		cmocka_unit_test(test_stamps_ahead_of_the_clock),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
