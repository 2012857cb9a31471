/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/idempotency.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/key.h"

#define IN_FLIGHT_S 30
#define PRUNE_STEP  40 /* rows in one transaction */
#define PRUNE_STEPS 25
#define PRUNE_ORGS  16

static bool key_valid(const char *key)
{
	size_t len = strlen(key);

	if (!len || len > IDEM_KEY_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (key[i] < ' ' || key[i] > '~')
			return false;
	return true;
}

/* Each piece with its length, so that no two lists of pieces are the same bytes. */
static void identify(const struct idem_request *request, struct idem *idem)
{
	const uint32_t lens[] = {(uint32_t)strlen(request->method),
		(uint32_t)strlen(request->target), (uint32_t)strlen(request->org),
		(uint32_t)request->body_len};
	uint8_t hash[HASH_LEN];
	char hex[2 * HASH_LEN + 1];

	hash_sha256(HASH_PIECES({lens, sizeof(lens)}, {request->method, lens[0]},
			    {request->target, lens[1]}, {request->org, lens[2]},
			    {request->body, request->body_len}),
		hash);
	hash_hex(hash, sizeof(hash), idem->request);
	hash_sha256(
		HASH_PIECES({request->idempotency_key, strlen(request->idempotency_key)}), hash);
	hash_hex(hash, sizeof(hash), hex);
	snprintf(idem->org, sizeof(idem->org), "%s", request->org);
	snprintf(idem->key, sizeof(idem->key), "/idem/%.40s/%.32s", request->key_id, hex);
	hash_hmac(request->credential, strlen(request->credential),
		HASH_PIECES({"VANidempotency1", 15},
			{request->idempotency_key, strlen(request->idempotency_key)}),
		idem->seal);
}

/* -- answers -- */

/* base64 of nonce and box; heap. */
static char *seal(const struct idem *idem, const char *text, size_t len)
{
	size_t size = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + len;
	CLEANUP(free) uint8_t *raw = xcalloc(1, size);
	char *sealed = xcalloc(1, key_base64_len(size));

	randombytes_buf(raw, crypto_secretbox_NONCEBYTES);
	crypto_secretbox_easy(
		raw + crypto_secretbox_NONCEBYTES, (const uint8_t *)text, len, raw, idem->seal);
	key_base64(raw, size, true, sealed);
	return sealed;
}

/* False when it is damaged, or was sealed with another key. *ret_body may be NULL: null. */
static bool unseal(const struct idem *idem, const char *sealed, struct json_object **ret_body)
{
	size_t size = strlen(sealed), len;
	CLEANUP(free) uint8_t *raw = xcalloc(1, size + 1);
	CLEANUP(free) char *text = NULL;
	size_t head = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;
	bool right;

	if (key_unbase64(sealed, true, raw, size + 1, &len) || len < head)
		return false;
	text = xcalloc(1, len - head + 1);
	right = !crypto_secretbox_open_easy((uint8_t *)text, raw + crypto_secretbox_NONCEBYTES,
			len - crypto_secretbox_NONCEBYTES, raw, idem->seal) &&
		!json_parse(text, len - head, ret_body, NULL);
	sodium_memzero(text, len - head);
	return right;
}

static int in_flight(struct problem *p)
{
	int rc = problem_set(p, 409, "request_in_flight",
		"a request with this Idempotency-Key is being handled: ask again in a moment");

	p->retry_after_s = 1;
	return rc;
}

static int replay(const struct idem *idem, struct json_object *row, struct idem_answer *ret_answer,
	struct problem *p)
{
	const char *sealed = record_text(row, "answer");

	if (strcmp(record_text(row, "request"), idem->request) != 0)
		return problem_set(p, 422, "idempotency_key_reused",
			"this Idempotency-Key was used for another request: make a new one for each");
	if (!sealed[0] && (uint64_t)record_int(row, "at") + IN_FLIGHT_S > idem->now_s)
		return in_flight(p);
	if (!sealed[0] || !unseal(idem, sealed, &ret_answer->body))
		return problem_set(p, 409, "answer_lost",
			"the request was carried out, but its answer is not known any more: look "
			"what there is, and take a new Idempotency-Key for anything else");
	ret_answer->status = (int)record_int(row, "status");
	return IDEM_ANSWERED;
}

int idem_begin(struct registry *r, const struct idem_request *request, uint64_t now_s,
	struct idem *ret_idem, struct idem_answer *ret_answer, struct problem *p)
{
	struct idem idem = {.now_s = now_s};
	CLEANUP(record) struct record row = {0};
	int rc;

	*ret_answer = (struct idem_answer){0};
	if (!key_valid(request->idempotency_key))
		return problem_set(p, 400, "invalid",
			"Idempotency-Key must have 1 to %d printable ASCII characters",
			IDEM_KEY_MAX);
	identify(request, &idem);
	rc = registry_load(r, idem.key, &row, p);
	if (!rc && (uint64_t)record_int(row.o, "at") + IDEM_KEEP_S > now_s)
		rc = replay(&idem, row.o, ret_answer, p);
	else if (rc == -ENOENT)
		rc = 0;
	if (!rc)
		*ret_idem = idem;
	sodium_memzero(&idem, sizeof(idem));
	return rc;
}

/* -- rows -- */

static void put_mark(struct store_txn *txn, const struct idem *idem)
{
	registry_put_index(txn,
		KEY("/idem-at/%s/%016llx-%08x", idem->org, (unsigned long long)clock_wall_ns(),
			randombytes_random()),
		idem->key + strlen("/idem/"));
}

static struct json_object *row_of(const struct idem *idem)
{
	struct json_object *row = json_object_new_object();

	json_set_int(row, "at", (int64_t)idem->now_s);
	json_set_string(row, "request", idem->request);
	return row;
}

int idem_build(struct registry *r, struct store_txn *txn, struct idem *idem, struct problem *p)
{
	CLEANUP(json) struct json_object *row = NULL;
	CLEANUP(record) struct record old = {0};
	int rc;

	if (idem->marked)
		return 0;
	rc = registry_load(r, idem->key, &old, p);
	if (rc && rc != -ENOENT)
		return rc;
	if (!rc && (uint64_t)record_int(old.o, "at") + IDEM_KEEP_S > idem->now_s)
		return in_flight(p);
	row = row_of(idem);
	store_txn_expect(txn, idem->key, old.mod_revision);
	registry_put(txn, idem->key, row);
	put_mark(txn, idem);
	return 0;
}

void idem_wipe(struct idem *idem)
{
	sodium_memzero(idem, sizeof(*idem));
}

void idem_done(struct registry *r, struct idem *idem, int status, struct json_object *body)
{
	const char *text = json_object_to_json_string_ext(
		body, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	CLEANUP(json) struct json_object *row = row_of(idem);
	CLEANUP(store_txn) struct store_txn txn;
	CLEANUP(free) char *sealed = NULL;

	store_txn_init(&txn);
	if (idem->marked && strlen(text) <= IDEM_ANSWER_MAX) {
		sealed = seal(idem, text, strlen(text));
		json_set_int(row, "status", status);
		json_set_string(row, "answer", sealed);
		registry_put(&txn, idem->key, row);
		for (size_t unit = IDEM_ANSWER_UNIT; unit < strlen(text); unit += IDEM_ANSWER_UNIT)
			put_mark(&txn, idem);
		store_commit(
			r->store, &txn, NULL); /* fails: then the answer is lost, and says so */
	}
	idem_wipe(idem);
}

/* -- pruning -- */

/* One transaction's worth of one organization, whose prefix is given. False when there is nothing more
 * to remove. */
static bool prune_step(struct registry *r, const char *prefix, uint64_t before_s, uint64_t *surplus)
{
	CLEANUP(store_items) struct store_items marks = {0};
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	if (store_range(r->store, prefix, NULL, PRUNE_STEP, &marks))
		return false;
	for (size_t i = 0; i < marks.count; i++) {
		CLEANUP(json) struct json_object *which = NULL;
		const char *value = marks.items[i].value;
		uint64_t at_s =
			strtoull(registry_key_tail(marks.items[i].key), NULL, 16) / NS_PER_S;
		CLEANUP(record) struct record row = {0};
		struct problem p = {0};

		if (at_s >= before_s && !*surplus)
			break;
		*surplus -= *surplus ? 1 : 0;
		store_txn_delete(&txn, marks.items[i].key);
		if (json_parse(value, strlen(value), &which, NULL) || !which)
			continue;
		/* A later request may have taken the key again: then the row is not this mark's. */
		if (!registry_load(r, KEY("/idem/%s", json_object_get_string(which)), &row, &p) &&
			(uint64_t)record_int(row.o, "at") <= at_s + 1)
			store_txn_delete(&txn, KEY("/idem/%s", json_object_get_string(which)));
	}
	return txn.op_count && !store_commit(r->store, &txn, NULL) && marks.more;
}

/* Of the next organization, in the order of their ids; also those that are gone. How many steps were
 * taken, steps_max at most. */
static unsigned int prune_next(struct registry *r, uint64_t before_s, unsigned int steps_max)
{
	CLEANUP(store_items) struct store_items next = {0};
	uint64_t count = 0, surplus;
	struct registry_key prefix;
	unsigned int steps = 1;
	const char *org;

	if (store_range(r->store, "/idem-at/", r->idem_pruned[0] ? r->idem_pruned : NULL, 1, &next))
		return 0;
	if (!next.count) {
		r->idem_pruned[0] = '\0'; /* and from the start again */
		return 0;
	}
	org = next.items[0].key + strlen("/idem-at/");
	prefix = registry_key("/idem-at/%.*s/", (int)strcspn(org, "/"), org);
	/* '~' comes after all that a key of a mark has in this place. */
	snprintf(r->idem_pruned, sizeof(r->idem_pruned), "/idem-at/%.*s/~", (int)strcspn(org, "/"),
		org);
	store_count(r->store, prefix.text, &count);
	surplus = count > IDEM_MAX ? count - IDEM_MAX : 0;
	while (prune_step(r, prefix.text, before_s, &surplus) && steps < steps_max)
		steps++;
	return steps;
}

void idem_prune(struct registry *r, uint64_t now_s)
{
	uint64_t before_s = now_s < IDEM_KEEP_S ? 0 : now_s - IDEM_KEEP_S;
	unsigned int steps = PRUNE_STEPS;

	for (unsigned int i = 0; i < PRUNE_ORGS && steps; i++)
		steps -= prune_next(r, before_s, steps);
}
