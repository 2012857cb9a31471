/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The talk between vanctl and vand over a unix stream socket: one request, one answer, one line of
 * JSON each, then both close.
 *
 *   → {"command":"status", …arguments…}
 *   ← {"result":{…}}   or   {"error":{"code":"not_found","detail":"…one line…"}}
 *
 * A command may take long (join, ping): the server answers when it is done, the client bounds its
 * wait. Arguments and results of each command are in docs/control-socket.md.
 */
#ifndef LIB_CTLPROTO_H
#define LIB_CTLPROTO_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include "lib/err.h"

#define CTLPROTO_MAX_REQUEST    (64u << 10)
#define CTLPROTO_MAX_ANSWER     (64u << 20)
#define CTLPROTO_DEFAULT_SOCKET "/run/van/vand.sock"

/*
 * Client: sends the request, waits at most timeout_ms for the answer. 0 and *ret_result (owned by
 * the caller), the error that the daemon answered, -VAN_E_UNREACHABLE when nobody listens there
 * (with a line that says how to start vand), -VAN_E_TIMEOUT.
 */
int ctlproto_call(const char *socket_path, struct json_object *request, unsigned int timeout_ms,
	struct json_object **ret_result, struct err *e);

/* Server: the line (newline included, heap, for the caller to free) that answers with a result
 * (borrowed), or with an error. */
char *ctlproto_result_line(struct json_object *result);
char *ctlproto_error_line(int code, const char *detail);

/* The words for error codes on the wire ("not_found", "denied", …), both ways; "error" / -EIO for
 * what has none. */
const char *ctlproto_error_word(int code);
int ctlproto_error_code(const char *word);

#endif
