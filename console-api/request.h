/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request from its first header to its answer. */
#ifndef CONSOLE_API_REQUEST_H
#define CONSOLE_API_REQUEST_H

#include <json-c/json.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include "console-api/agent.h"
#include "console-api/problem.h"
#include "console-api/registry.h"
#include "lib/addr.h"
#include "lib/key.h"
#include "lib/list.h"

#define REQUEST_BODY_MAX (256u << 10)
#define REQUEST_DISCARD_MAX \
	(4u << 20) /* what is read of a body that is too large, to answer 413 \
		    */
#define REQUEST_TARGET_MAX   2048
#define REQUEST_SEGMENTS_MAX 8
#define REQUEST_QUERY_MAX    8

struct console;
struct route;

enum request_method { METHOD_GET, METHOD_POST, METHOD_PATCH, METHOD_DELETE, METHOD_OTHER };

/* The parts of a request target, percent-decoded; they point into text. */
struct target {
	char text[REQUEST_TARGET_MAX];
	const char *segments[REQUEST_SEGMENTS_MAX];
	size_t segment_count;
	struct {
		const char *name;
		const char *value;
	} query[REQUEST_QUERY_MAX];
	size_t query_count;
};

struct request {
	struct console *console;
	struct MHD_Connection *connection;
	const char *method_text;
	enum request_method method;
	bool begun;       /* its headers were judged */
	bool was_waiting; /* the handler is called again; see httpd.h */
	char *raw_target; /* heap: what the client sent, for signatures */
	struct target target;
	const struct route *route;
	const char *params[2]; /* what stood for {…} in the route's template */

	struct ip client;
	const char *authorization; /* borrowed from the connection; NULL: none */
	const char *if_match;      /* the same */
	struct actor actor;
	char node_id[NETMAP_ID_MAX + 1]; /* of an agent */
	uint64_t started_ns;             /* CLOCK_BOOTTIME */

	char *body; /* heap */
	size_t body_len;
	size_t received; /* of the body, kept or not */
	bool counted;    /* body_len is part of the server's sum of bodies of unknown senders */
	struct json_object *json;

	/* -- the answer: what handlers fill in -- */
	int status;
	struct json_object *reply; /* owned; NULL: no body */
	const char *reply_text;    /* static text instead, of reply_text_len */
	size_t reply_text_len;
	uint64_t etag;     /* 0: none */
	const char *allow; /* of a 405 */
	struct problem problem;

	/* -- a long poll -- */
	struct list waiter; /* linked while it is suspended */
	uint64_t deadline_ns;
	struct agent_scope scope; /* what is to wake it, besides changes of node_id */
};

/*
 * Splits and decodes "/a/b?c=d". False when it is too long, has too many parts, a broken escape, a
 * NUL, or an empty segment in the middle.
 */
bool target_parse(const char *raw, struct target *ret_target);
/* The value of a query parameter, or NULL. */
const char *target_query(const struct target *t, const char *name);

/* A handler's reply. Takes the object. Returns 0. */
int request_reply(struct request *q, int status, struct json_object *o);
/* The same with an ETag. */
int request_reply_revision(struct request *q, int status, struct json_object *o, uint64_t revision);
int request_reply_none(struct request *q); /* 204 */

/* Parses the body as an object: 400 otherwise. An empty body gives NULL where that is allowed. */
int request_json(struct request *q, bool may_be_empty, struct json_object **ret_object);
/* limit and cursor of a list. */
int request_page(struct request *q, struct page *ret_page);
/* Refuses query parameters that are not in the NULL-terminated list. */
int request_query_only(struct request *q, const char *const *names);

#endif
