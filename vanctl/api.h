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
	char *pins;          /* those of the context that are good; NULL: its CA, or the system's */
	char *organization;  /* header: the one to act in; NULL: the key's */
	char *match;         /* header: If-Match of changes; NULL: whatever there is by now */
	struct json_object *problem; /* of the last call that was refused (RFC 9457), or NULL */
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
/* What GET /api/v1/console says of the console's keys goes into the stored login that is in use;
 * whatever happens to it, the command goes on. */
void api_learn_pins(struct vanctl *v, const struct api *api, struct json_object *console);
/* The same with a context that is known already; takes it over, also when it fails. */
int api_open_as(struct vanctl *v, struct context *context, struct api *api, struct err *e);

/*
 * One request. body (borrowed) may be NULL. An answer of 429, or of 503 with Retry-After, is tried
 * again when the console says, at most API_MAX_TRIES times and within the timeout, which bounds the
 * whole; a POST carries an Idempotency-Key, so that it is done once. *ret_object is the answer's JSON, NULL for an answer without a body; ret_object may be
 * NULL. Errors: those of httpc_call() and httpc_status_error(), -VAN_E_PROTOCOL.
 */
#define API_MAX_TRIES 10
int api_call(struct api *api, const char *method, const char *path, struct json_object *body,
	struct json_object **ret_object, struct err *e);

/* The same for an answer that is plain text; heap. */
int api_text(struct api *api, const char *path, char **ret_text, struct err *e);

/*
 * Follows a stream until take() gives false (0) or it ends (-VAN_E_UNREACHABLE); last_id is what
 * was seen last, or NULL. Nothing at all for API_SILENCE_MS ends it too.
 */
#define API_SILENCE_MS 45000u
int api_follow(struct api *api, const char *path, const char *last_id,
	bool (*take)(void *ctx, const char *data, size_t len), void *ctx, struct err *e);

/* Reads a list to its end: *ret_list has all items, and "next" null. The path may have a query. */
int api_list(struct api *api, const char *path, struct json_object **ret_list, struct err *e);

/* "/api/v1" and the segments, each percent-encoded (RFC 3986); heap. Ends with NULL. */
char *api_path(const char *segment, ...) __attribute__((sentinel));

/* Percent-encodes one value; heap. */
char *api_encode(const char *text);

#endif
