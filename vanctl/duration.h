/* SPDX-License-Identifier: Apache-2.0 */
/* Durations as people type them. */
#ifndef VANCTL_DURATION_H
#define VANCTL_DURATION_H

#include <stdbool.h>
#include <stdint.h>

/*
 * "500ms", "30s", "1.5s", "5m", "1h30m", "7d"; a bare number means seconds. Milliseconds are the
 * finest unit: more digits than that are refused, not rounded. False when text is none of these or
 * does not fit.
 */
bool duration_parse(const char *text, int64_t *ret_ms);

/* The shortest form that duration_parse() reads back, e.g. "1h", "90s", "250ms". */
void duration_format(int64_t ms, char ret_text[32]);

#endif
