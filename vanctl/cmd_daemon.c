// SPDX-License-Identifier: Apache-2.0
/* What the local vand tells in tables, and reload. */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/cmd.h"
#include "vanctl/local.h"
#include "vanctl/text.h"

static void cell_reason(const struct output *o, struct json_object *reason, FILE *to)
{
	(void)o;
	if (reason)
		text_clean(to, json_object_get_string(reason));
}

static const struct view peers = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("ADDRESS", "ips", .cell = cell_strings),
	COLUMN("STATE", "state"),
	COLUMN("ENDPOINT", "endpoint"),
	COLUMN("MTU", "path_mtu", .right = true),
	COLUMN("HANDSHAKE", "last_handshake_s", .cell = cell_age),
	COLUMN("RX", "rx_bytes", .cell = cell_bytes, .right = true),
	COLUMN("TX", "tx_bytes", .cell = cell_bytes, .right = true),
	COLUMN("REASON", "reason", .cell = cell_reason, .optional = true),
	{.title = NULL},
}};

static const struct view macs = {(const struct column[]){
	COLUMN("NETWORK", "network"),
	COLUMN("MAC", "mac"),
	COLUMN("PEER", "peer"),
	COLUMN("KIND", "kind"),
	COLUMN("AGE", "age_s", .cell = cell_duration),
	{.title = NULL},
}};

/* A list of the daemon's, of one network where -n is given. */
static int print_list(struct vanctl *v, const char *command, const struct view *view,
	const char *none, struct err *e)
{
	CLEANUP(json) struct json_object *list = NULL;
	struct json_object *arguments = json_object_new_object();
	struct json_object *items;
	int rc;

	if (v->args->set[OPT_NETWORK])
		json_set_string(arguments, "network", v->args->text[OPT_NETWORK]);
	rc = local_call(v, command, arguments, v->timeout_ms, &list, e);
	if (rc)
		return rc;
	rc = json_get_array(list, "", "items", &items, e);
	if (rc)
		return err_set(e, -VAN_E_PROTOCOL, "vand's answer to %s is no list", command);
	output_list(&v->output, view, list);
	if (!json_object_array_length(items))
		vanctl_say(v, "%s", none);
	return 0;
}

int cmd_peers(struct vanctl *v, struct err *e)
{
	return print_list(v, "peers", &peers, "No peers.", e);
}

int cmd_mac(struct vanctl *v, struct err *e)
{
	return print_list(v, "mac", &macs, "No MAC addresses.", e);
}

/* Every member that is an object is a group of counters; a plain number stands for itself. What is
 * explained stands under "help". */
static void print_stats(const struct output *o, struct json_object *stats)
{
	struct json_object *help = json_object_get(output_member(stats, "help"));
	int count_width = help ? 12 : 0;
	size_t width = 0;

	json_object_object_del(stats, "help");
	json_object_object_foreach(stats, group_name, group)
	{
		(void)group_name;
		if (!json_object_is_type(group, json_type_object))
			continue;
		json_object_object_foreach(group, name, value)
		{
			(void)value;
			width = strlen(name) > width ? strlen(name) : width;
		}
	}
	json_object_object_foreach(stats, title, counters)
	{
		fputs(o->bold ? "\033[1m" : "", o->to);
		text_clean(o->to, title);
		fputs(o->bold ? "\033[0m" : "", o->to);
		if (!json_object_is_type(counters, json_type_object)) {
			fputs("  ", o->to);
			cell_text(o, counters, o->to);
			fputc('\n', o->to);
			continue;
		}
		fputc('\n', o->to);
		json_object_object_foreach(counters, counter, count)
		{
			fputs("  ", o->to);
			text_clean(o->to, counter);
			fprintf(o->to, "%*s  %*s", (int)(width - strlen(counter)), "", -count_width,
				count ? json_object_get_string(count) : "-");
			if (help) {
				fputs("  ", o->to);
				text_clean(o->to, output_string(help, counter, ""));
			}
			fputc('\n', o->to);
		}
	}
	json_object_put(help);
}

int cmd_stats(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *stats = NULL;
	struct json_object *arguments = NULL;
	int rc;

	if (v->verbose && v->output.writer != &output_json) {
		arguments = json_object_new_object();
		json_set_bool(arguments, "help", true);
	}
	rc = local_call(v, "stats", arguments, v->timeout_ms, &stats, e);

	if (rc)
		return rc;
	output_with(&v->output, print_stats, stats);
	return 0;
}

int cmd_reload(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *result = NULL;
	struct json_object *restart;
	int rc = local_call(v, "reload", NULL, v->timeout_ms, &result, e);

	if (rc)
		return rc;
	if (v->output.writer == &output_json)
		output_with(&v->output, NULL, result);
	vanctl_say(v, "vand has read its configuration again.");
	restart = output_member(result, "restart_needed");
	for (size_t i = 0; restart && i < json_object_array_length(restart); i++)
		vanctl_say(v, "'%s' was changed: it takes effect when vand is restarted.",
			json_object_get_string(json_object_array_get_idx(restart, i)));
	return 0;
}
