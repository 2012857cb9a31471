/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics: what nodes report of their traffic, kept as time series (stats_series.h) of
 *
 *   a node in a network   bytes and packets in and out
 *   a network             the sum of its nodes (so a frame between two of them counts in both)
 *   a node                frames dropped, by reason
 *   a node and a peer     round-trip time and loss of probes; from 1 minute up
 *
 * Each console keeps what was reported to it; nothing of it is in the store. stats_file.h keeps it
 * on disk. Thread-safe by stats_lock(); whoever holds the registry's lock may take this one, not the
 * other way round.
 */
#ifndef CONSOLE_API_STATS_H
#define CONSOLE_API_STATS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "console-api/problem.h"
#include "console-api/stats_series.h"
#include "console-api/store.h"
#include "lib/netmap.h"

/* Of a node in a network, and of a network. */
enum stats_metric {
	STATS_RX_BYTES,
	STATS_TX_BYTES,
	STATS_RX_PACKETS,
	STATS_TX_PACKETS,
	STATS_METRICS
};
const char *stats_metric_name(enum stats_metric metric);

/* Of a node and a peer: sums, from which the two figures are made. */
enum stats_probe { STATS_SENT, STATS_ANSWERED, STATS_RTT_US, STATS_PROBES };

#define STATS_REASONS_MAX     64  /* of drops, of a node */
#define STATS_REASON_NAME_MAX 32  /* of a-z, 0-9 and _ */
#define STATS_PAIRS_MAX       64  /* peers of a node */
#define STATS_PAIR_KEEP_S     900 /* so long after it was measured a peer gives way to no other */
#define STATS_GAP_MAX_S       900 /* without a report: longer ones are not filled */

/* -- what a node reports: docs/statistics.md has the form -- */

#define STATS_REPORT_NETWORKS 256
#define STATS_REPORT_SECONDS  60
#define STATS_REPORT_PEERS    64

struct stats_report {
	bool present;
	uint64_t instance;    /* drawn when vand started */
	uint64_t tick;        /* seconds since then: up to where everything here was counted */
	unsigned int seconds; /* for which `last` has figures, the latest being that of tick */
	size_t network_count;
	struct {
		char id[NETMAP_ID_MAX + 1];
		uint64_t
			total[STATS_METRICS]; /* since the start, or since the network was joined */
		uint64_t
			*last; /* heap: [seconds][STATS_METRICS]; NULL: no figures, spread evenly */
	} * networks;          /* heap */
	size_t drop_count;
	struct {
		char name[STATS_REASON_NAME_MAX + 1];
		uint64_t total; /* since the start */
	} drops[STATS_REASONS_MAX];
	size_t peer_count;
	struct {
		char id[NETMAP_ID_MAX + 1];
		uint64_t sent, answered, rtt_us; /* the mean of those answered */
	} peers[STATS_REPORT_PEERS];
};

/* Of the whole body of a report: its member "stats", when there is one. What exceeds the bounds in
 * number is left out. stats_report_done() when done with it, not after a failure. */
int stats_report_from_json(
	struct json_object *body, struct stats_report *ret_report, struct problem *p);
void stats_report_done(struct stats_report *report);

/* -- the whole -- */

struct stats;

/* memory_limit: bytes that all series together may take before history is given up. */
struct stats *stats_new(size_t memory_limit);
void stats_free(struct stats *st); /* NULL is fine */

void stats_lock(struct stats *st);
void stats_unlock(struct stats *st);

/* Takes a report. Networks that is_member() denies are left out. Without the lock; nor does it take
 * the lock during is_member(). */
typedef bool stats_is_member(void *ctx, const char *net_id, const char *node_id);
void stats_take(struct stats *st, const char *node_id, const struct stats_report *report,
	uint64_t now_s, stats_is_member *is_member, void *ctx);

/* For store_on_change(): forgets what was deleted. When anything may have changed, and at the start,
 * stats_sweep() compares everything with the store. */
void stats_on_change(void *stats, uint64_t revision, const struct store_op *ops, size_t n);
/* With the registry's lock. Does nothing unless it is needed. */
void stats_sweep(struct stats *st, struct store *store);

/* -- reading; with the lock -- */

struct stats_span {
	enum stats_ring ring;
	uint64_t first; /* slot: seconds since 1970 / step_s */
	size_t count;
};

/* Each adds to sums and sets known, as stats_series_sum() does; unknown ids add nothing. */
void stats_read_network(struct stats *st, const char *net_id, const struct stats_span *span,
	enum stats_metric metric, uint64_t *sums, bool *known);
/* net_id NULL: all networks of the node. */
void stats_read_node(struct stats *st, const char *node_id, const char *net_id,
	const struct stats_span *span, enum stats_metric metric, uint64_t *sums, bool *known);
/* reason NULL: all of them. */
void stats_read_drops(struct stats *st, const char *node_id, const char *reason,
	const struct stats_span *span, uint64_t *sums, bool *known);
void stats_read_peer(struct stats *st, const char *node_id, const char *peer_id,
	const struct stats_span *span, enum stats_probe probe, uint64_t *sums, bool *known);

/* The networks and the peers of a node of which something is known, and its reasons of drops. */
typedef void stats_visit_id(void *ctx, const char *id);
void stats_each_network_of(struct stats *st, const char *node_id, stats_visit_id *visit, void *ctx);
void stats_each_peer_of(struct stats *st, const char *node_id, stats_visit_id *visit, void *ctx);
void stats_each_reason_of(struct stats *st, const char *node_id, stats_visit_id *visit, void *ctx);

/* Totals since the console first heard of the thing (they never go back but when that is forgotten,
 * survive restarts, and are what /metrics shows). */
typedef void stats_visit_network(
	void *ctx, const char *net_id, const uint64_t totals[STATS_METRICS]);
void stats_each_network(struct stats *st, stats_visit_network *visit, void *ctx);
typedef void stats_visit_member(
	void *ctx, const char *net_id, const char *node_id, const uint64_t totals[STATS_METRICS]);
void stats_each_member(struct stats *st, stats_visit_member *visit, void *ctx);
typedef void stats_visit_drop(void *ctx, const char *node_id, const char *reason, uint64_t total);
void stats_each_drop(struct stats *st, stats_visit_drop *visit, void *ctx);

struct stats_size {
	size_t nodes, series, bytes, limit;
};
struct stats_size stats_size(struct stats *st);

#endif
