/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTPS server listens with. */
#ifndef CONSOLE_API_LISTENER_H
#define CONSOLE_API_LISTENER_H

#include "console-api/config.h"
#include "lib/err.h"

/* A socket on config->listen_on, that of both families where it is IPv6's. */
int listener_open(const struct config *config, int *ret_fd, struct err *e);
/* What the library may have open: some more than we keep, while those that were shut down go. */
unsigned int listener_connections(const struct config *config);
/* Allows a descriptor for each of them; warns where that cannot be. */
void listener_raise_limit(const struct config *config);

#endif
