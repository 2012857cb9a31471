/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Map from a 64-bit key (not 0) to a pointer, read by workers without locks while the control
 * thread, its only writer, changes it (RCU, liburcu's QSBR flavour). Used for MACs, session
 * indices and VAN ids.
 */
#ifndef VAND_TABLE_H
#define VAND_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_slots;

struct table {
	struct table_slots *slots; /* RCU */
	uint64_t seed;             /* secret: a peer must not be able to aim at one slot */
	size_t used;               /* live entries; writer only */
	size_t spent;              /* live entries and tombstones; writer only */
};

/* 0 or -ENOMEM. */
int table_init(struct table *t);
/* The values are the caller's. No reader may be left. */
void table_done(struct table *t);

/* The value, or NULL. Reader (inside a QSBR online section) or writer. */
void *table_get(const struct table *t, uint64_t key);

/*
 * Writer: adds or replaces. value is not NULL. 0 or -ENOMEM (unchanged). *ret_old (may be NULL):
 * the value replaced, or NULL; free it only after synchronize_rcu().
 */
int table_set(struct table *t, uint64_t key, void *value, void **ret_old);
/* Writer: removes; returns the value or NULL. Free it only after synchronize_rcu(). */
void *table_remove(struct table *t, uint64_t key);

/* Writer: visits every entry; the callback may remove the entry that it is called for. */
void table_each(struct table *t, void (*visit)(void *ctx, uint64_t key, void *value), void *ctx);

#endif
