/* SPDX-License-Identifier: Apache-2.0 */
/* One function for each family of keys that registry.h names. What must be there in pairs is looked
 * at from both sides. */
#include "console-api/check_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/alloc.h"
#include "console-api/registry.h"
#include "lib/cleanup.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/key.h"

/* -- looking up -- */

static bool has(struct check *c, const char *key)
{
	CLEANUP(store_item) struct store_item item = {0};

	return store_get(c->s, key, &item) == 0;
}

/* The value of another key, or NULL; owned by the caller. */
static struct json_object *load(struct check *c, const char *key)
{
	CLEANUP(store_item) struct store_item item = {0};
	struct json_object *o = NULL;

	if (store_get(c->s, key, &item) == 0)
		json_parse(item.value, strlen(item.value), &o, NULL);
	return o;
}

static void need(struct check *c, const struct check_item *item, const char *key)
{
	if (!has(c, key))
		check_fault(c, item->key, "there is no %s", key);
}

static void need_none(struct check *c, const struct check_item *item, const char *key)
{
	if (has(c, key))
		check_fault(c, item->key, "there is a %s too", key);
}

static const char *string_of(struct json_object *o)
{
	const char *text =
		json_object_is_type(o, json_type_string) ? json_object_get_string(o) : NULL;

	return text ? text : "";
}

/* An index: the key must be there with this id as its value. */
static void need_index(
	struct check *c, const struct check_item *item, const char *key, const char *id)
{
	CLEANUP(json) struct json_object *o = load(c, key);

	if (strcmp(string_of(o), id) != 0)
		check_fault(c, item->key, "%s is \"%s\" and not \"%s\"", key, string_of(o), id);
}

static bool equals(struct json_object *o, const char *name, const char *text)
{
	return !strcmp(record_text(o, name), text);
}

static void need_own_id(struct check *c, const struct check_item *item, const char *id)
{
	if (!equals(item->value, "id", id))
		check_fault(c, item->key, "its id is \"%s\"", record_text(item->value, "id"));
}

static void need_org(struct check *c, const struct check_item *item)
{
	need(c, item, KEY("/orgs/%.64s", record_org(item->value)));
}

static void need_name(
	struct check *c, const struct check_item *item, const char *org, const char *kind)
{
	need_index(c, item,
		KEY("/names/%.64s/%s/%.64s", org, kind, record_text(item->value, "name")),
		item->part[1]);
}

static void need_hex_index(
	struct check *c, const struct check_item *item, const char *member, const char *family)
{
	char hex[2 * KEY_LEN + 1];
	struct key key;

	if (!key_parse(record_text(item->value, member), &key)) {
		check_fault(c, item->key, "its %s is no key", member);
		return;
	}
	hash_hex(key.bytes, KEY_LEN, hex);
	need_index(c, item, KEY("/%s/%s", family, hex), item->part[1]);
}

/* -- organizations and who belongs to them -- */

static void look_console(struct check *c, const struct check_item *item)
{
	uint8_t mesh[NETMAP_MESH_LEN];

	if (!record_text(item->value, "id")[0] ||
		!hash_unhex(record_text(item->value, "mesh"), mesh, sizeof(mesh)))
		check_fault(c, item->key, "it has no id or mesh");
}

static void look_org(struct check *c, const struct check_item *item)
{
	need_own_id(c, item, item->part[1]);
	need_name(c, item, ORG_NONE, "organization");
	need(c, item, KEY("/orgrev/%.64s", item->part[1]));
}

static void look_orgrev(struct check *c, const struct check_item *item)
{
	need(c, item, KEY("/orgs/%.64s", item->part[1]));
}

static void look_user(struct check *c, const struct check_item *item)
{
	need_own_id(c, item, item->part[1]);
	need_org(c, item);
	need_name(c, item, record_org(item->value), "user");
}

static void look_apikey(struct check *c, const struct check_item *item)
{
	const char *user = record_text(item->value, "user");

	need_org(c, item);
	need_index(c, item,
		KEY("/org-keys/%.64s/%.64s", record_org(item->value),
			record_text(item->value, "id")),
		item->part[1]);
	if (user[0])
		need(c, item, KEY("/users/%.64s", user));
}

static void look_org_key(struct check *c, const struct check_item *item)
{
	CLEANUP(json)
	struct json_object *key = load(c, KEY("/apikeys/%.64s", string_of(item->value)));

	if (!key || !equals(key, "id", item->part[2]) ||
		strcmp(record_org(key), item->part[1]) != 0)
		check_fault(c, item->key, "the key that it names is not this one");
}

static void look_name(struct check *c, const struct check_item *item)
{
	static const char *const kinds[][2] = {{"network", "nets"}, {"node", "nodes"},
		{"user", "users"}, {"organization", "orgs"}};
	const char *family = NULL;
	CLEANUP(json) struct json_object *o = NULL;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i][0], item->part[2]))
			family = kinds[i][1];
	if (!family) {
		check_fault(c, item->key, "nothing of that kind has a name");
		return;
	}
	o = load(c, KEY("/%s/%.64s", family, string_of(item->value)));
	if (!o || !equals(o, "name", item->part[3]))
		check_fault(c, item->key, "nothing has this name");
	else if (strcmp(item->part[1], ORG_NONE) != 0 && strcmp(record_org(o), item->part[1]) != 0)
		check_fault(c, item->key, "what has this name is of another organization");
}

/* -- networks -- */

static void look_net(struct check *c, const struct check_item *item)
{
	struct cidr cidr;

	need_own_id(c, item, item->part[1]);
	need_org(c, item);
	need_name(c, item, record_org(item->value), "network");
	need_index(c, item, KEY("/van/%06llx", (long long)record_int(item->value, "van_id")),
		item->part[1]);
	need(c, item, KEY("/maprev/net/%.64s", item->part[1]));
	if (!cidr_parse(record_text(item->value, "cidr"), &cidr) || !cidr_is_network(&cidr))
		check_fault(c, item->key, "its cidr is none");
}

static void look_van(struct check *c, const struct check_item *item)
{
	CLEANUP(json) struct json_object *net = load(c, KEY("/nets/%.64s", string_of(item->value)));

	if (!net || (uint64_t)record_int(net, "van_id") != strtoull(item->part[1], NULL, 16))
		check_fault(c, item->key, "no network has this VAN id");
}

/* Of keys /FAMILY/NET and /FAMILY/NET/…: the network must be there. */
static void look_of_net(struct check *c, const struct check_item *item)
{
	need(c, item, KEY("/nets/%.64s", item->part[1]));
}

static void look_netobj(struct check *c, const struct check_item *item)
{
	look_of_net(c, item);
	need_own_id(c, item, item->part[2]);
	need(c, item, KEY("/netconf/%.64s", item->part[1]));
}

static void need_member(
	struct check *c, const struct check_item *item, const char *net_id, const char *node_id)
{
	if (node_id[0])
		need(c, item, KEY("/members/%.64s/%.64s", net_id, node_id));
}

static void look_gateway(struct check *c, const struct check_item *item)
{
	look_netobj(c, item);
	need_member(c, item, item->part[1], record_text(item->value, "node"));
}

static void look_fip(struct check *c, const struct check_item *item)
{
	struct json_object *ids = json_object_object_get(item->value, "candidates");
	char text[ALLOC_ADDRESS_KEY_LEN];
	struct ip ip;

	look_netobj(c, item);
	need_member(c, item, item->part[1], record_text(item->value, "assigned"));
	for (size_t i = 0; ids && i < json_object_array_length(ids); i++)
		need_member(c, item, item->part[1], string_of(json_object_array_get_idx(ids, i)));
	if (!ip_parse(record_text(item->value, "address"), &ip)) {
		check_fault(c, item->key, "its address is none");
		return;
	}
	alloc_address_key(&ip, text);
	need_index(c, item, KEY("/addr/%.64s/%s", item->part[1], text), item->part[2]);
}

static void look_cloak(struct check *c, const struct check_item *item)
{
	struct json_object *due = json_object_object_get(item->value, "due_s");

	look_of_net(c, item);
	if ((due && json_object_get_int64(due) > 0) !=
		has(c, KEY("/cloak-due/%.64s", item->part[1])))
		check_fault(c, item->key, "its pending change is noted only once");
}

static void look_cloak_due(struct check *c, const struct check_item *item)
{
	need(c, item, KEY("/cloak/%.64s", item->part[1]));
}

static void look_maprev(struct check *c, const struct check_item *item)
{
	bool is_net = !strcmp(item->part[1], "net");

	if (item->parts == 2 && !strcmp(item->part[1], "consoles"))
		return;
	if (item->parts != 3 || (!is_net && strcmp(item->part[1], "node") != 0))
		check_fault(c, item->key, "nothing has such a mark");
	else
		need(c, item, KEY("/%s/%.64s", is_net ? "nets" : "nodes", item->part[2]));
}

/* -- nodes -- */

static void look_node(struct check *c, const struct check_item *item)
{
	CLEANUP(json) struct json_object *mark = load(c, KEY("/ephemeral/%.64s", item->part[1]));

	need_own_id(c, item, item->part[1]);
	need_org(c, item);
	need_name(c, item, record_org(item->value), "node");
	need_hex_index(c, item, "public_key", "node-keys");
	need_hex_index(c, item, "sign_key", "sign-keys");
	need(c, item, KEY("/maprev/node/%.64s", item->part[1]));
	need_none(c, item, KEY("/gone/%.64s", item->part[1]));
	if (json_object_get_int64(mark) != record_int(item->value, "ephemeral_s"))
		check_fault(c, item->key, "/ephemeral/%s says another time", item->part[1]);
}

static void look_of_node(struct check *c, const struct check_item *item)
{
	need(c, item, KEY("/nodes/%.64s", item->part[1]));
}

static void look_node_key(struct check *c, const struct check_item *item)
{
	const char *member = !strcmp(item->part[0], "node-keys") ? "public_key" : "sign_key";
	CLEANUP(json)
	struct json_object *node = load(c, KEY("/nodes/%.64s", string_of(item->value)));
	char hex[2 * KEY_LEN + 1] = "";
	struct key key;

	if (node && key_parse(record_text(node, member), &key))
		hash_hex(key.bytes, KEY_LEN, hex);
	if (strcmp(hex, item->part[1]) != 0)
		check_fault(c, item->key, "no node has this key");
}

static void look_gone_key(struct check *c, const struct check_item *item)
{
	need(c, item, KEY("/gone/%.64s", string_of(item->value)));
}

static void look_gone(struct check *c, const struct check_item *item)
{
	need_none(c, item, KEY("/nodes/%.64s", item->part[1]));
}

/* -- members -- */

static void look_member_ip(
	struct check *c, const struct check_item *item, struct json_object *net, const char *text)
{
	char key[ALLOC_ADDRESS_KEY_LEN];
	struct cidr own, cidr;

	if (!cidr_parse(text, &own)) {
		check_fault(c, item->key, "\"%s\" is no address", text);
		return;
	}
	if (!cidr_parse(record_text(net, own.ip.family == AF_INET ? "cidr" : "cidr6"), &cidr) ||
		!cidr_contains(&cidr, &own.ip))
		check_fault(c, item->key, "%s is not inside its network", text);
	alloc_address_key(&own.ip, key);
	need_index(c, item, KEY("/addr/%.64s/%s", item->part[1], key), item->part[2]);
}

static void look_member(struct check *c, const struct check_item *item)
{
	CLEANUP(json) struct json_object *net = load(c, KEY("/nets/%.64s", item->part[1]));
	CLEANUP(json) struct json_object *node = load(c, KEY("/nodes/%.64s", item->part[2]));
	struct json_object *ips = json_object_object_get(item->value, "ips");
	struct json_object *macs = json_object_object_get(item->value, "macs");
	struct registry_key owner = registry_key("%.64s/%.64s", item->part[1], item->part[2]);

	if (!net || !node) {
		check_fault(c, item->key, "there is no such network or node");
		return;
	}
	if (strcmp(record_org(net), record_org(node)) != 0)
		check_fault(c, item->key, "network and node are of two organizations");
	need(c, item, KEY("/node-nets/%.64s/%.64s", item->part[2], item->part[1]));
	for (size_t i = 0; ips && i < json_object_array_length(ips); i++)
		look_member_ip(c, item, net, string_of(json_object_array_get_idx(ips, i)));
	for (size_t i = 0; macs && i < json_object_array_length(macs); i++)
		need_index(c, item,
			KEY("/mac/%.17s", string_of(json_object_array_get_idx(macs, i))),
			owner.text);
	if (!ips || !macs || !json_object_array_length(macs))
		check_fault(c, item->key, "it has no MAC or no list of addresses");
}

static void look_node_net(struct check *c, const struct check_item *item)
{
	need(c, item, KEY("/members/%.64s/%.64s", item->part[2], item->part[1]));
}

static bool lists(struct json_object *o, const char *name, const char *text)
{
	struct json_object *array = json_object_object_get(o, name);

	for (size_t i = 0; array && i < json_object_array_length(array); i++)
		if (!strcmp(string_of(json_object_array_get_idx(array, i)), text))
			return true;
	return false;
}

static void look_addr(struct check *c, const struct check_item *item)
{
	const char *holder = string_of(item->value);
	CLEANUP(json)
	struct json_object *member = load(c, KEY("/members/%.64s/%.64s", item->part[1], holder));
	CLEANUP(json)
	struct json_object *fip = load(c, KEY("/fips/%.64s/%.64s", item->part[1], holder));
	CLEANUP(json) struct json_object *net = load(c, KEY("/nets/%.64s", item->part[1]));
	char text[CIDR_TEXT_LEN];
	struct cidr own, cidr;

	if (!alloc_address_from_key(item->part[2], &own.ip) ||
		!cidr_parse(record_text(net, own.ip.family == AF_INET ? "cidr" : "cidr6"), &cidr)) {
		check_fault(c, item->key, "it is no address of a network");
		return;
	}
	own.prefix = cidr.prefix;
	cidr_format(&own, text);
	if (lists(member, "ips", text))
		return;
	ip_format(&own.ip, text);
	if (!fip || !equals(fip, "address", text))
		check_fault(c, item->key, "nobody has this address");
}

static void look_mac(struct check *c, const struct check_item *item)
{
	CLEANUP(json)
	struct json_object *member = load(c, KEY("/members/%.130s", string_of(item->value)));

	if (!lists(member, "macs", item->part[1]))
		check_fault(c, item->key, "nobody has this MAC");
}

/* -- join tokens -- */

static void look_token(struct check *c, const struct check_item *item)
{
	int64_t uses = record_int(item->value, "uses"), left = record_int(item->value, "uses_left");
	uint64_t spent = 0;

	need_own_id(c, item, item->part[1]);
	need(c, item, KEY("/nets/%.64s", record_text(item->value, "network")));
	need_index(
		c, item, KEY("/token-hash/%.64s", record_text(item->value, "hash")), item->part[1]);
	need(c, item,
		KEY("/net-tokens/%.64s/%.64s", record_text(item->value, "network"), item->part[1]));
	need(c, item, KEY("/org-tokens/%.64s/%.64s", record_org(item->value), item->part[1]));
	store_count(c->s, KEY("/token-uses/%.64s/", item->part[1]), &spent);
	if (left < 0 || left > uses || spent > (uint64_t)(uses - left))
		check_fault(c, item->key, "%lld of %lld uses are left, and %llu nodes have used it",
			(long long)left, (long long)uses, (unsigned long long)spent);
}

static void look_token_hash(struct check *c, const struct check_item *item)
{
	CLEANUP(json)
	struct json_object *token = load(c, KEY("/tokens/%.64s", string_of(item->value)));

	if (!token || !equals(token, "hash", item->part[1]))
		check_fault(c, item->key, "no token has this hash");
}

static void look_token_use(struct check *c, const struct check_item *item)
{
	need(c, item, KEY("/tokens/%.64s", item->part[1]));
}

static void look_token_list(struct check *c, const struct check_item *item)
{
	CLEANUP(json) struct json_object *token = load(c, KEY("/tokens/%.64s", item->part[2]));
	bool is_net = !strcmp(item->part[0], "net-tokens");

	if (!token || strcmp(is_net ? record_text(token, "network") : record_org(token),
			      item->part[1]) != 0)
		check_fault(c, item->key, "there is no such token of it");
}

static void look_importing(struct check *c, const struct check_item *item)
{
	check_fault(c, item->key, "an import was not finished");
}

static const struct check_rule rules[] = {
	{"console", 1, false, look_console},
	{"importing", 1, false, look_importing},
	{"orgs", 2, false, look_org},
	{"orgrev", 2, false, look_orgrev},
	{"users", 2, false, look_user},
	{"apikeys", 2, false, look_apikey},
	{"org-keys", 3, false, look_org_key},
	{"names", 4, false, look_name},
	{"nets", 2, false, look_net},
	{"van", 2, false, look_van},
	{"nodes", 2, false, look_node},
	{"node-keys", 2, false, look_node_key},
	{"sign-keys", 2, false, look_node_key},
	{"ephemeral", 2, false, look_of_node},
	{"instances", 2, false, look_of_node},
	{"online", 2, true, look_of_node},
	{"gone", 2, false, look_gone},
	{"gone-keys", 2, false, look_gone_key},
	{"members", 3, false, look_member},
	{"node-nets", 3, false, look_node_net},
	{"addr", 3, false, look_addr},
	{"mac", 2, false, look_mac},
	{"reservations", 3, false, look_netobj},
	{"gateways", 3, false, look_gateway},
	{"fips", 3, false, look_fip},
	{"cloak", 2, false, look_cloak},
	{"cloak-due", 2, false, look_cloak_due},
	{"netconf", 2, false, look_of_net},
	{"tokens", 2, false, look_token},
	{"token-hash", 2, false, look_token_hash},
	{"token-uses", 3, false, look_token_use},
	{"net-tokens", 3, false, look_token_list},
	{"org-tokens", 3, false, look_token_list},
	{"maprev", 0, false, look_maprev},
	{"consoles", 2, false, NULL},
	{"pulse", 2, false, NULL},
	{"events", 3, false, NULL},
	{"idem", 3, false, NULL},
	{"idem-at", 3, false, NULL},
	{"audit-head", 2, false, NULL},
	{"audit-base", 2, false, NULL},
};

const struct check_rule *check_rule_find(const char *family)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (!strcmp(rules[i].family, family))
			return &rules[i];
	return NULL;
}
