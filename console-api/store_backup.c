/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copy is made page by page by SQLite's own means while others read and write; a read
 * transaction that is held meanwhile keeps the moment. It is finished under another name, synced and
 * renamed: a file with the wanted name is a whole backup.
 */
#include "console-api/store_sqlite.h"

#include <sqlite3.h>
#include "lib/cleanup.h"
#include "lib/file.h"

#define PAGES_AT_ONCE   128
#define BUSY_TIMEOUT_MS 5000

static int sqlite_error(sqlite3 *db, const char *doing, const char *path, struct err *e)
{
	int sqlite_rc = sqlite3_errcode(db) & 0xff;

	return err_set(e, sqlite_rc == SQLITE_FULL ? -ENOSPC : -EIO, "%s %s: %s", doing, path,
		sqlite3_errmsg(db));
}

static int copy_pages(sqlite3 *from, sqlite3 *to, store_sqlite_progress *progress, void *ctx)
{
	sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
	int sqlite_rc;

	if (!backup)
		return sqlite3_errcode(to);
	do {
		sqlite_rc = sqlite3_backup_step(backup, PAGES_AT_ONCE);
		if (progress)
			progress(ctx, sqlite3_backup_remaining(backup),
				sqlite3_backup_pagecount(backup));
	} while (sqlite_rc == SQLITE_OK);
	return sqlite3_backup_finish(backup);
}

/* One file without a log beside it, and no generation. */
static int finish_copy(sqlite3 *to)
{
	return sqlite3_exec(to,
		"PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL; UPDATE meta SET generation = 0",
		NULL, NULL, NULL);
}

static int copy(sqlite3 *from, const char *path, const char *temporary,
	store_sqlite_progress *progress, void *ctx, struct err *e)
{
	sqlite3 *to = NULL;
	int rc = 0;

	if (sqlite3_open_v2(temporary, &to, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
		rc = sqlite_error(to, "cannot write", temporary, e);
	} else if (sqlite3_exec(from, "BEGIN; SELECT revision FROM meta", NULL, NULL, NULL) !=
		   SQLITE_OK) {
		rc = sqlite_error(from, "cannot read", path, e);
	} else if (copy_pages(from, to, progress, ctx) != SQLITE_OK ||
		   finish_copy(to) != SQLITE_OK) {
		rc = sqlite_error(to, "cannot write", temporary, e);
	}
	sqlite3_close(to);
	return rc;
}

int store_sqlite_backup(
	const char *path, const char *to, store_sqlite_progress *progress, void *ctx, struct err *e)
{
	CLEANUP(file_new) struct file_new f = {.fd = -1};
	sqlite3 *from = NULL;
	int rc = file_new_start(to, 0600, &f, e);

	if (rc)
		return rc;
	if (sqlite3_open_v2(path, &from, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK) {
		sqlite3_busy_timeout(from, BUSY_TIMEOUT_MS);
		rc = copy(from, path, f.temporary, progress, ctx, e);
	} else {
		rc = sqlite_error(from, "cannot read", path, e);
	}
	sqlite3_close(from);
	return rc ? rc : file_new_finish(&f, e);
}
