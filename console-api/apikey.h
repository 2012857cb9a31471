/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys: 256 random bits with a role in an organization, shown once and stored hashed. Those of
 * console administrators are bound to no organization; they are kept with the first one's, where
 * only console administrators see them. Callers hold the registry's lock; failures come with a
 * problem.
 */
#ifndef CONSOLE_API_APIKEY_H
#define CONSOLE_API_APIKEY_H

#include "console-api/registry.h"
#include "lib/hash.h"

#define APIKEY_TTL_MAX_S 315360000 /* ten years */

/* What a key's text stands for now. */
struct apikey {
	char id[NETMAP_ID_MAX + 1];
	char org[NETMAP_ID_MAX + 1];
	enum role role;     /* the lesser one of the key's and its user's */
	uint64_t expires_s; /* 0: never */
};

/* The name of a key in the store. */
void apikey_hash(const char *text, char ret_hex[2 * HASH_LEN + 1]);
/*
 * -ENOENT without a problem: no such key. -VAN_E_UNAUTHENTIC with a 401 problem: key_expired,
 * key_disabled (its user is).
 */
int apikey_check(struct registry *r, const char *hash_hex, uint64_t now_s, struct apikey *ret_key,
	struct problem *p);

int apikey_view(struct registry *r, const struct actor *actor, const char *id,
	struct json_object **ret_view, struct problem *p);
/* That of a key by which somebody has come in, by its hash. */
int apikey_view_hashed(
	struct registry *r, const char *hash_hex, struct json_object **ret_view, struct problem *p);
int apikey_list(struct registry *r, const struct actor *actor, const struct page *page,
	struct json_object **ret_list, struct problem *p);
/* *ret_view has the member "key", its text, which nobody can ask for again. */
int apikey_create(struct registry *r, const struct actor *actor, struct json_object *body,
	struct json_object **ret_view, struct problem *p);
/* From its return on the key opens nothing. 409 last_key for the last console administrator's. */
int apikey_delete(struct registry *r, const struct actor *actor, const char *id,
	const char *if_match, struct problem *p);

/* -- parts of transactions -- */

/* The index of a key that the transaction puts. */
void apikey_build_index(
	struct store_txn *txn, const char *org, const char *id, const char *hash_hex);
int apikey_build_delete_of_user(struct registry *r, struct store_txn *txn, const char *org,
	const char *user_id, struct problem *p);
/* All keys of an organization that goes. */
int apikey_build_delete_all(
	struct registry *r, struct store_txn *txn, const char *org, struct problem *p);

#endif
