/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of a test's own under $TMPDIR, and its removal. */
#ifndef TEST_UNIT_TMPDIR_H
#define TEST_UNIT_TMPDIR_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#define TMPDIR_PATH_MAX 256

struct tmpdir {
	char path[TMPDIR_PATH_MAX];
};

static inline void tmpdir_make(struct tmpdir *d)
{
	const char *base = getenv("TMPDIR");

	snprintf(d->path, sizeof(d->path), "%.200s/van-unit.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(d->path))
		abort();
}

static inline int tmpdir_remove_one(
	const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	return remove(path);
}

static inline void tmpdir_remove(struct tmpdir *d)
{
	nftw(d->path, tmpdir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* DIR/name in one of a few static buffers. */
static inline const char *tmpdir_file(const struct tmpdir *d, const char *name)
{
	static char paths[4][TMPDIR_PATH_MAX + 128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", d->path, name);
	return path;
}

#endif
