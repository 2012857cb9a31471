/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes get to see, and when the number of it rises. */
#include "test/unit/console_suite.h"

static uint64_t number_of(struct suite *s, const char *node_id)
{
	uint64_t number = 0;

	SUITE_OK(s, agent_netmap_number(s->r, node_id, &number, NULL, &s->p));
	return number;
}

static struct netmap *map_of(struct suite *s, const char *node_id)
{
	struct netmap *map = NULL;

	SUITE_OK(s, agent_netmap(s->r, node_id, &map, &s->p));
	return map;
}

static struct agent_report report_from(const char *local)
{
	struct agent_report report = {.port = 4826, .version = "1"};

	if (local) {
		assert_true(ip_parse(local, &report.local[0]));
		report.local_count = 1;
	}
	return report;
}

static void report(struct suite *s, const char *node_id, const char *local, const char *seen)
{
	struct agent_report r = report_from(local);
	struct ip ip;

	assert_true(ip_parse(seen, &ip));
	SUITE_OK(s, agent_apply_report(s->r, node_id, &r, &ip, &s->p));
}

static void contents(void **state)
{
	struct suite *s = *state;
	struct network net = suite_network(s, "blue", "172.16.1.0/24", "fd00:1::/64");
	struct enrolled a = suite_node(s, "blue", "a"), b = suite_node(s, "blue", "b");
	CLEANUP(netmap) struct netmap *map = NULL;
	const struct netmap_network *n;
	char text[ENDPOINT_TEXT_LEN];

	report(s, b.node_id, "10.1.1.1", "203.0.113.5");
	map = map_of(s, a.node_id);
	assert_memory_equal(map->mesh, s->r->mesh, sizeof(map->mesh));
	assert_string_equal(map->console, s->r->console_id);
	assert_true(map->generation == s->r->store->generation);
	assert_string_equal(map->node_id, a.node_id);
	assert_string_equal(map->node_name, "a");
	assert_int_equal(map->network_count, 1);
	n = &map->networks[0];
	assert_string_equal(n->id, net.id);
	assert_int_equal(n->van_id, net.van_id);
	assert_int_equal(n->mtu, 1360);
	assert_int_equal(n->ip_count, 2);
	assert_int_equal(n->mac_count, 1);
	assert_int_equal(n->peer_count, 1);
	assert_string_equal(n->peers[0].id, b.node_id);
	assert_int_equal(n->peers[0].tep_count, 2);
	endpoint_format(&n->peers[0].teps[0], text);
	assert_string_equal(text, "10.1.1.1:4826");
	endpoint_format(&n->peers[0].teps[1], text);
	assert_string_equal(text, "203.0.113.5:4826");
	assert_int_equal(n->peers[0].flags, NETMAP_NAT);
	assert_false(mac_equal(&n->macs[0], &n->peers[0].macs[0]));
}

/* What the console sends is what lib/netmap.c takes. */
static void reads_back(void **state)
{
	struct suite *s = *state;
	CLEANUP(netmap) struct netmap *map = NULL;
	CLEANUP(netmap) struct netmap *back = NULL;
	CLEANUP(json) struct json_object *o = NULL;
	struct enrolled a;
	struct err e = {0};

	suite_network(s, "blue", "172.16.1.0/24", "fd00:1::/64");
	suite_network(s, "red", "10.0.0.0/8", NULL);
	a = suite_node(s, "blue", "a");
	for (int i = 0; i < 20; i++)
		suite_node(s, "blue", "vm");
	SUITE_OK(s, member_add(s->r, &suite_actor, "red", "a", NULL, &s->p));
	map = map_of(s, a.node_id);
	o = netmap_to_json(map);
	if (netmap_from_json(o, &back, &e))
		fail_msg("%s", e.text);
	assert_int_equal(back->network_count, 2);
	assert_int_equal(back->networks[0].peer_count + back->networks[1].peer_count, 20);
	assert_int_equal(back->number, map->number);
}

/* The quick way to the text gives the same as the map itself, for every node, before and after
 * changes. */
static void same_as_text(void **state)
{
	struct suite *s = *state;
	struct enrolled nodes[5];

	suite_network(s, "blue", "172.16.1.0/24", "fd00:1::/64");
	suite_network(s, "red", "10.0.0.0/8", NULL);
	for (int i = 0; i < 5; i++)
		nodes[i] = suite_node(s, i < 4 ? "blue" : "red", "vm");
	for (int turn = 0; turn < 6; turn++) {
		if (turn == 1)
			report(s, nodes[1].node_id, "10.1.1.1", "203.0.113.5");
		if (turn == 2)
			SUITE_OK(s, member_add(s->r, &suite_actor, "red", nodes[0].node_id, NULL,
					    &s->p));
		if (turn == 3)
			SUITE_OK(s, member_remove(s->r, &suite_actor, "blue", nodes[2].node_id,
					    NULL, &s->p));
		if (turn == 4)
			SUITE_OK(s, network_delete(s->r, &suite_actor, "red", NULL, &s->p));
		for (int i = 0; i < 5; i++) {
			CLEANUP(netmap) struct netmap *map = map_of(s, nodes[i].node_id);
			CLEANUP(json) struct json_object *want = netmap_to_json(map);
			CLEANUP(json) struct json_object *quick = NULL;
			CLEANUP(json) struct json_object *have = NULL;
			const char *text;

			SUITE_OK(s, agent_netmap_json(s->r, nodes[i].node_id, &quick, &s->p));
			text = json_object_to_json_string_ext(quick, JSON_C_TO_STRING_PLAIN);
			assert_int_equal(json_parse(text, strlen(text), &have, NULL), 0);
			if (!json_object_equal(have, want))
				fail_msg("%s", text);
		}
	}
}

/* More networks than the cache has places. */
static void many_networks(void **state)
{
	struct suite *s = *state;
	struct enrolled a, b;
	char name[16];

	suite_network(s, "n0", "10.0.0.0/24", NULL);
	a = suite_node(s, "n0", "a");
	b = suite_node(s, "n0", "b");
	for (int i = 1; i < PEERS_CACHE_SIZE + 10; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		suite_network(s, name, "10.0.0.0/24", NULL);
		SUITE_OK(s, member_add(s->r, &suite_actor, name, a.node_id, NULL, &s->p));
		SUITE_OK(s, member_add(s->r, &suite_actor, name, b.node_id, NULL, &s->p));
	}
	for (int turn = 0; turn < 2; turn++) {
		CLEANUP(json) struct json_object *quick = NULL;
		CLEANUP(json) struct json_object *have = NULL;
		CLEANUP(netmap) struct netmap *map = NULL;
		const char *text;
		struct err e = {0};

		SUITE_OK(s, agent_netmap_json(s->r, a.node_id, &quick, &s->p));
		text = json_object_to_json_string(quick);
		assert_int_equal(json_parse(text, strlen(text), &have, NULL), 0);
		if (netmap_from_json(have, &map, &e))
			fail_msg("%s", e.text);
		assert_int_equal(map->network_count, PEERS_CACHE_SIZE + 10);
		for (size_t i = 0; i < map->network_count; i++) {
			assert_int_equal(map->networks[i].peer_count, 1);
			assert_string_equal(map->networks[i].peers[0].id, b.node_id);
		}
	}
}

static void empty_map(void **state)
{
	struct suite *s = *state;
	CLEANUP(netmap) struct netmap *map = NULL;
	struct enrolled a;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	a = suite_node(s, "blue", "a");
	SUITE_OK(s, network_delete(s->r, &suite_actor, "blue", NULL, &s->p));
	map = map_of(s, a.node_id);
	assert_int_equal(map->network_count, 0);
}

static void removed(void **state)
{
	struct suite *s = *state;
	struct node_key key;
	struct netmap *map = NULL;
	struct enrolled a;
	uint64_t number;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	a = suite_node(s, "blue", "a");
	SUITE_OK(s, node_sign_key(s->r, a.node_id, &key, &s->p));
	assert_false(key.gone);
	SUITE_OK(s, node_remove(s->r, &suite_actor, "a", NULL, &s->p));
	SUITE_PROBLEM(
		s, agent_netmap_number(s->r, a.node_id, &number, NULL, &s->p), 410, "node_removed");
	SUITE_PROBLEM(s, agent_netmap(s->r, a.node_id, &map, &s->p), 410, "node_removed");
	SUITE_OK(s, node_sign_key(s->r, a.node_id, &key, &s->p));
	assert_true(key.gone);
	assert_int_equal(node_sign_key(s->r, "node_never", &key, &s->p), -ENOENT);
}

/* Each step changes the maps of some, and must change nobody else's number. */
static void numbers(void **state)
{
	struct suite *s = *state;
	struct member_change move = {.has_address = true}, rename = {.name = "bb"};
	struct enrolled a, b, c;
	char id[NETMAP_ID_MAX + 1];
	uint64_t na, nb, nc;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_network(s, "red", "10.0.0.0/8", NULL);
	a = suite_node(s, "blue", "a");
	b = suite_node(s, "blue", "b");
	c = suite_node(s, "red", "c");
	assert_true(ip_parse("172.16.1.99", &move.address));

#define REMEMBER() \
	(na = number_of(s, a.node_id), nb = number_of(s, b.node_id), nc = number_of(s, c.node_id))
#define ASSERT_RISE(of_a, of_b, of_c)                                                         \
	do {                                                                                  \
		assert_int_equal(number_of(s, a.node_id) > na, of_a);                         \
		assert_int_equal(number_of(s, b.node_id) > nb, of_b);                         \
		assert_int_equal(number_of(s, c.node_id) > nc, of_c);                         \
		assert_true(number_of(s, a.node_id) >= na && number_of(s, b.node_id) >= nb && \
			    number_of(s, c.node_id) >= nc);                                   \
		REMEMBER();                                                                   \
	} while (0)

	REMEMBER();
	assert_int_equal(na, nb);
	report(s, b.node_id, "192.0.2.1", "192.0.2.1");
	ASSERT_RISE(1, 1, 0);
	report(s, b.node_id, "192.0.2.1", "192.0.2.1");
	ASSERT_RISE(0, 0, 0);
	suite_network(s, "green", "10.0.0.0/8", NULL);
	ASSERT_RISE(0, 0, 0);
	SUITE_OK(s, member_change(s->r, &suite_actor, "blue", "b", &move, NULL, id, &s->p));
	ASSERT_RISE(1, 1, 0);
	SUITE_OK(s, member_change(s->r, &suite_actor, "blue", "b", &move, NULL, id, &s->p));
	ASSERT_RISE(0, 0, 0);
	SUITE_OK(s, member_add(s->r, &suite_actor, "red", "b", NULL, &s->p));
	ASSERT_RISE(0, 1, 1);
	SUITE_OK(s, member_change(s->r, &suite_actor, "blue", "b", &rename, NULL, id, &s->p));
	ASSERT_RISE(1, 1, 1);
	SUITE_OK(s, member_remove(s->r, &suite_actor, "red", "bb", NULL, &s->p));
	ASSERT_RISE(0, 1, 1);
	SUITE_OK(s, network_delete(s->r, &suite_actor, "red", NULL, &s->p));
	ASSERT_RISE(0, 0, 1);
	SUITE_OK(s, node_remove(s->r, &suite_actor, "c", NULL, &s->p));
	assert_int_equal(number_of(s, a.node_id), na);
	suite_node(s, "blue", "d");
	assert_true(number_of(s, a.node_id) > na);
	assert_true(number_of(s, b.node_id) > nb);
}

/* -- end points of a report (pure) -- */

static void check_teps(
	const struct agent_report *r, const char *seen, const char *want, bool want_nat)
{
	struct endpoint teps[NETMAP_TEPS_MAX];
	char text[512] = "", one[ENDPOINT_TEXT_LEN];
	struct ip ip = {0};
	bool nat;
	size_t n;

	if (seen)
		assert_true(ip_parse(seen, &ip));
	n = agent_report_teps(r, &ip, teps, &nat);
	for (size_t i = 0; i < n; i++) {
		endpoint_format(&teps[i], one);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			one);
	}
	assert_string_equal(text, want);
	assert_int_equal(nat, want_nat);
}

static void end_points(void **state)
{
	static const char *const never[] = {"127.0.0.1", "::1", "169.254.1.1", "fe80::1",
		"224.0.0.1", "ff02::1", "0.0.0.0", "::"};
	struct agent_report r = report_from("10.1.1.1");

	(void)state;
	check_teps(&r, "10.1.1.1", "10.1.1.1:4826", false);
	check_teps(&r, "203.0.113.5", "10.1.1.1:4826 203.0.113.5:4826", true);
	check_teps(&r, "127.0.0.1", "10.1.1.1:4826", false);
	check_teps(&r, "2001:db8::1", "10.1.1.1:4826 [2001:db8::1]:4826", true);
	check_teps(&r, NULL, "10.1.1.1:4826", false);
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		r = report_from(never[i]);
		check_teps(&r, "127.0.0.1", "", false);
	}
	r = report_from("10.1.1.1");
	assert_true(endpoint_parse("198.51.100.1:5000", 0, &r.advertise[0]));
	assert_true(endpoint_parse("127.0.0.1:5000", 0, &r.advertise[1]));
	assert_true(endpoint_parse("198.51.100.1:5000", 0, &r.advertise[2]));
	r.advertise_count = 3;
	check_teps(&r, "203.0.113.5", "198.51.100.1:5000", false);
}

static void the_seen_one_finds_a_place(void **state)
{
	struct agent_report r = {.port = 1};
	struct endpoint teps[NETMAP_TEPS_MAX];
	struct ip seen;
	bool nat;

	(void)state;
	for (r.local_count = 0; r.local_count < 32; r.local_count++) {
		assert_true(ip_parse("10.0.0.1", &r.local[r.local_count]));
		r.local[r.local_count].b[3] = (uint8_t)r.local_count;
	}
	assert_true(ip_parse("203.0.113.5", &seen));
	assert_int_equal(agent_report_teps(&r, &seen, teps, &nat), NETMAP_TEPS_MAX);
	assert_int_equal(teps[NETMAP_TEPS_MAX - 1].remote.in.sin_addr.s_addr, htonl(0xcb007105));
	/* Local, but beyond those that fit. */
	assert_true(ip_parse("10.0.0.31", &seen));
	assert_int_equal(agent_report_teps(&r, &seen, teps, &nat), NETMAP_TEPS_MAX);
	assert_int_equal(teps[NETMAP_TEPS_MAX - 1].remote.in.sin_addr.s_addr, htonl(0x0a00001f));
	assert_false(nat);
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(contents),
		T(reads_back),
		T(same_as_text),
		T(many_networks),
		T(empty_map),
		T(removed),
		T(numbers),
		cmocka_unit_test(end_points),
		cmocka_unit_test(the_seen_one_finds_a_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
