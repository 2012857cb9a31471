/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics: what the console counts of itself, and the totals of networks and nodes, in Prometheus'
 * text format 0.0.4. Thread-safe.
 */
#ifndef CONSOLE_API_METRICS_H
#define CONSOLE_API_METRICS_H

#include <stddef.h>
#include <stdint.h>
#include "console-api/request.h"
#include "lib/addr.h"
#include "lib/err.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct console;
struct metrics;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m); /* NULL is fine */

/* A request was answered. */
void metrics_request(struct metrics *m, const struct request *q, int status, uint64_t now_ns);
/* A transaction ended, for store_time_commits(): rc as of store_commit(). */
void metrics_commit(void *metrics, uint64_t duration_ns, int rc);

/* The text, of *ret_len bytes, on the heap. With the registry's lock. own: with what is about the
 * console itself. org: only the networks and nodes of this organization; NULL: of all. */
char *metrics_text(struct console *c, bool own, const char *org, size_t *ret_len);

/* The listener of metrics_listen, in a thread of its own. It takes the registry's lock. */
struct metrics_server;
int metrics_server_start(struct console *c, const struct endpoint *on,
	struct metrics_server **ret_server, struct err *e);
void metrics_server_stop(struct metrics_server *s); /* NULL is fine */

#endif
