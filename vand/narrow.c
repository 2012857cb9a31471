/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done, in this order:
 *
 *   TCP super-frame          cut into segments that fit: it is ours to choose their size
 *   IP with DF, or IPv6      answered by "too big", like a router would, once the path's MTU is
 *                            final; the answer lasts ten minutes in the local stack, so it is not
 *                            given while the search still goes on
 *   everything else          sent in parts, which the peer rejoins: not IP, no DF, ICMP errors,
 *                            multicast, more answers than are given a second, an unfinished search
 *
 * So nothing that fits the TAP vanishes. On the way in, the MSS option of SYNs is lowered to what the
 * path back takes: then TCP, most of all traffic, does not get here at all.
 */
#include "vand/narrow.h"

#include <string.h>
#include "vand/forward.h"
#include "vand/network.h"
#include "vand/offload.h"
#include "vand/tap.h"
#include "vand/toobig.h"
#include "vand/worker.h"

struct part_headers {
	struct message_inner inner;
	struct message_fragment fragment;
};
static_assert(sizeof(struct part_headers) == 10, "no padding");

bool narrow_answer(struct worker *w, struct network *net, const struct peer *peer, size_t len,
	size_t segment_len)
{
	struct {
		struct virtio_net_hdr vnet;
		uint8_t frame[TOOBIG_ANSWER_MAX];
	} answer = {0};
	struct iovec iov = {.iov_base = &answer};
	bool final;
	size_t n, max = peer_path(peer, &final);

	if (!final)
		return false;
	n = toobig_answer(w->frame, len, segment_len, max, answer.frame);
	if (n == 0 || !cookie_bucket_take(&w->too_big, TOOBIG_RATE, TOOBIG_BURST, w->now_ns))
		return false;
	iov.iov_len = offsetof(typeof(answer), frame) + n;
	if (tap_write(net->tap, worker_tap_queue(w, net), &iov, 1) < 0)
		return false;
	stats_count(&w->counters, STAT_too_big_answered, 1);
	return true;
}

bool narrow_answer_cut(
	struct worker *w, struct network *net, const struct peer *peer, struct offload_cut *cut)
{
	size_t max = peer_frame_max(peer);

	if (cut->udp || max <= cut->header_len)
		return narrow_answer(w, net, peer, cut->len, offload_cut_segment_len(cut));
	cut->gso_size = (uint16_t)(max - cut->header_len);
	return false;
}

bool narrow_send(struct worker *w, const struct network *net, struct peer *peer,
	struct keypair *keys, const struct endpoint *to, struct message_inner inner, uint8_t *frame,
	size_t len)
{
	const bool own_port = forward_own_port(w, peer, keys, to);
	size_t max = peer_frame_max(peer), offset, part_len;
	struct part_headers headers = {.inner = inner}, saved;
	struct fragment_cut cut;
	uint16_t id = w->fragment_id++;
	bool more;

	if (max <= sizeof(headers.fragment) ||
		fragment_cut_init(&cut, len, max - sizeof(headers.fragment)) < 0) {
		stats_drop(&w->counters, DROP_too_big);
		return false;
	}
	headers.inner.kind = (uint8_t)((inner.kind & ~MESSAGE_KIND_MASK) | MESSAGE_FRAGMENT);
	while (fragment_cut_next(&cut, &offset, &part_len, &more)) {
		size_t body_len = sizeof(headers.fragment) + part_len;
		uint8_t *at = frame + offset - sizeof(headers), *datagram;

		/* Never NULL: it is far from MESSAGE_DATAGRAM_MAX. */
		datagram = udp_tx_reserve(&w->tx, peer, to, own_port, MESSAGE_OVERHEAD + body_len);
		fragment_put(&headers.fragment, id, offset, more);
		/* In front of the part, over the end of the one before; the next recipient of a
		 * flooded frame needs that again. */
		memcpy(&saved, at, sizeof(saved));
		memcpy(at, &headers, sizeof(headers));
		forward_seal(w, keys, net->mode, (struct message_inner *)at, body_len, datagram);
		memcpy(at, &saved, sizeof(saved));
	}
	stats_count(&w->counters, STAT_frames_cut, 1);
	return true;
}

bool narrow_receive(struct worker *w, const struct keypair *keys, const struct message_data *header,
	const struct message_inner *inner, const uint8_t *part, size_t len,
	struct fragment_joined *ret_joined)
{
	const struct fragment_key key = {.sender = keys->peer,
		.local_index = keys->local_index,
		.van_id = message_van_id(inner->van_id),
		.lane = header->lane,
		.mode = header->mode,
		.needs_csum = inner->kind & MESSAGE_FLAG_NEEDS_CSUM,
		.csum_start = inner->csum_start,
		.csum_offset = inner->csum_offset};

	if (!fragment_add(&w->fragments, &key, message_counter(header->counter), w->outer_ecn, part,
		    len, w->now_ns, ret_joined))
		return false;
	stats_count(&w->counters, STAT_frames_rejoined, 1);
	return true;
}

void narrow_clamp(struct worker *w, const struct peer *peer, const struct offload_frame *frame)
{
	bool final;
	size_t max = peer_path(peer, &final);

	/* A connection keeps its MSS for life, so not before it is known. */
	if (final && toobig_clamp_mss(frame->data, frame->len, frame->needs_csum, max))
		stats_count(&w->counters, STAT_mss_clamped, 1);
}
