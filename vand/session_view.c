/* SPDX-License-Identifier: Apache-2.0 */
/* What to show of a session, in words that help. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "vand/session_internal.h"

static const char *const state_names[] = {
	[PEER_IDLE] = "idle",
	[PEER_CONNECTING] = "connecting",
	[PEER_CONNECTED] = "connected",
	[PEER_NO_PATH] = "no path",
};
static_assert(sizeof(state_names) / sizeof(state_names[0]) == PEER_NO_PATH + 1, "a name each");

const char *peer_state_name(enum peer_state state)
{
	return (unsigned int)state <= PEER_NO_PATH ? state_names[state] : "?";
}

/* Why nobody answers, as far as can be told from here. */
static void explain(const struct session *p, char *ret_text, size_t size)
{
	const struct endpoint *targets[NETMAP_TEPS_MAX + 1];
	size_t n = session_targets(p, targets);
	bool peer_nat = p->peer.flags & NETMAP_NAT;
	char address[ENDPOINT_TEXT_LEN];

	if (p->engine->behind_nat && peer_nat) {
		snprintf(ret_text, size,
			"both this node and %s are behind NAT; give one of them a public address and "
			"`advertise` it, or forward its UDP port",
			p->peer.name);
		return;
	}
	if (n == 0) {
		snprintf(ret_text, size,
			"no address of %s is known yet: is vand running there, and does it reach the "
			"console?",
			p->peer.name);
		return;
	}
	if (peer_nat) {
		snprintf(ret_text, size,
			"%s is behind NAT and has to open the way itself: is vand running there, and "
			"does a firewall here let UDP in?",
			p->peer.name);
		return;
	}
	endpoint_format(targets[0], address);
	if (n == 1)
		snprintf(ret_text, size,
			"nothing answered at %s: is vand running on %s, and does a firewall let UDP "
			"port %u through?",
			address, p->peer.name, endpoint_port(targets[0]));
	else
		snprintf(ret_text, size,
			"nothing answered at %zu addresses of %s (%s, …): is vand running there, and "
			"does a firewall let UDP port %u through?",
			n, p->peer.name, address, endpoint_port(targets[0]));
}

/* The first seconds of a handshake need no explanation. */
#define EXPLAIN_FROM_TRY 5

void session_view(const struct sessions *s, const struct peer *peer, struct session_view *ret_view)
{
	const struct session *p = session_of(peer);
	struct session_view v = {.state = p->shown,
		.last_handshake_ns = p->last_handshake_ns,
		.last_received_ns = session_last_received(p),
		.peer_epoch = p->peer_epoch,
		.peer_mtu = p->peer_mtu,
		.peer_lanes = p->peer_lanes,
		.path_mtu = pmtu_limit(&p->pmtu),
		.path_mtu_final = pmtu_is_final(&p->pmtu),
		.candidate_count = p->candidate_count};

	(void)s;
	memcpy(v.candidates, p->candidates, sizeof(v.candidates));
	if (v.state == PEER_NO_PATH || (v.state == PEER_CONNECTING && p->tries >= EXPLAIN_FROM_TRY))
		explain(p, v.reason, sizeof(v.reason));
	*ret_view = v;
}
