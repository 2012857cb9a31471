/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/registry.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "console-api/apikey.h"
#include "console-api/audit.h"
#include "console-api/cloak.h"
#include "console-api/events.h"
#include "console-api/idempotency.h"
#include "console-api/agent.h"
#include "console-api/consoles.h"
#include "console-api/node.h"
#include "console-api/presence.h"
#include "console-api/prune.h"
#include "console-api/transfer.h"
#include "console-api/org.h"
#include "console-api/reservation.h"
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

void record_empty_is_null(struct json_object *o, const char *name)
{
	if (!record_text(o, name)[0])
		json_object_object_add(o, name, NULL);
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

static int take_id(const char *key, struct json_object *value, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p)
{
	const char *id = json_object_get_string(value);

	if (!id || strlen(id) > NETMAP_ID_MAX) {
		log_error("store: the value of %s is damaged", key);
		return problem_from_store(p, -VAN_E_CORRUPT);
	}
	memcpy(ret_id, id, strlen(id) + 1);
	return 0;
}

int registry_index(struct registry *r, const char *key, char ret_id[NETMAP_ID_MAX + 1],
	uint64_t *ret_mod, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, key, &rec, p);

	if (!rc)
		rc = take_id(key, rec.o, ret_id, p);
	if (!rc && ret_mod)
		*ret_mod = rec.mod_revision;
	return rc;
}

int registry_index_value(
	const struct store_item *item, char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	CLEANUP(json) struct json_object *o = NULL;

	json_parse(item->value, strlen(item->value), &o, NULL);
	return take_id(item->key, o, ret_id, p);
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

const char *record_org(struct json_object *o)
{
	const char *org = record_text(o, "org");

	return org[0] ? org : ORG_DEFAULT;
}

int registry_build_in_org(
	struct registry *r, struct store_txn *txn, const char *org, struct problem *p)
{
	CLEANUP(store_item) struct store_item item = {0};
	CLEANUP(store_item) struct store_item mark = {0};
	int rc = store_get(r->store, KEY("/orgs/%s", org), &item);

	if (rc == -ENOENT)
		return problem_not_found(p, "organization", org);
	if (!rc)
		rc = store_get(r->store, KEY("/orgrev/%s", org), &mark);
	if (rc)
		return problem_from_store(p, rc == -ENOENT ? -VAN_E_CORRUPT : rc);
	store_txn_expect(txn, item.key, item.mod_revision);
	store_txn_expect(txn, mark.key, mark.mod_revision);
	store_txn_put(txn, mark.key, "\"\"");
	return 0;
}

static const char *const role_names[] = {
	[ROLE_NONE] = "none",
	[ROLE_VIEWER] = "viewer",
	[ROLE_OPERATOR] = "operator",
	[ROLE_ADMIN] = "admin",
	[ROLE_CONSOLE] = "console",
};

bool role_parse(const char *text, enum role *ret_role)
{
	for (enum role role = ROLE_VIEWER; role <= ROLE_CONSOLE; role++) {
		if (!strcmp(text, role_names[role])) {
			*ret_role = role;
			return true;
		}
	}
	return false;
}

const char *role_name(enum role role)
{
	return role_names[role];
}

static int commit_problem(struct problem *p, int rc)
{
	if (rc != -EIO)
		return problem_from_store(p, rc);
	rc = problem_set(p, 503, "outcome_unknown",
		"the console's store did not answer: this was done as a whole or not at all; look before "
		"you try again");
	p->retry_after_s = 1;
	return rc;
}

int registry_transact(struct registry *r, registry_build *build, void *ctx, uint64_t *ret_revision,
	struct problem *p)
{
	int rc = -EAGAIN;

	for (unsigned int i = 0; i < TRIES_MAX && rc == -EAGAIN; i++) {
		CLEANUP(store_txn) struct store_txn txn;

		store_txn_init(&txn);
		store_track(r->store, &txn);
		rc = build(r, &txn, ctx, p);
		if (!rc && r->idem)
			rc = idem_build(r, &txn, r->idem, p);
		store_track(r->store, NULL);
		if (rc)
			return rc;
		rc = audit_seal(r->store, &txn);
		if (!rc)
			rc = store_commit(r->store, &txn, ret_revision);
	}
	if (!rc && r->idem)
		r->idem->marked = true;
	return rc ? commit_problem(p, rc) : 0;
}

void registry_touch_network(struct store_txn *txn, const char *net_id)
{
	store_txn_put(txn, KEY("/maprev/net/%s", net_id), "\"\"");
}

void registry_press_network(struct store_txn *txn, const char *net_id)
{
	store_txn_put(txn, KEY("/maprev/net/%s", net_id), REGISTRY_PRESSING);
}

void registry_touch_node(struct store_txn *txn, const char *node_id)
{
	store_txn_put(txn, KEY("/maprev/node/%s", node_id), "\"\"");
}

static int mark_networks_of(struct registry *r, struct store_txn *txn, const char *node_id,
	void (*mark)(struct store_txn *txn, const char *net_id), struct problem *p)
{
	CLEANUP(store_items) struct store_items nets = {0};
	int rc = store_range(r->store, KEY("/node-nets/%s/", node_id), NULL, 0, &nets);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < nets.count; i++)
		mark(txn, registry_key_tail(nets.items[i].key));
	registry_touch_node(txn, node_id);
	return 0;
}

int registry_touch_networks_of(
	struct registry *r, struct store_txn *txn, const char *node_id, struct problem *p)
{
	return mark_networks_of(r, txn, node_id, registry_touch_network, p);
}

int registry_press_networks_of(
	struct registry *r, struct store_txn *txn, const char *node_id, struct problem *p)
{
	return mark_networks_of(r, txn, node_id, registry_press_network, p);
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
static int admin_key_load_or_make(const char *path, char ret_key[64], bool *ret_made, struct err *e)
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
		*ret_made = false;
		return 0;
	}
	if (rc != -ENOENT)
		return rc;
	*ret_made = true;
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
	bool made;
	int rc;

	store_txn_init(&txn);
	rc = admin_key_load_or_make(admin_key_path, key_text, &made, e);
	if (rc)
		return rc;
	apikey_hash(key_text, key_hash);
	sodium_memzero(key_text, sizeof(key_text));
	registry_now_text(now);
	randombytes_buf(r->mesh, sizeof(r->mesh));
	hash_hex(r->mesh, sizeof(r->mesh), r->mesh_hex);
	registry_new_id("con", r->console_id);
	json_set_string(console, "id", r->console_id);
	json_set_string(console, "mesh", r->mesh_hex);
	json_set_string(console, "created_at", now);
	registry_new_id("key", id);
	json_set_string(apikey, "id", id);
	json_set_string(apikey, "org", ORG_DEFAULT);
	json_set_string(apikey, "name", "admin");
	json_set_string(apikey, "role", role_name(ROLE_CONSOLE));
	json_set_string(apikey, "created_at", now);
	store_txn_expect(&txn, "/console", 0);
	registry_put(&txn, "/console", console);
	registry_put(&txn, KEY("/apikeys/%s", key_hash), apikey);
	apikey_build_index(&txn, ORG_DEFAULT, id, key_hash);
	org_build_default(&txn);
	registry_audit_change(
		&txn, &actor, "console.create", "console", r->console_id, NULL, console);
	rc = audit_seal(r->store, &txn);
	if (!rc)
		rc = store_commit(r->store, &txn, NULL);
	if (rc == -EAGAIN) {
		/* Another console on the same store was quicker, and has the first key. */
		if (made)
			unlink(admin_key_path);
		return rc;
	}
	if (rc)
		return err_set(
			e, rc, "cannot write the first records into the store: %s", err_name(rc));
	log_info("first start: mesh %s; the admin key is in %s", r->mesh_hex, admin_key_path);
	return 0;
}

/* A store that is half there would be taken for a whole one. */
int registry_check_imported(struct store *s, struct err *e)
{
	CLEANUP(store_item) struct store_item mark = {0};

	if (store_get(s, TRANSFER_MARK, &mark))
		return 0;
	return err_set(e, -VAN_E_CORRUPT,
		"an import into this store was not finished: run \"console-api import\" again");
}

static int load_console(struct registry *r, const char *admin_key_path, struct err *e)
{
	CLEANUP(record) struct record rec = {0};
	struct problem p = {0};
	const char *id, *mesh;
	int rc = registry_check_imported(r->store, e);

	if (rc)
		return rc;
	rc = registry_load(r, "/console", &rec, &p);
	if (rc == -ENOENT) {
		rc = bootstrap(r, admin_key_path, e);
		if (rc != -EAGAIN)
			return rc;
		rc = registry_load(r, "/console", &rec, &p);
	}
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
	uint8_t slot[8];
	int rc;

	r->store = store;
	r->public_url = "";
	quota_defaults(r->limits);
	rc = load_console(r, admin_key_path, e);
	if (!rc)
		rc = org_migrate(r, e);
	if (rc) {
		free(r);
		return rc;
	}
	r->soft = soft_new();
	agent_nets_init(&r->nets);
	randombytes_buf(slot, sizeof(slot));
	hash_hex(slot, sizeof(slot), r->slot);
	consoles_name(r);
	store_on_change(store, agent_on_change, r);
	pthread_mutex_init(&r->lock, NULL);
	*ret_registry = r;
	return 0;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	store_off_change(r->store, r);
	presence_free(r);
	store_close(r->store);
	soft_free(r->soft);
	agent_nets_done(&r->nets);
	reservations_cache_free(r->reservations);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* -- housekeeping -- */

/* Looks again when the oldest row there is will be too old, an hour from now at the latest. */
static void prune_audit(struct registry *r, uint64_t now_ns)
{
	uint64_t keep_ns = (uint64_t)r->audit_days * 86400 * NS_PER_S;
	uint64_t oldest_ns = 0;

	if (!r->audit_days || now_ns < keep_ns || now_ns < r->audit_due_ns)
		return;
	/* Fails: the next turn tries again. */
	if (audit_prune(r->store, now_ns - keep_ns, HOUSEKEEPING_STEP, &oldest_ns))
		return;
	r->audit_due_ns = now_ns + 3600 * NS_PER_S;
	if (oldest_ns < r->audit_due_ns - keep_ns)
		r->audit_due_ns = oldest_ns + keep_ns;
}

void registry_housekeeping(struct registry *r)
{
	if (r->public_url[0])
		consoles_announce(r, clock_wall_ns() / NS_PER_S);
	presence_turn(r, clock_boottime_ns(), clock_wall_ns());
	node_reap_ephemeral(r, clock_boottime_ns(), HOUSEKEEPING_STEP);
	prune_audit(r, clock_wall_ns());
	events_prune(r, clock_wall_ns());
	prune_turn(r, clock_wall_ns());
	presence_events(r, clock_boottime_ns());
	idem_prune(r, clock_wall_ns() / NS_PER_S);
	cloak_take_back(r, clock_wall_ns() / NS_PER_S, HOUSEKEEPING_STEP);
}
