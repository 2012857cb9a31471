/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes ask of the registry: enrolment, reports, their netmap. Callers hold the registry's
 * lock; failures come with a problem. */
#ifndef CONSOLE_API_AGENT_H
#define CONSOLE_API_AGENT_H

#include <stddef.h>
#include <sys/uio.h>
#include "console-api/registry.h"
#include "lib/key.h"
#include "lib/token.h"

#define AGENT_REPORT_INTERVAL_S 10
#define AGENT_VERSION_MAX       64
#define AGENT_EXTERNAL_MAX      32

/* -- enrolment -- */

struct enrolment {
	uint8_t secret[TOKEN_SECRET_LEN]; /* of the token; wiped by the caller */
	char name[256];                   /* a wish */
	struct key public_key;
	struct key sign_key;
	bool has_address;
	struct ip address;
	char version[AGENT_VERSION_MAX + 1];
	bool silent; /* without the header VAN-Agent, as of version 0.1; set by the caller */
};

struct enrolled {
	char node_id[NETMAP_ID_MAX + 1];
	char node_name[NETMAP_NAME_MAX + 1];
	char net_id[NETMAP_ID_MAX + 1];
	char net_name[NETMAP_NAME_MAX + 1];
	bool approved; /* else the network is in its netmap when somebody has approved it */
	bool created;  /* a membership was made: 201; else it was there already: 200 */
};

int enrolment_from_json(struct json_object *o, struct enrolment *ret_enrolment, struct problem *p);
/*
 * Before the signature is looked at, for anybody can sign with a key of his own making, and what is
 * signed takes room in the table of nonces: whether the token still opens the door, or the keys are
 * of a node that it did open it for. Else 403.
 */
int agent_enroll_check(
	struct registry *r, const struct enrolment *en, uint64_t now_s, struct problem *p);
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
	struct {
		struct cidr cidr;
		char ifname[16];
	} external[AGENT_EXTERNAL_MAX]; /* networks that the node could offer as a gateway */
	size_t external_count;
	bool has_external;                      /* it says which: a node of version 0.1 does not */
	char applied[NETMAP_REVISION_TEXT_LEN]; /* "": none */
	char version[AGENT_VERSION_MAX + 1];
};

int agent_report_from_json(
	struct json_object *o, struct agent_report *ret_report, struct problem *p);
/* The end points that a report stands for, seen being the address that it came from; at most
 * NETMAP_TEPS_MAX, the seen one always among them. Pure. */
size_t agent_report_teps(const struct agent_report *report, const struct ip *seen,
	struct endpoint ret_teps[NETMAP_TEPS_MAX], bool *ret_nat);
/*
 * Writes only what is new, and that not too often: everybody in the node's networks is told. What has
 * to wait is taken from a later report, which *ret_interval_s (when to report again) brings nearer.
 * now_ns: CLOCK_BOOTTIME.
 */
int agent_apply_report(struct registry *r, const char *node_id, const struct agent_report *report,
	const struct ip *seen, uint64_t now_ns, unsigned int *ret_interval_s, struct problem *p);

/* -- netmaps -- */

/* 410 when the node was removed. */
int agent_gone(struct problem *p);
/* The networks whose changes a node's map shows. */
#define AGENT_SCOPE_MAX 64
struct agent_scope {
	char nets[AGENT_SCOPE_MAX][NETMAP_ID_MAX + 1];
	size_t count;
	bool any;         /* more than fit: take it as all networks */
	size_t members;   /* of all these networks together */
	uint64_t pressed; /* number of the last change that the node is to hear of at once */
};

/*
 * The number of the node's map: the store revision of the last transaction that touched it.
 * -VAN_E_GONE (with its problem) when the node is no more. ret_scope may be NULL.
 */
int agent_netmap_number(struct registry *r, const char *node_id, uint64_t *ret_number,
	struct agent_scope *ret_scope, struct problem *p);

/* An answer in pieces, which point into text that other answers may point into too. */
struct agent_answer {
	bool patch;           /* a merge patch (lib/netmap_delta.h), else the whole map */
	struct iovec *pieces; /* heap */
	size_t count;
	void *keep;                  /* what the pieces point into … */
	void (*release)(void *keep); /* … is given back so, by any thread */
};
void agent_answer_done(struct agent_answer *a);

/*
 * The node's map: a patch from the map with the number *since where that can be made, else the
 * whole; since NULL: the whole.
 */
int agent_netmap(struct registry *r, const char *node_id, const uint64_t *since,
	struct agent_answer *ret_answer, struct problem *p);

/* For store_on_change(): keeps what is kept in memory for agents true. */
void agent_on_change(void *registry, uint64_t revision, const struct store_op *ops, size_t n);

/* The node leaves a network by its id: 404 when it is not in it. */
int agent_leave(struct registry *r, const struct actor *actor, const char *node_id,
	const char *net_id, struct problem *p);

#endif
