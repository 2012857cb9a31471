/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths that take less than the TAP: what a worker does with frames that are larger than their
 * peer's frame_max. Kept out of forward.c, and out of the way of every frame that fits.
 */
#ifndef VAND_NARROW_H
#define VAND_NARROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vand/fragment.h"
#include "vand/message.h"

struct endpoint;
struct keypair;
struct message_inner;
struct network;
struct offload_cut;
struct offload_frame;
struct peer;
struct worker;

/*
 * The frame in w->frame is too large for the one peer that it is for: true when the local side was
 * told so by an answer "too big", and the frame is to be dropped. segment_len: of a super-frame,
 * else len.
 */
bool narrow_answer(struct worker *w, struct network *net, const struct peer *peer, size_t len,
	size_t segment_len);

/* The same for a super-frame that is about to be cut. TCP is cut smaller instead, since nobody can
 * tell. */
bool narrow_answer_cut(
	struct worker *w, struct network *net, const struct peer *peer, struct offload_cut *cut);

/* Seals a frame in parts. In front of it is room for a part's headers; it is as it was afterwards.
 * The inner header has the network and the checksum's place; its kind is set here. False when it was
 * dropped (too_big). */
bool narrow_send(struct worker *w, const struct network *net, struct peer *peer,
	struct keypair *keys, const struct endpoint *to, struct message_inner inner, uint8_t *frame,
	size_t len);

/* A part came in. True when it completes a frame, which is valid until the next part. */
bool narrow_receive(struct worker *w, const struct keypair *keys, const struct message_data *header,
	const struct message_inner *inner, const uint8_t *part, size_t len,
	struct fragment_joined *ret_joined);

/* A frame from a peer whose path is narrow is about to go to the TAP: makes the local side send TCP
 * segments that fit. */
void narrow_clamp(struct worker *w, const struct peer *peer, const struct offload_frame *frame);

#endif
