// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/text.h"

/* Null is every member, an empty list nobody. */
static void cell_candidates(const struct output *o, struct json_object *value, FILE *to)
{
	if (!value)
		fputs("every node", to);
	else if (!json_object_array_length(value))
		fputs("nobody", to);
	else
		cell_strings(o, value, to);
}

static void cell_assigned(const struct output *o, struct json_object *value, FILE *to)
{
	(void)o;
	text_clean(to, value ? json_object_get_string(value) : "whoever claims it");
}

static const struct view fips = {(const struct column[]){
	COLUMN("ADDRESS", "address"),
	COLUMN("NAME", "name", .optional = true),
	COLUMN("ASSIGNED TO", "assigned_name", .cell = cell_assigned),
	COLUMN("CANDIDATES", "candidate_names", .cell = cell_candidates),
	COLUMN("VRID", "vrid", .optional = true),
	COLUMN("NOTE", "note", .optional = true),
	{.title = NULL},
}};

static const struct view fip = {(const struct column[]){
	COLUMN("Address", "address"),
	COLUMN("Id", "id"),
	COLUMN("Network", "network_name"),
	COLUMN("Name", "name", .optional = true),
	COLUMN("Assigned to", "assigned_name", .cell = cell_assigned),
	COLUMN("Candidates", "candidate_names", .cell = cell_candidates),
	COLUMN("VRID", "vrid", .optional = true),
	COLUMN("Note", "note", .optional = true),
	COLUMN("Created", "created_at"),
	COLUMN("Revision", "revision"),
	{.title = NULL},
}};

static const struct body_row settings[] = {
	{OPT_NEW_ADDRESS, "address"},
	{OPT_OBJECT_NAME, "name"},
	{OPT_CANDIDATES, "candidates"},
	{OPT_ASSIGN, "assigned"},
	{OPT_VRID, "vrid"},
	{OPT_NOTE, "note"},
	{OPT_END, NULL},
};

static char *path_of(struct vanctl *v)
{
	return resource_path(v, "floating-ips", v->args->positionals[0]);
}

static void allow_any(struct vanctl *v, struct json_object *body)
{
	if (v->args->set[OPT_CANDIDATES] && strcmp(v->args->text[OPT_CANDIDATES], "any") == 0)
		json_object_object_add(body, "candidates", NULL);
}

int cmd_fip_list(struct vanctl *v, struct err *e)
{
	return resource_list(v, resource_path(v, "floating-ips", NULL), &fips,
		"No floating IPs. Make one: vanctl fip create ADDRESS -n NETWORK", e);
}

int cmd_fip_show(struct vanctl *v, struct err *e)
{
	return resource_show(v, path_of(v), &fip, e);
}

int cmd_fip_create(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, settings);

	json_set_string(body, "address", v->args->positionals[0]);
	allow_any(v, body);
	return resource_send(v, "POST", resource_path(v, "floating-ips", NULL), body, &fips, e);
}

int cmd_fip_assign(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = json_object_new_object();

	json_set_string(body, "assigned", v->args->positionals[1]);
	return resource_send(v, "PATCH", path_of(v), body, &fips, e);
}

int cmd_fip_set(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = NULL;
	int rc = resource_change(v, settings, &body, e);

	if (rc)
		return rc;
	allow_any(v, body);
	return resource_patch(v, path_of(v), body, settings, &fips, e);
}

int cmd_fip_delete(struct vanctl *v, struct err *e)
{
	return resource_delete(
		v, path_of(v), e, "Floating IP %s is gone.", v->args->positionals[0]);
}
