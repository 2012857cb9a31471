/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's report: read and bounded here, then put into the node's record as far as it says something
 * new. What changes with every report (when it was heard, what it applied) stays in memory.
 */
#include "console-api/agent.h"

#include <stdio.h>
#include <string.h>
#include "console-api/node.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

/* Reads at most `max` items of an array of strings; further ones are not looked at. */
static int each_text(struct json_object *o, const char *name, size_t max,
	bool (*take)(const char *text, struct agent_report *report), struct agent_report *report,
	struct problem *p)
{
	struct json_object *array;
	struct err e = {0};

	if (json_get_array(o, "", name, &array, &e))
		return problem_from_json(p, &e);
	for (size_t i = 0; i < json_object_array_length(array) && i < max; i++) {
		struct json_object *item = json_object_array_get_idx(array, i);
		char pointer[48];

		if (json_object_is_type(item, json_type_string) &&
			take(json_object_get_string(item), report))
			continue;
		snprintf(pointer, sizeof(pointer), "/%s/%zu", name, i);
		return problem_invalid(p, pointer, "%s: is no address", pointer);
	}
	return 0;
}

static bool take_local(const char *text, struct agent_report *report)
{
	return ip_parse(text, &report->local[report->local_count]) && ++report->local_count;
}

static bool take_advertise(const char *text, struct agent_report *report)
{
	return endpoint_parse(text, report->port, &report->advertise[report->advertise_count]) &&
	       ++report->advertise_count;
}

static int read_external(struct json_object *o, struct agent_report *report, struct problem *p)
{
	struct json_object *array = json_object_object_get(o, "external");
	size_t count;

	if (array && !json_object_is_type(array, json_type_array))
		return problem_invalid(p, "/external", "/external: must be an array");
	count = array ? json_object_array_length(array) : 0;
	report->has_external = array;
	for (size_t i = 0; i < count && i < AGENT_EXTERNAL_MAX; i++) {
		struct json_object *item = json_object_array_get_idx(array, i);
		const char *cidr, *ifname;
		char pointer[48];
		struct err e = {0};

		snprintf(pointer, sizeof(pointer), "/external/%zu", i);
		if (json_get_string(item, pointer, "cidr", 1, CIDR_TEXT_LEN, &cidr, &e) ||
			json_get_string(item, pointer, "ifname", 1, 15, &ifname, &e))
			return problem_from_json(p, &e);
		if (!cidr_parse(cidr, &report->external[i].cidr))
			return problem_invalid(p, pointer, "%s: is no network", pointer);
		snprintf(report->external[i].ifname, sizeof(report->external[i].ifname), "%s",
			ifname);
		report->external_count++;
	}
	return 0;
}

int agent_report_from_json(
	struct json_object *o, struct agent_report *ret_report, struct problem *p)
{
	struct agent_report report = {0};
	const char *applied = NULL, *version = "";
	uint64_t generation, number;
	struct err e = {0};
	int64_t port;
	int rc;

	if (json_get_int(o, "", "port", 1, 65535, &port, &e) ||
		json_opt_string(o, "", "applied", 1, NETMAP_REVISION_TEXT_LEN - 1, &applied, &e) ||
		json_opt_string(o, "", "version", 0, AGENT_VERSION_MAX, &version, &e))
		return problem_from_json(p, &e);
	report.port = (uint16_t)port;
	if (applied && !netmap_revision_parse(applied, &generation, &number))
		return problem_invalid(p, "/applied", "/applied: is no revision of a netmap");
	rc = each_text(
		o, "local", sizeof(report.local) / sizeof(report.local[0]), take_local, &report, p);
	if (!rc)
		rc = each_text(o, "advertise", NETMAP_TEPS_MAX, take_advertise, &report, p);
	if (!rc)
		rc = read_external(o, &report, p);
	if (rc)
		return rc;
	snprintf(report.applied, sizeof(report.applied), "%s", applied ? applied : "");
	snprintf(report.version, sizeof(report.version), "%s", version);
	*ret_report = report;
	return 0;
}

static bool is_candidate(const struct ip *ip)
{
	return ip->family != AF_UNSPEC && !ip_is_loopback(ip) && !ip_is_link_local(ip) &&
	       !ip_is_multicast(ip) && !ip_is_unspecified(ip);
}

static void add_tep(struct endpoint *teps, size_t *n, size_t max, const struct endpoint *ep)
{
	struct ip ip = endpoint_ip(ep);

	if (*n >= max || !endpoint_port(ep) || !is_candidate(&ip))
		return;
	for (size_t i = 0; i < *n; i++)
		if (endpoint_same_remote(&teps[i], ep))
			return;
	teps[(*n)++] = *ep;
}

size_t agent_report_teps(const struct agent_report *report, const struct ip *seen,
	struct endpoint ret_teps[NETMAP_TEPS_MAX], bool *ret_nat)
{
	bool seen_is_local = false;
	struct endpoint ep;
	size_t n = 0;

	for (size_t i = 0; i < report->local_count; i++)
		if (!ip_compare(&report->local[i], seen))
			seen_is_local = true;
	*ret_nat = !report->advertise_count && seen->family != AF_UNSPEC && !ip_is_loopback(seen) &&
		   !seen_is_local;
	for (size_t i = 0; i < report->advertise_count; i++)
		add_tep(ret_teps, &n, NETMAP_TEPS_MAX, &report->advertise[i]);
	if (report->advertise_count)
		return n;
	for (size_t i = 0; i < report->local_count; i++) {
		endpoint_from_ip(&report->local[i], report->port, &ep);
		/* The last place is kept for the seen one, local or not. */
		add_tep(ret_teps, &n, NETMAP_TEPS_MAX - 1, &ep);
	}
	if (is_candidate(seen)) {
		endpoint_from_ip(seen, report->port, &ep);
		add_tep(ret_teps, &n, NETMAP_TEPS_MAX, &ep);
	}
	return n;
}

struct report_ctx {
	const char *node_id;
	const struct agent_report *report;
	const struct ip *seen;
	uint64_t now_ns;
	bool later; /* what is new has to wait */
};

/* What is written, and told to the others, because a node says so. */
static const struct soft_budget change_budget = {.each_ns = 5 * NS_PER_S, .burst = 6};

/* Nothing of it is in a netmap: nobody needs to be told. */
static bool take_external(const struct agent_report *report, struct json_object *node)
{
	struct json_object *list, *old = json_object_object_get(node, "external");
	bool same;

	if (!report->has_external)
		return true;
	list = json_object_new_array();
	for (size_t i = 0; i < report->external_count; i++) {
		struct json_object *o = json_object_new_object();
		char text[CIDR_TEXT_LEN];

		cidr_format(&report->external[i].cidr, text);
		json_set_string(o, "cidr", text);
		json_set_string(o, "ifname", report->external[i].ifname);
		json_object_array_add(list, o);
	}
	same = json_object_equal(list, old);
	json_object_object_add(node, "external", list);
	return same;
}

static int build_report(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct report_ctx *rc_ctx = ctx;
	struct json_object *teps = json_object_new_array();
	CLEANUP(record) struct record node = {0};
	struct endpoint list[NETMAP_TEPS_MAX];
	bool nat, same_map, same_version, same_external;
	int rc = node_load(r, rc_ctx->node_id, &node, p);
	size_t n;

	if (rc) {
		json_object_put(teps);
		return rc == -ENOENT ? agent_gone(p) : rc;
	}
	n = agent_report_teps(rc_ctx->report, rc_ctx->seen, list, &nat);
	for (size_t i = 0; i < n; i++) {
		char text[ENDPOINT_TEXT_LEN];

		endpoint_format(&list[i], text);
		json_object_array_add(teps, json_object_new_string(text));
	}
	same_map = json_object_equal(teps, json_object_object_get(node.o, "teps")) &&
		   nat == json_object_get_boolean(json_object_object_get(node.o, "nat"));
	same_version = !strcmp(rc_ctx->report->version, record_text(node.o, "version"));
	json_object_object_add(node.o, "teps", teps); /* owned by the node from here */
	same_external = take_external(rc_ctx->report, node.o);
	if (same_map && same_version && same_external)
		return REGISTRY_NO_CHANGE;
	rc_ctx->later = !soft_may(
		soft_node(r->soft, rc_ctx->node_id)->change_due_ns, &change_budget, rc_ctx->now_ns);
	if (rc_ctx->later)
		return REGISTRY_NO_CHANGE;
	json_set_bool(node.o, "nat", nat);
	json_set_string(node.o, "version", rc_ctx->report->version);
	store_txn_expect(txn, KEY("/nodes/%s", rc_ctx->node_id), node.mod_revision);
	registry_put(txn, KEY("/nodes/%s", rc_ctx->node_id), node.o);
	return same_map ? 0 : registry_touch_networks_of(r, txn, rc_ctx->node_id, p);
}

int agent_apply_report(struct registry *r, const char *node_id, const struct agent_report *report,
	const struct ip *seen, uint64_t now_ns, unsigned int *ret_interval_s, struct problem *p)
{
	struct report_ctx ctx = {
		.node_id = node_id, .report = report, .seen = seen, .now_ns = now_ns};
	int rc = registry_transact(r, build_report, &ctx, NULL, p);
	struct soft_node *soft;

	if (rc < 0)
		return rc;
	soft = soft_node(r->soft, node_id);
	if (!rc)
		soft_spend(&soft->change_due_ns, &change_budget, now_ns);
	snprintf(soft->applied, NETMAP_REVISION_TEXT_LEN, "%s", report->applied);
	*ret_interval_s = ctx.later ? (unsigned int)(change_budget.each_ns / NS_PER_S)
				    : AGENT_REPORT_INTERVAL_S;
	return 0;
}
