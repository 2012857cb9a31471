/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two conversations with the console go on side by side. The poll asks for a netmap newer than ours
 * and is answered when there is one, or after WAIT_S. The report says where we can be reached. Each
 * has its own timer; either of them succeeding is contact. Where the mesh has several consoles, one
 * is current (consoles.c): when either conversation finds it away, both go on with the next one, and
 * a report that goes to the preferred one now and then finds out when it is back.
 *
 * Nothing that goes wrong here touches what is running: the netmap in force stays in force, unless
 * the console says that this node was removed, or that another machine has its identity, or the
 * configuration bounds how old it may grow (max_stale_s).
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
#include "vand/report.h"
#include "vand/vand.h"

#define WAIT_S             30
#define POLL_TIMEOUT_MS    ((WAIT_S + 15) * 1000)
#define REPORT_TIMEOUT_MS  10000
#define RETRY_AFTER_MAX_S  300
#define POLL_PAUSE_NS      (1 * NS_PER_S)   /* between answers that said nothing and came at once */
#define IDLE_CONNECTION_NS (120 * NS_PER_S) /* CURLOPT_MAXAGE_CONN is 118 s */
#define INTERVAL_DEFAULT_S 10
#define SKEW_WARN_S        30

static uint64_t retry_ns(unsigned int failures)
{
	return consoles_pause_ns(failures, randombytes_random());
}

static uint64_t pause_ns(unsigned int failures, const struct httpc_response *response)
{
	unsigned int s = response ? response->retry_after_s : 0;

	if (s == 0)
		return retry_ns(failures);
	return (s < RETRY_AFTER_MAX_S ? s : RETRY_AFTER_MAX_S) * NS_PER_S;
}

/* -- which console -- */

void registry_as_member(
	const struct registry *r, const struct netmap_console *console, struct request_spec *spec)
{
	const struct state_membership *m = state_membership(r->v->state);

	if (!console)
		console = consoles_current(&r->consoles);
	spec->to = console;
	spec->node = m->node_id;
	/* One of version 0.1 does not say its own id: it takes signatures for the mesh's. */
	spec->console = console->id[0] ? console->id : m->console;
	spec->member = true;
}

const char *registry_url(const struct registry *r)
{
	const struct netmap_console *console = consoles_current(&r->consoles);

	return console ? console->url : "";
}

/* The pin that the node joined by may be that of a key which the console has given up. Lists come
 * from consoles that were known by their pins when they sent them (registry_join.c). */
static void keep_pin(struct registry *r, const struct netmap_console *list, size_t count)
{
	struct state_membership m = *state_membership(r->v->state);
	struct err e = {0};

	for (size_t i = 0; i < count; i++) {
		bool known = false;

		if (strcmp(list[i].url, m.url) != 0)
			continue;
		for (size_t k = 0; k < list[i].pin_count; k++)
			known |= strcmp(list[i].pins[k], m.pin) == 0;
		if (known)
			return;
		snprintf(m.pin, sizeof(m.pin), "%s", list[i].pins[0]);
		if (state_set_membership(r->v->state, &m, &e) < 0)
			log_error("registry: %s", e.text);
		return;
	}
}

void registry_read_consoles(struct registry *r)
{
	const struct state_membership *m = state_membership(r->v->state);
	struct netmap_console home = {.pin_count = 1};
	const struct netmap_console *list;
	size_t count;

	if (!m) {
		r->consoles = (struct consoles){0};
		return;
	}
	list = state_consoles(r->v->state, &count);
	keep_pin(r, list, count);
	snprintf(home.url, sizeof(home.url), "%s", m->url);
	snprintf(home.pins[0], sizeof(home.pins[0]), "%s", m->pin);
	snprintf(home.id, sizeof(home.id), "%s", m->self);
	consoles_set(&r->consoles, list, count, &home);
}

/* True for failures that say nothing about the request itself: the console is away or unwell. */
static bool is_away(int rc)
{
	return rc == -VAN_E_UNREACHABLE || rc == -VAN_E_TIMEOUT || rc == -VAN_E_TLS ||
	       rc == -VAN_E_PROTOCOL;
}

/* Both conversations go on with the console that is current now. */
static void move(struct registry *r, uint64_t pause_ns_)
{
	log_warn("registry: going on with the console at %s", registry_url(r));
	request_cancel(r, STEAL(r->poll));
	request_cancel(r, STEAL(r->report));
	loop_timer_set(&r->v->loop, &r->poll_timer, r->v->loop.now_ns + pause_ns_);
	loop_timer_set(&r->v->loop, &r->report_timer, r->v->loop.now_ns + pause_ns_);
}

/* The pause after a request to the console of this URL that failed. */
static uint64_t after_failure(struct registry *r, int rc, const char *url,
	const struct httpc_response *response, unsigned int *failures)
{
	unsigned int retry_after_s = response ? response->retry_after_s : 0;
	uint64_t pause;
	bool moved;

	if (!is_away(rc) || r->consoles.count < 2)
		return pause_ns((*failures)++, response);
	moved = consoles_failed(
		&r->consoles, url, retry_after_s, r->v->loop.now_ns, randombytes_random(), &pause);
	if (moved && r->running)
		move(r, pause);
	return pause;
}

/* The same for one that succeeded. */
static void after_success(struct registry *r, const char *url)
{
	if (!consoles_answered(&r->consoles, url))
		return;
	log_info("registry: back to the console at %s", url);
	if (r->running)
		registry_poll_now(r, false);
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
		log_info("registry: %s answers", registry_url(r));
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
		registry_url(r));
	snprintf(r->removed_from, sizeof(r->removed_from), "%s", registry_url(r));
	registry_stop(r);
	reconcile_clear(r->v->reconcile);
	dataplane_stop(r->v);
	if (state_forget(r->v->state, &e) < 0)
		log_error("registry: %s", e.text);
	registry_read_consoles(r);
	registry_forget_base(r);
	registry_joins_fail(r, -VAN_E_GONE, "this node was removed from the mesh by the console");
	registry_leaves_fail(r, 0, "");
}

void registry_cloned(struct registry *r)
{
	if (r->cloned)
		return;
	r->cloned = true;
	log_error("registry: this node's identity was in use on two machines at once: forwarding "
		  "stops here until the console gives it a netmap again");
	reconcile_clear(r->v->reconcile);
	registry_forget_base(r);
	r->whole = true;
}

/* -- the netmap -- */

static int take_map(struct registry *r, const struct httpc_response *response, struct err *e)
{
	int rc = registry_take_map(r, response, e);

	if (rc < 0) {
		r->whole |= rc == -ESTALE;
		return rc;
	}
	r->whole = false;
	if (r->stale || r->cloned)
		log_info("registry: the console has given its netmap; forwarding goes on");
	r->stale = false;
	r->cloned = false;
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
		pause = after_failure(r, rc, r->poll_url, response, &r->poll_failures);
	} else {
		r->poll_failures = 0;
		after_success(r, r->poll_url);
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
		spec.patch = r->base;
	}
	spec.path = path;
	registry_as_member(r, NULL, &spec);
	snprintf(r->poll_url, sizeof(r->poll_url), "%s", spec.to->url);
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
		pause = after_failure(r, rc, r->report_url, response, &r->report_failures);
	} else {
		r->report_failures = 0;
		after_success(r, r->report_url);
		report_arrived(r->report_maker);
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
	registry_save_again(r);
	body = report_build(r->report_maker);
	spec.body = json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN);
	registry_as_member(r, consoles_for_report(&r->consoles, now_ns), &spec);
	spec.probe = spec.to != consoles_current(&r->consoles);
	snprintf(r->report_url, sizeof(r->report_url), "%s", spec.to->url);
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
	consoles_retry(&r->consoles);
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
	snprintf(r->hello.version, sizeof(r->hello.version), "%s", VAN_VERSION);
	r->hello.protocol = AGENTHELLO_PROTOCOL;
	r->hello.start = state_starts(v->state);
	while (!r->hello.instance)
		randombytes_buf(&r->hello.instance, sizeof(r->hello.instance));
	list_init(&r->joins);
	list_init(&r->leaves);
	r->poll_timer.fire = on_poll_timer;
	r->report_timer.fire = on_report_timer;
	r->stale_timer.fire = on_stale;
	rc = report_new(v, r->hello.instance, &r->report_maker);
	if (rc == 0)
		rc = registry_http_open(r);
	if (rc < 0) {
		report_free(r->report_maker);
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
	report_free(r->report_maker);
	registry_forget_base(r);
	free(r);
}

void registry_start(struct registry *r)
{
	const struct state_membership *m = state_membership(r->v->state);
	struct err e = {0};

	if (!m || r->running)
		return;
	registry_read_consoles(r);
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
	r->cloned = false;
	recall_contact(r);
	registry_load_map(r);
	r->running = true;
	report_start(r->report_maker);
	loop_timer_set(&r->v->loop, &r->poll_timer, r->v->loop.now_ns);
	loop_timer_set(&r->v->loop, &r->report_timer, r->v->loop.now_ns);
	arm_stale(r);
}

void registry_stop(struct registry *r)
{
	r->running = false;
	r->connected = false;
	report_stop(r->report_maker);
	loop_timer_cancel(&r->v->loop, &r->poll_timer);
	loop_timer_cancel(&r->v->loop, &r->report_timer);
	loop_timer_cancel(&r->v->loop, &r->stale_timer);
	request_cancel(r, STEAL(r->poll));
	request_cancel(r, STEAL(r->report));
	request_cancel(r, STEAL(r->telling));
}

void registry_probed(struct registry *r, const struct peer *peer, uint64_t token, uint64_t rtt_ns)
{
	report_probed(r->report_maker, peer, token, rtt_ns);
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

static void add_consoles(const struct registry *r, struct json_object *o)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < r->consoles.count; i++) {
		struct json_object *item = json_object_new_object();

		json_set_string(item, "url", r->consoles.items[i].url);
		json_set_bool(item, "current", i == r->consoles.current);
		json_set_bool(item, "preferred", i == r->consoles.preferred);
		json_object_array_add(list, item);
	}
	json_object_object_add(o, "consoles", list);
}

struct json_object *registry_status(const struct registry *r)
{
	const struct state_membership *m = state_membership(r->v->state);
	struct json_object *o;

	if (!m && !r->removed_from[0])
		return NULL;
	o = json_object_new_object();
	json_set_string(o, "url", m ? registry_url(r) : r->removed_from);
	json_set_bool(o, "connected", r->connected);
	add_consoles(r, o);
	set_contact_age(r, o);
	if (m)
		json_set_string(o, "error", r->error[0] ? r->error : NULL);
	else
		json_set_string(o, "error", "removed from the mesh by the console");
	return o;
}

/* What the map says of networks that are not in it. */
static void absence_warnings(const struct netmap *map, struct json_object *array)
{
	char text[256];

	if (map->disabled) {
		snprintf(text, sizeof(text),
			"this node is disabled, so it is in no network, until: vanctl node enable %s",
			map->node_name);
		json_object_array_add(array, json_object_new_string(text));
	}
	for (size_t i = 0; i < map->waiting_count; i++) {
		snprintf(text, sizeof(text),
			"network %s: this node waits for approval: vanctl node approve %s -n %s",
			map->waiting[i], map->node_name, map->waiting[i]);
		json_object_array_add(array, json_object_new_string(text));
	}
}

void registry_warnings(const struct registry *r, struct json_object *array)
{
	const struct netmap *map = reconcile_map(r->v->reconcile);
	char text[NETMAP_URL_MAX + 256];

	if (map)
		absence_warnings(map, array);
	if (r->consoles.current != r->consoles.preferred) {
		snprintf(text, sizeof(text),
			"the console at %s does not answer: another one has taken its place",
			r->consoles.items[r->consoles.preferred].url);
		json_object_array_add(array, json_object_new_string(text));
	}
	if (r->stale) {
		snprintf(text, sizeof(text),
			"nothing is forwarded: the console was out of reach for longer than max_stale_s "
			"(%lld s)",
			(long long)r->v->config.max_stale_s);
		json_object_array_add(array, json_object_new_string(text));
	}
	if (r->cloned)
		json_object_array_add(array,
			json_object_new_string(
				"nothing is forwarded: this node's identity was in use on two "
				"machines at once, and the console refuses this one"));
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
