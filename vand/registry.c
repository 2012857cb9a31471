/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two conversations with the console go on side by side. The poll asks for a netmap newer than ours
 * and is answered when there is one, or after WAIT_S. The report says where we can be reached. Each
 * has its own timer and, when it fails, its own growing pause; either of them succeeding is
 * contact.
 *
 * Nothing that goes wrong here touches what is running: the netmap in force stays in force, unless
 * the console says that this node was removed, or the configuration bounds how old it may grow
 * (max_stale_s).
 */
#include "vand/registry.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "vand/reconcile.h"
#include "vand/registry_internal.h"
#include "vand/route.h"
#include "vand/vand.h"

#define WAIT_S             30
#define POLL_TIMEOUT_MS    ((WAIT_S + 15) * 1000)
#define REPORT_TIMEOUT_MS  10000
#define RETRY_MIN_MS       500
#define RETRY_MAX_MS       30000
#define RETRY_AFTER_MAX_S  300
#define POLL_PAUSE_NS      (1 * NS_PER_S)   /* between answers that said nothing and came at once */
#define IDLE_CONNECTION_NS (120 * NS_PER_S) /* CURLOPT_MAXAGE_CONN is 118 s */
#define INTERVAL_DEFAULT_S 10
#define LOCAL_MAX          32 /* addresses in a report */
#define TAPS_MAX           256
#define SKEW_WARN_S        30

/* The pause before try n (from 0): doubling, bounded, and ±25 % so that nodes do not march in step.
 */
static uint64_t retry_ns(unsigned int failures)
{
	uint64_t ms = failures < 7 ? (uint64_t)RETRY_MIN_MS << failures : RETRY_MAX_MS;

	if (ms > RETRY_MAX_MS)
		ms = RETRY_MAX_MS;
	ms = ms - ms / 4 + randombytes_uniform((uint32_t)(ms / 2) + 1);
	return ms * NS_PER_MS;
}

static uint64_t pause_ns(unsigned int failures, const struct httpc_response *response)
{
	unsigned int s = response ? response->retry_after_s : 0;

	if (s == 0)
		return retry_ns(failures);
	return (s < RETRY_AFTER_MAX_S ? s : RETRY_AFTER_MAX_S) * NS_PER_S;
}

void registry_as_member(const struct registry *r, struct request_spec *spec)
{
	const struct state_membership *m = state_membership(r->v->state);

	spec->url = m->url;
	spec->pin = m->pin;
	spec->node = m->node_id;
	spec->console = m->console;
	spec->member = true;
}

/* -- contact -- */

static void arm_stale(struct registry *r)
{
	int64_t at_ns = r->contact_ns + r->v->config.max_stale_s * (int64_t)NS_PER_S;

	if (r->v->config.max_stale_s == 0 || r->stale || !r->known) {
		loop_timer_cancel(&r->v->loop, &r->stale_timer);
		return;
	}
	loop_timer_set(&r->v->loop, &r->stale_timer, at_ns > 0 ? (uint64_t)at_ns : 1);
}

void registry_contact(struct registry *r)
{
	if (!r->connected)
		log_info("registry: %s answers", state_membership(r->v->state)->url);
	r->connected = true;
	r->known = true;
	r->contact_ns = (int64_t)r->v->loop.now_ns;
	r->error[0] = '\0';
	r->error_code = 0;
	if (r->v->config.max_stale_s > 0)
		state_touch_netmap(r->v->state, clock_wall_ns());
	if (r->running && r->stale && !r->poll)
		loop_timer_set(&r->v->loop, &r->poll_timer, r->v->loop.now_ns);
	arm_stale(r);
	registry_tell_leaves(r);
}

void registry_failure(struct registry *r, const struct err *e)
{
	if (r->connected || r->error_code != e->code)
		log_warn("registry: %s", e->text);
	r->connected = false;
	r->error_code = e->code;
	snprintf(r->error, sizeof(r->error), "%s", e->text);
}

static void on_stale(struct loop_timer *timer, uint64_t now_ns)
{
	struct registry *r = container_of(timer, struct registry, stale_timer);

	(void)now_ns;
	r->stale = true;
	log_error(
		"registry: no contact for %lld s (max_stale_s): forwarding stops until the console "
		"is back",
		(long long)r->v->config.max_stale_s);
	reconcile_clear(r->v->reconcile);
	if (r->running)
		registry_poll_now(r, true);
}

/* Contact as the last run left it: the cached map is as old as that. */
static void recall_contact(struct registry *r)
{
	uint64_t then_ns = state_netmap_contact_ns(r->v->state), now_ns = clock_wall_ns();

	r->known = then_ns != 0;
	r->contact_ns = (int64_t)r->v->loop.now_ns;
	if (then_ns != 0 && then_ns < now_ns)
		r->contact_ns -= (int64_t)(now_ns - then_ns);
}

void registry_removed(struct registry *r)
{
	const struct state_membership *m = state_membership(r->v->state);
	struct err e = {0};

	if (!m)
		return;
	log_error(
		"registry: the console at %s has removed this node from the mesh: all its networks "
		"are taken down",
		m->url);
	snprintf(r->removed_from, sizeof(r->removed_from), "%s", m->url);
	registry_stop(r);
	reconcile_clear(r->v->reconcile);
	dataplane_stop(r->v);
	if (state_forget(r->v->state, &e) < 0)
		log_error("registry: %s", e.text);
	registry_joins_fail(r, -VAN_E_GONE, "this node was removed from the mesh by the console");
	registry_leaves_fail(r, 0, "");
}

/* -- the netmap -- */

static void save(struct registry *r, const struct netmap *map)
{
	/* A map that cannot be saved is applied all the same; the state warns of it. */
	r->unsaved = state_save_netmap(r->v->state, map, NULL) < 0;
}

static void drop_from_map(struct netmap *map, const char *network_id)
{
	for (size_t i = 0; i < map->network_count; i++) {
		if (strcmp(map->networks[i].id, network_id) != 0)
			continue;
		free(map->networks[i].peers);
		map->network_count--;
		memmove(&map->networks[i], &map->networks[i + 1],
			(map->network_count - i) * sizeof(map->networks[0]));
		return;
	}
}

void registry_drop_network(struct registry *r, const char *network_id)
{
	const struct netmap *now = reconcile_map(r->v->reconcile);
	CLEANUP(json) struct json_object *copy = NULL;
	struct netmap *map;
	struct err e = {0};

	if (!now)
		return;
	copy = netmap_to_json(now);
	if (netmap_from_json(copy, &map, &e) < 0) {
		log_error("registry: %s", e.text); /* of a map that was read once before */
		return;
	}
	drop_from_map(map, network_id);
	save(r, map);
	reconcile_apply(r->v->reconcile, map);
}

static int check_map(const struct registry *r, const struct netmap *map, struct err *e)
{
	const struct state_membership *m = state_membership(r->v->state);
	const struct netmap *now = reconcile_map(r->v->reconcile);

	if (memcmp(map->mesh, m->mesh, sizeof(map->mesh)) != 0 ||
		strcmp(map->node_id, m->node_id) != 0 ||
		!key_equal(&map->node_key, &r->v->identity->public))
		return err_set(e, -VAN_E_PROTOCOL,
			"the console at %s sent a netmap of another mesh or node: it is ignored",
			m->url);
	if (now && map->generation == now->generation && map->number < now->number)
		return err_set(e, -VAN_E_PROTOCOL,
			"the console at %s sent an older netmap than this node has: it is ignored",
			m->url);
	return 0;
}

static int take_map(struct registry *r, const struct httpc_response *response, struct err *e)
{
	const struct netmap *now = reconcile_map(r->v->reconcile);
	CLEANUP(json) struct json_object *o = NULL;
	CLEANUP(netmap) struct netmap *map = NULL;
	const char *leaving;
	bool same;
	int rc = json_parse(response->body, response->body_len, &o, e);

	if (rc == 0)
		rc = netmap_from_json(o, &map, e);
	if (rc < 0)
		return err_prefix(e, -VAN_E_PROTOCOL, "the netmap that the console sent");
	rc = check_map(r, map, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; (leaving = state_leaving(r->v->state, i)); i++)
		drop_from_map(map, leaving);
	same = now && now->generation == map->generation && now->number == map->number;
	if (!same || r->unsaved)
		save(r, map);
	if (!same)
		log_debug("registry: netmap %llu", (unsigned long long)map->number);
	r->whole = false;
	if (r->stale)
		log_info("registry: the console is back; forwarding goes on");
	r->stale = false;
	reconcile_apply(r->v->reconcile, STEAL(map));
	arm_stale(r);
	registry_joins_check(r);
	return 0;
}

/* Answers that come at once and say nothing new must not become a busy loop, whoever gives them. */
static uint64_t idle_pause(struct registry *r, bool news)
{
	bool quick = r->v->loop.now_ns < r->poll_began_ns + POLL_PAUSE_NS;

	r->idle_answers = news || !quick ? 0 : r->idle_answers + 1;
	return r->idle_answers > 2 ? POLL_PAUSE_NS : 0;
}

static void on_polled(void *ctx, int rc, const char *word, const struct httpc_response *response,
	const struct err *e)
{
	struct registry *r = ctx;
	const struct netmap *map = reconcile_map(r->v->reconcile);
	uint64_t number = map ? map->number : 0;
	uint64_t pause;
	struct err bad = {0};

	(void)e;
	r->poll = NULL;
	if (rc == -VAN_E_GONE && strcmp(word, "node_removed") == 0)
		return; /* registry_removed() follows */
	if (rc == 0 && response->status == 200) {
		rc = take_map(r, response, &bad);
		if (rc < 0)
			registry_failure(r, &bad);
	}
	map = reconcile_map(r->v->reconcile);
	if (rc < 0) {
		pause = pause_ns(r->poll_failures++, response);
	} else {
		r->poll_failures = 0;
		pause = idle_pause(r, map && map->number != number);
	}
	if (r->running)
		loop_timer_set(&r->v->loop, &r->poll_timer, r->v->loop.now_ns + pause);
}

static void on_poll_timer(struct loop_timer *timer, uint64_t now_ns)
{
	struct registry *r = container_of(timer, struct registry, poll_timer);
	const struct netmap *map = reconcile_map(r->v->reconcile);
	struct request_spec spec = {
		.method = "GET", .timeout_ms = POLL_TIMEOUT_MS, .done = on_polled, .ctx = r};
	char path[128] = "/agent/v1/netmap";
	int rc;

	if (r->poll)
		return;
	r->poll_began_ns = now_ns;
	if (map && !r->whole) {
		char revision[NETMAP_REVISION_TEXT_LEN];

		netmap_revision_format(map->generation, map->number, revision);
		snprintf(path, sizeof(path), "/agent/v1/netmap?since=%s&wait=%d", revision, WAIT_S);
	}
	spec.path = path;
	registry_as_member(r, &spec);
	rc = request_start(r, &spec, &r->poll);
	if (rc < 0) {
		log_error("registry: cannot ask for the netmap: %s", err_name(rc));
		loop_timer_set(&r->v->loop, timer, now_ns + retry_ns(r->poll_failures++));
	}
}

void registry_poll_now(struct registry *r, bool whole)
{
	request_cancel(r, STEAL(r->poll));
	r->whole |= whole;
	r->poll_failures = 0;
	loop_timer_set(&r->v->loop, &r->poll_timer, r->v->loop.now_ns);
}

/* -- reports -- */

static void add_local(struct registry *r, struct json_object *list)
{
	CLEANUP(free) struct route_underlay *rows = NULL;
	int taps[TAPS_MAX];
	size_t count = 0, tap_count = reconcile_ifindexes(r->v->reconcile, taps, TAPS_MAX);
	struct err e = {0};
	char text[IP_TEXT_LEN];

	if (route_underlay(r->v->route, taps, tap_count, &rows, &count, &e) < 0)
		log_warn("registry: %s", e.text);
	for (size_t i = 0; i < count && json_object_array_length(list) < LOCAL_MAX; i++) {
		if (reconcile_is_overlay(r->v->reconcile, &rows[i].address))
			continue;
		ip_format(&rows[i].address, text);
		json_object_array_add(list, json_object_new_string(text));
	}
}

static void add_advertised(struct registry *r, struct json_object *list)
{
	for (size_t i = 0; i < r->v->config.advertise.count; i++) {
		struct endpoint ep;
		char text[ENDPOINT_TEXT_LEN];

		if (!endpoint_parse(r->v->config.advertise.items[i], r->v->port, &ep))
			continue; /* checked when the configuration was read */
		endpoint_format(&ep, text);
		json_object_array_add(list, json_object_new_string(text));
	}
}

static void add_networks(struct registry *r, struct json_object *list)
{
	list_for_each (it, &r->v->dataplane.networks.all) {
		const struct network *n = container_of(it, struct network, node);
		const struct network_totals totals = network_totals(n);
		struct json_object *o = json_object_new_object();

		json_set_string(o, "id", n->id);
		json_set_string(o, "ifname", network_ifname(n));
		json_set_int(o, "rx_bytes", (int64_t)totals.rx_bytes);
		json_set_int(o, "tx_bytes", (int64_t)totals.tx_bytes);
		json_set_int(o, "rx_packets", (int64_t)totals.rx_packets);
		json_set_int(o, "tx_packets", (int64_t)totals.tx_packets);
		json_object_array_add(list, o);
	}
}

static struct json_object *report_body(struct registry *r)
{
	const struct netmap *map = reconcile_map(r->v->reconcile);
	struct json_object *o = json_object_new_object();
	struct json_object *local = json_object_new_array();
	struct json_object *advertise = json_object_new_array();
	struct json_object *networks = json_object_new_array();
	char revision[NETMAP_REVISION_TEXT_LEN];

	add_local(r, local);
	add_advertised(r, advertise);
	if (r->v->dataplane.running)
		add_networks(r, networks);
	if (map)
		netmap_revision_format(map->generation, map->number, revision);
	json_set_int(o, "port", r->v->port);
	json_object_object_add(o, "local", local);
	json_object_object_add(o, "advertise", advertise);
	json_set_string(o, "applied", map ? revision : NULL);
	json_set_string(o, "version", VAN_VERSION);
	json_object_object_add(o, "networks", networks);
	return o;
}

static void on_reported(void *ctx, int rc, const char *word, const struct httpc_response *response,
	const struct err *e)
{
	struct registry *r = ctx;
	CLEANUP(json) struct json_object *o = NULL;
	int64_t interval_s = INTERVAL_DEFAULT_S;
	uint64_t pause;

	(void)e;
	r->report = NULL;
	if (!r->running || (rc == -VAN_E_GONE && strcmp(word, "node_removed") == 0))
		return;
	if (rc < 0) {
		pause = pause_ns(r->report_failures++, response);
	} else {
		r->report_failures = 0;
		if (json_parse(response->body, response->body_len, &o, NULL) == 0 &&
			json_object_is_type(o, json_type_object))
			(void)json_opt_int(o, "", "interval_s", 1, 3600, &interval_s, NULL);
		pause = r->report_again ? 0 : (uint64_t)interval_s * NS_PER_S;
		r->report_again = false;
	}
	loop_timer_set(&r->v->loop, &r->report_timer, r->v->loop.now_ns + pause);
}

static void on_report_timer(struct loop_timer *timer, uint64_t now_ns)
{
	struct registry *r = container_of(timer, struct registry, report_timer);
	CLEANUP(json) struct json_object *body = NULL;
	struct request_spec spec = {.method = "POST",
		.path = "/agent/v1/report",
		.timeout_ms = REPORT_TIMEOUT_MS,
		.done = on_reported,
		.ctx = r};
	int rc;

	if (r->report)
		return;
	if (r->unsaved && reconcile_map(r->v->reconcile))
		save(r, reconcile_map(r->v->reconcile));
	body = report_body(r);
	spec.body = json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN);
	registry_as_member(r, &spec);
	rc = request_start(r, &spec, &r->report);
	if (rc < 0) {
		log_error("registry: cannot report: %s", err_name(rc));
		loop_timer_set(&r->v->loop, timer, now_ns + retry_ns(r->report_failures++));
	}
}

void registry_report_soon(struct registry *r)
{
	if (!r->running)
		return;
	/* A connection from an address that is gone hangs until it times out. That of the poll is
	 * closed here; idle ones in curl's pool are left alone until it discards them as too old. */
	r->fresh_until_ns = r->v->loop.now_ns + IDLE_CONNECTION_NS;
	registry_poll_now(r, false);
	r->report_failures = 0;
	if (r->report && r->connected) {
		r->report_again = true;
		return;
	}
	request_cancel(r, STEAL(r->report));
	loop_timer_set(&r->v->loop, &r->report_timer, r->v->loop.now_ns);
}

/* -- the whole -- */

int registry_new(struct vand *v, struct registry **ret_registry)
{
	struct registry *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->v = v;
	list_init(&r->joins);
	list_init(&r->leaves);
	r->poll_timer.fire = on_poll_timer;
	r->report_timer.fire = on_report_timer;
	r->stale_timer.fire = on_stale;
	rc = registry_http_open(r);
	if (rc < 0) {
		free(r);
		return rc;
	}
	*ret_registry = r;
	return 0;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	registry_stop(r);
	registry_joins_fail(r, -ECANCELED, "vand stops");
	registry_leaves_fail(r, -ECANCELED, "vand stops");
	registry_http_close(r);
	free(r);
}

void registry_start(struct registry *r)
{
	const struct state_membership *m = state_membership(r->v->state);
	struct netmap *map;
	struct err e = {0};

	if (!m || r->running)
		return;
	if (!r->v->dataplane.running && dataplane_start(r->v, m->mesh, &e) < 0) {
		log_error("%s", e.text);
		snprintf(r->error, sizeof(r->error), "%s", e.text);
		return;
	}
	r->removed_from[0] = '\0';
	r->connected = false;
	r->error_code = 0;
	r->error[0] = '\0';
	r->stale = false;
	recall_contact(r);
	if (!reconcile_map(r->v->reconcile)) {
		map = state_load_netmap(r->v->state);
		if (map)
			reconcile_apply(r->v->reconcile, map);
	}
	r->running = true;
	loop_timer_set(&r->v->loop, &r->poll_timer, r->v->loop.now_ns);
	loop_timer_set(&r->v->loop, &r->report_timer, r->v->loop.now_ns);
	arm_stale(r);
}

void registry_stop(struct registry *r)
{
	r->running = false;
	r->connected = false;
	loop_timer_cancel(&r->v->loop, &r->poll_timer);
	loop_timer_cancel(&r->v->loop, &r->report_timer);
	loop_timer_cancel(&r->v->loop, &r->stale_timer);
	request_cancel(r, STEAL(r->poll));
	request_cancel(r, STEAL(r->report));
	request_cancel(r, STEAL(r->telling));
}

static void set_contact_age(const struct registry *r, struct json_object *o)
{
	int64_t age_s;

	if (!r->known) {
		json_object_object_add(o, "last_contact_s", NULL);
		return;
	}
	age_s = ((int64_t)r->v->loop.now_ns - r->contact_ns) / (int64_t)NS_PER_S;
	json_set_int(o, "last_contact_s", age_s > 0 ? age_s : 0);
}

struct json_object *registry_status(const struct registry *r)
{
	const struct state_membership *m = state_membership(r->v->state);
	struct json_object *o;

	if (!m && !r->removed_from[0])
		return NULL;
	o = json_object_new_object();
	json_set_string(o, "url", m ? m->url : r->removed_from);
	json_set_bool(o, "connected", r->connected);
	set_contact_age(r, o);
	if (m)
		json_set_string(o, "error", r->error[0] ? r->error : NULL);
	else
		json_set_string(o, "error", "removed from the mesh by the console");
	return o;
}

void registry_warnings(const struct registry *r, struct json_object *array)
{
	char text[256];

	if (r->stale) {
		snprintf(text, sizeof(text),
			"nothing is forwarded: the console was out of reach for longer than max_stale_s "
			"(%lld s)",
			(long long)r->v->config.max_stale_s);
		json_object_array_add(array, json_object_new_string(text));
	}
	if (llabs(r->clock_offset_s) >= SKEW_WARN_S) {
		snprintf(text, sizeof(text), "this machine's clock is %lld s %s the console's",
			(long long)llabs(r->clock_offset_s),
			r->clock_offset_s > 0 ? "behind" : "ahead of");
		json_object_array_add(array, json_object_new_string(text));
	}
	for (size_t i = 0; state_leaving(r->v->state, i); i++) {
		snprintf(text, sizeof(text),
			"network %s was left; the console will be told when it answers",
			state_leaving(r->v->state, i));
		json_object_array_add(array, json_object_new_string(text));
	}
}
