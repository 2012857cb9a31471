/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/tls.h"

#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/hash.h"
#include "lib/key.h"
#include "lib/log.h"
#include "lib/token.h"

#define FILE_MAX   (64u << 10)
#define VALID_DAYS 3650
#define RENEW_DAYS 30 /* before the end, at a start */
#define DAY_S      86400

static void cleanup_privkey(gnutls_x509_privkey_t *key)
{
	if (*key)
		gnutls_x509_privkey_deinit(*key);
}

static void cleanup_crt(gnutls_x509_crt_t *crt)
{
	if (*crt)
		gnutls_x509_crt_deinit(*crt);
}

static void cleanup_pubkey(gnutls_pubkey_t *key)
{
	if (*key)
		gnutls_pubkey_deinit(*key);
}

static void cleanup_datum(gnutls_datum_t *d)
{
	if (d->data)
		sodium_memzero(d->data, d->size);
	gnutls_free(d->data);
}

static int failed(struct err *e, const char *doing, int gnutls_rc)
{
	return err_set(e, -EIO, "TLS: %s: %s", doing, gnutls_strerror(gnutls_rc));
}

static int load_or_make_key(
	const char *path, gnutls_x509_privkey_t key, char **ret_pem, struct err *e)
{
	CLEANUP(datum) gnutls_datum_t out = {0};
	CLEANUP(free) char *data = NULL;
	size_t len;
	int g;
	int rc = file_read(path, FILE_MAX, &data, &len, e);

	if (!rc) {
		gnutls_datum_t pem = {(unsigned char *)data, (unsigned int)len};

		g = gnutls_x509_privkey_import(key, &pem, GNUTLS_X509_FMT_PEM);
		if (g < 0) {
			sodium_memzero(data, len);
			return err_set(e, -VAN_E_CORRUPT,
				"%s is not a private key (%s): restore it from a backup, or remove it for a "
				"new one with another pin",
				path, gnutls_strerror(g));
		}
		*ret_pem = STEAL(data);
		return 0;
	}
	if (rc != -ENOENT)
		return rc;
	g = gnutls_x509_privkey_generate(
		key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (g >= 0)
		g = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &out);
	if (g < 0)
		return failed(e, "making the key", g);
	rc = file_write_atomic(path, out.data, out.size, 0600, e);
	if (!rc)
		*ret_pem = xasprintf("%.*s", (int)out.size, out.data);
	return rc;
}

static int pin_of(gnutls_x509_privkey_t key, uint8_t ret_pin[32], struct err *e)
{
	CLEANUP(pubkey) gnutls_pubkey_t pub = NULL;
	CLEANUP(datum) gnutls_datum_t der = {0};
	gnutls_privkey_t abstract;
	int g = gnutls_privkey_init(&abstract);

	if (g < 0)
		return failed(e, "reading the key", g);
	g = gnutls_privkey_import_x509(abstract, key, GNUTLS_PRIVKEY_IMPORT_COPY);
	if (g >= 0)
		g = gnutls_pubkey_init(&pub);
	if (g >= 0)
		g = gnutls_pubkey_import_privkey(pub, abstract, 0, 0);
	if (g >= 0)
		g = gnutls_pubkey_export2(pub, GNUTLS_X509_FMT_DER, &der);
	gnutls_privkey_deinit(abstract);
	if (g < 0)
		return failed(e, "reading the public key", g);
	hash_sha256(HASH_PIECES({der.data, der.size}), ret_pin);
	return 0;
}

/* An address goes in as an address, a name as a name. */
static int add_host(gnutls_x509_crt_t crt, const char *host)
{
	uint8_t ip[16];

	if (inet_pton(AF_INET, host, ip) == 1)
		return gnutls_x509_crt_set_subject_alt_name(
			crt, GNUTLS_SAN_IPADDRESS, ip, 4, GNUTLS_FSAN_APPEND);
	if (inet_pton(AF_INET6, host, ip) == 1)
		return gnutls_x509_crt_set_subject_alt_name(
			crt, GNUTLS_SAN_IPADDRESS, ip, 16, GNUTLS_FSAN_APPEND);
	return gnutls_x509_crt_set_subject_alt_name(
		crt, GNUTLS_SAN_DNSNAME, host, (unsigned int)strlen(host), GNUTLS_FSAN_APPEND);
}

static int describe(gnutls_x509_crt_t crt, const char *host)
{
	static const char name[] = "VAN console";
	static const char *const always[] = {"localhost", "127.0.0.1", "::1"};
	time_t now = time(NULL);
	uint8_t serial[16];
	int g;

	randombytes_buf(serial, sizeof(serial));
	serial[0] &= 0x7f; /* positive, RFC 5280 §4.1.2.2 */
	serial[0] |= 0x40;
	g = gnutls_x509_crt_set_version(crt, 3);
	if (g >= 0)
		g = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
	if (g >= 0)
		g = gnutls_x509_crt_set_dn_by_oid(
			crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, sizeof(name) - 1);
	if (g >= 0)
		g = gnutls_x509_crt_set_activation_time(crt, now - DAY_S);
	if (g >= 0)
		g = gnutls_x509_crt_set_expiration_time(crt, now + (time_t)VALID_DAYS * DAY_S);
	/* Its own authority, so that it can be given to clients as a CA file. */
	if (g >= 0)
		g = gnutls_x509_crt_set_basic_constraints(crt, 1, 0);
	if (g >= 0)
		g = gnutls_x509_crt_set_key_usage(
			crt, GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_CERT_SIGN);
	if (g >= 0)
		g = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (g >= 0)
		g = add_host(crt, host);
	for (size_t i = 0; g >= 0 && i < sizeof(always) / sizeof(always[0]); i++)
		if (strcmp(always[i], host) != 0)
			g = add_host(crt, always[i]);
	return g;
}

static int make_cert(const char *path, const char *host, gnutls_x509_privkey_t key, char **ret_pem,
	struct err *e)
{
	CLEANUP(crt) gnutls_x509_crt_t crt = NULL;
	CLEANUP(datum) gnutls_datum_t out = {0};
	int g = gnutls_x509_crt_init(&crt);
	int rc;

	if (g >= 0)
		g = gnutls_x509_crt_set_key(crt, key);
	if (g >= 0)
		g = describe(crt, host);
	if (g >= 0)
		g = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
	if (g >= 0)
		g = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out);
	if (g < 0)
		return failed(e, "making the certificate", g);
	rc = file_write_atomic(path, out.data, out.size, 0644, e);
	if (!rc)
		*ret_pem = xasprintf("%.*s", (int)out.size, out.data);
	return rc;
}

/* True when the certificate is of this key and host, and good for a while. */
static bool cert_fits(const char *pem, size_t len, gnutls_x509_privkey_t key, const char *host)
{
	CLEANUP(crt) gnutls_x509_crt_t crt = NULL;
	gnutls_datum_t in = {(unsigned char *)(uintptr_t)pem, (unsigned int)len};
	uint8_t of_cert[32], of_key[32];
	size_t a = sizeof(of_cert), b = sizeof(of_key);

	return gnutls_x509_crt_init(&crt) >= 0 &&
	       gnutls_x509_crt_import(crt, &in, GNUTLS_X509_FMT_PEM) >= 0 &&
	       gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, of_cert, &a) >= 0 &&
	       gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &b) >= 0 &&
	       a == b && !memcmp(of_cert, of_key, a) &&
	       gnutls_x509_crt_get_expiration_time(crt) > time(NULL) + (time_t)RENEW_DAYS * DAY_S &&
	       gnutls_x509_crt_check_hostname(crt, host);
}

static int load_or_make_cert(const char *path, const char *host, gnutls_x509_privkey_t key,
	char **ret_pem, struct err *e)
{
	CLEANUP(free) char *data = NULL;
	size_t len;
	int rc = file_read(path, FILE_MAX, &data, &len, e);

	if (rc && rc != -ENOENT)
		return rc;
	if (rc || !cert_fits(data, len, key, host))
		return make_cert(path, host, key, ret_pem, e);
	*ret_pem = STEAL(data);
	return 0;
}

static int write_pin(const char *path, const uint8_t pin[32], struct err *e)
{
	CLEANUP(free) char *have = NULL;
	char bare[53], text[64];
	size_t len;

	token_pin_text(pin, bare);
	snprintf(text, sizeof(text), "%s\n", bare);
	if (!file_read(path, 256, &have, &len, NULL) && !strcmp(have, text))
		return 0;
	return file_write_atomic(path, text, strlen(text), 0644, e);
}

int tls_load_or_create(
	const char *dir, const char *host, struct tls_identity *ret_id, struct err *e)
{
	CLEANUP(privkey) gnutls_x509_privkey_t key = NULL;
	CLEANUP(free) char *key_path = xasprintf("%s/tls.key", dir);
	CLEANUP(free) char *cert_path = xasprintf("%s/tls.crt", dir);
	CLEANUP(free) char *pin_path = xasprintf("%s/tls.pin", dir);
	struct tls_identity id = {0};
	int g = gnutls_x509_privkey_init(&key);
	int rc;

	if (g < 0)
		return failed(e, "start", g);
	rc = load_or_make_key(key_path, key, &id.key_pem, e);
	if (!rc)
		rc = load_or_make_cert(cert_path, host, key, &id.cert_pem, e);
	if (!rc)
		rc = pin_of(key, id.pin, e);
	if (!rc)
		rc = write_pin(pin_path, id.pin, e);
	if (rc) {
		tls_done(&id);
		return rc;
	}
	*ret_id = id;
	return 0;
}

void tls_done(struct tls_identity *id)
{
	if (id->key_pem)
		sodium_memzero(id->key_pem, strlen(id->key_pem));
	free(id->key_pem);
	free(id->cert_pem);
	*id = (struct tls_identity){0};
}
