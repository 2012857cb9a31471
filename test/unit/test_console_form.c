/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "console-api/form.h"
#include "lib/cleanup.h"
#include "lib/json.h"

static struct json_object *parse(const char *text)
{
	struct json_object *o = NULL;
	struct err e;

	if (json_parse(text, strlen(text), &o, &e))
		fail_msg("%s: %s", text, e.text);
	return o;
}

/* The pointers of a problem, with a space between. */
static void assert_pointers(const struct problem *p, const char *want)
{
	char have[512] = "";

	for (size_t i = 0; i < p->error_count; i++)
		snprintf(have + strlen(have), sizeof(have) - strlen(have), "%s%s", i ? " " : "",
			p->errors[i].pointer);
	assert_string_equal(have, want);
	assert_int_equal(p->status, p->error_count ? 400 : 0);
}

static void all_that_is_wrong_is_named(void **state)
{
	CLEANUP(json)
	struct json_object *o = parse(
		"{\"name\":\"Big\",\"n\":11,\"flag\":1,\"word\":\"c\",\"ip\":\"1.2.3.4/8\",\"cidr\":\"x\","
		"\"when\":\"2023-02-29T00:00:00Z\",\"a/b~c\":1,\"line\":\"a\\nb\"}");
	static const char *const words[] = {"a", "b", NULL};
	char name[NETMAP_NAME_MAX + 1], line[10];
	struct problem p = {0};
	struct cidr cidr;
	struct ip ip;
	int64_t n, when;
	size_t word;
	bool flag;
	struct form f;

	(void)state;
	form_init(&f, o, &p);
	assert_false(form_name(&f, "name", FORM_REQUIRED, name));
	assert_false(form_int(&f, "n", FORM_OPTIONAL, 1, 10, &n));
	assert_false(form_bool(&f, "flag", FORM_OPTIONAL, &flag));
	assert_false(form_word(&f, "word", FORM_OPTIONAL, words, &word));
	assert_false(form_ip(&f, "ip", FORM_OPTIONAL, &ip));
	assert_false(form_cidr(&f, "cidr", FORM_OPTIONAL, AF_UNSPEC, &cidr));
	assert_false(form_time(&f, "when", FORM_OPTIONAL, &when));
	assert_false(form_line(&f, "line", FORM_OPTIONAL, line, sizeof(line)));
	assert_false(form_line(&f, "missing", FORM_REQUIRED, line, sizeof(line)));
	assert_int_equal(form_end(&f), -VAN_E_INVALID);
	assert_pointers(&p, "/name /n /flag /word /ip /cidr /when /line /missing /a~1b~0c");
	assert_non_null(strstr(p.errors[3].detail, "\"a\", \"b\""));
	assert_non_null(strstr(p.errors[9].detail, "allowed: name, n, flag"));
}

static void what_is_right_is_read(void **state)
{
	CLEANUP(json)
	struct json_object *o = parse(
		"{\"name\":\"web-1\",\"n\":10,\"flag\":true,\"word\":\"b\",\"ip\":\"fd00::1\","
		"\"cidr\":\"10.0.0.0/8\",\"none\":null,"
		"\"when\":\"2024-02-29T23:59:59Z\",\"line\":\"caf\xc3\xa9\"}");
	static const char *const words[] = {"a", "b", NULL};
	char name[NETMAP_NAME_MAX + 1], line[10];
	struct problem p = {0};
	int64_t n = 0, when = 0, untouched = 7;
	size_t word = 0;
	bool flag = false;
	struct cidr cidr;
	struct ip ip;
	struct form f;

	(void)state;
	form_init(&f, o, &p);
	assert_true(form_name(&f, "name", FORM_REQUIRED, name));
	assert_true(form_int(&f, "n", FORM_REQUIRED, 1, 10, &n));
	assert_true(form_bool(&f, "flag", FORM_REQUIRED, &flag));
	assert_true(form_word(&f, "word", FORM_REQUIRED, words, &word));
	assert_true(form_ip(&f, "ip", FORM_REQUIRED, &ip));
	assert_true(form_cidr(&f, "cidr", FORM_REQUIRED, AF_INET, &cidr));
	assert_true(form_time(&f, "when", FORM_REQUIRED, &when));
	assert_true(form_line(&f, "line", FORM_REQUIRED, line, sizeof(line)));
	assert_false(form_int(&f, "none", FORM_OPTIONAL, 0, 1, &untouched));
	assert_false(form_has(&f, "none"));
	assert_true(form_has(&f, "n"));
	assert_int_equal(form_end(&f), 0);
	assert_pointers(&p, "");
	assert_string_equal(name, "web-1");
	assert_int_equal(n, 10);
	assert_true(flag);
	assert_int_equal(word, 1);
	assert_int_equal(ip.family, AF_INET6);
	assert_int_equal(cidr.prefix, 8);
	assert_int_equal(when, 1709251199);
	assert_string_equal(line, "caf\xc3\xa9");
	assert_int_equal(untouched, 7);
}

static void times(void **state)
{
	static const char *const bad[] = {"", "2024", "2024-01-01T00:00:00", "2024-01-01 00:00:00Z",
		"2024-13-01T00:00:00Z", "2024-00-01T00:00:00Z", "2024-04-31T00:00:00Z",
		"2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:60Z",
		"1969-12-31T23:59:59Z", "1900-02-29T00:00:00Z", "2024-01-01T00:00:00+00:00",
		"2024-01-01T00:00:00Zx", "+024-01-01T00:00:00Z"};
	static const struct {
		const char *text;
		int64_t s;
	} good[] = {{"1970-01-01T00:00:00Z", 0}, {"2000-02-29T12:00:00Z", 951825600},
		{"2000-03-01T00:00:00Z", 951868800}, {"2026-12-31T23:59:59Z", 1798761599},
		{"9999-12-31T23:59:59Z", 253402300799}};
	int64_t s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (form_parse_time(bad[i], &s))
			fail_msg("\"%s\" is taken", bad[i]);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(form_parse_time(good[i].text, &s));
		assert_int_equal(s, good[i].s);
	}
}

static void what_is_nested(void **state)
{
	CLEANUP(json)
	struct json_object *o =
		parse("{\"peer\":{\"n\":0,\"x\":1},\"list\":[{\"n\":5},{\"n\":50},7],"
		      "\"words\":[\"a\",\"\",3],\"long\":[1,2,3],\"no\":5}");
	struct json_object *array;
	struct form f, child;
	struct problem p = {0};
	const char *text;
	int64_t n;

	(void)state;
	form_init(&f, o, &p);
	assert_true(form_child(&f, "peer", FORM_REQUIRED, &child));
	form_int(&child, "n", FORM_REQUIRED, 1, 9, &n);
	assert_int_equal(form_end(&child), -VAN_E_INVALID);
	assert_true(form_array(&f, "list", FORM_REQUIRED, 3, &array));
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct form item;

		if (!form_item(&f, "list", i, &item))
			continue;
		form_int(&item, "n", FORM_REQUIRED, 1, 9, &n);
		form_end(&item);
	}
	assert_true(form_array(&f, "words", FORM_REQUIRED, 9, &array));
	assert_true(form_item_string(&f, "words", 0, 5, &text));
	assert_string_equal(text, "a");
	assert_false(form_item_string(&f, "words", 1, 5, &text));
	assert_false(form_item_string(&f, "words", 2, 5, &text));
	assert_false(form_array(&f, "long", FORM_REQUIRED, 2, &array));
	assert_false(form_child(&f, "no", FORM_REQUIRED, &child));
	assert_int_equal(form_end(&f), -VAN_E_INVALID);
	assert_pointers(&p, "/peer/n /peer/x /list/1/n /list/2 /words/1 /words/2 /long /no");
}

static void labels(void **state)
{
	static const struct {
		const char *text, *pointers;
	} cases[] = {
		{"{}", ""},
		{"{\"a\":\"\",\"a.b/c_d-e\":\"x y\"}", ""},
		{"{\"A\":\"x\",\"\":\"x\",\"-a\":\"x\",\"a-\":\"x\",\"a b\":\"x\"}",
			"/labels/A /labels/ /labels/-a /labels/a- /labels/a b"},
		{"{\"a\":1,\"b\":null,\"c\":\"x,y\",\"d\":\"\\n\",\"e\":{}}",
			"/labels/a /labels/b /labels/c /labels/d /labels/e"},
		{"[]", "/labels"},
	};
	char many[1000] = "{";

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(json) struct json_object *o = json_object_new_object();
		struct json_object *got = NULL;
		struct problem p = {0};
		struct form f;

		json_object_object_add(o, "labels", parse(cases[i].text));
		form_init(&f, o, &p);
		form_labels(&f, "labels", &got);
		assert_int_equal(!form_end(&f), !cases[i].pointers[0]);
		assert_pointers(&p, cases[i].pointers);
		assert_int_equal(got != NULL, !cases[i].pointers[0]);
	}
	for (int i = 0; i < FORM_LABELS_MAX + 1; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "%s\"k%d\":\"\"",
			i ? "," : "", i);
	strcat(many, "}");
	CLEANUP(json) struct json_object *o = json_object_new_object();
	struct json_object *got = NULL;
	struct problem p = {0};
	struct form f;

	json_object_object_add(o, "labels", parse(many));
	form_init(&f, o, &p);
	assert_false(form_labels(&f, "labels", &got));
	assert_int_equal(form_end(&f), -VAN_E_INVALID);
	assert_pointers(&p, "/labels");
}

static void a_body_that_is_none(void **state)
{
	CLEANUP(json) struct json_object *array = parse("[1]");
	struct problem p = {0};
	struct form f;

	(void)state;
	form_init(&f, NULL, &p);
	assert_false(form_has(&f, "x"));
	assert_int_equal(form_end(&f), 0);
	form_init(&f, array, &p);
	assert_false(form_has(&f, "x"));
	assert_int_equal(form_end(&f), -VAN_E_INVALID);
	assert_int_equal(p.error_count, 1);
	assert_string_equal(p.errors[0].pointer, "");
}

/* Neither the number of errors nor the length of names breaks anything. */
static void hostile_bodies(void **state)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	char name[2000];
	struct problem p = {0};
	struct form f;

	(void)state;
	for (int i = 0; i < 100; i++) {
		memset(name, i % 2 ? '/' : 'x', sizeof(name) - 1);
		snprintf(name + sizeof(name) - 8, 8, "%d", i);
		json_object_object_add(o, name, json_object_new_int(i));
	}
	form_init(&f, o, &p);
	assert_int_equal(form_end(&f), -VAN_E_INVALID);
	assert_int_equal(p.error_count, PROBLEM_ERRORS_MAX);
	for (size_t i = 0; i < p.error_count; i++)
		assert_true(strlen(p.errors[i].pointer) < PROBLEM_POINTER_MAX);
	CLEANUP(json) struct json_object *document = problem_to_json(&p, "");

	assert_int_equal(json_object_array_length(json_object_object_get(document, "errors")),
		PROBLEM_ERRORS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_is_wrong_is_named),
		cmocka_unit_test(what_is_right_is_read),
		cmocka_unit_test(times),
		cmocka_unit_test(what_is_nested),
		cmocka_unit_test(labels),
		cmocka_unit_test(a_body_that_is_none),
		cmocka_unit_test(hostile_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
