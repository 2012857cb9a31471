/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/tls.h"

#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
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

/* A key with its certificate, as GnuTLS takes them. */
struct tls_pair {
	gnutls_pcert_st cert;
	gnutls_privkey_t key;
	uint8_t pin[32];
	struct tls_pair *before; /* the one that it replaced: handshakes may still be under way */
};

struct tls {
	char *dir, *host;
	_Atomic(struct tls_pair *) now;
	uint8_t next_pin[32];
	bool has_next;
};

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

static int load_key(const char *path, gnutls_x509_privkey_t key, struct err *e)
{
	CLEANUP(free) char *data = NULL;
	gnutls_datum_t pem;
	size_t len;
	int rc = file_read(path, FILE_MAX, &data, &len, e);
	int g;

	if (rc)
		return rc;
	pem = (gnutls_datum_t){(unsigned char *)data, (unsigned int)len};
	g = gnutls_x509_privkey_import(key, &pem, GNUTLS_X509_FMT_PEM);
	sodium_memzero(data, len);
	if (g < 0)
		return err_set(e, -VAN_E_CORRUPT,
			"%s is not a private key (%s): restore it from a backup, or remove it and make "
			"another with `console-api tls new`, which no node knows",
			path, gnutls_strerror(g));
	return 0;
}

static int make_key(const char *path, gnutls_x509_privkey_t key, struct err *e)
{
	CLEANUP(datum) gnutls_datum_t out = {0};
	int g;

	g = gnutls_x509_privkey_generate(
		key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (g >= 0)
		g = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &out);
	if (g < 0)
		return failed(e, "making the key", g);
	return file_write_atomic(path, out.data, out.size, 0600, e);
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

/* -- the pair -- */

static void pair_free(struct tls_pair *pair)
{
	while (pair) {
		struct tls_pair *before = pair->before;

		gnutls_pcert_deinit(&pair->cert);
		if (pair->key)
			gnutls_privkey_deinit(pair->key);
		free(pair);
		pair = before;
	}
}

/* NULL on a failure, which is -EIO. */
static struct tls_pair *pair_new(const char *cert_pem, gnutls_x509_privkey_t key, struct err *e)
{
	struct tls_pair *pair = xcalloc(1, sizeof(*pair));
	gnutls_datum_t pem = {(unsigned char *)(uintptr_t)cert_pem, (unsigned int)strlen(cert_pem)};
	int g = gnutls_pcert_import_x509_raw(&pair->cert, &pem, GNUTLS_X509_FMT_PEM, 0);

	if (g >= 0)
		g = gnutls_privkey_init(&pair->key);
	if (g >= 0)
		g = gnutls_privkey_import_x509(pair->key, key, GNUTLS_PRIVKEY_IMPORT_COPY);
	if (g < 0) {
		pair_free(pair);
		failed(e, "taking the key and its certificate", g);
		return NULL;
	}
	return pair;
}

static char *path_of(const struct tls *t, const char *name)
{
	return xasprintf("%s/%s", t->dir, name);
}

static bool is_there(const struct tls *t, const char *name)
{
	CLEANUP(free) char *path = path_of(t, name);

	return access(path, F_OK) == 0;
}

/* The key in use. make: where there is none, and never was. */
static int load_own(const struct tls *t, gnutls_x509_privkey_t key, bool make, struct err *e)
{
	CLEANUP(free) char *path = path_of(t, "tls.key");
	int rc = load_key(path, key, e);

	if (rc != -ENOENT)
		return rc;
	/* They are made after it. */
	if (make && !is_there(t, "tls.crt") && !is_there(t, "tls.pin"))
		return make_key(path, key, e);
	return err_set(e, -ENOENT,
		"%s is missing: nodes know this console by it, so put it back from a copy. If it is "
		"lost, `console-api tls new` makes another, and all nodes have to join again",
		path);
}

static int load_pair(const struct tls *t, bool make, struct tls_pair **ret_pair, struct err *e)
{
	CLEANUP(privkey) gnutls_x509_privkey_t key = NULL;
	CLEANUP(free) char *cert_path = path_of(t, "tls.crt");
	CLEANUP(free) char *pin_path = path_of(t, "tls.pin");
	CLEANUP(free) char *cert_pem = NULL;
	struct tls_pair *pair;
	int g = gnutls_x509_privkey_init(&key);
	int rc;

	if (g < 0)
		return failed(e, "start", g);
	rc = load_own(t, key, make, e);
	if (!rc)
		rc = load_or_make_cert(cert_path, t->host, key, &cert_pem, e);
	if (rc)
		return rc;
	pair = pair_new(cert_pem, key, e);
	if (!pair)
		return -EIO;
	rc = pin_of(key, pair->pin, e);
	if (!rc)
		rc = write_pin(pin_path, pair->pin, e);
	if (rc) {
		pair_free(pair);
		return rc;
	}
	*ret_pair = pair;
	return 0;
}

/* The pin of the key that is to follow, where there is one; make: also where there is not. */
static int load_next(struct tls *t, bool make, struct err *e)
{
	CLEANUP(privkey) gnutls_x509_privkey_t key = NULL;
	CLEANUP(free) char *key_path = path_of(t, "tls.next.key");
	uint8_t pin[32];
	int g = gnutls_x509_privkey_init(&key);
	int rc;

	if (g < 0)
		return failed(e, "start", g);
	rc = load_key(key_path, key, e);
	if (rc == -ENOENT && make)
		rc = make_key(key_path, key, e);
	if (rc == -ENOENT) {
		t->has_next = false;
		return 0;
	}
	if (!rc)
		rc = pin_of(key, pin, e);
	if (rc)
		return rc;
	memcpy(t->next_pin, pin, sizeof(pin));
	t->has_next = memcmp(pin, atomic_load(&t->now)->pin, sizeof(pin)) != 0;
	return 0;
}

/* -- the whole -- */

char *tls_host_of(const char *url)
{
	const char *host = url + strlen("https://");
	const char *end;

	if (host[0] == '[')
		return xasprintf("%.*s", (int)strcspn(host + 1, "]"), host + 1);
	end = strchr(host, ':');
	return xasprintf("%.*s", end ? (int)(end - host) : (int)strlen(host), host);
}

int tls_open(const char *dir, const char *host, bool make, struct tls **ret_tls, struct err *e)
{
	struct tls *t = xcalloc(1, sizeof(*t));
	struct tls_pair *pair = NULL;
	int rc;

	t->dir = xstrdup(dir);
	t->host = xstrdup(host);
	rc = load_pair(t, make, &pair, e);
	if (!rc) {
		atomic_init(&t->now, pair);
		rc = load_next(t, false, e);
	}
	if (rc) {
		tls_close(t);
		return rc;
	}
	*ret_tls = t;
	return 0;
}

int tls_make_key(const char *dir, struct err *e)
{
	CLEANUP(privkey) gnutls_x509_privkey_t key = NULL;
	CLEANUP(free) char *path = xasprintf("%s/tls.key", dir);
	int g = gnutls_x509_privkey_init(&key);

	if (g < 0)
		return failed(e, "start", g);
	if (access(path, F_OK) == 0)
		return err_set(e, -EEXIST,
			"there is %s already; `console-api tls next` is the way to another", path);
	return make_key(path, key, e);
}

void tls_close(struct tls *t)
{
	if (!t)
		return;
	pair_free(atomic_load(&t->now));
	free(t->dir);
	free(t->host);
	free(t);
}

int tls_reload(struct tls *t, bool *ret_changed, struct err *e)
{
	struct tls_pair *now = atomic_load(&t->now), *pair = NULL;
	bool had_next = t->has_next;
	uint8_t next_pin[32];
	int rc = load_pair(t, false, &pair, e);

	if (rc)
		return rc;
	*ret_changed = memcmp(pair->pin, now->pin, sizeof(pair->pin)) != 0;
	if (*ret_changed) {
		pair->before = now;
		atomic_store(&t->now, pair);
	} else {
		pair_free(pair);
	}
	memcpy(next_pin, t->next_pin, sizeof(next_pin));
	rc = load_next(t, false, e);
	*ret_changed |= had_next != t->has_next ||
			(had_next && memcmp(next_pin, t->next_pin, sizeof(next_pin)) != 0);
	return rc;
}

int tls_make_next(struct tls *t, struct err *e)
{
	CLEANUP(free) char *pin_path = path_of(t, "tls.next.pin");
	int rc = load_next(t, true, e);

	return rc ? rc : write_pin(pin_path, t->next_pin, e);
}

int tls_switch(struct tls *t, struct err *e)
{
	CLEANUP(free) char *next_path = path_of(t, "tls.next.key");
	CLEANUP(free) char *next_pin_path = path_of(t, "tls.next.pin");
	CLEANUP(free) char *path = path_of(t, "tls.key");
	CLEANUP(free) char *data = NULL;
	bool changed;
	size_t len;
	int rc;

	if (!t->has_next)
		return err_set(e, -ENOENT,
			"there is no next key: make one with `console-api tls next`, and wait until all "
			"nodes know it");
	rc = file_read(next_path, FILE_MAX, &data, &len, e);
	if (rc)
		return rc;
	/* Should it end here, both files have the same key, which load_next() understands; the
	 * certificate is of another one then, and load_pair() makes it anew. */
	rc = file_write_atomic(path, data, len, 0600, e);
	sodium_memzero(data, len);
	if (rc)
		return rc;
	unlink(next_path);
	unlink(next_pin_path);
	return tls_reload(t, &changed, e);
}

const uint8_t *tls_pin(const struct tls *t)
{
	return atomic_load(&t->now)->pin;
}

const uint8_t *tls_next_pin(const struct tls *t)
{
	return t->has_next ? t->next_pin : NULL;
}

void tls_give(struct tls *t, gnutls_pcert_st **ret_cert, unsigned int *ret_count,
	gnutls_privkey_t *ret_key)
{
	struct tls_pair *now = atomic_load(&t->now);

	*ret_cert = &now->cert;
	*ret_count = 1;
	*ret_key = now->key;
}
