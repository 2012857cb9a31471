/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting super-frames, and joining their segments again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "test/bench/micro.h"
#include "test/unit/offload_frames.h"
#include "vand/offload.h"

#define SEGMENTS 64
#define STRIDE   2048 /* of a segment in a receive buffer, its headroom included */
#define HEADROOM 64

struct offload_case {
	struct spec spec;
	struct virtio_net_hdr vnet;
	unsigned int segments;
	size_t len;
	uint8_t *memory, *frame;            /* the super-frame, with headroom in front */
	uint8_t saved[OFFLOAD_HEADERS_MAX]; /* its headers: cutting writes over them */
	/* the segments, as if they had been received, and the headers of the first one */
	uint8_t *received;
	struct offload_frame frames[SEGMENTS];
	uint8_t first[OFFLOAD_HEADERS_MAX];
	struct offload_join join;
	unsigned int emitted, emitted_segments;
};

static unsigned int cut_all(struct offload_case *c, uint8_t *copy_to)
{
	struct offload_cut cut;
	unsigned int n = 0;
	uint8_t *segment;
	size_t len;

	memcpy(c->frame, c->saved, sizeof(c->saved));
	if (offload_cut_init(&cut, c->frame, c->len, &c->vnet) < 0)
		micro_die("a super-frame is refused");
	for (; offload_cut_next(&cut, &segment, &len); n++) {
		micro_use(segment);
		if (!copy_to)
			continue;
		memcpy(copy_to + n * STRIDE + HEADROOM, segment, len);
		c->frames[n] = (struct offload_frame){
			.data = copy_to + n * STRIDE + HEADROOM,
			.len = (uint32_t)len,
			.needs_csum = true,
			.csum_start = cut.csum_start,
			.csum_offset = cut.csum_offset,
			.tap = c,
			.sender = c,
		};
	}
	return n;
}

static uint64_t cut_some(void *ctx, unsigned int wanted, unsigned int *ret_done)
{
	struct offload_case *c = ctx;
	uint64_t start = micro_now_ns();

	for (unsigned int i = 0; i < wanted; i++) {
		if (cut_all(c, NULL) != c->segments)
			micro_die("a super-frame was not cut into %u", c->segments);
	}
	*ret_done = wanted;
	return micro_now_ns() - start;
}

static void count_emitted(void *ctx, const void *tap, const struct iovec *iov,
	unsigned int iov_count, unsigned int segments, size_t frame_len)
{
	struct offload_case *c = ctx;

	(void)tap;
	(void)iov_count;
	(void)frame_len;
	micro_use(iov);
	c->emitted++;
	c->emitted_segments += segments;
}

static uint64_t join_some(void *ctx, unsigned int wanted, unsigned int *ret_done)
{
	struct offload_case *c = ctx;
	uint64_t start = micro_now_ns();

	for (unsigned int i = 0; i < wanted; i++) {
		/* what is emitted has been written over the first one's headers */
		memcpy(c->frames[0].data, c->first, sizeof(c->first));
		c->emitted = c->emitted_segments = 0;
		for (unsigned int s = 0; s < c->segments; s++) {
			struct offload_frame frame = c->frames[s];

			offload_join_frame(&c->join, &frame);
		}
		offload_join_flush(&c->join);
		if (c->emitted != 1 || c->emitted_segments != c->segments)
			micro_die("%u segments were joined into %u super-frames", c->segments,
				c->emitted);
	}
	*ret_done = wanted;
	return micro_now_ns() - start;
}

static void run_kind(struct micro *m, const char *what, bool ip6, bool udp, size_t gso_size,
	unsigned int segments)
{
	struct offload_case *c = micro_alloc(sizeof(*c));
	char name[64];
	struct micro_row row = {.group = "super-frames",
		.name = name,
		.unit = "super-frame",
		.parts = segments,
		.part = "segment"};
	uint8_t *payload = micro_alloc(gso_size * segments);

	c->spec = tcp4_spec;
	c->spec.ip6 = ip6;
	c->spec.udp = udp;
	c->spec.tcp_options = udp ? 0 : 12;
	c->spec.payload = payload;
	c->spec.payload_len = gso_size * segments;
	c->segments = segments;
	c->memory = micro_alloc(HEADROOM + OFFLOAD_FRAME_MAX + OFFLOAD_HEADERS_MAX);
	c->frame = c->memory + HEADROOM;
	c->len = build_frame(c->frame, &c->spec);
	memcpy(c->saved, c->frame, sizeof(c->saved));
	c->vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = udp   ? VIRTIO_NET_HDR_GSO_UDP_L4
			    : ip6 ? VIRTIO_NET_HDR_GSO_TCPV6
				  : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = (uint16_t)spec_header_len(&c->spec),
		.gso_size = (uint16_t)gso_size,
		.csum_start = (uint16_t)spec_l4(&c->spec),
		.csum_offset = (uint16_t)spec_csum_offset(&c->spec),
	};
	snprintf(name, sizeof(name), "cut %s, %u of %zu bytes", what, segments, gso_size);
	micro_run(m, &row, cut_some, c);

	c->received = micro_alloc((size_t)SEGMENTS * STRIDE);
	if (cut_all(c, c->received) != segments)
		micro_die("a super-frame was not cut into %u", segments);
	memcpy(c->first, c->frames[0].data, sizeof(c->first));
	offload_join_init(&c->join, true, true, count_emitted, c);
	snprintf(name, sizeof(name), "join %s, %u of %zu bytes", what, segments, gso_size);
	micro_run(m, &row, join_some, c);
	free(payload);
	free(c->received);
	free(c->memory);
	free(c);
}

void micro_offload(struct micro *m)
{
	run_kind(m, "TCP over IPv4", false, false, 1308, 49);
	run_kind(m, "TCP over IPv6", true, false, 1288, 49);
	run_kind(m, "UDP over IPv4", false, true, 1332, 48);
	run_kind(m, "UDP over IPv4", false, true, 64, 64);
}
