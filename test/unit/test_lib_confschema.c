/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include "lib/confschema.h"
#include "lib/file.h"
#include "test/unit/tmpdir.h"

struct settings {
	char *state_dir;
	char *level;
	char *note;
	int64_t port;
	int64_t offset;
	bool fast;
	bool slow;
	struct conf_strings peers;
	struct conf_strings names;
};

static const char *const levels[] = {"low", "high", NULL};

#define FIELD(name) offsetof(struct settings, name)

static const struct conf_option options[] = {
	{.name = "state_dir",
		.type = CONF_STRING,
		.offset = FIELD(state_dir),
		.min = 1,
		.max = 100,
		.required = true,
		.help = "Where the state is."},
	{.name = "level",
		.type = CONF_STRING,
		.offset = FIELD(level),
		.default_text = "\"low\"",
		.choices = levels,
		.help = "How high."},
	{.name = "note", .type = CONF_STRING, .offset = FIELD(note), .help = "Anything."},
	{.name = "port",
		.type = CONF_INT,
		.offset = FIELD(port),
		.min = 0,
		.max = 65535,
		.default_text = "4826",
		.help = "UDP port. This text is long enough that it has to be broken into more than "
			"one line where it is printed as the comment of an example file."},
	{.name = "offset", .type = CONF_INT, .offset = FIELD(offset), .help = "Any number."},
	{.name = "fast",
		.type = CONF_BOOL,
		.offset = FIELD(fast),
		.default_text = "true",
		.help = "Whether to be fast."},
	{.name = "slow", .type = CONF_BOOL, .offset = FIELD(slow), .help = ".starts with a dot"},
	{.name = "peers",
		.type = CONF_STRINGS,
		.offset = FIELD(peers),
		.max = 5,
		.min = 2,
		.help = "Some peers."},
	{.name = "names",
		.type = CONF_STRINGS,
		.offset = FIELD(names),
		.default_text = "[\"one\", \"two\"]",
		.help = "Some names with a back\\slash-dash."},
	{.name = NULL},
};

static const struct conf_schema schema = {
	.program = "prog", .options = options, .struct_size = sizeof(struct settings)};

static int load(const struct tmpdir *dir, const char *text, struct settings *s, struct err *e)
{
	const char *path = tmpdir_file(dir, "prog.conf");

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
	return conf_load(&schema, path, s, e);
}

static void test_defaults(void **state)
{
	struct settings s;
	struct err e;

	assert_int_equal(load(*state, "state_dir = \"/x\";", &s, &e), 0);
	assert_string_equal(s.state_dir, "/x");
	assert_string_equal(s.level, "low");
	assert_null(s.note);
	assert_int_equal(s.port, 4826);
	assert_int_equal(s.offset, 0);
	assert_true(s.fast);
	assert_false(s.slow);
	assert_int_equal(s.peers.count, 0);
	assert_int_equal(s.names.count, 2);
	assert_string_equal(s.names.items[1], "two");
	conf_free(&schema, &s);
	assert_null(s.state_dir);
	conf_free(&schema, &s); /* twice is harmless */

	conf_defaults(&schema, &s);
	assert_null(s.state_dir);
	assert_int_equal(s.port, 4826);
	conf_free(&schema, &s);
}

static void test_everything_set(void **state)
{
	struct settings s;
	struct err e = {0};
	int rc = load(*state,
		"# comment\nstate_dir: \"/x\"\nlevel = \"high\"; note = \"caf\xc3\xa9\";\n"
		"port = 0x10\noffset = -5000000000\nfast = false\nslow = TRUE\n"
		"peers = [\"ab\", \"abcde\"]\nnames = ();\n",
		&s, &e);

	if (rc)
		fail_msg("%s", e.text);
	assert_string_equal(s.level, "high");
	assert_string_equal(s.note, "caf\xc3\xa9");
	assert_int_equal(s.port, 16);
	assert_true(s.offset == -5000000000ll);
	assert_false(s.fast);
	assert_true(s.slow);
	assert_int_equal(s.peers.count, 2);
	assert_string_equal(s.peers.items[1], "abcde");
	assert_int_equal(s.names.count, 0);
	conf_free(&schema, &s);
}

/* Each file with what its message must say. */
static void test_wrong_files(void **state)
{
	static const char *const rows[][2] = {
		{"port = 1;", "prog.conf: the key state_dir is required: Where the state is."},
		{"", "state_dir is required"},
		{"state_dir = \"/x\";\n\nprot = 1;",
			"prog.conf:3: unknown key \"prot\": did you mean "
			"port?"},
		{"statedir = \"/x\";", "did you mean state_dir?"},
		{"STATE = 1;", "unknown key \"STATE\"; allowed are: state_dir, level, note, port,"},
		{"state = \"/x\";", "did you mean state_dir?"},
		{"state_dir = 5;", "prog.conf:1: state_dir: must be a text in quotes of 1 to 100"},
		{"state_dir = \"\";", "state_dir: must be a text in quotes of 1 to 100"},
		{"state_dir = \"/x\"; port = 65536;",
			"port: must be a whole number from 0 to 65535"},
		{"state_dir = \"/x\"; port = -1;", "port: must be a whole number from 0 to 65535"},
		{"state_dir = \"/x\"; port = 4294967297;", "port: must be a whole number"},
		{"state_dir = \"/x\"; port = 0x100000001;", "port: must be a whole number"},
		{"state_dir = \"/x\"; port = 99999999999999999999;", "too many digits"},
		{"/* a\n */ // \"b\n# \"\n@include \"x\"\n", "prog.conf:4: @include"},
		{"state_dir = \"/x\"; port = \"1\";", "port: must be a whole number"},
		{"state_dir = \"/x\"; port = 1.0;", "port: must be a whole number"},
		{"state_dir = \"/x\"; port = { a = 1; };", "port: must be a whole number"},
		{"state_dir = \"/x\"; offset = true;", "offset: must be a whole number"},
		{"state_dir = \"/x\"; level = \"LOW\";", "level: must be one of \"low\", \"high\""},
		{"state_dir = \"/x\"; fast = 1;", "fast: must be true or false"},
		{"state_dir = \"/x\"; peers = \"ab\";", "peers: must be a list of texts"},
		{"state_dir = \"/x\"; peers = [1];", "peers: must be a list of texts"},
		{"state_dir = \"/x\"; peers = [\"abcdef\"];", "peers: must be a list of texts"},
		{"state_dir = \"/x\"; peers = (\"ab\", (\"cd\"));",
			"peers: must be a list of texts"},
		{"state_dir = \"/x\";\nport = ;", "prog.conf:2: "},
		{"state_dir = \"/x\"\nport 5", "prog.conf:2: "},
		{"port = 1; port = 2;", "prog.conf:1: "},
		{"state_dir = \"/x", "prog.conf:"},
	};
	static const struct settings zero;
	struct settings s;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = {0};
		int rc;

		memset(&s, 0xee, sizeof(s));
		rc = load(*state, rows[i][0], &s, &e);
		if (rc != -VAN_E_CONFIG || !strstr(e.text, rows[i][1]))
			fail_msg("<%s> gave %d: %s", rows[i][0], rc, e.text);
		assert_memory_equal(&s, &zero, sizeof(s));
	}
}

/* Digits are only digits where a number can stand. */
static void test_wide_integers(void **state)
{
	static const struct {
		const char *text;
		int64_t offset;
	} rows[] = {
		{"2147483647", 2147483647ll},
		{"-2147483648", -2147483648ll},
		{"2147483648", 2147483648ll},
		{"-2147483649", -2147483649ll},
		{"+2147483648", 2147483648ll},
		{"2147483648L", 2147483648ll},
		{"0xffffffff", 4294967295ll},
		{"0x7fffffffffffffff", INT64_MAX},
		{"9223372036854775807", INT64_MAX},
		{"7 // 99999999999999999999\n", 7},
		{"/* 9999999999 */ 8 # 99999999999999999999 \"\n", 8},
	};
	struct settings s;
	char text[256];
	struct err e = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text),
			"state_dir = \"9999999999 \\\" 9999999999\";\noffset = %s;", rows[i].text);
		if (load(*state, text, &s, &e) != 0)
			fail_msg("%s: %s", text, e.text);
		assert_string_equal(s.state_dir, "9999999999 \" 9999999999");
		assert_true(s.offset == rows[i].offset);
		conf_free(&schema, &s);
	}
}

static void test_unreadable_files(void **state)
{
	static const struct settings zero;
	const char *path = tmpdir_file(*state, "binary.conf");
	struct settings s;
	struct err e;

	memset(&s, 0xee, sizeof(s));
	assert_int_equal(conf_load(&schema, tmpdir_file(*state, "none"), &s, &e), -ENOENT);
	assert_non_null(strstr(e.text, "none"));
	assert_memory_equal(&s, &zero, sizeof(s));
	assert_int_equal(
		file_write_atomic(path, "state_dir = \"/x\";\0port = 1;", 28, 0644, NULL), 0);
	assert_int_equal(conf_load(&schema, path, &s, &e), -VAN_E_CONFIG);
	assert_non_null(strstr(e.text, "NUL"));
}

static char *print(void (*printer)(const struct conf_schema *, FILE *))
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	printer(&schema, out);
	fclose(out);
	return text;
}

/* The example is a valid file as it stands, and gives the defaults when its comment signs go. */
static void test_example_can_be_loaded(void **state)
{
	char *text = print(conf_print_example), *bare = calloc(1, strlen(text) + 64);
	char *pos = text;
	struct settings s;
	struct err e = {0};

	assert_non_null(bare);
	strcpy(bare, text);
	strcat(bare, "state_dir = \"/x\";\n");
	assert_int_equal(load(*state, bare, &s, &e), 0);
	conf_free(&schema, &s);

	bare[0] = '\0';
	for (char *line; (line = strsep(&pos, "\n"));) {
		assert_true(strlen(line) <= 100);
		if (line[0] == '#' && line[1] != ' ' && !strstr(line, "…")) {
			strcat(bare, line + 1);
			strcat(bare, "\n");
		}
	}
	strcat(bare, "state_dir = \"/x\";\n");
	/* peers has no default: its placeholder is an empty list. */
	if (load(*state, bare, &s, &e) != 0)
		fail_msg("%s in:\n%s", e.text, bare);
	assert_int_equal(s.port, 4826);
	assert_string_equal(s.level, "low");
	assert_int_equal(s.names.count, 2);
	conf_free(&schema, &s);
	free(bare);
	free(text);
}

static void test_man_page(void **state)
{
	char *text = print(conf_print_man);

	(void)state;
	assert_non_null(strstr(text, ".TP\n.B state_dir\nWhere the state is.\nValue: a text in"));
	assert_non_null(strstr(text, "Required.\n"));
	assert_non_null(strstr(text, "Default: 4826.\n"));
	assert_non_null(strstr(text, "\n\\&.starts with a dot\n"));
	assert_non_null(strstr(text, "back\\eslash\\-dash."));
	free(text);
}

int main(void)
{
	struct tmpdir dir;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_defaults, &dir),
		cmocka_unit_test_prestate(test_everything_set, &dir),
		cmocka_unit_test_prestate(test_wrong_files, &dir),
		cmocka_unit_test_prestate(test_wide_integers, &dir),
		cmocka_unit_test_prestate(test_unreadable_files, &dir),
		cmocka_unit_test_prestate(test_example_can_be_loaded, &dir),
		cmocka_unit_test(test_man_page),
	};
	int failed;

	tmpdir_make(&dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	tmpdir_remove(&dir);
	return failed;
}
