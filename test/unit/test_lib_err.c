/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "lib/err.h"

static void test_set_formats_and_returns_code(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_set(&e, -VAN_E_DENIED, "no %s for %d", "way", 7), -VAN_E_DENIED);
	assert_int_equal(e.code, -VAN_E_DENIED);
	assert_string_equal(e.text, "no way for 7");
	assert_int_equal(err_set(NULL, -ENOENT, "lost %d", 1), -ENOENT);
}

static void test_set_keeps_errno(void **state)
{
	struct err e;

	(void)state;
	errno = EXDEV;
	err_set(&e, -EIO, "%s", "x");
	assert_int_equal(errno, EXDEV);
	err_prefix(&e, -EIO, "%s", "x");
	assert_int_equal(errno, EXDEV);
}

static void test_text_is_one_printable_line(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, -EIO, "a\nb\tc\x1b[31m\x7f|\xc2\x9b|\xff\xfe|\xc3\xa9");
	assert_string_equal(e.text, "a b c [31m |  |?\?|\xc3\xa9");
}

static void test_long_text_is_cut_between_characters(void **state)
{
	char many[2000];
	struct err e;

	(void)state;
	/* Two bytes each: with one letter in front the cut would fall inside of one. */
	for (size_t i = 0; i < sizeof(many) - 1; i += 2)
		memcpy(many + i, "\xc3\xa9", 2);
	many[1998] = '\0';
	err_set(&e, -EIO, "%s", many);
	assert_int_equal(strlen(e.text), 510);
	err_set(&e, -EIO, "x%s", many);
	assert_int_equal(strlen(e.text), 511);
	err_set(&e, -EIO, "x%s", "");
	assert_string_equal(e.text, "x");
	/* A sequence that never gets its end is not kept either. */
	err_set(&e, -EIO, "x\xe2\x82");
	assert_string_equal(e.text, "x");
}

static void test_arguments_may_be_the_error_itself(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, -EIO, "inner");
	err_set(&e, -VAN_E_CONFIG, "outer (%s)", e.text);
	assert_string_equal(e.text, "outer (inner)");
	assert_int_equal(e.code, -VAN_E_CONFIG);
}

static void test_prefix(void **state)
{
	char many[1000];
	struct err e;

	(void)state;
	err_set(&e, -ENOENT, "no such file");
	assert_int_equal(err_prefix(&e, -EIO, "reading %s", "x.conf"), -ENOENT);
	assert_string_equal(e.text, "reading x.conf: no such file");
	assert_int_equal(err_prefix(NULL, -EIO, "reading"), -EIO);

	memset(many, 'm', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	err_prefix(&e, -EIO, "%s", many);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	err_set(&e, -EIO, "%s", many);
	err_prefix(&e, -EIO, "first");
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_memory_equal(e.text, "first: mmm", 10);
}

static void test_every_code_has_a_name(void **state)
{
	(void)state;
	for (int code = VAN_E_BASE + 1; code <= VAN_E_CORRUPT; code++) {
		assert_null(strstr(err_name(-code), "error "));
		for (int other = VAN_E_BASE + 1; other < code; other++)
			assert_string_not_equal(err_name(-code), err_name(-other));
	}
	assert_string_equal(err_name(-ENOENT), "No such file or directory");
	assert_string_equal(err_name(0), "success");
	assert_string_equal(err_name(-9999), "error -9999");
	assert_string_equal(err_name(-VAN_E_BASE), "error -4096");
	assert_string_equal(err_name(-4000), "error -4000");
	assert_string_equal(err_name(12), "error 12");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_formats_and_returns_code),
		cmocka_unit_test(test_set_keeps_errno),
		cmocka_unit_test(test_text_is_one_printable_line),
		cmocka_unit_test(test_long_text_is_cut_between_characters),
		cmocka_unit_test(test_arguments_may_be_the_error_itself),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_every_code_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
