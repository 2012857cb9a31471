/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTPS server: libmicrohttpd, run by one thread of its own. A request that waits (a long poll,
 * an answer that goes on) is suspended and costs a connection, not a thread; it is taken up again
 * when the store changes what it waits for, when its deadline comes, and when the server stops.
 */
#ifndef CONSOLE_API_HTTPD_H
#define CONSOLE_API_HTTPD_H

#include <stddef.h>
#include <stdint.h>
#include "console-api/store.h"
#include "lib/err.h"

struct console;
struct httpd;

/* Listens, but answers nobody yet: what needs a privilege is done here. */
int httpd_new(struct console *c, struct httpd **ret_httpd, struct err *e);
/* Starts the thread. console->registry, auth, tls and config are in use from here. */
int httpd_start(struct httpd *h, struct err *e);
/* Answers those that wait with 503, ends the thread. NULL is fine. Without the registry's lock. */
void httpd_free(struct httpd *h);

/* For /metrics: open connections; requests that wait (with the registry's lock held). */
size_t httpd_connections(const struct httpd *h);
size_t httpd_waiting(const struct httpd *h);

/* For store_on_change(); with the registry's lock held. n is 0: everything may have changed. */
void httpd_on_change(void *httpd, uint64_t revision, const struct store_op *ops, size_t n);

#endif
