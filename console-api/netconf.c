/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/netconf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/alloc.h"
#include "console-api/audit.h"
#include "console-api/cloak.h"
#include "console-api/node.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/log.h"

static const struct netobj_kind *const kinds[] = {&reservation_kind, &gateway_kind, &fip_kind};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

/* -- reading -- */

static int damaged(const char *key, struct problem *p)
{
	log_error("store: the value of %s is damaged", key);
	return problem_from_store(p, -VAN_E_CORRUPT);
}

/* The id in the value of an index key: a JSON string without escapes. */
static bool id_of_index(const char *value, char ret_id[NETMAP_ID_MAX + 1])
{
	size_t len = strlen(value);

	if (len < 2 || len > NETMAP_ID_MAX + 2 || value[0] != '"' || value[len - 1] != '"')
		return false;
	memcpy(ret_id, value + 1, len - 2);
	ret_id[len - 2] = '\0';
	return true;
}

/* The keys sort as the addresses do. */
static int load_held(struct netconf *conf, const char *except, struct problem *p)
{
	CLEANUP(store_items) struct store_items keys = {0};
	int rc = store_range(conf->r->store, KEY("/addr/%s/", conf->net.id), NULL, 0, &keys);

	if (rc)
		return problem_from_store(p, rc);
	conf->held = xcalloc(keys.count + 1, sizeof(*conf->held));
	for (size_t i = 0; i < keys.count; i++) {
		struct held *h = &conf->held[conf->held_count];

		if (!alloc_address_from_key(registry_key_tail(keys.items[i].key), &h->ip) ||
			!id_of_index(keys.items[i].value, h->id))
			return damaged(keys.items[i].key, p);
		if (!except || strcmp(h->id, except) != 0)
			conf->held_count++;
	}
	return 0;
}

struct adding {
	struct netconf *conf;
	const struct netobj_kind *kind;
	const char *except;
};

static int add_one(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	const struct adding *a = ctx;

	(void)revision;
	if (a->except && !strcmp(id, a->except))
		return 0;
	if (a->kind->add(a->conf, id, record))
		return 0;
	return damaged(KEY("/%s/%s/%s", a->kind->folder, a->conf->net.id, id), p);
}

int netconf_load(struct registry *r, struct store_txn *txn, const char *org, const char *net_ref,
	const char *except, struct netconf *ret_conf, struct problem *p)
{
	CLEANUP(netconf) struct netconf conf = {.r = r, .txn = txn};
	int rc = network_by_ref(r, org, net_ref, &conf.net, p);

	if (!rc)
		rc = load_held(&conf, except, p);
	for (size_t i = 0; !rc && i < KIND_COUNT; i++) {
		struct adding a = {.conf = &conf, .kind = kinds[i], .except = except};

		rc = netobj_each(r, kinds[i], conf.net.id, add_one, &a, p);
	}
	if (rc)
		return rc;
	*ret_conf = conf;
	conf = (struct netconf){0};
	return 0;
}

void netconf_done(struct netconf *conf)
{
	free(conf->held);
	free(conf->reservations);
	free(conf->gateways);
	free(conf->fips);
	*conf = (struct netconf){0};
}

/* -- what transactions compare -- */

int netconf_expect(struct registry *r, struct store_txn *txn, const char *net_id, struct problem *p)
{
	CLEANUP(store_item) struct store_item mark = {0};
	int rc = store_get(r->store, KEY("/netconf/%s", net_id), &mark);

	if (rc && rc != -ENOENT)
		return problem_from_store(p, rc);
	store_txn_expect(txn, KEY("/netconf/%s", net_id), rc ? 0 : mark.mod_revision);
	return 0;
}

int netconf_build_change(
	struct registry *r, struct store_txn *txn, const struct network *net, struct problem *p)
{
	int rc = netconf_expect(r, txn, net->id, p);

	if (rc)
		return rc;
	store_txn_expect(txn, KEY("/nets/%s", net->id), net->mod_revision);
	store_txn_put(txn, KEY("/netconf/%s", net->id), "\"\"");
	registry_touch_network(txn, net->id);
	return 0;
}

int netconf_expect_addresses(struct netconf *conf, struct problem *p)
{
	CLEANUP(store_item) struct store_item mark = {0};
	int rc;

	if (!conf->txn)
		return 0;
	rc = store_get(conf->r->store, KEY("/maprev/net/%s", conf->net.id), &mark);
	if (rc && rc != -ENOENT)
		return problem_from_store(p, rc);
	store_txn_expect(
		conf->txn, KEY("/maprev/net/%s", conf->net.id), rc ? 0 : mark.mod_revision);
	return 0;
}

/* -- addresses -- */

/* The place of the first one that is not below the address. */
static size_t held_place(const struct netconf *conf, const struct ip *ip)
{
	size_t low = 0, high = conf->held_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ip_compare(&conf->held[middle].ip, ip) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct held *netconf_holder(const struct netconf *conf, const struct ip *ip)
{
	size_t at = held_place(conf, ip);

	return at < conf->held_count && !ip_compare(&conf->held[at].ip, ip) ? &conf->held[at]
									    : NULL;
}

void netconf_hold(struct netconf *conf, const struct ip *ip, const char *id)
{
	size_t at = held_place(conf, ip);

	conf->held = xrealloc(conf->held, conf->held_count + 1, sizeof(*conf->held));
	memmove(&conf->held[at + 1], &conf->held[at],
		(conf->held_count - at) * sizeof(*conf->held));
	conf->held[at] = (struct held){.ip = *ip};
	snprintf(conf->held[at].id, sizeof(conf->held[at].id), "%s", id);
	conf->held_count++;
}

int netconf_taken(
	struct netconf *conf, const struct held *holder, const char *pointer, struct problem *p)
{
	CLEANUP(record) struct record node = {0};
	char text[IP_TEXT_LEN];
	int rc;

	ip_format(&holder->ip, text);
	for (size_t i = 0; i < conf->fip_count; i++) {
		const struct fip *fip = &conf->fips[i];

		if (strcmp(fip->id, holder->id) != 0)
			continue;
		return netconf_problem(p, 409, "address_taken", pointer,
			"%s is the floating IP %s: choose another, or delete that one first", text,
			fip->name[0] ? fip->name : fip->id);
	}
	rc = node_load(conf->r, holder->id, &node, p);
	if (rc && rc != -ENOENT)
		return rc;
	return netconf_problem(p, 409, "address_taken", pointer,
		"%s is the address of node \"%s\": choose another, or move that node first", text,
		rc ? holder->id : record_text(node.o, "name"));
}

const struct cidr *netconf_cidr_for(const struct network *net, int family)
{
	const struct cidr *cidr = family == AF_INET ? &net->spec.cidr : &net->spec.cidr6;

	return cidr->ip.family == AF_UNSPEC ? NULL : cidr;
}

bool netconf_name_taken(const struct netconf *conf, const char *name)
{
	for (size_t i = 0; i < conf->reservation_count; i++)
		if (!strcmp(conf->reservations[i].name, name))
			return true;
	for (size_t i = 0; i < conf->fip_count; i++)
		if (!strcmp(conf->fips[i].name, name))
			return true;
	return false;
}

/* -- members -- */

static int compare_ids(const void *id, const void *item)
{
	return strcmp(id, *(const char *const *)item);
}

/* -ENOENT without a problem when the node is not in the network. */
static int find_member(struct netconf *conf, const char *node_id, struct problem *p)
{
	CLEANUP(store_item) struct store_item item = {0};
	int rc;

	if (conf->members)
		return bsearch(node_id, conf->members, conf->member_count, sizeof(*conf->members),
			       compare_ids)
			       ? 0
			       : -ENOENT;
	rc = store_get(conf->r->store, KEY("/members/%s/%s", conf->net.id, node_id), &item);
	if (rc)
		return rc == -ENOENT ? rc : problem_from_store(p, rc);
	if (conf->txn)
		store_txn_expect(conf->txn, item.key, item.mod_revision);
	return 0;
}

int netconf_member(struct netconf *conf, const char *ref, const char *pointer,
	char ret_id[NETMAP_ID_MAX + 1], char ret_name[NETMAP_NAME_MAX + 1], struct problem *p)
{
	CLEANUP(record) struct record node = {0};
	char id[NETMAP_ID_MAX + 1];
	int rc = registry_resolve(conf->r, conf->net.org, "node", ref, id, p);

	if (rc == -VAN_E_NOT_FOUND)
		return netconf_problem(p, 404, "not_found", pointer,
			"there is no node \"%.64s\": list what there is", ref);
	if (!rc)
		rc = find_member(conf, id, p);
	if (!rc && ret_name)
		rc = node_load(conf->r, id, &node, p);
	if (rc == -ENOENT)
		return netconf_problem(p, 404, "not_found", pointer,
			"node \"%.64s\" is not in network \"%s\": add it first", ref,
			conf->net.spec.name);
	if (rc)
		return rc;
	memcpy(ret_id, id, sizeof(id));
	if (ret_name)
		snprintf(ret_name, NETMAP_NAME_MAX + 1, "%s", record_text(node.o, "name"));
	return 0;
}

/* -- parts of the transactions of others -- */

struct forgetting {
	struct registry *r;
	struct store_txn *txn;
	const struct actor *actor;
	const char *net_id;
	const char *node_id;
	bool changed;
};

static int forget_gateway(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	struct forgetting *f = ctx;

	(void)revision;
	(void)p;
	if (strcmp(record_text(record, "node"), f->node_id) != 0)
		return 0;
	netobj_build_delete(f->txn, &gateway_kind, f->net_id, id, record);
	if (f->actor)
		registry_audit_change(
			f->txn, f->actor, "gateway.delete", gateway_kind.noun, id, record, NULL);
	f->changed = true;
	return 0;
}

static int forget_in_fip(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	struct forgetting *f = ctx;

	(void)revision;
	(void)p;
	if (!fip_forget(record, f->node_id))
		return 0;
	registry_put(f->txn, KEY("/%s/%s/%s", fip_kind.folder, f->net_id, id), record);
	f->changed = true;
	return 0;
}

int netconf_build_forget(struct registry *r, struct store_txn *txn, const struct actor *actor,
	const char *net_id, const char *node_id, struct problem *p)
{
	struct forgetting f = {
		.r = r, .txn = txn, .actor = actor, .net_id = net_id, .node_id = node_id};
	int rc = netconf_expect(r, txn, net_id, p);

	if (!rc)
		rc = netobj_each(r, &gateway_kind, net_id, forget_gateway, &f, p);
	if (!rc)
		rc = netobj_each(r, &fip_kind, net_id, forget_in_fip, &f, p);
	if (!rc)
		rc = cloak_build_forget(r, txn, net_id, node_id, p);
	if (rc < 0)
		return rc;
	if (f.changed || rc == 0)
		store_txn_put(txn, KEY("/netconf/%s", net_id), "\"\"");
	return 0;
}

struct deleting {
	const struct netobj_kind *kind;
	struct store_txn *txn;
	const char *net_id;
};

static int delete_one(
	void *ctx, const char *id, struct json_object *record, uint64_t revision, struct problem *p)
{
	const struct deleting *d = ctx;

	(void)revision;
	(void)p;
	netobj_build_delete(d->txn, d->kind, d->net_id, id, record);
	return 0;
}

int netconf_build_delete_all(
	struct registry *r, struct store_txn *txn, const char *net_id, struct problem *p)
{
	int rc = netconf_expect(r, txn, net_id, p);

	for (size_t k = 0; !rc && k < KIND_COUNT; k++) {
		struct deleting d = {.kind = kinds[k], .txn = txn, .net_id = net_id};

		rc = netobj_each(r, kinds[k], net_id, delete_one, &d, p);
	}
	if (rc)
		return rc;
	cloak_build_delete(txn, net_id);
	store_txn_delete(txn, KEY("/netconf/%s", net_id));
	return 0;
}

/* -- problems -- */

struct pointer netconf_pointer(const struct form *f, const char *member)
{
	struct pointer pointer;

	snprintf(pointer.text, sizeof(pointer.text), "%.100s/%.50s", f->where, member);
	return pointer;
}

int netconf_problem(
	struct problem *p, int status, const char *word, const char *pointer, const char *fmt, ...)
{
	char text[384];
	va_list ap;
	int rc;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rc = problem_set(p, status, word, "%s: %s", pointer, text);
	p->error_count = 1;
	snprintf(p->errors[0].pointer, sizeof(p->errors[0].pointer), "%s", pointer);
	snprintf(p->errors[0].detail, sizeof(p->errors[0].detail), "%.255s", p->detail);
	return rc;
}
