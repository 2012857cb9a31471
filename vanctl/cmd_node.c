// SPDX-License-Identifier: Apache-2.0
/* Nodes are seen in two ways: as such (/nodes), and as members of a network (/networks/N/nodes). */
#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
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

static const struct view nodes = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("NETWORKS", "networks", .cell = cell_strings),
	COLUMN("ADDRESS", "networks", .cell = cell_all_ips),
	COLUMN("STATE", "online", .cell = cell_online),
	COLUMN("LAST SEEN", "last_seen", .cell = cell_since),
	COLUMN("ENDPOINTS", "teps", .cell = cell_strings),
	COLUMN("VERSION", "version"),
	{.title = NULL},
}};

static const struct view node = {(const struct column[]){
	COLUMN("Name", "name"),
	COLUMN("Id", "id"),
	COLUMN("State", "online", .cell = cell_online),
	COLUMN("Last seen", "last_seen", .cell = cell_since),
	COLUMN("Networks", "networks", .cell = cell_strings),
	COLUMN("Addresses", "networks", .cell = cell_all_ips),
	COLUMN("Endpoints", "teps", .cell = cell_strings),
	COLUMN("Behind NAT", "nat", .cell = cell_yes_no),
	COLUMN("Public key", "public_key"),
	COLUMN("Version", "version"),
	COLUMN("Map applied", "applied"),
	COLUMN("Created", "created_at"),
	{.title = NULL},
}};

static const struct view members = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("ADDRESS", "ips", .cell = cell_strings),
	COLUMN("MAC", "macs", .cell = cell_strings),
	COLUMN("STATE", "online", .cell = cell_online),
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
	COLUMN("State", "online", .cell = cell_online),
	COLUMN("Last seen", "last_seen", .cell = cell_since),
	COLUMN("Endpoints", "teps", .cell = cell_strings),
	COLUMN("Behind NAT", "nat", .cell = cell_yes_no),
	COLUMN("Public key", "public_key"),
	COLUMN("Version", "version"),
	COLUMN("Joined", "joined_at"),
	{.title = NULL},
}};

/* The node's path, within the network if one is given; heap. */
static char *node_path(const struct command_args *args)
{
	const char *network = args->text[OPT_NETWORK];

	return network ? api_path("networks", network, "nodes", args->positionals[0], NULL)
		       : api_path("nodes", args->positionals[0], NULL);
}

int cmd_node_list(struct vanctl *v, struct err *e)
{
	const char *network = v->args->text[OPT_NETWORK];
	CLEANUP(free)
	char *path =
		network ? api_path("networks", network, "nodes", NULL) : api_path("nodes", NULL);
	CLEANUP(json) struct json_object *list = NULL;
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = api_list(&api, path, &list, e);
	if (rc)
		return rc;
	output_list(&v->output, network ? &members : &nodes, list);
	if (!json_object_array_length(output_member(list, "items")))
		vanctl_say(v,
			"No nodes. Let one join: vanctl token issue NETWORK, then on the node "
			"vanctl join --token-file FILE");
	return 0;
}

int cmd_node_show(struct vanctl *v, struct err *e)
{
	CLEANUP(free) char *path = node_path(v->args);
	CLEANUP(json) struct json_object *found = NULL;
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = api_call(&api, "GET", path, NULL, &found, e);
	if (rc)
		return rc;
	output_record(&v->output, v->args->set[OPT_NETWORK] ? &member : &node, found);
	return 0;
}

int cmd_node_add(struct vanctl *v, struct err *e)
{
	const struct command_args *args = v->args;
	CLEANUP(free) char *path = api_path("networks", args->text[OPT_NETWORK], "nodes", NULL);
	CLEANUP(json) struct json_object *body = json_object_new_object();
	CLEANUP(json) struct json_object *added = NULL;
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (rc)
		return rc;
	json_set_string(body, "node", args->positionals[0]);
	if (args->set[OPT_ADDRESS])
		json_set_string(body, "address", args->text[OPT_ADDRESS]);
	rc = api_call(&api, "POST", path, body, &added, e);
	if (rc)
		return rc;
	output_row(&v->output, &members, added);
	return 0;
}

int cmd_node_set(struct vanctl *v, struct err *e)
{
	const struct command_args *args = v->args;
	CLEANUP(free) char *path = node_path(args);
	CLEANUP(json) struct json_object *body = json_object_new_object();
	CLEANUP(json) struct json_object *changed = NULL;
	CLEANUP(api) struct api api = {0};
	int rc;

	if (!args->set[OPT_ADDRESS] && !args->set[OPT_NEW_NAME])
		return err_set(
			e, -VAN_E_SYNTAX, "nothing to set: give --address IP or --name NAME");
	rc = api_open(v, &api, e);
	if (rc)
		return rc;
	if (args->set[OPT_ADDRESS])
		json_set_string(body, "address", args->text[OPT_ADDRESS]);
	if (args->set[OPT_NEW_NAME])
		json_set_string(body, "name", args->text[OPT_NEW_NAME]);
	rc = api_call(&api, "PATCH", path, body, &changed, e);
	if (rc)
		return rc;
	output_row(&v->output, &members, changed);
	return 0;
}

int cmd_node_delete(struct vanctl *v, struct err *e)
{
	const char *network = v->args->text[OPT_NETWORK];
	CLEANUP(free) char *path = node_path(v->args);
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = api_call(&api, "DELETE", path, NULL, NULL, e);
	if (rc)
		return rc;
	if (network)
		vanctl_say(v, "Node %s is out of network %s.", v->args->positionals[0], network);
	else
		vanctl_say(v, "Node %s is deleted.", v->args->positionals[0]);
	return 0;
}
