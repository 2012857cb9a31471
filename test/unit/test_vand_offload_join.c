/* SPDX-License-Identifier: Apache-2.0 */
/* Joining segments into super-frames: what is joined, and what never is. */
#include "test/unit/offload_join_fixture.h"

static void joins_every_kind(void **state)
{
	struct fixture *f = *state;

	for (unsigned int kind = 0; kind < 8; kind++) {
		for (unsigned int tags = 0; tags < 3; tags++) {
			struct spec s = base_spec(f, 1000), whole;

			s.ip6 = kind & 1;
			s.udp = kind & 2;
			s.full_csum = kind & 4;
			s.tags = tags;
			s.vid = 7;
			whole = s;
			for (int i = 0; i < 5; i++) {
				feed(f, &s);
				s = following(&s, 1000);
			}
			s.payload_len = 1;
			assert_int_equal(f->count, 0);
			feed(f, &s);
			assert_int_equal(f->count, 1); /* a short one ends it at once */
			whole.payload_len = 5001;
			assert_super(f, 0, &whole, 1000);
			offload_join_flush(&f->join);
			assert_int_equal(f->count, 1);
			clear(f);
		}
	}
}

/* Partial and verified full checksums in one super-frame. */
static void joins_mixed_checksums(void **state)
{
	struct fixture *f = *state;
	struct spec s = base_spec(f, 301), whole = s;

	for (int i = 0; i < 4; i++) {
		s.full_csum = i & 1;
		feed(f, &s);
		s = following(&s, 301);
	}
	offload_join_flush(&f->join);
	whole.payload_len = 4 * 301;
	assert_int_equal(f->count, 1);
	assert_super(f, 0, &whole, 301);
}

static void single_frames_are_untouched(void **state)
{
	struct fixture *f = *state;
	struct spec s = base_spec(f, 100);

	for (unsigned int kind = 0; kind < 8; kind++) {
		s.ip6 = kind & 1;
		s.udp = kind & 2;
		s.full_csum = kind & 4;
		feed(f, &s);
		assert_int_equal(f->count, 0);
		offload_join_flush(&f->join);
		assert_int_equal(f->count, 1);
		assert_single(f, 0, &s);
		assert_ptr_equal(f->out[0].tap, &tap_a);
		clear(f);
	}
}

static void switched_off(void **state)
{
	struct fixture *f = *state;

	for (unsigned int on = 0; on < 4; on++) {
		struct spec tcp = base_spec(f, 100), udp = tcp, next;

		udp.udp = true;
		offload_join_init(&f->join, on & 1, on & 2, record, f);
		feed(f, &tcp);
		feed(f, &udp);
		next = following(&tcp, 100);
		feed(f, &next);
		next = following(&udp, 100);
		feed(f, &next);
		offload_join_flush(&f->join);
		assert_int_equal(f->count, 4 - !!(on & 1) - !!(on & 2));
		clear(f);
	}
}

/* PSH and FIN of the last segment get into the header, and end the super-frame at once. */
static void push_and_fin(void **state)
{
	static const uint8_t ends[] = {PSH, FIN, PSH | FIN};
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT(ends); i++) {
		struct spec s = base_spec(f, 500), whole = s, next = following(&s, 500);

		feed(f, &s);
		next.flags |= ends[i];
		feed(f, &next);
		assert_int_equal(f->count, 1);
		whole.payload_len = 1000;
		whole.flags |= ends[i];
		assert_super(f, 0, &whole, 500);
		/* One that starts with it is never more than one. */
		s.flags |= ends[i];
		feed(f, &s);
		assert_int_equal(f->count, 2);
		assert_single(f, 1, &s);
		clear(f);
	}
}

/*
 * A segment that differs in one field from what would continue the flow is not joined, neither as
 * the second nor, where the difference is one that never may be, as the first; it comes out
 * unmodified, and what had been joined before it comes first when it belongs to the same flow.
 */
static void check_difference(
	struct fixture *f, const struct spec *first, const struct difference *difference)
{
	struct spec second = following(first, first->payload_len), third, whole = *first;
	bool in_order = true;
	unsigned int i;

	whole.payload_len *= 2;
	third = following(&second, first->payload_len);
	difference->change(&third);
	print_message("  %s\n", difference->name);
	feed(f, first);
	feed(f, &second);
	assert_int_equal(f->count, 0);
	feed(f, &third);
	offload_join_flush(&f->join);
	assert_int_equal(f->count, 2);
	/* Another flow has no order towards this one. */
	if (f->out[0].segments == 1)
		in_order = false;
	i = in_order ? 0 : 1;
	assert_super(f, i, &whole, first->payload_len);
	assert_single(f, 1 - i, &third);
	if (third.src_port == first->src_port && third.udp == first->udp)
		assert_true(in_order);
	clear(f);
}

static void differences_are_not_joined(void **state)
{
	struct fixture *f = *state;

	for (unsigned int kind = 0; kind < 4; kind++) {
		struct spec s = base_spec(f, 300);

		s.tags = 1;
		s.vid = 9;
		s.ip6 = kind & 1;
		s.udp = kind & 2;
		for (size_t i = 0; i < COUNT(differences); i++)
			check_difference(f, &s, &differences[i]);
		for (size_t i = 0; !s.ip6 && i < COUNT(differences_ip4); i++)
			check_difference(f, &s, &differences_ip4[i]);
		for (size_t i = 0; !s.udp && i < COUNT(differences_tcp); i++)
			check_difference(f, &s, &differences_tcp[i]);
	}
}

/* Frames that are never joined, even to their like. */
static void never_joined(void **state)
{
	static const struct difference never[] = {
		{"syn", change_syn},
		{"rst", change_rst},
		{"urg", change_urg},
		{"ece", change_ece},
		{"cwr", change_cwr},
		{"no ACK", change_no_ack_flag},
		{"AE", change_reserved_ae},
		{"IP options", change_extension_header},
		{"fragments", change_more_fragments},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT(never); i++) {
		struct spec s = base_spec(f, 100), next;

		never[i].change(&s);
		next = following(&s, 100);
		feed(f, &s);
		feed(f, &next);
		assert_int_equal(f->count, 2);
		assert_single(f, 0, &s);
		assert_single(f, 1, &next);
		clear(f);
	}
	for (int i = 0; i < 4; i++) {
		struct spec s = base_spec(f, 100), next;
		uint8_t frame[256];
		size_t len;

		s.udp = true;
		s.full_csum = i == 3;
		if (i == 0)
			s.src_port = 0;
		if (i == 1)
			s.dst_port = 0;
		next = following(&s, 100);
		for (int copy = 0; copy < 2; copy++) {
			len = build_frame(frame, copy ? &next : &s);
			if (i == 2)
				frame[0] |= 1; /* multicast */
			if (i == 3) {
				/* No checksum, though 0 would even be right: would get one. */
				unsigned int sum = naive_get(frame + 40);

				naive_put(frame + 42,
					naive_sum(naive_get(frame + 42),
						(uint8_t[]){(uint8_t)(sum >> 8), (uint8_t)sum}, 2));
				naive_put(frame + 40, 0);
				assert_int_equal(naive_sum(naive_pseudo(frame + 14, len - 34),
							 frame + 34, len - 34),
					0xffff);
			}
			feed_bytes(f, frame, len, i != 3, i != 3 ? 34 : 0, i != 3 ? 6 : 0);
			assert_int_equal(f->count, copy + 1);
			assert_int_equal(f->out[copy].len, len);
			assert_memory_equal(f->out[copy].frame, frame, len);
		}
		clear(f);
	}
}

/* The TAP and the sender are part of a flow. */
static void other_tap_or_sender(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		struct spec s = base_spec(f, 100), next = following(&s, 100);
		uint8_t buffer[512];
		struct offload_frame frame = {
			.data = buffer + 16,
			.len = (uint32_t)build_frame(buffer + 16, &next),
			.needs_csum = true,
			.csum_start = 34,
			.csum_offset = 16,
			.tap = i == 1 ? &tap_b : &tap_a,
			.sender = i == 2 ? &peer_b : &peer_a,
		};

		feed(f, &s);
		offload_join_frame(&f->join, &frame);
		offload_join_flush(&f->join);
		assert_int_equal(f->count, i ? 2 : 1);
		assert_ptr_equal(f->out[f->count - 1].tap, i == 1 ? &tap_b : &tap_a);
		clear(f);
	}
}

/* Whatever is wrong in a frame must come out as it is: a super-frame would put it right. */
static void wrong_checksums_are_not_joined(void **state)
{
	struct fixture *f = *state;

	for (unsigned int kind = 0; kind < 8; kind++) {
		struct spec s = base_spec(f, 333), next, after;
		size_t l3, l4, csum, len;
		/* Bytes to damage: payload, its last (odd) byte, checksum, ports' sum, IPv4 header.
		 */
		size_t damage[5];

		s.ip6 = kind & 1;
		s.udp = kind & 2;
		s.full_csum = kind & 4;
		next = following(&s, 333);
		after = following(&next, 333);
		l3 = spec_l3(&s);
		l4 = spec_l4(&s);
		csum = l4 + spec_csum_offset(&s);
		damage[0] = spec_header_len(&s) + 100;
		damage[1] = spec_header_len(&s) + 332;
		damage[2] = csum;
		damage[3] = csum + 1;
		damage[4] = l3 + 4; /* IPv4 ID: the header checksum is wrong then */
		for (size_t i = 0; i < COUNT(damage); i++) {
			uint8_t frame[512];

			/* A partial checksum does not cover the payload; IPv6 has no ID. */
			if ((!s.full_csum && i < 2) || (s.ip6 && i == 4))
				continue;
			len = build_frame(frame, &next);
			frame[damage[i]] ^= 0x40;
			feed(f, &s);
			feed_bytes(f, frame, len, !s.full_csum, l4, csum - l4);
			feed(f, &after);
			offload_join_flush(&f->join);
			assert_int_equal(f->count, 3);
			assert_single(f, 0, &s);
			assert_int_equal(f->out[1].len, len);
			assert_memory_equal(f->out[1].frame, frame, len);
			assert_single(f, 2, &after);
			clear(f);
		}
	}
}

/* NEEDS_CSUM for something else than the TCP header: a checksum inside a tunnel, say. */
static void foreign_partial_checksum(void **state)
{
	struct fixture *f = *state;
	struct spec s = base_spec(f, 300), next = following(&s, 300);
	uint8_t frame[512];
	size_t len = build_frame(frame, &next);

	for (int i = 0; i < 2; i++) {
		feed(f, &s);
		feed_bytes(f, frame, len, true, i ? 34 : 100, i ? 6 : 16);
		offload_join_flush(&f->join);
		assert_int_equal(f->count, 2);
		assert_memory_equal(f->out[1].frame, frame, len);
		assert_int_equal(f->out[1].vnet.csum_start, i ? 34 : 100);
		assert_int_equal(f->out[1].vnet.csum_offset, i ? 6 : 16);
		clear(f);
	}
}

/* Ethernet padding behind the IP packet is neither payload nor lost. */
static void padding(void **state)
{
	struct fixture *f = *state;
	struct spec s = base_spec(f, 2), next = following(&s, 2), ack = base_spec(f, 0);
	uint8_t frame[128] = {0};

	s.tcp_options = next.tcp_options = ack.tcp_options = 0;
	feed(f, &s);
	assert_int_equal(build_frame(frame, &next), 56);
	feed_bytes(f, frame, 60, true, 34, 16);
	assert_int_equal(f->count, 2);
	assert_single(f, 0, &s);
	assert_int_equal(f->out[1].len, 60);
	assert_memory_equal(f->out[1].frame, frame, 60);
	clear(f);
	/* A padded pure ACK is one nevertheless. */
	feed(f, &s);
	build_frame(frame, &ack);
	feed_bytes(f, frame, 60, true, 34, 16);
	assert_int_equal(f->count, 0);
	offload_join_flush(&f->join);
	assert_int_equal(f->count, 2);
	assert_int_equal(f->out[1].len, 60);
}

/* Every truncation of a good frame, and every byte of its headers set to something else, with a
 * flow open that it may belong to: nothing is lost, and nothing is read beyond (AddressSanitizer).
 */
static void mangled_headers(void **state)
{
	struct fixture *f = *state;

	for (unsigned int kind = 0; kind < 4; kind++) {
		struct spec s = base_spec(f, 64), next;
		uint8_t frame[256];
		size_t len;

		s.ip6 = kind & 1;
		s.udp = kind & 2;
		s.tags = 2;
		next = following(&s, 64);
		len = build_frame(frame, &next);
		for (size_t i = 1; i < len; i++) {
			feed(f, &s);
			feed_bytes(f, frame, i, true, spec_l4(&s), spec_csum_offset(&s));
			offload_join_flush(&f->join);
			assert_int_equal(f->count, 2);
			clear(f);
		}
		for (size_t i = 0; i < spec_header_len(&s); i++) {
			for (unsigned int bit = 0; bit < 8; bit++) {
				/* Ends a super-frame, as it may; so does a TCP flag PSH or FIN. */
				bool may_join =
					!s.udp && i == spec_l4(&s) + 13 && (bit == 0 || bit == 3);

				frame[i] ^= (uint8_t)(1 << bit);
				feed(f, &s);
				feed_bytes(f, frame, len, true, spec_l4(&s), spec_csum_offset(&s));
				offload_join_flush(&f->join);
				assert_int_equal(f->count, may_join ? 1 : 2);
				clear(f);
				frame[i] ^= (uint8_t)(1 << bit);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(joins_every_kind),
		T(joins_mixed_checksums),
		T(single_frames_are_untouched),
		T(switched_off),
		T(push_and_fin),
		T(differences_are_not_joined),
		T(never_joined),
		T(other_tap_or_sender),
		T(wrong_checksums_are_not_joined),
		T(foreign_partial_checksum),
		T(padding),
		T(mangled_headers),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
