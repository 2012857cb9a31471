/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics survive a restart, and whatever happens to their file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <sodium.h>
#include <sqlite3.h>
#include "console-api/stats_file.h"
#include "lib/file.h"

#define LIMIT (8u << 20)

static uint64_t now_s; /* of the start: closing the file removes what is old by the real clock */

struct place {
	char dir[64];
	char path[96];
	char bad[112];
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	assert_true(sodium_init() >= 0);
	snprintf(p->dir, sizeof(p->dir), "%s", "/tmp/test-stats-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/stats.db", p->dir);
	snprintf(p->bad, sizeof(p->bad), "%s.bad", p->path);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"", "-wal", "-shm", ".bad"};
	struct place *p = *state;
	char path[128];

	chmod(p->dir, 0700);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", p->path, names[i]);
		unlink(path);
	}
	rmdir(p->dir);
	free(p);
	return 0;
}

/* A console as far as it goes here. */
struct running {
	struct stats *st;
	struct stats_file *file;
};

static struct running start(const struct place *p, size_t limit)
{
	struct running r = {.st = stats_new(limit)};
	struct err e = {0};

	assert_int_equal(stats_file_open(p->path, r.st, 0, &r.file, &e), 0);
	return r;
}

static void stop(struct running *r)
{
	stats_file_close(r->file);
	stats_free(r->st);
}

static bool everywhere(void *ctx, const char *net_id, const char *node_id)
{
	(void)ctx;
	(void)net_id;
	(void)node_id;
	return true;
}

static void take(struct running *r, int node, uint64_t tick, uint64_t bytes)
{
	struct stats_report report = {
		.present = true, .instance = 7, .tick = tick, .drop_count = 1, .peer_count = 1};
	char id[24];

	report.network_count = 1;
	report.networks = calloc(1, sizeof(*report.networks));
	assert_non_null(report.networks);
	snprintf(report.networks[0].id, sizeof(report.networks[0].id), "net_%d", node % 3);
	for (int i = 0; i < STATS_METRICS; i++)
		report.networks[0].total[i] = bytes * (uint64_t)(i + 1);
	snprintf(report.drops[0].name, sizeof(report.drops[0].name), "runt");
	report.drops[0].total = bytes / 10;
	snprintf(report.peers[0].id, sizeof(report.peers[0].id), "node_%d", node + 1);
	report.peers[0].sent = 4;
	report.peers[0].answered = 2;
	report.peers[0].rtt_us = 100;
	snprintf(id, sizeof(id), "node_%d", node);
	stats_take(r->st, id, &report, now_s + tick, everywhere, NULL);
	stats_report_done(&report);
}

static uint64_t sum(struct running *r, int node, enum stats_ring ring, enum stats_metric metric)
{
	const struct stats_ring_spec *spec = &stats_rings[ring];
	struct stats_span span = {
		.ring = ring, .first = now_s / spec->step_s - 2, .count = spec->slots};
	static uint64_t sums[4320];
	static bool known[4320];
	uint64_t total = 0;
	char id[24];

	memset(sums, 0, sizeof(sums));
	memset(known, 0, sizeof(known));
	snprintf(id, sizeof(id), "node_%d", node);
	stats_lock(r->st);
	stats_read_node(r->st, id, NULL, &span, metric, sums, known);
	stats_unlock(r->st);
	for (size_t i = 0; i < spec->slots; i++)
		total += sums[i];
	return total;
}

static uint64_t others(struct running *r, int node)
{
	struct stats_span span = {.ring = STATS_1M, .first = now_s / 60 - 2, .count = 100};
	uint64_t sums[100] = {0}, total = 0;
	bool known[100] = {0};
	char id[24], peer[24];

	snprintf(id, sizeof(id), "node_%d", node);
	snprintf(peer, sizeof(peer), "node_%d", node + 1);
	stats_lock(r->st);
	stats_read_drops(r->st, id, "runt", &span, sums, known);
	stats_read_peer(r->st, id, peer, &span, STATS_RTT_US, sums, known);
	stats_unlock(r->st);
	for (size_t i = 0; i < 100; i++)
		total += sums[i];
	return total;
}

static void add_up(void *ctx, const char *id, const uint64_t totals[STATS_METRICS])
{
	(void)id;
	*(uint64_t *)ctx += totals[STATS_TX_PACKETS];
}

static uint64_t all(struct running *r)
{
	uint64_t total = 0;

	stats_lock(r->st);
	stats_each_network(r->st, add_up, &total);
	stats_unlock(r->st);
	return total;
}

static size_t size_of(const char *path)
{
	struct stat s;

	return stat(path, &s) ? 0 : (size_t)s.st_size;
}

/* -- */

static void survives(void **state)
{
	struct place *p = *state;
	struct running r = start(p, LIMIT);

	for (uint64_t tick = 10; tick <= 600; tick += 10)
		for (int node = 0; node < 5; node++)
			take(&r, node, tick, tick * 10);
	assert_int_equal(all(&r), 5 * 6000 * 4);
	stop(&r);
	r = start(p, LIMIT);
	assert_int_equal(all(&r), 5 * 6000 * 4);
	for (int node = 0; node < 5; node++) {
		for (int ring = 0; ring < STATS_RINGS; ring++) /* rounded in each slot */
			assert_in_range(sum(&r, node, (enum stats_ring)ring, STATS_RX_BYTES),
				6000 - 3 * 2, 6000 + 3 * 2);
		assert_int_equal(sum(&r, node, STATS_1S, STATS_TX_PACKETS), 24000);
		assert_in_range(others(&r, node), 600 + 60 * 200 - 20, 600 + 60 * 200 + 20);
	}
	/* The counters go on from where they were. */
	for (int node = 0; node < 5; node++)
		take(&r, node, 700, 7100);
	assert_int_equal(all(&r), 5 * 7100 * 4);
	assert_int_equal(sum(&r, 0, STATS_1S, STATS_RX_BYTES), 7100);
	/* Saving again what is there already changes nothing. */
	assert_int_equal(stats_file_save(r.file, now_s + 700), 0);
	assert_int_equal(stats_file_save(r.file, now_s + 700), 0);
	stop(&r);
	r = start(p, LIMIT);
	assert_int_equal(sum(&r, 4, STATS_10S, STATS_RX_BYTES), 7100);
	stop(&r);
	assert_int_equal(size_of(p->bad), 0);
}

/* Killed: what came after the last save comes back with the next report. */
static void crash(void **state)
{
	struct place *p = *state;
	struct running r = start(p, LIMIT), again;

	take(&r, 1, 100, 1000);
	assert_int_equal(stats_file_save(r.file, now_s + 100), 0);
	take(&r, 1, 150, 2000);
	again = start(p, LIMIT); /* the other one is as good as dead from here */
	assert_int_equal(sum(&again, 1, STATS_1S, STATS_RX_BYTES), 1000);
	take(&again, 1, 200, 3000);
	assert_int_equal(sum(&again, 1, STATS_1S, STATS_RX_BYTES), 3000);
	assert_int_equal(all(&again), 12000);
	stop(&again);
	stop(&r);
}

static void forgotten(void **state)
{
	struct place *p = *state;
	struct store_op op = {.key = (char[]){"/nodes/node_1"}, .kind = STORE_DELETE};
	struct running r = start(p, LIMIT);

	take(&r, 1, 100, 1000);
	take(&r, 2, 100, 1000);
	assert_int_equal(stats_file_save(r.file, now_s + 100), 0);
	stats_on_change(r.st, 1, &op, 1);
	stop(&r);
	r = start(p, LIMIT);
	assert_int_equal(sum(&r, 1, STATS_1S, STATS_RX_BYTES), 0);
	assert_int_equal(sum(&r, 2, STATS_1S, STATS_RX_BYTES), 1000);
	stop(&r);
}

/* What is written again and again does not pile up. */
static void bounded(void **state)
{
	struct place *p = *state;
	struct running r = start(p, LIMIT);
	size_t after_a_day = 0;

	for (uint64_t tick = 30; tick < 30 * 86400; tick += 600) {
		take(&r, 1, tick, tick * (tick % 7));
		assert_int_equal(stats_file_save(r.file, now_s + tick), 0);
		if (tick < 86400)
			after_a_day = size_of(p->path);
	}
	assert_true(after_a_day > 0);
	assert_true(size_of(p->path) < (1u << 20));
	stop(&r);
}

/* Adds rows of things long forgotten, so many at a time, until the file has no room for them. */
static void add_until_full(sqlite3 *db, int rows, int64_t number)
{
	int rc = SQLITE_OK;

	for (int i = 0; i < 100000 && rc == SQLITE_OK; i++) {
		char sql[256];

		snprintf(sql, sizeof(sql),
			"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
			" WHERE i < %d) INSERT INTO chunk SELECT 3, %lld, i, zeroblob(1000) FROM n",
			rows, (long long)number + i);
		rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	}
	assert_int_equal(rc, SQLITE_FULL);
}

/* To the last page. */
static void fill(const char *path, size_t max)
{
	char limit[64];
	sqlite3 *db;

	snprintf(limit, sizeof(limit), "PRAGMA max_page_count = %zu", max / 4096);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, limit, NULL, NULL, NULL), SQLITE_OK);
	add_until_full(db, 100, 9000000000);
	add_until_full(db, 1, 9100000000);
	sqlite3_close(db);
}

/* One that has reached its largest size is made anew. */
static void full(void **state)
{
	struct place *p = *state;
	struct running r = start(p, 1u << 20);
	const size_t max = (3u << 20) + (16u << 20); /* three times that, and the margin */

	take(&r, 1, 100, 1000);
	assert_int_equal(stats_file_save(r.file, now_s + 100), 0);
	fill(p->path, max);
	for (uint64_t tick = 200; tick < 200000; tick += 100) {
		take(&r, (int)(tick / 100 % 50), tick, tick);
		(void)stats_file_save(r.file, now_s + tick); /* one of them finds it full */
		assert_true(size_of(p->path) <= max);
	}
	assert_true(size_of(p->path) < 10u << 20);
	assert_int_equal(stats_file_save(r.file, now_s + 200000), 0);
	stop(&r);
	r = start(p, 1u << 20);
	assert_true(all(&r) > 4000);
	stop(&r);
}

static void overwrite(const char *path, size_t at, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, (off_t)at), len);
	close(fd);
}

static void no_database(void **state)
{
	struct place *p = *state;
	struct running r;
	char noise[9000];

	memset(noise, 'x', sizeof(noise));
	overwrite(p->path, 0, noise, sizeof(noise));
	r = start(p, LIMIT);
	take(&r, 1, 100, 1000);
	stop(&r);
	assert_int_equal(size_of(p->bad), sizeof(noise));
	r = start(p, LIMIT);
	assert_int_equal(sum(&r, 1, STATS_1S, STATS_RX_BYTES), 1000);
	stop(&r);
}

static void another_version(void **state)
{
	struct place *p = *state;
	struct running r;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE item (x); PRAGMA user_version = 9", NULL,
				 NULL, NULL),
		SQLITE_OK);
	sqlite3_close(db);
	r = start(p, LIMIT);
	take(&r, 1, 100, 1000);
	stop(&r);
	assert_true(size_of(p->bad) > 0);
	r = start(p, LIMIT);
	assert_int_equal(sum(&r, 1, STATS_1S, STATS_RX_BYTES), 1000);
	stop(&r);
}

/* Every page of it damaged in turn, and the file cut anywhere: the start succeeds, and what is
 * loaded is right or not there. */
static void damaged(void **state)
{
	struct place *p = *state;
	struct running r = start(p, LIMIT);
	char *good;
	size_t len;
	int lost = 0;

	for (uint64_t tick = 10; tick <= 600; tick += 10)
		for (int node = 0; node < 5; node++)
			take(&r, node, tick, tick * 10);
	stop(&r);
	assert_int_equal(file_read(p->path, 1u << 24, &good, &len, NULL), 0);
	assert_true(len > 5 * 4096);
	for (size_t at = 13; at < len; at += 1500) {
		static const uint8_t noise[40] = {0x5a, 0xa5, 0xff};

		assert_int_equal(unlink(p->path), 0);
		overwrite(p->path, 0, good, len);
		overwrite(p->path, at, noise, len - at < sizeof(noise) ? len - at : sizeof(noise));
		r = start(p, LIMIT);
		for (int node = 0; node < 5; node++) {
			uint64_t have = sum(&r, node, STATS_1S, STATS_RX_BYTES);

			assert_true(have <= 6000);
			lost += have < 6000;
			take(&r, node, 700, 7000);
		}
		/* What only writing comes across makes it start anew, with the next save. */
		if (stats_file_save(r.file, now_s + 700))
			assert_int_equal(stats_file_save(r.file, now_s + 700), 0);
		stop(&r);
		unlink(p->bad);
		r = start(p, LIMIT);
		assert_int_equal(size_of(p->bad), 0);
		assert_true(sum(&r, 1, STATS_1S, STATS_RX_BYTES) > 0);
		stop(&r);
	}
	assert_true(lost > 0); /* or nothing was damaged at all */
	for (size_t cut = 0; cut < len; cut += 2048) {
		assert_int_equal(unlink(p->path), 0);
		overwrite(p->path, 0, good, len);
		assert_int_equal(truncate(p->path, (off_t)cut), 0);
		r = start(p, LIMIT);
		assert_true(sum(&r, 1, STATS_1S, STATS_RX_BYTES) <= 6000);
		take(&r, 1, 700, 7000);
		if (stats_file_save(r.file, now_s + 700))
			assert_int_equal(stats_file_save(r.file, now_s + 700), 0);
		stop(&r);
		unlink(p->bad);
	}
	free(good);
}

/* No directory, none that can be written to: the console runs, and saves when it can. */
static void not_writable(void **state)
{
	struct place *p = *state;
	struct running r;

	assert_int_equal(rmdir(p->dir), 0);
	r = start(p, LIMIT);
	take(&r, 1, 100, 1000);
	assert_true(stats_file_save(r.file, now_s + 100) < 0);
	assert_int_equal(mkdir(p->dir, 0700), 0);
	assert_int_equal(stats_file_save(r.file, now_s + 100), 0);
	stop(&r);
	r = start(p, LIMIT);
	assert_int_equal(sum(&r, 1, STATS_1S, STATS_RX_BYTES), 1000);
	stop(&r);
}

/* With its thread, which saves at the end. */
static void by_itself(void **state)
{
	struct place *p = *state;
	struct running r = {.st = stats_new(LIMIT)};
	struct err e = {0};

	assert_int_equal(stats_file_open(p->path, r.st, 3600, &r.file, &e), 0);
	take(&r, 1, 100, 1000);
	stop(&r);
	r = start(p, LIMIT);
	assert_int_equal(sum(&r, 1, STATS_1S, STATS_RX_BYTES), 1000);
	stop(&r);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(survives),
		TEST(crash),
		TEST(forgotten),
		TEST(bounded),
		TEST(full),
		TEST(no_database),
		TEST(another_version),
		TEST(damaged),
		TEST(not_writable),
		TEST(by_itself),
	};

	now_s = (uint64_t)time(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
