/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/events.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/utf8.h"

#define PRUNE_STEP 50

static const char *const severities[] = {
	[EVENT_INFO] = "info",
	[EVENT_WARNING] = "warning",
	[EVENT_ERROR] = "error",
};

void registry_event(struct store_txn *txn, const char *org, enum event_severity severity,
	const char *kind, const char *object, const char *fmt, ...)
{
	CLEANUP(json) struct json_object *row = json_object_new_object();
	char text[256], now[21];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	utf8_make_line(text, strlen(text));
	registry_now_text(now);
	json_set_string(row, "time", now);
	json_set_string(row, "severity", severities[severity]);
	json_set_string(row, "kind", kind);
	json_set_string(row, "object", object);
	json_set_string(row, "text", text);
	registry_put(txn,
		KEY("/events/%s/%016llx-%08x", org, (unsigned long long)clock_wall_ns(),
			randombytes_random()),
		row);
}

struct json_object *events_view(const char *key, struct json_object *row)
{
	static const char *const members[] = {"time", "severity", "kind", "object", "text"};
	struct json_object *view = json_object_new_object();

	json_set_string(view, "id", registry_key_tail(key));
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		json_object_object_add(
			view, members[i], json_object_get(json_object_object_get(row, members[i])));
	return view;
}

static int view_row(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	CLEANUP(json) struct json_object *row = NULL;

	(void)r;
	(void)ctx;
	if (json_parse(item->value, strlen(item->value), &row, NULL))
		return problem_from_store(p, -VAN_E_CORRUPT);
	*ret_view = events_view(item->key, row);
	return 0;
}

int events_list(struct registry *r, const char *org, const struct page *page,
	struct json_object **ret_list, struct problem *p)
{
	return page_list(r, KEY("/events/%s/", org), page, view_row, NULL, ret_list, p);
}

/* Removes the oldest rows of one organization, whose prefix is given. */
static void prune_org(struct registry *r, const char *prefix, uint64_t before_ns)
{
	CLEANUP(store_items) struct store_items rows = {0};
	CLEANUP(store_txn) struct store_txn txn;
	uint64_t count = 0;

	store_txn_init(&txn);
	if (store_range(r->store, prefix, NULL, PRUNE_STEP, &rows) || !rows.more)
		count = rows.count;
	else
		store_count(r->store, prefix, &count);
	for (size_t i = 0; i < rows.count; i++, count--) {
		if (strtoull(registry_key_tail(rows.items[i].key), NULL, 16) >= before_ns &&
			count <= EVENTS_MAX)
			break;
		store_txn_delete(&txn, rows.items[i].key);
	}
	if (txn.op_count)
		store_commit(r->store, &txn, NULL); /* fails: the next turn tries again */
}

/* One organization a turn, in the order of their ids; also those that are gone. */
void events_prune(struct registry *r, uint64_t wall_ns)
{
	CLEANUP(store_items) struct store_items next = {0};
	uint64_t keep_ns = (uint64_t)r->event_days * 86400 * NS_PER_S;
	const char *org;

	if (store_range(
		    r->store, "/events/", r->events_pruned[0] ? r->events_pruned : NULL, 1, &next))
		return;
	if (!next.count) {
		r->events_pruned[0] = '\0'; /* and from the start again */
		return;
	}
	org = next.items[0].key + strlen("/events/");
	/* '~' comes after all that a key of an event has in this place. */
	snprintf(r->events_pruned, sizeof(r->events_pruned), "/events/%.*s/~",
		(int)strcspn(org, "/"), org);
	prune_org(r, KEY("/events/%.*s/", (int)strcspn(org, "/"), org),
		keep_ns && wall_ns > keep_ns ? wall_ns - keep_ns : 0);
}
