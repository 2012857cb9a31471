/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every store must do, through store.h alone; and below what is SQLite's own. A further kind
 * of store adds a row to `kinds`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <signal.h>
#include "console-api/store.h"
#include "lib/cleanup.h"

struct kind {
	const char *name;
	int (*open)(const char *path, struct store **ret_store, struct err *e);
};

static const struct kind kinds[] = {{"sqlite", store_sqlite_open}};

struct fixture {
	const struct kind *kind;
	char dir[64];
	char path[96];
	struct store *s;
};

static const struct kind *current_kind = &kinds[0];

static void reopen(struct fixture *f)
{
	struct err e = {0};

	store_close(f->s);
	f->s = NULL;
	if (f->kind->open(f->path, &f->s, &e))
		fail_msg("%s: %s", f->kind->name, e.text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_true(sodium_init() >= 0);
	f->kind = current_kind;
	snprintf(f->dir, sizeof(f->dir), "%s", "/tmp/test-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/store", f->dir);
	reopen(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const tails[] = {"", "-wal", "-shm"};
	struct fixture *f = *state;
	char path[128];

	store_close(f->s);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", f->path, tails[i]);
		unlink(path);
	}
	rmdir(f->dir);
	free(f);
	return 0;
}

static uint64_t put(struct store *s, const char *key, const char *value)
{
	CLEANUP(store_txn) struct store_txn txn;
	uint64_t revision;

	store_txn_init(&txn);
	store_txn_put(&txn, key, value);
	assert_int_equal(store_commit(s, &txn, &revision), 0);
	return revision;
}

static void assert_value(struct store *s, const char *key, const char *value)
{
	CLEANUP(store_item) struct store_item item = {0};

	assert_int_equal(store_get(s, key, &item), 0);
	assert_string_equal(item.key, key);
	assert_string_equal(item.value, value);
}

static void assert_absent(struct store *s, const char *key)
{
	struct store_item item = {0};

	assert_int_equal(store_get(s, key, &item), -ENOENT);
	assert_null(item.value);
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
	uint64_t n;

	assert_int_equal(put(f->s, "/a", "1"), 1);
	assert_int_equal(put(f->s, "/b", "2"), 2);
	assert_int_equal(put(f->s, "/a", "3"), 3);
	assert_int_equal(store_get(f->s, "/a", &item), 0);
	assert_int_equal(item.create_revision, 1);
	assert_int_equal(item.mod_revision, 3);
	assert_int_equal(store_get(f->s, "/b", &other), 0);
	assert_int_equal(other.mod_revision, 2);
	assert_int_equal(store_revision(f->s, &n), 0);
	assert_int_equal(n, 3);
}

static void a_key_made_again_has_a_new_create_revision(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_txn) struct store_txn txn;
	CLEANUP(store_item) struct store_item item = {0};

	put(f->s, "/a", "1");
	store_txn_init(&txn);
	store_txn_delete(&txn, "/a");
	store_txn_delete(&txn, "/never");
	assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	assert_absent(f->s, "/a");
	put(f->s, "/a", "2");
	assert_int_equal(store_get(f->s, "/a", &item), 0);
	assert_int_equal(item.create_revision, 3);
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
	uint64_t n;

	put(f->s, "/a", "1");
	reopen(f);
	assert_int_equal(f->s->generation, generation);
	assert_int_equal(store_revision(f->s, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(put(f->s, "/a", "2"), 2);
}

static void another_store_has_another_generation(void **state)
{
	struct fixture *f = *state;
	void *other = NULL;

	setup(&other);
	assert_true(((struct fixture *)other)->s->generation != f->s->generation);
	teardown(&other);
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

	store_on_change(f->s, on_change, &heard);
	store_txn_init(&refused);
	store_txn_expect(&refused, "/a", 9);
	store_txn_put(&refused, "/a", "1");
	assert_int_equal(store_commit(f->s, &refused, NULL), -EAGAIN);
	assert_int_equal(heard.calls, 0);
	store_txn_init(&txn);
	store_txn_put(&txn, "/a", "1");
	store_txn_delete(&txn, "/b");
	assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	assert_int_equal(heard.calls, 1);
	assert_int_equal(heard.revision, 1);
	assert_int_equal(heard.n, 2);
	assert_string_equal(heard.key, "/b");
	store_on_change(f->s, NULL, NULL);
	put(f->s, "/a", "2");
	assert_int_equal(heard.calls, 1);
}

/* -- SQLite's own -- */

static void write_file(const char *path, const void *data, size_t len)
{
	CLEANUP(fclose) FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
}

static void damaged_files_are_refused(void **state)
{
	struct fixture *f = *state;
	static const char head[] = "SQLite format 3";
	char junk[8192];
	struct err e = {0};
	struct store *s = NULL;

	store_close(f->s);
	f->s = NULL;
	randombytes_buf(junk, sizeof(junk));
	write_file(f->path, junk, sizeof(junk));
	assert_int_equal(store_sqlite_open(f->path, &s, &e), -VAN_E_CORRUPT);
	assert_non_null(strstr(e.text, f->path));
	write_file(f->path, "x", 1);
	assert_int_equal(store_sqlite_open(f->path, &s, &e), -VAN_E_CORRUPT);
	memcpy(junk, head, sizeof(head));
	write_file(f->path, junk, sizeof(junk));
	assert_int_equal(store_sqlite_open(f->path, &s, &e), -VAN_E_CORRUPT);
	assert_null(s);
	unlink(f->path);
	assert_int_equal(store_sqlite_open(f->dir, &s, &e), -EIO);
	assert_int_equal(store_sqlite_open("/nonexistent/store", &s, &e), -EIO);
}

static void damage_inside_is_found_at_the_start(void **state)
{
	struct fixture *f = *state;
	CLEANUP(fclose) FILE *file = NULL;
	char key[32], junk[4096];
	struct store *s = NULL;
	struct err e = {0};

	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "/some/longer/key/%d", i);
		put(f->s, key, "{\"some\":\"value that fills the pages\"}");
	}
	store_close(f->s);
	f->s = NULL;
	file = fopen(f->path, "r+e");
	assert_non_null(file);
	memset(junk, 0xa5, sizeof(junk));
	for (long page = 2; page < 8; page++) {
		assert_int_equal(fseek(file, page * 4096, SEEK_SET), 0);
		assert_int_equal(fwrite(junk, 1, sizeof(junk), file), sizeof(junk));
	}
	assert_int_equal(fflush(file), 0);
	assert_int_equal(store_sqlite_open(f->path, &s, &e), -VAN_E_CORRUPT);
	assert_non_null(strstr(e.text, "damaged"));
}

/*
 * A file-size limit stands for the full disk (SQLite calls it an I/O error; the real thing is in
 * the API's tests): writes fail, nothing half-made stays, reads go on, and so do writes when there
 * is room.
 */
static void no_room(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, tight = {.rlim_cur = 64 << 10};
	CLEANUP(store_txn) struct store_txn txn;
	uint64_t before, made, revision;
	int first, second, counted;
	char key[32];

	before = put(f->s, "/a", "1");
	store_txn_init(&txn);
	for (int i = 0; i < 4000; i++) {
		snprintf(key, sizeof(key), "/big/%d", i);
		store_txn_put(&txn, key, "{\"some\":\"value that fills the pages\"}");
	}
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	tight.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	first = store_commit(f->s, &txn, NULL);
	second = store_commit(f->s, &txn, NULL);
	counted = store_count(f->s, "/big/", &made);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_true(first == -ENOSPC || first == -EIO);
	assert_true(second == -ENOSPC || second == -EIO);
	assert_int_equal(counted, 0);
	assert_int_equal(made, 0);
	assert_value(f->s, "/a", "1");
	assert_int_equal(store_commit(f->s, &txn, &revision), 0);
	assert_int_equal(revision, before + 1);
}

/* A process that holds the store's write lock until its standard input ends; -1 without Python's.
 */
static pid_t start_holder(const char *path, int *ret_input)
{
	char script[256];
	int to[2], from[2];
	char c;
	pid_t pid;

	snprintf(script, sizeof(script),
		"import sqlite3,sys; d=sqlite3.connect('%s',isolation_level=None);"
		"d.execute('BEGIN IMMEDIATE'); print(flush=True); sys.stdin.read()",
		path);
	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	pid = fork();
	if (pid == 0) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		close(to[1]);
		close(from[0]);
		execlp("python3", "python3", "-c", script, NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	*ret_input = to[1];
	if (read(from[0], &c, 1) != 1) {
		close(to[1]);
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(from[0]);
	return pid;
}

/* Somebody with the sqlite3 command holds the file: an error, not a wait for ever. */
static void held_by_somebody_else(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_txn) struct store_txn txn;
	int input;
	pid_t pid = start_holder(f->path, &input);

	store_txn_init(&txn);
	if (pid < 0) {
		print_message("no python3 with sqlite3 here: not tested\n");
		skip();
		return;
	}
	store_txn_put(&txn, "/a", "1");
	assert_int_equal(store_commit(f->s, &txn, NULL), -EBUSY);
	assert_absent(f->s, "/a");
	close(input);
	waitpid(pid, NULL, 0);
	assert_int_equal(store_commit(f->s, &txn, NULL), 0);
}

/* The child acknowledges revisions over a pipe and is killed at it: all of them must be there. */
static void killed_while_writing(void **state)
{
	struct fixture *f = *state;
	uint64_t acknowledged = 0, revision, n;
	int fds[2];
	pid_t pid;

	store_close(f->s);
	f->s = NULL;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		struct store *s;
		char key[32];

		if (store_sqlite_open(f->path, &s, NULL))
			_exit(1);
		for (int i = 0;; i++) {
			CLEANUP(store_txn) struct store_txn txn;

			store_txn_init(&txn);
			snprintf(key, sizeof(key), "/k/%08d", i);
			store_txn_put(&txn, key, "v");
			if (store_commit(s, &txn, &revision) ||
				write(fds[1], &revision, sizeof(revision)) < 0)
				_exit(1);
		}
	}
	close(fds[1]);
	while (acknowledged < 200)
		assert_int_equal(
			read(fds[0], &acknowledged, sizeof(acknowledged)), sizeof(acknowledged));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(fds[0], &revision, sizeof(revision)) == sizeof(revision))
		acknowledged = revision;
	close(fds[0]);
	reopen(f);
	assert_int_equal(store_revision(f->s, &n), 0);
	assert_in_range(n, acknowledged, acknowledged + 1);
	assert_int_equal(store_count(f->s, "/k/", &revision), 0);
	assert_int_equal(revision, n);
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
	};
	const struct CMUnitTest sqlite[] = {
		T(damaged_files_are_refused),
		T(damage_inside_is_found_at_the_start),
		T(no_room),
		T(held_by_somebody_else),
		T(killed_while_writing),
	};
	int failed = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		current_kind = &kinds[i];
		failed += cmocka_run_group_tests_name(kinds[i].name, every_store, NULL, NULL);
	}
	current_kind = &kinds[0];
	failed += cmocka_run_group_tests(sqlite, NULL, NULL);
	return failed;
}
