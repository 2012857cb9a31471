/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics as columns: what was counted in each slot of time, the oldest first, null where nothing
 * is known. Columns are printed as text at once: an object for each number would take a hundred
 * times the room.
 */
#include "console-api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/console.h"
#include "console-api/form.h"
#include "console-api/metrics.h"
#include "console-api/network.h"
#include "console-api/node.h"
#include "console-api/stats.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

#define SLOTS_DEFAULT 360
#define VALUES_MAX    250000 /* in an answer: a few MB of text, made under the locks */

enum part { PART_NETWORKS, PART_PEERS, PART_DROPS, PARTS };
static const char *const part_names[] = {
	[PART_NETWORKS] = "networks", [PART_PEERS] = "peers", [PART_DROPS] = "drops", NULL};

/* Metrics of networks; of nodes also this one. */
#define METRIC_DROPS STATS_METRICS
static const char *const metric_names[] = {
	"rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "drops", NULL};
_Static_assert(sizeof(metric_names) / sizeof(metric_names[0]) == STATS_METRICS + 2,
	"the metrics of stats.h, drops, and the end");

struct asked {
	struct stats_span span;
	unsigned int metrics; /* 1 << enum stats_metric, and 1 << METRIC_DROPS */
	unsigned int parts;   /* 1 << enum part */
};

/* -- what is asked for -- */

static int read_time(struct request *q, const char *name, int64_t *ret_s)
{
	const char *text = target_query(&q->target, name);

	if (!text || form_parse_time(text, ret_s))
		return 0;
	return problem_set(&q->problem, 400, "invalid",
		"%s must be a time in UTC such as 2030-01-31T12:00:00Z", name);
}

/* Bits of the words, separated by commas, of a parameter; *ret_bits stays when it is not given. */
static int read_words(
	struct request *q, const char *name, const char *const *words, unsigned int *ret_bits)
{
	const char *text = target_query(&q->target, name);
	unsigned int bits = 0;

	if (!text)
		return 0;
	for (;;) {
		size_t len = strcspn(text, ","), i = 0;

		while (words[i] && (strlen(words[i]) != len || memcmp(words[i], text, len) != 0))
			i++;
		if (!words[i])
			return problem_set(&q->problem, 400, "invalid",
				"%s: \"%.*s\" is not one of them: see /api/openapi.json", name,
				len < 40 ? (int)len : 40, text);
		bits |= 1u << i;
		if (!text[len])
			break;
		text += len + 1;
	}
	*ret_bits = bits;
	return 0;
}

static int read_resolution(struct request *q, enum stats_ring *ret_ring)
{
	const char *text = target_query(&q->target, "resolution");

	*ret_ring = STATS_10S;
	if (!text)
		return 0;
	for (int i = 0; i < STATS_RINGS; i++) {
		if (!strcmp(text, stats_rings[i].name)) {
			*ret_ring = (enum stats_ring)i;
			return 0;
		}
	}
	return problem_set(
		&q->problem, 400, "invalid", "resolution must be one of 1s, 10s, 1m, 10m");
}

/* What of from_s…to_s is within the ring at this time. */
static struct stats_span span_of(enum stats_ring ring, int64_t from_s, int64_t to_s, int64_t now_s)
{
	int64_t step = stats_rings[ring].step_s, slots = stats_rings[ring].slots;
	int64_t newest = now_s / step, first = from_s / step, end = (to_s + step - 1) / step;

	if (end > newest + 1)
		end = newest + 1;
	if (first < newest + 1 - slots)
		first = newest + 1 - slots;
	if (first < 0)
		first = 0;
	return (struct stats_span){.ring = ring,
		.first = (uint64_t)first,
		.count = end > first ? (size_t)(end - first) : 0};
}

static int read_asked(struct request *q, const char *const *metrics, struct asked *ret_asked)
{
	int64_t now_s = (int64_t)(clock_wall_ns() / NS_PER_S), to_s = now_s + 1, from_s = -1;
	enum stats_ring ring;
	int rc = read_resolution(q, &ring);

	if (!rc)
		rc = read_time(q, "to", &to_s);
	if (!rc)
		rc = read_time(q, "from", &from_s);
	if (!rc)
		rc = read_words(q, "metrics", metrics, &ret_asked->metrics);
	if (!rc)
		rc = read_words(q, "include", part_names, &ret_asked->parts);
	if (rc)
		return rc;
	if (from_s < 0)
		from_s = to_s - (int64_t)SLOTS_DEFAULT * stats_rings[ring].step_s;
	if (from_s >= to_s)
		return problem_set(&q->problem, 400, "invalid", "from must be before to");
	ret_asked->span = span_of(ring, from_s, to_s, now_s);
	return 0;
}

/* -- columns -- */

/* What is known of one metric in the slots of a span. */
struct column {
	uint64_t *sums; /* heap, like the other */
	bool *known;
};

static struct column column_new(size_t count)
{
	return (struct column){.sums = xcalloc(count ? count : 1, sizeof(uint64_t)),
		.known = xcalloc(count ? count : 1, sizeof(bool))};
}

static void column_done(struct column *col)
{
	free(col->sums);
	free(col->known);
}

static int print_text(struct json_object *o, struct printbuf *out, int level, int flags)
{
	const char *text = json_object_get_userdata(o);

	(void)level;
	(void)flags;
	return printbuf_memappend(out, text, (int)strlen(text));
}

static void free_text(struct json_object *o, void *text)
{
	(void)o;
	free(text);
}

/* An array that prints as this text (heap, taken). */
static struct json_object *array_of_text(char *text)
{
	struct json_object *o = json_object_new_array();

	json_object_set_serializer(o, print_text, text, free_text);
	return o;
}

/* Text of an array that is being made: at most 24 bytes are added for each value. */
struct array_text {
	char *text;
	size_t len;
};

static struct array_text array_begin(size_t count)
{
	struct array_text a = {.text = xcalloc(count + 1, 24)};

	a.text[a.len++] = '[';
	return a;
}

static void array_add(struct array_text *a, const char *value)
{
	size_t len = strlen(value);

	if (a->len > 1)
		a->text[a->len++] = ',';
	memcpy(a->text + a->len, value, len);
	a->len += len;
}

static struct json_object *array_end(struct array_text *a)
{
	a->text[a->len++] = ']';
	a->text[a->len] = '\0';
	return array_of_text(a->text);
}

/* snprintf() would be most of the work of an answer. */
static const char *decimal(uint64_t value, char text[24])
{
	char *at = text + 23;

	*at = '\0';
	do
		*--at = (char)('0' + value % 10);
	while (value /= 10);
	return at;
}

/* Takes the column. */
static struct json_object *column_json(struct column *col, size_t count)
{
	struct array_text a = array_begin(count);
	char text[24];

	for (size_t i = 0; i < count; i++)
		array_add(&a, col->known[i] ? decimal(col->sums[i], text) : "null");
	column_done(col);
	return array_end(&a);
}

/* {"resolution","start","step_s"}: to what columns belong. */
static struct json_object *frame(const struct stats_span *span)
{
	const struct stats_ring_spec *spec = &stats_rings[span->ring];
	struct json_object *o = json_object_new_object();
	char start[21];

	clock_format_rfc3339(span->first * spec->step_s * NS_PER_S, start);
	json_set_string(o, "resolution", spec->name);
	json_set_string(o, "start", start);
	json_set_int(o, "step_s", spec->step_s);
	return o;
}

/* -- networks -- */

/* The columns of a network (node_id NULL), or of a node in it, or of a node (net_id NULL). */
static struct json_object *columns_of(
	struct stats *st, const char *net_id, const char *node_id, const struct asked *asked)
{
	const struct stats_span *span = &asked->span;
	struct json_object *o = json_object_new_object();

	for (int i = 0; i <= METRIC_DROPS; i++) {
		enum stats_metric metric = (enum stats_metric)i;
		struct column col;

		if (!(asked->metrics & 1u << i))
			continue;
		col = column_new(span->count);
		if (i == METRIC_DROPS)
			stats_read_drops(st, node_id, NULL, span, col.sums, col.known);
		else if (node_id)
			stats_read_node(st, node_id, net_id, span, metric, col.sums, col.known);
		else
			stats_read_network(st, net_id, span, metric, col.sums, col.known);
		json_object_object_add(o, metric_names[i], column_json(&col, span->count));
	}
	return o;
}

static int read_network_asked(struct request *q, struct asked *ret_asked)
{
	static const char *const metrics[] = {
		"rx_bytes", "tx_bytes", "rx_packets", "tx_packets", NULL};
	struct asked asked = {.metrics = (1u << STATS_METRICS) - 1};
	int rc = read_asked(q, metrics, &asked);

	if (!rc)
		*ret_asked = asked;
	return rc;
}

int api_network_stats(struct console *c, struct request *q)
{
	struct network net;
	struct asked asked;
	struct json_object *o;
	int rc = network_by_ref(c->registry, q->actor.org, q->params[0], &net, &q->problem);

	if (!rc)
		rc = read_network_asked(q, &asked);
	if (rc)
		return rc;
	o = frame(&asked.span);
	stats_lock(c->stats);
	json_object_object_add(o, "columns", columns_of(c->stats, net.id, NULL, &asked));
	stats_unlock(c->stats);
	return request_reply(q, 200, o);
}

static int check_member(
	struct registry *r, const char *net_id, const char *node_id, struct request *q)
{
	struct store_item item;
	int rc = store_get(r->store, KEY("/members/%s/%s", net_id, node_id), &item);

	if (rc == 0)
		store_item_done(&item);
	else if (rc == -ENOENT)
		return problem_not_found(&q->problem, "node in this network", q->params[1]);
	else
		return problem_from_store(&q->problem, rc);
	return 0;
}

int api_member_stats(struct console *c, struct request *q)
{
	struct network net;
	struct asked asked;
	struct json_object *o;
	char node_id[NETMAP_ID_MAX + 1];
	int rc = network_by_ref(c->registry, q->actor.org, q->params[0], &net, &q->problem);

	if (!rc)
		rc = node_by_ref(c->registry, q->actor.org, q->params[1], node_id, &q->problem);
	if (!rc)
		rc = check_member(c->registry, net.id, node_id, q);
	if (!rc)
		rc = read_network_asked(q, &asked);
	if (rc)
		return rc;
	o = frame(&asked.span);
	stats_lock(c->stats);
	json_object_object_add(o, "columns", columns_of(c->stats, net.id, node_id, &asked));
	stats_unlock(c->stats);
	return request_reply(q, 200, o);
}

/* -- nodes -- */

struct node_parts {
	struct console *c;
	const struct request *q;
	const char *node_id;
	const struct asked *asked;
	struct json_object *items;
};

/* Adds {"id","name"} of a network or node that the asker may see; NULL of any other. */
static struct json_object *add_named(struct node_parts *parts, const char *prefix, const char *id)
{
	CLEANUP(record) struct record rec = {0};
	struct json_object *o;
	struct problem p = {0};

	if (registry_load(parts->c->registry, KEY("%s%s", prefix, id), &rec, &p) ||
		strcmp(record_org(rec.o), parts->q->actor.org) != 0)
		return NULL;
	o = json_object_new_object();
	json_set_string(o, "id", id);
	json_set_string(o, "name", record_text(rec.o, "name"));
	json_object_array_add(parts->items, o);
	return o;
}

static void add_network(void *ctx, const char *net_id)
{
	struct node_parts *parts = ctx;
	struct asked asked = *parts->asked;
	struct json_object *o = add_named(parts, "/nets/", net_id);

	if (!o)
		return;
	asked.metrics &= (1u << STATS_METRICS) - 1;
	json_object_object_add(
		o, "columns", columns_of(parts->c->stats, net_id, parts->node_id, &asked));
}

/* Peers have no finer figures than these. */
static struct stats_span peer_span(const struct stats_span *span)
{
	int64_t step = stats_rings[span->ring].step_s;
	int64_t from_s = (int64_t)span->first * step;

	if (span->ring >= STATS_1M)
		return *span;
	return span_of(STATS_1M, from_s, from_s + (int64_t)span->count * step,
		(int64_t)(clock_wall_ns() / NS_PER_S));
}

static void add_peer(void *ctx, const char *peer_id)
{
	struct node_parts *parts = ctx;
	struct json_object *o = add_named(parts, "/nodes/", peer_id), *columns;
	struct stats_span span = peer_span(&parts->asked->span);
	struct column probes[STATS_PROBES];
	struct array_text rtt, loss;

	if (!o)
		return;
	for (int i = 0; i < STATS_PROBES; i++) {
		probes[i] = column_new(span.count);
		stats_read_peer(parts->c->stats, parts->node_id, peer_id, &span,
			(enum stats_probe)i, probes[i].sums, probes[i].known);
	}
	rtt = array_begin(span.count);
	loss = array_begin(span.count);
	for (size_t i = 0; i < span.count; i++) {
		uint64_t sent = probes[STATS_SENT].sums[i];
		uint64_t answered = probes[STATS_ANSWERED].sums[i];
		char text[24];

		snprintf(text, sizeof(text), "%llu",
			(unsigned long long)(answered ? probes[STATS_RTT_US].sums[i] / answered
						      : 0));
		array_add(&rtt, answered ? text : "null");
		snprintf(text, sizeof(text), "%.4f",
			sent > answered ? (double)(sent - answered) / (double)sent : 0.0);
		array_add(&loss, sent ? text : "null");
	}
	columns = json_object_new_object();
	json_object_object_add(columns, "rtt_us", array_end(&rtt));
	json_object_object_add(columns, "loss", array_end(&loss));
	json_object_object_add(columns, "probes", column_json(&probes[STATS_SENT], span.count));
	column_done(&probes[STATS_ANSWERED]);
	column_done(&probes[STATS_RTT_US]);
	json_object_object_add(o, "columns", columns);
}

static void add_reason(void *ctx, const char *reason)
{
	struct node_parts *parts = ctx;
	const struct stats_span *span = &parts->asked->span;
	struct column col = column_new(span->count);

	stats_read_drops(parts->c->stats, parts->node_id, reason, span, col.sums, col.known);
	json_object_object_add(parts->items, reason, column_json(&col, span->count));
}

static void count_id(void *count, const char *id)
{
	(void)id;
	++*(size_t *)count;
}

static size_t bits_in(unsigned int bits)
{
	return (size_t)__builtin_popcount(bits);
}

/* Whoever asks for everything of a node with many networks and peers at once would keep others
 * waiting. */
static int check_size(struct node_parts *parts, struct problem *p)
{
	const struct asked *asked = parts->asked;
	struct stats_span of_peers = peer_span(&asked->span);
	size_t networks = 0, peers = 0, reasons = 0, values;

	if (asked->parts & 1u << PART_NETWORKS)
		stats_each_network_of(parts->c->stats, parts->node_id, count_id, &networks);
	if (asked->parts & 1u << PART_PEERS)
		stats_each_peer_of(parts->c->stats, parts->node_id, count_id, &peers);
	if (asked->parts & 1u << PART_DROPS)
		stats_each_reason_of(parts->c->stats, parts->node_id, count_id, &reasons);
	values = (bits_in(asked->metrics) * (1 + networks) + reasons) * asked->span.count +
		 peers * STATS_PROBES * of_peers.count;
	if (values <= VALUES_MAX)
		return 0;
	return problem_set(p, 400, "invalid",
		"these would be %zu values, and an answer has at most %d: ask for a shorter time, "
		"a coarser resolution, fewer metrics, or the parts one by one",
		values, VALUES_MAX);
}

static void add_parts(struct node_parts *parts, struct json_object *o)
{
	struct stats *st = parts->c->stats;

	if (parts->asked->parts & 1u << PART_NETWORKS) {
		parts->items = json_object_new_array();
		json_object_object_add(o, "networks", parts->items);
		stats_each_network_of(st, parts->node_id, add_network, parts);
	}
	if (parts->asked->parts & 1u << PART_PEERS) {
		struct stats_span span = peer_span(&parts->asked->span);
		struct json_object *peers = frame(&span);

		parts->items = json_object_new_array();
		json_object_object_add(peers, "items", parts->items);
		json_object_object_add(o, "peers", peers);
		stats_each_peer_of(st, parts->node_id, add_peer, parts);
	}
	if (parts->asked->parts & 1u << PART_DROPS) {
		parts->items = json_object_new_object();
		json_object_object_add(o, "drops", parts->items);
		stats_each_reason_of(st, parts->node_id, add_reason, parts);
	}
}

int api_node_stats(struct console *c, struct request *q)
{
	struct asked asked = {.metrics = (1u << (METRIC_DROPS + 1)) - 1};
	char node_id[NETMAP_ID_MAX + 1];
	struct node_parts parts = {.c = c, .q = q, .node_id = node_id, .asked = &asked};
	struct json_object *o;
	int rc = node_by_ref(c->registry, q->actor.org, q->params[0], node_id, &q->problem);

	if (!rc)
		rc = read_asked(q, metric_names, &asked);
	if (rc)
		return rc;
	stats_lock(c->stats);
	rc = check_size(&parts, &q->problem);
	if (rc) {
		stats_unlock(c->stats);
		return rc;
	}
	o = frame(&asked.span);
	json_object_object_add(o, "columns", columns_of(c->stats, NULL, node_id, &asked));
	add_parts(&parts, o);
	stats_unlock(c->stats);
	return request_reply(q, 200, o);
}

/* -- metrics -- */

/* Keys of an organization see its networks and nodes; those of the first one, which is that of
 * whoever runs the console, also the console itself; console administrators everything. */
int api_metrics(struct console *c, struct request *q)
{
	bool all = q->actor.role == ROLE_CONSOLE;
	size_t len;
	char *text = metrics_text(
		c, all || !strcmp(q->actor.org, ORG_DEFAULT), all ? NULL : q->actor.org, &len);

	return request_reply_text(q, METRICS_CONTENT_TYPE, text, len);
}
