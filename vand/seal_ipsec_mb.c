/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM by Intel's multi-buffer library. Of its interfaces only the direct calls are used,
 * which take one message at a time and need no job ring: a manager then is no more than a table of
 * functions for this CPU, and all threads can share one. Decryption yields plain text whatever the
 * tag is, so the comparison here is what authenticates.
 */
#ifdef HAVE_IPSEC_MB

#include "vand/seal_backends.h"

#include <assert.h>
#include <intel-ipsec-mb.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>

static_assert(sizeof(struct gcm_key_data) <= SEAL_STATE_LEN, "an expanded key fits its state");
static_assert(_Alignof(struct gcm_key_data) <= _Alignof(struct seal_key), "and is aligned in it");

/* Made once, kept to the end of the process, and not written after that. */
static IMB_MGR *manager;
static pthread_once_t manager_once = PTHREAD_ONCE_INIT;

static void make_manager(void)
{
	const uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
	IMB_MGR *m = alloc_mb_mgr(0);

	if (!m)
		return;
	init_mb_mgr_auto(m, NULL);
	/* Without these instructions the library emulates them: right, but slower than others. */
	if (imb_get_errno(m) != 0 || (m->features & needed) != needed) {
		free_mb_mgr(m);
		return;
	}
	manager = m;
}

static bool usable(void)
{
	pthread_once(&manager_once, make_manager);
	return manager != NULL;
}

static int expand(uint8_t state[SEAL_STATE_LEN], const uint8_t key[SEAL_KEY_LEN])
{
	IMB_AES256_GCM_PRE(manager, key, (struct gcm_key_data *)(void *)state);
	return 0;
}

static void encrypt(const uint8_t state[SEAL_STATE_LEN], const uint8_t nonce[12], const uint8_t *ad,
	size_t ad_len, const uint8_t *src, size_t len, uint8_t *dst,
	uint8_t ret_tag[MESSAGE_TAG_LEN])
{
	_Alignas(64) struct gcm_context_data context;

	IMB_AES256_GCM_ENC(manager, (const struct gcm_key_data *)(const void *)state, &context, dst,
		src, len, nonce, ad, ad_len, ret_tag, MESSAGE_TAG_LEN);
}

/* In constant time; the call of sodium_memcmp() was 2 % of a profile. */
static bool tags_equal(const uint8_t a[MESSAGE_TAG_LEN], const uint8_t b[MESSAGE_TAG_LEN])
{
	uint64_t x[2], y[2], difference;

	static_assert(sizeof(x) == MESSAGE_TAG_LEN, "a tag is two words");
	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	difference = (x[0] ^ y[0]) | (x[1] ^ y[1]);
	__asm__("" : "+r"(difference)); /* no early way out for the compiler to find */
	return difference == 0;
}

static bool decrypt(const uint8_t state[SEAL_STATE_LEN], const uint8_t nonce[12], const uint8_t *ad,
	size_t ad_len, uint8_t *data, size_t len, const uint8_t tag[MESSAGE_TAG_LEN])
{
	_Alignas(64) struct gcm_context_data context;
	uint8_t computed[MESSAGE_TAG_LEN];

	IMB_AES256_GCM_DEC(manager, (const struct gcm_key_data *)(const void *)state, &context,
		data, data, len, nonce, ad, ad_len, computed, sizeof(computed));
	return tags_equal(computed, tag);
}

const struct seal_backend seal_ipsec_mb = {
	.name = "ipsec-mb",
	.usable = usable,
	.expand = expand,
	.encrypt = encrypt,
	.decrypt = decrypt,
};

#else
typedef int seal_ipsec_mb_is_not_built; /* ISO C wants a declaration in every file */
#endif
