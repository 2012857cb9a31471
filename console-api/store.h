/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the registry keeps its state: an ordered map from key to value (JSON text) with a revision
 * that every committed transaction raises by one. It is deliberately no more than what both SQLite
 * and etcd v3 do: read one key, read a range by prefix, and a transaction that is "if all of these
 * keys are as I saw them, then put and delete those, else tell me".
 *
 * Revisions start at 1 with the first transaction and never go back within one generation. The
 * generation is a random number drawn when the store was created: a store with another one is
 * another store, whatever its revision.
 *
 * A store is used by one thread at a time (the registry's lock). Errors of every function:
 *   -ENOENT            there is no such key
 *   -EAGAIN            a compare of the transaction did not hold: read again, try again
 *   -ENOSPC            the disk (or quota) is full; nothing was changed
 *   -EBUSY             somebody else holds the store too long; nothing was changed
 *   -VAN_E_CORRUPT     the store is damaged
 *   -EIO               any other failure of the medium
 */
#ifndef CONSOLE_API_STORE_H
#define CONSOLE_API_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/err.h"

struct store;

struct store_item {
	char *key;   /* heap */
	char *value; /* heap */
	uint64_t create_revision;
	uint64_t mod_revision;
};

struct store_items {
	struct store_item *items; /* heap, in the order of their keys */
	size_t count;
	bool more; /* there are further ones beyond the limit */
};

enum store_op_kind { STORE_PUT, STORE_DELETE };

struct store_compare {
	char *key;
	uint64_t mod_revision; /* that it must have; 0: it must not exist */
};

struct store_op {
	enum store_op_kind kind;
	char *key;
	char *value; /* STORE_PUT */
};

/* A transaction under construction. Each key is written at most once: the last word counts. */
struct store_txn {
	struct store_compare *compares;
	size_t compare_count;
	struct store_op *ops;
	size_t op_count;
	uint32_t *index; /* open-addressed by key, of op number + 1; a power of two of slots */
	size_t index_size;
};

/* Called after each commit, by the thread that made it, with the keys that were put or deleted. */
typedef void store_changed(void *ctx, uint64_t revision, const struct store_op *ops, size_t n);

/* What a kind of store provides. The arguments are as for the functions below. */
struct store_ops {
	const char *name;
	int (*get)(struct store *s, const char *key, struct store_item *ret_item);
	int (*range)(struct store *s, const char *from, const char *end, size_t limit,
		struct store_items *ret_items);
	int (*count)(struct store *s, const char *from, const char *end, uint64_t *ret_count);
	int (*commit)(struct store *s, const struct store_txn *txn, uint64_t *ret_revision);
	int (*revision)(struct store *s, uint64_t *ret_revision);
	void (*close)(struct store *s);
};

/* The part that all kinds share; a kind embeds it first in its own struct. */
struct store {
	const struct store_ops *ops;
	uint64_t generation;
	store_changed *changed;
	void *changed_ctx;
};

/* Opens the SQLite store in the file, made with a fresh generation when there is none. */
int store_sqlite_open(const char *path, struct store **ret_store, struct err *e);
void store_close(struct store *s); /* NULL is fine */

void store_on_change(struct store *s, store_changed *changed, void *ctx);

int store_get(struct store *s, const char *key, struct store_item *ret_item);
void store_item_done(struct store_item *item);

/* The items whose key starts with prefix and comes after `after` (NULL: all of them); at most limit
 * (0: no limit). */
int store_range(struct store *s, const char *prefix, const char *after, size_t limit,
	struct store_items *ret_items);
void store_items_done(struct store_items *items);

int store_count(struct store *s, const char *prefix, uint64_t *ret_count);
int store_revision(struct store *s, uint64_t *ret_revision);

void store_txn_init(struct store_txn *txn);
void store_txn_done(struct store_txn *txn);
/* The key must have this mod_revision at the commit (0: must not exist). */
void store_txn_expect(struct store_txn *txn, const char *key, uint64_t mod_revision);
void store_txn_put(struct store_txn *txn, const char *key, const char *value);
void store_txn_delete(struct store_txn *txn, const char *key);

/* All or nothing. On 0 everything is on stable storage. The transaction stays the caller's. */
int store_commit(struct store *s, const struct store_txn *txn, uint64_t *ret_revision);

static inline void cleanup_store_item(struct store_item *item)
{
	store_item_done(item);
}
static inline void cleanup_store_items(struct store_items *items)
{
	store_items_done(items);
}
static inline void cleanup_store_txn(struct store_txn *txn)
{
	store_txn_done(txn);
}

#endif
