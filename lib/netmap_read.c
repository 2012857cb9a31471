/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading goes in two steps: each network and peer by itself, with the bounds of its members, and
 * then what concerns several of them (uniqueness), on sorted arrays of references, so that a large
 * map costs n·log n. A netmap that passed needs no further check by those who act on it.
 */
#include "lib/netmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/wirebuf.h"

#define NETWORK_WHERE_MAX 48 /* "/networks/N" */
#define PEER_WHERE_MAX    96 /* "/networks/N/peers/N" */
#define FLAGS_MAX         64
#define ID_CHARS          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

/* -- reading: members -- */

static int wrong(struct err *e, const char *where, const char *name, const char *what)
{
	return err_set(e, -VAN_E_INVALID, "%s/%s: %s", where, name, what);
}

static int read_id(struct json_object *o, const char *where, const char *name,
	char ret_id[NETMAP_ID_MAX + 1], struct err *e)
{
	const char *text;
	int rc = json_get_string(o, where, name, 1, NETMAP_ID_MAX, &text, e);

	if (rc)
		return rc;
	if (text[strspn(text, ID_CHARS)] != '\0')
		return wrong(e, where, name, "must be letters, digits, \"_\", \".\" and \"-\"");
	memcpy(ret_id, text, strlen(text) + 1);
	return 0;
}

static int read_name(struct json_object *o, const char *where, const char *name,
	char ret_name[NETMAP_NAME_MAX + 1], struct err *e)
{
	const char *text;
	int rc = json_get_string(o, where, name, 1, NETMAP_NAME_MAX, &text, e);

	if (rc)
		return rc;
	if (!netmap_name_valid(text))
		return wrong(e, where, name,
			"must be a-z, 0-9 and \"-\", without a hyphen at either end");
	memcpy(ret_name, text, strlen(text) + 1);
	return 0;
}

static int read_key(struct json_object *o, const char *where, const char *name, struct key *ret_key,
	struct err *e)
{
	const char *text;
	int rc = json_get_string(o, where, name, KEY_TEXT_LEN - 1, KEY_TEXT_LEN - 1, &text, e);

	if (rc)
		return rc;
	if (!key_parse(text, ret_key) || key_is_zero(ret_key))
		return wrong(e, where, name, "must be the base64 of a key");
	return 0;
}

/* A network's prefix of the given family. */
static int read_network_cidr(const char *text, int family, const char *where, const char *name,
	struct cidr *ret_cidr, struct err *e)
{
	if (!cidr_parse(text, ret_cidr) || ret_cidr->ip.family != family ||
		!cidr_is_network(ret_cidr) || ret_cidr->prefix == 0)
		return wrong(e, where, name,
			family == AF_INET ? "must be an IPv4 network such as 172.16.1.0/24"
					  : "must be an IPv6 network such as fd00:1::/64");
	return 0;
}

/* Stores item i of an array of texts; NULL, or what it must be. */
typedef const char *store_text(void *ctx, size_t i, const char *text);

static int read_texts(struct json_object *o, const char *where, const char *name, size_t max,
	store_text *store, void *ctx, size_t *ret_count, struct err *e)
{
	struct json_object *array;
	size_t count;
	int rc = json_get_array(o, where, name, &array, e);

	if (rc)
		return rc;
	count = json_object_array_length(array);
	if (count > max)
		return err_set(
			e, -VAN_E_INVALID, "%s/%s: must have at most %zu items", where, name, max);
	for (size_t i = 0; i < count; i++) {
		struct json_object *item = json_object_array_get_idx(array, i);
		const char *must_be = "must be a string";

		if (json_object_is_type(item, json_type_string))
			must_be = store(ctx, i, json_object_get_string(item));
		if (must_be)
			return err_set(e, -VAN_E_INVALID, "%s/%s/%zu: %s", where, name, i, must_be);
	}
	*ret_count = count;
	return 0;
}

static const char *store_tep(void *ctx, size_t i, const char *text)
{
	struct endpoint *teps = ctx;
	struct ip ip;

	if (!endpoint_parse(text, 0, &teps[i]))
		return "must be ADDRESS:PORT";
	ip = endpoint_ip(&teps[i]);
	if (ip_is_unspecified(&ip) || ip_is_multicast(&ip))
		return "must be the address of one machine";
	return NULL;
}

static const char *store_mac(void *ctx, size_t i, const char *text)
{
	static const struct mac zero;
	struct mac *macs = ctx;

	if (!mac_parse(text, &macs[i]) || mac_is_multicast(&macs[i]) || mac_equal(&macs[i], &zero))
		return "must be a unicast MAC address";
	return NULL;
}

struct ip_list {
	struct cidr *ips;
	const struct netmap_network *network;
};

/* An address of the network, with the network's prefix length or a longer one. */
static const char *store_ip(void *ctx, size_t i, const char *text)
{
	struct ip_list *list = ctx;
	const struct cidr *network = &list->network->cidr;
	struct cidr *c = &list->ips[i];

	if (!cidr_parse(text, c))
		return "must be an address with a prefix length, such as 172.16.1.1/24";
	if (c->ip.family == AF_INET6)
		network = &list->network->cidr6;
	if (!cidr_contains(network, &c->ip) || c->prefix < network->prefix)
		return "must be inside the network";
	return NULL;
}

static const char *store_flag(void *ctx, size_t i, const char *text)
{
	unsigned int *flags = ctx;
	enum netmap_flag flag;

	(void)i;
	if (netmap_flag_parse(text, &flag))
		*flags |= flag;
	return NULL; /* what a newer console adds is not for us */
}

static int read_flags(
	struct json_object *o, const char *where, unsigned int *ret_flags, struct err *e)
{
	unsigned int flags = 0;
	size_t count;
	int rc = read_texts(o, where, "flags", FLAGS_MAX, store_flag, &flags, &count, e);

	if (rc == 0)
		*ret_flags = flags;
	return rc;
}

/* -- reading: objects -- */

static int read_peer(struct json_object *o, const char *where, const struct netmap_network *network,
	struct netmap_peer *peer, struct err *e)
{
	struct ip_list ips = {.ips = peer->ips, .network = network};
	int rc;

	rc = read_id(o, where, "id", peer->id, e);
	if (rc == 0)
		rc = read_name(o, where, "name", peer->name, e);
	if (rc == 0)
		rc = read_key(o, where, "public_key", &peer->public_key, e);
	if (rc == 0)
		rc = read_texts(o, where, "teps", NETMAP_TEPS_MAX, store_tep, peer->teps,
			&peer->tep_count, e);
	if (rc == 0)
		rc = read_texts(o, where, "macs", NETMAP_MACS_MAX, store_mac, peer->macs,
			&peer->mac_count, e);
	if (rc == 0)
		rc = read_texts(
			o, where, "ips", NETMAP_IPS_MAX, store_ip, &ips, &peer->ip_count, e);
	if (rc == 0)
		rc = read_flags(o, where, &peer->flags, e);
	return rc;
}

/* The items of an array of objects, which the caller reads one by one into *ret_items. */
static int read_items(struct json_object *o, const char *where, const char *name, size_t max,
	size_t item_size, struct json_object **ret_array, void **ret_items, size_t *ret_count,
	struct err *e)
{
	size_t count;
	int rc = json_get_array(o, where, name, ret_array, e);

	if (rc)
		return rc;
	count = json_object_array_length(*ret_array);
	if (count > max)
		return err_set(
			e, -VAN_E_INVALID, "%s/%s: must have at most %zu items", where, name, max);
	if (count > 0) {
		*ret_items = calloc(count, item_size);
		if (!*ret_items)
			return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	}
	*ret_count = count;
	return 0;
}

static int read_network_cidrs(
	struct json_object *o, const char *where, struct netmap_network *network, struct err *e)
{
	const char *cidr, *cidr6 = NULL;
	int rc;

	rc = json_get_string(o, where, "cidr", 1, CIDR_TEXT_LEN, &cidr, e);
	if (rc == 0)
		rc = read_network_cidr(cidr, AF_INET, where, "cidr", &network->cidr, e);
	if (rc == 0)
		rc = json_opt_string(o, where, "cidr6", 1, CIDR_TEXT_LEN, &cidr6, e);
	if (rc == 0 && cidr6)
		rc = read_network_cidr(cidr6, AF_INET6, where, "cidr6", &network->cidr6, e);
	return rc;
}

static int read_network_scalars(
	struct json_object *o, const char *where, struct netmap_network *network, struct err *e)
{
	const char *encryption;
	int64_t number;
	int rc;

	rc = read_id(o, where, "id", network->id, e);
	if (rc == 0)
		rc = read_name(o, where, "name", network->name, e);
	if (rc)
		return rc;
	rc = json_get_int(o, where, "van_id", 1, NETMAP_VAN_ID_MAX, &number, e);
	if (rc)
		return rc;
	network->van_id = (uint32_t)number;
	rc = json_get_string(o, where, "encryption", 1, 32, &encryption, e);
	if (rc)
		return rc;
	if (!netmap_encryption_parse(encryption, &network->encryption))
		return wrong(e, where, "encryption", "must be aes-256-gcm or integrity");
	rc = json_get_int(o, where, "mtu", NETMAP_MTU_MIN, NETMAP_MTU_MAX, &number, e);
	if (rc)
		return rc;
	network->mtu = (uint16_t)number;
	return read_network_cidrs(o, where, network, e);
}

static int read_network(
	struct json_object *o, const char *where, struct netmap_network *network, struct err *e)
{
	struct ip_list ips = {.ips = network->ips, .network = network};
	struct json_object *peers;
	void *items = NULL;
	int rc;

	rc = read_network_scalars(o, where, network, e);
	if (rc == 0)
		rc = read_texts(o, where, "macs", NETMAP_MACS_MAX, store_mac, network->macs,
			&network->mac_count, e);
	if (rc == 0)
		rc = read_texts(
			o, where, "ips", NETMAP_IPS_MAX, store_ip, &ips, &network->ip_count, e);
	if (rc == 0)
		rc = read_items(o, where, "peers", NETMAP_PEERS_MAX, sizeof(struct netmap_peer),
			&peers, &items, &network->peer_count, e);
	network->peers = items;
	for (size_t i = 0; rc == 0 && i < network->peer_count; i++) {
		char peer_where[PEER_WHERE_MAX];

		snprintf(peer_where, sizeof(peer_where), "%s/peers/%zu", where, i);
		rc = read_peer(json_object_array_get_idx(peers, i), peer_where, network,
			&network->peers[i], e);
	}
	if (rc == 0)
		rc = netmap_policy_read(o, where, &network->policy, e);
	for (size_t i = 0; rc == 0 && i < network->ip_count; i++) {
		const struct cidr *c = &network->ips[i];

		/* This node's own addresses go to the interface: they make its route. */
		if (c->prefix != (c->ip.family == AF_INET ? network->cidr : network->cidr6).prefix)
			rc = err_set(e, -VAN_E_INVALID,
				"%s/ips/%zu: must have the network's prefix length", where, i);
	}
	return rc;
}

/* -- reading: what concerns several objects -- */

/* Something that must be unique: a value and where it stands. */
struct ref {
	uint64_t scope; /* the network's index, where the value must be unique in it only */
	const void *value;
	size_t network, peer; /* peer SIZE_MAX: the network's own */
	size_t index;
};

static int compare_places(const struct ref *a, const struct ref *b)
{
	if (a->network != b->network)
		return a->network < b->network ? -1 : 1;
	if (a->peer != b->peer)
		return a->peer + 1 < b->peer + 1 ? -1 : 1; /* SIZE_MAX first */
	return (a->index > b->index) - (a->index < b->index);
}

static int compare_macs(const void *va, const void *vb)
{
	const struct ref *a = va, *b = vb;
	int order = (a->scope > b->scope) - (a->scope < b->scope);

	if (order == 0)
		order = memcmp(a->value, b->value, sizeof(struct mac));
	return order ? order : compare_places(a, b);
}

static const struct netmap_peer *peer_of(const struct ref *r)
{
	return r->value;
}

static int compare_peer_ids(const void *va, const void *vb)
{
	const struct ref *a = va, *b = vb;
	int order = strcmp(peer_of(a)->id, peer_of(b)->id);

	return order ? order : compare_places(a, b);
}

static int compare_peer_keys(const void *va, const void *vb)
{
	const struct ref *a = va, *b = vb;
	int order = memcmp(&peer_of(a)->public_key, &peer_of(b)->public_key, KEY_LEN);

	return order ? order : compare_places(a, b);
}

static int wrong_at(struct err *e, const struct ref *r, const char *what)
{
	return err_set(e, -VAN_E_INVALID, "/networks/%zu/peers/%zu/%s", r->network, r->peer, what);
}

/* A node is in a network once, has the same key everywhere, and shares it with nobody. */
static int check_peers(const struct netmap *map, struct ref *refs, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		const struct netmap_peer *p = peer_of(&refs[i]);

		if (strcmp(p->id, map->node_id) == 0)
			return wrong_at(e, &refs[i], "id: is this node itself");
		if (key_equal(&p->public_key, &map->node_key))
			return wrong_at(e, &refs[i], "public_key: is this node's own");
	}
	qsort(refs, count, sizeof(*refs), compare_peer_ids);
	for (size_t i = 1; i < count; i++) {
		const struct netmap_peer *a = peer_of(&refs[i - 1]), *b = peer_of(&refs[i]);

		if (strcmp(a->id, b->id) != 0)
			continue;
		if (refs[i - 1].network == refs[i].network)
			return wrong_at(e, &refs[i], "id: stands twice in the network");
		if (!key_equal(&a->public_key, &b->public_key))
			return wrong_at(e, &refs[i],
				"public_key: is not this node's key in another network");
	}
	qsort(refs, count, sizeof(*refs), compare_peer_keys);
	for (size_t i = 1; i < count; i++) {
		const struct netmap_peer *a = peer_of(&refs[i - 1]), *b = peer_of(&refs[i]);

		if (key_equal(&a->public_key, &b->public_key) && strcmp(a->id, b->id) != 0)
			return wrong_at(e, &refs[i], "public_key: is another node's");
	}
	return 0;
}

static int check_macs(struct ref *refs, size_t count, struct err *e)
{
	qsort(refs, count, sizeof(*refs), compare_macs);
	for (size_t i = 1; i < count; i++) {
		const struct ref *r = &refs[i];

		if (refs[i - 1].scope != r->scope ||
			memcmp(refs[i - 1].value, r->value, sizeof(struct mac)) != 0)
			continue;
		if (r->peer == SIZE_MAX)
			return err_set(e, -VAN_E_INVALID,
				"/networks/%zu/macs/%zu: stands twice in the network", r->network,
				r->index);
		return err_set(e, -VAN_E_INVALID,
			"/networks/%zu/peers/%zu/macs/%zu: stands twice in the network", r->network,
			r->peer, r->index);
	}
	return 0;
}

static int check_networks(const struct netmap *map, struct err *e)
{
	for (size_t i = 0; i < map->network_count; i++) {
		for (size_t k = 0; k < i; k++) {
			const struct netmap_network *a = &map->networks[k], *b = &map->networks[i];

			if (strcmp(a->id, b->id) == 0)
				return err_set(
					e, -VAN_E_INVALID, "/networks/%zu/id: stands twice", i);
			if (a->van_id == b->van_id)
				return err_set(
					e, -VAN_E_INVALID, "/networks/%zu/van_id: stands twice", i);
		}
	}
	return 0;
}

static size_t add_macs(
	struct ref *refs, const struct mac *macs, size_t count, size_t network, size_t peer)
{
	for (size_t i = 0; i < count; i++)
		refs[i] = (struct ref){.scope = network,
			.value = &macs[i],
			.network = network,
			.peer = peer,
			.index = i};
	return count;
}

static int check_map(const struct netmap *map, struct err *e)
{
	size_t peer_count = 0, mac_count = 0, p = 0, m = 0;
	int rc = check_networks(map, e);

	if (rc)
		return rc;
	for (size_t i = 0; i < map->network_count; i++) {
		const struct netmap_network *n = &map->networks[i];

		peer_count += n->peer_count;
		mac_count += n->mac_count;
		for (size_t k = 0; k < n->peer_count; k++)
			mac_count += n->peers[k].mac_count;
	}
	CLEANUP(free) struct ref *peers = calloc(peer_count + 1, sizeof(*peers));
	CLEANUP(free) struct ref *macs = calloc(mac_count + 1, sizeof(*macs));
	if (!peers || !macs)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	for (size_t i = 0; i < map->network_count; i++) {
		const struct netmap_network *n = &map->networks[i];

		m += add_macs(&macs[m], n->macs, n->mac_count, i, SIZE_MAX);
		for (size_t k = 0; k < n->peer_count; k++) {
			peers[p++] = (struct ref){.value = &n->peers[k], .network = i, .peer = k};
			m += add_macs(&macs[m], n->peers[k].macs, n->peers[k].mac_count, i, k);
		}
	}
	rc = check_peers(map, peers, p, e);
	return rc ? rc : check_macs(macs, m, e);
}

/* -- reading: the whole -- */

static int read_head(struct json_object *o, struct netmap *map, struct err *e)
{
	uint8_t generation[8];
	struct wire_reader r = wire_reader(generation, sizeof(generation));
	const char *text;
	int64_t number;
	int rc;

	rc = json_get_int(o, "", "format", NETMAP_FORMAT, NETMAP_FORMAT, &number, e);
	if (rc)
		return rc;
	rc = json_get_string(o, "", "mesh", 2 * NETMAP_MESH_LEN, 2 * NETMAP_MESH_LEN, &text, e);
	if (rc)
		return rc;
	if (!hash_unhex(text, map->mesh, sizeof(map->mesh)))
		return wrong(e, "", "mesh", "must be 32 hexadecimal digits");
	rc = read_id(o, "", "console", map->console, e);
	if (rc)
		return rc;
	rc = json_get_string(o, "", "generation", 16, 16, &text, e);
	if (rc)
		return rc;
	if (!hash_unhex(text, generation, sizeof(generation)))
		return wrong(e, "", "generation", "must be 16 hexadecimal digits");
	map->generation = wire_get_be64(&r);
	rc = json_get_int(o, "", "number", 0, INT64_MAX, &number, e);
	if (rc)
		return rc;
	map->number = (uint64_t)number;
	return 0;
}

static int read_node(struct json_object *o, struct netmap *map, struct err *e)
{
	struct json_object *node;
	int rc = json_get_object(o, "", "node", &node, e);

	if (rc == 0)
		rc = read_id(node, "/node", "id", map->node_id, e);
	if (rc == 0)
		rc = read_name(node, "/node", "name", map->node_name, e);
	if (rc == 0)
		rc = read_key(node, "/node", "public_key", &map->node_key, e);
	if (rc == 0)
		rc = read_flags(node, "/node", &map->node_flags, e);
	return rc;
}

/* Why there may be fewer networks than somebody expects. */
static int read_absences(struct json_object *o, struct netmap *map, struct err *e)
{
	struct json_object *waiting;
	int rc = json_opt_bool(o, "", "disabled", &map->disabled, e);

	if (rc || !json_object_object_get_ex(o, "waiting", &waiting))
		return rc;
	rc = json_get_array(o, "", "waiting", &waiting, e);
	for (size_t i = 0; !rc && i < json_object_array_length(waiting); i++) {
		struct json_object *item = json_object_array_get_idx(waiting, i);
		const char *name = json_object_get_string(item);

		if (!json_object_is_type(item, json_type_string) || !netmap_name_valid(name))
			return wrong(e, "", "waiting", "must be names of networks");
		if (map->waiting_count < NETMAP_WAITING_MAX)
			memcpy(map->waiting[map->waiting_count++], name, strlen(name) + 1);
	}
	return rc;
}

/* "https://", a host and perhaps a port. */
static bool url_is_plain(const char *url)
{
	static const char scheme[] = "https://";
	const char *host = url + strlen(scheme);

	return strncmp(url, scheme, strlen(scheme)) == 0 && *host && *host != ':' &&
	       host[strspn(host,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]")] ==
		       '\0';
}

static const char *store_pin(void *ctx, size_t i, const char *text)
{
	char(*pins)[NETMAP_PIN_TEXT_LEN] = ctx;
	static const char prefix[] = "sha256//";
	struct key hash; /* as long as one, and in the same form */

	if (strncmp(text, prefix, strlen(prefix)) != 0 || !key_parse(text + strlen(prefix), &hash))
		return "must be sha256// and the base64 of 32 bytes";
	memcpy(pins[i], text, strlen(text) + 1);
	return NULL;
}

static int read_console(
	struct json_object *o, const char *where, struct netmap_console *console, struct err *e)
{
	const char *url;
	int rc = read_id(o, where, "id", console->id, e);

	if (rc == 0)
		rc = json_get_string(o, where, "url", 1, NETMAP_URL_MAX, &url, e);
	if (rc == 0 && !url_is_plain(url))
		rc = wrong(e, where, "url", "must be https://HOST or https://HOST:PORT");
	if (rc == 0)
		rc = read_texts(o, where, "pins", NETMAP_PINS_MAX, store_pin, console->pins,
			&console->pin_count, e);
	if (rc == 0 && console->pin_count == 0)
		rc = wrong(e, where, "pins", "must not be empty");
	if (rc == 0)
		memcpy(console->url, url, strlen(url) + 1);
	return rc;
}

int netmap_consoles_read(struct json_object *o, const char *where,
	struct netmap_console ret_consoles[NETMAP_CONSOLES_MAX], size_t *ret_count, struct err *e)
{
	struct json_object *array;
	size_t count;
	int rc;

	*ret_count = 0;
	if (!json_object_object_get_ex(o, "consoles", &array))
		return 0;
	rc = json_get_array(o, where, "consoles", &array, e);
	if (rc)
		return rc;
	count = json_object_array_length(array);
	if (count > NETMAP_CONSOLES_MAX)
		count = NETMAP_CONSOLES_MAX;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		char item_where[NETWORK_WHERE_MAX];

		ret_consoles[i] = (struct netmap_console){0};
		snprintf(item_where, sizeof(item_where), "%s/consoles/%zu", where, i);
		rc = read_console(
			json_object_array_get_idx(array, i), item_where, &ret_consoles[i], e);
	}
	if (rc == 0)
		*ret_count = count;
	return rc;
}

int netmap_from_json(struct json_object *o, struct netmap **ret_map, struct err *e)
{
	struct json_object *networks;
	void *items = NULL;
	int rc;

	CLEANUP(netmap) struct netmap *map = calloc(1, sizeof(*map));
	if (!map)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	rc = read_head(o, map, e);
	if (rc == 0)
		rc = read_node(o, map, e);
	if (rc == 0)
		rc = read_absences(o, map, e);
	if (rc == 0)
		rc = netmap_consoles_read(o, "", map->consoles, &map->console_count, e);
	if (rc == 0)
		rc = read_items(o, "", "networks", NETMAP_NETWORKS_MAX,
			sizeof(struct netmap_network), &networks, &items, &map->network_count, e);
	map->networks = items;
	for (size_t i = 0; rc == 0 && i < map->network_count; i++) {
		char where[NETWORK_WHERE_MAX];

		snprintf(where, sizeof(where), "/networks/%zu", i);
		rc = read_network(
			json_object_array_get_idx(networks, i), where, &map->networks[i], e);
	}
	if (rc == 0)
		rc = check_map(map, e);
	if (rc == 0)
		*ret_map = STEAL(map);
	return rc;
}
