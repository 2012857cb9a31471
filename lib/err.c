/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "lib/utf8.h"

/* Cuts an incomplete UTF-8 sequence that truncation left at the end; the text stays one line. */
static void finish_line(char *text)
{
	size_t len = strlen(text);

	for (size_t back = 1; back <= 3 && back <= len; back++) {
		unsigned char c = (unsigned char)text[len - back];

		if (c < 0x80)
			break;
		if (c >= 0xc0) {
			if (utf8_sequence_len(text + len - back, back) == 0)
				len -= back;
			break;
		}
	}
	text[len] = '\0';
	utf8_make_line(text, len);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	char text[sizeof(e->text)]; /* the arguments may point into e */
	int saved_errno = errno;
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	finish_line(text);
	e->code = code;
	memcpy(e->text, text, strlen(text) + 1);
	errno = saved_errno;
	return code;
}

int err_prefix(struct err *e, int code, const char *fmt, ...)
{
	char text[2 * sizeof(e->text) + 2];
	int saved_errno = errno;
	size_t len;
	va_list ap;
	int n;

	if (!e)
		return code;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(e->text), fmt, ap);
	va_end(ap);
	if (n < 0)
		text[0] = '\0';
	len = strlen(text);
	snprintf(text + len, sizeof(text) - len, ": %s", e->text);
	text[sizeof(e->text) - 1] = '\0'; /* too long: the end of the older text goes */
	finish_line(text);
	memcpy(e->text, text, strlen(text) + 1);
	errno = saved_errno;
	return e->code;
}

static const struct {
	int code;
	const char *name;
} names[] = {
	{VAN_E_SYNTAX, "does not parse"},
	{VAN_E_CONFIG, "wrong configuration"},
	{VAN_E_UNREACHABLE, "unreachable"},
	{VAN_E_TLS, "TLS identity does not match"},
	{VAN_E_DENIED, "denied"},
	{VAN_E_NOT_FOUND, "not found"},
	{VAN_E_CONFLICT, "conflict"},
	{VAN_E_GONE, "gone"},
	{VAN_E_INVALID, "invalid request"},
	{VAN_E_LIMIT, "limit reached"},
	{VAN_E_TIMEOUT, "timed out"},
	{VAN_E_PROTOCOL, "answer that makes no sense"},
	{VAN_E_UNAUTHENTIC, "not authentic"},
	{VAN_E_CORRUPT, "corrupt state"},
};

const char *err_name(int code)
{
	static _Thread_local char unknown[32];
	const char *text;

	if (code == 0)
		return "success";
	if (code < 0 && code > -VAN_E_BASE) {
		text = strerrordesc_np(-code);
		if (text)
			return text;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].code == -code)
			return names[i].name;
	}
	snprintf(unknown, sizeof(unknown), "error %d", code);
	return unknown;
}
