/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/soft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/agent_view.h"
#include "console-api/xalloc.h"

#define BUCKETS 4096 /* chains stay short into the tens of thousands of nodes */

struct soft {
	struct soft_node *buckets[BUCKETS];
};

static size_t bucket_of(const char *id)
{
	uint32_t h = 2166136261u; /* FNV-1a; ids are made here, nobody else chooses them */

	while (*id)
		h = (h ^ (unsigned char)*id++) * 16777619u;
	return h % BUCKETS;
}

static void node_free(struct soft_node *n)
{
	agent_view_free(n->view);
	free(n);
}

struct soft *soft_new(void)
{
	return xcalloc(1, sizeof(struct soft));
}

void soft_free(struct soft *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		while (s->buckets[i]) {
			struct soft_node *n = s->buckets[i];

			s->buckets[i] = n->next;
			node_free(n);
		}
	}
	free(s);
}

static struct soft_node *find(const struct soft *s, const char *id)
{
	for (struct soft_node *n = s->buckets[bucket_of(id)]; n; n = n->next)
		if (!strcmp(n->id, id))
			return n;
	return NULL;
}

const struct soft_node *soft_find(const struct soft *s, const char *id)
{
	return find(s, id);
}

struct soft_node *soft_node(struct soft *s, const char *id)
{
	struct soft_node **bucket = &s->buckets[bucket_of(id)];
	struct soft_node *n = find(s, id);

	if (n)
		return n;
	n = xcalloc(1, sizeof(*n));
	snprintf(n->id, sizeof(n->id), "%s", id);
	n->next = *bucket;
	*bucket = n;
	return n;
}

void soft_forget(struct soft *s, const char *id)
{
	for (struct soft_node **at = &s->buckets[bucket_of(id)]; *at; at = &(*at)->next) {
		if (!strcmp((*at)->id, id)) {
			struct soft_node *n = *at;

			*at = n->next;
			node_free(n);
			return;
		}
	}
}

void soft_doubt_view(struct soft *s, const char *id)
{
	struct soft_node *n = find(s, id);

	if (n && n->view)
		n->view->stale = true;
}

void soft_doubt_instance(struct soft *s, const char *id)
{
	struct soft_node *n = find(s, id);

	if (n)
		n->instance = 0;
}

void soft_doubt_all(struct soft *s)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct soft_node *n = s->buckets[i]; n; n = n->next) {
			n->instance = 0;
			if (n->view)
				n->view->stale = true;
		}
	}
}

void soft_seen(struct soft *s, const char *id, uint64_t now_ns, uint64_t wall_ns)
{
	struct soft_node *n = soft_node(s, id);

	n->seen_ns = now_ns;
	n->seen_wall_ns = wall_ns;
}

/* due_ns is when what was spent is there again as a whole. */
bool soft_may(uint64_t due_ns, const struct soft_budget *b, uint64_t now_ns)
{
	return due_ns <= now_ns + (b->burst - 1) * b->each_ns;
}

void soft_spend(uint64_t *due_ns, const struct soft_budget *b, uint64_t now_ns)
{
	*due_ns = (*due_ns > now_ns ? *due_ns : now_ns) + b->each_ns;
}

void soft_each(struct soft *s, void (*visit)(void *ctx, struct soft_node *n), void *ctx)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct soft_node *n = s->buckets[i]; n; n = n->next)
			visit(ctx, n);
}

bool soft_online(const struct soft *s, const char *id, uint64_t now_ns)
{
	const struct soft_node *n = soft_find(s, id);

	return n && n->seen_ns && now_ns - n->seen_ns < SOFT_ONLINE_NS;
}
