/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine's files share: session.c (peers, tick), session_receive.c (handshake messages),
 * session_attempt.c (initiating), session_slots.c (keys and end points), session_data.c (messages
 * inside sessions), session_path.c (path MTU). Nobody else includes this.
 *
 * Every public function is bracketed by session_enter() and session_leave(). What workers may still
 * be reading is put aside by session_discard() and freed when the outermost bracket closes, after
 * one synchronize_rcu() for all of it.
 */
#ifndef VAND_SESSION_INTERNAL_H
#define VAND_SESSION_INTERNAL_H

#include "lib/list.h"
#include "lib/log.h"
#include "vand/cookie.h"
#include "vand/handshake.h"
#include "vand/keyarena.h"
#include "vand/pmtu.h"
#include "vand/session.h"
#include "vand/timers.h"

/* Payload of a control message: a probe as large as the largest MTU, and some. */
#define SESSION_SEND_MAX 9216

/* An INIT that arrives this soon after our own first one has crossed it; later, ours did not get
 * through. */
#define SESSION_CROSSING_NS 500000000ull
/* Having answered an INIT, wait this long for its confirmation before sending one of our own. */
#define SESSION_YIELD_NS 1000000000ull

#define SESSION_SWEEP_NS      1000000000ull
#define SESSION_TICK_MAX      64 /* deadlines in one turn, so that the loop gets to other things */
#define SESSION_CONFIRM_TRIES 3
#define SESSION_PROBES        8 /* outstanding ones that we can measure */

/* What one peer may make us do a second, and at once. */
#define SESSION_INIT_RATE   5
#define SESSION_INIT_BURST  20
#define SESSION_RESP_RATE   20
#define SESSION_RESP_BURST  40
#define SESSION_PROBE_RATE  20
#define SESSION_PROBE_BURST 40
#define SESSION_MOVE_RATE   10
#define SESSION_MOVE_BURST  20

enum attempt {
	ATTEMPT_NONE,   /* not initiating; the retry timer is off */
	ATTEMPT_ACTIVE, /* INITs at short intervals, until give_up */
	ATTEMPT_SLOW,   /* an INIT now and then, without end: a peer worth it */
};

enum session_timer {
	SESSION_TIMER_RETRY,
	SESSION_TIMER_CONFIRM,
	SESSION_TIMER_PATH,
	SESSION_TIMER__COUNT
};

struct session_probe {
	uint64_t token;
	uint64_t sent_ns; /* 0: free */
};

/* A peer, and the control thread's part of it. */
struct session {
	struct peer peer; /* peer.session points back here */
	struct sessions *engine;
	enum peer_state shown; /* last told by io.changed */
	struct cookie_keys peer_keys;
	struct endpoint candidates[NETMAP_TEPS_MAX];
	size_t candidate_count;

	/* Keys: peer.current is the third slot. In the list of live sessions while there are any.
	 */
	struct keypair *previous;  /* received on only */
	struct keypair *older;     /* likewise: where two handshakes at once pushed it here */
	struct keypair *next;      /* made as a responder, the initiator not heard on it yet */
	struct endpoint next_from; /* where that one's INIT came from */
	bool next_from_valid;
	struct list live;
	uint64_t rekey_at_ns; /* of the current key */
	struct timers_memory memory;
	struct timer confirm;
	unsigned int confirm_tries;

	/* Initiating. */
	enum attempt attempt;
	uint64_t attempt_since_ns; /* first INIT of it; set when tries > 0 */
	unsigned int tries;
	bool yielded; /* to an INIT of the peer's, since the last one of ours */
	struct timer retry;
	struct handshake *handshake; /* in the arena while an INIT is out, else NULL */
	uint32_t handshake_index;
	uint8_t handshake_mac1[MESSAGE_TAG_LEN];
	uint8_t cookie[COOKIE_LEN];
	bool cookie_valid; /* for one INIT */
	uint64_t cookie_ns;

	/* What we know of the peer. */
	bool silent; /* it does not answer any more: a handshake is to find out */
	uint64_t silent_since_ns;
	bool no_path;       /* an attempt has failed since the last session */
	bool was_connected; /* and did not say GOODBYE */
	uint64_t last_handshake_ns;
	uint64_t last_received_ns; /* by handshakes, and by keys that are gone */
	uint8_t greatest_stamp[MESSAGE_STAMP_LEN];
	uint64_t peer_epoch;
	uint16_t peer_mtu;
	uint8_t peer_lanes;
	/* The path to it. */
	struct pmtu pmtu;
	struct endpoint pmtu_of; /* whose remote side the search is about */
	bool path_changed;       /* end point or interfaces may have: look before going on */
	struct timer path;

	struct cookie_bucket inits, resps, probes_answered, moves;
	struct session_probe probes[SESSION_PROBES];
};

enum discarded { DISCARDED_KEYPAIR, DISCARDED_ENDPOINT, DISCARDED_SESSION };

struct discard {
	enum discarded kind;
	void *what;
};

struct sessions {
	const struct seal_backend *backend;
	struct session_timers times;
	uint8_t lanes;
	uint8_t mesh[MESSAGE_MESH_LEN];
	uint64_t pmtu_raise_ns; /* 0: no path MTU discovery */
	struct session_io io;
	struct counters *counters;
	struct handshake_self self;
	uint8_t *psk; /* in the arena */
	struct cookie_keys own_keys;
	struct cookie_guard guard;
	struct log_limit stamp_warnings;

	struct keyarena *keypairs;
	struct keyarena *secrets; /* handshakes, and the psk */
	struct table indices;     /* local index → struct keypair; workers read it */
	struct table handshakes;  /* local index → struct session that awaits a RESP */
	struct table refs;        /* peer.ref → struct session */
	struct session **sorted;  /* by public key */
	size_t count, room;
	uint32_t last_ref;

	struct timers timers;
	struct list live;
	uint64_t sweep_due_ns;
	uint64_t armed_ns; /* when the owner will call sessions_tick() next */
	bool behind_nat;
	bool keys_locked;

	unsigned int depth;
	struct discard *discards;
	size_t discard_count, discard_room;
	uint8_t plain[sizeof(struct message_inner) + SESSION_SEND_MAX];
	uint8_t sealed[MESSAGE_OVERHEAD + SESSION_SEND_MAX];
};

#define SESSION_SLOTS 4

/* All keys of a peer, NULLs among them. */
static inline void session_slots(const struct session *p, struct keypair *ret_slots[SESSION_SLOTS])
{
	ret_slots[0] = p->peer.current;
	ret_slots[1] = p->previous;
	ret_slots[2] = p->older;
	ret_slots[3] = p->next;
}

static inline struct session *session_of(const struct peer *peer)
{
	return peer->session;
}

void session_enter(struct sessions *s);
void session_leave(struct sessions *s);
/* To be freed once no worker can see it any more. It must already be unreachable for new readers.
 */
void session_discard(struct sessions *s, enum discarded kind, void *what);
/* Works out the peer's state and tells the owner when it is another one. */
void session_show(struct session *p);

/* -- session_slots.c -- */

/* An index that neither a key pair nor a handshake of ours uses. */
uint32_t session_new_index(struct sessions *s);
/* Makes a key pair and enters it in the index table; it is in no slot yet. NULL: no memory. */
struct keypair *session_keypair_new(struct session *p, const struct handshake_keys *keys,
	uint32_t local_index, uint32_t remote_index, uint8_t remote_lanes, bool initiator,
	uint64_t now_ns);
/* Puts a new pair into its slot: an initiator's is sent on at once, a responder's waits. */
void session_install(struct session *p, struct keypair *keys, uint64_t now_ns);
/* The initiator was heard on `next`: it becomes current. */
void session_promote_next(struct session *p, uint64_t now_ns);
/* Drops the keys made at or before a time (UINT64_MAX: all). */
void session_drop_keys(struct session *p, uint64_t made_until_ns);
void session_keypair_free(struct sessions *s, struct keypair *keys);
void session_set_endpoint(struct session *p, const struct endpoint *to);
/* The greatest of one of the stamps over all slots. */
uint64_t session_last_received(const struct session *p);
void session_facts(const struct session *p, struct timers_facts *ret_facts);

/* -- session_attempt.c -- */

/* Sends an INIT now, and goes on until there is a session or give_up. */
void session_attempt_start(struct session *p, uint64_t now_ns);
/* The same from the next tick on. */
void session_attempt_schedule(struct session *p, uint64_t at_ns);
/* Ends it: there is a session, or nobody wants one any more. */
void session_attempt_stop(struct session *p);
/* The retry timer. */
void session_attempt_due(struct session *p, uint64_t now_ns);
/* We answered the peer's INIT: let that one have its chance. */
void session_attempt_yield(struct session *p, uint64_t now_ns);
/* Forgets the INIT that is out, with its secrets. */
void session_handshake_drop(struct session *p);
/* Where an INIT would go, without doubles; at most NETMAP_TEPS_MAX + 1. */
size_t session_targets(const struct session *p, const struct endpoint **ret_targets);

/* -- session_data.c -- */

int session_send_message(struct session *p, uint32_t van_id, uint8_t kind, const void *payload,
	size_t len, uint64_t now_ns);
/* A PROBE padded to len bytes that leaves whole or not at all (-EMSGSIZE), and is no data. */
int session_send_probe(struct session *p, uint64_t token, size_t len, uint64_t now_ns);
/* 0, or -errno when it did not even leave. */
int session_keepalive(struct session *p, uint64_t now_ns);
/* The confirm timer, and its first turn. */
void session_confirm(struct session *p, uint64_t now_ns);

/* -- session_path.c -- */

/* The session has another key or end point, or our interfaces are others: the search begins, goes
 * on or begins anew at the next tick. */
void session_path_changed(struct session *p);
/* The path timer: sends what probes are due. Also where there is no session any more. */
void session_path_due(struct session *p, uint64_t now_ns);
/* Once a second in a session: does the result still hold? */
void session_path_look(struct session *p, uint64_t now_ns);
/* A probe with that token and body has arrived. */
void session_path_answer(struct session *p, uint64_t token, size_t len, uint64_t now_ns);

#endif
