/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What strangers, insiders and broken networks may throw at the engine. The rule: whoever is not
 * authenticated gets silence, and whatever is dropped is counted once.
 */
#include "test/unit/session_sim.h"
#include "vand/session_internal.h"

/* Gives bytes to a node, as if they came from an address. */
static void inject(
	struct sim *sim, size_t node, const void *msg, size_t len, const struct endpoint *from)
{
	sessions_receive(sim->nodes[node].engine, msg, len, from, sim->now_ns);
}

/* The same, and they must be dropped in silence under exactly one name. */
static void assert_silently_dropped(
	struct sim *sim, size_t node, const void *msg, size_t len, const struct endpoint *from)
{
	uint64_t drops = sim_all_drops(sim, node);
	unsigned int sent = sim_all_sent(sim, node);

	inject(sim, node, msg, len, from);
	assert_int_equal(sim_all_drops(sim, node), drops + 1);
	assert_int_equal(sim_all_sent(sim, node), sent);
}

/* A message on its way from one node to another, held up. */
struct held {
	uint8_t data[256];
	size_t len;
};

static struct held last_sent(const struct sim *sim, size_t node, enum message_type type)
{
	struct held h = {.len = sim->nodes[node].last_len[type]};

	assert_true(h.len > 0);
	memcpy(h.data, sim->nodes[node].last[type], h.len);
	return h;
}

static bool hold_everything(struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)sim, (void)from, (void)to, (void)msg, (void)len;
	return false;
}

static void test_every_byte_of_init_and_resp_flipped(void **state)
{
	struct sim *sim = sim_new(1, 1 * MS);
	struct endpoint *from = &sim->nodes[0].address, *back = &sim->nodes[1].address;
	struct held init, resp, bad;

	(void)state;
	sim->filter = hold_everything;
	sim_start(sim);
	sim_want(sim, 0, 1);
	init = last_sent(sim, 0, MESSAGE_INIT);
	assert_int_equal(init.len, sizeof(struct message_init));
	for (size_t i = 0; i < init.len; i++) {
		for (unsigned int x = 1; x < 256; x = x == 1 ? 0x80 : x == 0x80 ? 0xff : 256) {
			bad = init;
			bad.data[i] ^= (uint8_t)x;
			assert_silently_dropped(sim, 1, bad.data, bad.len, from);
			sim_run(sim, 10 * MS); /* so that it is no load */
		}
	}
	assert_null(session_of(sim->nodes[1].peers[0])->next);
	assert_int_equal(sim->nodes[1].engine->indices.used, 0);
	/* The true one, which is the last that the initiator sent. */
	init = last_sent(sim, 0, MESSAGE_INIT);
	inject(sim, 1, init.data, init.len, from);
	resp = last_sent(sim, 1, MESSAGE_RESP);
	assert_int_equal(resp.len, sizeof(struct message_resp));
	for (size_t i = 0; i < resp.len; i++) {
		for (unsigned int x = 1; x < 256; x = x == 1 ? 0x80 : x == 0x80 ? 0xff : 256) {
			bad = resp;
			bad.data[i] ^= (uint8_t)x;
			assert_silently_dropped(sim, 0, bad.data, bad.len, back);
		}
	}
	assert_int_equal(sim_state(sim, 0, 1), PEER_CONNECTING);
	inject(sim, 0, resp.data, resp.len, back);
	assert_int_equal(sim_state(sim, 0, 1), PEER_CONNECTED);
	sim_free(sim);
}

/* Makes a node believe that it is under load: valid mac1s, nothing behind them. */
static void load(struct sim *sim, size_t node)
{
	struct endpoint from = sim_address("203.0.113.9:9");
	struct message_init msg = {.type = MESSAGE_INIT, .version = MESSAGE_VERSION};
	struct cookie_keys keys;

	cookie_keys_init(&keys, sim->nodes[node].config.mesh, &sim->nodes[node].identity.public);
	for (unsigned int i = 0; i < COOKIE_LOAD_PER_S + 50; i++) {
		randombytes_buf(msg.sender, 100);
		cookie_add_macs(&keys, NULL, (uint8_t *)&msg, sizeof(msg));
		inject(sim, node, &msg, sizeof(msg), &from);
	}
}

static void test_every_byte_of_cookie_flipped(void **state)
{
	struct sim *sim = sim_new(2, 1 * MS);
	struct endpoint *from = &sim->nodes[0].address, *back = &sim->nodes[1].address;
	struct held init, cookie, bad;

	(void)state;
	sim->filter = hold_everything;
	sim_start(sim);
	load(sim, 1);
	sim_want(sim, 0, 1);
	init = last_sent(sim, 0, MESSAGE_INIT);
	inject(sim, 1, init.data, init.len, from);
	assert_int_equal(sim->nodes[1].sent[MESSAGE_RESP], 0);
	cookie = last_sent(sim, 1, MESSAGE_COOKIE);
	assert_true(cookie.len <= init.len);
	for (size_t i = 0; i < cookie.len; i++) {
		for (unsigned int x = 1; x < 256; x = x == 1 ? 0x80 : x == 0x80 ? 0xff : 256) {
			bad = cookie;
			bad.data[i] ^= (uint8_t)x;
			assert_silently_dropped(sim, 0, bad.data, bad.len, back);
		}
	}
	assert_false(session_of(sim->nodes[0].peers[1])->cookie_valid);
	inject(sim, 0, cookie.data, cookie.len, back);
	assert_true(session_of(sim->nodes[0].peers[1])->cookie_valid);
	assert_int_equal(sim_stat(sim, 0, STAT_cookie_received), 1);
	/* An answer to an INIT that was given up is not wanted any more. */
	sim_run(sim, 100 * S);
	assert_silently_dropped(sim, 0, cookie.data, cookie.len, back);
	sim_free(sim);
}

static void test_all_lengths_and_types(void **state)
{
	struct sim *sim = sim_new(3, 1 * MS);
	struct endpoint from = sim_address("203.0.113.9:9");
	static uint8_t msg[2048];

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	for (size_t len = 0; len <= sizeof(msg); len++) {
		for (unsigned int type = 0; type < 8; type++) {
			randombytes_buf(msg, sizeof(msg));
			msg[0] = (uint8_t)(type < 6 ? type : type * 37);
			assert_silently_dropped(sim, 0, msg, len, &from);
			msg[1] = MESSAGE_VERSION;
			msg[2] = msg[3] = 0;
			assert_silently_dropped(sim, 0, msg, len, &from);
		}
	}
	/* Another version of us is not answered either. */
	memset(msg, 0, sizeof(msg));
	msg[0] = MESSAGE_INIT;
	for (unsigned int version = 0; version < 256; version++) {
		if (version == MESSAGE_VERSION)
			continue;
		msg[1] = (uint8_t)version;
		assert_silently_dropped(sim, 0, msg, sizeof(struct message_init), &from);
	}
	sim_assert_connected(sim, 0, 1);
	sim_assert_traffic(sim, 0, 1);
	sim_free(sim);
}

static void test_replayed_init(void **state)
{
	struct sim *sim = sim_new(4, 1 * MS);
	struct endpoint elsewhere = sim_address("203.0.113.9:9");
	struct held first, second;
	uint64_t made;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	first = last_sent(sim, 0, MESSAGE_INIT);
	sim_stop_node(sim, 0, false);
	sim_run(sim, 1 * S);
	sim_start_node(sim, 0);
	sim_connect(sim, 0, 1);
	second = last_sent(sim, 0, MESSAGE_INIT);
	made = sim_stat(sim, 1, STAT_sessions_made);
	for (int i = 0; i < 5; i++) {
		assert_silently_dropped(sim, 1, first.data, first.len, &elsewhere);
		assert_silently_dropped(sim, 1, second.data, second.len, &elsewhere);
		assert_silently_dropped(sim, 1, second.data, second.len, &sim->nodes[0].address);
	}
	assert_int_equal(sim_drops(sim, 1, DROP_stale_init), 15);
	assert_int_equal(sim_stat(sim, 1, STAT_sessions_made), made);
	assert_true(endpoint_same_remote(sim->nodes[1].peers[0]->endpoint, &sim->nodes[0].address));
	sim_assert_traffic(sim, 0, 1);

	/* The responder restarts and has forgotten stamps: an old INIT gets an answer, but whoever
	 * sent it cannot read that, so nothing comes of it: no session, no end point. */
	sim_stop_node(sim, 1, false);
	sim_start_node(sim, 1);
	inject(sim, 1, first.data, first.len, &elsewhere);
	sim_run(sim, 10 * S);
	assert_null(sim->nodes[1].peers[0]->current);
	assert_null(sim->nodes[1].peers[0]->endpoint);
	sim_want(sim, 1, 0);
	sim_run(sim, 1 * S);
	sim_assert_connected(sim, 0, 1);
	sim_free(sim);
}

static void test_replayed_resp_and_data(void **state)
{
	struct sim *sim = sim_new(5, 1 * MS);
	struct held resp, keepalive;
	uint64_t replayed;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	resp = last_sent(sim, 1, MESSAGE_RESP);
	assert_silently_dropped(sim, 0, resp.data, resp.len, &sim->nodes[1].address);
	assert_int_equal(sim_drops(sim, 0, DROP_unknown_index), 1);
	/* A keepalive that is sent again from elsewhere does not move the end point. */
	keepalive = last_sent(sim, 0, MESSAGE_DATA);
	sim->nodes[2].address = sim_address("203.0.113.9:9");
	replayed = sim_drops(sim, 1, DROP_replayed);
	sim_transmit(sim, 2, &sim->nodes[1].address, keepalive.data, keepalive.len);
	sim_run(sim, 10 * MS);
	assert_int_equal(sim_drops(sim, 1, DROP_replayed), replayed + 1);
	assert_true(endpoint_same_remote(sim->nodes[1].peers[0]->endpoint, &sim->nodes[0].address));
	sim_free(sim);
}

static void test_strangers(void **state)
{
	struct sim *sim = sim_new(6, 1 * MS);
	struct sim_node *one = &sim->nodes[1];

	(void)state;
	sim_start(sim);
	/* Node 1 does not know node 0 (any more). */
	sessions_remove(one->engine, one->peers[0]);
	sim_want(sim, 0, 1);
	sim_run(sim, 100 * S);
	assert_int_equal(sim_all_sent(sim, 1), 0);
	assert_int_equal(sim_drops(sim, 1, DROP_stranger), sim_stat(sim, 0, STAT_init_sent));
	assert_int_equal(sim_state(sim, 0, 1), PEER_NO_PATH);
	sim_free(sim);
}

static void test_other_mesh_psk_and_key(void **state)
{
	(void)state;
	for (int what = 0; what < 3; what++) {
		struct sim *sim = sim_new(7, 1 * MS);
		uint64_t n;

		if (what == 0)
			sim->nodes[0].config.mesh[15] ^= 1;
		else if (what == 1)
			sim->nodes[0].config.psk[31] ^= 1;
		else /* node 1's key in node 0's netmap is another one */
			sim->nodes[1].self.public_key.bytes[5] ^= 1;
		sim_start(sim);
		sim_want(sim, 0, 1);
		sim_run(sim, 10 * S);
		n = sim_stat(sim, 0, STAT_init_sent);
		assert_true(n >= 5);
		if (what == 1) { /* the psk shows in the RESP only, to the initiator */
			assert_int_equal(sim_drops(sim, 0, DROP_bad_handshake), n);
		} else {
			assert_int_equal(sim_drops(sim, 1, DROP_bad_mac1), n);
			assert_int_equal(sim_all_sent(sim, 1), 0);
		}
		assert_null(sim->nodes[0].peers[1]->current);
		assert_null(sim->nodes[1].peers[0]->current);
		sim_free(sim);
	}
}

static void test_removed_peer_is_gone_at_once(void **state)
{
	struct sim *sim = sim_new(8, 1 * MS);
	uint64_t received;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	received = sim->nodes[1].stream_received;
	assert_true(sim_send_frame(sim, 0, 1));
	sessions_remove(sim->nodes[1].engine, sim->nodes[1].peers[0]);
	sim_run(sim, 10 * MS);
	assert_int_equal(sim->nodes[1].stream_received, received);
	assert_int_equal(sim->nodes[1].engine->indices.used, 0);
	sim_want(sim, 0, 1);
	sim_run(sim, 1 * S);
	assert_int_equal(sim->nodes[1].sent[MESSAGE_DATA], 0);
	sim_free(sim);
}

/* -- load -- */

static bool count_cookies(struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len)
{
	(void)from, (void)to, (void)len;
	sim->filter_count += msg[0] == MESSAGE_COOKIE;
	return true;
}

static void test_cookies_under_load(void **state)
{
	(void)state;
	for (int both = 0; both < 2; both++) {
		struct sim *sim = sim_new(9, 5 * MS);
		uint64_t until_ns;

		sim->filter = count_cookies;
		sim_start(sim);
		load(sim, 1);
		if (both)
			load(sim, 0);
		sim_want(sim, 0, 1);
		if (both)
			sim_want(sim, 1, 0);
		until_ns = sim->now_ns + 3 * S;
		while (sim->now_ns < until_ns) { /* the load goes on all the time */
			sim_run(sim, 100 * MS);
			load(sim, 1);
			if (both)
				load(sim, 0);
		}
		sim_run(sim, 100 * MS);
		sim_assert_connected(sim, 0, 1);
		sim_assert_traffic(sim, 0, 1);
		assert_true(sim_stat(sim, 0, STAT_cookie_received) >= 1);
		assert_true(sim_stat(sim, 0, STAT_resp_received) +
				    sim_stat(sim, 1, STAT_resp_received) >=
			    1);
		assert_true(sim_drops(sim, 1, DROP_under_load) > 1000);
		/* What the flood cost: HMACs. No INIT of it came as far as being opened. */
		assert_in_range(sim_drops(sim, 1, DROP_bad_handshake), 0, COOKIE_ADDRESS_BURST);
		sim_free(sim);
	}
}

static void test_flood_without_mac1_is_no_load(void **state)
{
	struct sim *sim = sim_new(10, 5 * MS);
	struct endpoint from = sim_address("203.0.113.9:9");
	struct message_init msg = {.type = MESSAGE_INIT, .version = MESSAGE_VERSION};

	(void)state;
	sim_start(sim);
	for (int i = 0; i < 5000; i++) {
		randombytes_buf(msg.sender, sizeof(msg) - 4);
		inject(sim, 1, &msg, sizeof(msg), &from);
	}
	assert_int_equal(sim_drops(sim, 1, DROP_bad_mac1), 5000);
	assert_int_equal(sim_all_sent(sim, 1), 0);
	sim_connect(sim, 0, 1);
	assert_int_equal(sim_stat(sim, 1, STAT_cookie_sent), 0);
	sim_free(sim);
}

static void test_cookie_of_a_restarted_responder(void **state)
{
	struct sim *sim = sim_new(11, 5 * MS);
	struct session *p;

	(void)state;
	sim_start(sim);
	p = session_of(sim->nodes[0].peers[1]);
	load(sim, 1);
	sim_want(sim, 0, 1);
	sim_run(sim, 20 * MS);
	assert_true(p->cookie_valid);
	/* It has forgotten its secrets; the INIT with the old cookie is lost, the next one is not.
	 */
	sim_stop_node(sim, 1, false);
	sim_start_node(sim, 1);
	sim_run(sim, 1200 * MS);
	assert_int_equal(sim_drops(sim, 1, DROP_bad_cookie), 1);
	sim_assert_connected(sim, 0, 1);
	sim_free(sim);
}

/* An INIT as somebody who knows a node's public key can make it, whoever he is. */
static struct message_init make_init(struct sim *sim, const struct identity *id, size_t to,
	const uint8_t *cookie, const uint8_t stamp[MESSAGE_STAMP_LEN])
{
	static const uint8_t psk[32];
	const struct sim_node *node = &sim->nodes[to];
	const struct handshake_self self = {id, node->config.backend, node->config.mesh, psk};
	struct handshake_info info = {.lanes = 1};
	struct cookie_keys keys;
	struct message_init msg;
	struct handshake h;
	struct key e;

	memcpy(info.stamp, stamp, sizeof(info.stamp));
	randombytes_buf(&e, sizeof(e));
	assert_int_equal(
		handshake_create_init(&self, &node->identity.public, &e, 1, &info, &msg, &h), 0);
	cookie_keys_init(&keys, node->config.mesh, &node->identity.public);
	cookie_add_macs(&keys, cookie, (uint8_t *)&msg, sizeof(msg));
	return msg;
}

static void test_one_address_cannot_keep_us_busy(void **state)
{
	struct sim *sim = sim_new(12, 5 * MS);
	struct endpoint from = sim_address("203.0.113.9:9");
	static const uint8_t stamp[MESSAGE_STAMP_LEN] = {1};
	struct sim_node *one = &sim->nodes[1];
	struct message_cookie answer;
	struct cookie_keys keys;
	uint8_t cookie[COOKIE_LEN];
	struct identity id;
	struct message_init msg;
	uint64_t strangers;

	(void)state;
	sim_start(sim);
	identity_generate(&id);
	/* A stranger who knows our key, below the load limit. */
	for (int second = 0; second < 10; second++) {
		for (int i = 0; i < COOKIE_LOAD_PER_S - 10; i++) {
			uint64_t drops = sim_all_drops(sim, 1);

			msg = make_init(sim, &id, 1, NULL, stamp);
			inject(sim, 1, &msg, sizeof(msg), &from);
			assert_int_equal(sim_all_drops(sim, 1), drops + 1);
		}
		sim_run(sim, 1 * S);
	}
	strangers = sim_drops(sim, 1, DROP_stranger);
	assert_in_range(
		strangers, COOKIE_ADDRESS_BURST, COOKIE_ADDRESS_BURST + 10 * COOKIE_ADDRESS_RATE);
	assert_int_equal(one->sent[MESSAGE_COOKIE], sim_drops(sim, 1, DROP_under_load));
	assert_int_equal(sim_all_sent(sim, 1), one->sent[MESSAGE_COOKIE]);

	/* With the cookie that it got it has another bucket, and that one has a bottom, too. */
	memcpy(&answer, one->last[MESSAGE_COOKIE], sizeof(answer));
	msg = make_init(sim, &id, 1, NULL, stamp);
	sim_run(sim, 10 * S);
	cookie_keys_init(&keys, one->config.mesh, &one->identity.public);
	for (;;) { /* use up the first bucket, until there is an answer to the very last INIT */
		unsigned int before = one->sent[MESSAGE_COOKIE];

		inject(sim, 1, &msg, sizeof(msg), &from);
		if (one->sent[MESSAGE_COOKIE] > before)
			break;
	}
	memcpy(&answer, one->last[MESSAGE_COOKIE], sizeof(answer));
	assert_true(cookie_open(&keys, &answer, msg.mac1, cookie));
	sim_run(sim, 2 * S);
	msg = make_init(sim, &id, 1, cookie, stamp);
	for (int i = 0; i < COOKIE_LOAD_PER_S - 10; i++)
		assert_silently_dropped(sim, 1, &msg, sizeof(msg), &from);
	assert_int_equal(sim_drops(sim, 1, DROP_handshake_limit),
		COOKIE_LOAD_PER_S - 10 - COOKIE_ADDRESS_BURST);
	/* Others do not suffer. */
	sim_connect(sim, 0, 1);
	sim_free(sim);
}

static void test_forged_source_does_not_shut_a_peer_out(void **state)
{
	struct sim *sim = sim_new(15, 5 * MS);
	static const uint8_t stamp[MESSAGE_STAMP_LEN] = {1};
	struct identity id;
	uint64_t until_ns;

	(void)state;
	sim_start(sim);
	identity_generate(&id);
	sim_want(sim, 0, 1);
	sim->nodes[2].address = sim->nodes[0].address; /* whom the flood claims to be from */
	until_ns = sim->now_ns + 3 * S;
	while (sim->now_ns <
		until_ns) { /* 200 a second: too few to be load, too many for a bucket */
		struct message_init msg = make_init(sim, &id, 1, NULL, stamp);

		inject(sim, 1, &msg, sizeof(msg), &sim->nodes[0].address);
		sim_run(sim, 5 * MS);
	}
	/* Sessions go and come during it, too. */
	sim_stop_node(sim, 0, false);
	sim_start_node(sim, 0);
	sim_want(sim, 0, 1);
	until_ns = sim->now_ns + 3 * S;
	while (sim->now_ns < until_ns) {
		struct message_init msg = make_init(sim, &id, 1, NULL, stamp);

		inject(sim, 1, &msg, sizeof(msg), &sim->nodes[0].address);
		sim_run(sim, 5 * MS);
	}
	assert_true(sim_stat(sim, 0, STAT_cookie_received) >= 1);
	sim_assert_connected(sim, 0, 1);
	sim_assert_traffic(sim, 0, 1);
	sim_free(sim);
}

static void test_recorded_inits_do_not_put_us_off(void **state)
{
	enum { RECORDED = 60 };
	struct sim *sim = sim_new(16, 5 * MS);
	static struct held recorded[RECORDED];
	unsigned int n = 0;

	(void)state;
	/* Node 0's INITs of an hour long ago, which node 1 never got … */
	sim_start(sim);
	sim->filter = hold_everything;
	while (n < RECORDED) {
		sim_want(sim, 0, 1);
		if (sim->nodes[0].sent[MESSAGE_INIT] > n)
			recorded[n++] = last_sent(sim, 0, MESSAGE_INIT);
		sim_run(sim, 100 * MS);
	}
	sim_stop_node(sim, 0, false);
	sim_start_node(sim, 0);
	/* … are played to it while it calls node 0, which does not call by itself. Its own key is
	 * the larger one. */
	sim->filter = NULL;
	sim_want(sim, 1, 0);
	for (unsigned int i = 0; i < RECORDED && !sim->nodes[1].peers[0]->current; i++) {
		inject(sim, 1, recorded[i].data, recorded[i].len, &sim->nodes[2].address);
		sim_run(sim, 200 * MS);
		assert_true(i < 3);
	}
	assert_int_equal(sim_state(sim, 1, 0), PEER_CONNECTED);
	sim_free(sim);
}

static void test_a_peer_cannot_keep_us_busy(void **state)
{
	struct sim *sim = sim_new(13, 5 * MS);
	struct sim_node *zero = &sim->nodes[0], *one = &sim->nodes[1];
	uint8_t stamp[MESSAGE_STAMP_LEN];

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	for (int i = 0; i < 100; i++) {
		struct message_init msg;

		assert_int_equal(sim_io_next_stamp(zero, stamp), 0);
		msg = make_init(sim, &zero->identity, 1, NULL, stamp);
		inject(sim, 1, &msg, sizeof(msg), &zero->address);
	}
	assert_in_range(one->sent[MESSAGE_RESP], 10, SESSION_INIT_BURST + 1);
	assert_true(sim_drops(sim, 1, DROP_handshake_limit) >= 100 - SESSION_INIT_BURST);
	/* However many: one pending key, and the session in use goes on. */
	assert_int_equal(one->engine->indices.used, 2);
	sim_run(sim, 10 * MS);
	sim_assert_traffic(sim, 0, 1);
	sim_free(sim);
}

static void test_random_bytes_in_sessions(void **state)
{
	/* Bits flipped anywhere on the way, handshakes and data alike: nothing gets through, and
	 * what is not touched does. */
	struct sim *sim = sim_new(14, 5 * MS);
	struct endpoint *from = &sim->nodes[0].address;

	(void)state;
	sim_start(sim);
	sim_connect(sim, 0, 1);
	for (int i = 0; i < 20000; i++) {
		struct held h = last_sent(sim, 0, i & 1 ? MESSAGE_DATA : MESSAGE_INIT);
		struct sim_event e = {.kind = SIM_PACKET, .node = 1, .from = *from, .len = h.len};

		h.data[sim_below(h.len)] ^= (uint8_t)(1 + sim_below(255));
		if (h.data[0] == MESSAGE_DATA &&
			(h.len < MESSAGE_OVERHEAD || h.data[1] >= 2)) /* the worker's own checks */
			continue;
		e.data = malloc(h.len);
		assert_non_null(e.data);
		memcpy(e.data, h.data, h.len);
		sim_handle(sim, &e);
	}
	assert_int_equal(sim_stat(sim, 1, STAT_sessions_made), 1);
	assert_int_equal(sim->nodes[1].stream_received, 0);
	sim_assert_traffic(sim, 0, 1);
	sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte_of_init_and_resp_flipped),
		cmocka_unit_test(test_every_byte_of_cookie_flipped),
		cmocka_unit_test(test_all_lengths_and_types),
		cmocka_unit_test(test_replayed_init),
		cmocka_unit_test(test_replayed_resp_and_data),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_other_mesh_psk_and_key),
		cmocka_unit_test(test_removed_peer_is_gone_at_once),
		cmocka_unit_test(test_cookies_under_load),
		cmocka_unit_test(test_flood_without_mac1_is_no_load),
		cmocka_unit_test(test_cookie_of_a_restarted_responder),
		cmocka_unit_test(test_one_address_cannot_keep_us_busy),
		cmocka_unit_test(test_forged_source_does_not_shut_a_peer_out),
		cmocka_unit_test(test_recorded_inits_do_not_put_us_off),
		cmocka_unit_test(test_a_peer_cannot_keep_us_busy),
		cmocka_unit_test(test_random_bytes_in_sessions),
	};

	if (sim_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
