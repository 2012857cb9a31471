/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include <string.h>
#include "lib/clock.h"
#include "lib/hash.h"
#include "vand/cookie.h"

static const uint8_t mesh[MESSAGE_MESH_LEN] = {1, 2, 3};

static struct endpoint at(const char *text)
{
	struct endpoint e;

	assert_true(endpoint_parse(text, 0, &e));
	return e;
}

static struct cookie_keys keys_of(uint8_t first)
{
	struct key k = {.bytes = {first}};
	struct cookie_keys keys;

	cookie_keys_init(&keys, mesh, &k);
	return keys;
}

/* mac1 and mac2 in their known form are in test_vand_handshake.c; here is what they refuse. */
static void test_mac1(void **state)
{
	const struct cookie_keys ours = keys_of(1), others = keys_of(2);
	uint8_t msg[160];

	(void)state;
	randombytes_buf(msg, sizeof(msg));
	cookie_add_macs(&ours, NULL, msg, sizeof(msg));
	assert_true(cookie_check_mac1(&ours, msg, sizeof(msg)));
	assert_true(cookie_mac2_is_zero(msg, sizeof(msg)));
	assert_false(cookie_check_mac1(&others, msg, sizeof(msg)));
	for (size_t bit = 0; bit < (sizeof(msg) - 16) * 8; bit++) {
		msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(cookie_check_mac1(&ours, msg, sizeof(msg)));
		msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	msg[159] = 1;
	assert_true(cookie_check_mac1(&ours, msg, sizeof(msg))); /* mac2 is not under it */
	assert_false(cookie_mac2_is_zero(msg, sizeof(msg)));
}

static void test_cookie_exchange(void **state)
{
	const struct cookie_keys responder = keys_of(1), third = keys_of(2);
	static struct cookie_guard guard;
	struct endpoint from = at("192.0.2.7:4826"), port = at("192.0.2.7:4827");
	struct endpoint address = at("192.0.2.8:4826"), mapped = at("[::ffff:192.0.2.7]:4826");
	struct message_cookie answer, bad;
	uint8_t msg[160] = {1}, nonce[24], cookie[COOKIE_LEN];
	uint64_t now = 5000 * NS_PER_S;

	(void)state;
	cookie_guard_init(&guard);
	cookie_add_macs(&responder, NULL, msg, sizeof(msg));
	randombytes_buf(nonce, sizeof(nonce));
	cookie_create(&guard, &responder, msg, sizeof(msg), 0xabcd, &from, nonce, now, &answer);
	assert_int_equal(answer.type, MESSAGE_COOKIE);
	assert_int_equal(message_index(answer.receiver), 0xabcd);
	assert_memory_equal(answer.nonce, nonce, sizeof(nonce));
	assert_true(cookie_open(&responder, &answer, msg + 128, cookie));

	/* It opens for nobody else's key, for no other message's mac1, and not if touched. */
	assert_false(cookie_open(&third, &answer, msg + 128, cookie));
	assert_false(cookie_open(&responder, &answer, msg + 127, cookie));
	for (size_t bit = 8 * 8; bit < sizeof(answer) * 8; bit++) {
		bad = answer;
		((uint8_t *)&bad)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(cookie_open(&responder, &bad, msg + 128, cookie));
	}

	msg[50] = 99; /* another INIT */
	assert_false(cookie_check_mac2(&guard, msg, sizeof(msg), &from, now));
	cookie_add_macs(&responder, cookie, msg, sizeof(msg));
	assert_true(cookie_check_mac2(&guard, msg, sizeof(msg), &from, now));
	assert_true(cookie_check_mac2(&guard, msg, sizeof(msg), &mapped, now));
	assert_false(cookie_check_mac2(&guard, msg, sizeof(msg), &port, now));
	assert_false(cookie_check_mac2(&guard, msg, sizeof(msg), &address, now));

	/* Good until the second change of the secret, whenever those are. */
	assert_true(cookie_check_mac2(&guard, msg, sizeof(msg), &from, now + 119 * NS_PER_S));
	assert_true(cookie_check_mac2(&guard, msg, sizeof(msg), &from, now + 121 * NS_PER_S));
	assert_true(cookie_check_mac2(&guard, msg, sizeof(msg), &from, now + 239 * NS_PER_S));
	assert_false(cookie_check_mac2(&guard, msg, sizeof(msg), &from, now + 245 * NS_PER_S));

	/* After a long rest neither secret is the old one. */
	cookie_guard_init(&guard);
	cookie_create(&guard, &responder, msg, sizeof(msg), 1, &from, nonce, now, &answer);
	assert_true(cookie_open(&responder, &answer, msg + 128, cookie));
	cookie_add_macs(&responder, cookie, msg, sizeof(msg));
	assert_true(cookie_check_mac2(&guard, msg, sizeof(msg), &from, now));
	assert_false(cookie_check_mac2(&guard, msg, sizeof(msg), &from, now + 1000 * NS_PER_S));
}

static void test_buckets(void **state)
{
	struct cookie_bucket b = {0};
	uint64_t now = 0;
	unsigned int passed = 0;

	(void)state;
	for (int i = 0; i < 100; i++) /* at the very zero of the clock, too */
		passed += cookie_bucket_take(&b, 10, 20, now);
	assert_int_equal(passed, 20);
	now += NS_PER_S + 1; /* a bucket first used at zero counts from 1 ns on */
	for (passed = 0; cookie_bucket_take(&b, 10, 20, now);)
		passed++;
	assert_int_equal(passed, 10);
	now += 99 * NS_PER_MS;
	assert_false(cookie_bucket_take(&b, 10, 20, now));
	now += 1 * NS_PER_MS;
	assert_true(cookie_bucket_take(&b, 10, 20, now));
	now += 1000000 * NS_PER_S; /* no more than a burst is saved up */
	for (passed = 0; cookie_bucket_take(&b, 10, 20, now);)
		passed++;
	assert_int_equal(passed, 20);
	assert_false(cookie_bucket_take(&b, 10, 20, now - 5)); /* time does not run backwards */
	assert_false(cookie_bucket_take(&b, 10, 20, now + 5));
}

static void test_load(void **state)
{
	static struct cookie_guard g;
	uint64_t now = 77 * NS_PER_S;
	int i;

	(void)state;
	cookie_guard_init(&g);
	for (i = 0; i < COOKIE_LOAD_PER_S; i++)
		assert_false(cookie_under_load(&g, now));
	assert_true(cookie_under_load(&g, now));
	/* It holds through the next second, in which there may be less, and ends with it. */
	assert_true(cookie_under_load(&g, now + NS_PER_S));
	assert_false(cookie_under_load(&g, now + 2 * NS_PER_S));
	/* Seconds without any do not count as the one before. */
	for (i = 0; i <= COOKIE_LOAD_PER_S; i++)
		(void)cookie_under_load(&g, now + 10 * NS_PER_S);
	assert_false(cookie_under_load(&g, now + 12 * NS_PER_S));
}

static unsigned int passes(struct cookie_guard *g, const char *from, bool proven, uint64_t now)
{
	struct endpoint e = at(from);
	unsigned int n = 0;

	while (n < 10000 && cookie_address_pass(g, &e, proven, now))
		n++;
	return n;
}

static void test_addresses(void **state)
{
	static struct cookie_guard g;
	uint64_t now = 77 * NS_PER_S;

	(void)state;
	cookie_guard_init(&g);
	assert_int_equal(passes(&g, "192.0.2.1:1", false, now), COOKIE_ADDRESS_BURST);
	assert_int_equal(passes(&g, "192.0.2.1:2", false, now), 0); /* the port does not matter … */
	assert_int_equal(passes(&g, "[::ffff:192.0.2.1]:2", false, now), 0);
	assert_int_equal(passes(&g, "192.0.2.2:1", false, now),
		COOKIE_ADDRESS_BURST); /* … the address does */
	assert_int_equal(passes(&g, "[2001:db8:1:2::1]:1", false, now), COOKIE_ADDRESS_BURST);
	assert_int_equal(passes(&g, "[2001:db8:1:2:ffff::1]:1", false, now), 0); /* one /64 */
	assert_int_equal(passes(&g, "[2001:db8:1:3::1]:1", false, now), COOKIE_ADDRESS_BURST);
	assert_int_equal(passes(&g, "192.0.2.1:1", false, now + NS_PER_S), COOKIE_ADDRESS_RATE);
	/* Whoever forges an address takes nothing from those who proved to be there. */
	assert_int_equal(passes(&g, "192.0.2.1:1", true, now + NS_PER_S), COOKIE_ADDRESS_BURST);
	assert_int_equal(passes(&g, "192.0.2.1:1", true, now + NS_PER_S), 0);
}

static void test_more_addresses_than_the_table_holds(void **state)
{
	static struct cookie_guard g;
	struct endpoint busy = at("198.51.100.1:1");
	uint64_t now = 77 * NS_PER_S;
	unsigned int passed = 0;

	(void)state;
	cookie_guard_init(&g);
	/* 20,000 addresses, and one that comes after each of them: that one is not forgotten. */
	for (uint32_t i = 0; i < 20000; i++) {
		struct ip ip = {.family = AF_INET,
			.b = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
		struct endpoint e;

		endpoint_from_ip(&ip, 1, &e);
		assert_true(cookie_address_pass(&g, &e, false, now));
		passed += cookie_address_pass(&g, &busy, false, now);
		now += NS_PER_S / 20000;
	}
	assert_in_range(passed, COOKIE_ADDRESS_BURST + COOKIE_ADDRESS_RATE - 1,
		COOKIE_ADDRESS_BURST + COOKIE_ADDRESS_RATE + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mac1),
		cmocka_unit_test(test_cookie_exchange),
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_more_addresses_than_the_table_holds),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
