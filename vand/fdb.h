/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MAC table of a network: which peer a destination MAC belongs to, and, the same question asked
 * from the other side, whether a sender may use a source MAC. Entries from the netmap are fixed:
 * one owner, who always wins. Written by the control thread, read by workers under RCU.
 */
#ifndef VAND_FDB_H
#define VAND_FDB_H

#include <stdint.h>
#include "lib/addr.h"
#include "vand/table.h"

struct peer;

enum fdb_kind {
	FDB_LOCAL, /* ours: peer is NULL */
	FDB_FIXED, /* from the netmap */
};

/* Immutable once in the table; replaced, not changed. */
struct fdb_entry {
	struct mac mac;
	enum fdb_kind kind;
	struct peer *peer;
};

struct fdb {
	struct table table;
};

int fdb_init(struct fdb *fdb);
/* No reader may be left. Frees the entries. */
void fdb_done(struct fdb *fdb);

static inline uint64_t fdb_key(const uint8_t mac[6])
{
	/* 1 << 48 keeps 00:00:00:00:00:00 off the table's forbidden key. */
	return 1ull << 48 | (uint64_t)mac[0] << 40 | (uint64_t)mac[1] << 32 |
	       (uint64_t)mac[2] << 24 | (uint64_t)mac[3] << 16 | (uint64_t)mac[4] << 8 | mac[5];
}

/* Worker: the entry of a MAC, or NULL. */
static inline const struct fdb_entry *fdb_lookup(const struct fdb *fdb, const uint8_t mac[6])
{
	return table_get(&fdb->table, fdb_key(mac));
}

/*
 * Makes the table hold exactly these entries, which are copied. What changed is freed after the
 * workers have passed (RCU). A MAC listed twice keeps its first owner. 0 or -ENOMEM (nothing
 * changed, or entries only added).
 */
int fdb_replace(struct fdb *fdb, const struct fdb_entry *entries, size_t count);

void fdb_each(struct fdb *fdb, void (*visit)(void *ctx, const struct fdb_entry *entry), void *ctx);

#endif
