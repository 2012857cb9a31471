/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /api/v1/watch: what changes in an organization, as server-sent events (WHATWG HTML §9.2), told
 * in the order of the store's revisions. Each event has one line of data,
 *
 *   {"type":"created"|"updated"|"deleted","kind":KIND,"id":ID,"network":ID or null,"object":{…} or null}
 *
 * object is what a GET of it would show now, null when it is gone. The last event of a revision
 * carries its id, GENERATION-REVISION (the generation as 16 hexadecimal digits); the comments that
 * keep a quiet connection alive carry the id too, so that a client that saw none of many changes
 * does not fall behind. A client goes on after Last-Event-ID (or ?since=): 410 watch_gone when the
 * console does not remember that far back; then it lists again. One that reads too slowly gets an
 * event "gone" and its end. What a deleted network held is not told one by one.
 */
#ifndef CONSOLE_API_WATCH_H
#define CONSOLE_API_WATCH_H

#include "console-api/registry.h"
#include "console-api/request.h"

#define WATCH_HEARTBEAT_S 15

/* What all watchers share: events as text, made once for all of them. */
struct watch;

/* max: watchers at one time. Beyond it the oldest one of the organization that has the most is cut off;
 * one key has half of them at most (503 busy). */
struct watch *watch_new(size_t max);
void watch_free(struct watch *w); /* NULL is fine; after the last watcher */

/* For store_on_change(), to be called before those that wait are resumed; with the registry's lock
 * held. ctx is the struct watch. */
void watch_on_change(void *ctx, uint64_t revision, const struct store_op *ops, size_t n);

/*
 * Begins to follow for this request, as q->actor may. since NULL: from now on; kinds: words with a
 * comma between, or NULL for all. Fills in q's reply, or its problem.
 */
int watch_begin(struct watch *w, struct registry *r, struct request *q, const char *since,
	const char *kinds);

#endif
