/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/network.h"

#include <stdio.h>
#include <string.h>
#include "console-api/alloc.h"
#include "console-api/audit.h"
#include "console-api/form.h"
#include "console-api/jointoken.h"
#include "console-api/member.h"
#include "console-api/netconf.h"
#include "console-api/network_empty.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/mergepatch.h"

static void read_prefix(
	struct form *f, const char *name, enum form_need need, int family, struct cidr *ret_cidr)
{
	struct err e = {0};
	struct cidr net;

	if (!form_cidr(f, name, need, family, &net))
		return;
	if (alloc_cidr_usable(&net, family, &e))
		*ret_cidr = net;
	else
		form_fail(f, name, "%s", e.text);
}

void network_spec_read(struct form *f, struct network_spec *ret_spec)
{
	static const char *const encryptions[] = {"aes-256-gcm", "integrity", NULL};
	struct network_spec spec = {0};
	int64_t mtu = NETMAP_MTU_DEFAULT;
	size_t encryption = 0;

	form_name(f, "name", FORM_REQUIRED, spec.name);
	read_prefix(f, "cidr", FORM_REQUIRED, AF_INET, &spec.cidr);
	read_prefix(f, "cidr6", FORM_OPTIONAL, AF_INET6, &spec.cidr6);
	form_word(f, "encryption", FORM_OPTIONAL, encryptions, &encryption);
	form_int(f, "mtu", FORM_OPTIONAL, NETMAP_MTU_MIN, NETMAP_MTU_MAX, &mtu);
	form_bool(f, "require_approval", FORM_OPTIONAL, &spec.require_approval);
	form_labels(f, "labels", &spec.labels);
	netmap_encryption_parse(encryptions[encryption], &spec.encryption);
	spec.mtu = (uint16_t)mtu;
	*ret_spec = spec;
}

int network_spec_from_json(struct json_object *o, struct network_spec *ret_spec, struct problem *p)
{
	struct network_spec spec;
	struct form f;
	int rc;

	form_init(&f, o, p);
	network_spec_read(&f, &spec);
	rc = form_end(&f);
	if (!rc)
		*ret_spec = spec;
	return rc;
}

static bool network_from_record(const struct record *rec, struct network *net)
{
	const char *cidr6 = record_text(rec->o, "cidr6");

	*net = (struct network){.mod_revision = rec->mod_revision};
	snprintf(net->id, sizeof(net->id), "%s", record_text(rec->o, "id"));
	snprintf(net->org, sizeof(net->org), "%s", record_org(rec->o));
	snprintf(net->spec.name, sizeof(net->spec.name), "%s", record_text(rec->o, "name"));
	snprintf(net->created_at, sizeof(net->created_at), "%s", record_text(rec->o, "created_at"));
	net->van_id = (uint32_t)record_int(rec->o, "van_id");
	net->spec.mtu = (uint16_t)record_int(rec->o, "mtu");
	net->spec.require_approval =
		json_object_get_boolean(json_object_object_get(rec->o, "require_approval"));
	return cidr_parse(record_text(rec->o, "cidr"), &net->spec.cidr) &&
	       (!cidr6[0] || cidr_parse(cidr6, &net->spec.cidr6)) &&
	       netmap_encryption_parse(record_text(rec->o, "encryption"), &net->spec.encryption);
}

int network_load(struct registry *r, const char *id, struct network *ret_net, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, KEY("/nets/%s", id), &rec, p);

	if (rc)
		return rc;
	return network_from_record(&rec, ret_net) ? 0 : problem_from_store(p, -VAN_E_CORRUPT);
}

int network_by_ref(struct registry *r, const char *org, const char *ref, struct network *ret_net,
	struct problem *p)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = registry_resolve(r, org, "network", ref, id, p);

	if (!rc)
		rc = network_load(r, id, ret_net, p);
	return rc == -ENOENT ? problem_not_found(p, "network", ref) : rc; /* between the reads */
}

struct json_object *network_spec_to_json(
	const struct network_spec *spec, struct json_object *labels)
{
	struct json_object *o = json_object_new_object();
	char text[CIDR_TEXT_LEN];

	json_set_string(o, "name", spec->name);
	cidr_format(&spec->cidr, text);
	json_set_string(o, "cidr", text);
	if (spec->cidr6.ip.family != AF_UNSPEC)
		cidr_format(&spec->cidr6, text);
	json_set_string(o, "cidr6", spec->cidr6.ip.family != AF_UNSPEC ? text : NULL);
	json_set_string(o, "encryption", netmap_encryption_name(spec->encryption));
	json_set_int(o, "mtu", spec->mtu);
	json_set_bool(o, "require_approval", spec->require_approval);
	json_object_object_add(
		o, "labels", labels ? json_object_get(labels) : json_object_new_object());
	return o;
}

struct json_object *network_to_json(const struct network *net, struct json_object *labels)
{
	struct json_object *o = network_spec_to_json(&net->spec, labels);

	json_set_string(o, "id", net->id);
	json_set_string(o, "org", net->org);
	json_set_int(o, "van_id", net->van_id);
	json_set_string(o, "created_at", net->created_at);
	return o;
}

int network_view(
	struct registry *r, const char *id, struct json_object **ret_view, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	struct network net;
	uint64_t nodes = 0;
	int rc = registry_load(r, KEY("/nets/%s", id), &rec, p);

	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "network", id) : rc;
	if (!network_from_record(&rec, &net))
		return problem_from_store(p, -VAN_E_CORRUPT);
	rc = store_count(r->store, KEY("/members/%s/", id), &nodes);
	if (rc)
		return problem_from_store(p, rc);
	*ret_view = network_to_json(&net, json_object_object_get(rec.o, "labels"));
	json_object_object_del(*ret_view, "org");
	json_set_int(*ret_view, "node_count", (int64_t)nodes);
	json_set_int(*ret_view, "revision", (int64_t)net.mod_revision);
	return 0;
}

/* -- create -- */

struct create {
	const struct actor *actor;
	struct network *net;
};

int network_build_create(struct registry *r, struct store_txn *txn, struct network *net,
	struct json_object **ret_record, struct problem *p)
{
	struct json_object *o;
	int rc;

	/* Drawn anew at each try: a conflict may have been of these. */
	registry_new_id("net", net->id);
	net->van_id = alloc_random_van_id();
	registry_now_text(net->created_at);
	rc = quota_build_add(r, txn, net->org, QUOTA_NETWORKS, 1, p);
	if (!rc)
		rc = registry_build_name(r, txn, net->org, "network", net->spec.name, net->id, p);
	if (rc)
		return rc;
	o = network_to_json(net, net->spec.labels);
	store_txn_expect(txn, KEY("/nets/%s", net->id), 0);
	store_txn_expect(txn, KEY("/van/%06x", net->van_id), 0);
	registry_put(txn, KEY("/nets/%s", net->id), o);
	registry_put_index(txn, KEY("/van/%06x", net->van_id), net->id);
	registry_touch_network(txn, net->id);
	*ret_record = o;
	return 0;
}

static int build_create(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct create *c = ctx;
	CLEANUP(json) struct json_object *o = NULL;
	int rc = network_build_create(r, txn, c->net, &o, p);

	if (!rc)
		registry_audit_change(
			txn, c->actor, "network.create", "network", c->net->id, NULL, o);
	return rc;
}

int network_create(struct registry *r, const struct actor *actor, const struct network_spec *spec,
	struct network *ret_net, struct problem *p)
{
	struct network net = {.spec = *spec};
	struct create c = {.actor = actor, .net = &net};
	int rc;

	memcpy(net.org, actor->org, sizeof(net.org));
	rc = registry_transact(r, build_create, &c, &net.mod_revision, p);
	net.spec.labels = NULL;
	if (!rc)
		*ret_net = net;
	return rc;
}

/* -- change -- */

static bool same_prefix(const struct cidr *a, const struct cidr *b)
{
	return a->ip.family == b->ip.family && a->prefix == b->prefix &&
	       (a->ip.family == AF_UNSPEC || !ip_compare(&a->ip, &b->ip));
}

/* What all members live by cannot change under them. */
static int check_fixed(
	const struct network_spec *old, const struct network_spec *new, struct problem *p)
{
	static const char why[] = "cannot be changed: make another network and move the nodes";

	if (!same_prefix(&old->cidr, &new->cidr))
		problem_invalid(p, "/cidr", "/cidr: %s", why);
	if (!same_prefix(&old->cidr6, &new->cidr6))
		problem_invalid(p, "/cidr6", "/cidr6: %s", why);
	if (old->encryption != new->encryption)
		problem_invalid(p, "/encryption", "/encryption: %s", why);
	return p->error_count ? -VAN_E_INVALID : 0;
}

static int build_change(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct registry_edit *ed = ctx;
	CLEANUP(json) struct json_object *before = NULL;
	CLEANUP(json) struct json_object *merged = NULL;
	CLEANUP(json) struct json_object *after = NULL;
	CLEANUP(record) struct record rec = {0};
	struct network net, old;
	int rc = registry_load_named(r, ed->actor->org, "network", ed, &rec, p);

	if (rc)
		return rc;
	if (!network_from_record(&rec, &old))
		return problem_from_store(p, -VAN_E_CORRUPT);
	net = old;
	before = network_spec_to_json(&old.spec, json_object_object_get(rec.o, "labels"));
	merged = mergepatch_apply(before, ed->body);
	rc = network_spec_from_json(merged, &net.spec, p);
	if (!rc)
		rc = check_fixed(&old.spec, &net.spec, p);
	if (rc)
		return rc;
	after = network_to_json(&net, net.spec.labels);
	rc = registry_build_changed(r, txn, net.org, "network", ed, &rec, after, p);
	if (!rc)
		registry_touch_network(txn, net.id);
	return rc;
}

int network_change(struct registry *r, const struct actor *actor, const char *ref,
	struct json_object *patch, const char *if_match, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .ref = ref, .body = patch, .if_match = if_match};

	return registry_edit(r, build_change, &ed, ret_id, p);
}

/* -- delete -- */

/*
 * Members and tokens go in the same transaction. Who adds one meanwhile touches /maprev/net/ID,
 * which is compared here; who adds one later finds the network's own key gone.
 */
static int build_delete(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct registry_edit *ed = ctx;
	CLEANUP(store_items) struct store_items members = {0};
	CLEANUP(store_item) struct store_item maprev = {0};
	CLEANUP(record) struct record rec = {0};
	struct network net;
	int rc = registry_load_named(r, ed->actor->org, "network", ed, &rec, p);

	if (rc)
		return rc;
	if (!network_from_record(&rec, &net))
		return problem_from_store(p, -VAN_E_CORRUPT);
	rc = store_get(r->store, KEY("/maprev/net/%s", net.id), &maprev);
	if (!rc)
		rc = store_range(r->store, KEY("/members/%s/", net.id), NULL, 0, &members);
	if (rc)
		return problem_from_store(p, rc == -ENOENT ? -VAN_E_CORRUPT : rc);
	store_txn_expect(txn, KEY("/maprev/net/%s", net.id), maprev.mod_revision);
	for (size_t i = 0; i < members.count; i++) {
		rc = member_build_remove(
			r, txn, net.id, registry_key_tail(members.items[i].key), p);
		if (rc)
			return rc == -ENOENT ? problem_from_store(p, -EBUSY) : rc;
	}
	rc = jointoken_build_delete_all(r, txn, net.id, p);
	if (!rc)
		rc = netconf_build_delete_all(r, txn, net.id, p);
	if (rc)
		return rc;
	store_txn_delete(txn, KEY("/van/%06x", net.van_id));
	store_txn_delete(txn, KEY("/maprev/net/%s", net.id));
	registry_build_deleted(txn, net.org, "network", ed, &rec);
	return 0;
}

int network_delete(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .ref = ref, .if_match = if_match};
	int rc = registry_edit(r, build_delete, &ed, NULL, p);

	/* More than the store takes at once: part by part. */
	while (rc == -E2BIG) {
		*p = (struct problem){0};
		rc = network_empty_some(r, actor, ref, if_match, p);
		if (!rc)
			rc = registry_edit(r, build_delete, &ed, NULL, p);
	}
	return rc;
}

/* -- list -- */

int network_list(struct registry *r, const char *org, const struct page *page,
	struct json_object **ret_list, struct problem *p)
{
	return registry_list_named(r, org, "network", network_view, page, ret_list, p);
}
