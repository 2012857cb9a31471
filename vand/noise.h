/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Noise protocol framework (revision 34), as much of it as is used: patterns IK and IKpsk2 with
 * 25519, AESGCM and SHA256, both roles. No I/O, no randomness: ephemeral keys come from the caller.
 *
 *   IK:      <- s                     IKpsk2 adds `psk` to the end of the second message;
 *            ...                      `e` then mixes into the key too (§9.2).
 *            -> e, es, s, ss
 *            <- e, ee, se
 *
 * One struct noise is one party's state. After noise_write_1() or noise_read_1() failed, it is
 * spent and only to be wiped; the reading of a second message can be tried on a copy.
 */
#ifndef VAND_NOISE_H
#define VAND_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/hash.h"
#include "lib/key.h"
#include "vand/seal.h"

/* What the two messages add to their payloads. */
#define NOISE_1_OVERHEAD (KEY_LEN + KEY_LEN + MESSAGE_TAG_LEN + MESSAGE_TAG_LEN)
#define NOISE_2_OVERHEAD (KEY_LEN + MESSAGE_TAG_LEN)

struct noise {
	const struct seal_backend *backend;
	bool psk;                  /* IKpsk2 */
	uint8_t hash[HASH_LEN];    /* h: of all that was said; the handshake hash at the end */
	uint8_t chain[HASH_LEN];   /* ck */
	uint8_t key[HASH_LEN];     /* k */
	uint64_t nonce;            /* n */
	struct key ephemeral;      /* secret; the initiator's until message 2 */
	struct key peer_ephemeral; /* public; the responder's view of it */
	struct key peer_static;    /* public */
};

/* Both sides begin with the prologue and the responder's static key, known beforehand. */
void noise_init(struct noise *n, const struct seal_backend *backend, bool psk, const void *prologue,
	size_t prologue_len, const struct key *responder_public);

/*
 * Message 1. out holds len + NOISE_1_OVERHEAD bytes. 0, -ENOMEM, or -VAN_E_UNAUTHENTIC for a public
 * key of small order (its Diffie-Hellman result is zero).
 */
int noise_write_1(struct noise *n, const struct key *ephemeral_secret, const struct identity *self,
	const struct key *responder_public, const void *payload, size_t len, uint8_t *out);
/* len: of msg. ret_payload holds len - NOISE_1_OVERHEAD bytes. The initiator's key is then in
 * n->peer_static. -VAN_E_UNAUTHENTIC when it does not open. */
int noise_read_1(struct noise *n, const struct identity *self, const uint8_t *msg, size_t len,
	uint8_t *ret_payload);

/* Message 2, likewise. psk is 32 bytes, read in IKpsk2 only. */
int noise_write_2(struct noise *n, const struct key *ephemeral_secret, const uint8_t *psk,
	const void *payload, size_t len, uint8_t *out);
int noise_read_2(struct noise *n, const struct identity *self, const uint8_t *psk,
	const uint8_t *msg, size_t len, uint8_t *ret_payload);

/* Split(): the keys from initiator to responder, and back. Wipes all secrets of n but its hash. */
void noise_split(struct noise *n, uint8_t ret_forth[HASH_LEN], uint8_t ret_back[HASH_LEN]);
void noise_wipe(struct noise *n);

/* Noise's AESGCM, for one message: the nonce is 4 zero bytes and n, big-endian. out holds
 * len + MESSAGE_TAG_LEN bytes. 0 or -ENOMEM; -VAN_E_UNAUTHENTIC. */
int noise_encrypt(const struct seal_backend *backend, const uint8_t key[HASH_LEN], uint64_t n,
	const void *ad, size_t ad_len, const void *plain, size_t len, uint8_t *out);
int noise_decrypt(const struct seal_backend *backend, const uint8_t key[HASH_LEN], uint64_t n,
	const void *ad, size_t ad_len, const uint8_t *sealed, size_t len, uint8_t *ret_plain);

#endif
