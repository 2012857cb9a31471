/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A netmap, a line break, a patch: as vand takes them from its console. Whatever they are, the forms
 * of a map must give each other again, and the hash must depend on nothing but the map.
 */
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/jsoncanon.h"
#include "lib/mergepatch.h"
#include "lib/netmap.h"
#include "lib/netmap_delta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool right)
{
	if (!right)
		abort();
}

/* Both forms, there and back. */
static void there_and_back(struct json_object *keyed)
{
	CLEANUP(json) struct json_object *whole = netmap_delta_whole(keyed);
	CLEANUP(json) struct json_object *again = whole ? netmap_delta_keyed(whole) : NULL;
	uint8_t hash[HASH_LEN], other[HASH_LEN];

	/* A patch may name a thing otherwise than its id says: then there is no way back. */
	if (!again || !json_object_equal(again, keyed))
		return;
	if (!netmap_delta_hash(keyed, hash))
		return;
	must(netmap_delta_hash(again, other) && !memcmp(hash, other, sizeof(hash)));
	CLEANUP(free) char *text = jsoncanon(keyed, NULL);
	CLEANUP(json) struct json_object *read = NULL;

	must(text && !json_parse(text, strlen(text), &read, NULL));
	must(netmap_delta_hash(read, other) && !memcmp(hash, other, sizeof(hash)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = memchr(data, '\n', size);
	CLEANUP(json) struct json_object *whole = NULL;
	CLEANUP(json) struct json_object *patch = NULL;
	CLEANUP(json) struct json_object *keyed = NULL;
	CLEANUP(json) struct json_object *changed = NULL;
	CLEANUP(json) struct json_object *result = NULL;
	CLEANUP(netmap) struct netmap *map = NULL;

	if (!line || json_parse((const char *)data, (size_t)(line - data), &whole, NULL) ||
		json_parse((const char *)line + 1, size - (size_t)(line - data) - 1, &patch, NULL))
		return 0;
	keyed = netmap_delta_keyed(whole);
	if (!keyed)
		return 0;
	there_and_back(keyed);
	(void)netmap_delta_verify(keyed);
	changed = mergepatch_apply(keyed, patch);
	(void)netmap_delta_verify(changed);
	there_and_back(changed);
	result = netmap_delta_whole(changed);
	if (result)
		(void)netmap_from_json(result, &map, NULL);
	return 0;
}
