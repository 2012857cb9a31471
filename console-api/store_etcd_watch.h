/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows what is written under a prefix of etcd, in two threads: one reads the stream of changes,
 * the other asks the cluster once a second, by a read that needs a quorum, which transaction was
 * the last: a stream that stands still is noticed by that, and changed for another member's.
 */
#ifndef CONSOLE_API_STORE_ETCD_WATCH_H
#define CONSOLE_API_STORE_ETCD_WATCH_H

#include "console-api/store_etcd.h"

struct etcd_watch;

/* One transaction, or everything read anew where the stream's past was compacted away. */
struct etcd_change {
	struct etcd_change *next;
	uint64_t revision;
	struct store_op *ops; /* heap, without markers */
	size_t op_count;
	uint64_t generation;           /* the new one when somebody put it, else 0 */
	struct etcd_snapshot snapshot; /* its mirror is NULL unless everything was read anew */
	size_t bytes;
};
void etcd_change_free(
	struct etcd_change *change); /* one; the mirror goes too unless it was taken */

/* What comes after the snapshot. */
int etcd_watch_new(struct etcd *etcd, const char *prefix, const struct etcd_snapshot *from,
	struct etcd_watch **ret_watch, struct err *e);
void etcd_watch_free(struct etcd_watch *w); /* NULL is fine */

int etcd_watch_fd(const struct etcd_watch *w); /* readable when there are changes */
/* All that have come, oldest first; the caller's. */
struct etcd_change *etcd_watch_take(struct etcd_watch *w);
/* Waits until there is one. False when there is none by then. */
bool etcd_watch_wait(struct etcd_watch *w, uint64_t deadline_ns);
/* The stream should come from this endpoint: it is known to be further. */
void etcd_watch_move(struct etcd_watch *w, size_t endpoint);

/* Whether the last call to the cluster was answered. */
bool etcd_watch_healthy(struct etcd_watch *w);
/* A transaction found that it is not. */
void etcd_watch_failed(struct etcd_watch *w);
/* How old what is known can be, at most, for somebody who has carried out everything up to this
 * revision: nanoseconds. */
uint64_t etcd_watch_age_ns(struct etcd_watch *w, uint64_t applied);

#endif
