/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/report_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/clock.h"

void sampler_init(struct sampler *s, uint64_t now_ns)
{
	*s = (struct sampler){.start_ns = now_ns};
}

void sampler_done(struct sampler *s)
{
	free(s->networks);
	s->networks = NULL;
	s->count = 0;
}

uint64_t sampler_due(const struct sampler *s)
{
	return s->start_ns + (s->tick + 1) * NS_PER_S;
}

bool sampler_begin(struct sampler *s, uint64_t now_ns)
{
	if (now_ns < sampler_due(s))
		return false;
	s->step = (now_ns - s->start_ns) / NS_PER_S - s->tick;
	s->tick += s->step;
	for (size_t i = 0; i < s->count; i++)
		s->networks[i].seen = false;
	return true;
}

static struct sample_network *find(struct sampler *s, const char *id)
{
	struct sample_network *grown;

	for (size_t i = 0; i < s->count; i++)
		if (!strcmp(s->networks[i].id, id))
			return &s->networks[i];
	grown = realloc(s->networks, (s->count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	s->networks = grown;
	grown[s->count] = (struct sample_network){0};
	snprintf(grown[s->count].id, sizeof(grown->id), "%s", id);
	return &grown[s->count++];
}

void sampler_network(struct sampler *s, const char *id, const uint64_t counters[SAMPLE_METRICS])
{
	struct sample_network *n = find(s, id);

	if (!n)
		return;
	n->seen = true;
	for (size_t m = 0; m < SAMPLE_METRICS; m++) {
		/* Smaller than before: the network was left and joined again in between. */
		uint64_t delta =
			counters[m] >= n->counters[m] ? counters[m] - n->counters[m] : counters[m];
		uint64_t share = delta / s->step, extra = delta % s->step;

		n->counters[m] = counters[m];
		n->totals[m] += delta;
		for (uint64_t i = 0; i < s->step && i < SAMPLE_SECONDS; i++)
			n->ring[(s->tick - i) % SAMPLE_SECONDS][m] = share + (i < extra);
	}
}

void sampler_end(struct sampler *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->count; i++) {
		if (!s->networks[i].seen)
			continue;
		if (kept != i)
			s->networks[kept] = s->networks[i];
		kept++;
	}
	s->count = kept;
}

uint64_t sample_figure(const struct sample_network *n, uint64_t tick, enum sample_metric metric)
{
	return n->ring[tick % SAMPLE_SECONDS][metric];
}
