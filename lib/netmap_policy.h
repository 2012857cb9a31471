/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a netmap says of a network besides who is in it: gateways, floating IPs and the cloak. Members
 * of the network's object, all of them optional:
 *
 *   "gateways":  {ID: {"node": ID, "prefixes": [CIDR, …], "metric": N}}
 *   "serves":    {ID: {"mode": "routed"|"nat", "health": {"kind": "icmp"|"tcp", "target": IP,
 *                 "port": N, "interval_s": N, "failures": N}}}       -- of those, this node's own
 *   "floating":  {ID: {"address": IP, "candidates": [ID, …], "assigned": ID, "vrid": N}}
 *   "cloak":     {"state": "pending"|"on", "scope": "public"|"all", "keep_ssh": BOOL, "due_s": N,
 *                 "rules": {ID: RULE}, "fallback": {"state": "off"|"on", "scope", "keep_ssh",
 *                 "rules"}}
 *   "cloak_own": {"rules": {ID: RULE}, "fallback": {ID: RULE}}         -- rules for this node alone
 *   RULE:        {"action": "allow"|"deny", "priority": N, "protocol": WORD, "ports": "N"|"N-N",
 *                 "source": CIDR, "interface": NAME}
 *
 * Without "candidates" every member may hold a floating IP, with an empty list nobody; without
 * "cloak" it is off. due_s and fallback are those of a pending cloak: what to go back to, at which
 * second since 1970, unless the map has said otherwise by then. Things with words that are not known
 * here are left out, so that a newer console may say more.
 */
#ifndef LIB_NETMAP_POLICY_H
#define LIB_NETMAP_POLICY_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/addr.h"
#include "lib/err.h"

#define NETMAP_GATEWAYS_MAX   64
#define NETMAP_PREFIXES_MAX   32
#define NETMAP_FLOATING_MAX   256
#define NETMAP_CANDIDATES_MAX 64
#define NETMAP_RULES_MAX      256
#define NETMAP_POLICY_ID_LEN  41 /* NETMAP_ID_MAX and a NUL */
#define NETMAP_PROTOCOL_LEN   16
#define NETMAP_IFNAME_LEN     16

enum netmap_health { NETMAP_HEALTH_NONE, NETMAP_HEALTH_ICMP, NETMAP_HEALTH_TCP };

struct netmap_gateway {
	char id[NETMAP_POLICY_ID_LEN];
	char node[NETMAP_POLICY_ID_LEN];
	struct cidr prefixes[NETMAP_PREFIXES_MAX];
	size_t prefix_count;
	uint32_t metric; /* the lowest is preferred */
	bool own;        /* this node is it; then what follows is set */
	bool nat;
	enum netmap_health health;
	struct ip target;
	uint16_t port; /* NETMAP_HEALTH_TCP */
	uint32_t interval_s;
	uint32_t failures;
};

struct netmap_floating {
	char id[NETMAP_POLICY_ID_LEN];
	struct ip ip;
	bool anybody;                             /* every member is a candidate */
	char (*candidates)[NETMAP_POLICY_ID_LEN]; /* heap; ids of nodes */
	size_t candidate_count;
	char assigned[NETMAP_POLICY_ID_LEN]; /* "": whichever candidate claims it */
	uint8_t vrid;                        /* 0: any */
};

struct netmap_rule {
	char id[NETMAP_POLICY_ID_LEN];
	bool own; /* for this node alone */
	bool deny;
	uint16_t priority;                  /* the lowest is looked at first */
	char protocol[NETMAP_PROTOCOL_LEN]; /* "any", "tcp", … */
	uint16_t first_port, last_port;     /* 0: all */
	struct cidr source;                 /* AF_UNSPEC: any */
	char interface[NETMAP_IFNAME_LEN];  /* "": every one */
};

struct netmap_filter {
	bool on;
	bool all_interfaces; /* else the public ones */
	bool keep_ssh;
	struct netmap_rule *rules; /* heap; by priority, deny before allow, then id */
	size_t rule_count;
};

struct netmap_policy {
	struct netmap_gateway *gateways; /* heap; by id */
	size_t gateway_count;
	struct netmap_floating *floating; /* heap; by id */
	size_t floating_count;
	struct netmap_filter cloak;
	bool cloak_pending;            /* then: */
	uint64_t cloak_due_s;          /* since 1970, the console's time */
	struct netmap_filter fallback; /* from then on */
};

/* Reads the members of a network's object. -VAN_E_INVALID with "POINTER: what is wrong". On failure
 * too the policy is to be freed. */
int netmap_policy_read(struct json_object *network, const char *where,
	struct netmap_policy *ret_policy, struct err *e);
/* Adds the members that say it. */
void netmap_policy_write(const struct netmap_policy *policy, struct json_object *network);
void netmap_policy_done(struct netmap_policy *policy);

#endif
