/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges, which reservation decides about an address, and who comes too late. */
#include "test/unit/console_suite.h"

#include "console-api/audit.h"
#include "console-api/netconf.h"
#include "console-api/netobj.h"
#include "console-api/reservation.h"

static struct ip ip(const char *text)
{
	struct ip i = {0};

	if (!ip_parse(text, &i))
		fail_msg("%s", text);
	return i;
}

static void ranges_in_and_out(void **state)
{
	static const struct {
		const char *in, *out;
	} good[] = {{"10.0.0.5", "10.0.0.5"}, {"10.0.0.5/32", "10.0.0.5"},
		{"10.0.0.5-10.0.0.5", "10.0.0.5"}, {"10.0.0.0/24", "10.0.0.0/24"},
		{"10.0.0.0-10.0.0.255", "10.0.0.0/24"},
		{"10.0.0.1-10.0.0.255", "10.0.0.1-10.0.0.255"},
		{"10.0.0.6-10.0.0.9", "10.0.0.6-10.0.0.9"}, {"10.0.0.6-10.0.0.7", "10.0.0.6/31"},
		{"0.0.0.0/0", "0.0.0.0/0"}, {"fd00::1", "fd00::1"}, {"fd00::/64", "fd00::/64"},
		{"fd00::-fd00::ffff", "fd00::/112"}, {"fd00::5-fd00::6", "fd00::5-fd00::6"},
		{"::/0", "::/0"}};
	static const char *const bad[] = {"", "-", "x", "10.0.0.5-", "-10.0.0.5",
		"10.0.0.6-10.0.0.5", "10.0.0.5-fd00::1", "10.0.0.5/24", "10.0.0.0/24-10.0.1.0/24",
		"10.0.0.5 - 10.0.0.6", "10.0.0.1-10.0.0.2-10.0.0.3", "10.0.0.256",
		"fd00:0000:0000:0000:0000:0000:0000:0000:0000-fd00::1"};
	char text[RESERVATION_TEXT_LEN];
	struct ip_range range;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (!ip_range_parse(good[i].in, &range))
			fail_msg("%s", good[i].in);
		ip_range_format(&range, text);
		assert_string_equal(text, good[i].out);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (ip_range_parse(bad[i], &range))
			fail_msg("%s is taken for a range", bad[i]);
}

static void the_single_one_decides(void **state)
{
	const struct reservation list[] = {{.id = "a", .range = {ip("10.0.0.1"), ip("10.0.0.50")}},
		{.id = "b", .range = {ip("10.0.0.1"), ip("10.0.0.1")}, .node = "first"},
		{.id = "c", .range = {ip("10.0.0.7"), ip("10.0.0.7")}, .name = "printer"},
		{.id = "d", .range = {ip("10.0.0.60"), ip("10.0.0.60")}, .node = "db"},
		{.id = "e", .range = {ip("fd00::5"), ip("fd00::5")}, .node = "db"}};
	static const struct {
		const char *ip, *id;
	} cases[] = {{"10.0.0.1", "b"}, {"10.0.0.2", "a"}, {"10.0.0.7", "c"}, {"10.0.0.50", "a"},
		{"10.0.0.51", NULL}, {"10.0.0.60", "d"}, {"10.0.0.0", NULL}, {"fd00::5", "e"},
		{"fd00::4", NULL}, {"0.0.0.0", NULL}};
	struct ip at;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct reservation *found;

		at = ip(cases[i].ip);
		found = reservations_find(list, 5, &at);
		if (!cases[i].id ? found != NULL : !found || strcmp(found->id, cases[i].id) != 0)
			fail_msg("%s: %s", cases[i].ip, found ? found->id : "none");
	}
	assert_string_equal(reservations_of_node(list, 5, "db", AF_INET)->id, "d");
	assert_string_equal(reservations_of_node(list, 5, "db", AF_INET6)->id, "e");
	assert_null(reservations_of_node(list, 5, "first", AF_INET6));
	assert_null(reservations_of_node(list, 5, "printer", AF_INET));
	assert_null(reservations_find(NULL, 0, &at));
}

static int reserve(struct suite *s, const char *body)
{
	CLEANUP(json) struct json_object *o = json_tokener_parse(body);
	char id[NETMAP_ID_MAX + 1];

	s->p = (struct problem){0};
	return netobj_create(s->r, &suite_actor, &reservation_kind, "blue", o, id, &s->p);
}

/*
 * Between what a transaction read and its commit, another console reserves what it is about to hand
 * out. The first try must not go through.
 */
struct race {
	struct suite *s;
	unsigned int tries;
};

static int build_late(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct race *race = ctx;
	struct network net;
	CLEANUP(record) struct record node = {0};
	char id[NETMAP_ID_MAX + 1];
	int rc = network_by_ref(r, ORG_DEFAULT, "blue", &net, p);

	if (!rc)
		rc = node_by_ref(r, ORG_DEFAULT, "late", id, p);
	if (!rc)
		rc = member_build_add(r, txn, &net, id, "late", NULL, false, p);
	if (!rc && !race->tries++) {
		store_track(r->store, NULL); /* the other console's reads are not this one's */
		SUITE_OK(race->s, reserve(race->s, "{\"address\":\"172.16.1.0/25\"}"));
		store_track(r->store, txn);
	}
	return rc;
}

static void a_reservation_that_comes_between(void **state)
{
	struct suite *s = *state;
	struct race race = {.s = s};
	CLEANUP(json) struct json_object *view = NULL;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_network(s, "red", "10.0.0.0/24", NULL);
	suite_node(s, "red", "late");
	SUITE_OK(s, registry_transact(s->r, build_late, &race, NULL, &s->p));
	assert_int_equal(race.tries, 2);
	SUITE_OK(s, member_view(s->r, ORG_DEFAULT, "blue", "late", &view, NULL, &s->p));
	assert_string_equal(json_object_get_string(json_object_array_get_idx(
				    json_object_object_get(view, "ips"), 0)),
		"172.16.1.128/24");
}

static int build_reserve(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct race *race = ctx;
	CLEANUP(netconf) struct netconf conf = {0};
	CLEANUP(json)
	struct json_object *body = json_tokener_parse("{\"address\":\"172.16.1.0/28\"}");
	CLEANUP(json) struct json_object *spec = NULL;
	struct form f;
	int rc = netconf_load(r, txn, ORG_DEFAULT, "blue", NULL, &conf, p);

	form_init(&f, body, p);
	if (!rc)
		rc = reservation_kind.settle(&conf, "rsv_x", &f, &spec, p);
	if (!rc)
		rc = netconf_build_change(r, txn, &conf.net, p);
	if (rc)
		return rc;
	netobj_build_put(txn, &reservation_kind, conf.net.id, "rsv_x", NULL, spec);
	if (!race->tries++) {
		store_track(r->store, NULL);
		suite_node(race->s, "blue", "quick");
		store_track(r->store, txn);
	}
	return 0;
}

static void a_node_that_comes_between(void **state)
{
	struct suite *s = *state;
	struct race race = {.s = s};

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	SUITE_PROBLEM(s, registry_transact(s->r, build_reserve, &race, NULL, &s->p), 409,
		"address_taken");
	assert_int_equal(race.tries, 1);
	assert_non_null(strstr(s->p.detail, "\"quick\""));
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_in_and_out),
		cmocka_unit_test(the_single_one_decides),
		T(a_reservation_that_comes_between),
		T(a_node_that_comes_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
