/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the completion; what it is for: help.h. */
#ifndef VANCTL_COMPLETION_H
#define VANCTL_COMPLETION_H

#include <stdio.h>
#include "vanctl/command.h"

/*
 * Prints the names of what may stand for a placeholder ("NETWORK", "[NODE]", "NODE[,NODE…]"), as
 * completion_words() does; nothing when it names no kind of thing, or nobody answers in time. args:
 * the command, and the options in front of the cursor; completed from the environment. typed: the
 * word under the cursor.
 */
void completion_names(
	FILE *to, struct command_args *args, const char *placeholder, const char *typed);
/* The names of the logins. */
void completion_contexts(FILE *to);

#endif
