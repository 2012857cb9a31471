/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/gateway.h"

#include <stdio.h>
#include <string.h>
#include "console-api/form.h"
#include "console-api/netconf.h"
#include "console-api/node.h"
#include "console-api/page.h"
#include "console-api/presence.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

#define INTERVAL_MAX_S     3600
#define INTERVAL_DEFAULT_S 5
#define FAILURES_MAX       10
#define FAILURES_DEFAULT   3

/* Where no external network is (RFC 6890, RFC 4291). */
static const char *const special[] = {"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4",
	"240.0.0.0/4", "::/127", "fe80::/10", "ff00::/8"};

/* -- prefixes -- */

static bool within(const struct cidr *inner, const struct cidr *outer)
{
	return inner->ip.family == outer->ip.family && inner->prefix >= outer->prefix &&
	       cidr_contains(outer, &inner->ip);
}

static bool same_prefix(const struct cidr *a, const struct cidr *b)
{
	return a->prefix == b->prefix && !ip_compare(&a->ip, &b->ip);
}

static bool is_special(const struct cidr *c)
{
	struct cidr range;

	if (!c->prefix)
		return false; /* the default route */
	for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if (cidr_parse(special[i], &range) && within(c, &range))
			return true;
	return false;
}

/* What is wrong with a prefix, or NULL. */
static const char *judge_prefix(
	const struct network *net, const struct cidr *prefix, char text[160])
{
	const struct cidr *own = netconf_cidr_for(net, prefix->ip.family);
	char cidr[CIDR_TEXT_LEN];

	if (!cidr_is_network(prefix)) {
		struct cidr masked = {.ip = cidr_first(prefix), .prefix = prefix->prefix};

		cidr_format(&masked, cidr);
		snprintf(text, 160, "has host bits set; the network is %s", cidr);
		return text;
	}
	if (is_special(prefix))
		return "is no range that can be reached through a gateway";
	/* The next hop is the gateway's own address in the network. */
	if (!own)
		return "the network has no IPv6 prefix, so there is no way to an IPv6 gateway";
	if (!within(prefix, own))
		return NULL; /* a wider one is fine: what is on the link is nearer than any route */
	cidr_format(own, cidr);
	snprintf(text, 160, "lies in the network's own %s: its members reach that directly", cidr);
	return text;
}

/* Why a prefix cannot stand beside those that were read, or NULL. */
static const char *judge_overlap(
	const struct gateway *gw, const struct cidr *prefix, char text[160])
{
	for (size_t k = 0; k < gw->prefix_count; k++) {
		bool inside = within(prefix, &gw->prefixes[k]);
		char other[CIDR_TEXT_LEN];

		if (!inside && !within(&gw->prefixes[k], prefix))
			continue;
		cidr_format(&gw->prefixes[k], other);
		snprintf(text, 160, "%s %s, which is offered too", inside ? "lies in" : "contains",
			other);
		return text;
	}
	return NULL;
}

static void read_prefixes(struct netconf *conf, struct form *f, struct gateway *gw)
{
	struct json_object *list;
	char text[160];
	size_t count;

	if (!form_array(f, "prefixes", FORM_REQUIRED, GATEWAY_PREFIXES_MAX, &list))
		return;
	count = json_object_array_length(list);
	if (!count)
		form_fail(f, "prefixes", "must have an item");
	for (size_t i = 0; i < count; i++) {
		struct cidr *prefix = &gw->prefixes[gw->prefix_count];
		const char *typed, *wrong;

		if (!form_item_string(f, "prefixes", i, CIDR_TEXT_LEN, &typed))
			continue;
		wrong = cidr_parse(typed, prefix) ? judge_prefix(&conf->net, prefix, text)
						  : "must be a network such as 10.20.0.0/16";
		if (!wrong)
			wrong = judge_overlap(gw, prefix, text);
		if (wrong)
			form_item_fail(f, "prefixes", i, "%s", wrong);
		else
			gw->prefix_count++;
	}
}

static const struct cidr *common_prefix(const struct gateway *a, const struct gateway *b)
{
	for (size_t i = 0; i < a->prefix_count; i++)
		for (size_t k = 0; k < b->prefix_count; k++)
			if (same_prefix(&a->prefixes[i], &b->prefixes[k]))
				return &a->prefixes[i];
	return NULL;
}

/* -- reading -- */

static const char *const modes[] = {"routed", "nat", NULL};

/* A specification as it was read. */
struct wish {
	struct gateway gw;
	const char *node; /* borrowed: as the client called it */
	size_t mode;      /* of modes */
	int64_t metric;   /* 0: to be chosen */
	bool enabled;
	bool has_health;
	size_t health_kind; /* of health_kinds */
	struct ip target;
	int64_t port, interval_s, failures;
	char note[NETCONF_NOTE_SIZE];
};

enum { HEALTH_ICMP, HEALTH_TCP };
static const char *const health_kinds[] = {[HEALTH_ICMP] = "icmp", [HEALTH_TCP] = "tcp", NULL};

static void read_health(struct form *f, struct wish *w)
{
	struct form h;
	bool within_any = !w->gw.prefix_count; /* whose own errors were told */

	w->has_health = form_child(f, "health", FORM_OPTIONAL, &h);
	if (!w->has_health)
		return;
	w->interval_s = INTERVAL_DEFAULT_S;
	w->failures = FAILURES_DEFAULT;
	if (form_word(&h, "kind", FORM_REQUIRED, health_kinds, &w->health_kind)) {
		if (form_int(&h, "port",
			    w->health_kind == HEALTH_TCP ? FORM_REQUIRED : FORM_OPTIONAL, 1, 65535,
			    &w->port) &&
			w->health_kind != HEALTH_TCP)
			form_fail(&h, "port", "is for \"tcp\" only");
	} else {
		form_int(&h, "port", FORM_OPTIONAL, 1, 65535, &w->port);
	}
	if (form_ip(&h, "target", FORM_REQUIRED, &w->target)) {
		for (size_t i = 0; i < w->gw.prefix_count; i++)
			within_any |= cidr_contains(&w->gw.prefixes[i], &w->target);
		if (!within_any)
			form_fail(&h, "target",
				"is in none of the prefixes, so it says nothing about the way to "
				"them");
	}
	form_int(&h, "interval_s", FORM_OPTIONAL, 1, INTERVAL_MAX_S, &w->interval_s);
	form_int(&h, "failures", FORM_OPTIONAL, 1, FAILURES_MAX, &w->failures);
	form_end(&h);
}

static int read_spec(struct netconf *conf, struct form *f, struct wish *w)
{
	w->enabled = true;
	form_name(f, "name", FORM_OPTIONAL, w->gw.name);
	form_string(f, "node", FORM_REQUIRED, 1, NETMAP_NAME_MAX, &w->node);
	read_prefixes(conf, f, &w->gw);
	form_word(f, "mode", FORM_OPTIONAL, modes, &w->mode);
	form_int(f, "metric", FORM_OPTIONAL, 1, GATEWAY_METRIC_MAX, &w->metric);
	form_bool(f, "enabled", FORM_OPTIONAL, &w->enabled);
	read_health(f, w);
	form_line(f, "note", FORM_OPTIONAL, w->note, sizeof(w->note));
	return form_end(f);
}

static struct json_object *health_to_json(const struct wish *w)
{
	struct json_object *o = json_object_new_object();
	char text[IP_TEXT_LEN];

	ip_format(&w->target, text);
	json_set_string(o, "kind", health_kinds[w->health_kind]);
	json_set_string(o, "target", text);
	if (w->health_kind == HEALTH_TCP)
		json_set_int(o, "port", w->port);
	else
		json_object_object_add(o, "port", NULL);
	json_set_int(o, "interval_s", w->interval_s);
	json_set_int(o, "failures", w->failures);
	return o;
}

static struct json_object *wish_to_json(const struct wish *w)
{
	struct json_object *spec = json_object_new_object(), *prefixes = json_object_new_array();
	char text[CIDR_TEXT_LEN];

	json_set_string(spec, "name", w->gw.name);
	json_set_string(spec, "node", w->gw.node_id);
	for (size_t i = 0; i < w->gw.prefix_count; i++) {
		cidr_format(&w->gw.prefixes[i], text);
		json_object_array_add(prefixes, json_object_new_string(text));
	}
	json_object_object_add(spec, "prefixes", prefixes);
	json_set_string(spec, "mode", modes[w->mode]);
	json_set_int(spec, "metric", w->gw.metric);
	json_set_bool(spec, "enabled", w->enabled);
	json_object_object_add(spec, "health", w->has_health ? health_to_json(w) : NULL);
	json_set_string(spec, "note", w->note[0] ? w->note : NULL);
	return spec;
}

/* -- checking -- */

/* The given metric, or one step more than that of the last gateway for any of the prefixes. */
static int choose_metric(
	struct netconf *conf, const struct form *f, struct wish *w, struct problem *p)
{
	int64_t metric = w->metric;

	for (size_t i = 0; !w->metric && i < conf->gateway_count; i++)
		if (common_prefix(&w->gw, &conf->gateways[i]) && conf->gateways[i].metric > metric)
			metric = conf->gateways[i].metric;
	if (!w->metric)
		metric += GATEWAY_METRIC_STEP - metric % GATEWAY_METRIC_STEP;
	if (metric > GATEWAY_METRIC_MAX)
		return netconf_problem(p, 409, "metric_exhausted", POINTER(f, "metric"),
			"none is left above those of the other gateways: choose one");
	w->gw.metric = (uint32_t)metric;
	return 0;
}

/* The given name, or the node's, made unique. */
static int choose_name(struct netconf *conf, const struct form *f, const char *node_name,
	struct gateway *gw, struct problem *p)
{
	char label[NETMAP_NAME_MAX + 1];
	bool given = gw->name[0];

	node_label(node_name, label); /* room for the suffix */
	for (unsigned int n = 1;; n++) {
		size_t i = 0;

		if (!given && n == 1)
			snprintf(gw->name, sizeof(gw->name), "%s", node_name);
		else if (!given)
			snprintf(gw->name, sizeof(gw->name), "%.57s-%u", label, n % 10000);
		while (i < conf->gateway_count && strcmp(conf->gateways[i].name, gw->name) != 0)
			i++;
		if (i == conf->gateway_count)
			return 0; /* there are GATEWAY_MAX of them at most */
		if (given)
			return netconf_problem(p, 409, "name_taken", POINTER(f, "name"),
				"there is a gateway \"%s\" already: choose another name", gw->name);
	}
}

static int check_others(
	struct netconf *conf, const struct form *f, const struct gateway *gw, struct problem *p)
{
	char text[CIDR_TEXT_LEN];

	for (size_t i = 0; i < conf->gateway_count; i++) {
		const struct gateway *other = &conf->gateways[i];
		const struct cidr *prefix = common_prefix(gw, other);

		if (!prefix)
			continue;
		cidr_format(prefix, text);
		if (!strcmp(gw->node_id, other->node_id))
			return netconf_problem(p, 409, "prefix_taken", POINTER(f, "prefixes"),
				"this node offers %s already, as gateway \"%s\": change that one",
				text, other->name);
		if (gw->metric == other->metric)
			return netconf_problem(p, 409, "prefix_ambiguous", POINTER(f, "metric"),
				"gateway \"%s\" offers %s at metric %u too: give this one another, "
				"the lowest is preferred",
				other->name, text, other->metric);
	}
	return 0;
}

static void insert(struct netconf *conf, const struct gateway *gw)
{
	conf->gateways = xrealloc(conf->gateways, conf->gateway_count + 1, sizeof(*conf->gateways));
	conf->gateways[conf->gateway_count++] = *gw;
}

static int settle(struct netconf *conf, const char *id, struct form *f,
	struct json_object **ret_spec, struct problem *p)
{
	char node_name[NETMAP_NAME_MAX + 1];
	struct wish w = {0};
	int rc = read_spec(conf, f, &w);

	if (!rc)
		rc = netconf_member(conf, w.node, POINTER(f, "node"), w.gw.node_id, node_name, p);
	if (!rc)
		rc = choose_metric(conf, f, &w, p);
	if (!rc)
		rc = choose_name(conf, f, node_name, &w.gw, p);
	if (!rc)
		rc = check_others(conf, f, &w.gw, p);
	if (rc)
		return rc;
	snprintf(w.gw.id, sizeof(w.gw.id), "%s", id);
	insert(conf, &w.gw);
	*ret_spec = wish_to_json(&w);
	return 0;
}

static bool add(struct netconf *conf, const char *id, struct json_object *record)
{
	struct json_object *prefixes = json_object_object_get(record, "prefixes");
	size_t count = prefixes ? json_object_array_length(prefixes) : 0;
	struct gateway gw = {.prefix_count = count};

	if (!count || count > GATEWAY_PREFIXES_MAX)
		return false;
	for (size_t i = 0; i < count; i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(prefixes, i));

		if (!text || !cidr_parse(text, &gw.prefixes[i]))
			return false;
	}
	snprintf(gw.id, sizeof(gw.id), "%s", id);
	snprintf(gw.name, sizeof(gw.name), "%s", record_text(record, "name"));
	snprintf(gw.node_id, sizeof(gw.node_id), "%s", record_text(record, "node"));
	gw.metric = (uint32_t)record_int(record, "metric");
	insert(conf, &gw);
	return true;
}

static bool answers_to(struct json_object *record, const char *ref)
{
	return !strcmp(record_text(record, "name"), ref);
}

static int dress(
	struct registry *r, const struct network *net, struct json_object *view, struct problem *p)
{
	CLEANUP(record) struct record node = {0};
	int rc = node_load(r, record_text(view, "node"), &node, p);

	(void)net;
	if (rc && rc != -ENOENT)
		return rc;
	json_set_string(view, "node_name", rc ? NULL : record_text(node.o, "name"));
	return 0;
}

/* The node itself is told mode and health too, in its own part. */
static void touch(struct store_txn *txn, struct json_object *record)
{
	registry_touch_node(txn, record_text(record, "node"));
}

const struct netobj_kind gateway_kind = {
	.noun = "gateway",
	.called = "gateway",
	.folder = "gateways",
	.id_prefix = "gw",
	.max = GATEWAY_MAX,
	.quota = QUOTA_GATEWAYS,
	.settle = settle,
	.add = add,
	.answers_to = answers_to,
	.dress = dress,
	.touch = touch,
};

/* -- candidates -- */

/* Names of the gateways that the node is in this network. */
static struct json_object *names_of(const struct netconf *conf, const char *node_id)
{
	struct json_object *names = json_object_new_array();

	for (size_t i = 0; i < conf->gateway_count; i++)
		if (!strcmp(conf->gateways[i].node_id, node_id))
			json_object_array_add(
				names, json_object_new_string(conf->gateways[i].name));
	return names;
}

/* NULL when the node reported none that could be offered here. */
static struct json_object *external_of(const struct netconf *conf, struct json_object *node)
{
	struct json_object *reported = json_object_object_get(node, "external");
	struct json_object *list = json_object_new_array();
	size_t count = reported ? json_object_array_length(reported) : 0;

	for (size_t i = 0; i < count; i++) {
		struct json_object *item = json_object_array_get_idx(reported, i);
		const struct network_spec *net = &conf->net.spec;
		struct cidr c;

		if (!cidr_parse(record_text(item, "cidr"), &c) || !cidr_is_network(&c) ||
			is_special(&c) || within(&c, &net->cidr) ||
			(net->cidr6.ip.family != AF_UNSPEC && within(&c, &net->cidr6)))
			continue;
		json_object_array_add(list, json_object_get(item));
	}
	if (json_object_array_length(list))
		return list;
	json_object_put(list);
	return NULL;
}

static int view_candidate(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	const struct netconf *conf = ctx;
	CLEANUP(record) struct record node = {0};
	const char *node_id = registry_key_tail(item->key);
	uint64_t now_ns = clock_boottime_ns();
	struct json_object *external, *o;
	int rc = node_load(r, node_id, &node, p);

	if (rc)
		return rc;
	external = external_of(conf, node.o);
	if (!external)
		return -ENOENT;
	o = json_object_new_object();
	json_set_string(o, "node", node_id);
	json_set_string(o, "node_name", record_text(node.o, "name"));
	json_set_bool(o, "online",
		soft_online(r->soft, node_id, now_ns) ||
			presence_elsewhere(r, node_id, now_ns, NULL));
	json_object_object_add(o, "external", external);
	json_object_object_add(o, "gateways", names_of(conf, node_id));
	*ret_view = o;
	return 0;
}

int gateway_candidates(struct registry *r, const char *org, const char *net_ref,
	const struct page *page, struct json_object **ret_list, struct problem *p)
{
	CLEANUP(netconf) struct netconf conf = {0};
	int rc = netconf_load(r, NULL, org, net_ref, NULL, &conf, p);

	return rc ? rc
		  : page_list(r, KEY("/members/%s/", conf.net.id), page, view_candidate, &conf,
			    ret_list, p);
}
