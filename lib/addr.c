/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "lib/hash.h"

/* The length of an address of this family, in bytes; 0 for none. */
static size_t ip_len(const struct ip *ip)
{
	return ip->family == AF_INET ? 4 : ip->family == AF_INET6 ? 16 : 0;
}

/* A decimal number of digits only, without leading zeros, 0…max. */
static bool parse_number(const char *text, unsigned int max, unsigned int *ret_value)
{
	unsigned int value = 0;

	if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
		return false;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
		value = value * 10 + (unsigned int)(*p - '0');
		if (value > max)
			return false;
	}
	*ret_value = value;
	return true;
}

/* -- MACs -- */

bool mac_parse(const char *text, struct mac *ret_mac)
{
	struct mac m;

	if (strlen(text) != MAC_TEXT_LEN - 1)
		return false;
	for (size_t i = 0; i < sizeof(m.b); i++) {
		char pair[3] = {text[3 * i], text[3 * i + 1], '\0'};

		if (!hash_unhex(pair, &m.b[i], 1) || (i < 5 && text[3 * i + 2] != ':'))
			return false;
	}
	*ret_mac = m;
	return true;
}

void mac_format(const struct mac *m, char ret_text[MAC_TEXT_LEN])
{
	snprintf(ret_text, MAC_TEXT_LEN, "%02x:%02x:%02x:%02x:%02x:%02x", m->b[0], m->b[1], m->b[2],
		m->b[3], m->b[4], m->b[5]);
}

bool mac_equal(const struct mac *a, const struct mac *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* -- addresses -- */

bool ip_parse(const char *text, struct ip *ret_ip)
{
	struct ip ip = {0};

	if (inet_pton(AF_INET, text, ip.b) == 1) {
		ip.family = AF_INET;
	} else {
		memset(ip.b, 0, sizeof(ip.b));
		if (inet_pton(AF_INET6, text, ip.b) != 1)
			return false;
		ip.family = AF_INET6;
	}
	*ret_ip = ip;
	return true;
}

void ip_format(const struct ip *ip, char ret_text[IP_TEXT_LEN])
{
	if (ip_len(ip) == 0 || !inet_ntop(ip->family, ip->b, ret_text, IP_TEXT_LEN))
		memcpy(ret_text, "-", 2);
}

int ip_compare(const struct ip *a, const struct ip *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->b, b->b, ip_len(a));
}

bool ip_add(const struct ip *a, uint64_t offset, struct ip *ret_ip)
{
	struct ip sum = *a;
	uint64_t carry = 0;

	for (size_t i = ip_len(a); i-- > 0;) {
		uint64_t digit = (offset & 0xff) + sum.b[i] + carry;

		sum.b[i] = (uint8_t)digit;
		carry = digit >> 8;
		offset >>= 8;
	}
	if (carry || offset || a->family == AF_UNSPEC)
		return false;
	*ret_ip = sum;
	return true;
}

/* The IPv4 address inside an IPv4-mapped IPv6 one (RFC 4291 section 2.5.5.2); others as they are.
 */
static struct ip ip_unmap(const struct ip *ip)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
	struct ip v4 = {.family = AF_INET};

	if (ip->family != AF_INET6 || memcmp(ip->b, prefix, sizeof(prefix)) != 0)
		return *ip;
	memcpy(v4.b, ip->b + 12, 4);
	return v4;
}

bool ip_is_loopback(const struct ip *ip)
{
	static const uint8_t one[16] = {[15] = 1};
	struct ip u = ip_unmap(ip);

	if (u.family == AF_INET)
		return u.b[0] == 127;
	return u.family == AF_INET6 && memcmp(u.b, one, sizeof(one)) == 0;
}

bool ip_is_link_local(const struct ip *ip)
{
	struct ip u = ip_unmap(ip);

	if (u.family == AF_INET)
		return u.b[0] == 169 && u.b[1] == 254;
	return u.family == AF_INET6 && u.b[0] == 0xfe && (u.b[1] & 0xc0) == 0x80;
}

bool ip_is_multicast(const struct ip *ip)
{
	struct ip u = ip_unmap(ip);

	if (u.family == AF_INET)
		return (u.b[0] & 0xf0) == 0xe0;
	return u.family == AF_INET6 && u.b[0] == 0xff;
}

bool ip_is_unspecified(const struct ip *ip)
{
	static const uint8_t zero[16];
	struct ip u = ip_unmap(ip);

	return memcmp(u.b, zero, ip_len(&u)) == 0;
}

/* -- prefixes -- */

bool cidr_parse(const char *text, struct cidr *ret_cidr)
{
	const char *slash = strchr(text, '/');
	char address[IP_TEXT_LEN];
	unsigned int prefix;
	struct ip ip;
	size_t len = slash ? (size_t)(slash - text) : strlen(text);

	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	if (!ip_parse(address, &ip))
		return false;
	prefix = (unsigned int)(ip_len(&ip) * 8);
	if (slash && !parse_number(slash + 1, prefix, &prefix))
		return false;
	*ret_cidr = (struct cidr){.ip = ip, .prefix = (uint8_t)prefix};
	return true;
}

void cidr_format(const struct cidr *c, char ret_text[CIDR_TEXT_LEN])
{
	char address[IP_TEXT_LEN];

	ip_format(&c->ip, address);
	if (ip_len(&c->ip) == 0)
		memcpy(ret_text, "-", 2);
	else
		snprintf(ret_text, CIDR_TEXT_LEN, "%s/%u", address, c->prefix);
}

/* The bits of byte i that belong to the prefix. */
static uint8_t mask_byte(unsigned int prefix, size_t i)
{
	if (prefix >= 8 * (i + 1))
		return 0xff;
	return prefix <= 8 * i ? 0 : (uint8_t)(0xff << (8 * (i + 1) - prefix));
}

struct ip cidr_first(const struct cidr *c)
{
	struct ip ip = c->ip;

	for (size_t i = 0; i < ip_len(&ip); i++)
		ip.b[i] &= mask_byte(c->prefix, i);
	return ip;
}

struct ip cidr_last(const struct cidr *c)
{
	struct ip ip = c->ip;

	for (size_t i = 0; i < ip_len(&ip); i++)
		ip.b[i] |= (uint8_t)~mask_byte(c->prefix, i);
	return ip;
}

bool cidr_is_network(const struct cidr *c)
{
	struct ip first = cidr_first(c);

	return ip_compare(&first, &c->ip) == 0;
}

bool cidr_contains(const struct cidr *c, const struct ip *ip)
{
	if (ip_len(ip) == 0 || ip->family != c->ip.family)
		return false;
	for (size_t i = 0; i < ip_len(ip); i++) {
		if ((ip->b[i] ^ c->ip.b[i]) & mask_byte(c->prefix, i))
			return false;
	}
	return true;
}

bool cidr_overlaps(const struct cidr *a, const struct cidr *b)
{
	return a->prefix <= b->prefix ? cidr_contains(a, &b->ip) : cidr_contains(b, &a->ip);
}

/* -- end points -- */

bool endpoint_parse(const char *text, uint16_t default_port, struct endpoint *ret_ep)
{
	const char *colon = strrchr(text, ':');
	const char *address_start = text;
	const char *port_text = NULL;
	unsigned int port = default_port;
	char address[IP_TEXT_LEN];
	const char *address_end;
	struct ip ip;

	if (text[0] == '[') {
		address_start = text + 1;
		address_end = strchr(text, ']');
		if (!address_end || (address_end[1] != '\0' && address_end[1] != ':'))
			return false;
		if (address_end[1] == ':')
			port_text = address_end + 2;
	} else if (colon && strchr(text, ':') == colon) {
		address_end = colon; /* one colon: a port; several: a bare IPv6 address */
		port_text = colon + 1;
	} else {
		address_end = text + strlen(text);
	}
	if ((size_t)(address_end - address_start) >= sizeof(address))
		return false;
	memcpy(address, address_start, (size_t)(address_end - address_start));
	address[address_end - address_start] = '\0';
	if (!ip_parse(address, &ip) || (text[0] == '[' && ip.family != AF_INET6))
		return false;
	if ((port_text && !parse_number(port_text, 65535, &port)) || port == 0)
		return false;
	endpoint_from_ip(&ip, (uint16_t)port, ret_ep);
	return true;
}

void endpoint_format(const struct endpoint *ep, char ret_text[ENDPOINT_TEXT_LEN])
{
	struct ip ip = endpoint_ip(ep);
	char address[IP_TEXT_LEN];

	ip_format(&ip, address);
	if (ip.family == AF_UNSPEC)
		memcpy(ret_text, "-", 2);
	else
		snprintf(ret_text, ENDPOINT_TEXT_LEN, ip.family == AF_INET6 ? "[%s]:%u" : "%s:%u",
			address, endpoint_port(ep));
}

bool endpoint_same_remote(const struct endpoint *a, const struct endpoint *b)
{
	struct ip ip_a = endpoint_ip(a), ip_b = endpoint_ip(b);

	ip_a = ip_unmap(&ip_a);
	ip_b = ip_unmap(&ip_b);
	return ip_compare(&ip_a, &ip_b) == 0 && endpoint_port(a) == endpoint_port(b);
}

void endpoint_from_ip(const struct ip *ip, uint16_t port, struct endpoint *ret_ep)
{
	struct endpoint ep;

	memset(&ep, 0, sizeof(ep)); /* padding too: end points are compared and hashed as bytes */
	if (ip->family == AF_INET) {
		ep.remote.in.sin_family = AF_INET;
		ep.remote.in.sin_port = htons(port);
		memcpy(&ep.remote.in.sin_addr, ip->b, 4);
	} else if (ip->family == AF_INET6) {
		ep.remote.in6.sin6_family = AF_INET6;
		ep.remote.in6.sin6_port = htons(port);
		memcpy(&ep.remote.in6.sin6_addr, ip->b, 16);
	}
	*ret_ep = ep;
}

struct ip endpoint_ip(const struct endpoint *ep)
{
	struct ip ip = {.family = AF_UNSPEC};

	if (ep->remote.sa.sa_family == AF_INET) {
		ip.family = AF_INET;
		memcpy(ip.b, &ep->remote.in.sin_addr, 4);
	} else if (ep->remote.sa.sa_family == AF_INET6) {
		ip.family = AF_INET6;
		memcpy(ip.b, &ep->remote.in6.sin6_addr, 16);
	}
	return ip;
}

uint16_t endpoint_port(const struct endpoint *ep)
{
	if (ep->remote.sa.sa_family == AF_INET)
		return ntohs(ep->remote.in.sin_port);
	return ep->remote.sa.sa_family == AF_INET6 ? ntohs(ep->remote.in6.sin6_port) : 0;
}

socklen_t endpoint_sockaddr_len(const struct endpoint *ep)
{
	if (ep->remote.sa.sa_family == AF_INET)
		return sizeof(struct sockaddr_in);
	return ep->remote.sa.sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : 0;
}
