/* SPDX-License-Identifier: Apache-2.0 */
/* Joining segments into super-frames. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "test/unit/offload_frames.h"
#include "vand/offload.h"

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define EMITS_MAX 600

/* One call of the emit function, flattened. */
struct emitted {
	struct virtio_net_hdr vnet;
	uint8_t *frame;
	size_t len;
	unsigned int segments;
	const void *tap;
};

struct fixture {
	struct offload_join join;
	struct emitted out[EMITS_MAX];
	unsigned int count;
	/* Buffers of the frames fed in, each of exactly its size and VNET bytes of room. */
	uint8_t *buffers[EMITS_MAX];
	unsigned int buffer_count;
	uint8_t *payload;
};

static const int tap_a, tap_b, peer_a, peer_b;

static void record(void *ctx, const void *tap, const struct iovec *iov, unsigned int iov_count,
	unsigned int segments, size_t frame_len)
{
	struct fixture *f = ctx;
	struct emitted *e = &f->out[f->count++];
	size_t len = 0;

	assert_true(f->count <= EMITS_MAX);
	assert_int_equal(iov_count, segments);
	assert_true(iov[0].iov_len > sizeof(e->vnet));
	memcpy(&e->vnet, iov[0].iov_base, sizeof(e->vnet));
	e->frame = malloc(frame_len);
	e->len = frame_len;
	e->segments = segments;
	e->tap = tap;
	for (unsigned int i = 0; i < iov_count; i++) {
		size_t skip = i ? 0 : sizeof(e->vnet);

		assert_true(len + iov[i].iov_len - skip <= frame_len);
		memcpy(e->frame + len, (const uint8_t *)iov[i].iov_base + skip,
			iov[i].iov_len - skip);
		len += iov[i].iov_len - skip;
	}
	assert_int_equal(len, frame_len);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->payload = random_bytes(200000, 11);
	offload_join_init(&f->join, true, true, record, f);
	*state = f;
	return 0;
}

static void clear_emitted(struct fixture *f)
{
	for (unsigned int i = 0; i < f->count; i++)
		free(f->out[i].frame);
	f->count = 0;
}

static void clear(struct fixture *f)
{
	clear_emitted(f);
	for (unsigned int i = 0; i < f->buffer_count; i++)
		free(f->buffers[i]);
	f->buffer_count = 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	clear(f);
	free(f->payload);
	free(f);
	return 0;
}

static void feed_bytes(struct fixture *f, const uint8_t *frame, size_t len, bool needs_csum,
	size_t csum_start, size_t csum_offset)
{
	uint8_t *buffer = malloc(16 + len);
	struct offload_frame in = {
		.data = buffer + 16,
		.len = (uint32_t)len,
		.needs_csum = needs_csum,
		.csum_start = (uint16_t)csum_start,
		.csum_offset = (uint16_t)csum_offset,
		.tap = &tap_a,
		.sender = &peer_a,
	};

	assert_true(f->buffer_count < EMITS_MAX);
	f->buffers[f->buffer_count++] = buffer;
	memset(buffer, 0xee, 16);
	memcpy(in.data, frame, len);
	offload_join_frame(&f->join, &in);
}

static void feed(struct fixture *f, const struct spec *s)
{
	uint8_t *frame = malloc(spec_header_len(s) + s->payload_len);
	size_t len = build_frame(frame, s);

	feed_bytes(f, frame, len, !s->full_csum, s->full_csum ? 0 : spec_l4(s),
		s->full_csum ? 0 : spec_csum_offset(s));
	free(frame);
}

/* Emitted frame i is, unmodified and with the right vnet header, the frame of the spec. */
static void assert_single(const struct fixture *f, unsigned int i, const struct spec *s)
{
	uint8_t *frame = malloc(spec_header_len(s) + s->payload_len);
	size_t len = build_frame(frame, s);
	const struct emitted *e = &f->out[i];
	struct virtio_net_hdr vnet = {0};

	if (!s->full_csum) {
		vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		vnet.csum_start = (uint16_t)spec_l4(s);
		vnet.csum_offset = (uint16_t)spec_csum_offset(s);
	}
	assert_true(i < f->count);
	assert_int_equal(e->segments, 1);
	assert_int_equal(e->len, len);
	assert_memory_equal(e->frame, frame, len);
	assert_memory_equal(&e->vnet, &vnet, sizeof(vnet));
	free(frame);
}

/* Emitted frame i is the super-frame of the spec, whose payload_len is that of all segments. */
static void assert_super(
	const struct fixture *f, unsigned int i, const struct spec *whole, size_t gso_size)
{
	uint8_t *frame = malloc(spec_header_len(whole) + whole->payload_len);
	const struct emitted *e = &f->out[i];
	struct spec s = *whole;
	size_t len;

	s.full_csum = false;
	len = build_frame(frame, &s);
	assert_true(i < f->count);
	assert_int_equal(e->segments, (s.payload_len + gso_size - 1) / gso_size);
	assert_int_equal(e->vnet.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(e->vnet.gso_type, s.udp   ? VIRTIO_NET_HDR_GSO_UDP_L4
					   : s.ip6 ? VIRTIO_NET_HDR_GSO_TCPV6
						   : VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(e->vnet.hdr_len, spec_header_len(&s));
	assert_int_equal(e->vnet.gso_size, gso_size);
	assert_int_equal(e->vnet.csum_start, spec_l4(&s));
	assert_int_equal(e->vnet.csum_offset, spec_csum_offset(&s));
	assert_int_equal(e->len, len);
	assert_memory_equal(e->frame, frame, len);
	free(frame);
}

static struct spec base_spec(const struct fixture *f, size_t payload_len)
{
	struct spec s = tcp4_spec;

	s.payload = f->payload;
	s.payload_len = payload_len;
	s.tcp_options = 12;
	s.tos = 0x02;
	s.flow_label = 0x12345;
	return s;
}

/* The segment behind s: payload and sequence go on, so does the ID. */
static struct spec following(const struct spec *s, size_t payload_len)
{
	struct spec next = *s;

	next.payload += s->payload_len;
	next.seq += (uint32_t)s->payload_len;
	next.id++;
	next.payload_len = payload_len;
	return next;
}

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

struct difference {
	const char *name;
	void (*change)(struct spec *s);
};

#define DIFFERENCES(X)                     \
	X(src_mac, s->src_mac++)           \
	X(dst_mac, s->dst_mac++)           \
	X(vlan_id, s->vid++)               \
	X(vlan_priority, s->vid ^= 0x2000) \
	X(no_tag, s->tags--)               \
	X(one_more_tag, s->tags++)         \
	X(src_address, s->src_host++)      \
	X(dst_address, s->dst_host++)      \
	X(src_port, s->src_port++)         \
	X(dst_port, s->dst_port++)         \
	X(tos, s->tos ^= 0x20)             \
	X(ecn, s->tos ^= 0x01)             \
	X(ttl, s->ttl--)                   \
	X(larger, s->payload_len++)
#define DIFFERENCES_IP4(X)                       \
	X(dont_fragment, s->fragment ^= 0x4000)  \
	X(reserved_bit, s->fragment ^= 0x8000)   \
	X(more_fragments, s->fragment |= 0x2000) \
	X(fragment_offset, s->fragment |= 1)
#define DIFFERENCES_ANY(X)                                                       \
	X(flow_label_or_ip_options,                                              \
		s->ip6 ? (void)(s->flow_label ^= 1) : (void)(s->ip_options = 4)) \
	X(extension_header, s->ip_options = 8)                                   \
	X(other_protocol, s->udp = !s->udp)                                      \
	X(other_ip, s->ip6 = !s->ip6)
#define DIFFERENCES_TCP(X)                        \
	X(seq_gap, s->seq++)                      \
	X(seq_overlap, s->seq--)                  \
	X(ack, s->ack++)                          \
	X(window, s->window++)                    \
	X(urgent_pointer, s->urgent++)            \
	X(reserved_ae, s->reserved = 1)           \
	X(syn, s->flags |= SYN)                   \
	X(rst, s->flags |= RST)                   \
	X(urg, s->flags |= URG)                   \
	X(ece, s->flags |= ECE)                   \
	X(cwr, s->flags |= CWR)                   \
	X(no_ack_flag, s->flags &= (uint8_t)~ACK) \
	X(option_bytes, s->option_seed++)         \
	X(option_length, s->tcp_options += 4)     \
	X(no_options, s->tcp_options = 0)
#define X(id, action)                           \
	static void change_##id(struct spec *s) \
	{                                       \
		action;                         \
	}
DIFFERENCES(X)
DIFFERENCES_IP4(X)
DIFFERENCES_ANY(X)
DIFFERENCES_TCP(X)
#undef X
#define X(id, action) {#id, change_##id},
static const struct difference differences[] = {DIFFERENCES(X) DIFFERENCES_ANY(X)};
static const struct difference differences_ip4[] = {DIFFERENCES_IP4(X)};
static const struct difference differences_tcp[] = {DIFFERENCES_TCP(X)};
#undef X

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

/* Pure ACKs keep behind what was there before them, without ending the super-frame. */
static void acks(void **state)
{
	struct fixture *f = *state;
	struct spec s = base_spec(f, 400), whole = s, ack = base_spec(f, 0),
		    next = following(&s, 400);
	struct spec other = ack;

	feed(f, &ack); /* nothing open: at once */
	assert_int_equal(f->count, 1);
	assert_single(f, 0, &ack);
	clear(f);

	feed(f, &s);
	ack.id = 1;
	feed(f, &ack);
	feed(f, &next);
	ack.id = 2;
	feed(f, &ack);
	other.src_port++;
	feed(f, &other); /* another flow's does not wait */
	assert_int_equal(f->count, 1);
	assert_single(f, 0, &other);
	offload_join_flush(&f->join);
	assert_int_equal(f->count, 4);
	whole.payload_len = 800;
	assert_super(f, 1, &whole, 400);
	ack.id = 1;
	assert_single(f, 2, &ack);
	ack.id = 2;
	assert_single(f, 3, &ack);
	clear(f);

	/* Data with a newer acknowledgement comes behind the ACK before it. */
	feed(f, &s);
	ack.ack++;
	feed(f, &ack);
	next.ack = ack.ack;
	feed(f, &next);
	assert_int_equal(f->count, 2);
	assert_single(f, 0, &s);
	assert_single(f, 1, &ack);
	offload_join_flush(&f->join);
	assert_single(f, 2, &next);
	clear(f);

	/* One too many ends the flow; order is kept. */
	feed(f, &s);
	for (uint16_t i = 0; i <= OFFLOAD_JOIN_ACKS; i++) {
		ack.id = i;
		feed(f, &ack);
	}
	assert_int_equal(f->count, 2 + OFFLOAD_JOIN_ACKS);
	assert_single(f, 0, &s);
	for (uint16_t i = 0; i <= OFFLOAD_JOIN_ACKS; i++) {
		ack.id = i;
		assert_single(f, 1u + i, &ack);
	}
}

/* What has no ports comes behind the flows of the same two MACs, and of no others. */
static void frames_without_flow(void **state)
{
	struct fixture *f = *state;
	struct spec s = base_spec(f, 100), other = s;
	uint8_t ping[64] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, [23] = 1};
	uint8_t from_other[64];

	memcpy(from_other + 16, ping, 48);
	other.src_mac = 99;
	feed(f, &other);
	feed(f, &s);
	offload_join_frame(&f->join,
		&(struct offload_frame){
			.data = from_other + 16, .len = 48, .tap = &tap_a, .sender = &peer_b});
	offload_join_frame(&f->join,
		&(struct offload_frame){
			.data = from_other + 16, .len = 48, .tap = &tap_b, .sender = &peer_a});
	assert_int_equal(f->count, 2);
	clear_emitted(f);
	feed_bytes(f, ping, sizeof(ping), false, 0, 0);
	assert_int_equal(f->count, 2);
	assert_single(f, 0, &s);
	assert_memory_equal(f->out[1].frame, ping, sizeof(ping));
	for (size_t len = 1; len < sizeof(ping); len++)
		feed_bytes(f, ping, len, false, 0, 0);
	assert_int_equal(f->count, 1 + sizeof(ping));
	offload_join_flush(&f->join);
	assert_single(f, 1 + sizeof(ping), &other);
}

static void limits(void **state)
{
	struct fixture *f = *state;
	struct spec s = base_spec(f, 10), whole = s;

	for (int i = 0; i < OFFLOAD_JOIN_SEGMENTS; i++) {
		assert_int_equal(f->count, 0);
		feed(f, &s);
		s = following(&s, 10);
	}
	assert_int_equal(f->count, 1);
	whole.payload_len = 10 * OFFLOAD_JOIN_SEGMENTS;
	assert_super(f, 0, &whole, 10);
	clear(f);
	/* 64 KiB - 1 of IP packet, and not one byte more. */
	for (int ip6 = 0; ip6 < 2; ip6++) {
		size_t overhead = ip6 ? 40 + 32 : 20 + 32, fill = 65535 - overhead - 7 * 9000;

		for (size_t extra = 0; extra < 2; extra++) {
			whole = s = base_spec(f, 9000);
			whole.ip6 = s.ip6 = ip6;
			for (int i = 0; i < 7; i++) {
				feed(f, &s);
				s = following(&s, 9000);
			}
			s.payload_len = fill + extra;
			feed(f, &s);
			offload_join_flush(&f->join);
			whole.payload_len = 7 * 9000 + (extra ? 0 : fill);
			assert_int_equal(f->count, 1 + extra);
			assert_super(f, 0, &whole, 9000);
			clear(f);
		}
	}
}

static void interleaved_flows(void **state)
{
	struct fixture *f = *state;
	struct spec flows[OFFLOAD_JOIN_FLOWS], whole[OFFLOAD_JOIN_FLOWS], one_more;

	for (unsigned int i = 0; i < OFFLOAD_JOIN_FLOWS; i++) {
		flows[i] = base_spec(f, 100 + i);
		flows[i].src_port = (uint16_t)(flows[i].src_port + i);
		flows[i].udp = i % 3 == 2;
		flows[i].ip6 = i % 2;
		whole[i] = flows[i];
		whole[i].payload_len *= 10;
	}
	for (int n = 0; n < 10; n++) {
		for (unsigned int i = 0; i < OFFLOAD_JOIN_FLOWS; i++) {
			feed(f, &flows[i]);
			flows[i] = following(&flows[i], flows[i].payload_len);
		}
	}
	assert_int_equal(f->count, 0);
	one_more = base_spec(f, 5);
	one_more.dst_port++;
	feed(f, &one_more);
	assert_int_equal(f->count, 1); /* one had to go, none is lost */
	offload_join_flush(&f->join);
	assert_int_equal(f->count, OFFLOAD_JOIN_FLOWS + 1);
	for (unsigned int i = 0; i < OFFLOAD_JOIN_FLOWS; i++) {
		unsigned int at = 0;

		while (at < f->count && f->out[at].vnet.gso_size != 100 + i)
			at++;
		assert_super(f, at, &whole[i], 100 + i);
	}
}

/* Cuts an emitted super-frame again and hands out each segment with a complete checksum. */
struct expanded {
	uint8_t frame[1600];
	size_t len;
	unsigned int data_before; /* for a pure ACK */
};

static unsigned int expand(const struct emitted *e, struct expanded *out)
{
	struct offload_cut cut;
	uint8_t *segment;
	unsigned int n = 0;
	size_t len;

	if (e->vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		memcpy(out->frame, e->frame, e->len);
		out->len = e->len;
		if (e->vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			offload_complete_checksum(
				out->frame, e->len, e->vnet.csum_start, e->vnet.csum_offset);
		return 1;
	}
	assert_int_equal(offload_cut_init(&cut, e->frame, e->len, &e->vnet), 0);
	assert_int_equal(offload_cut_count(&cut), e->segments);
	for (; offload_cut_next(&cut, &segment, &len); n++) {
		memcpy(out[n].frame, segment, len);
		out[n].len = len;
		assert_int_equal(offload_complete_checksum(
					 out[n].frame, len, cut.csum_start, cut.csum_offset),
			0);
	}
	return n;
}

/* The one thing that joining may change. */
static void forget_id(struct expanded *x, const struct spec *s)
{
	uint8_t *ip = x->frame + spec_l3(s);

	if (s->ip6 || naive_sum(0, ip, 20) != 0xffff)
		return;
	naive_put(ip + 4, 0);
	naive_put(ip + 10, 0);
	naive_put(ip + 10, 0xffff - naive_sum(0, ip, 20));
}

/* Cut, joined, cut: the same bytes as after the first cut, IDs included as they went up by one. */
static void cut_join_cut(void **state)
{
	struct fixture *f = *state;

	for (unsigned int kind = 0; kind < 4; kind++) {
		struct spec s = base_spec(f, 60000), seg;
		uint8_t *frame = malloc(65550), *segment;
		struct expanded *out = calloc(OFFLOAD_JOIN_SEGMENTS, sizeof(*out));
		struct virtio_net_hdr vnet = {
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_size = 1337,
		};
		unsigned int n;
		struct offload_cut cut;
		size_t len;

		s.ip6 = kind & 1;
		s.udp = kind & 2;
		s.tags = 1;
		s.flags |= PSH;
		vnet.gso_type = s.udp   ? VIRTIO_NET_HDR_GSO_UDP_L4
				: s.ip6 ? VIRTIO_NET_HDR_GSO_TCPV6
					: VIRTIO_NET_HDR_GSO_TCPV4;
		vnet.csum_start = (uint16_t)spec_l4(&s);
		vnet.csum_offset = (uint16_t)spec_csum_offset(&s);
		len = build_frame(frame, &s);
		assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
		while (offload_cut_next(&cut, &segment, &len))
			feed_bytes(f, segment, len, true, cut.csum_start, cut.csum_offset);
		assert_int_equal(f->count, 1);
		assert_super(f, 0, &s, 1337);
		n = expand(&f->out[0], out);
		assert_int_equal(n, 45);
		seg = s;
		for (unsigned int i = 0; i < n; i++) {
			seg.payload_len = i + 1 < n ? 1337 : 60000 - 44 * 1337;
			seg.full_csum = true;
			seg.flags = i + 1 < n ? ACK : ACK | PSH;
			assert_int_equal(out[i].len, build_frame(frame, &seg));
			assert_memory_equal(out[i].frame, frame, out[i].len);
			seg = following(&seg, 0);
		}
		free(out);
		free(frame);
		clear(f);
	}
}

#define RANDOM_FLOWS 12

/* What went into a flow. Pure ACKs are counted by themselves, for data may overtake them. */
struct history {
	struct expanded data[EMITS_MAX], acks[EMITS_MAX];
	unsigned int data_fed, acks_fed, data_seen, acks_seen;
};

static bool is_pure_ack(const struct expanded *x, const struct spec *flow)
{
	const uint8_t *th = x->frame + spec_l4(flow);

	return !flow->udp && x->len == spec_l4(flow) + (th[12] >> 4) * 4u && th[13] == ACK;
}

static void feed_random(struct fixture *f, struct spec *flow, struct history *h, uint64_t *seed)
{
	unsigned int dice = next_random(seed) % 60;
	struct spec s = *flow;
	struct expanded x;

	if (dice == 0)
		s.payload_len = 1 + next_random(seed) % s.payload_len;
	else if (dice == 1)
		s.flags |= PSH;
	else if (dice == 2 && !s.udp)
		differences_tcp[next_random(seed) % COUNT(differences_tcp)].change(&s);
	else if (dice == 3)
		s.ttl--;
	else if (dice < 8 && !s.udp)
		s.payload_len = 0;
	s.id = (uint16_t)next_random(seed);
	x.len = build_frame(x.frame, &s);
	if (dice == 20)
		x.frame[x.len - 1] ^= 1;
	if (dice == 21)
		x.frame[spec_l4(&s) + spec_csum_offset(&s)] ^= 1;
	feed_bytes(f, x.frame, x.len, !s.full_csum, spec_l4(&s), spec_csum_offset(&s));
	if (!s.full_csum)
		offload_complete_checksum(
			x.frame, x.len, (uint16_t)spec_l4(&s), (uint16_t)spec_csum_offset(&s));
	x.data_before = h->data_fed;
	if (is_pure_ack(&x, flow))
		h->acks[h->acks_fed++] = x;
	else
		h->data[h->data_fed++] = x;
	*flow = following(flow, flow->payload_len);
	flow->seq = s.seq + (uint32_t)s.payload_len;
	if (flow->payload + 4000 > f->payload + 200000)
		flow->payload = f->payload;
}

/* One frame that came out is the next of its flow. */
static void check_random(struct expanded *out, const struct spec *flows, struct history *histories,
	unsigned int flow_count)
{
	struct expanded *expected;
	struct history *h;
	unsigned int i = 0;

	/* The source port tells the flow, wherever it lies in this one. */
	while (naive_get(out->frame + spec_l4(&flows[i])) != 1000 + i ||
		naive_get(out->frame + spec_l3(&flows[i]) - 2) != (flows[i].ip6 ? 0x86dd : 0x0800))
		assert_true(++i < flow_count);
	h = &histories[i];
	if (is_pure_ack(out, &flows[i])) {
		assert_true(h->acks_seen < h->acks_fed);
		expected = &h->acks[h->acks_seen++];
		assert_true(h->data_seen >= expected->data_before);
	} else {
		assert_true(h->data_seen < h->data_fed);
		expected = &h->data[h->data_seen++];
	}
	assert_int_equal(out->len, expected->len);
	forget_id(expected, &flows[i]);
	forget_id(out, &flows[i]);
	assert_memory_equal(out->frame, expected->frame, out->len);
}

/*
 * Random traffic of more flows than can be open, with random differences, damage, ACKs, short
 * segments and flushes. Whatever comes out, cut again where it was joined, must be for each flow
 * the very frames that went in, in their order; a pure ACK never comes before data it was behind.
 */
static void random_traffic(void **state)
{
	struct fixture *f = *state;
	struct history *histories = calloc(RANDOM_FLOWS, sizeof(*histories));
	struct expanded *out = calloc(OFFLOAD_JOIN_SEGMENTS, sizeof(*out));
	unsigned int joined = 0;

	for (uint64_t round = 1; round <= 150; round++) {
		uint64_t seed = round * 0x9e3779b97f4a7c15ull;
		unsigned int flow_count = 1 + next_random(&seed) % RANDOM_FLOWS;
		struct spec flows[RANDOM_FLOWS];

		for (unsigned int i = 0; i < flow_count; i++) {
			flows[i] = base_spec(f, 50 + next_random(&seed) % 1000);
			flows[i].ip6 = next_random(&seed) & 1;
			flows[i].udp = next_random(&seed) % 4 == 0;
			flows[i].full_csum = next_random(&seed) % 4 == 0;
			flows[i].tags = next_random(&seed) % 3;
			flows[i].src_port = (uint16_t)(1000 + i);
			flows[i].seq = next_random(&seed);
			flows[i].payload += next_random(&seed) % 1000;
			histories[i].data_fed = histories[i].acks_fed = 0;
			histories[i].data_seen = histories[i].acks_seen = 0;
		}
		for (int n = 0; n < 300; n++) {
			unsigned int i = next_random(&seed) % flow_count;

			feed_random(f, &flows[i], &histories[i], &seed);
			if (next_random(&seed) % 100 == 0)
				offload_join_flush(&f->join);
		}
		offload_join_flush(&f->join);
		for (unsigned int e = 0; e < f->count; e++) {
			unsigned int n = expand(&f->out[e], out);

			joined += n > 1;
			for (unsigned int k = 0; k < n; k++)
				check_random(&out[k], flows, histories, flow_count);
		}
		for (unsigned int i = 0; i < flow_count; i++) {
			assert_int_equal(histories[i].data_seen, histories[i].data_fed);
			assert_int_equal(histories[i].acks_seen, histories[i].acks_fed);
		}
		clear(f);
	}
	print_message("%u super-frames\n", joined);
	assert_true(joined > 1000);
	free(histories);
	free(out);
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
		T(acks),
		T(frames_without_flow),
		T(limits),
		T(interleaved_flows),
		T(cut_join_cut),
		T(random_traffic),
		T(mangled_headers),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
