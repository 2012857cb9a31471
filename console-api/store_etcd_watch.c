/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream is one POST whose answer never ends: a line of JSON for each message. etcd never
 * splits a transaction over messages, so the events of one revision are gathered from one line. The
 * stream can be cut at any time and begins again after the last revision that was received.
 *
 * A stream that is silent may be at rest or dead. The probe tells: every transaction puts a marker,
 * so when the markers say that there was one which the stream has not brought for a while, it is
 * dead. When they say that the stream is up to date at etcd's revision H, it needs nothing up to H
 * any more, which matters where others write to the cluster and its past is compacted.
 *
 * What was received waits in a queue of bounded size; when that is full the stream is not read.
 */
#include "console-api/store_etcd_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"

#define LINE_MAX_BYTES  (64u << 20)
#define QUEUE_MAX_BYTES (64u << 20)
#define PROBE_MS        1000u
#define PROBE_FAILED_MS 250u
#define RETRY_MS        100u
#define RETRY_MAX_MS    2000u
#define STALE_STREAM_NS (500 * NS_PER_MS)

struct etcd_watch {
	struct etcd *etcd;
	char *prefix;
	struct etcd_conn *probe_conn;
	struct etcd_conn
		*stream_conn; /* for what the stream's thread asks: tokens, everything anew */
	CURLM *multi;
	pthread_t probe_thread, stream_thread;
	int event_fd;
	atomic_bool stopping;

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t cond;  /* something below has changed */
	struct etcd_change *first, **end;
	size_t queued_bytes;
	uint64_t received; /* the last transaction that the stream brought */
	uint64_t covered;  /* nothing up to this revision of etcd's is missing */
	uint64_t
		behind_ns; /* since when the probe knows of more than was received; 0: it does not */
	uint64_t head, head_ns; /* the last transaction that the probe saw, and when it asked */
	uint64_t fresh_ns;
	unsigned int failures; /* of the probe, one after the other */
	bool healthy;
	bool move; /* the stream is to begin again at … */
	size_t move_to;
};

void etcd_change_free(struct etcd_change *change)
{
	for (size_t i = 0; i < change->op_count; i++) {
		free(change->ops[i].key);
		free(change->ops[i].value);
	}
	free(change->ops);
	store_close(change->snapshot.mirror);
	free(change);
}

/* -- the queue -- */

static void wait_until(struct etcd_watch *w, uint64_t deadline_ns)
{
	struct timespec at = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
		.tv_nsec = (long)(deadline_ns % NS_PER_S)};

	pthread_cond_timedwait(&w->cond, &w->lock, &at);
}

static uint64_t monotonic_ns(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

static void enqueue(struct etcd_watch *w, struct etcd_change *change)
{
	static const uint64_t one = 1;

	pthread_mutex_lock(&w->lock);
	while (w->queued_bytes > QUEUE_MAX_BYTES && !atomic_load(&w->stopping))
		wait_until(w, monotonic_ns() + NS_PER_S);
	*w->end = change;
	w->end = &change->next;
	w->queued_bytes += change->bytes;
	w->received = change->revision;
	if (w->covered < change->revision)
		w->covered = change->revision;
	if (w->received >= w->head)
		w->behind_ns = 0;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
	if (write(w->event_fd, &one, sizeof(one)) < 0)
		log_debug("etcd: eventfd: %s", strerror(errno));
}

struct etcd_change *etcd_watch_take(struct etcd_watch *w)
{
	struct etcd_change *all;
	uint64_t count;

	if (read(w->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_debug("etcd: eventfd: %s", strerror(errno));
	pthread_mutex_lock(&w->lock);
	all = w->first;
	w->first = NULL;
	w->end = &w->first;
	w->queued_bytes = 0;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
	return all;
}

bool etcd_watch_wait(struct etcd_watch *w, uint64_t deadline_ns)
{
	bool any;

	pthread_mutex_lock(&w->lock);
	while (!w->first && monotonic_ns() < deadline_ns)
		wait_until(w, deadline_ns);
	any = w->first != NULL;
	pthread_mutex_unlock(&w->lock);
	return any;
}

/* -- the stream -- */

struct stream {
	struct etcd_watch *w;
	char *line;
	size_t len, room;
	bool compacted;
	bool denied;
	bool begun;
};

/* True when the key is one of the map's: then *ret_key is its name there. */
static bool in_map(const struct etcd_watch *w, const char *key, const char **ret_key)
{
	size_t len = strlen(w->prefix);

	if (strncmp(key, w->prefix, len) != 0 ||
		strncmp(key + len, ETCD_DATA "/", strlen(ETCD_DATA "/")) != 0)
		return false;
	*ret_key = key + len + strlen(ETCD_DATA);
	return true;
}

/* Adds an event to the change; false when it is not as etcd would send it. */
static bool take_event(struct etcd_watch *w, struct json_object *event, struct etcd_change *change)
{
	struct json_object *kv = json_object_object_get(event, "kv");
	const char *type = json_object_get_string(json_object_object_get(event, "type"));
	bool deleted = type && !strcmp(type, "DELETE");
	CLEANUP(free) char *key = etcd_get_bytes(kv, "key");
	CLEANUP(free) char *value = etcd_get_bytes(kv, "value");
	const char *name;

	if (!key || !value || !etcd_get_number(kv, "mod_revision"))
		return false;
	change->revision = etcd_get_number(kv, "mod_revision");
	if (!in_map(w, key, &name)) {
		if (!strcmp(key + strlen(w->prefix), "generation") && !deleted)
			change->generation = strtoull(value, NULL, 16);
		return true;
	}
	change->bytes += strlen(key) + strlen(value) + sizeof(struct store_op);
	change->ops[change->op_count++] = (struct store_op){
		.kind = deleted ? STORE_DELETE : STORE_PUT,
		.key = xstrdup(name),
		.value = deleted ? NULL : STEAL(value),
	};
	return true;
}

static struct etcd_change *change_new(size_t room)
{
	struct etcd_change *change = xcalloc(1, sizeof(*change));

	change->ops = xcalloc(room, sizeof(*change->ops));
	change->bytes = sizeof(*change);
	return change;
}

/* The events of a message, one change for each revision. */
static bool take_events(struct etcd_watch *w, struct json_object *events)
{
	size_t n = json_object_array_length(events);

	for (size_t i = 0; i < n;) {
		struct json_object *kv =
			json_object_object_get(json_object_array_get_idx(events, i), "kv");
		uint64_t revision = etcd_get_number(kv, "mod_revision");
		struct etcd_change *change = change_new(n - i);

		for (; i < n; i++) {
			struct json_object *event = json_object_array_get_idx(events, i);

			kv = json_object_object_get(event, "kv");
			if (etcd_get_number(kv, "mod_revision") != revision)
				break;
			if (!take_event(w, event, change)) {
				etcd_change_free(change);
				return false;
			}
		}
		enqueue(w, change);
	}
	return true;
}

/* False when the stream is of no use any more. */
static bool take_line(struct stream *st)
{
	CLEANUP(json) struct json_object *message = NULL;
	struct json_object *result, *events;
	struct err e = {0};

	if (json_parse(st->line, st->len, &message, &e)) {
		log_warn("etcd: a message of the watch is no JSON: %s", e.text);
		return false;
	}
	result = json_object_object_get(message, "result");
	if (!result) {
		int rc = etcd_error(message, &e);

		st->denied = rc == -VAN_E_DENIED;
		st->compacted = rc == -VAN_E_GONE;
		log_debug("%s", e.text);
		return false;
	}
	if (etcd_get_number(result, "compact_revision")) {
		st->compacted = true;
		return false;
	}
	if (json_object_get_boolean(json_object_object_get(result, "canceled"))) {
		const char *why =
			json_object_get_string(json_object_object_get(result, "cancel_reason"));

		log_warn("etcd: the watch was ended: %s", why ? why : "no reason given");
		st->denied = why && strstr(why, "ermission");
		return false;
	}
	st->begun = true;
	events = json_object_object_get(result, "events");
	return !events || take_events(st->w, events);
}

static size_t on_stream(char *data, size_t size, size_t n, void *ctx)
{
	struct stream *st = ctx;
	size_t len = size * n;

	for (size_t i = 0; i < len;) {
		char *end = memchr(data + i, '\n', len - i);
		size_t part = end ? (size_t)(end - (data + i)) : len - i;

		if (part > LINE_MAX_BYTES - st->len)
			return 0;
		if (st->len + part + 1 > st->room) {
			st->room = (st->len + part + 1) * 2;
			st->line = xrealloc(st->line, st->room, 1);
		}
		memcpy(st->line + st->len, data + i, part);
		st->len += part;
		i += part + (end != NULL);
		if (!end)
			break;
		if (st->len && !take_line(st))
			return 0;
		st->len = 0;
		if (atomic_load(&st->w->stopping))
			return 0;
	}
	return len;
}

static bool wants_to_move(struct etcd_watch *w)
{
	bool move;

	pthread_mutex_lock(&w->lock);
	move = w->move;
	pthread_mutex_unlock(&w->lock);
	return move;
}

/* Until the stream ends, or is to end. */
static CURLcode run_easy(struct etcd_watch *w, CURL *easy)
{
	int running = 1, left;
	CURLMsg *msg;

	curl_multi_add_handle(w->multi, easy);
	while (running && !atomic_load(&w->stopping) && !wants_to_move(w)) {
		if (curl_multi_perform(w->multi, &running) != CURLM_OK)
			break;
		if (running)
			curl_multi_poll(w->multi, NULL, 0, 10000, NULL);
	}
	msg = curl_multi_info_read(w->multi, &left);
	curl_multi_remove_handle(w->multi, easy);
	return msg && msg->msg == CURLMSG_DONE ? msg->data.result : CURLE_OK;
}

static void run_stream(struct etcd_watch *w, size_t endpoint, struct stream *st)
{
	CLEANUP(free) char *from = xasprintf("%s", w->prefix);
	CLEANUP(free) char *end = xstrdup(w->prefix);
	struct printbuf *body = printbuf_new();
	CURL *easy = curl_easy_init();
	struct curl_slist *headers;
	uint64_t start;
	char url[1024];
	CURLcode code;

	if (!body || !easy)
		abort();
	pthread_mutex_lock(&w->lock);
	start = w->covered + 1;
	w->move = false;
	pthread_mutex_unlock(&w->lock);
	end[strlen(end) - 1]++;
	printbuf_memappend(body, "{\"create_request\":{", 19);
	etcd_put_bytes(body, "key", from, "");
	printbuf_memappend(body, ",", 1);
	etcd_put_bytes(body, "range_end", end, "");
	sprintbuf(body, ",\"start_revision\":\"%llu\"}}", (unsigned long long)start);
	etcd_prepare(w->etcd, easy, endpoint, "/v3/watch", body->buf, url, sizeof(url), &headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_stream);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, st);
	code = run_easy(w, easy);
	if (code != CURLE_OK)
		log_debug("etcd: the watch at %s ended: %s", etcd_endpoint(w->etcd, endpoint),
			curl_easy_strerror(code));
	curl_easy_cleanup(easy);
	curl_slist_free_all(headers);
	printbuf_free(body);
	free(st->line);
}

/* The past that is missing was compacted: everything is read again. */
static void read_anew(struct etcd_watch *w)
{
	struct etcd_change *change = change_new(0);
	struct err e = {0};
	int rc = store_etcd_load(w->stream_conn, w->prefix, &change->snapshot, &e);

	if (rc) {
		if (!atomic_load(&w->stopping))
			log_warn("etcd: cannot read everything anew: %s", e.text);
		etcd_change_free(change);
		return;
	}
	log_info("etcd: its history was compacted beyond what is known here: read everything anew");
	change->revision = change->snapshot.revision;
	pthread_mutex_lock(&w->lock);
	w->covered = change->snapshot.covered;
	pthread_mutex_unlock(&w->lock);
	enqueue(w, change);
}

static void pause_ms(struct etcd_watch *w, unsigned int ms)
{
	uint64_t until = monotonic_ns() + ms * NS_PER_MS;

	pthread_mutex_lock(&w->lock);
	while (!atomic_load(&w->stopping) && !w->move && monotonic_ns() < until)
		wait_until(w, until);
	pthread_mutex_unlock(&w->lock);
}

static void *stream_main(void *arg)
{
	struct etcd_watch *w = arg;
	size_t endpoint = etcd_preferred(w->etcd);
	unsigned int retry_ms = RETRY_MS;

	while (!atomic_load(&w->stopping)) {
		struct stream st = {.w = w};
		bool moved;

		run_stream(w, endpoint, &st);
		if (st.compacted)
			read_anew(w);
		if (st.denied && etcd_authenticate(w->stream_conn, endpoint, NULL))
			log_warn("etcd does not let this console watch: check its user's rights");
		if (st.begun)
			retry_ms = RETRY_MS;
		pthread_mutex_lock(&w->lock);
		moved = w->move;
		if (moved)
			endpoint = w->move_to;
		pthread_mutex_unlock(&w->lock);
		if (moved)
			continue;
		endpoint = (endpoint + 1) % etcd_endpoint_count(w->etcd);
		pause_ms(w, retry_ms);
		retry_ms = retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : retry_ms * 2;
	}
	return NULL;
}

/* With the lock held. */
static void move_stream(struct etcd_watch *w, size_t endpoint)
{
	w->move = true;
	w->move_to = endpoint;
	pthread_cond_broadcast(&w->cond);
	curl_multi_wakeup(w->multi);
}

void etcd_watch_move(struct etcd_watch *w, size_t endpoint)
{
	pthread_mutex_lock(&w->lock);
	move_stream(w, endpoint);
	pthread_mutex_unlock(&w->lock);
}

/* -- the probe -- */

/* With the lock held: what the answer to a question that was asked at asked_ns says. */
static void judge(struct etcd_watch *w, uint64_t head, uint64_t covered, uint64_t asked_ns)
{
	uint64_t now_ns = monotonic_ns();

	w->head = head;
	w->head_ns = asked_ns;
	if (w->received >= head) {
		w->behind_ns = 0;
		if (covered > w->covered)
			w->covered = covered;
	} else if (!w->behind_ns) {
		w->behind_ns = now_ns;
	} else if (now_ns - w->behind_ns > STALE_STREAM_NS) {
		log_info("etcd: the watch stands still: it goes on at %s",
			etcd_endpoint(w->etcd, etcd_preferred(w->etcd)));
		w->behind_ns = now_ns;
		move_stream(w, etcd_preferred(w->etcd));
	}
}

static void set_healthy(struct etcd_watch *w, bool healthy, const char *why)
{
	if (w->healthy != healthy && !atomic_load(&w->stopping)) {
		if (healthy)
			log_info("etcd is reachable again");
		else
			log_error("etcd cannot be reached: changes are refused meanwhile: %s", why);
	}
	w->healthy = healthy;
}

static void *probe_main(void *arg)
{
	struct etcd_watch *w = arg;

	while (!atomic_load(&w->stopping)) {
		uint64_t asked_ns = monotonic_ns(), head, covered;
		struct err e = {0};
		int rc = store_etcd_head(w->probe_conn, w->prefix, &head, &covered, &e);
		bool behind;

		pthread_mutex_lock(&w->lock);
		w->failures = rc ? w->failures + 1 : 0;
		/* Once may be a moment of load; and a transaction may know better meanwhile. */
		if (w->failures != 1)
			set_healthy(w, rc == 0, e.text);
		if (!rc)
			judge(w, head, covered, asked_ns);
		behind = w->behind_ns != 0;
		pthread_mutex_unlock(&w->lock);
		asked_ns += (rc || behind ? PROBE_FAILED_MS : PROBE_MS) * NS_PER_MS;
		pthread_mutex_lock(&w->lock);
		/* Sooner when a transaction has found the cluster gone meanwhile. */
		while (!atomic_load(&w->stopping) && (w->healthy || rc) &&
			monotonic_ns() < asked_ns)
			wait_until(w, asked_ns);
		pthread_mutex_unlock(&w->lock);
	}
	return NULL;
}

bool etcd_watch_healthy(struct etcd_watch *w)
{
	bool healthy;

	pthread_mutex_lock(&w->lock);
	healthy = w->healthy;
	pthread_mutex_unlock(&w->lock);
	return healthy;
}

void etcd_watch_failed(struct etcd_watch *w)
{
	pthread_mutex_lock(&w->lock);
	set_healthy(w, false, "a transaction had no answer");
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

uint64_t etcd_watch_age_ns(struct etcd_watch *w, uint64_t applied)
{
	uint64_t age_ns;

	pthread_mutex_lock(&w->lock);
	if (applied >= w->head && w->head_ns > w->fresh_ns)
		w->fresh_ns = w->head_ns;
	age_ns = monotonic_ns() - w->fresh_ns;
	pthread_mutex_unlock(&w->lock);
	return age_ns;
}

/* -- start and stop -- */

static void init_lock(struct etcd_watch *w)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->cond, &attr);
	pthread_condattr_destroy(&attr);
}

static void release(struct etcd_watch *w)
{
	for (struct etcd_change *change = w->first; change;) {
		struct etcd_change *next = change->next;

		etcd_change_free(change);
		change = next;
	}
	etcd_conn_free(w->probe_conn);
	etcd_conn_free(w->stream_conn);
	curl_multi_cleanup(w->multi);
	close(w->event_fd);
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->lock);
	free(w->prefix);
	free(w);
}

static void stop(struct etcd_watch *w)
{
	pthread_mutex_lock(&w->lock);
	atomic_store(&w->stopping, true);
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
	etcd_conn_abort(w->probe_conn);
	etcd_conn_abort(w->stream_conn);
	curl_multi_wakeup(w->multi);
}

int etcd_watch_new(struct etcd *etcd, const char *prefix, const struct etcd_snapshot *from,
	struct etcd_watch **ret_watch, struct err *e)
{
	struct etcd_watch *w = xcalloc(1, sizeof(*w));
	int rc;

	init_lock(w);
	w->etcd = etcd;
	w->prefix = xstrdup(prefix);
	w->end = &w->first;
	w->received = w->head = from->revision;
	w->covered = from->covered;
	w->fresh_ns = w->head_ns = monotonic_ns();
	w->healthy = true;
	w->probe_conn = etcd_conn_new(etcd);
	w->stream_conn = etcd_conn_new(etcd);
	w->multi = curl_multi_init();
	w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!w->multi)
		abort();
	if (w->event_fd < 0) {
		rc = err_set(e, -errno, "cannot make an eventfd: %s", strerror(errno));
		goto err_release;
	}
	rc = pthread_create(&w->probe_thread, NULL, probe_main, w);
	if (rc) {
		rc = err_set(e, -rc, "cannot make a thread: %s", strerror(rc));
		goto err_release;
	}
	rc = pthread_create(&w->stream_thread, NULL, stream_main, w);
	if (rc) {
		rc = err_set(e, -rc, "cannot make a thread: %s", strerror(rc));
		goto err_probe;
	}
	*ret_watch = w;
	return 0;

err_probe:
	stop(w);
	pthread_join(w->probe_thread, NULL);
err_release:
	release(w);
	return rc;
}

void etcd_watch_free(struct etcd_watch *w)
{
	if (!w)
		return;
	stop(w);
	pthread_join(w->stream_thread, NULL);
	pthread_join(w->probe_thread, NULL);
	release(w);
}

int etcd_watch_fd(const struct etcd_watch *w)
{
	return w->event_fd;
}
