/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's side of the registry: enrolment, netmap by long-poll, reports. Event-driven on the
 * control thread's loop; when the console is away it retries with growing, jittered pauses and
 * everything else goes on.
 */
#ifndef VAND_REGISTRY_H
#define VAND_REGISTRY_H

#include <json-c/json.h>
#include <stdbool.h>
#include "lib/err.h"
#include "lib/token.h"

struct peer;
struct vand;
struct registry;

int registry_new(struct vand *v, struct registry **ret_registry);
void registry_free(struct registry *r);

/* Begins to poll and report for the membership in the state. */
void registry_start(struct registry *r);
void registry_stop(struct registry *r);

/* rc and e as everywhere; network id and name, node id and name on success. Runs once, from the
 * loop, when the netmap that contains the network has been applied (or that failed). */
typedef void registry_join_done(void *ctx, int rc, struct json_object *answer, const struct err *e);
struct registry_join {
	struct token token;
	char name[64];    /* wish; empty: the host's name */
	char address[64]; /* wish; empty: assigned */
	char ifname[16];  /* wish; empty: the next vciderN */
};
int registry_join(struct registry *r, const struct registry_join *join, registry_join_done *done,
	void *ctx, struct err *e);

/* told: the registry knows already; else it will be told as soon as it answers. */
typedef void registry_leave_done(void *ctx, int rc, bool told, const struct err *e);
/* Leaves a network: tells the registry, then (or when it is away: locally at once, and tells later)
 * takes it down. */
int registry_leave(struct registry *r, const char *network_id, registry_leave_done *done, void *ctx,
	struct err *e);
/* True when the join with this ctx waits for somebody's approval; then e says so. */
bool registry_join_unapproved(const struct registry *r, const void *ctx, struct err *e);
/* Who asked for a join or leave with this ctx went away: no callback any more (what was begun goes
 * on). */
void registry_forget(struct registry *r, void *ctx);

/* Our addresses changed: report at once, and ask anew for what we were waiting for. */
void registry_report_soon(struct registry *r);

/* The answer to a probe came in (session_io.probed): reports have what they measure. */
void registry_probed(struct registry *r, const struct peer *peer, uint64_t token, uint64_t rtt_ns);

/* For status: {"url","connected","last_contact_s","error"}, or NULL for a node that is in no mesh
 * and was not removed from one by its console. Owned by the caller. */
struct json_object *registry_status(const struct registry *r);
/* Adds a line for each thing that is not as it should be (clock, stale map, unsaved map). */
void registry_warnings(const struct registry *r, struct json_object *array);

#endif
