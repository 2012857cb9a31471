// SPDX-License-Identifier: Apache-2.0
#include "vanctl/duration.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t ms;
};

/* In the order in which duration_format() tries them; "ms" must be tried before "m" when reading.
 */
static const struct unit units[] = {
	{"d", 86400000},
	{"h", 3600000},
	{"ms", 1},
	{"m", 60000},
	{"s", 1000},
};

#define UNIT_COUNT (sizeof(units) / sizeof(units[0]))

static const struct unit *read_unit(const char **text)
{
	for (size_t i = 0; i < UNIT_COUNT; i++) {
		size_t len = strlen(units[i].name);

		if (strncmp(*text, units[i].name, len) == 0) {
			*text += len;
			return &units[i];
		}
	}
	return NULL;
}

/* One "NUMBER[.DIGITS]UNIT"; the unit may be missing only when nothing else was or is there. */
static bool read_piece(const char **text, bool first, int64_t *ret_ms)
{
	static const struct unit seconds = {"", 1000};
	const struct unit *unit;
	const char *fraction = NULL;
	size_t digits = 0;
	int64_t whole = 0;
	int64_t ms;

	if (!isdigit((unsigned char)**text))
		return false;
	for (; isdigit((unsigned char)**text); (*text)++) {
		if (__builtin_mul_overflow(whole, 10, &whole) ||
			__builtin_add_overflow(whole, **text - '0', &whole))
			return false;
	}
	if (**text == '.') {
		fraction = ++*text;
		digits = strspn(fraction, "0123456789");
		if (!digits)
			return false;
		*text += digits;
	}
	unit = **text == '\0' && first ? &seconds : read_unit(text);
	if (!unit || __builtin_mul_overflow(whole, unit->ms, &ms))
		return false;
	for (int64_t scale = unit->ms; digits; digits--, fraction++) {
		int64_t digit = *fraction - '0';

		if (digit && scale % 10)
			return false;
		scale /= 10;
		if (__builtin_add_overflow(ms, digit * scale, &ms))
			return false;
	}
	*ret_ms = ms;
	return true;
}

bool duration_parse(const char *text, int64_t *ret_ms)
{
	int64_t sum = 0;
	bool first = true;

	do {
		int64_t piece;

		if (!read_piece(&text, first, &piece) || __builtin_add_overflow(sum, piece, &sum))
			return false;
		first = false;
	} while (*text);
	*ret_ms = sum;
	return true;
}

void duration_format(int64_t ms, char ret_text[32])
{
	const struct unit *best = NULL;

	for (size_t i = 0; i < UNIT_COUNT; i++) {
		if (ms % units[i].ms == 0 && (!best || units[i].ms > best->ms))
			best = &units[i];
	}
	if (ms == 0)
		snprintf(ret_text, 32, "0s");
	else
		snprintf(ret_text, 32, "%lld%s", (long long)(ms / best->ms), best->name);
}
