/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of an import. For each network of the document topology_plan() works out what is wanted
 * and what has to be written for it, without writing; topology_write() then adds it to a
 * transaction, as much as fits.
 */
#ifndef CONSOLE_API_TOPOLOGY_INTERNAL_H
#define CONSOLE_API_TOPOLOGY_INTERNAL_H

#include "console-api/form.h"
#include "console-api/netconf.h"
#include "console-api/topology.h"

enum { FAMILY_V4, FAMILY_V6, FAMILY_COUNT };

/* A node that the document names, that is in the network, or both. */
struct plan_node {
	char name[NETMAP_NAME_MAX + 1]; /* as the document calls it, else its own */
	char id[NETMAP_ID_MAX + 1];     /* "": it has to join yet */
	struct record node;             /* as it is; none while it has to join */
	struct record member;           /* the same; none when it is not in the network */
	bool wanted;                    /* in the network */
	struct ip ips[FAMILY_COUNT];    /* wanted; AF_UNSPEC: none, or to be chosen */
	bool given[FAMILY_COUNT];       /* by the document */
	struct mac macs[NETMAP_MACS_MAX];
	size_t mac_count; /* 0: keep, or draw */
	bool approved;
	bool approved_given;
	struct json_object *labels;  /* borrowed; NULL: as they are */
	const char *public_key;      /* borrowed, of the document; NULL: it does not say */
	struct json_object *missing; /* its entry in the answer, borrowed, or NULL */
	char pointer[PROBLEM_POINTER_MAX];
};

/* One thing to be written. */
struct plan_op {
	enum plan_what {
		PLAN_NETWORK, /* settings of one that exists */
		PLAN_REMOVE,  /* a member */
		PLAN_DELETE,  /* an object of a kind */
		PLAN_MEMBER,  /* a new or changed one */
		PLAN_LABELS,  /* of a node */
		PLAN_PUT,     /* a new or changed object of a kind */
		PLAN_CLOAK,
		PLAN_WHAT_COUNT,
	} what;      /* in the order in which they are written */
	size_t node; /* PLAN_REMOVE, PLAN_MEMBER, PLAN_LABELS: its place in nodes */
	const struct netobj_kind *kind;
	char id[NETMAP_ID_MAX + 1];
	struct json_object *before; /* owned: record, document of the cloak; NULL: new */
	struct json_object *after;  /* owned: specification, policy */
	/* -- while it is written -- */
	enum { PLAN_WAITS, PLAN_VISITED, PLAN_WRITTEN } progress;
	bool closes_ring; /* has to be written together with what was written for its sake */
};

struct plan {
	struct registry *r;
	const struct topology_import *im;
	struct problem *p;
	struct json_object *taken_macs; /* borrowed: by other networks of the document */
	struct network net;             /* as it will be; without an id when it is to be created */
	struct record net_record;       /* as it is */
	struct json_object *labels;     /* of the network, wanted; borrowed */
	struct json_object *merged;     /* the network of the document, completed; owned */
	struct netconf actual;          /* as it is; empty when it is to be created */
	struct netconf wanted;
	const char **member_ids; /* heap: wanted.members */
	struct plan_node *nodes; /* heap */
	size_t node_count;
	struct json_object *by_name, *by_id; /* place in nodes */
	struct json_object *names;           /* id to name */
	struct plan_op *ops;                 /* heap */
	size_t op_count;
	struct json_object *changes, *missing, *warnings; /* for the answer */
	int64_t confirm_by_s; /* of the change of the cloak; 0: none waits; set by plan_write() */
};

static inline bool plan_creates(const struct plan *plan)
{
	return !plan->net_record.o;
}

/* -- topology_export.c: definitions -- */

/* A record or specification as documents show it: without id and date, nodes by name (names: id to
 * name). Owned by the caller. */
struct json_object *topology_definition(struct json_object *record, struct json_object *names);
struct json_object *topology_node_definition(struct json_object *node, struct json_object *member);

/* Compares two definitions of rules (pointers to them, as qsort(3) has it): as they are looked at,
 * else by what they say. */
int topology_rule_order(const void *va, const void *vb);

/* -- topology_nodes.c -- */

/* Reads the nodes of the document (list NULL: those that there are stay) and finds out who they
 * are. */
int plan_read_nodes(struct plan *plan, struct form *f, struct json_object *list);
/* Holds the addresses that the document gives, and those that stay. */
int plan_hold_addresses(struct plan *plan);
/* Chooses those that are left open, from what nobody has and nothing is reserved of. */
int plan_choose_addresses(struct plan *plan);
/* Leaves of the wanted MACs those that can be had, and adds them to those that are taken. */
int plan_grant_macs(struct plan *plan);
/* The node that the document calls so, or NULL. */
struct plan_node *plan_node_named(const struct plan *plan, const char *name);
/* The entry of a node that has to join, in the answer. */
struct json_object *plan_missing(struct plan *plan, struct plan_node *node);
/* The wanted membership as a record; macs stay out where they are to be drawn. Owned by the caller.
 */
struct json_object *plan_member(const struct plan *plan, const struct plan_node *node);

/* -- topology_network.c -- */

/* Finds the network and reads what the document says of it; f->o becomes plan->merged. */
int plan_read_network(struct plan *plan, struct form *f);
/* Warns of other networks with addresses in common that a wanted node is in, too. */
int plan_warn_of_overlaps(struct plan *plan);

/* -- topology_plan.c -- */

struct plan_op *plan_add_op(struct plan *plan, enum plan_what what);
/* Takes before and after; NULL is null. */
void plan_add_change(struct plan *plan, const char *kind, const char *name,
	struct json_object *before, struct json_object *after);

/* Fills the plan, which is zeroed but for r, im and p; plan_done() in any case. f: of the network.
 */
int plan_make(struct plan *plan, struct form *f);
void plan_done(struct plan *plan);
static inline void cleanup_plan(struct plan *plan)
{
	plan_done(plan);
}

/* -- topology_write.c -- */

/* Adds to the transaction what fits, ids and all; *ret_more when something is left. */
int plan_write(struct plan *plan, struct store_txn *txn, bool *ret_more);

#endif
