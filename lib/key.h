/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's identity: an X25519 pair for sessions and an Ed25519 pair that signs its requests to the
 * registry. Both are generated on the node and never leave it. Text form: base64 (RFC 4648 §4) of
 * the 32 raw bytes.
 */
#ifndef LIB_KEY_H
#define LIB_KEY_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/err.h"

#define KEY_LEN      32
#define KEY_TEXT_LEN 45 /* 44 characters and the NUL */
#define KEY_SIGN_LEN 64 /* Ed25519 secret key in libsodium's form, and a signature */

struct key {
	uint8_t bytes[KEY_LEN];
};

struct identity {
	struct key secret;                 /* X25519 */
	struct key public;                 /* X25519 */
	uint8_t sign_secret[KEY_SIGN_LEN]; /* Ed25519, seed ‖ public */
	struct key sign_public;            /* Ed25519 */
};

/* Fresh pairs from the kernel's generator. sodium_init() must have been called. */
void identity_generate(struct identity *ret_id);

/*
 * Reads the identity from a file, or, when there is none, generates one and writes it (mode 0600,
 * atomically, synced) before returning. -VAN_E_CORRUPT when the file is not an identity: it is
 * never overwritten. The caller wipes *ret_id with identity_wipe().
 */
int identity_load_or_create(const char *path, struct identity *ret_id, struct err *e);
void identity_wipe(struct identity *id);

void key_format(const struct key *k, char ret_text[KEY_TEXT_LEN]);
/* False unless text is exactly one canonical base64 key. */
bool key_parse(const char *text, struct key *ret_key);
/* Constant time. */
bool key_equal(const struct key *a, const struct key *b);
bool key_is_zero(const struct key *k);

/* Base64 of any bytes, with padding; the URL form (RFC 4648 §5) has none. ret_text must hold
 * key_base64_len(len) bytes. */
size_t key_base64_len(size_t len);
void key_base64(const void *data, size_t len, bool url, char *ret_text);
/* Decodes; strict. 0 and *ret_len, or -VAN_E_SYNTAX. */
int key_unbase64(const char *text, bool url, void *ret_data, size_t size, size_t *ret_len);

#endif
