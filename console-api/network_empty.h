/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks that are too large to be deleted in one transaction of the store (store_txn_max()): what
 * is in them goes first, in as many transactions as it takes. Each leaves a network that is smaller
 * and whole, so whatever ends this half-way leaves nothing half-made: it is deleted again.
 */
#ifndef CONSOLE_API_NETWORK_EMPTY_H
#define CONSOLE_API_NETWORK_EMPTY_H

#include "console-api/registry.h"

/* Takes out as much as one transaction takes: tokens first, so that nobody joins meanwhile, then
 * what is defined of it, then members. REGISTRY_NO_CHANGE when it is empty. */
int network_empty_some(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p);

#endif
