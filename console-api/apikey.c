/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/apikey.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/audit.h"
#include "console-api/form.h"
#include "console-api/user.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/key.h"

#define SECRET_LEN 32

static uint64_t now_seconds(void)
{
	return clock_wall_ns() / NS_PER_S;
}

void apikey_hash(const char *text, char ret_hex[2 * HASH_LEN + 1])
{
	uint8_t hash[HASH_LEN];

	hash_sha256(HASH_PIECES({text, strlen(text)}), hash);
	hash_hex(hash, sizeof(hash), ret_hex);
}

static enum role role_of(struct json_object *o)
{
	enum role role = ROLE_NONE;

	role_parse(record_text(o, "role"), &role);
	return role;
}

static int refuse(struct problem *p, const char *word, const char *why)
{
	return problem_set(p, 401, word, "%s", why);
}

int apikey_check(struct registry *r, const char *hash_hex, uint64_t now_s, struct apikey *ret_key,
	struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	CLEANUP(record) struct record user = {0};
	struct apikey key = {0};
	const char *user_id;
	int rc = registry_load(r, KEY("/apikeys/%s", hash_hex), &rec, p);

	if (rc)
		return rc;
	snprintf(key.id, sizeof(key.id), "%s", record_text(rec.o, "id"));
	snprintf(key.org, sizeof(key.org), "%s", record_org(rec.o));
	key.role = role_of(rec.o);
	key.expires_s = (uint64_t)record_int(rec.o, "expires_s");
	if (key.expires_s && key.expires_s <= now_s)
		return refuse(p, "key_expired", "this API key has expired: ask for a new one");
	user_id = record_text(rec.o, "user");
	if (user_id[0]) {
		rc = registry_load(r, KEY("/users/%s", user_id), &user, p);
		if (rc && rc != -ENOENT)
			return rc;
		if (rc || json_object_get_boolean(json_object_object_get(user.o, "disabled")))
			return refuse(p, "key_disabled", "the user of this API key is disabled");
		if (role_of(user.o) < key.role)
			key.role = role_of(user.o);
	}
	*ret_key = key;
	return 0;
}

/* -- views -- */

static int render(struct registry *r, const struct record *rec, struct json_object **ret_view,
	struct problem *p)
{
	const char *user_id = record_text(rec->o, "user"), *state = "active";
	uint64_t expires_s = (uint64_t)record_int(rec->o, "expires_s");
	CLEANUP(record) struct record user = {0};
	struct json_object *view;
	char text[21];
	int rc = user_id[0] ? registry_load(r, KEY("/users/%s", user_id), &user, p) : 0;

	if (rc && rc != -ENOENT)
		return rc;
	if (expires_s && expires_s <= now_seconds())
		state = "expired";
	else if (rc ||
		 (user.o && json_object_get_boolean(json_object_object_get(user.o, "disabled"))))
		state = "disabled";
	view = json_object_new_object();
	json_set_string(view, "id", record_text(rec->o, "id"));
	json_set_string(view, "name", record_text(rec->o, "name"));
	json_set_string(view, "role", record_text(rec->o, "role"));
	json_set_string(view, "effective_role",
		role_name(user.o && role_of(user.o) < role_of(rec->o) ? role_of(user.o)
								      : role_of(rec->o)));
	json_set_string(view, "user", user_id[0] ? user_id : NULL);
	json_set_string(view, "user_name", user.o ? record_text(user.o, "name") : NULL);
	json_set_string(view, "state", state);
	if (expires_s)
		clock_format_rfc3339(expires_s * NS_PER_S, text);
	json_set_string(view, "expires_at", expires_s ? text : NULL);
	json_set_string(view, "created_at", record_text(rec->o, "created_at"));
	json_set_int(view, "revision", (int64_t)rec->mod_revision);
	*ret_view = view;
	return 0;
}

/* Finds the hash and the record of a key that the actor may see; -ENOENT without a problem. */
static int load(struct registry *r, const struct actor *actor, const char *id,
	char ret_hash[2 * HASH_LEN + 1], struct record *ret_rec, struct problem *p)
{
	CLEANUP(record) struct record index = {0};
	const char *hash;
	int rc;

	if (!id[0] || strlen(id) > NETMAP_ID_MAX || strchr(id, '/'))
		return -ENOENT;
	rc = registry_load(r, KEY("/org-keys/%s/%s", actor->org, id), &index, p);
	if (rc)
		return rc;
	hash = json_object_get_string(index.o);
	if (!hash || strlen(hash) != 2 * HASH_LEN)
		return problem_from_store(p, -VAN_E_CORRUPT);
	memcpy(ret_hash, hash, 2 * HASH_LEN + 1);
	rc = registry_load(r, KEY("/apikeys/%s", ret_hash), ret_rec, p);
	return !rc && role_of(ret_rec->o) > actor->role ? -ENOENT : rc;
}

int apikey_view(struct registry *r, const struct actor *actor, const char *id,
	struct json_object **ret_view, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	char hash[2 * HASH_LEN + 1];
	int rc = load(r, actor, id, hash, &rec, p);

	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "key", id) : rc;
	return render(r, &rec, ret_view, p);
}

int apikey_view_hashed(
	struct registry *r, const char *hash_hex, struct json_object **ret_view, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, KEY("/apikeys/%s", hash_hex), &rec, p);

	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "key", "of the request") : rc;
	return render(r, &rec, ret_view, p);
}

static int view_indexed(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return apikey_view(r, ctx, registry_key_tail(item->key), ret_view, p);
}

int apikey_list(struct registry *r, const struct actor *actor, const struct page *page,
	struct json_object **ret_list, struct problem *p)
{
	return page_list(r, KEY("/org-keys/%s/", actor->org), page, view_indexed,
		(void *)(uintptr_t)actor, ret_list, p);
}

/* -- create -- */

struct spec {
	char name[NETMAP_NAME_MAX + 1];
	enum role role;
	const char *user; /* id or name, or NULL; borrowed */
	uint64_t expires_s;
};

static int spec_from_json(
	struct json_object *o, const struct actor *actor, struct spec *ret_spec, struct problem *p)
{
	static const char *const roles[] = {"viewer", "operator", "admin", "console", NULL};
	int64_t ttl_s = 0, expires_s = 0;
	struct spec spec = {0};
	struct form f;
	size_t role = 0;
	int rc;

	form_init(&f, o, p);
	form_line(&f, "name", FORM_REQUIRED, spec.name, sizeof(spec.name));
	if (form_word(&f, "role", FORM_REQUIRED, roles, &role) &&
		ROLE_VIEWER + (enum role)role > actor->role)
		form_fail(&f, "role", "is more than the key has that asks");
	form_string(&f, "user", FORM_OPTIONAL, 1, NETMAP_NAME_MAX, &spec.user);
	form_int(&f, "ttl_s", FORM_OPTIONAL, 1, APIKEY_TTL_MAX_S, &ttl_s);
	if (form_time(&f, "expires_at", FORM_OPTIONAL, &expires_s)) {
		if (ttl_s)
			form_fail(&f, "expires_at", "and ttl_s say the same: give one of them");
		else if (expires_s <= (int64_t)now_seconds())
			form_fail(&f, "expires_at", "is over");
	}
	rc = form_end(&f);
	if (rc)
		return rc;
	spec.role = ROLE_VIEWER + (enum role)role;
	spec.expires_s = ttl_s ? now_seconds() + (uint64_t)ttl_s : (uint64_t)expires_s;
	*ret_spec = spec;
	return 0;
}

struct create {
	const struct actor *actor;
	struct spec spec;
	char text[64];
	struct record rec;
};

/* The user of the key, who must be allowed as much. */
static int find_user(struct registry *r, const struct create *c, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p)
{
	CLEANUP(record) struct record user = {0};
	int rc = user_by_ref(r, c->actor->org, c->spec.user, ret_id, p);

	if (!rc)
		rc = registry_load(r, KEY("/users/%s", ret_id), &user, p);
	if (rc)
		return rc == -ENOENT ? problem_from_store(p, -EBUSY) : rc;
	if (role_of(user.o) < c->spec.role)
		return problem_invalid(p, "/role", "/role: user \"%s\" may have %s at most",
			record_text(user.o, "name"), record_text(user.o, "role"));
	return 0;
}

static int build_create(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct create *c = ctx;
	/* A console administrator's key is of no organization; it has its place with the first. */
	const char *org = c->spec.role == ROLE_CONSOLE ? ORG_DEFAULT : c->actor->org;
	char id[NETMAP_ID_MAX + 1], user_id[NETMAP_ID_MAX + 1] = "", hash[2 * HASH_LEN + 1],
							    now[21];
	uint8_t secret[SECRET_LEN];
	struct json_object *o;
	int rc = quota_build_add(r, txn, org, QUOTA_KEYS, 1, p);

	if (!rc && c->spec.user)
		rc = find_user(r, c, user_id, p);
	if (rc)
		return rc;
	record_done(&c->rec);
	randombytes_buf(secret, sizeof(secret));
	key_base64(secret, sizeof(secret), true, c->text);
	sodium_memzero(secret, sizeof(secret));
	apikey_hash(c->text, hash);
	registry_new_id("key", id);
	registry_now_text(now);
	c->rec.o = o = json_object_new_object();
	json_set_string(o, "id", id);
	json_set_string(o, "org", org);
	json_set_string(o, "name", c->spec.name);
	json_set_string(o, "role", role_name(c->spec.role));
	if (user_id[0])
		json_set_string(o, "user", user_id);
	json_set_int(o, "expires_s", (int64_t)c->spec.expires_s);
	json_set_string(o, "created_at", now);
	store_txn_expect(txn, KEY("/apikeys/%s", hash), 0);
	registry_put(txn, KEY("/apikeys/%s", hash), o);
	apikey_build_index(txn, org, id, hash);
	registry_audit_change(txn, c->actor, "key.create", "key", id, NULL, o);
	return 0;
}

int apikey_create(struct registry *r, const struct actor *actor, struct json_object *body,
	struct json_object **ret_view, struct problem *p)
{
	struct create c = {.actor = actor};
	int rc = spec_from_json(body, actor, &c.spec, p);

	if (!rc)
		rc = registry_transact(r, build_create, &c, &c.rec.mod_revision, p);
	if (!rc)
		rc = render(r, &c.rec, ret_view, p);
	if (!rc)
		json_set_string(*ret_view, "key", c.text);
	sodium_memzero(c.text, sizeof(c.text));
	record_done(&c.rec);
	return rc;
}

void apikey_build_index(
	struct store_txn *txn, const char *org, const char *id, const char *hash_hex)
{
	registry_put_index(txn, KEY("/org-keys/%s/%s", org, id), hash_hex);
}

/* -- delete -- */

/* Calls visit for each key of an organization. */
typedef int visit_key(struct store_txn *txn, void *ctx, const char *index_key, const char *hash,
	struct json_object *key, struct problem *p);

static int each_key(struct registry *r, struct store_txn *txn, const char *org, visit_key *visit,
	void *ctx, struct problem *p)
{
	CLEANUP(store_items) struct store_items keys = {0};
	/* Who adds one puts it: read, it is compared. */
	CLEANUP(store_item) struct store_item mark = {0};
	int rc = store_get(r->store, KEY("/orgrev/%s", org), &mark);

	if (!rc)
		rc = store_range(r->store, KEY("/org-keys/%s/", org), NULL, 0, &keys);
	if (rc)
		return problem_from_store(p, rc == -ENOENT ? -VAN_E_CORRUPT : rc);
	for (size_t i = 0; i < keys.count; i++) {
		CLEANUP(json) struct json_object *index = NULL;
		CLEANUP(record) struct record rec = {0};
		const char *hash;

		json_parse(keys.items[i].value, strlen(keys.items[i].value), &index, NULL);
		hash = json_object_get_string(index);
		rc = hash ? registry_load(r, KEY("/apikeys/%.64s", hash), &rec, p) : -ENOENT;
		if (rc)
			return rc == -ENOENT ? problem_from_store(p, -VAN_E_CORRUPT) : rc;
		rc = visit(txn, ctx, keys.items[i].key, hash, rec.o, p);
		if (rc)
			return rc;
	}
	return 0;
}

static int delete_if_of_user(struct store_txn *txn, void *ctx, const char *index_key,
	const char *hash, struct json_object *key, struct problem *p)
{
	const char *user_id = ctx;

	(void)p;
	if (user_id && strcmp(record_text(key, "user"), user_id) != 0)
		return 0;
	store_txn_delete(txn, KEY("/apikeys/%.64s", hash));
	store_txn_delete(txn, index_key);
	return 0;
}

int apikey_build_delete_of_user(struct registry *r, struct store_txn *txn, const char *org,
	const char *user_id, struct problem *p)
{
	return each_key(r, txn, org, delete_if_of_user, (void *)(uintptr_t)user_id, p);
}

int apikey_build_delete_all(
	struct registry *r, struct store_txn *txn, const char *org, struct problem *p)
{
	return each_key(r, txn, org, delete_if_of_user, NULL, p);
}

struct other_console {
	const char *id; /* not this one */
	bool found;
};

static int look_for_console(struct store_txn *txn, void *ctx, const char *index_key,
	const char *hash, struct json_object *key, struct problem *p)
{
	struct other_console *other = ctx;

	(void)txn;
	(void)index_key;
	(void)hash;
	(void)p;
	if (role_of(key) == ROLE_CONSOLE && !record_int(key, "expires_s") &&
		strcmp(record_text(key, "id"), other->id) != 0)
		other->found = true;
	return 0;
}

static int build_delete(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	const struct registry_edit *ed = ctx;
	struct other_console other = {.id = ed->ref};
	CLEANUP(record) struct record rec = {0};
	char hash[2 * HASH_LEN + 1];
	int rc = load(r, ed->actor, ed->ref, hash, &rec, p);

	if (rc == -ENOENT)
		return problem_not_found(p, "key", ed->ref);
	if (!rc)
		rc = registry_match(ed->if_match, rec.mod_revision, p);
	if (!rc && role_of(rec.o) == ROLE_CONSOLE) {
		rc = each_key(r, txn, ORG_DEFAULT, look_for_console, &other, p);
		if (!rc && !other.found)
			rc = problem_set(p, 409, "last_key",
				"it is the last key of a console administrator that does not expire: "
				"make another one first");
		store_txn_put(txn, KEY("/orgrev/%s", ORG_DEFAULT), "\"\"");
	}
	if (rc)
		return rc;
	store_txn_expect(txn, KEY("/apikeys/%s", hash), rec.mod_revision);
	store_txn_delete(txn, KEY("/apikeys/%s", hash));
	store_txn_delete(txn, KEY("/org-keys/%s/%s", record_org(rec.o), ed->ref));
	registry_audit_change(txn, ed->actor, "key.delete", "key", ed->ref, rec.o, NULL);
	return 0;
}

int apikey_delete(struct registry *r, const struct actor *actor, const char *id,
	const char *if_match, struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .ref = id, .if_match = if_match};

	return registry_edit(r, build_delete, &ed, NULL, p);
}
