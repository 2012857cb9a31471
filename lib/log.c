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

/* Set once at start, but for the level; the only mutable state of its kind in the library. */
static struct {
	_Atomic(const char *) program;
	atomic_int level;
	atomic_bool journal;
} state = {.level = LOG_LEVEL_INFO};

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

void log_write(enum log_level level, const char *fmt, ...)
{
	const char *program = atomic_load(&state.program);
	int saved_errno = errno;
	char line[LINE_MAX_LEN];
	size_t len, room;
	va_list ap;
	int n;

	if ((int)level > atomic_load_explicit(&state.level, memory_order_relaxed))
		return;
	if (atomic_load(&state.journal)) {
		n = snprintf(line, sizeof(line), "<%d>", levels[level].syslog_priority);
	} else {
		char when[21];

		clock_format_rfc3339(clock_wall_ns(), when);
		n = snprintf(line, sizeof(line), "%s %s%s%s: ", when, program ? program : "",
			program ? ": " : "", levels[level].name);
	}
	if (n < 0 || (size_t)n >= sizeof(line) - 1)
		return;
	len = (size_t)n;
	room = sizeof(line) - 1 - len; /* one byte is the newline's */
	va_start(ap, fmt);
	n = vsnprintf(line + len, room, fmt, ap);
	va_end(ap);
	if (n > 0) {
		size_t text_len = (size_t)n < room ? (size_t)n : room - 1;

		utf8_make_line(line + len, text_len);
		len += text_len;
	}
	line[len++] = '\n';
	/* Where stderr is full or closed there is nowhere left to say so. */
	if (write(STDERR_FILENO, line, len) < 0) {
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
