/* SPDX-License-Identifier: Apache-2.0 */
/* Key pairs of nodes with one worker and with many: lanes of either side, their shares of a key. */
#include <errno.h>
#include "test/unit/session_sim.h"

/* Two nodes with so many workers each, and a session. */
static struct sim *connected(unsigned int workers_a, unsigned int workers_b)
{
	struct sim *sim = sim_new(7, 1 * MS);

	sim->nodes[0].config.lanes = (uint8_t)(MESSAGE_LANE_WORKER + workers_a);
	sim->nodes[1].config.lanes = (uint8_t)(MESSAGE_LANE_WORKER + workers_b);
	sim_start(sim);
	sim_connect(sim, 0, 1);
	return sim;
}

static struct keypair *key_of(struct sim *sim, size_t node)
{
	return sim->nodes[node].peers[1 - node]->current;
}

static const unsigned int worker_counts[] = {1, 2, 3, 4, 8, 31, 62, MESSAGE_WORKERS_MAX};
#define COUNTS (sizeof(worker_counts) / sizeof(worker_counts[0]))

/* Each sends on as many lanes as it has, and takes as many as the other one has. */
static void each_side_has_its_own_number_of_lanes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNTS; i++) {
		for (size_t j = 0; j < COUNTS; j++) {
			struct sim *sim = connected(worker_counts[i], worker_counts[j]);
			const struct keypair *a = key_of(sim, 0), *b = key_of(sim, 1);

			assert_int_equal(a->local_lanes, MESSAGE_LANE_WORKER + worker_counts[i]);
			assert_int_equal(a->remote_lanes, MESSAGE_LANE_WORKER + worker_counts[j]);
			assert_int_equal(b->local_lanes, a->remote_lanes);
			assert_int_equal(b->remote_lanes, a->local_lanes);
			assert_int_equal(sim_view(sim, 0, 1).peer_lanes, a->remote_lanes);
			for (size_t lane = 0; lane < a->local_lanes; lane++) {
				const bool control = lane == MESSAGE_LANE_CONTROL;

				assert_int_equal((uintptr_t)&a->tx[lane] % 64, 0);
				/* Control has confirmed the key; that was all. */
				assert_int_equal(a->tx[lane].counter > 0, control);
				assert_int_equal(atomic_load(&a->tx[lane].blocks) > 0, control);
			}
			sim_assert_traffic(sim, 0, 1);
			sim_free(sim);
		}
	}
}

/* A lane may use its share of the key and no more, whatever the others have used; the shares
 * together are below the limit of the key. */
static void a_lane_has_its_share_of_the_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNTS; i++) {
		struct sim *sim = connected(worker_counts[i], 1);
		struct keypair *k = key_of(sim, 0);
		const uint64_t share = MESSAGE_BLOCKS_STOP / k->local_lanes;

		assert_true(share * k->local_lanes <= MESSAGE_BLOCKS_STOP);
		/* Keys are made anew in time: there is room between the two limits. */
		assert_true(share - KEYPAIR_BLOCKS_MARGIN >
			    MESSAGE_BLOCKS_REKEY / k->local_lanes + KEYPAIR_BLOCKS_MARGIN);
		for (uint8_t lane = 0; lane < k->local_lanes; lane++) {
			const uint64_t before = atomic_load(&k->tx[lane].blocks);

			assert_true(keypair_may_send(k, lane));
			atomic_store(&k->tx[lane].blocks, share - KEYPAIR_BLOCKS_MARGIN - 1);
			assert_true(keypair_may_send(k, lane));
			atomic_store(&k->tx[lane].blocks, share - KEYPAIR_BLOCKS_MARGIN);
			assert_false(keypair_may_send(k, lane));
			for (uint8_t other = 0; other < k->local_lanes; other++)
				assert_int_equal(keypair_may_send(k, other), other != lane);
			atomic_store(&k->tx[lane].blocks, before);
		}
		sim_free(sim);
	}
}

/* The lane that is full first makes new keys, be it the last one; and just before that, none does. */
static void any_lane_that_is_full_makes_new_keys(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNTS; i++) {
		struct sim *sim = connected(worker_counts[i], 2);
		const size_t lanes = key_of(sim, 0)->local_lanes;
		const uint64_t share = MESSAGE_BLOCKS_REKEY / lanes;

		for (size_t lane = 0; lane<lanes; lane += lanes> 8 ? 7 : 1) {
			struct keypair *k = key_of(sim, 0);
			uint64_t rekeys = sim_stat(sim, 0, STAT_rekeys);

			sim_assert_traffic(sim, 0, 1); /* a key that was used */
			for (size_t other = 0; other < lanes; other++)
				atomic_store(&k->tx[other].blocks, share - 1000);
			sim_run(sim, 3 * S);
			assert_int_equal(sim_stat(sim, 0, STAT_rekeys), rekeys);
			atomic_store(&k->tx[lane].blocks, share);
			sim_run(sim, 3 * S);
			assert_int_equal(sim_stat(sim, 0, STAT_rekeys), rekeys + 1);
			assert_ptr_not_equal(key_of(sim, 0), k);
			for (size_t other = 1; other < lanes; other++)
				assert_int_equal(atomic_load(&key_of(sim, 0)->tx[other].blocks), 0);
		}
		sim_free(sim);
	}
}

/* Control says so itself; its lane is one among the others. */
static void a_full_control_lane_sends_nothing(void **state)
{
	struct sim *sim = connected(MESSAGE_WORKERS_MAX, 1);
	struct keypair *k = key_of(sim, 0);

	(void)state;
	assert_int_equal(sessions_probe(sim->nodes[0].engine, k->peer, 1, sim->now_ns), 0);
	atomic_store(&k->tx[MESSAGE_LANE_CONTROL].blocks, MESSAGE_BLOCKS_STOP / MESSAGE_LANES_MAX);
	assert_int_equal(sessions_probe(sim->nodes[0].engine, k->peer, 2, sim->now_ns), -ENOTCONN);
	assert_int_equal(sim_drops(sim, 0, DROP_key_exhausted), 1);
	assert_true(keypair_may_send(k, MESSAGE_LANE_WORKER));
	sim_free(sim);
}

/* What went over all lanes, of keys that are gone too. */
static void totals_are_over_all_lanes(void **state)
{
	struct sim *sim = connected(MESSAGE_WORKERS_MAX, 2);
	struct keypair *k = key_of(sim, 0);
	struct peer_totals before = peer_totals(k->peer), after;

	(void)state;
	for (size_t lane = 1; lane < k->local_lanes; lane++) {
		atomic_fetch_add(&k->tx[lane].packets, lane);
		atomic_fetch_add(&k->tx[lane].bytes, 1000 * lane);
	}
	after = peer_totals(k->peer);
	assert_int_equal(after.tx_packets - before.tx_packets, 63 * 64 / 2);
	assert_int_equal(after.tx_bytes - before.tx_bytes, 63 * 64 / 2 * 1000);
	for (unsigned int i = 0; i < 5; i++) { /* until the key is in no slot any more */
		atomic_store(&key_of(sim, 0)->tx[63].blocks, MESSAGE_BLOCKS_REKEY);
		sim_run(sim, 3 * S);
	}
	assert_true(peer_totals(sim->nodes[0].peers[1]).tx_packets >= after.tx_packets);
	assert_in_range(peer_totals(sim->nodes[0].peers[1]).tx_bytes, after.tx_bytes,
		after.tx_bytes + 1000);
	sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_side_has_its_own_number_of_lanes),
		cmocka_unit_test(a_lane_has_its_share_of_the_key),
		cmocka_unit_test(any_lane_that_is_full_makes_new_keys),
		cmocka_unit_test(a_full_control_lane_sends_nothing),
		cmocka_unit_test(totals_are_over_all_lanes),
	};

	if (sim_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("session lanes", tests, NULL, NULL);
}
