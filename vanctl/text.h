/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: widths on a terminal, harmless characters, sizes and ages with units. */
#ifndef VANCTL_TEXT_H
#define VANCTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_UNIT_LEN 32

/*
 * Writes UTF-8 text in which control characters and bytes that are not UTF-8 are replaced by '?':
 * what comes from a console or a peer must not move the cursor.
 */
void text_clean(FILE *to, const char *text);

/* The columns that text_clean(text) takes on a terminal: wide characters two, combining ones none.
 */
size_t text_width(const char *text);

/* "0 B", "999 B", "1.2 KiB", "17.0 GiB". */
void text_bytes(uint64_t bytes, char ret_text[TEXT_UNIT_LEN]);

/* The largest unit that fits, rounded down: "3 s", "5 min", "2 h", "14 d". */
void text_span(int64_t seconds, char ret_text[TEXT_UNIT_LEN]);

/* Reads RFC 3339 in UTC ("2026-03-01T12:00:00Z", fractions are dropped). */
bool text_parse_time(const char *text, int64_t *ret_wall_s);

#endif
