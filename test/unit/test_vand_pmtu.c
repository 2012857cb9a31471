/* SPDX-License-Identifier: Apache-2.0 */
/* The path MTU search against a path that drops what is too large, and what is unlucky. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>
#include "vand/pmtu.h"

#define MS 1000000ull
#define S  (1000 * MS)

#define LATE_MAX 64

/* A path, its sender, and a clock. */
struct path {
	struct pmtu pmtu;
	uint64_t now_ns;
	uint64_t rtt_ns;
	unsigned int takes;     /* bytes of IP packet that get through */
	unsigned int interface; /* what the sender's own interface takes: more is refused */
	unsigned int lose;      /* so many of the next probes, whatever their size */
	uint64_t sent_bytes;
	uint64_t raise_ns;
	unsigned int probes;
	uint64_t probe_bytes;
	struct {
		uint64_t at_ns;
		uint32_t round;
		uint16_t size;
	} late[LATE_MAX]; /* answers on their way */
	unsigned int late_count;
};

static void path_init(struct path *p, unsigned int takes)
{
	memset(p, 0, sizeof(*p));
	p->now_ns = 1000 * S;
	p->rtt_ns = 1 * MS;
	p->takes = takes;
	p->interface = 65535;
	p->raise_ns = PMTU_RAISE_NS;
}

/* Sends what is to be sent now. */
static void path_send(struct path *p)
{
	for (int turn = 0; turn < 100; turn++) {
		uint16_t size = pmtu_poll(&p->pmtu, p->now_ns);

		if (!size)
			return;
		assert_in_range(size, 1, p->pmtu.ceiling);
		if (size > p->interface) {
			pmtu_refused(&p->pmtu, p->now_ns);
			continue;
		}
		p->probes++;
		p->probe_bytes += size;
		if (p->lose) {
			p->lose--;
		} else if (size <= p->takes) {
			assert_true(p->late_count < LATE_MAX);
			p->late[p->late_count].at_ns = p->now_ns + p->rtt_ns;
			p->late[p->late_count].round = p->pmtu.round;
			p->late[p->late_count++].size = size;
		}
	}
	fail_msg("it never stops sending");
}

/* Runs to a time, calling pmtu_look() every second. Data is sent at a rate. */
static void path_run(struct path *p, uint64_t for_ns, uint64_t bytes_per_s)
{
	uint64_t until_ns = p->now_ns + for_ns, look_ns = p->now_ns + S;

	path_send(p);
	for (;;) {
		uint64_t next_ns = look_ns;
		unsigned int answer = LATE_MAX;

		if (pmtu_due_ns(&p->pmtu) < next_ns)
			next_ns = pmtu_due_ns(&p->pmtu);
		for (unsigned int i = 0; i < p->late_count; i++) {
			if (p->late[i].at_ns <= next_ns) {
				next_ns = p->late[i].at_ns;
				answer = i;
			}
		}
		if (next_ns > until_ns)
			break;
		assert_true(next_ns >= p->now_ns);
		p->now_ns = next_ns;
		if (answer < LATE_MAX) {
			pmtu_answer(&p->pmtu, p->late[answer].round, p->late[answer].size, next_ns);
			p->late[answer] = p->late[--p->late_count];
		} else if (next_ns == look_ns) {
			p->sent_bytes += bytes_per_s;
			look_ns += S;
			pmtu_look(&p->pmtu, p->sent_bytes, p->raise_ns, next_ns);
		}
		path_send(p);
	}
	p->now_ns = until_ns;
}

static void path_start(struct path *p, unsigned int ceiling)
{
	pmtu_start(&p->pmtu, PMTU_FLOOR_IP4, (uint16_t)ceiling, p->now_ns);
}

static void assert_result(const struct path *p, unsigned int size)
{
	assert_int_equal(p->pmtu.state, PMTU_DONE);
	assert_int_equal(pmtu_limit(&p->pmtu), size);
	assert_true(pmtu_is_final(&p->pmtu));
	assert_int_equal(pmtu_due_ns(&p->pmtu), UINT64_MAX);
}

static void test_one_probe_where_all_passes(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, 1500);
	assert_int_equal(pmtu_limit(&p.pmtu), 0);
	assert_false(pmtu_is_final(&p.pmtu));
	assert_int_equal(pmtu_poll(&p.pmtu, p.now_ns), 0); /* zeroed: idle */
	path_start(&p, 1500);
	assert_int_equal(pmtu_limit(&p.pmtu), 0); /* unknown until proven */
	path_run(&p, 10 * MS, 0);
	assert_result(&p, 1500);
	assert_int_equal(p.probes, 1);
	path_run(&p, 3600 * S, 0); /* and none in an hour without traffic */
	assert_int_equal(p.probes, 1);
}

/* Every path between the floor and 9000: exact, and within the time and bytes that were promised. */
static void test_finds_every_size(void **state)
{
	static const unsigned int ceilings[] = {1500, 9000, 1492, 1281, 1280, 1000, 577, 576};

	(void)state;
	for (size_t c = 0; c < sizeof(ceilings) / sizeof(ceilings[0]); c++) {
		for (unsigned int takes = 576; takes <= ceilings[c]; takes++) {
			struct path p;

			path_init(&p, takes);
			path_start(&p, ceilings[c]);
			path_run(&p, 12 * S, 0);
			assert_result(&p, takes);
			assert_true(p.probes <= 45);
		}
	}
}

static void test_typical_path_is_found_in_seconds(void **state)
{
	static const unsigned int sizes[] = {1492, 1480, 1460, 1450, 1420, 1400, 1360, 1300, 1280};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct path p;

		path_init(&p, sizes[i]);
		path_start(&p, 1500);
		/* After the first loss there is something to make do with … */
		path_run(&p, PMTU_WAIT_NS, 0);
		assert_int_equal(pmtu_limit(&p.pmtu), PMTU_BASE);
		assert_false(pmtu_is_final(&p.pmtu));
		/* … and the answer is there within seconds. */
		path_run(&p, 7 * S, 0);
		assert_result(&p, sizes[i]);
		assert_true(p.probe_bytes < 40000);
	}
}

static void test_limit_never_exceeds_what_passes(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, 1371);
	path_start(&p, 9000);
	path_run(&p, PMTU_WAIT_NS, 0);
	for (int i = 0; i < 1500; i++) {
		uint16_t limit = pmtu_limit(&p.pmtu);

		assert_in_range(limit, PMTU_BASE, 1371);
		path_run(&p, 10 * MS, 0);
	}
	assert_result(&p, 1371);
}

/* Two lost probes of a size say nothing; nor does a long round trip. */
static void test_loss_and_delay(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, 1500);
	p.lose = PMTU_TRIES - 1;
	path_start(&p, 1500);
	path_run(&p, 5 * S, 0);
	assert_result(&p, 1500);
	assert_int_equal(p.probes, PMTU_TRIES);

	for (uint64_t rtt = 150; rtt <= 1300; rtt += 50) {
		path_init(&p, 1500);
		p.rtt_ns = rtt * MS;
		path_start(&p, 1500);
		path_run(&p, 5 * S, 0);
		assert_result(&p, 1500);
	}
}

/* An answer that comes when its size was given up long ago still counts. */
static void test_late_answers_count(void **state)
{
	struct path p;

	(void)state;
	for (uint64_t rtt = 1500; rtt <= 6000; rtt += 300) {
		path_init(&p, 1500);
		p.rtt_ns = rtt * MS;
		path_start(&p, 1500);
		path_run(&p, 60 * S, 0);
		assert_result(&p, 1500);
		path_init(&p, 1400);
		p.rtt_ns = rtt * MS;
		path_start(&p, 1500);
		path_run(&p, 200 * S, 0);
		assert_int_equal(p.pmtu.state, PMTU_DONE);
		assert_in_range(pmtu_limit(&p.pmtu), 1280, 1400);
	}
}

static void test_interface_refuses(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, 9000);
	p.interface = 1400;
	path_start(&p, 1500);
	path_run(&p, 1 * S, 0);
	assert_result(&p, 1400);
	/* Refused at every size: no endless loop, and nothing is claimed. */
	path_init(&p, 9000);
	p.interface = 100;
	path_start(&p, 1500);
	path_run(&p, 1 * S, 0);
	assert_int_equal(p.pmtu.state, PMTU_DONE);
	assert_int_equal(pmtu_limit(&p.pmtu), 0);
	assert_false(pmtu_is_final(&p.pmtu));
	assert_int_equal(p.probes, 0);
	pmtu_refused(&p.pmtu, p.now_ns); /* nothing was out */
	assert_int_equal(p.pmtu.state, PMTU_DONE);
}

static void test_nothing_passes(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, 0);
	path_start(&p, 1500);
	path_run(&p, 8 * S, 0);
	assert_int_equal(p.pmtu.state, PMTU_DONE);
	assert_int_equal(pmtu_limit(&p.pmtu), 0); /* as if nothing had been tried */
	assert_false(pmtu_is_final(&p.pmtu));
	assert_int_equal(p.probes, 3 * PMTU_TRIES);
	path_run(&p, 600 * S, 0); /* nobody asks */
	assert_int_equal(p.probes, 3 * PMTU_TRIES);
	p.takes = 1400;
	path_run(&p, PMTU_AGAIN_NS + 10 * S, 10000);
	assert_int_equal(pmtu_limit(&p.pmtu), 1400);
	assert_true(pmtu_is_final(&p.pmtu));
}

static void test_below_base(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, 1000);
	path_start(&p, 1500);
	path_run(&p, 20 * S, 0);
	assert_result(&p, 1000);
	/* IPv6 has no smaller size than the base. */
	path_init(&p, 1000);
	pmtu_start(&p.pmtu, PMTU_FLOOR_IP6, 1500, p.now_ns);
	path_run(&p, 20 * S, 0);
	assert_int_equal(pmtu_limit(&p.pmtu), 0);
	assert_int_equal(p.probes, 2 * PMTU_TRIES);
}

/* The probes of a session that carries little stay a small share of it. */
static void test_price_of_confirmation(void **state)
{
	struct path p;
	unsigned int before;

	(void)state;
	path_init(&p, 1500);
	path_start(&p, 1500);
	path_run(&p, 1 * S, 0);
	before = p.probes;
	path_run(&p, 600 * S, 20); /* 1.2 KB a minute: an idle network's chatter */
	assert_true(p.probes - before <= 2);
	before = p.probes;
	path_run(&p, 600 * S, 1000000); /* at full rate one every five seconds or so */
	assert_in_range(p.probes - before, 90, 121);
	path_run(&p, 1 * S, 0);
	assert_result(&p, 1500);
}

static void test_black_hole(void **state)
{
	struct path p;
	uint64_t began_ns;

	(void)state;
	path_init(&p, 1500);
	path_start(&p, 1500);
	path_run(&p, 30 * S, 100000);
	path_run(&p, 1 * S, 0);
	assert_result(&p, 1500);
	p.takes = 1400;
	began_ns = p.now_ns;
	while (pmtu_limit(&p.pmtu) > 1400) {
		path_run(&p, 10 * MS, 100000);
		pmtu_look(&p.pmtu, p.sent_bytes += 1000, p.raise_ns, p.now_ns);
		assert_true(p.now_ns - began_ns < 8 * S);
	}
	assert_int_equal(pmtu_limit(&p.pmtu), PMTU_BASE);
	assert_false(pmtu_is_final(&p.pmtu));
	path_run(&p, 8 * S, 0);
	assert_result(&p, 1400);
}

/* A flow that begins in the black hole sends its first window, and then next to nothing. */
static void test_black_hole_at_the_start_of_a_flow(void **state)
{
	struct path p;

	(void)state;
	for (uint64_t raise_s = 5; raise_s <= 600; raise_s += 119) {
		path_init(&p, 1500);
		p.raise_ns = raise_s * S;
		path_start(&p, 1500);
		path_run(&p, 3 * S, 0);
		p.takes = 1400;
		path_run(&p, 60 * S, 0);
		path_start(&p, 1450); /* found, then worse: there is room to raise, too */
		path_run(&p, 20 * S, 0);
		assert_result(&p, 1400);
		p.takes = 1300;
		p.sent_bytes += 14000;
		path_run(&p, 3 * S, 0);
		assert_true(pmtu_limit(&p.pmtu) <= 1300);
		path_run(&p, 8 * S, 0);
		assert_result(&p, 1300);
	}
}

/* Three lost confirmations are a false alarm where the path has not changed: over after one more
 * round trip, and the result is what it was. */
static void test_false_alarm(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, 1500);
	path_start(&p, 1500);
	path_run(&p, 20 * S, 100000);
	p.lose = PMTU_TRIES;
	path_run(&p, 10 * S, 100000);
	assert_int_equal(p.lose, 0);
	path_run(&p, 1 * S, 100000);
	assert_int_equal(pmtu_limit(&p.pmtu), 1500);
	assert_true(pmtu_is_final(&p.pmtu));
}

/* One lost confirmation changes nothing at all. */
static void test_one_lost_confirmation(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, 1500);
	path_start(&p, 1500);
	path_run(&p, 2 * S, 0);
	p.lose = 1;
	for (int i = 0; i < 2000; i++) {
		path_run(&p, 10 * MS, 0);
		pmtu_look(&p.pmtu, p.sent_bytes += 1000, p.raise_ns, p.now_ns);
		path_send(&p);
		assert_int_equal(pmtu_limit(&p.pmtu), 1500);
		assert_true(pmtu_is_final(&p.pmtu));
	}
	assert_int_equal(p.lose, 0);
}

static void test_raise(void **state)
{
	static const unsigned int better[] = {1500, 1499, 1450, 1402, 1401, 1400};
	struct path p;

	(void)state;
	for (size_t i = 0; i < sizeof(better) / sizeof(better[0]); i++) {
		path_init(&p, 1400);
		path_start(&p, 1500);
		path_run(&p, 20 * S, 100000);
		assert_result(&p, 1400);
		p.takes = better[i];
		/* While it is looked for, the result holds. */
		for (int k = 0; k < 700 * 10; k++) {
			path_run(&p, 100 * MS, 0);
			pmtu_look(&p.pmtu, p.sent_bytes += 10000, p.raise_ns, p.now_ns);
			path_send(&p);
			assert_in_range(pmtu_limit(&p.pmtu), 1400, better[i]);
			assert_true(pmtu_is_final(&p.pmtu));
		}
		path_run(&p, 1 * S, 0);
		assert_int_equal(pmtu_limit(&p.pmtu), better[i]);
	}
}

/* Where nothing has changed, a raise costs six probes. */
static void test_price_of_raise(void **state)
{
	struct path p;
	unsigned int before;

	(void)state;
	path_init(&p, 1400);
	p.raise_ns = 30 * S;
	path_start(&p, 1500);
	path_run(&p, 20 * S, 0);
	before = p.probes;
	p.now_ns += 100 * S;
	pmtu_look(&p.pmtu, p.sent_bytes += 100000, p.raise_ns, p.now_ns);
	assert_int_equal(p.pmtu.state, PMTU_CONFIRM);
	path_run(&p, 5 * S, 0);
	assert_result(&p, 1400);
	assert_int_equal(p.probes - before, 1 + 2 * PMTU_TRIES);
	path_init(&p, 1400); /* nine below a jumbo frame's interface */
	path_start(&p, 9000);
	path_run(&p, 20 * S, 0);
	before = p.probes;
	p.now_ns += PMTU_RAISE_NS;
	pmtu_look(&p.pmtu, p.sent_bytes += 100000, p.raise_ns, p.now_ns);
	path_run(&p, 5 * S, 0);
	assert_result(&p, 1400);
	assert_int_equal(p.probes - before, 1 + 3 * PMTU_TRIES);
	/* No raise without data, however long. */
	before = p.probes;
	path_run(&p, 3600 * S, 0);
	assert_int_equal(p.probes, before);
}

static void test_path_changes(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, 1500);
	path_start(&p, 1500);
	path_run(&p, 1 * S, 0);
	assert_result(&p, 1500);
	p.takes = 1400;
	path_start(&p, 1460);
	assert_int_equal(pmtu_limit(&p.pmtu), 0);
	path_run(&p, 8 * S, 0);
	assert_result(&p, 1400);
}

/* What was sent on the old path says nothing about the new one. */
static void test_answers_of_another_round(void **state)
{
	struct path p;
	uint32_t round;

	(void)state;
	path_init(&p, 1300);
	path_start(&p, 1500);
	round = p.pmtu.round;
	assert_int_equal(pmtu_poll(&p.pmtu, p.now_ns), 1500);
	path_start(&p, 1500);
	assert_int_equal(pmtu_poll(&p.pmtu, p.now_ns), 1500);
	pmtu_answer(&p.pmtu, round, 1500, p.now_ns + MS);
	assert_int_equal(pmtu_limit(&p.pmtu), 0);
	/* Nor sizes that cannot be. */
	pmtu_answer(&p.pmtu, p.pmtu.round, 1501, p.now_ns + MS);
	pmtu_answer(&p.pmtu, p.pmtu.round, 0, p.now_ns + MS);
	pmtu_answer(&p.pmtu, p.pmtu.round, 65535, p.now_ns + MS);
	assert_int_equal(pmtu_limit(&p.pmtu), 0);
	path_run(&p, 8 * S, 0);
	assert_result(&p, 1300);
}

static void test_pause(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, 1400);
	path_start(&p, 1500);
	path_run(&p, 1 * S, 0);
	assert_int_equal(p.pmtu.state, PMTU_SEARCH);
	pmtu_pause(&p.pmtu); /* unfinished: forgotten */
	assert_int_equal(p.pmtu.state, PMTU_IDLE);
	assert_int_equal(pmtu_limit(&p.pmtu), 0);
	assert_int_equal(pmtu_poll(&p.pmtu, p.now_ns + S), 0);
	pmtu_answer(&p.pmtu, p.pmtu.round, 1400, p.now_ns);
	pmtu_refused(&p.pmtu, p.now_ns);
	pmtu_look(&p.pmtu, 1 << 30, p.raise_ns, p.now_ns);
	assert_int_equal(p.pmtu.state, PMTU_IDLE);
	assert_int_equal(pmtu_limit(&p.pmtu), 0);

	path_start(&p, 1500);
	path_run(&p, 8 * S, 0);
	assert_result(&p, 1400);
	path_run(&p, 6 * S, 100000);
	p.takes = 0;
	while (p.pmtu.state != PMTU_CONFIRM)
		path_run(&p, 1 * S, 100000);
	pmtu_pause(&p.pmtu); /* the session ended while it was asked: it says nothing */
	assert_result(&p, 1400);
	p.takes = 1400;
	p.now_ns += 3600 * S;
	p.late_count = 0;
	pmtu_look(&p.pmtu, p.sent_bytes += 100000, p.raise_ns, p.now_ns);
	while (p.pmtu.state != PMTU_SEARCH) { /* a raise is due by now */
		path_run(&p, 10 * MS, 0);
		pmtu_look(&p.pmtu, p.sent_bytes, p.raise_ns, p.now_ns);
	}
	assert_true(p.pmtu.raising);
	pmtu_pause(&p.pmtu);
	assert_result(&p, 1400);
}

static void test_odd_ceilings(void **state)
{
	static const unsigned int ceilings[] = {0, 1, 2, 68, 575, 65534, 65535};

	(void)state;
	for (size_t i = 0; i < sizeof(ceilings) / sizeof(ceilings[0]); i++) {
		struct path p;

		path_init(&p, 65535);
		path_start(&p, ceilings[i]);
		path_run(&p, 1 * S, 0);
		assert_int_equal(p.pmtu.state, PMTU_DONE);
		assert_int_equal(pmtu_limit(&p.pmtu), p.pmtu.ceiling);
		assert_in_range(p.pmtu.ceiling, 1, 65534);
		path_init(&p, 1300);
		path_start(&p, ceilings[i]);
		path_run(&p, 30 * S, 0);
		assert_int_equal(p.pmtu.state, PMTU_DONE);
		assert_int_equal(
			pmtu_limit(&p.pmtu), p.pmtu.ceiling < 1300 ? p.pmtu.ceiling : 1300);
	}
}

/* Whatever is lost, whatever the path does: bounds hold, and in the end the truth comes out. */
static void test_random_paths(void **state)
{
	uint64_t random = 88172645463325252ull;

	(void)state;
	for (int run = 0; run < 300; run++) {
		struct path p;
		unsigned int before;

		path_init(&p, 1200);
		p.raise_ns = 60 * S;
		path_start(&p, 1500);
		for (int step = 0; step < 20; step++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			p.takes = 576 + (unsigned int)(random >> 8) % 1000;
			p.lose = (unsigned int)(random >> 24) % 4;
			p.rtt_ns = 1 + (random >> 32) % (400 * MS);
			if (random % 7 == 0)
				path_start(&p, 1400 + (unsigned int)(random >> 40) % 200);
			if (random % 11 == 0) {
				pmtu_pause(&p.pmtu);
				if (p.pmtu.state == PMTU_IDLE)
					path_start(&p, 1500);
			}
			path_run(&p, (1 + random % 30) * S, 100000);
			assert_true(
				p.pmtu.passed <= p.pmtu.ceiling && p.pmtu.failed > p.pmtu.passed);
		}
		p.lose = 0;
		before = p.probes;
		path_run(&p, 400 * S, 100000);
		while (p.pmtu.state != PMTU_DONE)
			path_run(&p, 100 * MS, 0);
		assert_result(&p, p.takes < p.pmtu.ceiling ? p.takes : p.pmtu.ceiling);
		assert_true(p.probes - before < 500);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_probe_where_all_passes),
		cmocka_unit_test(test_finds_every_size),
		cmocka_unit_test(test_typical_path_is_found_in_seconds),
		cmocka_unit_test(test_limit_never_exceeds_what_passes),
		cmocka_unit_test(test_loss_and_delay),
		cmocka_unit_test(test_late_answers_count),
		cmocka_unit_test(test_interface_refuses),
		cmocka_unit_test(test_nothing_passes),
		cmocka_unit_test(test_below_base),
		cmocka_unit_test(test_price_of_confirmation),
		cmocka_unit_test(test_black_hole),
		cmocka_unit_test(test_black_hole_at_the_start_of_a_flow),
		cmocka_unit_test(test_false_alarm),
		cmocka_unit_test(test_one_lost_confirmation),
		cmocka_unit_test(test_raise),
		cmocka_unit_test(test_price_of_raise),
		cmocka_unit_test(test_path_changes),
		cmocka_unit_test(test_answers_of_another_round),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_odd_ceilings),
		cmocka_unit_test(test_random_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
