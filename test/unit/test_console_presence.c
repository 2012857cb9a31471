/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes other consoles hear: two registries on one etcd, and time as an argument. */
#include "console-api/presence.h"
#include "console-api/store_etcd.h"
#include "lib/clock.h"
#include "test/unit/console_suite.h"
#include "test/unit/etcd_server.h"

struct pair {
	struct etcd_server *etcd;
	struct suite a, b; /* b has the registry only */
	uint64_t now_ns;
};

static struct registry *open_one(struct pair *p, const char *instance, const char *key_path)
{
	const char *const endpoints[] = {p->etcd->url};
	const struct store_etcd_options options = {
		.etcd = {.endpoints = endpoints, .endpoint_count = 1, .timeout_ms = 2000},
		.prefix = "/van/",
		.instance = instance,
	};
	struct registry *r = NULL;
	struct store *s = NULL;
	struct err e = {0};

	if (store_etcd_open(&options, 10000, &s, &e) || registry_open(s, key_path, &r, &e))
		fail_msg("%s", e.text);
	r->public_url = "https://console.test:8443";
	presence_new(r, p->now_ns);
	assert_int_equal(store_start(s, &e), 0);
	return r;
}

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	suite_dir(&p->a);
	p->etcd = etcd_server_new("--max-txn-ops=128");
	p->now_ns = clock_boottime_ns();
	p->a.r = open_one(p, "aa", p->a.key_path);
	p->b.r = open_one(p, "bb", p->a.key_path);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	suite_close(&p->a);
	suite_close(&p->b);
	suite_remove_files(&p->a);
	etcd_server_free(p->etcd);
	free(p);
	return 0;
}

/* Until b has what a has written, and the other way round. */
static void catch_up(struct pair *p)
{
	uint64_t a = 0, b = 1;

	for (int i = 0; i < 30000 && a != b; i++) {
		store_poll(p->a.r->store);
		store_poll(p->b.r->store);
		store_revision(p->a.r->store, &a);
		store_revision(p->b.r->store, &b);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	assert_int_equal(a, b);
}

static void turn(struct pair *p, struct registry *r)
{
	presence_turn(r, p->now_ns, clock_wall_ns());
	catch_up(p);
}

static void later(struct pair *p, uint64_t seconds)
{
	p->now_ns += seconds * NS_PER_S;
}

static void heard_by_the_other(void **state)
{
	struct pair *p = *state;
	struct enrolled node;
	uint64_t seen_s, before, after;

	suite_network(&p->a, "blue", "172.16.1.0/24", NULL);
	node = suite_node(&p->a, "blue", "web");
	catch_up(p);
	assert_false(presence_elsewhere(p->b.r, node.node_id, p->now_ns, &seen_s));
	assert_int_equal(seen_s, 0);
	soft_seen(p->a.r->soft, node.node_id, p->now_ns, clock_wall_ns());
	turn(p, p->a.r);
	assert_true(presence_elsewhere(p->b.r, node.node_id, p->now_ns, &seen_s));
	assert_true(seen_s > 1000000000);
	/* Its own claim is not elsewhere. */
	assert_false(presence_elsewhere(p->a.r, node.node_id, p->now_ns, NULL));
	/* A steady state writes pulses, and nothing else. */
	before = suite_revision(&p->a);
	for (int i = 0; i < 4; i++) {
		later(p, 2);
		soft_seen(p->a.r->soft, node.node_id, p->now_ns, clock_wall_ns());
		turn(p, p->a.r);
	}
	assert_int_equal(suite_revision(&p->a), before);
	turn(p, p->b.r);
	/* It goes to the other console: that takes over when the first one has noticed. */
	later(p, 10);
	soft_seen(p->b.r->soft, node.node_id, p->now_ns, clock_wall_ns());
	turn(p, p->b.r);
	assert_false(presence_elsewhere(p->a.r, node.node_id, p->now_ns, NULL));
	later(p, 31);
	turn(p, p->a.r);
	soft_seen(p->b.r->soft, node.node_id, p->now_ns, clock_wall_ns());
	turn(p, p->b.r);
	assert_true(presence_elsewhere(p->a.r, node.node_id, p->now_ns, NULL));
	/* Silent for everybody: both know when it was last heard. */
	later(p, 31);
	turn(p, p->b.r);
	turn(p, p->a.r);
	assert_false(presence_elsewhere(p->a.r, node.node_id, p->now_ns, &seen_s));
	assert_true(seen_s > 1000000000);
	after = suite_revision(&p->a);
	assert_true(after > before);
	SUITE_OK(&p->a, node_remove(p->a.r, &suite_actor, "web", NULL, &p->a.p));
	turn(p, p->a.r);
	assert_int_equal(store_count(p->a.r->store, "/online/", &after), 0);
	assert_int_equal(after, 0);
}

static void a_console_that_died_hears_nobody(void **state)
{
	struct pair *p = *state;
	struct enrolled node;

	suite_network(&p->a, "blue", "172.16.1.0/24", NULL);
	node = suite_node(&p->a, "blue", "web");
	soft_seen(p->a.r->soft, node.node_id, p->now_ns, clock_wall_ns());
	turn(p, p->a.r);
	assert_true(presence_elsewhere(p->b.r, node.node_id, p->now_ns, NULL));
	suite_close(&p->a);
	later(p, 30);
	assert_true(presence_elsewhere(p->b.r, node.node_id, p->now_ns, NULL));
	later(p, 10);
	assert_false(presence_elsewhere(p->b.r, node.node_id, p->now_ns, NULL));
	/* The node found its way to the other one, which takes it over. */
	soft_seen(p->b.r->soft, node.node_id, p->now_ns, clock_wall_ns());
	presence_turn(p->b.r, p->now_ns, clock_wall_ns());
	/* The first one comes back: what it said once is not its to say any more. */
	p->a.r = open_one(p, "aa", p->a.key_path);
	turn(p, p->a.r);
	assert_true(presence_elsewhere(p->a.r, node.node_id, p->now_ns, NULL));
}

/* What a console said before a restart holds until the node had its time to be heard again. */
static void restarted_console(void **state)
{
	struct pair *p = *state;
	struct enrolled node;

	suite_network(&p->a, "blue", "172.16.1.0/24", NULL);
	node = suite_node(&p->a, "blue", "web");
	soft_seen(p->a.r->soft, node.node_id, p->now_ns, clock_wall_ns());
	turn(p, p->a.r);
	suite_close(&p->a);
	p->a.r = open_one(p, "aa", p->a.key_path);
	later(p, 20);
	turn(p, p->a.r);
	assert_true(presence_elsewhere(p->b.r, node.node_id, p->now_ns, NULL));
	later(p, 11);
	turn(p, p->a.r);
	assert_false(presence_elsewhere(p->b.r, node.node_id, p->now_ns, NULL));
}

static void ephemeral_nodes(void **state)
{
	struct pair *p = *state;
	const struct jointoken_spec spec = {.uses = 2, .ttl_s = 600, .ephemeral_s = 60};
	uint8_t secret[TOKEN_SECRET_LEN];
	struct enrolment en;
	struct enrolled node;
	uint64_t n;

	suite_network(&p->a, "blue", "172.16.1.0/24", NULL);
	suite_token(&p->a, "blue", &spec, secret, NULL);
	en = suite_enrolment(secret, "web");
	SUITE_OK(&p->a,
		agent_enroll(p->a.r, &suite_actor, &en, (uint64_t)time(NULL), &node, &p->a.p));
	/* Five minutes of reports to one console: the other one does not take it for gone. */
	for (int i = 0; i < 30; i++) {
		later(p, 10);
		soft_seen(p->a.r->soft, node.node_id, p->now_ns, clock_wall_ns());
		turn(p, p->a.r);
		turn(p, p->b.r);
		node_reap_ephemeral(p->b.r, p->now_ns, 10);
		node_reap_ephemeral(p->a.r, p->now_ns, 10);
	}
	assert_int_equal(store_count(p->b.r->store, "/nodes/", &n), 0);
	assert_int_equal(n, 1);
	/* Silent: gone after its time, by whichever console notices first. */
	later(p, 59);
	node_reap_ephemeral(p->a.r, p->now_ns, 10);
	catch_up(p);
	assert_int_equal(store_count(p->b.r->store, "/nodes/", &n), 0);
	assert_int_equal(n, 1);
	later(p, 2);
	node_reap_ephemeral(p->a.r, p->now_ns, 10);
	catch_up(p);
	assert_int_equal(store_count(p->b.r->store, "/nodes/", &n), 0);
	assert_int_equal(n, 0);
}

/* More than one transaction takes. */
static void many_nodes(void **state)
{
	struct pair *p = *state;
	const struct jointoken_spec spec = {.uses = 200, .ttl_s = 600};
	uint8_t secret[TOKEN_SECRET_LEN];
	uint64_t n = 0;

	suite_network(&p->a, "blue", "172.16.1.0/24", NULL);
	suite_token(&p->a, "blue", &spec, secret, NULL);
	for (int i = 0; i < 130; i++) {
		struct enrolment en = suite_enrolment(secret, "n");
		struct enrolled node;

		SUITE_OK(&p->a, agent_enroll(p->a.r, &suite_actor, &en, (uint64_t)time(NULL), &node,
					&p->a.p));
		soft_seen(p->a.r->soft, node.node_id, p->now_ns, clock_wall_ns());
	}
	turn(p, p->a.r);
	assert_int_equal(store_count(p->b.r->store, "/online/", &n), 0);
	assert_int_equal(n, 130);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(heard_by_the_other),
		T(a_console_that_died_hears_nobody),
		T(restarted_console),
		T(ephemeral_nodes),
		T(many_nodes),
	};

	if (!etcd_server_available())
		return etcd_server_skip();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
