/* SPDX-License-Identifier: Apache-2.0 */
/* Headers, bodies and list parameters, as they are before a handler sees them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sodium.h>
#include "console-api/request.h"
#include "console-api/routes.h"

static struct request *begin(const char *method, const char *target)
{
	struct request *q = request_new(NULL, NULL, target);
	char allow[ROUTE_ALLOW_MAX];

	q->method_text = method;
	q->method = route_method(method);
	assert_true(target_parse(q->raw_target, &q->target));
	q->route = route_find(q->method, &q->target, q->params, allow);
	assert_non_null(q->route);
	return q;
}

static void set_body(struct request *q, const char *text)
{
	request_drop_body(q);
	json_object_put(q->json);
	q->json = NULL;
	q->problem = (struct problem){0};
	q->body_len = strlen(text);
	q->body = strdup(text);
	assert_non_null(q->body);
}

static int header(struct request *q, const char *name, const char *value)
{
	return request_header(q, name, strlen(name), value, strlen(value));
}

/* The status of the problem, 0: it was read. */
static int status_of(struct request *q)
{
	int rc = request_read(q);

	assert_int_equal(!rc, !q->problem.status);
	return q->problem.status;
}

static void headers(void **state)
{
	struct request *q = begin("GET", "/api/v1/networks");

	(void)state;
	assert_int_equal(header(q, "authorization", "Bearer x"), 0);
	assert_string_equal(q->authorization, "Bearer x");
	assert_int_equal(header(q, "IF-MATCH", "\"7\""), 0);
	assert_string_equal(q->if_match, "\"7\"");
	assert_int_equal(header(q, "X-Other", "\ta \xc3\xa4 \xff"), 0);
	assert_int_equal(header(q, "X-Other", "again"), 0);
	assert_int_equal(header(q, "If-Match-", "x"), 0);
	assert_int_equal(header(q, "VAN-Organization", ""), 0);
	assert_string_equal(q->organization, "");
	assert_int_equal(q->problem.status, 0);
	assert_false(q->hang_up);
	/* The first one stays; there is no second. */
	assert_true(header(q, "If-Match", "*") < 0);
	assert_string_equal(q->if_match, "\"7\"");
	assert_int_equal(q->problem.status, 400);
	assert_string_equal(q->problem.word, "bad_header");
	assert_true(q->hang_up);
	request_free(q);
}

static void headers_that_are_none(void **state)
{
	static const char *const names[] = {
		"", "a b", "a ", " a", "a(b)", "a:b", "\xc3\xa4", "a\x7f", "a\x01", "a\t"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct request *q = begin("GET", "/healthz");

		if (!header(q, names[i], "x"))
			fail_msg("\"%s\" is taken", names[i]);
		assert_true(q->hang_up);
		request_free(q);
	}
	for (int c = 0; c < 256; c++) {
		struct request *q = begin("GET", "/healthz");
		char value[3] = {'a', (char)c, 'b'};
		bool fine = c == '\t' || (c >= ' ' && c != 0x7f);

		if (!request_header(q, "X-Y", 3, value, 3) != fine)
			fail_msg("value with character %d", c);
		request_free(q);
	}
}

static void framing(void **state)
{
	static const struct {
		const char *coding, *length;
		bool clear;
	} cases[] = {{NULL, NULL, true}, {NULL, "5", true}, {"chunked", NULL, true},
		{"Chunked", NULL, true}, {"chunked", "5", false}, {"gzip", NULL, false},
		{"gzip, chunked", NULL, false}, {"chunked, chunked", NULL, false},
		{"identity", NULL, false}, {"", NULL, false}, {"", "5", false}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct request *q = begin("POST", "/api/v1/networks");

		if (cases[i].coding)
			header(q, "Transfer-Encoding", cases[i].coding);
		if (cases[i].length)
			header(q, "Content-Length", cases[i].length);
		if (!request_check_framing(q) != cases[i].clear)
			fail_msg("case %zu", i);
		assert_int_equal(q->hang_up, !cases[i].clear);
		request_free(q);
	}
}

static void bodies(void **state)
{
	struct request *q = begin("POST", "/api/v1/networks");

	(void)state;
	assert_int_equal(status_of(q), 400); /* one is needed */
	set_body(q, "{\"name\": \"a\"}");
	assert_int_equal(status_of(q), 0);
	assert_int_equal(json_object_object_length(q->json), 1);
	set_body(q, "[]");
	assert_int_equal(status_of(q), 400);
	set_body(q, "null");
	assert_int_equal(status_of(q), 400);
	set_body(q, "{} {}");
	assert_int_equal(status_of(q), 400);
	assert_string_equal(q->problem.word, "bad_json");
	request_free(q);

	q = begin("POST", "/api/v1/networks/blue/tokens");
	assert_int_equal(status_of(q), 0); /* may be left out */
	assert_null(q->json);
	set_body(q, " ");
	assert_int_equal(status_of(q), 400);
	set_body(q, "{}");
	assert_int_equal(status_of(q), 0);
	assert_non_null(q->json);
	request_free(q);
}

static void bodies_where_none_is_taken(void **state)
{
	static const struct {
		const char *method, *target;
	} cases[] = {{"GET", "/api/v1/networks"}, {"DELETE", "/api/v1/networks/blue"},
		{"POST", "/api/v1/networks/blue/cloak/confirm"}, {"GET", "/healthz"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct request *q = begin(cases[i].method, cases[i].target);

		assert_int_equal(status_of(q), 0);
		set_body(q, "{}");
		assert_int_equal(status_of(q), 0);
		set_body(q, "hello");
		assert_int_equal(status_of(q), 400);
		set_body(q, "{\"a\": 1, \"b/c\": 2}");
		assert_int_equal(status_of(q), 400);
		assert_int_equal(q->problem.error_count, 2);
		assert_string_equal(q->problem.errors[0].pointer, "/a");
		assert_string_equal(q->problem.errors[1].pointer, "/b~1c");
		request_free(q);
	}
}

static void media_types(void **state)
{
	static const struct {
		const char *type;
		int post, patch;
	} cases[] = {{NULL, 0, 0}, {"application/json", 0, 0}, {"Application/JSON", 0, 0},
		{"application/json; charset=utf-8", 0, 0}, {"application/json;x", 0, 0},
		{"application/merge-patch+json", 415, 0}, {"application/json-patch+json", 415, 415},
		{"text/json", 415, 415}, {"application/x-www-form-urlencoded", 415, 415},
		{"", 415, 415}, {";", 415, 415}, {"application/jsonx", 415, 415}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct request *post = begin("POST", "/api/v1/networks");
		struct request *patch = begin("PATCH", "/api/v1/networks/blue");

		set_body(post, "{}");
		set_body(patch, "{}");
		post->content_type = patch->content_type = cases[i].type;
		if (status_of(post) != cases[i].post || status_of(patch) != cases[i].patch)
			fail_msg("%s", cases[i].type);
		request_free(post);
		request_free(patch);
	}
}

static void lists(void **state)
{
	static const char *const bad[] = {"?limit=0", "?limit=1001", "?limit=-1", "?limit=+1",
		"?limit=1x", "?limit=99999999999999999999", "?limit=", "?sort=colour",
		"?sort=", "?sort=-", "?sort=--name", "?sort=name%20mtu", "?cursor="};
	struct request *q = begin("GET",
		"/api/v1/networks?limit=7&sort=-name&name=a&label=b%3Dc&cursor=d&encryption=integrity");

	(void)state;
	assert_int_equal(status_of(q), 0);
	assert_int_equal(q->page.limit, 7);
	assert_true(q->page.descending);
	assert_string_equal(q->page.sort, "name");
	assert_string_equal(q->page.after, "d");
	assert_string_equal(q->page.label, "b=c");
	assert_int_equal(q->page.filter_count, 2);
	request_free(q);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char target[96];

		snprintf(target, sizeof(target), "/api/v1/networks%s", bad[i]);
		q = begin("GET", target);
		if (status_of(q) != 400)
			fail_msg("%s is taken", bad[i]);
		request_free(q);
	}
}

static void lists_by_time(void **state)
{
	struct request *q = begin("GET", "/api/v1/events?since=1970-01-01T00:00:01Z");

	(void)state;
	assert_int_equal(status_of(q), 0);
	assert_string_equal(q->page.after, "000000003b9aca00");
	request_free(q);
	q = begin("GET", "/api/v1/events?since=1970-01-01T00:00:01Z&cursor=further");
	assert_int_equal(status_of(q), 0);
	assert_string_equal(q->page.after, "further");
	request_free(q);
	q = begin("GET", "/api/v1/events?since=yesterday");
	assert_int_equal(status_of(q), 400);
	request_free(q);
	q = begin("GET", "/api/v1/events?since=1970-01-01T00:00:01Z&sort=time");
	assert_int_equal(status_of(q), 400);
	request_free(q);
}

static void ids(void **state)
{
	static const char *const bad[] = {NULL, "", "a b", "a\"", "a/b", "\xc3\xa4",
		"0123456789012345678901234567890123456789012345678901234567890123x"};
	struct request *q = begin("GET", "/healthz");

	(void)state;
	request_set_id(q, "Az09._-");
	assert_string_equal(q->id, "Az09._-");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		request_set_id(q, bad[i]);
		assert_int_equal(strlen(q->id), 24);
		assert_int_equal(strspn(q->id, "0123456789abcdef"), 24);
	}
	request_free(q);
}

/* A body comes in pieces of any size, and is a string at all times. */
static void bodies_in_pieces(void **state)
{
	struct request *q = request_new(NULL, NULL, "/");
	char whole[3000];
	size_t len = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(whole); i++)
		whole[i] = (char)('a' + i % 26);
	for (size_t n = 1; len + n <= sizeof(whole); len += n, n = n * 2 % 701 + 1) {
		request_add_body(q, whole + len, n);
		assert_int_equal(q->body_len, len + n);
		assert_memory_equal(q->body, whole, len + n);
		assert_int_equal(q->body[len + n], '\0');
	}
	request_drop_body(q);
	assert_null(q->body);
	request_add_body(q, "x", 1);
	assert_string_equal(q->body, "x");
	request_free(q);
}

/* The object goes when there is a text of it. */
static void answers_are_kept_as_text(void **state)
{
	struct request *q = request_new(NULL, NULL, "/");
	struct json_object *o = json_object_new_object(), *key = json_object_new_string("secret");

	(void)state;
	json_object_object_add(o, "key", json_object_get(key));
	json_object_object_add(o, "name", json_object_new_string("a/b"));
	request_reply(q, 201, o);
	request_render(q);
	assert_null(q->reply);
	assert_string_equal(q->reply_heap, "{\"key\":\"secret\",\"name\":\"a/b\"}");
	assert_int_equal(q->reply_text_len, strlen(q->reply_heap));
	assert_memory_equal(json_object_get_string(key), "\0\0\0\0\0\0", 6); /* wiped */
	json_object_put(key);
	request_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),
		cmocka_unit_test(headers_that_are_none),
		cmocka_unit_test(framing),
		cmocka_unit_test(bodies),
		cmocka_unit_test(bodies_where_none_is_taken),
		cmocka_unit_test(media_types),
		cmocka_unit_test(lists),
		cmocka_unit_test(lists_by_time),
		cmocka_unit_test(ids),
		cmocka_unit_test(bodies_in_pieces),
		cmocka_unit_test(answers_are_kept_as_text),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
