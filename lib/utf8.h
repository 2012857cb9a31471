/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 (RFC 3629), strictly: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef LIB_UTF8_H
#define LIB_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The length (1–4) of the well-formed sequence at text, of which `left` bytes may be read; 0 if
 * there is none. */
static inline size_t utf8_sequence_len(const void *text, size_t left)
{
	const uint8_t *p = text;
	uint8_t low = 0x80, high = 0xbf; /* bounds of the second byte (RFC 3629 section 4) */
	size_t len;

	if (left == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		len = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		len = 3;
		low = p[0] == 0xe0 ? 0xa0 : 0x80;
		high = p[0] == 0xed ? 0x9f : 0xbf;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		len = 4;
		low = p[0] == 0xf0 ? 0x90 : 0x80;
		high = p[0] == 0xf4 ? 0x8f : 0xbf;
	} else {
		return 0;
	}
	if (left < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

/* Makes one printable line of text in place: control characters (C0, DEL, C1) become spaces, bytes
 * that are not UTF-8 question marks. */
static inline void utf8_make_line(char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		uint8_t c = (uint8_t)text[i];
		size_t n = utf8_sequence_len(text + i, len - i);

		if (n == 0)
			text[i] = '?';
		else if (c < 0x20 || c == 0x7f)
			text[i] = ' ';
		else if (c == 0xc2 && (uint8_t)text[i + 1] < 0xa0)
			text[i] = text[i + 1] = ' ';
		i += n ? n : 1;
	}
}

#endif
