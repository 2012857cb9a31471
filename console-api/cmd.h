/* SPDX-License-Identifier: Apache-2.0 */
/* What console-api does besides running: commands on its store. */
#ifndef CONSOLE_API_CMD_H
#define CONSOLE_API_CMD_H

#include <stdio.h>
#include "console-api/config.h"

#define CMD_CONFIG "/etc/van/console-api.conf" /* where -c is not given */
#define CMD_WORDS  4

/* Exit codes. */
enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2, CMD_BROKEN = 3 };

/* argv[0] is the command; returns the exit code. */
int cmd_main(int argc, char **argv);
/* A line for each command. */
void cmd_list(FILE *out);

/* -- for the commands -- */

struct cmd_args {
	struct config config;
	const char *words[CMD_WORDS]; /* after the command's name */
	size_t word_count;
	const char *noted; /* --noted FILE, or NULL */
	bool quiet;
};

/* Writes a line of progress over the last one, at most some times a second, where standard error is
 * a terminal. */
struct cmd_progress {
	const char *what;
	uint64_t shown_ns;
	bool shown;
};
void cmd_progress(void *ctx, uint64_t done, uint64_t all);
/* Ends the line. */
void cmd_progress_done(struct cmd_progress *p);

/* Writes "console-api COMMAND: text" to standard error; returns CMD_FAILED. */
int cmd_fail(const char *command, const struct err *e);

/* Files that root makes would not be the console's: become whom the directory belongs to. */
int cmd_become_owner(const char *dir, struct err *e);

int cmd_export(struct cmd_args *a);
int cmd_import(struct cmd_args *a);
int cmd_backup(struct cmd_args *a);
int cmd_audit(struct cmd_args *a);
int cmd_check(struct cmd_args *a);
int cmd_tls(struct cmd_args *a);

#endif
