/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: table item has a row for each series, chunk one for each chunk of 60 slots of it.
 * Chunks are keyed by time first, so those that are being filled, of all series, lie side by side:
 * a save of a thousand series touches a few hundred pages. Rows carry a checksum of their own, for
 * SQLite notices only damage to its own structure.
 *
 * A save copies what has changed out of the statistics in batches, and writes each batch in one
 * transaction without holding their lock.
 */
#include "console-api/stats_file.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "console-api/stats_internal.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/wirebuf.h"

#define FORMAT       1          /* user_version */
#define BATCH_BYTES  (1u << 20) /* bounds how long reports wait for a save */
#define BUSY_MS      1000
#define CHECKSUM_LEN crypto_shorthash_BYTES
#define CHUNK_HEAD   (CHECKSUM_LEN + 8 + 1) /* known, columns */
#define CHUNK_MAX    (CHUNK_HEAD + STATS_COLUMNS_MAX * STATS_PACKED_MAX)
#define PAGE_SIZE    4096
#define FILE_FACTOR  3 /* times the memory: rows of what was forgotten stay until they are old */
#define FILE_MARGIN  (16u << 20)

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL,"
	" a TEXT NOT NULL, b TEXT NOT NULL, state BLOB NOT NULL);"
	"CREATE TABLE IF NOT EXISTS chunk (ring INTEGER, number INTEGER, item INTEGER,"
	" data BLOB NOT NULL, PRIMARY KEY (ring, number, item)) WITHOUT ROWID;";

struct stats_file {
	char *path;
	struct stats *st;
	sqlite3 *db; /* NULL: could not be opened; tried again at the next save */
	bool failing;
	unsigned int every_s;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

/* -- the file -- */

static int failure(struct stats_file *f, const char *doing)
{
	int code = f->db ? sqlite3_errcode(f->db) : SQLITE_CANTOPEN;

	if (!f->failing)
		log_warn("statistics: cannot %s %s: %s", doing, f->path,
			f->db ? sqlite3_errmsg(f->db) : "out of memory");
	f->failing = true;
	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? -VAN_E_CORRUPT
	       : code == SQLITE_FULL                           ? -ENOSPC
							       : -EIO;
}

static int run(struct stats_file *f, const char *sql)
{
	return sqlite3_exec(f->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failure(f, "write");
}

static void close_db(struct stats_file *f)
{
	sqlite3_close(f->db);
	f->db = NULL;
}

/* The file makes room for a new one; with `keep` it can be looked at later. */
static void put_aside(struct stats_file *f, bool keep)
{
	CLEANUP(free) char *bad = xasprintf("%s.bad", f->path);
	CLEANUP(free) char *wal = xasprintf("%s-wal", f->path);
	CLEANUP(free) char *shm = xasprintf("%s-shm", f->path);

	close_db(f);
	if (keep ? rename(f->path, bad) : unlink(f->path))
		log_debug("statistics: %s: %s", f->path, strerror(errno));
	unlink(wal);
	unlink(shm);
	log_warn("statistics: %s%s; a new one is made", f->path,
		keep ? " is of no use and is now beside it as .bad" : " was full and is removed");
}

static int read_int(struct stats_file *f, const char *sql, int64_t *ret_value)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(f->db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret_value = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : failure(f, "read");
}

static int open_db(struct stats_file *f)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
	int64_t format = 0;
	char text[64];
	int rc;

	if (sqlite3_open_v2(f->path, &f->db, flags, NULL) != SQLITE_OK) {
		rc = failure(f, "open");
		close_db(f);
		return rc;
	}
	sqlite3_busy_timeout(f->db, BUSY_MS);
	snprintf(text, sizeof(text), "PRAGMA max_page_count = %llu",
		(unsigned long long)(f->st->memory.limit * FILE_FACTOR + FILE_MARGIN) / PAGE_SIZE);
	rc = read_int(f, "PRAGMA user_version", &format);
	if (!rc && format != 0 && format != FORMAT) {
		log_warn("statistics: %s is of another version", f->path);
		rc = -VAN_E_CORRUPT;
	}
	if (!rc)
		rc = run(f, "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;"
			    "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 4194304;"
			    "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -1024;");
	if (!rc)
		rc = run(f, text);
	if (!rc)
		rc = run(f, schema);
	if (!rc && format == 0)
		rc = run(f, "PRAGMA user_version = 1");
	if (rc)
		close_db(f);
	return rc;
}

static void checksum(uint64_t a, uint64_t b, uint64_t c, const void *data, size_t len,
	uint8_t ret_sum[CHECKSUM_LEN])
{
	uint8_t key[crypto_shorthash_KEYBYTES] = {0}, block[24 + CHECKSUM_LEN];
	struct wire_writer w = wire_writer(block, sizeof(block));
	uint8_t inner[CHECKSUM_LEN];

	crypto_shorthash(inner, data, len, key);
	wire_put_be64(&w, a);
	wire_put_be64(&w, b);
	wire_put_be64(&w, c);
	wire_put(&w, inner, sizeof(inner));
	crypto_shorthash(ret_sum, block, sizeof(block), key);
}

/* -- loading -- */

struct loaded {
	uint64_t id;
	struct stats_item *item;
};

struct loading {
	struct loaded *items; /* heap, by id */
	size_t count;
	bool damaged;
};

static int by_id(const void *a, const void *b)
{
	uint64_t x = ((const struct loaded *)a)->id, y = ((const struct loaded *)b)->id;

	return x < y ? -1 : x > y;
}

static bool load_item(struct stats_file *f, sqlite3_stmt *row, struct loaded *ret_loaded)
{
	uint64_t id = (uint64_t)sqlite3_column_int64(row, 0);
	int64_t kind = sqlite3_column_int64(row, 1);
	const char *a = (const char *)sqlite3_column_text(row, 2);
	const char *b = (const char *)sqlite3_column_text(row, 3);
	const uint8_t *state = sqlite3_column_blob(row, 4);
	size_t len = (size_t)sqlite3_column_bytes(row, 4);
	uint8_t sum[CHECKSUM_LEN];

	if (!a || !b || len < CHECKSUM_LEN || kind < STATS_MEMBER || kind > STATS_PAIR)
		return false;
	checksum(id, (uint64_t)kind, 0, state + CHECKSUM_LEN, len - CHECKSUM_LEN, sum);
	if (memcmp(sum, state, CHECKSUM_LEN) != 0)
		return false;
	ret_loaded->id = id;
	ret_loaded->item = stats_item_restore(
		f->st, (enum stats_kind)kind, id, a, b, state + CHECKSUM_LEN, len - CHECKSUM_LEN);
	return ret_loaded->item != NULL;
}

static bool load_chunk(sqlite3_stmt *row, const struct loading *l)
{
	struct stats_saved chunk = {.number = (uint64_t)sqlite3_column_int64(row, 1)};
	int64_t ring = sqlite3_column_int64(row, 0);
	struct loaded key = {.id = (uint64_t)sqlite3_column_int64(row, 2)}, *found;
	const uint8_t *data = sqlite3_column_blob(row, 3);
	size_t len = (size_t)sqlite3_column_bytes(row, 3);
	struct wire_reader r;
	uint8_t sum[CHECKSUM_LEN];

	if (ring < 0 || ring >= STATS_RINGS || len < CHUNK_HEAD || len > CHUNK_MAX)
		return false;
	checksum(
		(uint64_t)ring, chunk.number, key.id, data + CHECKSUM_LEN, len - CHECKSUM_LEN, sum);
	if (memcmp(sum, data, CHECKSUM_LEN) != 0)
		return false;
	found = l->count ? bsearch(&key, l->items, l->count, sizeof(key), by_id) : NULL;
	if (!found)
		return true; /* of something that was forgotten */
	r = wire_reader(data + CHECKSUM_LEN, len - CHECKSUM_LEN);
	chunk.ring = (enum stats_ring)ring;
	chunk.known = wire_get_be64(&r);
	chunk.columns = wire_get_u8(&r);
	chunk.data = r.pos;
	chunk.len = wire_left(&r);
	return stats_series_load(&found->item->series, &chunk);
}

static int load_items(struct stats_file *f, struct loading *l)
{
	sqlite3_stmt *row = NULL;
	int rc = sqlite3_prepare_v2(
		f->db, "SELECT id, kind, a, b, state FROM item ORDER BY kind", -1, &row, NULL);

	if (rc != SQLITE_OK)
		return failure(f, "read");
	while ((rc = sqlite3_step(row)) == SQLITE_ROW) {
		if ((l->count & (l->count - 1)) == 0)
			l->items = xrealloc(l->items, l->count * 2 + 1, sizeof(*l->items));
		if (load_item(f, row, &l->items[l->count]))
			l->count++;
		else
			l->damaged = true;
	}
	sqlite3_finalize(row);
	if (l->count)
		qsort(l->items, l->count, sizeof(*l->items), by_id);
	return rc == SQLITE_DONE ? 0 : failure(f, "read");
}

static int load_chunks(struct stats_file *f, struct loading *l)
{
	sqlite3_stmt *row = NULL;
	int rc = sqlite3_prepare_v2(f->db,
		"SELECT ring, number, item, data FROM chunk ORDER BY ring, number", -1, &row, NULL);

	if (rc != SQLITE_OK)
		return failure(f, "read");
	while ((rc = sqlite3_step(row)) == SQLITE_ROW)
		if (!load_chunk(row, l))
			l->damaged = true;
	sqlite3_finalize(row);
	return rc == SQLITE_DONE ? 0 : failure(f, "read");
}

/* Everything counts as not saved. With the lock of the statistics. */
static void touch(struct stats *st, struct stats_item *item)
{
	stats_series_touch(&item->series);
	stats_changed(st, item);
}

static void touch_all(struct stats *st)
{
	for (size_t i = 0; i < STATS_BUCKETS; i++) {
		for (struct stats_network *n = st->networks[i]; n; n = n->next)
			touch(st, &n->item);
		for (struct stats_node *n = st->nodes[i]; n; n = n->next) {
			touch(st, &n->item);
			list_for_each (it, &n->members)
				touch(st, &container_of(it, struct stats_member, node)->item);
			list_for_each (it, &n->pairs)
				touch(st, &container_of(it, struct stats_pair, node)->item);
		}
	}
}

static void load(struct stats_file *f)
{
	struct loading l = {0};
	int rc = open_db(f);

	stats_lock(f->st);
	if (!rc)
		rc = load_items(f, &l);
	if (!rc)
		rc = load_chunks(f, &l);
	if (rc == -VAN_E_CORRUPT || l.damaged) {
		put_aside(f, true);
		touch_all(f->st);
		f->failing = false;
	}
	stats_unlock(f->st);
	free(l.items);
}

/* -- saving -- */

struct saved_row {
	uint64_t item;
	int kind; /* 0: a chunk */
	char a[NETMAP_ID_MAX + 1], b[NETMAP_ID_MAX + 1];
	int ring;
	uint64_t number;
	size_t at, len; /* in bytes */
};

struct batch {
	struct saved_row *rows; /* heap, like the others */
	size_t row_count;
	uint8_t *bytes;
	size_t len, size;
	uint64_t *gone;
	size_t gone_count;
	uint64_t item; /* whose chunks are being added */
};

static void batch_done(struct batch *b)
{
	free(b->rows);
	free(b->bytes);
	free(b->gone);
}

static struct saved_row *batch_row(struct batch *b, uint64_t item, size_t len)
{
	struct saved_row *row;

	if ((b->row_count & (b->row_count - 1)) == 0)
		b->rows = xrealloc(b->rows, b->row_count * 2 + 1, sizeof(*b->rows));
	row = &b->rows[b->row_count++];
	*row = (struct saved_row){.item = item, .at = b->len, .len = len};
	if (b->len + len > b->size) {
		b->size = 2 * (b->len + len);
		b->bytes = xrealloc(b->bytes, b->size, 1);
	}
	b->len += len;
	return row;
}

static void batch_chunk(void *ctx, const struct stats_saved *chunk)
{
	struct batch *b = ctx;
	struct saved_row *row = batch_row(b, b->item, CHUNK_HEAD + chunk->len);
	uint8_t *bytes = b->bytes + row->at;
	struct wire_writer w = wire_writer(bytes + CHECKSUM_LEN, row->len - CHECKSUM_LEN);

	row->ring = chunk->ring;
	row->number = chunk->number;
	wire_put_be64(&w, chunk->known);
	wire_put_u8(&w, (uint8_t)chunk->columns);
	wire_put(&w, chunk->data, chunk->len);
	checksum((uint64_t)chunk->ring, chunk->number, b->item, bytes + CHECKSUM_LEN,
		row->len - CHECKSUM_LEN, bytes);
}

static void batch_item(struct batch *b, struct stats_item *item)
{
	uint8_t state[STATS_STATE_MAX];
	size_t len = stats_item_state(item, state);
	struct saved_row *row = batch_row(b, item->id, CHECKSUM_LEN + len);
	const char *name_a, *name_b;

	stats_item_names(item, &name_a, &name_b);
	row->kind = (int)item->kind;
	snprintf(row->a, sizeof(row->a), "%s", name_a);
	snprintf(row->b, sizeof(row->b), "%s", name_b);
	memcpy(b->bytes + row->at + CHECKSUM_LEN, state, len);
	checksum(item->id, (uint64_t)item->kind, 0, state, len, b->bytes + row->at);
	b->item = item->id;
	stats_series_save(&item->series, batch_chunk, b);
}

/* What is to be written next, empty when there is nothing. */
static void collect(struct stats *st, struct batch *b)
{
	stats_lock(st);
	b->gone = STEAL(st->gone);
	b->gone_count = st->gone_count;
	st->gone_count = 0;
	while (b->len < BATCH_BYTES && !list_empty(&st->unsaved)) {
		struct stats_item *item =
			container_of(st->unsaved.next, struct stats_item, unsaved);

		list_del(&item->unsaved);
		batch_item(b, item);
	}
	stats_unlock(st);
}

/* Runs a statement with integers and what else is bound already. */
static int step(struct stats_file *f, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	sqlite3_reset(st);
	return rc == SQLITE_DONE ? 0 : failure(f, "write");
}

static int write_rows(struct stats_file *f, const struct batch *b)
{
	sqlite3_stmt *item = NULL, *chunk = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(f->db, "REPLACE INTO item VALUES (?1, ?2, ?3, ?4, ?5)", -1, &item,
		    NULL) != SQLITE_OK ||
		sqlite3_prepare_v2(f->db, "REPLACE INTO chunk VALUES (?1, ?2, ?3, ?4)", -1, &chunk,
			NULL) != SQLITE_OK)
		rc = failure(f, "write");
	for (size_t i = 0; i < b->row_count && !rc; i++) {
		const struct saved_row *row = &b->rows[i];
		sqlite3_stmt *st = row->kind ? item : chunk;

		sqlite3_bind_int64(st, 1, row->kind ? (int64_t)row->item : row->ring);
		sqlite3_bind_int64(st, 2, row->kind ? row->kind : (int64_t)row->number);
		if (row->kind) {
			sqlite3_bind_text(st, 3, row->a, -1, SQLITE_STATIC);
			sqlite3_bind_text(st, 4, row->b, -1, SQLITE_STATIC);
		} else {
			sqlite3_bind_int64(st, 3, (int64_t)row->item);
		}
		sqlite3_bind_blob(
			st, row->kind ? 5 : 4, b->bytes + row->at, (int)row->len, SQLITE_STATIC);
		rc = step(f, st);
	}
	sqlite3_finalize(item);
	sqlite3_finalize(chunk);
	return rc;
}

static int delete_gone(struct stats_file *f, const struct batch *b)
{
	sqlite3_stmt *st = NULL;
	int rc = 0;

	if (!b->gone_count)
		return 0;
	if (sqlite3_prepare_v2(f->db, "DELETE FROM item WHERE id = ?1", -1, &st, NULL) != SQLITE_OK)
		return failure(f, "write");
	for (size_t i = 0; i < b->gone_count && !rc; i++) {
		sqlite3_bind_int64(st, 1, (int64_t)b->gone[i]);
		rc = step(f, st);
	}
	sqlite3_finalize(st);
	return rc;
}

static int delete_old(struct stats_file *f, uint64_t now_s)
{
	sqlite3_stmt *st = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(f->db, "DELETE FROM chunk WHERE ring = ?1 AND number < ?2", -1, &st,
		    NULL) != SQLITE_OK)
		return failure(f, "write");
	for (int i = 0; i < STATS_RINGS && !rc; i++) {
		uint64_t newest = now_s / stats_rings[i].step_s / STATS_CHUNK;

		sqlite3_bind_int64(st, 1, i);
		sqlite3_bind_int64(st, 2, (int64_t)newest + 1 - (int64_t)stats_rings[i].chunks);
		rc = step(f, st);
	}
	sqlite3_finalize(st);
	return rc;
}

static int write_batch(struct stats_file *f, const struct batch *b, uint64_t now_s)
{
	int rc = run(f, "BEGIN IMMEDIATE");

	if (!rc)
		rc = write_rows(f, b);
	if (!rc)
		rc = delete_gone(f, b);
	if (!rc)
		rc = delete_old(f, now_s);
	if (!rc)
		rc = run(f, "COMMIT");
	if (rc)
		sqlite3_exec(f->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int save_changed(struct stats_file *f, uint64_t now_s)
{
	bool more = true;
	int rc = 0;

	while (more && !rc) {
		struct batch b = {0};

		collect(f->st, &b);
		more = b.row_count > 0;
		if (more || b.gone_count)
			rc = write_batch(f, &b, now_s);
		batch_done(&b);
	}
	return rc;
}

/* What is in the file is at odds with what counts as saved: write everything next time. */
static void start_over(struct stats_file *f, int rc)
{
	if (rc == -VAN_E_CORRUPT || rc == -ENOSPC)
		put_aside(f, rc == -VAN_E_CORRUPT);
	stats_lock(f->st);
	touch_all(f->st);
	stats_unlock(f->st);
}

int stats_file_save(struct stats_file *f, uint64_t now_s)
{
	int rc = f->db ? 0 : open_db(f);

	if (!rc)
		rc = save_changed(f, now_s);
	if (rc)
		start_over(f, rc);
	else if (f->failing)
		log_info("statistics: %s is written again", f->path);
	if (!rc)
		f->failing = false;
	return rc;
}

/* -- the thread -- */

static void *saver(void *arg)
{
	struct stats_file *f = arg;
	bool stop = false;

	while (!stop) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += f->every_s;
		pthread_mutex_lock(&f->lock);
		while (!f->stop && pthread_cond_timedwait(&f->wake, &f->lock, &until) != ETIMEDOUT)
			;
		stop = f->stop;
		pthread_mutex_unlock(&f->lock);
		(void)stats_file_save(
			f, clock_wall_ns() / NS_PER_S); /* it says itself what failed */
	}
	return NULL;
}

static void file_free(struct stats_file *f)
{
	close_db(f);
	pthread_cond_destroy(&f->wake);
	pthread_mutex_destroy(&f->lock);
	free(f->path);
	free(f);
}

int stats_file_open(const char *path, struct stats *st, unsigned int every_s,
	struct stats_file **ret_file, struct err *e)
{
	struct stats_file *f = xcalloc(1, sizeof(*f));
	pthread_condattr_t attr;
	int rc;

	f->path = xstrdup(path);
	f->st = st;
	f->every_s = every_s;
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&f->wake, &attr);
	pthread_condattr_destroy(&attr);
	load(f);
	rc = every_s ? pthread_create(&f->thread, NULL, saver, f) : 0;
	if (rc) {
		file_free(f);
		return err_set(e, -rc, "cannot make a thread: %s", strerror(rc));
	}
	*ret_file = f;
	return 0;
}

void stats_file_close(struct stats_file *f)
{
	if (!f)
		return;
	if (f->every_s) {
		pthread_mutex_lock(&f->lock);
		f->stop = true;
		pthread_cond_signal(&f->wake);
		pthread_mutex_unlock(&f->lock);
		pthread_join(f->thread, NULL);
	} else {
		(void)stats_file_save(f, clock_wall_ns() / NS_PER_S);
	}
	file_free(f);
}
