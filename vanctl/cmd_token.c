// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/text.h"

/* "1 of 3" left. */
static void cell_uses(const struct output *o, struct json_object *row, FILE *to)
{
	(void)o;
	text_clean(to, output_string(row, "uses_left", "?"));
	fputs(" of ", to);
	text_clean(to, output_string(row, "uses", "?"));
}

static const struct view tokens = {(const struct column[]){
	COLUMN("ID", "id"),
	COLUMN("NETWORK", "network_name"),
	COLUMN("STATE", "state"),
	COLUMN("USES LEFT", NULL, .cell = cell_uses),
	COLUMN("EPHEMERAL", "ephemeral_s", .cell = cell_duration),
	COLUMN("FOR NODE", "node", .optional = true),
	COLUMN("EXPIRES", "expires_at", .cell = cell_until),
	COLUMN("CREATED", "created_at", .cell = cell_since),
	{.title = NULL},
}};

static const struct view token = {(const struct column[]){
	COLUMN("Id", "id"),
	COLUMN("Network", "network_name"),
	COLUMN("State", "state"),
	COLUMN("Uses left", NULL, .cell = cell_uses),
	COLUMN("Ephemeral", "ephemeral_s", .cell = cell_duration),
	COLUMN("For node", "node", .optional = true),
	COLUMN("Expires", "expires_at", .cell = cell_until),
	COLUMN("Created", "created_at"),
	{.title = NULL},
}};

static const struct body_row settings[] = {
	{OPT_USES, "uses"},
	{OPT_TTL, "ttl_s"},
	{OPT_EPHEMERAL, "ephemeral_s"},
	{OPT_END, NULL},
};

int cmd_token_issue(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, settings);

	return resource_issue(v, api_path("networks", v->args->positionals[0], "tokens", NULL),
		body, "token",
		"The token is shown only now. Put it into a file on the node and run there: "
		"vanctl join --token-file FILE",
		e);
}

int cmd_token_list(struct vanctl *v, struct err *e)
{
	const struct command_args *args = v->args;
	const char *network = args->positionals[0] ? args->positionals[0] : args->text[OPT_NETWORK];

	if (args->positionals[0] && args->set[OPT_NETWORK] &&
		strcmp(args->positionals[0], args->text[OPT_NETWORK]) != 0)
		return err_set(e, -VAN_E_SYNTAX, "two different networks are given");
	return resource_list(v, resource_query(api_path("tokens", NULL), "network", network),
		&tokens, "No tokens. Issue one: vanctl token issue NETWORK", e);
}

int cmd_token_show(struct vanctl *v, struct err *e)
{
	return resource_show(v, api_path("tokens", v->args->positionals[0], NULL), &token, e);
}

int cmd_token_revoke(struct vanctl *v, struct err *e)
{
	return resource_delete(v, api_path("tokens", v->args->positionals[0], NULL), e,
		"Token %s is revoked.", v->args->positionals[0]);
}
