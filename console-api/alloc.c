/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/alloc.h"

#include <sodium.h>
#include <string.h>
#include "lib/hash.h"
#include "lib/netmap.h"

static size_t ip_len(int family)
{
	return family == AF_INET ? 4 : 16;
}

bool alloc_cidr_usable(const struct cidr *net, int family, struct err *e)
{
	unsigned int prefix_max = family == AF_INET ? 30 : 126;
	char text[CIDR_TEXT_LEN];
	struct cidr masked = *net;

	if (net->ip.family != family) {
		err_set(e, -VAN_E_INVALID, "must be an IPv%c network such as %s",
			family == AF_INET ? '4' : '6',
			family == AF_INET ? "172.16.1.0/24" : "fd00:1::/64");
		return false;
	}
	if (net->prefix < 8 || net->prefix > prefix_max) {
		err_set(e, -VAN_E_INVALID, "the prefix length must be from 8 to %u", prefix_max);
		return false;
	}
	if (!cidr_is_network(net)) {
		masked.ip = cidr_first(net);
		cidr_format(&masked, text);
		err_set(e, -VAN_E_INVALID, "has host bits set; the network is %s", text);
		return false;
	}
	if (ip_is_multicast(&net->ip) || ip_is_loopback(&net->ip) || ip_is_link_local(&net->ip) ||
		ip_is_unspecified(&net->ip) || (family == AF_INET && net->ip.b[0] >= 240)) {
		err_set(e, -VAN_E_INVALID,
			"must be a range for hosts, not a multicast, loopback, link-local or "
			"reserved one");
		return false;
	}
	return true;
}

bool alloc_address_usable(const struct cidr *net, const struct ip *ip, struct err *e)
{
	struct ip first = cidr_first(net);
	struct ip last = cidr_last(net);
	char text[IP_TEXT_LEN], net_text[CIDR_TEXT_LEN];

	ip_format(ip, text);
	cidr_format(net, net_text);
	if (ip->family != net->ip.family || !cidr_contains(net, ip)) {
		err_set(e, -VAN_E_INVALID, "%s is not inside %s: choose one that is", text,
			net_text);
		return false;
	}
	if (!ip_compare(ip, &first)) {
		err_set(e, -VAN_E_INVALID, "%s is the address of the network %s itself", text,
			net_text);
		return false;
	}
	if (ip->family == AF_INET && !ip_compare(ip, &last)) {
		err_set(e, -VAN_E_INVALID, "%s is the broadcast address of %s", text, net_text);
		return false;
	}
	return true;
}

/* Both lists are walked once: what lies below the candidate is of no interest any more. */
int alloc_next_free(struct alloc_walk *w, struct ip *ret_ip)
{
	struct ip from = w->begun ? w->last : cidr_first(w->net);
	struct ip candidate;

	if (!ip_add(&from, 1, &candidate))
		return -VAN_E_LIMIT;
	for (;;) {
		while (w->held_at < w->n && ip_compare(&w->held[w->held_at], &candidate) < 0)
			w->held_at++;
		while (w->range_at < w->range_count &&
			ip_compare(&w->ranges[w->range_at].last, &candidate) < 0)
			w->range_at++;
		if (w->range_at < w->range_count &&
			ip_compare(&w->ranges[w->range_at].first, &candidate) <= 0)
			candidate = w->ranges[w->range_at].last;
		else if (w->held_at == w->n || ip_compare(&w->held[w->held_at], &candidate) != 0)
			break;
		if (!ip_add(&candidate, 1, &candidate))
			return -VAN_E_LIMIT;
	}
	w->begun = true;
	w->last = candidate; /* beyond the end it stays there */
	if (!alloc_address_usable(w->net, &candidate, NULL))
		return -VAN_E_LIMIT;
	*ret_ip = candidate;
	return 0;
}

int alloc_first_free(const struct cidr *net, const struct ip *held, size_t n,
	const struct ip_range *ranges, size_t range_count, struct ip *ret_ip)
{
	struct alloc_walk walk = {
		.net = net, .held = held, .n = n, .ranges = ranges, .range_count = range_count};

	return alloc_next_free(&walk, ret_ip);
}

void alloc_address_key(const struct ip *ip, char ret_text[ALLOC_ADDRESS_KEY_LEN])
{
	ret_text[0] = ip->family == AF_INET ? '4' : '6';
	hash_hex(ip->b, ip_len(ip->family), ret_text + 1);
}

bool alloc_address_from_key(const char *text, struct ip *ret_ip)
{
	struct ip ip = {0};

	if (text[0] != '4' && text[0] != '6')
		return false;
	ip.family = text[0] == '4' ? AF_INET : AF_INET6;
	if (strlen(text + 1) != 2 * ip_len(ip.family) ||
		!hash_unhex(text + 1, ip.b, ip_len(ip.family)))
		return false;
	*ret_ip = ip;
	return true;
}

void alloc_random_mac(struct mac *ret_mac)
{
	randombytes_buf(ret_mac->b, sizeof(ret_mac->b));
	ret_mac->b[0] = (uint8_t)((ret_mac->b[0] & 0xfc) | 0x02);
}

uint32_t alloc_random_van_id(void)
{
	return 1 + randombytes_uniform(NETMAP_VAN_ID_MAX);
}
