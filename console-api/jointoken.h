/* SPDX-License-Identifier: Apache-2.0 */
/* Join tokens: issued, listed, revoked, spent. Only the hash of the secret is stored. Callers hold
 * the registry's lock; failures come with a problem. */
#ifndef CONSOLE_API_JOINTOKEN_H
#define CONSOLE_API_JOINTOKEN_H

#include "console-api/registry.h"

#define JOINTOKEN_USES_MAX        100000
#define JOINTOKEN_TTL_MAX_S       31536000 /* a year */
#define JOINTOKEN_EPHEMERAL_MIN_S 30       /* less is missed reports */
#define JOINTOKEN_EPHEMERAL_MAX_S 2592000

struct jointoken_spec {
	int64_t uses;
	int64_t ttl_s;
	int64_t ephemeral_s; /* 0: nodes stay */
};

/* Reads and checks the body of an issue; o may be NULL (all defaults). */
int jointoken_spec_from_json(
	struct json_object *o, struct jointoken_spec *ret_spec, struct problem *p);
/* *ret_view has the member "token", which nobody can ask for again. */
int jointoken_issue(struct registry *r, const struct actor *actor, const char *net_ref,
	const struct jointoken_spec *spec, struct json_object **ret_view, struct problem *p);
/* net_ref NULL: of all networks. */
int jointoken_list(struct registry *r, const char *org, const char *net_ref,
	const struct page *page, struct json_object **ret_list, struct problem *p);
int jointoken_view(struct registry *r, const char *org, const char *id,
	struct json_object **ret_view, struct problem *p);
/* A token by which this node alone may enrol, once, with other keys than it has: it keeps its id and
 * its memberships. 409 when it is in no network. */
int jointoken_issue_rekey(struct registry *r, const struct actor *actor, const char *node_ref,
	int64_t ttl_s, struct json_object **ret_view, struct problem *p);
int jointoken_revoke(struct registry *r, const struct actor *actor, const char *id,
	const char *if_match, struct problem *p);

/* -- parts of transactions -- */

/* The token of this secret: 403 token_wrong when there is none. */
int jointoken_find(
	struct registry *r, const uint8_t *secret, struct record *ret_rec, struct problem *p);
/* Takes one use on behalf of the node, or 403 with the reason why there is none to take. */
int jointoken_build_spend(struct store_txn *txn, struct record *token, const char *node_id,
	uint64_t now_s, struct problem *p);
/* 0 when the node has spent one of its uses, -ENOENT (without a problem) when not. */
int jointoken_spent_by(
	struct registry *r, const char *token_id, const char *node_id, struct problem *p);
/* 403 unless the token is active. */
int jointoken_check(struct json_object *token, uint64_t now_s, struct problem *p);
/* A token of a network that goes; with room (0: any) at most so many of its uses, and itself when
 * that were all. */
int jointoken_build_delete(struct registry *r, struct store_txn *txn, const char *net_id,
	const char *id, size_t room, struct problem *p);
/* All of them. */
int jointoken_build_delete_all(
	struct registry *r, struct store_txn *txn, const char *net_id, struct problem *p);

#define JOINTOKEN_DEAD_DAYS 30ull
/* Deletes the token (an item of /tokens/) where it has been revoked, used up or expired for so long;
 * else REGISTRY_NO_CHANGE. room: how many nodes that joined by it may be in one transaction; a token
 * that has more is gone after several. */
int jointoken_build_prune(struct registry *r, struct store_txn *txn, const struct store_item *item,
	uint64_t now_s, size_t room, struct problem *p);

#endif
