/* SPDX-License-Identifier: Apache-2.0 */
/* What the ctl*.c files share; nobody else's business. */
#ifndef VAND_CTL_INTERNAL_H
#define VAND_CTL_INTERNAL_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/err.h"
#include "lib/list.h"
#include "vand/ctl.h"
#include "vand/loop.h"
#include "vand/vand.h"

struct ctl_client;

struct ctl {
	struct vand *v;
	char *path;
	struct loop_source listener;
	struct list clients;
	size_t client_count;
	struct list pings; /* under way */
	uint64_t ping_token;
};

/* Answers and ends the client: nothing of it may be used afterwards. The object is borrowed. */
void ctl_answer(struct ctl_client *c, struct json_object *result);
void ctl_error(struct ctl_client *c, int code, const struct err *e);
struct ctl *ctl_of(struct ctl_client *c);
/* For an answer that comes later: forget(op) runs, once, if the client goes away before it. */
void ctl_later(struct ctl_client *c, void (*forget)(void *op), void *op);

/* A command: args is the request, borrowed; answers now or (after ctl_later()) later. */
typedef void ctl_handler(struct ctl_client *c, struct json_object *args);

ctl_handler ctl_status, ctl_peers, ctl_mac, ctl_stats; /* ctl_show.c */
ctl_handler ctl_join, ctl_leave, ctl_reload;           /* ctl_change.c */
ctl_handler ctl_ping;                                  /* ctl_ping.c */

/* timeout_ms of the arguments, or default_ms. */
int ctl_get_timeout(
	struct json_object *args, unsigned int default_ms, unsigned int *ret_ms, struct err *e);
/* The network that "network" (name or id) of the arguments names. *ret_network is NULL when there
 * is no such argument and it is optional. */
struct netmap_network;
int ctl_get_network(struct ctl *ctl, struct json_object *args, bool optional,
	const struct netmap_network **ret_network, struct err *e);

#endif
