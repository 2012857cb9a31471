/* SPDX-License-Identifier: Apache-2.0 */
/* Who is asking: API keys of people and programs, signatures of nodes. */
#ifndef CONSOLE_API_AUTH_H
#define CONSOLE_API_AUTH_H

#include "console-api/registry.h"
#include "lib/addr.h"
#include "lib/agentsig.h"

struct auth;

/* failures_per_s: wrong credentials that an address may show; ten times as many at once. */
struct auth *auth_new(unsigned int requests_per_s, unsigned int enrolments_per_s,
	unsigned int failures_per_s, uint64_t start_s);
void auth_free(struct auth *a);

/* What is known of a request before its sender is. */
struct auth_client {
	struct ip address;
	const char *authorization; /* the header's value, or NULL */
	uint64_t now_ns;           /* CLOCK_BOOTTIME */
	uint64_t now_s;            /* since 1970 */
};

/*
 * 429 before any work when the address has shown too many wrong credentials lately. To be asked
 * before each of the functions below.
 */
int auth_gate(struct auth *a, const struct auth_client *c, struct problem *p);

/* "Bearer KEY" with a key that the store knows; 401 otherwise, 429 beyond the key's rate. All keys
 * have the role admin in this version. Fills *ret_actor. */
int auth_api_key(struct auth *a, struct registry *r, const struct auth_client *c,
	struct actor *ret_actor, struct problem *p);

/*
 * A node's signature over the request (console_id is filled in here). 401 unauthenticated |
 * clock_skew (with server_time), 410 node_removed, 429. Fills *ret_actor and the node's id.
 */
int auth_agent(struct auth *a, struct registry *r, const struct auth_client *c,
	const struct agentsig_request *request, struct actor *ret_actor,
	char ret_node_id[NETMAP_ID_MAX + 1], struct problem *p);

/* The signature of an enrolment, by the key that the body names; counts against the address. */
int auth_enrolment(struct auth *a, const struct auth_client *c,
	const struct agentsig_request *request, const struct key *sign_key, struct actor *ret_actor,
	struct problem *p);
/* 429 when the address enrols too fast; before the signature is looked at. */
int auth_enrolment_rate(struct auth *a, const struct auth_client *c, struct problem *p);

#endif
