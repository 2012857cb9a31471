/* SPDX-License-Identifier: Apache-2.0 */
/* Limits on the objects of an organization: what is counted, and who may add the last one. */
#include "test/unit/console_suite.h"

#include <time.h>
#include "console-api/cloak.h"
#include "console-api/form.h"
#include "console-api/netobj.h"
#include "console-api/org.h"
#include "console-api/quota.h"
#include "console-api/reservation.h"
#include "console-api/user.h"

static struct json_object *parse(const char *text)
{
	struct json_object *o = json_tokener_parse(text);

	assert_non_null(o);
	return o;
}

static int64_t used(struct suite *s, const char *kind, const char *member)
{
	CLEANUP(json) struct json_object *usage = NULL;
	struct json_object *one;

	SUITE_OK(s, quota_usage(s->r, ORG_DEFAULT, &usage, &s->p));
	assert_int_equal(json_object_object_length(usage), QUOTA_COUNT);
	assert_true(json_object_object_get_ex(usage, kind, &one));
	return record_int(one, member);
}

static int reserve(struct suite *s, const char *net, const char *address)
{
	CLEANUP(json) struct json_object *body = json_object_new_object();
	char id[NETMAP_ID_MAX + 1];

	json_set_string(body, "address", address);
	s->p = (struct problem){0};
	return netobj_create(s->r, &suite_actor, &reservation_kind, net, body, id, &s->p);
}

static int add_rule(struct suite *s, const char *net, const char *text)
{
	CLEANUP(json) struct json_object *body = parse(text);
	struct cloak_edit edit = {.actor = &suite_actor,
		.net_ref = net,
		.now_s = (uint64_t)time(NULL),
		.confirm_within_s = 60};
	char id[NETMAP_ID_MAX + 1];

	s->p = (struct problem){0};
	return cloak_rule_create(s->r, &edit, body, id, &s->p);
}

/* What the sum over the kinds' keys says is what was made. */
static void everything_is_counted(void **state)
{
	struct suite *s = *state;

	suite_network(s, "blue", "10.0.0.0/24", NULL);
	suite_network(s, "green", "10.1.0.0/24", NULL);
	suite_node(s, "blue", "a");
	suite_node(s, "green", "b");
	SUITE_OK(s, member_add(s->r, &suite_actor, "green", "a", NULL, &s->p));
	SUITE_OK(s, reserve(s, "blue", "10.0.0.9"));
	SUITE_OK(s, reserve(s, "green", "10.1.0.9"));
	assert_int_equal(used(s, "networks", "used"), 2);
	assert_int_equal(used(s, "nodes", "used"), 2);
	assert_int_equal(used(s, "memberships", "used"), 3);
	assert_int_equal(used(s, "tokens", "used"), 2);
	assert_int_equal(used(s, "reservations", "used"), 2);
	assert_int_equal(used(s, "keys", "used"), 1); /* the first admin's */
	assert_int_equal(used(s, "users", "used"), 0);
	assert_int_equal(used(s, "nodes", "limit"), 50000);
	SUITE_OK(s, network_delete(s->r, &suite_actor, "green", NULL, &s->p));
	assert_int_equal(used(s, "networks", "used"), 1);
	assert_int_equal(used(s, "memberships", "used"), 1);
	assert_int_equal(used(s, "reservations", "used"), 1);
}

/* They are counted in the text of the document: as many as there are when it is parsed. */
static void rules_are_counted(void **state)
{
	static const char *const notes[] = {"x", "\\\"id\\\":\\\"rule_", "\\\"fallback\\\":{",
		"{\\\"fallback\\\":{\\\"rules\\\":[]}}", "\\\\\\\"id\\\":\\\"rule_x"};
	struct suite *s = *state;
	char text[200];

	suite_network(s, "blue", "10.0.0.0/24", NULL);
	assert_int_equal(used(s, "cloak_rules", "used"), 0);
	for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
		snprintf(text, sizeof(text),
			"{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":\"%zu\",\"note\":\"%s\"}",
			i + 1, notes[i]);
		SUITE_OK(s, add_rule(s, "blue", text));
		assert_int_equal(used(s, "cloak_rules", "used"), i + 1);
	}
	/* A change that waits: the rules of before are in the document, too. */
	CLEANUP(json) struct json_object *on = parse("{\"state\":\"on\"}");
	struct cloak_edit edit = {.actor = &suite_actor,
		.net_ref = "blue",
		.now_s = (uint64_t)time(NULL),
		.confirm_within_s = 60};

	SUITE_OK(s, cloak_change(s->r, &edit, on, &s->p));
	SUITE_OK(s, add_rule(s, "blue", "{\"action\":\"deny\"}"));
	assert_int_equal(used(s, "cloak_rules", "used"), 6);
	s->r->limits[QUOTA_CLOAK_RULES] = 6;
	SUITE_PROBLEM(s, add_rule(s, "blue", "{\"action\":\"allow\"}"), 409, "limit_reached");
	assert_string_equal(s->p.resource, "cloak_rules");
}

static void the_last_one(void **state)
{
	struct suite *s = *state;

	suite_network(s, "blue", "10.0.0.0/24", NULL);
	suite_network(s, "green", "10.1.0.0/24", NULL);
	s->r->limits[QUOTA_RESERVATIONS] = 2;
	SUITE_OK(s, reserve(s, "blue", "10.0.0.9"));
	SUITE_OK(s, reserve(s, "green", "10.1.0.9"));
	SUITE_PROBLEM(s, reserve(s, "green", "10.1.0.10"), 409, "limit_reached");
	assert_int_equal(s->p.limit, 2);
	assert_int_equal(s->p.current, 2);
	assert_string_equal(s->p.resource, "reservations");
	assert_non_null(strstr(s->p.detail, "--limits reservations=NUMBER"));
	/* Fewer than there are: nothing goes, and nothing overflows. */
	s->r->limits[QUOTA_RESERVATIONS] = 0;
	SUITE_PROBLEM(s, reserve(s, "green", "10.1.0.10"), 409, "limit_reached");
	assert_int_equal(used(s, "reservations", "used"), 2);
	SUITE_PROBLEM(s, quota_check(s->r, ORG_DEFAULT, QUOTA_NODES, UINT32_MAX, &s->p), 409,
		"limit_reached");
	SUITE_PROBLEM(s, quota_check(s->r, "none", QUOTA_NODES, 1, &s->p), 404, "not_found");
}

/* The network's own bound comes with the same members. */
static void bound_of_a_network(void **state)
{
	struct netobj_kind kind = reservation_kind;
	CLEANUP(json) struct json_object *body = parse("{\"address\":\"10.0.0.9\"}");
	struct suite *s = *state;
	char id[NETMAP_ID_MAX + 1];

	kind.max = 0;
	suite_network(s, "blue", "10.0.0.0/24", NULL);
	SUITE_PROBLEM(s, netobj_create(s->r, &suite_actor, &kind, "blue", body, id, &s->p), 409,
		"limit_reached");
	assert_string_equal(s->p.resource, "reservations");
	assert_int_equal(s->p.current, 0);
}

static void an_organization_of_its_own(void **state)
{
	CLEANUP(json) struct json_object *body = parse("{\"name\":\"a\",\"limits\":{\"users\":1}}");
	CLEANUP(json) struct json_object *none = parse("{\"limits\":{\"users\":null}}");
	CLEANUP(json) struct json_object *user = parse("{\"name\":\"u\",\"role\":\"viewer\"}");
	CLEANUP(json) struct json_object *other = parse("{\"name\":\"v\",\"role\":\"viewer\"}");
	CLEANUP(record) struct record rec = {0};
	struct actor a = {.who = "key:x", .role = ROLE_ADMIN};
	struct suite *s = *state;
	char id[NETMAP_ID_MAX + 1];

	SUITE_OK(s, org_create(s->r, &suite_actor, body, a.org, &s->p));
	SUITE_OK(s, user_create(s->r, &a, user, id, &s->p));
	SUITE_PROBLEM(s, user_create(s->r, &a, other, id, &s->p), 409, "limit_reached");
	SUITE_OK(s, user_create(s->r, &suite_actor, other, id, &s->p));
	SUITE_OK(s, org_change(s->r, &suite_actor, "a", none, NULL, id, &s->p));
	SUITE_OK(s, user_create(s->r, &a, other, id, &s->p));
	/* What is not set is not stored. */
	SUITE_OK(s, registry_load(s->r, KEY("/orgs/%s", a.org), &rec, &s->p));
	assert_false(json_object_object_get_ex(rec.o, "limits", NULL));
}

/* Two that counted the same: one of them has to count again. What was counted is not compared key
 * by key. */
static void two_at_once(void **state)
{
	struct store_txn first, second;
	struct suite *s = *state;

	suite_network(s, "blue", "10.0.0.0/24", NULL);
	store_txn_init(&first);
	store_txn_init(&second);
	store_track(s->r->store, &first);
	SUITE_OK(s, quota_build_add(s->r, &first, ORG_DEFAULT, QUOTA_MEMBERSHIPS, 1, &s->p));
	assert_ptr_equal(store_track(s->r->store, NULL), &first);
	assert_int_equal(first.range_count, 0);
	assert_int_equal(first.compare_count, 2);
	/* Not tracked, as in an import: it is compared all the same. */
	SUITE_OK(s, quota_build_add(s->r, &second, ORG_DEFAULT, QUOTA_NODES, 1, &s->p));
	assert_int_equal(second.compare_count, 2);
	assert_int_equal(store_commit(s->r->store, &first, NULL), 0);
	assert_int_equal(store_commit(s->r->store, &second, NULL), -EAGAIN);
	store_txn_done(&first);
	store_txn_done(&second);
}

static void limits_of_a_body(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
	} cases[] = {
		{"{}", "null"},
		{"{\"limits\":null}", "null"},
		{"{\"limits\":{}}", "null"},
		{"{\"limits\":{\"nodes\":null}}", "null"},
		{"{\"limits\":{\"nodes\":0}}", "{\"nodes\":0}"},
		{"{\"limits\":{\"floating_ips\":1000000,\"nodes\":5}}",
			"{\"nodes\":5,\"floating_ips\":1000000}"},
		{"{\"limits\":{\"nodes\":1000001}}", NULL},
		{"{\"limits\":{\"nodes\":-1}}", NULL},
		{"{\"limits\":{\"nodes\":\"5\"}}", NULL},
		{"{\"limits\":{\"nodes\":5,\"cars\":5}}", NULL},
		{"{\"limits\":[]}", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(json) struct json_object *body = parse(cases[i].text);
		CLEANUP(json) struct json_object *limits = NULL;
		CLEANUP(json) struct json_object *view = NULL;
		struct problem p = {0};
		struct form f;

		form_init(&f, body, &p);
		quota_read(&f, &limits);
		if (form_end(&f)) {
			if (cases[i].want)
				fail_msg("%s is refused: %s", cases[i].text, p.detail);
			continue;
		}
		if (!cases[i].want)
			fail_msg("%s is taken", cases[i].text);
		assert_string_equal(json_object_to_json_string_ext(limits, JSON_C_TO_STRING_PLAIN),
			cases[i].want);
		view = quota_view(limits);
		assert_int_equal(json_object_object_length(view), QUOTA_COUNT);
		assert_true(json_object_equal(json_object_object_get(view, "nodes"),
			json_object_object_get(limits, "nodes")));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everything_is_counted, suite_setup, suite_teardown),
		cmocka_unit_test_setup_teardown(rules_are_counted, suite_setup, suite_teardown),
		cmocka_unit_test_setup_teardown(the_last_one, suite_setup, suite_teardown),
		cmocka_unit_test_setup_teardown(bound_of_a_network, suite_setup, suite_teardown),
		cmocka_unit_test_setup_teardown(
			an_organization_of_its_own, suite_setup, suite_teardown),
		cmocka_unit_test_setup_teardown(two_at_once, suite_setup, suite_teardown),
		cmocka_unit_test(limits_of_a_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
