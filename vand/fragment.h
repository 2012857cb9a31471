/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames in parts: what neither fits the path nor may be answered by "too big" goes as several
 * FRAGMENT messages (docs/protocol.md) and is rejoined by the receiver. Pure: no I/O, time is an
 * argument. A reassembler belongs to one worker; the parts of a frame come on one lane, and a lane to
 * one worker.
 */
#ifndef VAND_FRAGMENT_H
#define VAND_FRAGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vand/message.h"
#include "vand/stats.h"

/* The largest frame that is cut: Ethernet, two VLAN tags and the largest MTU of a network. */
#define FRAGMENT_FRAME_MAX (14 + 8 + 9000)
/* Parts of one frame: a path of 576 bytes takes 9022 in 19. */
#define FRAGMENT_PARTS_MAX 20

/* -- cutting -- */

/* Parts of equal length (the last may be shorter), in order. */
struct fragment_cut {
	size_t len;
	size_t part_len; /* even */
	size_t next;
};

/* For a frame of len bytes, in messages whose part is at most part_max bytes. -EMSGSIZE when it is
 * too large for FRAGMENT_PARTS_MAX of them, or there is nothing to cut. */
int fragment_cut_init(struct fragment_cut *cut, size_t len, size_t part_max);
/* The next part: *ret_len bytes from *ret_offset of the frame. False when there are no more. */
bool fragment_cut_next(
	struct fragment_cut *cut, size_t *ret_offset, size_t *ret_len, bool *ret_more);

/* What stands in front of a part. */
void fragment_put(struct message_fragment *ret_header, uint16_t id, size_t offset, bool more);

/* -- rejoining -- */

#define FRAGMENT_FRAMES     32 /* incomplete at a time … */
#define FRAGMENT_PER_SENDER 8  /* … of one sender */
#define FRAGMENT_TIMEOUT_NS 1000000000ull
#define FRAGMENT_HEADROOM   64 /* writable bytes in front of a rejoined frame */

/* What all parts of a frame have in common. */
struct fragment_key {
	const void *sender;   /* compared only: may be gone */
	uint32_t local_index; /* of the key pair */
	uint32_t van_id;
	uint8_t lane;
	uint8_t mode;
	bool needs_csum;
	uint8_t csum_start;
	uint8_t csum_offset;
};

struct fragment_part {
	uint16_t offset;
	uint16_t len;
};

struct fragment_frame {
	bool used;
	struct fragment_key key;
	uint16_t id;
	uint64_t counter; /* of the part that came first */
	uint64_t since_ns;
	uint16_t total; /* length of the frame; 0: the last part has not come */
	uint16_t have;  /* bytes */
	uint8_t ecn;    /* outer: CE if any part had it, else the first one's */
	uint8_t count;
	struct fragment_part parts[FRAGMENT_PARTS_MAX];
};

struct fragment_joiner {
	struct counters *counters; /* of the worker */
	uint8_t *memory;           /* FRAGMENT_FRAMES buffers: untouched pages cost nothing */
	unsigned int count;        /* frames in use */
	struct fragment_frame frames[FRAGMENT_FRAMES];
};

/* 0 or -ENOMEM. Nothing is allocated later. */
int fragment_init(struct fragment_joiner *j, struct counters *counters);
void fragment_done(struct fragment_joiner *j);

/* A frame that is complete again. */
struct fragment_joined {
	uint8_t *frame; /* FRAGMENT_HEADROOM writable bytes in front of it */
	size_t len;
	uint8_t outer_ecn; /* CE if a part had it (RFC 3168 §5.3), else the first part's */
};

/*
 * Takes the body of an authentic FRAGMENT message that came with that counter and outer ECN field.
 * True when it completes a frame, which is valid until the next call. False otherwise; what was
 * dropped is counted: fragment_bad (malformed, or at odds with the other parts: all of them go),
 * fragment_evicted (too many incomplete ones; the oldest goes), fragment_timeout (incomplete for
 * FRAGMENT_TIMEOUT_NS).
 */
bool fragment_add(struct fragment_joiner *j, const struct fragment_key *key, uint64_t counter,
	uint8_t outer_ecn, const uint8_t *body, size_t len, uint64_t now_ns,
	struct fragment_joined *ret_joined);

/* Drops what has waited for too long. Cheap when nothing waits; to be called now and then. */
void fragment_expire(struct fragment_joiner *j, uint64_t now_ns);

#endif
