/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network as a document: its settings and everything in it, without ids, dates and revisions, and
 * nodes by name. What has no order of its own is sorted, so that two exports can be compared as text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/cloak.h"
#include "console-api/member.h"
#include "console-api/node.h"
#include "console-api/topology_internal.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

/* -- definitions -- */

static const char *name_of(struct json_object *names, const char *id)
{
	const char *name = json_object_get_string(json_object_object_get(names, id));

	return name ? name : id;
}

static int compare_strings(const void *va, const void *vb)
{
	return strcmp(json_object_get_string(*(struct json_object *const *)va),
		json_object_get_string(*(struct json_object *const *)vb));
}

static struct json_object *names_of(struct json_object *names, struct json_object *ids)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(ids); i++) {
		const char *id = json_object_get_string(json_object_array_get_idx(ids, i));

		json_object_array_add(list, json_object_new_string(name_of(names, id)));
	}
	json_object_array_sort(list, compare_strings);
	return list;
}

struct json_object *topology_definition(struct json_object *record, struct json_object *names)
{
	static const char *const single[] = {"node", "assigned"};
	struct json_object *o = netobj_spec(record), *ids;

	for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
		const char *id = record_text(o, single[i]);

		if (id[0])
			json_object_object_add(
				o, single[i], json_object_new_string(name_of(names, id)));
	}
	ids = json_object_object_get(o, "candidates");
	if (ids)
		json_object_object_add(o, "candidates", names_of(names, ids));
	return o;
}

/* Addresses without the network's prefix length. */
static struct json_object *bare_addresses(struct json_object *member)
{
	struct json_object *list = json_object_new_array();
	struct json_object *ips = json_object_object_get(member, "ips");
	char text[IP_TEXT_LEN];
	struct cidr c;

	for (size_t i = 0; ips && i < json_object_array_length(ips); i++) {
		const char *ip = json_object_get_string(json_object_array_get_idx(ips, i));

		if (!ip || !cidr_parse(ip, &c))
			continue;
		ip_format(&c.ip, text);
		json_object_array_add(list, json_object_new_string(text));
	}
	return list;
}

struct json_object *topology_node_definition(struct json_object *node, struct json_object *member)
{
	struct json_object *o = json_object_new_object();
	struct json_object *labels = json_object_object_get(node, "labels");
	struct json_object *macs = json_object_object_get(member, "macs");

	json_set_string(o, "name", record_text(node, "name"));
	json_set_string(o, "public_key", record_text(node, "public_key"));
	json_object_object_add(o, "ips", bare_addresses(member));
	if (macs)
		json_object_object_add(o, "macs", json_object_get(macs));
	json_set_bool(o, "approved", member_is_active(member));
	json_object_object_add(
		o, "labels", labels ? json_object_get(labels) : json_object_new_object());
	return o;
}

/* -- the order in a document: by what is defined, never by ids -- */

static int compare_names(const void *va, const void *vb)
{
	return strcmp(record_text(*(struct json_object *const *)va, "name"),
		record_text(*(struct json_object *const *)vb, "name"));
}

static int compare_addresses(const void *va, const void *vb)
{
	struct ip_range a = {0}, b = {0};
	int order;

	ip_range_parse(record_text(*(struct json_object *const *)va, "address"), &a);
	ip_range_parse(record_text(*(struct json_object *const *)vb, "address"), &b);
	order = ip_compare(&a.first, &b.first);
	return order ? order : ip_compare(&b.last, &a.last);
}

int topology_rule_order(const void *va, const void *vb)
{
	struct json_object *a = *(struct json_object *const *)va;
	struct json_object *b = *(struct json_object *const *)vb;
	int64_t pa = record_int(a, "priority"), pb = record_int(b, "priority");
	int order = strcmp(record_text(b, "action"), record_text(a, "action")); /* deny first */

	if (pa != pb)
		return pa < pb ? -1 : 1;
	return order ? order : strcmp(json_object_to_json_string(a), json_object_to_json_string(b));
}

/* -- sections -- */

struct section {
	struct json_object *list;
	struct json_object *names;
};

static int add_definition(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	struct section *s = ctx;

	(void)id;
	(void)revision;
	(void)p;
	json_object_array_add(s->list, topology_definition(record, s->names));
	return 0;
}

static int add_section(struct registry *r, const struct netobj_kind *kind, const char *net_id,
	const char *member, struct json_object *names, int (*order)(const void *, const void *),
	struct json_object *doc, struct problem *p)
{
	struct section s = {.list = json_object_new_array(), .names = names};

	json_object_object_add(doc, member, s.list);
	int rc = netobj_each(r, kind, net_id, add_definition, &s, p);

	if (!rc)
		json_object_array_sort(s.list, order);
	return rc;
}

/* Fills names, too. */
static int add_nodes(struct registry *r, const char *net_id, struct json_object *doc,
	struct json_object *names, struct problem *p)
{
	CLEANUP(store_items) struct store_items members = {0};
	struct json_object *list = json_object_new_array();
	int rc = store_range(r->store, KEY("/members/%s/", net_id), NULL, 0, &members);

	json_object_object_add(doc, "nodes", list);
	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < members.count; i++) {
		CLEANUP(json) struct json_object *member = NULL;
		CLEANUP(record) struct record node = {0};
		const char *value = members.items[i].value;
		const char *id = registry_key_tail(members.items[i].key);

		if (json_parse(value, strlen(value), &member, NULL))
			return problem_from_store(p, -VAN_E_CORRUPT);
		rc = node_load(r, id, &node, p);
		if (rc == -ENOENT)
			continue;
		if (rc)
			return rc;
		json_set_string(names, id, record_text(node.o, "name"));
		json_object_array_add(list, topology_node_definition(node.o, member));
	}
	json_object_array_sort(list, compare_names);
	return 0;
}

static int add_cloak(struct registry *r, const char *net_id, struct json_object *names,
	struct json_object *doc, struct problem *p)
{
	CLEANUP(json) struct json_object *cloak = NULL;
	struct json_object *policy, *rules, *list;
	uint64_t revision;
	/* What is pending is what somebody wants: the document says so, confirmed or not. */
	int rc = cloak_load(r, net_id, clock_wall_ns() / NS_PER_S, &cloak, &revision, p);

	if (rc)
		return rc;
	policy = cloak_policy(cloak);
	json_object_object_add(doc, "cloak", policy);
	rules = json_object_object_get(policy, "rules");
	list = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(rules); i++)
		json_object_array_add(
			list, topology_definition(json_object_array_get_idx(rules, i), names));
	json_object_array_sort(list, topology_rule_order);
	json_object_object_add(policy, "rules", list);
	return 0;
}

static int add_network(
	struct registry *r, const struct network *net, struct json_object *doc, struct problem *p)
{
	CLEANUP(json) struct json_object *names = json_object_new_object();
	CLEANUP(json) struct json_object *spec = NULL;
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, KEY("/nets/%s", net->id), &rec, p);

	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "network", net->spec.name) : rc;
	spec = network_spec_to_json(&net->spec, json_object_object_get(rec.o, "labels"));
	json_object_object_foreach(spec, name, value)
		json_object_object_add(doc, name, json_object_get(value));
	rc = add_nodes(r, net->id, doc, names, p);
	if (!rc)
		rc = add_section(r, &reservation_kind, net->id, "reservations", names,
			compare_addresses, doc, p);
	if (!rc)
		rc = add_section(
			r, &gateway_kind, net->id, "gateways", names, compare_names, doc, p);
	if (!rc)
		rc = add_section(
			r, &fip_kind, net->id, "floating_ips", names, compare_addresses, doc, p);
	return rc ? rc : add_cloak(r, net->id, names, doc, p);
}

int topology_export(struct registry *r, const char *org, const char *net_ref,
	struct json_object **ret_document, struct problem *p)
{
	CLEANUP(json) struct json_object *document = json_object_new_object();
	struct json_object *networks = json_object_new_array(), *one = json_object_new_object();
	struct network net;
	int rc = network_by_ref(r, org, net_ref, &net, p);

	json_set_string(document, "format", TOPOLOGY_FORMAT);
	json_set_int(document, "version", TOPOLOGY_VERSION);
	json_object_object_add(document, "networks", networks);
	json_object_array_add(networks, one);
	if (!rc)
		rc = add_network(r, &net, one, p);
	if (!rc)
		*ret_document = STEAL(document);
	return rc;
}
