/* SPDX-License-Identifier: Apache-2.0 */
/* The underlay sockets over loopback: real GSO sends, real receives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>
#include "vand/peer.h"
#include "vand/udp.h"

#define WAIT_MS 5000

static const struct udp_options everything = {.workers = 1, .gso = true, .gro = true};
static const struct udp_options nothing = {.workers = 1};

struct received {
	unsigned int count;
	size_t len[1024];
	uint8_t first[1024]; /* byte of each */
	struct endpoint from;
};

/* Receives until `wanted` datagrams are there; fails the test when they do not come. */
static void receive(
	struct udp *udp, enum udp_family family, unsigned int wanted, struct received *ret)
{
	struct udp_rx rx;

	memset(ret, 0, sizeof(*ret));
	assert_int_equal(udp_rx_init(&rx), 0);
	while (ret->count < wanted) {
		struct pollfd p = {.fd = udp->of[0].main[family], .events = POLLIN};
		int n;

		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		n = udp_rx_batch(&rx, udp->of[0].main[family]);
		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			const struct udp_rx_slot *slot = &rx.slots[i];

			for (uint32_t at = 0; at < slot->len; at += slot->segment_len) {
				uint32_t left = slot->len - at;

				assert_true(ret->count < 1024);
				ret->len[ret->count] =
					left < slot->segment_len ? left : slot->segment_len;
				ret->first[ret->count++] = slot->data[at];
			}
			ret->from = slot->from;
		}
	}
	assert_int_equal(ret->count, wanted);
	udp_rx_done(&rx);
}

static void batches(const struct udp_options *options, const char *address, enum udp_family family)
{
	struct counters *counters = aligned_alloc(64, sizeof(*counters));
	struct peer peer = {.ref = 1}, other = {.ref = 2};
	struct udp a, b;
	struct udp_tx tx;
	struct endpoint to;
	struct received got;
	uint8_t *room;

	memset(counters, 0, sizeof(*counters));
	assert_int_equal(udp_open(&a, 0, options, NULL), 0);
	assert_int_equal(udp_open(&b, 0, options, NULL), 0);
	if (b.of[0].main[family] < 0) {
		print_message("no IPv6 on this machine: skipped\n");
		udp_close(&a);
		udp_close(&b);
		free(counters);
		skip();
	}
	assert_true(endpoint_parse(address, b.port, &to));
	assert_int_equal(udp_tx_init(&tx, &a, 0, counters), 0);

	/* 100 equal ones and a shorter one to one peer, interleaved with some to another. */
	for (unsigned int i = 0; i < 100; i++) {
		room = udp_tx_reserve(&tx, &peer, &to, false, 1000);
		memset(room, (int)i, 1000);
		if (i % 10 == 0) {
			room = udp_tx_reserve(&tx, &other, &to, false, 500);
			memset(room, 200, 500);
		}
	}
	memset(udp_tx_reserve(&tx, &peer, &to, false, 300), 100, 300);
	memset(udp_tx_reserve(&tx, &peer, &to, false, 1000), 101,
		1000); /* after a shorter one: a new slot */
	udp_tx_flush(&tx);
	assert_int_equal(tx.count, 0);
	assert_int_equal(stats_read(&counters->events[STAT_datagrams_sent]), 112);
	receive(&b, family, 112, &got);
	for (unsigned int i = 0, next = 0; i < 112; i++) {
		if (got.first[i] == 200) {
			assert_int_equal(got.len[i], 500);
			continue;
		}
		assert_int_equal(got.first[i], next); /* the order to one peer is kept */
		assert_int_equal(got.len[i], next == 100 ? 300 : 1000);
		next++;
	}
	assert_int_equal(endpoint_port(&got.from), a.port);
	assert_int_not_equal(got.from.local.family, AF_UNSPEC);

	/* And back, to where it came from, from where it came to. */
	assert_int_equal(udp_send(&b, &got.from, "x", 1), 0);
	receive(&a, family, 1, &got);
	assert_int_equal(endpoint_port(&got.from), b.port);

	for (int i = 0; i < DROP__COUNT; i++)
		assert_int_equal(stats_read(&counters->drops[i]), 0);
	udp_tx_done(&tx);
	udp_close(&a);
	udp_close(&b);
	free(counters);
}

static void batches_ipv4(void **state)
{
	(void)state;
	batches(&everything, "127.0.0.1", UDP_IPV4);
}

static void batches_ipv6(void **state)
{
	(void)state;
	batches(&everything, "[::1]", UDP_IPV6);
}

static void batches_without_offloads(void **state)
{
	(void)state;
	batches(&nothing, "127.0.0.1", UDP_IPV4);
}

static void sends_singly_to_a_peer_without_gso(void **state)
{
	struct counters *counters = aligned_alloc(64, sizeof(*counters));
	struct peer peer = {.no_gso = true};
	struct endpoint to;
	struct received got;
	struct udp_tx tx;
	struct udp a;

	(void)state;
	memset(counters, 0, sizeof(*counters));
	assert_int_equal(udp_open(&a, 0, &everything, NULL), 0);
	assert_int_equal(udp_tx_init(&tx, &a, 0, counters), 0);
	assert_true(endpoint_parse("127.0.0.1", a.port, &to));
	for (unsigned int i = 0; i < 30; i++)
		memset(udp_tx_reserve(&tx, &peer, &to, false, 100), (int)i, 100);
	udp_tx_flush(&tx);
	receive(&a, UDP_IPV4, 30, &got);
	for (unsigned int i = 0; i < 30; i++)
		assert_int_equal(got.first[i], i);
	udp_tx_done(&tx);
	udp_close(&a);
	free(counters);
}

static void more_peers_than_slots(void **state)
{
	struct counters *counters = aligned_alloc(64, sizeof(*counters));
	static struct peer peers[3 * UDP_TX_SLOTS];
	struct endpoint to;
	struct received got;
	struct udp_tx tx;
	struct udp a;

	(void)state;
	memset(counters, 0, sizeof(*counters));
	assert_int_equal(udp_open(&a, 0, &everything, NULL), 0);
	assert_int_equal(udp_tx_init(&tx, &a, 0, counters), 0);
	assert_true(endpoint_parse("127.0.0.1", a.port, &to));
	for (unsigned int i = 0; i < 3 * UDP_TX_SLOTS; i++)
		memset(udp_tx_reserve(&tx, &peers[i], &to, false, 100), (int)i, 100);
	udp_tx_flush(&tx);
	receive(&a, UDP_IPV4, 3 * UDP_TX_SLOTS, &got);
	assert_null(udp_tx_reserve(&tx, &peers[0], &to, false, MESSAGE_DATAGRAM_MAX + 1));
	udp_tx_done(&tx);
	udp_close(&a);
	free(counters);
}

static void counts_what_cannot_be_sent(void **state)
{
	struct counters *counters = aligned_alloc(64, sizeof(*counters));
	struct peer peer = {0};
	struct endpoint to;
	struct udp_tx tx;
	struct udp a;

	(void)state;
	memset(counters, 0, sizeof(*counters));
	assert_int_equal(udp_open(&a, 0, &everything, NULL), 0);
	assert_int_equal(udp_tx_init(&tx, &a, 0, counters), 0);
	assert_true(endpoint_parse("255.255.255.255:9", 0, &to)); /* EACCES without SO_BROADCAST */
	for (unsigned int i = 0; i < 3; i++)
		memset(udp_tx_reserve(&tx, &peer, &to, false, 100), 0, 100);
	udp_tx_flush(&tx);
	assert_int_equal(stats_read(&counters->drops[DROP_send_failed]), 3);
	udp_tx_done(&tx);
	udp_close(&a);
	free(counters);
}

static void says_that_a_port_is_in_use(void **state)
{
	struct udp a, b;
	struct err e = {0};
	uint16_t port;

	(void)state;
	assert_int_equal(udp_open(&a, 0, &everything, NULL), 0);
	port = a.port;
	assert_int_equal(udp_open(&b, port, &everything, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "in use"));
	udp_close(&a);
	assert_int_equal(udp_open(&a, port, &everything, NULL), 0);
	udp_close(&a);
}

/* What arrives goes to the main socket, never to the one that only sends. */
static void second_socket_never_receives(void **state)
{
	struct endpoint to;
	struct received got;
	struct udp a, b;
	struct udp_rx rx;

	(void)state;
	assert_int_equal(udp_open(&a, 0, &everything, NULL), 0);
	assert_true(a.fd_nodf[UDP_IPV4] >= 0);
	/* From many ports, which a port group would spread over its sockets. */
	for (unsigned int i = 0; i < 32; i++) {
		assert_int_equal(udp_open(&b, 0, &nothing, NULL), 0);
		assert_true(endpoint_parse("127.0.0.1", a.port, &to));
		assert_int_equal(udp_send(&b, &to, "y", 1), 0);
		udp_close(&b);
	}
	receive(&a, UDP_IPV4, 32, &got);
	assert_int_equal(udp_rx_init(&rx), 0);
	assert_int_equal(udp_rx_batch(&rx, a.fd_nodf[UDP_IPV4]), 0);
	udp_rx_done(&rx);
	udp_close(&a);
}

/* -- several workers -- */

/* Sends bytes to a port of this machine from a socket without any options; returns its port. */
static uint16_t send_plainly(const char *address, uint16_t port, const void *data, size_t len)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} from = {0};
	socklen_t from_len = sizeof(from);
	struct endpoint to;
	int fd;

	assert_true(endpoint_parse(address, port, &to));
	fd = socket(to.remote.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(sendto(fd, data, len, 0, &to.remote.sa, endpoint_sockaddr_len(&to)), len);
	assert_int_equal(getsockname(fd, &from.sa, &from_len), 0);
	close(fd);
	return ntohs(from.in.sin_port); /* the port stands at the same place in both */
}

static void assert_nothing_comes(int fd)
{
	struct udp_rx rx;

	assert_true(fd >= 0);
	assert_int_equal(udp_rx_init(&rx), 0);
	assert_int_equal(udp_rx_batch(&rx, fd), 0);
	udp_rx_done(&rx);
}

/* The first byte behind a DATA header says which worker is to get the datagram. */
#define MARK sizeof(struct message_data)

static void count_arrivals(struct udp *udp, enum udp_family family, const unsigned int *expected)
{
	struct udp_rx rx;

	assert_int_equal(udp_rx_init(&rx), 0);
	for (unsigned int worker = 0; worker < udp->workers; worker++) {
		int fd = udp->of[worker].main[family], n;
		unsigned int count = 0;

		/* Loopback delivers before send() returns: what is to come is there. */
		while ((n = udp_rx_batch(&rx, fd)) > 0) {
			for (int i = 0; i < n; i++) {
				const struct udp_rx_slot *slot = &rx.slots[i];
				uint32_t at = 0;

				do {
					if (slot->len - at > MARK)
						assert_int_equal(slot->data[at + MARK], worker);
					else
						assert_int_equal(worker, 0);
					count++;
					at += slot->segment_len;
				} while (at < slot->len);
			}
		}
		assert_int_equal(count, expected[worker]);
	}
	udp_rx_done(&rx);
}

/* As a peer's workers send it: many datagrams of one lane in one GSO send, where there is GSO. */
static void send_lane_batch(const struct udp *from, const char *address, uint16_t port,
	uint8_t lane, uint8_t mark, unsigned int count)
{
	struct counters *counters = aligned_alloc(64, sizeof(*counters));
	struct peer peer = {.ref = 1};
	struct endpoint to;
	struct udp_tx tx;

	memset(counters, 0, sizeof(*counters));
	assert_true(endpoint_parse(address, port, &to));
	assert_int_equal(udp_tx_init(&tx, from, 0, counters), 0);
	for (unsigned int i = 0; i < count; i++) {
		uint8_t *room = udp_tx_reserve(&tx, &peer, &to, false, 200);

		memset(room, 0, 200);
		room[offsetof(struct message_data, type)] = MESSAGE_DATA;
		room[offsetof(struct message_data, lane)] = lane;
		room[MARK] = mark;
	}
	udp_tx_flush(&tx);
	udp_tx_done(&tx);
	free(counters);
}

static void spreads(const struct udp_options *options, const char *address, enum udp_family family)
{
	static const uint8_t others[] = {0, MESSAGE_INIT, MESSAGE_RESP, MESSAGE_COOKIE, 5, 255};
	unsigned int expected[3] = {0};
	struct udp_options three = *options;
	struct udp a, b;

	three.workers = 3;
	assert_int_equal(udp_open(&a, 0, &three, NULL), 0);
	assert_int_equal(udp_open(&b, 0, options, NULL), 0);
	if (a.of[0].main[family] < 0) {
		print_message("no IPv6 on this machine: skipped\n");
		udp_close(&a);
		udp_close(&b);
		skip();
	}
	/* Lanes of DATA, from many ports, singly and in batches. */
	for (unsigned int lane = 0; lane <= 255; lane++) {
		const uint8_t worker = lane ? (uint8_t)((lane - 1) % 3) : 0;
		uint8_t data[100] = {
			[offsetof(struct message_data, type)] = MESSAGE_DATA,
			[offsetof(struct message_data, lane)] = (uint8_t)lane,
			[MARK] = worker,
		};

		for (unsigned int i = 0; i < 3; i++)
			send_plainly(address, a.port, data, sizeof(data));
		expected[worker] += 3;
		if (lane < 8) {
			send_lane_batch(&b, address, a.port, (uint8_t)lane, worker, 20);
			expected[worker] += 20;
		}
	}
	/* Everything else: the first worker, whatever the second byte is. */
	for (unsigned int i = 0; i < sizeof(others); i++) {
		for (unsigned int second = 0; second < 8; second++) {
			uint8_t data[100] = {others[i], (uint8_t)second};

			send_plainly(address, a.port, data, sizeof(data));
			expected[0]++;
		}
	}
	/* And what is too short for the program to look at. */
	for (size_t len = 0; len < 2; len++) {
		send_plainly(address, a.port, (uint8_t[]){MESSAGE_DATA, 3}, len);
		expected[0]++;
	}
	count_arrivals(&a, family, expected);
	assert_nothing_comes(a.fd_nodf[family]);
	udp_close(&a);
	udp_close(&b);
}

static void lanes_spread_over_workers(void **state)
{
	(void)state;
	spreads(&everything, "127.0.0.1", UDP_IPV4);
}

static void lanes_spread_over_workers_ipv6(void **state)
{
	(void)state;
	spreads(&everything, "[::1]", UDP_IPV6);
}

static void lanes_spread_without_offloads(void **state)
{
	(void)state;
	spreads(&nothing, "127.0.0.1", UDP_IPV4);
}

static void lanes_spread_without_offloads_ipv6(void **state)
{
	(void)state;
	spreads(&nothing, "[::1]", UDP_IPV6);
}

/* As many as there may be: the last lane goes to the last worker. */
static void the_most_workers_that_there_may_be(void **state)
{
	const struct udp_options most = {.workers = UDP_WORKERS_MAX, .gso = true, .gro = true};
	uint8_t data[100] = {MESSAGE_DATA};
	struct udp_rx rx;
	struct udp a;

	(void)state;
	assert_int_equal(udp_open(&a, 0, &most, NULL), 0);
	assert_int_equal(udp_rx_init(&rx), 0);
	for (uint8_t worker = 0; worker < UDP_WORKERS_MAX; worker++) {
		data[1] = MESSAGE_LANE_WORKER + worker;
		send_plainly("127.0.0.1", a.port, data, sizeof(data));
		assert_int_equal(udp_rx_batch(&rx, a.of[worker].main[UDP_IPV4]), 1);
		assert_int_equal(rx.slots[0].data[1], data[1]);
	}
	udp_rx_done(&rx);
	udp_close(&a);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 addr;
	socklen_t len = sizeof(addr);

	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	return ntohs(addr.sin6_port);
}

/* A lane's own port is for sending: what strangers send there does not pile up anywhere. */
static void lane_ports_never_receive(void **state)
{
	const struct udp_options two = {.workers = 2, .gso = true, .gro = true};
	struct udp a;

	(void)state;
	assert_int_equal(udp_open(&a, 0, &two, NULL), 0);
	for (enum udp_family family = UDP_IPV4; family < UDP_FAMILIES; family++) {
		const char *address = family == UDP_IPV4 ? "127.0.0.1" : "[::1]";
		int fd = a.of[1].lane[family];

		assert_int_equal(a.of[0].lane[family], -1); /* the first worker has none */
		if (a.of[0].main[family] < 0)
			continue;
		for (uint8_t type = 0; type < 8; type++)
			send_plainly(address, port_of(fd), (uint8_t[40]){type, 2}, 40);
		assert_nothing_comes(fd);
		for (unsigned int worker = 0; worker < 2; worker++)
			assert_nothing_comes(a.of[worker].main[family]);
	}
	udp_close(&a);
}

/* One peer's datagrams by the own port and by the main one, in turn: each leaves by its own, all
 * arrive, and those of each port in order. */
static void own_ports(const char *address, enum udp_family family)
{
	const struct udp_options two = {.workers = 2, .gso = true, .gro = true};
	struct counters *counters = aligned_alloc(64, sizeof(*counters));
	struct peer peer = {.ref = 1};
	unsigned int seen[2] = {0};
	struct udp a, b;
	struct udp_tx tx;
	struct udp_rx rx;
	struct endpoint to;
	int n;

	memset(counters, 0, sizeof(*counters));
	assert_int_equal(udp_open(&a, 0, &two, NULL), 0);
	assert_int_equal(udp_open(&b, 0, &everything, NULL), 0);
	if (a.of[0].main[family] < 0) {
		print_message("no IPv6 on this machine: skipped\n");
		udp_close(&a);
		udp_close(&b);
		free(counters);
		skip();
	}
	assert_int_not_equal(port_of(a.of[1].lane[family]), a.port);
	assert_true(endpoint_parse(address, b.port, &to));
	assert_int_equal(udp_tx_init(&tx, &a, 1, counters), 0);
	for (uint8_t i = 0; i < 30; i++) {
		bool own = i / 5 % 2;
		uint8_t *room = udp_tx_reserve(&tx, &peer, &to, own, 100);

		memset(room, i, 100);
		room[1] = own;
	}
	assert_int_equal(tx.count, 6); /* a slot for each change */
	udp_tx_flush(&tx);
	assert_int_equal(udp_rx_init(&rx), 0);
	while ((n = udp_rx_batch(&rx, b.of[0].main[family])) > 0) {
		for (int i = 0; i < n; i++) {
			const struct udp_rx_slot *slot = &rx.slots[i];

			for (uint32_t at = 0; at < slot->len; at += slot->segment_len) {
				bool own = slot->data[at + 1];
				unsigned int number = seen[own]++;

				assert_int_equal(slot->data[at],
					number / 5 * 10 + number % 5 + (own ? 5 : 0));
				assert_int_equal(endpoint_port(&slot->from),
					own ? port_of(a.of[1].lane[family]) : a.port);
			}
		}
	}
	assert_int_equal(seen[0], 15);
	assert_int_equal(seen[1], 15);
	assert_int_equal(stats_read(&counters->events[STAT_datagrams_sent]), 30);
	for (int i = 0; i < DROP__COUNT; i++)
		assert_int_equal(stats_read(&counters->drops[i]), 0);
	udp_rx_done(&rx);
	udp_tx_done(&tx);
	udp_close(&a);
	udp_close(&b);
	free(counters);
}

static void sends_from_the_lanes_own_port(void **state)
{
	(void)state;
	own_ports("127.0.0.1", UDP_IPV4);
}

static void sends_from_the_lanes_own_port_ipv6(void **state)
{
	(void)state;
	own_ports("[::1]", UDP_IPV6);
}

/* Where there is no own port (the first worker never has one, others may not have got one), the
 * main port serves. */
static void without_an_own_port_the_main_one_serves(void **state)
{
	const struct udp_options two = {.workers = 2, .gso = true, .gro = true};
	struct counters *counters = aligned_alloc(64, sizeof(*counters));
	struct peer peer = {.ref = 1};
	struct endpoint to;
	struct received got;
	struct udp a, b;

	(void)state;
	memset(counters, 0, sizeof(*counters));
	assert_int_equal(udp_open(&a, 0, &two, NULL), 0);
	assert_int_equal(udp_open(&b, 0, &everything, NULL), 0);
	assert_true(endpoint_parse("127.0.0.1", b.port, &to));
	close(a.of[1].lane[UDP_IPV4]);
	a.of[1].lane[UDP_IPV4] = -1;
	for (unsigned int worker = 0; worker < 2; worker++) {
		struct udp_tx tx;

		assert_int_equal(udp_tx_init(&tx, &a, worker, counters), 0);
		for (unsigned int i = 0; i < 5; i++)
			memset(udp_tx_reserve(&tx, &peer, &to, true, 100), (int)i, 100);
		udp_tx_flush(&tx);
		receive(&b, UDP_IPV4, 5, &got);
		assert_int_equal(endpoint_port(&got.from), a.port);
		udp_tx_done(&tx);
	}
	udp_close(&a);
	udp_close(&b);
	free(counters);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_ipv4),
		cmocka_unit_test(batches_ipv6),
		cmocka_unit_test(batches_without_offloads),
		cmocka_unit_test(sends_singly_to_a_peer_without_gso),
		cmocka_unit_test(more_peers_than_slots),
		cmocka_unit_test(counts_what_cannot_be_sent),
		cmocka_unit_test(says_that_a_port_is_in_use),
		cmocka_unit_test(second_socket_never_receives),
		cmocka_unit_test(lanes_spread_over_workers),
		cmocka_unit_test(lanes_spread_over_workers_ipv6),
		cmocka_unit_test(lanes_spread_without_offloads),
		cmocka_unit_test(lanes_spread_without_offloads_ipv6),
		cmocka_unit_test(the_most_workers_that_there_may_be),
		cmocka_unit_test(lane_ports_never_receive),
		cmocka_unit_test(sends_from_the_lanes_own_port),
		cmocka_unit_test(sends_from_the_lanes_own_port_ipv6),
		cmocka_unit_test(without_an_own_port_the_main_one_serves),
	};

	return cmocka_run_group_tests_name("udp", tests, NULL, NULL);
}
