/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row is made in two steps. registry_audit_change() puts it into the transaction under a key that
 * is none yet, for at that point nobody knows which row of the chain it will be (transactions are
 * built again after a conflict). audit_seal() gives it its number, stamp and hash, in the order in
 * which the rows were added, and moves it to its key. The chain is bound to the head that was read
 * for it by a compare: a row can only follow the one that it was hashed on.
 *
 * Rows are apart by organization, so that a list costs what it shows and tells nothing of others. A
 * chain goes across them, and what goes along the chain (removal for age, verification) does so by
 * the small entries at /audit-at/.
 */
#include "console-api/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

#define NEW_ROW      "/audit/new-"
#define STAMP_LEN    16
#define MIGRATE_STEP 30
#define DEPTH_MAX    8
#define PLAIN        (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* -- a row -- */

static bool is_secret(const char *name)
{
	static const char *const names[] = {
		"secret", "token", "hash", "key_hash", "password", "psk"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static struct json_object *without_secrets(struct json_object *o, int depth)
{
	struct json_object *copy;

	if (json_object_is_type(o, json_type_array)) {
		copy = json_object_new_array();
		for (size_t i = 0; depth && i < json_object_array_length(o); i++)
			json_object_array_add(
				copy, without_secrets(json_object_array_get_idx(o, i), depth - 1));
		return copy;
	}
	if (!json_object_is_type(o, json_type_object))
		return json_object_get(o);
	copy = json_object_new_object();
	if (!depth)
		return copy;
	json_object_object_foreach(o, name, member)
	{
		if (!is_secret(name))
			json_object_object_add(copy, name, without_secrets(member, depth - 1));
	}
	return copy;
}

static struct json_object *shown(struct json_object *o)
{
	struct json_object *copy = without_secrets(o, DEPTH_MAX);
	size_t len = strlen(json_object_to_json_string_ext(copy, PLAIN));

	if (len <= AUDIT_OBJECT_MAX)
		return copy;
	json_object_put(copy);
	copy = json_object_new_object();
	json_set_int(copy, "omitted_bytes", (int64_t)len);
	return copy;
}

void registry_audit_change(struct store_txn *txn, const struct actor *actor, const char *action,
	const char *kind, const char *id, struct json_object *before, struct json_object *after)
{
	CLEANUP(json) struct json_object *row = json_object_new_object();
	const char *name = record_text(after ? after : before, "name");
	char object[256];

	snprintf(object, sizeof(object), "%s %s%s%s%s", kind, id, name[0] ? " (" : "", name,
		name[0] ? ")" : "");
	json_set_string(row, "time", ""); /* its place; it is that of the stamp */
	json_set_string(row, "actor", actor->who);
	json_set_string(row, "address", actor->address);
	json_set_string(row, "org", actor->org);
	json_set_string(row, "request", actor->request);
	json_set_string(row, "action", action);
	json_set_string(row, "kind", kind);
	json_set_string(row, "id", id);
	json_set_string(row, "object", object);
	json_object_object_add(row, "before", shown(before));
	json_object_object_add(row, "after", shown(after));
	registry_put(txn, KEY(NEW_ROW "%zu", txn->op_count), row);
}

/* -- the chain -- */

struct head {
	uint64_t seq, stamp;
	char hash[2 * HASH_LEN + 1];
};

static int read_head(struct store *s, struct store_txn *txn, const char *key, struct head *ret_head)
{
	CLEANUP(store_item) struct store_item item = {0};
	CLEANUP(json) struct json_object *o = NULL;
	int rc = store_get(s, key, &item);

	if (rc && rc != -ENOENT)
		return rc;
	store_txn_expect(txn, key, item.mod_revision);
	*ret_head = (struct head){0};
	memset(ret_head->hash, '0', sizeof(ret_head->hash) - 1);
	if (rc == -ENOENT)
		return 0;
	if (json_parse(item.value, strlen(item.value), &o, NULL) ||
		strlen(record_text(o, "hash")) != 2 * HASH_LEN)
		return -VAN_E_CORRUPT;
	ret_head->seq = (uint64_t)record_int(o, "seq");
	ret_head->stamp = strtoull(record_text(o, "stamp"), NULL, 16);
	memcpy(ret_head->hash, record_text(o, "hash"), sizeof(ret_head->hash));
	return 0;
}

static void put_head(struct store_txn *txn, const char *key, const struct head *head)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	char stamp[17];

	snprintf(stamp, sizeof(stamp), "%016llx", (unsigned long long)head->stamp);
	json_set_int(o, "seq", (int64_t)head->seq);
	json_set_string(o, "hash", head->hash);
	json_set_string(o, "stamp", stamp);
	registry_put(txn, key, o);
}

static void put_place(
	struct store_txn *txn, const char *tail, const char *org, uint64_t seq, const char *hash)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();

	json_set_string(o, "org", org);
	json_set_int(o, "seq", (int64_t)seq);
	json_set_string(o, "hash", hash);
	registry_put(txn, KEY("/audit-at/%s", tail), o);
}

/* The row's final text and key, and its place in the order of time. */
static int seal_row(struct store_txn *txn, size_t at, const char *chain, struct head *head)
{
	CLEANUP(json) struct json_object *row = NULL;
	uint64_t now_ns = clock_wall_ns();
	struct store_op *op = &txn->ops[at];
	uint8_t hash[HASH_LEN];
	char stamp[STAMP_LEN + 1], time[21];
	struct registry_key key;
	const char *text, *org;
	size_t len;

	if (json_parse(op->value, strlen(op->value), &row, NULL))
		return -VAN_E_INVALID;
	/* The clock may have been set back. */
	head->stamp = now_ns > head->stamp ? now_ns : head->stamp + 1;
	head->seq++;
	snprintf(stamp, sizeof(stamp), "%016llx", (unsigned long long)head->stamp);
	clock_format_rfc3339(now_ns, time);
	json_set_string(row, "time", time);
	json_set_string(row, "chain", chain);
	json_set_int(row, "seq", (int64_t)head->seq);
	json_set_string(row, "stamp", stamp);
	json_set_string(row, "prev", head->hash);
	text = json_object_to_json_string_length(row, PLAIN, &len);
	hash_sha256(
		HASH_PIECES({AUDIT_HASH_DOMAIN, strlen(AUDIT_HASH_DOMAIN)}, {text, len - 1}), hash);
	hash_hex(hash, sizeof(hash), head->hash);
	free(op->value);
	op->value = xasprintf("%.*s,\"hash\":\"%s\"}", (int)(len - 1), text, head->hash);
	org = record_text(row, "org")[0] ? record_text(row, "org") : ORG_NONE;
	key = registry_key("/audit/%s/%s-%s", org, stamp, chain);
	store_txn_rename(txn, at, key.text);
	put_place(txn, registry_key_tail(key.text), org, head->seq, head->hash);
	return 0;
}

int audit_seal(struct store *s, struct store_txn *txn)
{
	struct registry_key head_key = registry_key("/audit-head/%s", s->instance);
	size_t rows = txn->op_count;
	bool any = false;
	struct head head;
	int rc;

	for (size_t i = 0; i < rows; i++) {
		if (strncmp(txn->ops[i].key, NEW_ROW, strlen(NEW_ROW)) != 0)
			continue;
		rc = any ? 0 : read_head(s, txn, head_key.text, &head);
		any = true;
		if (!rc)
			rc = seal_row(txn, i, s->instance, &head);
		if (rc)
			return rc;
	}
	if (any)
		put_head(txn, head_key.text, &head);
	return 0;
}

/* -- removal for age -- */

/* The chain's start moves to the row of this place, which goes with the transaction. */
static int move_base(
	struct store *s, struct store_txn *txn, const char *chain, struct json_object *place)
{
	CLEANUP(json) struct json_object *base = json_object_new_object();
	CLEANUP(store_item) struct store_item item = {0};
	struct registry_key key = registry_key("/audit-base/%s", chain);
	int rc = store_get(s, key.text, &item);

	if (rc && rc != -ENOENT)
		return rc;
	store_txn_expect(txn, key.text, item.mod_revision);
	json_set_int(base, "seq", record_int(place, "seq"));
	json_set_string(base, "hash", record_text(place, "hash"));
	registry_put(txn, key.text, base);
	return 0;
}

static int remove_row(struct store *s, struct store_txn *txn, const struct store_item *item)
{
	CLEANUP(json) struct json_object *place = NULL;
	const char *tail = registry_key_tail(item->key), *chain = strchr(tail, '-');

	store_txn_delete(txn, item->key);
	/* `audit verify` tells of a damaged one; it goes with the others. */
	if (json_parse(item->value, strlen(item->value), &place, NULL))
		return 0;
	store_txn_delete(txn, KEY("/audit/%s/%s", record_text(place, "org"), tail));
	if (record_int(place, "seq") < 1 || !chain || strlen(chain + 1) > STORE_INSTANCE_MAX)
		return 0;
	return move_base(s, txn, chain + 1, place);
}

static uint64_t stamp_of(const char *key)
{
	return strtoull(registry_key_tail(key), NULL, 16);
}

int audit_prune(struct store *s, uint64_t limit_ns, size_t max, uint64_t *ret_oldest_ns)
{
	size_t room = store_txn_max(s) / 4; /* a row is two keys; there are a few bases too */
	CLEANUP(store_items) struct store_items places = {0};
	CLEANUP(store_txn) struct store_txn txn;
	size_t n = 0;
	int rc;

	if (max > room)
		max = room;
	rc = store_range(s, "/audit-at/", NULL, max + 1, &places);
	store_txn_init(&txn);
	for (; !rc && n < places.count && n < max && stamp_of(places.items[n].key) < limit_ns; n++)
		rc = remove_row(s, &txn, &places.items[n]);
	if (!rc && n)
		rc = store_commit(s, &txn, NULL);
	if (!rc)
		*ret_oldest_ns = n < places.count ? stamp_of(places.items[n].key) : UINT64_MAX;
	return rc;
}

/* -- rows of before there were organizations and chains -- */

int audit_migrate(struct store *s)
{
	for (;;) {
		CLEANUP(store_items) struct store_items rows = {0};
		CLEANUP(store_txn) struct store_txn txn;
		/* '~' comes after all that follows a "-/". */
		int rc = store_range(s, "/audit/", "/audit/" ORG_NONE "/~", MIGRATE_STEP, &rows);

		store_txn_init(&txn);
		if (rc || !rows.count)
			return rc;
		for (size_t i = 0; i < rows.count; i++) {
			const char *tail = registry_key_tail(rows.items[i].key);

			store_txn_put(
				&txn, KEY("/audit/" ORG_NONE "/%s", tail), rows.items[i].value);
			put_place(&txn, tail, ORG_NONE, 0, "");
			store_txn_delete(&txn, rows.items[i].key);
		}
		rc = store_commit(s, &txn, NULL);
		if (rc)
			return rc;
	}
}
