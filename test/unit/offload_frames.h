/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames for the tests of vand/offload: a builder, and checksums in the plainest form there is, on
 * purpose without a line in common with the code under test.
 */
#ifndef TEST_OFFLOAD_FRAMES_H
#define TEST_OFFLOAD_FRAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 64 /* writable bytes in front of a test's frame */

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32, ECE = 64, CWR = 128 };

struct spec {
	bool ip6, udp;
	bool full_csum; /* else partial: the pseudo-header sum */
	unsigned int tags;
	uint16_t vid;
	uint8_t src_mac, dst_mac; /* last byte */
	uint8_t src_host, dst_host;
	uint16_t src_port, dst_port;
	uint8_t tos, ttl;
	uint16_t id, fragment;
	uint32_t flow_label;
	unsigned int
		ip_options; /* bytes of IPv4 options, or of an IPv6 destination options header */
	unsigned int tcp_options; /* bytes */
	uint8_t option_seed;
	uint32_t seq, ack;
	uint16_t window, urgent;
	uint8_t flags, reserved;
	const uint8_t *payload;
	size_t payload_len;
};

static const struct spec tcp4_spec = {
	.src_mac = 1,
	.dst_mac = 2,
	.src_host = 1,
	.dst_host = 2,
	.src_port = 40000,
	.dst_port = 80,
	.ttl = 64,
	.id = 0x1234,
	.fragment = 0x4000,
	.seq = 0xfffffff0,
	.ack = 77,
	.window = 502,
	.flags = ACK,
};

static inline unsigned int naive_get(const uint8_t *p)
{
	return p[0] * 256u + p[1];
}

static inline void naive_put(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v / 256);
	p[1] = (uint8_t)(v % 256);
}

/* Adds words one by one, with the carry brought round each time. */
static inline unsigned int naive_sum(unsigned int sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : p[i] * 256u;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return sum;
}

static inline unsigned int naive_pseudo(const uint8_t *ip, size_t l4_len)
{
	uint8_t rest[4] = {0, ip[0] >> 4 == 4 ? ip[9] : ip[6], 0, 0};

	naive_put(rest + 2, (unsigned int)l4_len);
	if (rest[1] == 60) /* the one extension header that the builder makes */
		rest[1] = ip[40];
	return naive_sum(
		ip[0] >> 4 == 4 ? naive_sum(0, ip + 12, 8) : naive_sum(0, ip + 8, 32), rest, 4);
}

static inline size_t spec_l3(const struct spec *s)
{
	return 14 + 4 * s->tags;
}

static inline size_t spec_l4(const struct spec *s)
{
	return spec_l3(s) + (s->ip6 ? 40 : 20) + s->ip_options;
}

static inline size_t spec_csum_offset(const struct spec *s)
{
	return s->udp ? 6 : 16;
}

static inline size_t spec_header_len(const struct spec *s)
{
	return spec_l4(s) + (s->udp ? 8 : 20 + s->tcp_options);
}

static inline size_t build_ip4(uint8_t *ip, const struct spec *s, size_t l4_len)
{
	size_t len = 20 + s->ip_options;

	memset(ip, 0, 20);
	ip[0] = (uint8_t)(0x40 | len / 4);
	ip[1] = s->tos;
	naive_put(ip + 2, (unsigned int)(len + l4_len));
	naive_put(ip + 4, s->id);
	naive_put(ip + 6, s->fragment);
	ip[8] = s->ttl;
	ip[9] = s->udp ? 17 : 6;
	memcpy(ip + 12, (uint8_t[]){10, 0, 0, s->src_host, 10, 0, 0, s->dst_host}, 8);
	memset(ip + 20, 1, s->ip_options);
	naive_put(ip + 10, 0xffff - naive_sum(0, ip, len));
	return len;
}

static inline size_t build_ip6(uint8_t *ip, const struct spec *s, size_t l4_len)
{
	uint8_t next = s->udp ? 17 : 6;

	memset(ip, 0, 40 + s->ip_options);
	ip[0] = (uint8_t)(0x60 | s->tos >> 4);
	ip[1] = (uint8_t)((s->tos & 15) << 4 | s->flow_label >> 16);
	naive_put(ip + 2, s->flow_label & 0xffff);
	naive_put(ip + 4, (unsigned int)(s->ip_options + l4_len));
	ip[6] = s->ip_options ? 60 : next;
	ip[7] = s->ttl;
	memcpy(ip + 8, (uint8_t[]){0xfd, 0, 0x11, 0xf3}, 4);
	memcpy(ip + 24, (uint8_t[]){0xfd, 0, 0x11, 0xf3}, 4);
	ip[23] = s->src_host;
	ip[39] = s->dst_host;
	if (s->ip_options) {
		ip[40] = next;
		ip[41] = (uint8_t)(s->ip_options / 8 - 1);
		ip[42] = 1; /* PadN */
		ip[43] = (uint8_t)(s->ip_options - 4);
	}
	return 40 + s->ip_options;
}

/* The frame of a spec, written to frame. Returns its length. */
static inline size_t build_frame(uint8_t *frame, const struct spec *s)
{
	size_t l3 = spec_l3(s), l4 = spec_l4(s), header_len = spec_header_len(s);
	size_t l4_len = header_len - l4 + s->payload_len;
	uint8_t *ip = frame + l3, *th = frame + l4, *csum = th + spec_csum_offset(s);

	memcpy(frame, (uint8_t[]){2, 0, 0, 0, 0, s->dst_mac, 2, 0, 0, 0, 0, s->src_mac}, 12);
	for (unsigned int i = 0; i < s->tags; i++) {
		naive_put(frame + 12 + 4 * i, i + 1 < s->tags ? 0x88a8 : 0x8100);
		naive_put(frame + 14 + 4 * i, s->vid + i);
	}
	naive_put(ip - 2, s->ip6 ? 0x86dd : 0x0800);
	if (s->ip6)
		build_ip6(ip, s, l4_len);
	else
		build_ip4(ip, s, l4_len);
	memset(th, 0, header_len - l4);
	naive_put(th, s->src_port);
	naive_put(th + 2, s->dst_port);
	if (s->udp) {
		naive_put(th + 4, (unsigned int)l4_len);
	} else {
		naive_put(th + 4, s->seq >> 16);
		naive_put(th + 6, s->seq & 0xffff);
		naive_put(th + 8, s->ack >> 16);
		naive_put(th + 10, s->ack & 0xffff);
		th[12] = (uint8_t)((20 + s->tcp_options) / 4 << 4 | s->reserved);
		th[13] = s->flags;
		naive_put(th + 14, s->window);
		naive_put(th + 18, s->urgent);
		for (unsigned int i = 0; i < s->tcp_options; i++)
			th[20 + i] = (uint8_t)(s->option_seed + i);
	}
	if (s->payload_len)
		memcpy(frame + header_len, s->payload, s->payload_len);
	naive_put(csum, naive_pseudo(ip, l4_len));
	if (s->full_csum) {
		unsigned int sum = 0xffff - naive_sum(0, th, l4_len);

		naive_put(csum, s->udp && !sum ? 0xffff : sum);
	}
	return header_len + s->payload_len;
}

/* Do all lengths and checksums that the frame of a spec has agree with its contents? */
static inline bool frame_is_right(const uint8_t *frame, size_t len, const struct spec *s)
{
	size_t l3 = spec_l3(s), l4 = spec_l4(s);
	const uint8_t *ip = frame + l3;

	if (s->ip6 ? naive_get(ip + 4) != len - l3 - 40 : naive_get(ip + 2) != len - l3)
		return false;
	if (!s->ip6 && naive_sum(0, ip, l4 - l3) != 0xffff)
		return false;
	if (s->udp && (naive_get(frame + l4 + 4) != len - l4 || !naive_get(frame + l4 + 6)))
		return false;
	return naive_sum(naive_pseudo(ip, len - l4), frame + l4, len - l4) == 0xffff;
}

/* Pseudo-random numbers, the same in every run (xorshift64*). */
static inline uint32_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)((*state * 0x2545f4914f6cdd1dull) >> 32);
}

static inline uint8_t *random_bytes(size_t len, uint64_t seed)
{
	uint8_t *p = malloc(len ? len : 1);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)next_random(&seed);
	return p;
}

#endif
