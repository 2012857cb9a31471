/* SPDX-License-Identifier: Apache-2.0 */
/* console-api.conf. */
#ifndef CONSOLE_API_CONFIG_H
#define CONSOLE_API_CONFIG_H

#include <stdint.h>
#include "lib/addr.h"
#include "lib/confschema.h"

struct config {
	char *state_dir;
	char *listen;
	char *public_url;
	char *store;
	struct conf_strings etcd_endpoints;
	char *web_root;
	char *log_level;
	int64_t rate_requests;
	int64_t rate_enrolments;
	int64_t max_connections;
	int64_t audit_days;
	struct endpoint listen_on; /* what `listen` says */
};

extern const struct conf_schema config_schema;

/*
 * Reads and checks the file; public_url is filled in where it is unset. *ret_warnings (may be NULL)
 * is a static line to log, or NULL. config_done() when done with it, not after a failure.
 */
int config_load(
	const char *path, struct config *ret_config, const char **ret_warning, struct err *e);
void config_done(struct config *c);

/* "https://host[:port]", no path, query or user: what a join token can carry. */
bool config_url_valid(const char *url);

#endif
