// SPDX-License-Identifier: Apache-2.0
/*
 * Completion. The shells' scripts know nothing of the commands: they hand the words over to
 * `vanctl --complete` and get candidates back, so that they cannot fall behind the table. Where a
 * name is wanted, completion_names.c asks for those that there are.
 */
#include <string.h>

#include "vanctl/completion.h"
#include "vanctl/help.h"

static const char bash_script[] =
	"# bash completion for vanctl; load it with: source <(vanctl completion bash)\n"
	"_vanctl() {\n"
	"\tlocal line word cur=\"${COMP_WORDS[COMP_CWORD]}\"\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tif [[ $line == :files ]]; then\n"
	"\t\t\twhile IFS= read -r word; do\n"
	"\t\t\t\tCOMPREPLY+=(\"$word\")\n"
	"\t\t\tdone < <(compgen -f -- \"$cur\")\n"
	"\t\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\t\tcontinue\n"
	"\t\tfi\n"
	"\t\tword=${line%%$'\\t'*}\n"
	"\t\t[[ $word == \"$cur\"* ]] && COMPREPLY+=(\"$word\")\n"
	"\tdone < <(\"${COMP_WORDS[0]}\" --complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _vanctl vanctl\n";

static const char zsh_script[] =
	"#compdef vanctl\n"
	"# zsh completion for vanctl; load it with: source <(vanctl completion zsh)\n"
	"_vanctl() {\n"
	"\tlocal line tab=$'\\t'\n"
	"\tlocal -a candidates\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tif [[ $line == :files ]]; then\n"
	"\t\t\t_files\n"
	"\t\telse\n"
	"\t\t\tcandidates+=(\"${${line%%$tab*}//:/\\\\:}:${line#*$tab}\")\n"
	"\t\tfi\n"
	"\tdone < <(\"${words[1]}\" --complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
	"\t(( $#candidates )) && _describe vanctl candidates\n"
	"}\n"
	"if [[ $funcstack[1] == _vanctl ]]; then\n"
	"\t_vanctl \"$@\"\n"
	"else\n"
	"\tcompdef _vanctl vanctl\n"
	"fi\n";

void completion_script(FILE *to, const char *shell)
{
	fputs(strcmp(shell, "zsh") == 0 ? zsh_script : bash_script, to);
}

/* What is known of the words in front of the cursor. */
struct line {
	const char *noun;
	const struct command *command;
	size_t positionals;
	enum option_id open;      /* an option that waits for its value */
	struct command_args args; /* options with their values */
	bool options_ended;       /* "--" was there */
};

/* May this option stand here? All of a noun's while the verb is not known. */
static bool allowed(const struct line *l, enum option_id id)
{
	if (l->command)
		return command_takes(l->command, id);
	if (id <= OPT_LAST_GLOBAL)
		return true;
	for (const struct command *c = command_table; l->noun && c->noun; c++) {
		if (strcmp(c->noun, l->noun) == 0 && command_takes(c, id))
			return true;
	}
	return false;
}

static void set_option(struct line *l, enum option_id id, const char *value)
{
	l->args.text[id] = value;
	l->args.set[id] = *value != '\0';
}

/* Takes the value of "--option=value" and "-nvalue". */
static void take_joined(struct line *l, const char *word)
{
	for (enum option_id id = OPT_END + 1; id < OPT__MAX; id++) {
		const struct option_row *row = &option_table[id];
		size_t len = strlen(row->name);

		if (row->kind == VALUE_FLAG || !allowed(l, id))
			continue;
		if (word[1] == '-' && strncmp(word + 2, row->name, len) == 0 &&
			word[2 + len] == '=')
			set_option(l, id, word + 3 + len);
		else if (word[1] != '-' && row->letter && word[1] == row->letter && word[2])
			set_option(l, id, word + 2);
	}
}

/* The option that a word is, with its value still to come. */
static enum option_id open_option(const struct line *l, const char *word)
{
	for (enum option_id id = OPT_END + 1; id < OPT__MAX; id++) {
		const struct option_row *row = &option_table[id];

		if (row->kind == VALUE_FLAG || !allowed(l, id))
			continue;
		if (word[1] == '-' ? strcmp(word + 2, row->name) == 0
				   : row->letter && word[strlen(word) - 1] == row->letter &&
					     strlen(word) == 2)
			return id;
	}
	return OPT_END;
}

static void take_word(struct line *l, const char *word)
{
	if (l->open) {
		set_option(l, l->open, word);
		l->open = OPT_END;
	} else if (!l->options_ended && strcmp(word, "--") == 0) {
		l->options_ended = true;
	} else if (!l->options_ended && word[0] == '-' && word[1]) {
		l->open = open_option(l, word);
		if (!l->open)
			take_joined(l, word);
	} else if (!l->noun) {
		const struct command *c = command_find_noun(word);

		l->noun = c ? c->noun : "";
		l->command = c && !c->verb ? c : NULL;
	} else if (!l->command) {
		l->command = command_find(l->noun, word);
		if (!l->command)
			l->noun = "";
	} else {
		l->positionals++;
	}
}

/* Of things that there are: the command's options name such, and no new ones but these. */
static bool names_something_new(enum option_id id)
{
	return id == OPT_NAME || id == OPT_NEW_NAME || id == OPT_OBJECT_NAME ||
	       id == OPT_FOR_NAME || id == OPT_IMPORT_NAME;
}

static void complete_value(FILE *to, struct line *l, const char *typed)
{
	const struct option_row *row = &option_table[l->open];
	static const struct command none = {.noun = ""};

	if (l->open == OPT_CONTEXT)
		completion_contexts(to);
	else if (row->metavar && !names_something_new(l->open)) {
		l->args.command = l->command ? l->command : &none;
		completion_names(to, &l->args, row->metavar, typed);
	}
	if (row->kind == VALUE_FILE)
		fputs(":files\n", to);
	for (const char *const *c = row->choices; c && *c; c++)
		fprintf(to, "%s\t%s\n", *c, row->name);
}

static void complete_options(FILE *to, const struct line *l)
{
	for (enum option_id id = OPT_END + 1; id < OPT__MAX; id++) {
		if (allowed(l, id))
			fprintf(to, "--%s\t%s\n", option_table[id].name, option_table[id].help);
	}
}

static void complete_nouns(FILE *to)
{
	const char *last = "";

	for (const struct command *c = command_table; c->noun; c++) {
		if (strcmp(c->noun, last) != 0)
			fprintf(to, "%s\t%s\n", c->noun,
				c->verb ? "Commands for this kind of thing" : c->help);
		last = c->noun;
	}
}

static void complete_verbs(FILE *to, const char *noun)
{
	for (const struct command *c = command_table; c->noun; c++) {
		if (c->verb && strcmp(c->noun, noun) == 0)
			fprintf(to, "%s\t%s\n", c->verb, c->help);
	}
}

/* Choices such as "bash|zsh", files, or names of things. */
static void complete_positional(FILE *to, struct line *l, const char *typed)
{
	const struct command *c = l->command;
	const char *p =
		l->positionals < COMMAND_MAX_POSITIONALS ? c->positionals[l->positionals] : NULL;

	if (!p)
		return;
	if (strcmp(p, "FILE") == 0)
		fputs(":files\n", to);
	l->args.command = c;
	if (!strchr(p, '|')) {
		completion_names(to, &l->args, p, typed);
		return;
	}
	for (p += command_positional_optional(p); *p && *p != ']';) {
		size_t n = strcspn(p, "|]");

		fprintf(to, "%.*s\t%s\n", (int)n, p, c->help);
		p += n + (p[n] == '|');
	}
}

void completion_words(FILE *to, int count, char *const words[])
{
	struct line l = {0};
	const char *last = count > 0 ? words[count - 1] : "";

	for (int i = 0; i + 1 < count; i++)
		take_word(&l, words[i]);
	if (l.open)
		complete_value(to, &l, last);
	else if (!l.options_ended && last[0] == '-')
		complete_options(to, &l);
	else if (!l.noun)
		complete_nouns(to);
	else if (!l.command)
		complete_verbs(to, l.noun);
	else if (strcmp(l.command->noun, "help") == 0)
		l.positionals == 0 ? complete_nouns(to) : complete_verbs(to, words[count - 2]);
	else
		complete_positional(to, &l, last);
}
