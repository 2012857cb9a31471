/* SPDX-License-Identifier: Apache-2.0 */
/* First start, networks, nodes, members and housekeeping, below HTTP. */
#include "test/unit/console_suite.h"

#include <sys/stat.h>
#include "lib/clock.h"
#include "lib/file.h"

static uint64_t count(struct suite *s, const char *prefix)
{
	uint64_t n = 0;

	assert_int_equal(store_count(s->r->store, prefix, &n), 0);
	return n;
}

static void first_start(void **state)
{
	struct suite *s = *state;
	char id[NETMAP_ID_MAX + 1], mesh[33];
	CLEANUP(free) char *key = NULL;
	struct stat st;
	size_t len;

	assert_int_equal(stat(s->key_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_read(s->key_path, 100, &key, &len, NULL), 0);
	assert_int_equal(len, 44);
	assert_int_equal(key[43], '\n');
	snprintf(id, sizeof(id), "%s", s->r->console_id);
	snprintf(mesh, sizeof(mesh), "%s", s->r->mesh_hex);
	assert_int_equal(strlen(mesh), 32);
	suite_close(s);
	suite_open(s);
	assert_string_equal(s->r->console_id, id);
	assert_string_equal(s->r->mesh_hex, mesh);
	assert_int_equal(count(s, "/apikeys/"), 1);
}

/* Between the key's file and the store's first transaction, the power went. */
static void interrupted_first_start(void **state)
{
	struct suite *s = *state;
	CLEANUP(free) char *before = NULL;
	CLEANUP(free) char *after = NULL;
	size_t len;

	assert_int_equal(file_read(s->key_path, 100, &before, &len, NULL), 0);
	suite_close(s);
	unlink(s->store_path);
	suite_open(s);
	assert_int_equal(file_read(s->key_path, 100, &after, &len, NULL), 0);
	assert_string_equal(before, after);
	assert_int_equal(count(s, "/apikeys/"), 1);
}

static void a_file_that_is_no_key(void **state)
{
	struct suite *s = *state;
	struct registry *r = NULL;
	struct store *store;
	struct err e = {0};

	suite_close(s);
	unlink(s->store_path);
	assert_int_equal(file_write_atomic(s->key_path, "short\n", 6, 0600, NULL), 0);
	assert_int_equal(store_sqlite_open(s->store_path, &store, NULL), 0);
	assert_int_equal(registry_open(store, s->key_path, &r, &e), -VAN_E_CORRUPT);
	assert_non_null(strstr(e.text, s->key_path));
	store_close(store);
	unlink(s->key_path);
	suite_open(s);
}

static void labels(void **state)
{
	const struct {
		const char *wish, *label;
	} cases[] = {{"web", "web"}, {"Web-1.example.com", "web-1"}, {"", "node"}, {"...", "node"},
		{"--a--b--", "a-b"}, {"\xc3\xbc", "node"}, {"a b\tc", "a-b-c"}, {"-", "node"},
		{"UPPER", "upper"}};
	char name[NETMAP_NAME_MAX + 1], wish[300];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		node_label(cases[i].wish, name);
		assert_string_equal(name, cases[i].label);
		assert_true(netmap_name_valid(name));
	}
	memset(wish, 'x', sizeof(wish));
	wish[sizeof(wish) - 1] = '\0';
	node_label(wish, name);
	assert_int_equal(strlen(name), 57);
	wish[56] = '-';
	node_label(wish, name);
	assert_int_equal(strlen(name), 56);
	assert_true(netmap_name_valid(name));
}

static void ids(void **state)
{
	char a[NETMAP_ID_MAX + 1], b[NETMAP_ID_MAX + 1];

	(void)state;
	registry_new_id("node", a);
	registry_new_id("node", b);
	assert_int_equal(strlen(a), 21);
	assert_string_not_equal(a, b);
	assert_true(memcmp(a, b, 5 + 8) <= 0); /* but for the last milliseconds, by age */
	assert_false(netmap_name_valid(a));    /* so no name can look like one */
}

static void if_match(void **state)
{
	static const char *const good[] = {"*", "\"7\"", " \"7\"", "\"1\", \"7\"", "W/\"7\",\"7\""};
	static const char *const bad[] = {
		"", "7", "\"77\"", "\"7", "W/\"7\"", "\"1\",\"2\"", ",,,"};
	struct problem p = {0};

	(void)state;
	assert_int_equal(registry_match(NULL, 7, &p), 0);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(registry_match(good[i], 7, &p), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(registry_match(bad[i], 7, &p) < 0);
		assert_int_equal(p.status, 412);
	}
}

static void names_and_ids_resolve(void **state)
{
	struct suite *s = *state;
	struct network net = suite_network(s, "blue", "172.16.1.0/24", NULL);
	static const char *const none[] = {"", "Blue", "blu", "blue/", "../blue", "net_", "a b",
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
	char id[NETMAP_ID_MAX + 1];

	SUITE_OK(s, registry_resolve(s->r, ORG_DEFAULT, "network", "blue", id, &s->p));
	assert_string_equal(id, net.id);
	SUITE_OK(s, registry_resolve(s->r, ORG_DEFAULT, "network", net.id, id, &s->p));
	assert_string_equal(id, net.id);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		SUITE_PROBLEM(s, registry_resolve(s->r, ORG_DEFAULT, "network", none[i], id, &s->p),
			404, "not_found");
	SUITE_PROBLEM(s, registry_resolve(s->r, ORG_DEFAULT, "node", "blue", id, &s->p), 404,
		"not_found");
}

static void nothing_stays_of_what_is_deleted(void **state)
{
	struct suite *s = *state;
	static const char *const prefixes[] = {"/names/default/", "/nets/", "/van/", "/nodes/",
		"/node-keys/", "/sign-keys/", "/members/", "/node-nets/", "/addr/", "/mac/",
		"/tokens/", "/token-hash/", "/token-uses/", "/net-tokens/", "/org-tokens/",
		"/maprev/", "/ephemeral/"};
	struct enrolled a, b;

	suite_network(s, "blue", "172.16.1.0/24", "fd00:1::/64");
	suite_network(s, "red", "10.0.0.0/8", NULL);
	a = suite_node(s, "blue", "a");
	b = suite_node(s, "blue", "b");
	SUITE_OK(s, member_add(s->r, &suite_actor, "red", "b", NULL, &s->p));
	assert_int_equal(count(s, "/addr/"), 5);
	assert_int_equal(count(s, "/mac/"), 3);
	SUITE_OK(s, member_remove(s->r, &suite_actor, "blue", "b", NULL, &s->p));
	SUITE_OK(s, network_delete(s->r, &suite_actor, "blue", NULL, &s->p));
	SUITE_OK(s, node_remove(s->r, &suite_actor, a.node_id, NULL, &s->p));
	SUITE_OK(s, node_remove(s->r, &suite_actor, b.node_id, NULL, &s->p));
	SUITE_OK(s, network_delete(s->r, &suite_actor, "red", NULL, &s->p));
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (count(s, prefixes[i]))
			fail_msg("%s is not empty", prefixes[i]);
	assert_int_equal(count(s, "/gone/"), 2);
}

/* A row for each change, none for what failed or changed nothing. */
static void audit(void **state)
{
	struct suite *s = *state;
	uint64_t before = count(s, "/audit/");
	CLEANUP(store_items) struct store_items rows = {0};
	struct network_spec spec = {.name = "blue", .mtu = 1360};
	struct network net;
	struct json_object *row;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_node(s, "blue", "a");
	assert_int_equal(count(s, "/audit/"), before + 4);
	assert_true(cidr_parse("10.0.0.0/8", &spec.cidr));
	SUITE_PROBLEM(s, network_create(s->r, &suite_actor, &spec, &net, &s->p), 409, "name_taken");
	assert_int_equal(count(s, "/audit/"), before + 4);
	assert_int_equal(store_range(s->r->store, "/audit/", NULL, 0, &rows), 0);
	row = json_tokener_parse(rows.items[before].value);
	assert_string_equal(record_text(row, "actor"), "key:test");
	assert_string_equal(record_text(row, "action"), "network.create");
	assert_non_null(strstr(record_text(row, "object"), "(blue)"));
	json_object_put(row);
}

static void old_audit_rows_go(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_txn) struct store_txn txn;
	uint64_t day_ns = 86400 * NS_PER_S, now_ns = clock_wall_ns(), before;

	before = count(s, "/audit/");
	store_txn_init(&txn);
	for (unsigned int i = 0; i <= 100; i++) {
		unsigned long long stamp = now_ns - (i < 100 ? 11 : 9) * day_ns;

		store_txn_put(&txn, KEY("/audit/org_a/%016llx-%08x", stamp, i), "{}");
		store_txn_put(&txn, KEY("/audit-at/%016llx-%08x", stamp, i),
			"{\"org\":\"org_a\",\"seq\":0,\"hash\":\"\"}");
	}
	assert_int_equal(store_commit(s->r->store, &txn, NULL), 0);
	registry_housekeeping(s->r); /* audit_days is 0: all stay */
	assert_int_equal(count(s, "/audit/"), before + 101);
	s->r->audit_days = 10;
	registry_housekeeping(s->r);
	assert_int_equal(count(s, "/audit/"), before + 37);
	registry_housekeeping(s->r);
	registry_housekeeping(s->r);
	assert_int_equal(count(s, "/audit/"), before + 1);
}

static void ephemeral_nodes(void **state)
{
	struct suite *s = *state;
	const struct jointoken_spec brief = {.uses = 3, .ttl_s = 60, .ephemeral_s = 30};
	uint8_t secret[TOKEN_SECRET_LEN];
	struct enrolled seen, unseen;
	struct enrolment en;
	uint64_t t = 1000 * NS_PER_S;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_node(s, "blue", "stays");
	suite_token(s, "blue", &brief, secret, NULL);
	en = suite_enrolment(secret, "seen");
	SUITE_OK(s, agent_enroll(s->r, &suite_actor, &en, (uint64_t)time(NULL), &seen, &s->p));
	en = suite_enrolment(secret, "unseen");
	SUITE_OK(s, agent_enroll(s->r, &suite_actor, &en, (uint64_t)time(NULL), &unseen, &s->p));
	/* As after a restart: nobody was heard of yet. */
	node_reap_ephemeral(s->r, t, 10);
	soft_seen(s->r->soft, seen.node_id, t + 20 * NS_PER_S, 1);
	node_reap_ephemeral(s->r, t + 29 * NS_PER_S, 10);
	assert_int_equal(count(s, "/nodes/"), 3);
	node_reap_ephemeral(s->r, t + 30 * NS_PER_S, 10);
	assert_int_equal(count(s, "/nodes/"), 2);
	assert_int_equal(count(s, KEY("/nodes/%s", unseen.node_id)), 0);
	node_reap_ephemeral(s->r, t + 50 * NS_PER_S, 10);
	assert_int_equal(count(s, "/nodes/"), 1);
	assert_int_equal(count(s, "/ephemeral/"), 0);
}

static void address_moves(void **state)
{
	struct suite *s = *state;
	struct member_change change = {.has_address = true};
	char id[NETMAP_ID_MAX + 1];
	struct network net = suite_network(s, "blue", "172.16.1.0/24", NULL);

	suite_node(s, "blue", "a");
	suite_node(s, "blue", "b");
	assert_true(ip_parse("172.16.1.1", &change.address));
	SUITE_PROBLEM(s, member_change(s->r, &suite_actor, "blue", "b", &change, NULL, id, &s->p),
		409, "address_taken");
	assert_non_null(strstr(s->p.detail, "\"a\""));
	assert_true(ip_parse("172.16.1.3", &change.address));
	SUITE_OK(s, member_change(s->r, &suite_actor, "blue", "b", &change, NULL, id, &s->p));
	assert_int_equal(count(s, KEY("/addr/%s/4ac100102", net.id)), 0);
	assert_int_equal(count(s, KEY("/addr/%s/4ac100103", net.id)), 1);
	assert_int_equal(count(s, "/addr/"), 2);
	suite_node(s, "blue", "c"); /* gets what b left */
	assert_int_equal(count(s, KEY("/addr/%s/4ac100102", net.id)), 1);
}

static void a_damaged_value_is_an_error(void **state)
{
	struct suite *s = *state;
	struct network net = suite_network(s, "blue", "172.16.1.0/24", NULL);
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	store_txn_put(&txn, KEY("/nets/%s", net.id), "{\"id\":");
	assert_int_equal(store_commit(s->r->store, &txn, NULL), 0);
	SUITE_PROBLEM(
		s, network_by_ref(s->r, ORG_DEFAULT, "blue", &net, &s->p), 503, "store_failed");
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(first_start),
		T(interrupted_first_start),
		T(a_file_that_is_no_key),
		cmocka_unit_test(labels),
		cmocka_unit_test(ids),
		cmocka_unit_test(if_match),
		T(names_and_ids_resolve),
		T(nothing_stays_of_what_is_deleted),
		T(audit),
		T(old_audit_rows_go),
		T(ephemeral_nodes),
		T(address_moves),
		T(a_damaged_value_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
