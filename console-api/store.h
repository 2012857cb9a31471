/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the registry keeps its state: an ordered map from key to value (JSON text) with a revision
 * that every committed transaction raises. It is deliberately no more than what both SQLite and
 * etcd v3 do: read one key, read a range by prefix, and a transaction that is "if all of these keys
 * are as I saw them, then put and delete those, else tell me".
 *
 * Revisions rise, not always by one, and never go back within one generation. The generation is a
 * random number drawn when the store was created: a store with another one is another store,
 * whatever its revision.
 *
 * A store is used by one thread at a time (the registry's lock). Errors of every function:
 *   -ENOENT            there is no such key
 *   -EAGAIN            a compare of the transaction did not hold: read again, try again
 *   -E2BIG             the transaction has more keys than the store takes at once (store_txn_max())
 *   -ENOSPC            the disk (or quota) is full; nothing was changed
 *   -EBUSY             the store cannot be reached now, or somebody else holds it too long; nothing
 *                      was changed
 *   -VAN_E_CORRUPT     the store is damaged
 *   -EIO               any other failure of the medium. After a commit: nobody knows whether it
 *                      was applied; it was as a whole or not at all, and the next one knows
 *
 * Several consoles may share a store (etcd). Then what is read is what the store held a moment ago
 * (milliseconds; store_fresh() tells when it is more), always as it was after one transaction, with
 * everything in it that was committed through this handle. Commits compare with what is true now.
 */
#ifndef CONSOLE_API_STORE_H
#define CONSOLE_API_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/err.h"

#define STORE_SUBSCRIBERS_MAX 8
#define STORE_INSTANCE_MAX    32

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

struct store_compare {
	char *key;
	uint64_t mod_revision; /* that it must have; 0: it must not exist */
};

enum store_op_kind { STORE_PUT, STORE_DELETE };

struct store_op {
	char *key;
	char *value; /* STORE_PUT */
	enum store_op_kind kind;
};

/* Of all keys from…before end: none may be newer than this revision. What is not there any more does
 * not count. */
struct store_range_compare {
	char *from, *end;
	uint64_t revision;
};

/* Finds a key among compares or ops: open-addressed, of place + 1; a power of two of slots. */
struct store_index {
	uint32_t *slots;
	size_t size;
};

/* A transaction under construction. Each key is written at most once: the last word counts. */
struct store_txn {
	struct store_compare *compares;
	size_t compare_count;
	struct store_range_compare *ranges;
	size_t range_count;
	struct store_op *ops;
	size_t op_count;
	struct store_index compare_index;
	struct store_index op_index;
};

/*
 * Called after each committed transaction of any console, in the order of their revisions, with the
 * keys that were put or deleted. n is 0 when everything may have changed: what happened meanwhile
 * is not known any more. Called from within store_commit() and store_poll(), so with the registry's
 * lock held; it must not write to the store.
 */
typedef void store_changed(void *ctx, uint64_t revision, const struct store_op *ops, size_t n);

/* One change of one key, as the feed tells it. */
struct store_event {
	uint64_t revision; /* of its transaction, whose events follow each other */
	enum store_op_kind kind;
	const char *key;
	const char *value; /* STORE_PUT: the new one; STORE_DELETE: what it was, NULL if unknown */
};
typedef void store_feed_take(void *ctx, const struct store_event *event);

/* One key of a walk; false ends it. */
typedef bool store_walk_take(void *ctx, const struct store_item *item);

/* How long a commit took, and what it came to. */
typedef void store_timed(void *ctx, uint64_t duration_ns, int rc);

/* What a kind of store provides. The arguments are as for the functions below. */
struct store_ops {
	const char *name;
	int (*get)(struct store *s, const char *key, struct store_item *ret_item);
	int (*range)(struct store *s, const char *from, const char *end, size_t limit,
		struct store_items *ret_items);
	int (*range_back)(struct store *s, const char *from, const char *end, size_t limit,
		struct store_items *ret_items);
	int (*count)(struct store *s, const char *from, const char *end, uint64_t *ret_count);
	/* Calls store_tell() for it once it is known to be committed. */
	int (*commit)(struct store *s, const struct store_txn *txn, uint64_t *ret_revision);
	int (*revision)(struct store *s, uint64_t *ret_revision);
	int (*walk)(struct store *s, store_walk_take *take, void *ctx, uint64_t *ret_revision);
	int (*writable)(struct store *s); /* NULL: as fresh */
	void (*close)(struct store *s);
	/* Of a shared store only, else NULL. */
	int (*start)(struct store *s, struct err *e);
	int (*poll_fd)(const struct store *s);
	void (*poll)(struct store *s);
	int (*fresh)(struct store *s);
};

/* The latest changes, in a ring; of store_feed.c. */
struct store_feed {
	struct store_kept *kept; /* heap, STORE_FEED_EVENTS of them; NULL before the first */
	size_t first, count;
	size_t bytes;
	uint64_t oldest; /* nothing that came after this revision is missing */
};

/* The part that all kinds share; a kind embeds it first in its own struct. */
struct store {
	const struct store_ops *ops;
	store_timed *timed; /* NULL: nobody */
	void *timed_ctx;
	uint64_t generation;
	char instance[STORE_INSTANCE_MAX + 1]; /* which of the consoles on the store this one is */
	size_t txn_max;
	struct {
		store_changed *changed;
		void *ctx;
	} subscribers[STORE_SUBSCRIBERS_MAX];
	size_t subscriber_count;
	struct store_txn *tracking;
	struct store_feed feed;
};

/* Opens the SQLite store in the file, made with a fresh generation when there is none. Schemas of
 * older versions are brought up to date, of newer ones refused. ":memory:" is one that is not kept.
 */
int store_sqlite_open(const char *path, struct store **ret_store, struct err *e);
void store_close(struct store *s); /* NULL is fine */

/* Up to STORE_SUBSCRIBERS_MAX may listen; they are called in the order in which they began. */
void store_on_change(struct store *s, store_changed *changed, void *ctx);
void store_off_change(struct store *s, void *ctx); /* all that began with this ctx */

int store_get(struct store *s, const char *key, struct store_item *ret_item);
void store_item_done(struct store_item *item);

/* The items whose key starts with prefix and comes after `after` (NULL: all of them); at most limit
 * (0: no limit). */
int store_range(struct store *s, const char *prefix, const char *after, size_t limit,
	struct store_items *ret_items);
/* The items whose key starts with prefix and comes before `before` (NULL: all of them), the last one
 * first; at most limit. Not of the audit trail. */
int store_range_back(struct store *s, const char *prefix, const char *before, size_t limit,
	struct store_items *ret_items);
void store_items_done(struct store_items *items);

int store_count(struct store *s, const char *prefix, uint64_t *ret_count);
/* Of the last transaction that reads see. */
int store_revision(struct store *s, uint64_t *ret_revision);

/* Calls take for every key in order, all as of *ret_revision, whatever is written meanwhile. */
int store_walk(struct store *s, store_walk_take *take, void *ctx, uint64_t *ret_revision);

void store_txn_init(struct store_txn *txn);
void store_txn_done(struct store_txn *txn);
/* The key must have this mod_revision at the commit (0: must not exist). */
void store_txn_expect(struct store_txn *txn, const char *key, uint64_t mod_revision);
void store_txn_put(struct store_txn *txn, const char *key, const char *value);
void store_txn_delete(struct store_txn *txn, const char *key);
/* What the transaction does with the key so far, or NULL. */
const struct store_op *store_txn_find(const struct store_txn *txn, const char *key);
/* Gives an op (by its place) another key, which the transaction must not write otherwise. */
void store_txn_rename(struct store_txn *txn, size_t at, const char *key);

/*
 * From here what store_get(), store_range() and store_count() find is added to txn as what must
 * still be so at the commit; NULL ends it. Of a range that means that nothing was added to it or
 * changed in it; what was deleted from it is not noticed. Returns the transaction that had it so far,
 * or NULL.
 */
struct store_txn *store_track(struct store *s, struct store_txn *txn);

/* All or nothing. On 0 everything is on stable storage. The transaction stays the caller's. */
int store_commit(struct store *s, const struct store_txn *txn, uint64_t *ret_revision);
/* 0, or how the last commit failed when that was the medium's fault (it is full, or broken) and still
 * is so: then tries again, once a second at most. */
int store_writable(struct store *s);
/* Tells of each commit from here on. */
void store_time_commits(struct store *s, store_timed *timed, void *ctx);

/* How many puts and deletes, and how many compares, one transaction may have; SIZE_MAX: any. */
size_t store_txn_max(const struct store *s);

/*
 * The feed: every change of every key in the order of revisions, whoever made it, kept in memory
 * since the store was opened and within bounds (STORE_FEED_EVENTS, STORE_FEED_BYTES).
 *
 * Tells what came after revision `after`, oldest first: whole transactions only, no further one
 * once max events were told (0: all there are). The event is valid during the call. *ret_revision
 * is the revision up to which everything has been told now: what to pass as `after` next time. To
 * list and then follow without a gap, take store_revision(), list, and follow from it, under one
 * lock. After a change store_on_change()'s callback is called; then there is something to be told.
 *
 *   0            also when nothing was told: then *ret_revision is `after` or more
 *   -VAN_E_GONE  `after` is older than what is kept (410): list again
 * A revision means something within one generation only: compare store->generation first (410 too).
 * `after` beyond store_revision() is no error: nothing is told until the store has come that far.
 */
#define STORE_FEED_EVENTS 16384u
#define STORE_FEED_BYTES  (16u << 20)
int store_feed_since(struct store *s, uint64_t after, size_t max, store_feed_take *take, void *ctx,
	uint64_t *ret_revision);
/* The oldest `after` that is not gone. */
uint64_t store_feed_oldest(const struct store *s);

/* -- several consoles on one store -- */

/* True when others may write to it at the same time. */
bool store_is_shared(const struct store *s);
/*
 * Starts to follow what others write, in a thread of its own, until store_close(). Before that, and
 * for ever in commands that read or write a store once, reads see what there was when it was opened
 * and what was committed through it. Nothing to do for a store that is not shared.
 */
int store_start(struct store *s, struct err *e);
/* Readable when others have written: then call store_poll(). -1: never. */
int store_poll_fd(const struct store *s);
void store_poll(struct store *s);
/*
 * 0, or -EBUSY when the store has not been reached for STORE_STALE_MAX_MS: what reads find may be
 * outdated by more than that, and commits fail. Nodes are better served with that than with nothing;
 * people, who may have been denied access meanwhile, are told to come back.
 */
#define STORE_STALE_MAX_MS 5000
int store_fresh(struct store *s);

/* -- for the kinds -- */

/* Tells feed and callback of a transaction. old (may be NULL) has the values that deletes removed. */
void store_tell(
	struct store *s, uint64_t revision, const struct store_op *ops, size_t n, char *const *old);
/* Everything may have changed. */
void store_tell_all(struct store *s, uint64_t revision);
void store_feed_start(struct store *s, uint64_t revision);
void store_feed_done(struct store_feed *feed);
void store_feed_add(struct store_feed *feed, const struct store_event *event);

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
