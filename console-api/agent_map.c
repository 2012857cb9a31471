/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/agent_map.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "console-api/consoles.h"
#include "console-api/member.h"
#include "console-api/netpolicy.h"
#include "console-api/network.h"
#include "console-api/node.h"
#include "lib/cleanup.h"
#include "lib/json.h"

static void add(struct json_object *o, const char *name, struct json_object *value)
{
	if (json_object_object_add(o, name, value))
		abort();
}

static void set_cidr(struct json_object *o, const char *name, const struct cidr *cidr)
{
	char text[CIDR_TEXT_LEN];

	if (cidr->ip.family == AF_UNSPEC)
		return;
	cidr_format(cidr, text);
	json_set_string(o, name, text);
}

/* At most max of the texts that the record has under this name. */
static void copy_texts(
	struct json_object *o, const char *name, struct json_object *record, size_t max)
{
	struct json_object *from = json_object_object_get(record, name);
	struct json_object *to = json_object_new_array();
	size_t n = json_object_is_type(from, json_type_array) ? json_object_array_length(from) : 0;

	for (size_t i = 0; i < n && i < max; i++) {
		struct json_object *item = json_object_array_get_idx(from, i);

		if (json_object_is_type(item, json_type_string))
			json_object_array_add(to, json_object_get(item));
	}
	add(o, name, to);
}

static void set_flags(struct json_object *o, struct json_object *node)
{
	struct json_object *flags = json_object_new_array();

	if (json_object_get_boolean(json_object_object_get(node, "nat")))
		json_object_array_add(flags, json_object_new_string(netmap_flag_name(NETMAP_NAT)));
	add(o, "flags", flags);
}

static struct json_object *node_object(struct json_object *node)
{
	struct json_object *o = json_object_new_object();

	json_set_string(o, "id", record_text(node, "id"));
	json_set_string(o, "name", record_text(node, "name"));
	json_set_string(o, "public_key", record_text(node, "public_key"));
	set_flags(o, node);
	return o;
}

int agent_map_top(struct registry *r, const char *node_id, struct json_object **ret_top,
	bool *ret_active, struct problem *p)
{
	CLEANUP(record) struct record node = {0};
	struct json_object *o, *consoles;
	char generation[17];
	int rc = node_load(r, node_id, &node, p);

	if (!rc)
		rc = consoles_map(r, &consoles, p);
	if (rc)
		return rc;
	o = json_object_new_object();
	json_set_int(o, "format", NETMAP_FORMAT);
	json_set_string(o, "mesh", r->mesh_hex);
	json_set_string(o, "console", r->console_id);
	snprintf(generation, sizeof(generation), "%016" PRIx64, r->store->generation);
	json_set_string(o, "generation", generation);
	add(o, "consoles", consoles);
	add(o, "node", node_object(node.o));
	*ret_active = node_is_active(node.o);
	if (!*ret_active)
		json_set_bool(o, "disabled", true);
	*ret_top = o;
	return 0;
}

int agent_map_head(
	struct registry *r, const char *net_id, struct json_object **ret_head, struct problem *p)
{
	struct json_object *o;
	struct network net;
	int rc = network_load(r, net_id, &net, p);

	if (rc)
		return rc;
	o = json_object_new_object();
	json_set_string(o, "id", net.id);
	json_set_string(o, "name", net.spec.name);
	json_set_int(o, "van_id", net.van_id);
	set_cidr(o, "cidr", &net.spec.cidr);
	set_cidr(o, "cidr6", &net.spec.cidr6);
	json_set_string(o, "encryption", netmap_encryption_name(net.spec.encryption));
	json_set_int(o, "mtu", net.spec.mtu);
	rc = netpolicy_head(r, net_id, o, p);
	if (rc) {
		json_object_put(o);
		return rc;
	}
	*ret_head = o;
	return 0;
}

int agent_map_own(struct registry *r, const char *net_id, const char *node_id,
	struct json_object *network, struct problem *p)
{
	CLEANUP(record) struct record member = {0};
	int rc = registry_load(r, KEY("/members/%s/%s", net_id, node_id), &member, p);

	if (rc)
		return rc;
	if (!member_is_active(member.o))
		return -ENOENT;
	copy_texts(network, "macs", member.o, NETMAP_MACS_MAX);
	copy_texts(network, "ips", member.o, NETMAP_IPS_MAX);
	return netpolicy_own(r, net_id, node_id, network, p);
}

int agent_map_waiting(struct registry *r, const char *net_id, const char *node_id,
	struct json_object *names, struct problem *p)
{
	CLEANUP(record) struct record member = {0};
	struct network net;
	int rc = registry_load(r, KEY("/members/%s/%s", net_id, node_id), &member, p);

	if (!rc && !member_is_active(member.o)) {
		rc = network_load(r, net_id, &net, p);
		if (!rc)
			json_object_array_add(names, json_object_new_string(net.spec.name));
	}
	return rc == -ENOENT ? 0 : rc;
}

int agent_map_peer(struct registry *r, const char *net_id, const char *node_id,
	struct json_object **ret_peer, struct problem *p)
{
	CLEANUP(record) struct record member = {0};
	CLEANUP(record) struct record node = {0};
	struct json_object *o;
	int rc = registry_load(r, KEY("/members/%s/%s", net_id, node_id), &member, p);

	if (!rc)
		rc = node_load(r, node_id, &node, p);
	if (!rc && (!member_is_active(member.o) || !node_is_active(node.o)))
		rc = -ENOENT;
	if (rc)
		return rc;
	o = node_object(node.o);
	copy_texts(o, "teps", node.o, NETMAP_TEPS_MAX);
	copy_texts(o, "macs", member.o, NETMAP_MACS_MAX);
	copy_texts(o, "ips", member.o, NETMAP_IPS_MAX);
	*ret_peer = o;
	return 0;
}
