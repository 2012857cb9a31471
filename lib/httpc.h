/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPS client over libcurl, for JSON APIs whose server is known by the pin of its public key or by
 * a CA file. Two ways to use it: httpc_call() blocks (vanctl); httpc_start() runs on the caller's
 * own event loop through curl's multi interface (vand), so that a registry that hangs stops
 * nothing.
 */
#ifndef LIB_HTTPC_H
#define LIB_HTTPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/err.h"

#define HTTPC_MAX_BODY (64u << 20)

struct httpc_server {
	char *url;     /* "https://host:port", no path */
	char *pin;     /* "sha256//BASE64" (several joined by ';'), or NULL */
	char *ca_file; /* or NULL: the system's CAs, unless there is a pin */
};

struct httpc_request {
	const char *method; /* "GET", … */
	const char *path;   /* "/api/v1/…" with its query */
	const char *body;   /* NULL: none */
	size_t body_len;
	const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
	unsigned int timeout_ms;
	bool fresh; /* not on a connection that is open already: it may be dead */
	/* A stream, of httpc_call() only: unless NULL it gets the body of a 200 as it comes, and
	 * ends the call with false: -ECANCELED. timeout_ms is then how long nothing may come (in
	 * whole seconds). */
	bool (*take)(void *ctx, const char *data, size_t len);
	void *take_ctx;
};

struct httpc_response {
	long status; /* HTTP status */
	char *body;  /* heap, NUL-terminated */
	size_t body_len;
	char *content_type;         /* heap or NULL */
	char *etag;                 /* heap or NULL */
	unsigned int retry_after_s; /* 0: none */
};

void httpc_response_done(struct httpc_response *r);

/*
 * Blocking. 0 when there is an answer, whatever its status; -VAN_E_UNREACHABLE, -VAN_E_TLS (pin or
 * certificate do not match), -VAN_E_TIMEOUT otherwise, with a line that says what to do.
 */
int httpc_call(const struct httpc_server *server, const struct httpc_request *request,
	struct httpc_response *ret_response, struct err *e);

/* The error that an answer of status >= 400 stands for: code by status, text from the problem
 * document's title and detail (RFC 9457). 0 below 400. */
int httpc_status_error(const struct httpc_response *r, struct err *e);

/* -- event-driven -- */

struct httpc;      /* a multi handle */
struct httpc_call; /* one request under way */

/* What the caller's loop must do for us. Called from within httpc_* functions only. */
struct httpc_loop {
	void *ctx;
	/* Watch fd for reading/writing (both false: forget it). */
	void (*watch)(void *ctx, int fd, bool read, bool write);
	/* Call httpc_on_timer() after timeout_ms (-1: not any more). */
	void (*set_timer)(void *ctx, long timeout_ms);
};

/* rc is as for httpc_call(); the response is valid during the callback only. */
typedef void httpc_done(
	void *ctx, int rc, const struct httpc_response *response, const struct err *e);

int httpc_new(const struct httpc_loop *loop, struct httpc **ret_httpc);
void httpc_free(struct httpc *h); /* cancels what is under way, without callbacks */

/* Copies what it needs of server and request. The callback runs from httpc_on_*(), never from
 * here. *ret_call (may be NULL) is valid until the callback or httpc_cancel(). */
int httpc_start(struct httpc *h, const struct httpc_server *server,
	const struct httpc_request *request, httpc_done *done, void *ctx,
	struct httpc_call **ret_call);
/* Ends a request without a callback. */
void httpc_cancel(struct httpc *h, struct httpc_call *call);
void httpc_on_fd(struct httpc *h, int fd, bool readable, bool writable);
void httpc_on_timer(struct httpc *h);

#endif
