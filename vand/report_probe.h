/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom to probe, for round-trip times and loss, and what came of it. Only peers that had traffic
 * lately are asked, each at most once in PROBE_INTERVAL_S, and few of them in a second: an idle mesh
 * stays silent. Pure: does not send.
 *
 * Loss is that of the way there and back: of the probes that were sent PROBE_TIMEOUT_S ago or
 * earlier, those without an answer.
 */
#ifndef VAND_REPORT_PROBE_H
#define VAND_REPORT_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROBE_INTERVAL_S  10
#define PROBE_TIMEOUT_S   5
#define PROBES_INTERVAL   16 /* in an interval; all busy peers get their turn */
#define PROBES_SECOND     2
#define PROBE_BYTES_MIN   128 /* in an interval; probes and their answers are a fraction of it */
#define PROBE_RESULTS_MAX 64

struct probe_peer {
	uint32_t ref;   /* peer->ref */
	uint64_t bytes; /* both ways, when it was looked at last */
	bool busy;
	uint64_t asked_tick;
	uint32_t sent, answered; /* of those that are decided, since the last report */
	uint64_t rtt_ns;         /* sum of those answered */
};

struct prober {
	uint64_t token;           /* of the next probe */
	struct probe_peer *peers; /* heap, by ref: those that have a session */
	size_t count;
	struct probe_peer *next; /* heap: the list that is being made */
	size_t next_count;
	uint32_t queue[PROBES_INTERVAL]; /* to be asked in this interval */
	size_t queued, queue_at;
	struct {
		uint64_t token;
		uint32_t ref; /* 0: this place is free */
		uint64_t tick;
	} waiting[PROBES_INTERVAL];
};

/* Tokens count from first_token on: random, so that they are not those of others. */
void prober_init(struct prober *p, uint64_t first_token);
void prober_done(struct prober *p);

/* An interval begins: each peer with a session and its bytes so far, then prober_end(). Refs are
 * not 0. Without memory peers are left out. */
void prober_peer(struct prober *p, uint32_t ref, uint64_t bytes);
void prober_end(struct prober *p);

/* Once a second. */
void prober_expire(struct prober *p, uint64_t tick);
/* Whom to ask now: false when nobody. The caller sends a probe with the token, and says so. */
bool prober_next(struct prober *p, uint32_t *ret_ref, uint64_t *ret_token);
void prober_sent(struct prober *p, uint32_t ref, uint64_t token, uint64_t tick);
/* An answer came, perhaps to a probe of somebody else. */
void prober_answered(struct prober *p, uint32_t ref, uint64_t token, uint64_t rtt_ns);

/* The results so far of at most PROBE_RESULTS_MAX peers, which begin anew with that. */
struct probe_result {
	uint32_t ref;
	uint32_t sent, answered;
	uint64_t rtt_us; /* the mean */
};
size_t prober_results(struct prober *p, struct probe_result ret_results[PROBE_RESULTS_MAX]);

#endif
