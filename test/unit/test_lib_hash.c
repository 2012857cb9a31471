/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "lib/hash.h"

static void check_sha256(const struct hash_piece *pieces, size_t n, const char *expected)
{
	uint8_t hash[HASH_LEN];
	char text[2 * HASH_LEN + 1];

	hash_sha256(pieces, n, hash);
	hash_hex(hash, sizeof(hash), text);
	assert_string_equal(text, expected);
}

/* FIPS 180-4's examples. */
static void test_sha256_known_answers(void **state)
{
	(void)state;
	check_sha256(HASH_PIECES({"abc", 3}),
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	check_sha256(HASH_PIECES({"a", 1}, {NULL, 0}, {"", 0}, {"bc", 2}),
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	check_sha256(NULL, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	check_sha256(HASH_PIECES({"abcdbcdecdefdefgefghfghighij", 28},
			     {"hijkijkljklmklmnlmnomnopnopq", 28}),
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* RFC 4231, test cases 2 and 6 (a key longer than the block). */
static void test_hmac_known_answers(void **state)
{
	uint8_t mac[HASH_LEN], long_key[131];
	char text[2 * HASH_LEN + 1];

	(void)state;
	hash_hmac("Jefe", 4, HASH_PIECES({"what do ya want ", 16}, {"for nothing?", 12}), mac);
	hash_hex(mac, sizeof(mac), text);
	assert_string_equal(
		text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(long_key, 0xaa, sizeof(long_key));
	hash_hmac(long_key, sizeof(long_key),
		HASH_PIECES({"Test Using Larger Than Block-Size Key - Hash Key First", 54}), mac);
	hash_hex(mac, sizeof(mac), text);
	assert_string_equal(
		text, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_hex(void **state)
{
	uint8_t bytes[3] = {9, 9, 9};
	char text[7];

	(void)state;
	hash_hex("\x00\xff\x1a", 3, text);
	assert_string_equal(text, "00ff1a");
	hash_hex("", 0, text);
	assert_string_equal(text, "");
	assert_false(hash_unhex("00ff1", bytes, 3));
	assert_false(hash_unhex("00ff1a0", bytes, 3));
	assert_false(hash_unhex("00ff1g", bytes, 3));
	assert_false(hash_unhex("00 f1a", bytes, 3));
	assert_false(hash_unhex("0x001a", bytes, 3));
	assert_false(hash_unhex("", bytes, 3));
	assert_memory_equal(bytes, "\x09\x09\x09", 3); /* untouched on failure */
	assert_true(hash_unhex("00Ff1A", bytes, 3));
	assert_memory_equal(bytes, "\x00\xff\x1a", 3);
	assert_true(hash_unhex("", bytes, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha256_known_answers),
		cmocka_unit_test(test_hmac_known_answers),
		cmocka_unit_test(test_hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
