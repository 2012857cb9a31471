/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every store must do, through store.h alone. What is a kind's own is in
 * test_console_store_sqlite.c and test_console_store_etcd.c.
 */
#include "test/unit/store_suite.h"

static struct etcd_server *current_etcd;

static int setup(void **state)
{
	*state = fixture_new(current_etcd);
	return 0;
}

static int teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

static void empty_store(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_items) struct store_items items = {0};
	uint64_t n;

	assert_absent(f->s, "/x");
	assert_int_equal(store_range(f->s, "", NULL, 0, &items), 0);
	assert_int_equal(items.count, 0);
	assert_false(items.more);
	assert_int_equal(store_count(f->s, "/", &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(store_revision(f->s, &n), 0);
	assert_int_equal(n, 0);
	assert_true(f->s->generation != 0);
}

static void revisions(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_item) struct store_item item = {0};
	CLEANUP(store_item) struct store_item other = {0};
	uint64_t first, second, third, n;

	first = put(f->s, "/a", "1");
	second = put(f->s, "/b", "2");
	third = put(f->s, "/a", "3");
	assert_true(0 < first && first < second && second < third);
	assert_int_equal(store_get(f->s, "/a", &item), 0);
	assert_int_equal(item.create_revision, first);
	assert_int_equal(item.mod_revision, third);
	assert_int_equal(store_get(f->s, "/b", &other), 0);
	assert_int_equal(other.mod_revision, second);
	assert_int_equal(store_revision(f->s, &n), 0);
	assert_int_equal(n, third);
}

static void a_key_made_again_has_a_new_create_revision(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_txn) struct store_txn txn;
	CLEANUP(store_item) struct store_item item = {0};
	uint64_t again;

	put(f->s, "/a", "1");
	store_txn_init(&txn);
	store_txn_delete(&txn, "/a");
	store_txn_delete(&txn, "/never");
	assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	assert_absent(f->s, "/a");
	again = put(f->s, "/a", "2");
	assert_int_equal(store_get(f->s, "/a", &item), 0);
	assert_int_equal(item.create_revision, again);
}

static void ranges(void **state)
{
	static const char *const keys[] = {
		"/n", "/n/", "/n/a", "/n/a/b", "/n/aa", "/n/b", "/n0", "/m/z"};
	struct fixture *f = *state;
	CLEANUP(store_items) struct store_items all = {0};
	CLEANUP(store_items) struct store_items first = {0};
	CLEANUP(store_items) struct store_items rest = {0};
	CLEANUP(store_items) struct store_items everything = {0};
	uint64_t n;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		put(f->s, keys[i], "v");
	assert_int_equal(store_range(f->s, "/n/", NULL, 0, &all), 0);
	assert_int_equal(all.count, 5);
	assert_string_equal(all.items[0].key, "/n/");
	assert_string_equal(all.items[4].key, "/n/b");
	assert_int_equal(store_range(f->s, "/n/", NULL, 2, &first), 0);
	assert_int_equal(first.count, 2);
	assert_true(first.more);
	assert_int_equal(store_range(f->s, "/n/", first.items[1].key, 3, &rest), 0);
	assert_int_equal(rest.count, 3);
	assert_false(rest.more);
	assert_string_equal(rest.items[0].key, "/n/a/b");
	assert_int_equal(store_range(f->s, "", NULL, 0, &everything), 0);
	assert_int_equal(everything.count, 8);
	assert_string_equal(everything.items[0].key, "/m/z");
	assert_int_equal(store_count(f->s, "/n/", &n), 0);
	assert_int_equal(n, 5);
	assert_int_equal(store_count(f->s, "/n/a", &n), 0);
	assert_int_equal(n, 3);
}

static void after_beyond_the_prefix(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_items) struct store_items items = {0};
	CLEANUP(store_items) struct store_items before = {0};

	put(f->s, "/n/a", "v");
	put(f->s, "/o/a", "v");
	assert_int_equal(store_range(f->s, "/n/", "/o/", 0, &items), 0);
	assert_int_equal(items.count, 0);
	assert_int_equal(store_range(f->s, "/n/", "/a", 0, &before), 0);
	assert_int_equal(before.count, 1);
}

static void all_or_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_txn) struct store_txn txn;
	uint64_t revision, n;

	revision = put(f->s, "/a", "1");
	store_txn_init(&txn);
	store_txn_expect(&txn, "/a", revision);
	store_txn_expect(&txn, "/b", 7);
	store_txn_put(&txn, "/a", "2");
	store_txn_put(&txn, "/c", "3");
	store_txn_delete(&txn, "/a");
	assert_int_equal(store_commit(f->s, &txn, &n), -EAGAIN);
	assert_value(f->s, "/a", "1");
	assert_absent(f->s, "/c");
	assert_int_equal(store_revision(f->s, &n), 0);
	assert_int_equal(n, revision);
}

static void compares(void **state)
{
	struct fixture *f = *state;
	uint64_t first = put(f->s, "/a", "1");
	const struct {
		const char *key;
		uint64_t expected;
		int rc;
	} cases[] = {{"/a", 0, -EAGAIN}, {"/none", 0, 0}, {"/a", first, 0},
		{"/a", first + 1, -EAGAIN}, {"/none", first, -EAGAIN}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(store_txn) struct store_txn txn;

		store_txn_init(&txn);
		store_txn_expect(&txn, cases[i].key, cases[i].expected);
		store_txn_put(&txn, "/other", "x");
		assert_int_equal(store_commit(f->s, &txn, NULL), cases[i].rc);
	}
}

static void the_last_word_on_a_key_counts(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	store_txn_put(&txn, "/a", "1");
	store_txn_put(&txn, "/b", "1");
	store_txn_delete(&txn, "/a");
	store_txn_put(&txn, "/b", "2");
	store_txn_delete(&txn, "/c");
	store_txn_put(&txn, "/c", "3");
	assert_int_equal(txn.op_count, 3);
	assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	assert_absent(f->s, "/a");
	assert_value(f->s, "/b", "2");
	assert_value(f->s, "/c", "3");
}

static void large_transactions(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_txn) struct store_txn txn;
	char key[32];
	uint64_t n;

	store_txn_init(&txn);
	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < 5000; i++) {
			snprintf(key, sizeof(key), "/k/%d", i);
			store_txn_put(&txn, key, "v");
		}
	}
	assert_int_equal(txn.op_count, 5000);
	assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	assert_int_equal(store_count(f->s, "/k/", &n), 0);
	assert_int_equal(n, 5000);
}

static void values_are_kept_as_they_are(void **state)
{
	struct fixture *f = *state;
	char *large = malloc(300001);

	memset(large, 'x', 300000);
	large[300000] = '\0';
	put(f->s, "/large", large);
	put(f->s, "/utf8", "{\"n\":\"Grüße ' \\\" % \"}");
	put(f->s, "/empty", "");
	reopen(f);
	assert_value(f->s, "/large", large);
	assert_value(f->s, "/utf8", "{\"n\":\"Grüße ' \\\" % \"}");
	assert_value(f->s, "/empty", "");
	free(large);
}

static void survives_a_restart(void **state)
{
	struct fixture *f = *state;
	uint64_t generation = f->s->generation;
	uint64_t revision, n;

	revision = put(f->s, "/a", "1");
	reopen(f);
	assert_int_equal(f->s->generation, generation);
	assert_int_equal(store_revision(f->s, &n), 0);
	assert_int_equal(n, revision);
	assert_value(f->s, "/a", "1");
	assert_true(put(f->s, "/a", "2") > revision);
}

static void another_store_has_another_generation(void **state)
{
	struct fixture *f = *state;
	struct fixture *other = fixture_new(f->etcd);

	assert_true(other->s->generation != f->s->generation);
	fixture_free(other);
}

struct heard {
	unsigned int calls;
	uint64_t revision;
	size_t n;
	char key[32];
};

static void on_change(void *ctx, uint64_t revision, const struct store_op *ops, size_t n)
{
	struct heard *h = ctx;

	h->calls++;
	h->revision = revision;
	h->n = n;
	snprintf(h->key, sizeof(h->key), "%s", ops[n - 1].key);
}

static void tells_of_changes(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_txn) struct store_txn refused;
	CLEANUP(store_txn) struct store_txn txn;
	struct heard heard = {0};
	struct heard other = {0};
	uint64_t revision;

	store_on_change(f->s, on_change, &other);
	store_on_change(f->s, on_change, &heard);
	store_txn_init(&refused);
	store_txn_expect(&refused, "/a", 9);
	store_txn_put(&refused, "/a", "1");
	assert_int_equal(store_commit(f->s, &refused, NULL), -EAGAIN);
	assert_int_equal(heard.calls, 0);
	store_txn_init(&txn);
	store_txn_put(&txn, "/a", "1");
	store_txn_delete(&txn, "/not-there");
	store_txn_put(&txn, "/b", "1");
	assert_int_equal(store_commit(f->s, &txn, &revision), 0);
	assert_int_equal(heard.calls, 1);
	assert_int_equal(heard.revision, revision);
	assert_int_equal(heard.n, 2);
	assert_string_equal(heard.key, "/b");
	store_off_change(f->s, &heard);
	put(f->s, "/a", "2");
	assert_int_equal(heard.calls, 1);
	assert_int_equal(other.calls, 2);
}

/* -- the feed -- */

struct told {
	char text[2000]; /* "+KEY=VALUE " and "-KEY=OLD " */
	size_t n;
	uint64_t last;
};

static void take(void *ctx, const struct store_event *event)
{
	struct told *t = ctx;
	size_t len = strlen(t->text);

	assert_true(event->revision >= t->last);
	t->last = event->revision;
	t->n++;
	snprintf(t->text + len, sizeof(t->text) - len, "%c%s=%s ",
		event->kind == STORE_PUT ? '+' : '-', event->key,
		event->value ? event->value : "?");
}

static void feed_tells_in_order(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_txn) struct store_txn txn;
	struct told all = {0}, some = {0}, rest = {0};
	uint64_t start, first, at;

	assert_int_equal(store_revision(f->s, &start), 0);
	first = put(f->s, "/a", "1");
	store_txn_init(&txn);
	store_txn_put(&txn, "/b", "2");
	store_txn_delete(&txn, "/a");
	store_txn_delete(&txn, "/never");
	assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	put(f->s, "/c", "3");
	assert_int_equal(store_feed_since(f->s, start, 0, take, &all, &at), 0);
	assert_string_equal(all.text, "+/a=1 +/b=2 -/a=1 +/c=3 ");
	assert_int_equal(at, all.last);
	/* Transactions are not split. */
	assert_int_equal(store_feed_since(f->s, first, 1, take, &some, &at), 0);
	assert_string_equal(some.text, "+/b=2 -/a=1 ");
	assert_int_equal(store_feed_since(f->s, at, 1, take, &rest, &at), 0);
	assert_string_equal(rest.text, "+/c=3 ");
	assert_int_equal(store_feed_since(f->s, at, 1, take, &rest, &at), 0);
	assert_int_equal(store_feed_since(f->s, at + 100, 1, take, &rest, &at), 0);
	assert_int_equal(rest.n, 1);
}

static void feed_forgets(void **state)
{
	struct fixture *f = *state;
	struct told t = {0};
	uint64_t at, revision;

	revision = put(f->s, "/a", "1");
	reopen(f);
	/* Nothing of before it was opened is kept, and nothing is missing since. */
	assert_int_equal(store_feed_oldest(f->s), revision);
	assert_int_equal(store_feed_since(f->s, revision - 1, 0, take, &t, &at), -VAN_E_GONE);
	assert_int_equal(store_feed_since(f->s, revision, 0, take, &t, &at), 0);
	for (unsigned int i = 0; i < 5; i++) {
		CLEANUP(store_txn) struct store_txn txn;
		char key[32];

		store_txn_init(&txn);
		for (unsigned int j = 0; j < 4000; j++) {
			snprintf(key, sizeof(key), "/k/%u", j);
			store_txn_put(&txn, key, "v");
		}
		assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	}
	assert_int_equal(store_feed_since(f->s, revision, 0, take, &t, &at), -VAN_E_GONE);
	assert_int_equal(t.n, 0);
	assert_int_equal(store_feed_since(f->s, store_feed_oldest(f->s), 0, take, &t, &at), 0);
	assert_int_equal(t.n, 16000);
}

/* -- what a decision was made on -- */

static void what_was_read_is_compared(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_txn) struct store_txn txn;
	CLEANUP(store_item) struct store_item item = {0};
	CLEANUP(store_item) struct store_item none = {0};

	put(f->s, "/read", "1");
	store_txn_init(&txn);
	store_track(f->s, &txn);
	assert_int_equal(store_get(f->s, "/read", &item), 0);
	store_item_done(&item);
	assert_int_equal(store_get(f->s, "/read", &item), 0);
	assert_int_equal(store_get(f->s, "/absent", &none), -ENOENT);
	store_track(f->s, NULL);
	assert_int_equal(txn.compare_count, 2);
	store_txn_put(&txn, "/written", "1");
	assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	put(f->s, "/absent", "1");
	assert_int_equal(store_commit(f->s, &txn, NULL), -EAGAIN);
	store_txn_expect(&txn, "/x", 1);
	store_txn_expect(&txn, "/x", 2);
	assert_int_equal(txn.compare_count, 4);
}

static void what_was_listed_is_compared(void **state)
{
	struct fixture *f = *state;

	put(f->s, "/n/1", "a");
	put(f->s, "/n/2", "a");
	/* What happens between reading and committing, and whether that matters. */
	const struct {
		const char *put, *delete;
		int rc;
	} cases[] = {{NULL, NULL, 0}, {"/n", NULL, 0}, {"/o", NULL, 0}, {"/n/3", NULL, -EAGAIN},
		{"/n/1", NULL, -EAGAIN}, {NULL, "/n/2", 0}, {NULL, NULL, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(store_txn) struct store_txn txn;
		CLEANUP(store_txn) struct store_txn other;
		CLEANUP(store_items) struct store_items items = {0};
		uint64_t n;

		store_txn_init(&txn);
		store_txn_init(&other);
		store_track(f->s, &txn);
		assert_int_equal(store_range(f->s, "/n/", NULL, 1, &items), 0);
		assert_int_equal(store_count(f->s, "/n/", &n), 0);
		assert_int_equal(store_count(f->s, "/empty/", &n), 0);
		store_track(f->s, NULL);
		assert_int_equal(txn.range_count, 2);
		if (cases[i].put)
			store_txn_put(&other, cases[i].put, "b");
		if (cases[i].delete)
			store_txn_delete(&other, cases[i].delete);
		if (other.op_count)
			assert_int_equal(store_commit(f->s, &other, NULL), 0);
		store_txn_put(&txn, "/written", "1");
		assert_int_equal(store_commit(f->s, &txn, NULL), cases[i].rc);
	}
}

static void transactions_are_edited(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	assert_null(store_txn_find(&txn, "/a"));
	for (int i = 0; i < 100; i++) {
		char key[16];

		snprintf(key, sizeof(key), "/%d", i);
		store_txn_put(&txn, key, "v");
	}
	store_txn_rename(&txn, 7, "/renamed");
	assert_null(store_txn_find(&txn, "/7"));
	assert_ptr_equal(store_txn_find(&txn, "/renamed"), &txn.ops[7]);
	assert_ptr_equal(store_txn_find(&txn, "/99"), &txn.ops[99]);
	assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	assert_value(f->s, "/renamed", "v");
	assert_absent(f->s, "/7");
}

/* -- walking -- */

struct walked {
	char keys[256];
	size_t stop_after;
	size_t n;
};

static bool walk(void *ctx, const struct store_item *item)
{
	struct walked *w = ctx;
	size_t len = strlen(w->keys);

	snprintf(w->keys + len, sizeof(w->keys) - len, "%s=%s ", item->key, item->value);
	assert_true(item->create_revision && item->mod_revision >= item->create_revision);
	return ++w->n != w->stop_after;
}

static void walks_everything(void **state)
{
	struct fixture *f = *state;
	struct walked all = {0}, two = {.stop_after = 2};
	uint64_t revision, at;

	put(f->s, "/n/1", "a");
	put(f->s, "/audit/1", "cold");
	revision = put(f->s, "/b", "");
	assert_int_equal(store_walk(f->s, walk, &all, &at), 0);
	assert_string_equal(all.keys, "/audit/1=cold /b= /n/1=a ");
	assert_int_equal(at, revision);
	assert_int_equal(store_walk(f->s, walk, &two, NULL), 0);
	assert_int_equal(two.n, 2);
	put(f->s, "/c", "still writable");
}

/* Some keys are kept apart by some stores; nobody may notice. */
static void every_prefix_is_read_alike(void **state)
{
	static const char *const keys[] = {"/audis", "/audit-at/1", "/audit-head/x", "/audit/",
		"/audit/1", "/audit/2", "/audit/3", "/audit0", "/z"};
	struct fixture *f = *state;
	CLEANUP(store_items) struct store_items page = {0};
	CLEANUP(store_items) struct store_items all = {0};
	CLEANUP(store_items) struct store_items rest = {0};
	CLEANUP(store_txn) struct store_txn txn;
	uint64_t n;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		put(f->s, keys[i], keys[i]);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_value(f->s, keys[i], keys[i]);
	assert_absent(f->s, "/audit/4");
	assert_int_equal(store_range(f->s, "/audit/", NULL, 2, &page), 0);
	assert_int_equal(page.count, 2);
	assert_true(page.more);
	assert_int_equal(store_range(f->s, "/audit/", "/audit/1", 0, &rest), 0);
	assert_int_equal(rest.count, 2);
	assert_string_equal(rest.items[0].key, "/audit/2");
	assert_int_equal(store_range(f->s, "/aud", NULL, 0, &all), 0);
	assert_int_equal(all.count, 8);
	assert_string_equal(all.items[1].key, "/audit-at/1");
	assert_string_equal(all.items[2].key, "/audit-head/x");
	assert_int_equal(store_count(f->s, "/audit/", &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(store_count(f->s, "/audit-", &n), 0);
	assert_int_equal(n, 2);
	store_txn_init(&txn);
	store_txn_expect(&txn, "/audit/1", all.items[0].mod_revision);
	store_txn_delete(&txn, "/audit/1");
	assert_int_equal(store_commit(f->s, &txn, NULL), -EAGAIN);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest every_store[] = {
		T(empty_store),
		T(revisions),
		T(a_key_made_again_has_a_new_create_revision),
		T(ranges),
		T(after_beyond_the_prefix),
		T(all_or_nothing),
		T(compares),
		T(the_last_word_on_a_key_counts),
		T(large_transactions),
		T(values_are_kept_as_they_are),
		T(survives_a_restart),
		T(another_store_has_another_generation),
		T(tells_of_changes),
		T(feed_tells_in_order),
		T(feed_forgets),
		T(what_was_read_is_compared),
		T(what_was_listed_is_compared),
		T(transactions_are_edited),
		T(walks_everything),
		T(every_prefix_is_read_alike),
	};
	int failed = cmocka_run_group_tests_name("sqlite", every_store, NULL, NULL);

	if (!etcd_server_available())
		return failed + etcd_server_skip();
	current_etcd = etcd_server_new("--max-txn-ops=10000");
	failed += cmocka_run_group_tests_name("etcd", every_store, NULL, NULL);
	etcd_server_free(current_etcd);
	return failed;
}
