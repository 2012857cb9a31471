/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/stats_pack.h"

#include "lib/wirebuf.h"

#define MANTISSA_BITS 10
#define HIDDEN        (1u << MANTISSA_BITS)
#define LITERAL_MAX   128
#define RUN_MIN       2
#define RUN_MAX       129
#define RUN_BASE      126 /* a control byte of 128 is a run of 2 */

uint16_t stats_round(uint64_t value)
{
	unsigned int shift = 0;

	if (value < 2 * HIDDEN)
		return (uint16_t)value; /* exponents 0 and 1 continue each other */
	while (value >> shift >= 2 * HIDDEN)
		shift++;
	/* To the nearest; what it carries into is the next exponent with mantissa 0. */
	value = (value >> shift) + (value >> (shift - 1) & 1);
	return (uint16_t)(value + ((uint64_t)shift << MANTISSA_BITS));
}

uint64_t stats_unround(uint16_t rounded)
{
	unsigned int exponent = rounded >> MANTISSA_BITS;
	uint64_t mantissa = rounded & (HIDDEN - 1);

	if (exponent == 0)
		return mantissa;
	if (exponent - 1 > 63 - MANTISSA_BITS)
		return UINT64_MAX; /* nothing that stats_round() makes, but for the largest */
	return (HIDDEN + mantissa) << (exponent - 1);
}

static size_t run_length(const uint16_t *values, size_t left)
{
	size_t n = 1;

	while (n < left && n < RUN_MAX && values[n] == values[0])
		n++;
	return n;
}

static void put_value(struct wire_writer *w, uint16_t value)
{
	wire_put_u8(w, (uint8_t)value);
	wire_put_u8(w, (uint8_t)(value >> 8));
}

static uint16_t get_value(struct wire_reader *r)
{
	uint16_t low = wire_get_u8(r);

	return (uint16_t)(low | wire_get_u8(r) << 8);
}

size_t stats_pack(const uint64_t values[STATS_CHUNK], uint8_t *ret_data)
{
	struct wire_writer w = wire_writer(ret_data, STATS_PACKED_MAX);
	uint16_t rounded[STATS_CHUNK];
	uint8_t *literal = NULL; /* the control byte of the one that is being extended */

	for (size_t i = 0; i < STATS_CHUNK; i++)
		rounded[i] = stats_round(values[i]);
	for (size_t i = 0; i < STATS_CHUNK;) {
		size_t run = run_length(&rounded[i], STATS_CHUNK - i);

		/* Two equal ones within a literal cost less there than as a run of their own. */
		if (run > RUN_MIN || (run == RUN_MIN && !literal)) {
			wire_put_u8(&w, (uint8_t)(run + RUN_BASE));
			put_value(&w, rounded[i]);
			literal = NULL;
			i += run;
			continue;
		}
		if (!literal || *literal == LITERAL_MAX - 1) {
			literal = wire_reserve(&w, 1);
			*literal = 0;
		} else {
			++*literal;
		}
		put_value(&w, rounded[i++]);
	}
	return wire_written(&w);
}

size_t stats_unpack(const uint8_t *data, size_t len, uint64_t *ret_values)
{
	struct wire_reader r = wire_reader(data, len);
	size_t filled = 0;

	while (filled < STATS_CHUNK) {
		uint8_t control = wire_get_u8(&r);
		bool run = control >= LITERAL_MAX;
		size_t n = run ? control - (size_t)RUN_BASE : control + (size_t)1;
		uint64_t value = 0;

		if (n > STATS_CHUNK - filled)
			return 0;
		for (size_t i = 0; i < n; i++) {
			if (i == 0 || !run)
				value = stats_unround(get_value(&r));
			if (ret_values)
				ret_values[filled + i] = value;
		}
		if (r.failed)
			return 0;
		filled += n;
	}
	return len - wire_left(&r);
}
