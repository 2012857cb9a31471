/* SPDX-License-Identifier: Apache-2.0 */
/* What the SQLite store offers beyond store.h: to the store in etcd, whose mirror it is, to
 * backups, and to tests. */
#ifndef CONSOLE_API_STORE_SQLITE_H
#define CONSOLE_API_STORE_SQLITE_H

#include "console-api/embed.h"
#include "console-api/store.h"

/* The scripts that make a schema from the one before it; the first one is run on an empty file. */
struct store_sqlite_schemas {
	const struct embedded *files;
	size_t count;
};

/* store_sqlite_open() by other schemas than this version's. Each script is run in one transaction;
 * one that fails leaves the file at the schema before it: -VAN_E_CORRUPT, like a newer schema. */
int store_sqlite_open_as(const char *path, const struct store_sqlite_schemas *schemas,
	bool read_only, struct store **ret_store, struct err *e);
/* The store in a file that somebody else may have open, for reading alone: it must be there, and is
 * left at its schema. */
int store_sqlite_open_read(const char *path, struct store **ret_store, struct err *e);

/* Puts an item as it is, revisions included. */
int store_sqlite_fill(struct store *s, const struct store_item *item);
/* Carries out a transaction of somebody else, which `teller` tells of. Keys that `skip` (may be
 * NULL) wants are told only. */
int store_sqlite_replay(struct store *s, const struct store_op *ops, size_t n, uint64_t revision,
	bool (*skip)(const char *key), struct store *teller);

/*
 * Copies the store in the file `path`, which may be in use, to the file `to` (0600; replaced when
 * it is there), as of one moment. The copy is a store of its own: who opens it draws another
 * generation for it. progress (may be NULL) is called now and then.
 */
typedef void store_sqlite_progress(void *ctx, int pages_left, int pages);
int store_sqlite_backup(const char *path, const char *to, store_sqlite_progress *progress,
	void *ctx, struct err *e);

#endif
