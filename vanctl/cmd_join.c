// SPDX-License-Identifier: Apache-2.0
#include <sodium.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/token.h"
#include "vanctl/cmd.h"
#include "vanctl/duration.h"
#include "vanctl/local.h"
#include "vanctl/secretfile.h"
#include "vanctl/text.h"

/* The daemon bounds the work itself; this is how much later we stop to wait for its word. */
#define SLACK_MS 5000u

static void print_joined(const struct output *o, struct json_object *joined)
{
	fputs("Joined network ", o->to);
	text_clean(o->to, output_string(output_member(joined, "network"), "name", "?"));
	fputs(" as node ", o->to);
	text_clean(o->to, output_string(output_member(joined, "node"), "name", "?"));
	fputs(".\n  interface  ", o->to);
	text_clean(o->to, output_string(joined, "ifname", "?"));
	fputs(" (", o->to);
	text_clean(o->to, output_string(joined, "mac", "?"));
	fputs(")\n  address    ", o->to);
	cell_strings(o, output_member(joined, "ips"), o->to);
	fputc('\n', o->to);
}

/* Says what is going on to somebody who watches; the token's secret is not shown. */
static void announce(struct vanctl *v, const struct token *token, int64_t wait_ms)
{
	char wait[32];

	if (!v->err_is_tty)
		return;
	duration_format(wait_ms, wait);
	vanctl_say(v, "Joining by %s, for at most %s ...", token->url, wait);
}

int cmd_join(struct vanctl *v, struct err *e)
{
	const struct command_args *args = v->args;
	int64_t wait_ms = args->set[OPT_WAIT] ? args->number[OPT_WAIT] : (int64_t)v->timeout_ms;
	CLEANUP(json) struct json_object *arguments = json_object_new_object();
	CLEANUP(json) struct json_object *joined = NULL;
	CLEANUP(secret) char *text = NULL;
	struct json_object *member;
	struct token token;
	int rc = secretfile_read(v, args->text[OPT_TOKEN_FILE], "join token", &text, e);

	if (rc)
		return rc;
	if (token_parse(text, &token, e) < 0) {
		err_prefix(e, -VAN_E_INVALID, "%s", args->text[OPT_TOKEN_FILE]);
		return -VAN_E_INVALID;
	}
	announce(v, &token, wait_ms);
	sodium_memzero(&token, sizeof(token));
	json_set_string(arguments, "token", text);
	if (args->set[OPT_NAME])
		json_set_string(arguments, "name", args->text[OPT_NAME]);
	if (args->set[OPT_ADDRESS])
		json_set_string(arguments, "address", args->text[OPT_ADDRESS]);
	if (args->set[OPT_IFNAME])
		json_set_string(arguments, "ifname", args->text[OPT_IFNAME]);
	json_set_int(arguments, "timeout_ms", wait_ms);
	rc = local_call(v, "join", json_object_get(arguments), (unsigned int)wait_ms + SLACK_MS,
		&joined, e);
	member = output_member(arguments, "token");
	sodium_memzero(
		(char *)json_object_get_string(member), (size_t)json_object_get_string_len(member));
	if (rc)
		return rc;
	output_with(&v->output, print_joined, joined);
	return 0;
}

int cmd_leave(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *left = NULL;
	struct json_object *arguments = json_object_new_object();
	int rc;

	json_set_string(arguments, "network", v->args->positionals[0]);
	rc = local_call(v, "leave", arguments, v->timeout_ms, &left, e);
	if (rc)
		return rc;
	if (v->output.writer == &output_json)
		output_with(&v->output, NULL, left);
	vanctl_say(v, "Left network %s.%s",
		output_string(output_member(left, "network"), "name", v->args->positionals[0]),
		json_object_get_boolean(output_member(left, "registry_told"))
			? ""
			: " The console is away; it is told as soon as it answers.");
	return 0;
}
