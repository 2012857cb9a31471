/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/share.h"

#include <string.h>

void share_init(struct share *s, size_t max)
{
	*s = (struct share){.max = max};
	list_init(&s->holders);
	crypto_shorthash_keygen(s->hash_key);
}

void share_holder_init(struct share_holder *h)
{
	*h = (struct share_holder){0};
	list_init(&h->list);
}

static unsigned int place_of(const struct share *s, const void *name, size_t len)
{
	unsigned char hash[crypto_shorthash_BYTES];
	uint64_t number;

	crypto_shorthash(hash, name, len, s->hash_key);
	memcpy(&number, hash, sizeof(number));
	return number % SHARE_PLACES;
}

void share_take(
	struct share *s, struct share_holder *h, const void *name, size_t len, size_t amount)
{
	if (list_empty(&h->list)) {
		h->place = place_of(s, name, len);
		list_add_tail(&s->holders, &h->list);
	}
	h->amount += amount;
	s->by_name[h->place] += amount;
	s->used += amount;
}

void share_leave(struct share *s, struct share_holder *h)
{
	if (list_empty(&h->list))
		return;
	s->by_name[h->place] -= h->amount;
	s->used -= h->amount;
	list_del(&h->list);
	h->amount = 0;
}

struct share_holder *share_over(struct share *s, size_t least)
{
	unsigned int most = 0;

	if (s->used <= s->max)
		return NULL;
	for (unsigned int i = 1; i < SHARE_PLACES; i++)
		if (s->by_name[i] > s->by_name[most])
			most = i;
	if (s->by_name[most] < least)
		return NULL;
	list_for_each (it, &s->holders) {
		struct share_holder *h = container_of(it, struct share_holder, list);

		if (h->place == most)
			return h;
	}
	return NULL;
}

size_t share_of(const struct share *s, const void *name, size_t len)
{
	return s->by_name[place_of(s, name, len)];
}
