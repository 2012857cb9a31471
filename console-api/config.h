/* SPDX-License-Identifier: Apache-2.0 */
/* console-api.conf. */
#ifndef CONSOLE_API_CONFIG_H
#define CONSOLE_API_CONFIG_H

#include <stdint.h>
#include "console-api/quota.h"
#include "lib/addr.h"
#include "lib/confschema.h"

struct config {
	char *state_dir;
	char *listen;
	char *public_url;
	char *store;
	struct conf_strings etcd_endpoints;
	char *etcd_ca;
	char *etcd_cert;
	char *etcd_key;
	char *etcd_user;
	char *etcd_password_file;
	char *etcd_prefix;
	int64_t etcd_timeout_ms;
	char *web_root;
	char *log_level;
	char *log_format;
	int64_t rate_requests;
	int64_t rate_address;
	int64_t rate_enrolments;
	int64_t max_connections;
	int64_t audit_days;
	int64_t event_days;
	int64_t limits[QUOTA_COUNT]; /* limit_networks, … */
	int64_t stats_memory_mb;
	int64_t stats_save_s;
	char *metrics_listen; /* NULL: none */
	int64_t metrics_nodes;
	char *clone_policy;
	bool mesh_signatures;
	struct endpoint listen_on;  /* what `listen` says */
	struct endpoint metrics_on; /* likewise */
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
