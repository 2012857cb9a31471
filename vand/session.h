/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: the control thread's engine that turns handshakes into key pairs and decides when to
 * make new ones. It does no I/O of its own and reads no clock: messages come in as arguments, leave
 * through struct session_io, and time is an argument, so that tests run hours in milliseconds.
 *
 * Each peer has slots of keys, much as in WireGuard: `current` (sent on), `previous` and an older
 * one (still received on), and `next` (a responder's, until the initiator has been heard on it).
 * docs/protocol.md has the state machine and the timers.
 */
#ifndef VAND_SESSION_H
#define VAND_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/addr.h"
#include "lib/key.h"
#include "vand/message.h"
#include "vand/peer.h"
#include "vand/stats.h"
#include "vand/table.h"

/* WireGuard's timers (its paper, §6.1), in nanoseconds; the configuration may lower rekey_after. */
struct session_timers {
	uint64_t rekey_after;  /* 120 s: the initiator makes new keys */
	uint64_t reject_after; /* 180 s: a key is not used any more, either way */
	uint64_t keepalive;    /* 10 s: after data received and nothing to send */
	uint64_t give_up;      /* 90 s: of unanswered INITs */
	uint64_t wipe_after;   /* 540 s: 3 × reject_after without a new session: forget the keys */
	uint64_t nat_keepalive; /* 20 s: a node behind NAT keeps its mappings */
};
void session_timers_default(struct session_timers *ret_timers);

struct session_config {
	const struct identity *identity; /* borrowed, outlives the engine */
	uint8_t mesh[MESSAGE_MESH_LEN];
	uint8_t psk[32]; /* zeroes: none */
	uint8_t lanes;   /* that we send on: control's, and one for each worker */
	const struct seal_backend *backend;
	struct session_timers timers;
	uint64_t pmtu_raise_ns; /* between looks for a larger path MTU; 0: do not look for any */
};

/* Callbacks may call sessions_send(), sessions_probe() and sessions_want(), and must not add,
 * update or remove peers. send, next_stamp and epoch are needed; the others may be NULL. */
struct session_io {
	void *ctx;
	/* Sends one datagram (a handshake message or a sealed DATA message). 0 or -errno; a failure
	 * is counted by the callee and otherwise treated as a lost packet. */
	int (*send)(void *ctx, const struct endpoint *to, const void *msg, size_t len);
	/* The same in one IP packet (DF) or not at all: -EMSGSIZE. NULL: no path MTU discovery. */
	int (*send_whole)(void *ctx, const struct endpoint *to, const void *msg, size_t len);
	/* The stamp for the next INIT: larger than any ever returned, across restarts too. */
	int (*next_stamp)(void *ctx, uint8_t ret_stamp[MESSAGE_STAMP_LEN]);
	/* Our netmap's revision, and the MTU of the interface towards an end point (0: unknown). */
	uint64_t (*epoch)(void *ctx);
	uint16_t (*underlay_mtu)(void *ctx, const struct endpoint *to);
	/* A peer has a key to send on (workers may flush what waits for it), or has none any more.
	 */
	void (*changed)(void *ctx, struct peer *peer, enum peer_state state);
	/* An authenticated control message that is not the engine's own business (LEARN, …). */
	void (*control)(void *ctx, struct peer *peer, uint32_t van_id, uint8_t kind,
		const uint8_t *payload, size_t len);
	/* Answer to a probe of sessions_probe(). */
	void (*probed)(void *ctx, struct peer *peer, uint64_t token, uint64_t rtt_ns);
	/* sessions_tick() is wanted earlier than its last answer said: something that came in by
	 * another call has set an earlier deadline (absolute). */
	void (*rearm)(void *ctx, uint64_t deadline_ns);
};

/* A lane's own source port: how long an answered probe vouches for it, and how often a worker that
 * uses the lane asks. Below the 30 s after which firewalls forget UDP. */
#define SESSION_OWN_PORT_NS   (25ull * 1000 * 1000 * 1000)
#define SESSION_PORT_PROBE_NS (10ull * 1000 * 1000 * 1000)

struct sessions;

/* *ret_sessions is heap. counters is borrowed: the control thread's. 0 or -errno. */
int sessions_new(const struct session_config *config, const struct session_io *io,
	struct counters *counters, struct sessions **ret_sessions);
/* Says GOODBYE on every session when `goodbye`, wipes all keys, frees all peers. No worker may be
 * left. */
void sessions_free(struct sessions *s, bool goodbye, uint64_t now_ns);

/* -- peers -- */

/* Adds a peer (netmap's id, name, key, flags, TEPs). -EEXIST for a key that is there. */
int sessions_add(struct sessions *s, const struct netmap_peer *from, struct peer **ret_peer);
/* Takes over changed name, flags and TEP candidates. The session goes on. */
void sessions_update(
	struct sessions *s, struct peer *peer, const struct netmap_peer *from, uint64_t now_ns);
/* Drops the session at once (its keys are of no use to anybody from here on), waits for the
 * workers (RCU) and frees the peer. */
void sessions_remove(struct sessions *s, struct peer *peer);
struct peer *sessions_find_key(struct sessions *s, const struct key *public_key);
/* For workers too (a struct table, under RCU). */
struct peer *sessions_find_ref(const struct sessions *s, uint32_t ref);
void sessions_each(struct sessions *s, void (*visit)(void *ctx, struct peer *peer), void *ctx);

/* -- for workers: RCU, no locks -- */

/* The key pair that a DATA message's receiver index names, or NULL. */
struct keypair *sessions_keypair(const struct sessions *s, uint32_t local_index);

/* -- what happened (control thread) -- */

/* A handshake message came in: INIT, RESP or COOKIE of any length and content. */
void sessions_receive(struct sessions *s, const uint8_t *msg, size_t len,
	const struct endpoint *from, uint64_t now_ns);
/* Somebody has a frame for the peer, or wants it warm: handshake unless there is a session. */
void sessions_want(struct sessions *s, struct peer *peer, uint64_t now_ns);
/* A worker opened the first packet on an unconfirmed key. */
void sessions_confirmed(struct sessions *s, uint32_t local_index, uint64_t now_ns);
/* A worker opened a packet with the highest counter so far, from elsewhere than peer->endpoint. */
void sessions_moved(
	struct sessions *s, uint32_t local_index, const struct endpoint *to, uint64_t now_ns);
/* A worker opened a message of another kind than MESSAGE_FRAME and MESSAGE_FRAGMENT. Of a
 * MESSAGE_PROBE, which may be long, payload need only have the first MESSAGE_PROBE_LEN bytes. */
void sessions_control(struct sessions *s, uint32_t local_index, uint32_t van_id, uint8_t kind,
	const uint8_t *payload, size_t len, uint64_t now_ns);
/* Our own addresses changed: tell every connected peer with a keepalive (it moves our end point
 * there), and forget source addresses that we do not have any more. */
void sessions_underlay_changed(struct sessions *s, uint64_t now_ns);
/* We are (not) behind NAT: initiate to all peers and keep mappings alive. */
void sessions_set_nat(struct sessions *s, bool behind_nat, uint64_t now_ns);

/* Another session_timers.rekey_after from now on, for the keys in use too. */
void sessions_set_rekey_after(struct sessions *s, uint64_t rekey_after_ns);
/* False when the system did not let us keep keys from being swapped out. */
bool sessions_keys_locked(const struct sessions *s);

/* Runs whatever is due. Returns when to call again at the latest (absolute), or UINT64_MAX. */
uint64_t sessions_tick(struct sessions *s, uint64_t now_ns);

/* -- sending -- */

/* Seals a message of a kind on the control lane and sends it. -ENOTCONN without a session. */
int sessions_send(struct sessions *s, struct peer *peer, uint32_t van_id, uint8_t kind,
	const void *payload, size_t len, uint64_t now_ns);
/* Sends a PROBE; the answer comes through io->probed. */
int sessions_probe(struct sessions *s, struct peer *peer, uint64_t token, uint64_t now_ns);

/* -- what to show -- */

struct session_view {
	enum peer_state state;
	char reason[256];           /* empty, or why there is no path and what would help */
	uint64_t last_handshake_ns; /* 0: never */
	uint64_t last_received_ns;  /* 0: never */
	uint64_t peer_epoch;        /* netmap revision that the peer said it has */
	uint16_t peer_mtu;          /* of the interface that it answers from; 0: unknown */
	uint8_t peer_lanes;
	uint16_t path_mtu;   /* largest outer IP packet that is sent whole; 0: unknown */
	bool path_mtu_final; /* that is what was found, and not what has to do for now */
	struct endpoint candidates[NETMAP_TEPS_MAX];
	size_t candidate_count;
};
void session_view(const struct sessions *s, const struct peer *peer, struct session_view *ret_view);
const char *peer_state_name(enum peer_state state);

#endif
