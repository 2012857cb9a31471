/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/jsoncanon.h"

static char *canonical(const char *text)
{
	CLEANUP(json) struct json_object *o = NULL;
	struct err e = {0};
	char *canon;
	size_t len;

	if (json_parse(text, strlen(text), &o, &e))
		fail_msg("%s", e.text);
	canon = jsoncanon(o, &len);
	if (canon)
		assert_int_equal(strlen(canon), len);
	return canon;
}

static void check(const char *text, const char *want)
{
	CLEANUP(free) char *canon = canonical(text);

	assert_non_null(canon);
	assert_string_equal(canon, want);
}

static void members_are_sorted(void **state)
{
	(void)state;
	check("{}", "{}");
	check("[]", "[]");
	check(" { \"b\" : 1, \"a\" : [ 2, 1 ], \"B\" : {\"z\": true, \"y\": false} } ",
		"{\"B\":{\"y\":false,\"z\":true},\"a\":[2,1],\"b\":1}");
	check("{\"aa\":1,\"a\":2,\"a-\":3,\"a.\":4,\"a0\":5,\"\":6}",
		"{\"\":6,\"a\":2,\"a-\":3,\"a.\":4,\"a0\":5,\"aa\":1}");
}

static void strings_have_the_shortest_escapes(void **state)
{
	(void)state;
	check("\"\\u0041\\/\\u00fc\\u20ac\\ud83d\\ude00\"", "\"A/ü€😀\"");
	check("\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"",
		"\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
	check("{\"a\\nb\":\"\"}", "{\"a\\nb\":\"\"}");
}

static void numbers_are_integers(void **state)
{
	(void)state;
	check("[0,-1,9223372036854775807,-9223372036854775808]",
		"[0,-1,9223372036854775807,-9223372036854775808]");
	check("-0", "0");
	assert_null(canonical("1.5"));
	assert_null(canonical("{\"a\":[1e3]}"));
}

static void null_has_no_place(void **state)
{
	(void)state;
	assert_null(canonical("null"));
	assert_null(canonical("{\"a\":null}"));
	assert_null(canonical("{\"a\":[{\"b\":null}]}"));
}

static void long_ones(void **state)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	CLEANUP(free) char *canon = NULL;
	char name[16];
	size_t len;

	(void)state;
	for (int i = 4999; i >= 0; i--) {
		snprintf(name, sizeof(name), "k%04d", i);
		json_set_int(o, name, i);
	}
	canon = jsoncanon(o, &len);
	assert_non_null(canon);
	assert_memory_equal(canon, "{\"k0000\":0,\"k0001\":1,", 21);
	assert_string_equal(canon + len - 13, "\"k4999\":4999}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_sorted),
		cmocka_unit_test(strings_have_the_shortest_escapes),
		cmocka_unit_test(numbers_are_integers),
		cmocka_unit_test(null_has_no_place),
		cmocka_unit_test(long_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
