/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Initiating. An attempt is a row of INITs, each with an ephemeral key, index and stamp of its own
 * (the responder answers a stamp once, so that a RESP which got lost is made up for by a new INIT),
 * of which only the last one's RESP is accepted.
 *
 *   NONE   ──want, rekey, silent, new candidates──▶ ACTIVE
 *   ACTIVE ──RESP, or the peer's INIT confirmed───▶ NONE
 *   ACTIVE ──give_up──▶ NONE, or SLOW (an INIT every 30 s) where it is worth it
 *   SLOW   ──want, new candidates, underlay changed──▶ ACTIVE
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "lib/clock.h"
#include "vand/session_internal.h"

/* INITs between two nodes behind NAT before we say that there is no path. */
#define BOTH_NAT_TRIES 4

size_t session_targets(const struct session *p, const struct endpoint **ret_targets)
{
	size_t n = 0;

	if (p->peer.endpoint)
		ret_targets[n++] = p->peer.endpoint;
	for (size_t i = 0; i < p->candidate_count; i++) {
		bool known = false;

		for (size_t j = 0; j < n && !known; j++)
			known = endpoint_same_remote(ret_targets[j], &p->candidates[i]);
		if (!known)
			ret_targets[n++] = &p->candidates[i];
	}
	return n;
}

void session_handshake_drop(struct session *p)
{
	struct sessions *s = p->engine;

	if (!p->handshake)
		return;
	table_remove(&s->handshakes, p->handshake_index);
	keyarena_give(s->secrets, p->handshake);
	p->handshake = NULL;
	p->handshake_index = 0;
	sodium_memzero(p->handshake_mac1, sizeof(p->handshake_mac1));
}

/* Makes the INIT, and enters its handshake as the one whose RESP is awaited. */
static int make_init(struct session *p, const struct endpoint *first_target, uint64_t now_ns,
	struct message_init *ret_msg)
{
	struct sessions *s = p->engine;
	struct handshake_info info = {.epoch = s->io.epoch(s->io.ctx), .lanes = s->lanes};
	struct handshake *h = keyarena_take(s->secrets);
	struct key ephemeral;
	bool with_cookie;
	uint32_t index;
	int r;

	if (!h)
		return -ENOMEM;
	if (s->io.underlay_mtu)
		info.mtu = s->io.underlay_mtu(s->io.ctx, first_target);
	index = session_new_index(s);
	r = s->io.next_stamp(s->io.ctx, info.stamp);
	if (r < 0 && log_limit_pass(&s->stamp_warnings, now_ns, 60 * NS_PER_S, 1))
		log_warn("no handshakes: the time stamp for them cannot be kept (%s)", err_name(r));
	if (r == 0) {
		randombytes_buf(ephemeral.bytes, sizeof(ephemeral.bytes));
		r = handshake_create_init(
			&s->self, &p->peer.public_key, &ephemeral, index, &info, ret_msg, h);
		sodium_memzero(&ephemeral, sizeof(ephemeral));
	}
	if (r == 0)
		r = table_set(&s->handshakes, index, p, NULL);
	if (r < 0) {
		keyarena_give(s->secrets, h);
		return r;
	}
	/* A cookie serves once. Should the responder not know it any more, the next INIT goes
	 * without. */
	with_cookie = p->cookie_valid && timers_since(now_ns, p->cookie_ns) < COOKIE_LIFETIME_NS;
	p->cookie_valid = false;
	cookie_add_macs(&p->peer_keys, with_cookie ? p->cookie : NULL, (uint8_t *)ret_msg,
		sizeof(*ret_msg));
	session_handshake_drop(p);
	p->handshake = h;
	p->handshake_index = index;
	memcpy(p->handshake_mac1, ret_msg->mac1, sizeof(p->handshake_mac1));
	return 0;
}

static void send_init(struct session *p, uint64_t now_ns)
{
	struct sessions *s = p->engine;
	const struct endpoint *targets[NETMAP_TEPS_MAX + 1];
	size_t n = session_targets(p, targets);
	struct message_init msg;
	int r;

	if (n == 0)
		return;
	/* A session that works is rekeyed where it is; only then other addresses are asked too. */
	if (p->peer.current && p->peer.endpoint && !p->silent && p->tries < 2)
		n = 1;
	r = make_init(p, targets[0], now_ns, &msg);
	if (r < 0) {
		log_debug("no handshake with %s this time: %s", p->peer.name, err_name(r));
		return; /* the retry timer is set: as if it were lost */
	}
	p->yielded = false;
	stats_count(s->counters, STAT_init_sent, 1);
	for (size_t i = 0; i < n; i++)
		(void)s->io.send(s->io.ctx, targets[i], &msg, sizeof(msg));
}

/* Slow retries are for peers that are likely to come back, or that cannot reach us by themselves.
 */
static bool is_worth_it(const struct session *p)
{
	return p->engine->behind_nat || (p->peer.flags & NETMAP_NAT) || p->was_connected;
}

static void give_up(struct session *p, uint64_t now_ns)
{
	struct sessions *s = p->engine;

	session_attempt_stop(p);
	/* The peer may be heard all the same; then the keys serve until their end. */
	if (p->peer.current && session_last_received(p) > p->attempt_since_ns)
		return;
	session_drop_keys(p, UINT64_MAX);
	p->no_path = true;
	if (is_worth_it(p)) {
		p->attempt = ATTEMPT_SLOW;
		timers_set(
			&s->timers, &p->retry, now_ns + timers_slow_retry_ns(randombytes_random()));
	}
	session_show(p);
}

void session_attempt_schedule(struct session *p, uint64_t at_ns)
{
	p->attempt = ATTEMPT_ACTIVE;
	p->tries = 0;
	timers_set(&p->engine->timers, &p->retry, at_ns);
}

void session_attempt_start(struct session *p, uint64_t now_ns)
{
	session_attempt_schedule(p, now_ns);
	session_attempt_due(p, now_ns);
}

void session_attempt_stop(struct session *p)
{
	timers_clear(&p->engine->timers, &p->retry);
	session_handshake_drop(p);
	sodium_memzero(p->cookie, sizeof(p->cookie));
	p->cookie_valid = false;
	p->attempt = ATTEMPT_NONE;
	p->tries = 0;
}

void session_attempt_due(struct session *p, uint64_t now_ns)
{
	struct sessions *s = p->engine;
	uint64_t give_up_at_ns, next_ns;

	if (!p->peer.endpoint && p->candidate_count == 0) {
		/* New candidates start anew. */
		session_attempt_stop(p);
		p->no_path = true;
		session_show(p);
		return;
	}
	if (p->attempt == ATTEMPT_SLOW) {
		send_init(p, now_ns);
		timers_set(
			&s->timers, &p->retry, now_ns + timers_slow_retry_ns(randombytes_random()));
		return;
	}
	if (p->tries == 0)
		p->attempt_since_ns = now_ns;
	give_up_at_ns = p->attempt_since_ns + s->times.give_up;
	if (p->tries > 0 && now_ns >= give_up_at_ns) {
		give_up(p, now_ns);
		return;
	}
	send_init(p, now_ns);
	p->tries++;
	/* Hopeless, and worth to be told soon; trying goes on, for NAT may be a port forwarding. */
	if (p->tries > BOTH_NAT_TRIES && s->behind_nat && (p->peer.flags & NETMAP_NAT) &&
		!p->peer.current)
		p->no_path = true;
	next_ns = now_ns + timers_retry_ns(p->tries, randombytes_random());
	timers_set(&s->timers, &p->retry, next_ns < give_up_at_ns ? next_ns : give_up_at_ns);
	session_show(p);
}

void session_attempt_yield(struct session *p, uint64_t now_ns)
{
	struct sessions *s = p->engine;

	/* Once for each INIT of ours, so that nobody can put us off for ever by INITs that he
	 * recorded and that come to nothing. For that reason the one that is out is not forgotten
	 * here either, but when a new key is in use. */
	if (p->attempt == ATTEMPT_NONE || p->yielded)
		return;
	p->yielded = true;
	if (p->retry.due_ns < now_ns + SESSION_YIELD_NS)
		timers_set(&s->timers, &p->retry, now_ns + SESSION_YIELD_NS);
}
