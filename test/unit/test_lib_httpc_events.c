/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <sys/resource.h>
#include "lib/clock.h"
#include "test/unit/httpserver.h"

/* The event-driven half of httpc, on a loop of poll(2). */

#define WATCHES_MAX 32
#define PATIENCE_NS (20 * NS_PER_S)

struct loop {
	struct {
		int fd;
		bool read, write;
	} watches[WATCHES_MAX];
	size_t watch_count;
	bool timer_set;
	uint64_t timer_ns;
	bool inside; /* of an httpc function: the only place from where we may be called */
	struct httpc *h;
};

static void watch(void *ctx, int fd, bool read, bool write)
{
	struct loop *l = ctx;
	size_t i = 0;

	assert_true(l->inside);
	while (i < l->watch_count && l->watches[i].fd != fd)
		i++;
	if (!read && !write) {
		if (i < l->watch_count)
			l->watches[i] = l->watches[--l->watch_count];
		return;
	}
	assert_true(i < WATCHES_MAX);
	l->watches[i].fd = fd;
	l->watches[i].read = read;
	l->watches[i].write = write;
	if (i == l->watch_count)
		l->watch_count++;
}

static void set_timer(void *ctx, long timeout_ms)
{
	struct loop *l = ctx;

	assert_true(l->inside);
	l->timer_set = timeout_ms >= 0;
	if (l->timer_set)
		l->timer_ns = clock_boottime_ns() + (uint64_t)timeout_ms * NS_PER_MS;
}

static void loop_init(struct loop *l)
{
	struct httpc_loop callbacks = {.ctx = l, .watch = watch, .set_timer = set_timer};

	memset(l, 0, sizeof(*l));
	l->inside = true;
	assert_int_equal(httpc_new(&callbacks, &l->h), 0);
	l->inside = false;
}

static void loop_done(struct loop *l)
{
	l->inside = true;
	httpc_free(l->h);
	l->inside = false;
	l->h = NULL;
}

/* One turn; l->h may be gone after it. */
static void loop_turn(struct loop *l)
{
	struct pollfd fds[WATCHES_MAX];
	size_t count = l->watch_count;
	uint64_t now = clock_boottime_ns();
	int wait_ms = 50;

	for (size_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){.fd = l->watches[i].fd,
			.events = (short)((l->watches[i].read ? POLLIN : 0) |
					  (l->watches[i].write ? POLLOUT : 0))};
	if (l->timer_set)
		wait_ms = l->timer_ns <= now ? 0 : (int)((l->timer_ns - now) / NS_PER_MS) + 1;
	poll(fds, count, wait_ms > 50 ? 50 : wait_ms);
	l->inside = true;
	for (size_t i = 0; i < count && l->h; i++) {
		bool still = false;

		/* An earlier event may have had this one's descriptor closed. */
		for (size_t k = 0; k < l->watch_count; k++)
			still |= l->watches[k].fd == fds[i].fd;
		if (fds[i].revents && still)
			httpc_on_fd(l->h, fds[i].fd, fds[i].revents & (POLLIN | POLLERR | POLLHUP),
				fds[i].revents & POLLOUT);
	}
	if (l->h && l->timer_set && l->timer_ns <= clock_boottime_ns()) {
		l->timer_set = false;
		httpc_on_timer(l->h);
	}
	l->inside = false;
}

struct result {
	struct loop *loop;
	struct httpserver *server;
	unsigned int calls;
	int rc;
	long status;
	char body[256];
	char error[512];
	/* What the callback does besides. */
	struct httpc_call *cancel[2];
	struct result *start_next;
	bool free_httpc;
};

static int start(
	struct result *r, const char *path, unsigned int timeout_ms, struct httpc_call **ret_call);

static void on_done(void *ctx, int rc, const struct httpc_response *response, const struct err *e)
{
	struct result *r = ctx;

	assert_true(r->loop->inside);
	r->calls++;
	r->rc = rc;
	if (rc == 0) {
		assert_null(e);
		r->status = response->status;
		snprintf(r->body, sizeof(r->body), "%s", response->body);
	} else {
		assert_null(response);
		assert_int_equal(e->code, rc);
		snprintf(r->error, sizeof(r->error), "%s", e->text);
	}
	for (size_t i = 0; i < 2; i++) {
		if (r->cancel[i])
			httpc_cancel(r->loop->h, r->cancel[i]);
	}
	if (r->start_next)
		assert_int_equal(start(r->start_next, "/ok/next", 10000, NULL), 0);
	if (r->free_httpc) {
		httpc_free(r->loop->h);
		r->loop->h = NULL;
	}
}

static int start(
	struct result *r, const char *path, unsigned int timeout_ms, struct httpc_call **ret_call)
{
	/* Copies that go away at once: httpc must have made its own. */
	char url[64], own_path[64], body[8] = "{}";
	const char *headers[] = {body, NULL};
	struct httpc_server server = {.url = url};
	struct httpc_request request = {.method = "POST",
		.path = own_path,
		.body = body,
		.body_len = 2,
		.timeout_ms = timeout_ms,
		.headers = headers};
	bool was_inside = r->loop->inside;
	unsigned int calls = r->calls;
	int rc;

	snprintf(url, sizeof(url), "%s", r->server->url);
	snprintf(own_path, sizeof(own_path), "%s", path);
	snprintf(body, sizeof(body), "X: 1");
	r->loop->inside = true;
	rc = httpc_start(r->loop->h, &server, &request, on_done, r, ret_call);
	r->loop->inside = was_inside;
	memset(url, 'x', sizeof(url) - 1);
	memset(own_path, 'x', sizeof(own_path) - 1);
	memset(body, 'x', sizeof(body) - 1);
	assert_int_equal(r->calls, calls); /* never from within httpc_start() */
	return rc;
}

static void cancel(struct result *r, struct httpc_call *call)
{
	r->loop->inside = true;
	httpc_cancel(r->loop->h, call);
	r->loop->inside = false;
}

/* Turns the loop until the condition holds. */
#define RUN_UNTIL(l, condition)                                        \
	do {                                                           \
		uint64_t give_up_ = clock_boottime_ns() + PATIENCE_NS; \
		while (!(condition)) {                                 \
			if (clock_boottime_ns() > give_up_)            \
				fail_msg("in vain: %s", #condition);   \
			loop_turn(l);                                  \
		}                                                      \
	} while (0)

static void test_many_at_once(void **state)
{
	struct result results[10];
	struct loop l;

	loop_init(&l);
	for (size_t i = 0; i < 10; i++) {
		char path[32];

		results[i] = (struct result){.loop = &l, .server = *state};
		snprintf(path, sizeof(path), "/ok/%zu", i);
		assert_int_equal(start(&results[i], path, 10000, NULL), 0);
	}
	for (size_t i = 0; i < 10; i++) {
		char body[64];

		RUN_UNTIL(&l, results[i].calls > 0);
		snprintf(body, sizeof(body), "{\"path\":\"/ok/%zu\"}", i);
		assert_int_equal(results[i].rc, 0);
		assert_string_equal(results[i].body, body);
	}
	for (size_t i = 0; i < 10; i++)
		assert_int_equal(results[i].calls, 1);
	loop_done(&l);
	assert_int_equal(l.watch_count, 0);
}

static void test_connection_is_kept(void **state)
{
	struct httpserver *s = *state;
	struct result r;
	struct loop l;
	int before;

	loop_init(&l);
	before = atomic_load(&s->count);
	for (int i = 0; i < 5; i++) {
		r = (struct result){.loop = &l, .server = s};
		assert_int_equal(start(&r, i == 3 ? "/status/503" : "/ok", 10000, NULL), 0);
		RUN_UNTIL(&l, r.calls);
		assert_int_equal(r.rc, 0);
		assert_int_equal(r.status, i == 3 ? 503 : 200);
	}
	assert_int_equal(atomic_load(&s->count) - before, 1);
	loop_done(&l);
}

static void test_failures(void **state)
{
	struct httpserver nobody;
	struct result r;
	unsigned int port;
	struct loop l;

	loop_init(&l);
	close(httpserver_listen(1, &port));
	snprintf(nobody.url, sizeof(nobody.url), "http://127.0.0.1:%u", port);
	r = (struct result){.loop = &l, .server = &nobody};
	assert_int_equal(start(&r, "/ok", 10000, NULL), 0);
	RUN_UNTIL(&l, r.calls);
	assert_int_equal(r.rc, -VAN_E_UNREACHABLE);
	assert_non_null(strstr(r.error, nobody.url));

	r = (struct result){.loop = &l, .server = *state};
	assert_int_equal(start(&r, "/hang", 100, NULL), 0);
	RUN_UNTIL(&l, r.calls);
	assert_int_equal(r.rc, -VAN_E_TIMEOUT);

	snprintf(nobody.url, sizeof(nobody.url), "gopher://127.0.0.1");
	r = (struct result){.loop = &l, .server = &nobody};
	assert_int_equal(start(&r, "/ok", 100, NULL), -VAN_E_INVALID);
	loop_done(&l);
}

/* A request that hangs stops no other. */
static void test_hanging_request_and_cancel(void **state)
{
	struct httpserver *s = *state;
	struct result hanging, quick;
	struct httpc_call *call;
	struct loop l;
	int before = atomic_load(&s->hanging);

	loop_init(&l);
	hanging = (struct result){.loop = &l, .server = s};
	quick = (struct result){.loop = &l, .server = s};
	assert_int_equal(start(&hanging, "/hang", 60000, &call), 0);
	RUN_UNTIL(&l, atomic_load(&s->hanging) > before);
	assert_int_equal(start(&quick, "/ok", 10000, NULL), 0);
	RUN_UNTIL(&l, quick.calls);
	cancel(&hanging, call);
	assert_int_equal(l.watch_count, 0);
	/* At once after the start, before anything was done for it. */
	assert_int_equal(start(&hanging, "/ok", 60000, &call), 0);
	cancel(&hanging, call);
	quick.calls = 0;
	assert_int_equal(start(&quick, "/ok", 10000, NULL), 0);
	RUN_UNTIL(&l, quick.calls);
	assert_int_equal(hanging.calls, 0);
	loop_done(&l);
}

static void test_cancel_from_a_callback(void **state)
{
	struct httpserver *s = *state;
	struct result hanging, quick;
	struct loop l;
	int before = atomic_load(&s->hanging);

	loop_init(&l);
	hanging = (struct result){.loop = &l, .server = s};
	quick = (struct result){.loop = &l, .server = s};
	assert_int_equal(start(&hanging, "/hang", 60000, &quick.cancel[0]), 0);
	RUN_UNTIL(&l, atomic_load(&s->hanging) > before);
	assert_int_equal(start(&quick, "/ok", 10000, &quick.cancel[1]), 0); /* and itself */
	RUN_UNTIL(&l, quick.calls);
	quick = (struct result){.loop = &l, .server = s};
	assert_int_equal(start(&quick, "/ok", 10000, NULL), 0);
	RUN_UNTIL(&l, quick.calls);
	assert_int_equal(hanging.calls, 0);
	loop_done(&l);
}

/* Two that are done in the same turn, each of which cancels the other: only one callback comes. */
static void test_cancel_one_that_is_done(void **state)
{
	struct httpserver nobody;
	struct result a, b;
	unsigned int port;
	struct loop l;

	(void)state;
	loop_init(&l);
	close(httpserver_listen(1, &port));
	snprintf(nobody.url, sizeof(nobody.url), "http://127.0.0.1:%u", port);
	a = (struct result){.loop = &l, .server = &nobody};
	b = (struct result){.loop = &l, .server = &nobody};
	assert_int_equal(start(&a, "/ok", 10000, &b.cancel[0]), 0);
	assert_int_equal(start(&b, "/ok", 10000, &a.cancel[0]), 0);
	RUN_UNTIL(&l, a.calls + b.calls > 0);
	for (int i = 0; i < 5; i++)
		loop_turn(&l);
	assert_int_equal(a.calls + b.calls, 1);
	loop_done(&l);
}

static void test_start_from_a_callback(void **state)
{
	struct result first, next;
	struct loop l;

	loop_init(&l);
	next = (struct result){.loop = &l, .server = *state};
	first = (struct result){.loop = &l, .server = *state, .start_next = &next};
	assert_int_equal(start(&first, "/ok", 10000, NULL), 0);
	RUN_UNTIL(&l, next.calls);
	assert_string_equal(next.body, "{\"path\":\"/ok/next\"}");
	assert_int_equal(first.calls, 1);
	loop_done(&l);
}

static void test_free_with_requests_under_way(void **state)
{
	struct httpserver *s = *state;
	struct result hanging, quick;
	struct loop l;
	int before = atomic_load(&s->hanging);

	loop_init(&l);
	hanging = (struct result){.loop = &l, .server = s};
	assert_int_equal(start(&hanging, "/hang", 60000, NULL), 0);
	RUN_UNTIL(&l, atomic_load(&s->hanging) > before);
	assert_int_equal(start(&hanging, "/ok", 60000, NULL), 0);
	loop_done(&l);
	assert_int_equal(hanging.calls, 0);
	assert_int_equal(l.watch_count, 0);

	/* The same from within a callback. */
	loop_init(&l);
	before = atomic_load(&s->hanging);
	hanging = (struct result){.loop = &l, .server = s};
	quick = (struct result){.loop = &l, .server = s, .free_httpc = true};
	assert_int_equal(start(&hanging, "/hang", 60000, NULL), 0);
	RUN_UNTIL(&l, atomic_load(&s->hanging) > before);
	assert_int_equal(start(&quick, "/ok", 10000, NULL), 0);
	RUN_UNTIL(&l, quick.calls);
	assert_null(l.h);
	assert_int_equal(hanging.calls, 0);
	assert_int_equal(l.watch_count, 0);
}

static void *blocking_call(void *ctx)
{
	struct httpserver *s = ctx;
	struct httpc_server server = {.url = s->url};
	struct httpc_request request = {.method = "GET", .path = "/ok", .timeout_ms = 10000};
	struct httpc_response r;
	struct err e;

	for (int i = 0; i < 3; i++) {
		if (httpc_call(&server, &request, &r, &e) != 0)
			return s;
		httpc_response_done(&r);
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];
	void *failed;

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, blocking_call, *state), 0);
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
}

static int set_up(void **state)
{
	static struct httpserver s;

	httpserver_start(&s);
	*state = &s;
	return 0;
}

static int tear_down(void **state)
{
	httpserver_stop(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads), /* first: they race for curl's initialization */
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_connection_is_kept),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_hanging_request_and_cancel),
		cmocka_unit_test(test_cancel_from_a_callback),
		cmocka_unit_test(test_cancel_one_that_is_done),
		cmocka_unit_test(test_start_from_a_callback),
		cmocka_unit_test(test_free_with_requests_under_way),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
