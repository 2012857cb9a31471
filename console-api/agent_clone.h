/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One identity on two machines: somebody copied a state directory, or cloned a VM with it. Both
 * would pull the peers' sessions to and fro, so it is found out and told.
 *
 * Every vand draws a number at its start, its instance, and sends it with every request. A process
 * that was replaced never speaks again; so an instance that speaks after another one has taken its
 * place is a sign that both live. One such return may be a VM that was put back to a snapshot with
 * its memory, so it takes two of them within CLONE_WINDOW_S: A, B, A again, B again. Requests that
 * were on their way when the place was taken are not counted: those of the first CLONE_GRACE_S, and
 * those that were signed no later than the one by which it was taken. Hence a restart, a machine that
 * moved, and a snapshot that was put back raise no alarm; two machines that both report do, within
 * half a minute, or in as much more as the first one's clock is behind the other's. A start counter
 * that is not above the last one shows that the state directory was put back: that is an event, and no
 * alarm.
 *
 *   /instances/NODE   {current, refused, locked, returns, returned_s, cloned_s, put_back_s,
 *                     known: [{id, start, signed_s, first_s, left_s, address}]}
 *
 * in the store, so that consoles that share one see the same; written only when the instance
 * changes. What happens then is the policy's:
 *
 *   alarm      an event, and both go on
 *   reject     the one that came later is refused
 *   replace    the one that came earlier is refused
 *   re-enrol   the node is refused, whoever asks, until it has enrolled with a token again
 *
 * Refused means 409 cloned. An instance stays refused; a process that is started anew counts as a
 * new one. An agent that never said which one it is (version 0.1) is not looked at; of a node that did,
 * a request that does not is refused: else whoever is refused would only have to leave it out.
 */
#ifndef CONSOLE_API_AGENT_CLONE_H
#define CONSOLE_API_AGENT_CLONE_H

#include "console-api/registry.h"
#include "lib/addr.h"
#include "lib/agenthello.h"

#define CLONE_WINDOW_S 600
#define CLONE_GRACE_S  2
#define CLONE_KNOWN    8 /* instances of a node that are remembered */

enum clone_policy { CLONE_ALARM, CLONE_REJECT, CLONE_REPLACE, CLONE_REENROL };
bool clone_policy_parse(const char *text, enum clone_policy *ret_policy);

/* What the request of an instance leads to: 0, 409 cloned, or 429 when they change too often. hello
 * NULL: it said nothing. signed_s: the time in its signature. now_ns: CLOCK_BOOTTIME; now_s: since
 * 1970. */
int agent_clone_check(struct registry *r, const char *node_id, const struct agenthello *hello,
	uint64_t signed_s, const struct ip *address, uint64_t now_ns, uint64_t now_s,
	struct problem *p);

/* -- parts of the transaction of an enrolment -- */

/* 0 and whether the node may not do anything else before it. silent: its requests do not say which
 * process they are of. */
int agent_clone_locked(
	struct registry *r, const char *node_id, bool silent, bool *ret_locked, struct problem *p);
/* The node has enrolled: what was known of its instances is void. */
void agent_clone_build_reset(struct store_txn *txn, const char *node_id);

#endif
