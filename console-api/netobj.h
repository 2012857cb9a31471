/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that belong to a network and are kept one to a key (/FOLDER/NET/ID): what creating,
 * listing, changing and deleting them have in common. What is special is in a struct netobj_kind.
 *
 * An object as it is stored is its specification (what a client may set, complete and in canonical
 * form, nodes by their ids) with id and created_at. As the API shows it, it has besides network,
 * network_name and revision, and the names of nodes.
 */
#ifndef CONSOLE_API_NETOBJ_H
#define CONSOLE_API_NETOBJ_H

#include <json-c/json.h>
#include "console-api/registry.h"

struct form;
struct netconf;
struct network;

struct netobj_kind {
	const char *noun;      /* "gateway"; actions are "gateway.create", … */
	const char *called;    /* the same for people */
	const char *folder;    /* of its keys: "gateways" */
	const char *id_prefix; /* "gw" */
	size_t max;            /* in a network */
	enum quota quota;      /* of the organization */

	/*
	 * Reads a specification to the form's end, checks it against the network and adds the
	 * object to conf. *ret_spec is the specification as it is to be stored, owned by the
	 * caller.
	 */
	int (*settle)(struct netconf *conf, const char *id, struct form *f,
		struct json_object **ret_spec, struct problem *p);
	/* Adds a stored object to conf. False: damaged. */
	bool (*add)(struct netconf *conf, const char *id, struct json_object *record);
	/* Keys of its own that come or go with the object; before or after may be NULL. May be
	 * NULL. */
	void (*claim)(struct store_txn *txn, const char *net_id, const char *id,
		struct json_object *before, struct json_object *after);
	/* May the object be called this, besides by its id? */
	bool (*answers_to)(struct json_object *record, const char *ref);
	/* Adds what the API shows besides. May be NULL. */
	int (*dress)(struct registry *r, const struct network *net, struct json_object *view,
		struct problem *p);
	/* Nodes whose own part of the netmap shows the object; may be NULL. */
	void (*touch)(struct store_txn *txn, struct json_object *record);
};

int netobj_list(struct registry *r, const struct netobj_kind *kind, const char *org,
	const char *net_ref, const struct page *page, struct json_object **ret_list,
	struct problem *p);
/* ref: the id, or what the kind says. */
int netobj_view(struct registry *r, const struct netobj_kind *kind, const char *org,
	const char *net_ref, const char *ref, struct json_object **ret_view, struct problem *p);
/* The API's object of a stored one. */
int netobj_render(struct registry *r, const struct netobj_kind *kind, const struct network *net,
	struct json_object *record, uint64_t revision, struct json_object **ret_view,
	struct problem *p);
/* body: a specification, or for a change a merge patch (RFC 7396) of one. */
int netobj_create(struct registry *r, const struct actor *actor, const struct netobj_kind *kind,
	const char *net_ref, struct json_object *body, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p);
int netobj_change(struct registry *r, const struct actor *actor, const struct netobj_kind *kind,
	const char *net_ref, const char *ref, struct json_object *patch, const char *if_match,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p);
int netobj_delete(struct registry *r, const struct actor *actor, const struct netobj_kind *kind,
	const char *net_ref, const char *ref, const char *if_match, struct problem *p);

/* -- parts of transactions -- */

/* Calls visit for every object of the network, in the order of ids. Nonzero ends it. */
typedef int netobj_visit(void *ctx, const char *id, struct json_object *record, uint64_t revision,
	struct problem *p);
int netobj_each(struct registry *r, const struct netobj_kind *kind, const char *net_id,
	netobj_visit *visit, void *ctx, struct problem *p);
/* The specification in a record: without id and created_at. Owned by the caller. */
struct json_object *netobj_spec(struct json_object *record);
/* Puts a settled specification, with its keys and touches; the audit row and netconf_build_change()
 * are the caller's. before: the record so far, NULL for a new object. */
void netobj_build_put(struct store_txn *txn, const struct netobj_kind *kind, const char *net_id,
	const char *id, struct json_object *before, struct json_object *spec);
void netobj_build_delete(struct store_txn *txn, const struct netobj_kind *kind, const char *net_id,
	const char *id, struct json_object *record);

#endif
