/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two netlink sockets: one for requests, which the kernel answers before send() returns, so using
 * it does not block; and one in the loop that hears of changes.
 *
 * News are hints only. The kernel repeats itself (a router advertisement renews addresses every few
 * seconds), and our own TAPs come and go; so when something moved, the addresses are listed anew,
 * without the interfaces that were named in our own calls, and the callback runs only when that
 * list differs from the one before.
 */
#include "vand/route.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/log.h"

#define LOOK_AFTER_NS      (100 * NS_PER_MS) /* let a burst of news end */
#define LOOK_EVERY_NS      (500 * NS_PER_MS)
#define OWN_MAX            256
#define NETLINK_BUFFER_LEN 32768
#define DUMP_TRIES         5
#define UNDERLAY_MAX       1024

struct route {
	struct loop *loop;
	struct mnl_socket *request;
	struct mnl_socket *news;
	struct loop_source source;
	struct loop_timer look;
	uint64_t looked_ns;
	void (*changed)(void *ctx);
	void *ctx;
	uint32_t seq;
	int own[OWN_MAX]; /* interfaces of ours, oldest first */
	size_t own_count;
	uint8_t seen[HASH_LEN]; /* of the addresses at the last look */
};

/* -- requests -- */

/* Sends a request and hands every answer to the callback (may be NULL). 0 or -errno. */
static int talk(struct route *r, struct nlmsghdr *nlh, mnl_cb_t callback, void *data)
{
	_Alignas(8) uint8_t buffer[NETLINK_BUFFER_LEN];
	unsigned int port = mnl_socket_get_portid(r->request);

	nlh->nlmsg_seq = ++r->seq;
	if (mnl_socket_sendto(r->request, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(r->request, buffer, sizeof(buffer));
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		rc = mnl_cb_run(buffer, (size_t)n, nlh->nlmsg_seq, port, callback, data);
		if (rc < 0 && errno == EPROTO)
			continue; /* left over from a dump that was given up */
		if (rc < 0)
			return -errno;
		if (rc == MNL_CB_STOP)
			return 0;
	}
}

/* A list of everything of one type. The kernel says when the list changed while it was read. */
static int dump(
	struct route *r, uint16_t type, mnl_cb_t callback, void *data, void (*restart)(void *))
{
	int rc = -EINTR;

	for (int i = 0; i < DUMP_TRIES && rc == -EINTR; i++) {
		_Alignas(8) uint8_t buffer[128];
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);

		nlh->nlmsg_type = type;
		nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		if (type == RTM_GETLINK)
			mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
		else
			mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifaddrmsg));
		restart(data);
		rc = talk(r, nlh, callback, data);
	}
	return rc;
}

static void note_own(struct route *r, int ifindex)
{
	for (size_t i = 0; i < r->own_count; i++) {
		if (r->own[i] == ifindex)
			return;
	}
	if (r->own_count == OWN_MAX)
		memmove(r->own, r->own + 1, --r->own_count * sizeof(r->own[0]));
	r->own[r->own_count++] = ifindex;
}

static bool listed(const int *list, size_t count, int ifindex)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i] == ifindex)
			return true;
	}
	return false;
}

static const char *ifname_of(int ifindex, char buffer[IF_NAMESIZE])
{
	if (!if_indextoname((unsigned int)ifindex, buffer))
		snprintf(buffer, IF_NAMESIZE, "#%d", ifindex);
	return buffer;
}

int route_link_set(
	struct route *r, int ifindex, const struct mac *mac, uint16_t mtu, bool up, struct err *e)
{
	_Alignas(8) uint8_t buffer[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *link;
	char name[IF_NAMESIZE];
	int rc;

	note_own(r, ifindex);
	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));
	link->ifi_family = AF_UNSPEC;
	link->ifi_index = ifindex;
	link->ifi_change = IFF_UP;
	link->ifi_flags = up ? IFF_UP : 0;
	if (mac)
		mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(mac->b), mac->b);
	if (mtu)
		mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	rc = talk(r, nlh, NULL, NULL);
	if (rc < 0)
		return err_set(e, rc, "cannot set up interface %s: %s%s", ifname_of(ifindex, name),
			err_name(rc),
			rc == -EPERM ? " (vand needs CAP_NET_ADMIN: run it as root)" : "");
	return 0;
}

int route_ignore_router_advertisements(const char *ifname)
{
	char path[64 + IF_NAMESIZE];
	int fd, rc;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", ifname);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	rc = write(fd, "0", 1) == 1 ? 0 : -errno;
	close(fd);
	return rc;
}

/*
 * Without this, the kernel removes all other addresses of a subnet together with its first one,
 * floating addresses that keepalived put there included.
 */
static void promote_secondaries(struct route *r, int ifindex)
{
	_Alignas(8) uint8_t buffer[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct nlattr *spec, *inet, *conf;
	struct ifinfomsg *link;

	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));
	link->ifi_index = ifindex;
	spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
	inet = mnl_attr_nest_start(nlh, AF_INET);
	conf = mnl_attr_nest_start(nlh, IFLA_INET_CONF);
	mnl_attr_put_u32(nlh, IPV4_DEVCONF_PROMOTE_SECONDARIES, 1);
	mnl_attr_nest_end(nlh, conf);
	mnl_attr_nest_end(nlh, inet);
	mnl_attr_nest_end(nlh, spec);
	(void)talk(r, nlh, NULL, NULL); /* a refinement */
}

static int address_change(struct route *r, int ifindex, const struct cidr *c, bool add)
{
	_Alignas(8) uint8_t buffer[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	size_t len = c->ip.family == AF_INET ? 4 : 16;
	struct ifaddrmsg *address;
	int rc;

	nlh->nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	if (add)
		nlh->nlmsg_flags |= NLM_F_CREATE | NLM_F_REPLACE;
	address = mnl_nlmsg_put_extra_header(nlh, sizeof(*address));
	address->ifa_family = (uint8_t)c->ip.family;
	address->ifa_prefixlen = c->prefix;
	address->ifa_scope = RT_SCOPE_UNIVERSE;
	address->ifa_index = (unsigned int)ifindex;
	mnl_attr_put(nlh, IFA_LOCAL, len, c->ip.b);
	mnl_attr_put(nlh, IFA_ADDRESS, len, c->ip.b);
	if (c->ip.family == AF_INET && c->prefix < 31) {
		struct ip last = cidr_last(c);

		mnl_attr_put(nlh, IFA_BROADCAST, len, last.b);
	}
	/* The registry assigns every address once: probing for a duplicate only delays its use. */
	if (c->ip.family == AF_INET6)
		mnl_attr_put_u32(nlh, IFA_FLAGS, IFA_F_NODAD);
	rc = talk(r, nlh, NULL, NULL);
	if (add && rc == -EEXIST)
		return 0;
	if (!add && (rc == -EADDRNOTAVAIL || rc == -ENODEV))
		return 0; /* gone already */
	return rc;
}

static bool has_cidr(const struct cidr *list, size_t count, const struct cidr *c)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i].prefix == c->prefix && ip_compare(&list[i].ip, &c->ip) == 0)
			return true;
	}
	return false;
}

int route_addresses_set(struct route *r, int ifindex, const struct cidr *had, size_t had_count,
	const struct cidr *have, size_t have_count, struct err *e)
{
	char text[CIDR_TEXT_LEN], name[IF_NAMESIZE];
	bool promoted = false;
	int rc;

	note_own(r, ifindex);
	for (size_t i = 0; i < had_count; i++) {
		if (has_cidr(have, have_count, &had[i]))
			continue;
		if (!promoted)
			promote_secondaries(r, ifindex);
		promoted = true;
		rc = address_change(r, ifindex, &had[i], false);
		if (rc < 0) {
			cidr_format(&had[i], text);
			return err_set(e, rc, "cannot remove address %s from %s: %s", text,
				ifname_of(ifindex, name), err_name(rc));
		}
	}
	for (size_t i = 0; i < have_count; i++) {
		rc = address_change(r, ifindex, &have[i], true);
		if (rc < 0) {
			cidr_format(&have[i], text);
			return err_set(e, rc, "cannot add address %s to %s: %s%s", text,
				ifname_of(ifindex, name), err_name(rc),
				have[i].ip.family == AF_INET6 && rc == -EACCES
					? " (IPv6 is disabled on this host: "
					  "net.ipv6.conf.*.disable_ipv6)"
					: "");
		}
	}
	return 0;
}

int route_neighbour_update(struct route *r, int ifindex, const struct ip *ip, const struct mac *mac)
{
	_Alignas(8) uint8_t buffer[128];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct ndmsg *neighbour;
	int rc;

	nlh->nlmsg_type = RTM_NEWNEIGH;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE;
	neighbour = mnl_nlmsg_put_extra_header(nlh, sizeof(*neighbour));
	neighbour->ndm_family = (uint8_t)ip->family;
	neighbour->ndm_ifindex = ifindex;
	neighbour->ndm_state = NUD_STALE; /* used at once, and verified */
	mnl_attr_put(nlh, NDA_DST, ip->family == AF_INET ? 4 : 16, ip->b);
	mnl_attr_put(nlh, NDA_LLADDR, sizeof(mac->b), mac->b);
	rc = talk(r, nlh, NULL, NULL);
	return rc == -ENOENT ? 0 : rc;
}

/* -- lists -- */

struct link_row {
	int ifindex;
	uint32_t mtu;
	char name[IF_NAMESIZE];
};

struct underlay_dump {
	const int *skip;
	size_t skip_count;
	struct link_row *links; /* usable ones */
	size_t link_count;
	struct route_underlay *rows;
	int *ifindexes; /* of rows */
	size_t row_count;
};

static void restart_links(void *data)
{
	((struct underlay_dump *)data)->link_count = 0;
}

static void restart_rows(void *data)
{
	((struct underlay_dump *)data)->row_count = 0;
}

static int on_link(const struct nlmsghdr *nlh, void *data)
{
	struct underlay_dump *d = data;
	const struct ifinfomsg *link = mnl_nlmsg_get_payload(nlh);
	struct link_row *row;
	struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWLINK || d->link_count == UNDERLAY_MAX)
		return MNL_CB_OK;
	if (!(link->ifi_flags & IFF_UP) || link->ifi_flags & IFF_LOOPBACK ||
		listed(d->skip, d->skip_count, link->ifi_index))
		return MNL_CB_OK;
	row = &d->links[d->link_count++];
	memset(row, 0, sizeof(*row));
	row->ifindex = link->ifi_index;
	mnl_attr_for_each(attr, nlh, sizeof(*link))
	{
		if (mnl_attr_get_type(attr) == IFLA_MTU)
			row->mtu = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == IFLA_IFNAME)
			snprintf(row->name, sizeof(row->name), "%s", mnl_attr_get_str(attr));
	}
	return MNL_CB_OK;
}

static bool reachable_at(const struct ip *ip)
{
	return ip->family != AF_UNSPEC && !ip_is_loopback(ip) && !ip_is_link_local(ip) &&
	       !ip_is_multicast(ip) && !ip_is_unspecified(ip);
}

static int on_address(const struct nlmsghdr *nlh, void *data)
{
	struct underlay_dump *d = data;
	const struct ifaddrmsg *address = mnl_nlmsg_get_payload(nlh);
	struct ip local = {0}, remote = {0};
	uint32_t flags = address->ifa_flags;
	const struct link_row *link = NULL;
	struct nlattr *attr;
	size_t len = address->ifa_family == AF_INET ? 4 : 16;

	if (nlh->nlmsg_type != RTM_NEWADDR || d->row_count == UNDERLAY_MAX)
		return MNL_CB_OK;
	if (address->ifa_family != AF_INET && address->ifa_family != AF_INET6)
		return MNL_CB_OK;
	for (size_t i = 0; i < d->link_count && !link; i++) {
		if (d->links[i].ifindex == (int)address->ifa_index)
			link = &d->links[i];
	}
	if (!link)
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(*address))
	{
		uint16_t type = mnl_attr_get_type(attr);

		if (type == IFA_FLAGS) {
			flags = mnl_attr_get_u32(attr);
		} else if ((type == IFA_LOCAL || type == IFA_ADDRESS) &&
			   mnl_attr_get_payload_len(attr) == len) {
			struct ip *ip = type == IFA_LOCAL ? &local : &remote;

			ip->family = address->ifa_family;
			memcpy(ip->b, mnl_attr_get_payload(attr), len);
		}
	}
	/* On a point-to-point link IFA_ADDRESS is the other end; IPv6 often has no IFA_LOCAL. */
	if (local.family == AF_UNSPEC)
		local = remote;
	/* A temporary address (RFC 8981) is gone tomorrow; its interface has a lasting one. In IPv4
	 * the same bit means "secondary". */
	if (address->ifa_family == AF_INET6 &&
		flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TEMPORARY))
		return MNL_CB_OK;
	if (!reachable_at(&local))
		return MNL_CB_OK;
	memset(&d->rows[d->row_count], 0, sizeof(d->rows[0]));
	memcpy(d->rows[d->row_count].ifname, link->name, sizeof(link->name));
	d->rows[d->row_count].address = local;
	d->rows[d->row_count].mtu = link->mtu;
	d->rows[d->row_count].prefix = address->ifa_prefixlen;
	d->ifindexes[d->row_count++] = link->ifindex;
	return MNL_CB_OK;
}

static int by_address(const void *a, const void *b)
{
	const struct route_underlay *x = a, *y = b;
	int rc = ip_compare(&x->address, &y->address);

	return rc ? rc : strcmp(x->ifname, y->ifname);
}

/* The interface of the default route, by asking for the way to a documentation address (RFC 5737,
 * RFC 3849), which nobody has a route of its own to. */
static int default_interface(struct route *r, int family)
{
	struct ip far;
	int ifindex = 0;

	if (ip_parse(family == AF_INET ? "192.0.2.1" : "2001:db8::1", &far))
		(void)route_mtu_to(r, &far, &ifindex);
	return ifindex;
}

/* Those on the interface of the default route first: only so many are told to other nodes. */
static void default_first(struct route *r, struct underlay_dump *d)
{
	int v4 = default_interface(r, AF_INET), v6 = default_interface(r, AF_INET6);
	struct route_underlay *sorted = calloc(d->row_count + 1, sizeof(*sorted));
	size_t n = 0;

	if (!sorted)
		return;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < d->row_count; i++) {
			int family = d->rows[i].address.family;
			bool first = d->ifindexes[i] == (family == AF_INET ? v4 : v6);

			if (first != (pass == 0))
				continue;
			sorted[n] = d->rows[i];
			sorted[n++].is_default = first;
		}
	}
	memcpy(d->rows, sorted, n * sizeof(*sorted));
	free(sorted);
}

int route_underlay(struct route *r, const int *skip, size_t skip_count,
	struct route_underlay **ret_list, size_t *ret_count, struct err *e)
{
	CLEANUP(free) struct link_row *links = calloc(UNDERLAY_MAX, sizeof(*links));
	CLEANUP(free) struct route_underlay *rows = calloc(UNDERLAY_MAX, sizeof(*rows));
	CLEANUP(free) int *ifindexes = calloc(UNDERLAY_MAX, sizeof(*ifindexes));
	struct underlay_dump d = {.skip = skip,
		.skip_count = skip_count,
		.links = links,
		.rows = rows,
		.ifindexes = ifindexes};
	int rc;

	if (!links || !rows || !ifindexes)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	rc = dump(r, RTM_GETLINK, on_link, &d, restart_links);
	if (rc == 0)
		rc = dump(r, RTM_GETADDR, on_address, &d, restart_rows);
	if (rc < 0)
		return err_set(e, rc, "cannot list this machine's addresses: %s", err_name(rc));
	default_first(r, &d);
	*ret_count = d.row_count;
	*ret_list = STEAL(rows);
	return 0;
}

/* -- the way to an address -- */

struct way {
	int ifindex;
	uint32_t mtu;
};

static int on_route(const struct nlmsghdr *nlh, void *data)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(nlh);
	struct way *way = data;
	struct nlattr *attr, *metric;
	struct rta_cacheinfo cache = {0};
	uint32_t mtu = 0;

	if (nlh->nlmsg_type != RTM_NEWROUTE)
		return MNL_CB_OK;
	if (route->rtm_type != RTN_UNICAST && route->rtm_type != RTN_LOCAL)
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(*route))
	{
		if (mnl_attr_get_type(attr) == RTA_OIF) {
			way->ifindex = (int)mnl_attr_get_u32(attr);
		} else if (mnl_attr_get_type(attr) == RTA_METRICS) {
			mnl_attr_for_each_nested(metric, attr)
			{
				if (mnl_attr_get_type(metric) == RTAX_MTU)
					mtu = mnl_attr_get_u32(metric);
			}
		} else if (mnl_attr_get_type(attr) == RTA_CACHEINFO &&
			   mnl_attr_get_payload_len(attr) >= sizeof(cache)) {
			memcpy(&cache, mnl_attr_get_payload(attr), sizeof(cache));
		}
	}
	/* One that ends some day is what the kernel believes of an ICMP message. */
	way->mtu = cache.rta_expires ? 0 : mtu;
	return MNL_CB_OK;
}

static int on_link_mtu(const struct nlmsghdr *nlh, void *data)
{
	struct way *way = data;
	struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(attr) == IFLA_MTU)
			way->mtu = mnl_attr_get_u32(attr);
	}
	return MNL_CB_OK;
}

static uint32_t link_mtu(struct route *r, int ifindex)
{
	_Alignas(8) uint8_t buffer[128];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct way way = {0};
	struct ifinfomsg *link;

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));
	link->ifi_index = ifindex;
	return talk(r, nlh, on_link_mtu, &way) < 0 ? 0 : way.mtu;
}

uint32_t route_mtu_to(struct route *r, const struct ip *to, int *ret_ifindex)
{
	_Alignas(8) uint8_t buffer[128];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	size_t len = to->family == AF_INET ? 4 : 16;
	struct way way = {0};
	struct rtmsg *route;
	uint32_t mtu;

	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	route = mnl_nlmsg_put_extra_header(nlh, sizeof(*route));
	route->rtm_family = (uint8_t)to->family;
	route->rtm_dst_len = (uint8_t)(8 * len);
	mnl_attr_put(nlh, RTA_DST, len, to->b);
	if (talk(r, nlh, on_route, &way) < 0 || way.ifindex == 0)
		return 0;
	mtu = link_mtu(r, way.ifindex);
	if (mtu == 0)
		return 0;
	if (ret_ifindex)
		*ret_ifindex = way.ifindex;
	return way.mtu && way.mtu < mtu ? way.mtu : mtu;
}

/* -- news -- */

/* True when the addresses differ from those of the last look. */
static bool look(struct route *r)
{
	CLEANUP(free) struct route_underlay *list = NULL;
	uint8_t hash[HASH_LEN];
	struct err e = {0};
	size_t count;

	if (route_underlay(r, r->own, r->own_count, &list, &count, &e) < 0) {
		log_warn("route: %s", e.text);
		return true; /* unknown: better look once too often */
	}
	qsort(list, count, sizeof(*list), by_address);
	hash_sha256(HASH_PIECES({list, count * sizeof(*list)}), hash);
	if (memcmp(hash, r->seen, sizeof(hash)) == 0)
		return false;
	memcpy(r->seen, hash, sizeof(hash));
	return true;
}

static void on_look(struct loop_timer *timer, uint64_t now_ns)
{
	struct route *r = container_of(timer, struct route, look);

	r->looked_ns = now_ns;
	if (look(r))
		r->changed(r->ctx);
}

static void on_news(struct loop_source *source, uint32_t events)
{
	struct route *r = container_of(source, struct route, source);
	_Alignas(8) uint8_t buffer[NETLINK_BUFFER_LEN];
	uint64_t at_ns = r->loop->now_ns + LOOK_AFTER_NS;
	ssize_t n;

	(void)events;
	/* What they say does not matter, nor that some were lost (ENOBUFS). */
	do {
		n = recv(source->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	} while (n >= 0 || errno == EINTR || errno == ENOBUFS);
	if (r->look.armed)
		return;
	if (at_ns < r->looked_ns + LOOK_EVERY_NS)
		at_ns = r->looked_ns + LOOK_EVERY_NS;
	loop_timer_set(r->loop, &r->look, at_ns);
}

static int open_socket(unsigned int groups, struct mnl_socket **ret_socket)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int rc;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) < 0) {
		rc = -errno;
		mnl_socket_close(socket);
		return rc;
	}
	*ret_socket = socket;
	return 0;
}

int route_open(struct loop *loop, void (*changed)(void *ctx), void *ctx, struct route **ret_route,
	struct err *e)
{
	const struct timeval patience = {.tv_sec = 2};
	struct route *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	r->loop = loop;
	r->changed = changed;
	r->ctx = ctx;
	r->look.fire = on_look;
	rc = open_socket(0, &r->request);
	if (rc < 0)
		goto err_free;
	/* Should the kernel ever owe an answer, the data plane must not wait for it. */
	(void)setsockopt(mnl_socket_get_fd(r->request), SOL_SOCKET, SO_RCVTIMEO, &patience,
		sizeof(patience));
	rc = open_socket(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, &r->news);
	if (rc < 0)
		goto err_request;
	r->source.fd = mnl_socket_get_fd(r->news);
	r->source.ready = on_news;
	rc = loop_add(loop, &r->source, EPOLLIN);
	if (rc < 0)
		goto err_news;
	(void)look(r);
	*ret_route = r;
	return 0;

err_news:
	mnl_socket_close(r->news);
err_request:
	mnl_socket_close(r->request);
err_free:
	free(r);
	return err_set(e, rc, "cannot open a netlink socket: %s", err_name(rc));
}

void route_close(struct route *r)
{
	if (!r)
		return;
	loop_timer_cancel(r->loop, &r->look);
	loop_remove(r->loop, &r->source);
	mnl_socket_close(r->news);
	mnl_socket_close(r->request);
	free(r);
}
