/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of agentload. */
#ifndef TEST_LOAD_OPTIONS_H
#define TEST_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define AGENTS_MAX 20000
#define NETS_MAX   64
#define ROUNDS_MAX 100

/* options.c has what they mean. */
struct options {
	const char *console, *pin, *key_file, *network, *seed;
	size_t agents, nets, parallel, verify;
	unsigned int changes, removals, report_s, idle_s, sources, limit_s;
	pid_t pid; /* of the console; 0: not known */
	bool json, fresh, resume, old;
};

/* Ends the program with a message when it is wrong, or help is asked for. */
struct options options_read(int argc, char **argv);

#endif
