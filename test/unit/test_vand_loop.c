/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "vand/loop.h"

/* -- timers -- */

struct shot {
	struct loop_timer timer;
	struct loop *loop;
	char name;
	char *record; /* names in the order of firing */
	bool last;
};

static void fire(struct loop_timer *timer, uint64_t now_ns)
{
	struct shot *s = container_of(timer, struct shot, timer);

	assert_true(now_ns >= timer->deadline_ns);
	assert_false(timer->armed);
	s->record[strlen(s->record)] = s->name;
	if (s->last)
		loop_stop(s->loop);
}

static void timers_fire_in_order(void **state)
{
	char record[8] = "";
	struct loop loop;
	struct shot shots[5];

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	for (int i = 0; i < 5; i++)
		shots[i] = (struct shot){.timer.fire = fire,
			.loop = &loop,
			.name = (char)('a' + i),
			.record = record};
	loop_timer_set(&loop, &shots[0].timer, loop.now_ns + 3 * NS_PER_MS);
	loop_timer_set(&loop, &shots[1].timer, loop.now_ns + 1 * NS_PER_MS);
	loop_timer_set(
		&loop, &shots[2].timer, loop.now_ns + 3 * NS_PER_MS); /* after a: set later */
	loop_timer_set(&loop, &shots[3].timer, loop.now_ns + 2 * NS_PER_MS);
	loop_timer_set(&loop, &shots[4].timer, loop.now_ns + 9 * NS_PER_MS);
	/* Moved, cancelled, and disarmed by setting it to never. */
	loop_timer_set(&loop, &shots[1].timer, loop.now_ns + 5 * NS_PER_MS);
	loop_timer_cancel(&loop, &shots[3].timer);
	loop_timer_cancel(&loop, &shots[3].timer);
	shots[4].last = true;
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(record, "acbe");
	loop_timer_set(&loop, &shots[0].timer, UINT64_MAX);
	assert_true(list_empty(&loop.timers));
	loop_done(&loop);
}

/* A timer that is always due, and a descriptor that must get its turn all the same. */
struct greedy {
	struct loop_timer timer;
	struct loop_source source;
	struct loop loop;
	unsigned int fired;
};

static void fire_again(struct loop_timer *timer, uint64_t now_ns)
{
	struct greedy *g = container_of(timer, struct greedy, timer);

	assert_true(++g->fired < 1000);
	loop_timer_set(&g->loop, timer, now_ns > 5 ? now_ns - 5 : 0);
}

static void stop_at_event(struct loop_source *source, uint32_t events)
{
	struct greedy *g = container_of(source, struct greedy, source);

	assert_true(events & EPOLLIN);
	if (g->fired >= 3)
		loop_stop(&g->loop);
}

static void overdue_timer_starves_nobody(void **state)
{
	struct greedy g = {.timer.fire = fire_again, .source.ready = stop_at_event};

	(void)state;
	assert_int_equal(loop_init(&g.loop), 0);
	g.source.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(loop_add(&g.loop, &g.source, EPOLLIN), 0);
	loop_timer_set(&g.loop, &g.timer, 0);
	assert_int_equal(loop_run(&g.loop), 0);
	assert_true(g.fired >= 3);
	loop_remove(&g.loop, &g.source);
	close(g.source.fd);
	loop_done(&g.loop);
}

/* -- sources -- */

struct chain {
	struct loop_source source;
	struct loop *loop;
	struct chain *next; /* removed and freed by this one */
	unsigned int *called;
};

static void remove_next(struct loop_source *source, uint32_t events)
{
	struct chain *c = container_of(source, struct chain, source);
	uint64_t n;

	(void)events;
	++*c->called;
	assert_int_equal(read(source->fd, &n, sizeof(n)), sizeof(n));
	if (c->next) {
		loop_remove(c->loop, &c->next->source);
		loop_remove(c->loop, &c->next->source); /* twice is harmless */
		close(c->next->source.fd);
		free(c->next);
		c->next = NULL;
	}
}

static void stop(struct loop_timer *timer, uint64_t now_ns)
{
	(void)now_ns;
	loop_stop(container_of(timer, struct shot, timer)->loop);
}

static void removal_within_a_turn(void **state)
{
	struct loop loop;
	struct shot end = {.timer.fire = stop, .loop = &loop};
	struct chain first = {0}, *second = calloc(1, sizeof(*second));
	unsigned int called = 0;

	(void)state;
	assert_non_null(second);
	assert_int_equal(loop_init(&loop), 0);
	first = (struct chain){.source = {.fd = eventfd(1, EFD_CLOEXEC), .ready = remove_next},
		.loop = &loop,
		.next = second,
		.called = &called};
	*second = (struct chain){.source = {.fd = eventfd(1, EFD_CLOEXEC), .ready = remove_next},
		.loop = &loop,
		.called = &called};
	assert_int_equal(loop_add(&loop, &first.source, EPOLLIN), 0);
	assert_int_equal(loop_add(&loop, &second->source, EPOLLIN), 0);
	loop_timer_set(&loop, &end.timer, loop.now_ns + NS_PER_MS);
	assert_int_equal(loop_run(&loop), 0);
	/* epoll reports in the order of readiness: the first one came first and took the other out.
	 */
	assert_int_equal(called, 1);
	loop_remove(&loop, &first.source);
	close(first.source.fd);
	loop_done(&loop);
}

static void errors_of_epoll(void **state)
{
	struct loop_source source = {.fd = -1};
	struct loop loop;

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(loop_add(&loop, &source, EPOLLIN), -EBADF);
	assert_false(source.added);
	source.fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(loop_change(&loop, &source, EPOLLIN), -ENOENT);
	assert_int_equal(loop_add(&loop, &source, EPOLLIN), 0);
	close(source.fd);
	loop_remove(&loop, &source); /* closed first: fine */
	assert_false(source.added);
	loop_done(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_in_order),
		cmocka_unit_test(overdue_timer_starves_nobody),
		cmocka_unit_test(removal_within_a_turn),
		cmocka_unit_test(errors_of_epoll),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
