/* SPDX-License-Identifier: Apache-2.0 */
/* What the registry_*.c files share; nobody else's business. */
#ifndef VAND_REGISTRY_INTERNAL_H
#define VAND_REGISTRY_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/err.h"
#include "lib/httpc.h"
#include "lib/list.h"
#include "vand/loop.h"
#include "vand/registry.h"
#include "vand/state.h"

struct request;

/* rc: 0 for a 2xx, else the error of the transport or the status. word: the last part of a problem
 * document's type ("node_removed"), or empty. response is NULL when there was no answer. */
typedef void request_done(void *ctx, int rc, const char *word,
	const struct httpc_response *response, const struct err *e);

struct request_spec {
	const char *url;
	const char *pin;
	const char *node;    /* id, or "enroll" */
	const char *console; /* id, or "" */
	bool member;         /* to our own console, as ourselves: its answers count as contact */
	const char *method;
	const char *path;
	const char *body; /* NULL: none; wiped after use */
	unsigned int timeout_ms;
	request_done *done;
	void *ctx;
};

struct registry {
	struct vand *v;
	struct httpc *http;
	struct loop_timer http_timer;
	struct list watchers; /* descriptors that curl waits for */
	struct list requests; /* under way */

	uint64_t fresh_until_ns; /* our addresses changed: idle connections may be dead */

	bool running; /* polling and reporting */
	struct request *poll;
	struct loop_timer poll_timer;
	uint64_t poll_began_ns;
	unsigned int poll_failures;
	unsigned int idle_answers; /* quick ones in a row without news */
	bool whole;                /* ask for the map without `since` */
	bool unsaved;              /* the map in force is not on disk */
	struct request *report;
	struct loop_timer report_timer;
	unsigned int report_failures;
	bool report_again;

	int64_t clock_offset_s; /* the console's clock less ours */
	bool connected;
	bool known;         /* contact_ns holds something */
	int64_t contact_ns; /* CLOCK_BOOTTIME of the last answer; negative: before this boot */
	int error_code;     /* logged last; 0: none since the last contact */
	char error[512];    /* empty: none */
	bool stale;
	struct loop_timer stale_timer;
	char removed_from[256]; /* URL of the console that removed us; empty: none did */

	struct list joins;
	struct list leaves;
	struct request *telling; /* the console of a network that we left while it was away */
	char telling_id[NETMAP_ID_MAX + 1];
};

/* registry_http.c */
int registry_http_open(struct registry *r);
void registry_http_close(struct registry *r);
/* Signs and sends. 0 (then done runs once, from the loop, unless cancelled) or -errno. */
int request_start(
	struct registry *r, const struct request_spec *spec, struct request **ret_request);
void request_cancel(struct registry *r, struct request *q);

/* registry.c */
/* Fills in the console and identity of our membership. */
void registry_as_member(const struct registry *r, struct request_spec *spec);
void registry_contact(struct registry *r);
void registry_failure(struct registry *r, const struct err *e);
/* The console says that this node is no more. */
void registry_removed(struct registry *r);
/* Asks at once for the map: the whole one, or what changed. */
void registry_poll_now(struct registry *r, bool whole);
/* Takes a network out of the map in force, on disk too. */
void registry_drop_network(struct registry *r, const char *network_id);

/* registry_join.c */
/* A map was applied, or will not be: answers the joins that waited for it. */
void registry_joins_check(struct registry *r);
void registry_joins_fail(struct registry *r, int rc, const char *text);
void registry_joins_forget(struct registry *r, void *ctx);

/* registry_leave.c */
/* Tells the console of the networks left while it was away, one after the other. */
void registry_tell_leaves(struct registry *r);
void registry_leaves_fail(struct registry *r, int rc, const char *text);
void registry_leaves_forget(struct registry *r, void *ctx);

#endif
