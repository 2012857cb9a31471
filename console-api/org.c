/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/org.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/apikey.h"
#include "console-api/audit.h"
#include "console-api/form.h"
#include "console-api/user.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/log.h"

#define MIGRATE_STEP 30 /* keys in one transaction */

/* What a client may set. */
struct org_spec {
	char name[NETMAP_NAME_MAX + 1];
	char description[ORG_DESCRIPTION_MAX + 1];
	struct json_object *limits; /* owned; NULL: none of its own */
};

static int spec_from_json(struct json_object *o, struct org_spec *ret_spec, struct problem *p)
{
	struct form f;
	int rc;

	*ret_spec = (struct org_spec){0};
	form_init(&f, o, p);
	form_name(&f, "name", FORM_REQUIRED, ret_spec->name);
	form_line(&f, "description", FORM_OPTIONAL, ret_spec->description,
		sizeof(ret_spec->description));
	quota_read(&f, &ret_spec->limits);
	rc = form_end(&f);
	if (rc)
		json_object_put(ret_spec->limits);
	return rc;
}

/* Takes the limits. */
static void set_spec(struct json_object *o, const struct org_spec *spec)
{
	json_set_string(o, "name", spec->name);
	json_set_string(o, "description", spec->description[0] ? spec->description : NULL);
	if (spec->limits)
		json_object_object_add(o, "limits", spec->limits);
	else
		json_object_object_del(o, "limits");
}

int org_by_ref(struct registry *r, const struct actor *actor, const char *ref,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = registry_resolve(r, ORG_NONE, "organization", ref, id, p);

	if (rc)
		return rc;
	if (actor->role != ROLE_CONSOLE && strcmp(id, actor->org) != 0)
		return problem_not_found(p, "organization", ref);
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

int org_view(struct registry *r, const char *id, struct json_object **ret_view, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, KEY("/orgs/%s", id), &rec, p);

	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "organization", id) : rc;
	record_empty_is_null(rec.o, "description");
	json_object_object_add(
		rec.o, "limits", quota_view(json_object_object_get(rec.o, "limits")));
	json_set_int(rec.o, "revision", (int64_t)rec.mod_revision);
	*ret_view = STEAL(rec.o);
	return 0;
}

/* Of an index of names. */
static int view_named(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	const struct actor *actor = ctx;
	char id[NETMAP_ID_MAX + 1];
	int rc = registry_index_value(item, id, p);

	if (rc)
		return rc;
	if (actor->role != ROLE_CONSOLE && strcmp(id, actor->org) != 0)
		return -ENOENT;
	return org_view(r, id, ret_view, p);
}

int org_list(struct registry *r, const struct actor *actor, const struct page *page,
	struct json_object **ret_list, struct problem *p)
{
	return page_list(r, "/names/" ORG_NONE "/organization/", page, view_named,
		(void *)(uintptr_t)actor, ret_list, p);
}

/* -- create -- */

static int build_create(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct registry_edit *ed = ctx;
	CLEANUP(json) struct json_object *o = json_object_new_object();
	struct org_spec spec;
	int rc = spec_from_json(ed->body, &spec, p);

	if (rc)
		return rc;
	set_spec(o, &spec);
	rc = registry_build_created(r, txn, ORG_NONE, "organization", ed, o, p);
	if (!rc)
		store_txn_put(txn, KEY("/orgrev/%s", ed->id), "\"\"");
	return rc;
}

int org_create(struct registry *r, const struct actor *actor, struct json_object *body,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .body = body};

	return registry_edit(r, build_create, &ed, ret_id, p);
}

/* -- change -- */

static int load_matching(
	struct registry *r, struct registry_edit *ed, struct record *rec, struct problem *p)
{
	int rc = org_by_ref(r, ed->actor, ed->ref, ed->id, p); /* may it be seen? */

	if (!rc)
		rc = registry_load_named(r, ORG_NONE, "organization", ed, rec, p);
	if (!rc)
		record_empty_is_null(rec->o, "description");
	return rc;
}

static int build_change(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	static const char *const settable[] = {"name", "description", "limits", NULL};
	struct registry_edit *ed = ctx;
	CLEANUP(json) struct json_object *merged = NULL;
	CLEANUP(json) struct json_object *after = NULL;
	CLEANUP(record) struct record rec = {0};
	struct org_spec spec;
	int rc = load_matching(r, ed, &rec, p);

	if (rc)
		return rc;
	merged = registry_patched(rec.o, settable, ed->body);
	rc = spec_from_json(merged, &spec, p);
	if (rc)
		return rc;
	if (json_object_deep_copy(rec.o, &after, NULL))
		abort();
	set_spec(after, &spec);
	return registry_build_changed(r, txn, ORG_NONE, "organization", ed, &rec, after, p);
}

int org_change(struct registry *r, const struct actor *actor, const char *ref,
	struct json_object *patch, const char *if_match, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .ref = ref, .body = patch, .if_match = if_match};

	return registry_edit(r, build_change, &ed, ret_id, p);
}

/* -- delete -- */

static int count(struct registry *r, const char *prefix, uint64_t *sum, struct problem *p)
{
	uint64_t n = 0;
	int rc = store_count(r->store, prefix, &n);

	*sum += n;
	return rc ? problem_from_store(p, rc) : 0;
}

/* Who adds something to it meanwhile puts /orgrev/ID; who does so later finds it gone. */
static int build_delete(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct registry_edit *ed = ctx;
	CLEANUP(store_item) struct store_item mark = {0};
	CLEANUP(record) struct record rec = {0};
	const char *id = ed->id;
	uint64_t objects = 0;
	int rc = load_matching(r, ed, &rec, p);

	if (rc)
		return rc;
	if (!strcmp(id, ORG_DEFAULT))
		return problem_set(p, 409, "organization_in_use",
			"the organization \"%s\" is the first one, and stays",
			record_text(rec.o, "name"));
	rc = store_get(r->store, KEY("/orgrev/%s", id), &mark);
	if (rc)
		return problem_from_store(p, rc == -ENOENT ? -VAN_E_CORRUPT : rc);
	rc = count(r, KEY("/names/%s/network/", id), &objects, p);
	if (!rc)
		rc = count(r, KEY("/names/%s/node/", id), &objects, p);
	if (rc)
		return rc;
	if (objects)
		return problem_set(p, 409, "organization_in_use",
			"the organization \"%s\" has networks or nodes (%llu): delete those first",
			record_text(rec.o, "name"), (unsigned long long)objects);
	rc = apikey_build_delete_all(r, txn, id, p);
	if (!rc)
		rc = user_build_delete_all(r, txn, id, p);
	if (rc)
		return rc;
	store_txn_expect(txn, KEY("/orgrev/%s", id), mark.mod_revision);
	store_txn_delete(txn, KEY("/orgrev/%s", id));
	registry_build_deleted(txn, ORG_NONE, "organization", ed, &rec);
	return 0;
}

int org_delete(struct registry *r, const struct actor *actor, const char *ref, const char *if_match,
	struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .ref = ref, .if_match = if_match};

	return registry_edit(r, build_delete, &ed, NULL, p);
}

/* -- the first one -- */

void org_build_default(struct store_txn *txn)
{
	const struct org_spec spec = {.name = ORG_DEFAULT};
	CLEANUP(json) struct json_object *o = json_object_new_object();
	char now[21];

	registry_now_text(now);
	set_spec(o, &spec);
	json_set_string(o, "id", ORG_DEFAULT);
	json_set_string(o, "created_at", now);
	registry_put(txn, KEY("/orgs/%s", ORG_DEFAULT), o);
	registry_put_index(txn, "/names/" ORG_NONE "/organization/" ORG_DEFAULT, ORG_DEFAULT);
	store_txn_put(txn, KEY("/orgrev/%s", ORG_DEFAULT), "\"\"");
}

/* Moves /names/KIND/NAME to /names/default/KIND/NAME. */
static int migrate_names(struct registry *r, const char *kind)
{
	for (;;) {
		CLEANUP(store_items) struct store_items names = {0};
		CLEANUP(store_txn) struct store_txn txn;
		int rc = store_range(r->store, KEY("/names/%s/", kind), NULL, MIGRATE_STEP, &names);

		store_txn_init(&txn);
		if (rc || !names.count)
			return rc;
		for (size_t i = 0; i < names.count; i++) {
			store_txn_put(&txn,
				KEY("/names/%s/%s/%s", ORG_DEFAULT, kind,
					registry_key_tail(names.items[i].key)),
				names.items[i].value);
			store_txn_delete(&txn, names.items[i].key);
		}
		rc = store_commit(r->store, &txn, NULL);
		if (rc)
			return rc;
	}
}

static int migrate_tokens(struct registry *r)
{
	struct registry_key after = {0};
	bool more = true;

	while (more) {
		CLEANUP(store_items) struct store_items tokens = {0};
		CLEANUP(store_txn) struct store_txn txn;
		int rc = store_range(r->store, "/tokens/", after.text[0] ? after.text : NULL,
			MIGRATE_STEP, &tokens);

		store_txn_init(&txn);
		for (size_t i = 0; i < tokens.count; i++) {
			after = registry_key("%s", tokens.items[i].key);
			registry_put_index(&txn,
				KEY("/org-tokens/%s/%s", ORG_DEFAULT,
					registry_key_tail(after.text)),
				"");
		}
		if (!rc && tokens.count)
			rc = store_commit(r->store, &txn, NULL);
		if (rc)
			return rc;
		more = tokens.more;
	}
	return 0;
}

/* There was one key: the first one. It is the console administrator's. */
static int migrate_keys(struct registry *r)
{
	CLEANUP(store_items) struct store_items keys = {0};
	CLEANUP(store_txn) struct store_txn txn;
	int rc = store_range(r->store, "/apikeys/", NULL, 0, &keys);

	store_txn_init(&txn);
	for (size_t i = 0; !rc && i < keys.count; i++) {
		CLEANUP(json) struct json_object *o = NULL;
		const char *value = keys.items[i].value;

		if (json_parse(value, strlen(value), &o, NULL))
			return -VAN_E_CORRUPT;
		json_set_string(o, "org", ORG_DEFAULT);
		json_set_string(o, "role", role_name(ROLE_CONSOLE));
		registry_put(&txn, keys.items[i].key, o);
		apikey_build_index(&txn, ORG_DEFAULT, record_text(o, "id"),
			registry_key_tail(keys.items[i].key));
	}
	/* Last of all, so that an interrupted migration is taken up again. */
	org_build_default(&txn);
	return rc ? rc : store_commit(r->store, &txn, NULL);
}

int org_migrate(struct registry *r, struct err *e)
{
	CLEANUP(store_item) struct store_item first = {0};
	int rc = store_get(r->store, "/orgs/" ORG_DEFAULT, &first);

	if (!rc)
		return 0;
	if (rc == -ENOENT) {
		log_info("bringing the store of an older version up to date");
		rc = audit_migrate(r->store);
		if (!rc)
			rc = migrate_names(r, "network");
		if (!rc)
			rc = migrate_names(r, "node");
		if (!rc)
			rc = migrate_tokens(r);
		if (!rc)
			rc = migrate_keys(r);
	}
	return rc ? err_set(e, rc, "cannot bring the store up to date: %s", err_name(rc)) : 0;
}
