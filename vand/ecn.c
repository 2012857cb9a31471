/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/ecn.h"

#include "vand/offload_parse.h"

/* The IP header of a frame: its first two bytes are there. NULL: none. */
static const uint8_t *find_ip(const uint8_t *frame, size_t len, bool *ret_ipv6)
{
	uint16_t ethertype, l3 = skip_ethernet(frame, len, &ethertype);

	if (!l3)
		return NULL;
	*ret_ipv6 = ethertype == ETHERTYPE_IP6;
	if (ethertype == ETHERTYPE_IP4)
		return len >= l3 + IP4_LEN && frame[l3] >> 4 == 4 ? frame + l3 : NULL;
	return *ret_ipv6 && len >= l3 + IP6_LEN && frame[l3] >> 4 == 6 ? frame + l3 : NULL;
}

/* Version 4, traffic class 8, flow label 20 bits (RFC 8200 §3): the class lies across two bytes. */
static uint8_t tos_of(const uint8_t *ip, bool ipv6)
{
	return ipv6 ? (uint8_t)(ip[0] << 4 | ip[1] >> 4) : ip[IP4_TOS];
}

static void set_ecn(uint8_t *ip, bool ipv6, uint8_t ecn)
{
	uint16_t old, new;

	if (ipv6) {
		ip[1] = (uint8_t)((ip[1] & ~(ECN_MASK << 4)) | ecn << 4);
		return;
	}
	/* The byte's word, and the sum without it (RFC 1624, equation 3). */
	old = get_be16(ip);
	ip[IP4_TOS] = (uint8_t)((ip[IP4_TOS] & ~ECN_MASK) | ecn);
	new = get_be16(ip);
	put_be16(ip + IP4_CSUM, (uint16_t)~sum_fold((uint64_t)(uint16_t)~get_be16(ip + IP4_CSUM) +
						    sum_minus(old) + new));
}

uint8_t ecn_frame_tos(const uint8_t *frame, size_t len)
{
	bool ipv6;
	const uint8_t *ip = find_ip(frame, len, &ipv6);

	return ip ? tos_of(ip, ipv6) : 0;
}

bool ecn_inner(uint8_t *frame, size_t len, uint8_t outer_ecn)
{
	bool ipv6;
	uint8_t *ip = (uint8_t *)find_ip(frame, len, &ipv6), inner;

	if (!ip || !ecn_matters(outer_ecn))
		return true;
	inner = tos_of(ip, ipv6) & ECN_MASK;
	if (inner == ECN_NOT_ECT)
		return outer_ecn != ECN_CE;
	if (inner != ECN_CE && inner != outer_ecn)
		set_ecn(ip, ipv6, outer_ecn);
	return true;
}
