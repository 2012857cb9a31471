/* SPDX-License-Identifier: Apache-2.0 */
/* The store in a file: damage, lack of room, others who hold it, crashes, older and newer schemas. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "console-api/embed.h"
#include "test/unit/store_suite.h"

static int setup(void **state)
{
	*state = fixture_new(NULL);
	return 0;
}

static int teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

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

/* -- schemas -- */

/* The first version's file, as it made them, with something in it. */
static void make_schema_1(struct fixture *f)
{
	const struct embedded first = embed_schema(1);
	const struct store_sqlite_schemas only_first = {.files = &first, .count = 1};
	struct err e = {0};

	store_close(f->s);
	f->s = NULL;
	unlink(f->path);
	if (store_sqlite_open_as(f->path, &only_first, false, &f->s, &e))
		fail_msg("%s", e.text);
	put(f->s, "/a", "1");
	put(f->s, "/b", "{\"two\":2}");
	put(f->s, "/a", "3");
}

static void brought_up_from_the_first_schema(void **state)
{
	struct fixture *f = *state;
	CLEANUP(store_item) struct store_item item = {0};
	uint64_t generation, revision;

	make_schema_1(f);
	generation = f->s->generation;
	for (int i = 0; i < 2; i++) {
		reopen(f);
		assert_int_equal(f->s->generation, generation);
		assert_int_equal(store_revision(f->s, &revision), 0);
		assert_int_equal(revision, 3);
		assert_value(f->s, "/b", "{\"two\":2}");
	}
	assert_int_equal(store_get(f->s, "/a", &item), 0);
	assert_int_equal(item.create_revision, 1);
	assert_int_equal(item.mod_revision, 3);
	assert_int_equal(put(f->s, "/a", "4"), 4);
}

static void reading_alone_changes_nothing(void **state)
{
	struct fixture *f = *state;
	const struct embedded first = embed_schema(1);
	const struct store_sqlite_schemas only_first = {.files = &first, .count = 1};
	struct store *reader = NULL;
	CLEANUP(store_txn) struct store_txn txn;
	struct err e = {0};

	make_schema_1(f);
	/* While the other one has it open. */
	if (store_sqlite_open_read(f->path, &reader, &e))
		fail_msg("%s", e.text);
	assert_value(reader, "/a", "3");
	put(f->s, "/a", "5");
	assert_value(reader, "/a", "5");
	store_txn_init(&txn);
	store_txn_put(&txn, "/x", "1");
	assert_int_equal(store_commit(reader, &txn, NULL), -EIO);
	store_close(reader);
	store_close(f->s);
	if (store_sqlite_open_as(f->path, &only_first, false, &f->s, &e))
		fail_msg("%s", e.text);
	assert_int_equal(store_sqlite_open_read("/nonexistent", &reader, &e), -EIO);
}

static void a_newer_schema_is_refused(void **state)
{
	static const char next[] = "UPDATE meta SET program = 'x'; CREATE TABLE later (x);";
	struct fixture *f = *state;
	struct embedded files[16];
	struct store_sqlite_schemas newer = {.files = files};
	struct store *s = NULL;
	struct err e = {0};

	while (embed_schema((unsigned int)newer.count + 1).data) {
		files[newer.count] = embed_schema((unsigned int)newer.count + 1);
		newer.count++;
	}
	files[newer.count++] = (struct embedded){next, strlen(next)};
	put(f->s, "/a", "1");
	store_close(f->s);
	f->s = NULL;
	if (store_sqlite_open_as(f->path, &newer, false, &s, &e))
		fail_msg("%s", e.text);
	assert_value(s, "/a", "1");
	store_close(s);
	s = NULL;
	assert_int_equal(store_sqlite_open(f->path, &s, &e), -VAN_E_CORRUPT);
	assert_non_null(strstr(e.text, "made by console-api " VAN_VERSION));
	assert_int_equal(store_sqlite_open_read(f->path, &s, &e), -VAN_E_CORRUPT);
	assert_null(s);
}

static void a_migration_that_fails_changes_nothing(void **state)
{
	static const char bad[] = "UPDATE kv SET value = 'spoilt'; CREATE TABLE kv (x);";
	struct fixture *f = *state;
	const struct embedded files[] = {embed_schema(1), embed_schema(2), {bad, strlen(bad)}};
	const struct store_sqlite_schemas schemas = {.files = files, .count = 3};
	struct store *s = NULL;
	struct err e = {0};

	make_schema_1(f);
	store_close(f->s);
	f->s = NULL;
	assert_int_equal(store_sqlite_open_as(f->path, &schemas, false, &s, &e), -VAN_E_CORRUPT);
	assert_non_null(strstr(e.text, "from schema 2 to 3"));
	assert_null(s);
	reopen(f);
	assert_value(f->s, "/a", "3");
	assert_value(f->s, "/b", "{\"two\":2}");
}

/* -- backups -- */

struct seen {
	unsigned int calls;
	struct store *s;
};

/* Writes while the backup is made. */
static void on_progress(void *ctx, int left, int pages)
{
	struct seen *seen = ctx;

	assert_in_range(left, 0, pages);
	seen->calls++;
	put(seen->s, "/during", "1");
}

static void backup_of_one_moment(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.s = f->s};
	struct store *copy = NULL;
	struct err e = {0};
	char to[128], key[32];
	struct stat st;
	uint64_t n, generation;

	snprintf(to, sizeof(to), "%s/backup", f->dir);
	for (int i = 0; i < 20000;) {
		CLEANUP(store_txn) struct store_txn txn;

		store_txn_init(&txn);
		for (int j = 0; j < 1000; j++, i++) {
			snprintf(key, sizeof(key), "/k/%d", i);
			store_txn_put(&txn, key, "{\"some\":\"value that fills the pages\"}");
		}
		assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	}
	if (store_sqlite_backup(f->path, to, on_progress, &seen, &e))
		fail_msg("%s", e.text);
	assert_true(seen.calls > 1);
	assert_value(f->s, "/during", "1");
	assert_int_equal(stat(to, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	for (int i = 0; i < 2; i++) {
		if (store_sqlite_open(to, &copy, &e))
			fail_msg("%s", e.text);
		assert_absent(copy, "/during");
		assert_int_equal(store_count(copy, "/k/", &n), 0);
		assert_int_equal(n, 20000);
		/* Another store than the one that it is of; and one from then on. */
		assert_true(copy->generation != 0 && copy->generation != f->s->generation);
		if (i)
			assert_int_equal(copy->generation, generation);
		generation = copy->generation;
		store_close(copy);
	}
	/* Replaced as a whole, or left alone. */
	seen.s = f->s;
	assert_int_equal(store_sqlite_backup(f->path, to, NULL, NULL, &e), 0);
	assert_int_equal(store_sqlite_backup("/nonexistent", to, NULL, NULL, &e), -EIO);
	assert_int_equal(stat(to, &st), 0);
	assert_int_equal(
		store_sqlite_backup(f->path, "/nonexistent/backup", NULL, NULL, &e), -ENOENT);
	unlink(to);
	assert_int_equal(rmdir(f->dir), -1); /* the store itself; nothing else */
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(damaged_files_are_refused),
		T(damage_inside_is_found_at_the_start),
		T(no_room),
		T(held_by_somebody_else),
		T(killed_while_writing),
		T(brought_up_from_the_first_schema),
		T(reading_alone_changes_nothing),
		T(a_newer_schema_is_refused),
		T(a_migration_that_fails_changes_nothing),
		T(backup_of_one_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
