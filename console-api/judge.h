/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said of a request before its body is there: its target, its sender, its right. */
#ifndef CONSOLE_API_JUDGE_H
#define CONSOLE_API_JUDGE_H

#include "console-api/auth.h"
#include "console-api/request.h"

/* Finds route, client, API key and organization. Fills q->problem when the request cannot succeed.
 * Without the registry's lock. */
void judge_request(struct console *c, struct request *q, const char *method);
/* For auth_*(), of a request that was judged. */
struct auth_client judge_client(const struct request *q);

#endif
