/* SPDX-License-Identifier: Apache-2.0 */
/* Who is asking: API keys of people and programs, signatures of nodes. */
#ifndef CONSOLE_API_AUTH_H
#define CONSOLE_API_AUTH_H

#include "console-api/registry.h"
#include "lib/addr.h"
#include "lib/agentsig.h"
#include "lib/hash.h"

struct auth;

/* What each of them may do in a second; twice as much at once, ten times as many failures. */
struct auth_rates {
	unsigned int requests;   /* of one API key or node */
	unsigned int address;    /* requests of one address, whoever sends them */
	unsigned int enrolments; /* of one address */
	unsigned int failures;   /* wrong credentials that one address may show */
	unsigned int work_ms;    /* of the processor's time, for one API key; see auth_charge() */
};

struct auth *auth_new(const struct auth_rates *rates, uint64_t start_s);
void auth_free(struct auth *a);

/* What is known of a request before its sender is. */
struct auth_client {
	struct ip address;
	const char *authorization; /* the header's value, or NULL */
	const char *request_id;    /* X-Request-Id, or NULL */
	uint64_t now_ns;           /* CLOCK_BOOTTIME */
	uint64_t now_s;            /* since 1970 */
};

/* How much of an address stands for one host: all of IPv4, the /64 that an IPv6 host has to itself. */
size_t auth_host_len(const struct ip *ip);

/*
 * Counts a request against its address: 429 before any work when there were too many of them. To be
 * asked of every request, and before each of the functions below. These count wrong credentials, and
 * answer 429 instead of 401 when there were too many of them from the address lately; right ones get
 * through whatever others behind the same address do.
 */
int auth_gate(struct auth *a, const struct auth_client *c, struct problem *p);

/*
 * "Bearer KEY" with a key that the store knows: its role and organization. 429 beyond the key's
 * rate, or when it has spent its share of the processor; 401 unauthenticated | key_expired |
 * key_disabled otherwise. Fills *ret_actor; ret_hash (may be NULL) is what the store knows the key by.
 */
int auth_api_key(struct auth *a, struct registry *r, const struct auth_client *c,
	struct actor *ret_actor, char ret_hash[2 * HASH_LEN + 1], struct problem *p);
/* What a request of the key (its ret_hash) cost: requests are not alike, and all are served by one
 * thread. */
void auth_charge(struct auth *a, const char *key_hash, uint64_t cpu_ns, uint64_t now_ns);

/* Whom a request was signed by, and when. */
struct auth_node {
	char id[NETMAP_ID_MAX + 1];
	struct key sign_key;
	uint64_t signed_s; /* seconds since 1970, by the node's clock */
};

/*
 * A node's signature over the request (console_id is filled in here). 401 unauthenticated |
 * clock_skew (with server_time), 410 node_removed, 429. Fills *ret_actor and *ret_node.
 */
int auth_agent(struct auth *a, struct registry *r, const struct auth_client *c,
	const struct agentsig_request *request, struct actor *ret_actor, struct auth_node *ret_node,
	struct problem *p);

/* The signature of an enrolment, by the key that the body names; counts against the address. */
int auth_enrolment(struct auth *a, const struct auth_client *c,
	const struct agentsig_request *request, const struct key *sign_key, struct actor *ret_actor,
	struct problem *p);
/* 429 when the address enrols too fast; before the signature is looked at. */
int auth_enrolment_rate(struct auth *a, const struct auth_client *c, struct problem *p);

#endif
