// SPDX-License-Identifier: Apache-2.0
#include "vanctl/output.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/duration.h"
#include "vanctl/text.h"

void output_list(const struct output *o, const struct view *view, struct json_object *list)
{
	o->writer->list(o, view, output_member(list, "items"), list);
}

void output_row(const struct output *o, const struct view *view, struct json_object *object)
{
	CLEANUP(json) struct json_object *items = json_object_new_array();

	json_object_array_add(items, json_object_get(object));
	o->writer->list(o, view, items, object);
}

void output_record(const struct output *o, const struct view *view, struct json_object *object)
{
	o->writer->record(o, view, object);
}

void output_with(const struct output *o, output_text *text, struct json_object *object)
{
	o->writer->text(o, text, object);
}

struct json_object *output_member(struct json_object *o, const char *name)
{
	struct json_object *value;

	if (!json_object_is_type(o, json_type_object) ||
		!json_object_object_get_ex(o, name, &value))
		return NULL;
	return value;
}

const char *output_string(struct json_object *o, const char *name, const char *otherwise)
{
	struct json_object *value = output_member(o, name);

	return value ? json_object_get_string(value) : otherwise;
}

void cell_text(const struct output *o, struct json_object *value, FILE *to)
{
	const char *text = value ? json_object_get_string(value) : "";

	(void)o;
	text_clean(to, *text ? text : "-");
}

void cell_strings(const struct output *o, struct json_object *value, FILE *to)
{
	size_t count =
		json_object_is_type(value, json_type_array) ? json_object_array_length(value) : 0;

	(void)o;
	if (!count)
		fputc('-', to);
	for (size_t i = 0; i < count; i++) {
		struct json_object *item = json_object_array_get_idx(value, i);
		struct json_object *name = output_member(item, "name");

		if (i)
			fputs(", ", to);
		text_clean(to, json_object_get_string(name ? name : item) ?: "-");
	}
}

void cell_bytes(const struct output *o, struct json_object *value, FILE *to)
{
	char text[TEXT_UNIT_LEN] = "-";

	(void)o;
	if (value)
		text_bytes(json_object_get_uint64(value), text);
	fputs(text, to);
}

void cell_age(const struct output *o, struct json_object *value, FILE *to)
{
	char text[TEXT_UNIT_LEN];

	(void)o;
	if (!value) {
		fputs("never", to);
		return;
	}
	text_span(json_object_get_int64(value), text);
	fprintf(to, "%s ago", text);
}

void cell_duration(const struct output *o, struct json_object *value, FILE *to)
{
	int64_t seconds = json_object_get_int64(value);
	char text[32] = "-";

	(void)o;
	if (seconds > 0 && seconds < INT64_MAX / 1000)
		duration_format(seconds * 1000, text);
	fputs(text, to);
}

/* Seconds from now to a time (negative: past); false if the value is none. */
static bool time_left(const struct output *o, struct json_object *value, int64_t *ret_s)
{
	int64_t wall_s;

	if (json_object_is_type(value, json_type_int))
		wall_s = json_object_get_int64(value);
	else if (!json_object_is_type(value, json_type_string) ||
		 !text_parse_time(json_object_get_string(value), &wall_s))
		return false;
	return !__builtin_sub_overflow(wall_s, o->now_wall_s, ret_s);
}

void cell_until(const struct output *o, struct json_object *value, FILE *to)
{
	char text[TEXT_UNIT_LEN];
	int64_t left_s;

	if (!time_left(o, value, &left_s)) {
		cell_text(o, value, to);
	} else if (left_s >= 0) {
		text_span(left_s, text);
		fprintf(to, "in %s", text);
	} else {
		text_span(-left_s, text);
		fprintf(to, "%s ago", text);
	}
}

void cell_since(const struct output *o, struct json_object *value, FILE *to)
{
	char text[TEXT_UNIT_LEN];
	int64_t left_s;

	if (!value) {
		fputs("never", to);
	} else if (!time_left(o, value, &left_s)) {
		cell_text(o, value, to);
	} else {
		/* A clock that lags behind the console's is no reason to show a future. */
		text_span(left_s < 0 ? -left_s : 0, text);
		fprintf(to, "%s ago", text);
	}
}

void cell_online(const struct output *o, struct json_object *value, FILE *to)
{
	(void)o;
	fputs(!value ? "-" : json_object_get_boolean(value) ? "online" : "offline", to);
}

void cell_yes_no(const struct output *o, struct json_object *value, FILE *to)
{
	(void)o;
	fputs(!value ? "-" : json_object_get_boolean(value) ? "yes" : "no", to);
}

void cell_labels(const struct output *o, struct json_object *value, FILE *to)
{
	const char *gap = "";

	(void)o;
	if (json_object_is_type(value, json_type_object)) {
		json_object_object_foreach(value, name, text)
		{
			fputs(gap, to);
			text_clean(to, name);
			fputc('=', to);
			text_clean(to, text ? json_object_get_string(text) : "");
			gap = ", ";
		}
	}
	if (!*gap)
		fputc('-', to);
}
