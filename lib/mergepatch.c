/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/mergepatch.h"

#include <stdlib.h>

static struct json_object *copy(struct json_object *o)
{
	struct json_object *other = NULL;

	if (o && json_object_deep_copy(o, &other, NULL))
		abort();
	return other;
}

/* Changes result in place; depth is bounded by what the parser took. */
static void merge_into(struct json_object *result, struct json_object *patch)
{
	json_object_object_foreach(patch, name, value)
	{
		struct json_object *old = json_object_object_get(result, name);

		if (!value) {
			json_object_object_del(result, name);
		} else if (!json_object_is_type(value, json_type_object)) {
			json_object_object_add(result, name, copy(value));
		} else {
			if (!json_object_is_type(old, json_type_object)) {
				old = json_object_new_object();
				json_object_object_add(result, name, old);
			}
			merge_into(old, value);
		}
	}
}

struct json_object *mergepatch_apply(struct json_object *target, struct json_object *patch)
{
	struct json_object *result;

	if (!json_object_is_type(patch, json_type_object))
		return copy(patch);
	result = json_object_is_type(target, json_type_object) ? copy(target)
							       : json_object_new_object();
	merge_into(result, patch);
	return result;
}
