/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateways: a member that offers external networks to all others, which get routes through it. An
 * object:
 *
 *   name      label, unique in the network; the node's name unless given
 *   node      the member
 *   prefixes  ["10.20.0.0/16", …], what it offers; "0.0.0.0/0" is the default route
 *   mode      "routed": the external networks know the way back; "nat": the node masquerades
 *   metric    1…65535; of several gateways for a prefix the lowest healthy one is used. Unless
 *             given, one more step of 100 than the last of those: a further gateway is a backup.
 *   enabled   false takes its routes away, for maintenance
 *   health    what the node probes to know that the external side works, or null (that it answers
 *             its peers is all then): {"kind": "icmp"|"tcp", "target": IP, "port": N|null,
 *             "interval_s": N, "failures": N}
 *   note      for people, or null
 *
 * Of prefixes that contain each other the longest match wins, so only equal ones compete, and those
 * need different metrics.
 */
#ifndef CONSOLE_API_GATEWAY_H
#define CONSOLE_API_GATEWAY_H

#include "console-api/netobj.h"
#include "console-api/registry.h"
#include "lib/netmap.h"

#define GATEWAY_MAX          64 /* in a network */
#define GATEWAY_PREFIXES_MAX 32
#define GATEWAY_METRIC_MAX   65535
#define GATEWAY_METRIC_STEP  100

struct gateway {
	char id[NETMAP_ID_MAX + 1];
	char name[NETMAP_NAME_MAX + 1];
	char node_id[NETMAP_ID_MAX + 1];
	struct cidr prefixes[GATEWAY_PREFIXES_MAX];
	size_t prefix_count;
	uint32_t metric;
};

extern const struct netobj_kind gateway_kind;

/* Which members could be gateways: those that reported external networks. A page, by node id. */
int gateway_candidates(struct registry *r, const char *org, const char *net_ref,
	const struct page *page, struct json_object **ret_list, struct problem *p);

#endif
