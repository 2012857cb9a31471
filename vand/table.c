/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works. Open addressing with linear probing over an array of (key, value) pairs whose size
 * is a power of two. Readers run while the writer changes the array, so a slot obeys these rules:
 *
 *   - A slot's key goes from 0 to its key once and never changes again in this array.
 *   - Removing sets the value to NULL and leaves the key (a tombstone): probes go on past it. Only
 *     the same key may bring a tombstone back to life; for another key a reader could be between
 *     reading the old key and the value.
 *   - The value is stored before the key, so whoever sees the key sees a value.
 *
 * Tombstones are cleared out by building a new array, which replaces the old one by RCU.
 *
 * A key's place comes from multiplying it (its bits spread by a fixed bijection first) by a secret
 * odd number and taking the upper bits: for any two keys chosen without knowing the secret, the
 * chance to meet is at most 2/size (Dietzfelbinger's multiply-shift). It costs less than a keyed
 * hash, and there is one of these for each frame.
 */
#include "vand/table.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <urcu-qsbr.h>

#define SLOTS_MIN 16

struct slot {
	uint64_t key; /* 0: never used */
	void *value;  /* NULL: removed */
};

struct table_slots {
	size_t mask;
	unsigned int shift; /* 64 - log2(size) */
	struct slot slot[];
};

static uint64_t spread(uint64_t key)
{
	key ^= key >> 32;
	key *= 0x9e3779b97f4a7c15ull;
	return key ^ key >> 29;
}

static size_t first_place(const struct table *t, const struct table_slots *slots, uint64_t key)
{
	return (size_t)(spread(key) * t->seed >> slots->shift);
}

static struct table_slots *slots_new(size_t size)
{
	struct table_slots *slots = calloc(1, sizeof(*slots) + size * sizeof(slots->slot[0]));

	if (slots) {
		slots->mask = size - 1;
		slots->shift = 64 - (unsigned int)__builtin_ctzll(size);
	}
	return slots;
}

int table_init(struct table *t)
{
	struct table_slots *slots = slots_new(SLOTS_MIN);
	uint64_t seed;

	if (!slots)
		return -ENOMEM;
	randombytes_buf(&seed, sizeof(seed));
	*t = (struct table){.slots = slots, .seed = seed | 1};
	return 0;
}

void table_done(struct table *t)
{
	free(t->slots);
	*t = (struct table){0};
}

/* The slot with the key, or the free one where the probe ended. There always is a free one. */
static struct slot *probe(const struct table *t, struct table_slots *slots, uint64_t key)
{
	size_t i = first_place(t, slots, key);

	for (;;) {
		struct slot *slot = &slots->slot[i];
		uint64_t found = __atomic_load_n(&slot->key, __ATOMIC_ACQUIRE);

		if (found == key || found == 0)
			return slot;
		i = (i + 1) & slots->mask;
	}
}

void *table_get(const struct table *t, uint64_t key)
{
	struct table_slots *slots = rcu_dereference(t->slots);
	struct slot *slot;

	if (key == 0)
		return NULL;
	slot = probe(t, slots, key);
	/* Where the probe ended at a free slot, its value may already be there and be another
	 * key's: the key has to be looked at again, not the value. */
	if (__atomic_load_n(&slot->key, __ATOMIC_ACQUIRE) != key)
		return NULL;
	return __atomic_load_n(&slot->value, __ATOMIC_ACQUIRE);
}

/* Replaces the array by one without tombstones in which one more entry fills at most half. */
static int rebuild(struct table *t)
{
	struct table_slots *old = t->slots, *slots;
	size_t size = SLOTS_MIN;

	while (size < 2 * (t->used + 1))
		size *= 2;
	slots = slots_new(size);
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i <= old->mask; i++) {
		if (old->slot[i].value)
			*probe(t, slots, old->slot[i].key) = old->slot[i];
	}
	rcu_assign_pointer(t->slots, slots);
	t->spent = t->used;
	synchronize_rcu();
	free(old);
	return 0;
}

int table_set(struct table *t, uint64_t key, void *value, void **ret_old)
{
	struct slot *slot = probe(t, t->slots, key);
	void *old = slot->value;

	if (slot->key == 0 && 4 * (t->spent + 1) > 3 * (t->slots->mask + 1)) {
		int r = rebuild(t);

		if (r < 0)
			return r;
		slot = probe(t, t->slots, key);
	}
	__atomic_store_n(&slot->value, value, __ATOMIC_RELEASE);
	if (slot->key == 0) {
		__atomic_store_n(&slot->key, key, __ATOMIC_RELEASE);
		t->spent++;
	}
	if (!old)
		t->used++;
	if (ret_old)
		*ret_old = old;
	return 0;
}

void *table_remove(struct table *t, uint64_t key)
{
	struct slot *slot = key ? probe(t, t->slots, key) : NULL;
	void *old = slot ? slot->value : NULL;

	if (old) {
		__atomic_store_n(&slot->value, NULL, __ATOMIC_RELEASE);
		t->used--;
	}
	return old;
}

void table_each(struct table *t, void (*visit)(void *ctx, uint64_t key, void *value), void *ctx)
{
	struct table_slots *slots = t->slots;

	for (size_t i = 0; i <= slots->mask; i++) {
		if (slots->slot[i].value)
			visit(ctx, slots->slot[i].key, slots->slot[i].value);
	}
}
