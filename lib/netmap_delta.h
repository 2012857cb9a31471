/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of netmaps as merge patches (RFC 7396). A patch replaces arrays as a whole, so it speaks
 * of a map's keyed form, in which the arrays of things that have an id are objects by that id:
 * "consoles", "networks", and each network's "peers". The things themselves are the same in both
 * forms, their member "id" included.
 *
 * A map carries its hash, so that both sides know that they mean the same: the member "hash" is 64
 * hexadecimal digits, the SHA-256 of the canonical text (lib/jsoncanon.h) of the keyed form without
 * "hash", and with each network's "peers" replaced by 64 hexadecimal digits: the sum, modulo 2^256
 * and in big-endian order, of the SHA-256 of the canonical text of each peer. A sum, because the
 * members of a network get maps that differ by one peer only, themselves: who makes all these maps
 * takes one from the total instead of hashing n peers n times. It finds what went wrong, not
 * attacks: whoever sends the map sends the hash.
 */
#ifndef LIB_NETMAP_DELTA_H
#define LIB_NETMAP_DELTA_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/hash.h"

#define NETMAP_DELTA_TYPE "application/merge-patch+json"

/* The keyed form of a map; NULL when an item has no id or one that stands twice. Both share their
 * parts: change one, and the other is not to be used any more. */
struct json_object *netmap_delta_keyed(struct json_object *whole);
/* The other way; items in the order of their ids. NULL when the map is not in the keyed form. */
struct json_object *netmap_delta_whole(struct json_object *keyed);

/* False when the map is not of the right form. */
bool netmap_delta_hash(struct json_object *keyed, uint8_t ret_hash[HASH_LEN]);
/* True when it has a hash, and that is its own. */
bool netmap_delta_verify(struct json_object *keyed);

/* Sums of peers' hashes. */
void netmap_delta_sum_add(uint8_t sum[HASH_LEN], const uint8_t hash[HASH_LEN]);
void netmap_delta_sum_take(uint8_t sum[HASH_LEN], const uint8_t hash[HASH_LEN]);

#endif
