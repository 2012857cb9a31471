/* SPDX-License-Identifier: Apache-2.0 */
/* Which handler serves what: one table, the only place that knows paths. */
#ifndef CONSOLE_API_ROUTES_H
#define CONSOLE_API_ROUTES_H

#include <stdbool.h>
#include "console-api/request.h"

/* What the sender of a request must show. */
enum route_access {
	ACCESS_ANYBODY,
	ACCESS_ADMIN, /* an API key with the role admin */
	ACCESS_AGENT, /* a node's signature */
	ACCESS_ENROL, /* the signature by the key in the body; checked by the handler */
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
};

/*
 * Finds the route of a method and a path; ret_params gets what stood for {…}, in order (at most 2).
 * NULL when there is none; then *ret_allow is the Allow header of a path that has other methods (a
 * static string), or NULL when there is no such path.
 */
const struct route *route_find(enum request_method method, const struct target *target,
	const char *ret_params[2], const char **ret_allow);

enum request_method route_method(const char *text);

#endif
