/* SPDX-License-Identifier: Apache-2.0 */
/* What json_parse() takes must come out of json-c's printer as text that it takes again. */
#include <stdlib.h>
#include "lib/cleanup.h"
#include "lib/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(json) struct json_object *first = NULL;
	CLEANUP(json) struct json_object *again = NULL;
	struct err e;
	const char *text;
	size_t len;

	if (json_parse((const char *)data, size, &first, &e) != 0)
		return 0;
	text = json_object_to_json_string_length(first, JSON_C_TO_STRING_PLAIN, &len);
	if (json_parse(text, len, &again, &e) != 0 || !json_object_equal(first, again))
		abort();
	return 0;
}
