/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <sodium.h>
#include "console-api/nonce.h"
#include "lib/wirebuf.h"

#define NOW_S  1800000000u
#define MB     (1u << 20)
#define WINDOW 300

/* The nonce number i, unlike any other's. */
static void number(uint64_t i, uint8_t ret_nonce[NONCE_LEN])
{
	struct wire_writer w = wire_writer(ret_nonce, NONCE_LEN);

	wire_put_be64(&w, i);
	wire_put_be64(&w, i * 0x9e3779b97f4a7c15u);
}

static int take(struct nonces *t, const char *sender, uint64_t i, uint64_t until_s, uint64_t now_s)
{
	uint8_t nonce[NONCE_LEN];

	number(i, nonce);
	return nonces_take(t, sender, strlen(sender), nonce, until_s, now_s);
}

static void seen_for_its_time(void **state)
{
	struct nonces *t = nonces_new(MB, 1000);

	(void)state;
	assert_int_equal(take(t, "a", 1, NOW_S + 600, NOW_S), 0);
	for (uint64_t later = 0; later <= 600; later += 100)
		assert_int_equal(take(t, "a", 1, NOW_S + 600, NOW_S + later), -VAN_E_UNAUTHENTIC);
	/* Whatever stamp it comes with. */
	assert_int_equal(take(t, "a", 1, NOW_S + 900, NOW_S + 600), -VAN_E_UNAUTHENTIC);
	assert_int_equal(take(t, "a", 1, NOW_S + 901, NOW_S + 601), 0);
	assert_int_equal(take(t, "a", 1, NOW_S + 901, NOW_S + 601), -VAN_E_UNAUTHENTIC);
	nonces_free(t);
	nonces_free(NULL);
}

static void others_may_have_the_same(void **state)
{
	struct nonces *t = nonces_new(MB, 1000);

	(void)state;
	assert_int_equal(take(t, "a", 7, NOW_S, NOW_S), 0);
	assert_int_equal(take(t, "b", 7, NOW_S, NOW_S), 0);
	assert_int_equal(take(t, "", 7, NOW_S, NOW_S), 0);
	assert_int_equal(take(t, "b", 7, NOW_S, NOW_S), -VAN_E_UNAUTHENTIC);
	assert_int_equal(nonces_size(t).senders, 3);
	nonces_free(t);
}

/* However it grew, shrank and was tidied: what is within its time is known, all the way. */
static void none_is_forgotten(void **state)
{
	struct nonces *t = nonces_new(4 * MB, 20000);
	static uint64_t until_s[60000];
	uint64_t now_s = NOW_S;
	size_t n = 0;

	(void)state;
	while (n < 60000) {
		/* Bursts and pauses; stamps of clocks that are off by as much as they may be. */
		unsigned int burst = 1 + randombytes_uniform(randombytes_uniform(8) ? 20 : 2000);

		for (unsigned int i = 0; i < burst && n < 60000; i++, n++) {
			until_s[n] = now_s + randombytes_uniform(2 * WINDOW + 1);
			assert_int_equal(take(t, "a", n, until_s[n], now_s), 0);
		}
		for (unsigned int i = 0; i < 50; i++) {
			size_t old = randombytes_uniform((uint32_t)n);

			if (until_s[old] >= now_s)
				assert_int_equal(
					take(t, "a", old, now_s + 1, now_s), -VAN_E_UNAUTHENTIC);
		}
		now_s += randombytes_uniform(randombytes_uniform(20) ? 40 : 400);
	}
	for (size_t i = 0; i < n; i++)
		if (until_s[i] >= now_s)
			assert_int_equal(take(t, "a", i, now_s + 1, now_s), -VAN_E_UNAUTHENTIC);
	nonces_free(t);
}

/* What a month of a thousand nodes takes is what they sent in the last minutes. */
static void memory_follows_the_rate(void **state)
{
	struct nonces *t = nonces_new(64 * MB, 262144);
	size_t most = 0;
	uint64_t n = 0;
	char name[16];

	(void)state;
	for (unsigned int second = 0; second < 3600; second += 10) {
		for (unsigned int i = 0; i < 1000; i++) {
			snprintf(name, sizeof(name), "node_%u", i);
			assert_int_equal(
				take(t, name, n++, NOW_S + second + WINDOW, NOW_S + second), 0);
		}
		if (nonces_size(t).bytes > most)
			most = nonces_size(t).bytes;
	}
	assert_true(most < 4 * MB);
	assert_int_equal(nonces_size(t).senders, 1000);
	/* One that goes on is enough to be rid of all that fell silent. */
	for (unsigned int i = 0; i < 1000; i++)
		assert_int_equal(take(t, "other", n++, NOW_S + 5000, NOW_S + 4500), 0);
	assert_int_equal(nonces_size(t).senders, 1);
	nonces_free(t);
}

static void a_burst_is_given_back(void **state)
{
	struct nonces *t = nonces_new(64 * MB, 262144);
	uint64_t n = 0;

	(void)state;
	for (unsigned int i = 0; i < 100000; i++)
		assert_int_equal(take(t, "a", n++, NOW_S + WINDOW, NOW_S), 0);
	assert_true(nonces_size(t).bytes > 2 * MB);
	for (unsigned int second = 0; second <= 1200; second += 10)
		assert_int_equal(take(t, "a", n++, NOW_S + second + WINDOW, NOW_S + second), 0);
	assert_true(nonces_size(t).bytes < 4096);
	nonces_free(t);
}

static void one_sender_is_bounded(void **state)
{
	struct nonces *t = nonces_new(64 * MB, 10000);
	uint64_t n = 0;

	(void)state;
	while (n < 20000 && !take(t, "a", n, NOW_S + WINDOW, NOW_S))
		n++;
	assert_in_range(n, 10000, 10010);
	assert_int_equal(take(t, "a", n, NOW_S + 1 + WINDOW, NOW_S + 1), -VAN_E_LIMIT);
	assert_int_equal(take(t, "a", 0, NOW_S + WINDOW, NOW_S), -VAN_E_UNAUTHENTIC);
	assert_int_equal(take(t, "b", 0, NOW_S + WINDOW, NOW_S), 0);
	/* When they have run out there is room again. */
	assert_int_equal(take(t, "a", n, NOW_S + 700, NOW_S + WINDOW), -VAN_E_LIMIT);
	assert_int_equal(take(t, "a", n, NOW_S + 700, NOW_S + WINDOW + 1), 0);
	nonces_free(t);
}

/* Many that send all they may: they do not take what is kept for those that send little, and nobody
 * loses what he has. */
static void all_together_are_bounded(void **state)
{
	struct nonces *t = nonces_new(MB, 10000);
	bool refused = false;
	uint64_t n = 0;
	char name[16];

	(void)state;
	assert_int_equal(take(t, "first", 0, NOW_S + WINDOW, NOW_S), 0);
	for (unsigned int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "loud_%u", i);
		for (unsigned int k = 0; k < 10000; k++)
			refused |= take(t, name, n++, NOW_S + WINDOW, NOW_S) == -VAN_E_LIMIT;
		assert_true(nonces_size(t).bytes <= MB);
	}
	assert_true(refused);
	for (unsigned int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "quiet_%u", i);
		for (unsigned int k = 0; k < 60; k++)
			assert_int_equal(take(t, name, n++, NOW_S + WINDOW, NOW_S), 0);
	}
	assert_int_equal(take(t, "first", 0, NOW_S + WINDOW, NOW_S), -VAN_E_UNAUTHENTIC);
	/* Nor do those that send little exceed it, when they are too many. */
	for (unsigned int i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "crowd_%u", i);
		(void)take(t, name, n++, NOW_S + WINDOW, NOW_S);
	}
	assert_int_equal(take(t, "another", n, NOW_S + WINDOW, NOW_S), -VAN_E_LIMIT);
	assert_true(nonces_size(t).bytes <= MB);
	assert_int_equal(take(t, "first", 0, NOW_S + WINDOW, NOW_S), -VAN_E_UNAUTHENTIC);
	nonces_free(t);
}

/* The clock is set back and forth, and reaches the end of 32 bits. */
static void clocks(void **state)
{
	const uint64_t around[] = {NOW_S, NOW_S - 5000, NOW_S, UINT32_MAX - 300, UINT32_MAX,
		(1ull << 32) - WINDOW, 1ull << 32, (1ull << 32) + 1};
	struct nonces *t = nonces_new(MB, 1000);
	uint64_t n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
		for (unsigned int k = 0; k < 100; k++, n++) {
			assert_int_equal(take(t, "a", n, around[i] + WINDOW, around[i]), 0);
			assert_int_equal(
				take(t, "a", n, around[i] + WINDOW, around[i]), -VAN_E_UNAUTHENTIC);
			assert_int_equal(take(t, "a", n, around[i] + WINDOW, around[i] + WINDOW),
				-VAN_E_UNAUTHENTIC);
		}
	}
	nonces_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seen_for_its_time),
		cmocka_unit_test(others_may_have_the_same),
		cmocka_unit_test(none_is_forgotten),
		cmocka_unit_test(memory_follows_the_rate),
		cmocka_unit_test(a_burst_is_given_back),
		cmocka_unit_test(one_sender_is_bounded),
		cmocka_unit_test(all_together_are_bounded),
		cmocka_unit_test(clocks),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
