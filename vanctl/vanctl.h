/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command handler gets: its parsed arguments, where to write, and how to speak to the person
 * in front of it. Data goes to `out` through the writer (output.h), messages to `err`.
 */
#ifndef VANCTL_VANCTL_H
#define VANCTL_VANCTL_H

#include <stdbool.h>
#include <stdio.h>
#include "lib/err.h"
#include "vanctl/command.h"
#include "vanctl/output.h"

/* What the program ends with. */
enum exit_status {
	EXIT_OK = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_UNREACHABLE = 3,
	EXIT_DENIED = 4,
	EXIT_NOT_FOUND = 5,
	EXIT_CONFLICT = 6,
	EXIT_TIMEOUT = 7,
};

struct vanctl {
	FILE *in;
	FILE *out;
	FILE *err;
	const struct command_args *args;
	struct output output;
	unsigned int timeout_ms;
	bool quiet;      /* -q: no messages; errors still */
	bool verbose;    /* -v: requests on err */
	bool err_is_tty; /* progress may be shown */
};

/*
 * The whole program but for the set-up of its libraries: parses, runs, reports. Returns the exit
 * status. The streams are borrowed.
 */
int vanctl_run(int argc, char *const argv[], FILE *in, FILE *out, FILE *err);

/* The exit status for an error code (0, -errno or -VAN_E*). -VAN_E_SYNTAX means the command line:
 * what does not parse elsewhere is -VAN_E_INVALID or -VAN_E_PROTOCOL here. */
enum exit_status vanctl_exit_status(int code);

/* A message, a line; nothing with -q. Control characters from elsewhere are made harmless. */
void vanctl_say(struct vanctl *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with "warning: " in front. */
void vanctl_warn(struct vanctl *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* An error, a line, also with -q: for handlers that have more than one to tell. */
void vanctl_error(struct vanctl *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
