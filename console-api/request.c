/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/request.h"

#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "console-api/form.h"
#include "console-api/routes.h"
#include "console-api/xalloc.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/json.h"

struct request *request_new(
	struct console *c, struct MHD_Connection *connection, const char *raw_target)
{
	struct request *q = xcalloc(1, sizeof(*q));

	q->console = c;
	q->connection = connection;
	q->raw_target = xstrdup(raw_target);
	list_init(&q->waiter);
	list_init(&q->by_node);
	share_holder_init(&q->held);
	share_holder_init(&q->unsent);
	return q;
}

void request_drop_body(struct request *q)
{
	if (q->body)
		sodium_memzero(q->body, q->body_len); /* perhaps a join token */
	free(q->body);
	q->body = NULL;
	q->body_len = q->body_size = 0;
}

void request_add_body(struct request *q, const char *data, size_t len)
{
	if (q->body_len + len + 1 > q->body_size) {
		size_t size = 2 * (q->body_len + len + 1);
		char *larger = xcalloc(1, size);

		/* Not realloc(): it would leave what may be a join token behind. */
		if (q->body_len)
			memcpy(larger, q->body, q->body_len);
		if (q->body)
			sodium_memzero(q->body, q->body_len);
		free(q->body);
		q->body = larger;
		q->body_size = size;
	}
	memcpy(q->body + q->body_len, data, len);
	q->body_len += len;
	q->body[q->body_len] = '\0';
}

/* Keys and tokens of bodies and answers are members of these names: json-c only frees them. */
static void wipe_secrets(struct json_object *o)
{
	static const char *const names[] = {"key", "secret", "token"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct json_object *member;

		if (json_object_object_get_ex(o, names[i], &member) &&
			json_object_is_type(member, json_type_string))
			sodium_memzero((char *)(uintptr_t)json_object_get_string(member),
				(size_t)json_object_get_string_len(member));
	}
}

void request_render(struct request *q)
{
	size_t len;
	const char *text = json_object_to_json_string_length(
		q->reply, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);

	q->reply_heap = xcalloc(1, len + 1);
	memcpy(q->reply_heap, text, len);
	q->reply_text_len = len;
	sodium_memzero((char *)(uintptr_t)text, len); /* json-c's own */
	wipe_secrets(q->reply);
	json_object_put(q->reply);
	q->reply = NULL;
}

void request_free(struct request *q)
{
	list_del(&q->waiter);
	list_del(&q->by_node);
	if (q->stream)
		q->stream->free(q, q->stream_ctx);
	request_drop_body(q);
	free(q->raw_target);
	wipe_secrets(q->json);
	wipe_secrets(q->reply);
	json_object_put(q->json);
	json_object_put(q->reply);
	if (q->reply_heap)
		sodium_memzero(q->reply_heap, q->reply_text_len);
	free(q->reply_heap);
	agent_answer_done(&q->reply_pieces);
	free(q);
}

/* Decodes in place. False on a broken escape, and on a control character, NUL included. */
static bool decode(char *text, bool plus_is_space)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		unsigned char c = (unsigned char)*in;

		if (c == '%') {
			int high = hash_hex_digit(in[1]);
			int low = high < 0 ? -1 : hash_hex_digit(in[2]);

			if (low < 0)
				return false;
			c = (unsigned char)(high << 4 | low);
			in += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		if (c < ' ' || c == 0x7f)
			return false;
		*out++ = (char)c;
	}
	*out = '\0';
	return true;
}

static bool parse_query(char *text, struct target *t)
{
	char *save = NULL;

	for (char *pair = strtok_r(text, "&", &save); pair; pair = strtok_r(NULL, "&", &save)) {
		char *equals = strchr(pair, '=');

		if (t->query_count == REQUEST_QUERY_MAX)
			return false;
		if (equals)
			*equals = '\0';
		t->query[t->query_count].name = pair;
		t->query[t->query_count].value = equals ? equals + 1 : "";
		if (!decode(pair, true) || (equals && !decode(equals + 1, true)) ||
			target_query(t, pair))
			return false; /* broken, or there twice */
		t->query_count++;
	}
	return true;
}

bool target_parse(const char *raw, struct target *ret_target)
{
	struct target *t = ret_target;
	char *query, *at;

	t->segment_count = 0;
	t->query_count = 0;
	if (raw[0] != '/' || strlen(raw) >= sizeof(t->text))
		return false;
	memcpy(t->text, raw, strlen(raw) + 1);
	query = strchr(t->text, '?');
	if (query) {
		*query = '\0';
		if (!parse_query(query + 1, t))
			return false;
	}
	for (at = t->text; at;) {
		char *segment = at + 1;

		*at = '\0';
		at = strchr(segment, '/');
		if (at)
			*at = '\0';
		if (!segment[0] && !at)
			break; /* "/" or a slash at the end */
		if (!segment[0] || t->segment_count == REQUEST_SEGMENTS_MAX)
			return false;
		t->segments[t->segment_count++] = segment;
	}
	/* After splitting: an escaped slash belongs to its segment. */
	for (size_t i = 0; i < t->segment_count; i++)
		if (!decode(t->text + (t->segments[i] - t->text), false))
			return false;
	return true;
}

const char *target_query(const struct target *t, const char *name)
{
	for (size_t i = 0; i < t->query_count; i++)
		if (!strcmp(t->query[i].name, name))
			return t->query[i].value;
	return NULL;
}

int request_reply(struct request *q, int status, struct json_object *o)
{
	struct json_object *revision;

	q->status = status;
	q->reply = o;
	if (json_object_object_get_ex(o, "revision", &revision) &&
		json_object_is_type(revision, json_type_int))
		q->etag = (uint64_t)json_object_get_int64(revision);
	return 0;
}

int request_reply_none(struct request *q)
{
	q->status = 204;
	return 0;
}

int request_reply_text(struct request *q, const char *content_type, char *text, size_t len)
{
	q->status = 200;
	q->reply_type = content_type;
	q->reply_heap = text;
	q->reply_text_len = len;
	return 0;
}

int request_reply_pieces(
	struct request *q, const char *content_type, const struct agent_answer *pieces)
{
	q->status = 200;
	q->reply_type = content_type;
	q->reply_pieces = *pieces;
	return 0;
}

int request_reply_stream(struct request *q, const struct stream *stream, void *ctx)
{
	q->status = 200;
	q->stream = stream;
	q->stream_ctx = ctx;
	return 0;
}

/* -- headers -- */

static const struct {
	const char *name;
	size_t offset;
} single_headers[] = {
	{"Authorization", offsetof(struct request, authorization)},
	{"Content-Length", offsetof(struct request, content_length)},
	{"Content-Type", offsetof(struct request, content_type)},
	{"Idempotency-Key", offsetof(struct request, idempotency_key)},
	{"If-Match", offsetof(struct request, if_match)},
	{"Last-Event-ID", offsetof(struct request, last_event_id)},
	{"Transfer-Encoding", offsetof(struct request, transfer_encoding)},
	{"VAN-Organization", offsetof(struct request, organization)},
	{"X-Request-Id", offsetof(struct request, wanted_id)},
};

/* RFC 9110 §5.6.2. */
static bool is_token(const char *text, size_t len)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < len; i++)
		if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'z') &&
			!(text[i] >= 'A' && text[i] <= 'Z') &&
			(!text[i] || !strchr(marks, text[i])))
			return false;
	return len;
}

static bool is_field_value(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f)
			return false;
	return true;
}

static int bad_header(struct request *q, const char *what)
{
	q->hang_up = true;
	return problem_set(&q->problem, 400, "bad_header", "%s", what);
}

int request_header(
	struct request *q, const char *name, size_t name_len, const char *value, size_t value_len)
{
	if (!is_token(name, name_len) || !is_field_value(value, value_len))
		return bad_header(q, "a header is malformed, or has a control character in it");
	for (size_t i = 0; i < sizeof(single_headers) / sizeof(single_headers[0]); i++) {
		const char **place = (const char **)(void *)((char *)q + single_headers[i].offset);

		if (strlen(single_headers[i].name) != name_len ||
			strncasecmp(single_headers[i].name, name, name_len) != 0)
			continue;
		if (*place) {
			q->hang_up = true;
			return problem_set(&q->problem, 400, "bad_header",
				"the header %s is there twice", single_headers[i].name);
		}
		*place = value;
	}
	return 0;
}

int request_check_framing(struct request *q)
{
	if (q->transfer_encoding && q->content_length)
		return bad_header(q, "Transfer-Encoding and Content-Length exclude each other");
	if (q->transfer_encoding && strcasecmp(q->transfer_encoding, "chunked") != 0)
		return bad_header(q, "the only Transfer-Encoding that is understood is chunked");
	return 0;
}

/* -- bodies -- */

/* Whether the Content-Type is this one, whatever its parameters. */
static bool is_type(const char *content_type, const char *type)
{
	size_t len = strcspn(content_type, "; \t");

	return len == strlen(type) && !strncasecmp(content_type, type, len);
}

static int check_type(struct request *q)
{
	bool patch = q->method == METHOD_PATCH;

	if (!q->content_type || is_type(q->content_type, "application/json") ||
		(patch && is_type(q->content_type, "application/merge-patch+json")))
		return 0;
	return problem_set(&q->problem, 415, "unsupported_media_type",
		patch ? "a change is a merge patch (RFC 7396): send it as "
			"application/merge-patch+json"
		      : "the body is JSON: send it as application/json");
}

static int parse_body(struct request *q)
{
	struct err e = {0};

	if (json_parse(q->body ? q->body : "", q->body_len, &q->json, &e))
		return problem_set(&q->problem, 400, "bad_json", "%s", e.text);
	if (!json_object_is_type(q->json, json_type_object))
		return problem_set(&q->problem, 400, "bad_json", "the body must be a JSON object");
	return 0;
}

static int read_body(struct request *q)
{
	const char *schema = q->route->body;
	bool may_be_empty = !schema || strchr(schema, '?');
	struct form nothing;
	int rc;

	if (may_be_empty && !q->body_len)
		return 0;
	rc = check_type(q);
	if (!rc)
		rc = parse_body(q);
	if (rc || schema)
		return rc;
	form_init(&nothing, q->json, &q->problem);
	return form_end(&nothing);
}

/* -- lists -- */

static int read_limit(struct request *q, struct page *page)
{
	const char *limit = target_query(&q->target, "limit");
	char *end;

	if (!limit)
		return 0;
	page->limit = strtoul(limit, &end, 10);
	if (limit[0] >= '0' && limit[0] <= '9' && !*end && page->limit >= 1 &&
		page->limit <= PAGE_LIMIT_MAX)
		return 0;
	return problem_set(
		&q->problem, 400, "invalid", "limit must be a number from 1 to %d", PAGE_LIMIT_MAX);
}

static int read_sort(struct request *q, struct page *page)
{
	const char *sort = target_query(&q->target, "sort");

	if (!sort)
		return 0;
	page->descending = sort[0] == '-';
	page->sort = sort + page->descending;
	if (page->sort[0] && !strchr(page->sort, ' ') &&
		route_has_word(q->route->sorts, page->sort))
		return 0;
	return problem_set(&q->problem, 400, "invalid",
		"sort must be one of: %s; with a \"-\" in front for the other direction",
		q->route->sorts[0] ? q->route->sorts : "nothing, this list has one order");
}

static int read_filters(struct request *q, struct page *page)
{
	for (size_t i = 0; i < q->target.query_count; i++) {
		const char *name = q->target.query[i].name;

		if (!route_has_word(q->route->filters, name))
			continue;
		if (!strcmp(name, "label")) {
			page->label = q->target.query[i].value;
			continue;
		}
		if (page->filter_count == PAGE_FILTERS_MAX)
			return problem_set(&q->problem, 400, "invalid",
				"a list takes %d filters at most", PAGE_FILTERS_MAX);
		page->filters[page->filter_count].member = name;
		page->filters[page->filter_count++].value = q->target.query[i].value;
	}
	return 0;
}

/* A page further on starts at its cursor. */
static int read_since(struct request *q)
{
	const char *since = target_query(&q->target, "since");
	int64_t since_s;

	if (!since)
		return 0;
	if (!form_parse_time(since, &since_s))
		return problem_set(&q->problem, 400, "invalid",
			"since must be a time in UTC such as 2030-01-31T12:00:00Z");
	if (q->page.sort)
		return problem_set(&q->problem, 400, "invalid",
			"since goes with the order of time only: leave sort out");
	snprintf(q->page_start, sizeof(q->page_start), "%016llx",
		(unsigned long long)since_s * NS_PER_S);
	if (!q->page.after)
		q->page.after = q->page_start;
	return 0;
}

static int read_page(struct request *q)
{
	struct page *page = &q->page;
	int rc;

	*page = (struct page){.limit = PAGE_LIMIT_DEFAULT};
	rc = read_limit(q, page);
	if (!rc)
		rc = read_sort(q, page);
	if (!rc)
		rc = read_filters(q, page);
	if (rc)
		return rc;
	page->after = target_query(&q->target, "cursor");
	if (page->after && (!page->after[0] || strlen(page->after) > PAGE_CURSOR_MAX))
		return problem_set(&q->problem, 400, "invalid",
			"cursor must be what \"next\" of the page before said");
	return route_has_word(q->route->query, "since") ? read_since(q) : 0;
}

/* -- for the framework -- */

int request_read(struct request *q)
{
	int rc = read_body(q);

	return rc || !q->route->sorts ? rc : read_page(q);
}

int request_check_query(struct request *q)
{
	const struct route *route = q->route;

	for (size_t i = 0; i < q->target.query_count; i++) {
		const char *name = q->target.query[i].name;

		if (strchr(name, ' ') || !name[0] ||
			!(route_has_word(route->query, name) ||
				(route_role(route) && !strcmp(name, "organization")) ||
				(route->sorts && route_has_word("limit cursor sort", name)) ||
				route_has_word(route->filters, name)))
			return problem_set(&q->problem, 400, "invalid",
				"the query parameter \"%.64s\" is not known here", name);
	}
	return 0;
}

void request_set_id(struct request *q, const char *wish)
{
	static const char harmless[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	uint8_t random[12];
	size_t len = wish ? strlen(wish) : 0;

	if (len && len <= REQUEST_ID_MAX && strspn(wish, harmless) == len) {
		memcpy(q->id, wish, len + 1);
		return;
	}
	randombytes_buf(random, sizeof(random));
	hash_hex(random, sizeof(random), q->id);
}
