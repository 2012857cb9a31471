/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in front of the expensive part of a handshake (docs/protocol.md, "MACs and cookies"):
 * mac1, which only those can make who know whom they address; and under load mac2, which only those
 * can make who receive at the address that they send from; and buckets that limit how many
 * handshakes an address may ask for. Bounded memory, time as an argument.
 */
#ifndef VAND_COOKIE_H
#define VAND_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/addr.h"
#include "lib/key.h"
#include "vand/message.h"

#define COOKIE_LEN         16
#define COOKIE_LIFETIME_NS 120000000000ull /* of a secret, and of a cookie in the client */

#define COOKIE_LOAD_PER_S    250 /* INITs with a valid mac1; above it we are under load */
#define COOKIE_ADDRESS_RATE  50  /* INITs a second from one address prefix … */
#define COOKIE_ADDRESS_BURST 150 /* … and at once */

/* -- the keys that belong to a node's public key -- */

struct cookie_keys {
	uint8_t mac1[32];   /* SHA256("VANmac1" ‖ mesh ‖ public) */
	uint8_t cookie[32]; /* SHA256("VANcookie" ‖ mesh ‖ public) */
};
void cookie_keys_init(
	struct cookie_keys *k, const uint8_t mesh[MESSAGE_MESH_LEN], const struct key *public_key);

/* -- INIT and RESP: len is all of the message, whose last 32 bytes are mac1 and mac2 -- */

/* Fills in mac1 by the receiver's keys, and mac2 by the cookie (NULL: zeroes). */
void cookie_add_macs(
	const struct cookie_keys *receiver, const uint8_t *cookie, uint8_t *msg, size_t len);
bool cookie_check_mac1(const struct cookie_keys *self, const uint8_t *msg, size_t len);
bool cookie_mac2_is_zero(const uint8_t *msg, size_t len);

/* -- the side that is under load -- */

/* A token bucket: `rate` a second, at most `burst` at once. Zeroed: full. */
struct cookie_bucket {
	uint64_t credit_ns; /* time saved up, less what was spent; burst/rate seconds at most */
	uint64_t last_ns;   /* 0: never used */
};
bool cookie_bucket_take(
	struct cookie_bucket *b, unsigned int rate, unsigned int burst, uint64_t now_ns);

#define COOKIE_TABLE_SETS 256
#define COOKIE_TABLE_WAYS 4

/* Two buckets: anybody can use up the first one of somebody else's address by forging it; the
 * second one is for INITs that have proved where they come from. */
struct cookie_address {
	uint8_t prefix[9]; /* family, and 4 bytes of IPv4 or 8 of IPv6 */
	uint64_t used_ns;
	struct cookie_bucket unproven, proven;
};

struct cookie_guard {
	uint8_t secret[2][32]; /* this one and the last one */
	uint64_t secret_since_ns;
	uint8_t table_key[16]; /* of the hash that places addresses */
	uint64_t second;       /* that `inits` counts in */
	unsigned int inits;
	unsigned int inits_before; /* in the second before */
	struct cookie_address table[COOKIE_TABLE_SETS][COOKIE_TABLE_WAYS];
};

void cookie_guard_init(struct cookie_guard *g);
void cookie_guard_wipe(struct cookie_guard *g);

/* An INIT with a valid mac1 came in. True when there are too many of them. */
bool cookie_under_load(struct cookie_guard *g, uint64_t now_ns);

/* True when mac2 is by a cookie that we gave to this address and port, not too long ago. */
bool cookie_check_mac2(struct cookie_guard *g, const uint8_t *msg, size_t len,
	const struct endpoint *from, uint64_t now_ns);

/* An INIT came from this address; `proven`: with a good mac2. False when there are too many: to be
 * answered with a COOKIE, or, if it has one already, to be dropped. */
bool cookie_address_pass(
	struct cookie_guard *g, const struct endpoint *from, bool proven, uint64_t now_ns);

/* The COOKIE that answers an INIT or RESP. `random` is the nonce, fresh from the generator. */
void cookie_create(struct cookie_guard *g, const struct cookie_keys *self, const uint8_t *msg,
	size_t len, uint32_t receiver, const struct endpoint *from, const uint8_t random[24],
	uint64_t now_ns, struct message_cookie *ret_cookie);

/* -- the side that gets it -- */

/* mac1: of the message that it answers. */
bool cookie_open(const struct cookie_keys *sender, const struct message_cookie *msg,
	const uint8_t mac1[MESSAGE_TAG_LEN], uint8_t ret_cookie[COOKIE_LEN]);

#endif
