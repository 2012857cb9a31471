// SPDX-License-Identifier: Apache-2.0
#include "vanctl_support.h"

#include "lib/json.h"
#include "vanctl/output.h"
#include "vanctl/text.h"

static const struct view view = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("RX", "rx", .cell = cell_bytes, .right = true),
	COLUMN("STATE", "state"),
	COLUMN("REASON", "reason", .optional = true),
	{.title = NULL},
}};

/* What the writer makes of a list of JSON. Heap. */
static char *render(const struct output_writer *writer, bool bold, const char *json)
{
	struct json_object *list = NULL;
	struct output o = {.writer = writer, .bold = bold, .now_wall_s = 1000};
	char *text = NULL;
	size_t len;

	assert_int_equal(json_parse(json, strlen(json), &list, NULL), 0);
	o.to = open_memstream(&text, &len);
	output_list(&o, &view, list);
	fclose(o.to);
	json_object_put(list);
	return text;
}

static void assert_rendered(const char *json, const char *wanted)
{
	char *text = render(&output_table, false, json);

	assert_string_equal(text, wanted);
	free(text);
}

static void tables_are_aligned(void **state)
{
	(void)state;
	assert_rendered("{\"items\":[{\"name\":\"a\",\"rx\":5,\"state\":\"up\"},"
			"{\"name\":\"long-name\",\"rx\":1258292,\"state\":\"connected\"}]}",
		"NAME            RX  STATE\n"
		"a              5 B  up\n"
		"long-name  1.2 MiB  connected\n");
}

static void optional_columns_come_when_needed(void **state)
{
	(void)state;
	assert_rendered(
		"{\"items\":[{\"name\":\"a\",\"rx\":0,\"state\":\"up\",\"reason\":null},"
		"{\"name\":\"b\",\"rx\":0,\"state\":\"no path\",\"reason\":\"no answer\"}]}",
		"NAME   RX  STATE    REASON\n"
		"a     0 B  up\n"
		"b     0 B  no path  no answer\n");
}

static void names_in_utf8_keep_the_columns(void **state)
{
	(void)state;
	assert_rendered("{\"items\":[{\"name\":\"Zürich\",\"rx\":1,\"state\":\"up\"},"
			"{\"name\":\"東京\",\"rx\":1,\"state\":\"up\"},"
			"{\"name\":\"e\\u0301\",\"rx\":1,\"state\":\"up\"}]}",
		"NAME     RX  STATE\n"
		"Zürich  1 B  up\n"
		"東京    1 B  up\n"
		"e\u0301       1 B  up\n");
}

static void empty_and_strange_lists(void **state)
{
	(void)state;
	assert_rendered("{\"items\":[]}", "");
	assert_rendered("{}", "");
	assert_rendered("{\"items\":7}", "");
	assert_rendered("{\"items\":[{}]}", "NAME  RX  STATE\n"
					    "-      -  -\n");
	assert_rendered("{\"items\":[null,7]}", "NAME  RX  STATE\n"
						"-      -  -\n"
						"-      -  -\n");
}

/* What a peer calls itself must not move the cursor. */
static void control_characters_are_harmless(void **state)
{
	(void)state;
	assert_rendered("{\"items\":[{\"name\":\"a\\u001b[2Jb\\nc\",\"rx\":1,\"state\":"
			"\"\\u202eevil\\u009b\"}]}",
		"NAME       RX  STATE\n"
		"a?[2Jb?c  1 B  ?evil?\n");
}

static void bold_headers(void **state)
{
	char *text = render(&output_table, true, "{\"items\":[{\"name\":\"a\"}]}");

	(void)state;
	assert_string_equal(text, "\033[1mNAME  RX  STATE\033[0m\na      -  -\n");
	free(text);
}

/* Numbers and unknown members stay as the console wrote them. */
static void json_is_unchanged(void **state)
{
	static const char json[] =
		"{\"items\":[{\"name\":\"a/b\",\"rx\":9223372036854775807,\"f\":0.10,\"new\":{\"x\":"
		"[]}}],\"next\":null}";
	struct json_object *before = NULL, *after = NULL;
	char *text = render(&output_json, false, json);

	(void)state;
	assert_int_equal(json_parse(json, strlen(json), &before, NULL), 0);
	assert_int_equal(json_parse(text, strlen(text), &after, NULL), 0);
	assert_true(json_object_equal(before, after));
	assert_contains(text, "9223372036854775807");
	assert_contains(text, "0.10");
	assert_contains(text, "a/b");
	assert_int_equal(text[strlen(text) - 1], '\n');
	json_object_put(before);
	json_object_put(after);
	free(text);
	text = render(&output_json, false, "{\"items\":[],\"next\":null}");
	assert_contains(text, "\"items\": [");
	free(text);
}

static void records_are_lines(void **state)
{
	struct json_object *o = json_object_new_object();
	struct output out = {.writer = &output_table};
	char *text = NULL;
	size_t len;

	(void)state;
	json_set_string(o, "name", "web");
	json_set_int(o, "rx", 2048);
	out.to = open_memstream(&text, &len);
	output_record(&out, &view, o);
	fclose(out.to);
	assert_string_equal(text, "NAME    web\nRX      2.0 KiB\nSTATE   -\n");
	free(text);
	json_object_put(o);
}

static char *cell(output_cell *write, const char *json)
{
	struct output o = {.now_wall_s = 1772366400}; /* 2026-03-01T12:00:00Z */
	struct json_object *value = NULL;
	char *text = NULL;
	size_t len;

	assert_int_equal(json_parse(json, strlen(json), &value, NULL), 0);
	o.to = open_memstream(&text, &len);
	write(&o, value, o.to);
	fclose(o.to);
	json_object_put(value);
	return text;
}

static void assert_cell(output_cell *write, const char *json, const char *wanted)
{
	char *text = cell(write, json);

	assert_string_equal(text, wanted);
	free(text);
}

static void cells(void **state)
{
	(void)state;
	assert_cell(cell_text, "null", "-");
	assert_cell(cell_text, "\"\"", "-");
	assert_cell(cell_text, "17", "17");
	assert_cell(cell_strings, "[]", "-");
	assert_cell(cell_strings, "null", "-");
	assert_cell(cell_strings, "[\"a\",\"b\"]", "a, b");
	assert_cell(cell_strings, "[{\"name\":\"n\",\"id\":\"x\"},null]", "n, -");
	assert_cell(cell_bytes, "1023", "1023 B");
	assert_cell(cell_bytes, "null", "-");
	assert_cell(cell_age, "3", "3 s ago");
	assert_cell(cell_age, "null", "never");
	assert_cell(cell_age, "-5", "0 s ago");
	assert_cell(cell_duration, "600", "10m");
	assert_cell(cell_duration, "0", "-");
	assert_cell(cell_since, "\"2026-03-01T11:59:57Z\"", "3 s ago");
	assert_cell(cell_since, "\"2026-03-01T12:00:10Z\"", "0 s ago");
	assert_cell(cell_since, "1772366340", "1 min ago");
	assert_cell(cell_since, "\"yesterday\"", "yesterday");
	assert_cell(cell_since, "null", "never");
	assert_cell(cell_until, "\"2026-03-01T13:00:00Z\"", "in 1 h");
	assert_cell(cell_until, "\"2026-03-01T11:00:00.5Z\"", "1 h ago");
	assert_cell(cell_online, "true", "online");
	assert_cell(cell_online, "false", "offline");
	assert_cell(cell_yes_no, "null", "-");
}

static void units(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1048575, "1.0 MiB"},
		{1258291, "1.2 MiB"}, {1ull << 34, "16.0 GiB"}, {UINT64_MAX, "16.0 EiB"}};
	static const struct {
		int64_t s;
		const char *text;
	} spans[] = {{-1, "0 s"}, {59, "59 s"}, {60, "1 min"}, {3599, "59 min"}, {3600, "1 h"},
		{172799, "47 h"}, {172800, "2 d"}};
	char text[TEXT_UNIT_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		text_bytes(sizes[i].bytes, text);
		assert_string_equal(text, sizes[i].text);
	}
	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
		text_span(spans[i].s, text);
		assert_string_equal(text, spans[i].text);
	}
	assert_int_equal(text_width("a\xff\xc3"), 3); /* bytes that are no UTF-8 count as '?' */
	assert_int_equal(text_width(""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_aligned),
		cmocka_unit_test(optional_columns_come_when_needed),
		cmocka_unit_test(names_in_utf8_keep_the_columns),
		cmocka_unit_test(empty_and_strange_lists),
		cmocka_unit_test(control_characters_are_harmless),
		cmocka_unit_test(bold_headers),
		cmocka_unit_test(json_is_unchanged),
		cmocka_unit_test(records_are_lines),
		cmocka_unit_test(cells),
		cmocka_unit_test(units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
