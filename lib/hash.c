/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/hash.h"

#include <sodium.h>
#include <string.h>

void hash_sha256(const struct hash_piece *pieces, size_t n, uint8_t ret_hash[HASH_LEN])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	for (size_t i = 0; i < n; i++)
		crypto_hash_sha256_update(&state, pieces[i].data, pieces[i].len);
	crypto_hash_sha256_final(&state, ret_hash);
	sodium_memzero(&state, sizeof(state));
}

void hash_hmac(const void *key, size_t key_len, const struct hash_piece *pieces, size_t n,
	uint8_t ret_mac[HASH_LEN])
{
	crypto_auth_hmacsha256_state state;

	crypto_auth_hmacsha256_init(&state, key, key_len);
	for (size_t i = 0; i < n; i++)
		crypto_auth_hmacsha256_update(&state, pieces[i].data, pieces[i].len);
	crypto_auth_hmacsha256_final(&state, ret_mac);
	sodium_memzero(&state, sizeof(state));
}

void hash_hex(const void *data, size_t len, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++) {
		ret_text[2 * i] = digits[p[i] >> 4];
		ret_text[2 * i + 1] = digits[p[i] & 15];
	}
	ret_text[2 * len] = '\0';
}

int hash_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hash_unhex(const char *text, void *ret_data, size_t len)
{
	uint8_t *p = ret_data;

	for (size_t i = 0; i < 2 * len; i++) {
		if (hash_hex_digit(text[i]) < 0) /* the NUL of a short text, too */
			return false;
	}
	if (text[2 * len] != '\0')
		return false;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(hash_hex_digit(text[2 * i]) << 4 |
				 hash_hex_digit(text[2 * i + 1]));
	return true;
}
