/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the configuration again while running: SIGHUP and `vanctl reload`. */
#ifndef VAND_RELOAD_H
#define VAND_RELOAD_H

#include <json-c/json.h>
#include "lib/err.h"

struct vand;

/*
 * Takes over log_level, advertise and rekey_after_s at once. A file that does not load changes
 * nothing. For every other option that has changed, logs that it needs a restart.
 */
int vand_reload(struct vand *v, struct err *e);
/* The same; adds the names of the options that need a restart to the array. */
int vand_reload_listing(struct vand *v, struct json_object *ret_restart, struct err *e);

#endif
