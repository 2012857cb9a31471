/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/cloak_rule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/form.h"
#include "console-api/netconf.h"
#include "console-api/node.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define PRIORITY_MAX      65535
#define PRIORITY_OF_DENY  500
#define PRIORITY_OF_ALLOW 1000
#define IFNAME_MAX        15

enum { ACTION_ALLOW, ACTION_DENY };
static const char *const actions[] = {[ACTION_ALLOW] = "allow", [ACTION_DENY] = "deny", NULL};

enum { ANY, TCP, UDP, SCTP, ICMP, ICMPV6 };
static const char *const protocols[] = {[ANY] = "any",
	[TCP] = "tcp",
	[UDP] = "udp",
	[SCTP] = "sctp",
	[ICMP] = "icmp",
	[ICMPV6] = "icmpv6",
	"esp",
	"ah",
	"gre",
	NULL};

/* What makes two rules the same, priority aside. */
static const char *const match_members[] = {
	"action", "protocol", "ports", "source", "interface", "node"};

/* -- reading -- */

struct wish {
	size_t action;
	int64_t priority;
	size_t protocol;
	int64_t first_port, last_port; /* 0: all */
	struct cidr source;            /* AF_UNSPEC: any */
	const char *interface;         /* borrowed; NULL: every one */
	const char *node;              /* borrowed, as the client called it; NULL: every one */
	char node_id[NETMAP_ID_MAX + 1];
	char note[NETCONF_NOTE_SIZE];
};

/* A number of digits only, 1…65535; *at is moved behind it. */
static bool take_port(const char **at, int64_t *ret_port)
{
	int64_t port = 0;
	size_t n = 0;

	for (; (*at)[n] >= '0' && (*at)[n] <= '9' && n < 5; n++)
		port = port * 10 + ((*at)[n] - '0');
	*at += n;
	if (port < 1 || port > 65535)
		return false;
	*ret_port = port;
	return true;
}

static void read_ports(struct form *f, struct wish *w)
{
	const char *text, *at;

	if (!form_string(f, "ports", FORM_OPTIONAL, 1, 16, &text))
		return;
	at = text;
	if (w->protocol != TCP && w->protocol != UDP && w->protocol != SCTP) {
		form_fail(f, "ports", "only tcp, udp and sctp have ports");
		return;
	}
	if (take_port(&at, &w->first_port)) {
		w->last_port = w->first_port;
		if (!*at || (*at++ == '-' && take_port(&at, &w->last_port) && !*at &&
				    w->first_port <= w->last_port))
			return;
	}
	form_fail(f, "ports", "must be a port from 1 to 65535, or a range such as \"8000-8100\"");
}

static void read_source(struct form *f, struct wish *w)
{
	struct cidr source;
	char text[CIDR_TEXT_LEN];

	if (!form_cidr(f, "source", FORM_OPTIONAL, AF_UNSPEC, &source))
		return;
	if (!cidr_is_network(&source)) {
		struct cidr masked = {.ip = cidr_first(&source), .prefix = source.prefix};

		cidr_format(&masked, text);
		form_fail(f, "source", "has host bits set; the network is %s", text);
	} else if ((w->protocol == ICMP && source.ip.family != AF_INET) ||
		   (w->protocol == ICMPV6 && source.ip.family != AF_INET6)) {
		form_fail(
			f, "source", "is of the other IP version than %s", protocols[w->protocol]);
	} else {
		w->source = source;
	}
}

static void read_interface(struct form *f, struct wish *w)
{
	if (!form_string(f, "interface", FORM_OPTIONAL, 1, IFNAME_MAX, &w->interface))
		return;
	for (const char *c = w->interface; *c; c++) {
		if (*c > ' ' && *c < 0x7f && !strchr("/:\"\\*", *c))
			continue;
		form_fail(f, "interface", "must be the name of an interface, such as eth0");
		return;
	}
}

static int read_rule(struct form *f, struct wish *w)
{
	form_word(f, "action", FORM_REQUIRED, actions, &w->action);
	w->priority = w->action == ACTION_DENY ? PRIORITY_OF_DENY : PRIORITY_OF_ALLOW;
	form_int(f, "priority", FORM_OPTIONAL, 1, PRIORITY_MAX, &w->priority);
	form_word(f, "protocol", FORM_OPTIONAL, protocols, &w->protocol);
	read_ports(f, w);
	read_source(f, w);
	read_interface(f, w);
	form_string(f, "node", FORM_OPTIONAL, 1, NETMAP_NAME_MAX, &w->node);
	form_line(f, "note", FORM_OPTIONAL, w->note, sizeof(w->note));
	return form_end(f);
}

static struct json_object *wish_to_json(const struct wish *w)
{
	struct json_object *rule = json_object_new_object();
	char ports[16], source[CIDR_TEXT_LEN];

	json_set_string(rule, "action", actions[w->action]);
	json_set_int(rule, "priority", w->priority);
	json_set_string(rule, "protocol", protocols[w->protocol]);
	if (w->first_port == w->last_port)
		snprintf(ports, sizeof(ports), "%lld", (long long)w->first_port);
	else
		snprintf(ports, sizeof(ports), "%lld-%lld", (long long)w->first_port,
			(long long)w->last_port);
	json_set_string(rule, "ports", w->first_port ? ports : NULL);
	cidr_format(&w->source, source);
	json_set_string(rule, "source", w->source.ip.family == AF_UNSPEC ? NULL : source);
	json_set_string(rule, "interface", w->interface);
	json_set_string(rule, "node", w->node ? w->node_id : NULL);
	json_set_string(rule, "note", w->note[0] ? w->note : NULL);
	return rule;
}

int cloak_rule_settle(
	struct netconf *conf, struct form *f, struct json_object **ret_rule, struct problem *p)
{
	struct wish w = {0};
	int rc = read_rule(f, &w);

	if (!rc && w.node)
		rc = netconf_member(conf, w.node, POINTER(f, "node"), w.node_id, NULL, p);
	if (rc)
		return rc;
	*ret_rule = wish_to_json(&w);
	return 0;
}

void cloak_rule_name(struct json_object *rule, struct json_object *like)
{
	char id[NETMAP_ID_MAX + 1], now[21];

	registry_new_id("rule", id);
	registry_now_text(now);
	json_set_string(rule, "id", like ? record_text(like, "id") : id);
	json_set_string(rule, "created_at", like ? record_text(like, "created_at") : now);
}

/* -- comparing -- */

bool cloak_rule_allows(struct json_object *rule)
{
	return !strcmp(record_text(rule, "action"), actions[ACTION_ALLOW]);
}

static bool same_match(struct json_object *a, struct json_object *b)
{
	for (size_t i = 0; i < sizeof(match_members) / sizeof(match_members[0]); i++)
		if (strcmp(record_text(a, match_members[i]), record_text(b, match_members[i])) != 0)
			return false;
	return true;
}

struct json_object *cloak_rule_find(struct json_object *rules, struct json_object *rule)
{
	for (size_t i = 0; i < json_object_array_length(rules); i++) {
		struct json_object *other = json_object_array_get_idx(rules, i);

		if (same_match(other, rule))
			return other;
	}
	return NULL;
}

bool cloak_rule_same_in(struct json_object *rules, struct json_object *rule)
{
	struct json_object *other = cloak_rule_find(rules, rule);

	return other && record_int(other, "priority") == record_int(rule, "priority");
}

size_t cloak_rule_place(struct json_object *rules, const char *id)
{
	size_t i = 0;

	while (i < json_object_array_length(rules) &&
		strcmp(record_text(json_object_array_get_idx(rules, i), "id"), id) != 0)
		i++;
	return i;
}

int cloak_rule_missing(const struct network *net, const char *id, struct problem *p)
{
	return problem_set(p, 404, "not_found", "there is no rule \"%.64s\" in network \"%s\"", id,
		net->spec.name);
}

int cloak_rule_order(const void *va, const void *vb)
{
	struct json_object *a = *(struct json_object *const *)va;
	struct json_object *b = *(struct json_object *const *)vb;
	int64_t pa = record_int(a, "priority"), pb = record_int(b, "priority");

	if (pa != pb)
		return pa < pb ? -1 : 1;
	if (cloak_rule_allows(a) != cloak_rule_allows(b))
		return cloak_rule_allows(a) ? 1 : -1;
	return strcmp(record_text(a, "id"), record_text(b, "id"));
}

/* -- showing -- */

void cloak_rule_format(
	struct json_object *rule, struct json_object *names, char *ret_text, size_t size)
{
	const char *ports = record_text(rule, "ports"), *source = record_text(rule, "source");
	const char *interface = record_text(rule, "interface"), *id = record_text(rule, "node");
	const char *node = json_object_get_string(json_object_object_get(names, id));

	snprintf(ret_text, size, "%s %s%s%s from %s%s%s%s%s", record_text(rule, "action"),
		record_text(rule, "protocol"), ports[0] ? " " : "", ports,
		source[0] ? source : "anywhere", interface[0] ? " at " : "", interface,
		id[0] ? " on " : "", node ? node : id);
}

int cloak_rule_render(struct registry *r, const struct network *net, struct json_object *rule,
	uint64_t revision, struct json_object **ret_view, struct problem *p)
{
	CLEANUP(record) struct record node = {0};
	const char *node_id = record_text(rule, "node");
	struct json_object *view;
	int rc = node_id[0] ? node_load(r, node_id, &node, p) : -ENOENT;

	if (rc && rc != -ENOENT)
		return rc;
	view = json_object_new_object();
	json_set_string(view, "id", record_text(rule, "id"));
	json_set_string(view, "network", net->id);
	json_set_string(view, "network_name", net->spec.name);
	json_object_object_foreach(rule, name, value)
		json_object_object_add(view, name, json_object_get(value));
	json_set_string(view, "node_name", rc ? NULL : record_text(node.o, "name"));
	json_set_int(view, "revision", (int64_t)revision);
	*ret_view = view;
	return 0;
}
