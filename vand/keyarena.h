/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for keys: pages that are locked (never swapped), left out of core dumps, wiped in a forked
 * child, and zeroed when a block is given back. One mapping for many blocks, because a locked
 * mapping for each key, with guard pages, runs into the kernel's limits with a few thousand peers.
 * Used by the control thread only.
 */
#ifndef VAND_KEYARENA_H
#define VAND_KEYARENA_H

#include <stdbool.h>
#include <stddef.h>

struct keyarena;

/* block_size is rounded up to a multiple of 64. 0 or -errno. *ret_locked: false where the system's
 * limit does not let us lock (the caller warns once and goes on). */
int keyarena_new(size_t block_size, struct keyarena **ret_arena, bool *ret_locked);
/* Wipes and unmaps everything. */
void keyarena_free(struct keyarena *arena);

/* A zeroed block, 64-byte aligned, or NULL when there is no memory. */
void *keyarena_take(struct keyarena *arena);
/* Wipes the block and gives it back. NULL is fine. */
void keyarena_give(struct keyarena *arena, void *block);

#endif
