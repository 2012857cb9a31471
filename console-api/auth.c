/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys are 256 random bits, so their SHA-256 is stored and looked up: nothing slower is needed
 * against guessing, and a copy of the store opens nothing. So telling a right key from a wrong one is
 * one hash and one look-up, cheap enough to be done for everybody: the limit of wrong tries refuses
 * tries that are wrong only. Otherwise one stranger would lock out all who share his address. It does
 * not slow guessing down, which is hopeless anyhow; it keeps the noise small.
 *
 * Replay of agent requests: a nonce is remembered (nonce.h) for as long as its time stamp is within
 * the window. What is remembered is bounded; nothing is forgotten before its time, and when there is
 * no room the request is refused, never let through unremembered. One sender may have a part of it
 * only: one that sends all that its rate allows fills its own part, and there is a part for those that
 * send little. Enrolments, whose keys cost nothing, have a memory of their own, and there it is the
 * address that has a part. After a restart nothing is remembered, so a DELETE that was stamped before
 * the start is refused as skewed, and so is, at any time, one that is stamped more than AHEAD_S ahead:
 * it alone would do lasting harm if repeated (an enrolment is idempotent, a report is put right by the
 * next). The node signs it again by the server's time that comes with the refusal.
 */
#include "console-api/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "console-api/agent.h"
#include "console-api/apikey.h"
#include "console-api/limit.h"
#include "console-api/node.h"
#include "console-api/nonce.h"
#include "console-api/xalloc.h"
#include "lib/clock.h"

/* A stamp that is as far ahead as it may be is remembered for twice the window, so what one sender may
 * have is for 600 s: of a node 436 requests a second, of an address 218 enrolments. */
#define NODE_NONCES_BYTES  (64u << 20)
#define NODE_NONCES_EACH   262144u
#define ENROL_NONCES_BYTES (16u << 20)
#define ENROL_NONCES_EACH  131072u
#define KEY_TEXT_MAX       256 /* of a Bearer key */
#define WORK_BURST_S       10  /* of work_ms that may be spent at once */
#define AHEAD_S            2   /* of a DELETE's stamp, at most */

struct auth {
	struct limit *by_key, *by_address, *by_enrolling, *by_failing, *by_work;
	uint64_t start_s;
	struct nonces *of_nodes, *of_enrolments;
};

struct auth *auth_new(const struct auth_rates *rates, uint64_t start_s)
{
	struct auth *a = xcalloc(1, sizeof(*a));

	a->by_key = limit_new(rates->requests, 2 * rates->requests);
	a->by_address = limit_new(rates->address, 2 * rates->address);
	a->by_enrolling = limit_new(rates->enrolments, 2 * rates->enrolments);
	a->by_failing = limit_new(rates->failures, 10 * rates->failures);
	a->by_work = limit_new(rates->work_ms, WORK_BURST_S * rates->work_ms);
	a->start_s = start_s;
	a->of_nodes = nonces_new(NODE_NONCES_BYTES, NODE_NONCES_EACH);
	a->of_enrolments = nonces_new(ENROL_NONCES_BYTES, ENROL_NONCES_EACH);
	return a;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	limit_free(a->by_key);
	limit_free(a->by_address);
	limit_free(a->by_enrolling);
	limit_free(a->by_failing);
	limit_free(a->by_work);
	nonces_free(a->of_nodes);
	nonces_free(a->of_enrolments);
	free(a);
}

size_t auth_host_len(const struct ip *ip)
{
	return ip->family == AF_INET ? 4 : 8;
}

static int too_many(struct problem *p, unsigned int retry_after_s, const char *what)
{
	int rc = problem_set(
		p, 429, "too_many_requests", "too many %s: wait %u s", what, retry_after_s);

	p->retry_after_s = retry_after_s;
	return rc;
}

int auth_gate(struct auth *a, const struct auth_client *c, struct problem *p)
{
	size_t len = auth_host_len(&c->address);
	unsigned int retry_after_s;

	if (!limit_take(a->by_address, c->address.b, len, c->now_ns, &retry_after_s))
		return too_many(p, retry_after_s, "requests from this address");
	return 0;
}

static int unauthenticated(
	struct auth *a, const struct auth_client *c, struct problem *p, const char *why)
{
	unsigned int retry_after_s;

	if (!limit_take(a->by_failing, c->address.b, auth_host_len(&c->address), c->now_ns,
		    &retry_after_s))
		return too_many(p, retry_after_s, "wrong credentials from this address");
	return problem_set(p, 401, "unauthenticated", "%s", why);
}

static void fill_actor(struct actor *actor, const char *kind, const char *id, const char *org,
	const struct auth_client *c)
{
	char text[IP_TEXT_LEN] = "";

	if (c->address.family != AF_UNSPEC)
		ip_format(&c->address, text);
	*actor = (struct actor){0};
	snprintf(actor->who, sizeof(actor->who), "%s%s%.40s", kind, id[0] ? ":" : "", id);
	snprintf(actor->address, sizeof(actor->address), "%s", text);
	snprintf(actor->org, sizeof(actor->org), "%s", org);
	snprintf(actor->request, sizeof(actor->request), "%s", c->request_id ? c->request_id : "");
}

int auth_api_key(struct auth *a, struct registry *r, const struct auth_client *c,
	struct actor *ret_actor, char ret_hash[2 * HASH_LEN + 1], struct problem *p)
{
	const char *text = c->authorization;
	char hash[2 * HASH_LEN + 1];
	unsigned int retry_after_s;
	struct apikey key;
	int rc;

	if (!text || strncasecmp(text, "Bearer ", 7) != 0)
		return unauthenticated(a, c, p,
			"this needs an API key: send the header \"Authorization: Bearer KEY\"");
	text += 7;
	text += strspn(text, " ");
	if (strlen(text) > KEY_TEXT_MAX)
		return unauthenticated(a, c, p, "that is not an API key of this console");
	apikey_hash(text, hash);
	rc = apikey_check(r, hash, c->now_s, &key, p);
	if (rc == -ENOENT)
		return unauthenticated(a, c, p, "that is not an API key of this console");
	if (rc)
		return rc;
	/* Not before: strangers could fill the tables of rates with keys that are none. */
	if (!limit_take(a->by_key, hash, strlen(hash), c->now_ns, &retry_after_s))
		return too_many(p, retry_after_s, "requests with this key");
	if (!limit_peek(a->by_work, hash, strlen(hash), c->now_ns, &retry_after_s))
		return too_many(p, retry_after_s, "requests with this key that are much work");
	fill_actor(ret_actor, "key", key.id, key.org, c);
	ret_actor->role = key.role;
	if (ret_hash)
		memcpy(ret_hash, hash, sizeof(hash));
	return 0;
}

void auth_charge(struct auth *a, const char *key_hash, uint64_t cpu_ns, uint64_t now_ns)
{
	limit_charge(
		a->by_work, key_hash, strlen(key_hash), now_ns, (double)cpu_ns / (double)NS_PER_MS);
}

/* -- signatures -- */

static int skewed(const struct auth_client *c, struct problem *p)
{
	int rc = problem_set(
		p, 401, "clock_skew", "the request's time is off: sign again by server_time");

	p->server_time_s = c->now_s;
	return rc;
}

static bool in_window(uint64_t stamp_s, uint64_t now_s)
{
	return stamp_s <= now_s + AGENTSIG_WINDOW_S && stamp_s + AGENTSIG_WINDOW_S >= now_s &&
	       stamp_s <= UINT64_MAX - AGENTSIG_WINDOW_S;
}

static int check_time(const struct auth *a, const struct auth_client *c, const char *method,
	uint64_t stamp_s, struct problem *p)
{
	bool fits = in_window(stamp_s, c->now_s);

	if (!strcmp(method, "DELETE"))
		fits = fits && stamp_s >= a->start_s && stamp_s <= c->now_s + AHEAD_S;
	return fits ? 0 : skewed(c, p);
}

/* Of a sender by his name, whatever that is. */
static int check_nonce(struct auth *a, struct nonces *t, const struct auth_client *c,
	const struct agentsig *sig, const void *name, size_t len, struct problem *p)
{
	switch (nonces_take(t, name, len, sig->nonce, sig->time_s + AGENTSIG_WINDOW_S, c->now_s)) {
	case 0:
		return 0;
	case -VAN_E_LIMIT:
		return too_many(p, 1, "signed requests at once");
	default:
		return unauthenticated(
			a, c, p, "this request was seen already: sign every request anew");
	}
}

static bool is_signed_for(const char *console_id, const struct agentsig *sig,
	const struct agentsig_request *request, const struct key *sign_key)
{
	struct agentsig_request signed_request = *request;

	signed_request.console_id = console_id;
	return !agentsig_verify(sig, &signed_request, sign_key);
}

/* For this console, so that it cannot be repeated at another one of the mesh, or be got by somebody
 * who pretends to be one. Agents of version 0.1 know the mesh's id only. NULL, or what is wrong. */
static const char *signature_trouble(const struct registry *r, const struct agentsig *sig,
	const struct agentsig_request *request, const struct key *sign_key)
{
	if (is_signed_for(r->self_id, sig, request, sign_key))
		return NULL;
	if (!is_signed_for(r->console_id, sig, request, sign_key))
		return "the signature is not of this request by this node's key";
	return r->mesh_signatures
		       ? NULL
		       : "this console takes no requests as vand of version 0.1 signs them: upgrade "
			 "vand on this node";
}

int auth_agent(struct auth *a, struct registry *r, const struct auth_client *c,
	const struct agentsig_request *request, struct actor *ret_actor, struct auth_node *ret_node,
	struct problem *p)
{
	struct node_key key;
	unsigned int retry_after_s;
	struct agentsig sig;
	const char *trouble;
	int rc;

	if (!c->authorization || agentsig_parse(c->authorization, &sig) ||
		strlen(sig.node) > NETMAP_ID_MAX)
		return unauthenticated(a, c, p, "this needs a node's signature (VAN-Ed25519)");
	rc = check_time(a, c, request->method, sig.time_s, p);
	if (rc)
		return rc;
	rc = node_sign_key(r, sig.node, &key, p);
	if (rc == -ENOENT)
		return unauthenticated(a, c, p, "this console does not know that node: join again");
	if (rc)
		return rc;
	trouble = signature_trouble(r, &sig, request, &key.sign_public);
	if (trouble)
		return unauthenticated(a, c, p, trouble);
	/* Not before: a stranger could spend what is the node's. */
	if (!limit_take(a->by_key, sig.node, strlen(sig.node), c->now_ns, &retry_after_s))
		return too_many(p, retry_after_s, "requests of this node");
	rc = check_nonce(a, a->of_nodes, c, &sig, sig.node, strlen(sig.node), p);
	if (rc)
		return rc;
	if (key.gone)
		return agent_gone(p);
	fill_actor(ret_actor, "node", sig.node, key.org, c);
	memcpy(ret_node->id, sig.node, strlen(sig.node) + 1);
	ret_node->sign_key = key.sign_public;
	ret_node->signed_s = sig.time_s;
	return 0;
}

int auth_enrolment_rate(struct auth *a, const struct auth_client *c, struct problem *p)
{
	unsigned int retry_after_s;

	if (limit_take(a->by_enrolling, c->address.b, auth_host_len(&c->address), c->now_ns,
		    &retry_after_s))
		return 0;
	return too_many(p, retry_after_s, "enrolments from this address");
}

int auth_enrolment(struct auth *a, const struct auth_client *c,
	const struct agentsig_request *request, const struct key *sign_key, struct actor *ret_actor,
	struct problem *p)
{
	struct agentsig_request signed_request = *request;
	struct agentsig sig;
	int rc;

	if (!c->authorization || agentsig_parse(c->authorization, &sig) ||
		strcmp(sig.node, "enroll") != 0)
		return unauthenticated(a, c, p,
			"an enrolment is signed (VAN-Ed25519, node=enroll) with the key in its body");
	if (!in_window(sig.time_s, c->now_s))
		return skewed(c, p);
	signed_request.console_id = "";
	if (agentsig_verify(&sig, &signed_request, sign_key))
		return unauthenticated(a, c, p,
			"the signature is not of this enrolment by the sign_key in its body");
	rc = check_nonce(a, a->of_enrolments, c, &sig, c->address.b, auth_host_len(&c->address), p);
	if (rc)
		return rc;
	fill_actor(ret_actor, "enroll", "", "", c);
	return 0;
}
