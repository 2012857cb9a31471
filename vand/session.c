/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: its peers, its clockwork. docs/protocol.md describes the state machine; how keys
 * change without a loss is at the head of session_slots.c, how handshakes begin and end at that of
 * session_attempt.c, and what a handshake message goes through at that of session_receive.c.
 */
#include "vand/session.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>
#include "lib/clock.h"
#include "lib/log.h"
#include "vand/session_internal.h"

static_assert(sizeof(struct handshake) >= 32, "a psk fits a block of the secrets' arena");

void session_timers_default(struct session_timers *ret_timers)
{
	*ret_timers = (struct session_timers){.rekey_after = 120 * NS_PER_S,
		.reject_after = 180 * NS_PER_S,
		.keepalive = 10 * NS_PER_S,
		.give_up = 90 * NS_PER_S,
		.wipe_after = 540 * NS_PER_S,
		.nat_keepalive = 20 * NS_PER_S};
}

/* -- what workers may still be reading -- */

static void free_discarded(struct sessions *s, const struct discard *d)
{
	switch (d->kind) {
	case DISCARDED_KEYPAIR:
		session_keypair_free(s, d->what);
		break;
	case DISCARDED_ENDPOINT:
	case DISCARDED_SESSION:
		free(d->what);
		break;
	}
}

static void free_all_discarded(struct sessions *s)
{
	if (s->discard_count == 0)
		return;
	synchronize_rcu();
	/* In order: a key pair goes before the session that it adds its totals to. */
	for (size_t i = 0; i < s->discard_count; i++)
		free_discarded(s, &s->discards[i]);
	s->discard_count = 0;
}

void session_discard(struct sessions *s, enum discarded kind, void *what)
{
	const struct discard d = {.kind = kind, .what = what};

	if (s->discard_count == s->discard_room) {
		size_t room = s->discard_room ? 2 * s->discard_room : 16;
		struct discard *more = reallocarray(s->discards, room, sizeof(*more));

		if (!more) {
			free_all_discarded(s);
			synchronize_rcu();
			free_discarded(s, &d);
			return;
		}
		s->discards = more;
		s->discard_room = room;
	}
	s->discards[s->discard_count++] = d;
}

void session_enter(struct sessions *s)
{
	s->depth++;
}

static uint64_t next_deadline(const struct sessions *s)
{
	const struct timer *first = timers_first(&s->timers);
	uint64_t due_ns = first ? first->due_ns : UINT64_MAX;

	return !list_empty(&s->live) && s->sweep_due_ns < due_ns ? s->sweep_due_ns : due_ns;
}

void session_leave(struct sessions *s)
{
	uint64_t due_ns;

	if (--s->depth > 0)
		return;
	free_all_discarded(s);
	due_ns = next_deadline(s);
	if (due_ns < s->armed_ns) {
		s->armed_ns = due_ns;
		if (s->io.rearm)
			s->io.rearm(s->io.ctx, due_ns);
	}
}

/* -- the engine -- */

static int init_arenas(struct sessions *s)
{
	bool keys_locked, secrets_locked;
	int r = keyarena_new(sizeof(struct keypair), &s->keypairs, &keys_locked);

	if (r < 0)
		return r;
	r = keyarena_new(sizeof(struct handshake), &s->secrets, &secrets_locked);
	if (r < 0)
		goto err_keypairs;
	s->psk = keyarena_take(s->secrets);
	if (!s->psk) {
		r = -ENOMEM;
		goto err_secrets;
	}
	s->keys_locked = keys_locked && secrets_locked;
	if (!s->keys_locked)
		log_warn("keys may be swapped to disk: raise the limit of locked memory "
			 "(LimitMEMLOCK= in the unit, ulimit -l)");
	return 0;

err_secrets:
	keyarena_free(s->secrets);
err_keypairs:
	keyarena_free(s->keypairs);
	return r;
}

static int init_tables(struct sessions *s)
{
	int r = table_init(&s->indices);

	if (r < 0)
		return r;
	r = table_init(&s->handshakes);
	if (r < 0)
		goto err_indices;
	r = table_init(&s->refs);
	if (r < 0)
		goto err_handshakes;
	return 0;

err_handshakes:
	table_done(&s->handshakes);
err_indices:
	table_done(&s->indices);
	return r;
}

int sessions_new(const struct session_config *config, const struct session_io *io,
	struct counters *counters, struct sessions **ret_sessions)
{
	struct sessions *s;
	int r;

	if (config->lanes < 1 || config->lanes > MESSAGE_LANES_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	r = init_arenas(s);
	if (r < 0)
		goto err_free;
	r = init_tables(s);
	if (r < 0)
		goto err_arenas;
	s->backend = config->backend;
	s->times = config->timers;
	s->pmtu_raise_ns = io->send_whole ? config->pmtu_raise_ns : 0;
	s->lanes = config->lanes;
	s->io = *io;
	s->counters = counters;
	memcpy(s->mesh, config->mesh, sizeof(s->mesh));
	memcpy(s->psk, config->psk, sizeof(config->psk));
	s->self = (struct handshake_self){.identity = config->identity,
		.backend = s->backend,
		.mesh = s->mesh,
		.psk = s->psk};
	cookie_keys_init(&s->own_keys, s->mesh, &config->identity->public);
	cookie_guard_init(&s->guard);
	timers_init(&s->timers);
	list_init(&s->live);
	s->armed_ns = UINT64_MAX;
	*ret_sessions = s;
	return 0;

err_arenas:
	keyarena_free(s->secrets);
	keyarena_free(s->keypairs);
err_free:
	free(s);
	return r;
}

void sessions_free(struct sessions *s, bool goodbye, uint64_t now_ns)
{
	if (!s)
		return;
	session_enter(s);
	for (size_t i = 0; goodbye && i < s->count; i++)
		(void)session_send_message(s->sorted[i], 0, MESSAGE_GOODBYE, NULL, 0, now_ns);
	session_leave(s);
	while (s->count)
		sessions_remove(s, &s->sorted[s->count - 1]->peer);
	table_done(&s->refs);
	table_done(&s->handshakes);
	table_done(&s->indices);
	keyarena_free(s->secrets);
	keyarena_free(s->keypairs);
	timers_done(&s->timers);
	cookie_guard_wipe(&s->guard);
	sodium_memzero(s->plain, sizeof(s->plain));
	free(s->sorted);
	free(s->discards);
	free(s);
}

/* -- peers -- */

/* Where the key is, or belongs. Public keys: no need for constant time. */
static size_t place_of(const struct sessions *s, const struct key *public_key, bool *ret_found)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = memcmp(
			s->sorted[middle]->peer.public_key.bytes, public_key->bytes, KEY_LEN);

		if (c == 0) {
			*ret_found = true;
			return middle;
		}
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = false;
	return low;
}

struct peer *sessions_find_key(struct sessions *s, const struct key *public_key)
{
	bool found;
	size_t place = place_of(s, public_key, &found);

	return found ? &s->sorted[place]->peer : NULL;
}

struct peer *sessions_find_ref(const struct sessions *s, uint32_t ref)
{
	struct session *p = table_get(&s->refs, ref);

	return p ? &p->peer : NULL;
}

void sessions_each(struct sessions *s, void (*visit)(void *ctx, struct peer *peer), void *ctx)
{
	for (size_t i = 0; i < s->count; i++)
		visit(ctx, &s->sorted[i]->peer);
}

struct keypair *sessions_keypair(const struct sessions *s, uint32_t local_index)
{
	return table_get(&s->indices, local_index);
}

/* Takes over what may change. True when the candidates did. */
static bool take_over(struct session *p, const struct netmap_peer *from)
{
	struct endpoint old[NETMAP_TEPS_MAX];
	size_t old_count = p->candidate_count;
	bool changed;

	memcpy(old, p->candidates, sizeof(old));
	memcpy(p->peer.id, from->id, sizeof(p->peer.id));
	memcpy(p->peer.name, from->name, sizeof(p->peer.name));
	p->peer.flags = from->flags;
	p->candidate_count = 0;
	for (size_t i = 0; i < from->tep_count && i < NETMAP_TEPS_MAX; i++) {
		if (from->teps[i].remote.sa.sa_family != AF_UNSPEC)
			p->candidates[p->candidate_count++] = from->teps[i];
	}
	changed = old_count != p->candidate_count;
	for (size_t i = 0; i < p->candidate_count && !changed; i++)
		changed = !endpoint_same_remote(&old[i], &p->candidates[i]);
	return changed;
}

static struct session *session_new(struct sessions *s, const struct netmap_peer *from)
{
	struct session *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->engine = s;
	p->peer.session = p;
	p->peer.ref = ++s->last_ref;
	p->peer.public_key = from->public_key;
	cookie_keys_init(&p->peer_keys, s->mesh, &from->public_key);
	list_init(&p->live);
	p->retry = (struct timer){.owner = p, .kind = SESSION_TIMER_RETRY};
	p->confirm = (struct timer){.owner = p, .kind = SESSION_TIMER_CONFIRM};
	p->path = (struct timer){.owner = p, .kind = SESSION_TIMER_PATH};
	peer_set_path(&p->peer, UINT16_MAX, false);
	take_over(p, from);
	return p;
}

int sessions_add(struct sessions *s, const struct netmap_peer *from, struct peer **ret_peer)
{
	bool found;
	size_t place = place_of(s, &from->public_key, &found);
	struct session *p;
	int r;

	if (found)
		return -EEXIST;
	if (key_equal(&from->public_key, &s->self.identity->public))
		return -EINVAL;
	if (s->last_ref == UINT32_MAX)
		return -ENOSPC; /* a reference is never used twice */
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 16;
		struct session **more = reallocarray(s->sorted, room, sizeof(struct session *));

		if (!more)
			return -ENOMEM;
		s->sorted = more;
		s->room = room;
	}
	r = timers_reserve(&s->timers, (s->count + 1) * SESSION_TIMER__COUNT);
	if (r < 0)
		return r;
	p = session_new(s, from);
	if (!p)
		return -ENOMEM;
	r = table_set(&s->refs, p->peer.ref, p, NULL);
	if (r < 0) {
		free(p);
		return r;
	}
	session_enter(s);
	memmove(&s->sorted[place + 1], &s->sorted[place],
		(s->count - place) * sizeof(s->sorted[0]));
	s->sorted[place] = p;
	s->count++;
	if (s->behind_nat)
		session_attempt_schedule(p, 0);
	session_leave(s);
	*ret_peer = &p->peer;
	return 0;
}

void sessions_update(
	struct sessions *s, struct peer *peer, const struct netmap_peer *from, uint64_t now_ns)
{
	struct session *p = session_of(peer);

	session_enter(s);
	if (take_over(p, from) && (p->attempt != ATTEMPT_NONE || p->no_path)) {
		p->no_path = false;
		session_attempt_start(p, now_ns);
	}
	session_show(p);
	session_leave(s);
}

void sessions_remove(struct sessions *s, struct peer *peer)
{
	struct session *p = session_of(peer);
	bool found;
	size_t place = place_of(s, &peer->public_key, &found);

	session_enter(s);
	s->count--;
	memmove(&s->sorted[place], &s->sorted[place + 1],
		(s->count - place) * sizeof(s->sorted[0]));
	session_attempt_stop(p);
	session_drop_keys(p, UINT64_MAX);
	if (peer->endpoint)
		session_discard(s, DISCARDED_ENDPOINT, peer->endpoint);
	table_remove(&s->refs, peer->ref);
	session_discard(s, DISCARDED_SESSION, p);
	session_leave(s);
}

/* -- what happened -- */

static enum peer_state state_of(const struct session *p)
{
	if (p->peer.current && !p->silent)
		return PEER_CONNECTED;
	if (p->no_path)
		return PEER_NO_PATH; /* until a session shows that there is one */
	return p->attempt == ATTEMPT_ACTIVE ? PEER_CONNECTING : PEER_IDLE;
}

void session_show(struct session *p)
{
	struct sessions *s = p->engine;
	enum peer_state state = state_of(p);

	if (state == p->shown)
		return;
	p->shown = state;
	if (s->io.changed)
		s->io.changed(s->io.ctx, &p->peer, state);
}

void sessions_want(struct sessions *s, struct peer *peer, uint64_t now_ns)
{
	struct session *p = session_of(peer);

	if (peer->current || p->attempt == ATTEMPT_ACTIVE)
		return;
	session_enter(s);
	if (p->next && timers_since(now_ns, p->next->created_ns) < SESSION_YIELD_NS)
		session_attempt_schedule(
			p, now_ns + SESSION_YIELD_NS); /* the peer's is under way */
	else
		session_attempt_start(p, now_ns);
	session_leave(s);
}

void sessions_underlay_changed(struct sessions *s, uint64_t now_ns)
{
	session_enter(s);
	for (size_t i = 0; i < s->count; i++) {
		struct session *p = s->sorted[i];

		if (p->peer.endpoint) {
			struct endpoint to = *p->peer.endpoint;

			to.local = (struct ip){.family = AF_UNSPEC};
			to.local_ifindex = 0;
			session_set_endpoint(p, &to);
		}
		p->next_from.local = (struct ip){.family = AF_UNSPEC};
		p->next_from.local_ifindex = 0;
		session_path_changed(p);
		/* Nothing can be sent there any more, for example because IPv4 is gone here: a
		 * handshake tries the peer's other addresses. */
		if ((p->peer.current && session_keepalive(p, now_ns) < 0) ||
			p->attempt != ATTEMPT_NONE)
			session_attempt_schedule(p, now_ns);
	}
	session_leave(s);
}

void sessions_set_nat(struct sessions *s, bool behind_nat, uint64_t now_ns)
{
	bool begins = behind_nat && !s->behind_nat;

	session_enter(s);
	s->behind_nat = behind_nat;
	for (size_t i = 0; begins && i < s->count; i++) {
		struct session *p = s->sorted[i];

		if (!p->peer.current && p->attempt != ATTEMPT_ACTIVE)
			session_attempt_schedule(p, now_ns);
	}
	session_leave(s);
}

/* -- the clockwork -- */

/* Drops keys whose time is over. */
static void expire_keys(struct session *p, uint64_t now_ns)
{
	struct sessions *s = p->engine;
	uint64_t life_ns = timers_key_life_ns(&s->times);
	bool had_session = p->peer.current != NULL;

	if (now_ns < life_ns)
		return;
	session_drop_keys(p, now_ns - life_ns);
	if (had_session && !p->peer.current && p->attempt == ATTEMPT_NONE && s->behind_nat)
		session_attempt_schedule(p, now_ns);
}

/* The keys of somebody who was met with 2^36 forgeries are not to be trusted for more. */
static bool was_attacked(const struct session *p)
{
	struct keypair *slots[SESSION_SLOTS];

	session_slots(p, slots);
	for (size_t i = 0; i < SESSION_SLOTS; i++) {
		if (slots[i] && atomic_load(&slots[i]->open_failures) >= MESSAGE_OPEN_FAILURES_MAX)
			return true;
	}
	return false;
}

static void sweep(struct session *p, uint64_t now_ns)
{
	struct sessions *s = p->engine;
	struct timers_facts facts;
	unsigned int due;

	if (was_attacked(p)) {
		log_warn("session with %s dropped: too many packets that did not open",
			p->peer.name);
		session_drop_keys(p, UINT64_MAX);
	}
	expire_keys(p, now_ns);
	if (p->peer.current) {
		bool rekeying = p->attempt != ATTEMPT_NONE ||
				(p->next && timers_since(now_ns, p->next->created_ns) <
						    5 * SESSION_YIELD_NS);

		session_facts(p, &facts);
		if (p->silent && facts.last_received_ns > p->silent_since_ns)
			p->silent = false;
		session_path_look(p, now_ns);
		due = timers_look(&s->times, &facts, &p->memory, now_ns);
		if (due & TIMERS_KEEPALIVE)
			(void)session_keepalive(p, now_ns);
		if ((due & TIMERS_SILENT) && !p->silent) {
			p->silent = true;
			p->silent_since_ns = now_ns;
			session_attempt_start(p, now_ns);
		} else if ((due & TIMERS_REKEY) && !rekeying) {
			session_attempt_start(p, now_ns);
		}
	}
	session_show(p);
}

static void run_timer(struct sessions *s, struct timer *t, uint64_t now_ns)
{
	struct session *p = t->owner;

	timers_clear(&s->timers, t);
	switch ((enum session_timer)t->kind) {
	case SESSION_TIMER_RETRY:
		session_attempt_due(p, now_ns);
		break;
	case SESSION_TIMER_CONFIRM:
		session_confirm(p, now_ns);
		break;
	case SESSION_TIMER_PATH:
		session_path_due(p, now_ns);
		break;
	case SESSION_TIMER__COUNT:
		break;
	}
}

uint64_t sessions_tick(struct sessions *s, uint64_t now_ns)
{
	struct timer *first;

	session_enter(s);
	s->armed_ns =
		0; /* the answer is what counts: nothing below needs to ask for an earlier turn */
	for (unsigned int i = 0; i < SESSION_TICK_MAX; i++) {
		first = timers_first(&s->timers);
		if (!first || first->due_ns > now_ns)
			break;
		run_timer(s, first, now_ns);
	}
	if (!list_empty(&s->live) && now_ns >= s->sweep_due_ns) {
		list_for_each_safe (it, &s->live)
			sweep(container_of(it, struct session, live), now_ns);
		s->sweep_due_ns = now_ns + SESSION_SWEEP_NS;
	}
	session_leave(s);
	s->armed_ns = next_deadline(s);
	return s->armed_ns;
}
