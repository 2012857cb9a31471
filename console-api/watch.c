/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watcher holds no queue: it has a place in the store's feed, and when its connection can take
 * more, the next transactions are made into text. So memory per watcher is bounded by one round,
 * and one that is too slow finds its place gone from the feed. The text of an event is the same for
 * all who may see it; a small table keeps the latest ones, for a thousand watchers ask for the same
 * in a row.
 *
 * A place to watch is cheap to come back to (Last-Event-ID), so nobody is refused one because of
 * others: when all are taken, the oldest of the organization that has the most gives way. A key by
 * itself has a part of them only.
 *
 * The right to watch is looked at again whenever a key, user or organization has changed.
 */
#include "console-api/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/apikey.h"
#include "console-api/conn.h"
#include "console-api/share.h"
#include "console-api/watch_kinds.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

#define TEXTS          1024 /* kept */
#define ROUND          64   /* changes looked at before an answer is cut */
#define ROUNDS         16   /* without anything to tell, until the lock is let go */
#define ID_TEXT        40
#define WATCH_KEY_PART 1 / 2 /* of all places, that one key may have */
#define HEARTBEAT      (WATCH_HEARTBEAT_S * NS_PER_S)

/* One change, as text, and who may see it. */
struct told {
	uint64_t revision; /* 0: unused */
	char *key;         /* heap; of the store */
	char *text;        /* heap; NULL: nobody is told */
	const struct watch_kind *kind;
	enum role role; /* the least one that sees it */
	char org[NETMAP_ID_MAX + 1];
};

struct watch {
	struct told told[TEXTS];
	uint64_t access_mark; /* rises when somebody's rights may have changed */
	struct share by_org, by_key;
};

struct watcher {
	struct watch *watch;
	struct share_holder of_org, of_key;
	struct conn *conn; /* NULL in tests */
	struct registry *r;
	char key_hash[2 * HASH_LEN + 1];
	char org[NETMAP_ID_MAX + 1];
	enum role role;
	uint64_t expires_s; /* 0: never */
	uint64_t access_mark;
	uint32_t kinds; /* bits by place in the table */
	uint64_t after;
	uint64_t told_ns; /* when something was sent last */
	uint64_t pending; /* revision whose last event lacks its id; 0: none */
	char *text;       /* heap; what is to be sent */
	size_t len, sent, size;
	bool ended;
};

/* -- what all share -- */

struct watch *watch_new(size_t max)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	share_init(&w->by_org, max);
	share_init(&w->by_key, max * WATCH_KEY_PART);
	return w;
}

static void told_done(struct told *t)
{
	free(t->key);
	free(t->text);
	*t = (struct told){0};
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < TEXTS; i++)
		told_done(&w->told[i]);
	free(w);
}

static bool is_about_access(const char *key)
{
	return !strncmp(key, "/apikeys/", 9) || !strncmp(key, "/users/", 7) ||
	       !strncmp(key, "/orgs/", 6);
}

void watch_on_change(void *ctx, uint64_t revision, const struct store_op *ops, size_t n)
{
	struct watch *w = ctx;
	bool touched = n == 0;

	(void)revision;
	for (size_t i = 0; i < n && !touched; i++)
		touched = is_about_access(ops[i].key);
	w->access_mark += touched;
}

static const char *type_of(struct registry *r, const struct store_event *event)
{
	CLEANUP(store_item) struct store_item item = {0};

	if (event->kind == STORE_DELETE)
		return "deleted";
	return !store_get(r->store, event->key, &item) && item.create_revision == event->revision
		       ? "created"
		       : "updated";
}

/* Makes the text of an event, or leaves it NULL. */
static void tell(struct registry *r, const struct store_event *event, struct told *t)
{
	CLEANUP(json) struct json_object *o = NULL;
	CLEANUP(json) struct json_object *record = NULL;
	struct json_object *object = NULL;
	struct watch_item item = {0};
	struct problem p = {0};

	t->kind = watch_kind_of(event->key);
	if (!t->kind || !event->value ||
		json_parse(event->value, strlen(event->value), &record, NULL) ||
		!watch_item_of(r, t->kind, event->key, record, &item))
		return;
	t->role = t->kind->role;
	if (t->kind->role_of && t->kind->role_of(record) > t->role)
		t->role = t->kind->role_of(record);
	memcpy(t->org, item.org, sizeof(t->org));
	if (event->kind == STORE_PUT && t->kind->view(r, &item, &object, &p))
		object = NULL; /* gone meanwhile; that is told in its turn */
	o = json_object_new_object();
	json_set_string(o, "type", type_of(r, event));
	json_set_string(o, "kind", t->kind->name);
	json_set_string(o, "id", item.id);
	json_set_string(o, "network", item.network[0] ? item.network : NULL);
	json_object_object_add(o, "object", object);
	t->text = xstrdup(json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static const struct told *told_of(
	struct watch *w, struct registry *r, const struct store_event *event)
{
	uint64_t hash = event->revision * 0x9e3779b97f4a7c15ull;
	struct told *t;

	for (const char *c = event->key; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 1099511628211ull;
	t = &w->told[(hash >> 32) % TEXTS];
	if (t->revision == event->revision && !strcmp(t->key, event->key))
		return t;
	told_done(t);
	t->revision = event->revision;
	t->key = xstrdup(event->key);
	tell(r, event, t);
	return t;
}

/* -- a watcher -- */

__attribute__((format(printf, 2, 3))) static void append(struct watcher *w, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (w->len + (size_t)n + 1 > w->size) {
		w->size = 2 * (w->len + (size_t)n + 1);
		w->text = xrealloc(w->text, w->size, 1);
	}
	va_start(ap, fmt);
	w->len += (size_t)vsnprintf(w->text + w->len, w->size - w->len, fmt, ap);
	va_end(ap);
}

static void append_id(struct watcher *w, uint64_t revision)
{
	append(w, "id: %016llx-%llu\n", (unsigned long long)w->r->store->generation,
		(unsigned long long)revision);
}

/* An event ends with an empty line; the last one of a revision has its id before that. */
static void close_event(struct watcher *w, uint64_t next_revision)
{
	if (!w->pending)
		return;
	if (w->pending != next_revision)
		append_id(w, w->pending);
	append(w, "\n");
	w->pending = 0;
}

static bool may_see(const struct watcher *w, const struct told *t)
{
	if (!t->text || !(w->kinds & watch_kind_bit(t->kind)) || w->role < t->role)
		return false;
	return !strcmp(t->org, w->org) || (t->kind->console_sees_all && w->role == ROLE_CONSOLE);
}

static void take(void *ctx, const struct store_event *event)
{
	struct watcher *w = ctx;
	const struct told *t = told_of(w->watch, w->r, event);

	if (!may_see(w, t))
		return;
	close_event(w, event->revision);
	append(w, "data: %s\n", t->text);
	w->pending = event->revision;
}

/* Appends what has come; false when its place in the feed is gone. */
static bool follow(struct watcher *w)
{
	for (unsigned int i = 0; i < ROUNDS && !w->len; i++) {
		uint64_t before = w->after;

		if (store_feed_since(w->r->store, w->after, ROUND, take, w, &w->after))
			return false;
		close_event(w, 0);
		if (w->after == before)
			return true;
	}
	if (!w->len) { /* much has come that is not for this one: let others work */
		append(w, ":\n");
		append_id(w, w->after);
		append(w, "\n");
	}
	return true;
}

/* Whether it may still watch. */
static bool is_allowed(struct watcher *w)
{
	uint64_t now_s = clock_wall_ns() / NS_PER_S;
	struct problem p = {0};
	struct apikey key;

	if (w->access_mark == w->watch->access_mark && (!w->expires_s || now_s < w->expires_s))
		return true;
	if (apikey_check(w->r, w->key_hash, now_s, &key, &p) || key.role < ROLE_VIEWER ||
		(key.role != ROLE_CONSOLE && strcmp(key.org, w->org) != 0))
		return false;
	w->access_mark = w->watch->access_mark;
	w->role = key.role;
	w->expires_s = key.expires_s;
	return true;
}

static void refill(struct watcher *w, uint64_t now_ns)
{
	w->len = w->sent = 0;
	if (!is_allowed(w)) {
		w->ended = true;
	} else if (!follow(w)) {
		close_event(w, 0);
		append(w, "event: gone\ndata: {}\n\n");
		w->ended = true;
	} else if (!w->len && now_ns - w->told_ns >= HEARTBEAT) {
		append(w, ":\n");
		append_id(w, w->after);
		append(w, "\n");
	}
}

static ssize_t watch_read(struct request *q, void *ctx, char *text, size_t max, uint64_t now_ns,
	uint64_t *ret_deadline_ns)
{
	struct watcher *w = ctx;
	size_t n;

	(void)q;
	if (w->sent == w->len && !w->ended)
		refill(w, now_ns);
	n = w->len - w->sent < max ? w->len - w->sent : max;
	if (!n) {
		/* By whole seconds, so that those of many watchers come together. */
		*ret_deadline_ns = ((w->told_ns + HEARTBEAT) / NS_PER_S + 1) * NS_PER_S;
		return w->ended ? -1 : 0;
	}
	memcpy(text, w->text + w->sent, n);
	w->sent += n;
	w->told_ns = now_ns;
	return (ssize_t)n;
}

static void leave(struct watcher *w)
{
	share_leave(&w->watch->by_org, &w->of_org);
	share_leave(&w->watch->by_key, &w->of_key);
}

/* Takes its place; others give way. */
static void enter(struct watcher *w)
{
	struct share_holder *over;

	share_holder_init(&w->of_org);
	share_holder_init(&w->of_key);
	share_take(&w->watch->by_org, &w->of_org, w->org, strlen(w->org), 1);
	share_take(&w->watch->by_key, &w->of_key, w->key_hash, strlen(w->key_hash), 1);
	while ((over = share_over(&w->watch->by_org, 0))) {
		struct watcher *other = container_of(over, struct watcher, of_org);

		other->ended = true;
		leave(other);
		if (other->conn)
			conn_doom(other->conn);
	}
}

static void watcher_free(struct request *q, void *ctx)
{
	struct watcher *w = ctx;

	(void)q;
	leave(w);
	free(w->text);
	free(w);
}

/* -- begin -- */

/* GENERATION-REVISION, of this store, and not forgotten. */
static int read_since(struct registry *r, const char *since, uint64_t *ret_after, struct problem *p)
{
	char *end = NULL, *digits = NULL;
	unsigned long long generation = strtoull(since, &digits, 16), revision = 0;

	if (digits == since + 16 && *digits == '-' && digits[1] >= '0' && digits[1] <= '9')
		revision = strtoull(digits + 1, &end, 10);
	if (!end || *end || strspn(since, "0123456789abcdef") != 16)
		return problem_set(
			p, 400, "invalid", "since and Last-Event-ID must be the id of an event");
	if (generation != r->store->generation || revision < store_feed_oldest(r->store))
		return problem_set(p, 410, "watch_gone",
			"the console does not remember that far back: list again, then watch from "
			"now on");
	*ret_after = revision;
	return 0;
}

static const struct stream watch_stream = {
	.content_type = "text/event-stream",
	.read = watch_read,
	.free = watcher_free,
};

int watch_begin(struct watch *w, struct registry *r, struct request *q, const char *since,
	const char *kinds)
{
	struct watcher start = {.watch = w, .r = r, .role = q->actor.role};
	struct watcher *watcher;
	int rc = watch_kinds_parse(kinds, &start.kinds, &q->problem);

	if (!rc && since)
		rc = read_since(r, since, &start.after, &q->problem);
	else if (!rc && store_revision(r->store, &start.after))
		rc = problem_from_store(&q->problem, -EIO);
	if (rc)
		return rc;
	if (share_of(&w->by_key, q->key_hash, strlen(q->key_hash)) >= w->by_key.max) {
		rc = problem_set(
			&q->problem, 503, "busy", "too many are watching with this key already");
		q->problem.retry_after_s = 10;
		return rc;
	}
	watcher = xcalloc(1, sizeof(*watcher));
	*watcher = start;
	memcpy(watcher->key_hash, q->key_hash, sizeof(watcher->key_hash));
	memcpy(watcher->org, q->actor.org, sizeof(watcher->org));
	/* Not what the key was known as at the head: it is looked at again before the first event. */
	watcher->access_mark = w->access_mark - 1;
	/* So that the client knows where it begins. */
	append(watcher, "retry: 2000\n");
	append_id(watcher, watcher->after);
	append(watcher, "\n");
	watcher->conn = q->conn;
	enter(watcher);
	return request_reply_stream(q, &watch_stream, watcher);
}
