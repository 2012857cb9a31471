/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What netmaps are made of, read from the store: lib/netmap.h says what the members are. The parts
 * are kept and compared, so what a part is made of decides what must be marked when it changes:
 *
 *   top     what is of the node itself        registry_touch_node() of that node;
 *           the consoles                      /maprev/consoles
 *   head    what all members of a network see of it, whatever keys it is read from:
 *                                             registry_touch_network()
 *   own     what one member sees of itself in the network: registry_touch_node() of that node
 *   peer    what the others see of a member, read from /nodes/ID and /members/NET/ID and nothing
 *           else:                             registry_touch_network()
 *
 * in the transaction that makes the change. Parts hold no null (an absent member says it) and no
 * numbers but integers. Callers hold the registry's lock; objects are the caller's.
 */
#ifndef CONSOLE_API_AGENT_MAP_H
#define CONSOLE_API_AGENT_MAP_H

#include <json-c/json.h>
#include "console-api/registry.h"

/* -ENOENT without a problem: there is no such node. Its networks are empty when it is disabled:
 * *ret_active. */
int agent_map_top(struct registry *r, const char *node_id, struct json_object **ret_top,
	bool *ret_active, struct problem *p);
/* -ENOENT without a problem: there is no such network. */
int agent_map_head(
	struct registry *r, const char *net_id, struct json_object **ret_head, struct problem *p);
/* Adds to the network's object. -ENOENT without a problem: the node is no member, or not yet. */
int agent_map_own(struct registry *r, const char *net_id, const char *node_id,
	struct json_object *network, struct problem *p);
/* Adds the network's name where the node is a member that waits for approval. */
int agent_map_waiting(struct registry *r, const char *net_id, const char *node_id,
	struct json_object *names, struct problem *p);
/* -ENOENT without a problem: the node is nobody's peer there. */
int agent_map_peer(struct registry *r, const char *net_id, const char *node_id,
	struct json_object **ret_peer, struct problem *p);

#endif
