/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that is made from the command table: help, manual page, completion. */
#ifndef VANCTL_HELP_H
#define VANCTL_HELP_H

#include <stdio.h>
#include "vanctl/command.h"

/* The list of commands and the global options. */
void help_all(FILE *to);
/* The commands of a noun. */
void help_noun(FILE *to, const char *noun);
void help_command(FILE *to, const struct command *c);

/* "network create NAME --cidr CIDR [--mtu N]": what stands behind the program's name. */
void help_usage(FILE *to, const struct command *c);

/* The manual page, man(7) source. */
void man_print(FILE *to);

/* The script for "bash" or "zsh"; it asks `vanctl --complete -- WORDS` for every completion. */
void completion_script(FILE *to, const char *shell);

/*
 * What may stand in place of the last of the words (those behind the program's name; the last one
 * is the one under the cursor, perhaps empty): a line each, "WORD\tDESCRIPTION", or ":files" where
 * a file name is wanted.
 */
void completion_words(FILE *to, int count, char *const words[]);

#endif
