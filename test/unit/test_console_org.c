/* SPDX-License-Identifier: Apache-2.0 */
/* Organizations, users, keys, and a store of before there were any. */
#include "test/unit/console_suite.h"

#include "console-api/apikey.h"
#include "console-api/org.h"
#include "console-api/user.h"
#include "lib/hash.h"

static struct json_object *parse(const char *text)
{
	struct json_object *o = json_tokener_parse(text);

	assert_non_null(o);
	return o;
}

static uint64_t count(struct suite *s, const char *prefix)
{
	uint64_t n;

	assert_int_equal(store_count(s->r->store, prefix, &n), 0);
	return n;
}

static void make_org(struct suite *s, const char *name, struct actor *ret_actor)
{
	CLEANUP(json) struct json_object *body = json_object_new_object();

	json_set_string(body, "name", name);
	*ret_actor = (struct actor){.who = "key:x", .role = ROLE_ADMIN};
	SUITE_OK(s, org_create(s->r, &suite_actor, body, ret_actor->org, &s->p));
}

/* The key's text; the caller's buffer. */
static int make_key(struct suite *s, const struct actor *actor, const char *text, char ret_key[64],
	char *ret_id)
{
	CLEANUP(json) struct json_object *body = parse(text);
	struct json_object *view;
	int rc;

	s->p = (struct problem){0};
	rc = apikey_create(s->r, actor, body, &view, &s->p);
	if (rc)
		return rc;
	snprintf(ret_key, 64, "%s", record_text(view, "key"));
	if (ret_id)
		snprintf(ret_id, NETMAP_ID_MAX + 1, "%s", record_text(view, "id"));
	json_object_put(view);
	return 0;
}

static int check(struct suite *s, const char *key, uint64_t now_s, struct apikey *ret_key)
{
	char hash[2 * HASH_LEN + 1];

	s->p = (struct problem){0};
	apikey_hash(key, hash);
	return apikey_check(s->r, hash, now_s, ret_key, &s->p);
}

/* -- organizations -- */

static void life_of_an_organization(void **state)
{
	CLEANUP(json) struct json_object *patch = parse("{\"name\":\"b\",\"description\":\"x\"}");
	CLEANUP(json) struct json_object *bad = parse("{\"name\":\"B\",\"what\":1}");
	struct network_spec spec = {.name = "blue", .mtu = 1360};
	struct suite *s = *state;
	struct json_object *view;
	char id[NETMAP_ID_MAX + 1];
	struct network net;
	struct actor a;

	make_org(s, "a", &a);
	SUITE_OK(s, org_by_ref(s->r, &a, a.org, id, &s->p));
	SUITE_OK(s, org_by_ref(s->r, &a, "a", id, &s->p));
	SUITE_PROBLEM(s, org_by_ref(s->r, &a, "default", id, &s->p), 404, "not_found");
	SUITE_OK(s, org_by_ref(s->r, &suite_actor, "a", id, &s->p));
	SUITE_PROBLEM(s, org_change(s->r, &suite_actor, "a", bad, "*", id, &s->p), 400, "invalid");
	assert_int_equal(s->p.error_count, 2);
	SUITE_PROBLEM(s, org_change(s->r, &suite_actor, "a", patch, "\"1\"", id, &s->p), 412,
		"precondition_failed");
	SUITE_OK(s, org_change(s->r, &suite_actor, "a", patch, "*", id, &s->p));
	SUITE_OK(s, org_view(s->r, id, &view, &s->p));
	assert_string_equal(record_text(view, "name"), "b");
	assert_string_equal(record_text(view, "description"), "x");
	json_object_put(view);
	s->p = (struct problem){0};
	SUITE_PROBLEM(s, org_by_ref(s->r, &suite_actor, "a", id, &s->p), 404, "not_found");

	assert_true(cidr_parse("10.0.0.0/8", &spec.cidr));
	SUITE_OK(s, network_create(s->r, &a, &spec, &net, &s->p));
	SUITE_PROBLEM(
		s, org_delete(s->r, &suite_actor, "b", "*", &s->p), 409, "organization_in_use");
	SUITE_PROBLEM(s, org_delete(s->r, &suite_actor, "default", "*", &s->p), 409,
		"organization_in_use");
	SUITE_OK(s, network_delete(s->r, &a, "blue", NULL, &s->p));
	SUITE_OK(s, org_delete(s->r, &suite_actor, "b", "*", &s->p));
	SUITE_PROBLEM(s, network_create(s->r, &a, &spec, &net, &s->p), 404, "not_found");
	assert_int_equal(count(s, "/orgs/"), 1);
	assert_int_equal(count(s, "/orgrev/"), 1);
	assert_int_equal(count(s, "/names/-/organization/"), 1);
}

/* The same names in two organizations; neither sees the other's by name or id. */
static void names_are_an_organizations_own(void **state)
{
	struct network_spec spec = {.name = "blue", .mtu = 1360};
	struct suite *s = *state;
	struct network of_a, of_b, found;
	struct actor a, b;

	make_org(s, "a", &a);
	make_org(s, "b", &b);
	assert_true(cidr_parse("10.0.0.0/8", &spec.cidr));
	SUITE_OK(s, network_create(s->r, &a, &spec, &of_a, &s->p));
	SUITE_OK(s, network_create(s->r, &b, &spec, &of_b, &s->p));
	assert_string_not_equal(of_a.id, of_b.id);
	SUITE_OK(s, network_by_ref(s->r, a.org, "blue", &found, &s->p));
	assert_string_equal(found.id, of_a.id);
	SUITE_PROBLEM(s, network_by_ref(s->r, a.org, of_b.id, &found, &s->p), 404, "not_found");
	SUITE_PROBLEM(
		s, network_by_ref(s->r, ORG_DEFAULT, "blue", &found, &s->p), 404, "not_found");
	SUITE_PROBLEM(s, network_delete(s->r, &a, of_b.id, NULL, &s->p), 404, "not_found");
}

/* -- keys and users -- */

static void roles_and_ends_of_keys(void **state)
{
	struct suite *s = *state;
	char text[64], id[NETMAP_ID_MAX + 1];
	struct apikey key;
	struct actor a;
	uint64_t now_s = (uint64_t)time(NULL);

	make_org(s, "a", &a);
	SUITE_OK(s,
		make_key(s, &a, "{\"name\":\"k\",\"role\":\"operator\",\"ttl_s\":60}", text, id));
	assert_int_equal(strlen(text), 43);
	SUITE_OK(s, check(s, text, now_s, &key));
	assert_string_equal(key.id, id);
	assert_string_equal(key.org, a.org);
	assert_int_equal(key.role, ROLE_OPERATOR);
	SUITE_OK(s, check(s, text, now_s + 55, &key));
	SUITE_PROBLEM(s, check(s, text, now_s + 62, &key), 401, "key_expired");
	assert_int_equal(check(s, "nobody's", now_s, &key), -ENOENT);

	SUITE_PROBLEM(s, make_key(s, &a, "{\"name\":\"k\",\"role\":\"console\"}", text, NULL), 400,
		"invalid");
	assert_string_equal(s->p.errors[0].pointer, "/role");
	SUITE_PROBLEM(s,
		make_key(s, &a,
			"{\"name\":\"k\",\"role\":\"viewer\",\"ttl_s\":5,"
			"\"expires_at\":\"2199-01-01T00:00:00Z\"}",
			text, NULL),
		400, "invalid");
	SUITE_PROBLEM(s,
		make_key(s, &a,
			"{\"name\":\"k\",\"role\":\"viewer\",\"expires_at\":\"2001-01-01T00:00:00Z\"}",
			text, NULL),
		400, "invalid");
	SUITE_PROBLEM(s, apikey_delete(s->r, &suite_actor, id, "*", &s->p), 404, "not_found");
	SUITE_OK(s, apikey_delete(s->r, &a, id, "*", &s->p));
	assert_int_equal(check(s, text, now_s, &key), -ENOENT);
}

static void a_user_bounds_its_keys(void **state)
{
	CLEANUP(json) struct json_object *body = parse("{\"name\":\"ada\",\"role\":\"operator\"}");
	CLEANUP(json) struct json_object *less = parse("{\"role\":\"viewer\"}");
	CLEANUP(json) struct json_object *off = parse("{\"disabled\":true}");
	CLEANUP(json) struct json_object *on = parse("{\"disabled\":false,\"role\":\"admin\"}");
	struct suite *s = *state;
	char text[64], id[NETMAP_ID_MAX + 1];
	struct apikey key;
	struct actor a;

	make_org(s, "a", &a);
	SUITE_OK(s, user_create(s->r, &a, body, id, &s->p));
	SUITE_PROBLEM(s, user_create(s->r, &a, body, id, &s->p), 409, "name_taken");
	SUITE_PROBLEM(s,
		make_key(s, &a, "{\"name\":\"k\",\"role\":\"admin\",\"user\":\"ada\"}", text, NULL),
		400, "invalid");
	SUITE_PROBLEM(s,
		make_key(s, &a, "{\"name\":\"k\",\"role\":\"admin\",\"user\":\"bob\"}", text, NULL),
		404, "not_found");
	SUITE_OK(s, make_key(s, &a, "{\"name\":\"k\",\"role\":\"operator\",\"user\":\"ada\"}", text,
			    NULL));
	s->p = (struct problem){0};
	SUITE_OK(s, user_change(s->r, &a, "ada", less, "*", id, &s->p));
	SUITE_OK(s, check(s, text, 1, &key));
	assert_int_equal(key.role, ROLE_VIEWER);
	SUITE_OK(s, user_change(s->r, &a, "ada", off, "*", id, &s->p));
	SUITE_PROBLEM(s, check(s, text, 1, &key), 401, "key_disabled");
	s->p = (struct problem){0};
	SUITE_OK(s, user_change(s->r, &a, "ada", on, "*", id, &s->p));
	SUITE_OK(s, check(s, text, 1, &key));
	assert_int_equal(key.role, ROLE_OPERATOR);
	SUITE_OK(s, user_delete(s->r, &a, "ada", "*", &s->p));
	assert_int_equal(check(s, text, 1, &key), -ENOENT);
	assert_int_equal(count(s, "/users/"), 0);
	assert_int_equal(count(s, KEY("/org-keys/%s/", a.org)), 0);
}

/* Keys of console administrators: seen by their like, never by an admin of the first organization;
 * and one always stays. */
static void keys_of_the_console(void **state)
{
	const struct page page = {.limit = 100};
	const struct actor admin = {.who = "key:a", .org = ORG_DEFAULT, .role = ROLE_ADMIN};
	struct suite *s = *state;
	char text[64], first[NETMAP_ID_MAX + 1], id[NETMAP_ID_MAX + 1];
	struct json_object *list, *items;
	struct apikey key;

	SUITE_OK(s, apikey_list(s->r, &suite_actor, &page, &list, &s->p));
	items = json_object_object_get(list, "items");
	assert_int_equal(json_object_array_length(items), 1);
	snprintf(
		first, sizeof(first), "%s", record_text(json_object_array_get_idx(items, 0), "id"));
	json_object_put(list);
	SUITE_OK(s, apikey_list(s->r, &admin, &page, &list, &s->p));
	assert_int_equal(json_object_array_length(json_object_object_get(list, "items")), 0);
	json_object_put(list);
	SUITE_PROBLEM(s, apikey_delete(s->r, &admin, first, "*", &s->p), 404, "not_found");
	SUITE_PROBLEM(s, apikey_delete(s->r, &suite_actor, first, "*", &s->p), 409, "last_key");
	/* One that expires is no successor. */
	SUITE_OK(s, make_key(s, &suite_actor, "{\"name\":\"t\",\"role\":\"console\",\"ttl_s\":60}",
			    text, NULL));
	SUITE_PROBLEM(s, apikey_delete(s->r, &suite_actor, first, "*", &s->p), 409, "last_key");
	SUITE_OK(s, make_key(s, &suite_actor, "{\"name\":\"n\",\"role\":\"console\"}", text, id));
	s->p = (struct problem){0};
	SUITE_OK(s, apikey_delete(s->r, &suite_actor, first, "*", &s->p));
	SUITE_OK(s, check(s, text, 1, &key));
	assert_int_equal(key.role, ROLE_CONSOLE);
	SUITE_PROBLEM(s, apikey_delete(s->r, &suite_actor, id, "*", &s->p), 409, "last_key");
}

static void what_goes_with_an_organization(void **state)
{
	CLEANUP(json) struct json_object *body = parse("{\"name\":\"ada\",\"role\":\"admin\"}");
	struct suite *s = *state;
	char text[64], id[NETMAP_ID_MAX + 1];
	struct apikey key;
	struct actor a;

	make_org(s, "a", &a);
	SUITE_OK(s, user_create(s->r, &a, body, id, &s->p));
	SUITE_OK(s, make_key(s, &a, "{\"name\":\"k\",\"role\":\"admin\",\"user\":\"ada\"}", text,
			    NULL));
	SUITE_OK(s, org_delete(s->r, &suite_actor, "a", "*", &s->p));
	assert_int_equal(check(s, text, 1, &key), -ENOENT);
	assert_int_equal(count(s, "/users/"), 0);
	assert_int_equal(count(s, "/apikeys/"), 1);
	assert_int_equal(count(s, "/org-keys/"), 1);
	assert_int_equal(count(s, KEY("/names/%s/", a.org)), 0);
}

/* -- a store of an older version -- */

static void put(struct store_txn *txn, const char *key, const char *value)
{
	store_txn_put(txn, key, value);
}

/* What the version before wrote, with more names than one step of the migration moves. */
static void write_old_store(struct suite *s, const char *key_hash)
{
	CLEANUP(store_txn) struct store_txn txn;
	struct store *store;
	struct err e;

	store_txn_init(&txn);
	put(&txn, "/console",
		"{\"id\":\"con_1\",\"mesh\":\"00112233445566778899aabbccddeeff\",\"created_at\":\"x\"}");
	put(&txn, KEY("/apikeys/%s", key_hash),
		"{\"id\":\"key_1\",\"name\":\"admin\",\"role\":\"admin\",\"created_at\":\"x\"}");
	put(&txn, "/names/network/blue", "\"net_1\"");
	put(&txn, "/nets/net_1",
		"{\"id\":\"net_1\",\"name\":\"blue\",\"cidr\":\"172.16.1.0/24\",\"cidr6\":null,"
		"\"encryption\":\"aes-256-gcm\",\"mtu\":1360,\"van_id\":7,\"created_at\":\"x\"}");
	put(&txn, "/van/000007", "\"net_1\"");
	put(&txn, "/maprev/net/net_1", "\"\"");
	for (int i = 0; i < 100; i++) {
		put(&txn, KEY("/names/node/web-%d", i), KEY("\"node_%d\"", i));
		put(&txn, KEY("/nodes/node_%d", i),
			KEY("{\"id\":\"node_%d\",\"name\":\"web-%d\",\"public_key\":\"x\","
			    "\"sign_key\":\"x\",\"created_at\":\"x\"}",
				i, i));
		put(&txn, KEY("/tokens/tok_%d", i),
			KEY("{\"id\":\"tok_%d\",\"network\":\"net_1\",\"hash\":\"%d\",\"uses\":1,"
			    "\"uses_left\":1,\"expires_s\":1,\"created_at\":\"x\"}",
				i, i));
		put(&txn, KEY("/net-tokens/net_1/tok_%d", i), "\"\"");
	}
	if (store_sqlite_open(s->store_path, &store, &e))
		fail_msg("%s", e.text);
	assert_int_equal(store_commit(store, &txn, NULL), 0);
	store_close(store);
}

static size_t list_length(struct json_object *list)
{
	size_t n = json_object_array_length(json_object_object_get(list, "items"));

	json_object_put(list);
	return n;
}

static void an_older_store(void **state)
{
	static const char text[] = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
	const struct page page = {.limit = 1000};
	char hash[2 * HASH_LEN + 1], id[NETMAP_ID_MAX + 1];
	struct json_object *list;
	struct suite suite, *s = &suite;
	struct network net;
	struct apikey key;

	(void)state;
	suite_dir(s);
	apikey_hash(text, hash);
	write_old_store(s, hash);
	for (int turn = 0; turn < 2; turn++) { /* and once more: nothing is left to do */
		uint64_t revision;

		suite_open(s);
		revision = suite_revision(s);
		SUITE_OK(s, check(s, text, 1, &key));
		assert_int_equal(key.role, ROLE_CONSOLE);
		assert_string_equal(key.org, ORG_DEFAULT);
		SUITE_OK(s, network_by_ref(s->r, ORG_DEFAULT, "blue", &net, &s->p));
		assert_string_equal(net.id, "net_1");
		assert_string_equal(net.org, ORG_DEFAULT);
		SUITE_OK(s, registry_resolve(s->r, ORG_DEFAULT, "node", "web-99", id, &s->p));
		assert_string_equal(id, "node_99");
		SUITE_OK(s, node_list(s->r, ORG_DEFAULT, &page, &list, &s->p));
		assert_int_equal(list_length(list), 100);
		SUITE_OK(s, jointoken_list(s->r, ORG_DEFAULT, NULL, &page, &list, &s->p));
		assert_int_equal(list_length(list), 100);
		SUITE_OK(s, apikey_list(s->r, &suite_actor, &page, &list, &s->p));
		assert_int_equal(list_length(list), 1);
		assert_int_equal(count(s, "/names/network/"), 0);
		assert_int_equal(count(s, "/names/node/"), 0);
		assert_int_equal(suite_revision(s), revision);
		suite_close(s);
	}
	suite_remove_files(s);
}

/* The first part was done, then the console ended. */
static void an_interrupted_migration(void **state)
{
	static const char text[] = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
	CLEANUP(store_txn) struct store_txn txn;
	char hash[2 * HASH_LEN + 1], id[NETMAP_ID_MAX + 1];
	struct suite suite, *s = &suite;
	struct store *store;
	struct apikey key;

	(void)state;
	suite_dir(s);
	apikey_hash(text, hash);
	write_old_store(s, hash);
	store_txn_init(&txn);
	put(&txn, "/names/default/node/web-3", "\"node_3\"");
	store_txn_delete(&txn, "/names/node/web-3");
	put(&txn, "/org-tokens/default/tok_5", "\"\"");
	assert_int_equal(store_sqlite_open(s->store_path, &store, NULL), 0);
	assert_int_equal(store_commit(store, &txn, NULL), 0);
	store_close(store);
	suite_open(s);
	SUITE_OK(s, registry_resolve(s->r, ORG_DEFAULT, "node", "web-3", id, &s->p));
	SUITE_OK(s, registry_resolve(s->r, ORG_DEFAULT, "node", "web-4", id, &s->p));
	SUITE_OK(s, check(s, text, 1, &key));
	assert_int_equal(count(s, "/org-tokens/default/"), 100);
	suite_close(s);
	suite_remove_files(s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(life_of_an_organization),
		T(names_are_an_organizations_own),
		T(roles_and_ends_of_keys),
		T(a_user_bounds_its_keys),
		T(keys_of_the_console),
		T(what_goes_with_an_organization),
		cmocka_unit_test(an_older_store),
		cmocka_unit_test(an_interrupted_migration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
