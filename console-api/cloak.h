/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cloak of a network: a packet filter on the interfaces of its members towards the Internet,
 * which lets in what rules allow and nothing else. One document holds state and rules, so that a
 * change is one step, and can be taken back as one.
 *
 *   state      "off", "pending" (in force, until it is confirmed or taken back) or "on"
 *   scope      "public": interfaces with a default route or a global address; "all": all but
 *              loopback and the overlay
 *   keep_ssh   true: whoever has an SSH session when the filter is set may open new ones, unless a
 *              rule denies it
 *   rules      see below
 *   confirm_by time at which a pending change is taken back, or null
 *
 * A rule:
 *   action     "allow" or "deny"
 *   priority   1…65535, the lowest is looked at first; at the same one, deny before allow. Unless
 *              given, 500 for deny and 1000 for allow.
 *   protocol   "any", "tcp", "udp", "sctp", "icmp", "icmpv6", "esp", "ah", "gre"
 *   ports      "443", "8000-8100" (tcp, udp, sctp), or null: all
 *   source     CIDR or null: any
 *   interface  name of the one interface it is for, or null
 *   node       the one member it is for, or null
 *   note       for people, or null
 *
 * Whatever the rules say, nodes let through what the overlay needs: VAN's own UDP port, answers to
 * what the machine itself began, loopback, and the ICMP that path MTU and neighbour discovery need.
 *
 * State machine. "Restricts": takes something away that was allowed (switching on, a new deny rule,
 * a changed or removed rule, another scope).
 *
 *   off ──on──▶ pending ──confirm──▶ on        a change that restricts leads from on to pending
 *    ▲             │ deadline: what was before (off, or on with the rules of before)
 *    └────off──────┴──────────────────┘        off takes effect at once, always
 *
 * A change while one is pending joins it: the deadline begins anew, what was before stays what it
 * was. With 0 s to confirm a change is final at once.
 */
#ifndef CONSOLE_API_CLOAK_H
#define CONSOLE_API_CLOAK_H

#include <json-c/json.h>
#include "console-api/registry.h"

#define CLOAK_RULES_MAX         256
#define CLOAK_CONFIRM_DEFAULT_S 120
#define CLOAK_CONFIRM_MIN_S     10
#define CLOAK_CONFIRM_MAX_S     3600

struct form;
struct netconf;

/* Everything below that is done: by whom, to which network, on which condition, when. */
struct cloak_edit {
	const struct actor *actor;
	const char *net_ref;
	const char *if_match;
	int64_t confirm_within_s; /* 0, or CLOAK_CONFIRM_MIN_S…CLOAK_CONFIRM_MAX_S */
	uint64_t now_s;           /* since 1970 */
};

/* The revision is that of the document, in rules too: whoever changes one has seen all. */
int cloak_view(struct registry *r, const char *org, const char *net_ref, uint64_t now_s,
	struct json_object **ret_view, struct problem *p);
/* patch: state ("on", "off"), scope, keep_ssh. */
int cloak_change(struct registry *r, const struct cloak_edit *edit, struct json_object *patch,
	struct problem *p);
/* 409 not_pending when there is nothing to confirm (any more). */
int cloak_confirm(struct registry *r, const struct cloak_edit *edit, struct problem *p);

/* Rules in the order in which they are looked at; the cursor is a rule's id. */
int cloak_rule_list(struct registry *r, const char *org, const char *net_ref, uint64_t now_s,
	const struct page *page, struct json_object **ret_list, struct problem *p);
int cloak_rule_view(struct registry *r, const char *org, const char *net_ref, const char *id,
	uint64_t now_s, struct json_object **ret_view, struct problem *p);
int cloak_rule_create(struct registry *r, const struct cloak_edit *edit, struct json_object *body,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p);
int cloak_rule_change(struct registry *r, const struct cloak_edit *edit, const char *id,
	struct json_object *patch, struct problem *p);
int cloak_rule_delete(
	struct registry *r, const struct cloak_edit *edit, const char *id, struct problem *p);

/* Takes back what was not confirmed in time; at most `max` networks. */
void cloak_take_back(struct registry *r, uint64_t now_s, size_t max);

/* -- parts of transactions -- */

/* The document of a network, complete, with what is overdue taken back; *ret_revision 0: there is
 * none stored, and this is what that means. Owned by the caller. */
int cloak_load(struct registry *r, const char *net_id, uint64_t now_s, struct json_object **ret_doc,
	uint64_t *ret_revision, struct problem *p);
/*
 * Reads a whole policy {state "on"|"off", scope, keep_ssh, rules} to the form's end and checks it.
 * Members that are absent are as in doc, whose rules keep their ids. *ret_policy is owned by the
 * caller.
 */
int cloak_settle(struct netconf *conf, struct json_object *doc, struct form *f,
	struct json_object **ret_policy, struct problem *p);
/* The policy of a document: {state "on"|"off", scope, keep_ssh, rules}. Owned by the caller. */
struct json_object *cloak_policy(struct json_object *doc);
/* Makes a settled policy the one in force, as the state machine says; netconf_build_change() is the
 * caller's. Returns the document, owned by the caller. */
struct json_object *cloak_build_put(struct store_txn *txn, const char *net_id,
	struct json_object *doc, struct json_object *policy, int64_t confirm_within_s,
	uint64_t now_s);
/* A node leaves: rules for it alone go. REGISTRY_NO_CHANGE when there were none. */
int cloak_build_forget(struct registry *r, struct store_txn *txn, const char *net_id,
	const char *node_id, struct problem *p);
void cloak_build_delete(struct store_txn *txn, const char *net_id);

#endif
