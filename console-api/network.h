/* SPDX-License-Identifier: Apache-2.0 */
/* Networks. Callers hold the registry's lock; failures come with a problem. */
#ifndef CONSOLE_API_NETWORK_H
#define CONSOLE_API_NETWORK_H

#include "console-api/registry.h"
#include "lib/addr.h"
#include "lib/netmap.h"

struct network_spec {
	char name[NETMAP_NAME_MAX + 1];
	struct cidr cidr;
	struct cidr cidr6; /* AF_UNSPEC: none */
	enum netmap_encryption encryption;
	uint16_t mtu;
	bool require_approval;      /* who joins is in no netmap before it is approved */
	struct json_object *labels; /* borrowed from a body; NULL in a network that was loaded */
};

/* A network as it is stored. */
struct network {
	char id[NETMAP_ID_MAX + 1];
	char org[NETMAP_ID_MAX + 1];
	uint32_t van_id;
	uint64_t mod_revision;
	char created_at[21];
	struct network_spec spec;
};

struct form;

/* Reads and checks the members of a specification; the form's end is the caller's. */
void network_spec_read(struct form *f, struct network_spec *ret_spec);
/* Reads and checks the body of a creation. */
int network_spec_from_json(struct json_object *o, struct network_spec *ret_spec, struct problem *p);

/* -ENOENT without a problem when there is none. */
int network_load(struct registry *r, const char *id, struct network *ret_net, struct problem *p);
int network_by_ref(struct registry *r, const char *org, const char *ref, struct network *ret_net,
	struct problem *p);
/* The API's object. */
int network_view(
	struct registry *r, const char *id, struct json_object **ret_view, struct problem *p);

int network_create(struct registry *r, const struct actor *actor, const struct network_spec *spec,
	struct network *ret_net, struct problem *p);
/* A merge patch of the specification. Prefixes and encryption stay as they are. */
int network_change(struct registry *r, const struct actor *actor, const char *ref,
	struct json_object *patch, const char *if_match, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p);
/* With its memberships and tokens. */
int network_delete(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p);
/* What a client may set, complete; and the whole record. labels may be NULL: none. */
struct json_object *network_spec_to_json(
	const struct network_spec *spec, struct json_object *labels);
struct json_object *network_to_json(const struct network *net, struct json_object *labels);
/* Part of a transaction: net has org and specification, and gets id, VAN id and date. *ret_record
 * is owned by the caller. */
int network_build_create(struct registry *r, struct store_txn *txn, struct network *net,
	struct json_object **ret_record, struct problem *p);
int network_list(struct registry *r, const char *org, const struct page *page,
	struct json_object **ret_list, struct problem *p);

#endif
