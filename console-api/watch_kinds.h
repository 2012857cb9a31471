/* SPDX-License-Identifier: Apache-2.0 */
/* What can be watched: the kinds of objects, where the store keeps them, and who may see them. */
#ifndef CONSOLE_API_WATCH_KINDS_H
#define CONSOLE_API_WATCH_KINDS_H

#include "console-api/registry.h"

/* Which organization a stored object is of. */
enum watch_org {
	WATCH_ORG_IN_RECORD,  /* its member "org" */
	WATCH_ORG_OF_NETWORK, /* the key is PREFIX NET/ID: that of the network */
	WATCH_ORG_IN_KEY,     /* the key is PREFIX ORG/ID */
	WATCH_ORG_IS_ID,      /* it is one */
};

/* One object that changed. */
struct watch_item {
	const char *key;
	struct json_object *record; /* as stored; of a deleted one, as it was */
	char id[NETMAP_NAME_MAX + 1];
	char org[NETMAP_ID_MAX + 1];
	char network[NETMAP_ID_MAX + 1]; /* "": none */
};

struct watch_kind {
	const char *prefix; /* of its keys */
	const char *name;
	enum role role; /* the least one that sees it */
	enum watch_org org;
	/* What a GET shows. */
	int (*view)(struct registry *r, const struct watch_item *item,
		struct json_object **ret_view, struct problem *p);
	enum role (*role_of)(
		struct json_object *record); /* the least one for this record, or NULL */
	bool console_sees_all; /* a console administrator sees those of all organizations */
};

/* NULL when nobody is told of this key. */
const struct watch_kind *watch_kind_of(const char *key);
uint32_t watch_kind_bit(const struct watch_kind *kind);
/* Words with a comma between; NULL: all. 400 for a word that is none. */
int watch_kinds_parse(const char *text, uint32_t *ret_bits, struct problem *p);
/* False when it cannot be said whose it is: its network is gone. */
bool watch_item_of(struct registry *r, const struct watch_kind *kind, const char *key,
	struct json_object *record, struct watch_item *ret_item);

#endif
