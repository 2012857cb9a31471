// SPDX-License-Identifier: Apache-2.0
/*
 * Names of things for the completion: of the console's, with the login that the words in front of
 * the cursor and the environment mean, or of the local vand's for commands that speak to it. Whoever
 * presses a key does not wait for long, and is told of no failure: there are no names then.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/completion.h"
#include "vanctl/local.h"
#include "vanctl/text.h"

#define PATIENCE_MS 2000u
#define NAMES_MAX   "1000"

/* What stands for a placeholder or an option's value. */
struct source {
	const char *placeholder;
	const char *noun;   /* of the command, or NULL for all */
	const char *folder; /* in the console */
	bool in_network;    /* of the network that -n names */
	const char *member;
	const char *described_by; /* a member that says more, or NULL */
};

/* Of several that fit the first one is meant. */
static const struct source sources[] = {
	{"NETWORK", NULL, "networks", false, "name", "cidr"},
	{"NODE", NULL, "nodes", true, "name", "id"},
	{"RESERVATION", NULL, "reservations", true, "address", "note"},
	{"GATEWAY", NULL, "gateways", true, "name", "node_name"},
	{"FIP", NULL, "floating-ips", true, "address", "name"},
	{"RULE", NULL, "cloak/rules", true, "id", "protocol"},
	{"ORG", NULL, "organizations", false, "name", "description"},
	{"USER", NULL, "users", false, "name", "role"},
	{"ID", "token", "tokens", false, "id", "network_name"},
	{"ID", "key", "keys", false, "id", "name"},
};

/* Is it the word that the placeholder begins with: "[NODE]", "NODE[,NODE…]|any"? */
static bool is_placeholder(const char *placeholder, const char *word)
{
	const char *at = placeholder + command_positional_optional(placeholder);
	size_t len = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

	return len == strlen(word) && strncmp(at, word, len) == 0;
}

static const struct source *source_of(const struct command *c, const char *placeholder)
{
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		const struct source *s = &sources[i];

		if (is_placeholder(placeholder, s->placeholder) &&
			(!s->noun || strcmp(s->noun, c->noun) == 0))
			return s;
	}
	return NULL;
}

/* A word that a shell and a list of lines can carry. */
static void print_name(FILE *to, const char *prefix, const char *name, const char *description)
{
	if (!name || !*name || name[strcspn(name, " \t\r\n:'\"\\$`")])
		return;
	text_clean(to, prefix);
	text_clean(to, name);
	fputc('\t', to);
	text_clean(to, description ? description : "");
	fputc('\n', to);
}

static void print_items(FILE *to, const char *prefix, struct json_object *list, const char *member,
	const char *described_by)
{
	struct json_object *items = output_member(list, "items");

	for (size_t i = 0;
		json_object_is_type(items, json_type_array) && i < json_object_array_length(items);
		i++) {
		struct json_object *item = json_object_array_get_idx(items, i);

		print_name(to, prefix, output_string(item, member, NULL),
			described_by ? output_string(item, described_by, "") : "");
	}
}

/* The nodes that may be added to a network are not those in it. */
static bool wants_all(const struct command *c)
{
	return strcmp(c->noun, "node") == 0 && c->verb && strcmp(c->verb, "add") == 0;
}

static void names_of_console(FILE *to, struct vanctl *v, const struct source *s, const char *prefix)
{
	const struct command_args *args = v->args;
	bool in_network = s->in_network && args->set[OPT_NETWORK] && !wants_all(args->command);
	CLEANUP(json) struct json_object *list = NULL;
	char *path;

	/* Only nodes are to be found without a network. */
	if (s->in_network && !in_network && strcmp(s->folder, "nodes") != 0)
		return;
	/* Standard input is the terminal's. */
	if (args->set[OPT_KEY_FILE] && strcmp(args->text[OPT_KEY_FILE], "-") == 0)
		return;
	path = in_network ? resource_path(v, s->folder, NULL) : api_path(s->folder, NULL);
	path = resource_query(path, "limit", NAMES_MAX);
	if (resource_call(v, "GET", path, NULL, &list, NULL) == 0)
		print_items(to, prefix, list, s->member, s->described_by);
}

static void names_of_daemon(FILE *to, struct vanctl *v, const char *placeholder)
{
	CLEANUP(json) struct json_object *answer = NULL;
	bool networks = is_placeholder(placeholder, "NETWORK");

	if (!networks && !is_placeholder(placeholder, "PEER"))
		return;
	if (local_call(v, networks ? "status" : "peers", NULL, v->timeout_ms, &answer, NULL))
		return;
	if (networks)
		json_object_object_add(
			answer, "items", json_object_get(output_member(answer, "networks")));
	print_items(to, "", answer, "name", networks ? "ifname" : "state");
}

/* The logins there are. */
void completion_contexts(FILE *to)
{
	CLEANUP(free) char *dir = NULL;
	CLEANUP(free) char *folder = NULL;
	const struct dirent *entry;
	DIR *d;

	if (context_dir(&dir, NULL) || asprintf(&folder, "%s/contexts", dir) < 0) {
		folder = NULL;
		return;
	}
	d = opendir(folder);
	while (d && (entry = readdir(d))) {
		CLEANUP(free) char *name = strdup(entry->d_name);
		char *end = name ? strstr(name, ".json") : NULL;

		if (!end || end[5] || end == name)
			continue;
		*end = '\0';
		print_name(to, "", name, "login");
	}
	if (d)
		closedir(d);
}

/* What was not typed, from the environment. */
static void fill_in(struct command_args *args)
{
	for (enum option_id id = OPT_END + 1; id <= OPT_LAST_GLOBAL; id++) {
		const struct option_row *row = &option_table[id];
		const char *env = row->env ? getenv(row->env) : NULL;

		if (!args->set[id] && env && *env) {
			args->text[id] = env;
			args->set[id] = true;
		}
		if (!args->text[id])
			args->text[id] = row->default_text;
	}
}

void completion_names(
	FILE *to, struct command_args *args, const char *placeholder, const char *typed)
{
	const struct source *s = source_of(args->command, placeholder);
	struct vanctl v = {.in = stdin,
		.out = to,
		.err = stderr,
		.args = args,
		.timeout_ms = PATIENCE_MS,
		.quiet = true};
	const char *comma = strchr(placeholder, ',') ? strrchr(typed, ',') : NULL;
	CLEANUP(free) char *prefix = strndup(typed, comma ? (size_t)(comma + 1 - typed) : 0);

	fill_in(args);
	if (!prefix)
		return;
	if (args->command->local)
		names_of_daemon(to, &v, placeholder);
	else if (s)
		names_of_console(to, &v, s, prefix);
}
