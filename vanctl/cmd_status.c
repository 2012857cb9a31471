// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/cmd.h"
#include "vanctl/local.h"
#include "vanctl/text.h"

static void cell_connected(const struct output *o, struct json_object *network, FILE *to)
{
	(void)o;
	text_clean(to, output_string(network, "peers_connected", "?"));
	fputs(" of ", to);
	text_clean(to, output_string(network, "peers", "?"));
}

static void cell_error(const struct output *o, struct json_object *error, FILE *to)
{
	(void)o;
	if (error)
		text_clean(to, json_object_get_string(error));
}

static const struct view networks = {(const struct column[]){
	COLUMN("NETWORK", "name"),
	COLUMN("INTERFACE", "ifname"),
	COLUMN("ADDRESS", "ips", .cell = cell_strings),
	COLUMN("PEERS CONNECTED", NULL, .cell = cell_connected),
	COLUMN("MTU", "mtu", .right = true),
	COLUMN("RX", "rx_bytes", .cell = cell_bytes, .right = true),
	COLUMN("TX", "tx_bytes", .cell = cell_bytes, .right = true),
	COLUMN("STATE", "state"),
	COLUMN("ERROR", "error", .cell = cell_error, .optional = true),
	{.title = NULL},
}};

static void label(const struct output *o, const char *text)
{
	fprintf(o->to, "%s%-10s%s", o->bold ? "\033[1m" : "", text, o->bold ? "\033[0m" : "");
}

static void print_node(const struct output *o, struct json_object *status)
{
	struct json_object *node = output_member(status, "node");

	label(o, "Node");
	if (node) {
		text_clean(o->to, output_string(node, "name", "?"));
		fputs(" (", o->to);
		text_clean(o->to, output_string(node, "id", "?"));
		fputs(")\n", o->to);
	} else if (output_member(status, "console")) {
		fputs("removed from the mesh by the console; to come back: vanctl join --token-file FILE\n",
			o->to);
	} else {
		fputs("not in any network yet: vanctl join --token-file FILE\n", o->to);
	}
	label(o, "Daemon");
	fputs("vand ", o->to);
	text_clean(o->to, output_string(status, "version", "?"));
	fputs(", UDP port ", o->to);
	text_clean(o->to, output_string(status, "port", "?"));
	fputs(", cipher by ", o->to);
	text_clean(o->to, output_string(status, "cipher", "?"));
	fputs(", workers: ", o->to);
	text_clean(o->to, output_string(status, "workers", "?"));
	fputc('\n', o->to);
}

static void print_console(const struct output *o, struct json_object *console)
{
	const char *error = output_string(console, "error", NULL);

	if (!console)
		return;
	label(o, "Console");
	text_clean(o->to, output_string(console, "url", "?"));
	fputs(json_object_get_boolean(output_member(console, "connected")) ? ", connected"
									   : ", NOT CONNECTED",
		o->to);
	fputs(", last contact ", o->to);
	cell_age(o, output_member(console, "last_contact_s"), o->to);
	if (error) {
		fputs(": ", o->to);
		text_clean(o->to, error);
	}
	fputc('\n', o->to);
}

static void print_underlay(const struct output *o, struct json_object *underlay)
{
	size_t count = json_object_is_type(underlay, json_type_array)
			       ? json_object_array_length(underlay)
			       : 0;

	for (size_t i = 0; i < count; i++) {
		struct json_object *link = json_object_array_get_idx(underlay, i);

		label(o, i ? "" : "Underlay");
		text_clean(o->to, output_string(link, "ifname", "?"));
		fputc(' ', o->to);
		text_clean(o->to, output_string(link, "address", "?"));
		fputs(" (MTU ", o->to);
		text_clean(o->to, output_string(link, "mtu", "?"));
		fputs(")\n", o->to);
	}
}

/* Last, so that they stand right above the prompt. */
static void print_warnings(const struct output *o, struct json_object *warnings)
{
	size_t count = json_object_is_type(warnings, json_type_array)
			       ? json_object_array_length(warnings)
			       : 0;

	if (count)
		fputc('\n', o->to);
	for (size_t i = 0; i < count; i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(warnings, i));

		fprintf(o->to, "%sWARNING%s: ", o->bold ? "\033[1m" : "", o->bold ? "\033[0m" : "");
		text_clean(o->to, text ? text : "?");
		fputc('\n', o->to);
	}
}

static void print_status(const struct output *o, struct json_object *status)
{
	struct json_object *list = output_member(status, "networks");

	print_node(o, status);
	print_console(o, output_member(status, "console"));
	print_underlay(o, output_member(status, "underlay"));
	if (json_object_is_type(list, json_type_array) && json_object_array_length(list)) {
		fputc('\n', o->to);
		o->writer->list(o, &networks, list, status);
	}
	print_warnings(o, output_member(status, "warnings"));
}

int cmd_status(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *status = NULL;
	int rc = local_call(v, "status", NULL, v->timeout_ms, &status, e);

	if (rc)
		return rc;
	output_with(&v->output, print_status, status);
	return 0;
}
