/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry: what the network, node, member and token functions share. All of them work on any
 * store, and keep every invariant by the keys themselves (a name is taken when its key exists):
 *
 *   /console                  {id, mesh, created_at}
 *   /apikeys/HASH             {id, name, role, created_at}; HASH: SHA-256 of the key, hexadecimal
 *   /names/network/NAME  /names/node/NAME                "id"
 *   /nets/ID                  {id, name, cidr, cidr6, encryption, mtu, van_id, created_at}
 *   /van/HEX6                 "network id"
 *   /nodes/ID                 {id, name, public_key, sign_key, teps, nat, version, ephemeral_s,
 * created_at} /node-keys/HEX  /sign-keys/HEX                       "node id" /ephemeral/ID seconds
 * that an ephemeral node may be away /gone/ID                  {name, sign_key, removed_at}: a
 * removed node /members/NET/NODE         {macs, ips, joined_at} /node-nets/NODE/NET       "" (the
 * same relation, from the node's side) /addr/NET/FHEX            "node id"; F: 4 or 6, HEX: the
 * address, so that they sort by number /mac/MAC                  "NET/NODE" /tokens/ID {id,
 * network, hash, uses, uses_left, ephemeral_s, expires_s, revoked, created_at} /token-hash/HEX
 * "token id"; SHA-256 of the secret /token-uses/ID/NODE       "": the node joined by this token
 *   /net-tokens/NET/ID        ""
 *   /maprev/net/NET  /maprev/node/NODE   "": their mod_revision is what netmaps are numbered by
 *   /audit/TIME-RANDOM        {time, actor, address, action, object}
 *
 * Locking: the HTTP thread holds registry_lock() while it handles a request, the main thread while
 * it keeps house. Nothing below takes it itself.
 */
#ifndef CONSOLE_API_REGISTRY_H
#define CONSOLE_API_REGISTRY_H

#include <json-c/json.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "console-api/peers.h"
#include "console-api/problem.h"
#include "console-api/soft.h"
#include "console-api/store.h"
#include "lib/err.h"
#include "lib/netmap.h"

#define REGISTRY_KEY_MAX  192
#define REGISTRY_PAGE_MAX 1000

struct registry {
	struct store *store;
	struct soft *soft;
	struct peers_cache peers;
	pthread_mutex_t lock;
	char console_id[NETMAP_ID_MAX + 1];
	uint8_t mesh[NETMAP_MESH_LEN];
	char mesh_hex[2 * NETMAP_MESH_LEN + 1];
	const char *public_url; /* borrowed */
	uint8_t pin[32];
	unsigned int audit_days; /* 0: for ever */
};

/* On whose behalf something is done; goes into the audit row. */
struct actor {
	char who[NETMAP_ID_MAX + 16]; /* "key:ID", "node:ID", "enroll", "console" */
	char address[48];             /* of the client, or "" */
};

/*
 * Completes the first start where it has not been completed: the console's id, the mesh id and the
 * first admin key, whose text is in `admin_key_path` (made here, 0600, when the store knows no key
 * and there is no such file). A crash at any point leaves what the next start completes.
 * Takes the store on success.
 */
int registry_open(struct store *store, const char *admin_key_path, struct registry **ret_registry,
	struct err *e);
void registry_free(struct registry *r); /* NULL is fine */

void registry_lock(struct registry *r);
void registry_unlock(struct registry *r);

/* Removes ephemeral nodes that have been away too long and audit rows that are too old; a bounded
 * piece of work, to be called every few seconds. */
void registry_housekeeping(struct registry *r);

/* -- for the modules on top -- */

/* A key, to be used within the expression only: store_get(s, KEY("/nets/%s", id), …). */
struct registry_key {
	char text[REGISTRY_KEY_MAX];
};
struct registry_key registry_key(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define KEY(...) (registry_key(__VA_ARGS__).text)

/* A parsed value and its revisions. */
struct record {
	struct json_object *o;
	uint64_t create_revision;
	uint64_t mod_revision;
};
void record_done(struct record *rec);
static inline void cleanup_record(struct record *rec)
{
	record_done(rec);
}
/* 0; -ENOENT without a problem; other failures with one. */
int registry_load(struct registry *r, const char *key, struct record *ret_rec, struct problem *p);
/* Members of our own records; "" or 0 when absent. */
const char *record_text(struct json_object *o, const char *name);
int64_t record_int(struct json_object *o, const char *name);

/* The string value of an index key (an id); -ENOENT without a problem. *ret_mod may be NULL. */
int registry_index(struct registry *r, const char *key, char ret_id[NETMAP_ID_MAX + 1],
	uint64_t *ret_mod, struct problem *p);
void registry_put_index(struct store_txn *txn, const char *key, const char *id);
void registry_put(struct store_txn *txn, const char *key, struct json_object *o);

/* Finds an object by id, else by name: kind is "network" or "node". 404 when there is none. */
int registry_resolve(struct registry *r, const char *kind, const char *ref,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p);

/*
 * Runs a transaction optimistically: `build` reads what it needs and fills txn; on a conflict it is
 * called again, a bounded number of times. It returns 0 to commit, REGISTRY_NO_CHANGE when there is
 * nothing to do, or a negative code with a problem. The same is returned; *ret_revision (may be
 * NULL) is set on a commit.
 */
#define REGISTRY_NO_CHANGE 1
typedef int registry_build(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p);
int registry_transact(struct registry *r, registry_build *build, void *ctx, uint64_t *ret_revision,
	struct problem *p);

/* Adds the audit row to a transaction. `object` is for people: kind, id and name. */
void registry_audit(struct store_txn *txn, const struct actor *actor, const char *action,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Marks that what members of the network, or one node, get to see changes with this transaction. */
void registry_touch_network(struct store_txn *txn, const char *net_id);
void registry_touch_node(struct store_txn *txn, const char *node_id);
/* All networks of a node, and the node itself. */
int registry_touch_networks_of(
	struct registry *r, struct store_txn *txn, const char *node_id, struct problem *p);

/* A fresh id: prefix ("net", "node", …), '_', 9 characters of time, 7 random ones: ids sort by age.
 */
void registry_new_id(const char *prefix, char ret_id[NETMAP_ID_MAX + 1]);
void registry_now_text(char ret_text[21]);

/* If-Match: 0 when there is none (NULL) or it names this revision, else 412. */
int registry_match(const char *if_match, uint64_t mod_revision, struct problem *p);

/* Where a list goes on: items after the cursor, at most limit of them. */
struct page {
	const char *after; /* last name or id of the page before, or NULL */
	size_t limit;      /* 1…REGISTRY_PAGE_MAX */
};
/* {"items":items,"next":last or null}; takes items. */
struct json_object *page_result(struct json_object *items, bool more, const char *last);

/* The last component of a key. */
const char *registry_key_tail(const char *key);

#endif
