/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting super-frames, and completing checksums. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "test/unit/offload_frames.h"
#include "vand/offload.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct virtio_net_hdr vnet_of(const struct spec *s, size_t gso_size)
{
	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = s->udp   ? VIRTIO_NET_HDR_GSO_UDP_L4
			    : s->ip6 ? VIRTIO_NET_HDR_GSO_TCPV6
				     : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 1, /* must not matter */
		.gso_size = (uint16_t)gso_size,
		.csum_start = (uint16_t)spec_l4(s),
		.csum_offset = (uint16_t)spec_csum_offset(s),
	};
}

/* What segment i of a super-frame has to be. */
static struct spec segment_spec(const struct spec *s, size_t gso_size, size_t i)
{
	struct spec seg = *s;
	size_t offset = i * gso_size, left = s->payload_len - offset;
	bool last = left <= gso_size;

	seg.payload = s->payload + offset;
	seg.payload_len = last ? left : gso_size;
	seg.seq += (uint32_t)offset;
	seg.id = (uint16_t)(seg.id + i);
	if (i)
		seg.flags &= (uint8_t)~CWR;
	if (!last)
		seg.flags &= (uint8_t) ~(FIN | PSH);
	return seg;
}

/*
 * Cuts the super-frame of a spec in a buffer of exactly its size, treats the segments as the data
 * path does (everything up to the end of a segment is overwritten before the next one), and
 * compares each with the frame that the builder makes of it, partial and completed.
 */
static void check_cut(const struct spec *s, size_t gso_size)
{
	size_t len = spec_header_len(s) + s->payload_len;
	size_t count = s->payload_len ? (s->payload_len + gso_size - 1) / gso_size : 1;
	uint8_t *frame = malloc(len), *expected = malloc(len), *copy = malloc(len);
	struct virtio_net_hdr vnet = vnet_of(s, gso_size);
	struct offload_cut cut;
	uint8_t *segment;
	size_t segment_len, i = 0;

	assert_int_equal(build_frame(frame, s), len);
	assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
	assert_int_equal(offload_cut_count(&cut), count);
	assert_int_equal(offload_cut_segment_len(&cut), spec_header_len(s) + gso_size);
	while (offload_cut_next(&cut, &segment, &segment_len)) {
		struct spec seg = segment_spec(s, gso_size, i);
		size_t expected_len = build_frame(expected, &seg);

		assert_true(i < count);
		assert_int_equal(segment_len, expected_len);
		assert_memory_equal(segment, expected, segment_len);
		memcpy(copy, segment, segment_len);
		assert_int_equal(offload_complete_checksum(
					 copy, segment_len, cut.csum_start, cut.csum_offset),
			0);
		assert_true(frame_is_right(copy, segment_len, &seg));
		seg.full_csum = true;
		build_frame(expected, &seg);
		assert_memory_equal(copy, expected, segment_len);
		memset(frame, 0xaa, (size_t)(segment + segment_len - frame));
		i++;
	}
	assert_int_equal(i, count);
	assert_false(offload_cut_next(&cut, &segment, &segment_len));
	free(frame);
	free(expected);
	free(copy);
}

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;

	for (; hex[0]; hex += hex[0] == ' ' ? 1 : 2) {
		if (hex[0] != ' ')
			out[n++] = (uint8_t)strtoul((char[]){hex[0], hex[1], 0}, NULL, 16);
	}
	return n;
}

struct golden {
	uint8_t gso_type;
	uint16_t gso_size, csum_start, csum_offset;
	const char *frame;
	const char *segments[4];
};

/* Worked out by another program, from the RFCs; nothing of this was printed by the code under test.
 */
static const struct golden goldens[] = {
#include "test/unit/offload_golden.inc"
};

static void golden_frames(void **state)
{
	(void)state;
	for (size_t g = 0; g < COUNT(goldens); g++) {
		const struct golden *golden = &goldens[g];
		struct virtio_net_hdr vnet = {
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = golden->gso_type,
			.gso_size = golden->gso_size,
			.csum_start = golden->csum_start,
			.csum_offset = golden->csum_offset,
		};
		uint8_t frame[256], expected[256], *segment;
		size_t len = unhex(golden->frame, frame), i = 0;
		struct offload_cut cut;

		assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
		for (; offload_cut_next(&cut, &segment, &len); i++) {
			assert_non_null(golden->segments[i]);
			assert_int_equal(len, unhex(golden->segments[i], expected));
			assert_int_equal(offload_complete_checksum(
						 segment, len, cut.csum_start, cut.csum_offset),
				0);
			assert_memory_equal(segment, expected, len);
		}
		assert_null(golden->segments[i]);
	}
}

static void all_kinds(void **state)
{
	static const size_t sizes[] = {1, 2, 7, 100, 1399, 1400};
	uint8_t *payload = random_bytes(5000, 1);

	(void)state;
	for (unsigned int kind = 0; kind < 4; kind++) {
		for (unsigned int tags = 0; tags < 3; tags++) {
			for (unsigned int options = 0; options <= 40; options += 4) {
				struct spec s = tcp4_spec;

				s.ip6 = kind & 1;
				s.udp = kind & 2;
				s.tags = tags;
				s.vid = 100;
				s.flow_label = 0xabcde;
				s.tos = 0xb8;
				s.flags = ACK | PSH | FIN | CWR | ECE;
				s.tcp_options = options;
				s.ip_options = s.ip6 ? options / 8 * 8 : options;
				s.payload = payload;
				for (size_t i = 0; i < COUNT(sizes); i++) {
					s.payload_len = sizes[i] * 3 + 1;
					check_cut(&s, sizes[i]);
				}
			}
		}
	}
	free(payload);
}

/* Lengths around the edges of a segment; IDs and sequence numbers that wrap. */
static void edges(void **state)
{
	uint8_t *payload = random_bytes(65535, 2);
	struct spec s = tcp4_spec;

	(void)state;
	s.payload = payload;
	s.id = 0xfffe;
	for (s.payload_len = 0; s.payload_len < 50; s.payload_len++)
		check_cut(&s, 10);
	s.payload_len = 65495; /* 64 KiB - 1 of IP packet */
	check_cut(&s, 1448);
	check_cut(&s, 65495);
	check_cut(&s, 65535); /* larger than all there is: one segment */
	check_cut(&s, 1);
	s.udp = true;
	s.payload_len = 65507;
	check_cut(&s, 1);
	check_cut(&s, 1472);
	s.ip6 = true;
	s.payload_len = 65487;
	check_cut(&s, 1432);
	free(payload);
}

/* A UDP checksum that comes out as 0 goes out as 0xffff; TCP's stays. */
static void checksum_zero(void **state)
{
	uint8_t payload[4] = {0}, frame[128], *field;
	struct spec s = tcp4_spec;
	unsigned int sum;
	size_t len;

	(void)state;
	for (int udp = 0; udp < 2; udp++) {
		s.udp = udp;
		s.full_csum = true;
		s.payload = payload;
		s.payload_len = sizeof(payload);
		memset(payload, 0, sizeof(payload));
		build_frame(frame, &s);
		field = frame + spec_l4(&s) + spec_csum_offset(&s);
		sum = naive_get(field); /* as payload, it makes the sum complete without a field */
		naive_put(payload, sum);
		s.full_csum = false;
		len = build_frame(frame, &s);
		assert_int_equal(offload_complete_checksum(frame, len, (uint16_t)spec_l4(&s),
					 (uint16_t)spec_csum_offset(&s)),
			0);
		assert_int_equal(naive_get(field), udp ? 0xffff : 0);
	}
}

static void checksum_bounds_and_lengths(void **state)
{
	(void)state;
	for (size_t len = 0; len < 200; len++) {
		uint8_t *bytes = random_bytes(len, len + 1), *copy = malloc(len + 1);
		unsigned int sum;

		for (uint16_t start = 0; start < len + 2; start++) {
			memcpy(copy, bytes, len);
			if (start + 4u + 2u > len) {
				assert_int_equal(
					offload_complete_checksum(copy, len, start, 4), -EINVAL);
				assert_memory_equal(copy, bytes, len);
				continue;
			}
			sum = naive_sum(0, bytes + start, len - start);
			assert_int_equal(offload_complete_checksum(copy, len, start, 4), 0);
			assert_int_equal(naive_get(copy + start + 4), 0xffff - sum);
		}
		assert_int_equal(offload_complete_checksum(copy, len, 65535, 65535), -EINVAL);
		free(bytes);
		free(copy);
	}
}

/* Ones everywhere: carries out of every width. */
static void checksum_carries(void **state)
{
	uint8_t *bytes = malloc(65535);

	(void)state;
	for (size_t len = 2; len <= 65535; len = len * 3 + 1) {
		memset(bytes, 0xff, len);
		assert_int_equal(offload_complete_checksum(bytes, len, 0, 0), 0);
		memset(bytes, 0xff, 2);
		assert_int_equal(naive_get(bytes), 0xffff);
		bytes[len - 1] = 0xfe;
		assert_int_equal(offload_complete_checksum(bytes, len, 0, 0), 0);
		assert_int_not_equal(naive_get(bytes), 0xffff);
	}
	free(bytes);
}

/* Without NEEDS_CSUM the pseudo-header sum is made from the addresses, whatever the field holds. */
static void no_partial_checksum(void **state)
{
	uint8_t *payload = random_bytes(3000, 3);

	(void)state;
	for (unsigned int kind = 0; kind < 4; kind++) {
		struct spec s = tcp4_spec;
		uint8_t frame[4000], expected[4000], *segment;
		struct virtio_net_hdr vnet;
		struct offload_cut cut;
		size_t len, i = 0;

		s.ip6 = kind & 1;
		s.udp = kind & 2;
		s.payload = payload;
		s.payload_len = 3000;
		vnet = vnet_of(&s, 1400);
		vnet.flags = 0;
		vnet.csum_start = vnet.csum_offset = 0;
		len = build_frame(frame, &s);
		naive_put(frame + spec_l4(&s) + spec_csum_offset(&s), 0xdead);
		assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
		for (; offload_cut_next(&cut, &segment, &len); i++) {
			struct spec seg = segment_spec(&s, 1400, i);

			assert_int_equal(len, build_frame(expected, &seg));
			assert_memory_equal(segment, expected, len);
		}
		assert_int_equal(i, 3);
		s.ip_options = s.ip6 ? 8 : 0; /* might be a routing header: no way to know */
		len = build_frame(frame, &s);
		assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), s.ip6 ? -EINVAL : 0);
	}
	free(payload);
}

/* A wrong partial checksum stays wrong by as much: it is not made right on the way. */
static void wrong_partial_stays_wrong(void **state)
{
	uint8_t payload[100] = {1, 2, 3}, frame[256], *segment;
	struct virtio_net_hdr vnet;
	struct spec s = tcp4_spec;
	struct offload_cut cut;
	size_t len, i = 0;
	uint8_t *field;

	(void)state;
	s.payload = payload;
	s.payload_len = sizeof(payload);
	len = build_frame(frame, &s);
	field = frame + spec_l4(&s) + 16;
	naive_put(field, naive_get(field) ^ 1);
	vnet = vnet_of(&s, 40);
	assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
	for (; offload_cut_next(&cut, &segment, &len); i++) {
		assert_int_equal(
			offload_complete_checksum(segment, len, cut.csum_start, cut.csum_offset),
			0);
		assert_false(frame_is_right(segment, len, &s));
	}
	assert_int_equal(i, 3);
}

/* IP length fields of 0, as some guests leave them, and the ECN bit. */
static void tolerated(void **state)
{
	uint8_t *payload = random_bytes(1000, 4);

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		struct spec s = tcp4_spec;
		uint8_t frame[2000], *segment;
		struct virtio_net_hdr vnet;
		struct offload_cut cut;
		size_t len;

		s.ip6 = ip6;
		s.payload = payload;
		s.payload_len = 1000;
		len = build_frame(frame, &s);
		naive_put(frame + spec_l3(&s) + (ip6 ? 4 : 2), 0);
		vnet = vnet_of(&s, 300);
		vnet.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
		assert_int_equal(offload_cut_count(&cut), 4);
		while (offload_cut_next(&cut, &segment, &len)) {
			offload_complete_checksum(segment, len, cut.csum_start, cut.csum_offset);
			assert_true(frame_is_right(segment, len, &s));
		}
	}
	free(payload);
}

/* TTL, DSCP and ECN as they are on every segment; IDs in a row with DF and without, so that
 * fragments of different segments cannot be taken for each other; CWR is said once (RFC 3168
 * §6.1.2), ECE every time. */
static void fields_of_all_segments(void **state)
{
	uint8_t *payload = random_bytes(5000, 9), frame[6000], *segment;

	(void)state;
	for (unsigned int kind = 0; kind < 8; kind++) {
		struct spec s = tcp4_spec;
		struct virtio_net_hdr vnet;
		struct offload_cut cut;
		size_t len, i = 0;

		s.ip6 = kind & 1;
		s.udp = kind & 2;
		s.fragment = kind & 4 ? 0x4000 : 0;
		s.tos = 0xbb; /* EF, CE */
		s.ttl = 17;
		s.id = 0xfffe;
		s.flags = ACK | CWR | ECE;
		s.payload = payload;
		s.payload_len = 5000;
		vnet = vnet_of(&s, 1000);
		vnet.gso_type |= s.udp ? 0 : VIRTIO_NET_HDR_GSO_ECN;
		assert_int_equal(offload_cut_init(&cut, frame, build_frame(frame, &s), &vnet), 0);
		for (; offload_cut_next(&cut, &segment, &len); i++) {
			const uint8_t *ip = segment + 14, *tcp = segment + spec_l4(&s);

			if (s.ip6) {
				assert_int_equal((ip[0] << 4 | ip[1] >> 4) & 0xff, 0xbb);
				assert_int_equal(ip[7], 17);
			} else {
				assert_int_equal(ip[1], 0xbb);
				assert_int_equal(ip[8], 17);
				assert_int_equal(naive_get(ip + 4), (0xfffe + i) & 0xffff);
				assert_int_equal(naive_get(ip + 6), s.fragment);
			}
			if (!s.udp)
				assert_int_equal(tcp[13], i ? ACK | ECE : ACK | CWR | ECE);
		}
		assert_int_equal(i, 5);
	}
	free(payload);
}

struct refusal {
	const char *what;
	int offset; /* byte to change in the frame, from its start */
	uint8_t value;
	struct virtio_net_hdr vnet; /* fields to replace where not 0 */
	int cut_off;                /* bytes off the end */
	int expected;
};

static void contradictions(void **state)
{
	static const struct refusal cases[] = {
		{.what = "gso_size 0", .vnet = {.gso_size = 0xffff}, .expected = -EINVAL},
		{.what = "not GSO", .vnet = {.gso_type = 0x70}, .expected = -EINVAL},
		{.what = "UFO", .vnet = {.gso_type = 3}, .expected = -EOPNOTSUPP},
		{.what = "unknown type", .vnet = {.gso_type = 6}, .expected = -EOPNOTSUPP},
		{.what = "TCPV6 on IPv4", .vnet = {.gso_type = 4}, .expected = -EINVAL},
		{.what = "UDP_L4 on TCP", .vnet = {.gso_type = 5}, .expected = -EINVAL},
		{.what = "csum_start", .vnet = {.csum_start = 38}, .expected = -EINVAL},
		{.what = "csum_offset", .vnet = {.csum_offset = 6}, .expected = -EINVAL},
		{.what = "ethertype", .offset = 12, .value = 0x88, .expected = -EINVAL},
		{.what = "IP version", .offset = 14, .value = 0x65, .expected = -EINVAL},
		{.what = "IHL 4", .offset = 14, .value = 0x44, .expected = -EINVAL},
		{.what = "IHL 6: TCP header moves",
			.offset = 14,
			.value = 0x46,
			.expected = -EINVAL},
		{.what = "IP length", .offset = 17, .value = 1, .expected = -EINVAL},
		{.what = "more fragments", .offset = 20, .value = 0x20, .expected = -EINVAL},
		{.what = "fragment offset", .offset = 21, .value = 1, .expected = -EINVAL},
		{.what = "protocol", .offset = 23, .value = 17, .expected = -EINVAL},
		{.what = "data offset 4", .offset = 46, .value = 0x40, .expected = -EINVAL},
		{.what = "data offset beyond the frame",
			.offset = 46,
			.value = 0xf0,
			.cut_off = 90,
			.expected = -EINVAL},
		{.what = "truncated by one", .cut_off = 1, .expected = -EINVAL},
	};
	uint8_t payload[100] = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct refusal *c = &cases[i];
		struct spec s = tcp4_spec;
		uint8_t *frame = malloc(154);
		struct offload_cut cut;
		struct virtio_net_hdr vnet;
		size_t len;

		s.payload = payload;
		s.payload_len = sizeof(payload);
		len = build_frame(frame, &s);
		assert_int_equal(len, 154);
		vnet = vnet_of(&s, 40);
		/* The same frame untouched passes: it is the change that is refused. */
		assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
		if (c->offset)
			frame[c->offset] = c->value;
		if (c->vnet.gso_size)
			vnet.gso_size = 0;
		if (c->vnet.gso_type)
			vnet.gso_type = c->vnet.gso_type & 0x0f;
		if (c->vnet.csum_start)
			vnet.csum_start = c->vnet.csum_start;
		if (c->vnet.csum_offset)
			vnet.csum_offset = c->vnet.csum_offset;
		if (offload_cut_init(&cut, frame, len - (size_t)c->cut_off, &vnet) != c->expected)
			fail_msg("%s: not refused as expected", c->what);
		free(frame);
	}
}

/* Headers whose lengths agree with the frame's, but not with themselves; buffers of exact size. */
static void lengths_within(void **state)
{
	struct virtio_net_hdr vnet = {.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 10};
	uint8_t payload[100], frame[512], *exact;
	struct spec s = tcp4_spec;
	struct offload_cut cut;
	size_t len;

	(void)state;
	/* An IPv4 header of 16 bytes, with a good TCP header where that would end. */
	memset(payload, 0x55, sizeof(payload));
	s.ack = 0x50000000;
	s.payload = payload;
	s.payload_len = sizeof(payload);
	len = build_frame(frame, &s);
	assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
	frame[14] = 0x44;
	assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), -EINVAL);
	/* A TCP header that is longer than the frame. */
	s.payload_len = 0;
	s.tcp_options = 40;
	len = build_frame(frame, &s);
	for (size_t cut_off = 1; cut_off <= 40; cut_off++) {
		exact = malloc(len - cut_off);
		naive_put(frame + 16, (unsigned int)(len - cut_off - 14));
		memcpy(exact, frame, len - cut_off);
		assert_int_equal(offload_cut_init(&cut, exact, len - cut_off, &vnet), -EINVAL);
		free(exact);
	}
	/* An IPv6 extension header that begins where the frame ends. */
	vnet.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	s.ip6 = true;
	s.ip_options = 8;
	build_frame(frame, &s);
	for (len = 54; len < 62; len++) {
		exact = malloc(len);
		naive_put(frame + 18, (unsigned int)(len - 54));
		memcpy(exact, frame, len);
		assert_int_equal(offload_cut_init(&cut, exact, len, &vnet), -EINVAL);
		free(exact);
	}
	/* All in order, but more headers than can be saved, by 4 bytes; and just not. */
	s.payload_len = sizeof(payload);
	for (s.tcp_options = 36; s.tcp_options <= 40; s.tcp_options += 4) {
		s.tags = 2;
		s.ip_options = 72;
		len = build_frame(frame, &s);
		vnet = vnet_of(&s, 10);
		assert_int_equal(spec_header_len(&s), 154 + s.tcp_options);
		assert_int_equal(offload_cut_init(&cut, frame, len, &vnet),
			spec_header_len(&s) <= OFFLOAD_HEADERS_MAX ? 0 : -EINVAL);
	}
}

/* Every truncation of a header, in a buffer of that size; and too large ones. */
static void truncated(void **state)
{
	uint8_t *payload = random_bytes(70000, 5);

	(void)state;
	for (unsigned int kind = 0; kind < 8; kind++) {
		struct spec s = tcp4_spec;
		uint8_t frame[512];
		struct virtio_net_hdr vnet;
		struct offload_cut cut;

		s.ip6 = kind & 1;
		s.udp = kind & 2;
		s.tags = kind & 4 ? 2 : 0;
		s.ip_options = 8;
		s.tcp_options = 12;
		s.payload = payload;
		s.payload_len = 100;
		build_frame(frame, &s);
		vnet = vnet_of(&s, 40);
		for (size_t len = 0; len < spec_header_len(&s) + 100; len++) {
			uint8_t *exact = malloc(len ? len : 1);

			memcpy(exact, frame, len);
			assert_int_equal(offload_cut_init(&cut, exact, len, &vnet), -EINVAL);
			free(exact);
		}
	}
	for (int zero_len = 0; zero_len < 2; zero_len++) {
		uint8_t *frame = calloc(1, 70100);
		struct spec s = tcp4_spec;
		struct virtio_net_hdr vnet = vnet_of(&s, 1448);
		struct offload_cut cut;
		size_t len;

		s.payload = payload;
		s.payload_len = 65496 + (zero_len ? 4000 : 0);
		len = build_frame(frame, &s);
		naive_put(frame + 16, 0);
		assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), -EINVAL);
		free(frame);
	}
	free(payload);
}

/* IPv6 extension headers that lead past everything, and too many of them. */
static void extension_headers(void **state)
{
	struct spec s = tcp4_spec;
	struct virtio_net_hdr vnet;
	struct offload_cut cut;
	uint8_t payload[600] = {0}, frame[1024];
	size_t len;

	(void)state;
	s.ip6 = true;
	s.payload = payload;
	s.payload_len = sizeof(payload);
	s.ip_options = 8;
	len = build_frame(frame, &s);
	vnet = vnet_of(&s, 100);
	assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
	frame[55] = 255; /* its length */
	assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), -EINVAL);
	frame[55] = 20; /* within the frame, but past what is saved of the headers */
	assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), -EINVAL);
	frame[55] = 0;
	frame[54] = 44; /* a fragment header */
	assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), -EINVAL);
	memset(frame + 54, 0, len - 54); /* hop-by-hop headers without end */
	assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), -EINVAL);
}

/* The final destination is in a routing header: only the partial checksum knows it. */
static void routing_header(void **state)
{
	struct spec s = tcp4_spec;
	struct virtio_net_hdr vnet;
	struct offload_cut cut;
	uint8_t payload[300] = {5}, frame[1024], final[16] = {0xfd, 9, 9}, *segment,
		*ip = frame + 14;
	size_t len, l4;

	(void)state;
	s.ip6 = true;
	s.payload = payload;
	s.payload_len = sizeof(payload);
	s.ip_options = 24;
	len = build_frame(frame, &s);
	l4 = spec_l4(&s);
	ip[6] = 43;
	memcpy(ip + 42, (uint8_t[]){4, 1, 0, 0, 0, 0}, 6);
	memcpy(ip + 48, final, 16);
	naive_put(frame + l4 + 16,
		naive_sum(naive_sum(naive_sum(0, ip + 8, 16), final, 16),
			(uint8_t[]){0, 6, (uint8_t)((len - l4) >> 8), (uint8_t)(len - l4)}, 4));
	vnet = vnet_of(&s, 100);
	assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
	while (offload_cut_next(&cut, &segment, &len)) {
		uint8_t rest[4] = {0, 6, (uint8_t)((len - l4) >> 8), (uint8_t)(len - l4)};
		unsigned int pseudo =
			naive_sum(naive_sum(naive_sum(0, segment + 22, 16), final, 16), rest, 4);

		assert_int_equal(offload_complete_checksum(segment, len, (uint16_t)l4, 16), 0);
		assert_int_equal(naive_sum(pseudo, segment + l4, len - l4), 0xffff);
	}
}

static void random_cuts(void **state)
{
	uint64_t seed = 0x5eed0001;
	uint8_t *payload = random_bytes(65535, 6);

	(void)state;
	for (unsigned int i = 0; i < 1500; i++) {
		struct spec s = tcp4_spec;
		size_t max_len;

		s.ip6 = next_random(&seed) & 1;
		s.udp = next_random(&seed) & 1;
		s.tags = next_random(&seed) % 3;
		s.vid = (uint16_t)(next_random(&seed) & 0xfff);
		s.tos = (uint8_t)next_random(&seed);
		s.id = (uint16_t)next_random(&seed);
		s.seq = next_random(&seed);
		s.ack = next_random(&seed);
		s.flags = (uint8_t)next_random(&seed);
		s.flow_label = next_random(&seed) & 0xfffff;
		s.src_host = (uint8_t)next_random(&seed);
		s.tcp_options = next_random(&seed) % 11 * 4;
		s.ip_options = s.ip6 ? next_random(&seed) % 5 * 8 : next_random(&seed) % 11 * 4;
		s.payload = payload;
		max_len = i % 10 ? 4000 : 65000;
		s.payload_len = next_random(&seed) % max_len;
		check_cut(&s, 1 + next_random(&seed) % (max_len / 10));
	}
	free(payload);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_frames),
		cmocka_unit_test(all_kinds),
		cmocka_unit_test(edges),
		cmocka_unit_test(checksum_zero),
		cmocka_unit_test(checksum_bounds_and_lengths),
		cmocka_unit_test(checksum_carries),
		cmocka_unit_test(no_partial_checksum),
		cmocka_unit_test(wrong_partial_stays_wrong),
		cmocka_unit_test(tolerated),
		cmocka_unit_test(fields_of_all_segments),
		cmocka_unit_test(contradictions),
		cmocka_unit_test(lengths_within),
		cmocka_unit_test(truncated),
		cmocka_unit_test(extension_headers),
		cmocka_unit_test(routing_header),
		cmocka_unit_test(random_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
