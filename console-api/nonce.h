/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nonces that were seen, so that none is taken twice while its time lasts. In bounded memory, which is
 * proportional to what is remembered: a sender's nonces lie together, room for them grows with his
 * rate, shrinks with it, and is freed when all have run out. Nothing is forgotten before its time: when
 * there is no room the nonce is refused.
 *
 * Times are seconds since 1970. Not thread-safe. Pure: reads no clock, does no I/O.
 */
#ifndef CONSOLE_API_NONCE_H
#define CONSOLE_API_NONCE_H

#include <stddef.h>
#include <stdint.h>
#include "lib/err.h"

#define NONCE_LEN 16

struct nonces;

/*
 * limit: bytes in all, but for the copy of one sender's that is made for a moment when they get
 * another place. each_max: nonces of one sender at a time. One eighth of the memory is kept for senders
 * of few (NONCE_FEW places): whoever sends many at a time does not take that.
 */
struct nonces *nonces_new(size_t limit, size_t each_max);
void nonces_free(struct nonces *t); /* NULL is fine */
#define NONCE_FEW 256

/*
 * Remembers the nonce of the sender (any bytes) up to and including until_s, which is less than 2^31 s
 * from now. 0; -VAN_E_UNAUTHENTIC when it is remembered already, whatever until_s was then;
 * -VAN_E_LIMIT when there is no room.
 */
int nonces_take(struct nonces *t, const void *sender, size_t len, const uint8_t nonce[NONCE_LEN],
	uint64_t until_s, uint64_t now_s);

struct nonces_size {
	size_t senders, bytes;
};
struct nonces_size nonces_size(const struct nonces *t);

#endif
