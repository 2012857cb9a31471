/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <json-c/json.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include "lib/hash.h"
#include "vand/cookie.h"
#include "vand/handshake.h"

/* -- public vectors of the Noise pattern, not kept here -- */

#define PAYLOAD_MAX 256

struct bytes {
	uint8_t data[PAYLOAD_MAX + NOISE_1_OVERHEAD];
	size_t len;
};

static struct bytes hex_of(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;
	struct bytes b = {.len = 0};
	const char *text;

	assert_true(json_object_object_get_ex(o, name, &v));
	text = json_object_get_string(v);
	b.len = strlen(text) / 2;
	assert_true(b.len <= sizeof(b.data));
	assert_true(hash_unhex(text, b.data, b.len));
	assert_int_equal(strlen(text) % 2, 0);
	return b;
}

static struct key key_from(struct json_object *o, const char *name)
{
	struct bytes b = hex_of(o, name);
	struct key k;

	assert_int_equal(b.len, KEY_LEN);
	memcpy(k.bytes, b.data, KEY_LEN);
	return k;
}

static struct identity identity_from(struct json_object *o, const char *name)
{
	struct identity id;

	memset(&id, 0, sizeof(id));
	id.secret = key_from(o, name);
	assert_int_equal(crypto_scalarmult_base(id.public.bytes, id.secret.bytes), 0);
	return id;
}

/* Messages 1 and 2 in both roles; then transport messages, odd ones forth and even ones back. */
static void run_vector(struct json_object *v, const struct seal_backend *backend)
{
	struct identity init = identity_from(v, "init_static"),
			resp = identity_from(v, "resp_static");
	struct key init_e = key_from(v, "init_ephemeral"), resp_e = key_from(v, "resp_ephemeral");
	struct key remote = key_from(v, "init_remote_static");
	struct bytes init_prologue = hex_of(v, "init_prologue"),
		     resp_prologue = hex_of(v, "resp_prologue");
	struct bytes hash = hex_of(v, "handshake_hash"), psk = {.len = 0};
	struct json_object *psks = NULL, *messages = NULL;
	bool has_psk = json_object_object_get_ex(v, "init_psks", &psks);
	uint8_t forth[2][HASH_LEN], back[2][HASH_LEN];
	uint64_t counters[2] = {0};
	struct noise a, b;

	if (has_psk) {
		assert_true(hash_unhex(json_object_get_string(json_object_array_get_idx(psks, 0)),
			psk.data, HASH_LEN));
	}
	assert_memory_equal(remote.bytes, resp.public.bytes, KEY_LEN);
	noise_init(&a, backend, has_psk, init_prologue.data, init_prologue.len, &remote);
	noise_init(&b, backend, has_psk, resp_prologue.data, resp_prologue.len, &resp.public);
	assert_true(json_object_object_get_ex(v, "messages", &messages));
	assert_true(json_object_array_length(messages) >= 4);
	for (size_t i = 0; i < json_object_array_length(messages); i++) {
		struct json_object *m = json_object_array_get_idx(messages, i);
		struct bytes payload = hex_of(m, "payload"), want = hex_of(m, "ciphertext");
		uint8_t out[sizeof(payload.data)], opened[sizeof(payload.data)];
		const uint8_t *k[2] = {i % 2 ? back[0] : forth[0], i % 2 ? back[1] : forth[1]};

		if (i == 0) {
			assert_int_equal(noise_write_1(&a, &init_e, &init, &remote, payload.data,
						 payload.len, out),
				0);
			assert_int_equal(noise_read_1(&b, &resp, want.data, want.len, opened), 0);
			assert_memory_equal(b.peer_static.bytes, init.public.bytes, KEY_LEN);
		} else if (i == 1) {
			assert_int_equal(noise_write_2(&b, &resp_e, psk.data, payload.data,
						 payload.len, out),
				0);
			assert_int_equal(
				noise_read_2(&a, &init, psk.data, want.data, want.len, opened), 0);
			assert_memory_equal(a.hash, hash.data, HASH_LEN);
			assert_memory_equal(b.hash, hash.data, HASH_LEN);
			noise_split(&a, forth[0], back[0]);
			noise_split(&b, forth[1], back[1]);
		} else {
			uint64_t n = counters[i % 2]++;

			assert_int_equal(noise_encrypt(backend, k[0], n, NULL, 0, payload.data,
						 payload.len, out),
				0);
			assert_int_equal(noise_decrypt(backend, k[1], n, NULL, 0, want.data,
						 want.len, opened),
				0);
		}
		assert_memory_equal(out, want.data, want.len);
		assert_memory_equal(opened, payload.data, payload.len);
	}
}

static void test_noise_vectors(void **state)
{
	const char *path = getenv("NOISE_VECTORS");
	struct json_object *root, *vectors = NULL;
	unsigned int with_psk = 0, without = 0;

	(void)state;
	if (!path)
		path = "../shared/vectors/noise_ik_aesgcm_sha256.json";
	root = json_object_from_file(path);
	if (!root) {
		print_message("SKIP: no Noise vectors at %s (NOISE_VECTORS=PATH)\n", path);
		skip();
	}
	assert_true(json_object_object_get_ex(root, "vectors", &vectors));
	for (size_t i = 0; i < json_object_array_length(vectors); i++) {
		struct json_object *v = json_object_array_get_idx(vectors, i), *name = NULL;

		assert_true(json_object_object_get_ex(v, "protocol_name", &name));
		if (strcmp(json_object_get_string(name), "Noise_IKpsk2_25519_AESGCM_SHA256") == 0)
			with_psk++;
		else if (strcmp(json_object_get_string(name), "Noise_IK_25519_AESGCM_SHA256") == 0)
			without++;
		else
			continue;
		for (const struct seal_backend *const *b = seal_backends(); *b; b++)
			run_vector(v, *b);
	}
	print_message("%u vectors of IKpsk2, %u of IK\n", with_psk, without);
	assert_true(with_psk > 0);
	assert_true(without > 0);
	json_object_put(root);
}

/* -- our own known answers -- */

/* Made by test/vectors/protocol_v1.py, a second implementation of Noise, X25519, AES-GCM and the
 * key derivation on Python's hashlib alone. Static secrets 1…32 and 33…64, ephemeral ones 65…96 and
 * 97…128, mesh a0…af, psk 40…5f, stamp 1700000000.123456789, epochs 77 and 78, 2 lanes, MTU 1500
 * and 1400, indices 0x11223344 and 0x55667788. */
static const char kat_init[] =
	"010100004433221164b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466"
	"f73da8356b8c5ff772119bc2ed4e22a148046efa6147f7e733a2aa25f334dfee8d492f7423f0db2f"
	"2d59513c20db2a61095483e93bba19401b2bf68b175f877500f68e8f5d427298e3492fc4dadca06f"
	"1e99dd15542710b76532d1e04d207530a5835cb3dd5707c000000000000000000000000000000000";
static const char kat_mac2[] = "35dcd70cd956a11f7ce5a24d42582bfa";
static const char kat_resp[] =
	"020100008877665544332211244fe3b963e899dd295baffce248d3530f3a9a7479ba063002680ebf"
	"e7adad499ab7397db507c8178a47b4492ab0aba123a12ca3ca219690d8135af26fbf02a7f9563327"
	"dd5cadbd30153ec400000000000000000000000000000000";
static const char kat_forth_split[] =
	"b2eab66465b158db250646c068d842b12bda4fec09923ce89b1031d27f230118";
static const char kat_forth_key[] =
	"ce60b6e9e37daa2b2b3bee261f39243e6735ea9ca7d7bf564991a21a34c14e68";
static const char kat_forth_salt[] = "ebad926daf7140cac7ae724e";
static const char kat_forth_gcm[] =
	"04010000887766550102030405060708136b9b1fcdaa727bebdddbfdac52fbd2156312060d477a35"
	"b3a0e162962c3383a3f43b9b6badcc0881715137ce3108fb36066e9ed6ebfcb85be92644119ea5b0"
	"d64a45d651da983991e9c3a18c797fe6486e15837beed6a3629138c8520774acbab1d9518011583d"
	"850b028d2b8a9dd120a0bb206d7fb916d972";
static const char kat_forth_gmac[] =
	"04010100887766550102030405060708010203802210000102030405060708090a0b0c0d0e0f1011"
	"12131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343536373839"
	"3a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f6061"
	"626344c1133da9b030f976a45666130d58d5";
static const char kat_back_split[] =
	"88ad9a178800952502f5eaddffa7b574e8bbad379fda40635f49e23a0c3d317e";
static const char kat_back_key[] =
	"e6843852a62e32c4eb1e8182bc6af19de58560498f09754436bcbf7f8115e2e3";
static const char kat_back_salt[] = "8ef2345f75cae0a5880ea9ac";
static const char kat_back_gcm[] =
	"04010000887766550102030405060708b62e5ba612f96ddec35d1e223f3861c4f24766bf671708c7"
	"24bdb4450e301160fa518830d9fe6e8c02b064c5b116ac2cd74adde0c1a7eb98ab146ac8c944ceb2"
	"bd3ddbfc7a044cd007cc5690c7aad82073799829f98a8d6f3357c3aa43aacba0679a4ec4eca04b22"
	"ecefa4441929169936c66729b08a6cf4e151";
static const char kat_back_gmac[] =
	"04010100887766550102030405060708010203802210000102030405060708090a0b0c0d0e0f1011"
	"12131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343536373839"
	"3a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f6061"
	"62636ca25b437726d0dd8ac9d9eebe3c2cc6";

static const uint8_t mesh[MESSAGE_MESH_LEN] = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8,
	0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};

/* Both sides of the known answers. */
struct pair {
	struct identity ids[2];
	struct key ephemeral[2];
	uint8_t psk[32];
	struct handshake_self self[2];
	struct handshake_info info[2];
	struct cookie_keys keys[2];
};

static void count_up(uint8_t *b, size_t len, uint8_t from)
{
	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)(from + i);
}

static void pair_init(struct pair *p, const struct seal_backend *backend)
{
	memset(p, 0, sizeof(*p));
	count_up(p->psk, sizeof(p->psk), 0x40);
	for (size_t i = 0; i < 2; i++) {
		count_up(p->ids[i].secret.bytes, KEY_LEN, (uint8_t)(1 + 32 * i));
		count_up(p->ephemeral[i].bytes, KEY_LEN, (uint8_t)(65 + 32 * i));
		assert_int_equal(
			crypto_scalarmult_base(p->ids[i].public.bytes, p->ids[i].secret.bytes), 0);
		p->self[i] = (struct handshake_self){&p->ids[i], backend, mesh, p->psk};
		p->info[i] = (struct handshake_info){
			.epoch = 77 + i, .lanes = 2, .mtu = (uint16_t)(1500 - 100 * i)};
		cookie_keys_init(&p->keys[i], mesh, &p->ids[i].public);
	}
	/* 1700000000 s, 123456789 ns */
	assert_true(hash_unhex("000000006553f100075bcd15", p->info[0].stamp, MESSAGE_STAMP_LEN));
}

static void assert_hex(const void *data, size_t len, const char *want)
{
	char text[2 * 256 + 1];

	assert_true(len <= 256);
	hash_hex(data, len, text);
	assert_string_equal(text, want);
}

static void assert_direction(const struct handshake_direction *d, const char *key, const char *salt)
{
	assert_hex(d->key, sizeof(d->key), key);
	assert_hex(d->salt, sizeof(d->salt), salt);
}

static int make_both(struct pair *p, struct message_init *init, struct message_resp *resp,
	struct handshake *a, struct handshake_keys *keys_a, struct handshake_keys *keys_b)
{
	struct handshake_info info;
	struct handshake b;
	struct key public;
	int r;

	r = handshake_create_init(
		&p->self[0], &p->ids[1].public, &p->ephemeral[0], 0x11223344, &p->info[0], init, a);
	if (r < 0)
		return r;
	r = handshake_consume_init(&p->self[1], init, &b, &public, &info);
	if (r < 0)
		return r;
	assert_memory_equal(&public, &p->ids[0].public, KEY_LEN);
	assert_memory_equal(info.stamp, p->info[0].stamp, MESSAGE_STAMP_LEN);
	assert_int_equal(info.epoch, p->info[0].epoch);
	assert_int_equal(info.lanes, p->info[0].lanes);
	assert_int_equal(info.mtu, p->info[0].mtu);
	r = handshake_create_resp(
		&p->self[1], &b, &p->ephemeral[1], 0x55667788, &p->info[1], resp, keys_b);
	assert_true(sodium_is_zero((uint8_t *)&b, sizeof(b)));
	if (r < 0)
		return r;
	r = handshake_consume_resp(&p->self[0], a, resp, &info, keys_a);
	if (r < 0)
		return r;
	assert_int_equal(info.epoch, p->info[1].epoch);
	assert_int_equal(info.mtu, p->info[1].mtu);
	return 0;
}

static void test_known_answers(void **state)
{
	(void)state;
	for (const struct seal_backend *const *backend = seal_backends(); *backend; backend++) {
		uint8_t inner[106] = {1, 2, 3, 0x80, 34, 16}, msg[138], cookie[COOKIE_LEN];
		struct message_init init;
		struct message_resp resp;
		struct handshake_keys keys_a, keys_b;
		struct handshake a;
		struct seal_key k;
		struct pair p;

		pair_init(&p, *backend);
		assert_int_equal(make_both(&p, &init, &resp, &a, &keys_a, &keys_b), 0);
		cookie_add_macs(&p.keys[1], NULL, (uint8_t *)&init, sizeof(init));
		cookie_add_macs(&p.keys[0], NULL, (uint8_t *)&resp, sizeof(resp));
		assert_hex(&init, sizeof(init), kat_init);
		assert_hex(&resp, sizeof(resp), kat_resp);
		count_up(cookie, sizeof(cookie), 0xc0);
		cookie_add_macs(&p.keys[1], cookie, (uint8_t *)&init, sizeof(init));
		assert_hex(init.mac2, sizeof(init.mac2), kat_mac2);
		assert_direction(&keys_a.send, kat_forth_key, kat_forth_salt);
		assert_direction(&keys_b.recv, kat_forth_key, kat_forth_salt);
		assert_direction(&keys_a.recv, kat_back_key, kat_back_salt);
		assert_direction(&keys_b.send, kat_back_key, kat_back_salt);

		count_up(inner + 6, 100, 0);
		for (int back = 0; back < 2; back++) {
			const struct handshake_direction *d = back ? &keys_b.send : &keys_a.send;

			assert_int_equal(seal_key_init(*backend, &k, d->key, d->salt), 0);
			seal_frame(*backend, &k, MESSAGE_MODE_GCM, 1, 0x55667788,
				0x0102030405060708, inner, sizeof(inner), msg);
			assert_hex(msg, sizeof(msg), back ? kat_back_gcm : kat_forth_gcm);
			seal_frame(*backend, &k, MESSAGE_MODE_GMAC, 1, 0x55667788,
				0x0102030405060708, inner, sizeof(inner), msg);
			assert_hex(msg, sizeof(msg), back ? kat_back_gmac : kat_forth_gmac);
			seal_key_done(*backend, &k);
		}
		handshake_keys_wipe(&keys_a);
		assert_true(sodium_is_zero((uint8_t *)&keys_a, sizeof(keys_a)));
	}
}

static void test_data_key_steps(void **state)
{
	struct handshake_direction d;
	uint8_t split[32];

	(void)state;
	assert_true(hash_unhex(kat_forth_split, split, 32));
	handshake_data_key(split, &d);
	assert_direction(&d, kat_forth_key, kat_forth_salt);
	assert_true(hash_unhex(kat_back_split, split, 32));
	handshake_data_key(split, &d);
	assert_direction(&d, kat_back_key, kat_back_salt);
}

/* -- what must not work -- */

static void test_every_flipped_bit(void **state)
{
	const struct seal_backend *backend = seal_backend_find(NULL);
	struct message_init init, bad_init;
	struct message_resp resp, bad_resp;
	struct handshake_keys keys_a, keys_b;
	struct handshake_info info;
	struct handshake a, b, before;
	struct key public;
	struct pair p;

	(void)state;
	pair_init(&p, backend);
	assert_int_equal(make_both(&p, &init, &resp, &a, &keys_a, &keys_b), 0);
	before = a;
	/* The Noise part alone: what is in front of it is mac1's to protect. */
	for (size_t i = offsetof(struct message_init, ephemeral) * 8;
		i < offsetof(struct message_init, mac1) * 8; i++) {
		bad_init = init;
		((uint8_t *)&bad_init)[i / 8] ^= (uint8_t)(1 << i % 8);
		/* X25519 ignores the top bit of a public key; the transcript does not. */
		assert_int_equal(handshake_consume_init(&p.self[1], &bad_init, &b, &public, &info),
			-VAN_E_UNAUTHENTIC);
	}
	for (size_t i = offsetof(struct message_resp, ephemeral) * 8;
		i < offsetof(struct message_resp, mac1) * 8; i++) {
		bad_resp = resp;
		((uint8_t *)&bad_resp)[i / 8] ^= (uint8_t)(1 << i % 8);
		memset(&keys_b, 0x77, sizeof(keys_b));
		assert_int_equal(handshake_consume_resp(&p.self[0], &a, &bad_resp, &info, &keys_b),
			-VAN_E_UNAUTHENTIC);
		assert_int_equal(keys_b.send.key[0], 0x77); /* nothing was handed out */
		assert_memory_equal(&a, &before, sizeof(a));
	}
	/* After all of these the true one still works. */
	assert_int_equal(handshake_consume_resp(&p.self[0], &a, &resp, &info, &keys_b), 0);
	assert_memory_equal(&keys_b, &keys_a, sizeof(keys_a));
}

static void test_different_parties(void **state)
{
	static const uint8_t other_mesh[MESSAGE_MESH_LEN] = {1}, other_psk[32] = {1};
	const struct seal_backend *backend = seal_backend_find(NULL);
	struct message_init init;
	struct message_resp resp;
	struct handshake_keys keys_a, keys_b;
	struct handshake_info info;
	struct handshake a, b;
	struct key public;
	struct pair p;

	(void)state;
	pair_init(&p, backend);
	p.self[1].mesh = other_mesh;
	assert_int_equal(make_both(&p, &init, &resp, &a, &keys_a, &keys_b), -VAN_E_UNAUTHENTIC);
	/* Another psk shows only in the answer. */
	pair_init(&p, backend);
	p.self[1].psk = other_psk;
	assert_int_equal(make_both(&p, &init, &resp, &a, &keys_a, &keys_b), -VAN_E_UNAUTHENTIC);
	assert_int_equal(handshake_consume_init(&p.self[1], &init, &b, &public, &info), 0);
	/* An INIT for somebody else, and one's own INIT. */
	assert_int_equal(
		handshake_consume_init(&p.self[0], &init, &b, &public, &info), -VAN_E_UNAUTHENTIC);
}

static void test_senseless_payloads(void **state)
{
	const uint8_t lanes[] = {0, MESSAGE_LANES_MAX + 1, 255};
	const struct seal_backend *backend = seal_backend_find(NULL);
	struct message_init init;
	struct message_resp resp;
	struct handshake_keys keys_a, keys_b;
	struct handshake a;
	struct pair p;

	(void)state;
	for (size_t side = 0; side < 2; side++) {
		for (size_t i = 0; i < sizeof(lanes); i++) {
			pair_init(&p, backend);
			p.info[side].lanes = lanes[i];
			assert_int_equal(make_both(&p, &init, &resp, &a, &keys_a, &keys_b),
				-VAN_E_UNAUTHENTIC);
		}
		pair_init(&p, backend);
		p.info[side].flags = 0xff; /* of a later version: no matter */
		p.info[side].lanes = MESSAGE_LANES_MAX;
		assert_int_equal(make_both(&p, &init, &resp, &a, &keys_a, &keys_b), 0);
	}
}

static void test_keys_of_small_order(void **state)
{
	/* Points for which X25519 gives zero, whatever the secret (RFC 7748, §6.1 and the list in
	 * the literature): 0, 1, p - 1, p, p + 1, and two of order 8. */
	static const char *const points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	};
	const struct seal_backend *backend = seal_backend_find(NULL);
	struct handshake_keys keys;
	struct handshake_info info;
	struct message_init init;
	struct message_resp resp;
	struct handshake a, b;
	struct key weak, public;
	struct pair p;

	(void)state;
	pair_init(&p, backend);
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		assert_true(hash_unhex(points[i], weak.bytes, KEY_LEN));
		assert_int_equal(handshake_create_init(&p.self[0], &weak, &p.ephemeral[0], 1,
					 &p.info[0], &init, &a),
			-VAN_E_UNAUTHENTIC);
		/* As an ephemeral key in INIT: whoever sends it knows every es result beforehand.
		 */
		assert_int_equal(handshake_create_init(&p.self[0], &p.ids[1].public,
					 &p.ephemeral[0], 1, &p.info[0], &init, &a),
			0);
		memcpy(init.ephemeral, weak.bytes, KEY_LEN);
		assert_int_equal(handshake_consume_init(&p.self[1], &init, &b, &public, &info),
			-VAN_E_UNAUTHENTIC);
		/* And in RESP. */
		memset(&resp, 0, sizeof(resp));
		memcpy(resp.ephemeral, weak.bytes, KEY_LEN);
		assert_int_equal(handshake_consume_resp(&p.self[0], &a, &resp, &info, &keys),
			-VAN_E_UNAUTHENTIC);
	}
}

static void test_short_noise_messages(void **state)
{
	const struct seal_backend *backend = seal_backend_find(NULL);
	uint8_t msg[NOISE_1_OVERHEAD] = {9}, payload[NOISE_1_OVERHEAD];
	struct noise n;
	struct pair p;

	(void)state;
	pair_init(&p, backend);
	for (size_t len = 0; len <= sizeof(msg); len++) {
		noise_init(&n, backend, true, "p", 1, &p.ids[1].public);
		assert_int_equal(
			noise_read_1(&n, &p.ids[1], msg, len, payload), -VAN_E_UNAUTHENTIC);
		noise_init(&n, backend, true, "p", 1, &p.ids[1].public);
		assert_int_equal(
			noise_read_2(&n, &p.ids[1], p.psk, msg, len, payload), -VAN_E_UNAUTHENTIC);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_noise_vectors),
		cmocka_unit_test(test_known_answers),
		cmocka_unit_test(test_data_key_steps),
		cmocka_unit_test(test_every_flipped_bit),
		cmocka_unit_test(test_different_parties),
		cmocka_unit_test(test_senseless_payloads),
		cmocka_unit_test(test_keys_of_small_order),
		cmocka_unit_test(test_short_noise_messages),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
