/* SPDX-License-Identifier: Apache-2.0 */
/* AES-256-GCM by libsodium: everywhere that it runs, on CPUs with AES instructions only. */
#include "vand/seal_backends.h"

#include <assert.h>
#include <sodium.h>

static_assert(sizeof(crypto_aead_aes256gcm_state) <= SEAL_STATE_LEN, "a key fits its state");
static_assert(
	_Alignof(crypto_aead_aes256gcm_state) <= _Alignof(struct seal_key), "and is aligned in it");

static bool usable(void)
{
	return sodium_init() >= 0 && crypto_aead_aes256gcm_is_available();
}

static int expand(uint8_t state[SEAL_STATE_LEN], const uint8_t key[SEAL_KEY_LEN])
{
	crypto_aead_aes256gcm_beforenm((crypto_aead_aes256gcm_state *)(void *)state, key);
	return 0;
}

static void encrypt(const uint8_t state[SEAL_STATE_LEN], const uint8_t nonce[12], const uint8_t *ad,
	size_t ad_len, const uint8_t *src, size_t len, uint8_t *dst,
	uint8_t ret_tag[MESSAGE_TAG_LEN])
{
	crypto_aead_aes256gcm_encrypt_detached_afternm(dst, ret_tag, NULL, src, len, ad, ad_len,
		NULL, nonce, (const crypto_aead_aes256gcm_state *)(const void *)state);
}

static bool decrypt(const uint8_t state[SEAL_STATE_LEN], const uint8_t nonce[12], const uint8_t *ad,
	size_t ad_len, uint8_t *data, size_t len, const uint8_t tag[MESSAGE_TAG_LEN])
{
	return crypto_aead_aes256gcm_decrypt_detached_afternm(data, NULL, data, len, tag, ad,
		       ad_len, nonce,
		       (const crypto_aead_aes256gcm_state *)(const void *)state) == 0;
}

const struct seal_backend seal_sodium = {
	.name = "sodium",
	.usable = usable,
	.expand = expand,
	.encrypt = encrypt,
	.decrypt = decrypt,
};
