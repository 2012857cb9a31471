/* SPDX-License-Identifier: Apache-2.0 */
/* Organizations: what belongs to one does not exist for another. Callers hold the registry's lock;
 * failures come with a problem. */
#ifndef CONSOLE_API_ORG_H
#define CONSOLE_API_ORG_H

#include "console-api/registry.h"

#define ORG_DESCRIPTION_MAX 255

/* The one that the actor may see by this id or name: a key of an organization sees its own. */
int org_by_ref(struct registry *r, const struct actor *actor, const char *ref,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p);
int org_view(struct registry *r, const char *id, struct json_object **ret_view, struct problem *p);
int org_list(struct registry *r, const struct actor *actor, const struct page *page,
	struct json_object **ret_list, struct problem *p);

int org_create(struct registry *r, const struct actor *actor, struct json_object *body,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p);
int org_change(struct registry *r, const struct actor *actor, const char *ref,
	struct json_object *patch, const char *if_match, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p);
/* With its users and keys. 409 org_in_use while it has networks or nodes. */
int org_delete(struct registry *r, const struct actor *actor, const char *ref, const char *if_match,
	struct problem *p);

/* Adds the first organization to the transaction that makes a store. */
void org_build_default(struct store_txn *txn);
/* Brings a store of before there were organizations to this form; does nothing to any other. */
int org_migrate(struct registry *r, struct err *e);

#endif
