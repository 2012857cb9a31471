/* SPDX-License-Identifier: Apache-2.0 */
/* Exports and imports: what comes out goes in as it was, and nothing that is damaged does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <sodium.h>
#include <string.h>
#include "console-api/store_sqlite.h"
#include "console-api/transfer.h"
#include "lib/cleanup.h"
#include "test/unit/tmpdir.h"

struct fixture {
	struct tmpdir dir;
	struct store *from, *to;
};

static struct store *open_memory(void)
{
	struct store *s = NULL;
	struct err e = {0};

	if (store_sqlite_open(":memory:", &s, &e))
		fail_msg("%s", e.text);
	return s;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_true(sodium_init() >= 0);
	tmpdir_make(&f->dir);
	f->from = open_memory();
	f->to = open_memory();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->from);
	store_close(f->to);
	tmpdir_remove(&f->dir);
	free(f);
	return 0;
}

static void put(struct store *s, const char *key, const char *value)
{
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	store_txn_put(&txn, key, value);
	assert_int_equal(store_commit(s, &txn, NULL), 0);
}

static void export_to(struct fixture *f, const char *path, uint64_t want_keys)
{
	FILE *out = fopen(path, "w");
	uint64_t keys = 0;
	struct err e = {0};

	assert_non_null(out);
	if (transfer_export(f->from, out, NULL, NULL, &keys, &e))
		fail_msg("%s", e.text);
	assert_int_equal(keys, want_keys);
	assert_int_equal(fclose(out), 0);
}

static int import_from(
	struct store *to, const char *path, transfer_progress *progress, void *ctx, struct err *e)
{
	struct transfer_source source = {0};
	int rc = transfer_source_open(path, &source, e);

	if (!rc)
		rc = transfer_import(to, &source, progress, ctx, e);
	transfer_source_close(&source);
	return rc;
}

static void import_well(struct store *to, const char *path)
{
	struct err e = {0};

	if (import_from(to, path, NULL, NULL, &e))
		fail_msg("%s", e.text);
}

static void assert_value(struct store *s, const char *key, const char *value)
{
	CLEANUP(store_item) struct store_item item = {0};
	int rc = store_get(s, key, &item);

	if (!value) {
		assert_int_equal(rc, -ENOENT);
		return;
	}
	assert_int_equal(rc, 0);
	assert_string_equal(item.value, value);
}

static uint64_t count(struct store *s)
{
	uint64_t n = 0;

	assert_int_equal(store_count(s, "/", &n), 0);
	return n;
}

/* Byte for byte, and without what is about one console or one moment. */
static void comes_out_as_it_went_in(void **state)
{
	static const char *const values[] = {"\"\"", "{ \"a\" : 1,\n\t\"b\":\"\\u0000\\/\" }",
		"no JSON at all", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "", "\"\\\"quoted\\\"\""};
	static const char *const soft[] = {
		"/consoles/c1", "/pulse/p1", "/online/n1", "/idem/k/h", "/idem-at/1-2"};
	struct fixture *f = *state;
	const char *path = tmpdir_file(&f->dir, "export");
	char key[32];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		snprintf(key, sizeof(key), "/x/%zu", i);
		put(f->from, key, values[i]);
	}
	for (size_t i = 0; i < sizeof(soft) / sizeof(soft[0]); i++) {
		assert_true(transfer_is_soft(soft[i]));
		put(f->from, soft[i], "\"\"");
	}
	put(f->from, "/online-and-more", "1");
	assert_false(transfer_is_soft("/online-and-more"));
	put(f->from, "/console", "{\"mesh\":\"00ff\"}");
	export_to(f, path, 8);
	import_well(f->to, path);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		snprintf(key, sizeof(key), "/x/%zu", i);
		assert_value(f->to, key, values[i]);
	}
	assert_int_equal(count(f->to), 8);
	assert_true(f->from->generation != f->to->generation);
}

static void an_empty_store(void **state)
{
	struct fixture *f = *state;
	const char *path = tmpdir_file(&f->dir, "export");

	export_to(f, path, 0);
	import_well(f->to, path);
	assert_int_equal(count(f->to), 0);
}

static void count_calls(void *ctx, uint64_t done, uint64_t all)
{
	unsigned int *calls = ctx;

	assert_true(done && done % 1000 == 0);
	assert_true(all >= done);
	(*calls)++;
}

/* More than one transaction takes, by number and by size. */
static void large_ones(void **state)
{
	struct fixture *f = *state;
	const char *path = tmpdir_file(&f->dir, "export");
	CLEANUP(store_txn) struct store_txn txn;
	CLEANUP(free) char *large = malloc(300001);
	unsigned int calls = 0;
	struct err e = {0};
	char key[32];

	memset(large, 'v', 300000);
	large[300000] = '\0';
	store_txn_init(&txn);
	for (unsigned int i = 0; i < 3500; i++) {
		snprintf(key, sizeof(key), "/k/%05u", i);
		store_txn_put(&txn, key, i % 1000 == 7 ? large : "\"small\"");
	}
	assert_int_equal(store_commit(f->from, &txn, NULL), 0);
	export_to(f, path, 3500);
	if (import_from(f->to, path, count_calls, &calls, &e))
		fail_msg("%s", e.text);
	assert_int_equal(calls, 3);
	assert_int_equal(count(f->to), 3500);
	assert_value(f->to, "/k/00007", large);
	assert_value(f->to, "/k/03007", large);
	assert_value(f->to, "/k/03499", "\"small\"");
}

static size_t read_file(const char *path, char *buf, size_t size)
{
	FILE *in = fopen(path, "r");
	size_t len;

	assert_non_null(in);
	len = fread(buf, 1, size, in);
	fclose(in);
	return len;
}

static void write_file(const char *path, const char *data, size_t len)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	assert_int_equal(fwrite(data, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

/* Cut off at any byte, or with any byte changed: refused before anything is written. */
static void damage_is_noticed(void **state)
{
	struct fixture *f = *state;
	const char *path = tmpdir_file(&f->dir, "export"), *bad = tmpdir_file(&f->dir, "bad");
	char data[2048];
	size_t len;

	put(f->from, "/a", "1");
	put(f->from, "/b", "{\"two\":\"x\"}");
	export_to(f, path, 2);
	len = read_file(path, data, sizeof(data));
	assert_true(len > 100 && len < sizeof(data));
	for (size_t i = 0; i < len; i++) {
		struct err e = {0};

		write_file(bad, data, i);
		if (import_from(f->to, bad, NULL, NULL, &e) != -VAN_E_CORRUPT)
			fail_msg("cut off after %zu bytes: %s", i, e.text);
		data[i] ^= 1;
		write_file(bad, data, len);
		if (import_from(f->to, bad, NULL, NULL, &e) != -VAN_E_CORRUPT)
			fail_msg("byte %zu changed: %s", i, e.text);
		data[i] ^= 1;
	}
	assert_int_equal(count(f->to), 0);
	import_well(f->to, path);
}

static void not_into_a_store_that_is_in_use(void **state)
{
	struct fixture *f = *state;
	const char *path = tmpdir_file(&f->dir, "export");
	struct err e = {0};

	put(f->from, "/a", "1");
	put(f->to, "/b", "2");
	export_to(f, path, 1);
	assert_int_equal(import_from(f->to, path, NULL, NULL, &e), -EEXIST);
	assert_non_null(strstr(e.text, "not empty (1 keys)"));
	assert_value(f->to, "/b", "2");
	assert_value(f->to, "/a", NULL);
}

/* What an import that was killed has left goes, and its mark too. */
static void an_unfinished_import_is_done_again(void **state)
{
	struct fixture *f = *state;
	const char *path = tmpdir_file(&f->dir, "export");
	char key[32];

	put(f->from, "/a", "1");
	export_to(f, path, 1);
	put(f->to, TRANSFER_MARK, "\"\"");
	for (unsigned int i = 0; i < 2500; i++) {
		snprintf(key, sizeof(key), "/left/%u", i);
		put(f->to, key, "0");
	}
	import_well(f->to, path);
	assert_int_equal(count(f->to), 1);
	assert_value(f->to, "/a", "1");
}

static void take_the_mark(void *ctx, uint64_t done, uint64_t all)
{
	(void)done;
	(void)all;
	put(ctx, TRANSFER_MARK, "\"other\"");
}

/* Another import begins while this one runs. */
static void two_imports_do_not_mix(void **state)
{
	struct fixture *f = *state;
	const char *path = tmpdir_file(&f->dir, "export");
	CLEANUP(store_txn) struct store_txn txn;
	struct err e = {0};
	char key[32];

	store_txn_init(&txn);
	for (unsigned int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "/k/%05u", i);
		store_txn_put(&txn, key, "1");
	}
	assert_int_equal(store_commit(f->from, &txn, NULL), 0);
	export_to(f, path, 3000);
	assert_int_equal(import_from(f->to, path, take_the_mark, f->to, &e), -EEXIST);
	assert_non_null(strstr(e.text, "somebody else writes"));
	assert_value(f->to, TRANSFER_MARK, "\"other\"");
}

static void a_backup_is_a_source(void **state)
{
	struct fixture *f = *state;
	const char *live = tmpdir_file(&f->dir, "live"), *copy = tmpdir_file(&f->dir, "copy");
	struct store *s = NULL;
	struct stat st;
	struct err e = {0};

	assert_int_equal(store_sqlite_open(live, &s, &e), 0);
	put(s, "/a", "1");
	put(s, "/pulse/x", "2");
	if (store_sqlite_backup(live, copy, NULL, NULL, &e))
		fail_msg("%s", e.text);
	put(s, "/later", "3");
	store_close(s);
	assert_int_equal(stat(copy, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	import_well(f->to, copy);
	assert_int_equal(count(f->to), 1);
	assert_value(f->to, "/a", "1");
}

static void no_file(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};

	assert_int_equal(import_from(f->to, tmpdir_file(&f->dir, "none"), NULL, NULL, &e), -ENOENT);
	assert_non_null(strstr(e.text, "none"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(comes_out_as_it_went_in),
		T(an_empty_store),
		T(large_ones),
		T(damage_is_noticed),
		T(not_into_a_store_that_is_in_use),
		T(an_unfinished_import_is_done_again),
		T(two_imports_do_not_mix),
		T(a_backup_is_a_source),
		T(no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
