/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/registry.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/node.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/key.h"
#include "lib/log.h"

#define TRIES_MAX         16
#define HOUSEKEEPING_STEP 64 /* keys looked at or removed in one go */
#define ADMIN_KEY_LEN     32

struct registry_key registry_key(const char *fmt, ...)
{
	struct registry_key k;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(k.text, sizeof(k.text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(k.text))
		abort(); /* ids, names and addresses are bounded: a bug */
	return k;
}

const char *registry_key_tail(const char *key)
{
	const char *slash = strrchr(key, '/');

	return slash ? slash + 1 : key;
}

void record_done(struct record *rec)
{
	json_object_put(rec->o);
	*rec = (struct record){0};
}

const char *record_text(struct json_object *o, const char *name)
{
	const char *text = json_object_get_string(json_object_object_get(o, name));

	return text ? text : "";
}

int64_t record_int(struct json_object *o, const char *name)
{
	return json_object_get_int64(json_object_object_get(o, name));
}

int registry_load(struct registry *r, const char *key, struct record *ret_rec, struct problem *p)
{
	CLEANUP(store_item) struct store_item item = {0};
	struct err e = {0};
	int rc = store_get(r->store, key, &item);

	if (rc == -ENOENT)
		return rc;
	if (rc)
		return problem_from_store(p, rc);
	rc = json_parse(item.value, strlen(item.value), &ret_rec->o, &e);
	if (rc) {
		log_error("store: the value of %s is damaged: %s", key, e.text);
		return problem_from_store(p, -VAN_E_CORRUPT);
	}
	ret_rec->create_revision = item.create_revision;
	ret_rec->mod_revision = item.mod_revision;
	return 0;
}

int registry_index(struct registry *r, const char *key, char ret_id[NETMAP_ID_MAX + 1],
	uint64_t *ret_mod, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, key, &rec, p);
	const char *id;

	if (rc)
		return rc;
	id = json_object_get_string(rec.o);
	if (!id || strlen(id) > NETMAP_ID_MAX) {
		log_error("store: the value of %s is damaged", key);
		return problem_from_store(p, -VAN_E_CORRUPT);
	}
	memcpy(ret_id, id, strlen(id) + 1);
	if (ret_mod)
		*ret_mod = rec.mod_revision;
	return 0;
}

void registry_put(struct store_txn *txn, const char *key, struct json_object *o)
{
	store_txn_put(txn, key,
		json_object_to_json_string_ext(
			o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

void registry_put_index(struct store_txn *txn, const char *key, const char *id)
{
	CLEANUP(json) struct json_object *o = json_object_new_string(id);

	registry_put(txn, key, o);
}

int registry_resolve(struct registry *r, const char *kind, const char *ref,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	const char *nouns = !strcmp(kind, "network") ? "nets" : "nodes";
	CLEANUP(store_item) struct store_item item = {0};
	int rc = -ENOENT;

	/* An id first: a name that was chosen to look like one cannot hide it. */
	if (ref[0] && strlen(ref) <= NETMAP_ID_MAX && !strchr(ref, '/')) {
		rc = store_get(r->store, KEY("/%s/%s", nouns, ref), &item);
		if (!rc) {
			memcpy(ret_id, ref, strlen(ref) + 1);
			return 0;
		}
		if (rc != -ENOENT)
			return problem_from_store(p, rc);
	}
	if (netmap_name_valid(ref))
		rc = registry_index(r, KEY("/names/%s/%s", kind, ref), ret_id, NULL, p);
	if (rc == -ENOENT)
		return problem_set(p, 404, "not_found",
			"there is no %s \"%.64s\": list what there is", kind, ref);
	return rc;
}

int registry_transact(struct registry *r, registry_build *build, void *ctx, uint64_t *ret_revision,
	struct problem *p)
{
	int rc = -EAGAIN;

	for (unsigned int i = 0; i < TRIES_MAX && rc == -EAGAIN; i++) {
		CLEANUP(store_txn) struct store_txn txn;

		store_txn_init(&txn);
		rc = build(r, &txn, ctx, p);
		if (rc)
			return rc;
		rc = store_commit(r->store, &txn, ret_revision);
	}
	return rc ? problem_from_store(p, rc) : 0;
}

void registry_audit(
	struct store_txn *txn, const struct actor *actor, const char *action, const char *fmt, ...)
{
	CLEANUP(json) struct json_object *row = json_object_new_object();
	char object[256];
	char now[21];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(object, sizeof(object), fmt, ap);
	va_end(ap);
	registry_now_text(now);
	json_set_string(row, "time", now);
	json_set_string(row, "actor", actor->who);
	json_set_string(row, "address", actor->address);
	json_set_string(row, "action", action);
	json_set_string(row, "object", object);
	registry_put(txn,
		KEY("/audit/%016llx-%08x", (unsigned long long)clock_wall_ns(),
			randombytes_random()),
		row);
}

void registry_touch_network(struct store_txn *txn, const char *net_id)
{
	store_txn_put(txn, KEY("/maprev/net/%s", net_id), "\"\"");
}

void registry_touch_node(struct store_txn *txn, const char *node_id)
{
	store_txn_put(txn, KEY("/maprev/node/%s", node_id), "\"\"");
}

int registry_touch_networks_of(
	struct registry *r, struct store_txn *txn, const char *node_id, struct problem *p)
{
	CLEANUP(store_items) struct store_items nets = {0};
	int rc = store_range(r->store, KEY("/node-nets/%s/", node_id), NULL, 0, &nets);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < nets.count; i++)
		registry_touch_network(txn, registry_key_tail(nets.items[i].key));
	registry_touch_node(txn, node_id);
	return 0;
}

void registry_new_id(const char *prefix, char ret_id[NETMAP_ID_MAX + 1])
{
	static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* Crockford's base 32 */
	uint64_t ms = clock_wall_ns() / NS_PER_MS;
	uint8_t random[7];
	char tail[17];

	randombytes_buf(random, sizeof(random));
	for (int i = 0; i < 9; i++)
		tail[i] = digits[ms >> (5 * (8 - i)) & 31];
	for (int i = 0; i < 7; i++)
		tail[9 + i] = digits[random[i] & 31];
	tail[16] = '\0';
	snprintf(ret_id, NETMAP_ID_MAX + 1, "%s_%s", prefix, tail);
}

void registry_now_text(char ret_text[21])
{
	clock_format_rfc3339(clock_wall_ns(), ret_text);
}

int registry_match(const char *if_match, uint64_t mod_revision, struct problem *p)
{
	char etag[32];
	size_t len;

	if (!if_match)
		return 0;
	len = (size_t)snprintf(etag, sizeof(etag), "\"%llu\"", (unsigned long long)mod_revision);
	/* RFC 9110 §13.1.1: a list of entity tags, or "*"; weak ones never match. */
	for (const char *at = if_match; *at;) {
		at += strspn(at, " \t,");
		if (*at == '*' || !strncmp(at, etag, len))
			return 0;
		at += strcspn(at, ",");
	}
	return problem_set(p, 412, "precondition_failed",
		"it was changed meanwhile (revision %llu): read it again, then decide",
		(unsigned long long)mod_revision);
}

struct json_object *page_result(struct json_object *items, bool more, const char *last)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "items", items);
	json_set_string(o, "next", more ? last : NULL);
	return o;
}

void registry_lock(struct registry *r)
{
	pthread_mutex_lock(&r->lock);
}

void registry_unlock(struct registry *r)
{
	pthread_mutex_unlock(&r->lock);
}

/* -- first start -- */

/* The text of the key in the file, or of a fresh one that is in the file when this returns. */
static int admin_key_load_or_make(const char *path, char ret_key[64], struct err *e)
{
	CLEANUP(free) char *data = NULL;
	uint8_t raw[ADMIN_KEY_LEN];
	char line[65];
	size_t len;
	int rc = file_read(path, 256, &data, &len, e);

	if (!rc) {
		len = strcspn(data, "\r\n");
		if (len < 32 || len >= 64)
			return err_set(e, -VAN_E_CORRUPT,
				"%s holds no API key: remove it and start again", path);
		memcpy(ret_key, data, len);
		ret_key[len] = '\0';
		sodium_memzero(data, len);
		return 0;
	}
	if (rc != -ENOENT)
		return rc;
	randombytes_buf(raw, sizeof(raw));
	key_base64(raw, sizeof(raw), true, ret_key);
	snprintf(line, sizeof(line), "%s\n", ret_key);
	rc = file_write_atomic(path, line, strlen(line), 0600, e);
	sodium_memzero(raw, sizeof(raw));
	sodium_memzero(line, sizeof(line));
	return rc;
}

static int bootstrap(struct registry *r, const char *admin_key_path, struct err *e)
{
	CLEANUP(json) struct json_object *console = json_object_new_object();
	CLEANUP(json) struct json_object *apikey = json_object_new_object();
	CLEANUP(store_txn) struct store_txn txn;
	static const struct actor actor = {.who = "console"};
	char key_text[64], key_hash[2 * HASH_LEN + 1], id[NETMAP_ID_MAX + 1], now[21];
	uint8_t hash[HASH_LEN];
	int rc;

	store_txn_init(&txn);
	rc = admin_key_load_or_make(admin_key_path, key_text, e);
	if (rc)
		return rc;
	hash_sha256(HASH_PIECES({key_text, strlen(key_text)}), hash);
	sodium_memzero(key_text, sizeof(key_text));
	hash_hex(hash, sizeof(hash), key_hash);
	registry_now_text(now);
	randombytes_buf(r->mesh, sizeof(r->mesh));
	hash_hex(r->mesh, sizeof(r->mesh), r->mesh_hex);
	registry_new_id("con", r->console_id);
	json_set_string(console, "id", r->console_id);
	json_set_string(console, "mesh", r->mesh_hex);
	json_set_string(console, "created_at", now);
	registry_new_id("key", id);
	json_set_string(apikey, "id", id);
	json_set_string(apikey, "name", "admin");
	json_set_string(apikey, "role", "admin");
	json_set_string(apikey, "created_at", now);
	store_txn_expect(&txn, "/console", 0);
	registry_put(&txn, "/console", console);
	registry_put(&txn, KEY("/apikeys/%s", key_hash), apikey);
	registry_audit(&txn, &actor, "console.create", "console %s, key %s", r->console_id, id);
	rc = store_commit(r->store, &txn, NULL);
	if (rc)
		return err_set(
			e, rc, "cannot write the first records into the store: %s", err_name(rc));
	log_info("first start: mesh %s; the admin key is in %s", r->mesh_hex, admin_key_path);
	return 0;
}

static int load_console(struct registry *r, const char *admin_key_path, struct err *e)
{
	CLEANUP(record) struct record rec = {0};
	struct problem p = {0};
	const char *id, *mesh;
	int rc = registry_load(r, "/console", &rec, &p);

	if (rc == -ENOENT)
		return bootstrap(r, admin_key_path, e);
	if (rc)
		return err_set(e, rc, "cannot read the store: %s", p.detail);
	id = record_text(rec.o, "id");
	mesh = record_text(rec.o, "mesh");
	if (!id[0] || strlen(id) > NETMAP_ID_MAX || !hash_unhex(mesh, r->mesh, sizeof(r->mesh)))
		return err_set(e, -VAN_E_CORRUPT,
			"the store does not say which console it is of: restore it from a backup");
	snprintf(r->console_id, sizeof(r->console_id), "%s", id);
	hash_hex(r->mesh, sizeof(r->mesh), r->mesh_hex);
	return 0;
}

int registry_open(struct store *store, const char *admin_key_path, struct registry **ret_registry,
	struct err *e)
{
	struct registry *r = xcalloc(1, sizeof(*r));
	int rc;

	r->store = store;
	r->public_url = "";
	rc = load_console(r, admin_key_path, e);
	if (rc) {
		free(r);
		return rc;
	}
	r->soft = soft_new();
	pthread_mutex_init(&r->lock, NULL);
	*ret_registry = r;
	return 0;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	store_close(r->store);
	soft_free(r->soft);
	peers_cache_done(&r->peers);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* -- housekeeping -- */

static void prune_audit(struct registry *r)
{
	CLEANUP(store_items) struct store_items rows = {0};
	CLEANUP(store_txn) struct store_txn txn;
	uint64_t keep_ns = (uint64_t)r->audit_days * 86400 * NS_PER_S;
	uint64_t now_ns = clock_wall_ns();

	store_txn_init(&txn);
	if (!r->audit_days || now_ns < keep_ns ||
		store_range(r->store, "/audit/", NULL, HOUSEKEEPING_STEP, &rows))
		return;
	for (size_t i = 0; i < rows.count; i++) {
		const char *stamp = registry_key_tail(rows.items[i].key);

		if (strtoull(stamp, NULL, 16) >= now_ns - keep_ns)
			break;
		store_txn_delete(&txn, rows.items[i].key);
	}
	if (txn.op_count)
		store_commit(r->store, &txn, NULL); /* fails: the next turn tries again */
}

void registry_housekeeping(struct registry *r)
{
	node_reap_ephemeral(r, clock_boottime_ns(), HOUSEKEEPING_STEP);
	prune_audit(r);
}
