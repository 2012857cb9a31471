/* SPDX-License-Identifier: Apache-2.0 */
/* Memberships: a node in a network, with its MAC and addresses there. Callers hold the registry's
 * lock; failures come with a problem. */
#ifndef CONSOLE_API_MEMBER_H
#define CONSOLE_API_MEMBER_H

#include "console-api/network.h"
#include "console-api/registry.h"
#include "lib/addr.h"

/* False for one that waits for approval: it is in no netmap, nor is the network in its own. */
bool member_is_active(struct json_object *member);

int member_view(struct registry *r, const char *org, const char *net_ref, const char *node_ref,
	struct json_object **ret_view, uint64_t *ret_revision, struct problem *p);
int member_list(struct registry *r, const char *org, const char *net_ref, const struct page *page,
	struct json_object **ret_list, struct problem *p);

/* Adds an enrolled node to a network, as approved. wish: an address or NULL. */
int member_add(struct registry *r, const struct actor *actor, const char *net_ref,
	const char *node_ref, const struct ip *wish, struct problem *p);

struct member_change {
	bool has_address;
	struct ip address;
	const char *name; /* NULL: keep */
	bool approve;
};
/* ret_node_id: of the node, whose name may have changed. */
int member_change(struct registry *r, const struct actor *actor, const char *net_ref,
	const char *node_ref, const struct member_change *change, const char *if_match,
	char ret_node_id[NETMAP_ID_MAX + 1], struct problem *p);
int member_remove(struct registry *r, const struct actor *actor, const char *net_ref,
	const char *node_ref, const char *if_match, struct problem *p);

/* -- parts of transactions -- */

/*
 * Adds the membership of a node that exists or is created in the same transaction: MAC, addresses
 * (the wished one, which must be usable, free and reserved for nobody else; for the rest the ones
 * that are reserved for a node of this name, else assigned ones). Expects the
 * network unchanged and every key free. pending: it waits for approval.
 */
int member_build_add(struct registry *r, struct store_txn *txn, const struct network *net,
	const char *node_id, const char *node_name, const struct ip *wish, bool pending,
	struct problem *p);
/* The audit row of a change of a membership: before is the record as it was (NULL: there was none),
 * what it will be is in the transaction already. node is the node's record. */
void member_build_audit(struct store_txn *txn, const struct actor *actor, const char *action,
	const struct network *net, struct json_object *node, struct json_object *before);
/* -ENOENT without a problem when the node is not a member. */
int member_build_remove(struct registry *r, struct store_txn *txn, const char *net_id,
	const char *node_id, struct problem *p);

#endif
