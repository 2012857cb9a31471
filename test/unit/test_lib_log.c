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
#include "lib/json.h"
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

/* Each line parsed; fails when it is no object of just these members. */
static void check_json(const char *line, const char *level, const char *request, const char *want)
{
	struct json_object *o = NULL;
	struct err e = {0};
	const char *time, *text;

	if (json_parse(line, strlen(line), &o, &e))
		fail_msg("%s in %s", e.text, line);
	assert_int_equal(json_object_object_length(o), request ? 5 : 4);
	assert_int_equal(json_get_string(o, "", "time", 24, 24, &time, NULL), 0);
	assert_true(time[10] == 'T' && time[19] == '.' && time[23] == 'Z');
	assert_int_equal(json_get_string(o, "", "level", 1, 9, &text, NULL), 0);
	assert_string_equal(text, level);
	assert_int_equal(json_get_string(o, "", "program", 1, 9, &text, NULL), 0);
	assert_string_equal(text, "prog");
	assert_int_equal(json_get_string(o, "", "message", 0, 4096, &text, NULL), 0);
	assert_string_equal(text, want);
	if (request) {
		assert_int_equal(json_get_string(o, "", "request", 1, 99, &text, NULL), 0);
		assert_string_equal(text, request);
	}
	json_object_put(o);
}

static void test_json(void **state)
{
	struct capture c;
	char *text, *pos, *many, want[8];

	(void)state;
	unsetenv("JOURNAL_STREAM");
	capture_start(&c);
	log_init("prog", LOG_LEVEL_DEBUG);
	log_set_format(LOG_FORMAT_JSON);
	log_info("plain %d", 7);
	log_error("\"quotes\", \\ and \n\x01\x7f and \xff, \xc3\xa9");
	log_set_request("abc-1");
	log_warn("%s", "");
	log_set_request("");
	log_debug("none");
	log_set_request(NULL);
	text = capture_end(&c);
	pos = text;
	check_json(strsep(&pos, "\n"), "info", NULL, "plain 7");
	check_json(strsep(&pos, "\n"), "error", NULL, "\"quotes\", \\ and     and ?, \xc3\xa9");
	check_json(strsep(&pos, "\n"), "warn", "abc-1", "");
	check_json(strsep(&pos, "\n"), "debug", NULL, "none");
	assert_string_equal(pos, "");
	free(text);

	/* Cut, of whatever the text is made, and still one object. */
	many = calloc(1, 4096);
	assert_non_null(many);
	for (size_t kind = 0; kind < 4; kind++) {
		static const char *const kinds[] = {"a", "\"", "\xf0\x9f\x98\x80", "x\\y"};
		struct json_object *o = NULL;
		size_t len = strlen(kinds[kind]);

		for (size_t at = 0; at + len < 4096; at += len)
			memcpy(many + at, kinds[kind], len + 1);
		capture_start(&c);
		log_set_request("0123456789012345678901234567890123456789");
		log_info("%s", many);
		log_set_request(NULL);
		text = capture_end(&c);
		assert_in_range(strlen(text), 2048 - 8, 2048);
		assert_int_equal(json_parse(text, strlen(text), &o, NULL), 0);
		snprintf(want, sizeof(want), "%s", kinds[kind]);
		assert_non_null(
			strstr(json_object_get_string(json_object_object_get(o, "message")), want));
		json_object_put(o);
		free(text);
	}
	free(many);
	log_set_format(LOG_FORMAT_TEXT);
}

static void test_request_in_text(void **state)
{
	struct capture c;
	char *text;

	(void)state;
	unsetenv("JOURNAL_STREAM");
	capture_start(&c);
	log_init("prog", LOG_LEVEL_INFO);
	log_set_request("id-9");
	log_info("with");
	log_set_request(NULL);
	log_info("without");
	text = capture_end(&c);
	assert_non_null(strstr(text, "Z prog: info: [id-9] with\n"));
	assert_non_null(strstr(text, "Z prog: info: without\n"));
	free(text);
}

static void test_json_for_the_journal(void **state)
{
	struct capture c;
	char stream[64];
	struct stat st;
	char *text;

	(void)state;
	capture_start(&c);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("prog", LOG_LEVEL_DEBUG);
	log_set_format(LOG_FORMAT_JSON);
	log_warn("w");
	log_set_format(LOG_FORMAT_TEXT);
	text = capture_end(&c);
	assert_memory_equal(text, "<4>{", 4);
	text[strlen(text) - 1] = '\0';
	check_json(text + 3, "warn", NULL, "w");
	free(text);
	unsetenv("JOURNAL_STREAM");
}

static void test_format_words(void **state)
{
	enum log_format format = LOG_FORMAT_TEXT;

	(void)state;
	assert_false(log_format_parse("JSON", &format));
	assert_false(log_format_parse("", &format));
	assert_int_equal(format, LOG_FORMAT_TEXT);
	assert_true(log_format_parse("json", &format));
	assert_int_equal(format, LOG_FORMAT_JSON);
	assert_true(log_format_parse("text", &format));
	assert_int_equal(format, LOG_FORMAT_TEXT);
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
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_request_in_text),
		cmocka_unit_test(test_json_for_the_journal),
		cmocka_unit_test(test_format_words),
		cmocka_unit_test(test_level_words),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_rfc3339),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
