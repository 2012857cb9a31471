/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/console_suite.h"

#include "console-api/page.h"

/* {"name":…,"n":…,"odd":…} for each key /things/K; ctx counts how many were rendered. */
static int view(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	(void)r;
	(*(size_t *)ctx)++;
	if (json_parse(item->value, strlen(item->value), ret_view, NULL))
		return problem_from_store(p, -VAN_E_CORRUPT);
	if (json_object_object_get(*ret_view, "hidden")) {
		json_object_put(*ret_view);
		*ret_view = NULL;
		return problem_not_found(p, "thing", "x");
	}
	return 0;
}

static void put(struct suite *s, const char *name, int n, const char *more)
{
	CLEANUP(store_txn) struct store_txn txn;
	char value[200];

	store_txn_init(&txn);
	snprintf(value, sizeof(value), "{\"name\":\"%s\",\"n\":%d,\"odd\":%s%s}", name, n,
		n % 2 ? "true" : "false", more);
	store_txn_put(&txn, KEY("/things/%s", name), value);
	assert_int_equal(store_commit(s->r->store, &txn, NULL), 0);
}

static int list_of(struct suite *s, const char *prefix, const struct page *page, char *ret_names,
	char *ret_next)
{
	struct json_object *o, *items;
	size_t rendered = 0;
	int rc;

	s->p = (struct problem){0};
	rc = page_list(s->r, prefix, page, view, &rendered, &o, &s->p);
	if (rc)
		return rc;
	assert_int_equal(s->p.status, 0);
	items = json_object_object_get(o, "items");
	ret_names[0] = '\0';
	for (size_t i = 0; i < json_object_array_length(items); i++)
		sprintf(ret_names + strlen(ret_names), "%s%s", i ? " " : "",
			record_text(json_object_array_get_idx(items, i), "name"));
	snprintf(ret_next, PAGE_CURSOR_MAX, "%s", record_text(o, "next"));
	json_object_put(o);
	return 0;
}

static int list(struct suite *s, const struct page *page, char *ret_names, char *ret_next)
{
	return list_of(s, "/things/", page, ret_names, ret_next);
}

/* All pages of this many, with a bar between. */
static void assert_pages(struct suite *s, struct page page, const char *want)
{
	char names[4000], next[PAGE_CURSOR_MAX] = "", have[8000] = "", after[PAGE_CURSOR_MAX];

	for (int i = 0; i < 1000; i++) {
		page.after = i ? after : NULL;
		SUITE_OK(s, list(s, &page, names, next));
		sprintf(have + strlen(have), "%s%s", i ? " | " : "", names);
		if (!next[0])
			break;
		memcpy(after, next, sizeof(after));
	}
	assert_string_equal(have, want);
}

static void furnish(struct suite *s)
{
	put(s, "a", 3, "");
	put(s, "b", 1, ",\"labels\":{\"env\":\"prod\",\"tier\":\"1\"}");
	put(s, "c", 2, ",\"labels\":{\"env\":\"prod\"}");
	put(s, "d", 1, ",\"hidden\":true");
	put(s, "e", 1, ",\"tags\":[\"x\",\"y\"]");
	put(s, "f", 3, ",\"none\":null");
}

static void pages(void **state)
{
	struct suite *s = *state;

	furnish(s);
	assert_pages(s, (struct page){.limit = 100}, "a b c e f");
	assert_pages(s, (struct page){.limit = 5}, "a b c e f");
	/* A page that a hidden item makes shorter is no end. */
	assert_pages(s, (struct page){.limit = 2}, "a b | c e | f");
	assert_pages(s, (struct page){.limit = 1}, "a | b | c | e | f");
}

static void orders(void **state)
{
	struct suite *s = *state;

	furnish(s);
	assert_pages(s, (struct page){.limit = 10, .sort = "name"}, "a b c e f");
	assert_pages(
		s, (struct page){.limit = 2, .sort = "name", .descending = true}, "f e | c b | a");
	assert_pages(s, (struct page){.limit = 10, .sort = "n"}, "b e c a f");
	assert_pages(s, (struct page){.limit = 1, .sort = "n"}, "b | e | c | a | f");
	assert_pages(s, (struct page){.limit = 3, .sort = "n", .descending = true}, "f a c | e b");
	assert_pages(s, (struct page){.limit = 2, .sort = "odd"}, "c a | b e | f");
	/* A member that some do not have: those first. */
	assert_pages(s, (struct page){.limit = 2, .sort = "none"}, "a b | c e | f");
}

static void filters(void **state)
{
	struct suite *s = *state;

	furnish(s);
	assert_pages(s, (struct page){.limit = 1, .filters = {{"n", "1"}}, .filter_count = 1},
		"b | e | ");
	assert_pages(s,
		(struct page){
			.limit = 5, .filters = {{"n", "3"}, {"odd", "true"}}, .filter_count = 2},
		"a f");
	assert_pages(s, (struct page){.limit = 5, .filters = {{"odd", "false"}}, .filter_count = 1},
		"c");
	assert_pages(
		s, (struct page){.limit = 5, .filters = {{"tags", "y"}}, .filter_count = 1}, "e");
	assert_pages(s,
		(struct page){.limit = 5, .filters = {{"labels", "prod"}}, .filter_count = 1}, "");
	assert_pages(s, (struct page){.limit = 5, .filters = {{"none", "null"}}, .filter_count = 1},
		"a b c e f");
	assert_pages(s, (struct page){.limit = 5, .label = "env=prod"}, "b c");
	assert_pages(s, (struct page){.limit = 5, .label = "tier=1,env=prod"}, "b");
	assert_pages(s, (struct page){.limit = 5, .label = "env=prod,tier=2"}, "");
	assert_pages(s, (struct page){.limit = 5, .label = "env"}, "");
	assert_pages(s, (struct page){.limit = 1, .label = "env=prod", .sort = "n"}, "b | c");
}

static void wrong_cursors(void **state)
{
	static const char *const by_key[] = {"a/b",
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
	static const char *const sorted[] = {
		"x", "====", "bnVsbA", "W10", "WzFd", "WzEsMixd", "WzEsMl0x", "WzEsMiwzXQ"};
	char names[100], next[PAGE_CURSOR_MAX];
	struct suite *s = *state;
	struct page page = {.limit = 5};

	furnish(s);
	for (size_t i = 0; i < sizeof(by_key) / sizeof(by_key[0]); i++) {
		page.after = by_key[i];
		SUITE_PROBLEM(s, list(s, &page, names, next), 400, "invalid");
	}
	page.sort = "name";
	for (size_t i = 0; i < sizeof(sorted) / sizeof(sorted[0]); i++) {
		page.after = sorted[i];
		if (list(s, &page, names, next) >= 0 && i != 5)
			fail_msg("the cursor %s is taken", sorted[i]);
	}
}

/* More than are read in one go, and a walk that ends although nothing passes. */
static void many(void **state)
{
	struct suite *s = *state;
	char names[40000], next[PAGE_CURSOR_MAX], name[16];
	struct page page = {.limit = 1000, .sort = "n", .descending = true};

	for (int i = 0; i < 700; i++) {
		snprintf(name, sizeof(name), "k%03d", i);
		put(s, name, i, "");
	}
	SUITE_OK(s, list(s, &page, names, next));
	assert_int_equal(strlen(names), 700 * 5 - 1);
	assert_memory_equal(names, "k699 k698 ", 10);
	page = (struct page){.limit = 3, .filters = {{"n", "650"}}, .filter_count = 1};
	SUITE_OK(s, list(s, &page, names, next));
	assert_string_equal(names, "k650");
	assert_string_equal(next, "");
}

/* n keys PREFIX0000… with their number. */
static void put_many(struct suite *s, const char *prefix, int from, int n)
{
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	for (int i = from; i < from + n; i++)
		store_txn_put(
			&txn, KEY("%s%04d", prefix, i), KEY("{\"name\":\"%04d\",\"n\":%d}", i, i));
	assert_int_equal(store_commit(s->r->store, &txn, NULL), 0);
}

/* One request looks at so many keys and no more. */
static void bounds(void **state)
{
	struct suite *s = *state;
	char names[20000], next[PAGE_CURSOR_MAX];
	struct page none = {.limit = 10, .filters = {{"n", "4000"}}, .filter_count = 1};
	struct page sorted = {.limit = 3, .sort = "n", .descending = true};
	struct page last = {.limit = 3, .sort = "name", .descending = true};
	size_t rounds = 0;

	put_many(s, "/things/", 0, PAGE_SORT_MAX);
	SUITE_OK(s, list(s, &sorted, names, next));
	assert_string_equal(names, "1999 1998 1997");
	put_many(s, "/things/", PAGE_SORT_MAX, 1);
	SUITE_PROBLEM(s, list(s, &sorted, names, next), 400, "invalid");
	/* Nothing passes: pages without an item, until the end. */
	do {
		SUITE_OK(s, list(s, &none, names, next));
		assert_string_equal(names, "");
		none.after = next;
		rounds++;
	} while (next[0]);
	assert_int_equal(rounds, 2);
	/* By name goes along the keys, whatever their number, both ways. */
	put_many(s, "/names/org_x/thing/", 0, 2500);
	SUITE_OK(s, list_of(s, "/names/org_x/thing/", &last, names, next));
	assert_string_equal(names, "2499 2498 2497");
	last.after = next;
	SUITE_OK(s, list_of(s, "/names/org_x/thing/", &last, names, next));
	assert_string_equal(names, "2496 2495 2494");
	last.after = "0002";
	SUITE_OK(s, list_of(s, "/names/org_x/thing/", &last, names, next));
	assert_string_equal(names, "0001 0000");
	assert_string_equal(next, "");
}

/* Of a thing, its number alone; what is hidden is seen when it is viewed only. */
static int glance(struct registry *r, void *ctx, const struct store_item *item, const char *member,
	struct json_object **ret_value, struct problem *p)
{
	CLEANUP(json) struct json_object *o = json_tokener_parse(item->value);

	(void)r;
	(void)ctx;
	(void)p;
	if (json_object_object_get(o, "lost"))
		return -ENOENT;
	*ret_value = json_object_get(json_object_object_get(o, member));
	return 0;
}

/* What is sorted by what a glance tells is the same list, of more things, and views the page only. */
static void glances(void **state)
{
	struct page few = {.limit = 3, .sort = "n", .descending = true, .glance = glance};
	struct page filtered = {.limit = 3, .sort = "n", .glance = glance};
	char names[64], next[PAGE_CURSOR_MAX];
	struct suite *s = *state;
	struct json_object *o;
	size_t rendered = 0;

	furnish(s);
	put(s, "g", 0, ",\"lost\":true");
	for (size_t limit = 1; limit < 8; limit++) {
		struct page page = {.limit = limit, .sort = "n", .glance = glance};
		char have[200] = "", after[PAGE_CURSOR_MAX];

		do {
			SUITE_OK(s, list(s, &page, names, next));
			sprintf(have + strlen(have), "%s%s", names[0] && have[0] ? " " : "", names);
			memcpy(after, next, sizeof(after));
			page.after = after;
		} while (next[0]);
		assert_string_equal(have, "b e c a f");
	}
	put_many(s, "/more/", 0, PAGE_SORT_MAX + 1000);
	SUITE_OK(s, page_list(s->r, "/more/", &few, view, &rendered, &o, &s->p));
	assert_int_equal(rendered, 3);
	json_object_put(o);
	SUITE_OK(s, list_of(s, "/more/", &few, names, next));
	assert_string_equal(names, "2999 2998 2997");
	few.after = next;
	SUITE_OK(s, list_of(s, "/more/", &few, names, next));
	assert_string_equal(names, "2996 2995 2994");
	/* A filter needs the whole of each; and even glances are bounded. */
	filtered.filters[0].member = "n";
	filtered.filters[0].value = "7";
	filtered.filter_count = 1;
	SUITE_PROBLEM(s, list_of(s, "/more/", &filtered, names, next), 400, "invalid");
	assert_non_null(strstr(s->p.detail, "while it filters"));
	few.after = NULL;
	put_many(s, "/more/", PAGE_SORT_MAX + 1000, PAGE_GLANCE_MAX - PAGE_SORT_MAX - 1000);
	SUITE_OK(s, list_of(s, "/more/", &few, names, next));
	assert_string_equal(names, "19999 19998 19997");
	put_many(s, "/more/", PAGE_GLANCE_MAX, 1);
	SUITE_PROBLEM(s, list_of(s, "/more/", &few, names, next), 400, "invalid");
}

/* Two prefixes as one list. */
static void also(void **state)
{
	struct suite *s = *state;
	char names[2000], next[PAGE_CURSOR_MAX], want[8];
	struct page page = {.limit = 7, .also = "/others/"};

	put_many(s, "/things/", 0, 3);
	put_many(s, "/others/", 3, 20);
	put_many(s, "/things/", 23, 7);
	for (int i = 0; i < 30;) {
		SUITE_OK(s, list(s, &page, names, next));
		for (char *name = strtok(names, " "); name; name = strtok(NULL, " "), i++) {
			snprintf(want, sizeof(want), "%04d", i);
			assert_string_equal(name, want);
		}
		assert_int_equal(next[0] != '\0', i < 30);
		page.after = next;
	}
	page = (struct page){.limit = 30, .also = "/others/"};
	SUITE_OK(s, list(s, &page, names, next));
	assert_string_equal(next, "");
	page.also = "/nothing/";
	SUITE_OK(s, list(s, &page, names, next));
	assert_int_equal(strlen(names), 10 * 5 - 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pages),
		T(orders),
		T(filters),
		T(wrong_cursors),
		T(many),
		T(bounds),
		T(glances),
		T(also),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
