/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/limit.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"
#include "lib/clock.h"

#define SETS 1024
#define WAYS 8

struct bucket {
	uint64_t key; /* 0: unused */
	uint64_t at_ns;
	double level; /* at at_ns */
};

struct limit {
	unsigned char hash_key[crypto_shorthash_KEYBYTES];
	double rate, burst;
	struct bucket buckets[SETS][WAYS];
};

struct limit *limit_new(unsigned int rate, unsigned int burst)
{
	struct limit *l = xcalloc(1, sizeof(*l));

	crypto_shorthash_keygen(l->hash_key);
	l->rate = rate;
	l->burst = burst;
	return l;
}

void limit_free(struct limit *l)
{
	free(l);
}

/* The key's bucket, filled up to now. */
static struct bucket *bucket_of(struct limit *l, const void *key, size_t len, uint64_t now_ns)
{
	unsigned char hash[crypto_shorthash_BYTES];
	struct bucket *set, *b;
	uint64_t id;

	crypto_shorthash(hash, key, len, l->hash_key);
	memcpy(&id, hash, sizeof(id));
	id |= 1; /* never 0 */
	set = l->buckets[(id >> 1) % SETS];
	b = &set[0];
	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].key == id) {
			b = &set[i];
			break;
		}
		if (set[i].at_ns < b->at_ns)
			b = &set[i];
	}
	if (b->key != id) {
		*b = (struct bucket){.key = id, .at_ns = now_ns, .level = l->burst};
	} else if (now_ns > b->at_ns) {
		b->level += l->rate * (double)(now_ns - b->at_ns) / (double)NS_PER_S;
		if (b->level > l->burst)
			b->level = l->burst;
		b->at_ns = now_ns;
	}
	return b;
}

bool limit_peek(struct limit *l, const void *key, size_t len, uint64_t now_ns,
	unsigned int *ret_retry_after_s)
{
	const struct bucket *b = bucket_of(l, key, len, now_ns);

	if (b->level >= 1)
		return true;
	if (ret_retry_after_s)
		*ret_retry_after_s = (unsigned int)((1 - b->level) / l->rate) + 1;
	return false;
}

void limit_charge(struct limit *l, const void *key, size_t len, uint64_t now_ns, double amount)
{
	struct bucket *b = bucket_of(l, key, len, now_ns);

	b->level = b->level - amount < -l->burst ? -l->burst : b->level - amount;
}

bool limit_take(struct limit *l, const void *key, size_t len, uint64_t now_ns,
	unsigned int *ret_retry_after_s)
{
	if (!limit_peek(l, key, len, now_ns, ret_retry_after_s))
		return false;
	bucket_of(l, key, len, now_ns)->level -= 1;
	return true;
}
