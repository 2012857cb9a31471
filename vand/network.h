/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network that this node is in: its TAP, its MAC table, its members. The control thread makes and
 * changes it; workers read it under RCU.
 */
#ifndef VAND_NETWORK_H
#define VAND_NETWORK_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/addr.h"
#include "lib/err.h"
#include "lib/list.h"
#include "lib/netmap.h"
#include "vand/fdb.h"
#include "vand/message.h"
#include "vand/peer.h"
#include "vand/table.h"

struct tap;
struct worker;

/* Traffic of a network through one worker. Frames as on the TAP, a super-frame counted by its segments.
 */
struct network_counters {
	_Alignas(64) _Atomic uint64_t rx_packets; /* out of the tunnel, into the TAP */
	_Atomic uint64_t rx_bytes;
	_Atomic uint64_t tx_packets; /* out of the TAP, into the tunnel */
	_Atomic uint64_t tx_bytes;
};

/* The peers that get a copy of what is flooded. Immutable once published. */
struct network_members {
	size_t count;
	struct peer *peers[];
};

struct network {
	struct list node;
	char id[NETMAP_ID_MAX + 1];
	char name[NETMAP_NAME_MAX + 1];
	uint32_t van_id;
	uint16_t mtu;
	enum message_mode mode;
	struct tap *tap;
	struct fdb fdb;
	struct network_members *members; /* RCU */
	unsigned int workers;
	struct network_counters *counters; /* one for each worker */
};

struct networks {
	struct table by_van_id;        /* of struct network, for workers */
	struct list all;               /* control thread */
	struct worker *const *workers; /* read their TAPs; borrowed */
	unsigned int worker_count;
};

int networks_init(struct networks *n, struct worker *const *workers, unsigned int count);
/* Removes what is left; workers may still run. */
void networks_clear(struct networks *n);
/* After networks_clear(), and after the workers have ended. */
void networks_done(struct networks *n);

struct network_config {
	const char *id;
	const char *name;
	const char *ifname; /* of the TAP to make */
	uint32_t van_id;
	uint16_t mtu;
	enum message_mode mode;
	bool offload; /* ask the TAP for super-frames */
};

/*
 * Opens the TAP (down, without MAC or address: see vand/route.h), and starts to forward. -EEXIST
 * when VAN id or interface name are taken; errors of the TAP say what to do. *ret_network stays
 * valid until network_remove().
 */
int network_add(struct networks *n, const struct network_config *config,
	struct network **ret_network, struct err *e);
/* Stops forwarding, waits for the workers (RCU), closes the TAP: the kernel removes the device. */
void network_remove(struct networks *n, struct network *network);
struct network *network_find(struct networks *n, const char *id_or_name);

/* Who is in the network besides us, and with which MACs. Replaces what was there; frames in flight
 * see the old or the new table. 0 or -ENOMEM (then nothing changed). */
struct network_member {
	struct peer *peer;
	const struct mac *macs;
	size_t mac_count;
};
int network_set_members(struct network *network, const struct network_member *members, size_t count,
	const struct mac *own, size_t own_count);

struct network_totals {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
};
/* Sum over workers. */
struct network_totals network_totals(const struct network *network);

/* The interface that the TAP got, as the kernel named it. */
const char *network_ifname(const struct network *network);
int network_ifindex(const struct network *network);

#endif
