/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: MACs, IPs, prefixes and UDP end points, with strict parsers and formatters. */
#ifndef LIB_ADDR_H
#define LIB_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define MAC_TEXT_LEN      18
#define IP_TEXT_LEN       INET6_ADDRSTRLEN
#define CIDR_TEXT_LEN     (INET6_ADDRSTRLEN + 4)
#define ENDPOINT_TEXT_LEN (INET6_ADDRSTRLEN + 2 + 6)

struct mac {
	uint8_t b[6];
};

/* An IPv4 or IPv6 address; family AF_UNSPEC means none. Unused bytes are zero. */
struct ip {
	int family;    /* AF_UNSPEC, AF_INET, AF_INET6 */
	uint8_t b[16]; /* network order; the first 4 for IPv4 */
};

/* An address with a prefix length: a network when its host bits are zero. */
struct cidr {
	struct ip ip;
	uint8_t prefix;
};

/* A UDP end point of a peer, and the local address from which to answer it (AF_UNSPEC: the
 * kernel's choice). */
struct endpoint {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} remote;
	struct ip local;
	uint32_t local_ifindex; /* only for link-local remotes and pktinfo; 0: any */
};

bool mac_parse(const char *text, struct mac *ret_mac);
void mac_format(const struct mac *m, char ret_text[MAC_TEXT_LEN]);
bool mac_equal(const struct mac *a, const struct mac *b);
static inline bool mac_is_multicast(const struct mac *m)
{
	return m->b[0] & 1; /* IEEE 802: the group bit; broadcast included */
}

bool ip_parse(const char *text, struct ip *ret_ip);
void ip_format(const struct ip *ip, char ret_text[IP_TEXT_LEN]);
/* <0, 0, >0: by family, then bytes. */
int ip_compare(const struct ip *a, const struct ip *b);
/* a + offset within the family, big-endian arithmetic; false on overflow. */
bool ip_add(const struct ip *a, uint64_t offset, struct ip *ret_ip);
bool ip_is_loopback(const struct ip *ip);
bool ip_is_link_local(const struct ip *ip);
bool ip_is_multicast(const struct ip *ip);
/* 0.0.0.0, ::, or none at all. */
bool ip_is_unspecified(const struct ip *ip);

/* "10.0.0.1/24"; a bare address gets the family's full length. */
bool cidr_parse(const char *text, struct cidr *ret_cidr);
void cidr_format(const struct cidr *c, char ret_text[CIDR_TEXT_LEN]);
/* True when the host bits are zero. */
bool cidr_is_network(const struct cidr *c);
bool cidr_contains(const struct cidr *c, const struct ip *ip);
bool cidr_overlaps(const struct cidr *a, const struct cidr *b);
/* The address of the network (host bits cleared) and its last address (host bits set). */
struct ip cidr_first(const struct cidr *c);
struct ip cidr_last(const struct cidr *c);

/* "192.0.2.1:4826", "[2001:db8::1]:4826"; without a port, default_port (0: a port is required). */
bool endpoint_parse(const char *text, uint16_t default_port, struct endpoint *ret_ep);
void endpoint_format(const struct endpoint *ep, char ret_text[ENDPOINT_TEXT_LEN]);
/* Remote address and port are the same; the local side is not compared. IPv4-mapped IPv6 equals
 * IPv4. */
bool endpoint_same_remote(const struct endpoint *a, const struct endpoint *b);
void endpoint_from_ip(const struct ip *ip, uint16_t port, struct endpoint *ret_ep);
struct ip endpoint_ip(const struct endpoint *ep);
uint16_t endpoint_port(const struct endpoint *ep);
socklen_t endpoint_sockaddr_len(const struct endpoint *ep);

#endif
