/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of netmaps: whatever changes what members of a network see puts /maprev/net/ID in the
 * same transaction, whatever changes a node's own part puts /maprev/node/ID, a console that comes or
 * goes puts /maprev/consoles. A node's map has as its number the highest mod_revision among these
 * marks. So it rises exactly when the map may look different, and never falls: leaving a network
 * marks the node itself.
 *
 * A map is put together of the node's view (agent_view.c), which is its own, and of the peers of its
 * networks (agent_net.c), which are the same text for all members. A whole map points into that
 * text, without a copy. A patch says what is new since a number: of peers, those that changed after
 * it; of the rest, the difference of the two versions of the view. Where either does not reach back
 * to the number, or the node is in a network that it was not in then, the map goes whole.
 */
#include "console-api/agent.h"

#include <inttypes.h>
#include <json-c/printbuf.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/agent_net.h"
#include "console-api/agent_view.h"
#include "console-api/member.h"
#include "console-api/soft.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/netmap_delta.h"

#define PLAIN (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
#define PIECES_NET \
	5 /* of a whole map, for each network at most: what is before, [, peers, peers, ] */

int agent_gone(struct problem *p)
{
	return problem_set(p, 410, "node_removed",
		"this node was removed from the mesh: join again with a new token");
}

static void fill_scope(struct agent_scope *scope, const struct agent_view *v)
{
	scope->count = 0;
	scope->members = v->members;
	scope->pressed = v->pressed;
	scope->any = v->net_count > AGENT_SCOPE_MAX;
	for (size_t i = 0; i < v->net_count && i < AGENT_SCOPE_MAX; i++)
		memcpy(scope->nets[scope->count++], v->nets[i].id, sizeof(v->nets[i].id));
}

int agent_netmap_number(struct registry *r, const char *node_id, uint64_t *ret_number,
	struct agent_scope *ret_scope, struct problem *p)
{
	const struct agent_view *v;
	int rc = agent_view_get(r, node_id, &v, p);

	if (rc)
		return rc;
	*ret_number = v->number;
	if (ret_scope)
		fill_scope(ret_scope, v);
	return 0;
}

/* -- the hash -- */

struct hashing {
	struct registry *r;
	const char *node_id;
	uint64_t number;
	struct printbuf *out;
	struct problem *p;
	int rc;
};

static void take_text(void *ctx, const char *text, size_t len)
{
	struct hashing *h = ctx;

	printbuf_memappend(h->out, text, (int)len);
}

/* In the place of a network's peers: the sum of their hashes, without that of the node itself. */
static void take_slot(void *ctx, const char *net_id)
{
	struct hashing *h = ctx;
	const struct agent_peer *self;
	char hex[2 * HASH_LEN + 1];
	uint8_t sum[HASH_LEN];
	struct agent_net *net;
	int rc;

	if (!net_id[0]) {
		sprintbuf(h->out, "%" PRIu64, h->number);
		return;
	}
	rc = agent_net_get(h->r, net_id, &net, h->p);
	if (rc) {
		h->rc = rc == -ENOENT ? problem_from_store(h->p, -EBUSY) : rc;
		return;
	}
	memcpy(sum, net->sum, sizeof(sum));
	self = agent_net_peer(net, h->node_id);
	if (self && self->text)
		netmap_delta_sum_take(sum, self->hash);
	hash_hex(sum, sizeof(sum), hex);
	sprintbuf(h->out, "\"%s\"", hex);
}

static int hash_of(struct registry *r, const char *node_id, const struct agent_view *v,
	char ret_hex[2 * HASH_LEN + 1], struct problem *p)
{
	struct hashing h = {
		.r = r, .node_id = node_id, .number = v->number, .out = printbuf_new(), .p = p};
	const struct agent_view_walk walk = {.between = take_text, .slot = take_slot, .ctx = &h};
	uint8_t hash[HASH_LEN];

	if (!h.out)
		abort();
	agent_view_walk(r, v->text, &walk);
	hash_sha256(HASH_PIECES({h.out->buf, (size_t)h.out->bpos}), hash);
	hash_hex(hash, sizeof(hash), ret_hex);
	printbuf_free(h.out);
	return h.rc;
}

/* -- patches -- */

static void add(struct json_object *o, const char *name, struct json_object *value)
{
	if (json_object_object_add(o, name, value))
		abort();
}

static struct json_object *member_object(struct json_object *o, const char *name)
{
	struct json_object *member = json_object_object_get(o, name);

	if (!member) {
		member = json_object_new_object();
		add(o, name, member);
	}
	return member;
}

/* A merge patch (RFC 7396) that makes `to` of `from`, objects without null; NULL: they are the same.
 */
static struct json_object *difference(struct json_object *from, struct json_object *to)
{
	struct json_object *patch = json_object_new_object();

	json_object_object_foreach(from, gone, old)
	{
		(void)old;
		if (!json_object_object_get_ex(to, gone, NULL))
			add(patch, gone, NULL);
	}
	json_object_object_foreach(to, name, value)
	{
		struct json_object *have = json_object_object_get(from, name), *part;

		if (json_object_is_type(have, json_type_object) &&
			json_object_is_type(value, json_type_object)) {
			part = difference(have, value);
			if (part)
				add(patch, name, part);
		} else if (!have || !json_object_equal(have, value)) {
			add(patch, name, json_object_get(value));
		}
	}
	if (json_object_object_length(patch))
		return patch;
	json_object_put(patch);
	return NULL;
}

static struct json_object *parse_view(const char *text)
{
	struct json_object *o = NULL;

	return json_parse(text, strlen(text), &o, NULL) ? NULL : o;
}

static bool has_new_network(struct json_object *before, struct json_object *now)
{
	struct json_object *had = json_object_object_get(before, "networks");

	json_object_object_foreach(json_object_object_get(now, "networks"), id, network)
	{
		(void)network;
		if (!json_object_object_get_ex(had, id, NULL))
			return true;
	}
	return false;
}

/* What changed of the node's own part since the number. False: a patch cannot say. */
static bool own_changes(const struct agent_view *v, uint64_t since, struct json_object **ret_patch)
{
	CLEANUP(json) struct json_object *before = NULL;
	CLEANUP(json) struct json_object *now = NULL;

	*ret_patch = NULL;
	if (since >= v->from)
		return true;
	if (!v->before || since < v->before_from)
		return false;
	before = parse_view(v->before);
	now = parse_view(v->text);
	if (!before || !now || has_new_network(before, now))
		return false;
	*ret_patch = difference(before, now);
	return true;
}

/* Prints the text that the object was given, which is JSON already. */
static int print_raw(struct json_object *o, struct printbuf *out, int level, int flags)
{
	const struct agent_peer *peer = json_object_get_userdata(o);

	(void)level;
	(void)flags;
	return printbuf_memappend(out, peer->text, (int)peer->len);
}

/* Adds the peers of a network that are new since the number. False: a patch cannot say, or would be
 * no smaller than the map. */
static bool add_peers(
	const struct agent_net *net, const char *node_id, uint64_t since, struct json_object *patch)
{
	struct json_object *peers = NULL;
	size_t len = 0;

	if (since < net->floor)
		return false;
	list_for_each (it, &net->changes) {
		struct agent_peer *peer = container_of(it, struct agent_peer, by_change);
		struct json_object *o = NULL;

		if (peer->changed <= since)
			break;
		if (!strcmp(peer->id, node_id))
			continue;
		len += peer->len;
		if (2 * len > net->text_len && len > 4096)
			return false;
		if (!peers)
			peers = member_object(
				member_object(member_object(patch, "networks"), net->id), "peers");
		if (peer->text) {
			o = json_object_new_boolean(true); /* anything that is small */
			json_object_set_serializer(o, print_raw, peer, NULL);
		}
		add(peers, peer->id, o);
	}
	return true;
}

/* *ret_patch NULL: the map has to go whole. */
static int make_patch(struct registry *r, const char *node_id, const struct agent_view *v,
	uint64_t since, const char *hash, struct json_object **ret_patch, struct problem *p)
{
	CLEANUP(json) struct json_object *patch = NULL;

	*ret_patch = NULL;
	if (!own_changes(v, since, &patch))
		return 0;
	if (!patch)
		patch = json_object_new_object();
	json_set_string(patch, "hash", hash);
	json_set_int(patch, "number", (int64_t)v->number);
	for (size_t i = 0; i < v->net_count; i++) {
		struct agent_net *net;
		int rc = agent_net_get(r, v->nets[i].id, &net, p);

		if (rc)
			return rc == -ENOENT ? problem_from_store(p, -EBUSY) : rc;
		if (!add_peers(net, node_id, since, patch))
			return 0;
	}
	*ret_patch = STEAL(patch);
	return 0;
}

/* -- whole maps -- */

/* What an answer points into. */
struct kept {
	struct json_object *o; /* holds the text that is the answer's own; or NULL … */
	char *text;            /* … and this does; heap */
	struct agent_text **texts;
	size_t text_count;
};

static void release(void *ctx)
{
	struct kept *k = ctx;

	json_object_put(k->o);
	free(k->text);
	for (size_t i = 0; i < k->text_count; i++)
		agent_text_unref(k->texts[i]);
	free(k->texts);
	free(k);
}

void agent_answer_done(struct agent_answer *a)
{
	free(a->pieces);
	if (a->keep)
		a->release(a->keep);
	*a = (struct agent_answer){0};
}

struct assembly {
	struct registry *r;
	const char *node_id;
	struct agent_answer *a;
	struct kept *k;
	struct problem *p;
	int rc;
};

static void add_piece(void *ctx, const char *text, size_t len)
{
	struct assembly *as = ctx;

	if (len)
		as->a->pieces[as->a->count++] =
			(struct iovec){.iov_base = (void *)(uintptr_t)text, .iov_len = len};
}

/* All peers but the node itself, which stands among them with a comma before or behind it. */
static void add_all_peers(void *ctx, const char *net_id)
{
	struct assembly *as = ctx;
	const struct agent_peer *self;
	size_t len, from, to;
	struct agent_net *net;
	const char *text;
	int rc = agent_net_get(as->r, net_id, &net, as->p);

	if (rc) {
		as->rc = rc == -ENOENT ? problem_from_store(as->p, -EBUSY) : rc;
		return;
	}
	as->k->texts[as->k->text_count++] = agent_net_all(net);
	text = agent_text_data(net->all, &len);
	self = agent_net_peer(net, as->node_id);
	from = to = len;
	if (self && self->text) {
		from = self->offset;
		to = self->offset + self->len;
		if (to < len)
			to++;
		else if (from)
			from--;
	}
	add_piece(as, "[", 1);
	add_piece(as, text, from);
	add_piece(as, text + to, len - to);
	add_piece(as, "]", 1);
}

/* The view in the form of whole maps, but for the peers, whose slots stay. */
static struct json_object *whole_view(
	const struct registry *r, const struct agent_view *v, const char *hash)
{
	CLEANUP(json) struct json_object *keyed = parse_view(v->text);
	struct json_object *whole, *networks;
	char slot[AGENT_SLOT_LEN];

	if (!keyed)
		return NULL;
	json_object_object_foreach(json_object_object_get(keyed, "networks"), id, with_slot)
	{
		(void)id;
		add(with_slot, "peers", json_object_new_object());
	}
	whole = netmap_delta_whole(keyed);
	if (!whole)
		return NULL;
	json_set_int(whole, "number", (int64_t)v->number);
	json_set_string(whole, "hash", hash);
	networks = json_object_object_get(whole, "networks");
	for (size_t i = 0; i < json_object_array_length(networks); i++) {
		struct json_object *network = json_object_array_get_idx(networks, i);

		agent_view_slot(r, record_text(network, "id"), slot);
		json_set_string(network, "peers", slot);
	}
	return whole;
}

static int make_whole(struct registry *r, const char *node_id, const struct agent_view *v,
	const char *hash, struct agent_answer *ret_answer, struct problem *p)
{
	struct agent_answer a = {.release = release};
	struct kept *k = xcalloc(1, sizeof(*k));
	struct assembly as = {.r = r, .node_id = node_id, .a = &a, .k = k, .p = p};
	const struct agent_view_walk walk = {
		.between = add_piece, .slot = add_all_peers, .ctx = &as};

	a.keep = k;
	k->o = whole_view(r, v, hash);
	if (!k->o) {
		agent_answer_done(&a);
		return problem_from_store(p, -VAN_E_CORRUPT);
	}
	k->texts = xcalloc(v->net_count, sizeof(struct agent_text *));
	a.pieces = xcalloc(PIECES_NET * v->net_count + 1, sizeof(*a.pieces));
	agent_view_walk(r, json_object_to_json_string_ext(k->o, PLAIN), &walk);
	if (as.rc) {
		agent_answer_done(&a);
		return as.rc;
	}
	*ret_answer = a;
	return 0;
}

/* Takes the patch. Answers wait for slow clients in thousands: the text alone is kept, as tight as it
 * is. */
static void patch_answer(struct json_object *patch, struct agent_answer *ret_answer)
{
	struct kept *k = xcalloc(1, sizeof(*k));
	struct iovec *piece = xcalloc(1, sizeof(*piece));
	const char *text = json_object_to_json_string_length(patch, PLAIN, &piece->iov_len);

	k->text = xcalloc(1, piece->iov_len + 1);
	memcpy(k->text, text, piece->iov_len);
	json_object_put(patch);
	piece->iov_base = k->text;
	*ret_answer = (struct agent_answer){
		.patch = true, .pieces = piece, .count = 1, .release = release, .keep = k};
}

int agent_netmap(struct registry *r, const char *node_id, const uint64_t *since,
	struct agent_answer *ret_answer, struct problem *p)
{
	struct json_object *patch = NULL;
	char hash[2 * HASH_LEN + 1];
	const struct agent_view *v;
	int rc = agent_view_get(r, node_id, &v, p);

	if (!rc)
		rc = hash_of(r, node_id, v, hash, p);
	if (!rc && since)
		rc = make_patch(r, node_id, v, *since, hash, &patch, p);
	if (rc)
		return rc;
	if (!patch)
		return make_whole(r, node_id, v, hash, ret_answer, p);
	patch_answer(patch, ret_answer);
	return 0;
}

/* What comes after the prefix, or NULL. */
static const char *tail_after(const char *key, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(key, prefix, len) ? NULL : key + len;
}

static void note_change(struct registry *r, const struct store_op *op)
{
	const char *id;

	if ((id = tail_after(op->key, "/maprev/node/")))
		soft_doubt_view(r->soft, id);
	else if ((id = tail_after(op->key, "/instances/")))
		soft_doubt_instance(r->soft, id);
	else if ((id = tail_after(op->key, "/nodes/")) && op->kind == STORE_DELETE)
		soft_forget(r->soft, id);
	else if (!strcmp(op->key, "/maprev/consoles"))
		r->consoles_turn++;
}

void agent_on_change(void *registry, uint64_t revision, const struct store_op *ops, size_t n)
{
	struct registry *r = registry;

	agent_nets_on_change(&r->nets, revision, ops, n);
	for (size_t i = 0; i < n; i++)
		note_change(r, &ops[i]);
	if (!n) {
		r->consoles_turn++;
		soft_doubt_all(r->soft);
	}
}

int agent_leave(struct registry *r, const struct actor *actor, const char *node_id,
	const char *net_id, struct problem *p)
{
	CLEANUP(store_item) struct store_item item = {0};
	int rc = -ENOENT;

	/* First, and one answer for all others: which networks there are is not for a node to know. */
	if (strlen(net_id) <= NETMAP_ID_MAX && !strchr(net_id, '/'))
		rc = store_get(r->store, KEY("/node-nets/%s/%s", node_id, net_id), &item);
	if (rc == -ENOENT)
		return problem_set(
			p, 404, "not_found", "this node is in no network \"%.64s\"", net_id);
	if (rc)
		return problem_from_store(p, rc);
	return member_remove(r, actor, net_id, node_id, NULL, p);
}
