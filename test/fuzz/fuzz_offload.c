/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes cutting and joining. The input is a list of records: what to do 1 | length 2 (big-endian)
 * | bytes. Its low bits say whether the bytes are a vnet header and a super-frame to be cut, whose
 * segments are then joined again, or a frame to be joined as it is, or whether to flush. Buffers
 * are of exactly the sizes that the contract promises, so that AddressSanitizer sees every byte
 * beyond.
 */
#include <stdlib.h>
#include <string.h>
#include "lib/wirebuf.h"
#include "vand/offload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADROOM    38 /* what sealing may overwrite in front of a segment */
#define BUFFERS_MAX 512

enum { RECORD_CUT = 0, RECORD_FRAME = 1, RECORD_FLUSH = 2, RECORD_KIND = 3 };
enum { RECORD_NEEDS_CSUM = 4, RECORD_OTHER_TAP = 8, RECORD_OTHER_SENDER = 16 };

struct fuzz {
	struct offload_join join;
	uint8_t *buffers[BUFFERS_MAX];
	unsigned int buffer_count;
	size_t bytes_in, bytes_out;
	unsigned int frames_in, frames_out;
};

static void check(bool good)
{
	if (!good)
		abort();
}

/* Reads all that it is given, and writes in front of it nothing but what it was given. */
static void take(void *ctx, const void *tap, const struct iovec *iov, unsigned int iov_count,
	unsigned int segments, size_t frame_len)
{
	struct fuzz *f = ctx;
	struct virtio_net_hdr vnet;
	struct offload_cut cut;
	uint8_t *flat = malloc(frame_len + sizeof(vnet)), *segment;
	size_t len = 0, cut_len;
	unsigned int cuts = 0;

	check(tap && iov_count == segments && segments <= OFFLOAD_JOIN_SEGMENTS);
	for (unsigned int i = 0; i < iov_count; i++) {
		check(len + iov[i].iov_len <= frame_len + sizeof(vnet));
		memcpy(flat + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	check(len == frame_len + sizeof(vnet));
	memcpy(&vnet, flat, sizeof(vnet));
	if (segments > 1) {
		check(offload_cut_init(&cut, flat + sizeof(vnet), frame_len, &vnet) == 0);
		check(offload_cut_count(&cut) == segments);
		while (offload_cut_next(&cut, &segment, &cut_len)) {
			f->bytes_out += cut_len;
			cuts++;
		}
		check(cuts == segments);
	} else {
		check(vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE);
		f->bytes_out += frame_len;
	}
	f->frames_out += segments;
	free(flat);
}

static void feed(struct fuzz *f, const uint8_t *frame, size_t len, unsigned int flags,
	uint16_t csum_start, uint16_t csum_offset)
{
	static const int tap, other_tap, sender, other_sender;
	struct offload_frame in = {
		.len = (uint32_t)len,
		.needs_csum = flags & RECORD_NEEDS_CSUM,
		.csum_start = csum_start,
		.csum_offset = csum_offset,
		.tap = flags & RECORD_OTHER_TAP ? &other_tap : &tap,
		.sender = flags & RECORD_OTHER_SENDER ? &other_sender : &sender,
	};

	if (f->buffer_count == BUFFERS_MAX)
		return;
	in.data = (uint8_t *)malloc(16 + len) + 16;
	f->buffers[f->buffer_count++] = in.data - 16;
	memcpy(in.data, frame, len);
	f->bytes_in += len;
	f->frames_in++;
	offload_join_frame(&f->join, &in);
}

static void cut_record(struct fuzz *f, const uint8_t *bytes, size_t len, unsigned int flags)
{
	struct virtio_net_hdr vnet;
	struct offload_cut cut;
	uint8_t *buffer, *frame, *segment;
	size_t segment_len, payload = 0;
	unsigned int count = 0;

	if (len < sizeof(vnet))
		return;
	memcpy(&vnet, bytes, sizeof(vnet));
	len -= sizeof(vnet);
	buffer = malloc(HEADROOM + len);
	frame = buffer + HEADROOM;
	memcpy(frame, bytes + sizeof(vnet), len);
	if (offload_cut_init(&cut, frame, len, &vnet) == 0) {
		while (offload_cut_next(&cut, &segment, &segment_len)) {
			uint8_t *copy = malloc(segment_len);

			check(segment >= frame && segment + segment_len <= frame + len);
			check(segment_len >= cut.header_len);
			payload += segment_len - cut.header_len;
			count++;
			memcpy(copy, segment, segment_len);
			check(offload_complete_checksum(
				      copy, segment_len, cut.csum_start, cut.csum_offset) == 0);
			free(copy);
			if (count <= 100)
				feed(f, segment, segment_len, flags, cut.csum_start,
					cut.csum_offset);
			memset(segment - HEADROOM, 0xa5, HEADROOM + segment_len);
		}
		check(count == offload_cut_count(&cut));
		check(payload == len - cut.header_len);
	} else {
		/* What contradicts its header may still have its checksum completed. */
		offload_complete_checksum(frame, len, vnet.csum_start, vnet.csum_offset);
	}
	free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_reader r = wire_reader(data, size);
	struct fuzz *f = calloc(1, sizeof(*f));

	offload_join_init(&f->join, true, true, take, f);
	while (wire_left(&r) >= 3 && f->buffer_count < BUFFERS_MAX) {
		unsigned int what = wire_get_u8(&r);
		size_t len = wire_get_be16(&r);
		const uint8_t *bytes;

		if (len > wire_left(&r))
			len = wire_left(&r);
		bytes = wire_take(&r, len);
		if ((what & RECORD_KIND) == RECORD_CUT)
			cut_record(f, bytes, len, what);
		else if ((what & RECORD_KIND) == RECORD_FLUSH)
			offload_join_flush(&f->join);
		else if (len >= 4)
			feed(f, bytes + 4, len - 4, what, (uint16_t)(bytes[0] << 8 | bytes[1]),
				(uint16_t)(bytes[2] << 8 | bytes[3]));
	}
	offload_join_flush(&f->join);
	check(f->bytes_in == f->bytes_out && f->frames_in == f->frames_out);
	for (unsigned int i = 0; i < f->buffer_count; i++)
		free(f->buffers[i]);
	free(f);
	return 0;
}
