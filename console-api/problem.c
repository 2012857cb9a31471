/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "lib/json.h"
#include "lib/utf8.h"

static int code_of(int status)
{
	switch (status) {
	case 401:
		return -VAN_E_UNAUTHENTIC;
	case 403:
		return -VAN_E_DENIED;
	case 404:
	case 405:
		return -VAN_E_NOT_FOUND;
	case 409:
	case 412:
	case 428:
		return -VAN_E_CONFLICT;
	case 410:
		return -VAN_E_GONE;
	case 429:
		return -VAN_E_LIMIT;
	case 507:
		return -ENOSPC;
	default:
		return status >= 500 ? -EIO : -VAN_E_INVALID;
	}
}

static const char *title_of(int status)
{
	switch (status) {
	case 400:
		return "The request is wrong";
	case 401:
		return "Not authenticated";
	case 403:
		return "Not allowed";
	case 404:
		return "Not found";
	case 405:
		return "Method not allowed";
	case 409:
		return "Conflict with what exists";
	case 410:
		return "Gone";
	case 412:
		return "It has changed since";
	case 413:
		return "The body is too large";
	case 415:
		return "Not in this media type";
	case 428:
		return "If-Match is needed";
	case 429:
		return "Too many requests";
	case 503:
		return "Not available now";
	case 507:
		return "The console's disk is full";
	default:
		return status >= 500 ? "The console failed" : "The request is wrong";
	}
}

__attribute__((format(printf, 4, 0))) static int fill(
	struct problem *p, int status, const char *word, const char *fmt, va_list ap)
{
	*p = (struct problem){.status = status};
	snprintf(p->word, sizeof(p->word), "%s", word);
	vsnprintf(p->detail, sizeof(p->detail), fmt, ap);
	return code_of(status);
}

int problem_set(struct problem *p, int status, const char *word, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = fill(p, status, word, fmt, ap);
	va_end(ap);
	return rc;
}

/* The detail of the whole begins with the pointer; beside the pointer itself it would be there twice. */
static void add_error(struct problem *p, const char *pointer, const char *detail)
{
	size_t len = strlen(pointer);

	if (p->error_count == PROBLEM_ERRORS_MAX)
		return;
	if (len && !strncmp(detail, pointer, len) && !strncmp(detail + len, ": ", 2))
		detail += len + 2;
	snprintf(p->errors[p->error_count].pointer, sizeof(p->errors[0].pointer), "%s", pointer);
	snprintf(p->errors[p->error_count].detail, sizeof(p->errors[0].detail), "%.255s", detail);
	p->error_count++;
}

int problem_invalid(struct problem *p, const char *pointer, const char *fmt, ...)
{
	struct problem one;
	va_list ap;

	va_start(ap, fmt);
	fill(&one, 400, "invalid", fmt, ap);
	va_end(ap);
	if (!p->status || !p->error_count)
		*p = one;
	add_error(p, pointer, one.detail);
	return code_of(400);
}

int problem_from_json(struct problem *p, const struct err *e)
{
	size_t len = strcspn(e->text, ": ");
	char pointer[PROBLEM_POINTER_MAX];

	if (e->text[0] != '/' || len >= sizeof(pointer))
		return problem_set(p, 400, "invalid", "%s", e->text);
	memcpy(pointer, e->text, len);
	pointer[len] = '\0';
	return problem_invalid(p, pointer, "%s", e->text);
}

int problem_not_found(struct problem *p, const char *kind, const char *ref)
{
	return problem_set(
		p, 404, "not_found", "there is no %s \"%.64s\": list what there is", kind, ref);
}

int problem_from_store(struct problem *p, int rc)
{
	unsigned int retry_after_s = 1;
	int code;

	switch (rc) {
	case -ENOSPC:
		retry_after_s = 10;
		code = problem_set(p, 507, "store_full",
			"the disk of the console is full: make room there, then try again");
		break;
	case -EAGAIN:
	case -EBUSY:
		code = problem_set(
			p, 503, "store_busy", "the console's store is busy: try again in a moment");
		break;
	case -E2BIG:
		problem_set(p, 409, "too_much_at_once",
			"this changes more than the console's store takes in one transaction: do it "
			"in parts, or raise --max-txn-ops of etcd");
		return rc;
	default:
		retry_after_s = 10;
		code = problem_set(p, 503, "store_failed",
			"the console cannot use its store: its log says why");
	}
	p->retry_after_s = retry_after_s;
	return code;
}

/* What a client sent may be quoted, and be cut within a character: JSON is UTF-8. */
static void set_line(struct json_object *o, const char *name, const char *text)
{
	char line[sizeof(((struct problem *)0)->detail)];

	snprintf(line, sizeof(line), "%s", text);
	utf8_make_line(line, strlen(line));
	json_set_string(o, name, line);
}

static struct json_object *errors_to_json(const struct problem *p)
{
	struct json_object *errors = json_object_new_array();

	for (size_t i = 0; i < p->error_count; i++) {
		struct json_object *one = json_object_new_object();

		set_line(one, "pointer", p->errors[i].pointer);
		set_line(one, "detail", p->errors[i].detail);
		json_object_array_add(errors, one);
	}
	return errors;
}

struct json_object *problem_to_json(const struct problem *p, const char *request_id)
{
	struct json_object *o = json_object_new_object();
	char type[64];

	snprintf(type, sizeof(type), "urn:van:error:%s", p->word);
	json_set_string(o, "type", type);
	json_set_string(o, "title", title_of(p->status));
	json_set_int(o, "status", p->status);
	set_line(o, "detail", p->detail);
	if (p->error_count)
		json_object_object_add(o, "errors", errors_to_json(p));
	if (p->resource[0]) {
		json_set_string(o, "resource", p->resource);
		json_set_int(o, "limit", (int64_t)p->limit);
		json_set_int(o, "current", (int64_t)p->current);
	}
	if (p->server_time_s)
		json_set_int(o, "server_time", (int64_t)p->server_time_s);
	if (request_id[0])
		json_set_string(o, "request_id", request_id);
	return o;
}
