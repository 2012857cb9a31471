// SPDX-License-Identifier: Apache-2.0
#include "vanctl/api.h"

#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "vanctl/secretfile.h"

#define FIRST_RETRY_MS 250u
#define MAX_PAGES      100000u

static int real_call(void *ctx, const struct httpc_server *server,
	const struct httpc_request *request, struct httpc_response *ret_response, struct err *e)
{
	(void)ctx;
	return httpc_call(server, request, ret_response, e);
}

static uint64_t real_now_ns(void *ctx)
{
	(void)ctx;
	return clock_boottime_ns();
}

static void real_sleep_ms(void *ctx, unsigned int ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)ctx;
	while (clock_nanosleep(CLOCK_BOOTTIME, 0, &ts, &ts) == EINTR)
		;
}

static const struct api_io real_io = {
	.call = real_call,
	.now_ns = real_now_ns,
	.sleep_ms = real_sleep_ms,
};

int api_init(struct api *api, struct context *context, unsigned int timeout_ms, FILE *trace,
	struct err *e)
{
	char *authorization;

	if (asprintf(&authorization, "Authorization: Bearer %s", context->key) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	*api = (struct api){
		.context = *context,
		.authorization = authorization,
		.timeout_ms = timeout_ms,
		.trace = trace,
		.io = &real_io,
	};
	memset(context, 0, sizeof(*context));
	return 0;
}

void api_done(struct api *api)
{
	context_done(&api->context);
	secretfile_free(api->authorization);
	api->authorization = NULL;
}

int api_open(struct vanctl *v, struct api *api, struct err *e)
{
	struct context context;
	int rc = context_resolve(v, &context, NULL, e);

	if (rc)
		return rc;
	rc = api_init(api, &context, v->timeout_ms, v->verbose ? v->err : NULL, e);
	if (rc)
		context_done(&context);
	return rc;
}

static unsigned int ms_left(const struct api *api, uint64_t deadline_ns)
{
	uint64_t now_ns = api->io->now_ns(api->io_ctx);

	return now_ns >= deadline_ns ? 0 : (unsigned int)((deadline_ns - now_ns) / NS_PER_MS);
}

static bool may_retry(const struct httpc_response *r)
{
	return r->status == 429 || (r->status == 503 && r->retry_after_s > 0);
}

/* How long to wait before the next try: what the console asks for, else ever longer. */
static uint64_t retry_wait_ms(const struct httpc_response *r, unsigned int tries)
{
	return r->retry_after_s ? (uint64_t)r->retry_after_s * 1000
				: (uint64_t)FIRST_RETRY_MS << (tries < 5 ? tries : 5);
}

/* Tries until there is an answer to keep. */
static int call_patiently(struct api *api, const struct httpc_request *wanted,
	struct httpc_response *ret_response, struct err *e)
{
	const struct httpc_server server = {
		.url = api->context.console,
		.pin = api->context.pin,
		.ca_file = api->context.ca_file,
	};
	uint64_t deadline_ns = api->io->now_ns(api->io_ctx) + (uint64_t)api->timeout_ms * NS_PER_MS;
	struct httpc_request request = *wanted;

	for (unsigned int tries = 0;; tries++) {
		struct httpc_response response = {0};
		uint64_t started_ns = api->io->now_ns(api->io_ctx);
		uint64_t wait_ms;
		int rc;

		request.timeout_ms = ms_left(api, deadline_ns);
		if (!request.timeout_ms)
			request.timeout_ms = 1;
		if (api->trace)
			fprintf(api->trace, "> %s %s%s\n", request.method, server.url,
				request.path);
		rc = api->io->call(api->io_ctx, &server, &request, &response, e);
		if (rc)
			return rc;
		if (api->trace)
			fprintf(api->trace, "< %ld, %zu bytes, %u ms\n", response.status,
				response.body_len,
				(unsigned int)((api->io->now_ns(api->io_ctx) - started_ns) /
					       NS_PER_MS));
		wait_ms = retry_wait_ms(&response, tries);
		if (!may_retry(&response) || tries + 1 >= API_MAX_TRIES ||
			wait_ms >= ms_left(api, deadline_ns)) {
			*ret_response = response;
			return 0;
		}
		httpc_response_done(&response);
		if (api->trace)
			fprintf(api->trace, "* busy, trying again in %llu ms\n",
				(unsigned long long)wait_ms);
		api->io->sleep_ms(api->io_ctx, (unsigned int)wait_ms);
	}
}

static int take_answer(const struct api *api, const struct httpc_response *r,
	struct json_object **ret_object, struct err *e)
{
	struct json_object *object = NULL;
	int rc = httpc_status_error(r, e);

	if (rc)
		return rc;
	if (r->body_len && r->status != 204) {
		rc = json_parse(r->body, r->body_len, &object, e);
		if (rc) {
			err_prefix(e, rc,
				"%s answers with something else than JSON; is it a VAN "
				"console?",
				api->context.console);
			return -VAN_E_PROTOCOL;
		}
	}
	if (ret_object)
		*ret_object = object;
	else
		json_object_put(object);
	return 0;
}

int api_call(struct api *api, const char *method, const char *path, struct json_object *body,
	struct json_object **ret_object, struct err *e)
{
	const char *headers[] = {
		api->authorization,
		"Accept: application/json, application/problem+json",
		body ? "Content-Type: application/json" : NULL,
		NULL,
	};
	struct httpc_request request = {
		.method = method,
		.path = path,
		.body = body ? json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN) : NULL,
		.headers = headers,
	};
	struct httpc_response response = {0};
	int rc;

	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	if (body && strcmp(method, "PATCH") == 0)
		headers[2] = "Content-Type: application/merge-patch+json"; /* RFC 7396 */
	request.body_len = body ? strlen(request.body) : 0;
	rc = call_patiently(api, &request, &response, e);
	if (rc)
		return rc;
	rc = take_answer(api, &response, ret_object, e);
	/* It may be a token that was just issued. */
	if (response.body)
		sodium_memzero(response.body, response.body_len);
	httpc_response_done(&response);
	return rc;
}

/* Moves the items of a further page to the end of the list. */
static int add_page(struct json_object *list, struct json_object *page, struct err *e)
{
	struct json_object *items = output_member(list, "items");
	struct json_object *more;
	int rc = json_get_array(page, "", "items", &more, e);

	if (rc)
		return rc;
	for (size_t i = 0; i < json_object_array_length(more); i++)
		json_object_array_add(items, json_object_get(json_object_array_get_idx(more, i)));
	return 0;
}

static char *page_path(const char *path, const char *cursor)
{
	CLEANUP(free) char *encoded = api_encode(cursor);
	char *with;

	if (!encoded ||
		asprintf(&with, "%s%ccursor=%s", path, strchr(path, '?') ? '&' : '?', encoded) < 0)
		return NULL;
	return with;
}

int api_list(struct api *api, const char *path, struct json_object **ret_list, struct err *e)
{
	CLEANUP(json) struct json_object *list = NULL;
	CLEANUP(free) char *cursor = NULL;
	struct json_object *items;
	int rc = api_call(api, "GET", path, NULL, &list, e);

	if (!rc)
		rc = json_get_array(list, "", "items", &items, e);
	if (rc == -VAN_E_INVALID)
		goto no_list;
	if (rc)
		return rc;
	cursor = output_member(list, "next") ? strdup(output_string(list, "next", "")) : NULL;
	for (unsigned int pages = 1; cursor; pages++) {
		CLEANUP(json) struct json_object *page = NULL;
		CLEANUP(free) char *next_path = page_path(path, cursor);
		const char *next;

		rc = api_call(api, "GET", next_path, NULL, &page, e);
		if (rc)
			return rc;
		if (add_page(list, page, e) < 0)
			goto no_list;
		next = output_string(page, "next", NULL);
		if (next && (strcmp(next, cursor) == 0 || pages == MAX_PAGES))
			return err_set(e, -VAN_E_PROTOCOL, "the list at %s does not end", path);
		free(cursor);
		cursor = next ? strdup(next) : NULL;
	}
	json_object_object_add(list, "next", NULL);
	*ret_list = STEAL(list);
	return 0;
no_list:
	return err_set(e, -VAN_E_PROTOCOL, "the answer to %s is no list", path);
}

char *api_encode(const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~";
	/* A segment of dots alone would be taken for "here" or "up" on its way. */
	bool dots = strspn(text, ".") == strlen(text);
	char *encoded = malloc(strlen(text) * 3 + 1);
	char *to = encoded;

	if (!encoded)
		return NULL;
	for (; *text; text++) {
		uint8_t c = (uint8_t)*text;

		if (strchr(plain, c) || (c == '.' && !dots)) {
			*to++ = (char)c;
		} else {
			*to++ = '%';
			*to++ = hex[c >> 4];
			*to++ = hex[c & 15];
		}
	}
	*to = '\0';
	return encoded;
}

char *api_path(const char *segment, ...)
{
	char *path = strdup("/api/v1");
	va_list ap;

	va_start(ap, segment);
	for (; segment && path; segment = va_arg(ap, const char *)) {
		CLEANUP(free) char *encoded = api_encode(segment);
		char *longer = NULL;

		if (!encoded || asprintf(&longer, "%s/%s", path, encoded) < 0)
			longer = NULL;
		free(path);
		path = longer;
	}
	va_end(ap);
	return path;
}
