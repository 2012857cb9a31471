/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and reading INIT and RESP (docs/protocol.md, "Handshake"). No I/O, no clock, no
 * randomness: ephemeral keys and indices come from the caller. Nothing is handed out before
 * everything about a message is verified, and a failed reading changes nothing, so it is up to the
 * caller to commit.
 *
 * The MAC fields at the end of both messages are vand/cookie.h's.
 */
#ifndef VAND_HANDSHAKE_H
#define VAND_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/key.h"
#include "vand/message.h"
#include "vand/noise.h"
#include "vand/seal.h"

/* Ourselves. Everything is borrowed. */
struct handshake_self {
	const struct identity *identity;
	const struct seal_backend *backend;
	const uint8_t *mesh; /* MESSAGE_MESH_LEN bytes */
	const uint8_t *psk;  /* 32 bytes */
};

/* What the payloads say. */
struct handshake_info {
	uint8_t stamp[MESSAGE_STAMP_LEN]; /* INIT only */
	uint64_t epoch;                   /* of the sender's netmap */
	uint8_t lanes;                    /* that the sender sends on, 1–MESSAGE_LANES_MAX */
	uint8_t flags;                    /* 0 */
	uint16_t mtu;                     /* of the interface it sends from; 0: unknown */
};

/* One side's state between two messages. Secret: in the locked arena, or wiped. */
struct handshake {
	struct noise noise;
	uint32_t remote_index; /* responder: whom to address */
};

/* Keys for DATA, both directions. Secret: to be wiped with handshake_keys_wipe(). */
struct handshake_direction {
	uint8_t key[SEAL_KEY_LEN];
	uint8_t salt[SEAL_SALT_LEN];
};
struct handshake_keys {
	struct handshake_direction send;
	struct handshake_direction recv;
};

/* Initiator. sender: the index that the peer is to use. MAC fields are zero. 0 or negative. */
int handshake_create_init(const struct handshake_self *self, const struct key *peer_public,
	const struct key *ephemeral_secret, uint32_t sender, const struct handshake_info *info,
	struct message_init *ret_msg, struct handshake *ret_handshake);

/* Responder. Who the peer is, and whether the stamp is new, is for the caller to judge.
 * -VAN_E_UNAUTHENTIC when it does not open or says nonsense. */
int handshake_consume_init(const struct handshake_self *self, const struct message_init *msg,
	struct handshake *ret_handshake, struct key *ret_peer_public,
	struct handshake_info *ret_info);

/* Responder. handshake: from handshake_consume_init(); wiped afterwards, whatever comes out. */
int handshake_create_resp(const struct handshake_self *self, struct handshake *handshake,
	const struct key *ephemeral_secret, uint32_t sender, const struct handshake_info *info,
	struct message_resp *ret_msg, struct handshake_keys *ret_keys);

/* Initiator. handshake stays as it is, so that a forged RESP does not spoil the true one. */
int handshake_consume_resp(const struct handshake_self *self, const struct handshake *handshake,
	const struct message_resp *msg, struct handshake_info *ret_info,
	struct handshake_keys *ret_keys);

void handshake_wipe(struct handshake *h);
void handshake_keys_wipe(struct handshake_keys *keys);

/* One of Split()'s keys to the key and salt of DATA messages (design §4.3). */
void handshake_data_key(const uint8_t split[32], struct handshake_direction *ret_direction);

#endif
