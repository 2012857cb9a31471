/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong with a request, as RFC 9457 wants to hear it. */
#ifndef CONSOLE_API_PROBLEM_H
#define CONSOLE_API_PROBLEM_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "lib/err.h"

#define PROBLEM_ERRORS_MAX  16
#define PROBLEM_POINTER_MAX 160

struct problem {
	int status;       /* HTTP; 0: none */
	char word[32];    /* type is urn:van:error:WORD */
	char detail[512]; /* one line that says what to do */
	/* What is wrong in the body: a JSON pointer (RFC 6901) and a line each. */
	struct {
		char pointer[PROBLEM_POINTER_MAX];
		char detail[256];
	} errors[PROBLEM_ERRORS_MAX];
	size_t error_count;
	/* Of 409 limit_reached: members resource, limit and current; "": none. quota.h */
	char resource[24];
	uint64_t limit, current;
	uint64_t server_time_s;     /* member server_time; 0: none */
	unsigned int retry_after_s; /* header Retry-After; 0: none */
};

/* Fills p. Returns the negative code that stands for the status (VAN_E_CONFLICT for 409, …). */
int problem_set(struct problem *p, int status, const char *word, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * 400 invalid for a member of the body, by its JSON pointer. Called again before the answer it adds
 * to the list, so that every bad member is named; beyond PROBLEM_ERRORS_MAX further ones are left
 * out.
 */
int problem_invalid(struct problem *p, const char *pointer, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* For an error of json_*(): 400, with the pointer that its text starts with. */
int problem_from_json(struct problem *p, const struct err *e);

/* For an error of store_*(): 507, 503; 409 for -E2BIG, which is returned as it is. */
int problem_from_store(struct problem *p, int rc);

/* 404 not_found: there is no such `kind`, or it is not the asker's to see. */
int problem_not_found(struct problem *p, const char *kind, const char *ref);

/* The document; owned by the caller. request_id may be "". */
struct json_object *problem_to_json(const struct problem *p, const char *request_id);

#endif
