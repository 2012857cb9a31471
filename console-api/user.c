/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/user.h"

#include <stdlib.h>
#include <string.h>
#include "console-api/apikey.h"
#include "console-api/audit.h"
#include "console-api/form.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/mergepatch.h"

/* What a client may set. */
struct user_spec {
	char name[NETMAP_NAME_MAX + 1];
	char full_name[USER_FULL_NAME_MAX + 1];
	enum role role;
	bool disabled;
};

static int spec_from_json(struct json_object *o, struct user_spec *ret_spec, struct problem *p)
{
	static const char *const roles[] = {"viewer", "operator", "admin", NULL};
	struct form f;
	size_t role = 0;
	int rc;

	*ret_spec = (struct user_spec){0};
	form_init(&f, o, p);
	form_name(&f, "name", FORM_REQUIRED, ret_spec->name);
	form_line(&f, "full_name", FORM_OPTIONAL, ret_spec->full_name, sizeof(ret_spec->full_name));
	form_word(&f, "role", FORM_REQUIRED, roles, &role);
	form_bool(&f, "disabled", FORM_OPTIONAL, &ret_spec->disabled);
	rc = form_end(&f);
	ret_spec->role = ROLE_VIEWER + (enum role)role;
	return rc;
}

static void set_spec(struct json_object *o, const struct user_spec *spec)
{
	json_set_string(o, "name", spec->name);
	json_set_string(o, "full_name", spec->full_name[0] ? spec->full_name : NULL);
	json_set_string(o, "role", role_name(spec->role));
	json_set_bool(o, "disabled", spec->disabled);
}

int user_by_ref(struct registry *r, const char *org, const char *ref,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	return registry_resolve(r, org, "user", ref, ret_id, p);
}

int user_view(struct registry *r, const char *id, struct json_object **ret_view, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, KEY("/users/%s", id), &rec, p);

	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "user", id) : rc;
	json_object_object_del(rec.o, "org");
	record_empty_is_null(rec.o, "full_name");
	json_set_int(rec.o, "revision", (int64_t)rec.mod_revision);
	*ret_view = STEAL(rec.o);
	return 0;
}

/* Of an index of names. */
static int view_named(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = registry_index_value(item, id, p);

	(void)ctx;
	return rc ? rc : user_view(r, id, ret_view, p);
}

int user_list(struct registry *r, const char *org, const struct page *page,
	struct json_object **ret_list, struct problem *p)
{
	return page_list(r, KEY("/names/%s/user/", org), page, view_named, NULL, ret_list, p);
}

/* -- create -- */

struct create {
	const struct actor *actor;
	struct user_spec spec;
	char id[NETMAP_ID_MAX + 1];
};

static int build_create(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct create *c = ctx;
	CLEANUP(json) struct json_object *o = json_object_new_object();
	const char *org = c->actor->org;
	char now[21];
	int rc;

	registry_new_id("user", c->id);
	rc = registry_build_in_org(r, txn, org, p);
	if (!rc)
		rc = registry_build_name(r, txn, org, "user", c->spec.name, c->id, p);
	if (rc)
		return rc;
	registry_now_text(now);
	set_spec(o, &c->spec);
	json_set_string(o, "id", c->id);
	json_set_string(o, "org", org);
	json_set_string(o, "created_at", now);
	store_txn_expect(txn, KEY("/users/%s", c->id), 0);
	registry_put(txn, KEY("/users/%s", c->id), o);
	registry_audit_change(txn, c->actor, "user.create", "user", c->id, NULL, o);
	return 0;
}

int user_create(struct registry *r, const struct actor *actor, struct json_object *body,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	struct create c = {.actor = actor};
	int rc = spec_from_json(body, &c.spec, p);

	if (!rc)
		rc = registry_transact(r, build_create, &c, NULL, p);
	if (!rc)
		memcpy(ret_id, c.id, sizeof(c.id));
	return rc;
}

/* -- change -- */

struct change {
	const struct actor *actor;
	const char *ref;
	struct json_object *patch;
	const char *if_match;
	char id[NETMAP_ID_MAX + 1];
};

static int load_matching(
	struct registry *r, struct change *c, struct record *rec, struct problem *p)
{
	int rc = user_by_ref(r, c->actor->org, c->ref, c->id, p);

	if (!rc)
		rc = registry_load(r, KEY("/users/%s", c->id), rec, p);
	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "user", c->ref) : rc;
	record_empty_is_null(rec->o, "full_name");
	return registry_match(c->if_match, rec->mod_revision, p);
}

static int build_change(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	static const char *const settable_members[] = {"name", "full_name", "role", "disabled"};
	struct change *c = ctx;
	CLEANUP(json) struct json_object *settable = json_object_new_object();
	CLEANUP(json) struct json_object *merged = NULL;
	CLEANUP(json) struct json_object *after = NULL;
	CLEANUP(record) struct record rec = {0};
	struct user_spec spec;
	const char *old_name, *org;
	int rc = load_matching(r, c, &rec, p);

	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(settable_members) / sizeof(settable_members[0]); i++)
		json_object_object_add(settable, settable_members[i],
			json_object_get(json_object_object_get(rec.o, settable_members[i])));
	merged = mergepatch_apply(settable, c->patch);
	rc = spec_from_json(merged, &spec, p);
	if (rc)
		return rc;
	if (json_object_deep_copy(rec.o, &after, NULL))
		abort();
	set_spec(after, &spec);
	if (json_object_equal(after, rec.o))
		return REGISTRY_NO_CHANGE;
	old_name = record_text(rec.o, "name");
	org = record_org(rec.o);
	rc = registry_build_rename(r, txn, org, "user", old_name, spec.name, c->id, p);
	if (rc)
		return rc;
	store_txn_expect(txn, KEY("/users/%s", c->id), rec.mod_revision);
	registry_put(txn, KEY("/users/%s", c->id), after);
	registry_audit_change(txn, c->actor, "user.change", "user", c->id, rec.o, after);
	return 0;
}

int user_change(struct registry *r, const struct actor *actor, const char *ref,
	struct json_object *patch, const char *if_match, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p)
{
	struct change c = {.actor = actor, .ref = ref, .patch = patch, .if_match = if_match};
	int rc = registry_transact(r, build_change, &c, NULL, p);

	if (rc < 0)
		return rc;
	memcpy(ret_id, c.id, sizeof(c.id));
	return 0;
}

/* -- delete -- */

static void remove_keys(struct store_txn *txn, const char *id, struct json_object *user)
{
	store_txn_delete(txn, KEY("/users/%s", id));
	store_txn_delete(
		txn, KEY("/names/%s/user/%s", record_org(user), record_text(user, "name")));
}

static int build_delete(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct change *c = ctx;
	CLEANUP(record) struct record rec = {0};
	int rc = load_matching(r, c, &rec, p);

	if (!rc)
		rc = apikey_build_delete_of_user(r, txn, record_org(rec.o), c->id, p);
	if (rc)
		return rc;
	store_txn_expect(txn, KEY("/users/%s", c->id), rec.mod_revision);
	remove_keys(txn, c->id, rec.o);
	registry_audit_change(txn, c->actor, "user.delete", "user", c->id, rec.o, NULL);
	return 0;
}

int user_delete(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p)
{
	struct change c = {.actor = actor, .ref = ref, .if_match = if_match};

	return registry_transact(r, build_delete, &c, NULL, p);
}

int user_build_delete_all(
	struct registry *r, struct store_txn *txn, const char *org, struct problem *p)
{
	CLEANUP(store_items) struct store_items names = {0};
	int rc = store_range(r->store, KEY("/names/%s/user/", org), NULL, 0, &names);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < names.count; i++) {
		char id[NETMAP_ID_MAX + 1];

		rc = registry_index_value(&names.items[i], id, p);
		if (rc)
			return rc;
		store_txn_delete(txn, KEY("/users/%s", id));
		store_txn_delete(txn, names.items[i].key);
	}
	return 0;
}
