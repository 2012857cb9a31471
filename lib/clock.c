/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/clock.h"

void clock_format_rfc3339(uint64_t wall_ns, char ret_text[21])
{
	time_t seconds = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;

	/* 64 bits of nanoseconds end in 2554: the year always has four digits. */
	gmtime_r(&seconds, &tm);
	strftime(ret_text, 21, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
