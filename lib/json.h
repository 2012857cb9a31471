/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict reading of JSON objects on top of json-c. Each getter leaves an error that carries the
 * JSON pointer (RFC 6901) of what was wrong, so that an API can answer with it.
 */
#ifndef LIB_JSON_H
#define LIB_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/err.h"

#define JSON_MAX_DEPTH 32

static inline void cleanup_json(struct json_object **o)
{
	json_object_put(*o);
}

/*
 * Parses exactly one JSON value (RFC 8259): bounded depth, valid UTF-8, no NUL (\u0000 neither), no
 * half surrogate pairs, no integer beyond 64 bits, no trailing text, no duplicate keys.
 * -VAN_E_SYNTAX otherwise, with line and column. *ret_value is owned by the caller
 * (json_object_put); it is NULL for the text `null`.
 */
int json_parse(const char *text, size_t len, struct json_object **ret_value, struct err *e);

/*
 * Getters of a member of an object. `where` is the JSON pointer of the object itself ("" for the
 * root) and goes into messages, which are "POINTER: what is wrong"; one that does not start with a
 * slash is about the root itself. Required ones fail with -VAN_E_INVALID when the member is absent
 * or null; json_opt_* return 0 and leave *ret untouched then. Lengths are in bytes.
 */
int json_get_string(struct json_object *o, const char *where, const char *name, size_t min_len,
	size_t max_len, const char **ret_text, struct err *e);
int json_opt_string(struct json_object *o, const char *where, const char *name, size_t min_len,
	size_t max_len, const char **ret_text, struct err *e);
int json_get_int(struct json_object *o, const char *where, const char *name, int64_t min,
	int64_t max, int64_t *ret_value, struct err *e);
int json_opt_int(struct json_object *o, const char *where, const char *name, int64_t min,
	int64_t max, int64_t *ret_value, struct err *e);
int json_opt_bool(
	struct json_object *o, const char *where, const char *name, bool *ret_value, struct err *e);
/* Borrowed references into o. */
int json_get_object(struct json_object *o, const char *where, const char *name,
	struct json_object **ret_object, struct err *e);
int json_get_array(struct json_object *o, const char *where, const char *name,
	struct json_object **ret_array, struct err *e);

/* Builders; they abort on lack of memory like the rest of the control plane's allocations. */
void json_set_string(struct json_object *o, const char *name, const char *text /* NULL: null */);
void json_set_int(struct json_object *o, const char *name, int64_t value);
void json_set_bool(struct json_object *o, const char *name, bool value);

#endif
