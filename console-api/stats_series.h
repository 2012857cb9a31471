/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A time series: what was counted in each slot of time, at four resolutions, in bounded memory. It
 * has columns (metrics) that are counted together: a slot is known for all of them or for none.
 *
 *   1 s × 15 min   10 s × 6 h   1 min × 2 days   10 min × 30 days
 *
 * What it takes: the table of cells, 2.8 KB, and for each 60 slots in which anything but zero was
 * counted a packed chunk of 48 bytes and at most 2 bytes for each value (stats_pack.h). A series with
 * four columns that are never the same twice, after 30 days: 105 KB.
 *
 * All memory is counted in a struct stats_memory. When that is over its limit, packed chunks are
 * given up, the finest resolution first and the oldest of it first, for all series alike. When only
 * those of the coarsest are left, the finest resolution is given up as a whole, then the next one,
 * and comes back once half of the limit suffices without it. The coarsest always stays: it takes
 * 3.1 KB of a busy series with four columns.
 *
 * Times are seconds since 1970. Pure: reads no clock, does no I/O.
 */
#ifndef CONSOLE_API_STATS_SERIES_H
#define CONSOLE_API_STATS_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "console-api/stats_pack.h"
#include "lib/list.h"

enum stats_ring { STATS_1S, STATS_10S, STATS_1M, STATS_10M, STATS_RINGS };

struct stats_ring_spec {
	const char *name;
	unsigned int step_s;
	unsigned int slots;  /* that are kept */
	unsigned int chunks; /* slots / STATS_CHUNK, and the one that is being filled */
};
extern const struct stats_ring_spec stats_rings[STATS_RINGS];

#define STATS_COLUMNS_MAX 64

struct stats_memory {
	size_t used;                  /* bytes */
	size_t limit;                 /* packed chunks give way beyond it */
	enum stats_ring finest;       /* of those that there is room for */
	struct list age[STATS_RINGS]; /* packed chunks, in the order in which they were packed */
	struct list series;           /* all of them */
};
void stats_memory_init(struct stats_memory *m, size_t limit);
/* Counted allocation of zeroes; aborts without memory. stats_memory_free() takes what the size was. */
void *stats_memory_alloc(struct stats_memory *m, size_t size);
void stats_memory_free(struct stats_memory *m, void *p, size_t size);

struct stats_cell;
struct stats_series {
	struct stats_memory *memory; /* borrowed */
	struct list node;            /* in its series */
	enum stats_ring finest;      /* coarser ones than this are kept, and it itself */
	struct {
		uint64_t newest;          /* number of the newest chunk: its first slot / 60 */
		struct stats_cell *cells; /* NULL: nothing yet */
	} rings[STATS_RINGS];
};

void stats_series_init(struct stats_series *s, struct stats_memory *memory, enum stats_ring finest);
void stats_series_done(struct stats_series *s);

/* Adds to the second that begins at at_s; counters stop at their largest value. What is older than
 * a ring reaches back is not counted there, unless the whole ring lies far in the future (the clock
 * was set back): then it begins anew. */
void stats_series_add(
	struct stats_series *s, uint64_t at_s, const uint64_t *values, size_t columns);
/* Packs the chunks that will hardly change any more. Call it now and then. */
void stats_series_pack(struct stats_series *s, uint64_t now_s);

/* Adds slots first…first + count - 1 (of step_s each) of a column to sums, and sets known for those
 * of which something is known. */
void stats_series_sum(const struct stats_series *s, enum stats_ring ring, size_t column,
	uint64_t first, size_t count, uint64_t *sums, bool *known);

/* -- to keep it on disk -- */

/* A chunk as it is kept: columns packed one after the other; further ones are zero. */
struct stats_saved {
	enum stats_ring ring;
	uint64_t number; /* of the chunk */
	uint64_t known;  /* bit i: slot i */
	size_t columns;
	const uint8_t *data;
	size_t len;
};
typedef void stats_save(void *ctx, const struct stats_saved *chunk);
/* Hands out all chunks that have changed since it was called last. */
void stats_series_save(struct stats_series *s, stats_save *save, void *ctx);
/* Everything counts as changed. */
void stats_series_touch(struct stats_series *s);
/* Takes one back; to be called in rising order of numbers. False when the data is no chunk. */
bool stats_series_load(struct stats_series *s, const struct stats_saved *chunk);

#endif
