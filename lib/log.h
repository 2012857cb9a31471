/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging to stderr, one line a message, as text
 *
 *   2026-03-01T12:00:00Z console-api: info: [REQUEST] the message
 *
 * or as a JSON object with the members time (RFC 3339 with milliseconds), level, program, message
 * and, while one is being handled, request. Under systemd (JOURNAL_STREAM names what stderr is)
 * lines carry the journal's "<N>" priority prefix, in text instead of time, program and level.
 * Thread-safe; a line is one write(2).
 * Never log a key, token, or anything that a packet from a stranger contains verbatim.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Sets the program's name (kept by reference) and the level up to which lines are written. */
void log_init(const char *program, enum log_level level);
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
/* The id of what the calling thread is handling from here on, while it is not ""; NULL: nothing any
 * more. Kept by reference; without quotes, backslashes and control characters. */
void log_set_request(const char *id);

/* "error" | "warn" | "info" | "debug" to a level; false if it is none of them. */
bool log_level_parse(const char *text, enum log_level *ret_level);
/* "text" | "json" likewise. */
bool log_format_parse(const char *text, enum log_format *ret_format);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* A limiter for messages that a peer can provoke: true at most `burst` times an interval. */
struct log_limit {
	uint64_t window_start_ns;
	unsigned int seen;
};
bool log_limit_pass(
	struct log_limit *limit, uint64_t now_ns, uint64_t interval_ns, unsigned int burst);

#endif
