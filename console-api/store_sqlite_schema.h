/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to the file of an SQLite store before it is used; for store_sqlite.c. */
#ifndef CONSOLE_API_STORE_SQLITE_SCHEMA_H
#define CONSOLE_API_STORE_SQLITE_SCHEMA_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include "console-api/store_sqlite.h"

/* Creates the tables in an empty file, or brings them up to date; read_only: looks whether they can
 * be read. -VAN_E_CORRUPT when they are of a newer version, or damaged. */
int sqlite_schema_prepare(sqlite3 *db, const struct store_sqlite_schemas *schemas, bool read_only,
	const char *path, struct err *e);
/* Whether the whole file is sound. */
int sqlite_schema_check(sqlite3 *db, const char *path, struct err *e);

/* The store's code and text for a failure while it is opened; db may be NULL. */
int sqlite_schema_error(sqlite3 *db, int sqlite_rc, const char *path, struct err *e);
/* The number in the first column of the first row; an SQLite code, SQLITE_CORRUPT without one. */
int sqlite_schema_query(sqlite3 *db, const char *sql, int64_t *ret_value);
/* A fresh one, never 0. */
uint64_t sqlite_schema_generation(void);

#endif
