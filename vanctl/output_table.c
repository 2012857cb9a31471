// SPDX-License-Identifier: Apache-2.0
/*
 * Tables: all cells are made first, then every column is as wide as its widest cell and two spaces
 * stand between columns. The last cell of a line gets no padding, so lines end in no spaces. A list
 * without rows prints nothing at all.
 */
#include "vanctl/output.h"

#include <string.h>

#include "lib/cleanup.h"
#include "vanctl/text.h"

#define MAX_COLUMNS 16

static struct json_object *member_at(struct json_object *row, const char *path)
{
	size_t len = strcspn(path, ".");
	CLEANUP(free) char *name = strndup(path, len);
	struct json_object *value = name ? output_member(row, name) : NULL;

	return path[len] ? member_at(value, path + len + 1) : value;
}

/* The text of one cell, heap. */
static char *make_cell(const struct output *o, const struct column *c, struct json_object *row)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	(c->cell ? c->cell : cell_text)(o, c->member ? member_at(row, c->member) : row, to);
	if (fclose(to) != 0) {
		free(text);
		return NULL;
	}
	if (!*text) { /* whatever made it: a cell says something */
		free(text);
		text = strdup("-");
	}
	return text;
}

static void pad(FILE *to, size_t from, size_t width)
{
	for (; from < width; from++)
		fputc(' ', to);
}

static size_t count_columns(const struct view *view)
{
	size_t n = 0;

	while (n < MAX_COLUMNS && view->columns[n].title)
		n++;
	return n;
}

/* A cell that says nothing. */
static bool is_blank(const char *text)
{
	return strcmp(text, "-") == 0;
}

/* Prints one line; NULL cells are columns that are left out. */
static void print_line(
	FILE *to, const struct view *view, size_t columns, char *const *cells, const size_t *widths)
{
	size_t last = 0;
	const char *gap = "";

	for (size_t i = 0; i < columns; i++) {
		if (widths[i])
			last = i;
	}
	/* A blank optional cell at the end of a line is not worth a dash. */
	while (last > 0 && view->columns[last].optional && is_blank(cells[last]))
		last--;
	for (size_t i = 0; i <= last; i++) {
		size_t width = text_width(cells[i]);

		if (!widths[i])
			continue;
		fputs(gap, to);
		if (view->columns[i].right)
			pad(to, width, widths[i]);
		fputs(cells[i], to);
		if (!view->columns[i].right && i != last)
			pad(to, width, widths[i]);
		gap = "  ";
	}
}

static void print_table(const struct output *o, const struct view *view, size_t columns,
	char *const *cells, size_t rows)
{
	size_t widths[MAX_COLUMNS] = {0};
	char *titles[MAX_COLUMNS];

	for (size_t i = 0; i < columns; i++) {
		bool used = !view->columns[i].optional;

		titles[i] = (char *)view->columns[i].title;
		for (size_t row = 0; row < rows && !used; row++)
			used = !is_blank(cells[row * columns + i]);
		if (!used)
			continue;
		widths[i] = text_width(titles[i]);
		for (size_t row = 0; row < rows; row++) {
			size_t width = text_width(cells[row * columns + i]);

			if (width > widths[i])
				widths[i] = width;
		}
	}
	fputs(o->bold ? "\033[1m" : "", o->to);
	print_line(o->to, view, columns, titles, widths);
	fputs(o->bold ? "\033[0m\n" : "\n", o->to);
	for (size_t row = 0; row < rows; row++) {
		print_line(o->to, view, columns, cells + row * columns, widths);
		fputc('\n', o->to);
	}
}

static void table_list(const struct output *o, const struct view *view, struct json_object *items,
	struct json_object *whole)
{
	size_t columns = count_columns(view);
	size_t rows =
		json_object_is_type(items, json_type_array) ? json_object_array_length(items) : 0;
	char **cells;

	(void)whole;
	if (!rows)
		return;
	cells = calloc(rows * columns, sizeof(*cells));
	if (!cells)
		abort(); /* as json-c does, which holds all of this already */
	for (size_t i = 0; i < rows * columns; i++) {
		cells[i] = make_cell(o, &view->columns[i % columns],
			json_object_array_get_idx(items, i / columns));
		if (!cells[i])
			abort();
	}
	print_table(o, view, columns, cells, rows);
	for (size_t i = 0; i < rows * columns; i++)
		free(cells[i]);
	free(cells);
}

static void table_record(
	const struct output *o, const struct view *view, struct json_object *object)
{
	size_t columns = count_columns(view);
	size_t width = 0;

	for (size_t i = 0; i < columns; i++) {
		size_t w = text_width(view->columns[i].title);

		if (w > width)
			width = w;
	}
	for (size_t i = 0; i < columns; i++) {
		const struct column *c = &view->columns[i];
		CLEANUP(free) char *cell = make_cell(o, c, object);

		if (!cell)
			abort();
		if (c->optional && is_blank(cell))
			continue;
		fputs(o->bold ? "\033[1m" : "", o->to);
		fputs(c->title, o->to);
		fputs(o->bold ? "\033[0m" : "", o->to);
		pad(o->to, text_width(c->title), width + 2);
		fprintf(o->to, "%s\n", cell);
	}
}

static void table_text(const struct output *o, output_text *text, struct json_object *object)
{
	text(o, object);
}

const struct output_writer output_table = {
	.list = table_list,
	.record = table_record,
	.text = table_text,
};
