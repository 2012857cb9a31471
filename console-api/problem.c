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

static int fill(struct problem *p, int status, const char *word, const char *fmt, va_list ap)
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

int problem_invalid(struct problem *p, const char *pointer, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = fill(p, 400, "invalid", fmt, ap);
	va_end(ap);
	snprintf(p->pointer, sizeof(p->pointer), "%s", pointer);
	p->has_pointer = true;
	return rc;
}

int problem_from_json(struct problem *p, const struct err *e)
{
	int rc = problem_set(p, 400, "invalid", "%s", e->text);
	size_t len = strcspn(e->text, ": ");

	if (e->text[0] == '/' && len < sizeof(p->pointer)) {
		memcpy(p->pointer, e->text, len);
		p->pointer[len] = '\0';
		p->has_pointer = true;
	}
	return rc;
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
	default:
		retry_after_s = 10;
		code = problem_set(p, 503, "store_failed",
			"the console cannot use its store: its log says why");
	}
	p->retry_after_s = retry_after_s;
	return code;
}

struct json_object *problem_to_json(const struct problem *p)
{
	struct json_object *o = json_object_new_object();
	char type[64], detail[sizeof(p->detail)];

	/* It may quote what a client sent, and be cut within a character: JSON is UTF-8. */
	memcpy(detail, p->detail, sizeof(detail));
	utf8_make_line(detail, strlen(detail));
	snprintf(type, sizeof(type), "urn:van:error:%s", p->word);
	json_set_string(o, "type", type);
	json_set_string(o, "title", title_of(p->status));
	json_set_int(o, "status", p->status);
	json_set_string(o, "detail", detail);
	if (p->has_pointer) {
		struct json_object *errors = json_object_new_array();
		struct json_object *one = json_object_new_object();

		json_set_string(one, "pointer", p->pointer);
		json_set_string(one, "detail", detail);
		json_object_array_add(errors, one);
		json_object_object_add(o, "errors", errors);
	}
	if (p->server_time_s)
		json_set_int(o, "server_time", (int64_t)p->server_time_s);
	return o;
}
