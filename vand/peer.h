/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer: another node, with its keys in use and the place where it was last heard. One peer serves
 * all networks that it shares with us.
 *
 * Who may touch what: the control thread makes, changes and frees everything here. Workers read
 * what is marked RCU, inside a QSBR online section, and write only what is marked so: the counters
 * of their own lane, receive windows, and stamps. Everything that a worker notices (a new end
 * point, a confirmed key, no session) it tells the control thread by an upcall (vand/upcall.h).
 */
#ifndef VAND_PEER_H
#define VAND_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "lib/addr.h"
#include "lib/key.h"
#include "lib/list.h"
#include "lib/netmap.h"
#include "vand/message.h"
#include "vand/replay.h"
#include "vand/seal.h"

/* What one transmitting thread owns of a key pair: written by that thread alone. */
struct lane_tx {
	_Alignas(64) uint64_t counter; /* the next one to use */
	_Atomic uint64_t blocks;       /* sealed so far, seal_blocks() each */
	_Atomic uint64_t packets;
	_Atomic uint64_t bytes; /* of frames, before sealing */
	/* The lane's own source port: until when it is known to get through (written by control,
	 * which sees the answers), and when to try it again (the lane's thread). */
	_Atomic uint64_t own_port_until_ns;
	uint64_t probe_port_at_ns;
};

/*
 * A lane that the peer sends on. Allocated by the worker that opens its first packet. A lane's
 * datagrams all come to one worker, as long as the kernel keeps its promises (a receive slot of
 * joined datagrams may mix lanes); so the lock is there, and hardly ever waited for.
 */
struct lane_rx {
	_Alignas(64) atomic_flag lock;
	struct replay replay;
	_Atomic uint64_t packets;
	_Atomic uint64_t bytes;
};

/* The keys of one handshake. In the locked arena. */
struct keypair {
	struct seal_key send;
	struct seal_key recv;
	struct peer *peer;
	uint32_t local_index;  /* the peer addresses us by it */
	uint32_t remote_index; /* we address the peer by it */
	uint8_t local_lanes;   /* lanes that we may send on */
	uint8_t remote_lanes;  /* lanes that the peer may send on: others are dropped */
	bool initiator;        /* we began the handshake */
	uint64_t created_ns;
	/* False in a responder until the peer has used the key: until then nothing is sent on it.
	 * Written by the control thread; a worker that opens a packet on an unconfirmed key says
	 * so. */
	_Atomic bool confirmed;
	/* Stamps by workers and control alike, clock_boottime_ns(), relaxed. */
	_Atomic uint64_t last_sent_ns;          /* anything */
	_Atomic uint64_t last_sent_data_ns;     /* anything but keepalives */
	_Atomic uint64_t last_received_ns;      /* anything authentic */
	_Atomic uint64_t last_received_data_ns; /* anything authentic but keepalives */
	_Atomic uint64_t open_failures;
	struct lane_rx *_Atomic rx[MESSAGE_LANES_MAX]; /* heap, NULL until used */
	struct lane_tx *tx;                            /* heap, local_lanes of them */
};

/* Room left below the hard limit for what one turn of a sender may seal between two checks. */
#define KEYPAIR_BLOCKS_MARGIN (1u << 16)

/* To be asked by the lane's thread before it seals a frame or super-frame (all of its segments):
 * false when the lane has used up its share of the key. Rekeying begins at 7/8 of it, so this is
 * where handshakes fail for long, and then nothing more may be sent. */
static inline bool keypair_may_send(const struct keypair *keys, uint8_t lane)
{
	return atomic_load_explicit(&keys->tx[lane].blocks, memory_order_relaxed) <
	       MESSAGE_BLOCKS_STOP / keys->local_lanes - KEYPAIR_BLOCKS_MARGIN;
}

enum peer_state {
	PEER_IDLE,       /* no session, and nobody asked for one */
	PEER_CONNECTING, /* handshake under way */
	PEER_CONNECTED,  /* a key to send on, heard of lately */
	PEER_NO_PATH,    /* handshakes went unanswered; *reason says what that may mean */
};

struct peer_totals {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
};

struct session; /* vand/session.h: the control thread's part */

struct peer {
	uint32_t ref; /* how workers name it in upcalls; never used twice */
	char id[NETMAP_ID_MAX + 1];
	char name[NETMAP_NAME_MAX + 1];
	struct key public_key;
	unsigned int flags; /* enum netmap_flag */

	struct keypair *current;   /* RCU: what to send on; NULL: no session */
	struct endpoint *endpoint; /* RCU: where to send; NULL: never heard of */

	/* What the path takes (vand/pmtu.h), written by control, relaxed: peer_set_path(). */
	_Atomic uint32_t path;

	/* Sending, by udp.c: relaxed, any thread. */
	/* A datagram larger than this did not leave with DF set; 0: none was refused yet. */
	_Atomic uint16_t datagram_max;
	_Atomic bool no_gso; /* a GSO send to it failed with EIO: one by one from now on */

	/* Control thread only from here on. */
	struct session *session;
	struct peer_totals retired; /* counters of key pairs that are gone */
	void *owner;                /* reconcile's record */
};

/* The largest frame that goes to the peer whole; UINT16_MAX where that is not known. */
static inline size_t peer_frame_max(const struct peer *p)
{
	return atomic_load_explicit(&p->path, memory_order_relaxed) & UINT16_MAX;
}

/* The same. *ret_final: that is what was found out, and not what has to do for now. */
static inline size_t peer_path(const struct peer *p, bool *ret_final)
{
	uint32_t path = atomic_load_explicit(&p->path, memory_order_relaxed);

	*ret_final = path >> 16;
	return path & UINT16_MAX;
}

static inline void peer_set_path(struct peer *p, uint16_t frame_max, bool final)
{
	atomic_store_explicit(&p->path, (uint32_t) final << 16 | frame_max, memory_order_relaxed);
}

/* Totals over all keys so far. Control thread. */
struct peer_totals peer_totals(const struct peer *p);
/* Adds what went over one key pair. */
void peer_totals_add(struct peer_totals *t, const struct keypair *keys);

#endif
