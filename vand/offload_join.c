/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining segments of one flow into a super-frame.
 *
 * Every frame is classified first: data that could be joined, a pure ACK, another frame of a flow,
 * or one without a flow. The open flow that it belongs to is then found by comparing headers with
 * those of the flow's first frame, which stay untouched in their buffer until the flow is emitted;
 * there are a few flows only, and with a bulk transfer the first one compared is the right one.
 *
 * To join a segment is to note where its payload lies. All that its header said beyond that is
 * either equal to the first one's, or will be made up by whoever cuts the super-frame again
 * (sequence, lengths, checksums, IPv4 ID). For that reason nothing is joined that is not right as
 * it came: the kernel would compute fresh checksums over a damaged payload.
 */
#include <assert.h>
#include "vand/offload.h"
#include "vand/offload_parse.h"

static_assert(sizeof(struct virtio_net_hdr) == 10, "a vnet header is 10 bytes");

enum segment_kind {
	SEGMENT_NO_FLOW, /* not TCP or UDP, or malformed: ports unknown */
	SEGMENT_PASS,    /* of a flow, but never joined */
	SEGMENT_ACK,
	SEGMENT_DATA,
};

/* What a frame is, and where things are in it. */
struct segment {
	uint16_t l3_offset;
	uint16_t l4_offset;
	uint16_t header_len;
	uint16_t payload_len;
	bool ipv6;
	bool udp;
};

/* The end of the IP packet by its own length field; 0 when it is not one that has a flow. */
static size_t parse_l3(const struct offload_frame *frame, struct segment *seg)
{
	const uint8_t *ip;
	uint16_t ethertype;
	size_t end;
	uint8_t proto;

	seg->l3_offset = skip_ethernet(frame->data, frame->len, &ethertype);
	if (!seg->l3_offset)
		return 0;
	ip = frame->data + seg->l3_offset;
	if (ethertype == ETHERTYPE_IP4 && frame->len >= seg->l3_offset + IP4_LEN) {
		if (ip[0] != 0x45 || get_be16(ip + IP4_FRAGMENT) & 0x3fff)
			return 0;
		seg->ipv6 = false;
		seg->l4_offset = (uint16_t)(seg->l3_offset + IP4_LEN);
		end = (size_t)seg->l3_offset + get_be16(ip + IP4_TOTAL_LEN);
		proto = ip[IP4_PROTO];
	} else if (ethertype == ETHERTYPE_IP6 && frame->len >= seg->l3_offset + IP6_LEN) {
		if (ip[0] >> 4 != 6)
			return 0;
		seg->ipv6 = true;
		seg->l4_offset = (uint16_t)(seg->l3_offset + IP6_LEN);
		end = (size_t)seg->l4_offset + get_be16(ip + IP6_PAYLOAD_LEN);
		proto = ip[IP6_NEXT];
	} else {
		return 0;
	}
	if (end > frame->len || (proto != PROTO_TCP && proto != PROTO_UDP))
		return 0;
	seg->udp = proto == PROTO_UDP;
	return end;
}

static enum segment_kind classify_tcp(
	const struct offload_frame *frame, size_t end, struct segment *seg)
{
	const uint8_t *tcp = frame->data + seg->l4_offset;
	size_t header_len;

	if (end < (size_t)seg->l4_offset + TCP_LEN)
		return SEGMENT_NO_FLOW;
	header_len = seg->l4_offset + (size_t)(tcp[TCP_DOFF] >> 4) * 4;
	if (header_len < (size_t)seg->l4_offset + TCP_LEN || header_len > end)
		return SEGMENT_PASS;
	seg->header_len = (uint16_t)header_len;
	seg->payload_len = (uint16_t)(end - header_len);
	if (seg->payload_len == 0 && tcp[TCP_FLAGS] == TCP_FLAG_ACK)
		return SEGMENT_ACK;
	if (seg->payload_len == 0 || frame->len != end || (tcp[TCP_DOFF] & 0x0f) ||
		(tcp[TCP_FLAGS] & ~(TCP_FLAG_PSH | TCP_FLAG_FIN)) != TCP_FLAG_ACK)
		return SEGMENT_PASS;
	return SEGMENT_DATA;
}

static enum segment_kind classify_udp(
	const struct offload_frame *frame, size_t end, struct segment *seg)
{
	const uint8_t *udp = frame->data + seg->l4_offset;

	if (end < (size_t)seg->l4_offset + UDP_LEN)
		return SEGMENT_NO_FLOW;
	seg->header_len = (uint16_t)(seg->l4_offset + UDP_LEN);
	seg->payload_len = (uint16_t)(end - seg->header_len);
	if (seg->payload_len == 0 || frame->len != end ||
		get_be16(udp + UDP_LENGTH) != end - seg->l4_offset)
		return SEGMENT_PASS;
	/* Sniffers of broadcast and multicast would see the datagrams merged. */
	if ((frame->data[0] & 1) || !get_be16(udp) || !get_be16(udp + 2))
		return SEGMENT_PASS;
	return SEGMENT_DATA;
}

static enum segment_kind classify(
	const struct offload_join *j, const struct offload_frame *frame, struct segment *seg)
{
	size_t end = parse_l3(frame, seg);
	enum segment_kind kind;

	if (!end)
		return SEGMENT_NO_FLOW;
	kind = seg->udp ? classify_udp(frame, end, seg) : classify_tcp(frame, end, seg);
	if (kind == SEGMENT_DATA && !(seg->udp ? j->join_udp : j->join_tcp))
		return SEGMENT_PASS;
	return kind;
}

/* Is everything in the frame that a super-frame would have made up afresh right as it is? */
static bool checksums_are_right(
	const struct offload_frame *frame, const struct segment *seg, uint32_t pseudo_sum)
{
	const uint8_t *ip = frame->data + seg->l3_offset, *l4 = frame->data + seg->l4_offset;
	uint16_t csum_offset = l4_csum_offset(seg->udp);
	uint16_t csum = get_be16(l4 + csum_offset);
	uint32_t l4_len = frame->len - seg->l4_offset;

	if (!seg->ipv6 && sum_bytes(ip, IP4_LEN) != 0xffff)
		return false;
	if (frame->needs_csum)
		return frame->csum_start == seg->l4_offset && frame->csum_offset == csum_offset &&
		       csum == sum_fold((uint64_t)pseudo_sum + l4_len);
	/* A UDP datagram without a checksum would get one. */
	if (seg->udp && csum == 0)
		return false;
	return sum_fold((uint64_t)pseudo_sum + l4_len + sum_bytes(l4, l4_len)) == 0xffff;
}

static bool same_bytes(
	const struct offload_frame *a, const struct offload_frame *b, size_t offset, size_t len)
{
	return memcmp(a->data + offset, b->data + offset, len) == 0;
}

static bool same_flow(const struct offload_flow *flow, const struct offload_frame *frame,
	const struct segment *seg)
{
	const struct offload_frame *first = &flow->first;

	return flow->l4_offset == seg->l4_offset && flow->l3_offset == seg->l3_offset &&
	       flow->udp == seg->udp && flow->ipv6 == seg->ipv6 && first->tap == frame->tap &&
	       first->sender == frame->sender && same_bytes(first, frame, seg->l4_offset, 4) &&
	       (seg->ipv6 ? same_bytes(
				    first, frame, (size_t)seg->l3_offset + IP6_ADDRS, IP6_ADDRS_LEN)
			  : same_bytes(first, frame, (size_t)seg->l3_offset + IP4_ADDRS,
				    IP4_ADDRS_LEN)) &&
	       same_bytes(first, frame, 0, seg->l3_offset);
}

static struct offload_flow *find_flow(
	struct offload_join *j, const struct offload_frame *frame, const struct segment *seg)
{
	for (unsigned int left = j->open; left; left &= left - 1) {
		struct offload_flow *flow = &j->flows[__builtin_ctz(left)];

		if (same_flow(flow, frame, seg))
			return flow;
	}
	return NULL;
}

/* May the segment follow what the flow has, by its header and its size? */
static bool continues(const struct offload_flow *flow, const struct offload_frame *frame,
	const struct segment *seg)
{
	const uint8_t *ip = frame->data + seg->l3_offset, *tcp = frame->data + seg->l4_offset;
	const uint8_t *first_ip = flow->first.data + seg->l3_offset;
	const uint8_t *first_tcp = flow->first.data + seg->l4_offset;

	if (seg->header_len != flow->header_len || seg->payload_len > flow->gso_size ||
		flow->total_len - flow->l3_offset + seg->payload_len > IP_PACKET_MAX)
		return false;
	if (seg->ipv6) {
		/* Version, traffic class and flow label; hop limit. */
		if (memcmp(ip, first_ip, 4) != 0 || ip[IP6_HOP_LIMIT] != first_ip[IP6_HOP_LIMIT])
			return false;
	} else if (ip[IP4_TOS] != first_ip[IP4_TOS] || ip[IP4_TTL] != first_ip[IP4_TTL] ||
		   memcmp(ip + IP4_FRAGMENT, first_ip + IP4_FRAGMENT, 2) != 0) {
		return false;
	}
	if (seg->udp)
		return true;
	/* The flags but PSH and FIN and the length of the header are equal already. */
	return get_be32(tcp + TCP_SEQ) == flow->next_seq &&
	       memcmp(tcp + TCP_ACK, first_tcp + TCP_ACK, 4) == 0 &&
	       memcmp(tcp + TCP_WINDOW, first_tcp + TCP_WINDOW, 2) == 0 &&
	       memcmp(tcp + TCP_URGENT, first_tcp + TCP_URGENT,
		       (size_t)(seg->header_len - seg->l4_offset - TCP_URGENT)) == 0;
}

static void emit_single(struct offload_join *j, const struct offload_frame *frame)
{
	struct virtio_net_hdr vnet = {0};
	struct iovec iov = {
		.iov_base = frame->data - OFFLOAD_VNET_LEN,
		.iov_len = frame->len + OFFLOAD_VNET_LEN,
	};

	if (frame->needs_csum) {
		vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		vnet.csum_start = frame->csum_start;
		vnet.csum_offset = frame->csum_offset;
	}
	memcpy(iov.iov_base, &vnet, sizeof(vnet));
	j->emit(j->ctx, frame->tap, &iov, 1, 1, frame->len);
}

/* Makes the headers of the first segment those of the super-frame. */
static void patch_headers(struct offload_flow *flow)
{
	uint8_t *ip = flow->first.data + flow->l3_offset, *l4 = flow->first.data + flow->l4_offset;
	uint32_t l4_len = flow->total_len - flow->l4_offset;

	if (flow->ipv6) {
		put_be16(ip + IP6_PAYLOAD_LEN, l4_len);
	} else {
		uint32_t total_len = flow->total_len - flow->l3_offset;
		uint16_t old_len = get_be16(ip + IP4_TOTAL_LEN);
		uint16_t old_sum = (uint16_t)~get_be16(ip + IP4_CSUM);

		/* RFC 1624, equation 3. */
		put_be16(ip + IP4_CSUM,
			(uint16_t)~sum_fold((uint64_t)old_sum + sum_minus(old_len) + total_len));
		put_be16(ip + IP4_TOTAL_LEN, total_len);
	}
	if (flow->udp)
		put_be16(l4 + UDP_LENGTH, l4_len);
	else
		l4[TCP_FLAGS] |= flow->tcp_flags;
	put_be16(l4 + l4_csum_offset(flow->udp), sum_fold((uint64_t)flow->pseudo_sum + l4_len));
}

static void emit_super(struct offload_join *j, struct offload_flow *flow)
{
	struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = flow->udp    ? VIRTIO_NET_HDR_GSO_UDP_L4
			    : flow->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
					 : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = flow->header_len,
		.gso_size = flow->gso_size,
		.csum_start = flow->l4_offset,
		.csum_offset = l4_csum_offset(flow->udp),
	};

	patch_headers(flow);
	flow->payload[0].iov_base = flow->first.data - OFFLOAD_VNET_LEN;
	flow->payload[0].iov_len = flow->first.len + OFFLOAD_VNET_LEN;
	memcpy(flow->payload[0].iov_base, &vnet, sizeof(vnet));
	j->emit(j->ctx, flow->first.tap, flow->payload, flow->segments, flow->segments,
		flow->total_len);
}

/* Emits what the flow has and closes it. */
static void emit_flow(struct offload_join *j, struct offload_flow *flow)
{
	if (flow->segments > 1)
		emit_super(j, flow);
	else
		emit_single(j, &flow->first);
	for (unsigned int i = 0; i < flow->ack_count; i++)
		emit_single(j, &flow->acks[i]);
	j->open &= ~(1u << (flow - j->flows));
}

/* A free slot, or that of a flow which has to go; in turns, so that none of them stays for long. */
static struct offload_flow *take_slot(struct offload_join *j)
{
	unsigned int free_slots = ~j->open & ((1u << OFFLOAD_JOIN_FLOWS) - 1), slot;

	if (free_slots) {
		slot = (unsigned int)__builtin_ctz(free_slots);
	} else {
		slot = j->evict;
		j->evict = (slot + 1) % OFFLOAD_JOIN_FLOWS;
		emit_flow(j, &j->flows[slot]);
	}
	j->open |= 1u << slot;
	return &j->flows[slot];
}

static bool ends_super_frame(const struct offload_frame *frame, const struct segment *seg)
{
	return !seg->udp &&
	       (frame->data[seg->l4_offset + TCP_FLAGS] & (TCP_FLAG_PSH | TCP_FLAG_FIN));
}

static void open_flow(struct offload_join *j, const struct offload_frame *frame,
	const struct segment *seg, uint32_t pseudo_sum)
{
	struct offload_flow *flow;

	if (ends_super_frame(frame, seg)) {
		emit_single(j, frame);
		return;
	}
	flow = take_slot(j);
	flow->first = *frame;
	flow->l3_offset = seg->l3_offset;
	flow->l4_offset = seg->l4_offset;
	flow->header_len = seg->header_len;
	flow->gso_size = seg->payload_len;
	flow->segments = 1;
	flow->ipv6 = seg->ipv6;
	flow->udp = seg->udp;
	flow->tcp_flags = 0;
	flow->ack_count = 0;
	flow->total_len = frame->len;
	flow->pseudo_sum = pseudo_sum;
	if (!seg->udp)
		flow->next_seq =
			get_be32(frame->data + seg->l4_offset + TCP_SEQ) + seg->payload_len;
}

static void append(struct offload_join *j, struct offload_flow *flow,
	const struct offload_frame *frame, const struct segment *seg)
{
	flow->payload[flow->segments++] = (struct iovec){
		.iov_base = frame->data + seg->header_len,
		.iov_len = seg->payload_len,
	};
	flow->total_len += seg->payload_len;
	flow->next_seq += seg->payload_len;
	if (!seg->udp)
		flow->tcp_flags = frame->data[seg->l4_offset + TCP_FLAGS];
	if (seg->payload_len < flow->gso_size || flow->segments == OFFLOAD_JOIN_SEGMENTS ||
		ends_super_frame(frame, seg))
		emit_flow(j, flow);
}

static void take_data(struct offload_join *j, struct offload_flow *flow,
	const struct offload_frame *frame, const struct segment *seg)
{
	uint32_t pseudo_sum = flow ? flow->pseudo_sum
				   : sum_pseudo(frame->data + seg->l3_offset, seg->ipv6, seg->udp);
	bool right = checksums_are_right(frame, seg, pseudo_sum);

	if (flow && right && continues(flow, frame, seg)) {
		append(j, flow, frame, seg);
		return;
	}
	if (flow)
		emit_flow(j, flow);
	if (right)
		open_flow(j, frame, seg, pseudo_sum);
	else
		emit_single(j, frame);
}

/* Emits every open flow between the MACs of a frame that has no flow of its own. */
static void emit_flows_of_macs(struct offload_join *j, const struct offload_frame *frame)
{
	if (frame->len < ETHER_LEN)
		return;
	for (unsigned int left = j->open; left; left &= left - 1) {
		struct offload_flow *flow = &j->flows[__builtin_ctz(left)];

		if (flow->first.tap == frame->tap && flow->first.sender == frame->sender &&
			same_bytes(&flow->first, frame, 0, 12))
			emit_flow(j, flow);
	}
}

void offload_join_init(
	struct offload_join *j, bool join_tcp, bool join_udp, offload_emit *emit, void *ctx)
{
	j->open = 0;
	j->evict = 0;
	j->join_tcp = join_tcp;
	j->join_udp = join_udp;
	j->emit = emit;
	j->ctx = ctx;
}

void offload_join_frame(struct offload_join *j, const struct offload_frame *frame)
{
	struct offload_flow *flow;
	enum segment_kind kind;
	struct segment seg = {0};

	if (!j->join_tcp && !j->join_udp) {
		emit_single(j, frame);
		return;
	}
	kind = classify(j, frame, &seg);
	if (kind == SEGMENT_NO_FLOW) {
		emit_flows_of_macs(j, frame);
		emit_single(j, frame);
		return;
	}
	flow = find_flow(j, frame, &seg);
	if (kind == SEGMENT_DATA) {
		take_data(j, flow, frame, &seg);
		return;
	}
	if (flow && kind == SEGMENT_ACK && flow->ack_count < OFFLOAD_JOIN_ACKS) {
		flow->acks[flow->ack_count++] = *frame;
		return;
	}
	if (flow)
		emit_flow(j, flow);
	emit_single(j, frame);
}

void offload_join_flush(struct offload_join *j)
{
	for (unsigned int left = j->open; left; left &= left - 1)
		emit_flow(j, &j->flows[__builtin_ctz(left)]);
}
