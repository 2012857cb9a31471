/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/network.h"

#include <stdio.h>
#include <string.h>
#include "console-api/alloc.h"
#include "console-api/jointoken.h"
#include "console-api/member.h"
#include "lib/cleanup.h"
#include "lib/json.h"

static int cidr_from_json(struct json_object *o, const char *name, int family,
	struct cidr *ret_cidr, struct problem *p)
{
	const char *text = NULL;
	char pointer[16];
	struct err e = {0};
	struct cidr net;

	snprintf(pointer, sizeof(pointer), "/%s", name);
	if (family == AF_INET ? json_get_string(o, "", name, 1, 64, &text, &e)
			      : json_opt_string(o, "", name, 1, 64, &text, &e))
		return problem_from_json(p, &e);
	if (!text)
		return 0;
	if (!cidr_parse(text, &net))
		return problem_invalid(p, pointer, "%s: must be a network such as %s", pointer,
			family == AF_INET ? "172.16.1.0/24" : "fd00:1::/64");
	if (!alloc_cidr_usable(&net, family, &e))
		return problem_invalid(p, pointer, "%s: %s", pointer, e.text);
	*ret_cidr = net;
	return 0;
}

int network_spec_from_json(struct json_object *o, struct network_spec *ret_spec, struct problem *p)
{
	static const char *const known[] = {"name", "cidr", "cidr6", "encryption", "mtu", NULL};
	struct network_spec spec = {.mtu = NETMAP_MTU_DEFAULT, .encryption = NETMAP_AES_256_GCM};
	int64_t mtu = NETMAP_MTU_DEFAULT;
	const char *name, *encryption = NULL;
	struct err e = {0};
	int rc;

	if (json_only(o, "", known, &e) || json_get_string(o, "", "name", 1, 255, &name, &e) ||
		json_opt_string(o, "", "encryption", 1, 32, &encryption, &e) ||
		json_opt_int(o, "", "mtu", NETMAP_MTU_MIN, NETMAP_MTU_MAX, &mtu, &e))
		return problem_from_json(p, &e);
	if (!netmap_name_valid(name))
		return problem_invalid(p, "/name",
			"/name: must be 1 to 63 characters of a-z, 0-9 and -, no hyphen at the ends");
	if (encryption && !netmap_encryption_parse(encryption, &spec.encryption))
		return problem_invalid(
			p, "/encryption", "/encryption: must be \"aes-256-gcm\" or \"integrity\"");
	rc = cidr_from_json(o, "cidr", AF_INET, &spec.cidr, p);
	if (!rc)
		rc = cidr_from_json(o, "cidr6", AF_INET6, &spec.cidr6, p);
	if (rc)
		return rc;
	snprintf(spec.name, sizeof(spec.name), "%s", name);
	spec.mtu = (uint16_t)mtu;
	*ret_spec = spec;
	return 0;
}

static bool network_from_record(const struct record *rec, struct network *net)
{
	const char *cidr6 = record_text(rec->o, "cidr6");

	*net = (struct network){.mod_revision = rec->mod_revision};
	snprintf(net->id, sizeof(net->id), "%s", record_text(rec->o, "id"));
	snprintf(net->spec.name, sizeof(net->spec.name), "%s", record_text(rec->o, "name"));
	snprintf(net->created_at, sizeof(net->created_at), "%s", record_text(rec->o, "created_at"));
	net->van_id = (uint32_t)record_int(rec->o, "van_id");
	net->spec.mtu = (uint16_t)record_int(rec->o, "mtu");
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

int network_by_ref(struct registry *r, const char *ref, struct network *ret_net, struct problem *p)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = registry_resolve(r, "network", ref, id, p);

	if (!rc)
		rc = network_load(r, id, ret_net, p);
	if (rc == -ENOENT) /* between the two reads */
		return problem_set(p, 404, "not_found", "there is no network \"%.64s\"", ref);
	return rc;
}

static struct json_object *network_to_json(const struct network *net)
{
	struct json_object *o = json_object_new_object();
	char text[CIDR_TEXT_LEN];

	json_set_string(o, "id", net->id);
	json_set_string(o, "name", net->spec.name);
	cidr_format(&net->spec.cidr, text);
	json_set_string(o, "cidr", text);
	if (net->spec.cidr6.ip.family != AF_UNSPEC)
		cidr_format(&net->spec.cidr6, text);
	json_set_string(o, "cidr6", net->spec.cidr6.ip.family != AF_UNSPEC ? text : NULL);
	json_set_string(o, "encryption", netmap_encryption_name(net->spec.encryption));
	json_set_int(o, "mtu", net->spec.mtu);
	json_set_int(o, "van_id", net->van_id);
	json_set_string(o, "created_at", net->created_at);
	return o;
}

int network_view(struct registry *r, const struct network *net, struct json_object **ret_view,
	struct problem *p)
{
	uint64_t nodes = 0;
	int rc = store_count(r->store, KEY("/members/%s/", net->id), &nodes);

	if (rc)
		return problem_from_store(p, rc);
	*ret_view = network_to_json(net);
	json_set_int(*ret_view, "node_count", (int64_t)nodes);
	json_set_int(*ret_view, "revision", (int64_t)net->mod_revision);
	return 0;
}

/* -- create -- */

struct create {
	const struct actor *actor;
	struct network *net;
};

static int build_create(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct create *c = ctx;
	struct network *net = c->net;
	struct registry_key name_key = registry_key("/names/network/%s", net->spec.name);
	CLEANUP(json) struct json_object *o = NULL;
	char other[NETMAP_ID_MAX + 1];
	int rc = registry_index(r, name_key.text, other, NULL, p);

	if (!rc)
		return problem_set(p, 409, "name_taken",
			"there is a network \"%s\" already: choose another name", net->spec.name);
	if (rc != -ENOENT)
		return rc;
	/* Drawn anew at each try: a conflict may have been of these. */
	registry_new_id("net", net->id);
	net->van_id = alloc_random_van_id();
	registry_now_text(net->created_at);
	o = network_to_json(net);
	store_txn_expect(txn, name_key.text, 0);
	store_txn_expect(txn, KEY("/nets/%s", net->id), 0);
	store_txn_expect(txn, KEY("/van/%06x", net->van_id), 0);
	registry_put_index(txn, name_key.text, net->id);
	registry_put(txn, KEY("/nets/%s", net->id), o);
	registry_put_index(txn, KEY("/van/%06x", net->van_id), net->id);
	registry_touch_network(txn, net->id);
	registry_audit(txn, c->actor, "network.create", "network %s (%s)", net->id, net->spec.name);
	return 0;
}

int network_create(struct registry *r, const struct actor *actor, const struct network_spec *spec,
	struct network *ret_net, struct problem *p)
{
	struct network net = {.spec = *spec};
	struct create c = {.actor = actor, .net = &net};
	int rc = registry_transact(r, build_create, &c, &net.mod_revision, p);

	if (!rc)
		*ret_net = net;
	return rc;
}

/* -- delete -- */

struct delete
{
	const struct actor *actor;
	const char *ref;
	const char *if_match;
};

/*
 * Members and tokens go in the same transaction. Who adds one meanwhile touches /maprev/net/ID,
 * which is compared here; who adds one later finds the network's own key gone.
 */
static int build_delete(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct delete *d = ctx;
	CLEANUP(store_items) struct store_items members = {0};
	CLEANUP(store_item) struct store_item maprev = {0};
	struct network net = {0};
	int rc = network_by_ref(r, d->ref, &net, p);

	if (!rc)
		rc = registry_match(d->if_match, net.mod_revision, p);
	if (rc)
		return rc;
	rc = store_get(r->store, KEY("/maprev/net/%s", net.id), &maprev);
	if (!rc)
		rc = store_range(r->store, KEY("/members/%s/", net.id), NULL, 0, &members);
	if (rc)
		return problem_from_store(p, rc == -ENOENT ? -VAN_E_CORRUPT : rc);
	store_txn_expect(txn, KEY("/nets/%s", net.id), net.mod_revision);
	store_txn_expect(txn, KEY("/maprev/net/%s", net.id), maprev.mod_revision);
	for (size_t i = 0; i < members.count; i++) {
		rc = member_build_remove(
			r, txn, net.id, registry_key_tail(members.items[i].key), p);
		if (rc)
			return rc == -ENOENT ? problem_from_store(p, -EBUSY) : rc;
	}
	rc = jointoken_build_delete_all(r, txn, net.id, p);
	if (rc)
		return rc;
	store_txn_delete(txn, KEY("/nets/%s", net.id));
	store_txn_delete(txn, KEY("/names/network/%s", net.spec.name));
	store_txn_delete(txn, KEY("/van/%06x", net.van_id));
	store_txn_delete(txn, KEY("/maprev/net/%s", net.id));
	registry_audit(txn, d->actor, "network.delete", "network %s (%s), %zu members", net.id,
		net.spec.name, members.count);
	return 0;
}

int network_delete(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p)
{
	struct delete d = {.actor = actor, .ref = ref, .if_match = if_match};

	return registry_transact(r, build_delete, &d, NULL, p);
}

/* -- list -- */

int network_list(struct registry *r, const struct page *page, struct json_object **ret_list,
	struct problem *p)
{
	CLEANUP(store_items) struct store_items names = {0};
	CLEANUP(json) struct json_object *items = json_object_new_array();
	const char *last = NULL;
	int rc = store_range(r->store, "/names/network/",
		page->after ? KEY("/names/network/%.64s", page->after) : NULL, page->limit, &names);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < names.count; i++) {
		struct json_object *view = NULL;
		struct network net = {0};

		last = registry_key_tail(names.items[i].key);
		rc = network_by_ref(r, last, &net, p);
		if (!rc)
			rc = network_view(r, &net, &view, p);
		if (rc == -VAN_E_NOT_FOUND)
			continue; /* deleted meanwhile */
		if (rc)
			return rc;
		json_object_array_add(items, view);
	}
	*ret_list = page_result(STEAL(items), names.more, last);
	return 0;
}
