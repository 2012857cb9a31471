/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and paths that do not fit: parts, "too big" answers, smaller segments, clamped MSS; and what
 * the outer header's ECN field does to what is inside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "test/unit/forward_world.h"
#include "test/unit/offload_frames.h"
#include "vand/ecn.h"
#include "vand/toobig.h"

static uint8_t frame[MAX_FRAME], got[MAX_FRAME];

static void set_path(struct node *n, uint16_t frame_max, bool final)
{
	peer_set_path(n->peer, frame_max, final);
}

static uint64_t events(const struct node *n, enum stat_event event)
{
	return stats_read(&n->worker->counters.events[event]);
}

/* From a to b, as the builder makes it: IPv4 UDP with DF unless changed. */
static struct spec a_to_b(size_t payload_len)
{
	static uint8_t payload[65536];
	struct spec s = tcp4_spec;

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 5 + i / 256);
	s.udp = true;
	s.full_csum = true;
	s.src_mac = 1;
	s.dst_mac = 2;
	s.payload = payload;
	s.payload_len = payload_len;
	return s;
}

/* No datagram in the batch is larger than frame_max allows. Returns how many there are. */
static unsigned int count_datagrams(struct node *n, size_t frame_max)
{
	const struct udp_tx *tx = &n->worker->tx;
	unsigned int count = 0;

	for (unsigned int i = 0; i < tx->count; i++) {
		assert_true(tx->slots[i].segment_len <= MESSAGE_OVERHEAD + frame_max);
		count += tx->slots[i].segments;
	}
	return count;
}

static void frames_in_parts(void **state)
{
	static const uint16_t limits[] = {100, 101, 500, 700, 1213, 1360, 1373};
	struct world *w = *state;
	struct virtio_net_hdr vnet;

	connect_nodes(w);
	for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
		set_path(&w->a, limits[l], true);
		for (int mode = 0; mode < 2; mode++) {
			for (size_t len = 60; len <= 1378; len += 13) {
				size_t room = (limits[l] - 4u) / 2 * 2;
				size_t parts = (len + room - 1) / room;

				make_frame(&w->a, &w->b, frame, len);
				from_tap(&w->a, mode ? w->a.integrity : w->a.net, &plain, frame,
					len);
				assert_int_equal(count_datagrams(&w->a, limits[l]),
					len <= limits[l] ? 1 : parts);
				transfer(&w->a);
				assert_int_equal(to_application(&w->b, mode, &vnet, got), len);
				assert_memory_equal(got, frame, len);
				assert_int_equal(vnet.flags, 0);
				assert_nothing_delivered(&w->b);
			}
		}
	}
	assert_int_equal(events(&w->a, STAT_frames_cut), events(&w->b, STAT_frames_rejoined));
	assert_true(events(&w->a, STAT_frames_cut) > 500);
	assert_int_equal(all_drops(&w->a) + all_drops(&w->b), 0);
	/* Not in more parts than there may be. */
	set_path(&w->a, 40, true);
	from_tap(&w->a, w->a.net, &plain, frame, 1378);
	set_path(&w->a, 0, true);
	from_tap(&w->a, w->a.net, &plain, frame, 1378);
	assert_int_equal(drops(&w->a, DROP_too_big), 2);
	assert_int_equal(transfer(&w->a), 0);
}

/* The checksum's place travels along. */
static void parts_with_partial_checksum(void **state)
{
	struct world *w = *state;
	struct spec s = a_to_b(1200);
	struct virtio_net_hdr vnet = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM};
	size_t len;

	connect_nodes(w);
	set_path(&w->a, 800, false);
	s.full_csum = false;
	len = build_frame(frame, &s);
	vnet.csum_start = (uint16_t)spec_l4(&s);
	vnet.csum_offset = 6;
	from_tap(&w->a, w->a.net, &vnet, frame, len);
	assert_int_equal(transfer(&w->a), 2);
	memset(&vnet, 0, sizeof(vnet));
	assert_int_equal(to_application(&w->b, 0, &vnet, got), len);
	assert_int_equal(vnet.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(vnet.csum_start, spec_l4(&s));
	assert_int_equal(vnet.csum_offset, 6);
	build_frame(frame, &s);
	assert_memory_equal(got, frame, len);
}

static void floods_in_parts(void **state)
{
	struct world *w = *state;
	struct virtio_net_hdr vnet;

	connect_nodes(w);
	set_path(&w->a, 500, true);
	make_frame(&w->a, &w->b, frame, 1374);
	memset(frame, 0xff, 6);
	from_tap(&w->a, w->a.net, &plain, frame, 1374);
	assert_int_equal(transfer(&w->a), 3);
	assert_int_equal(to_application(&w->b, 0, &vnet, got), 1374);
	assert_memory_equal(got, frame, 1374);
	assert_nothing_delivered(&w->a); /* nobody is told */
}

static void answers_once_it_is_sure(void **state)
{
	struct world *w = *state;
	struct spec s = a_to_b(1300);
	struct virtio_net_hdr vnet;
	size_t len = build_frame(frame, &s);
	ssize_t n;

	connect_nodes(w);
	set_path(&w->a, 1014, false); /* still looking: in parts */
	from_tap(&w->a, w->a.net, &plain, frame, len);
	assert_int_equal(transfer(&w->a), 2);
	assert_int_equal(to_application(&w->b, 0, &vnet, got), len);

	set_path(&w->a, 1014, true);
	from_tap(&w->a, w->a.net, &plain, frame, len);
	assert_int_equal(transfer(&w->a), 0);
	n = to_application(&w->a, 0, &vnet, got);
	assert_true(n > 14 + 20 + 8);
	assert_int_equal(vnet.flags, 0);
	assert_int_equal(vnet.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_memory_equal(got, w->a.mac.b, 6);
	assert_memory_equal(got + 6, w->b.mac.b, 6);
	assert_int_equal(got[34] << 8 | got[35], 3 << 8 | 4);
	assert_int_equal(naive_get(got + 40), 1000);
	assert_int_equal(events(&w->a, STAT_too_big_answered), 1);
	assert_nothing_delivered(&w->b);
	/* Not too many of them: the rest goes in parts, and nothing is lost. */
	for (unsigned int i = 1; i < 2 * TOOBIG_BURST; i++) {
		from_tap(&w->a, w->a.net, &plain, frame, len);
		if (transfer(&w->a))
			assert_int_equal(to_application(&w->b, 0, &vnet, got), len);
		else
			assert_true(to_application(&w->a, 0, &vnet, got) > 0);
	}
	assert_int_equal(events(&w->a, STAT_too_big_answered), TOOBIG_BURST);
	assert_int_equal(all_drops(&w->a) + all_drops(&w->b), 0);
}

static struct virtio_net_hdr gso(const struct spec *s, uint16_t size)
{
	return (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = s->udp ? VIRTIO_NET_HDR_GSO_UDP_L4 : VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = size,
		.csum_start = (uint16_t)spec_l4(s),
		.csum_offset = (uint16_t)spec_csum_offset(s)};
}

/* TCP super-frames are cut to what fits, without a word, and come out whole again. */
static void tcp_super_frames_are_cut_smaller(void **state)
{
	static const uint16_t limits[] = {200, 1000, 1373, 1374};
	struct world *w = *state;
	struct spec s = a_to_b(40000);
	struct virtio_net_hdr vnet;

	connect_nodes(w);
	s.udp = s.full_csum = false;
	for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
		size_t len = build_frame(frame, &s), header = spec_header_len(&s), at = 0;
		ssize_t n;

		set_path(&w->a, limits[l], true);
		vnet = gso(&s, 1320);
		from_tap(&w->a, w->a.net, &vnet, frame, len);
		count_datagrams(&w->a, limits[l]);
		transfer(&w->a);
		while ((n = to_application(&w->b, 0, &vnet, got)) > 0) {
			assert_true((size_t)n > header);
			assert_memory_equal(got + header, s.payload + at, (size_t)n - header);
			at += (size_t)n - header;
		}
		assert_int_equal(at, 40000);
		assert_nothing_delivered(&w->a);
	}
	assert_int_equal(events(&w->a, STAT_frames_cut), 0);
	assert_int_equal(all_drops(&w->a) + all_drops(&w->b), 0);
}

/* UDP's datagrams are the application's: it is told, or they go in parts. */
static void udp_super_frames(void **state)
{
	struct world *w = *state;
	struct spec s = a_to_b(12000);
	struct virtio_net_hdr vnet = gso(&s, 1200);
	size_t len;
	unsigned int count = 0;

	connect_nodes(w);
	s.full_csum = false;
	len = build_frame(frame, &s);
	set_path(&w->a, 1000, true);
	from_tap(&w->a, w->a.net, &vnet, frame, len);
	assert_int_equal(transfer(&w->a), 0);
	assert_true(to_application(&w->a, 0, &vnet, got) > 0);
	assert_int_equal(naive_get(got + 40), 986);
	assert_int_equal(naive_get(got + 42 + 2), 20 + 8 + 1200); /* quoted as a segment */

	set_path(&w->a, 1000, false);
	len = build_frame(frame, &s);
	vnet = gso(&s, 1200);
	from_tap(&w->a, w->a.net, &vnet, frame, len);
	assert_int_equal(count_datagrams(&w->a, 1000), 20);
	transfer(&w->a);
	for (ssize_t n; (n = to_application(&w->b, 0, &vnet, got)) > 0; count++) {
		assert_int_equal(n, spec_header_len(&s) + 1200);
		assert_memory_equal(got + spec_header_len(&s), s.payload + count * 1200, 1200);
	}
	assert_int_equal(count, 10);
}

/* SYNs from a peer get the MSS of the path back to it. */
static void clamps_what_comes_in(void **state)
{
	struct world *w = *state;
	struct spec s = a_to_b(0);
	struct virtio_net_hdr vnet;
	size_t len;
	uint8_t *options;

	connect_nodes(w);
	s.udp = false;
	s.flags = SYN;
	s.tcp_options = 4;
	for (int final = 0; final < 2; final++) {
		len = build_frame(frame, &s);
		options = frame + spec_l4(&s) + 20;
		memcpy(options, (uint8_t[]){2, 4, 0x05, 0x28}, 4); /* 1320 */
		set_path(&w->b, 1054, final);
		from_tap(&w->a, w->a.net, &plain, frame, len);
		assert_int_equal(transfer(&w->a), 1);
		assert_int_equal(to_application(&w->b, 0, &vnet, got), len);
		assert_int_equal(naive_get(got + spec_l4(&s) + 22), final ? 1000 : 1320);
	}
	assert_int_equal(events(&w->b, STAT_mss_clamped), 1);
	/* A path that takes all there is needs nothing. */
	set_path(&w->b, 1374, true);
	len = build_frame(frame, &s);
	memcpy(frame + spec_l4(&s) + 20, (uint8_t[]){2, 4, 0xff, 0xff}, 4);
	from_tap(&w->a, w->a.net, &plain, frame, len);
	transfer(&w->a);
	assert_int_equal(to_application(&w->b, 0, &vnet, got), len);
	assert_int_equal(naive_get(got + spec_l4(&s) + 22), 0xffff);
}

static void ecn_comes_in(void **state)
{
	struct world *w = *state;
	struct virtio_net_hdr vnet;

	connect_nodes(w);
	for (unsigned int parts = 0; parts < 2; parts++) {
		set_path(&w->a, parts ? 500 : UINT16_MAX, false);
		for (uint8_t inner = 0; inner < 4; inner++) {
			struct spec s = a_to_b(700);
			size_t len;

			s.tos = inner;
			len = build_frame(frame, &s);
			from_tap(&w->a, w->a.net, &plain, frame, len);
			w->b.worker->outer_ecn = ECN_CE;
			assert_int_equal(transfer(&w->a), 1 + parts);
			w->b.worker->outer_ecn = 0;
			if (inner == ECN_NOT_ECT) {
				assert_nothing_delivered(&w->b);
				continue;
			}
			s.tos = ECN_CE;
			build_frame(frame, &s);
			assert_int_equal(to_application(&w->b, 0, &vnet, got), len);
			assert_memory_equal(got, frame, len);
		}
		/* What is no IP is no business of ECN's. */
		make_frame(&w->a, &w->b, frame, 700);
		from_tap(&w->a, w->a.net, &plain, frame, 700);
		w->b.worker->outer_ecn = ECN_CE;
		transfer(&w->a);
		w->b.worker->outer_ecn = 0;
		assert_int_equal(to_application(&w->b, 0, &vnet, got), 700);
	}
	assert_int_equal(drops(&w->b, DROP_ce_not_ect), 2);
}

static void tos_goes_out(void **state)
{
	static const uint8_t copies[] = {0, ECN_COPY, ECN_COPY_DSCP, ECN_COPY | ECN_COPY_DSCP};
	struct world *w = *state;

	connect_nodes(w);
	for (size_t c = 0; c < sizeof(copies); c++) {
		const struct udp_tx *tx = &w->a.worker->tx;
		struct spec s = a_to_b(700);

		w->a.worker->copy_tos = copies[c];
		for (unsigned int i = 0; i < 6; i++) {
			s.tos = i < 2 ? 0xba : i < 4 ? 0 : 0x03;
			from_tap(&w->a, w->a.net, &plain, frame, build_frame(frame, &s));
		}
		/* A slot has one TOS; equal neighbours share one. */
		assert_int_equal(tx->slots[0].tos, 0xba & copies[c]);
		assert_int_equal(tx->slots[tx->count - 1].tos, 0x03 & copies[c]);
		assert_int_equal(tx->count, c == 0 ? 1 : c == 2 ? 2 : 3);
		transfer(&w->a);
	}
}

/* An authentic part by hand. */
static void inject_part(struct world *w, enum message_mode mode, uint32_t van_id, uint16_t id,
	size_t offset, bool more, const uint8_t *bytes, size_t len)
{
	static uint8_t plain_text[2100], datagram[2200];
	struct message_inner *inner = (struct message_inner *)plain_text;
	struct message_fragment *header = (struct message_fragment *)(inner + 1);
	struct keypair *keys = w->a.peer->current;
	size_t n;

	memset(inner, 0, sizeof(*inner));
	message_set_van_id(inner->van_id, van_id);
	inner->kind = MESSAGE_FRAGMENT;
	fragment_put(header, id, offset, more);
	memcpy(header + 1, bytes, len);
	n = seal_frame(w->a.worker->backend, &keys->send, mode, MESSAGE_LANE_WORKER,
		keys->remote_index, keys->tx[MESSAGE_LANE_WORKER].counter++, plain_text,
		sizeof(*inner) + sizeof(*header) + len, datagram);
	forward_from_peer(w->b.worker, datagram, n, &w->a.at);
	offload_join_flush(&w->b.worker->join);
}

/* What is rejoined has to pass all that a frame has to. */
static void parts_are_guarded(void **state)
{
	struct world *w = *state;
	struct virtio_net_hdr vnet;

	connect_nodes(w);
	make_frame(&w->a, &w->b, frame, 200);
	inject_part(w, MESSAGE_MODE_GCM, VAN_ID, 1, 100, false, frame + 100, 100);
	assert_nothing_delivered(&w->b);
	inject_part(w, MESSAGE_MODE_GCM, VAN_ID, 1, 0, true, frame, 100);
	assert_int_equal(to_application(&w->b, 0, &vnet, got), 200);
	assert_memory_equal(got, frame, 200);
	/* Unknown network, wrong mode, too short, somebody else's MAC. */
	inject_part(w, MESSAGE_MODE_GCM, 0x999, 2, 0, true, frame, 100);
	inject_part(w, MESSAGE_MODE_GCM, 0x999, 2, 100, false, frame, 100);
	assert_int_equal(drops(&w->b, DROP_unknown_network), 1);
	inject_part(w, MESSAGE_MODE_GMAC, VAN_ID, 3, 0, false, frame, 100);
	assert_int_equal(drops(&w->b, DROP_mode_mismatch), 1);
	inject_part(w, MESSAGE_MODE_GCM, VAN_ID, 4, 0, false, frame, 13);
	assert_int_equal(drops(&w->b, DROP_bad_inner), 1);
	frame[11] = 77;
	inject_part(w, MESSAGE_MODE_GCM, VAN_ID, 5, 0, true, frame, 100);
	inject_part(w, MESSAGE_MODE_GCM, VAN_ID, 5, 100, false, frame + 100, 100);
	assert_int_equal(drops(&w->b, DROP_guard_mac), 1);
	/* Nothing at all, and half of two networks. */
	inject_part(w, MESSAGE_MODE_GCM, VAN_ID, 6, 0, false, frame, 0);
	inject_part(w, MESSAGE_MODE_GCM, VAN_ID, 7, 0, true, frame, 100);
	inject_part(w, MESSAGE_MODE_GCM, VAN_ID_INTEGRITY, 7, 100, false, frame, 100);
	assert_int_equal(drops(&w->b, DROP_fragment_bad), 2);
	assert_int_equal(all_drops(&w->b), 6);
	assert_nothing_delivered(&w->b);
	assert_int_equal(w->b.worker->fragments.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_in_parts),
		TEST(parts_with_partial_checksum),
		TEST(floods_in_parts),
		TEST(answers_once_it_is_sure),
		TEST(tcp_super_frames_are_cut_smaller),
		TEST(udp_super_frames),
		TEST(clamps_what_comes_in),
		TEST(ecn_comes_in),
		TEST(tos_goes_out),
		TEST(parts_are_guarded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
