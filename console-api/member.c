/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/alloc.h"
#include "console-api/audit.h"
#include "console-api/events.h"
#include "console-api/netconf.h"
#include "console-api/node.h"
#include "console-api/reservation.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

/* -- addresses -- */

/* For whom an address is looked for, and what is held for whom in the network. */
struct claimant {
	const char *id;
	const char *name;
	struct reservations reserved;
};

/* The transaction relies on the reservations being as they are read here. */
static int load_reservations(struct registry *r, struct store_txn *txn, const char *net_id,
	struct claimant *who, struct problem *p)
{
	int rc = netconf_expect(r, txn, net_id, p);

	return rc ? rc : reservations_load(r, net_id, &who->reserved, p);
}

/* 409 that names who has the address. */
static int address_taken(struct registry *r, const char *net_id, const struct ip *ip,
	const char *holder, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	char text[IP_TEXT_LEN];
	int rc = node_load(r, holder, &rec, p);

	ip_format(ip, text);
	if (rc == -ENOENT)
		rc = registry_load(r, KEY("/%s/%s/%s", fip_kind.folder, net_id, holder), &rec, p);
	else if (!rc)
		return problem_set(p, 409, "address_taken",
			"%s is the address of node \"%s\": choose another, or move that node first",
			text, record_text(rec.o, "name"));
	if (rc && rc != -ENOENT)
		return rc;
	return problem_set(p, 409, "address_taken",
		"%s is the floating IP %s: choose another, or delete that one first", text,
		!rc && record_text(rec.o, "name")[0] ? record_text(rec.o, "name") : holder);
}

/* Expects the address to be free, and takes it. */
static int take_address(struct registry *r, struct store_txn *txn, const char *net_id,
	const struct claimant *who, const struct ip *ip, struct problem *p)
{
	const struct reservation *res =
		reservations_find(who->reserved.items, who->reserved.count, ip);
	char text[ALLOC_ADDRESS_KEY_LEN], holder[NETMAP_ID_MAX + 1];
	int rc;

	alloc_address_key(ip, text);
	rc = registry_index(r, KEY("/addr/%s/%s", net_id, text), holder, NULL, p);
	if (!rc)
		return address_taken(r, net_id, ip, holder, p);
	if (rc != -ENOENT)
		return rc;
	if (res && strcmp(res->node, who->name) != 0)
		return reservation_conflict(res, ip, "/address", p);
	store_txn_expect(txn, KEY("/addr/%s/%s", net_id, text), 0);
	registry_put_index(txn, KEY("/addr/%s/%s", net_id, text), who->id);
	return 0;
}

/* The reserved one, or the lowest that nobody has and that is held for nobody. */
static int assign_address(struct registry *r, const char *net_id, const struct cidr *cidr,
	const struct claimant *who, struct ip *ret_ip, struct problem *p)
{
	const struct reservation *own = reservations_of_node(
		who->reserved.items, who->reserved.count, who->name, cidr->ip.family);
	CLEANUP(store_items) struct store_items held = {0};
	CLEANUP(free) struct ip_range *ranges = NULL;
	CLEANUP(free) struct ip *ips = NULL;
	char text[CIDR_TEXT_LEN];
	size_t n = 0, range_count = 0;
	int rc;

	if (own) {
		*ret_ip = own->range.first;
		return 0;
	}
	rc = store_range(r->store,
		KEY("/addr/%s/%c", net_id, cidr->ip.family == AF_INET ? '4' : '6'), NULL, 0, &held);
	if (rc)
		return problem_from_store(p, rc);
	ips = xcalloc(held.count, sizeof(*ips));
	for (size_t i = 0; i < held.count; i++)
		if (alloc_address_from_key(registry_key_tail(held.items[i].key), &ips[n]))
			n++;
	ranges = xcalloc(who->reserved.count, sizeof(*ranges));
	for (size_t i = 0; i < who->reserved.count; i++)
		if (who->reserved.items[i].range.first.family == cidr->ip.family)
			ranges[range_count++] = who->reserved.items[i].range;
	if (!alloc_first_free(cidr, ips, n, ranges, range_count, ret_ip))
		return 0;
	cidr_format(cidr, text);
	return problem_set(p, 409, "network_full",
		"all addresses of %s are taken or reserved: remove nodes or reservations, or use a "
		"larger network",
		text);
}

/* The wish if it is of this family, else an assigned one; appended to ips as text. */
static int add_address(struct registry *r, struct store_txn *txn, const struct network *net,
	const struct cidr *cidr, const struct claimant *who, const struct ip *wish,
	struct json_object *ips, struct problem *p)
{
	struct cidr own = {.prefix = cidr->prefix};
	char text[CIDR_TEXT_LEN];
	int rc;

	if (cidr->ip.family == AF_UNSPEC)
		return 0;
	if (wish && wish->family == cidr->ip.family) {
		struct err e = {0};

		if (!alloc_address_usable(cidr, wish, &e))
			return problem_invalid(p, "/address", "%s", e.text);
		own.ip = *wish;
	} else {
		rc = assign_address(r, net->id, cidr, who, &own.ip, p);
		if (rc)
			return rc;
	}
	rc = take_address(r, txn, net->id, who, &own.ip, p);
	if (rc)
		return rc;
	cidr_format(&own, text);
	json_object_array_add(ips, json_object_new_string(text));
	return 0;
}

static int check_family(const struct network *net, const struct ip *ip, struct problem *p)
{
	if (ip->family == AF_INET6 && net->spec.cidr6.ip.family == AF_UNSPEC)
		return problem_invalid(p, "/address",
			"network \"%s\" has no IPv6 prefix: choose an IPv4 address",
			net->spec.name);
	return 0;
}

/* -- parts of transactions -- */

static int add_addresses(struct registry *r, struct store_txn *txn, const struct network *net,
	struct claimant *who, const struct ip *wish, struct json_object *ips, struct problem *p)
{
	int rc = wish ? check_family(net, wish, p) : 0;

	if (!rc)
		rc = load_reservations(r, txn, net->id, who, p);
	if (!rc)
		rc = add_address(r, txn, net, &net->spec.cidr, who, wish, ips, p);
	if (!rc)
		rc = add_address(r, txn, net, &net->spec.cidr6, who, wish, ips, p);
	return rc;
}

int member_build_add(struct registry *r, struct store_txn *txn, const struct network *net,
	const char *node_id, const char *node_name, const struct ip *wish, bool pending,
	struct problem *p)
{
	CLEANUP(json) struct json_object *member = json_object_new_object();
	struct claimant who = {.id = node_id, .name = node_name};
	struct json_object *macs = json_object_new_array();
	struct json_object *ips = json_object_new_array();
	char mac_text[MAC_TEXT_LEN], now[21], owner[2 * NETMAP_ID_MAX + 2];
	struct mac mac;
	int rc;

	json_object_object_add(member, "macs", macs);
	json_object_object_add(member, "ips", ips);
	rc = quota_build_add(r, txn, net->org, QUOTA_MEMBERSHIPS, 1, p);
	if (!rc)
		rc = add_addresses(r, txn, net, &who, wish, ips, p);
	reservations_done(&who.reserved);
	if (rc)
		return rc;
	alloc_random_mac(&mac);
	mac_format(&mac, mac_text);
	json_object_array_add(macs, json_object_new_string(mac_text));
	registry_now_text(now);
	json_set_string(member, "joined_at", now);
	json_set_bool(member, "pending", pending);
	snprintf(owner, sizeof(owner), "%s/%s", net->id, node_id);

	store_txn_expect(txn, KEY("/nets/%s", net->id), net->mod_revision);
	store_txn_expect(txn, KEY("/members/%s/%s", net->id, node_id), 0);
	store_txn_expect(txn, KEY("/mac/%s", mac_text), 0);
	registry_put(txn, KEY("/members/%s/%s", net->id, node_id), member);
	registry_put_index(txn, KEY("/node-nets/%s/%s", node_id, net->id), "");
	registry_put_index(txn, KEY("/mac/%s", mac_text), owner);
	registry_touch_network(txn, net->id);
	registry_touch_node(txn, node_id);
	return 0;
}

static void release_address(struct store_txn *txn, const char *net_id, const char *text)
{
	char key[ALLOC_ADDRESS_KEY_LEN];
	struct cidr c;

	if (!text || !cidr_parse(text, &c))
		return;
	alloc_address_key(&c.ip, key);
	store_txn_delete(txn, KEY("/addr/%s/%s", net_id, key));
}

int member_build_remove(struct registry *r, struct store_txn *txn, const char *net_id,
	const char *node_id, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	struct json_object *ips, *macs;
	int rc = registry_load(r, KEY("/members/%s/%s", net_id, node_id), &rec, p);

	if (rc)
		return rc;
	ips = json_object_object_get(rec.o, "ips");
	macs = json_object_object_get(rec.o, "macs");
	store_txn_expect(txn, KEY("/members/%s/%s", net_id, node_id), rec.mod_revision);
	for (size_t i = 0; ips && i < json_object_array_length(ips); i++)
		release_address(
			txn, net_id, json_object_get_string(json_object_array_get_idx(ips, i)));
	for (size_t i = 0; macs && i < json_object_array_length(macs); i++)
		store_txn_delete(
			txn, KEY("/mac/%.17s",
				     json_object_get_string(json_object_array_get_idx(macs, i))));
	store_txn_delete(txn, KEY("/members/%s/%s", net_id, node_id));
	store_txn_delete(txn, KEY("/node-nets/%s/%s", node_id, net_id));
	registry_press_network(txn, net_id);
	registry_touch_node(txn, node_id);
	return 0;
}

/* As it is shown in the audit trail; record may be NULL. */
static struct json_object *audited(
	const struct network *net, struct json_object *node, struct json_object *record)
{
	struct json_object *o = NULL;

	if (!record || json_object_deep_copy(record, &o, NULL))
		return NULL;
	json_set_string(o, "name", record_text(node, "name"));
	json_set_string(o, "network", net->id);
	json_set_string(o, "network_name", net->spec.name);
	return o;
}

void member_build_audit(struct store_txn *txn, const struct actor *actor, const char *action,
	const struct network *net, struct json_object *node, struct json_object *before)
{
	const char *id = record_text(node, "id");
	const struct store_op *op = store_txn_find(txn, KEY("/members/%s/%s", net->id, id));
	CLEANUP(json) struct json_object *old = audited(net, node, before);
	CLEANUP(json) struct json_object *record = NULL;
	CLEANUP(json) struct json_object *new = NULL;

	if (op && op->kind == STORE_PUT)
		json_parse(op->value, strlen(op->value), &record, NULL);
	new = audited(net, node, record);
	registry_audit_change(txn, actor, action, "member", id, old, new);
}

/* -- views -- */

bool member_is_active(struct json_object *member)
{
	return !json_object_get_boolean(json_object_object_get(member, "pending"));
}

static int not_a_member(const struct network *net, const char *node_ref, struct problem *p)
{
	return problem_set(p, 404, "not_found", "node \"%.64s\" is not in network \"%s\"", node_ref,
		net->spec.name);
}

static int render(struct registry *r, const struct network *net, const char *node_id,
	struct json_object **ret_view, uint64_t *ret_revision, struct problem *p)
{
	CLEANUP(record) struct record member = {0};
	CLEANUP(record) struct record node = {0};
	struct json_object *view;
	int rc = node_load(r, node_id, &node, p);

	if (!rc)
		rc = registry_load(r, KEY("/members/%s/%s", net->id, node_id), &member, p);
	if (rc)
		return rc == -ENOENT ? not_a_member(net,
					       node.o ? record_text(node.o, "name") : node_id, p)
				     : rc;
	view = json_object_new_object();
	json_set_string(view, "id", node_id);
	json_set_string(view, "name", record_text(node.o, "name"));
	json_set_string(view, "network", net->id);
	json_set_string(view, "network_name", net->spec.name);
	json_object_object_add(
		view, "macs", json_object_get(json_object_object_get(member.o, "macs")));
	json_object_object_add(
		view, "ips", json_object_get(json_object_object_get(member.o, "ips")));
	json_set_string(view, "public_key", record_text(node.o, "public_key"));
	node_view_soft(r, node.o, view);
	json_set_bool(view, "approved", member_is_active(member.o));
	json_set_bool(view, "disabled", !node_is_active(node.o));
	json_set_string(view, "joined_at", record_text(member.o, "joined_at"));
	json_set_int(view, "revision", (int64_t)member.mod_revision);
	if (ret_revision)
		*ret_revision = member.mod_revision;
	*ret_view = view;
	return 0;
}

int member_view(struct registry *r, const char *org, const char *net_ref, const char *node_ref,
	struct json_object **ret_view, uint64_t *ret_revision, struct problem *p)
{
	char node_id[NETMAP_ID_MAX + 1];
	struct network net;
	int rc = network_by_ref(r, org, net_ref, &net, p);

	if (!rc)
		rc = node_by_ref(r, org, node_ref, node_id, p);
	return rc ? rc : render(r, &net, node_id, ret_view, ret_revision, p);
}

static int view_member(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return render(r, ctx, registry_key_tail(item->key), ret_view, NULL, p);
}

static int glance(struct registry *r, void *ctx, const struct store_item *item, const char *member,
	struct json_object **ret_value, struct problem *p)
{
	CLEANUP(json) struct json_object *o = NULL;

	(void)ctx;
	if (strcmp(member, "joined_at") != 0)
		return node_glance(r, registry_key_tail(item->key), member, ret_value, p);
	if (json_parse(item->value, strlen(item->value), &o, NULL))
		return problem_from_store(p, -VAN_E_CORRUPT);
	*ret_value = json_object_get(json_object_object_get(o, member));
	return 0;
}

int member_list(struct registry *r, const char *org, const char *net_ref, const struct page *asked,
	struct json_object **ret_list, struct problem *p)
{
	struct page page = *asked;
	struct network net;
	int rc = network_by_ref(r, org, net_ref, &net, p);

	page.glance = glance;
	return rc ? rc
		  : page_list(
			    r, KEY("/members/%s/", net.id), &page, view_member, &net, ret_list, p);
}

/* -- add -- */

struct membership {
	const struct actor *actor;
	const char *net_ref;
	const char *node_ref;
	const struct ip *wish;
	const struct member_change *change;
	const char *if_match;
	char node_id[NETMAP_ID_MAX + 1];
};

/* Network and node of a request, and the node's record. */
static int resolve(struct registry *r, struct membership *m, struct network *ret_net,
	struct record *ret_node, struct problem *p)
{
	int rc = network_by_ref(r, m->actor->org, m->net_ref, ret_net, p);

	if (!rc)
		rc = node_by_ref(r, m->actor->org, m->node_ref, m->node_id, p);
	if (!rc)
		rc = node_load(r, m->node_id, ret_node, p);
	return rc == -ENOENT ? problem_not_found(p, "node", m->node_ref) : rc;
}

/* The record of the membership too, if it is the one that If-Match means. */
static int resolve_member(struct registry *r, struct membership *m, struct network *ret_net,
	struct record *ret_node, struct record *ret_member, struct problem *p)
{
	int rc = resolve(r, m, ret_net, ret_node, p);

	if (rc)
		return rc;
	rc = registry_load(r, KEY("/members/%s/%s", ret_net->id, m->node_id), ret_member, p);
	if (rc == -ENOENT)
		return not_a_member(ret_net, m->node_ref, p);
	return rc ? rc : registry_match(m->if_match, ret_member->mod_revision, p);
}

static int build_add(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct membership *m = ctx;
	CLEANUP(record) struct record node = {0};
	CLEANUP(store_item) struct store_item item = {0};
	struct network net;
	int rc = resolve(r, m, &net, &node, p);

	if (rc)
		return rc;
	rc = store_get(r->store, KEY("/members/%s/%s", net.id, m->node_id), &item);
	if (!rc)
		return problem_set(p, 409, "member_exists",
			"node \"%s\" is in network \"%s\" already", record_text(node.o, "name"),
			net.spec.name);
	if (rc != -ENOENT)
		return problem_from_store(p, rc);
	rc = member_build_add(
		r, txn, &net, m->node_id, record_text(node.o, "name"), m->wish, false, p);
	if (rc)
		return rc;
	store_txn_expect(txn, KEY("/nodes/%s", m->node_id), node.mod_revision);
	member_build_audit(txn, m->actor, "member.add", &net, node.o, NULL);
	registry_event(txn, net.org, EVENT_INFO, "node", m->node_id, "%s was added to network %s",
		record_text(node.o, "name"), net.spec.name);
	return 0;
}

int member_add(struct registry *r, const struct actor *actor, const char *net_ref,
	const char *node_ref, const struct ip *wish, struct problem *p)
{
	struct membership m = {
		.actor = actor, .net_ref = net_ref, .node_ref = node_ref, .wish = wish};

	return registry_transact(r, build_add, &m, NULL, p);
}

/* -- change -- */

/* Swaps the member's address of this family. 0, or REGISTRY_NO_CHANGE when it holds it already. */
static int swap_address(struct registry *r, struct store_txn *txn, const struct network *net,
	struct claimant *who, const struct ip *ip, struct json_object *member, struct problem *p)
{
	const struct cidr *cidr = ip->family == AF_INET ? &net->spec.cidr : &net->spec.cidr6;
	struct json_object *ips = json_object_object_get(member, "ips");
	struct cidr own = {.ip = *ip, .prefix = cidr->prefix};
	char text[CIDR_TEXT_LEN];
	struct err e = {0};
	size_t at = 0;
	int rc = check_family(net, ip, p);

	if (rc)
		return rc;
	if (!alloc_address_usable(cidr, ip, &e))
		return problem_invalid(p, "/address", "%s", e.text);
	cidr_format(&own, text);
	for (; ips && at < json_object_array_length(ips); at++) {
		const char *held = json_object_get_string(json_object_array_get_idx(ips, at));
		struct cidr c;

		if (!held || !cidr_parse(held, &c) || c.ip.family != ip->family)
			continue;
		if (!strcmp(held, text))
			return REGISTRY_NO_CHANGE;
		release_address(txn, net->id, held);
		break;
	}
	rc = load_reservations(r, txn, net->id, who, p);
	if (!rc)
		rc = take_address(r, txn, net->id, who, ip, p);
	if (rc)
		return rc;
	json_object_array_put_idx(ips, at, json_object_new_string(text));
	return 0;
}

static int build_change(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct membership *m = ctx;
	CLEANUP(record) struct record node = {0};
	CLEANUP(record) struct record member = {0};
	CLEANUP(json) struct json_object *before = NULL;
	bool changed = false;
	struct network net;
	int rc = resolve_member(r, m, &net, &node, &member, p);

	if (rc)
		return rc;
	if (json_object_deep_copy(member.o, &before, NULL))
		abort();
	if (m->change->has_address) {
		struct claimant who = {.id = m->node_id, .name = record_text(node.o, "name")};

		rc = swap_address(r, txn, &net, &who, &m->change->address, member.o, p);
		reservations_done(&who.reserved);
		if (rc < 0)
			return rc;
		changed = rc == 0;
	}
	if (m->change->name && strcmp(m->change->name, record_text(node.o, "name")) != 0) {
		rc = node_build_rename(r, txn, &node, m->change->name, p);
		if (rc)
			return rc;
		changed = true;
	}
	if (m->change->approve && !member_is_active(member.o)) {
		json_set_bool(member.o, "pending", false);
		registry_event(txn, net.org, EVENT_INFO, "node", m->node_id,
			"%s was approved in network %s", record_text(node.o, "name"),
			net.spec.name);
		changed = true;
	}
	if (!changed)
		return REGISTRY_NO_CHANGE;
	store_txn_expect(txn, KEY("/members/%s/%s", net.id, m->node_id), member.mod_revision);
	registry_put(txn, KEY("/members/%s/%s", net.id, m->node_id), member.o);
	registry_touch_network(txn, net.id);
	registry_touch_node(txn, m->node_id);
	member_build_audit(txn, m->actor, "member.change", &net, node.o, before);
	return 0;
}

int member_change(struct registry *r, const struct actor *actor, const char *net_ref,
	const char *node_ref, const struct member_change *change, const char *if_match,
	char ret_node_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	struct membership m = {.actor = actor,
		.net_ref = net_ref,
		.node_ref = node_ref,
		.change = change,
		.if_match = if_match};
	int rc = registry_transact(r, build_change, &m, NULL, p);

	if (rc < 0)
		return rc;
	memcpy(ret_node_id, m.node_id, sizeof(m.node_id));
	return 0;
}

/* -- remove -- */

static int build_remove(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct membership *m = ctx;
	CLEANUP(record) struct record node = {0};
	CLEANUP(record) struct record member = {0};
	struct network net;
	int rc = resolve_member(r, m, &net, &node, &member, p);

	if (!rc)
		rc = member_build_remove(r, txn, net.id, m->node_id, p);
	if (!rc)
		rc = netconf_build_forget(r, txn, m->actor, net.id, m->node_id, p);
	if (rc)
		return rc == -ENOENT ? not_a_member(&net, m->node_ref, p) : rc;
	member_build_audit(txn, m->actor, "member.remove", &net, node.o, member.o);
	registry_event(txn, net.org, EVENT_INFO, "node", m->node_id, "%s %s network %s",
		record_text(node.o, "name"),
		strncmp(m->actor->who, "node:", 5) ? "was taken out of" : "left", net.spec.name);
	return 0;
}

int member_remove(struct registry *r, const struct actor *actor, const char *net_ref,
	const char *node_ref, const char *if_match, struct problem *p)
{
	struct membership m = {
		.actor = actor, .net_ref = net_ref, .node_ref = node_ref, .if_match = if_match};

	return registry_transact(r, build_remove, &m, NULL, p);
}
