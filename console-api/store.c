/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/store.h"

#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

/* Arrays grow at the powers of two. */
static bool is_full(size_t count)
{
	return (count & (count - 1)) == 0;
}

void store_close(struct store *s)
{
	if (s)
		s->ops->close(s);
}

void store_on_change(struct store *s, store_changed *changed, void *ctx)
{
	if (s->subscriber_count == STORE_SUBSCRIBERS_MAX)
		abort(); /* a bug: there is a fixed number of them */
	s->subscribers[s->subscriber_count].changed = changed;
	s->subscribers[s->subscriber_count++].ctx = ctx;
}

void store_off_change(struct store *s, void *ctx)
{
	size_t n = 0;

	for (size_t i = 0; i < s->subscriber_count; i++)
		if (s->subscribers[i].ctx != ctx)
			s->subscribers[n++] = s->subscribers[i];
	s->subscriber_count = n;
}

int store_get(struct store *s, const char *key, struct store_item *ret_item)
{
	int rc = s->ops->get(s, key, ret_item);

	if (s->tracking && (rc == 0 || rc == -ENOENT))
		store_txn_expect(s->tracking, key, rc ? 0 : ret_item->mod_revision);
	return rc;
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

/* What was read of a range is to stay so: see store_track(). */
static int track_range(struct store *s, const char *from, const char *end)
{
	struct store_txn *txn = s->tracking;
	uint64_t revision;
	int rc;

	if (!txn)
		return 0;
	for (size_t i = 0; i < txn->range_count; i++)
		if (!strcmp(txn->ranges[i].from, from) && !strcmp(txn->ranges[i].end, end))
			return 0;
	rc = s->ops->revision(s, &revision);
	if (rc)
		return rc;
	if (is_full(txn->range_count))
		txn->ranges = xrealloc(txn->ranges, txn->range_count * 2 + 1, sizeof(*txn->ranges));
	txn->ranges[txn->range_count++] = (struct store_range_compare){
		.from = xstrdup(from), .end = xstrdup(end), .revision = revision};
	return 0;
}

int store_range(struct store *s, const char *prefix, const char *after, size_t limit,
	struct store_items *ret_items)
{
	CLEANUP(free) char *end = prefix_end(prefix);
	int rc = track_range(s, prefix, end);
	/* Keys hold no byte below ' ', so this is the smallest that comes after `after`. */
	CLEANUP(free) char *from = after ? xasprintf("%s\x01", after) : xstrdup(prefix);

	if (rc)
		return rc;
	return s->ops->range(s, strcmp(from, prefix) < 0 ? prefix : from, end, limit, ret_items);
}

int store_range_back(struct store *s, const char *prefix, const char *before, size_t limit,
	struct store_items *ret_items)
{
	CLEANUP(free) char *end = prefix_end(prefix);
	int rc = track_range(s, prefix, end);

	return rc ? rc
		  : s->ops->range_back(s, prefix, before && strcmp(before, end) < 0 ? before : end,
			    limit, ret_items);
}

int store_count(struct store *s, const char *prefix, uint64_t *ret_count)
{
	CLEANUP(free) char *end = prefix_end(prefix);
	int rc = track_range(s, prefix, end);

	return rc ? rc : s->ops->count(s, prefix, end, ret_count);
}

int store_writable(struct store *s)
{
	return s->ops->writable ? s->ops->writable(s) : 0;
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
	for (size_t i = 0; i < txn->range_count; i++) {
		free(txn->ranges[i].from);
		free(txn->ranges[i].end);
	}
	free(txn->compares);
	free(txn->ranges);
	free(txn->ops);
	free(txn->compare_index.slots);
	free(txn->op_index.slots);
	*txn = (struct store_txn){0};
}

/* -- the index of keys; both kinds of entry begin with a pointer to theirs -- */

static const char *key_at(const void *entries, size_t stride, size_t i)
{
	return *(char *const *)((const char *)entries + i * stride);
}

static uint32_t *slot_of(
	const struct store_index *index, const void *entries, size_t stride, const char *key)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a; the keys are our own */

	for (const char *c = key; *c; c++)
		h = (h ^ (unsigned char)*c) * 0x100000001b3u;
	for (size_t i = h & (index->size - 1);; i = (i + 1) & (index->size - 1)) {
		uint32_t at = index->slots[i];

		if (!at || !strcmp(key_at(entries, stride, at - 1), key))
			return &index->slots[i];
	}
}

static void index_fill(
	struct store_index *index, size_t size, const void *entries, size_t stride, size_t count)
{
	index->size = size;
	free(index->slots);
	index->slots = xcalloc(size, sizeof(*index->slots));
	for (size_t i = 0; i < count; i++)
		*slot_of(index, entries, stride, key_at(entries, stride, i)) = (uint32_t)i + 1;
}

/* The slot of a key, with room for one more of them. */
static uint32_t *slot_for(struct store_index *index, const void *entries, size_t stride,
	size_t count, const char *key)
{
	if (count * 2 >= index->size)
		index_fill(index, index->size ? index->size * 2 : 32, entries, stride, count);
	return slot_of(index, entries, stride, key);
}

void store_txn_expect(struct store_txn *txn, const char *key, uint64_t mod_revision)
{
	uint32_t *slot = slot_for(&txn->compare_index, txn->compares, sizeof(*txn->compares),
		txn->compare_count, key);

	/* Seen twice with different revisions: both stay, and the commit fails. */
	if (*slot && txn->compares[*slot - 1].mod_revision == mod_revision)
		return;
	if (is_full(txn->compare_count))
		txn->compares =
			xrealloc(txn->compares, txn->compare_count * 2 + 1, sizeof(*txn->compares));
	txn->compares[txn->compare_count++] =
		(struct store_compare){.key = xstrdup(key), .mod_revision = mod_revision};
	if (!*slot)
		*slot = (uint32_t)txn->compare_count;
}

static struct store_op *op_for(struct store_txn *txn, const char *key)
{
	uint32_t *slot = slot_for(&txn->op_index, txn->ops, sizeof(*txn->ops), txn->op_count, key);

	if (*slot)
		return &txn->ops[*slot - 1];
	if (is_full(txn->op_count))
		txn->ops = xrealloc(txn->ops, txn->op_count * 2 + 1, sizeof(*txn->ops));
	txn->ops[txn->op_count] = (struct store_op){.key = xstrdup(key)};
	*slot = (uint32_t)++txn->op_count;
	return &txn->ops[*slot - 1];
}

const struct store_op *store_txn_find(const struct store_txn *txn, const char *key)
{
	uint32_t at = 0;

	if (txn->op_index.size)
		at = *slot_of(&txn->op_index, txn->ops, sizeof(*txn->ops), key);
	return at ? &txn->ops[at - 1] : NULL;
}

void store_txn_rename(struct store_txn *txn, size_t at, const char *key)
{
	free(txn->ops[at].key);
	txn->ops[at].key = xstrdup(key);
	index_fill(&txn->op_index, txn->op_index.size, txn->ops, sizeof(*txn->ops), txn->op_count);
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
	uint64_t revision, began_ns = clock_boottime_ns();
	int rc;

	if (txn->op_count > s->txn_max || txn->compare_count + txn->range_count > s->txn_max)
		return -E2BIG;
	rc = s->ops->commit(s, txn, &revision);
	if (s->timed)
		s->timed(s->timed_ctx, clock_boottime_ns() - began_ns, rc);
	if (!rc && ret_revision)
		*ret_revision = revision;
	return rc;
}

void store_time_commits(struct store *s, store_timed *timed, void *ctx)
{
	s->timed = timed;
	s->timed_ctx = ctx;
}

struct store_txn *store_track(struct store *s, struct store_txn *txn)
{
	struct store_txn *before = s->tracking;

	s->tracking = txn;
	return before;
}

size_t store_txn_max(const struct store *s)
{
	return s->txn_max;
}

int store_walk(struct store *s, store_walk_take *take, void *ctx, uint64_t *ret_revision)
{
	return s->ops->walk(s, take, ctx, ret_revision);
}

/* -- several consoles on one store -- */

bool store_is_shared(const struct store *s)
{
	return s->ops->start != NULL;
}

int store_start(struct store *s, struct err *e)
{
	return s->ops->start ? s->ops->start(s, e) : 0;
}

int store_poll_fd(const struct store *s)
{
	return s->ops->poll_fd ? s->ops->poll_fd(s) : -1;
}

void store_poll(struct store *s)
{
	if (s->ops->poll)
		s->ops->poll(s);
}

int store_fresh(struct store *s)
{
	return s->ops->fresh ? s->ops->fresh(s) : 0;
}

void store_tell(
	struct store *s, uint64_t revision, const struct store_op *ops, size_t n, char *const *old)
{
	for (size_t i = 0; i < n; i++)
		store_feed_add(&s->feed, &(struct store_event){.revision = revision,
						 .kind = ops[i].kind,
						 .key = ops[i].key,
						 .value = ops[i].kind == STORE_PUT ? ops[i].value
							  : old                    ? old[i]
										   : NULL});
	for (size_t i = 0; n && i < s->subscriber_count; i++)
		s->subscribers[i].changed(s->subscribers[i].ctx, revision, ops, n);
}

void store_tell_all(struct store *s, uint64_t revision)
{
	store_feed_start(s, revision);
	for (size_t i = 0; i < s->subscriber_count; i++)
		s->subscribers[i].changed(s->subscribers[i].ctx, revision, NULL, 0);
}
