// SPDX-License-Identifier: Apache-2.0
#include "vanctl/help.h"

#include <string.h>

#include "vanctl/text.h"

#define LINE_WIDTH 80

/* Writes text in lines of at most LINE_WIDTH columns; the first continues at column `at`, the
 * others begin at `indent`. */
static void wrap(FILE *to, const char *text, size_t at, size_t indent)
{
	const char *gap = "";

	while (*text) {
		size_t len = strcspn(text, " ");
		char word[256];
		size_t width;

		snprintf(word, sizeof(word), "%.*s", (int)len, text);
		width = text_width(word);
		if (*gap && at + 1 + width > LINE_WIDTH) {
			fprintf(to, "\n%*s", (int)indent, "");
			at = indent;
			gap = "";
		}
		fprintf(to, "%s%s", gap, word);
		at += strlen(gap) + width;
		gap = " ";
		text += len + strspn(text + len, " ");
	}
	fputc('\n', to);
}

static void usage_option(FILE *to, enum option_id id, bool required)
{
	const struct option_row *row = &option_table[id];

	fputs(required ? " " : " [", to);
	if (row->letter && row->kind != VALUE_FLAG)
		fprintf(to, "-%c", row->letter);
	else
		fprintf(to, "--%s", row->name);
	if (row->metavar)
		fprintf(to, " %s", row->metavar);
	fputs(required ? "" : "]", to);
}

void help_usage(FILE *to, const struct command *c)
{
	fprintf(to, "%s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
	if (c->usage) {
		fprintf(to, " %s", c->usage);
		return;
	}
	for (size_t i = 0; i < COMMAND_MAX_POSITIONALS && c->positionals[i]; i++)
		fprintf(to, " %s", c->positionals[i]);
	for (size_t i = 0; i < COMMAND_MAX_OPTIONS && c->required[i]; i++)
		usage_option(to, c->required[i], true);
	for (size_t i = 0; i < COMMAND_MAX_OPTIONS && c->options[i]; i++)
		usage_option(to, c->options[i], false);
}

#define OPTION_COLUMN 26

static void option_line(FILE *to, enum option_id id)
{
	const struct option_row *row = &option_table[id];
	char text[128];
	char letter[8] = "    ";
	int len;

	if (row->letter)
		snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	len = snprintf(text, sizeof(text), "  %s--%s%s%s", letter, row->name,
		row->metavar ? " " : "", row->metavar ? row->metavar : "");
	fputs(text, to);
	if (len + 2 > OPTION_COLUMN)
		fprintf(to, "\n%*s", OPTION_COLUMN, "");
	else
		fprintf(to, "%*s", OPTION_COLUMN - len, "");
	snprintf(text, sizeof(text), "%s%s%s%s%s", row->default_text ? " Default: " : "",
		row->default_text ? row->default_text : "", row->default_text ? "." : "",
		row->env ? " Variable: " : "", row->env ? row->env : "");
	if (*text) {
		char all[512];

		snprintf(all, sizeof(all), "%s%s%s", row->help, text, row->env ? "." : "");
		wrap(to, all, OPTION_COLUMN, OPTION_COLUMN);
	} else {
		wrap(to, row->help, OPTION_COLUMN, OPTION_COLUMN);
	}
}

/* "  network create   Create a network" */
static void command_line(FILE *to, const struct command *c)
{
	char words[64];

	snprintf(words, sizeof(words), "%s%s%s", c->noun, c->verb ? " " : "",
		c->verb ? c->verb : "");
	fprintf(to, "  %-18s  ", words);
	wrap(to, c->help, 22, 22);
}

void help_all(FILE *to)
{
	fputs("Usage: vanctl [OPTIONS] COMMAND [ARGUMENTS]\n\n"
	      "Controls VAN, a layer-2 private network between machines in many clouds:\n"
	      "the console over its REST API, the local node through vand.\n\n"
	      "Commands:\n",
		to);
	for (const struct command *c = command_table; c->noun; c++)
		command_line(to, c);
	fputs("\nOptions of every command:\n", to);
	for (enum option_id id = OPT_END + 1; id <= OPT_LAST_GLOBAL; id++)
		option_line(to, id);
	fputs("\nExit status: 0 done, 1 error, 2 usage, 3 unreachable, 4 denied, 5 not found,\n"
	      "6 conflict, 7 time-out.\n"
	      "Run 'vanctl help COMMAND' for more about a command.\n",
		to);
}

void help_noun(FILE *to, const char *noun)
{
	fprintf(to, "Usage: vanctl %s COMMAND [ARGUMENTS]\n\nCommands:\n", noun);
	for (const struct command *c = command_table; c->noun; c++) {
		if (strcmp(c->noun, noun) == 0)
			command_line(to, c);
	}
	fprintf(to, "\nRun 'vanctl %s COMMAND --help' for more about one of them.\n", noun);
}

void help_command(FILE *to, const struct command *c)
{
	fputs("Usage: vanctl ", to);
	help_usage(to, c);
	fprintf(to, "\n\n%s.\n", c->help);
	if (c->text) {
		fputc('\n', to);
		wrap(to, c->text, 0, 0);
	}
	if (c->required[0] || c->options[0]) {
		fputs("\nOptions:\n", to);
		for (enum option_id id = OPT_LAST_GLOBAL + 1; id < OPT__MAX; id++) {
			if (command_takes(c, id))
				option_line(to, id);
		}
	}
	fprintf(to, "\nExample:\n  %s\n\nRun 'vanctl --help' for the options of every command.\n",
		c->example);
}
