/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket as a client sees it, with a daemon that is in no mesh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/ctlproto.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/token.h"
#include "test/unit/tmpdir.h"
#include "vand/ctl.h"
#include "vand/reconcile.h"
#include "vand/registry.h"
#include "vand/route.h"
#include "vand/state.h"
#include "vand/vand.h"

#define LIMIT_NS (20 * NS_PER_S) /* for what takes milliseconds */

static struct vand *v;
static struct tmpdir dir;

/* -- a client -- */

struct client {
	struct loop_source source;
	struct loop_timer limit;
	char *answer;
	size_t len;
	bool ended;
};

static void on_readable(struct loop_source *source, uint32_t events)
{
	struct client *c = container_of(source, struct client, source);
	char buffer[4096];
	ssize_t n = recv(source->fd, buffer, sizeof(buffer), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		c->ended = true;
		loop_stop(&v->loop);
		return;
	}
	c->answer = realloc(c->answer, c->len + (size_t)n + 1);
	assert_non_null(c->answer);
	memcpy(c->answer + c->len, buffer, (size_t)n);
	c->len += (size_t)n;
	c->answer[c->len] = '\0';
}

static void on_limit(struct loop_timer *timer, uint64_t now_ns)
{
	(void)timer;
	(void)now_ns;
	loop_stop(&v->loop);
}

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", v->config.control_socket);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Runs the daemon until it has closed the connection; closes our end. */
static char *read_answer(int fd)
{
	struct client c = {.source = {.fd = fd, .ready = on_readable}, .limit.fire = on_limit};

	assert_int_equal(loop_add(&v->loop, &c.source, EPOLLIN), 0);
	loop_timer_set(&v->loop, &c.limit, clock_boottime_ns() + LIMIT_NS);
	v->loop.stopping = false;
	assert_int_equal(loop_run(&v->loop), 0);
	assert_true(c.ended);
	loop_timer_cancel(&v->loop, &c.limit);
	loop_remove(&v->loop, &c.source);
	close(fd);
	return c.answer;
}

static void say(int fd, const char *text, size_t len)
{
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

/* The answer's object, checked to be one line. */
static struct json_object *parse(char *answer)
{
	struct json_object *o = NULL;
	struct err e = {0};
	size_t len;

	assert_non_null(answer);
	len = strlen(answer);
	assert_int_equal(answer[len - 1], '\n');
	assert_ptr_equal(strchr(answer, '\n'), answer + len - 1);
	if (json_parse(answer, len, &o, &e) < 0)
		fail_msg("%s: %s", e.text, answer);
	free(answer);
	return o;
}

static struct json_object *ask(const char *request)
{
	int fd = dial();

	say(fd, request, strlen(request));
	return parse(read_answer(fd));
}

static struct json_object *result(const char *request)
{
	struct json_object *o = ask(request), *member;

	if (!json_object_object_get_ex(o, "result", &member))
		fail_msg("%s: %s", request, json_object_to_json_string(o));
	json_object_get(member);
	json_object_put(o);
	return member;
}

static void error_in(struct json_object *o, const char *code, const char *word)
{
	struct json_object *error;
	const char *text;

	assert_true(json_object_object_get_ex(o, "error", &error));
	assert_int_equal(json_get_string(error, "", "code", 1, 64, &text, NULL), 0);
	if (strcmp(text, code) != 0)
		fail_msg("%s", json_object_to_json_string(o));
	assert_int_equal(json_get_string(error, "", "detail", 1, 1000, &text, NULL), 0);
	if (!strstr(text, word))
		fail_msg("'%s' is not in: %s", word, text);
	json_object_put(o);
}

static void error(const char *request, const char *code, const char *word)
{
	error_in(ask(request), code, word);
}

/* -- requests -- */

static void status_of_a_fresh_node(void **state)
{
	CLEANUP(json) struct json_object *o = result("{\"command\":\"status\"}\n");
	struct json_object *member;
	int64_t port = 0;

	(void)state;
	assert_true(json_object_object_get_ex(o, "node", &member));
	assert_null(member);
	assert_true(json_object_object_get_ex(o, "console", &member));
	assert_null(member);
	assert_true(json_object_object_get_ex(o, "mesh", &member));
	assert_null(member);
	assert_int_equal(json_get_int(o, "", "port", 40001, 40001, &port, NULL), 0);
	assert_int_equal(json_get_array(o, "", "networks", &member, NULL), 0);
	assert_int_equal(json_object_array_length(member), 0);
	assert_int_equal(json_get_array(o, "", "warnings", &member, NULL), 0);
	assert_int_equal(json_get_array(o, "", "underlay", &member, NULL), 0);
}

static void empty_lists(void **state)
{
	static const char *const requests[] = {
		"{\"command\":\"peers\"}\n", "{\"command\":\"mac\"}\n"};
	CLEANUP(json) struct json_object *stats = result("{\"command\":\"stats\"}\n");
	struct json_object *member;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		CLEANUP(json) struct json_object *o = result(requests[i]);

		assert_int_equal(json_get_array(o, "", "items", &member, NULL), 0);
		assert_int_equal(json_object_array_length(member), 0);
	}
	assert_int_equal(json_get_object(stats, "", "drops", &member, NULL), 0);
	assert_int_equal(json_object_object_length(member), DROP__COUNT);
}

static void what_is_not_there(void **state)
{
	(void)state;
	error("{\"command\":\"peers\",\"network\":\"x\"}\n", "not_found", "'x'");
	error("{\"command\":\"mac\",\"network\":\"x\"}\n", "not_found", "'x'");
	error("{\"command\":\"leave\",\"network\":\"x\"}\n", "not_found", "'x'");
	error("{\"command\":\"ping\",\"peer\":\"x\"}\n", "not_found", "'x'");
	error("{\"command\":\"ping\",\"peer\":\"172.16.1.1\"}\n", "not_found", "172.16.1.1");
}

static void wrong_requests(void **state)
{
	(void)state;
	error("\n", "invalid", "");
	error("hello\n", "invalid", "");
	error("{\n", "invalid", "");
	error("[]\n", "invalid", "");
	error("7\n", "invalid", "");
	error("{}\n", "invalid", "command");
	error("{\"command\":7}\n", "invalid", "command");
	error("{\"command\":\"dance\"}\n", "invalid", "dance");
	error("{\"command\":\"leave\"}\n", "invalid", "network");
	error("{\"command\":\"ping\"}\n", "invalid", "peer");
	error("{\"command\":\"ping\",\"peer\":\"x\",\"timeout_ms\":0}\n", "invalid", "timeout_ms");
	error("{\"command\":\"join\"}\n", "invalid", "token");
	error("{\"command\":\"join\",\"token\":\"van1_nonsense\"}\n", "invalid", "token");
	error("{\"command\":\"status\"}{\"command\":\"status\"}\n", "invalid", "");
}

static void requests_in_pieces_and_too_long(void **state)
{
	static char big[CTLPROTO_MAX_REQUEST + 1];
	const char request[] = "{\"command\":\"peers\"}\nwhat follows is ignored";
	int fd = dial();

	(void)state;
	for (size_t i = 0; i < sizeof(request) - 1; i++)
		say(fd, request + i, 1);
	json_object_put(parse(read_answer(fd)));

	memset(big, ' ', sizeof(big));
	fd = dial();
	/* More than a socket buffer may hold goes in while the daemon reads. */
	fcntl(fd, F_SETFL, O_NONBLOCK);
	assert_true(send(fd, big, sizeof(big), MSG_NOSIGNAL) > 0);
	error_in(parse(read_answer(fd)), "limit", "64 KB");
}

static void connection_that_ends_early(void **state)
{
	int fd = dial();

	(void)state;
	say(fd, "{\"command\":", 11);
	shutdown(fd, SHUT_WR);
	assert_null(read_answer(fd));
	/* half closed after the request, as nc does: it is answered */
	fd = dial();
	say(fd, "{\"command\":\"mac\"}\n", 18);
	shutdown(fd, SHUT_WR);
	json_object_put(parse(read_answer(fd)));
	/* gone before the answer: nobody is hurt */
	fd = dial();
	say(fd, "{\"command\":\"status\"}\n", 21);
	close(fd);
	json_object_put(result("{\"command\":\"mac\"}\n"));
}

static void so_many_clients(void **state)
{
	int fds[64];

	(void)state;
	for (size_t i = 0; i < 64; i++)
		fds[i] = dial();
	error("{\"command\":\"status\"}\n", "limit", "too many");
	close(fds[63]);
	json_object_put(result("{\"command\":\"status\"}\n"));
	say(fds[0], "{\"command\":\"status\"}\n", 21);
	json_object_put(parse(read_answer(fds[0])));
	for (size_t i = 1; i < 63; i++)
		close(fds[i]);
	json_object_put(result("{\"command\":\"status\"}\n"));
}

/* -- join -- */

static char *join_request(const char *url, const char *more)
{
	struct token token = {.pin = {1}, .secret = {2}};
	char text[TOKEN_TEXT_MAX], *request;

	snprintf(token.url, sizeof(token.url), "%s", url);
	token_format(&token, text);
	assert_true(
		asprintf(&request, "{\"command\":\"join\",\"token\":\"%s\"%s}\n", text, more) > 0);
	return request;
}

static void join_without_a_console(void **state)
{
	char *request = join_request("https://127.0.0.1:1", ""); /* nobody listens there */

	(void)state;
	error(request, "unreachable", "https://127.0.0.1:1");
	error(request, "unreachable", "https://127.0.0.1:1");
	assert_null(state_membership(v->state));
	free(request);
}

static void join_arguments_are_checked_first(void **state)
{
	static const struct {
		const char *more, *code, *word;
	} cases[] = {
		{",\"address\":\"somewhere\"", "invalid", "somewhere"},
		{",\"ifname\":\"a/b\"", "invalid", "a/b"},
		{",\"ifname\":\"name-that-is-too-long\"", "invalid", "ifname"},
		{",\"ifname\":\"lo\"", "conflict", "lo"},
		{",\"name\":7", "invalid", "name"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *request = join_request("https://127.0.0.1:1", cases[i].more);

		error(request, cases[i].code, cases[i].word);
		free(request);
	}
}

/* A console that accepts and says nothing. */
static int silent_console(char ret_url[64])
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	snprintf(ret_url, 64, "https://127.0.0.1:%u", ntohs(address.sin_port));
	return fd;
}

static void join_that_takes_too_long(void **state)
{
	char url[64], *request;
	int console = silent_console(url), fd;

	(void)state;
	request = join_request(url, ",\"timeout_ms\":50");
	error(request, "timeout", "goes on");
	free(request);
	/* and a client that hangs up while it waits */
	request = join_request(url, "");
	fd = dial();
	say(fd, request, strlen(request));
	json_object_put(result("{\"command\":\"mac\"}\n")); /* by now the request was read */
	close(fd);
	json_object_put(result("{\"command\":\"mac\"}\n"));
	free(request);
	close(console);
}

/* -- reload -- */

static void configure(const char *text)
{
	assert_int_equal(file_write_atomic(v->config_path, text, strlen(text), 0600, NULL), 0);
}

static void reload(void **state)
{
	struct json_object *o, *list;

	(void)state;
	configure("log_level = \"error\"; advertise = [\"192.0.2.1\"]; rekey_after_s = 60;");
	o = result("{\"command\":\"reload\"}\n");
	assert_int_equal(json_get_array(o, "", "restart_needed", &list, NULL), 0);
	/* the fixture's control_socket and state_dir are not in the file */
	assert_string_equal(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PLAIN),
		"[\"state_dir\",\"control_socket\"]");
	json_object_put(o);
	assert_string_equal(v->config.log_level, "error");
	assert_int_equal(v->config.advertise.count, 1);
	assert_string_equal(v->config.advertise.items[0], "192.0.2.1");
	assert_int_equal(v->config.rekey_after_s, 60);

	configure("advertise = [\"nonsense\"]; rekey_after_s = 30;");
	error("{\"command\":\"reload\"}\n", "config", "nonsense");
	assert_string_equal(v->config.advertise.items[0], "192.0.2.1");
	assert_int_equal(v->config.rekey_after_s, 60);
	assert_int_equal(unlink(v->config_path), 0);
	error("{\"command\":\"reload\"}\n", "not_found", "vand.conf");
	assert_int_equal(v->config.rekey_after_s, 60);
}

/* -- the socket -- */

static void socket_of_its_own(void **state)
{
	const char *path = v->config.control_socket;
	struct ctl *other;
	struct stat st;
	struct err e = {0};
	int fd;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	/* somebody listens there */
	assert_int_equal(ctl_open(v, &other, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, path));
	/* left over by one that was killed: its listener is closed, its name stays */
	ctl_close(v->ctl);
	v->ctl = NULL;
	assert_int_equal(access(path, F_OK), -1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	{
		struct sockaddr_un address = {.sun_family = AF_UNIX};

		snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path);
		assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	}
	close(fd);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(ctl_open(v, &v->ctl, NULL), 0);
	json_object_put(result("{\"command\":\"mac\"}\n"));
	/* what is no socket is not ours to remove */
	ctl_close(v->ctl);
	v->ctl = NULL;
	assert_int_equal(file_write_atomic(path, "x", 1, 0600, NULL), 0);
	assert_int_equal(ctl_open(v, &other, &e), -EEXIST);
	assert_int_equal(access(path, F_OK), 0);
}

/* -- */

static void on_changed(void *ctx)
{
	(void)ctx;
}

static void set_path(char **slot, const char *name)
{
	free(*slot);
	*slot = strdup(tmpdir_file(&dir, name));
}

static int set_up(void **state)
{
	(void)state;
	tmpdir_make(&dir);
	v = aligned_alloc(64, (sizeof(*v) + 63) & ~(size_t)63);
	memset(v, 0, sizeof(*v));
	conf_defaults(&vand_config_schema, &v->config);
	set_path(&v->config.state_dir, "state");
	set_path(&v->config.control_socket, "run/vand.sock");
	v->config_path = strdup(tmpdir_file(&dir, "vand.conf"));
	v->port = 40001;
	if (loop_init(&v->loop) < 0 || state_open(v->config.state_dir, &v->state, NULL) < 0 ||
		route_open(&v->loop, on_changed, NULL, &v->route, NULL) < 0 ||
		reconcile_new(v, &v->reconcile) < 0 || registry_new(v, &v->registry) < 0)
		return -1;
	v->identity = state_identity(v->state);
	return ctl_open(v, &v->ctl, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	ctl_close(v->ctl);
	registry_free(v->registry);
	reconcile_free(v->reconcile);
	route_close(v->route);
	state_close(v->state);
	loop_done(&v->loop);
	conf_free(&vand_config_schema, &v->config);
	free((char *)v->config_path);
	free(v);
	tmpdir_remove(&dir);
	return 0;
}

#define EACH(x) cmocka_unit_test_setup_teardown(x, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(status_of_a_fresh_node),
		EACH(empty_lists),
		EACH(what_is_not_there),
		EACH(wrong_requests),
		EACH(requests_in_pieces_and_too_long),
		EACH(connection_that_ends_early),
		EACH(so_many_clients),
		EACH(join_without_a_console),
		EACH(join_arguments_are_checked_first),
		EACH(join_that_takes_too_long),
		EACH(reload),
		EACH(socket_of_its_own),
	};

	if (sodium_init() < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
