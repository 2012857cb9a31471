// SPDX-License-Identifier: Apache-2.0
#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"

static const struct view networks = {(const struct column[]){
	COLUMN("NAME", "name"),
	COLUMN("CIDR", "cidr"),
	COLUMN("CIDR6", "cidr6", .optional = true),
	COLUMN("ENCRYPTION", "encryption"),
	COLUMN("MTU", "mtu", .right = true),
	COLUMN("VAN ID", "van_id", .right = true),
	COLUMN("NODES", "node_count", .right = true),
	COLUMN("LABELS", "labels", .cell = cell_labels, .optional = true),
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
	COLUMN("Approval", "require_approval", .cell = cell_yes_no),
	COLUMN("Labels", "labels", .cell = cell_labels),
	COLUMN("VAN id", "van_id"),
	COLUMN("Nodes", "node_count"),
	COLUMN("Created", "created_at"),
	COLUMN("Revision", "revision"),
	{.title = NULL},
}};

static const struct body_row settings[] = {
	{OPT_OBJECT_NAME, "name"},
	{OPT_MTU, "mtu"},
	{OPT_REQUIRE_APPROVAL, "require_approval"},
	{OPT_LABELS, "labels"},
	{OPT_END, NULL},
};

static const struct body_row creation[] = {
	{OPT_CIDR, "cidr"},
	{OPT_CIDR6, "cidr6"},
	{OPT_ENCRYPTION, "encryption"},
	{OPT_MTU, "mtu"},
	{OPT_REQUIRE_APPROVAL, "require_approval"},
	{OPT_LABELS, "labels"},
	{OPT_END, NULL},
};

static char *path_of(struct vanctl *v)
{
	return api_path("networks", v->args->positionals[0], NULL);
}

int cmd_network_create(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, creation);

	json_set_string(body, "name", v->args->positionals[0]);
	return resource_send(v, "POST", api_path("networks", NULL), body, &networks, e);
}

int cmd_network_list(struct vanctl *v, struct err *e)
{
	return resource_list(v, api_path("networks", NULL), &networks,
		"No networks yet. Make one: vanctl network create NAME --cidr CIDR", e);
}

int cmd_network_show(struct vanctl *v, struct err *e)
{
	return resource_show(v, path_of(v), &network, e);
}

int cmd_network_set(struct vanctl *v, struct err *e)
{
	return resource_set(v, path_of(v), settings, &networks, e);
}

int cmd_network_delete(struct vanctl *v, struct err *e)
{
	return resource_delete(v, path_of(v), e, "Network %s is deleted.", v->args->positionals[0]);
}
