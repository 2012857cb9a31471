/* SPDX-License-Identifier: Apache-2.0 */
/* `console-api check`: a registry as the modules make it has no fault, and each way in which things
 * can fail to fit together is one. */
#include "console-api/check.h"
#include "test/unit/console_suite.h"

struct told {
	uint64_t count;
	char text[4096];
};

static void on_fault(void *ctx, const char *line)
{
	struct told *told = ctx;
	size_t len = strlen(told->text);

	told->count++;
	snprintf(told->text + len, sizeof(told->text) - len, "%s\n", line);
}

static struct told run_check(struct suite *s)
{
	struct told told = {0};
	struct check_result result;
	struct err e = {0};

	if (check_store(s->r->store, on_fault, &told, NULL, NULL, &result, &e))
		fail_msg("%s", e.text);
	assert_int_equal(result.faults, told.count);
	assert_true(result.keys > 0);
	return told;
}

static void put_value(struct suite *s, const char *key, const char *value)
{
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	if (value)
		store_txn_put(&txn, key, value);
	else
		store_txn_delete(&txn, key);
	assert_int_equal(store_commit(s->r->store, &txn, NULL), 0);
}

static void assert_none(struct suite *s)
{
	struct told told = run_check(s);

	if (told.count)
		fail_msg("%s", told.text);
}

/* With this value at the key (NULL: without it) there is a fault that says so; afterwards it is as it
 * was. */
static void assert_told(struct suite *s, const char *key, const char *value, const char *want)
{
	CLEANUP(store_item) struct store_item before = {0};
	int rc = store_get(s->r->store, key, &before);
	struct told told;

	put_value(s, key, value);
	told = run_check(s);
	if (!told.count || !strstr(told.text, want))
		fail_msg("%s: want \"%s\": %s", key, want, told.text);
	put_value(s, key, rc ? NULL : before.value);
}

static struct store_item first(struct suite *s, const char *prefix)
{
	struct store_items items;
	struct store_item item;

	assert_int_equal(store_range(s->r->store, prefix, NULL, 1, &items), 0);
	assert_int_equal(items.count, 1);
	item = items.items[0];
	items.items[0] = (struct store_item){0};
	store_items_done(&items);
	return item;
}

static void fill(struct suite *s)
{
	const struct jointoken_spec two = {.uses = 2, .ttl_s = 60};
	uint8_t secret[TOKEN_SECRET_LEN];

	suite_network(s, "blue", "172.16.1.0/24", "fd00:1::/64");
	suite_network(s, "red", "10.0.0.0/16", NULL);
	suite_node(s, "blue", "a");
	suite_node(s, "blue", "b");
	suite_node(s, "red", "c");
	suite_token(s, "blue", &two, secret, NULL);
}

static void what_the_modules_make(void **state)
{
	struct suite *s = *state;

	assert_none(s);
	fill(s);
	assert_none(s);
}

/* A pair of keys of which one is gone. */
static void halves(void **state)
{
	static const char *const families[] = {"/names/default/network/", "/names/default/node/",
		"/nets/", "/van/", "/nodes/", "/node-keys/", "/sign-keys/", "/members/",
		"/node-nets/", "/addr/", "/mac/", "/tokens/", "/token-hash/", "/net-tokens/",
		"/org-tokens/", "/orgs/", "/orgrev/", "/org-keys/", "/apikeys/", "/maprev/net/",
		"/maprev/node/", "/audit/", "/audit-at/"};
	struct suite *s = *state;

	fill(s);
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		CLEANUP(store_item) struct store_item item = first(s, families[i]);

		assert_told(s, item.key, NULL, "");
	}
	assert_none(s);
}

static void things_that_nobody_has(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_item) struct store_item net = {0};
	CLEANUP(json) struct json_object *o = NULL;
	const char *id;

	fill(s);
	net = first(s, "/nets/");
	id = registry_key_tail(net.key);
	assert_told(s, KEY("/addr/%s/4ac1001fe", id), "\"node_x\"", "nobody has this address");
	assert_told(s, KEY("/addr/%s/4xyz", id), "\"node_x\"", "no address of a network");
	assert_told(s, "/mac/02:00:00:00:00:01", "\"net_x/node_x\"", "nobody has this MAC");
	assert_told(s, "/van/00abcd", "\"net_x\"", "no network has this VAN id");
	assert_told(s, "/names/default/network/green", "\"net_x\"", "nothing has this name");
	assert_told(
		s, "/names/default/thing/green", "\"net_x\"", "nothing of that kind has a name");
	assert_told(s, "/nets/x", "no JSON", "no JSON");
	assert_told(s, "/colours/blue", "1", "no key of this version's registry");
	assert_told(s, "/nets/a/b", "1", "no key of this version's registry");
	assert_told(s, "colour", "1", "no key of a registry");
	assert_told(s, "/a/b/c/d/e/f/g", "1", "no key of a registry");
	assert_told(s, TRANSFER_MARK, "\"\"", "import was not finished");
	assert_none(s);
}

/* Two that claim the same: only one of them can be named by the index. */
static void claimed_twice(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_items) struct store_items members = {0};
	CLEANUP(store_items) struct store_items nets = {0};
	CLEANUP(json) struct json_object *member = NULL;
	CLEANUP(json) struct json_object *other = NULL;
	CLEANUP(json) struct json_object *net = NULL;
	CLEANUP(json) struct json_object *twin = NULL;

	fill(s);
	assert_int_equal(store_range(s->r->store, "/nets/", NULL, 0, &nets), 0);
	assert_int_equal(nets.count, 2);
	/* one of them has two members; which comes first is chance */
	for (size_t i = 0; i < nets.count && members.count != 2; i++) {
		store_items_done(&members);
		assert_int_equal(store_range(s->r->store,
					 KEY("/members/%s/", registry_key_tail(nets.items[i].key)),
					 NULL, 0, &members),
			0);
	}
	assert_int_equal(members.count, 2);
	json_parse(members.items[0].value, strlen(members.items[0].value), &member, NULL);
	json_parse(members.items[1].value, strlen(members.items[1].value), &other, NULL);
	json_object_object_add(
		other, "ips", json_object_get(json_object_object_get(member, "ips")));
	assert_told(s, members.items[1].key, json_object_to_json_string(other), "and not");
	json_parse(members.items[1].value, strlen(members.items[1].value), &twin, NULL);
	json_object_object_add(
		twin, "macs", json_object_get(json_object_object_get(member, "macs")));
	assert_told(s, members.items[1].key, json_object_to_json_string(twin), "/mac/");
	json_parse(nets.items[1].value, strlen(nets.items[1].value), &net, NULL);
	json_object_put(twin);
	twin = NULL;
	json_parse(nets.items[0].value, strlen(nets.items[0].value), &twin, NULL);
	json_set_int(net, "van_id", record_int(twin, "van_id"));
	assert_told(s, nets.items[1].key, json_object_to_json_string(net), "/van/");
	assert_none(s);
}

static void a_token_that_was_overspent(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_item) struct store_item token = {0};
	CLEANUP(json) struct json_object *o = NULL;

	fill(s);
	token = first(s, "/tokens/");
	json_parse(token.value, strlen(token.value), &o, NULL);
	json_set_int(o, "uses_left", -1);
	assert_told(s, token.key, json_object_to_json_string(o), "uses are left");
	/* One more node than uses. */
	assert_told(s, KEY("/token-uses/%s/node_x", registry_key_tail(token.key)), "\"\"",
		"nodes have used it");
	assert_none(s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_the_modules_make),
		T(halves),
		T(things_that_nobody_has),
		T(claimed_twice),
		T(a_token_that_was_overspent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
