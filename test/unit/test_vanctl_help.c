// SPDX-License-Identifier: Apache-2.0
/* Help, manual page and completion: all commands are in all of them. */
#include "vanctl_support.h"

#include "vanctl/help.h"

static void every_command_explains_itself(void **state)
{
	char home[32];

	(void)state;
	make_home(home);
	for (const struct command *c = command_table; c->noun; c++) {
		const char *words[] = {c->noun, c->verb ? c->verb : "--help", "--help", NULL};
		const char *help_words[] = {"help", c->noun, c->verb, NULL};
		struct ran r = run_words(NULL, words);
		struct ran again = run_words(NULL, help_words);
		const char *line = r.out;

		assert_int_equal(r.status, 0);
		assert_string_equal(r.err, "");
		assert_contains(r.out, c->help);
		assert_contains(r.out, c->example);
		assert_string_equal(r.out, again.out);
		for (enum option_id id = OPT_LAST_GLOBAL + 1; id < OPT__MAX; id++) {
			char option[32];

			snprintf(option, sizeof(option), "--%s", option_table[id].name);
			if (command_takes(c, id))
				assert_contains(r.out, option);
		}
		for (; *line; line += strcspn(line, "\n") + 1) {
			/* Usage and example must stay on one line to be pasted. */
			if (strcspn(line, "\n") > 82 && strncmp(line, "Usage", 5) != 0 &&
				strncmp(line, "  vanctl", 8) != 0)
				fail_msg("too long: %.100s", line);
		}
		ran_done(&r);
		ran_done(&again);
	}
	remove_home(home);
}

static void the_whole_help(void **state)
{
	struct ran r = RUN("--help");
	struct ran again = RUN("help");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, again.out);
	for (const struct command *c = command_table; c->noun; c++)
		assert_contains(r.out, c->help);
	ran_done(&r);
	ran_done(&again);
	r = RUN("network", "--help");
	assert_int_equal(r.status, 0);
	assert_contains(r.out, "network create");
	assert_lacks(r.out, "token issue");
	ran_done(&r);
	r = RUN("help", "nothing");
	assert_int_equal(r.status, 2);
	assert_string_equal(r.out, "");
	ran_done(&r);
}

static void usage_errors(void **state)
{
	struct ran r = run_words(NULL, (const char *const[]){NULL});

	(void)state;
	assert_int_equal(r.status, 2);
	assert_string_equal(r.out, "");
	assert_contains(r.err, "Try 'vanctl --help'.");
	ran_done(&r);
	r = RUN("network", "crate");
	assert_int_equal(r.status, 2);
	assert_string_equal(r.err,
		"vanctl: unknown command of network 'crate', did you mean 'create'?\n"
		"Try 'vanctl network --help'.\n");
	ran_done(&r);
	r = RUN("node", "set", "x", "-n", "y");
	assert_int_equal(r.status, 2);
	assert_contains(r.err, "nothing to set");
	assert_contains(r.err, "Usage: vanctl node set NODE -n NETWORK --address IP | --name NAME");
	ran_done(&r);
	r = RUN("login");
	assert_int_equal(r.status, 2);
	ran_done(&r);
}

static void versions(void **state)
{
	struct ran r = RUN("version");
	struct ran option = RUN("--version");

	(void)state;
	assert_string_equal(r.out, "vanctl " VAN_VERSION "\n");
	assert_string_equal(option.out, r.out);
	ran_done(&r);
	ran_done(&option);
	r = RUN("version", "-o", "json");
	assert_contains(r.out, "\"version\": \"" VAN_VERSION "\"");
	ran_done(&r);
}

static char *man_text(void)
{
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	man_print(to);
	fclose(to);
	return text;
}

static void the_manual_page(void **state)
{
	char *text = man_text();

	(void)state;
	assert_contains(text, ".TH VANCTL 1");
	for (const struct command *c = command_table; c->noun; c++) {
		char heading[64];

		snprintf(heading, sizeof(heading), ".SS vanctl %s%s%s", c->noun, c->verb ? " " : "",
			c->verb ? c->verb : "");
		assert_contains(text, heading);
	}
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
		/* What begins with a dot is a request, and ours are these. */
		if (line[0] == '.')
			assert_true(strspn(line + 1, "ABEFHINPRSTUaefinc\\\"") > 0);
		assert_true(line[0] != '\'');
	}
	free(text);
}

/* The page in the tree was made from this very table. */
static void the_manual_page_is_current(void **state)
{
	FILE *f = fopen("man/vanctl.1", "r");
	char *text = man_text();
	char *page;
	size_t len;

	(void)state;
	if (!f) {
		print_message("man/vanctl.1 is not here: run this at the top of the tree\n");
		free(text);
		skip();
	}
	page = calloc(1, 1 << 20);
	len = fread(page, 1, (1 << 20) - 1, f);
	fclose(f);
	assert_true(len > 0);
	if (strcmp(page, text) != 0)
		fail_msg("man/vanctl.1 is out of date: vanctl --print-man > man/vanctl.1");
	free(page);
	free(text);
}

/* -- completion -- */

/* Candidates for the last of the words. */
static char *complete(const char *const words[])
{
	char *argv[16];
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);
	int argc = 0;

	for (; words[argc]; argc++)
		argv[argc] = (char *)words[argc];
	completion_words(to, argc, argv);
	fclose(to);
	return text;
}

#define COMPLETE(...) complete((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static bool offers(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (; *text; text += strcspn(text, "\n") + 1) {
		if (strncmp(text, word, len) == 0 && (text[len] == '\t' || text[len] == '\n'))
			return true;
	}
	return false;
}

static void completes(void **state)
{
	static const struct {
		const char *words[8];
		const char *yes, *no;
	} cases[] = {
		{{""}, "network", "create"},
		{{"net"}, "network", "create"},
		{{"-o", "json", ""}, "network", "json"},
		{{"-o", ""}, "json", "network"},
		{{"--output", ""}, "table", "network"},
		{{"network", ""}, "create", "issue"},
		{{"network", "-q", ""}, "delete", "issue"},
		{{"network", "create", "--"}, "--cidr", "--uses"},
		{{"network", "--"}, "--cidr", "--uses"},
		{{"network", "create", "x", "--encryption", ""}, "integrity", "--cidr"},
		{{"network", "create", "x", "--cidr", ""}, NULL, "--cidr"},
		{{"join", "--token-file", ""}, ":files", "join"},
		{{"join", "--"}, "--token-file", "--uses"},
		{{"join", "--", "--"}, NULL, "--token-file"},
		{{"--"}, "--output", "--cidr"},
		{{"completion", ""}, "zsh", "network"},
		{{"completion", "bash", ""}, NULL, "zsh"},
		{{"help", ""}, "token", "issue"},
		{{"help", "token", ""}, "issue", "create"},
		{{"bogus", ""}, NULL, "network"},
		{{"network", "bogus", ""}, NULL, "create"},
		{{"status", ""}, NULL, "network"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = complete(cases[i].words);

		if (cases[i].yes && !offers(text, cases[i].yes))
			fail_msg("case %zu: no '%s' in: %s", i, cases[i].yes, text);
		if (offers(text, cases[i].no))
			fail_msg("case %zu: '%s' in: %s", i, cases[i].no, text);
		free(text);
	}
	free(COMPLETE()); /* no words at all */
}

/* bash itself, with the script that users load. */
static void bash_completes(void **state)
{
	static const struct {
		const char *words, *wanted;
	} cases[] = {
		{"vanctl net", "network"},
		{"vanctl network cr", "create"},
		{"vanctl network create x --enc", "--encryption"},
		{"vanctl -o j", "json"},
		{"vanctl completion z", "zsh"},
	};
	char home[32], path[64], command[512], line[256];
	struct ran r = RUN("completion", "bash");

	(void)state;
	make_home(home);
	snprintf(path, sizeof(path), "%s/script", home);
	write_file(path, r.out, 0600);
	ran_done(&r);
	/* In place of the program, a function that has its answers from a file. */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char words[128], answers[64];
		char *argv[16], *text;
		size_t len;
		int argc = 0;
		FILE *f;

		snprintf(words, sizeof(words), "%s", cases[i].words + strlen("vanctl "));
		for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
			argv[argc++] = w;
		f = open_memstream(&text, &len);
		completion_words(f, argc, argv);
		fclose(f);
		snprintf(answers, sizeof(answers), "%s/answers", home);
		write_file(answers, text, 0600);
		free(text);
		snprintf(command, sizeof(command),
			"bash --norc -c 'source %s; vanctl() { [ \"$1 $2\" = \"--complete --\" ] && "
			"cat %s; }; COMP_WORDS=(%s); COMP_CWORD=%d; _vanctl; echo \"${COMPREPLY[*]}\"'",
			path, answers, cases[i].words, argc);
		f = popen(command, "r");
		assert_non_null(f);
		assert_non_null(fgets(line, sizeof(line), f));
		assert_int_equal(pclose(f), 0);
		line[strcspn(line, "\n")] = '\0';
		assert_string_equal(line, cases[i].wanted);
	}
	remove_home(home);
}

static void scripts_are_there(void **state)
{
	struct ran r = RUN("completion", "zsh");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_memory_equal(r.out, "#compdef vanctl\n", 16);
	assert_contains(r.out, "--complete --");
	ran_done(&r);
	r = RUN("completion", "fish");
	assert_int_equal(r.status, 2);
	ran_done(&r);
	r = RUN("--complete", "--", "net");
	assert_int_equal(r.status, 0);
	assert_contains(r.out, "network\t");
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_command_explains_itself),
		cmocka_unit_test(the_whole_help),
		cmocka_unit_test(usage_errors),
		cmocka_unit_test(versions),
		cmocka_unit_test(the_manual_page),
		cmocka_unit_test(the_manual_page_is_current),
		cmocka_unit_test(completes),
		cmocka_unit_test(bash_completes),
		cmocka_unit_test(scripts_are_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
