/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <urcu-qsbr.h>
#include "vand/fdb.h"
#include "vand/guard.h"
#include "vand/network.h"

/* Only their addresses matter to the table. */
static struct peer peer_a, peer_b;

static struct fdb_entry entry(uint8_t last, enum fdb_kind kind, struct peer *peer)
{
	return (struct fdb_entry){.mac = {.b = {2, 0, 0, 0, 0, last}}, .kind = kind, .peer = peer};
}

static const struct fdb_entry *look(const struct fdb *fdb, uint8_t last)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 0, last};

	return fdb_lookup(fdb, mac);
}

static void count_entry(void *ctx, const struct fdb_entry *e)
{
	(void)e;
	++*(unsigned int *)ctx;
}

static unsigned int count(struct fdb *fdb)
{
	unsigned int n = 0;

	fdb_each(fdb, count_entry, &n);
	return n;
}

static void replaces(void **state)
{
	const struct fdb_entry before[] = {entry(1, FDB_LOCAL, NULL), entry(2, FDB_FIXED, &peer_a),
		entry(3, FDB_FIXED, &peer_b)};
	const struct fdb_entry after[] = {entry(1, FDB_LOCAL, NULL), entry(2, FDB_FIXED, &peer_b),
		entry(4, FDB_FIXED, &peer_a)};
	const struct fdb_entry *kept;
	struct fdb fdb;

	(void)state;
	assert_int_equal(fdb_init(&fdb), 0);
	assert_int_equal(fdb_replace(&fdb, before, 3), 0);
	assert_int_equal(count(&fdb), 3);
	assert_ptr_equal(look(&fdb, 2)->peer, &peer_a);
	kept = look(&fdb, 1);

	assert_int_equal(fdb_replace(&fdb, after, 3), 0);
	assert_int_equal(count(&fdb), 3);
	assert_ptr_equal(look(&fdb, 1), kept); /* what did not change was not touched */
	assert_ptr_equal(look(&fdb, 2)->peer, &peer_b);
	assert_null(look(&fdb, 3));
	assert_ptr_equal(look(&fdb, 4)->peer, &peer_a);

	assert_int_equal(fdb_replace(&fdb, NULL, 0), 0);
	assert_int_equal(count(&fdb), 0);
	fdb_done(&fdb);
}

static void first_owner_wins(void **state)
{
	const struct fdb_entry entries[] = {entry(1, FDB_LOCAL, NULL), entry(1, FDB_FIXED, &peer_a),
		entry(2, FDB_FIXED, &peer_a), entry(2, FDB_FIXED, &peer_b)};
	struct fdb fdb;

	(void)state;
	assert_int_equal(fdb_init(&fdb), 0);
	assert_int_equal(fdb_replace(&fdb, entries, 4), 0);
	assert_int_equal(look(&fdb, 1)->kind, FDB_LOCAL);
	assert_ptr_equal(look(&fdb, 2)->peer, &peer_a);
	fdb_done(&fdb);
}

static void all_zero_mac_is_a_key_like_any(void **state)
{
	const uint8_t zero[6] = {0};
	const struct fdb_entry entries[] = {{.kind = FDB_FIXED, .peer = &peer_a}};
	struct fdb fdb;

	(void)state;
	assert_int_equal(fdb_init(&fdb), 0);
	assert_null(fdb_lookup(&fdb, zero));
	assert_int_equal(fdb_replace(&fdb, entries, 1), 0);
	assert_ptr_equal(fdb_lookup(&fdb, zero)->peer, &peer_a);
	fdb_done(&fdb);
}

static void guards_sources(void **state)
{
	const uint8_t ours[6] = {2, 0, 0, 0, 0, 1}, of_a[6] = {2, 0, 0, 0, 0, 2};
	const uint8_t of_b[6] = {2, 0, 0, 0, 0, 3}, of_none[6] = {2, 0, 0, 0, 0, 9};
	const struct fdb_entry entries[] = {entry(1, FDB_LOCAL, NULL), entry(2, FDB_FIXED, &peer_a),
		entry(3, FDB_FIXED, &peer_b)};
	struct peer stranger;
	struct network *net = calloc(1, sizeof(*net));

	(void)state;
	net->members = malloc(sizeof(*net->members) + 2 * sizeof(struct peer *));
	net->members->count = 2;
	net->members->peers[0] = &peer_a;
	net->members->peers[1] = &peer_b;
	assert_int_equal(fdb_init(&net->fdb), 0);
	assert_int_equal(fdb_replace(&net->fdb, entries, 3), 0);

	assert_int_equal(guard_source(net, &peer_a, of_a), DROP__COUNT);
	assert_int_equal(guard_source(net, &peer_a, of_b), DROP_guard_mac);
	assert_int_equal(guard_source(net, &peer_a, of_none), DROP_guard_mac);
	assert_int_equal(guard_source(net, &peer_a, ours), DROP_own_mac);
	assert_int_equal(guard_source(net, &stranger, of_a), DROP_not_member);
	assert_int_equal(guard_source(net, &stranger, of_none), DROP_not_member);

	fdb_done(&net->fdb);
	free(net->members);
	free(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replaces),
		cmocka_unit_test(first_owner_wins),
		cmocka_unit_test(all_zero_mac_is_a_key_like_any),
		cmocka_unit_test(guards_sources),
	};

	return cmocka_run_group_tests_name("fdb, guard", tests, NULL, NULL);
}
