/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of the keys: the cursor is the last component of the last key that was looked at. Where
 * the keys are in the order of a member, that order and its reverse are this one too.
 *
 * Any other order: items are sorted by (value of the member, key), so the order is total and a
 * cursor is such a pair, as base64 of a JSON array. Of everything under the prefix only the best
 * limit + 1 after the cursor are kept while the keys go by. Where a list can tell what an item is
 * sorted by without making its whole object, only those of the page are made.
 */
#include "console-api/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/alloc.h"
#include "console-api/registry.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/key.h"

#define BATCH 256

static bool is_not_to_be_listed(int rc)
{
	return rc == -ENOENT || rc == -VAN_E_NOT_FOUND;
}

/* -- filters -- */

static bool is_value(struct json_object *o, const char *value)
{
	if (!o)
		return !strcmp(value, "null");
	if (json_object_is_type(o, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(o); i++)
			if (is_value(json_object_array_get_idx(o, i), value))
				return true;
		return false;
	}
	return !json_object_is_type(o, json_type_object) &&
	       !strcmp(json_object_get_string(o), value);
}

static bool has_labels(struct json_object *view, const char *label)
{
	struct json_object *labels = json_object_object_get(view, "labels");

	while (*label) {
		size_t len = strcspn(label, ",");
		size_t key_len = strcspn(label, "=,");
		CLEANUP(free) char *key = xasprintf("%.*s", (int)key_len, label);
		CLEANUP(free)
		char *value = key_len < len ? xasprintf("%.*s", (int)(len - key_len - 1),
						      label + key_len + 1)
					    : xstrdup("");
		struct json_object *have = json_object_object_get(labels, key);

		if (!have || strcmp(json_object_get_string(have), value) != 0)
			return false;
		label += len + (label[len] == ',');
	}
	return true;
}

static bool passes(const struct page *page, struct json_object *view)
{
	for (size_t i = 0; i < page->filter_count; i++)
		if (!is_value(json_object_object_get(view, page->filters[i].member),
			    page->filters[i].value))
			return false;
	return !page->label || has_labels(view, page->label);
}

static struct json_object *result(struct json_object *items, const char *next)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "items", items);
	json_set_string(o, "next", next);
	return o;
}

static int bad_cursor(struct problem *p)
{
	return problem_set(
		p, 400, "invalid", "cursor must be what \"next\" of the page before said");
}

/* -- the order of the keys -- */

static int compare_tails(const void *a, const void *b)
{
	const struct store_item *left = a, *right = b;

	return strcmp(registry_key_tail(left->key), registry_key_tail(right->key));
}

/* Of both prefixes, in the order of their last components. */
static int merge(struct registry *r, const char *also, const char *after, size_t want,
	struct store_items *items)
{
	struct registry_key from = registry_key("%s%s", also, after ? after : "");
	CLEANUP(store_items) struct store_items more = {0};
	int rc = store_range(r->store, also, after ? from.text : NULL, want, &more);

	if (rc)
		return rc;
	items->items = xrealloc(items->items, items->count + more.count + 1, sizeof(*items->items));
	for (size_t i = 0; i < more.count; i++)
		items->items[items->count++] = more.items[i];
	more.count = 0; /* they are in the other list now */
	qsort(items->items, items->count, sizeof(*items->items), compare_tails);
	items->more |= more.more || items->count > want;
	for (; items->count > want; items->count--)
		store_item_done(&items->items[items->count - 1]);
	return 0;
}

/* The next of them after (or before) the one with this last component. */
static int next_items(struct registry *r, const char *prefix, const struct page *page,
	const char *after, size_t want, struct store_items *ret_items)
{
	struct registry_key from = registry_key("%s%s", prefix, after ? after : "");
	int rc;

	if (page->descending)
		return store_range_back(
			r->store, prefix, after ? from.text : NULL, want, ret_items);
	rc = store_range(r->store, prefix, after ? from.text : NULL, want, ret_items);
	return rc || !page->also ? rc : merge(r, page->also, after, want, ret_items);
}

static int list_by_key(struct registry *r, const char *prefix, const struct page *page,
	page_view *view, void *ctx, struct json_object **ret_list, struct problem *p)
{
	CLEANUP(json) struct json_object *array = json_object_new_array();
	char after[NETMAP_NAME_MAX + 1] = "";
	size_t scanned = 0;
	bool more = true;

	if (page->after && (strlen(page->after) > NETMAP_NAME_MAX || strchr(page->after, '/')))
		return bad_cursor(p);
	if (page->after)
		snprintf(after, sizeof(after), "%s", page->after);
	while (more && json_object_array_length(array) < page->limit && scanned < PAGE_SCAN_MAX) {
		CLEANUP(store_items) struct store_items items = {0};
		size_t room = page->limit - json_object_array_length(array);
		size_t want = page->filter_count || page->label ? BATCH : room;
		int rc = next_items(r, prefix, page, after[0] ? after : NULL, want, &items);

		if (rc)
			return problem_from_store(p, rc);
		more = items.more;
		scanned += items.count;
		for (size_t i = 0; i < items.count; i++) {
			CLEANUP(json) struct json_object *o = NULL;

			if (json_object_array_length(array) == page->limit) {
				more = true;
				break;
			}
			snprintf(after, sizeof(after), "%s", registry_key_tail(items.items[i].key));
			rc = view(r, ctx, &items.items[i], &o, p);
			if (rc && !is_not_to_be_listed(rc))
				return rc;
			if (!rc && passes(page, o))
				json_object_array_add(array, STEAL(o));
		}
	}
	*p = (struct problem){0}; /* of items that were not to be listed */
	*ret_list = result(STEAL(array), more ? after : NULL);
	return 0;
}

/* -- any other order -- */

struct place {
	struct json_object *value; /* of the member that is sorted by; owned */
	char tail[NETMAP_NAME_MAX + 1];
	struct json_object *view; /* owned */
};

struct places {
	struct place *best; /* in their order */
	size_t count, max;
	bool dropped; /* there were more than max */
};

static void place_done(struct place *place)
{
	json_object_put(place->value);
	json_object_put(place->view);
}

static void cleanup_places(struct places *places)
{
	for (size_t i = 0; i < places->count; i++)
		place_done(&places->best[i]);
	free(places->best);
}

static bool is_number(struct json_object *o)
{
	return json_object_is_type(o, json_type_int) || json_object_is_type(o, json_type_boolean);
}

static int compare_values(struct json_object *a, struct json_object *b)
{
	if (!a || !b)
		return !!a - !!b; /* null comes first */
	if (is_number(a) && is_number(b)) {
		int64_t left = json_object_get_int64(a), right = json_object_get_int64(b);

		return (left > right) - (left < right);
	}
	return strcmp(json_object_get_string(a), json_object_get_string(b));
}

static int compare(const struct place *a, const struct place *b, bool descending)
{
	int order = compare_values(a->value, b->value);

	if (!order)
		order = strcmp(a->tail, b->tail);
	return descending ? -order : order;
}

static bool read_cursor(const char *cursor, struct place *ret_place)
{
	CLEANUP(json) struct json_object *o = NULL;
	char text[PAGE_CURSOR_MAX];
	const char *tail;
	size_t len;

	if (key_unbase64(cursor, true, text, sizeof(text), &len) ||
		json_parse(text, len, &o, NULL) || !json_object_is_type(o, json_type_array) ||
		json_object_array_length(o) != 2)
		return false;
	tail = json_object_get_string(json_object_array_get_idx(o, 1));
	if (!tail || strlen(tail) > NETMAP_NAME_MAX)
		return false;
	ret_place->value = json_object_get(json_object_array_get_idx(o, 0));
	snprintf(ret_place->tail, sizeof(ret_place->tail), "%s", tail);
	return true;
}

/* Heap. */
static char *write_cursor(const struct place *place)
{
	CLEANUP(json) struct json_object *o = json_object_new_array();
	const char *text;
	char *cursor;

	json_object_array_add(o, json_object_get(place->value));
	json_object_array_add(o, json_object_new_string(place->tail));
	text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	cursor = xcalloc(1, key_base64_len(strlen(text)));
	key_base64(text, strlen(text), true, cursor);
	return cursor;
}

/* Takes what is in the place, keeps or frees it. */
static void add_place(struct places *places, struct place *place, bool descending)
{
	size_t low = 0, high = places->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (compare(&places->best[middle], place, descending) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (places->count == places->max) {
		places->dropped = true;
		if (low == places->max) {
			place_done(place);
			return;
		}
		place_done(&places->best[--places->count]);
	}
	memmove(&places->best[low + 1], &places->best[low],
		(places->count - low) * sizeof(places->best[0]));
	places->best[low] = *place;
	places->count++;
}

/* What an item is sorted by, owned by the caller: addresses and ranges by number, not as text. */
static struct json_object *sort_value(struct json_object *o, const char *member)
{
	struct json_object *value = json_object_object_get(o, member);
	const char *text = json_object_get_string(value);
	char first[IP_TEXT_LEN], key[ALLOC_ADDRESS_KEY_LEN];
	size_t len = text ? strcspn(text, "-/") : 0;
	struct ip ip;

	if (strcmp(member, "address") != 0 || !len || len >= sizeof(first))
		return json_object_get(value);
	snprintf(first, sizeof(first), "%.*s", (int)len, text);
	if (!ip_parse(first, &ip))
		return json_object_get(value);
	alloc_address_key(&ip, key);
	return json_object_new_string(key);
}

static bool at_a_glance(const struct page *page)
{
	return page->glance && !page->filter_count && !page->label;
}

/* Finds out where the item belongs. */
static int place_item(struct registry *r, const struct page *page, page_view *view, void *ctx,
	const struct store_item *item, struct place *place, struct problem *p)
{
	CLEANUP(json) struct json_object *o = NULL;
	int rc;

	snprintf(place->tail, sizeof(place->tail), "%s", registry_key_tail(item->key));
	if (at_a_glance(page))
		return page->glance(r, ctx, item, page->sort, &place->value, p);
	rc = view(r, ctx, item, &o, p);
	if (rc)
		return rc;
	if (!passes(page, o))
		return -ENOENT;
	place->value = sort_value(o, page->sort);
	place->view = STEAL(o);
	return 0;
}

static int collect(struct registry *r, const char *prefix, const struct page *page, page_view *view,
	void *ctx, const struct place *cursor, struct places *places, struct problem *p)
{
	size_t max = at_a_glance(page) ? PAGE_GLANCE_MAX : PAGE_SORT_MAX, scanned = 0;
	struct registry_key after = registry_key("%s", prefix);
	bool more = true;

	while (more) {
		CLEANUP(store_items) struct store_items items = {0};
		int rc = store_range(r->store, prefix, scanned ? after.text : NULL, BATCH, &items);

		if (rc)
			return problem_from_store(p, rc);
		more = items.more;
		scanned += items.count;
		if (scanned + more > max)
			return problem_set(p, 400, "invalid",
				"these are more than the %zu that the console sorts by %s%s: list "
				"them without \"sort\", and sort them there",
				max, page->sort,
				page->glance && !at_a_glance(page) ? " while it filters" : "");
		for (size_t i = 0; i < items.count; i++) {
			struct place place = {0};

			after = registry_key("%s", items.items[i].key);
			rc = place_item(r, page, view, ctx, &items.items[i], &place, p);
			if (rc && !is_not_to_be_listed(rc))
				return rc;
			if (rc)
				continue;
			if (cursor && compare(&place, cursor, page->descending) <= 0)
				place_done(&place);
			else
				add_place(places, &place, page->descending);
		}
	}
	return 0;
}

/* Of the page, what was only glanced at. */
static int view_place(struct registry *r, const char *prefix, page_view *view, void *ctx,
	struct place *place, struct problem *p)
{
	CLEANUP(store_item) struct store_item item = {0};
	int rc;

	if (place->view)
		return 0;
	rc = store_get(r->store, KEY("%s%s", prefix, place->tail), &item);
	if (rc)
		return rc == -ENOENT ? rc : problem_from_store(p, rc);
	return view(r, ctx, &item, &place->view, p);
}

static int list_sorted(struct registry *r, const char *prefix, const struct page *page,
	page_view *view, void *ctx, struct json_object **ret_list, struct problem *p)
{
	__attribute__((cleanup(cleanup_places))) struct places places = {.max = page->limit};
	CLEANUP(json) struct json_object *array = json_object_new_array();
	CLEANUP(free) char *next = NULL;
	struct place cursor = {0};
	int rc;

	if (page->after && !read_cursor(page->after, &cursor))
		return bad_cursor(p);
	places.best = xcalloc(places.max + 1, sizeof(*places.best));
	rc = collect(r, prefix, page, view, ctx, page->after ? &cursor : NULL, &places, p);
	place_done(&cursor);
	if (rc)
		return rc;
	for (size_t i = 0; i < places.count; i++) {
		rc = view_place(r, prefix, view, ctx, &places.best[i], p);
		if (rc && !is_not_to_be_listed(rc))
			return rc;
		if (!rc)
			json_object_array_add(array, STEAL(places.best[i].view));
	}
	*p = (struct problem){0}; /* of items that were not to be listed */
	if (places.dropped && places.count)
		next = write_cursor(&places.best[places.count - 1]);
	*ret_list = result(STEAL(array), next);
	return 0;
}

/* Whether the keys are in the order of that member. */
static bool is_order_of_keys(const char *prefix, const char *member)
{
	static const char *const orders[][2] = {{"/names/", "name"}, {"/events/", "time"}};

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (!strncmp(prefix, orders[i][0], strlen(orders[i][0])))
			return !strcmp(member, orders[i][1]);
	return false;
}

int page_list(struct registry *r, const char *prefix, const struct page *page, page_view *view,
	void *ctx, struct json_object **ret_list, struct problem *p)
{
	return page->sort && !is_order_of_keys(prefix, page->sort)
		       ? list_sorted(r, prefix, page, view, ctx, ret_list, p)
		       : list_by_key(r, prefix, page, view, ctx, ret_list, p);
}
