// SPDX-License-Identifier: Apache-2.0
/*
 * export asks for one network at a time and puts the documents together, so that no answer gets
 * larger than a network. import sends the whole file: what is in it is done as a whole.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/text.h"

#define FILE_MAX (64u << 20)

/* -- export -- */

/* Documents are JSON for people too. */
static void print_document(const struct output *o, struct json_object *document)
{
	output_json.text(o, NULL, document);
}

/* Moves the networks of one document to the end of another's; an empty one becomes it. */
static int join(struct json_object **document, struct json_object *other, struct err *e)
{
	struct json_object *from, *to;
	int rc = json_get_array(other, "", "networks", &from, e);

	if (rc)
		return err_set(e, -VAN_E_PROTOCOL, "the console's answer is no topology");
	if (!*document) {
		*document = json_object_get(other);
		return 0;
	}
	to = output_member(*document, "networks");
	for (size_t i = 0; i < json_object_array_length(from); i++)
		json_object_array_add(to, json_object_get(json_object_array_get_idx(from, i)));
	return 0;
}

static int add_network(
	struct api *api, const char *name, struct json_object **document, struct err *e)
{
	CLEANUP(free) char *path = api_path("networks", name, "topology", NULL);
	CLEANUP(json) struct json_object *one = NULL;
	int rc = api_call(api, "GET", path, NULL, &one, e);

	return rc ? rc : join(document, one, e);
}

static int add_all(struct api *api, struct json_object **document, struct err *e)
{
	CLEANUP(json) struct json_object *list = NULL;
	struct json_object *items;
	int rc = api_list(api, "/api/v1/networks", &list, e);

	if (rc)
		return rc;
	items = output_member(list, "items");
	for (size_t i = 0; i < json_object_array_length(items) && !rc; i++) {
		struct json_object *network = json_object_array_get_idx(items, i);

		rc = add_network(api, output_string(network, "id", ""), document, e);
		if (rc == -VAN_E_NOT_FOUND)
			rc = 0; /* deleted meanwhile */
	}
	return rc;
}

int cmd_export(struct vanctl *v, struct err *e)
{
	const char *network = v->args->positionals[0];
	CLEANUP(json) struct json_object *document = NULL;
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = network ? add_network(&api, network, &document, e)
			     : add_all(&api, &document, e);
	if (rc)
		return rc;
	if (!document)
		return err_set(e, -VAN_E_NOT_FOUND, "there are no networks to export");
	output_with(&v->output, print_document, document);
	return 0;
}

/* -- import -- */

static const struct {
	const char *op;
	const char *sign;
} signs[] = {{"create", "+"}, {"update", "~"}, {"delete", "-"}};

static const char *sign_of(const char *op)
{
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
		if (strcmp(signs[i].op, op) == 0)
			return signs[i].sign;
	return "?";
}

static void print_value(FILE *to, struct json_object *value)
{
	if (!value)
		fputs("none", to);
	else if (json_object_is_type(value, json_type_string))
		text_clean(to, json_object_get_string(value));
	else
		text_clean(to, json_object_to_json_string_ext(value,
				       JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* What was changed, a line for each member that differs; of what is new, those that say something. */
static void print_members(FILE *to, struct json_object *before, struct json_object *after)
{
	if (!after)
		return;
	json_object_object_foreach(after, name, value)
	{
		struct json_object *old = output_member(before, name);

		if (strcmp(name, "name") == 0 || json_object_equal(old, value))
			continue;
		if (!before && !value)
			continue;
		fputs("      ", to);
		text_clean(to, name);
		fputs(": ", to);
		if (before) {
			print_value(to, old);
			fputs(" -> ", to);
		}
		print_value(to, value);
		fputc('\n', to);
	}
}

static void print_change(FILE *to, struct json_object *change)
{
	fprintf(to, "  %s ", sign_of(output_string(change, "op", "")));
	text_clean(to, output_string(change, "kind", "?"));
	fputc(' ', to);
	text_clean(to, output_string(change, "name", "?"));
	fputc('\n', to);
	print_members(to, output_member(change, "before"), output_member(change, "after"));
}

static size_t length_of(struct json_object *o, const char *name)
{
	struct json_object *list = output_member(o, name);

	return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

static void print_result(const struct output *o, struct json_object *result)
{
	struct json_object *networks = output_member(result, "networks");

	for (size_t i = 0; i < length_of(result, "networks"); i++) {
		struct json_object *n = json_object_array_get_idx(networks, i);
		struct json_object *changes = output_member(n, "changes");

		fputs("network ", o->to);
		text_clean(o->to, output_string(n, "name", "?"));
		fputs(length_of(n, "changes") ? ":\n" : ": no changes\n", o->to);
		for (size_t k = 0; k < length_of(n, "changes"); k++)
			print_change(o->to, json_object_array_get_idx(changes, k));
	}
}

/* What remains to be done by somebody. */
static void say_what_is_left(struct vanctl *v, struct json_object *network)
{
	struct json_object *warnings = output_member(network, "warnings");
	struct json_object *missing = output_member(network, "missing");
	const char *name = output_string(network, "name", "?");

	for (size_t i = 0; i < length_of(network, "warnings"); i++)
		vanctl_warn(
			v, "%s", json_object_get_string(json_object_array_get_idx(warnings, i)));
	for (size_t i = 0; i < length_of(network, "missing"); i++)
		vanctl_say(v, "Node %s has to join %s: vanctl join --token-file FILE --name %s",
			output_string(json_object_array_get_idx(missing, i), "name", "?"), name,
			output_string(json_object_array_get_idx(missing, i), "name", "?"));
	if (length_of(network, "missing"))
		vanctl_say(v, "Then import the file again: gateways, floating IPs and rules of "
			      "these nodes come with it.");
	if (output_member(network, "confirm_by") && !v->args->set[OPT_DRY_RUN])
		vanctl_say(v,
			"The change of the cloak is taken back unless you confirm: "
			"vanctl cloak confirm -n %s",
			name);
}

/* A file is put right in one go: what else is wrong with it, after the first error. */
static void say_all_errors(struct vanctl *v, struct json_object *problem, struct err *e)
{
	struct json_object *errors = output_member(problem, "errors");

	if (length_of(problem, "errors") < 2)
		return;
	vanctl_error(v, "%s", e->text);
	e->text[0] = '\0'; /* it is said */
	for (size_t i = 1; i < length_of(problem, "errors"); i++) {
		struct json_object *error = json_object_array_get_idx(errors, i);

		vanctl_error(v, "also wrong: %s: %s", output_string(error, "pointer", "?"),
			output_string(error, "detail", "?"));
	}
}

static int read_document(struct vanctl *v, struct json_object **ret_document, struct err *e)
{
	const char *path = v->args->positionals[0];
	CLEANUP(free) char *text = NULL;
	size_t len = 0;
	bool is_stdin = strcmp(path, "-") == 0;
	int rc = is_stdin ? file_read_fd(fileno(v->in), FILE_MAX, &text, &len, e)
			  : file_read(path, FILE_MAX, &text, &len, e);

	if (rc == -ENOENT)
		return err_set(e, rc, "there is no file %s", path);
	if (!rc)
		rc = json_parse(text, len, ret_document, e);
	if (rc == -VAN_E_SYNTAX) {
		/* It is the file that does not parse, not the command line. */
		err_prefix(e, rc, "%s", is_stdin ? "standard input" : path);
		return -VAN_E_INVALID;
	}
	return rc;
}

static char *import_path(struct vanctl *v)
{
	const struct command_args *args = v->args;
	char *path = resource_query(
		api_path("topologies", NULL), "dry_run", args->set[OPT_DRY_RUN] ? "true" : "false");

	path = resource_query(
		path, "name", args->set[OPT_IMPORT_NAME] ? args->text[OPT_IMPORT_NAME] : NULL);
	return resource_confirm_query(v, path);
}

int cmd_import(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *document = NULL;
	CLEANUP(json) struct json_object *result = NULL;
	CLEANUP(free) char *path = import_path(v);
	CLEANUP(api) struct api api = {0};
	int rc = read_document(v, &document, e);

	if (!rc)
		rc = api_open(v, &api, e);
	if (!rc)
		rc = api_call(&api, "POST", path, document, &result, e);
	if (rc) {
		say_all_errors(v, api.problem, e);
		return rc;
	}
	output_with(&v->output, print_result, result);
	for (size_t i = 0; i < length_of(result, "networks"); i++)
		say_what_is_left(
			v, json_object_array_get_idx(output_member(result, "networks"), i));
	if (v->args->set[OPT_DRY_RUN])
		vanctl_say(v, "Nothing was done (--dry-run).");
	return 0;
}
