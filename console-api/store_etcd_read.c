/* SPDX-License-Identifier: Apache-2.0 */
/* Reading from etcd itself, page by page at one revision. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/store_etcd.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define PAGE_KEYS 512
#define ALL_FROM  "/"
#define ALL_END   "0" /* what comes after '/' */

/* In the order of their names. */
static const char *const cold[] = {"/audit-at/", "/audit/", "/idem/"};

bool store_etcd_is_cold(const char *key)
{
	for (size_t i = 0; i < sizeof(cold) / sizeof(cold[0]); i++)
		if (!strncmp(key, cold[i], strlen(cold[i])))
			return true;
	return false;
}

bool store_etcd_touches_cold(const char *from, const char *end)
{
	for (size_t i = 0; i < sizeof(cold) / sizeof(cold[0]); i++) {
		size_t last = strlen(cold[i]) - 1;
		/* The range ends before the first key that comes after all that start so. */
		bool is_after = !strncmp(from, cold[i], last) ? from[last] > cold[i][last]
							      : strcmp(from, cold[i]) > 0;

		if (!is_after && strcmp(end, cold[i]) > 0)
			return true;
	}
	return false;
}

static inline void cleanup_printbuf(struct printbuf **out)
{
	printbuf_free(*out);
}

struct range {
	const char *prefix;
	const char *from, *end;
	uint64_t at;
	size_t limit;
	bool count_only;
};

static int ask_range(
	struct etcd_conn *c, const struct range *r, struct json_object **ret_answer, struct err *e)
{
	CLEANUP(printbuf) struct printbuf *out = printbuf_new();

	if (!out)
		abort();
	printbuf_memappend(out, "{", 1);
	etcd_put_bytes(out, "key", r->prefix, r->from);
	printbuf_memappend(out, ",", 1);
	etcd_put_bytes(out, "range_end", r->prefix, r->end);
	sprintbuf(out, ",\"limit\":\"%zu\",\"revision\":\"%llu\"%s}", r->limit,
		(unsigned long long)r->at, r->count_only ? ",\"count_only\":true" : "");
	return etcd_call_any(c, "/v3/kv/range", out->buf, ret_answer, e);
}

static uint64_t header_revision(struct json_object *answer)
{
	return etcd_get_number(json_object_object_get(answer, "header"), "revision");
}

/* False when it is not as etcd would send it. */
static bool read_item(struct json_object *kv, size_t prefix_len, struct store_item *item)
{
	char *key = etcd_get_bytes(kv, "key");
	char *value = etcd_get_bytes(kv, "value");

	if (!key || !value || strlen(key) <= prefix_len) {
		free(key);
		free(value);
		return false;
	}
	*item = (struct store_item){
		.key = xstrdup(key + prefix_len),
		.value = value,
		.create_revision = etcd_get_number(kv, "create_revision"),
		.mod_revision = etcd_get_number(kv, "mod_revision"),
	};
	free(key);
	return true;
}

static int read_page(struct etcd_conn *c, const struct range *r, struct store_items *ret_items,
	uint64_t *ret_covered, struct err *e)
{
	CLEANUP(json) struct json_object *answer = NULL;
	struct store_items items = {0};
	struct json_object *kvs;
	size_t n;
	int rc = ask_range(c, r, &answer, e);

	if (rc)
		return rc;
	kvs = json_object_object_get(answer, "kvs");
	n = kvs ? json_object_array_length(kvs) : 0;
	items.items = xcalloc(n, sizeof(*items.items));
	for (size_t i = 0; i < n; i++) {
		if (!read_item(json_object_array_get_idx(kvs, i), strlen(r->prefix),
			    &items.items[items.count])) {
			store_items_done(&items);
			return err_set(e, -VAN_E_CORRUPT, "etcd sent a key that is none");
		}
		items.count++;
	}
	items.more = json_object_get_boolean(json_object_object_get(answer, "more"));
	if (ret_covered)
		*ret_covered = header_revision(answer);
	*ret_items = items;
	return 0;
}

/* A page with fewer keys when one is too large for etcd to send. */
static int read_page_that_fits(struct etcd_conn *c, struct range *r, struct store_items *ret_items,
	uint64_t *ret_covered, struct err *e)
{
	int rc = read_page(c, r, ret_items, ret_covered, e);

	while (rc == -E2BIG && r->limit > 1) {
		r->limit /= 8;
		if (!r->limit)
			r->limit = 1;
		rc = read_page(c, r, ret_items, ret_covered, e);
	}
	return rc;
}

/* Calls take for each key of the range; *at is set to the revision of the first page when it is 0.
 */
static int each_key(struct etcd_conn *c, const char *prefix, const char *from, const char *end,
	size_t page, uint64_t *at, store_walk_take *take, void *ctx, struct err *e)
{
	CLEANUP(free) char *next = xstrdup(from);
	bool more = true;

	while (more) {
		struct range r = {
			.prefix = prefix, .from = next, .end = end, .at = *at, .limit = page};
		CLEANUP(store_items) struct store_items items = {0};
		uint64_t covered;
		int rc = read_page_that_fits(c, &r, &items, &covered, e);

		if (rc)
			return rc;
		if (!*at)
			*at = covered;
		for (size_t i = 0; i < items.count; i++)
			if (!take(ctx, &items.items[i]))
				return 0;
		more = items.more && items.count;
		if (more) {
			free(next);
			next = xasprintf("%s\x01", items.items[items.count - 1].key);
		}
	}
	return 0;
}

struct collecting {
	struct store_items items;
	size_t room, limit;
};

static bool collect(void *ctx, const struct store_item *item)
{
	struct collecting *col = ctx;
	struct store_items *items = &col->items;

	if (col->limit && items->count == col->limit) {
		items->more = true;
		return false;
	}
	if (items->count == col->room) {
		col->room = col->room ? col->room * 2 : 16;
		items->items = xrealloc(items->items, col->room, sizeof(*items->items));
	}
	items->items[items->count] = *item;
	items->items[items->count].key = xstrdup(item->key);
	items->items[items->count++].value = xstrdup(item->value);
	return true;
}

int store_etcd_range(struct etcd_conn *c, const char *prefix, const char *from, const char *end,
	size_t limit, struct store_items *ret_items, struct err *e)
{
	CLEANUP(free) char *data = xasprintf("%s" ETCD_DATA, prefix);
	size_t page = limit && limit < PAGE_KEYS ? limit + 1 : PAGE_KEYS;
	struct collecting col = {.limit = limit};
	uint64_t at = 0;
	int rc = each_key(c, data, from, end, page, &at, collect, &col, e);

	if (rc) {
		store_items_done(&col.items);
		return rc;
	}
	*ret_items = col.items;
	return 0;
}

int store_etcd_count(struct etcd_conn *c, const char *prefix, const char *from, const char *end,
	uint64_t *ret_count, struct err *e)
{
	CLEANUP(free) char *data = xasprintf("%s" ETCD_DATA, prefix);
	struct range r = {.prefix = data, .from = from, .end = end, .count_only = true};
	CLEANUP(json) struct json_object *answer = NULL;
	int rc = ask_range(c, &r, &answer, e);

	if (!rc)
		*ret_count = etcd_get_number(answer, "count");
	return rc;
}

int store_etcd_head(struct etcd_conn *c, const char *prefix, uint64_t *ret_revision,
	uint64_t *ret_covered, struct err *e)
{
	struct range r = {.prefix = prefix, .from = ETCD_MARKERS, .end = "txn0"};
	CLEANUP(store_items) struct store_items items = {0};
	uint64_t revision = 0;
	int rc = read_page(c, &r, &items, ret_covered, e);

	if (rc)
		return rc;
	for (size_t i = 0; i < items.count; i++)
		if (items.items[i].mod_revision > revision)
			revision = items.items[i].mod_revision;
	*ret_revision = revision;
	return 0;
}

int store_etcd_walk(struct etcd_conn *c, const char *prefix, store_walk_take *take, void *ctx,
	uint64_t *ret_revision, struct err *e)
{
	CLEANUP(free) char *data = xasprintf("%s" ETCD_DATA, prefix);
	uint64_t revision, at;
	int rc = store_etcd_head(c, prefix, &revision, &at, e);

	if (!rc)
		rc = each_key(c, data, ALL_FROM, ALL_END, PAGE_KEYS, &at, take, ctx, e);
	if (!rc && ret_revision)
		*ret_revision = revision;
	return rc;
}

/* -- loading -- */

struct filling {
	struct store *mirror;
	int rc;
};

static bool fill(void *ctx, const struct store_item *item)
{
	struct filling *f = ctx;

	f->rc = store_sqlite_fill(f->mirror, item);
	return !f->rc;
}

/* Between the cold ranges, all as of one revision. */
static int load_hot(
	struct etcd_conn *c, const char *prefix, uint64_t at, struct filling *f, struct err *e)
{
	CLEANUP(free) char *data = xasprintf("%s" ETCD_DATA, prefix);
	CLEANUP(free) char *from = xstrdup(ALL_FROM);
	size_t n = sizeof(cold) / sizeof(cold[0]);
	int rc = 0;

	for (size_t i = 0; i <= n && !rc; i++) {
		rc = each_key(c, data, from, i < n ? cold[i] : ALL_END, PAGE_KEYS, &at, fill, f, e);
		if (!rc && f->rc)
			rc = err_set(e, f->rc, "no memory for the keys of the store");
		if (i == n)
			break;
		free(from);
		from = xstrdup(cold[i]);
		from[strlen(from) - 1]++;
	}
	return rc;
}

static int read_generation(struct etcd_conn *c, const char *prefix, uint64_t at,
	uint64_t *ret_generation, struct err *e)
{
	struct range r = {
		.prefix = prefix, .from = "generation", .end = "generation\x01", .at = at};
	CLEANUP(store_items) struct store_items items = {0};
	int rc = read_page(c, &r, &items, NULL, e);

	if (!rc)
		*ret_generation = items.count ? strtoull(items.items[0].value, NULL, 16) : 0;
	return rc;
}

int store_etcd_load(
	struct etcd_conn *c, const char *prefix, struct etcd_snapshot *ret_snapshot, struct err *e)
{
	struct etcd_snapshot snap = {0};
	struct filling f = {0};
	int rc = store_etcd_head(c, prefix, &snap.revision, &snap.covered, e);

	if (!rc)
		rc = read_generation(c, prefix, snap.covered, &snap.generation, e);
	if (!rc)
		rc = store_sqlite_open(":memory:", &snap.mirror, e);
	if (rc)
		return rc;
	f.mirror = snap.mirror;
	rc = load_hot(c, prefix, snap.covered, &f, e);
	if (rc) {
		store_close(snap.mirror);
		return rc;
	}
	*ret_snapshot = snap;
	return 0;
}
