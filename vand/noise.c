/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names follow the specification's: mix_hash() is MixHash(), and so on. Each message function
 * is the pattern's line, token by token.
 */
#include "vand/noise.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

static void mix_hash(struct noise *n, const void *data, size_t len)
{
	hash_sha256(HASH_PIECES({n->hash, HASH_LEN}, {data, len}), n->hash);
}

/* HKDF of §4.3 with two or three outputs. Outputs may be the chain itself. */
static void hkdf(const uint8_t chain[HASH_LEN], const void *input, size_t len,
	uint8_t ret_1[HASH_LEN], uint8_t ret_2[HASH_LEN], uint8_t *ret_3)
{
	static const uint8_t one = 1, two = 2, three = 3;
	uint8_t temp[HASH_LEN], first[HASH_LEN], second[HASH_LEN];

	hash_hmac(chain, HASH_LEN, HASH_PIECES({input, len}), temp);
	hash_hmac(temp, HASH_LEN, HASH_PIECES({&one, 1}), first);
	hash_hmac(temp, HASH_LEN, HASH_PIECES({first, HASH_LEN}, {&two, 1}), second);
	if (ret_3)
		hash_hmac(temp, HASH_LEN, HASH_PIECES({second, HASH_LEN}, {&three, 1}), ret_3);
	memcpy(ret_1, first, HASH_LEN);
	memcpy(ret_2, second, HASH_LEN);
	sodium_memzero(temp, sizeof(temp));
	sodium_memzero(first, sizeof(first));
	sodium_memzero(second, sizeof(second));
}

static void mix_key(struct noise *n, const void *input, size_t len)
{
	hkdf(n->chain, input, len, n->chain, n->key, NULL);
	n->nonce = 0;
}

static void mix_key_and_hash(struct noise *n, const void *input, size_t len)
{
	uint8_t temp[HASH_LEN];

	hkdf(n->chain, input, len, n->chain, temp, n->key);
	n->nonce = 0;
	mix_hash(n, temp, sizeof(temp));
	sodium_memzero(temp, sizeof(temp));
}

/* MixKey(DH(secret, public)). A result of zero means a public key of small order: the other side
 * would not have to know a secret for it, so it is refused. */
static int mix_dh(struct noise *n, const struct key *secret, const struct key *public)
{
	uint8_t shared[KEY_LEN];
	int r = 0;

	if (crypto_scalarmult(shared, secret->bytes, public->bytes) != 0 ||
		sodium_is_zero(shared, sizeof(shared)))
		r = -VAN_E_UNAUTHENTIC;
	else
		mix_key(n, shared, sizeof(shared));
	sodium_memzero(shared, sizeof(shared));
	return r;
}

static void aead_nonce(uint64_t n, uint8_t ret_nonce[12])
{
	memset(ret_nonce, 0, 4);
	message_set_counter(ret_nonce + 4, n);
}

int noise_encrypt(const struct seal_backend *backend, const uint8_t key[HASH_LEN], uint64_t n,
	const void *ad, size_t ad_len, const void *plain, size_t len, uint8_t *out)
{
	static const uint8_t no_salt[SEAL_SALT_LEN];
	struct seal_key expanded;
	uint8_t nonce[12];
	int r = seal_key_init(backend, &expanded, key, no_salt);

	if (r < 0)
		return r;
	aead_nonce(n, nonce);
	backend->encrypt(expanded.state, nonce, ad, ad_len, plain, len, out, out + len);
	seal_key_done(backend, &expanded);
	return 0;
}

int noise_decrypt(const struct seal_backend *backend, const uint8_t key[HASH_LEN], uint64_t n,
	const void *ad, size_t ad_len, const uint8_t *sealed, size_t len, uint8_t *ret_plain)
{
	static const uint8_t no_salt[SEAL_SALT_LEN];
	struct seal_key expanded;
	uint8_t nonce[12];
	int r;

	if (len < MESSAGE_TAG_LEN)
		return -VAN_E_UNAUTHENTIC;
	len -= MESSAGE_TAG_LEN;
	r = seal_key_init(backend, &expanded, key, no_salt);
	if (r < 0)
		return r;
	aead_nonce(n, nonce);
	memcpy(ret_plain, sealed, len);
	if (!backend->decrypt(expanded.state, nonce, ad, ad_len, ret_plain, len, sealed + len)) {
		sodium_memzero(ret_plain, len);
		r = -VAN_E_UNAUTHENTIC;
	}
	seal_key_done(backend, &expanded);
	return r;
}

static int encrypt_and_hash(struct noise *n, const void *plain, size_t len, uint8_t *out)
{
	int r = noise_encrypt(n->backend, n->key, n->nonce, n->hash, HASH_LEN, plain, len, out);

	if (r < 0)
		return r;
	n->nonce++;
	mix_hash(n, out, len + MESSAGE_TAG_LEN);
	return 0;
}

static int decrypt_and_hash(struct noise *n, const uint8_t *sealed, size_t len, uint8_t *ret_plain)
{
	int r = noise_decrypt(
		n->backend, n->key, n->nonce, n->hash, HASH_LEN, sealed, len, ret_plain);

	if (r < 0)
		return r;
	n->nonce++;
	mix_hash(n, sealed, len);
	return 0;
}

/* The token `e`, either way. */
static void mix_ephemeral(struct noise *n, const uint8_t public[KEY_LEN])
{
	mix_hash(n, public, KEY_LEN);
	if (n->psk)
		mix_key(n, public, KEY_LEN);
}

static int write_ephemeral(struct noise *n, const struct key *secret, uint8_t out[KEY_LEN])
{
	if (crypto_scalarmult_base(out, secret->bytes) != 0)
		return -VAN_E_UNAUTHENTIC;
	n->ephemeral = *secret;
	mix_ephemeral(n, out);
	return 0;
}

void noise_init(struct noise *n, const struct seal_backend *backend, bool psk, const void *prologue,
	size_t prologue_len, const struct key *responder_public)
{
	/* A name shorter than the hash is padded with zeroes, and both are shorter or as long
	 * (§5.2). */
	static const char name_ik[HASH_LEN + 1] = "Noise_IK_25519_AESGCM_SHA256";
	static const char name_ikpsk2[HASH_LEN + 1] = "Noise_IKpsk2_25519_AESGCM_SHA256";

	memset(n, 0, sizeof(*n));
	n->backend = backend;
	n->psk = psk;
	memcpy(n->hash, psk ? name_ikpsk2 : name_ik, HASH_LEN);
	memcpy(n->chain, n->hash, HASH_LEN);
	mix_hash(n, prologue, prologue_len);
	mix_hash(n, responder_public->bytes, KEY_LEN);
}

int noise_write_1(struct noise *n, const struct key *ephemeral_secret, const struct identity *self,
	const struct key *responder_public, const void *payload, size_t len, uint8_t *out)
{
	uint8_t *out_static = out + KEY_LEN, *out_payload = out_static + KEY_LEN + MESSAGE_TAG_LEN;
	int r;

	n->peer_static = *responder_public;
	if ((r = write_ephemeral(n, ephemeral_secret, out)) < 0 ||                        /* e */
		(r = mix_dh(n, &n->ephemeral, &n->peer_static)) < 0 ||                    /* es */
		(r = encrypt_and_hash(n, self->public.bytes, KEY_LEN, out_static)) < 0 || /* s */
		(r = mix_dh(n, &self->secret, &n->peer_static)) < 0)                      /* ss */
		return r;
	return encrypt_and_hash(n, payload, len, out_payload);
}

int noise_read_1(struct noise *n, const struct identity *self, const uint8_t *msg, size_t len,
	uint8_t *ret_payload)
{
	const uint8_t *sealed_static = msg + KEY_LEN;
	const uint8_t *sealed_payload = sealed_static + KEY_LEN + MESSAGE_TAG_LEN;
	int r;

	if (len < NOISE_1_OVERHEAD)
		return -VAN_E_UNAUTHENTIC;
	memcpy(n->peer_ephemeral.bytes, msg, KEY_LEN);
	mix_ephemeral(n, msg);                                                     /* e */
	if ((r = mix_dh(n, &self->secret, &n->peer_ephemeral)) < 0 ||              /* es */
		(r = decrypt_and_hash(n, sealed_static, KEY_LEN + MESSAGE_TAG_LEN, /* s */
			 n->peer_static.bytes)) < 0 ||
		(r = mix_dh(n, &self->secret, &n->peer_static)) < 0) /* ss */
		return r;
	return decrypt_and_hash(
		n, sealed_payload, len - (size_t)(sealed_payload - msg), ret_payload);
}

int noise_write_2(struct noise *n, const struct key *ephemeral_secret, const uint8_t *psk,
	const void *payload, size_t len, uint8_t *out)
{
	int r;

	if ((r = write_ephemeral(n, ephemeral_secret, out)) < 0 ||        /* e */
		(r = mix_dh(n, &n->ephemeral, &n->peer_ephemeral)) < 0 || /* ee */
		(r = mix_dh(n, &n->ephemeral, &n->peer_static)) < 0)      /* se */
		return r;
	if (n->psk)
		mix_key_and_hash(n, psk, HASH_LEN); /* psk */
	return encrypt_and_hash(n, payload, len, out + KEY_LEN);
}

int noise_read_2(struct noise *n, const struct identity *self, const uint8_t *psk,
	const uint8_t *msg, size_t len, uint8_t *ret_payload)
{
	int r;

	if (len < NOISE_2_OVERHEAD)
		return -VAN_E_UNAUTHENTIC;
	memcpy(n->peer_ephemeral.bytes, msg, KEY_LEN);
	mix_ephemeral(n, msg);                                          /* e */
	if ((r = mix_dh(n, &n->ephemeral, &n->peer_ephemeral)) < 0 ||   /* ee */
		(r = mix_dh(n, &self->secret, &n->peer_ephemeral)) < 0) /* se */
		return r;
	if (n->psk)
		mix_key_and_hash(n, psk, HASH_LEN); /* psk */
	return decrypt_and_hash(n, msg + KEY_LEN, len - KEY_LEN, ret_payload);
}

void noise_split(struct noise *n, uint8_t ret_forth[HASH_LEN], uint8_t ret_back[HASH_LEN])
{
	uint8_t hash[HASH_LEN];

	hkdf(n->chain, NULL, 0, ret_forth, ret_back, NULL);
	memcpy(hash, n->hash, sizeof(hash));
	noise_wipe(n);
	memcpy(n->hash, hash, sizeof(hash));
}

void noise_wipe(struct noise *n)
{
	sodium_memzero(n, sizeof(*n));
}
