/* SPDX-License-Identifier: Apache-2.0 */
/* The store that a configuration names. */
#ifndef CONSOLE_API_STORE_OPEN_H
#define CONSOLE_API_STORE_OPEN_H

#include "console-api/config.h"
#include "console-api/store.h"

enum store_use {
	STORE_READ, /* while a console may run on it */
	STORE_WRITE /* with the state directory's lock */
};

/* With STORE_WRITE it is made where there is none, and its schema brought up to date. */
int store_open(
	const struct config *config, enum store_use use, struct store **ret_store, struct err *e);

/* "FILE" or "PREFIX at ENDPOINT", for messages. Heap. */
char *store_place(const struct config *config);

/*
 * Makes the state directory where there is none, and takes its lock until *ret_fd is closed: one
 * console, or one command that writes, at a time. -EBUSY when somebody else has it.
 */
int state_dir_lock(const char *dir, int *ret_fd, struct err *e);

#endif
