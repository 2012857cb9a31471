/* SPDX-License-Identifier: Apache-2.0 */
/* What grows with the mesh: MAC table, replay window, netmap. */
#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/json.h"
#include "lib/netmap.h"
#include "test/bench/micro.h"
#include "vand/fdb.h"
#include "vand/replay.h"

/* -- MAC table -- */

#define LOOKUPS 65536

struct fdb_case {
	struct fdb fdb;
	uint8_t (*macs)[6]; /* to be looked up, in random order */
	unsigned int next;
	bool there;
};

static struct mac mac_of(size_t number)
{
	return (struct mac){.b = {2, 0x42, (uint8_t)(number >> 24), (uint8_t)(number >> 16),
				    (uint8_t)(number >> 8), (uint8_t)number}};
}

static uint64_t look_up_some(void *ctx, unsigned int wanted, unsigned int *ret_done)
{
	struct fdb_case *c = ctx;
	unsigned int found = 0;
	uint64_t start;

	/* many in one go: the clock costs as much as a look-up or two */
	wanted *= 64;
	start = micro_now_ns();
	for (unsigned int i = 0; i < wanted; i++)
		found += fdb_lookup(&c->fdb, c->macs[c->next++ % LOOKUPS]) != NULL;
	*ret_done = wanted;
	start = micro_now_ns() - start;
	if (found != (c->there ? wanted : 0))
		micro_die("fdb: %u of %u were found", found, wanted);
	return start;
}

static void run_fdb(struct micro *m, size_t count)
{
	struct fdb_entry *entries = micro_alloc(count * sizeof(*entries));
	struct fdb_case c = {.macs = micro_alloc(LOOKUPS * sizeof(*c.macs))};
	char name[48];
	struct micro_row row = {.group = "fdb look-up", .name = name, .unit = "look-up"};

	for (size_t i = 0; i < count; i++)
		entries[i] = (struct fdb_entry){.mac = mac_of(i), .kind = FDB_FIXED};
	if (fdb_init(&c.fdb) < 0 || fdb_replace(&c.fdb, entries, count) < 0)
		micro_die("fdb: out of memory");
	for (int there = 1; there >= 0; there--) {
		for (size_t i = 0; i < LOOKUPS; i++) {
			size_t number = randombytes_uniform((uint32_t)count);
			struct mac mac = mac_of(there ? number : number + count);

			memcpy(c.macs[i], mac.b, sizeof(mac.b));
		}
		c.there = there;
		snprintf(name, sizeof(name), "%zu entries, %s", count, there ? "found" : "absent");
		micro_run(m, &row, look_up_some, &c);
	}
	fdb_done(&c.fdb);
	free(c.macs);
	free(entries);
}

void micro_fdb(struct micro *m)
{
	static const size_t counts[] = {10, 1000, 100000, 1000000};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		run_fdb(m, counts[i]);
}

/* -- replay window -- */

#define REORDER 64

struct replay_case {
	struct replay window;
	uint64_t base;
	bool reordered, duplicates;
};

static uint64_t window_some(void *ctx, unsigned int wanted, unsigned int *ret_done)
{
	struct replay_case *c = ctx;
	unsigned int accepted = 0;
	uint64_t start;
	bool highest;

	wanted = wanted * 64 / REORDER * REORDER;
	start = micro_now_ns();
	for (unsigned int i = 0; i < wanted; i++) {
		/* backwards within groups, where they are reordered */
		uint64_t counter = c->base + (c->reordered ? i ^ (REORDER - 1) : i);

		accepted += replay_check(&c->window, counter) &&
			    replay_commit(&c->window, counter, &highest);
	}
	start = micro_now_ns() - start;
	if (accepted != (c->duplicates ? 0 : wanted))
		micro_die("replay: %u of %u were accepted", accepted, wanted);
	if (!c->duplicates)
		c->base += wanted;
	*ret_done = wanted;
	return start;
}

void micro_replay(struct micro *m)
{
	static const struct {
		const char *name;
		bool reordered, duplicates;
	} rows[] = {
		{"check and commit, in order", false, false},
		{"check and commit, backwards in groups of 64", true, false},
		{"check of duplicates", false, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct replay_case c = {.reordered = rows[i].reordered};
		struct micro_row row = {
			.group = "replay window", .name = rows[i].name, .unit = "packet"};

		replay_init(&c.window);
		if (rows[i].duplicates) {
			unsigned int done;

			window_some(&c, 64, &done);
			c.base = 0;
			c.duplicates = true;
		}
		micro_run(m, &row, window_some, &c);
	}
}

/* -- netmap -- */

#define PEERS 10000

/* As the registry writes it: two end points, a MAC and two addresses each. */
static char *make_netmap(size_t *ret_len)
{
	size_t room = (size_t)PEERS * 512 + 1024, len = 0;
	char *text = micro_alloc(room), key[KEY_TEXT_LEN];
	struct key public_key = {.bytes = {1}};

	key_format(&public_key, key);
	len = (size_t)snprintf(text, room,
		"{\"format\":1,\"mesh\":\"%032d\",\"console\":\"con_1\",\"generation\":\"%016d\","
		"\"number\":1,\"node\":{\"id\":\"node_0\",\"name\":\"node-0\",\"public_key\":\"%s\","
		"\"flags\":[]},\"networks\":[{\"id\":\"net_1\",\"name\":\"lan\",\"van_id\":1,"
		"\"cidr\":\"10.0.0.0/8\",\"cidr6\":\"fd00:1::/64\",\"encryption\":\"aes-256-gcm\","
		"\"mtu\":1360,\"macs\":[\"02:00:00:00:00:00\"],\"ips\":[\"10.0.0.1/8\"],"
		"\"peers\":[",
		1, 1, key);
	for (unsigned int i = 1; i <= PEERS; i++) {
		struct mac mac = mac_of(i);

		randombytes_buf(public_key.bytes, sizeof(public_key.bytes));
		key_format(&public_key, key);
		len += (size_t)snprintf(text + len, room - len,
			"%s{\"id\":\"node_%u\",\"name\":\"node-%u\",\"public_key\":\"%s\","
			"\"teps\":[\"198.51.%u.%u:4826\",\"[2001:db8::%x]:4826\"],"
			"\"macs\":[\"%02x:%02x:%02x:%02x:%02x:%02x\"],"
			"\"ips\":[\"10.1.%u.%u/8\",\"fd00:1::%x/64\"],\"flags\":[]}",
			i > 1 ? "," : "", i, i, key, i >> 8, i & 255, i, mac.b[0], mac.b[1],
			mac.b[2], mac.b[3], mac.b[4], mac.b[5], i >> 8, i & 255, i);
		if (len >= room)
			micro_die("netmap: more than %zu bytes", room);
	}
	len += (size_t)snprintf(text + len, room - len, "],\"gateways\":[],\"filters\":[]}]}");
	*ret_len = len;
	return text;
}

static size_t heap_used(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

void micro_netmap(struct micro *m)
{
	unsigned int runs = micro_runs(m);
	double *json_ns = micro_alloc(runs * sizeof(*json_ns));
	double *map_ns = micro_alloc(runs * sizeof(*map_ns));
	size_t len, json_bytes = 0, map_bytes = 0;
	char *text = make_netmap(&len);
	struct micro_row row = {.group = "netmap of 10,000 peers",
		.unit = "netmap",
		.parts = PEERS,
		.part = "peer"};
	struct err e;

	for (unsigned int i = 0; i < runs; i++) {
		size_t before = heap_used(), between;
		uint64_t start = micro_now_ns();
		struct json_object *o;
		struct netmap *map;

		if (json_parse(text, len, &o, &e) != 0)
			micro_die("netmap: %s", e.text);
		json_ns[i] = (double)(micro_now_ns() - start);
		between = heap_used();
		start = micro_now_ns();
		if (netmap_from_json(o, &map, &e) != 0)
			micro_die("netmap: %s", e.text);
		map_ns[i] = (double)(micro_now_ns() - start);
		if (map->networks[0].peer_count != PEERS)
			micro_die("netmap: %zu peers", map->networks[0].peer_count);
		json_bytes = between - before;
		map_bytes = heap_used() - between;
		netmap_free(map);
		json_object_put(o);
	}
	row.name = "text to JSON object";
	row.bytes = len;
	snprintf(row.more, sizeof(row.more), "bytes a peer: text %zu, heap %zu", len / PEERS,
		json_bytes / PEERS);
	micro_add(m, &row, json_ns, runs);
	row.name = "JSON object to netmap";
	row.bytes = 0;
	snprintf(row.more, sizeof(row.more), "bytes a peer: heap %zu", map_bytes / PEERS);
	micro_add(m, &row, map_ns, runs);
	free(json_ns);
	free(map_ns);
	free(text);
}
