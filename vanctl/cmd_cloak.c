// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/text.h"

/* "tcp/443", as allow and deny take it. */
static void cell_what(const struct output *o, struct json_object *row, FILE *to)
{
	const char *ports = output_string(row, "ports", NULL);

	(void)o;
	text_clean(to, output_string(row, "protocol", "?"));
	if (ports) {
		fputc('/', to);
		text_clean(to, ports);
	}
}

static void cell_source(const struct output *o, struct json_object *value, FILE *to)
{
	(void)o;
	text_clean(to, value ? json_object_get_string(value) : "anywhere");
}

static const struct view rules = {(const struct column[]){
	COLUMN("ACTION", "action"),
	COLUMN("WHAT", NULL, .cell = cell_what),
	COLUMN("FROM", "source", .cell = cell_source),
	COLUMN("NODE", "node_name", .optional = true),
	COLUMN("INTERFACE", "interface", .optional = true),
	COLUMN("PRIORITY", "priority", .right = true),
	COLUMN("ID", "id"),
	COLUMN("NOTE", "note", .optional = true),
	{.title = NULL},
}};

static const struct view rule = {(const struct column[]){
	COLUMN("Id", "id"),
	COLUMN("Network", "network_name"),
	COLUMN("Action", "action"),
	COLUMN("What", NULL, .cell = cell_what),
	COLUMN("From", "source", .cell = cell_source),
	COLUMN("Node", "node_name", .optional = true),
	COLUMN("Interface", "interface", .optional = true),
	COLUMN("Priority", "priority"),
	COLUMN("Note", "note", .optional = true),
	COLUMN("Created", "created_at"),
	COLUMN("Revision", "revision"),
	{.title = NULL},
}};

static const struct view switches = {(const struct column[]){
	COLUMN("State", "state"),
	COLUMN("Confirm", "confirm_by", .cell = cell_until, .optional = true),
	COLUMN("Scope", "scope"),
	COLUMN("SSH kept", "keep_ssh", .cell = cell_yes_no),
	COLUMN("Changed", "changed_at", .cell = cell_since),
	{.title = NULL},
}};

static void print_cloak(const struct output *o, struct json_object *cloak)
{
	CLEANUP(json) struct json_object *list = json_object_new_object();

	output_record(o, &switches, cloak);
	if (!json_object_array_length(output_member(cloak, "rules")))
		return;
	fputc('\n', o->to);
	json_object_object_add(list, "items", json_object_get(output_member(cloak, "rules")));
	output_list(o, &rules, list);
}

/* Somebody has to act before long. */
static void say_if_pending(struct vanctl *v, struct json_object *cloak)
{
	int64_t due_s;
	char span[TEXT_UNIT_LEN];

	if (!text_parse_time(output_string(cloak, "confirm_by", ""), &due_s))
		return;
	text_span(due_s > v->output.now_wall_s ? due_s - v->output.now_wall_s : 0, span);
	vanctl_say(v, "Taken back in %s unless you confirm: vanctl cloak confirm -n %s", span,
		v->args->text[OPT_NETWORK]);
}

static int show(struct vanctl *v, bool print, struct err *e)
{
	CLEANUP(json) struct json_object *cloak = NULL;
	int rc = resource_call(v, "GET", resource_path(v, "cloak", NULL), NULL, &cloak, e);

	if (rc)
		return rc;
	if (print)
		output_with(&v->output, print_cloak, cloak);
	say_if_pending(v, cloak);
	return 0;
}

int cmd_cloak_show(struct vanctl *v, struct err *e)
{
	return show(v, true, e);
}

/* Changes the whole, or confirms it. */
static int change(
	struct vanctl *v, const char *method, char *path, struct json_object *body, struct err *e)
{
	CLEANUP(json) struct json_object *cloak = NULL;
	int rc = resource_call(v, method, path, body, &cloak, e);

	if (rc)
		return rc;
	output_with(&v->output, print_cloak, cloak);
	say_if_pending(v, cloak);
	return 0;
}

static const struct body_row switch_settings[] = {
	{OPT_SCOPE, "scope"},
	{OPT_KEEP_SSH, "keep_ssh"},
	{OPT_END, NULL},
};

static int turn(struct vanctl *v, const char *state, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, switch_settings);

	json_set_string(body, "state", state);
	return change(
		v, "PATCH", resource_confirm_query(v, resource_path(v, "cloak", NULL)), body, e);
}

int cmd_cloak_on(struct vanctl *v, struct err *e)
{
	return turn(v, "on", e);
}

int cmd_cloak_off(struct vanctl *v, struct err *e)
{
	return turn(v, "off", e);
}

int cmd_cloak_confirm(struct vanctl *v, struct err *e)
{
	return change(v, "POST", resource_path(v, "cloak/confirm", NULL), NULL, e);
}

/* -- rules -- */

static const struct body_row rule_settings[] = {
	{OPT_ACTION, "action"},
	{OPT_FROM, "source"},
	{OPT_NODE, "node"},
	{OPT_INTERFACE, "interface"},
	{OPT_PRIORITY, "priority"},
	{OPT_NOTE, "note"},
	{OPT_END, NULL},
};

/* "tcp/443"; what has no port matches all. */
static void set_what(struct json_object *body, const char *what)
{
	size_t len = strcspn(what, "/");

	json_object_object_add(body, "protocol", json_object_new_string_len(what, (int)len));
	json_set_string(body, "ports", what[len] ? what + len + 1 : NULL);
}

static char *rule_path(struct vanctl *v)
{
	return resource_path(v, "cloak/rules", v->args->positionals[0]);
}

/* After a rule has changed: somebody may have to confirm it. */
static int then_show(struct vanctl *v, int rc, struct err *e)
{
	return rc ? rc : show(v, false, e);
}

static int add_rule(struct vanctl *v, const char *action, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, rule_settings);
	char *path = resource_confirm_query(v, resource_path(v, "cloak/rules", NULL));

	json_set_string(body, "action", action);
	set_what(body, v->args->positionals[0] ? v->args->positionals[0] : "any");
	return then_show(v, resource_send(v, "POST", path, body, &rules, e), e);
}

int cmd_cloak_allow(struct vanctl *v, struct err *e)
{
	return add_rule(v, "allow", e);
}

int cmd_cloak_deny(struct vanctl *v, struct err *e)
{
	return add_rule(v, "deny", e);
}

int cmd_cloak_rules(struct vanctl *v, struct err *e)
{
	return resource_list(v, resource_path(v, "cloak/rules", NULL), &rules,
		"No rules. Make one: vanctl cloak allow WHAT -n NETWORK", e);
}

int cmd_cloak_rule(struct vanctl *v, struct err *e)
{
	return resource_show(v, rule_path(v), &rule, e);
}

int cmd_cloak_set(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = NULL;
	int rc = resource_change(v, rule_settings, &body, e);

	if (rc)
		return rc;
	if (v->args->positionals[1])
		set_what(body, v->args->positionals[1]);
	return then_show(v,
		resource_patch(
			v, resource_confirm_query(v, rule_path(v)), body, rule_settings, &rules, e),
		e);
}

int cmd_cloak_remove(struct vanctl *v, struct err *e)
{
	return then_show(v,
		resource_delete(v, resource_confirm_query(v, rule_path(v)), e, "Rule %s is gone.",
			v->args->positionals[0]),
		e);
}
