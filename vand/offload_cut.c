/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting a super-frame.
 *
 * The headers are saved once as a template, from which everything that differs between segments is
 * taken out of the two sums: the IPv4 header's without length, ID and checksum, and the
 * pseudo-header's without its length. A segment then costs a few stores into the template, two
 * additions with folding and a copy of the template to just in front of the segment's payload.
 *
 * The pseudo-header sum comes from the checksum field, less the length of the whole, as the kernel
 * does it: it is right also where the final destination is in a routing header, and a wrong one
 * stays wrong instead of being laundered. Only where the frame has no partial checksum is it
 * computed from the addresses.
 *
 * The IPv4 and IPv6 length fields of a super-frame may be 0, as some guests with large-send offload
 * leave them; the length of the frame is what counts.
 */
#include <errno.h>
#include "vand/offload.h"
#include "vand/offload_parse.h"

static bool length_agrees(uint16_t field, size_t len)
{
	return field == len || field == 0;
}

static int parse_ip4(struct offload_cut *cut)
{
	const uint8_t *ip = cut->frame + cut->l3_offset;
	size_t len = cut->len - cut->l3_offset, header_len;

	if (len < IP4_LEN || ip[0] >> 4 != 4)
		return -EINVAL;
	header_len = (size_t)(ip[0] & 0x0f) * 4;
	if (header_len < IP4_LEN || header_len > len ||
		!length_agrees(get_be16(ip + IP4_TOTAL_LEN), len))
		return -EINVAL;
	if (get_be16(ip + IP4_FRAGMENT) & 0x3fff)
		return -EINVAL;
	if (ip[IP4_PROTO] != (cut->udp ? PROTO_UDP : PROTO_TCP))
		return -EINVAL;
	cut->l4_offset = (uint16_t)(cut->l3_offset + header_len);
	return 0;
}

static int parse_ip6(struct offload_cut *cut, bool *ret_extensions)
{
	const uint8_t *ip = cut->frame + cut->l3_offset;
	size_t offset = (size_t)cut->l3_offset + IP6_LEN;
	uint8_t next;

	if (cut->len < offset || ip[0] >> 4 != 6 ||
		!length_agrees(get_be16(ip + IP6_PAYLOAD_LEN), cut->len - offset))
		return -EINVAL;
	next = ip[IP6_NEXT];
	*ret_extensions = false;
	/* Bounded: each is 8 bytes at least. */
	while (next == IP6_HOP_BY_HOP || next == IP6_ROUTING || next == IP6_DEST_OPTIONS) {
		const uint8_t *extension = cut->frame + offset;

		if (cut->len < offset + 8 || offset > OFFLOAD_HEADERS_MAX)
			return -EINVAL;
		next = extension[0];
		offset += ((size_t)extension[1] + 1) * 8;
		*ret_extensions = true;
	}
	if (next != (cut->udp ? PROTO_UDP : PROTO_TCP) || offset > OFFLOAD_HEADERS_MAX)
		return -EINVAL;
	cut->l4_offset = (uint16_t)offset;
	return 0;
}

static int parse_l4(struct offload_cut *cut)
{
	const uint8_t *l4 = cut->frame + cut->l4_offset;
	size_t min_len = cut->udp ? UDP_LEN : TCP_LEN, header_len = min_len;

	if (cut->len < cut->l4_offset + min_len)
		return -EINVAL;
	if (cut->udp) {
		if (get_be16(l4 + UDP_LENGTH) != cut->len - cut->l4_offset)
			return -EINVAL;
	} else {
		header_len = (size_t)(l4[TCP_DOFF] >> 4) * 4;
		if (header_len < TCP_LEN)
			return -EINVAL;
	}
	header_len += cut->l4_offset;
	if (header_len > cut->len || header_len > OFFLOAD_HEADERS_MAX)
		return -EINVAL;
	cut->header_len = (uint16_t)header_len;
	return 0;
}

static int parse(struct offload_cut *cut, bool *ret_extensions)
{
	uint16_t ethertype;
	int r;

	cut->l3_offset = skip_ethernet(cut->frame, cut->len, &ethertype);
	if (!cut->l3_offset || ethertype != (cut->ipv6 ? ETHERTYPE_IP6 : ETHERTYPE_IP4) ||
		cut->len - cut->l3_offset > IP_PACKET_MAX)
		return -EINVAL;
	*ret_extensions = false;
	r = cut->ipv6 ? parse_ip6(cut, ret_extensions) : parse_ip4(cut);
	return r < 0 ? r : parse_l4(cut);
}

/* UDP_L4 is one type for both; what the frame says decides. */
static bool is_ip6(const uint8_t *frame, size_t len)
{
	uint16_t ethertype;

	return skip_ethernet(frame, len, &ethertype) && ethertype == ETHERTYPE_IP6;
}

/* Everything that all segments have in common goes into the template and its sums. */
static void make_template(struct offload_cut *cut, bool partial)
{
	uint8_t *ip = cut->header + cut->l3_offset, *l4 = cut->header + cut->l4_offset;

	memcpy(cut->header, cut->frame, cut->header_len);
	if (!cut->ipv6) {
		put_be16(ip + IP4_TOTAL_LEN, 0);
		put_be16(ip + IP4_CSUM, 0);
		cut->ip_id = get_be16(ip + IP4_ID);
		put_be16(ip + IP4_ID, 0);
		cut->ip_sum = sum_bytes(ip, (size_t)(cut->l4_offset - cut->l3_offset));
	}
	if (partial)
		cut->pseudo_sum = (uint32_t)get_be16(l4 + cut->csum_offset) +
				  sum_minus((uint16_t)(cut->len - cut->l4_offset));
	else
		cut->pseudo_sum = sum_pseudo(ip, cut->ipv6, cut->udp);
	if (!cut->udp) {
		cut->tcp_seq = get_be32(l4 + TCP_SEQ);
		cut->tcp_flags = l4[TCP_FLAGS];
	}
}

int offload_cut_init(
	struct offload_cut *cut, uint8_t *frame, size_t len, const struct virtio_net_hdr *vnet)
{
	bool partial = vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, extensions;
	int r;

	if (len > OFFLOAD_FRAME_MAX || vnet->gso_size == 0)
		return -EINVAL;
	switch (vnet->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		cut->udp = cut->ipv6 = false;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		cut->udp = false;
		cut->ipv6 = true;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		cut->udp = true;
		cut->ipv6 = is_ip6(frame, len);
		break;
	case VIRTIO_NET_HDR_GSO_NONE:
		return -EINVAL;
	default:
		return -EOPNOTSUPP;
	}
	cut->frame = frame;
	cut->len = (uint32_t)len;
	r = parse(cut, &extensions);
	if (r < 0)
		return r;
	cut->csum_start = cut->l4_offset;
	cut->csum_offset = l4_csum_offset(cut->udp);
	if (partial ? vnet->csum_start != cut->csum_start || vnet->csum_offset != cut->csum_offset
		    : extensions)
		return -EINVAL;
	cut->gso_size = vnet->gso_size;
	cut->next = cut->header_len;
	cut->index = 0;
	make_template(cut, partial);
	return 0;
}

bool offload_cut_next(struct offload_cut *cut, uint8_t **ret_segment, size_t *ret_len)
{
	uint32_t left = cut->len - cut->next;
	uint32_t payload = left < cut->gso_size ? left : cut->gso_size;
	uint32_t l4_len = cut->header_len - cut->l4_offset + payload;
	uint8_t *ip = cut->header + cut->l3_offset, *l4 = cut->header + cut->l4_offset;
	uint8_t *segment = cut->frame + cut->next - cut->header_len;

	if (!left && cut->index)
		return false;
	if (cut->ipv6) {
		put_be16(ip + IP6_PAYLOAD_LEN, cut->l4_offset - cut->l3_offset - IP6_LEN + l4_len);
	} else {
		uint32_t total_len = cut->l4_offset - cut->l3_offset + l4_len;
		uint16_t id = (uint16_t)(cut->ip_id + cut->index);

		put_be16(ip + IP4_TOTAL_LEN, total_len);
		put_be16(ip + IP4_ID, id);
		put_be16(ip + IP4_CSUM, (uint16_t)~sum_fold(cut->ip_sum + total_len + id));
	}
	if (cut->udp) {
		put_be16(l4 + UDP_LENGTH, l4_len);
	} else {
		uint8_t flags = cut->tcp_flags;

		if (cut->index)
			flags &= (uint8_t)~TCP_FLAG_CWR;
		if (payload < left)
			flags &= (uint8_t) ~(TCP_FLAG_FIN | TCP_FLAG_PSH);
		l4[TCP_FLAGS] = flags;
		put_be32(l4 + TCP_SEQ, cut->tcp_seq + (cut->next - cut->header_len));
	}
	put_be16(l4 + cut->csum_offset, sum_fold((uint64_t)cut->pseudo_sum + l4_len));
	memcpy(segment, cut->header, cut->header_len);
	cut->next += payload;
	cut->index++;
	*ret_segment = segment;
	*ret_len = (size_t)cut->header_len + payload;
	return true;
}

unsigned int offload_cut_count(const struct offload_cut *cut)
{
	uint32_t payload = cut->len - cut->header_len;

	return payload ? (payload + cut->gso_size - 1) / cut->gso_size : 1;
}
