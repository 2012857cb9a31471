/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/fdb.h"

#include <errno.h>
#include <stdlib.h>
#include <urcu-qsbr.h>

int fdb_init(struct fdb *fdb)
{
	return table_init(&fdb->table);
}

static void free_entry(void *ctx, uint64_t key, void *value)
{
	(void)ctx;
	(void)key;
	free(value);
}

void fdb_done(struct fdb *fdb)
{
	table_each(&fdb->table, free_entry, NULL);
	table_done(&fdb->table);
}

/* What is taken out of the table waits in here until the workers have passed. */
struct replace {
	struct fdb *fdb;
	const struct table *wanted;
	struct fdb_entry **garbage;
	size_t count;
};

static void drop_unwanted(void *ctx, uint64_t key, void *value)
{
	struct replace *r = ctx;

	if (table_get(r->wanted, key))
		return;
	table_remove(&r->fdb->table, key);
	r->garbage[r->count++] = value;
}

static int add_wanted(struct replace *r, const struct fdb_entry *entry)
{
	uint64_t key = fdb_key(entry->mac.b);
	const struct fdb_entry *there = table_get(&r->fdb->table, key);
	struct fdb_entry *copy;
	void *old;
	int rc;

	if (there && there->kind == entry->kind && there->peer == entry->peer)
		return 0;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *entry;
	rc = table_set(&r->fdb->table, key, copy, &old);
	if (rc < 0) {
		free(copy);
		return rc;
	}
	if (old)
		r->garbage[r->count++] = old;
	return 0;
}

int fdb_replace(struct fdb *fdb, const struct fdb_entry *entries, size_t count)
{
	struct table wanted;
	struct replace r = {.fdb = fdb, .wanted = &wanted};
	int rc;

	rc = table_init(&wanted);
	if (rc < 0)
		return rc;
	r.garbage = calloc(fdb->table.used + count + 1, sizeof(*r.garbage));
	if (!r.garbage) {
		table_done(&wanted);
		return -ENOMEM;
	}
	for (size_t i = 0; rc == 0 && i < count; i++) {
		uint64_t key = fdb_key(entries[i].mac.b);

		if (table_get(&wanted, key))
			continue; /* the first owner keeps it */
		rc = table_set(&wanted, key, (void *)&entries[i], NULL);
		if (rc == 0)
			rc = add_wanted(&r, &entries[i]);
	}
	if (rc == 0)
		table_each(&fdb->table, drop_unwanted, &r);
	if (r.count)
		synchronize_rcu();
	for (size_t i = 0; i < r.count; i++)
		free(r.garbage[i]);
	free(r.garbage);
	table_done(&wanted);
	return rc;
}

struct each {
	void (*visit)(void *ctx, const struct fdb_entry *entry);
	void *ctx;
};

static void visit_entry(void *ctx, uint64_t key, void *value)
{
	const struct each *each = ctx;

	(void)key;
	each->visit(each->ctx, value);
}

void fdb_each(struct fdb *fdb, void (*visit)(void *ctx, const struct fdb_entry *entry), void *ctx)
{
	struct each each = {.visit = visit, .ctx = ctx};

	table_each(&fdb->table, visit_entry, &each);
}
