/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM by OpenSSL's EVP: for CPUs that the other back ends do not know (arm64, for one).
 *
 * How it works. An EVP_CIPHER_CTX holds an expanded key and the state of one message, so two
 * threads cannot use one at once, and making one for each message costs more than the message. A
 * key therefore keeps a few contexts that all hold it; a thread takes one out by an atomic
 * exchange, sets the nonce, uses it and puts it back. The first is made with the key. More are made
 * when threads collide, at most POOL_SIZE; a thread that finds none, and no memory for one more,
 * waits for the others, who hold theirs for the length of one message. So sealing cannot fail.
 *
 * Contexts are in OpenSSL's heap and not in the locked arena; EVP_CIPHER_CTX_free() wipes them.
 */
#include "vand/seal_backends.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sched.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define POOL_SIZE 8

struct pool {
	EVP_CIPHER_CTX *_Atomic context[POOL_SIZE]; /* NULL: in use, or not made yet */
	_Atomic unsigned int made;
};

struct state {
	struct pool *pool; /* heap */
	uint8_t key[SEAL_KEY_LEN];
};
static_assert(sizeof(struct state) <= SEAL_STATE_LEN, "a key fits its state");

static EVP_CIPHER_CTX *context_new(const uint8_t key[SEAL_KEY_LEN])
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();

	if (c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, NULL) == 1)
		return c;
	EVP_CIPHER_CTX_free(c);
	return NULL;
}

static EVP_CIPHER_CTX *context_take(const struct state *s)
{
	struct pool *pool = s->pool;

	for (;;) {
		EVP_CIPHER_CTX *c;

		for (size_t i = 0; i < POOL_SIZE; i++) {
			if (!atomic_load_explicit(&pool->context[i], memory_order_relaxed))
				continue;
			c = atomic_exchange_explicit(&pool->context[i], NULL, memory_order_acquire);
			if (c)
				return c;
		}
		if (atomic_fetch_add(&pool->made, 1) < POOL_SIZE) {
			c = context_new(s->key);
			if (c)
				return c;
		}
		atomic_fetch_sub(&pool->made, 1);
		sched_yield();
	}
}

static void context_put(const struct state *s, EVP_CIPHER_CTX *c)
{
	/* No more are made than there are places, so one is free; another thread may be faster. */
	for (size_t i = 0;; i = (i + 1) % POOL_SIZE) {
		EVP_CIPHER_CTX *none = NULL;

		if (atomic_compare_exchange_strong_explicit(&s->pool->context[i], &none, c,
			    memory_order_release, memory_order_relaxed))
			return;
	}
}

static bool usable(void)
{
	static const uint8_t key[SEAL_KEY_LEN];
	EVP_CIPHER_CTX *c = context_new(key);

	EVP_CIPHER_CTX_free(c);
	return c != NULL;
}

static int expand(uint8_t state[SEAL_STATE_LEN], const uint8_t key[SEAL_KEY_LEN])
{
	struct state s = {.pool = calloc(1, sizeof(*s.pool))};
	EVP_CIPHER_CTX *first;

	if (!s.pool)
		return -ENOMEM;
	first = context_new(key);
	if (!first) {
		free(s.pool);
		return -ENOMEM;
	}
	memcpy(s.key, key, sizeof(s.key));
	atomic_init(&s.pool->context[0], first);
	atomic_init(&s.pool->made, 1);
	memcpy(state, &s, sizeof(s));
	sodium_memzero(&s, sizeof(s));
	return 0;
}

static void release(uint8_t state[SEAL_STATE_LEN])
{
	struct state *s = (struct state *)(void *)state;

	if (!s->pool)
		return;
	for (size_t i = 0; i < POOL_SIZE; i++)
		EVP_CIPHER_CTX_free(atomic_load(&s->pool->context[i]));
	free(s->pool);
	s->pool = NULL;
}

static void encrypt(const uint8_t state[SEAL_STATE_LEN], const uint8_t nonce[12], const uint8_t *ad,
	size_t ad_len, const uint8_t *src, size_t len, uint8_t *dst,
	uint8_t ret_tag[MESSAGE_TAG_LEN])
{
	const struct state *s = (const struct state *)(const void *)state;
	EVP_CIPHER_CTX *c = context_take(s);
	int n;
	bool ok = EVP_EncryptInit_ex(c, NULL, NULL, NULL, nonce) == 1 &&
		  (ad_len == 0 || EVP_EncryptUpdate(c, NULL, &n, ad, (int)ad_len) == 1) &&
		  (len == 0 || EVP_EncryptUpdate(c, dst, &n, src, (int)len) == 1) &&
		  EVP_EncryptFinal_ex(c, ret_tag, &n) == 1 &&
		  EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, MESSAGE_TAG_LEN, ret_tag) == 1;

	context_put(s, c);
	if (!ok) {
		/* It has no reason to; should it, then nothing of the text may go out. */
		memset(dst, 0, len);
		memset(ret_tag, 0, MESSAGE_TAG_LEN);
	}
}

static bool decrypt(const uint8_t state[SEAL_STATE_LEN], const uint8_t nonce[12], const uint8_t *ad,
	size_t ad_len, uint8_t *data, size_t len, const uint8_t tag[MESSAGE_TAG_LEN])
{
	const struct state *s = (const struct state *)(const void *)state;
	EVP_CIPHER_CTX *c = context_take(s);
	uint8_t expected[MESSAGE_TAG_LEN], none[16];
	int n;
	bool ok;

	memcpy(expected, tag, sizeof(expected)); /* the interface takes no const */
	ok = EVP_DecryptInit_ex(c, NULL, NULL, NULL, nonce) == 1 &&
	     (ad_len == 0 || EVP_DecryptUpdate(c, NULL, &n, ad, (int)ad_len) == 1) &&
	     (len == 0 || EVP_DecryptUpdate(c, data, &n, data, (int)len) == 1) &&
	     EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, MESSAGE_TAG_LEN, expected) == 1 &&
	     EVP_DecryptFinal_ex(c, none, &n) == 1;
	context_put(s, c);
	return ok;
}

const struct seal_backend seal_openssl = {
	.name = "openssl",
	.usable = usable,
	.expand = expand,
	.release = release,
	.encrypt = encrypt,
	.decrypt = decrypt,
};
