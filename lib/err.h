/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. Functions return 0 or a negative code: -errno where the system has a name for what went
 * wrong, a VAN_E* below where it has not. A function that has more to say than a code takes a
 * `struct err *` (may be NULL) and leaves one line in it that a person can act on: what failed, on
 * which object, and what to do about it.
 */
#ifndef LIB_ERR_H
#define LIB_ERR_H

#include <errno.h>
#include <stddef.h>

enum van_error {
	VAN_E_BASE = 4096, /* above every errno */
	VAN_E_SYNTAX,      /* input that does not parse */
	VAN_E_CONFIG,      /* a configuration file that is wrong */
	VAN_E_UNREACHABLE, /* the other side did not answer */
	VAN_E_TLS,         /* it answered, but is not who the pin or CA says */
	VAN_E_DENIED,      /* it answered: not allowed (HTTP 401, 403) */
	VAN_E_NOT_FOUND,   /* HTTP 404 */
	VAN_E_CONFLICT,    /* HTTP 409, 412 */
	VAN_E_GONE,        /* HTTP 410 */
	VAN_E_INVALID,     /* HTTP 400, 422: the request is wrong */
	VAN_E_LIMIT,       /* HTTP 429, or a local limit is reached */
	VAN_E_TIMEOUT,     /* no result within the time allowed */
	VAN_E_PROTOCOL,    /* an answer that makes no sense */
	VAN_E_UNAUTHENTIC, /* a tag, signature or MAC that does not verify */
	VAN_E_CORRUPT,     /* state on disk that does not parse or belongs to somebody else */
};

struct err {
	int code;       /* as returned, negative */
	char text[512]; /* one line, no newline, UTF-8 */
};

/* Sets e (if not NULL) to the code (negative) and the formatted text. Returns code. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts a formatted "context: " in front of the text that e holds. Returns e->code, or code if e is
 * NULL. */
int err_prefix(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The name of a code for people, for -errno and -VAN_E* alike. Static or thread-local string. */
const char *err_name(int code);

#endif
