/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/utf8.h"

#define LINE_MAX_LEN 2048 /* below PIPE_BUF: lines of several threads do not mix in a pipe */

/* Set once at start, but for the level; the only mutable state of its kind in the library, with what
 * each thread says of itself. */
static struct {
	_Atomic(const char *) program;
	atomic_int level;
	atomic_int format;
	atomic_bool journal;
} state = {.level = LOG_LEVEL_INFO};
static _Thread_local const char *request;

static const struct {
	const char *name;
	int syslog_priority; /* syslog(3), as the journal wants it */
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", 3},
	[LOG_LEVEL_WARN] = {"warn", 4},
	[LOG_LEVEL_INFO] = {"info", 6},
	[LOG_LEVEL_DEBUG] = {"debug", 7},
};

/* JOURNAL_STREAM is inherited by children whose stderr went elsewhere, so compare what it names. */
static bool stderr_is_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;
	int used = 0;

	if (!text || sscanf(text, "%" SCNuMAX ":%" SCNuMAX "%n", &device, &inode, &used) != 2 ||
		text[used] != '\0')
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && (uintmax_t)st.st_dev == device &&
	       (uintmax_t)st.st_ino == inode;
}

void log_init(const char *program, enum log_level level)
{
	atomic_store(&state.program, program);
	atomic_store(&state.journal, stderr_is_journal());
	log_set_level(level);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&state.level, (int)level, memory_order_relaxed);
}

bool log_level_parse(const char *text, enum log_level *ret_level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(text, levels[i].name) == 0) {
			*ret_level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool log_format_parse(const char *text, enum log_format *ret_format)
{
	bool json = strcmp(text, "json") == 0;

	if (!json && strcmp(text, "text") != 0)
		return false;
	*ret_format = json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
	return true;
}

void log_set_format(enum log_format format)
{
	atomic_store(&state.format, (int)format);
}

void log_set_request(const char *id)
{
	request = id;
}

/* A line that is being made: text that does not fit is left out. */
struct line {
	char text[LINE_MAX_LEN];
	size_t len, max; /* max: room is kept behind it */
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->len, l->max - l->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->len += (size_t)n < l->max - l->len ? (size_t)n : l->max - l->len - 1;
}

__attribute__((format(printf, 2, 0))) static void add_message(
	struct line *l, const char *fmt, va_list ap)
{
	int n = vsnprintf(l->text + l->len, l->max - l->len, fmt, ap);

	if (n > 0) {
		size_t len = (size_t)n < l->max - l->len ? (size_t)n : l->max - l->len - 1;

		utf8_make_line(l->text + l->len, len);
		l->len += len;
	}
}

__attribute__((format(printf, 3, 0))) static void make_text(
	struct line *l, enum log_level level, const char *fmt, va_list ap)
{
	const char *program = atomic_load(&state.program);
	char when[21];

	if (!atomic_load(&state.journal)) {
		clock_format_rfc3339(clock_wall_ns(), when);
		add(l, "%s %s%s%s: ", when, program ? program : "", program ? ": " : "",
			levels[level].name);
	}
	if (request && *request)
		add(l, "[%s] ", request);
	add_message(l, fmt, ap);
}

/* Of a line of UTF-8 without control characters: only quotes and backslashes are in the way. */
static void add_escaped(struct line *l, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = utf8_sequence_len(text + i, len - i);
		bool escape = text[i] == '"' || text[i] == '\\';

		if (l->len + escape + n >= l->max)
			return;
		if (escape)
			l->text[l->len++] = '\\';
		memcpy(l->text + l->len, text + i, n);
		l->len += n;
		i += n;
	}
}

__attribute__((format(printf, 3, 0))) static void make_json(
	struct line *l, enum log_level level, const char *fmt, va_list ap)
{
	const char *program = atomic_load(&state.program);
	struct line message = {.max = LINE_MAX_LEN};
	uint64_t now_ns = clock_wall_ns();
	char when[21];

	clock_format_rfc3339(now_ns, when);
	when[19] = '\0'; /* its Z */
	add(l, "{\"time\":\"%s.%03uZ\",\"level\":\"%s\"", when,
		(unsigned int)(now_ns / NS_PER_MS % 1000), levels[level].name);
	if (program)
		add(l, ",\"program\":\"%s\"", program);
	if (request && *request)
		add(l, ",\"request\":\"%s\"", request);
	add(l, ",\"message\":\"");
	add_message(&message, fmt, ap);
	l->max -= 2;
	add_escaped(l, message.text, message.len);
	l->max += 2;
	add(l, "\"}");
}

void log_write(enum log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	struct line l = {.max = LINE_MAX_LEN - 1}; /* one byte is the newline's */
	va_list ap;

	if ((int)level > atomic_load_explicit(&state.level, memory_order_relaxed))
		return;
	if (atomic_load(&state.journal))
		add(&l, "<%d>", levels[level].syslog_priority);
	va_start(ap, fmt);
	if (atomic_load(&state.format) == LOG_FORMAT_JSON)
		make_json(&l, level, fmt, ap);
	else
		make_text(&l, level, fmt, ap);
	va_end(ap);
	l.text[l.len++] = '\n';
	/* Where stderr is full or closed there is nowhere left to say so. */
	if (write(STDERR_FILENO, l.text, l.len) < 0) {
	}
	errno = saved_errno;
}

bool log_limit_pass(
	struct log_limit *limit, uint64_t now_ns, uint64_t interval_ns, unsigned int burst)
{
	if (now_ns - limit->window_start_ns >= interval_ns) {
		limit->window_start_ns = now_ns;
		limit->seen = 0;
	}
	if (limit->seen >= burst)
		return false;
	limit->seen++;
	return true;
}
