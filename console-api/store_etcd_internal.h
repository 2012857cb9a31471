/* SPDX-License-Identifier: Apache-2.0 */
/* What store_etcd.c and store_etcd_open.c share. */
#ifndef CONSOLE_API_STORE_ETCD_INTERNAL_H
#define CONSOLE_API_STORE_ETCD_INTERNAL_H

#include <json-c/printbuf.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "console-api/store_etcd_watch.h"
#include "lib/clock.h"
#include "lib/log.h"

#define NUMBER_LEN 16u /* hexadecimal digits of a marker's number, and of a generation */

struct store_etcd {
	struct store base;
	struct etcd *etcd;
	struct etcd_conn *conn;
	struct store *mirror;
	struct etcd_watch *watch; /* NULL until store_start() */
	char *prefix;
	char *marker;        /* key under the prefix */
	uint64_t marker_mod; /* its mod_revision as far as is known */
	uint64_t revision;   /* of the mirror */
	uint64_t covered;    /* of etcd's, when the mirror was read */
	bool missed;         /* commits happened without a watch: the mirror may lack others' */
	struct log_limit log_limit;
};

extern const struct store_ops store_etcd_ops;

/* Parts of a transaction, as etcd's gateway has them. */
void etcd_txn_compare(
	struct printbuf *out, const char *prefix, const char *key, uint64_t mod_revision);
void etcd_txn_put(struct printbuf *out, const char *prefix, const char *key, const char *value);
/* A random one. */
void etcd_txn_number(char ret_number[NUMBER_LEN + 1]);

static inline void cleanup_printbuf(struct printbuf **out)
{
	printbuf_free(*out);
}

static inline struct printbuf *text_new(void)
{
	struct printbuf *out = printbuf_new();

	if (!out)
		abort();
	return out;
}

static inline void append(struct printbuf *out, const char *text)
{
	printbuf_memappend(out, text, (int)strlen(text));
}

static inline uint64_t monotonic_ns(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

#endif
