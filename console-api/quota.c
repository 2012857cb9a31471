/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What belongs to an organization as a whole has an index by the organization, whose keys are counted.
 * What belongs to a network is counted network by network, but only where it could be too much: where
 * all networks, full to the brim, would hold no more than the limit allows, nothing is counted.
 *
 * Two consoles that add the last one at the same time cannot both succeed: each of them puts
 * /orgrev/ORG and compares that nobody has put it since it counted. Who deletes does not put it: a
 * count that is too high meanwhile refuses what could be, which is harmless.
 */
#include "console-api/quota.h"

#include <string.h>
#include "console-api/cloak.h"
#include "console-api/fip.h"
#include "console-api/form.h"
#include "console-api/gateway.h"
#include "console-api/registry.h"
#include "console-api/reservation.h"
#include "lib/cleanup.h"
#include "lib/json.h"

static const struct {
	const char *name;
	int64_t standard;
} table[QUOTA_COUNT] = {
#define QUOTA_ROW(constant, name, standard, text) [QUOTA_##constant] = {#name, standard},
	QUOTA_TABLE(QUOTA_ROW)
#undef QUOTA_ROW
};

/* Where the keys are: in an index of the organization, or in a folder of each network. */
static const struct {
	const char *before_org, *after_org;
	const char *folder;
	uint64_t in_network; /* at most; 0: as many as there are nodes */
} places[QUOTA_COUNT] = {
	[QUOTA_NETWORKS] = {"/names/", "/network/", NULL, 0},
	[QUOTA_NODES] = {"/names/", "/node/", NULL, 0},
	[QUOTA_USERS] = {"/names/", "/user/", NULL, 0},
	[QUOTA_KEYS] = {"/org-keys/", "/", NULL, 0},
	[QUOTA_TOKENS] = {"/org-tokens/", "/", NULL, 0},
	[QUOTA_MEMBERSHIPS] = {NULL, NULL, "members", 0},
	[QUOTA_RESERVATIONS] = {NULL, NULL, "reservations", RESERVATION_MAX},
	[QUOTA_GATEWAYS] = {NULL, NULL, "gateways", GATEWAY_MAX},
	[QUOTA_FLOATING_IPS] = {NULL, NULL, "fips", FIP_MAX},
	[QUOTA_CLOAK_RULES] = {NULL, NULL, "cloak", CLOAK_RULES_MAX},
};

void quota_defaults(int64_t ret_limits[QUOTA_COUNT])
{
	for (size_t i = 0; i < QUOTA_COUNT; i++)
		ret_limits[i] = table[i].standard;
}

/* -- counting -- */

/*
 * In the text of a cloak's document, as it is stored: parsing all of an organization's would take too
 * long. No string can look like this, for the quotes in it are escaped. The rules of the policy that
 * a pending change would fall back to do not count.
 */
static uint64_t rules_in(const char *document)
{
	static const char mark[] = "\"id\":\"rule_";
	const char *end = strstr(document, "\"fallback\":{");
	uint64_t n = 0;

	for (const char *at = strstr(document, mark); at && (!end || at < end);
		at = strstr(at + sizeof(mark) - 1, mark))
		n++;
	return n;
}

static int count_in_network(
	struct registry *r, enum quota what, const char *net_id, uint64_t *ret_n, struct problem *p)
{
	CLEANUP(store_item) struct store_item item = {0};
	int rc;

	*ret_n = 0;
	if (what == QUOTA_CLOAK_RULES) {
		rc = store_get(r->store, KEY("/cloak/%s", net_id), &item);
		if (!rc)
			*ret_n = rules_in(item.value);
		return rc && rc != -ENOENT ? problem_from_store(p, rc) : 0;
	}
	rc = store_count(r->store, KEY("/%s/%s/", places[what].folder, net_id), ret_n);
	return rc ? problem_from_store(p, rc) : 0;
}

static int count(
	struct registry *r, const char *org, enum quota what, uint64_t *ret_n, struct problem *p)
{
	CLEANUP(store_items) struct store_items nets = {0};
	uint64_t sum = 0, n;
	int rc;

	if (!places[what].folder) {
		rc = store_count(r->store,
			KEY("%s%s%s", places[what].before_org, org, places[what].after_org), ret_n);
		return rc ? problem_from_store(p, rc) : 0;
	}
	rc = store_range(r->store, KEY("/names/%s/network/", org), NULL, 0, &nets);
	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < nets.count; i++) {
		char id[NETMAP_ID_MAX + 1];

		rc = registry_index_value(&nets.items[i], id, p);
		if (!rc)
			rc = count_in_network(r, what, id, &n, p);
		if (rc)
			return rc;
		sum += n;
	}
	*ret_n = sum;
	return 0;
}

/* As many as there can be at most, in the networks and of the nodes that there are. */
static int count_at_most(
	struct registry *r, const char *org, enum quota what, uint64_t *ret_n, struct problem *p)
{
	uint64_t networks, each = places[what].in_network;
	int rc = count(r, org, QUOTA_NETWORKS, &networks, p);

	if (!rc && !each)
		rc = count(r, org, QUOTA_NODES, &each, p);
	if (!rc)
		*ret_n = networks * each;
	return rc;
}

/* -- limits -- */

static uint64_t limit_of(struct registry *r, struct json_object *org, enum quota what)
{
	struct json_object *own, *limits = json_object_object_get(org, "limits");

	if (limits && json_object_object_get_ex(limits, table[what].name, &own))
		return (uint64_t)json_object_get_int64(own);
	return (uint64_t)r->limits[what];
}

void quota_problem(struct problem *p, enum quota what, uint64_t limit, uint64_t current)
{
	snprintf(p->resource, sizeof(p->resource), "%s", table[what].name);
	p->limit = limit;
	p->current = current;
}

static int refuse(struct json_object *org, enum quota what, uint64_t limit, uint64_t current,
	uint64_t n, struct problem *p)
{
	char called[32];
	int rc;

	snprintf(called, sizeof(called), "%s", table[what].name);
	for (char *c = called; *c; c++)
		if (*c == '_')
			*c = ' ';
	rc = problem_set(p, 409, "limit_reached",
		"organization \"%s\" has %llu %s of the %llu that it may have, and this would add "
		"%llu: %s, or have an administrator of the console raise the limit (vanctl org set "
		"%s --limits %s=NUMBER)",
		record_text(org, "name"), (unsigned long long)current, called,
		(unsigned long long)limit, (unsigned long long)n,
		what == QUOTA_TOKENS ? "wait until old ones are forgotten, 30 days after their end"
				     : "delete what is not needed any more",
		record_text(org, "name"), table[what].name);
	quota_problem(p, what, limit, current);
	return rc;
}

static int judge(
	struct registry *r, const char *org, enum quota what, uint64_t n, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	uint64_t limit, current = UINT64_MAX - n;
	int rc = registry_load(r, KEY("/orgs/%s", org), &rec, p);

	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "organization", org) : rc;
	limit = limit_of(r, rec.o, what);
	if (places[what].folder)
		rc = count_at_most(r, org, what, &current, p);
	if (!rc && current + n > limit)
		rc = count(r, org, what, &current, p);
	if (!rc && current + n > limit)
		rc = refuse(rec.o, what, limit, current, n, p);
	return rc;
}

int quota_check(struct registry *r, const char *org, enum quota what, uint64_t n, struct problem *p)
{
	/* Compared is /orgrev/ORG, not every key that was counted. */
	struct store_txn *tracking = store_track(r->store, NULL);
	int rc = judge(r, org, what, n, p);

	store_track(r->store, tracking);
	return rc;
}

int quota_build_add(struct registry *r, struct store_txn *txn, const char *org, enum quota what,
	uint64_t n, struct problem *p)
{
	int rc = registry_build_in_org(r, txn, org, p);

	return rc ? rc : quota_check(r, org, what, n, p);
}

/* -- the API -- */

void quota_read(struct form *f, struct json_object **ret_limits)
{
	struct json_object *limits = NULL;
	struct form child;

	*ret_limits = NULL;
	if (!form_child(f, "limits", FORM_OPTIONAL, &child))
		return;
	for (size_t i = 0; i < QUOTA_COUNT; i++) {
		int64_t limit;

		if (!form_int(&child, table[i].name, FORM_OPTIONAL, 0, QUOTA_MAX, &limit))
			continue;
		if (!limits)
			limits = json_object_new_object();
		json_set_int(limits, table[i].name, limit);
	}
	form_end(&child);
	*ret_limits = limits;
}

struct json_object *quota_view(struct json_object *limits)
{
	struct json_object *view = json_object_new_object();

	for (size_t i = 0; i < QUOTA_COUNT; i++)
		json_object_object_add(view, table[i].name,
			json_object_get(json_object_object_get(limits, table[i].name)));
	return view;
}

int quota_usage(
	struct registry *r, const char *org, struct json_object **ret_usage, struct problem *p)
{
	CLEANUP(json) struct json_object *usage = json_object_new_object();
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, KEY("/orgs/%s", org), &rec, p);

	for (int i = 0; !rc && i < QUOTA_COUNT; i++) {
		enum quota what = (enum quota)i;
		struct json_object *one = json_object_new_object();
		uint64_t used = 0;

		json_object_object_add(usage, table[i].name, one);
		rc = count(r, org, what, &used, p);
		json_set_int(one, "used", (int64_t)used);
		json_set_int(one, "limit", (int64_t)limit_of(r, rec.o, what));
	}
	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "organization", org) : rc;
	*ret_usage = STEAL(usage);
	return 0;
}
