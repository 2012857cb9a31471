/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: each sender has a table of places, found by a hash of the nonce, the next free one
 * after it. Nothing is ever taken out of a table, so a search ends at the first free place. When four
 * fifths of the places are taken, another table is made of those that have not run out, with twice
 * as many places as there are of them: larger, smaller or as large as the one before. The same
 * happens after TIDY_S, for a table that a burst has left too large.
 *
 * Senders stand in a list by when they were last heard. Each nonce that is taken looks at the first
 * ones, and frees those of which all nonces have run out. So nothing has to be called from time to
 * time, and there is no turn in which everything is swept.
 *
 * A sender is a keyed hash of his name. Where two had the same (2^-64) they would share a table.
 */
#include "console-api/nonce.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"
#include "lib/list.h"

#define BUCKETS    4096u
#define PLACES_MIN 16u
#define TIDY_S     600
#define SWEEP      2 /* senders that a nonce looks at: more than one, so that they are freed in time */

struct place {
	uint8_t bytes[NONCE_LEN];
	uint32_t until; /* seconds since 1970 modulo 2^32; 0: free */
};

struct sender {
	struct sender *next; /* in its bucket */
	struct list heard;   /* in nonces->heard */
	uint64_t hash;
	uint64_t last_s; /* when the last of its nonces runs out */
	uint64_t made_s; /* the table */
	uint32_t count, taken;
	struct place *places;
};

struct nonces {
	unsigned char hash_key[crypto_shorthash_KEYBYTES];
	size_t limit, each_max, bytes, senders;
	struct list heard; /* the one heard longest ago first */
	struct sender *buckets[BUCKETS];
};

struct nonces *nonces_new(size_t limit, size_t each_max)
{
	struct nonces *t = xcalloc(1, sizeof(*t));

	crypto_shorthash_keygen(t->hash_key);
	t->limit = limit;
	t->each_max = each_max;
	list_init(&t->heard);
	return t;
}

static uint64_t hash_of(const struct nonces *t, const void *data, size_t len)
{
	uint64_t hash;

	crypto_shorthash((unsigned char *)&hash, data, len, t->hash_key);
	return hash;
}

static size_t table_size(size_t places)
{
	return places * sizeof(struct place);
}

static void free_sender(struct nonces *t, struct sender *s)
{
	struct sender **at = &t->buckets[s->hash % BUCKETS];

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	list_del(&s->heard);
	t->bytes -= sizeof(*s) + table_size(s->count);
	t->senders--;
	free(s->places);
	free(s);
}

void nonces_free(struct nonces *t)
{
	if (!t)
		return;
	list_for_each_safe (it, &t->heard)
		free_sender(t, container_of(it, struct sender, heard));
	free(t);
}

struct nonces_size nonces_size(const struct nonces *t)
{
	return (struct nonces_size){.senders = t->senders, .bytes = t->bytes};
}

static bool has_run_out(uint64_t until_s, uint64_t now_s)
{
	return until_s < now_s;
}

/* The same of a place: what it holds is never far from now, so 32 bits do. */
static bool is_old(const struct place *p, uint64_t now_s)
{
	return (int32_t)(p->until - (uint32_t)now_s) < 0;
}

/* -- tables -- */

static struct place *place_at(const struct nonces *t, const struct sender *s, const uint8_t *nonce)
{
	return &s->places[hash_of(t, nonce, NONCE_LEN) % s->count];
}

static struct place *place_after(const struct sender *s, struct place *p)
{
	return p + 1 == s->places + s->count ? s->places : p + 1;
}

/* In the first free place: there is one. */
static void put(struct nonces *t, struct sender *s, const uint8_t *nonce, uint32_t until)
{
	struct place *p = place_at(t, s, nonce);

	while (p->until)
		p = place_after(s, p);
	memcpy(p->bytes, nonce, NONCE_LEN);
	p->until = until;
	s->taken++;
}

static bool is_remembered(
	const struct nonces *t, const struct sender *s, const uint8_t *nonce, uint64_t now_s)
{
	for (struct place *p = place_at(t, s, nonce); p->until; p = place_after(s, p))
		if (!is_old(p, now_s) && !memcmp(p->bytes, nonce, NONCE_LEN))
			return true;
	return false;
}

/* Whether there is memory for so many places instead of those that it has. */
static bool may_have(const struct nonces *t, const struct sender *s, size_t places)
{
	size_t limit = places > NONCE_FEW ? t->limit - t->limit / 8 : t->limit;
	size_t bytes = t->bytes + table_size(places) - table_size(s->count);

	return places <= s->count || bytes <= limit;
}

/* The most that a table may hold of its places. */
static size_t most_of(size_t places)
{
	return places / 5 * 4;
}

static size_t places_for(const struct nonces *t, size_t live)
{
	size_t most = t->each_max / 4 * 5 + 5, places = 2 * (live + 1);

	places = places > most ? most : places;
	return places < PLACES_MIN ? PLACES_MIN : places;
}

static void make_table(struct nonces *t, struct sender *s, uint64_t now_s)
{
	struct sender before = *s;
	size_t live = 0, places;

	for (size_t i = 0; i < s->count; i++)
		live += s->places[i].until && !is_old(&s->places[i], now_s);
	places = places_for(t, live);
	if (!may_have(t, s, places))
		places = s->count;
	s->made_s = now_s;
	if (places == s->count && live == s->taken)
		return; /* it would be the same */
	s->places = xcalloc(places, sizeof(*s->places));
	s->count = (uint32_t)places;
	s->taken = 0;
	t->bytes = t->bytes + table_size(places) - table_size(before.count);
	for (size_t i = 0; i < before.count; i++)
		if (before.places[i].until && !is_old(&before.places[i], now_s))
			put(t, s, before.places[i].bytes, before.places[i].until);
	free(before.places);
}

static bool may_grow(const struct nonces *t, const struct sender *s)
{
	size_t places = places_for(t, s->taken);

	return places > s->count && may_have(t, s, places);
}

/* Whether one more fits. A table that cannot grow is tidied once a second at most: that is as much
 * work as it is large, and its sender would have it done for every request. */
static bool make_room(struct nonces *t, struct sender *s, uint64_t now_s)
{
	bool full = s->taken >= most_of(s->count);
	bool tidy = s->count > PLACES_MIN && now_s - s->made_s >= TIDY_S;

	if (full ? s->made_s != now_s || may_grow(t, s) : tidy)
		make_table(t, s, now_s);
	return s->taken < most_of(s->count);
}

/* -- senders -- */

static struct sender *find_sender(const struct nonces *t, uint64_t hash)
{
	for (struct sender *s = t->buckets[hash % BUCKETS]; s; s = s->next)
		if (s->hash == hash)
			return s;
	return NULL;
}

/* NULL when there is no room. */
static struct sender *make_sender(struct nonces *t, uint64_t hash, uint64_t now_s)
{
	size_t bytes = sizeof(struct sender) + table_size(PLACES_MIN);
	struct sender *s;

	if (t->bytes + bytes > t->limit)
		return NULL;
	s = xcalloc(1, sizeof(*s));
	s->hash = hash;
	s->made_s = now_s;
	s->count = PLACES_MIN;
	s->places = xcalloc(s->count, sizeof(*s->places));
	s->next = t->buckets[hash % BUCKETS];
	t->buckets[hash % BUCKETS] = s;
	list_init(&s->heard);
	t->bytes += bytes;
	t->senders++;
	return s;
}

static void sweep(struct nonces *t, uint64_t now_s)
{
	for (unsigned int i = 0; i < SWEEP && !list_empty(&t->heard); i++) {
		struct sender *s = container_of(t->heard.next, struct sender, heard);

		if (!has_run_out(s->last_s, now_s))
			return;
		free_sender(t, s);
	}
}

int nonces_take(struct nonces *t, const void *name, size_t len, const uint8_t nonce[NONCE_LEN],
	uint64_t until_s, uint64_t now_s)
{
	uint64_t hash = hash_of(t, name, len);
	uint32_t until = (uint32_t)until_s;
	struct sender *s;

	sweep(t, now_s);
	s = find_sender(t, hash);
	if (s && is_remembered(t, s, nonce, now_s))
		return -VAN_E_UNAUTHENTIC;
	if (!s)
		s = make_sender(t, hash, now_s);
	if (!s)
		return -VAN_E_LIMIT;
	list_del(&s->heard);
	list_add_tail(&t->heard, &s->heard);
	if (!make_room(t, s, now_s))
		return -VAN_E_LIMIT;
	put(t, s, nonce, until ? until : 1);
	if (s->last_s < until_s)
		s->last_s = until_s;
	return 0;
}
