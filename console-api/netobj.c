/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/netobj.h"

#include <stdio.h>
#include <string.h>
#include "console-api/audit.h"
#include "console-api/form.h"
#include "console-api/netconf.h"
#include "console-api/page.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/mergepatch.h"

static int not_there(const struct netobj_kind *kind, const struct network *net, const char *ref,
	struct problem *p)
{
	return problem_set(p, 404, "not_found", "there is no %s \"%.64s\" in network \"%s\"",
		kind->called, ref, net->spec.name);
}

static struct registry_key key_of(
	const struct netobj_kind *kind, const char *net_id, const char *id)
{
	return registry_key("/%s/%s/%s", kind->folder, net_id, id);
}

/* -- reading -- */

int netobj_each(struct registry *r, const struct netobj_kind *kind, const char *net_id,
	netobj_visit *visit, void *ctx, struct problem *p)
{
	CLEANUP(store_items) struct store_items items = {0};
	int rc = store_range(r->store, KEY("/%s/%s/", kind->folder, net_id), NULL, 0, &items);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < items.count && !rc; i++) {
		CLEANUP(json) struct json_object *record = NULL;
		const struct store_item *item = &items.items[i];

		if (json_parse(item->value, strlen(item->value), &record, NULL))
			return problem_from_store(p, -VAN_E_CORRUPT);
		rc = visit(ctx, registry_key_tail(item->key), record, item->mod_revision, p);
	}
	return rc;
}

struct search {
	const struct netobj_kind *kind;
	const char *ref;
	struct record found;
};

static int look_at(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	struct search *s = ctx;

	(void)id;
	(void)p;
	if (!s->kind->answers_to(record, s->ref))
		return 0;
	s->found = (struct record){.o = json_object_get(record), .mod_revision = revision};
	return 1;
}

/* By id, else by what the kind says. 404 when there is none. */
static int find(struct registry *r, const struct netobj_kind *kind, const struct network *net,
	const char *ref, struct record *ret_rec, struct problem *p)
{
	struct search s = {.kind = kind, .ref = ref};
	int rc = -ENOENT;

	if (ref[0] && strlen(ref) <= NETMAP_ID_MAX && !strchr(ref, '/'))
		rc = registry_load(r, key_of(kind, net->id, ref).text, ret_rec, p);
	if (rc != -ENOENT)
		return rc;
	rc = netobj_each(r, kind, net->id, look_at, &s, p);
	if (rc < 0)
		return rc;
	if (!rc)
		return not_there(kind, net, ref, p);
	*ret_rec = s.found;
	return 0;
}

int netobj_render(struct registry *r, const struct netobj_kind *kind, const struct network *net,
	struct json_object *record, uint64_t revision, struct json_object **ret_view,
	struct problem *p)
{
	CLEANUP(json) struct json_object *view = json_object_new_object();
	int rc = 0;

	json_set_string(view, "id", record_text(record, "id"));
	json_set_string(view, "network", net->id);
	json_set_string(view, "network_name", net->spec.name);
	json_object_object_foreach(record, name, value)
		json_object_object_add(view, name, json_object_get(value));
	if (kind->dress)
		rc = kind->dress(r, net, view, p);
	if (rc)
		return rc;
	json_set_int(view, "revision", (int64_t)revision);
	*ret_view = STEAL(view);
	return 0;
}

int netobj_view(struct registry *r, const struct netobj_kind *kind, const char *org,
	const char *net_ref, const char *ref, struct json_object **ret_view, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	struct network net;
	int rc = network_by_ref(r, org, net_ref, &net, p);

	if (!rc)
		rc = find(r, kind, &net, ref, &rec, p);
	return rc ? rc : netobj_render(r, kind, &net, rec.o, rec.mod_revision, ret_view, p);
}

struct listing {
	const struct netobj_kind *kind;
	struct network net;
};

static int view_item(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	const struct listing *l = ctx;
	CLEANUP(json) struct json_object *record = NULL;

	if (json_parse(item->value, strlen(item->value), &record, NULL))
		return problem_from_store(p, -VAN_E_CORRUPT);
	return netobj_render(r, l->kind, &l->net, record, item->mod_revision, ret_view, p);
}

int netobj_list(struct registry *r, const struct netobj_kind *kind, const char *org,
	const char *net_ref, const struct page *page, struct json_object **ret_list,
	struct problem *p)
{
	struct listing l = {.kind = kind};
	int rc = network_by_ref(r, org, net_ref, &l.net, p);

	return rc ? rc
		  : page_list(r, KEY("/%s/%s/", kind->folder, l.net.id), page, view_item, &l,
			    ret_list, p);
}

/* -- parts of transactions -- */

struct json_object *netobj_spec(struct json_object *record)
{
	struct json_object *spec = json_object_new_object();

	json_object_object_foreach(record, name, value)
	{
		if (strcmp(name, "id") != 0 && strcmp(name, "created_at") != 0)
			json_object_object_add(spec, name, json_object_get(value));
	}
	return spec;
}

void netobj_build_put(struct store_txn *txn, const struct netobj_kind *kind, const char *net_id,
	const char *id, struct json_object *before, struct json_object *spec)
{
	CLEANUP(json) struct json_object *record = netobj_spec(spec);
	char now[21];

	registry_now_text(now);
	json_set_string(record, "id", id);
	json_set_string(record, "created_at", before ? record_text(before, "created_at") : now);
	registry_put(txn, key_of(kind, net_id, id).text, record);
	if (kind->claim)
		kind->claim(txn, net_id, id, before, record);
	if (kind->touch && before)
		kind->touch(txn, before);
	if (kind->touch)
		kind->touch(txn, record);
}

void netobj_build_delete(struct store_txn *txn, const struct netobj_kind *kind, const char *net_id,
	const char *id, struct json_object *record)
{
	store_txn_delete(txn, key_of(kind, net_id, id).text);
	if (kind->claim)
		kind->claim(txn, net_id, id, record, NULL);
	if (kind->touch)
		kind->touch(txn, record);
}

/* -- create -- */

struct edit {
	struct registry_edit e;
	const struct netobj_kind *kind;
	const char *net_ref;
};

static int too_many(
	const struct edit *ed, const struct network *net, uint64_t count, struct problem *p)
{
	int rc = problem_set(p, 409, "limit_reached",
		"network \"%s\" has %zu %ss, as many as there may be", net->spec.name,
		ed->kind->max, ed->kind->called);

	quota_problem(p, ed->kind->quota, ed->kind->max, count);
	return rc;
}

static void audit(struct store_txn *txn, const struct edit *ed, const char *verb,
	struct json_object *before, struct json_object *after)
{
	char action[64];

	snprintf(action, sizeof(action), "%s.%s", ed->kind->noun, verb);
	registry_audit_change(txn, ed->e.actor, action, ed->kind->noun, ed->e.id, before, after);
}

static int build_create(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct edit *ed = ctx;
	CLEANUP(json) struct json_object *spec = NULL;
	CLEANUP(netconf) struct netconf conf = {0};
	uint64_t count = 0;
	struct form f;
	int rc = netconf_load(r, txn, ed->e.actor->org, ed->net_ref, NULL, &conf, p);

	if (rc)
		return rc;
	rc = store_count(r->store, KEY("/%s/%s/", ed->kind->folder, conf.net.id), &count);
	if (rc)
		return problem_from_store(p, rc);
	if (count >= ed->kind->max)
		return too_many(ed, &conf.net, count, p);
	rc = quota_build_add(r, txn, conf.net.org, ed->kind->quota, 1, p);
	if (rc)
		return rc;
	registry_new_id(ed->kind->id_prefix, ed->e.id);
	form_init(&f, ed->e.body, p);
	rc = ed->kind->settle(&conf, ed->e.id, &f, &spec, p);
	if (!rc)
		rc = netconf_build_change(r, txn, &conf.net, p);
	if (rc)
		return rc;
	netobj_build_put(txn, ed->kind, conf.net.id, ed->e.id, NULL, spec);
	audit(txn, ed, "create", NULL, spec);
	return 0;
}

int netobj_create(struct registry *r, const struct actor *actor, const struct netobj_kind *kind,
	const char *net_ref, struct json_object *body, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p)
{
	struct edit ed = {.e = {.actor = actor, .body = body}, .kind = kind, .net_ref = net_ref};

	return registry_edit(r, build_create, &ed.e, ret_id, p);
}

/* -- change -- */

static int build_change(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct edit *ed = ctx;
	CLEANUP(record) struct record rec = {0};
	CLEANUP(netconf) struct netconf conf = {0};
	CLEANUP(json) struct json_object *before = NULL;
	CLEANUP(json) struct json_object *merged = NULL;
	CLEANUP(json) struct json_object *after = NULL;
	struct network net;
	struct form f;
	int rc = network_by_ref(r, ed->e.actor->org, ed->net_ref, &net, p);

	if (!rc)
		rc = find(r, ed->kind, &net, ed->e.ref, &rec, p);
	if (!rc)
		rc = registry_match(ed->e.if_match, rec.mod_revision, p);
	if (rc)
		return rc;
	snprintf(ed->e.id, sizeof(ed->e.id), "%s", record_text(rec.o, "id"));
	rc = netconf_load(r, txn, net.org, net.id, ed->e.id, &conf, p);
	if (rc)
		return rc;
	before = netobj_spec(rec.o);
	merged = mergepatch_apply(before, ed->e.body);
	form_init(&f, merged, p);
	rc = ed->kind->settle(&conf, ed->e.id, &f, &after, p);
	if (rc)
		return rc;
	if (json_object_equal(before, after))
		return REGISTRY_NO_CHANGE;
	rc = netconf_build_change(r, txn, &conf.net, p);
	if (rc)
		return rc;
	netobj_build_put(txn, ed->kind, net.id, ed->e.id, rec.o, after);
	audit(txn, ed, "change", before, after);
	return 0;
}

int netobj_change(struct registry *r, const struct actor *actor, const struct netobj_kind *kind,
	const char *net_ref, const char *ref, struct json_object *patch, const char *if_match,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	struct edit ed = {.e = {.actor = actor, .ref = ref, .body = patch, .if_match = if_match},
		.kind = kind,
		.net_ref = net_ref};

	return registry_edit(r, build_change, &ed.e, ret_id, p);
}

/* -- delete -- */

static int build_delete(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct edit *ed = ctx;
	CLEANUP(record) struct record rec = {0};
	struct network net;
	int rc = network_by_ref(r, ed->e.actor->org, ed->net_ref, &net, p);

	if (!rc)
		rc = find(r, ed->kind, &net, ed->e.ref, &rec, p);
	if (!rc)
		rc = registry_match(ed->e.if_match, rec.mod_revision, p);
	if (!rc)
		rc = netconf_build_change(r, txn, &net, p);
	if (rc)
		return rc;
	snprintf(ed->e.id, sizeof(ed->e.id), "%s", record_text(rec.o, "id"));
	netobj_build_delete(txn, ed->kind, net.id, ed->e.id, rec.o);
	audit(txn, ed, "delete", rec.o, NULL);
	return 0;
}

int netobj_delete(struct registry *r, const struct actor *actor, const struct netobj_kind *kind,
	const char *net_ref, const char *ref, const char *if_match, struct problem *p)
{
	struct edit ed = {.e = {.actor = actor, .ref = ref, .if_match = if_match},
		.kind = kind,
		.net_ref = net_ref};

	return registry_edit(r, build_delete, &ed.e, NULL, p);
}
