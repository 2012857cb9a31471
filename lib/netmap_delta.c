/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/netmap_delta.h"

#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/jsoncanon.h"

static struct json_object *must(struct json_object *o)
{
	if (!o)
		abort(); /* no memory: as everywhere in the control plane */
	return o;
}

static void add(struct json_object *o, const char *name, struct json_object *value)
{
	if (json_object_object_add(o, name, value))
		abort();
}

/* A copy of an object that shares its members. */
static struct json_object *copy_of(struct json_object *o)
{
	struct json_object *copy = must(json_object_new_object());

	json_object_object_foreach(o, name, value) add(copy, name, json_object_get(value));
	return copy;
}

/* What is done with each item of a collection on its way; returns a new reference or NULL. */
typedef struct json_object *convert_item(struct json_object *item);
/* What becomes of a collection; the same. */
typedef struct json_object *convert_collection(struct json_object *from, convert_item *item);

static struct json_object *same_item(struct json_object *item)
{
	return json_object_get(item);
}

static struct json_object *array_to_object(struct json_object *from, convert_item *item)
{
	struct json_object *to;

	if (!json_object_is_type(from, json_type_array))
		return NULL;
	to = must(json_object_new_object());
	for (size_t i = 0; i < json_object_array_length(from); i++) {
		struct json_object *o = json_object_array_get_idx(from, i), *id = NULL, *made;

		if (json_object_is_type(o, json_type_object))
			id = json_object_object_get(o, "id");
		made = json_object_is_type(id, json_type_string) ? item(o) : NULL;
		if (!made || json_object_object_get_ex(to, json_object_get_string(id), NULL)) {
			json_object_put(made);
			json_object_put(to);
			return NULL;
		}
		add(to, json_object_get_string(id), made);
	}
	return to;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct json_object *object_to_array(struct json_object *from, convert_item *item)
{
	CLEANUP(free) const char **names = NULL;
	struct json_object *to;
	size_t n = 0;

	if (!json_object_is_type(from, json_type_object))
		return NULL;
	names = calloc((size_t)json_object_object_length(from) + 1, sizeof(*names));
	if (!names)
		abort();
	json_object_object_foreach(from, name, value)
	{
		(void)value;
		names[n++] = name;
	}
	qsort(names, n, sizeof(*names), compare_names);
	to = must(json_object_new_array());
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_object_get(from, names[i]), *made;

		made = json_object_is_type(o, json_type_object) ? item(o) : NULL;
		if (!made) {
			json_object_put(to);
			return NULL;
		}
		json_object_array_add(to, made);
	}
	return to;
}

/* Puts the converted collection in the place of the one of that name. False when it cannot be. */
static bool convert(
	struct json_object *o, const char *name, convert_collection *collection, convert_item *item)
{
	struct json_object *from = NULL, *to;

	if (!json_object_object_get_ex(o, name, &from))
		return true;
	to = collection(from, item);
	if (!to)
		return false;
	add(o, name, to);
	return true;
}

/* A network with its peers converted. */
static struct json_object *convert_network(struct json_object *network, convert_collection *how)
{
	struct json_object *copy = copy_of(network);

	if (convert(copy, "peers", how, same_item))
		return copy;
	json_object_put(copy);
	return NULL;
}

static struct json_object *keyed_network(struct json_object *network)
{
	return convert_network(network, array_to_object);
}

static struct json_object *whole_network(struct json_object *network)
{
	return convert_network(network, object_to_array);
}

static struct json_object *convert_map(
	struct json_object *map, convert_collection *how, convert_item *network)
{
	struct json_object *copy;

	if (!json_object_is_type(map, json_type_object))
		return NULL;
	copy = copy_of(map);
	if (convert(copy, "consoles", how, same_item) && convert(copy, "networks", how, network))
		return copy;
	json_object_put(copy);
	return NULL;
}

struct json_object *netmap_delta_keyed(struct json_object *whole)
{
	return convert_map(whole, array_to_object, keyed_network);
}

struct json_object *netmap_delta_whole(struct json_object *keyed)
{
	return convert_map(keyed, object_to_array, whole_network);
}

/* -- the hash -- */

void netmap_delta_sum_add(uint8_t sum[HASH_LEN], const uint8_t hash[HASH_LEN])
{
	unsigned int carry = 0;

	for (int i = HASH_LEN - 1; i >= 0; i--) {
		carry += (unsigned int)sum[i] + hash[i];
		sum[i] = (uint8_t)carry;
		carry >>= 8;
	}
}

void netmap_delta_sum_take(uint8_t sum[HASH_LEN], const uint8_t hash[HASH_LEN])
{
	int borrow = 0;

	for (int i = HASH_LEN - 1; i >= 0; i--) {
		int left = sum[i] - hash[i] - borrow;

		borrow = left < 0;
		sum[i] = (uint8_t)left;
	}
}

static bool hash_of(struct json_object *o, uint8_t ret_hash[HASH_LEN])
{
	size_t len;
	CLEANUP(free) char *text = jsoncanon(o, &len);

	if (!text)
		return false;
	hash_sha256(HASH_PIECES({text, len}), ret_hash);
	return true;
}

/* A copy of a network that has the sum of its peers in their place. */
static struct json_object *summed_network(struct json_object *network)
{
	struct json_object *peers = NULL, *copy;
	uint8_t sum[HASH_LEN] = {0}, hash[HASH_LEN];
	char text[2 * HASH_LEN + 1];

	if (!json_object_is_type(network, json_type_object))
		return NULL;
	json_object_object_get_ex(network, "peers", &peers);
	if (peers && !json_object_is_type(peers, json_type_object))
		return NULL;
	copy = copy_of(network);
	if (!peers)
		return copy;
	json_object_object_foreach(peers, id, peer)
	{
		(void)id;
		if (!hash_of(peer, hash)) {
			json_object_put(copy);
			return NULL;
		}
		netmap_delta_sum_add(sum, hash);
	}
	hash_hex(sum, sizeof(sum), text);
	json_set_string(copy, "peers", text);
	return copy;
}

bool netmap_delta_hash(struct json_object *keyed, uint8_t ret_hash[HASH_LEN])
{
	CLEANUP(json) struct json_object *copy = NULL;
	struct json_object *networks = NULL, *summed;

	if (!json_object_is_type(keyed, json_type_object))
		return false;
	copy = copy_of(keyed);
	json_object_object_del(copy, "hash");
	if (json_object_object_get_ex(keyed, "networks", &networks)) {
		if (!json_object_is_type(networks, json_type_object))
			return false;
		summed = must(json_object_new_object());
		add(copy, "networks", summed);
		json_object_object_foreach(networks, id, network)
		{
			struct json_object *with_sum = summed_network(network);

			if (!with_sum)
				return false;
			add(summed, id, with_sum);
		}
	}
	return hash_of(copy, ret_hash);
}

bool netmap_delta_verify(struct json_object *keyed)
{
	uint8_t hash[HASH_LEN], said[HASH_LEN];
	const char *text;

	return !json_get_string(keyed, "", "hash", 2 * HASH_LEN, 2 * HASH_LEN, &text, NULL) &&
	       hash_unhex(text, said, sizeof(said)) && netmap_delta_hash(keyed, hash) &&
	       !memcmp(hash, said, sizeof(hash));
}
