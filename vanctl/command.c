// SPDX-License-Identifier: Apache-2.0
/*
 * Parsing, driven by the table.
 *
 * A first getopt_long() pass with the global options alone finds the noun, a second one with all
 * options of that noun's commands finds the verb (so that options may stand between the two). The
 * two words are then taken out and a last pass over the rest, with the options of that one command,
 * does the work; getopt permutes, so options may stand behind arguments.
 *
 * No message repeats an argument that looks like a secret.
 */
#include "vanctl/command.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/cleanup.h"
#include "lib/token.h"
#include "vanctl/duration.h"

/* getopt's value for an option: above every character. */
#define GETOPT_BASE 256

/* The options of one getopt pass. */
struct option_set {
	struct option longs[OPT__MAX + 1];
	char shorts[3 + 2 * OPT__MAX];
	bool has[OPT__MAX];
};

const struct command *command_find_noun(const char *noun)
{
	for (const struct command *c = command_table; c->noun; c++) {
		if (strcmp(c->noun, noun) == 0)
			return c;
	}
	return NULL;
}

const struct command *command_find(const char *noun, const char *verb)
{
	for (const struct command *c = command_table; c->noun; c++) {
		if (strcmp(c->noun, noun) != 0)
			continue;
		if (c->verb ? verb && strcmp(c->verb, verb) == 0 : !verb)
			return c;
	}
	return NULL;
}

static bool in_list(const enum option_id *list, enum option_id id)
{
	for (size_t i = 0; i < COMMAND_MAX_OPTIONS && list[i] != OPT_END; i++) {
		if (list[i] == id)
			return true;
	}
	return false;
}

bool command_takes(const struct command *c, enum option_id id)
{
	return (id > OPT_END && id <= OPT_LAST_GLOBAL) || in_list(c->required, id) ||
	       in_list(c->options, id);
}

bool command_positional_optional(const char *placeholder)
{
	return placeholder[0] == '[';
}

/* Edit distance with neighbours swapped counted once; words beyond `size` are far from all. */
static size_t distance(const char *a, const char *b)
{
	enum { SIZE = 32 };
	size_t rows[3][SIZE + 1];
	size_t *before = rows[0], *last = rows[1], *now = rows[2];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > SIZE || b_len > SIZE)
		return SIZE;
	for (size_t j = 0; j <= b_len; j++)
		last[j] = before[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *spare = before;

		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[b_len];
}

const char *command_nearest(const char *typed, const char *const *words, size_t count)
{
	const char *best = NULL;
	size_t best_distance = 1 + (strlen(typed) + 1) / 3;

	for (size_t i = 0; i < count; i++) {
		size_t d = distance(typed, words[i]);

		if (d < best_distance && d < strlen(words[i])) {
			best = words[i];
			best_distance = d;
		}
	}
	return best;
}

/* "unknown WHAT 'TYPED'", and the nearest word if there is one. */
static int unknown(struct err *e, const char *what, const char *typed, const char *nearest)
{
	if (strncmp(typed, "van1_", 5) == 0)
		return err_set(e, -VAN_E_SYNTAX, "a join token is no %s", what);
	if (nearest)
		return err_set(e, -VAN_E_SYNTAX, "unknown %s '%.64s', did you mean '%s'?", what,
			typed, nearest);
	return err_set(e, -VAN_E_SYNTAX, "unknown %s '%.64s'", what, typed);
}

static int unknown_noun(const char *typed, struct err *e)
{
	const char *nouns[64];
	size_t count = 0;

	for (const struct command *c = command_table; c->noun; c++) {
		if (count < 64 && (!count || strcmp(nouns[count - 1], c->noun) != 0))
			nouns[count++] = c->noun;
	}
	return unknown(e, "command", typed, command_nearest(typed, nouns, count));
}

static int unknown_verb(const char *noun, const char *typed, struct err *e)
{
	const char *verbs[64];
	size_t count = 0;
	char what[80];

	for (const struct command *c = command_find_noun(noun); c->noun; c++) {
		if (strcmp(c->noun, noun) == 0 && c->verb && count < 64)
			verbs[count++] = c->verb;
	}
	snprintf(what, sizeof(what), "command of %s", noun);
	return unknown(e, what, typed, command_nearest(typed, verbs, count));
}

/* "network needs one of: create, list, …" */
static int missing_verb(const char *noun, struct err *e)
{
	char list[256] = "";
	size_t len = 0;

	for (const struct command *c = command_find_noun(noun); c->noun; c++) {
		if (strcmp(c->noun, noun) != 0)
			break;
		len += (size_t)snprintf(
			list + len, sizeof(list) - len, "%s%s", len ? ", " : "", c->verb);
		if (len >= sizeof(list))
			break;
	}
	return err_set(e, -VAN_E_SYNTAX, "%s needs one of: %s", noun, list);
}

static void option_set_add(struct option_set *set, enum option_id id)
{
	const struct option_row *row = &option_table[id];
	size_t n = 0;

	if (set->has[id])
		return;
	/* Two rows may share a name (token-file is another thing to login than to join). */
	for (; set->longs[n].name; n++) {
		if (strcmp(set->longs[n].name, row->name) == 0)
			return;
	}
	set->has[id] = true;
	set->longs[n] = (struct option){
		.name = row->name,
		.has_arg = row->kind == VALUE_FLAG ? no_argument : required_argument,
		.val = GETOPT_BASE + (int)id,
	};
	if (row->letter) {
		size_t len = strlen(set->shorts);

		set->shorts[len++] = row->letter;
		if (row->kind != VALUE_FLAG)
			set->shorts[len++] = ':';
		set->shorts[len] = '\0';
	}
}

static void option_set_add_command(struct option_set *set, const struct command *c)
{
	for (enum option_id id = OPT_END + 1; id < OPT__MAX; id++) {
		if (command_takes(c, id))
			option_set_add(set, id);
	}
}

/* With `in_order` the pass ends at the first word that is no option. */
static void option_set_init(struct option_set *set, bool in_order)
{
	memset(set, 0, sizeof(*set));
	strcpy(set->shorts, in_order ? "+:" : ":");
	for (enum option_id id = OPT_END + 1; id <= OPT_LAST_GLOBAL; id++)
		option_set_add(set, id);
}

static enum option_id option_by_letter(const struct option_set *set, int letter)
{
	for (enum option_id id = OPT_END + 1; id < OPT__MAX; id++) {
		if (set->has[id] && option_table[id].letter == letter)
			return id;
	}
	return OPT_END;
}

/* The option that a getopt value stands for. */
static enum option_id option_by_value(const struct option_set *set, int value)
{
	return value >= GETOPT_BASE ? (enum option_id)(value - GETOPT_BASE)
				    : option_by_letter(set, value);
}

static int next_option(int argc, char *const argv[], const struct option_set *set)
{
	return getopt_long(argc, argv, set->shorts, set->longs, NULL);
}

static void restart_getopt(void)
{
	optind = 0; /* GNU: begin anew and read the option string's first character again */
	opterr = 0;
}

/* What getopt called '?'. `typed` is the word in question. */
static int unknown_option(const struct option_set *set, const char *typed, struct err *e)
{
	const char *names[OPT__MAX];
	const char *nearest;
	size_t count = 0, prefixed = 0, len;
	char name[64];

	if (optopt && optopt < GETOPT_BASE) {
		char letter[3] = {'-', (char)optopt, '\0'};

		return unknown(e, "option", letter, NULL);
	}
	if (optopt)
		return err_set(e, -VAN_E_SYNTAX, "option --%s takes no value",
			option_table[optopt - GETOPT_BASE].name);
	typed += strspn(typed, "-");
	len = strcspn(typed, "=");
	snprintf(name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : sizeof(name) - 1),
		typed);
	for (; set->longs[count].name; count++) {
		names[count] = set->longs[count].name;
		prefixed += strncmp(names[count], name, strlen(name)) == 0;
	}
	if (prefixed > 1)
		return err_set(e, -VAN_E_SYNTAX, "option '--%s' is short for several", name);
	nearest = command_nearest(name, names, count);
	if (nearest)
		return err_set(e, -VAN_E_SYNTAX, "unknown option '--%s', did you mean '--%s'?",
			name, nearest);
	return err_set(e, -VAN_E_SYNTAX, "unknown option '--%s'", name);
}

static int missing_value(const struct option_set *set, struct err *e)
{
	const struct option_row *row = &option_table[option_by_value(set, optopt)];

	return err_set(e, -VAN_E_SYNTAX, "option --%s needs a value: --%s %s", row->name, row->name,
		row->metavar);
}

static bool is_choice(const char *const *choices, const char *text)
{
	for (; *choices; choices++) {
		if (strcmp(*choices, text) == 0)
			return true;
	}
	return false;
}

static int check_number(const struct option_row *row, const char *from, const char *text,
	int64_t *ret_number, struct err *e)
{
	char min[32], max[32];
	int64_t value;

	if (row->kind == VALUE_DURATION) {
		if (!duration_parse(text, &value))
			return err_set(e, -VAN_E_SYNTAX,
				"%s: '%.64s' is no duration; write it as 500ms, 30s, 5m, 1h or 7d",
				from, text);
		duration_format(row->min, min);
		duration_format(row->max, max);
	} else {
		char *end;

		errno = 0;
		value = strtoll(text, &end, 10);
		if (errno || *end || text[strspn(text, "0123456789")])
			return err_set(e, -VAN_E_SYNTAX, "%s: '%.64s' is no number", from, text);
		snprintf(min, sizeof(min), "%lld", (long long)row->min);
		snprintf(max, sizeof(max), "%lld", (long long)row->max);
	}
	if ((value < row->min || value > row->max) && !(row->or_zero && value == 0))
		return err_set(e, -VAN_E_SYNTAX, "%s: %.64s is out of range (%s%s to %s)", from,
			text, row->or_zero ? "0, or " : "", min, max);
	*ret_number = value;
	return 0;
}

static int check_network(int family, const char *from, const char *text, struct err *e)
{
	const char *kind = family == AF_INET ? "IPv4" : "IPv6";
	char wanted[CIDR_TEXT_LEN];
	struct cidr c;

	if (!strchr(text, '/') || !cidr_parse(text, &c) || c.ip.family != family)
		return err_set(e, -VAN_E_SYNTAX, "%s: '%.64s' is no %s network such as %s", from,
			text, kind, family == AF_INET ? "172.16.1.0/24" : "fd00:1::/64");
	if (cidr_is_network(&c))
		return 0;
	c.ip = cidr_first(&c);
	cidr_format(&c, wanted);
	return err_set(e, -VAN_E_SYNTAX,
		"%s: '%.64s' is an address within a network; did you mean %s?", from, text, wanted);
}

static int check_choice(
	const struct option_row *row, const char *from, const char *text, struct err *e)
{
	char list[128] = "";
	size_t len = 0;

	if (is_choice(row->choices, text))
		return 0;
	for (const char *const *c = row->choices; *c && len < sizeof(list); c++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
			!len   ? ""
			: c[1] ? ", "
			       : " or ",
			*c);
	return err_set(e, -VAN_E_SYNTAX, "%s: '%.64s' is not %s", from, text, list);
}

/* KEY=VALUE, or KEY- where one can be removed, at every place between commas. */
static int check_pairs(
	const struct option_row *row, const char *from, const char *text, struct err *e)
{
	for (const char *at = text;;) {
		size_t len = strcspn(at, ",");
		const char *equals = memchr(at, '=', len);
		bool removal = !equals && len > 1 && at[len - 1] == '-';
		size_t digits = equals ? strspn(equals + 1, "0123456789") : 0;
		bool number = digits && digits < 10 && equals + 1 + digits == at + len;

		if (equals == at || (!equals && (!removal || row->kind == VALUE_FILTER)) ||
			(equals && row->kind == VALUE_NUMBERS && !number))
			return err_set(e, -VAN_E_SYNTAX, "%s: '%.64s' is not of the form %s", from,
				text, row->metavar);
		if (!at[len])
			return 0;
		at += len + 1;
	}
}

static int check_words(const char *from, const char *text, struct err *e)
{
	size_t len = strlen(text);

	if (text[0] == ',' || text[len - 1] == ',' || strstr(text, ",,"))
		return err_set(e, -VAN_E_SYNTAX, "%s: a word of '%.64s' is empty", from, text);
	return 0;
}

/* Is text a value for the option? `from` names the option or variable in messages. */
static int check_value(const struct option_row *row, const char *from, const char *text,
	int64_t *ret_number, struct err *e)
{
	struct ip ip;

	if (row->kind != VALUE_FLAG && !*text)
		return err_set(e, -VAN_E_SYNTAX, "%s: the value is empty", from);
	if (strncmp(text, "van1_", 5) == 0)
		return err_set(e, -VAN_E_SYNTAX,
			"%s: a join token on the command line is visible to every user of this "
			"machine; put it into a file, or pipe it in with --token-file -",
			from);
	switch (row->kind) {
	case VALUE_CHOICE:
	case VALUE_YES_NO:
		return check_choice(row, from, text, e);
	case VALUE_WORDS:
		return check_words(from, text, e);
	case VALUE_LABELS:
	case VALUE_NUMBERS:
	case VALUE_FILTER:
		return check_pairs(row, from, text, e);
	case VALUE_INT:
	case VALUE_DURATION:
		return check_number(row, from, text, ret_number, e);
	case VALUE_CIDR4:
		return check_network(AF_INET, from, text, e);
	case VALUE_CIDR6:
		return check_network(AF_INET6, from, text, e);
	case VALUE_IP:
		if (!ip_parse(text, &ip))
			return err_set(e, -VAN_E_SYNTAX,
				"%s: '%.64s' is no address such as 172.16.1.5", from, text);
		return 0;
	case VALUE_IFNAME:
		if (strlen(text) > 15 || strpbrk(text, "/: \t\n") || strcmp(text, ".") == 0 ||
			strcmp(text, "..") == 0)
			return err_set(e, -VAN_E_SYNTAX,
				"%s: '%.64s' is no interface name (1 to 15 characters, no space, "
				"'/' or ':')",
				from, text);
		return 0;
	case VALUE_FLAG:
	case VALUE_TEXT:
	case VALUE_FILE:
		return 0;
	}
	return 0;
}

static int set_value(struct command_args *args, enum option_id id, const char *text, struct err *e)
{
	char from[64];
	int rc;

	snprintf(from, sizeof(from), "--%s", option_table[id].name);
	rc = check_value(&option_table[id], from, text ? text : "", &args->number[id], e);
	if (rc < 0)
		return rc;
	args->text[id] = text ? text : "";
	args->set[id] = true;
	return 0;
}

/* What was not typed comes from the environment, else from the default. */
static int fill_in(struct command_args *args, struct err *e)
{
	for (enum option_id id = OPT_END + 1; id < OPT__MAX; id++) {
		const struct option_row *row = &option_table[id];
		const char *env = row->env ? getenv(row->env) : NULL;
		int rc = 0;

		if (args->set[id] || !command_takes(args->command, id))
			continue;
		if (env && *env) {
			rc = check_value(row, row->env, env, &args->number[id], e);
			args->text[id] = env;
			args->set[id] = true;
		} else if (row->default_text) {
			rc = check_value(row, row->name, row->default_text, &args->number[id], e);
			args->text[id] = row->default_text;
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int too_many(const struct command *c, const char *typed, struct err *e)
{
	if (strncmp(typed, "van1_", 5) == 0)
		return err_set(e, -VAN_E_SYNTAX,
			"a join token on the command line is visible to every user of this "
			"machine; put it into a file, or pipe it in with --token-file -");
	if (c->positional_hint)
		return err_set(e, -VAN_E_SYNTAX, "%s", c->positional_hint);
	return err_set(e, -VAN_E_SYNTAX, "unexpected argument '%.64s'", typed);
}

/* Is `typed` one of the placeholder's alternatives ("bash|zsh")? A plain one takes all. */
static bool positional_matches(const char *placeholder, const char *typed)
{
	size_t len = strlen(typed);
	const char *p = placeholder + command_positional_optional(placeholder);

	if (!strchr(placeholder, '|'))
		return true;
	while (*p && *p != ']') {
		size_t n = strcspn(p, "|]");

		if (n == len && strncmp(p, typed, n) == 0)
			return true;
		p += n + (p[n] == '|');
	}
	return false;
}

static int take_positionals(
	struct command_args *args, int count, char *const words[], struct err *e)
{
	const struct command *c = args->command;

	for (int i = 0; i < count; i++) {
		const char *placeholder = i < COMMAND_MAX_POSITIONALS ? c->positionals[i] : NULL;

		if (!placeholder)
			return too_many(c, words[i], e);
		if (!*words[i])
			return err_set(e, -VAN_E_SYNTAX, "%s is empty", placeholder);
		if (strncmp(words[i], "van1_", 5) == 0)
			return too_many(c, words[i], e);
		if (!positional_matches(placeholder, words[i]))
			return err_set(
				e, -VAN_E_SYNTAX, "'%.64s' is not %s", words[i], placeholder);
		args->positionals[i] = words[i];
	}
	if (count < COMMAND_MAX_POSITIONALS && c->positionals[count] &&
		!command_positional_optional(c->positionals[count]))
		return err_set(e, -VAN_E_SYNTAX, "%s is missing", c->positionals[count]);
	for (size_t i = 0; i < COMMAND_MAX_OPTIONS && c->required[i] != OPT_END; i++) {
		const struct option_row *row = &option_table[c->required[i]];

		if (!args->set[c->required[i]])
			return err_set(
				e, -VAN_E_SYNTAX, "--%s %s is missing", row->name, row->metavar);
	}
	return 0;
}

/* The last pass: argv[0] and everything but the command's own words. */
static int parse_rest(int argc, char **argv, struct command_args *args, struct err *e)
{
	struct option_set set;
	int value, rc;

	option_set_init(&set, false);
	option_set_add_command(&set, args->command);
	restart_getopt();
	while ((value = next_option(argc, argv, &set)) != -1) {
		enum option_id id;

		if (value == '?')
			return unknown_option(&set, argv[optind - 1], e);
		if (value == ':')
			return missing_value(&set, e);
		id = option_by_value(&set, value);
		if (id == OPT_HELP) {
			args->help = true;
			return 0;
		}
		rc = set_value(args, id, optarg, e);
		if (rc < 0)
			return rc;
	}
	if (args->set[OPT_IF_REVISION] && !args->command->conditional)
		return err_set(e, -VAN_E_SYNTAX,
			"--if-revision is for commands that change or delete one object");
	rc = fill_in(args, e);
	return rc < 0 ? rc : take_positionals(args, argc - optind, argv + optind, e);
}

/*
 * The index of the first word that is no option, argc if there is none. Mistakes are passed over
 * where `set` is only a guess (ret_error NULL).
 */
static int find_word(int argc, char **argv, const struct option_set *set, bool *ret_help,
	int *ret_rc, struct err *e)
{
	int value;

	restart_getopt();
	while ((value = next_option(argc, argv, set)) != -1) {
		if (value == GETOPT_BASE + OPT_HELP || value == 'h')
			*ret_help = true;
		if (!ret_rc)
			continue;
		if (value == '?')
			*ret_rc = unknown_option(set, argv[optind - 1], e);
		if (value == ':')
			*ret_rc = missing_value(set, e);
		if (*ret_rc < 0)
			break;
	}
	return optind;
}

/* Takes word `at` out of argv[0…*argc]. */
static void take_out(int *argc, char **argv, int at)
{
	memmove(argv + at, argv + at + 1, (size_t)(*argc - at) * sizeof(*argv));
	--*argc;
}

static int find_verb(int *argc, char **argv, int noun_at, struct command_args *args, struct err *e)
{
	struct option_set set;
	int at;

	option_set_init(&set, true);
	for (const struct command *c = command_table; c->noun; c++) {
		if (strcmp(c->noun, args->noun) == 0)
			option_set_add_command(&set, c);
	}
	/* The noun stands where getopt expects the program's name. */
	at = noun_at + find_word(*argc - noun_at, argv + noun_at, &set, &args->help, NULL, e);
	if (at >= *argc)
		return args->help ? 0 : missing_verb(args->noun, e);
	args->command = command_find(args->noun, argv[at]);
	if (!args->command)
		return unknown_verb(args->noun, argv[at], e);
	take_out(argc, argv, at);
	return 0;
}

int command_parse(int argc, char *const argv_in[], struct command_args *ret_args, struct err *e)
{
	CLEANUP(free) char **argv = calloc((size_t)argc + 1, sizeof(*argv));
	const struct command *first;
	struct option_set set;
	int rc = 0, at;

	memset(ret_args, 0, sizeof(*ret_args));
	if (!argv)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(argv, argv_in, (size_t)argc * sizeof(*argv));
	option_set_init(&set, true);
	at = find_word(argc, argv, &set, &ret_args->help, &rc, e);
	if (rc < 0)
		return rc;
	if (at >= argc)
		return ret_args->help ? 0 : err_set(e, -VAN_E_SYNTAX, "no command is given");
	first = command_find_noun(argv[at]);
	if (!first)
		return unknown_noun(argv[at], e);
	ret_args->noun = first->noun;
	if (!first->verb) {
		ret_args->command = first;
	} else {
		rc = find_verb(&argc, argv, at, ret_args, e);
		if (rc < 0 || !ret_args->command)
			return rc;
	}
	if (ret_args->help)
		return 0;
	take_out(&argc, argv, at);
	return parse_rest(argc, argv, ret_args, e);
}
