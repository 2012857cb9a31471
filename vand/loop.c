/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A turn: wait for descriptors or the nearest timer, deliver what was reported, fire what is due.
 *
 * A callback may remove, and free, any source, also one whose event stands further down in the same
 * batch. loop_remove() therefore strikes the source's events out of the batch; nothing ever looks
 * at a source that was removed.
 *
 * Timers are a sorted list: there is a handful of them. A timer that is set to the past fires in
 * the next turn, not in this one, so a timer that re-arms itself for "now" cannot starve the
 * descriptors.
 */
#include "vand/loop.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include "lib/clock.h"

#define LOOP_BATCH 64

int loop_init(struct loop *loop)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return -errno;
	memset(loop, 0, sizeof(*loop));
	loop->epoll_fd = fd;
	list_init(&loop->timers);
	loop->now_ns = clock_boottime_ns();
	return 0;
}

void loop_done(struct loop *loop)
{
	list_for_each_safe (it, &loop->timers)
		loop_timer_cancel(loop, container_of(it, struct loop_timer, node));
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	loop->epoll_fd = -1;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0)
		return -errno;
	source->added = true;
	return 0;
}

int loop_change(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0)
		return -errno;
	return 0;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	if (!source->added)
		return;
	/* The descriptor may be closed already, and is then gone from epoll by itself. */
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	source->added = false;
	for (int i = 0; i < loop->pending_count; i++) {
		if (loop->pending[i].data.ptr == source)
			loop->pending[i].data.ptr = NULL;
	}
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	(void)loop;
	if (!timer->armed)
		return;
	list_del(&timer->node);
	timer->armed = false;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns)
{
	struct list *at;

	loop_timer_cancel(loop, timer);
	if (deadline_ns == UINT64_MAX)
		return;
	if (deadline_ns <= loop->now_ns)
		deadline_ns = loop->now_ns + 1;
	timer->deadline_ns = deadline_ns;

	/* Behind those with the same deadline: first set, first fired. */
	for (at = loop->timers.prev; at != &loop->timers; at = at->prev) {
		if (container_of(at, struct loop_timer, node)->deadline_ns <= deadline_ns)
			break;
	}
	list_add_tail(at->next, &timer->node);
	timer->armed = true;
}

/* Milliseconds to the nearest timer, rounded up so that a turn never comes just too early. */
static int wait_ms(const struct loop *loop)
{
	const struct loop_timer *first;
	uint64_t now_ns, left_ms;

	if (list_empty(&loop->timers))
		return -1;
	first = container_of(loop->timers.next, struct loop_timer, node);
	now_ns = clock_boottime_ns();
	if (first->deadline_ns <= now_ns)
		return 0;
	left_ms = (first->deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
	return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

static void fire_timers(struct loop *loop)
{
	while (!loop->stopping && !list_empty(&loop->timers)) {
		struct loop_timer *timer = container_of(loop->timers.next, struct loop_timer, node);

		if (timer->deadline_ns > loop->now_ns)
			return;
		loop_timer_cancel(loop, timer);
		timer->fire(timer, loop->now_ns);
	}
}

int loop_run(struct loop *loop)
{
	struct epoll_event events[LOOP_BATCH];

	while (!loop->stopping) {
		int n = epoll_wait(loop->epoll_fd, events, LOOP_BATCH, wait_ms(loop));

		if (n < 0 && errno != EINTR)
			return -errno;
		loop->now_ns = clock_boottime_ns();
		loop->pending = events;
		loop->pending_count = n > 0 ? n : 0;
		for (int i = 0; i < loop->pending_count && !loop->stopping; i++) {
			struct loop_source *source = events[i].data.ptr;

			if (source)
				source->ready(source, events[i].events);
		}
		loop->pending = NULL;
		loop->pending_count = 0;
		fire_timers(loop);
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->stopping = true;
}
