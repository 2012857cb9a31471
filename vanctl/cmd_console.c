// SPDX-License-Identifier: Apache-2.0
/* The console itself, and who we are to it. */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/text.h"

/* "NAME (ID)"; the id alone of what has no name. */
static void cell_name(
	const struct output *o, struct json_object *row, const char *name, const char *id, FILE *to)
{
	const char *text = output_string(row, name, NULL);

	(void)o;
	if (!text) {
		text_clean(to, output_string(row, id, "-"));
		return;
	}
	text_clean(to, text);
	fputs(" (", to);
	text_clean(to, output_string(row, id, "?"));
	fputc(')', to);
}

static const struct view console = {(const struct column[]){
	COLUMN("Console", "public_url"),
	COLUMN("Id", "id"),
	COLUMN("Mesh", "mesh"),
	COLUMN("Version", "version"),
	COLUMN("Pin", "pin"),
	COLUMN("Next pin", "next_pin", .optional = true),
	{.title = NULL},
}};

/* "admin (key:key_01)". */
static void cell_key(const struct output *o, struct json_object *row, FILE *to)
{
	cell_name(o, row, "name", "actor", to);
}

static void cell_organization(const struct output *o, struct json_object *row, FILE *to)
{
	cell_name(o, row, "organization_name", "organization", to);
}

static const struct view whoami = {(const struct column[]){
	COLUMN("Key", NULL, .cell = cell_key),
	COLUMN("User", "user_name", .optional = true),
	COLUMN("Role", "role"),
	COLUMN("Expires", "expires_at", .cell = cell_until, .optional = true),
	COLUMN("Organization", NULL, .cell = cell_organization),
	{.title = NULL},
}};

int cmd_console_status(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *found = NULL;
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = api_call(&api, "GET", "/api/v1/console", NULL, &found, e);
	if (rc)
		return rc;
	api_learn_pins(v, &api, found);
	output_record(&v->output, &console, found);
	return 0;
}

int cmd_whoami(struct vanctl *v, struct err *e)
{
	return resource_show(v, api_path("whoami", NULL), &whoami, e);
}

static void print_state(const struct output *o, struct json_object *answer)
{
	text_clean(o->to, output_string(answer, "status", "?"));
	fputc('\n', o->to);
}

static int probe(struct vanctl *v, const char *path, struct err *e)
{
	CLEANUP(json) struct json_object *answer = NULL;
	int rc = resource_call(v, "GET", strdup(path), NULL, &answer, e);

	if (!rc)
		output_with(&v->output, print_state, answer);
	return rc;
}

int cmd_console_health(struct vanctl *v, struct err *e)
{
	return probe(v, "/healthz", e);
}

int cmd_console_ready(struct vanctl *v, struct err *e)
{
	return probe(v, "/readyz", e);
}

/* JSON for people, too. */
static void print_json(const struct output *o, struct json_object *document)
{
	output_json.text(o, NULL, document);
}

int cmd_console_openapi(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *document = NULL;
	int rc = resource_call(v, "GET", strdup("/api/openapi.json"), NULL, &document, e);

	if (!rc)
		output_with(&v->output, print_json, document);
	return rc;
}

static void print_text(const struct output *o, struct json_object *text)
{
	fputs(output_string(text, "text", ""), o->to);
}

int cmd_console_metrics(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *object = json_object_new_object();
	CLEANUP(free) char *text = NULL;
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = api_text(&api, "/metrics", &text, e);
	if (rc)
		return rc;
	json_set_string(object, "text", text);
	output_with(&v->output, print_text, object);
	return 0;
}
