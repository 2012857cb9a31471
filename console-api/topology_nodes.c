/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which nodes a document means, and what addresses and MACs they get. Addresses in three passes:
 * what the document gives; what nodes have already, where nobody was given it; and, once
 * reservations and floating IPs are known, the lowest free ones for the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/member.h"
#include "console-api/node.h"
#include "console-api/topology_internal.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/key.h"

static int family_of(size_t i)
{
	return i == FAMILY_V4 ? AF_INET : AF_INET6;
}

static size_t index_of(int family)
{
	return family == AF_INET ? FAMILY_V4 : FAMILY_V6;
}

/* -- who is there -- */

static struct plan_node *add_node(struct plan *plan)
{
	struct plan_node *node;

	plan->nodes = xrealloc(plan->nodes, plan->node_count + 1, sizeof(*plan->nodes));
	node = &plan->nodes[plan->node_count++];
	*node = (struct plan_node){.approved = true};
	return node;
}

static void put_index(struct json_object *dictionary, const char *key, size_t at)
{
	json_set_int(dictionary, key, (int64_t)at);
}

static struct plan_node *find(
	const struct plan *plan, struct json_object *dictionary, const char *key)
{
	struct json_object *at = NULL;

	if (!json_object_object_get_ex(dictionary, key, &at))
		return NULL;
	return &plan->nodes[json_object_get_int64(at)];
}

struct plan_node *plan_node_named(const struct plan *plan, const char *name)
{
	return find(plan, plan->by_name, name);
}

/* The members as they are; they stay, or not. */
static int load_members(struct plan *plan, bool stay)
{
	CLEANUP(store_items) struct store_items items = {0};
	int rc = store_range(plan->r->store, KEY("/members/%s/", plan->net.id), NULL, 0, &items);

	if (rc)
		return problem_from_store(plan->p, rc);
	for (size_t i = 0; i < items.count; i++) {
		const struct store_item *item = &items.items[i];
		CLEANUP(record) struct record node = {0};
		struct json_object *member = NULL;
		struct plan_node *n;

		rc = node_load(plan->r, registry_key_tail(item->key), &node, plan->p);
		if (rc == -ENOENT)
			continue;
		if (rc)
			return rc;
		if (json_parse(item->value, strlen(item->value), &member, NULL))
			return problem_from_store(plan->p, -VAN_E_CORRUPT);
		n = add_node(plan);
		snprintf(n->id, sizeof(n->id), "%s", registry_key_tail(item->key));
		snprintf(n->name, sizeof(n->name), "%s", record_text(node.o, "name"));
		n->node = node;
		node = (struct record){0};
		n->member = (struct record){.o = member, .mod_revision = item->mod_revision};
		n->wanted = stay;
		n->approved = member_is_active(member);
		put_index(plan->by_id, n->id, plan->node_count - 1);
		if (stay)
			put_index(plan->by_name, n->name, plan->node_count - 1);
	}
	return 0;
}

/* -- reading -- */

static void read_ips(struct plan *plan, struct form *f, struct plan_node *n)
{
	struct json_object *list;
	const struct cidr *cidr;
	const char *text;
	struct err e = {0};
	struct ip ip;

	if (!form_array(f, "ips", FORM_OPTIONAL, FAMILY_COUNT, &list))
		return;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		if (!form_item_string(f, "ips", i, IP_TEXT_LEN, &text))
			continue;
		if (!ip_parse(text, &ip)) {
			form_item_fail(f, "ips", i, "must be an address without a prefix length");
			continue;
		}
		cidr = netconf_cidr_for(&plan->net, ip.family);
		if (!cidr)
			form_item_fail(f, "ips", i, "the network has no IPv6 prefix");
		else if (!alloc_address_usable(cidr, &ip, &e))
			form_item_fail(f, "ips", i, "%s", e.text);
		else if (n->given[index_of(ip.family)])
			form_item_fail(f, "ips", i, "is a second address of its IP version");
		n->given[index_of(ip.family)] = true;
		n->ips[index_of(ip.family)] = ip;
	}
}

static void read_macs(struct form *f, struct plan_node *n)
{
	struct json_object *list;
	const char *text;

	if (!form_array(f, "macs", FORM_OPTIONAL, NETMAP_MACS_MAX, &list))
		return;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct mac *mac = &n->macs[n->mac_count];

		if (!form_item_string(f, "macs", i, MAC_TEXT_LEN, &text))
			continue;
		if (mac_parse(text, mac) && !mac_is_multicast(mac))
			n->mac_count++;
		else
			form_item_fail(f, "macs", i, "must be a MAC such as 02:00:5e:10:00:01");
	}
}

/* Reads item i into *n, which is zeroed. */
static bool read_node(struct plan *plan, struct form *f, size_t i, struct plan_node *n)
{
	struct form item;
	struct key key;

	if (!form_item(f, "nodes", i, &item))
		return false;
	form_name(&item, "name", FORM_REQUIRED, n->name);
	if (form_string(&item, "public_key", FORM_OPTIONAL, 1, 64, &n->public_key) &&
		!key_parse(n->public_key, &key))
		form_fail(&item, "public_key", "must be a key of 32 bytes in base64");
	read_ips(plan, &item, n);
	read_macs(&item, n);
	n->approved_given = form_bool(&item, "approved", FORM_OPTIONAL, &n->approved);
	form_labels(&item, "labels", &n->labels);
	memcpy(n->pointer, item.where, sizeof(n->pointer));
	return !form_end(&item) && n->name[0];
}

/* By key, else by name; "" when it is neither. */
static int resolve(struct plan *plan, const struct plan_node *n, char ret_id[NETMAP_ID_MAX + 1])
{
	CLEANUP(record) struct record node = {0};
	char hex[2 * KEY_LEN + 1];
	struct key key;
	int rc = -ENOENT;

	if (n->public_key && key_parse(n->public_key, &key)) {
		hash_hex(key.bytes, KEY_LEN, hex);
		rc = registry_index(plan->r, KEY("/node-keys/%s", hex), ret_id, NULL, plan->p);
		if (!rc)
			rc = node_load(plan->r, ret_id, &node, plan->p);
		if (!rc && strcmp(record_org(node.o), plan->net.org) != 0)
			rc = -ENOENT; /* another organization's: it does not exist here */
	}
	if (rc == -ENOENT)
		rc = registry_index(plan->r, KEY("/names/%s/node/%s", plan->net.org, n->name),
			ret_id, NULL, plan->p);
	if (rc == -ENOENT)
		ret_id[0] = '\0';
	return rc == -ENOENT ? 0 : rc;
}

static void warn_of_key(struct plan *plan, const struct plan_node *n)
{
	char text[192];

	if (!n->public_key || !strcmp(n->public_key, record_text(n->node.o, "public_key")))
		return;
	snprintf(text, sizeof(text),
		"node \"%s\" has another public key than in the document: it is taken for that "
		"node by its name",
		n->name);
	json_object_array_add(plan->warnings, json_object_new_string(text));
}

/* Takes what was read into the plan. */
static int take_node(struct plan *plan, struct form *f, size_t i, struct plan_node *read)
{
	struct plan_node *n;
	char id[NETMAP_ID_MAX + 1];
	int rc;

	if (plan_node_named(plan, read->name)) {
		form_item_fail(f, "nodes", i, "node \"%s\" is there twice", read->name);
		return 0;
	}
	rc = resolve(plan, read, id);
	if (rc)
		return rc;
	n = id[0] ? find(plan, plan->by_id, id) : NULL;
	if (n && n->wanted) {
		form_item_fail(f, "nodes", i, "is the same node as \"%s\", by its key", n->name);
		return 0;
	}
	if (!n) {
		n = add_node(plan);
		snprintf(n->id, sizeof(n->id), "%s", id);
		if (id[0]) {
			rc = node_load(plan->r, id, &n->node, plan->p);
			if (rc)
				return rc == -ENOENT ? problem_from_store(plan->p, -EBUSY) : rc;
			put_index(plan->by_id, id, plan->node_count - 1);
		}
	}
	read->node = n->node;
	read->member = n->member;
	if (n->member.o && !read->approved_given)
		read->approved = n->approved;
	memcpy(read->id, id, sizeof(read->id));
	read->wanted = true;
	*n = *read;
	put_index(plan->by_name, n->name, (size_t)(n - plan->nodes));
	if (id[0])
		warn_of_key(plan, n);
	return 0;
}

int plan_read_nodes(struct plan *plan, struct form *f, struct json_object *list)
{
	int rc = plan_creates(plan) ? 0 : load_members(plan, !list);

	for (size_t i = 0; list && i < json_object_array_length(list) && !rc; i++) {
		struct plan_node read = {.approved = true};

		if (read_node(plan, f, i, &read))
			rc = take_node(plan, f, i, &read);
	}
	return rc;
}

/* -- addresses -- */

static int compare_held(const void *va, const void *vb)
{
	const struct held *a = va, *b = vb;

	return ip_compare(&a->ip, &b->ip);
}

static void append_held(struct netconf *conf, const struct ip *ip, const char *id)
{
	conf->held = xrealloc(conf->held, conf->held_count + 1, sizeof(*conf->held));
	conf->held[conf->held_count] = (struct held){.ip = *ip};
	snprintf(conf->held[conf->held_count++].id, NETMAP_ID_MAX + 1, "%s", id);
}

static void sort_held(struct netconf *conf)
{
	if (conf->held_count)
		qsort(conf->held, conf->held_count, sizeof(*conf->held), compare_held);
}

/* The member's address of this family. False when there is none within the network. */
static bool own_address(
	const struct plan *plan, const struct plan_node *n, size_t family, struct ip *ret_ip)
{
	const struct cidr *cidr = netconf_cidr_for(&plan->net, family_of(family));
	struct json_object *ips = json_object_object_get(n->member.o, "ips");

	for (size_t i = 0; cidr && ips && i < json_object_array_length(ips); i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(ips, i));
		struct cidr c;

		if (!text || !cidr_parse(text, &c) || !cidr_contains(cidr, &c.ip))
			continue;
		*ret_ip = c.ip;
		return true;
	}
	return false;
}

int plan_hold_addresses(struct plan *plan)
{
	struct netconf *conf = &plan->wanted;
	size_t given_count;

	for (size_t i = 0; i < plan->node_count; i++)
		for (size_t k = 0; k < FAMILY_COUNT; k++)
			if (plan->nodes[i].given[k] && plan->nodes[i].id[0])
				append_held(conf, &plan->nodes[i].ips[k], plan->nodes[i].id);
	sort_held(conf);
	for (size_t i = 1; i < conf->held_count; i++) {
		const struct held *held = &conf->held[i];
		char text[IP_TEXT_LEN];

		if (ip_compare(&held[-1].ip, &held->ip) != 0)
			continue;
		ip_format(&held->ip, text);
		return netconf_problem(plan->p, 400, "invalid",
			find(plan, plan->by_id, held->id)->pointer,
			"%s is given to node \"%s\" too", text,
			find(plan, plan->by_id, held[-1].id)->name);
	}
	given_count = conf->held_count;
	for (size_t i = 0; i < plan->node_count; i++) {
		struct plan_node *n = &plan->nodes[i];

		for (size_t k = 0; n->wanted && n->member.o && k < FAMILY_COUNT; k++) {
			struct held own;

			if (n->given[k] || !own_address(plan, n, k, &own.ip))
				continue;
			if (given_count &&
				bsearch(&own, conf->held, given_count, sizeof(own), compare_held))
				continue; /* given to another: this one is to be chosen anew */
			n->ips[k] = own.ip;
			append_held(conf, &own.ip, n->id);
		}
	}
	sort_held(conf);
	return 0;
}

/* What is held and reserved of a family, as the walk wants it; heap both. */
static void list_taken(const struct netconf *conf, int family, struct alloc_walk *walk,
	struct ip **ret_held, struct ip_range **ret_ranges)
{
	struct ip *held = xcalloc(conf->held_count, sizeof(*held));
	struct ip_range *ranges = xcalloc(conf->reservation_count, sizeof(*ranges));

	for (size_t i = 0; i < conf->held_count; i++)
		if (conf->held[i].ip.family == family)
			held[walk->n++] = conf->held[i].ip;
	for (size_t i = 0; i < conf->reservation_count; i++)
		if (conf->reservations[i].range.first.family == family)
			ranges[walk->range_count++] = conf->reservations[i].range;
	walk->held = *ret_held = held;
	walk->ranges = *ret_ranges = ranges;
}

static int choose_family(struct plan *plan, size_t family)
{
	struct netconf *conf = &plan->wanted;
	const struct cidr *cidr = netconf_cidr_for(&plan->net, family_of(family));
	struct alloc_walk walk = {.net = cidr};
	CLEANUP(free) struct ip_range *ranges = NULL;
	CLEANUP(free) struct ip *held = NULL;
	char text[CIDR_TEXT_LEN];

	if (!cidr)
		return 0;
	list_taken(conf, family_of(family), &walk, &held, &ranges);
	for (size_t i = 0; i < plan->node_count; i++) {
		struct plan_node *n = &plan->nodes[i];
		const struct reservation *own;

		if (!n->wanted || !n->id[0] || n->ips[family].family != AF_UNSPEC)
			continue;
		own = reservations_of_node(conf->reservations, conf->reservation_count,
			record_text(n->node.o, "name"), family_of(family));
		if (own && !netconf_holder(conf, &own->range.first)) {
			n->ips[family] = own->range.first;
			netconf_hold(conf, &n->ips[family], n->id);
		} else if (alloc_next_free(&walk, &n->ips[family])) {
			cidr_format(cidr, text);
			return netconf_problem(plan->p, 409, "network_full", n->pointer,
				"there is no address of %s left for it", text);
		}
	}
	return 0;
}

int plan_choose_addresses(struct plan *plan)
{
	int rc = 0;

	for (size_t k = 0; k < FAMILY_COUNT && !rc; k++)
		rc = choose_family(plan, k);
	return rc;
}

/* -- MACs -- */

/* Adds the MACs that the member has. */
static void keep_macs(const struct plan_node *n, struct json_object *kept)
{
	struct json_object *macs = json_object_object_get(n->member.o, "macs");

	for (size_t i = 0; macs && i < json_object_array_length(macs); i++)
		json_set_string(
			kept, json_object_get_string(json_object_array_get_idx(macs, i)), n->id);
}

/* Nobody has it, or a member of this network, who may be about to get another. */
static int mac_is_ours(struct plan *plan, const struct mac *mac, bool *ret_ours)
{
	CLEANUP(record) struct record owner = {0};
	char text[MAC_TEXT_LEN];
	const char *value;
	size_t len = strlen(plan->net.id);
	int rc;

	mac_format(mac, text);
	rc = registry_load(plan->r, KEY("/mac/%s", text), &owner, plan->p);
	if (rc && rc != -ENOENT)
		return rc;
	value = rc ? "" : json_object_get_string(owner.o);
	*ret_ours = rc || (value && len && !strncmp(value, plan->net.id, len) && value[len] == '/');
	return 0;
}

/* Gives up what is another's, or stays somebody's of this network: a MAC has one owner in the mesh,
 * so a network made again beside the first gets MACs of its own. Kept: MACs of those who keep
 * theirs. */
static int grant_once(struct plan *plan, struct json_object *kept, bool *ret_changed)
{
	*ret_changed = false;
	for (size_t i = 0; i < plan->node_count; i++) {
		struct plan_node *n = &plan->nodes[i];
		bool granted = true;

		if (!n->wanted || !n->id[0] || !n->mac_count)
			continue;
		for (size_t k = 0; k < n->mac_count && granted; k++) {
			char text[MAC_TEXT_LEN];
			int rc = mac_is_ours(plan, &n->macs[k], &granted);

			if (rc)
				return rc;
			mac_format(&n->macs[k], text);
			if (json_object_object_get_ex(plan->taken_macs, text, NULL) ||
				(json_object_object_get_ex(kept, text, NULL) &&
					strcmp(record_text(kept, text), n->id) != 0))
				granted = false;
		}
		if (granted)
			continue;
		n->mac_count = 0;
		keep_macs(n, kept);
		*ret_changed = true;
	}
	return 0;
}

int plan_grant_macs(struct plan *plan)
{
	CLEANUP(json) struct json_object *given = json_object_new_object();
	CLEANUP(json) struct json_object *kept = json_object_new_object();
	bool changed = true;
	int rc = 0;

	for (size_t i = 0; i < plan->node_count; i++) {
		struct plan_node *n = &plan->nodes[i];

		if (n->wanted && n->id[0] && !n->mac_count)
			keep_macs(n, kept);
		for (size_t k = 0; k < n->mac_count; k++) {
			char text[MAC_TEXT_LEN];

			mac_format(&n->macs[k], text);
			if (json_object_object_get_ex(given, text, NULL))
				return netconf_problem(plan->p, 400, "invalid", n->pointer,
					"the MAC %s is there twice", text);
			json_set_string(given, text, n->name);
		}
	}
	while (changed && !rc)
		rc = grant_once(plan, kept, &changed);
	for (size_t i = 0; i < plan->node_count && !rc; i++) {
		for (size_t k = 0; k < plan->nodes[i].mac_count; k++) {
			char text[MAC_TEXT_LEN];

			mac_format(&plan->nodes[i].macs[k], text);
			json_set_bool(plan->taken_macs, text, true);
		}
	}
	return rc;
}

/* -- results -- */

struct json_object *plan_member(const struct plan *plan, const struct plan_node *n)
{
	struct json_object *o = json_object_new_object(), *ips = json_object_new_array(), *macs;
	char text[CIDR_TEXT_LEN], now[21];

	registry_now_text(now);
	json_set_string(o, "joined_at", now);
	json_set_bool(o, "pending", !n->approved);
	if (n->member.o) {
		json_object_object_foreach(n->member.o, name, value)
			json_object_object_add(o, name, json_object_get(value));
	}
	if (n->member.o && member_is_active(n->member.o) != n->approved)
		json_set_bool(o, "pending", !n->approved);
	if (n->mac_count) {
		macs = json_object_new_array();
		for (size_t i = 0; i < n->mac_count; i++) {
			mac_format(&n->macs[i], text);
			json_object_array_add(macs, json_object_new_string(text));
		}
		json_object_object_add(o, "macs", macs);
	}
	for (size_t k = 0; k < FAMILY_COUNT; k++) {
		const struct cidr *cidr = netconf_cidr_for(&plan->net, family_of(k));
		struct cidr own = {.ip = n->ips[k], .prefix = cidr ? cidr->prefix : 0};

		if (n->ips[k].family == AF_UNSPEC)
			continue;
		cidr_format(&own, text);
		json_object_array_add(ips, json_object_new_string(text));
	}
	json_object_object_add(o, "ips", ips);
	return o;
}

struct json_object *plan_missing(struct plan *plan, struct plan_node *n)
{
	struct json_object *entry, *addresses;
	char text[IP_TEXT_LEN];

	if (n->missing)
		return n->missing;
	n->missing = entry = json_object_new_object();
	addresses = json_object_new_array();
	for (size_t k = 0; k < FAMILY_COUNT; k++) {
		if (!n->given[k])
			continue;
		ip_format(&n->ips[k], text);
		json_object_array_add(addresses, json_object_new_string(text));
	}
	json_set_string(entry, "name", n->name);
	json_set_string(entry, "public_key", n->public_key);
	json_object_object_add(entry, "addresses", addresses);
	json_object_object_add(entry, "gateways", json_object_new_array());
	json_object_object_add(entry, "floating_ips", json_object_new_array());
	json_object_array_add(plan->missing, entry);
	return entry;
}
