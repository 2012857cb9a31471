/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of a network in a document against those of the network that there is. */
#include <stdio.h>
#include <string.h>
#include "console-api/topology_internal.h"
#include "lib/cleanup.h"
#include "lib/json.h"

static void fix(struct form *f, const char *name, struct json_object *old, struct json_object *new)
{
	struct json_object *was = json_object_object_get(old, name);

	if (!json_object_equal(was, json_object_object_get(new, name)))
		form_fail(f, name,
			"is %s there, and cannot be changed: import it under another name",
			was ? json_object_get_string(was) : "none");
}

/* What the document leaves out stays as it is. */
static void complete(struct plan *plan, struct json_object *doc, struct json_object *old)
{
	static const char *const kept[] = {
		"cidr6", "encryption", "mtu", "require_approval", "labels"};

	plan->merged = json_object_new_object();
	json_object_object_foreach(doc, name, value)
		json_object_object_add(plan->merged, name, json_object_get(value));
	if (plan->im->name)
		json_set_string(plan->merged, "name", plan->im->name);
	for (size_t i = 0; old && i < sizeof(kept) / sizeof(kept[0]); i++)
		if (!json_object_object_get_ex(plan->merged, kept[i], NULL))
			json_object_object_add(plan->merged, kept[i],
				json_object_get(json_object_object_get(old, kept[i])));
}

/* The network of this name, if there is one. */
static int load_network(struct plan *plan, const char *name)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = registry_index(plan->r, KEY("/names/%s/network/%s", plan->im->actor->org, name),
		id, NULL, plan->p);

	if (!rc)
		rc = registry_load(plan->r, KEY("/nets/%s", id), &plan->net_record, plan->p);
	if (!rc)
		rc = network_load(plan->r, id, &plan->net, plan->p);
	return rc == -ENOENT ? 0 : rc;
}

int plan_read_network(struct plan *plan, struct form *f)
{
	CLEANUP(json) struct json_object *old = NULL;
	CLEANUP(json) struct json_object *new = NULL;
	const char *name = plan->im->name ? plan->im->name : record_text(f->o, "name");
	struct network_spec spec;
	struct plan_op *op;
	int rc = netmap_name_valid(name) ? load_network(plan, name) : 0;

	if (rc)
		return rc;
	snprintf(plan->net.org, sizeof(plan->net.org), "%s", plan->im->actor->org);
	if (!plan_creates(plan))
		old = network_spec_to_json(
			&plan->net.spec, json_object_object_get(plan->net_record.o, "labels"));
	complete(plan, f->o, old);
	f->o = plan->merged;
	network_spec_read(f, &spec);
	if (f->p->error_count)
		return 0; /* told at the form's end */
	plan->net.spec = spec;
	plan->net.spec.labels = NULL;
	plan->labels = spec.labels;
	new = network_spec_to_json(&spec, spec.labels);
	if (!old) {
		plan_add_change(plan, "network", spec.name, NULL, STEAL(new));
		return 0;
	}
	fix(f, "cidr", old, new);
	fix(f, "cidr6", old, new);
	fix(f, "encryption", old, new);
	if (json_object_equal(old, new))
		return 0;
	op = plan_add_op(plan, PLAN_NETWORK);
	op->before = json_object_get(plan->net_record.o);
	plan_add_change(plan, "network", spec.name, STEAL(old), STEAL(new));
	return 0;
}

/* -- overlaps -- */

static bool overlap(const struct cidr *a, const struct cidr *b)
{
	return a->ip.family != AF_UNSPEC && cidr_overlaps(a, b);
}

/* The first of the wanted nodes that is in the other network, too; NULL: none is. */
static int find_common(
	struct plan *plan, const char *net_id, const struct plan_node **ret_node, size_t *ret_count)
{
	*ret_node = NULL;
	*ret_count = 0;
	for (size_t i = 0; i < plan->node_count; i++) {
		const struct plan_node *n = &plan->nodes[i];
		CLEANUP(store_item) struct store_item item = {0};
		int rc = -ENOENT;

		if (n->wanted && n->id[0])
			rc = store_get(plan->r->store, KEY("/members/%s/%s", net_id, n->id), &item);
		if (rc && rc != -ENOENT)
			return problem_from_store(plan->p, rc);
		if (!rc && !(*ret_count)++)
			*ret_node = n;
	}
	return 0;
}

static int warn_of(struct plan *plan, const char *net_id)
{
	const struct plan_node *node;
	struct network other;
	char text[512], more[48] = "";
	size_t count;
	int rc = network_load(plan->r, net_id, &other, plan->p);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (!overlap(&plan->net.spec.cidr, &other.spec.cidr) &&
		!overlap(&plan->net.spec.cidr6, &other.spec.cidr6))
		return 0;
	rc = find_common(plan, net_id, &node, &count);
	if (rc || !count)
		return rc;
	if (count > 1)
		snprintf(more, sizeof(more), " and %zu more", count - 1);
	snprintf(text, sizeof(text),
		"network %s has addresses in common with network %s, which %s%s %s in as well: such "
		"a node reaches the peers of one of the two only",
		plan->net.spec.name, other.spec.name, record_text(node->node.o, "name"), more,
		count > 1 ? "are" : "is");
	json_object_array_add(plan->warnings, json_object_new_string(text));
	return 0;
}

int plan_warn_of_overlaps(struct plan *plan)
{
	CLEANUP(store_items) struct store_items names = {0};
	int rc = store_range(
		plan->r->store, KEY("/names/%s/network/", plan->net.org), NULL, 0, &names);

	if (rc)
		return problem_from_store(plan->p, rc);
	for (size_t i = 0; i < names.count && !rc; i++) {
		char id[NETMAP_ID_MAX + 1];

		rc = registry_index_value(&names.items[i], id, plan->p);
		if (!rc && strcmp(id, plan->net.id) != 0)
			rc = warn_of(plan, id);
	}
	return rc;
}
