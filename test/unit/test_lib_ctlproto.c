/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "lib/ctlproto.h"
#include "lib/json.h"
#include "test/unit/tmpdir.h"

/* What the server of a test does with its one connection. */
struct server {
	char path[108];
	int listen_fd;
	pthread_t thread;
	const char *answer; /* NULL: none */
	size_t answer_len;
	bool byte_by_byte;
	bool hold; /* keep the connection open until the client has gone */
	char request[4096];
};

static void *serve(void *ctx)
{
	struct server *s = ctx;
	int fd = accept(s->listen_fd, NULL, NULL);
	size_t len = 0;
	char byte;

	if (fd < 0)
		return NULL;
	while (len < sizeof(s->request) - 1 && recv(fd, &byte, 1, 0) == 1 && byte != '\n')
		s->request[len++] = byte;
	for (size_t i = 0; i < s->answer_len;) {
		size_t chunk = s->byte_by_byte ? 1 : s->answer_len;
		ssize_t n = send(fd, s->answer + i, chunk, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		i += (size_t)n;
	}
	while (s->hold && recv(fd, &byte, 1, 0) > 0) {
	}
	close(fd);
	return NULL;
}

static void server_listen(struct server *s, const struct tmpdir *dir)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(s->path, sizeof(s->path), "%.90s/sock", dir->path);
	unlink(s->path);
	strcpy(address.sun_path, s->path);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(s->listen_fd >= 0);
	assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(s->listen_fd, 1), 0);
}

static void server_start(struct server *s, const struct tmpdir *dir)
{
	if (s->answer && s->answer_len == 0)
		s->answer_len = strlen(s->answer);
	server_listen(s, dir);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_end(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->listen_fd);
}

static struct json_object *make_request(void)
{
	struct json_object *o = json_object_new_object();

	json_set_string(o, "command", "status");
	json_set_string(o, "network", "two\nlines/é");
	return o;
}

/* One call to a server that answers so. */
static int call(const struct tmpdir *dir, struct server *s, unsigned int timeout_ms,
	struct json_object **ret_result, struct err *e)
{
	struct json_object *request = make_request();
	int rc;

	server_start(s, dir);
	rc = ctlproto_call(s->path, request, timeout_ms, ret_result, e);
	server_end(s);
	json_object_put(request);
	return rc;
}

static void test_result(void **state)
{
	struct json_object *body = json_object_new_object(), *result = NULL;
	struct server s = {0};
	struct err e = {0};
	const char *text;
	char *line;

	json_set_string(body, "name", "a\nb");
	line = ctlproto_result_line(body);
	assert_string_equal(line, "{\"result\":{\"name\":\"a\\nb\"}}\n");
	s.answer = line;
	assert_int_equal(call(*state, &s, 5000, &result, &e), 0);
	assert_int_equal(json_get_string(result, "", "name", 3, 3, &text, NULL), 0);
	assert_string_equal(text, "a\nb");
	assert_string_equal(s.request, "{\"command\":\"status\",\"network\":\"two\\nlines/é\"}");
	json_object_put(result);
	json_object_put(body);
	free(line);
}

static void test_result_in_pieces_and_without_newline(void **state)
{
	struct server s = {.answer = "{\"result\":{\"n\":1}}", .byte_by_byte = true};
	struct json_object *result = NULL;
	struct err e = {0};
	int64_t n;

	assert_int_equal(call(*state, &s, 5000, &result, &e), 0);
	assert_int_equal(json_get_int(result, "", "n", 1, 1, &n, NULL), 0);
	json_object_put(result);
	/* The daemon need not close: the newline is the end. */
	s = (struct server){.answer = "{\"result\":{\"n\":1}}\nrest", .hold = true};
	assert_int_equal(call(*state, &s, 5000, &result, &e), 0);
	json_object_put(result);
}

static void test_large_result(void **state)
{
	struct json_object *body = json_object_new_object(), *result = NULL;
	char *big = malloc(3000001);
	struct server s = {0};
	struct err e = {0};
	const char *text;
	char *line;

	assert_non_null(big);
	memset(big, 'x', 3000000);
	big[3000000] = '\0';
	json_set_string(body, "big", big);
	s.answer = line = ctlproto_result_line(body);
	assert_int_equal(call(*state, &s, 20000, &result, &e), 0);
	assert_int_equal(json_get_string(result, "", "big", 3000000, 3000000, &text, NULL), 0);
	json_object_put(result);
	json_object_put(body);
	free(line);
	free(big);
}

static void test_errors_come_through(void **state)
{
	struct json_object *result = (struct json_object *)"untouched";
	char *line = ctlproto_error_line(-VAN_E_CONFLICT, "b has \"172.16.1.5\"");
	struct server s = {.answer = line};
	struct err e;

	assert_string_equal(line, "{\"error\":{\"code\":\"conflict\",\"detail\":"
				  "\"b has \\\"172.16.1.5\\\"\"}}\n");
	assert_int_equal(call(*state, &s, 5000, &result, &e), -VAN_E_CONFLICT);
	assert_int_equal(e.code, -VAN_E_CONFLICT);
	assert_string_equal(e.text, "b has \"172.16.1.5\"");
	assert_string_equal((const char *)result, "untouched");
	free(line);
	s = (struct server){.answer = "{\"error\":{\"code\":\"new_word\",\"detail\":\"x\"}}\n"};
	assert_int_equal(call(*state, &s, 5000, &result, &e), -EIO);
	assert_int_equal(call(*state, &s, 5000, &result, NULL), -EIO);
}

static void test_answers_without_sense(void **state)
{
	static const char *const bad[] = {"\n", "x\n", "[]\n", "{}\n", "null\n",
		"{\"error\":\"denied\"}\n", "{\"error\":{\"code\":1,\"detail\":\"x\"}}\n",
		"{\"result\":{}\n", "{\"result\":1,\"result\":2}\n"};
	struct json_object *result = NULL;
	struct err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct server s = {.answer = bad[i]};
		int rc = call(*state, &s, 5000, &result, &e);

		if (i == 0) /* nothing at all: as if it had closed */
			assert_int_equal(rc, -VAN_E_UNREACHABLE);
		else
			assert_int_equal(rc, -VAN_E_PROTOCOL);
		assert_null(result);
	}
}

static void test_no_answer(void **state)
{
	struct server s = {.hold = true};
	struct json_object *result = NULL;
	struct err e;

	assert_int_equal(call(*state, &s, 100, &result, &e), -VAN_E_TIMEOUT);
	assert_string_equal(e.text, "vand did not answer within 0.1 s");
	s = (struct server){.answer = "{\"result\":", .hold = true};
	assert_int_equal(call(*state, &s, 100, &result, &e), -VAN_E_TIMEOUT);
	s = (struct server){0};
	assert_int_equal(call(*state, &s, 5000, &result, &e), -VAN_E_UNREACHABLE);
	assert_non_null(strstr(e.text, "closed the connection"));
}

static void test_nobody_there(void **state)
{
	struct json_object *request = make_request(), *result = NULL;
	struct server s = {0};
	char long_path[200];
	struct err e;

	assert_int_equal(ctlproto_call(tmpdir_file(*state, "none"), request, 1000, &result, &e),
		-VAN_E_UNREACHABLE);
	assert_non_null(strstr(e.text, "start it"));
	/* A socket left behind by a daemon that has died. */
	server_listen(&s, *state);
	close(s.listen_fd);
	assert_int_equal(ctlproto_call(s.path, request, 1000, &result, &e), -VAN_E_UNREACHABLE);
	memset(long_path, 'p', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(ctlproto_call(long_path, request, 1000, &result, &e), -ENAMETOOLONG);
	json_object_put(request);
}

/* The daemon hangs: connections pile up until its queue is full, and a call must still end. */
static void test_full_queue(void **state)
{
	struct json_object *request = make_request(), *result = NULL;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct server s = {0};
	struct err e;
	int fds[16];
	size_t n = 0;

	server_listen(&s, *state);
	strcpy(address.sun_path, s.path);
	while (n < sizeof(fds) / sizeof(fds[0])) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

		assert_true(fd >= 0);
		fds[n++] = fd;
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			break;
	}
	assert_true(n < sizeof(fds) / sizeof(fds[0]));
	assert_int_equal(ctlproto_call(s.path, request, 50, &result, &e), -VAN_E_TIMEOUT);
	while (n > 0)
		close(fds[--n]);
	close(s.listen_fd);
	json_object_put(request);
}

static void test_request_too_large(void **state)
{
	struct json_object *request = json_object_new_object(), *result = NULL;
	char *big = calloc(1, CTLPROTO_MAX_REQUEST + 1);
	struct err e;

	assert_non_null(big);
	memset(big, 'x', CTLPROTO_MAX_REQUEST);
	json_set_string(request, "command", big);
	assert_int_equal(ctlproto_call(tmpdir_file(*state, "none"), request, 1000, &result, &e),
		-VAN_E_LIMIT);
	json_object_put(request);
	free(big);
}

static void test_words(void **state)
{
	(void)state;
	for (int code = VAN_E_BASE + 1; code <= VAN_E_CORRUPT; code++) {
		assert_string_not_equal(ctlproto_error_word(-code), "error");
		assert_int_equal(ctlproto_error_code(ctlproto_error_word(-code)), -code);
	}
	assert_string_equal(ctlproto_error_word(-VAN_E_NOT_FOUND), "not_found");
	assert_string_equal(ctlproto_error_word(-EACCES), "denied");
	assert_string_equal(ctlproto_error_word(-EIO), "error");
	assert_string_equal(ctlproto_error_word(-EXDEV), "error");
	assert_int_equal(ctlproto_error_code("denied"), -VAN_E_DENIED);
	assert_int_equal(ctlproto_error_code("error"), -EIO);
	assert_int_equal(ctlproto_error_code(""), -EIO);
}

int main(void)
{
	struct tmpdir dir;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_result, &dir),
		cmocka_unit_test_prestate(test_result_in_pieces_and_without_newline, &dir),
		cmocka_unit_test_prestate(test_large_result, &dir),
		cmocka_unit_test_prestate(test_errors_come_through, &dir),
		cmocka_unit_test_prestate(test_answers_without_sense, &dir),
		cmocka_unit_test_prestate(test_no_answer, &dir),
		cmocka_unit_test_prestate(test_nobody_there, &dir),
		cmocka_unit_test_prestate(test_full_queue, &dir),
		cmocka_unit_test_prestate(test_request_too_large, &dir),
		cmocka_unit_test(test_words),
	};
	int failed;

	tmpdir_make(&dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	tmpdir_remove(&dir);
	return failed;
}
