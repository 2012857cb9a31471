/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/netmap_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/json.h"

#define WHERE_MAX 160
#define ID_CHARS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

/* -- members -- */

static int wrong(struct err *e, const char *where, const char *name, const char *what)
{
	return err_set(e, -VAN_E_INVALID, "%s/%s: %s", where, name, what);
}

static bool id_valid(const char *text)
{
	size_t len = strlen(text);

	return len && len < NETMAP_POLICY_ID_LEN && strspn(text, ID_CHARS) == len;
}

static int copy_id(const char *text, const char *where, const char *name,
	char ret_id[NETMAP_POLICY_ID_LEN], struct err *e)
{
	if (!id_valid(text))
		return wrong(e, where, name, "must be an id");
	memcpy(ret_id, text, strlen(text) + 1);
	return 0;
}

static int read_id(struct json_object *o, const char *where, const char *name,
	char ret_id[NETMAP_POLICY_ID_LEN], struct err *e)
{
	const char *text = NULL;
	int rc = json_opt_string(o, where, name, 1, NETMAP_POLICY_ID_LEN - 1, &text, e);

	return rc || !text ? rc : copy_id(text, where, name, ret_id, e);
}

/* The place of a word in a list, or its end. */
static int read_word(struct json_object *o, const char *where, const char *name,
	const char *const *words, size_t *ret_at, struct err *e)
{
	const char *text;
	int rc = json_get_string(o, where, name, 1, 64, &text, e);
	size_t at = 0;

	while (!rc && words[at] && strcmp(words[at], text) != 0)
		at++;
	*ret_at = at;
	return rc;
}

/*
 * Calls read for each member of an object of objects; it returns 0 to keep the item, 1 to leave it
 * out. *ret_items is heap. An array instead (of a console of version 0.1, always empty) is nothing.
 */
typedef int read_item(
	struct json_object *o, const char *where, const char *id, void *item, struct err *e);

static int read_dictionary(struct json_object *parent, const char *where, const char *name,
	size_t max, size_t item_size, read_item *read, void **ret_items, size_t *ret_count,
	struct err *e)
{
	struct json_object *o = json_object_object_get(parent, name);
	char at[WHERE_MAX];
	uint8_t *items;
	size_t n = 0;
	int rc = 0;

	if (!o || json_object_is_type(o, json_type_array))
		return 0;
	if (!json_object_is_type(o, json_type_object))
		return wrong(e, where, name, "must be an object");
	if ((size_t)json_object_object_length(o) > max)
		return err_set(e, -VAN_E_INVALID, "%s/%s: must have at most %zu members", where,
			name, max);
	if (!json_object_object_length(o))
		return 0;
	items = calloc((size_t)json_object_object_length(o), item_size);
	if (!items)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	/* What was read so far is freed by the caller, also after a failure. */
	*ret_items = items;
	json_object_object_foreach(o, id, value)
	{
		snprintf(at, sizeof(at), "%.80s/%.16s/%.40s", where, name, id);
		if (!id_valid(id))
			return wrong(e, where, name, "must have ids as its members' names");
		if (!json_object_is_type(value, json_type_object))
			return err_set(e, -VAN_E_INVALID, "%s: must be an object", at);
		rc = read(value, at, id, items + n * item_size, e);
		if (rc < 0) {
			*ret_count = n + 1;
			return rc;
		}
		if (rc == 0)
			n++;
		else
			memset(items + n * item_size, 0, item_size);
	}
	*ret_count = n;
	return 0;
}

/* Every item begins with its id. */
static int compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* -- gateways -- */

static int read_prefixes(
	struct json_object *o, const char *where, struct netmap_gateway *gw, struct err *e)
{
	struct json_object *array;
	int rc = json_get_array(o, where, "prefixes", &array, e);

	if (rc)
		return rc;
	if (!json_object_array_length(array) ||
		json_object_array_length(array) > NETMAP_PREFIXES_MAX)
		return wrong(e, where, "prefixes", "must have 1 to 32 items");
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct json_object *item = json_object_array_get_idx(array, i);
		struct cidr *c = &gw->prefixes[gw->prefix_count++];

		if (!json_object_is_type(item, json_type_string) ||
			!cidr_parse(json_object_get_string(item), c) || !cidr_is_network(c))
			return wrong(e, where, "prefixes", "must be networks such as 10.0.0.0/8");
	}
	return 0;
}

static int read_gateway(
	struct json_object *o, const char *where, const char *id, void *item, struct err *e)
{
	struct netmap_gateway *gw = item;
	int64_t metric;
	int rc;

	memcpy(gw->id, id, strlen(id) + 1);
	rc = read_id(o, where, "node", gw->node, e);
	if (!rc && !gw->node[0])
		rc = wrong(e, where, "node", "is required");
	if (!rc)
		rc = json_get_int(o, where, "metric", 1, UINT32_MAX, &metric, e);
	if (rc)
		return rc;
	gw->metric = (uint32_t)metric;
	return read_prefixes(o, where, gw, e);
}

static int read_health(
	struct json_object *o, const char *where, struct netmap_gateway *gw, struct err *e)
{
	static const char *const kinds[] = {"icmp", "tcp", NULL};
	char at[WHERE_MAX + 8];
	const char *target;
	int64_t port = 0, interval_s, failures;
	size_t kind;
	int rc;

	snprintf(at, sizeof(at), "%s/health", where);
	rc = read_word(o, at, "kind", kinds, &kind, e);
	if (!rc && !kinds[kind])
		return 1;
	if (!rc)
		rc = json_get_string(o, at, "target", 1, IP_TEXT_LEN, &target, e);
	if (!rc && !ip_parse(target, &gw->target))
		rc = wrong(e, at, "target", "must be an address");
	if (!rc)
		rc = json_opt_int(o, at, "port", 1, 65535, &port, e);
	if (!rc && kind && !port)
		rc = wrong(e, at, "port", "is required");
	if (!rc)
		rc = json_get_int(o, at, "interval_s", 1, 86400, &interval_s, e);
	if (!rc)
		rc = json_get_int(o, at, "failures", 1, 1000, &failures, e);
	if (rc)
		return rc;
	gw->health = kind ? NETMAP_HEALTH_TCP : NETMAP_HEALTH_ICMP;
	gw->port = (uint16_t)port;
	gw->interval_s = (uint32_t)interval_s;
	gw->failures = (uint32_t)failures;
	return 0;
}

static int read_served(
	struct json_object *o, const char *where, const char *id, void *item, struct err *e)
{
	static const char *const modes[] = {"routed", "nat", NULL};
	struct netmap_gateway *gw = item;
	struct json_object *health = json_object_object_get(o, "health");
	size_t mode;
	int rc = read_word(o, where, "mode", modes, &mode, e);

	memcpy(gw->id, id, strlen(id) + 1);
	if (!rc && !modes[mode])
		return 1; /* it cannot be served the way that is wanted */
	gw->nat = mode == 1;
	if (!rc && health)
		rc = read_health(health, where, gw, e);
	return rc;
}

static void take_served(struct netmap_gateway *gw, const struct netmap_gateway *served)
{
	gw->own = true;
	gw->nat = served->nat;
	gw->health = served->health;
	gw->target = served->target;
	gw->port = served->port;
	gw->interval_s = served->interval_s;
	gw->failures = served->failures;
}

static int read_gateways(
	struct json_object *network, const char *where, struct netmap_policy *p, struct err *e)
{
	struct netmap_gateway *served;
	void *items = NULL;
	size_t count = 0;
	int rc = read_dictionary(network, where, "gateways", NETMAP_GATEWAYS_MAX,
		sizeof(struct netmap_gateway), read_gateway, &items, &p->gateway_count, e);

	p->gateways = items;
	if (rc)
		return rc;
	if (p->gateway_count)
		qsort(p->gateways, p->gateway_count, sizeof(*p->gateways), compare_ids);
	items = NULL;
	rc = read_dictionary(network, where, "serves", NETMAP_GATEWAYS_MAX,
		sizeof(struct netmap_gateway), read_served, &items, &count, e);
	served = items;
	for (size_t i = 0; !rc && i < count && p->gateway_count; i++) {
		struct netmap_gateway *gw = bsearch(served[i].id, p->gateways, p->gateway_count,
			sizeof(*p->gateways), compare_ids);

		if (gw)
			take_served(gw, &served[i]);
	}
	free(served);
	return rc;
}

/* -- floating IPs -- */

static int read_candidates(
	struct json_object *o, const char *where, struct netmap_floating *f, struct err *e)
{
	struct json_object *array = json_object_object_get(o, "candidates");
	size_t count;

	f->anybody = !array;
	if (!array)
		return 0;
	if (!json_object_is_type(array, json_type_array))
		return wrong(e, where, "candidates", "must be an array");
	count = json_object_array_length(array);
	if (count > NETMAP_CANDIDATES_MAX)
		return wrong(e, where, "candidates", "must have at most 64 items");
	f->candidates = calloc(count + 1, sizeof(*f->candidates));
	if (!f->candidates)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	for (size_t i = 0; i < count; i++) {
		struct json_object *item = json_object_array_get_idx(array, i);
		int rc;

		if (!json_object_is_type(item, json_type_string))
			return wrong(e, where, "candidates", "must be ids");
		rc = copy_id(
			json_object_get_string(item), where, "candidates", f->candidates[i], e);
		if (rc)
			return rc;
		f->candidate_count++;
	}
	return 0;
}

static int read_floating(
	struct json_object *o, const char *where, const char *id, void *item, struct err *e)
{
	struct netmap_floating *f = item;
	const char *address;
	int64_t vrid = 0;
	int rc = json_get_string(o, where, "address", 1, IP_TEXT_LEN, &address, e);

	memcpy(f->id, id, strlen(id) + 1);
	if (!rc && !ip_parse(address, &f->ip))
		rc = wrong(e, where, "address", "must be an address");
	if (!rc)
		rc = read_candidates(o, where, f, e);
	if (!rc)
		rc = read_id(o, where, "assigned", f->assigned, e);
	if (!rc)
		rc = json_opt_int(o, where, "vrid", 1, 255, &vrid, e);
	f->vrid = (uint8_t)vrid;
	return rc;
}

/* -- the cloak -- */

static bool take_port(const char **at, uint16_t *ret_port)
{
	uint32_t port = 0;
	size_t n = 0;

	for (; (*at)[n] >= '0' && (*at)[n] <= '9' && n < 5; n++)
		port = port * 10 + (uint32_t)((*at)[n] - '0');
	*at += n;
	*ret_port = (uint16_t)port;
	return n && port && port <= UINT16_MAX;
}

static bool parse_ports(const char *text, struct netmap_rule *rule)
{
	if (!take_port(&text, &rule->first_port))
		return false;
	rule->last_port = rule->first_port;
	if (*text == '-') {
		text++;
		if (!take_port(&text, &rule->last_port))
			return false;
	}
	return !*text && rule->first_port <= rule->last_port;
}

static int read_match(
	struct json_object *o, const char *where, struct netmap_rule *rule, struct err *e)
{
	const char *ports = NULL, *source = NULL, *interface = NULL;
	int rc = json_opt_string(o, where, "ports", 1, 16, &ports, e);

	if (!rc)
		rc = json_opt_string(o, where, "source", 1, CIDR_TEXT_LEN, &source, e);
	if (!rc)
		rc = json_opt_string(
			o, where, "interface", 1, NETMAP_IFNAME_LEN - 1, &interface, e);
	if (rc)
		return rc;
	if (ports && !parse_ports(ports, rule))
		return wrong(e, where, "ports", "must be a port or a range of ports");
	if (source && (!cidr_parse(source, &rule->source) || !cidr_is_network(&rule->source)))
		return wrong(e, where, "source", "must be a network");
	/* It will stand in the rule set of a packet filter. */
	if (interface && (strpbrk(interface, "/\"\\*:;{}") || strchr(interface, ' ')))
		return wrong(e, where, "interface", "must be the name of an interface");
	snprintf(rule->interface, sizeof(rule->interface), "%s", interface ? interface : "");
	return 0;
}

static int read_rule(
	struct json_object *o, const char *where, const char *id, void *item, struct err *e)
{
	static const char *const actions[] = {"allow", "deny", NULL};
	struct netmap_rule *rule = item;
	const char *protocol;
	int64_t priority;
	size_t action;
	int rc = read_word(o, where, "action", actions, &action, e);

	if (!rc && !actions[action])
		return 1;
	memcpy(rule->id, id, strlen(id) + 1);
	rule->deny = action == 1;
	if (!rc)
		rc = json_get_int(o, where, "priority", 1, UINT16_MAX, &priority, e);
	if (!rc)
		rc = json_get_string(
			o, where, "protocol", 1, NETMAP_PROTOCOL_LEN - 1, &protocol, e);
	if (rc)
		return rc;
	if (protocol[strspn(protocol, "abcdefghijklmnopqrstuvwxyz0123456789")])
		return wrong(e, where, "protocol", "must be a word");
	rule->priority = (uint16_t)priority;
	snprintf(rule->protocol, sizeof(rule->protocol), "%s", protocol);
	return read_match(o, where, rule, e);
}

static int compare_rules(const void *va, const void *vb)
{
	const struct netmap_rule *a = va, *b = vb;

	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	if (a->deny != b->deny)
		return a->deny ? -1 : 1;
	return strcmp(a->id, b->id);
}

/* Adds the rules that stand under this name to those of the filter. */
static int add_rules(struct json_object *o, const char *where, const char *name, bool own,
	struct netmap_filter *filter, struct err *e)
{
	struct netmap_rule *all;
	void *items = NULL;
	size_t count = 0;
	int rc = read_dictionary(o, where, name, NETMAP_RULES_MAX, sizeof(struct netmap_rule),
		read_rule, &items, &count, e);

	if (rc || !count) {
		free(items);
		return rc;
	}
	all = realloc(filter->rules, (filter->rule_count + count) * sizeof(*all));
	if (!all) {
		free(items);
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	}
	memcpy(&all[filter->rule_count], items, count * sizeof(*all));
	for (size_t i = 0; i < count; i++)
		all[filter->rule_count + i].own = own;
	filter->rules = all;
	filter->rule_count += count;
	qsort(all, filter->rule_count, sizeof(*all), compare_rules);
	free(items);
	return 0;
}

static int read_filter(struct json_object *o, const char *where, const char *const *states,
	size_t *ret_state, struct netmap_filter *filter, struct err *e)
{
	static const char *const scopes[] = {"public", "all", NULL};
	size_t scope;
	int rc = read_word(o, where, "state", states, ret_state, e);

	if (!rc && !states[*ret_state])
		rc = wrong(e, where, "state", "is not known");
	if (!rc)
		rc = read_word(o, where, "scope", scopes, &scope, e);
	if (!rc && !scopes[scope])
		rc = wrong(e, where, "scope", "is not known");
	if (!rc)
		rc = json_opt_bool(o, where, "keep_ssh", &filter->keep_ssh, e);
	if (rc)
		return rc;
	filter->all_interfaces = scope == 1;
	return add_rules(o, where, "rules", false, filter, e);
}

static int read_pending(
	struct json_object *cloak, const char *where, struct netmap_policy *p, struct err *e)
{
	static const char *const states[] = {"off", "on", NULL};
	struct json_object *fallback;
	char at[WHERE_MAX];
	int64_t due_s;
	size_t state;
	int rc = json_get_int(cloak, where, "due_s", 1, INT64_MAX, &due_s, e);

	if (!rc)
		rc = json_get_object(cloak, where, "fallback", &fallback, e);
	snprintf(at, sizeof(at), "%.100s/fallback", where);
	if (!rc)
		rc = read_filter(fallback, at, states, &state, &p->fallback, e);
	if (rc)
		return rc;
	p->cloak_pending = true;
	p->cloak_due_s = (uint64_t)due_s;
	p->fallback.on = state == 1;
	return 0;
}

static int read_cloak(
	struct json_object *network, const char *where, struct netmap_policy *p, struct err *e)
{
	static const char *const states[] = {"pending", "on", NULL};
	struct json_object *cloak = json_object_object_get(network, "cloak");
	struct json_object *own = json_object_object_get(network, "cloak_own");
	char at[WHERE_MAX];
	size_t state;
	int rc;

	if (!cloak)
		return 0;
	snprintf(at, sizeof(at), "%.100s/cloak", where);
	rc = read_filter(cloak, at, states, &state, &p->cloak, e);
	if (!rc)
		p->cloak.on = true;
	if (!rc && state == 0)
		rc = read_pending(cloak, at, p, e);
	snprintf(at, sizeof(at), "%.100s/cloak_own", where);
	if (!rc && own)
		rc = add_rules(own, at, "rules", true, &p->cloak, e);
	if (!rc && own && p->cloak_pending)
		rc = add_rules(own, at, "fallback", true, &p->fallback, e);
	return rc;
}

/* -- the whole -- */

int netmap_policy_read(struct json_object *network, const char *where,
	struct netmap_policy *ret_policy, struct err *e)
{
	void *items = NULL;
	int rc = read_gateways(network, where, ret_policy, e);

	if (!rc)
		rc = read_dictionary(network, where, "floating", NETMAP_FLOATING_MAX,
			sizeof(struct netmap_floating), read_floating, &items,
			&ret_policy->floating_count, e);
	ret_policy->floating = items;
	if (!rc && ret_policy->floating_count)
		qsort(ret_policy->floating, ret_policy->floating_count,
			sizeof(*ret_policy->floating), compare_ids);
	return rc ? rc : read_cloak(network, where, ret_policy, e);
}

void netmap_policy_done(struct netmap_policy *policy)
{
	for (size_t i = 0; i < policy->floating_count; i++)
		free(policy->floating[i].candidates);
	free(policy->gateways);
	free(policy->floating);
	free(policy->cloak.rules);
	free(policy->fallback.rules);
	*policy = (struct netmap_policy){0};
}

/* -- writing -- */

static struct json_object *add_object(struct json_object *o, const char *name)
{
	struct json_object *member = json_object_new_object();

	if (!member || json_object_object_add(o, name, member) != 0)
		abort();
	return member;
}

static void add_text(struct json_object *array, const char *text)
{
	if (json_object_array_add(array, json_object_new_string(text)) != 0)
		abort();
}

static void write_health(const struct netmap_gateway *gw, struct json_object *o)
{
	struct json_object *health = add_object(o, "health");
	char text[IP_TEXT_LEN];

	ip_format(&gw->target, text);
	json_set_string(health, "kind", gw->health == NETMAP_HEALTH_TCP ? "tcp" : "icmp");
	json_set_string(health, "target", text);
	if (gw->port)
		json_set_int(health, "port", gw->port);
	json_set_int(health, "interval_s", gw->interval_s);
	json_set_int(health, "failures", gw->failures);
}

static void write_gateways(const struct netmap_policy *p, struct json_object *network)
{
	struct json_object *all = add_object(network, "gateways"), *serves = NULL;
	char text[CIDR_TEXT_LEN];

	for (size_t i = 0; i < p->gateway_count; i++) {
		const struct netmap_gateway *gw = &p->gateways[i];
		struct json_object *o = add_object(all, gw->id), *own;
		struct json_object *prefixes = json_object_new_array();

		json_set_string(o, "node", gw->node);
		json_object_object_add(o, "prefixes", prefixes);
		for (size_t k = 0; k < gw->prefix_count; k++) {
			cidr_format(&gw->prefixes[k], text);
			add_text(prefixes, text);
		}
		json_set_int(o, "metric", gw->metric);
		if (!gw->own)
			continue;
		if (!serves)
			serves = add_object(network, "serves");
		own = add_object(serves, gw->id);
		json_set_string(own, "mode", gw->nat ? "nat" : "routed");
		if (gw->health != NETMAP_HEALTH_NONE)
			write_health(gw, own);
	}
}

static void write_floating(const struct netmap_policy *p, struct json_object *network)
{
	struct json_object *all = add_object(network, "floating");
	char text[IP_TEXT_LEN];

	for (size_t i = 0; i < p->floating_count; i++) {
		const struct netmap_floating *f = &p->floating[i];
		struct json_object *o = add_object(all, f->id);

		ip_format(&f->ip, text);
		json_set_string(o, "address", text);
		if (!f->anybody)
			json_object_object_add(o, "candidates", json_object_new_array());
		for (size_t k = 0; k < f->candidate_count; k++)
			add_text(json_object_object_get(o, "candidates"), f->candidates[k]);
		if (f->assigned[0])
			json_set_string(o, "assigned", f->assigned);
		if (f->vrid)
			json_set_int(o, "vrid", f->vrid);
	}
}

static void write_rules(const struct netmap_filter *filter, bool own, struct json_object *to)
{
	char ports[16], source[CIDR_TEXT_LEN];

	for (size_t i = 0; i < filter->rule_count; i++) {
		const struct netmap_rule *rule = &filter->rules[i];
		struct json_object *o;

		if (rule->own != own)
			continue;
		o = add_object(to, rule->id);
		json_set_string(o, "action", rule->deny ? "deny" : "allow");
		json_set_int(o, "priority", rule->priority);
		json_set_string(o, "protocol", rule->protocol);
		if (rule->first_port == rule->last_port)
			snprintf(ports, sizeof(ports), "%u", rule->first_port);
		else
			snprintf(ports, sizeof(ports), "%u-%u", rule->first_port, rule->last_port);
		if (rule->first_port)
			json_set_string(o, "ports", ports);
		cidr_format(&rule->source, source);
		if (rule->source.ip.family != AF_UNSPEC)
			json_set_string(o, "source", source);
		if (rule->interface[0])
			json_set_string(o, "interface", rule->interface);
	}
}

static void write_filter(
	const struct netmap_filter *filter, const char *state, struct json_object *o)
{
	json_set_string(o, "state", state);
	json_set_string(o, "scope", filter->all_interfaces ? "all" : "public");
	json_set_bool(o, "keep_ssh", filter->keep_ssh);
	write_rules(filter, false, add_object(o, "rules"));
}

static bool has_own_rules(const struct netmap_filter *filter)
{
	for (size_t i = 0; i < filter->rule_count; i++)
		if (filter->rules[i].own)
			return true;
	return false;
}

void netmap_policy_write(const struct netmap_policy *policy, struct json_object *network)
{
	bool own_now = has_own_rules(&policy->cloak), own_then = has_own_rules(&policy->fallback);
	struct json_object *cloak, *own;

	write_gateways(policy, network);
	write_floating(policy, network);
	if (!policy->cloak.on)
		return;
	cloak = add_object(network, "cloak");
	write_filter(&policy->cloak, policy->cloak_pending ? "pending" : "on", cloak);
	if (policy->cloak_pending) {
		json_set_int(cloak, "due_s", (int64_t)policy->cloak_due_s);
		write_filter(&policy->fallback, policy->fallback.on ? "on" : "off",
			add_object(cloak, "fallback"));
	}
	own = own_now || own_then ? add_object(network, "cloak_own") : NULL;
	if (own_now)
		write_rules(&policy->cloak, true, add_object(own, "rules"));
	if (own_then)
		write_rules(&policy->fallback, true, add_object(own, "fallback"));
}
