/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes ask of the registry: enrolment, reports, their netmap. Callers hold the registry's
 * lock; failures come with a problem. */
#ifndef CONSOLE_API_AGENT_H
#define CONSOLE_API_AGENT_H

#include "console-api/registry.h"
#include "lib/key.h"
#include "lib/token.h"

#define AGENT_REPORT_INTERVAL_S 10
#define AGENT_VERSION_MAX       64

/* -- enrolment -- */

struct enrolment {
	uint8_t secret[TOKEN_SECRET_LEN]; /* of the token; wiped by the caller */
	char name[256];                   /* a wish */
	struct key public_key;
	struct key sign_key;
	bool has_address;
	struct ip address;
	char version[AGENT_VERSION_MAX + 1];
};

struct enrolled {
	char node_id[NETMAP_ID_MAX + 1];
	char node_name[NETMAP_NAME_MAX + 1];
	char net_id[NETMAP_ID_MAX + 1];
	char net_name[NETMAP_NAME_MAX + 1];
	bool created; /* a membership was made: 201; else it was there already: 200 */
};

int enrolment_from_json(struct json_object *o, struct enrolment *ret_enrolment, struct problem *p);
/* Spends one use of the token, creates the node where the key is new, and the membership. */
int agent_enroll(struct registry *r, const struct actor *actor, const struct enrolment *en,
	uint64_t now_s, struct enrolled *ret_enrolled, struct problem *p);

/* -- reports -- */

struct agent_report {
	uint16_t port; /* UDP */
	struct ip local[32];
	size_t local_count;
	struct endpoint advertise[NETMAP_TEPS_MAX];
	size_t advertise_count;
	char applied[NETMAP_REVISION_TEXT_LEN]; /* "": none */
	char version[AGENT_VERSION_MAX + 1];
};

int agent_report_from_json(
	struct json_object *o, struct agent_report *ret_report, struct problem *p);
/* The end points that a report stands for, seen being the address that it came from; at most
 * NETMAP_TEPS_MAX, the seen one always among them. Pure. */
size_t agent_report_teps(const struct agent_report *report, const struct ip *seen,
	struct endpoint ret_teps[NETMAP_TEPS_MAX], bool *ret_nat);
/* Writes only what is new. */
int agent_apply_report(struct registry *r, const char *node_id, const struct agent_report *report,
	const struct ip *seen, struct problem *p);

/* -- netmaps -- */

/* 410 when the node was removed. */
int agent_gone(struct problem *p);
/* The networks whose changes a node's map shows. */
#define AGENT_SCOPE_MAX 64
struct agent_scope {
	char nets[AGENT_SCOPE_MAX][NETMAP_ID_MAX + 1];
	size_t count;
	bool any; /* more than fit: take it as all networks */
};

/*
 * The number of the node's map: the store revision of the last transaction that touched it.
 * -VAN_E_GONE (with its problem) when the node is no more. ret_scope may be NULL.
 */
int agent_netmap_number(struct registry *r, const char *node_id, uint64_t *ret_number,
	struct agent_scope *ret_scope, struct problem *p);
/* The map itself, for netmap_free(). */
int agent_netmap(
	struct registry *r, const char *node_id, struct netmap **ret_map, struct problem *p);
/* The same as JSON that can be printed (its peers cannot be read, see peers.h). */
int agent_netmap_json(
	struct registry *r, const char *node_id, struct json_object **ret_json, struct problem *p);

/* The node leaves a network by its id: 404 when it is not in it. */
int agent_leave(struct registry *r, const struct actor *actor, const char *node_id,
	const char *net_id, struct problem *p);

#endif
