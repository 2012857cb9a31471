/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search for the MTU of the path to one peer, in the spirit of RFC 8899 (DPLPMTUD): probes
 * padded to a size, inside the session, whose authenticated answers say what size has arrived. ICMP
 * of the underlay is never asked. Pure: no I/O, time is an argument, the owner sends the probes.
 *
 * All sizes here are of outer IP packets, headers included, which is how MTUs are counted; each
 * side searches its own direction.
 *
 *   IDLE     nothing is known, nothing is asked: there is no session, or the search is off
 *   SEARCH   a size is being probed, `passed` < size < `failed`. While `raising`, an earlier result
 *            holds; otherwise nothing is final yet
 *   DONE     the result is `passed`; 0: no size got through, to be tried again
 *   CONFIRM  the result is being probed again
 *
 *   IDLE ──start──▶ SEARCH ──nothing left to try──▶ DONE ──look, 5 s, traffic──▶ CONFIRM
 *                     ▲  ▲                           │ ▲                            │  │
 *                     │  └──look, raise_after────────┘ └──────────answer────────────┘  │
 *                     └──────────────────── no answer: a black hole ───────────────────┘
 *   any ──start (the path is another one)──▶ SEARCH;    any ──pause (session over)──▶ IDLE or DONE
 */
#ifndef VAND_PMTU_H
#define VAND_PMTU_H

#include <stdbool.h>
#include <stdint.h>

#define PMTU_ETHERNET  1500 /* where larger ones end, as a rule */
#define PMTU_BASE      1280 /* passes wherever IPv6 does (RFC 8200 §5) */
#define PMTU_FLOOR_IP4 576  /* RFC 1122 §3.3.2: every host takes it. What to fall back to */
#define PMTU_FLOOR_IP6 1280

#define PMTU_TRIES          3            /* of a size, before it counts as too large */
#define PMTU_WAIT_NS        200000000ull /* for the first answer; doubled with each try */
#define PMTU_WAIT_MIN_NS    100000000ull /* … where the round trip is known: four of them, within */
#define PMTU_WAIT_MAX_NS    1000000000ull
#define PMTU_CONFIRM_NS     5000000000ull   /* between two looks whether it still passes */
#define PMTU_AGAIN_NS       10000000000ull  /* after a search in which nothing passed */
#define PMTU_RAISE_NS       600000000000ull /* RFC 8899 §5.1.1: PMTU_RAISE_TIMER */
#define PMTU_TRAFFIC_FACTOR 4 /* a check for each so many full packets' worth of data sent */

enum pmtu_state { PMTU_IDLE, PMTU_SEARCH, PMTU_DONE, PMTU_CONFIRM };

/* Zeroed: IDLE. */
struct pmtu {
	enum pmtu_state state;
	uint16_t floor;     /* the smallest size worth trying */
	uint16_t base;      /* what to make do with while there is doubt */
	uint16_t ceiling;   /* the largest that can pass: what the interfaces at both ends take */
	uint16_t passed;    /* the largest that was answered; 0: none */
	uint16_t failed;    /* the smallest that was not; above the ceiling: none */
	uint16_t size;      /* in SEARCH and CONFIRM: what is being probed … */
	uint8_t tries;      /* … so many times so far */
	bool raising;       /* SEARCH: above a result that holds */
	bool suspect;       /* probes get lost: what was thought to pass may not */
	bool fresh;         /* started since the last look */
	uint32_t round;     /* answers to probes of an earlier one do not count */
	uint64_t due_ns;    /* SEARCH, CONFIRM: of the next probe */
	uint64_t sent_ns;   /* of the last one */
	uint64_t rtt_ns;    /* of the last one that was answered at once; 0: unknown */
	uint64_t proven_ns; /* when the result was last seen to pass */
	uint64_t proven_bytes; /* sent until the check before */
	uint64_t searched_ns;  /* when the last search ended */
};

/* Begins anew for a path of which nothing is known. ceiling below floor: floor is lowered to it. */
void pmtu_start(struct pmtu *p, uint16_t floor, uint16_t ceiling, uint64_t now_ns);

/* The session is over: no more probes. What a finished search has found is kept. */
void pmtu_pause(struct pmtu *p);

/*
 * To be called now and then (once a second) in a session: begins a check where one is due.
 * sent_bytes: of data sent to the peer so far, ever increasing. A session that carries next to
 * nothing is not probed.
 */
void pmtu_look(struct pmtu *p, uint64_t sent_bytes, uint64_t raise_after_ns, uint64_t now_ns);

/*
 * The size of a probe to be sent now, or 0. To be called at pmtu_due_ns() and after every other
 * call. A probe has to leave whole (with DF) or not at all: where the system refuses it as too
 * large for the interface, call pmtu_refused(), and again.
 */
uint16_t pmtu_poll(struct pmtu *p, uint64_t now_ns);
void pmtu_refused(struct pmtu *p, uint64_t now_ns);
/* UINT64_MAX: never, unless something happens. */
uint64_t pmtu_due_ns(const struct pmtu *p);

/* A probe of that size, sent in that round, has arrived. Late answers count; senseless ones do not.
 */
void pmtu_answer(struct pmtu *p, uint32_t round, uint16_t size, uint64_t now_ns);

/* The largest packet to be sent whole; 0: not known, send everything whole. */
uint16_t pmtu_limit(const struct pmtu *p);
/* True when the limit is what was found out, and not what to make do with until it is. */
bool pmtu_is_final(const struct pmtu *p);

#endif
