/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is not as it should be. Foremost: an underlay too small for a network's frames. A frame of
 * `mtu` bytes has a 14-byte Ethernet header, is wrapped in MESSAGE_OVERHEAD bytes, a UDP header of
 * 8 and an IP header of 20 or 40. (A VLAN tag inside takes 4 more; they are not counted here,
 * because most networks carry none.)
 */
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "lib/cleanup.h"
#include "vand/reconcile.h"
#include "vand/reconcile_internal.h"
#include "vand/route.h"
#include "vand/vand.h"

#define ETHERNET_LEN 14
#define UDP_LEN      8
#define PATHS_MAX    256 /* peers whose path is looked up for one list of warnings */
#define LINES_MAX    8   /* about paths, for each network */
#define OWN_MAX      256

static uint32_t overhead(int family)
{
	return ETHERNET_LEN + MESSAGE_OVERHEAD + UDP_LEN + (family == AF_INET ? 20 : 40);
}

static void add_line(struct json_object *array, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add_line(struct json_object *array, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	json_object_array_add(array, json_object_new_string(text));
}

static void mtu_line(struct json_object *array, const struct netmap_network *nn, const char *where,
	uint32_t has, int family)
{
	uint32_t fits = has > overhead(family) ? has - overhead(family) : 0;
	char remedy[96] = "";

	if (fits >= NETMAP_MTU_MIN)
		snprintf(remedy, sizeof(remedy), "make the network with --mtu %u, or ", fits);
	add_line(array,
		"network %s (mtu %u): %s has MTU %u, %u needed for %s; full-size packets are refused "
		"as too big or go out in parts: %sraise the MTU there",
		nn->name, nn->mtu, where, has, nn->mtu + overhead(family),
		family == AF_INET ? "IPv4" : "IPv6", remedy);
}

static bool too_small(const struct netmap_network *nn, uint32_t mtu, int family)
{
	return mtu != 0 && mtu < nn->mtu + overhead(family);
}

/* The line for an interface of this machine, once, for the family that needs most. */
static void interface_lines(const struct netmap_network *nn, const struct route_underlay *list,
	size_t count, struct json_object *array)
{
	for (size_t i = 0; i < count; i++) {
		int family = list[i].address.family;
		bool said = false;

		for (size_t k = 0; k < count; k++) {
			if (strcmp(list[k].ifname, list[i].ifname) != 0)
				continue;
			said |= k < i;
			if (list[k].address.family == AF_INET6)
				family = AF_INET6;
		}
		if (!said && too_small(nn, list[i].mtu, family))
			mtu_line(array, nn, list[i].ifname, list[i].mtu, family);
	}
}

static bool interface_said(const struct netmap_network *nn, const struct route_underlay *list,
	size_t count, int ifindex)
{
	char name[IF_NAMESIZE];

	if (!if_indextoname((unsigned int)ifindex, name))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i].ifname, name) == 0 &&
			too_small(nn, list[i].mtu, list[i].address.family))
			return true;
	}
	return false;
}

/* Paths that are narrower than their interface: as probes have found out, or a route says. */
static void path_lines(const struct reconcile *r, const struct netmap_network *nn,
	const struct route_underlay *list, size_t count, struct json_object *array)
{
	size_t looked = 0, said = 0, more = 0;

	for (size_t i = 0; i < nn->peer_count && looked < PATHS_MAX; i++) {
		struct peer *peer =
			sessions_find_key(r->v->dataplane.sessions, &nn->peers[i].public_key);
		struct session_view view;
		uint32_t mtu;
		struct ip ip;
		int ifindex = 0;
		char where[160], text[IP_TEXT_LEN];

		if (!peer || !peer->endpoint || !peer->current)
			continue;
		looked++;
		ip = endpoint_ip(peer->endpoint);
		mtu = route_mtu_to(r->v->route, &ip, &ifindex);
		session_view(r->v->dataplane.sessions, peer, &view);
		if (view.path_mtu_final)
			mtu = view.path_mtu;
		if (interface_said(nn, list, count, ifindex))
			continue;
		if (!too_small(nn, mtu, ip.family))
			continue;
		if (said == LINES_MAX) {
			more++;
			continue;
		}
		said++;
		ip_format(&ip, text);
		snprintf(where, sizeof(where), "the path to %s (%s)", peer->name, text);
		mtu_line(array, nn, where, mtu, ip.family);
	}
	if (more)
		add_line(array, "network %s: the same of %zu more paths", nn->name, more);
}

static void overlap_line(const struct netmap_network *a, const struct netmap_network *b,
	const struct cidr *ca, const struct cidr *cb, struct json_object *array)
{
	char a_text[CIDR_TEXT_LEN], b_text[CIDR_TEXT_LEN];

	if (ca->ip.family == AF_UNSPEC || !cidr_overlaps(ca, cb))
		return;
	cidr_format(ca, a_text);
	cidr_format(cb, b_text);
	add_line(array,
		"networks %s (%s) and %s (%s) have addresses in common: this node reaches those in "
		"one of the two only; it should leave the other",
		a->name, a_text, b->name, b_text);
}

/* Two interfaces with routes to the same addresses. */
static void overlap_lines(const struct netmap *map, size_t i, struct json_object *array)
{
	const struct netmap_network *a = &map->networks[i];

	for (size_t k = i + 1; k < map->network_count; k++) {
		const struct netmap_network *b = &map->networks[k];

		overlap_line(a, b, &a->cidr, &b->cidr, array);
		overlap_line(a, b, &a->cidr6, &b->cidr6, array);
	}
}

void reconcile_warnings(const struct reconcile *r, struct json_object *array)
{
	CLEANUP(free) struct route_underlay *list = NULL;
	struct err e = {0};
	int own[OWN_MAX];
	size_t count = 0, own_count = reconcile_ifindexes(r, own, OWN_MAX);

	list_for_each (it, &r->networks) {
		const struct rec_network *rn = container_of(it, struct rec_network, node);

		if (rn->error[0])
			add_line(array, "network %s: %s", rn->name, rn->error);
	}
	if (r->peers_failed)
		add_line(array, "some peers could not be added: %s", err_name(r->peers_failed));
	if (!r->map)
		return;
	if (route_underlay(r->v->route, own, own_count, &list, &count, &e) < 0)
		add_line(array, "%s", e.text);
	for (size_t i = 0; i < r->map->network_count; i++) {
		const struct netmap_network *nn = &r->map->networks[i];

		overlap_lines(r->map, i, array);
		interface_lines(nn, list, count, array);
		path_lines(r, nn, list, count, array);
	}
}
