/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTPS server: libmicrohttpd with one thread of its own. A request that waits (a long poll) is
 * suspended and costs a connection, not a thread; it is taken up again when the store changes what
 * its node sees, when its deadline comes, and when the server stops.
 */
#ifndef CONSOLE_API_HTTPD_H
#define CONSOLE_API_HTTPD_H

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

/* Readable when a waiting request is due: then call httpd_on_timer(). */
int httpd_timer_fd(const struct httpd *h);
void httpd_on_timer(struct httpd *h);

/* For store_on_change(); with the registry's lock held. */
void httpd_on_change(void *httpd, uint64_t revision, const struct store_op *ops, size_t n);

#endif
