/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is defined of a network besides its members: address reservations, gateways, floating IPs
 * and the cloak, read together, because the rules about them cross: an address has one holder, a
 * prefix one gateway at each metric, and so on.
 *
 * Each of these functions belongs into the build function of registry_transact(): a change of any
 * of them puts /netconf/NET, and whoever decides by them compares it.
 */
#ifndef CONSOLE_API_NETCONF_H
#define CONSOLE_API_NETCONF_H

#include "console-api/fip.h"
#include "console-api/form.h"
#include "console-api/gateway.h"
#include "console-api/network.h"
#include "console-api/registry.h"
#include "console-api/reservation.h"

#define NETCONF_NOTE_SIZE 201 /* bytes, with the NUL */

/* Who has an address: a member or a floating IP. */
struct held {
	struct ip ip;
	char id[NETMAP_ID_MAX + 1];
};

struct netconf {
	struct registry *r;    /* borrowed */
	struct store_txn *txn; /* borrowed: where the checks add what they rely on; NULL: nowhere */
	struct network net;
	struct held *held; /* heap; by address */
	size_t held_count;
	struct reservation *reservations; /* heap; by first address, the wider one first */
	size_t reservation_count;
	struct gateway *gateways; /* heap */
	size_t gateway_count;
	struct fip *fips; /* heap */
	size_t fip_count;
	/* The ids of the members, ascending; NULL: ask the store. Borrowed. */
	const char *const *members;
	size_t member_count;
	bool adopting; /* addresses that nodes have may lie in excluded ranges */
};

/*
 * Reads all of it, as if the object `except` (an id, or NULL) were not there. txn may be NULL.
 * 404 when there is no such network.
 */
int netconf_load(struct registry *r, struct store_txn *txn, const char *org, const char *net_ref,
	const char *except, struct netconf *ret_conf, struct problem *p);
void netconf_done(struct netconf *conf);
static inline void cleanup_netconf(struct netconf *conf)
{
	netconf_done(conf);
}

/* The transaction changes something of this: compares network and mark, puts the mark, and marks
 * the netmaps of the members. */
int netconf_build_change(
	struct registry *r, struct store_txn *txn, const struct network *net, struct problem *p);
/* The transaction relies on all of this being as it was read. */
int netconf_expect(
	struct registry *r, struct store_txn *txn, const char *net_id, struct problem *p);

/* The transaction relies on the addresses of the members being as they were read. Does nothing
 * without conf->txn. */
int netconf_expect_addresses(struct netconf *conf, struct problem *p);

/* Who has the address, or NULL. */
const struct held *netconf_holder(const struct netconf *conf, const struct ip *ip);
/* Adds an address; its place is found. */
void netconf_hold(struct netconf *conf, const struct ip *ip, const char *id);
/* 409 address_taken that names the holder, a member or a floating IP; about the member of the body
 * at this JSON pointer. */
int netconf_taken(
	struct netconf *conf, const struct held *holder, const char *pointer, struct problem *p);
/* The prefix of the address's family, NULL when the network has none. */
const struct cidr *netconf_cidr_for(const struct network *net, int family);
/* True when a reservation or a floating IP bears this name. */
bool netconf_name_taken(const struct netconf *conf, const char *name);

/* The member that a reference (name or id) means: 404 when there is none, about the member of the
 * body at this JSON pointer. Expects it to stay one. ret_name may be NULL. */
int netconf_member(struct netconf *conf, const char *ref, const char *pointer,
	char ret_id[NETMAP_ID_MAX + 1], char ret_name[NETMAP_NAME_MAX + 1], struct problem *p);

/* -- parts of the transactions of others -- */

/* A node leaves the network: its gateways go, floating IPs and rules forget it. actor NULL: without
 * audit rows. */
int netconf_build_forget(struct registry *r, struct store_txn *txn, const struct actor *actor,
	const char *net_id, const char *node_id, struct problem *p);
/* The network goes, with all of this. */
int netconf_build_delete_all(
	struct registry *r, struct store_txn *txn, const char *net_id, struct problem *p);

/* -- problems about a member of a body that is right in itself -- */

/* The JSON pointer of a member of the form ("prefixes/1" for an item). */
struct pointer {
	char text[PROBLEM_POINTER_MAX];
};
struct pointer netconf_pointer(const struct form *f, const char *member);
#define POINTER(f, member) (netconf_pointer(f, member).text)
/* Fills p; the detail is "POINTER: text". Returns the code for the status. */
int netconf_problem(struct problem *p, int status, const char *word, const char *pointer,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
