/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <sodium.h>
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/hash.h"
#include "lib/key.h"
#include "test/unit/httpserver.h"
#include "test/unit/tmpdir.h"

#define PATIENCE_MS 10000

static int get(const char *url, const char *path, unsigned int timeout_ms,
	struct httpc_response *ret_response, struct err *e)
{
	struct httpc_server server = {.url = (char *)url};
	struct httpc_request request = {.method = "GET", .path = path, .timeout_ms = timeout_ms};

	return httpc_call(&server, &request, ret_response, e);
}

static void expect_failure(const struct httpserver *s, const char *path, unsigned int timeout_ms,
	int code, const char *word)
{
	struct httpc_response r = {.status = 77};
	struct err e = {0};
	int rc = get(s->url, path, timeout_ms, &r, &e);

	if (rc != code || !strstr(e.text, word) || !strstr(e.text, "http://127.0.0.1:"))
		fail_msg("%s gave %d: %s", path, rc, e.text);
	assert_int_equal(r.status, 77);
	assert_int_equal(get(s->url, path, timeout_ms, &r, NULL), code);
}

static void test_answer(void **state)
{
	struct httpserver *s = *state;
	struct httpc_response r;
	struct err e = {0};

	if (get(s->url, "/ok?a=1&b=2", PATIENCE_MS, &r, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body, "{\"path\":\"/ok?a=1&b=2\"}");
	assert_int_equal(r.body_len, strlen(r.body));
	assert_string_equal(r.content_type, "application/json");
	assert_string_equal(r.etag, "\"17\"");
	assert_int_equal(r.retry_after_s, 0);
	assert_int_equal(httpc_status_error(&r, &e), 0);
	httpc_response_done(&r);
	httpc_response_done(&r); /* twice is harmless */
	assert_null(r.body);

	assert_int_equal(get(s->url, "/empty", PATIENCE_MS, &r, &e), 0);
	assert_int_equal(r.status, 204);
	assert_string_equal(r.body, "");
	assert_null(r.content_type);
	assert_null(r.etag);
	httpc_response_done(&r);

	assert_int_equal(get(s->url, "/retry", PATIENCE_MS, &r, &e), 0);
	assert_int_equal(r.status, 503);
	assert_int_equal(r.retry_after_s, 7);
	httpc_response_done(&r);

	/* An answer is an answer, whatever its status; and a redirection is not followed. */
	assert_int_equal(get(s->url, "/redirect", PATIENCE_MS, &r, &e), 0);
	assert_int_equal(r.status, 302);
	httpc_response_done(&r);
	assert_int_equal(get(s->url, "/status/404", PATIENCE_MS, &r, &e), 0);
	assert_int_equal(httpc_status_error(&r, &e), -VAN_E_NOT_FOUND);
	assert_string_equal(e.text, "Title: Detail");
	httpc_response_done(&r);
}

/* What goes over the wire for each method. */
static char *echo(const struct httpserver *s, const struct httpc_request *request)
{
	struct httpc_server server = {.url = (char *)s->url};
	struct httpc_response r;
	struct err e;

	if (httpc_call(&server, request, &r, &e) != 0)
		fail_msg("%s", e.text);
	free(r.content_type);
	free(r.etag);
	return r.body;
}

static void expect_text(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no <%s> in:\n%s", part, text);
}

static void test_requests(void **state)
{
	const char *const headers[] = {"X-One: 1", "If-Match: \"3\"", NULL};
	const char *const patch[] = {"content-type: application/merge-patch+json", NULL};
	struct httpserver *s = *state;
	char *text;

	text = echo(
		s, &(struct httpc_request){.method = "GET", .path = "/echo", .headers = headers});
	assert_memory_equal(text, "GET /echo HTTP/1.1\r\n", 20);
	expect_text(text, "\r\nX-One: 1\r\n");
	expect_text(text, "\r\nIf-Match: \"3\"\r\n");
	expect_text(text, "\r\nAccept: application/json\r\n");
	expect_text(text, "\r\nUser-Agent: van/");
	assert_null(strstr(text, "Content-"));
	assert_null(strcasestr(text, "transfer-encoding"));
	free(text);

	text = echo(s, &(struct httpc_request){
			       .method = "POST", .path = "/echo", .body = "{}x", .body_len = 2});
	assert_memory_equal(text, "POST /echo HTTP/1.1\r\n", 21);
	expect_text(text, "\r\nContent-Type: application/json\r\n");
	expect_text(text, "\r\nContent-Length: 2\r\n");
	assert_null(strcasestr(text, "expect:"));
	assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n{}");
	free(text);

	text = echo(s, &(struct httpc_request){.method = "PATCH",
			       .path = "/echo",
			       .body = "{\"a\":null}",
			       .body_len = 10,
			       .headers = patch});
	assert_memory_equal(text, "PATCH /echo HTTP/1.1\r\n", 22);
	expect_text(text, "application/merge-patch+json");
	assert_null(strstr(text, "Content-Type: application/json"));
	expect_text(text, "\r\n\r\n{\"a\":null}");
	free(text);

	text = echo(s, &(struct httpc_request){.method = "POST", .path = "/echo"});
	expect_text(text, "\r\nContent-Length: 0\r\n");
	free(text);
	text = echo(s, &(struct httpc_request){.method = "DELETE", .path = "/echo"});
	assert_memory_equal(text, "DELETE /echo HTTP/1.1\r\n", 23);
	assert_null(strstr(text, "Content-"));
	free(text);
}

static void test_large_request_body(void **state)
{
	struct httpc_request request = {.method = "PUT", .path = "/echo", .body_len = 60000};
	char *body = malloc(60000), *text;

	assert_non_null(body);
	memset(body, 'x', 60000);
	request.body = body;
	text = echo(*state, &request);
	assert_memory_equal(strstr(text, "\r\n\r\n") + 4, body, 60000);
	free(text);
	free(body);
}

static void test_url_with_slash_at_the_end(void **state)
{
	struct httpserver *s = *state;
	struct httpc_response r;
	char url[80];

	snprintf(url, sizeof(url), "%s/", s->url);
	assert_int_equal(get(url, "/ok", PATIENCE_MS, &r, NULL), 0);
	assert_string_equal(r.body, "{\"path\":\"/ok\"}");
	httpc_response_done(&r);
}

static void test_environment_is_not_asked_for_proxies(void **state)
{
	struct httpserver *s = *state;
	struct httpc_response r;
	struct err e;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	if (get(s->url, "/ok", PATIENCE_MS, &r, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(r.status, 200);
	httpc_response_done(&r);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
}

static void test_failures(void **state)
{
	struct httpserver *s = *state;
	struct httpserver nobody;
	unsigned int port;

	expect_failure(s, "/hang", 200, -VAN_E_TIMEOUT, "did not answer in time");
	expect_failure(s, "/close", PATIENCE_MS, -VAN_E_UNREACHABLE, "broke");
	expect_failure(s, "/short", PATIENCE_MS, -VAN_E_UNREACHABLE, "broke");
	expect_failure(s, "/garbage", PATIENCE_MS, -VAN_E_PROTOCOL, "does not speak HTTP");
	close(httpserver_listen(1, &port));
	snprintf(nobody.url, sizeof(nobody.url), "http://127.0.0.1:%u", port);
	expect_failure(&nobody, "/ok", PATIENCE_MS, -VAN_E_UNREACHABLE, "nobody answers");
}

static void test_answers_are_bounded(void **state)
{
	expect_failure(*state, "/big", 60000, -VAN_E_PROTOCOL, "larger than 64 MB");
	expect_failure(*state, "/headers", 60000, -VAN_E_PROTOCOL, "larger than");
}

/* Nobody takes connections out of a full queue: the kernel drops further SYNs, as a firewall does.
 */
static void test_no_connection_at_all(void **state)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct httpserver silent;
	unsigned int port;
	int fds[4], listen_fd = httpserver_listen(0, &port);

	(void)state;
	address.sin_port = htons((uint16_t)port);
	snprintf(silent.url, sizeof(silent.url), "http://127.0.0.1:%u", port);
	for (size_t i = 0; i < 4; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_true(fds[i] >= 0);
		if (connect(fds[i], (struct sockaddr *)&address, sizeof(address)) < 0)
			assert_int_equal(errno, EINPROGRESS);
	}
	expect_failure(&silent, "/ok", 300, -VAN_E_TIMEOUT, "no answer from");
	for (size_t i = 0; i < 4; i++)
		close(fds[i]);
	close(listen_fd);
}

static void test_wrong_addresses(void **state)
{
	static const char *const bad[] = {"", "console", "console:8443", "ftp://127.0.0.1", "//x",
		"file:///etc/passwd", "HTTP", "http://", "https:///x", "https://:x",
		"http://127.0.0.1:99999"};
	struct httpc_server server = {
		.url = (char *)"http://127.0.0.1:1", .pin = (char *)"sha256//AAAA"};
	struct httpc_request request = {.method = "GET", .path = "/ok", .timeout_ms = 1000};
	struct httpc_response r;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int rc = get(bad[i], "/ok", 1000, &r, &e);

		if (rc != -VAN_E_INVALID)
			fail_msg("%s gave %d: %s", bad[i], rc, e.text);
	}
	/* In clear text there is nothing to hold the pin against. */
	assert_int_equal(httpc_call(&server, &request, &r, &e), -VAN_E_INVALID);
	assert_non_null(strstr(e.text, "https://"));
}

static void check_status(long status, const char *body, int code, const char *text)
{
	struct httpc_response r = {
		.status = status, .body = (char *)body, .body_len = body ? strlen(body) : 0};
	struct err e = {0};

	assert_int_equal(httpc_status_error(&r, &e), code);
	assert_int_equal(httpc_status_error(&r, NULL), code);
	if (text)
		assert_string_equal(e.text, text);
}

static void test_status_errors(void **state)
{
	(void)state;
	check_status(200, "{}", 0, "");
	check_status(399, NULL, 0, "");
	check_status(400, "{}", -VAN_E_INVALID,
		"the console answered with HTTP status 400 and no reason");
	check_status(401, NULL, -VAN_E_DENIED,
		"the console answered with HTTP status 401 and no reason");
	check_status(403, "<html>", -VAN_E_DENIED,
		"the console answered with HTTP status 403 and no reason");
	check_status(403, "[]", -VAN_E_DENIED, NULL);
	check_status(404, "{\"title\":\"No such network\"}", -VAN_E_NOT_FOUND, "No such network");
	check_status(408, "", -VAN_E_TIMEOUT, NULL);
	check_status(409, "{\"detail\":\"b has it\"}", -VAN_E_CONFLICT, "b has it");
	check_status(410, "{\"title\":\"T\",\"detail\":\"D\"}", -VAN_E_GONE, "T: D");
	check_status(412, "", -VAN_E_CONFLICT, NULL);
	check_status(413, "", -VAN_E_LIMIT, NULL);
	check_status(418, "", -VAN_E_INVALID, NULL);
	check_status(422,
		"{\"title\":\"Invalid\",\"errors\":[{\"pointer\":\"/name\",\"detail\":\"too long\"}]}",
		-VAN_E_INVALID, "Invalid (/name: too long)");
	check_status(422,
		"{\"title\":\"T\",\"detail\":\"/name: too long\",\"errors\":[{\"pointer\":\"/name\","
		"\"detail\":\"too long\"}]}",
		-VAN_E_INVALID, "T: /name: too long");
	check_status(422, "{\"title\":5,\"detail\":[],\"errors\":{}}", -VAN_E_INVALID, NULL);
	check_status(422, "{\"title\":\"T\",\"errors\":[]}", -VAN_E_INVALID, "T");
	check_status(422, "{\"title\":\"T\",\"errors\":[1]}", -VAN_E_INVALID, "T");
	check_status(429, "", -VAN_E_LIMIT, NULL);
	check_status(500, "", -VAN_E_PROTOCOL, NULL);
	check_status(502, "", -VAN_E_UNREACHABLE, NULL);
	check_status(503, "", -VAN_E_UNREACHABLE, NULL);
	check_status(504, "", -VAN_E_TIMEOUT, NULL);
	check_status(404, "{\"title\":\"a\\nb\\u001b[31m\"}", -VAN_E_NOT_FOUND, "a b [31m");
}

/* -- TLS: a server of openssl's, and what identifies it -- */

struct tls {
	struct tmpdir dir;
	char url[64];
	char pin[53];
	char cert[TMPDIR_PATH_MAX + 128];
	char other_cert[TMPDIR_PATH_MAX + 128];
	pid_t pid;
	int out_fd;
};

static bool run_openssl(const struct tmpdir *dir, const char *arguments)
{
	char command[1024];

	snprintf(command, sizeof(command), "cd '%s' && openssl %s >/dev/null 2>&1", dir->path,
		arguments);
	return system(command) == 0; /* a test's own fixed words only */
}

/* The pin of a PEM public key. */
static void make_pin(const char *path, char ret_pin[53])
{
	uint8_t der[512], hash[HASH_LEN];
	char *pem, *pos, *body;
	size_t len;

	assert_int_equal(file_read(path, 4096, &pem, &len, NULL), 0);
	body = calloc(1, len + 1);
	assert_non_null(body);
	pos = pem;
	for (char *line; (line = strsep(&pos, "\n"));) {
		if (line[0] != '-')
			strcat(body, line);
	}
	assert_int_equal(key_unbase64(body, false, der, sizeof(der), &len), 0);
	hash_sha256(HASH_PIECES({der, len}), hash);
	strcpy(ret_pin, "sha256//");
	key_base64(hash, sizeof(hash), false, ret_pin + 8);
	free(body);
	free(pem);
}

/* Starts the server and reads its port from the line "ACCEPT address:port". */
static void start_s_server(struct tls *t)
{
	char line[256] = "";
	int fds[2];
	size_t len = 0;

	assert_int_equal(pipe(fds), 0);
	t->pid = fork();
	assert_true(t->pid >= 0);
	if (t->pid == 0) {
		if (chdir(t->dir.path) == 0 && dup2(fds[1], STDOUT_FILENO) >= 0 &&
			dup2(open("/dev/null", O_RDWR), STDERR_FILENO) >= 0)
			execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-www",
				"-key", "key.pem", "-cert", "cert.pem", NULL);
		_exit(127);
	}
	close(fds[1]);
	t->out_fd = fds[0];
	for (;;) {
		assert_true(len < sizeof(line) - 1);
		if (read(fds[0], line + len, 1) != 1)
			fail_msg("openssl s_server ended: %s", line);
		if (line[len++] != '\n')
			continue;
		line[len] = '\0';
		if (strncmp(line, "ACCEPT ", 7) == 0)
			break;
		len = 0;
	}
	snprintf(t->url, sizeof(t->url), "https://127.0.0.1:%d", atoi(strrchr(line, ':') + 1));
}

static int tls_start(void **state)
{
	static struct tls t;

	*state = NULL;
	if (system("openssl version >/dev/null 2>&1") != 0)
		return 0; /* each test says so and skips */
	tmpdir_make(&t.dir);
	if (!run_openssl(&t.dir,
		    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
		    "-keyout key.pem -out cert.pem -days 2 -subj /CN=console "
		    "-addext subjectAltName=IP:127.0.0.1") ||
		!run_openssl(&t.dir, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
				     "-nodes -keyout other.key -out other.pem -days 2 "
				     "-subj /CN=console -addext subjectAltName=IP:127.0.0.1") ||
		!run_openssl(&t.dir, "x509 -in cert.pem -noout -pubkey -out pub.pem"))
		return -1;
	snprintf(t.cert, sizeof(t.cert), "%s", tmpdir_file(&t.dir, "cert.pem"));
	snprintf(t.other_cert, sizeof(t.other_cert), "%s", tmpdir_file(&t.dir, "other.pem"));
	make_pin(tmpdir_file(&t.dir, "pub.pem"), t.pin);
	start_s_server(&t);
	*state = &t;
	return 0;
}

static int tls_stop(void **state)
{
	struct tls *t = *state;

	if (!t)
		return 0;
	kill(t->pid, SIGKILL);
	waitpid(t->pid, NULL, 0);
	close(t->out_fd);
	tmpdir_remove(&t->dir);
	return 0;
}

static int tls_get(
	const struct tls *t, const char *url, const char *pin, const char *ca_file, struct err *e)
{
	struct httpc_server server = {
		.url = (char *)url, .pin = (char *)pin, .ca_file = (char *)ca_file};
	struct httpc_request request = {.method = "GET", .path = "/", .timeout_ms = PATIENCE_MS};
	struct httpc_response r;
	int rc;

	if (!t) {
		print_message("skipped: no openssl program here\n");
		skip();
	}
	rc = httpc_call(&server, &request, &r, e);
	if (rc == 0) {
		assert_int_equal(r.status, 200);
		httpc_response_done(&r);
	}
	return rc;
}

#define OTHER_PIN "sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static void test_pin(void **state)
{
	struct tls *t = *state;
	struct err e = {0};
	char two[128];

	if (tls_get(t, t ? t->url : "", t ? t->pin : NULL, NULL, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(tls_get(t, t->url, OTHER_PIN, NULL, &e), -VAN_E_TLS);
	assert_non_null(strstr(e.text, "another key than its pin"));
	assert_non_null(strstr(e.text, t->url));
	snprintf(two, sizeof(two), "%s;%s", OTHER_PIN, t->pin);
	assert_int_equal(tls_get(t, t->url, two, NULL, &e), 0);
	/* What is no pin at all fits nobody. */
	assert_int_equal(tls_get(t, t->url, "sha256//", NULL, &e), -VAN_E_TLS);
	assert_int_equal(tls_get(t, t->url, "nonsense", NULL, &e), -VAN_E_TLS);
	assert_int_equal(tls_get(t, t->url, "", NULL, &e), -VAN_E_TLS);
}

static void test_ca_file(void **state)
{
	struct tls *t = *state;
	char by_name[80];
	struct err e = {0};

	if (tls_get(t, t ? t->url : "", NULL, t ? t->cert : NULL, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(tls_get(t, t->url, NULL, t->other_cert, &e), -VAN_E_TLS);
	assert_non_null(strstr(e.text, "not trusted"));
	assert_int_equal(tls_get(t, t->url, NULL, "/none/such.pem", &e), -VAN_E_TLS);
	assert_non_null(strstr(e.text, "CA file"));
	/* The name counts, too. */
	snprintf(by_name, sizeof(by_name), "https://localhost:%s", strrchr(t->url, ':') + 1);
	assert_int_equal(tls_get(t, by_name, NULL, t->cert, &e), -VAN_E_TLS);
	/* Both: both must fit. */
	assert_int_equal(tls_get(t, t->url, t->pin, t->cert, &e), 0);
	assert_int_equal(tls_get(t, t->url, OTHER_PIN, t->cert, &e), -VAN_E_TLS);
	assert_int_equal(tls_get(t, t->url, t->pin, t->other_cert, &e), -VAN_E_TLS);
	/* Neither: the system's CAs do not know this certificate. */
	assert_int_equal(tls_get(t, t->url, NULL, NULL, &e), -VAN_E_TLS);
}

/* https where no TLS is spoken, and the reverse. */
static void test_wrong_scheme(void **state)
{
	struct tls *t = *state;
	struct httpserver plain;
	struct err e = {0};
	char url[80];
	int rc;

	httpserver_start(&plain);
	snprintf(url, sizeof(url), "https://127.0.0.1%s", strrchr(plain.url, ':'));
	if (!t) {
		httpserver_stop(&plain);
		tls_get(NULL, NULL, NULL, NULL, NULL);
	}
	assert_int_equal(tls_get(t, url, t->pin, NULL, &e), -VAN_E_UNREACHABLE);
	assert_non_null(strstr(e.text, "TLS handshake"));
	httpserver_stop(&plain);
	snprintf(url, sizeof(url), "http://127.0.0.1%s", strrchr(t->url, ':'));
	rc = tls_get(t, url, NULL, NULL, &e);
	assert_true(rc == -VAN_E_PROTOCOL || rc == -VAN_E_UNREACHABLE);
}

static int plain_start(void **state)
{
	static struct httpserver s;

	httpserver_start(&s);
	*state = &s;
	return 0;
}

static int plain_stop(void **state)
{
	httpserver_stop(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest plain[] = {
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_large_request_body),
		cmocka_unit_test(test_url_with_slash_at_the_end),
		cmocka_unit_test(test_environment_is_not_asked_for_proxies),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_answers_are_bounded),
		cmocka_unit_test(test_no_connection_at_all),
		cmocka_unit_test(test_wrong_addresses),
		cmocka_unit_test(test_status_errors),
	};
	const struct CMUnitTest tls[] = {
		cmocka_unit_test(test_pin),
		cmocka_unit_test(test_ca_file),
		cmocka_unit_test(test_wrong_scheme),
	};
	int failed;

	/* As in a program that has set nothing up: a broken connection must not end it. */
	signal(SIGPIPE, SIG_DFL);
	if (sodium_init() < 0)
		return 1;
	failed = cmocka_run_group_tests(plain, plain_start, plain_stop);
	return failed + cmocka_run_group_tests(tls, tls_start, tls_stop);
}
