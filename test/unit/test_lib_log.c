/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/log.h"

#define THREADS      4
#define LINES_EACH   200
#define CAPTURED_MAX (1 << 20)

/* stderr goes into a pipe or file while a test looks at what is written there. */
struct capture {
	int saved_fd;
	FILE *file;
};

static void capture_start(struct capture *c)
{
	c->file = tmpfile();
	assert_non_null(c->file);
	c->saved_fd = dup(STDERR_FILENO);
	assert_true(dup2(fileno(c->file), STDERR_FILENO) >= 0);
}

static char *capture_end(struct capture *c)
{
	char *text = calloc(1, CAPTURED_MAX);

	dup2(c->saved_fd, STDERR_FILENO);
	close(c->saved_fd);
	rewind(c->file);
	assert_non_null(text);
	assert_true(fread(text, 1, CAPTURED_MAX - 1, c->file) < CAPTURED_MAX - 1);
	fclose(c->file);
	return text;
}

static void test_level_filters(void **state)
{
	struct capture c;
	char *text;

	(void)state;
	unsetenv("JOURNAL_STREAM");
	capture_start(&c);
	log_init("prog", LOG_LEVEL_WARN);
	log_info("not this");
	log_warn("this %d", 1);
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("and this");
	text = capture_end(&c);
	assert_null(strstr(text, "not this"));
	assert_non_null(strstr(text, "Z prog: warn: this 1\n"));
	assert_non_null(strstr(text, "Z prog: debug: and this\n"));
	free(text);
}

static void test_one_clean_line(void **state)
{
	char many[5000];
	struct capture c;
	char *text;

	(void)state;
	memset(many, 'm', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	unsetenv("JOURNAL_STREAM");
	capture_start(&c);
	log_init("prog", LOG_LEVEL_INFO);
	log_info("one\n<3>two\x1b[2J\xff");
	log_info("%s", many);
	text = capture_end(&c);
	assert_non_null(strstr(text, "info: one <3>two [2J?\n"));
	assert_int_equal(strlen(strchr(text, '\n') + 1), 2048 - 1);
	assert_int_equal(text[strlen(text) - 1], '\n');
	free(text);
}

static void test_journal_prefix_only_for_the_journal(void **state)
{
	char stream[64];
	struct capture c;
	struct stat st;
	char *text;

	(void)state;
	capture_start(&c);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("prog", LOG_LEVEL_DEBUG);
	log_error("e");
	log_warn("w");
	log_info("i");
	log_debug("d");
	text = capture_end(&c);
	assert_string_equal(text, "<3>e\n<4>w\n<6>i\n<7>d\n");
	free(text);

	/* Inherited by a child whose stderr is something else. */
	capture_start(&c);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
		(uintmax_t)st.st_ino + 1000000);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("prog", LOG_LEVEL_DEBUG);
	log_error("e");
	text = capture_end(&c);
	assert_non_null(strstr(text, "prog: error: e\n"));
	free(text);
	unsetenv("JOURNAL_STREAM");
}

static void *write_lines(void *ctx)
{
	const char *word = ctx;

	for (int i = 0; i < LINES_EACH; i++)
		log_info("%s%s%s%s", word, word, word, word);
	return NULL;
}

static void test_lines_of_threads_stay_whole(void **state)
{
	static char words[THREADS][11] = {"aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc", "dddddddddd"};
	pthread_t threads[THREADS];
	unsigned int lines = 0;
	struct capture c;
	char *text, *pos;

	(void)state;
	capture_start(&c);
	/* O_APPEND, as a shell's 2>> opens it. */
	fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_APPEND);
	log_init("p", LOG_LEVEL_INFO);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, words[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	text = capture_end(&c);
	pos = text;
	for (char *line; (line = strsep(&pos, "\n")) && *line; lines++) {
		const char *message = strstr(line, "p: info: ");

		assert_non_null(message);
		message += strlen("p: info: ");
		assert_int_equal(strlen(message), 40);
		assert_int_equal(strspn(message, (char[]){message[0], '\0'}), 40);
	}
	assert_int_equal(lines, THREADS * LINES_EACH);
	free(text);
}

static void test_level_words(void **state)
{
	enum log_level level = LOG_LEVEL_WARN;

	(void)state;
	assert_false(log_level_parse("warning", &level));
	assert_false(log_level_parse("", &level));
	assert_false(log_level_parse("INFO", &level));
	assert_int_equal(level, LOG_LEVEL_WARN);
	assert_true(log_level_parse("error", &level));
	assert_int_equal(level, LOG_LEVEL_ERROR);
	assert_true(log_level_parse("debug", &level));
	assert_int_equal(level, LOG_LEVEL_DEBUG);
}

static void test_limit(void **state)
{
	uint64_t now = 1000 * NS_PER_S;
	struct log_limit limit = {0};

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_true(log_limit_pass(&limit, now + (uint64_t)i, NS_PER_S, 3));
	for (int i = 0; i < 100; i++)
		assert_false(log_limit_pass(&limit, now + 500 * NS_PER_MS, NS_PER_S, 3));
	assert_false(log_limit_pass(&limit, now + NS_PER_S - 1, NS_PER_S, 3));
	assert_true(log_limit_pass(&limit, now + NS_PER_S, NS_PER_S, 3));
	/* Soon after boot, with a limiter that is all zero. */
	limit = (struct log_limit){0};
	assert_true(log_limit_pass(&limit, 5, NS_PER_S, 1));
	assert_false(log_limit_pass(&limit, 6, NS_PER_S, 1));
	assert_false(log_limit_pass(&limit, 7, NS_PER_S, 0));
}

static void test_rfc3339(void **state)
{
	char text[21];

	(void)state;
	clock_format_rfc3339(0, text);
	assert_string_equal(text, "1970-01-01T00:00:00Z");
	clock_format_rfc3339(1772366400ull * NS_PER_S + 999999999, text);
	assert_string_equal(text, "2026-03-01T12:00:00Z");
	clock_format_rfc3339(951782400ull * NS_PER_S, text);
	assert_string_equal(text, "2000-02-29T00:00:00Z");
	clock_format_rfc3339(UINT64_MAX, text);
	assert_string_equal(text, "2554-07-21T23:34:33Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_level_filters),
		cmocka_unit_test(test_one_clean_line),
		cmocka_unit_test(test_journal_prefix_only_for_the_journal),
		cmocka_unit_test(test_lines_of_threads_stay_whole),
		cmocka_unit_test(test_level_words),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_rfc3339),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
