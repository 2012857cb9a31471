// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/text.h"

/* "icmp 10.0.0.1 every 5 s". */
static void cell_health(const struct output *o, struct json_object *value, FILE *to)
{
	const char *port = output_string(value, "port", NULL);

	(void)o;
	if (!value) {
		fputc('-', to);
		return;
	}
	text_clean(to, output_string(value, "kind", "?"));
	fputc(' ', to);
	text_clean(to, output_string(value, "target", "?"));
	if (port) {
		fputs(" port ", to);
		text_clean(to, port);
	}
	fputs(" every ", to);
	text_clean(to, output_string(value, "interval_s", "?"));
	fputs(" s", to);
}

/* "10.20.0.0/16 (eth1), 0.0.0.0/0 (eth0)". */
static void cell_external(const struct output *o, struct json_object *value, FILE *to)
{
	size_t count =
		json_object_is_type(value, json_type_array) ? json_object_array_length(value) : 0;

	(void)o;
	for (size_t i = 0; i < count; i++) {
		struct json_object *item = json_object_array_get_idx(value, i);

		fputs(i ? ", " : "", to);
		text_clean(to, output_string(item, "cidr", "?"));
		fputs(" (", to);
		text_clean(to, output_string(item, "ifname", "?"));
		fputc(')', to);
	}
}

static const struct view candidates = {(const struct column[]){
	COLUMN("NODE", "node_name"),
	COLUMN("STATE", "online", .cell = cell_online),
	COLUMN("EXTERNAL NETWORKS", "external", .cell = cell_external),
	COLUMN("GATEWAYS", "gateways", .cell = cell_strings, .optional = true),
	{.title = NULL},
}};

static const struct view gateways = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("NODE", "node_name"),
	COLUMN("PREFIXES", "prefixes", .cell = cell_strings),
	COLUMN("MODE", "mode"),
	COLUMN("METRIC", "metric", .right = true),
	COLUMN("ENABLED", "enabled", .cell = cell_yes_no),
	COLUMN("HEALTH", "health", .cell = cell_health, .optional = true),
	COLUMN("NOTE", "note", .optional = true),
	{.title = NULL},
}};

static const struct view gateway = {(const struct column[]){
	COLUMN("Name", "name"),
	COLUMN("Id", "id"),
	COLUMN("Network", "network_name"),
	COLUMN("Node", "node_name"),
	COLUMN("Prefixes", "prefixes", .cell = cell_strings),
	COLUMN("Mode", "mode"),
	COLUMN("Metric", "metric"),
	COLUMN("Enabled", "enabled", .cell = cell_yes_no),
	COLUMN("Health", "health", .cell = cell_health),
	COLUMN("Note", "note", .optional = true),
	COLUMN("Created", "created_at"),
	COLUMN("Revision", "revision"),
	{.title = NULL},
}};

/* "icmp:IP", "tcp:IP:PORT", "none"; an IPv6 address may stand in brackets. */
static int read_health(const char *text, struct json_object **ret_health, struct err *e)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	CLEANUP(free) char *copy = strdup(text);
	char *target = copy ? strchr(copy, ':') : NULL, *port = NULL, *end;
	long number;

	*ret_health = NULL;
	if (strcmp(text, "none") == 0)
		return 0;
	if (!target)
		goto wrong;
	*target++ = '\0';
	if (strcmp(copy, "tcp") == 0) {
		port = strrchr(target, ':');
		if (!port)
			goto wrong;
		*port++ = '\0';
		number = strtol(port, &end, 10);
		if (!*port || *end || number < 1 || number > 65535)
			goto wrong;
		json_set_int(o, "port", number);
	} else if (strcmp(copy, "icmp") != 0) {
		goto wrong;
	}
	if (*target == '[' && target[strlen(target) - 1] == ']') {
		target[strlen(target) - 1] = '\0';
		target++;
	}
	json_set_string(o, "kind", copy);
	json_set_string(o, "target", target);
	if (!port)
		json_object_object_add(o, "port", NULL);
	*ret_health = STEAL(o);
	return 0;
wrong:
	return err_set(
		e, -VAN_E_SYNTAX, "--health: '%.64s' is not icmp:IP, tcp:IP:PORT or none", text);
}

/* Health and its options are added by add_health(); its row is for --unset. */
static const struct body_row settings[] = {
	{OPT_GATEWAY_NODE, "node"},
	{OPT_PREFIX, "prefixes"},
	{OPT_MODE, "mode"},
	{OPT_METRIC, "metric"},
	{OPT_HEALTH, "health"},
	{OPT_ENABLED, "enabled"},
	{OPT_OBJECT_NAME, "name"},
	{OPT_NOTE, "note"},
	{OPT_END, NULL},
};

static char *path_of(struct vanctl *v)
{
	return resource_path(v, "gateways", v->args->positionals[0]);
}

/* What --health says in place of its text; its options alone change the check that there is. */
static int add_health(struct vanctl *v, struct json_object *body, struct err *e)
{
	static const struct body_row rows[] = {
		{OPT_HEALTH_INTERVAL, "interval_s"},
		{OPT_HEALTH_FAILURES, "failures"},
		{OPT_END, NULL},
	};
	CLEANUP(json) struct json_object *options = resource_body(v, rows);
	bool any = json_object_object_length(options) > 0;
	struct json_object *health;
	int rc;

	if (!v->args->set[OPT_HEALTH]) {
		if (any)
			json_object_object_add(body, "health", STEAL(options));
		return 0;
	}
	rc = read_health(v->args->text[OPT_HEALTH], &health, e);
	if (rc)
		return rc;
	if (any && !health)
		return err_set(e, -VAN_E_SYNTAX, "with --health none nothing is probed");
	json_object_object_foreach(options, name, value)
		json_object_object_add(health, name, json_object_get(value));
	json_object_object_add(body, "health", health);
	return 0;
}

int cmd_gateway_candidates(struct vanctl *v, struct err *e)
{
	return resource_list(v, resource_path(v, "gateway-candidates", NULL), &candidates,
		"No node has reported external networks yet.", e);
}

int cmd_gateway_list(struct vanctl *v, struct err *e)
{
	return resource_list(v, resource_path(v, "gateways", NULL), &gateways,
		"No gateways. Which nodes could be one: vanctl gateway candidates -n NETWORK", e);
}

int cmd_gateway_show(struct vanctl *v, struct err *e)
{
	return resource_show(v, path_of(v), &gateway, e);
}

int cmd_gateway_add(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, settings);
	const struct command_args *args = v->args;
	int rc = add_health(v, body, e);

	if (rc)
		return rc;
	if (!args->set[OPT_HEALTH] &&
		(args->set[OPT_HEALTH_INTERVAL] || args->set[OPT_HEALTH_FAILURES]))
		return err_set(e, -VAN_E_SYNTAX, "--%s goes with --health",
			option_table[args->set[OPT_HEALTH_INTERVAL] ? OPT_HEALTH_INTERVAL
								    : OPT_HEALTH_FAILURES]
				.name);
	json_set_string(body, "node", v->args->positionals[0]);
	return resource_send(v, "POST", resource_path(v, "gateways", NULL), body, &gateways, e);
}

int cmd_gateway_set(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = NULL;
	int rc = resource_change(v, settings, &body, e);

	if (!rc)
		rc = add_health(v, body, e);
	return rc ? rc : resource_patch(v, path_of(v), body, settings, &gateways, e);
}

int cmd_gateway_remove(struct vanctl *v, struct err *e)
{
	return resource_delete(v, path_of(v), e, "Gateway %s is removed.", v->args->positionals[0]);
}
