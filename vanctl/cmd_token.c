// SPDX-License-Identifier: Apache-2.0
#include <sodium.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
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
	COLUMN("EXPIRES", "expires_at", .cell = cell_until),
	COLUMN("CREATED", "created_at", .cell = cell_since),
	{.title = NULL},
}};

/* Prints what was issued; the token alone for people and pipes. */
static void print_token(const struct output *o, struct json_object *issued)
{
	fprintf(o->to, "%s\n", output_string(issued, "token", ""));
}

int cmd_token_issue(struct vanctl *v, struct err *e)
{
	const struct command_args *args = v->args;
	CLEANUP(free) char *path = api_path("networks", args->positionals[0], "tokens", NULL);
	CLEANUP(json) struct json_object *body = json_object_new_object();
	CLEANUP(json) struct json_object *issued = NULL;
	CLEANUP(api) struct api api = {0};
	struct json_object *token;
	int rc = api_open(v, &api, e);

	if (rc)
		return rc;
	if (args->set[OPT_USES])
		json_set_int(body, "uses", args->number[OPT_USES]);
	/* The console counts in seconds; a part of one is rounded up, never to "none". */
	if (args->set[OPT_TTL])
		json_set_int(body, "ttl_s", (args->number[OPT_TTL] + 999) / 1000);
	if (args->set[OPT_EPHEMERAL])
		json_set_int(body, "ephemeral_s", (args->number[OPT_EPHEMERAL] + 999) / 1000);
	rc = api_call(&api, "POST", path, body, &issued, e);
	if (rc)
		return rc;
	token = output_member(issued, "token");
	if (!json_object_is_type(token, json_type_string))
		return err_set(e, -VAN_E_PROTOCOL, "the console's answer holds no token");
	output_with(&v->output, print_token, issued);
	vanctl_say(v, "The token is shown only now. Put it into a file on the node and run there: "
		      "vanctl join --token-file FILE");
	sodium_memzero(
		(char *)json_object_get_string(token), (size_t)json_object_get_string_len(token));
	return 0;
}

int cmd_token_list(struct vanctl *v, struct err *e)
{
	const struct command_args *args = v->args;
	const char *network = args->positionals[0] ? args->positionals[0] : args->text[OPT_NETWORK];
	CLEANUP(free) char *encoded = api_encode(network ? network : "");
	CLEANUP(json) struct json_object *list = NULL;
	CLEANUP(free) char *path = NULL;
	CLEANUP(api) struct api api = {0};
	int rc;

	if (args->positionals[0] && args->set[OPT_NETWORK] &&
		strcmp(args->positionals[0], args->text[OPT_NETWORK]) != 0)
		return err_set(e, -VAN_E_SYNTAX, "two different networks are given");
	if (!encoded ||
		asprintf(&path, "/api/v1/tokens%s%s", network ? "?network=" : "", encoded) < 0) {
		path = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	rc = api_open(v, &api, e);
	if (!rc)
		rc = api_list(&api, path, &list, e);
	if (rc)
		return rc;
	output_list(&v->output, &tokens, list);
	if (!json_object_array_length(output_member(list, "items")))
		vanctl_say(v, "No tokens. Issue one: vanctl token issue NETWORK");
	return 0;
}

int cmd_token_revoke(struct vanctl *v, struct err *e)
{
	CLEANUP(free) char *path = api_path("tokens", v->args->positionals[0], NULL);
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = api_call(&api, "DELETE", path, NULL, NULL, e);
	if (rc)
		return rc;
	vanctl_say(v, "Token %s is revoked.", v->args->positionals[0]);
	return 0;
}
