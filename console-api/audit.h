/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit trail: one row for each change, in the transaction that makes it, chained by hashes so
 * that a row that was altered, taken out, put in or moved afterwards is found.
 *
 * A row is the value of /audit/ORG/STAMP-CHAIN (ORG: the organization whose people see it, "-" for
 * none), one JSON object:
 *   {time, actor, address, org, request, action, kind, id, object, before, after, chain, seq,
 *   stamp, prev, hash}
 * before and after are the object without secrets and hashes (null where there is none); object is
 * a line for people. Every console has a chain of its own, so that consoles never wait for each
 * other: chain names it (store->instance), seq counts its rows from 1, stamp is nanoseconds since
 * 1970 in 16 hexadecimal digits and rises within the chain, prev is the hash of the row before (64
 * zeros in the first), and hash, the last member, is the SHA-256 of "VANaudit1" and the row's text
 * up to the comma before "hash". /audit-head/CHAIN {seq, hash, stamp} is its last row: the
 * transaction that adds a row compares it. /audit-base/CHAIN {seq, hash} is the last one that was
 * removed for its age: the chain starts after it. /audit-at/STAMP-CHAIN {org, seq, hash} says where a
 * row is: these are the rows of all organizations in the order of time.
 *
 * Who can write to the store's medium can make a chain anew from some row on, or cut off its end and
 * put the head back. So note the heads that `console-api audit verify` prints at another place, and
 * let it compare them later.
 */
#ifndef CONSOLE_API_AUDIT_H
#define CONSOLE_API_AUDIT_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include "console-api/registry.h"
#include "lib/hash.h"

#define AUDIT_HASH_DOMAIN "VANaudit1"

/*
 * Adds a row to a transaction that registry_transact() commits. action is "KIND.VERB"
 * ("network.create"); kind and id name the object; before and after (borrowed, NULL: none) are it
 * as stored or as the API shows it: members named secret, token, hash, key_hash, password and psk
 * are left out at any depth, and an object of more than AUDIT_OBJECT_MAX bytes is replaced by
 * {"omitted_bytes": N}.
 */
#define AUDIT_OBJECT_MAX 16384
void registry_audit_change(struct store_txn *txn, const struct actor *actor, const char *action,
	const char *kind, const char *id, struct json_object *before, struct json_object *after);

/*
 * Chains the rows of the transaction: called once, just before the commit. registry_transact() does
 * it; who calls store_commit() himself with a row in the transaction does it too.
 */
int audit_seal(struct store *s, struct store_txn *txn);

/* Removes up to max rows (fewer where the store takes fewer at once) that are older than limit_ns
 * (since 1970), oldest first. *ret_oldest_ns is the stamp of the oldest row left, UINT64_MAX without
 * one. */
int audit_prune(struct store *s, uint64_t limit_ns, size_t max, uint64_t *ret_oldest_ns);
/* Moves the rows of version 0.1.0 (/audit/STAMP-RANDOM, without chain and organization) to /audit/-/. */
int audit_migrate(struct store *s);

/* -- verification -- */

struct audit_chain {
	char *name; /* heap */
	uint64_t base_seq, head_seq;
	uint64_t seq; /* of the last row seen, base_seq before the first */
	char head_hash[2 * HASH_LEN + 1], hash[2 * HASH_LEN + 1];
	bool has_head;
	bool told;  /* that it has none */
	bool noted; /* the caller knows a row of it from elsewhere: */
	bool noted_found;
	uint64_t noted_seq;
	char noted_hash[2 * HASH_LEN + 1];
};

struct audit_report {
	struct audit_chain *chains; /* heap */
	size_t chain_count;
	uint64_t rows;      /* that are chained and right */
	uint64_t unchained; /* older than the first chain: of version 0.1.0 */
	bool chained;       /* there was a row of a chain */
	uint64_t faults;  /* rows that are not, and rows that are missing, as far as can be told */
	char broken[512]; /* the first of them */
	void (*fault)(void *ctx, const char *line); /* called for each of them; NULL: nobody */
	void *ctx;
};

/* A row that must be in the trail: a head that was printed and kept elsewhere. */
void audit_note(struct audit_report *report, const char *chain, uint64_t seq, const char *hash);
/* Walks the whole trail, from what is zero but for notes and fault; takes some 200 bytes of memory for
 * each row. 0 also when it is broken: see report->faults. */
int audit_verify(struct store *s, struct audit_report *report);
void audit_report_done(struct audit_report *report);

#endif
