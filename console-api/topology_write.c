/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a plan to a transaction. Addresses and MACs have one owner each, by their keys, so who gets
 * one that another gives up is written after him: before every operation come those of the present
 * owners of what it takes. What is written that far can be committed at any point and leaves a sound
 * network, so a store that takes small transactions only gets a part, and the rest is planned anew.
 * But for rings (two nodes that swap addresses): those are written as one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/audit.h"
#include "console-api/cloak.h"
#include "console-api/events.h"
#include "console-api/member.h"
#include "console-api/topology_internal.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

/* An operation that waits for those that come before it. */
struct step {
	struct plan_op *op;
	size_t next; /* of them, to be asked for */
};

struct writing {
	struct plan *plan;
	struct store_txn *txn;
	struct json_object *op_of; /* id of a holder of addresses: its operation */
	size_t rings;              /* operations that have yet to close one */
	struct step *steps;        /* heap; room for all operations */
};

/* -- one operation -- */

/* Gives up a key, unless the transaction has given it to somebody else. */
static void release(struct store_txn *txn, const char *key)
{
	const struct store_op *op = store_txn_find(txn, key);

	if (!op || op->kind != STORE_PUT)
		store_txn_delete(txn, key);
}

static struct registry_key address_key(const char *net_id, const char *cidr_text)
{
	char text[ALLOC_ADDRESS_KEY_LEN] = "";
	struct cidr c;

	if (cidr_parse(cidr_text, &c))
		alloc_address_key(&c.ip, text);
	return registry_key("/addr/%s/%s", net_id, text);
}

static bool holds_text(struct json_object *list, const char *text)
{
	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		if (!strcmp(json_object_get_string(json_object_array_get_idx(list, i)), text))
			return true;
	return false;
}

/* Keys of addresses and MACs: those that are no longer in the list go, new ones come. */
static void write_keys(struct store_txn *txn, const char *net_id, const char *node_id,
	struct json_object *old, struct json_object *new, bool macs)
{
	char owner[2 * NETMAP_ID_MAX + 2];

	snprintf(owner, sizeof(owner), "%s/%s", net_id, node_id);
	for (size_t i = 0; old && i < json_object_array_length(old); i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(old, i));

		if (!holds_text(new, text))
			release(txn,
				macs ? KEY("/mac/%.17s", text) : address_key(net_id, text).text);
	}
	for (size_t i = 0; i < json_object_array_length(new); i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(new, i));

		if (holds_text(old, text))
			continue;
		if (macs)
			registry_put_index(txn, KEY("/mac/%.17s", text), owner);
		else
			registry_put_index(txn, address_key(net_id, text).text, node_id);
	}
}

static void draw_mac(struct store_txn *txn, struct json_object *member)
{
	struct json_object *macs = json_object_new_array();
	char text[MAC_TEXT_LEN];
	struct mac mac;

	alloc_random_mac(&mac);
	mac_format(&mac, text);
	store_txn_expect(txn, KEY("/mac/%s", text), 0);
	json_object_array_add(macs, json_object_new_string(text));
	json_object_object_add(member, "macs", macs);
}

/* MACs that nobody has may be taken by somebody in another network meanwhile. */
static int expect_macs(struct writing *w, struct plan_node *n)
{
	for (size_t i = 0; i < n->mac_count; i++) {
		CLEANUP(store_item) struct store_item item = {0};
		char text[MAC_TEXT_LEN];
		int rc;

		mac_format(&n->macs[i], text);
		rc = store_get(w->plan->r->store, KEY("/mac/%s", text), &item);
		if (rc && rc != -ENOENT)
			return problem_from_store(w->plan->p, rc);
		store_txn_expect(w->txn, KEY("/mac/%s", text), rc ? 0 : item.mod_revision);
	}
	return 0;
}

static void say(struct writing *w, const struct plan_node *n, const char *what)
{
	registry_event(w->txn, w->plan->net.org, EVENT_INFO, "node", n->id, "%s was %s network %s",
		record_text(n->node.o, "name"), what, w->plan->net.spec.name);
}

static int write_member(struct writing *w, struct plan_node *n)
{
	CLEANUP(json) struct json_object *member = plan_member(w->plan, n);
	const char *net_id = w->plan->net.id;
	struct json_object *old = n->member.o;
	int rc = expect_macs(w, n);

	if (rc)
		return rc;
	if (!json_object_object_get(member, "macs"))
		draw_mac(w->txn, member);
	store_txn_expect(w->txn, KEY("/members/%s/%s", net_id, n->id), n->member.mod_revision);
	store_txn_expect(w->txn, KEY("/nodes/%s", n->id), n->node.mod_revision);
	registry_put(w->txn, KEY("/members/%s/%s", net_id, n->id), member);
	if (!old)
		registry_put_index(w->txn, KEY("/node-nets/%s/%s", n->id, net_id), "");
	write_keys(w->txn, net_id, n->id, json_object_object_get(old, "ips"),
		json_object_object_get(member, "ips"), false);
	write_keys(w->txn, net_id, n->id, json_object_object_get(old, "macs"),
		json_object_object_get(member, "macs"), true);
	registry_touch_node(w->txn, n->id);
	if (!old)
		say(w, n, "added to");
	else if (n->approved && !member_is_active(old))
		say(w, n, "approved in");
	return 0;
}

static int write_removal(struct writing *w, const struct plan_node *n)
{
	struct plan *plan = w->plan;
	int rc = member_build_remove(plan->r, w->txn, plan->net.id, n->id, plan->p);

	if (!rc)
		rc = netconf_build_forget(plan->r, w->txn, NULL, plan->net.id, n->id, plan->p);
	if (!rc)
		say(w, n, "taken out of");
	return rc == -ENOENT ? problem_from_store(plan->p, -EBUSY) : rc;
}

static void write_labels(struct writing *w, struct plan_node *n)
{
	json_object_object_add(n->node.o, "labels", json_object_get(n->labels));
	store_txn_expect(w->txn, KEY("/nodes/%s", n->id), n->node.mod_revision);
	registry_put(w->txn, KEY("/nodes/%s", n->id), n->node.o);
}

static void write_network(struct writing *w)
{
	CLEANUP(json)
	struct json_object *record = network_to_json(&w->plan->net, w->plan->labels);

	registry_put(w->txn, KEY("/nets/%s", w->plan->net.id), record);
}

static void write_cloak(struct writing *w, const struct plan_op *op)
{
	const struct topology_import *im = w->plan->im;
	CLEANUP(json)
	struct json_object *doc = cloak_build_put(
		w->txn, w->plan->net.id, op->before, op->after, im->confirm_within_s, im->now_s);

	w->plan->confirm_by_s = record_int(doc, "due_s");
}

static int write_op(struct writing *w, struct plan_op *op)
{
	const char *net_id = w->plan->net.id;

	switch (op->what) {
	case PLAN_NETWORK:
		write_network(w);
		return 0;
	case PLAN_REMOVE:
		return write_removal(w, &w->plan->nodes[op->node]);
	case PLAN_DELETE:
		netobj_build_delete(w->txn, op->kind, net_id, op->id, op->before);
		return 0;
	case PLAN_MEMBER:
		return write_member(w, &w->plan->nodes[op->node]);
	case PLAN_LABELS:
		write_labels(w, &w->plan->nodes[op->node]);
		return 0;
	case PLAN_PUT:
		netobj_build_put(w->txn, op->kind, net_id, op->id, op->before, op->after);
		return 0;
	case PLAN_CLOAK:
		write_cloak(w, op);
		return 0;
	case PLAN_WHAT_COUNT:
		break;
	}
	return 0;
}

/* -- the order -- */

static void index_ops(struct writing *w)
{
	struct plan *plan = w->plan;

	for (size_t i = 0; i < plan->op_count; i++) {
		const struct plan_op *op = &plan->ops[i];

		if (op->what == PLAN_REMOVE || op->what == PLAN_MEMBER)
			json_set_int(w->op_of, plan->nodes[op->node].id, (int64_t)i);
		else if (op->kind == &fip_kind)
			json_set_int(w->op_of, op->id, (int64_t)i);
	}
}

/* The operation of who has the address now, if it is another's. */
static struct plan_op *op_of_address(
	const struct writing *w, const struct plan_op *self, const struct ip *ip)
{
	const struct held *holder =
		ip->family == AF_UNSPEC ? NULL : netconf_holder(&w->plan->actual, ip);
	struct json_object *at = NULL;

	if (!holder || !json_object_object_get_ex(w->op_of, holder->id, &at))
		return NULL;
	return &w->plan->ops[json_object_get_int64(at)] == self
		       ? NULL
		       : &w->plan->ops[json_object_get_int64(at)];
}

static struct plan_op *op_of_mac(
	const struct writing *w, const struct plan_op *self, const struct mac *mac)
{
	CLEANUP(record) struct record owner = {0};
	struct json_object *at = NULL;
	struct problem p = {0};
	char text[MAC_TEXT_LEN];
	const char *value, *slash;

	mac_format(mac, text);
	if (registry_load(w->plan->r, KEY("/mac/%s", text), &owner, &p))
		return NULL;
	value = json_object_get_string(owner.o);
	slash = value ? strchr(value, '/') : NULL;
	if (!slash || !json_object_object_get_ex(w->op_of, slash + 1, &at))
		return NULL;
	return &w->plan->ops[json_object_get_int64(at)] == self
		       ? NULL
		       : &w->plan->ops[json_object_get_int64(at)];
}

/* The k-th operation that must come before this one; NULL with *ret_end when there are no more. */
static struct plan_op *comes_before(
	const struct writing *w, const struct plan_op *op, size_t k, bool *ret_end)
{
	const struct plan_node *n = &w->plan->nodes[op->node];
	struct ip ip;

	*ret_end = false;
	if (op->what == PLAN_MEMBER && k < FAMILY_COUNT)
		return op_of_address(w, op, &n->ips[k]);
	if (op->what == PLAN_MEMBER && k - FAMILY_COUNT < n->mac_count)
		return op_of_mac(w, op, &n->macs[k - FAMILY_COUNT]);
	if (op->what == PLAN_PUT && op->kind == &fip_kind && k == 0 &&
		ip_parse(record_text(op->after, "address"), &ip))
		return op_of_address(w, op, &ip);
	*ret_end = true;
	return NULL;
}

/* Half of what the store takes is left for the operation that is begun last, and for the rest. */
static bool is_full(const struct writing *w)
{
	size_t max = store_txn_max(w->plan->r->store) / 2;

	return !w->rings && !w->plan->im->dry_run &&
	       (w->txn->op_count >= max || w->txn->compare_count >= max);
}

/* Writes an operation and what comes before it. *ret_full when it had to stop. */
static int write_with_others(struct writing *w, struct plan_op *first, bool *ret_full)
{
	struct step *steps = w->steps;
	size_t depth = 0;
	int rc = 0;

	steps[depth++] = (struct step){.op = first};
	first->progress = PLAN_VISITED;
	while (depth && !rc && !*ret_full) {
		struct step *step = &steps[depth - 1];
		bool end;
		struct plan_op *other = comes_before(w, step->op, step->next++, &end);

		if (other && other->progress == PLAN_VISITED && !other->closes_ring) {
			other->closes_ring = true;
			w->rings++;
		} else if (other && other->progress == PLAN_WAITS) {
			other->progress = PLAN_VISITED;
			steps[depth++] = (struct step){.op = other};
		} else if (end) {
			rc = write_op(w, step->op);
			step->op->progress = PLAN_WRITTEN;
			w->rings -= step->op->closes_ring;
			depth--;
			*ret_full = is_full(w);
		}
	}
	return rc;
}

/* What the whole transaction is about. */
static int begin(struct plan *plan, struct store_txn *txn)
{
	CLEANUP(json) struct json_object *record = NULL;
	int rc;

	if (plan_creates(plan)) {
		plan->net.spec.labels = plan->labels;
		rc = network_build_create(plan->r, txn, &plan->net, &record, plan->p);
		plan->net.spec.labels = NULL;
		if (!rc)
			store_txn_put(txn, KEY("/netconf/%s", plan->net.id), "\"\"");
		return rc;
	}
	plan->actual.txn = txn;
	rc = netconf_build_change(plan->r, txn, &plan->actual.net, plan->p);
	return rc ? rc : netconf_expect_addresses(&plan->actual, plan->p);
}

int plan_write(struct plan *plan, struct store_txn *txn, bool *ret_more)
{
	CLEANUP(json) struct json_object *op_of = json_object_new_object();
	CLEANUP(json) struct json_object *said = json_object_new_object();
	CLEANUP(free) struct step *steps = NULL;
	struct writing w = {.plan = plan, .txn = txn, .op_of = op_of};
	bool full;
	int rc = begin(plan, txn);

	if (rc)
		return rc;
	full = is_full(&w); /* of the networks before */
	w.steps = steps = xcalloc(plan->op_count, sizeof(*steps));
	index_ops(&w);
	for (int what = 0; what < PLAN_WHAT_COUNT; what++) {
		for (size_t i = 0; i < plan->op_count && !full && !rc; i++)
			if ((int)plan->ops[i].what == what && plan->ops[i].progress == PLAN_WAITS)
				rc = write_with_others(&w, &plan->ops[i], &full);
	}
	if (rc)
		return rc;
	*ret_more = false;
	for (size_t i = 0; i < plan->op_count; i++)
		*ret_more |= plan->ops[i].progress != PLAN_WRITTEN;
	json_set_string(said, "name", plan->net.spec.name);
	json_object_object_add(said, "changes", json_object_get(plan->changes));
	registry_audit_change(txn, plan->im->actor, "topology.import", "network", plan->net.id,
		plan->net_record.o, said);
	return 0;
}
