/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address reservations: addresses of a network that are never handed out. An object:
 *
 *   address  "172.16.1.5", "172.16.1.100-172.16.1.150" or "172.16.1.64/26"
 *   node     name of the node that the one address is held for, or null. The node need not exist
 *            yet: the one that joins under this name gets the address.
 *   name     a name for the one address, which something outside of VAN has (a printer behind a
 *            bridge), or null
 *   note     for people, or null
 *
 * With neither node nor name the addresses are excluded: they belong to nobody here. A single
 * address for a node or name may lie in an excluded range and takes precedence; floating IPs may,
 * too. Excluded ranges do not overlap.
 */
#ifndef CONSOLE_API_RESERVATION_H
#define CONSOLE_API_RESERVATION_H

#include "console-api/alloc.h"
#include "console-api/netobj.h"
#include "console-api/network.h"
#include "console-api/registry.h"

#define RESERVATION_MAX      4096 /* in a network */
#define RESERVATION_TEXT_LEN (2 * IP_TEXT_LEN)

struct reservation {
	char id[NETMAP_ID_MAX + 1];
	struct ip_range range;
	char node[NETMAP_NAME_MAX + 1]; /* "": none */
	char name[NETMAP_NAME_MAX + 1]; /* "": none */
};

extern const struct netobj_kind reservation_kind;

/* One of the three forms. False when it is none, or goes from a higher to a lower address. */
bool ip_range_parse(const char *text, struct ip_range *ret_range);
/* The shortest form. */
void ip_range_format(const struct ip_range *range, char ret_text[RESERVATION_TEXT_LEN]);

/* The reservations of a network, ascending; heap. What decides by them also compares /netconf/NET
 * (netconf_expect()). Those of the network that was asked for last are kept: whoever joins a network
 * asks for them, and they change seldom. */
struct reservations {
	struct reservation *items;
	size_t count;
};
struct reservations_cache;
void reservations_cache_free(struct reservations_cache *cache); /* NULL is fine */
int reservations_load(
	struct registry *r, const char *net_id, struct reservations *ret_list, struct problem *p);
void reservations_done(struct reservations *list);
static inline void cleanup_reservations(struct reservations *list)
{
	reservations_done(list);
}

/* The one that decides about an address: the single one, else the range around it, else NULL. */
const struct reservation *reservations_find(
	const struct reservation *items, size_t count, const struct ip *ip);
/* The node's own of this family, or NULL. */
const struct reservation *reservations_of_node(
	const struct reservation *items, size_t count, const char *node_name, int family);
/* 409 address_reserved that says for whom, about the member of the body at this JSON pointer. */
int reservation_conflict(
	const struct reservation *res, const struct ip *ip, const char *pointer, struct problem *p);

/* A node gets another name: what is held for it in this network follows. */
int reservation_build_rename(struct registry *r, struct store_txn *txn, const char *net_id,
	const char *from, const char *to, struct problem *p);

#endif
