/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that are suspended: long polls, and answers that go on and have nothing to tell now. Who
 * takes one off the list resumes it; the library then calls its handler or reader again from its
 * own thread, which decides anew. Everything here with the registry's lock held.
 */
#ifndef CONSOLE_API_WAITERS_H
#define CONSOLE_API_WAITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "console-api/request.h"
#include "console-api/store.h"
#include "lib/list.h"

#define WAITERS_BUCKETS 1024

struct waiters {
	struct list all;                      /* struct request */
	struct list by_node[WAITERS_BUCKETS]; /* of those that a node sent */
	uint64_t due_ns;                      /* of the next deadline among them; 0: none */
	bool resumed; /* somebody since waiters_resume_due(): the library must be run */
};

void waiters_init(struct waiters *w);
size_t waiters_count(const struct waiters *w);

/* Suspends a request until q->deadline_ns. One node has one waiting request: an older one goes
 * home. */
void waiters_suspend(struct waiters *w, struct request *q);
/* Resumes those whose deadline has come. The time of the next one, 0: none; now_ns when somebody was
 * resumed since the call before. */
uint64_t waiters_resume_due(struct waiters *w, uint64_t now_ns);
/* Resumes those whom the change concerns; n is 0: everything may have changed. True when somebody was
 * resumed, or the next deadline is another one now: the server's thread has to look. */
bool waiters_on_change(struct waiters *w, const struct store_op *ops, size_t n, uint64_t now_ns);
/* Those whose connections were doomed: the library sees what happened to them. */
void waiters_resume_doomed(struct waiters *w);
void waiters_resume_all(struct waiters *w);

#endif
