/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that show something: status, peers, mac, stats. docs/control-socket.md has their
 * forms. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "vand/ctl_internal.h"
#include "vand/reconcile.h"
#include "vand/registry.h"
#include "vand/route.h"
#include "vand/seal.h"
#include "vand/state.h"
#include "vand/worker.h"

#define TAPS_MAX      256
#define PATHS_MAX     256 /* peers whose path's MTU is looked up for one answer */
#define NO_PATH_SHOWN 5   /* peers without a path that status names */

static void add_text(struct json_object *array, const char *text)
{
	json_object_array_add(array, json_object_new_string(text));
}

static void set_count(struct json_object *o, const char *name, uint64_t n)
{
	json_set_int(o, name, n > INT64_MAX ? INT64_MAX : (int64_t)n);
}

/* Seconds since then_ns, or null for never. */
static void set_age(struct json_object *o, const char *name, uint64_t now_ns, uint64_t then_ns)
{
	if (then_ns == 0)
		json_object_object_add(o, name, NULL);
	else
		json_set_int(
			o, name, now_ns > then_ns ? (int64_t)((now_ns - then_ns) / NS_PER_S) : 0);
}

static void add_ips(struct json_object *array, const struct cidr *ips, size_t count)
{
	char text[CIDR_TEXT_LEN];

	for (size_t i = 0; i < count; i++) {
		cidr_format(&ips[i], text);
		add_text(array, text);
	}
}

static bool connected(struct vand *v, const struct key *key)
{
	struct session_view view;
	struct peer *peer = sessions_find_key(v->dataplane.sessions, key);

	if (!peer || !peer->current)
		return false;
	session_view(v->dataplane.sessions, peer, &view);
	return view.state == PEER_CONNECTED;
}

/* -- status -- */

static const struct seal_backend *backend_of(const struct vand *v)
{
	const char *name = v->config.cipher;

	return seal_backend_find(!name || strcmp(name, "auto") == 0 ? NULL : name);
}

static bool cpu_has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_cpu_supports("aes");
#elif defined(__aarch64__)
	return getauxval(AT_HWCAP) & (1ul << 3); /* HWCAP_AES */
#else
	return false;
#endif
}

/* Peers without a path: the first few with the reason, the rest as a number. */
struct no_path {
	const struct sessions *sessions;
	struct json_object *array;
	unsigned int count;
};

static void warn_of_no_path(void *ctx, struct peer *peer)
{
	struct no_path *n = ctx;
	struct session_view view;
	char text[sizeof(view.reason) + 128];

	session_view(n->sessions, peer, &view);
	if (view.state != PEER_NO_PATH || n->count++ >= NO_PATH_SHOWN)
		return;
	snprintf(text, sizeof(text), "no path to %s: %s", peer->name, view.reason);
	add_text(n->array, text);
}

static void no_path_warnings(struct vand *v, struct json_object *array)
{
	struct no_path n = {.sessions = v->dataplane.sessions, .array = array};
	char text[64];

	sessions_each(v->dataplane.sessions, warn_of_no_path, &n);
	if (n.count <= NO_PATH_SHOWN)
		return;
	snprintf(text, sizeof(text), "no path to %u more peers (vanctl peers)",
		n.count - NO_PATH_SHOWN);
	add_text(array, text);
}

static struct json_object *warnings(struct vand *v)
{
	struct json_object *array = json_object_new_array();

	registry_warnings(v->registry, array);
	reconcile_warnings(v->reconcile, array);
	state_warnings(v->state, array);
	if (v->dataplane.running)
		no_path_warnings(v, array);
	if (v->dataplane.running && !sessions_keys_locked(v->dataplane.sessions))
		add_text(array,
			"session keys are in memory that may be swapped out: raise the limit of locked "
			"memory (LimitMEMLOCK=infinity for the service, ulimit -l elsewhere)");
	if (!cpu_has_aes())
		add_text(array,
			"this CPU has no AES instructions: encryption is slow, and its timing may tell "
			"something about the keys to other programs on this machine");
	return array;
}

static struct json_object *underlay(struct vand *v)
{
	struct json_object *array = json_object_new_array();
	CLEANUP(free) struct route_underlay *list = NULL;
	int taps[TAPS_MAX];
	size_t count = 0, tap_count = reconcile_ifindexes(v->reconcile, taps, TAPS_MAX);

	if (route_underlay(v->route, taps, tap_count, &list, &count, NULL) < 0)
		return array;
	for (size_t i = 0; i < count; i++) {
		struct json_object *o;
		char text[IP_TEXT_LEN];

		if (reconcile_is_overlay(v->reconcile, &list[i].address))
			continue;
		o = json_object_new_object();
		ip_format(&list[i].address, text);
		json_set_string(o, "ifname", list[i].ifname);
		json_set_string(o, "address", text);
		json_set_int(o, "mtu", list[i].mtu);
		json_object_array_add(array, o);
	}
	return array;
}

/* What the console wants of this node; it is kept, and not acted on yet. */
static void set_policy(struct json_object *o, const struct netmap_policy *policy)
{
	int64_t own = 0;

	for (size_t i = 0; i < policy->gateway_count; i++)
		own += policy->gateways[i].own;
	json_set_int(o, "gateways", (int64_t)policy->gateway_count);
	json_set_int(o, "gateways_own", own);
	json_set_int(o, "floating_ips", (int64_t)policy->floating_count);
	json_set_string(o, "cloak",
		policy->cloak_pending ? "pending"
		: policy->cloak.on    ? "on"
				      : "off");
	json_set_int(o, "cloak_rules", (int64_t)policy->cloak.rule_count);
}

static struct json_object *network_status(struct vand *v, const struct netmap_network *nn)
{
	struct json_object *o = json_object_new_object(), *ips = json_object_new_array();
	const struct network *n = network_find(&v->dataplane.networks, nn->id);
	const struct network_totals totals = n ? network_totals(n) : (struct network_totals){0};
	const char *error = reconcile_network_error(v->reconcile, nn->id);
	int64_t connected_count = 0;
	char mac[MAC_TEXT_LEN];

	for (size_t i = 0; i < nn->peer_count; i++)
		connected_count += connected(v, &nn->peers[i].public_key);
	if (nn->mac_count > 0)
		mac_format(&nn->macs[0], mac);
	add_ips(ips, nn->ips, nn->ip_count);
	json_set_string(o, "id", nn->id);
	json_set_string(o, "name", nn->name);
	json_set_int(o, "van_id", nn->van_id);
	json_set_string(o, "ifname", n ? network_ifname(n) : NULL);
	json_set_string(o, "mac", nn->mac_count > 0 ? mac : NULL);
	json_object_object_add(o, "ips", ips);
	json_set_int(o, "mtu", nn->mtu);
	json_set_string(o, "encryption", netmap_encryption_name(nn->encryption));
	json_set_int(o, "peers", (int64_t)nn->peer_count);
	json_set_int(o, "peers_connected", connected_count);
	set_policy(o, &nn->policy);
	set_count(o, "rx_bytes", totals.rx_bytes);
	set_count(o, "tx_bytes", totals.tx_bytes);
	set_count(o, "rx_packets", totals.rx_packets);
	set_count(o, "tx_packets", totals.tx_packets);
	json_set_string(o, "state", error || !n ? "error" : "up");
	json_set_string(o, "error", error);
	return o;
}

static struct json_object *node_status(struct vand *v, const struct netmap *map)
{
	const struct state_membership *m = state_membership(v->state);
	struct json_object *o;
	char key[KEY_TEXT_LEN];

	if (!m)
		return NULL;
	o = json_object_new_object();
	key_format(&v->identity->public, key);
	json_set_string(o, "id", m->node_id);
	json_set_string(o, "name", map ? map->node_name : NULL);
	json_set_string(o, "public_key", key);
	return o;
}

void ctl_status(struct ctl_client *client, struct json_object *args)
{
	struct vand *v = ctl_of(client)->v;
	CLEANUP(json) struct json_object *o = json_object_new_object();
	struct json_object *networks = json_object_new_array();
	const struct netmap *map = reconcile_map(v->reconcile);
	const struct state_membership *m = state_membership(v->state);
	const struct seal_backend *backend = backend_of(v);
	char mesh[2 * MESSAGE_MESH_LEN + 1], revision[NETMAP_REVISION_TEXT_LEN];

	(void)args;
	if (m)
		hash_hex(m->mesh, sizeof(m->mesh), mesh);
	if (map)
		netmap_revision_format(map->generation, map->number, revision);
	for (size_t i = 0; map && i < map->network_count; i++)
		json_object_array_add(networks, network_status(v, &map->networks[i]));
	json_set_string(o, "version", VAN_VERSION);
	json_object_object_add(o, "node", node_status(v, map));
	json_object_object_add(o, "console", registry_status(v->registry));
	json_set_string(o, "mesh", m ? mesh : NULL);
	json_set_string(o, "revision", map ? revision : NULL);
	json_set_int(o, "port", v->port);
	json_set_int(o, "workers", v->dataplane.worker_count);
	json_set_string(o, "cipher", backend ? backend->name : NULL);
	json_object_object_add(o, "underlay", underlay(v));
	json_object_object_add(o, "networks", networks);
	json_object_object_add(o, "warnings", warnings(v));
	ctl_answer(client, o);
}

/* -- peers -- */

struct peer_list {
	struct vand *v;
	struct json_object *by_id; /* id → item, in the order of the netmap */
	size_t paths;
};

static struct json_object *endpoint_list(const struct session_view *view)
{
	struct json_object *array = json_object_new_array();
	char text[ENDPOINT_TEXT_LEN];

	for (size_t i = 0; i < view->candidate_count; i++) {
		endpoint_format(&view->candidates[i], text);
		add_text(array, text);
	}
	return array;
}

/* What the path takes, in bytes of IP: as probes have found out, else as the interface and routes say,
 * or less where sending failed. 0: unknown. */
static uint32_t path_mtu(
	struct peer_list *list, const struct peer *peer, const struct session_view *view)
{
	uint32_t payload = atomic_load_explicit(&peer->datagram_max, memory_order_relaxed);
	uint32_t mtu, found;
	struct ip ip;

	if (!peer->endpoint || !peer->current)
		return 0;
	if (view->path_mtu)
		return view->path_mtu;
	if (list->paths++ >= PATHS_MAX)
		return 0;
	ip = endpoint_ip(peer->endpoint);
	mtu = route_mtu_to(list->v->route, &ip, NULL);
	found = payload ? payload + 8 + (ip.family == AF_INET ? 20 : 40) : mtu;
	return found < mtu || mtu == 0 ? found : mtu;
}

static struct json_object *peer_item(
	struct peer_list *list, const struct netmap_peer *np, const struct peer *peer)
{
	struct vand *v = list->v;
	struct json_object *o = json_object_new_object();
	struct peer_totals totals = peer_totals(peer);
	struct session_view view;
	char endpoint[ENDPOINT_TEXT_LEN];
	uint32_t mtu;

	session_view(v->dataplane.sessions, peer, &view);
	if (peer->endpoint)
		endpoint_format(peer->endpoint, endpoint);
	json_set_string(o, "id", np->id);
	json_set_string(o, "name", np->name);
	json_object_object_add(o, "networks", json_object_new_array());
	json_object_object_add(o, "ips", json_object_new_array());
	json_set_string(o, "state", peer_state_name(view.state));
	json_set_string(o, "reason", view.reason[0] ? view.reason : NULL);
	json_set_string(o, "endpoint", peer->endpoint ? endpoint : NULL);
	json_object_object_add(o, "candidates", endpoint_list(&view));
	json_set_bool(o, "nat", np->flags & NETMAP_NAT);
	set_age(o, "last_handshake_s", v->loop.now_ns, view.last_handshake_ns);
	set_age(o, "last_received_s", v->loop.now_ns, view.last_received_ns);
	set_count(o, "rx_bytes", totals.rx_bytes);
	set_count(o, "tx_bytes", totals.tx_bytes);
	set_count(o, "rx_packets", totals.rx_packets);
	set_count(o, "tx_packets", totals.tx_packets);
	mtu = path_mtu(list, peer, &view);
	if (mtu)
		json_set_int(o, "path_mtu", mtu);
	else
		json_object_object_add(o, "path_mtu", NULL);
	json_set_bool(o, "path_mtu_proven", mtu && view.path_mtu_final);
	json_set_int(o, "lanes", view.peer_lanes);
	/* Frames wait in a worker, and only for want of a session. */
	if (view.state == PEER_CONNECTED)
		json_set_int(o, "queued", 0);
	else
		json_object_object_add(o, "queued", NULL);
	return o;
}

/* Adds the peers of a network; one that is listed already gets the network's name and addresses. */
static void list_peers(struct peer_list *list, const struct netmap_network *nn, bool only_listed)
{
	for (size_t i = 0; i < nn->peer_count; i++) {
		const struct netmap_peer *np = &nn->peers[i];
		struct json_object *o, *member;

		if (!json_object_object_get_ex(list->by_id, np->id, &o)) {
			struct peer *peer =
				sessions_find_key(list->v->dataplane.sessions, &np->public_key);

			if (!peer || only_listed)
				continue;
			o = peer_item(list, np, peer);
			json_object_object_add(list->by_id, np->id, o);
		}
		json_object_object_get_ex(o, "networks", &member);
		add_text(member, nn->name);
		json_object_object_get_ex(o, "ips", &member);
		add_ips(member, np->ips, np->ip_count);
	}
}

static void answer_items(struct ctl_client *client, struct json_object *items)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();

	json_object_object_add(o, "items", items);
	ctl_answer(client, o);
}

void ctl_peers(struct ctl_client *client, struct json_object *args)
{
	struct ctl *ctl = ctl_of(client);
	const struct netmap *map = reconcile_map(ctl->v->reconcile);
	CLEANUP(json) struct json_object *by_id = json_object_new_object();
	struct peer_list list = {.v = ctl->v, .by_id = by_id};
	struct json_object *items;
	const struct netmap_network *only;
	struct err e = {0};
	int rc = ctl_get_network(ctl, args, true, &only, &e);

	if (rc < 0) {
		ctl_error(client, rc, &e);
		return;
	}
	if (only)
		list_peers(&list, only, false);
	for (size_t i = 0; map && i < map->network_count; i++) {
		if (&map->networks[i] != only)
			list_peers(&list, &map->networks[i], only != NULL);
	}
	items = json_object_new_array();
	json_object_object_foreach(by_id, id, item)
	{
		(void)id;
		json_object_array_add(items, json_object_get(item));
	}
	answer_items(client, items);
}

/* -- mac -- */

struct mac_list {
	struct json_object *items;
	const struct network *network;
};

static void add_mac(void *ctx, const struct fdb_entry *entry)
{
	struct mac_list *list = ctx;
	struct json_object *o = json_object_new_object();
	char mac[MAC_TEXT_LEN];

	mac_format(&entry->mac, mac);
	json_set_string(o, "network", list->network->name);
	json_set_string(o, "mac", mac);
	json_set_string(o, "peer", entry->peer ? entry->peer->name : "local");
	json_set_string(o, "kind", entry->kind == FDB_LOCAL ? "local" : "fixed");
	json_object_object_add(o, "age_s", NULL); /* neither kind ages */
	json_object_array_add(list->items, o);
}

void ctl_mac(struct ctl_client *client, struct json_object *args)
{
	struct ctl *ctl = ctl_of(client);
	const struct netmap_network *only;
	struct mac_list list;
	struct err e = {0};
	int rc = ctl_get_network(ctl, args, true, &only, &e);

	if (rc < 0) {
		ctl_error(client, rc, &e);
		return;
	}
	list.items = json_object_new_array();
	if (ctl->v->dataplane.running) {
		list_for_each (it, &ctl->v->dataplane.networks.all) {
			struct network *n = container_of(it, struct network, node);

			list.network = n;
			if (!only || strcmp(only->id, n->id) == 0)
				fdb_each(&n->fdb, add_mac, &list);
		}
	}
	answer_items(client, list.items);
}

/* -- stats -- */

/* Which part of the answer an event is shown in; the rest are about frames. */
static const char *part_of(enum stat_event event)
{
	switch (event) {
	case STAT_init_sent:
	case STAT_init_received:
	case STAT_resp_sent:
	case STAT_resp_received:
	case STAT_cookie_sent:
	case STAT_cookie_received:
	case STAT_sessions_made:
	case STAT_rekeys:
	case STAT_endpoint_moves:
	case STAT_keepalives_sent:
	case STAT_pmtu_probes:
		return "handshakes";
	case STAT_superframes_from_tap:
	case STAT_superframes_to_tap:
	case STAT_segments_joined:
	case STAT_sends:
	case STAT_receives:
	case STAT_sent_fragmentable:
	case STAT_gso_fallbacks:
		return "offload";
	default:
		return "frames";
	}
}

static struct json_object *help_of_counters(void)
{
	struct json_object *help = json_object_new_object();

	for (int i = 0; i < STAT__COUNT; i++)
		json_set_string(help, stats_event_name((enum stat_event)i),
			stats_event_help((enum stat_event)i));
	for (int i = 0; i < DROP__COUNT; i++)
		json_set_string(help, stats_drop_name((enum drop_reason)i),
			stats_drop_help((enum drop_reason)i));
	return help;
}

void ctl_stats(struct ctl_client *client, struct json_object *args)
{
	static const char *const parts[] = {"frames", "drops", "handshakes", "offload"};
	struct vand *v = ctl_of(client)->v;
	CLEANUP(json) struct json_object *o = json_object_new_object();
	struct json_object *part;
	bool wanted = false;
	struct err e = {0};
	int rc;

	rc = args ? json_opt_bool(args, "", "help", &wanted, &e) : 0;
	if (rc < 0) {
		ctl_error(client, rc, &e);
		return;
	}
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		json_object_object_add(o, parts[i], json_object_new_object());
	for (int i = 0; i < STAT__COUNT; i++) {
		enum stat_event event = (enum stat_event)i;

		json_object_object_get_ex(o, part_of(event), &part);
		set_count(part, stats_event_name(event), dataplane_events(v, event));
	}
	json_object_object_get_ex(o, "drops", &part);
	for (int i = 0; i < DROP__COUNT; i++) {
		enum drop_reason reason = (enum drop_reason)i;

		set_count(part, stats_drop_name(reason), dataplane_drops(v, reason));
	}
	if (wanted)
		json_object_object_add(o, "help", help_of_counters());
	ctl_answer(client, o);
}
