/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internet checksums (RFC 1071), wide.
 *
 * A ones' complement sum does not care for byte order (but for a swap at the end) nor for the width
 * of the words that it is made of, so 64 bits are loaded at a time and their halves added up in
 * 64-bit registers, where the carries of 2^32 additions have room. Four independent accumulators
 * keep the CPU's adders busy; the compiler vectorizes the inner loop where it may.
 */
#include <errno.h>
#include "vand/offload.h"
#include "vand/offload_parse.h"

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t halves(uint64_t v)
{
	return (v & 0xffffffff) + (v >> 32);
}

uint16_t sum_bytes(const uint8_t *p, size_t len)
{
	uint64_t a = 0, b = 0, c = 0, d = 0;
	uint16_t folded;

	for (; len >= 32; p += 32, len -= 32) {
		a += halves(load64(p));
		b += halves(load64(p + 8));
		c += halves(load64(p + 16));
		d += halves(load64(p + 24));
	}
	for (; len >= 8; p += 8, len -= 8)
		a += halves(load64(p));
	if (len) {
		uint8_t rest[8] = {0};

		memcpy(rest, p, len);
		b += halves(load64(rest));
	}
	folded = sum_fold(a + b + c + d);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	folded = __builtin_bswap16(folded);
#endif
	return folded;
}

int offload_complete_checksum(uint8_t *frame, size_t len, uint16_t csum_start, uint16_t csum_offset)
{
	size_t field = (size_t)csum_start + csum_offset;
	uint16_t csum;

	if (field + 2 > len)
		return -EINVAL;
	csum = (uint16_t)~sum_bytes(frame + csum_start, len - csum_start);
	if (csum == 0 && csum_offset == UDP_CSUM)
		csum = 0xffff;
	put_be16(frame + field, csum);
	return 0;
}
