/* SPDX-License-Identifier: Apache-2.0 */
/* Two machines with one identity, and what looks like it. */
#include "test/unit/console_suite.h"
#include "console-api/agent_clone.h"
#include "lib/clock.h"

static const uint64_t start_s = 1700000000;

struct scene {
	struct suite *s;
	char node[NETMAP_ID_MAX + 1];
	uint64_t now_s;
	uint64_t late_s; /* how long ago the next request was signed */
};

static struct scene scene_of(void **state, enum clone_policy policy)
{
	struct scene c = {.s = *state, .now_s = start_s};
	struct enrolled node;

	suite_network(c.s, "blue", "172.16.1.0/24", NULL);
	node = suite_node(c.s, "blue", "web");
	memcpy(c.node, node.node_id, sizeof(c.node));
	c.s->r->clone_policy = policy;
	return c;
}

/* A request of the instance, ten seconds after the one before. The status of the answer: 0 is 200. */
static int hear_any(struct scene *c, uint64_t instance, uint64_t start)
{
	const struct agenthello hello = {
		.version = "1.1", .protocol = 2, .instance = instance, .start = start};
	struct ip address;
	int rc;

	assert_true(ip_parse(instance % 2 ? "192.0.2.1" : "192.0.2.2", &address));
	c->now_s += 10;
	c->s->p = (struct problem){0};
	rc = agent_clone_check(c->s->r, c->node, &hello, c->now_s - c->late_s, &address,
		c->now_s * NS_PER_S, c->now_s, &c->s->p);
	c->late_s = 0;
	if (rc)
		assert_true(c->s->p.retry_after_s > 0);
	return rc ? c->s->p.status : 0;
}

static int hear(struct scene *c, uint64_t instance, uint64_t start)
{
	int status = hear_any(c, instance, start);

	if (status)
		assert_string_equal(c->s->p.word, "cloned");
	return status;
}

/* How many events of this severity there are. */
static size_t events(struct scene *c, const char *severity)
{
	CLEANUP(store_items) struct store_items rows = {0};
	size_t n = 0;

	assert_int_equal(store_range(c->s->r->store, "/events/", NULL, 0, &rows), 0);
	for (size_t i = 0; i < rows.count; i++)
		n += strstr(rows.items[i].value, severity) != NULL &&
		     strstr(rows.items[i].value, c->node) != NULL;
	return n;
}

#define ALARMS(c)    events(c, "\"error\"")
#define PUT_BACKS(c) events(c, "put back")

static void restarts(void **state)
{
	struct scene c = scene_of(state, CLONE_REENROL);
	uint64_t revision;

	for (uint64_t i = 1; i < 30; i++)
		for (int k = 0; k < 3; k++)
			assert_int_equal(hear(&c, i, i), 0);
	assert_int_equal(ALARMS(&c), 0);
	assert_int_equal(PUT_BACKS(&c), 0);
	/* Nothing is written as long as it is the same. */
	revision = suite_revision(c.s);
	for (int k = 0; k < 10; k++)
		assert_int_equal(hear(&c, 29, 29), 0);
	assert_int_equal(suite_revision(c.s), revision);
}

static int silent(struct scene *c, const struct ip *address)
{
	c->s->p = (struct problem){0};
	return agent_clone_check(
		c->s->r, c->node, NULL, c->now_s, address, c->now_s * NS_PER_S, c->now_s, &c->s->p);
}

static void agents_that_say_nothing(void **state)
{
	struct scene c = scene_of(state, CLONE_REENROL);
	struct ip address = {0};

	SUITE_OK(c.s, silent(&c, &address));
	SUITE_OK(c.s, silent(&c, &address));
	/* Who has said it once says it always: a copy could else leave it out. */
	assert_int_equal(hear(&c, 1, 1), 0);
	SUITE_PROBLEM(c.s, silent(&c, &address), 409, "cloned");
	assert_int_equal(hear(&c, 1, 1), 0);
	assert_int_equal(ALARMS(&c), 0);
}

/* Each of them is written down: not more than one a second, after a few. */
static void instances_without_end(void **state)
{
	struct scene c = scene_of(state, CLONE_ALARM);
	uint64_t before = suite_revision(c.s);
	int passed = 0;

	for (uint64_t i = 1; i <= 100; i++) {
		c.now_s -= 10;
		passed += hear_any(&c, i, i) == 0;
	}
	assert_int_equal(passed, 5);
	assert_true(suite_revision(c.s) - before == 5);
	for (uint64_t i = 101; i <= 110; i++) {
		c.now_s -= 9;
		assert_int_equal(hear_any(&c, i, i), 0);
	}
}

/* A disk that was put back: another instance, a counter that is not above the last. */
static void a_snapshot_of_the_disk(void **state)
{
	struct scene c = scene_of(state, CLONE_REENROL);

	hear(&c, 1, 5);
	hear(&c, 2, 6);
	assert_int_equal(hear(&c, 3, 6), 0);
	assert_int_equal(hear(&c, 4, 3), 0);
	assert_int_equal(hear(&c, 4, 3), 0);
	assert_int_equal(ALARMS(&c), 0);
	assert_int_equal(PUT_BACKS(&c), 1); /* said once in ten minutes */
	c.now_s += 600;
	assert_int_equal(hear(&c, 5, 3), 0);
	assert_int_equal(PUT_BACKS(&c), 2);
}

/* With its memory: an instance that had been replaced speaks again, and the other one never. */
static void a_snapshot_with_memory(void **state)
{
	struct scene c = scene_of(state, CLONE_REENROL);

	hear(&c, 1, 1);
	hear(&c, 2, 2);
	for (int i = 0; i < 5; i++)
		assert_int_equal(hear(&c, 1, 1), 0);
	assert_int_equal(hear(&c, 3, 2), 0); /* and it is restarted */
	assert_int_equal(ALARMS(&c), 0);
	/* The same some time later. */
	c.now_s += 3600;
	assert_int_equal(hear(&c, 1, 1), 0);
	assert_int_equal(hear(&c, 1, 1), 0);
	assert_int_equal(ALARMS(&c), 0);
}

/* What was under way when the process was replaced. */
static void stragglers(void **state)
{
	struct scene c = scene_of(state, CLONE_REENROL);

	hear(&c, 1, 1);
	for (uint64_t i = 2; i < 10; i++) {
		hear(&c, i, i);
		c.now_s -= 9;
		assert_int_equal(hear(&c, i - 1, i - 1), 0);
		c.now_s -= 9;
		assert_int_equal(hear(&c, i, i), 0);
	}
	assert_int_equal(ALARMS(&c), 0);
}

/* What a process that has ended had sent, and the kernel repeats until it gets through. */
static void late_stragglers(void **state)
{
	struct scene c = scene_of(state, CLONE_REENROL);

	for (uint64_t i = 1; i < 10; i++) {
		assert_int_equal(hear(&c, i, i), 0);
		for (int k = 0; i > 1 && k < 3; k++) {
			c.late_s = 31 + 20 * (uint64_t)k;
			assert_int_equal(hear(&c, i - 1, i - 1), 0);
			assert_int_equal(hear(&c, i, i), 0);
		}
		c.now_s += 60;
	}
	assert_int_equal(ALARMS(&c), 0);
}

/* Of two machines, the first one's clock is behind. */
static void clocks_that_differ(void **state)
{
	struct scene c = scene_of(state, CLONE_ALARM);
	int rounds = 0;

	assert_int_equal(hear(&c, 1, 1), 0);
	for (; ALARMS(&c) == 0 && rounds < 60; rounds++) {
		assert_int_equal(hear(&c, 2, 1), 0);
		c.late_s = 200;
		assert_int_equal(hear(&c, 1, 1), 0);
	}
	assert_in_range(rounds, 2, 15);
}

/* The way back to version 0.1, whose agents say nothing: by a token only. */
static void silent_ones_have_to_enrol(void **state)
{
	struct scene c = scene_of(state, CLONE_ALARM);
	bool locked;

	SUITE_OK(c.s, agent_clone_locked(c.s->r, c.node, true, &locked, &c.s->p));
	assert_false(locked);
	assert_int_equal(hear(&c, 1, 1), 0);
	SUITE_OK(c.s, agent_clone_locked(c.s->r, c.node, false, &locked, &c.s->p));
	assert_false(locked);
	SUITE_OK(c.s, agent_clone_locked(c.s->r, c.node, true, &locked, &c.s->p));
	assert_true(locked);
}

static void two_machines(void **state)
{
	struct scene c = scene_of(state, CLONE_ALARM);
	uint64_t revision;

	hear(&c, 1, 5);
	hear(&c, 2, 6);
	hear(&c, 1, 5);
	assert_int_equal(ALARMS(&c), 0);
	assert_int_equal(hear(&c, 2, 6), 0);
	assert_int_equal(ALARMS(&c), 1);
	/* Said once, and nothing is written for each of their requests from here on. */
	revision = suite_revision(c.s);
	for (int i = 0; i < 50; i++)
		assert_int_equal(hear(&c, 1 + (uint64_t)(i % 2), 5), 0);
	assert_int_equal(ALARMS(&c), 1);
	assert_int_equal(suite_revision(c.s), revision);
	/* One of them is started anew: found out again. */
	for (int i = 0; i < 4; i++) {
		hear(&c, 3, 7);
		hear(&c, 1, 5);
	}
	assert_int_equal(ALARMS(&c), 2);
}

/* Two consoles: each hears one of them. What they know is in the store. */
static void through_two_consoles(void **state)
{
	struct scene c = scene_of(state, CLONE_ALARM);

	for (int i = 0; i < 2; i++) {
		hear(&c, 1, 5);
		suite_close(c.s);
		suite_open(c.s);
		hear(&c, 2, 6);
		suite_close(c.s);
		suite_open(c.s);
	}
	assert_int_equal(ALARMS(&c), 1);
}

static void found_out(struct scene *c)
{
	size_t before = ALARMS(c);

	hear(c, 1, 5);
	hear(c, 2, 6);
	hear(c, 1, 5);
	hear(c, 2, 6);
	assert_int_equal(ALARMS(c), before + 1);
}

static void reject(void **state)
{
	struct scene c = scene_of(state, CLONE_REJECT);

	found_out(&c);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(hear(&c, 2, 6), 409);
		assert_int_equal(hear(&c, 1, 5), 0);
	}
	suite_close(c.s);
	suite_open(c.s);
	c.s->r->clone_policy = CLONE_REJECT;
	assert_int_equal(hear(&c, 2, 6), 409); /* a restart of the console changes nothing */
	assert_int_equal(hear(&c, 1, 5), 0);
	assert_int_equal(hear(&c, 3, 6), 0); /* a restart of the node does */
	assert_int_equal(hear(&c, 2, 6), 409);
	assert_int_equal(ALARMS(&c), 1);
}

static void replace(void **state)
{
	struct scene c = scene_of(state, CLONE_REPLACE);

	found_out(&c);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(hear(&c, 1, 5), 409);
		assert_int_equal(hear(&c, 2, 6), 0);
	}
}

static void re_enrol(void **state)
{
	struct scene c = scene_of(state, CLONE_REENROL);
	const struct jointoken_spec one = {.uses = 1, .ttl_s = 60};
	CLEANUP(record) struct record node = {0};
	uint8_t secret[TOKEN_SECRET_LEN];
	struct enrolment en;
	struct enrolled out;
	const struct ip nowhere = {0};
	bool locked = true;

	SUITE_OK(c.s, agent_clone_locked(c.s->r, c.node, false, &locked, &c.s->p));
	assert_false(locked);
	found_out(&c);
	SUITE_OK(c.s, agent_clone_locked(c.s->r, c.node, false, &locked, &c.s->p));
	assert_true(locked);
	assert_int_equal(hear(&c, 1, 5), 409);
	assert_int_equal(hear(&c, 2, 6), 409);
	assert_int_equal(hear(&c, 3, 7), 409); /* to start it anew is not enough */
	SUITE_PROBLEM(c.s, silent(&c, &nowhere), 409, "cloned"); /* nor is to say nothing */

	suite_token(c.s, "blue", &one, secret, NULL);
	en = suite_enrolment(secret, "x");
	SUITE_OK(c.s, node_load(c.s->r, c.node, &node, &c.s->p));
	assert_true(key_parse(record_text(node.o, "public_key"), &en.public_key));
	assert_true(key_parse(record_text(node.o, "sign_key"), &en.sign_key));
	SUITE_OK(c.s, agent_enroll(c.s->r, &suite_actor, &en, (uint64_t)time(NULL), &out, &c.s->p));
	assert_string_equal(out.node_id, c.node);
	assert_int_equal(hear(&c, 3, 7), 0);
	/* The token was spent by that: it opens the door once. */
	found_out(&c);
	assert_int_equal(hear(&c, 3, 7), 409);
	SUITE_PROBLEM(c.s,
		agent_enroll(c.s->r, &suite_actor, &en, (uint64_t)time(NULL), &out, &c.s->p), 403,
		"token_used_up");
}

static void a_node_that_is_removed(void **state)
{
	struct scene c = scene_of(state, CLONE_REENROL);
	CLEANUP(store_items) struct store_items rows = {0};
	const struct agenthello hello = {.version = "1.1", .instance = 9};
	const struct ip address = {0};

	found_out(&c);
	SUITE_OK(c.s, node_remove(c.s->r, &suite_actor, c.node, NULL, &c.s->p));
	assert_int_equal(store_range(c.s->r->store, "/instances/", NULL, 0, &rows), 0);
	assert_int_equal(rows.count, 0);
	SUITE_PROBLEM(c.s,
		agent_clone_check(c.s->r, c.node, &hello, c.now_s, &address, c.now_s * NS_PER_S,
			c.now_s, &c.s->p),
		410, "node_removed");
}

static void policies(void **state)
{
	static const char *const names[] = {"alarm", "reject", "replace", "re-enrol"};
	enum clone_policy policy;

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		assert_true(clone_policy_parse(names[i], &policy));
		assert_int_equal(policy, i);
	}
	assert_false(clone_policy_parse("", &policy));
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(restarts),
		T(agents_that_say_nothing),
		T(instances_without_end),
		T(a_snapshot_of_the_disk),
		T(a_snapshot_with_memory),
		T(stragglers),
		T(late_stragglers),
		T(clocks_that_differ),
		T(silent_ones_have_to_enrol),
		T(two_machines),
		T(through_two_consoles),
		T(reject),
		T(replace),
		T(re_enrol),
		T(a_node_that_is_removed),
		cmocka_unit_test(policies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
