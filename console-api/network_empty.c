/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/network_empty.h"

#include "console-api/audit.h"
#include "console-api/fip.h"
#include "console-api/gateway.h"
#include "console-api/jointoken.h"
#include "console-api/member.h"
#include "console-api/netconf.h"
#include "console-api/network.h"
#include "console-api/reservation.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define ROOM 32u /* for what one more step, the audit row and the rest of the transaction need */

struct emptying {
	const struct actor *actor;
	const char *ref;
	const char *if_match;
};

/* What can still be added to the transaction. */
static size_t room_in(const struct registry *r, const struct store_txn *txn)
{
	size_t compares = txn->compare_count + txn->range_count;
	size_t used = txn->op_count > compares ? txn->op_count : compares;

	return store_txn_max(r->store) > used + ROOM ? store_txn_max(r->store) - used - ROOM : 0;
}

struct taken {
	int64_t tokens, objects, members;
};

static int take_tokens(struct registry *r, struct store_txn *txn, const char *net_id,
	struct taken *taken, struct problem *p)
{
	CLEANUP(store_items) struct store_items tokens = {0};
	int rc = store_range(r->store, KEY("/net-tokens/%s/", net_id), NULL, 0, &tokens);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; !rc && i < tokens.count && room_in(r, txn); i++) {
		rc = jointoken_build_delete(
			r, txn, net_id, registry_key_tail(tokens.items[i].key), room_in(r, txn), p);
		taken->tokens++;
	}
	return rc < 0 ? rc : 0;
}

static int take_objects(struct registry *r, struct store_txn *txn, const char *net_id,
	const struct netobj_kind *kind, struct taken *taken, struct problem *p)
{
	CLEANUP(store_items) struct store_items items = {0};
	int rc = store_range(r->store, KEY("/%s/%s/", kind->folder, net_id), NULL, 0, &items);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; !rc && i < items.count && room_in(r, txn); i++) {
		const char *id = registry_key_tail(items.items[i].key);
		CLEANUP(record) struct record rec = {0};

		rc = registry_load(r, items.items[i].key, &rec, p);
		if (rc)
			return rc == -ENOENT ? problem_from_store(p, -EBUSY) : rc;
		netobj_build_delete(txn, kind, net_id, id, rec.o);
		taken->objects++;
	}
	return rc;
}

static int take_members(struct registry *r, struct store_txn *txn, const char *net_id,
	struct taken *taken, struct problem *p)
{
	CLEANUP(store_items) struct store_items members = {0};
	int rc = store_range(r->store, KEY("/members/%s/", net_id), NULL, 0, &members);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; !rc && i < members.count && room_in(r, txn); i++) {
		const char *id = registry_key_tail(members.items[i].key);

		rc = member_build_remove(r, txn, net_id, id, p);
		if (!rc)
			rc = netconf_build_forget(r, txn, NULL, net_id, id, p);
		taken->members++;
	}
	return rc == -ENOENT ? problem_from_store(p, -EBUSY) : rc;
}

static void audit(struct store_txn *txn, const struct emptying *em, const char *net_id,
	const struct taken *taken)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();

	json_set_int(o, "tokens", taken->tokens);
	json_set_int(o, "objects", taken->objects);
	json_set_int(o, "members", taken->members);
	registry_audit_change(txn, em->actor, "network.empty", "network", net_id, o, NULL);
}

static int build_empty(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	static const struct netobj_kind *const kinds[] = {
		&fip_kind, &gateway_kind, &reservation_kind};
	struct emptying *em = ctx;
	struct taken taken = {0};
	struct network net = {0};
	int rc = network_by_ref(r, em->actor->org, em->ref, &net, p);

	if (!rc)
		rc = registry_match(em->if_match, net.mod_revision, p);
	if (!rc)
		rc = take_tokens(r, txn, net.id, &taken, p);
	for (size_t i = 0; !rc && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		rc = take_objects(r, txn, net.id, kinds[i], &taken, p);
	if (!rc)
		rc = take_members(r, txn, net.id, &taken, p);
	if (!rc && taken.objects)
		rc = netconf_build_change(r, txn, &net, p);
	if (rc)
		return rc;
	if (!txn->op_count)
		return REGISTRY_NO_CHANGE;
	audit(txn, em, net.id, &taken);
	return 0;
}

int network_empty_some(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p)
{
	struct emptying em = {.actor = actor, .ref = ref, .if_match = if_match};

	return registry_transact(r, build_empty, &em, NULL, p);
}
