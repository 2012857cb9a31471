/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to do what about a session. Two halves, both pure:
 *
 *   - a queue of exact deadlines (handshake retries, confirmations);
 *   - timers_look(), which is told what happened on a session and says what is due. It is asked
 * once a second for sessions that have keys, so that sending and receiving set no timer.
 *
 * The numbers are struct session_timers'; docs/protocol.md has the table.
 */
#ifndef VAND_TIMERS_H
#define VAND_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vand/session.h"

/* -- deadlines -- */

struct timer {
	uint64_t due_ns;
	size_t place; /* in the queue, from 1; 0: not in it */
	void *owner;  /* for whoever takes it out */
	int kind;
};

struct timers {
	struct timer **heap; /* from 1 */
	size_t count;
	size_t room;
};

void timers_init(struct timers *q);
void timers_done(struct timers *q);
/* Makes room for n timers in all, so that timers_set() cannot fail. 0 or -ENOMEM. */
int timers_reserve(struct timers *q, size_t n);
/* Puts it in, or moves it. */
void timers_set(struct timers *q, struct timer *t, uint64_t due_ns);
/* Takes it out, if it is in. */
void timers_clear(struct timers *q, struct timer *t);
/* The earliest one, or NULL. It stays in. */
struct timer *timers_first(const struct timers *q);

/* now - then, or 0: stamps by workers may be a little ahead of the control thread's clock. */
static inline uint64_t timers_since(uint64_t now_ns, uint64_t then_ns)
{
	return now_ns > then_ns ? now_ns - then_ns : 0;
}

/* -- handshakes -- */

#define TIMERS_SLOW_RETRY_NS 30000000000ull /* after give_up, towards peers worth it */

/* How long to wait for the answer to the try-th INIT in a row (from 1): 0.25, 0.5, 1, 2, then 5 s,
 * and up to a quarter of that more; `random` is any number. */
uint64_t timers_retry_ns(unsigned int try, uint32_t random);
/* 30 s, and up to a quarter more. */
uint64_t timers_slow_retry_ns(uint32_t random);

/* How long after its making a key is due to be replaced: rekey_after and up to a tenth for the
 * initiator; 10–20 s more for the responder; never later than 11/12 of its life. */
uint64_t timers_rekey_ns(const struct session_timers *t, bool initiator, uint32_t random);

/* How long a key is used and kept. */
static inline uint64_t timers_key_life_ns(const struct session_timers *t)
{
	return t->reject_after < t->wipe_after ? t->reject_after : t->wipe_after;
}

/* -- sessions -- */

/* What happened, over all keys of the session. Times are absolute; 0: never. */
struct timers_facts {
	uint64_t last_sent_ns;
	uint64_t last_sent_data_ns;
	uint64_t last_received_ns;
	uint64_t last_received_data_ns;
	uint64_t rekey_at_ns; /* of the current key */
	bool key_was_used;    /* data went over the current key, either way */
	bool key_is_full;     /* a lane of ours reached its share of MESSAGE_BLOCKS_REKEY */
	bool eager;           /* the session is kept up without data */
	bool behind_nat;      /* we are: mappings are to be kept alive */
};

/* What timers_look() remembers from one time to the next. Zeroed in the beginning. */
struct timers_memory {
	uint64_t unacknowledged_since_ns; /* data came in and nothing has gone out since; 0: no */
	uint64_t unanswered_since_ns;     /* data went out and nothing has come in since; 0: no */
};

enum timers_due {
	TIMERS_KEEPALIVE = 1 << 0,
	TIMERS_REKEY = 1 << 1,
	TIMERS_SILENT = 1 << 2, /* the peer seems to be dead: try a handshake */
};

/* A set of enum timers_due. */
unsigned int timers_look(const struct session_timers *t, const struct timers_facts *f,
	struct timers_memory *memory, uint64_t now_ns);

#endif
