// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/secretfile.h"

/* A context from the options alone: a login starts afresh. */
static int context_from_options(struct vanctl *v, struct context *c, struct err *e)
{
	const struct command_args *args = v->args;
	/* --token-file means the same here; typed, it goes before a key file in the environment. */
	const char *key_file = args->set[OPT_LOGIN_TOKEN_FILE] ? args->text[OPT_LOGIN_TOKEN_FILE]
							       : args->text[OPT_KEY_FILE];
	const char *name = args->set[OPT_CONTEXT] ? args->text[OPT_CONTEXT] : "default";
	int rc;

	if (!args->set[OPT_CONSOLE])
		return err_set(e, -VAN_E_SYNTAX, "--console URL is missing");
	if (!key_file && isatty(fileno(v->in)))
		key_file = "-";
	if (!key_file)
		return err_set(e, -VAN_E_SYNTAX, "--key-file FILE is missing");
	if (!context_name_valid(name))
		return err_set(e, -VAN_E_SYNTAX,
			"--context: '%.64s' is no name (letters, digits, '.', '_' and '-')", name);
	strcpy(c->name, name);
	rc = context_check_url(args->text[OPT_CONSOLE], &c->console, e);
	if (!rc && args->set[OPT_PIN])
		rc = context_check_pin(args->text[OPT_PIN], &c->pin, e);
	if (rc)
		return rc;
	if (args->set[OPT_CA]) {
		/* It must still be found from another directory. */
		c->ca_file = realpath(args->text[OPT_CA], NULL);
		if (!c->ca_file)
			return err_set(e, -errno, "cannot read the CA file %s: %s",
				args->text[OPT_CA], strerror(errno));
	}
	return secretfile_read(v, key_file, "API key", &c->key, e);
}

/* What to do about a certificate that nobody vouches for; a wrong pin or CA explains itself. */
static int explain_tls(const struct context *c, struct err *e)
{
	if (c->pin || c->ca_file)
		return -VAN_E_TLS;
	return err_prefix(e, -VAN_E_TLS,
		"the console's certificate cannot be verified; run `cat <state_dir>/tls.pin` on "
		"the console and log in with --pin and what it prints");
}

/* Asks the console who it is, with the key. */
static int verify(struct api *api, struct json_object **ret_console, struct err *e)
{
	int rc = api_call(api, "GET", "/api/v1/console", NULL, ret_console, e);

	if (rc == -VAN_E_TLS)
		return explain_tls(&api->context, e);
	if (rc == -VAN_E_DENIED)
		return err_prefix(e, rc, "%s does not accept the key", api->context.console);
	if (rc)
		return rc;
	if (!output_string(*ret_console, "id", NULL)) {
		json_object_put(STEAL(*ret_console));
		return err_set(e, -VAN_E_PROTOCOL, "%s is no VAN console", api->context.console);
	}
	return 0;
}

int cmd_login(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *console = NULL;
	CLEANUP(api) struct api api = {0};
	CLEANUP(free) char *dir = NULL;
	struct context context = {0};
	int rc = context_dir(&dir, e);

	if (!rc)
		rc = context_from_options(v, &context, e);
	if (!rc)
		rc = api_init(&api, &context, v->timeout_ms, v->verbose ? v->err : NULL, e);
	context_done(&context);
	if (!rc)
		rc = verify(&api, &console, e);
	if (!rc)
		rc = context_save(dir, &api.context, e);
	if (rc)
		return rc;
	if (api.context.pin) /* also which one will follow */
		context_learn(dir, api.context.name, output_string(console, "pin", ""),
			output_string(console, "next_pin", NULL), NULL);
	if (v->output.writer == &output_json)
		output_with(&v->output, NULL, console);
	vanctl_say(v, "Logged in to %s (console %s, version %s), login '%s'.", api.context.console,
		output_string(console, "id", "?"), output_string(console, "version", "?"),
		api.context.name);
	return 0;
}
