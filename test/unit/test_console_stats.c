/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the reports of nodes: sums that are right whatever gets lost, in bounded memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <json-c/json.h>
#include <sodium.h>
#include "console-api/stats.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define NOW   1700000000ull
#define LIMIT (64u << 20)

static int setup(void **state)
{
	assert_true(sodium_init() >= 0);
	*state = stats_new(LIMIT);
	return 0;
}

static int teardown(void **state)
{
	struct stats *st = *state;

	stats_free(st);
	return 0;
}

static bool everywhere(void *ctx, const char *net_id, const char *node_id)
{
	(void)ctx;
	(void)net_id;
	(void)node_id;
	return true;
}

static int parse(const char *text, struct stats_report *ret_report, struct problem *p)
{
	CLEANUP(json) struct json_object *o = NULL;
	struct err e = {0};

	if (json_parse(text, strlen(text), &o, &e))
		fail_msg("%s in %s", e.text, text);
	return stats_report_from_json(o, ret_report, p);
}

/* A report of one network, net_a; `more` is put at the end of it: ",…" or "". */
static void take_more(struct stats *st, const char *node, uint64_t now_s, const char *instance,
	uint64_t tick, unsigned int seconds, uint64_t rx, uint64_t tx, const char *more)
{
	struct stats_report report;
	struct problem p = {0};
	char text[4096];

	snprintf(text, sizeof(text),
		"{\"stats\":{\"instance\":\"%s\",\"tick\":%llu,\"seconds\":%u,\"networks\":[{\"id\":"
		"\"net_a\",\"rx_bytes\":%llu,\"tx_bytes\":%llu,\"rx_packets\":%llu,\"tx_packets\":"
		"%llu%s",
		instance, (unsigned long long)tick, seconds, (unsigned long long)rx,
		(unsigned long long)tx, (unsigned long long)rx / 10, (unsigned long long)tx / 10,
		*more ? more : "}]}}");
	if (parse(text, &report, &p))
		fail_msg("%s: %s", p.detail, text);
	stats_take(st, node, &report, now_s, everywhere, NULL);
	stats_report_done(&report);
}

#define ONE "00000000000000aa"
#define TWO "00000000000000bb"

static void take(struct stats *st, const char *node, uint64_t now_s, const char *instance,
	uint64_t tick, uint64_t rx, uint64_t tx)
{
	take_more(st, node, now_s, instance, tick, 10, rx, tx, "");
}

/* The sum of what is known, and in how many slots that is. */
struct total {
	uint64_t sum;
	size_t known;
	uint64_t first; /* the first known slot's value, and the last one's */
	uint64_t last;
};

static struct total add_up(const uint64_t *sums, const bool *known, size_t count)
{
	struct total t = {0};

	for (size_t i = 0; i < count; i++) {
		if (!known[i])
			continue;
		if (!t.known)
			t.first = sums[i];
		t.sum += sums[i];
		t.last = sums[i];
		t.known++;
	}
	return t;
}

static struct total network(
	struct stats *st, const char *id, enum stats_metric metric, uint64_t from_s, size_t seconds)
{
	struct stats_span span = {.ring = STATS_1S, .first = from_s, .count = seconds};
	static uint64_t sums[4320];
	static bool known[4320];

	memset(sums, 0, sizeof(sums));
	memset(known, 0, sizeof(known));
	stats_lock(st);
	stats_read_network(st, id, &span, metric, sums, known);
	stats_unlock(st);
	return add_up(sums, known, seconds);
}

static struct total node(struct stats *st, const char *id, const char *net,
	enum stats_metric metric, uint64_t from_s, size_t seconds)
{
	struct stats_span span = {.ring = STATS_1S, .first = from_s, .count = seconds};
	static uint64_t sums[4320];
	static bool known[4320];

	memset(sums, 0, sizeof(sums));
	memset(known, 0, sizeof(known));
	stats_lock(st);
	stats_read_node(st, id, net, &span, metric, sums, known);
	stats_unlock(st);
	return add_up(sums, known, seconds);
}

static struct total drops(
	struct stats *st, const char *id, const char *reason, uint64_t from_s, size_t seconds)
{
	struct stats_span span = {.ring = STATS_1S, .first = from_s, .count = seconds};
	static uint64_t sums[4320];
	static bool known[4320];

	memset(sums, 0, sizeof(sums));
	memset(known, 0, sizeof(known));
	stats_lock(st);
	stats_read_drops(st, id, reason, &span, sums, known);
	stats_unlock(st);
	return add_up(sums, known, seconds);
}

struct totals {
	uint64_t rx, drops;
	size_t networks;
};

static void add_network(void *ctx, const char *id, const uint64_t totals[STATS_METRICS])
{
	struct totals *t = ctx;

	(void)id;
	t->rx += totals[STATS_RX_BYTES];
	t->networks++;
}

static void add_drop(void *ctx, const char *node_id, const char *reason, uint64_t total)
{
	struct totals *t = ctx;

	(void)node_id;
	(void)reason;
	t->drops += total;
}

static struct totals totals(struct stats *st)
{
	struct totals t = {0};

	stats_lock(st);
	stats_each_network(st, add_network, &t);
	stats_each_drop(st, add_drop, &t);
	stats_unlock(st);
	return t;
}

/* -- reports -- */

static void seconds_as_reported(void **state)
{
	struct stats *st = *state;
	struct total t;

	take(st, "node_1", NOW, ONE, 0, 0, 0);
	take_more(st, "node_1", NOW + 10, ONE, 10, 10, 55, 0,
		",\"last\":{\"rx_bytes\":[1,2,3,4,5,6,7,8,9,10],\"rx_packets\":[0,0,0,0,0,0,0,0,0,5]}}]}}");
	t = network(st, "net_a", STATS_RX_BYTES, NOW - 100, 200);
	assert_int_equal(t.known, 10);
	assert_int_equal(t.sum, 55);
	assert_int_equal(t.first, 1);
	assert_int_equal(t.last, 10);
	t = node(st, "node_1", NULL, STATS_RX_PACKETS, NOW, 10);
	assert_int_equal(t.sum, 5);
	assert_int_equal(t.last, 5);
	t = node(st, "node_1", "net_a", STATS_TX_BYTES, NOW, 10);
	assert_int_equal(t.known, 10);
	assert_int_equal(t.sum, 0);
	assert_int_equal(node(st, "node_1", "net_b", STATS_RX_BYTES, NOW, 10).known, 0);
	assert_int_equal(node(st, "node_2", NULL, STATS_RX_BYTES, NOW, 10).known, 0);
	assert_int_equal(network(st, "net_b", STATS_RX_BYTES, NOW, 10).known, 0);
}

/* Reports come a little early and late; seconds stay where they are. */
static void seconds_do_not_overlap(void **state)
{
	static const int jitter[] = {0, 1, -1, 2, 0, -2, 1, 1, 0, -1};
	struct stats *st = *state;
	struct total t;

	take(st, "node_1", NOW, ONE, 100, 1000, 0);
	for (uint64_t i = 1; i <= 10; i++)
		take_more(st, "node_1", NOW + 10 * i + (uint64_t)(int64_t)jitter[i - 1], ONE,
			100 + 10 * i, 10, 1000 + 70 * i, 0,
			",\"last\":{\"rx_bytes\":[7,7,7,7,7,7,7,7,7,7]}}]}}");
	t = network(st, "net_a", STATS_RX_BYTES, NOW, 100);
	assert_int_equal(t.known, 100);
	assert_int_equal(t.sum, 700);
	assert_int_equal(t.first, 7);
	assert_int_equal(t.last, 7);
}

static void two_nodes_add_up(void **state)
{
	struct stats *st = *state;

	for (uint64_t i = 0; i <= 3; i++) {
		take(st, "node_1", NOW + 10 * i, ONE, 10 * i, 100 * i, 0);
		take(st, "node_2", NOW + 5 + 10 * i, TWO, 10 * i, 20 * i, 0);
	}
	assert_int_equal(network(st, "net_a", STATS_RX_BYTES, NOW, 50).sum, 360);
	assert_int_equal(node(st, "node_1", NULL, STATS_RX_BYTES, NOW, 50).sum, 300);
	assert_int_equal(node(st, "node_2", NULL, STATS_RX_BYTES, NOW, 50).sum, 60);
	assert_int_equal(network(st, "net_a", STATS_RX_BYTES, NOW + 5, 10).sum, 10 * 10 + 10 * 2);
}

static void lost_reports(void **state)
{
	struct stats *st = *state;
	struct total t;

	take(st, "node_1", NOW, ONE, 0, 0, 0);
	/* 300 s later; of the last 10 the node has figures. */
	take_more(st, "node_1", NOW + 300, ONE, 300, 10, 1000, 0,
		",\"last\":{\"rx_bytes\":[0,0,0,0,0,0,0,0,0,130]}}]}}");
	t = network(st, "net_a", STATS_RX_BYTES, NOW, 300);
	assert_int_equal(t.known, 300);
	assert_int_equal(t.sum, 1000);
	assert_int_equal(t.first, 3); /* 870 in 290 s */
	assert_int_equal(t.last, 130);
	/* Longer than that: only what there are figures for. */
	take_more(st, "node_1", NOW + 2000, ONE, 2000, 10, 900000, 0,
		",\"last\":{\"rx_bytes\":[1,1,1,1,1,1,1,1,1,1]}}]}}");
	t = network(st, "net_a", STATS_RX_BYTES, NOW + 1200, 900);
	assert_int_equal(t.known, 10);
	assert_int_equal(t.sum, 10);
	assert_int_equal(totals(st).rx, 1010);
	/* And from there on as ever. */
	take(st, "node_1", NOW + 2010, ONE, 2010, 900050, 0);
	assert_int_equal(totals(st).rx, 1060);
}

static void came_twice(void **state)
{
	struct stats *st = *state;

	take(st, "node_1", NOW, ONE, 10, 100, 0);
	take(st, "node_1", NOW + 1, ONE, 10, 100, 0);
	take(st, "node_1", NOW + 2, ONE, 9, 90, 0);
	assert_int_equal(totals(st).rx, 100);
	/* Its answer was lost, so the node sends those seconds once more, with newer ones. */
	take_more(st, "node_1", NOW + 10, ONE, 20, 20, 150, 0,
		",\"last\":{\"rx_bytes\":[10,10,10,10,10,10,10,10,10,10,5,5,5,5,5,5,5,5,5,5]}}]}}");
	assert_int_equal(totals(st).rx, 150);
	assert_int_equal(network(st, "net_a", STATS_RX_BYTES, NOW - 20, 40).sum, 150);
}

static void restarts(void **state)
{
	struct stats *st = *state;
	struct total t;

	/* The console heard of it for the first time when it had run for a year: nothing is known. */
	take(st, "node_1", NOW, ONE, 31536000, 1ull << 40, 0);
	assert_int_equal(totals(st).rx, 0);
	assert_int_equal(network(st, "net_a", STATS_RX_BYTES, NOW - 100, 101).known, 10);
	take(st, "node_1", NOW + 10, ONE, 31536010, (1ull << 40) + 500, 0);
	assert_int_equal(totals(st).rx, 500);
	/* vand was restarted 4 s ago. */
	take(st, "node_1", NOW + 60, TWO, 4, 44, 0);
	assert_int_equal(totals(st).rx, 544);
	t = network(st, "net_a", STATS_RX_BYTES, NOW + 10, 50);
	assert_int_equal(t.known, 4);
	assert_int_equal(t.sum, 44);
	/* It left the network and came again: that counter began anew, the ticks did not. */
	take(st, "node_1", NOW + 70, TWO, 14, 10, 0);
	assert_int_equal(totals(st).rx, 554);
}

/* The console's clock is set back, by seconds and by a day, and forth again: ticks are the node's, so
 * nothing is lost or counted twice; what comes is at the new time. */
static void clock_steps(void **state)
{
	static const int64_t steps[] = {0, -5, -86400, 0, 86400, -30, 0};
	struct stats *st = *state;
	uint64_t tick = 10, rx = 0;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		for (int k = 0; k < 12; k++, tick += 10) {
			uint64_t now_s = NOW + tick + (uint64_t)steps[i];

			rx += 10;
			take(st, "node_1", now_s, ONE, tick, rx, 0);
			assert_int_equal(totals(st).rx, rx);
			assert_int_equal(
				network(st, "net_a", STATS_RX_BYTES, now_s - 10, 10).known, 10);
		}
	}
	for (size_t i = 0; i < 2; i++) { /* of three days at the coarsest, nothing is missing */
		struct stats_span span = {
			.ring = STATS_10M, .first = (NOW - 2 * 86400) / 600, .count = 4 * 144};
		uint64_t sums[4 * 144] = {0};
		bool known[4 * 144] = {0};

		stats_lock(st);
		if (i)
			stats_read_node(st, "node_1", NULL, &span, STATS_RX_BYTES, sums, known);
		else
			stats_read_network(st, "net_a", &span, STATS_RX_BYTES, sums, known);
		stats_unlock(st);
		assert_int_equal(add_up(sums, known, span.count).sum, rx);
	}
}

static void at_odds_with_itself(void **state)
{
	struct stats *st = *state;
	struct total t;

	take(st, "node_1", NOW, ONE, 0, 0, 0);
	/* The figures are more than the counter says: the counter it is. */
	take_more(st, "node_1", NOW + 10, ONE, 10, 10, 20, 0,
		",\"last\":{\"rx_bytes\":[9,9,9,9,9,9,9,9,9,9]}}]}}");
	t = network(st, "net_a", STATS_RX_BYTES, NOW, 10);
	assert_int_equal(t.sum, 20);
	assert_int_equal(t.first, 2);
	/* More than anybody can send. */
	take(st, "node_1", NOW + 20, ONE, 20, INT64_MAX, 0);
	assert_true(totals(st).rx < 1ull << 48);
	take_more(st, "node_1", NOW + 30, ONE, 30, 10, INT64_MAX, 0,
		",\"last\":{\"rx_bytes\":[9223372036854775807,9223372036854775807,0,0,0,0,0,0,0,0]}}]}}");
	assert_true(totals(st).rx < 1ull << 48);
}

/* One a second: whoever sends more of them keeps nobody busy, and nothing is lost. */
static void too_often(void **state)
{
	struct stats *st = *state;

	for (uint64_t i = 1; i <= 100; i++)
		take(st, "node_1", NOW, ONE, i, 10 * i, 0);
	assert_int_equal(totals(st).rx, 10);
	take(st, "node_1", NOW + 1, ONE, 101, 1010, 0);
	assert_int_equal(totals(st).rx, 1010);
}

static bool only_a(void *ctx, const char *net_id, const char *node_id)
{
	assert_string_equal(node_id, "node_1");
	++*(int *)ctx;
	return !strcmp(net_id, "net_a");
}

static void networks_of_others(void **state)
{
	static const char text[] =
		"{\"stats\":{\"instance\":\"" ONE "\",\"tick\":5,\"networks\":["
		"{\"id\":\"net_b\",\"rx_bytes\":1,\"tx_bytes\":1,\"rx_packets\":1,\"tx_packets\":1},"
		"{\"id\":\"net_a\",\"rx_bytes\":2,\"tx_bytes\":2,\"rx_packets\":2,\"tx_packets\":2}"
		"]}}";
	struct stats *st = *state;
	struct stats_report report;
	struct problem p = {0};
	int asked = 0;

	assert_int_equal(parse(text, &report, &p), 0);
	stats_take(st, "node_1", &report, NOW, only_a, &asked);
	stats_report_done(&report);
	assert_int_equal(asked, 2);
	assert_int_equal(totals(st).networks, 1);
	assert_int_equal(totals(st).rx, 2);
	assert_int_equal(network(st, "net_b", STATS_RX_BYTES, NOW - 10, 20).known, 0);
}

static void count_ids(void *ctx, const char *id)
{
	(void)id;
	++*(int *)ctx;
}

static void drops_by_reason(void **state)
{
	struct stats *st = *state;
	int reasons = 0;

	take(st, "node_1", NOW, ONE, 0, 0, 0);
	assert_int_equal(drops(st, "node_1", NULL, NOW - 10, 10).known, 0);
	take(st, "node_1", NOW + 10, ONE, 10, 0, 0);
	assert_int_equal(drops(st, "node_1", NULL, NOW, 10).known, 10);
	take_more(st, "node_1", NOW + 20, ONE, 20, 10, 0, 0,
		"}],\"drops\":{\"bad_tag\":25,\"runt\":10}}}");
	take_more(st, "node_1", NOW + 30, ONE, 30, 10, 0, 0,
		"}],\"drops\":{\"runt\":10,\"bad_tag\":125,\"too_big\":1}}}");
	assert_int_equal(drops(st, "node_1", "bad_tag", NOW + 10, 20).sum, 125);
	assert_int_equal(drops(st, "node_1", "bad_tag", NOW + 20, 10).sum, 100);
	assert_int_equal(drops(st, "node_1", "runt", NOW + 20, 10).sum, 0);
	assert_int_equal(drops(st, "node_1", "runt", NOW + 20, 10).known, 10);
	assert_int_equal(drops(st, "node_1", NULL, NOW, 30).sum, 136);
	assert_int_equal(drops(st, "node_1", "unheard", NOW, 30).known, 0);
	assert_int_equal(totals(st).drops, 136);
	take_more(st, "node_1", NOW + 40, TWO, 8, 0, 0, 0, "}],\"drops\":{\"bad_tag\":3}}}");
	assert_int_equal(totals(st).drops, 139);
	stats_lock(st);
	stats_each_reason_of(st, "node_1", count_ids, &reasons);
	stats_unlock(st);
	assert_int_equal(reasons, 3);
}

/* A node that invents reasons gets so many and no more. */
static void many_reasons(void **state)
{
	struct stats *st = *state;
	char more[4096];
	int reasons = 0;

	for (int round = 0; round < 5; round++) {
		int n = snprintf(more, sizeof(more), "}],\"drops\":{");

		for (int i = 0; i < 50; i++)
			n += snprintf(more + n, sizeof(more) - (size_t)n, "%s\"r%d_%d\":7",
				i ? "," : "", round, i);
		snprintf(more + n, sizeof(more) - (size_t)n, "}}}");
		take_more(st, "node_1", NOW + 10 * (uint64_t)round, ONE, 10 * (uint64_t)round + 10,
			10, 0, 0, more);
	}
	stats_lock(st);
	stats_each_reason_of(st, "node_1", count_ids, &reasons);
	stats_unlock(st);
	assert_int_equal(reasons, STATS_REASONS_MAX);
	assert_int_equal(totals(st).drops, 7 * STATS_REASONS_MAX);
}

static uint64_t probe(
	struct stats *st, const char *from, const char *to, enum stats_probe probe, uint64_t at_s)
{
	struct stats_span span = {.ring = STATS_1M, .first = at_s / 60, .count = 1};
	uint64_t sum = 0;
	bool known = false;

	stats_lock(st);
	stats_read_peer(st, from, to, &span, probe, &sum, &known);
	stats_unlock(st);
	return known ? sum : UINT64_MAX;
}

static void peers(void **state)
{
	struct stats *st = *state;

	for (uint64_t i = 0; i < 6; i++)
		take_more(st, "node_1", NOW - NOW % 60 + 10 * i, ONE, 10 * i + 1, 10, 0, 0,
			"}],\"peers\":[{\"id\":\"node_2\",\"sent\":2,\"answered\":1,\"rtt_us\":300},"
			"{\"id\":\"node_1\",\"sent\":2,\"answered\":1,\"rtt_us\":300}]}}");
	assert_int_equal(probe(st, "node_1", "node_2", STATS_SENT, NOW), 12);
	assert_int_equal(probe(st, "node_1", "node_2", STATS_ANSWERED, NOW), 6);
	assert_int_equal(probe(st, "node_1", "node_2", STATS_RTT_US, NOW), 1800);
	assert_true(probe(st, "node_1", "node_1", STATS_SENT, NOW) == UINT64_MAX); /* itself */
	assert_true(probe(st, "node_2", "node_1", STATS_SENT, NOW) == UINT64_MAX);
}

static int peer_count(struct stats *st, const char *node_id)
{
	int count = 0;

	stats_lock(st);
	stats_each_peer_of(st, node_id, count_ids, &count);
	stats_unlock(st);
	return count;
}

/* More peers than are kept: those that are measured all the time stay, and only one that has not been
 * for long gives way. */
static void peers_give_way(void **state)
{
	struct stats *st = *state;
	uint64_t tick = 1;
	char more[200];

	for (uint64_t i = 0; i < 2 * STATS_PAIRS_MAX; i++, tick++) {
		snprintf(more, sizeof(more),
			"}],\"peers\":[{\"id\":\"node_x%llu\",\"sent\":1,\"answered\":1,\"rtt_us\":1},"
			"{\"id\":\"node_2\",\"sent\":1,\"answered\":0,\"rtt_us\":0}]}}",
			(unsigned long long)i);
		take_more(st, "node_1", NOW + tick, ONE, tick, 10, 0, 0, more);
	}
	assert_int_equal(peer_count(st, "node_1"), STATS_PAIRS_MAX);
	assert_true(probe(st, "node_1", "node_x0", STATS_SENT, NOW) != UINT64_MAX);
	assert_true(probe(st, "node_1", "node_x100", STATS_SENT, NOW) == UINT64_MAX);
	tick += STATS_PAIR_KEEP_S;
	take_more(st, "node_1", NOW + tick, ONE, tick, 10, 0, 0,
		"}],\"peers\":[{\"id\":\"node_2\",\"sent\":1,\"answered\":0,\"rtt_us\":0},"
		"{\"id\":\"node_y\",\"sent\":3,\"answered\":0,\"rtt_us\":0}]}}");
	assert_int_equal(peer_count(st, "node_1"), STATS_PAIRS_MAX);
	assert_true(probe(st, "node_1", "node_x0", STATS_SENT, NOW) == UINT64_MAX);
	assert_true(probe(st, "node_1", "node_x1", STATS_SENT, NOW) != UINT64_MAX);
	assert_int_equal(probe(st, "node_1", "node_y", STATS_SENT, NOW + tick), 3);
	/* The clock goes back a year: nobody is kept out until then. */
	tick += 10;
	take_more(st, "node_1", NOW - 31536000, ONE, tick, 10, 0, 0,
		"}],\"peers\":[{\"id\":\"node_z\",\"sent\":1,\"answered\":0,\"rtt_us\":0}]}}");
	assert_int_equal(probe(st, "node_1", "node_z", STATS_SENT, NOW - 31536000), 1);
}

/* 200 nodes with as many peers as each may have: within the share of peers. */
static void many_peers(void **state)
{
	struct stats *st = stats_new(8u << 20);
	char more[200];

	(void)state;
	for (int n = 0; n < 200; n++) {
		char id[32];

		snprintf(id, sizeof(id), "node_%d", n);
		for (uint64_t i = 0; i < 64; i++) {
			snprintf(more, sizeof(more),
				"}],\"peers\":[{\"id\":\"node_x%llu\",\"sent\":1,\"answered\":1,"
				"\"rtt_us\":1}]}}",
				(unsigned long long)i);
			take_more(st, id, NOW + i, ONE, 1 + i, 1, 0, 0, more);
		}
	}
	stats_lock(st);
	assert_true(stats_size(st).bytes < 8u << 20);
	assert_int_equal(stats_size(st).nodes, 200);
	stats_unlock(st);
	stats_free(st);
}

/* -- forgetting -- */

static void gone(struct stats *st, const char *key)
{
	struct store_op op = {.key = (char *)(uintptr_t)key, .kind = STORE_DELETE};

	stats_on_change(st, 1, &op, 1);
}

static void what_is_deleted(void **state)
{
	struct stats *st = *state;

	take(st, "node_1", NOW, ONE, 10, 100, 0);
	take(st, "node_2", NOW, ONE, 10, 100, 0);
	gone(st, "/nodes/node_3");
	gone(st, "/members/net_a");
	gone(st, "/members/");
	gone(st, "/members/net_a/node_3");
	assert_int_equal(node(st, "node_1", NULL, STATS_RX_BYTES, NOW - 10, 10).sum, 100);
	gone(st, "/members/net_a/node_1");
	assert_int_equal(node(st, "node_1", NULL, STATS_RX_BYTES, NOW - 10, 10).known, 0);
	assert_int_equal(drops(st, "node_1", NULL, NOW - 10, 10).known, 10);
	gone(st, "/nodes/node_1");
	assert_int_equal(drops(st, "node_1", NULL, NOW - 10, 10).known, 0);
	/* What they sent stays in the sum of the network, until that is deleted. */
	assert_int_equal(network(st, "net_a", STATS_RX_BYTES, NOW - 10, 10).sum, 200);
	gone(st, "/nets/net_a");
	assert_int_equal(network(st, "net_a", STATS_RX_BYTES, NOW - 10, 10).known, 0);
	gone(st, "/nodes/node_2");
	stats_lock(st);
	assert_int_equal(stats_size(st).bytes, 0);
	assert_int_equal(stats_size(st).series, 0);
	stats_unlock(st);
}

static void put(struct store *store, const char *key)
{
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	store_txn_put(&txn, key, "{}");
	assert_int_equal(store_commit(store, &txn, NULL), 0);
}

static void sweep(void **state)
{
	struct stats *st = *state;
	struct store *store;
	struct err e = {0};

	assert_int_equal(store_sqlite_open(":memory:", &store, &e), 0);
	put(store, "/nodes/node_1");
	put(store, "/nodes/node_2");
	put(store, "/nets/net_a");
	put(store, "/members/net_a/node_1");
	for (int i = 1; i <= 3; i++) {
		char id[16];

		snprintf(id, sizeof(id), "node_%d", i);
		take(st, id, NOW, ONE, 10, 100, 0);
	}
	stats_sweep(st, store);
	assert_int_equal(node(st, "node_1", NULL, STATS_RX_BYTES, NOW - 10, 10).sum, 100);
	assert_int_equal(node(st, "node_2", NULL, STATS_RX_BYTES, NOW - 10, 10).known, 0);
	assert_int_equal(drops(st, "node_2", NULL, NOW - 10, 10).known, 10);
	assert_int_equal(drops(st, "node_3", NULL, NOW - 10, 10).known, 0);
	assert_int_equal(network(st, "net_a", STATS_RX_BYTES, NOW - 10, 10).sum, 300);
	take(st, "node_3", NOW, ONE, 10, 100, 0);
	stats_sweep(st, store); /* once is enough … */
	assert_int_equal(drops(st, "node_3", NULL, NOW - 10, 10).known, 10);
	stats_on_change(st, 1, NULL, 0); /* … until changes were missed */
	stats_sweep(st, store);
	assert_int_equal(drops(st, "node_3", NULL, NOW - 10, 10).known, 0);
	store_close(store);
}

/* -- what is no report -- */

static void refuse(const char *text, const char *pointer)
{
	struct stats_report report = {0};
	struct problem p = {0};

	if (!parse(text, &report, &p))
		fail_msg("taken: %s", text);
	assert_int_equal(p.status, 400);
	if (strcmp(p.errors[0].pointer, pointer) != 0)
		fail_msg("%s: %s, not %s", text, p.errors[0].pointer, pointer);
}

#define HEAD     "{\"stats\":{\"instance\":\"" ONE "\",\"tick\":5,"
#define COUNTERS "\"rx_bytes\":1,\"tx_bytes\":1,\"rx_packets\":1,\"tx_packets\":1"
#define NET      HEAD "\"seconds\":2,\"networks\":[{\"id\":\"net_a\"," COUNTERS

static void bad_reports(void **state)
{
	struct stats_report report;
	struct problem p = {0};

	(void)state;
	assert_int_equal(parse("{}", &report, &p), 0);
	assert_false(report.present);
	refuse("{\"stats\":[]}", "/stats");
	refuse("{\"stats\":{}}", "/stats/instance");
	refuse("{\"stats\":{\"instance\":\"0000000000000000\",\"tick\":1,\"networks\":[]}}",
		"/stats/instance");
	refuse("{\"stats\":{\"instance\":\"x000000000000000\",\"tick\":1,\"networks\":[]}}",
		"/stats/instance");
	refuse("{\"stats\":{\"instance\":\"" ONE "\",\"tick\":-1,\"networks\":[]}}", "/stats/tick");
	refuse("{\"stats\":{\"instance\":\"" ONE
	       "\",\"tick\":9223372036854775807,\"networks\":[]}}",
		"/stats/tick");
	refuse(HEAD "\"seconds\":61,\"networks\":[]}}", "/stats/seconds");
	refuse(HEAD "\"networks\":{}}}", "/stats/networks");
	refuse(HEAD "\"networks\":[1]}}", "/stats/networks/0");
	refuse(HEAD "\"networks\":[{\"id\":\"net/a\"," COUNTERS "}]}}", "/stats/networks/0/id");
	refuse(HEAD "\"networks\":[{\"id\":\"net_a\"," COUNTERS "},{\"id\":\"net_a\"," COUNTERS
		    "}]}}",
		"/stats/networks/1/id");
	refuse(HEAD "\"networks\":[{\"id\":\"net_a\",\"rx_bytes\":1.5}]}}",
		"/stats/networks/0/rx_bytes");
	refuse(NET ",\"last\":[]}]}}", "/stats/networks/0/last");
	refuse(NET ",\"last\":{\"rx_bytes\":[1]}}]}}", "/stats/networks/0/last/rx_bytes");
	refuse(NET ",\"last\":{\"tx_bytes\":[1,-1]}}]}}", "/stats/networks/0/last/tx_bytes/1");
	refuse(NET ",\"last\":{\"rx_bytes\":[1,1],\"tx_bytes\":[1,\"1\"]}}]}}",
		"/stats/networks/0/last/tx_bytes/1");
	refuse(HEAD "\"networks\":[],\"drops\":[]}}", "/stats/drops");
	refuse(HEAD "\"networks\":[],\"drops\":{\"Bad\":1}}}", "/stats/drops");
	refuse(HEAD "\"networks\":[],\"drops\":{\"bad\":-1}}}", "/stats/drops");
	refuse(HEAD "\"networks\":[],\"peers\":{}}}", "/stats/peers");
	refuse(HEAD "\"networks\":[],\"peers\":[null]}}", "/stats/peers/0");
	refuse(HEAD
		"\"networks\":[],\"peers\":[{\"id\":\"n\",\"sent\":1,\"answered\":2,\"rtt_us\":1}]}}",
		"/stats/peers/0/answered");
	refuse(HEAD "\"networks\":[],\"peers\":[{\"id\":\"n\",\"sent\":1,\"answered\":1}]}}",
		"/stats/peers/0/rtt_us");
}

/* More than is taken is left out, not refused. */
static void large_reports(void **state)
{
	CLEANUP(json) struct json_object *body = json_object_new_object();
	struct json_object *o = json_object_new_object(), *networks = json_object_new_array();
	struct json_object *list = json_object_new_array(), *reasons = json_object_new_object();
	struct stats_report report;
	struct problem p = {0};
	char id[32];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct json_object *n = json_object_new_object(), *peer = json_object_new_object();

		snprintf(id, sizeof(id), "net_%d", i);
		json_set_string(n, "id", id);
		json_set_string(peer, "id", id);
		for (int k = 0; k < STATS_METRICS; k++)
			json_set_int(n, stats_metric_name((enum stats_metric)k), 1);
		json_set_int(peer, "sent", 1);
		json_set_int(peer, "answered", 0);
		json_set_int(peer, "rtt_us", 0);
		json_object_array_add(networks, n);
		json_object_array_add(list, peer);
		json_set_int(reasons, id, 1);
	}
	json_object_object_add(body, "stats", o);
	json_set_string(o, "instance", ONE);
	json_set_int(o, "tick", 1);
	json_object_object_add(o, "networks", networks);
	json_object_object_add(o, "drops", reasons);
	json_object_object_add(o, "peers", list);
	assert_int_equal(stats_report_from_json(body, &report, &p), 0);
	assert_int_equal(report.network_count, STATS_REPORT_NETWORKS);
	assert_int_equal(report.drop_count, STATS_REASONS_MAX);
	assert_int_equal(report.peer_count, STATS_REPORT_PEERS);
	stats_report_done(&report);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(seconds_as_reported),
		TEST(seconds_do_not_overlap),
		TEST(two_nodes_add_up),
		TEST(lost_reports),
		TEST(came_twice),
		TEST(restarts),
		TEST(clock_steps),
		TEST(at_odds_with_itself),
		TEST(too_often),
		TEST(networks_of_others),
		TEST(drops_by_reason),
		TEST(many_reasons),
		TEST(peers),
		TEST(peers_give_way),
		TEST(many_peers),
		TEST(what_is_deleted),
		TEST(sweep),
		cmocka_unit_test(bad_reports),
		cmocka_unit_test(large_reports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
