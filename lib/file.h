/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files: read with a bound, written so that a crash leaves the old one or the new one. */
#ifndef LIB_FILE_H
#define LIB_FILE_H

#include <stddef.h>
#include <sys/types.h>
#include "lib/err.h"

/* Reads a file of at most max bytes. *ret_data is heap, NUL-terminated beyond *ret_len. -ENOENT
 * when there is none, -EFBIG when it is larger. "-" is standard input where allow_stdin is set by
 * the caller's own check; this function takes paths only. */
int file_read(const char *path, size_t max, char **ret_data, size_t *ret_len, struct err *e);

/* Reads an open descriptor to its end, with the same bound and results. Does not close it. */
int file_read_fd(int fd, size_t max, char **ret_data, size_t *ret_len, struct err *e);

/*
 * A file that takes its name when it is whole: a temporary one in the same directory, to be written
 * through fd (or by its name, `temporary`), synced and renamed by file_new_finish(). What is there
 * under the name is replaced then. file_new_drop() in any case; without a finish it leaves nothing.
 */
struct file_new {
	int fd;                             /* -1: none */
	char *path, *directory, *temporary; /* heap */
};
int file_new_start(const char *path, mode_t mode, struct file_new *ret_file, struct err *e);
int file_new_finish(struct file_new *f, struct err *e);
void file_new_drop(struct file_new *f);
static inline void cleanup_file_new(struct file_new *f)
{
	file_new_drop(f);
}

/* Data that is in memory, likewise: a crash leaves the old file or the new one. */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e);

/* Makes the directory and its parents (mode for the last one); existing ones are fine. */
int file_make_dirs(const char *path, mode_t mode, struct err *e);

#endif
