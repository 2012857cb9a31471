/* SPDX-License-Identifier: Apache-2.0 */
/* rtnetlink against a real kernel, in a namespace of its own: skipped without root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include "lib/clock.h"
#include "test/unit/netns.h"
#include "vand/route.h"
#include "vand/tap.h"

struct fixture {
	struct loop loop;
	struct route *route;
	struct tap tap;
	unsigned int changes;
	struct loop_timer limit;
};

static struct fixture f;
static bool have_netns;

static void needs_netns(void)
{
	if (!have_netns)
		skip();
}

static void on_changed(void *ctx)
{
	struct fixture *x = ctx;

	x->changes++;
	loop_stop(&x->loop);
}

static void on_limit(struct loop_timer *timer, uint64_t now_ns)
{
	(void)now_ns;
	loop_stop(&container_of(timer, struct fixture, limit)->loop);
}

/* Runs the loop until the next change, or for at most `ms`. */
static void run(unsigned int ms)
{
	f.limit.fire = on_limit;
	f.loop.stopping = false;
	f.loop.now_ns = clock_boottime_ns();
	loop_timer_set(&f.loop, &f.limit, f.loop.now_ns + ms * NS_PER_MS);
	assert_int_equal(loop_run(&f.loop), 0);
	loop_timer_cancel(&f.loop, &f.limit);
}

static struct cidr cidr(const char *text)
{
	struct cidr c;

	assert_true(cidr_parse(text, &c));
	return c;
}

static void link_is_set(void **state)
{
	struct mac mac;
	struct err e = {0};

	(void)state;
	needs_netns();
	assert_true(mac_parse("02:00:00:00:00:42", &mac));
	assert_int_equal(route_link_set(f.route, f.tap.ifindex, &mac, 1400, true, NULL), 0);
	assert_true(netns_has_mac("van0", "02:00:00:00:00:42"));
	assert_int_equal(netns_mtu("van0"), 1400);
	assert_true(netns_is_up("van0"));
	/* the one without the others */
	assert_int_equal(route_link_set(f.route, f.tap.ifindex, NULL, 0, false, NULL), 0);
	assert_false(netns_is_up("van0"));
	assert_int_equal(netns_mtu("van0"), 1400);
	mac.b[5] = 0x43;
	assert_int_equal(route_link_set(f.route, f.tap.ifindex, &mac, 0, true, NULL), 0);
	assert_true(netns_has_mac("van0", "02:00:00:00:00:43"));

	assert_int_equal(route_link_set(f.route, 9999, &mac, 1400, true, &e), -ENODEV);
	assert_non_null(strstr(e.text, "9999"));
	mac.b[0] = 0xff; /* a group address is nobody's */
	assert_int_equal(route_link_set(f.route, f.tap.ifindex, &mac, 0, true, &e), -EADDRNOTAVAIL);
	assert_non_null(strstr(e.text, "van0"));
}

static void addresses_are_made_what_is_wanted(void **state)
{
	const struct cidr one[] = {cidr("172.16.1.5/24"), cidr("fd00:1::5/64")};
	const struct cidr two[] = {cidr("172.16.1.9/24"), cidr("172.16.2.9/24")};

	(void)state;
	needs_netns();
	assert_int_equal(route_link_set(f.route, f.tap.ifindex, NULL, 1360, true, NULL), 0);
	assert_int_equal(route_addresses_set(f.route, f.tap.ifindex, NULL, 0, one, 2, NULL), 0);
	assert_true(netns_has_address("van0", "172.16.1.5/24"));
	assert_true(netns_has_address("van0", "fd00:1::5/64"));
	/* again: nothing to do */
	assert_int_equal(route_addresses_set(f.route, f.tap.ifindex, one, 2, one, 2, NULL), 0);
	/* what others put there stays, though it is in the subnet whose first address goes */
	netns_ip("addr add 172.16.1.77/24 dev van0");
	assert_int_equal(route_addresses_set(f.route, f.tap.ifindex, one, 2, two, 2, NULL), 0);
	assert_false(netns_has_address("van0", "172.16.1.5/24"));
	assert_false(netns_has_address("van0", "fd00:1::5/64"));
	assert_true(netns_has_address("van0", "172.16.1.9/24"));
	assert_true(netns_has_address("van0", "172.16.2.9/24"));
	assert_true(netns_has_address("van0", "172.16.1.77/24"));
	/* somebody removed one of ours: that is how it was wanted */
	netns_ip("addr del 172.16.2.9/24 dev van0");
	assert_int_equal(route_addresses_set(f.route, f.tap.ifindex, two, 2, NULL, 0, NULL), 0);
	assert_false(netns_has_address("van0", "172.16.1.9/24"));
	assert_true(netns_has_address("van0", "172.16.1.77/24"));
}

static void prefix_is_part_of_an_address(void **state)
{
	const struct cidr wide = cidr("172.16.1.5/16"), narrow = cidr("172.16.1.5/24");

	(void)state;
	needs_netns();
	assert_int_equal(route_addresses_set(f.route, f.tap.ifindex, NULL, 0, &wide, 1, NULL), 0);
	assert_int_equal(
		route_addresses_set(f.route, f.tap.ifindex, &wide, 1, &narrow, 1, NULL), 0);
	assert_false(netns_has_address("van0", "172.16.1.5/16"));
	assert_true(netns_has_address("van0", "172.16.1.5/24"));
}

static void errors_name_address_and_interface(void **state)
{
	const struct cidr bad = cidr("224.0.0.1/24"); /* multicast is no address of a host */
	const struct cidr good = cidr("172.16.1.5/24");
	struct err e = {0};

	(void)state;
	needs_netns();
	if (route_addresses_set(f.route, f.tap.ifindex, NULL, 0, &bad, 1, &e) < 0)
		assert_non_null(strstr(e.text, "224.0.0.1/24"));
	assert_int_equal(route_addresses_set(f.route, 9999, NULL, 0, &good, 1, &e), -ENODEV);
	assert_non_null(strstr(e.text, "172.16.1.5/24"));
	/* removing from an interface that is gone is done */
	assert_int_equal(route_addresses_set(f.route, 9999, &good, 1, NULL, 0, &e), 0);
}

static const struct route_underlay *find(
	const struct route_underlay *list, size_t count, const char *text)
{
	struct ip ip;

	assert_true(ip_parse(text, &ip));
	for (size_t i = 0; i < count; i++) {
		if (ip_compare(&list[i].address, &ip) == 0)
			return &list[i];
	}
	return NULL;
}

static void underlay_is_where_we_can_be_reached(void **state)
{
	const struct cidr own = cidr("172.16.1.5/24");
	struct route_underlay *list;
	size_t count;

	(void)state;
	needs_netns();
	assert_int_equal(route_link_set(f.route, f.tap.ifindex, NULL, 1360, true, NULL), 0);
	assert_int_equal(route_addresses_set(f.route, f.tap.ifindex, NULL, 0, &own, 1, NULL), 0);
	netns_ip("link add veth0 mtu 1460 type veth peer name veth1");
	netns_ip("addr add 10.1.0.7/24 dev veth0");
	netns_ip("addr add fd00:7::7/64 dev veth0 nodad");
	netns_ip("addr add 169.254.1.1/16 dev veth0");
	netns_ip("addr add 10.2.0.7/24 dev veth1"); /* stays down */
	netns_ip("addr add 10.3.0.1/32 dev lo");
	netns_ip("link set veth0 up");
	assert_int_equal(route_underlay(f.route, &f.tap.ifindex, 1, &list, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_non_null(find(list, count, "10.1.0.7"));
	assert_non_null(find(list, count, "fd00:7::7"));
	assert_string_equal(list[0].ifname, "veth0");
	assert_int_equal(list[0].mtu, 1460);
	free(list);
	assert_int_equal(route_underlay(f.route, NULL, 0, &list, &count, NULL), 0);
	assert_non_null(find(list, count, "172.16.1.5"));
	free(list);

	/* the interface of the default route goes first */
	netns_ip("link set veth1 up");
	netns_ip("route add default via 10.2.0.1");
	assert_int_equal(route_underlay(f.route, &f.tap.ifindex, 1, &list, &count, NULL), 0);
	assert_int_equal(count, 3);
	assert_string_equal(list[0].ifname, "veth1");
	free(list);
	netns_ip("link del veth0");
}

static void mtu_of_the_way(void **state)
{
	struct ip ip;
	int ifindex = -1;

	(void)state;
	needs_netns();
	netns_ip("link add veth0 mtu 1460 type veth peer name veth1");
	netns_ip("addr add 192.0.2.7/24 dev veth0");
	netns_ip("link set veth0 up");
	netns_ip("link set veth1 up");
	netns_ip("route add 198.51.100.0/24 via 192.0.2.1 mtu 1300");
	netns_ip("route add unreachable 203.0.113.0/24");
	assert_true(ip_parse("192.0.2.99", &ip));
	assert_int_equal(route_mtu_to(f.route, &ip, &ifindex), 1460);
	assert_int_equal(ifindex, (int)if_nametoindex("veth0"));
	assert_true(ip_parse("198.51.100.1", &ip));
	assert_int_equal(route_mtu_to(f.route, &ip, NULL), 1300);
	assert_true(ip_parse("203.0.113.1", &ip));
	assert_int_equal(route_mtu_to(f.route, &ip, &ifindex), 0);
	assert_true(ip_parse("8.8.8.8", &ip)); /* no default route here */
	assert_int_equal(route_mtu_to(f.route, &ip, &ifindex), 0);
	assert_int_equal(ifindex, (int)if_nametoindex("veth0"));
	netns_ip("link del veth0");
}

static void news(void **state)
{
	const struct cidr own = cidr("172.16.1.5/24");
	unsigned int before;

	(void)state;
	needs_netns();
	/* what we do ourselves is no news */
	assert_int_equal(route_link_set(f.route, f.tap.ifindex, NULL, 1360, true, NULL), 0);
	assert_int_equal(route_addresses_set(f.route, f.tap.ifindex, NULL, 0, &own, 1, NULL), 0);
	run(400);
	assert_int_equal(f.changes, 0);

	netns_ip("link add veth0 type veth peer name veth1");
	netns_ip("link set veth0 up");
	netns_ip("addr add 192.0.2.7/24 dev veth0");
	run(5000);
	assert_int_equal(f.changes, 1);
	/* an address on one of ours by somebody else concerns the overlay, not the underlay */
	netns_ip("addr add 172.16.1.6/24 dev van0");
	/* and what changes nothing for us is none either */
	netns_ip("link set veth1 alias something");
	before = f.changes;
	run(1000);
	assert_int_equal(f.changes, before);
	netns_ip("link set veth0 mtu 1400");
	run(5000);
	assert_int_equal(f.changes, before + 1);
	netns_ip("link del veth0");
	run(5000);
	assert_int_equal(f.changes, before + 2);
}

static int set_up(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	if (!have_netns)
		return 0;
	if (loop_init(&f.loop) < 0 || tap_open(&f.tap, "van0", 1, false, NULL) < 0)
		return -1;
	return route_open(&f.loop, on_changed, &f, &f.route, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	if (!have_netns)
		return 0;
	route_close(f.route);
	tap_close(&f.tap);
	loop_done(&f.loop);
	return 0;
}

#define EACH(x) cmocka_unit_test_setup_teardown(x, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(link_is_set),
		EACH(addresses_are_made_what_is_wanted),
		EACH(prefix_is_part_of_an_address),
		EACH(errors_name_address_and_interface),
		EACH(underlay_is_where_we_can_be_reached),
		EACH(mtu_of_the_way),
		EACH(news),
	};

	have_netns = netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
