/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this node tells its console every few seconds: where it can be reached, what it applied, and
 * what it counted. docs/statistics.md has the form of the latter.
 */
#ifndef VAND_REPORT_H
#define VAND_REPORT_H

#include <json-c/json.h>
#include <stdint.h>

struct vand;
struct peer;
struct report;

/* instance: drawn when this process started, not 0 (lib/agenthello.h). 0 or -ENOMEM. */
int report_new(struct vand *v, uint64_t instance, struct report **ret_report);
void report_free(struct report *r); /* NULL is fine */

/* Counts second by second from here on, and measures peers; the data plane is up. */
void report_start(struct report *r);
void report_stop(struct report *r);

/* The body of a report; owned by the caller. */
struct json_object *report_build(struct report *r);
/* The report that was built last has arrived: its seconds are not told again. */
void report_arrived(struct report *r);

/* The answer to a probe came in (session_io.probed). */
void report_probed(struct report *r, const struct peer *peer, uint64_t token, uint64_t rtt_ns);

#endif
