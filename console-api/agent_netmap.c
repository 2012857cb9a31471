/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of netmaps: whatever changes what members of a network see puts /maprev/net/ID in the
 * same transaction, whatever changes a node's own part puts /maprev/node/ID. A node's map has as
 * its number the highest mod_revision among its own mark and those of its networks. So it rises
 * exactly when the map may look different, and never falls: leaving a network marks the node
 * itself.
 */
#include "console-api/agent.h"

#include <stdlib.h>
#include <string.h>
#include "console-api/member.h"
#include "console-api/network.h"
#include "console-api/node.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

int agent_gone(struct problem *p)
{
	return problem_set(p, 410, "node_removed",
		"this node was removed from the mesh: join again with a new token");
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}

static int mark_of(struct registry *r, const char *key, uint64_t *ret_mod, struct problem *p)
{
	CLEANUP(store_item) struct store_item item = {0};
	int rc = store_get(r->store, key, &item);

	if (!rc)
		*ret_mod = item.mod_revision;
	return rc && rc != -ENOENT ? problem_from_store(p, rc) : rc;
}

static void fill_scope(struct agent_scope *scope, const struct store_items *nets)
{
	scope->count = 0;
	scope->any = nets->count > AGENT_SCOPE_MAX;
	for (size_t i = 0; i < nets->count && i < AGENT_SCOPE_MAX; i++)
		copy_text(scope->nets[scope->count++], sizeof(scope->nets[0]),
			registry_key_tail(nets->items[i].key));
}

int agent_netmap_number(struct registry *r, const char *node_id, uint64_t *ret_number,
	struct agent_scope *ret_scope, struct problem *p)
{
	CLEANUP(store_items) struct store_items nets = {0};
	uint64_t number = 0, mark = 0;
	int rc = mark_of(r, KEY("/maprev/node/%s", node_id), &number, p);

	if (rc == -ENOENT)
		return agent_gone(p);
	if (rc)
		return rc;
	rc = store_range(r->store, KEY("/node-nets/%s/", node_id), NULL, 0, &nets);
	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < nets.count; i++) {
		rc = mark_of(
			r, KEY("/maprev/net/%s", registry_key_tail(nets.items[i].key)), &mark, p);
		if (rc && rc != -ENOENT)
			return rc;
		if (!rc && mark > number)
			number = mark;
	}
	if (ret_scope)
		fill_scope(ret_scope, &nets);
	*ret_number = number;
	return 0;
}

/* -- building -- */

static size_t read_macs(struct json_object *member, struct mac macs[NETMAP_MACS_MAX])
{
	struct json_object *array = json_object_object_get(member, "macs");
	size_t n = 0;

	for (size_t i = 0; array && i < json_object_array_length(array) && n < NETMAP_MACS_MAX;
		i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(array, i));

		if (text && mac_parse(text, &macs[n]))
			n++;
	}
	return n;
}

static size_t read_ips(struct json_object *member, struct cidr ips[NETMAP_IPS_MAX])
{
	struct json_object *array = json_object_object_get(member, "ips");
	size_t n = 0;

	for (size_t i = 0; array && i < json_object_array_length(array) && n < NETMAP_IPS_MAX;
		i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(array, i));

		if (text && cidr_parse(text, &ips[n]))
			n++;
	}
	return n;
}

static unsigned int read_flags(struct json_object *node)
{
	return json_object_get_boolean(json_object_object_get(node, "nat")) ? NETMAP_NAT : 0;
}

/* -ENOENT without a problem when the node was removed meanwhile. */
static int read_peer(struct registry *r, const char *node_id, struct json_object *member,
	struct netmap_peer *peer, struct problem *p)
{
	CLEANUP(record) struct record node = {0};
	struct json_object *teps;
	int rc = node_load(r, node_id, &node, p);

	if (rc)
		return rc;
	copy_text(peer->id, sizeof(peer->id), node_id);
	copy_text(peer->name, sizeof(peer->name), record_text(node.o, "name"));
	if (!key_parse(record_text(node.o, "public_key"), &peer->public_key))
		return problem_from_store(p, -VAN_E_CORRUPT);
	teps = json_object_object_get(node.o, "teps");
	for (size_t i = 0; teps && i < json_object_array_length(teps); i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(teps, i));

		if (text && peer->tep_count < NETMAP_TEPS_MAX &&
			endpoint_parse(text, 0, &peer->teps[peer->tep_count]))
			peer->tep_count++;
	}
	peer->mac_count = read_macs(member, peer->macs);
	peer->ip_count = read_ips(member, peer->ips);
	peer->flags = read_flags(node.o);
	return 0;
}

/* The node's own MACs and addresses in the network. */
static int read_own(
	struct registry *r, const char *own_id, struct netmap_network *out, struct problem *p)
{
	CLEANUP(record) struct record member = {0};
	int rc = registry_load(r, KEY("/members/%s/%s", out->id, own_id), &member, p);

	if (rc)
		return rc;
	out->mac_count = read_macs(member.o, out->macs);
	out->ip_count = read_ips(member.o, out->ips);
	return 0;
}

/* All members but the one with this id. */
static int read_peers(
	struct registry *r, const char *except_id, struct netmap_network *out, struct problem *p)
{
	CLEANUP(store_items) struct store_items members = {0};
	int rc = store_range(r->store, KEY("/members/%s/", out->id), NULL, 0, &members);

	if (rc)
		return problem_from_store(p, rc);
	out->peers = xcalloc(members.count, sizeof(*out->peers));
	for (size_t i = 0; i < members.count; i++) {
		const char *node_id = registry_key_tail(members.items[i].key);
		CLEANUP(json) struct json_object *member = NULL;
		const char *value = members.items[i].value;

		if (!strcmp(node_id, except_id))
			continue;
		if (json_parse(value, strlen(value), &member, NULL))
			return problem_from_store(p, -VAN_E_CORRUPT);
		rc = read_peer(r, node_id, member, &out->peers[out->peer_count], p);
		if (rc == -ENOENT)
			continue;
		if (rc)
			return rc;
		out->peer_count++;
	}
	return 0;
}

static int read_networks(struct registry *r, struct netmap *map, struct problem *p)
{
	CLEANUP(store_items) struct store_items nets = {0};
	int rc = store_range(r->store, KEY("/node-nets/%s/", map->node_id), NULL, 0, &nets);

	if (rc)
		return problem_from_store(p, rc);
	map->networks = xcalloc(nets.count, sizeof(*map->networks));
	for (size_t i = 0; i < nets.count; i++) {
		struct netmap_network *out = &map->networks[map->network_count];
		struct network net;

		rc = network_load(r, registry_key_tail(nets.items[i].key), &net, p);
		if (rc == -ENOENT)
			continue;
		if (rc)
			return rc;
		copy_text(out->id, sizeof(out->id), net.id);
		copy_text(out->name, sizeof(out->name), net.spec.name);
		out->van_id = net.van_id;
		out->cidr = net.spec.cidr;
		out->cidr6 = net.spec.cidr6;
		out->encryption = net.spec.encryption;
		out->mtu = net.spec.mtu;
		rc = read_own(r, map->node_id, out, p);
		if (rc == -ENOENT)
			continue; /* left meanwhile */
		if (rc)
			return rc;
		map->network_count++;
	}
	return 0;
}

/* The map without its peers. */
static int read_map(
	struct registry *r, const char *node_id, struct netmap **ret_map, struct problem *p)
{
	CLEANUP(netmap) struct netmap *map = xcalloc(1, sizeof(*map));
	CLEANUP(record) struct record node = {0};
	int rc = agent_netmap_number(r, node_id, &map->number, NULL, p);

	if (rc)
		return rc;
	rc = node_load(r, node_id, &node, p);
	if (rc)
		return rc == -ENOENT ? agent_gone(p) : rc;
	memcpy(map->mesh, r->mesh, sizeof(map->mesh));
	copy_text(map->console, sizeof(map->console), r->console_id);
	map->generation = r->store->generation;
	copy_text(map->node_id, sizeof(map->node_id), node_id);
	copy_text(map->node_name, sizeof(map->node_name), record_text(node.o, "name"));
	if (!key_parse(record_text(node.o, "public_key"), &map->node_key))
		return problem_from_store(p, -VAN_E_CORRUPT);
	map->node_flags = read_flags(node.o);
	rc = read_networks(r, map, p);
	if (rc)
		return rc;
	*ret_map = STEAL(map);
	return 0;
}

int agent_netmap(
	struct registry *r, const char *node_id, struct netmap **ret_map, struct problem *p)
{
	CLEANUP(netmap) struct netmap *map = NULL;
	int rc = read_map(r, node_id, &map, p);

	for (size_t i = 0; !rc && map && i < map->network_count; i++)
		rc = read_peers(r, node_id, &map->networks[i], p);
	if (rc)
		return rc;
	*ret_map = STEAL(map);
	return 0;
}

/* All members of a network as text: a map of that network alone, which no node is the owner of. */
static int make_peers(struct registry *r, const struct netmap *like, size_t at,
	struct peers **ret_peers, struct problem *p)
{
	CLEANUP(netmap) struct netmap *all = xcalloc(1, sizeof(*all));
	CLEANUP(json) struct json_object *o = NULL;
	struct json_object *network;
	int rc;

	*all = *like;
	all->network_count = 1;
	all->networks = xcalloc(1, sizeof(*all->networks));
	all->networks[0] = like->networks[at];
	rc = read_peers(r, "", &all->networks[0], p);
	if (rc)
		return rc;
	o = netmap_to_json(all);
	network = json_object_array_get_idx(json_object_object_get(o, "networks"), 0);
	*ret_peers = peers_new(json_object_object_get(network, "peers"));
	return 0;
}

static int add_peers(struct registry *r, const struct netmap *map, size_t at,
	struct json_object *network, struct problem *p)
{
	const char *net_id = map->networks[at].id;
	struct peers *peers = NULL;
	uint64_t mark = 0;
	int rc = mark_of(r, KEY("/maprev/net/%s", net_id), &mark, p);

	if (rc)
		return rc == -ENOENT ? problem_from_store(p, -EBUSY) : rc;
	peers = peers_cache_find(&r->peers, net_id, mark);
	if (!peers) {
		rc = make_peers(r, map, at, &peers, p);
		if (rc)
			return rc;
		peers_cache_put(&r->peers, net_id, mark, peers);
	}
	json_object_object_add(network, "peers", peers_array(peers, map->node_id));
	return 0;
}

int agent_netmap_json(
	struct registry *r, const char *node_id, struct json_object **ret_json, struct problem *p)
{
	CLEANUP(netmap) struct netmap *map = NULL;
	CLEANUP(json) struct json_object *o = NULL;
	struct json_object *networks;
	int rc = read_map(r, node_id, &map, p);

	if (rc || !map)
		return rc;
	o = netmap_to_json(map);
	networks = json_object_object_get(o, "networks");
	for (size_t i = 0; i < map->network_count; i++) {
		rc = add_peers(r, map, i, json_object_array_get_idx(networks, i), p);
		if (rc)
			return rc;
	}
	*ret_json = STEAL(o);
	return 0;
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
