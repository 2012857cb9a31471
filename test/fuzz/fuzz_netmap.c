/* SPDX-License-Identifier: Apache-2.0 */
/* A netmap that is taken must be written as text that gives the same netmap. */
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/netmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *print(struct json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(json) struct json_object *first = NULL;
	CLEANUP(json) struct json_object *written = NULL;
	CLEANUP(json) struct json_object *rewritten = NULL;
	CLEANUP(netmap) struct netmap *map = NULL;
	CLEANUP(netmap) struct netmap *again = NULL;
	struct err e;

	if (json_parse((const char *)data, size, &first, &e) != 0 ||
		netmap_from_json(first, &map, &e) != 0)
		return 0;
	written = netmap_to_json(map);
	if (netmap_from_json(written, &again, &e) != 0)
		abort();
	rewritten = netmap_to_json(again);
	if (strcmp(print(written), print(rewritten)) != 0)
		abort();
	return 0;
}
