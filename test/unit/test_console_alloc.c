/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <sodium.h>
#include "console-api/alloc.h"
#include "lib/netmap.h"

static struct cidr cidr(const char *text)
{
	struct cidr c;

	assert_true(cidr_parse(text, &c));
	return c;
}

static struct ip ip(const char *text)
{
	struct ip a;

	assert_true(ip_parse(text, &a));
	return a;
}

static void networks(void **state)
{
	static const char *const good4[] = {
		"10.0.0.0/8", "172.16.1.0/24", "192.168.0.0/30", "100.64.0.0/10", "203.0.113.0/24"};
	static const char *const bad4[] = {"10.0.0.0/7", "10.0.0.0/31", "10.0.0.1/32",
		"172.16.1.1/24", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/8", "240.0.0.0/8",
		"0.0.0.0/8", "fd00::/64"};
	static const char *const bad6[] = {
		"fe80::/64", "ff02::/64", "::/64", "fd00::1/64", "fd00::/127", "10.0.0.0/8"};

	(void)state;
	for (size_t i = 0; i < sizeof(good4) / sizeof(good4[0]); i++) {
		struct cidr c = cidr(good4[i]);

		if (!alloc_cidr_usable(&c, AF_INET, NULL))
			fail_msg("%s", good4[i]);
	}
	for (size_t i = 0; i < sizeof(bad4) / sizeof(bad4[0]); i++) {
		struct cidr c = cidr(bad4[i]);
		struct err e = {0};

		if (alloc_cidr_usable(&c, AF_INET, &e))
			fail_msg("%s", bad4[i]);
		assert_true(e.text[0]);
	}
	for (size_t i = 0; i < sizeof(bad6) / sizeof(bad6[0]); i++) {
		struct cidr c = cidr(bad6[i]);

		if (alloc_cidr_usable(&c, AF_INET6, NULL))
			fail_msg("%s", bad6[i]);
	}
	assert_true(alloc_cidr_usable(&(struct cidr){ip("fd00:1::"), 64}, AF_INET6, NULL));
}

static void host_bits_are_named(void **state)
{
	struct cidr c = cidr("172.16.1.77/24");
	struct err e = {0};

	(void)state;
	assert_false(alloc_cidr_usable(&c, AF_INET, &e));
	assert_non_null(strstr(e.text, "172.16.1.0/24"));
}

static void addresses(void **state)
{
	struct cidr net = cidr("172.16.1.0/24"), net6 = cidr("fd00:1::/64");
	const struct {
		const char *text;
		bool usable;
	} cases[] = {{"172.16.1.1", true}, {"172.16.1.254", true}, {"172.16.1.0", false},
		{"172.16.1.255", false}, {"172.16.2.1", false}, {"fd00:1::1", false}};
	const struct {
		const char *text;
		bool usable;
	} cases6[] = {{"fd00:1::1", true}, {"fd00:1::ffff:ffff:ffff:ffff", true},
		{"fd00:1::", false}, {"fd00:2::1", false}, {"172.16.1.1", false}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ip a = ip(cases[i].text);

		assert_int_equal(alloc_address_usable(&net, &a, NULL), cases[i].usable);
	}
	for (size_t i = 0; i < sizeof(cases6) / sizeof(cases6[0]); i++) {
		struct ip a = ip(cases6[i].text);

		assert_int_equal(alloc_address_usable(&net6, &a, NULL), cases6[i].usable);
	}
}

static void assert_first(const char *net, const struct ip *held, size_t n, const char *want)
{
	struct cidr c = cidr(net);
	struct ip got = {0}, wanted;
	int rc = alloc_first_free(&c, held, n, NULL, 0, &got);

	if (!want) {
		assert_int_equal(rc, -VAN_E_LIMIT);
		assert_int_equal(got.family, AF_UNSPEC);
		return;
	}
	wanted = ip(want);
	assert_int_equal(rc, 0);
	assert_int_equal(ip_compare(&got, &wanted), 0);
}

static void lowest_free_address(void **state)
{
	const struct ip held[] = {ip("10.0.0.1"), ip("10.0.0.2"), ip("10.0.0.4"), ip("10.0.0.200")};
	const struct ip held6[] = {ip("fd00::1"), ip("fd00::2")};
	const struct ip tail[] = {ip("10.0.0.253"), ip("10.0.0.254")};

	(void)state;
	assert_first("10.0.0.0/24", held, 0, "10.0.0.1");
	assert_first("10.0.0.0/24", held, 1, "10.0.0.2");
	assert_first("10.0.0.0/24", held, 4, "10.0.0.3");
	assert_first("10.0.0.0/24", held + 2, 2, "10.0.0.1");
	assert_first("10.0.0.0/30", held, 1, "10.0.0.2");
	assert_first("10.0.0.0/30", held, 2, NULL);
	assert_first("10.0.0.252/30", tail, 1, "10.0.0.254");
	assert_first("10.0.0.252/30", tail, 2, NULL);
	assert_first("fd00::/64", held6, 2, "fd00::3");
	assert_first("fd00::/126", held6, 2, "fd00::3");
}

/* All that a walk finds, as text: "1 4 5". */
static void assert_walk(struct alloc_walk walk, const char *want)
{
	char text[256] = "";
	struct ip got;

	while (!alloc_next_free(&walk, &got))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u",
			text[0] ? " " : "", got.b[3]);
	assert_string_equal(text, want);
	assert_int_equal(alloc_next_free(&walk, &got), -VAN_E_LIMIT);
}

static void walks_around_what_is_held_and_reserved(void **state)
{
	const struct ip held[] = {ip("10.0.0.1"), ip("10.0.0.5"), ip("10.0.0.9")};
	const struct ip_range ranges[] = {{ip("10.0.0.2"), ip("10.0.0.3")},
		{ip("10.0.0.5"), ip("10.0.0.7")}, {ip("10.0.0.6"), ip("10.0.0.6")},
		{ip("10.0.0.12"), ip("10.0.0.14")}};
	const struct ip_range all[] = {{ip("10.0.0.0"), ip("10.0.0.255")}};
	const struct ip_range top[] = {{ip("255.255.255.252"), ip("255.255.255.255")}};
	struct cidr net = cidr("10.0.0.0/28"), end = cidr("255.255.255.252/30");
	struct ip got;

	(void)state;
	assert_walk((struct alloc_walk){.net = &net}, "1 2 3 4 5 6 7 8 9 10 11 12 13 14");
	assert_walk((struct alloc_walk){.net = &net, .held = held, .n = 3},
		"2 3 4 6 7 8 10 11 12 13 14");
	assert_walk((struct alloc_walk){.net = &net, .ranges = ranges, .range_count = 4},
		"1 4 8 9 10 11");
	assert_walk(
		(struct alloc_walk){
			.net = &net, .held = held, .n = 3, .ranges = ranges, .range_count = 4},
		"4 8 10 11");
	assert_walk((struct alloc_walk){.net = &net, .ranges = all, .range_count = 1}, "");
	/* Beyond the last address of all there is none. */
	assert_int_equal(alloc_first_free(&end, NULL, 0, top, 1, &got), -VAN_E_LIMIT);
}

static void every_address_of_a_network_once(void **state)
{
	struct ip held[300] = {0};
	struct cidr net = cidr("10.0.4.0/24");
	size_t n = 0;

	(void)state;
	while (n < 300 && !alloc_first_free(&net, held, n, NULL, 0, &held[n])) {
		assert_int_equal(held[n].b[3], n + 1);
		n++;
	}
	assert_int_equal(n, 254);
}

static void keys_sort_by_address(void **state)
{
	const char *const texts[] = {
		"10.0.0.9", "10.0.0.10", "10.0.1.0", "172.16.0.1", "fd00::9", "fd00::10"};
	char before[ALLOC_ADDRESS_KEY_LEN] = "", key[ALLOC_ADDRESS_KEY_LEN];
	struct ip a, back;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		a = ip(texts[i]);
		alloc_address_key(&a, key);
		assert_true(strcmp(before, key) < 0);
		snprintf(before, sizeof(before), "%s", key);
		assert_true(alloc_address_from_key(key, &back));
		assert_int_equal(ip_compare(&a, &back), 0);
	}
	assert_false(alloc_address_from_key("", &back));
	assert_false(alloc_address_from_key("4", &back));
	assert_false(alloc_address_from_key("50a000001", &back));
	assert_false(alloc_address_from_key("40a0000", &back));
	assert_false(alloc_address_from_key("40a0000zz", &back));
	assert_false(alloc_address_from_key("60a000001", &back));
}

static void random_macs(void **state)
{
	struct mac a, b;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		alloc_random_mac(&a);
		assert_int_equal(a.b[0] & 3, 2);
	}
	alloc_random_mac(&b);
	assert_false(mac_equal(&a, &b));
}

static void random_van_ids(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_in_range(alloc_random_van_id(), 1, NETMAP_VAN_ID_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks),
		cmocka_unit_test(host_bits_are_named),
		cmocka_unit_test(addresses),
		cmocka_unit_test(lowest_free_address),
		cmocka_unit_test(walks_around_what_is_held_and_reserved),
		cmocka_unit_test(every_address_of_a_network_once),
		cmocka_unit_test(keys_sort_by_address),
		cmocka_unit_test(random_macs),
		cmocka_unit_test(random_van_ids),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
