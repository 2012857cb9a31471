/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/topology.h"

#include <stdio.h>
#include <string.h>
#include "console-api/idempotency.h"
#include "console-api/topology_internal.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

/* More than a document can ask for. */
#define TRANSACTIONS_MAX 100000

struct run {
	const struct topology_import *im;
	struct json_object *document;
	struct json_object *answer; /* owned: networks */
	struct json_object *macs;   /* owned: those that the networks planned so far take */
	int64_t adds[QUOTA_COUNT];  /* by the networks planned so far */
	struct idem *idem;          /* of the request: its row goes with the last transaction */
	int64_t transactions;
	bool more;
};

static void add_answer(const struct plan *plan, struct json_object *networks)
{
	struct json_object *o = json_object_new_object();
	bool has_id = plan->net.id[0] && !(plan_creates(plan) && plan->im->dry_run);
	char confirm_by[21];

	json_set_string(o, "name", plan->net.spec.name);
	json_set_string(o, "id", has_id ? plan->net.id : NULL);
	json_set_bool(o, "created", plan_creates(plan));
	json_object_object_add(o, "changes", json_object_get(plan->changes));
	json_object_object_add(o, "missing", json_object_get(plan->missing));
	json_object_object_add(o, "warnings", json_object_get(plan->warnings));
	clock_format_rfc3339((uint64_t)plan->confirm_by_s * NS_PER_S, confirm_by);
	json_set_string(o, "confirm_by", plan->confirm_by_s ? confirm_by : NULL);
	json_object_array_add(networks, o);
}

static size_t count_of_rules(struct json_object *policy)
{
	return json_object_array_length(json_object_object_get(policy, "rules"));
}

/* Adds how many objects there will be more, or less. */
static void count_adds(const struct plan *plan, int64_t adds[QUOTA_COUNT])
{
	adds[QUOTA_NETWORKS] += plan_creates(plan);
	for (size_t i = 0; i < plan->op_count; i++) {
		const struct plan_op *op = &plan->ops[i];

		if (op->what == PLAN_REMOVE)
			adds[QUOTA_MEMBERSHIPS]--;
		else if (op->what == PLAN_MEMBER)
			adds[QUOTA_MEMBERSHIPS] += !plan->nodes[op->node].member.o;
		else if (op->what == PLAN_DELETE)
			adds[op->kind->quota]--;
		else if (op->what == PLAN_PUT)
			adds[op->kind->quota] += !op->before;
		else if (op->what == PLAN_CLOAK)
			adds[QUOTA_CLOAK_RULES] += (int64_t)count_of_rules(op->after) -
						   (int64_t)count_of_rules(op->before);
	}
}

/* Plans and writes one network of the document. */
static int import_network(struct registry *r, struct store_txn *txn, struct run *run,
	struct form *f, struct json_object *networks, struct problem *p)
{
	CLEANUP(plan) struct plan plan = {.r = r, .im = run->im, .p = p, .taken_macs = run->macs};
	bool more = false;
	int rc = plan_make(&plan, f);

	if (!rc)
		count_adds(&plan, run->adds);
	if (!rc && (plan_creates(&plan) || json_object_array_length(plan.changes)))
		rc = plan_write(&plan, txn, &more);
	if (rc)
		return rc;
	run->more |= more;
	add_answer(&plan, networks);
	return 0;
}

static int check_head(struct form *f, struct json_object **ret_list)
{
	const char *format;
	int64_t version;

	if (form_string(f, "format", FORM_REQUIRED, 1, 64, &format) &&
		strcmp(format, TOPOLOGY_FORMAT) != 0)
		form_fail(f, "format", "must be \"%s\"", TOPOLOGY_FORMAT);
	if (form_int(f, "version", FORM_REQUIRED, 1, INT64_MAX, &version) &&
		version > TOPOLOGY_VERSION)
		form_fail(f, "version", "is newer than what this console reads, which is %d",
			TOPOLOGY_VERSION);
	form_array(f, "networks", FORM_REQUIRED, TOPOLOGY_NETWORKS_MAX, ret_list);
	return form_end(f);
}

static int check_names(const struct run *run, struct form *f, struct json_object *list)
{
	CLEANUP(json) struct json_object *seen = json_object_new_object();
	size_t count = json_object_array_length(list);

	if (!count)
		form_fail(f, "networks", "must have an item");
	if (run->im->name && count != 1)
		form_fail(f, "networks", "must have one item to be imported under another name");
	if (run->im->name && !netmap_name_valid(run->im->name))
		return problem_set(f->p, 400, "invalid",
			"name: must be 1 to 63 characters of a-z, 0-9 and -, no hyphen at the ends");
	for (size_t i = 0; i < count; i++) {
		struct json_object *network = json_object_array_get_idx(list, i);
		const char *name = json_object_is_type(network, json_type_object)
					   ? record_text(network, "name")
					   : "";

		if (name[0] && json_object_object_get_ex(seen, name, NULL))
			form_item_fail(f, "networks", i, "network \"%s\" is there twice", name);
		json_set_bool(seen, name, true);
	}
	return f->p->error_count ? -VAN_E_INVALID : 0;
}

/* Nothing of what is too much is written; what comes and goes within the document evens out. */
static int check_limits(
	struct registry *r, struct store_txn *txn, const struct run *run, struct problem *p)
{
	const char *org = run->im->actor->org;
	int rc = 0;

	for (int i = 0; i < QUOTA_COUNT && !rc; i++)
		if (run->adds[i] > 0)
			rc = quota_build_add(r, txn, org, (enum quota)i, (uint64_t)run->adds[i], p);
	return rc;
}

static int import_all(struct registry *r, struct store_txn *txn, struct run *run, struct problem *p)
{
	CLEANUP(json) struct json_object *networks = json_object_new_array();
	struct json_object *list;
	struct form f;
	int rc;

	form_init(&f, run->document, p);
	rc = check_head(&f, &list);
	if (!rc)
		rc = check_names(run, &f, list);
	json_object_put(run->macs);
	run->macs = json_object_new_object();
	memset(run->adds, 0, sizeof(run->adds));
	for (size_t i = 0; !rc && i < json_object_array_length(list) && !run->more; i++) {
		struct form network;

		if (!form_item(&f, "networks", i, &network))
			return -VAN_E_INVALID;
		rc = import_network(r, txn, run, &network, networks, p);
		/* The next one waits for a transaction with room for it. */
		run->more |= !rc && !run->im->dry_run && i + 1 < json_object_array_length(list) &&
			     txn->op_count >= store_txn_max(r->store) / 2;
	}
	if (!rc)
		rc = check_limits(r, txn, run, p);
	if (rc)
		return rc;
	json_object_put(run->answer);
	run->answer = STEAL(networks);
	return 0;
}

static int build_import(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct run *run = ctx;
	int rc;

	run->more = false;
	/* Looked at is far more than decided by; what is, is compared explicitly. */
	store_track(r->store, NULL);
	rc = import_all(r, txn, run, p);
	store_track(r->store, txn);
	if (rc)
		return rc;
	if (run->im->dry_run || !txn->op_count)
		return REGISTRY_NO_CHANGE;
	r->idem = run->more ? NULL : run->idem;
	return 0;
}

static int transact(struct registry *r, struct run *run, struct problem *p)
{
	int rc = registry_transact(r, build_import, run, NULL, p);

	run->transactions += rc == 0;
	if (rc == -E2BIG)
		return problem_set(p, 409, "too_large",
			"so many addresses change hands in a ring that the store cannot take it at "
			"once: move some of the nodes to free addresses first");
	return rc < 0 ? rc : 0;
}

/* Everything checked and planned at once, where only a part of it is written at a time. */
static int plan_all(struct registry *r, const struct run *run, struct json_object **ret_answer,
	struct problem *p)
{
	struct topology_import dry = *run->im;
	struct run all = {.im = &dry, .document = run->document};
	int rc;

	dry.dry_run = true;
	rc = transact(r, &all, p);
	json_object_put(all.macs);
	if (rc)
		json_object_put(all.answer);
	else
		*ret_answer = all.answer;
	return rc;
}

/* What was planned before they were made does not know the ids. */
static int add_ids(
	struct registry *r, const char *org, struct json_object *networks, struct problem *p)
{
	for (size_t i = 0; i < json_object_array_length(networks); i++) {
		struct json_object *o = json_object_array_get_idx(networks, i);
		char id[NETMAP_ID_MAX + 1];
		int rc = registry_resolve(r, org, "network", record_text(o, "name"), id, p);

		if (rc)
			return rc;
		json_set_string(o, "id", id);
	}
	return 0;
}

static int run_all(struct registry *r, struct run *run, struct problem *p)
{
	CLEANUP(json) struct json_object *plan = NULL;
	bool in_parts = store_txn_max(r->store) != SIZE_MAX && !run->im->dry_run;
	struct problem why;
	int rc = in_parts ? plan_all(r, run, &plan, p) : 0;

	if (rc)
		return rc;
	do
		rc = transact(r, run, p);
	while (!rc && run->more && run->transactions < TRANSACTIONS_MAX);
	if (rc && run->transactions) {
		why = *p;
		snprintf(p->detail, sizeof(p->detail),
			"%.380s (a part of the changes was made before: import it again to go on)",
			why.detail);
	}
	if (rc || !in_parts)
		return rc;
	json_object_put(run->answer);
	run->answer = STEAL(plan);
	return add_ids(r, run->im->actor->org, run->answer, p);
}

int topology_import(struct registry *r, const struct topology_import *im,
	struct json_object *document, struct json_object **ret_result, struct problem *p)
{
	struct run run = {.im = im, .document = document, .idem = r->idem};
	struct json_object *result;
	int rc = run_all(r, &run, p);

	r->idem = run.idem;
	json_object_put(run.macs);
	if (rc) {
		json_object_put(run.answer);
		return rc;
	}
	result = json_object_new_object();
	json_set_bool(result, "dry_run", im->dry_run);
	json_set_int(result, "transactions", run.transactions);
	json_object_object_add(result, "networks", run.answer);
	*ret_result = result;
	return 0;
}
