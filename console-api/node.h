/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, whatever networks they are in. Callers hold the registry's lock; failures come with a
 * problem. */
#ifndef CONSOLE_API_NODE_H
#define CONSOLE_API_NODE_H

#include "console-api/registry.h"
#include "lib/key.h"

/* A node's own record; -ENOENT without a problem. */
int node_load(struct registry *r, const char *id, struct record *ret_rec, struct problem *p);

/* What the agent's signature is checked against: the key of the node, or of a removed one. */
struct node_key {
	struct key sign_public;
	bool gone; /* removed: a valid signature earns a 410 */
	char org[NETMAP_ID_MAX + 1];
};
/* -ENOENT without a problem when there never was such a node. */
int node_sign_key(struct registry *r, const char *id, struct node_key *ret_key, struct problem *p);

int node_view(struct registry *r, const char *id, struct json_object **ret_view,
	uint64_t *ret_revision, struct problem *p);
int node_by_ref(struct registry *r, const char *org, const char *ref,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p);
int node_list(struct registry *r, const char *org, const struct page *page,
	struct json_object **ret_list, struct problem *p);
/* False for one that is disabled: it stays enrolled, but is in no netmap, and its own is empty. */
bool node_is_active(struct json_object *node);
/* A merge patch of {name, disabled, labels}. */
int node_change(struct registry *r, const struct actor *actor, const char *ref,
	struct json_object *patch, const char *if_match, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p);
/* The node and all its memberships; its key stays known as one of a removed node. */
int node_remove(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p);
#define NODE_GONE_DAYS 90ull
/* Adds to the transaction that a removed node (an item of /gone/) is forgotten, where it has been gone
 * for so long; else false. */
bool node_build_forget_gone(
	struct registry *r, struct store_txn *txn, const struct store_item *item, uint64_t wall_ns);
/* Removes ephemeral nodes that were not heard for as long as their token allowed; at most `max`. */
void node_reap_ephemeral(struct registry *r, uint64_t now_ns, size_t max);

/* -- parts of transactions -- */

/* Makes a valid name of a wish (any text), made unique in the organization by -2, -3, …, and expects
 * it to be free. */
int node_build_name(struct registry *r, struct store_txn *txn, const char *org, const char *wish,
	char ret_name[NETMAP_NAME_MAX + 1], struct problem *p);
/* Gives the node other keys: 409 key_taken when another node has one of them. rec is its record,
 * changed in place and put. */
int node_build_rekey(struct registry *r, struct store_txn *txn, struct record *rec,
	const struct key *public_key, const struct key *sign_key, struct problem *p);
/* Gives the node another name: 409 when it is taken. rec is its record, changed in place and put.
 */
int node_build_rename(struct registry *r, struct store_txn *txn, struct record *rec,
	const char *name, struct problem *p);

/* The soft members of a node or member object: online, last_seen; teps, nat, version as stored. */
void node_view_soft(struct registry *r, struct json_object *node, struct json_object *view);
/* What a node's view or that of one of its memberships says at this member, without the rest: any of
 * the record, or last_seen. Owned by the caller; NULL: null. */
int node_glance(struct registry *r, const char *id, const char *member,
	struct json_object **ret_value, struct problem *p);

/* Fills a label of at most NETMAP_NAME_MAX - 6 characters from any text; "node" when nothing of it
 * can stay. */
void node_label(const char *wish, char ret_name[NETMAP_NAME_MAX + 1]);

#endif
