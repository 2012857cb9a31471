/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to tell the local side about a path that takes less than its interface: the answer "too big"
 * to an IP packet, and a smaller MSS in the SYNs that come in. Pure functions over frames.
 */
#ifndef VAND_TOOBIG_H
#define VAND_TOOBIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ethernet, two VLAN tags, and 1280 bytes (RFC 4443 §2.4 (c)). */
#define TOOBIG_ANSWER_MAX (14 + 8 + 1280)

/* How many answers are given a second, and at once. */
#define TOOBIG_RATE  100
#define TOOBIG_BURST 50

/*
 * Makes the frame that answers a unicast frame of the TAP which is larger than frame_max: ICMP
 * "fragmentation needed" for IPv4 with DF (RFC 792, RFC 1191), ICMPv6 "packet too big" (RFC 4443
 * §3.2). MTUs below 576 and 1280 are never told. segment_len: of a super-frame, the length of its
 * segments (headers included); otherwise len. Such a packet is quoted as its first segment.
 *
 * Returns the answer's length, or 0 where the frame must not be answered (RFC 1122 §3.2.2,
 * RFC 1812 §4.3.2.7, RFC 4443 §2.4): no DF; an ICMP error; a fragment that is not the first one;
 * group, loopback or missing addresses; malformed; not IP; or a packet that the MTU to be told
 * would not make smaller. The frame is not changed. ret_answer has TOOBIG_ANSWER_MAX bytes.
 */
size_t toobig_answer(const uint8_t *frame, size_t len, size_t segment_len, size_t frame_max,
	uint8_t *ret_answer);

/*
 * Lowers the MSS option of a TCP SYN (RFC 9293 §3.7.1) so that segments of that size, sent back in
 * frames with the same tags, fit frame_max. The checksum stays as right as it was: a complete one is
 * updated (RFC 1624), a partial one (`partial`) does not cover the option. A SYN without the option
 * gets none. True when it was lowered.
 */
bool toobig_clamp_mss(uint8_t *frame, size_t len, bool partial, size_t frame_max);

#endif
