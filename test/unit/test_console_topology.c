/* SPDX-License-Identifier: Apache-2.0 */
/* Imports into a store that takes small transactions only, and what must never be half done. */
#include "test/unit/console_suite.h"

#include "console-api/check.h"
#include "console-api/fip.h"
#include "console-api/gateway.h"
#include "console-api/reservation.h"
#include "console-api/topology.h"

#define NODES 40

static struct json_object *export(struct suite *s, const char *name)
{
	struct json_object *o = NULL;

	SUITE_OK(s, topology_export(s->r, ORG_DEFAULT, name, &o, &s->p));
	return o;
}

static int import(struct suite *s, struct json_object *document, const char *name, bool dry_run,
	struct json_object **ret_result)
{
	struct topology_import im = {
		.actor = &suite_actor, .name = name, .dry_run = dry_run, .now_s = 1700000000};

	s->p = (struct problem){0};
	return topology_import(s->r, &im, document, ret_result, &s->p);
}

/* Imports; the number of transactions that it took. */
static int64_t transactions(struct suite *s, struct json_object *document, const char *name)
{
	CLEANUP(json) struct json_object *result = NULL;

	SUITE_OK(s, import(s, document, name, false, &result));
	return record_int(result, "transactions");
}

static struct json_object *first_network(struct json_object *result)
{
	return json_object_array_get_idx(json_object_object_get(result, "networks"), 0);
}

static size_t change_count(struct suite *s, struct json_object *document, const char *name)
{
	CLEANUP(json) struct json_object *result = NULL;

	SUITE_OK(s, import(s, document, name, true, &result));
	return json_object_array_length(json_object_object_get(first_network(result), "changes"));
}

static struct json_object *section(struct json_object *document, const char *name)
{
	return json_object_object_get(first_network(document), name);
}

static void on_fault(void *ctx, const char *line)
{
	(void)ctx;
	fail_msg("%s", line);
}

static void assert_sound(struct suite *s)
{
	struct check_result result;
	struct err e = {0};

	if (check_store(s->r->store, on_fault, NULL, NULL, NULL, &result, &e))
		fail_msg("%s", e.text);
	assert_int_equal(result.faults, 0);
}

static void set_address(struct json_object *document, size_t node, unsigned int host)
{
	struct json_object *n = json_object_array_get_idx(section(document, "nodes"), node);
	struct json_object *ips = json_object_new_array();
	char text[32];

	snprintf(text, sizeof(text), "10.1.0.%u", host);
	json_object_array_add(ips, json_object_new_string(text));
	json_object_object_add(n, "ips", ips);
}

static void create(struct suite *s, const struct netobj_kind *kind, const char *body)
{
	CLEANUP(json) struct json_object *o = json_tokener_parse(body);
	char id[NETMAP_ID_MAX + 1];

	SUITE_OK(s, netobj_create(s->r, &suite_actor, kind, "blue", o, id, &s->p));
}

/* NODES nodes in a network with some of everything. */
static void make_network(struct suite *s)
{
	char name[16];

	suite_network(s, "blue", "10.1.0.0/16", NULL);
	for (int i = 0; i < NODES; i++) {
		snprintf(name, sizeof(name), "n%02d", i);
		suite_node(s, "blue", name);
	}
	create(s, &reservation_kind, "{\"address\":\"10.1.7.0/24\"}");
	create(s, &reservation_kind, "{\"address\":\"10.1.7.9\",\"node\":\"later\"}");
	create(s, &gateway_kind, "{\"node\":\"n01\",\"prefixes\":[\"10.9.0.0/16\"]}");
	create(s, &gateway_kind, "{\"node\":\"n02\",\"prefixes\":[\"10.9.0.0/16\"]}");
	create(s, &fip_kind, "{\"address\":\"10.1.7.20\",\"candidates\":[\"n01\",\"n03\"]}");
}

static void assert_same(struct json_object *a, struct json_object *b)
{
	assert_string_equal(json_object_to_json_string(a), json_object_to_json_string(b));
}

/* Without what a replica in the same mesh has of its own. */
static struct json_object *comparable(struct json_object *document)
{
	struct json_object *o = NULL, *nodes;

	assert_int_equal(json_object_deep_copy(document, &o, NULL), 0);
	json_object_object_del(first_network(o), "name");
	nodes = section(o, "nodes");
	for (size_t i = 0; i < json_object_array_length(nodes); i++)
		json_object_object_del(json_object_array_get_idx(nodes, i), "macs");
	return o;
}

static void a_replica_part_by_part(void **state)
{
	struct suite *s = *state;
	CLEANUP(json) struct json_object *before = NULL;
	CLEANUP(json) struct json_object *after = NULL;
	CLEANUP(json) struct json_object *left = NULL;
	CLEANUP(json) struct json_object *right = NULL;
	int64_t n;

	make_network(s);
	before = export(s, "blue");
	s->r->store->txn_max = 100;
	n = transactions(s, before, "green");
	assert_true(n > 3 && n < NODES);
	assert_sound(s);
	assert_int_equal(change_count(s, before, "green"), 0);
	after = export(s, "green");
	left = comparable(before);
	right = comparable(after);
	assert_same(left, right);
}

static void a_result_of_many_parts_is_one(void **state)
{
	struct suite *s = *state;
	CLEANUP(json) struct json_object *document = NULL;
	CLEANUP(json) struct json_object *planned = NULL;
	CLEANUP(json) struct json_object *done = NULL;
	char id[NETMAP_ID_MAX + 1];

	make_network(s);
	document = export(s, "blue");
	s->r->store->txn_max = 100;
	SUITE_OK(s, import(s, document, "green", true, &planned));
	assert_string_equal(record_text(first_network(planned), "id"), "");
	SUITE_OK(s, import(s, document, "green", false, &done));
	assert_same(json_object_object_get(first_network(planned), "changes"),
		json_object_object_get(first_network(done), "changes"));
	SUITE_OK(s, registry_resolve(s->r, ORG_DEFAULT, "network", "green", id, &s->p));
	assert_string_equal(record_text(first_network(done), "id"), id);
}

/* Everybody takes the address of the next one: a chain, to be written from its end. */
static void a_chain_part_by_part(void **state)
{
	struct suite *s = *state;
	CLEANUP(json) struct json_object *document = NULL;
	CLEANUP(json) struct json_object *after = NULL;

	make_network(s);
	document = export(s, "blue");
	for (size_t i = 0; i < NODES; i++)
		set_address(document, i, (unsigned int)i + 2);
	s->r->store->txn_max = 60;
	assert_true(transactions(s, document, NULL) > 3);
	assert_sound(s);
	after = export(s, "blue");
	assert_same(document, after);
}

/* Rings have no end: each is written as one, whatever else is left for later. */
static void rings_are_never_cut(void **state)
{
	struct suite *s = *state;
	CLEANUP(json) struct json_object *document = NULL;
	CLEANUP(json) struct json_object *after = NULL;

	make_network(s);
	document = export(s, "blue");
	for (size_t i = 0; i + 3 < NODES; i += 4) {
		set_address(document, i, (unsigned int)i + 2);
		set_address(document, i + 1, (unsigned int)i + 3);
		set_address(document, i + 2, (unsigned int)i + 4);
		set_address(document, i + 3, (unsigned int)i + 1);
	}
	s->r->store->txn_max = 60;
	assert_true(transactions(s, document, NULL) > 3);
	assert_sound(s);
	after = export(s, "blue");
	assert_same(document, after);
}

static void a_ring_that_is_too_large_changes_nothing(void **state)
{
	struct suite *s = *state;
	CLEANUP(json) struct json_object *before = NULL;
	CLEANUP(json) struct json_object *document = NULL;
	CLEANUP(json) struct json_object *after = NULL;
	struct json_object *result = NULL;

	make_network(s);
	before = export(s, "blue");
	document = export(s, "blue");
	for (size_t i = 0; i < NODES; i++)
		set_address(document, i, (unsigned int)(i + 1) % NODES + 1);
	s->r->store->txn_max = 60;
	assert_true(import(s, document, NULL, false, &result) < 0);
	assert_int_equal(s->p.status, 409);
	assert_string_equal(s->p.word, "too_large");
	assert_sound(s);
	after = export(s, "blue");
	assert_same(before, after);
	/* In one transaction there is nothing to it. */
	s->r->store->txn_max = SIZE_MAX;
	assert_int_equal(transactions(s, document, NULL), 1);
	assert_sound(s);
}

static void several_networks_part_by_part(void **state)
{
	struct suite *s = *state;
	CLEANUP(json) struct json_object *document = NULL;
	CLEANUP(json) struct json_object *result = NULL;
	struct json_object *networks, *copy;
	static const char *const names[] = {"one", "two", "three"};

	make_network(s);
	document = export(s, "blue");
	networks = json_object_object_get(document, "networks");
	for (size_t i = 0; i < 3; i++) {
		copy = NULL;
		assert_int_equal(json_object_deep_copy(first_network(document), &copy, NULL), 0);
		json_set_string(copy, "name", names[i]);
		json_object_array_add(networks, copy);
	}
	s->r->store->txn_max = 100;
	SUITE_OK(s, import(s, document, NULL, false, &result));
	assert_int_equal(json_object_array_length(json_object_object_get(result, "networks")), 4);
	assert_true(record_int(result, "transactions") > 6);
	assert_sound(s);
	assert_int_equal(transactions(s, document, NULL), 0);
}

/* Nodes leave and come, while addresses, gateways and candidates change. */
static void to_and_fro(void **state)
{
	struct suite *s = *state;
	CLEANUP(json) struct json_object *whole = NULL;
	CLEANUP(json) struct json_object *half = NULL;
	CLEANUP(json) struct json_object *now = NULL;
	struct json_object *nodes;

	make_network(s);
	whole = export(s, "blue");
	half = export(s, "blue");
	nodes = section(half, "nodes");
	json_object_array_del_idx(nodes, 0, 2);
	json_object_array_del_idx(nodes, NODES / 2, NODES / 2 - 2);
	json_object_array_del_idx(section(half, "gateways"), 0, 1);
	json_object_object_add(json_object_array_get_idx(section(half, "floating_ips"), 0),
		"candidates", json_tokener_parse("[\"n03\"]"));
	json_object_object_add(first_network(half), "reservations", json_tokener_parse("[]"));
	for (size_t max = 80; max < 300; max += 73) {
		s->r->store->txn_max = max;
		transactions(s, half, NULL);
		assert_sound(s);
		assert_int_equal(change_count(s, half, NULL), 0);
		transactions(s, whole, NULL);
		assert_sound(s);
		json_object_put(now);
		now = export(s, "blue");
		assert_same(whole, now);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_replica_part_by_part),
		T(a_result_of_many_parts_is_one),
		T(a_chain_part_by_part),
		T(rings_are_never_cut),
		T(a_ring_that_is_too_large_changes_nothing),
		T(several_networks_part_by_part),
		T(to_and_fro),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
