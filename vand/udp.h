/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The underlay: UDP sockets for IPv4 and IPv6 on one port, a pair for each worker, batches of GSO
 * sends, GRO receives, and what to do when the kernel or a path takes less than that.
 */
#ifndef VAND_UDP_H
#define VAND_UDP_H

#include <netinet/udp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include "lib/addr.h"
#include "lib/err.h"
#include "vand/message.h"
#include "vand/stats.h"

/* Older C libraries lack them. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

struct peer;

enum udp_family { UDP_IPV4, UDP_IPV6, UDP_FAMILIES };

#define UDP_WORKERS_MAX MESSAGE_WORKERS_MAX

/* A worker's sockets; -1: not available. */
struct udp_sockets {
	int main[UDP_FAMILIES]; /* the main port: sends with DF, receives the worker's lanes */
	int lane[UDP_FAMILIES]; /* a port of its own, with DF; never receives. Not the first
				 * worker's */
};

struct udp {
	uint16_t port; /* the main one */
	unsigned int workers;
	struct udp_sockets of[UDP_WORKERS_MAX];
	int fd_nodf[UDP_FAMILIES]; /* the main port, sends what the kernel may fragment; never
				    * receives */
	uint16_t gso_segments;     /* most segments that one send takes; 1: no GSO */
	bool gro;
	bool tos; /* received datagrams come with their TOS */
};

struct udp_options {
	unsigned int workers; /* 1…UDP_WORKERS_MAX */
	bool gso;
	bool gro;
	bool tos;
};

/* Binds the port on both families (0: a free one). -EADDRINUSE and others say what to do. */
int udp_open(struct udp *ret_udp, uint16_t port, const struct udp_options *options, struct err *e);
void udp_close(struct udp *udp);

/* One datagram at once from the main port, from any thread. 0 or -errno. */
int udp_send(const struct udp *udp, const struct endpoint *to, const void *data, size_t len);
/* The same with DF or not at all: -EMSGSIZE where it is larger than the interface takes. */
int udp_send_whole(const struct udp *udp, const struct endpoint *to, const void *data, size_t len);

/* -- sending in batches -- */

#define UDP_TX_SLOTS     16
#define UDP_TX_SLOT_SIZE (64 * 1024)

/* One future sendmsg: datagrams of equal length (the last may be shorter) and TOS to one peer. */
struct udp_tx_slot {
	struct peer *peer;
	struct endpoint to; /* as it was when the slot was opened */
	uint32_t len;
	uint16_t segment_len; /* length of the first datagram */
	uint16_t segments;
	uint8_t tos;   /* or traffic class */
	bool own_port; /* leaves from the lane's own port */
	bool closed;   /* a shorter datagram ended it */
	uint8_t *data; /* UDP_TX_SLOT_SIZE bytes */
};

struct udp_tx {
	const struct udp *udp;
	const struct udp_sockets *sockets; /* of the worker that owns the batch */
	struct counters *counters;         /* the same worker's */
	uint8_t tos;                       /* of what is reserved from now on */
	unsigned int count;
	struct udp_tx_slot slots[UDP_TX_SLOTS];
};

/* 0 or -ENOMEM. Buffers are allocated here and never again. */
int udp_tx_init(
	struct udp_tx *tx, const struct udp *udp, unsigned int worker, struct counters *counters);
void udp_tx_done(struct udp_tx *tx);

/*
 * Room for one datagram of exactly len bytes to the peer, behind those that wait for it already:
 * fill it before the next call. Flushes when there is no room. `to` is the peer's current end
 * point; own_port: send from the worker's own port where it has one. NULL when len is more than any
 * datagram takes.
 */
uint8_t *udp_tx_reserve(
	struct udp_tx *tx, struct peer *peer, const struct endpoint *to, bool own_port, size_t len);

/* Sends all that waits. Failures are counted; nothing stays behind. */
void udp_tx_flush(struct udp_tx *tx);

/* -- receiving in batches -- */

#define UDP_RX_SLOTS     8
#define UDP_RX_SLOT_SIZE (64 * 1024)
#define UDP_RX_HEADROOM  64 /* in front of each slot's data, for the receiver's own use */

struct udp_rx_slot {
	uint8_t *data;
	uint32_t len;
	uint32_t segment_len; /* datagrams begin every segment_len bytes; the last may be shorter */
	uint8_t tos;          /* of all of them: the kernel joins only equals. 0: not asked for */
	struct endpoint from; /* with the local address it came to */
};

struct udp_rx {
	uint8_t *memory;
	struct udp_rx_slot slots[UDP_RX_SLOTS];
	struct mmsghdr messages[UDP_RX_SLOTS];
	struct iovec iov[UDP_RX_SLOTS];
	struct sockaddr_storage names[UDP_RX_SLOTS];
	union {
		struct cmsghdr align;
		uint8_t bytes[128];
	} control[UDP_RX_SLOTS];
};

int udp_rx_init(struct udp_rx *rx);
void udp_rx_done(struct udp_rx *rx);

/* Receives what is there on one socket, at most UDP_RX_SLOTS slots. The number filled, 0 when there
 * is nothing, or -errno. */
int udp_rx_batch(struct udp_rx *rx, int fd);

#endif
