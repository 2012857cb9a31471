/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which handler serves what: one table (routes.c), the only place that knows paths. A row says all
 * that the framework does before and after the handler, and what /api/openapi.json tells of the
 * operation (openapi.c), so the two cannot differ.
 */
#ifndef CONSOLE_API_ROUTES_H
#define CONSOLE_API_ROUTES_H

#include <stdbool.h>
#include "console-api/request.h"

/* What the sender of a request must show. */
enum route_access {
	ACCESS_ANYBODY,
	ACCESS_VIEWER, /* an API key with this role, or a higher one, in the organization */
	ACCESS_OPERATOR,
	ACCESS_ADMIN,
	ACCESS_CONSOLE, /* a console administrator's key */
	ACCESS_AGENT,   /* a node's signature */
	ACCESS_ENROL,   /* the signature by the key in the body; checked by the handler */
};

/*
 * Called with the registry's lock held. 0 with q's reply filled in, HANDLER_WAIT to be called again
 * when what the request waits for may have changed or its deadline has come, or a negative code
 * with q->problem.
 */
#define HANDLER_WAIT 1
typedef int route_handler(struct console *c, struct request *q);

struct route {
	enum request_method method;
	enum route_access access;
	const char *path; /* template: "/api/v1/networks/{ref}" */
	route_handler *handler;

	/* -- what is judged before the handler; lists are words with a space between -- */
	const char *query;   /* query parameters that it takes, NULL: none. Others are refused */
	const char *sorts;   /* a list (limit, cursor, sort): members of the items to sort by; "" */
	const char *filters; /* a list: members of the items to filter by, parameters of their name;
				"label" filters by labels; NULL: none */
	size_t body_max;     /* of the body; 0: REQUEST_BODY_MAX */
	bool no_match;       /* a PATCH or DELETE that needs no If-Match */

	/* -- for openapi.c -- */
	const char *id; /* operationId */
	const char *tag;
	const char *summary;
	const char *body;  /* schema of the body, NULL: none; "Name?": it may be left out */
	const char *reply; /* schema of the answer, NULL: 204 */
	int status;        /* of a good answer; 0: 200, 201 of a POST, 204 without a reply */
	int also;          /* another status that a good answer may have, with the same schema */
	const char *media; /* of the answer; NULL: application/json */
	bool gone;         /* 410 */
};

/*
 * Finds the route of a method and a path; ret_params gets what stood for {…}, in order. NULL when
 * there is none; then ret_allow is the Allow header of a path that has other methods, or "" when
 * there is no such path.
 */
#define ROUTE_ALLOW_MAX 32
const struct route *route_find(enum request_method method, const struct target *target,
	const char *ret_params[REQUEST_PARAMS_MAX], char ret_allow[ROUTE_ALLOW_MAX]);

/* The table: its i-th row, NULL behind the last one. */
const struct route *route_at(size_t i);

enum request_method route_method(const char *text);
/* The role that a route asks for; ROLE_NONE when it is not by API key. */
enum role route_role(const struct route *route);
/* Whether the word is in a list of words with a space between (NULL: none). */
bool route_has_word(const char *words, const char *word);
/* Whether a request of this route must carry If-Match. */
bool route_needs_match(const struct route *route);

#endif
