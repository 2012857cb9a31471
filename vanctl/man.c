// SPDX-License-Identifier: Apache-2.0
/*
 * The manual page vanctl(1), from the command table: what stands before and behind the commands is
 * here, the commands and options themselves are where the parser finds them.
 */
#include <stdlib.h>

#include "vanctl/help.h"

/* Text for man(7): nothing in it is taken for a request or an escape. */
static void text(FILE *to, const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", to);
	for (; *s; s++) {
		switch (*s) {
		case '\\':
			fputs("\\e", to);
			break;
		case '-':
			fputs("\\-", to);
			break;
		case '\'':
			fputs("\\(aq", to);
			break;
		case '`':
			fputs("\\(ga", to);
			break;
		case '"':
			fputs("\\(dq", to);
			break;
		case '\n':
			fputs(s[1] == '.' || s[1] == '\'' ? "\n\\&" : "\n", to);
			break;
		default:
			fputc(*s, to);
		}
	}
}

static void option_item(FILE *to, enum option_id id)
{
	const struct option_row *row = &option_table[id];

	fputs(".TP\n\\fB", to);
	if (row->letter)
		fprintf(to, "\\-%c\\fR, \\fB", row->letter);
	text(to, "--");
	text(to, row->name);
	fputs("\\fR", to);
	if (row->metavar) {
		fputs(" \\fI", to);
		text(to, row->metavar);
		fputs("\\fR", to);
	}
	fputc('\n', to);
	text(to, row->help);
	fputc('\n', to);
	if (row->default_text) {
		fputs("The default is ", to);
		text(to, row->default_text);
		fputs(".\n", to);
	}
	if (row->env) {
		fputs("The environment variable \\fB", to);
		text(to, row->env);
		fputs("\\fR does the same.\n", to);
	}
}

static void command_section(FILE *to, const struct command *c)
{
	char *usage = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&usage, &size);

	fputs(".SS ", to);
	if (memory) {
		help_usage(memory, c);
		fclose(memory);
		fputs("vanctl ", to);
		text(to, usage);
		free(usage);
	}
	fputc('\n', to);
	text(to, c->help);
	fputs(".\n", to);
	if (c->text) {
		text(to, c->text);
		fputc('\n', to);
	}
	for (enum option_id id = OPT_LAST_GLOBAL + 1; id < OPT__MAX; id++) {
		if (command_takes(c, id))
			option_item(to, id);
	}
	fputs(".PP\nExample:\n.PP\n.RS 4\n.nf\n", to);
	text(to, c->example);
	fputs("\n.fi\n.RE\n", to);
}

static const char front[] =
	".\\\" SPDX-License-Identifier: Apache-2.0\n"
	".\\\" Made by vanctl --print-man from its command table; change it there.\n"
	".TH VANCTL 1 \"\" VAN \"User Commands\"\n"
	".SH NAME\n"
	"vanctl \\- control VAN, a layer\\-2 private network between clouds\n"
	".SH SYNOPSIS\n"
	".B vanctl\n"
	"[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n"
	".SH DESCRIPTION\n"
	"vanctl drives both halves of VAN:\n"
	"the registry of networks and nodes, console\\-api, over its REST API,\n"
	"and the local node, vand, through its control socket.\n"
	"join, leave, status, peers, mac, stats, ping and reload talk to vand, all others to the\n"
	"console.\n"
	".PP\n"
	"Data is written to standard output, messages to standard error.\n"
	"Secrets are read from files or standard input, never from arguments, where every user of\n"
	"the machine could see them.\n"
	"Options may stand before, between and after the words of a command.\n"
	"Times are written as 500ms, 30s, 1.5s, 5m, 1h30m or 7d; a bare number means seconds.\n"
	".SH OPTIONS\n"
	"Every command takes these.\n";

static const char back[] =
	".SH JSON\n"
	"With \\fB\\-o json\\fR commands print the object that the console or vand sent, unchanged\n"
	"but for white space.\n"
	"Lists of the console are read to their end and printed as one object with all\n"
	"\\fIitems\\fR and \\fInext\\fR null.\n"
	"\\fBping\\fR prints one object with the counts and the samples, and \\fBhosts\\fR a list of\n"
	"names (\\fIname\\fR) with their addresses (\\fIips\\fR).\n"
	"A command whose answer is empty prints nothing.\n"
	".SH EXIT STATUS\n"
	".TP\n.B 0\nDone.\n"
	".TP\n.B 1\nIt failed for a reason that has no number of its own.\n"
	".TP\n.B 2\nThe command line is wrong.\n"
	".TP\n.B 3\nThe console or vand cannot be reached, or is not who the pin or CA says.\n"
	".TP\n.B 4\nDenied: the key, token or user may not do this.\n"
	".TP\n.B 5\nNot found.\n"
	".TP\n.B 6\nConflict: the name or address is taken, or the object has changed.\n"
	".TP\n.B 7\nNo answer in time, be it that there is no connection yet.\n"
	".SH ENVIRONMENT\n"
	"Besides the variables named with the options:\n"
	".TP\n.B XDG_CONFIG_HOME\nWhere logins are kept; ~/.config unless set.\n"
	".TP\n.B NO_COLOR\nWhen set and not empty, no bold text is used.\n"
	".SH FILES\n"
	".TP\n.I $XDG_CONFIG_HOME/van/contexts/NAME.json\n"
	"A login: console, key, pin. Readable by its owner only.\n"
	".TP\n.I $XDG_CONFIG_HOME/van/current\nThe name of the login in use.\n"
	".TP\n.I /run/van/vand.sock\nThe control socket of vand.\n"
	".SH SEE ALSO\n"
	".BR vand (8),\n"
	".BR console\\-api (8)\n";

void man_print(FILE *to)
{
	fputs(front, to);
	for (enum option_id id = OPT_END + 1; id <= OPT_LAST_GLOBAL; id++)
		option_item(to, id);
	fputs(".SH COMMANDS\n", to);
	for (const struct command *c = command_table; c->noun; c++)
		command_section(to, c);
	fputs(back, to);
}
