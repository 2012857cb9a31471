// SPDX-License-Identifier: Apache-2.0
#include "vanctl/text.h"

#include <string.h>
#include <time.h>

#include "lib/utf8.h"

/*
 * Widths do not come from wcwidth(3): that depends on the locale, and in the C locale of a cron job
 * it knows nothing beyond ASCII. The ranges below are the blocks that matter for names: combining
 * marks and formatting characters (none), and the wide East Asian and emoji blocks (two).
 */
struct range {
	uint32_t first, last;
};

static const struct range zero_width[] = {
	{0x0300, 0x036f},
	{0x0483, 0x0489},
	{0x0591, 0x05bd},
	{0x064b, 0x065f},
	{0x0e34, 0x0e3a},
	{0x0e47, 0x0e4e},
	{0x200b, 0x200f},
	{0x202a, 0x202e},
	{0x2060, 0x2064},
	{0x20d0, 0x20f0},
	{0xfe00, 0xfe0f},
	{0xfe20, 0xfe2f},
	{0xfeff, 0xfeff},
};

static const struct range double_width[] = {
	{0x1100, 0x115f},
	{0x2e80, 0x303e},
	{0x3041, 0xa4cf},
	{0xac00, 0xd7a3},
	{0xf900, 0xfaff},
	{0xfe30, 0xfe6f},
	{0xff00, 0xff60},
	{0xffe0, 0xffe6},
	{0x1f300, 0x1f64f},
	{0x1f900, 0x1f9ff},
	{0x20000, 0x3fffd},
};

/* Direction overrides reorder what follows them on the screen, as harmful as an escape sequence. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069) || c == 0x2028 || c == 0x2029;
}

static bool in_ranges(uint32_t c, const struct range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	}
	return false;
}

/* The length of the character at *text, 1 with *ret_char = '?' for a byte that begins none. */
static size_t next_char(const char *text, uint32_t *ret_char)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t len = utf8_sequence_len(text, strnlen(text, 4));
	uint32_t c;

	*ret_char = '?';
	if (len == 0)
		return 1;
	c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++)
		c = c << 6 | (p[i] & 0x3fu);
	*ret_char = is_control(c) ? '?' : c;
	return len;
}

void text_clean(FILE *to, const char *text)
{
	while (*text) {
		uint32_t c;
		size_t len = next_char(text, &c);

		if (c == '?')
			fputc('?', to);
		else
			fwrite(text, 1, len, to);
		text += len;
	}
}

size_t text_width(const char *text)
{
	size_t width = 0;

	while (*text) {
		uint32_t c;

		text += next_char(text, &c);
		if (in_ranges(c, zero_width, sizeof(zero_width) / sizeof(zero_width[0])))
			continue;
		width += in_ranges(c, double_width, sizeof(double_width) / sizeof(double_width[0]))
				 ? 2
				 : 1;
	}
	return width;
}

void text_bytes(uint64_t bytes, char ret_text[TEXT_UNIT_LEN])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t unit = 0;
	double value = (double)bytes / 1024;

	if (bytes < 1024) {
		snprintf(ret_text, TEXT_UNIT_LEN, "%llu B", (unsigned long long)bytes);
		return;
	}
	/* 1023.95 and more would be shown as 1024.0 of the smaller unit. */
	while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(ret_text, TEXT_UNIT_LEN, "%.1f %s", value, units[unit]);
}

void text_span(int64_t seconds, char ret_text[TEXT_UNIT_LEN])
{
	if (seconds < 0)
		seconds = 0;
	if (seconds < 60)
		snprintf(ret_text, TEXT_UNIT_LEN, "%lld s", (long long)seconds);
	else if (seconds < 3600)
		snprintf(ret_text, TEXT_UNIT_LEN, "%lld min", (long long)seconds / 60);
	else if (seconds < 2 * 86400)
		snprintf(ret_text, TEXT_UNIT_LEN, "%lld h", (long long)seconds / 3600);
	else
		snprintf(ret_text, TEXT_UNIT_LEN, "%lld d", (long long)seconds / 86400);
}

bool text_parse_time(const char *text, int64_t *ret_wall_s)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!rest)
		return false;
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (strcmp(rest, "Z") != 0)
		return false;
	*ret_wall_s = timegm(&tm);
	return true;
}
