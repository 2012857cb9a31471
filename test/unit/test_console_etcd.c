/* SPDX-License-Identifier: Apache-2.0 */
/* The client of etcd's gateway: its texts, what its errors mean, and what is known after a failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "console-api/etcd.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "test/unit/httpserver.h"

#define TIMEOUT_MS 1500 /* one call waits for it; the others are never that slow */

static struct json_object *object(const char *text)
{
	struct json_object *o = NULL;

	if (json_parse(text, strlen(text), &o, NULL))
		fail_msg("%s", text);
	return o;
}

static void texts(void **state)
{
	struct printbuf *out = printbuf_new();
	CLEANUP(json)
	struct json_object *o = object(
		"{\"a\":\"L3Zhbi9rdi9h\",\"empty\":\"\",\"bad\":\"*\",\"n\":\"18446744073709551615\",\"m\":7}");
	char *text;

	(void)state;
	etcd_put_bytes(out, "key", "/van/", "kv/a");
	assert_string_equal(out->buf, "\"key\":\"L3Zhbi9rdi9h\"");
	printbuf_free(out);
	text = etcd_get_bytes(o, "a");
	assert_string_equal(text, "/van/kv/a");
	free(text);
	for (unsigned int i = 0; i < 2; i++) {
		text = etcd_get_bytes(o, i ? "empty" : "absent");
		assert_string_equal(text, "");
		free(text);
	}
	assert_null(etcd_get_bytes(o, "bad"));
	assert_true(etcd_get_number(o, "n") == UINT64_MAX);
	assert_int_equal(etcd_get_number(o, "m"), 7);
	assert_int_equal(etcd_get_number(o, "absent"), 0);
}

/* As etcd 3.4 and 3.5 word them. What is not known to be over must not be taken for it. */
static void errors(void **state)
{
	static const struct {
		const char *answer;
		int rc;
	} cases[] = {
		{"{\"error\":\"etcdserver: too many operations in txn request\",\"message\":\"etcdserver: too "
		 "many operations in txn request\",\"code\":3}",
			-E2BIG},
		{"{\"message\":\"etcdserver: request is too large\",\"code\":3}", -E2BIG},
		{"{\"message\":\"grpc: received message larger than max (5 vs. 4)\",\"code\":8}",
			-E2BIG},
		{"{\"message\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}", -ENOSPC},
		{"{\"message\":\"etcdserver: mvcc: required revision has been compacted\",\"code\":11}",
			-VAN_E_GONE},
		{"{\"message\":\"etcdserver: permission denied\",\"code\":7}", -VAN_E_DENIED},
		{"{\"message\":\"etcdserver: user name is empty\",\"code\":3}", -VAN_E_DENIED},
		{"{\"message\":\"etcdserver: invalid auth token\",\"code\":16}", -VAN_E_DENIED},
		{"{\"message\":\"etcdserver: authentication failed, invalid user ID or password\",\"code\":3}",
			-VAN_E_DENIED},
		{"{\"message\":\"etcdserver: key is not provided\",\"code\":3}", -VAN_E_INVALID},
		{"{\"message\":\"etcdserver: duplicate key given in txn request\",\"grpc_code\":3}",
			-VAN_E_INVALID},
		{"{\"error\":{\"grpc_code\":7,\"http_code\":403,\"message\":\"etcdserver: permission "
		 "denied\"}}",
			-VAN_E_DENIED},
		{"{\"message\":\"etcdserver: request timed out\",\"code\":14}", -VAN_E_TIMEOUT},
		{"{\"message\":\"etcdserver: leader changed\",\"code\":14}", -VAN_E_TIMEOUT},
		{"{\"message\":\"context deadline exceeded\",\"code\":4}", -VAN_E_TIMEOUT},
		{"{\"message\":\"something new\",\"code\":2}", -VAN_E_TIMEOUT},
		{"{}", -VAN_E_TIMEOUT},
		{"[]", -VAN_E_TIMEOUT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(json) struct json_object *o = object(cases[i].answer);
		struct err e = {0};
		int rc = etcd_error(o, &e);

		if (rc != cases[i].rc)
			fail_msg("%s: %d, want %d", cases[i].answer, rc, cases[i].rc);
		assert_true(e.text[0]);
	}
}

struct fixture {
	struct httpserver server;
	char nobody[64]; /* the URL of a port that nobody listens on */
	const char *endpoints[2];
	struct etcd *etcd;
	struct etcd_conn *conn;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct etcd_options options = {.timeout_ms = TIMEOUT_MS, .endpoint_count = 2};
	unsigned int port;

	assert_non_null(f);
	httpserver_start(&f->server);
	close(httpserver_listen(1, &port));
	snprintf(f->nobody, sizeof(f->nobody), "http://127.0.0.1:%u", port);
	f->endpoints[0] = f->nobody;
	f->endpoints[1] = f->server.url;
	options.endpoints = f->endpoints;
	f->etcd = etcd_new(&options);
	f->conn = etcd_conn_new(f->etcd);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	etcd_conn_free(f->conn);
	etcd_free(f->etcd);
	httpserver_stop(&f->server);
	free(f);
	return 0;
}

static int call(struct fixture *f, size_t endpoint, const char *path)
{
	struct json_object *answer = NULL;
	struct err e = {0};
	int rc = etcd_call(f->conn, endpoint, path, "{}", &answer, &e);

	assert_true((rc == 0) == (answer != NULL));
	assert_true((rc == 0) == !e.text[0]);
	json_object_put(answer);
	return rc;
}

/* Only what cannot have reached anybody is told as not sent. */
static void what_is_known_after_a_call(void **state)
{
	static const char *const unknown[] = {"/close", "/hang", "/short", "/garbage", "/empty",
		"/redirect", "/retry", "/status/500", "/status/503", "/status/404"};
	struct fixture *f = *state;

	assert_int_equal(call(f, 1, "/ok"), 0);
	assert_int_equal(call(f, 0, "/ok"), -ECONNREFUSED);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		if (call(f, 1, unknown[i]) != -VAN_E_TIMEOUT)
			fail_msg("%s", unknown[i]);
	/* A connection that is kept open, and one that was refused, leave no mark on the next call. */
	assert_int_equal(call(f, 1, "/ok"), 0);
}

static void the_one_that_answers_is_preferred(void **state)
{
	struct fixture *f = *state;
	struct json_object *answer = NULL;
	struct err e = {0};

	assert_int_equal(etcd_endpoint_count(f->etcd), 2);
	assert_string_equal(etcd_endpoint(f->etcd, 0), f->nobody);
	assert_int_equal(etcd_preferred(f->etcd), 0);
	assert_int_equal(etcd_call_any(f->conn, "/ok", "{}", &answer, &e), 0);
	json_object_put(answer);
	assert_int_equal(etcd_preferred(f->etcd), 1);
	/* One of them may have done it, whichever was asked last. */
	for (size_t i = 0; i < 2; i++) {
		etcd_prefer(f->etcd, i);
		assert_int_equal(
			etcd_call_any(f->conn, "/close", "{}", &answer, &e), -VAN_E_TIMEOUT);
	}
}

static void *abort_main(void *arg)
{
	struct fixture *f = arg;

	while (!atomic_load(&f->server.hanging)) {
	}
	etcd_conn_abort(f->conn);
	return NULL;
}

static void a_call_is_aborted(void **state)
{
	struct fixture *f = *state;
	struct etcd_options options = {
		.endpoints = f->endpoints, .endpoint_count = 2, .timeout_ms = 60000};
	uint64_t start_ns = clock_read(CLOCK_MONOTONIC);
	pthread_t thread;

	etcd_conn_free(f->conn);
	etcd_free(f->etcd);
	f->etcd = etcd_new(&options);
	f->conn = etcd_conn_new(f->etcd);
	assert_int_equal(pthread_create(&thread, NULL, abort_main, f), 0);
	assert_int_equal(call(f, 1, "/hang"), -VAN_E_TIMEOUT);
	pthread_join(thread, NULL);
	assert_true(clock_read(CLOCK_MONOTONIC) - start_ns < 20 * NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(errors),
		cmocka_unit_test_setup_teardown(what_is_known_after_a_call, setup, teardown),
		cmocka_unit_test_setup_teardown(the_one_that_answers_is_preferred, setup, teardown),
		cmocka_unit_test_setup_teardown(a_call_is_aborted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
