/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The peers of a network as text, made once for each change and sent to all of its members: when
 * one node changes, every other one gets a new map, and all but a few bytes of those maps are the
 * same.
 */
#ifndef CONSOLE_API_PEERS_H
#define CONSOLE_API_PEERS_H

#include <json-c/json.h>
#include <stdint.h>
#include "lib/netmap.h"

struct peers; /* counted references; for one thread at a time */

/* Of an array of peer objects as in a netmap (borrowed). One reference is the caller's. */
struct peers *peers_new(struct json_object *array);
void peers_unref(struct peers *peers); /* NULL is fine */

/* An array that prints all of them but the one with this id. It holds a reference of its own. It
 * can be printed, not read: its length is 0. */
struct json_object *peers_array(struct peers *peers, const char *except_id);

/* The most recently used ones, by network. */
#define PEERS_CACHE_SIZE 64
struct peers_cache {
	struct {
		char net_id[NETMAP_ID_MAX + 1];
		uint64_t mark; /* mod_revision of the network's /maprev/ key */
		uint64_t used;
		struct peers *peers;
	} slots[PEERS_CACHE_SIZE];
	uint64_t uses;
};

/* Borrowed, or NULL. */
struct peers *peers_cache_find(struct peers_cache *c, const char *net_id, uint64_t mark);
/* Takes the caller's reference. */
void peers_cache_put(struct peers_cache *c, const char *net_id, uint64_t mark, struct peers *peers);
void peers_cache_done(struct peers_cache *c);

#endif
