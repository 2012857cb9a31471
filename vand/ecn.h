/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ECN across the tunnel (RFC 6040, normal mode), and DSCP. Pure functions on Ethernet frames with up
 * to two VLAN tags. A TOS here is the whole byte: DSCP in the high 6 bits, ECN in the low 2 (RFC 2474,
 * RFC 3168); for IPv6 the traffic class.
 */
#ifndef VAND_ECN_H
#define VAND_ECN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ECN_MASK    0x03
#define ECN_NOT_ECT 0x00
#define ECN_ECT1    0x01
#define ECN_ECT0    0x02
#define ECN_CE      0x03

/* What ecn_outer() takes over. */
enum ecn_copy {
	ECN_COPY = ECN_MASK, /* ECN */
	ECN_COPY_DSCP = 0xfc,
};

/* The TOS of a frame's IP header; 0 for what is not IP, or broken. */
uint8_t ecn_frame_tos(const uint8_t *frame, size_t len);

/* The TOS for the outer header of a frame: its own, as far as `copy` (a set of enum ecn_copy) says.
 * 0 is right for everything without an IP header. */
static inline uint8_t ecn_outer(const uint8_t *frame, size_t len, unsigned int copy)
{
	if (!copy)
		return 0;
	/* What nearly every frame is. */
	if (len >= 14 + 20 && frame[12] == 0x08 && frame[13] == 0 && frame[14] >> 4 == 4)
		return (uint8_t)(frame[15] & copy);
	return (uint8_t)(ecn_frame_tos(frame, len) & copy);
}

/* May an outer header with this ECN field change the frame inside, or drop it? Only CE and ECT(1). */
static inline bool ecn_matters(uint8_t outer_ecn)
{
	return outer_ecn & 1;
}

/*
 * Combines the frame's ECN field with that of the outer header that it came in (RFC 6040 §4.2):
 *
 *                     outer: Not-ECT, ECT(0)   ECT(1)     CE
 *   inner Not-ECT                 Not-ECT      Not-ECT    drop
 *   inner ECT(0)                  ECT(0)       ECT(1)     CE
 *   inner ECT(1)                  ECT(1)       ECT(1)     CE
 *   inner CE                      CE           CE         CE
 *
 * The IPv4 header checksum is updated by the difference. A frame that is not IP has no field and
 * nobody behind it who would slow down: it stays as it is. False: drop it.
 */
bool ecn_inner(uint8_t *frame, size_t len, uint8_t outer_ecn);

#endif
