/* SPDX-License-Identifier: Apache-2.0 */
/* rtnetlink (libmnl): interfaces, addresses, and news about both. Control thread. */
#ifndef VAND_ROUTE_H
#define VAND_ROUTE_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/addr.h"
#include "lib/err.h"
#include "vand/loop.h"

struct route;

/* The callback runs when addresses or links of the machine changed (coalesced, at most twice a
 * second), never for what this module did to interfaces named in its own calls. */
int route_open(struct loop *loop, void (*changed)(void *ctx), void *ctx, struct route **ret_route,
	struct err *e);
void route_close(struct route *r);

/* Link: MAC (NULL: leave), MTU (0: leave), up. */
int route_link_set(
	struct route *r, int ifindex, const struct mac *mac, uint16_t mtu, bool up, struct err *e);
/* Makes the interface's addresses of our making exactly these: adds and removes, leaves link-local
 * and what others added alone. `had`/`have` are what was wanted before and now. IPv6 without DAD
 * delay (nodad). */
int route_addresses_set(struct route *r, int ifindex, const struct cidr *had, size_t had_count,
	const struct cidr *have, size_t have_count, struct err *e);

/* The address is that of this MAC: puts the kernel's neighbour entry right where it has one, and makes
 * none. 0 or -errno. */
int route_neighbour_update(
	struct route *r, int ifindex, const struct ip *ip, const struct mac *mac);

/*
 * Makes the kernel ignore IPv6 router advertisements on an interface (sysctl accept_ra): otherwise
 * any member of a network could give all others a default route. 0 (also on a host without IPv6) or
 * -errno, for example where /proc/sys is read-only.
 */
int route_ignore_router_advertisements(const char *ifname);

struct route_underlay {
	char ifname[16];
	struct ip address;
	uint32_t mtu;
	uint8_t prefix;  /* of the network on the link */
	bool is_default; /* the default route of this IP version leads through the interface */
};
/* Addresses from which this machine can be reached: global unicast on interfaces that are up, not
 * loopback, not link-local, not on interfaces whose ifindex is in `skip` (our TAPs). *ret_list is
 * heap. */
int route_underlay(struct route *r, const int *skip, size_t skip_count,
	struct route_underlay **ret_list, size_t *ret_count, struct err *e);

/* MTU of the interface that leads to an address, or of a route with one of its own, but never what
 * ICMP said: that is not authentic. 0: unknown or unreachable. *ret_ifindex (may be NULL). */
uint32_t route_mtu_to(struct route *r, const struct ip *to, int *ret_ifindex);

#endif
