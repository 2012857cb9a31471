// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vanctl/duration.h"

static void reads_what_people_write(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
		{"500ms", 500},
		{"30s", 30000},
		{"5m", 300000},
		{"1h", 3600000},
		{"7d", 604800000},
		{"1h30m", 5400000},
		{"1m5s250ms", 65250},
		{"1.5s", 1500},
		{"0.2s", 200},
		{"0.001s", 1},
		{"1.50h", 5400000},
		{"10", 10000},
		{"0.25", 250},
		{"0", 0},
		{"0s", 0},
		{"1.000000s", 1000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = -1;

		if (!duration_parse(cases[i].text, &ms) || ms != cases[i].ms)
			fail_msg("%s gives %lld", cases[i].text, (long long)ms);
	}
}

static void refuses_the_rest(void **state)
{
	static const char *const cases[] = {"", " ", "s", "5x", "5 s", "-1s", "+1s", "1h30", "30s ",
		" 30s", "1.s", ".5s", "1..5s", "0.0001s", "1.5ms", "1e3s", "0x10s", "1hh", "5M",
		"99999999999999999999s", "9223372036854775807d", "9223372036854775807",
		"9223372036854775807ms1ms", "\xc2\xb5s"};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = 42;

		if (duration_parse(cases[i], &ms))
			fail_msg("'%s' is taken", cases[i]);
		assert_int_equal(ms, 42);
	}
}

static void prints_what_it_reads(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {
		{0, "0s"},
		{1, "1ms"},
		{250, "250ms"},
		{1000, "1s"},
		{90000, "90s"},
		{300000, "5m"},
		{3600000, "1h"},
		{86400000, "1d"},
		{86400001, "86400001ms"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[32];
		int64_t ms;

		duration_format(cases[i].ms, text);
		assert_string_equal(text, cases[i].text);
		assert_true(duration_parse(text, &ms));
		assert_int_equal(ms, cases[i].ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_people_write),
		cmocka_unit_test(refuses_the_rest),
		cmocka_unit_test(prints_what_it_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
