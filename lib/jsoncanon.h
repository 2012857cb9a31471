/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical text of JSON, to be hashed: that of RFC 8785 (JCS) for documents whose numbers are
 * integers, whose members' names are ASCII, and which hold no null. No white space, members sorted
 * by name, strings with the shortest escapes.
 */
#ifndef LIB_JSONCANON_H
#define LIB_JSONCANON_H

#include <json-c/json.h>
#include <stddef.h>

/* Heap, NUL-terminated; *ret_len may be NULL. NULL for a document with a null in it, or with a
 * number that is not an integer. */
char *jsoncanon(struct json_object *o, size_t *ret_len);

#endif
