/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame's way through the node, in both directions. This is the page to read first.
 *
 *   application ─▶ vcider0 ─▶ tap_read ─▶ forward_from_tap ─▶ fdb ─▶ seal ─▶ udp_tx ─▶ underlay
 *   application ◀─ vcider0 ◀─ join ◀─ forward_from_peer ◀─ guard ◀─ open, replay ◀─ udp_rx ◀─
 * underlay
 */
#ifndef VAND_FORWARD_H
#define VAND_FORWARD_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/addr.h"
#include "vand/message.h"

struct keypair;
struct message_inner;
struct network;
struct peer;
struct worker;

/* The frame in w->frame (with headroom in front of it) came out of the network's TAP: seals it for
 * whoever is to have it. The frame's bytes are used up. */
void forward_from_tap(
	struct worker *w, struct network *net, const struct virtio_net_hdr *vnet, size_t len);

/* A datagram of the underlay: delivers what is authentic and allowed, drops the rest under a name.
 * data is used up; at least UDP_RX_HEADROOM bytes in front of it may be overwritten, and the frame
 * stays in place until the batch is flushed. */
void forward_from_peer(struct worker *w, uint8_t *data, size_t len, const struct endpoint *from);

/* After the last datagram of a batch: lets other workers have the receive window that was in use. */
void forward_release(struct worker *w);

/* Sessions changed: sends what waited for those that are there now, drops what waited too long. */
void forward_pending(struct worker *w);

/* For narrow.c. Seals len bytes behind an inner header on the worker's lane into a datagram of
 * MESSAGE_OVERHEAD + len bytes, and counts them; whether to send from the lane's own port. */
void forward_seal(struct worker *w, struct keypair *keys, enum message_mode mode,
	const struct message_inner *inner, size_t len, uint8_t *datagram);
bool forward_own_port(
	struct worker *w, struct peer *peer, struct keypair *keys, const struct endpoint *to);

#endif
