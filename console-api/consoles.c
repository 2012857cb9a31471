/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/consoles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/token.h"

#define AGAIN_S 3600
#define GONE_S  86400
#define PREFIX  "/consoles/"

void consoles_name(struct registry *r)
{
	uint8_t hash[HASH_LEN];
	char hex[2 * HASH_LEN + 1];

	hash_sha256(HASH_PIECES({r->console_id, strlen(r->console_id)}, {"/", 1},
			    {r->store->instance, strlen(r->store->instance)}),
		hash);
	hash_hex(hash, sizeof(hash), hex);
	snprintf(r->self_id, sizeof(r->self_id), "con_%.16s", hex);
}

static void add_pin(struct json_object *pins, const uint8_t pin[32])
{
	char text[53];

	token_pin_text(pin, text);
	json_object_array_add(pins, json_object_new_string(text));
}

static struct json_object *self_object(const struct registry *r)
{
	struct json_object *o = json_object_new_object(), *pins = json_object_new_array();

	json_set_string(o, "id", r->self_id);
	json_set_string(o, "url", r->public_url);
	add_pin(pins, r->pin);
	if (r->has_next_pin)
		add_pin(pins, r->next_pin);
	json_object_object_add(o, "pins", pins);
	return o;
}

static int build_announce(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	uint64_t now_s = *(const uint64_t *)ctx;
	CLEANUP(json) struct json_object *o = self_object(r);
	CLEANUP(record) struct record had = {0};
	int64_t at = 0;
	bool same;
	int rc = registry_load(r, KEY(PREFIX "%s", r->self_id), &had, p);

	if (rc && rc != -ENOENT)
		return rc;
	if (!rc) {
		at = record_int(had.o, "at");
		json_object_object_del(had.o, "at");
	}
	same = !rc && json_object_equal(had.o, o);
	if (same && (uint64_t)at <= now_s && now_s - (uint64_t)at < AGAIN_S)
		return REGISTRY_NO_CHANGE;
	json_set_int(o, "at", (int64_t)now_s);
	registry_put(txn, KEY(PREFIX "%s", r->self_id), o);
	if (!same)
		store_txn_put(txn, "/maprev/consoles", "\"\"");
	return 0;
}

static int build_forget(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	const char *key = ctx;
	CLEANUP(record) struct record had = {0};
	int rc = registry_load(r, key, &had, p);

	if (rc)
		return rc == -ENOENT ? REGISTRY_NO_CHANGE : rc;
	store_txn_delete(txn, key);
	store_txn_put(txn, "/maprev/consoles", "\"\"");
	log_info("the console at %s has been away for a day: nodes forget it",
		record_text(had.o, "url"));
	return 0;
}

static int read_all(struct registry *r, struct store_items *ret_items, struct problem *p)
{
	int rc = store_range(r->store, PREFIX, NULL, 0, ret_items);

	return rc ? problem_from_store(p, rc) : 0;
}

/* The object of an item, or NULL when it is damaged. */
static struct json_object *parse(const struct store_item *item)
{
	struct json_object *o = NULL;

	if (json_parse(item->value, strlen(item->value), &o, NULL) ||
		!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		log_error("store: the value of %s is damaged", item->key);
		return NULL;
	}
	return o;
}

static void forget_gone(struct registry *r, uint64_t now_s)
{
	CLEANUP(store_items) struct store_items items = {0};
	struct problem p = {0};

	if (read_all(r, &items, &p))
		return;
	for (size_t i = 0; i < items.count; i++) {
		CLEANUP(json) struct json_object *o = parse(&items.items[i]);
		uint64_t at = o ? (uint64_t)record_int(o, "at") : 0;

		if (!o || at + GONE_S > now_s)
			continue;
		if (registry_transact(r, build_forget, items.items[i].key, NULL, &p) < 0)
			log_warn("cannot forget a console: %s", p.detail);
	}
}

void consoles_announce(struct registry *r, uint64_t now_s)
{
	struct problem p = {0};

	if (registry_transact(r, build_announce, &now_s, NULL, &p) < 0)
		log_warn("cannot tell the nodes how to reach this console: %s", p.detail);
	forget_gone(r, now_s);
}

int consoles_map(struct registry *r, struct json_object **ret_consoles, struct problem *p)
{
	CLEANUP(store_items) struct store_items items = {0};
	struct json_object *consoles;
	int rc = read_all(r, &items, p);

	if (rc)
		return rc;
	consoles = json_object_new_object();
	for (size_t i = 0; i < items.count; i++) {
		struct json_object *o = parse(&items.items[i]);

		if (!o)
			continue;
		json_object_object_del(o, "at");
		json_object_object_add(consoles, registry_key_tail(items.items[i].key), o);
	}
	*ret_consoles = consoles;
	return 0;
}
