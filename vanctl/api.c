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
#define ASK_PINS_MS    3000u

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
	char *authorization, *pins = NULL;

	if (context->pin && asprintf(&pins, "%s%s%s", context->pin, context->next_pin ? ";" : "",
				    context->next_pin ? context->next_pin : "") < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (asprintf(&authorization, "Authorization: Bearer %s", context->key) < 0) {
		free(pins);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*api = (struct api){
		.context = *context,
		.authorization = authorization,
		.pins = pins,
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
	free(api->organization);
	free(api->match);
	free(api->pins);
	json_object_put(api->problem);
	api->problem = NULL;
	api->authorization = api->organization = api->match = api->pins = NULL;
}

/* A header from what was typed; control characters would make more than one of it. */
static int add_header(char **header, const char *name, const char *value, struct err *e)
{
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return err_set(e, -VAN_E_SYNTAX, "%s: no control characters", name);
	if (asprintf(header, "%s: %s", name, value) >= 0)
		return 0;
	*header = NULL;
	return err_set(e, -ENOMEM, "out of memory");
}

int api_open_as(struct vanctl *v, struct context *context, struct api *api, struct err *e)
{
	const struct command_args *args = v->args;
	char revision[32];
	int rc = api_init(api, context, v->timeout_ms, v->verbose ? v->err : NULL, e);

	if (rc) {
		context_done(context);
		return rc;
	}
	if (args->set[OPT_ORG])
		rc = add_header(&api->organization, "VAN-Organization", args->text[OPT_ORG], e);
	snprintf(revision, sizeof(revision), "\"%lld\"", (long long)args->number[OPT_IF_REVISION]);
	if (!rc && args->set[OPT_IF_REVISION])
		rc = add_header(&api->match, "If-Match", revision, e);
	return rc;
}

/* The directory of the login that is in use and has a pin of its own; NULL: none is. Heap. */
static char *pinned_login(const struct vanctl *v, const struct api *api)
{
	char *dir = NULL;

	if (api->context.name[0] && api->context.pin && !v->args->set[OPT_PIN] &&
		!v->args->set[OPT_CA])
		context_dir(&dir, NULL);
	return dir;
}

void api_learn_pins(struct vanctl *v, const struct api *api, struct json_object *console)
{
	CLEANUP(free) char *dir = pinned_login(v, api);
	const char *pin = output_string(console, "pin", NULL);

	if (dir && pin)
		context_learn(dir, api->context.name, pin, output_string(console, "next_pin", NULL),
			NULL);
}

/* Once a day, so that a login outlives a change of the console's key. */
static void ask_for_pins(struct vanctl *v, struct api *api)
{
	CLEANUP(free) char *dir = pinned_login(v, api);
	CLEANUP(json) struct json_object *console = NULL;
	unsigned int timeout_ms = api->timeout_ms;

	if (!dir || !context_is_stale(dir, api->context.name))
		return;
	if (api->timeout_ms > ASK_PINS_MS)
		api->timeout_ms = ASK_PINS_MS;
	if (api_call(api, "GET", "/api/v1/console", NULL, &console, NULL) == 0)
		api_learn_pins(v, api, console);
	api->timeout_ms = timeout_ms;
}

int api_open(struct vanctl *v, struct api *api, struct err *e)
{
	struct context context;
	int rc = context_resolve(v, &context, NULL, e);

	if (!rc)
		rc = api_open_as(v, &context, api, e);
	if (!rc)
		ask_for_pins(v, api);
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

static struct httpc_server server_of(const struct api *api)
{
	return (struct httpc_server){
		.url = api->context.console,
		.pin = api->pins,
		.ca_file = api->context.ca_file,
	};
}

/* Tries until there is an answer to keep. */
static int call_patiently(struct api *api, const struct httpc_request *wanted,
	struct httpc_response *ret_response, struct err *e)
{
	const struct httpc_server server = server_of(api);
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

static int take_answer(struct api *api, const struct httpc_response *r,
	struct json_object **ret_object, struct err *e)
{
	struct json_object *object = NULL;
	int rc = httpc_status_error(r, e);

	json_object_put(api->problem);
	api->problem = NULL;
	if (rc && json_parse(r->body, r->body_len, &api->problem, NULL))
		api->problem = NULL;
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

#define HEADERS_MAX 8

/* What every request carries, and room for more. */
static size_t common_headers(const struct api *api, const char *headers[HEADERS_MAX])
{
	size_t n = 0;

	headers[n++] = api->authorization;
	if (api->organization)
		headers[n++] = api->organization;
	return n;
}

/* One for each command that makes something: a try again is the same request. */
static void new_idempotency_key(char ret_header[64])
{
	uint8_t random[16];
	char hex[33];

	randombytes_buf(random, sizeof(random));
	sodium_bin2hex(hex, sizeof(hex), random, sizeof(random));
	snprintf(ret_header, 64, "Idempotency-Key: %s", hex);
}

static int call(struct api *api, const struct httpc_request *request,
	struct httpc_response *ret_response, struct err *e)
{
	if (!request->path)
		return err_set(e, -ENOMEM, "out of memory");
	return call_patiently(api, request, ret_response, e);
}

static void wipe_response(struct httpc_response *r)
{
	/* It may be a token that was just issued. */
	if (r->body)
		sodium_memzero(r->body, r->body_len);
	httpc_response_done(r);
}

int api_call(struct api *api, const char *method, const char *path, struct json_object *body,
	struct json_object **ret_object, struct err *e)
{
	bool patch = strcmp(method, "PATCH") == 0;
	const char *headers[HEADERS_MAX] = {NULL};
	size_t n = common_headers(api, headers);
	char idempotency_key[64];
	struct httpc_request request = {
		.method = method,
		.path = path,
		.body = body ? json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN) : NULL,
		.headers = headers,
	};
	struct httpc_response response = {0};
	int rc;

	headers[n++] = "Accept: application/json, application/problem+json";
	if (body) /* RFC 7396 */
		headers[n++] = patch ? "Content-Type: application/merge-patch+json"
				     : "Content-Type: application/json";
	/* Whoever types a command means the object as it is now, unless he says which. */
	if (patch || strcmp(method, "DELETE") == 0)
		headers[n++] = api->match ? api->match : "If-Match: *";
	if (strcmp(method, "POST") == 0) {
		new_idempotency_key(idempotency_key);
		headers[n++] = idempotency_key;
	}
	request.body_len = body ? strlen(request.body) : 0;
	rc = call(api, &request, &response, e);
	if (rc)
		return rc;
	rc = take_answer(api, &response, ret_object, e);
	wipe_response(&response);
	return rc;
}

int api_text(struct api *api, const char *path, char **ret_text, struct err *e)
{
	const char *headers[HEADERS_MAX] = {NULL};
	size_t n = common_headers(api, headers);
	struct httpc_request request = {.method = "GET", .path = path, .headers = headers};
	struct httpc_response response = {0};
	int rc;

	headers[n] = "Accept: text/plain, application/problem+json";
	rc = call(api, &request, &response, e);
	if (!rc)
		rc = httpc_status_error(&response, e);
	if (!rc)
		*ret_text = STEAL(response.body);
	httpc_response_done(&response);
	return rc;
}

int api_follow(struct api *api, const char *path, const char *last_id,
	bool (*take)(void *ctx, const char *data, size_t len), void *ctx, struct err *e)
{
	const struct httpc_server server = server_of(api);
	const char *headers[HEADERS_MAX] = {NULL};
	size_t n = common_headers(api, headers);
	CLEANUP(free) char *seen = NULL;
	struct httpc_request request = {
		.method = "GET",
		.path = path,
		.headers = headers,
		.timeout_ms = API_SILENCE_MS,
		.take = take,
		.take_ctx = ctx,
	};
	struct httpc_response response = {0};
	int rc = last_id ? add_header(&seen, "Last-Event-ID", last_id, e) : 0;

	if (rc)
		return rc;
	headers[n++] = "Accept: text/event-stream, application/problem+json";
	headers[n] = seen;
	if (api->trace)
		fprintf(api->trace, "> GET %s%s\n", server.url, path);
	rc = api->io->call(api->io_ctx, &server, &request, &response, e);
	if (rc == -ECANCELED)
		return 0;
	if (!rc)
		rc = httpc_status_error(&response, e);
	httpc_response_done(&response);
	return rc ? rc
		  : err_set(e, -VAN_E_UNREACHABLE, "%s ended the stream", api->context.console);
}

/* Moves the items of a further page to the end of the list. */
static int add_page(struct json_object *list, struct json_object *page)
{
	struct json_object *items = output_member(list, "items");
	struct json_object *more;
	int rc = json_get_array(page, "", "items", &more, NULL);

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

	if (rc)
		return rc;
	if (json_get_array(list, "", "items", &items, NULL))
		goto no_list;
	cursor = output_member(list, "next") ? strdup(output_string(list, "next", "")) : NULL;
	for (unsigned int pages = 1; cursor; pages++) {
		CLEANUP(json) struct json_object *page = NULL;
		CLEANUP(free) char *next_path = page_path(path, cursor);
		const char *next;

		rc = api_call(api, "GET", next_path, NULL, &page, e);
		if (rc)
			return rc;
		if (add_page(list, page) < 0)
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
