/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics on disk: one SQLite file beside the store, of a size bounded by that of the statistics
 * in memory, written by a thread of its own. A crash loses what was counted since it was written
 * last: the shape of it; the sums come back with the next reports (stats_take.c).
 *
 * Nothing that is wrong with the file is an error for anybody: one that is damaged is put aside
 * (.bad) and what could be read of it is written anew; one that cannot be written is tried again.
 */
#ifndef CONSOLE_API_STATS_FILE_H
#define CONSOLE_API_STATS_FILE_H

#include "console-api/stats.h"
#include "lib/err.h"

struct stats_file;

/* Loads into st (empty, both outlive the file), and saves every so many seconds; 0: only when
 * stats_file_save() is called. Fails only for want of a thread. */
int stats_file_open(const char *path, struct stats *st, unsigned int every_s,
	struct stats_file **ret_file, struct err *e);
/* Saves once more. NULL is fine. */
void stats_file_close(struct stats_file *f);
/* What has changed. 0, or a negative code of what was logged. Not beside the thread. */
int stats_file_save(struct stats_file *f, uint64_t now_s);

#endif
