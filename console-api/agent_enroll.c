/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enrolment is one transaction: the token's use, the node (where its key is new), the membership
 * and the audit row come together or not at all. The token's record is compared, so of two clients
 * that spend its last use one conflicts, reads again, and finds it used up. A node that asks again
 * with the token that it joined by gets the same answer and spends nothing: its first answer was
 * lost.
 */
#include "console-api/agent.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/agent_clone.h"
#include "console-api/audit.h"
#include "console-api/events.h"
#include "console-api/jointoken.h"
#include "console-api/member.h"
#include "console-api/network.h"
#include "console-api/node.h"
#include "lib/cleanup.h"
#include "lib/hash.h"
#include "lib/json.h"

static int key_member(
	struct json_object *o, const char *name, struct key *ret_key, struct problem *p)
{
	char pointer[32];
	const char *text;
	struct err e = {0};

	if (json_get_string(o, "", name, 1, 64, &text, &e))
		return problem_from_json(p, &e);
	if (!key_parse(text, ret_key) || key_is_zero(ret_key)) {
		snprintf(pointer, sizeof(pointer), "/%s", name);
		return problem_invalid(
			p, pointer, "%s: must be a key of 32 bytes in base64", pointer);
	}
	return 0;
}

int enrolment_from_json(struct json_object *o, struct enrolment *ret_enrolment, struct problem *p)
{
	struct enrolment en = {0};
	const char *secret, *name = "", *address = NULL, *version = "";
	struct err e = {0};
	size_t len;
	int rc;

	if (json_get_string(o, "", "secret", 1, 64, &secret, &e) ||
		json_opt_string(o, "", "name", 0, 255, &name, &e) ||
		json_opt_string(o, "", "address", 1, 64, &address, &e) ||
		json_opt_string(o, "", "version", 0, AGENT_VERSION_MAX, &version, &e))
		return problem_from_json(p, &e);
	rc = key_member(o, "public_key", &en.public_key, p);
	if (!rc)
		rc = key_member(o, "sign_key", &en.sign_key, p);
	if (rc)
		return rc;
	if (address) {
		if (!ip_parse(address, &en.address))
			return problem_invalid(p, "/address",
				"/address: must be an address without a prefix length");
		en.has_address = true;
	}
	snprintf(en.name, sizeof(en.name), "%s", name);
	snprintf(en.version, sizeof(en.version), "%s", version);
	if (key_unbase64(secret, true, en.secret, sizeof(en.secret), &len) ||
		len != sizeof(en.secret)) {
		sodium_memzero(&en, sizeof(en));
		return problem_invalid(p, "/secret",
			"/secret: must be 32 bytes in URL-safe base64 without padding");
	}
	*ret_enrolment = en;
	sodium_memzero(&en, sizeof(en));
	return 0;
}

struct enrol {
	struct actor *actor; /* in the token's organization */
	const struct enrolment *en;
	uint64_t now_s;
	struct enrolled *out;
	char public_hex[2 * KEY_LEN + 1];
	char sign_hex[2 * KEY_LEN + 1];
};

/* Finds the node of this key; -ENOENT without a problem when it is new. */
static int known_node(
	struct registry *r, struct enrol *en, struct record *ret_node, struct problem *p)
{
	char id[NETMAP_ID_MAX + 1];
	struct key sign_key;
	int rc = registry_index(r, KEY("/node-keys/%s", en->public_hex), id, NULL, p);

	if (!rc)
		rc = node_load(r, id, ret_node, p);
	if (rc)
		return rc;
	if (!key_parse(record_text(ret_node->o, "sign_key"), &sign_key))
		return problem_from_store(p, -VAN_E_CORRUPT);
	if (!key_equal(&sign_key, &en->en->sign_key))
		return problem_set(p, 409, "key_taken",
			"the public key is that of another node: every node needs an identity of its "
			"own, do not copy a state directory");
	return 0;
}

int agent_enroll_check(
	struct registry *r, const struct enrolment *en, uint64_t now_s, struct problem *p)
{
	struct enrol ctx = {.en = en};
	CLEANUP(record) struct record token = {0};
	CLEANUP(record) struct record node = {0};
	struct problem unknown = {0};
	int rc = jointoken_find(r, en->secret, &token, p);

	if (rc)
		return rc;
	rc = jointoken_check(token.o, now_s, p);
	hash_hex(en->public_key.bytes, KEY_LEN, ctx.public_hex);
	if (rc && !known_node(r, &ctx, &node, &unknown) &&
		!jointoken_spent_by(
			r, record_text(token.o, "id"), record_text(node.o, "id"), &unknown)) {
		*p = (struct problem){0};
		return 0;
	}
	return rc;
}

/*
 * That somebody has the public key's other half is seen at the first handshake only. So that nobody
 * can take the key of a node that was removed, it comes back only with the signing key that it had.
 */
static int check_gone(struct registry *r, const struct enrol *en, struct problem *p)
{
	CLEANUP(record) struct record gone = {0};
	char id[NETMAP_ID_MAX + 1];
	struct key sign_key;
	int rc = registry_index(r, KEY("/gone-keys/%s", en->public_hex), id, NULL, p);

	if (!rc)
		rc = registry_load(r, KEY("/gone/%s", id), &gone, p);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (key_parse(record_text(gone.o, "sign_key"), &sign_key) &&
		key_equal(&sign_key, &en->en->sign_key))
		return 0;
	return problem_set(p, 409, "key_taken",
		"the public key was that of a node that was removed: every node needs an identity of "
		"its own");
}

static int build_node(struct registry *r, struct store_txn *txn, struct enrol *en,
	int64_t ephemeral_s, struct record *ret_node, struct problem *p)
{
	CLEANUP(json) struct json_object *node = json_object_new_object();
	char text[KEY_TEXT_LEN], other[NETMAP_ID_MAX + 1], seconds[24], now[21];
	const char *id = en->out->node_id, *org = en->actor->org;
	int rc = registry_index(r, KEY("/sign-keys/%s", en->sign_hex), other, NULL, p);

	if (!rc)
		return problem_set(p, 409, "key_taken",
			"the signing key is that of another node: every node needs an identity of its "
			"own, do not copy a state directory");
	if (rc != -ENOENT)
		return rc;
	registry_new_id("node", en->out->node_id);
	rc = quota_build_add(r, txn, org, QUOTA_NODES, 1, p);
	if (!rc)
		rc = node_build_name(r, txn, org, en->en->name, en->out->node_name, p);
	if (rc)
		return rc;
	registry_now_text(now);
	json_set_string(node, "id", id);
	json_set_string(node, "org", org);
	json_set_string(node, "name", en->out->node_name);
	key_format(&en->en->public_key, text);
	json_set_string(node, "public_key", text);
	key_format(&en->en->sign_key, text);
	json_set_string(node, "sign_key", text);
	json_object_object_add(node, "teps", json_object_new_array());
	json_set_bool(node, "nat", false);
	json_set_string(node, "version", en->en->version);
	json_set_int(node, "ephemeral_s", ephemeral_s);
	json_set_string(node, "created_at", now);
	store_txn_expect(txn, KEY("/nodes/%s", id), 0);
	store_txn_expect(txn, KEY("/node-keys/%s", en->public_hex), 0);
	store_txn_expect(txn, KEY("/sign-keys/%s", en->sign_hex), 0);
	registry_put(txn, KEY("/nodes/%s", id), node);
	registry_put_index(txn, KEY("/names/%s/node/%s", org, en->out->node_name), id);
	registry_put_index(txn, KEY("/node-keys/%s", en->public_hex), id);
	registry_put_index(txn, KEY("/sign-keys/%s", en->sign_hex), id);
	if (ephemeral_s) {
		snprintf(seconds, sizeof(seconds), "%lld", (long long)ephemeral_s);
		store_txn_put(txn, KEY("/ephemeral/%s", id), seconds);
	}
	registry_audit_change(txn, en->actor, "node.enroll", "node", id, NULL, node);
	ret_node->o = STEAL(node);
	return 0;
}

/* REGISTRY_NO_CHANGE when the node is in the network already and has a right to hear so. */
static int already_there(
	struct registry *r, struct enrol *en, struct json_object *token, struct problem *p)
{
	CLEANUP(store_item) struct store_item member = {0};
	int rc = store_get(
		r->store, KEY("/members/%s/%s", en->out->net_id, en->out->node_id), &member);

	if (rc == -ENOENT)
		return 0;
	if (rc)
		return problem_from_store(p, rc);
	rc = jointoken_spent_by(r, record_text(token, "id"), en->out->node_id, p);
	if (rc == -ENOENT)
		rc = jointoken_check(token, en->now_s, p);
	return rc ? rc : REGISTRY_NO_CHANGE;
}

/*
 * A node that is in the network already. REGISTRY_NO_CHANGE, but for one that is refused because of
 * a clone, or went back to version 0.1 (agent_clone.h): whoever has a token that is good shows which
 * of the machines is meant.
 */
static int unlock(struct registry *r, struct store_txn *txn, struct enrol *en, struct record *token,
	struct json_object *node, struct problem *p)
{
	const char *id = en->out->node_id;
	bool locked;
	int rc = agent_clone_locked(r, id, en->en->silent, &locked, p);

	if (rc || !locked)
		return rc ? rc : REGISTRY_NO_CHANGE;
	rc = jointoken_check(token->o, en->now_s, p);
	if (!rc)
		rc = jointoken_build_spend(txn, token, id, en->now_s, p);
	if (rc)
		return rc;
	agent_clone_build_reset(txn, id);
	registry_audit_change(txn, en->actor, "node.re-enrol", "node", id, node, node);
	registry_event(txn, record_org(node), EVENT_INFO, "node", id,
		en->en->silent ? "%s enrolled again with version 0.1"
			       : "%s enrolled again after its identity was in use twice",
		en->out->node_name);
	return 0;
}

/* By a token that is bound to a node: it keeps its id, its name and its memberships. known: whose
 * key was shown, or NULL. */
static int build_rekey(struct registry *r, struct store_txn *txn, struct enrol *en,
	struct record *token, struct json_object *known, struct problem *p)
{
	CLEANUP(record) struct record node = {0};
	CLEANUP(json) struct json_object *before = NULL;
	const char *id = record_text(token->o, "node");
	bool spent;
	int rc = node_load(r, id, &node, p);

	if (known && strcmp(record_text(known, "id"), id) != 0)
		return problem_set(p, 409, "key_taken",
			"the public key is that of another node, which the token is not for");
	if (rc == -ENOENT)
		return problem_set(p, 403, "token_wrong",
			"the node of this token was deleted: ask for a new token");
	if (rc)
		return rc;
	snprintf(en->out->node_id, sizeof(en->out->node_id), "%s", id);
	snprintf(en->out->node_name, sizeof(en->out->node_name), "%s", record_text(node.o, "name"));
	rc = known ? jointoken_spent_by(r, record_text(token->o, "id"), id, p) : -ENOENT;
	spent = !rc;
	if (rc == -ENOENT)
		rc = jointoken_check(token->o, en->now_s, p);
	if (rc)
		return rc;
	if (known && !spent)
		return problem_set(p, 409, "keys_kept",
			"this machine still has the keys of %s, which the token is to replace: stop vand, "
			"remove its state_dir, start it and join again",
			en->out->node_name);
	if (known)
		return REGISTRY_NO_CHANGE;
	if (json_object_deep_copy(node.o, &before, NULL))
		abort();
	rc = node_build_rekey(r, txn, &node, &en->en->public_key, &en->en->sign_key, p);
	if (!rc)
		rc = jointoken_build_spend(txn, token, id, en->now_s, p);
	agent_clone_build_reset(txn, id);
	if (!rc)
		registry_audit_change(txn, en->actor, "node.rekey", "node", id, before, node.o);
	if (!rc)
		registry_event(txn, record_org(node.o), EVENT_WARNING, "node", id,
			"%s has enrolled again with new keys", en->out->node_name);
	return rc;
}

static int build_enroll(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct enrol *en = ctx;
	CLEANUP(record) struct record token = {0};
	CLEANUP(record) struct record node = {0};
	struct network net;
	bool known;
	int rc = jointoken_find(r, en->en->secret, &token, p);

	if (!rc)
		snprintf(en->actor->org, sizeof(en->actor->org), "%s", record_org(token.o));
	if (!rc)
		rc = network_load(r, record_text(token.o, "network"), &net, p);
	if (rc == -ENOENT)
		return problem_set(p, 403, "token_wrong",
			"the network of this token was deleted: ask for a new token");
	if (rc)
		return rc;
	memcpy(en->out->net_id, net.id, sizeof(net.id));
	memcpy(en->out->net_name, net.spec.name, sizeof(net.spec.name));
	rc = known_node(r, en, &node, p);
	if (rc && rc != -ENOENT)
		return rc;
	known = rc == 0;
	if (record_text(token.o, "node")[0])
		return build_rekey(r, txn, en, &token, known ? node.o : NULL, p);
	if (known) {
		snprintf(en->out->node_id, sizeof(en->out->node_id), "%s",
			record_text(node.o, "id"));
		snprintf(en->out->node_name, sizeof(en->out->node_name), "%s",
			record_text(node.o, "name"));
		if (strcmp(record_org(node.o), en->actor->org) != 0)
			return problem_set(p, 403, "token_wrong",
				"the token is of another organization than this node");
		rc = already_there(r, en, token.o, p);
		if (rc == REGISTRY_NO_CHANGE)
			return unlock(r, txn, en, &token, node.o, p);
		if (rc)
			return rc;
		agent_clone_build_reset(txn, en->out->node_id);
		store_txn_expect(txn, KEY("/nodes/%s", en->out->node_id), node.mod_revision);
	} else {
		/* Before anything else about the request: what is wrong with the token. */
		rc = jointoken_check(token.o, en->now_s, p);
		if (!rc)
			rc = check_gone(r, en, p);
		if (!rc)
			rc = build_node(r, txn, en, record_int(token.o, "ephemeral_s"), &node, p);
		if (rc)
			return rc;
	}
	rc = jointoken_build_spend(txn, &token, en->out->node_id, en->now_s, p);
	if (!rc)
		rc = member_build_add(r, txn, &net, en->out->node_id, en->out->node_name,
			en->en->has_address ? &en->en->address : NULL, net.spec.require_approval,
			p);
	if (rc)
		return rc;
	member_build_audit(txn, en->actor, "node.join", &net, node.o, NULL);
	registry_event(txn, net.org, EVENT_INFO, "node", en->out->node_id, "%s %s network %s%s",
		en->out->node_name, known ? "joined" : "enrolled and joined", net.spec.name,
		net.spec.require_approval ? ", and waits for approval" : "");
	return 0;
}

int agent_enroll(struct registry *r, const struct actor *actor, const struct enrolment *en,
	uint64_t now_s, struct enrolled *ret_enrolled, struct problem *p)
{
	CLEANUP(record) struct record member = {0};
	struct enrolled out = {0};
	struct actor own = *actor;
	struct enrol ctx = {.actor = &own, .en = en, .now_s = now_s, .out = &out};
	int rc;

	hash_hex(en->public_key.bytes, KEY_LEN, ctx.public_hex);
	hash_hex(en->sign_key.bytes, KEY_LEN, ctx.sign_hex);
	rc = registry_transact(r, build_enroll, &ctx, NULL, p);
	if (rc < 0)
		return rc;
	out.created = rc != REGISTRY_NO_CHANGE;
	rc = registry_load(r, KEY("/members/%s/%s", out.net_id, out.node_id), &member, p);
	if (rc && rc != -ENOENT)
		return rc;
	out.approved = rc || member_is_active(member.o);
	*ret_enrolled = out;
	return 0;
}
