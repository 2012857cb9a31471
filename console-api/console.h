/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of one running console share. Made by main.c in the order of the members. */
#ifndef CONSOLE_API_CONSOLE_H
#define CONSOLE_API_CONSOLE_H

#include "console-api/auth.h"
#include "console-api/config.h"
#include "console-api/httpd.h"
#include "console-api/registry.h"
#include "console-api/tls.h"

struct console {
	struct config config;
	struct tls_identity tls;
	struct registry *registry;
	struct auth *auth;
	struct httpd *httpd;
};

#endif
