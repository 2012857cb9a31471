/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session engine of one node against a peer and a stranger that the input directs. Keys are
 * fixed and all randomness is seeded, so an input always does the same.
 *
 * An input is a row of steps: one byte says what, one byte how many bytes follow, and those are the
 * step's. Bytes alone would never pass mac1, let alone AES-GCM; so besides raw ones there are steps
 * that seal the input's bytes as the peer would. What must hold:
 *
 *   - raw bytes are dropped in silence, under exactly one name;
 *   - with a right mac1 and nothing behind it, the most to be had is a COOKIE;
 *   - nothing that a peer says makes an answer longer than what it sent;
 *   - whatever happens, memory stays within bounds.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "lib/clock.h"
#include "lib/hash.h"
#include "vand/session_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step {
	STEP_RAW,  /* the bytes as they are, from a stranger's address */
	STEP_MAC1, /* the same with a right mac1; the first byte is the length that it is cut to */
	STEP_INIT, /* an INIT by the peer: index 1, payload up to 24 */
	STEP_RESP, /* a RESP to the engine's last INIT: index 1, payload up to 12 */
	STEP_COOKIE,  /* a COOKIE for it: what to flip in it */
	STEP_WANT,    /* somebody has a frame for the peer */
	STEP_TICK,    /* so many quarter seconds later */
	STEP_CONTROL, /* a message opened on the current or next key: kind, payload */
	STEP_WORKER,  /* a worker's other news: confirmed, moved */
	STEP_SAME,    /* the last RAW to RESP message once more */
	STEP_UPDATE,  /* candidates and flags, our own NAT and addresses */
	STEP__COUNT
};

struct world {
	struct sessions *engine;
	struct counters counters;
	struct identity us, peer;
	struct peer *p;
	struct handshake_self peer_self;
	uint8_t mesh[MESSAGE_MESH_LEN], psk[32];
	uint64_t now_ns, stamp;
	struct endpoint stranger, home;
	bool has_init;
	struct message_init init; /* the last one that the engine sent */
	unsigned int sends;
	size_t longest_send;
	uint8_t last[256];
	size_t last_len;
};

#define check(what)              \
	do {                     \
		if (!(what))     \
			abort(); \
	} while (0)

/* -- a seeded generator in libsodium's place -- */

static uint64_t seed;

static uint32_t seeded_random(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 32);
}

static void seeded_buf(void *const buf, const size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)buf)[i] = (uint8_t)(seeded_random() >> 8);
}

static const char *seeded_name(void)
{
	return "seeded";
}

static struct randombytes_implementation seeded = {
	.implementation_name = seeded_name,
	.random = seeded_random,
	.buf = seeded_buf,
};

/* -- the engine's surroundings -- */

static int io_send(void *ctx, const struct endpoint *to, const void *msg, size_t len)
{
	struct world *w = ctx;

	(void)to;
	w->sends++;
	if (len > w->longest_send)
		w->longest_send = len;
	if (len == sizeof(w->init) && *(const uint8_t *)msg == MESSAGE_INIT) {
		memcpy(&w->init, msg, len);
		w->has_init = true;
	}
	return 0;
}

static int io_next_stamp(void *ctx, uint8_t ret_stamp[MESSAGE_STAMP_LEN])
{
	struct world *w = ctx;

	memset(ret_stamp, 0, MESSAGE_STAMP_LEN);
	message_set_counter(ret_stamp + 4, ++w->stamp);
	return 0;
}

static uint64_t io_epoch(void *ctx)
{
	(void)ctx;
	return 1;
}

static struct endpoint address(uint8_t last, uint16_t port)
{
	struct endpoint e;

	endpoint_from_ip(&(struct ip){.family = AF_INET, .b = {192, 0, 2, last}}, port, &e);
	return e;
}

static struct netmap_peer peer_of(const struct world *w, uint8_t candidates, uint8_t flags)
{
	struct netmap_peer p = {.id = "id", .name = "peer", .public_key = w->peer.public};

	for (uint8_t i = 0; i < candidates % (NETMAP_TEPS_MAX + 1); i++)
		p.teps[p.tep_count++] = address((uint8_t)(candidates - i), 4826);
	p.flags = flags;
	return p;
}

static void world_init(struct world *w)
{
	struct session_config config = {.identity = &w->us, .lanes = 2};
	const struct session_io io = {
		.ctx = w, .send = io_send, .next_stamp = io_next_stamp, .epoch = io_epoch};
	struct netmap_peer p;

	memset(w, 0, sizeof(*w));
	identity_generate(&w->us);
	identity_generate(&w->peer);
	config.backend = seal_backend_find(NULL);
	session_timers_default(&config.timers);
	w->peer_self = (struct handshake_self){&w->peer, config.backend, w->mesh, w->psk};
	w->now_ns = 1000 * NS_PER_S;
	w->stranger = address(200, 1);
	w->home = address(1, 4826);
	check(sessions_new(&config, &io, &w->counters, &w->engine) == 0);
	p = peer_of(w, 1, 0);
	check(sessions_add(w->engine, &p, &w->p) == 0);
}

static uint64_t all_drops(const struct world *w)
{
	uint64_t sum = 0;

	for (int i = 0; i < DROP__COUNT; i++)
		sum += stats_read(&w->counters.drops[i]);
	return sum;
}

/* -- steps -- */

static void deliver(struct world *w, const void *msg, size_t len, const struct endpoint *from)
{
	/* A copy of exactly this size, so that a sanitizer sees a read beyond its end. */
	uint8_t *copy = malloc(len ? len : 1);

	check(copy);
	if (len) {
		memcpy(copy, msg, len);
		if (msg != w->last)
			memcpy(w->last, msg, len);
	}
	w->last_len = len;
	w->sends = 0;
	w->longest_send = 0;
	sessions_receive(w->engine, copy, len, from, w->now_ns);
	check(w->longest_send <= len);
	free(copy);
}

static void step_raw(struct world *w, const uint8_t *data, size_t len)
{
	uint64_t drops = all_drops(w);

	deliver(w, data, len, &w->stranger);
	check(all_drops(w) == drops + 1);
	check(w->sends == 0);
}

static void step_mac1(struct world *w, const uint8_t *data, size_t len)
{
	struct cookie_keys keys;
	uint64_t drops = all_drops(w);
	uint8_t msg[256] = {0};
	size_t cut;

	if (len < 1 + 2 * MESSAGE_TAG_LEN)
		return;
	/* Most often the right length, so that it is not the length that it fails for. */
	cut = data[0] == 0   ? sizeof(struct message_init)
	      : data[0] == 1 ? sizeof(struct message_resp)
			     : data[0];
	if (cut < 2 * MESSAGE_TAG_LEN)
		return;
	memcpy(msg, data + 1, len - 1 < cut ? len - 1 : cut);
	cookie_keys_init(&keys, w->mesh, &w->us.public);
	cookie_add_macs(&keys, NULL, msg, cut);
	deliver(w, msg, cut, &w->stranger);
	check(all_drops(w) == drops + 1);
	check(w->sends <= 1 && w->longest_send <= sizeof(struct message_cookie));
}

static void begin_noise(const struct world *w, const struct key *responder, struct noise *n)
{
	uint8_t prologue[sizeof(MESSAGE_PROLOGUE) - 1 + MESSAGE_MESH_LEN] = MESSAGE_PROLOGUE;

	memcpy(prologue + sizeof(MESSAGE_PROLOGUE) - 1, w->mesh, MESSAGE_MESH_LEN);
	noise_init(n, w->peer_self.backend, true, prologue, sizeof(prologue), responder);
}

static void step_init(struct world *w, const uint8_t *data, size_t len)
{
	struct message_init msg = {.type = MESSAGE_INIT, .version = MESSAGE_VERSION};
	uint8_t payload[MESSAGE_INIT_PAYLOAD_LEN] = {0};
	struct cookie_keys keys;
	struct noise n;
	struct key e;

	if (len > 0)
		msg.sender[0] = data[0];
	if (len > 1)
		memcpy(payload, data + 1, len - 1 < sizeof(payload) ? len - 1 : sizeof(payload));
	seeded_buf(&e, sizeof(e));
	begin_noise(w, &w->us.public, &n);
	check(noise_write_1(&n, &e, &w->peer, &w->us.public, payload, sizeof(payload),
		      msg.ephemeral) == 0);
	cookie_keys_init(&keys, w->mesh, &w->us.public);
	cookie_add_macs(&keys, NULL, (uint8_t *)&msg, sizeof(msg));
	deliver(w, &msg, sizeof(msg), &w->home);
	check(w->sends <= 1);
}

static void step_resp(struct world *w, const uint8_t *data, size_t len)
{
	struct message_resp msg = {.type = MESSAGE_RESP, .version = MESSAGE_VERSION};
	uint8_t payload[MESSAGE_RESP_PAYLOAD_LEN] = {0}, ignored[MESSAGE_INIT_PAYLOAD_LEN];
	struct cookie_keys keys;
	struct noise n;
	struct key e;

	if (!w->has_init)
		return;
	begin_noise(w, &w->peer.public, &n);
	check(noise_read_1(&n, &w->peer, w->init.ephemeral,
		      NOISE_1_OVERHEAD + MESSAGE_INIT_PAYLOAD_LEN, ignored) == 0);
	if (len > 0)
		msg.sender[0] = data[0];
	if (len > 1)
		memcpy(payload, data + 1, len - 1 < sizeof(payload) ? len - 1 : sizeof(payload));
	memcpy(msg.receiver, w->init.sender, sizeof(msg.receiver));
	seeded_buf(&e, sizeof(e));
	check(noise_write_2(&n, &e, w->psk, payload, sizeof(payload), msg.ephemeral) == 0);
	cookie_keys_init(&keys, w->mesh, &w->us.public);
	cookie_add_macs(&keys, NULL, (uint8_t *)&msg, sizeof(msg));
	deliver(w, &msg, sizeof(msg), &w->home);
	check(w->sends <= 1); /* the confirmation */
}

static void step_cookie(struct world *w, const uint8_t *data, size_t len)
{
	static struct cookie_guard guard; /* large */
	struct message_cookie msg;
	struct cookie_keys keys;
	uint8_t nonce[24];

	if (!w->has_init)
		return;
	cookie_guard_init(&guard);
	cookie_keys_init(&keys, w->mesh, &w->peer.public);
	seeded_buf(nonce, sizeof(nonce));
	cookie_create(&guard, &keys, (const uint8_t *)&w->init, sizeof(w->init),
		message_index(w->init.sender), &w->stranger, nonce, w->now_ns, &msg);
	for (size_t i = 0; i < len && i < sizeof(msg); i++)
		((uint8_t *)&msg)[i] ^= data[i];
	deliver(w, &msg, sizeof(msg), &w->home);
	check(w->sends == 0);
}

static void step_control(struct world *w, const uint8_t *data, size_t len)
{
	const struct session *p = session_of(w->p);
	const struct keypair *k = len && data[0] & 0x80 ? p->next : p->peer.current;

	if (!k || len == 0)
		return;
	w->longest_send = 0;
	sessions_control(w->engine, k->local_index, 0, data[0] & MESSAGE_KIND_MASK, data + 1,
		len - 1, w->now_ns);
	check(w->longest_send <= MESSAGE_OVERHEAD + MESSAGE_PROBE_ANSWER_LEN);
}

static void step_worker(struct world *w, const uint8_t *data, size_t len)
{
	const struct session *p = session_of(w->p);
	struct endpoint to = address(len > 1 ? data[1] : 1, 4000);
	struct keypair *slots[SESSION_SLOTS], *k;

	session_slots(p, slots);
	k = len ? slots[data[0] % SESSION_SLOTS] : NULL;
	if (!k)
		return;
	atomic_store(&k->last_received_ns, w->now_ns);
	if (data[0] & 0x10)
		atomic_store(&k->last_received_data_ns, w->now_ns);
	if (data[0] & 0x20)
		atomic_store(&k->last_sent_data_ns, w->now_ns);
	if (data[0] & 0x40)
		sessions_moved(w->engine, k->local_index, &to, w->now_ns);
	if (data[0] & 0x80)
		sessions_confirmed(w->engine, k->local_index, w->now_ns);
}

static void step_update(struct world *w, const uint8_t *data, size_t len)
{
	struct netmap_peer p = peer_of(w, len ? data[0] : 0, len > 1 ? data[1] : 0);

	sessions_update(w->engine, w->p, &p, w->now_ns);
	if (len > 2)
		sessions_set_nat(w->engine, data[2] & 1, w->now_ns);
	if (len > 2 && data[2] & 2)
		sessions_underlay_changed(w->engine, w->now_ns);
}

static void step_tick(struct world *w, const uint8_t *data, size_t len)
{
	uint64_t until_ns = w->now_ns + (len ? data[0] : 1) * (NS_PER_S / 4);

	/* As the loop would: whenever it is due. */
	for (int turns = 0; turns < 1000; turns++) {
		uint64_t due_ns = sessions_tick(w->engine, w->now_ns);

		if (due_ns > until_ns)
			break;
		if (due_ns > w->now_ns)
			w->now_ns = due_ns;
	}
	w->now_ns = until_ns;
}

static void run(struct world *w, enum step step, const uint8_t *data, size_t len)
{
	switch (step) {
	case STEP_RAW:
		step_raw(w, data, len);
		break;
	case STEP_MAC1:
		step_mac1(w, data, len);
		break;
	case STEP_INIT:
		step_init(w, data, len);
		break;
	case STEP_RESP:
		step_resp(w, data, len);
		break;
	case STEP_COOKIE:
		step_cookie(w, data, len);
		break;
	case STEP_WANT:
		sessions_want(w->engine, w->p, w->now_ns);
		break;
	case STEP_TICK:
		step_tick(w, data, len);
		break;
	case STEP_CONTROL:
		step_control(w, data, len);
		break;
	case STEP_WORKER:
		step_worker(w, data, len);
		break;
	case STEP_SAME:
		deliver(w, w->last, w->last_len, &w->stranger);
		break;
	case STEP_UPDATE:
		step_update(w, data, len);
		break;
	default:
		break;
	}
}

/* What is true of the engine between any two steps. */
static void check_engine(const struct world *w)
{
	const struct sessions *s = w->engine;
	const struct session *p = session_of(w->p);
	struct keypair *slots[SESSION_SLOTS];
	size_t keys = 0;

	session_slots(p, slots);
	for (size_t i = 0; i < SESSION_SLOTS; i++)
		keys += slots[i] != NULL;
	check(s->indices.used == keys);
	check(s->handshakes.used == (p->handshake != NULL));
	check(!p->peer.current || p->peer.endpoint);
	check(!p->peer.current || atomic_load(&p->peer.current->confirmed));
	check(s->discard_count == 0 && s->depth == 0);
	check((p->attempt == ATTEMPT_NONE) == (p->retry.place == 0));
	check(list_empty(&p->live) == (keys == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w; /* large; all of it is set at the beginning */
	static bool ready;

	if (!ready) {
		randombytes_set_implementation(&seeded);
		check(sodium_init() >= 0);
		ready = true;
	}
	seed = 1;
	world_init(&w);
	for (int steps = 0; size >= 2 && steps < 200; steps++) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;

		run(&w, (enum step)(data[0] % STEP__COUNT), data + 2, len);
		check_engine(&w);
		data += 2 + len;
		size -= 2 + len;
	}
	sessions_free(w.engine, true, w.now_ns);
	return 0;
}
