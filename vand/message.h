/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole wire format, version 1 (docs/protocol.md is its text). Indices are little-endian, as in
 * WireGuard; counters, VAN ids and everything else are big-endian.
 */
#ifndef VAND_MESSAGE_H
#define VAND_MESSAGE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_VERSION  1
#define MESSAGE_MESH_LEN 16
#define MESSAGE_TAG_LEN  16 /* GCM and GMAC tags, mac1, mac2 */
#define MESSAGE_PORT     4826

enum message_type {
	MESSAGE_INIT = 1,
	MESSAGE_RESP = 2,
	MESSAGE_COOKIE = 3,
	MESSAGE_DATA = 4,
};

/* -- handshake: Noise_IKpsk2_25519_AESGCM_SHA256, prologue "VANv1" ‖ mesh id -- */

#define MESSAGE_PROLOGUE "VANv1"

struct message_init {
	uint8_t type;    /* MESSAGE_INIT */
	uint8_t version; /* MESSAGE_VERSION */
	uint8_t reserved[2];
	uint8_t sender[4]; /* index that the initiator wants to be addressed by */
	uint8_t ephemeral[32];
	uint8_t static_sealed[32 + 16];
	uint8_t payload_sealed[24 + 16]; /* stamp 12 | epoch 8 | lanes 1 | flags 1 | mtu 2 */
	uint8_t mac1[16];
	uint8_t mac2[16];
};
static_assert(sizeof(struct message_init) == 160, "INIT is 160 bytes");

struct message_resp {
	uint8_t type; /* MESSAGE_RESP */
	uint8_t version;
	uint8_t reserved[2];
	uint8_t sender[4];
	uint8_t receiver[4];
	uint8_t ephemeral[32];
	uint8_t payload_sealed[12 + 16]; /* epoch 8 | lanes 1 | flags 1 | mtu 2 */
	uint8_t mac1[16];
	uint8_t mac2[16];
};
static_assert(sizeof(struct message_resp) == 104, "RESP is 104 bytes");

struct message_cookie {
	uint8_t type; /* MESSAGE_COOKIE */
	uint8_t version;
	uint8_t reserved[2];
	uint8_t receiver[4];
	uint8_t nonce[24];
	uint8_t cookie_sealed[16 + 16]; /* XChaCha20-Poly1305, associated data: the mac1 answered */
};
static_assert(sizeof(struct message_cookie) == 64, "COOKIE is 64 bytes");

#define MESSAGE_STAMP_LEN        12 /* 8 bytes seconds, 4 bytes nanoseconds */
#define MESSAGE_INIT_PAYLOAD_LEN 24
#define MESSAGE_RESP_PAYLOAD_LEN 12

/* -- data -- */

struct message_data {
	uint8_t type; /* MESSAGE_DATA */
	uint8_t lane;
	uint8_t mode; /* enum message_mode */
	uint8_t reserved;
	uint8_t receiver[4];
	uint8_t counter[8];
};
static_assert(sizeof(struct message_data) == 16, "a DATA header is 16 bytes");

enum message_mode {
	MESSAGE_MODE_GCM = 0,  /* AES-256-GCM: hidden and authenticated */
	MESSAGE_MODE_GMAC = 1, /* AES-256-GMAC: authenticated, in clear ("integrity" networks) */
};

/* First thing inside the sealed part. */
struct message_inner {
	uint8_t van_id[3];  /* 0 for kinds that concern the session and not a network */
	uint8_t kind;       /* low 5 bits: enum message_kind; high 3 bits: MESSAGE_FLAG_* */
	uint8_t csum_start; /* with MESSAGE_FLAG_NEEDS_CSUM, as in struct virtio_net_hdr */
	uint8_t csum_offset;
};
static_assert(sizeof(struct message_inner) == 6, "an inner header is 6 bytes");

enum message_kind {
	MESSAGE_FRAME = 0,
	MESSAGE_FRAGMENT = 1, /* struct message_fragment | part of a frame */
	MESSAGE_LEARN = 2,    /* reserved: MAC 6 | move number 4 */
	MESSAGE_UNLEARN = 3,  /* reserved: MAC 6 | move number 4 | hint: X25519 key 32 or nothing */
	MESSAGE_GROUP = 4,    /* reserved: group membership */
	MESSAGE_PROBE = 5,    /* token 8 | padding: asks for a PROBE_ANSWER */
	MESSAGE_PROBE_ANSWER = 6, /* token 8 of the probe | its length 2 */
	MESSAGE_KEEPALIVE = 7,    /* empty */
	MESSAGE_GOODBYE = 8,      /* empty: the sender shuts down and drops the session */
	MESSAGE_KIND__COUNT
};
#define MESSAGE_KIND_MASK       0x1f
#define MESSAGE_FLAG_NEEDS_CSUM 0x80

/* In front of a part of a frame (vand/fragment.h). */
struct message_fragment {
	uint8_t id[2];     /* the same in all parts of a frame, another one in the next */
	uint8_t offset[2]; /* of the part, even; low bit: more parts follow */
};
static_assert(sizeof(struct message_fragment) == 4, "4 bytes in front of a part");

#define MESSAGE_OVERHEAD \
	(sizeof(struct message_data) + sizeof(struct message_inner) + MESSAGE_TAG_LEN)
static_assert(MESSAGE_OVERHEAD == 38, "38 bytes around a frame");
#define MESSAGE_PROBE_LEN        8
#define MESSAGE_PROBE_ANSWER_LEN 10

/* Lanes: a transmitting thread each (docs/protocol.md). 0 is the control thread's, the others are
 * the workers'. The first two always leave from the main port. */
#define MESSAGE_LANES_MAX    64
#define MESSAGE_LANE_CONTROL 0
#define MESSAGE_LANE_WORKER  1 /* the first worker's; the next ones have the next ones */
#define MESSAGE_WORKERS_MAX  (MESSAGE_LANES_MAX - MESSAGE_LANE_WORKER)

/* Tokens of the probes that try a lane's own source port; the lane is in the low byte. */
#define MESSAGE_TOKEN_LANE      0x56414e6c616e6500ull
#define MESSAGE_TOKEN_LANE_MASK 0xffull

/* Tokens of the probes that measure the path MTU; the search's round is in the low 16 bits. */
#define MESSAGE_TOKEN_PMTU      0x56414e706d740000ull
#define MESSAGE_TOKEN_PMTU_MASK 0xffffull

/* The largest UDP payload over IPv4; one send or receive slot. */
#define MESSAGE_DATAGRAM_MAX 65507

/* Limits of one key, summed over lanes (NIST SP 800-38D, and the design's margin). */
#define MESSAGE_BLOCKS_REKEY      ((7ull << 36) / 8)
#define MESSAGE_BLOCKS_STOP       ((1ull << 36) - 1)
#define MESSAGE_OPEN_FAILURES_MAX (1ull << 36)

static inline uint32_t message_index(const uint8_t b[4])
{
	return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

static inline void message_set_index(uint8_t b[4], uint32_t index)
{
	b[0] = (uint8_t)index;
	b[1] = (uint8_t)(index >> 8);
	b[2] = (uint8_t)(index >> 16);
	b[3] = (uint8_t)(index >> 24);
}

static inline uint64_t message_counter(const uint8_t b[8])
{
	uint64_t v;

	__builtin_memcpy(&v, b, sizeof(v));
	return __builtin_bswap64(v);
}

static inline void message_set_counter(uint8_t b[8], uint64_t counter)
{
	counter = __builtin_bswap64(counter);
	__builtin_memcpy(b, &counter, sizeof(counter));
}

static inline uint32_t message_van_id(const uint8_t b[3])
{
	return (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];
}

static inline void message_set_van_id(uint8_t b[3], uint32_t van_id)
{
	b[0] = (uint8_t)(van_id >> 16);
	b[1] = (uint8_t)(van_id >> 8);
	b[2] = (uint8_t)van_id;
}

#endif
