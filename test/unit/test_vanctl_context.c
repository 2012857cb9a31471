// SPDX-License-Identifier: Apache-2.0
#include "vanctl_support.h"

#include "vanctl/context.h"
#include "vanctl/secretfile.h"

#define PIN "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

/* A vanctl with the arguments of `line`, enough for context_resolve(). */
struct setting {
	char home[32];
	char key_path[64];
	struct command_args args;
	struct vanctl v;
	char *err_text;
	size_t err_len;
};

static int set_up(void **state)
{
	struct setting *s = calloc(1, sizeof(*s));

	make_home(s->home);
	snprintf(s->key_path, sizeof(s->key_path), "%s/key", s->home);
	write_file(s->key_path, "other-key\n", 0600);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct setting *s = *state;

	remove_home(s->home);
	free(s);
	return 0;
}

/* Resolves with these words behind `status`, all global options. */
static int resolve(struct setting *s, struct context *c, bool *ret_out, struct err *e,
	const char *const words[])
{
	char *argv[16] = {(char *)"vanctl", (char *)"status"};
	int argc = 2;
	int rc;

	for (; words[argc - 2]; argc++)
		argv[argc] = (char *)words[argc - 2];
	assert_int_equal(command_parse(argc, argv, &s->args, e), 0);
	free(s->err_text);
	s->err_text = NULL;
	s->v = (struct vanctl){.args = &s->args, .in = stdin, .out = stdout};
	s->v.err = open_memstream(&s->err_text, &s->err_len);
	memset(c, 0, sizeof(*c));
	rc = context_resolve(&s->v, c, ret_out, e);
	fclose(s->v.err);
	return rc;
}

#define RESOLVE(...) \
	resolve(s, &c, &out, &e, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void save(struct setting *s, const char *name, const char *console, const char *pin)
{
	char dir[64];
	struct context c = {0};
	struct err e;

	snprintf(dir, sizeof(dir), "%s/van", s->home);
	strcpy(c.name, name);
	c.console = strdup(console);
	c.key = strdup("stored-key");
	c.pin = pin ? strdup(pin) : NULL;
	assert_int_equal(context_save(dir, &c, &e), 0);
	context_done(&c);
}

static void saved_and_read_again(void **state)
{
	struct setting *s = *state;
	struct context c;
	struct stat st;
	char path[96], name[CONTEXT_NAME_MAX + 1];
	char *dir = NULL;
	struct err e;

	save(s, "work", "https://c.example:8443", PIN);
	assert_int_equal(context_dir(&dir, &e), 0);
	context_current(dir, name);
	assert_string_equal(name, "work");
	memset(&c, 0, sizeof(c));
	assert_int_equal(context_load(dir, "work", &c, &e), 0);
	assert_string_equal(c.name, "work");
	assert_string_equal(c.console, "https://c.example:8443");
	assert_string_equal(c.key, "stored-key");
	assert_string_equal(c.pin, PIN);
	assert_null(c.ca_file);
	context_done(&c);
	assert_int_equal(context_load(dir, "none", &c, &e), -ENOENT);
	snprintf(path, sizeof(path), "%s/contexts/work.json", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	snprintf(path, sizeof(path), "%s/contexts", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 077, 0);
	free(dir);
}

static void damaged_files(void **state)
{
	static const char *const cases[] = {"", "{", "[]", "{\"format\":2}",
		"{\"format\":1,\"console\":\"https://c\"}",
		"{\"format\":1,\"console\":7,\"key\":\"k\"}",
		"{\"format\":1,\"console\":\"https://c\",\"key\":\"\"}"};
	struct setting *s = *state;
	char dir[64], path[96];

	save(s, "default", "https://c", NULL);
	snprintf(dir, sizeof(dir), "%s/van", s->home);
	snprintf(path, sizeof(path), "%s/contexts/default.json", dir);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct context c = {0};
		struct err e;
		bool out;

		write_file(path, cases[i], 0600);
		assert_int_equal(context_load(dir, "default", &c, &e), -VAN_E_CORRUPT);
		assert_contains(e.text, "log in again");
		assert_null(c.key);
		/* It does not stand in the way of somebody who brings everything. */
		assert_int_equal(RESOLVE("--console", "https://d", "--key-file", s->key_path), 0);
		assert_string_equal(c.key, "other-key");
		context_done(&c);
	}
	free(s->err_text);
}

static void options_go_before_the_login(void **state)
{
	struct setting *s = *state;
	struct context c;
	struct err e;
	bool out = false;

	assert_int_equal(RESOLVE(), -VAN_E_CONFIG);
	assert_true(out);
	assert_contains(e.text, "vanctl login");
	save(s, "a", "https://a:1", PIN);
	save(s, "b", "https://b:1", NULL);

	assert_int_equal(RESOLVE(), 0);
	assert_string_equal(c.console, "https://b:1"); /* the last login */
	context_done(&c);
	assert_int_equal(RESOLVE("--context", "a"), 0);
	assert_string_equal(c.console, "https://a:1");
	assert_string_equal(c.pin, PIN);
	context_done(&c);
	assert_int_equal(RESOLVE("--context", "zzz"), -VAN_E_NOT_FOUND);
	assert_int_equal(RESOLVE("--context", "../a"), -VAN_E_SYNTAX);

	/* The same console by another spelling keeps key and pin, another one gets neither. */
	assert_int_equal(RESOLVE("--context", "a", "--console", "https://a:1/"), 0);
	assert_string_equal(c.key, "stored-key");
	assert_string_equal(c.pin, PIN);
	context_done(&c);
	assert_int_equal(RESOLVE("--context", "a", "--console", "https://evil:1"), -VAN_E_CONFIG);
	assert_contains(e.text, "no API key for https://evil:1");
	assert_false(out);
	assert_int_equal(
		RESOLVE("--context", "a", "--console", "https://evil:1", "--key-file", s->key_path),
		0);
	assert_string_equal(c.key, "other-key");
	assert_null(c.pin);
	context_done(&c);

	/* A CA that is given replaces the pin that is stored. */
	assert_int_equal(RESOLVE("--context", "a", "--ca", "/ca.pem"), 0);
	assert_null(c.pin);
	assert_string_equal(c.ca_file, "/ca.pem");
	context_done(&c);
	setenv("VAN_CONTEXT", "a", 1);
	assert_int_equal(RESOLVE(), 0);
	assert_string_equal(c.console, "https://a:1");
	context_done(&c);
	unsetenv("VAN_CONTEXT");
	free(s->err_text);
}

static void loose_modes_are_warned_of(void **state)
{
	struct setting *s = *state;
	struct context c;
	struct err e;
	bool out;

	assert_int_equal(RESOLVE("--console", "https://d", "--key-file", s->key_path), 0);
	assert_string_equal(s->err_text, "");
	context_done(&c);
	chmod(s->key_path, 0644);
	assert_int_equal(RESOLVE("--console", "https://d", "--key-file", s->key_path), 0);
	assert_contains(s->err_text, "chmod 600");
	assert_lacks(s->err_text, "other-key");
	context_done(&c);
	free(s->err_text);
}

static void urls(void **state)
{
	static const char *const bad[] = {"", "c.example", "http://c", "ftp://c", "https://",
		"https:///x", "https://c/path", "https://u:p@c", "https://c?x", "https://c d",
		"https://c#x"};
	static const char *const good[][2] = {
		{"https://c", "https://c"},
		{"https://c:8443/", "https://c:8443"},
		{"HTTPS://c", "https://c"},
		{"https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"},
	};
	char *url = NULL;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (context_check_url(bad[i], &url, &e) != -VAN_E_SYNTAX)
			fail_msg("'%s' is taken", bad[i]);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(context_check_url(good[i][0], &url, &e), 0);
		assert_string_equal(url, good[i][1]);
		free(url);
	}
}

static void pins(void **state)
{
	static const char *const bad[] = {"", "x", "sha256//", "sha256//AAAA", "sha1//" PIN,
		PIN ";", ";" PIN, PIN " " PIN, PIN "x"};
	char *pin = NULL;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (context_check_pin(bad[i], &pin, &e) != -VAN_E_SYNTAX)
			fail_msg("'%s' is taken", bad[i]);
	}
	assert_int_equal(context_check_pin(" " PIN "\n", &pin, &e), 0);
	assert_string_equal(pin, PIN);
	free(pin);
	assert_int_equal(context_check_pin(PIN ";" PIN, &pin, &e), 0);
	assert_string_equal(pin, PIN ";" PIN);
	free(pin);
}

static void names(void **state)
{
	char longest[CONTEXT_NAME_MAX + 2];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[CONTEXT_NAME_MAX + 1] = '\0';
	assert_false(context_name_valid(longest));
	longest[CONTEXT_NAME_MAX] = '\0';
	assert_true(context_name_valid(longest));
	assert_true(context_name_valid("prod_eu-1.example"));
	assert_false(context_name_valid(""));
	assert_false(context_name_valid("."));
	assert_false(context_name_valid(".."));
	assert_false(context_name_valid("a/b"));
	assert_false(context_name_valid("a b"));
	assert_false(context_name_valid("-a"));
	assert_false(context_name_valid("z\xc3\xbc"));
}

static void secrets_in_files(void **state)
{
	static const struct {
		const char *text, *said;
	} bad[] = {{"", "is empty"}, {" \n\n", "is empty"}, {"a b", "something else"},
		{"a\nb\n", "something else"}, {"k\x01", "something else"},
		{"k\xc3\xbc", "something else"}};
	struct setting *s = *state;
	struct vanctl v = {.err = stderr, .quiet = true};
	char *text = NULL;
	struct err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(s->key_path, bad[i].text, 0600);
		assert_int_equal(
			secretfile_read(&v, s->key_path, "key", &text, &e), -VAN_E_INVALID);
		assert_contains(e.text, bad[i].said);
	}
	write_file(s->key_path, "\n  secret \r\n", 0600);
	assert_int_equal(secretfile_read(&v, s->key_path, "key", &text, &e), 0);
	assert_string_equal(text, "secret");
	secretfile_free(text);
	assert_int_equal(secretfile_read(&v, "/nonexistent", "key", &text, &e), -ENOENT);
	assert_int_equal(secretfile_read(&v, s->home, "key", &text, &e), -EISDIR);
	assert_int_equal(secretfile_read(&v, "/dev/zero", "key", &text, &e), -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(saved_and_read_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(options_go_before_the_login, set_up, tear_down),
		cmocka_unit_test_setup_teardown(loose_modes_are_warned_of, set_up, tear_down),
		cmocka_unit_test(urls),
		cmocka_unit_test(pins),
		cmocka_unit_test(names),
		cmocka_unit_test_setup_teardown(secrets_in_files, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
