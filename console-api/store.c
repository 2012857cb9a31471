/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/store.h"

#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"
#include "lib/cleanup.h"

void store_close(struct store *s)
{
	if (s)
		s->ops->close(s);
}

void store_on_change(struct store *s, store_changed *changed, void *ctx)
{
	s->changed = changed;
	s->changed_ctx = ctx;
}

int store_get(struct store *s, const char *key, struct store_item *ret_item)
{
	return s->ops->get(s, key, ret_item);
}

void store_item_done(struct store_item *item)
{
	free(item->key);
	free(item->value);
	*item = (struct store_item){0};
}

void store_items_done(struct store_items *items)
{
	for (size_t i = 0; i < items->count; i++)
		store_item_done(&items->items[i]);
	free(items->items);
	*items = (struct store_items){0};
}

/* The first key after all that start with the prefix. Keys are ASCII, so the last byte can be
 * raised by one; the empty prefix means everything. */
static char *prefix_end(const char *prefix)
{
	char *end = xstrdup(prefix[0] ? prefix : "\x7e");

	end[strlen(end) - 1]++;
	return end;
}

int store_range(struct store *s, const char *prefix, const char *after, size_t limit,
	struct store_items *ret_items)
{
	CLEANUP(free) char *end = prefix_end(prefix);
	/* Keys hold no byte below ' ', so this is the smallest that comes after `after`. */
	CLEANUP(free) char *from = after ? xasprintf("%s\x01", after) : xstrdup(prefix);

	return s->ops->range(s, strcmp(from, prefix) < 0 ? prefix : from, end, limit, ret_items);
}

int store_count(struct store *s, const char *prefix, uint64_t *ret_count)
{
	CLEANUP(free) char *end = prefix_end(prefix);

	return s->ops->count(s, prefix, end, ret_count);
}

int store_revision(struct store *s, uint64_t *ret_revision)
{
	return s->ops->revision(s, ret_revision);
}

void store_txn_init(struct store_txn *txn)
{
	*txn = (struct store_txn){0};
}

void store_txn_done(struct store_txn *txn)
{
	for (size_t i = 0; i < txn->compare_count; i++)
		free(txn->compares[i].key);
	for (size_t i = 0; i < txn->op_count; i++) {
		free(txn->ops[i].key);
		free(txn->ops[i].value);
	}
	free(txn->compares);
	free(txn->ops);
	free(txn->index);
	*txn = (struct store_txn){0};
}

/* Arrays grow at the powers of two. */
static bool is_full(size_t count)
{
	return (count & (count - 1)) == 0;
}

void store_txn_expect(struct store_txn *txn, const char *key, uint64_t mod_revision)
{
	if (is_full(txn->compare_count))
		txn->compares =
			xrealloc(txn->compares, txn->compare_count * 2 + 1, sizeof(*txn->compares));
	txn->compares[txn->compare_count++] =
		(struct store_compare){.key = xstrdup(key), .mod_revision = mod_revision};
}

static uint32_t *index_slot(const struct store_txn *txn, const char *key)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a; the keys are our own */

	for (const char *c = key; *c; c++)
		h = (h ^ (unsigned char)*c) * 0x100000001b3u;
	for (size_t i = h & (txn->index_size - 1);; i = (i + 1) & (txn->index_size - 1)) {
		uint32_t at = txn->index[i];

		if (!at || !strcmp(txn->ops[at - 1].key, key))
			return &txn->index[i];
	}
}

static struct store_op *op_for(struct store_txn *txn, const char *key)
{
	uint32_t *slot;

	if (txn->op_count * 2 >= txn->index_size) {
		txn->index_size = txn->index_size ? txn->index_size * 2 : 32;
		free(txn->index);
		txn->index = xcalloc(txn->index_size, sizeof(*txn->index));
		for (size_t i = 0; i < txn->op_count; i++)
			*index_slot(txn, txn->ops[i].key) = (uint32_t)i + 1;
	}
	slot = index_slot(txn, key);
	if (*slot)
		return &txn->ops[*slot - 1];
	if (is_full(txn->op_count))
		txn->ops = xrealloc(txn->ops, txn->op_count * 2 + 1, sizeof(*txn->ops));
	txn->ops[txn->op_count] = (struct store_op){.key = xstrdup(key)};
	*slot = (uint32_t)++txn->op_count;
	return &txn->ops[*slot - 1];
}

void store_txn_put(struct store_txn *txn, const char *key, const char *value)
{
	struct store_op *op = op_for(txn, key);

	free(op->value);
	op->kind = STORE_PUT;
	op->value = xstrdup(value);
}

void store_txn_delete(struct store_txn *txn, const char *key)
{
	struct store_op *op = op_for(txn, key);

	free(op->value);
	op->kind = STORE_DELETE;
	op->value = NULL;
}

int store_commit(struct store *s, const struct store_txn *txn, uint64_t *ret_revision)
{
	uint64_t revision;
	int rc = s->ops->commit(s, txn, &revision);

	if (rc)
		return rc;
	if (ret_revision)
		*ret_revision = revision;
	if (s->changed)
		s->changed(s->changed_ctx, revision, txn->ops, txn->op_count);
	return 0;
}
