/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the statistics that a console has after a month: of a network and its nodes, each with traffic
 * and drops in every second of 30 days and with four peers, never twice the same figures. What exceeds
 * the memory is given up as the console itself does it (console-api/stats_series.h).
 *
 *   statsfill FILE MEGABYTES <IDS
 *
 * FILE is stats.db of a state directory that no console uses, MEGABYTES its stats_memory_mb, IDS the
 * network's id and those of the nodes, one in a line.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/stats_file.h"
#include "console-api/stats_internal.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

#define NODES_MAX 20000
#define PEERS     4 /* as those of agentload */

struct ids {
	char (*text)[NETMAP_ID_MAX + 1]; /* heap; the network's first */
	size_t count;
};

__attribute__((noreturn)) static void give_up(const char *what)
{
	fprintf(stderr, "statsfill: %s\n", what);
	exit(1);
}

static struct ids read_ids(void)
{
	struct ids ids = {.text = calloc(NODES_MAX + 1, sizeof(*ids.text))};
	char line[NETMAP_ID_MAX + 2];

	if (!ids.text)
		abort();
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (ids.count > NODES_MAX || !line[0])
			give_up("these are no ids");
		memcpy(ids.text[ids.count++], line, strlen(line) + 1);
	}
	if (ids.count < 2 + PEERS)
		give_up("these are too few ids");
	return ids;
}

struct filled {
	struct stats_item *item;
	size_t columns;
};

/* A whole chunk of a ring. */
static void fill_chunk(const struct filled *f, enum stats_ring ring, uint64_t number)
{
	struct stats_saved chunk = {.ring = ring,
		.number = number,
		.known = (1ull << STATS_CHUNK) - 1,
		.columns = f->columns};
	uint8_t data[STATS_METRICS * STATS_PACKED_MAX];

	for (size_t i = 0; i < f->columns; i++) {
		uint64_t values[STATS_CHUNK];
		uint32_t random[STATS_CHUNK];

		randombytes_buf(random, sizeof(random));
		for (size_t k = 0; k < STATS_CHUNK; k++)
			values[k] = stats_rings[ring].step_s * (1ull + random[k] % (1u << 27));
		chunk.len += stats_pack(values, data + chunk.len);
	}
	chunk.data = data;
	if (!stats_series_load(&f->item->series, &chunk))
		give_up("a chunk is not taken");
}

/* All that is over by now, in the order of time; what is going on is for the console. The coarsest
 * first: what there is no room for besides need not be made. */
static void fill(struct stats *st, const struct filled *items, size_t count, uint64_t now_s)
{
	for (int r = STATS_RINGS - 1; r >= (int)st->memory.finest; r--) {
		uint64_t now = now_s / stats_rings[r].step_s / STATS_CHUNK;

		for (uint64_t n = now + 1 - stats_rings[r].chunks; n < now; n++)
			for (size_t i = 0; i < count; i++)
				if (items[i].item->series.finest <= (enum stats_ring)r)
					fill_chunk(&items[i], (enum stats_ring)r, n);
	}
	for (size_t i = 0; i < count; i++) {
		stats_series_touch(&items[i].item->series);
		stats_changed(st, items[i].item);
	}
}

/* Adds a node's series to the list. Returns how many there are then. */
static size_t make_node(
	struct stats *st, const struct ids *ids, size_t i, struct filled *items, size_t count)
{
	struct stats_node *n = stats_make_node(st, ids->text[1 + i]);
	size_t nodes = ids->count - 1;

	stats_make_reason(st, n, "bad_tag");
	items[count++] = (struct filled){&n->item, 1};
	items[count++] =
		(struct filled){&stats_make_member(st, n, ids->text[0])->item, STATS_METRICS};
	for (size_t k = 1; k <= PEERS; k++) {
		struct stats_pair *p = stats_make_pair(st, n, ids->text[1 + (i + k) % nodes], 0);

		if (p)
			items[count++] = (struct filled){&p->item, STATS_PROBES};
	}
	return count;
}

static void make_all(struct stats *st, const struct ids *ids, uint64_t now_s)
{
	CLEANUP(free)
	struct filled *items = calloc(1 + (ids->count - 1) * (2 + PEERS), sizeof(*items));
	size_t count = 0;

	if (!items)
		abort();
	items[count++] =
		(struct filled){&stats_make_network(st, ids->text[0])->item, STATS_METRICS};
	for (size_t i = 0; i + 1 < ids->count; i++)
		count = make_node(st, ids, i, items, count);
	fill(st, items, count, now_s);
}

int main(int argc, char **argv)
{
	uint64_t now_s = clock_wall_ns() / NS_PER_S;
	size_t limit = argc == 3 ? strtoul(argv[2], NULL, 10) << 20 : 0;
	struct stats_file *file;
	struct stats_size size;
	struct err e = {0};
	struct stats *st;
	struct ids ids;
	int rc;

	if (sodium_init() < 0 || !limit)
		give_up("usage: statsfill FILE MEGABYTES <IDS");
	ids = read_ids();
	st = stats_new(limit);
	if (stats_file_open(argv[1], st, 0, &file, &e))
		give_up(e.text);
	stats_lock(st);
	make_all(st, &ids, now_s);
	stats_unlock(st);
	rc = stats_file_save(file, now_s);
	size = stats_size(st);
	printf("%zu series, %zu of %zu bytes\n", size.series, size.bytes, size.limit);
	stats_file_close(file);
	stats_free(st);
	free(ids.text);
	return rc ? 1 : 0;
}
