/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: a ring is an array of cells, one for each chunk of 60 slots; chunk n lives in cell n
 * modulo their number. A cell says which of its slots are known, and has a chunk only if something
 * other than zero was counted. A chunk is open (64 bits a value) while it changes, then packed; one
 * that changes later, because a node was out of touch, is opened again. Sums are made in open chunks
 * only, so that rounding happens once.
 */
#include "console-api/stats_series.h"

#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"

#define MALLOC_COST 16 /* of the allocator, for each allocation */
#define LATE_S      60 /* after its end, a chunk is packed */

#define KNOWN_BITS ((1ull << STATS_CHUNK) - 1)
#define DIRTY      (1ull << 60) /* changed since stats_series_save() */
#define OPEN       (1ull << 61) /* has a chunk, which is not packed */

struct stats_chunk {
	struct list age; /* linked when packed */
	struct stats_cell *cell;
	uint32_t len; /* of data, in bytes */
	uint8_t columns;
	_Alignas(8) uint8_t data[]; /* packed columns, or uint64_t [columns][STATS_CHUNK] */
};

struct stats_cell {
	uint64_t bits; /* KNOWN_BITS, DIRTY, OPEN */
	struct stats_chunk *chunk;
};

#define RING(text, step, count)                                     \
	{                                                           \
		.name = (text), .step_s = (step), .slots = (count), \
		.chunks = (count) / STATS_CHUNK + 1                 \
	}

const struct stats_ring_spec stats_rings[STATS_RINGS] = {
	[STATS_1S] = RING("1s", 1, 900),
	[STATS_10S] = RING("10s", 10, 2160),
	[STATS_1M] = RING("1m", 60, 2880),
	[STATS_10M] = RING("10m", 600, 4320),
};

/* -- memory -- */

void stats_memory_init(struct stats_memory *m, size_t limit)
{
	*m = (struct stats_memory){.limit = limit};
	list_init(&m->series);
	for (size_t i = 0; i < STATS_RINGS; i++)
		list_init(&m->age[i]);
}

void *stats_memory_alloc(struct stats_memory *m, size_t size)
{
	m->used += size + MALLOC_COST;
	return xcalloc(1, size);
}

void stats_memory_free(struct stats_memory *m, void *p, size_t size)
{
	if (!p)
		return;
	m->used -= size + MALLOC_COST;
	free(p);
}

static struct stats_chunk *chunk_new(
	struct stats_memory *m, struct stats_cell *cell, size_t columns, size_t len)
{
	struct stats_chunk *chunk = stats_memory_alloc(m, sizeof(*chunk) + len);

	list_init(&chunk->age);
	chunk->cell = cell;
	chunk->columns = (uint8_t)columns;
	chunk->len = (uint32_t)len;
	return chunk;
}

static void chunk_free(struct stats_memory *m, struct stats_chunk *chunk)
{
	if (!chunk)
		return;
	list_del(&chunk->age);
	stats_memory_free(m, chunk, sizeof(*chunk) + chunk->len);
}

/* -- chunks -- */

static uint64_t *open_values(struct stats_chunk *chunk)
{
	return (uint64_t *)(void *)chunk->data;
}

/* Column of a chunk; zeroes where it has none. */
static void read_column(
	const struct stats_cell *cell, size_t column, uint64_t ret_values[STATS_CHUNK])
{
	const struct stats_chunk *chunk = cell->chunk;
	size_t at = 0;

	memset(ret_values, 0, STATS_CHUNK * sizeof(ret_values[0]));
	if (!chunk || column >= chunk->columns)
		return;
	if (cell->bits & OPEN) {
		memcpy(ret_values, chunk->data + column * STATS_CHUNK * sizeof(ret_values[0]),
			STATS_CHUNK * sizeof(ret_values[0]));
		return;
	}
	while (column--)
		at += stats_unpack(chunk->data + at, chunk->len - at, NULL);
	stats_unpack(chunk->data + at, chunk->len - at, ret_values);
}

/* Makes the cell's chunk one that can be added to, with at least so many columns. */
static struct stats_chunk *open_chunk(
	struct stats_memory *m, struct stats_cell *cell, size_t columns)
{
	size_t column_len = STATS_CHUNK * sizeof(uint64_t);
	struct stats_chunk *chunk = cell->chunk;

	if ((cell->bits & OPEN) && chunk->columns >= columns)
		return chunk;
	if (chunk && chunk->columns > columns)
		columns = chunk->columns;
	chunk = chunk_new(m, cell, columns, columns * column_len);
	for (size_t i = 0; cell->chunk && i < cell->chunk->columns; i++)
		read_column(cell, i, open_values(chunk) + i * STATS_CHUNK);
	chunk_free(m, cell->chunk);
	cell->chunk = chunk;
	cell->bits |= OPEN;
	return chunk;
}

/* Packs the columns of an open chunk that are not all zero at the end of them. Returns the length;
 * ret_data holds STATS_COLUMNS_MAX columns. */
static size_t pack_open(struct stats_chunk *chunk, uint8_t *ret_data, size_t *ret_columns)
{
	static const uint64_t zeroes[STATS_CHUNK];
	const uint64_t *values = open_values(chunk);
	size_t columns = chunk->columns, len = 0;

	while (columns > 0 && !memcmp(values + (columns - 1) * STATS_CHUNK, zeroes, sizeof(zeroes)))
		columns--;
	for (size_t i = 0; i < columns; i++)
		len += stats_pack(values + i * STATS_CHUNK, ret_data + len);
	*ret_columns = columns;
	return len;
}

static void pack_cell(struct stats_memory *m, struct stats_cell *cell, enum stats_ring ring)
{
	uint8_t data[STATS_COLUMNS_MAX * STATS_PACKED_MAX];
	size_t columns, len = pack_open(cell->chunk, data, &columns);
	struct stats_chunk *chunk = chunk_new(m, cell, columns, len);

	memcpy(chunk->data, data, len);
	list_add_tail(&m->age[ring], &chunk->age);
	chunk_free(m, cell->chunk);
	cell->chunk = chunk;
	cell->bits &= ~OPEN;
}

/* -- rings -- */

static size_t ring_size(enum stats_ring ring)
{
	return stats_rings[ring].chunks * sizeof(struct stats_cell);
}

static void clear_cell(struct stats_memory *m, struct stats_cell *cell)
{
	chunk_free(m, cell->chunk);
	*cell = (struct stats_cell){0};
}

static void clear_ring(struct stats_series *s, enum stats_ring ring)
{
	for (size_t i = 0; i < stats_rings[ring].chunks; i++)
		clear_cell(s->memory, &s->rings[ring].cells[i]);
}

/* Everything of one resolution goes. */
static void drop_ring(struct stats_series *s, enum stats_ring ring)
{
	if (!s->rings[ring].cells)
		return;
	clear_ring(s, ring);
	stats_memory_free(s->memory, s->rings[ring].cells, ring_size(ring));
	s->rings[ring].cells = NULL;
}

void stats_series_init(struct stats_series *s, struct stats_memory *memory, enum stats_ring finest)
{
	*s = (struct stats_series){.memory = memory, .finest = finest};
	list_add_tail(&memory->series, &s->node);
}

void stats_series_done(struct stats_series *s)
{
	for (size_t i = s->finest; i < STATS_RINGS; i++)
		drop_ring(s, (enum stats_ring)i);
	list_del(&s->node);
}

/* The finest resolution of a series that there is room for. */
static enum stats_ring finest_of(const struct stats_series *s)
{
	return s->finest > s->memory->finest ? s->finest : s->memory->finest;
}

/* Gives up packed chunks of a resolution, the oldest first; what they held becomes unknown. */
static void give_up_packed(struct stats_memory *m, enum stats_ring ring)
{
	while (m->used > m->limit && !list_empty(&m->age[ring])) {
		struct stats_chunk *oldest =
			container_of(m->age[ring].next, struct stats_chunk, age);

		*oldest->cell = (struct stats_cell){0};
		chunk_free(m, oldest);
	}
}

/* Gives up a resolution, of all series at once: nobody would understand why some of them have it and
 * others do not. */
static void give_up_ring(struct stats_memory *m, enum stats_ring ring)
{
	if (m->used <= m->limit || m->finest > ring)
		return;
	m->finest = (enum stats_ring)(ring + 1);
	list_for_each (it, &m->series)
		drop_ring(container_of(it, struct stats_series, node), ring);
}

/* What is being filled is of use to whoever watches now: it goes when only the coarsest history is
 * left besides. */
static void keep_limit(struct stats_memory *m)
{
	if (m->finest > STATS_1S && m->used < m->limit / 2)
		m->finest--;
	for (int i = STATS_1S; i < STATS_10M; i++)
		give_up_packed(m, (enum stats_ring)i);
	for (int i = STATS_1S; i < STATS_10M; i++)
		give_up_ring(m, (enum stats_ring)i);
	give_up_packed(m, STATS_10M);
}

static struct stats_cell *cell_at(const struct stats_series *s, enum stats_ring ring, uint64_t n)
{
	return &s->rings[ring].cells[n % stats_rings[ring].chunks];
}

/* Whether the ring holds chunk n now, or could. */
static bool in_ring(const struct stats_series *s, enum stats_ring ring, uint64_t n)
{
	uint64_t newest = s->rings[ring].newest;

	return s->rings[ring].cells && n <= newest && newest - n < stats_rings[ring].chunks;
}

/* The cell of chunk n, after making room for it. NULL when it is too old. */
static struct stats_cell *reach(
	struct stats_series *s, enum stats_ring ring, uint64_t n, bool rewind)
{
	unsigned int chunks = stats_rings[ring].chunks;
	uint64_t newest = s->rings[ring].newest;

	if (!s->rings[ring].cells) {
		s->rings[ring].cells = stats_memory_alloc(s->memory, ring_size(ring));
	} else if (n > newest) {
		uint64_t first = n - newest > chunks ? n - chunks + 1 : newest + 1;

		for (uint64_t i = first; i <= n; i++)
			clear_cell(s->memory, cell_at(s, ring, i));
	} else if (newest - n >= chunks) {
		if (!rewind || newest - n < 2ull * chunks)
			return NULL; /* a little late, as a node may be */
		clear_ring(s, ring);
	} else {
		return cell_at(s, ring, n);
	}
	s->rings[ring].newest = n;
	return cell_at(s, ring, n);
}

static void add_saturated(uint64_t *sum, uint64_t value)
{
	if (__builtin_add_overflow(*sum, value, sum))
		*sum = UINT64_MAX;
}

void stats_series_add(struct stats_series *s, uint64_t at_s, const uint64_t *values, size_t columns)
{
	bool nothing;

	while (columns > 0 && values[columns - 1] == 0)
		columns--;
	nothing = columns == 0;
	for (size_t r = finest_of(s); r < STATS_RINGS; r++) {
		enum stats_ring ring = (enum stats_ring)r;
		uint64_t slot = at_s / stats_rings[ring].step_s, i = slot % STATS_CHUNK;
		struct stats_cell *cell = reach(s, ring, slot / STATS_CHUNK, true);
		struct stats_chunk *chunk;

		if (!cell)
			continue;
		cell->bits |= 1ull << i | DIRTY;
		if (nothing)
			continue;
		chunk = open_chunk(s->memory, cell, columns);
		for (size_t column = 0; column < columns; column++)
			add_saturated(
				open_values(chunk) + column * STATS_CHUNK + i, values[column]);
	}
	keep_limit(s->memory);
}

void stats_series_pack(struct stats_series *s, uint64_t now_s)
{
	for (size_t r = s->finest; r < STATS_RINGS; r++) {
		enum stats_ring ring = (enum stats_ring)r;
		uint64_t slot = (now_s > LATE_S ? now_s - LATE_S : 0) / stats_rings[ring].step_s;

		for (uint64_t k = 0; s->rings[r].cells && k < stats_rings[ring].chunks; k++) {
			uint64_t n = s->rings[r].newest - k;
			struct stats_cell *cell = cell_at(s, ring, n);

			if ((cell->bits & OPEN) && n < slot / STATS_CHUNK)
				pack_cell(s->memory, cell, ring);
		}
	}
	keep_limit(s->memory);
}

void stats_series_sum(const struct stats_series *s, enum stats_ring ring, size_t column,
	uint64_t first, size_t count, uint64_t *sums, bool *known)
{
	uint64_t values[STATS_CHUNK], loaded = UINT64_MAX;
	const struct stats_cell *cell = NULL;

	for (size_t k = 0; k < count; k++) {
		uint64_t slot = first + k, n = slot / STATS_CHUNK, i = slot % STATS_CHUNK;

		if (n != loaded) {
			loaded = n;
			cell = in_ring(s, ring, n) ? cell_at(s, ring, n) : NULL;
			if (cell && cell->chunk)
				read_column(cell, column, values);
		}
		if (!cell || !(cell->bits >> i & 1))
			continue;
		known[k] = true;
		if (cell->chunk)
			add_saturated(&sums[k], values[i]);
	}
}

/* -- on disk -- */

void stats_series_save(struct stats_series *s, stats_save *save, void *ctx)
{
	uint8_t data[STATS_COLUMNS_MAX * STATS_PACKED_MAX];

	for (size_t r = s->finest; r < STATS_RINGS; r++) {
		enum stats_ring ring = (enum stats_ring)r;

		for (uint64_t k = 0; s->rings[r].cells && k < stats_rings[ring].chunks; k++) {
			struct stats_saved chunk = {.ring = ring, .number = s->rings[r].newest - k};
			struct stats_cell *cell = cell_at(s, ring, chunk.number);

			if (!(cell->bits & DIRTY))
				continue;
			cell->bits &= ~DIRTY;
			chunk.known = cell->bits & KNOWN_BITS;
			if (cell->bits & OPEN) {
				chunk.data = data;
				chunk.len = pack_open(cell->chunk, data, &chunk.columns);
			} else if (cell->chunk) {
				chunk.data = cell->chunk->data;
				chunk.len = cell->chunk->len;
				chunk.columns = cell->chunk->columns;
			}
			save(ctx, &chunk);
		}
	}
}

void stats_series_touch(struct stats_series *s)
{
	for (size_t r = s->finest; r < STATS_RINGS; r++)
		for (size_t i = 0; s->rings[r].cells && i < stats_rings[r].chunks; i++)
			if (s->rings[r].cells[i].bits)
				s->rings[r].cells[i].bits |= DIRTY;
}

static bool is_chunk(const struct stats_saved *saved)
{
	size_t at = 0;

	if (saved->ring >= STATS_RINGS || saved->known & ~KNOWN_BITS ||
		saved->columns > STATS_COLUMNS_MAX ||
		saved->number > UINT64_MAX / STATS_CHUNK / stats_rings[saved->ring].step_s)
		return false;
	for (size_t i = 0; i < saved->columns; i++) {
		size_t n = stats_unpack(saved->data + at, saved->len - at, NULL);

		if (n == 0)
			return false;
		at += n;
	}
	return at == saved->len;
}

bool stats_series_load(struct stats_series *s, const struct stats_saved *saved)
{
	struct stats_cell *cell;

	if (!is_chunk(saved) || saved->ring < s->finest)
		return false;
	if (saved->ring < s->memory->finest)
		return true; /* no room */
	cell = reach(s, saved->ring, saved->number, false);
	if (!cell)
		return true; /* too old by now */
	clear_cell(s->memory, cell);
	cell->bits = saved->known;
	if (saved->columns) {
		cell->chunk = chunk_new(s->memory, cell, saved->columns, saved->len);
		memcpy(cell->chunk->data, saved->data, saved->len);
		list_add_tail(&s->memory->age[saved->ring], &cell->chunk->age);
	}
	keep_limit(s->memory);
	return true;
}
