// SPDX-License-Identifier: Apache-2.0
/* Nodes are seen in two ways: as such (/nodes), and as members of a network (/networks/N/nodes). */
#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/text.h"

/* The addresses of a node in all of its networks. */
static void cell_all_ips(const struct output *o, struct json_object *memberships, FILE *to)
{
	size_t count = json_object_is_type(memberships, json_type_array)
			       ? json_object_array_length(memberships)
			       : 0;
	const char *gap = "";

	(void)o;
	for (size_t i = 0; i < count; i++) {
		struct json_object *ips =
			output_member(json_object_array_get_idx(memberships, i), "ips");

		for (size_t j = 0; ips && j < json_object_array_length(ips); j++) {
			fputs(gap, to);
			text_clean(to,
				json_object_get_string(json_object_array_get_idx(ips, j)) ?: "-");
			gap = ", ";
		}
	}
	if (!*gap)
		fputc('-', to);
}

/* A switch of an operator's goes before what the node itself does. */
static void cell_state(const struct output *o, struct json_object *row, FILE *to)
{
	struct json_object *approved = output_member(row, "approved");

	if (json_object_get_boolean(output_member(row, "disabled")))
		fputs("disabled", to);
	else if (approved && !json_object_get_boolean(approved))
		fputs("not approved", to);
	else
		cell_online(o, output_member(row, "online"), to);
}

static const struct view nodes = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("NETWORKS", "networks", .cell = cell_strings),
	COLUMN("ADDRESS", "networks", .cell = cell_all_ips),
	COLUMN("STATE", NULL, .cell = cell_state),
	COLUMN("LAST SEEN", "last_seen", .cell = cell_since),
	COLUMN("ENDPOINTS", "teps", .cell = cell_strings),
	COLUMN("LABELS", "labels", .cell = cell_labels, .optional = true),
	COLUMN("VERSION", "version"),
	{.title = NULL},
}};

static const struct view node = {(const struct column[]){
	COLUMN("Name", "name"),
	COLUMN("Id", "id"),
	COLUMN("State", NULL, .cell = cell_state),
	COLUMN("Last seen", "last_seen", .cell = cell_since),
	COLUMN("Networks", "networks", .cell = cell_strings),
	COLUMN("Addresses", "networks", .cell = cell_all_ips),
	COLUMN("Endpoints", "teps", .cell = cell_strings),
	COLUMN("Behind NAT", "nat", .cell = cell_yes_no),
	COLUMN("Labels", "labels", .cell = cell_labels),
	COLUMN("Ephemeral", "ephemeral_s", .cell = cell_duration, .optional = true),
	COLUMN("Public key", "public_key"),
	COLUMN("Version", "version"),
	COLUMN("Map applied", "applied"),
	COLUMN("Created", "created_at"),
	COLUMN("Revision", "revision"),
	{.title = NULL},
}};

static const struct view members = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("ADDRESS", "ips", .cell = cell_strings),
	COLUMN("MAC", "macs", .cell = cell_strings),
	COLUMN("STATE", NULL, .cell = cell_state),
	COLUMN("LAST SEEN", "last_seen", .cell = cell_since),
	COLUMN("ENDPOINTS", "teps", .cell = cell_strings),
	COLUMN("VERSION", "version"),
	{.title = NULL},
}};

static const struct view member = {(const struct column[]){
	COLUMN("Name", "name"),
	COLUMN("Id", "id"),
	COLUMN("Network", "network_name"),
	COLUMN("Addresses", "ips", .cell = cell_strings),
	COLUMN("MAC", "macs", .cell = cell_strings),
	COLUMN("State", NULL, .cell = cell_state),
	COLUMN("Last seen", "last_seen", .cell = cell_since),
	COLUMN("Endpoints", "teps", .cell = cell_strings),
	COLUMN("Behind NAT", "nat", .cell = cell_yes_no),
	COLUMN("Public key", "public_key"),
	COLUMN("Version", "version"),
	COLUMN("Joined", "joined_at"),
	COLUMN("Revision", "revision"),
	{.title = NULL},
}};

static const struct body_row settings[] = {
	{OPT_NEW_NAME, "name"},
	{OPT_ADDRESS, "address"},
	{OPT_LABELS, "labels"},
	{OPT_END, NULL},
};

/* The node's path, within the network if one is given; heap. */
static char *node_path(const struct command_args *args)
{
	const char *network = args->text[OPT_NETWORK];

	return network ? api_path("networks", network, "nodes", args->positionals[0], NULL)
		       : api_path("nodes", args->positionals[0], NULL);
}

static const struct view *row_view(const struct vanctl *v)
{
	return v->args->set[OPT_NETWORK] ? &members : &nodes;
}

int cmd_node_list(struct vanctl *v, struct err *e)
{
	const char *network = v->args->text[OPT_NETWORK];

	return resource_list(v,
		network ? api_path("networks", network, "nodes", NULL) : api_path("nodes", NULL),
		row_view(v),
		"No nodes. Let one join: vanctl token issue NETWORK, then on the node "
		"vanctl join --token-file FILE",
		e);
}

int cmd_node_show(struct vanctl *v, struct err *e)
{
	return resource_show(v, node_path(v->args), v->args->set[OPT_NETWORK] ? &member : &node, e);
}

int cmd_node_add(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, settings);

	json_set_string(body, "node", v->args->positionals[0]);
	return resource_send(v, "POST", resource_path(v, "nodes", NULL), body, &members, e);
}

int cmd_node_set(struct vanctl *v, struct err *e)
{
	const struct command_args *args = v->args;

	if (args->set[OPT_ADDRESS] && !args->set[OPT_NETWORK])
		return err_set(e, -VAN_E_SYNTAX, "an address is in a network: give -n NETWORK");
	if (args->set[OPT_LABELS] && args->set[OPT_NETWORK])
		return err_set(e, -VAN_E_SYNTAX,
			"labels are the node's, whatever network it is in: leave -n out");
	return resource_set(v, node_path(args), settings, row_view(v), e);
}

static int switch_node(struct vanctl *v, const char *what, bool on, struct err *e)
{
	CLEANUP(json) struct json_object *body = json_object_new_object();

	json_set_bool(body, what, on);
	return resource_send(v, "PATCH", node_path(v->args), body, row_view(v), e);
}

int cmd_node_approve(struct vanctl *v, struct err *e)
{
	return switch_node(v, "approved", true, e);
}

int cmd_node_disable(struct vanctl *v, struct err *e)
{
	return switch_node(v, "disabled", true, e);
}

int cmd_node_enable(struct vanctl *v, struct err *e)
{
	return switch_node(v, "disabled", false, e);
}

/* There first, then away from here: if the second fails it is in both, and nothing is lost. */
int cmd_node_move(struct vanctl *v, struct err *e)
{
	const struct command_args *args = v->args;
	CLEANUP(json) struct json_object *body = resource_body(v, settings);
	CLEANUP(json) struct json_object *here = NULL;
	CLEANUP(json) struct json_object *added = NULL;
	int rc = resource_call(v, "GET", node_path(args), NULL, &here, e);

	if (rc)
		return rc;
	/* Now: after it was added there, it would be too late to find out. */
	if (args->set[OPT_IF_REVISION] && json_object_get_int64(output_member(here, "revision")) !=
						  args->number[OPT_IF_REVISION])
		return err_set(e, -VAN_E_CONFLICT,
			"it was changed meanwhile (revision %s): read it again, then decide",
			output_string(here, "revision", "?"));
	/* By id: a name may be given to another between the two. */
	json_set_string(body, "node", output_string(here, "id", args->positionals[0]));
	rc = resource_call(v, "POST", api_path("networks", args->text[OPT_TO], "nodes", NULL), body,
		&added, e);
	if (!rc)
		rc = resource_call(v, "DELETE",
			resource_path(v, "nodes", output_string(here, "id", "")), NULL, NULL, e);
	if (rc && added)
		return err_prefix(e, rc, "it is in %s now, and still in %s", args->text[OPT_TO],
			args->text[OPT_NETWORK]);
	if (!rc)
		output_row(&v->output, &members, added);
	return rc;
}

static const struct body_row rekeying[] = {{OPT_TTL, "ttl_s"}, {OPT_END, NULL}};

int cmd_node_rekey(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, rekeying);

	return resource_issue(v, api_path("nodes", v->args->positionals[0], "rekey", NULL), body,
		"token",
		"The token is shown only now. Put it into a file on the machine and run there: "
		"vanctl join --token-file FILE. The old keys are worth nothing from then on.",
		e);
}

int cmd_node_delete(struct vanctl *v, struct err *e)
{
	const char *name = v->args->positionals[0], *network = v->args->text[OPT_NETWORK];

	if (network)
		return resource_delete(
			v, node_path(v->args), e, "Node %s is out of network %s.", name, network);
	return resource_delete(v, node_path(v->args), e, "Node %s is deleted.", name);
}
