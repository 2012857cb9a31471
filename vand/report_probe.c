/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/report_probe.h"

#include <stdlib.h>

void prober_init(struct prober *p, uint64_t first_token)
{
	*p = (struct prober){.token = first_token};
}

void prober_done(struct prober *p)
{
	free(p->peers);
	free(p->next);
	*p = (struct prober){.token = p->token};
}

static int by_ref(const void *a, const void *b)
{
	uint32_t x = ((const struct probe_peer *)a)->ref, y = ((const struct probe_peer *)b)->ref;

	return x < y ? -1 : x > y;
}

static struct probe_peer *find(struct prober *p, uint32_t ref)
{
	struct probe_peer key = {.ref = ref};

	return p->count ? bsearch(&key, p->peers, p->count, sizeof(key), by_ref) : NULL;
}

void prober_peer(struct prober *p, uint32_t ref, uint64_t bytes)
{
	const struct probe_peer *had = find(p, ref);
	struct probe_peer *peer;

	/* Grown by doubling: full when the count is a power of two, or 0. */
	if ((p->next_count & (p->next_count - 1)) == 0) {
		size_t size = p->next_count ? 2 * p->next_count : 1;
		struct probe_peer *grown = realloc(p->next, size * sizeof(*grown));

		if (!grown)
			return;
		p->next = grown;
	}
	peer = &p->next[p->next_count++];
	*peer = had ? *had : (struct probe_peer){.ref = ref, .bytes = bytes};
	peer->busy = bytes - peer->bytes >= PROBE_BYTES_MIN;
	peer->bytes = bytes;
}

/* The busy ones that were asked longest ago. */
static void fill_queue(struct prober *p)
{
	size_t places[PROBES_INTERVAL];

	p->queued = 0;
	p->queue_at = 0;
	for (size_t i = 0; i < p->count; i++) {
		size_t at = p->queued;

		if (!p->peers[i].busy)
			continue;
		while (at > 0 && p->peers[places[at - 1]].asked_tick > p->peers[i].asked_tick) {
			if (at < PROBES_INTERVAL)
				places[at] = places[at - 1];
			at--;
		}
		if (at == PROBES_INTERVAL)
			continue;
		places[at] = i;
		if (p->queued < PROBES_INTERVAL)
			p->queued++;
	}
	for (size_t i = 0; i < p->queued; i++)
		p->queue[i] = p->peers[places[i]].ref;
}

void prober_end(struct prober *p)
{
	free(p->peers);
	p->peers = p->next;
	p->count = p->next_count;
	p->next = NULL;
	p->next_count = 0;
	if (p->count)
		qsort(p->peers, p->count, sizeof(*p->peers), by_ref);
	fill_queue(p);
}

static void decide(struct prober *p, size_t i, bool answered, uint64_t rtt_ns)
{
	struct probe_peer *peer = find(p, p->waiting[i].ref);

	p->waiting[i].ref = 0;
	if (!peer)
		return;
	peer->sent++;
	if (!answered)
		return;
	peer->answered++;
	peer->rtt_ns += rtt_ns;
}

void prober_expire(struct prober *p, uint64_t tick)
{
	for (size_t i = 0; i < PROBES_INTERVAL; i++)
		if (p->waiting[i].ref && tick - p->waiting[i].tick >= PROBE_TIMEOUT_S)
			decide(p, i, false, 0);
}

bool prober_next(struct prober *p, uint32_t *ret_ref, uint64_t *ret_token)
{
	if (p->queue_at == p->queued)
		return false;
	*ret_ref = p->queue[p->queue_at++];
	*ret_token = p->token++;
	return true;
}

void prober_sent(struct prober *p, uint32_t ref, uint64_t token, uint64_t tick)
{
	struct probe_peer *peer = find(p, ref);

	if (peer)
		peer->asked_tick = tick;
	/* There is a place: PROBE_TIMEOUT_S is less than an interval. */
	for (size_t i = 0; i < PROBES_INTERVAL; i++) {
		if (p->waiting[i].ref)
			continue;
		p->waiting[i].token = token;
		p->waiting[i].ref = ref;
		p->waiting[i].tick = tick;
		return;
	}
}

void prober_answered(struct prober *p, uint32_t ref, uint64_t token, uint64_t rtt_ns)
{
	for (size_t i = 0; i < PROBES_INTERVAL; i++)
		if (p->waiting[i].ref == ref && p->waiting[i].token == token)
			decide(p, i, true, rtt_ns);
}

size_t prober_results(struct prober *p, struct probe_result ret_results[PROBE_RESULTS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < p->count && n < PROBE_RESULTS_MAX; i++) {
		struct probe_peer *peer = &p->peers[i];

		if (!peer->sent)
			continue;
		ret_results[n++] = (struct probe_result){.ref = peer->ref,
			.sent = peer->sent,
			.answered = peer->answered,
			.rtt_us = peer->answered ? peer->rtt_ns / peer->answered / 1000 : 0};
		peer->sent = 0;
		peer->answered = 0;
		peer->rtt_ns = 0;
	}
	return n;
}
