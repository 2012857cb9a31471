/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document under /cloak/NET is a policy (state, scope, keep_ssh, rules) with changed_at, and,
 * while a change of it waits to be confirmed, due_s and fallback: the policy of before. Nothing has
 * to happen at the deadline for it to count: whoever reads the document later than that sees the
 * fallback (settle_overdue()), and the house-keeping writes down what everybody sees already, so
 * that the nodes hear of it. Nodes know the deadline, too, and need nobody to tell them.
 */
#include "console-api/cloak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/audit.h"
#include "console-api/cloak_rule.h"
#include "console-api/events.h"
#include "console-api/form.h"
#include "console-api/netconf.h"
#include "console-api/node.h"
#include "console-api/page.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/mergepatch.h"

static const char *const states[] = {"off", "on", NULL};
static const char *const scopes[] = {"public", "all", NULL};

/* -- documents -- */

static bool is_pending(struct json_object *doc)
{
	return !strcmp(record_text(doc, "state"), "pending");
}

static bool was_ever_changed(struct json_object *doc)
{
	return record_text(doc, "changed_at")[0];
}

static struct json_object *rules_of(struct json_object *doc)
{
	return json_object_object_get(doc, "rules");
}

static struct json_object *empty_document(void)
{
	struct json_object *doc = json_object_new_object();

	json_set_string(doc, "state", "off");
	json_set_string(doc, "scope", "public");
	json_set_bool(doc, "keep_ssh", true);
	json_object_object_add(doc, "rules", json_object_new_array());
	return doc;
}

static void copy_rules(struct json_object *to, struct json_object *from)
{
	for (size_t i = 0; i < json_object_array_length(from); i++)
		json_object_array_add(to, json_object_get(json_object_array_get_idx(from, i)));
}

static void copy_members(struct json_object *to, struct json_object *from)
{
	json_object_object_foreach(from, name, value)
		json_object_object_add(to, name, json_object_get(value));
}

/* True when the deadline has passed; then the document is what it was before the change. */
static bool settle_overdue(struct json_object *doc, uint64_t now_s)
{
	CLEANUP(json) struct json_object *fallback = NULL;

	if (!is_pending(doc) || now_s < (uint64_t)record_int(doc, "due_s"))
		return false;
	fallback = json_object_get(json_object_object_get(doc, "fallback"));
	copy_members(doc, fallback);
	json_object_object_del(doc, "fallback");
	json_object_object_del(doc, "due_s");
	return true;
}

int cloak_load(struct registry *r, const char *net_id, uint64_t now_s, struct json_object **ret_doc,
	uint64_t *ret_revision, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, KEY("/cloak/%s", net_id), &rec, p);

	if (rc && rc != -ENOENT)
		return rc;
	*ret_revision = rec.mod_revision;
	*ret_doc = rc ? empty_document() : STEAL(rec.o);
	settle_overdue(*ret_doc, now_s);
	return 0;
}

struct json_object *cloak_policy(struct json_object *doc)
{
	struct json_object *policy = json_object_new_object();
	bool off = !strcmp(record_text(doc, "state"), "off");

	json_set_string(policy, "state", off ? "off" : "on");
	json_set_string(policy, "scope", record_text(doc, "scope"));
	json_object_object_add(
		policy, "keep_ssh", json_object_get(json_object_object_get(doc, "keep_ssh")));
	json_object_object_add(policy, "rules", json_object_get(rules_of(doc)));
	return policy;
}

/* -- reading -- */

static void read_switches(struct form *f, struct json_object *doc, struct json_object *policy)
{
	size_t state = strcmp(record_text(doc, "state"), "off") != 0;
	size_t scope = !strcmp(record_text(doc, "scope"), "all");
	bool keep_ssh = json_object_get_boolean(json_object_object_get(doc, "keep_ssh"));

	form_word(f, "state", FORM_OPTIONAL, states, &state);
	form_word(f, "scope", FORM_OPTIONAL, scopes, &scope);
	form_bool(f, "keep_ssh", FORM_OPTIONAL, &keep_ssh);
	json_set_string(policy, "state", states[state]);
	json_set_string(policy, "scope", scopes[scope]);
	json_set_bool(policy, "keep_ssh", keep_ssh);
}

/* Rules that the document has keep their id and age. */
static int settle_rules(struct netconf *conf, struct json_object *doc, struct form *f,
	struct json_object *list, struct json_object *rules, struct problem *p)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *rule = NULL, *known;
		struct form item;
		char member[32];
		int rc;

		if (!form_item(f, "rules", i, &item))
			continue;
		rc = cloak_rule_settle(conf, &item, &rule, p);
		if (rc == -VAN_E_INVALID)
			continue; /* there may be more to say */
		if (rc)
			return rc;
		snprintf(member, sizeof(member), "rules/%zu", i);
		if (cloak_rule_find(rules, rule)) {
			json_object_put(rule);
			return netconf_problem(p, 409, "rule_exists", POINTER(f, member),
				"there is such a rule already");
		}
		known = cloak_rule_find(rules_of(doc), rule);
		cloak_rule_name(rule, known);
		json_object_array_add(rules, rule);
	}
	return 0;
}

int cloak_settle(struct netconf *conf, struct json_object *doc, struct form *f,
	struct json_object **ret_policy, struct problem *p)
{
	CLEANUP(json) struct json_object *policy = json_object_new_object();
	CLEANUP(json) struct json_object *rules = json_object_new_array();
	struct json_object *list;
	int rc = 0;

	read_switches(f, doc, policy);
	if (form_array(f, "rules", FORM_OPTIONAL, CLOAK_RULES_MAX, &list))
		rc = settle_rules(conf, doc, f, list, rules, p);
	else
		copy_rules(rules, rules_of(doc));
	if (!rc)
		rc = form_end(f);
	if (rc)
		return rc;
	json_object_array_sort(rules, cloak_rule_order);
	json_object_object_add(policy, "rules", STEAL(rules));
	*ret_policy = STEAL(policy);
	return 0;
}

/* -- writing -- */

/* Does the change take something away that was let in? A change of a rule is a rule that goes and
 * one that comes. */
static bool restricts(struct json_object *old, struct json_object *new)
{
	struct json_object *before = rules_of(old), *after = rules_of(new);

	if (!strcmp(record_text(new, "state"), "off"))
		return false;
	if (!strcmp(record_text(old, "state"), "off"))
		return true;
	if (strcmp(record_text(old, "scope"), record_text(new, "scope")) != 0 &&
		!strcmp(record_text(new, "scope"), "all"))
		return true;
	if (json_object_get_boolean(json_object_object_get(old, "keep_ssh")) &&
		!json_object_get_boolean(json_object_object_get(new, "keep_ssh")))
		return true;
	for (size_t i = 0; i < json_object_array_length(before); i++) {
		struct json_object *rule = json_object_array_get_idx(before, i);

		if (cloak_rule_allows(rule) && !cloak_rule_same_in(after, rule))
			return true;
	}
	for (size_t i = 0; i < json_object_array_length(after); i++) {
		struct json_object *rule = json_object_array_get_idx(after, i);

		if (!cloak_rule_allows(rule) && !cloak_rule_same_in(before, rule))
			return true;
	}
	return false;
}

/* The nodes that have rules of their own hear of it in their own part of the netmap. */
static void touch_nodes(struct store_txn *txn, struct json_object *doc)
{
	struct json_object *rules = rules_of(doc),
			   *fallback = json_object_object_get(doc, "fallback");

	for (size_t i = 0; rules && i < json_object_array_length(rules); i++) {
		const char *node = record_text(json_object_array_get_idx(rules, i), "node");

		if (node[0])
			registry_touch_node(txn, node);
	}
	if (fallback)
		touch_nodes(txn, fallback);
}

static void put_document(struct store_txn *txn, const char *net_id, struct json_object *doc)
{
	char seconds[24];

	registry_put(txn, KEY("/cloak/%s", net_id), doc);
	snprintf(seconds, sizeof(seconds), "%lld", (long long)record_int(doc, "due_s"));
	if (is_pending(doc))
		store_txn_put(txn, KEY("/cloak-due/%s", net_id), seconds);
	else
		store_txn_delete(txn, KEY("/cloak-due/%s", net_id));
	touch_nodes(txn, doc);
}

struct json_object *cloak_build_put(struct store_txn *txn, const char *net_id,
	struct json_object *doc, struct json_object *policy, int64_t confirm_within_s,
	uint64_t now_s)
{
	CLEANUP(json) struct json_object *before = cloak_policy(doc);
	struct json_object *next = json_object_new_object();
	bool off = !strcmp(record_text(policy, "state"), "off");
	struct json_object *fallback = NULL;
	char now[21];

	touch_nodes(txn, doc);
	copy_members(next, policy);
	if (!off && confirm_within_s && is_pending(doc))
		fallback = json_object_object_get(doc, "fallback");
	else if (!off && confirm_within_s && restricts(before, policy))
		fallback = before;
	if (fallback) {
		json_set_string(next, "state", "pending");
		json_object_object_add(next, "fallback", json_object_get(fallback));
		json_set_int(next, "due_s", (int64_t)now_s + confirm_within_s);
	}
	clock_format_rfc3339(now_s * NS_PER_S, now);
	json_set_string(next, "changed_at", now);
	put_document(txn, net_id, next);
	return next;
}

/* -- changes -- */

struct edit {
	const struct cloak_edit *e;
	struct json_object *body;
	const char *rule_id; /* NULL: a new one */
	char id[NETMAP_ID_MAX + 1];
};

/* What a change begins with; conf, doc and policy are the caller's to clean up. */
static int begin(struct registry *r, struct store_txn *txn, const struct cloak_edit *e,
	struct netconf *conf, struct json_object **doc, struct json_object **policy,
	struct problem *p)
{
	uint64_t revision;
	int rc = netconf_load(r, txn, e->actor->org, e->net_ref, NULL, conf, p);

	if (!rc)
		rc = cloak_load(r, conf->net.id, e->now_s, doc, &revision, p);
	if (!rc)
		rc = registry_match(e->if_match, revision ? revision : conf->net.mod_revision, p);
	if (!rc)
		*policy = cloak_policy(*doc);
	return rc;
}

static int finish(struct registry *r, struct store_txn *txn, const struct cloak_edit *e,
	const struct netconf *conf, struct json_object *doc, struct json_object *policy,
	const char *action, struct problem *p)
{
	CLEANUP(json) struct json_object *before = cloak_policy(doc);
	CLEANUP(json) struct json_object *next = NULL;
	size_t had, has;
	int rc;

	if (json_object_equal(before, policy))
		return REGISTRY_NO_CHANGE;
	had = json_object_array_length(rules_of(doc));
	has = json_object_array_length(rules_of(policy));
	rc = netconf_build_change(r, txn, &conf->net, p);
	if (!rc && has > had)
		rc = quota_build_add(r, txn, conf->net.org, QUOTA_CLOAK_RULES, has - had, p);
	if (rc)
		return rc;
	next = cloak_build_put(txn, conf->net.id, doc, policy, e->confirm_within_s, e->now_s);
	registry_audit_change(txn, e->actor, action, "cloak", conf->net.id, doc, next);
	return 0;
}

static int build_change(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	const struct edit *ed = ctx;
	CLEANUP(netconf) struct netconf conf = {0};
	CLEANUP(json) struct json_object *doc = NULL;
	CLEANUP(json) struct json_object *policy = NULL;
	CLEANUP(json) struct json_object *switches = NULL;
	CLEANUP(json) struct json_object *merged = NULL;
	struct form f;
	int rc = begin(r, txn, ed->e, &conf, &doc, &policy, p);

	if (rc)
		return rc;
	switches = json_object_new_object();
	copy_members(switches, policy);
	json_object_object_del(switches, "rules");
	merged = mergepatch_apply(switches, ed->body);
	form_init(&f, merged, p);
	read_switches(&f, doc, policy);
	rc = form_end(&f);
	return rc ? rc : finish(r, txn, ed->e, &conf, doc, policy, "cloak.change", p);
}

static int run(struct registry *r, registry_build *build, struct edit *ed, struct problem *p)
{
	int rc = registry_transact(r, build, ed, NULL, p);

	return rc < 0 ? rc : 0;
}

int cloak_change(struct registry *r, const struct cloak_edit *edit, struct json_object *patch,
	struct problem *p)
{
	struct edit ed = {.e = edit, .body = patch};

	return run(r, build_change, &ed, p);
}

static int build_confirm(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	const struct edit *ed = ctx;
	CLEANUP(netconf) struct netconf conf = {0};
	CLEANUP(json) struct json_object *doc = NULL;
	CLEANUP(json) struct json_object *policy = NULL;
	CLEANUP(json) struct json_object *next = NULL;
	int rc = begin(r, txn, ed->e, &conf, &doc, &policy, p);

	if (rc)
		return rc;
	if (!is_pending(doc))
		return problem_set(p, 409, "not_pending",
			"there is nothing to confirm: the cloak of \"%s\" %s%s%s",
			conf.net.spec.name, was_ever_changed(doc) ? "is " : "was never switched on",
			was_ever_changed(doc) ? record_text(doc, "state") : "",
			was_ever_changed(doc)
				? ", and what was not confirmed in time was taken back"
				: "");
	rc = netconf_build_change(r, txn, &conf.net, p);
	if (rc)
		return rc;
	next = cloak_build_put(txn, conf.net.id, doc, policy, 0, ed->e->now_s);
	registry_audit_change(txn, ed->e->actor, "cloak.confirm", "cloak", conf.net.id, doc, next);
	return 0;
}

int cloak_confirm(struct registry *r, const struct cloak_edit *edit, struct problem *p)
{
	struct edit ed = {.e = edit};

	return run(r, build_confirm, &ed, p);
}

/* -- rules -- */

/* The policy's own list of rules, to be changed: that of the document stays what it was. */
static struct json_object *own_rules(struct json_object *policy)
{
	struct json_object *rules = json_object_new_array();

	copy_rules(rules, rules_of(policy));
	json_object_object_add(policy, "rules", rules);
	return rules;
}

/* Creates a rule, or changes the one of rule_id. */
static int build_rule(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct edit *ed = ctx;
	CLEANUP(netconf) struct netconf conf = {0};
	CLEANUP(json) struct json_object *doc = NULL;
	CLEANUP(json) struct json_object *policy = NULL;
	CLEANUP(json) struct json_object *body = json_object_get(ed->body);
	CLEANUP(json) struct json_object *old = NULL;
	CLEANUP(json) struct json_object *rule = NULL;
	struct json_object *rules;
	struct form f;
	size_t at;
	int rc = begin(r, txn, ed->e, &conf, &doc, &policy, p);

	if (rc)
		return rc;
	rules = own_rules(policy);
	if (ed->rule_id) {
		CLEANUP(json) struct json_object *spec = NULL;

		at = cloak_rule_place(rules, ed->rule_id);
		if (at == json_object_array_length(rules))
			return cloak_rule_missing(&conf.net, ed->rule_id, p);
		old = json_object_get(json_object_array_get_idx(rules, at));
		spec = netobj_spec(old);
		json_object_array_del_idx(rules, at, 1);
		json_object_put(body);
		body = mergepatch_apply(spec, ed->body);
	} else if (json_object_array_length(rules) >= CLOAK_RULES_MAX) {
		rc = problem_set(p, 409, "limit_reached",
			"network \"%s\" has %d rules, as many as there may be", conf.net.spec.name,
			CLOAK_RULES_MAX);
		quota_problem(
			p, QUOTA_CLOAK_RULES, CLOAK_RULES_MAX, json_object_array_length(rules));
		return rc;
	}
	form_init(&f, body, p);
	rc = cloak_rule_settle(&conf, &f, &rule, p);
	if (rc)
		return rc;
	if (cloak_rule_find(rules, rule))
		return problem_set(p, 409, "rule_exists", "there is such a rule already: %s",
			record_text(cloak_rule_find(rules, rule), "id"));
	cloak_rule_name(rule, old);
	snprintf(ed->id, sizeof(ed->id), "%s", record_text(rule, "id"));
	json_object_array_add(rules, STEAL(rule));
	json_object_array_sort(rules, cloak_rule_order);
	return finish(r, txn, ed->e, &conf, doc, policy,
		old ? "cloak.change_rule" : "cloak.create_rule", p);
}

int cloak_rule_create(struct registry *r, const struct cloak_edit *edit, struct json_object *body,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	struct edit ed = {.e = edit, .body = body};
	int rc = run(r, build_rule, &ed, p);

	if (!rc)
		memcpy(ret_id, ed.id, sizeof(ed.id));
	return rc;
}

int cloak_rule_change(struct registry *r, const struct cloak_edit *edit, const char *id,
	struct json_object *patch, struct problem *p)
{
	struct edit ed = {.e = edit, .body = patch, .rule_id = id};

	return run(r, build_rule, &ed, p);
}

static int build_rule_delete(
	struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	const struct edit *ed = ctx;
	CLEANUP(netconf) struct netconf conf = {0};
	CLEANUP(json) struct json_object *doc = NULL;
	CLEANUP(json) struct json_object *policy = NULL;
	struct json_object *rules;
	size_t at;
	int rc = begin(r, txn, ed->e, &conf, &doc, &policy, p);

	if (rc)
		return rc;
	rules = own_rules(policy);
	at = cloak_rule_place(rules, ed->rule_id);
	if (at == json_object_array_length(rules))
		return cloak_rule_missing(&conf.net, ed->rule_id, p);
	json_object_array_del_idx(rules, at, 1);
	return finish(r, txn, ed->e, &conf, doc, policy, "cloak.delete_rule", p);
}

int cloak_rule_delete(
	struct registry *r, const struct cloak_edit *edit, const char *id, struct problem *p)
{
	struct edit ed = {.e = edit, .rule_id = id};

	return run(r, build_rule_delete, &ed, p);
}

/* -- at the deadline -- */

struct taking_back {
	const char *net_id;
	uint64_t now_s;
};

static int build_take_back(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	const struct taking_back *t = ctx;
	struct actor actor = {.who = "console"};
	CLEANUP(record) struct record rec = {0};
	CLEANUP(json) struct json_object *before = NULL;
	struct network net;
	int rc = network_load(r, t->net_id, &net, p);

	if (!rc)
		rc = registry_load(r, KEY("/cloak/%s", t->net_id), &rec, p);
	if (rc == -ENOENT) {
		store_txn_delete(txn, KEY("/cloak-due/%s", t->net_id));
		return 0;
	}
	if (rc)
		return rc;
	before = json_object_new_object();
	copy_members(before, rec.o);
	touch_nodes(txn, rec.o);
	if (!settle_overdue(rec.o, t->now_s))
		return REGISTRY_NO_CHANGE; /* confirmed, or changed again meanwhile */
	rc = netconf_build_change(r, txn, &net, p);
	if (rc)
		return rc;
	put_document(txn, net.id, rec.o);
	memcpy(actor.org, net.org, sizeof(actor.org));
	registry_audit_change(txn, &actor, "cloak.take_back", "cloak", net.id, before, rec.o);
	registry_event(txn, net.org, EVENT_WARNING, "network", net.id,
		"the change of the cloak of network \"%s\" was not confirmed in time and is taken "
		"back",
		net.spec.name);
	log_info("network %s: the change of its cloak was not confirmed and is taken back",
		net.spec.name);
	return 0;
}

void cloak_take_back(struct registry *r, uint64_t now_s, size_t max)
{
	CLEANUP(store_items) struct store_items due = {0};

	if (store_range(r->store, "/cloak-due/", NULL, 0, &due))
		return; /* logged by the store; the next turn tries again */
	for (size_t i = 0; i < due.count && max; i++) {
		struct taking_back t = {
			.net_id = registry_key_tail(due.items[i].key), .now_s = now_s};
		struct problem p = {0};

		if (strtoull(due.items[i].value, NULL, 10) > now_s)
			continue;
		max--;
		if (registry_transact(r, build_take_back, &t, NULL, &p) < 0)
			log_warn("cannot take back a change of the cloak of %s: %s", t.net_id,
				p.detail);
	}
}

/* -- parts of the transactions of others -- */

/* A list without the rules for the node alone; NULL when there are none. */
static struct json_object *without_node(struct json_object *rules, const char *node_id)
{
	struct json_object *left = json_object_new_array();
	size_t count = json_object_array_length(rules);

	for (size_t i = 0; i < count; i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);

		if (strcmp(record_text(rule, "node"), node_id) != 0)
			json_object_array_add(left, json_object_get(rule));
	}
	if (json_object_array_length(left) < count)
		return left;
	json_object_put(left);
	return NULL;
}

int cloak_build_forget(struct registry *r, struct store_txn *txn, const char *net_id,
	const char *node_id, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	struct json_object *fallback, *rules;
	bool changed = false;
	int rc = registry_load(r, KEY("/cloak/%s", net_id), &rec, p);

	if (rc)
		return rc == -ENOENT ? REGISTRY_NO_CHANGE : rc;
	rules = without_node(rules_of(rec.o), node_id);
	if (rules)
		json_object_object_add(rec.o, "rules", rules);
	changed = rules;
	fallback = json_object_object_get(rec.o, "fallback");
	rules = fallback ? without_node(rules_of(fallback), node_id) : NULL;
	if (rules)
		json_object_object_add(fallback, "rules", rules);
	if (!changed && !rules)
		return REGISTRY_NO_CHANGE;
	registry_put(txn, KEY("/cloak/%s", net_id), rec.o);
	return 0;
}

void cloak_build_delete(struct store_txn *txn, const char *net_id)
{
	store_txn_delete(txn, KEY("/cloak/%s", net_id));
	store_txn_delete(txn, KEY("/cloak-due/%s", net_id));
}
