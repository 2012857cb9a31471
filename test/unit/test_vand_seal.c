/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include "lib/hash.h"
#include "vand/seal.h"

#define PLAIN_MAX 9100
#define ROOM      (sizeof(struct message_data) + PLAIN_MAX + MESSAGE_TAG_LEN)

static struct seal_key key_of(const struct seal_backend *b, const uint8_t key[SEAL_KEY_LEN],
	const uint8_t salt[SEAL_SALT_LEN])
{
	struct seal_key k;

	assert_int_equal(seal_key_init(b, &k, key, salt), 0);
	return k;
}

static void test_list_and_names(void **state)
{
	const struct seal_backend *const *all = seal_backends();

	(void)state;
	assert_non_null(all[0]);
	assert_ptr_equal(seal_backend_find(NULL), all[0]);
	assert_null(seal_backend_find("rot13"));
	assert_non_null(seal_backend_find("openssl")); /* it runs on every CPU */
	for (; *all; all++) {
		assert_ptr_equal(seal_backend_find((*all)->name), *all);
		print_message("back end: %s\n", (*all)->name);
	}
}

/* GCM as NIST's CAVP vectors have it (gcmEncryptExtIV256, 96-bit IV, 128-bit tag), so that the back
 * ends are not merely of one mind. */
static void test_known_answers(void **state)
{
	static const struct {
		const char *key, *nonce, *ad, *plain, *sealed, *tag;
	} rows[] = {
		{"b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4",
			"516c33929df5a3284ff463d7", "", "", "", "bdc1ac884d332457a1d2664f168c76f0"},
		{"78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223",
			"d79cf22d504cc793c3fb6c8a", "b96baa8c1c75a671bfb2d08d06be5f36", "", "",
			"3e5d486aa2e30b22e040b85723a06e76"},
		{"31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22",
			"0d18e06c7c725ac9e362e1ce", "", "2db5168e932556f8089a0622981d017d",
			"fa4362189661d163fcd6a56d8bf0405a", "d636ac1bbedd5cc3ee727dc2ab4a9489"},
	};

	(void)state;
	for (const struct seal_backend *const *b = seal_backends(); *b; b++) {
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			size_t ad_len = strlen(rows[i].ad) / 2, len = strlen(rows[i].plain) / 2;
			uint8_t raw[SEAL_KEY_LEN], nonce[SEAL_SALT_LEN], ad[16], plain[16];
			uint8_t want[16], want_tag[16], out[16], tag[16];
			struct seal_key k;

			assert_true(hash_unhex(rows[i].key, raw, sizeof(raw)));
			assert_true(hash_unhex(rows[i].nonce, nonce, sizeof(nonce)));
			assert_true(hash_unhex(rows[i].ad, ad, ad_len));
			assert_true(hash_unhex(rows[i].plain, plain, len));
			assert_true(hash_unhex(rows[i].sealed, want, len));
			assert_true(hash_unhex(rows[i].tag, want_tag, 16));
			k = key_of(*b, raw, nonce);
			(*b)->encrypt(k.state, nonce, ad, ad_len, plain, len, out, tag);
			assert_memory_equal(out, want, len);
			assert_memory_equal(tag, want_tag, 16);
			assert_true((*b)->decrypt(k.state, nonce, ad, ad_len, out, len, tag));
			assert_memory_equal(out, plain, len);
			seal_key_done(*b, &k);
		}
	}
}

static void test_each_other_s_oracle(void **state)
{
	static uint8_t plain[PLAIN_MAX], first[ROOM], other[ROOM];
	const struct seal_backend *const *all = seal_backends();
	uint8_t raw[SEAL_KEY_LEN], salt[SEAL_SALT_LEN];

	(void)state;
	for (int round = 0; round < 1500; round++) {
		/* Every short length, then random ones up to 9100. */
		size_t len = round < 300 ? (size_t)round : randombytes_uniform(PLAIN_MAX + 1);
		enum message_mode mode = round & 1 ? MESSAGE_MODE_GMAC : MESSAGE_MODE_GCM;
		uint8_t lane = (uint8_t)randombytes_uniform(MESSAGE_LANES_MAX);
		uint32_t receiver = randombytes_random();
		uint64_t counter = (uint64_t)randombytes_random() << 32 | randombytes_random();
		size_t total = 0;

		randombytes_buf(plain, len);
		randombytes_buf(raw, sizeof(raw));
		randombytes_buf(salt, sizeof(salt));
		for (const struct seal_backend *const *b = all; *b; b++) {
			uint8_t *dst = b == all ? first : other;
			struct seal_key k = key_of(*b, raw, salt);

			total = seal_frame(*b, &k, mode, lane, receiver, counter, plain, len, dst);
			assert_int_equal(total, 16 + len + 16);
			assert_memory_equal(dst, first, total);
			seal_key_done(*b, &k);
			assert_true(sodium_is_zero((uint8_t *)&k, sizeof(k)));
		}
		if (mode == MESSAGE_MODE_GMAC)
			assert_memory_equal(first + 16, plain, len);
		for (const struct seal_backend *const *b = all; *b; b++) {
			struct seal_key k = key_of(*b, raw, salt);

			memcpy(other, first, total);
			assert_true(open_frame(*b, &k, other, total));
			assert_memory_equal(other + 16, plain, len);
			seal_key_done(*b, &k);
		}
	}
}

static void test_header_and_nonce(void **state)
{
	/* The fields of §4.1 at their places, and the nonce of §4.3 spelled out by hand. */
	const struct seal_backend *b = seal_backend_find(NULL);
	static const uint8_t raw[SEAL_KEY_LEN] = {7};
	static const uint8_t salt[SEAL_SALT_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
	static const uint8_t nonce[12] = {1, 2, 3, 4 ^ 0x3f, 5 ^ 0x10, 6 ^ 0x20, 7 ^ 0x30, 8 ^ 0x40,
		9 ^ 0x50, 10 ^ 0x60, 11 ^ 0x70, 12 ^ 0x80};
	static const uint8_t header[16] = {4, 0x3f, 0, 0, 0xdd, 0xcc, 0xbb, 0xaa, 0x10, 0x20, 0x30,
		0x40, 0x50, 0x60, 0x70, 0x80};
	uint8_t plain[40], msg[72], body[40], tag[16];
	struct seal_key k = key_of(b, raw, salt);

	(void)state;
	memset(plain, 0xe7, sizeof(plain));
	assert_int_equal(seal_frame(b, &k, MESSAGE_MODE_GCM, 0x3f, 0xaabbccdd, 0x1020304050607080,
				 plain, sizeof(plain), msg),
		72);
	assert_memory_equal(msg, header, 16);
	b->encrypt(k.state, nonce, header, 16, plain, sizeof(plain), body, tag);
	assert_memory_equal(msg + 16, body, 40);
	assert_memory_equal(msg + 56, tag, 16);
	seal_key_done(b, &k);
}

static void test_every_flipped_bit_is_noticed(void **state)
{
	enum { LEN = 70 };
	uint8_t plain[LEN], raw[SEAL_KEY_LEN], salt[SEAL_SALT_LEN];
	uint8_t msg[16 + LEN + 16], copy[sizeof(msg)];

	(void)state;
	randombytes_buf(plain, sizeof(plain));
	randombytes_buf(raw, sizeof(raw));
	randombytes_buf(salt, sizeof(salt));
	for (const struct seal_backend *const *b = seal_backends(); *b; b++) {
		struct seal_key k = key_of(*b, raw, salt);

		for (int mode = 0; mode < 2; mode++) {
			size_t n = seal_frame(
				*b, &k, (enum message_mode)mode, 1, 77, 5, plain, LEN, msg);

			for (size_t bit = 0; bit < n * 8; bit++) {
				memcpy(copy, msg, n);
				copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
				assert_false(open_frame(*b, &k, copy, n));
			}
			for (size_t len = 0; len < n; len++) { /* cut off at any place */
				memcpy(copy, msg, n);
				assert_false(open_frame(*b, &k, copy, len));
			}
			memcpy(copy, msg, n);
			assert_true(open_frame(*b, &k, copy, n));
		}
		seal_key_done(*b, &k);
	}
}

static void test_unaligned_buffers(void **state)
{
	static uint8_t plain[PLAIN_MAX + 64], msg[ROOM + 64];
	uint8_t raw[SEAL_KEY_LEN], salt[SEAL_SALT_LEN];

	(void)state;
	randombytes_buf(plain, sizeof(plain));
	randombytes_buf(raw, sizeof(raw));
	randombytes_buf(salt, sizeof(salt));
	for (const struct seal_backend *const *b = seal_backends(); *b; b++) {
		struct seal_key k = key_of(*b, raw, salt);

		for (size_t off = 0; off < 64; off++) {
			size_t n = seal_frame(*b, &k, MESSAGE_MODE_GCM, 0, 1, off, plain + off,
				1500, msg + 63 - off);

			assert_true(open_frame(*b, &k, msg + 63 - off, n));
			assert_memory_equal(msg + 63 - off + 16, plain + off, 1500);
		}
		seal_key_done(*b, &k);
	}
}

struct shared {
	const struct seal_backend *backend;
	const struct seal_key *key;
	atomic_uint lanes;
	atomic_uint wrong;
};

static void *seal_and_open(void *arg)
{
	struct shared *s = arg;
	uint8_t lane = (uint8_t)atomic_fetch_add(&s->lanes, 1);
	uint8_t plain[600], msg[632];

	for (uint64_t c = 0; c < 4000; c++) {
		size_t len = c % sizeof(plain);

		memset(plain, (int)(c + lane), len);
		size_t n = seal_frame(s->backend, s->key,
			c & 1 ? MESSAGE_MODE_GMAC : MESSAGE_MODE_GCM, lane, 3, c, plain, len, msg);
		if (!open_frame(s->backend, s->key, msg, n) || memcmp(msg + 16, plain, len) != 0)
			atomic_fetch_add(&s->wrong, 1);
	}
	return NULL;
}

static void test_one_key_in_many_threads(void **state)
{
	/* More threads than any back end's pool holds contexts. */
	enum { THREADS = 12 };
	static const uint8_t raw[SEAL_KEY_LEN] = {1}, salt[SEAL_SALT_LEN] = {2};

	(void)state;
	for (const struct seal_backend *const *b = seal_backends(); *b; b++) {
		struct seal_key k = key_of(*b, raw, salt);
		struct shared s = {.backend = *b, .key = &k};
		pthread_t threads[THREADS];

		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, seal_and_open, &s), 0);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(atomic_load(&s.wrong), 0);
		seal_key_done(*b, &k);
	}
}

static void test_blocks(void **state)
{
	(void)state;
	assert_int_equal(seal_blocks(0), 1);
	assert_int_equal(seal_blocks(1), 2);
	assert_int_equal(seal_blocks(16), 2);
	assert_int_equal(seal_blocks(17), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_and_names),
		cmocka_unit_test(test_known_answers),
		cmocka_unit_test(test_each_other_s_oracle),
		cmocka_unit_test(test_header_and_nonce),
		cmocka_unit_test(test_every_flipped_bit_is_noticed),
		cmocka_unit_test(test_unaligned_buffers),
		cmocka_unit_test(test_one_key_in_many_threads),
		cmocka_unit_test(test_blocks),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
