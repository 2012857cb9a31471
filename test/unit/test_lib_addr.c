/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include "lib/addr.h"

static struct ip ip_of(const char *text)
{
	struct ip ip;

	if (!ip_parse(text, &ip))
		fail_msg("%s does not parse", text);
	return ip;
}

static struct cidr cidr_of(const char *text)
{
	struct cidr c;

	if (!cidr_parse(text, &c))
		fail_msg("%s does not parse", text);
	return c;
}

static void test_mac(void **state)
{
	static const char *const bad[] = {"", "02:00:00:00:00", "02:00:00:00:00:0",
		"02:00:00:00:00:000", "02-00-00-00-00-01", "02:00:00:00:00:0g", "2:0:0:0:0:1",
		"020000000001", " 2:00:00:00:00:01", "02:00:00:00:00:01 ", "02:00:00:00:0001:"};
	struct mac m = {{9, 9, 9, 9, 9, 9}}, other;
	char text[MAC_TEXT_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(mac_parse(bad[i], &m));
	assert_memory_equal(m.b, "\x09\x09\x09\x09\x09\x09", 6);
	assert_true(mac_parse("02:aB:cd:EF:00:ff", &m));
	assert_memory_equal(m.b, "\x02\xab\xcd\xef\x00\xff", 6);
	mac_format(&m, text);
	assert_string_equal(text, "02:ab:cd:ef:00:ff");
	assert_false(mac_is_multicast(&m));
	other = m;
	assert_true(mac_equal(&m, &other));
	other.b[5] = 0;
	assert_false(mac_equal(&m, &other));
	assert_true(mac_parse("ff:ff:ff:ff:ff:ff", &m));
	assert_true(mac_is_multicast(&m));
	assert_true(mac_parse("01:00:5e:00:00:01", &m));
	assert_true(mac_is_multicast(&m));
}

static void test_ip_text(void **state)
{
	static const char *const bad[] = {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4",
		"1.2.3.4 ", " 1.2.3.4", "0x1.2.3.4", "1.2.3.-4", ":", ":::", "1::2::3",
		"12345::", "fe80::1%lo", "[::1]", "1.2.3.4/24", "::g", "1:2:3:4:5:6:7:8:9"};
	static const char *const good[][2] = {{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"}, {"::", "::"},
		{"2001:DB8:0:0:0:0:0:1", "2001:db8::1"}, {"::ffff:1.2.3.4", "::ffff:1.2.3.4"}};
	struct ip ip = {.family = AF_UNSPEC};
	char text[IP_TEXT_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(ip_parse(bad[i], &ip));
	assert_int_equal(ip.family, AF_UNSPEC);
	ip_format(&ip, text);
	assert_string_equal(text, "-");
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ip = ip_of(good[i][0]);
		ip_format(&ip, text);
		assert_string_equal(text, good[i][1]);
	}
	/* What an IPv4 address does not use is zero. */
	memset(&ip, 0xee, sizeof(ip));
	ip = ip_of("1.2.3.4");
	assert_memory_equal(ip.b, "\1\2\3\4\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}

static void test_ip_order(void **state)
{
	static const char *const sorted[] = {"0.0.0.0", "9.255.255.255", "10.0.0.0", "200.0.0.0",
		"::", "::1", "2001:db8::", "ff02::1"};
	size_t n = sizeof(sorted) / sizeof(sorted[0]);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < n; k++) {
			struct ip a = ip_of(sorted[i]), b = ip_of(sorted[k]);
			int order = ip_compare(&a, &b);

			assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
		}
	}
}

static void check_add(const char *from, uint64_t offset, const char *expected)
{
	struct ip a = ip_of(from), sum = {.family = AF_UNSPEC};

	assert_int_equal(ip_add(&a, offset, &sum), expected != NULL);
	if (expected) {
		struct ip wanted = ip_of(expected);

		assert_int_equal(ip_compare(&sum, &wanted), 0);
	} else {
		assert_int_equal(sum.family, AF_UNSPEC);
	}
}

static void test_ip_add(void **state)
{
	struct ip none = {.family = AF_UNSPEC}, sum;

	(void)state;
	check_add("10.0.0.1", 0, "10.0.0.1");
	check_add("10.0.0.255", 1, "10.0.1.0");
	check_add("10.255.255.255", 2, "11.0.0.1");
	check_add("0.0.0.0", 0xffffffff, "255.255.255.255");
	check_add("0.0.0.1", 0xffffffff, NULL);
	check_add("0.0.0.0", 0x100000000ull, NULL);
	check_add("255.255.255.255", 1, NULL);
	check_add("2001:db8::ffff:ffff:ffff:ffff", 1, "2001:db8:0:1::");
	check_add("::", UINT64_MAX, "::ffff:ffff:ffff:ffff");
	check_add("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, NULL);
	assert_false(ip_add(&none, 0, &sum));
}

static void test_ip_kinds(void **state)
{
	static const struct {
		const char *text;
		bool loopback, link_local, multicast, unspecified;
	} rows[] = {
		{"127.0.0.1", true, false, false, false},
		{"127.255.0.1", true, false, false, false},
		{"128.0.0.1", false, false, false, false},
		{"169.254.3.4", false, true, false, false},
		{"169.253.3.4", false, false, false, false},
		{"224.0.0.1", false, false, true, false},
		{"239.255.255.255", false, false, true, false},
		{"240.0.0.1", false, false, false, false},
		{"0.0.0.0", false, false, false, true},
		{"0.0.0.1", false, false, false, false},
		{"::", false, false, false, true},
		{"::1", true, false, false, false},
		{"::2", false, false, false, false},
		{"fe80::1", false, true, false, false},
		{"febf::1", false, true, false, false},
		{"fec0::1", false, false, false, false},
		{"ff02::1", false, false, true, false},
		{"2001:db8::1", false, false, false, false},
		{"::ffff:127.0.0.1", true, false, false, false},
		{"::ffff:169.254.0.1", false, true, false, false},
		{"::ffff:224.0.0.1", false, false, true, false},
		{"::ffff:0.0.0.0", false, false, false, true},
	};
	struct ip none = {.family = AF_UNSPEC};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip ip = ip_of(rows[i].text);

		assert_int_equal(ip_is_loopback(&ip), rows[i].loopback);
		assert_int_equal(ip_is_link_local(&ip), rows[i].link_local);
		assert_int_equal(ip_is_multicast(&ip), rows[i].multicast);
		assert_int_equal(ip_is_unspecified(&ip), rows[i].unspecified);
	}
	assert_true(ip_is_unspecified(&none));
	assert_false(ip_is_loopback(&none));
}

static void test_cidr_text(void **state)
{
	static const char *const bad[] = {"", "/", "/24", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
		"10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/ 8", "10.0.0.0/8 ", "10.0.0/8", "::/129",
		"10.0.0.0/8/8", "10.0.0.0/4294967304", "::1::/64",
		"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111/64"};
	struct cidr c = {.prefix = 99};
	char text[CIDR_TEXT_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(cidr_parse(bad[i], &c));
	assert_int_equal(c.prefix, 99);
	c = cidr_of("172.16.1.7/24");
	cidr_format(&c, text);
	assert_string_equal(text, "172.16.1.7/24");
	c = cidr_of("172.16.1.7");
	assert_int_equal(c.prefix, 32);
	c = cidr_of("fd00::1");
	assert_int_equal(c.prefix, 128);
	c = cidr_of("FD00:0::/0");
	cidr_format(&c, text);
	assert_string_equal(text, "fd00::/0");
	c = cidr_of("2001:db8:1111:2222:3333:4444:255.255.255.255/128");
	cidr_format(&c, text);
	c = (struct cidr){0};
	cidr_format(&c, text);
	assert_string_equal(text, "-");
}

static void check_ends(const char *text, const char *first_text, const char *last_text)
{
	struct cidr c = cidr_of(text);
	struct ip first = cidr_first(&c), last = cidr_last(&c);
	char shown[IP_TEXT_LEN];

	ip_format(&first, shown);
	assert_string_equal(shown, first_text);
	ip_format(&last, shown);
	assert_string_equal(shown, last_text);
	assert_true(cidr_contains(&c, &first));
	assert_true(cidr_contains(&c, &last));
	if (ip_add(&last, 1, &last))
		assert_false(cidr_contains(&c, &last));
}

static void test_cidr_sets(void **state)
{
	struct cidr a = cidr_of("10.1.0.0/16"), b = cidr_of("10.1.2.0/24");
	struct cidr other = cidr_of("10.2.0.0/16"), all = cidr_of("0.0.0.0/0");
	struct cidr six = cidr_of("::/0");
	struct ip four_ip = ip_of("10.1.255.255"), six_ip = ip_of("::ffff:10.1.0.1");
	struct ip none = {.family = AF_UNSPEC};

	(void)state;
	check_ends("172.16.1.7/24", "172.16.1.0", "172.16.1.255");
	check_ends("172.16.1.7/23", "172.16.0.0", "172.16.1.255");
	check_ends("172.16.1.7/32", "172.16.1.7", "172.16.1.7");
	check_ends("172.16.1.7/0", "0.0.0.0", "255.255.255.255");
	check_ends("172.16.1.7/31", "172.16.1.6", "172.16.1.7");
	check_ends("fd00::1234/61", "fd00::", "fd00::7:ffff:ffff:ffff:ffff");
	assert_true(cidr_is_network(&a));
	assert_true(cidr_is_network(&all));
	other = cidr_of("10.2.0.1/16");
	assert_false(cidr_is_network(&other));
	assert_true(cidr_contains(&a, &four_ip));
	assert_false(cidr_contains(&b, &four_ip));
	assert_false(cidr_contains(&a, &six_ip));
	assert_true(cidr_contains(&six, &six_ip));
	assert_false(cidr_contains(&six, &four_ip));
	assert_false(cidr_contains(&all, &none));
	assert_true(cidr_overlaps(&a, &b));
	assert_true(cidr_overlaps(&b, &a));
	assert_true(cidr_overlaps(&a, &a));
	assert_true(cidr_overlaps(&all, &b));
	assert_false(cidr_overlaps(&a, &other));
	assert_false(cidr_overlaps(&other, &b));
	assert_false(cidr_overlaps(&six, &all));
}

static void check_endpoint(const char *text, uint16_t default_port, const char *expected)
{
	struct endpoint ep;
	char shown[ENDPOINT_TEXT_LEN];

	if (!expected) {
		assert_false(endpoint_parse(text, default_port, &ep));
		return;
	}
	if (!endpoint_parse(text, default_port, &ep))
		fail_msg("%s does not parse", text);
	endpoint_format(&ep, shown);
	assert_string_equal(shown, expected);
}

static void test_endpoint_text(void **state)
{
	(void)state;
	check_endpoint("192.0.2.1:4826", 0, "192.0.2.1:4826");
	check_endpoint("192.0.2.1:1", 9, "192.0.2.1:1");
	check_endpoint("192.0.2.1:65535", 0, "192.0.2.1:65535");
	check_endpoint("[2001:db8::1]:4826", 0, "[2001:db8::1]:4826");
	check_endpoint("192.0.2.1", 4826, "192.0.2.1:4826");
	check_endpoint("2001:db8::1", 4826, "[2001:db8::1]:4826");
	check_endpoint("[2001:db8::1]", 4826, "[2001:db8::1]:4826");
	check_endpoint("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535", 0,
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");

	check_endpoint("192.0.2.1", 0, NULL);
	check_endpoint("2001:db8::1", 0, NULL);
	check_endpoint("[2001:db8::1]", 0, NULL);
	check_endpoint("192.0.2.1:0", 4826, NULL);
	check_endpoint("192.0.2.1:", 4826, NULL);
	check_endpoint("192.0.2.1:65536", 0, NULL);
	check_endpoint("192.0.2.1:+1", 0, NULL);
	check_endpoint("192.0.2.1:01", 0, NULL);
	check_endpoint("192.0.2.1:4826 ", 0, NULL);
	check_endpoint(":4826", 0, NULL);
	check_endpoint("", 4826, NULL);
	check_endpoint("[]:1", 0, NULL);
	check_endpoint("[2001:db8::1", 1, NULL);
	check_endpoint("[2001:db8::1]4826", 1, NULL);
	check_endpoint("[2001:db8::1]:", 1, NULL);
	check_endpoint("[192.0.2.1]:1", 0, NULL);
	check_endpoint("2001:db8::1]:1", 0, NULL);
	check_endpoint("host.example:1", 0, NULL);
	check_endpoint("[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:11]:1", 0, NULL);
}

static void test_endpoint_parts(void **state)
{
	struct endpoint four, mapped, six, none;
	struct ip ip;
	char shown[ENDPOINT_TEXT_LEN];

	(void)state;
	assert_true(endpoint_parse("192.0.2.1:4826", 0, &four));
	assert_true(endpoint_parse("[::ffff:192.0.2.1]:4826", 0, &mapped));
	assert_true(endpoint_parse("[2001:db8::1]:4826", 0, &six));
	assert_int_equal(four.remote.in.sin_family, AF_INET);
	assert_int_equal(four.remote.in.sin_port, htons(4826));
	assert_int_equal(endpoint_sockaddr_len(&four), sizeof(struct sockaddr_in));
	assert_int_equal(endpoint_sockaddr_len(&six), sizeof(struct sockaddr_in6));
	assert_int_equal(endpoint_port(&six), 4826);
	ip = endpoint_ip(&six);
	endpoint_from_ip(&ip, 4826, &none);
	assert_true(endpoint_same_remote(&six, &none));
	assert_true(endpoint_same_remote(&four, &mapped));
	assert_true(endpoint_same_remote(&mapped, &four));
	assert_false(endpoint_same_remote(&four, &six));
	four.local = ip_of("10.0.0.1");
	four.local_ifindex = 3;
	assert_true(endpoint_same_remote(&four, &mapped));
	four.remote.in.sin_port = htons(4827);
	assert_false(endpoint_same_remote(&four, &mapped));

	ip = (struct ip){.family = AF_UNSPEC};
	endpoint_from_ip(&ip, 1, &none);
	assert_int_equal(endpoint_ip(&none).family, AF_UNSPEC);
	assert_int_equal(endpoint_port(&none), 0);
	assert_int_equal(endpoint_sockaddr_len(&none), 0);
	endpoint_format(&none, shown);
	assert_string_equal(shown, "-");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_ip_text),
		cmocka_unit_test(test_ip_order),
		cmocka_unit_test(test_ip_add),
		cmocka_unit_test(test_ip_kinds),
		cmocka_unit_test(test_cidr_text),
		cmocka_unit_test(test_cidr_sets),
		cmocka_unit_test(test_endpoint_text),
		cmocka_unit_test(test_endpoint_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
