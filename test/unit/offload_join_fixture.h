/* SPDX-License-Identifier: Apache-2.0 */
/* A join under test: frames are fed in, and what it emits is recorded. */
#ifndef TEST_OFFLOAD_JOIN_FIXTURE_H
#define TEST_OFFLOAD_JOIN_FIXTURE_H

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

static inline void record(void *ctx, const void *tap, const struct iovec *iov,
	unsigned int iov_count, unsigned int segments, size_t frame_len)
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

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->payload = random_bytes(200000, 11);
	offload_join_init(&f->join, true, true, record, f);
	*state = f;
	return 0;
}

static inline void clear_emitted(struct fixture *f)
{
	for (unsigned int i = 0; i < f->count; i++)
		free(f->out[i].frame);
	f->count = 0;
}

static inline void clear(struct fixture *f)
{
	clear_emitted(f);
	for (unsigned int i = 0; i < f->buffer_count; i++)
		free(f->buffers[i]);
	f->buffer_count = 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	clear(f);
	free(f->payload);
	free(f);
	return 0;
}

static inline void feed_bytes(struct fixture *f, const uint8_t *frame, size_t len, bool needs_csum,
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

static inline void feed(struct fixture *f, const struct spec *s)
{
	uint8_t *frame = malloc(spec_header_len(s) + s->payload_len);
	size_t len = build_frame(frame, s);

	feed_bytes(f, frame, len, !s->full_csum, s->full_csum ? 0 : spec_l4(s),
		s->full_csum ? 0 : spec_csum_offset(s));
	free(frame);
}

/* Emitted frame i is, unmodified and with the right vnet header, the frame of the spec. */
static inline void assert_single(const struct fixture *f, unsigned int i, const struct spec *s)
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
static inline void assert_super(
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

static inline struct spec base_spec(const struct fixture *f, size_t payload_len)
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
static inline struct spec following(const struct spec *s, size_t payload_len)
{
	struct spec next = *s;

	next.payload += s->payload_len;
	next.seq += (uint32_t)s->payload_len;
	next.id++;
	next.payload_len = payload_len;
	return next;
}

/* What may make a difference between two segments. */
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

#endif
