/* SPDX-License-Identifier: Apache-2.0 */
/* The path MTU search within sessions: when it begins and ends, what it leaves alone, what it costs. */
#include "test/unit/session_sim.h"

#define OVERHEAD4 (28 + MESSAGE_OVERHEAD)

static struct sim *sim_with_discovery(uint64_t seed)
{
	struct sim *sim = sim_new(seed, 5 * MS);

	for (size_t n = 0; n < SIM_NODES; n++)
		sim->nodes[n].config.pmtu_raise_ns = 600 * S;
	return sim;
}

static void assert_path(struct sim *sim, size_t of, size_t peer, uint16_t mtu)
{
	const struct peer *p = sim->nodes[of].peers[peer];
	struct session_view v = sim_view(sim, of, peer);
	bool final;

	assert_int_equal(v.path_mtu, mtu);
	assert_true(v.path_mtu_final);
	assert_int_equal(peer_path(p, &final), mtu - OVERHEAD4);
	assert_true(final);
}

static uint64_t probes(struct sim *sim, size_t n)
{
	return sim_stat(sim, n, STAT_pmtu_probes);
}

/* Traffic that deserves a check: the simulation's frames are small. */
static void busy(struct sim *sim, size_t from, size_t to, unsigned int seconds)
{
	for (unsigned int i = 0; i < seconds * 10; i++) {
		struct keypair *k = sim->nodes[from].peers[to]->current;

		if (sim_send_frame(sim, from, to) && k)
			stats_add(&k->tx[MESSAGE_LANE_WORKER].bytes, 2000);
		sim_run(sim, 100 * MS);
	}
}

static void test_found_with_the_session(void **state)
{
	struct sim *sim = sim_with_discovery(1);

	(void)state;
	sim_start(sim);
	assert_int_equal(peer_frame_max(sim->nodes[0].peers[1]), UINT16_MAX);
	sim_connect(sim, 0, 1);
	/* The smaller of both ends' interfaces, found by a probe each. */
	assert_path(sim, 0, 1, 1500);
	assert_path(sim, 1, 0, 1500);
	assert_int_equal(probes(sim, 0), 1);
	assert_int_equal(probes(sim, 1), 1);
	assert_int_equal(peer_frame_max(sim->nodes[0].peers[2]), UINT16_MAX);
	sim_free(sim);
}

static void test_each_direction_by_itself(void **state)
{
	struct sim *sim = sim_with_discovery(2);

	(void)state;
	sim->nodes[0].path_takes = 1400;
	sim->nodes[1].path_takes = 1333;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sim_run(sim, 8 * S);
	assert_path(sim, 0, 1, 1400);
	assert_path(sim, 1, 0, 1333);
	sim_free(sim);
}

/* Switched off: nothing is different from before there was discovery. */
static void test_off(void **state)
{
	struct sim *sim = sim_new(3, 5 * MS);

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sim_run(sim, 30 * S);
	assert_int_equal(probes(sim, 0) + probes(sim, 1), 0);
	assert_int_equal(sim_view(sim, 0, 1).path_mtu, 0);
	assert_int_equal(peer_frame_max(sim->nodes[0].peers[1]), UINT16_MAX);
	sim_free(sim);
}

/* Probes are no data: they keep no session alive, and their loss is no silence of the peer. */
static void test_leaves_an_idle_session_alone(void **state)
{
	(void)state;
	for (unsigned int lossy = 0; lossy < 2; lossy++) {
		struct sim *sim = sim_with_discovery(4);
		uint64_t before;

		if (lossy)
			sim->nodes[0].path_takes = sim->nodes[1].path_takes = 1;
		sim_start(sim);
		sim_connect(sim, 0, 1);
		sim_run(sim, 20 * S);
		sim_assert_connected(sim, 0, 1);
		assert_int_equal(sim->nodes[0].sent[MESSAGE_INIT], 1);
		before = sim_all_sent(sim, 0) + sim_all_sent(sim, 1);
		/* Nothing more to the end of the key, and no new one. */
		sim_run(sim, 150 * S);
		assert_int_equal(sim_all_sent(sim, 0) + sim_all_sent(sim, 1), before);
		sim_run(sim, 60 * S);
		assert_int_equal(sim_state(sim, 0, 1), PEER_IDLE);
		assert_int_equal(sim_all_sent(sim, 0) + sim_all_sent(sim, 1), before);
		sim_free(sim);
	}
}

/* What was found stays, through new keys and through times without a session. */
static void test_result_outlives_keys(void **state)
{
	struct sim *sim = sim_with_discovery(5);
	uint64_t before;

	(void)state;
	sim->nodes[0].path_takes = 1400;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sim_run(sim, 8 * S);
	assert_path(sim, 0, 1, 1400);
	before = probes(sim, 0);
	for (int i = 0; i < 300; i++) { /* next to nothing to send */
		sim_send_frame(sim, 0, 1);
		sim_send_frame(sim, 1, 0);
		sim_run(sim, 1 * S);
	}
	assert_true(sim_stat(sim, 0, STAT_rekeys) >= 1);
	assert_int_equal(probes(sim, 0), before);
	sim_run(sim, 600 * S);
	assert_int_equal(sim_state(sim, 0, 1), PEER_IDLE);
	assert_int_equal(sim_view(sim, 0, 1).path_mtu, 1400);
	sim_connect(sim, 0, 1);
	assert_path(sim, 0, 1, 1400);
	assert_int_equal(probes(sim, 0), before);
	/* With traffic it is confirmed, and then asked for more. */
	sim->nodes[0].path_takes = 1450;
	busy(sim, 0, 1, 20);
	assert_path(sim, 0, 1, 1450);
	sim_free(sim);
}

static void test_black_hole(void **state)
{
	struct sim *sim = sim_with_discovery(6);

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	busy(sim, 0, 1, 10);
	assert_path(sim, 0, 1, 1500);
	sim->nodes[0].path_takes = 1422;
	busy(sim, 0, 1, 8);
	assert_true(peer_frame_max(sim->nodes[0].peers[1]) <= 1422 - OVERHEAD4);
	busy(sim, 0, 1, 6);
	assert_path(sim, 0, 1, 1422);
	assert_path(sim, 1, 0, 1500);
	sim_assert_connected(sim, 0, 1);
	sim_free(sim);
}

static void test_begins_anew_where_the_peer_moves(void **state)
{
	struct sim *sim = sim_with_discovery(7);

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	assert_path(sim, 0, 1, 1500);
	sim->nodes[1].second = sim->nodes[1].address;
	sim->nodes[1].address = sim_address("10.7.7.7:999");
	sim->nodes[0].path_takes = 1380;
	assert_true(sim_send_frame(sim, 1, 0));
	sim_run(sim, 20 * MS);
	assert_true(endpoint_same_remote(sim->nodes[0].peers[1]->endpoint, &sim->nodes[1].address));
	assert_false(sim_view(sim, 0, 1).path_mtu_final);
	sim_run(sim, 8 * S);
	assert_path(sim, 0, 1, 1380);
	sim_free(sim);
}

static void test_begins_anew_with_other_interfaces(void **state)
{
	struct sim *sim = sim_with_discovery(8);
	uint64_t before;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	before = probes(sim, 0);
	sessions_underlay_changed(sim->nodes[0].engine, sim->now_ns); /* the same as before */
	sim_run(sim, 1 * S);
	assert_path(sim, 0, 1, 1500);
	assert_int_equal(probes(sim, 0), before);
	sim->nodes[0].mtu = 1400;
	sessions_underlay_changed(sim->nodes[0].engine, sim->now_ns);
	sim_run(sim, 1 * S);
	assert_path(sim, 0, 1, 1400);
	/* An interface that takes less than it says. */
	sim->nodes[0].mtu = 1300;
	sim->nodes[0].path_takes = 0;
	busy(sim, 0, 1, 10);
	assert_path(sim, 0, 1, 1300);
	sim_free(sim);
}

/* The session goes in the middle of a search, in every way there is. */
static void test_sessions_end_while_searching(void **state)
{
	(void)state;
	for (unsigned int way = 0; way < 4; way++) {
		struct sim *sim = sim_with_discovery(9);

		sim->nodes[0].path_takes = 1;
		sim_start(sim);
		sim_want(sim, 0, 1);
		sim_run(sim, 100 * MS);
		assert_int_equal(probes(sim, 0), 1);
		switch (way) {
		case 0:
			sessions_remove(sim->nodes[0].engine, sim->nodes[0].peers[1]);
			break;
		case 1:
			sim_stop_node(sim, 1, true);
			break;
		case 2:
			sim_stop_node(sim, 0, true);
			break;
		default:
			break; /* all at once, below */
		}
		if (way < 3)
			sim_run(sim, 30 * S);
		if (way == 1) {
			assert_int_equal(sim_view(sim, 0, 1).path_mtu, 0);
			assert_int_equal(peer_frame_max(sim->nodes[0].peers[1]), UINT16_MAX);
			assert_true(probes(sim, 0) < 3);
		}
		sim_free(sim);
	}
}

/* Answers that nobody asked for, or about something else, change nothing. */
static void test_hostile_answers(void **state)
{
	struct sim *sim = sim_with_discovery(10);
	uint8_t answer[MESSAGE_PROBE_ANSWER_LEN];

	(void)state;
	sim->nodes[0].path_takes = 1;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t token = i % 2 ? MESSAGE_TOKEN_PMTU | i / 2 : sim_random64();
		unsigned int len = i % 3 ? 9000 + i : i % 40;

		message_set_counter(answer, token);
		answer[8] = (uint8_t)(len >> 8);
		answer[9] = (uint8_t)len;
		sessions_control(sim->nodes[0].engine, sim->nodes[0].peers[1]->current->local_index,
			0, MESSAGE_PROBE_ANSWER, answer, sizeof(answer), sim->now_ns);
	}
	assert_true(sim_view(sim, 0, 1).path_mtu <= 1280);
	assert_false(sim_view(sim, 0, 1).path_mtu_final);
	sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found_with_the_session),
		cmocka_unit_test(test_each_direction_by_itself),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_leaves_an_idle_session_alone),
		cmocka_unit_test(test_result_outlives_keys),
		cmocka_unit_test(test_black_hole),
		cmocka_unit_test(test_begins_anew_where_the_peer_moves),
		cmocka_unit_test(test_begins_anew_with_other_interfaces),
		cmocka_unit_test(test_sessions_end_while_searching),
		cmocka_unit_test(test_hostile_answers),
	};

	if (sim_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
