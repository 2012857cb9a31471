/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many objects of each kind one organization may have, so that none can fill the store for all.
 * The configuration says it for every organization (limit_networks, …); the record of an
 * organization may say otherwise for this one ({"limits":{"nodes":500}} in /orgs/ID), which the
 * administrators of the console set.
 *
 * Objects are counted by their keys when one is to be added, so the count cannot come apart from what
 * there is. A limit below what there is takes nothing away.
 */
#ifndef CONSOLE_API_QUOTA_H
#define CONSOLE_API_QUOTA_H

#include <json-c/json.h>
#include <stdint.h>
#include "console-api/problem.h"

struct form;
struct registry;
struct store_txn;

#define QUOTA_MAX 1000000 /* the highest limit that can be set */

/* X(constant, name in API and configuration, default, what is counted) */
#define QUOTA_TABLE(X)                                                                      \
	X(NETWORKS, networks, 2000, "Networks")                                             \
	X(NODES, nodes, 50000, "Nodes")                                                     \
	X(MEMBERSHIPS, memberships, 200000, "Memberships (a node in a network each)")       \
	X(USERS, users, 5000, "Users")                                                      \
	X(KEYS, keys, 5000, "API keys, expired ones too,")                                  \
	X(TOKENS, tokens, 50000, "Join tokens, also those that ended in the last 30 days,") \
	X(RESERVATIONS, reservations, 50000, "Address reservations")                        \
	X(GATEWAYS, gateways, 10000, "Gateways")                                            \
	X(CLOAK_RULES, cloak_rules, 20000, "Cloak rules")                                   \
	X(FLOATING_IPS, floating_ips, 20000, "Floating IPs")

enum quota {
#define QUOTA_CONSTANT(constant, name, standard, text) QUOTA_##constant,
	QUOTA_TABLE(QUOTA_CONSTANT)
#undef QUOTA_CONSTANT
		QUOTA_COUNT
};

/* What counts where the configuration does not say. */
void quota_defaults(int64_t ret_limits[QUOTA_COUNT]);

/* Would n more be too many? 409 limit_reached, 404 without the organization. It adds nothing to the
 * transaction that is being built: call registry_build_in_org() in it, so that nobody else adds
 * anything meanwhile. */
int quota_check(
	struct registry *r, const char *org, enum quota what, uint64_t n, struct problem *p);
/* Both, for n > 0 objects that the transaction adds. */
int quota_build_add(struct registry *r, struct store_txn *txn, const char *org, enum quota what,
	uint64_t n, struct problem *p);

/* What a program needs to know of a limit that p tells people about. */
void quota_problem(struct problem *p, enum quota what, uint64_t limit, uint64_t current);

/* The member "limits" of a body: an object of numbers, null where the console's limit counts.
 * *ret_limits has those that are set (owned by the caller), NULL when there are none. */
void quota_read(struct form *f, struct json_object **ret_limits);
/* The same of a record as the API shows it: with null for the others. Owned by the caller. */
struct json_object *quota_view(struct json_object *limits);
/* {"nodes":{"used":…,"limit":…},…} of an organization. Owned by the caller. */
int quota_usage(
	struct registry *r, const char *org, struct json_object **ret_usage, struct problem *p);

#endif
