/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether everything in a store fits together: every invariant that registry.h names at its top, read
 * from one moment of the store. A fault is damage or a bug: no sequence of requests, crash or power
 * cut may make one.
 */
#ifndef CONSOLE_API_CHECK_H
#define CONSOLE_API_CHECK_H

#include "console-api/store.h"
#include "console-api/transfer.h"

struct check_result {
	uint64_t keys, faults;
};

/* Calls fault with one line for each. -errno when the store cannot be read. */
int check_store(struct store *s, void (*fault)(void *ctx, const char *line), void *ctx,
	transfer_progress *progress, void *progress_ctx, struct check_result *ret_result,
	struct err *e);

#endif
