/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wanted, and what has to be written for it. The wanted network is put together from nothing
 * (plan->wanted), with the same checks that single objects go through, so a document is right when
 * the network that it describes is, whatever was there before. What differs from what there is
 * becomes the operations.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/cloak.h"
#include "console-api/cloak_rule.h"
#include "console-api/topology_internal.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

/* -- operations and changes -- */

struct plan_op *plan_add_op(struct plan *plan, enum plan_what what)
{
	struct plan_op *op;

	plan->ops = xrealloc(plan->ops, plan->op_count + 1, sizeof(*plan->ops));
	op = &plan->ops[plan->op_count++];
	*op = (struct plan_op){.what = what};
	return op;
}

void plan_add_change(struct plan *plan, const char *kind, const char *name,
	struct json_object *before, struct json_object *after)
{
	struct json_object *o = json_object_new_object();

	json_set_string(o, "op", !before ? "create" : !after ? "delete" : "update");
	json_set_string(o, "kind", kind);
	json_set_string(o, "name", name);
	json_object_object_add(o, "before", before);
	json_object_object_add(o, "after", after);
	json_object_array_add(plan->changes, o);
}

/* -- objects of a kind -- */

/* An object that there is. */
struct present {
	char id[NETMAP_ID_MAX + 1];
	struct json_object *record; /* owned */
	bool stays;
};

struct objects {
	const struct netobj_kind *kind;
	const char *section;     /* of the document */
	const char *key;         /* member that tells which one it is */
	struct present *present; /* heap */
	size_t count;
	struct json_object *by_key; /* place in present */
};

static void cleanup_objects(struct objects *o)
{
	for (size_t i = 0; i < o->count; i++)
		json_object_put(o->present[i].record);
	free(o->present);
	json_object_put(o->by_key);
}

static int collect(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	struct objects *o = ctx;

	(void)revision;
	(void)p;
	o->present = xrealloc(o->present, o->count + 1, sizeof(*o->present));
	o->present[o->count] = (struct present){.record = json_object_get(record)};
	json_set_int(o->by_key, record_text(record, o->key), (int64_t)o->count);
	snprintf(o->present[o->count++].id, NETMAP_ID_MAX + 1, "%s", id);
	return 0;
}

static struct present *find_present(const struct objects *o, const char *key)
{
	struct json_object *at = NULL;

	if (!json_object_object_get_ex(o->by_key, key, &at))
		return NULL;
	return &o->present[json_object_get_int64(at)];
}

/* Takes a wanted object in: checks it, and writes it where it is not there like that. */
static int want(struct plan *plan, struct objects *o, struct form *item)
{
	CLEANUP(json) struct json_object *spec = NULL;
	CLEANUP(json) struct json_object *before = NULL;
	char id[NETMAP_ID_MAX + 1];
	struct present *old;
	struct plan_op *op;
	int rc;

	registry_new_id(o->kind->id_prefix, id);
	rc = o->kind->settle(&plan->wanted, id, item, &spec, plan->p);
	if (rc)
		return rc;
	old = find_present(o, record_text(spec, o->key));
	if (old) {
		old->stays = true;
		before = netobj_spec(old->record);
		if (json_object_equal(before, spec))
			return 0;
	}
	op = plan_add_op(plan, PLAN_PUT);
	op->kind = o->kind;
	snprintf(op->id, sizeof(op->id), "%s", old ? old->id : id);
	op->before = old ? json_object_get(old->record) : NULL;
	op->after = json_object_get(spec);
	plan_add_change(plan, o->kind->noun, record_text(spec, o->key),
		old ? topology_definition(before, plan->names) : NULL,
		topology_definition(spec, plan->names));
	return 0;
}

static void delete_others(struct plan *plan, struct objects *o)
{
	for (size_t i = 0; i < o->count; i++) {
		struct plan_op *op;

		if (o->present[i].stays)
			continue;
		op = plan_add_op(plan, PLAN_DELETE);
		op->kind = o->kind;
		snprintf(op->id, sizeof(op->id), "%s", o->present[i].id);
		op->before = json_object_get(o->present[i].record);
		plan_add_change(plan, o->kind->noun, record_text(op->before, o->key),
			topology_definition(op->before, plan->names), NULL);
	}
}

/* -- nodes in objects: from names to ids -- */

static void note_missing(struct plan *plan, struct plan_node *n, const char *list,
	struct json_object *object, const char *key)
{
	struct json_object *names = json_object_object_get(plan_missing(plan, n), list);
	const char *name = record_text(object, key);

	if (names)
		json_object_array_add(names, json_object_new_string(name[0] ? name : n->name));
}

/* A name that the document does not have stays: then it is somebody of this network, or an error. */
static const char *id_of(const struct plan_node *n, const char *name)
{
	return n && n->id[0] ? n->id : name;
}

/* NULL when the object is of a node that has to join yet. Owned by the caller. */
static struct json_object *with_node_id(
	struct plan *plan, struct json_object *object, const char *list)
{
	const char *name = record_text(object, "node");
	struct plan_node *n = plan_node_named(plan, name);
	struct json_object *o;

	if (n && !n->id[0]) {
		note_missing(plan, n, list, object, "name");
		return NULL;
	}
	o = json_object_new_object();
	json_object_object_foreach(object, member, value)
		json_object_object_add(o, member, json_object_get(value));
	if (n)
		json_set_string(o, "node", n->id);
	return o;
}

/* Reservations are for names: that of the node here, where it bears another. */
static struct json_object *with_node_name(struct plan *plan, struct json_object *object)
{
	const struct plan_node *n = plan_node_named(plan, record_text(object, "node"));
	struct json_object *o;

	if (!n || !n->id[0])
		return json_object_get(object);
	o = json_object_new_object();
	json_object_object_foreach(object, member, value)
		json_object_object_add(o, member, json_object_get(value));
	json_set_string(o, "node", record_text(n->node.o, "name"));
	return o;
}

static struct json_object *with_candidate_ids(struct plan *plan, struct json_object *object)
{
	struct json_object *o = json_object_new_object(), *names, *ids = NULL;
	struct plan_node *n;

	json_object_object_foreach(object, member, value)
		json_object_object_add(o, member, json_object_get(value));
	names = json_object_object_get(object, "candidates");
	if (json_object_is_type(names, json_type_array))
		ids = json_object_new_array();
	for (size_t i = 0; ids && i < json_object_array_length(names); i++) {
		struct json_object *item = json_object_array_get_idx(names, i);
		bool is_text = json_object_is_type(item, json_type_string);
		const char *name = is_text ? json_object_get_string(item) : "";

		n = plan_node_named(plan, name);
		if (n && !n->id[0])
			note_missing(plan, n, "floating_ips", object, "address");
		else if (is_text)
			json_object_array_add(ids, json_object_new_string(id_of(n, name)));
		else
			json_object_array_add(ids, json_object_get(item)); /* to be refused */
	}
	if (ids)
		json_object_object_add(o, "candidates", ids);
	n = plan_node_named(plan, record_text(object, "assigned"));
	if (n && n->id[0])
		json_set_string(o, "assigned", n->id);
	else if (n)
		json_object_object_add(o, "assigned", NULL);
	if (n && !n->id[0] && !ids)
		note_missing(plan, n, "floating_ips", object, "address");
	return o;
}

static struct json_object *localize(
	struct plan *plan, const struct netobj_kind *kind, struct json_object *object)
{
	if (kind == &gateway_kind)
		return with_node_id(plan, object, "gateways");
	if (kind == &fip_kind)
		return with_candidate_ids(plan, object);
	return with_node_name(plan, object);
}

/* -- sections -- */

static bool is_wanted_member(const struct plan *plan, const char *id)
{
	struct json_object *at = NULL;

	if (!json_object_object_get_ex(plan->by_id, id, &at))
		return false;
	return plan->nodes[json_object_get_int64(at)].wanted;
}

/* What the document does not speak of stays, but for what was a node's that leaves. */
static int want_present(struct plan *plan, struct objects *o, const struct form *f)
{
	for (size_t i = 0; i < o->count; i++) {
		CLEANUP(json) struct json_object *spec = netobj_spec(o->present[i].record);
		CLEANUP(json) struct json_object *own = NULL;
		struct form item;
		int rc;

		if (o->kind == &gateway_kind && !is_wanted_member(plan, record_text(spec, "node")))
			continue;
		/* A copy: its arrays are changed in place. */
		if (json_object_deep_copy(spec, &own, NULL) != 0)
			abort();
		for (size_t k = 0; o->kind == &fip_kind && k < plan->node_count; k++)
			if (!plan->nodes[k].wanted)
				fip_forget(own, plan->nodes[k].id);
		form_init(&item, own, plan->p);
		snprintf(item.where, sizeof(item.where), "%.100s/%s", f->where, o->section);
		rc = want(plan, o, &item);
		if (rc)
			return rc;
	}
	return 0;
}

static int want_listed(
	struct plan *plan, struct objects *o, struct form *f, struct json_object *list)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		CLEANUP(json) struct json_object *local = NULL;
		struct form item;
		int rc;

		if (!form_item(f, o->section, i, &item))
			continue;
		local = localize(plan, o->kind, item.o);
		if (!local)
			continue;
		item.o = local;
		rc = want(plan, o, &item);
		if (rc == -VAN_E_INVALID && plan->p->error_count < PROBLEM_ERRORS_MAX)
			continue; /* there may be more to say */
		if (rc)
			return rc;
	}
	return 0;
}

/* A node that has to join finds its addresses kept for it, unless the document itself says which. */
static int reserve_for_missing(struct plan *plan, struct objects *o)
{
	for (size_t i = 0; i < plan->node_count; i++) {
		struct plan_node *n = &plan->nodes[i];

		if (n->id[0])
			continue;
		plan_missing(plan, n);
		for (size_t k = 0; k < FAMILY_COUNT; k++) {
			CLEANUP(json) struct json_object *spec = NULL;
			char text[IP_TEXT_LEN];
			struct form item;
			int rc;

			if (!n->given[k] ||
				reservations_of_node(plan->wanted.reservations,
					plan->wanted.reservation_count, n->name, n->ips[k].family))
				continue;
			spec = json_object_new_object();
			ip_format(&n->ips[k], text);
			json_set_string(spec, "address", text);
			json_set_string(spec, "node", n->name);
			form_init(&item, spec, plan->p);
			memcpy(item.where, n->pointer, sizeof(item.where));
			rc = want(plan, o, &item);
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int plan_section(struct plan *plan, struct form *f, const struct netobj_kind *kind,
	const char *section, const char *key, struct json_object *list)
{
	__attribute__((cleanup(cleanup_objects))) struct objects o = {
		.kind = kind, .section = section, .key = key, .by_key = json_object_new_object()};
	int rc = 0;

	if (!plan_creates(plan))
		rc = netobj_each(plan->r, kind, plan->net.id, collect, &o, plan->p);
	if (!rc)
		rc = list ? want_listed(plan, &o, f, list) : want_present(plan, &o, f);
	if (!rc && kind == &reservation_kind)
		rc = reserve_for_missing(plan, &o);
	if (!rc && plan->wanted.reservation_count > RESERVATION_MAX) {
		rc = problem_set(plan->p, 409, "limit_reached",
			"network \"%s\" would have %zu reservations, with those of nodes that have to "
			"join: %d are as many as there may be",
			plan->net.spec.name, plan->wanted.reservation_count, RESERVATION_MAX);
		quota_problem(plan->p, QUOTA_RESERVATIONS, RESERVATION_MAX, o.count);
	}
	if (!rc)
		delete_others(plan, &o);
	return rc;
}

/* -- the cloak -- */

static int compare_changes(const void *va, const void *vb)
{
	struct json_object *a = *(struct json_object *const *)va;
	struct json_object *b = *(struct json_object *const *)vb;
	struct json_object *old_a = json_object_object_get(a, "before"),
			   *old_b = json_object_object_get(b, "before"),
			   *new_a = json_object_object_get(a, "after"),
			   *new_b = json_object_object_get(b, "after");

	return topology_rule_order(new_a ? &new_a : &old_a, new_b ? &new_b : &old_b);
}

/* What is in `these` and not, or not so, in `those`; not by ids, which every plan draws anew. */
static struct json_object *rule_changes(
	struct plan *plan, struct json_object *these, struct json_object *those, bool is_new)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(these); i++) {
		struct json_object *rule = json_object_array_get_idx(these, i);
		struct json_object *other = cloak_rule_find(those, rule);
		struct json_object *change, *definition;
		char name[NETMAP_ID_MAX + 160];

		if (is_new ? other && json_object_equal(other, rule) : other != NULL)
			continue;
		cloak_rule_format(rule, plan->names, name, sizeof(name));
		definition = topology_definition(rule, plan->names);
		change = json_object_new_object();
		json_set_string(change, "name", name);
		json_object_object_add(change, is_new ? "after" : "before", definition);
		if (is_new && other)
			json_object_object_add(
				change, "before", topology_definition(other, plan->names));
		json_object_array_add(list, change);
	}
	json_object_array_sort(list, compare_changes);
	return list;
}

static void change_rules(struct plan *plan, struct json_object *old, struct json_object *new)
{
	for (size_t pass = 0; pass < 2; pass++) {
		CLEANUP(json)
		struct json_object *list = pass ? rule_changes(plan, new, old, true)
						: rule_changes(plan, old, new, false);

		for (size_t i = 0; i < json_object_array_length(list); i++) {
			struct json_object *change = json_object_array_get_idx(list, i);

			plan_add_change(plan, "cloak_rule", record_text(change, "name"),
				json_object_get(json_object_object_get(change, "before")),
				json_object_get(json_object_object_get(change, "after")));
		}
	}
}

static struct json_object *switches_of(struct json_object *policy)
{
	struct json_object *o = json_object_new_object();

	json_object_object_foreach(policy, name, value)
	{
		if (strcmp(name, "rules") != 0)
			json_object_object_add(o, name, json_object_get(value));
	}
	return o;
}

/* The policy of the document with nodes by their ids; rules of nodes that have to join stay out. */
static struct json_object *localize_policy(struct plan *plan, struct json_object *policy)
{
	struct json_object *o = json_object_new_object(), *rules, *list;

	json_object_object_foreach(policy, name, value)
		json_object_object_add(o, name, json_object_get(value));
	rules = json_object_object_get(policy, "rules");
	if (!json_object_is_type(rules, json_type_array))
		return o;
	list = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(rules); i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i), *local;

		local = json_object_is_type(rule, json_type_object)
				? with_node_id(plan, rule, "rules")
				: json_object_get(rule);
		if (local)
			json_object_array_add(list, local);
	}
	json_object_object_add(o, "rules", list);
	return o;
}

static int plan_cloak(struct plan *plan, struct form *f)
{
	CLEANUP(json) struct json_object *doc = NULL;
	CLEANUP(json) struct json_object *policy = NULL;
	CLEANUP(json) struct json_object *local = NULL;
	CLEANUP(json) struct json_object *old = NULL;
	struct json_object *before, *after;
	struct plan_op *op;
	struct form child;
	uint64_t revision;
	int rc;

	if (!form_child(f, "cloak", FORM_OPTIONAL, &child))
		return 0;
	rc = cloak_load(plan->r, plan->net.id, plan->im->now_s, &doc, &revision, plan->p);
	if (rc)
		return rc;
	local = localize_policy(plan, child.o);
	child.o = local;
	rc = cloak_settle(&plan->wanted, doc, &child, &policy, plan->p);
	if (rc)
		return rc;
	old = cloak_policy(doc);
	if (json_object_equal(old, policy))
		return 0;
	before = switches_of(old);
	after = switches_of(policy);
	if (json_object_equal(before, after)) {
		json_object_put(before);
		json_object_put(after);
	} else {
		plan_add_change(plan, "cloak", plan->net.spec.name, before, after);
	}
	change_rules(plan, json_object_object_get(old, "rules"),
		json_object_object_get(policy, "rules"));
	op = plan_add_op(plan, PLAN_CLOAK);
	op->before = STEAL(doc);
	op->after = STEAL(policy);
	return 0;
}

/* -- nodes -- */

static void name_nodes(struct plan *plan)
{
	for (size_t i = 0; i < plan->node_count; i++) {
		const struct plan_node *n = &plan->nodes[i];

		if (n->id[0])
			json_set_string(plan->names, n->id, record_text(n->node.o, "name"));
	}
}

static int compare_ids(const void *va, const void *vb)
{
	return strcmp(*(const char *const *)va, *(const char *const *)vb);
}

/* Who will be a member, for the checks of what names nodes. */
static void list_members(struct plan *plan)
{
	size_t n = 0;

	plan->member_ids = xcalloc(plan->node_count + 1, sizeof(*plan->member_ids));
	for (size_t i = 0; i < plan->node_count; i++)
		if (plan->nodes[i].wanted && plan->nodes[i].id[0])
			plan->member_ids[n++] = plan->nodes[i].id;
	qsort(plan->member_ids, n, sizeof(*plan->member_ids), compare_ids);
	plan->wanted.members = plan->member_ids;
	plan->wanted.member_count = n;
}

static void diff_node(struct plan *plan, size_t at)
{
	struct plan_node *n = &plan->nodes[at];
	CLEANUP(json) struct json_object *member = NULL;
	struct json_object *labels = json_object_object_get(n->node.o, "labels");
	struct json_object *before, *after;
	bool relabels, changes;

	if (!n->id[0] || (!n->wanted && !n->member.o))
		return;
	before = n->member.o ? topology_node_definition(n->node.o, n->member.o) : NULL;
	if (!n->wanted) {
		plan_add_op(plan, PLAN_REMOVE)->node = at;
		plan_add_change(plan, "node", record_text(n->node.o, "name"), before, NULL);
		return;
	}
	member = plan_member(plan, n);
	changes = !n->member.o || !json_object_equal(member, n->member.o);
	relabels = n->labels && (labels ? !json_object_equal(n->labels, labels)
					: json_object_object_length(n->labels) > 0);
	if (!changes && !relabels) {
		json_object_put(before);
		return;
	}
	after = topology_node_definition(n->node.o, member);
	if (n->labels)
		json_object_object_add(after, "labels", json_object_get(n->labels));
	plan_add_change(plan, "node", record_text(n->node.o, "name"), before, after);
	if (changes)
		plan_add_op(plan, PLAN_MEMBER)->node = at;
	if (relabels)
		plan_add_op(plan, PLAN_LABELS)->node = at;
}

/* In the answer they come right after the network itself, as in documents. */
static void diff_nodes(struct plan *plan)
{
	struct json_object *others = plan->changes;
	size_t count = json_object_array_length(others), i = 0;
	struct json_object *first = json_object_array_get_idx(others, 0);

	plan->changes = json_object_new_array();
	if (first && !strcmp(record_text(first, "kind"), "network"))
		json_object_array_add(
			plan->changes, json_object_get(json_object_array_get_idx(others, i++)));
	for (size_t k = 0; k < plan->node_count; k++)
		diff_node(plan, k);
	for (; i < count; i++)
		json_object_array_add(
			plan->changes, json_object_get(json_object_array_get_idx(others, i)));
	json_object_put(others);
}

/* -- the whole -- */

/* What the form is asked for, so that its end knows it. */
struct sections {
	struct json_object *nodes, *reservations, *gateways, *fips;
};

static void ask_sections(struct form *f, struct sections *s)
{
	form_array(f, "nodes", FORM_OPTIONAL, TOPOLOGY_NODES_MAX, &s->nodes);
	form_array(f, "reservations", FORM_OPTIONAL, RESERVATION_MAX, &s->reservations);
	form_array(f, "gateways", FORM_OPTIONAL, GATEWAY_MAX, &s->gateways);
	form_array(f, "floating_ips", FORM_OPTIONAL, FIP_MAX, &s->fips);
	form_has(f, "cloak");
}

static int plan_addresses(struct plan *plan)
{
	plan->wanted.r = plan->r;
	plan->wanted.net = plan->net;
	plan->wanted.adopting = true;
	name_nodes(plan);
	list_members(plan);
	if (!plan_creates(plan)) {
		int rc = netconf_load(
			plan->r, NULL, plan->net.org, plan->net.id, NULL, &plan->actual, plan->p);

		if (rc)
			return rc;
	}
	return plan_hold_addresses(plan);
}

int plan_make(struct plan *plan, struct form *f)
{
	struct sections s = {0};
	int rc;

	plan->by_name = json_object_new_object();
	plan->by_id = json_object_new_object();
	plan->names = json_object_new_object();
	plan->changes = json_object_new_array();
	plan->missing = json_object_new_array();
	plan->warnings = json_object_new_array();
	rc = plan_read_network(plan, f);
	if (rc)
		return rc;
	ask_sections(f, &s);
	if (!f->p->error_count)
		rc = plan_read_nodes(plan, f, s.nodes);
	if (!rc)
		rc = form_end(f);
	if (!rc)
		rc = plan_addresses(plan);
	if (!rc)
		rc = plan_section(
			plan, f, &reservation_kind, "reservations", "address", s.reservations);
	if (!rc)
		rc = plan_section(plan, f, &fip_kind, "floating_ips", "address", s.fips);
	if (!rc)
		rc = plan_section(plan, f, &gateway_kind, "gateways", "name", s.gateways);
	if (!rc)
		rc = plan_cloak(plan, f);
	if (!rc)
		rc = form_end(f); /* errors of items were collected */
	if (!rc)
		rc = plan_choose_addresses(plan);
	if (!rc)
		rc = plan_grant_macs(plan);
	if (!rc)
		rc = plan_warn_of_overlaps(plan);
	if (!rc)
		diff_nodes(plan);
	return rc;
}

void plan_done(struct plan *plan)
{
	for (size_t i = 0; i < plan->node_count; i++) {
		record_done(&plan->nodes[i].node);
		record_done(&plan->nodes[i].member);
	}
	for (size_t i = 0; i < plan->op_count; i++) {
		json_object_put(plan->ops[i].before);
		json_object_put(plan->ops[i].after);
	}
	free(plan->nodes);
	free(plan->ops);
	free(plan->member_ids);
	netconf_done(&plan->actual);
	netconf_done(&plan->wanted);
	record_done(&plan->net_record);
	json_object_put(plan->merged);
	json_object_put(plan->by_name);
	json_object_put(plan->by_id);
	json_object_put(plan->names);
	json_object_put(plan->changes);
	json_object_put(plan->missing);
	json_object_put(plan->warnings);
	*plan = (struct plan){0};
}
