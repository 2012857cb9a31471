/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks as netmaps show them, kept in memory: what all members see of a network, and each member
 * as text with its hash. One table serves the maps of all members, which differ by one peer only.
 * Each peer knows at which mark of its network it changed last, so that the table answers "what is
 * new since N" as well: that is what patches are made of.
 */
#ifndef CONSOLE_API_AGENT_NET_H
#define CONSOLE_API_AGENT_NET_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "console-api/problem.h"
#include "console-api/store.h"
#include "lib/hash.h"
#include "lib/list.h"
#include "lib/netmap.h"

struct registry;

/* Text that several answers point into. References may be given back by any thread. */
struct agent_text;
void agent_text_unref(struct agent_text *t); /* NULL is fine */
const char *agent_text_data(const struct agent_text *t, size_t *ret_len);

struct agent_peer {
	struct list by_change; /* in the network's changes */
	char id[NETMAP_ID_MAX + 1];
	uint64_t changed;       /* mark of the network at which it became what it is */
	char *text;             /* canonical JSON, heap; NULL: it left */
	size_t len;             /* of text */
	size_t offset;          /* in the text of all */
	uint8_t hash[HASH_LEN]; /* SHA-256 of text */
};

struct agent_net {
	struct list used;   /* among the networks, the least recently used one first */
	struct list bucket; /* by id */
	char id[NETMAP_ID_MAX + 1];
	uint64_t mark;    /* mod_revision of /maprev/net/ID of which this is the state */
	uint64_t floor;   /* what is new since a number below it is not known */
	uint64_t pressed; /* the last revision that is not to wait (registry_press_network()) */
	struct json_object *head;
	uint64_t head_changed;     /* mark at which the head became what it is */
	struct agent_peer **peers; /* by id; heap */
	size_t count, room;
	size_t gone;            /* those of them that have left */
	struct list changes;    /* of agent_peer, the last change first */
	uint8_t sum[HASH_LEN];  /* of the hashes of all peers; see lib/netmap_delta.h */
	size_t text_len;        /* of all peers together */
	struct agent_text *all; /* peers in a row with commas; NULL: to be made */
	/* what the store said of it since `mark` */
	bool stale;    /* there is something new */
	uint64_t told; /* the last revision of which it said what it changed; 0: none */
	char (*dirty)[NETMAP_ID_MAX + 1]; /* heap: these peers */
	size_t dirty_count;
	bool dirty_all;
};

#define AGENT_NETS_BUCKETS 1024

struct agent_nets {
	struct list used;
	struct list buckets[AGENT_NETS_BUCKETS];
	size_t bytes; /* about what all of them take */
};

void agent_nets_init(struct agent_nets *nets);
void agent_nets_done(struct agent_nets *nets);
/* Of store_on_change(). */
void agent_nets_on_change(
	struct agent_nets *nets, uint64_t revision, const struct store_op *ops, size_t n);
/* Forgets what was not used for longest, down to what is allowed. Pointers that agent_net_get()
 * gave become invalid here and in agent_nets_on_change() only. */
void agent_nets_trim(struct agent_nets *nets);

/* The network, up to date. -ENOENT without a problem when there is none. */
int agent_net_get(
	struct registry *r, const char *net_id, struct agent_net **ret_net, struct problem *p);
/* The peer of this id, one that has left included; or NULL. */
struct agent_peer *agent_net_peer(const struct agent_net *net, const char *id);
/* The text of all peers, with a reference of the caller's. */
struct agent_text *agent_net_all(struct agent_net *net);

#endif
