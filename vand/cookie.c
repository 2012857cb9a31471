/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/cookie.h"

#include <sodium.h>
#include <string.h>
#include "lib/clock.h"
#include "lib/hash.h"

void cookie_keys_init(
	struct cookie_keys *k, const uint8_t mesh[MESSAGE_MESH_LEN], const struct key *public_key)
{
	hash_sha256(HASH_PIECES({"VANmac1", 7}, {mesh, MESSAGE_MESH_LEN}, {public_key, KEY_LEN}),
		k->mac1);
	hash_sha256(HASH_PIECES({"VANcookie", 9}, {mesh, MESSAGE_MESH_LEN}, {public_key, KEY_LEN}),
		k->cookie);
}

/* The first 16 bytes of HMAC-SHA256. */
static void short_mac(const uint8_t *key, size_t key_len, const uint8_t *data, size_t len,
	uint8_t ret_mac[MESSAGE_TAG_LEN])
{
	uint8_t mac[HASH_LEN];

	hash_hmac(key, key_len, HASH_PIECES({data, len}), mac);
	memcpy(ret_mac, mac, MESSAGE_TAG_LEN);
}

static size_t mac1_at(size_t len)
{
	return len - 2 * MESSAGE_TAG_LEN;
}

static size_t mac2_at(size_t len)
{
	return len - MESSAGE_TAG_LEN;
}

void cookie_add_macs(
	const struct cookie_keys *receiver, const uint8_t *cookie, uint8_t *msg, size_t len)
{
	short_mac(receiver->mac1, sizeof(receiver->mac1), msg, mac1_at(len), msg + mac1_at(len));
	if (cookie)
		short_mac(cookie, COOKIE_LEN, msg, mac2_at(len), msg + mac2_at(len));
	else
		memset(msg + mac2_at(len), 0, MESSAGE_TAG_LEN);
}

bool cookie_check_mac1(const struct cookie_keys *self, const uint8_t *msg, size_t len)
{
	uint8_t mac[MESSAGE_TAG_LEN];

	short_mac(self->mac1, sizeof(self->mac1), msg, mac1_at(len), mac);
	return sodium_memcmp(mac, msg + mac1_at(len), sizeof(mac)) == 0;
}

bool cookie_mac2_is_zero(const uint8_t *msg, size_t len)
{
	return sodium_is_zero(msg + mac2_at(len), MESSAGE_TAG_LEN);
}

/* -- load -- */

bool cookie_bucket_take(
	struct cookie_bucket *b, unsigned int rate, unsigned int burst, uint64_t now_ns)
{
	const uint64_t cost = NS_PER_S / rate;
	const uint64_t full = cost * burst;

	if (b->last_ns == 0)
		b->credit_ns = full;
	else if (now_ns > b->last_ns)
		b->credit_ns = now_ns - b->last_ns > full - b->credit_ns
				       ? full
				       : b->credit_ns + (now_ns - b->last_ns);
	if (now_ns > b->last_ns)
		b->last_ns = now_ns;
	if (b->last_ns == 0)
		b->last_ns = 1; /* it has been used: the clock's zero is no exception */
	if (b->credit_ns < cost)
		return false;
	b->credit_ns -= cost;
	return true;
}

void cookie_guard_init(struct cookie_guard *g)
{
	memset(g, 0, sizeof(*g));
	randombytes_buf(g->secret, sizeof(g->secret));
	randombytes_buf(g->table_key, sizeof(g->table_key));
}

void cookie_guard_wipe(struct cookie_guard *g)
{
	sodium_memzero(g, sizeof(*g));
}

bool cookie_under_load(struct cookie_guard *g, uint64_t now_ns)
{
	uint64_t second = now_ns / NS_PER_S;

	if (second != g->second) {
		g->inits_before = second == g->second + 1 ? g->inits : 0;
		g->inits = 0;
		g->second = second;
	}
	if (g->inits < UINT32_MAX)
		g->inits++;
	return g->inits > COOKIE_LOAD_PER_S || g->inits_before > COOKIE_LOAD_PER_S;
}

/* An IPv4-mapped IPv6 address is its IPv4 address: which of the two the kernel shows depends on the
 * socket. *ret_len: 4 or 16; 0 for anything else. */
static const uint8_t *address_bytes(const struct endpoint *e, size_t *ret_len)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const uint8_t *b = (const uint8_t *)&e->remote.in6.sin6_addr;

	switch (e->remote.sa.sa_family) {
	case AF_INET:
		*ret_len = 4;
		return (const uint8_t *)&e->remote.in.sin_addr;
	case AF_INET6:
		*ret_len = memcmp(b, mapped, sizeof(mapped)) == 0 ? 4 : 16;
		return *ret_len == 4 ? b + 12 : b;
	default:
		*ret_len = 0;
		return b;
	}
}

/* Every COOKIE_LIFETIME_NS a new secret; the last one stays good until the next. */
static void rotate_secrets(struct cookie_guard *g, uint64_t now_ns)
{
	uint64_t age = now_ns > g->secret_since_ns ? now_ns - g->secret_since_ns : 0;

	if (age < COOKIE_LIFETIME_NS)
		return;
	if (age < 2 * COOKIE_LIFETIME_NS)
		memcpy(g->secret[1], g->secret[0], sizeof(g->secret[1]));
	else
		randombytes_buf(g->secret[1], sizeof(g->secret[1]));
	randombytes_buf(g->secret[0], sizeof(g->secret[0]));
	g->secret_since_ns = now_ns;
}

static void cookie_of(
	const uint8_t secret[32], const struct endpoint *from, uint8_t ret_cookie[COOKIE_LEN])
{
	uint8_t mac[HASH_LEN];
	size_t len;
	const uint8_t *address = address_bytes(from, &len);
	uint16_t port = endpoint_port(from);

	hash_hmac(secret, 32, HASH_PIECES({address, len}, {&port, sizeof(port)}), mac);
	memcpy(ret_cookie, mac, COOKIE_LEN);
}

bool cookie_check_mac2(struct cookie_guard *g, const uint8_t *msg, size_t len,
	const struct endpoint *from, uint64_t now_ns)
{
	uint8_t cookie[COOKIE_LEN], mac[MESSAGE_TAG_LEN];

	rotate_secrets(g, now_ns);
	for (size_t i = 0; i < 2; i++) {
		cookie_of(g->secret[i], from, cookie);
		short_mac(cookie, sizeof(cookie), msg, mac2_at(len), mac);
		if (sodium_memcmp(mac, msg + mac2_at(len), sizeof(mac)) == 0)
			return true;
	}
	return false;
}

/* Of a set's ways the one with this prefix, else the one that was not used for longest: an attacker
 * with many addresses gets a full bucket for each anyway, and cannot make us forget one of his that
 * is in use without using the others. */
static struct cookie_address *find_address(struct cookie_guard *g, const uint8_t prefix[9])
{
	uint8_t hash[crypto_shorthash_BYTES];
	struct cookie_address *set, *oldest;

	crypto_shorthash(hash, prefix, 9, g->table_key);
	set = g->table[hash[0] % COOKIE_TABLE_SETS];
	oldest = &set[0];
	for (size_t i = 0; i < COOKIE_TABLE_WAYS; i++) {
		if (memcmp(set[i].prefix, prefix, 9) == 0)
			return &set[i];
		if (set[i].used_ns < oldest->used_ns)
			oldest = &set[i];
	}
	memset(oldest, 0, sizeof(*oldest));
	memcpy(oldest->prefix, prefix, 9);
	return oldest;
}

bool cookie_address_pass(
	struct cookie_guard *g, const struct endpoint *from, bool proven, uint64_t now_ns)
{
	struct cookie_address *a;
	uint8_t prefix[9] = {0};
	size_t len;
	const uint8_t *address = address_bytes(from, &len);

	prefix[0] = (uint8_t)len;
	memcpy(prefix + 1, address, len == 4 ? 4 : 8);
	a = find_address(g, prefix);
	a->used_ns = now_ns;
	return cookie_bucket_take(proven ? &a->proven : &a->unproven, COOKIE_ADDRESS_RATE,
		COOKIE_ADDRESS_BURST, now_ns);
}

/* -- COOKIE messages -- */

void cookie_create(struct cookie_guard *g, const struct cookie_keys *self, const uint8_t *msg,
	size_t len, uint32_t receiver, const struct endpoint *from, const uint8_t random[24],
	uint64_t now_ns, struct message_cookie *ret_cookie)
{
	struct message_cookie m = {.type = MESSAGE_COOKIE, .version = MESSAGE_VERSION};
	uint8_t cookie[COOKIE_LEN];

	rotate_secrets(g, now_ns);
	cookie_of(g->secret[0], from, cookie);
	message_set_index(m.receiver, receiver);
	memcpy(m.nonce, random, sizeof(m.nonce));
	crypto_aead_xchacha20poly1305_ietf_encrypt(m.cookie_sealed, NULL, cookie, sizeof(cookie),
		msg + mac1_at(len), MESSAGE_TAG_LEN, NULL, m.nonce, self->cookie);
	*ret_cookie = m;
}

bool cookie_open(const struct cookie_keys *sender, const struct message_cookie *msg,
	const uint8_t mac1[MESSAGE_TAG_LEN], uint8_t ret_cookie[COOKIE_LEN])
{
	uint8_t cookie[COOKIE_LEN];

	if (crypto_aead_xchacha20poly1305_ietf_decrypt(cookie, NULL, NULL, msg->cookie_sealed,
		    sizeof(msg->cookie_sealed), mac1, MESSAGE_TAG_LEN, msg->nonce,
		    sender->cookie) != 0)
		return false;
	memcpy(ret_cookie, cookie, COOKIE_LEN);
	return true;
}
