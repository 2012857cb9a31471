/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applying a netmap, in an order in which no worker ever meets a peer or network that is gone, and
 * nobody who was removed is served for longer than it takes:
 *
 *   1. networks that are gone, or come back as something else, are removed;
 *   2. the member tables of the others lose the peers that are gone, then these peers are removed
 *      with their keys;
 *   3. new peers are added, changed ones updated;
 *   4. each network is brought to what is wanted: TAP, members, MAC, MTU, up, addresses;
 *   5. the kernel's neighbour entries follow addresses that are another node's now.
 *
 * Step 4 is made of parts that remember whether they are done, so that it can be run again: every
 * RETRY_NS for a network that failed, until it works. A network whose member table cannot be
 * replaced in step 2 (no memory) is removed instead: better no network than one that still floods
 * to somebody who was put out.
 *
 * A peer's record hangs on struct peer as its owner; peers are found by key in the session engine.
 */
#include "vand/reconcile.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "vand/reconcile_internal.h"
#include "vand/route.h"
#include "vand/state.h"
#include "vand/vand.h"

#define RETRY_NS   (5 * NS_PER_S)
#define FLUSH_NS   (1 * NS_PER_S)
#define REFRESH_NS (60 * NS_PER_S)

struct rec_network *rec_find_network(const struct reconcile *r, const char *id)
{
	list_for_each (it, &r->networks) {
		struct rec_network *rn = container_of(it, struct rec_network, node);

		if (strcmp(rn->id, id) == 0)
			return rn;
	}
	return NULL;
}

static const struct netmap_network *find_in_map(const struct netmap *map, const char *id)
{
	for (size_t i = 0; map && i < map->network_count; i++) {
		if (strcmp(map->networks[i].id, id) == 0)
			return &map->networks[i];
	}
	return NULL;
}

/* -- overlay addresses -- */

static bool overlaid(const struct netmap *map, const struct ip *ip)
{
	for (size_t i = 0; map && i < map->network_count; i++) {
		const struct netmap_network *nn = &map->networks[i];

		if (cidr_contains(&nn->cidr, ip))
			return true;
		if (nn->cidr6.ip.family != AF_UNSPEC && cidr_contains(&nn->cidr6, ip))
			return true;
	}
	return false;
}

bool reconcile_is_overlay(const struct reconcile *r, const struct ip *ip)
{
	return overlaid(r->map, ip);
}

/* -- peers -- */

static struct rec_peer *record_of(struct reconcile *r, const struct key *key)
{
	struct peer *peer = sessions_find_key(r->v->dataplane.sessions, key);

	return peer ? peer->owner : NULL;
}

static bool same_candidates(const struct netmap_peer *a, const struct netmap_peer *b)
{
	if (a->tep_count != b->tep_count)
		return false;
	for (size_t i = 0; i < a->tep_count; i++) {
		if (!endpoint_same_remote(&a->teps[i], &b->teps[i]))
			return false;
	}
	return true;
}

static bool same_peer(const struct netmap_peer *a, const struct netmap_peer *b)
{
	return strcmp(a->id, b->id) == 0 && strcmp(a->name, b->name) == 0 && a->flags == b->flags &&
	       same_candidates(a, b);
}

static void add_candidate(
	const struct reconcile *r, struct netmap_peer *to, const struct endpoint *ep)
{
	struct ip ip = endpoint_ip(ep);

	/* The way to an overlay address leads through the tunnel that is to be made. */
	if (overlaid(r->map, &ip) || to->tep_count == NETMAP_TEPS_MAX)
		return;
	for (size_t i = 0; i < to->tep_count; i++) {
		if (endpoint_same_remote(&to->teps[i], ep))
			return;
	}
	to->teps[to->tep_count++] = *ep;
}

/* What the session engine is to know of a peer: of all its networks, with usable candidates. */
static struct netmap_peer usable(const struct reconcile *r, const struct netmap_peer *from)
{
	struct netmap_peer p = *from;

	p.tep_count = 0;
	for (size_t i = 0; i < from->tep_count; i++)
		add_candidate(r, &p, &from->teps[i]);
	return p;
}

/* The same, with the end point first at which the peer was last heard of. */
static struct netmap_peer with_kept_endpoint(
	const struct reconcile *r, const struct netmap_peer *from, bool *ret_kept)
{
	struct netmap_peer p = *from;
	struct endpoint kept;

	*ret_kept = state_endpoint(r->v->state, &from->public_key, &kept);
	p.tep_count = 0;
	if (*ret_kept)
		add_candidate(r, &p, &kept);
	for (size_t i = 0; i < from->tep_count; i++)
		add_candidate(r, &p, &from->teps[i]);
	return p;
}

/* Notes what the map wants of a peer. One that is in several networks is one peer. */
static void note_wanted(struct reconcile *r, struct rec_peer *rp, const struct netmap_peer *from)
{
	if (rp->turn == r->turn) {
		rp->wanted.flags |= from->flags;
		return;
	}
	rp->turn = r->turn;
	rp->wanted = usable(r, from);
}

static void mark_peers(struct reconcile *r)
{
	r->turn++;
	for (size_t i = 0; i < r->map->network_count; i++) {
		const struct netmap_network *nn = &r->map->networks[i];

		for (size_t k = 0; k < nn->peer_count; k++) {
			struct rec_peer *rp = record_of(r, &nn->peers[k].public_key);

			if (rp)
				note_wanted(r, rp, &nn->peers[k]);
		}
	}
}

static void peer_drop(struct reconcile *r, struct rec_peer *rp, bool forget)
{
	if (forget)
		state_set_endpoint(r->v->state, &rp->peer->public_key, NULL);
	list_del(&rp->node);
	rp->peer->owner = NULL;
	sessions_remove(r->v->dataplane.sessions, rp->peer);
	free(rp);
}

static int peer_add(struct reconcile *r, const struct netmap_peer *from)
{
	struct rec_peer *rp = calloc(1, sizeof(*rp));
	struct netmap_peer p;
	int rc;

	if (!rp)
		return -ENOMEM;
	note_wanted(r, rp, from);
	rp->applied = rp->wanted;
	p = with_kept_endpoint(r, &rp->wanted, &rp->want);
	rc = sessions_add(r->v->dataplane.sessions, &p, &rp->peer);
	if (rc < 0) {
		free(rp);
		return rc;
	}
	rp->peer->owner = rp;
	list_add_tail(&r->peers, &rp->node);
	return 0;
}

static void add_peers(struct reconcile *r)
{
	int failed = 0;

	for (size_t i = 0; i < r->map->network_count; i++) {
		const struct netmap_network *nn = &r->map->networks[i];

		for (size_t k = 0; k < nn->peer_count; k++) {
			struct rec_peer *rp = record_of(r, &nn->peers[k].public_key);
			int rc = 0;

			if (rp)
				note_wanted(r, rp, &nn->peers[k]);
			else
				rc = peer_add(r, &nn->peers[k]);
			failed = rc < 0 ? rc : failed;
		}
	}
	if (failed && !r->peers_failed)
		log_error("peers could not be added: %s; trying again", err_name(failed));
	r->peers_failed = failed;
}

static void update_peers(struct reconcile *r)
{
	struct sessions *s = r->v->dataplane.sessions;
	uint64_t now_ns = r->v->loop.now_ns;

	list_for_each (it, &r->peers) {
		struct rec_peer *rp = container_of(it, struct rec_peer, node);
		struct netmap_peer p;
		bool kept;

		if (same_peer(&rp->wanted, &rp->applied))
			continue;
		p = with_kept_endpoint(r, &rp->wanted, &kept);
		sessions_update(s, rp->peer, &p, now_ns);
		rp->applied = rp->wanted;
	}
}

/* Those that we had a session with before the restart are called at once: they may have frames
 * for us that they cannot deliver until we do. */
static void want_peers(struct reconcile *r)
{
	list_for_each (it, &r->peers) {
		struct rec_peer *rp = container_of(it, struct rec_peer, node);

		if (rp->want)
			sessions_want(r->v->dataplane.sessions, rp->peer, r->v->loop.now_ns);
		rp->want = false;
	}
}

static bool in_map(void *ctx, const struct key *key)
{
	return record_of(ctx, key) != NULL;
}

/* -- members -- */

static bool same_members(const struct netmap_network *a, const struct netmap_network *b)
{
	if (a->peer_count != b->peer_count || a->mac_count != b->mac_count ||
		memcmp(a->macs, b->macs, a->mac_count * sizeof(a->macs[0])) != 0)
		return false;
	for (size_t i = 0; i < a->peer_count; i++) {
		const struct netmap_peer *x = &a->peers[i], *y = &b->peers[i];

		if (!key_equal(&x->public_key, &y->public_key) || x->mac_count != y->mac_count ||
			memcmp(x->macs, y->macs, x->mac_count * sizeof(x->macs[0])) != 0)
			return false;
	}
	return true;
}

/* Members are those of the map that are peers already. */
static int set_members(struct reconcile *r, struct rec_network *rn, const struct netmap_network *nn)
{
	CLEANUP(free) struct network_member *members = calloc(nn->peer_count + 1, sizeof(*members));
	size_t count = 0;
	int rc;

	if (!members)
		return -ENOMEM;
	for (size_t i = 0; i < nn->peer_count; i++) {
		struct rec_peer *rp = record_of(r, &nn->peers[i].public_key);

		if (!rp)
			continue;
		members[count++] = (struct network_member){.peer = rp->peer,
			.macs = nn->peers[i].macs,
			.mac_count = nn->peers[i].mac_count};
	}
	rc = network_set_members(rn->network, members, count, nn->macs, nn->mac_count);
	rn->members_done = rc == 0 && count == nn->peer_count;
	return rc;
}

/* -- networks -- */

static void network_failed(struct rec_network *rn, const struct err *e)
{
	if (strcmp(rn->error, e->text) != 0)
		log_error("network %s: %s", rn->name, e->text);
	snprintf(rn->error, sizeof(rn->error), "%s", e->text);
}

static void network_down(struct reconcile *r, struct rec_network *rn)
{
	if (rn->network)
		network_remove(&r->v->dataplane.networks, rn->network);
	rn->network = NULL;
	rn->members_done = rn->link_done = rn->addresses_done = false;
	rn->ip_count = 0;
}

static void network_forget(struct reconcile *r, struct rec_network *rn)
{
	network_down(r, rn);
	list_del(&rn->node);
	free(rn);
}

static int bring_tap(
	struct reconcile *r, struct rec_network *rn, const struct netmap_network *nn, struct err *e)
{
	char ifname[IF_NAMESIZE];
	struct network_config config = {.id = nn->id,
		.name = nn->name,
		.ifname = ifname,
		.van_id = nn->van_id,
		.mtu = nn->mtu,
		.mode = rec_mode(nn),
		.offload = r->v->config.tap_offload};
	struct rec_wish *wish;
	int rc = rec_choose_ifname(r, nn->id, ifname, e);

	if (rc == 0)
		rc = network_add(&r->v->dataplane.networks, &config, &rn->network, e);
	if (rc < 0)
		return rc;
	rc = route_ignore_router_advertisements(network_ifname(rn->network));
	if (rc < 0)
		log_warn("network %s: router advertisements by other members are not ignored (%s): "
			 "set net.ipv6.conf.%s.accept_ra to 0",
			nn->name, err_name(rc), network_ifname(rn->network));
	wish = rec_find_wish(r, nn->id);
	if (wish)
		wish->ifname[0] = '\0';
	/* A name that cannot be kept is a warning of the state's. */
	(void)state_set_ifname(r->v->state, nn->id, network_ifname(rn->network), NULL);
	return 0;
}

static int bring_link(
	struct reconcile *r, struct rec_network *rn, const struct netmap_network *nn, struct err *e)
{
	const struct mac *mac = nn->mac_count > 0 ? &nn->macs[0] : NULL;
	int rc;

	if (rn->link_done && rn->mtu == nn->mtu && (!mac || mac_equal(&rn->mac, mac)))
		return 0;
	rc = route_link_set(r->v->route, network_ifindex(rn->network), mac, nn->mtu, true, e);
	rn->link_done = rc == 0;
	if (rc < 0)
		return rc;
	/* The worker reads it while it forwards. */
	__atomic_store_n(&rn->network->mtu, nn->mtu, __ATOMIC_RELAXED);
	rn->mtu = nn->mtu;
	if (mac)
		rn->mac = *mac;
	return 0;
}

static bool same_addresses(const struct rec_network *rn, const struct netmap_network *nn)
{
	if (rn->ip_count != nn->ip_count)
		return false;
	for (size_t i = 0; i < nn->ip_count; i++) {
		if (rn->ips[i].prefix != nn->ips[i].prefix ||
			ip_compare(&rn->ips[i].ip, &nn->ips[i].ip) != 0)
			return false;
	}
	return true;
}

static int bring_addresses(
	struct reconcile *r, struct rec_network *rn, const struct netmap_network *nn, struct err *e)
{
	int rc;

	if (rn->addresses_done && same_addresses(rn, nn))
		return 0;
	rc = route_addresses_set(r->v->route, network_ifindex(rn->network), rn->ips, rn->ip_count,
		nn->ips, nn->ip_count, e);
	rn->addresses_done = rc == 0;
	if (rc < 0)
		return rc;
	memcpy(rn->ips, nn->ips, nn->ip_count * sizeof(rn->ips[0]));
	rn->ip_count = nn->ip_count;
	return 0;
}

/* Brings one network to what the map says; whatever is done already is left alone. */
static void bring(struct reconcile *r, struct rec_network *rn, const struct netmap_network *nn)
{
	struct err e = {0};
	int rc = 0;

	snprintf(rn->name, sizeof(rn->name), "%s", nn->name);
	if (!rn->network)
		rc = bring_tap(r, rn, nn, &e);
	else if (strcmp(rn->network->name, nn->name) != 0)
		snprintf(rn->network->name, sizeof(rn->network->name), "%s", nn->name);
	if (rc == 0 && !rn->members_done) {
		rc = set_members(r, rn, nn);
		if (rc < 0)
			err_set(&e, rc, "cannot take over its members: %s", err_name(rc));
	}
	if (rc == 0)
		rc = bring_link(r, rn, nn, &e);
	if (rc == 0)
		rc = bring_addresses(r, rn, nn, &e);
	if (rc < 0) {
		network_failed(rn, &e);
		return;
	}
	if (rn->error[0])
		log_info("network %s is up as %s again", rn->name, network_ifname(rn->network));
	else if (!rn->announced)
		log_info("network %s is up as %s", rn->name, network_ifname(rn->network));
	rn->announced = true;
	rn->error[0] = '\0';
}

/* Steps 1 and 2 of the theory above. */
static void take_away(struct reconcile *r, const struct netmap *before)
{
	list_for_each_safe (it, &r->networks) {
		struct rec_network *rn = container_of(it, struct rec_network, node);
		const struct netmap_network *nn = find_in_map(r->map, rn->id);
		const struct netmap_network *old = find_in_map(before, rn->id);

		if (!nn) {
			log_info("network %s is gone", rn->name);
			(void)state_set_ifname(r->v->state, rn->id, NULL, NULL);
			network_forget(r, rn);
			continue;
		}
		if (rn->network &&
			(rn->network->van_id != nn->van_id || rn->network->mode != rec_mode(nn)))
			network_down(r, rn);
		if (!old || !same_members(old, nn))
			rn->members_done = false;
	}
}

static void remove_peers(struct reconcile *r)
{
	bool any = false;

	list_for_each (it, &r->peers)
		any |= container_of(it, struct rec_peer, node)->turn != r->turn;
	if (!any)
		return;
	/* Members are looked up by key: take the records of those who go out of the look-up. */
	list_for_each (it, &r->peers) {
		struct rec_peer *rp = container_of(it, struct rec_peer, node);

		rp->peer->owner = rp->turn == r->turn ? rp : NULL;
	}
	list_for_each (it, &r->networks) {
		struct rec_network *rn = container_of(it, struct rec_network, node);
		const struct netmap_network *nn = find_in_map(r->map, rn->id);

		if (!rn->network || rn->members_done)
			continue;
		if (set_members(r, rn, nn) < 0)
			network_down(r, rn);
	}
	list_for_each_safe (it, &r->peers) {
		struct rec_peer *rp = container_of(it, struct rec_peer, node);

		if (rp->turn != r->turn)
			peer_drop(r, rp, true);
	}
}

static void update_neighbours(struct reconcile *r, const struct netmap *before)
{
	list_for_each (it, &r->networks) {
		const struct rec_network *rn = container_of(it, struct rec_network, node);
		const struct netmap_network *nn = find_in_map(r->map, rn->id);
		const struct netmap_network *old = find_in_map(before, rn->id);

		if (rn->network && nn && old)
			rec_update_neighbours(r, rn, old, nn);
	}
}

static void bring_all(struct reconcile *r)
{
	for (size_t i = 0; i < r->map->network_count; i++) {
		const struct netmap_network *nn = &r->map->networks[i];
		struct rec_network *rn = rec_find_network(r, nn->id);

		if (!rn) {
			rn = calloc(1, sizeof(*rn));
			if (!rn) {
				log_error("network %s: out of memory", nn->name);
				continue; /* the next check tries again */
			}
			snprintf(rn->id, sizeof(rn->id), "%s", nn->id);
			list_add_tail(&r->networks, &rn->node);
		}
		bring(r, rn, nn);
	}
}

void reconcile_apply(struct reconcile *r, struct netmap *map)
{
	struct netmap *before = r->map;
	bool nat = map->node_flags & NETMAP_NAT;

	if (!r->v->dataplane.running) {
		log_error("a netmap came while the data plane is down: ignored");
		netmap_free(map);
		return;
	}
	r->map = map;
	mark_peers(r);
	take_away(r, before);
	remove_peers(r);
	add_peers(r);
	update_peers(r);
	bring_all(r);
	update_neighbours(r, before);
	if (!before || nat != (before->node_flags & NETMAP_NAT))
		sessions_set_nat(r->v->dataplane.sessions, nat, r->v->loop.now_ns);
	if (!before)
		state_prune_endpoints(r->v->state, in_map, r);
	want_peers(r);
	netmap_free(before);
	if (!r->check.armed)
		loop_timer_set(&r->v->loop, &r->check, r->v->loop.now_ns + RETRY_NS);
	if (!r->flush.armed)
		loop_timer_set(&r->v->loop, &r->flush, r->v->loop.now_ns + FLUSH_NS);
}

void reconcile_clear(struct reconcile *r)
{
	struct sessions *s = r->v->dataplane.sessions;

	loop_timer_cancel(&r->v->loop, &r->check);
	loop_timer_cancel(&r->v->loop, &r->flush);
	list_for_each_safe (it, &r->networks)
		network_forget(r, container_of(it, struct rec_network, node));
	list_for_each_safe (it, &r->peers) {
		struct rec_peer *rp = container_of(it, struct rec_peer, node);

		(void)sessions_send(s, rp->peer, 0, MESSAGE_GOODBYE, NULL, 0, r->v->loop.now_ns);
		peer_drop(r, rp, false);
	}
	netmap_free(r->map);
	r->map = NULL;
	r->peers_failed = 0;
}

const struct netmap *reconcile_map(const struct reconcile *r)
{
	return r->map;
}

/* -- what happens meanwhile -- */

/* A device that somebody deleted comes back; what failed is tried again. */
static void on_check(struct loop_timer *timer, uint64_t now_ns)
{
	struct reconcile *r = container_of(timer, struct reconcile, check);
	char name[IF_NAMESIZE];

	loop_timer_set(&r->v->loop, timer, now_ns + RETRY_NS);
	list_for_each (it, &r->networks) {
		struct rec_network *rn = container_of(it, struct rec_network, node);

		if (!rn->network ||
			if_indextoname((unsigned int)network_ifindex(rn->network), name))
			continue;
		log_warn("network %s: interface %s was deleted; making it again", rn->name,
			network_ifname(rn->network));
		network_down(r, rn);
		rn->announced = false;
	}
	if (r->peers_failed) {
		add_peers(r);
		list_for_each (it, &r->networks)
			container_of(it, struct rec_network, node)->members_done = false;
	}
	bring_all(r);
}

static void keep_endpoint(struct reconcile *r, const struct peer *peer)
{
	if (peer->endpoint)
		state_set_endpoint(r->v->state, &peer->public_key, peer->endpoint);
}

void reconcile_session_changed(struct reconcile *r, struct peer *peer, enum peer_state state)
{
	uint64_t soon_ns = r->v->loop.now_ns + FLUSH_NS;

	if (state != PEER_CONNECTED || !peer->owner)
		return;
	keep_endpoint(r, peer);
	if (r->flush.armed && r->flush.deadline_ns > soon_ns)
		loop_timer_set(&r->v->loop, &r->flush, soon_ns);
}

/* End points move while sessions last, so they are looked over now and then. */
static void on_flush(struct loop_timer *timer, uint64_t now_ns)
{
	struct reconcile *r = container_of(timer, struct reconcile, flush);

	list_for_each (it, &r->peers) {
		const struct peer *peer = container_of(it, struct rec_peer, node)->peer;

		if (peer->current)
			keep_endpoint(r, peer);
	}
	if (state_dirty(r->v->state))
		(void)state_flush(r->v->state, NULL); /* a failure is in the state's warnings */
	loop_timer_set(&r->v->loop, timer, now_ns + REFRESH_NS);
}

/* -- the whole -- */

int reconcile_new(struct vand *v, struct reconcile **ret_reconcile)
{
	struct reconcile *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->v = v;
	list_init(&r->networks);
	list_init(&r->peers);
	r->check.fire = on_check;
	r->flush.fire = on_flush;
	*ret_reconcile = r;
	return 0;
}

void reconcile_free(struct reconcile *r)
{
	if (!r)
		return;
	reconcile_clear(r);
	free(r);
}

const char *reconcile_network_error(const struct reconcile *r, const char *network_id)
{
	const struct rec_network *rn = rec_find_network(r, network_id);

	return rn && rn->error[0] ? rn->error : NULL;
}

size_t reconcile_ifindexes(const struct reconcile *r, int *ret_list, size_t max)
{
	size_t count = 0;

	list_for_each (it, &r->networks) {
		const struct rec_network *rn = container_of(it, struct rec_network, node);

		if (rn->network && count < max)
			ret_list[count++] = network_ifindex(rn->network);
	}
	return count;
}
