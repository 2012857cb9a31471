/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshake messages. The order of checks is by cost, and nothing is answered before somebody has
 * proved to know our public key (mac1), nothing but a COOKIE before he has proved to be a peer:
 *
 *   type, version, length → mac1 → [INIT] mac2, load, address bucket → Noise (two
 *   Diffie-Hellman) → is it a peer? → stamp → peer's bucket → crossing → answer
 *
 * Whatever is dropped is counted once, under one name.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "lib/log.h"
#include "vand/session_internal.h"

static uint16_t mtu_towards(struct sessions *s, const struct endpoint *to)
{
	return s->io.underlay_mtu ? s->io.underlay_mtu(s->io.ctx, to) : 0;
}

static void note_info(struct session *p, const struct handshake_info *info, uint64_t now_ns)
{
	p->peer_epoch = info->epoch;
	p->peer_mtu = info->mtu;
	p->peer_lanes = info->lanes;
	p->last_received_ns = now_ns;
}

/* -- INIT -- */

/* mac2 and the limits. True when the INIT is worth two Diffie-Hellman; else it is counted, and
 * answered with a COOKIE if there are too many, on the whole or from its address. */
static bool init_is_affordable(struct sessions *s, const struct message_init *msg,
	const struct endpoint *from, uint64_t now_ns)
{
	const uint8_t *bytes = (const uint8_t *)msg;
	bool under_load = cookie_under_load(&s->guard, now_ns);
	bool has_mac2 = !cookie_mac2_is_zero(bytes, sizeof(*msg));
	bool proven = has_mac2 && cookie_check_mac2(&s->guard, bytes, sizeof(*msg), from, now_ns);
	struct message_cookie cookie;
	uint8_t nonce[24];

	if (has_mac2 && !proven && !under_load) {
		/* The sender comes again without: a cookie serves once. */
		stats_drop(s->counters, DROP_bad_cookie);
		return false;
	}
	if (proven || !under_load) {
		if (cookie_address_pass(&s->guard, from, proven, now_ns))
			return true;
		if (proven) {
			stats_drop(s->counters, DROP_handshake_limit);
			return false;
		}
	}
	stats_drop(s->counters, DROP_under_load);
	randombytes_buf(nonce, sizeof(nonce));
	cookie_create(&s->guard, &s->own_keys, bytes, sizeof(*msg), message_index(msg->sender),
		from, nonce, now_ns, &cookie);
	if (s->io.send(s->io.ctx, from, &cookie, sizeof(cookie)) == 0)
		stats_count(s->counters, STAT_cookie_sent, 1);
	return false;
}

/* True when our own INIT to this peer is on its way, was not sent long ago, and counts more. */
static bool ours_wins(const struct session *p, uint64_t now_ns)
{
	const struct key *own = &p->engine->self.identity->public;

	return p->handshake && p->attempt == ATTEMPT_ACTIVE &&
	       memcmp(own->bytes, p->peer.public_key.bytes, KEY_LEN) < 0 &&
	       timers_since(now_ns, p->attempt_since_ns) < SESSION_CROSSING_NS;
}

/* The INIT is by a peer and authentic. True when it is to be answered; else it is counted. */
static bool init_is_welcome(struct session *p, const struct handshake_info *info, uint64_t now_ns)
{
	struct counters *c = p->engine->counters;

	/* Stamps are public; an INIT that is not newer is a replay, or a copy by another path. */
	if (memcmp(info->stamp, p->greatest_stamp, sizeof(info->stamp)) <= 0) {
		stats_drop(c, DROP_stale_init);
		return false;
	}
	if (!cookie_bucket_take(&p->inits, SESSION_INIT_RATE, SESSION_INIT_BURST, now_ns)) {
		stats_drop(c, DROP_handshake_limit);
		return false;
	}
	memcpy(p->greatest_stamp, info->stamp, sizeof(p->greatest_stamp));
	stats_count(c, STAT_init_received, 1);
	note_info(p, info, now_ns);
	if (ours_wins(p, now_ns)) {
		stats_drop(c, DROP_crossed_init);
		return false;
	}
	return true;
}

static void answer_init(struct session *p, struct handshake *h, const struct handshake_info *theirs,
	const struct endpoint *from, uint64_t now_ns)
{
	struct sessions *s = p->engine;
	struct handshake_info ours = {
		.epoch = s->io.epoch(s->io.ctx), .lanes = s->lanes, .mtu = mtu_towards(s, from)};
	uint32_t index = session_new_index(s), remote_index = h->remote_index;
	struct handshake_keys keys;
	struct message_resp resp;
	struct key ephemeral;
	struct keypair *k;
	int r;

	randombytes_buf(ephemeral.bytes, sizeof(ephemeral.bytes));
	r = handshake_create_resp(&s->self, h, &ephemeral, index, &ours, &resp, &keys);
	sodium_memzero(&ephemeral, sizeof(ephemeral));
	if (r < 0) {
		log_debug("no answer to %s: %s", p->peer.name, err_name(r));
		return;
	}
	k = session_keypair_new(p, &keys, index, remote_index, theirs->lanes, false, now_ns);
	handshake_keys_wipe(&keys);
	if (!k)
		return;
	session_install(p, k, now_ns);
	p->next_from = *from;
	p->next_from_valid = true;
	session_attempt_yield(p, now_ns);
	cookie_add_macs(&p->peer_keys, NULL, (uint8_t *)&resp, sizeof(resp));
	stats_count(s->counters, STAT_resp_sent, 1);
	(void)s->io.send(s->io.ctx, from, &resp, sizeof(resp));
}

static void receive_init(struct sessions *s, const struct message_init *msg,
	const struct endpoint *from, uint64_t now_ns)
{
	struct handshake_info info;
	struct handshake h;
	struct key public_key;
	struct peer *peer;

	if (!init_is_affordable(s, msg, from, now_ns))
		return;
	if (handshake_consume_init(&s->self, msg, &h, &public_key, &info) < 0) {
		stats_drop(s->counters, DROP_bad_handshake);
		return;
	}
	peer = sessions_find_key(s, &public_key);
	if (!peer) {
		stats_drop(s->counters, DROP_stranger);
	} else if (init_is_welcome(session_of(peer), &info, now_ns)) {
		answer_init(session_of(peer), &h, &info, from, now_ns);
		session_show(session_of(peer));
	}
	handshake_wipe(&h);
}

/* -- RESP -- */

static void receive_resp(struct sessions *s, const struct message_resp *msg,
	const struct endpoint *from, uint64_t now_ns)
{
	uint32_t index = message_index(msg->receiver);
	struct session *p = table_get(&s->handshakes, index);
	struct handshake_info info;
	struct handshake_keys keys;
	struct keypair *k;

	/* In version 1 nobody answers a RESP with a COOKIE, so nobody has one to put in here. */
	if (!cookie_mac2_is_zero((const uint8_t *)msg, sizeof(*msg))) {
		stats_drop(s->counters, DROP_bad_cookie);
		return;
	}
	if (!p) {
		stats_drop(s->counters, DROP_unknown_index);
		return;
	}
	/* Only who saw our INIT knows the index; not even he is to keep us busy. */
	if (!cookie_bucket_take(&p->resps, SESSION_RESP_RATE, SESSION_RESP_BURST, now_ns)) {
		stats_drop(s->counters, DROP_handshake_limit);
		return;
	}
	if (handshake_consume_resp(&s->self, p->handshake, msg, &info, &keys) < 0) {
		stats_drop(s->counters, DROP_bad_handshake);
		return;
	}
	stats_count(s->counters, STAT_resp_received, 1);
	note_info(p, &info, now_ns);
	session_set_endpoint(p, from);
	k = p->peer.endpoint ? session_keypair_new(p, &keys, index, message_index(msg->sender),
				       info.lanes, true, now_ns)
			     : NULL;
	handshake_keys_wipe(&keys);
	if (!k)
		return; /* no memory: the retry timer tries again */
	session_install(p, k, now_ns);
	p->confirm_tries = 0;
	session_confirm(p, now_ns);
	session_show(p);
}

/* -- COOKIE -- */

static void receive_cookie(struct sessions *s, const struct message_cookie *msg, uint64_t now_ns)
{
	struct session *p = table_get(&s->handshakes, message_index(msg->receiver));

	if (!p || !cookie_open(&p->peer_keys, msg, p->handshake_mac1, p->cookie)) {
		stats_drop(s->counters, DROP_bad_cookie);
		return;
	}
	/* The next INIT has it. That one goes when it would have gone anyway: not to add to the
	 * load. */
	p->cookie_valid = true;
	p->cookie_ns = now_ns;
	stats_count(s->counters, STAT_cookie_received, 1);
}

void sessions_receive(struct sessions *s, const uint8_t *msg, size_t len,
	const struct endpoint *from, uint64_t now_ns)
{
	static const size_t lengths[] = {[MESSAGE_INIT] = sizeof(struct message_init),
		[MESSAGE_RESP] = sizeof(struct message_resp),
		[MESSAGE_COOKIE] = sizeof(struct message_cookie)};
	/* All these structs are bytes only, so any address is aligned for them. */
	const struct message_init *head = (const struct message_init *)msg;

	if (len < 4) {
		stats_drop(s->counters, DROP_runt);
		return;
	}
	if (head->type < MESSAGE_INIT || head->type > MESSAGE_COOKIE ||
		head->version != MESSAGE_VERSION || head->reserved[0] || head->reserved[1]) {
		stats_drop(s->counters, DROP_unknown_type);
		return;
	}
	if (len != lengths[head->type]) {
		stats_drop(s->counters, DROP_runt);
		return;
	}
	if (head->type != MESSAGE_COOKIE && !cookie_check_mac1(&s->own_keys, msg, len)) {
		stats_drop(s->counters, DROP_bad_mac1);
		return;
	}
	session_enter(s);
	if (head->type == MESSAGE_INIT)
		receive_init(s, head, from, now_ns);
	else if (head->type == MESSAGE_RESP)
		receive_resp(s, (const struct message_resp *)msg, from, now_ns);
	else
		receive_cookie(s, (const struct message_cookie *)msg, now_ns);
	session_leave(s);
}
