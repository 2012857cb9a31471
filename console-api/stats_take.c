/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a report becomes figures. Its counters are absolute, so what was counted since the report
 * before is known exactly, however many reports were lost in between; and it says second by second
 * when the latest part of that was. The rest, of a gap of at most STATS_GAP_MAX_S, is spread evenly
 * over the gap: sums stay right, only the shape is lost. Over a longer gap nothing is known.
 *
 * Seconds are the node's own (ticks since vand started), laid on the console's clock where the first
 * report put them. Reports come a little early or late; only when a tick is off by more than
 * DRIFT_MAX_S are they laid anew, so that second follows second without holes and overlaps.
 */
#include "console-api/stats_internal.h"

#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"

#define DRIFT_MAX_S 2
/* Nobody moves more in a second: what a node says beyond it is not believed, for it adds to the sums
 * of others. */
#define PER_SECOND_MAX (1ull << 44)

/* What a report says of time: `seconds` of them are counted, ending with its tick; the last `fine`
 * ones it has figures for. */
struct taken_span {
	unsigned int seconds, fine;
	bool whole;      /* the counters' difference is of just these seconds */
	uint64_t from_s; /* wall clock of the first one */
};

/* One metric in these seconds: an even share in the first `over` of them (one more in the first
 * `extra`), and the figures of the report. */
struct taken_metric {
	uint64_t share, extra;
	unsigned int over;
	bool use_last;
	uint64_t sum;
};

static uint64_t at_most(uint64_t value, uint64_t max)
{
	return value < max ? value : max;
}

static struct taken_span span_of(
	const struct stats_node *n, const struct stats_report *report, bool same, uint64_t now_s)
{
	uint64_t gap = report->tick - (same ? n->tick : 0);
	struct taken_span span = {.fine = (unsigned int)at_most(report->seconds, gap)};

	span.whole = gap <= STATS_GAP_MAX_S;
	span.seconds = span.whole ? (unsigned int)gap : span.fine;
	span.from_s =
		at_most(report->tick + (uint64_t)n->offset_s, now_s + DRIFT_MAX_S) - span.seconds;
	return span;
}

/* The figure of the k-th of the fine seconds. */
static uint64_t last_figure(const uint64_t *last, unsigned int seconds,
	const struct taken_span *span, unsigned int k, size_t metric)
{
	size_t row = seconds - span->fine + k;

	return at_most(last[row * STATS_METRICS + metric], PER_SECOND_MAX);
}

static struct taken_metric metric_of(const struct taken_span *span, uint64_t delta,
	const uint64_t *last, unsigned int last_seconds, size_t metric)
{
	struct taken_metric t = {.use_last = last != NULL, .over = span->seconds};
	uint64_t fine_sum = 0, rest;

	delta = at_most(delta, span->seconds * PER_SECOND_MAX);
	for (unsigned int k = 0; last && k < span->fine; k++)
		fine_sum += last_figure(last, last_seconds, span, k, metric);
	if (!span->whole)
		delta = fine_sum;
	if (fine_sum > delta) { /* at odds with its own counters: these it is */
		t.use_last = false;
		fine_sum = 0;
	}
	rest = delta - fine_sum;
	if (t.use_last && span->seconds > span->fine)
		t.over = span->seconds - span->fine;
	if (t.over) {
		t.share = rest / t.over;
		t.extra = rest % t.over;
	}
	t.sum = delta;
	return t;
}

static void take_network(struct stats *st, struct stats_node *n, const struct stats_report *report,
	size_t i, const struct taken_span *span)
{
	struct stats_member *m = stats_make_member(st, n, report->networks[i].id);
	struct stats_network *net = stats_make_network(st, report->networks[i].id);
	const uint64_t *total = report->networks[i].total, *last = report->networks[i].last;
	struct taken_metric metrics[STATS_METRICS];

	for (size_t k = 0; k < STATS_METRICS; k++) {
		/* A counter that went back began anew: the node left the network and came again. */
		uint64_t base = m->base[k] <= total[k] ? m->base[k] : 0;

		metrics[k] = metric_of(span, total[k] - base, last, report->seconds, k);
		m->base[k] = total[k];
		m->totals[k] += metrics[k].sum;
		net->totals[k] += metrics[k].sum;
	}
	for (unsigned int s = 0; s < span->seconds; s++) {
		uint64_t values[STATS_METRICS];

		for (size_t k = 0; k < STATS_METRICS; k++) {
			const struct taken_metric *t = &metrics[k];

			values[k] = s < t->over ? t->share + (s < t->extra) : 0;
			if (t->use_last && s >= span->seconds - span->fine)
				values[k] += last_figure(last, report->seconds, span,
					s - (span->seconds - span->fine), k);
		}
		stats_series_add(&m->item.series, span->from_s + s, values, STATS_METRICS);
		stats_series_add(&net->item.series, span->from_s + s, values, STATS_METRICS);
	}
	stats_series_pack(&m->item.series, span->from_s + span->seconds);
	stats_series_pack(&net->item.series, span->from_s + span->seconds);
	stats_changed(st, &m->item);
	stats_changed(st, &net->item);
}

static void take_drops(struct stats *st, struct stats_node *n, const struct stats_report *report,
	const struct taken_span *span)
{
	struct taken_metric metrics[STATS_REASONS_MAX] = {0};
	uint64_t values[STATS_REASONS_MAX];

	for (size_t i = 0; i < report->drop_count; i++) {
		uint64_t total = report->drops[i].total, base;
		struct stats_reason *reason = stats_make_reason(st, n, report->drops[i].name);
		struct taken_metric *t;

		if (!reason)
			continue;
		base = reason->base <= total ? reason->base : 0;
		t = &metrics[reason - n->reasons];
		*t = metric_of(span, total - base, NULL, 0, 0);
		reason->base = total;
		reason->total += t->sum;
	}
	for (unsigned int s = 0; s < span->seconds; s++) {
		for (size_t k = 0; k < n->reason_count; k++)
			values[k] = metrics[k].share + (s < metrics[k].extra);
		stats_series_add(&n->item.series, span->from_s + s, values, n->reason_count);
	}
	stats_series_pack(&n->item.series, span->from_s + span->seconds);
	stats_changed(st, &n->item);
}

static void take_peers(
	struct stats *st, struct stats_node *n, const struct stats_report *report, uint64_t now_s)
{
	for (size_t i = 0; i < report->peer_count; i++) {
		const uint64_t values[STATS_PROBES] = {
			[STATS_SENT] = report->peers[i].sent,
			[STATS_ANSWERED] = report->peers[i].answered,
			[STATS_RTT_US] = report->peers[i].answered * report->peers[i].rtt_us,
		};
		struct stats_pair *p;

		if (!strcmp(report->peers[i].id, n->id))
			continue;
		p = stats_make_pair(st, n, report->peers[i].id, now_s);
		if (!p)
			continue;
		stats_series_add(&p->item.series, now_s, values, STATS_PROBES);
		stats_series_pack(&p->item.series, now_s);
		stats_changed(st, &p->item);
	}
}

/* Counters began at zero. */
static void restart(struct stats_node *n)
{
	list_for_each (it, &n->members)
		memset(container_of(it, struct stats_member, node)->base, 0,
			sizeof(((struct stats_member *)0)->base));
	for (size_t i = 0; i < n->reason_count; i++)
		n->reasons[i].base = 0;
}

static void take(struct stats *st, const char *node_id, const struct stats_report *report,
	uint64_t now_s, const bool *allowed)
{
	struct stats_node *n = stats_make_node(st, node_id);
	bool same = n->instance == report->instance;
	int64_t offset_s = (int64_t)now_s - (int64_t)report->tick;
	struct taken_span span;

	if (same && report->tick <= n->tick)
		return; /* counted already: its answer was lost, so it came again */
	if (n->heard_s == now_s)
		return; /* the next one says it all; and nobody keeps us busy with this */
	n->heard_s = now_s;
	if (!same)
		restart(n);
	if (!same || llabs(offset_s - n->offset_s) > DRIFT_MAX_S)
		n->offset_s = offset_s;
	span = span_of(n, report, same, now_s);
	for (size_t i = 0; i < report->network_count; i++)
		if (allowed[i])
			take_network(st, n, report, i, &span);
	take_drops(st, n, report, &span);
	take_peers(st, n, report, now_s);
	n->instance = report->instance;
	n->tick = report->tick;
}

void stats_take(struct stats *st, const char *node_id, const struct stats_report *report,
	uint64_t now_s, stats_is_member *is_member, void *ctx)
{
	bool allowed[STATS_REPORT_NETWORKS];

	if (!report->present)
		return;
	for (size_t i = 0; i < report->network_count; i++)
		allowed[i] = is_member(ctx, report->networks[i].id, node_id);
	stats_lock(st);
	take(st, node_id, report, now_s, allowed);
	stats_unlock(st);
}
