/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/handshake.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>
#include "lib/wirebuf.h"

static_assert(
	NOISE_1_OVERHEAD + MESSAGE_INIT_PAYLOAD_LEN ==
		offsetof(struct message_init, mac1) - offsetof(struct message_init, ephemeral),
	"INIT's Noise message fills its place");
static_assert(
	NOISE_2_OVERHEAD + MESSAGE_RESP_PAYLOAD_LEN ==
		offsetof(struct message_resp, mac1) - offsetof(struct message_resp, ephemeral),
	"RESP's Noise message fills its place");
static_assert(crypto_kdf_KEYBYTES == HASH_LEN && crypto_kdf_CONTEXTBYTES == 8, "fits crypto_kdf");

#define INIT_NOISE_LEN (NOISE_1_OVERHEAD + MESSAGE_INIT_PAYLOAD_LEN)
#define RESP_NOISE_LEN (NOISE_2_OVERHEAD + MESSAGE_RESP_PAYLOAD_LEN)

/* The Noise message as one run of bytes; its fields follow each other without gaps. */
static uint8_t *init_noise(struct message_init *msg)
{
	return (uint8_t *)msg + offsetof(struct message_init, ephemeral);
}

static uint8_t *resp_noise(struct message_resp *msg)
{
	return (uint8_t *)msg + offsetof(struct message_resp, ephemeral);
}

static void put_common(struct wire_writer *w, const struct handshake_info *info)
{
	wire_put_be64(w, info->epoch);
	wire_put_u8(w, info->lanes);
	wire_put_u8(w, info->flags);
	wire_put_be16(w, info->mtu);
}

static void get_common(struct wire_reader *r, struct handshake_info *info)
{
	info->epoch = wire_get_be64(r);
	info->lanes = wire_get_u8(r);
	info->flags = wire_get_u8(r);
	info->mtu = wire_get_be16(r);
}

/* Flags are for later versions: what we do not know, we ignore. */
static bool info_is_sane(const struct wire_reader *r, const struct handshake_info *info)
{
	return wire_done(r) && info->lanes >= 1 && info->lanes <= MESSAGE_LANES_MAX;
}

static void begin(
	const struct handshake_self *self, const struct key *responder_public, struct noise *n)
{
	uint8_t prologue[sizeof(MESSAGE_PROLOGUE) - 1 + MESSAGE_MESH_LEN];

	memcpy(prologue, MESSAGE_PROLOGUE, sizeof(MESSAGE_PROLOGUE) - 1);
	memcpy(prologue + sizeof(MESSAGE_PROLOGUE) - 1, self->mesh, MESSAGE_MESH_LEN);
	noise_init(n, self->backend, true, prologue, sizeof(prologue), responder_public);
}

int handshake_create_init(const struct handshake_self *self, const struct key *peer_public,
	const struct key *ephemeral_secret, uint32_t sender, const struct handshake_info *info,
	struct message_init *ret_msg, struct handshake *ret_handshake)
{
	struct message_init msg = {.type = MESSAGE_INIT, .version = MESSAGE_VERSION};
	uint8_t payload[MESSAGE_INIT_PAYLOAD_LEN];
	struct wire_writer w = wire_writer(payload, sizeof(payload));
	struct handshake h = {0};
	int r;

	message_set_index(msg.sender, sender);
	wire_put(&w, info->stamp, sizeof(info->stamp));
	put_common(&w, info);
	begin(self, peer_public, &h.noise);
	r = noise_write_1(&h.noise, ephemeral_secret, self->identity, peer_public, payload,
		sizeof(payload), init_noise(&msg));
	if (r == 0) {
		*ret_msg = msg;
		*ret_handshake = h;
	}
	handshake_wipe(&h);
	return r;
}

int handshake_consume_init(const struct handshake_self *self, const struct message_init *msg,
	struct handshake *ret_handshake, struct key *ret_peer_public,
	struct handshake_info *ret_info)
{
	struct message_init m = *msg;
	struct handshake h = {.remote_index = message_index(msg->sender)};
	uint8_t payload[MESSAGE_INIT_PAYLOAD_LEN];
	struct handshake_info info = {0};
	struct wire_reader reader;
	int r;

	begin(self, &self->identity->public, &h.noise);
	r = noise_read_1(&h.noise, self->identity, init_noise(&m), INIT_NOISE_LEN, payload);
	if (r == 0) {
		reader = wire_reader(payload, sizeof(payload));
		wire_get(&reader, info.stamp, sizeof(info.stamp));
		get_common(&reader, &info);
		if (!info_is_sane(&reader, &info))
			r = -VAN_E_UNAUTHENTIC;
	}
	if (r == 0) {
		*ret_handshake = h;
		*ret_peer_public = h.noise.peer_static;
		*ret_info = info;
	}
	handshake_wipe(&h);
	return r;
}

void handshake_data_key(const uint8_t split[32], struct handshake_direction *ret_direction)
{
	static const char context[crypto_kdf_CONTEXTBYTES + 1] = "vanDATA1";
	uint8_t salt[16];

	crypto_kdf_derive_from_key(ret_direction->key, SEAL_KEY_LEN, 1, context, split);
	crypto_kdf_derive_from_key(salt, sizeof(salt), 2, context, split);
	memcpy(ret_direction->salt, salt, SEAL_SALT_LEN);
	sodium_memzero(salt, sizeof(salt));
}

static void make_keys(struct noise *n, bool initiator, struct handshake_keys *ret_keys)
{
	uint8_t forth[HASH_LEN], back[HASH_LEN];

	noise_split(n, forth, back);
	handshake_data_key(forth, initiator ? &ret_keys->send : &ret_keys->recv);
	handshake_data_key(back, initiator ? &ret_keys->recv : &ret_keys->send);
	sodium_memzero(forth, sizeof(forth));
	sodium_memzero(back, sizeof(back));
}

int handshake_create_resp(const struct handshake_self *self, struct handshake *handshake,
	const struct key *ephemeral_secret, uint32_t sender, const struct handshake_info *info,
	struct message_resp *ret_msg, struct handshake_keys *ret_keys)
{
	struct message_resp msg = {.type = MESSAGE_RESP, .version = MESSAGE_VERSION};
	uint8_t payload[MESSAGE_RESP_PAYLOAD_LEN];
	struct wire_writer w = wire_writer(payload, sizeof(payload));
	int r;

	message_set_index(msg.sender, sender);
	message_set_index(msg.receiver, handshake->remote_index);
	put_common(&w, info);
	r = noise_write_2(&handshake->noise, ephemeral_secret, self->psk, payload, sizeof(payload),
		resp_noise(&msg));
	if (r == 0) {
		make_keys(&handshake->noise, false, ret_keys);
		*ret_msg = msg;
	}
	handshake_wipe(handshake);
	return r;
}

int handshake_consume_resp(const struct handshake_self *self, const struct handshake *handshake,
	const struct message_resp *msg, struct handshake_info *ret_info,
	struct handshake_keys *ret_keys)
{
	struct message_resp m = *msg;
	struct handshake h = *handshake;
	uint8_t payload[MESSAGE_RESP_PAYLOAD_LEN];
	struct handshake_info info = {0};
	struct wire_reader reader;
	int r;

	r = noise_read_2(
		&h.noise, self->identity, self->psk, resp_noise(&m), RESP_NOISE_LEN, payload);
	if (r == 0) {
		reader = wire_reader(payload, sizeof(payload));
		get_common(&reader, &info);
		if (!info_is_sane(&reader, &info))
			r = -VAN_E_UNAUTHENTIC;
	}
	if (r == 0) {
		make_keys(&h.noise, true, ret_keys);
		*ret_info = info;
	}
	handshake_wipe(&h);
	return r;
}

void handshake_wipe(struct handshake *h)
{
	sodium_memzero(h, sizeof(*h));
}

void handshake_keys_wipe(struct handshake_keys *keys)
{
	sodium_memzero(keys, sizeof(*keys));
}
