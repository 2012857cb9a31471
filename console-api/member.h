/* SPDX-License-Identifier: Apache-2.0 */
/* Memberships: a node in a network, with its MAC and addresses there. Callers hold the registry's
 * lock; failures come with a problem. */
#ifndef CONSOLE_API_MEMBER_H
#define CONSOLE_API_MEMBER_H

#include "console-api/network.h"
#include "console-api/registry.h"
#include "lib/addr.h"

int member_view(struct registry *r, const char *net_ref, const char *node_ref,
	struct json_object **ret_view, uint64_t *ret_revision, struct problem *p);
int member_list(struct registry *r, const char *net_ref, const struct page *page,
	struct json_object **ret_list, struct problem *p);

/* Adds an enrolled node to a network. wish: an address or NULL. */
int member_add(struct registry *r, const struct actor *actor, const char *net_ref,
	const char *node_ref, const struct ip *wish, struct problem *p);

struct member_change {
	bool has_address;
	struct ip address;
	const char *name; /* NULL: keep */
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
 * (the wished one, which must be usable and free, and assigned ones for the rest). Expects the
 * network unchanged and every key free.
 */
int member_build_add(struct registry *r, struct store_txn *txn, const struct network *net,
	const char *node_id, const struct ip *wish, struct problem *p);
/* -ENOENT without a problem when the node is not a member. */
int member_build_remove(struct registry *r, struct store_txn *txn, const char *net_id,
	const char *node_id, struct problem *p);

#endif
