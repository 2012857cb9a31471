/* SPDX-License-Identifier: Apache-2.0 */
/* The chain of the audit trail: how rows are made, removed for their age, and verified. */
#include "console-api/audit.h"
#include "lib/clock.h"
#include "test/unit/console_suite.h"

static const struct actor ann = {.who = "key:ann", .org = ORG_DEFAULT, .request = "r1"};

static struct json_object *object(const char *text)
{
	struct json_object *o = NULL;

	assert_int_equal(json_parse(text, strlen(text), &o, NULL), 0);
	return o;
}

/* A transaction with n rows. */
static void add_rows(struct suite *s, unsigned int n)
{
	CLEANUP(store_txn) struct store_txn txn;
	CLEANUP(json) struct json_object *after = object("{\"name\":\"blue\"}");

	store_txn_init(&txn);
	for (unsigned int i = 0; i < n; i++)
		registry_audit_change(&txn, &ann, "test.make", "test", "t_1", NULL, after);
	assert_int_equal(audit_seal(s->r->store, &txn), 0);
	assert_int_equal(store_commit(s->r->store, &txn, NULL), 0);
}

static void get_rows(struct suite *s, struct store_items *ret_rows)
{
	assert_int_equal(store_range(s->r->store, "/audit/", NULL, 0, ret_rows), 0);
}

/* Fails unless the trail is whole and has so many rows. */
static void assert_whole(struct suite *s, uint64_t rows)
{
	struct audit_report report = {0};

	assert_int_equal(audit_verify(s->r->store, &report), 0);
	assert_string_equal(report.broken, "");
	assert_int_equal(report.rows, rows);
	audit_report_done(&report);
}

static void put_value(struct suite *s, const char *key, const char *value)
{
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	if (value)
		store_txn_put(&txn, key, value);
	else
		store_txn_delete(&txn, key);
	assert_int_equal(store_commit(s->r->store, &txn, NULL), 0);
}

/* As somebody does who knows how rows are kept. */
static void take_out(struct suite *s, const char *key)
{
	put_value(s, key, NULL);
	put_value(s, KEY("/audit-at/%s", registry_key_tail(key)), NULL);
}

static void rows_follow_each_other(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_items) struct store_items rows = {0};
	CLEANUP(json) struct json_object *last = NULL;

	/* The first start has made one. */
	assert_whole(s, 1);
	add_rows(s, 3);
	add_rows(s, 1);
	add_rows(s, 0);
	assert_whole(s, 5);
	get_rows(s, &rows);
	assert_int_equal(rows.count, 5);
	last = object(rows.items[4].value);
	assert_string_equal(record_text(last, "actor"), "key:ann");
	assert_string_equal(record_text(last, "request"), "r1");
	assert_string_equal(record_text(last, "object"), "test t_1 (blue)");
	assert_string_equal(record_text(last, "chain"), "main");
	assert_int_equal(record_int(last, "seq"), 5);
	suite_close(s);
	suite_open(s);
	add_rows(s, 2);
	assert_whole(s, 7);
}

static void secrets_are_left_out(void **state)
{
	CLEANUP(store_txn) struct store_txn txn;
	CLEANUP(json)
	struct json_object *o = object(
		"{\"name\":\"x\",\"hash\":\"h1\",\"deep\":[{\"token\":\"h2\",\"kept\":1}],"
		"\"secret\":\"h3\",\"inner\":{\"psk\":\"h4\",\"password\":\"h5\",\"key_hash\":\"h6\"}}");
	CLEANUP(json) struct json_object *large = json_object_new_object();
	CLEANUP(json) struct json_object *row = NULL;
	char *text = malloc(20001);

	(void)state;
	memset(text, 'x', 20000);
	text[20000] = '\0';
	json_set_string(large, "note", text);
	store_txn_init(&txn);
	registry_audit_change(&txn, &ann, "test.change", "test", "t_1", o, large);
	row = object(txn.ops[0].value);
	assert_string_equal(json_object_to_json_string_ext(
				    json_object_object_get(row, "before"), JSON_C_TO_STRING_PLAIN),
		"{\"name\":\"x\",\"deep\":[{\"kept\":1}],\"inner\":{}}");
	assert_true(record_int(json_object_object_get(row, "after"), "omitted_bytes") > 20000);
	free(text);
}

static void two_writers_do_not_fork_the_chain(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_txn) struct store_txn one;
	CLEANUP(store_txn) struct store_txn two;

	store_txn_init(&one);
	store_txn_init(&two);
	registry_audit_change(&one, &ann, "test.make", "test", "t_1", NULL, NULL);
	registry_audit_change(&two, &ann, "test.make", "test", "t_2", NULL, NULL);
	assert_int_equal(audit_seal(s->r->store, &one), 0);
	assert_int_equal(audit_seal(s->r->store, &two), 0);
	assert_int_equal(store_commit(s->r->store, &one, NULL), 0);
	assert_int_equal(store_commit(s->r->store, &two, NULL), -EAGAIN);
	assert_whole(s, 2);
}

/* The clock was set back: stamps rise all the same. */
static void clock_that_goes_back(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_item) struct store_item head = {0};
	CLEANUP(store_items) struct store_items rows = {0};
	CLEANUP(json) struct json_object *o = NULL;

	assert_int_equal(store_get(s->r->store, "/audit-head/main", &head), 0);
	o = object(head.value);
	json_set_string(o, "stamp", "7000000000000000");
	put_value(s, "/audit-head/main", json_object_to_json_string(o));
	add_rows(s, 2);
	get_rows(s, &rows);
	assert_string_equal(rows.items[1].key, "/audit/default/7000000000000001-main");
	assert_string_equal(rows.items[2].key, "/audit/default/7000000000000002-main");
	assert_whole(s, 3);
}

static void old_rows_go_and_the_rest_stays_verifiable(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_items) struct store_items rows = {0};
	CLEANUP(store_items) struct store_items left = {0};
	struct audit_report report = {0};
	uint64_t oldest = 0, limit;

	add_rows(s, 9);
	get_rows(s, &rows);
	limit = strtoull(registry_key_tail(rows.items[6].key), NULL, 16);
	assert_int_equal(audit_prune(s->r->store, limit, 4, &oldest), 0);
	assert_true(oldest < limit);
	assert_whole(s, 6);
	assert_int_equal(audit_prune(s->r->store, limit, 4, &oldest), 0);
	assert_int_equal(oldest, limit);
	assert_whole(s, 4);
	assert_int_equal(audit_prune(s->r->store, limit, 4, &oldest), 0);
	get_rows(s, &left);
	assert_int_equal(left.count, 4);
	/* What the removal left as a mark is part of the proof. */
	put_value(s, left.items[0].key, NULL);
	assert_int_equal(audit_verify(s->r->store, &report), 0);
	assert_non_null(strstr(report.broken, "(row 7 of chain main): it is missing"));
	audit_report_done(&report);
	put_value(s, left.items[0].key, left.items[0].value);
	assert_whole(s, 4);
	/* All of them, and on. */
	assert_int_equal(audit_prune(s->r->store, UINT64_MAX, 100, &oldest), 0);
	assert_true(oldest == UINT64_MAX);
	assert_whole(s, 0);
	add_rows(s, 2);
	assert_whole(s, 2);
}

static void noted_rows(void **state)
{
	struct suite *s = *state;
	struct audit_report first = {0};
	struct audit_report good = {0}, bad = {0}, beyond = {0}, none = {0};
	uint64_t oldest;
	char hash[2 * HASH_LEN + 1];

	add_rows(s, 4);
	assert_int_equal(audit_verify(s->r->store, &first), 0);
	assert_int_equal(first.chain_count, 1);
	memcpy(hash, first.chains[0].hash, sizeof(hash));
	add_rows(s, 4);
	audit_note(&good, "main", 5, hash);
	assert_int_equal(audit_verify(s->r->store, &good), 0);
	assert_string_equal(good.broken, "");
	audit_note(&bad, "main", 4, hash);
	assert_int_equal(audit_verify(s->r->store, &bad), 0);
	assert_non_null(strstr(bad.broken, "not the one that was noted"));
	audit_note(&beyond, "main", 50, hash);
	assert_int_equal(audit_verify(s->r->store, &beyond), 0);
	assert_non_null(strstr(beyond.broken, "is not there"));
	audit_note(&none, "other", 1, hash);
	assert_int_equal(audit_verify(s->r->store, &none), 0);
	assert_non_null(strstr(none.broken, "is not there"));
	audit_report_done(&good);
	/* Removed for its age since: nothing to say against it. */
	assert_int_equal(audit_prune(s->r->store, UINT64_MAX, 7, &oldest), 0);
	audit_note(&good, "main", 5, hash);
	assert_int_equal(audit_verify(s->r->store, &good), 0);
	assert_string_equal(good.broken, "");
	audit_report_done(&first);
	audit_report_done(&good);
	audit_report_done(&bad);
	audit_report_done(&beyond);
	audit_report_done(&none);
}

/* Every byte of every row counts. */
static void any_byte_that_changes_is_noticed(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_items) struct store_items rows = {0};

	add_rows(s, 2);
	get_rows(s, &rows);
	for (size_t i = 0; i < rows.count; i++) {
		char *value = strdup(rows.items[i].value);
		size_t len = strlen(value);

		for (size_t at = 0; at < len; at++) {
			struct audit_report report = {0};

			value[at] ^= 1;
			put_value(s, rows.items[i].key, value);
			assert_int_equal(audit_verify(s->r->store, &report), 0);
			if (!report.broken[0])
				fail_msg("row %zu, byte %zu: not noticed in %s", i, at, value);
			audit_report_done(&report);
			value[at] ^= 1;
		}
		put_value(s, rows.items[i].key, value);
		free(value);
	}
	assert_whole(s, 3);
}

static void count_lines(void *ctx, const char *line)
{
	char *text = ctx;

	snprintf(text + strlen(text), 2048 - strlen(text), "%s\n", line);
}

/* Several rows at once, each in another way: every one of them is told, and nothing else. */
static void every_fault_is_told(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_items) struct store_items rows = {0};
	char text[2048] = "", moved[64];
	struct audit_report report = {.fault = count_lines, .ctx = text};
	char *altered;

	add_rows(s, 19);
	get_rows(s, &rows);
	assert_int_equal(rows.count, 20);
	altered = strdup(rows.items[2].value);
	strstr(altered, "test.make")[0] = 'T';
	put_value(s, rows.items[2].key, altered);
	take_out(s, rows.items[5].key);
	take_out(s, rows.items[6].key);
	put_value(s, rows.items[9].key, "[]");
	snprintf(moved, sizeof(moved), "%sx", rows.items[12].key);
	put_value(s, moved, rows.items[12].value);
	put_value(s, rows.items[15].key, NULL);
	take_out(s, rows.items[19].key);
	assert_int_equal(audit_verify(s->r->store, &report), 0);
	assert_non_null(strstr(text, "(row 3 of chain main): it was altered"));
	assert_non_null(strstr(text, "(row 8 of chain main): a row before it is missing"));
	assert_non_null(strstr(text, "it is no audit row"));
	assert_null(strstr(text, "row 11 of"));
	assert_non_null(strstr(text, "(row 16 of chain main): it is missing"));
	assert_non_null(strstr(text, moved));
	assert_non_null(strstr(text, "ends at row 19 and not at row 20"));
	assert_int_equal(report.faults, 6);
	assert_non_null(strstr(report.broken, moved));
	free(altered);
	audit_report_done(&report);
}

/* The end was cut off, by somebody who knows of the head: only what was noted elsewhere tells. */
static void a_tail_that_was_cut_off_with_its_head(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_items) struct store_items rows = {0};
	CLEANUP(json) struct json_object *last = NULL;
	CLEANUP(json) struct json_object *head = json_object_new_object();
	struct audit_report before = {0}, without = {0}, with = {0};

	add_rows(s, 5);
	assert_int_equal(audit_verify(s->r->store, &before), 0);
	audit_note(&with, "main", before.chains[0].seq, before.chains[0].hash);
	get_rows(s, &rows);
	for (size_t i = 3; i < rows.count; i++)
		take_out(s, rows.items[i].key);
	assert_int_equal(audit_verify(s->r->store, &without), 0);
	assert_non_null(strstr(without.broken, "last rows are missing"));
	audit_report_done(&without);
	last = object(rows.items[2].value);
	json_set_int(head, "seq", record_int(last, "seq"));
	json_set_string(head, "hash", record_text(last, "hash"));
	json_set_string(head, "stamp", record_text(last, "stamp"));
	put_value(s, "/audit-head/main", json_object_to_json_string(head));
	assert_whole(s, 3);
	assert_int_equal(audit_verify(s->r->store, &with), 0);
	assert_non_null(strstr(with.broken, "row 6 of chain main, which was noted, is not there"));
	audit_report_done(&before);
	audit_report_done(&with);
}

/* Version 0.1.0 wrote rows without a chain. */
static void rows_of_before_the_chain(void **state)
{
	static const char row[] =
		"{\"time\":\"2026-01-01T00:00:00Z\",\"actor\":\"key:x\",\"address\":\"\","
		"\"action\":\"a\",\"object\":\"o\"}";
	struct suite *s = *state;
	struct audit_report report = {0}, late = {0}, moved = {0};
	CLEANUP(store_items) struct store_items rows = {0};

	/* Another store's keys, before it is brought up to date. */
	get_rows(s, &rows);
	take_out(s, rows.items[0].key);
	put_value(s, "/audit-head/main", NULL);
	put_value(s, "/audit/0000000000000001-00000001", row);
	put_value(s, "/audit/0000000000000002-00000002", row);
	assert_int_equal(audit_verify(s->r->store, &report), 0);
	assert_string_equal(report.broken, "");
	assert_int_equal(report.unchained, 2);
	assert_int_equal(report.rows, 0);
	assert_int_equal(audit_migrate(s->r->store), 0);
	assert_int_equal(audit_migrate(s->r->store), 0);
	add_rows(s, 1);
	assert_int_equal(audit_verify(s->r->store, &moved), 0);
	assert_string_equal(moved.broken, "");
	assert_int_equal(moved.unchained, 2);
	assert_int_equal(moved.rows, 1);
	put_value(s, "/audit/ffffffffffffffff-00000002", row);
	assert_int_equal(audit_verify(s->r->store, &late), 0);
	assert_non_null(strstr(late.broken, "put in afterwards"));
	audit_report_done(&report);
	audit_report_done(&moved);
	audit_report_done(&late);
}

/* One chain across organizations, of which each has its rows apart. */
static void organizations_are_apart(void **state)
{
	struct suite *s = *state;
	struct actor bob = {.who = "key:bob", .org = "org_b"};
	CLEANUP(store_items) struct store_items rows = {0};
	CLEANUP(store_items) struct store_items left = {0};
	struct audit_report report = {0};
	CLEANUP(store_txn) struct store_txn txn;
	uint64_t oldest;

	store_txn_init(&txn);
	for (unsigned int i = 0; i < 10; i++)
		registry_audit_change(
			&txn, i % 2 ? &ann : &bob, "test.make", "test", "t_1", NULL, NULL);
	assert_int_equal(audit_seal(s->r->store, &txn), 0);
	assert_int_equal(store_commit(s->r->store, &txn, NULL), 0);
	assert_whole(s, 11);
	assert_int_equal(store_range(s->r->store, "/audit/org_b/", NULL, 0, &rows), 0);
	assert_int_equal(rows.count, 5);
	/* By age, whoever's they are: the chain starts later, without a gap. */
	assert_int_equal(audit_prune(s->r->store, UINT64_MAX, 6, &oldest), 0);
	assert_whole(s, 5);
	assert_int_equal(store_range(s->r->store, "/audit/org_b/", NULL, 0, &left), 0);
	assert_int_equal(left.count, 2);
	/* A row that is put among those of somebody else, its place too. */
	put_value(s, left.items[0].key, NULL);
	put_value(s, KEY("/audit/default/%s", registry_key_tail(left.items[0].key)),
		left.items[0].value);
	assert_int_equal(audit_verify(s->r->store, &report), 0);
	assert_int_equal(report.faults, 2);
	audit_report_done(&report);
}

/* Every byte of a row's place counts too. */
static void places_that_change_are_noticed(void **state)
{
	struct suite *s = *state;
	CLEANUP(store_items) struct store_items places = {0};
	char *value;

	add_rows(s, 2);
	assert_int_equal(store_range(s->r->store, "/audit-at/", NULL, 0, &places), 0);
	assert_int_equal(places.count, 3);
	value = strdup(places.items[1].value);
	for (size_t at = 0; value[at]; at++) {
		struct audit_report report = {0};

		value[at] ^= 1;
		put_value(s, places.items[1].key, value);
		assert_int_equal(audit_verify(s->r->store, &report), 0);
		if (!report.faults)
			fail_msg("byte %zu: not noticed in %s", at, value);
		audit_report_done(&report);
		value[at] ^= 1;
	}
	free(value);
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(rows_follow_each_other),
		T(secrets_are_left_out),
		T(two_writers_do_not_fork_the_chain),
		T(clock_that_goes_back),
		T(old_rows_go_and_the_rest_stays_verifiable),
		T(noted_rows),
		T(any_byte_that_changes_is_noticed),
		T(every_fault_is_told),
		T(a_tail_that_was_cut_off_with_its_head),
		T(rows_of_before_the_chain),
		T(organizations_are_apart),
		T(places_that_change_are_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
