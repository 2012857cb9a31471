/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went over each network in each of the last seconds, from counters that only rise. Reports
 * carry it, so that the console can show single seconds without being told every second. Pure: time
 * and counters are arguments.
 */
#ifndef VAND_REPORT_SAMPLE_H
#define VAND_REPORT_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/netmap.h"

#define SAMPLE_SECONDS 30 /* that are kept: two reports may get lost */

enum sample_metric {
	SAMPLE_RX_BYTES,
	SAMPLE_TX_BYTES,
	SAMPLE_RX_PACKETS,
	SAMPLE_TX_PACKETS,
	SAMPLE_METRICS
};

struct sample_network {
	char id[NETMAP_ID_MAX + 1];
	uint64_t counters[SAMPLE_METRICS];             /* as they were at the last tick */
	uint64_t totals[SAMPLE_METRICS];               /* since this network is looked at */
	uint64_t ring[SAMPLE_SECONDS][SAMPLE_METRICS]; /* second t is at t modulo their number */
	bool seen;
};

struct sampler {
	uint64_t start_ns;
	uint64_t tick; /* whole seconds since the start: up to where everything is counted */
	uint64_t step; /* seconds that are being added: 1, or more after a standstill */
	struct sample_network *networks; /* heap */
	size_t count;
};

void sampler_init(struct sampler *s, uint64_t now_ns);
void sampler_done(struct sampler *s);

/* When the next second is full (nanoseconds). */
uint64_t sampler_due(const struct sampler *s);
/* Begins the second, or seconds, that are full by now; false when none is. Then the counters of
 * each network that there is are shown to it, then sampler_end(): further ones are forgotten.
 * Without memory a network is left out. */
bool sampler_begin(struct sampler *s, uint64_t now_ns);
void sampler_network(struct sampler *s, const char *id, const uint64_t counters[SAMPLE_METRICS]);
void sampler_end(struct sampler *s);

/* What came in the second that ended with a tick, within SAMPLE_SECONDS of the last one. */
uint64_t sample_figure(const struct sample_network *n, uint64_t tick, enum sample_metric metric);

#endif
