/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Totals of networks and nodes for /metrics. Names come from the store: a pass over its networks
 * and one over its nodes, as far as they are shown. Whatever exceeds metrics_nodes is left out of
 * what is shown for each, not of the sums of networks.
 */
#include "console-api/metrics_internal.h"

#include <stdlib.h>
#include <string.h>
#include "console-api/stats.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

#define PAGE 1000

/* A network or node that is shown. */
struct named {
	char id[NETMAP_ID_MAX + 1];
	char name[NETMAP_NAME_MAX + 1];
	char org[NETMAP_ID_MAX + 1];
};

struct names {
	struct named *list; /* heap, by id */
	size_t count, max;
};

struct mesh {
	FILE *out;
	struct console *c;
	struct names nets, nodes;
	const char *name;         /* of the metric that is being printed */
	enum stats_metric metric; /* likewise */
};

static void add_name(struct names *names, const struct store_item *item, const char *org)
{
	CLEANUP(json) struct json_object *o = json_tokener_parse(item->value);
	struct named *n;

	if (!o || (org && strcmp(record_org(o), org) != 0))
		return;
	if ((names->count & (names->count - 1)) == 0)
		names->list = xrealloc(names->list, names->count * 2 + 1, sizeof(*names->list));
	n = &names->list[names->count++];
	snprintf(n->id, sizeof(n->id), "%s", registry_key_tail(item->key));
	snprintf(n->name, sizeof(n->name), "%s", record_text(o, "name"));
	snprintf(n->org, sizeof(n->org), "%s", record_org(o));
}

/* The first ones in the order of their ids, which is that of their age. */
static void read_names(
	struct names *names, struct store *store, const char *prefix, const char *org)
{
	CLEANUP(free) char *after = NULL;
	bool more = true;

	while (more && names->count < names->max) {
		CLEANUP(store_items) struct store_items items = {0};

		if (store_range(store, prefix, after, PAGE, &items))
			return;
		for (size_t i = 0; i < items.count && names->count < names->max; i++)
			add_name(names, &items.items[i], org);
		more = items.more && items.count > 0;
		free(after);
		after = more ? xstrdup(items.items[items.count - 1].key) : NULL;
	}
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->id, ((const struct named *)b)->id);
}

static const struct named *find(const struct names *names, const char *id)
{
	struct named key;

	snprintf(key.id, sizeof(key.id), "%s", id);
	return names->count ? bsearch(&key, names->list, names->count, sizeof(key), by_id) : NULL;
}

static void print_network_label(FILE *out, const struct named *net)
{
	fputs("org=", out);
	metrics_quoted(out, net->org);
	fputs(",network=", out);
	metrics_quoted(out, net->name);
}

static void print_node_label(FILE *out, const struct named *node)
{
	fputs("org=", out);
	metrics_quoted(out, node->org);
	fputs(",node=", out);
	metrics_quoted(out, node->name);
}

/* -- for each -- */

static void print_network(void *ctx, const char *net_id, const uint64_t totals[STATS_METRICS])
{
	struct mesh *m = ctx;
	const struct named *net = find(&m->nets, net_id);

	if (!net)
		return;
	fprintf(m->out, "%s{", m->name);
	print_network_label(m->out, net);
	fprintf(m->out, "} %llu\n", (unsigned long long)totals[m->metric]);
}

static void print_member(
	void *ctx, const char *net_id, const char *node_id, const uint64_t totals[STATS_METRICS])
{
	struct mesh *m = ctx;
	const struct named *net = find(&m->nets, net_id), *node = find(&m->nodes, node_id);

	if (!net || !node)
		return;
	fprintf(m->out, "%s{", m->name);
	print_network_label(m->out, net);
	fputs(",node=", m->out);
	metrics_quoted(m->out, node->name);
	fprintf(m->out, "} %llu\n", (unsigned long long)totals[m->metric]);
}

static void print_drop(void *ctx, const char *node_id, const char *reason, uint64_t total)
{
	struct mesh *m = ctx;
	const struct named *node = find(&m->nodes, node_id);

	if (!node)
		return;
	fputs("van_node_drops_total{", m->out);
	print_node_label(m->out, node);
	fputs(",reason=", m->out);
	metrics_quoted(m->out, reason);
	fprintf(m->out, "} %llu\n", (unsigned long long)total);
}

static void print_totals(struct mesh *m)
{
	static const char *const help[STATS_METRICS] = {
		[STATS_RX_BYTES] = "Bytes of frames received",
		[STATS_TX_BYTES] = "Bytes of frames sent",
		[STATS_RX_PACKETS] = "Frames received",
		[STATS_TX_PACKETS] = "Frames sent",
	};
	char name[64], text[128];

	m->name = name;
	for (int i = 0; i < STATS_METRICS; i++) {
		m->metric = (enum stats_metric)i;
		snprintf(name, sizeof(name), "van_network_%s_total", stats_metric_name(m->metric));
		snprintf(text, sizeof(text), "%s by the nodes of a network.", help[i]);
		metrics_head(m->out, name, "counter", text);
		stats_each_network(m->c->stats, print_network, m);
	}
	for (int i = 0; i < STATS_METRICS; i++) {
		m->metric = (enum stats_metric)i;
		snprintf(name, sizeof(name), "van_node_%s_total", stats_metric_name(m->metric));
		snprintf(text, sizeof(text), "%s by a node in a network.", help[i]);
		metrics_head(m->out, name, "counter", text);
		stats_each_member(m->c->stats, print_member, m);
	}
	metrics_head(m->out, "van_node_drops_total", "counter",
		"Frames and datagrams that a node dropped, by reason.");
	stats_each_drop(m->c->stats, print_drop, m);
}

static void print_online(struct mesh *m)
{
	uint64_t now_ns = clock_boottime_ns();

	metrics_head(m->out, "van_node_online", "gauge",
		"1 when this console has heard the node lately.");
	for (size_t i = 0; i < m->nodes.count; i++) {
		fputs("van_node_online{", m->out);
		print_node_label(m->out, &m->nodes.list[i]);
		fprintf(m->out, "} %d\n",
			soft_online(m->c->registry->soft, m->nodes.list[i].id, now_ns));
	}
}

static void print_sizes(struct mesh *m)
{
	metrics_head(m->out, "van_network_nodes", "gauge", "Nodes in a network.");
	for (size_t i = 0; i < m->nets.count; i++) {
		uint64_t count;

		if (store_count(
			    m->c->registry->store, KEY("/members/%s/", m->nets.list[i].id), &count))
			continue;
		fputs("van_network_nodes{", m->out);
		print_network_label(m->out, &m->nets.list[i]);
		fprintf(m->out, "} %llu\n", (unsigned long long)count);
	}
}

void metrics_mesh(FILE *out, struct console *c, const char *org)
{
	size_t max = (size_t)c->config.metrics_nodes;
	struct mesh m = {.out = out, .c = c, .nets = {.max = max}, .nodes = {.max = max}};

	read_names(&m.nets, c->registry->store, "/nets/", org);
	read_names(&m.nodes, c->registry->store, "/nodes/", org);
	print_sizes(&m);
	print_online(&m);
	stats_lock(c->stats);
	print_totals(&m);
	stats_unlock(c->stats);
	free(m.nets.list);
	free(m.nodes.list);
}
