/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rate limits by token bucket: `rate` a second on average, `burst` at once. Of bounded size: a
 * table of fixed sets, in which the bucket that was idle longest gives way. Time is an argument.
 */
#ifndef CONSOLE_API_LIMIT_H
#define CONSOLE_API_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limit;

struct limit *limit_new(unsigned int rate, unsigned int burst);
void limit_free(struct limit *l);

/* Takes one from the bucket of the key (any bytes). False when it is empty; then *ret_retry_after_s
 * (may be NULL) is when one will be there again, at least 1. */
bool limit_take(struct limit *l, const void *key, size_t len, uint64_t now_ns,
	unsigned int *ret_retry_after_s);
/* Takes `amount` as well, of what was found to cost more than one; it may leave the bucket as far in
 * debt as it can hold. */
void limit_charge(struct limit *l, const void *key, size_t len, uint64_t now_ns, double amount);
/* True when limit_take() would pass. Takes nothing. */
bool limit_peek(struct limit *l, const void *key, size_t len, uint64_t now_ns,
	unsigned int *ret_retry_after_s);

#endif
