/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer's source is the destination that the packet was going to, at both layers: MACs and
 * addresses swapped. A router of ours would be the honest source, but there is none: no address here
 * is on the way. Whatever host or gateway the packet was for is routed through this interface, so
 * that a strict reverse path filter lets the answer in, and its MAC is the neighbour's. (Linux
 * answers likewise for its own layer-2 tunnels.) Nobody but the local side sees the frame.
 *
 * The quotation is what the sender's stack needs to find its socket. Where the packet was going to
 * be cut from a super-frame, its lengths are those of the segment, so that nobody doubts that it is
 * larger than the MTU that is told; the layer-4 checksum in it is not completed, and no stack looks.
 */
#include "vand/toobig.h"

#include <string.h>
#include "vand/offload_parse.h"

#define IP4_QUOTE_MAX (576 - IP4_LEN - ICMP_LEN) /* RFC 1812 §4.3.2.3 */
#define IP6_QUOTE_MAX (1280 - IP6_LEN - ICMP_LEN)
#define ICMP_LEN      8

/* What every host takes. Systems distrust smaller MTUs (Linux takes none below 552 for IPv4), and
 * would go on sending what we go on refusing. */
#define IP4_MTU_MIN 576  /* RFC 1122 §3.3.2 */
#define IP6_MTU_MIN 1280 /* RFC 8200 §5 */

#define IP4_DF          0x4000
#define IP4_OFFSET      0x1fff
#define IP4_TTL_ANSWER  64
#define IP4_TOS_ANSWER  0xc0 /* internetwork control, RFC 1812 §4.3.2.5 */
#define IP6_HOPS_ANSWER 255

#define PROTO_ICMP         1
#define PROTO_ICMP6        58
#define ICMP_UNREACHABLE   3
#define ICMP_FRAG_NEEDED   4
#define ICMP6_TOO_BIG      2
#define ICMP6_INFORMATION  128 /* types from here on are no errors */
#define ICMP6_REDIRECT     137
#define TCP_FLAG_SYN       0x02
#define TCP_OPTION_END     0
#define TCP_OPTION_NOP     1
#define TCP_OPTION_MSS     2
#define TCP_OPTION_MSS_LEN 4

/* An IP packet in a frame, its header within bounds. */
struct packet {
	const uint8_t *ip;
	size_t l3; /* offset in the frame */
	size_t header_len;
	size_t available; /* bytes of it that are there */
	bool ipv6;
};

static bool find_packet(const uint8_t *frame, size_t len, struct packet *ret_packet)
{
	struct packet p = {0};
	uint16_t ethertype;

	p.l3 = skip_ethernet(frame, len, &ethertype);
	if (!p.l3)
		return false;
	p.ip = frame + p.l3;
	p.available = len - p.l3;
	if (ethertype == ETHERTYPE_IP4) {
		if (p.available < IP4_LEN || p.ip[0] >> 4 != 4)
			return false;
		p.header_len = (size_t)(p.ip[0] & 0x0f) * 4;
		if (p.header_len < IP4_LEN || p.header_len > p.available)
			return false;
	} else if (ethertype == ETHERTYPE_IP6) {
		if (p.available < IP6_LEN || p.ip[0] >> 4 != 6)
			return false;
		p.ipv6 = true;
		p.header_len = IP6_LEN;
	} else {
		return false;
	}
	*ret_packet = p;
	return true;
}

/* Skips extension headers (RFC 8200 §4) up to a fragment header or what is none. Returns the offset
 * in the packet of what follows, and its type; 0 when that is beyond the bytes there are. */
static size_t skip_extensions(const struct packet *p, uint8_t *ret_next)
{
	size_t offset = IP6_LEN;
	uint8_t next = p->ip[IP6_NEXT];

	/* Bounded: each is 8 bytes at least. */
	while (next == IP6_HOP_BY_HOP || next == IP6_ROUTING || next == IP6_DEST_OPTIONS) {
		if (p->available < offset + 8)
			return 0;
		next = p->ip[offset];
		offset += ((size_t)p->ip[offset + 1] + 1) * 8;
	}
	*ret_next = next;
	return offset <= p->available ? offset : 0;
}

/* -- too big -- */

/* Unicast, as far as an address can tell; and not of this machine's own. */
static bool ip4_answerable_address(const uint8_t *a)
{
	return a[0] != 0 && a[0] != 127 && a[0] < 224;
}

static bool ip4_answerable(const struct packet *p)
{
	const uint8_t *ip = p->ip;
	uint16_t fragment = get_be16(ip + IP4_FRAGMENT);

	if (!(fragment & IP4_DF) || (fragment & IP4_OFFSET))
		return false;
	if (sum_bytes(ip, p->header_len) != 0xffff)
		return false;
	if (!ip4_answerable_address(ip + IP4_ADDRS) || !ip4_answerable_address(ip + IP4_ADDRS + 4))
		return false;
	if (ip[IP4_PROTO] != PROTO_ICMP)
		return true;
	if (p->available == p->header_len)
		return false;
	/* Queries and their answers: echo 0 and 8, timestamp 13 and 14; all else may be an error. */
	switch (ip[p->header_len]) {
	case 0:
	case 8:
	case 13:
	case 14:
		return true;
	default:
		return false;
	}
}

static bool is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i])
			return false;
	}
	return true;
}

static bool ip6_answerable_address(const uint8_t *a)
{
	return a[0] != 0xff && !is_zero(a, 15); /* not a group, ::, ::1 */
}

static bool ip6_answerable(const struct packet *p)
{
	uint8_t next;
	size_t offset;

	if (!ip6_answerable_address(p->ip + IP6_ADDRS) ||
		!ip6_answerable_address(p->ip + IP6_ADDRS + 16))
		return false;
	offset = skip_extensions(p, &next);
	if (!offset)
		return false;
	if (next == IP6_FRAGMENT_HEADER) {
		if (p->available < offset + 8 || get_be16(p->ip + offset + 2) & 0xfff8)
			return false;
		next = p->ip[offset];
		offset += 8;
	}
	return next != PROTO_ICMP6 ||
	       (p->available > offset && p->ip[offset] >= ICMP6_INFORMATION &&
		       p->ip[offset] != ICMP6_REDIRECT);
}

/* Ethernet of the answer: that of the frame, going back. Returns its length. */
static size_t put_ethernet(const uint8_t *frame, size_t l3, uint8_t *answer)
{
	memcpy(answer, frame + 6, 6);
	memcpy(answer + 6, frame, 6);
	memcpy(answer + 12, frame + 12, l3 - 12); /* tags and type */
	return l3;
}

/* Copies the first bytes of the packet, with the lengths that its segment would have. */
static void put_quote(const struct packet *p, size_t packet_len, uint8_t *quote, size_t len)
{
	size_t l4 = p->header_len;
	uint8_t proto = p->ipv6 ? p->ip[IP6_NEXT] : p->ip[IP4_PROTO];

	memcpy(quote, p->ip, len);
	if (p->ipv6) {
		l4 = skip_extensions(p, &proto);
		put_be16(quote + IP6_PAYLOAD_LEN, (unsigned int)(packet_len - IP6_LEN));
	} else {
		put_be16(quote + IP4_TOTAL_LEN, (unsigned int)packet_len);
		put_be16(quote + IP4_CSUM, 0);
		put_be16(quote + IP4_CSUM, (uint16_t)~sum_bytes(quote, p->header_len));
	}
	if (proto == PROTO_UDP && l4 && l4 + UDP_LEN <= len && packet_len >= l4 + UDP_LEN)
		put_be16(quote + l4 + UDP_LENGTH, (unsigned int)(packet_len - l4));
}

static size_t answer_ip4(
	const struct packet *p, size_t packet_len, size_t mtu, bool cut, uint8_t *ip)
{
	size_t quote = packet_len < IP4_QUOTE_MAX ? packet_len : IP4_QUOTE_MAX;
	size_t total = IP4_LEN + ICMP_LEN + quote;
	uint8_t *icmp = ip + IP4_LEN;

	memset(ip, 0, IP4_LEN + ICMP_LEN);
	ip[0] = 0x45;
	ip[IP4_TOS] = IP4_TOS_ANSWER;
	put_be16(ip + IP4_TOTAL_LEN, (unsigned int)total);
	put_be16(ip + IP4_FRAGMENT, IP4_DF);
	ip[IP4_TTL] = IP4_TTL_ANSWER;
	ip[IP4_PROTO] = PROTO_ICMP;
	memcpy(ip + IP4_ADDRS, p->ip + IP4_ADDRS + 4, 4);
	memcpy(ip + IP4_ADDRS + 4, p->ip + IP4_ADDRS, 4);
	put_be16(ip + IP4_CSUM, (uint16_t)~sum_bytes(ip, IP4_LEN));
	icmp[0] = ICMP_UNREACHABLE;
	icmp[1] = ICMP_FRAG_NEEDED;
	put_be16(icmp + 6, (unsigned int)mtu); /* RFC 1191 §4 */
	if (cut)
		put_quote(p, packet_len, icmp + ICMP_LEN, quote);
	else
		memcpy(icmp + ICMP_LEN, p->ip, quote);
	put_be16(icmp + 2, (uint16_t)~sum_bytes(icmp, ICMP_LEN + quote));
	return total;
}

static size_t answer_ip6(
	const struct packet *p, size_t packet_len, size_t mtu, bool cut, uint8_t *ip)
{
	size_t quote = packet_len < IP6_QUOTE_MAX ? packet_len : IP6_QUOTE_MAX;
	size_t payload = ICMP_LEN + quote;
	uint8_t *icmp = ip + IP6_LEN;
	uint32_t sum;

	memset(ip, 0, IP6_LEN + ICMP_LEN);
	ip[0] = 0x60;
	put_be16(ip + IP6_PAYLOAD_LEN, (unsigned int)payload);
	ip[IP6_NEXT] = PROTO_ICMP6;
	ip[IP6_HOP_LIMIT] = IP6_HOPS_ANSWER;
	memcpy(ip + IP6_ADDRS, p->ip + IP6_ADDRS + 16, 16);
	memcpy(ip + IP6_ADDRS + 16, p->ip + IP6_ADDRS, 16);
	icmp[0] = ICMP6_TOO_BIG;
	put_be32(icmp + 4, (uint32_t)mtu);
	if (cut)
		put_quote(p, packet_len, icmp + ICMP_LEN, quote);
	else
		memcpy(icmp + ICMP_LEN, p->ip, quote);
	sum = (uint32_t)sum_bytes(ip + IP6_ADDRS, IP6_ADDRS_LEN) + PROTO_ICMP6 + (uint32_t)payload;
	put_be16(icmp + 2, (uint16_t)~sum_fold((uint64_t)sum + sum_bytes(icmp, payload)));
	return IP6_LEN + payload;
}

/* The length that the packet says it has, where it is not a super-frame; 0: it contradicts itself.
 */
static size_t stated_len(const struct packet *p)
{
	size_t len = p->ipv6 ? IP6_LEN + (size_t)get_be16(p->ip + IP6_PAYLOAD_LEN)
			     : get_be16(p->ip + IP4_TOTAL_LEN);

	return len >= p->header_len && len <= p->available ? len : 0;
}

size_t toobig_answer(
	const uint8_t *frame, size_t len, size_t segment_len, size_t frame_max, uint8_t *ret_answer)
{
	size_t mtu, packet_len;
	bool cut = segment_len < len;
	struct packet p;

	if (!find_packet(frame, len, &p) || (frame[0] & 1) || (frame[6] & 1))
		return 0;
	if (segment_len < p.l3 + p.header_len || frame_max < p.l3)
		return 0;
	packet_len = cut ? segment_len - p.l3 : stated_len(&p);
	mtu = frame_max - p.l3;
	if (mtu < (p.ipv6 ? IP6_MTU_MIN : IP4_MTU_MIN))
		return 0;
	if (packet_len <= mtu || packet_len > IP_PACKET_MAX ||
		!(p.ipv6 ? ip6_answerable(&p) : ip4_answerable(&p)))
		return 0;
	put_ethernet(frame, p.l3, ret_answer);
	return p.l3 + (p.ipv6 ? answer_ip6(&p, packet_len, mtu, cut, ret_answer + p.l3)
			      : answer_ip4(&p, packet_len, mtu, cut, ret_answer + p.l3));
}

/* -- MSS -- */

/* The TCP header of a packet that is one, and not a later fragment; NULL otherwise. */
static const uint8_t *find_tcp(const struct packet *p, size_t *ret_len)
{
	size_t offset = p->header_len;
	uint8_t proto = 0;

	if (p->ipv6)
		offset = skip_extensions(p, &proto);
	else if (!(get_be16(p->ip + IP4_FRAGMENT) & IP4_OFFSET))
		proto = p->ip[IP4_PROTO];
	if (proto != PROTO_TCP || !offset || p->available < offset + TCP_LEN)
		return NULL;
	*ret_len = (size_t)(p->ip[offset + TCP_DOFF] >> 4) * 4;
	if (*ret_len < TCP_LEN || *ret_len > p->available - offset)
		return NULL;
	return p->ip + offset;
}

/* Offset of the MSS option's value in the TCP header; 0: it has none that is well formed. */
static size_t find_mss(const uint8_t *tcp, size_t header_len)
{
	size_t at = TCP_LEN;

	while (at < header_len) {
		size_t option_len;

		if (tcp[at] == TCP_OPTION_END)
			return 0;
		if (tcp[at] == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		if (header_len - at < 2)
			return 0;
		option_len = tcp[at + 1];
		if (option_len < 2 || option_len > header_len - at)
			return 0;
		if (tcp[at] == TCP_OPTION_MSS)
			return option_len == TCP_OPTION_MSS_LEN ? at + 2 : 0;
		at += option_len;
	}
	return 0;
}

/* Replaces two bytes at an offset from where a checksum's part begins (RFC 1624, equation 3). */
static void replace_summed(uint8_t *part, size_t at, unsigned int value, uint8_t *csum)
{
	uint8_t old[4] = {0}, new[4] = {0};
	size_t odd = at & 1;

	/* The words that the two bytes lie in, everything else in them taken as zero. */
	memcpy(old + odd, part + at, 2);
	put_be16(new + odd, value);
	memcpy(part + at, new + odd, 2);
	put_be16(csum, (uint16_t)~sum_fold((uint64_t)(uint16_t)~get_be16(csum) +
					   sum_minus(get_be16(old)) + sum_minus(get_be16(old + 2)) +
					   get_be16(new) + get_be16(new + 2)));
}

bool toobig_clamp_mss(uint8_t *frame, size_t len, bool partial, size_t frame_max)
{
	size_t header_len, at, headers;
	struct packet p;
	uint8_t *tcp;

	if (!find_packet(frame, len, &p))
		return false;
	tcp = (uint8_t *)find_tcp(&p, &header_len);
	if (!tcp || !(tcp[TCP_FLAGS] & TCP_FLAG_SYN))
		return false;
	at = find_mss(tcp, header_len);
	/* RFC 9293 §3.7.1: without options; who sends options makes segments smaller. */
	headers = p.l3 + (p.ipv6 ? IP6_LEN : IP4_LEN) + TCP_LEN;
	if (!at || frame_max <= headers || get_be16(tcp + at) <= frame_max - headers)
		return false;
	if (partial)
		put_be16(tcp + at, (unsigned int)(frame_max - headers));
	else
		replace_summed(tcp, at, (unsigned int)(frame_max - headers), tcp + TCP_CSUM);
	return true;
}
