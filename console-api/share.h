/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something that is there once for all (memory, places), divided fairly: nobody is refused, but when
 * there is too little, the oldest holder of the name that holds the most gives way. So whoever takes
 * much takes it from himself, and who takes little never feels it. Of bounded size: names are counted
 * by a keyed hash, and the few that share a place of the table count as one.
 */
#ifndef CONSOLE_API_SHARE_H
#define CONSOLE_API_SHARE_H

#include <sodium.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/list.h"

#define SHARE_PLACES 1024

struct share {
	size_t max, used;
	struct list holders; /* oldest first */
	size_t by_name[SHARE_PLACES];
	unsigned char hash_key[crypto_shorthash_KEYBYTES];
};

struct share_holder {
	struct list list; /* linked while it holds something */
	size_t amount;
	unsigned int place;
};

void share_init(struct share *s, size_t max);
void share_holder_init(struct share_holder *h);

/* The holder has amount more, under a name (any bytes), which is the same each time. */
void share_take(
	struct share *s, struct share_holder *h, const void *name, size_t len, size_t amount);
/* It has nothing any more. Harmless twice. */
void share_leave(struct share *s, struct share_holder *h);

/* Who has to give way, by share_leave(), until NULL: there is enough for all. One that holds less
 * than `least` under its name does not have to. */
struct share_holder *share_over(struct share *s, size_t least);
/* What is held under a name. */
size_t share_of(const struct share *s, const void *name, size_t len);

#endif
