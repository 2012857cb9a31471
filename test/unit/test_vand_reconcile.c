/* SPDX-License-Identifier: Apache-2.0 */
/* Netmaps against a running data plane, in a namespace of its own: skipped without root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "test/unit/netns.h"
#include "test/unit/tmpdir.h"
#include "vand/reconcile.h"
#include "vand/reconcile_internal.h"
#include "vand/route.h"
#include "vand/state.h"
#include "vand/vand.h"

static struct vand *v;
static struct tmpdir dir;
static bool have_netns;
static const uint8_t mesh[MESSAGE_MESH_LEN] = {1, 2, 3};

static void needs_netns(void)
{
	if (!have_netns)
		skip();
}

/* -- netmaps -- */

struct peer_spec {
	uint8_t key; /* first byte; 0 ends the list */
	const char *tep;
	unsigned int mac;
};

struct network_spec {
	const char *id; /* NULL ends the list */
	const char *name;
	unsigned int van_id;
	const char *encryption;
	unsigned int mtu;
	unsigned int mac;
	const char *ip;
	struct peer_spec peers[4];
};

static struct key peer_key(uint8_t first)
{
	struct key key = {{0}};

	key.bytes[0] = first;
	return key;
}

static struct json_object *one_text(const char *text)
{
	struct json_object *array = json_object_new_array();

	if (text)
		json_object_array_add(array, json_object_new_string(text));
	return array;
}

static struct json_object *one_mac(unsigned int last)
{
	char text[MAC_TEXT_LEN];

	snprintf(text, sizeof(text), "02:00:00:00:00:%02x", last & 0xff);
	return one_text(text);
}

static struct json_object *peer_json(const struct peer_spec *p, const char *ip)
{
	struct json_object *o = json_object_new_object();
	struct key key = peer_key(p->key);
	char text[KEY_TEXT_LEN], name[32];

	key_format(&key, text);
	snprintf(name, sizeof(name), "peer-%u", p->key);
	json_set_string(o, "id", name);
	json_set_string(o, "name", name);
	json_set_string(o, "public_key", text);
	json_object_object_add(o, "teps", one_text(p->tep));
	json_object_object_add(o, "macs", one_mac(p->mac));
	json_object_object_add(o, "ips", one_text(ip));
	json_object_object_add(o, "flags", one_text(NULL));
	return o;
}

static struct json_object *network_json(const struct network_spec *n)
{
	struct json_object *o = json_object_new_object(), *peers = json_object_new_array();
	struct cidr cidr;
	char text[CIDR_TEXT_LEN];

	assert_true(cidr_parse(n->ip, &cidr));
	cidr.ip = cidr_first(&cidr);
	cidr_format(&cidr, text);
	json_set_string(o, "id", n->id);
	json_set_string(o, "name", n->name);
	json_set_int(o, "van_id", n->van_id);
	json_set_string(o, "cidr", text);
	json_object_object_add(o, "cidr6", NULL);
	json_set_string(o, "encryption", n->encryption ? n->encryption : "aes-256-gcm");
	json_set_int(o, "mtu", n->mtu);
	json_object_object_add(o, "macs", one_mac(n->mac));
	json_object_object_add(o, "ips", one_text(n->ip));
	for (const struct peer_spec *p = n->peers; p->key; p++) {
		struct cidr at = cidr;

		assert_true(ip_add(&at.ip, p->key, &at.ip));
		cidr_format(&at, text);
		json_object_array_add(peers, peer_json(p, text));
	}
	json_object_object_add(o, "peers", peers);
	return o;
}

static void apply(const struct network_spec *networks)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	struct json_object *array = json_object_new_array();
	char key[KEY_TEXT_LEN];
	struct netmap *map;
	struct err e = {0};
	static int64_t number;

	key_format(&v->identity->public, key);
	for (; networks->id; networks++)
		json_object_array_add(array, network_json(networks));
	json_set_int(o, "format", 1);
	json_set_string(o, "mesh", "01020300000000000000000000000000");
	json_set_string(o, "console", "con_1");
	json_set_string(o, "generation", "0000000000000001");
	json_set_int(o, "number", ++number);
	json_object_object_add(o, "node", peer_json(&(struct peer_spec){.key = 99}, NULL));
	json_set_string(json_object_object_get(o, "node"), "public_key", key);
	json_object_object_add(o, "networks", array);
	if (netmap_from_json(o, &map, &e) < 0)
		fail_msg("%s", e.text);
	reconcile_apply(v->reconcile, map);
}

/* As the timer does every five seconds. */
static void check_now(void)
{
	v->reconcile->check.fire(&v->reconcile->check, v->loop.now_ns);
}

static struct peer *peer_of(uint8_t first)
{
	struct key key = peer_key(first);

	return sessions_find_key(v->dataplane.sessions, &key);
}

static char *warnings(void)
{
	CLEANUP(json) struct json_object *array = json_object_new_array();

	reconcile_warnings(v->reconcile, array);
	return strdup(json_object_to_json_string_ext(
		array, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

#define LAN                                                                       \
	{                                                                         \
		.id = "net_1", .name = "lan", .van_id = 1, .mtu = 1360, .mac = 1, \
		.ip = "172.16.1.1/24"                                             \
	}
#define LAB                                                                       \
	{                                                                         \
		.id = "net_2", .name = "lab", .van_id = 2, .mtu = 1280, .mac = 2, \
		.ip = "172.16.2.1/24"                                             \
	}

/* -- networks -- */

static void networks_come_and_go(void **state)
{
	const struct network_spec both[] = {LAN, LAB, {0}}, lab[] = {LAB, {0}}, none[] = {{0}};
	unsigned int index;
	int list[4];

	(void)state;
	needs_netns();
	apply(both);
	assert_int_equal(netns_mtu("vcider0"), 1360);
	assert_int_equal(netns_mtu("vcider1"), 1280);
	assert_true(netns_is_up("vcider0") && netns_is_up("vcider1"));
	assert_true(netns_has_mac("vcider0", "02:00:00:00:00:01"));
	assert_true(netns_has_address("vcider0", "172.16.1.1/24"));
	assert_true(netns_has_address("vcider1", "172.16.2.1/24"));
	assert_int_equal(reconcile_ifindexes(v->reconcile, list, 4), 2);
	assert_null(reconcile_network_error(v->reconcile, "net_1"));

	index = if_nametoindex("vcider0");
	apply(both); /* nothing changes */
	assert_int_equal(if_nametoindex("vcider0"), index);

	index = if_nametoindex("vcider1");
	apply(lab);
	assert_int_equal(netns_mtu("vcider0"), 0);
	assert_int_equal(if_nametoindex("vcider1"), index);
	assert_null(state_ifname(v->state, "net_1"));
	assert_string_equal(state_ifname(v->state, "net_2"), "vcider1");
	apply(both); /* the lowest free name again */
	assert_true(netns_has_address("vcider0", "172.16.1.1/24"));
	apply(none);
	assert_int_equal(netns_mtu("vcider0") + netns_mtu("vcider1"), 0);
	assert_null(state_ifname(v->state, "net_2"));
}

static void changes_are_made_in_place(void **state)
{
	struct network_spec map[] = {LAN, {0}};
	unsigned int index;

	(void)state;
	needs_netns();
	apply(map);
	index = if_nametoindex("vcider0");
	map[0].mtu = 1400;
	map[0].mac = 77;
	map[0].ip = "172.16.1.200/24";
	map[0].name = "office";
	apply(map);
	assert_int_equal(if_nametoindex("vcider0"), index);
	assert_int_equal(netns_mtu("vcider0"), 1400);
	assert_true(netns_has_mac("vcider0", "02:00:00:00:00:4d"));
	assert_true(netns_has_address("vcider0", "172.16.1.200/24"));
	assert_false(netns_has_address("vcider0", "172.16.1.1/24"));
	assert_non_null(network_find(&v->dataplane.networks, "office"));
	assert_int_equal(network_find(&v->dataplane.networks, "office")->mtu, 1400);

	/* what workers decide by needs another network, under the same name */
	map[0].encryption = "integrity";
	apply(map);
	assert_int_not_equal(if_nametoindex("vcider0"), 0);
	assert_int_not_equal(if_nametoindex("vcider0"), index);
	assert_int_equal(network_find(&v->dataplane.networks, "net_1")->mode, MESSAGE_MODE_GMAC);
	assert_true(netns_has_address("vcider0", "172.16.1.200/24"));
	map[0].van_id = 9;
	apply(map);
	assert_int_equal(network_find(&v->dataplane.networks, "net_1")->van_id, 9);
	assert_true(netns_is_up("vcider0"));
}

static void van_ids_may_be_swapped(void **state)
{
	struct network_spec map[] = {LAN, LAB, {0}};

	(void)state;
	needs_netns();
	apply(map);
	map[0].van_id = 2;
	map[1].van_id = 1;
	apply(map);
	assert_null(reconcile_network_error(v->reconcile, "net_1"));
	assert_null(reconcile_network_error(v->reconcile, "net_2"));
	assert_true(netns_has_address("vcider0", "172.16.1.1/24"));
	assert_true(netns_has_address("vcider1", "172.16.2.1/24"));
}

static void deleted_device_comes_back(void **state)
{
	const struct network_spec map[] = {LAN, {0}};

	(void)state;
	needs_netns();
	apply(map);
	netns_ip("link del vcider0");
	assert_int_equal(netns_mtu("vcider0"), 0);
	check_now();
	assert_int_equal(netns_mtu("vcider0"), 1360);
	assert_true(netns_has_address("vcider0", "172.16.1.1/24"));
	assert_true(netns_is_up("vcider0"));
}

/* -- names -- */

static void names_are_kept(void **state)
{
	const struct network_spec both[] = {LAN, LAB, {0}}, reversed[] = {LAB, LAN, {0}};

	(void)state;
	needs_netns();
	apply(both);
	reconcile_clear(v->reconcile);
	assert_int_equal(netns_mtu("vcider0"), 0);
	assert_null(reconcile_map(v->reconcile));
	apply(reversed); /* the first in the map does not get the first name */
	assert_true(netns_has_address("vcider0", "172.16.1.1/24"));
	assert_true(netns_has_address("vcider1", "172.16.2.1/24"));
}

static void taken_names_are_stepped_over(void **state)
{
	const struct network_spec lan[] = {LAN, {0}};

	(void)state;
	needs_netns();
	netns_ip("tuntap add dev vcider0 mode tap");
	apply(lan);
	assert_true(netns_has_address("vcider1", "172.16.1.1/24"));
	/* a kept name that somebody took meanwhile */
	reconcile_clear(v->reconcile);
	netns_ip("tuntap add dev vcider1 mode tap");
	apply(lan);
	assert_true(netns_has_address("vcider2", "172.16.1.1/24"));
	netns_ip("link del vcider0");
	netns_ip("link del vcider1");
}

static void names_that_are_wished_for(void **state)
{
	static const char *const wrong[] = {
		"", ".", "..", "a/b", "a b", "sixteen-letters-", "a:b", "van%d", "a\tb"};
	const struct network_spec both[] = {LAN, LAB, {0}}, lan[] = {LAN, {0}};
	struct err e = {0};

	(void)state;
	needs_netns();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(
			reconcile_wish_ifname(v->reconcile, "net_1", wrong[i], &e), -VAN_E_INVALID);
	assert_int_equal(reconcile_wish_ifname(v->reconcile, "net_1", "lo", &e), -VAN_E_CONFLICT);
	assert_int_equal(reconcile_wish_ifname(v->reconcile, "net_1", "office", NULL), 0);
	apply(lan);
	assert_true(netns_has_address("office", "172.16.1.1/24"));
	assert_string_equal(state_ifname(v->state, "net_1"), "office");
	assert_int_equal(reconcile_wish_ifname(v->reconcile, "net_1", "office", NULL), 0);
	assert_int_equal(
		reconcile_wish_ifname(v->reconcile, "net_1", "other", &e), -VAN_E_CONFLICT);
	assert_non_null(strstr(e.text, "office"));
	assert_int_equal(
		reconcile_wish_ifname(v->reconcile, "net_2", "office", &e), -VAN_E_CONFLICT);

	/* taken between the wish and its fulfilment: the network fails, the other does not */
	assert_int_equal(reconcile_wish_ifname(v->reconcile, "net_2", "lab0", NULL), 0);
	netns_ip("tuntap add dev lab0 mode tap");
	apply(both);
	assert_non_null(strstr(reconcile_network_error(v->reconcile, "net_2"), "lab0"));
	assert_null(reconcile_network_error(v->reconcile, "net_1"));
	netns_ip("link del lab0");
	check_now();
	assert_null(reconcile_network_error(v->reconcile, "net_2"));
	assert_true(netns_has_address("lab0", "172.16.2.1/24"));
}

/* -- peers -- */

static void peers_follow_the_map(void **state)
{
	struct network_spec both[] = {LAN, LAB, {0}};
	struct peer *one, *two;

	(void)state;
	needs_netns();
	both[0].peers[0] = (struct peer_spec){.key = 11, .tep = "192.0.2.11:4826", .mac = 11};
	both[0].peers[1] = (struct peer_spec){.key = 12, .tep = "192.0.2.12:4826", .mac = 12};
	both[1].peers[0] = (struct peer_spec){.key = 11, .tep = "192.0.2.11:4826", .mac = 21};
	apply(both);
	one = peer_of(11);
	two = peer_of(12);
	assert_non_null(one);
	assert_non_null(two);
	assert_int_equal(network_find(&v->dataplane.networks, "lan")->members->count, 2);
	assert_int_equal(network_find(&v->dataplane.networks, "lab")->members->count, 1);
	assert_ptr_equal(network_find(&v->dataplane.networks, "lab")->members->peers[0], one);

	/* out of one network, still in the other: the same peer, the same session */
	both[0].peers[0] = both[0].peers[1];
	both[0].peers[1] = (struct peer_spec){0};
	apply(both);
	assert_ptr_equal(peer_of(11), one);
	assert_int_equal(network_find(&v->dataplane.networks, "lan")->members->count, 1);
	assert_ptr_equal(network_find(&v->dataplane.networks, "lan")->members->peers[0], two);

	/* out of both */
	both[1].peers[0] = (struct peer_spec){0};
	apply(both);
	assert_null(peer_of(11));
	assert_ptr_equal(peer_of(12), two);
	/* and all, with the network */
	apply(both + 1);
	assert_null(peer_of(12));
}

static bool has_entry(const char *network, unsigned int last, const struct peer *peer)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)last};
	const struct fdb_entry *entry =
		fdb_lookup(&network_find(&v->dataplane.networks, network)->fdb, mac);

	return entry && entry->peer == peer;
}

static void macs_follow_the_map(void **state)
{
	struct network_spec lan[] = {LAN, {0}};

	(void)state;
	needs_netns();
	lan[0].peers[0] = (struct peer_spec){.key = 11, .tep = "192.0.2.11:4826", .mac = 11};
	apply(lan);
	assert_true(has_entry("lan", 1, NULL));
	assert_true(has_entry("lan", 11, peer_of(11)));
	lan[0].peers[0].mac = 33;
	lan[0].peers[1] = (struct peer_spec){.key = 12, .tep = "192.0.2.12:4826", .mac = 11};
	apply(lan);
	assert_true(has_entry("lan", 33, peer_of(11)));
	assert_true(has_entry("lan", 11, peer_of(12)));
	/* the same key as another node: the old one is gone, and its MAC is the new one's */
	lan[0].peers[0] = (struct peer_spec){.key = 13, .tep = "192.0.2.11:4826", .mac = 33};
	apply(lan);
	assert_null(peer_of(11));
	assert_true(has_entry("lan", 33, peer_of(13)));
}

static void candidates(uint8_t key, size_t count, const char *first)
{
	struct session_view view;
	char text[ENDPOINT_TEXT_LEN];

	session_view(v->dataplane.sessions, peer_of(key), &view);
	assert_int_equal(view.candidate_count, count);
	if (count == 0)
		return;
	endpoint_format(&view.candidates[0], text);
	assert_string_equal(text, first);
}

static void overlay_addresses_are_no_candidates(void **state)
{
	struct network_spec both[] = {LAN, LAB, {0}};
	struct ip ip;

	(void)state;
	needs_netns();
	both[0].peers[0] = (struct peer_spec){.key = 11, .tep = "172.16.2.5:4826", .mac = 11};
	both[0].peers[1] = (struct peer_spec){.key = 12, .tep = "172.16.3.5:4826", .mac = 12};
	apply(both);
	candidates(11, 0, NULL);
	candidates(12, 1, "172.16.3.5:4826");
	assert_true(ip_parse("172.16.1.77", &ip));
	assert_true(reconcile_is_overlay(v->reconcile, &ip));
	assert_true(ip_parse("172.16.3.77", &ip));
	assert_false(reconcile_is_overlay(v->reconcile, &ip));
	/* with the network that it is in, the obstacle goes too */
	both[1] = (struct network_spec){0};
	apply(both);
	candidates(11, 1, "172.16.2.5:4826");
	both[0].peers[0].tep = "192.0.2.50:4999";
	apply(both);
	candidates(11, 1, "192.0.2.50:4999");
}

static void endpoints_outlive_a_restart(void **state)
{
	struct network_spec lan[] = {LAN, {0}};
	struct endpoint seen, out;
	struct key key = peer_key(11), stranger = peer_key(55);

	(void)state;
	needs_netns();
	lan[0].peers[0] = (struct peer_spec){.key = 11, .tep = "192.0.2.11:4826", .mac = 11};
	lan[0].peers[1] = (struct peer_spec){.key = 12, .tep = "192.0.2.12:4826", .mac = 12};
	assert_true(endpoint_parse("198.51.100.9:4999", 0, &seen));
	state_set_endpoint(v->state, &stranger, &seen); /* of a map that was in force once */
	apply(lan);
	assert_false(state_endpoint(v->state, &stranger, &out));
	peer_of(11)->endpoint = &seen;
	reconcile_session_changed(v->reconcile, peer_of(11), PEER_CONNECTED);
	reconcile_session_changed(v->reconcile, peer_of(12), PEER_CONNECTED); /* knows none */
	peer_of(11)->endpoint = NULL;
	reconcile_clear(v->reconcile);
	assert_true(state_endpoint(v->state, &key, &out));
	apply(lan);
	candidates(11, 2, "198.51.100.9:4999");
	candidates(12, 1, "192.0.2.12:4826");
	/* who is put out is forgotten */
	lan[0].peers[0] = lan[0].peers[1];
	lan[0].peers[1] = (struct peer_spec){0};
	apply(lan);
	assert_false(state_endpoint(v->state, &key, &out));
}

/* -- warnings -- */

static void small_underlays_are_told(void **state)
{
	struct network_spec lan[] = {LAN, {0}};
	char *text;

	(void)state;
	needs_netns();
	netns_ip("link add veth0 mtu 1440 type veth peer name veth1");
	netns_ip("addr add 10.1.0.7/24 dev veth0");
	netns_ip("link set veth0 up");
	apply(lan);
	text = warnings();
	assert_string_equal(text, "[]"); /* 1360 + 80 fits exactly */
	free(text);
	netns_ip("link set veth0 mtu 1439");
	text = warnings();
	assert_non_null(
		strstr(text, "network lan (mtu 1360): veth0 has MTU 1439, 1440 needed for IPv4"));
	assert_non_null(strstr(text, "--mtu 1359"));
	free(text);
	netns_ip("link set veth0 mtu 1459");
	netns_ip("addr add 2001:db8::7/64 dev veth0 nodad");
	text = warnings();
	assert_non_null(strstr(text, "veth0 has MTU 1459, 1460 needed for IPv6"));
	free(text);
	netns_ip("link set veth0 mtu 1379");
	text = warnings();
	assert_null(strstr(text, "--mtu")); /* none that is allowed would fit */
	assert_non_null(strstr(text, "raise"));
	free(text);
	netns_ip("link del veth0");
}

static void addresses_in_common_are_told(void **state)
{
	struct network_spec two[] = {LAN, LAB, {0}};
	char *text;

	(void)state;
	needs_netns();
	apply(two);
	text = warnings();
	assert_null(strstr(text, "in common"));
	free(text);
	two[1].ip = "172.16.1.7/25";
	apply(two);
	text = warnings();
	assert_non_null(strstr(text, "networks lan (172.16.1.0/24) and lab (172.16.1.0/25) have"));
	free(text);
}

/* -- */

static void on_changed(void *ctx)
{
	(void)ctx;
}

static int set_up(void **state)
{
	uint16_t port;

	(void)state;
	if (!have_netns)
		return 0;
	tmpdir_make(&dir);
	v = aligned_alloc(64, (sizeof(*v) + 63) & ~(size_t)63);
	memset(v, 0, sizeof(*v));
	conf_defaults(&vand_config_schema, &v->config);
	if (loop_init(&v->loop) < 0 ||
		state_open(tmpdir_file(&dir, "state"), &v->state, NULL) < 0 ||
		route_open(&v->loop, on_changed, NULL, &v->route, NULL) < 0 ||
		dataplane_open(v, 0, &port, NULL) < 0 || reconcile_new(v, &v->reconcile) < 0)
		return -1;
	v->port = port;
	v->identity = state_identity(v->state);
	return dataplane_start(v, mesh, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	if (!have_netns)
		return 0;
	reconcile_free(v->reconcile);
	dataplane_close(v);
	route_close(v->route);
	state_close(v->state);
	loop_done(&v->loop);
	conf_free(&vand_config_schema, &v->config);
	free(v);
	tmpdir_remove(&dir);
	return 0;
}

#define EACH(x) cmocka_unit_test_setup_teardown(x, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(networks_come_and_go),
		EACH(changes_are_made_in_place),
		EACH(van_ids_may_be_swapped),
		EACH(deleted_device_comes_back),
		EACH(names_are_kept),
		EACH(taken_names_are_stepped_over),
		EACH(names_that_are_wished_for),
		EACH(peers_follow_the_map),
		EACH(macs_follow_the_map),
		EACH(overlay_addresses_are_no_candidates),
		EACH(endpoints_outlive_a_restart),
		EACH(small_underlays_are_told),
		EACH(addresses_in_common_are_told),
	};

	if (sodium_init() < 0)
		return 1;
	log_init("test", LOG_LEVEL_ERROR);
	have_netns = netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
