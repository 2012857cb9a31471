// SPDX-License-Identifier: Apache-2.0
/* Who may do what: organizations, users, API keys. */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/text.h"

static char *path_of(struct vanctl *v, const char *folder)
{
	return api_path(folder, v->args->positionals[0], NULL);
}

/* Makes what is named by the first argument. */
static int create(struct vanctl *v, const char *folder, const struct body_row *rows,
	const struct view *view, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, rows);

	json_set_string(body, "name", v->args->positionals[0]);
	return resource_send(v, "POST", api_path(folder, NULL), body, view, e);
}

/* -- organizations -- */

static const struct view orgs = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("ID", "id"),
	COLUMN("DESCRIPTION", "description", .optional = true),
	COLUMN("CREATED", "created_at", .cell = cell_since),
	{.title = NULL},
}};

/* "12 of 50000"; blank where an older console does not say. */
static void cell_usage(const struct output *o, struct json_object *one, FILE *to)
{
	(void)o;
	if (one)
		fprintf(to, "%s of %s", output_string(one, "used", "?"),
			output_string(one, "limit", "?"));
}

#define USAGE(title, kind) COLUMN(title, "usage." kind, .cell = cell_usage, .optional = true)

static const struct view org = {(const struct column[]){
	COLUMN("Name", "name"),
	COLUMN("Id", "id"),
	COLUMN("Description", "description"),
	USAGE("Networks", "networks"),
	USAGE("Nodes", "nodes"),
	USAGE("Memberships", "memberships"),
	USAGE("Users", "users"),
	USAGE("API keys", "keys"),
	USAGE("Join tokens", "tokens"),
	USAGE("Reservations", "reservations"),
	USAGE("Gateways", "gateways"),
	USAGE("Cloak rules", "cloak_rules"),
	USAGE("Floating IPs", "floating_ips"),
	COLUMN("Created", "created_at"),
	COLUMN("Revision", "revision"),
	{.title = NULL},
}};

static const struct body_row org_settings[] = {
	{OPT_OBJECT_NAME, "name"},
	{OPT_DESCRIPTION, "description"},
	{OPT_LIMITS, "limits"},
	{OPT_END, NULL},
};

int cmd_org_list(struct vanctl *v, struct err *e)
{
	return resource_list(
		v, api_path("organizations", NULL), &orgs, "No organizations to be seen.", e);
}

int cmd_org_create(struct vanctl *v, struct err *e)
{
	return create(v, "organizations", org_settings, &orgs, e);
}

int cmd_org_show(struct vanctl *v, struct err *e)
{
	return resource_show(v, path_of(v, "organizations"), &org, e);
}

int cmd_org_set(struct vanctl *v, struct err *e)
{
	return resource_set(v, path_of(v, "organizations"), org_settings, &orgs, e);
}

int cmd_org_delete(struct vanctl *v, struct err *e)
{
	return resource_delete(v, path_of(v, "organizations"), e, "Organization %s is deleted.",
		v->args->positionals[0]);
}

/* -- users -- */

static const struct view users = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("ROLE", "role"),
	COLUMN("DISABLED", "disabled", .cell = cell_yes_no),
	COLUMN("FULL NAME", "full_name", .optional = true),
	COLUMN("CREATED", "created_at", .cell = cell_since),
	{.title = NULL},
}};

static const struct view user = {(const struct column[]){
	COLUMN("Name", "name"),
	COLUMN("Id", "id"),
	COLUMN("Role", "role"),
	COLUMN("Disabled", "disabled", .cell = cell_yes_no),
	COLUMN("Full name", "full_name", .optional = true),
	COLUMN("Created", "created_at"),
	COLUMN("Revision", "revision"),
	{.title = NULL},
}};

static const struct body_row user_settings[] = {
	{OPT_OBJECT_NAME, "name"},
	{OPT_USER_ROLE, "role"},
	{OPT_FULL_NAME, "full_name"},
	{OPT_DISABLED, "disabled"},
	{OPT_END, NULL},
};

int cmd_user_list(struct vanctl *v, struct err *e)
{
	return resource_list(v, api_path("users", NULL), &users,
		"No users. Make one: vanctl user create NAME --role viewer|operator|admin", e);
}

int cmd_user_create(struct vanctl *v, struct err *e)
{
	return create(v, "users", user_settings, &users, e);
}

int cmd_user_show(struct vanctl *v, struct err *e)
{
	return resource_show(v, path_of(v, "users"), &user, e);
}

int cmd_user_set(struct vanctl *v, struct err *e)
{
	return resource_set(v, path_of(v, "users"), user_settings, &users, e);
}

int cmd_user_delete(struct vanctl *v, struct err *e)
{
	return resource_delete(v, path_of(v, "users"), e,
		"User %s is deleted, and all of its keys.", v->args->positionals[0]);
}

/* -- API keys -- */

/* "operator", or "viewer (operator)" while its user may do no more. */
static void cell_role(const struct output *o, struct json_object *row, FILE *to)
{
	const char *role = output_string(row, "role", "?");
	const char *now = output_string(row, "effective_role", role);

	(void)o;
	text_clean(to, now);
	if (strcmp(now, role) != 0) {
		fputs(" (", to);
		text_clean(to, role);
		fputc(')', to);
	}
}

static const struct view keys = {(const struct column[]){
	COLUMN("ID", "id"),
	COLUMN("NAME", "name"),
	COLUMN("ROLE", NULL, .cell = cell_role),
	COLUMN("USER", "user_name", .optional = true),
	COLUMN("STATE", "state"),
	COLUMN("EXPIRES", "expires_at", .cell = cell_until),
	COLUMN("CREATED", "created_at", .cell = cell_since),
	{.title = NULL},
}};

static const struct view key = {(const struct column[]){
	COLUMN("Id", "id"),
	COLUMN("Name", "name"),
	COLUMN("Role", NULL, .cell = cell_role),
	COLUMN("User", "user_name", .optional = true),
	COLUMN("State", "state"),
	COLUMN("Expires", "expires_at", .cell = cell_until),
	COLUMN("Created", "created_at"),
	{.title = NULL},
}};

static const struct body_row key_settings[] = {
	{OPT_KEY_ROLE, "role"},
	{OPT_USER, "user"},
	{OPT_KEY_TTL, "ttl_s"},
	{OPT_END, NULL},
};

int cmd_key_list(struct vanctl *v, struct err *e)
{
	return resource_list(v, api_path("keys", NULL), &keys, "No keys to be seen.", e);
}

int cmd_key_create(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, key_settings);

	json_set_string(body, "name", v->args->positionals[0]);
	return resource_issue(v, api_path("keys", NULL), body, "key",
		"The key is shown only now. Keep it in a file that nobody else can read: "
		"vanctl login --console URL --key-file FILE",
		e);
}

int cmd_key_show(struct vanctl *v, struct err *e)
{
	return resource_show(v, path_of(v, "keys"), &key, e);
}

int cmd_key_delete(struct vanctl *v, struct err *e)
{
	return resource_delete(v, path_of(v, "keys"), e, "Key %s opens nothing any more.",
		v->args->positionals[0]);
}
