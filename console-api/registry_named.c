/* SPDX-License-Identifier: Apache-2.0 */
/* What objects with a name in an organization have in common (registry.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/audit.h"
#include "console-api/registry.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/mergepatch.h"

static const struct {
	const char *kind, *keys, *id_prefix;
} kinds[] = {
	{"network", "nets", "net"},
	{"node", "nodes", "node"},
	{"organization", "orgs", "org"},
	{"user", "users", "user"},
};

static size_t kind_of(const char *kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].kind, kind))
			return i;
	abort(); /* a caller's bug */
}

static struct registry_key key_of(const char *kind, const char *id)
{
	return registry_key("/%s/%s", kinds[kind_of(kind)].keys, id);
}

static struct registry_key name_key(const char *org, const char *kind, const char *name)
{
	return registry_key("/names/%s/%s/%s", org, kind, name);
}

/* -- finding -- */

/* An id first: a name that was chosen to look like one cannot hide it. */
static int resolve_id(
	struct registry *r, const char *org, const char *kind, const char *ref, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	int rc = -ENOENT;

	if (ref[0] && strlen(ref) <= NETMAP_ID_MAX && !strchr(ref, '/'))
		rc = registry_load(r, key_of(kind, ref).text, &rec, p);
	if (!rc && strcmp(org, ORG_NONE) != 0 && strcmp(record_org(rec.o), org) != 0)
		rc = -ENOENT;
	return rc;
}

int registry_resolve(struct registry *r, const char *org, const char *kind, const char *ref,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	int rc = resolve_id(r, org, kind, ref, p);

	if (!rc) {
		memcpy(ret_id, ref, strlen(ref) + 1);
		return 0;
	}
	if (rc == -ENOENT && netmap_name_valid(ref))
		rc = registry_index(r, name_key(org, kind, ref).text, ret_id, NULL, p);
	return rc == -ENOENT ? problem_not_found(p, kind, ref) : rc;
}

int registry_load_named(struct registry *r, const char *org, const char *kind,
	struct registry_edit *ed, struct record *ret_rec, struct problem *p)
{
	int rc = registry_resolve(r, org, kind, ed->ref, ed->id, p);

	if (!rc)
		rc = registry_load(r, key_of(kind, ed->id).text, ret_rec, p);
	if (rc)
		return rc == -ENOENT ? problem_not_found(p, kind, ed->ref) : rc;
	return registry_match(ed->if_match, ret_rec->mod_revision, p);
}

struct naming {
	registry_view *view;
};

static int view_named(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	const struct naming *n = ctx;
	char id[NETMAP_ID_MAX + 1];
	int rc = registry_index_value(item, id, p);

	return rc ? rc : n->view(r, id, ret_view, p);
}

int registry_list_named(struct registry *r, const char *org, const char *kind, registry_view *view,
	const struct page *page, struct json_object **ret_list, struct problem *p)
{
	struct naming n = {.view = view};

	return page_list(r, name_key(org, kind, "").text, page, view_named, &n, ret_list, p);
}

/* -- names -- */

int registry_build_name(struct registry *r, struct store_txn *txn, const char *org,
	const char *kind, const char *name, const char *id, struct problem *p)
{
	struct registry_key key = name_key(org, kind, name);
	char holder[NETMAP_ID_MAX + 1];
	int rc = registry_index(r, key.text, holder, NULL, p);

	if (!rc)
		return problem_set(p, 409, "name_taken",
			"there is %s %s \"%s\" already: choose another name",
			kind[0] == 'o' ? "an" : "a", kind, name); /* organization */
	if (rc != -ENOENT)
		return rc;
	store_txn_expect(txn, key.text, 0);
	registry_put_index(txn, key.text, id);
	return 0;
}

int registry_build_rename(struct registry *r, struct store_txn *txn, const char *org,
	const char *kind, const char *old, const char *name, const char *id, struct problem *p)
{
	int rc;

	if (strcmp(old, name) == 0)
		return 0;
	rc = registry_build_name(r, txn, org, kind, name, id, p);
	if (!rc)
		store_txn_delete(txn, name_key(org, kind, old).text);
	return rc;
}

/* -- changing -- */

int registry_edit(struct registry *r, registry_build *build, struct registry_edit *ed, char *ret_id,
	struct problem *p)
{
	int rc = registry_transact(r, build, ed, NULL, p);

	if (rc < 0)
		return rc;
	if (ret_id)
		memcpy(ret_id, ed->id, sizeof(ed->id));
	return 0;
}

struct json_object *registry_patched(
	struct json_object *record, const char *const *members, struct json_object *patch)
{
	CLEANUP(json) struct json_object *settable = json_object_new_object();

	for (; *members; members++)
		json_object_object_add(settable, *members,
			json_object_get(json_object_object_get(record, *members)));
	return mergepatch_apply(settable, patch);
}

static void audit(struct store_txn *txn, const struct registry_edit *ed, const char *kind,
	const char *verb, struct json_object *before, struct json_object *after)
{
	char action[64];

	snprintf(action, sizeof(action), "%s.%s", kind, verb);
	registry_audit_change(txn, ed->actor, action, kind, ed->id, before, after);
}

int registry_build_created(struct registry *r, struct store_txn *txn, const char *org,
	const char *kind, struct registry_edit *ed, struct json_object *o, struct problem *p)
{
	struct registry_key key;
	char now[21];
	int rc;

	registry_new_id(kinds[kind_of(kind)].id_prefix, ed->id);
	key = key_of(kind, ed->id);
	rc = registry_build_name(r, txn, org, kind, record_text(o, "name"), ed->id, p);
	if (rc)
		return rc;
	registry_now_text(now);
	json_set_string(o, "id", ed->id);
	if (strcmp(org, ORG_NONE) != 0)
		json_set_string(o, "org", org);
	json_set_string(o, "created_at", now);
	store_txn_expect(txn, key.text, 0);
	registry_put(txn, key.text, o);
	audit(txn, ed, kind, "create", NULL, o);
	return 0;
}

int registry_build_changed(struct registry *r, struct store_txn *txn, const char *org,
	const char *kind, struct registry_edit *ed, const struct record *before,
	struct json_object *after, struct problem *p)
{
	struct registry_key key = key_of(kind, ed->id);
	int rc;

	if (json_object_equal(after, before->o))
		return REGISTRY_NO_CHANGE;
	rc = registry_build_rename(r, txn, org, kind, record_text(before->o, "name"),
		record_text(after, "name"), ed->id, p);
	if (rc)
		return rc;
	store_txn_expect(txn, key.text, before->mod_revision);
	registry_put(txn, key.text, after);
	audit(txn, ed, kind, "change", before->o, after);
	return 0;
}

void registry_build_deleted(struct store_txn *txn, const char *org, const char *kind,
	struct registry_edit *ed, const struct record *rec)
{
	struct registry_key key = key_of(kind, ed->id);

	store_txn_expect(txn, key.text, rec->mod_revision);
	store_txn_delete(txn, key.text);
	store_txn_delete(txn, name_key(org, kind, record_text(rec->o, "name")).text);
	audit(txn, ed, kind, "delete", rec->o, NULL);
}
