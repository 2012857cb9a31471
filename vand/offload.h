/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Super-frames: cutting one into segments where it is sealed, joining segments of one flow into one
 * where they were opened, and checksums. Pure functions over buffers, no I/O.
 *
 * A frame here is an Ethernet frame with up to two VLAN tags, and what struct virtio_net_hdr
 * (linux/virtio_net.h) says about it. None of what that header says is trusted beyond the bounds of
 * the frame; hdr_len is not used at all.
 */
#ifndef VAND_OFFLOAD_H
#define VAND_OFFLOAD_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* From linux/virtio_net.h of kernels since 6.2; Debian 12's headers lack it. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define OFFLOAD_HEADERS_MAX \
	192 /* Ethernet, 2 VLAN tags, IPv6 with extensions or IPv4 options, TCP */
#define OFFLOAD_FRAME_MAX \
	65550 /* the most that a TAP hands over: 64 KiB of IP packet and Ethernet */

/* -- cutting -- */

/* A super-frame about to be cut. Filled in by offload_cut_init(). */
struct offload_cut {
	uint8_t *frame; /* Ethernet header of the super-frame */
	uint32_t len;
	uint16_t header_len; /* Ethernet to the end of the TCP or UDP header */
	uint16_t l3_offset;
	uint16_t l4_offset;
	uint16_t gso_size; /* payload bytes in each segment but the last */
	bool ipv6;
	bool udp;
	uint32_t next;  /* offset of the next payload byte in the frame */
	uint16_t index; /* number of the next segment */
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t ip_id;      /* IPv4: of the first segment */
	uint8_t tcp_flags;   /* TCP: of the super-frame */
	uint32_t tcp_seq;    /* TCP: of the first segment */
	uint32_t ip_sum;     /* of the IPv4 header but for length, ID and checksum */
	uint32_t pseudo_sum; /* of the pseudo-header but for the length */
	uint8_t header[OFFLOAD_HEADERS_MAX]; /* saved: cutting overwrites the bytes in the frame */
};

/*
 * Prepares to cut a frame whose vnet header says GSO (TCPV4, TCPV6 or UDP_L4; the ECN bit is
 * masked). 0; -EINVAL when header and frame contradict each other (drop the frame);
 * -EOPNOTSUPP for a gso_type that we never asked for.
 */
int offload_cut_init(
	struct offload_cut *cut, uint8_t *frame, size_t len, const struct virtio_net_hdr *vnet);

/*
 * The next segment: its headers are written into the frame directly in front of its payload, over
 * bytes of the segment before, which must have been sealed or copied already. The headroom bytes in
 * front of *ret_segment may be overwritten likewise (for the first one they lie in front of the
 * frame, where the caller keeps room). The checksum stays partial: NEEDS_CSUM with
 * cut->csum_start and cut->csum_offset, with the pseudo-header sum of the segment's own
 * length. Per segment: IPv4 total length, ID (+1 each; also with DF) and header checksum; IPv6
 * payload length; UDP length; TCP sequence, FIN and PSH on the last only, CWR on the first
 * only. False when there are no more.
 */
bool offload_cut_next(struct offload_cut *cut, uint8_t **ret_segment, size_t *ret_len);

/* How many segments the cut will give in all, and the length of all of them but the last. */
unsigned int offload_cut_count(const struct offload_cut *cut);
static inline size_t offload_cut_segment_len(const struct offload_cut *cut)
{
	return (size_t)cut->header_len + cut->gso_size;
}

/* -- checksums -- */

/*
 * Completes a partial checksum in software, as the NIC would: sums from csum_start to the end and
 * stores at csum_start + csum_offset. A UDP checksum that comes out as 0 is stored as 0xffff
 * (RFC 768). -EINVAL when the offsets lie outside of the frame.
 */
int offload_complete_checksum(
	uint8_t *frame, size_t len, uint16_t csum_start, uint16_t csum_offset);

/* -- joining -- */

#define OFFLOAD_JOIN_SEGMENTS 64 /* in one super-frame */
#define OFFLOAD_JOIN_FLOWS    8  /* open at a time, for each batch of received datagrams */
#define OFFLOAD_JOIN_ACKS     4  /* pure ACKs that may wait behind a flow; one more ends it */
#define OFFLOAD_VNET_LEN      sizeof(struct virtio_net_hdr)

/* A frame as it comes out of open_frame(). */
struct offload_frame {
	uint8_t *data; /* Ethernet header; at least 16 writable bytes in front of it */
	uint32_t len;
	bool needs_csum; /* partial checksum, offsets below */
	uint16_t csum_start;
	uint16_t csum_offset;
	const void *tap;    /* what must agree for two frames to be joined, besides the headers: */
	const void *sender; /* network's TAP and sending peer; compared as pointers only */
};

struct offload_flow {
	struct offload_frame first; /* its headers become the super-frame's */
	uint16_t l3_offset;
	uint16_t l4_offset;
	uint16_t header_len;
	uint16_t gso_size; /* payload of the first segment */
	uint16_t segments;
	bool ipv6;
	bool udp;
	uint8_t tcp_flags; /* of the last segment, the only one with PSH or FIN */
	uint8_t ack_count;
	uint32_t next_seq;                            /* TCP: sequence number expected next */
	uint32_t total_len;                           /* headers and all payloads */
	uint32_t pseudo_sum;                          /* of the pseudo-header but for the length */
	struct iovec payload[OFFLOAD_JOIN_SEGMENTS];  /* [0] is that of first, with all in front */
	struct offload_frame acks[OFFLOAD_JOIN_ACKS]; /* pure ACKs, to be emitted behind it */
};

/*
 * Hands over a super-frame, or a single frame, ready for one writev(2) to the TAP: iov[0] is the
 * vnet header (10 bytes) with, behind it in the same buffer, the first frame as far as it goes; the
 * others are the payloads of the further segments, so that iov_count equals segments. frame_len is
 * that of all without the vnet header, tap that of the frame. The iov array is valid during the
 * call only, the buffers until the batch is over. Must not call back into the join.
 */
typedef void offload_emit(void *ctx, const void *tap, const struct iovec *iov,
	unsigned int iov_count, unsigned int segments, size_t frame_len);

struct offload_join {
	struct offload_flow flows[OFFLOAD_JOIN_FLOWS];
	unsigned int open;  /* bit i: flows[i] is in use */
	unsigned int evict; /* the flow to go next when all are */
	bool join_tcp;      /* false: TCP passes as it is */
	bool join_udp; /* kernel takes UDP_L4 on TAP writes (6.2 and later); false: UDP passes */
	offload_emit *emit;
	void *ctx;
};

void offload_join_init(
	struct offload_join *j, bool join_tcp, bool join_udp, offload_emit *emit, void *ctx);

/*
 * Takes one opened frame. It is joined to an open flow, opens one, or is emitted as it is, after
 * the flow that it belongs to, so that order within a flow is kept; frames without ports (ICMP,
 * fragments, ARP, ...) come after all flows between the same two MACs. Joined are only TCP segments
 * with payload (and, with join_udp, equal-sized unicast UDP datagrams, not IPv4 fragments, ports
 * not 0), that came with needs_csum and the pseudo-header sum to it, or whose checksum was
 * verified, of the same tap, sender, MACs, VLAN tags, addresses, ports, TOS, TTL, DF, flow label,
 * TCP options, ack, window and flags but PSH and FIN, with contiguous sequence numbers and, for
 * IPv4, a right header checksum and whatever IDs; never SYN, RST, URG, CWR, ECE, AE, no IPv4
 * options or IPv6 extension headers, no padding. A shorter segment (or datagram), PSH and FIN end a
 * super-frame, which is emitted at once. Pure ACKs pass as they are and do not end it, but are
 * emitted behind what the flow has.
 */
void offload_join_frame(struct offload_join *j, const struct offload_frame *frame);

/* Emits everything that is open. Call at the end of every batch, before its buffers are reused. */
void offload_join_flush(struct offload_join *j);

#endif
