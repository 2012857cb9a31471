/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ping: is there a session with a peer, or can one be made, and how long does a message in it take
 * to come back? Each try is a probe with a token of its own, so that a late answer to an earlier
 * try is measured right.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "vand/ctl_internal.h"
#include "vand/reconcile.h"
#include "vand/registry.h"

#define PING_TIMEOUT_MS 10000
#define LOOK_NS         (20 * NS_PER_MS) /* for the session */
#define AGAIN_NS        (1 * NS_PER_S)   /* a probe or its answer was lost */

struct ping {
	struct list node;
	struct ctl_client *client;
	struct ctl *ctl;
	struct loop_timer timer;
	struct key key;
	char name[NETMAP_NAME_MAX + 1];
	unsigned int timeout_ms;
	uint64_t deadline_ns;
	uint64_t first_token;
	uint64_t sent; /* probes */
};

static void ping_free(struct ping *p)
{
	loop_timer_cancel(&p->ctl->v->loop, &p->timer);
	list_del(&p->node);
	free(p);
}

static void ping_forget(void *op)
{
	ping_free(op);
}

static void ping_fail(struct ping *p, const struct err *e)
{
	struct ctl_client *client = p->client;

	ping_free(p);
	ctl_error(client, e->code, e);
}

void ctl_probed(struct ctl *ctl, struct peer *peer, uint64_t token, uint64_t rtt_ns)
{
	if (!ctl)
		return;
	registry_probed(ctl->v->registry, peer, token, rtt_ns);
	list_for_each_safe (it, &ctl->pings) {
		struct ping *p = container_of(it, struct ping, node);
		CLEANUP(json) struct json_object *result = NULL;
		struct ctl_client *client = p->client;
		char endpoint[ENDPOINT_TEXT_LEN];
		char rtt_text[32];

		if (token - p->first_token >= p->sent || !key_equal(&peer->public_key, &p->key))
			continue;
		result = json_object_new_object();
		json_set_string(result, "peer", peer->name);
		if (peer->endpoint)
			endpoint_format(peer->endpoint, endpoint);
		json_set_string(result, "endpoint", peer->endpoint ? endpoint : NULL);
		/* To the microsecond, and not the 17 digits of a double. */
		snprintf(rtt_text, sizeof(rtt_text), "%.3f", (double)rtt_ns / NS_PER_MS);
		json_object_object_add(result, "rtt_ms",
			json_object_new_double_s((double)rtt_ns / NS_PER_MS, rtt_text));
		ping_free(p);
		ctl_answer(client, result);
	}
}

/* Time is up: say how far it went. */
static void ping_give_up(struct ping *p, const struct session_view *view)
{
	struct err e = {0};

	if (p->sent > 0)
		err_set(&e, -VAN_E_TIMEOUT,
			"%s did not answer %llu probes in its session within %u.%u s", p->name,
			(unsigned long long)p->sent, p->timeout_ms / 1000,
			p->timeout_ms % 1000 / 100);
	else
		err_set(&e, -VAN_E_UNREACHABLE, "no session with %s: %s", p->name,
			view->reason[0] ? view->reason : "its handshake was not answered yet");
	ping_fail(p, &e);
}

static void ping_step(struct loop_timer *timer, uint64_t now_ns)
{
	struct ping *p = container_of(timer, struct ping, timer);
	struct vand *v = p->ctl->v;
	struct session_view view = {0};
	struct peer *peer = NULL;
	uint64_t next_ns = now_ns + LOOK_NS;
	struct err e = {0};

	if (v->dataplane.running)
		peer = sessions_find_key(v->dataplane.sessions, &p->key);
	if (!peer) {
		err_set(&e, -VAN_E_NOT_FOUND, "%s is not a peer of this node any more", p->name);
		ping_fail(p, &e);
		return;
	}
	session_view(v->dataplane.sessions, peer, &view);
	if (now_ns >= p->deadline_ns) {
		ping_give_up(p, &view);
		return;
	}
	if (view.state == PEER_CONNECTED) {
		uint64_t token = p->first_token + p->sent++;

		if (sessions_probe(v->dataplane.sessions, peer, token, now_ns) < 0)
			p->sent--;
		else
			next_ns = now_ns + AGAIN_NS;
	}
	loop_timer_set(&v->loop, timer, next_ns < p->deadline_ns ? next_ns : p->deadline_ns);
}

static bool has_ip(const struct cidr *ips, size_t count, const struct ip *ip)
{
	for (size_t i = 0; i < count; i++) {
		if (ip_compare(&ips[i].ip, ip) == 0)
			return true;
	}
	return false;
}

/* A peer by name, id or overlay address. */
static int find_peer(const struct netmap *map, const char *text,
	const struct netmap_peer **ret_peer, struct err *e)
{
	struct ip ip;
	bool is_ip = ip_parse(text, &ip);

	for (size_t i = 0; map && i < map->network_count; i++) {
		const struct netmap_network *nn = &map->networks[i];

		if (is_ip && has_ip(nn->ips, nn->ip_count, &ip))
			return err_set(e, -VAN_E_INVALID, "%s is this node itself", text);
		for (size_t k = 0; k < nn->peer_count; k++) {
			const struct netmap_peer *p = &nn->peers[k];

			if (is_ip ? !has_ip(p->ips, p->ip_count, &ip)
				  : strcmp(p->name, text) != 0 && strcmp(p->id, text) != 0)
				continue;
			*ret_peer = p;
			return 0;
		}
	}
	if (map && (strcmp(map->node_name, text) == 0 || strcmp(map->node_id, text) == 0))
		return err_set(e, -VAN_E_INVALID, "%s is this node itself", text);
	return err_set(e, -VAN_E_NOT_FOUND,
		"no peer '%s' in the networks of this node (vanctl peers lists them)", text);
}

void ctl_ping(struct ctl_client *client, struct json_object *args)
{
	struct ctl *ctl = ctl_of(client);
	struct vand *v = ctl->v;
	const struct netmap_peer *to = NULL;
	unsigned int timeout_ms = 0;
	const char *text;
	struct peer *peer = NULL;
	struct ping *p;
	struct err e = {0};
	int rc;

	if ((rc = json_get_string(args, "", "peer", 1, 64, &text, &e)) < 0 ||
		(rc = ctl_get_timeout(args, PING_TIMEOUT_MS, &timeout_ms, &e)) < 0 ||
		(rc = find_peer(reconcile_map(v->reconcile), text, &to, &e)) < 0) {
		ctl_error(client, rc, &e);
		return;
	}
	if (v->dataplane.running)
		peer = sessions_find_key(v->dataplane.sessions, &to->public_key);
	p = peer ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		ctl_error(client, -ENOMEM, NULL);
		return;
	}
	p->client = client;
	p->ctl = ctl;
	p->key = to->public_key;
	snprintf(p->name, sizeof(p->name), "%s", to->name);
	p->timeout_ms = timeout_ms;
	p->deadline_ns = v->loop.now_ns + timeout_ms * NS_PER_MS;
	p->first_token = ctl->ping_token;
	ctl->ping_token += 1u << 20; /* more than a ping ever sends */
	p->timer.fire = ping_step;
	list_add_tail(&ctl->pings, &p->node);
	ctl_later(client, ping_forget, p);
	sessions_want(v->dataplane.sessions, peer, v->loop.now_ns);
	loop_timer_set(&v->loop, &p->timer, v->loop.now_ns);
}
