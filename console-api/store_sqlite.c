/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in one SQLite file. How it works: table kv is the map, table meta holds the generation
 * and the revision. A transaction is BEGIN IMMEDIATE (so that nobody writes between the compares
 * and the ops), the compares, the ops, the revision, COMMIT. WAL with synchronous=FULL syncs the
 * log at every commit: what was acknowledged survives a power cut. Any failure rolls back, and the
 * same statement objects serve for the life of the store.
 */
#include "console-api/store.h"

#include <sodium.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/embed.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/list.h"
#include "lib/log.h"

#define SCHEMA_VERSION  1
#define BUSY_TIMEOUT_MS 1000

enum statement {
	ST_BEGIN,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_GET,
	ST_RANGE,
	ST_COUNT,
	ST_PUT,
	ST_DELETE,
	ST_MOD_REVISION,
	ST_REVISION,
	ST_SET_REVISION,
	ST_N
};

static const char *const statement_text[ST_N] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
	[ST_GET] = "SELECT key, value, create_rev, mod_rev FROM kv WHERE key = ?1",
	[ST_RANGE] = ("SELECT key, value, create_rev, mod_rev FROM kv"
		      " WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3"),
	[ST_COUNT] = "SELECT count(*) FROM kv WHERE key >= ?1 AND key < ?2",
	[ST_PUT] = ("INSERT INTO kv (key, value, create_rev, mod_rev) VALUES (?1, ?2, ?3, ?3)"
		    " ON CONFLICT (key) DO UPDATE SET value = ?2, mod_rev = ?3"),
	[ST_DELETE] = "DELETE FROM kv WHERE key = ?1",
	[ST_MOD_REVISION] = "SELECT mod_rev FROM kv WHERE key = ?1",
	[ST_REVISION] = "SELECT revision FROM meta",
	[ST_SET_REVISION] = "UPDATE meta SET revision = ?1",
};

struct store_sqlite {
	struct store base;
	sqlite3 *db;
	sqlite3_stmt *statements[ST_N];
	struct log_limit log_limit;
};

static struct store_sqlite *sqlite_of(struct store *s)
{
	return container_of(s, struct store_sqlite, base);
}

/* The code for what SQLite just said, and one line in the log (at most one in ten seconds: a full
 * disk fails every request). */
static int failure(struct store_sqlite *q, int sqlite_rc, const char *doing)
{
	int rc;

	switch (sqlite_rc & 0xff) {
	case SQLITE_FULL:
		rc = -ENOSPC;
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		rc = -EBUSY;
		break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		rc = -VAN_E_CORRUPT;
		break;
	default: {
		int sys = sqlite3_system_errno(q->db);

		rc = sys == ENOSPC || sys == EDQUOT || sys == EFBIG ? -ENOSPC : -EIO;
	}
	}
	if (log_limit_pass(&q->log_limit, clock_boottime_ns(), 10 * NS_PER_S, 1))
		log_error("store: %s failed: %s (%s); nothing was changed", doing,
			sqlite3_errmsg(q->db),
			rc == -ENOSPC ? "make room on the disk" : "the file is not usable now");
	return rc;
}

static sqlite3_stmt *prepared(struct store_sqlite *q, enum statement which)
{
	sqlite3_stmt *st = q->statements[which];

	sqlite3_reset(st);
	return st;
}

static int run(struct store_sqlite *q, enum statement which, const char *doing)
{
	sqlite3_stmt *st = q->statements[which];
	int sqlite_rc = sqlite3_step(st);

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return sqlite_rc == SQLITE_DONE || sqlite_rc == SQLITE_ROW ? 0
								   : failure(q, sqlite_rc, doing);
}

static void bind_text(sqlite3_stmt *st, int i, const char *text)
{
	/* Borrowed: every statement is stepped and reset before the text goes. */
	sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
}

static void read_item(sqlite3_stmt *st, struct store_item *item)
{
	const char *key = (const char *)sqlite3_column_text(st, 0);
	const char *value = (const char *)sqlite3_column_text(st, 1);

	*item = (struct store_item){
		.key = xstrdup(key ? key : ""),
		.value = xstrdup(value ? value : ""),
		.create_revision = (uint64_t)sqlite3_column_int64(st, 2),
		.mod_revision = (uint64_t)sqlite3_column_int64(st, 3),
	};
}

static int sqlite_get(struct store *s, const char *key, struct store_item *ret_item)
{
	struct store_sqlite *q = sqlite_of(s);
	sqlite3_stmt *st = prepared(q, ST_GET);
	int sqlite_rc;
	int rc = 0;

	bind_text(st, 1, key);
	sqlite_rc = sqlite3_step(st);
	if (sqlite_rc == SQLITE_ROW)
		read_item(st, ret_item);
	else
		rc = sqlite_rc == SQLITE_DONE ? -ENOENT : failure(q, sqlite_rc, "reading");
	sqlite3_reset(st);
	return rc;
}

static int sqlite_range(struct store *s, const char *from, const char *end, size_t limit,
	struct store_items *ret_items)
{
	struct store_sqlite *q = sqlite_of(s);
	sqlite3_stmt *st = prepared(q, ST_RANGE);
	struct store_items items = {0};
	size_t room = 0;
	int sqlite_rc;

	bind_text(st, 1, from);
	bind_text(st, 2, end);
	/* One more than asked for tells whether there are further ones. */
	sqlite3_bind_int64(st, 3, limit ? (sqlite3_int64)limit + 1 : -1);
	while ((sqlite_rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (limit && items.count == limit) {
			items.more = true;
			continue;
		}
		if (items.count == room) {
			room = room ? room * 2 : 16;
			items.items = xrealloc(items.items, room, sizeof(*items.items));
		}
		read_item(st, &items.items[items.count++]);
	}
	sqlite3_reset(st);
	if (sqlite_rc != SQLITE_DONE) {
		store_items_done(&items);
		return failure(q, sqlite_rc, "reading");
	}
	*ret_items = items;
	return 0;
}

static int sqlite_count(struct store *s, const char *from, const char *end, uint64_t *ret_count)
{
	struct store_sqlite *q = sqlite_of(s);
	sqlite3_stmt *st = prepared(q, ST_COUNT);
	int sqlite_rc;
	int rc = 0;

	bind_text(st, 1, from);
	bind_text(st, 2, end);
	sqlite_rc = sqlite3_step(st);
	if (sqlite_rc == SQLITE_ROW)
		*ret_count = (uint64_t)sqlite3_column_int64(st, 0);
	else
		rc = failure(q, sqlite_rc, "counting");
	sqlite3_reset(st);
	return rc;
}

static int sqlite_revision(struct store *s, uint64_t *ret_revision)
{
	struct store_sqlite *q = sqlite_of(s);
	sqlite3_stmt *st = prepared(q, ST_REVISION);
	int sqlite_rc = sqlite3_step(st);
	int rc = 0;

	if (sqlite_rc == SQLITE_ROW)
		*ret_revision = (uint64_t)sqlite3_column_int64(st, 0);
	else
		rc = sqlite_rc == SQLITE_DONE ? -VAN_E_CORRUPT : failure(q, sqlite_rc, "reading");
	sqlite3_reset(st);
	return rc;
}

static int compares_hold(struct store_sqlite *q, const struct store_txn *txn)
{
	for (size_t i = 0; i < txn->compare_count; i++) {
		sqlite3_stmt *st = prepared(q, ST_MOD_REVISION);
		uint64_t have = 0;
		int sqlite_rc;

		bind_text(st, 1, txn->compares[i].key);
		sqlite_rc = sqlite3_step(st);
		if (sqlite_rc == SQLITE_ROW)
			have = (uint64_t)sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
		if (sqlite_rc != SQLITE_ROW && sqlite_rc != SQLITE_DONE)
			return failure(q, sqlite_rc, "comparing");
		if (have != txn->compares[i].mod_revision)
			return -EAGAIN;
	}
	return 0;
}

static int apply(struct store_sqlite *q, const struct store_txn *txn, uint64_t revision)
{
	int rc;

	for (size_t i = 0; i < txn->op_count; i++) {
		const struct store_op *op = &txn->ops[i];
		enum statement which = op->kind == STORE_PUT ? ST_PUT : ST_DELETE;
		sqlite3_stmt *st = prepared(q, which);

		bind_text(st, 1, op->key);
		if (op->kind == STORE_PUT) {
			bind_text(st, 2, op->value);
			sqlite3_bind_int64(st, 3, (sqlite3_int64)revision);
		}
		rc = run(q, which, "writing");
		if (rc)
			return rc;
	}
	sqlite3_bind_int64(prepared(q, ST_SET_REVISION), 1, (sqlite3_int64)revision);
	return run(q, ST_SET_REVISION, "writing");
}

static int sqlite_commit(struct store *s, const struct store_txn *txn, uint64_t *ret_revision)
{
	struct store_sqlite *q = sqlite_of(s);
	uint64_t revision = 0;
	int rc = run(q, ST_BEGIN, "starting a transaction");

	if (rc)
		return rc;
	rc = compares_hold(q, txn);
	if (!rc)
		rc = sqlite_revision(s, &revision);
	if (!rc)
		rc = apply(q, txn, ++revision);
	if (!rc)
		rc = run(q, ST_COMMIT, "committing");
	if (rc) {
		/* A full disk or an I/O error may have rolled back already. */
		if (!sqlite3_get_autocommit(q->db))
			run(q, ST_ROLLBACK, "rolling back");
		return rc;
	}
	*ret_revision = revision;
	return 0;
}

static void sqlite_close(struct store *s)
{
	struct store_sqlite *q = sqlite_of(s);

	for (size_t i = 0; i < ST_N; i++)
		sqlite3_finalize(q->statements[i]);
	sqlite3_close(q->db); /* checkpoints the log */
	free(q);
}

static const struct store_ops sqlite_ops = {
	.name = "sqlite",
	.get = sqlite_get,
	.range = sqlite_range,
	.count = sqlite_count,
	.commit = sqlite_commit,
	.revision = sqlite_revision,
	.close = sqlite_close,
};

static int open_error(sqlite3 *db, int sqlite_rc, const char *path, struct err *e)
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

static int query_int(sqlite3 *db, const char *sql, int64_t *ret_value)
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

/* The whole of it in one transaction: a crash leaves no store, or one with a generation. */
static int create_schema(sqlite3 *db)
{
	struct embedded schema = embed_schema_001();
	uint64_t generation;
	CLEANUP(free) char *sql = NULL;
	int rc;

	do
		randombytes_buf(&generation, sizeof(generation));
	while (generation == 0);
	sql = xasprintf(
		"BEGIN IMMEDIATE;\n%.*s\nINSERT INTO meta (one, schema, generation, revision)"
		" VALUES (1, %d, %lld, 0);\nCOMMIT;",
		(int)schema.len, schema.data, SCHEMA_VERSION, (long long)generation);
	rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int check_sound(sqlite3 *db, const char *path, struct err *e)
{
	sqlite3_stmt *st;
	int sqlite_rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL);
	bool sound;

	if (sqlite_rc != SQLITE_OK)
		return open_error(db, sqlite_rc, path, e);
	sqlite_rc = sqlite3_step(st);
	sound = sqlite_rc == SQLITE_ROW && !strcmp((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
	if (sound)
		return 0;
	return open_error(db, sqlite_rc == SQLITE_ROW ? SQLITE_CORRUPT : sqlite_rc, path, e);
}

static int prepare(struct store_sqlite *q, const char *path, struct err *e)
{
	int64_t tables = 0, schema = 0, generation = 0;
	int sqlite_rc;
	int rc;

	sqlite3_busy_timeout(q->db, BUSY_TIMEOUT_MS);
	sqlite_rc = sqlite3_exec(q->db,
		"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF", NULL,
		NULL, NULL);
	if (sqlite_rc == SQLITE_OK)
		sqlite_rc = query_int(q->db,
			"SELECT count(*) FROM sqlite_master WHERE name IN ('kv', 'meta')", &tables);
	if (sqlite_rc == SQLITE_OK && tables == 0)
		sqlite_rc = create_schema(q->db);
	if (sqlite_rc == SQLITE_OK)
		sqlite_rc = query_int(q->db, "SELECT schema FROM meta", &schema);
	if (sqlite_rc == SQLITE_OK)
		sqlite_rc = query_int(q->db, "SELECT generation FROM meta", &generation);
	if (sqlite_rc != SQLITE_OK)
		return open_error(q->db, sqlite_rc, path, e);
	if (schema != SCHEMA_VERSION)
		return err_set(e, -VAN_E_CORRUPT,
			"the store %s has schema %lld, this program knows %d: it was made by a newer "
			"console-api",
			path, (long long)schema, SCHEMA_VERSION);
	rc = check_sound(q->db, path, e);
	if (rc)
		return rc;
	q->base.generation = (uint64_t)generation;
	for (size_t i = 0; i < ST_N; i++) {
		sqlite_rc = sqlite3_prepare_v3(q->db, statement_text[i], -1,
			SQLITE_PREPARE_PERSISTENT, &q->statements[i], NULL);
		if (sqlite_rc != SQLITE_OK)
			return open_error(q->db, sqlite_rc, path, e);
	}
	return 0;
}

/* SQLite takes a file that is shorter than a page for an empty database, and overwrites it. */
static int check_magic(const char *path, struct err *e)
{
	static const char magic[16] = "SQLite format 3";
	char head[sizeof(magic)];
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f && errno == ENOENT)
		return 0;
	if (!f)
		return err_set(e, -errno, "cannot open the store %s: %s", path, strerror(errno));
	n = fread(head, 1, sizeof(head), f);
	fclose(f);
	if (n == 0 || (n == sizeof(head) && !memcmp(head, magic, n)))
		return 0;
	return err_set(e, -VAN_E_CORRUPT,
		"the store %s is damaged (not an SQLite file): restore it from a backup", path);
}

int store_sqlite_open(const char *path, struct store **ret_store, struct err *e)
{
	int rc = check_magic(path, e);
	struct store_sqlite *q;
	int sqlite_rc;

	if (rc)
		return rc;
	q = xcalloc(1, sizeof(*q));
	q->base.ops = &sqlite_ops;
	sqlite_rc = sqlite3_open_v2(path, &q->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
	rc = sqlite_rc == SQLITE_OK ? prepare(q, path, e) : open_error(q->db, sqlite_rc, path, e);
	if (rc) {
		sqlite_close(&q->base);
		return rc;
	}
	*ret_store = &q->base;
	return 0;
}
