/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wanted state (a netmap) against running state (peers, networks, interfaces, addresses). The only
 * writer of these. Applying the same netmap twice changes nothing; what fails is named, retried,
 * and does not keep the rest from being applied.
 */
#ifndef VAND_RECONCILE_H
#define VAND_RECONCILE_H

#include <json-c/json.h>
#include <stdbool.h>
#include "lib/err.h"
#include "lib/netmap.h"
#include "vand/session.h"

struct vand;
struct reconcile;

int reconcile_new(struct vand *v, struct reconcile **ret_reconcile);
/* Takes down every interface. */
void reconcile_free(struct reconcile *r);

/* Takes the map over (frees it later). What could not be done is in reconcile_warnings(). */
void reconcile_apply(struct reconcile *r, struct netmap *map);
/* Everything away: node removed, left, stale, or the daemon stops. Peers hear a GOODBYE; what is
 * kept in the state stays. */
void reconcile_clear(struct reconcile *r);
/* The map in force, or NULL; borrowed. */
const struct netmap *reconcile_map(const struct reconcile *r);

/* The interface name that a network of this id shall get, before it appears (join --ifname). */
/* -VAN_E_CONFLICT when the name is another interface's, or the network is up under another name. */
int reconcile_wish_ifname(
	struct reconcile *r, const char *network_id, const char *ifname, struct err *e);

/* A name that the kernel takes for an interface. 0 or -VAN_E_INVALID with what is allowed. */
int reconcile_check_ifname(const char *ifname, struct err *e);

/* From session_io.changed: keeps the end point of whoever got connected, for the next start. */
void reconcile_session_changed(struct reconcile *r, struct peer *peer, enum peer_state state);

/* Error of one network's interface, or NULL. */
const char *reconcile_network_error(const struct reconcile *r, const char *network_id);
/* Adds a line for each thing that is not as it should be (an MTU that does not fit, …). */
void reconcile_warnings(const struct reconcile *r, struct json_object *array);
/* Our TAPs, for route_underlay(). Returns the count; at most max. */
size_t reconcile_ifindexes(const struct reconcile *r, int *ret_list, size_t max);
/* False for an address of the overlay itself: never an underlay end point. */
bool reconcile_is_overlay(const struct reconcile *r, const struct ip *ip);

#endif
