/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the console's REST API (/api/v1). */
#ifndef VANCTL_API_H
#define VANCTL_API_H

#include <json-c/json.h>
#include <stdint.h>
#include "lib/httpc.h"
#include "vanctl/context.h"
#include "vanctl/vanctl.h"

/* What a call needs of the world; tests bring their own. */
struct api_io {
	int (*call)(void *ctx, const struct httpc_server *server,
		const struct httpc_request *request, struct httpc_response *ret_response,
		struct err *e);
	uint64_t (*now_ns)(void *ctx);
	void (*sleep_ms)(void *ctx, unsigned int ms);
};

struct api {
	struct context context;
	char *authorization; /* the header */
	unsigned int timeout_ms;
	FILE *trace; /* requests are shown here, or NULL */
	const struct api_io *io;
	void *io_ctx;
};

/* Takes the context over (it is emptied). */
int api_init(struct api *api, struct context *context, unsigned int timeout_ms, FILE *trace,
	struct err *e);
void api_done(struct api *api);

static inline void cleanup_api(struct api *api)
{
	api_done(api);
}

/* For handlers: the context that options, environment and login give (context_resolve()). */
int api_open(struct vanctl *v, struct api *api, struct err *e);

/*
 * One request. body (borrowed) may be NULL. An answer of 429, or of 503 with Retry-After, is tried
 * again when the console says, at most API_MAX_TRIES times and within the timeout, which bounds the
 * whole. *ret_object is the answer's JSON, NULL for an answer without a body; ret_object may be
 * NULL. Errors: those of httpc_call() and httpc_status_error(), -VAN_E_PROTOCOL.
 */
#define API_MAX_TRIES 10
int api_call(struct api *api, const char *method, const char *path, struct json_object *body,
	struct json_object **ret_object, struct err *e);

/* Reads a list to its end: *ret_list has all items, and "next" null. The path may have a query. */
int api_list(struct api *api, const char *path, struct json_object **ret_list, struct err *e);

/* "/api/v1" and the segments, each percent-encoded (RFC 3986); heap. Ends with NULL. */
char *api_path(const char *segment, ...) __attribute__((sentinel));

/* Percent-encodes one value; heap. */
char *api_encode(const char *text);

#endif
