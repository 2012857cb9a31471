/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a chunk of a time series is kept small: each value in 16 bits, and runs of equal ones as one.
 * Values up to 2,047 are exact, larger ones keep 11 significant bits: within 0.05 %.
 *
 * Format of one column of STATS_CHUNK values, numbers little-endian:
 *   control byte c < 128    c + 1 values of 16 bits follow
 *   control byte c >= 128   one value follows, and stands for c - 126 of them (2…129)
 * A value is exponent (6 bits) ‖ mantissa (10 bits): m for exponent 0, else (1024 + m) << (e - 1).
 */
#ifndef CONSOLE_API_STATS_PACK_H
#define CONSOLE_API_STATS_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATS_CHUNK      60                        /* values in a column */
#define STATS_PACKED_MAX (2 * STATS_CHUNK + 1 + 1) /* bytes of a packed column, with a margin */

uint16_t stats_round(uint64_t value);
uint64_t stats_unround(uint16_t rounded);

/* Packs a column; ret_data holds STATS_PACKED_MAX bytes. Returns the length. */
size_t stats_pack(const uint64_t values[STATS_CHUNK], uint8_t *ret_data);
/* Reads one column. Returns its length in bytes, 0 when the data is no column. ret_values may be
 * NULL: skip it. */
size_t stats_unpack(const uint8_t *data, size_t len, uint64_t *ret_values);

#endif
