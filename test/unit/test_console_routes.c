/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "console-api/api.h"
#include "console-api/routes.h"

static void segments(void **state)
{
	struct target t;

	(void)state;
	assert_true(target_parse("/", &t));
	assert_int_equal(t.segment_count, 0);
	assert_true(target_parse("/a/b%20c/d%2Fe/", &t));
	assert_int_equal(t.segment_count, 3);
	assert_string_equal(t.segments[0], "a");
	assert_string_equal(t.segments[1], "b c");
	assert_string_equal(t.segments[2], "d/e");
	assert_true(target_parse("/1/2/3/4/5/6/7/8", &t));
	assert_int_equal(t.segment_count, 8);
}

static void queries(void **state)
{
	struct target t;

	(void)state;
	assert_true(target_parse("/a?since=00ff.7&wait=30&x=&y&z=a%26b+c", &t));
	assert_string_equal(target_query(&t, "since"), "00ff.7");
	assert_string_equal(target_query(&t, "wait"), "30");
	assert_string_equal(target_query(&t, "x"), "");
	assert_string_equal(target_query(&t, "y"), "");
	assert_string_equal(target_query(&t, "z"), "a&b c");
	assert_null(target_query(&t, "none"));
	assert_true(target_parse("/a?", &t));
	assert_int_equal(t.query_count, 0);
	assert_true(target_parse("/a?&&b=1&", &t));
	assert_int_equal(t.query_count, 1);
	assert_string_equal(t.segments[0], "a");
}

static void malformed(void **state)
{
	static const char *const bad[] = {"", "a", "*", "http://x/", "//", "/a//b", "/%", "/%4",
		"/%zz", "/%00", "/a%0ab", "/%7f", "/a?b=%", "/a?%00=1", "/a?b=1&b=2",
		"/a?b=1&%62=2", "/1/2/3/4/5/6/7/8/9",
		"/a?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17"};
	char large[REQUEST_TARGET_MAX + 1];
	struct target t;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (target_parse(bad[i], &t))
			fail_msg("\"%s\" is taken", bad[i]);
	memset(large, 'a', sizeof(large));
	large[0] = '/';
	large[sizeof(large) - 1] = '\0';
	assert_false(target_parse(large, &t));
	large[sizeof(large) - 2] = '\0';
	assert_true(target_parse(large, &t));
}

static const struct route *find(const char *method, const char *path,
	const char *params[REQUEST_PARAMS_MAX], char allow[ROUTE_ALLOW_MAX])
{
	static struct target t; /* the parameters point into it */

	allow[0] = '\0';
	assert_true(target_parse(path, &t));
	return route_find(route_method(method), &t, params, allow);
}

static void found(void **state)
{
	const char *params[REQUEST_PARAMS_MAX];
	char allow[ROUTE_ALLOW_MAX];
	const struct route *r;

	(void)state;
	r = find("GET", "/healthz", params, allow);
	assert_ptr_equal(r->handler, api_healthz);
	assert_int_equal(r->access, ACCESS_ANYBODY);
	assert_null(params[0]);
	r = find("PATCH", "/api/v1/networks/blue/nodes/web", params, allow);
	assert_ptr_equal(r->handler, api_member_change);
	assert_int_equal(r->access, ACCESS_OPERATOR);
	assert_string_equal(params[0], "blue");
	assert_string_equal(params[1], "web");
	r = find("HEAD", "/api/v1/networks/nodes", params, allow);
	assert_ptr_equal(r->handler, api_network_get);
	assert_string_equal(params[0], "nodes");
	r = find("POST", "/api/v1/networks/", params, allow);
	assert_ptr_equal(r->handler, api_network_create);
	assert_int_equal(
		find("GET", "/agent/v1/netmap?wait=1", params, allow)->access, ACCESS_AGENT);
	assert_int_equal(find("POST", "/agent/v1/enroll", params, allow)->access, ACCESS_ENROL);
}

static void not_found(void **state)
{
	static const char *const paths[] = {"/", "/api", "/api/v1", "/api/v1/networksx",
		"/api/v1/network", "/api/v1/networks/a/b", "/api/v1/networks/a/nodes/b/c",
		"/api/v1/%2e%2e", "/HEALTHZ", "/healthz/x/y/z", "/agent/v1/enroll/x/y/z/1/2",
		"/api/v1/networks/a/nodes/b/c/d", "/healthz/x", "/agent/v1/networks"};
	const char *params[REQUEST_PARAMS_MAX];
	char allow[ROUTE_ALLOW_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (find("GET", paths[i], params, allow) || allow[0])
			fail_msg("%s is found", paths[i]);
	}
}

static void other_methods(void **state)
{
	static const struct {
		const char *method, *path, *allow;
	} cases[] = {
		{"PUT", "/api/v1/networks", "GET, HEAD, POST"},
		{"POST", "/healthz", "GET, HEAD"},
		{"get", "/healthz", "GET, HEAD"},
		{"GET", "/agent/v1/enroll", "POST"},
		{"POST", "/api/v1/nodes/x", "GET, HEAD, PATCH, DELETE"},
		{"PUT", "/api/v1/networks/x/nodes/y", "GET, HEAD, PATCH, DELETE"},
		{"POST", "/api/v1/tokens/x", "GET, HEAD, DELETE"},
		{"GET", "/agent/v1/networks/x", "DELETE"},
	};
	const char *params[REQUEST_PARAMS_MAX];
	char allow[ROUTE_ALLOW_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_null(find(cases[i].method, cases[i].path, params, allow));
		assert_string_equal(allow, cases[i].allow);
	}
}

/* What the framework and the document rely on. */
static void the_table_is_sound(void **state)
{
	const struct route *r;
	size_t count = 0;

	(void)state;
	for (; (r = route_at(count)); count++) {
		size_t params = 0;

		for (const char *at = r->path; (at = strchr(at, '{')); at++)
			params++;
		assert_true(params <= REQUEST_PARAMS_MAX);
		assert_non_null(r->handler);
		assert_true(r->id && r->tag && r->summary);
		assert_true(r->method != METHOD_GET || r->reply);
		assert_true(r->method != METHOD_GET || !r->body);
		assert_true(!r->filters || r->sorts); /* only lists have filters */
		assert_true(r->body_max <= REQUEST_DISCARD_MAX);
		/* Nobody but who may change things changes things. */
		if (route_role(r))
			assert_true(r->method == METHOD_GET || route_role(r) > ROLE_VIEWER);
		for (size_t i = 0; i < count; i++) {
			assert_string_not_equal(route_at(i)->id, r->id);
			assert_true(route_at(i)->method != r->method ||
				    strcmp(route_at(i)->path, r->path) != 0);
		}
	}
	assert_true(count > 30);
}

static void words(void **state)
{
	(void)state;
	assert_true(route_has_word("name created_at", "name"));
	assert_true(route_has_word("name created_at", "created_at"));
	assert_false(route_has_word("name created_at", "created"));
	assert_false(route_has_word("name created_at", "me"));
	assert_false(route_has_word("", "name"));
	assert_false(route_has_word(NULL, "name"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments),
		cmocka_unit_test(queries),
		cmocka_unit_test(malformed),
		cmocka_unit_test(found),
		cmocka_unit_test(not_found),
		cmocka_unit_test(other_methods),
		cmocka_unit_test(the_table_is_sound),
		cmocka_unit_test(words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
