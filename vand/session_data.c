/* SPDX-License-Identifier: Apache-2.0 */
/* Messages inside sessions: sending on the control lane, and what workers opened and handed up. */
#include <errno.h>
#include <string.h>
#include "lib/wirebuf.h"
#include "vand/session_internal.h"

/* Seals a message whose body is in s->plain, behind the room for its inner header. 0 and its length
 * in s->sealed, or -errno. */
static int seal_message(
	struct session *p, uint32_t van_id, uint8_t kind, size_t len, size_t *ret_len)
{
	struct sessions *s = p->engine;
	struct keypair *k = p->peer.current;
	struct message_inner inner = {.kind = kind};
	struct lane_tx *lane;
	size_t plain_len = sizeof(inner) + len;

	if (!k || !p->peer.endpoint)
		return -ENOTCONN;
	if (!keypair_may_send(k, MESSAGE_LANE_CONTROL)) {
		stats_drop(s->counters, DROP_key_exhausted);
		return -ENOTCONN;
	}
	message_set_van_id(inner.van_id, van_id);
	memcpy(s->plain, &inner, sizeof(inner));
	lane = &k->tx[MESSAGE_LANE_CONTROL];
	*ret_len = seal_frame(s->backend, &k->send, MESSAGE_MODE_GCM, MESSAGE_LANE_CONTROL,
		k->remote_index, lane->counter++, s->plain, plain_len, s->sealed);
	stats_add(&lane->blocks, seal_blocks(plain_len));
	stats_add(&lane->packets, 1);
	stats_count(s->counters, STAT_datagrams_sent, 1);
	return 0;
}

int session_send_message(struct session *p, uint32_t van_id, uint8_t kind, const void *payload,
	size_t len, uint64_t now_ns)
{
	struct sessions *s = p->engine;
	struct keypair *k = p->peer.current;
	size_t sealed_len;
	int r;

	if (len > SESSION_SEND_MAX)
		return -EMSGSIZE;
	if (len)
		memcpy(s->plain + sizeof(struct message_inner), payload, len);
	r = seal_message(p, van_id, kind, len, &sealed_len);
	if (r < 0)
		return r;
	stats_add(&k->tx[MESSAGE_LANE_CONTROL].bytes, len);
	atomic_store(&k->last_sent_ns, now_ns);
	/* What is not to be answered. */
	if (kind != MESSAGE_KEEPALIVE && kind != MESSAGE_PROBE_ANSWER)
		atomic_store(&k->last_sent_data_ns, now_ns);
	return s->io.send(s->io.ctx, p->peer.endpoint, s->sealed, sealed_len);
}

int session_send_probe(struct session *p, uint64_t token, size_t len, uint64_t now_ns)
{
	struct sessions *s = p->engine;
	uint8_t *body = s->plain + sizeof(struct message_inner);
	size_t sealed_len;
	int r;

	if (len < MESSAGE_PROBE_LEN || len > SESSION_SEND_MAX)
		return -EMSGSIZE;
	memset(body, 0, len);
	message_set_counter(body, token);
	r = seal_message(p, 0, MESSAGE_PROBE, len, &sealed_len);
	if (r < 0)
		return r;
	r = s->io.send_whole(s->io.ctx, p->peer.endpoint, s->sealed, sealed_len);
	if (r == 0)
		atomic_store(&p->peer.current->last_sent_ns, now_ns);
	return r;
}

int session_keepalive(struct session *p, uint64_t now_ns)
{
	int rc = session_send_message(p, 0, MESSAGE_KEEPALIVE, NULL, 0, now_ns);

	if (rc == 0)
		stats_count(p->engine->counters, STAT_keepalives_sent, 1);
	return rc;
}

/*
 * An initiator's first packet tells the responder that it may use the key. Should that one get
 * lost, frames would do as well, but there may be none in this direction: so it is sent again while
 * nothing was heard on the key.
 */
void session_confirm(struct session *p, uint64_t now_ns)
{
	const struct keypair *k = p->peer.current;

	if (!k || !k->initiator || atomic_load(&k->last_received_ns) ||
		p->confirm_tries >= SESSION_CONFIRM_TRIES)
		return;
	(void)session_keepalive(p, now_ns);
	p->confirm_tries++;
	if (p->confirm_tries < SESSION_CONFIRM_TRIES)
		timers_set(&p->engine->timers, &p->confirm,
			now_ns + timers_retry_ns(2 * p->confirm_tries - 1, 0));
}

int sessions_send(struct sessions *s, struct peer *peer, uint32_t van_id, uint8_t kind,
	const void *payload, size_t len, uint64_t now_ns)
{
	int r;

	session_enter(s);
	r = session_send_message(session_of(peer), van_id, kind, payload, len, now_ns);
	session_leave(s);
	return r;
}

int sessions_probe(struct sessions *s, struct peer *peer, uint64_t token, uint64_t now_ns)
{
	struct session *p = session_of(peer);
	struct session_probe *slot = &p->probes[0];
	uint8_t payload[MESSAGE_PROBE_LEN];
	struct wire_writer w = wire_writer(payload, sizeof(payload));
	int r;

	wire_put_be64(&w, token);
	r = sessions_send(s, peer, 0, MESSAGE_PROBE, payload, sizeof(payload), now_ns);
	if (r < 0)
		return r;
	for (size_t i = 0; i < SESSION_PROBES; i++) { /* the oldest gives way */
		if (p->probes[i].sent_ns < slot->sent_ns)
			slot = &p->probes[i];
	}
	*slot = (struct session_probe){.token = token, .sent_ns = now_ns ? now_ns : 1};
	return 0;
}

static void answer_probe(struct session *p, const uint8_t *payload, size_t len, uint64_t now_ns)
{
	uint8_t answer[MESSAGE_PROBE_ANSWER_LEN];
	struct wire_writer w = wire_writer(answer, sizeof(answer));

	if (len < MESSAGE_PROBE_LEN || len > UINT16_MAX) {
		stats_drop(p->engine->counters, DROP_bad_inner);
		return;
	}
	if (!cookie_bucket_take(
		    &p->probes_answered, SESSION_PROBE_RATE, SESSION_PROBE_BURST, now_ns))
		return;
	wire_put(&w, payload, MESSAGE_PROBE_LEN);
	wire_put_be16(&w, (uint16_t)len);
	(void)session_send_message(p, 0, MESSAGE_PROBE_ANSWER, answer, sizeof(answer), now_ns);
}

/* What a lane sent from its own port got through. Not for long: a NAT or a firewall forgets. */
static void own_port_answered(struct session *p, uint64_t lane, uint64_t now_ns)
{
	struct keypair *k = p->peer.current;

	if (k && lane < k->local_lanes)
		atomic_store_explicit(&k->tx[lane].own_port_until_ns, now_ns + SESSION_OWN_PORT_NS,
			memory_order_relaxed);
}

static void take_probe_answer(
	struct session *p, const uint8_t *payload, size_t len, uint64_t now_ns)
{
	struct sessions *s = p->engine;
	struct wire_reader r = wire_reader(payload, len);
	uint64_t token = wire_get_be64(&r);
	size_t probe_len = wire_get_be16(&r);

	if (!wire_done(&r)) {
		stats_drop(s->counters, DROP_bad_inner);
		return;
	}
	if ((token & ~MESSAGE_TOKEN_LANE_MASK) == MESSAGE_TOKEN_LANE) {
		own_port_answered(p, token & MESSAGE_TOKEN_LANE_MASK, now_ns);
		return;
	}
	if ((token & ~MESSAGE_TOKEN_PMTU_MASK) == MESSAGE_TOKEN_PMTU) {
		session_path_answer(p, token, probe_len, now_ns);
		return;
	}
	for (size_t i = 0; i < SESSION_PROBES; i++) {
		struct session_probe probe = p->probes[i];

		if (!probe.sent_ns || probe.token != token)
			continue;
		p->probes[i] = (struct session_probe){0};
		if (s->io.probed)
			s->io.probed(
				s->io.ctx, &p->peer, token, timers_since(now_ns, probe.sent_ns));
		return;
	}
}

/* The peer shuts down. Keys made after the one that it said so on are of a new start of its. */
static void take_goodbye(struct session *p, const struct keypair *k, uint64_t now_ns)
{
	session_drop_keys(p, k->created_ns);
	if (!p->peer.current && !p->next) {
		session_attempt_stop(p);
		p->was_connected = false;
		p->no_path = false;
		/* From behind NAT we have to find out by ourselves that it is back. */
		if (p->engine->behind_nat) {
			p->attempt = ATTEMPT_SLOW;
			timers_set(&p->engine->timers, &p->retry, now_ns + TIMERS_SLOW_RETRY_NS);
		}
	}
	session_show(p);
}

void sessions_control(struct sessions *s, uint32_t local_index, uint32_t van_id, uint8_t kind,
	const uint8_t *payload, size_t len, uint64_t now_ns)
{
	struct keypair *k = sessions_keypair(s, local_index);
	struct session *p;

	if (!k)
		return; /* dropped since the worker opened it */
	p = session_of(k->peer);
	session_enter(s);
	switch (kind) {
	case MESSAGE_KEEPALIVE:
		break;
	case MESSAGE_PROBE:
		answer_probe(p, payload, len, now_ns);
		break;
	case MESSAGE_PROBE_ANSWER:
		take_probe_answer(p, payload, len, now_ns);
		break;
	case MESSAGE_GOODBYE:
		take_goodbye(p, k, now_ns);
		break;
	case MESSAGE_FRAGMENT:
	case MESSAGE_LEARN:
	case MESSAGE_UNLEARN:
	case MESSAGE_GROUP:
		if (s->io.control)
			s->io.control(s->io.ctx, &p->peer, van_id, kind, payload, len);
		break;
	default: /* a frame is a worker's business; the rest is of a later version */
		stats_drop(s->counters, DROP_bad_inner);
		break;
	}
	session_leave(s);
}

void sessions_confirmed(struct sessions *s, uint32_t local_index, uint64_t now_ns)
{
	struct keypair *k = sessions_keypair(s, local_index);
	struct session *p = k ? session_of(k->peer) : NULL;

	if (!p || k != p->next)
		return; /* dropped, or confirmed already: every packet until then says so */
	session_enter(s);
	session_promote_next(p, now_ns);
	session_show(p);
	session_leave(s);
}

void sessions_moved(
	struct sessions *s, uint32_t local_index, const struct endpoint *to, uint64_t now_ns)
{
	struct keypair *k = sessions_keypair(s, local_index);
	struct session *p = k ? session_of(k->peer) : NULL;

	/* What still arrives on `previous` was sent before the current key was: it is not news. */
	if (!p || (k != p->peer.current && k != p->next))
		return;
	if (!cookie_bucket_take(&p->moves, SESSION_MOVE_RATE, SESSION_MOVE_BURST, now_ns))
		return; /* the next packet asks again */
	session_enter(s);
	session_set_endpoint(p, to);
	if (k == p->next)
		p->next_from_valid = false; /* newer than where its INIT came from */
	session_leave(s);
}
