/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of one running console share. Made by main.c in the order of the members. */
#ifndef CONSOLE_API_CONSOLE_H
#define CONSOLE_API_CONSOLE_H

#include "console-api/auth.h"
#include "console-api/config.h"
#include "console-api/httpd.h"
#include "console-api/metrics.h"
#include "console-api/registry.h"
#include "console-api/stats_file.h"
#include "console-api/tls.h"
#include "console-api/watch.h"

struct console {
	struct config config;
	struct tls *tls;
	struct registry *registry;
	struct auth *auth;
	struct watch *watch;
	struct metrics *metrics;
	struct stats *stats;
	struct stats_file *stats_file;
	struct httpd *httpd;
	struct metrics_server *metrics_server; /* NULL: none is wanted */
	char *openapi;                         /* heap; made when it is first asked for */
};

#endif
