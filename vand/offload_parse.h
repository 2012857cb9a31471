/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What offload_*.c, toobig.c and ecn.c share: byte order, the headers' offsets and the arithmetic of
 * Internet checksums (RFC 1071). Internal to them.
 *
 * A "sum" here is a ones' complement sum of big-endian 16-bit words as a number in host order, not
 * folded and not complemented: sums are added with +, and folded once at the end. A folded sum of
 * anything but zeroes is 1 to 0xffff, so that equal sums have one representation.
 */
#ifndef VAND_OFFLOAD_PARSE_H
#define VAND_OFFLOAD_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ETHER_LEN     14
#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_IP6 0x86dd

#define PROTO_TCP 6
#define PROTO_UDP 17

/* IPv6 extension headers (RFC 8200 §4). */
#define IP6_HOP_BY_HOP      0
#define IP6_ROUTING         43
#define IP6_FRAGMENT_HEADER 44
#define IP6_DEST_OPTIONS    60

/* Lengths of the fixed headers, and where in them the fields lie that change. */
#define IP4_LEN         20u
#define IP4_TOS         1
#define IP4_TOTAL_LEN   2
#define IP4_ID          4
#define IP4_FRAGMENT    6 /* reserved, DF and MF bits, offset */
#define IP4_TTL         8
#define IP4_PROTO       9
#define IP4_CSUM        10
#define IP4_ADDRS       12
#define IP4_ADDRS_LEN   8
#define IP6_LEN         40u
#define IP6_PAYLOAD_LEN 4
#define IP6_NEXT        6
#define IP6_HOP_LIMIT   7
#define IP6_ADDRS       8
#define IP6_ADDRS_LEN   32
#define TCP_LEN         20u
#define TCP_SEQ         4
#define TCP_ACK         8
#define TCP_DOFF        12 /* header length in the high nibble, reserved bits and AE */
#define TCP_FLAGS       13
#define TCP_WINDOW      14
#define TCP_CSUM        16
#define TCP_URGENT      18
#define UDP_LEN         8u
#define UDP_LENGTH      4
#define UDP_CSUM        6

#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_PSH 0x08
#define TCP_FLAG_ACK 0x10
#define TCP_FLAG_CWR 0x80

#define IP_PACKET_MAX 65535

static inline uint16_t get_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get_be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

static inline void put_be16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof(v));
}

static inline uint16_t sum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* What to add to a sum in order to take a word out of it. */
static inline uint16_t sum_minus(uint16_t word)
{
	return (uint16_t)~word;
}

/* The sum of len bytes, folded; an odd last byte counts as the high half of a word. */
uint16_t sum_bytes(const uint8_t *p, size_t len);

/* Addresses and protocol number of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1); its length
 * is for the caller to add. ip is an IPv4 header or an IPv6 header without a routing header. */
static inline uint32_t sum_pseudo(const uint8_t *ip, bool ipv6, bool udp)
{
	return (uint32_t)(ipv6 ? sum_bytes(ip + IP6_ADDRS, IP6_ADDRS_LEN)
			       : sum_bytes(ip + IP4_ADDRS, IP4_ADDRS_LEN)) +
	       (udp ? PROTO_UDP : PROTO_TCP);
}

static inline uint16_t l4_csum_offset(bool udp)
{
	return udp ? UDP_CSUM : TCP_CSUM;
}

/*
 * Skips the Ethernet header and up to two VLAN tags. Returns the offset of what follows, and its
 * type; 0 when the frame ends before that.
 */
static inline uint16_t skip_ethernet(const uint8_t *frame, size_t len, uint16_t *ret_ethertype)
{
	uint16_t offset = ETHER_LEN, type;

	if (len < ETHER_LEN)
		return 0;
	type = get_be16(frame + ETHER_LEN - 2);
	for (int tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8 || type == 0x9100);
		tags++) {
		offset += 4;
		if (len < offset)
			return 0;
		type = get_be16(frame + offset - 2);
	}
	*ret_ethertype = type;
	return offset;
}

#endif
