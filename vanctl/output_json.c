// SPDX-License-Identifier: Apache-2.0
#include "vanctl/output.h"

static void write_json(const struct output *o, struct json_object *object)
{
	fputs(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							     JSON_C_TO_STRING_SPACED |
							     JSON_C_TO_STRING_NOSLASHESCAPE),
		o->to);
	fputc('\n', o->to);
}

static void write_list(const struct output *o, const struct view *view, struct json_object *items,
	struct json_object *whole)
{
	(void)view;
	(void)items;
	write_json(o, whole);
}

static void write_record(
	const struct output *o, const struct view *view, struct json_object *object)
{
	(void)view;
	write_json(o, object);
}

static void write_text(const struct output *o, output_text *text, struct json_object *object)
{
	(void)text;
	write_json(o, object);
}

const struct output_writer output_json = {
	.list = write_list,
	.record = write_record,
	.text = write_text,
};
