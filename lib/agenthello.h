/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent says of itself with every request to the registry, in the header
 *
 *   VAN-Agent: version=0.2.0,protocol=2,instance=HEX16,start=N
 *
 * Agents of protocol 1 (version 0.1) send none. instance is drawn at each start of the process,
 * start counts the starts with this state directory: how the registry tells two machines that use
 * one identity from one that was restarted.
 */
#ifndef LIB_AGENTHELLO_H
#define LIB_AGENTHELLO_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/err.h"

#define AGENTHELLO_NAME        "VAN-Agent"
#define AGENTHELLO_PROTOCOL    2 /* patches of netmaps, several consoles */
#define AGENTHELLO_VERSION_MAX 64
#define AGENTHELLO_TEXT_MAX    192

struct agenthello {
	char version[AGENTHELLO_VERSION_MAX + 1];
	uint32_t protocol; /* the highest that the agent speaks */
	uint64_t instance; /* not 0 */
	uint64_t start;
};

/* The header's value. */
void agenthello_format(const struct agenthello *hello, char ret_text[AGENTHELLO_TEXT_MAX]);
/* -VAN_E_SYNTAX when it is not of this form; further fields at its end are ignored. */
int agenthello_parse(const char *text, struct agenthello *ret_hello);

/* True when at most one minor release lies between two versions "MAJOR.MINOR…", and none that is
 * major. False for what is no version. */
bool agenthello_fits(const char *a, const char *b);

#endif
