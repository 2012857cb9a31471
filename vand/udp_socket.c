/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Every worker has a socket of its own on the one main port: together they are a SO_REUSEPORT
 * group. A BPF program picks the socket of a datagram by the lane byte, so that a peer's lane, and
 * with it each of its flows, stays with one worker; handshakes and the control lane go to the
 * first. They send with DF set and the kernel's own path MTU cache ignored (PMTUDISC_PROBE: ICMP
 * from the underlay is not authentic).
 *
 * Two more kinds of socket only send. One, on the main port, sends what must be allowed to
 * fragment. It is the last of the group, where the program never points. The others give lanes a
 * source port of their own, because receive queues, RPS and ECMP choose by ports: what arrives
 * there is dropped by a filter.
 *
 * SO_REUSEPORT also lets a second daemon of the same user in, in silence, and takes half of the
 * datagrams away from each. So the port is first bound without it, which fails if anybody has it.
 */
#include "vand/udp.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>
#include "vand/message.h"

#define SOCKET_BUFFER (8 << 20)
#define GSO_SEGMENTS  64 /* UDP_MAX_SEGMENTS of every kernel that has UDP_SEGMENT */

static const int families[UDP_FAMILIES] = {[UDP_IPV4] = AF_INET, [UDP_IPV6] = AF_INET6};

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static void set_buffer(int fd, int force_option, int option)
{
	if (set_option(fd, SOL_SOCKET, force_option, SOCKET_BUFFER) < 0)
		set_option(fd, SOL_SOCKET, option, SOCKET_BUFFER);
}

static int bind_port(int fd, enum udp_family family, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int rc;

	if (family == UDP_IPV4)
		rc = bind(fd, (struct sockaddr *)&in, sizeof(in));
	else
		rc = bind(fd, (struct sockaddr *)&in6, sizeof(in6));
	return rc < 0 ? -errno : 0;
}

static uint16_t bound_port(int fd)
{
	union {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} addr;
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return 0;
	return ntohs(addr.in.sin_port); /* the port stands at the same place in both */
}

/* A socket of the family, or -errno; -EAFNOSUPPORT where the host does not have it. */
static int make_socket(enum udp_family family)
{
	int fd = socket(families[family], SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (family == UDP_IPV6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	return fd;
}

/* Is the port free for all of us? *port 0 is replaced by a free one. */
static int claim_port(uint16_t *port)
{
	for (int family = 0; family < UDP_FAMILIES; family++) {
		int fd = make_socket(family), rc;

		if (fd == -EAFNOSUPPORT)
			continue;
		if (fd < 0)
			return fd;
		rc = bind_port(fd, family, *port);
		if (rc == 0 && *port == 0)
			*port = bound_port(fd);
		close(fd);
		if (rc < 0 && rc != -EADDRNOTAVAIL)
			return rc;
	}
	return 0;
}

/* Which socket of the group gets a datagram: its worker's, by the lane of a DATA message. A load
 * beyond the end of the datagram ends the program with 0. */
static int attach_spread(int fd, unsigned int workers)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct message_data, type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MESSAGE_DATA, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct message_data, lane)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, MESSAGE_LANE_WORKER, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, MESSAGE_LANE_WORKER),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, workers),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) < 0)
		return -errno;
	return 0;
}

static int drop_all(int fd)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog program = {.len = 1, .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno
											   : 0;
}

static void set_discovery(int fd, enum udp_family family, int ipv4, int ipv6)
{
	if (family == UDP_IPV4)
		set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, ipv4);
	else
		set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, ipv6);
}

/* A socket on the main port that receives. The descriptor or -errno. */
static int open_main(struct udp *udp, enum udp_family family)
{
	int fd = make_socket(family), rc;

	if (fd < 0)
		return fd;
	set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	set_discovery(fd, family, IP_PMTUDISC_PROBE, IPV6_PMTUDISC_PROBE);
	if (family == UDP_IPV4)
		set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
	else
		set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	if (udp->tos && family == UDP_IPV4)
		set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
	else if (udp->tos)
		set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	if (udp->gso_segments > 1 && set_option(fd, SOL_UDP, UDP_SEGMENT, 0) < 0)
		udp->gso_segments = 1;
	if (udp->gro && set_option(fd, SOL_UDP, UDP_GRO, 1) < 0)
		udp->gro = false;
	rc = bind_port(fd, family, udp->port);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

/* Without it, what is too large for a path is dropped instead of fragmented: not fatal. */
static int open_nodf(const struct udp *udp, enum udp_family family)
{
	int fd = make_socket(family);

	if (fd < 0)
		return -1;
	set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	set_discovery(fd, family, IP_PMTUDISC_DONT, IPV6_PMTUDISC_DONT);
	/* GRO asks the group for a socket before the datagram's bytes are where the program looks,
	 * and does not join what it believes to be for a socket without UDP_GRO. */
	if (udp->gro)
		set_option(fd, SOL_UDP, UDP_GRO, 1);
	if (bind_port(fd, family, udp->port) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Without it, the lane leaves from the main port. */
static int open_lane(enum udp_family family)
{
	int fd = make_socket(family);

	if (fd < 0)
		return -1;
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	set_discovery(fd, family, IP_PMTUDISC_PROBE, IPV6_PMTUDISC_PROBE);
	if (drop_all(fd) == 0 && bind_port(fd, family, 0) == 0)
		return fd;
	close(fd);
	return -1;
}

/* All sockets of a family. -EAFNOSUPPORT: the host does not have it. */
static int open_family(struct udp *udp, enum udp_family family)
{
	for (unsigned int i = 0; i < udp->workers; i++) {
		int fd = open_main(udp, family);

		if (fd < 0)
			return fd;
		udp->of[i].main[family] = fd;
		if (i > 0)
			udp->of[i].lane[family] = open_lane(family);
	}
	/* Without the program the kernel would spread by addresses and ports, and part of it to
	 * the socket that never receives; with one socket in the group it needs none. */
	if (attach_spread(udp->of[0].main[family], udp->workers) == 0)
		udp->fd_nodf[family] = open_nodf(udp, family);
	return 0;
}

static void close_families(int fd[UDP_FAMILIES])
{
	for (int family = 0; family < UDP_FAMILIES; family++) {
		if (fd[family] >= 0)
			close(fd[family]);
		fd[family] = -1;
	}
}

int udp_open(struct udp *ret_udp, uint16_t port, const struct udp_options *options, struct err *e)
{
	struct udp udp = {.port = port,
		.workers = options->workers,
		.fd_nodf = {-1, -1},
		.gso_segments = options->gso ? GSO_SEGMENTS : 1,
		.gro = options->gro,
		.tos = options->tos};
	int rc;

	for (unsigned int i = 0; i < UDP_WORKERS_MAX; i++)
		udp.of[i] = (struct udp_sockets){.main = {-1, -1}, .lane = {-1, -1}};
	rc = claim_port(&udp.port);
	for (unsigned int family = 0; rc == 0 && family < UDP_FAMILIES; family++) {
		rc = open_family(&udp, family);
		if (rc == -EAFNOSUPPORT || (rc == -EADDRNOTAVAIL && family == UDP_IPV6))
			rc = 0; /* a host without IPv6 */
	}
	if (rc == 0 && udp.of[0].main[UDP_IPV4] < 0 && udp.of[0].main[UDP_IPV6] < 0)
		rc = -EAFNOSUPPORT;
	if (rc == 0) {
		*ret_udp = udp;
		return 0;
	}
	udp_close(&udp);
	if (rc == -EADDRINUSE)
		return err_set(e, rc,
			"UDP port %u is in use: another vand may be running; set another `port`, or 0 for a free one",
			port);
	if (rc == -EACCES)
		return err_set(e, rc, "not allowed to bind UDP port %u: use one above 1023", port);
	return err_set(e, rc, "cannot open UDP port %u: %s", port, strerror(-rc));
}

void udp_close(struct udp *udp)
{
	for (unsigned int i = 0; i < udp->workers; i++) {
		close_families(udp->of[i].main);
		close_families(udp->of[i].lane);
	}
	close_families(udp->fd_nodf);
}
