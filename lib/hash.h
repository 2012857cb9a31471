/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 and HMAC-SHA256 over several pieces at once (libsodium), and hexadecimal. */
#ifndef LIB_HASH_H
#define LIB_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_LEN 32

struct hash_piece {
	const void *data;
	size_t len;
};

#define HASH_PIECES(...)                          \
	(const struct hash_piece[]){__VA_ARGS__}, \
		sizeof((const struct hash_piece[]){__VA_ARGS__}) / sizeof(struct hash_piece)

/* SHA-256 (FIPS 180-4) of the concatenation of the n pieces. */
void hash_sha256(const struct hash_piece *pieces, size_t n, uint8_t ret_hash[HASH_LEN]);

/* HMAC-SHA256 (RFC 2104) of the concatenation of the n pieces under a key of any length. */
void hash_hmac(const void *key, size_t key_len, const struct hash_piece *pieces, size_t n,
	uint8_t ret_mac[HASH_LEN]);

/* Lower-case hexadecimal; ret_text holds 2·len + 1 bytes. */
void hash_hex(const void *data, size_t len, char *ret_text);

/* The value of a hexadecimal digit (either case), or -1. */
int hash_hex_digit(char c);
/* Parses exactly 2·len hexadecimal digits (either case). False if text is anything else. */
bool hash_unhex(const char *text, void *ret_data, size_t len);

#endif
