/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed is a ring of the latest changes. When it is full, or holds too many bytes, the oldest
 * go, and with the first event of a transaction the whole of it counts as gone: `oldest` is then
 * its revision. Revisions in the ring rise, so where to go on is found by halving.
 */
#include <stdlib.h>
#include <string.h>
#include "console-api/store.h"
#include "console-api/xalloc.h"

struct store_kept {
	uint64_t revision;
	enum store_op_kind kind;
	char *key;   /* heap */
	char *value; /* heap or NULL */
	size_t bytes;
};

static struct store_kept *kept_at(const struct store_feed *feed, size_t i)
{
	return &feed->kept[(feed->first + i) % STORE_FEED_EVENTS];
}

static void drop_first(struct store_feed *feed)
{
	struct store_kept *k = kept_at(feed, 0);

	feed->oldest = k->revision;
	feed->bytes -= k->bytes;
	free(k->key);
	free(k->value);
	feed->first = (feed->first + 1) % STORE_FEED_EVENTS;
	feed->count--;
}

void store_feed_done(struct store_feed *feed)
{
	while (feed->count)
		drop_first(feed);
	free(feed->kept);
	feed->kept = NULL;
}

void store_feed_start(struct store *s, uint64_t revision)
{
	store_feed_done(&s->feed);
	s->feed = (struct store_feed){.oldest = revision};
}

void store_feed_add(struct store_feed *feed, const struct store_event *event)
{
	size_t bytes = strlen(event->key) + (event->value ? strlen(event->value) : 0);

	if (!feed->kept)
		feed->kept = xcalloc(STORE_FEED_EVENTS, sizeof(*feed->kept));
	while (feed->count &&
		(feed->count == STORE_FEED_EVENTS || feed->bytes + bytes > STORE_FEED_BYTES))
		drop_first(feed);
	*kept_at(feed, feed->count++) = (struct store_kept){
		.revision = event->revision,
		.kind = event->kind,
		.key = xstrdup(event->key),
		.value = event->value ? xstrdup(event->value) : NULL,
		.bytes = bytes,
	};
	feed->bytes += bytes;
}

/* The place of the first one after the revision. */
static size_t first_after(const struct store_feed *feed, uint64_t revision)
{
	size_t low = 0, high = feed->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (kept_at(feed, middle)->revision <= revision)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int store_feed_since(struct store *s, uint64_t after, size_t max, store_feed_take *take, void *ctx,
	uint64_t *ret_revision)
{
	const struct store_feed *feed = &s->feed;
	uint64_t told = after;
	size_t n = 0;

	if (after < feed->oldest)
		return -VAN_E_GONE;
	for (size_t i = first_after(feed, after); i < feed->count; i++, n++) {
		const struct store_kept *k = kept_at(feed, i);

		if (k->revision != told && max && n >= max)
			break;
		told = k->revision;
		take(ctx, &(struct store_event){.revision = k->revision,
				  .kind = k->kind,
				  .key = k->key,
				  .value = k->value});
	}
	*ret_revision = told;
	return 0;
}

uint64_t store_feed_oldest(const struct store *s)
{
	return s->feed.oldest;
}
