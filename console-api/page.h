/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of the API: pages with a cursor, an order and filters, over the keys of one prefix of the
 * store. One request looks at a bounded number of keys, for it holds up all others meanwhile: in the
 * order of the keys, forwards and backwards, a page ends after PAGE_SCAN_MAX of them and has a next
 * one; in any other order everything is looked at for each page, and more than PAGE_SORT_MAX, or
 * PAGE_GLANCE_MAX where a glance is enough, are refused.
 */
#ifndef CONSOLE_API_PAGE_H
#define CONSOLE_API_PAGE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include "console-api/problem.h"
#include "console-api/store.h"

struct registry;

#define PAGE_LIMIT_DEFAULT 100
#define PAGE_LIMIT_MAX     1000
#define PAGE_FILTERS_MAX   8
#define PAGE_CURSOR_MAX    512
#define PAGE_SCAN_MAX      1000
#define PAGE_SORT_MAX      2000
#define PAGE_GLANCE_MAX    20000

/* What an item is sorted by, without the rest of its object: as page_view, but *ret_value is the
 * member's value alone (owned by the caller, NULL: null). */
typedef int page_glance(struct registry *r, void *ctx, const struct store_item *item,
	const char *member, struct json_object **ret_value, struct problem *p);

/* What a list is asked for. All borrowed. */
struct page {
	const char *after; /* the cursor, or NULL */
	size_t limit;      /* 1…PAGE_LIMIT_MAX */
	const char *sort;  /* a member of the items, NULL: the order of the keys */
	bool descending;
	struct {
		const char *member; /* of the items: equal to value, or an array that holds it */
		const char *value;
	} filters[PAGE_FILTERS_MAX];
	size_t filter_count;
	const char *label; /* "KEY=VALUE[,KEY=VALUE…]" that the item's labels must hold, or NULL */
	/* Another prefix, whose items are listed among those of the list's own by the last component
	 * of their keys; NULL: none. Only for lists without an order of their own. */
	const char *also;
	/* Of the list, for every member that it can be sorted by; NULL: none. */
	page_glance *glance;
};

/*
 * Makes the API's object of one item of the prefix. -ENOENT or -VAN_E_NOT_FOUND (whatever the
 * problem then says): it is not to be listed (gone meanwhile, or not the asker's to see).
 */
typedef int page_view(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p);

/* {"items":[…],"next":CURSOR or null}; a page may have fewer items than the limit and yet a next one.
 * 400 for a cursor that is not of such a list, and for an order that would take too much. */
int page_list(struct registry *r, const char *prefix, const struct page *page, page_view *view,
	void *ctx, struct json_object **ret_list, struct problem *p);

#endif
