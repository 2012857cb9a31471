/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/json.h"

#define PAGE_DEFAULT 100

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decodes in place. False on a broken escape, and on a control character, NUL included. */
static bool decode(char *text, bool plus_is_space)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		unsigned char c = (unsigned char)*in;

		if (c == '%') {
			int high = hex_digit(in[1]);
			int low = high < 0 ? -1 : hex_digit(in[2]);

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
	q->status = status;
	q->reply = o;
	return 0;
}

int request_reply_revision(struct request *q, int status, struct json_object *o, uint64_t revision)
{
	q->etag = revision;
	return request_reply(q, status, o);
}

int request_reply_none(struct request *q)
{
	return request_reply(q, 204, NULL);
}

int request_json(struct request *q, bool may_be_empty, struct json_object **ret_object)
{
	struct err e = {0};

	if (may_be_empty && !q->body_len) {
		*ret_object = NULL;
		return 0;
	}
	if (json_parse(q->body ? q->body : "", q->body_len, &q->json, &e))
		return problem_set(&q->problem, 400, "bad_json", "%s", e.text);
	if (!json_object_is_type(q->json, json_type_object))
		return problem_set(&q->problem, 400, "bad_json", "the body must be a JSON object");
	*ret_object = q->json;
	return 0;
}

int request_page(struct request *q, struct page *ret_page)
{
	const char *limit = target_query(&q->target, "limit");
	const char *cursor = target_query(&q->target, "cursor");
	struct page page = {.limit = PAGE_DEFAULT};
	char *end;

	if (limit) {
		page.limit = strtoul(limit, &end, 10);
		if (limit[0] < '0' || limit[0] > '9' || *end || page.limit < 1 ||
			page.limit > REGISTRY_PAGE_MAX)
			return problem_set(&q->problem, 400, "invalid",
				"limit must be a number from 1 to %d", REGISTRY_PAGE_MAX);
	}
	if (cursor) {
		if (!cursor[0] || strlen(cursor) > NETMAP_NAME_MAX || strchr(cursor, '/'))
			return problem_set(&q->problem, 400, "invalid",
				"cursor must be what \"next\" of the page before said");
		page.after = cursor;
	}
	*ret_page = page;
	return 0;
}

int request_query_only(struct request *q, const char *const *names)
{
	for (size_t i = 0; i < q->target.query_count; i++) {
		size_t j = 0;

		while (names[j] && strcmp(names[j], q->target.query[i].name) != 0)
			j++;
		if (!names[j])
			return problem_set(&q->problem, 400, "invalid",
				"the query parameter \"%.64s\" is not known here",
				q->target.query[i].name);
	}
	return 0;
}
