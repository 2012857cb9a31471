/* SPDX-License-Identifier: Apache-2.0 */
/* What is known: sums over series, and totals. */
#include "console-api/stats_internal.h"

#include <string.h>

static void sum(const struct stats_item *item, const struct stats_span *span, size_t column,
	uint64_t *sums, bool *known)
{
	stats_series_sum(&item->series, span->ring, column, span->first, span->count, sums, known);
}

void stats_read_network(struct stats *st, const char *net_id, const struct stats_span *span,
	enum stats_metric metric, uint64_t *sums, bool *known)
{
	const struct stats_network *n = stats_find_network(st, net_id);

	if (n)
		sum(&n->item, span, metric, sums, known);
}

void stats_read_node(struct stats *st, const char *node_id, const char *net_id,
	const struct stats_span *span, enum stats_metric metric, uint64_t *sums, bool *known)
{
	const struct stats_node *n = stats_find_node(st, node_id);

	if (!n)
		return;
	list_for_each (it, &n->members) {
		const struct stats_member *m = container_of(it, struct stats_member, node);

		if (!net_id || !strcmp(m->net_id, net_id))
			sum(&m->item, span, metric, sums, known);
	}
}

void stats_read_drops(struct stats *st, const char *node_id, const char *reason,
	const struct stats_span *span, uint64_t *sums, bool *known)
{
	const struct stats_node *n = stats_find_node(st, node_id);

	if (!n)
		return;
	if (!n->reason_count && !reason)
		sum(&n->item, span, 0, sums, known); /* none: zeroes, where that is known */
	for (size_t i = 0; i < n->reason_count; i++)
		if (!reason || !strcmp(n->reasons[i].name, reason))
			sum(&n->item, span, i, sums, known);
}

void stats_read_peer(struct stats *st, const char *node_id, const char *peer_id,
	const struct stats_span *span, enum stats_probe probe, uint64_t *sums, bool *known)
{
	const struct stats_node *n = stats_find_node(st, node_id);

	if (!n)
		return;
	list_for_each (it, &n->pairs) {
		const struct stats_pair *p = container_of(it, struct stats_pair, node);

		if (!strcmp(p->peer_id, peer_id))
			sum(&p->item, span, probe, sums, known);
	}
}

void stats_each_network_of(struct stats *st, const char *node_id, stats_visit_id *visit, void *ctx)
{
	const struct stats_node *n = stats_find_node(st, node_id);

	if (!n)
		return;
	list_for_each (it, &n->members)
		visit(ctx, container_of(it, struct stats_member, node)->net_id);
}

void stats_each_peer_of(struct stats *st, const char *node_id, stats_visit_id *visit, void *ctx)
{
	const struct stats_node *n = stats_find_node(st, node_id);

	if (!n)
		return;
	list_for_each (it, &n->pairs)
		visit(ctx, container_of(it, struct stats_pair, node)->peer_id);
}

void stats_each_reason_of(struct stats *st, const char *node_id, stats_visit_id *visit, void *ctx)
{
	const struct stats_node *n = stats_find_node(st, node_id);

	for (size_t i = 0; n && i < n->reason_count; i++)
		visit(ctx, n->reasons[i].name);
}

void stats_each_network(struct stats *st, stats_visit_network *visit, void *ctx)
{
	for (size_t i = 0; i < STATS_BUCKETS; i++)
		for (const struct stats_network *n = st->networks[i]; n; n = n->next)
			visit(ctx, n->id, n->totals);
}

void stats_each_member(struct stats *st, stats_visit_member *visit, void *ctx)
{
	for (size_t i = 0; i < STATS_BUCKETS; i++) {
		for (const struct stats_node *n = st->nodes[i]; n; n = n->next) {
			list_for_each (it, &n->members) {
				const struct stats_member *m =
					container_of(it, struct stats_member, node);

				visit(ctx, m->net_id, n->id, m->totals);
			}
		}
	}
}

void stats_each_drop(struct stats *st, stats_visit_drop *visit, void *ctx)
{
	for (size_t i = 0; i < STATS_BUCKETS; i++)
		for (const struct stats_node *n = st->nodes[i]; n; n = n->next)
			for (size_t k = 0; k < n->reason_count; k++)
				visit(ctx, n->id, n->reasons[k].name, n->reasons[k].total);
}

struct stats_size stats_size(struct stats *st)
{
	return (struct stats_size){.nodes = st->node_count,
		.series = st->series_count,
		.bytes = st->memory.used,
		.limit = st->memory.limit};
}
