/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works. Chunks of anonymous memory, each cut into blocks; free blocks are chained through
 * their first bytes. A chunk is never given back before the arena goes: the arena is as large as
 * the most peers there have been, and unmapping would need a count for each chunk.
 */
#include "vand/keyarena.h"

#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK_BYTES      (256u << 10)
#define CHUNK_BLOCKS_MIN 8

struct block {
	struct block *next;
};

struct chunk {
	struct chunk *next;
	uint8_t *memory;
};

struct keyarena {
	size_t block_size;
	size_t chunk_size;
	struct chunk *chunks;
	struct block *free;
};

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* Maps one more chunk and chains its blocks. *ret_locked as for keyarena_new(). */
static int grow(struct keyarena *a, bool *ret_locked)
{
	struct chunk *chunk = malloc(sizeof(*chunk));
	uint8_t *memory;

	if (!chunk)
		return -ENOMEM;
	memory = mmap(
		NULL, a->chunk_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		free(chunk);
		return -ENOMEM;
	}
	*ret_locked = mlock(memory, a->chunk_size) == 0;
	/* Neither is there on every kernel; both only add to what 0600 and wiping give. */
	(void)madvise(memory, a->chunk_size, MADV_DONTDUMP);
	(void)madvise(memory, a->chunk_size, MADV_WIPEONFORK);
	*chunk = (struct chunk){.next = a->chunks, .memory = memory};
	a->chunks = chunk;
	for (size_t at = a->chunk_size / a->block_size; at-- > 0;) {
		struct block *block = (struct block *)(void *)(memory + at * a->block_size);

		block->next = a->free;
		a->free = block;
	}
	return 0;
}

int keyarena_new(size_t block_size, struct keyarena **ret_arena, bool *ret_locked)
{
	struct keyarena *a = calloc(1, sizeof(*a));
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	bool locked;
	int r;

	if (!a)
		return -ENOMEM;
	a->block_size = round_up(block_size ? block_size : 1, 64);
	a->chunk_size = a->block_size * CHUNK_BLOCKS_MIN;
	if (a->chunk_size < CHUNK_BYTES)
		a->chunk_size = CHUNK_BYTES;
	a->chunk_size = round_up(a->chunk_size, page);
	r = grow(a, &locked);
	if (r < 0) {
		free(a);
		return r;
	}
	*ret_arena = a;
	*ret_locked = locked;
	return 0;
}

void keyarena_free(struct keyarena *a)
{
	if (!a)
		return;
	while (a->chunks) {
		struct chunk *chunk = a->chunks;

		a->chunks = chunk->next;
		sodium_memzero(chunk->memory, a->chunk_size);
		munmap(chunk->memory, a->chunk_size);
		free(chunk);
	}
	free(a);
}

void *keyarena_take(struct keyarena *a)
{
	struct block *block;
	bool locked;

	if (!a->free && grow(a, &locked) < 0)
		return NULL;
	block = a->free;
	a->free = block->next;
	block->next = NULL; /* all else is zero since it was mapped or given back */
	return block;
}

void keyarena_give(struct keyarena *a, void *p)
{
	struct block *block = p;

	if (!block)
		return;
	sodium_memzero(block, a->block_size);
	block->next = a->free;
	a->free = block;
}
