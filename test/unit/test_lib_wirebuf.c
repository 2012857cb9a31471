/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "lib/wirebuf.h"

static void test_reads_in_order(void **state)
{
	static const uint8_t bytes[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
		0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x78, 0x56, 0x34, 0xf2};
	struct wire_reader r = wire_reader(bytes, sizeof(bytes));

	(void)state;
	assert_int_equal(wire_get_u8(&r), 0x01);
	assert_int_equal(wire_get_be16(&r), 0x0203);
	assert_int_equal(wire_get_be32(&r), 0x04050607);
	assert_int_equal(wire_left(&r), 12);
	assert_true(wire_get_be64(&r) == 0x08090a0b0c0d0e0full);
	assert_false(wire_done(&r));
	assert_int_equal(wire_get_le32(&r), 0xf2345678);
	assert_true(wire_done(&r));
}

static void test_short_read_is_zero_and_sticky(void **state)
{
	static const uint8_t bytes[] = {0xff, 0xff, 0xff};
	struct wire_reader r = wire_reader(bytes, sizeof(bytes));
	uint8_t copy[4] = {1, 2, 3, 4};

	(void)state;
	assert_int_equal(wire_get_be32(&r), 0);
	assert_int_equal(wire_left(&r), 3);   /* nothing was taken */
	assert_int_equal(wire_get_u8(&r), 0); /* would fit, but it is too late */
	wire_get(&r, copy, 2);
	assert_memory_equal(copy, "\0\0\3\4", 4);
	assert_null(wire_take(&r, 1));
	assert_true(wire_get_be64(&r) == 0);
	assert_false(wire_done(&r));
}

static void test_half_of_a_64_bit_number(void **state)
{
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7};
	struct wire_reader r = wire_reader(bytes, sizeof(bytes));

	(void)state;
	wire_get_be64(&r);
	assert_true(r.failed);
	assert_false(wire_done(&r));
}

static void test_take_points_into_the_buffer(void **state)
{
	uint8_t bytes[10] = {0};
	struct wire_reader r = wire_reader(bytes, sizeof(bytes));

	(void)state;
	assert_ptr_equal(wire_take(&r, 4), bytes);
	assert_ptr_equal(wire_take(&r, 0), bytes + 4);
	assert_ptr_equal(wire_take(&r, 6), bytes + 4);
	assert_true(wire_done(&r));
	assert_non_null(wire_take(&r, 0));
	assert_null(wire_take(&r, SIZE_MAX));
	assert_false(wire_done(&r));
}

static void test_empty(void **state)
{
	struct wire_reader r = wire_reader("", 0);
	struct wire_writer w = wire_writer(NULL, 0);

	(void)state;
	assert_true(wire_done(&r));
	wire_put(&w, "", 0);
	assert_false(w.failed);
	wire_put_u8(&w, 1);
	assert_true(w.failed);
	assert_int_equal(wire_written(&w), 0);
}

static void test_writes_what_is_read(void **state)
{
	uint8_t bytes[1 + 2 + 4 + 8 + 4];
	struct wire_writer w = wire_writer(bytes, sizeof(bytes));
	struct wire_reader r;

	(void)state;
	wire_put_u8(&w, 0xab);
	wire_put_be16(&w, 0xcdef);
	wire_put_be32(&w, 0x01234567);
	wire_put_be64(&w, 0x89abcdef01234567ull);
	wire_put_le32(&w, 0xdeadbeef);
	assert_false(w.failed);
	assert_int_equal(wire_written(&w), sizeof(bytes));
	assert_memory_equal(bytes, "\xab\xcd\xef\x01\x23\x45\x67", 7);
	assert_memory_equal(bytes + 15, "\xef\xbe\xad\xde", 4);
	r = wire_reader(bytes, sizeof(bytes));
	assert_int_equal(wire_get_u8(&r), 0xab);
	assert_int_equal(wire_get_be16(&r), 0xcdef);
	assert_int_equal(wire_get_be32(&r), 0x01234567);
	assert_true(wire_get_be64(&r) == 0x89abcdef01234567ull);
	assert_int_equal(wire_get_le32(&r), 0xdeadbeef);
	assert_true(wire_done(&r));
}

static void test_full_writer_touches_nothing(void **state)
{
	uint8_t bytes[4] = {0, 0, 9, 9};
	struct wire_writer w = wire_writer(bytes, 2);

	(void)state;
	wire_put_u8(&w, 7);
	wire_put_be16(&w, 0xffff);
	assert_true(w.failed);
	wire_put_u8(&w, 8); /* would fit, but it is too late */
	assert_null(wire_reserve(&w, 1));
	assert_memory_equal(bytes, "\7\0\11\11", 4);
	assert_int_equal(wire_written(&w), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_in_order),
		cmocka_unit_test(test_short_read_is_zero_and_sticky),
		cmocka_unit_test(test_half_of_a_64_bit_number),
		cmocka_unit_test(test_take_points_into_the_buffer),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_writes_what_is_read),
		cmocka_unit_test(test_full_writer_touches_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
