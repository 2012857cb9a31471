/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened, for people: a node joined, went away, shows a cloned identity. One row each at
 * /events/ORG/STAMP-RANDOM (STAMP: nanoseconds since 1970, 16 hexadecimal digits):
 * {time, severity, kind, object, text}; kept for registry->event_days, and EVENTS_MAX of an
 * organization at most. Who changed what is in the audit trail.
 */
#ifndef CONSOLE_API_EVENTS_H
#define CONSOLE_API_EVENTS_H

#include "console-api/registry.h"

#define EVENTS_MAX 10000

enum event_severity { EVENT_INFO, EVENT_WARNING, EVENT_ERROR };

/*
 * Adds an event to a transaction. kind says what it is about ("node", "network", …) and object is
 * that one's id; the text is one line.
 */
void registry_event(struct store_txn *txn, const char *org, enum event_severity severity,
	const char *kind, const char *object, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

/* Oldest first. */
int events_list(struct registry *r, const char *org, const struct page *page,
	struct json_object **ret_list, struct problem *p);
/* The API's object of a row. */
struct json_object *events_view(const char *key, struct json_object *row);

/* Removes what is too old; a bounded piece of work. */
void events_prune(struct registry *r, uint64_t wall_ns);

#endif
