/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/netmap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/wirebuf.h"

static const struct {
	enum netmap_flag flag;
	const char *name;
} flag_names[] = {
	{NETMAP_NAT, "nat"},
	{NETMAP_BRIDGE, "bridge"},
};

static const char *const encryption_names[] = {
	[NETMAP_AES_256_GCM] = "aes-256-gcm",
	[NETMAP_INTEGRITY] = "integrity",
};

const char *netmap_encryption_name(enum netmap_encryption enc)
{
	return encryption_names[enc];
}

bool netmap_encryption_parse(const char *text, enum netmap_encryption *ret_enc)
{
	for (size_t i = 0; i < sizeof(encryption_names) / sizeof(encryption_names[0]); i++) {
		if (strcmp(text, encryption_names[i]) == 0) {
			*ret_enc = (enum netmap_encryption)i;
			return true;
		}
	}
	return false;
}

const char *netmap_flag_name(enum netmap_flag flag)
{
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if (flag_names[i].flag == flag)
			return flag_names[i].name;
	}
	return NULL;
}

bool netmap_flag_parse(const char *text, enum netmap_flag *ret_flag)
{
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if (strcmp(text, flag_names[i].name) == 0) {
			*ret_flag = flag_names[i].flag;
			return true;
		}
	}
	return false;
}

bool netmap_name_valid(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= NETMAP_NAME_MAX && name[0] != '-' && name[len - 1] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

void netmap_revision_format(
	uint64_t generation, uint64_t number, char ret_text[NETMAP_REVISION_TEXT_LEN])
{
	snprintf(ret_text, NETMAP_REVISION_TEXT_LEN, "%016" PRIx64 ".%" PRIu64, generation, number);
}

bool netmap_revision_parse(const char *text, uint64_t *ret_generation, uint64_t *ret_number)
{
	const char *digits = text + 17;
	char generation_text[17];
	uint8_t generation[8];
	uint64_t number;
	char *end;

	if (strnlen(text, 18) < 18 || text[16] != '.')
		return false;
	memcpy(generation_text, text, 16);
	generation_text[16] = '\0';
	if (!hash_unhex(generation_text, generation, sizeof(generation)))
		return false;
	if (digits[0] < '0' || digits[0] > '9' || (digits[0] == '0' && digits[1] != '\0'))
		return false;
	errno = 0;
	number = strtoull(digits, &end, 10);
	if (errno || *end != '\0')
		return false;
	struct wire_reader r = wire_reader(generation, sizeof(generation));
	*ret_generation = wire_get_be64(&r);
	*ret_number = number;
	return true;
}

void netmap_network_done(struct netmap_network *network)
{
	free(network->peers);
	netmap_policy_done(&network->policy);
}

void netmap_free(struct netmap *map)
{
	if (!map)
		return;
	for (size_t i = 0; i < map->network_count; i++)
		netmap_network_done(&map->networks[i]);
	free(map->networks);
	free(map);
}

/* -- writing -- */

/* The control plane has no use for going on without memory. */
static struct json_object *must(struct json_object *o)
{
	if (!o)
		abort();
	return o;
}

static struct json_object *add_object(struct json_object *o, const char *name)
{
	struct json_object *member = must(json_object_new_object());

	if (json_object_object_add(o, name, member) != 0)
		abort();
	return member;
}

static struct json_object *add_array(struct json_object *o, const char *name)
{
	struct json_object *member = must(json_object_new_array());

	if (json_object_object_add(o, name, member) != 0)
		abort();
	return member;
}

static void append(struct json_object *array, struct json_object *item)
{
	if (json_object_array_add(array, item) != 0)
		abort();
}

static void append_text(struct json_object *array, const char *text)
{
	append(array, must(json_object_new_string(text)));
}

static void set_key(struct json_object *o, const char *name, const struct key *k)
{
	char text[KEY_TEXT_LEN];

	key_format(k, text);
	json_set_string(o, name, text);
}

static void set_cidr(struct json_object *o, const char *name, const struct cidr *c)
{
	char text[CIDR_TEXT_LEN];

	cidr_format(c, text);
	json_set_string(o, name, c->ip.family == AF_UNSPEC ? NULL : text);
}

static void add_flags(struct json_object *o, unsigned int flags)
{
	struct json_object *array = add_array(o, "flags");

	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if (flags & flag_names[i].flag)
			append_text(array, flag_names[i].name);
	}
}

static void add_macs_member(struct json_object *o, const struct mac *macs, size_t count)
{
	struct json_object *array = add_array(o, "macs");

	for (size_t i = 0; i < count; i++) {
		char text[MAC_TEXT_LEN];

		mac_format(&macs[i], text);
		append_text(array, text);
	}
}

static void add_ips_member(struct json_object *o, const struct cidr *ips, size_t count)
{
	struct json_object *array = add_array(o, "ips");

	for (size_t i = 0; i < count; i++) {
		char text[CIDR_TEXT_LEN];

		cidr_format(&ips[i], text);
		append_text(array, text);
	}
}

static struct json_object *peer_to_json(const struct netmap_peer *peer)
{
	struct json_object *o = must(json_object_new_object());
	struct json_object *teps;

	json_set_string(o, "id", peer->id);
	json_set_string(o, "name", peer->name);
	set_key(o, "public_key", &peer->public_key);
	teps = add_array(o, "teps");
	for (size_t i = 0; i < peer->tep_count; i++) {
		char text[ENDPOINT_TEXT_LEN];

		endpoint_format(&peer->teps[i], text);
		append_text(teps, text);
	}
	add_macs_member(o, peer->macs, peer->mac_count);
	add_ips_member(o, peer->ips, peer->ip_count);
	add_flags(o, peer->flags);
	return o;
}

static struct json_object *network_to_json(const struct netmap_network *network)
{
	struct json_object *o = must(json_object_new_object());
	struct json_object *peers;

	json_set_string(o, "id", network->id);
	json_set_string(o, "name", network->name);
	json_set_int(o, "van_id", network->van_id);
	set_cidr(o, "cidr", &network->cidr);
	set_cidr(o, "cidr6", &network->cidr6);
	json_set_string(o, "encryption", netmap_encryption_name(network->encryption));
	json_set_int(o, "mtu", network->mtu);
	add_macs_member(o, network->macs, network->mac_count);
	add_ips_member(o, network->ips, network->ip_count);
	peers = add_array(o, "peers");
	for (size_t i = 0; i < network->peer_count; i++)
		append(peers, peer_to_json(&network->peers[i]));
	netmap_policy_write(&network->policy, o);
	return o;
}

struct json_object *netmap_consoles_write(const struct netmap_console *consoles, size_t count)
{
	struct json_object *array = must(json_object_new_array());

	for (size_t i = 0; i < count; i++) {
		struct json_object *o = must(json_object_new_object()), *pins;

		json_set_string(o, "id", consoles[i].id);
		json_set_string(o, "url", consoles[i].url);
		pins = add_array(o, "pins");
		for (size_t k = 0; k < consoles[i].pin_count; k++)
			append_text(pins, consoles[i].pins[k]);
		append(array, o);
	}
	return array;
}

struct json_object *netmap_to_json(const struct netmap *map)
{
	struct json_object *o = must(json_object_new_object());
	struct json_object *node, *networks;
	char mesh[2 * NETMAP_MESH_LEN + 1];
	char generation[17];

	json_set_int(o, "format", NETMAP_FORMAT);
	hash_hex(map->mesh, sizeof(map->mesh), mesh);
	json_set_string(o, "mesh", mesh);
	json_set_string(o, "console", map->console);
	snprintf(generation, sizeof(generation), "%016" PRIx64, map->generation);
	json_set_string(o, "generation", generation);
	json_set_int(o, "number", (int64_t)map->number);
	node = add_object(o, "node");
	json_set_string(node, "id", map->node_id);
	json_set_string(node, "name", map->node_name);
	set_key(node, "public_key", &map->node_key);
	add_flags(node, map->node_flags);
	if (map->disabled)
		json_set_bool(o, "disabled", true);
	if (map->waiting_count) {
		struct json_object *waiting = add_array(o, "waiting");

		for (size_t i = 0; i < map->waiting_count; i++)
			append(waiting, must(json_object_new_string(map->waiting[i])));
	}
	if (map->console_count)
		json_object_object_add(
			o, "consoles", netmap_consoles_write(map->consoles, map->console_count));
	networks = add_array(o, "networks");
	for (size_t i = 0; i < map->network_count; i++)
		append(networks, network_to_json(&map->networks[i]));
	return o;
}
