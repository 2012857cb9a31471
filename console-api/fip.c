/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/fip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/alloc.h"
#include "console-api/form.h"
#include "console-api/netconf.h"
#include "console-api/node.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

/* A specification as it was read: candidates and assigned are still what the client called them. */
struct wish {
	struct fip fip;
	bool has_candidates;
	size_t candidate_count;
	const char *candidates[FIP_CANDIDATES_MAX]; /* borrowed */
	const char *assigned;                       /* borrowed; NULL: none */
	int64_t vrid;                               /* 0: any */
	char note[NETCONF_NOTE_SIZE];
	char ids[FIP_CANDIDATES_MAX][NETMAP_ID_MAX + 1];
	char assigned_id[NETMAP_ID_MAX + 1];
};

static void read_address(struct netconf *conf, struct form *f, struct ip *ip)
{
	const struct cidr *cidr;
	struct err e = {0};

	if (!form_ip(f, "address", FORM_REQUIRED, ip))
		return;
	cidr = netconf_cidr_for(&conf->net, ip->family);
	if (!cidr)
		form_fail(f, "address", "network \"%s\" has no IPv6 prefix: use IPv4",
			conf->net.spec.name);
	else if (!alloc_address_usable(cidr, ip, &e))
		form_fail(f, "address", "%s", e.text);
}

static int read_spec(struct netconf *conf, struct form *f, struct wish *w)
{
	struct json_object *list;

	form_name(f, "name", FORM_OPTIONAL, w->fip.name);
	read_address(conf, f, &w->fip.ip);
	w->has_candidates = form_array(f, "candidates", FORM_OPTIONAL, FIP_CANDIDATES_MAX, &list);
	if (w->has_candidates) {
		w->candidate_count = json_object_array_length(list);
		for (size_t i = 0; i < w->candidate_count; i++)
			form_item_string(f, "candidates", i, NETMAP_NAME_MAX, &w->candidates[i]);
	}
	form_string(f, "assigned", FORM_OPTIONAL, 1, NETMAP_NAME_MAX, &w->assigned);
	form_int(f, "vrid", FORM_OPTIONAL, 1, 255, &w->vrid);
	form_line(f, "note", FORM_OPTIONAL, w->note, sizeof(w->note));
	return form_end(f);
}

static int check_address(
	struct netconf *conf, const struct form *f, const struct fip *fip, struct problem *p)
{
	const struct held *holder = netconf_holder(conf, &fip->ip);
	const struct reservation *res;

	if (holder)
		return netconf_taken(conf, holder, POINTER(f, "address"), p);
	res = reservations_find(conf->reservations, conf->reservation_count, &fip->ip);
	/* What is excluded is kept from being handed out, and that is what one wants of these. */
	if (res && (res->node[0] || res->name[0]))
		return reservation_conflict(res, &fip->ip, POINTER(f, "address"), p);
	if (fip->name[0] && netconf_name_taken(conf, fip->name))
		return netconf_problem(p, 409, "name_taken", POINTER(f, "name"),
			"there is a reservation or floating IP \"%s\" already: choose another name",
			fip->name);
	return netconf_expect_addresses(conf, p);
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int resolve_nodes(
	struct netconf *conf, const struct form *f, struct wish *w, struct problem *p)
{
	bool is_candidate = !w->has_candidates;
	char member[32];
	int rc = 0;

	for (size_t i = 0; i < w->candidate_count && !rc; i++) {
		snprintf(member, sizeof(member), "candidates/%zu", i);
		rc = netconf_member(conf, w->candidates[i], POINTER(f, member), w->ids[i], NULL, p);
		for (size_t k = 0; k < i && !rc; k++)
			if (!strcmp(w->ids[i], w->ids[k]))
				rc = netconf_problem(p, 400, "invalid", POINTER(f, member),
					"is the node of candidates/%zu again", k);
	}
	if (rc || !w->assigned)
		return rc;
	rc = netconf_member(conf, w->assigned, POINTER(f, "assigned"), w->assigned_id, NULL, p);
	if (rc)
		return rc;
	for (size_t i = 0; i < w->candidate_count; i++)
		is_candidate |= !strcmp(w->ids[i], w->assigned_id);
	return is_candidate ? 0
			    : netconf_problem(p, 400, "invalid", POINTER(f, "assigned"),
				      "\"%.64s\" is none of the candidates: add it to them first",
				      w->assigned);
}

static struct json_object *wish_to_json(struct wish *w)
{
	struct json_object *spec = json_object_new_object(), *list = NULL;
	char text[IP_TEXT_LEN];

	ip_format(&w->fip.ip, text);
	json_set_string(spec, "name", w->fip.name[0] ? w->fip.name : NULL);
	json_set_string(spec, "address", text);
	if (w->has_candidates) {
		list = json_object_new_array();
		qsort(w->ids, w->candidate_count, sizeof(w->ids[0]), compare_ids);
	}
	for (size_t i = 0; i < w->candidate_count; i++)
		json_object_array_add(list, json_object_new_string(w->ids[i]));
	json_object_object_add(spec, "candidates", list);
	json_set_string(spec, "assigned", w->assigned ? w->assigned_id : NULL);
	if (w->vrid)
		json_set_int(spec, "vrid", w->vrid);
	else
		json_object_object_add(spec, "vrid", NULL);
	json_set_string(spec, "note", w->note[0] ? w->note : NULL);
	return spec;
}

static void insert(struct netconf *conf, const struct fip *fip)
{
	conf->fips = xrealloc(conf->fips, conf->fip_count + 1, sizeof(*conf->fips));
	conf->fips[conf->fip_count++] = *fip;
}

static int settle(struct netconf *conf, const char *id, struct form *f,
	struct json_object **ret_spec, struct problem *p)
{
	struct wish w = {0};
	int rc = read_spec(conf, f, &w);

	if (!rc)
		rc = check_address(conf, f, &w.fip, p);
	if (!rc)
		rc = resolve_nodes(conf, f, &w, p);
	if (rc)
		return rc;
	snprintf(w.fip.id, sizeof(w.fip.id), "%s", id);
	insert(conf, &w.fip);
	netconf_hold(conf, &w.fip.ip, id);
	*ret_spec = wish_to_json(&w);
	return 0;
}

/* The address is among those held already: its key is the object's. */
static bool add(struct netconf *conf, const char *id, struct json_object *record)
{
	struct fip fip = {0};

	snprintf(fip.id, sizeof(fip.id), "%s", id);
	snprintf(fip.name, sizeof(fip.name), "%s", record_text(record, "name"));
	if (!ip_parse(record_text(record, "address"), &fip.ip))
		return false;
	insert(conf, &fip);
	return true;
}

/* The address has its key among those of the nodes, so that two can never have it. */
static void claim(struct store_txn *txn, const char *net_id, const char *id,
	struct json_object *before, struct json_object *after)
{
	const char *old = before ? record_text(before, "address") : "";
	const char *new = after ? record_text(after, "address") : "";
	char text[ALLOC_ADDRESS_KEY_LEN];
	struct ip ip;

	if (!strcmp(old, new))
		return;
	if (ip_parse(old, &ip)) {
		alloc_address_key(&ip, text);
		store_txn_delete(txn, KEY("/addr/%s/%s", net_id, text));
	}
	if (ip_parse(new, &ip)) {
		alloc_address_key(&ip, text);
		registry_put_index(txn, KEY("/addr/%s/%s", net_id, text), id);
	}
}

static bool answers_to(struct json_object *record, const char *ref)
{
	const char *name = record_text(record, "name");
	struct ip asked, own;

	if (name[0] && !strcmp(name, ref))
		return true;
	return ip_parse(ref, &asked) && ip_parse(record_text(record, "address"), &own) &&
	       !ip_compare(&asked, &own);
}

static int node_name(
	struct registry *r, const char *id, char ret_name[NETMAP_NAME_MAX + 1], struct problem *p)
{
	CLEANUP(record) struct record node = {0};
	int rc = node_load(r, id, &node, p);

	if (rc && rc != -ENOENT)
		return rc;
	snprintf(ret_name, NETMAP_NAME_MAX + 1, "%s", rc ? "" : record_text(node.o, "name"));
	return 0;
}

static int dress(
	struct registry *r, const struct network *net, struct json_object *view, struct problem *p)
{
	struct json_object *ids = json_object_object_get(view, "candidates"), *names = NULL;
	const char *assigned = record_text(view, "assigned");
	char name[NETMAP_NAME_MAX + 1];
	int rc = 0;

	(void)net;
	if (ids)
		names = json_object_new_array();
	json_object_object_add(view, "candidate_names", names);
	for (size_t i = 0; !rc && ids && i < json_object_array_length(ids); i++) {
		rc = node_name(
			r, json_object_get_string(json_object_array_get_idx(ids, i)), name, p);
		if (!rc)
			json_object_array_add(names, json_object_new_string(name));
	}
	if (!rc && assigned[0])
		rc = node_name(r, assigned, name, p);
	json_set_string(view, "assigned_name", assigned[0] ? name : NULL);
	return rc;
}

const struct netobj_kind fip_kind = {
	.noun = "floating_ip",
	.called = "floating IP",
	.folder = "fips",
	.id_prefix = "fip",
	.max = FIP_MAX,
	.quota = QUOTA_FLOATING_IPS,
	.settle = settle,
	.add = add,
	.claim = claim,
	.answers_to = answers_to,
	.dress = dress,
};

bool fip_forget(struct json_object *record, const char *node_id)
{
	struct json_object *ids = json_object_object_get(record, "candidates");
	bool found = !strcmp(record_text(record, "assigned"), node_id);

	if (found)
		json_object_object_add(record, "assigned", NULL);
	for (size_t i = 0; ids && i < json_object_array_length(ids); i++) {
		const char *id = json_object_get_string(json_object_array_get_idx(ids, i));

		if (!id || strcmp(id, node_id) != 0)
			continue;
		json_object_array_del_idx(ids, i, 1);
		return true;
	}
	return found;
}
