/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results go through one writer with two forms: tables for people, JSON for programs. A handler
 * passes the object as the console or the daemon sent it together with a view, the description of
 * its table; the JSON writer prints the object unchanged and ignores the view.
 */
#ifndef VANCTL_OUTPUT_H
#define VANCTL_OUTPUT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct output;

/* Writes the text of one cell: what `member` of `row` (may be NULL: absent or null) says. */
typedef void output_cell(const struct output *o, struct json_object *value, FILE *to);

struct column {
	const char *title;
	const char *member; /* "a.b": b of a; NULL: the cell gets the whole row */
	output_cell *cell;  /* NULL: cell_text */
	bool right;         /* align to the right */
	bool optional;      /* left out of a table where no row has anything to say */
};

/* A row of columns: title, member, and what else is not the default, by name. */
#define COLUMN(title_, member_, ...)                              \
	{                                                         \
		.title = title_, .member = member_, ##__VA_ARGS__ \
	}

struct view {
	const struct column *columns; /* ends with a row whose title is NULL */
};

/* Writes an object for people, where a table would not do. */
typedef void output_text(const struct output *o, struct json_object *object);

struct output_writer {
	/* A list: `items` is the array of rows within `whole`, or made up from it. */
	void (*list)(const struct output *o, const struct view *view, struct json_object *items,
		struct json_object *whole);
	/* One object, every column of the view on a line of its own. */
	void (*record)(const struct output *o, const struct view *view, struct json_object *object);
	/* One object, written for people by `text`. */
	void (*text)(const struct output *o, output_text *text, struct json_object *object);
};

struct output {
	const struct output_writer *writer;
	FILE *to;
	bool bold;          /* headers and warnings in bold */
	int64_t now_wall_s; /* ages are relative to this */
};

extern const struct output_writer output_table; /* output_table.c */
extern const struct output_writer output_json;  /* output_json.c */

/* A list as APIs answer it: {"items":[…],…}. */
void output_list(const struct output *o, const struct view *view, struct json_object *list);
/* One object as a table of one row. */
void output_row(const struct output *o, const struct view *view, struct json_object *object);
void output_record(const struct output *o, const struct view *view, struct json_object *object);
void output_with(const struct output *o, output_text *text, struct json_object *object);

/* Cells. What is absent or null is "-". */
output_cell cell_text;     /* a string or number */
output_cell cell_strings;  /* an array of strings, or of objects with a name: "a, b" */
output_cell cell_bytes;    /* bytes: "1.2 MiB" */
output_cell cell_age;      /* seconds: "3 s ago"; null: "never" */
output_cell cell_duration; /* seconds: "10m"; 0: "-" */
output_cell cell_since;    /* a time: "3 s ago"; null: "never" */
output_cell cell_until;    /* a time: "in 59 min", "3 s ago" */
output_cell cell_online;   /* a boolean: "online", "offline" */
output_cell cell_yes_no;   /* a boolean */
output_cell cell_labels;   /* an object of strings: "a=b, c=d" */

/* The member of an object; NULL when absent or null, or when o is no object. */
struct json_object *output_member(struct json_object *o, const char *name);
/* Its text, or `otherwise`. */
const char *output_string(struct json_object *o, const char *name, const char *otherwise);

#endif
