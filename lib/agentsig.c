/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/agentsig.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/hash.h"

#define SCHEME      "VAN-Ed25519 "
#define ID_CHARS    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
#define NONCE_TEXT  32
#define SIGN_BASE64 88

/* The text that is signed; heap, NULL without memory. */
static char *signed_text(const struct agentsig_request *r, uint64_t time_s, const uint8_t nonce[16])
{
	uint8_t hash[HASH_LEN];
	char hash_text[2 * HASH_LEN + 1], nonce_text[NONCE_TEXT + 1];
	char *text;

	hash_sha256(HASH_PIECES({r->body, r->body_len}), hash);
	hash_hex(hash, sizeof(hash), hash_text);
	hash_hex(nonce, 16, nonce_text);
	if (asprintf(&text, "VANagent1\n%s\n%s\n%s\n%s\n%" PRIu64 "\n%s", r->method, r->path,
		    hash_text, r->console_id, time_s, nonce_text) < 0)
		return NULL;
	return text;
}

void agentsig_sign(const struct agentsig_request *r, const char *node_id, uint64_t time_s,
	const uint8_t sign_secret[KEY_SIGN_LEN], char ret_header[AGENTSIG_HEADER_MAX])
{
	uint8_t nonce[16], signature[KEY_SIGN_LEN];
	char nonce_text[NONCE_TEXT + 1], signature_text[SIGN_BASE64 + 1];

	randombytes_buf(nonce, sizeof(nonce));
	CLEANUP(free) char *text = signed_text(r, time_s, nonce);
	if (!text)
		abort(); /* as everywhere in the control plane where nothing can be returned */
	crypto_sign_detached(
		signature, NULL, (const unsigned char *)text, strlen(text), sign_secret);
	hash_hex(nonce, sizeof(nonce), nonce_text);
	key_base64(signature, sizeof(signature), false, signature_text);
	snprintf(ret_header, AGENTSIG_HEADER_MAX,
		SCHEME "node=%.*s,time=%" PRIu64 ",nonce=%s,sig=%s", AGENTSIG_ID_MAX, node_id,
		time_s, nonce_text, signature_text);
}

/* Copies "NAME=value" up to the end character (0: of the text) out of *pos, and moves on. */
static bool take_field(const char **pos, const char *name, char end, char *ret_value, size_t size)
{
	size_t name_len = strlen(name), len;
	const char *value = *pos + name_len;
	const char *stop;

	if (strncmp(*pos, name, name_len) != 0)
		return false;
	stop = strchr(value, end);
	if (!stop)
		return false;
	len = (size_t)(stop - value);
	if (len == 0 || len >= size)
		return false;
	memcpy(ret_value, value, len);
	ret_value[len] = '\0';
	*pos = end ? stop + 1 : stop;
	return true;
}

/* Digits only and no leading zero: the value's text is part of what was signed. */
static bool parse_time(const char *text, uint64_t *ret_time_s)
{
	char *end;

	if (text[0] < '0' || text[0] > '9' || (text[0] == '0' && text[1] != '\0'))
		return false;
	errno = 0;
	*ret_time_s = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

int agentsig_parse(const char *header, struct agentsig *ret_sig)
{
	char time_text[21], nonce_text[NONCE_TEXT + 1], signature_text[SIGN_BASE64 + 1];
	const char *pos = header;
	struct agentsig sig;
	size_t len;

	if (strncmp(pos, SCHEME, strlen(SCHEME)) != 0)
		return -VAN_E_SYNTAX;
	pos += strlen(SCHEME);
	if (!take_field(&pos, "node=", ',', sig.node, sizeof(sig.node)) ||
		!take_field(&pos, "time=", ',', time_text, sizeof(time_text)) ||
		!take_field(&pos, "nonce=", ',', nonce_text, sizeof(nonce_text)) ||
		!take_field(&pos, "sig=", '\0', signature_text, sizeof(signature_text)))
		return -VAN_E_SYNTAX;
	if (strspn(sig.node, ID_CHARS) != strlen(sig.node) || !parse_time(time_text, &sig.time_s) ||
		!hash_unhex(nonce_text, sig.nonce, sizeof(sig.nonce)) ||
		key_unbase64(signature_text, false, sig.signature, sizeof(sig.signature), &len) !=
			0 ||
		len != sizeof(sig.signature))
		return -VAN_E_SYNTAX;
	*ret_sig = sig;
	return 0;
}

int agentsig_verify(
	const struct agentsig *sig, const struct agentsig_request *r, const struct key *sign_public)
{
	/* A line break in a field would let one request's text pass for another's. */
	if (strchr(r->method, '\n') || strchr(r->path, '\n') || strchr(r->console_id, '\n'))
		return -VAN_E_UNAUTHENTIC;
	CLEANUP(free) char *text = signed_text(r, sig->time_s, sig->nonce);
	if (!text)
		return -ENOMEM;
	if (crypto_sign_verify_detached(sig->signature, (const unsigned char *)text, strlen(text),
		    sign_public->bytes) != 0)
		return -VAN_E_UNAUTHENTIC;
	return 0;
}
