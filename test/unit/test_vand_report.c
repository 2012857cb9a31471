/* SPDX-License-Identifier: Apache-2.0 */
/* What reports are made of: seconds counted from counters, and probes sparingly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "vand/report_probe.h"
#include "vand/report_sample.h"

#define START (5 * NS_PER_S + 123)

/* -- seconds -- */

static void show(struct sampler *s, const char *id, uint64_t rx_bytes)
{
	const uint64_t counters[SAMPLE_METRICS] = {
		[SAMPLE_RX_BYTES] = rx_bytes, [SAMPLE_TX_PACKETS] = rx_bytes / 2};

	sampler_network(s, id, counters);
}

static const struct sample_network *network(const struct sampler *s, const char *id)
{
	for (size_t i = 0; i < s->count; i++)
		if (!strcmp(s->networks[i].id, id))
			return &s->networks[i];
	return NULL;
}

static uint64_t figure(const struct sampler *s, const char *id, uint64_t tick)
{
	return sample_figure(network(s, id), tick, SAMPLE_RX_BYTES);
}

static void each_second(void **state)
{
	struct sampler s;

	(void)state;
	sampler_init(&s, START);
	assert_false(sampler_begin(&s, START));
	assert_false(sampler_begin(&s, START + NS_PER_S - 1));
	assert_true(sampler_due(&s) == START + NS_PER_S);
	for (uint64_t tick = 1; tick <= 100; tick++) {
		/* A little late, and not later each time. */
		assert_true(sampler_begin(&s, START + tick * NS_PER_S + tick % 3 * 900000));
		assert_int_equal(s.tick, tick);
		show(&s, "net_a", tick * tick);
		sampler_end(&s);
		assert_true(sampler_due(&s) == START + (tick + 1) * NS_PER_S);
	}
	for (uint64_t tick = 100; tick > 100 - SAMPLE_SECONDS; tick--)
		assert_int_equal(figure(&s, "net_a", tick), 2 * tick - 1);
	assert_int_equal(network(&s, "net_a")->totals[SAMPLE_RX_BYTES], 10000);
	assert_int_equal(network(&s, "net_a")->totals[SAMPLE_TX_PACKETS], 5000);
	assert_int_equal(network(&s, "net_a")->totals[SAMPLE_TX_BYTES], 0);
	sampler_done(&s);
}

static void standstill(void **state)
{
	struct sampler s;
	uint64_t sum = 0;

	(void)state;
	sampler_init(&s, START);
	assert_true(sampler_begin(&s, START + NS_PER_S));
	show(&s, "net_a", 7);
	sampler_end(&s);
	assert_true(sampler_begin(&s, START + 5 * NS_PER_S + 1));
	assert_int_equal(s.tick, 5);
	show(&s, "net_a", 7 + 43); /* in 4 s */
	sampler_end(&s);
	for (uint64_t tick = 2; tick <= 5; tick++) {
		assert_in_range(figure(&s, "net_a", tick), 10, 11);
		sum += figure(&s, "net_a", tick);
	}
	assert_int_equal(sum, 43);
	assert_int_equal(figure(&s, "net_a", 1), 7);
	/* Longer than anything is kept (a suspended machine): the total is right all the same. */
	assert_true(sampler_begin(&s, START + 100005 * NS_PER_S));
	show(&s, "net_a", 50 + 1000000);
	sampler_end(&s);
	assert_int_equal(figure(&s, "net_a", s.tick), 10);
	assert_int_equal(figure(&s, "net_a", s.tick - SAMPLE_SECONDS + 1), 10);
	assert_int_equal(network(&s, "net_a")->totals[SAMPLE_RX_BYTES], 1000050);
	sampler_done(&s);
}

static void networks_come_and_go(void **state)
{
	struct sampler s;
	char id[16];

	(void)state;
	sampler_init(&s, START);
	for (uint64_t tick = 1; tick <= 3; tick++) {
		assert_true(sampler_begin(&s, START + tick * NS_PER_S));
		for (uint64_t i = 0; i < 50; i++) {
			snprintf(id, sizeof(id), "net_%u", (unsigned int)i);
			if (tick != 2 || i % 2)
				show(&s, id, 100 * tick + i);
		}
		sampler_end(&s);
		assert_int_equal(s.count, tick == 2 ? 25 : 50);
	}
	/* Left and joined again: all that its new counter has came since. */
	assert_int_equal(figure(&s, "net_4", 3), 304);
	assert_int_equal(network(&s, "net_4")->totals[SAMPLE_RX_BYTES], 304);
	assert_int_equal(figure(&s, "net_5", 3), 100);
	assert_int_equal(figure(&s, "net_5", 1), 105);
	/* The same between two ticks, unseen. */
	assert_true(sampler_begin(&s, START + 4 * NS_PER_S));
	show(&s, "net_5", 5);
	sampler_end(&s);
	assert_int_equal(figure(&s, "net_5", 4), 5);
	assert_int_equal(network(&s, "net_5")->totals[SAMPLE_RX_BYTES], 310);
	sampler_done(&s);
}

/* -- probes -- */

static uint64_t bytes_of[1000];

static void interval(struct prober *p, uint32_t peers)
{
	/* In another order each time: nobody promised one. */
	for (uint32_t i = 0; i < peers; i++)
		prober_peer(p, 1 + (i * 7 + (uint32_t)(p->token % 10)) % peers,
			bytes_of[(i * 7 + (uint32_t)(p->token % 10)) % peers]);
	prober_end(p);
}

static void idle_is_silent(void **state)
{
	struct prober p;
	uint64_t token;
	uint32_t ref;

	(void)state;
	memset(bytes_of, 0, sizeof(bytes_of));
	prober_init(&p, 1000);
	for (int round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < 100; i++)
			bytes_of[i] += PROBE_BYTES_MIN - 1; /* such as the probes of others */
		interval(&p, 100);
		assert_false(prober_next(&p, &ref, &token));
	}
	prober_done(&p);
}

static void answers_and_losses(void **state)
{
	struct probe_result results[PROBE_RESULTS_MAX];
	struct prober p;
	uint64_t token, tick = 0;
	uint32_t ref;

	(void)state;
	memset(bytes_of, 0, sizeof(bytes_of));
	prober_init(&p, UINT64_MAX); /* tokens may wrap */
	interval(&p, 3);
	for (int round = 0; round < 4; round++) {
		bytes_of[1] += 5000;
		bytes_of[2] += 5000;
		interval(&p, 3);
		while (prober_next(&p, &ref, &token)) {
			assert_in_range(ref, 2, 3);
			prober_sent(&p, ref, token, tick);
			if (ref == 3 && round % 2) /* peer 3 loses every second one */
				continue;
			prober_answered(&p, ref + 1, token, 1); /* of somebody else */
			prober_answered(&p, ref, token + 1, 1);
			prober_answered(&p, ref, token, ref * 1000000);
			prober_answered(&p, ref, token, 1); /* twice */
		}
		prober_expire(&p, tick + PROBE_TIMEOUT_S - 1);
		tick += PROBE_INTERVAL_S;
		prober_expire(&p, tick);
	}
	assert_int_equal(prober_results(&p, results), 2);
	assert_int_equal(results[0].ref, 2);
	assert_int_equal(results[0].sent, 4);
	assert_int_equal(results[0].answered, 4);
	assert_int_equal(results[0].rtt_us, 2000);
	assert_int_equal(results[1].ref, 3);
	assert_int_equal(results[1].sent, 4);
	assert_int_equal(results[1].answered, 2);
	assert_int_equal(results[1].rtt_us, 3000);
	assert_int_equal(prober_results(&p, results), 0);
	prober_done(&p);
}

/* What is not decided yet is no loss, and neither is what was asked of a peer that is gone. */
static void undecided(void **state)
{
	struct probe_result results[PROBE_RESULTS_MAX];
	struct prober p;
	uint64_t token;
	uint32_t ref;

	(void)state;
	memset(bytes_of, 0, sizeof(bytes_of));
	prober_init(&p, 1);
	interval(&p, 1);
	bytes_of[0] = 1000;
	interval(&p, 1);
	assert_true(prober_next(&p, &ref, &token));
	prober_sent(&p, ref, token, 10);
	prober_expire(&p, 14);
	assert_int_equal(prober_results(&p, results), 0);
	prober_end(&p); /* its session is gone */
	prober_expire(&p, 15);
	prober_answered(&p, ref, token, 1);
	assert_int_equal(prober_results(&p, results), 0);
	prober_done(&p);
}

/* Many busy peers: so many in an interval, and all of them in turn. */
static void in_turn(void **state)
{
	unsigned int asked[200] = {0};
	struct prober p;
	uint64_t token;
	uint32_t ref;

	(void)state;
	memset(bytes_of, 0, sizeof(bytes_of));
	prober_init(&p, 1);
	interval(&p, 200);
	for (uint64_t tick = PROBE_INTERVAL_S; tick <= 26 * PROBE_INTERVAL_S;
		tick += PROBE_INTERVAL_S) {
		int n = 0;

		for (size_t i = 0; i < 200; i++)
			bytes_of[i] += 1000;
		interval(&p, 200);
		while (prober_next(&p, &ref, &token)) {
			prober_sent(&p, ref, token, tick);
			prober_answered(&p, ref, token, 1);
			asked[ref - 1]++;
			n++;
		}
		assert_int_equal(n, PROBES_INTERVAL);
	}
	for (size_t i = 0; i < 200; i++) /* 416 probes */
		assert_in_range(asked[i], 2, 3);
	prober_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_second),
		cmocka_unit_test(standstill),
		cmocka_unit_test(networks_come_and_go),
		cmocka_unit_test(idle_is_silent),
		cmocka_unit_test(answers_and_losses),
		cmocka_unit_test(undecided),
		cmocka_unit_test(in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
