/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed requests on the control loop. curl says which descriptors and which timer it wants; they
 * become sources and a timer of the loop.
 *
 * The signature carries the time. When our clock is too far off, the console answers 401 clock_skew
 * with its own time: the difference is kept as an offset for signatures, and the request is
 * repeated, once. The machine's clock is never set.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/agentsig.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/netmap_delta.h"
#include "vand/reconcile.h"
#include "vand/registry_internal.h"
#include "vand/vand.h"

#define WORD_PREFIX "urn:van:error:"

struct watcher {
	struct list node;
	struct loop_source source;
	struct registry *r;
};

struct request {
	struct list node;
	struct registry *r;
	struct httpc_call *call;
	char url[NETMAP_URL_MAX + 1];
	char pins[CONSOLES_PINS_TEXT];
	char node_id[NETMAP_ID_MAX + 1];
	char console[NETMAP_ID_MAX + 1];
	bool member, probe, patch;
	char method[8];
	char path[256];
	char *body;
	unsigned int timeout_ms;
	int64_t clock_offset_s;
	bool repeated; /* after a clock_skew */
	request_done *done;
	void *ctx;
};

/* -- curl on the loop -- */

static void on_ready(struct loop_source *source, uint32_t events)
{
	struct watcher *w = container_of(source, struct watcher, source);
	bool broken = events & (EPOLLERR | EPOLLHUP);

	/* May call watch(), and so free w. */
	httpc_on_fd(
		w->r->http, source->fd, broken || events & EPOLLIN, broken || events & EPOLLOUT);
}

static struct watcher *find_watcher(struct registry *r, int fd)
{
	list_for_each (it, &r->watchers) {
		struct watcher *w = container_of(it, struct watcher, node);

		if (w->source.fd == fd)
			return w;
	}
	return NULL;
}

static void watcher_free(struct registry *r, struct watcher *w)
{
	loop_remove(&r->v->loop, &w->source);
	list_del(&w->node);
	free(w);
}

static void watch(void *ctx, int fd, bool read, bool write)
{
	struct registry *r = ctx;
	struct watcher *w = find_watcher(r, fd);
	uint32_t events = (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u);
	int rc = -ENOENT;

	if (!events) {
		if (w)
			watcher_free(r, w);
		return;
	}
	if (!w) {
		w = calloc(1, sizeof(*w));
		if (!w)
			abort();
		w->r = r;
		w->source.fd = fd;
		w->source.ready = on_ready;
		list_add_tail(&r->watchers, &w->node);
	}
	if (w->source.added)
		rc = loop_change(&r->v->loop, &w->source, events);
	if (rc == -ENOENT) /* new, or closed and opened again under the same number */
		rc = loop_add(&r->v->loop, &w->source, events);
	if (rc < 0)
		log_error("registry: cannot watch a connection: %s", err_name(rc));
}

static void on_http_timer(struct loop_timer *timer, uint64_t now_ns)
{
	struct registry *r = container_of(timer, struct registry, http_timer);

	(void)now_ns;
	httpc_on_timer(r->http);
}

static void set_timer(void *ctx, long timeout_ms)
{
	struct registry *r = ctx;

	/* From now, not from the start of the turn: curl reads the clock itself. */
	loop_timer_set(&r->v->loop, &r->http_timer,
		timeout_ms < 0 ? UINT64_MAX
			       : clock_boottime_ns() + (uint64_t)timeout_ms * NS_PER_MS);
}

int registry_http_open(struct registry *r)
{
	const struct httpc_loop loop = {.ctx = r, .watch = watch, .set_timer = set_timer};

	list_init(&r->watchers);
	list_init(&r->requests);
	r->http_timer.fire = on_http_timer;
	return httpc_new(&loop, &r->http);
}

void registry_http_close(struct registry *r)
{
	list_for_each_safe (it, &r->requests)
		request_cancel(r, container_of(it, struct request, node));
	httpc_free(r->http);
	r->http = NULL;
	list_for_each_safe (it, &r->watchers)
		watcher_free(r, container_of(it, struct watcher, node));
	loop_timer_cancel(&r->v->loop, &r->http_timer);
}

/* -- requests -- */

static void request_free(struct request *q)
{
	list_del(&q->node);
	if (q->body) {
		sodium_memzero(q->body, strlen(q->body));
		free(q->body);
	}
	free(q);
}

static void on_done(void *ctx, int rc, const struct httpc_response *response, const struct err *e);

static int send_request(struct request *q)
{
	struct registry *r = q->r;
	const struct httpc_server server = {.url = q->url, .pin = q->pins};
	const struct agentsig_request signed_part = {.method = q->method,
		.path = q->path,
		.body = q->body ? q->body : "",
		.body_len = q->body ? strlen(q->body) : 0,
		.console_id = q->console};
	int64_t time_s = (int64_t)(clock_wall_ns() / NS_PER_S) + q->clock_offset_s;
	char signature[AGENTSIG_HEADER_MAX], header[AGENTSIG_HEADER_MAX + 32];
	char hello_text[AGENTHELLO_TEXT_MAX], hello[AGENTHELLO_TEXT_MAX + 16];
	const char *const headers[] = {header, hello,
		q->patch ? "Accept: " NETMAP_DELTA_TYPE ", application/json" : NULL, NULL};
	const struct httpc_request request = {.method = q->method,
		.path = q->path,
		.body = q->body,
		.body_len = signed_part.body_len,
		.headers = headers,
		.timeout_ms = q->timeout_ms,
		.fresh = r->v->loop.now_ns < r->fresh_until_ns};

	agentsig_sign(&signed_part, q->node_id, time_s > 0 ? (uint64_t)time_s : 0,
		r->v->identity->sign_secret, signature);
	snprintf(header, sizeof(header), "Authorization: %s", signature);
	agenthello_format(&r->hello, hello_text);
	snprintf(hello, sizeof(hello), AGENTHELLO_NAME ": %s", hello_text);
	return httpc_start(r->http, &server, &request, on_done, q, &q->call);
}

/* What a problem document says: the word of its type, and the console's time if it is in there. */
static void read_problem(
	const struct httpc_response *response, char *ret_word, size_t size, int64_t *ret_time_s)
{
	CLEANUP(json) struct json_object *o = NULL;
	const char *type = "";

	if (json_parse(response->body, response->body_len, &o, NULL) < 0 ||
		!json_object_is_type(o, json_type_object))
		return;
	(void)json_opt_string(o, "", "type", 0, 128, &type, NULL);
	(void)json_opt_int(o, "", "server_time", 1, INT64_MAX / 2, ret_time_s, NULL);
	if (strncmp(type, WORD_PREFIX, strlen(WORD_PREFIX)) == 0)
		snprintf(ret_word, size, "%s", type + strlen(WORD_PREFIX));
}

/* True when the request was sent again with a better time. */
static bool repeat_with_offset(struct request *q, int64_t server_time_s)
{
	struct registry *r = q->r;

	q->clock_offset_s = server_time_s - (int64_t)(clock_wall_ns() / NS_PER_S);
	/* Of a console that we do not know yet it is good for this request. */
	if (q->member)
		r->clock_offset_s = q->clock_offset_s;
	log_warn("registry: this machine's clock is %lld s off the console's",
		(long long)-q->clock_offset_s);
	if (q->repeated)
		return false;
	q->repeated = true;
	return send_request(q) == 0;
}

/* The pins are all that this side knows of the console, so this is not the node's to put right. */
static void explain_key(struct registry *r, const char *url, struct err *ret_e)
{
	const struct netmap *map = reconcile_map(r->v->reconcile);

	err_set(ret_e, -VAN_E_TLS,
		"%s answers with a key that this node does not know: somebody else answers there, or the "
		"console's key was changed while this node was away. In that case get a token by `vanctl "
		"node rekey %s`, stop vand here, remove its state_dir, start it, and join by the token",
		url, map ? map->node_name : "NODE");
}

static void on_done(void *ctx, int rc, const struct httpc_response *response, const struct err *e)
{
	struct request *q = ctx;
	struct registry *r = q->r;
	struct err status = {0};
	char word[32] = "";
	int64_t server_time_s = 0;
	bool removed, cloned;

	q->call = NULL;
	if (rc == 0 && response->status >= 400) {
		rc = httpc_status_error(response, &status);
		e = &status;
		read_problem(response, word, sizeof(word), &server_time_s);
		if (response->status == 401 && strcmp(word, "clock_skew") == 0 && server_time_s &&
			repeat_with_offset(q, server_time_s))
			return;
	} else if (rc == 0 && (response->status < 200 || response->status > 299)) {
		rc = err_set(&status, -VAN_E_PROTOCOL,
			"%s answered with HTTP status %ld: is it a console?", q->url,
			response->status);
		e = &status;
	} else if (rc == -VAN_E_TLS && q->member) {
		explain_key(r, q->url, &status);
		e = &status;
	}
	removed = q->member && rc == -VAN_E_GONE && strcmp(word, "node_removed") == 0;
	if (q->member && rc == 0)
		registry_contact(r);
	else if (q->member && !q->probe && !removed &&
		 !(response && strcmp(q->method, "DELETE") == 0))
		registry_failure(r, e); /* that a DELETE is refused concerns who asked for it */
	cloned = q->member && rc == -VAN_E_CONFLICT && strcmp(word, "cloned") == 0;
	q->done(q->ctx, rc, word, response, e);
	request_free(q);
	if (removed)
		registry_removed(r);
	else if (cloned && r->running)
		registry_cloned(r);
}

int request_start(struct registry *r, const struct request_spec *spec, struct request **ret_request)
{
	struct request *q = calloc(1, sizeof(*q));
	int rc;

	if (!q)
		return -ENOMEM;
	q->r = r;
	snprintf(q->url, sizeof(q->url), "%s", spec->to->url);
	consoles_pins(spec->to, q->pins);
	snprintf(q->node_id, sizeof(q->node_id), "%s", spec->node);
	snprintf(q->console, sizeof(q->console), "%s", spec->console);
	snprintf(q->method, sizeof(q->method), "%s", spec->method);
	snprintf(q->path, sizeof(q->path), "%s", spec->path);
	q->clock_offset_s = r->clock_offset_s;
	q->member = spec->member;
	q->probe = spec->probe;
	q->patch = spec->patch;
	q->body = spec->body ? strdup(spec->body) : NULL;
	q->timeout_ms = spec->timeout_ms;
	q->done = spec->done;
	q->ctx = spec->ctx;
	list_add_tail(&r->requests, &q->node);
	rc = spec->body && !q->body ? -ENOMEM : send_request(q);
	if (rc < 0) {
		request_free(q);
		return rc;
	}
	*ret_request = q;
	return 0;
}

void request_cancel(struct registry *r, struct request *q)
{
	if (!q)
		return;
	if (q->call)
		httpc_cancel(r->http, q->call);
	request_free(q);
}
