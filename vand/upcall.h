/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages from workers to the control thread: what a worker noticed and may not decide. A datagram
 * socket pair: bounded by the kernel, ordered, and readable with epoll. A message that does not fit
 * any more is counted and lost like a packet.
 *
 * There are two pairs: strangers can send handshake messages in any number, and must not push out
 * what authenticated peers and our own frames have to say.
 */
#ifndef VAND_UPCALL_H
#define VAND_UPCALL_H

#include <stdint.h>
#include "lib/addr.h"
#include "vand/stats.h"

enum upcall_kind {
	UPCALL_HANDSHAKE, /* a message of type 1–3, in data */
	UPCALL_WANT,      /* a frame for peer_ref, and no session */
	UPCALL_CONFIRMED, /* first packet opened on an unconfirmed key, local_index */
	UPCALL_MOVED,     /* local_index is now heard from `from` */
	UPCALL_CONTROL,   /* a message of message_kind, opened on local_index, in data */
};

#define UPCALL_DATA_MAX 2048

struct upcall_message {
	enum upcall_kind kind;
	uint32_t peer_ref;
	uint32_t local_index;
	uint32_t van_id;
	uint8_t message_kind;
	uint16_t len;         /* of data */
	uint32_t message_len; /* UPCALL_CONTROL: that it had; of a probe, data is only the token */
	struct endpoint from;
	uint8_t data[UPCALL_DATA_MAX];
};

enum upcall_channel { UPCALL_OWN, UPCALL_STRANGERS, UPCALL_CHANNELS };

struct upcall {
	int worker_fd[UPCALL_CHANNELS];  /* written by workers */
	int control_fd[UPCALL_CHANNELS]; /* read by control */
};

int upcall_init(struct upcall *u);
void upcall_done(struct upcall *u);

/* Worker. message->data is sent up to message->len. Counts upcall_full when it does not fit. */
void upcall_send(
	const struct upcall *u, const struct upcall_message *message, struct counters *counters);
/* Control: 0 and a message, or -EAGAIN. */
int upcall_receive(
	const struct upcall *u, enum upcall_channel channel, struct upcall_message *ret_message);

#endif
