/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread's event loop: epoll, timers and signals. Everything runs in that one thread;
 * callbacks must not block.
 */
#ifndef VAND_LOOP_H
#define VAND_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include "lib/list.h"

struct loop {
	int epoll_fd;
	bool stopping;
	uint64_t now_ns;    /* CLOCK_BOOTTIME at the start of this turn */
	struct list timers; /* of struct loop_timer, by deadline */
	/* What epoll reported and is not delivered yet: loop_remove() strikes its source out. */
	struct epoll_event *pending;
	int pending_count;
};

/* Embedded in whoever owns the descriptor; container_of() leads back. */
struct loop_source {
	int fd;
	void (*ready)(struct loop_source *source, uint32_t events); /* EPOLLIN | EPOLLOUT | … */
	bool added;
};

struct loop_timer {
	struct list node;
	uint64_t deadline_ns;
	bool armed;
	void (*fire)(struct loop_timer *timer, uint64_t now_ns);
};

/* 0 or -errno. */
int loop_init(struct loop *loop);
void loop_done(struct loop *loop);

/* Runs until loop_stop(). 0 or -errno of epoll itself. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* source->fd and ready are set by the caller. 0 or -errno. A source may be removed (and freed) from
 * any callback: what was reported for it in the same turn is not delivered any more. */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events);
int loop_change(struct loop *loop, struct loop_source *source, uint32_t events);
void loop_remove(struct loop *loop, struct loop_source *source);

/* (Re-)arms; UINT64_MAX disarms. timer->fire is set by the caller; the timer was zeroed once. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

#endif
