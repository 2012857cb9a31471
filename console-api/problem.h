/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong with a request, as RFC 9457 wants to hear it. */
#ifndef CONSOLE_API_PROBLEM_H
#define CONSOLE_API_PROBLEM_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "lib/err.h"

struct problem {
	int status;        /* HTTP; 0: none */
	char word[32];     /* type is urn:van:error:WORD */
	char detail[512];  /* one line that says what to do */
	char pointer[128]; /* JSON pointer into the body, "" and none when has_pointer is false */
	bool has_pointer;
	uint64_t server_time_s;     /* member server_time; 0: none */
	unsigned int retry_after_s; /* header Retry-After; 0: none */
};

/* Fills p. Returns the negative code that stands for the status (VAN_E_CONFLICT for 409, …). */
int problem_set(struct problem *p, int status, const char *word, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The same for a member of the body: 400 invalid, with its JSON pointer. */
int problem_invalid(struct problem *p, const char *pointer, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* For an error of json_*(): 400, with the pointer that its text starts with. */
int problem_from_json(struct problem *p, const struct err *e);

/* For an error of store_*(): 507, 503. */
int problem_from_store(struct problem *p, int rc);

/* The document; owned by the caller. */
struct json_object *problem_to_json(const struct problem *p);

#endif
