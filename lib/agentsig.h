/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an agent proves to the registry who it is: every request carries
 *
 *   Authorization: VAN-Ed25519 node=ID,time=UNIX,nonce=HEX32,sig=BASE64
 *
 * where sig is the Ed25519 signature (RFC 8032) over
 *
 *   "VANagent1\n" METHOD "\n" PATH?QUERY "\n" hex(sha256(body)) "\n" CONSOLE_ID "\n" UNIX "\n"
 * HEX32
 *
 * The registry stores only the public key, so its database holds no usable credential; the console
 * id keeps a signature from being carried to another mesh; time (window AGENTSIG_WINDOW_S) and
 * nonce keep it from being used twice.
 */
#ifndef LIB_AGENTSIG_H
#define LIB_AGENTSIG_H

#include <stddef.h>
#include <stdint.h>
#include "lib/err.h"
#include "lib/key.h"

#define AGENTSIG_WINDOW_S   300
#define AGENTSIG_HEADER_MAX 384
#define AGENTSIG_ID_MAX     64

struct agentsig_request {
	const char *method;
	const char *path; /* with its query */
	const void *body;
	size_t body_len;
	const char *console_id;
};

struct agentsig {
	char node[AGENTSIG_ID_MAX + 1];
	uint64_t time_s; /* seconds since 1970, by the agent's clock plus its offset */
	uint8_t nonce[16];
	uint8_t signature[KEY_SIGN_LEN];
};

/* Makes the header's value ("VAN-Ed25519 node=…"). The nonce is drawn here. */
void agentsig_sign(const struct agentsig_request *r, const char *node_id, uint64_t time_s,
	const uint8_t sign_secret[KEY_SIGN_LEN], char ret_header[AGENTSIG_HEADER_MAX]);

/* Splits a header's value; -VAN_E_SYNTAX when it is not of this form. Verifies nothing. */
int agentsig_parse(const char *header, struct agentsig *ret_sig);

/* 0 if the signature is of this request by this key, else -VAN_E_UNAUTHENTIC. Time and nonce are
 * for the caller to judge. */
int agentsig_verify(const struct agentsig *sig, const struct agentsig_request *r,
	const struct key *sign_public);

#endif
