/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in an etcd cluster, for several consoles at once. With the prefix "/van/" its keys are
 *
 *   /van/kv/…          the map: "/nets/ID" is "/van/kv/nets/ID"
 *   /van/txn/INSTANCE  a marker that every transaction of that console puts: 16 hexadecimal digits
 *   /van/generation    16 hexadecimal digits
 *
 * The revision of the store is etcd's revision of the last transaction, so the highest mod_revision
 * of a marker.
 */
#ifndef CONSOLE_API_STORE_ETCD_H
#define CONSOLE_API_STORE_ETCD_H

#include "console-api/etcd.h"
#include "console-api/store.h"
#include "console-api/store_sqlite.h"

struct store_etcd_options {
	struct etcd_options etcd;
	const char *prefix;   /* starts and ends with '/' */
	const char *instance; /* 1…STORE_INSTANCE_MAX of a-z, 0-9: this console's own name */
	bool read_only;       /* nothing is written, not even a generation: there must be a store */
};

/*
 * Reads the whole map (keys that are cold excepted) within wait_ms, or fails: -VAN_E_TIMEOUT when
 * the cluster cannot be reached, -VAN_E_DENIED. Makes a generation where there is none; read_only:
 * -ENOENT then.
 */
int store_etcd_open(const struct store_etcd_options *options, unsigned int wait_ms,
	struct store **ret_store, struct err *e);

/* -- shared by its files -- */

#define ETCD_DATA    "kv"
#define ETCD_MARKERS "txn/"

/* Keys that are many and seldom read: not held in memory, read from etcd itself. */
bool store_etcd_is_cold(const char *key);
/* Whether there may be such a key from…before end. */
bool store_etcd_touches_cold(const char *from, const char *end);

struct etcd_snapshot {
	struct store *mirror;
	uint64_t revision; /* of the last transaction */
	uint64_t covered;  /* etcd's revision: nothing up to it is missing */
	uint64_t generation;
};

/* Reads everything that is not cold as of one moment. */
int store_etcd_load(
	struct etcd_conn *c, const char *prefix, struct etcd_snapshot *ret_snapshot, struct err *e);

/* Keys from…end of the map as etcd has them now. */
int store_etcd_range(struct etcd_conn *c, const char *prefix, const char *from, const char *end,
	size_t limit, struct store_items *ret_items, struct err *e);
int store_etcd_count(struct etcd_conn *c, const char *prefix, const char *from, const char *end,
	uint64_t *ret_count, struct err *e);
/* The markers: the highest mod_revision among them (0: none) and etcd's own. */
int store_etcd_head(struct etcd_conn *c, const char *prefix, uint64_t *ret_revision,
	uint64_t *ret_covered, struct err *e);
/* All of it, in order and page by page, as of one moment. */
int store_etcd_walk(struct etcd_conn *c, const char *prefix, store_walk_take *take, void *ctx,
	uint64_t *ret_revision, struct err *e);

#endif
