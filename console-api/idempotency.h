/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idempotency-Key: a POST that is sent again with the same key is not done again; it gets the
 * answer of the first time. For IDEM_KEEP_S, or until its organization has had IDEM_MAX newer ones;
 * an answer counts once for each IDEM_ANSWER_UNIT of it that was begun, so their room is bounded too.
 *
 *   /idem/APIKEY/HASH      {at, request, status, answer}; HASH: of the Idempotency-Key; at: seconds
 *                          since 1970; request: SHA-256 of method, target and body
 *   /idem-at/ORG/TIME-RANDOM   "APIKEY/HASH": the same by age, in the organization of the request
 *
 * The row is put in the transaction that the request is about, so that there is one exactly when
 * it was done. Its answer (which may hold a join token or an API key) is added right after: sealed
 * under a key that is made of the API key and the Idempotency-Key, neither of which the store knows,
 * so a copy of the store opens none of it. A row without an answer is of a request that is being
 * handled, by another console, or of one whose console ended at this very moment.
 */
#ifndef CONSOLE_API_IDEMPOTENCY_H
#define CONSOLE_API_IDEMPOTENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "console-api/registry.h"

#define IDEM_KEEP_S      86400
#define IDEM_MAX         20000
#define IDEM_ANSWER_MAX  65536 /* bytes; a longer one is not kept */
#define IDEM_ANSWER_UNIT 4096
#define IDEM_KEY_MAX     128

/* What identifies a request. All borrowed. */
struct idem_request {
	const char *idempotency_key;
	const char *credential; /* the API key's text; never stored */
	const char *key_id;     /* of the API key */
	const char *org;
	const char *method, *target;
	const void *body;
	size_t body_len;
};

/* One request that is being handled. registry->idem points to it meanwhile. */
struct idem {
	char key[REGISTRY_KEY_MAX];
	char org[NETMAP_ID_MAX + 1];
	char request[65];
	uint8_t seal[32];
	uint64_t now_s;
	bool marked; /* the row is in the store */
};

struct idem_answer {
	int status;
	struct json_object *body; /* owned by the caller; NULL: none */
};

/*
 * 0: to be handled, *ret_idem is for idem_done(). IDEM_ANSWERED: it was, with *ret_answer. Otherwise
 * a problem: 400 for a key that is none, 422 idempotency_key_reused with another body or path, 409
 * request_in_flight, 409 answer_lost.
 */
#define IDEM_ANSWERED 1
int idem_begin(struct registry *r, const struct idem_request *request, uint64_t now_s,
	struct idem *ret_idem, struct idem_answer *ret_answer, struct problem *p);
/* Keeps the answer (body may be NULL) where something was committed; wipes idem. */
void idem_done(struct registry *r, struct idem *idem, int status, struct json_object *body);
void idem_wipe(struct idem *idem);

/* For registry_transact(): adds the row. 409 request_in_flight when it is there by now. */
int idem_build(struct registry *r, struct store_txn *txn, struct idem *idem, struct problem *p);

/* Removes what is too old, or too much, of one organization after the other; a bounded piece of work. */
void idem_prune(struct registry *r, uint64_t now_s);

#endif
