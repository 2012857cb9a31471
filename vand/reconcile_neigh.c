/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address that was one node's and is another's now: the kernel's neighbour table still has the
 * MAC of the first, and keeps sending to nobody until it has found out by itself, many seconds
 * later. The netmap says which MAC has the address, so the entries of what is new in it are put
 * right: at once, for IPv6 too, and without a frame on the way. Where the kernel has no entry none is
 * made, so this costs a request for each address that is new, and nothing on an interface that is.
 */
#include <string.h>
#include "lib/log.h"
#include "vand/reconcile_internal.h"
#include "vand/route.h"
#include "vand/vand.h"

static bool had_address(const struct netmap_peer *before, const struct cidr *c)
{
	for (size_t i = 0; i < before->ip_count; i++) {
		if (ip_compare(&before->ips[i].ip, &c->ip) == 0)
			return true;
	}
	return false;
}

/* before: the same peer in the last map, or NULL. */
static void update_peer(struct reconcile *r, const struct rec_network *rn,
	const struct netmap_peer *before, const struct netmap_peer *now)
{
	const int ifindex = network_ifindex(rn->network);
	int rc;

	if (now->mac_count == 0)
		return;
	if (before && (before->mac_count == 0 || !mac_equal(&before->macs[0], &now->macs[0])))
		before = NULL;
	for (size_t i = 0; i < now->ip_count; i++) {
		if (before && had_address(before, &now->ips[i]))
			continue;
		rc = route_neighbour_update(r->v->route, ifindex, &now->ips[i].ip, &now->macs[0]);
		if (rc < 0)
			log_debug("network %s: cannot update the neighbour table: %s", rn->name,
				err_name(rc));
	}
}

void rec_update_neighbours(struct reconcile *r, const struct rec_network *rn,
	const struct netmap_network *before, const struct netmap_network *now)
{
	size_t at = 0;

	/* Both are in the order of the ids. Were they not, some entries would be put right that are. */
	for (size_t i = 0; i < now->peer_count; i++) {
		const struct netmap_peer *peer = &now->peers[i];

		while (at < before->peer_count && strcmp(before->peers[at].id, peer->id) < 0)
			at++;
		update_peer(r, rn,
			at < before->peer_count && strcmp(before->peers[at].id, peer->id) == 0
				? &before->peers[at]
				: NULL,
			peer);
	}
}
