// SPDX-License-Identifier: Apache-2.0
/*
 * vanctl, the command line of VAN. What is where:
 *
 *   command_table.c  every command and option, a row each
 *   command.c        parsing by those tables
 *   help.c man.c completion.c   what else is made from them
 *   run.c            from argv to an exit status
 *   cmd_*.c          the commands, a file for each noun
 *   api.c            calls to the console;  context.c  who we are to it (logins)
 *   local.c          calls to the local vand
 *   output*.c        tables and JSON behind one writer;  text.c  text for people
 *   secretfile.c     keys and tokens from files;  duration.c  "30s"
 */
#include <curl/curl.h>
#include <sodium.h>
#include <stdio.h>

#include "vanctl/vanctl.h"

int main(int argc, char *argv[])
{
	int status;

	if (sodium_init() < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
		fputs("vanctl: cannot set up the cryptography library\n", stderr);
		return EXIT_ERROR;
	}
	status = vanctl_run(argc, argv, stdin, stdout, stderr);
	curl_global_cleanup();
	return status;
}
