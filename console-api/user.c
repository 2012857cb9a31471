/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/user.h"

#include <stdlib.h>
#include <string.h>
#include "console-api/apikey.h"
#include "console-api/form.h"
#include "lib/cleanup.h"
#include "lib/json.h"

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

int user_list(struct registry *r, const char *org, const struct page *page,
	struct json_object **ret_list, struct problem *p)
{
	return registry_list_named(r, org, "user", user_view, page, ret_list, p);
}

/* -- create -- */

static int build_create(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct registry_edit *ed = ctx;
	CLEANUP(json) struct json_object *o = json_object_new_object();
	const char *org = ed->actor->org;
	struct user_spec spec;
	int rc = spec_from_json(ed->body, &spec, p);

	if (!rc)
		rc = quota_build_add(r, txn, org, QUOTA_USERS, 1, p);
	if (rc)
		return rc;
	set_spec(o, &spec);
	return registry_build_created(r, txn, org, "user", ed, o, p);
}

int user_create(struct registry *r, const struct actor *actor, struct json_object *body,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .body = body};

	return registry_edit(r, build_create, &ed, ret_id, p);
}

/* -- change -- */

static int build_change(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	static const char *const settable[] = {"name", "full_name", "role", "disabled", NULL};
	struct registry_edit *ed = ctx;
	CLEANUP(json) struct json_object *merged = NULL;
	CLEANUP(json) struct json_object *after = NULL;
	CLEANUP(record) struct record rec = {0};
	struct user_spec spec;
	int rc = registry_load_named(r, ed->actor->org, "user", ed, &rec, p);

	if (rc)
		return rc;
	record_empty_is_null(rec.o, "full_name");
	merged = registry_patched(rec.o, settable, ed->body);
	rc = spec_from_json(merged, &spec, p);
	if (rc)
		return rc;
	if (json_object_deep_copy(rec.o, &after, NULL))
		abort();
	set_spec(after, &spec);
	return registry_build_changed(r, txn, record_org(rec.o), "user", ed, &rec, after, p);
}

int user_change(struct registry *r, const struct actor *actor, const char *ref,
	struct json_object *patch, const char *if_match, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .ref = ref, .body = patch, .if_match = if_match};

	return registry_edit(r, build_change, &ed, ret_id, p);
}

/* -- delete -- */

static int build_delete(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct registry_edit *ed = ctx;
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load_named(r, ed->actor->org, "user", ed, &rec, p);

	if (!rc)
		rc = apikey_build_delete_of_user(r, txn, record_org(rec.o), ed->id, p);
	if (!rc)
		registry_build_deleted(txn, record_org(rec.o), "user", ed, &rec);
	return rc;
}

int user_delete(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .ref = ref, .if_match = if_match};

	return registry_edit(r, build_delete, &ed, NULL, p);
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
