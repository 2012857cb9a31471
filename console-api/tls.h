/* SPDX-License-Identifier: Apache-2.0 */
/* The console's own TLS key and self-signed certificate: nodes know the console by the pin of the
 * key (RFC 7469 §2.4: SHA-256 of the SubjectPublicKeyInfo), so no authority is needed. */
#ifndef CONSOLE_API_TLS_H
#define CONSOLE_API_TLS_H

#include <stdint.h>
#include "lib/err.h"

struct tls_identity {
	char *key_pem;  /* heap; wiped by tls_done() */
	char *cert_pem; /* heap */
	uint8_t pin[32];
};

/*
 * Reads DIR/tls.key, DIR/tls.crt, or makes what is missing: the key is ECDSA P-256, the certificate
 * names `host`, localhost and the loopback addresses. A certificate that is about to expire or is
 * of another key is made again from the key, so the pin stays. DIR/tls.pin is written where it
 * differs.
 */
int tls_load_or_create(
	const char *dir, const char *host, struct tls_identity *ret_id, struct err *e);
void tls_done(struct tls_identity *id);

#endif
