/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include "lib/hash.h"
#include "lib/key.h"
#include "lib/token.h"

static struct token example(const char *url)
{
	struct token t = {0};

	for (uint8_t i = 0; i < 32; i++) {
		t.pin[i] = i;
		t.secret[i] = (uint8_t)(0xff - i);
	}
	snprintf(t.url, sizeof(t.url), "%s", url);
	return t;
}

/* A token around any bytes, its check correct. */
static void make_raw(const void *body, size_t len, char ret_text[1024])
{
	uint8_t raw[700], check[HASH_LEN];

	memcpy(raw, body, len);
	hash_sha256(HASH_PIECES({raw, len}), check);
	memcpy(raw + len, check, 4);
	strcpy(ret_text, "van1_");
	key_base64(raw, len + 4, true, ret_text + 5);
}

static void expect_error(const char *text, const char *word)
{
	struct token t, untouched;
	struct err e;

	memset(&t, 0x5a, sizeof(t));
	untouched = t;
	if (token_parse(text, &t, &e) != -VAN_E_SYNTAX || !strstr(e.text, word))
		fail_msg("<%s>: %s", text, e.text);
	assert_memory_equal(&t, &untouched, sizeof(t));
	assert_int_equal(token_parse(text, &t, NULL), -VAN_E_SYNTAX);
}

static void test_round_trip(void **state)
{
	struct token t = example("https://console.example:8443"), back;
	char text[TOKEN_TEXT_MAX], padded[TOKEN_TEXT_MAX + 8];

	(void)state;
	token_format(&t, text);
	assert_memory_equal(text, "van1_AAECAwQF", 13);
	assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-"),
		strlen(text));
	memset(&back, 0x5a, sizeof(back));
	assert_int_equal(token_parse(text, &back, NULL), 0);
	assert_memory_equal(&back, &t, sizeof(t));
	snprintf(padded, sizeof(padded), " \n%s\r\n\t", text);
	memset(&back, 0x5a, sizeof(back));
	assert_int_equal(token_parse(padded, &back, NULL), 0);
	assert_memory_equal(&back, &t, sizeof(t));
}

static void test_longest_and_shortest_url(void **state)
{
	char url[TOKEN_URL_MAX + 2], text[TOKEN_TEXT_MAX], longer[1024];
	uint8_t body[64 + TOKEN_URL_MAX + 1];
	struct token t, back;

	(void)state;
	memset(url, 'u', sizeof(url));
	memcpy(url, "https://", 8);
	url[TOKEN_URL_MAX] = '\0';
	t = example(url);
	token_format(&t, text);
	assert_true(strlen(text) < TOKEN_TEXT_MAX);
	assert_int_equal(token_parse(text, &back, NULL), 0);
	assert_memory_equal(&back, &t, sizeof(t));
	memset(body, 'u', sizeof(body));
	memcpy(body + 64, "https://", 8);
	make_raw(body, sizeof(body), longer);
	expect_error(longer, "damaged");
	t = example("https://a");
	token_format(&t, text);
	assert_int_equal(token_parse(text, &back, NULL), 0);
}

static void test_every_change_is_noticed(void **state)
{
	struct token t = example("https://console.example:8443"), back;
	char text[TOKEN_TEXT_MAX], changed[TOKEN_TEXT_MAX + 8];
	size_t len;

	(void)state;
	token_format(&t, text);
	len = strlen(text);
	for (size_t i = 0; i < len; i++) {
		strcpy(changed, text);
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		assert_int_equal(token_parse(changed, &back, NULL), -VAN_E_SYNTAX);
		/* A character that is missing, at the ends as in the middle. */
		memcpy(changed, text, i);
		strcpy(changed + i, text + i + 1);
		assert_int_equal(token_parse(changed, &back, NULL), -VAN_E_SYNTAX);
	}
	strcpy(changed, text);
	strcat(changed, "A");
	assert_int_equal(token_parse(changed, &back, NULL), -VAN_E_SYNTAX);
}

static void test_messages(void **state)
{
	uint8_t body[64 + 64] = {0};
	char text[1024], many[2000];

	(void)state;
	expect_error("", "empty");
	expect_error(" \n", "empty");
	expect_error("van2_AAAA", "not a join token");
	expect_error("https://console", "not a join token");
	expect_error("van1_", "too short");
	expect_error("van1_AAAA", "too short");
	expect_error("van1_AA=A", "damaged");
	expect_error("van1_AA AA", "damaged");
	memset(many, 'A', sizeof(many) - 1);
	memcpy(many, "van1_", 5);
	many[sizeof(many) - 1] = '\0';
	expect_error(many, "too long");
	make_raw(body, 64, text);
	expect_error(text, "too short");
	/* A correct check around what is no address. */
	memcpy(body + 64, "http://console:8443", 19);
	make_raw(body, 64 + 19, text);
	expect_error(text, "https://");
	memcpy(body + 64, "https://", 8);
	make_raw(body, 64 + 8, text);
	expect_error(text, "https://");
	memcpy(body + 64, "https:///x", 10);
	make_raw(body, 64 + 10, text);
	expect_error(text, "https://");
	memcpy(body + 64, "https://a b", 11);
	make_raw(body, 64 + 11, text);
	expect_error(text, "https://");
	memcpy(body + 64, "https://a\0b", 11);
	make_raw(body, 64 + 11, text);
	expect_error(text, "https://");
}

static void test_pin_text(void **state)
{
	struct token t = example("https://a");
	char text[53];

	(void)state;
	token_pin_text(t.pin, text);
	assert_string_equal(text, "sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_longest_and_shortest_url),
		cmocka_unit_test(test_every_change_is_noticed),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_pin_text),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
