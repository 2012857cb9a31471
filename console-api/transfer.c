/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An import is many transactions, for no store takes everything in one. The first puts a mark, each
 * further one compares it, the last removes it: two imports at once do not mix, and one that ends
 * half-way leaves a store that says so.
 */
#include "console-api/transfer.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/store_sqlite.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/json.h"

#define VERSION        1
#define KEY_MAX        512
#define LINE_MAX_BYTES (64u << 20)
#define CHUNK_OPS      1000u
#define CHUNK_BYTES    (400u << 10)
#define PLAIN          (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
#define PROGRESS_STEP  1000u

bool transfer_is_soft(const char *key)
{
	static const char *const prefixes[] = {
		"/consoles/",  /* the consoles that run on the store, */
		"/pulse/",     /* that they do so now, */
		"/online/",    /* and which nodes they hear */
		"/idem/",      /* answers to requests of the last day */
		"/idem-at/",   /* the same by age */
		TRANSFER_MARK, /* never in a whole store */
	};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (!strncmp(key, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

/* -- export -- */

struct exporting {
	FILE *out;
	crypto_hash_sha256_state hash;
	uint64_t keys, all;
	transfer_progress *progress;
	void *ctx;
};

static void write_line(struct exporting *x, struct json_object *o)
{
	size_t len;
	const char *text = json_object_to_json_string_length(o, PLAIN, &len);

	fwrite(text, 1, len, x->out);
	putc('\n', x->out);
	crypto_hash_sha256_update(&x->hash, (const uint8_t *)text, len);
	crypto_hash_sha256_update(&x->hash, (const uint8_t *)"\n", 1);
}

static bool export_key(void *ctx, const struct store_item *item)
{
	struct exporting *x = ctx;
	CLEANUP(json) struct json_object *o = NULL;

	if (transfer_is_soft(item->key))
		return true;
	o = json_object_new_object();
	json_set_string(o, "k", item->key);
	json_set_string(o, "v", item->value);
	write_line(x, o);
	if (++x->keys % PROGRESS_STEP == 0 && x->progress)
		x->progress(x->ctx, x->keys, x->all);
	return !ferror(x->out);
}

static void write_head(struct exporting *x, struct store *s, uint64_t revision)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	CLEANUP(json) struct json_object *console = NULL;
	CLEANUP(store_item) struct store_item item = {0};
	char now[21], generation[17];

	if (!store_get(s, "/console", &item))
		json_parse(item.value, strlen(item.value), &console, NULL);
	clock_format_rfc3339(clock_wall_ns(), now);
	snprintf(generation, sizeof(generation), "%016llx", (unsigned long long)s->generation);
	json_set_int(o, "van_export", VERSION);
	json_set_string(o, "program", VAN_VERSION);
	json_set_string(o, "created_at", now);
	json_set_string(o, "mesh", json_object_get_string(json_object_object_get(console, "mesh")));
	json_set_string(o, "generation", generation);
	json_set_int(o, "revision", (int64_t)revision);
	write_line(x, o);
}

static void write_end(struct exporting *x)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	char hex[2 * HASH_LEN + 1];
	uint8_t hash[HASH_LEN];

	crypto_hash_sha256_final(&x->hash, hash);
	hash_hex(hash, sizeof(hash), hex);
	json_set_bool(o, "end", true);
	json_set_int(o, "keys", (int64_t)x->keys);
	json_set_string(o, "sha256", hex);
	fprintf(x->out, "%s\n", json_object_to_json_string_ext(o, PLAIN));
}

int transfer_export(struct store *s, FILE *out, transfer_progress *progress, void *ctx,
	uint64_t *ret_keys, struct err *e)
{
	struct exporting x = {.out = out, .progress = progress, .ctx = ctx};
	uint64_t revision;
	int rc = store_revision(s, &revision);

	if (!rc)
		rc = store_count(s, "/", &x.all);
	if (rc)
		return err_set(e, rc, "cannot read the store: %s", err_name(rc));
	crypto_hash_sha256_init(&x.hash);
	write_head(&x, s, revision);
	rc = store_walk(s, export_key, &x, NULL);
	if (rc)
		return err_set(e, rc, "cannot read the store: %s", err_name(rc));
	write_end(&x);
	if (fflush(out) || ferror(out))
		return err_set(e, errno ? -errno : -EIO, "cannot write the export: %s",
			strerror(errno ? errno : EIO));
	*ret_keys = x.keys;
	return 0;
}

/* -- import: reading -- */

typedef int take_key(void *ctx, const char *key, const char *value, struct err *e);

struct reading {
	const char *name; /* of the file, for people */
	uint64_t line, keys;
	char last[KEY_MAX + 1];
	crypto_hash_sha256_state hash;
	bool ended;
};

static int damaged(const struct reading *r, struct err *e, const char *why)
{
	return err_set(e, -VAN_E_CORRUPT, "%s: line %llu: %s: the file is damaged or no export",
		r->name, (unsigned long long)r->line, why);
}

static int read_end(struct reading *r, struct json_object *o, struct err *e)
{
	const char *want = json_object_get_string(json_object_object_get(o, "sha256"));
	char hex[2 * HASH_LEN + 1];
	uint8_t hash[HASH_LEN];

	crypto_hash_sha256_final(&r->hash, hash);
	hash_hex(hash, sizeof(hash), hex);
	if (!want || strcmp(want, hex) != 0)
		return damaged(r, e, "the check sum is another one");
	if ((uint64_t)json_object_get_int64(json_object_object_get(o, "keys")) != r->keys)
		return damaged(r, e, "it has another number of keys");
	r->ended = true;
	return 0;
}

static int read_line(
	struct reading *r, const char *line, size_t len, take_key *take, void *ctx, struct err *e)
{
	CLEANUP(json) struct json_object *o = NULL;
	const char *key, *value;

	if (r->ended)
		return damaged(r, e, "something follows the end");
	if (json_parse(line, len, &o, NULL) || !json_object_is_type(o, json_type_object))
		return damaged(r, e, "not a JSON object");
	if (r->line == 1) {
		int64_t version = json_object_get_int64(json_object_object_get(o, "van_export"));

		if (version < 1)
			return damaged(r, e, "not the head of an export");
		if (version > VERSION)
			return err_set(e, -VAN_E_CORRUPT,
				"%s was written by a newer console-api (format %lld): use that one",
				r->name, (long long)version);
		return 0;
	}
	if (json_object_object_get_ex(o, "end", NULL))
		return read_end(r, o, e);
	key = json_object_get_string(json_object_object_get(o, "k"));
	value = json_object_get_string(json_object_object_get(o, "v"));
	if (!key || !value || key[0] != '/' || strlen(key) > KEY_MAX)
		return damaged(r, e, "no key and value");
	if (strcmp(key, r->last) <= 0)
		return damaged(r, e, "its key is not after the one before");
	snprintf(r->last, sizeof(r->last), "%s", key);
	r->keys++;
	return take ? take(ctx, key, value, e) : 0;
}

static int read_export(
	FILE *in, const char *name, take_key *take, void *ctx, uint64_t *ret_keys, struct err *e)
{
	struct reading r = {.name = name};
	CLEANUP(free) char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int rc = 0;

	crypto_hash_sha256_init(&r.hash);
	while (!rc && (len = getline(&line, &room, in)) > 0) {
		r.line++;
		if (line[len - 1] != '\n')
			return damaged(&r, e, "it is cut off");
		if ((size_t)len > LINE_MAX_BYTES)
			return damaged(&r, e, "it is too long");
		rc = read_line(&r, line, (size_t)len - 1, take, ctx, e);
		crypto_hash_sha256_update(&r.hash, (const uint8_t *)line, (size_t)len);
	}
	if (rc)
		return rc;
	if (ferror(in))
		return err_set(e, -errno, "cannot read %s: %s", name, strerror(errno));
	if (!r.ended)
		return damaged(&r, e, "the end is missing");
	*ret_keys = r.keys;
	return 0;
}

/* A copy of an SQLite store. */
struct walking {
	take_key *take;
	void *ctx;
	uint64_t keys;
	int rc;
	struct err *e;
};

static bool walk_key(void *ctx, const struct store_item *item)
{
	struct walking *w = ctx;

	if (transfer_is_soft(item->key))
		return true;
	w->keys++;
	w->rc = w->take ? w->take(w->ctx, item->key, item->value, w->e) : 0;
	return !w->rc;
}

static int read_backup(
	struct store *from, take_key *take, void *ctx, uint64_t *ret_keys, struct err *e)
{
	struct walking w = {.take = take, .ctx = ctx, .e = e};
	int rc = store_walk(from, walk_key, &w, NULL);

	if (rc)
		return err_set(e, rc, "cannot read the backup: %s", err_name(rc));
	*ret_keys = w.keys;
	return w.rc;
}

/* -- import: writing -- */

struct importing {
	struct store *s;
	struct store_txn txn;
	size_t bytes, ops_max;
	uint64_t mark_mod, done, all;
	transfer_progress *progress;
	void *ctx;
};

static int commit_chunk(struct importing *im, struct err *e)
{
	uint64_t revision;
	int rc;

	store_txn_expect(&im->txn, TRANSFER_MARK, im->mark_mod);
	rc = store_commit(im->s, &im->txn, &revision);
	if (rc == -EAGAIN)
		return err_set(
			e, -EEXIST, "somebody else writes to the store: stop all consoles on it");
	if (rc)
		return err_set(e, rc, "cannot write to the store: %s", err_name(rc));
	if (!im->mark_mod)
		im->mark_mod = revision;
	store_txn_done(&im->txn);
	store_txn_init(&im->txn);
	im->bytes = 0;
	return 0;
}

static int import_key(void *ctx, const char *key, const char *value, struct err *e)
{
	struct importing *im = ctx;
	size_t bytes = strlen(key) + strlen(value);
	int rc = 0;

	if (im->txn.op_count &&
		(im->txn.op_count >= im->ops_max || im->bytes + bytes > CHUNK_BYTES))
		rc = commit_chunk(im, e);
	store_txn_put(&im->txn, key, value);
	im->bytes += bytes;
	if (++im->done % PROGRESS_STEP == 0 && im->progress)
		im->progress(im->ctx, im->done, im->all);
	return rc;
}

/* Removes what an import left that did not come to its end. */
static int clear(struct importing *im, struct err *e)
{
	for (;;) {
		CLEANUP(store_items) struct store_items items = {0};
		size_t left = 0;
		int rc = store_range(im->s, "/", NULL, im->ops_max, &items);

		if (rc)
			return err_set(e, rc, "cannot read the store: %s", err_name(rc));
		for (size_t i = 0; i < items.count; i++)
			if (strcmp(items.items[i].key, TRANSFER_MARK) != 0 && ++left)
				store_txn_delete(&im->txn, items.items[i].key);
		if (!left)
			return 0;
		rc = commit_chunk(im, e);
		if (rc)
			return rc;
	}
}

static int begin(struct importing *im, struct err *e)
{
	CLEANUP(store_item) struct store_item mark = {0};
	uint64_t keys;
	int rc = store_get(im->s, TRANSFER_MARK, &mark);

	if (!rc) {
		im->mark_mod = mark.mod_revision;
		return clear(im, e);
	}
	if (rc == -ENOENT)
		rc = store_count(im->s, "/", &keys);
	if (rc)
		return err_set(e, rc, "cannot read the store: %s", err_name(rc));
	if (keys)
		return err_set(e, -EEXIST,
			"the store is not empty (%llu keys): an import needs one that nobody has used",
			(unsigned long long)keys);
	store_txn_put(&im->txn, TRANSFER_MARK, "\"\"");
	return commit_chunk(im, e);
}

static int read_source(
	struct transfer_source *from, take_key *take, void *ctx, uint64_t *ret_keys, struct err *e)
{
	if (from->backup)
		return read_backup(from->backup, take, ctx, ret_keys, e);
	rewind(from->text);
	return read_export(from->text, from->name, take, ctx, ret_keys, e);
}

static bool is_sqlite(FILE *in)
{
	char head[16] = "";
	size_t n = fread(head, 1, sizeof(head) - 1, in);

	return n == sizeof(head) - 1 && !strcmp(head, "SQLite format 3");
}

int transfer_source_open(const char *path, struct transfer_source *ret_source, struct err *e)
{
	struct transfer_source from = {.name = xstrdup(path), .text = fopen(path, "re")};
	int rc = 0;

	if (!from.text) {
		rc = err_set(e, -errno, "cannot open %s: %s", path, strerror(errno));
	} else if (is_sqlite(from.text)) {
		fclose(from.text);
		from.text = NULL;
		rc = store_sqlite_open_read(path, &from.backup, e);
	}
	if (!rc)
		rc = read_source(&from, NULL, NULL, &from.keys, e);
	if (rc) {
		transfer_source_close(&from);
		return rc;
	}
	*ret_source = from;
	return 0;
}

void transfer_source_close(struct transfer_source *source)
{
	free(source->name);
	if (source->text)
		fclose(source->text);
	store_close(source->backup);
	*source = (struct transfer_source){0};
}

static int write_all(struct importing *im, struct transfer_source *from, struct err *e)
{
	uint64_t keys;
	int rc = begin(im, e);

	if (!rc)
		rc = read_source(from, import_key, im, &keys, e);
	if (!rc && im->txn.op_count)
		rc = commit_chunk(im, e);
	if (rc)
		return rc;
	store_txn_delete(&im->txn, TRANSFER_MARK);
	return commit_chunk(im, e);
}

int transfer_import(struct store *s, struct transfer_source *from, transfer_progress *progress,
	void *ctx, struct err *e)
{
	struct importing im = {.s = s,
		.all = from->keys,
		.progress = progress,
		.ctx = ctx,
		/* One for the mark. */
		.ops_max = store_txn_max(s) - 1 < CHUNK_OPS ? store_txn_max(s) - 1 : CHUNK_OPS};
	int rc;

	store_txn_init(&im.txn);
	rc = write_all(&im, from, e);
	store_txn_done(&im.txn);
	return rc;
}
