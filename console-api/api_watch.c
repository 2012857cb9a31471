/* SPDX-License-Identifier: Apache-2.0 */
/* What happens: the watch, and events. */
#include "console-api/api.h"

#include "console-api/console.h"
#include "console-api/events.h"
#include "console-api/watch.h"

int api_watch(struct console *c, struct request *q)
{
	/* A client that connects again has both; what it saw last is what counts. */
	const char *since = q->last_event_id ? q->last_event_id : target_query(&q->target, "since");

	return watch_begin(c->watch, c->registry, q, since, target_query(&q->target, "kind"));
}

int api_event_list(struct console *c, struct request *q)
{
	struct json_object *list;
	int rc = events_list(c->registry, q->actor.org, &q->page, &list, &q->problem);

	return rc ? rc : request_reply(q, 200, list);
}
