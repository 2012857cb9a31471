/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing addresses, MACs and VAN ids. Pure functions (but for the random ones' randomness). */
#ifndef CONSOLE_API_ALLOC_H
#define CONSOLE_API_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/addr.h"
#include "lib/err.h"

#define ALLOC_ADDRESS_KEY_LEN 34 /* family digit, 32 hexadecimal digits, NUL */

/*
 * True when a network can use this prefix for its members: host bits zero, a unicast range for
 * hosts, and room for two. Otherwise one line that says why not.
 */
bool alloc_cidr_usable(const struct cidr *net, int family, struct err *e);

/* True when a member may have this address: inside, not the network's own address, and for IPv4
 * not the broadcast address. Otherwise one line that says why not. */
bool alloc_address_usable(const struct cidr *net, const struct ip *ip, struct err *e);

/* Addresses that are not to be handed out: both ends belong to it. */
struct ip_range {
	struct ip first;
	struct ip last;
};

/*
 * Finds usable addresses from the lowest upwards: ones that are not among the n held ones, which are
 * in ascending order, and in none of the ranges, which are in ascending order of their first address
 * and may lie within each other. All borrowed.
 */
struct alloc_walk {
	const struct cidr *net;
	const struct ip *held;
	size_t n;
	const struct ip_range *ranges;
	size_t range_count;
	/* -- where it stands -- */
	size_t held_at, range_at;
	bool begun;
	struct ip last; /* told last */
};
/* The next one, each once. -VAN_E_LIMIT when there is none. */
int alloc_next_free(struct alloc_walk *walk, struct ip *ret_ip);

/* The first of them. */
int alloc_first_free(const struct cidr *net, const struct ip *held, size_t n,
	const struct ip_range *ranges, size_t range_count, struct ip *ret_ip);

/* How an address is written in a key of the store: such keys sort by address. */
void alloc_address_key(const struct ip *ip, char ret_text[ALLOC_ADDRESS_KEY_LEN]);
bool alloc_address_from_key(const char *text, struct ip *ret_ip);

/* A random unicast MAC with the locally administered bit (IEEE 802, 02:…). */
void alloc_random_mac(struct mac *ret_mac);
/* 1…NETMAP_VAN_ID_MAX */
uint32_t alloc_random_van_id(void);

#endif
