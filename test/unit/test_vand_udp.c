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
	};

	return cmocka_run_group_tests_name("udp", tests, NULL, NULL);
}
