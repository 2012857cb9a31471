/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots. How rekeying loses nothing:
 *
 *             initiator                                responder
 *   INIT out  current = K1                             current = K1
 *             INIT ───────────────────────────────────▶ next = K2; still sends on K1
 *   RESP in   previous = K1, current = K2 ◀──────────── RESP
 *             sends on K2, a keepalive at once ───────▶ opened on next: previous = K1, current = K2
 *             opens K1 (previous) and K2                sends on K2; opens K1 (previous) and K2
 *
 * At every moment each side sends on a key that the other one can open: the initiator has K2 only
 * after the responder made it, and the responder uses it only after the initiator proved to have
 * it. What is overtaken on the way finds its key in `previous`, which lives until the next key but
 * one or its own end.
 *
 * Where both initiate at once and neither gives way in time (a round trip above
 * SESSION_CROSSING_NS), two new keys come into use within moments, and each side may end up sending
 * on the one that it initiated. For this there is `older`: both new keys and the one before them
 * have a slot. The next rekeying makes one of two.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>
#include "vand/session_internal.h"

uint32_t session_new_index(struct sessions *s)
{
	uint32_t index;

	do {
		index = randombytes_random();
	} while (index == 0 || table_get(&s->indices, index) || table_get(&s->handshakes, index));
	return index;
}

struct keypair *session_keypair_new(struct session *p, const struct handshake_keys *keys,
	uint32_t local_index, uint32_t remote_index, uint8_t remote_lanes, bool initiator,
	uint64_t now_ns)
{
	struct sessions *s = p->engine;
	struct keypair *k = keyarena_take(s->keypairs);
	const size_t tx_size = s->lanes * sizeof(*k->tx);

	if (!k)
		return NULL;
	k->tx = aligned_alloc(_Alignof(struct lane_tx), tx_size);
	if (!k->tx)
		goto err_arena;
	memset(k->tx, 0, tx_size);
	if (seal_key_init(s->backend, &k->send, keys->send.key, keys->send.salt) < 0)
		goto err_tx;
	if (seal_key_init(s->backend, &k->recv, keys->recv.key, keys->recv.salt) < 0)
		goto err_send;
	k->peer = &p->peer;
	k->local_index = local_index;
	k->remote_index = remote_index;
	k->local_lanes = s->lanes;
	k->remote_lanes = remote_lanes;
	k->initiator = initiator;
	k->created_ns = now_ns;
	atomic_store(&k->confirmed, initiator);
	if (table_set(&s->indices, local_index, k, NULL) < 0)
		goto err_recv;
	stats_count(s->counters, STAT_sessions_made, 1);
	if (p->peer.current)
		stats_count(s->counters, STAT_rekeys, 1);
	return k;

err_recv:
	seal_key_done(s->backend, &k->recv);
err_send:
	seal_key_done(s->backend, &k->send);
err_tx:
	free(k->tx);
err_arena:
	keyarena_give(s->keypairs, k);
	return NULL;
}

/* Takes a pair that is in no slot any more out of the workers' reach. */
static void retire(struct session *p, struct keypair *k)
{
	if (!k)
		return;
	table_remove(&p->engine->indices, k->local_index);
	session_discard(p->engine, DISCARDED_KEYPAIR, k);
}

void session_keypair_free(struct sessions *s, struct keypair *k)
{
	struct session *p = session_of(k->peer);
	uint64_t received_ns = atomic_load(&k->last_received_ns);

	if (received_ns > p->last_received_ns)
		p->last_received_ns = received_ns;
	peer_totals_add(&p->peer.retired, k);
	for (size_t i = 0; i < MESSAGE_LANES_MAX; i++)
		free(atomic_load(&k->rx[i]));
	free(k->tx);
	seal_key_done(s->backend, &k->send);
	seal_key_done(s->backend, &k->recv);
	keyarena_give(s->keypairs, k);
}

/* After any change of slots: the list of those that the sweep looks at. */
static void note_slots(struct session *p, uint64_t now_ns)
{
	struct sessions *s = p->engine;
	bool has_keys = p->peer.current || p->previous || p->older || p->next;

	if (!has_keys) {
		list_del(&p->live);
		timers_clear(&s->timers, &p->confirm);
		timers_clear(&s->timers, &p->path);
	} else if (list_empty(&p->live)) {
		if (list_empty(&s->live))
			s->sweep_due_ns = now_ns + SESSION_SWEEP_NS;
		list_add_tail(&s->live, &p->live);
	}
}

/* What gets through does so with any key. */
static void keep_own_ports(struct keypair *to, const struct keypair *from)
{
	for (size_t i = 0; from && i < to->local_lanes; i++)
		atomic_store_explicit(&to->tx[i].own_port_until_ns,
			atomic_load_explicit(&from->tx[i].own_port_until_ns, memory_order_relaxed),
			memory_order_relaxed);
}

static void forget_own_ports(struct keypair *k)
{
	for (size_t i = 0; k && i < k->local_lanes; i++)
		atomic_store_explicit(&k->tx[i].own_port_until_ns, 0, memory_order_relaxed);
}

static void make_current(struct session *p, struct keypair *k, uint64_t now_ns)
{
	struct sessions *s = p->engine;

	keep_own_ports(k, p->peer.current);
	retire(p, p->older);
	p->older = p->previous;
	p->previous = p->peer.current;
	rcu_assign_pointer(p->peer.current, k);
	p->rekey_at_ns =
		k->created_ns + timers_rekey_ns(&s->times, k->initiator, randombytes_random());
	p->last_handshake_ns = now_ns;
	p->memory = (struct timers_memory){0};
	p->was_connected = true;
	p->no_path = false;
	p->silent = false;
	timers_clear(&s->timers, &p->confirm); /* that was about another key */
	session_path_changed(p);
	session_attempt_stop(p);
}

void session_promote_next(struct session *p, uint64_t now_ns)
{
	struct keypair *k = p->next;

	/* The end point first: who sees the key wants to send. */
	if (p->next_from_valid || !p->peer.endpoint)
		session_set_endpoint(p, &p->next_from);
	if (!p->peer.endpoint)
		return; /* no memory: the next packet on this key asks again */
	p->next = NULL;
	p->next_from_valid = false;
	atomic_store(&k->confirmed, true);
	make_current(p, k, now_ns);
	note_slots(p, now_ns);
}

void session_install(struct session *p, struct keypair *k, uint64_t now_ns)
{
	if (k->initiator) {
		make_current(p, k, now_ns);
	} else {
		/* A worker may have opened a packet on `next` and its upcall be on the way: the
		 * peer uses that key, so it must not go. */
		if (p->next && atomic_load(&p->next->last_received_ns))
			session_promote_next(p, now_ns);
		retire(p, p->next);
		p->next = k;
	}
	note_slots(p, now_ns);
}

void session_drop_keys(struct session *p, uint64_t made_until_ns)
{
	struct keypair *current = p->peer.current;

	if (p->older && p->older->created_ns <= made_until_ns) {
		retire(p, p->older);
		p->older = NULL;
	}
	if (p->previous && p->previous->created_ns <= made_until_ns) {
		retire(p, p->previous);
		p->previous = NULL;
	}
	if (current && current->created_ns <= made_until_ns) {
		rcu_assign_pointer(p->peer.current, NULL);
		retire(p, current);
		p->silent = false;
		session_path_due(p, 0);
	}
	if (p->next && p->next->created_ns <= made_until_ns) {
		retire(p, p->next);
		p->next = NULL;
	}
	note_slots(p, 0); /* no time is needed: slots only become empty here */
}

void session_set_endpoint(struct session *p, const struct endpoint *to)
{
	struct sessions *s = p->engine;
	struct endpoint *old = p->peer.endpoint;
	struct endpoint *new;

	if (old && memcmp(old, to, sizeof(*to)) == 0)
		return;
	new = malloc(sizeof(*new));
	if (!new)
		return; /* the old one may do, and the next packet asks again */
	*new = *to;
	if (old && !endpoint_same_remote(old, new)) {
		stats_count(s->counters, STAT_endpoint_moves, 1);
		forget_own_ports(p->peer.current);
	}
	rcu_assign_pointer(p->peer.endpoint, new);
	session_path_changed(p);
	if (old)
		session_discard(s, DISCARDED_ENDPOINT, old);
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t session_last_received(const struct session *p)
{
	struct keypair *slots[SESSION_SLOTS];
	uint64_t last = p->last_received_ns;

	session_slots(p, slots);
	for (size_t i = 0; i < SESSION_SLOTS; i++) {
		if (slots[i])
			last = later(last, atomic_load(&slots[i]->last_received_ns));
	}
	return last;
}

void session_facts(const struct session *p, struct timers_facts *ret_facts)
{
	struct keypair *slots[SESSION_SLOTS];
	struct timers_facts f = {.last_received_ns = session_last_received(p),
		.rekey_at_ns = p->rekey_at_ns,
		.eager = p->engine->behind_nat,
		.behind_nat = p->engine->behind_nat};

	session_slots(p, slots);
	for (size_t i = 0; i < SESSION_SLOTS; i++) {
		const struct keypair *k = slots[i];

		if (!k)
			continue;
		f.last_sent_ns = later(f.last_sent_ns, atomic_load(&k->last_sent_ns));
		f.last_sent_data_ns =
			later(f.last_sent_data_ns, atomic_load(&k->last_sent_data_ns));
		f.last_received_data_ns =
			later(f.last_received_data_ns, atomic_load(&k->last_received_data_ns));
	}
	if (p->peer.current) {
		const struct keypair *k = p->peer.current;

		/* Lanes stop at their share, without knowing of each other; so it is the share that
		 * has to be watched. If the sum reaches the limit, some lane has reached its share
		 * of it. */
		for (size_t i = 0; i < k->local_lanes; i++)
			f.key_is_full |=
				atomic_load_explicit(&k->tx[i].blocks, memory_order_relaxed) >=
				MESSAGE_BLOCKS_REKEY / k->local_lanes;
		f.key_was_used = atomic_load(&k->last_sent_data_ns) ||
				 atomic_load(&k->last_received_data_ns);
	}
	*ret_facts = f;
}
