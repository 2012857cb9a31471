/* SPDX-License-Identifier: Apache-2.0 */
/* What the console forgets by and by, and what it writes of nodes that come and go. */
#include "test/unit/console_suite.h"

#include "console-api/presence.h"
#include "console-api/prune.h"
#include "lib/clock.h"

#define DAY_NS (86400 * NS_PER_S)

static uint64_t count(struct suite *s, const char *prefix)
{
	uint64_t n = 0;

	assert_int_equal(store_count(s->r->store, prefix, &n), 0);
	return n;
}

static void prune(struct suite *s, uint64_t wall_ns)
{
	for (int i = 0; i < 20; i++)
		prune_turn(s->r, wall_ns);
}

/* -- tokens -- */

static void tokens_that_let_nobody_in(void **state)
{
	struct suite *s = *state;
	const struct jointoken_spec one = {.uses = 1, .ttl_s = 100 * 86400};
	const struct jointoken_spec brief = {.uses = 1, .ttl_s = 86400};
	char live[NETMAP_ID_MAX + 1], revoked[NETMAP_ID_MAX + 1];
	uint64_t now_ns = clock_wall_ns();
	uint8_t secret[TOKEN_SECRET_LEN];

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_token(s, "blue", &one, secret, live);
	suite_token(s, "blue", &one, secret, revoked);
	suite_token(s, "blue", &brief, secret, NULL);
	suite_node(s, "blue", "web"); /* has used one up */
	SUITE_OK(s, jointoken_revoke(s->r, &suite_actor, revoked, NULL, &s->p));
	assert_int_equal(count(s, "/tokens/"), 4);
	prune(s, now_ns + 29 * DAY_NS);
	assert_int_equal(count(s, "/tokens/"), 4);
	/* From when it was revoked or used up on, not from when it would have expired. */
	prune(s, now_ns + 30 * DAY_NS + 60 * NS_PER_S);
	assert_int_equal(count(s, "/tokens/"), 2);
	prune(s, now_ns + 31 * DAY_NS + 60 * NS_PER_S);
	assert_int_equal(count(s, "/tokens/"), 1);
	assert_int_equal(count(s, KEY("/tokens/%s", live)), 1);
	assert_int_equal(count(s, "/token-uses/"), 0);
	assert_int_equal(count(s, "/token-hash/"), 1);
	assert_int_equal(count(s, "/net-tokens/"), 1);
	assert_int_equal(count(s, "/nodes/"), 1);
}

static void many_tokens_and_one_of_many_uses(void **state)
{
	struct suite *s = *state;
	const struct jointoken_spec brief = {.uses = 1, .ttl_s = 60},
				    many = {.uses = 100, .ttl_s = 60};
	uint64_t now_ns = clock_wall_ns();
	uint8_t secret[TOKEN_SECRET_LEN];
	struct enrolment en;
	struct enrolled out;

	suite_network(s, "blue", "172.16.0.0/16", NULL);
	for (int i = 0; i < 150; i++)
		suite_token(s, "blue", &brief, secret, NULL);
	suite_token(s, "blue", &many, secret, NULL);
	for (int i = 0; i < 100; i++) {
		en = suite_enrolment(secret, "web");
		SUITE_OK(s, agent_enroll(s->r, &suite_actor, &en, now_ns / NS_PER_S, &out, &s->p));
	}
	prune(s, now_ns + 31 * DAY_NS);
	assert_int_equal(count(s, "/tokens/"), 0);
	assert_int_equal(count(s, "/token-uses/"), 0);
	assert_int_equal(count(s, "/org-tokens/"), 0);
}

/* -- removed nodes -- */

static void removed_nodes(void **state)
{
	struct suite *s = *state;
	const struct jointoken_spec three = {.uses = 3, .ttl_s = 200 * 86400};
	uint64_t now_ns = clock_wall_ns();
	uint8_t secret[TOKEN_SECRET_LEN];
	struct enrolment en, thief;
	struct enrolled out;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_token(s, "blue", &three, secret, NULL);
	en = suite_enrolment(secret, "web");
	thief = suite_enrolment(secret, "thief");
	thief.public_key = en.public_key;
	SUITE_OK(s, agent_enroll(s->r, &suite_actor, &en, now_ns / NS_PER_S, &out, &s->p));
	SUITE_PROBLEM(s, agent_enroll(s->r, &suite_actor, &thief, now_ns / NS_PER_S, &out, &s->p),
		409, "key_taken");
	SUITE_OK(s, node_remove(s->r, &suite_actor, "web", NULL, &s->p));
	SUITE_PROBLEM(s, agent_enroll(s->r, &suite_actor, &thief, now_ns / NS_PER_S, &out, &s->p),
		409, "key_taken");
	prune(s, now_ns + 89 * DAY_NS);
	assert_int_equal(count(s, "/gone/"), 1);
	assert_int_equal(count(s, "/gone-keys/"), 1);
	/* The same machine comes back as another node, and goes again: the key is that one's. */
	SUITE_OK(s, agent_enroll(s->r, &suite_actor, &en, now_ns / NS_PER_S, &out, &s->p));
	assert_true(out.created);
	SUITE_OK(s, node_remove(s->r, &suite_actor, "web", NULL, &s->p));
	assert_int_equal(count(s, "/gone/"), 2);
	assert_int_equal(count(s, "/gone-keys/"), 1);
	prune(s, now_ns + 91 * DAY_NS);
	assert_int_equal(count(s, "/gone/"), 0);
	assert_int_equal(count(s, "/gone-keys/"), 0);
}

/* -- nodes that come and go -- */

static size_t events(struct suite *s, const char *text)
{
	CLEANUP(store_items) struct store_items rows = {0};
	size_t n = 0;

	assert_int_equal(store_range(s->r->store, "/events/", NULL, 0, &rows), 0);
	for (size_t i = 0; i < rows.count; i++)
		n += strstr(rows.items[i].value, text) != NULL;
	return n;
}

static void one_node_comes_and_goes(void **state)
{
	struct suite *s = *state;
	uint64_t now_ns = 5000 * NS_PER_S;
	struct enrolled node;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	node = suite_node(s, "blue", "web");
	presence_events(s->r, now_ns);
	soft_seen(s->r->soft, node.node_id, now_ns, clock_wall_ns());
	presence_events(s->r, now_ns + 29 * NS_PER_S);
	assert_int_equal(events(s, "line"), 0);
	now_ns += 31 * NS_PER_S;
	presence_events(s->r, now_ns);
	presence_events(s->r, now_ns + NS_PER_S);
	assert_int_equal(events(s, "web is offline: it was not heard for 31 s"), 1);
	soft_seen(s->r->soft, node.node_id, now_ns + 2 * NS_PER_S, clock_wall_ns());
	presence_events(s->r, now_ns + 2 * NS_PER_S);
	presence_events(s->r, now_ns + 3 * NS_PER_S);
	assert_int_equal(events(s, "web is online again"), 1);
	/* To and fro all the time: one pair in five minutes. */
	for (int i = 0; i < 7; i++) {
		now_ns += 35 * NS_PER_S;
		presence_events(s->r, now_ns);
		soft_seen(s->r->soft, node.node_id, now_ns, clock_wall_ns());
		presence_events(s->r, now_ns);
	}
	assert_int_equal(events(s, "line"), 2);
	now_ns += 100 * NS_PER_S;
	presence_events(s->r, now_ns);
	assert_int_equal(events(s, "web is offline"), 2);
	SUITE_OK(s, node_remove(s->r, &suite_actor, "web", NULL, &s->p));
	presence_events(s->r, now_ns + 900 * NS_PER_S);
	assert_int_equal(events(s, "line"), 3);
}

static void many_at_once(void **state)
{
	struct suite *s = *state;
	const struct jointoken_spec many = {.uses = 200, .ttl_s = 600};
	uint64_t now_ns = 5000 * NS_PER_S;
	uint8_t secret[TOKEN_SECRET_LEN];
	char ids[200][NETMAP_ID_MAX + 1];
	struct enrolment en;
	struct enrolled out;

	suite_network(s, "blue", "172.16.0.0/16", NULL);
	suite_token(s, "blue", &many, secret, NULL);
	for (int i = 0; i < 200; i++) {
		en = suite_enrolment(secret, "web");
		SUITE_OK(s,
			agent_enroll(s->r, &suite_actor, &en, (uint64_t)time(NULL), &out, &s->p));
		snprintf(ids[i], sizeof(ids[i]), "%s", out.node_id);
		soft_seen(s->r->soft, ids[i], now_ns, clock_wall_ns());
	}
	now_ns += 60 * NS_PER_S;
	presence_events(s->r, now_ns);
	presence_events(s->r, now_ns);
	assert_int_equal(events(s, "line"), 1);
	assert_int_equal(events(s, "200 nodes went offline at once"), 1);
	for (int i = 0; i < 200; i++)
		soft_seen(s->r->soft, ids[i], now_ns, clock_wall_ns());
	presence_events(s->r, now_ns);
	assert_int_equal(events(s, "200 nodes are online again"), 1);
	assert_int_equal(events(s, "line"), 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(tokens_that_let_nobody_in),
		T(many_tokens_and_one_of_many_uses),
		T(removed_nodes),
		T(one_node_comes_and_goes),
		T(many_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
