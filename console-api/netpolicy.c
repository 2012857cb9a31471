/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/netpolicy.h"

#include <string.h>
#include "console-api/cloak.h"
#include "console-api/fip.h"
#include "console-api/gateway.h"
#include "console-api/member.h"
#include "console-api/node.h"
#include "lib/cleanup.h"
#include "lib/json.h"

/* Copies members that are not null: netmaps hold none. */
static struct json_object *part_of(struct json_object *record, const char *const *members)
{
	struct json_object *o = json_object_new_object();

	for (; *members; members++) {
		struct json_object *value = json_object_object_get(record, *members);

		if (value)
			json_object_object_add(o, *members, json_object_get(value));
	}
	return o;
}

/* -- gateways and floating IPs -- */

struct collecting {
	struct registry *r;
	const char *net_id;
	const char *node_id;
	struct json_object *all;
};

/* False for a node that is in nobody's netmap: it can be no next hop. */
static int is_active(struct registry *r, const char *net_id, const char *node_id, bool *ret_active,
	struct problem *p)
{
	CLEANUP(record) struct record member = {0};
	CLEANUP(record) struct record node = {0};
	int rc = registry_load(r, KEY("/members/%s/%s", net_id, node_id), &member, p);

	if (!rc)
		rc = node_load(r, node_id, &node, p);
	*ret_active = !rc && member_is_active(member.o) && node_is_active(node.o);
	return rc == -ENOENT ? 0 : rc;
}

static bool is_enabled(struct json_object *gateway)
{
	return json_object_get_boolean(json_object_object_get(gateway, "enabled"));
}

static int add_gateway(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	static const char *const members[] = {"node", "prefixes", "metric", NULL};
	struct collecting *c = ctx;
	bool active = false;
	int rc = 0;

	(void)revision;
	if (is_enabled(record))
		rc = is_active(c->r, c->net_id, record_text(record, "node"), &active, p);
	if (!rc && active)
		json_object_object_add(c->all, id, part_of(record, members));
	return rc;
}

static int add_served(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	static const char *const members[] = {"mode", NULL};
	static const char *const of_health[] = {
		"kind", "target", "port", "interval_s", "failures", NULL};
	struct collecting *c = ctx;
	struct json_object *o, *health;

	(void)revision;
	(void)p;
	if (!is_enabled(record) || strcmp(record_text(record, "node"), c->node_id) != 0)
		return 0;
	o = part_of(record, members);
	health = json_object_object_get(record, "health");
	if (health)
		json_object_object_add(o, "health", part_of(health, of_health));
	json_object_object_add(c->all, id, o);
	return 0;
}

static int add_floating(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	static const char *const members[] = {"address", "candidates", "assigned", "vrid", NULL};
	struct collecting *c = ctx;

	(void)revision;
	(void)p;
	json_object_object_add(c->all, id, part_of(record, members));
	return 0;
}

static int add_all(struct registry *r, const struct netobj_kind *kind, const char *net_id,
	const char *node_id, netobj_visit *visit, struct json_object **ret_all, struct problem *p)
{
	struct collecting c = {.r = r, .net_id = net_id, .node_id = node_id};
	int rc;

	c.all = json_object_new_object();
	rc = netobj_each(r, kind, net_id, visit, &c, p);
	if (rc)
		json_object_put(c.all);
	else
		*ret_all = c.all;
	return rc;
}

/* -- the cloak -- */

/* Rules for this node alone; "": those for all. */
static struct json_object *rules_for(struct json_object *policy, const char *node_id)
{
	static const char *const members[] = {
		"action", "priority", "protocol", "ports", "source", "interface", NULL};
	struct json_object *list = json_object_object_get(policy, "rules");
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *rule = json_object_array_get_idx(list, i);

		if (!strcmp(record_text(rule, "node"), node_id))
			json_object_object_add(o, record_text(rule, "id"), part_of(rule, members));
	}
	return o;
}

static struct json_object *filter_of(struct json_object *policy)
{
	static const char *const members[] = {"state", "scope", "keep_ssh", NULL};
	struct json_object *o = part_of(policy, members);

	json_object_object_add(o, "rules", rules_for(policy, ""));
	return o;
}

/* As it is stored: when it is taken back at its deadline, that is a change of its own, and until it
 * is written down all consoles make the same map of the same marks. NULL: off. */
static int load_cloak(
	struct registry *r, const char *net_id, struct json_object **ret_doc, struct problem *p)
{
	struct json_object *doc;
	uint64_t revision;
	int rc = cloak_load(r, net_id, 0, &doc, &revision, p);

	if (rc)
		return rc;
	*ret_doc = strcmp(record_text(doc, "state"), "off") != 0 ? doc : NULL;
	if (!*ret_doc)
		json_object_put(doc);
	return 0;
}

static int add_cloak(
	struct registry *r, const char *net_id, struct json_object *network, struct problem *p)
{
	CLEANUP(json) struct json_object *doc = NULL;
	struct json_object *cloak, *fallback;
	int rc = load_cloak(r, net_id, &doc, p);

	if (rc || !doc)
		return rc;
	cloak = filter_of(doc);
	json_object_object_add(network, "cloak", cloak);
	fallback = json_object_object_get(doc, "fallback");
	if (!fallback)
		return 0;
	json_set_int(cloak, "due_s", record_int(doc, "due_s"));
	json_object_object_add(cloak, "fallback", filter_of(fallback));
	return 0;
}

static void add_if_any(struct json_object *o, const char *name, struct json_object *rules)
{
	if (json_object_object_length(rules))
		json_object_object_add(o, name, rules);
	else
		json_object_put(rules);
}

/* Nothing at all for a node that no rule is for: what it sees then does not hang on the state of the
 * cloak, and changes of that mark only the nodes that have rules of their own. */
static int add_own_rules(struct registry *r, const char *net_id, const char *node_id,
	struct json_object *network, struct problem *p)
{
	CLEANUP(json) struct json_object *doc = NULL;
	struct json_object *own, *fallback;
	int rc = load_cloak(r, net_id, &doc, p);

	if (rc || !doc)
		return rc;
	own = json_object_new_object();
	fallback = json_object_object_get(doc, "fallback");
	add_if_any(own, "rules", rules_for(doc, node_id));
	if (fallback)
		add_if_any(own, "fallback", rules_for(fallback, node_id));
	add_if_any(network, "cloak_own", own);
	return 0;
}

/* -- the parts -- */

int netpolicy_head(
	struct registry *r, const char *net_id, struct json_object *network, struct problem *p)
{
	struct json_object *gateways, *floating;
	int rc = add_all(r, &gateway_kind, net_id, NULL, add_gateway, &gateways, p);

	if (rc)
		return rc;
	json_object_object_add(network, "gateways", gateways);
	rc = add_all(r, &fip_kind, net_id, NULL, add_floating, &floating, p);
	if (rc)
		return rc;
	json_object_object_add(network, "floating", floating);
	return add_cloak(r, net_id, network, p);
}

int netpolicy_own(struct registry *r, const char *net_id, const char *node_id,
	struct json_object *network, struct problem *p)
{
	struct json_object *serves;
	int rc = add_all(r, &gateway_kind, net_id, node_id, add_served, &serves, p);

	if (rc)
		return rc;
	if (json_object_object_length(serves))
		json_object_object_add(network, "serves", serves);
	else
		json_object_put(serves);
	return add_own_rules(r, net_id, node_id, network, p);
}
