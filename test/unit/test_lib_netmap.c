/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/json.h"
#include "lib/netmap.h"

/* Keys of 32 equal bytes: 1, 2, 3. */
#define KEY1 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define KEY2 "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
#define KEY3 "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="

static const char example[] =
	"{\"format\":1,\"mesh\":\"000102030405060708090a0b0c0d0e0f\",\"console\":\"con-1\","
	"\"generation\":\"00000000deadbeef\",\"number\":42,"
	"\"node\":{\"id\":\"n1\",\"name\":\"alpha\",\"public_key\":\"" KEY1
	"\",\"flags\":[\"nat\"]},"
	"\"networks\":[{\"id\":\"net-1\",\"name\":\"lan\",\"van_id\":16777215,"
	"\"cidr\":\"172.16.1.0/24\",\"cidr6\":\"fd00:1::/64\",\"encryption\":\"aes-256-gcm\","
	"\"mtu\":1360,\"macs\":[\"02:00:00:00:00:01\"],\"ips\":[\"172.16.1.1/24\",\"fd00:1::1/64\"],"
	"\"peers\":[{\"id\":\"n2\",\"name\":\"beta\",\"public_key\":\"" KEY2 "\","
	"\"teps\":[\"192.0.2.1:4826\",\"[2001:db8::1]:4826\"],\"macs\":[\"02:00:00:00:00:02\"],"
	"\"ips\":[\"172.16.1.2/24\"],\"flags\":[\"nat\",\"bridge\"]},"
	"{\"id\":\"n3\",\"name\":\"gamma\",\"public_key\":\"" KEY3 "\",\"teps\":[],\"macs\":[],"
	"\"ips\":[],\"flags\":[]}],\"gateways\":{},\"floating\":{}},"
	"{\"id\":\"net-2\",\"name\":\"clear\",\"van_id\":1,\"cidr\":\"10.0.0.0/8\",\"cidr6\":null,"
	"\"encryption\":\"integrity\",\"mtu\":9000,\"macs\":[],\"ips\":[],\"peers\":["
	"{\"id\":\"n2\",\"name\":\"beta\",\"public_key\":\"" KEY2 "\",\"teps\":[],"
	"\"macs\":[\"02:00:00:00:00:02\"],\"ips\":[],\"flags\":[]}],"
	"\"gateways\":{},\"floating\":{}}]}";

static struct json_object *parse(const char *text)
{
	struct json_object *o;
	struct err e;

	if (json_parse(text, strlen(text), &o, &e) != 0)
		fail_msg("%s: %s", e.text, text);
	return o;
}

static struct netmap *read_example(void)
{
	struct json_object *o = parse(example);
	struct netmap *map;
	struct err e;

	if (netmap_from_json(o, &map, &e) != 0)
		fail_msg("%s", e.text);
	json_object_put(o);
	return map;
}

static void test_reads_every_member(void **state)
{
	struct netmap *map = read_example();
	const struct netmap_network *n = &map->networks[0];
	const struct netmap_peer *p = &n->peers[0];
	char text[CIDR_TEXT_LEN];

	(void)state;
	assert_int_equal(map->mesh[15], 15);
	assert_string_equal(map->console, "con-1");
	assert_true(map->generation == 0xdeadbeef);
	assert_true(map->number == 42);
	assert_string_equal(map->node_id, "n1");
	assert_string_equal(map->node_name, "alpha");
	assert_int_equal(map->node_key.bytes[31], 1);
	assert_int_equal(map->node_flags, NETMAP_NAT);
	assert_int_equal(map->network_count, 2);
	assert_string_equal(n->id, "net-1");
	assert_string_equal(n->name, "lan");
	assert_int_equal(n->van_id, 16777215);
	cidr_format(&n->cidr, text);
	assert_string_equal(text, "172.16.1.0/24");
	cidr_format(&n->cidr6, text);
	assert_string_equal(text, "fd00:1::/64");
	assert_int_equal(n->encryption, NETMAP_AES_256_GCM);
	assert_int_equal(n->mtu, 1360);
	assert_int_equal(n->mac_count, 1);
	assert_int_equal(n->ip_count, 2);
	assert_int_equal(n->peer_count, 2);
	assert_string_equal(p->name, "beta");
	assert_int_equal(p->tep_count, 2);
	assert_int_equal(endpoint_port(&p->teps[1]), 4826);
	assert_int_equal(p->macs[0].b[5], 2);
	assert_int_equal(p->flags, NETMAP_NAT | NETMAP_BRIDGE);
	assert_int_equal(map->networks[1].cidr6.ip.family, AF_UNSPEC);
	assert_int_equal(map->networks[1].encryption, NETMAP_INTEGRITY);
	netmap_free(map);
}

static void test_round_trip(void **state)
{
	struct netmap *map = read_example(), *again;
	struct json_object *o = netmap_to_json(map);
	struct err e;

	(void)state;
	assert_string_equal(json_object_to_json_string_ext(
				    o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
		example);
	assert_int_equal(netmap_from_json(o, &again, &e), 0);
	/* Bytes too: reconcile compares maps. */
	assert_int_equal(again->network_count, map->network_count);
	for (size_t i = 0; i < map->network_count; i++) {
		struct netmap_network *a = &map->networks[i], *b = &again->networks[i];

		assert_int_equal(a->peer_count, b->peer_count);
		assert_memory_equal(a->peers, b->peers, a->peer_count * sizeof(*a->peers));
		free(b->peers);
		b->peers = a->peers;
	}
	assert_memory_equal(
		map->networks, again->networks, map->network_count * sizeof(*map->networks));
	for (size_t i = 0; i < again->network_count; i++)
		again->networks[i].peers = NULL;
	netmap_free(again);
	netmap_free(map);
	json_object_put(o);
}

/* Replaces the first `from` in the example, reads it and checks the message. NULL: it must be fine.
 */
static void check_change(const char *from, const char *to, const char *message)
{
	const char *at = strstr(example, from);
	size_t room = sizeof(example) + strlen(to);
	struct netmap *map = (struct netmap *)"untouched";
	struct err e = {0};
	struct json_object *o;
	char *text;
	int rc;

	if (!at)
		fail_msg("the example has no %s", from);
	text = malloc(room);
	assert_non_null(text);
	snprintf(text, room, "%.*s%s%s", (int)(at - example), example, to, at + strlen(from));
	o = parse(text);
	rc = netmap_from_json(o, &map, &e);
	if (!message) {
		if (rc)
			fail_msg("%s → %s: %s", from, to, e.text);
		netmap_free(map);
	} else {
		if (rc != -VAN_E_INVALID || strncmp(e.text, message, strlen(message)) != 0)
			fail_msg("%s → %s gave %d: %s", from, to, rc, e.text);
		assert_string_equal((const char *)map, "untouched");
	}
	json_object_put(o);
	free(text);
}

static void test_bounds_of_the_head(void **state)
{
	(void)state;
	check_change("\"format\":1", "\"format\":2", "/format: must be from 1 to 1");
	check_change("\"format\":1", "\"format\":\"1\"", "/format: must be an integer");
	check_change("0e0f\"", "0e\"", "/mesh: must have 32");
	check_change("0e0f\"", "0e0g\"", "/mesh: must be 32 hex");
	check_change("\"con-1\"", "\"\"", "/console: must have 1 to 40");
	check_change("\"con-1\"", "\"con/1\"", "/console: must be letters");
	check_change("\"con-1\"", "\"ccccccccccccccccccccccccccccccccccccccccc\"",
		"/console: must have");
	check_change("\"con-1\"", "\"cccccccccccccccccccccccccccccccccccccccc\"", NULL);
	check_change("00000000deadbeef", "0000000deadbeef", "/generation: must have 16");
	check_change("00000000deadbeef", "0000000xdeadbeef", "/generation: must be 16");
	check_change("00000000deadbeef", "ffffffffffffffff", NULL);
	check_change("\"number\":42", "\"number\":-1", "/number: must be from 0");
	check_change("\"number\":42", "\"number\":9223372036854775807", NULL);
	check_change("\"number\":42,", "", "/number: is required");
	check_change("\"name\":\"alpha\"", "\"name\":\"Alpha\"", "/node/name: must be a-z");
	check_change("\"name\":\"alpha\"", "\"name\":\"-alpha\"", "/node/name: must be a-z");
	check_change(KEY1, KEY1 "=", "/node/public_key: must have 44");
	check_change(
		KEY1, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=", "/node/public_key: must be");
	check_change(
		KEY1, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "/node/public_key: must be");
	check_change("\"flags\":[\"nat\"]", "\"flags\":[7]", "/node/flags/0: must be a string");
	check_change("\"flags\":[\"nat\"]", "\"flags\":{}", "/node/flags: must be an array");
	/* What a newer console may say. */
	check_change("\"flags\":[\"nat\"]", "\"flags\":[\"nat\",\"new\"],\"extra\":{}", NULL);
	check_change("{\"format\":1", "{\"more\":[1,2],\"format\":1", NULL);
}

static void test_bounds_of_a_network(void **state)
{
	(void)state;
	check_change(
		"\"van_id\":16777215", "\"van_id\":16777216", "/networks/0/van_id: must be from 1");
	check_change("\"van_id\":16777215", "\"van_id\":0", "/networks/0/van_id: must be from 1");
	check_change("\"van_id\":16777215", "\"van_id\":1", "/networks/1/van_id: stands twice");
	check_change("\"id\":\"net-2\"", "\"id\":\"net-1\"", "/networks/1/id: stands twice");
	check_change("\"172.16.1.0/24\"", "\"172.16.1.1/24\"", "/networks/0/cidr: must be an IPv4");
	check_change("\"172.16.1.0/24\"", "\"0.0.0.0/0\"", "/networks/0/cidr: must be an IPv4");
	check_change("\"172.16.1.0/24\"", "\"fd00::/64\"", "/networks/0/cidr: must be an IPv4");
	check_change("\"172.16.1.0/24\"", "null", "/networks/0/cidr: is required");
	check_change("\"fd00:1::/64\"", "\"10.0.0.0/8\"", "/networks/0/cidr6: must be an IPv6");
	check_change("\"fd00:1::/64\"", "null", "/networks/0/ips/1: must be inside");
	check_change("\"cidr6\":null,", "", NULL);
	check_change(
		"aes-256-gcm", "aes-128-gcm", "/networks/0/encryption: must be aes-256-gcm or");
	check_change("\"mtu\":1360", "\"mtu\":1279", "/networks/0/mtu: must be from 1280 to 9000");
	check_change("\"mtu\":9000", "\"mtu\":9001", "/networks/1/mtu: must be from 1280 to 9000");
	check_change("\"mtu\":1360", "\"mtu\":1280", NULL);
	check_change("\"172.16.1.1/24\"", "\"172.16.2.1/24\"", "/networks/0/ips/0: must be inside");
	check_change("\"172.16.1.1/24\"", "\"172.16.1.1/23\"", "/networks/0/ips/0: must be inside");
	check_change(
		"\"172.16.1.1/24\"", "\"172.16.1.1/32\"", "/networks/0/ips/0: must have the net");
	check_change("\"172.16.1.1/24\"", "\"here\"", "/networks/0/ips/0: must be an address");
	check_change("[\"02:00:00:00:00:01\"]", "[\"03:00:00:00:00:01\"]",
		"/networks/0/macs/0: must be");
	check_change("[\"02:00:00:00:00:01\"]", "[\"00:00:00:00:00:00\"]",
		"/networks/0/macs/0: must be");
	check_change("[\"02:00:00:00:00:01\"]", "[null]", "/networks/0/macs/0: must be a string");
	check_change("[\"02:00:00:00:00:01\"]", "[\"02:00:00:00:00:01\",\"02:00:00:00:00:01\"]",
		"/networks/0/macs/1: stands twice");
	check_change("[\"02:00:00:00:00:01\"]",
		"[\"02:00:00:00:01:01\",\"02:00:00:00:01:02\",\"02:00:00:00:01:03\","
		"\"02:00:00:00:01:04\",\"02:00:00:00:01:05\",\"02:00:00:00:01:06\","
		"\"02:00:00:00:01:07\",\"02:00:00:00:01:08\",\"02:00:00:00:01:09\"]",
		"/networks/0/macs: must have at most 8");
	check_change("\"networks\":[{", "\"networks\":[3,{", "/networks/0: must be an object");
	check_change("\"gateways\":{},\"floating\":{}},", "\"gateways\":[{}]},", NULL);
}

static void test_bounds_of_a_peer(void **state)
{
	(void)state;
	check_change("\"id\":\"n2\"", "\"id\":\"n1\"", "/networks/0/peers/0/id: is this node");
	check_change("\"id\":\"n3\"", "\"id\":\"n2\"", "/networks/0/peers/1/id: stands twice");
	check_change(KEY3, KEY1, "/networks/0/peers/1/public_key: is this node's own");
	check_change(KEY3, KEY2, "/networks/0/peers/1/public_key: is another node's");
	check_change(KEY2, "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=",
		"/networks/1/peers/0/public_key: is not this node's key");
	check_change("\"name\":\"beta\"", "\"name\":\"\"",
		"/networks/0/peers/0/name: must have 1 to 63");
	check_change("192.0.2.1:4826", "192.0.2.1", "/networks/0/peers/0/teps/0: must be ADDRESS");
	check_change("192.0.2.1:4826", "0.0.0.0:4826", "/networks/0/peers/0/teps/0: must be the");
	check_change(
		"[2001:db8::1]:4826", "[ff02::1]:4826", "/networks/0/peers/0/teps/1: must be the");
	check_change("\"teps\":[]",
		"\"teps\":[\"1.1.1.1:1\",\"1.1.1.1:2\",\"1.1.1.1:3\",\"1.1.1.1:4\",\"1.1.1.1:5\","
		"\"1.1.1.1:6\",\"1.1.1.1:7\",\"1.1.1.1:8\",\"1.1.1.1:9\"]",
		"/networks/0/peers/1/teps: must have at most 8");
	check_change("[\"02:00:00:00:00:02\"]", "[\"02:00:00:00:00:01\"]",
		"/networks/0/peers/0/macs/0: stands twice");
	check_change("\"macs\":[],\"ips\":[],\"flags\":[]}],\"gateways\"",
		"\"macs\":[\"02:00:00:00:00:02\"],\"ips\":[],\"flags\":[]}],\"gateways\"",
		"/networks/0/peers/1/macs/0: stands twice");
	check_change("172.16.1.2/24", "172.16.2.2/24", "/networks/0/peers/0/ips/0: must be inside");
	check_change("172.16.1.2/24", "172.16.1.2/23", "/networks/0/peers/0/ips/0: must be inside");
	check_change("172.16.1.2/24", "fd00:1::2/64", NULL);
	check_change("172.16.1.2/24", "172.16.1.2", NULL);
	check_change("172.16.1.2/24", "fd00:2::2/64", "/networks/0/peers/0/ips/0: must be inside");
	check_change("\"peers\":[{", "\"peers\":[[],{", "/networks/0/peers/0: must be an object");
	check_change("\"teps\":[],\"macs\":[],", "\"macs\":[],",
		"/networks/0/peers/1/teps: is required");
}

static void test_not_a_map(void **state)
{
	struct json_object *o = parse("[]");
	struct netmap *map;
	struct err e;

	(void)state;
	assert_int_equal(netmap_from_json(o, &map, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "the document must be an object");
	assert_int_equal(netmap_from_json(NULL, &map, NULL), -VAN_E_INVALID);
	json_object_put(o);
	netmap_free(NULL);
}

/* As many peers as there may be, and one more. */
static void test_largest_network(void **state)
{
	struct netmap *map = read_example(), *again;
	struct netmap_network *n = &map->networks[0];
	struct netmap_peer *few = n->peers;
	struct json_object *o;
	struct err e;

	(void)state;
	n->peers = calloc(NETMAP_PEERS_MAX + 1, sizeof(*n->peers));
	assert_non_null(n->peers);
	for (uint32_t i = 0; i <= NETMAP_PEERS_MAX; i++) {
		struct netmap_peer *p = &n->peers[i];

		snprintf(p->id, sizeof(p->id), "p%u", i);
		snprintf(p->name, sizeof(p->name), "peer-%u", i);
		memcpy(p->public_key.bytes, &i, sizeof(i));
		p->public_key.bytes[31] = 0x55;
		p->mac_count = 1;
		p->macs[0] =
			(struct mac){{2, 1, 0, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
	}
	n->peer_count = NETMAP_PEERS_MAX;
	o = netmap_to_json(map);
	if (netmap_from_json(o, &again, &e) != 0)
		fail_msg("%s", e.text);
	json_object_put(o);
	assert_memory_equal(again->networks[0].peers[NETMAP_PEERS_MAX - 1].id, "p65535", 7);
	netmap_free(again);
	n->peer_count = NETMAP_PEERS_MAX + 1;
	o = netmap_to_json(map);
	assert_int_equal(netmap_from_json(o, &again, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/networks/0/peers: must have at most 65536 items");
	json_object_put(o);
	/* Two far apart that have the same MAC. */
	n->peer_count = NETMAP_PEERS_MAX;
	n->peers[60000].macs[0] = n->peers[7].macs[0];
	o = netmap_to_json(map);
	assert_int_equal(netmap_from_json(o, &again, &e), -VAN_E_INVALID);
	assert_string_equal(e.text, "/networks/0/peers/60000/macs/0: stands twice in the network");
	json_object_put(o);
	free(few);
	netmap_free(map);
}

static void test_names(void **state)
{
	static const char *const good[] = {"a", "0", "a-b", "web-01", "a--b",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	static const char *const bad[] = {"", "-", "-a", "a-", "A", "a.b", "a_b", "a b", "\xc3\xa9",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(netmap_name_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(netmap_name_valid(bad[i]));
}

static void test_revision(void **state)
{
	static const char *const bad[] = {"", ".", "00000000deadbeef", "00000000deadbeef.",
		"00000000deadbeef.x", "00000000deadbeef.-1", "00000000deadbeef.+1",
		"00000000deadbeef.01", "00000000deadbeef. 1", "0000000deadbeef.1",
		"0000000000deadbeef.1", "0000000gdeadbeef.1", "00000000deadbeef.1 ",
		"00000000deadbeef.18446744073709551616"};
	uint64_t generation = 7, number = 8;
	char text[NETMAP_REVISION_TEXT_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(netmap_revision_parse(bad[i], &generation, &number));
	assert_true(generation == 7 && number == 8);
	netmap_revision_format(0xdeadbeef, 0, text);
	assert_string_equal(text, "00000000deadbeef.0");
	assert_true(netmap_revision_parse(text, &generation, &number));
	assert_true(generation == 0xdeadbeef && number == 0);
	netmap_revision_format(UINT64_MAX, UINT64_MAX, text);
	assert_string_equal(text, "ffffffffffffffff.18446744073709551615");
	assert_true(netmap_revision_parse(text, &generation, &number));
	assert_true(generation == UINT64_MAX && number == UINT64_MAX);
}

static void test_words(void **state)
{
	enum netmap_encryption enc = NETMAP_INTEGRITY;
	enum netmap_flag flag = NETMAP_NAT;

	(void)state;
	assert_false(netmap_encryption_parse("AES-256-GCM", &enc));
	assert_int_equal(enc, NETMAP_INTEGRITY);
	assert_true(netmap_encryption_parse("aes-256-gcm", &enc));
	assert_int_equal(enc, NETMAP_AES_256_GCM);
	assert_string_equal(netmap_encryption_name(NETMAP_INTEGRITY), "integrity");
	assert_false(netmap_flag_parse("gateway", &flag));
	assert_true(netmap_flag_parse("bridge", &flag));
	assert_int_equal(flag, NETMAP_BRIDGE);
	assert_string_equal(netmap_flag_name(NETMAP_NAT), "nat");
	assert_null(netmap_flag_name((enum netmap_flag)(1 << 20)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_every_member),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_bounds_of_the_head),
		cmocka_unit_test(test_bounds_of_a_network),
		cmocka_unit_test(test_bounds_of_a_peer),
		cmocka_unit_test(test_not_a_map),
		cmocka_unit_test(test_largest_network),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_revision),
		cmocka_unit_test(test_words),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
