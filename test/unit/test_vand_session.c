/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How sessions begin and are rekeyed, over links good and bad. How they live and end is in
 * test_vand_session_life.c, what strangers and attackers may try in test_vand_session_hostile.c.
 */
#include "test/unit/session_sim.h"
#include "vand/session_internal.h"

/* -- beginnings -- */

static void test_plain_set_up(void **state)
{
	struct sim *sim = sim_new(1, 10 * MS);
	struct session_view v;

	(void)state;
	sim_start(sim);
	assert_int_equal(sim_state(sim, 0, 1), PEER_IDLE);
	assert_int_equal(sim->nodes[0].due_ns, UINT64_MAX); /* nothing to do: nothing to wake for */
	sim_want(sim, 0, 1);
	assert_int_equal(sim_state(sim, 0, 1), PEER_CONNECTING);
	sim_run(sim, 15 * MS); /* INIT is there, RESP on its way */
	assert_non_null(session_of(sim->nodes[1].peers[0])->next);
	assert_null(
		sim->nodes[1].peers[0]->current); /* a responder does not send before it heard */
	assert_int_equal(sim_state(sim, 1, 0), PEER_IDLE);
	sim_run(sim, 10 * MS);
	assert_int_equal(sim_state(sim, 0, 1), PEER_CONNECTED);
	assert_null(sim->nodes[1].peers[0]->current);
	sim_run(sim, 10 * MS); /* the confirming keepalive */
	sim_assert_connected(sim, 0, 1);
	sim_assert_traffic(sim, 0, 1);
	for (size_t n = 0; n < 2; n++) {
		assert_int_equal(sim_stat(sim, n, STAT_sessions_made), 1);
		assert_int_equal(sim_stat(sim, n, STAT_rekeys), 0);
		assert_int_equal(sim_all_drops(sim, n), 0);
		assert_int_equal(sim->nodes[n].changes[PEER_CONNECTED], 1);
	}
	assert_int_equal(sim_stat(sim, 0, STAT_init_sent), 1);
	assert_int_equal(sim_stat(sim, 1, STAT_init_received), 1);
	assert_int_equal(sim_stat(sim, 1, STAT_resp_sent), 1);
	assert_int_equal(sim_stat(sim, 0, STAT_resp_received), 1);
	v = sim_view(sim, 0, 1);
	assert_int_equal(v.peer_epoch, 101);
	assert_int_equal(v.peer_mtu, 1501);
	assert_int_equal(v.peer_lanes, 2);
	assert_string_equal(v.reason, "");
	v = sim_view(sim, 1, 0);
	assert_int_equal(v.peer_epoch, 100);
	assert_int_equal(v.peer_mtu, 1500);
	assert_true(v.last_handshake_ns > 1000 * S);
	/* The third node has heard nothing of it. */
	assert_int_equal(sim_all_sent(sim, 2), 0);
	sim_free(sim);
}

static void test_frames_that_wait_are_told(void **state)
{
	struct sim *sim = sim_new(2, 30 * MS);

	(void)state;
	sim_start(sim);
	assert_false(sim_send_frame(sim, 0, 1));
	sim_run(sim, 61 * MS);
	assert_int_equal(sim->nodes[0].last_change, PEER_CONNECTED);
	assert_true(sim_send_frame(sim, 0, 1));
	sim_run(sim, 31 * MS);
	assert_int_equal(sim->nodes[1].stream_received, 1);
	sim_free(sim);
}

static void test_key_differs_by_direction_and_session(void **state)
{
	struct sim *sim = sim_new(3, 1 * MS);
	const struct keypair *a, *b;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	a = sim->nodes[0].peers[1]->current;
	b = sim->nodes[1].peers[0]->current;
	assert_memory_equal(a->send.salt, b->recv.salt, SEAL_SALT_LEN);
	assert_memory_equal(a->recv.salt, b->send.salt, SEAL_SALT_LEN);
	assert_memory_not_equal(a->send.salt, a->recv.salt, SEAL_SALT_LEN);
	assert_int_equal(a->remote_index, b->local_index);
	assert_int_equal(b->remote_index, a->local_index);
	assert_true(a->initiator);
	assert_false(b->initiator);
	sim_free(sim);
}

static void test_crossing_inits_make_one_session(void **state)
{
	(void)state;
	/* Both want at about the same time, over short and long ways, in either order. */
	for (uint64_t delay_ms = 1; delay_ms <= 200; delay_ms += 33) {
		for (size_t first = 0; first < 2; first++) {
			struct sim *sim = sim_new(delay_ms, delay_ms * MS);

			sim_start(sim);
			sim_want(sim, first, 1 - first);
			sim_run(sim, delay_ms * MS / 2);
			sim_want(sim, 1 - first, first);
			sim_run(sim, 4 * S);
			sim_assert_connected(sim, 0, 1);
			sim_assert_traffic(sim, 0, 1);
			/* The smaller key's handshake is the one that both use. */
			assert_true(sim->nodes[0].peers[1]->current->initiator);
			assert_false(sim->nodes[1].peers[0]->current->initiator);
			if (delay_ms <= 100) { /* no retry has had the time to get in between */
				assert_int_equal(sim_stat(sim, 0, STAT_sessions_made), 1);
				assert_int_equal(sim_stat(sim, 1, STAT_sessions_made), 1);
				assert_int_equal(sim_drops(sim, 0, DROP_crossed_init), 1);
			}
			sim_free(sim);
		}
	}
}

static void test_crossing_over_a_very_long_way(void **state)
{
	/* Round trips longer than the time within which INITs count as crossing. */
	(void)state;
	for (uint64_t delay_ms = 300; delay_ms <= 1500; delay_ms += 300) {
		struct sim *sim = sim_new(delay_ms, delay_ms * MS);

		sim_start(sim);
		sim_want(sim, 0, 1);
		sim_run(sim, 100 * MS);
		sim_want(sim, 1, 0);
		sim_run(sim, 30 * S);
		sim_assert_connected(sim, 0, 1);
		sim_assert_traffic(sim, 0, 1);
		sim_free(sim);
	}
}

/* -- losses -- */

static bool lose_first_resps(
	struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)from, (void)to, (void)len;
	return msg[0] != MESSAGE_RESP || ++sim->filter_count > 3;
}

static void test_lost_resps(void **state)
{
	struct sim *sim = sim_new(4, 10 * MS);

	(void)state;
	sim_start(sim);
	sim->filter = lose_first_resps;
	sim_want(sim, 0, 1);
	sim_run(sim, 2500 * MS); /* 0.25 + 0.5 + 1 s and jitter */
	sim_assert_connected(sim, 0, 1);
	assert_int_equal(sim_stat(sim, 0, STAT_init_sent), 4);
	sim_assert_traffic(sim, 0, 1);
	/* The responder kept one pending key at a time, and none beside the one in use. */
	assert_null(session_of(sim->nodes[1].peers[0])->next);
	assert_int_equal(sim->nodes[1].engine->indices.used, 1);
	sim_free(sim);
}

static bool lose_first_data(struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)from, (void)to, (void)len;
	return msg[0] != MESSAGE_DATA || ++sim->filter_count > 2;
}

static void test_lost_confirmation(void **state)
{
	struct sim *sim = sim_new(5, 10 * MS);

	(void)state;
	sim_start(sim);
	sim->filter = lose_first_data;
	sim_want(sim, 0, 1);
	sim_run(sim, 200 * MS);
	assert_int_equal(sim_state(sim, 0, 1), PEER_CONNECTED);
	assert_int_equal(sim_state(sim, 1, 0), PEER_IDLE);
	sim_run(sim, 2 * S); /* it is sent again after 0.25 and 1 s */
	sim_assert_connected(sim, 0, 1);
	sim_assert_traffic(sim, 0, 1);
	assert_int_equal(sim_stat(sim, 0, STAT_keepalives_sent), 3);
	sim_free(sim);
}

static bool lose_keepalives_of_0(
	struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)sim, (void)to;
	return !(from == 0 && msg[0] == MESSAGE_DATA && len == MESSAGE_OVERHEAD);
}

static void test_responder_with_data_does_not_wait_for_ever(void **state)
{
	struct sim *sim = sim_new(6, 10 * MS);

	(void)state;
	sim_start(sim);
	sim->filter = lose_keepalives_of_0;
	sim_want(sim, 0, 1);
	sim_run(sim, 100 * MS);
	assert_false(sim_send_frame(sim, 1, 0));
	assert_int_equal(sim_stat(sim, 1, STAT_init_sent), 0); /* 0's own may still be confirmed */
	sim_run(sim, 1500 * MS);
	sim_assert_connected(sim, 0, 1);
	assert_int_equal(sim_stat(sim, 1, STAT_init_sent), 1);
	sim_assert_traffic(sim, 1, 0);
	sim_free(sim);
}

static void test_bad_links(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct sim *sim = sim_new(seed, 20 * MS);

		sim->loss_permille = 400;
		sim->double_permille = 200;
		sim->jitter_ns = 60 * MS;
		sim->upcall_delay_ns = 2 * MS;
		sim_start(sim);
		for (int i = 0; i < 200; i++) { /* both keep trying to send something */
			sim_send_frame(sim, seed & 1, 1 - (seed & 1));
			sim_send_frame(sim, 1 - (seed & 1), seed & 1);
			sim_run(sim, 200 * MS);
		}
		sim->loss_permille = 0;
		sim_run(sim, 30 * S);
		sim_assert_connected(sim, 0, 1);
		sim_assert_traffic(sim, 0, 1);
		assert_int_equal(sim->nodes[0].stream_double + sim->nodes[1].stream_double, 0);
		sim_free(sim);
	}
}

/* -- rekeying -- */

/* Frames each way at an interval for some time; all of them are to arrive. */
static void stream(struct sim *sim, uint64_t interval_ns, uint64_t for_ns)
{
	uint64_t until_ns = sim->now_ns + for_ns;

	while (sim->now_ns < until_ns) {
		assert_true(sim_send_frame(sim, 0, 1));
		assert_true(sim_send_frame(sim, 1, 0));
		sim_run(sim, interval_ns);
	}
	sim_run(sim, 1 * S);
	for (size_t n = 0; n < 2; n++) {
		assert_int_equal(sim->nodes[n].stream_received, sim->nodes[1 - n].stream_next);
		assert_int_equal(sim->nodes[n].stream_double, 0);
		assert_int_equal(sim->nodes[n].data_unknown, 0);
		assert_int_equal(sim_drops(sim, n, DROP_bad_tag), 0);
	}
}

static void test_rekey_under_load_loses_nothing(void **state)
{
	struct sim *sim = sim_new(7, 5 * MS);

	(void)state;
	for (size_t n = 0; n < SIM_NODES; n++)
		sim->nodes[n].config.timers.rekey_after = 2 * S;
	sim->upcall_delay_ns = 300 * NS_PER_MS / 1000;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	stream(sim, 50000, 11 * S); /* 20,000 a second each way */
	assert_true(sim_stat(sim, 0, STAT_rekeys) >= 3);
	assert_int_equal(sim_drops(sim, 0, DROP_replayed), 0);
	sim_free(sim);
}

static void test_rekey_with_reordering_and_copies(void **state)
{
	struct sim *sim = sim_new(8, 5 * MS);

	(void)state;
	for (size_t n = 0; n < SIM_NODES; n++)
		sim->nodes[n].config.timers.rekey_after = 2 * S;
	sim->jitter_ns = 80 * MS; /* 1,600 packets overtake each other */
	sim->double_permille = 20;
	sim->upcall_delay_ns = 5 * MS;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	stream(sim, 50000, 9 * S);
	assert_true(sim_stat(sim, 0, STAT_rekeys) >= 2);
	sim_free(sim);
}

static bool lose_handshakes_and_confirms(
	struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)sim, (void)from, (void)to;
	/* Every handshake message and keepalive has it hard; frames pass. */
	return (msg[0] == MESSAGE_DATA && len != MESSAGE_OVERHEAD) || sim_below(100) >= 60;
}

static void test_rekey_over_lossy_handshakes(void **state)
{
	(void)state;
	for (uint64_t seed = 100; seed < 106; seed++) {
		struct sim *sim = sim_new(seed, 20 * MS);

		for (size_t n = 0; n < SIM_NODES; n++)
			sim->nodes[n].config.timers.rekey_after = 2 * S;
		sim->jitter_ns = 20 * MS;
		sim_start(sim);
		sim_connect(sim, 0, 1);
		sim->filter = lose_handshakes_and_confirms;
		stream(sim, 1 * MS, 60 * S);
		assert_true(sim_stat(sim, 0, STAT_rekeys) >= 5);
		sim_free(sim);
	}
}

static void test_both_rekey_at_once(void **state)
{
	(void)state;
	/* Both reach the limit of blocks in the same second, so their INITs cross. */
	for (uint64_t delay_ms = 2; delay_ms < 1000; delay_ms += 37) {
		struct sim *sim = sim_new(delay_ms, delay_ms * MS);

		sim->jitter_ns = 20 * MS;
		sim_start(sim);
		sim_want(sim, 0, 1);
		sim_run(sim, 10 * S);
		sim_assert_connected(sim, 0, 1);
		for (size_t n = 0; n < 2; n++)
			atomic_store(&sim->nodes[n].peers[1 - n]->current->tx[1].blocks,
				MESSAGE_BLOCKS_REKEY / 2);
		stream(sim, 1 * MS, 10 * S);
		assert_true(sim_stat(sim, 0, STAT_rekeys) >= 1);
		assert_true(atomic_load(&sim->nodes[0].peers[1]->current->tx[1].blocks) <
			    MESSAGE_BLOCKS_REKEY);
		assert_true(atomic_load(&sim->nodes[1].peers[0]->current->tx[1].blocks) <
			    MESSAGE_BLOCKS_REKEY);
		sim_free(sim);
	}
}

static void test_who_rekeys_when(void **state)
{
	struct sim *sim = sim_new(9, 5 * MS);
	uint64_t begin_ns;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	begin_ns = sim->now_ns;
	while (sim_stat(sim, 0, STAT_rekeys) == 0) {
		sim_send_frame(sim, 1,
			0); /* only the responder sends: the initiator rekeys all the same */
		sim_run(sim, 1 * S);
		assert_true(sim->now_ns - begin_ns < 140 * S);
	}
	assert_true(sim->now_ns - begin_ns >= 118 * S);
	assert_true(sim->now_ns - begin_ns <= 134 * S);
	assert_int_equal(sim_stat(sim, 0, STAT_init_sent), 2);
	assert_int_equal(sim_stat(sim, 1, STAT_init_sent), 0);
	sim_free(sim);
}

static bool lose_inits_of_0(struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)sim, (void)to, (void)len;
	return !(from == 0 && msg[0] == MESSAGE_INIT);
}

static void test_responder_rekeys_when_initiator_cannot(void **state)
{
	struct sim *sim = sim_new(10, 5 * MS);

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sim->filter = lose_inits_of_0;
	for (int i = 0; i < 400; i++) {
		assert_true(sim_send_frame(sim, 0, 1));
		sim_run(sim, 1 * S);
	}
	assert_true(sim_stat(sim, 1, STAT_init_sent) >= 1);
	assert_true(sim_stat(sim, 0, STAT_rekeys) >= 2);
	assert_int_equal(sim->nodes[1].stream_received, 400);
	sim_free(sim);
}

static void test_idle_session_ends_quietly(void **state)
{
	struct sim *sim = sim_new(11, 5 * MS);
	unsigned int sent;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sent = sim_all_sent(sim, 0) + sim_all_sent(sim, 1);
	sim_run(sim, 175 * S);
	sim_assert_connected(sim, 0, 1);
	sim_run(sim, 8 * S);
	/* Nothing was sent over it, so nobody spent a packet on keeping it. */
	assert_int_equal(sim_all_sent(sim, 0) + sim_all_sent(sim, 1), sent);
	assert_int_equal(sim_state(sim, 0, 1), PEER_IDLE);
	assert_int_equal(sim_state(sim, 1, 0), PEER_IDLE);
	assert_null(sim->nodes[0].peers[1]->current);
	for (size_t n = 0; n < 2; n++) { /* and no key is left of it anywhere */
		assert_int_equal(sim->nodes[n].engine->indices.used, 0);
		assert_int_equal(sim->nodes[n].engine->handshakes.used, 0);
		assert_int_equal(sim->nodes[n].due_ns, UINT64_MAX);
	}
	sim_connect(sim, 1, 0);
	sim_assert_traffic(sim, 0, 1);
	sim_free(sim);
}

static void test_wipe(void **state)
{
	struct sim *sim = sim_new(12, 5 * MS);
	struct session *p;

	(void)state;
	for (size_t n = 0; n < SIM_NODES; n++) /* even where keys are to live very long */
		sim->nodes[n].config.timers.reject_after = 10000 * S;
	for (size_t n = 0; n < SIM_NODES; n++)
		sim->nodes[n].config.timers.rekey_after = 9000 * S;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	p = session_of(sim->nodes[0].peers[1]);
	sim_run(sim, 530 * S);
	assert_non_null(p->peer.current);
	sim_run(sim, 12 * S);
	assert_null(p->peer.current);
	assert_null(p->previous);
	assert_null(p->next);
	assert_null(p->handshake);
	assert_int_equal(sim->nodes[0].engine->indices.used, 0);
	sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_set_up),
		cmocka_unit_test(test_frames_that_wait_are_told),
		cmocka_unit_test(test_key_differs_by_direction_and_session),
		cmocka_unit_test(test_crossing_inits_make_one_session),
		cmocka_unit_test(test_crossing_over_a_very_long_way),
		cmocka_unit_test(test_lost_resps),
		cmocka_unit_test(test_lost_confirmation),
		cmocka_unit_test(test_responder_with_data_does_not_wait_for_ever),
		cmocka_unit_test(test_bad_links),
		cmocka_unit_test(test_rekey_under_load_loses_nothing),
		cmocka_unit_test(test_rekey_with_reordering_and_copies),
		cmocka_unit_test(test_rekey_over_lossy_handshakes),
		cmocka_unit_test(test_both_rekey_at_once),
		cmocka_unit_test(test_who_rekeys_when),
		cmocka_unit_test(test_responder_rekeys_when_initiator_cannot),
		cmocka_unit_test(test_idle_session_ends_quietly),
		cmocka_unit_test(test_wipe),
	};

	if (sim_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
