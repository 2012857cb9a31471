/* SPDX-License-Identifier: Apache-2.0 */
/* Packing of values, and time series in bounded memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "console-api/stats_series.h"

#define NOW      1700000000ull
#define NO_LIMIT (1u << 30)

/* -- packing -- */

static void rounding(void **state)
{
	(void)state;
	for (uint64_t v = 0; v < 2048; v++)
		assert_true(stats_unround(stats_round(v)) == v);
	for (unsigned int bit = 11; bit < 63; bit++) {
		static const uint64_t low[] = {0, 1, 3, 1023};

		for (size_t i = 0; i < sizeof(low) / sizeof(low[0]); i++) {
			uint64_t v = (1ull << bit) + low[i] * (1ull << bit) / 1000;
			uint64_t back = stats_unround(stats_round(v));
			uint64_t off = back > v ? back - v : v - back;

			assert_true(off <= v / 2048);
		}
		/* What rounds up into the next power of two. */
		assert_true(stats_unround(stats_round((2ull << bit) - 1)) == 2ull << bit);
	}
	assert_true(stats_unround(stats_round(UINT64_MAX)) == UINT64_MAX);
	assert_true(stats_unround(0xffff) == UINT64_MAX);
}

static void rounding_is_monotone(void **state)
{
	uint64_t last = 0;

	(void)state;
	for (uint32_t r = 0; r < 0x10000; r++) {
		uint64_t v = stats_unround((uint16_t)r);

		assert_true(v >= last);
		if (v != UINT64_MAX)
			assert_int_equal(stats_round(v), r);
		last = v;
	}
}

static void pack_and_back(const uint64_t values[STATS_CHUNK], size_t max_len)
{
	uint8_t data[STATS_PACKED_MAX];
	uint64_t back[STATS_CHUNK];
	size_t len = stats_pack(values, data);

	assert_true(len > 0 && len <= max_len);
	assert_int_equal(stats_unpack(data, len, back), len);
	assert_int_equal(stats_unpack(data, len, NULL), len);
	for (size_t i = 0; i < STATS_CHUNK; i++)
		assert_true(back[i] == stats_unround(stats_round(values[i])));
	for (size_t cut = 0; cut < len; cut++) /* never beyond its end */
		assert_int_equal(stats_unpack(data, cut, back), 0);
}

static void packing(void **state)
{
	uint64_t values[STATS_CHUNK] = {0};

	(void)state;
	pack_and_back(values, 3);
	for (size_t i = 0; i < STATS_CHUNK; i++)
		values[i] = i;
	pack_and_back(values, 1 + 2 * STATS_CHUNK);
	for (size_t i = 0; i < STATS_CHUNK; i++)
		values[i] = i / 2;
	pack_and_back(values, STATS_PACKED_MAX);
	memset(values, 0, sizeof(values));
	values[30] = 1u << 20;
	pack_and_back(values, 9);
	srand(1);
	for (int round = 0; round < 2000; round++) { /* runs of all lengths, between all others */
		for (size_t i = 0; i < STATS_CHUNK; i++)
			values[i] =
				rand() % 4 && i ? values[i - 1] : (uint64_t)rand() << rand() % 30;
		pack_and_back(values, STATS_PACKED_MAX);
		for (size_t i = 0; i < STATS_CHUNK; i++)
			values[i] = (uint64_t)(rand() % 3);
		pack_and_back(values, STATS_PACKED_MAX);
	}
}

static void unpacking_nonsense(void **state)
{
	uint64_t values[STATS_CHUNK];
	uint8_t data[256];

	(void)state;
	memset(data, 0xff, sizeof(data)); /* a run of 129 */
	assert_int_equal(stats_unpack(data, sizeof(data), values), 0);
	data[0] = 127; /* 128 literals */
	assert_int_equal(stats_unpack(data, sizeof(data), values), 0);
	assert_int_equal(stats_unpack(data, 0, values), 0);
	srand(2);
	for (int round = 0; round < 20000; round++) {
		size_t len = (size_t)rand() % sizeof(data);

		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)rand();
		assert_true(stats_unpack(data, len, values) <= len);
	}
}

/* -- series -- */

struct read {
	uint64_t sums[4320];
	bool known[4320];
};

static void read_span(const struct stats_series *s, enum stats_ring ring, size_t column,
	uint64_t from_s, size_t count, struct read *r)
{
	memset(r, 0, sizeof(*r));
	assert_true(count <= 4320);
	stats_series_sum(
		s, ring, column, from_s / stats_rings[ring].step_s, count, r->sums, r->known);
}

static uint64_t value_at(
	const struct stats_series *s, enum stats_ring ring, size_t column, uint64_t at_s)
{
	static struct read r;

	read_span(s, ring, column, at_s, 1, &r);
	return r.known[0] ? r.sums[0] : UINT64_MAX;
}

#define UNKNOWN UINT64_MAX

static void four_resolutions(void **state)
{
	struct stats_memory m;
	struct stats_series s;
	const uint64_t start = NOW - NOW % 600;

	(void)state;
	stats_memory_init(&m, NO_LIMIT);
	stats_series_init(&s, &m, STATS_1S);
	assert_true(value_at(&s, STATS_1S, 0, start) == UNKNOWN);
	for (uint64_t t = 0; t < 600; t++) {
		const uint64_t values[2] = {t, 1};

		stats_series_add(&s, start + t, values, 2);
	}
	for (uint64_t t = 0; t < 600; t++)
		assert_true(value_at(&s, STATS_1S, 0, start + t) == t);
	assert_true(value_at(&s, STATS_1S, 0, start + 600) == UNKNOWN);
	assert_true(value_at(&s, STATS_1S, 0, start - 1) == UNKNOWN);
	assert_true(value_at(&s, STATS_1S, 2, start) == 0); /* a column that nothing was added to */
	assert_true(value_at(&s, STATS_10S, 0, start + 590) == 5945);
	assert_true(value_at(&s, STATS_10S, 1, start + 590) == 10);
	assert_true(value_at(&s, STATS_1M, 0, start) == 59 * 60 / 2);
	assert_true(value_at(&s, STATS_10M, 0, start) == 599 * 600 / 2);
	stats_series_pack(&s, start + 100000);
	assert_true(value_at(&s, STATS_1S, 0, start + 599) == 599);
	assert_true(value_at(&s, STATS_10M, 1, start) == 600);
	/* 179,700 is rounded now. */
	assert_true(value_at(&s, STATS_10M, 0, start) == stats_unround(stats_round(179700)));
	stats_series_done(&s);
	assert_int_equal(m.used, 0);
}

static void reach_of_each(void **state)
{
	static const uint64_t one[1] = {1};
	struct stats_memory m;
	struct stats_series s;
	static struct read r;

	(void)state;
	stats_memory_init(&m, NO_LIMIT);
	stats_series_init(&s, &m, STATS_1S);
	for (uint64_t t = 0; t < 31 * 86400; t += 10)
		stats_series_add(&s, NOW + t, one, 1);
	for (int i = 0; i < STATS_RINGS; i++) {
		const struct stats_ring_spec *spec = &stats_rings[i];
		uint64_t end = (NOW + 31 * 86400 - 10) / spec->step_s;

		memset(&r, 0, sizeof(r));
		stats_series_sum(&s, (enum stats_ring)i, 0, end + 1 - spec->slots, spec->slots,
			r.sums, r.known);
		for (size_t k = 0; k < spec->slots; k++) {
			bool on = i > 0 || (end + 1 - spec->slots + k) % 10 == NOW % 10;
			uint64_t want = spec->step_s >= 10 ? spec->step_s / 10 : 1;

			assert_int_equal(r.known[k], on);
			assert_true(r.sums[k] == (on ? want : 0) ||
				    k == spec->slots - 1 /* not full yet */);
		}
	}
	stats_series_done(&s);
	assert_int_equal(m.used, 0);
}

static void idle_is_cheap(void **state)
{
	static const uint64_t zeroes[4];
	struct stats_memory m;
	struct stats_series s;
	size_t after_one;

	(void)state;
	stats_memory_init(&m, NO_LIMIT);
	stats_series_init(&s, &m, STATS_1S);
	stats_series_add(&s, NOW, zeroes, 4);
	after_one = m.used;
	assert_true(after_one < 3000);
	for (uint64_t t = 1; t < 86400; t++)
		stats_series_add(&s, NOW + t, zeroes, 4);
	assert_int_equal(m.used, after_one);
	assert_true(value_at(&s, STATS_10S, 3, NOW + 80000) == 0);
	stats_series_done(&s);
}

/* The figure in the header. */
static void busy_costs(void **state)
{
	struct stats_memory m;
	struct stats_series s;

	(void)state;
	stats_memory_init(&m, NO_LIMIT);
	stats_series_init(&s, &m, STATS_1S);
	srand(3);
	for (uint64_t t = 0; t < 31 * 86400; t += 5) {
		uint64_t values[4];

		for (size_t i = 0; i < 4; i++)
			values[i] = (uint64_t)rand();
		stats_series_add(&s, NOW + t, values, 4);
		stats_series_pack(&s, NOW + t);
	}
	assert_in_range(m.used, 80000, 105000);
	stats_series_done(&s);
	assert_int_equal(m.used, 0);
}

static void late_is_added(void **state)
{
	static const uint64_t two[2] = {2, 3000};
	struct stats_memory m;
	struct stats_series s;

	(void)state;
	stats_memory_init(&m, NO_LIMIT);
	stats_series_init(&s, &m, STATS_1S);
	stats_series_add(&s, NOW, two, 2);
	stats_series_add(&s, NOW + 800, two, 2);
	stats_series_pack(&s, NOW + 800);
	stats_series_add(&s, NOW, two, 2); /* its chunk is packed */
	stats_series_add(&s, NOW + 1, two, 1);
	assert_true(value_at(&s, STATS_1S, 0, NOW) == 4);
	assert_true(value_at(&s, STATS_1S, 1, NOW) == 6000);
	assert_true(value_at(&s, STATS_1S, 0, NOW + 1) == 2);
	assert_true(value_at(&s, STATS_1S, 1, NOW + 1) == 0);
	/* Older than the ring reaches: in the coarser ones only. */
	stats_series_add(&s, NOW - 500, two, 2);
	assert_true(value_at(&s, STATS_1S, 0, NOW - 500) == UNKNOWN);
	assert_true(value_at(&s, STATS_1S, 0, NOW) == 4);
	assert_true(value_at(&s, STATS_10S, 0, NOW - 500) == 2);
	stats_series_done(&s);
}

static void clock_jumps(void **state)
{
	static const uint64_t one[1] = {1};
	struct stats_memory m;
	struct stats_series s;

	(void)state;
	stats_memory_init(&m, NO_LIMIT);
	stats_series_init(&s, &m, STATS_1S);
	stats_series_add(&s, NOW, one, 1);
	stats_series_add(&s, NOW + 400ull * 86400, one, 1); /* a year ahead: nothing old is left */
	for (int i = 0; i < STATS_RINGS; i++)
		assert_true(value_at(&s, (enum stats_ring)i, 0, NOW) == UNKNOWN);
	stats_series_add(&s, NOW + 10, one, 1); /* and back */
	for (int i = 0; i < STATS_RINGS; i++) {
		assert_true(value_at(&s, (enum stats_ring)i, 0, NOW + 10) == 1);
		assert_true(value_at(&s, (enum stats_ring)i, 0, NOW + 400ull * 86400) == UNKNOWN);
	}
	stats_series_add(&s, UINT64_MAX - 5, one, 1);
	stats_series_add(&s, NOW, one, 1);
	assert_true(value_at(&s, STATS_1S, 0, NOW) == 1);
	stats_series_done(&s);
}

static void sums_stop_at_the_largest(void **state)
{
	static const uint64_t large[1] = {UINT64_MAX - 1};
	struct stats_memory m;
	struct stats_series s;

	(void)state;
	stats_memory_init(&m, NO_LIMIT);
	stats_series_init(&s, &m, STATS_1S);
	stats_series_add(&s, NOW, large, 1);
	stats_series_add(&s, NOW, large, 1);
	stats_series_pack(&s, NOW + 100000);
	assert_true(value_at(&s, STATS_10M, 0, NOW) == UINT64_MAX);
	stats_series_done(&s);
}

/* Beyond the limit the finest history goes first, and of all series alike. */
static void limit_holds(void **state)
{
	struct stats_memory m;
	struct stats_series s[8];
	const size_t limit = 300000;

	(void)state;
	stats_memory_init(&m, limit);
	for (size_t i = 0; i < 8; i++)
		stats_series_init(&s[i], &m, STATS_1S);
	srand(4);
	for (uint64_t t = 0; t < 12 * 86400; t += 5) {
		for (size_t i = 0; i < 8; i++) {
			uint64_t values[4];

			for (size_t k = 0; k < 4; k++)
				values[k] = (uint64_t)rand() + 1;
			stats_series_add(&s[i], NOW + t, values, 4);
			stats_series_pack(&s[i], NOW + t);
		}
		assert_true(m.used <= limit);
	}
	for (size_t i = 0; i < 8; i++) {
		uint64_t end = NOW + 12 * 86400 - 5;

		assert_true(value_at(&s[i], STATS_1S, 0, end) != UNKNOWN);
		assert_true(value_at(&s[i], STATS_10S, 0, end - 18000) == UNKNOWN);
		assert_true(value_at(&s[i], STATS_1M, 0, end - 150000) == UNKNOWN);
		assert_true(value_at(&s[i], STATS_10M, 0, end - 86400) != UNKNOWN);
		assert_true(value_at(&s[i], STATS_10M, 0, NOW + 3600) != UNKNOWN);
		stats_series_done(&s[i]);
	}
	assert_int_equal(m.used, 0);
}

/* More series than there is room for: resolutions are given up one by one, for all of them. */
static void limit_of_what_is_open(void **state)
{
	static const uint64_t four[4] = {1, 2, 3, 4};
	struct stats_memory m;
	struct stats_series s[60];
	const size_t limit = 300000; /* 60 × 10.5 KB would be twice that */
	uint64_t t = 0;

	(void)state;
	stats_memory_init(&m, limit);
	for (size_t i = 0; i < 60; i++)
		stats_series_init(&s[i], &m, STATS_1S);
	for (; t < 7200; t += 10) {
		for (size_t i = 0; i < 60; i++) {
			stats_series_add(&s[i], NOW + t, four, 4);
			stats_series_pack(&s[i], NOW + t);
			assert_true(m.used <= limit);
		}
	}
	assert_true(m.finest > STATS_1S);
	for (size_t i = 0; i < 60; i++) {
		assert_true(value_at(&s[i], STATS_1S, 0, NOW + 7190) == UNKNOWN);
		assert_true(value_at(&s[i], STATS_10M, 3, NOW + 3600) != UNKNOWN);
		assert_true(value_at(&s[i], STATS_10M, 3, NOW + 7190) != UNKNOWN);
	}
	/* Most are deleted: there is room for everything again. */
	for (size_t i = 5; i < 60; i++)
		stats_series_done(&s[i]);
	for (uint64_t end = t + 600; t < end; t++)
		for (size_t i = 0; i < 5; i++)
			stats_series_add(&s[i], NOW + t, four, 4);
	assert_int_equal(m.finest, STATS_1S);
	for (size_t i = 0; i < 5; i++) {
		assert_true(value_at(&s[i], STATS_1S, 2, NOW + t - 1) == 3);
		stats_series_done(&s[i]);
	}
	assert_int_equal(m.used, 0);
	/* A limit that nothing fits: the coarsest is kept all the same. */
	stats_memory_init(&m, 1000);
	stats_series_init(&s[0], &m, STATS_1S);
	for (t = 0; t < 7200; t++)
		stats_series_add(&s[0], NOW + t, four, 4);
	assert_in_range(m.used, 2000, 5100); /* while a second chunk is not packed */
	assert_true(value_at(&s[0], STATS_10M, 0, NOW + 7199) != UNKNOWN);
	stats_series_done(&s[0]);
	assert_int_equal(m.used, 0);
}

/* -- on disk -- */

struct kept {
	struct stats_saved chunks[400];
	uint8_t data[400][512];
	size_t count;
};

static void keep(void *ctx, const struct stats_saved *chunk)
{
	struct kept *k = ctx;

	assert_true(k->count < 400);
	assert_true(chunk->len <= 512);
	k->chunks[k->count] = *chunk;
	if (chunk->len)
		memcpy(k->data[k->count], chunk->data, chunk->len);
	k->chunks[k->count].data = k->data[k->count];
	k->count++;
}

static int by_time(const void *a, const void *b)
{
	const struct stats_saved *x = a, *y = b;

	if (x->ring != y->ring)
		return (int)x->ring - (int)y->ring;
	return x->number < y->number ? -1 : x->number > y->number;
}

static void save_and_load(void **state)
{
	static struct kept kept;
	struct stats_memory m;
	struct stats_series s, back;

	(void)state;
	stats_memory_init(&m, NO_LIMIT);
	stats_series_init(&s, &m, STATS_1S);
	stats_series_init(&back, &m, STATS_1S);
	for (uint64_t t = 0; t < 4000; t++) {
		const uint64_t values[3] = {t % 100, t > 2000, 0};

		stats_series_add(&s, NOW + t, values, 3);
		stats_series_pack(&s, NOW + t);
	}
	stats_series_save(&s, keep, &kept);
	assert_in_range(kept.count, 20, 60);
	qsort(kept.chunks, kept.count, sizeof(kept.chunks[0]), by_time);
	for (size_t i = 0; i < kept.count; i++)
		assert_true(stats_series_load(&back, &kept.chunks[i]));
	for (int ring = 0; ring < STATS_RINGS; ring++)
		for (size_t column = 0; column < 3; column++)
			for (uint64_t t = 3000; t < 4010; t++)
				assert_true(stats_round(value_at(
						    &s, (enum stats_ring)ring, column, NOW + t)) ==
					    stats_round(value_at(&back, (enum stats_ring)ring,
						    column, NOW + t)));
	kept.count = 0;
	stats_series_save(&s, keep, &kept);
	assert_int_equal(kept.count, 0); /* nothing has changed */
	stats_series_save(&back, keep, &kept);
	assert_int_equal(kept.count, 0); /* nor in what was loaded */
	stats_series_add(&s, NOW + 4000, (const uint64_t[]){1}, 1);
	stats_series_save(&s, keep, &kept);
	assert_int_equal(kept.count, STATS_RINGS);
	stats_series_touch(&s);
	kept.count = 0;
	stats_series_save(&s, keep, &kept);
	assert_true(kept.count > STATS_RINGS);
	stats_series_done(&s);
	stats_series_done(&back);
	assert_int_equal(m.used, 0);
}

static void load_nonsense(void **state)
{
	struct stats_memory m;
	struct stats_series s;
	uint8_t data[STATS_PACKED_MAX];
	struct stats_saved good = {.ring = STATS_1M,
				   .number = NOW / 3600,
				   .known = 1,
				   .columns = 1,
				   .data = data},
			   bad;

	(void)state;
	stats_memory_init(&m, NO_LIMIT);
	stats_series_init(&s, &m, STATS_1M);
	good.len = stats_pack((const uint64_t[STATS_CHUNK]){7}, data);
	bad = good;
	bad.ring = STATS_1S; /* that this series does not have */
	assert_false(stats_series_load(&s, &bad));
	bad = good;
	bad.ring = STATS_RINGS;
	assert_false(stats_series_load(&s, &bad));
	bad = good;
	bad.known = 1ull << 60;
	assert_false(stats_series_load(&s, &bad));
	bad = good;
	bad.number = UINT64_MAX;
	assert_false(stats_series_load(&s, &bad));
	bad = good;
	bad.columns = 2;
	assert_false(stats_series_load(&s, &bad));
	bad = good;
	bad.columns = 0; /* and bytes */
	assert_false(stats_series_load(&s, &bad));
	bad = good;
	bad.len--;
	assert_false(stats_series_load(&s, &bad));
	bad = good;
	bad.columns = STATS_COLUMNS_MAX + 1;
	assert_false(stats_series_load(&s, &bad));
	assert_int_equal(m.used, 0);
	assert_true(stats_series_load(&s, &good));
	assert_true(stats_series_load(&s, &good)); /* twice: it replaces */
	assert_true(value_at(&s, STATS_1M, 0, NOW / 3600 * 3600) == 7);
	stats_series_done(&s);
	assert_int_equal(m.used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rounding),
		cmocka_unit_test(rounding_is_monotone),
		cmocka_unit_test(packing),
		cmocka_unit_test(unpacking_nonsense),
		cmocka_unit_test(four_resolutions),
		cmocka_unit_test(reach_of_each),
		cmocka_unit_test(idle_is_cheap),
		cmocka_unit_test(busy_costs),
		cmocka_unit_test(late_is_added),
		cmocka_unit_test(clock_jumps),
		cmocka_unit_test(sums_stop_at_the_largest),
		cmocka_unit_test(limit_holds),
		cmocka_unit_test(limit_of_what_is_open),
		cmocka_unit_test(save_and_load),
		cmocka_unit_test(load_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
