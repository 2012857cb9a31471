/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the local vand over its control socket (docs/control-socket.md). */
#ifndef VANCTL_LOCAL_H
#define VANCTL_LOCAL_H

#include <json-c/json.h>
#include "vanctl/vanctl.h"

/*
 * Sends a command with its arguments (consumed; NULL: none) and waits at most timeout_ms.
 * *ret_result is owned by the caller; ret_result may be NULL. Errors as ctlproto_call().
 */
int local_call(struct vanctl *v, const char *command, struct json_object *arguments,
	unsigned int timeout_ms, struct json_object **ret_result, struct err *e);

#endif
