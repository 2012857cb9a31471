/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/alloc.h"
#include "console-api/node.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

/* -- addresses -- */

/* 409 that names who has the address. */
static int address_taken(
	struct registry *r, const struct ip *ip, const char *holder, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	char text[IP_TEXT_LEN];
	int rc = node_load(r, holder, &rec, p);

	if (rc && rc != -ENOENT)
		return rc;
	ip_format(ip, text);
	return problem_set(p, 409, "address_taken",
		"%s is the address of node \"%s\": choose another, or move that node first", text,
		rc ? holder : record_text(rec.o, "name"));
}

/* Expects the address to be free, and takes it. */
static int take_address(struct registry *r, struct store_txn *txn, const char *net_id,
	const char *node_id, const struct ip *ip, struct problem *p)
{
	char text[ALLOC_ADDRESS_KEY_LEN], holder[NETMAP_ID_MAX + 1];
	int rc;

	alloc_address_key(ip, text);
	rc = registry_index(r, KEY("/addr/%s/%s", net_id, text), holder, NULL, p);
	if (!rc)
		return address_taken(r, ip, holder, p);
	if (rc != -ENOENT)
		return rc;
	store_txn_expect(txn, KEY("/addr/%s/%s", net_id, text), 0);
	registry_put_index(txn, KEY("/addr/%s/%s", net_id, text), node_id);
	return 0;
}

static int assign_address(struct registry *r, const char *net_id, const struct cidr *cidr,
	struct ip *ret_ip, struct problem *p)
{
	CLEANUP(store_items) struct store_items held = {0};
	CLEANUP(free) struct ip *ips = NULL;
	char text[CIDR_TEXT_LEN];
	size_t n = 0;
	int rc = store_range(r->store,
		KEY("/addr/%s/%c", net_id, cidr->ip.family == AF_INET ? '4' : '6'), NULL, 0, &held);

	if (rc)
		return problem_from_store(p, rc);
	ips = xcalloc(held.count, sizeof(*ips));
	for (size_t i = 0; i < held.count; i++)
		if (alloc_address_from_key(registry_key_tail(held.items[i].key), &ips[n]))
			n++;
	if (!alloc_first_free(cidr, ips, n, ret_ip))
		return 0;
	cidr_format(cidr, text);
	return problem_set(p, 409, "network_full",
		"all addresses of %s are taken: remove nodes or use a larger network", text);
}

/* The wish if it is of this family, else an assigned one; appended to ips as text. */
static int add_address(struct registry *r, struct store_txn *txn, const struct network *net,
	const struct cidr *cidr, const char *node_id, const struct ip *wish,
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
		rc = assign_address(r, net->id, cidr, &own.ip, p);
		if (rc)
			return rc;
	}
	rc = take_address(r, txn, net->id, node_id, &own.ip, p);
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

int member_build_add(struct registry *r, struct store_txn *txn, const struct network *net,
	const char *node_id, const struct ip *wish, struct problem *p)
{
	CLEANUP(json) struct json_object *member = json_object_new_object();
	struct json_object *macs = json_object_new_array();
	struct json_object *ips = json_object_new_array();
	char mac_text[MAC_TEXT_LEN], now[21], owner[2 * NETMAP_ID_MAX + 2];
	struct mac mac;
	int rc = 0;

	json_object_object_add(member, "macs", macs);
	json_object_object_add(member, "ips", ips);
	if (wish)
		rc = check_family(net, wish, p);
	if (!rc)
		rc = add_address(r, txn, net, &net->spec.cidr, node_id, wish, ips, p);
	if (!rc)
		rc = add_address(r, txn, net, &net->spec.cidr6, node_id, wish, ips, p);
	if (rc)
		return rc;
	alloc_random_mac(&mac);
	mac_format(&mac, mac_text);
	json_object_array_add(macs, json_object_new_string(mac_text));
	registry_now_text(now);
	json_set_string(member, "joined_at", now);
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
	registry_touch_network(txn, net_id);
	registry_touch_node(txn, node_id);
	return 0;
}

/* -- views -- */

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
	int rc = registry_load(r, KEY("/members/%s/%s", net->id, node_id), &member, p);

	if (!rc)
		rc = node_load(r, node_id, &node, p);
	if (rc)
		return rc == -ENOENT ? not_a_member(net, node_id, p) : rc;
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
	json_set_string(view, "joined_at", record_text(member.o, "joined_at"));
	json_set_int(view, "revision", (int64_t)member.mod_revision);
	if (ret_revision)
		*ret_revision = member.mod_revision;
	*ret_view = view;
	return 0;
}

int member_view(struct registry *r, const char *net_ref, const char *node_ref,
	struct json_object **ret_view, uint64_t *ret_revision, struct problem *p)
{
	char node_id[NETMAP_ID_MAX + 1];
	struct network net;
	int rc = network_by_ref(r, net_ref, &net, p);

	if (!rc)
		rc = node_by_ref(r, node_ref, node_id, p);
	return rc ? rc : render(r, &net, node_id, ret_view, ret_revision, p);
}

int member_list(struct registry *r, const char *net_ref, const struct page *page,
	struct json_object **ret_list, struct problem *p)
{
	CLEANUP(store_items) struct store_items members = {0};
	CLEANUP(json) struct json_object *items = json_object_new_array();
	const char *last = NULL;
	struct network net;
	int rc = network_by_ref(r, net_ref, &net, p);

	if (rc)
		return rc;
	rc = store_range(r->store, KEY("/members/%s/", net.id),
		page->after ? KEY("/members/%s/%.64s", net.id, page->after) : NULL, page->limit,
		&members);
	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < members.count; i++) {
		struct json_object *view = NULL;

		last = registry_key_tail(members.items[i].key);
		rc = render(r, &net, last, &view, NULL, p);
		if (rc == -VAN_E_NOT_FOUND)
			continue;
		if (rc)
			return rc;
		json_object_array_add(items, view);
	}
	*ret_list = page_result(STEAL(items), members.more, last);
	return 0;
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
	int rc = network_by_ref(r, m->net_ref, ret_net, p);

	if (!rc)
		rc = node_by_ref(r, m->node_ref, m->node_id, p);
	if (!rc)
		rc = node_load(r, m->node_id, ret_node, p);
	if (rc == -ENOENT)
		return problem_set(p, 404, "not_found", "there is no node \"%.64s\"", m->node_ref);
	return rc;
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
	rc = member_build_add(r, txn, &net, m->node_id, m->wish, p);
	if (rc)
		return rc;
	store_txn_expect(txn, KEY("/nodes/%s", m->node_id), node.mod_revision);
	registry_audit(txn, m->actor, "member.add", "node %s (%s) to network %s (%s)", m->node_id,
		record_text(node.o, "name"), net.id, net.spec.name);
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
	const char *node_id, const struct ip *ip, struct json_object *member, struct problem *p)
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
	rc = take_address(r, txn, net->id, node_id, ip, p);
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
	bool changed = false;
	struct network net;
	int rc = resolve(r, m, &net, &node, p);

	if (rc)
		return rc;
	rc = registry_load(r, KEY("/members/%s/%s", net.id, m->node_id), &member, p);
	if (rc == -ENOENT)
		return not_a_member(&net, m->node_ref, p);
	if (!rc)
		rc = registry_match(m->if_match, member.mod_revision, p);
	if (rc)
		return rc;
	if (m->change->has_address) {
		rc = swap_address(r, txn, &net, m->node_id, &m->change->address, member.o, p);
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
	if (!changed)
		return REGISTRY_NO_CHANGE;
	store_txn_expect(txn, KEY("/members/%s/%s", net.id, m->node_id), member.mod_revision);
	registry_put(txn, KEY("/members/%s/%s", net.id, m->node_id), member.o);
	registry_touch_network(txn, net.id);
	registry_touch_node(txn, m->node_id);
	registry_audit(txn, m->actor, "member.change", "node %s (%s) in network %s (%s): %s",
		m->node_id, record_text(node.o, "name"), net.id, net.spec.name,
		json_object_to_json_string_ext(json_object_object_get(member.o, "ips"),
			JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
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
	CLEANUP(store_item) struct store_item member = {0};
	struct network net;
	int rc = resolve(r, m, &net, &node, p);

	if (rc)
		return rc;
	rc = store_get(r->store, KEY("/members/%s/%s", net.id, m->node_id), &member);
	if (rc == -ENOENT)
		return not_a_member(&net, m->node_ref, p);
	if (rc)
		return problem_from_store(p, rc);
	rc = registry_match(m->if_match, member.mod_revision, p);
	if (!rc)
		rc = member_build_remove(r, txn, net.id, m->node_id, p);
	if (rc)
		return rc == -ENOENT ? not_a_member(&net, m->node_ref, p) : rc;
	registry_audit(txn, m->actor, "member.remove", "node %s (%s) from network %s (%s)",
		m->node_id, record_text(node.o, "name"), net.id, net.spec.name);
	return 0;
}

int member_remove(struct registry *r, const struct actor *actor, const char *net_ref,
	const char *node_ref, const char *if_match, struct problem *p)
{
	struct membership m = {
		.actor = actor, .net_ref = net_ref, .node_ref = node_ref, .if_match = if_match};

	return registry_transact(r, build_remove, &m, NULL, p);
}
