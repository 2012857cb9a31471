/* SPDX-License-Identifier: Apache-2.0 */
/* ECN and DSCP between inner and outer headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "test/unit/offload_frames.h"
#include "vand/ecn.h"

#define DROPPED 0xff

/* RFC 6040, figure 4, in its order: rows inner, columns outer Not-ECT, ECT(0), ECT(1), CE. */
static const uint8_t order[4] = {ECN_NOT_ECT, ECN_ECT0, ECN_ECT1, ECN_CE};
static const uint8_t figure_4[4][4] = {
	{ECN_NOT_ECT, ECN_NOT_ECT, ECN_NOT_ECT, DROPPED},
	{ECN_ECT0, ECN_ECT0, ECN_ECT1, ECN_CE},
	{ECN_ECT1, ECN_ECT1, ECN_ECT1, ECN_CE},
	{ECN_CE, ECN_CE, ECN_CE, ECN_CE},
};

static struct spec kind_spec(unsigned int kind)
{
	struct spec s = tcp4_spec;

	s.ip6 = kind & 1;
	s.udp = kind & 2;
	s.tags = kind / 4 % 3;
	s.vid = 5;
	s.flow_label = 0xfffff;
	s.ip_options = kind & 1 ? 0 : 8;
	return s;
}

static void test_decapsulation(void **state)
{
	static const uint8_t payload[40] = {1, 2, 3};

	(void)state;
	for (unsigned int kind = 0; kind < 12; kind++) {
		for (unsigned int dscp = 0; dscp < 64; dscp++) {
			for (unsigned int i = 0; i < 16; i++) {
				struct spec s = kind_spec(kind), wanted;
				uint8_t frame[256], expected[256], outer = order[i % 4];
				uint8_t result = figure_4[i / 4][i % 4];
				size_t len;

				s.tos = (uint8_t)(dscp << 2 | order[i / 4]);
				s.payload = payload;
				s.payload_len = sizeof(payload);
				len = build_frame(frame, &s);
				wanted = s;
				if (result != DROPPED)
					wanted.tos = (uint8_t)(dscp << 2 | result);
				build_frame(expected, &wanted);
				assert_int_equal(ecn_inner(frame, len, outer), result != DROPPED);
				/* Checksum included. */
				assert_memory_equal(frame, expected, len);
				if (!ecn_matters(outer))
					assert_int_equal(result, order[i / 4]);
			}
		}
	}
}

/* All header checksums that there are: the update has no wrong zero. */
static void test_checksum_edges(void **state)
{
	(void)state;
	for (unsigned int id = 0; id < 65536; id++) {
		struct spec s = tcp4_spec;
		uint8_t frame[128];
		size_t len;

		s.id = (uint16_t)id;
		s.tos = ECN_ECT0;
		len = build_frame(frame, &s);
		assert_true(ecn_inner(frame, len, id & 1 ? ECN_CE : ECN_ECT1));
		assert_int_equal(naive_sum(0, frame + 14, 20), 0xffff);
		assert_int_equal(frame[15], id & 1 ? ECN_CE : ECN_ECT1);
	}
}

static void test_encapsulation(void **state)
{
	(void)state;
	for (unsigned int kind = 0; kind < 12; kind++) {
		for (unsigned int tos = 0; tos < 256; tos++) {
			struct spec s = kind_spec(kind);
			uint8_t frame[256];
			size_t len;

			s.tos = (uint8_t)tos;
			len = build_frame(frame, &s);
			assert_int_equal(ecn_frame_tos(frame, len), tos);
			assert_int_equal(ecn_outer(frame, len, 0), 0);
			assert_int_equal(ecn_outer(frame, len, ECN_COPY), tos & 3);
			assert_int_equal(ecn_outer(frame, len, ECN_COPY_DSCP), tos & 0xfc);
			assert_int_equal(ecn_outer(frame, len, ECN_COPY | ECN_COPY_DSCP), tos);
		}
	}
}

/* Not IP, or only by name: left alone, and never dropped. */
static void test_not_ip(void **state)
{
	static const uint16_t types[] = {0x0806, 0x88b5, 0x0800, 0x86dd, 0x8100, 46};

	(void)state;
	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		uint8_t frame[60], before[60];

		memset(frame, 0x33, sizeof(frame)); /* no version that exists */
		naive_put(frame + 12, types[t]);
		memcpy(before, frame, sizeof(frame));
		assert_int_equal(ecn_outer(frame, sizeof(frame), ECN_COPY), 0);
		for (unsigned int outer = 0; outer < 4; outer++)
			assert_true(ecn_inner(frame, sizeof(frame), (uint8_t)outer));
		assert_memory_equal(frame, before, sizeof(frame));
	}
}

/* IPv4's version under IPv6's type, and the other way round. */
static void test_wrong_version(void **state)
{
	(void)state;
	for (unsigned int kind = 0; kind < 2; kind++) {
		struct spec s = kind_spec(kind);
		uint8_t frame[256], before[256];
		size_t len;

		s.tos = ECN_ECT0;
		len = build_frame(frame, &s);
		naive_put(frame + 12, kind ? 0x0800 : 0x86dd);
		memcpy(before, frame, len);
		assert_int_equal(ecn_outer(frame, len, ECN_COPY), 0);
		assert_true(ecn_inner(frame, len, ECN_CE));
		assert_memory_equal(frame, before, len);
	}
}

static void test_truncated(void **state)
{
	(void)state;
	for (unsigned int kind = 0; kind < 12; kind++) {
		struct spec s = kind_spec(kind);
		uint8_t frame[256];
		size_t l3 = spec_l3(&s), header = s.ip6 ? 40 : 20;

		s.tos = 0xff;
		build_frame(frame, &s);
		for (size_t len = 0; len < l3 + header; len++) {
			uint8_t *exact = malloc(len ? len : 1);

			memcpy(exact, frame, len);
			assert_int_equal(ecn_outer(exact, len, 0xff), 0);
			assert_true(ecn_inner(exact, len, ECN_CE));
			if (len)
				assert_memory_equal(exact, frame, len);
			free(exact);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decapsulation),
		cmocka_unit_test(test_checksum_edges),
		cmocka_unit_test(test_encapsulation),
		cmocka_unit_test(test_not_ip),
		cmocka_unit_test(test_wrong_version),
		cmocka_unit_test(test_truncated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
