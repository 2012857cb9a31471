/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters. Each thread has a struct counters of its own and is its only writer; whoever shows them
 * adds them up. Every way for a frame or datagram to be dropped has a name here.
 */
#ifndef VAND_STATS_H
#define VAND_STATS_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

/* X(identifier, "what vanctl stats -v and the manual page explain") */
#define STATS_DROPS(X)                                                                      \
	X(runt, "datagram too short for its type, or of a wrong length")                    \
	X(unknown_type, "datagram of an unknown type or version")                           \
	X(unknown_index, "no session with that receiver index")                             \
	X(bad_lane, "lane that was not negotiated")                                         \
	X(replayed, "counter seen before, or too old")                                      \
	X(bad_tag, "authentication failed")                                                 \
	X(bad_mode, "unknown mode byte")                                                    \
	X(mode_mismatch, "sealed in another mode than its network's")                       \
	X(bad_inner, "authentic, but malformed inside")                                     \
	X(reserved_kind, "authentic message of a kind that this version does not know")     \
	X(unknown_network, "tagged with a network that this node is not in")                \
	X(not_member, "sender is not in the network it tagged")                             \
	X(guard_mac, "source MAC is not the sender's")                                      \
	X(own_mac, "source MAC is one of ours")                                             \
	X(bad_mac1, "handshake that was not made for this node")                            \
	X(bad_cookie, "cookie answer that does not open or was not asked for")              \
	X(under_load, "handshake answered with a cookie or not at all, under load")         \
	X(bad_handshake, "handshake that does not open")                                    \
	X(stranger, "handshake by a key that is in none of our networks")                   \
	X(stale_init, "INIT with an old stamp (a replay, or a copy by another path)")       \
	X(crossed_init, "INIT that crossed one of ours, which wins; the peer answers that") \
	X(handshake_limit, "more handshakes than a peer or address may start")              \
	X(no_session, "frame for a peer whose session could not be set up in time")         \
	X(pending_full, "frame for a peer without session, queue full")                     \
	X(no_peer, "unicast frame to a MAC that nobody has")                                \
	X(not_ours, "frame from the TAP whose source MAC is not this node's")               \
	X(bad_frame, "frame from the TAP that contradicts its own offload header")          \
	X(too_big, "frame larger than the path to the peer")                                \
	X(fragment_bad, "part of a frame, malformed or at odds with the others")            \
	X(fragment_timeout, "frame in parts of which some did not come in time")            \
	X(fragment_evicted, "incomplete frame that gave way to a newer one")                \
	X(ce_not_ect, "congestion marked by the underlay on traffic that knows no ECN")     \
	X(key_exhausted, "key used up before a new one was made")                           \
	X(send_failed, "the kernel did not take a datagram")                                \
	X(tap_failed, "the TAP did not take a frame")                                       \
	X(upcall_full, "message for the control thread, queue full")

/* Things worth counting that are not drops. */
#define STATS_EVENTS(X)                                                             \
	X(frames_from_tap, "frames read, a super-frame counting once")              \
	X(superframes_from_tap, "of these, super-frames that were cut")             \
	X(frames_to_tap, "writes, a super-frame counting once")                     \
	X(superframes_to_tap, "of these, super-frames that were joined")            \
	X(segments_joined, "segments in them")                                      \
	X(flooded, "frames sent to every member")                                   \
	X(datagrams_sent, "DATA messages")                                          \
	X(sends, "system calls' worth of them: messages of sendmmsg")               \
	X(datagrams_received, "DATA messages")                                      \
	X(receives, "receive slots filled; GRO puts several datagrams in one")      \
	X(wakeups, "turns of a worker's loop")                                      \
	X(frames_cut, "frames sent in parts, too large for the path")               \
	X(too_big_answered, "likewise, answered by ICMP \"too big\"")               \
	X(frames_rejoined, "frames received in parts, and complete")                \
	X(mss_clamped, "TCP SYNs whose MSS was lowered for such a path")            \
	X(sent_fragmentable, "datagrams larger than the path MTU, sent without DF") \
	X(gso_fallbacks, "GSO sends that failed and were repeated one by one")      \
	X(init_sent, "handshake INITs")                                             \
	X(init_received, "authentic INITs")                                         \
	X(resp_sent, "handshake RESPs")                                             \
	X(resp_received, "authentic RESPs")                                         \
	X(cookie_sent, "COOKIE answers")                                            \
	X(cookie_received, "COOKIE answers accepted")                               \
	X(sessions_made, "key pairs made")                                          \
	X(rekeys, "of these, while there was a session")                            \
	X(endpoint_moves, "end points that moved")                                  \
	X(keepalives_sent, "keepalives")                                            \
	X(pmtu_probes, "probes of the path MTU")

enum drop_reason {
#define X(name, text) DROP_##name,
	STATS_DROPS(X)
#undef X
		DROP__COUNT
};

enum stat_event {
#define X(name, text) STAT_##name,
	STATS_EVENTS(X)
#undef X
		STAT__COUNT
};

struct counters {
	_Alignas(64) _Atomic uint64_t drops[DROP__COUNT];
	_Atomic uint64_t events[STAT__COUNT];
};

/* The owner's increments: a plain add, made visible to readers without a locked instruction. */
static inline void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

static inline void stats_drop(struct counters *c, enum drop_reason reason)
{
	stats_add(&c->drops[reason], 1);
}

static inline void stats_count(struct counters *c, enum stat_event event, uint64_t n)
{
	stats_add(&c->events[event], n);
}

static inline uint64_t stats_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

const char *stats_drop_name(enum drop_reason reason);
const char *stats_drop_help(enum drop_reason reason);
const char *stats_event_name(enum stat_event event);
const char *stats_event_help(enum stat_event event);

/* All of them as a section of the manual page (man(7)). */
void stats_print_man(FILE *to);

#endif
