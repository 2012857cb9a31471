/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd: the other ends of many sessions, for measuring what a node with a thousand peers costs.
 *
 *   crowd STATE_DIR COUNT OWN_IP FIRST_PORT VAND_IP VAND_PORT
 *
 * Makes STATE_DIR such that a vand started on it finds itself in a network ("crowd", 172.30.0.0/16)
 * with COUNT peers at OWN_IP, ports from FIRST_PORT on, and a console that is away. Then it is those
 * peers, each with the real session engine and a socket of its own: they start the handshakes, say
 * one frame each once they are connected, and keep their sessions as vand would. A line on standard
 * output for each step:
 *
 *   ready                           start vand now
 *   connected COUNT SECONDS         all have a session and were heard
 *   idle SECONDS SENT RECEIVED      after each line on standard input: UDP payload bytes of all
 *                                   peers since the line before it
 *
 * Ends at the end of its input, or after an hour.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <urcu-qsbr.h>
#include "lib/clock.h"
#include "vand/session.h"
#include "vand/state.h"

#define VAN_ID        77
#define COUNT_MAX     4096
#define LIFE_NS       (3600 * NS_PER_S)
#define TURN_MS       20
#define STARTS_A_TURN 50 /* handshakes: below where vand asks for cookies */

struct member {
	struct identity id;
	struct mac mac;
	int fd;
	struct sessions *engine;
	struct counters *counters;
	struct peer *vand;
	uint64_t due_ns;
	uint64_t stamp;
	bool heard;
};

struct crowd {
	const struct seal_backend *backend;
	uint8_t mesh[MESSAGE_MESH_LEN];
	struct key vand_key;
	struct endpoint vand_at;
	struct member *members;
	size_t count, heard;
	int epoll_fd;
	uint64_t now_ns;
	uint64_t sent, received; /* bytes */
};

static struct crowd crowd; /* one for the process; the engines' callbacks look here */

static void die(const char *what)
{
	fprintf(stderr, "crowd: %s\n", what);
	exit(1);
}

/* -- the engines' surroundings -- */

static void transmit(struct member *m, const void *msg, size_t len)
{
	if (send(m->fd, msg, len, 0) == (ssize_t)len)
		crowd.sent += len;
}

static int io_send(void *ctx, const struct endpoint *to, const void *msg, size_t len)
{
	(void)to; /* there is only one */
	transmit(ctx, msg, len);
	return 0;
}

static int io_stamp(void *ctx, uint8_t ret_stamp[MESSAGE_STAMP_LEN])
{
	struct member *m = ctx;

	memset(ret_stamp, 0, MESSAGE_STAMP_LEN);
	message_set_counter(ret_stamp, clock_wall_ns() / NS_PER_S + m->stamp++);
	return 0;
}

static uint64_t io_epoch(void *ctx)
{
	(void)ctx;
	return 1;
}

static void io_rearm(void *ctx, uint64_t deadline_ns)
{
	((struct member *)ctx)->due_ns = deadline_ns;
}

/* A broadcast frame, on the worker's lane. */
static void say_frame(struct member *m)
{
	struct {
		struct message_inner inner;
		uint8_t frame[60];
	} plain = {.inner.kind = MESSAGE_FRAME};
	uint8_t msg[MESSAGE_OVERHEAD + sizeof(plain.frame)];
	struct keypair *k = m->vand->current;

	message_set_van_id(plain.inner.van_id, VAN_ID);
	memset(plain.frame, 0xff, 6);
	memcpy(plain.frame + 6, m->mac.b, 6);
	plain.frame[12] = 0x88;
	plain.frame[13] = 0xb5;
	transmit(m, msg,
		seal_frame(crowd.backend, &k->send, MESSAGE_MODE_GCM, MESSAGE_LANE_WORKER,
			k->remote_index, k->tx[MESSAGE_LANE_WORKER].counter++,
			(const uint8_t *)&plain, sizeof(plain), msg));
	atomic_store(&k->last_sent_ns, crowd.now_ns);
	atomic_store(&k->last_sent_data_ns, crowd.now_ns);
}

/* A DATA message, as far as the session is concerned. */
static void take_data(struct member *m, uint8_t *data, size_t len)
{
	const struct message_data *header = (const struct message_data *)data;
	const struct message_inner *inner = (const struct message_inner *)(header + 1);
	struct keypair *k;
	unsigned int kind;

	if (len < MESSAGE_OVERHEAD)
		return;
	k = sessions_keypair(m->engine, message_index(header->receiver));
	if (!k || !open_frame(crowd.backend, &k->recv, data, len))
		return;
	kind = inner->kind & MESSAGE_KIND_MASK;
	atomic_store(&k->last_received_ns, crowd.now_ns);
	if (kind != MESSAGE_KEEPALIVE)
		atomic_store(&k->last_received_data_ns, crowd.now_ns);
	if (!atomic_load(&k->confirmed))
		sessions_confirmed(m->engine, k->local_index, crowd.now_ns);
	if (kind != MESSAGE_FRAME && kind != MESSAGE_KEEPALIVE)
		sessions_control(m->engine, k->local_index, message_van_id(inner->van_id),
			(uint8_t)kind, (const uint8_t *)(inner + 1), len - MESSAGE_OVERHEAD,
			crowd.now_ns);
}

static void read_member(struct member *m)
{
	uint8_t data[9216];
	ssize_t len;

	while ((len = recv(m->fd, data, sizeof(data), MSG_DONTWAIT)) >= 0) {
		crowd.received += (size_t)len;
		if (len > 0 && data[0] == MESSAGE_DATA)
			take_data(m, data, (size_t)len);
		else
			sessions_receive(
				m->engine, data, (size_t)len, &crowd.vand_at, crowd.now_ns);
	}
	if (!m->heard && m->vand->current) {
		m->heard = true;
		crowd.heard++;
		say_frame(m);
	}
}

/* -- making them -- */

static void make_member(struct member *m, size_t i, const char *ip, uint16_t port)
{
	const struct session_io io = {.ctx = m,
		.send = io_send,
		.next_stamp = io_stamp,
		.epoch = io_epoch,
		.rearm = io_rearm};
	struct session_config config = {
		.identity = &m->id, .lanes = MESSAGE_LANE_WORKER + 1, .backend = crowd.backend};
	struct netmap_peer vand = {.id = "vand", .name = "vand", .public_key = crowd.vand_key};
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = m};
	struct endpoint own;

	if (!endpoint_parse(ip, port, &own))
		die("OWN_IP is not an address");
	m->mac = (struct mac){{0x02, 0x77, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
	m->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (m->fd < 0 || bind(m->fd, &own.remote.sa, sizeof(own.remote.in)) < 0 ||
		connect(m->fd, &crowd.vand_at.remote.sa, sizeof(crowd.vand_at.remote.in)) < 0 ||
		epoll_ctl(crowd.epoll_fd, EPOLL_CTL_ADD, m->fd, &ev) < 0)
		die(strerror(errno));
	memcpy(config.mesh, crowd.mesh, sizeof(config.mesh));
	session_timers_default(&config.timers);
	m->counters = aligned_alloc(64, sizeof(*m->counters));
	if (!m->counters)
		die("out of memory");
	memset(m->counters, 0, sizeof(*m->counters));
	vand.teps[0] = crowd.vand_at;
	vand.tep_count = 1;
	if (sessions_new(&config, &io, m->counters, &m->engine) < 0 ||
		sessions_add(m->engine, &vand, &m->vand) < 0)
		die("cannot make a session engine");
}

/* Writes what vand is to find. */
static void make_state(const char *dir, const char *ip, uint16_t first_port)
{
	struct netmap_network net = {.id = "net_crowd",
		.name = "crowd",
		.van_id = VAN_ID,
		.mtu = NETMAP_MTU_DEFAULT,
		.mac_count = 1,
		.ip_count = 1};
	struct netmap map = {.console = "console_crowd",
		.generation = 1,
		.number = 1,
		.node_id = "node_vand",
		.node_name = "vand",
		.networks = &net,
		.network_count = 1};
	struct state_membership membership = {.url = "https://127.0.0.1:9",
		.pin = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		.console = "console_crowd",
		.node_id = "node_vand"};
	struct state *state;
	struct err e = {0};

	if (state_open(dir, &state, &e) < 0)
		die(e.text);
	crowd.vand_key = map.node_key = state_identity(state)->public;
	memcpy(map.mesh, crowd.mesh, sizeof(map.mesh));
	memcpy(membership.mesh, crowd.mesh, sizeof(membership.mesh));
	net.macs[0] = (struct mac){{0x02, 0x78, 0, 0, 0, 1}};
	cidr_parse("172.30.0.0/16", &net.cidr);
	cidr_parse("172.30.0.1/16", &net.ips[0]);
	net.peers = calloc(crowd.count, sizeof(*net.peers));
	if (!net.peers)
		die("out of memory");
	net.peer_count = crowd.count;
	for (size_t i = 0; i < crowd.count; i++) {
		struct netmap_peer *p = &net.peers[i];
		char text[32];

		identity_generate(&crowd.members[i].id);
		snprintf(p->id, sizeof(p->id), "node_%zu", i);
		snprintf(p->name, sizeof(p->name), "peer-%zu", i);
		p->public_key = crowd.members[i].id.public;
		endpoint_parse(ip, (uint16_t)(first_port + i), &p->teps[p->tep_count++]);
		p->macs[p->mac_count++] =
			(struct mac){{0x02, 0x77, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
		snprintf(text, sizeof(text), "172.30.%zu.%zu/16", 1 + i / 256, i % 256);
		cidr_parse(text, &p->ips[p->ip_count++]);
	}
	if (state_set_membership(state, &membership, &e) < 0 ||
		state_save_netmap(state, &map, NULL, &e) < 0)
		die(e.text);
	state_close(state);
	free(net.peers);
}

/* -- running -- */

static void turn(size_t *next_start)
{
	struct epoll_event events[256];
	int n = epoll_wait(crowd.epoll_fd, events, 256, TURN_MS);

	crowd.now_ns = clock_boottime_ns();
	for (int i = 0; i < n; i++)
		read_member(events[i].data.ptr);
	for (size_t i = 0; i < STARTS_A_TURN && *next_start < crowd.count; i++, ++*next_start) {
		struct member *m = &crowd.members[*next_start];

		sessions_want(m->engine, m->vand, crowd.now_ns);
	}
	for (size_t i = 0; i < crowd.count; i++) {
		struct member *m = &crowd.members[i];

		if (m->due_ns <= crowd.now_ns)
			m->due_ns = sessions_tick(m->engine, crowd.now_ns);
	}
}

static void run(void)
{
	uint64_t start_ns = clock_boottime_ns(), mark_ns = start_ns, sent = 0, received = 0;
	bool said = false;
	size_t next_start = 0;
	char line[64];

	printf("ready\n");
	while (clock_boottime_ns() - start_ns < LIFE_NS) {
		ssize_t n;

		turn(&next_start);
		if (!said && crowd.heard == crowd.count) {
			said = true;
			printf("connected %zu %.1f\n", crowd.heard,
				(double)(crowd.now_ns - start_ns) / 1e9);
		}
		n = read(STDIN_FILENO, line, sizeof(line));
		if (n == 0)
			return;
		if (n < 0)
			continue;
		printf("idle %.1f %llu %llu\n", (double)(crowd.now_ns - mark_ns) / 1e9,
			(unsigned long long)(crowd.sent - sent),
			(unsigned long long)(crowd.received - received));
		mark_ns = crowd.now_ns;
		sent = crowd.sent;
		received = crowd.received;
	}
}

int main(int argc, char **argv)
{
	struct rlimit files = {COUNT_MAX + 64, COUNT_MAX + 64};
	uint16_t first_port;

	if (argc != 7) {
		fprintf(stderr,
			"usage: crowd STATE_DIR COUNT OWN_IP FIRST_PORT VAND_IP VAND_PORT\n");
		return 2;
	}
	crowd.count = (size_t)atol(argv[2]);
	first_port = (uint16_t)atol(argv[4]);
	if (crowd.count < 1 || crowd.count > COUNT_MAX || first_port + crowd.count > 65535 ||
		!endpoint_parse(argv[5], (uint16_t)atol(argv[6]), &crowd.vand_at))
		die("a number or an address is out of range");
	setrlimit(RLIMIT_NOFILE, &files);
	setvbuf(stdout, NULL, _IOLBF, 0);
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	if (sodium_init() < 0)
		die("libsodium does not start");
	rcu_register_thread();
	rcu_thread_offline();
	crowd.backend = seal_backend_find(NULL);
	memcpy(crowd.mesh, "crowd of peers!!", sizeof(crowd.mesh));
	crowd.members = calloc(crowd.count, sizeof(*crowd.members));
	crowd.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!crowd.members || crowd.epoll_fd < 0)
		die("out of memory");
	make_state(argv[1], argv[3], first_port);
	for (size_t i = 0; i < crowd.count; i++)
		make_member(&crowd.members[i], i, argv[3], (uint16_t)(first_port + i));
	run();
	rcu_unregister_thread();
	return 0;
}
