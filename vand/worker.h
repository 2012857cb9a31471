/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: a thread that runs frames to completion. It owns its lane, its queue of every TAP, its
 * sockets, its batch buffers, its counters and the frames that wait for a session; it reads peers,
 * keys and MAC tables under RCU.
 */
#ifndef VAND_WORKER_H
#define VAND_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "lib/err.h"
#include "vand/cookie.h"
#include "vand/fragment.h"
#include "vand/offload.h"
#include "vand/pending.h"
#include "vand/stats.h"
#include "vand/udp.h"

struct lane_rx;
struct network;
struct networks;
struct sessions;
struct seal_backend;
struct upcall;

struct worker {
	/* What it works with: borrowed, all outlive the thread. */
	const struct udp *udp;
	const struct sessions *sessions;
	const struct networks *networks;
	const struct seal_backend *backend;
	const struct upcall *upcall;
	unsigned int index; /* 0 is the first worker: its TAP queues and sockets */
	uint8_t lane;       /* that it sends on */
	bool several;       /* there are others */
	uint8_t copy_tos;   /* to outer headers: a set of enum ecn_copy */
	uint64_t busy_poll_ns;

	/* What it owns. */
	struct counters counters;
	uint64_t now_ns;        /* of this turn of the loop */
	struct lane_rx *window; /* whose lock it holds: forward_release() */
	uint8_t *frame_memory;
	uint8_t *frame; /* the frame being forwarded from a TAP, with headroom in front */
	struct udp_tx tx;
	struct udp_rx rx;
	uint8_t outer_ecn; /* of the datagram being taken apart */
	struct offload_join join;
	struct pending pending;
	struct fragment_joiner fragments; /* that came in */
	uint16_t fragment_id;             /* of the next frame that goes in parts */
	struct cookie_bucket too_big;     /* answers given to the local side */

	/* The thread. */
	pthread_t thread;
	bool running;
	atomic_bool stop;
	int epoll_fd;
	int wake_fd; /* eventfd: stop, or sessions changed */
};

struct worker_config {
	const struct udp *udp;
	const struct sessions *sessions;
	const struct networks *networks;
	const struct seal_backend *backend;
	const struct upcall *upcall;
	unsigned int index;
	bool several;          /* workers */
	uint8_t copy_tos;      /* a set of enum ecn_copy */
	uint32_t busy_poll_us; /* look again and again for so long before sleeping */
	bool join_tcp;
	bool join_udp;
};

/* Allocates all buffers. *ret_worker is heap. */
int worker_new(const struct worker_config *config, struct worker **ret_worker);
/* Stops the thread, if it runs, and frees. */
void worker_free(struct worker *w);
int worker_start(struct worker *w, struct err *e);

/* The queue of a network's TAP that the worker writes to: a flow comes back out of it. */
unsigned int worker_tap_queue(const struct worker *w, const struct network *network);

/* Control thread: begin or cease to read the worker's queue of a network's TAP. After worker_unwatch() and
 * synchronize_rcu() the worker does not touch the network any more. */
int worker_watch(struct worker *w, const struct network *network);
void worker_unwatch(struct worker *w, const struct network *network);

/* Control thread: sessions came or went; look at the frames that wait. */
void worker_wake(struct worker *w);

#endif
