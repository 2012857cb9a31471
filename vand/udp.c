/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A batch of sends is a list of slots, each one future sendmsg with UDP_SEGMENT. What the kernel
 * refuses is repeated datagram by datagram, in whichever way the error asks for: without GSO (EIO:
 * the device has no checksum offload), without DF (EMSGSIZE, EINVAL: a segment is larger than the
 * interface takes), without source address (it is gone).
 */
#include "vand/udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "vand/peer.h"

#define SEND_WAIT_MS     2  /* for room in the socket's buffer … */
#define SEND_WAIT_ROUNDS 10 /* … so many times before the datagrams are dropped */

/* -- one message -- */

union control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t)) +
		      CMSG_SPACE(sizeof(int))];
};

/* One datagram, and how it is to leave. */
struct single {
	const struct endpoint *to;
	const void *data;
	size_t len;
	uint8_t tos;
};

static enum udp_family family_of(const struct endpoint *ep)
{
	return ep->remote.sa.sa_family == AF_INET6 ? UDP_IPV6 : UDP_IPV4;
}

static struct cmsghdr *next_cmsg(
	struct msghdr *msg, union control *control, int level, int type, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)(control->bytes + msg->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	msg->msg_control = control;
	msg->msg_controllen += CMSG_SPACE(len);
	return c;
}

/* The source address: the one that the peer talks to (a multi-homed host would otherwise answer
 * from another, which the peer's firewall or NAT does not know). */
static void put_source(struct msghdr *msg, union control *control, const struct endpoint *to)
{
	if (to->local.family == AF_INET && family_of(to) == UDP_IPV4) {
		struct in_pktinfo info = {.ipi_ifindex = 0};
		struct cmsghdr *c = next_cmsg(msg, control, IPPROTO_IP, IP_PKTINFO, sizeof(info));

		memcpy(&info.ipi_spec_dst, to->local.b, sizeof(info.ipi_spec_dst));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	} else if (to->local.family == AF_INET6 && family_of(to) == UDP_IPV6) {
		struct in6_pktinfo info = {.ipi6_ifindex = to->local_ifindex};
		struct cmsghdr *c =
			next_cmsg(msg, control, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(info));

		memcpy(&info.ipi6_addr, to->local.b, sizeof(info.ipi6_addr));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	}
}

static void put_segment_len(struct msghdr *msg, union control *control, uint16_t segment_len)
{
	struct cmsghdr *c = next_cmsg(msg, control, SOL_UDP, UDP_SEGMENT, sizeof(segment_len));

	memcpy(CMSG_DATA(c), &segment_len, sizeof(segment_len));
}

static void put_tos(struct msghdr *msg, union control *control, enum udp_family family, int tos)
{
	struct cmsghdr *c;

	if (tos == 0)
		return; /* the socket's own */
	c = family == UDP_IPV4 ? next_cmsg(msg, control, IPPROTO_IP, IP_TOS, sizeof(tos))
			       : next_cmsg(msg, control, IPPROTO_IPV6, IPV6_TCLASS, sizeof(tos));
	memcpy(CMSG_DATA(c), &tos, sizeof(tos));
}

static void fill_message(struct msghdr *msg, struct iovec *iov, const struct endpoint *to,
	const void *data, size_t len)
{
	*iov = (struct iovec){.iov_base = (void *)data, .iov_len = len};
	*msg = (struct msghdr){.msg_name = (void *)&to->remote,
		.msg_namelen = endpoint_sockaddr_len(to),
		.msg_iov = iov,
		.msg_iovlen = 1};
}

/* sendmsg() that waits a little for room, so that a full device queue slows us down instead of
 * costing packets. 0 or -errno. */
static int send_message(int fd, const struct msghdr *msg)
{
	for (int round = 0;; round++) {
		struct pollfd room = {.fd = fd, .events = POLLOUT};

		if (sendmsg(fd, msg, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if ((errno != EAGAIN && errno != ENOBUFS) || round >= SEND_WAIT_ROUNDS)
			return -errno;
		poll(&room, 1, SEND_WAIT_MS);
	}
}

static int send_once(int fd, const struct single *one, bool with_source)
{
	union control control;
	struct msghdr msg;
	struct iovec iov;

	fill_message(&msg, &iov, one->to, one->data, one->len);
	if (with_source)
		put_source(&msg, &control, one->to);
	put_tos(&msg, &control, family_of(one->to), one->tos);
	return send_message(fd, &msg);
}

/* From the address that the peer talks to, or, where that one is gone, from any. */
static int send_datagram(int fd, const struct single *one)
{
	int rc = send_once(fd, one, true);

	return rc == -EINVAL || rc == -EADDRNOTAVAIL ? send_once(fd, one, false) : rc;
}

/* One datagram by whatever means it takes: with DF on fd, else without on fd_nodf.
 * *ret_fragmentable: it went without. */
static int send_somehow(
	int fd, int fd_nodf, const struct single *one, bool known_too_big, bool *ret_fragmentable)
{
	int rc = -EMSGSIZE;

	*ret_fragmentable = false;
	if (fd < 0)
		return -EAFNOSUPPORT;
	if (!known_too_big)
		rc = send_datagram(fd, one);
	if (rc == -EMSGSIZE && fd_nodf >= 0) {
		*ret_fragmentable = true;
		rc = send_datagram(fd_nodf, one);
	}
	return rc;
}

int udp_send(const struct udp *udp, const struct endpoint *to, const void *data, size_t len)
{
	const struct single one = {.to = to, .data = data, .len = len};
	enum udp_family family = family_of(to);
	bool fragmentable;

	return send_somehow(
		udp->of[0].main[family], udp->fd_nodf[family], &one, false, &fragmentable);
}

int udp_send_whole(const struct udp *udp, const struct endpoint *to, const void *data, size_t len)
{
	const struct single one = {.to = to, .data = data, .len = len};
	int fd = udp->of[0].main[family_of(to)];

	return fd < 0 ? -EAFNOSUPPORT : send_datagram(fd, &one);
}

/* -- batches -- */

int udp_tx_init(
	struct udp_tx *tx, const struct udp *udp, unsigned int worker, struct counters *counters)
{
	uint8_t *memory = aligned_alloc(4096, (size_t)UDP_TX_SLOTS * UDP_TX_SLOT_SIZE);

	if (!memory)
		return -ENOMEM;
	tx->udp = udp;
	tx->sockets = &udp->of[worker];
	tx->counters = counters;
	tx->tos = 0;
	tx->count = 0;
	for (unsigned int i = 0; i < UDP_TX_SLOTS; i++)
		tx->slots[i].data = memory + (size_t)i * UDP_TX_SLOT_SIZE;
	return 0;
}

void udp_tx_done(struct udp_tx *tx)
{
	free(tx->slots[0].data);
}

/* May one more datagram of len bytes go behind those in the slot? */
static bool slot_takes(
	const struct udp_tx *tx, const struct udp_tx_slot *slot, bool own_port, size_t len)
{
	return !slot->closed && slot->own_port == own_port && slot->tos == tx->tos &&
	       len <= slot->segment_len && slot->segments < tx->udp->gso_segments &&
	       slot->len + len <= MESSAGE_DATAGRAM_MAX;
}

uint8_t *udp_tx_reserve(
	struct udp_tx *tx, struct peer *peer, const struct endpoint *to, bool own_port, size_t len)
{
	struct udp_tx_slot *slot = NULL;
	uint8_t *room;

	if (len > MESSAGE_DATAGRAM_MAX)
		return NULL;
	/* The peer's newest slot: an older one would put this datagram in front of others. */
	for (unsigned int i = tx->count; i-- > 0;) {
		if (tx->slots[i].peer == peer) {
			slot = &tx->slots[i];
			break;
		}
	}
	if (!slot || !slot_takes(tx, slot, own_port, len)) {
		if (tx->count == UDP_TX_SLOTS)
			udp_tx_flush(tx);
		slot = &tx->slots[tx->count++];
		slot->peer = peer;
		slot->to = *to;
		slot->len = 0;
		slot->segments = 0;
		slot->segment_len = (uint16_t)len;
		slot->tos = tx->tos;
		slot->own_port = own_port;
		slot->closed = false;
	}
	room = slot->data + slot->len;
	slot->len += (uint32_t)len;
	slot->segments++;
	slot->closed = len < slot->segment_len;
	return room;
}

/* The socket that a slot leaves by. */
static int socket_of(const struct udp_tx *tx, const struct udp_tx_slot *slot)
{
	enum udp_family family = family_of(&slot->to);

	if (slot->own_port && tx->sockets->lane[family] >= 0)
		return tx->sockets->lane[family];
	return tx->sockets->main[family];
}

/* The slow way: datagram by datagram. */
static void send_singly(struct udp_tx *tx, const struct udp_tx_slot *slot, bool known_too_big)
{
	int fd = socket_of(tx, slot), fd_nodf = tx->udp->fd_nodf[family_of(&slot->to)];

	for (uint32_t at = 0; at < slot->len; at += slot->segment_len) {
		uint32_t left = slot->len - at;
		uint32_t len = left < slot->segment_len ? left : slot->segment_len;
		const struct single one = {
			.to = &slot->to, .data = slot->data + at, .len = len, .tos = slot->tos};
		bool fragmentable;
		int rc = send_somehow(fd, fd_nodf, &one, known_too_big, &fragmentable);

		if (rc == -EMSGSIZE) {
			stats_drop(tx->counters, DROP_too_big);
		} else if (rc < 0) {
			stats_drop(tx->counters, DROP_send_failed);
		} else if (fragmentable) {
			stats_count(tx->counters, STAT_sent_fragmentable, 1);
			/* Remembered until the next handshake, so that the next slot need not fail
			 * first. */
			atomic_store_explicit(&slot->peer->datagram_max, (uint16_t)(len - 1),
				memory_order_relaxed);
		}
	}
}

/* What sendmsg said about a slot, and how to go on. */
static void recover(struct udp_tx *tx, const struct udp_tx_slot *slot, int error)
{
	switch (error) {
	case EIO:
		atomic_store_explicit(&slot->peer->no_gso, true, memory_order_relaxed);
		stats_count(tx->counters, STAT_gso_fallbacks, 1);
		send_singly(tx, slot, false);
		break;
	case EINVAL:
	case EMSGSIZE:
	case EADDRNOTAVAIL:
		if (slot->segments > 1)
			stats_count(tx->counters, STAT_gso_fallbacks, 1);
		send_singly(tx, slot, false);
		break;
	case EAGAIN:
	case ENOBUFS:
		send_singly(tx, slot, false); /* which waits for room */
		break;
	default:
		stats_add(&tx->counters->drops[DROP_send_failed], slot->segments);
	}
}

/* Slots that must not be handed to the kernel as they are. */
static bool needs_care(const struct udp_tx_slot *slot)
{
	uint16_t max = atomic_load_explicit(&slot->peer->datagram_max, memory_order_relaxed);

	if (max && slot->segment_len > max)
		return true;
	return slot->segments > 1 &&
	       atomic_load_explicit(&slot->peer->no_gso, memory_order_relaxed);
}

static void send_with_care(struct udp_tx *tx, const struct udp_tx_slot *slot)
{
	uint16_t max = atomic_load_explicit(&slot->peer->datagram_max, memory_order_relaxed);

	send_singly(tx, slot, max && slot->segment_len > max);
}

/* Sends a run of slots that leave by one socket with as few system calls as it takes. */
static void send_run(struct udp_tx *tx, int fd, const struct udp_tx_slot *slots, unsigned int count)
{
	struct mmsghdr messages[UDP_TX_SLOTS];
	struct iovec iov[UDP_TX_SLOTS];
	union control control[UDP_TX_SLOTS];
	unsigned int done = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct msghdr *msg = &messages[i].msg_hdr;

		fill_message(msg, &iov[i], &slots[i].to, slots[i].data, slots[i].len);
		put_source(msg, &control[i], &slots[i].to);
		put_tos(msg, &control[i], family_of(&slots[i].to), slots[i].tos);
		if (slots[i].segments > 1)
			put_segment_len(msg, &control[i], slots[i].segment_len);
	}
	while (done < count) {
		int n = sendmmsg(fd, messages + done, count - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			recover(tx, &slots[done], errno);
			n = 1;
		}
		done += (unsigned int)n;
	}
}

void udp_tx_flush(struct udp_tx *tx)
{
	unsigned int from = 0;
	uint64_t datagrams = 0;

	while (from < tx->count) {
		int fd = socket_of(tx, &tx->slots[from]);
		unsigned int to = from;

		while (to < tx->count && socket_of(tx, &tx->slots[to]) == fd &&
			!needs_care(&tx->slots[to])) {
			datagrams += tx->slots[to].segments;
			to++;
		}
		if (to > from) {
			if (fd >= 0)
				send_run(tx, fd, &tx->slots[from], to - from);
			else
				stats_add(&tx->counters->drops[DROP_send_failed], to - from);
		} else {
			datagrams += tx->slots[from].segments;
			send_with_care(tx, &tx->slots[from]);
			to = from + 1;
		}
		from = to;
	}
	if (tx->count) {
		stats_count(tx->counters, STAT_datagrams_sent, datagrams);
		stats_count(tx->counters, STAT_sends, tx->count);
	}
	tx->count = 0;
}

/* -- receiving -- */

int udp_rx_init(struct udp_rx *rx)
{
	const size_t stride = UDP_RX_HEADROOM + UDP_RX_SLOT_SIZE;

	rx->memory = aligned_alloc(4096, (UDP_RX_SLOTS * stride + 4095) & ~(size_t)4095);
	if (!rx->memory)
		return -ENOMEM;
	for (unsigned int i = 0; i < UDP_RX_SLOTS; i++)
		rx->slots[i].data = rx->memory + i * stride + UDP_RX_HEADROOM;
	return 0;
}

void udp_rx_done(struct udp_rx *rx)
{
	free(rx->memory);
}

static void read_control(struct msghdr *msg, struct udp_rx_slot *slot)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
			int segment_len;

			memcpy(&segment_len, CMSG_DATA(c), sizeof(segment_len));
			if (segment_len > 0)
				slot->segment_len = (uint32_t)segment_len;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			slot->tos = *CMSG_DATA(c); /* one byte */
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			int class;

			memcpy(&class, CMSG_DATA(c), sizeof(class));
			slot->tos = (uint8_t) class;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			slot->from.local.family = AF_INET;
			memcpy(slot->from.local.b, &info.ipi_addr, sizeof(info.ipi_addr));
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			slot->from.local.family = AF_INET6;
			memcpy(slot->from.local.b, &info.ipi6_addr, sizeof(info.ipi6_addr));
			/* A link-local address means nothing without its interface. */
			if (ip_is_link_local(&slot->from.local))
				slot->from.local_ifindex = info.ipi6_ifindex;
		}
	}
}

int udp_rx_batch(struct udp_rx *rx, int fd)
{
	int n;

	for (unsigned int i = 0; i < UDP_RX_SLOTS; i++) {
		rx->iov[i] =
			(struct iovec){.iov_base = rx->slots[i].data, .iov_len = UDP_RX_SLOT_SIZE};
		rx->messages[i].msg_hdr = (struct msghdr){.msg_name = &rx->names[i],
			.msg_namelen = sizeof(rx->names[i]),
			.msg_iov = &rx->iov[i],
			.msg_iovlen = 1,
			.msg_control = &rx->control[i],
			.msg_controllen = sizeof(rx->control[i])};
	}
	n = recvmmsg(fd, rx->messages, UDP_RX_SLOTS, MSG_DONTWAIT, NULL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		struct udp_rx_slot *slot = &rx->slots[i];

		slot->len = rx->messages[i].msg_len;
		slot->segment_len = slot->len;
		slot->tos = 0;
		memset(&slot->from, 0, sizeof(slot->from));
		if (rx->names[i].ss_family == AF_INET6)
			memcpy(&slot->from.remote.in6, &rx->names[i],
				sizeof(slot->from.remote.in6));
		else
			memcpy(&slot->from.remote.in, &rx->names[i], sizeof(slot->from.remote.in));
		read_control(&rx->messages[i].msg_hdr, slot);
	}
	return n;
}
