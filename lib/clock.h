/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clocks. State machines never read one: time is an argument to them. The loops read CLOCK_BOOTTIME
 * once a turn (it goes on while a laptop sleeps, so a session does not outlive its keys there).
 */
#ifndef LIB_CLOCK_H
#define LIB_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

static inline uint64_t clock_read(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Nanoseconds since boot, suspend included. */
static inline uint64_t clock_boottime_ns(void)
{
	return clock_read(CLOCK_BOOTTIME);
}

/* Of the processor's time, that this thread has had. */
static inline uint64_t clock_thread_cpu_ns(void)
{
	return clock_read(CLOCK_THREAD_CPUTIME_ID);
}

/* Nanoseconds since 1970. May jump. */
static inline uint64_t clock_wall_ns(void)
{
	return clock_read(CLOCK_REALTIME);
}

/* t (nanoseconds since 1970) as RFC 3339 in UTC with seconds, e.g. 2026-03-01T12:00:00Z. */
void clock_format_rfc3339(uint64_t wall_ns, char ret_text[21]);

#endif
