/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_PACKET, and checksums of what it shows. Written without vand/offload in mind or in reach: it
 * is what that is tested with.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "test/tools/probe/probe.h"

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* -- parsing -- */

static void parse_ip4(struct packet *p)
{
	size_t header_len = (size_t)(p->l3[0] & 15) * 4, total_len;

	if (p->l3_len < 20 || p->l3[0] >> 4 != 4 || header_len < 20 || header_len > p->l3_len) {
		p->truncated = true;
		return;
	}
	p->ip4 = true;
	p->proto = p->l3[9];
	p->fragment = be16(p->l3 + 6) & 0x3fff;
	total_len = be16(p->l3 + 2);
	if (total_len < header_len || total_len > p->l3_len) {
		p->truncated = true;
		return;
	}
	p->l4 = p->l3 + header_len;
	p->l4_len = total_len - header_len;
}

static void parse_ip6(struct packet *p)
{
	size_t offset = 40, end;

	if (p->l3_len < 40 || p->l3[0] >> 4 != 6) {
		p->truncated = true;
		return;
	}
	p->ip6 = true;
	p->proto = p->l3[6];
	end = 40 + (size_t)be16(p->l3 + 4);
	if (end > p->l3_len) {
		p->truncated = true;
		return;
	}
	while (p->proto == IPPROTO_HOPOPTS || p->proto == IPPROTO_DSTOPTS) {
		size_t len;

		if (offset + 8 > end) {
			p->truncated = true;
			return;
		}
		len = ((size_t)p->l3[offset + 1] + 1) * 8;
		p->proto = p->l3[offset];
		offset += len;
	}
	p->fragment = p->proto == IPPROTO_FRAGMENT;
	if (offset > end) {
		p->truncated = true;
		return;
	}
	p->l4 = p->l3 + offset;
	p->l4_len = end - offset;
}

bool packet_parse(const uint8_t *frame, size_t len, struct packet *ret_packet)
{
	struct packet p = {0};
	size_t offset = 14;

	if (len < offset)
		return false;
	p.ethertype = be16(frame + 12);
	while ((p.ethertype == 0x8100 || p.ethertype == 0x88a8) && p.vlan_count < 3 &&
		len >= offset + 4) {
		p.vlans[p.vlan_count++] = be16(frame + offset) & 0xfff;
		p.ethertype = be16(frame + offset + 2);
		offset += 4;
	}
	p.l3 = frame + offset;
	p.l3_len = len - offset;
	if (p.ethertype == ETHERTYPE_IP && p.l3_len)
		parse_ip4(&p);
	else if (p.ethertype == ETHERTYPE_IPV6 && p.l3_len)
		parse_ip6(&p);
	if (p.l4 && !p.fragment && p.l4_len >= 8 &&
		(p.proto == IPPROTO_TCP || p.proto == IPPROTO_UDP)) {
		p.src_port = be16(p.l4);
		p.dst_port = be16(p.l4 + 2);
	}
	*ret_packet = p;
	return true;
}

/* -- checksums -- */

static uint64_t add_words(uint64_t sum, const uint8_t *p, size_t len)
{
	for (; len >= 2; p += 2, len -= 2)
		sum += be16(p);
	return len ? sum + (uint64_t)p[0] * 256 : sum;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static bool l4_csum_good(const struct packet *p, size_t csum_offset, bool partial)
{
	uint64_t pseudo = p->ip4 ? add_words(0, p->l3 + 12, 8) : add_words(0, p->l3 + 8, 32);

	pseudo += p->proto + (uint64_t)p->l4_len;
	if (partial)
		return be16(p->l4 + csum_offset) == fold(pseudo);
	return fold(add_words(pseudo, p->l4, p->l4_len)) == 0xffff;
}

bool csum_verify(const uint8_t *frame, size_t len, bool partial, struct csum_counts *counts)
{
	size_t csum_offset, min_len;
	struct packet p;

	counts->packets++;
	if (!packet_parse(frame, len, &p) || !(p.ip4 || p.ip6)) {
		counts->other++;
		return true;
	}
	*(p.ip4 ? &counts->ip4 : &counts->ip6) += 1;
	if (p.ip4 && fold(add_words(0, p.l3, (size_t)(p.l3[0] & 15) * 4)) != 0xffff) {
		counts->bad_ip++;
		counts->bad++;
		return false;
	}
	if (p.fragment || p.truncated || !p.l4) {
		counts->unchecked++;
		return true;
	}
	if (p.proto == IPPROTO_TCP) {
		counts->tcp++;
		csum_offset = 16;
		min_len = 20;
	} else if (p.proto == IPPROTO_UDP) {
		counts->udp++;
		csum_offset = 6;
		min_len = 8;
	} else {
		counts->other++;
		return true;
	}
	if (partial)
		counts->partial++;
	if (p.l4_len >= min_len && p.proto == IPPROTO_UDP && p.ip4 && !partial &&
		be16(p.l4 + 6) == 0) {
		counts->unchecked++;
		return true;
	}
	if (p.l4_len < min_len || (p.proto == IPPROTO_UDP && be16(p.l4 + 4) != p.l4_len) ||
		(p.proto == IPPROTO_UDP && !partial && be16(p.l4 + 6) == 0) ||
		!l4_csum_good(&p, csum_offset, partial)) {
		counts->bad++;
		return false;
	}
	return true;
}

void csum_print(const struct csum_counts *c)
{
	printf("\"packets\": %lu, \"ip4\": %lu, \"ip6\": %lu, \"tcp\": %lu, \"udp\": %lu, "
	       "\"other\": %lu, \"partial\": %lu, \"unchecked\": %lu, \"bad_ip\": %lu, \"bad\": %lu",
		c->packets, c->ip4, c->ip6, c->tcp, c->udp, c->other, c->partial, c->unchecked,
		c->bad_ip, c->bad);
}

void print_frame(const char *what, const uint8_t *frame, size_t len)
{
	fprintf(stderr, "netprobe: %s, %zu bytes:", what, len);
	for (size_t i = 0; i < len && i < 96; i++)
		fprintf(stderr, "%s%02x", i % 2 ? "" : " ", frame[i]);
	fprintf(stderr, "\n");
}

/* -- AF_PACKET -- */

unsigned int interface_index(const char *ifname)
{
	unsigned int index = if_nametoindex(ifname);

	if (!index)
		die(PROBE_SYSTEM, "no such interface: %s", ifname);
	return index;
}

int packet_open(const char *ifname)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)interface_index(ifname),
	};
	struct packet_mreq promiscuous = {
		.mr_ifindex = addr.sll_ifindex,
		.mr_type = PACKET_MR_PROMISC,
	};
	int one = 1, size = 64 << 20;
	/* No protocol yet: nothing is received before it is bound to the interface. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		die(PROBE_SYSTEM, "packet socket: %m");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous,
			sizeof(promiscuous)) < 0 ||
		bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die(PROBE_SYSTEM, "packet socket on %s: %m", ifname);
	return fd;
}

static void restore_tag(uint8_t *frame, struct received *r, const struct tpacket_auxdata *aux)
{
	uint16_t tpid = aux->tp_status & TP_STATUS_VLAN_TPID_VALID ? aux->tp_vlan_tpid : 0x8100;

	r->stripped_vlan = aux->tp_vlan_tci & 0xfff;
	if (r->len < 14)
		return;
	memmove(frame + 16, frame + 12, r->len - 12);
	frame[12] = (uint8_t)(tpid >> 8);
	frame[13] = (uint8_t)tpid;
	frame[14] = (uint8_t)(aux->tp_vlan_tci >> 8);
	frame[15] = (uint8_t)aux->tp_vlan_tci;
	r->len += 4;
}

bool packet_receive(int fd, uint8_t *frame, struct received *ret_received)
{
	struct iovec iov = {.iov_base = frame, .iov_len = FRAME_MAX - 4};
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct sockaddr_ll from;
	struct msghdr msg = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct received r = {.stripped_vlan = -1};
	ssize_t n = recvmsg(fd, &msg, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0)
		die(PROBE_SYSTEM, "receiving packets: %m");
	r.len = (size_t)n;
	r.outgoing = from.sll_pkttype == PACKET_OUTGOING;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		r.partial = aux.tp_status & TP_STATUS_CSUMNOTREADY;
		if (aux.tp_status & TP_STATUS_VLAN_VALID)
			restore_tag(frame, &r, &aux);
	}
	*ret_received = r;
	return true;
}

uint64_t packet_dropped(int fd)
{
	struct tpacket_stats stats = {0};
	socklen_t len = sizeof(stats);

	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) < 0)
		die(PROBE_SYSTEM, "packet statistics: %m");
	return stats.tp_drops;
}
