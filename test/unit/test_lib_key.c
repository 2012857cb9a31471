/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/file.h"
#include "lib/key.h"
#include "test/unit/tmpdir.h"

/* RFC 4648 section 10, and the alphabet's last two characters in both forms. */
static const struct {
	const char *raw;
	const char *text;
	const char *url;
} base64_vectors[] = {
	{"", "", ""},
	{"f", "Zg==", "Zg"},
	{"fo", "Zm8=", "Zm8"},
	{"foo", "Zm9v", "Zm9v"},
	{"foob", "Zm9vYg==", "Zm9vYg"},
	{"fooba", "Zm9vYmE=", "Zm9vYmE"},
	{"foobar", "Zm9vYmFy", "Zm9vYmFy"},
	{"\xfb\xff\xfe", "+//+", "-__-"},
};

static void test_base64_known_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(base64_vectors) / sizeof(base64_vectors[0]); i++) {
		const char *raw = base64_vectors[i].raw;
		char text[16], data[16];
		size_t len = 99;

		assert_int_equal(key_base64_len(strlen(raw)), strlen(base64_vectors[i].text) + 1);
		key_base64(raw, strlen(raw), false, text);
		assert_string_equal(text, base64_vectors[i].text);
		key_base64(raw, strlen(raw), true, text);
		assert_string_equal(text, base64_vectors[i].url);
		assert_int_equal(key_unbase64(base64_vectors[i].text, false, data, 16, &len), 0);
		assert_int_equal(len, strlen(raw));
		assert_memory_equal(data, raw, len);
		assert_int_equal(key_unbase64(base64_vectors[i].url, true, data, 16, &len), 0);
		assert_int_equal(len, strlen(raw));
		assert_memory_equal(data, raw, len);
	}
}

static void test_base64_is_strict(void **state)
{
	static const char *const bad[] = {"Z", "Zg",
		"Zg=", "Zg===", "Zh==", "Zm9=", "Zm9v=", "Zm-v", "Zm_v", " Zm9v", "Zm9v\n",
		"Zm\n9v", "Zm9v Zm9v", "=", "====", "Zg==Zg=="};
	static const char *const bad_url[] = {"Z", "Zh", "Zm9", "Zg==", "Zm+v", "Zm/v", "Zm9v\n"};
	char data[16] = "untouched";
	size_t len = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			key_unbase64(bad[i], false, data, sizeof(data), &len), -VAN_E_SYNTAX);
	for (size_t i = 0; i < sizeof(bad_url) / sizeof(bad_url[0]); i++)
		assert_int_equal(
			key_unbase64(bad_url[i], true, data, sizeof(data), &len), -VAN_E_SYNTAX);
	for (int c = 1; c < 256; c++) {
		const char text[5] = {'Z', 'm', '9', (char)c, '\0'};
		bool digit =
			(c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		uint8_t decoded[3];
		size_t n;

		assert_int_equal(key_unbase64(text, false, decoded, 3, &n) == 0,
			digit || c == '+' || c == '/');
		assert_int_equal(key_unbase64(text, true, decoded, 3, &n) == 0,
			digit || c == '-' || c == '_');
	}
	assert_int_equal(key_unbase64("Zm9vYmFy", false, data, 5, &len), -VAN_E_SYNTAX);
	assert_string_equal(data, "untouched");
	assert_int_equal(len, 77);
	assert_int_equal(key_unbase64("Zm9vYmFy", false, data, 6, &len), 0);
}

static void test_key_text(void **state)
{
	static const char text[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
	struct key k, other = {{0}};
	char again[KEY_TEXT_LEN];

	(void)state;
	assert_true(key_parse(text, &k));
	for (size_t i = 0; i < KEY_LEN; i++)
		assert_int_equal(k.bytes[i], i);
	key_format(&k, again);
	assert_string_equal(again, text);
	assert_false(key_parse("", &other));
	assert_false(key_parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", &other));
	assert_false(key_parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", &other));
	assert_false(key_parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIQ==", &other));
	/* 31 and 33 bytes, each in 44 characters. */
	assert_false(key_parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", &other));
	assert_false(key_parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", &other));
	assert_true(key_is_zero(&other));
	assert_false(key_is_zero(&k));
	assert_false(key_equal(&k, &other));
	other = k;
	assert_true(key_equal(&k, &other));
	other.bytes[31] ^= 0x80;
	assert_false(key_equal(&k, &other));
}

static void check_works(const struct identity *id)
{
	uint8_t signature[KEY_SIGN_LEN], public[KEY_LEN];

	crypto_scalarmult_base(public, id->secret.bytes);
	assert_memory_equal(public, id->public.bytes, KEY_LEN);
	crypto_sign_detached(signature, NULL, (const uint8_t *)"x", 1, id->sign_secret);
	assert_int_equal(crypto_sign_verify_detached(
				 signature, (const uint8_t *)"x", 1, id->sign_public.bytes),
		0);
}

static void test_identity_is_made_once(void **state)
{
	const char *path = tmpdir_file(*state, "identity");
	struct identity first, second, fresh;
	struct err e = {0};
	struct stat st;

	assert_int_equal(identity_load_or_create(path, &first, &e), 0);
	check_works(&first);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(identity_load_or_create(path, &second, &e), 0);
	assert_memory_equal(&first, &second, sizeof(first));
	identity_generate(&fresh);
	check_works(&fresh);
	assert_false(key_equal(&fresh.secret, &first.secret));
	assert_memory_not_equal(fresh.sign_secret, first.sign_secret, KEY_SIGN_LEN);
	/* The two pairs have nothing in common. */
	assert_memory_not_equal(first.secret.bytes, first.sign_secret, KEY_LEN);
	identity_wipe(&first);
	assert_true(sodium_is_zero((const uint8_t *)&first, sizeof(first)));
}

/* Every damage is noticed, and the file stays as it is. */
static void test_damaged_identity(void **state)
{
	const char *path = tmpdir_file(*state, "damaged");
	struct identity id, untouched;
	size_t len, changed_len;
	char *text, *changed;
	struct err e;

	assert_int_equal(identity_load_or_create(path, &id, NULL), 0);
	assert_int_equal(file_read(path, 4096, &text, &len, NULL), 0);
	memset(&untouched, 0x5a, sizeof(untouched));
	for (size_t i = 0; i < 3 * len + 3; i++) {
		char damaged[1024];
		size_t damaged_len = len;

		memcpy(damaged, text, len);
		if (i < 3 * len) /* a bit of a character; 1, 2 and 32 lead to other base64 */
			damaged[i / 3] ^= (char)(i % 3 == 0 ? 1 : i % 3 == 1 ? 2 : 32);
		else if (i == 3 * len) /* the end is missing */
			damaged_len = len / 2;
		else if (i == 3 * len + 1) /* empty, as a full disk leaves it */
			damaged_len = 0;
		else /* something behind it */
			damaged[damaged_len++] = '\0';
		assert_int_equal(file_write_atomic(path, damaged, damaged_len, 0600, NULL), 0);
		id = untouched;
		assert_int_equal(identity_load_or_create(path, &id, &e), -VAN_E_CORRUPT);
		assert_non_null(strstr(e.text, path));
		assert_memory_equal(&id, &untouched, sizeof(id));
		assert_int_equal(file_read(path, 4096, &changed, &changed_len, NULL), 0);
		assert_int_equal(changed_len, damaged_len);
		assert_memory_equal(changed, damaged, damaged_len);
		free(changed);
	}
	free(text);
}

static void test_identity_where_it_cannot_be(void **state)
{
	struct identity id;
	char big[5000];
	struct err e;

	assert_int_equal(
		identity_load_or_create(tmpdir_file(*state, "no/such/dir"), &id, &e), -ENOENT);
	assert_non_null(strstr(e.text, "no/such"));
	assert_int_equal(identity_load_or_create(tmpdir_file(*state, "."), &id, &e), -EISDIR);
	memset(big, 'x', sizeof(big));
	assert_int_equal(
		file_write_atomic(tmpdir_file(*state, "big"), big, sizeof(big), 0600, NULL), 0);
	assert_int_equal(
		identity_load_or_create(tmpdir_file(*state, "big"), &id, &e), -VAN_E_CORRUPT);
}

int main(void)
{
	struct tmpdir dir;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64_known_answers),
		cmocka_unit_test(test_base64_is_strict),
		cmocka_unit_test(test_key_text),
		cmocka_unit_test_prestate(test_identity_is_made_once, &dir),
		cmocka_unit_test_prestate(test_damaged_identity, &dir),
		cmocka_unit_test_prestate(test_identity_where_it_cannot_be, &dir),
	};
	int failed;

	if (sodium_init() < 0)
		return 1;
	tmpdir_make(&dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	tmpdir_remove(&dir);
	return failed;
}
