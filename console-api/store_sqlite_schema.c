/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each schema file turns the schema before it into its own, in one transaction that also puts its
 * number: a crash leaves the one or the other.
 */
#include "console-api/store_sqlite_schema.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/log.h"

int sqlite_schema_error(sqlite3 *db, int sqlite_rc, const char *path, struct err *e)
{
	const char *said = db ? sqlite3_errmsg(db) : sqlite3_errstr(sqlite_rc);

	switch (sqlite_rc & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return err_set(e, -VAN_E_CORRUPT,
			"the store %s is damaged (%s): restore it from a backup", path, said);
	case SQLITE_FULL:
		return err_set(e, -ENOSPC, "no room for the store %s: make room on the disk", path);
	default:
		return err_set(e, -EIO, "cannot open the store %s: %s", path, said);
	}
}

int sqlite_schema_query(sqlite3 *db, const char *sql, int64_t *ret_value)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret_value = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

uint64_t sqlite_schema_generation(void)
{
	uint64_t generation;

	do
		randombytes_buf(&generation, sizeof(generation));
	while (generation == 0);
	return generation;
}

/* All of it or nothing. */
static int run_script(sqlite3 *db, const char *script)
{
	CLEANUP(free) char *sql = xasprintf("BEGIN IMMEDIATE;\n%s\nCOMMIT;", script);
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	if (rc != SQLITE_OK && !sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* The first schema, in one transaction: a crash leaves no store, or one with a generation. */
static int create_schema(sqlite3 *db, const struct embedded *schema)
{
	CLEANUP(free)
	char *script = xasprintf(
		"%.*s\nINSERT INTO meta (one, schema, generation, revision) VALUES (1, 1, %lld, 0);",
		(int)schema->len, schema->data, (long long)sqlite_schema_generation());

	return run_script(db, script);
}

static int migrate(sqlite3 *db, const struct store_sqlite_schemas *schemas, size_t from,
	const char *path, struct err *e)
{
	for (size_t n = from + 1; n <= schemas->count; n++) {
		const struct embedded *file = &schemas->files[n - 1];
		/* Of two that start at once one finds it done: its UPDATE changes nothing, and the
		 * script fails at what is there already. */
		CLEANUP(free)
		char *script = xasprintf(
			"%.*s\nUPDATE meta SET schema = %zu, program = '" VAN_VERSION "';",
			(int)file->len, file->data, n);

		if (run_script(db, script) != SQLITE_OK)
			return err_set(e, -VAN_E_CORRUPT,
				"the store %s cannot be brought from schema %zu to %zu: %s; nothing was "
				"changed",
				path, n - 1, n, sqlite3_errmsg(db));
	}
	return 0;
}

/* Of a newer schema than ours. */
static int refuse_newer(sqlite3 *db, int64_t schema, size_t known, const char *path, struct err *e)
{
	char by[64] = "a newer version";
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(db, "SELECT program FROM meta", -1, &st, NULL) == SQLITE_OK &&
		sqlite3_step(st) == SQLITE_ROW)
		snprintf(by, sizeof(by), "console-api %.40s", sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	return err_set(e, -VAN_E_CORRUPT,
		"the store %s has schema %lld, this program knows %zu: it was made by %s: use that",
		path, (long long)schema, known, by);
}

int sqlite_schema_check(sqlite3 *db, const char *path, struct err *e)
{
	sqlite3_stmt *st;
	int sqlite_rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL);
	bool sound;

	if (sqlite_rc != SQLITE_OK)
		return sqlite_schema_error(db, sqlite_rc, path, e);
	sqlite_rc = sqlite3_step(st);
	sound = sqlite_rc == SQLITE_ROW && !strcmp((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
	if (sound)
		return 0;
	return sqlite_schema_error(
		db, sqlite_rc == SQLITE_ROW ? SQLITE_CORRUPT : sqlite_rc, path, e);
}

int sqlite_schema_prepare(sqlite3 *db, const struct store_sqlite_schemas *schemas, bool read_only,
	const char *path, struct err *e)
{
	int64_t tables = 0, schema = 1;
	int sqlite_rc = sqlite_schema_query(
		db, "SELECT count(*) FROM sqlite_master WHERE name IN ('kv', 'meta')", &tables);

	if (sqlite_rc == SQLITE_OK && tables == 0 && read_only)
		return err_set(e, -VAN_E_CORRUPT, "%s is no store", path);
	if (sqlite_rc == SQLITE_OK && tables == 0)
		sqlite_rc = create_schema(db, &schemas->files[0]);
	else if (sqlite_rc == SQLITE_OK)
		sqlite_rc = sqlite_schema_query(db, "SELECT schema FROM meta", &schema);
	if (sqlite_rc != SQLITE_OK)
		return sqlite_schema_error(db, sqlite_rc, path, e);
	if (schema < 1)
		return err_set(e, -VAN_E_CORRUPT, "the store %s is damaged: schema %lld", path,
			(long long)schema);
	if ((uint64_t)schema > schemas->count)
		return refuse_newer(db, schema, schemas->count, path, e);
	if (read_only || (uint64_t)schema == schemas->count)
		return 0;
	if (tables)
		log_info("bringing the store %s from schema %lld to %zu", path, (long long)schema,
			schemas->count);
	return migrate(db, schemas, (size_t)schema, path, e);
}
