/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/json.h"

static struct json_object *parse(const char *text)
{
	struct json_object *o = NULL;
	struct err e = {0};

	if (json_parse(text, strlen(text), &o, &e) != 0)
		fail_msg("%s: %s", text, e.text);
	return o;
}

static void test_accepts_each_kind_of_value(void **state)
{
	static const char *const good[][2] = {
		{"{}", "{}"},
		{"[]", "[]"},
		{" \t\r\n[1 , 2]\n ", "[1,2]"},
		{"{\"a\":{\"b\":[1,-2,true,false,null,\"x\"]}}",
			"{\"a\":{\"b\":[1,-2,true,false,null,\"x\"]}}"},
		{"\"text\"", "\"text\""},
		{"12", "12"},
		{"-0", "0"},
		{"true", "true"},
		{"\"\\u00e9\\ud83d\\ude00\\n\\/\"", "\"\xc3\xa9\xf0\x9f\x98\x80\\n/\""},
		{"\"\xc3\xa9\xf0\x9f\x98\x80\"", "\"\xc3\xa9\xf0\x9f\x98\x80\""},
		{"9223372036854775807", "9223372036854775807"},
		{"-9223372036854775808", "-9223372036854775808"},
		{"{\"\":1}", "{\"\":1}"},
		{"[{\"a\":1},{\"a\":2}]", "[{\"a\":1},{\"a\":2}]"},
		{"{\"a\":{\"a\":{\"a\":1}}}", "{\"a\":{\"a\":{\"a\":1}}}"},
	};
	struct json_object *o;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		o = parse(good[i][0]);
		assert_string_equal(
			json_object_to_json_string_ext(
				o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
			good[i][1]);
		json_object_put(o);
	}
	o = (struct json_object *)"not touched yet";
	assert_int_equal(json_parse("null", 4, &o, NULL), 0);
	assert_null(o);
	o = parse("[1.5e3,-2.25,1E-2]");
	assert_true(json_object_get_double(json_object_array_get_idx(o, 0)) == 1500.0);
	assert_true(json_object_get_double(json_object_array_get_idx(o, 1)) == -2.25);
	json_object_put(o);
}

/* Each with a word of the message that it must give. */
static void test_rejects(void **state)
{
	static const char *const bad[][2] = {
		{"", "too early"},
		{"  ", "too early"},
		{"{", "key"},
		{"[", "too early"},
		{"[1", "\"]\""},
		{"[1,", "too early"},
		{"[1,]", "value"},
		{"[,1]", "value"},
		{"{\"a\"}", "\":\""},
		{"{\"a\":}", "value"},
		{"{\"a\":1,}", "key"},
		{"{\"a\":1 \"b\":2}", "\"}\""},
		{"{a:1}", "key"},
		{"{'a':1}", "key"},
		{"{1:1}", "key"},
		{"nul", "value"},
		{"nullx", "after the end"},
		{"True", "value"},
		{"NaN", "value"},
		{"-Infinity", "number"},
		{"Infinity", "value"},
		{"01", "number"},
		{"-", "number"},
		{"+1", "value"},
		{".5", "value"},
		{"1.", "number"},
		{"1e", "number"},
		{"1e+", "number"},
		{"0x10", "after the end"},
		{"1e999", "range"},
		{"9223372036854775808", "64 bits"},
		{"-9223372036854775809", "64 bits"},
		{"18446744073709551615", "64 bits"},
		{"{} {}", "after the end"},
		{"{}x", "after the end"},
		{"[1]]", "after the end"},
		{"/* c */ 1", "value"},
		{"[1] // c", "after the end"},
		{"\"abc", "does not end"},
		{"\"abc\\", "escape"},
		{"\"abc\\\"", "does not end"},
		{"\"\\x41\"", "escape"},
		{"\"\\u12\"", "hexadecimal"},
		{"\"\\u12g4\"", "hexadecimal"},
		{"\"\\u0000\"", "u0000"},
		{"{\"a\\u0000b\":1}", "u0000"},
		{"\"\\ud800\"", "surrogate"},
		{"\"\\udc00\"", "surrogate"},
		{"\"\\ud800\\u0041\"", "surrogate"},
		{"\"\\ud800x\"", "surrogate"},
		{"\"\\ud800\\ud800\"", "surrogate"},
		{"\"a\nb\"", "control"},
		{"\"a\tb\"", "control"},
		{"\"\x1f\"", "control"},
		{"\"\xff\"", "UTF-8"},
		{"\"\xc3\"", "UTF-8"},
		{"\"\xc0\xaf\"", "UTF-8"},
		{"\"\xed\xa0\x80\"", "UTF-8"},
		{"\"\xf4\x90\x80\x80\"", "UTF-8"},
		{"\"\x80\"", "UTF-8"},
		{"\xef\xbb\xbf{}", "value"},
	};
	struct json_object *o = (struct json_object *)"untouched";
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int rc = json_parse(bad[i][0], strlen(bad[i][0]), &o, &e);

		if (rc != -VAN_E_SYNTAX || !strstr(e.text, bad[i][1]))
			fail_msg("%s gave %d: %s", bad[i][0], rc, e.text);
	}
	assert_string_equal((const char *)o, "untouched");
	assert_int_equal(json_parse("{\"a\":\0}", 7, &o, &e), -VAN_E_SYNTAX);
	assert_int_equal(json_parse("\"a\0b\"", 5, &o, &e), -VAN_E_SYNTAX);
	assert_int_equal(json_parse("{}\0", 3, &o, &e), -VAN_E_SYNTAX);
	/* Nothing behind the given length is looked at. */
	assert_int_equal(json_parse("12]", 2, &o, &e), 0);
	assert_int_equal(json_object_get_int(o), 12);
	json_object_put(o);
	assert_int_equal(json_parse("[1]", 2, &o, &e), -VAN_E_SYNTAX);
}

static void test_place_of_an_error(void **state)
{
	static const char text[] = "{\n  \"a\": 1,\n  \"b\": tru\n}";
	struct json_object *o;
	struct err e;

	(void)state;
	assert_int_equal(json_parse(text, strlen(text), &o, &e), -VAN_E_SYNTAX);
	assert_non_null(strstr(e.text, "line 3, column 8"));
}

static void test_duplicate_keys(void **state)
{
	static const char *const bad[] = {
		"{\"a\":1,\"a\":1}",
		"{\"a\":1,\"b\":2,\"a\":null}",
		"[{\"x\":{\"a\":1,\"b\":{},\"a\":2}}]",
		"{\"a\":1,\"\\u0061\":2}",
		"{\"\\u0061\":1,\"a\":2}",
		"{\"\":1,\"\":2}",
		"{\"\xc3\xa9\":1,\"\\u00E9\":2}",
		"{\"/\":1,\"\\/\":2}",
	};
	struct json_object *o;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(json_parse(bad[i], strlen(bad[i]), &o, &e), -VAN_E_SYNTAX);
		assert_non_null(strstr(e.text, "twice"));
	}
	o = parse("{\"a\":1,\"A\":2,\"a \":3,\"\\\\u0061\":4}");
	assert_int_equal(json_object_object_length(o), 4);
	json_object_put(o);
}

static void test_many_keys(void **state)
{
	size_t room = 2 << 20, len = 0;
	char *text = malloc(room);
	struct json_object *o;
	struct err e;

	(void)state;
	assert_non_null(text);
	text[len++] = '{';
	for (int i = 0; i < 100000; i++)
		len += (size_t)snprintf(text + len, room - len, "%s\"k%d\":1", i ? "," : "", i);
	text[len] = '}';
	assert_int_equal(json_parse(text, len + 1, &o, &e), 0);
	assert_int_equal(json_object_object_length(o), 100000);
	json_object_put(o);
	len += (size_t)snprintf(text + len, room - len, ",\"k77777\":1}");
	assert_int_equal(json_parse(text, len, &o, &e), -VAN_E_SYNTAX);
	assert_non_null(strstr(e.text, "k77777"));
	free(text);
}

static void test_depth(void **state)
{
	char text[2 * JSON_MAX_DEPTH + 3];
	struct json_object *o;
	struct err e;
	char *deep;

	(void)state;
	memset(text, '[', JSON_MAX_DEPTH);
	memset(text + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
	assert_int_equal(json_parse(text, (size_t)2 * JSON_MAX_DEPTH, &o, &e), 0);
	json_object_put(o);
	memset(text, '[', JSON_MAX_DEPTH + 1);
	memset(text + JSON_MAX_DEPTH + 1, ']', JSON_MAX_DEPTH + 1);
	assert_int_equal(json_parse(text, (size_t)2 * JSON_MAX_DEPTH + 2, &o, &e), -VAN_E_SYNTAX);
	assert_non_null(strstr(e.text, "deep"));
	deep = malloc(1 << 20);
	assert_non_null(deep);
	memset(deep, '[', 1 << 20);
	assert_int_equal(json_parse(deep, 1 << 20, &o, &e), -VAN_E_SYNTAX);
	free(deep);
}

static void test_strings(void **state)
{
	struct json_object *o = parse("{\"s\":\"four\",\"n\":null,\"i\":1,\"e\":\"\"}");
	const char *text = "untouched";
	struct err e;

	(void)state;
	assert_int_equal(json_get_string(o, "/x", "s", 1, 4, &text, &e), 0);
	assert_string_equal(text, "four");
	text = "untouched";
	assert_int_equal(json_get_string(o, "/x", "s", 1, 3, &text, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/x/s: must have 1 to 3 characters");
	assert_int_equal(json_get_string(o, "/x", "s", 5, 5, &text, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/x/s: must have 5 characters");
	assert_int_equal(json_get_string(o, "", "i", 1, 3, &text, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/i: must be a string");
	assert_int_equal(json_get_string(o, "", "no", 1, 3, &text, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/no: is required");
	assert_int_equal(json_get_string(o, "", "n", 1, 3, &text, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/n: is required");
	assert_int_equal(json_opt_string(o, "", "no", 1, 3, &text, &e), 0);
	assert_int_equal(json_opt_string(o, "", "n", 1, 3, &text, &e), 0);
	assert_int_equal(json_opt_string(o, "", "i", 1, 3, &text, &e), -VAN_E_INVALID);
	assert_int_equal(json_opt_string(o, "", "e", 1, 3, &text, &e), -VAN_E_INVALID);
	assert_string_equal(text, "untouched");
	assert_int_equal(json_opt_string(o, "", "e", 0, 3, &text, &e), 0);
	assert_string_equal(text, "");
	assert_int_equal(json_get_string(o, "", "s", 0, 9, &text, NULL), 0);
	assert_int_equal(json_get_string(o, "", "i", 0, 9, &text, NULL), -VAN_E_INVALID);
	json_object_put(o);
}

static void test_ints_and_bools(void **state)
{
	struct json_object *o = parse("{\"i\":5,\"f\":5.0,\"s\":\"5\",\"b\":true,\"n\":null}");
	int64_t value = 42;
	bool flag = false;
	struct err e;

	(void)state;
	assert_int_equal(json_get_int(o, "", "i", 5, 5, &value, &e), 0);
	assert_int_equal(value, 5);
	value = 42;
	assert_int_equal(json_get_int(o, "", "i", 6, 9, &value, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/i: must be from 6 to 9");
	assert_int_equal(json_get_int(o, "", "i", -9, 4, &value, &e), -VAN_E_INVALID);
	assert_int_equal(json_get_int(o, "", "f", 0, 9, &value, &e), -VAN_E_INVALID);
	assert_int_equal(json_get_int(o, "", "s", 0, 9, &value, &e), -VAN_E_INVALID);
	assert_int_equal(json_get_int(o, "", "b", 0, 9, &value, &e), -VAN_E_INVALID);
	assert_int_equal(json_get_int(o, "", "n", 0, 9, &value, &e), -VAN_E_INVALID);
	assert_int_equal(json_opt_int(o, "", "n", 0, 9, &value, &e), 0);
	assert_int_equal(json_opt_int(o, "", "no", 0, 9, &value, &e), 0);
	assert_int_equal(value, 42);
	assert_int_equal(json_opt_bool(o, "", "no", &flag, &e), 0);
	assert_false(flag);
	assert_int_equal(json_opt_bool(o, "", "i", &flag, &e), -VAN_E_INVALID);
	assert_int_equal(json_opt_bool(o, "", "b", &flag, &e), 0);
	assert_true(flag);
	json_object_put(o);
}

static void test_containers_and_pointers(void **state)
{
	struct json_object *o = parse("{\"o\":{},\"a\":[],\"x/y~z\":1}");
	struct json_object *array = parse("[]"), *member;
	const char *text;
	struct err e;

	(void)state;
	assert_int_equal(json_get_object(o, "", "o", &member, &e), 0);
	assert_int_equal(json_get_array(o, "", "a", &member, &e), 0);
	assert_int_equal(json_get_object(o, "", "a", &member, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/a: must be an object");
	assert_int_equal(json_get_array(o, "", "o", &member, &e), -VAN_E_INVALID);
	assert_int_equal(json_get_array(o, "", "no", &member, &e), -VAN_E_INVALID);
	/* RFC 6901 escapes. */
	assert_int_equal(json_get_string(o, "", "x/y~z", 1, 1, &text, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/x~1y~0z: must be a string");
	/* What is no object at all. */
	assert_int_equal(json_get_string(array, "", "s", 1, 1, &text, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "the document must be an object");
	assert_int_equal(json_get_string(array, "/items/0", "s", 1, 1, &text, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/items/0: must be an object");
	assert_int_equal(json_opt_string(NULL, "", "s", 1, 1, &text, &e), -VAN_E_INVALID);
	json_object_put(array);
	json_object_put(o);
}

static void test_builders(void **state)
{
	struct json_object *o = json_object_new_object();

	(void)state;
	json_set_string(o, "s", "x");
	json_set_string(o, "n", NULL);
	json_set_int(o, "i", INT64_MIN);
	json_set_bool(o, "b", true);
	assert_string_equal(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
		"{\"s\":\"x\",\"n\":null,\"i\":-9223372036854775808,\"b\":true}");
	json_object_put(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepts_each_kind_of_value),
		cmocka_unit_test(test_rejects),
		cmocka_unit_test(test_place_of_an_error),
		cmocka_unit_test(test_duplicate_keys),
		cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_ints_and_bools),
		cmocka_unit_test(test_containers_and_pointers),
		cmocka_unit_test(test_builders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
