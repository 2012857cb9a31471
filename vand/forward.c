/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Both directions run in a worker, to completion, inside one RCU read section: peers, keys and
 * tables that were found stay valid until the batch is over.
 *
 * A super-frame from the TAP is cut where it is sealed (vand/offload.h): each segment's headers are
 * written in front of its payload, over bytes that have been sealed already, and sealed from there
 * into the send buffer. Nothing is copied. With several recipients each segment is sealed for all
 * of them before the next one is cut.
 *
 * A datagram is opened where it was received. Its DATA header, of no use then, gives the room for
 * the virtio_net_hdr in front of the frame; segments of one flow leave as one writev.
 *
 * Frames that are larger than the path to their peer takes are narrow.c's.
 */
#include "vand/forward.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>
#include "vand/ecn.h"
#include "vand/guard.h"
#include "vand/narrow.h"
#include "vand/network.h"
#include "vand/session.h"
#include "vand/tap.h"
#include "vand/upcall.h"
#include "vand/worker.h"

#define ETHERNET_HEADER_LEN 14

/* ---- from the TAP to peers ---- */

/* Who gets a frame: one peer, or all members. */
struct recipients {
	struct peer *const *peers;
	size_t count;
};

/* Where a partial checksum stands in the frame; csum_start 0: the checksum is complete. */
struct partial_checksum {
	uint8_t start;
	uint8_t offset;
};

static __attribute__((noinline)) void want_session(struct worker *w, const struct peer *peer)
{
	struct upcall_message m = {.kind = UPCALL_WANT, .peer_ref = peer->ref};

	upcall_send(w->upcall, &m, &w->counters);
}

static void wait_for_session(struct worker *w, const struct network *net, const struct peer *peer,
	const struct virtio_net_hdr *vnet, size_t len)
{
	bool first;

	if (!pending_push(
		    &w->pending, peer->ref, net->van_id, vnet, w->frame, len, w->now_ns, &first))
		stats_drop(&w->counters, DROP_pending_full);
	else if (first)
		want_session(w, peer);
}

static bool has_session(const struct peer *peer)
{
	return rcu_dereference(peer->current) && rcu_dereference(peer->endpoint);
}

/* Relaxed, and not written where it stands already: other workers have the same cache line. */
static void stamp(_Atomic uint64_t *at_ns, uint64_t now_ns)
{
	if (atomic_load_explicit(at_ns, memory_order_relaxed) != now_ns)
		atomic_store_explicit(at_ns, now_ns, memory_order_relaxed);
}

void forward_seal(struct worker *w, struct keypair *keys, enum message_mode mode,
	const struct message_inner *inner, size_t len, uint8_t *datagram)
{
	struct lane_tx *lane = &keys->tx[w->lane];
	const size_t plain_len = sizeof(*inner) + len;

	seal_frame(w->backend, &keys->send, mode, w->lane, keys->remote_index, lane->counter++,
		(const uint8_t *)inner, plain_len, datagram);
	stats_add(&lane->blocks, seal_blocks(plain_len));
	stats_add(&lane->packets, 1);
	stats_add(&lane->bytes, len);
	stamp(&keys->last_sent_ns, w->now_ns);
	stamp(&keys->last_sent_data_ns, w->now_ns);
}

/* Sends a probe from the lane's own port. The control thread sees the answer. */
static __attribute__((noinline)) void probe_own_port(
	struct worker *w, struct peer *peer, struct keypair *keys, const struct endpoint *to)
{
	struct {
		struct message_inner inner;
		uint8_t token[MESSAGE_PROBE_LEN];
	} probe = {.inner.kind = MESSAGE_PROBE};
	uint8_t *datagram;

	message_set_counter(probe.token, MESSAGE_TOKEN_LANE | w->lane);
	datagram = udp_tx_reserve(&w->tx, peer, to, true, MESSAGE_OVERHEAD + sizeof(probe.token));
	if (datagram)
		forward_seal(
			w, keys, MESSAGE_MODE_GCM, &probe.inner, sizeof(probe.token), datagram);
}

/* Where a probe from the lane's own port has been answered lately. */
bool forward_own_port(
	struct worker *w, struct peer *peer, struct keypair *keys, const struct endpoint *to)
{
	struct lane_tx *lane = &keys->tx[w->lane];

	if (w->lane <= MESSAGE_LANE_WORKER)
		return false;
	if (w->now_ns >= lane->probe_port_at_ns) {
		lane->probe_port_at_ns = w->now_ns + SESSION_PORT_PROBE_NS;
		probe_own_port(w, peer, keys, to);
	}
	return w->now_ns < atomic_load_explicit(&lane->own_port_until_ns, memory_order_relaxed);
}

/* Seals one frame (with room for the inner header in front of it) for one peer. */
static void seal_for(struct worker *w, struct network *net, struct peer *peer, uint8_t *frame,
	size_t len, struct partial_checksum csum)
{
	struct keypair *keys = rcu_dereference(peer->current);
	const struct endpoint *to = rcu_dereference(peer->endpoint);
	struct message_inner *inner = (struct message_inner *)(frame - sizeof(*inner));
	struct network_counters *counters = &net->counters[w->index];
	uint8_t *datagram;

	if (!keys || !to)
		return; /* it waits already */
	if (!keypair_may_send(keys, w->lane)) {
		stats_drop(&w->counters, DROP_key_exhausted);
		return;
	}
	message_set_van_id(inner->van_id, net->van_id);
	inner->kind = MESSAGE_FRAME | (csum.start ? MESSAGE_FLAG_NEEDS_CSUM : 0);
	inner->csum_start = csum.start;
	inner->csum_offset = csum.offset;
	if (len > peer_frame_max(peer)) {
		if (!narrow_send(w, net, peer, keys, to, *inner, frame, len))
			return;
	} else {
		datagram = udp_tx_reserve(&w->tx, peer, to, forward_own_port(w, peer, keys, to),
			MESSAGE_OVERHEAD + len);
		if (!datagram) {
			stats_drop(&w->counters, DROP_too_big);
			return;
		}
		forward_seal(w, keys, net->mode, inner, len, datagram);
	}
	stats_add(&counters->tx_packets, 1);
	stats_add(&counters->tx_bytes, len);
}

static void seal_for_all(struct worker *w, struct network *net, struct recipients to,
	uint8_t *frame, size_t len, struct partial_checksum csum)
{
	for (size_t i = 0; i < to.count; i++)
		seal_for(w, net, to.peers[i], frame, len, csum);
}

/* A frame that is not a super-frame. */
static void send_single(struct worker *w, struct network *net, struct recipients to,
	const struct virtio_net_hdr *vnet, size_t len)
{
	struct partial_checksum csum = {0};

	if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (vnet->csum_start > UINT8_MAX || vnet->csum_offset > UINT8_MAX) {
			/* Does not fit the inner header (a deep tunnel inside): sum here. */
			if (offload_complete_checksum(
				    w->frame, len, vnet->csum_start, vnet->csum_offset) < 0) {
				stats_drop(&w->counters, DROP_bad_frame);
				return;
			}
		} else {
			csum.start = (uint8_t)vnet->csum_start;
			csum.offset = (uint8_t)vnet->csum_offset;
		}
	}
	if (to.count == 1 && len > peer_frame_max(to.peers[0]) &&
		narrow_answer(w, net, to.peers[0], len, len))
		return;
	seal_for_all(w, net, to, w->frame, len, csum);
}

static void send_cut(struct worker *w, struct network *net, struct recipients to,
	const struct virtio_net_hdr *vnet, size_t len)
{
	struct partial_checksum csum;
	struct offload_cut cut;
	uint8_t *segment;
	size_t segment_len;

	if (offload_cut_init(&cut, w->frame, len, vnet) < 0) {
		stats_drop(&w->counters, DROP_bad_frame);
		return;
	}
	if (to.count == 1 && offload_cut_segment_len(&cut) > peer_frame_max(to.peers[0]) &&
		narrow_answer_cut(w, net, to.peers[0], &cut))
		return;
	csum = (struct partial_checksum){(uint8_t)cut.csum_start, (uint8_t)cut.csum_offset};
	stats_count(&w->counters, STAT_superframes_from_tap, 1);
	while (offload_cut_next(&cut, &segment, &segment_len))
		seal_for_all(w, net, to, segment, segment_len, csum);
}

static void send_frame(struct worker *w, struct network *net, struct recipients to,
	const struct virtio_net_hdr *vnet, size_t len)
{
	for (size_t i = 0; i < to.count; i++) {
		if (!has_session(to.peers[i]))
			wait_for_session(w, net, to.peers[i], vnet, len);
	}
	w->tx.tos = ecn_outer(w->frame, len, w->copy_tos);
	if (vnet->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		send_single(w, net, to, vnet, len);
	else
		send_cut(w, net, to, vnet, len);
}

void forward_from_tap(
	struct worker *w, struct network *net, const struct virtio_net_hdr *vnet, size_t len)
{
	const uint8_t *destination = w->frame, *source = w->frame + 6;
	const struct fdb_entry *entry;

	stats_count(&w->counters, STAT_frames_from_tap, 1);
	if (len < ETHERNET_HEADER_LEN) {
		stats_drop(&w->counters, DROP_bad_frame);
		return;
	}
	entry = fdb_lookup(&net->fdb, source);
	if (!entry || entry->kind != FDB_LOCAL) {
		stats_drop(&w->counters, DROP_not_ours); /* every peer would drop it */
		return;
	}
	if (mac_is_multicast((const struct mac *)destination)) {
		const struct network_members *all = rcu_dereference(net->members);

		stats_count(&w->counters, STAT_flooded, 1);
		send_frame(w, net, (struct recipients){all->peers, all->count}, vnet, len);
		return;
	}
	entry = fdb_lookup(&net->fdb, destination);
	if (!entry || !entry->peer) {
		stats_drop(&w->counters, DROP_no_peer);
		return;
	}
	send_frame(w, net, (struct recipients){&entry->peer, 1}, vnet, len);
}

void forward_pending(struct worker *w)
{
	struct pending_frame *frame = pending_take_all(&w->pending), *next;

	for (; frame; frame = next) {
		struct network *net = table_get(&w->networks->by_van_id, frame->van_id);
		struct peer *peer = sessions_find_ref(w->sessions, frame->peer_ref);

		next = frame->next;
		if (net && peer && has_session(peer)) {
			memcpy(w->frame, frame->frame, frame->len);
			send_frame(w, net, (struct recipients){&peer, 1}, &frame->vnet, frame->len);
		} else if (net && peer && w->now_ns - frame->since_ns < PENDING_AGE_NS) {
			pending_restore(&w->pending, frame);
			continue;
		} else {
			stats_drop(&w->counters, DROP_no_session);
		}
		free(frame);
	}
}

/* ---- from a peer to the TAP ---- */

static __attribute__((noinline)) void hand_over_handshake(
	struct worker *w, const uint8_t *data, size_t len, const struct endpoint *from)
{
	struct upcall_message m = {.kind = UPCALL_HANDSHAKE, .from = *from, .len = (uint16_t)len};

	/* Longer than any handshake message: the engine counts it as what it is. */
	if (len > sizeof(m.data))
		m.len = sizeof(m.data);
	memcpy(m.data, data, m.len);
	upcall_send(w->upcall, &m, &w->counters);
}

static __attribute__((noinline)) void hand_over_control(struct worker *w,
	const struct keypair *keys, const struct message_inner *inner, const uint8_t *payload,
	size_t len)
{
	struct upcall_message m = {.kind = UPCALL_CONTROL,
		.local_index = keys->local_index,
		.van_id = message_van_id(inner->van_id),
		.message_kind = inner->kind & MESSAGE_KIND_MASK,
		.message_len = (uint32_t)len};
	const size_t max = m.message_kind == MESSAGE_PROBE ? MESSAGE_PROBE_LEN : UPCALL_DATA_MAX;

	m.len = (uint16_t)(len < max ? len : max);
	memcpy(m.data, payload, m.len);
	upcall_send(w->upcall, &m, &w->counters);
}

/* Rare, and kept out of the way of every packet: the message is 2 KB. */
static __attribute__((noinline)) void tell_control(struct worker *w, enum upcall_kind kind,
	const struct keypair *keys, const struct endpoint *from)
{
	struct upcall_message m = {.kind = kind, .local_index = keys->local_index, .from = *from};

	upcall_send(w->upcall, &m, &w->counters);
}

/* The packet is authentic and new: note that the peer lives, and where. */
static void note_received(struct worker *w, struct keypair *keys, const struct message_data *header,
	bool highest, bool data, const struct endpoint *from)
{
	const struct endpoint *known = rcu_dereference(keys->peer->endpoint);

	stamp(&keys->last_received_ns, w->now_ns);
	if (data)
		stamp(&keys->last_received_data_ns, w->now_ns);
	if (!atomic_load_explicit(&keys->confirmed, memory_order_relaxed))
		tell_control(w, UPCALL_CONFIRMED, keys, from);
	/* Only the first two lanes always come from the peer's main port. */
	if (highest && header->lane <= MESSAGE_LANE_WORKER &&
		(!known || !endpoint_same_remote(known, from)))
		tell_control(w, UPCALL_MOVED, keys, from);
}

/* Makes sure that the window is ours alone: nothing to do for the only worker, and little where a
 * lane's datagrams all come to one worker. Until forward_release(), or the next window. */
static void hold_window(struct worker *w, struct lane_rx *rx)
{
	unsigned int tries = 0;

	if (!w->several || w->window == rx)
		return;
	forward_release(w);
	while (atomic_flag_test_and_set_explicit(&rx->lock, memory_order_acquire)) {
		if (++tries % 64 == 0)
			sched_yield(); /* its owner may have lost its core */
	}
	w->window = rx;
}

void forward_release(struct worker *w)
{
	if (w->window)
		atomic_flag_clear_explicit(&w->window->lock, memory_order_release);
	w->window = NULL;
}

/* The window of a lane that the peer uses for the first time in this session. Another worker may
 * make it at the same time: one of the two stays. NULL: no memory. */
static __attribute__((noinline)) struct lane_rx *new_window(struct keypair *keys, uint8_t lane)
{
	struct lane_rx *rx = aligned_alloc(_Alignof(struct lane_rx), sizeof(*rx)), *there = NULL;

	if (!rx)
		return NULL;
	memset(rx, 0, sizeof(*rx));
	atomic_flag_clear(&rx->lock);
	replay_init(&rx->replay);
	if (atomic_compare_exchange_strong(&keys->rx[lane], &there, rx))
		return rx;
	free(rx);
	return there;
}

/* Index, lane, window, tag, window again (docs/protocol.md). The key pair, or NULL with the reason
 * counted. */
static struct keypair *open_datagram(struct worker *w, uint8_t *data, size_t len, bool *ret_highest)
{
	const struct message_data *header = (const struct message_data *)data;
	struct keypair *keys = sessions_keypair(w->sessions, message_index(header->receiver));
	uint8_t lane = header->lane;
	uint64_t counter = message_counter(header->counter);
	struct lane_rx *rx;

	if (!keys) {
		stats_drop(&w->counters, DROP_unknown_index);
		return NULL;
	}
	if (lane >= keys->remote_lanes || lane >= MESSAGE_LANES_MAX) {
		stats_drop(&w->counters, DROP_bad_lane);
		return NULL;
	}
	rx = atomic_load_explicit(&keys->rx[lane], memory_order_acquire);
	if (rx) {
		hold_window(w, rx);
		if (!replay_check(&rx->replay, counter)) {
			stats_drop(&w->counters, DROP_replayed);
			return NULL;
		}
	}
	if (!open_frame(w->backend, &keys->recv, data, len)) {
		stats_drop(&w->counters, DROP_bad_tag);
		atomic_fetch_add_explicit(&keys->open_failures, 1, memory_order_relaxed);
		return NULL;
	}
	if (!rx) {
		/* Once for each lane of a session, and only for an authenticated peer. */
		rx = new_window(keys, lane);
		if (!rx)
			return NULL;
		hold_window(w, rx);
	}
	if (!replay_commit(&rx->replay, counter, ret_highest)) {
		stats_drop(&w->counters, DROP_replayed);
		return NULL;
	}
	stats_add(&rx->packets, 1);
	stats_add(&rx->bytes, len - MESSAGE_OVERHEAD);
	return keys;
}

/* The frame is the sender's word; the network's is in the table. */
static void deliver(struct worker *w, const struct keypair *keys, const struct message_data *header,
	const struct message_inner *inner, uint8_t *frame, size_t len, uint8_t outer_ecn)
{
	struct network *net = table_get(&w->networks->by_van_id, message_van_id(inner->van_id));
	struct offload_frame f = {.data = frame,
		.len = (uint32_t)len,
		.needs_csum = inner->kind & MESSAGE_FLAG_NEEDS_CSUM,
		.csum_start = inner->csum_start,
		.csum_offset = inner->csum_offset,
		.tap = net,
		.sender = keys->peer};
	enum drop_reason refused;

	if (!net) {
		stats_drop(&w->counters, DROP_unknown_network);
		return;
	}
	if (header->mode != net->mode) {
		stats_drop(&w->counters, DROP_mode_mismatch);
		return;
	}
	if (len < ETHERNET_HEADER_LEN ||
		(f.needs_csum && (size_t)f.csum_start + f.csum_offset + 2 > len)) {
		stats_drop(&w->counters, DROP_bad_inner);
		return;
	}
	refused = guard_source(net, keys->peer, frame + 6);
	if (refused != DROP__COUNT) {
		stats_drop(&w->counters, refused);
		return;
	}
	if (ecn_matters(outer_ecn) && !ecn_inner(frame, len, outer_ecn)) {
		stats_drop(&w->counters, DROP_ce_not_ect);
		return;
	}
	if (peer_frame_max(keys->peer) < ETHERNET_HEADER_LEN + (size_t)net->mtu)
		narrow_clamp(w, keys->peer, &f);
	offload_join_frame(&w->join, &f);
}

/* Like any other frame once it is whole. The buffer is needed again, so it does not wait. */
static __attribute__((noinline)) void deliver_part(struct worker *w, const struct keypair *keys,
	const struct message_data *header, const struct message_inner *inner, const uint8_t *part,
	size_t len)
{
	struct fragment_joined joined;

	if (!narrow_receive(w, keys, header, inner, part, len, &joined))
		return;
	deliver(w, keys, header, inner, joined.frame, joined.len, joined.outer_ecn);
	offload_join_flush(&w->join);
}

/* Whether a message counts for the timers of the session: what is answered at once, or is an answer,
 * does not ask for a keepalive. */
static bool is_data(unsigned int kind)
{
	return kind != MESSAGE_KEEPALIVE && kind != MESSAGE_PROBE && kind != MESSAGE_PROBE_ANSWER;
}

void forward_from_peer(struct worker *w, uint8_t *data, size_t len, const struct endpoint *from)
{
	struct message_data header;
	const struct message_inner *inner;
	uint8_t *payload = data + sizeof(header) + sizeof(*inner);
	struct keypair *keys;
	unsigned int kind;
	bool highest;

	if (len >= 1 && data[0] >= MESSAGE_INIT && data[0] <= MESSAGE_COOKIE) {
		hand_over_handshake(w, data, len, from);
		return;
	}
	if (len >= 1 && data[0] != MESSAGE_DATA) {
		stats_drop(&w->counters, DROP_unknown_type);
		return;
	}
	if (len < MESSAGE_OVERHEAD) {
		stats_drop(&w->counters, DROP_runt);
		return;
	}
	memcpy(&header, data, sizeof(header)); /* the room is needed again */
	if (header.mode > MESSAGE_MODE_GMAC) {
		stats_drop(&w->counters, DROP_bad_mode);
		return;
	}
	keys = open_datagram(w, data, len, &highest);
	if (!keys)
		return;
	stats_count(&w->counters, STAT_datagrams_received, 1);
	inner = (const struct message_inner *)(data + sizeof(header));
	kind = inner->kind & MESSAGE_KIND_MASK;
	note_received(w, keys, &header, highest, is_data(kind), from);
	if (kind == MESSAGE_FRAME)
		deliver(w, keys, &header, inner, payload, len - MESSAGE_OVERHEAD, w->outer_ecn);
	else if (kind == MESSAGE_FRAGMENT)
		deliver_part(w, keys, &header, inner, payload, len - MESSAGE_OVERHEAD);
	else if (header.mode != MESSAGE_MODE_GCM)
		stats_drop(&w->counters, DROP_mode_mismatch);
	else if (kind != MESSAGE_KEEPALIVE)
		hand_over_control(w, keys, inner, payload, len - MESSAGE_OVERHEAD);
}
