/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "lib/agenthello.h"

static void round_trip(void **state)
{
	const struct agenthello hello = {.version = "0.2.0-rc1+x",
		.protocol = 2,
		.instance = 0x0123456789abcdef,
		.start = 17};
	char text[AGENTHELLO_TEXT_MAX];
	struct agenthello back;

	(void)state;
	agenthello_format(&hello, text);
	assert_string_equal(
		text, "version=0.2.0-rc1+x,protocol=2,instance=0123456789abcdef,start=17");
	assert_int_equal(agenthello_parse(text, &back), 0);
	assert_string_equal(back.version, hello.version);
	assert_int_equal(back.protocol, 2);
	assert_true(back.instance == hello.instance);
	assert_int_equal(back.start, 17);
}

static void longest(void **state)
{
	struct agenthello hello = {
		.protocol = UINT32_MAX, .instance = UINT64_MAX, .start = INT64_MAX};
	char text[AGENTHELLO_TEXT_MAX];

	(void)state;
	memset(hello.version, 'v', AGENTHELLO_VERSION_MAX);
	agenthello_format(&hello, text);
	assert_int_equal(agenthello_parse(text, &hello), 0);
	assert_int_equal(strlen(hello.version), AGENTHELLO_VERSION_MAX);
}

static void further_fields_are_ignored(void **state)
{
	struct agenthello hello;

	(void)state;
	assert_int_equal(agenthello_parse("version=1.2,protocol=3,instance=00000000000000ff,"
					  "start=0,colour=blue",
				 &hello),
		0);
	assert_true(hello.instance == 255);
}

static void wrong_ones(void **state)
{
	static const char *const texts[] = {"", "version=1.2",
		"version=,protocol=1,instance="
		"0123456789abcdef,start=1",
		"protocol=1,version=1.2,instance=0123456789abcdef,start=1",
		"version=1.2,protocol=0,instance=0123456789abcdef,start=1",
		"version=1.2,protocol=-1,instance=0123456789abcdef,start=1",
		"version=1.2,protocol=4294967296,instance=0123456789abcdef,start=1",
		"version=1.2,protocol=1,instance=0123456789abcde,start=1",
		"version=1.2,protocol=1,instance=0123456789abcdeg,start=1",
		"version=1.2,protocol=1,instance=0123456789abcdef0,start=1",
		"version=1.2,protocol=1,instance=0000000000000000,start=1",
		"version=1.2,protocol=1,instance=0123456789abcdef,start=",
		"version=1.2,protocol=1,instance=0123456789abcdef,start= 1",
		"version=1.2,protocol=1,instance=0123456789abcdef,start=9223372036854775808",
		"version=1.2,protocol=1,instance=0123456789abcdef",
		"version=1 2,protocol=1,instance=0123456789abcdef,start=1",
		"version=1\n2,protocol=1,instance=0123456789abcdef,start=1",
		"version=12345678901234567890123456789012345678901234567890123456789012345,"
		"protocol=1,instance=0123456789abcdef,start=1"};
	struct agenthello hello = {.protocol = 77};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (agenthello_parse(texts[i], &hello) != -VAN_E_SYNTAX)
			fail_msg("%s", texts[i]);
		assert_int_equal(hello.protocol, 77);
	}
}

static void one_minor_release_either_way(void **state)
{
	(void)state;
	assert_true(agenthello_fits("0.2.0", "0.2.0"));
	assert_true(agenthello_fits("0.2.0", "0.1"));
	assert_true(agenthello_fits("0.2.9", "0.3.0-rc1"));
	assert_true(agenthello_fits("10.99.0", "10.100.3"));
	assert_false(agenthello_fits("0.2.0", "0.4.0"));
	assert_false(agenthello_fits("0.4.0", "0.2.0"));
	assert_false(agenthello_fits("1.0.0", "0.9.0"));
	assert_false(agenthello_fits("1.0.0", "2.0.0"));
	for (int i = 0; i < 2; i++) {
		static const char *const none[] = {"", "1", "1.", "x.1", "1.x", "-1.1", "1.-1",
			" 1.1", "99999999999999999999.1", "1.99999999999999999999"};

		for (size_t k = 0; k < sizeof(none) / sizeof(none[0]); k++) {
			assert_false(agenthello_fits(i ? none[k] : "1.1", i ? "1.1" : none[k]));
			assert_false(agenthello_fits(none[k], none[k]));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(longest),
		cmocka_unit_test(further_fields_are_ignored),
		cmocka_unit_test(wrong_ones),
		cmocka_unit_test(one_minor_release_either_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
