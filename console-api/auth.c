/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys are 256 random bits, so their SHA-256 is stored and looked up: nothing slower is needed
 * against guessing, and a copy of the store opens nothing.
 *
 * Replay of agent requests: a nonce is remembered for as long as its time stamp is within the
 * window. The table has a fixed size; an entry gives way only when it has run out, and when there
 * is no room the request is refused, never let through unremembered. A sender has only a part of
 * the table, which starts where its name says: one that sends all that its rate allows fills its
 * own part, and whoever shares some of that signs again. After a restart the table is
 * empty, so a DELETE that was stamped before the start is refused as skewed: it alone would do
 * lasting harm if repeated (an enrolment is idempotent, a report is put right by the next). The
 * node signs it again by the server's time that comes with the refusal.
 */
#include "console-api/auth.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "console-api/agent.h"
#include "console-api/limit.h"
#include "console-api/node.h"
#include "console-api/xalloc.h"
#include "lib/hash.h"

#define NONCE_SLOTS  524288u /* memory is used as they fill up: 16 MiB at most */
#define NONCE_SPAN   65536u  /* of one sender: 218 requests a second for the whole window */
#define NONCE_PROBES 32u
#define KEY_TEXT_MAX 256 /* of a Bearer key */

struct nonce {
	uint8_t bytes[16];
	uint64_t node; /* hash */
	uint64_t until_s;
};

struct auth {
	struct limit *by_key, *by_enrolling, *by_failing;
	uint64_t start_s;
	unsigned char hash_key[crypto_shorthash_KEYBYTES];
	struct nonce *nonces;
};

struct auth *auth_new(unsigned int requests_per_s, unsigned int enrolments_per_s,
	unsigned int failures_per_s, uint64_t start_s)
{
	struct auth *a = xcalloc(1, sizeof(*a));

	a->by_key = limit_new(requests_per_s, 2 * requests_per_s);
	a->by_enrolling = limit_new(enrolments_per_s, 2 * enrolments_per_s);
	a->by_failing = limit_new(failures_per_s, 10 * failures_per_s);
	a->start_s = start_s;
	crypto_shorthash_keygen(a->hash_key);
	a->nonces = xcalloc(NONCE_SLOTS, sizeof(*a->nonces));
	return a;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	limit_free(a->by_key);
	limit_free(a->by_enrolling);
	limit_free(a->by_failing);
	free(a->nonces);
	free(a);
}

/* One host: an IPv4 address, or the /64 that an IPv6 host has to itself. */
static size_t host_len(const struct ip *ip)
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
	unsigned int retry_after_s;

	if (limit_peek(
		    a->by_failing, c->address.b, host_len(&c->address), c->now_ns, &retry_after_s))
		return 0;
	return too_many(p, retry_after_s, "wrong credentials from this address");
}

static int unauthenticated(
	struct auth *a, const struct auth_client *c, struct problem *p, const char *why)
{
	limit_take(a->by_failing, c->address.b, host_len(&c->address), c->now_ns, NULL);
	return problem_set(p, 401, "unauthenticated", "%s", why);
}

static void fill_actor(
	struct actor *actor, const char *kind, const char *id, const struct ip *address)
{
	char text[IP_TEXT_LEN] = "";

	if (address->family != AF_UNSPEC)
		ip_format(address, text);
	snprintf(actor->who, sizeof(actor->who), "%s%s%.40s", kind, id[0] ? ":" : "", id);
	snprintf(actor->address, sizeof(actor->address), "%s", text);
}

int auth_api_key(struct auth *a, struct registry *r, const struct auth_client *c,
	struct actor *ret_actor, struct problem *p)
{
	const char *key = c->authorization;
	char hex[2 * HASH_LEN + 1];
	struct record rec = {0};
	uint8_t hash[HASH_LEN];
	unsigned int retry_after_s;
	int rc;

	if (!key || strncasecmp(key, "Bearer ", 7) != 0)
		return unauthenticated(a, c, p,
			"this needs an API key: send the header \"Authorization: Bearer KEY\"");
	key += 7;
	key += strspn(key, " ");
	if (strlen(key) > KEY_TEXT_MAX)
		return unauthenticated(a, c, p, "that is not an API key of this console");
	hash_sha256(HASH_PIECES({key, strlen(key)}), hash);
	hash_hex(hash, sizeof(hash), hex);
	rc = registry_load(r, KEY("/apikeys/%s", hex), &rec, p);
	if (rc == -ENOENT)
		return unauthenticated(a, c, p, "that is not an API key of this console");
	if (rc)
		return rc;
	fill_actor(ret_actor, "key", record_text(rec.o, "id"), &c->address);
	record_done(&rec);
	if (!limit_take(a->by_key, hash, sizeof(hash), c->now_ns, &retry_after_s))
		return too_many(p, retry_after_s, "requests with this key");
	return 0;
}

/* -- signatures -- */

static int skewed(const struct auth_client *c, struct problem *p)
{
	int rc = problem_set(p, 401, "clock_skew",
		"the request's time is more than %d s off: sign again by server_time",
		AGENTSIG_WINDOW_S);

	p->server_time_s = c->now_s;
	return rc;
}

static bool in_window(uint64_t stamp_s, uint64_t now_s)
{
	return stamp_s <= now_s + AGENTSIG_WINDOW_S && stamp_s + AGENTSIG_WINDOW_S >= now_s &&
	       stamp_s <= UINT64_MAX - AGENTSIG_WINDOW_S;
}

/* 0 and remembered, -VAN_E_UNAUTHENTIC when it was seen, -VAN_E_LIMIT when there is no room. */
static int remember_nonce(
	struct auth *a, const struct agentsig *sig, const char *sender, uint64_t now_s)
{
	struct nonce *room = NULL;
	uint64_t node, at;

	crypto_shorthash(
		(unsigned char *)&node, (const unsigned char *)sender, strlen(sender), a->hash_key);
	crypto_shorthash((unsigned char *)&at, sig->nonce, sizeof(sig->nonce), a->hash_key);
	at = node + at % NONCE_SPAN;
	for (unsigned int i = 0; i < NONCE_PROBES; i++) {
		struct nonce *n = &a->nonces[(at + i) % NONCE_SLOTS];

		if (n->until_s < now_s) {
			/* Look on: the same one may stand behind one that ran out. */
			room = room ? room : n;
			continue;
		}
		if (n->node == node && !memcmp(n->bytes, sig->nonce, sizeof(n->bytes)))
			return -VAN_E_UNAUTHENTIC;
	}
	if (!room)
		return -VAN_E_LIMIT;
	memcpy(room->bytes, sig->nonce, sizeof(room->bytes));
	room->node = node;
	room->until_s = sig->time_s + AGENTSIG_WINDOW_S;
	return 0;
}

static int check_nonce(struct auth *a, const struct auth_client *c, const struct agentsig *sig,
	const char *sender, struct problem *p)
{
	switch (remember_nonce(a, sig, sender, c->now_s)) {
	case 0:
		return 0;
	case -VAN_E_LIMIT:
		return too_many(p, 1, "signed requests at once");
	default:
		return unauthenticated(
			a, c, p, "this request was seen already: sign every request anew");
	}
}

int auth_agent(struct auth *a, struct registry *r, const struct auth_client *c,
	const struct agentsig_request *request, struct actor *ret_actor,
	char ret_node_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	struct agentsig_request signed_request = *request;
	struct node_key key;
	unsigned int retry_after_s;
	struct agentsig sig;
	int rc;

	if (!c->authorization || agentsig_parse(c->authorization, &sig) ||
		strlen(sig.node) > NETMAP_ID_MAX)
		return unauthenticated(a, c, p, "this needs a node's signature (VAN-Ed25519)");
	if (!in_window(sig.time_s, c->now_s) ||
		(!strcmp(request->method, "DELETE") && sig.time_s < a->start_s))
		return skewed(c, p);
	rc = node_sign_key(r, sig.node, &key, p);
	if (rc == -ENOENT)
		return unauthenticated(a, c, p, "this console does not know that node: join again");
	if (rc)
		return rc;
	signed_request.console_id = r->console_id;
	if (agentsig_verify(&sig, &signed_request, &key.sign_public))
		return unauthenticated(
			a, c, p, "the signature is not of this request by this node's key");
	/* Not before: a stranger could spend what is the node's. */
	if (!limit_take(a->by_key, sig.node, strlen(sig.node), c->now_ns, &retry_after_s))
		return too_many(p, retry_after_s, "requests of this node");
	rc = check_nonce(a, c, &sig, sig.node, p);
	if (rc)
		return rc;
	if (key.gone)
		return agent_gone(p);
	fill_actor(ret_actor, "node", sig.node, &c->address);
	memcpy(ret_node_id, sig.node, strlen(sig.node) + 1);
	return 0;
}

int auth_enrolment_rate(struct auth *a, const struct auth_client *c, struct problem *p)
{
	unsigned int retry_after_s;

	if (limit_take(a->by_enrolling, c->address.b, host_len(&c->address), c->now_ns,
		    &retry_after_s))
		return 0;
	return too_many(p, retry_after_s, "enrolments from this address");
}

int auth_enrolment(struct auth *a, const struct auth_client *c,
	const struct agentsig_request *request, const struct key *sign_key, struct actor *ret_actor,
	struct problem *p)
{
	struct agentsig_request signed_request = *request;
	char sender[KEY_TEXT_LEN];
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
	key_format(sign_key, sender);
	rc = check_nonce(a, c, &sig, sender, p);
	if (rc)
		return rc;
	fill_actor(ret_actor, "enroll", "", &c->address);
	return 0;
}
