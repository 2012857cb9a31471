/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/file.h"
#include "test/unit/tmpdir.h"

static void check_content(const char *path, const char *expected)
{
	size_t len;
	char *data;

	assert_int_equal(file_read(path, 1 << 20, &data, &len, NULL), 0);
	assert_int_equal(len, strlen(expected));
	assert_string_equal(data, expected);
	free(data);
}

static unsigned int count_entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void test_read_bounds(void **state)
{
	const char *path = tmpdir_file(*state, "bounds");
	char *big = malloc(100000), *data = NULL;
	struct err e;
	size_t len = 7;

	assert_non_null(big);
	memset(big, 'b', 100000);
	assert_int_equal(file_write_atomic(path, big, 100000, 0644, NULL), 0);
	assert_int_equal(file_read(path, 99999, &data, &len, &e), -EFBIG);
	assert_non_null(strstr(e.text, path));
	assert_null(data);
	assert_int_equal(len, 7);
	assert_int_equal(file_read(path, 100000, &data, &len, &e), 0);
	assert_int_equal(len, 100000);
	assert_memory_equal(data, big, len);
	assert_int_equal(data[len], '\0');
	free(data);
	free(big);
	assert_int_equal(file_write_atomic(path, "", 0, 0644, NULL), 0);
	assert_int_equal(file_read(path, 0, &data, &len, &e), 0);
	assert_int_equal(len, 0);
	assert_string_equal(data, "");
	free(data);
}

static void test_read_errors(void **state)
{
	struct tmpdir *dir = *state;
	struct err e;
	size_t len;
	char *data;

	assert_int_equal(file_read(tmpdir_file(dir, "none"), 10, &data, &len, &e), -ENOENT);
	assert_non_null(strstr(e.text, "none: No such file"));
	assert_int_equal(file_read(dir->path, 10, &data, &len, &e), -EISDIR);
	assert_int_equal(file_read_fd(-1, 10, &data, &len, &e), -EBADF);
}

/* A pipe gives what it has bit by bit. */
static void *feed(void *ctx)
{
	int fd = *(int *)ctx;
	char chunk[1000];

	memset(chunk, 'c', sizeof(chunk));
	for (int i = 0; i < 200; i++) {
		if (write(fd, chunk, sizeof(chunk)) != (ssize_t)sizeof(chunk))
			break;
	}
	close(fd);
	return NULL;
}

static void test_read_pipe(void **state)
{
	pthread_t thread;
	int fds[2];
	size_t len;
	char *data;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pthread_create(&thread, NULL, feed, &fds[1]), 0);
	assert_int_equal(file_read_fd(fds[0], 200000, &data, &len, NULL), 0);
	pthread_join(thread, NULL);
	assert_int_equal(len, 200000);
	assert_int_equal(strspn(data, "c"), 200000);
	close(fds[0]);
	free(data);
}

static void test_write_replaces_whole(void **state)
{
	const char *path = tmpdir_file(*state, "replaced");
	unsigned int entries;
	struct stat st;
	size_t len;
	char *data;
	int old;

	assert_int_equal(file_write_atomic(path, "old", 3, 0600, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	entries = count_entries(((struct tmpdir *)*state)->path);
	old = open(path, O_RDONLY);
	assert_true(old >= 0);
	umask(077);
	assert_int_equal(file_write_atomic(path, "new one", 7, 0644, NULL), 0);
	umask(022);
	check_content(path, "new one");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	/* Who has the old one open still reads all of it. */
	assert_int_equal(file_read_fd(old, 100, &data, &len, NULL), 0);
	assert_string_equal(data, "old");
	free(data);
	close(old);
	assert_int_equal(count_entries(((struct tmpdir *)*state)->path), entries);
}

static void test_write_in_the_current_directory(void **state)
{
	char old[1024];

	assert_non_null(getcwd(old, sizeof(old)));
	assert_int_equal(chdir(((struct tmpdir *)*state)->path), 0);
	assert_int_equal(file_write_atomic("bare", "here", 4, 0644, NULL), 0);
	check_content("bare", "here");
	assert_int_equal(chdir(old), 0);
	check_content(tmpdir_file(*state, "bare"), "here");
}

static void test_failed_write_leaves_nothing(void **state)
{
	const char *sub = tmpdir_file(*state, "target");
	unsigned int entries;
	struct err e;

	/* The last step fails: a directory cannot be replaced by a file. */
	assert_int_equal(mkdir(sub, 0755), 0);
	entries = count_entries(((struct tmpdir *)*state)->path);
	assert_int_equal(file_write_atomic(sub, "x", 1, 0644, &e), -EISDIR);
	assert_non_null(strstr(e.text, sub));
	assert_int_equal(count_entries(((struct tmpdir *)*state)->path), entries);
	assert_int_equal(
		file_write_atomic(tmpdir_file(*state, "no/dir"), "x", 1, 0644, &e), -ENOENT);
}

static void test_make_dirs(void **state)
{
	const char *deep = tmpdir_file(*state, "a/b//c");
	struct stat st;
	struct err e;

	assert_int_equal(file_make_dirs(deep, 0700, &e), 0);
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(tmpdir_file(*state, "a"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(file_make_dirs(deep, 0755, &e), 0); /* there already: left as it is */
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(file_make_dirs(tmpdir_file(*state, "a/b/d/"), 0700, &e), 0);
	assert_int_equal(file_make_dirs("/", 0700, &e), 0);
	assert_int_equal(file_write_atomic(tmpdir_file(*state, "a/file"), "x", 1, 0644, NULL), 0);
	assert_int_equal(file_make_dirs(tmpdir_file(*state, "a/file"), 0700, &e), -ENOTDIR);
	assert_int_equal(file_make_dirs(tmpdir_file(*state, "a/file/x"), 0700, &e), -ENOTDIR);
	assert_non_null(strstr(e.text, "a/file: Not a directory"));
}

int main(void)
{
	struct tmpdir dir;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_read_bounds, &dir),
		cmocka_unit_test_prestate(test_read_errors, &dir),
		cmocka_unit_test(test_read_pipe),
		cmocka_unit_test_prestate(test_write_replaces_whole, &dir),
		cmocka_unit_test_prestate(test_write_in_the_current_directory, &dir),
		cmocka_unit_test_prestate(test_failed_write_leaves_nothing, &dir),
		cmocka_unit_test_prestate(test_make_dirs, &dir),
	};
	int failed;

	umask(022);
	tmpdir_make(&dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	tmpdir_remove(&dir);
	return failed;
}
