/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "test/unit/tmpdir.h"
#include "vand/state.h"

static struct tmpdir dir;
static struct state *s;

static const struct state_membership membership = {.url = "https://192.0.2.1:8443",
	.pin = "sha256//AAAA",
	.console = "con_1",
	.mesh = {0xaa, 0xbb, 1},
	.node_id = "node_1"};

static void reopen(void)
{
	state_close(s);
	s = NULL;
	assert_int_equal(state_open(tmpdir_file(&dir, "state"), &s, NULL), 0);
}

static const char *file(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "state/%s", name);
	return tmpdir_file(&dir, path);
}

static void spoil(const char *name, const char *content)
{
	assert_int_equal(file_write_atomic(file(name), content, strlen(content), 0600, NULL), 0);
}

static size_t warning_count(void)
{
	struct json_object *array = json_object_new_array();
	size_t n;

	state_warnings(s, array);
	n = json_object_array_length(array);
	json_object_put(array);
	return n;
}

/* Every write fails from here on, as on a full disk. */
static void disk_full(bool full)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = full ? 0 : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static struct netmap *make_map(const uint8_t *mesh, const char *node, const struct key *key)
{
	struct netmap *map = calloc(1, sizeof(*map));

	assert_non_null(map);
	memcpy(map->mesh, mesh, sizeof(map->mesh));
	snprintf(map->console, sizeof(map->console), "con_1");
	snprintf(map->node_id, sizeof(map->node_id), "%s", node);
	snprintf(map->node_name, sizeof(map->node_name), "web-1");
	map->node_key = *key;
	map->generation = 7;
	map->number = 42;
	return map;
}

/* -- the directory -- */

static void first_start(void **state)
{
	struct stat st;

	(void)state;
	reopen();
	assert_int_equal(stat(file(""), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(file("identity"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_null(state_membership(s));
	assert_null(state_load_netmap(s, NULL));
	assert_null(state_ifname(s, "net_1"));
	assert_int_equal(state_port(s), 0);
	assert_int_equal(state_netmap_contact_ns(s), 0);
	assert_null(state_leaving(s, 0));
	assert_false(key_is_zero(&state_identity(s)->public));
	assert_int_equal(warning_count(), 0);
}

static void identity_stays(void **state)
{
	struct key before;

	(void)state;
	reopen();
	before = state_identity(s)->public;
	reopen();
	assert_true(key_equal(&before, &state_identity(s)->public));
}

static void damaged_identity_is_an_error(void **state)
{
	struct state *other;
	struct err e = {0};

	(void)state;
	reopen();
	state_close(s);
	s = NULL;
	spoil("identity", "VAN ");
	assert_int_equal(state_open(tmpdir_file(&dir, "state"), &other, &e), -VAN_E_CORRUPT);
	assert_non_null(strstr(e.text, "identity"));
	/* and is not replaced by a new one */
	assert_int_equal(state_open(tmpdir_file(&dir, "state"), &other, &e), -VAN_E_CORRUPT);
}

static void second_one_is_refused(void **state)
{
	struct state *other;
	struct err e = {0};
	char pid[16];

	(void)state;
	reopen();
	snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
	assert_int_equal(state_open(tmpdir_file(&dir, "state"), &other, &e), -EBUSY);
	assert_non_null(strstr(e.text, pid));
	assert_non_null(strstr(e.text, "/state"));
}

static void lock_goes_with_the_process(void **state)
{
	pid_t child;
	int status;

	(void)state;
	reopen();
	state_close(s);
	s = NULL;
	child = fork();
	if (child == 0) {
		struct state *mine;

		_exit(state_open(tmpdir_file(&dir, "state"), &mine, NULL) < 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	reopen(); /* the child did not close it */
}

/* -- membership -- */

static void membership_is_kept(void **state)
{
	const struct state_membership *m;

	(void)state;
	reopen();
	assert_int_equal(state_set_port(s, 40000, NULL), 0);
	assert_int_equal(state_set_membership(s, &membership, NULL), 0);
	assert_int_equal(state_set_leaving(s, "net_1", true, NULL), 0);
	assert_int_equal(state_set_leaving(s, "net_2", true, NULL), 0);
	assert_int_equal(state_set_leaving(s, "net_1", true, NULL), 0);
	reopen();
	m = state_membership(s);
	assert_non_null(m);
	assert_string_equal(m->url, membership.url);
	assert_string_equal(m->pin, membership.pin);
	assert_string_equal(m->console, membership.console);
	assert_string_equal(m->node_id, membership.node_id);
	assert_memory_equal(m->mesh, membership.mesh, sizeof(m->mesh));
	assert_int_equal(state_port(s), 40000);
	assert_string_equal(state_leaving(s, 0), "net_1");
	assert_string_equal(state_leaving(s, 1), "net_2");
	assert_null(state_leaving(s, 2));
	assert_int_equal(state_set_leaving(s, "net_1", false, NULL), 0);
	assert_int_equal(state_set_leaving(s, "net_9", false, NULL), 0);
	reopen();
	assert_string_equal(state_leaving(s, 0), "net_2");
	assert_null(state_leaving(s, 1));
}

static void membership_that_cannot_be_written_is_not_taken(void **state)
{
	struct state_membership other = membership;
	struct err e = {0};

	(void)state;
	reopen();
	disk_full(true);
	assert_true(state_set_membership(s, &membership, &e) < 0);
	disk_full(false);
	assert_non_null(strstr(e.text, "membership"));
	assert_null(state_membership(s));
	assert_int_equal(warning_count(), 1);

	assert_int_equal(state_set_membership(s, &membership, NULL), 0);
	assert_int_equal(warning_count(), 0);
	snprintf(other.node_id, sizeof(other.node_id), "node_2");
	disk_full(true);
	assert_true(state_set_membership(s, &other, &e) < 0);
	disk_full(false);
	assert_string_equal(state_membership(s)->node_id, "node_1");
	reopen();
	assert_string_equal(state_membership(s)->node_id, "node_1");
}

static void damaged_membership_is_put_aside(void **state)
{
	static const char *const damaged[] = {"", "{", "[]", "{\"url\": 1}",
		"{\"url\": \"https://x\"}",
		"{\"url\":\"https://x\",\"pin\":\"p\",\"console\":\"c\",\"mesh\":\"zz\",\"node\":\"n\"}",
		"{\"port\": 70000}"};

	(void)state;
	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		reopen();
		state_close(s);
		s = NULL;
		spoil("membership", damaged[i]);
		reopen();
		assert_null(state_membership(s));
		assert_int_equal(warning_count(), 1);
		assert_int_equal(access(file("membership.damaged"), F_OK), 0);
		assert_int_equal(state_set_membership(s, &membership, NULL), 0);
		assert_int_equal(warning_count(), 0);
		reopen();
		assert_non_null(state_membership(s));
	}
}

static void forget(void **state)
{
	struct endpoint ep;
	struct key before, peer = {{1}};
	uint8_t stamp[MESSAGE_STAMP_LEN], later[MESSAGE_STAMP_LEN];
	struct netmap *map;

	(void)state;
	reopen();
	before = state_identity(s)->public;
	assert_true(endpoint_parse("192.0.2.1:4826", 0, &ep));
	assert_int_equal(state_set_port(s, 40000, NULL), 0);
	assert_int_equal(state_set_membership(s, &membership, NULL), 0);
	assert_int_equal(state_set_ifname(s, "net_1", "vcider0", NULL), 0);
	assert_int_equal(state_next_stamp(s, 1000, stamp), 0);
	state_set_endpoint(s, &peer, &ep);
	map = make_map(membership.mesh, "node_1", &before);
	assert_int_equal(state_save_netmap(s, map, NULL, NULL), 0);
	assert_int_equal(state_set_leaving(s, "net_2", true, NULL), 0);
	assert_int_equal(state_forget(s, NULL), 0);
	for (int again = 0; again < 2; again++) {
		assert_null(state_membership(s));
		assert_null(state_load_netmap(s, NULL));
		assert_null(state_ifname(s, "net_1"));
		assert_false(state_endpoint(s, &peer, &ep));
		assert_null(state_leaving(s, 0));
		assert_true(key_equal(&before, &state_identity(s)->public));
		assert_int_equal(state_port(s), 40000);
		reopen();
	}
	assert_int_equal(access(file("netmap"), F_OK), -1);
	assert_int_equal(state_next_stamp(s, 1000, later), 0);
	assert_true(memcmp(later, stamp, sizeof(stamp)) > 0);
	netmap_free(map);
}

/* -- netmap -- */

static void netmap_is_bound_to_mesh_and_node(void **state)
{
	const uint8_t other_mesh[NETMAP_MESH_LEN] = {1};
	struct key other_key = {{9}};
	struct netmap *map, *loaded;
	struct json_object *o;
	struct key key;

	(void)state;
	reopen();
	key = state_identity(s)->public;
	assert_int_equal(state_set_membership(s, &membership, NULL), 0);
	map = make_map(membership.mesh, "node_1", &key);
	assert_int_equal(state_save_netmap(s, map, NULL, NULL), 0);
	reopen();
	loaded = state_load_netmap(s, NULL);
	assert_non_null(loaded);
	assert_int_equal(loaded->number, 42);
	netmap_free(loaded);
	netmap_free(map);

	for (int i = 0; i < 3; i++) {
		map = make_map(i == 0 ? other_mesh : membership.mesh, i == 1 ? "node_2" : "node_1",
			i == 2 ? &other_key : &key);
		assert_int_equal(state_save_netmap(s, map, NULL, NULL), -VAN_E_INVALID);
		o = netmap_to_json(map);
		spoil("netmap", json_object_to_json_string(o));
		json_object_put(o);
		netmap_free(map);
		assert_null(state_load_netmap(s, NULL));
		assert_int_equal(warning_count(), 1);
	}
	spoil("netmap", "{\"format\": 1");
	assert_null(state_load_netmap(s, NULL));
}

static void netmap_that_cannot_be_saved(void **state)
{
	struct netmap *map, *loaded;
	struct key key;
	struct err e = {0};

	(void)state;
	reopen();
	key = state_identity(s)->public;
	assert_int_equal(state_set_membership(s, &membership, NULL), 0);
	map = make_map(membership.mesh, "node_1", &key);
	assert_int_equal(state_save_netmap(s, map, NULL, NULL), 0);
	map->number = 43;
	disk_full(true);
	assert_true(state_save_netmap(s, map, NULL, &e) < 0);
	disk_full(false);
	assert_int_equal(warning_count(), 1);
	loaded = state_load_netmap(s, NULL); /* the old one is whole */
	assert_int_equal(loaded->number, 42);
	netmap_free(loaded);
	assert_int_equal(state_save_netmap(s, map, NULL, NULL), 0);
	assert_int_equal(warning_count(), 0);
	netmap_free(map);
}

static void contact_is_remembered(void **state)
{
	uint64_t now_ns = clock_wall_ns(), hour_ns = 3600 * NS_PER_S;
	struct netmap *map;

	(void)state;
	reopen();
	state_touch_netmap(s, now_ns); /* there is no map: nothing to touch */
	assert_int_equal(state_netmap_contact_ns(s), 0);
	assert_int_equal(state_set_membership(s, &membership, NULL), 0);
	map = make_map(membership.mesh, "node_1", &state_identity(s)->public);
	assert_int_equal(state_save_netmap(s, map, NULL, NULL), 0);
	netmap_free(map);
	assert_true(state_netmap_contact_ns(s) >= now_ns);
	state_touch_netmap(s, now_ns + hour_ns);
	state_touch_netmap(s, now_ns + hour_ns + 5); /* too soon to be worth a write */
	assert_int_equal(state_netmap_contact_ns(s), now_ns + hour_ns);
	reopen();
	assert_int_equal(state_netmap_contact_ns(s), now_ns + hour_ns);
}

/* -- names and end points -- */

static void interface_names_are_kept(void **state)
{
	(void)state;
	reopen();
	assert_int_equal(state_set_ifname(s, "net_1", "vcider0", NULL), 0);
	assert_int_equal(state_set_ifname(s, "net_2", "office", NULL), 0);
	assert_int_equal(state_set_ifname(s, "net_1", NULL, NULL), 0);
	reopen();
	assert_null(state_ifname(s, "net_1"));
	assert_string_equal(state_ifname(s, "net_2"), "office");

	/* a name that cannot be written holds for this run, and is written later */
	disk_full(true);
	assert_true(state_set_ifname(s, "net_3", "lab", NULL) < 0);
	assert_string_equal(state_ifname(s, "net_3"), "lab");
	assert_true(state_dirty(s));
	assert_true(state_flush(s, NULL) < 0);
	disk_full(false);
	assert_int_equal(state_flush(s, NULL), 0);
	assert_false(state_dirty(s));
	reopen();
	assert_string_equal(state_ifname(s, "net_3"), "lab");
}

static bool keep_first(void *ctx, const struct key *peer)
{
	return key_equal(ctx, peer);
}

static void endpoints_are_kept(void **state)
{
	struct key a = {{1}}, b = {{2}};
	struct endpoint ep, out;

	(void)state;
	reopen();
	assert_true(endpoint_parse("192.0.2.1:4826", 0, &ep));
	state_set_endpoint(s, &a, &ep);
	assert_true(endpoint_parse("[2001:db8::1]:4999", 0, &ep));
	state_set_endpoint(s, &b, &ep);
	assert_true(state_dirty(s));
	assert_int_equal(access(file("endpoints"), F_OK), -1); /* written behind */
	assert_int_equal(state_flush(s, NULL), 0);
	assert_false(state_dirty(s));
	state_set_endpoint(s, &b, &ep); /* the same: nothing to write */
	assert_false(state_dirty(s));
	reopen();
	assert_true(state_endpoint(s, &b, &out));
	assert_true(endpoint_same_remote(&ep, &out));
	state_prune_endpoints(s, keep_first, &a);
	assert_false(state_endpoint(s, &b, &out));
	state_set_endpoint(s, &a, NULL);
	assert_false(state_endpoint(s, &a, &out));
	reopen(); /* closing flushes */
	assert_false(state_endpoint(s, &a, &out));
}

static void damaged_caches_are_ignored(void **state)
{
	static const char *const names[] = {"interfaces", "endpoints", "stamp"};
	static const char *const damaged[] = {"", "null", "{\"a\": 1}", "{\"a\": ", "\xff\xfe"};
	uint8_t stamp[MESSAGE_STAMP_LEN];
	struct key key = {{1}};
	struct endpoint ep;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (size_t k = 0; k < sizeof(damaged) / sizeof(damaged[0]); k++) {
			reopen();
			state_close(s);
			s = NULL;
			spoil(names[i], damaged[k]);
			reopen();
			assert_int_equal(warning_count(), 1);
			assert_null(state_ifname(s, "a"));
			assert_false(state_endpoint(s, &key, &ep));
			assert_int_equal(state_next_stamp(s, NS_PER_S, stamp), 0);
			(void)remove(file(names[i]));
		}
	}
	/* a text that is a string, but no end point */
	spoil("endpoints", "{\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\": \"nowhere\"}");
	reopen();
	assert_false(state_endpoint(s, &key, &ep));
}

/* -- stamps -- */

static uint64_t stamp_ns(const uint8_t stamp[MESSAGE_STAMP_LEN])
{
	uint64_t seconds = 0, ns = 0;

	for (int i = 0; i < 8; i++)
		seconds = seconds << 8 | stamp[i];
	for (int i = 8; i < 12; i++)
		ns = ns << 8 | stamp[i];
	assert_true(ns < NS_PER_S);
	return seconds * NS_PER_S + ns;
}

static uint64_t next_stamp(uint64_t wall_ns)
{
	uint8_t stamp[MESSAGE_STAMP_LEN];

	assert_int_equal(state_next_stamp(s, wall_ns, stamp), 0);
	return stamp_ns(stamp);
}

static void stamps_only_grow(void **state)
{
	const uint64_t now_ns = 1700000000ull * NS_PER_S;
	uint64_t last;

	(void)state;
	reopen();
	assert_int_equal(next_stamp(now_ns), now_ns + 1);
	assert_int_equal(next_stamp(now_ns), now_ns + 2);
	assert_int_equal(next_stamp(now_ns + 50), now_ns + 51);
	last = next_stamp(now_ns - 3600 * NS_PER_S); /* the clock was set back */
	assert_int_equal(last, now_ns + 52);
	for (int i = 0; i < 3; i++) {
		uint64_t stamp;

		reopen();
		stamp = next_stamp(1); /* a clock that lost its battery, too */
		assert_true(stamp > last);
		last = stamp;
	}
	assert_true(last < now_ns + 3600 * NS_PER_S);
	assert_int_equal(next_stamp(now_ns + 7200 * NS_PER_S), now_ns + 7200 * NS_PER_S + 1);
}

static void stamp_is_written_ahead_of_use(void **state)
{
	const uint64_t now_ns = 1700000000ull * NS_PER_S;
	uint8_t stamp[MESSAGE_STAMP_LEN];
	struct stat before, after;

	(void)state;
	reopen();
	disk_full(true);
	assert_true(state_next_stamp(s, now_ns, stamp) < 0);
	disk_full(false);
	assert_int_equal(next_stamp(now_ns), now_ns + 1);
	/* what was promised holds with a full disk; what was not does not */
	disk_full(true);
	assert_int_equal(stat(file("stamp"), &before), 0);
	assert_int_equal(next_stamp(now_ns + 60 * NS_PER_S), now_ns + 60 * NS_PER_S + 1);
	assert_int_equal(stat(file("stamp"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_true(state_next_stamp(s, now_ns + 200 * NS_PER_S, stamp) < 0);
	disk_full(false);
	assert_int_equal(next_stamp(now_ns + 200 * NS_PER_S), now_ns + 200 * NS_PER_S + 1);
}

/* -- */

static int each_set_up(void **state)
{
	(void)state;
	tmpdir_make(&dir);
	return 0;
}

static int each_tear_down(void **state)
{
	(void)state;
	disk_full(false);
	state_close(s);
	s = NULL;
	tmpdir_remove(&dir);
	return 0;
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, each_set_up, each_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(first_start),
		EACH(identity_stays),
		EACH(damaged_identity_is_an_error),
		EACH(second_one_is_refused),
		EACH(lock_goes_with_the_process),
		EACH(membership_is_kept),
		EACH(membership_that_cannot_be_written_is_not_taken),
		EACH(damaged_membership_is_put_aside),
		EACH(forget),
		EACH(netmap_is_bound_to_mesh_and_node),
		EACH(netmap_that_cannot_be_saved),
		EACH(contact_is_remembered),
		EACH(interface_names_are_kept),
		EACH(endpoints_are_kept),
		EACH(damaged_caches_are_ignored),
		EACH(stamps_only_grow),
		EACH(stamp_is_written_ahead_of_use),
	};

	if (sodium_init() < 0)
		return 1;
	signal(SIGXFSZ, SIG_IGN);
	/* Every one of these complains, and is meant to; nothing below error is of interest. */
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
