/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the search goes.
 *
 * The ceiling first: in most networks it passes, and the search is over after one probe. Otherwise
 * Ethernet's MTU, if the ceiling is a jumbo frame's; the base size; and if even that one gets lost,
 * the floor. Then what is left between the largest that passed and the smallest that did not is
 * halved, to the byte, since what comes out is told to local programs as an MTU.
 *
 * A size counts as too large after PMTU_TRIES probes without an answer. That may be wrong where
 * packets get lost or are late, so an answer counts whenever it comes: one for a size that was given
 * up puts the bounds right again. Answers of an earlier round say nothing about the path as it is
 * now.
 *
 * While a search is not final and a probe has been lost, the limit is the base size: better in two
 * pieces than not at all. What was proven counts at once.
 *
 * A black hole (the path takes less than it did) shows when the result, probed again, is not
 * answered any more. That is asked every few seconds, but only while data is sent: the probes are a
 * small share of it, and an idle session costs nothing. Whether the path takes more than it did is
 * asked every ten minutes: the ceiling, and the next byte above the result. If neither passes,
 * nothing has changed.
 */
#include "vand/pmtu.h"

static uint64_t since(uint64_t now_ns, uint64_t then_ns)
{
	return now_ns > then_ns ? now_ns - then_ns : 0;
}

static void probe(struct pmtu *p, enum pmtu_state state, uint16_t size, uint64_t now_ns)
{
	p->state = state;
	p->size = size;
	p->tries = 0;
	p->due_ns = now_ns;
}

static void done(struct pmtu *p, uint64_t now_ns)
{
	p->state = PMTU_DONE;
	p->suspect = false;
	p->raising = false;
	p->searched_ns = now_ns;
}

/* What to try next, between the bounds. */
static void pick(struct pmtu *p, uint64_t now_ns)
{
	uint16_t size;

	if (p->failed > p->ceiling)
		size = p->ceiling;
	else if (p->passed < PMTU_ETHERNET && p->failed > PMTU_ETHERNET)
		size = PMTU_ETHERNET;
	else if (p->passed < p->base && p->failed > p->base)
		size = p->base;
	else if (!p->passed)
		size = p->floor;
	else if (p->raising && (p->size == p->ceiling || p->size == PMTU_ETHERNET))
		size = p->passed + 1;
	else
		size = (uint16_t)(p->passed + (p->failed - p->passed) / 2);
	if (size <= p->passed || size >= p->failed)
		done(p, now_ns);
	else
		probe(p, PMTU_SEARCH, size, now_ns);
}

static void search(struct pmtu *p, bool raising, uint64_t now_ns)
{
	p->round++;
	p->raising = raising;
	p->failed = p->ceiling + 1;
	if (!raising)
		p->passed = 0;
	pick(p, now_ns);
}

void pmtu_start(struct pmtu *p, uint16_t floor, uint16_t ceiling, uint64_t now_ns)
{
	if (ceiling == 0 || ceiling == UINT16_MAX)
		ceiling = ceiling ? UINT16_MAX - 1 : 1; /* room for a bound on either side */
	p->floor = floor < ceiling ? floor : ceiling;
	p->base = PMTU_BASE < ceiling ? PMTU_BASE : ceiling;
	p->ceiling = ceiling;
	p->suspect = false;
	p->fresh = true;
	p->rtt_ns = 0;
	search(p, false, now_ns);
}

void pmtu_pause(struct pmtu *p)
{
	if (p->state == PMTU_CONFIRM || (p->state == PMTU_SEARCH && p->raising))
		done(p, p->searched_ns);
	else if (p->state == PMTU_SEARCH)
		p->state = PMTU_IDLE;
	if (p->state == PMTU_IDLE) {
		p->passed = 0;
		p->suspect = false;
	}
}

void pmtu_look(struct pmtu *p, uint64_t sent_bytes, uint64_t raise_after_ns, uint64_t now_ns)
{
	uint64_t enough = PMTU_TRAFFIC_FACTOR * (uint64_t)(p->passed ? p->passed : p->ceiling);

	if (p->state != PMTU_DONE)
		return;
	if (p->fresh) {
		p->fresh = false;
		p->proven_bytes = sent_bytes;
	}
	/* Only what has just been confirmed is a ground to look for more. */
	if (p->passed && since(now_ns, p->proven_ns) < PMTU_CONFIRM_NS) {
		if (p->passed < p->ceiling && since(now_ns, p->searched_ns) >= raise_after_ns)
			search(p, true, now_ns);
	} else if (sent_bytes - p->proven_bytes >= enough) {
		p->proven_bytes = sent_bytes;
		if (p->passed) {
			p->round++;
			probe(p, PMTU_CONFIRM, p->passed, now_ns);
		} else if (since(now_ns, p->searched_ns) >= PMTU_AGAIN_NS) {
			search(p, false, now_ns);
		}
	}
}

static uint64_t wait_ns(const struct pmtu *p)
{
	uint64_t wait = PMTU_WAIT_NS;

	if (p->rtt_ns) {
		wait = 4 * p->rtt_ns;
		if (wait < PMTU_WAIT_MIN_NS)
			wait = PMTU_WAIT_MIN_NS;
		if (wait > PMTU_WAIT_MAX_NS)
			wait = PMTU_WAIT_MAX_NS;
	}
	return wait << (p->tries - 1);
}

/* The size in question does not pass. */
static void fail(struct pmtu *p, uint64_t now_ns)
{
	if (p->state == PMTU_CONFIRM) {
		p->suspect = true;
		search(p, false, now_ns);
		return;
	}
	p->failed = p->size;
	p->suspect = !p->raising;
	pick(p, now_ns);
}

uint16_t pmtu_poll(struct pmtu *p, uint64_t now_ns)
{
	if ((p->state != PMTU_SEARCH && p->state != PMTU_CONFIRM) || now_ns < p->due_ns)
		return 0;
	if (p->tries == PMTU_TRIES) {
		fail(p, now_ns);
		if (p->state == PMTU_DONE)
			return 0;
	}
	/* In a search one loss is enough to be careful: nothing was proven yet. A result that has
	 * held so far is given a second chance. */
	if ((p->state == PMTU_SEARCH && !p->raising && p->tries >= 1) ||
		(p->state == PMTU_CONFIRM && p->tries >= 2))
		p->suspect = true;
	p->tries++;
	p->sent_ns = now_ns;
	p->due_ns = now_ns + wait_ns(p);
	return p->size;
}

void pmtu_refused(struct pmtu *p, uint64_t now_ns)
{
	if (p->state == PMTU_SEARCH || p->state == PMTU_CONFIRM)
		fail(p, now_ns);
}

uint64_t pmtu_due_ns(const struct pmtu *p)
{
	return p->state == PMTU_SEARCH || p->state == PMTU_CONFIRM ? p->due_ns : UINT64_MAX;
}

void pmtu_answer(struct pmtu *p, uint32_t round, uint16_t size, uint64_t now_ns)
{
	if (p->state == PMTU_IDLE || round != p->round || size < p->floor || size > p->ceiling)
		return;
	if (size == p->size && p->tries == 1 && p->state != PMTU_DONE)
		p->rtt_ns = since(now_ns, p->sent_ns) + 1;
	if (p->failed <= size)
		p->failed = size + 1;
	if (size >= p->passed) {
		p->passed = size;
		p->proven_ns = now_ns;
	}
	if (p->state == PMTU_SEARCH && size >= p->size)
		pick(p, now_ns);
	else if (p->state == PMTU_CONFIRM && size >= p->size)
		done(p, p->searched_ns);
}

uint16_t pmtu_limit(const struct pmtu *p)
{
	bool doubtful = p->state == PMTU_CONFIRM && p->suspect;

	if (p->passed && !(doubtful && p->passed > p->base))
		return p->passed;
	if (!p->suspect)
		return 0;
	return p->failed > p->base ? p->base : p->floor;
}

bool pmtu_is_final(const struct pmtu *p)
{
	switch (p->state) {
	case PMTU_IDLE:
		return false;
	case PMTU_SEARCH:
		return p->raising;
	case PMTU_CONFIRM:
		return !p->suspect;
	case PMTU_DONE:
		return p->passed != 0;
	}
	return false;
}
