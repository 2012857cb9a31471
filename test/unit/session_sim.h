/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engines connected in memory, with a clock of their own and a link that delays, reorders, doubles
 * and loses. Each node has a "worker" that opens and seals DATA as vand's workers do, and tells its
 * engine what it noticed a little later, as an upcall would.
 *
 * Everything random, libsodium's generator included, comes from one seeded source: a run that fails
 * fails again.
 */
#ifndef TEST_SESSION_SIM_H
#define TEST_SESSION_SIM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include "lib/clock.h"
#include "vand/session.h"

#define MS NS_PER_MS
#define S  NS_PER_S

#define SIM_NODES      3
#define SIM_STREAM_MAX 400000

/* -- randomness -- */

static uint64_t sim_seed;

static uint64_t sim_random64(void)
{
	uint64_t z = sim_seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static uint32_t sim_random32(void)
{
	return (uint32_t)sim_random64();
}

static uint64_t sim_below(uint64_t n)
{
	return n ? sim_random64() % n : 0;
}

static void sim_random_buf(void *const buf, const size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)buf)[i] = (uint8_t)sim_random64();
}

static const char *sim_random_name(void)
{
	return "seeded";
}

static struct randombytes_implementation sim_random = {
	.implementation_name = sim_random_name,
	.random = sim_random32,
	.buf = sim_random_buf,
};

/* To be called first thing in main(). */
static inline int sim_init(void)
{
	sim_seed = 1;
	return randombytes_set_implementation(&sim_random) == 0 && sodium_init() >= 0 ? 0 : -1;
}

/* -- the link -- */

enum sim_kind { SIM_PACKET, SIM_CONFIRMED, SIM_MOVED, SIM_CONTROL };

struct sim_event {
	uint64_t at_ns;
	uint64_t order; /* first in, first out among equals */
	enum sim_kind kind;
	size_t node; /* whom it concerns: the receiver */
	struct endpoint from;
	uint32_t index;
	uint8_t message_kind;
	size_t len;
	uint8_t *data;
};

struct sim_node {
	bool up;
	struct identity identity;
	struct netmap_peer self; /* as the others' netmaps have it */
	struct endpoint address; /* that it sends from */
	struct endpoint second;  /* that reaches it, too; AF_UNSPEC: none */
	struct sessions *engine;
	struct counters counters;
	struct session_config config;
	uint64_t stamp;
	uint64_t due_ns; /* of its tick */
	struct peer *peers[SIM_NODES];
	struct sim *sim;
	size_t number;
	unsigned int changes[PEER_NO_PATH + 1];
	enum peer_state last_change;
	unsigned int frames_refused; /* no session when there was a frame to send */
	uint64_t stream_next;        /* number of the next frame that it sends */
	uint64_t stream_received, stream_double;
	uint8_t *stream_seen; /* SIM_STREAM_MAX bytes */
	uint64_t probed_token, probed_rtt_ns;
	uint16_t mtu;              /* of its interface */
	size_t path_takes;         /* IP packets with DF that are larger get lost; 0: none do */
	unsigned int data_unknown; /* DATA for a key that is not there (any more) */
	unsigned int controls;     /* io.control calls */
	unsigned int sent[5];      /* datagrams by type */
	size_t largest_cookie_reply;
	uint8_t last[5][256]; /* the last one of each type, if it is short */
	size_t last_len[5];
};

struct sim {
	uint64_t now_ns;
	uint64_t order;
	struct sim_event *heap; /* from 1 */
	size_t count, room;
	uint64_t delay_ns, jitter_ns, upcall_delay_ns;
	unsigned int loss_permille, double_permille;
	bool lose_moves; /* upcalls about end points do not get through */
	/* False drops it. */
	bool (*filter)(struct sim *sim, size_t from, size_t to, const uint8_t *msg, size_t len);
	unsigned int filter_count; /* for the filter's use */
	struct sim_node nodes[SIM_NODES];
};

static inline bool sim_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static inline void sim_push(struct sim *sim, struct sim_event e)
{
	size_t i;

	e.order = sim->order++;
	if (sim->count + 1 >= sim->room) {
		sim->room = sim->room ? 2 * sim->room : 1024;
		sim->heap = realloc(sim->heap, sim->room * sizeof(*sim->heap));
		assert_non_null(sim->heap);
	}
	for (i = ++sim->count; i > 1 && sim_before(&e, &sim->heap[i / 2]); i /= 2)
		sim->heap[i] = sim->heap[i / 2];
	sim->heap[i] = e;
}

static inline struct sim_event sim_pop(struct sim *sim)
{
	struct sim_event first = sim->heap[1], last = sim->heap[sim->count--];
	size_t i = 1, child;

	while ((child = 2 * i) <= sim->count) {
		if (child < sim->count && sim_before(&sim->heap[child + 1], &sim->heap[child]))
			child++;
		if (!sim_before(&sim->heap[child], &last))
			break;
		sim->heap[i] = sim->heap[child];
		i = child;
	}
	sim->heap[i] = last;
	return first;
}

static inline struct endpoint sim_address(const char *text)
{
	struct endpoint e;

	memset(&e, 0, sizeof(e));
	assert_true(endpoint_parse(text, 0, &e));
	return e;
}

static inline void sim_transmit(
	struct sim *sim, size_t from, const struct endpoint *to, const void *msg, size_t len)
{
	unsigned int copies = sim_below(1000) < sim->double_permille ? 2 : 1;

	for (size_t n = 0; n < SIM_NODES; n++) {
		const struct sim_node *node = &sim->nodes[n];

		if (!endpoint_same_remote(&node->address, to) &&
			!endpoint_same_remote(&node->second, to))
			continue;
		if (sim->filter && !sim->filter(sim, from, n, msg, len))
			return;
		while (copies-- > 0) {
			struct sim_event e = {.kind = SIM_PACKET, .node = n, .len = len};

			if (sim_below(1000) < sim->loss_permille)
				continue;
			e.from = sim->nodes[from].address;
			e.at_ns = sim->now_ns + sim->delay_ns + sim_below(sim->jitter_ns);
			e.data = malloc(len ? len : 1);
			assert_non_null(e.data);
			memcpy(e.data, msg, len);
			sim_push(sim, e);
		}
		return;
	}
}

/* -- a node's surroundings: struct session_io -- */

static inline int sim_io_send(void *ctx, const struct endpoint *to, const void *msg, size_t len)
{
	struct sim_node *node = ctx;
	uint8_t type = *(const uint8_t *)msg;

	assert_in_range(type, MESSAGE_INIT, MESSAGE_DATA);
	node->sent[type]++;
	if (len <= sizeof(node->last[0])) {
		memcpy(node->last[type], msg, len);
		node->last_len[type] = len;
	}
	sim_transmit(node->sim, node->number, to, msg, len);
	return 0;
}

static inline int sim_io_send_whole(
	void *ctx, const struct endpoint *to, const void *msg, size_t len)
{
	struct sim_node *node = ctx;

	if (len + 28 > node->mtu)
		return -EMSGSIZE;
	if (node->path_takes && len + 28 > node->path_takes)
		return 0;
	return sim_io_send(ctx, to, msg, len);
}

static inline int sim_io_next_stamp(void *ctx, uint8_t ret_stamp[MESSAGE_STAMP_LEN])
{
	struct sim_node *node = ctx;

	node->stamp++;
	memset(ret_stamp, 0, MESSAGE_STAMP_LEN);
	message_set_counter(ret_stamp + 4, node->stamp);
	return 0;
}

static inline uint64_t sim_io_epoch(void *ctx)
{
	return 100 + ((struct sim_node *)ctx)->number;
}

static inline uint16_t sim_io_mtu(void *ctx, const struct endpoint *to)
{
	(void)to;
	return ((struct sim_node *)ctx)->mtu;
}

static inline void sim_io_changed(void *ctx, struct peer *peer, enum peer_state state)
{
	struct sim_node *node = ctx;

	(void)peer;
	node->changes[state]++;
	node->last_change = state;
	if (state == PEER_CONNECTED) /* whoever is told so sends at once */
		assert_true(peer->current && peer->endpoint);
}

static inline void sim_io_control(void *ctx, struct peer *peer, uint32_t van_id, uint8_t kind,
	const uint8_t *payload, size_t len)
{
	(void)peer, (void)van_id, (void)kind, (void)payload, (void)len;
	((struct sim_node *)ctx)->controls++;
}

static inline void sim_io_probed(void *ctx, struct peer *peer, uint64_t token, uint64_t rtt_ns)
{
	struct sim_node *node = ctx;

	(void)peer;
	node->probed_token = token;
	node->probed_rtt_ns = rtt_ns;
}

static inline void sim_io_rearm(void *ctx, uint64_t deadline_ns)
{
	struct sim_node *node = ctx;

	assert_true(deadline_ns < node->due_ns);
	node->due_ns = deadline_ns;
}

/* -- workers -- */

static inline void sim_upcall(struct sim_node *node, enum sim_kind kind, uint32_t index,
	const struct endpoint *from, uint8_t message_kind, const uint8_t *data, size_t len)
{
	struct sim_event e = {.at_ns = node->sim->now_ns + node->sim->upcall_delay_ns,
		.kind = kind,
		.node = node->number,
		.from = *from,
		.index = index,
		.message_kind = message_kind,
		.len = len};

	e.data = malloc(len ? len : 1);
	assert_non_null(e.data);
	if (len)
		memcpy(e.data, data, len);
	sim_push(node->sim, e);
}

static inline void sim_take_frame(struct sim_node *node, const uint8_t *payload, size_t len)
{
	uint64_t number;

	assert_int_equal(len, 8);
	memcpy(&number, payload, 8);
	assert_true(number < SIM_STREAM_MAX);
	if (node->stream_seen[number])
		node->stream_double++;
	else
		node->stream_received++;
	node->stream_seen[number] = 1;
}

/* A DATA message, as in vand/forward.c. */
static inline void sim_open(
	struct sim_node *node, uint8_t *data, size_t len, const struct endpoint *from)
{
	const struct message_data *header = (const struct message_data *)data;
	const struct message_inner *inner = (const struct message_inner *)(header + 1);
	uint64_t now_ns = node->sim->now_ns, counter;
	struct keypair *k;
	struct lane_rx *rx;
	uint8_t kind;
	bool highest;

	assert_true(len >= MESSAGE_OVERHEAD);
	counter = message_counter(header->counter);
	k = sessions_keypair(node->engine, message_index(header->receiver));
	if (!k) {
		stats_drop(&node->counters, DROP_unknown_index);
		node->data_unknown++;
		return;
	}
	assert_true(header->lane < k->remote_lanes);
	rx = atomic_load(&k->rx[header->lane]);
	if (rx && !replay_check(&rx->replay, counter)) {
		stats_drop(&node->counters, DROP_replayed);
		return;
	}
	if (!open_frame(node->config.backend, &k->recv, data, len)) {
		stats_drop(&node->counters, DROP_bad_tag);
		atomic_fetch_add(&k->open_failures, 1);
		return;
	}
	if (!rx) {
		rx = aligned_alloc(_Alignof(struct lane_rx), sizeof(*rx));
		assert_non_null(rx);
		memset(rx, 0, sizeof(*rx));
		replay_init(&rx->replay);
		atomic_store(&k->rx[header->lane], rx);
	}
	if (!replay_commit(&rx->replay, counter, &highest)) {
		stats_drop(&node->counters, DROP_replayed);
		return;
	}
	stats_add(&rx->packets, 1);
	stats_add(&rx->bytes, len - MESSAGE_OVERHEAD);
	kind = inner->kind & MESSAGE_KIND_MASK;
	atomic_store(&k->last_received_ns, now_ns);
	if (kind != MESSAGE_KEEPALIVE && kind != MESSAGE_PROBE && kind != MESSAGE_PROBE_ANSWER)
		atomic_store(&k->last_received_data_ns, now_ns);
	if (!atomic_load(&k->confirmed))
		sim_upcall(node, SIM_CONFIRMED, k->local_index, from, 0, NULL, 0);
	if (highest && !node->sim->lose_moves &&
		(!k->peer->endpoint || !endpoint_same_remote(k->peer->endpoint, from)))
		sim_upcall(node, SIM_MOVED, k->local_index, from, 0, NULL, 0);
	if (kind == MESSAGE_FRAME)
		sim_take_frame(node, (const uint8_t *)(inner + 1), len - MESSAGE_OVERHEAD);
	else if (kind != MESSAGE_KEEPALIVE)
		sim_upcall(node, SIM_CONTROL, k->local_index, from, kind,
			(const uint8_t *)(inner + 1), len - MESSAGE_OVERHEAD);
}

/* Sends the next numbered frame on the worker's lane. False, and a want, where there is no session.
 */
static inline bool sim_send_frame(struct sim *sim, size_t from, size_t to)
{
	struct sim_node *node = &sim->nodes[from];
	struct peer *peer = node->peers[to];
	struct keypair *k = peer->current;
	struct message_inner inner = {.kind = MESSAGE_FRAME};
	uint8_t plain[sizeof(inner) + 8], msg[MESSAGE_OVERHEAD + 8];
	struct lane_tx *lane;
	size_t len;

	if (!k || !keypair_may_send(k, MESSAGE_LANE_WORKER)) {
		node->frames_refused++;
		sessions_want(node->engine, peer, sim->now_ns);
		return false;
	}
	assert_true(atomic_load(&k->confirmed));
	memcpy(plain, &inner, sizeof(inner));
	memcpy(plain + sizeof(inner), &node->stream_next, 8);
	node->stream_next++;
	lane = &k->tx[MESSAGE_LANE_WORKER];
	len = seal_frame(node->config.backend, &k->send, MESSAGE_MODE_GCM, MESSAGE_LANE_WORKER,
		k->remote_index, lane->counter++, plain, sizeof(plain), msg);
	stats_add(&lane->blocks, seal_blocks(sizeof(plain)));
	stats_add(&lane->packets, 1);
	stats_add(&lane->bytes, 8);
	atomic_store(&k->last_sent_ns, sim->now_ns);
	atomic_store(&k->last_sent_data_ns, sim->now_ns);
	sim_transmit(sim, from, peer->endpoint, msg, len);
	return true;
}

/* -- running -- */

static inline void sim_handle(struct sim *sim, struct sim_event *e)
{
	struct sim_node *node = &sim->nodes[e->node];

	if (node->up) {
		switch (e->kind) {
		case SIM_PACKET:
			if (e->len >= 1 && e->data[0] == MESSAGE_DATA)
				sim_open(node, e->data, e->len, &e->from);
			else
				sessions_receive(
					node->engine, e->data, e->len, &e->from, sim->now_ns);
			break;
		case SIM_CONFIRMED:
			sessions_confirmed(node->engine, e->index, sim->now_ns);
			break;
		case SIM_MOVED:
			sessions_moved(node->engine, e->index, &e->from, sim->now_ns);
			break;
		case SIM_CONTROL:
			sessions_control(node->engine, e->index, 0, e->message_kind, e->data,
				e->len, sim->now_ns);
			break;
		}
	}
	free(e->data);
}

/* Runs until the time, everything due at it included. */
static inline void sim_run_until(struct sim *sim, uint64_t until_ns)
{
	for (;;) {
		struct sim_node *due = NULL;
		uint64_t next_ns = sim->count ? sim->heap[1].at_ns : UINT64_MAX;

		for (size_t n = 0; n < SIM_NODES; n++) {
			struct sim_node *node = &sim->nodes[n];

			if (node->up && node->due_ns < next_ns) {
				next_ns = node->due_ns;
				due = node;
			}
		}
		if (next_ns > until_ns)
			break;
		if (next_ns > sim->now_ns)
			sim->now_ns = next_ns;
		if (due) {
			due->due_ns = 0; /* nothing may ask for an earlier turn during this one */
			due->due_ns = sessions_tick(due->engine, sim->now_ns);
		} else {
			struct sim_event e = sim_pop(sim);

			sim_handle(sim, &e);
		}
	}
	sim->now_ns = until_ns;
}

static inline void sim_run(struct sim *sim, uint64_t for_ns)
{
	sim_run_until(sim, sim->now_ns + for_ns);
}

static inline void sim_start_node(struct sim *sim, size_t n)
{
	struct sim_node *node = &sim->nodes[n];
	const struct session_io io = {.ctx = node,
		.send = sim_io_send,
		.send_whole = sim_io_send_whole,
		.next_stamp = sim_io_next_stamp,
		.epoch = sim_io_epoch,
		.underlay_mtu = sim_io_mtu,
		.changed = sim_io_changed,
		.control = sim_io_control,
		.probed = sim_io_probed,
		.rearm = sim_io_rearm};

	node->due_ns = UINT64_MAX;
	assert_int_equal(sessions_new(&node->config, &io, &node->counters, &node->engine), 0);
	node->up = true;
	for (size_t i = 0; i < SIM_NODES; i++) {
		if (i != n)
			assert_int_equal(
				sessions_add(node->engine, &sim->nodes[i].self, &node->peers[i]),
				0);
	}
}

static inline void sim_stop_node(struct sim *sim, size_t n, bool goodbye)
{
	struct sim_node *node = &sim->nodes[n];

	sessions_free(node->engine, goodbye, sim->now_ns);
	node->engine = NULL;
	node->up = false;
}

/* Nodes 0, 1, 2 with rising static keys, at 10.0.0.1 … 3. delay: one way. */
static inline struct sim *sim_new(uint64_t seed, uint64_t delay_ns)
{
	struct sim *sim = calloc(1, sizeof(*sim));
	struct identity ids[SIM_NODES];

	assert_non_null(sim);
	sim_seed = seed;
	sim->now_ns = 1000 * S;
	sim->delay_ns = delay_ns;
	for (size_t n = 0; n < SIM_NODES; n++)
		identity_generate(&ids[n]);
	for (size_t i = 0; i < SIM_NODES; i++) {
		for (size_t j = i + 1; j < SIM_NODES; j++) {
			if (memcmp(&ids[i].public, &ids[j].public, KEY_LEN) > 0) {
				struct identity t = ids[i];

				ids[i] = ids[j];
				ids[j] = t;
			}
		}
	}
	for (size_t n = 0; n < SIM_NODES; n++) {
		struct sim_node *node = &sim->nodes[n];
		char text[32];

		node->sim = sim;
		node->number = n;
		node->mtu = (uint16_t)(1500 + n);
		node->identity = ids[n];
		snprintf(text, sizeof(text), "10.0.0.%zu:4826", n + 1);
		node->address = sim_address(text);
		snprintf(node->self.id, sizeof(node->self.id), "id-%zu", n);
		snprintf(node->self.name, sizeof(node->self.name), "node-%zu", n);
		node->self.public_key = node->identity.public;
		node->self.teps[0] = node->address;
		node->self.tep_count = 1;
		node->stream_seen = calloc(1, SIM_STREAM_MAX);
		assert_non_null(node->stream_seen);
		node->config = (struct session_config){.identity = &node->identity,
			.lanes = 2,
			.backend = seal_backend_find(NULL)};
		memset(node->config.mesh, 0x33, sizeof(node->config.mesh));
		session_timers_default(&node->config.timers);
	}
	return sim;
}

static inline void sim_start(struct sim *sim)
{
	for (size_t n = 0; n < SIM_NODES; n++)
		sim_start_node(sim, n);
}

static inline void sim_free(struct sim *sim)
{
	for (size_t n = 0; n < SIM_NODES; n++) {
		if (sim->nodes[n].up)
			sim_stop_node(sim, n, false);
		free(sim->nodes[n].stream_seen);
	}
	while (sim->count) {
		struct sim_event e = sim_pop(sim);

		free(e.data);
	}
	free(sim->heap);
	free(sim);
}

/* -- asking -- */

static inline void sim_want(struct sim *sim, size_t from, size_t to)
{
	sessions_want(sim->nodes[from].engine, sim->nodes[from].peers[to], sim->now_ns);
}

static inline struct session_view sim_view(struct sim *sim, size_t of, size_t peer)
{
	struct session_view v;

	session_view(sim->nodes[of].engine, sim->nodes[of].peers[peer], &v);
	return v;
}

static inline enum peer_state sim_state(struct sim *sim, size_t of, size_t peer)
{
	return sim_view(sim, of, peer).state;
}

static inline uint64_t sim_stat(struct sim *sim, size_t n, enum stat_event event)
{
	return stats_read(&sim->nodes[n].counters.events[event]);
}

static inline uint64_t sim_drops(struct sim *sim, size_t n, enum drop_reason reason)
{
	return stats_read(&sim->nodes[n].counters.drops[reason]);
}

static inline uint64_t sim_all_drops(struct sim *sim, size_t n)
{
	uint64_t sum = 0;

	for (int i = 0; i < DROP__COUNT; i++)
		sum += sim_drops(sim, n, (enum drop_reason)i);
	return sum;
}

static inline unsigned int sim_all_sent(struct sim *sim, size_t n)
{
	const unsigned int *s = sim->nodes[n].sent;

	return s[MESSAGE_INIT] + s[MESSAGE_RESP] + s[MESSAGE_COOKIE] + s[MESSAGE_DATA];
}

static inline void sim_assert_connected(struct sim *sim, size_t a, size_t b)
{
	assert_int_equal(sim_state(sim, a, b), PEER_CONNECTED);
	assert_int_equal(sim_state(sim, b, a), PEER_CONNECTED);
}

/* A session between a and b, at rest. */
static inline void sim_connect(struct sim *sim, size_t a, size_t b)
{
	sim_want(sim, a, b);
	sim_run(sim, 4 * (sim->delay_ns + sim->jitter_ns + sim->upcall_delay_ns) + 2 * S);
	sim_assert_connected(sim, a, b);
}

/* One frame each way arrives. */
static inline void sim_assert_traffic(struct sim *sim, size_t a, size_t b)
{
	uint64_t at_a = sim->nodes[a].stream_received, at_b = sim->nodes[b].stream_received;

	assert_true(sim_send_frame(sim, a, b));
	assert_true(sim_send_frame(sim, b, a));
	sim_run(sim, sim->delay_ns + sim->jitter_ns + 1 * MS);
	assert_int_equal(sim->nodes[a].stream_received, at_a + 1);
	assert_int_equal(sim->nodes[b].stream_received, at_b + 1);
}

#endif
