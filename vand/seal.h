/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing and opening of DATA messages: AES-256-GCM and AES-256-GMAC (NIST SP 800-38D) with the
 * 12-byte nonce salt XOR (0,0,0 ‖ lane ‖ counter). One small table of back ends, all of which give
 * the same bytes: libipsec-mb, libsodium, OpenSSL.
 */
#ifndef VAND_SEAL_H
#define VAND_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vand/message.h"

#define SEAL_KEY_LEN  32
#define SEAL_SALT_LEN 12

/* Room for the largest expanded key of a back end; checked by static_asserts in each. */
#define SEAL_STATE_LEN 2304

/* One direction's key, expanded. Lives in the locked arena (vand/keyarena.h). Read-only once made,
 * so several threads may use it at once. */
struct seal_key {
	_Alignas(64) uint8_t state[SEAL_STATE_LEN];
	uint8_t salt[SEAL_SALT_LEN];
};

struct seal_backend {
	const char *name; /* "ipsec-mb" | "sodium" | "openssl" */
	/* False where the CPU or the build lacks what it takes. */
	bool (*usable)(void);
	/* Expands a key. 0 or -errno. */
	int (*expand)(uint8_t state[SEAL_STATE_LEN], const uint8_t key[SEAL_KEY_LEN]);
	/* Releases what expand() allocated beyond the state; NULL where it allocates nothing. */
	void (*release)(uint8_t state[SEAL_STATE_LEN]);
	/* Encrypts len bytes from src to dst (equal or disjoint; src may also overlap from behind
	 * as long as dst is a different buffer) and makes the tag over ad and ciphertext. */
	void (*encrypt)(const uint8_t state[SEAL_STATE_LEN], const uint8_t nonce[12],
		const uint8_t *ad, size_t ad_len, const uint8_t *src, size_t len, uint8_t *dst,
		uint8_t ret_tag[MESSAGE_TAG_LEN]);
	/* Decrypts in place. True when the tag is right; it is compared in constant time. When it
	 * is not, the buffer's contents are undefined and must not be looked at. */
	bool (*decrypt)(const uint8_t state[SEAL_STATE_LEN], const uint8_t nonce[12],
		const uint8_t *ad, size_t ad_len, uint8_t *data, size_t len,
		const uint8_t tag[MESSAGE_TAG_LEN]);
};

/* The usable back ends, best first; NULL-terminated. Prefer by measured speed. */
const struct seal_backend *const *seal_backends(void);

/* By name, or the best one for NULL; NULL if there is no such or it is not usable. */
const struct seal_backend *seal_backend_find(const char *name);

/* 0 or -errno; *ret_key is then to be released with seal_key_done(), which also wipes it. */
int seal_key_init(const struct seal_backend *backend, struct seal_key *ret_key,
	const uint8_t key[SEAL_KEY_LEN], const uint8_t salt[SEAL_SALT_LEN]);
void seal_key_done(const struct seal_backend *backend, struct seal_key *key);

/*
 * Seals plain (inner header and frame, plain_len bytes) into a complete DATA message at dst:
 * header, ciphertext (or, in MESSAGE_MODE_GMAC, clear text), tag. dst has room for
 * sizeof(struct message_data) + plain_len + MESSAGE_TAG_LEN bytes and does not overlap plain.
 * The caller owns lane and counter and never uses a pair twice with one key. Returns the length of
 * the message.
 */
size_t seal_frame(const struct seal_backend *backend, const struct seal_key *key,
	enum message_mode mode, uint8_t lane, uint32_t receiver, uint64_t counter,
	const uint8_t *plain, size_t plain_len, uint8_t *dst);

/*
 * Opens a DATA message of len bytes in place: afterwards its plain text (inner header and frame)
 * stands at msg + sizeof(struct message_data), len - sizeof(struct message_data) -
 * MESSAGE_TAG_LEN bytes of it. False when the tag does not fit (contents are then undefined, and
 * must not be looked at), when the mode is unknown or the message too short.
 */
bool open_frame(
	const struct seal_backend *backend, const struct seal_key *key, uint8_t *msg, size_t len);

/* 128-bit blocks that a message counts for towards a key's limits: its plain text, and one. */
static inline uint64_t seal_blocks(size_t plain_len)
{
	return (plain_len + 15) / 16 + 1;
}

#endif
