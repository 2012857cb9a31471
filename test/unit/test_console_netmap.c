/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes get to see, and when the number of it rises. */
#include "test/unit/console_suite.h"
#include "console-api/agent_map.h"
#include "console-api/consoles.h"
#include "lib/clock.h"
#include "lib/mergepatch.h"
#include "lib/netmap_delta.h"

static uint64_t number_of(struct suite *s, const char *node_id)
{
	uint64_t number = 0;

	SUITE_OK(s, agent_netmap_number(s->r, node_id, &number, NULL, &s->p));
	return number;
}

/* The text of an answer as JSON; the answer is done with. */
static struct json_object *read_answer(struct agent_answer *a)
{
	struct json_object *o = NULL;
	struct err e = {0};
	char *text;
	size_t len = 0;

	for (size_t i = 0; i < a->count; i++)
		len += a->pieces[i].iov_len;
	text = malloc(len + 1);
	assert_non_null(text);
	len = 0;
	for (size_t i = 0; i < a->count; i++) {
		memcpy(text + len, a->pieces[i].iov_base, a->pieces[i].iov_len);
		len += a->pieces[i].iov_len;
	}
	text[len] = '\0';
	agent_answer_done(a);
	if (json_parse(text, len, &o, &e))
		fail_msg("%s: %s", e.text, text);
	free(text);
	return o;
}

static struct json_object *whole_of(struct suite *s, const char *node_id)
{
	struct agent_answer answer;

	SUITE_OK(s, agent_netmap(s->r, node_id, NULL, &answer, &s->p));
	assert_false(answer.patch);
	return read_answer(&answer);
}

static struct netmap *map_of(struct suite *s, const char *node_id)
{
	CLEANUP(json) struct json_object *o = whole_of(s, node_id);
	struct netmap *map = NULL;
	struct err e = {0};

	if (netmap_from_json(o, &map, &e))
		fail_msg("%s", e.text);
	return map;
}

static struct agent_report report_from(const char *local)
{
	struct agent_report report = {.port = 4826, .version = "1"};

	if (local) {
		assert_true(ip_parse(local, &report.local[0]));
		report.local_count = 1;
	}
	return report;
}

static void report(struct suite *s, const char *node_id, const char *local, const char *seen)
{
	static uint64_t turns; /* ten seconds apart */
	struct agent_report r = report_from(local);
	unsigned int interval_s = 0;
	struct ip ip;

	assert_true(ip_parse(seen, &ip));
	SUITE_OK(s, agent_apply_report(s->r, node_id, &r, &ip,
			    clock_boottime_ns() + turns++ * 10 * NS_PER_S, &interval_s, &s->p));
	assert_int_equal(interval_s, AGENT_REPORT_INTERVAL_S);
}

static void contents(void **state)
{
	struct suite *s = *state;
	struct network net = suite_network(s, "blue", "172.16.1.0/24", "fd00:1::/64");
	struct enrolled a = suite_node(s, "blue", "a"), b = suite_node(s, "blue", "b");
	CLEANUP(netmap) struct netmap *map = NULL;
	const struct netmap_network *n;
	char text[ENDPOINT_TEXT_LEN];

	report(s, b.node_id, "10.1.1.1", "203.0.113.5");
	map = map_of(s, a.node_id);
	assert_memory_equal(map->mesh, s->r->mesh, sizeof(map->mesh));
	assert_string_equal(map->console, s->r->console_id);
	assert_true(map->generation == s->r->store->generation);
	assert_string_equal(map->node_id, a.node_id);
	assert_string_equal(map->node_name, "a");
	assert_int_equal(map->network_count, 1);
	n = &map->networks[0];
	assert_string_equal(n->id, net.id);
	assert_int_equal(n->van_id, net.van_id);
	assert_int_equal(n->mtu, 1360);
	assert_int_equal(n->ip_count, 2);
	assert_int_equal(n->mac_count, 1);
	assert_int_equal(n->peer_count, 1);
	assert_string_equal(n->peers[0].id, b.node_id);
	assert_int_equal(n->peers[0].tep_count, 2);
	endpoint_format(&n->peers[0].teps[0], text);
	assert_string_equal(text, "10.1.1.1:4826");
	endpoint_format(&n->peers[0].teps[1], text);
	assert_string_equal(text, "203.0.113.5:4826");
	assert_int_equal(n->peers[0].flags, NETMAP_NAT);
	assert_false(mac_equal(&n->macs[0], &n->peers[0].macs[0]));
}

/* What the console sends is what lib/netmap.c takes. */
static void reads_back(void **state)
{
	struct suite *s = *state;
	CLEANUP(netmap) struct netmap *map = NULL;
	CLEANUP(netmap) struct netmap *back = NULL;
	CLEANUP(json) struct json_object *o = NULL;
	struct enrolled a;
	struct err e = {0};

	suite_network(s, "blue", "172.16.1.0/24", "fd00:1::/64");
	suite_network(s, "red", "10.0.0.0/8", NULL);
	a = suite_node(s, "blue", "a");
	for (int i = 0; i < 20; i++)
		suite_node(s, "blue", "vm");
	SUITE_OK(s, member_add(s->r, &suite_actor, "red", "a", NULL, &s->p));
	map = map_of(s, a.node_id);
	o = netmap_to_json(map);
	if (netmap_from_json(o, &back, &e))
		fail_msg("%s", e.text);
	assert_int_equal(back->network_count, 2);
	assert_int_equal(back->networks[0].peer_count + back->networks[1].peer_count, 20);
	assert_int_equal(back->number, map->number);
}

static void consoles_are_named(void **state)
{
	struct suite *s = *state;
	CLEANUP(netmap) struct netmap *map = NULL;
	struct enrolled a;
	uint64_t before;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	a = suite_node(s, "blue", "a");
	before = number_of(s, a.node_id);
	consoles_announce(s->r, 1000000);
	assert_true(number_of(s, a.node_id) > before);
	before = number_of(s, a.node_id);
	consoles_announce(s->r, 1000100); /* nothing new */
	consoles_announce(s->r, 1004000); /* that it is still there is not for nodes */
	assert_int_equal(number_of(s, a.node_id), before);
	map = map_of(s, a.node_id);
	assert_int_equal(map->console_count, 1);
	assert_string_equal(map->consoles[0].id, s->r->self_id);
	assert_string_equal(map->consoles[0].url, s->r->public_url);
	assert_int_equal(map->consoles[0].pin_count, 1);
	netmap_free(STEAL(map));

	/* The key that will follow, and a second console that is gone for good after a day. */
	s->r->has_next_pin = true;
	consoles_announce(s->r, 1004000);
	snprintf(s->r->self_id, sizeof(s->r->self_id), "con_other");
	consoles_announce(s->r, 1004000 + 86300);
	map = map_of(s, a.node_id);
	assert_int_equal(map->console_count, 2);
	assert_int_equal(map->consoles[0].pin_count, 2);
	netmap_free(STEAL(map));
	consoles_announce(s->r, 1004000 + 86401);
	map = map_of(s, a.node_id);
	assert_int_equal(map->console_count, 1);
	assert_string_equal(map->consoles[0].id, "con_other");
}

/* -- deltas -- */

static void add(struct json_object *o, const char *name, struct json_object *value)
{
	assert_int_equal(json_object_object_add(o, name, value), 0);
}

/* The network as it is in the store, without anything that is kept in memory; keyed form. */
static struct json_object *network_from_store(
	struct suite *s, const char *net_id, const char *node_id)
{
	CLEANUP(store_items) struct store_items members = {0};
	struct json_object *network, *peers = json_object_new_object();
	int rc = agent_map_head(s->r, net_id, &network, &s->p);

	assert_int_equal(rc, 0);
	rc = agent_map_own(s->r, net_id, node_id, network, &s->p);
	if (rc) {
		assert_int_equal(rc, -ENOENT);
		json_object_put(network);
		json_object_put(peers);
		return NULL;
	}
	assert_int_equal(
		store_range(s->r->store, KEY("/members/%s/", net_id), NULL, 0, &members), 0);
	for (size_t i = 0; i < members.count; i++) {
		const char *id = registry_key_tail(members.items[i].key);
		struct json_object *peer;

		if (strcmp(id, node_id) && !agent_map_peer(s->r, net_id, id, &peer, &s->p))
			add(peers, id, peer);
	}
	add(network, "peers", peers);
	return network;
}

static struct json_object *map_from_store(struct suite *s, const char *node_id)
{
	CLEANUP(store_items) struct store_items nets = {0};
	struct json_object *top, *networks = json_object_new_object();
	bool active;

	assert_int_equal(agent_map_top(s->r, node_id, &top, &active, &s->p), 0);
	assert_int_equal(
		store_range(s->r->store, KEY("/node-nets/%s/", node_id), NULL, 0, &nets), 0);
	for (size_t i = 0; i < nets.count && active; i++) {
		const char *id = registry_key_tail(nets.items[i].key);
		struct json_object *network = network_from_store(s, id, node_id);

		if (network)
			add(networks, id, network);
	}
	add(top, "networks", networks);
	return top;
}

/* A node as its agent sees it. */
struct seen {
	char id[NETMAP_ID_MAX + 1];
	struct json_object *map; /* keyed; NULL: none yet */
	uint64_t number;
	bool gone;
};

struct play {
	struct suite *s;
	struct seen nodes[40];
	size_t count;
	size_t patches, wholes, patch_bytes, whole_bytes;
	uint32_t seed;
};

/* 0…n-1, the same for the same seed (xorshift). */
static uint32_t dice(struct play *play, uint32_t n)
{
	play->seed ^= play->seed << 13;
	play->seed ^= play->seed >> 17;
	play->seed ^= play->seed << 5;
	return play->seed % n;
}

static size_t text_len(struct json_object *o)
{
	return strlen(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
}

/* Asks for the map, and holds what is made of it against the store. */
static void look(struct play *play, struct seen *n)
{
	struct suite *s = play->s;
	struct json_object *o, *map;
	CLEANUP(json) struct json_object *want = NULL;
	struct agent_answer answer;
	bool patch;

	if (n->gone || (n->map && number_of(s, n->id) == n->number))
		return;
	SUITE_OK(s, agent_netmap(s->r, n->id, n->map ? &n->number : NULL, &answer, &s->p));
	patch = answer.patch;
	o = read_answer(&answer);
	*(patch ? &play->patch_bytes : &play->whole_bytes) += text_len(o);
	if (patch) {
		play->patches++;
		map = mergepatch_apply(n->map, o);
	} else {
		play->wholes++;
		map = netmap_delta_keyed(o);
	}
	json_object_put(n->map);
	n->map = map;
	json_object_put(o);
	assert_non_null(n->map);
	if (!netmap_delta_verify(n->map))
		fail_msg("the hash is not of %s", json_object_to_json_string(n->map));
	n->number = (uint64_t)record_int(n->map, "number");
	assert_int_equal(n->number, number_of(s, n->id));
	want = map_from_store(s, n->id);
	json_set_int(want, "number", (int64_t)n->number);
	json_set_string(want, "hash", record_text(n->map, "hash"));
	if (!json_object_equal(n->map, want))
		fail_msg("have %s\nwant %s", json_object_to_json_string(n->map),
			json_object_to_json_string(want));
}

static struct seen *any_node(struct play *play)
{
	return &play->nodes[dice(play, (uint32_t)play->count)];
}

static void add_node(struct play *play, const char *net)
{
	struct enrolled e = suite_node(play->s, net, "vm");
	bool full = play->count == sizeof(play->nodes) / sizeof(play->nodes[0]);
	struct seen *n = full ? any_node(play) : &play->nodes[play->count++];

	json_object_put(n->map);
	*n = (struct seen){0};
	memcpy(n->id, e.node_id, sizeof(n->id));
}

static void change_node(struct play *play, const char *node_id, const char *patch_text)
{
	CLEANUP(json) struct json_object *patch = NULL;
	char id[NETMAP_ID_MAX + 1];

	assert_int_equal(json_parse(patch_text, strlen(patch_text), &patch, NULL), 0);
	SUITE_OK(play->s,
		node_change(play->s->r, &suite_actor, node_id, patch, NULL, id, &play->s->p));
}

/* One thing happens. What fails (a node that is not there any more, say) does not. */
static void happen(struct play *play)
{
	static const char *const nets[] = {"blue", "red", "green"};
	const char *net = nets[dice(play, 3)];
	struct suite *s = play->s;
	struct seen *n = any_node(play);
	struct member_change change = {0};
	char id[NETMAP_ID_MAX + 1], text[64];
	struct problem p = {0};

	switch (dice(play, 100) ? dice(play, 11) : 11) {
	case 0:
		add_node(play, net);
		break;
	case 1:
		if (!node_remove(s->r, &suite_actor, n->id, NULL, &p))
			n->gone = true;
		break;
	case 2:
	case 3:
		member_add(s->r, &suite_actor, net, n->id, NULL, &p);
		break;
	case 4:
		member_remove(s->r, &suite_actor, net, n->id, NULL, &p);
		break;
	case 5:
		snprintf(text, sizeof(text), "vm-%08x", dice(play, UINT32_MAX));
		change.name = text;
		member_change(s->r, &suite_actor, net, n->id, &change, NULL, id, &p);
		break;
	case 6:
		change.has_address = true;
		snprintf(
			text, sizeof(text), "172.16.%u.%u", dice(play, 3) + 1, dice(play, 250) + 1);
		assert_true(ip_parse(text, &change.address));
		member_change(s->r, &suite_actor, net, n->id, &change, NULL, id, &p);
		break;
	case 7:
	case 8:
		if (n->gone)
			break;
		snprintf(text, sizeof(text), "10.1.1.%u", dice(play, 250) + 1);
		report(s, n->id, text, "203.0.113.5");
		break;
	case 9:
		if (!n->gone)
			change_node(play, n->id,
				dice(play, 2) ? "{\"disabled\":true}" : "{\"disabled\":false}");
		break;
	case 10:
		s->r->has_next_pin = !s->r->has_next_pin;
		consoles_announce(s->r, 1000000);
		break;
	default:
		agent_on_change(s->r, 0, NULL, 0); /* something was missed */
		break;
	}
}

static void deltas_make_the_map_of_the_store(void **state)
{
	struct play play = {.s = *state, .seed = randombytes_random() | 1};

	print_message("seed %u\n", play.seed);
	suite_network(play.s, "blue", "172.16.1.0/24", "fd00:1::/64");
	suite_network(play.s, "red", "172.16.2.0/24", NULL);
	suite_network(play.s, "green", "172.16.3.0/24", NULL);
	consoles_announce(play.s->r, 1000000);
	for (int i = 0; i < 20; i++)
		add_node(&play, "blue");
	for (int turn = 0; turn < 600; turn++) {
		happen(&play);
		/* Each has its own pace, so that patches span one change or many. */
		for (size_t i = 0; i < play.count; i++)
			if (!dice(&play, 1 + (uint32_t)(i % 5) * 4))
				look(&play, &play.nodes[i]);
	}
	for (size_t i = 0; i < play.count; i++) {
		look(&play, &play.nodes[i]);
		json_object_put(play.nodes[i].map);
	}
	print_message("%zu patches, %zu whole maps\n", play.patches, play.wholes);
	assert_true(play.patches > 2 * play.wholes);
	assert_true(play.patch_bytes / play.patches < play.whole_bytes / play.wholes / 2);
}

static struct json_object *changes_since(struct suite *s, const char *node_id, uint64_t since)
{
	struct agent_answer answer;

	SUITE_OK(s, agent_netmap(s->r, node_id, &since, &answer, &s->p));
	assert_true(answer.patch);
	return read_answer(&answer);
}

static void a_patch_says_what_changed_and_no_more(void **state)
{
	struct suite *s = *state;
	struct member_change rename = {.name = "renamed"};
	CLEANUP(json) struct json_object *patch = NULL;
	struct json_object *networks, *network, *peers, *peer;
	struct network net = suite_network(s, "blue", "172.16.1.0/24", NULL);
	struct enrolled a = suite_node(s, "blue", "a"), b = suite_node(s, "blue", "b");
	char id[NETMAP_ID_MAX + 1];
	uint64_t since;

	suite_node(s, "blue", "c");
	since = number_of(s, a.node_id);
	assert_int_equal(number_of(s, b.node_id), since);
	SUITE_OK(s, member_change(s->r, &suite_actor, "blue", "b", &rename, NULL, id, &s->p));
	patch = changes_since(s, a.node_id, since);
	assert_int_equal(json_object_object_length(patch), 3); /* and number, and hash */
	networks = json_object_object_get(patch, "networks");
	network = json_object_object_get(networks, net.id);
	assert_int_equal(json_object_object_length(network), 1);
	peers = json_object_object_get(network, "peers");
	assert_int_equal(json_object_object_length(peers), 1);
	peer = json_object_object_get(peers, b.node_id);
	assert_string_equal(record_text(peer, "name"), "renamed");
	json_object_put(STEAL(patch));

	/* Its own name is not among the peers of the one that has it. */
	patch = changes_since(s, b.node_id, since);
	assert_null(json_object_object_get(patch, "networks"));
	assert_string_equal(record_text(json_object_object_get(patch, "node"), "name"), "renamed");
	json_object_put(STEAL(patch));

	since = number_of(s, a.node_id);
	SUITE_OK(s, node_remove(s->r, &suite_actor, b.node_id, NULL, &s->p));
	patch = changes_since(s, a.node_id, since);
	networks = json_object_object_get(patch, "networks");
	peers = json_object_object_get(json_object_object_get(networks, net.id), "peers");
	assert_true(json_object_object_get_ex(peers, b.node_id, &peer));
	assert_null(peer);
}

/* What a console does not remember it sends whole, and goes on with patches from there. */
static void after_a_restart(void **state)
{
	struct suite *s = *state;
	struct enrolled a, b;
	struct agent_answer answer;
	uint64_t since;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	a = suite_node(s, "blue", "a");
	b = suite_node(s, "blue", "b");
	since = number_of(s, a.node_id);
	report(s, b.node_id, "10.1.1.1", "203.0.113.5");
	suite_close(s);
	suite_open(s);
	SUITE_OK(s, agent_netmap(s->r, a.node_id, &since, &answer, &s->p));
	assert_false(answer.patch);
	json_object_put(read_answer(&answer));
	since = number_of(s, a.node_id);
	report(s, b.node_id, "10.1.1.2", "203.0.113.5");
	json_object_put(changes_since(s, a.node_id, since));
	/* A node that asks while there is nothing new is enough to remember from there. */
	suite_close(s);
	suite_open(s);
	since = number_of(s, a.node_id);
	report(s, b.node_id, "10.1.1.3", "203.0.113.5");
	json_object_put(changes_since(s, a.node_id, since));
}

static void many_networks(void **state)
{
	enum { COUNT = 80 };
	struct suite *s = *state;
	CLEANUP(netmap) struct netmap *map = NULL;
	CLEANUP(json) struct json_object *patch = NULL;
	struct enrolled a, b;
	struct agent_scope scope;
	uint64_t number;
	char name[16];

	suite_network(s, "n0", "10.0.0.0/24", NULL);
	a = suite_node(s, "n0", "a");
	b = suite_node(s, "n0", "b");
	for (int i = 1; i < COUNT; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		suite_network(s, name, "10.0.0.0/24", NULL);
		SUITE_OK(s, member_add(s->r, &suite_actor, name, a.node_id, NULL, &s->p));
		SUITE_OK(s, member_add(s->r, &suite_actor, name, b.node_id, NULL, &s->p));
	}
	map = map_of(s, a.node_id);
	assert_int_equal(map->network_count, COUNT);
	for (size_t i = 0; i < map->network_count; i++) {
		assert_int_equal(map->networks[i].peer_count, 1);
		assert_string_equal(map->networks[i].peers[0].id, b.node_id);
	}
	SUITE_OK(s, agent_netmap_number(s->r, a.node_id, &number, &scope, &s->p));
	assert_int_equal(number, map->number);
	assert_true(scope.any);
	assert_int_equal(scope.count, AGENT_SCOPE_MAX);
	report(s, b.node_id, "10.1.1.1", "203.0.113.5");
	patch = changes_since(s, a.node_id, number);
	assert_int_equal(
		json_object_object_length(json_object_object_get(patch, "networks")), COUNT);
}

static void empty_map(void **state)
{
	struct suite *s = *state;
	CLEANUP(netmap) struct netmap *map = NULL;
	struct enrolled a;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	a = suite_node(s, "blue", "a");
	SUITE_OK(s, network_delete(s->r, &suite_actor, "blue", NULL, &s->p));
	map = map_of(s, a.node_id);
	assert_int_equal(map->network_count, 0);
}

static void removed(void **state)
{
	struct suite *s = *state;
	struct agent_answer answer;
	struct node_key key;
	struct enrolled a;
	uint64_t number;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	a = suite_node(s, "blue", "a");
	SUITE_OK(s, node_sign_key(s->r, a.node_id, &key, &s->p));
	assert_false(key.gone);
	SUITE_OK(s, node_remove(s->r, &suite_actor, "a", NULL, &s->p));
	SUITE_PROBLEM(
		s, agent_netmap_number(s->r, a.node_id, &number, NULL, &s->p), 410, "node_removed");
	SUITE_PROBLEM(s, agent_netmap(s->r, a.node_id, NULL, &answer, &s->p), 410, "node_removed");
	SUITE_OK(s, node_sign_key(s->r, a.node_id, &key, &s->p));
	assert_true(key.gone);
	assert_int_equal(node_sign_key(s->r, "node_never", &key, &s->p), -ENOENT);
}

/* Each step changes the maps of some, and must change nobody else's number. */
static void numbers(void **state)
{
	struct suite *s = *state;
	struct member_change move = {.has_address = true}, rename = {.name = "bb"};
	struct enrolled a, b, c;
	char id[NETMAP_ID_MAX + 1];
	uint64_t na, nb, nc;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_network(s, "red", "10.0.0.0/8", NULL);
	a = suite_node(s, "blue", "a");
	b = suite_node(s, "blue", "b");
	c = suite_node(s, "red", "c");
	assert_true(ip_parse("172.16.1.99", &move.address));

#define REMEMBER() \
	(na = number_of(s, a.node_id), nb = number_of(s, b.node_id), nc = number_of(s, c.node_id))
#define ASSERT_RISE(of_a, of_b, of_c)                                                         \
	do {                                                                                  \
		assert_int_equal(number_of(s, a.node_id) > na, of_a);                         \
		assert_int_equal(number_of(s, b.node_id) > nb, of_b);                         \
		assert_int_equal(number_of(s, c.node_id) > nc, of_c);                         \
		assert_true(number_of(s, a.node_id) >= na && number_of(s, b.node_id) >= nb && \
			    number_of(s, c.node_id) >= nc);                                   \
		REMEMBER();                                                                   \
	} while (0)

	REMEMBER();
	assert_int_equal(na, nb);
	report(s, b.node_id, "192.0.2.1", "192.0.2.1");
	ASSERT_RISE(1, 1, 0);
	report(s, b.node_id, "192.0.2.1", "192.0.2.1");
	ASSERT_RISE(0, 0, 0);
	suite_network(s, "green", "10.0.0.0/8", NULL);
	ASSERT_RISE(0, 0, 0);
	SUITE_OK(s, member_change(s->r, &suite_actor, "blue", "b", &move, NULL, id, &s->p));
	ASSERT_RISE(1, 1, 0);
	SUITE_OK(s, member_change(s->r, &suite_actor, "blue", "b", &move, NULL, id, &s->p));
	ASSERT_RISE(0, 0, 0);
	SUITE_OK(s, member_add(s->r, &suite_actor, "red", "b", NULL, &s->p));
	ASSERT_RISE(0, 1, 1);
	SUITE_OK(s, member_change(s->r, &suite_actor, "blue", "b", &rename, NULL, id, &s->p));
	ASSERT_RISE(1, 1, 1);
	SUITE_OK(s, member_remove(s->r, &suite_actor, "red", "bb", NULL, &s->p));
	ASSERT_RISE(0, 1, 1);
	SUITE_OK(s, network_delete(s->r, &suite_actor, "red", NULL, &s->p));
	ASSERT_RISE(0, 0, 1);
	SUITE_OK(s, node_remove(s->r, &suite_actor, "c", NULL, &s->p));
	assert_int_equal(number_of(s, a.node_id), na);
	suite_node(s, "blue", "d");
	assert_true(number_of(s, a.node_id) > na);
	assert_true(number_of(s, b.node_id) > nb);
}

static bool presses(struct suite *s, const char *node_id, uint64_t since)
{
	struct agent_scope scope;
	uint64_t number;

	SUITE_OK(s, agent_netmap_number(s->r, node_id, &number, &scope, &s->p));
	return scope.pressed > since;
}

/* What is told at once, and what in its turn. */
static void what_presses(void **state)
{
	struct suite *s = *state;
	struct member_change move = {.has_address = true};
	struct enrolled a, b, c, d;
	char id[NETMAP_ID_MAX + 1];
	uint64_t since;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	a = suite_node(s, "blue", "a");
	b = suite_node(s, "blue", "b");
	c = suite_node(s, "blue", "c");
	since = number_of(s, a.node_id);
	d = suite_node(s, "blue", "d");
	report(s, b.node_id, "192.0.2.1", "192.0.2.1");
	assert_true(ip_parse("172.16.1.99", &move.address));
	SUITE_OK(s, member_change(s->r, &suite_actor, "blue", "b", &move, NULL, id, &s->p));
	assert_true(number_of(s, a.node_id) > since);
	assert_false(presses(s, a.node_id, since));
	assert_true(presses(s, b.node_id, since)); /* its own address */
	/* What presses does so until it has been told, whatever comes after it. */
	SUITE_OK(s, member_remove(s->r, &suite_actor, "blue", "c", NULL, &s->p));
	report(s, b.node_id, "192.0.2.2", "192.0.2.2");
	assert_true(presses(s, a.node_id, since));
	assert_true(presses(s, c.node_id, since));
	since = number_of(s, a.node_id);
	assert_false(presses(s, a.node_id, since));
	SUITE_OK(s, node_remove(s->r, &suite_actor, "d", NULL, &s->p));
	assert_true(presses(s, a.node_id, since));
	since = number_of(s, a.node_id);
	CLEANUP(json) struct json_object *disable = json_tokener_parse("{\"disabled\":true}");

	SUITE_OK(s, node_change(s->r, &suite_actor, "b", disable, NULL, id, &s->p));
	assert_true(presses(s, a.node_id, since));
	(void)d;
}

/* -- end points of a report (pure) -- */

static void check_teps(
	const struct agent_report *r, const char *seen, const char *want, bool want_nat)
{
	struct endpoint teps[NETMAP_TEPS_MAX];
	char text[512] = "", one[ENDPOINT_TEXT_LEN];
	struct ip ip = {0};
	bool nat;
	size_t n;

	if (seen)
		assert_true(ip_parse(seen, &ip));
	n = agent_report_teps(r, &ip, teps, &nat);
	for (size_t i = 0; i < n; i++) {
		endpoint_format(&teps[i], one);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			one);
	}
	assert_string_equal(text, want);
	assert_int_equal(nat, want_nat);
}

static void end_points(void **state)
{
	static const char *const never[] = {"127.0.0.1", "::1", "169.254.1.1", "fe80::1",
		"224.0.0.1", "ff02::1", "0.0.0.0", "::"};
	struct agent_report r = report_from("10.1.1.1");

	(void)state;
	check_teps(&r, "10.1.1.1", "10.1.1.1:4826", false);
	check_teps(&r, "203.0.113.5", "10.1.1.1:4826 203.0.113.5:4826", true);
	check_teps(&r, "127.0.0.1", "10.1.1.1:4826", false);
	check_teps(&r, "2001:db8::1", "10.1.1.1:4826 [2001:db8::1]:4826", true);
	check_teps(&r, NULL, "10.1.1.1:4826", false);
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		r = report_from(never[i]);
		check_teps(&r, "127.0.0.1", "", false);
	}
	r = report_from("10.1.1.1");
	assert_true(endpoint_parse("198.51.100.1:5000", 0, &r.advertise[0]));
	assert_true(endpoint_parse("127.0.0.1:5000", 0, &r.advertise[1]));
	assert_true(endpoint_parse("198.51.100.1:5000", 0, &r.advertise[2]));
	r.advertise_count = 3;
	check_teps(&r, "203.0.113.5", "198.51.100.1:5000", false);
}

static void the_seen_one_finds_a_place(void **state)
{
	struct agent_report r = {.port = 1};
	struct endpoint teps[NETMAP_TEPS_MAX];
	struct ip seen;
	bool nat;

	(void)state;
	for (r.local_count = 0; r.local_count < 32; r.local_count++) {
		assert_true(ip_parse("10.0.0.1", &r.local[r.local_count]));
		r.local[r.local_count].b[3] = (uint8_t)r.local_count;
	}
	assert_true(ip_parse("203.0.113.5", &seen));
	assert_int_equal(agent_report_teps(&r, &seen, teps, &nat), NETMAP_TEPS_MAX);
	assert_int_equal(teps[NETMAP_TEPS_MAX - 1].remote.in.sin_addr.s_addr, htonl(0xcb007105));
	/* Local, but beyond those that fit. */
	assert_true(ip_parse("10.0.0.31", &seen));
	assert_int_equal(agent_report_teps(&r, &seen, teps, &nat), NETMAP_TEPS_MAX);
	assert_int_equal(teps[NETMAP_TEPS_MAX - 1].remote.in.sin_addr.s_addr, htonl(0x0a00001f));
	assert_false(nat);
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(contents),
		T(reads_back),
		T(consoles_are_named),
		T(deltas_make_the_map_of_the_store),
		T(a_patch_says_what_changed_and_no_more),
		T(after_a_restart),
		T(many_networks),
		T(empty_map),
		T(removed),
		T(numbers),
		T(what_presses),
		cmocka_unit_test(end_points),
		cmocka_unit_test(the_seen_one_finds_a_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
