/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users: named owners of API keys, with the most that their keys may do. They have no passwords.
 * Callers hold the registry's lock; failures come with a problem.
 */
#ifndef CONSOLE_API_USER_H
#define CONSOLE_API_USER_H

#include "console-api/registry.h"

#define USER_FULL_NAME_MAX 127

int user_by_ref(struct registry *r, const char *org, const char *ref,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p);
int user_view(struct registry *r, const char *id, struct json_object **ret_view, struct problem *p);
int user_list(struct registry *r, const char *org, const struct page *page,
	struct json_object **ret_list, struct problem *p);

int user_create(struct registry *r, const struct actor *actor, struct json_object *body,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p);
/* A merge patch of {name, full_name, role, disabled}. */
int user_change(struct registry *r, const struct actor *actor, const char *ref,
	struct json_object *patch, const char *if_match, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p);
/* With its keys. */
int user_delete(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p);

/* -- parts of transactions -- */

/* All users of an organization that goes. */
int user_build_delete_all(
	struct registry *r, struct store_txn *txn, const char *org, struct problem *p);

#endif
