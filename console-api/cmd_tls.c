/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/cmd.h"

#include <string.h>
#include "console-api/tls.h"
#include "lib/cleanup.h"
#include "lib/token.h"

static void print_pin(const char *what, const uint8_t *pin)
{
	char text[53] = "none";

	if (pin)
		token_pin_text(pin, text);
	printf("%s%s\n", what, text);
}

static void say(const struct cmd_args *a, const char *text)
{
	if (!a->quiet)
		fprintf(stderr, "%s\n", text);
}

static int open_files(const struct cmd_args *a, struct tls **ret_tls, struct err *e)
{
	CLEANUP(free) char *host = tls_host_of(a->config.public_url);
	int rc = !strcmp(a->words[0], "new") ? tls_make_key(a->config.state_dir, e) : 0;

	return rc ? rc : tls_open(a->config.state_dir, host, false, ret_tls, e);
}

static int run(const struct cmd_args *a, struct tls *t, struct err *e)
{
	const char *word = a->words[0];
	int rc = 0;

	if (!strcmp(word, "status")) {
		print_pin("now   ", tls_pin(t));
		print_pin("next  ", tls_next_pin(t));
	} else if (!strcmp(word, "new")) {
		print_pin("", tls_pin(t));
		say(a, "start the console; nodes that know another key have to join again");
	} else if (!strcmp(word, "next")) {
		rc = tls_make_next(t, e);
		if (rc)
			return rc;
		print_pin("", tls_next_pin(t));
		say(a, "send SIGHUP to the console (systemctl reload console-api), then wait until all "
		       "nodes have had contact");
	} else {
		rc = tls_switch(t, e);
		if (rc)
			return rc;
		print_pin("", tls_pin(t));
		say(a, "send SIGHUP to the console (systemctl reload console-api): it uses the new key "
		       "from then on");
	}
	return rc;
}

int cmd_tls(struct cmd_args *a)
{
	static const char *const words[] = {"status", "next", "switch", "new"};
	struct tls *t = NULL;
	struct err e = {0};
	bool known = false;
	int rc;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		known |= !strcmp(a->words[0], words[i]);
	if (!known) {
		fprintf(stderr,
			"console-api tls: there is no \"%s\", only status, next, switch and new\n",
			a->words[0]);
		return CMD_USAGE;
	}
	rc = cmd_become_owner(a->config.state_dir, &e);
	if (!rc)
		rc = open_files(a, &t, &e);
	if (!rc)
		rc = run(a, t, &e);
	tls_close(t);
	return rc ? cmd_fail("tls", &e) : CMD_OK;
}
