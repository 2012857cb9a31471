/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path MTU search (vand/pmtu.h) of each session: when it begins, what its probes look like, and
 * what workers are told.
 *
 * It begins with the first key for an end point. Rekeying does not disturb it, nor does a pause
 * without a session: what was found holds, and is confirmed when data flows again. It begins anew
 * when the end point is another one, or an interface at either end takes something else.
 *
 * Probes leave on the control lane, from the main port. They do not count as data: they neither keep
 * a session alive, nor does their loss make the peer look silent.
 */
#include <errno.h>
#include "vand/session_internal.h"

#define UDP_HEADER_LEN 8

/* Interfaces of more than that are not asked to prove it: a frame of the largest network fits. */
#define CEILING_MAX ((uint16_t)9216)
/* Where neither side knows what its interface takes. */
#define CEILING_UNKNOWN 1500

static_assert(CEILING_MAX <= SESSION_SEND_MAX, "a probe fits its buffer");

static bool is_ip4(const struct session *p)
{
	return p->peer.endpoint->remote.sa.sa_family == AF_INET;
}

/* Bytes of an outer IP packet that are not the body of the message. */
static size_t overhead(const struct session *p)
{
	return MESSAGE_OVERHEAD + UDP_HEADER_LEN + (is_ip4(p) ? 20 : 40);
}

/* What the interfaces at both ends take; what ICMP may have told the kernel does not count. */
static uint16_t ceiling_of(const struct session *p)
{
	const struct session_io *io = &p->engine->io;
	uint16_t own = io->underlay_mtu ? io->underlay_mtu(io->ctx, p->peer.endpoint) : 0;
	uint16_t ceiling = own ? own : CEILING_UNKNOWN;

	if (p->peer_mtu && p->peer_mtu < ceiling)
		ceiling = p->peer_mtu;
	return ceiling < CEILING_MAX ? ceiling : CEILING_MAX;
}

/* Tells the workers. */
static void publish(struct session *p)
{
	uint16_t limit = pmtu_limit(&p->pmtu), frame_max = UINT16_MAX;

	if (limit && p->peer.endpoint)
		frame_max = limit > overhead(p) ? (uint16_t)(limit - overhead(p)) : 0;
	peer_set_path(&p->peer, frame_max, pmtu_is_final(&p->pmtu));
}

void session_path_changed(struct session *p)
{
	struct sessions *s = p->engine;

	if (!s->pmtu_raise_ns || !p->peer.current)
		return;
	p->path_changed = true;
	timers_set(&s->timers, &p->path, 0);
}

/* A new search, if the path may be another one. */
static void look_at_path(struct session *p, uint64_t now_ns)
{
	uint16_t ceiling = ceiling_of(p);

	if (p->pmtu.state != PMTU_IDLE && p->pmtu.ceiling == ceiling &&
		endpoint_same_remote(&p->pmtu_of, p->peer.endpoint))
		return;
	p->pmtu_of = *p->peer.endpoint;
	pmtu_start(&p->pmtu, is_ip4(p) ? PMTU_FLOOR_IP4 : PMTU_FLOOR_IP6, ceiling, now_ns);
}

static int send_probe(struct session *p, uint16_t size, uint64_t now_ns)
{
	uint64_t token = MESSAGE_TOKEN_PMTU | (p->pmtu.round & MESSAGE_TOKEN_PMTU_MASK);

	if (size < overhead(p))
		return -EMSGSIZE;
	stats_count(p->engine->counters, STAT_pmtu_probes, 1);
	return session_send_probe(p, token, size - overhead(p), now_ns);
}

void session_path_due(struct session *p, uint64_t now_ns)
{
	struct sessions *s = p->engine;
	uint16_t size;

	if (!p->peer.current || !p->peer.endpoint) {
		pmtu_pause(&p->pmtu);
		timers_clear(&s->timers, &p->path);
	} else {
		if (p->path_changed)
			look_at_path(p, now_ns);
		p->path_changed = false;
		/* Bounded: what is refused is not asked again, and the search halves what is left. */
		while ((size = pmtu_poll(&p->pmtu, now_ns)) != 0) {
			if (send_probe(p, size, now_ns) == -EMSGSIZE)
				pmtu_refused(&p->pmtu, now_ns);
		}
		if (pmtu_due_ns(&p->pmtu) != UINT64_MAX)
			timers_set(&s->timers, &p->path, pmtu_due_ns(&p->pmtu));
		else
			timers_clear(&s->timers, &p->path);
	}
	publish(p);
}

/* With all keys so far. Probes are not counted. */
static uint64_t bytes_sent(const struct session *p)
{
	struct keypair *slots[SESSION_SLOTS];
	uint64_t bytes = p->peer.retired.tx_bytes;

	session_slots(p, slots);
	for (size_t i = 0; i < SESSION_SLOTS; i++) {
		for (unsigned int lane = 0; slots[i] && lane < slots[i]->local_lanes; lane++)
			bytes += stats_read(&slots[i]->tx[lane].bytes);
	}
	return bytes;
}

void session_path_look(struct session *p, uint64_t now_ns)
{
	struct sessions *s = p->engine;

	if (!s->pmtu_raise_ns || p->pmtu.state != PMTU_DONE)
		return;
	pmtu_look(&p->pmtu, bytes_sent(p), s->pmtu_raise_ns, now_ns);
	if (p->pmtu.state != PMTU_DONE)
		session_path_due(p, now_ns);
}

void session_path_answer(struct session *p, uint64_t token, size_t len, uint64_t now_ns)
{
	size_t size;

	if (!p->peer.current || !p->peer.endpoint ||
		(token & MESSAGE_TOKEN_PMTU_MASK) != (p->pmtu.round & MESSAGE_TOKEN_PMTU_MASK))
		return; /* of an earlier search */
	size = len + overhead(p);
	if (size > UINT16_MAX)
		return;
	pmtu_answer(&p->pmtu, p->pmtu.round, (uint16_t)size, now_ns);
	session_path_due(p, now_ns);
}
