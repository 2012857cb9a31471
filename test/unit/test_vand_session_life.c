/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions in the long run: dead peers, addresses that change, NAT, giving up, limits. */
#include "test/unit/session_sim.h"
#include "vand/session_internal.h"

static bool lose_inits_of_0(struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)sim, (void)to, (void)len;
	return !(from == 0 && msg[0] == MESSAGE_INIT);
}

/* -- keepalives and dead peers -- */

static void test_passive_keepalive(void **state)
{
	struct sim *sim = sim_new(13, 5 * MS);

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	/* One-way traffic: the other side says that it is there, and nobody makes new keys for it.
	 */
	for (int i = 0; i < 60; i++) {
		assert_true(sim_send_frame(sim, 0, 1));
		sim_run(sim, 1 * S);
	}
	assert_in_range(sim_stat(sim, 1, STAT_keepalives_sent), 4, 6);
	assert_int_equal(sim_stat(sim, 0, STAT_init_sent), 1);
	assert_int_equal(sim_stat(sim, 0, STAT_keepalives_sent), SESSION_CONFIRM_TRIES);
	sim_run(sim, 60 * S); /* a keepalive is not answered by a keepalive */
	assert_in_range(sim_stat(sim, 1, STAT_keepalives_sent), 4, 7);
	sim_free(sim);
}

static bool lose_everything(struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)sim, (void)from, (void)to, (void)msg, (void)len;
	return false;
}

static void test_dead_peer(void **state)
{
	struct sim *sim = sim_new(14, 5 * MS);
	uint64_t begin_ns;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sim->filter = lose_everything;
	begin_ns = sim->now_ns;
	while (sim_stat(sim, 0, STAT_init_sent) == 1) {
		sim_send_frame(sim, 0, 1);
		sim_run(sim, 1 * S);
	}
	assert_in_range(sim->now_ns - begin_ns, 14 * S, 19 * S);
	assert_int_equal(sim_state(sim, 0, 1), PEER_CONNECTING);
	sim->filter = NULL; /* the link comes back: so does the session */
	sim_run(sim, 7 * S);
	assert_int_equal(sim_state(sim, 0, 1), PEER_CONNECTED);
	sim_assert_traffic(sim, 0, 1);
	sim_free(sim);
}

static void test_restart_of_either_side(void **state)
{
	(void)state;
	for (size_t who = 0; who < 2; who++) {
		for (int wants = 0; wants < 2; wants++) {
			struct sim *sim = sim_new(15 + who, 5 * MS);

			sim_start(sim);
			sim_connect(sim, 0, 1);
			sim_stop_node(sim, who, false); /* it crashed: no GOODBYE */
			sim_run(sim, 1 * S);
			sim_start_node(sim, who);
			if (wants) { /* the one that restarted has something to send: at once */
				sim_want(sim, who, 1 - who);
				sim_run(sim, 100 * MS);
			} else { /* the other has: it notices after a while */
				for (int i = 0; i < 20; i++) {
					sim_send_frame(sim, 1 - who, who);
					sim_run(sim, 1 * S);
				}
			}
			sim_assert_connected(sim, 0, 1);
			sim_assert_traffic(sim, 0, 1);
			sim_free(sim);
		}
	}
}

static void test_goodbye(void **state)
{
	struct sim *sim = sim_new(17, 5 * MS);
	unsigned int sent;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sim_stop_node(sim, 1, true);
	sim_run(sim, 20 * MS);
	assert_int_equal(sim_state(sim, 0, 1), PEER_IDLE);
	assert_null(sim->nodes[0].peers[1]->current);
	assert_int_equal(sim->nodes[0].engine->indices.used, 0);
	sent = sim_all_sent(sim, 0);
	sim_run(sim, 300 * S);
	assert_int_equal(sim_all_sent(sim, 0), sent); /* it left in good order: not looked for */
	sim_start_node(sim, 1);
	sim_want(sim, 0, 1);
	sim_run(sim, 100 * MS);
	sim_assert_connected(sim, 0, 1);
	sim_free(sim);
}

static bool hold_goodbye(struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)sim, (void)to, (void)len;
	return !(from == 1 && msg[0] == MESSAGE_DATA);
}

static void test_late_goodbye_does_not_end_the_new_session(void **state)
{
	struct sim *sim = sim_new(18, 5 * MS);
	uint8_t goodbye[MESSAGE_OVERHEAD];

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sim->filter = hold_goodbye;
	sim_stop_node(sim, 1, true);
	assert_int_equal(sim->nodes[1].last_len[MESSAGE_DATA], sizeof(goodbye));
	memcpy(goodbye, sim->nodes[1].last[MESSAGE_DATA], sizeof(goodbye));
	sim->filter = NULL;
	sim_start_node(sim, 1);
	sim_want(sim, 1, 0);
	sim_run(sim, 100 * MS);
	sim_assert_connected(sim, 0, 1);
	sim_transmit(sim, 1, &sim->nodes[0].address, goodbye, sizeof(goodbye));
	sim_run(sim, 100 * MS);
	assert_int_equal(sim->nodes[0].data_unknown, 0); /* it was opened: on `previous` */
	sim_assert_connected(sim, 0, 1);
	sim_assert_traffic(sim, 0, 1);
	sim_free(sim);
}

/* -- end points -- */

static void test_roaming_by_data(void **state)
{
	struct sim *sim = sim_new(20, 5 * MS);
	struct endpoint elsewhere = sim_address("[2001:db8::77]:999");

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sim->nodes[0].address = elsewhere;
	assert_true(sim_send_frame(sim, 0, 1));
	sim_run(sim, 10 * MS);
	assert_true(endpoint_same_remote(sim->nodes[1].peers[0]->endpoint, &elsewhere));
	assert_int_equal(sim_stat(sim, 1, STAT_endpoint_moves), 1);
	sim_assert_traffic(sim, 0, 1);
	/* The kernel told vand before there was a frame to send. */
	sim->nodes[0].address = sim_address("192.0.2.200:4000");
	sessions_underlay_changed(sim->nodes[0].engine, sim->now_ns);
	sim_run(sim, 10 * MS);
	assert_true(endpoint_same_remote(sim->nodes[1].peers[0]->endpoint, &sim->nodes[0].address));
	sim_assert_traffic(sim, 1, 0);
	assert_int_equal(sim_stat(sim, 1, STAT_endpoint_moves), 2);
	sim_free(sim);
}

static void test_roaming_by_handshake(void **state)
{
	struct sim *sim = sim_new(19, 5 * MS);

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sim->lose_moves = true; /* the handshake alone tells */
	for (size_t who = 0; who < 2; who++) {
		sim->nodes[who].address = sim_address(who ? "192.0.2.71:7" : "192.0.2.70:7");
		atomic_store(&sim->nodes[who].peers[1 - who]->current->tx[1].blocks,
			MESSAGE_BLOCKS_REKEY);
		sim_run(sim, 3 * S);
		assert_true(endpoint_same_remote(
			sim->nodes[1 - who].peers[who]->endpoint, &sim->nodes[who].address));
		sim_assert_traffic(sim, 0, 1);
	}
	sim_free(sim);
}

static void test_stale_keys_do_not_move_the_end_point(void **state)
{
	struct sim *sim = sim_new(21, 5 * MS);
	struct endpoint elsewhere = sim_address("203.0.113.5:5");
	uint32_t old_index;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	old_index = sim->nodes[1].peers[0]->current->local_index;
	atomic_store(&sim->nodes[0].peers[1]->current->tx[1].blocks, MESSAGE_BLOCKS_REKEY);
	sim_run(sim, 2 * S);
	assert_int_equal(session_of(sim->nodes[1].peers[0])->previous->local_index, old_index);
	sessions_moved(sim->nodes[1].engine, old_index, &elsewhere, sim->now_ns);
	assert_true(endpoint_same_remote(sim->nodes[1].peers[0]->endpoint, &sim->nodes[0].address));
	sessions_moved(sim->nodes[1].engine, 12345, &elsewhere, sim->now_ns);
	/* Nor does a peer that moves with every packet keep us busy. */
	for (uint16_t port = 1; port < 1000; port++) {
		endpoint_from_ip(
			&(struct ip){.family = AF_INET, .b = {10, 9, 9, 9}}, port, &elsewhere);
		sessions_moved(sim->nodes[1].engine, sim->nodes[1].peers[0]->current->local_index,
			&elsewhere, sim->now_ns);
	}
	assert_in_range(sim_stat(sim, 1, STAT_endpoint_moves), 1, SESSION_MOVE_BURST);
	sim_free(sim);
}

static void test_all_candidates_are_tried(void **state)
{
	struct sim *sim = sim_new(22, 5 * MS);
	struct netmap_peer *zero = &sim->nodes[0].self;

	(void)state;
	sim->nodes[0].second = sim_address("[2001:db8::1]:4826");
	zero->teps[0] = sim_address("10.0.0.1:4826");
	zero->teps[1] = sim_address("10.0.0.1:4826");     /* twice the same: asked once */
	zero->teps[2] = sim_address("198.51.100.1:4826"); /* nobody */
	zero->teps[3] = sim_address("[2001:db8::1]:4826");
	zero->tep_count = 4;
	sim_start(sim);
	sim_want(sim, 1, 0);
	assert_int_equal(sim->nodes[1].sent[MESSAGE_INIT], 3);
	assert_int_equal(sim_stat(sim, 1, STAT_init_sent), 1);
	sim_run(sim, 100 * MS);
	sim_assert_connected(sim, 0, 1);
	/* The second copy of the INIT was seen to be one. */
	assert_int_equal(sim_drops(sim, 0, DROP_stale_init), 1);
	assert_int_equal(sim_stat(sim, 0, STAT_sessions_made), 1);
	/* A session at rest is rekeyed where it is. */
	atomic_store(&sim->nodes[1].peers[0]->current->tx[1].blocks, MESSAGE_BLOCKS_REKEY);
	sim_run(sim, 2 * S);
	assert_int_equal(sim_stat(sim, 1, STAT_rekeys), 1);
	assert_int_equal(sim->nodes[1].sent[MESSAGE_INIT], 4);
	sim_free(sim);
}

/* -- giving up -- */

static void assert_reason(struct sim *sim, size_t of, size_t peer, const char *part)
{
	struct session_view v = sim_view(sim, of, peer);

	assert_int_equal(v.state, PEER_NO_PATH);
	if (!strstr(v.reason, part))
		fail_msg("\"%s\" is not in \"%s\"", part, v.reason);
}

static void test_give_up_and_come_back(void **state)
{
	struct sim *sim = sim_new(23, 5 * MS);
	uint64_t inits;

	(void)state;
	sim->filter = lose_everything;
	sim_start(sim);
	sim_want(sim, 0, 1);
	sim_run(sim, 89 * S);
	assert_int_equal(sim_state(sim, 0, 1), PEER_CONNECTING);
	assert_non_null(strstr(sim_view(sim, 0, 1).reason, "nothing answered"));
	sim_run(sim, 2 * S);
	assert_reason(sim, 0, 1, "nothing answered at 10.0.0.2:4826");
	assert_reason(sim, 0, 1, "UDP port 4826");
	inits = sim_stat(sim, 0, STAT_init_sent);
	assert_in_range(inits, 17, 22); /* 4 quick ones, then one in 5 to 6.25 s */
	assert_int_equal(sim->nodes[0].engine->handshakes.used, 0); /* no secret is left */
	sim_run(sim, 300 * S);
	assert_int_equal(sim_stat(sim, 0, STAT_init_sent), inits); /* never met: not looked for */
	assert_int_equal(sim->nodes[0].due_ns, UINT64_MAX);
	sim->filter = NULL;
	sim_want(sim, 0, 1);
	sim_run(sim, 100 * MS);
	sim_assert_connected(sim, 0, 1);
	sim_free(sim);
}

static void test_a_peer_that_was_there_is_looked_for(void **state)
{
	struct sim *sim = sim_new(24, 5 * MS);
	uint64_t inits;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	sim->filter = lose_everything;
	sim_send_frame(sim, 0, 1);
	sim_run(sim, 120 * S);
	assert_int_equal(sim_state(sim, 0, 1), PEER_NO_PATH);
	assert_null(sim->nodes[0].peers[1]->current);
	inits = sim_stat(sim, 0, STAT_init_sent);
	sim_run(sim, 300 * S);
	assert_in_range(sim_stat(sim, 0, STAT_init_sent) - inits, 7, 11);
	sim->filter = NULL;
	sim_run(sim, 38 * S);
	assert_int_equal(sim_state(sim, 0, 1), PEER_CONNECTED);
	assert_string_equal(sim_view(sim, 0, 1).reason, "");
	sim_free(sim);
}

static void test_no_candidates(void **state)
{
	struct sim *sim = sim_new(25, 5 * MS);
	struct netmap_peer later = sim->nodes[1].self;

	(void)state;
	sim->nodes[1].self.tep_count = 0;
	sim_start(sim);
	sim_want(sim, 0, 1);
	assert_reason(sim, 0, 1, "no address of node-1 is known");
	assert_int_equal(sim_all_sent(sim, 0), 0);
	/* The next netmap has one: somebody wanted it, so off it goes. */
	sessions_update(sim->nodes[0].engine, sim->nodes[0].peers[1], &later, sim->now_ns);
	sim_run(sim, 100 * MS);
	sim_assert_connected(sim, 0, 1);
	/* The same once more changes nothing. */
	sessions_update(sim->nodes[0].engine, sim->nodes[0].peers[1], &later, sim->now_ns);
	assert_int_equal(sim_stat(sim, 0, STAT_init_sent), 1);
	snprintf(later.name, sizeof(later.name), "renamed");
	sessions_update(sim->nodes[0].engine, sim->nodes[0].peers[1], &later, sim->now_ns);
	assert_string_equal(sim->nodes[0].peers[1]->name, "renamed");
	sim_free(sim);
}

static bool into_0_only_after_it_sent(
	struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)msg, (void)len;
	/* Node 0 is behind NAT: others reach it once it has sent to them (bit of filter_count). */
	if (from == 0)
		sim->filter_count |= 1u << to;
	return to != 0 || (sim->filter_count & 1u << from);
}

static void test_behind_nat(void **state)
{
	struct sim *sim = sim_new(26, 5 * MS);

	(void)state;
	sim->filter = into_0_only_after_it_sent;
	sim->nodes[0].self.flags = NETMAP_NAT;
	sim_start(sim);
	sim_want(sim, 1, 0);
	sim_run(sim, 100 * S);
	assert_reason(sim, 1, 0, "behind NAT");
	/* It learns that it is behind NAT, and calls everybody. */
	sessions_set_nat(sim->nodes[0].engine, true, sim->now_ns);
	sim_run(sim, 100 * MS);
	sim_assert_connected(sim, 0, 1);
	sim_assert_connected(sim, 0, 2);
	sim_assert_traffic(sim, 1, 0);
	/* It never falls silent for longer than mappings live, and it keeps sessions up. */
	for (int i = 0; i < 60; i++) {
		unsigned int sent = sim->nodes[0].sent[MESSAGE_DATA];

		sim_run(sim, 22 * S);
		assert_true(sim->nodes[0].sent[MESSAGE_DATA] >= sent + 2);
		sim_assert_connected(sim, 0, 1);
		sim_assert_connected(sim, 0, 2);
	}
	sim_assert_traffic(sim, 1, 0);
	/* The other side does not: it need not. */
	assert_true(sim_stat(sim, 1, STAT_keepalives_sent) < 20);
	sim_free(sim);
}

static void test_wants_of_a_node_behind_nat_are_not_held_up_by_the_other_side(void **state)
{
	struct sim *sim = sim_new(27, 5 * MS);

	(void)state;
	/* The larger key is behind NAT, the smaller key's INITs never arrive, and both want. */
	sim->filter = lose_inits_of_0;
	sim_start(sim);
	sim_want(sim, 0, 1);
	sim_run(sim, 50 * MS);
	sim_want(sim, 1, 0);
	sim_run(sim, 1500 * MS);
	sim_assert_connected(sim, 0, 1);
	sim_assert_traffic(sim, 0, 1);
	sim_free(sim);
}

static void test_added_behind_nat(void **state)
{
	struct sim *sim = sim_new(28, 5 * MS);
	struct peer *again;

	(void)state;
	sim_start(sim);
	sessions_set_nat(sim->nodes[0].engine, true, sim->now_ns);
	sim_run(sim, 100 * MS);
	sessions_remove(sim->nodes[0].engine, sim->nodes[0].peers[1]);
	sim_run(sim, 1 * S);
	assert_int_equal(sessions_add(sim->nodes[0].engine, &sim->nodes[1].self, &again), 0);
	assert_true(again->ref > sim->nodes[0].peers[2]->ref); /* never used twice */
	sim->nodes[0].peers[1] = again;
	sim_run(sim, 100 * MS);
	sim_assert_connected(sim, 0, 1);
	sim_assert_traffic(sim, 0, 1);
	sim_free(sim);
}

static void test_both_behind_nat(void **state)
{
	struct sim *sim = sim_new(29, 5 * MS);

	(void)state;
	sim->filter = lose_everything;
	sim->nodes[0].self.flags = NETMAP_NAT;
	sim->nodes[1].self.flags = NETMAP_NAT;
	sim_start(sim);
	sessions_set_nat(sim->nodes[0].engine, true, sim->now_ns);
	sim_run(sim, 100 * S);
	assert_reason(sim, 0, 1, "both this node and node-1 are behind NAT");
	assert_reason(sim, 0, 1, "`advertise`");
	assert_reason(sim, 0, 2, "nothing answered");
	/* It goes on slowly: the other's administrator may do something about it. */
	sim->filter = NULL;
	sim_run(sim, 40 * S);
	sim_assert_connected(sim, 0, 1);
	sim_free(sim);
}

static void test_underlay_change_wakes_slow_attempts(void **state)
{
	struct sim *sim = sim_new(30, 5 * MS);

	(void)state;
	sim->filter = lose_everything;
	sim_start(sim);
	sessions_set_nat(sim->nodes[0].engine, true, sim->now_ns);
	sim_run(sim, 200 * S);
	assert_int_equal(sim_state(sim, 0, 1), PEER_NO_PATH);
	sim->filter = NULL;
	sessions_underlay_changed(sim->nodes[0].engine, sim->now_ns);
	sim_run(sim, 100 * MS);
	sim_assert_connected(sim, 0, 1);
	sim_free(sim);
}

/* -- control messages, limits, housekeeping -- */

static void test_probe(void **state)
{
	struct sim *sim = sim_new(31, 21 * MS);
	struct sim_node *zero = &sim->nodes[0];

	(void)state;
	sim_start(sim);
	assert_int_equal(sessions_probe(zero->engine, zero->peers[1], 5, sim->now_ns), -ENOTCONN);
	sim_connect(sim, 0, 1);
	assert_int_equal(
		sessions_probe(zero->engine, zero->peers[1], 0xabcdef0123456789, sim->now_ns), 0);
	sim_run(sim, 100 * MS);
	assert_int_equal(zero->probed_token, 0xabcdef0123456789);
	assert_int_equal(zero->probed_rtt_ns, 42 * MS);
	/* Answers are limited; the ones that are given are right. */
	for (uint64_t token = 1; token <= 500; token++)
		sessions_probe(zero->engine, zero->peers[1], token, sim->now_ns);
	sim_run(sim, 100 * MS);
	assert_in_range(sim->nodes[1].sent[MESSAGE_DATA], 1, SESSION_PROBE_BURST + 10);
	sim_free(sim);
}

static void test_control_messages(void **state)
{
	struct sim *sim = sim_new(32, 1 * MS);
	struct sim_node *zero = &sim->nodes[0];
	static const uint8_t large[SESSION_SEND_MAX + 1];
	uint32_t index;

	(void)state;
	sim_start(sim);
	assert_int_equal(
		sessions_send(zero->engine, zero->peers[1], 7, MESSAGE_LEARN, "x", 1, sim->now_ns),
		-ENOTCONN);
	sim_connect(sim, 0, 1);
	assert_int_equal(
		sessions_send(zero->engine, zero->peers[1], 7, MESSAGE_LEARN, "x", 1, sim->now_ns),
		0);
	assert_int_equal(sessions_send(zero->engine, zero->peers[1], 0, MESSAGE_PROBE, large,
				 sizeof(large), sim->now_ns),
		-EMSGSIZE);
	assert_int_equal(sessions_send(zero->engine, zero->peers[1], 0, MESSAGE_PROBE, large,
				 sizeof(large) - 1, sim->now_ns),
		0);
	sim_run(sim, 10 * MS);
	assert_int_equal(sim->nodes[1].controls, 1);
	assert_int_equal(sim_all_drops(sim, 1), 0);
	/* Authentic nonsense is counted and does no harm. */
	index = sim->nodes[1].peers[0]->current->local_index;
	sessions_control(sim->nodes[1].engine, index, 0, MESSAGE_PROBE, large, 7, sim->now_ns);
	sessions_control(
		sim->nodes[1].engine, index, 0, MESSAGE_PROBE_ANSWER, large, 9, sim->now_ns);
	sessions_control(
		sim->nodes[1].engine, index, 0, MESSAGE_KIND__COUNT, large, 0, sim->now_ns);
	sessions_control(sim->nodes[1].engine, index, 0, MESSAGE_FRAME, large, 0, sim->now_ns);
	assert_int_equal(sim_drops(sim, 1, DROP_bad_inner), 4);
	sessions_control(
		sim->nodes[1].engine, index, 0, MESSAGE_PROBE_ANSWER, large, 10, sim->now_ns);
	sessions_control(sim->nodes[1].engine, ~index, 0, MESSAGE_GOODBYE, large, 0, sim->now_ns);
	assert_int_equal(sim_all_drops(sim, 1), 4);
	sim_assert_connected(sim, 0, 1);
	sim_free(sim);
}

static void test_key_limits(void **state)
{
	struct sim *sim = sim_new(33, 1 * MS);
	struct keypair *k;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	k = sim->nodes[0].peers[1]->current;
	/* A lane that nears its share, which it stops at, is enough: the other may be idle. */
	atomic_store(&k->tx[0].blocks, MESSAGE_BLOCKS_REKEY / 2 - 100);
	atomic_store(&k->tx[1].blocks, MESSAGE_BLOCKS_REKEY / 2 - 100);
	sim_run(sim, 2 * S);
	assert_ptr_equal(sim->nodes[0].peers[1]->current, k);
	atomic_store(&k->tx[1].blocks, MESSAGE_BLOCKS_REKEY / 2);
	assert_true(keypair_may_send(k, 1));
	sim_run(sim, 2 * S);
	assert_ptr_not_equal(sim->nodes[0].peers[1]->current, k);
	assert_int_equal(sim_stat(sim, 0, STAT_rekeys), 1);
	/* A lane stops for good at its share, whatever became of rekeying. */
	k = sim->nodes[0].peers[1]->current;
	assert_true(keypair_may_send(k, 1));
	atomic_store(&k->tx[1].blocks, MESSAGE_BLOCKS_STOP / 2 - KEYPAIR_BLOCKS_MARGIN);
	assert_false(keypair_may_send(k, 1));
	assert_true(keypair_may_send(k, 0));
	atomic_store(&k->tx[0].blocks, MESSAGE_BLOCKS_STOP);
	assert_int_equal(sessions_send(sim->nodes[0].engine, sim->nodes[0].peers[1], 0,
				 MESSAGE_PROBE, "12345678", 8, sim->now_ns),
		-ENOTCONN);
	assert_int_equal(sim_drops(sim, 0, DROP_key_exhausted), 1);
	/* Too many forgeries: the key is not trusted any more. */
	sim_run(sim, 2 * S);
	k = sim->nodes[0].peers[1]->current;
	atomic_store(&k->open_failures, MESSAGE_OPEN_FAILURES_MAX - 1);
	sim_run(sim, 2 * S);
	assert_ptr_equal(sim->nodes[0].peers[1]->current, k);
	atomic_store(&k->open_failures, MESSAGE_OPEN_FAILURES_MAX);
	sim_run(sim, 2 * S);
	assert_null(sim->nodes[0].peers[1]->current);
	sim_free(sim);
}

static void test_totals(void **state)
{
	struct sim *sim = sim_new(34, 1 * MS);
	struct peer_totals t;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	for (int rekey = 0; rekey < 4; rekey++) { /* so that keys retire */
		for (int i = 0; i < 25; i++)
			sim_assert_traffic(sim, 0, 1);
		atomic_store(&sim->nodes[0].peers[1]->current->tx[1].blocks, MESSAGE_BLOCKS_REKEY);
		sim_run(sim, 2 * S);
	}
	assert_int_equal(sim_stat(sim, 0, STAT_rekeys), 4);
	t = peer_totals(sim->nodes[0].peers[1]);
	assert_int_equal(t.rx_packets, 100);
	assert_int_equal(t.rx_bytes, 800);
	assert_int_equal(t.tx_bytes, 800);
	assert_int_equal(t.tx_packets, 100 + sim_stat(sim, 0, STAT_keepalives_sent));
	assert_true(sim->nodes[0].peers[1]->retired.rx_packets >= 50);
	sim_free(sim);
}

static void count_peer(void *ctx, struct peer *peer)
{
	(void)peer;
	++*(unsigned int *)ctx;
}

static void test_many_peers(void **state)
{
	enum { PEERS = 1000 };
	struct sim *sim = sim_new(35, 1 * MS);
	struct sim_node *zero = &sim->nodes[0];
	static struct key keys[PEERS];
	unsigned int seen = 0;

	(void)state;
	sim_start(sim);
	for (size_t i = 0; i < PEERS; i++) {
		struct netmap_peer p = {.tep_count = 1, .teps = {sim_address("192.0.2.9:9")}};
		struct peer *peer;

		randombytes_buf(&p.public_key, sizeof(p.public_key));
		keys[i] = p.public_key;
		assert_int_equal(sessions_add(zero->engine, &p, &peer), 0);
		assert_int_equal(sessions_add(zero->engine, &p, &peer), -EEXIST);
		assert_ptr_equal(sessions_find_key(zero->engine, &keys[i]), peer);
		assert_ptr_equal(sessions_find_ref(zero->engine, peer->ref), peer);
	}
	{
		struct peer *peer;

		assert_int_equal(sessions_add(zero->engine, &zero->self, &peer), -EINVAL);
	}
	sessions_each(zero->engine, count_peer, &seen);
	assert_int_equal(seen, PEERS + 2);
	assert_int_equal(zero->due_ns, UINT64_MAX); /* idle peers cost nothing */
	/* All at once: a turn of the loop does not send them all, and all are sent in no time. */
	sessions_set_nat(zero->engine, true, sim->now_ns);
	(void)sessions_tick(zero->engine, sim->now_ns);
	assert_int_equal(sim_stat(sim, 0, STAT_init_sent), SESSION_TICK_MAX);
	sim_run(sim, 100 * MS);
	assert_int_equal(sim_stat(sim, 0, STAT_init_sent), PEERS + 2);
	sim_run(sim, 100 * S);
	for (size_t i = 0; i < PEERS; i++) {
		struct peer *peer = sessions_find_key(zero->engine, &keys[i]);
		uint32_t ref = peer->ref;

		sessions_remove(zero->engine, peer);
		assert_null(sessions_find_key(zero->engine, &keys[i]));
		assert_null(sessions_find_ref(zero->engine, ref));
	}
	sim_assert_connected(sim, 0, 1);
	assert_int_equal(zero->engine->handshakes.used, 0);
	sim_free(sim);
}

static void test_config_and_names(void **state)
{
	struct sim *sim = sim_new(36, 1 * MS);
	struct session_config config = sim->nodes[0].config;
	const struct session_io io = {0};
	struct counters counters;
	struct sessions *s = NULL;

	(void)state;
	config.lanes = 0;
	assert_int_equal(sessions_new(&config, &io, &counters, &s), -EINVAL);
	config.lanes = MESSAGE_LANES_MAX + 1;
	assert_int_equal(sessions_new(&config, &io, &counters, &s), -EINVAL);
	assert_null(s);
	sessions_free(NULL, true, 0);
	for (int i = 0; i <= PEER_NO_PATH; i++)
		assert_true(strlen(peer_state_name((enum peer_state)i)) > 3);
	assert_string_equal(peer_state_name(PEER_NO_PATH), "no path");
	sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passive_keepalive),
		cmocka_unit_test(test_dead_peer),
		cmocka_unit_test(test_restart_of_either_side),
		cmocka_unit_test(test_goodbye),
		cmocka_unit_test(test_late_goodbye_does_not_end_the_new_session),
		cmocka_unit_test(test_roaming_by_data),
		cmocka_unit_test(test_roaming_by_handshake),
		cmocka_unit_test(test_stale_keys_do_not_move_the_end_point),
		cmocka_unit_test(test_all_candidates_are_tried),
		cmocka_unit_test(test_give_up_and_come_back),
		cmocka_unit_test(test_a_peer_that_was_there_is_looked_for),
		cmocka_unit_test(test_no_candidates),
		cmocka_unit_test(test_behind_nat),
		cmocka_unit_test(test_wants_of_a_node_behind_nat_are_not_held_up_by_the_other_side),
		cmocka_unit_test(test_added_behind_nat),
		cmocka_unit_test(test_both_behind_nat),
		cmocka_unit_test(test_underlay_change_wakes_slow_attempts),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_control_messages),
		cmocka_unit_test(test_key_limits),
		cmocka_unit_test(test_totals),
		cmocka_unit_test(test_many_peers),
		cmocka_unit_test(test_config_and_names),
	};

	if (sim_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
