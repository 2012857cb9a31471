/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/reservation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/form.h"
#include "console-api/netconf.h"
#include "console-api/node.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

/* -- ranges -- */

static bool is_single(const struct ip_range *range)
{
	return !ip_compare(&range->first, &range->last);
}

static bool range_contains(const struct ip_range *range, const struct ip *ip)
{
	return range->first.family == ip->family && ip_compare(&range->first, ip) <= 0 &&
	       ip_compare(ip, &range->last) <= 0;
}

static bool ranges_overlap(const struct ip_range *a, const struct ip_range *b)
{
	return a->first.family == b->first.family && ip_compare(&a->first, &b->last) <= 0 &&
	       ip_compare(&b->first, &a->last) <= 0;
}

bool ip_range_parse(const char *text, struct ip_range *ret_range)
{
	const char *dash = strchr(text, '-');
	struct ip_range range;
	char first[IP_TEXT_LEN];
	struct cidr c;

	if (dash) {
		if ((size_t)(dash - text) >= sizeof(first))
			return false;
		memcpy(first, text, (size_t)(dash - text));
		first[dash - text] = '\0';
		if (!ip_parse(first, &range.first) || !ip_parse(dash + 1, &range.last))
			return false;
	} else {
		if (!cidr_parse(text, &c) || !cidr_is_network(&c))
			return false;
		range = (struct ip_range){.first = cidr_first(&c), .last = cidr_last(&c)};
	}
	if (range.first.family != range.last.family || ip_compare(&range.first, &range.last) > 0)
		return false;
	*ret_range = range;
	return true;
}

void ip_range_format(const struct ip_range *range, char ret_text[RESERVATION_TEXT_LEN])
{
	char first[IP_TEXT_LEN], last[IP_TEXT_LEN], cidr[CIDR_TEXT_LEN];
	uint8_t longest = range->first.family == AF_INET ? 32 : 128;

	ip_format(&range->first, first);
	ip_format(&range->last, last);
	if (is_single(range)) {
		snprintf(ret_text, RESERVATION_TEXT_LEN, "%s", first);
		return;
	}
	for (uint8_t prefix = 0; prefix < longest; prefix++) {
		struct cidr c = {.ip = range->first, .prefix = prefix};
		struct ip end = cidr_last(&c);

		if (cidr_is_network(&c) && !ip_compare(&end, &range->last)) {
			cidr_format(&c, cidr);
			snprintf(ret_text, RESERVATION_TEXT_LEN, "%s", cidr);
			return;
		}
	}
	snprintf(ret_text, RESERVATION_TEXT_LEN, "%s-%s", first, last);
}

/* -- looking up -- */

/* By first address, the wider one first: what lies within another comes after it. */
static int compare(const void *va, const void *vb)
{
	const struct reservation *a = va, *b = vb;
	int order = ip_compare(&a->range.first, &b->range.first);

	return order ? order : ip_compare(&b->range.last, &a->range.last);
}

const struct reservation *reservations_find(
	const struct reservation *items, size_t count, const struct ip *ip)
{
	const struct reservation *found = NULL;

	/* A single one comes after the range around it, and wins. */
	for (size_t i = 0; i < count && ip_compare(&items[i].range.first, ip) <= 0; i++)
		if (range_contains(&items[i].range, ip))
			found = &items[i];
	return found;
}

const struct reservation *reservations_of_node(
	const struct reservation *items, size_t count, const char *node_name, int family)
{
	for (size_t i = 0; i < count; i++)
		if (items[i].range.first.family == family && !strcmp(items[i].node, node_name))
			return &items[i];
	return NULL;
}

int reservation_conflict(
	const struct reservation *res, const struct ip *ip, const char *pointer, struct problem *p)
{
	char text[IP_TEXT_LEN], range[RESERVATION_TEXT_LEN];

	ip_format(ip, text);
	ip_range_format(&res->range, range);
	if (res->node[0])
		return netconf_problem(p, 409, "address_reserved", pointer,
			"%s is reserved for node \"%s\": choose another, or delete that reservation "
			"first",
			text, res->node);
	if (res->name[0])
		return netconf_problem(p, 409, "address_reserved", pointer,
			"%s is reserved for \"%s\": choose another, or delete that reservation "
			"first",
			text, res->name);
	return netconf_problem(p, 409, "address_reserved", pointer,
		"%s is excluded by the reservation %s: choose another, or delete that reservation "
		"first",
		text, range);
}

/* -- records -- */

static bool from_record(const char *id, struct json_object *record, struct reservation *res)
{
	*res = (struct reservation){0};
	snprintf(res->id, sizeof(res->id), "%s", id);
	snprintf(res->node, sizeof(res->node), "%s", record_text(record, "node"));
	snprintf(res->name, sizeof(res->name), "%s", record_text(record, "name"));
	return ip_range_parse(record_text(record, "address"), &res->range);
}

static int collect(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	struct reservations *list = ctx;

	(void)revision;
	list->items = xrealloc(list->items, list->count + 1, sizeof(*list->items));
	if (!from_record(id, record, &list->items[list->count]))
		return problem_from_store(p, -VAN_E_CORRUPT);
	list->count++;
	return 0;
}

struct reservations_cache {
	char net_id[NETMAP_ID_MAX + 1];
	uint64_t mark; /* mod_revision of /netconf/NET of which this is the state */
	struct reservations list;
};

void reservations_cache_free(struct reservations_cache *cache)
{
	if (!cache)
		return;
	reservations_done(&cache->list);
	free(cache);
}

static int fill_cache(struct registry *r, const char *net_id, uint64_t mark, struct problem *p)
{
	CLEANUP(reservations) struct reservations list = {0};
	int rc = netobj_each(r, &reservation_kind, net_id, collect, &list, p);

	if (rc)
		return rc;
	if (list.count)
		qsort(list.items, list.count, sizeof(*list.items), compare);
	if (!r->reservations)
		r->reservations = xcalloc(1, sizeof(*r->reservations));
	reservations_done(&r->reservations->list);
	*r->reservations = (struct reservations_cache){.mark = mark, .list = list};
	snprintf(r->reservations->net_id, sizeof(r->reservations->net_id), "%s", net_id);
	list = (struct reservations){0};
	return 0;
}

int reservations_load(
	struct registry *r, const char *net_id, struct reservations *ret_list, struct problem *p)
{
	CLEANUP(store_item) struct store_item mark = {0};
	const struct reservations_cache *cache = r->reservations;
	struct reservations list = {0};
	int rc = store_get(r->store, KEY("/netconf/%s", net_id), &mark);

	if (rc && rc != -ENOENT)
		return problem_from_store(p, rc);
	if (rc) {
		*ret_list = list; /* without the mark there never was one */
		return 0;
	}
	if (!cache || cache->mark != mark.mod_revision || strcmp(cache->net_id, net_id) != 0) {
		rc = fill_cache(r, net_id, mark.mod_revision, p);
		if (rc)
			return rc;
		cache = r->reservations;
	}
	list.count = cache->list.count;
	list.items = xcalloc(list.count, sizeof(*list.items));
	if (list.count)
		memcpy(list.items, cache->list.items, list.count * sizeof(*list.items));
	*ret_list = list;
	return 0;
}

void reservations_done(struct reservations *list)
{
	free(list->items);
	*list = (struct reservations){0};
}

static void insert(struct netconf *conf, const struct reservation *res)
{
	size_t at = conf->reservation_count;

	conf->reservations = xrealloc(conf->reservations, at + 1, sizeof(*conf->reservations));
	for (; at && compare(&conf->reservations[at - 1], res) > 0; at--)
		conf->reservations[at] = conf->reservations[at - 1];
	conf->reservations[at] = *res;
	conf->reservation_count++;
}

static bool add(struct netconf *conf, const char *id, struct json_object *record)
{
	struct reservation res;

	if (!from_record(id, record, &res))
		return false;
	insert(conf, &res);
	return true;
}

/* -- reading and checking -- */

static bool is_excluded(const struct reservation *res)
{
	return !res->node[0] && !res->name[0];
}

static void read_address(
	struct netconf *conf, struct form *f, bool excluded, struct ip_range *range)
{
	const struct cidr *cidr;
	char net[CIDR_TEXT_LEN];
	const char *typed;
	struct err e = {0};

	if (!form_string(f, "address", FORM_REQUIRED, 1, RESERVATION_TEXT_LEN, &typed))
		return;
	if (!ip_range_parse(typed, range)) {
		form_fail(f, "address",
			"must be an address, a range FIRST-LAST or a prefix such as "
			"172.16.1.64/26");
		return;
	}
	cidr = netconf_cidr_for(&conf->net, range->first.family);
	if (!cidr) {
		form_fail(f, "address", "network \"%s\" has no IPv6 prefix: use IPv4",
			conf->net.spec.name);
		return;
	}
	cidr_format(cidr, net);
	if (is_single(range) && !alloc_address_usable(cidr, &range->first, &e))
		form_fail(f, "address", "%s", e.text);
	else if (!cidr_contains(cidr, &range->first) || !cidr_contains(cidr, &range->last))
		form_fail(f, "address", "%s is not inside %s: choose a range that is", typed, net);
	else if (!excluded && !is_single(range))
		form_fail(f, "address",
			"must be one address, for it is held for a node or under a name; a range "
			"without either is excluded");
}

/* The node's name, whether it is enrolled yet or not. */
static int read_node(
	struct netconf *conf, struct form *f, struct reservation *res, struct problem *p)
{
	CLEANUP(record) struct record node = {0};
	struct problem none = {0};
	char id[NETMAP_ID_MAX + 1];
	const char *ref;
	int rc;

	if (!form_string(f, "node", FORM_OPTIONAL, 1, NETMAP_NAME_MAX, &ref))
		return 0;
	rc = registry_resolve(conf->r, conf->net.org, "node", ref, id, &none);
	if (!rc)
		rc = node_load(conf->r, id, &node, &none);
	if (!rc)
		ref = record_text(node.o, "name");
	else if (rc != -VAN_E_NOT_FOUND && rc != -ENOENT)
		*p = none;
	else if (!netmap_name_valid(ref))
		form_fail(f, "node", "is no node, and no name that one could have");
	else
		rc = 0;
	snprintf(res->node, sizeof(res->node), "%s", ref);
	return rc == -VAN_E_NOT_FOUND || rc == -ENOENT ? 0 : rc;
}

static int read_spec(struct netconf *conf, struct form *f, struct reservation *res, char *note,
	struct problem *p)
{
	int rc = read_node(conf, f, res, p);

	if (rc)
		return rc;
	form_name(f, "name", FORM_OPTIONAL, res->name);
	form_line(f, "note", FORM_OPTIONAL, note, NETCONF_NOTE_SIZE);
	if (res->node[0] && res->name[0])
		form_fail(f, "name",
			"an address is held either for a node or under a name of its own");
	read_address(conf, f, is_excluded(res), &res->range);
	return form_end(f);
}

static int check_others(struct netconf *conf, const struct form *f, const struct reservation *res,
	struct problem *p)
{
	const struct reservation *own;
	char text[RESERVATION_TEXT_LEN];

	for (size_t i = 0; i < conf->reservation_count; i++) {
		const struct reservation *other = &conf->reservations[i];

		if (is_excluded(other) != is_excluded(res) ||
			!ranges_overlap(&other->range, &res->range))
			continue;
		if (!is_excluded(res))
			return reservation_conflict(
				other, &res->range.first, POINTER(f, "address"), p);
		ip_range_format(&other->range, text);
		return netconf_problem(p, 409, "address_reserved", POINTER(f, "address"),
			"overlaps the reservation %s: change that one", text);
	}
	own = res->node[0] ? reservations_of_node(conf->reservations, conf->reservation_count,
				     res->node, res->range.first.family)
			   : NULL;
	if (own) {
		ip_range_format(&own->range, text);
		return netconf_problem(p, 409, "node_has_reservation", POINTER(f, "node"),
			"%s is reserved for node \"%s\" already: change that reservation", text,
			res->node);
	}
	if (res->name[0] && netconf_name_taken(conf, res->name))
		return netconf_problem(p, 409, "name_taken", POINTER(f, "name"),
			"there is a reservation or floating IP \"%s\" already: choose another name",
			res->name);
	return 0;
}

static bool is_floating(const struct netconf *conf, const char *id)
{
	for (size_t i = 0; i < conf->fip_count; i++)
		if (!strcmp(conf->fips[i].id, id))
			return true;
	return false;
}

/* May what is excluded hold this address? A floating IP may lie in it, and what is pinned. */
static bool may_be_within(const struct netconf *conf, const struct held *holder)
{
	const struct reservation *own;

	if (conf->adopting || is_floating(conf, holder->id))
		return true;
	own = reservations_find(conf->reservations, conf->reservation_count, &holder->ip);
	return own && !is_excluded(own);
}

/* True when the holder is the node that the address is to be reserved for. */
static int is_its_own(struct netconf *conf, const struct held *holder,
	const struct reservation *res, bool *ret_own, struct problem *p)
{
	CLEANUP(record) struct record node = {0};
	int rc = res->node[0] ? node_load(conf->r, holder->id, &node, p) : -ENOENT;

	if (rc && rc != -ENOENT)
		return rc;
	*ret_own = !rc && !strcmp(record_text(node.o, "name"), res->node);
	return 0;
}

static int check_holders(struct netconf *conf, const struct form *f, const struct reservation *res,
	struct problem *p)
{
	for (size_t i = 0; i < conf->held_count; i++) {
		const struct held *holder = &conf->held[i];
		bool fine;
		int rc;

		if (!range_contains(&res->range, &holder->ip) ||
			(is_excluded(res) && may_be_within(conf, holder)))
			continue;
		rc = is_its_own(conf, holder, res, &fine, p);
		if (rc)
			return rc;
		if (!fine)
			return netconf_taken(conf, holder, POINTER(f, "address"), p);
	}
	return netconf_expect_addresses(conf, p);
}

static int settle(struct netconf *conf, const char *id, struct form *f,
	struct json_object **ret_spec, struct problem *p)
{
	char note[NETCONF_NOTE_SIZE] = "", text[RESERVATION_TEXT_LEN];
	struct reservation res = {0};
	struct json_object *spec;
	int rc = read_spec(conf, f, &res, note, p);

	if (!rc)
		rc = check_others(conf, f, &res, p);
	if (!rc)
		rc = check_holders(conf, f, &res, p);
	if (rc)
		return rc;
	snprintf(res.id, sizeof(res.id), "%s", id);
	insert(conf, &res);
	ip_range_format(&res.range, text);
	spec = json_object_new_object();
	json_set_string(spec, "address", text);
	json_set_string(spec, "node", res.node[0] ? res.node : NULL);
	json_set_string(spec, "name", res.name[0] ? res.name : NULL);
	json_set_string(spec, "note", note[0] ? note : NULL);
	*ret_spec = spec;
	return 0;
}

static bool answers_to(struct json_object *record, const char *ref)
{
	struct ip_range asked, own;
	const char *name = record_text(record, "name");

	if (name[0] && !strcmp(name, ref))
		return true;
	return ip_range_parse(ref, &asked) &&
	       ip_range_parse(record_text(record, "address"), &own) &&
	       !ip_compare(&asked.first, &own.first) && !ip_compare(&asked.last, &own.last);
}

/* node becomes the id, null while it has not joined; node_name says for whom it is. */
static int dress(
	struct registry *r, const struct network *net, struct json_object *view, struct problem *p)
{
	char name[NETMAP_NAME_MAX + 1], id[NETMAP_ID_MAX + 1];
	int rc = -ENOENT;

	snprintf(name, sizeof(name), "%s", record_text(view, "node"));
	if (name[0])
		rc = registry_index(r, KEY("/names/%s/node/%s", net->org, name), id, NULL, p);
	if (rc && rc != -ENOENT)
		return rc;
	json_set_string(view, "node", rc ? NULL : id);
	json_set_string(view, "node_name", name[0] ? name : NULL);
	return 0;
}

const struct netobj_kind reservation_kind = {
	.noun = "reservation",
	.called = "reservation",
	.folder = "reservations",
	.id_prefix = "rsv",
	.max = RESERVATION_MAX,
	.quota = QUOTA_RESERVATIONS,
	.settle = settle,
	.add = add,
	.answers_to = answers_to,
	.dress = dress,
};

/* -- renaming -- */

struct renaming {
	struct store_txn *txn;
	const char *net_id;
	const char *from;
	const char *to;
	size_t moved;
};

static int move(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	struct renaming *rn = ctx;

	(void)revision;
	(void)p;
	if (strcmp(record_text(record, "node"), rn->from) != 0)
		return 0;
	json_set_string(record, "node", rn->to);
	registry_put(rn->txn, KEY("/%s/%s/%s", reservation_kind.folder, rn->net_id, id), record);
	rn->moved++;
	return 0;
}

int reservation_build_rename(struct registry *r, struct store_txn *txn, const char *net_id,
	const char *from, const char *to, struct problem *p)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct renaming rn = {.txn = txn, .net_id = net_id, .from = from, .to = to};
	CLEANUP(reservations) struct reservations list = {0};
	int rc = netconf_expect(r, txn, net_id, p);

	if (!rc)
		rc = reservations_load(r, net_id, &list, p);
	for (size_t i = 0; !rc && i < 2; i++) {
		const struct reservation *own, *other;
		char text[RESERVATION_TEXT_LEN];

		own = reservations_of_node(list.items, list.count, from, families[i]);
		other = reservations_of_node(list.items, list.count, to, families[i]);
		if (!own || !other)
			continue;
		ip_range_format(&other->range, text);
		return problem_set(p, 409, "name_reserved",
			"%s is reserved for a node \"%s\", and this node has a reservation of its "
			"own: delete one of them, or choose another name",
			text, to);
	}
	if (!rc)
		rc = netobj_each(r, &reservation_kind, net_id, move, &rn, p);
	if (rc)
		return rc;
	if (rn.moved)
		store_txn_put(txn, KEY("/netconf/%s", net_id), "\"\"");
	return 0;
}
