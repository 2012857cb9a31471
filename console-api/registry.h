/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry: what the network, node, member and token functions share. All of them work on any
 * store, and keep every invariant by the keys themselves (a name is taken when its key exists):
 *
 *   /console                  {id, mesh, created_at}
 *   /orgs/ID                  {id, name, description, limits, created_at}; limits: quota.h; the first
 *                             one's id is "default"
 *   /orgrev/ORG               "": put by whoever adds something to the organization, and compared
 *   /users/ID                 {id, org, name, full_name, role, disabled, created_at}
 *   /apikeys/HASH             {id, org, name, role, user, expires_s, created_at}; HASH: SHA-256 of
 *                             the key, hexadecimal
 *   /org-keys/ORG/ID          "HASH"
 *   /names/ORG/KIND/NAME      "id"; KIND: network, node, user; organizations have ORG "-"
 *   /nets/ID                  {id, org, name, cidr, cidr6, encryption, mtu, require_approval, labels,
 *                             van_id, created_at}
 *   /van/HEX6                 "network id"
 *   /nodes/ID                 {id, org, name, public_key, sign_key, teps, nat, version, ephemeral_s,
 *                             disabled, labels, external, created_at}; external: networks that the
 *                             node could offer as a gateway, as it reported them
 *   /node-keys/HEX  /sign-keys/HEX   "node id"
 *   /ephemeral/ID             seconds that an ephemeral node may be away
 *   /gone/ID                  {name, org, public_key, sign_key, removed_at}: a removed node
 *   /gone-keys/HEX            "node id": which one had this public key
 *   /members/NET/NODE         {macs, ips, pending, joined_at}; pending: waits for approval
 *   /node-nets/NODE/NET       "" (the same relation, from the node's side)
 *   /addr/NET/FHEX            "node id" or "floating IP id"; F: 4 or 6, HEX: the address, so that they
 *                             sort by number
 *   /mac/MAC                  "NET/NODE"
 *   /reservations/NET/ID      {id, address, node, name, note, created_at}; reservation.h
 *   /gateways/NET/ID          {id, name, node, prefixes, mode, metric, enabled, health, note,
 *                             created_at}; gateway.h
 *   /fips/NET/ID              {id, name, address, candidates, assigned, vrid, note, created_at}; its
 *                             address is in /addr/NET/; fip.h
 *   /cloak/NET                {state, scope, keep_ssh, rules, due_s, fallback, changed_at}; cloak.h
 *   /cloak-due/NET            seconds since 1970: when the change that is pending is taken back
 *   /netconf/NET              "": put by every change of the five above
 *   /tokens/ID                {id, org, network, node, hash, uses, uses_left, ephemeral_s, expires_s,
 *                             revoked, dead_s, created_at}; node: it re-keys this node; dead_s: when
 *                             it was revoked or used up
 *   /token-hash/HEX           "token id"; SHA-256 of the secret
 *   /token-uses/ID/NODE       "": the node joined by this token
 *   /net-tokens/NET/ID  /org-tokens/ORG/ID    ""
 *   /maprev/net/NET  /maprev/node/NODE  /maprev/consoles
 *                             "": their mod_revision is what netmaps are numbered by
 *   /consoles/ID              {id, url, pins, at}; consoles.h
 *   /instances/NODE           which processes spoke for the node; agent_clone.h
 *   /pulse/INSTANCE  /online/NODE   see presence.h
 *   /importing                while an import is unfinished; transfer.h
 *   /events/ORG/TIME-RANDOM   see events.h
 *   /idem/KEY/HASH  /idem-at/ORG/TIME-RANDOM   see idempotency.h
 *   /audit/ORG/STAMP-CHAIN  /audit-at/…  /audit-head/…  /audit-base/…   see audit.h
 *
 * A member "org" that is absent means the organization "default".
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
#include "console-api/page.h"
#include "console-api/agent_net.h"
#include "console-api/problem.h"
#include "console-api/quota.h"
#include "console-api/soft.h"
#include "console-api/store.h"
#include "lib/err.h"
#include "lib/netmap.h"

#define REGISTRY_KEY_MAX 192
#define REQUEST_ID_MAX   64
#define ORG_DEFAULT      "default"
#define ORG_NONE         "-" /* of what belongs to none: organizations themselves */

struct registry {
	struct store *store;
	struct soft *soft;
	struct presence *presence; /* NULL where the store is not shared; presence.h */
	struct agent_nets nets;    /* for netmaps; kept true by agent_on_change() */
	char slot[17];             /* drawn at the start; agent_view.h */
	uint64_t consoles_turn;    /* rises with each change of the list of consoles */
	pthread_mutex_t lock;
	char console_id[NETMAP_ID_MAX + 1];
	uint8_t mesh[NETMAP_MESH_LEN];
	char mesh_hex[2 * NETMAP_MESH_LEN + 1];
	char self_id[NETMAP_ID_MAX + 1]; /* which of the mesh's consoles this one is; consoles.h */
	unsigned int clone_policy;       /* enum clone_policy */
	bool mesh_signatures;            /* signatures for the mesh's id are taken, too; auth.c */
	const char *public_url;          /* borrowed */
	uint8_t pin[32];                 /* of our TLS key */
	uint8_t next_pin[32];            /* of the one that will follow it */
	bool has_next_pin;
	int64_t limits[QUOTA_COUNT]; /* of objects, where an organization has no limit of its own */
	unsigned int audit_days;     /* 0: for ever */
	uint64_t audit_due_ns;       /* since 1970: when to look for rows that are too old again */
	unsigned int event_days;     /* 0: for ever */
	struct reservations_cache *reservations; /* NULL: none yet; see reservation.h */
	struct idem *idem; /* of the request that is being handled, or NULL; see idempotency.h */
	char idem_pruned[REGISTRY_KEY_MAX];   /* how far idem_prune() has come */
	char events_pruned[REGISTRY_KEY_MAX]; /* how far events_prune() has come */
	char tokens_pruned[REGISTRY_KEY_MAX]; /* and prune_turn() … */
	char gone_pruned[REGISTRY_KEY_MAX];   /* … of both that it goes through */
};

/* What a key may do, in rising order: each may do all that those before it may. */
enum role {
	ROLE_NONE,
	ROLE_VIEWER,   /* reads what is no secret */
	ROLE_OPERATOR, /* and changes networks, nodes, tokens, … */
	ROLE_ADMIN,    /* and users, keys, and reads the audit trail */
	ROLE_CONSOLE,  /* and is bound to no organization: makes and removes them */
};
bool role_parse(const char *text, enum role *ret_role);
const char *role_name(enum role role);

/* On whose behalf something is done, and where; goes into the audit row. */
struct actor {
	char who[NETMAP_ID_MAX + 16];     /* "key:ID", "node:ID", "enroll", "console" */
	char address[48];                 /* of the client, or "" */
	char org[NETMAP_ID_MAX + 1];      /* the organization that it acts in; "": none */
	enum role role;                   /* of a key; ROLE_NONE for all others */
	char request[REQUEST_ID_MAX + 1]; /* X-Request-Id, or "" */
};

/* -VAN_E_CORRUPT for a store into which an import was not finished. */
int registry_check_imported(struct store *s, struct err *e);
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
/* An absent text is null; "" is how older records say so. */
void record_empty_is_null(struct json_object *o, const char *name);

/* The string value of an index key (an id); -ENOENT without a problem. *ret_mod may be NULL. */
int registry_index(struct registry *r, const char *key, char ret_id[NETMAP_ID_MAX + 1],
	uint64_t *ret_mod, struct problem *p);
/* The same of an item of a range. */
int registry_index_value(
	const struct store_item *item, char ret_id[NETMAP_ID_MAX + 1], struct problem *p);
void registry_put_index(struct store_txn *txn, const char *key, const char *id);
void registry_put(struct store_txn *txn, const char *key, struct json_object *o);

/* The organization of a stored object. */
const char *record_org(struct json_object *o);

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

/* Whoever adds an object to an organization says so in his transaction: it must not go meanwhile, and
 * nobody else may add any, so that what was counted counts (quota.h). */
int registry_build_in_org(
	struct registry *r, struct store_txn *txn, const char *org, struct problem *p);

/* -- objects with a name in an organization; registry_named.c -- */

/*
 * Finds an object of an organization by id, else by name: kind is one of registry_named.c's table
 * ("network", "node", "user", …). 404 when there is none, or it is another organization's.
 */
int registry_resolve(struct registry *r, const char *org, const char *kind, const char *ref,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p);

/* Expects a name to be free, and takes it. 409 name_taken, or a name's key, when it is not. */
int registry_build_name(struct registry *r, struct store_txn *txn, const char *org,
	const char *kind, const char *name, const char *id, struct problem *p);

/* The same for an object that has the name `old`; nothing is done when it is the same. */
int registry_build_rename(struct registry *r, struct store_txn *txn, const char *org,
	const char *kind, const char *old, const char *name, const char *id, struct problem *p);

/* A list of them in the order of their names, by what shows the object of an id. */
typedef int registry_view(
	struct registry *r, const char *id, struct json_object **ret_view, struct problem *p);
int registry_list_named(struct registry *r, const char *org, const char *kind, registry_view *view,
	const struct page *page, struct json_object **ret_list, struct problem *p);

/* What somebody asks to be done with one object. */
struct registry_edit {
	const struct actor *actor;
	const char *ref;            /* id or name; NULL: a new one */
	struct json_object *body;   /* a specification, or a merge patch (RFC 7396) of one */
	const char *if_match;       /* or NULL */
	char id[NETMAP_ID_MAX + 1]; /* of the object, by the build function */
};
/* registry_transact() with an edit (the first member of the build function's ctx). 0 also when
 * there was nothing to do. ret_id: as in the edit, or NULL. */
int registry_edit(struct registry *r, registry_build *build, struct registry_edit *ed, char *ret_id,
	struct problem *p);
/* Finds the object of the edit and its record, and judges If-Match. 404, 412. */
int registry_load_named(struct registry *r, const char *org, const char *kind,
	struct registry_edit *ed, struct record *ret_rec, struct problem *p);
/* What is in the record of these members (NULL ends them), patched. Owned by the caller. */
struct json_object *registry_patched(
	struct json_object *record, const char *const *members, struct json_object *patch);
/* Parts of a transaction: the record, the name and the audit row. A new object is given its id, its
 * organization and its date; one whose record stays the same is REGISTRY_NO_CHANGE. */
int registry_build_created(struct registry *r, struct store_txn *txn, const char *org,
	const char *kind, struct registry_edit *ed, struct json_object *o, struct problem *p);
int registry_build_changed(struct registry *r, struct store_txn *txn, const char *org,
	const char *kind, struct registry_edit *ed, const struct record *before,
	struct json_object *after, struct problem *p);
void registry_build_deleted(struct store_txn *txn, const char *org, const char *kind,
	struct registry_edit *ed, const struct record *rec);

/* -- netmaps -- */

/* Marks that what members of the network, or one node, get to see changes with this transaction. */
void registry_touch_network(struct store_txn *txn, const char *net_id);
/* The same of what must not wait until the members' next turn (waiters.h): somebody is shut out. To be
 * called after the other one, where both are. */
void registry_press_network(struct store_txn *txn, const char *net_id);
#define REGISTRY_PRESSING "\"now\"" /* the value of the network's mark */
void registry_touch_node(struct store_txn *txn, const char *node_id);
/* All networks of a node, and the node itself. */
int registry_touch_networks_of(
	struct registry *r, struct store_txn *txn, const char *node_id, struct problem *p);
int registry_press_networks_of(
	struct registry *r, struct store_txn *txn, const char *node_id, struct problem *p);

/* -- small things -- */

/* A fresh id: prefix ("net", "node", …), '_', 9 characters of time, 7 random ones: ids sort by age.
 */
void registry_new_id(const char *prefix, char ret_id[NETMAP_ID_MAX + 1]);
void registry_now_text(char ret_text[21]);

/* If-Match: 0 when there is none (NULL) or it names this revision, else 412. That it is there where
 * it must be is judged before any handler runs (routes.h). */
int registry_match(const char *if_match, uint64_t mod_revision, struct problem *p);

/* The last component of a key. */
const char *registry_key_tail(const char *key);

#endif
