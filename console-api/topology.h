/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topology in one document: a network's whole definition, to be kept in a file, compared, made
 * again under another name or in another console. docs/topology.md describes the format for those
 * who write it; in short:
 *
 *   {"format": "van-topology", "version": 1, "networks": [
 *      {"name", "cidr", "cidr6", "encryption", "mtu", "require_approval", "labels",
 *       "nodes":        [{"name", "public_key", "ips", "macs", "approved", "labels"}],
 *       "reservations": [{"address", "node", "name", "note"}],
 *       "gateways":     [{"name", "node", "prefixes", "mode", "metric", "enabled", "health", "note"}],
 *       "floating_ips": [{"name", "address", "candidates", "assigned", "vrid", "note"}],
 *       "cloak":        {"state", "scope", "keep_ssh", "rules": […]}}]}
 *
 * There are no ids and no secrets in it (the registry knows no secret of a network: of join tokens
 * it has hashes only, and they are of one console); nodes are called by their names. An export has
 * all members, in an order that depends on what is defined only, so that two exports can be
 * compared as text. In an import a section that is absent leaves what there is as it is.
 */
#ifndef CONSOLE_API_TOPOLOGY_H
#define CONSOLE_API_TOPOLOGY_H

#include <json-c/json.h>
#include "console-api/registry.h"

#define TOPOLOGY_FORMAT       "van-topology"
#define TOPOLOGY_VERSION      1
#define TOPOLOGY_NETWORKS_MAX 64
#define TOPOLOGY_NODES_MAX    16384 /* in a network of a document */
#define TOPOLOGY_BODY_MAX     (3u << 20)

/* The document of one network; owned by the caller. */
int topology_export(struct registry *r, const char *org, const char *net_ref,
	struct json_object **ret_document, struct problem *p);

struct topology_import {
	const struct actor *actor;
	const char *name;         /* of the one network in the document; NULL: as it says */
	bool dry_run;             /* say what would be done, do nothing */
	int64_t confirm_within_s; /* of a change of the cloak, as in struct cloak_edit */
	uint64_t now_s;           /* since 1970 */
};

/*
 * Makes every network of the document as it says: creates it, or changes the one of this name until
 * it is the same. All of it is checked first, then done in one transaction; where the store takes no
 * such large ones in as many as it needs, each of which leaves a sound network, and which doing it
 * again completes.
 *
 * A node of the document is the one with its public key, else the one with its name, in the actor's
 * organization. One that is neither has to join yet: its addresses are reserved for its name, its
 * gateways and rules are left out, and the answer names it. Doing it again after it has joined
 * completes it.
 *
 * *ret_result, owned by the caller:
 *   {"dry_run", "transactions", "networks": [{"name", "id" or null, "created",
 *     "changes": [{"op": "create"|"update"|"delete", "kind", "name", "before", "after"}],
 *     "missing": [{"name", "public_key", "addresses", "gateways", "floating_ips"}],
 *     "warnings": [TEXT], "confirm_by": TIME or null}]}
 */
int topology_import(struct registry *r, const struct topology_import *im,
	struct json_object *document, struct json_object **ret_result, struct problem *p);

#endif
