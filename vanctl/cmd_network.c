// SPDX-License-Identifier: Apache-2.0
#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"

static const struct view networks = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("CIDR", "cidr"),
	COLUMN("CIDR6", "cidr6", .optional = true),
	COLUMN("ENCRYPTION", "encryption"),
	COLUMN("MTU", "mtu", .right = true),
	COLUMN("VAN ID", "van_id", .right = true),
	COLUMN("NODES", "node_count", .right = true),
	COLUMN("CREATED", "created_at", .cell = cell_since),
	{.title = NULL},
}};

static const struct view network = {(const struct column[]){
	COLUMN("Name", "name"),
	COLUMN("Id", "id"),
	COLUMN("CIDR", "cidr"),
	COLUMN("CIDR6", "cidr6", .optional = true),
	COLUMN("Encryption", "encryption"),
	COLUMN("MTU", "mtu"),
	COLUMN("VAN id", "van_id"),
	COLUMN("Nodes", "node_count"),
	COLUMN("Created", "created_at"),
	{.title = NULL},
}};

int cmd_network_create(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = json_object_new_object();
	CLEANUP(json) struct json_object *created = NULL;
	CLEANUP(api) struct api api = {0};
	const struct command_args *args = v->args;
	int rc = api_open(v, &api, e);

	if (rc)
		return rc;
	json_set_string(body, "name", args->positionals[0]);
	json_set_string(body, "cidr", args->text[OPT_CIDR]);
	if (args->set[OPT_CIDR6])
		json_set_string(body, "cidr6", args->text[OPT_CIDR6]);
	if (args->set[OPT_ENCRYPTION])
		json_set_string(body, "encryption", args->text[OPT_ENCRYPTION]);
	if (args->set[OPT_MTU])
		json_set_int(body, "mtu", args->number[OPT_MTU]);
	rc = api_call(&api, "POST", "/api/v1/networks", body, &created, e);
	if (rc)
		return rc;
	output_row(&v->output, &networks, created);
	return 0;
}

int cmd_network_list(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *list = NULL;
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = api_list(&api, "/api/v1/networks", &list, e);
	if (rc)
		return rc;
	output_list(&v->output, &networks, list);
	if (!json_object_array_length(output_member(list, "items")))
		vanctl_say(v, "No networks yet. Make one: vanctl network create NAME --cidr CIDR");
	return 0;
}

int cmd_network_show(struct vanctl *v, struct err *e)
{
	CLEANUP(free) char *path = api_path("networks", v->args->positionals[0], NULL);
	CLEANUP(json) struct json_object *found = NULL;
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = api_call(&api, "GET", path, NULL, &found, e);
	if (rc)
		return rc;
	output_record(&v->output, &network, found);
	return 0;
}

int cmd_network_delete(struct vanctl *v, struct err *e)
{
	CLEANUP(free) char *path = api_path("networks", v->args->positionals[0], NULL);
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = api_call(&api, "DELETE", path, NULL, NULL, e);
	if (rc)
		return rc;
	vanctl_say(v, "Network %s is deleted.", v->args->positionals[0]);
	return 0;
}
