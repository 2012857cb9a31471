/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of stores: an empty one of any kind, and short cuts. */
#ifndef TEST_UNIT_STORE_SUITE_H
#define TEST_UNIT_STORE_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <sodium.h>
#include <sys/stat.h>
#include "console-api/store.h"
#include "console-api/store_etcd.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "test/unit/etcd_server.h"

struct fixture {
	struct etcd_server *etcd; /* NULL: SQLite */
	char dir[64];
	char path[96]; /* of the file, or the prefix in etcd */
	struct store *s;
};

/* Another console's handle on the store; the instance is its name among them. */
static inline struct store *suite_open(struct fixture *f, const char *instance)
{
	struct store *s = NULL;
	struct err e = {0};
	int rc;

	if (f->etcd) {
		const char *const endpoints[] = {f->etcd->url};
		const struct store_etcd_options options = {
			.etcd = {.endpoints = endpoints, .endpoint_count = 1, .timeout_ms = 2000},
			.prefix = f->path,
			.instance = instance,
		};

		rc = store_etcd_open(&options, 10000, &s, &e);
		if (!rc)
			rc = store_start(s, &e);
	} else {
		rc = store_sqlite_open(f->path, &s, &e);
	}
	if (rc)
		fail_msg("%s", e.text);
	return s;
}

static inline void reopen(struct fixture *f)
{
	store_close(f->s);
	f->s = suite_open(f, "one");
}

static inline struct fixture *fixture_new(struct etcd_server *etcd)
{
	static unsigned int count;
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_true(sodium_init() >= 0);
	f->etcd = etcd;
	snprintf(f->dir, sizeof(f->dir), "%s", "/tmp/test-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	if (etcd)
		snprintf(f->path, sizeof(f->path), "/test-%u/", count++);
	else
		snprintf(f->path, sizeof(f->path), "%s/store", f->dir);
	reopen(f);
	return f;
}

static inline void fixture_free(struct fixture *f)
{
	static const char *const tails[] = {"", "-wal", "-shm"};
	char path[128];

	store_close(f->s);
	for (size_t i = 0; i < 3 && !f->etcd; i++) {
		snprintf(path, sizeof(path), "%s%s", f->path, tails[i]);
		unlink(path);
	}
	rmdir(f->dir);
	free(f);
}

static inline uint64_t put(struct store *s, const char *key, const char *value)
{
	CLEANUP(store_txn) struct store_txn txn;
	uint64_t revision;

	store_txn_init(&txn);
	store_txn_put(&txn, key, value);
	assert_int_equal(store_commit(s, &txn, &revision), 0);
	return revision;
}

static inline void assert_value(struct store *s, const char *key, const char *value)
{
	CLEANUP(store_item) struct store_item item = {0};

	assert_int_equal(store_get(s, key, &item), 0);
	assert_string_equal(item.key, key);
	assert_string_equal(item.value, value);
}

static inline void assert_absent(struct store *s, const char *key)
{
	struct store_item item = {0};

	assert_int_equal(store_get(s, key, &item), -ENOENT);
	assert_null(item.value);
}

/* Polls the store until the condition holds; fails after 30 s. */
#define UNTIL(s, condition)                                                      \
	do {                                                                     \
		uint64_t end_ = clock_read(CLOCK_MONOTONIC) + 30 * NS_PER_S;     \
                                                                                 \
		while (!(condition)) {                                           \
			if (clock_read(CLOCK_MONOTONIC) > end_)                  \
				fail_msg("%s: not within 30 s", #condition);     \
			nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); \
			store_poll(s);                                           \
		}                                                                \
	} while (0)

static inline bool has_value(struct store *s, const char *key, const char *value)
{
	CLEANUP(store_item) struct store_item item = {0};

	return store_get(s, key, &item) == 0 && !strcmp(item.value, value);
}

#endif
