/* SPDX-License-Identifier: Apache-2.0 */
/* The data path without devices: see test/unit/forward_world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "test/unit/forward_world.h"

/* -- tests -- */

static void carries_frames_unmodified(void **state)
{
	struct world *w = *state;
	static uint8_t frame[2000], got[MAX_FRAME];
	struct virtio_net_hdr vnet;

	connect_nodes(w);
	for (size_t len = 14; len <= 1378; len++) {
		make_frame(&w->a, &w->b, frame, len);
		from_tap(&w->a, w->a.net, &plain, frame, len);
		assert_int_equal(transfer(&w->a), 1);
		assert_int_equal(to_application(&w->b, 0, &vnet, got), len);
		assert_memory_equal(got, frame, len);
		assert_int_equal(vnet.flags, 0);
		assert_int_equal(vnet.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	}
	make_frame(&w->b, &w->a, frame, 100);
	from_tap(&w->b, w->b.integrity, &plain, frame, 100);
	assert_int_equal(transfer(&w->b), 1);
	assert_int_equal(to_application(&w->a, 1, &vnet, got), 100);
	assert_memory_equal(got, frame, 100);
	assert_int_equal(all_drops(&w->a) + all_drops(&w->b), 0);
}

static void leaves_checksums_partial(void **state)
{
	struct world *w = *state;
	const struct virtio_net_hdr partial = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 84, .csum_offset = 16};
	const struct virtio_net_hdr deep = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 300, .csum_offset = 16};
	static uint8_t frame[600], got[MAX_FRAME];
	struct virtio_net_hdr vnet;

	connect_nodes(w);
	make_frame(&w->a, &w->b, frame, sizeof(frame));
	from_tap(&w->a, w->a.net, &partial, frame, sizeof(frame));
	transfer(&w->a);
	assert_int_equal(to_application(&w->b, 0, &vnet, got), sizeof(frame));
	assert_int_equal(vnet.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(vnet.csum_start, 84);
	assert_int_equal(vnet.csum_offset, 16);
	assert_memory_equal(got, frame, sizeof(frame));

	/* Too deep for the inner header: completed by the sender. */
	from_tap(&w->a, w->a.net, &deep, frame, sizeof(frame));
	transfer(&w->a);
	assert_int_equal(to_application(&w->b, 0, &vnet, got), sizeof(frame));
	assert_int_equal(vnet.flags, 0);
	assert_int_equal(offload_complete_checksum(frame, sizeof(frame), 300, 16), 0);
	assert_memory_equal(got, frame, sizeof(frame));
}

/* A TCP super-frame with a partial checksum, as the kernel hands it over. */
static size_t make_super_frame(const struct node *from, const struct node *to, uint8_t *frame,
	size_t payload, uint16_t mss, struct virtio_net_hdr *ret_vnet)
{
	const size_t total = 20 + 20 + payload;
	uint8_t *ip = frame + 14, *tcp = ip + 20;
	uint32_t sum = 0;

	make_frame(from, to, frame, 14 + total);
	frame[12] = 0x08;
	frame[13] = 0x00;
	memset(ip, 0, 40);
	ip[0] = 0x45;
	ip[2] = (uint8_t)(total >> 8);
	ip[3] = (uint8_t)total;
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = IPPROTO_TCP;
	memcpy(ip + 12, (uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	memcpy(tcp, (uint8_t[]){0x10, 0x01, 0x20, 0x02, 0, 0, 1, 0, 0, 0, 2, 0, 0x50, 0x10, 1, 0},
		16);
	/* Pseudo header: addresses, protocol, TCP length; not complemented. */
	sum = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + IPPROTO_TCP + (uint32_t)(total - 20);
	sum = (sum & 0xffff) + (sum >> 16);
	tcp[16] = (uint8_t)(sum >> 8);
	tcp[17] = (uint8_t)sum;
	*ret_vnet = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = mss,
		.hdr_len = 54,
		.csum_start = 34,
		.csum_offset = 16};
	return 14 + total;
}

static void carries_super_frames(void **state)
{
	struct world *w = *state;
	static uint8_t frame[MAX_FRAME], got[MAX_FRAME];
	struct virtio_net_hdr vnet, got_vnet;
	size_t len = make_super_frame(&w->a, &w->b, frame, 40 * 1300 + 17, 1300, &vnet);

	connect_nodes(w);
	from_tap(&w->a, w->a.net, &vnet, frame, len);
	assert_int_equal(transfer(&w->a), 41);
	assert_int_equal(to_application(&w->b, 0, &got_vnet, got), len);
	assert_memory_equal(got, frame, len);
	assert_int_equal(got_vnet.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(got_vnet.gso_size, 1300);
	assert_int_equal(got_vnet.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(got_vnet.csum_start, 34);
	assert_nothing_delivered(&w->b);
	assert_int_equal(stats_read(&w->b.worker->counters.events[STAT_superframes_to_tap]), 1);
	assert_int_equal(stats_read(&w->b.net->counters[0].rx_packets), 41);
}

static void waits_for_a_session(void **state)
{
	struct world *w = *state;
	static uint8_t frame[MAX_FRAME], got[MAX_FRAME];
	struct virtio_net_hdr vnet, got_vnet;
	size_t len = make_super_frame(&w->a, &w->b, frame, 20000, 1300, &vnet);

	from_tap(&w->a, w->a.net, &vnet, frame, len);
	make_frame(&w->a, &w->b, got, 60);
	from_tap(&w->a, w->a.net, &plain, got, 60);
	assert_int_equal(transfer(&w->a), 0);
	rcu_thread_offline();
	run_upcalls(&w->a); /* UPCALL_WANT: the handshake runs to its end within it */
	run_upcalls(&w->b);
	rcu_thread_online();
	forward_pending(w->a.worker);
	assert_int_equal(transfer(&w->a), 17);
	assert_int_equal(to_application(&w->b, 0, &got_vnet, got), len);
	assert_memory_equal(got, frame, len);
	assert_int_equal(to_application(&w->b, 0, &got_vnet, got), 60);

	/* What waited too long is dropped under its name. */
	rcu_thread_offline();
	sessions_remove(w->b.sessions, w->b.peer);
	rcu_thread_online();
	pending_push(&w->b.worker->pending, 12345, VAN_ID, &plain, frame, 60, 1000, &(bool){0});
	forward_pending(w->b.worker);
	assert_int_equal(drops(&w->b, DROP_no_session), 1);
}

static void floods(void **state)
{
	struct world *w = *state;
	static uint8_t frame[100], got[MAX_FRAME];
	struct virtio_net_hdr vnet;

	connect_nodes(w);
	make_frame(&w->a, &w->b, frame, sizeof(frame));
	memset(frame, 0xff, 6);
	from_tap(&w->a, w->a.net, &plain, frame, sizeof(frame));
	assert_int_equal(transfer(&w->a), 1);
	assert_int_equal(to_application(&w->b, 0, &vnet, got), sizeof(frame));
	assert_memory_equal(got, frame, sizeof(frame));
	assert_nothing_delivered(&w->a); /* split horizon: it does not come back */
}

static void refuses_at_the_sender(void **state)
{
	struct world *w = *state;
	uint8_t frame[60];

	connect_nodes(w);
	make_frame(&w->b, &w->a, frame, sizeof(frame)); /* a's TAP, b's source MAC */
	from_tap(&w->a, w->a.net, &plain, frame, sizeof(frame));
	assert_int_equal(drops(&w->a, DROP_not_ours), 1);
	make_frame(&w->a, &w->a, frame, sizeof(frame));
	from_tap(&w->a, w->a.net, &plain, frame, sizeof(frame));
	frame[5] = 99;
	from_tap(&w->a, w->a.net, &plain, frame, sizeof(frame));
	assert_int_equal(drops(&w->a, DROP_no_peer), 2);
	from_tap(&w->a, w->a.net, &plain, frame, 13);
	assert_int_equal(drops(&w->a, DROP_bad_frame), 1);
	assert_int_equal(transfer(&w->a), 0);
}

static void drops_what_was_altered(void **state)
{
	struct world *w = *state;
	uint8_t frame[80], datagram[2048], copy[2048];
	struct virtio_net_hdr vnet;
	uint64_t replayed;
	size_t len;

	connect_nodes(w);
	make_frame(&w->a, &w->b, frame, sizeof(frame));
	for (int mode = 0; mode < 2; mode++) {
		len = sealed(w, mode ? w->a.integrity : w->a.net, frame, sizeof(frame), datagram);
		for (size_t i = 0; i < len; i++) {
			for (unsigned int bit = 0; bit < 8; bit++) {
				uint64_t before = all_drops(&w->b);

				memcpy(copy, datagram, len);
				copy[i] ^= (uint8_t)(1u << bit);
				if (copy[0] >= MESSAGE_INIT && copy[0] <= MESSAGE_COOKIE)
					continue; /* the session engine's test has these */
				forward_from_peer(w->b.worker, copy, len, &w->a.at);
				offload_join_flush(&w->b.worker->join);
				assert_int_equal(all_drops(&w->b), before + 1);
			}
		}
		assert_nothing_delivered(&w->b);
		/* The original still goes through: nothing of the above moved the window. */
		memcpy(copy, datagram, len);
		forward_from_peer(w->b.worker, copy, len, &w->a.at);
		offload_join_flush(&w->b.worker->join);
		assert_int_equal(to_application(&w->b, mode, &vnet, copy), sizeof(frame));
		/* But not twice. */
		replayed = drops(&w->b, DROP_replayed);
		forward_from_peer(w->b.worker, datagram, len, &w->a.at);
		offload_join_flush(&w->b.worker->join);
		assert_int_equal(drops(&w->b, DROP_replayed), replayed + 1);
	}
	assert_nothing_delivered(&w->b);
}

static void survives_all_lengths_and_types(void **state)
{
	struct world *w = *state;
	uint8_t *exact;
	struct upcall_message m;

	connect_nodes(w);
	for (unsigned int type = 0; type < 256; type++) {
		for (size_t len = 0; len <= 2048; len++) {
			uint64_t before = all_drops(&w->b);
			bool handshake = len > 0 && type >= MESSAGE_INIT && type <= MESSAGE_COOKIE;

			exact = malloc(
				len ? len : 1); /* so that ASan sees the first byte too far */
			randombytes_buf(exact, len);
			if (len)
				exact[0] = (uint8_t)type;
			if (len > 7) /* half of them with an index that there is */
				message_set_index(
					exact + 4, len & 1 ? w->b.peer->current->local_index : 0);
			forward_from_peer(w->b.worker, exact, len, &w->a.at);
			free(exact);
			if (handshake)
				assert_int_equal(
					upcall_receive(&w->b.upcall, UPCALL_STRANGERS, &m), 0);
			else
				assert_int_equal(all_drops(&w->b), before + 1);
		}
	}
	offload_join_flush(&w->b.worker->join);
	assert_nothing_delivered(&w->b);
	assert_int_equal(w->b.worker->tx.count, 0); /* and no reply */
}

/* Handshake messages by strangers fill their own queue, and nobody else's. */
static void strangers_do_not_push_out_our_own(void **state)
{
	struct world *w = *state;
	uint8_t init[sizeof(struct message_init)], frame[60];
	struct upcall_message m;

	while (drops(&w->a, DROP_upcall_full) == 0) {
		memset(init, 0, sizeof(init));
		init[0] = MESSAGE_INIT;
		forward_from_peer(w->a.worker, init, sizeof(init), &w->b.at);
	}
	make_frame(&w->a, &w->b, frame, sizeof(frame));
	from_tap(&w->a, w->a.net, &plain, frame, sizeof(frame));
	assert_int_equal(drops(&w->a, DROP_upcall_full), 1);
	assert_int_equal(upcall_receive(&w->a.upcall, UPCALL_OWN, &m), 0);
	assert_int_equal(m.kind, UPCALL_WANT);
	assert_int_equal(upcall_receive(&w->a.upcall, UPCALL_OWN, &m), -EAGAIN);
}

/* An authentic datagram with a chosen inner header, sealed as a's worker would. */
static void inject(struct world *w, enum message_mode mode, uint8_t lane, uint32_t van_id,
	uint8_t kind, const uint8_t *frame, size_t len)
{
	static uint8_t inner[2100], datagram[2200];
	struct keypair *keys = w->a.peer->current;
	struct message_inner *head = (struct message_inner *)inner;
	size_t n;

	memset(head, 0, sizeof(*head));
	message_set_van_id(head->van_id, van_id);
	head->kind = kind;
	head->csum_start = 250;
	memcpy(inner + sizeof(*head), frame, len);
	n = seal_frame(w->a.worker->backend, &keys->send, mode, lane, keys->remote_index,
		keys->tx[MESSAGE_LANE_WORKER].counter++, inner, sizeof(*head) + len, datagram);
	forward_from_peer(w->b.worker, datagram, n, &w->a.at);
	offload_join_flush(&w->b.worker->join);
}

static void drops_what_a_member_may_not_send(void **state)
{
	struct world *w = *state;
	struct network_member none = {0};
	struct virtio_net_hdr vnet;
	static uint8_t got[MAX_FRAME];
	uint8_t frame[60];

	connect_nodes(w);
	make_frame(&w->a, &w->b, frame, sizeof(frame));
	inject(w, MESSAGE_MODE_GCM, 1, VAN_ID, MESSAGE_FRAME, frame, sizeof(frame));
	assert_int_equal(to_application(&w->b, 0, &vnet, got), sizeof(frame));

	inject(w, MESSAGE_MODE_GCM, 1, 0x999999, MESSAGE_FRAME, frame, sizeof(frame));
	assert_int_equal(drops(&w->b, DROP_unknown_network), 1);
	inject(w, MESSAGE_MODE_GMAC, 1, VAN_ID, MESSAGE_FRAME, frame, sizeof(frame));
	inject(w, MESSAGE_MODE_GCM, 1, VAN_ID_INTEGRITY, MESSAGE_FRAME, frame, sizeof(frame));
	inject(w, MESSAGE_MODE_GMAC, 1, 0, MESSAGE_PROBE, frame, MESSAGE_PROBE_LEN);
	assert_int_equal(drops(&w->b, DROP_mode_mismatch), 3);
	inject(w, MESSAGE_MODE_GCM, 1, VAN_ID, MESSAGE_FRAME, frame, 13);
	inject(w, MESSAGE_MODE_GCM, 1, VAN_ID, MESSAGE_FRAME, frame, 0);
	inject(w, MESSAGE_MODE_GCM, 1, VAN_ID, MESSAGE_FRAME | MESSAGE_FLAG_NEEDS_CSUM, frame,
		sizeof(frame)); /* csum_start lies outside */
	assert_int_equal(drops(&w->b, DROP_bad_inner), 3);
	inject(w, MESSAGE_MODE_GCM, 7, VAN_ID, MESSAGE_FRAME, frame, sizeof(frame));
	assert_int_equal(drops(&w->b, DROP_bad_lane), 1);

	frame[11] = 77; /* somebody else's MAC */
	inject(w, MESSAGE_MODE_GCM, 1, VAN_ID, MESSAGE_FRAME, frame, sizeof(frame));
	assert_int_equal(drops(&w->b, DROP_guard_mac), 1);
	memcpy(frame + 6, w->b.mac.b, 6); /* the receiver's own */
	inject(w, MESSAGE_MODE_GCM, 1, VAN_ID, MESSAGE_FRAME, frame, sizeof(frame));
	assert_int_equal(drops(&w->b, DROP_own_mac), 1);

	rcu_thread_offline();
	assert_int_equal(network_set_members(w->b.net, &none, 0, &w->b.mac, 1), 0);
	rcu_thread_online();
	memcpy(frame + 6, w->a.mac.b, 6);
	inject(w, MESSAGE_MODE_GCM, 1, VAN_ID, MESSAGE_FRAME, frame, sizeof(frame));
	assert_int_equal(drops(&w->b, DROP_not_member), 1);
	assert_nothing_delivered(&w->b);
	assert_int_equal(all_drops(&w->b), 11);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(carries_frames_unmodified),
		TEST(leaves_checksums_partial),
		TEST(carries_super_frames),
		TEST(waits_for_a_session),
		TEST(floods),
		TEST(refuses_at_the_sender),
		TEST(drops_what_was_altered),
		TEST(survives_all_lengths_and_types),
		TEST(strangers_do_not_push_out_our_own),
		TEST(drops_what_a_member_may_not_send),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
