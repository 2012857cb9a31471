/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that wait for a handshake: up to 64 for each peer, bounded in bytes and in time as a
 * whole. A super-frame waits as it is. Owned by one worker.
 */
#ifndef VAND_PENDING_H
#define VAND_PENDING_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PENDING_PER_PEER   64
#define PENDING_FRAMES_MAX 4096
#define PENDING_BYTES_MAX  (8u << 20)
#define PENDING_AGE_NS     5000000000ull

struct peer;

struct pending_frame {
	struct pending_frame *next;
	uint32_t peer_ref;
	uint32_t van_id;
	uint64_t since_ns;
	struct virtio_net_hdr vnet;
	uint32_t len;
	uint8_t frame[];
};

struct pending {
	struct pending_frame *head;
	struct pending_frame **tail;
	size_t bytes;
	unsigned int count;
};

void pending_init(struct pending *p);
void pending_done(struct pending *p);

/* Copies the frame. False when the peer's or the whole queue is full: drop it. *ret_first: no other
 * frame waited for this peer. */
bool pending_push(struct pending *p, uint32_t peer_ref, uint32_t van_id,
	const struct virtio_net_hdr *vnet, const uint8_t *frame, size_t len, uint64_t now_ns,
	bool *ret_first);

/* Takes everything out, oldest first; the caller puts back (pending_restore) or frees each. */
struct pending_frame *pending_take_all(struct pending *p);
void pending_restore(struct pending *p, struct pending_frame *frame);

#endif
