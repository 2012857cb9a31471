/* SPDX-License-Identifier: Apache-2.0 */
/* What the registry_*.c files share; nobody else's business. */
#ifndef VAND_REGISTRY_INTERNAL_H
#define VAND_REGISTRY_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/agenthello.h"
#include "lib/err.h"
#include "lib/httpc.h"
#include "lib/list.h"
#include "vand/consoles.h"
#include "vand/loop.h"
#include "vand/registry.h"
#include "vand/state.h"

struct report;
struct request;

/* rc: 0 for a 2xx, else the error of the transport or the status. word: the last part of a problem
 * document's type ("node_removed"), or empty. response is NULL when there was no answer. */
typedef void request_done(void *ctx, int rc, const char *word,
	const struct httpc_response *response, const struct err *e);

struct request_spec {
	const struct netmap_console *to; /* borrowed until request_start() returns */
	const char *node;                /* id, or "enroll" */
	const char *console;             /* id, or "" */
	bool member; /* to our own console, as ourselves: its answers count as contact */
	bool probe;  /* that there is none from this one says nothing */
	const char *method;
	const char *path;
	const char *body; /* NULL: none; wiped after use */
	bool patch;       /* the answer may be a merge patch */
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
	char poll_url[NETMAP_URL_MAX + 1]; /* of the console that it went to */
	struct loop_timer poll_timer;
	uint64_t poll_began_ns;
	unsigned int poll_failures;
	unsigned int idle_answers; /* quick ones in a row without news */
	bool whole;                /* ask for the map without `since` */
	struct json_object
		*base; /* the map's document in its keyed form, which patches change; NULL:
				    * there is none */
	bool unsaved;  /* the map in force is not on disk */
	struct request *report;
	char report_url[NETMAP_URL_MAX + 1];
	struct report *report_maker; /* vand/report.h */
	struct loop_timer report_timer;
	unsigned int report_failures;
	bool report_again;

	struct consoles consoles;
	struct agenthello hello; /* what every request says of us */

	int64_t clock_offset_s; /* the console's clock less ours */
	bool connected;
	bool known;         /* contact_ns holds something */
	int64_t contact_ns; /* CLOCK_BOOTTIME of the last answer; negative: before this boot */
	int error_code;     /* logged last; 0: none since the last contact */
	char error[512];    /* empty: none */
	bool stale;
	bool cloned; /* refused, for another machine has this identity: nothing is forwarded */
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
/* Fills in our identity and a console (NULL: the current one). */
void registry_as_member(
	const struct registry *r, const struct netmap_console *console, struct request_spec *spec);
/* Of the current console. */
const char *registry_url(const struct registry *r);
/* The state knows other consoles than before. */
void registry_read_consoles(struct registry *r);
void registry_contact(struct registry *r);
void registry_failure(struct registry *r, const struct err *e);
/* The console says that this node is no more. */
void registry_removed(struct registry *r);
/* The console refuses this process, for another machine has the node's identity: whoever of the two
 * went on would pull the peers' sessions to and fro. All networks are taken down until it gives a map
 * again; nothing is forgotten. */
void registry_cloned(struct registry *r);
/* Asks at once for the map: the whole one, or what changed. */
void registry_poll_now(struct registry *r, bool whole);

/* registry_map.c */
/* Applies the answer to a poll and keeps it. -ESTALE: a patch that does not fit; the whole map has
 * to be asked for. */
int registry_take_map(struct registry *r, const struct httpc_response *response, struct err *e);
/* Applies the map on disk where none is in force. */
void registry_load_map(struct registry *r);
/* Writes the map that is not on disk yet, if there is one. */
void registry_save_again(struct registry *r);
/* The next map is to be a whole one. */
void registry_forget_base(struct registry *r);
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
