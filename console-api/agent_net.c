/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table is up to date until the store tells of a transaction that put the network's mark: whatever
 * changes what members see of each other does. Then, the peers that these transactions named are
 * read again, or all, when the store's mark is not that of the last transaction that was told of.
 * What is read again is compared, so a peer counts as changed only when its text is another.
 *
 * Peers that have left stay in the table as such: their leaving is part of what is new. When there
 * are more of them than members they are forgotten, and the floor rises to now.
 */
#include "console-api/agent_net.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/agent_map.h"
#include "console-api/registry.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/jsoncanon.h"
#include "lib/netmap_delta.h"

#define BYTES_MAX  (64u << 20) /* of all tables */
#define DIRTY_MAX  256
#define GONE_MIN   64
#define PEER_BYTES (sizeof(struct agent_peer) + 32) /* besides its text */

struct agent_text {
	atomic_uint references;
	size_t len;
	char data[];
};

void agent_text_unref(struct agent_text *t)
{
	if (t && atomic_fetch_sub(&t->references, 1) == 1)
		free(t);
}

const char *agent_text_data(const struct agent_text *t, size_t *ret_len)
{
	*ret_len = t->len;
	return t->data;
}

/* -- the tables -- */

static struct list *bucket_of(struct agent_nets *nets, const char *id)
{
	uint32_t hash = 2166136261u; /* FNV-1a: ids are ours, nobody chooses them */

	while (*id)
		hash = (hash ^ (unsigned char)*id++) * 16777619u;
	return &nets->buckets[hash % AGENT_NETS_BUCKETS];
}

void agent_nets_init(struct agent_nets *nets)
{
	list_init(&nets->used);
	for (size_t i = 0; i < AGENT_NETS_BUCKETS; i++)
		list_init(&nets->buckets[i]);
	nets->bytes = 0;
}

static struct agent_net *find(struct agent_nets *nets, const char *id)
{
	list_for_each (it, bucket_of(nets, id)) {
		struct agent_net *net = container_of(it, struct agent_net, bucket);

		if (!strcmp(net->id, id))
			return net;
	}
	return NULL;
}

static void peer_free(struct agent_peer *peer)
{
	list_del(&peer->by_change);
	free(peer->text);
	free(peer);
}

static void forget(struct agent_nets *nets, struct agent_net *net)
{
	nets->bytes -= net->text_len + net->count * PEER_BYTES;
	list_del(&net->used);
	list_del(&net->bucket);
	for (size_t i = 0; i < net->count; i++)
		peer_free(net->peers[i]);
	free(net->peers);
	free(net->dirty);
	json_object_put(net->head);
	agent_text_unref(net->all);
	free(net);
}

void agent_nets_done(struct agent_nets *nets)
{
	list_for_each_safe (it, &nets->used)
		forget(nets, container_of(it, struct agent_net, used));
}

void agent_nets_trim(struct agent_nets *nets)
{
	list_for_each_safe (it, &nets->used) {
		if (nets->bytes <= BYTES_MAX || it->next == &nets->used)
			return; /* the last one used stays, however large */
		forget(nets, container_of(it, struct agent_net, used));
	}
}

/* -- what the store says -- */

static const char *tail_after(const char *key, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(key, prefix, len) ? NULL : key + len;
}

static void add_dirty(struct agent_net *net, const char *id)
{
	for (size_t i = 0; i < net->dirty_count; i++)
		if (!strcmp(net->dirty[i], id))
			return;
	if (net->dirty_count == DIRTY_MAX || strlen(id) > NETMAP_ID_MAX) {
		net->dirty_all = true;
		return;
	}
	if (!net->dirty)
		net->dirty = xcalloc(DIRTY_MAX, sizeof(*net->dirty));
	memcpy(net->dirty[net->dirty_count++], id, strlen(id) + 1);
}

/* The peers of the network that the transaction is about. */
static void note(struct agent_net *net, const struct store_op *ops, size_t n)
{
	for (size_t i = 0; i < n && !net->dirty_all; i++) {
		const char *id = tail_after(ops[i].key, "/nodes/"), *tail;

		tail = id ? NULL : tail_after(ops[i].key, "/members/");
		if (tail && (tail = tail_after(tail, net->id)) && *tail == '/')
			id = tail + 1;
		if (id)
			add_dirty(net, id);
	}
}

void agent_nets_on_change(
	struct agent_nets *nets, uint64_t revision, const struct store_op *ops, size_t n)
{
	if (!n) {
		agent_nets_done(nets);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const char *id = tail_after(ops[i].key, "/maprev/net/");
		struct agent_net *net = id ? find(nets, id) : NULL;

		if (!net)
			continue;
		if (ops[i].kind == STORE_DELETE) {
			forget(nets, net);
			continue;
		}
		note(net, ops, n);
		net->stale = true;
		net->told = revision;
		if (!strcmp(ops[i].value, REGISTRY_PRESSING))
			net->pressed = revision;
	}
}

/* -- reading -- */

/* Where the id is among the peers, or would be. */
static size_t place_of(const struct agent_net *net, const char *id, bool *ret_there)
{
	size_t low = 0, high = net->count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(net->peers[middle]->id, id);

		if (!order) {
			*ret_there = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_there = false;
	return low;
}

struct agent_peer *agent_net_peer(const struct agent_net *net, const char *id)
{
	bool there;
	size_t at = place_of(net, id, &there);

	return there ? net->peers[at] : NULL;
}

static struct agent_peer *insert(struct agent_net *net, const char *id, size_t at)
{
	struct agent_peer *peer = xcalloc(1, sizeof(*peer));

	if (net->count == net->room) {
		net->room = net->room ? 2 * net->room : 16;
		net->peers = xrealloc(net->peers, net->room, sizeof(struct agent_peer *));
	}
	memmove(&net->peers[at + 1], &net->peers[at],
		(net->count - at) * sizeof(struct agent_peer *));
	net->peers[at] = peer;
	net->count++;
	net->gone++; /* until it has a text */
	memcpy(peer->id, id, strlen(id) + 1);
	list_init(&peer->by_change);
	return peer;
}

/* Takes the text (NULL: it is no peer). */
static void set_text(struct agent_net *net, struct agent_peer *peer, char *text, uint64_t mark)
{
	if (peer->text) {
		netmap_delta_sum_take(net->sum, peer->hash);
		net->text_len -= peer->len;
	} else {
		net->gone--;
	}
	free(peer->text);
	peer->text = text;
	peer->len = text ? strlen(text) : 0;
	if (text) {
		hash_sha256(HASH_PIECES({text, peer->len}), peer->hash);
		netmap_delta_sum_add(net->sum, peer->hash);
		net->text_len += peer->len;
	} else {
		net->gone++;
	}
	peer->changed = mark;
	list_del(&peer->by_change);
	list_add_tail(net->changes.next, &peer->by_change); /* before the first */
}

static int read_peer(
	struct registry *r, struct agent_net *net, const char *id, uint64_t mark, struct problem *p)
{
	CLEANUP(json) struct json_object *o = NULL;
	CLEANUP(free) char *text = NULL;
	struct agent_peer *peer;
	bool there;
	size_t at;
	int rc = agent_map_peer(r, net->id, id, &o, p);

	if (rc && rc != -ENOENT)
		return rc;
	if (o && !(text = jsoncanon(o, NULL)))
		return problem_from_store(p, -VAN_E_CORRUPT);
	at = place_of(net, id, &there);
	if (!there && !text)
		return 0;
	peer = there ? net->peers[at] : insert(net, id, at);
	if (peer->text && text ? strcmp(peer->text, text) != 0 : peer->text || text)
		set_text(net, peer, STEAL(text), mark);
	return 0;
}

/* Every peer that is a member or was one. */
static int read_all(struct registry *r, struct agent_net *net, uint64_t mark, struct problem *p)
{
	CLEANUP(store_items) struct store_items members = {0};
	size_t m = 0, k = 0;
	int rc = store_range(r->store, KEY("/members/%s/", net->id), NULL, 0, &members);

	if (rc)
		return problem_from_store(p, rc);
	/* Both are in the order of ids, and read_peer() may add one where we are. */
	while (!rc && (m < members.count || k < net->count)) {
		const char *id = m < members.count ? registry_key_tail(members.items[m].key) : NULL;
		const char *known = k < net->count ? net->peers[k]->id : NULL;
		int order = !id ? 1 : !known ? -1 : strcmp(id, known);
		size_t count = net->count;

		rc = read_peer(r, net, order <= 0 ? id : known, mark, p);
		m += order <= 0;
		k += order >= 0 || net->count > count;
	}
	return rc;
}

static int read_head(struct registry *r, struct agent_net *net, uint64_t mark, struct problem *p)
{
	CLEANUP(json) struct json_object *head = NULL;
	int rc = agent_map_head(r, net->id, &head, p);

	if (rc)
		return rc;
	if (net->head && json_object_equal(net->head, head))
		return 0;
	json_object_put(net->head);
	net->head = STEAL(head);
	net->head_changed = mark;
	return 0;
}

static void forget_gone(struct agent_net *net)
{
	size_t kept = 0;

	if (net->gone <= GONE_MIN || 2 * net->gone <= net->count)
		return;
	for (size_t i = 0; i < net->count; i++) {
		if (net->peers[i]->text)
			net->peers[kept++] = net->peers[i];
		else
			peer_free(net->peers[i]);
	}
	net->count = kept;
	net->gone = 0;
	net->floor = net->mark;
}

static int refresh(struct registry *r, struct agent_net *net, uint64_t mark, struct problem *p)
{
	bool all = net->told != mark || net->dirty_all;
	int rc = net->mark != mark || !net->head ? read_head(r, net, mark, p) : 0;

	if (!rc && all)
		rc = read_all(r, net, mark, p);
	for (size_t i = 0; !rc && !all && i < net->dirty_count; i++)
		rc = read_peer(r, net, net->dirty[i], mark, p);
	if (rc) {
		net->dirty_all = true; /* half done: all of it the next time */
		return rc;
	}
	agent_text_unref(STEAL(net->all));
	if (!net->mark)
		net->floor = mark; /* this is the first of it that is known */
	net->mark = mark;
	net->stale = false;
	net->dirty_count = 0;
	net->dirty_all = false;
	forget_gone(net);
	return 0;
}

static struct agent_net *make(struct agent_nets *nets, const char *id)
{
	struct agent_net *net = xcalloc(1, sizeof(*net));

	memcpy(net->id, id, strlen(id) + 1);
	net->stale = true;
	net->dirty_all = true;
	list_init(&net->changes);
	list_add_tail(bucket_of(nets, id), &net->bucket);
	list_add_tail(&nets->used, &net->used);
	return net;
}

int agent_net_get(
	struct registry *r, const char *net_id, struct agent_net **ret_net, struct problem *p)
{
	CLEANUP(store_item) struct store_item item = {0};
	struct agent_nets *nets = &r->nets;
	struct agent_net *net = find(nets, net_id);
	size_t before;
	int rc;

	if (!net || net->stale) {
		rc = store_get(r->store, KEY("/maprev/net/%s", net_id), &item);
		if (rc)
			return rc == -ENOENT ? rc : problem_from_store(p, rc);
		if (!net)
			net = make(nets, net_id);
		before = net->text_len + net->count * PEER_BYTES;
		rc = refresh(r, net, item.mod_revision, p);
		nets->bytes += net->text_len + net->count * PEER_BYTES - before;
		if (rc)
			return rc;
	}
	list_del(&net->used);
	list_add_tail(&nets->used, &net->used);
	*ret_net = net;
	return 0;
}

struct agent_text *agent_net_all(struct agent_net *net)
{
	if (!net->all) {
		struct agent_text *t =
			xcalloc(1, sizeof(*t) + net->text_len + net->count - net->gone + 1);

		atomic_init(&t->references, 1);
		for (size_t i = 0; i < net->count; i++) {
			struct agent_peer *peer = net->peers[i];

			if (!peer->text)
				continue;
			if (t->len)
				t->data[t->len++] = ',';
			peer->offset = t->len;
			memcpy(t->data + t->len, peer->text, peer->len);
			t->len += peer->len;
		}
		net->all = t;
	}
	atomic_fetch_add(&net->all->references, 1);
	return net->all;
}
