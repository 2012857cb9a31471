/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/soft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
			free(n);
		}
	}
	free(s);
}

const struct soft_node *soft_find(const struct soft *s, const char *id)
{
	for (const struct soft_node *n = s->buckets[bucket_of(id)]; n; n = n->next)
		if (!strcmp(n->id, id))
			return n;
	return NULL;
}

struct soft_node *soft_node(struct soft *s, const char *id)
{
	struct soft_node **bucket = &s->buckets[bucket_of(id)];
	struct soft_node *n;

	for (n = *bucket; n; n = n->next)
		if (!strcmp(n->id, id))
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
			free(n);
			return;
		}
	}
}

void soft_seen(struct soft *s, const char *id, uint64_t now_ns, uint64_t wall_ns)
{
	struct soft_node *n = soft_node(s, id);

	n->seen_ns = now_ns;
	n->seen_wall_ns = wall_ns;
}

bool soft_online(const struct soft *s, const char *id, uint64_t now_ns)
{
	const struct soft_node *n = soft_find(s, id);

	return n && n->seen_ns && now_ns - n->seen_ns < SOFT_ONLINE_NS;
}
