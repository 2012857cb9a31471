/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several workers of one node: the receive windows that they share, in real threads, and the source
 * ports that they send from. The sessions are real engines on the simulated link and clock of
 * session_sim.h; a node under test has real workers on top, whose own threads are not started.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <urcu-qsbr.h>
#include "test/unit/session_sim.h"
#include "vand/forward.h"
#include "vand/network.h"
#include "vand/tap.h"
#include "vand/upcall.h"
#include "vand/worker.h"

#define VAN_ID    0x123456
#define WORKERS   2
#define FRAME_LEN 60
#define SEALED    (MESSAGE_OVERHEAD + FRAME_LEN)

/* Node `self` of the simulation with a data path. */
struct node {
	struct sim *sim;
	size_t self, other;
	struct mac mac, other_mac;
	struct udp udp;
	struct upcall upcall;
	struct networks networks;
	struct network *net;
	struct worker *workers[WORKERS];
};

struct world {
	struct sim *sim;
	struct node a, b;
	uint8_t *seen; /* how often each frame came out at b, by number; atomic */
	uint64_t count;
	_Atomic uint64_t wrong; /* frames that came out and were never sent */
};

static struct peer *peer_of(const struct node *n)
{
	return n->sim->nodes[n->self].peers[n->other];
}

/* -- set-up -- */

/* offload_emit: where b's frames come out, in whatever thread. */
static void take_frame(void *ctx, const void *tap, const struct iovec *iov, unsigned int count,
	unsigned int segments, size_t len)
{
	struct world *w = ctx;
	const uint8_t *frame = (const uint8_t *)iov[0].iov_base + OFFLOAD_VNET_LEN;
	uint64_t number;

	memcpy(&number, frame + 14, sizeof(number));
	if (tap != w->b.net || count != 1 || segments != 1 || len != FRAME_LEN ||
		number >= w->count)
		atomic_fetch_add(&w->wrong, 1);
	else
		__atomic_fetch_add(&w->seen[number], 1, __ATOMIC_RELAXED);
}

static struct network *make_network(void)
{
	struct network *net = calloc(1, sizeof(*net));

	assert_non_null(net);
	net->van_id = VAN_ID;
	net->mode = MESSAGE_MODE_GCM;
	net->mtu = 1360;
	net->tap = calloc(1, sizeof(*net->tap));
	net->members = calloc(1, sizeof(*net->members));
	net->workers = WORKERS;
	net->counters = aligned_alloc(64, WORKERS * sizeof(*net->counters));
	memset(net->counters, 0, WORKERS * sizeof(*net->counters));
	assert_int_equal(fdb_init(&net->fdb), 0);
	return net;
}

static void make_node(struct world *w, struct node *n, size_t self, size_t other)
{
	struct sim_node *node = &w->sim->nodes[self];
	struct worker_config config = {.udp = &n->udp,
		.sessions = node->engine,
		.networks = &n->networks,
		.backend = node->config.backend,
		.upcall = &n->upcall,
		.several = true};
	struct network_member member;

	n->sim = w->sim;
	n->self = self;
	n->other = other;
	n->mac = (struct mac){{2, 0, 0, 0, 0, (uint8_t)self}};
	n->other_mac = (struct mac){{2, 0, 0, 0, 0, (uint8_t)other}};
	n->udp = (struct udp){.workers = WORKERS, .fd_nodf = {-1, -1}, .gso_segments = 64};
	for (unsigned int i = 0; i < WORKERS; i++)
		n->udp.of[i] = (struct udp_sockets){.main = {-1, -1}, .lane = {-1, -1}};
	assert_int_equal(upcall_init(&n->upcall), 0);
	assert_int_equal(table_init(&n->networks.by_van_id), 0);
	n->net = make_network();
	member = (struct network_member){.peer = peer_of(n), .macs = &n->other_mac, .mac_count = 1};
	assert_int_equal(network_set_members(n->net, &member, 1, &n->mac, 1), 0);
	assert_int_equal(table_set(&n->networks.by_van_id, VAN_ID, n->net, NULL), 0);
	for (unsigned int i = 0; i < WORKERS; i++) {
		config.index = i;
		assert_int_equal(worker_new(&config, &n->workers[i]), 0);
		offload_join_init(&n->workers[i]->join, true, true, take_frame, w);
	}
}

static void free_node(struct node *n)
{
	for (unsigned int i = 0; i < WORKERS; i++)
		worker_free(n->workers[i]);
	table_done(&n->networks.by_van_id);
	upcall_done(&n->upcall);
	fdb_done(&n->net->fdb);
	free(n->net->counters);
	free(n->net->members);
	free(n->net->tap);
	free(n->net);
}

static struct world *world_new(uint8_t lanes)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->sim = sim_new(5, 1 * MS);
	for (size_t i = 0; i < SIM_NODES; i++)
		w->sim->nodes[i].config.lanes = lanes;
	sim_start(w->sim);
	make_node(w, &w->a, 0, 1);
	make_node(w, &w->b, 1, 0);
	sim_connect(w->sim, 0, 1);
	return w;
}

static void world_free(struct world *w)
{
	free_node(&w->a);
	free_node(&w->b);
	sim_free(w->sim);
	free(w->seen);
	free(w);
}

static int set_up(void **state)
{
	*state = world_new(MESSAGE_LANE_WORKER + WORKERS);
	return 0;
}

static int set_up_with_all_lanes(void **state)
{
	*state = world_new(MESSAGE_LANES_MAX);
	return 0;
}

static int tear_down(void **state)
{
	world_free(*state);
	return 0;
}

static void make_frame(const struct node *from, uint64_t number, uint8_t frame[FRAME_LEN])
{
	memset(frame, 0, FRAME_LEN);
	memcpy(frame, from->other_mac.b, 6);
	memcpy(frame + 6, from->mac.b, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	memcpy(frame + 14, &number, sizeof(number));
}

/* ---- receiving in two threads ---- */

/* Seals frame `number` on a lane of a's current key, as that lane's worker would. */
static void seal_numbered(struct world *w, uint8_t lane, uint64_t number, uint8_t dst[SEALED])
{
	struct keypair *keys = peer_of(&w->a)->current;
	struct {
		struct message_inner inner;
		uint8_t frame[FRAME_LEN];
	} plain = {.inner.kind = MESSAGE_FRAME};

	message_set_van_id(plain.inner.van_id, VAN_ID);
	make_frame(&w->a, number, plain.frame);
	assert_int_equal(seal_frame(w->a.workers[0]->backend, &keys->send, MESSAGE_MODE_GCM, lane,
				 keys->remote_index, keys->tx[lane].counter++,
				 (const uint8_t *)&plain, sizeof(plain), dst),
		SEALED);
}

/* What one thread feeds to one worker: datagrams, in an order of its own. */
struct feeder {
	struct world *world;
	struct worker *worker;
	const uint8_t (*datagrams)[SEALED];
	uint32_t *order;
	size_t count;
	unsigned int batch_max;
	pthread_barrier_t *start, *each; /* each: before every datagram; NULL: not */
	pthread_t thread;
};

static void shuffle(uint32_t *order, size_t count)
{
	for (size_t i = 0; i < count; i++)
		order[i] = (uint32_t)i;
	for (size_t i = count; i > 1; i--) {
		size_t j = sim_below(i);
		uint32_t t = order[i - 1];

		order[i - 1] = order[j];
		order[j] = t;
	}
}

/* A worker's thread without its sockets: batches, as in vand/worker.c. */
static void *feed(void *arg)
{
	struct feeder *f = arg;
	const struct endpoint *from = &f->world->sim->nodes[f->world->a.self].address;
	uint8_t(*buffers)[UDP_RX_HEADROOM + SEALED] = malloc(f->batch_max * sizeof(*buffers));
	uint64_t random = f->worker->index + 1;

	rcu_register_thread();
	pthread_barrier_wait(f->start);
	for (size_t at = 0; at < f->count;) {
		unsigned int n;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		n = (unsigned int)(1 + (random >> 33) % f->batch_max);
		if (f->each)
			pthread_barrier_wait(f->each);
		for (unsigned int i = 0; i < n && at < f->count; i++, at++) {
			uint8_t *data = buffers[i] + UDP_RX_HEADROOM;

			memcpy(data, f->datagrams[f->order[at]], SEALED);
			forward_from_peer(f->worker, data, SEALED, from);
		}
		forward_release(f->worker);
		offload_join_flush(&f->worker->join);
		if (f->worker->window)
			atomic_fetch_add(&f->world->wrong, 1);
		rcu_quiescent_state();
	}
	rcu_unregister_thread();
	free(buffers);
	return NULL;
}

static void feeders_start(struct world *w, struct feeder f[WORKERS], pthread_barrier_t *start)
{
	assert_int_equal(pthread_barrier_init(start, NULL, WORKERS + 1), 0);
	for (unsigned int i = 0; i < WORKERS; i++) {
		f[i].world = w;
		f[i].worker = w->b.workers[i];
		f[i].start = start;
		f[i].worker->now_ns = w->sim->now_ns;
		assert_int_equal(pthread_create(&f[i].thread, NULL, feed, &f[i]), 0);
	}
	pthread_barrier_wait(start);
}

static void feeders_join(struct feeder f[WORKERS], pthread_barrier_t *start)
{
	for (unsigned int i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(f[i].thread, NULL), 0);
	pthread_barrier_destroy(start);
}

static uint64_t dropped(const struct node *n, enum drop_reason reason)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < WORKERS; i++)
		sum += stats_read(&n->workers[i]->counters.drops[reason]);
	return sum;
}

static uint64_t all_dropped(const struct node *n)
{
	uint64_t sum = 0;

	for (int i = 0; i < DROP__COUNT; i++)
		sum += dropped(n, (enum drop_reason)i);
	return sum;
}

/* Nobody holds a window, and together they have counted so many packets on these lanes. */
static void assert_windows(const struct world *w, uint8_t first, uint8_t last, uint64_t packets)
{
	struct keypair *keys = peer_of(&w->b)->current;
	uint64_t sum = 0;

	for (uint8_t lane = first; lane <= last; lane++) {
		struct lane_rx *rx = atomic_load(&keys->rx[lane]);

		assert_non_null(rx);
		assert_false(atomic_flag_test_and_set(&rx->lock));
		atomic_flag_clear(&rx->lock);
		sum += atomic_load(&rx->packets);
	}
	assert_int_equal(sum, packets);
	for (uint8_t lane = (uint8_t)(last + 1); lane < MESSAGE_LANES_MAX; lane++)
		assert_null(atomic_load(&keys->rx[lane]));
}

/* Both workers get all datagrams of these lanes, each in an order of its own. In each lane no more
 * than a window's worth: nothing is too old, so each must come out, and once. */
static void feed_both(struct world *w, uint8_t first, uint8_t last, size_t each)
{
	const size_t lanes = (size_t)(last - first + 1);
	struct feeder f[WORKERS] = {0};
	pthread_barrier_t start;
	uint8_t(*datagrams)[SEALED];

	w->count = lanes * each;
	w->seen = calloc(w->count, 1);
	datagrams = calloc(w->count, sizeof(*datagrams));
	assert_non_null(datagrams);
	for (size_t i = 0; i < w->count; i++)
		seal_numbered(w, (uint8_t)(first + i % lanes), i, datagrams[i]);
	for (unsigned int i = 0; i < WORKERS; i++) {
		f[i].datagrams = datagrams;
		f[i].count = w->count;
		f[i].order = calloc(w->count, sizeof(*f[i].order));
		f[i].batch_max = 64;
		shuffle(f[i].order, w->count);
	}
	feeders_start(w, f, &start);
	feeders_join(f, &start);
	for (uint64_t i = 0; i < w->count; i++)
		assert_int_equal(w->seen[i], 1);
	assert_int_equal(w->wrong, 0);
	assert_int_equal(dropped(&w->b, DROP_replayed), w->count);
	assert_int_equal(all_dropped(&w->b), w->count);
	assert_windows(w, first, last, w->count);
	for (unsigned int i = 0; i < WORKERS; i++)
		free(f[i].order);
	free(datagrams);
}

static void one_lane_in_two_workers(void **state)
{
	feed_both(*state, 2, 2, REPLAY_WINDOW);
}

static void several_lanes_in_two_workers(void **state)
{
	feed_both(*state, 2, 9, REPLAY_WINDOW / 2);
}

/* Both workers open a lane's first packet at the same moment: one window is made, one frame comes
 * out. Again and again: all lanes, of many keys. */
static void first_packets_at_both_workers(void **state)
{
	enum { KEYS = 200, FIRST = 2, LANES = MESSAGE_LANES_MAX - FIRST };
	struct world *w = *state;
	uint8_t datagrams[LANES][SEALED];
	uint32_t order[LANES];

	w->count = LANES;
	w->seen = calloc(w->count, 1);
	for (uint64_t key = 1; key <= KEYS; key++) {
		struct feeder f[WORKERS] = {0};
		const uint32_t index = peer_of(&w->b)->current->local_index;
		pthread_barrier_t start, each;

		assert_int_equal(pthread_barrier_init(&each, NULL, WORKERS), 0);
		for (uint32_t i = 0; i < LANES; i++) {
			order[i] = i;
			seal_numbered(w, (uint8_t)(FIRST + i), i, datagrams[i]);
		}
		for (unsigned int i = 0; i < WORKERS; i++) {
			f[i].datagrams = datagrams;
			f[i].order = order;
			f[i].count = LANES;
			f[i].batch_max = 1;
			f[i].each = &each;
		}
		feeders_start(w, f, &start);
		feeders_join(f, &start);
		pthread_barrier_destroy(&each);
		for (uint64_t i = 0; i < LANES; i++)
			assert_int_equal(w->seen[i], key);
		assert_int_equal(all_dropped(&w->b), key * LANES);
		assert_int_equal(dropped(&w->b, DROP_replayed), key * LANES);
		assert_windows(w, FIRST, MESSAGE_LANES_MAX - 1, LANES);
		/* Another key, by an initiator whose key is full. */
		atomic_store(&peer_of(&w->a)->current->tx[1].blocks, MESSAGE_BLOCKS_REKEY);
		sim_run(w->sim, 3 * S);
		assert_int_not_equal(peer_of(&w->b)->current->local_index, index);
	}
	assert_int_equal(w->wrong, 0);
}

/* Keys are replaced and freed, windows with them, while both workers receive on them: every
 * datagram is either delivered once or was for a key that is gone. */
static void keys_go_while_two_workers_receive(void **state)
{
	enum { LANES = 4, FIRST = 2, COUNT = 4000, REPEATS = 30 };
	struct world *w = *state;
	static uint8_t datagrams[COUNT][SEALED];
	static uint32_t order[COUNT * REPEATS];
	struct feeder f[WORKERS] = {0};
	pthread_barrier_t start;
	uint64_t delivered = 0;

	w->count = COUNT;
	w->seen = calloc(w->count, 1);
	for (uint32_t i = 0; i < COUNT; i++)
		seal_numbered(w, (uint8_t)(FIRST + i % LANES), i, datagrams[i]);
	for (uint32_t i = 0; i < COUNT * REPEATS; i++)
		order[i] = i % COUNT;
	for (unsigned int i = 0; i < WORKERS; i++) {
		f[i].datagrams = datagrams;
		f[i].order = order;
		f[i].count = COUNT * REPEATS;
		f[i].batch_max = 64;
	}
	feeders_start(w, f, &start);
	/* In the meantime, as the control thread: the fourth new key pushes the first out. */
	for (unsigned int i = 0; i < 6; i++) {
		atomic_store(&peer_of(&w->a)->current->tx[1].blocks, MESSAGE_BLOCKS_REKEY);
		sim_run(w->sim, 3 * S);
	}
	feeders_join(f, &start);
	for (uint64_t i = 0; i < COUNT; i++) {
		assert_in_range(w->seen[i], 0, 1);
		delivered += w->seen[i];
	}
	assert_true(delivered > 0);
	assert_int_equal(w->wrong, 0);
	assert_int_equal(dropped(&w->b, DROP_replayed) + dropped(&w->b, DROP_unknown_index),
		WORKERS * COUNT * REPEATS - delivered);
	assert_int_equal(all_dropped(&w->b), WORKERS * COUNT * REPEATS - delivered);
}

/* Locks are not for the only worker. */
static void a_single_worker_holds_nothing(void **state)
{
	struct world *w = *state;
	struct worker *only = w->b.workers[0];
	uint8_t buffer[UDP_RX_HEADROOM + SEALED];

	w->count = 100;
	w->seen = calloc(w->count, 1);
	for (unsigned int several = 0; several < 2; several++) {
		only->several = several;
		for (uint8_t i = 0; i < 2; i++) {
			const uint8_t lane = (uint8_t)(1 + i);

			seal_numbered(w, lane, several * 2 + i, buffer + UDP_RX_HEADROOM);
			forward_from_peer(only, buffer + UDP_RX_HEADROOM, SEALED,
				&w->sim->nodes[w->a.self].address);
			/* One at a time, until it is given back. */
			assert_ptr_equal(
				only->window, several ? peer_of(&w->b)->current->rx[lane] : NULL);
		}
		forward_release(only);
		assert_null(only->window);
		offload_join_flush(&only->join);
	}
	assert_windows(w, 1, 2, 4);
	assert_int_equal(all_dropped(&w->b), 0);
}

/* Lanes that the peer did not announce. */
static void lanes_beyond_the_peers_are_dropped(void **state)
{
	struct world *w = *state;
	struct keypair *keys = peer_of(&w->b)->current;
	uint8_t datagram[SEALED];

	assert_int_equal(keys->remote_lanes, MESSAGE_LANE_WORKER + WORKERS);
	seal_numbered(w, 1, 0, datagram);
	for (unsigned int lane = keys->remote_lanes; lane < 256; lane++) {
		datagram[offsetof(struct message_data, lane)] = (uint8_t)lane;
		forward_from_peer(
			w->b.workers[0], datagram, SEALED, &w->sim->nodes[w->a.self].address);
		assert_int_equal(dropped(&w->b, DROP_bad_lane), lane - keys->remote_lanes + 1);
	}
	for (size_t lane = 0; lane < MESSAGE_LANES_MAX; lane++) /* control has confirmed the key */
		assert_true(lane == 0 || !atomic_load(&keys->rx[lane]));
}

/* ---- source ports ---- */

/* What a's worker has to send: the lengths and ports, in the order of its slots. It all goes over
 * the simulated link, or is lost. */
struct sent {
	unsigned int probes;      /* by the own port */
	unsigned int frames_own;  /* frames by the own port */
	unsigned int frames_main; /* frames by the main port */
	bool probe_first;
};

static struct sent send_all(struct node *n, struct worker *worker, bool arrives)
{
	const struct endpoint *to = peer_of(n)->endpoint;
	struct udp_tx *tx = &worker->tx;
	struct sent sent = {0};

	for (unsigned int i = 0; i < tx->count; i++) {
		const struct udp_tx_slot *slot = &tx->slots[i];

		assert_true(endpoint_same_remote(&slot->to, to));
		for (uint32_t at = 0; at < slot->len; at += slot->segment_len) {
			uint32_t left = slot->len - at;
			uint32_t len = left < slot->segment_len ? left : slot->segment_len;

			assert_int_equal(slot->data[at], MESSAGE_DATA);
			assert_int_equal(slot->data[at + 1], worker->lane);
			if (len == MESSAGE_OVERHEAD + MESSAGE_PROBE_LEN) {
				assert_true(slot->own_port);
				sent.probe_first |= sent.frames_own + sent.frames_main == 0;
				sent.probes++;
				if (arrives)
					sim_transmit(
						n->sim, n->self, &slot->to, slot->data + at, len);
			} else {
				assert_int_equal(len, SEALED);
				*(slot->own_port ? &sent.frames_own : &sent.frames_main) += 1;
			}
		}
	}
	tx->count = 0;
	return sent;
}

/* A frame from the application at n through one of its workers. */
static struct sent send_frame(struct node *n, unsigned int worker, bool arrives)
{
	static const struct virtio_net_hdr plain;
	struct worker *w = n->workers[worker];

	w->now_ns = n->sim->now_ns;
	make_frame(n, 0, w->frame);
	forward_from_tap(w, n->net, &plain, FRAME_LEN);
	return send_all(n, w, arrives);
}

static void assert_sent(struct sent sent, unsigned int probes, bool own)
{
	assert_int_equal(sent.probes, probes);
	assert_int_equal(sent.frames_own, own);
	assert_int_equal(sent.frames_main, !own);
}

/* The probe of a's second worker was answered. */
static void use_own_port(struct world *w)
{
	struct sent sent = send_frame(&w->a, 1, true);

	assert_sent(sent, 1, false);
	assert_true(sent.probe_first);
	sim_run(w->sim, 10 * MS);
	assert_sent(send_frame(&w->a, 1, true), 0, true);
}

static void probes_before_it_uses_its_own_port(void **state)
{
	struct world *w = *state;
	struct sent sent = send_frame(&w->a, 1, true);
	unsigned int probes;

	/* A probe goes first; frames go by the main port until the answer is there. */
	assert_sent(sent, 1, false);
	assert_true(sent.probe_first);
	assert_sent(send_frame(&w->a, 1, true), 0, false);
	sim_run(w->sim, 1 * MS + MS / 2); /* there, and not yet back */
	assert_sent(send_frame(&w->a, 1, true), 0, false);
	sim_run(w->sim, 1 * MS);
	assert_sent(send_frame(&w->a, 1, true), 0, true);
	/* In use, it is tried again every 10 s, and stays in use by that. */
	probes = sent.probes;
	for (unsigned int i = 0; i < 1000; i++) {
		sim_run(w->sim, 100 * MS);
		sent = send_frame(&w->a, 1, true);
		assert_int_equal(sent.frames_own, 1);
		probes += sent.probes;
		sim_assert_traffic(w->sim, 1, 0); /* so that b is not taken for dead */
	}
	assert_in_range(probes, 10, 11);
	assert_int_equal(all_dropped(&w->a), 0);
}

static void keeps_to_the_main_port_without_an_answer(void **state)
{
	struct world *w = *state;

	/* Something on the way drops whatever does not come from the main port. */
	for (unsigned int i = 0; i < 100; i++) {
		struct sent sent = send_frame(&w->a, 1, false);

		assert_sent(sent, i % 10 == 0, false);
		sim_run(w->sim, 1 * S);
		sim_assert_traffic(w->sim, 0, 1);
	}
	/* It ceases to. */
	use_own_port(w);
}

static void returns_to_the_main_port_after_25_seconds(void **state)
{
	struct world *w = *state;

	use_own_port(w);
	for (unsigned int i = 1; i <= 60; i++) {
		struct sent sent;

		sim_run(w->sim, 1 * S);
		sent = send_frame(&w->a, 1, false);
		assert_sent(sent, i % 10 == 0, i < 25);
		sim_assert_traffic(w->sim, 0, 1);
	}
}

static void forgets_its_own_port_when_the_peer_moves(void **state)
{
	struct world *w = *state;
	struct sim_node *b = &w->sim->nodes[1];
	struct sent sent;

	use_own_port(w);
	b->address = sim_address("10.0.9.9:5000");
	assert_true(sim_send_frame(w->sim, 1, 0));
	sim_run(w->sim, 10 * MS);
	assert_true(endpoint_same_remote(peer_of(&w->a)->endpoint, &b->address));
	/* A NAT or firewall on the new way knows nothing of the port yet. */
	assert_sent(send_frame(&w->a, 1, true), 0, false);
	sim_run(w->sim, SESSION_PORT_PROBE_NS);
	sent = send_frame(&w->a, 1, true);
	assert_sent(sent, 1, false);
	sim_run(w->sim, 10 * MS);
	assert_sent(send_frame(&w->a, 1, true), 0, true);
}

static void rekey(struct world *w, size_t initiator)
{
	struct peer *p = w->sim->nodes[initiator].peers[1 - initiator];
	const struct keypair *a = peer_of(&w->a)->current, *b = peer_of(&w->b)->current;

	atomic_store(&p->current->tx[1].blocks, MESSAGE_BLOCKS_REKEY);
	sim_run(w->sim, 3 * S);
	assert_ptr_not_equal(peer_of(&w->a)->current, a);
	assert_ptr_not_equal(peer_of(&w->b)->current, b);
}

/* Whoever makes the new key. */
static void a_new_key_keeps_the_own_port(void **state)
{
	struct world *w = *state;

	use_own_port(w);
	for (size_t initiator = 0; initiator < 2; initiator++) {
		struct sent sent;

		rekey(w, initiator);
		sent = send_frame(&w->a, 1, true);
		assert_int_equal(sent.frames_own, 1);
		assert_int_equal(sent.frames_main, 0);
		/* The new key's first frame tries the port again, which makes 25 s of it. */
		assert_int_equal(sent.probes, 1);
		sim_run(w->sim, 10 * MS);
		assert_sent(send_frame(&w->a, 1, true), 0, true);
	}
	/* And what was not vouched for is not after it either. */
	sim_run(w->sim, 20 * S);
	rekey(w, 0);
	assert_sent(send_frame(&w->a, 1, false), 1, true);
	sim_run(w->sim, 3 * S);
	assert_sent(send_frame(&w->a, 1, false), 0, false);
}

/* The peer says goodbye and comes back with a new session: the port is tried anew. */
static void a_new_session_begins_at_the_main_port(void **state)
{
	struct world *w = *state;

	use_own_port(w);
	sim_stop_node(w->sim, 1, true);
	sim_run(w->sim, 1 * S);
	assert_null(peer_of(&w->a)->current);
	sim_start_node(w->sim, 1);
	sim_connect(w->sim, 0, 1);
	use_own_port(w);
}

/* The first worker's lane stays at the main port, and so does control's. */
static void the_first_worker_sends_from_the_main_port(void **state)
{
	struct world *w = *state;
	const struct keypair *k = peer_of(&w->a)->current;

	for (unsigned int i = 0; i < 30; i++) {
		assert_sent(send_frame(&w->a, 0, true), 0, false);
		sim_run(w->sim, 1 * S);
		sim_assert_traffic(w->sim, 1, 0);
	}
	/* Not even if the peer answers what was never asked. */
	for (uint64_t lane = 0; lane <= MESSAGE_LANE_WORKER; lane++) {
		uint8_t answer[MESSAGE_PROBE_ANSWER_LEN] = {0};

		message_set_counter(answer, MESSAGE_TOKEN_LANE | lane);
		assert_int_equal(
			sessions_send(w->sim->nodes[1].engine, peer_of(&w->b), 0,
				MESSAGE_PROBE_ANSWER, answer, sizeof(answer), w->sim->now_ns),
			0);
	}
	sim_run(w->sim, 10 * MS);
	assert_ptr_equal(peer_of(&w->a)->current, k);
	assert_sent(send_frame(&w->a, 0, true), 0, false);
}

static void answers_for_lanes_that_are_not_ours_are_ignored(void **state)
{
	struct world *w = *state;
	const struct keypair *k = peer_of(&w->a)->current;

	for (uint64_t lane = k->local_lanes; lane < 256; lane++) {
		uint8_t answer[MESSAGE_PROBE_ANSWER_LEN] = {0};

		message_set_counter(answer, MESSAGE_TOKEN_LANE | lane);
		assert_int_equal(
			sessions_send(w->sim->nodes[1].engine, peer_of(&w->b), 0,
				MESSAGE_PROBE_ANSWER, answer, sizeof(answer), w->sim->now_ns),
			0);
	}
	sim_run(w->sim, 10 * MS);
	for (size_t lane = 0; lane < k->local_lanes; lane++)
		assert_int_equal(atomic_load(&k->tx[lane].own_port_until_ns), 0);
	assert_sent(send_frame(&w->a, 1, false), 1, false);
	assert_int_equal(w->sim->nodes[0].probed_token, 0); /* nor was it taken for a ping's */
}

int main(void)
{
#define TEST(name)     cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_ALL(name) cmocka_unit_test_setup_teardown(name, set_up_with_all_lanes, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_ALL(one_lane_in_two_workers),
		TEST_ALL(several_lanes_in_two_workers),
		TEST_ALL(first_packets_at_both_workers),
		TEST_ALL(keys_go_while_two_workers_receive),
		TEST(a_single_worker_holds_nothing),
		TEST(lanes_beyond_the_peers_are_dropped),
		TEST(probes_before_it_uses_its_own_port),
		TEST(keeps_to_the_main_port_without_an_answer),
		TEST(returns_to_the_main_port_after_25_seconds),
		TEST(forgets_its_own_port_when_the_peer_moves),
		TEST(a_new_key_keeps_the_own_port),
		TEST(a_new_session_begins_at_the_main_port),
		TEST(the_first_worker_sends_from_the_main_port),
		TEST(answers_for_lanes_that_are_not_ours_are_ignored),
	};

	if (sim_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("workers", tests, NULL, NULL);
}
