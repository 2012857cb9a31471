/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Once a second the counters of all networks are read, so that reports have figures for single
 * seconds: some 20 µs of work, also on an idle node, and no datagram. Probes go to busy peers only.
 * A report's counters are absolute and as of the last full second, to which its figures add up; it
 * has the seconds since the last report that arrived, SAMPLE_SECONDS of them at most.
 */
#include "vand/report.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/log.h"
#include "vand/reconcile.h"
#include "vand/report_probe.h"
#include "vand/report_sample.h"
#include "vand/route.h"
#include "vand/state.h"
#include "vand/vand.h"

#define LOCAL_MAX    32 /* addresses in a report */
#define EXTERNAL_MAX 32 /* networks in a report */
#define TAPS_MAX     256
#define NETWORKS_MAX 256 /* with counters */
#define FIGURES_MAX  64  /* with single seconds: bounds the size of a report */

struct report {
	struct vand *v;
	struct loop_timer timer;
	char instance[17];
	struct sampler sampler;
	uint64_t told_tick;  /* of the last report that arrived */
	uint64_t built_tick; /* of the last one that was built */
	struct prober prober;
};

/* -- where this node can be reached -- */

static struct json_object *local_addresses(struct vand *v)
{
	struct json_object *list = json_object_new_array();
	CLEANUP(free) struct route_underlay *rows = NULL;
	int taps[TAPS_MAX];
	size_t count = 0, tap_count = reconcile_ifindexes(v->reconcile, taps, TAPS_MAX);
	struct err e = {0};
	char text[IP_TEXT_LEN];

	if (route_underlay(v->route, taps, tap_count, &rows, &count, &e) < 0)
		log_warn("report: %s", e.text);
	for (size_t i = 0; i < count && json_object_array_length(list) < LOCAL_MAX; i++) {
		if (reconcile_is_overlay(v->reconcile, &rows[i].address))
			continue;
		ip_format(&rows[i].address, text);
		json_object_array_add(list, json_object_new_string(text));
	}
	return list;
}

static void add_external(struct json_object *list, const struct cidr *c, const char *ifname)
{
	char text[CIDR_TEXT_LEN];
	struct json_object *o;

	cidr_format(c, text);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *other =
			json_object_object_get(json_object_array_get_idx(list, i), "cidr");

		if (strcmp(json_object_get_string(other), text) == 0)
			return;
	}
	if (json_object_array_length(list) == EXTERNAL_MAX)
		return;
	o = json_object_new_object();
	json_set_string(o, "cidr", text);
	json_set_string(o, "ifname", ifname);
	json_object_array_add(list, o);
}

/* What this node could offer as a gateway: the networks that its interfaces are on, and the default
 * route. */
static struct json_object *external_networks(struct vand *v)
{
	struct json_object *list = json_object_new_array();
	CLEANUP(free) struct route_underlay *rows = NULL;
	int taps[TAPS_MAX];
	size_t count = 0, tap_count = reconcile_ifindexes(v->reconcile, taps, TAPS_MAX);

	if (route_underlay(v->route, taps, tap_count, &rows, &count, NULL) < 0)
		return list; /* told of by local_addresses() */
	for (size_t i = 0; i < count; i++) {
		struct cidr c = {.ip = rows[i].address, .prefix = rows[i].prefix};
		struct cidr all = {.ip.family = c.ip.family};

		if (reconcile_is_overlay(v->reconcile, &rows[i].address))
			continue;
		if (rows[i].is_default)
			add_external(list, &all, rows[i].ifname);
		c.ip = cidr_first(&c);
		add_external(list, &c, rows[i].ifname);
	}
	return list;
}

static struct json_object *advertised(struct vand *v)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < v->config.advertise.count; i++) {
		struct endpoint ep;
		char text[ENDPOINT_TEXT_LEN];

		if (!endpoint_parse(v->config.advertise.items[i], v->port, &ep))
			continue; /* checked when the configuration was read */
		endpoint_format(&ep, text);
		json_object_array_add(list, json_object_new_string(text));
	}
	return list;
}

static struct json_object *interfaces(struct vand *v)
{
	struct json_object *list = json_object_new_array();

	if (!v->dataplane.running)
		return list;
	list_for_each (it, &v->dataplane.networks.all) {
		const struct network *n = container_of(it, struct network, node);
		struct json_object *o = json_object_new_object();

		json_set_string(o, "id", n->id);
		json_set_string(o, "ifname", network_ifname(n));
		json_object_array_add(list, o);
	}
	return list;
}

/* -- what it counted -- */

/* Names as in the registry's API. */
static const char *const metric_names[SAMPLE_METRICS] = {
	[SAMPLE_RX_BYTES] = "rx_bytes",
	[SAMPLE_TX_BYTES] = "tx_bytes",
	[SAMPLE_RX_PACKETS] = "rx_packets",
	[SAMPLE_TX_PACKETS] = "tx_packets",
};

static void set_count(struct json_object *o, const char *name, uint64_t count)
{
	json_set_int(o, name, count < INT64_MAX ? (int64_t)count : INT64_MAX);
}

static void sample(struct report *r, uint64_t now_ns)
{
	if (!sampler_begin(&r->sampler, now_ns))
		return;
	list_for_each (it, &r->v->dataplane.networks.all) {
		const struct network *n = container_of(it, struct network, node);
		const struct network_totals totals = network_totals(n);
		const uint64_t counters[SAMPLE_METRICS] = {
			[SAMPLE_RX_BYTES] = totals.rx_bytes,
			[SAMPLE_TX_BYTES] = totals.tx_bytes,
			[SAMPLE_RX_PACKETS] = totals.rx_packets,
			[SAMPLE_TX_PACKETS] = totals.tx_packets,
		};

		sampler_network(&r->sampler, n->id, counters);
	}
	sampler_end(&r->sampler);
}

/* How many of the last seconds the next report has figures for. */
static unsigned int seconds_untold(const struct report *r)
{
	uint64_t seconds = r->sampler.tick - r->told_tick;

	return seconds < SAMPLE_SECONDS ? (unsigned int)seconds : SAMPLE_SECONDS;
}

/* {"rx_bytes":[…],…}: the latest second last; metrics that are 0 in all of them are left out. NULL
 * when all are. */
static struct json_object *figures(
	const struct sample_network *n, uint64_t tick, unsigned int seconds)
{
	struct json_object *o = NULL;

	for (int m = 0; m < SAMPLE_METRICS; m++) {
		enum sample_metric metric = (enum sample_metric)m;
		struct json_object *array;
		uint64_t sum = 0;

		for (unsigned int i = 0; i < seconds; i++)
			sum |= sample_figure(n, tick - i, metric);
		if (!sum)
			continue;
		array = json_object_new_array_ext((int)seconds);
		for (unsigned int i = seconds; i > 0; i--)
			json_object_array_add(array, json_object_new_int64((int64_t)sample_figure(
							     n, tick - i + 1, metric)));
		if (!o)
			o = json_object_new_object();
		json_object_object_add(o, metric_names[m], array);
	}
	return o;
}

static struct json_object *network_counts(struct report *r)
{
	struct json_object *list = json_object_new_array();
	unsigned int seconds = seconds_untold(r);
	size_t figures_left = FIGURES_MAX;

	for (size_t i = 0; i < r->sampler.count && i < NETWORKS_MAX; i++) {
		const struct sample_network *n = &r->sampler.networks[i];
		struct json_object *o = json_object_new_object(), *last = NULL;

		json_set_string(o, "id", n->id);
		for (int m = 0; m < SAMPLE_METRICS; m++)
			set_count(o, metric_names[m], n->totals[m]);
		if (figures_left > 0)
			last = figures(n, r->sampler.tick, seconds);
		if (last) {
			json_object_object_add(o, "last", last);
			figures_left--;
		}
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *drop_counts(struct report *r)
{
	struct json_object *o = json_object_new_object();

	for (int i = 0; i < DROP__COUNT; i++) {
		enum drop_reason reason = (enum drop_reason)i;
		uint64_t count = dataplane_drops(r->v, reason);

		if (count)
			set_count(o, stats_drop_name(reason), count);
	}
	return o;
}

static struct json_object *peer_results(struct report *r)
{
	struct json_object *list = json_object_new_array();
	struct probe_result results[PROBE_RESULTS_MAX];
	size_t count = prober_results(&r->prober, results);

	for (size_t i = 0; i < count; i++) {
		const struct peer *peer =
			sessions_find_ref(r->v->dataplane.sessions, results[i].ref);
		struct json_object *o;

		if (!peer)
			continue;
		o = json_object_new_object();
		json_set_string(o, "id", peer->id);
		json_set_int(o, "sent", results[i].sent);
		json_set_int(o, "answered", results[i].answered);
		set_count(o, "rtt_us", results[i].rtt_us);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *counted(struct report *r)
{
	struct json_object *o = json_object_new_object();
	struct json_object *peers = peer_results(r);

	json_set_string(o, "instance", r->instance);
	json_set_int(o, "tick", (int64_t)r->sampler.tick);
	json_set_int(o, "seconds", seconds_untold(r));
	json_object_object_add(o, "networks", network_counts(r));
	json_object_object_add(o, "drops", drop_counts(r));
	if (json_object_array_length(peers) > 0)
		json_object_object_add(o, "peers", peers);
	else
		json_object_put(peers);
	return o;
}

/* -- probes -- */

static void look_at_peer(void *ctx, struct peer *peer)
{
	struct report *r = ctx;
	struct peer_totals totals;

	if (!peer->current)
		return;
	totals = peer_totals(peer);
	prober_peer(&r->prober, peer->ref, totals.rx_bytes + totals.tx_bytes);
}

static void probe(struct report *r, uint64_t now_ns)
{
	struct sessions *sessions = r->v->dataplane.sessions;
	uint64_t tick = r->sampler.tick;

	prober_expire(&r->prober, tick);
	if (tick % PROBE_INTERVAL_S < r->sampler.step) {
		sessions_each(sessions, look_at_peer, r);
		prober_end(&r->prober);
	}
	for (int i = 0; i < PROBES_SECOND; i++) {
		struct peer *peer;
		uint64_t token;
		uint32_t ref;

		if (!prober_next(&r->prober, &ref, &token))
			return;
		peer = sessions_find_ref(sessions, ref);
		if (peer && sessions_probe(sessions, peer, token, now_ns) == 0)
			prober_sent(&r->prober, ref, token, tick);
	}
}

void report_probed(struct report *r, const struct peer *peer, uint64_t token, uint64_t rtt_ns)
{
	prober_answered(&r->prober, peer->ref, token, rtt_ns);
}

/* -- the whole -- */

static void on_second(struct loop_timer *timer, uint64_t now_ns)
{
	struct report *r = container_of(timer, struct report, timer);

	if (r->v->dataplane.running) {
		sample(r, now_ns);
		probe(r, now_ns);
	}
	/* The past fires in the next turn: nothing is counted while the data plane is down. */
	loop_timer_set(&r->v->loop, timer,
		sampler_due(&r->sampler) > now_ns ? sampler_due(&r->sampler) : now_ns + NS_PER_S);
}

int report_new(struct vand *v, uint64_t instance, struct report **ret_report)
{
	struct report *r = calloc(1, sizeof(*r));
	uint64_t token;

	if (!r)
		return -ENOMEM;
	r->v = v;
	r->timer.fire = on_second;
	snprintf(r->instance, sizeof(r->instance), "%016llx", (unsigned long long)instance);
	randombytes_buf(&token, sizeof(token));
	sampler_init(&r->sampler, v->loop.now_ns);
	prober_init(&r->prober, token);
	*ret_report = r;
	return 0;
}

void report_free(struct report *r)
{
	if (!r)
		return;
	report_stop(r);
	sampler_done(&r->sampler);
	free(r);
}

void report_start(struct report *r)
{
	loop_timer_set(&r->v->loop, &r->timer, sampler_due(&r->sampler));
}

void report_stop(struct report *r)
{
	loop_timer_cancel(&r->v->loop, &r->timer);
	prober_done(&r->prober); /* peers are made anew, with other refs */
}

struct json_object *report_build(struct report *r)
{
	const struct netmap *map = reconcile_map(r->v->reconcile);
	struct json_object *o = json_object_new_object();
	char revision[NETMAP_REVISION_TEXT_LEN];

	if (map)
		netmap_revision_format(map->generation, map->number, revision);
	json_set_int(o, "port", r->v->port);
	json_object_object_add(o, "local", local_addresses(r->v));
	json_object_object_add(o, "advertise", advertised(r->v));
	json_object_object_add(o, "external", external_networks(r->v));
	json_set_string(o, "applied", map ? revision : NULL);
	json_set_string(o, "version", VAN_VERSION);
	json_object_object_add(o, "networks", interfaces(r->v));
	if (r->v->dataplane.running)
		json_object_object_add(o, "stats", counted(r));
	r->built_tick = r->sampler.tick;
	return o;
}

void report_arrived(struct report *r)
{
	r->told_tick = r->built_tick;
}
