/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/netmap_policy.h"

/* In the order in which it is written. */
static const char everything[] =
	"{\"gateways\":{\"gw_1\":{\"node\":\"n1\",\"prefixes\":[\"10.0.0.0/8\",\"::/0\"],\"metric\":100},"
	"\"gw_2\":{\"node\":\"n2\",\"prefixes\":[\"0.0.0.0/0\"],\"metric\":200}},"
	"\"serves\":{\"gw_2\":{\"mode\":\"nat\",\"health\":{\"kind\":\"tcp\",\"target\":\"192.0.2.1\","
	"\"port\":443,\"interval_s\":5,\"failures\":3}}},"
	"\"floating\":{\"fip_1\":{\"address\":\"172.16.1.9\"},"
	"\"fip_2\":{\"address\":\"fd00::9\",\"candidates\":[\"n1\",\"n2\"],\"assigned\":\"n2\",\"vrid\":7},"
	"\"fip_3\":{\"address\":\"172.16.1.8\",\"candidates\":[]}},"
	"\"cloak\":{\"state\":\"pending\",\"scope\":\"all\",\"keep_ssh\":true,\"rules\":{"
	"\"rule_2\":{\"action\":\"deny\",\"priority\":5,\"protocol\":\"any\",\"source\":\"10.0.0.0/8\"},"
	"\"rule_1\":{\"action\":\"allow\",\"priority\":5,\"protocol\":\"tcp\",\"ports\":\"8000-8100\","
	"\"interface\":\"eth0\"}},\"due_s\":1700000000,"
	"\"fallback\":{\"state\":\"off\",\"scope\":\"public\",\"keep_ssh\":false,\"rules\":{}}},"
	"\"cloak_own\":{\"rules\":{\"rule_3\":{\"action\":\"allow\",\"priority\":1,\"protocol\":\"udp\","
	"\"ports\":\"53\"}}}}";

static struct json_object *parse(const char *text)
{
	struct json_object *o;
	struct err e = {0};

	if (json_parse(text, strlen(text), &o, &e) != 0)
		fail_msg("%s: %s", e.text, text);
	return o;
}

static int read_text(const char *text, struct netmap_policy *policy, struct err *e)
{
	CLEANUP(json) struct json_object *o = parse(text);

	*policy = (struct netmap_policy){0};
	return netmap_policy_read(o, "/networks/0", policy, e);
}

static void reads_every_member(void **state)
{
	struct netmap_policy p;
	struct err e = {0};

	(void)state;
	if (read_text(everything, &p, &e))
		fail_msg("%s", e.text);
	assert_int_equal(p.gateway_count, 2);
	assert_string_equal(p.gateways[0].node, "n1");
	assert_int_equal(p.gateways[0].prefix_count, 2);
	assert_int_equal(p.gateways[0].prefixes[1].ip.family, AF_INET6);
	assert_false(p.gateways[0].own);
	assert_true(p.gateways[1].own && p.gateways[1].nat);
	assert_int_equal(p.gateways[1].health, NETMAP_HEALTH_TCP);
	assert_int_equal(p.gateways[1].port, 443);
	assert_int_equal(p.floating_count, 3);
	assert_true(p.floating[0].anybody);
	assert_int_equal(p.floating[1].candidate_count, 2);
	assert_string_equal(p.floating[1].candidates[1], "n2");
	assert_string_equal(p.floating[1].assigned, "n2");
	assert_int_equal(p.floating[1].vrid, 7);
	assert_false(p.floating[2].anybody);
	assert_int_equal(p.floating[2].candidate_count, 0);
	assert_true(p.cloak.on && p.cloak.all_interfaces && p.cloak.keep_ssh);
	assert_int_equal(p.cloak.rule_count, 3);
	/* By priority, then deny before allow. */
	assert_string_equal(p.cloak.rules[0].id, "rule_3");
	assert_true(p.cloak.rules[0].own);
	assert_string_equal(p.cloak.rules[1].id, "rule_2");
	assert_true(p.cloak.rules[1].deny);
	assert_int_equal(p.cloak.rules[2].first_port, 8000);
	assert_int_equal(p.cloak.rules[2].last_port, 8100);
	assert_string_equal(p.cloak.rules[2].interface, "eth0");
	assert_true(p.cloak_pending);
	assert_int_equal(p.cloak_due_s, 1700000000);
	assert_false(p.fallback.on);
	netmap_policy_done(&p);
}

static void round_trip(void **state)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	struct netmap_policy p;
	struct err e = {0};

	(void)state;
	if (read_text(everything, &p, &e))
		fail_msg("%s", e.text);
	netmap_policy_write(&p, o);
	netmap_policy_done(&p);
	assert_string_equal(json_object_to_json_string_ext(
				    o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
		everything);
}

/* Of an older console, and of a network without any of it. */
static void nothing_is_fine(void **state)
{
	static const char *const texts[] = {"{}", "{\"gateways\":[],\"filters\":[]}",
		"{\"gateways\":{},\"floating\":{}}", "{\"serves\":{\"gw_9\":{\"mode\":\"nat\"}}}",
		"{\"cloak_own\":{\"rules\":{}}}"};
	static const struct netmap_policy none;
	struct netmap_policy p;
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (read_text(texts[i], &p, &e))
			fail_msg("%s", e.text);
		assert_memory_equal(&p, &none, sizeof(p));
		netmap_policy_done(&p);
	}
}

static void words_of_a_newer_console_are_left_out(void **state)
{
	struct netmap_policy p;
	struct err e = {0};

	(void)state;
	if (read_text(
		    "{\"new\":1,\"gateways\":{\"a\":{\"node\":\"n\",\"prefixes\":[\"10.0.0.0/8\"],"
		    "\"metric\":1,\"new\":[]}},\"serves\":{\"a\":{\"mode\":\"teleport\"}},"
		    "\"cloak\":{\"state\":\"on\",\"scope\":\"all\",\"rules\":{"
		    "\"x\":{\"action\":\"limit\",\"ports\":\"what\"},"
		    "\"y\":{\"action\":\"allow\",\"priority\":1,\"protocol\":\"quic\"}}}}",
		    &p, &e))
		fail_msg("%s", e.text);
	assert_false(p.gateways[0].own);
	assert_int_equal(p.cloak.rule_count, 1);
	assert_string_equal(p.cloak.rules[0].id, "y");
	assert_string_equal(p.cloak.rules[0].protocol, "quic");
	assert_int_equal(p.cloak.rules[0].first_port, 0);
	netmap_policy_done(&p);
}

#define GW(more)   "{\"gateways\":{\"a\":{" more "}}}"
#define FIP(more)  "{\"floating\":{\"a\":{" more "}}}"
#define RULE(more) "{\"cloak\":{\"state\":\"on\",\"scope\":\"all\",\"rules\":{\"a\":{" more "}}}}"
#define GOOD_RULE  "\"action\":\"allow\",\"priority\":1,\"protocol\":\"tcp\""

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *text, *pointer;
	} cases[] = {
		{"{\"gateways\":5}", "/networks/0/gateways"},
		{"{\"gateways\":{\"a\":5}}", "/networks/0/gateways/a"},
		{"{\"gateways\":{\"a b\":{}}}", "/networks/0/gateways"},
		{GW(""), "/networks/0/gateways/a/node"},
		{GW("\"node\":\"n n\""), "/networks/0/gateways/a/node"},
		{GW("\"node\":\"n\",\"metric\":0"), "/networks/0/gateways/a/metric"},
		{GW("\"node\":\"n\",\"metric\":1,\"prefixes\":[]"),
			"/networks/0/gateways/a/prefixes"},
		{GW("\"node\":\"n\",\"metric\":1,\"prefixes\":[\"10.0.0.1/8\"]"),
			"/networks/0/gateways/a/prefixes"},
		{GW("\"node\":\"n\",\"metric\":1,\"prefixes\":[5]"),
			"/networks/0/gateways/a/prefixes"},
		{"{\"serves\":{\"a\":{\"mode\":\"nat\",\"health\":{\"kind\":\"tcp\","
		 "\"target\":\"192.0.2.1\",\"interval_s\":1,\"failures\":1}}}}",
			"/networks/0/serves/a/health/port"},
		{"{\"serves\":{\"a\":{\"mode\":\"nat\",\"health\":{\"kind\":\"icmp\","
		 "\"target\":\"x\"}}}}",
			"/networks/0/serves/a/health/target"},
		{FIP(""), "/networks/0/floating/a/address"},
		{FIP("\"address\":\"x\""), "/networks/0/floating/a/address"},
		{FIP("\"address\":\"::1\",\"candidates\":5"), "/networks/0/floating/a/candidates"},
		{FIP("\"address\":\"::1\",\"candidates\":[\"a\",\"\"]"),
			"/networks/0/floating/a/candidates"},
		{FIP("\"address\":\"::1\",\"assigned\":\"/\""), "/networks/0/floating/a/assigned"},
		{FIP("\"address\":\"::1\",\"vrid\":256"), "/networks/0/floating/a/vrid"},
		{"{\"cloak\":5}", "/networks/0/cloak"},
		{"{\"cloak\":{\"state\":\"off\",\"scope\":\"all\"}}", "/networks/0/cloak/state"},
		{"{\"cloak\":{\"state\":\"on\",\"scope\":\"some\"}}", "/networks/0/cloak/scope"},
		{"{\"cloak\":{\"state\":\"pending\",\"scope\":\"all\"}}",
			"/networks/0/cloak/due_s"},
		{"{\"cloak\":{\"state\":\"pending\",\"scope\":\"all\",\"due_s\":5}}",
			"/networks/0/cloak/fallback"},
		{RULE("\"action\":\"allow\",\"priority\":0"), "/networks/0/cloak/rules/a/priority"},
		{RULE("\"action\":\"allow\",\"priority\":1,\"protocol\":\"a b\""),
			"/networks/0/cloak/rules/a/protocol"},
		{RULE(GOOD_RULE ",\"ports\":\"5-4\""), "/networks/0/cloak/rules/a/ports"},
		{RULE(GOOD_RULE ",\"ports\":\"0\""), "/networks/0/cloak/rules/a/ports"},
		{RULE(GOOD_RULE ",\"ports\":\"70000\""), "/networks/0/cloak/rules/a/ports"},
		{RULE(GOOD_RULE ",\"ports\":\"1 \""), "/networks/0/cloak/rules/a/ports"},
		{RULE(GOOD_RULE ",\"source\":\"10.0.0.1/8\""), "/networks/0/cloak/rules/a/source"},
		{RULE(GOOD_RULE ",\"interface\":\"e;flush\""),
			"/networks/0/cloak/rules/a/interface"},
		{"{\"cloak\":{\"state\":\"on\",\"scope\":\"all\"},\"cloak_own\":{\"rules\":5}}",
			"/networks/0/cloak_own/rules"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct netmap_policy p;
		struct err e = {0};
		size_t len = strlen(cases[i].pointer);

		if (read_text(cases[i].text, &p, &e) != -VAN_E_INVALID)
			fail_msg("%s is taken", cases[i].text);
		if (strncmp(e.text, cases[i].pointer, len) != 0 || e.text[len] != ':')
			fail_msg("%s: \"%s\", want %s", cases[i].text, e.text, cases[i].pointer);
		netmap_policy_done(&p);
	}
}

static void too_many(void **state)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	struct json_object *all = json_object_new_object();
	struct netmap_policy p = {0};
	struct err e = {0};

	(void)state;
	json_object_object_add(o, "floating", all);
	for (int i = 0; i <= NETMAP_FLOATING_MAX; i++) {
		struct json_object *one = json_object_new_object();
		char id[16];

		snprintf(id, sizeof(id), "f%d", i);
		json_set_string(one, "address", "::1");
		json_object_object_add(all, id, one);
		assert_int_equal(netmap_policy_read(o, "", &p, &e),
			i < NETMAP_FLOATING_MAX ? 0 : -VAN_E_INVALID);
		netmap_policy_done(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_member),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(nothing_is_fine),
		cmocka_unit_test(words_of_a_newer_console_are_left_out),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
