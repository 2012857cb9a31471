// SPDX-License-Identifier: Apache-2.0

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/cmd.h"
#include "vanctl/help.h"

int cmd_help(struct vanctl *v, struct err *e)
{
	const char *noun = v->args->positionals[0];
	const char *verb = v->args->positionals[1];
	const struct command *c = noun ? command_find(noun, verb) : NULL;

	if (!noun)
		help_all(v->out);
	else if (c)
		help_command(v->out, c);
	else if (!verb && command_find_noun(noun))
		help_noun(v->out, noun);
	else
		return err_set(e, -VAN_E_SYNTAX, "there is no command '%.64s%s%.64s'", noun,
			verb ? " " : "", verb ? verb : "");
	return 0;
}

static void print_version(const struct output *o, struct json_object *version)
{
	fprintf(o->to, "vanctl %s\n", output_string(version, "version", "?"));
}

int cmd_version(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *version = json_object_new_object();

	(void)e;
	json_set_string(version, "version", VAN_VERSION);
	output_with(&v->output, print_version, version);
	return 0;
}

int cmd_completion(struct vanctl *v, struct err *e)
{
	(void)e;
	completion_script(v->out, v->args->positionals[0]);
	return 0;
}
