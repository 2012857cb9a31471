/* SPDX-License-Identifier: Apache-2.0 */
/* Answers "too big", and clamped MSS options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "test/unit/offload_frames.h"
#include "vand/toobig.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The builder's frame in a buffer of exactly its size. */
static uint8_t *make(const struct spec *s, size_t *ret_len)
{
	uint8_t *frame = malloc(spec_header_len(s) + s->payload_len);

	*ret_len = build_frame(frame, s);
	return frame;
}

static struct spec udp_spec(bool ip6, unsigned int tags, const uint8_t *payload, size_t len)
{
	struct spec s = tcp4_spec;

	s.udp = true;
	s.ip6 = ip6;
	s.tags = tags;
	s.vid = 7;
	s.payload = payload;
	s.payload_len = len;
	return s;
}

/* Everything about an answer that can be right or wrong. */
static void assert_answer(const uint8_t *frame, size_t len, const uint8_t *answer,
	size_t answer_len, const struct spec *s, size_t mtu)
{
	size_t l3 = spec_l3(s), ip_len = s->ip6 ? 40 : 20;
	const uint8_t *ip = answer + l3, *was = frame + l3, *icmp = ip + ip_len;
	size_t quote = answer_len - l3 - ip_len - 8, packet_len = len - l3;
	uint8_t pseudo[40] = {0};

	assert_true(answer_len <= TOOBIG_ANSWER_MAX);
	assert_memory_equal(answer, frame + 6, 6);
	assert_memory_equal(answer + 6, frame, 6);
	assert_memory_equal(answer + 12, frame + 12, l3 - 12);
	if (s->ip6) {
		assert_int_equal(ip[0], 0x60);
		assert_int_equal(naive_get(ip + 4), answer_len - l3 - 40);
		assert_int_equal(ip[6], 58);
		assert_int_equal(ip[7], 255);
		assert_memory_equal(ip + 8, was + 24, 16);
		assert_memory_equal(ip + 24, was + 8, 16);
		assert_int_equal(icmp[0], 2);
		assert_int_equal(icmp[1], 0);
		assert_int_equal(naive_get(icmp + 4) << 16 | naive_get(icmp + 6), mtu);
		memcpy(pseudo, ip + 8, 32);
		naive_put(pseudo + 34, (unsigned int)(8 + quote));
		pseudo[39] = 58;
		assert_int_equal(naive_sum(naive_sum(0, pseudo, 40), icmp, 8 + quote), 0xffff);
		assert_int_equal(quote, packet_len < 1232 ? packet_len : 1232);
	} else {
		assert_int_equal(ip[0], 0x45);
		assert_int_equal(naive_get(ip + 2), answer_len - l3);
		assert_int_equal(naive_get(ip + 6) & 0x3fff, 0);
		assert_int_equal(ip[9], 1);
		assert_true(ip[8] >= 32);
		assert_int_equal(naive_sum(0, ip, 20), 0xffff);
		assert_memory_equal(ip + 12, was + 16, 4);
		assert_memory_equal(ip + 16, was + 12, 4);
		assert_int_equal(icmp[0], 3);
		assert_int_equal(icmp[1], 4);
		assert_int_equal(naive_get(icmp + 4), 0);
		assert_int_equal(naive_get(icmp + 6), mtu);
		assert_int_equal(naive_sum(0, icmp, 8 + quote), 0xffff);
		assert_int_equal(quote, packet_len < 548 ? packet_len : 548);
	}
	assert_memory_equal(icmp + 8, was, quote < packet_len ? quote : packet_len);
}

static void test_answers(void **state)
{
	uint8_t *payload = random_bytes(9000, 1), answer[TOOBIG_ANSWER_MAX];

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		for (unsigned int tags = 0; tags < 3; tags++) {
			for (unsigned int options = 0; options <= 40; options += 8) {
				for (size_t size = 1281; size <= 9000; size += 643) {
					struct spec s = udp_spec(ip6, tags, payload, 0);
					size_t len, mtu = size - 1, n;
					uint8_t *frame, *copy;

					s.ip_options = options;
					s.payload_len = size - (spec_header_len(&s) - spec_l3(&s));
					frame = make(&s, &len);
					copy = malloc(len);
					memcpy(copy, frame, len);
					assert_int_equal(len, spec_l3(&s) + size);
					n = toobig_answer(
						frame, len, len, spec_l3(&s) + mtu, answer);
					assert_true(n > 0);
					assert_answer(frame, len, answer, n, &s, mtu);
					assert_memory_equal(frame, copy, len);
					/* It fits: nothing to complain of. */
					assert_int_equal(
						toobig_answer(frame, len, len, len, answer), 0);
					free(copy);
					free(frame);
				}
			}
		}
	}
	free(payload);
}

/* Small packets are quoted whole. */
static void test_small_packet(void **state)
{
	uint8_t payload[620] = {9}, answer[TOOBIG_ANSWER_MAX];
	struct spec s = udp_spec(false, 0, payload, 560);
	size_t len, n;
	uint8_t *frame = make(&s, &len);

	(void)state;
	n = toobig_answer(frame, len, len, 14 + 576, answer);
	assert_true(n > 0);
	assert_answer(frame, len, answer, n, &s, 576);
	/* Nobody is told of less than every host takes. */
	assert_int_equal(toobig_answer(frame, len, len, 14 + 575, answer), 0);
	assert_int_equal(toobig_answer(frame, len, len, 10, answer), 0);
	assert_int_equal(toobig_answer(frame, len, len, 0, answer), 0);
	free(frame);
}

struct unanswerable {
	const char *what;
	bool ip6;
	int offset;
	uint8_t value;
	bool no_checksum; /* leave the header checksum as it becomes */
};

static void test_never_about_these(void **state)
{
	static const struct unanswerable cases[] = {
		{.what = "no DF", .offset = 20, .value = 0x00},
		{.what = "a later fragment with DF", .offset = 21, .value = 0x10},
		{.what = "group MAC", .offset = 0, .value = 0x01},
		{.what = "group MAC as source", .offset = 6, .value = 0x03},
		{.what = "multicast", .offset = 30, .value = 224},
		{.what = "limited broadcast", .offset = 30, .value = 255},
		{.what = "loopback", .offset = 30, .value = 127},
		{.what = "from loopback", .offset = 26, .value = 127},
		{.what = "from nobody", .offset = 26, .value = 0},
		{.what = "from a group", .offset = 26, .value = 239},
		{.what = "header checksum", .offset = 22, .value = 1, .no_checksum = true},
		{.what = "version 5", .offset = 14, .value = 0x55},
		{.what = "IHL 4", .offset = 14, .value = 0x44},
		{.what = "longer than the frame", .offset = 16, .value = 0x7f},
		{.what = "shorter than its MTU", .offset = 16, .value = 1},
		{.what = "not IP", .offset = 12, .value = 0x88},
		{.what = "multicast", .ip6 = true, .offset = 38, .value = 0xff},
		{.what = "from a group", .ip6 = true, .offset = 22, .value = 0xff},
		{.what = "version 4", .ip6 = true, .offset = 14, .value = 0x40},
		{.what = "longer than the frame", .ip6 = true, .offset = 18, .value = 0x7f},
		{.what = "shorter than its MTU", .ip6 = true, .offset = 18, .value = 1},
		{.what = "extension beyond the end", .ip6 = true, .offset = 20, .value = 0},
		{.what = "a later fragment", .ip6 = true, .offset = 20, .value = 44},
		{.what = "too large for 2 tags", .offset = 12, .value = 0x81},
	};
	uint8_t *payload = random_bytes(1500, 5), answer[TOOBIG_ANSWER_MAX];

	(void)state;
	memset(payload, 0xff, 40);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct unanswerable *c = &cases[i];
		struct spec s = udp_spec(c->ip6, 0, payload, 1400);
		size_t len;
		uint8_t *frame = make(&s, &len);

		if (c->ip6) /* what would be the length of an extension header: all of it */
			memset(frame + 54, 0xff, 8);
		assert_true(toobig_answer(frame, len, len, 14 + 1300, answer) > 0);
		frame[c->offset] = c->value;
		if (!c->ip6 && !c->no_checksum) {
			naive_put(frame + 24, 0);
			naive_put(frame + 24, 0xffff - naive_sum(0, frame + 14, 20));
		}
		if (toobig_answer(frame, len, len, 14 + 1300, answer) != 0)
			fail_msg("IPv%d %s: was answered", c->ip6 ? 6 : 4, c->what);
		free(frame);
	}
	free(payload);
}

/* ::, ::1: fifteen bytes of zero. */
static void test_ip6_own_addresses(void **state)
{
	uint8_t *payload = random_bytes(1500, 5), answer[TOOBIG_ANSWER_MAX];

	(void)state;
	for (int at = 22; at <= 38; at += 16) {
		for (uint8_t last = 0; last < 2; last++) {
			struct spec s = udp_spec(true, 0, payload, 1400);
			size_t len;
			uint8_t *frame = make(&s, &len);

			memset(frame + at, 0, 16);
			frame[at + 15] = last;
			assert_int_equal(toobig_answer(frame, len, len, 14 + 1300, answer), 0);
			free(frame);
		}
	}
	free(payload);
}

/* Of ICMP, only what is surely no error is answered. */
static void test_icmp(void **state)
{
	static const uint8_t queries4[] = {0, 8, 13, 14};
	uint8_t *payload = random_bytes(1500, 5), answer[TOOBIG_ANSWER_MAX];

	(void)state;
	for (int ip6 = 0; ip6 < 2; ip6++) {
		for (unsigned int type = 0; type < 256; type++) {
			struct spec s = udp_spec(ip6, 1, payload, 1400);
			bool expected = ip6 && type >= 128 && type != 137;
			size_t len;
			uint8_t *frame = make(&s, &len);

			for (size_t i = 0; i < COUNT(queries4); i++)
				expected |= !ip6 && type == queries4[i];
			frame[18 + (ip6 ? 6 : 9)] = ip6 ? 58 : 1;
			frame[spec_l4(&s)] = (uint8_t)type;
			if (!ip6) {
				naive_put(frame + 28, 0);
				naive_put(frame + 28, 0xffff - naive_sum(0, frame + 18, 20));
			}
			assert_int_equal(
				toobig_answer(frame, len, len, 18 + 1300, answer) > 0, expected);
			free(frame);
		}
	}
	free(payload);
}

/* An IPv6 first fragment is answered, and behind extension headers an ICMP error is still found. */
static void test_ip6_extensions(void **state)
{
	uint8_t *payload = random_bytes(1500, 6), answer[TOOBIG_ANSWER_MAX];
	struct spec s = udp_spec(true, 0, payload, 1400);
	size_t len;
	uint8_t *frame;

	(void)state;
	s.ip_options = 16;
	frame = make(&s, &len);
	assert_true(toobig_answer(frame, len, len, 14 + 1300, answer) > 0);
	frame[54] = 58; /* ICMPv6 behind destination options: an error */
	frame[70] = 1;
	assert_int_equal(toobig_answer(frame, len, len, 14 + 1300, answer), 0);
	frame[70] = 128;
	assert_true(toobig_answer(frame, len, len, 14 + 1300, answer) > 0);
	frame[54] = 44; /* a fragment header: the first fragment, of an ICMP error */
	memcpy(frame + 70, (uint8_t[]){58, 0, 0, 1, 1, 2, 3, 4, 1}, 9);
	assert_int_equal(toobig_answer(frame, len, len, 14 + 1300, answer), 0);
	frame[78] = 128;
	assert_true(toobig_answer(frame, len, len, 14 + 1300, answer) > 0);
	frame[73] = 9; /* offset 1 */
	assert_int_equal(toobig_answer(frame, len, len, 14 + 1300, answer), 0);
	free(frame);
	free(payload);
}

/* Every length of every kind: nothing outside of the frame is read (the sanitizer looks). */
static void test_truncated(void **state)
{
	uint8_t *payload = random_bytes(1500, 7), answer[TOOBIG_ANSWER_MAX];

	(void)state;
	for (unsigned int kind = 0; kind < 8; kind++) {
		struct spec s = tcp4_spec;
		size_t whole;
		uint8_t *frame;

		s.ip6 = kind & 1;
		s.udp = kind & 2;
		s.tags = kind & 4 ? 2 : 0;
		s.ip_options = 8;
		s.flags = SYN;
		s.tcp_options = s.udp ? 0 : 8;
		s.payload = payload;
		s.payload_len = 1400;
		frame = make(&s, &whole);
		for (size_t len = 0; len < whole; len++) {
			uint8_t *exact = malloc(len ? len : 1);

			memcpy(exact, frame, len);
			assert_int_equal(toobig_answer(exact, len, len, 700, answer), 0);
			toobig_clamp_mss(exact, len, false, 100);
			free(exact);
		}
		free(frame);
	}
	free(payload);
}

/* A super-frame is quoted as its first segment. */
static void test_super_frame(void **state)
{
	uint8_t *payload = random_bytes(20000, 8), answer[TOOBIG_ANSWER_MAX], first[2048];

	(void)state;
	for (unsigned int kind = 0; kind < 4; kind++) {
		for (unsigned int tags = 0; tags < 2; tags++) {
			struct spec s = tcp4_spec, segment;
			size_t len, segment_len, n, quote_at, quote;
			uint8_t *frame;

			s.ip6 = kind & 1;
			s.udp = kind & 2;
			s.tags = tags;
			s.payload = payload;
			s.payload_len = 20000;
			frame = make(&s, &len);
			/* As a kernel may leave it. */
			if (kind & 1)
				naive_put(frame + spec_l3(&s) + 4, 0);
			segment = s;
			segment.payload_len = 1300;
			segment_len = build_frame(first, &segment);
			n = toobig_answer(frame, len, segment_len, segment_len - 1, answer);
			assert_true(n > 0);
			quote_at = spec_l3(&s) + (s.ip6 ? 48 : 28);
			quote = n - quote_at;
			assert_int_equal(quote, s.ip6 ? 1232 : 548);
			/* The partial checksum is the super-frame's, and of no use to anybody. */
			naive_put(first + spec_l4(&s) + spec_csum_offset(&s),
				naive_get(frame + spec_l4(&s) + spec_csum_offset(&s)));
			assert_memory_equal(answer + quote_at, first + spec_l3(&s), quote);
			if (!s.ip6)
				assert_int_equal(naive_sum(0, answer + quote_at, 20), 0xffff);
			assert_int_equal(
				toobig_answer(frame, len, segment_len, segment_len, answer), 0);
			assert_int_equal(toobig_answer(frame, len, 20, 10, answer), 0);
			free(frame);
		}
	}
	free(payload);
}

/* -- MSS -- */

/* A SYN with these TCP options. */
static uint8_t *make_syn(const struct spec *s, const uint8_t *options, size_t *ret_len)
{
	uint8_t *frame = make(s, ret_len), *tcp = frame + spec_l4(s);

	memcpy(tcp + 20, options, s->tcp_options);
	naive_put(tcp + 16, naive_pseudo(frame + spec_l3(s), *ret_len - spec_l4(s)));
	if (s->full_csum)
		naive_put(tcp + 16, 0xffff - naive_sum(0, tcp, *ret_len - spec_l4(s)));
	return frame;
}

static void test_clamps(void **state)
{
	/* The option at even and at odd offsets, first and last. */
	static const uint8_t options[][12] = {
		{2, 4, 0x05, 0xb4, 1, 1, 8, 2, 1, 1, 1, 1},
		{1, 2, 4, 0x05, 0xb4, 1, 1, 1, 1, 1, 1, 1},
		{1, 1, 1, 3, 3, 7, 4, 2, 2, 4, 0x05, 0xb4},
		{4, 2, 1, 3, 3, 7, 1, 2, 4, 0x05, 0xb4, 0},
	};
	static const size_t at[] = {2, 3, 10, 9};

	(void)state;
	for (unsigned int kind = 0; kind < 16; kind++) {
		for (size_t o = 0; o < COUNT(options); o++) {
			for (size_t frame_max = 600; frame_max < 1600; frame_max += 37) {
				struct spec s = tcp4_spec;
				size_t len, mss;
				uint8_t *frame, *before, *value;
				bool clamped;

				s.ip6 = kind & 1;
				s.full_csum = kind & 2;
				s.tags = kind & 4 ? 1 : 0;
				s.flags = kind & 8 ? SYN | ACK : SYN;
				s.ip_options = 8;
				s.tcp_options = 12;
				frame = make_syn(&s, options[o], &len);
				before = malloc(len);
				memcpy(before, frame, len);
				value = frame + spec_l4(&s) + 20 + at[o];
				mss = frame_max - spec_l3(&s) - (s.ip6 ? 60 : 40);
				clamped = toobig_clamp_mss(frame, len, !s.full_csum, frame_max);
				assert_int_equal(clamped, mss < 1460);
				assert_int_equal(naive_get(value), clamped ? mss : 1460);
				if (s.full_csum)
					assert_true(frame_is_right(frame, len, &s));
				/* Nothing else is touched. */
				naive_put(value, 1460);
				memcpy(frame + spec_l4(&s) + 16, before + spec_l4(&s) + 16, 2);
				assert_memory_equal(frame, before, len);
				free(before);
				free(frame);
			}
		}
	}
}

static void test_does_not_clamp(void **state)
{
	static const struct {
		const char *what;
		uint8_t options[8];
		uint8_t flags;
		uint16_t fragment;
		bool udp;
	} cases[] = {
		{"no SYN", {2, 4, 0x05, 0xb4, 1, 1, 1, 1}, ACK, 0x4000, false},
		{"no MSS", {1, 1, 1, 1, 1, 1, 1, 1}, SYN, 0x4000, false},
		{"behind the end", {1, 0, 2, 4, 0x05, 0xb4, 1, 1}, SYN, 0x4000, false},
		{"length 0", {3, 0, 2, 4, 0x05, 0xb4, 1, 1}, SYN, 0x4000, false},
		{"length 1", {3, 1, 2, 4, 0x05, 0xb4, 1, 1}, SYN, 0x4000, false},
		{"MSS of length 3", {2, 3, 0x05, 2, 4, 0x05, 0xb4, 1}, SYN, 0x4000, false},
		{"MSS of length 8", {2, 8, 0x05, 0xb4, 0, 0, 0, 0}, SYN, 0x4000, false},
		{"longer than the rest", {1, 1, 1, 1, 1, 2, 4, 0x05}, SYN, 0x4000, false},
		{"kind without length", {1, 1, 1, 1, 1, 1, 1, 2}, SYN, 0x4000, false},
		{"a later fragment", {2, 4, 0x05, 0xb4, 1, 1, 1, 1}, SYN, 0x0010, false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct spec s = tcp4_spec;
		size_t len;
		uint8_t *frame, *before;

		s.flags = cases[i].flags;
		s.fragment = cases[i].fragment;
		s.tcp_options = 8;
		s.full_csum = true;
		frame = make_syn(&s, cases[i].options, &len);
		before = malloc(len);
		memcpy(before, frame, len);
		if (toobig_clamp_mss(frame, len, false, 1000) || memcmp(frame, before, len) != 0)
			fail_msg("%s: changed", cases[i].what);
		assert_false(toobig_clamp_mss(frame, len, false, 0));
		free(before);
		free(frame);
	}
}

/* Checksums at the edge of ones' complement stay right. */
static void test_clamp_checksum_edges(void **state)
{
	static const uint8_t options[2][8] = {
		{2, 4, 0xff, 0xff, 1, 1, 1, 1}, {1, 2, 4, 0xff, 0xff, 1, 1, 1}};
	uint8_t payload[2];

	(void)state;
	for (unsigned int value = 0; value < 65536; value += 13) {
		for (size_t o = 0; o < 2; o++) {
			struct spec s = tcp4_spec;
			size_t len;
			uint8_t *frame;

			naive_put(payload, value);
			s.payload = payload;
			s.payload_len = 2;
			s.flags = SYN;
			s.tcp_options = 8;
			s.full_csum = true;
			frame = make_syn(&s, options[o], &len);
			assert_true(toobig_clamp_mss(frame, len, false, 1200));
			assert_true(frame_is_right(frame, len, &s));
			free(frame);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_small_packet),
		cmocka_unit_test(test_never_about_these),
		cmocka_unit_test(test_ip6_own_addresses),
		cmocka_unit_test(test_icmp),
		cmocka_unit_test(test_ip6_extensions),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_super_frame),
		cmocka_unit_test(test_clamps),
		cmocka_unit_test(test_does_not_clamp),
		cmocka_unit_test(test_clamp_checksum_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
