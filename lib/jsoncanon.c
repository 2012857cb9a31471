/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/jsoncanon.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
	char *data; /* heap */
	size_t len, room;
};

static void put(struct text *t, const char *data, size_t len)
{
	if (t->len + len + 1 > t->room) {
		size_t room = t->room ? t->room : 256;

		while (room < t->len + len + 1)
			room *= 2;
		t->data = realloc(t->data, room);
		if (!t->data)
			abort();
		t->room = room;
	}
	memcpy(t->data + t->len, data, len);
	t->len += len;
	t->data[t->len] = '\0';
}

/* RFC 8785 §3.2.2.2. */
static void put_string(struct text *t, const char *s, size_t len)
{
	static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	size_t plain = 0;

	put(t, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		const char *found = c ? strchr(special, c) : NULL;
		char escape[8];

		if (c >= 0x20 && !found)
			continue;
		put(t, s + plain, i - plain);
		plain = i + 1;
		if (found)
			snprintf(escape, sizeof(escape), "\\%c", letters[found - special]);
		else
			snprintf(escape, sizeof(escape), "\\u%04x", c);
		put(t, escape, strlen(escape));
	}
	put(t, s + plain, len - plain);
	put(t, "\"", 1);
}

static bool put_value(struct text *t, struct json_object *o);

struct member {
	const char *name;
	struct json_object *value;
};

static int compare_members(const void *a, const void *b)
{
	return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static bool put_object(struct text *t, struct json_object *o)
{
	size_t n = (size_t)json_object_object_length(o), i = 0;
	struct member *members = calloc(n + 1, sizeof(*members));
	bool ok = true;

	if (!members)
		abort();
	json_object_object_foreach(o, name, value)
	{
		members[i].name = name;
		members[i++].value = value;
	}
	qsort(members, n, sizeof(*members), compare_members);
	put(t, "{", 1);
	for (i = 0; i < n && ok; i++) {
		if (i)
			put(t, ",", 1);
		put_string(t, members[i].name, strlen(members[i].name));
		put(t, ":", 1);
		ok = put_value(t, members[i].value);
	}
	put(t, "}", 1);
	free(members);
	return ok;
}

static bool put_array(struct text *t, struct json_object *o)
{
	size_t n = json_object_array_length(o);
	bool ok = true;

	put(t, "[", 1);
	for (size_t i = 0; i < n && ok; i++) {
		if (i)
			put(t, ",", 1);
		ok = put_value(t, json_object_array_get_idx(o, i));
	}
	put(t, "]", 1);
	return ok;
}

static bool put_value(struct text *t, struct json_object *o)
{
	char number[24];

	switch (json_object_get_type(o)) {
	case json_type_object:
		return put_object(t, o);
	case json_type_array:
		return put_array(t, o);
	case json_type_string:
		put_string(t, json_object_get_string(o), (size_t)json_object_get_string_len(o));
		return true;
	case json_type_int:
		snprintf(number, sizeof(number), "%" PRId64, json_object_get_int64(o));
		put(t, number, strlen(number));
		return true;
	case json_type_boolean:
		if (json_object_get_boolean(o))
			put(t, "true", 4);
		else
			put(t, "false", 5);
		return true;
	default:
		return false; /* null, or a number with a fraction */
	}
}

char *jsoncanon(struct json_object *o, size_t *ret_len)
{
	struct text t = {0};

	if (!put_value(&t, o)) {
		free(t.data);
		return NULL;
	}
	if (ret_len)
		*ret_len = t.len;
	return t.data;
}
