/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads are answered from a mirror in memory: what the map was after the last transaction that the
 * watch has brought and store_poll() has carried out there. So nobody waits for etcd who only
 * reads, and what is read fits together. A transaction goes to etcd, which compares; whoever
 * decided on something outdated gets -EAGAIN once the mirror has caught up, and decides anew.
 *
 * No answer does not mean that nothing happened: the request may have been lost, carried out, or
 * wait in a member that will hand it on in a minute. Therefore every transaction also compares this
 * console's own marker, which nobody else writes, and puts it with a number drawn for it:
 *   - sent again, to whatever member, it is carried out at most once, and when the compare fails
 *     because the marker has that very number, then it was carried out: success;
 *   - one that is given up is fenced: once a transaction has put the marker with another number, the
 *     old one can never be carried out any more. Then, and only then, the caller is told that
 *     nothing was changed. Where the fence cannot be put in time he is told -EIO: nobody knows. The
 *     next transaction, which compares the same marker, is the fence then.
 *
 * Nobody waits long: a call has a time-out of a second or so, a transaction three of them; after
 * one that had no answer, further ones are refused at once until the watch's probe was answered.
 */
#include "console-api/store_etcd.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "console-api/store_etcd_internal.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/list.h"
#include "lib/log.h"

#define TXN_CALLS 3u                /* time-outs that one transaction may take */
#define MOVE_NS   (150 * NS_PER_MS) /* after that the watch is told to go to another member */
/* Between rounds of tries. */
#define ROUND_PAUSE_NS (50 * (long)NS_PER_MS)

static struct store_etcd *etcd_of(struct store *s)
{
	return container_of(s, struct store_etcd, base);
}

/* The store's code for a failure of a read. */
static int read_failure(struct store_etcd *q, int rc, const struct err *e)
{
	if (log_limit_pass(&q->log_limit, clock_boottime_ns(), 10 * NS_PER_S, 1))
		log_error("store: reading failed: %s", e->text);
	return rc == -ECONNREFUSED || rc == -VAN_E_TIMEOUT ? -EBUSY
	       : rc == -VAN_E_CORRUPT                      ? rc
							   : -EIO;
}

/* -- reads -- */

/* Etcd itself is asked, unless it is known not to answer. */
static bool is_away(struct store_etcd *q)
{
	return q->watch && !etcd_watch_healthy(q->watch);
}

static int etcd_get(struct store *s, const char *key, struct store_item *ret_item)
{
	struct store_etcd *q = etcd_of(s);
	struct store_items items;
	struct err e = {0};
	CLEANUP(free) char *end = NULL;
	int rc;

	if (!store_etcd_is_cold(key))
		return store_get(q->mirror, key, ret_item);
	if (is_away(q))
		return -EBUSY;
	end = xasprintf("%s\x01", key);
	rc = store_etcd_range(q->conn, q->prefix, key, end, 1, &items, &e);
	if (rc)
		return read_failure(q, rc, &e);
	if (items.count) {
		*ret_item = items.items[0];
		items.items[0] = (struct store_item){0};
	} else {
		rc = -ENOENT;
	}
	store_items_done(&items);
	return rc;
}

static int etcd_range(struct store *s, const char *from, const char *end, size_t limit,
	struct store_items *ret_items)
{
	struct store_etcd *q = etcd_of(s);
	struct err e = {0};
	int rc;

	if (!store_etcd_touches_cold(from, end))
		return q->mirror->ops->range(q->mirror, from, end, limit, ret_items);
	if (is_away(q))
		return -EBUSY;
	rc = store_etcd_range(q->conn, q->prefix, from, end, limit, ret_items, &e);
	return rc ? read_failure(q, rc, &e) : 0;
}

/* Only of what is in the mirror: see store.h. */
static int etcd_range_back(struct store *s, const char *from, const char *end, size_t limit,
	struct store_items *ret_items)
{
	struct store_etcd *q = etcd_of(s);

	return q->mirror->ops->range_back(q->mirror, from, end, limit, ret_items);
}

static int etcd_count(struct store *s, const char *from, const char *end, uint64_t *ret_count)
{
	struct store_etcd *q = etcd_of(s);
	struct err e = {0};
	int rc;

	if (!store_etcd_touches_cold(from, end))
		return q->mirror->ops->count(q->mirror, from, end, ret_count);
	if (is_away(q))
		return -EBUSY;
	rc = store_etcd_count(q->conn, q->prefix, from, end, ret_count, &e);
	return rc ? read_failure(q, rc, &e) : 0;
}

static int etcd_revision(struct store *s, uint64_t *ret_revision)
{
	*ret_revision = etcd_of(s)->revision;
	return 0;
}

static int etcd_walk(struct store *s, store_walk_take *take, void *ctx, uint64_t *ret_revision)
{
	struct store_etcd *q = etcd_of(s);
	struct err e = {0};
	int rc = store_etcd_walk(q->conn, q->prefix, take, ctx, ret_revision, &e);

	return rc ? read_failure(q, rc, &e) : 0;
}

/* -- carrying out what others, and we, have written -- */

static void carry_out(struct store_etcd *q, struct etcd_change *change)
{
	if (change->generation && change->generation != q->base.generation) {
		log_warn("store: somebody gave it a new generation: all nodes get their whole map");
		q->base.generation = change->generation;
		store_tell_all(&q->base, q->revision);
	}
	if (change->snapshot.mirror) {
		store_close(q->mirror);
		q->mirror = change->snapshot.mirror;
		change->snapshot.mirror = NULL;
		q->revision = change->revision;
		if (change->snapshot.generation)
			q->base.generation = change->snapshot.generation;
		store_tell_all(&q->base, q->revision);
		return;
	}
	if (change->revision <= q->revision)
		return; /* it was in what was read anew */
	/* The mirror is in memory: that fails for lack of it alone. */
	q->revision = change->revision;
	if (store_sqlite_replay(q->mirror, change->ops, change->op_count, change->revision,
		    store_etcd_is_cold, &q->base))
		abort();
}

static void etcd_poll(struct store *s)
{
	struct store_etcd *q = etcd_of(s);
	struct etcd_change *change = q->watch ? etcd_watch_take(q->watch) : NULL;

	while (change) {
		struct etcd_change *next = change->next;

		carry_out(q, change);
		etcd_change_free(change);
		change = next;
	}
}

/* Until the mirror has this transaction, which that endpoint has. 0, or -EIO: it took too long. */
static int catch_up(struct store_etcd *q, uint64_t revision, size_t endpoint)
{
	uint64_t now_ns = monotonic_ns();
	uint64_t end_ns = now_ns + etcd_timeout_ms(q->etcd) * NS_PER_MS;
	uint64_t move_ns = now_ns + MOVE_NS;

	for (etcd_poll(&q->base); q->revision < revision && now_ns < end_ns;
		now_ns = monotonic_ns()) {
		etcd_watch_wait(q->watch, move_ns && move_ns < end_ns ? move_ns : end_ns);
		etcd_poll(&q->base);
		if (q->revision < revision && move_ns && monotonic_ns() >= move_ns) {
			etcd_watch_move(q->watch, endpoint);
			move_ns = 0;
		}
	}
	if (q->revision >= revision)
		return 0;
	log_warn("store: the watch is behind: what is read may be outdated for a while");
	return -EIO;
}

/* Without a watch: everything is read again. */
static int read_again(struct store_etcd *q)
{
	struct etcd_snapshot snap;
	struct err e = {0};
	int rc = store_etcd_load(q->conn, q->prefix, &snap, &e);

	if (rc)
		return read_failure(q, rc, &e);
	store_close(q->mirror);
	q->mirror = snap.mirror;
	q->revision = snap.revision;
	q->covered = snap.covered;
	store_tell_all(&q->base, q->revision);
	return 0;
}

/* -- transactions -- */

void etcd_txn_compare(
	struct printbuf *out, const char *prefix, const char *key, uint64_t mod_revision)
{
	append(out, "{");
	etcd_put_bytes(out, "key", prefix, key);
	sprintbuf(out, ",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"%llu\"}",
		(unsigned long long)mod_revision);
}

/* All keys of the range must be older; none at all are. */
static void append_range_compare(
	struct printbuf *out, const char *prefix, const struct store_range_compare *r)
{
	append(out, "{");
	etcd_put_bytes(out, "key", prefix, r->from);
	append(out, ",");
	etcd_put_bytes(out, "range_end", prefix, r->end);
	sprintbuf(out, ",\"target\":\"MOD\",\"result\":\"LESS\",\"mod_revision\":\"%llu\"},",
		(unsigned long long)r->revision + 1);
}

void etcd_txn_put(struct printbuf *out, const char *prefix, const char *key, const char *value)
{
	append(out, "{\"request_put\":{");
	etcd_put_bytes(out, "key", prefix, key);
	append(out, ",");
	etcd_put_bytes(out, "value", "", value);
	append(out, "}}");
}

/* The request without its compare of the marker, which changes from try to try; txn NULL: a fence. */
static struct printbuf *txn_text(
	const struct store_etcd *q, const struct store_txn *txn, const char *number)
{
	CLEANUP(free) char *data = xasprintf("%s" ETCD_DATA, q->prefix);
	struct printbuf *out = text_new();

	append(out, "\"success\":[");
	for (size_t i = 0; txn && i < txn->op_count; i++) {
		if (txn->ops[i].kind == STORE_PUT) {
			etcd_txn_put(out, data, txn->ops[i].key, txn->ops[i].value);
		} else {
			append(out, "{\"request_delete_range\":{");
			etcd_put_bytes(out, "key", data, txn->ops[i].key);
			append(out, "}}");
		}
		append(out, ",");
	}
	etcd_txn_put(out, q->prefix, q->marker, number);
	append(out, "],\"failure\":[{\"request_range\":{");
	etcd_put_bytes(out, "key", q->prefix, ETCD_MARKERS);
	append(out, ",");
	etcd_put_bytes(out, "range_end", q->prefix, "txn0");
	append(out, "}}],\"compare\":[");
	for (size_t i = 0; txn && i < txn->compare_count; i++) {
		etcd_txn_compare(out, data, txn->compares[i].key, txn->compares[i].mod_revision);
		append(out, ",");
	}
	for (size_t i = 0; txn && i < txn->range_count; i++)
		append_range_compare(out, data, &txn->ranges[i]);
	return out;
}

/* What etcd said to a transaction. */
struct verdict {
	bool applied;
	uint64_t revision;   /* when applied; else the highest of a marker */
	uint64_t marker_mod; /* of ours, when not applied */
	char number[NUMBER_LEN + 1];
};

static void read_markers(struct store_etcd *q, struct json_object *range, struct verdict *v)
{
	struct json_object *kvs = json_object_object_get(range, "kvs");

	for (size_t i = 0; kvs && i < json_object_array_length(kvs); i++) {
		struct json_object *kv = json_object_array_get_idx(kvs, i);
		uint64_t mod = etcd_get_number(kv, "mod_revision");
		CLEANUP(free) char *key = etcd_get_bytes(kv, "key");
		CLEANUP(free) char *value = etcd_get_bytes(kv, "value");

		if (mod > v->revision)
			v->revision = mod;
		if (!key || !value || strlen(key) < strlen(q->prefix) ||
			strcmp(key + strlen(q->prefix), q->marker) != 0)
			continue;
		v->marker_mod = mod;
		snprintf(v->number, sizeof(v->number), "%s", value);
	}
}

static struct json_object *failure_range(struct json_object *answer)
{
	struct json_object *responses = json_object_object_get(answer, "responses");

	return json_object_object_get(
		responses ? json_object_array_get_idx(responses, 0) : NULL, "response_range");
}

/* One try at one endpoint. */
static int try_txn(struct store_etcd *q, const struct printbuf *text, size_t endpoint,
	struct verdict *ret_verdict, struct err *e)
{
	CLEANUP(printbuf) struct printbuf *body = text_new();
	CLEANUP(json) struct json_object *answer = NULL;
	struct verdict v = {0};
	int rc;

	append(body, "{");
	printbuf_memappend(body, text->buf, text->bpos);
	etcd_txn_compare(body, q->prefix, q->marker, q->marker_mod);
	append(body, "]}");
	rc = etcd_call(q->conn, endpoint, "/v3/kv/txn", body->buf, &answer, e);
	if (rc)
		return rc;
	v.applied = json_object_get_boolean(json_object_object_get(answer, "succeeded"));
	if (v.applied)
		v.revision = etcd_get_number(json_object_object_get(answer, "header"), "revision");
	else
		read_markers(q, failure_range(answer), &v);
	*ret_verdict = v;
	return 0;
}

void etcd_txn_number(char ret_number[NUMBER_LEN + 1])
{
	uint8_t raw[NUMBER_LEN / 2];

	randombytes_buf(raw, sizeof(raw));
	hash_hex(raw, sizeof(raw), ret_number);
}

/* A transaction on its way. */
struct attempt {
	const struct printbuf *text;
	char number[NUMBER_LEN + 1];
	uint64_t deadline_ns;
	size_t endpoint;
	unsigned int failures;
	bool in_doubt; /* a try had no answer: it may still be carried out */
	struct err e;
};

/* After each round of the endpoints, so that errors that come at once do not make a storm. */
static void next_endpoint(struct store_etcd *q, struct attempt *a)
{
	a->endpoint = (a->endpoint + 1) % etcd_endpoint_count(q->etcd);
	if (++a->failures % etcd_endpoint_count(q->etcd) == 0)
		nanosleep(&(struct timespec){.tv_nsec = ROUND_PAUSE_NS}, NULL);
}

/* When the marker has the number of the attempt, that was carried out. */
static bool marker_says_applied(struct store_etcd *q, const struct attempt *a, struct verdict *v)
{
	if (!v->applied && v->marker_mod != q->marker_mod) {
		q->marker_mod = v->marker_mod;
		v->applied = !strcmp(v->number, a->number);
		v->revision = v->marker_mod;
		return true;
	}
	return false;
}

/* Etcd's quota is used up, and it may have noticed only after it had carried the transaction out:
 * it is over in any case, so its marker can be read. */
static int after_no_space(
	struct store_etcd *q, const struct attempt *a, struct verdict *ret_verdict)
{
	CLEANUP(printbuf) struct printbuf *body = text_new();
	CLEANUP(json) struct json_object *answer = NULL;
	struct verdict v = {0};

	append(body, "{");
	etcd_put_bytes(body, "key", q->prefix, q->marker);
	append(body, "}");
	if (a->in_doubt || etcd_call_any(q->conn, "/v3/kv/range", body->buf, &answer, NULL))
		return -VAN_E_TIMEOUT;
	read_markers(q, answer, &v);
	if (!marker_says_applied(q, a, &v) || !v.applied)
		return -ENOSPC;
	*ret_verdict = v;
	return 0;
}

/*
 * Tries until there is an answer or the time is up. 0 with *ret_verdict: applied (now or by an
 * earlier try), or a compare of the transaction did not hold.
 */
static int attempt(struct store_etcd *q, struct attempt *a, struct verdict *ret_verdict)
{
	int rc = -EBUSY;

	while (monotonic_ns() < a->deadline_ns) {
		struct verdict v = {0};

		rc = try_txn(q, a->text, a->endpoint, &v, &a->e);
		if (rc == -ECONNREFUSED || rc == -VAN_E_TIMEOUT) {
			a->in_doubt |= rc == -VAN_E_TIMEOUT;
			next_endpoint(q, a);
			continue;
		}
		if (rc == -ENOSPC) {
			rc = after_no_space(q, a, ret_verdict);
			a->in_doubt |= rc == -VAN_E_TIMEOUT;
		}
		if (rc)
			return rc;
		etcd_prefer(q->etcd, a->endpoint);
		/* Where the marker is not as we knew it, and not by an earlier try, it is of before
		 * a restart. */
		if (marker_says_applied(q, a, &v) && !v.applied)
			continue;
		if (v.applied)
			q->marker_mod = v.revision;
		*ret_verdict = v;
		return 0;
	}
	return rc;
}

/*
 * Makes sure that a transaction in doubt either was carried out (then *ret_verdict says so) or
 * never will be. Non-zero: it could not be found out.
 */
static int fence(struct store_etcd *q, const struct attempt *doubtful, struct verdict *ret_verdict)
{
	struct attempt a = {
		.deadline_ns = doubtful->deadline_ns + etcd_timeout_ms(q->etcd) * NS_PER_MS,
		.endpoint = doubtful->endpoint};
	CLEANUP(printbuf) struct printbuf *text = NULL;
	int rc = -VAN_E_TIMEOUT;

	etcd_txn_number(a.number);
	text = txn_text(q, NULL, a.number);
	while (rc && rc != -ENOSPC && monotonic_ns() < a.deadline_ns) {
		struct verdict v = {0};

		rc = try_txn(q, text, a.endpoint, &v, &a.e);
		if (rc) {
			next_endpoint(q, &a);
			continue;
		}
		/* The fence is up, or was by an earlier try of it, or the transaction was quicker. */
		if (!marker_says_applied(q, doubtful, &v)) {
			q->marker_mod = v.revision;
			v.applied = false;
		}
		*ret_verdict = v;
	}
	return rc;
}

/* The code for the caller, and a line in the log. */
static int commit_failure(struct store_etcd *q, int rc, const struct err *e)
{
	const char *sequel = rc == -EIO ? "it may have been carried out" : "nothing was changed";

	if (log_limit_pass(&q->log_limit, clock_boottime_ns(), 10 * NS_PER_S, 1))
		log_error("store: a transaction failed: %s; %s", e->text, sequel);
	return rc;
}

/* Sees a transaction through to what can be known of it. */
static int settle(struct store_etcd *q, struct attempt *a, struct verdict *v)
{
	int rc = attempt(q, a, v);
	int fence_rc = 0;

	if (a->in_doubt && (rc || !v->applied)) {
		fence_rc = fence(q, a, v);
		if (!fence_rc && v->applied)
			rc = 0;
	}
	if (q->watch && (fence_rc || (rc == -ECONNREFUSED && !a->in_doubt)))
		etcd_watch_failed(q->watch);
	if (fence_rc)
		return commit_failure(q, -EIO, &a->e);
	switch (rc) {
	case 0:
		return v->applied ? 0 : -EAGAIN;
	case -E2BIG:
		return rc;
	case -ENOSPC:
		return commit_failure(q, rc, &a->e);
	case -ECONNREFUSED:
	case -VAN_E_TIMEOUT:
	case -EBUSY:
		return commit_failure(q, -EBUSY, &a->e);
	default:
		return commit_failure(q, -EIO, &a->e);
	}
}

static int etcd_commit(struct store *s, const struct store_txn *txn, uint64_t *ret_revision)
{
	struct store_etcd *q = etcd_of(s);
	CLEANUP(printbuf) struct printbuf *text = NULL;
	struct attempt a = {.endpoint = etcd_preferred(q->etcd)};
	struct verdict v = {0};
	int rc;

	if (!q->base.txn_max || is_away(q))
		return -EBUSY; /* opened for reading alone, or not to be reached */
	etcd_txn_number(a.number);
	text = txn_text(q, txn, a.number);
	a.text = text;
	a.deadline_ns = monotonic_ns() + (uint64_t)TXN_CALLS * etcd_timeout_ms(q->etcd) * NS_PER_MS;
	rc = settle(q, &a, &v);
	if (rc && rc != -EAGAIN)
		return rc;
	if (q->watch) {
		/* What was done but cannot be read yet is as good as in doubt: whoever is told that it was
		 * done looks for it, and is told that it is not there. */
		if (catch_up(q, v.revision, a.endpoint) && !rc)
			return -EIO;
	} else if (rc) {
		return v.revision > q->revision && read_again(q) ? -EBUSY : rc;
	} else {
		q->revision = v.revision;
		q->missed = true;
		if (store_sqlite_replay(
			    q->mirror, txn->ops, txn->op_count, v.revision, store_etcd_is_cold, s))
			abort();
	}
	if (!rc)
		*ret_revision = v.revision;
	return rc;
}

/* -- the watch -- */

static int etcd_start(struct store *s, struct err *e)
{
	struct store_etcd *q = etcd_of(s);
	struct etcd_snapshot from = {.revision = q->revision, .covered = q->covered};
	int rc;

	if (q->watch)
		return 0;
	if (q->missed) {
		/* What was committed before there was a watch went past those of others. */
		rc = read_again(q);
		if (rc)
			return err_set(e, rc, "cannot read the store in etcd again");
		from.revision = q->revision;
		from.covered = q->covered;
	}
	return etcd_watch_new(q->etcd, q->prefix, &from, &q->watch, e);
}

static int etcd_poll_fd(const struct store *s)
{
	const struct store_etcd *q = container_of(s, const struct store_etcd, base);

	return q->watch ? etcd_watch_fd(q->watch) : -1;
}

static int etcd_fresh(struct store *s)
{
	struct store_etcd *q = etcd_of(s);

	if (!q->watch)
		return 0;
	return etcd_watch_age_ns(q->watch, q->revision) > STORE_STALE_MAX_MS * NS_PER_MS ? -EBUSY
											 : 0;
}

static void etcd_close(struct store *s)
{
	struct store_etcd *q = etcd_of(s);

	etcd_watch_free(q->watch);
	store_close(q->mirror);
	etcd_conn_free(q->conn);
	etcd_free(q->etcd);
	store_feed_done(&q->base.feed);
	free(q->prefix);
	free(q->marker);
	free(q);
}

const struct store_ops store_etcd_ops = {
	.name = "etcd",
	.get = etcd_get,
	.range = etcd_range,
	.range_back = etcd_range_back,
	.count = etcd_count,
	.commit = etcd_commit,
	.revision = etcd_revision,
	.walk = etcd_walk,
	.close = etcd_close,
	.start = etcd_start,
	.poll_fd = etcd_poll_fd,
	.poll = etcd_poll,
	.fresh = etcd_fresh,
};
