/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the micro-benchmarks share. Each group of them is a function that calls micro_run() for
 * every one of its rows, or micro_add() where it has measured by itself.
 */
#ifndef TEST_BENCH_MICRO_H
#define TEST_BENCH_MICRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct micro;

/*
 * Does a number of operations and returns the nanoseconds that they took, without what it had to
 * prepare. May do more or fewer than wanted, as suits it: *ret_done says how many.
 */
typedef uint64_t micro_operation(void *ctx, unsigned int wanted, unsigned int *ret_done);

struct micro_row {
	const char *group;
	const char *name;
	const char *unit; /* what one operation is: "message", "super-frame", ... */
	size_t bytes;     /* that one operation handles; 0 where that says nothing */
	size_t parts;     /* segments of a super-frame, peers of a netmap; 0: none */
	const char *part; /* what one is called */
	/* "NAME VALUE" of something else that is worth to be known; empty: nothing */
	char more[64];
};

/* Warms up, then measures several runs of row's operation. */
void micro_run(struct micro *m, const struct micro_row *row, micro_operation *operation, void *ctx);
/* A row whose runs were measured elsewhere. */
void micro_add(
	struct micro *m, const struct micro_row *row, const double *ns_per_op, unsigned int runs);
/* How many runs there are of each row. */
unsigned int micro_runs(const struct micro *m);

uint64_t micro_now_ns(void);
/* Memory, or the end. Zeroed, aligned to a cache line. */
void *micro_alloc(size_t size);
__attribute__((noreturn, format(printf, 1, 2))) void micro_die(const char *format, ...);
/* Makes the compiler believe that a value is used. */
static inline void micro_use(const void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

void micro_seal(struct micro *m);
void micro_offload(struct micro *m);
void micro_fdb(struct micro *m);
void micro_replay(struct micro *m);
void micro_netmap(struct micro *m);

#endif
