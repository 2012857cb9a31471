/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity file is five lines of text:
 *
 *   VAN identity 1
 *   x25519-secret BASE64
 *   x25519-public BASE64
 *   ed25519-seed BASE64
 *   ed25519-public BASE64
 *
 * The public halves follow from the secret ones. They stand there so that a damaged file is noticed
 * and does not silently make another node of this one.
 */
#include "lib/key.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"

#define IDENTITY_FIRST_LINE "VAN identity 1\n"
#define IDENTITY_FILE_MAX   1024

static int base64_variant(bool url)
{
	return url ? sodium_base64_VARIANT_URLSAFE_NO_PADDING : sodium_base64_VARIANT_ORIGINAL;
}

size_t key_base64_len(size_t len)
{
	return sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
}

void key_base64(const void *data, size_t len, bool url, char *ret_text)
{
	int variant = base64_variant(url);

	sodium_bin2base64(ret_text, sodium_base64_encoded_len(len, variant), data, len, variant);
}

int key_unbase64(const char *text, bool url, void *ret_data, size_t size, size_t *ret_len)
{
	size_t text_len = strlen(text), len = 0;
	size_t room = text_len / 4 * 3 + 3;
	uint8_t *data;
	int rc = 0;

	/* libsodium 1.0.18 takes some bytes above 0x7f for base64 characters. */
	for (size_t i = 0; i < text_len; i++) {
		if ((unsigned char)text[i] > 0x7f)
			return -VAN_E_SYNTAX;
	}
	data = malloc(room); /* ret_data is not to be touched on failure */
	if (!data)
		return -ENOMEM;
	if (sodium_base642bin(data, room, text, text_len, NULL, &len, NULL, base64_variant(url)) !=
			0 ||
		len > size) {
		rc = -VAN_E_SYNTAX;
	} else {
		if (len > 0)
			memcpy(ret_data, data, len);
		*ret_len = len;
	}
	sodium_memzero(data, room);
	free(data);
	return rc;
}

void key_format(const struct key *k, char ret_text[KEY_TEXT_LEN])
{
	key_base64(k->bytes, sizeof(k->bytes), false, ret_text);
}

bool key_parse(const char *text, struct key *ret_key)
{
	struct key k;
	size_t len;
	bool ok;

	if (strlen(text) != KEY_TEXT_LEN - 1)
		return false;
	ok = key_unbase64(text, false, k.bytes, sizeof(k.bytes), &len) == 0 && len == KEY_LEN;
	if (ok)
		*ret_key = k;
	sodium_memzero(&k, sizeof(k));
	return ok;
}

bool key_equal(const struct key *a, const struct key *b)
{
	return sodium_memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool key_is_zero(const struct key *k)
{
	return sodium_is_zero(k->bytes, sizeof(k->bytes));
}

/* -- identities -- */

/*
 * Five of the secret's bits have fixed values (RFC 7748 section 5). They are kept that way, for
 * otherwise damage to them would go unnoticed: the public key does not depend on them.
 */
static void clamp(struct key *secret)
{
	secret->bytes[0] &= 0xf8;
	secret->bytes[31] = (secret->bytes[31] & 0x7f) | 0x40;
}

static bool is_clamped(const struct key *secret)
{
	return (secret->bytes[0] & 0x07) == 0 && (secret->bytes[31] & 0xc0) == 0x40;
}

/* Completes an identity from its X25519 secret and its Ed25519 seed. */
static void identity_derive(struct identity *id, const uint8_t seed[crypto_sign_SEEDBYTES])
{
	crypto_scalarmult_base(id->public.bytes, id->secret.bytes);
	crypto_sign_seed_keypair(id->sign_public.bytes, id->sign_secret, seed);
}

void identity_generate(struct identity *ret_id)
{
	uint8_t seed[crypto_sign_SEEDBYTES];

	randombytes_buf(ret_id->secret.bytes, sizeof(ret_id->secret.bytes));
	clamp(&ret_id->secret);
	randombytes_buf(seed, sizeof(seed));
	identity_derive(ret_id, seed);
	sodium_memzero(seed, sizeof(seed));
}

void identity_wipe(struct identity *id)
{
	sodium_memzero(id, sizeof(*id));
}

/* Takes "NAME BASE64\n" from *pos. */
static bool take_line(char **pos, const char *name, struct key *ret_key)
{
	size_t name_len = strlen(name);
	char *value, *end;
	bool ok;

	if (strncmp(*pos, name, name_len) != 0 || (*pos)[name_len] != ' ')
		return false;
	value = *pos + name_len + 1;
	end = strchr(value, '\n');
	if (!end)
		return false;
	*end = '\0';
	ok = key_parse(value, ret_key);
	*pos = end + 1;
	return ok;
}

static bool identity_parse(char *text, size_t len, struct identity *ret_id)
{
	struct key public, seed, sign_public;
	struct identity id;
	char *pos;
	bool ok;

	if (strlen(text) != len ||
		strncmp(text, IDENTITY_FIRST_LINE, strlen(IDENTITY_FIRST_LINE)) != 0)
		return false;
	pos = text + strlen(IDENTITY_FIRST_LINE);
	ok = take_line(&pos, "x25519-secret", &id.secret) &&
	     take_line(&pos, "x25519-public", &public) && take_line(&pos, "ed25519-seed", &seed) &&
	     take_line(&pos, "ed25519-public", &sign_public) && *pos == '\0';
	if (ok) {
		identity_derive(&id, seed.bytes);
		ok = is_clamped(&id.secret) && key_equal(&id.public, &public) &&
		     key_equal(&id.sign_public, &sign_public);
	}
	if (ok)
		*ret_id = id;
	identity_wipe(&id);
	sodium_memzero(&seed, sizeof(seed));
	return ok;
}

static int identity_save(const char *path, const struct identity *id, struct err *e)
{
	char secret[KEY_TEXT_LEN], public[KEY_TEXT_LEN], seed_text[KEY_TEXT_LEN],
		sign_public[KEY_TEXT_LEN];
	char text[IDENTITY_FILE_MAX];
	struct key seed;
	int rc;

	crypto_sign_ed25519_sk_to_seed(seed.bytes, id->sign_secret);
	key_format(&id->secret, secret);
	key_format(&id->public, public);
	key_format(&seed, seed_text);
	key_format(&id->sign_public, sign_public);
	snprintf(text, sizeof(text),
		IDENTITY_FIRST_LINE "x25519-secret %s\nx25519-public %s\n"
				    "ed25519-seed %s\ned25519-public %s\n",
		secret, public, seed_text, sign_public);
	rc = file_write_atomic(path, text, strlen(text), 0600, e);
	sodium_memzero(text, sizeof(text));
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(seed_text, sizeof(seed_text));
	sodium_memzero(&seed, sizeof(seed));
	return rc;
}

int identity_load_or_create(const char *path, struct identity *ret_id, struct err *e)
{
	CLEANUP(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct identity id;
	char *text = NULL;
	struct stat st;
	size_t len;
	int rc;

	if (fd < 0 && errno != ENOENT) {
		rc = -errno;
		return err_set(e, rc, "cannot read the identity %s: %s", path, err_name(rc));
	}
	if (fd < 0) {
		identity_generate(&id);
		rc = identity_save(path, &id, e);
		if (rc == 0)
			*ret_id = id;
		identity_wipe(&id);
		return rc ? err_prefix(e, rc, "cannot keep a new identity") : 0;
	}
	rc = file_read_fd(fd, IDENTITY_FILE_MAX, &text, &len, e);
	if (rc && rc != -EFBIG)
		return err_prefix(e, rc, "cannot read the identity %s", path);
	if (rc == 0 && !identity_parse(text, len, &id))
		rc = -VAN_E_CORRUPT;
	if (text) {
		sodium_memzero(text, len);
		free(text);
	}
	if (rc)
		return err_set(e, -VAN_E_CORRUPT,
			"%s is not an identity or is damaged: put back a copy of it, or move it away "
			"to have this machine join as a new node",
			path);
	if (fstat(fd, &st) == 0 && (st.st_mode & 077))
		log_warn("%s holds secret keys and others may open it: chmod 600 it", path);
	*ret_id = id;
	identity_wipe(&id);
	return 0;
}
