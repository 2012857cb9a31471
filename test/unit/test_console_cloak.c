/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of the cloak, with time as an argument. */
#include "test/unit/console_suite.h"

#include "console-api/cloak.h"
#include "console-api/cloak_rule.h"

#define NOW_S 1700000000ull

static struct cloak_edit edit(int64_t confirm_within_s, uint64_t now_s)
{
	return (struct cloak_edit){.actor = &suite_actor,
		.net_ref = "blue",
		.confirm_within_s = confirm_within_s,
		.now_s = now_s};
}

static void change(struct suite *s, const char *patch, int64_t confirm_within_s, uint64_t now_s)
{
	CLEANUP(json) struct json_object *o = json_tokener_parse(patch);
	struct cloak_edit e = edit(confirm_within_s, now_s);

	SUITE_OK(s, cloak_change(s->r, &e, o, &s->p));
}

static void rule(struct suite *s, const char *body, int64_t confirm_within_s, uint64_t now_s,
	char ret_id[NETMAP_ID_MAX + 1])
{
	CLEANUP(json) struct json_object *o = json_tokener_parse(body);
	struct cloak_edit e = edit(confirm_within_s, now_s);

	SUITE_OK(s, cloak_rule_create(s->r, &e, o, ret_id, &s->p));
}

/* "pending 2": the state and the number of rules. */
static void assert_cloak(struct suite *s, uint64_t now_s, const char *want)
{
	CLEANUP(json) struct json_object *view = NULL;
	char text[64];

	SUITE_OK(s, cloak_view(s->r, ORG_DEFAULT, "blue", now_s, &view, &s->p));
	snprintf(text, sizeof(text), "%s %zu", record_text(view, "state"),
		json_object_array_length(json_object_object_get(view, "rules")));
	assert_string_equal(text, want);
	assert_int_equal(!strcmp(record_text(view, "state"), "pending"),
		json_object_object_get(view, "confirm_by") != NULL);
}

static void confirm(struct suite *s, uint64_t now_s)
{
	struct cloak_edit e = edit(0, now_s);

	SUITE_OK(s, cloak_confirm(s->r, &e, &s->p));
}

static uint64_t due_count(struct suite *s)
{
	uint64_t n = 0;

	assert_int_equal(store_count(s->r->store, "/cloak-due/", &n), 0);
	return n;
}

static void setup_network(struct suite *s)
{
	suite_network(s, "blue", "172.16.1.0/24", NULL);
}

static void switching_on_has_to_be_confirmed(void **state)
{
	struct suite *s = *state;
	struct cloak_edit late = edit(0, NOW_S + 60);

	setup_network(s);
	change(s, "{\"state\":\"on\"}", 60, NOW_S);
	assert_cloak(s, NOW_S + 59, "pending 0");
	assert_cloak(s, NOW_S + 60, "off 0"); /* though nobody has written it down */
	SUITE_PROBLEM(s, cloak_confirm(s->r, &late, &s->p), 409, "not_pending");
	assert_int_equal(due_count(s), 1);
	cloak_take_back(s->r, NOW_S + 59, 10);
	assert_int_equal(due_count(s), 1);
	cloak_take_back(s->r, NOW_S + 60, 10);
	assert_int_equal(due_count(s), 0);
	assert_cloak(s, 0, "off 0");
	change(s, "{\"state\":\"on\"}", 60, NOW_S + 100);
	confirm(s, NOW_S + 159);
	assert_int_equal(due_count(s), 0);
	assert_cloak(s, NOW_S + 1000, "on 0");
}

static void further_changes_join_the_pending_one(void **state)
{
	struct suite *s = *state;
	char a[NETMAP_ID_MAX + 1], b[NETMAP_ID_MAX + 1];

	setup_network(s);
	rule(s, "{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":\"22\"}", 60, NOW_S, a);
	assert_cloak(s, NOW_S, "off 1"); /* nothing to confirm while it is off */
	change(s, "{\"state\":\"on\"}", 0, NOW_S);
	rule(s, "{\"action\":\"deny\"}", 60, NOW_S, b);
	assert_cloak(s, NOW_S + 59, "pending 2");
	rule(s, "{\"action\":\"allow\",\"protocol\":\"udp\"}", 60, NOW_S + 50, b);
	assert_cloak(s, NOW_S + 109, "pending 3"); /* the deadline begins anew */
	assert_cloak(s, NOW_S + 110, "on 1");      /* what was before stays what it was */
	/* Too late to join: this change begins from what is in force again. */
	rule(s, "{\"action\":\"deny\",\"source\":\"10.0.0.0/8\"}", 60, NOW_S + 200, b);
	assert_cloak(s, NOW_S + 200, "pending 2");
	change(s, "{\"state\":\"off\"}", 60, NOW_S + 210);
	assert_cloak(s, NOW_S + 210, "off 2");
	assert_cloak(s, NOW_S + 999, "off 2");
	assert_int_equal(due_count(s), 0);
}

static void what_only_opens_is_done_at_once(void **state)
{
	struct suite *s = *state;
	struct cloak_edit e = edit(60, NOW_S);
	char allow[NETMAP_ID_MAX + 1], deny[NETMAP_ID_MAX + 1];
	CLEANUP(json) struct json_object *widen = json_tokener_parse("{\"priority\":7}");

	setup_network(s);
	rule(s, "{\"action\":\"allow\"}", 60, NOW_S, allow);
	rule(s, "{\"action\":\"deny\",\"source\":\"10.0.0.0/8\"}", 60, NOW_S, deny);
	change(s, "{\"state\":\"on\",\"scope\":\"all\"}", 0, NOW_S);
	rule(s, "{\"action\":\"allow\",\"protocol\":\"tcp\"}", 60, NOW_S, allow);
	assert_cloak(s, NOW_S, "on 3");
	SUITE_OK(s, cloak_rule_delete(s->r, &e, deny, &s->p));
	assert_cloak(s, NOW_S, "on 2");
	change(s, "{\"scope\":\"public\"}", 60, NOW_S);
	assert_cloak(s, NOW_S, "on 2");
	change(s, "{\"keep_ssh\":true}", 60, NOW_S);
	assert_cloak(s, NOW_S, "on 2");
	/* The order of rules is part of what they do. */
	SUITE_OK(s, cloak_rule_change(s->r, &e, allow, widen, &s->p));
	assert_cloak(s, NOW_S, "pending 2");
	confirm(s, NOW_S);
	change(s, "{\"keep_ssh\":false}", 60, NOW_S);
	assert_cloak(s, NOW_S, "pending 2");
}

static void restarts_and_other_consoles_change_nothing(void **state)
{
	struct suite *s = *state;
	char id[NETMAP_ID_MAX + 1];

	setup_network(s);
	change(s, "{\"state\":\"on\"}", 0, NOW_S);
	rule(s, "{\"action\":\"deny\"}", 60, NOW_S, id);
	suite_close(s);
	suite_open(s);
	assert_cloak(s, NOW_S + 1, "pending 1");
	cloak_take_back(s->r, NOW_S + 60, 10);
	cloak_take_back(s->r, NOW_S + 61, 10); /* the other console's turn */
	assert_cloak(s, 0, "on 0");
	/* Of a network that is gone nothing is left to take back. */
	rule(s, "{\"action\":\"deny\"}", 60, NOW_S + 100, id);
	SUITE_OK(s, network_delete(s->r, &suite_actor, "blue", NULL, &s->p));
	assert_int_equal(due_count(s), 0);
	cloak_take_back(s->r, NOW_S + 1000, 10);
}

/* Rules for one node go with it, out of what is in force and out of what to go back to. */
static void rules_go_with_their_node(void **state)
{
	struct suite *s = *state;
	char id[NETMAP_ID_MAX + 1];

	setup_network(s);
	suite_node(s, "blue", "web");
	rule(s, "{\"action\":\"allow\",\"node\":\"web\"}", 0, NOW_S, id);
	rule(s, "{\"action\":\"allow\",\"protocol\":\"tcp\"}", 0, NOW_S, id);
	change(s, "{\"state\":\"on\"}", 0, NOW_S);
	rule(s, "{\"action\":\"deny\",\"node\":\"web\"}", 60, NOW_S, id);
	assert_cloak(s, NOW_S, "pending 3");
	SUITE_OK(s, node_remove(s->r, &suite_actor, "web", NULL, &s->p));
	assert_cloak(s, NOW_S, "pending 1");
	assert_cloak(s, NOW_S + 60, "on 1");
}

static void rules_as_lines(void **state)
{
	static const struct {
		const char *rule, *line;
	} cases[] = {{"{\"action\":\"allow\",\"protocol\":\"any\"}", "allow any from anywhere"},
		{"{\"action\":\"deny\",\"protocol\":\"tcp\",\"ports\":\"1-2\",\"source\":\"::/0\","
		 "\"interface\":\"eth0\",\"node\":\"node_1\"}",
			"deny tcp 1-2 from ::/0 at eth0 on web"},
		{"{\"action\":\"deny\",\"protocol\":\"gre\",\"node\":\"node_2\"}",
			"deny gre from anywhere on node_2"}};
	CLEANUP(json) struct json_object *names = json_tokener_parse("{\"node_1\":\"web\"}");
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(json) struct json_object *o = json_tokener_parse(cases[i].rule);

		cloak_rule_format(o, names, text, sizeof(text));
		assert_string_equal(text, cases[i].line);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(switching_on_has_to_be_confirmed),
		T(further_changes_join_the_pending_one),
		T(what_only_opens_is_done_at_once),
		T(restarts_and_other_consoles_change_nothing),
		T(rules_go_with_their_node),
		cmocka_unit_test(rules_as_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
