/* SPDX-License-Identifier: Apache-2.0 */
/* Forgets what is of no use any more: tokens that let nobody in (jointoken.h), removed nodes (node.h). */
#ifndef CONSOLE_API_PRUNE_H
#define CONSOLE_API_PRUNE_H

#include "console-api/registry.h"

/* A bounded piece of work, to be called every few seconds: goes through all of them bit by bit. */
void prune_turn(struct registry *r, uint64_t wall_ns);

#endif
