// SPDX-License-Identifier: Apache-2.0
#include "vanctl_support.h"

#include <json-c/json.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "vanctl/api.h"

/* A console that answers from a list, and a clock that goes only when somebody sleeps. */
struct answer {
	int rc;
	long status;
	unsigned int retry_after_s;
	const char *body;
};

struct world {
	const struct answer *answers;
	size_t count, used;
	uint64_t now_ns;
	unsigned int slept_ms[16];
	size_t sleeps;
	char paths[16][128];
	char authorization[128];
	char content_type[128];
	char idempotency_keys[16][64];
	char match[64];
	char body[512];
	unsigned int timeout_ms;
};

static int world_call(void *ctx, const struct httpc_server *server,
	const struct httpc_request *request, struct httpc_response *ret_response, struct err *e)
{
	struct world *w = ctx;
	const struct answer *a = &w->answers[w->used];

	assert_true(w->used < w->count);
	assert_string_equal(server->url, "https://c");
	snprintf(w->paths[w->used], sizeof(w->paths[0]), "%s %s", request->method, request->path);
	w->content_type[0] = '\0';
	for (const char *const *h = request->headers; *h; h++) {
		if (strncmp(*h, "Authorization:", 14) == 0)
			snprintf(w->authorization, sizeof(w->authorization), "%s", *h);
		if (strncmp(*h, "Content-Type:", 13) == 0)
			snprintf(w->content_type, sizeof(w->content_type), "%s", *h);
		if (strncmp(*h, "If-Match:", 9) == 0)
			snprintf(w->match, sizeof(w->match), "%s", *h);
		if (strncmp(*h, "Idempotency-Key:", 16) == 0)
			snprintf(w->idempotency_keys[w->used], sizeof(w->idempotency_keys[0]), "%s",
				*h);
	}
	snprintf(w->body, sizeof(w->body), "%.*s", (int)request->body_len,
		request->body ? request->body : "");
	w->timeout_ms = request->timeout_ms;
	w->used++;
	if (a->rc)
		return err_set(e, a->rc, "no answer");
	*ret_response = (struct httpc_response){
		.status = a->status,
		.body = strdup(a->body ? a->body : ""),
		.body_len = a->body ? strlen(a->body) : 0,
		.content_type =
			strdup(a->status < 400 ? "application/json" : "application/problem+json"),
		.retry_after_s = a->retry_after_s,
	};
	return 0;
}

static uint64_t world_now(void *ctx)
{
	return ((struct world *)ctx)->now_ns;
}

static void world_sleep(void *ctx, unsigned int ms)
{
	struct world *w = ctx;

	assert_true(w->sleeps < 16);
	w->slept_ms[w->sleeps++] = ms;
	w->now_ns += ms * NS_PER_MS;
}

static const struct api_io world_io = {world_call, world_now, world_sleep};

static void api_begin(struct api *api, struct world *w, const struct answer *answers, size_t count)
{
	struct context c = {.console = strdup("https://c"), .key = strdup("the-key")};

	memset(w, 0, sizeof(*w));
	w->answers = answers;
	w->count = count;
	w->now_ns = 1;
	assert_int_equal(api_init(api, &c, 30000, NULL, NULL), 0);
	assert_null(c.key);
	api->io = &world_io;
	api->io_ctx = w;
}

#define ANSWERS(...)                          \
	(const struct answer[]){__VA_ARGS__}, \
		sizeof((const struct answer[]){__VA_ARGS__}) / sizeof(struct answer)

static void a_request(void **state)
{
	CLEANUP(api) struct api api = {0};
	struct json_object *body = json_tokener_parse("{\"name\":\"x\"}");
	struct json_object *got = NULL;
	struct world w;
	struct err e;

	(void)state;
	api_begin(&api, &w,
		ANSWERS({0, 201, 0, "{\"id\":\"n1\"}"}, {0, 200, 0, "{}"}, {0, 204, 0, NULL}));
	assert_int_equal(api_call(&api, "POST", "/api/v1/networks", body, &got, &e), 0);
	assert_string_equal(output_string(got, "id", ""), "n1");
	json_object_put(got);
	assert_string_equal(w.paths[0], "POST /api/v1/networks");
	assert_string_equal(w.authorization, "Authorization: Bearer the-key");
	assert_string_equal(w.content_type, "Content-Type: application/json");
	assert_string_equal(w.body, "{\"name\":\"x\"}");
	assert_int_equal(w.timeout_ms, 30000);
	assert_int_equal(api_call(&api, "PATCH", "/x", body, NULL, &e), 0);
	assert_string_equal(w.content_type, "Content-Type: application/merge-patch+json");
	got = body;
	assert_int_equal(api_call(&api, "DELETE", "/x", NULL, &got, &e), 0);
	assert_null(got);
	json_object_put(body);
}

static void busy_consoles_are_asked_again(void **state)
{
	CLEANUP(api) struct api api = {0};
	struct world w;
	struct err e;

	(void)state;
	api_begin(&api, &w,
		ANSWERS({0, 429, 2, NULL}, {0, 429, 0, NULL}, {0, 503, 1, NULL},
			{0, 200, 0, "{}"}));
	assert_int_equal(api_call(&api, "GET", "/x", NULL, NULL, &e), 0);
	assert_int_equal(w.used, 4);
	assert_int_equal(w.sleeps, 3);
	assert_int_equal(w.slept_ms[0], 2000);
	assert_int_equal(w.slept_ms[1], 500); /* ours, when the console names no time */
	assert_int_equal(w.slept_ms[2], 1000);
	assert_int_equal(w.timeout_ms, 26500); /* what is left of 30 s */
}

static void patience_ends(void **state)
{
	struct answer many[API_MAX_TRIES + 1];
	struct world w;
	struct err e;

	(void)state;
	{ /* not beyond the time allowed */
		CLEANUP(api) struct api api = {0};

		api_begin(&api, &w, ANSWERS({0, 429, 60, NULL}));
		assert_int_equal(api_call(&api, "GET", "/x", NULL, NULL, &e), -VAN_E_LIMIT);
		assert_int_equal(w.sleeps, 0);
	}
	{ /* nor for ever */
		CLEANUP(api) struct api api = {0};

		for (size_t i = 0; i <= API_MAX_TRIES; i++)
			many[i] = (struct answer){0, 429, 1, NULL};
		api_begin(&api, &w, many, API_MAX_TRIES + 1);
		assert_int_equal(api_call(&api, "GET", "/x", NULL, NULL, &e), -VAN_E_LIMIT);
		assert_int_equal(w.used, API_MAX_TRIES);
	}
	{ /* and a plain 503 is an answer */
		CLEANUP(api) struct api api = {0};

		api_begin(&api, &w, ANSWERS({0, 503, 0, NULL}));
		assert_true(api_call(&api, "GET", "/x", NULL, NULL, &e) < 0);
		assert_int_equal(w.used, 1);
	}
}

static void failures_keep_their_codes(void **state)
{
	static const struct {
		struct answer answer;
		int code, status;
		const char *said;
	} cases[] = {
		{{-VAN_E_UNREACHABLE, 0, 0, NULL}, -VAN_E_UNREACHABLE, 3, "no answer"},
		{{-VAN_E_TLS, 0, 0, NULL}, -VAN_E_TLS, 3, "no answer"},
		{{-VAN_E_TIMEOUT, 0, 0, NULL}, -VAN_E_TIMEOUT, 7, "no answer"},
		{{0, 401, 0, "{\"title\":\"t\",\"detail\":\"the key is unknown\"}"}, -VAN_E_DENIED,
			4, "the key is unknown"},
		{{0, 403, 0, "{\"title\":\"t\",\"detail\":\"not yours\"}"}, -VAN_E_DENIED, 4,
			"not yours"},
		{{0, 404, 0, "{\"title\":\"t\",\"detail\":\"no network x\"}"}, -VAN_E_NOT_FOUND, 5,
			"no network x"},
		{{0, 409, 0, "{\"title\":\"t\",\"detail\":\"taken by web-1\"}"}, -VAN_E_CONFLICT, 6,
			"taken by web-1"},
		{{0, 422, 0, "{\"title\":\"t\",\"detail\":\"bad name\"}"}, -VAN_E_INVALID, 1,
			"bad name"},
		{{0, 200, 0, "<html>"}, -VAN_E_PROTOCOL, 1, "is it a VAN console?"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(api) struct api api = {0};
		struct json_object *got = NULL;
		struct world w;
		struct err e = {0};
		int rc;

		api_begin(&api, &w, &cases[i].answer, 1);
		rc = api_call(&api, "GET", "/x", NULL, &got, &e);
		assert_int_equal(rc, cases[i].code);
		assert_int_equal(vanctl_exit_status(rc), cases[i].status);
		assert_contains(e.text, cases[i].said);
		assert_null(got);
	}
}

/* What is sent again is the same request, and another command is another. */
static void posts_have_a_key(void **state)
{
	CLEANUP(api) struct api api = {0};
	struct world w;
	struct err e;

	(void)state;
	api_begin(&api, &w,
		ANSWERS({0, 503, 1, NULL}, {0, 201, 0, "{}"}, {0, 201, 0, "{}"},
			{0, 200, 0, "{}"}));
	assert_int_equal(api_call(&api, "POST", "/x", NULL, NULL, &e), 0);
	assert_int_equal(api_call(&api, "POST", "/x", NULL, NULL, &e), 0);
	assert_int_equal(api_call(&api, "PATCH", "/x", NULL, NULL, &e), 0);
	assert_int_equal(strlen(w.idempotency_keys[0]), strlen("Idempotency-Key: ") + 32);
	assert_string_equal(w.idempotency_keys[0], w.idempotency_keys[1]);
	assert_string_not_equal(w.idempotency_keys[1], w.idempotency_keys[2]);
	assert_string_equal(w.idempotency_keys[3], "");
}

static void changes_say_of_what(void **state)
{
	CLEANUP(api) struct api api = {0};
	struct world w;
	struct err e;

	(void)state;
	api_begin(&api, &w, ANSWERS({0, 200, 0, "{}"}, {0, 204, 0, NULL}));
	assert_int_equal(api_call(&api, "PATCH", "/x", NULL, NULL, &e), 0);
	assert_string_equal(w.match, "If-Match: *");
	api.match = strdup("If-Match: \"7\"");
	assert_int_equal(api_call(&api, "DELETE", "/x", NULL, NULL, &e), 0);
	assert_string_equal(w.match, "If-Match: \"7\"");
}

static void lists_are_read_to_the_end(void **state)
{
	CLEANUP(api) struct api api = {0};
	struct json_object *list = NULL;
	struct world w;
	struct err e;

	(void)state;
	api_begin(&api, &w,
		ANSWERS({0, 200, 0, "{\"items\":[1,2],\"next\":\"a&b\",\"total\":4}"},
			{0, 200, 0, "{\"items\":[],\"next\":\"c\"}"},
			{0, 200, 0, "{\"items\":[3,4],\"next\":null}"}));
	assert_int_equal(api_list(&api, "/l?network=n", &list, &e), 0);
	assert_string_equal(w.paths[1], "GET /l?network=n&cursor=a%26b");
	assert_string_equal(w.paths[2], "GET /l?network=n&cursor=c");
	assert_string_equal(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PLAIN),
		"{\"items\":[1,2,3,4],\"next\":null,\"total\":4}");
	json_object_put(list);
}

static void lists_that_are_none(void **state)
{
	static const struct {
		struct answer answers[3];
		int code;
	} cases[] = {
		{{{0, 200, 0, "{\"items\":{},\"next\":null}"}}, -VAN_E_PROTOCOL},
		{{{0, 200, 0, "[]"}}, -VAN_E_PROTOCOL},
		{{{0, 204, 0, NULL}}, -VAN_E_PROTOCOL},
		{{{0, 200, 0, "{\"items\":[],\"next\":\"a\"}"}, {0, 200, 0, "{}"}},
			-VAN_E_PROTOCOL},
		/* a cursor that leads to itself */
		{{{0, 200, 0, "{\"items\":[],\"next\":\"a\"}"},
			 {0, 200, 0, "{\"items\":[],\"next\":\"a\"}"}},
			-VAN_E_PROTOCOL},
		{{{0, 200, 0, "{\"items\":[],\"next\":\"a\"}"}, {0, 404, 0, NULL}},
			-VAN_E_NOT_FOUND},
		/* what the console has against it stays what it is */
		{{{0, 400, 0, "{\"title\":\"t\",\"detail\":\"no such sort\"}"}}, -VAN_E_INVALID},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(api) struct api api = {0};
		struct json_object *list = NULL;
		struct world w;
		struct err e;

		api_begin(&api, &w, cases[i].answers, 3);
		assert_int_equal(api_list(&api, "/l", &list, &e), cases[i].code);
		assert_null(list);
	}
}

static void paths(void **state)
{
	static const char *const cases[][2] = {
		{"prod", "/api/v1/networks/prod/nodes"},
		{"a/b", "/api/v1/networks/a%2Fb/nodes"},
		{"..", "/api/v1/networks/%2E%2E/nodes"},
		{"a.b?c#d%", "/api/v1/networks/a.b%3Fc%23d%25/nodes"},
		{"zü", "/api/v1/networks/z%C3%BC/nodes"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *path = api_path("networks", cases[i][0], "nodes", NULL);

		assert_string_equal(path, cases[i][1]);
		free(path);
	}
}

/* -v shows what is asked, never the key. */
static void the_trace_has_no_secret(void **state)
{
	CLEANUP(api) struct api api = {0};
	char *text = NULL;
	struct world w;
	size_t len;

	(void)state;
	api_begin(&api, &w, ANSWERS({0, 429, 1, NULL}, {0, 200, 0, "{}"}));
	api.trace = open_memstream(&text, &len);
	assert_int_equal(api_call(&api, "GET", "/api/v1/networks", NULL, NULL, NULL), 0);
	fclose(api.trace);
	assert_contains(text, "> GET https://c/api/v1/networks\n");
	assert_contains(text, "< 200");
	assert_contains(text, "trying again");
	assert_lacks(text, "the-key");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request),
		cmocka_unit_test(busy_consoles_are_asked_again),
		cmocka_unit_test(patience_ends),
		cmocka_unit_test(failures_keep_their_codes),
		cmocka_unit_test(posts_have_a_key),
		cmocka_unit_test(changes_say_of_what),
		cmocka_unit_test(lists_are_read_to_the_end),
		cmocka_unit_test(lists_that_are_none),
		cmocka_unit_test(paths),
		cmocka_unit_test(the_trace_has_no_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
