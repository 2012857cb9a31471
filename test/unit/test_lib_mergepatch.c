/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/mergepatch.h"

static struct json_object *parse(const char *text)
{
	struct json_object *o = NULL;
	struct err e;

	if (json_parse(text, strlen(text), &o, &e))
		fail_msg("%s: %s", text, e.text);
	return o;
}

/* RFC 7396, appendix A. */
static void the_examples_of_the_rfc(void **state)
{
	static const char *const cases[][3] = {
		{"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
		{"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
		{"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
		{"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
			"{\"a\":{\"b\":\"d\"}}"},
		{"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
		{"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
		{"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
		{"{\"a\":\"foo\"}", "null", "null"},
		{"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
		{"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
		{"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
		{"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(json) struct json_object *target = parse(cases[i][0]);
		CLEANUP(json) struct json_object *patch = parse(cases[i][1]);
		CLEANUP(json) struct json_object *want = parse(cases[i][2]);
		CLEANUP(json) struct json_object *got = mergepatch_apply(target, patch);
		CLEANUP(json) struct json_object *before = parse(cases[i][0]);

		if (!json_object_equal(got, want))
			fail_msg("%s on %s gives %s", cases[i][1], cases[i][0],
				json_object_to_json_string(got));
		assert_true(json_object_equal(target, before));
	}
}

/* What was made shares nothing with what it was made of. */
static void the_result_stands_alone(void **state)
{
	CLEANUP(json) struct json_object *target = parse("{\"a\":{\"b\":[1]}}");
	CLEANUP(json) struct json_object *patch = parse("{\"c\":{\"d\":[2]}}");
	CLEANUP(json) struct json_object *result = mergepatch_apply(target, patch);

	(void)state;
	json_object_array_add(json_object_object_get(json_object_object_get(result, "a"), "b"),
		json_object_new_int(9));
	json_object_array_add(json_object_object_get(json_object_object_get(result, "c"), "d"),
		json_object_new_int(9));
	assert_string_equal(json_object_to_json_string_ext(target, JSON_C_TO_STRING_PLAIN),
		"{\"a\":{\"b\":[1]}}");
	assert_string_equal(json_object_to_json_string_ext(patch, JSON_C_TO_STRING_PLAIN),
		"{\"c\":{\"d\":[2]}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_the_rfc),
		cmocka_unit_test(the_result_stands_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
