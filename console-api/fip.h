/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floating IPs: addresses of a network that move between nodes. An object:
 *
 *   name        label, unique in the network, or null
 *   address     within the network, nobody else's
 *   candidates  nodes that may hold it; null: every member; []: nobody (all of them have left)
 *   assigned    the node that holds it, set by hand; null: whichever candidate claims it by
 *               gratuitous ARP or an unsolicited neighbour advertisement
 *   vrid        1…255: candidates may use the VRRP MAC of this virtual router only; null: of any
 *   note        for people, or null
 */
#ifndef CONSOLE_API_FIP_H
#define CONSOLE_API_FIP_H

#include "console-api/netobj.h"
#include "console-api/registry.h"
#include "lib/addr.h"

#define FIP_MAX            256 /* in a network */
#define FIP_CANDIDATES_MAX 64

struct fip {
	char id[NETMAP_ID_MAX + 1];
	char name[NETMAP_NAME_MAX + 1]; /* "": none */
	struct ip ip;
};

extern const struct netobj_kind fip_kind;

/* Takes a node out of a record's candidates and assignment. False when it was in neither. */
bool fip_forget(struct json_object *record, const char *node_id);

#endif
