/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/jointoken.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/audit.h"
#include "console-api/form.h"
#include "console-api/network.h"
#include "console-api/node.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/token.h"

static uint64_t now_seconds(void)
{
	return clock_wall_ns() / NS_PER_S;
}

int jointoken_spec_from_json(
	struct json_object *o, struct jointoken_spec *ret_spec, struct problem *p)
{
	struct jointoken_spec spec = {.uses = 1, .ttl_s = 3600};
	struct form f;
	int rc;

	form_init(&f, o, p);
	form_int(&f, "uses", FORM_OPTIONAL, 1, JOINTOKEN_USES_MAX, &spec.uses);
	form_int(&f, "ttl_s", FORM_OPTIONAL, 1, JOINTOKEN_TTL_MAX_S, &spec.ttl_s);
	if (form_int(&f, "ephemeral_s", FORM_OPTIONAL, 0, JOINTOKEN_EPHEMERAL_MAX_S,
		    &spec.ephemeral_s) &&
		spec.ephemeral_s && spec.ephemeral_s < JOINTOKEN_EPHEMERAL_MIN_S)
		form_fail(&f, "ephemeral_s", "must be 0 (nodes stay) or at least %d",
			JOINTOKEN_EPHEMERAL_MIN_S);
	rc = form_end(&f);
	if (!rc)
		*ret_spec = spec;
	return rc;
}

static void secret_hash(const uint8_t *secret, char ret_hex[2 * HASH_LEN + 1])
{
	uint8_t hash[HASH_LEN];

	hash_sha256(HASH_PIECES({secret, TOKEN_SECRET_LEN}), hash);
	hash_hex(hash, sizeof(hash), ret_hex);
}

static const char *state_of(struct json_object *token, uint64_t now_s)
{
	if (json_object_get_boolean(json_object_object_get(token, "revoked")))
		return "revoked";
	if (record_int(token, "uses_left") <= 0)
		return "used_up";
	if ((uint64_t)record_int(token, "expires_s") <= now_s)
		return "expired";
	return "active";
}

static struct json_object *render(const struct record *rec, const char *net_name)
{
	struct json_object *view = json_object_new_object();
	const char *node = record_text(rec->o, "node");
	char text[21];

	json_set_string(view, "id", record_text(rec->o, "id"));
	json_set_string(view, "network", record_text(rec->o, "network"));
	json_set_string(view, "network_name", net_name);
	json_set_string(view, "node", node[0] ? node : NULL);
	json_set_int(view, "uses", record_int(rec->o, "uses"));
	json_set_int(view, "uses_left", record_int(rec->o, "uses_left"));
	json_set_int(view, "ephemeral_s", record_int(rec->o, "ephemeral_s"));
	json_set_string(view, "state", state_of(rec->o, now_seconds()));
	clock_format_rfc3339((uint64_t)record_int(rec->o, "expires_s") * NS_PER_S, text);
	json_set_string(view, "expires_at", text);
	json_set_string(view, "created_at", record_text(rec->o, "created_at"));
	json_set_int(view, "revision", (int64_t)rec->mod_revision);
	return view;
}

/* -- issue -- */

struct issue {
	const struct actor *actor;
	const char *net_ref;
	const char *node_ref; /* re-key this node; then there is no net_ref */
	const struct jointoken_spec *spec;
	uint8_t secret[TOKEN_SECRET_LEN];
	struct network net;
	struct record rec;
};

/* The network that a re-key token is of: the node's first one. */
static int network_of_node(struct registry *r, struct issue *is,
	char ret_node_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	CLEANUP(store_items) struct store_items nets = {0};
	int rc = node_by_ref(r, is->actor->org, is->node_ref, ret_node_id, p);

	if (rc)
		return rc;
	rc = store_range(r->store, KEY("/node-nets/%s/", ret_node_id), NULL, 1, &nets);
	if (rc)
		return problem_from_store(p, rc);
	if (!nets.count)
		return problem_set(p, 409, "no_network",
			"node \"%.64s\" is in no network: delete it and let it join with a token",
			is->node_ref);
	return network_by_ref(r, is->actor->org, registry_key_tail(nets.items[0].key), &is->net, p);
}

static int build_issue(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct issue *is = ctx;
	char id[NETMAP_ID_MAX + 1], hex[2 * HASH_LEN + 1], now[21];
	char node_id[NETMAP_ID_MAX + 1] = "";
	struct json_object *o;
	int rc = is->node_ref ? network_of_node(r, is, node_id, p)
			      : network_by_ref(r, is->actor->org, is->net_ref, &is->net, p);

	if (!rc)
		rc = quota_build_add(r, txn, is->net.org, QUOTA_TOKENS, 1, p);
	if (rc)
		return rc;
	record_done(&is->rec);
	is->rec.o = o = json_object_new_object();
	randombytes_buf(is->secret, sizeof(is->secret));
	secret_hash(is->secret, hex);
	registry_new_id("tok", id);
	registry_now_text(now);
	json_set_string(o, "id", id);
	json_set_string(o, "org", is->net.org);
	json_set_string(o, "network", is->net.id);
	if (node_id[0])
		json_set_string(o, "node", node_id);
	json_set_string(o, "hash", hex);
	json_set_int(o, "uses", is->spec->uses);
	json_set_int(o, "uses_left", is->spec->uses);
	json_set_int(o, "ephemeral_s", is->spec->ephemeral_s);
	json_set_int(o, "expires_s", (int64_t)now_seconds() + is->spec->ttl_s);
	json_set_bool(o, "revoked", false);
	json_set_string(o, "created_at", now);
	store_txn_expect(txn, KEY("/nets/%s", is->net.id), is->net.mod_revision);
	store_txn_expect(txn, KEY("/tokens/%s", id), 0);
	store_txn_expect(txn, KEY("/token-hash/%s", hex), 0);
	registry_put(txn, KEY("/tokens/%s", id), o);
	registry_put_index(txn, KEY("/token-hash/%s", hex), id);
	registry_put_index(txn, KEY("/net-tokens/%s/%s", is->net.id, id), "");
	registry_put_index(txn, KEY("/org-tokens/%s/%s", is->net.org, id), "");
	registry_audit_change(txn, is->actor, "token.issue", "token", id, NULL, o);
	return 0;
}

static int issue(
	struct registry *r, struct issue *is, struct json_object **ret_view, struct problem *p)
{
	char text[TOKEN_TEXT_MAX];
	struct token token = {0};
	int rc = registry_transact(r, build_issue, is, &is->rec.mod_revision, p);

	if (!rc) {
		memcpy(token.pin, r->pin, sizeof(token.pin));
		memcpy(token.secret, is->secret, sizeof(token.secret));
		snprintf(token.url, sizeof(token.url), "%s", r->public_url);
		token_format(&token, text);
		*ret_view = render(&is->rec, is->net.spec.name);
		json_set_string(*ret_view, "token", text);
		sodium_memzero(text, sizeof(text));
		sodium_memzero(&token, sizeof(token));
	}
	sodium_memzero(is->secret, sizeof(is->secret));
	record_done(&is->rec);
	return rc;
}

int jointoken_issue(struct registry *r, const struct actor *actor, const char *net_ref,
	const struct jointoken_spec *spec, struct json_object **ret_view, struct problem *p)
{
	struct issue is = {.actor = actor, .net_ref = net_ref, .spec = spec};

	return issue(r, &is, ret_view, p);
}

int jointoken_issue_rekey(struct registry *r, const struct actor *actor, const char *node_ref,
	int64_t ttl_s, struct json_object **ret_view, struct problem *p)
{
	const struct jointoken_spec spec = {.uses = 1, .ttl_s = ttl_s};
	struct issue is = {.actor = actor, .node_ref = node_ref, .spec = &spec};

	return issue(r, &is, ret_view, p);
}

/* -- list, revoke -- */

/* -ENOENT, without a problem, also for a token of another organization. */
static int load(struct registry *r, const char *org, const char *id, struct record *ret_rec,
	struct problem *p)
{
	int rc = -ENOENT;

	if (id[0] && strlen(id) <= NETMAP_ID_MAX && !strchr(id, '/'))
		rc = registry_load(r, KEY("/tokens/%s", id), ret_rec, p);
	return !rc && strcmp(record_org(ret_rec->o), org) != 0 ? -ENOENT : rc;
}

int jointoken_view(struct registry *r, const char *org, const char *id,
	struct json_object **ret_view, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	struct network net;
	int rc = load(r, org, id, &rec, p);

	if (!rc)
		rc = network_load(r, record_text(rec.o, "network"), &net, p);
	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "token", id) : rc;
	*ret_view = render(&rec, net.spec.name);
	return 0;
}

/* Of an index by token id. */
static int view_indexed(struct registry *r, void *ctx, const struct store_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return jointoken_view(r, ctx, registry_key_tail(item->key), ret_view, p);
}

int jointoken_list(struct registry *r, const char *org, const char *net_ref,
	const struct page *page, struct json_object **ret_list, struct problem *p)
{
	struct registry_key prefix = registry_key("/org-tokens/%s/", org);
	struct network net;
	int rc;

	if (net_ref) {
		rc = network_by_ref(r, org, net_ref, &net, p);
		if (rc)
			return rc;
		prefix = registry_key("/net-tokens/%s/", net.id);
	}
	return page_list(r, prefix.text, page, view_indexed, (void *)(uintptr_t)org, ret_list, p);
}

static int build_revoke(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	const struct registry_edit *ed = ctx;
	CLEANUP(record) struct record rec = {0};
	CLEANUP(json) struct json_object *before = NULL;
	int rc = load(r, ed->actor->org, ed->ref, &rec, p);

	if (rc == -ENOENT)
		return problem_not_found(p, "token", ed->ref);
	if (!rc)
		rc = registry_match(ed->if_match, rec.mod_revision, p);
	if (rc)
		return rc;
	if (json_object_get_boolean(json_object_object_get(rec.o, "revoked")))
		return REGISTRY_NO_CHANGE;
	if (json_object_deep_copy(rec.o, &before, NULL))
		abort();
	json_set_bool(rec.o, "revoked", true);
	json_set_int(rec.o, "dead_s", (int64_t)now_seconds());
	store_txn_expect(txn, KEY("/tokens/%s", ed->ref), rec.mod_revision);
	registry_put(txn, KEY("/tokens/%s", ed->ref), rec.o);
	registry_audit_change(txn, ed->actor, "token.revoke", "token", ed->ref, before, rec.o);
	return 0;
}

int jointoken_revoke(struct registry *r, const struct actor *actor, const char *id,
	const char *if_match, struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .ref = id, .if_match = if_match};

	return registry_edit(r, build_revoke, &ed, NULL, p);
}

/* -- parts of transactions -- */

int jointoken_find(
	struct registry *r, const uint8_t *secret, struct record *ret_rec, struct problem *p)
{
	char hex[2 * HASH_LEN + 1], id[NETMAP_ID_MAX + 1];
	int rc;

	secret_hash(secret, hex);
	rc = registry_index(r, KEY("/token-hash/%s", hex), id, NULL, p);
	if (!rc)
		rc = registry_load(r, KEY("/tokens/%s", id), ret_rec, p);
	if (rc == -ENOENT)
		return problem_set(p, 403, "token_wrong",
			"this console never issued that token, or its network was deleted: ask for a "
			"new one");
	return rc;
}

int jointoken_check(struct json_object *token, uint64_t now_s, struct problem *p)
{
	const char *state = state_of(token, now_s);
	char when[21];

	if (!strcmp(state, "active"))
		return 0;
	if (!strcmp(state, "revoked"))
		return problem_set(
			p, 403, "token_revoked", "the token was revoked: ask for a new one");
	if (!strcmp(state, "used_up"))
		return problem_set(p, 403, "token_used_up",
			"all %lld uses of the token are spent: ask for a new one",
			(long long)record_int(token, "uses"));
	clock_format_rfc3339((uint64_t)record_int(token, "expires_s") * NS_PER_S, when);
	return problem_set(
		p, 403, "token_expired", "the token expired at %s: ask for a new one", when);
}

int jointoken_build_spend(struct store_txn *txn, struct record *token, const char *node_id,
	uint64_t now_s, struct problem *p)
{
	const char *id = record_text(token->o, "id");
	int rc = jointoken_check(token->o, now_s, p);

	if (rc)
		return rc;
	json_set_int(token->o, "uses_left", record_int(token->o, "uses_left") - 1);
	if (!record_int(token->o, "uses_left"))
		json_set_int(token->o, "dead_s", (int64_t)now_s);
	store_txn_expect(txn, KEY("/tokens/%s", id), token->mod_revision);
	registry_put(txn, KEY("/tokens/%s", id), token->o);
	registry_put_index(txn, KEY("/token-uses/%s/%s", id, node_id), "");
	return 0;
}

int jointoken_spent_by(
	struct registry *r, const char *token_id, const char *node_id, struct problem *p)
{
	CLEANUP(store_item) struct store_item item = {0};
	int rc = store_get(r->store, KEY("/token-uses/%s/%s", token_id, node_id), &item);

	return rc && rc != -ENOENT ? problem_from_store(p, rc) : rc;
}

int jointoken_build_delete(struct registry *r, struct store_txn *txn, const char *net_id,
	const char *id, size_t room, struct problem *p)
{
	CLEANUP(store_items) struct store_items uses = {0};
	CLEANUP(record) struct record rec = {0};
	int rc = registry_load(r, KEY("/tokens/%s", id), &rec, p);

	if (rc)
		return rc == -ENOENT ? problem_from_store(p, -VAN_E_CORRUPT) : rc;
	rc = store_range(r->store, KEY("/token-uses/%s/", id), NULL, room, &uses);
	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < uses.count; i++)
		store_txn_delete(txn, uses.items[i].key);
	store_txn_expect(txn, KEY("/tokens/%s", id), rec.mod_revision);
	if (uses.more)
		return 0;
	store_txn_delete(txn, KEY("/token-hash/%s", record_text(rec.o, "hash")));
	store_txn_delete(txn, KEY("/tokens/%s", id));
	store_txn_delete(txn, KEY("/org-tokens/%s/%s", record_org(rec.o), id));
	store_txn_delete(txn, KEY("/net-tokens/%s/%s", net_id, id));
	return 0;
}

int jointoken_build_delete_all(
	struct registry *r, struct store_txn *txn, const char *net_id, struct problem *p)
{
	CLEANUP(store_items) struct store_items tokens = {0};
	int rc = store_range(r->store, KEY("/net-tokens/%s/", net_id), NULL, 0, &tokens);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < tokens.count && !rc; i++)
		rc = jointoken_build_delete(
			r, txn, net_id, registry_key_tail(tokens.items[i].key), 0, p);
	return rc;
}

/* Since when it lets nobody in; 0: it still does. */
static uint64_t dead_since(struct json_object *token, uint64_t now_s)
{
	int64_t dead_s = record_int(token, "dead_s"), expires_s = record_int(token, "expires_s");

	if (!strcmp(state_of(token, now_s), "active"))
		return 0;
	return (uint64_t)(dead_s && dead_s < expires_s ? dead_s : expires_s);
}

int jointoken_build_prune(struct registry *r, struct store_txn *txn, const struct store_item *item,
	uint64_t now_s, size_t room, struct problem *p)
{
	CLEANUP(json) struct json_object *token = NULL;
	struct actor actor = {.who = "console"};
	const char *id = registry_key_tail(item->key);
	uint64_t since_s, uses;
	int rc;

	if (json_parse(item->value, strlen(item->value), &token, NULL))
		return problem_from_store(p, -VAN_E_CORRUPT);
	since_s = dead_since(token, now_s);
	if (!since_s || since_s + JOINTOKEN_DEAD_DAYS * 86400 > now_s)
		return REGISTRY_NO_CHANGE;
	rc = jointoken_build_delete(r, txn, record_text(token, "network"), id, room, p);
	if (rc)
		return rc;
	if (store_count(r->store, KEY("/token-uses/%s/", id), &uses) || uses > room)
		return 0; /* a part of it */
	snprintf(actor.org, sizeof(actor.org), "%s", record_org(token));
	registry_audit_change(txn, &actor, "token.forget", "token", id, token, NULL);
	return 0;
}
