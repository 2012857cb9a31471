/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane of a node that is in a mesh: sockets, sessions, networks and workers, started and
 * stopped as one. Nothing here knows the registry: what the registry says arrives through
 * reconcile.
 */
#ifndef VAND_DATAPLANE_H
#define VAND_DATAPLANE_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/err.h"
#include "vand/loop.h"
#include "vand/message.h"
#include "vand/network.h"
#include "vand/session.h"
#include "vand/stats.h"
#include "vand/udp.h"

struct vand;
struct worker;
struct upcall;

struct dataplane {
	bool running;
	struct udp *udp;
	bool vnet, uso; /* the kernel's TAPs take super-frames, and UDP's among them */
	unsigned int worker_count;
	struct worker *workers[UDP_WORKERS_MAX]; /* NULL unless running, like all of these */
	struct upcall *upcall;
	struct sessions *sessions;
	struct networks networks;
	struct counters control; /* the control thread's counters */
	struct loop_timer tick;
	struct loop_source upcalls[2]; /* one for each enum upcall_channel */
};

/*
 * Tries out a TAP and opens the UDP port (from start-up on, so that "port in use" is said at once
 * and the port is known). *ret_port is the real one. Errors say what to do.
 */
int dataplane_open(struct vand *v, uint16_t port, uint16_t *ret_port, struct err *e);
/* Starts sessions and workers for a mesh. */
int dataplane_start(struct vand *v, const uint8_t mesh[MESSAGE_MESH_LEN], struct err *e);
/* GOODBYE to all, then down: networks are removed first. */
void dataplane_stop(struct vand *v);
void dataplane_close(struct vand *v);

/* Addresses, links or MTUs of this machine changed. */
void dataplane_underlay_changed(struct vand *v);

/* Sum over threads. */
uint64_t dataplane_drops(const struct vand *v, enum drop_reason reason);
uint64_t dataplane_events(const struct vand *v, enum stat_event event);

#endif
