/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console's own TLS key and self-signed certificate: nodes know the console by the pin of the
 * key (RFC 7469 §2.4: SHA-256 of the SubjectPublicKeyInfo), so no authority is needed. In the state
 * directory:
 *
 *   tls.key  tls.crt  tls.pin     the pair in use; a certificate that is about to expire, or is of
 *                                 another key or host, is made again from the key: the pin stays
 *   tls.next.key  tls.next.pin    the key that will follow, while a change is under way
 *
 * A change of the key without a moment at which nodes know no right pin: the next key is made, and
 * its pin announced to all nodes beside that of the present one (consoles.h); when all have heard,
 * the next key takes the place of the present one.
 *
 * A key is made at the first start only, or when somebody asks for one: a console whose key is
 * missing would else be another one to its nodes, which must not happen because of a mount that came
 * late.
 */
#ifndef CONSOLE_API_TLS_H
#define CONSOLE_API_TLS_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>
#include "lib/err.h"

struct tls;

/* The host of "https://host:port", without the brackets of an IPv6 address; heap. */
char *tls_host_of(const char *url);
/* Reads what is in DIR. A certificate is made where it is missing (it names `host`, localhost and the
 * loopback addresses); a key (ECDSA P-256) only with make_key, and where nothing shows that there was
 * one: else -ENOENT. */
int tls_open(const char *dir, const char *host, bool make_key, struct tls **ret_tls, struct err *e);
/* Makes the first key of DIR, or a new one where it was lost; -EEXIST when there is one. */
int tls_make_key(const char *dir, struct err *e);
void tls_close(struct tls *t); /* NULL is fine; no handshake may be under way */

/* Reads the files again. *ret_changed: one of the keys is another one now. On failure the pair in
 * use stays in use. */
int tls_reload(struct tls *t, bool *ret_changed, struct err *e);
/* Makes the next key where there is none. */
int tls_make_next(struct tls *t, struct err *e);
/* The next key takes the place of the present one. -ENOENT when there is none. */
int tls_switch(struct tls *t, struct err *e);

const uint8_t *tls_pin(const struct tls *t);      /* 32 bytes */
const uint8_t *tls_next_pin(const struct tls *t); /* the same, or NULL: there is none */
/* The pair in use, for gnutls_certificate_retrieve_function2; valid until tls_close(). May be called
 * by another thread than the rest. */
void tls_give(struct tls *t, gnutls_pcert_st **ret_cert, unsigned int *ret_count,
	gnutls_privkey_t *ret_key);

#endif
