/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in one SQLite file. How it works: table kv is the map, table meta holds the generation
 * and the revision. A transaction is BEGIN IMMEDIATE (so that nobody writes between the compares
 * and the ops), the compares, the ops, the revision, COMMIT. WAL with synchronous=FULL syncs the
 * log at every commit: what was acknowledged survives a power cut. Any failure rolls back, and the
 * same statement objects serve for the life of the store.
 */
#include "console-api/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include "console-api/embed.h"
#include "console-api/store_sqlite.h"
#include "console-api/store_sqlite_schema.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/list.h"
#include "lib/log.h"

#define SCHEMAS_MAX     64
#define BUSY_TIMEOUT_MS 1000
#define ROOM_MIN        (256u << 10)

enum statement {
	ST_BEGIN,
	ST_BEGIN_READ,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_GET,
	ST_RANGE,
	ST_RANGE_BACK,
	ST_COUNT,
	ST_WALK,
	ST_PUT,
	ST_FILL,
	ST_DELETE,
	ST_MOD_REVISION,
	ST_NEWER,
	ST_REVISION,
	ST_SET_REVISION,
	ST_N
};

static const char *const statement_text[ST_N] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_BEGIN_READ] = "BEGIN",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
	[ST_GET] = "SELECT key, value, create_rev, mod_rev FROM kv WHERE key = ?1",
	[ST_RANGE] = ("SELECT key, value, create_rev, mod_rev FROM kv"
		      " WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3"),
	[ST_RANGE_BACK] = ("SELECT key, value, create_rev, mod_rev FROM kv"
			   " WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3"),
	[ST_COUNT] = "SELECT count(*) FROM kv WHERE key >= ?1 AND key < ?2",
	[ST_WALK] = "SELECT key, value, create_rev, mod_rev FROM kv ORDER BY key",
	[ST_PUT] = ("INSERT INTO kv (key, value, create_rev, mod_rev) VALUES (?1, ?2, ?3, ?3)"
		    " ON CONFLICT (key) DO UPDATE SET value = ?2, mod_rev = ?3"),
	[ST_FILL] = "INSERT INTO kv (key, value, create_rev, mod_rev) VALUES (?1, ?2, ?3, ?4)",
	[ST_DELETE] = "DELETE FROM kv WHERE key = ?1",
	[ST_MOD_REVISION] = "SELECT mod_rev FROM kv WHERE key = ?1",
	[ST_NEWER] = "SELECT 1 FROM kv WHERE key >= ?1 AND key < ?2 AND mod_rev > ?3 LIMIT 1",
	[ST_REVISION] = "SELECT revision FROM meta",
	[ST_SET_REVISION] = "UPDATE meta SET revision = ?1",
};

struct store_sqlite {
	struct store base;
	sqlite3 *db;
	sqlite3_stmt *statements[ST_N];
	struct log_limit log_limit;
	int write_rc; /* what the medium had against the last transaction, or 0 */
	uint64_t tried_ns;
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

static int range_by(struct store_sqlite *q, enum statement which, const char *from, const char *end,
	size_t limit, struct store_items *ret_items)
{
	sqlite3_stmt *st = prepared(q, which);
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

static int sqlite_range(struct store *s, const char *from, const char *end, size_t limit,
	struct store_items *ret_items)
{
	return range_by(sqlite_of(s), ST_RANGE, from, end, limit, ret_items);
}

static int sqlite_range_back(struct store *s, const char *from, const char *end, size_t limit,
	struct store_items *ret_items)
{
	return range_by(sqlite_of(s), ST_RANGE_BACK, from, end, limit, ret_items);
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

static int ranges_hold(struct store_sqlite *q, const struct store_txn *txn, uint64_t revision)
{
	for (size_t i = 0; i < txn->range_count; i++) {
		const struct store_range_compare *r = &txn->ranges[i];
		sqlite3_stmt *st = prepared(q, ST_NEWER);
		int sqlite_rc;

		if (r->revision == revision)
			continue; /* nothing at all has happened since */
		bind_text(st, 1, r->from);
		bind_text(st, 2, r->end);
		sqlite3_bind_int64(st, 3, (sqlite3_int64)r->revision);
		sqlite_rc = sqlite3_step(st);
		sqlite3_reset(st);
		if (sqlite_rc == SQLITE_ROW)
			return -EAGAIN;
		if (sqlite_rc != SQLITE_DONE)
			return failure(q, sqlite_rc, "comparing");
	}
	return 0;
}

/* What a transaction did, for store_tell(): deletes of what was not there are left out. */
struct done {
	struct store_op *ops; /* their texts are borrowed */
	char **old;
	size_t count;
};

static void done_free(struct done *d)
{
	for (size_t i = 0; i < d->count; i++)
		free(d->old[i]);
	free(d->old);
	free(d->ops);
}

static int apply_one(
	struct store_sqlite *q, const struct store_op *op, uint64_t revision, struct done *d)
{
	enum statement which = op->kind == STORE_PUT ? ST_PUT : ST_DELETE;
	sqlite3_stmt *st = prepared(q, which);

	if (op->kind == STORE_DELETE) {
		struct store_item item;
		int rc = sqlite_get(&q->base, op->key, &item);

		if (rc)
			return rc == -ENOENT ? 0 : rc;
		d->old[d->count] = item.value;
		free(item.key);
	}
	d->ops[d->count++] = *op;
	bind_text(st, 1, op->key);
	if (op->kind == STORE_PUT) {
		bind_text(st, 2, op->value);
		sqlite3_bind_int64(st, 3, (sqlite3_int64)revision);
	}
	return run(q, which, "writing");
}

/* Ops whose key `skip` (may be NULL) wants are not carried out, and told all the same. */
static int apply(struct store_sqlite *q, const struct store_op *ops, size_t n, uint64_t revision,
	bool (*skip)(const char *key), struct done *d)
{
	int rc = 0;

	d->ops = xcalloc(n, sizeof(*d->ops));
	d->old = xcalloc(n, sizeof(*d->old));
	for (size_t i = 0; i < n && !rc; i++) {
		if (skip && skip(ops[i].key))
			d->ops[d->count++] = ops[i];
		else
			rc = apply_one(q, &ops[i], revision, d);
	}
	if (rc)
		return rc;
	sqlite3_bind_int64(prepared(q, ST_SET_REVISION), 1, (sqlite3_int64)revision);
	return run(q, ST_SET_REVISION, "writing");
}

static void note_write(struct store_sqlite *q, int rc)
{
	if (rc == -ENOSPC || rc == -EIO || rc == -VAN_E_CORRUPT)
		q->write_rc = rc;
	else if (!rc)
		q->write_rc = 0;
	q->tried_ns = clock_boottime_ns();
}

static int sqlite_commit(struct store *s, const struct store_txn *txn, uint64_t *ret_revision)
{
	struct store_sqlite *q = sqlite_of(s);
	struct done d = {0};
	uint64_t revision = 0;
	int rc = run(q, ST_BEGIN, "starting a transaction");

	if (rc)
		return rc;
	rc = compares_hold(q, txn);
	if (!rc)
		rc = sqlite_revision(s, &revision);
	if (!rc)
		rc = ranges_hold(q, txn, revision);
	if (!rc)
		rc = apply(q, txn->ops, txn->op_count, ++revision, NULL, &d);
	if (!rc)
		rc = run(q, ST_COMMIT, "committing");
	if (!rc) {
		*ret_revision = revision;
		store_tell(s, revision, d.ops, d.count, d.old);
	} else if (!sqlite3_get_autocommit(q->db)) {
		/* A full disk or an I/O error may have rolled back already. */
		run(q, ST_ROLLBACK, "rolling back");
	}
	note_write(q, rc);
	done_free(&d);
	return rc;
}

/* A small write may still find room within the log's file when others do not. */
static bool has_room(struct store_sqlite *q)
{
	const char *path = sqlite3_db_filename(q->db, "main");
	struct statvfs fs;

	return !path || !path[0] || statvfs(path, &fs) ||
	       (uint64_t)fs.f_bavail * fs.f_frsize >= ROOM_MIN;
}

/* Writes the revision that there is: it takes room on the disk, and changes nothing. */
static int sqlite_writable(struct store *s)
{
	struct store_sqlite *q = sqlite_of(s);
	uint64_t revision;
	int rc;

	if (!q->write_rc || clock_boottime_ns() < q->tried_ns + NS_PER_S ||
		(q->write_rc == -ENOSPC && !has_room(q)))
		return q->write_rc;
	rc = run(q, ST_BEGIN, "starting a transaction");
	if (!rc)
		rc = sqlite_revision(s, &revision);
	if (!rc) {
		sqlite3_bind_int64(prepared(q, ST_SET_REVISION), 1, (sqlite3_int64)revision);
		rc = run(q, ST_SET_REVISION, "writing");
	}
	if (!rc)
		rc = run(q, ST_COMMIT, "committing");
	if (rc && !sqlite3_get_autocommit(q->db))
		run(q, ST_ROLLBACK, "rolling back");
	note_write(q, rc);
	return q->write_rc;
}

int store_sqlite_fill(struct store *s, const struct store_item *item)
{
	struct store_sqlite *q = sqlite_of(s);
	sqlite3_stmt *st = prepared(q, ST_FILL);

	bind_text(st, 1, item->key);
	bind_text(st, 2, item->value);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)item->create_revision);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)item->mod_revision);
	return run(q, ST_FILL, "writing");
}

int store_sqlite_replay(struct store *s, const struct store_op *ops, size_t n, uint64_t revision,
	bool (*skip)(const char *key), struct store *teller)
{
	struct store_sqlite *q = sqlite_of(s);
	struct done d = {0};
	int rc = run(q, ST_BEGIN, "starting a transaction");

	if (rc)
		return rc;
	rc = apply(q, ops, n, revision, skip, &d);
	if (!rc)
		rc = run(q, ST_COMMIT, "committing");
	else
		run(q, ST_ROLLBACK, "rolling back");
	if (!rc)
		store_tell(teller, revision, d.ops, d.count, d.old);
	done_free(&d);
	return rc;
}

static int sqlite_walk(struct store *s, store_walk_take *take, void *ctx, uint64_t *ret_revision)
{
	struct store_sqlite *q = sqlite_of(s);
	sqlite3_stmt *st = prepared(q, ST_WALK);
	int rc = run(q, ST_BEGIN_READ, "reading");
	int sqlite_rc = SQLITE_DONE;
	uint64_t revision = 0;
	bool go_on = true;

	/* One read transaction sees one state of the file, in the log's mode without stopping others.
	 */
	if (rc)
		return rc;
	rc = sqlite_revision(s, &revision);
	while (!rc && go_on && (sqlite_rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_item item;

		read_item(st, &item);
		go_on = take(ctx, &item);
		store_item_done(&item);
	}
	if (!rc && sqlite_rc != SQLITE_DONE && sqlite_rc != SQLITE_ROW)
		rc = failure(q, sqlite_rc, "reading");
	sqlite3_reset(st);
	run(q, ST_ROLLBACK, "reading");
	if (!rc && ret_revision)
		*ret_revision = revision;
	return rc;
}

static void sqlite_close(struct store *s)
{
	struct store_sqlite *q = sqlite_of(s);

	for (size_t i = 0; i < ST_N; i++)
		sqlite3_finalize(q->statements[i]);
	sqlite3_close(q->db); /* checkpoints the log */
	store_feed_done(&q->base.feed);
	free(q);
}

static const struct store_ops sqlite_ops = {
	.name = "sqlite",
	.get = sqlite_get,
	.range = sqlite_range,
	.range_back = sqlite_range_back,
	.count = sqlite_count,
	.commit = sqlite_commit,
	.revision = sqlite_revision,
	.walk = sqlite_walk,
	.writable = sqlite_writable,
	.close = sqlite_close,
};

/* A backup has generation 0: what it is restored to is another store than the one it was made of. */
static int read_meta(struct store_sqlite *q, bool read_only)
{
	int64_t generation = 0, revision = 0;
	int sqlite_rc = sqlite_schema_query(q->db, "SELECT generation FROM meta", &generation);

	if (sqlite_rc == SQLITE_OK && !generation && !read_only) {
		CLEANUP(free) char *sql = NULL;

		generation = (int64_t)sqlite_schema_generation();
		sql = xasprintf("UPDATE meta SET generation = %lld", (long long)generation);
		sqlite_rc = sqlite3_exec(q->db, sql, NULL, NULL, NULL);
	}
	if (sqlite_rc == SQLITE_OK)
		sqlite_rc = sqlite_schema_query(q->db, "SELECT revision FROM meta", &revision);
	q->base.generation = (uint64_t)generation;
	store_feed_start(&q->base, (uint64_t)revision);
	return sqlite_rc;
}

static int prepare_statements(struct store_sqlite *q)
{
	int sqlite_rc = SQLITE_OK;

	for (size_t i = 0; i < ST_N && sqlite_rc == SQLITE_OK; i++)
		sqlite_rc = sqlite3_prepare_v3(q->db, statement_text[i], -1,
			SQLITE_PREPARE_PERSISTENT, &q->statements[i], NULL);
	return sqlite_rc;
}

static int prepare(struct store_sqlite *q, const struct store_sqlite_schemas *schemas,
	bool read_only, const char *path, struct err *e)
{
	int sqlite_rc = SQLITE_OK;
	int rc;

	sqlite3_busy_timeout(q->db, BUSY_TIMEOUT_MS);
	if (!read_only)
		sqlite_rc = sqlite3_exec(q->db,
			"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF",
			NULL, NULL, NULL);
	if (sqlite_rc != SQLITE_OK)
		return sqlite_schema_error(q->db, sqlite_rc, path, e);
	rc = sqlite_schema_prepare(q->db, schemas, read_only, path, e);
	if (rc)
		return rc;
	sqlite_rc = read_meta(q, read_only);
	if (sqlite_rc != SQLITE_OK)
		return sqlite_schema_error(q->db, sqlite_rc, path, e);
	rc = sqlite_schema_check(q->db, path, e);
	if (rc)
		return rc;
	sqlite_rc = prepare_statements(q);
	return sqlite_rc == SQLITE_OK ? 0 : sqlite_schema_error(q->db, sqlite_rc, path, e);
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

int store_sqlite_open_as(const char *path, const struct store_sqlite_schemas *schemas,
	bool read_only, struct store **ret_store, struct err *e)
{
	int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
	int rc = check_magic(path, e);
	struct store_sqlite *q;
	int sqlite_rc;

	if (rc)
		return rc;
	q = xcalloc(1, sizeof(*q));
	q->base.ops = &sqlite_ops;
	q->base.txn_max = SIZE_MAX;
	memcpy(q->base.instance, "main", sizeof("main")); /* nobody else writes to the file */
	sqlite_rc = sqlite3_open_v2(path, &q->db, flags | SQLITE_OPEN_FULLMUTEX, NULL);
	rc = sqlite_rc == SQLITE_OK ? prepare(q, schemas, read_only, path, e)
				    : sqlite_schema_error(q->db, sqlite_rc, path, e);
	if (rc) {
		sqlite_close(&q->base);
		return rc;
	}
	*ret_store = &q->base;
	return 0;
}

static int open_as_this_version(
	const char *path, bool read_only, struct store **ret_store, struct err *e)
{
	struct embedded files[SCHEMAS_MAX];
	struct store_sqlite_schemas schemas = {.files = files};

	for (; schemas.count < SCHEMAS_MAX; schemas.count++) {
		files[schemas.count] = embed_schema((unsigned int)schemas.count + 1);
		if (!files[schemas.count].data)
			break;
	}
	return store_sqlite_open_as(path, &schemas, read_only, ret_store, e);
}

int store_sqlite_open(const char *path, struct store **ret_store, struct err *e)
{
	return open_as_this_version(path, false, ret_store, e);
}

int store_sqlite_open_read(const char *path, struct store **ret_store, struct err *e)
{
	return open_as_this_version(path, true, ret_store, e);
}
