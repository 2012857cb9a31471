/* SPDX-License-Identifier: Apache-2.0 */
/* Gateways, floating IPs and the cloak as netmaps show them; the form is that of
 * lib/netmap_policy.h. */
#ifndef CONSOLE_API_NETPOLICY_H
#define CONSOLE_API_NETPOLICY_H

#include <json-c/json.h>
#include "console-api/registry.h"

/* Adds to the network's object what all members see (agent_map_head()). */
int netpolicy_head(
	struct registry *r, const char *net_id, struct json_object *network, struct problem *p);
/* The same for what this member alone sees (agent_map_own()). */
int netpolicy_own(struct registry *r, const char *net_id, const char *node_id,
	struct json_object *network, struct problem *p);

#endif
