/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's netmap without peers, kept as text from one poll to the next: what the node sees of
 * itself, of its networks, of the consoles. It stands in for what would be read and put together at
 * every poll, and the version before it is what a patch starts from.
 */
#ifndef CONSOLE_API_AGENT_VIEW_H
#define CONSOLE_API_AGENT_VIEW_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include "console-api/problem.h"
#include "lib/netmap.h"

struct registry;

struct agent_view_net {
	char id[NETMAP_ID_MAX + 1];
	uint64_t head_changed; /* of the network's head that is in the text */
};

struct agent_view {
	bool stale;        /* the store has told of something new about the node */
	uint64_t turn;     /* of registry->consoles_turn when it was made */
	uint64_t number;   /* of the node's map: the highest of all marks that it is made of */
	uint64_t mark;     /* of /maprev/node/ID */
	uint64_t consoles; /* of /maprev/consoles */
	struct agent_view_net *nets; /* heap, by id */
	size_t net_count;
	size_t members;       /* of all its networks together */
	uint64_t pressed;     /* the last of these marks that it is to hear of at once */
	uint64_t from;        /* the text is that of the maps numbered from this on */
	char *text;           /* heap */
	uint64_t before_from; /* and this of those from here up to `from` */
	char *before;         /* heap; NULL: not known */
};

/*
 * The view of a node, up to date, as are its networks (agent_net.h); borrowed until the next call.
 * -VAN_E_GONE with a problem when there is no such node.
 */
int agent_view_get(struct registry *r, const char *node_id, const struct agent_view **ret_view,
	struct problem *p);
void agent_view_free(struct agent_view *v); /* NULL is fine */

/*
 * The text is canonical JSON of the keyed form (lib/netmap_delta.h) without the hash, and with
 * slots for what is filled in each time: strings that cannot come from elsewhere. In each network
 * "peers" is the slot of that network, "number" the slot without a network.
 */
#define AGENT_SLOT_LEN (64 + NETMAP_ID_MAX)
void agent_view_slot(const struct registry *r, const char *net_id, char ret_slot[AGENT_SLOT_LEN]);
/*
 * Walks over a text: calls between() for what is between slots, slot() for each of them with the
 * network's id or "" (of at most NETMAP_ID_MAX characters); the quotes of a slot are left out.
 */
struct agent_view_walk {
	void (*between)(void *ctx, const char *text, size_t len);
	void (*slot)(void *ctx, const char *net_id);
	void *ctx;
};
void agent_view_walk(
	const struct registry *r, const char *text, const struct agent_view_walk *walk);

#endif
