/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data path without devices: two nodes in one process, each with a real session engine and a
 * real worker whose thread is not started. The TAPs are socket pairs (they carry the same bytes as
 * a TAP: virtio_net_hdr and frame), the underlay is the test, which takes sealed datagrams out of
 * one worker's send batch and gives them to the other.
 */
#ifndef TEST_FORWARD_WORLD_H
#define TEST_FORWARD_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <sys/socket.h>
#include <unistd.h>
#include <urcu-qsbr.h>
#include "lib/clock.h"
#include "vand/forward.h"
#include "vand/network.h"
#include "vand/session.h"
#include "vand/tap.h"
#include "vand/upcall.h"
#include "vand/worker.h"

#define VAN_ID           0x123456
#define VAN_ID_INTEGRITY 0x777
#define MAX_FRAME        70000

struct node {
	struct identity id;
	struct sessions *sessions;
	struct counters control;
	struct networks networks;
	struct network *net, *integrity;
	struct udp udp;
	struct upcall upcall;
	struct worker *worker;
	struct peer *peer; /* the other one */
	int tap_end[2];    /* the application's ends of net's and integrity's TAP */
	struct mac mac;
	struct endpoint at;
	struct node *other;
	uint64_t stamp;
};

struct world {
	struct node a, b;
	uint64_t now;
};

/* -- the session engine's surroundings -- */

static inline int io_send(void *ctx, const struct endpoint *to, const void *msg, size_t len)
{
	struct node *n = ctx, *other = n->other;
	uint8_t copy[2048];

	(void)to;
	memcpy(copy, msg, len);
	if (copy[0] != MESSAGE_DATA) {
		sessions_receive(other->sessions, copy, len, &n->at, 1000);
		return 0;
	}
	rcu_thread_online();
	forward_from_peer(other->worker, copy, len, &n->at);
	rcu_thread_offline();
	return 0;
}

static inline int io_stamp(void *ctx, uint8_t ret_stamp[MESSAGE_STAMP_LEN])
{
	struct node *n = ctx;

	memset(ret_stamp, 0, MESSAGE_STAMP_LEN);
	ret_stamp[7] = (uint8_t)++n->stamp;
	return 0;
}

static inline uint64_t io_epoch(void *ctx)
{
	(void)ctx;
	return 1;
}

static inline uint16_t io_mtu(void *ctx, const struct endpoint *to)
{
	(void)ctx;
	(void)to;
	return 1500;
}

static inline void io_changed(void *ctx, struct peer *peer, enum peer_state state)
{
	(void)ctx;
	(void)peer;
	(void)state;
}

static inline void io_control(void *ctx, struct peer *peer, uint32_t van_id, uint8_t kind,
	const uint8_t *payload, size_t len)
{
	(void)ctx;
	(void)peer;
	(void)van_id;
	(void)kind;
	(void)payload;
	(void)len;
}

static inline void io_probed(void *ctx, struct peer *peer, uint64_t token, uint64_t rtt_ns)
{
	(void)ctx;
	(void)peer;
	(void)token;
	(void)rtt_ns;
}

static inline void io_rearm(void *ctx, uint64_t deadline_ns)
{
	(void)ctx;
	(void)deadline_ns;
}

/* What the control thread does with upcalls that the tests need. */
static inline void run_upcalls(struct node *n)
{
	struct upcall_message m;

	while (upcall_receive(&n->upcall, UPCALL_OWN, &m) == 0) {
		if (m.kind == UPCALL_CONFIRMED)
			sessions_confirmed(n->sessions, m.local_index, 1000);
		else if (m.kind == UPCALL_WANT)
			sessions_want(
				n->sessions, sessions_find_ref(n->sessions, m.peer_ref), 1000);
	}
}

/* -- set-up -- */

static inline struct network *make_network(
	struct node *n, uint32_t van_id, enum message_mode mode, int *ret_end)
{
	struct network *net = calloc(1, sizeof(*net));
	const int size = 4 << 20;
	int fds[2];

	assert_non_null(net);
	net->van_id = van_id;
	net->mode = mode;
	net->mtu = 1360;
	net->tap = calloc(1, sizeof(*net->tap));
	net->members = calloc(1, sizeof(*net->members));
	assert_int_equal(fdb_init(&net->fdb), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds), 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	net->tap->fd[0] = fds[0];
	net->tap->queues = 1;
	net->workers = 1;
	net->counters = aligned_alloc(64, sizeof(*net->counters));
	memset(net->counters, 0, sizeof(*net->counters));
	*ret_end = fds[1];
	assert_int_equal(table_set(&n->networks.by_van_id, van_id, net, NULL), 0);
	return net;
}

static inline void free_network(struct network *net, int end)
{
	close(net->tap->fd[0]);
	free(net->counters);
	close(end);
	fdb_done(&net->fdb);
	free(net->members);
	free(net->tap);
	free(net);
}

static inline void make_node(struct node *n, struct node *other, uint8_t number)
{
	const struct session_io io = {.ctx = n,
		.send = io_send,
		.next_stamp = io_stamp,
		.epoch = io_epoch,
		.underlay_mtu = io_mtu,
		.changed = io_changed,
		.control = io_control,
		.probed = io_probed,
		.rearm = io_rearm};
	struct session_config config = {.identity = &n->id,
		.mesh = "0123456789abcdef",
		.lanes = MESSAGE_LANE_WORKER + 1,
		.backend = seal_backend_find(NULL)};
	struct worker_config wc = {.udp = &n->udp,
		.networks = &n->networks,
		.backend = config.backend,
		.upcall = &n->upcall,
		.join_tcp = true,
		.join_udp = true};

	n->other = other;
	n->mac = (struct mac){{2, 0, 0, 0, 0, number}};
	assert_true(endpoint_parse(number == 1 ? "192.0.2.1:1000" : "192.0.2.2:1000", 0, &n->at));
	identity_generate(&n->id);
	session_timers_default(&config.timers);
	assert_int_equal(sessions_new(&config, &io, &n->control, &n->sessions), 0);
	n->udp = (struct udp){.workers = 1,
		.of[0] = {.main = {-1, -1}, .lane = {-1, -1}},
		.fd_nodf = {-1, -1},
		.gso_segments = 64};
	assert_int_equal(upcall_init(&n->upcall), 0);
	assert_int_equal(table_init(&n->networks.by_van_id), 0);
	wc.sessions = n->sessions;
	assert_int_equal(worker_new(&wc, &n->worker), 0);
	n->worker->now_ns = 1000;
	n->net = make_network(n, VAN_ID, MESSAGE_MODE_GCM, &n->tap_end[0]);
	n->integrity = make_network(n, VAN_ID_INTEGRITY, MESSAGE_MODE_GMAC, &n->tap_end[1]);
}

static inline void introduce(struct node *n, struct node *other)
{
	struct netmap_peer p = {.id = "peer", .name = "peer", .public_key = other->id.public};
	struct network_member member = {.macs = &other->mac, .mac_count = 1};

	p.teps[0] = other->at;
	p.tep_count = 1;
	assert_int_equal(sessions_add(n->sessions, &p, &n->peer), 0);
	member.peer = n->peer;
	assert_int_equal(network_set_members(n->net, &member, 1, &n->mac, 1), 0);
	assert_int_equal(network_set_members(n->integrity, &member, 1, &n->mac, 1), 0);
}

static inline void free_node(struct node *n)
{
	table_done(&n->networks.by_van_id);
	free_network(n->net, n->tap_end[0]);
	free_network(n->integrity, n->tap_end[1]);
	worker_free(n->worker);
	sessions_free(n->sessions, false, 0);
	upcall_done(&n->upcall);
	identity_wipe(&n->id);
}

static inline void connect_nodes(struct world *w)
{
	rcu_thread_offline();
	sessions_want(w->a.sessions, w->a.peer, 1000);
	run_upcalls(&w->a);
	run_upcalls(&w->b);
	rcu_thread_online();
	assert_non_null(w->a.peer->current);
	assert_non_null(w->b.peer->current);
}

static inline int set_up(void **state)
{
	struct world *w = aligned_alloc(64, (sizeof(*w) + 63) & ~63ul);

	memset(w, 0, sizeof(*w));
	make_node(&w->a, &w->b, 1);
	make_node(&w->b, &w->a, 2);
	rcu_register_thread();
	rcu_thread_offline();
	introduce(&w->a, &w->b);
	introduce(&w->b, &w->a);
	rcu_thread_online();
	*state = w;
	return 0;
}

static inline int tear_down(void **state)
{
	struct world *w = *state;

	rcu_unregister_thread();
	free_node(&w->a);
	free_node(&w->b);
	free(w);
	return 0;
}

/* -- moving frames -- */

static const struct virtio_net_hdr plain = {0};

/* A frame from the application at n; it ends up in n's send batch. */
static inline void from_tap(struct node *n, struct network *net, const struct virtio_net_hdr *vnet,
	const uint8_t *frame, size_t len)
{
	memcpy(n->worker->frame, frame, len);
	forward_from_tap(n->worker, net, vnet, len);
}

/* Takes the datagrams out of the batch, one at a time. 0: no more. */
static inline size_t take_datagram(
	struct node *n, unsigned int *slot, uint32_t *at, uint8_t *ret_data)
{
	struct udp_tx *tx = &n->worker->tx;

	while (*slot < tx->count) {
		struct udp_tx_slot *s = &tx->slots[*slot];

		if (*at < s->len) {
			uint32_t len = s->len - *at;

			if (len > s->segment_len)
				len = s->segment_len;
			memcpy(ret_data, s->data + *at, len);
			*at += len;
			return len;
		}
		++*slot;
		*at = 0;
	}
	tx->count = 0;
	return 0;
}

/* Everything that n has to send arrives at the other node, as one receive batch. */
static inline unsigned int transfer(struct node *n)
{
	static uint8_t buffers[4096][2200];
	unsigned int slot = 0, count = 0;
	uint32_t at = 0;
	size_t len;

	while ((len = take_datagram(n, &slot, &at, buffers[count])) > 0) {
		forward_from_peer(n->other->worker, buffers[count], len, &n->at);
		count++;
		assert_true(count < 4096);
	}
	offload_join_flush(&n->other->worker->join);
	return count;
}

/* What came out of a TAP, or -1. */
static inline ssize_t to_application(
	struct node *n, int which, struct virtio_net_hdr *ret_vnet, uint8_t *ret_frame)
{
	static uint8_t buffer[MAX_FRAME];
	ssize_t len = recv(n->tap_end[which], buffer, sizeof(buffer), 0);

	if (len < 0)
		return -1;
	assert_true((size_t)len >= sizeof(*ret_vnet));
	memcpy(ret_vnet, buffer, sizeof(*ret_vnet));
	memcpy(ret_frame, buffer + sizeof(*ret_vnet), (size_t)len - sizeof(*ret_vnet));
	return len - (ssize_t)sizeof(*ret_vnet);
}

static inline void assert_nothing_delivered(struct node *n)
{
	struct virtio_net_hdr vnet;
	static uint8_t frame[MAX_FRAME];

	assert_int_equal(to_application(n, 0, &vnet, frame), -1);
	assert_int_equal(to_application(n, 1, &vnet, frame), -1);
}

static inline uint64_t all_drops(const struct node *n)
{
	uint64_t sum = 0;

	for (int i = 0; i < DROP__COUNT; i++)
		sum += stats_read(&n->worker->counters.drops[i]);
	return sum;
}

static inline uint64_t drops(const struct node *n, enum drop_reason reason)
{
	return stats_read(&n->worker->counters.drops[reason]);
}

/* An Ethernet frame from one node to the other with a recognisable content. */
static inline void make_frame(
	const struct node *from, const struct node *to, uint8_t *frame, size_t len)
{
	memcpy(frame, to->mac.b, 6);
	memcpy(frame + 6, from->mac.b, 6);
	for (size_t i = 12; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + len);
	if (len >= 14) {
		frame[12] = 0x88;
		frame[13] = 0xb5;
	}
}

/* One sealed datagram from a to b. */
static inline size_t sealed(struct world *w, struct network *net, const uint8_t *frame, size_t len,
	uint8_t *ret_datagram)
{
	unsigned int slot = 0;
	uint32_t at = 0;
	size_t n;

	from_tap(&w->a, net, &plain, frame, len);
	n = take_datagram(&w->a, &slot, &at, ret_datagram);
	assert_true(n > 0);
	w->a.worker->tx.count = 0;
	return n;
}

#endif
