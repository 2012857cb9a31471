/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk meets the keys in their order: first the places of all rows in the order of time, which is
 * that of each chain too, then bases and heads, then the rows, organization by organization. Each row
 * is looked at by itself and leaves in its place what it was chained to; the chains are gone along at
 * the end.
 *
 * A row that is wrong is told, and the walk goes on as if it were right: what follows in its chain was
 * chained to what it, or its place, says of itself, so each row is told once, by its own fault. Only
 * a row that was made anew with a right hash, and its place too, is told by the one after it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/audit.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define HEX_LEN (2 * (size_t)HASH_LEN)

static struct audit_chain *chain_find(struct audit_report *report, const char *name)
{
	for (size_t i = 0; i < report->chain_count; i++)
		if (!strcmp(report->chains[i].name, name))
			return &report->chains[i];
	return NULL;
}

static struct audit_chain *chain_make(struct audit_report *report, const char *name)
{
	struct audit_chain *c = chain_find(report, name);

	if (c)
		return c;
	report->chains = xrealloc(report->chains, report->chain_count + 1, sizeof(*report->chains));
	c = &report->chains[report->chain_count++];
	*c = (struct audit_chain){.name = xstrdup(name)};
	memset(c->hash, '0', HEX_LEN);
	return c;
}

void audit_note(struct audit_report *report, const char *chain, uint64_t seq, const char *hash)
{
	struct audit_chain *c = chain_make(report, chain);

	c->noted = true;
	c->noted_seq = seq;
	snprintf(c->noted_hash, sizeof(c->noted_hash), "%s", hash);
}

void audit_report_done(struct audit_report *report)
{
	for (size_t i = 0; i < report->chain_count; i++)
		free(report->chains[i].name);
	free(report->chains);
	*report = (struct audit_report){0};
}

static void __attribute__((format(printf, 2, 3)))
tell(struct audit_report *report, const char *fmt, ...)
{
	char line[sizeof(report->broken)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (!report->faults++)
		memcpy(report->broken, line, sizeof(line));
	if (report->fault)
		report->fault(report->ctx, line);
}

static void check_note(struct audit_report *report, struct audit_chain *c)
{
	if (!c->noted || c->noted_seq != c->seq)
		return;
	c->noted_found = true;
	if (strcmp(c->noted_hash, c->hash) != 0)
		tell(report,
			"row %llu of chain %s is not the one that was noted: the chain was made anew",
			(unsigned long long)c->seq, c->name);
}

/* A base or a head: false when it is not what one looks like. */
static bool read_mark(struct audit_report *report, const struct store_item *item, bool is_base)
{
	CLEANUP(json) struct json_object *o = NULL;
	struct audit_chain *c;
	int64_t seq;

	if (json_parse(item->value, strlen(item->value), &o, NULL) ||
		strlen(record_text(o, "hash")) != HEX_LEN || record_int(o, "seq") < 1)
		return false;
	c = chain_make(report, registry_key_tail(item->key));
	seq = record_int(o, "seq");
	if (is_base) {
		c->base_seq = c->seq = (uint64_t)seq;
		memcpy(c->hash, record_text(o, "hash"), HEX_LEN + 1);
		check_note(report, c);
	} else {
		c->has_head = true;
		c->head_seq = (uint64_t)seq;
		memcpy(c->head_hash, record_text(o, "hash"), HEX_LEN + 1);
	}
	return true;
}

/* True when the hash at the end of the text is that of what stands before it. */
static bool hash_is_right(const char *text, const char *hash)
{
	static const char before[] = ",\"hash\":\"";
	size_t tail = strlen(before) + HEX_LEN + strlen("\"}");
	size_t len = strlen(text);
	char hex[2 * HASH_LEN + 1];
	uint8_t sum[HASH_LEN];

	if (len < tail || strncmp(text + len - tail, before, strlen(before)) != 0 ||
		strlen(hash) != HEX_LEN)
		return false;
	hash_sha256(HASH_PIECES({AUDIT_HASH_DOMAIN, strlen(AUDIT_HASH_DOMAIN)}, {text, len - tail}),
		sum);
	hash_hex(sum, sizeof(sum), hex);
	return !strcmp(hex, hash) && !strncmp(text + len - tail + strlen(before), hash, HEX_LEN);
}

/* -- rows and their places -- */

struct place {
	char *tail;   /* heap: STAMP-CHAIN */
	char *org;    /* heap */
	uint64_t seq; /* 0: of a row without a chain */
	uint8_t hash[HASH_LEN], prev[HASH_LEN];
	bool found;
	const char *fault; /* of its row, or NULL */
};

struct walk {
	struct audit_report *report;
	struct place *places; /* heap, in the order of their tails */
	size_t count, room;
};

static void cleanup_walk(struct walk *w)
{
	for (size_t i = 0; i < w->count; i++) {
		free(w->places[i].tail);
		free(w->places[i].org);
	}
	free(w->places);
}

static void take_place(struct walk *w, const struct store_item *item)
{
	CLEANUP(json) struct json_object *o = NULL;
	struct place place = {0};
	int64_t seq;

	if (json_parse(item->value, strlen(item->value), &o, NULL) ||
		!json_object_is_type(o, json_type_object) || !record_text(o, "org")[0] ||
		(seq = record_int(o, "seq")) < 0 ||
		(seq && !hash_unhex(record_text(o, "hash"), place.hash, HASH_LEN))) {
		tell(w->report, "%s is damaged", item->key);
		return;
	}
	place.seq = (uint64_t)seq;
	place.tail = xstrdup(registry_key_tail(item->key));
	place.org = xstrdup(record_text(o, "org"));
	w->report->chained |= seq > 0;
	if (w->count == w->room) {
		w->room = w->room ? w->room * 2 : 64;
		w->places = xrealloc(w->places, w->room, sizeof(*w->places));
	}
	w->places[w->count++] = place;
}

static int compare_place(const void *tail, const void *place)
{
	return strcmp(tail, ((const struct place *)place)->tail);
}

/* The place of a row with this key; NULL: it has none. */
static struct place *place_of(const struct walk *w, const char *key)
{
	const char *org = key + strlen("/audit/"), *tail = registry_key_tail(key);
	struct place *place =
		w->count ? bsearch(tail, w->places, w->count, sizeof(*w->places), compare_place)
			 : NULL;

	return place && tail > org && strlen(place->org) == (size_t)(tail - org) - 1 &&
			       !strncmp(place->org, org, strlen(place->org))
		       ? place
		       : NULL;
}

/* What is wrong with a row by itself, and what it says of itself in its place; NULL: nothing. */
static const char *row_fault(
	struct place *place, const struct store_item *item, struct json_object *row)
{
	const char *hash = record_text(row, "hash"), *org = record_text(row, "org");
	uint64_t seq = (uint64_t)record_int(row, "seq");
	uint8_t have[HASH_LEN], prev[HASH_LEN];
	char tail[64];
	bool is_other;

	if (!json_object_is_type(row, json_type_object))
		return "it is no audit row";
	if (!place->seq && !json_object_object_get_ex(row, "chain", NULL))
		return NULL;
	if (!hash_is_right(item->value, hash) || !hash_unhex(hash, have, HASH_LEN) ||
		!hash_unhex(record_text(row, "prev"), prev, HASH_LEN))
		return "it was altered: its hash is not that of its text";
	snprintf(tail, sizeof(tail), "%s-%s", record_text(row, "stamp"), record_text(row, "chain"));
	if (strcmp(place->tail, tail) != 0 || strcmp(place->org, org[0] ? org : ORG_NONE) != 0)
		return "it was moved: its stamp or organization is another one";
	is_other = place->seq != seq || memcmp(place->hash, have, HASH_LEN) != 0;
	place->seq = seq;
	memcpy(place->hash, have, HASH_LEN);
	memcpy(place->prev, prev, HASH_LEN);
	return is_other ? "its place in the order of time was altered" : NULL;
}

static void take_row(struct walk *w, const struct store_item *item)
{
	CLEANUP(json) struct json_object *row = NULL;
	struct place *place = place_of(w, item->key);
	const char *fault = "it is no audit row";

	if (!json_parse(item->value, strlen(item->value), &row, NULL) && place)
		fault = row_fault(place, item, row);
	if (place) {
		place->found = true;
		place->fault = fault;
	} else if (!w->report->chained && !json_object_object_get_ex(row, "chain", NULL)) {
		w->report->unchained++; /* of a store that was not brought up to date yet */
	} else {
		tell(w->report,
			"%s: it has no place in the order of time: it was put in afterwards",
			item->key);
	}
}

/* -- along the chains -- */

/* Of a row that is right by itself, as the one after the last of its chain. */
static const char *chain_fault(const struct audit_chain *c, const struct place *place)
{
	char prev[2 * HASH_LEN + 1];

	if (place->seq > c->seq + 1)
		return "a row before it is missing";
	if (place->seq != c->seq + 1)
		return "there is another row of its number";
	hash_hex(place->prev, HASH_LEN, prev);
	if (strcmp(prev, c->hash) != 0)
		return "the row before it is not the one that it was chained to";
	return NULL;
}

static const char *follow_chain(
	struct audit_report *report, struct audit_chain *c, const struct place *place)
{
	const char *fault = place->found ? place->fault : "it is missing";

	if (!c->has_head && !c->told) {
		c->told = true;
		tell(report, "chain %s has no head", c->name);
	}
	if (!fault)
		fault = chain_fault(c, place);
	report->rows += !fault;
	/* What follows was chained to it, if it is what it says to be. */
	if (place->seq == c->seq + 1 || (place->seq > c->seq && place->found && !place->fault)) {
		c->seq = place->seq;
		hash_hex(place->hash, HASH_LEN, c->hash);
		check_note(report, c);
	}
	return fault;
}

static void check_places(struct walk *w)
{
	struct audit_report *report = w->report;
	bool chained = false;

	for (size_t i = 0; i < w->count; i++) {
		const struct place *place = &w->places[i];
		const char *chain = strchr(place->tail, '-');
		const char *fault;

		if (!place->seq) {
			/* Rows of before there were chains are older than all that have one. */
			fault = !place->found ? "it is missing"
				: chained     ? "it has no chain: it was put in afterwards"
					      : place->fault;
			report->unchained += !fault;
			chain = NULL;
		} else if (!chain || !chain[1] || strlen(chain + 1) > STORE_INSTANCE_MAX) {
			fault = "its chain is none";
		} else {
			chained = true;
			fault = follow_chain(report, chain_make(report, chain + 1), place);
		}
		if (fault)
			tell(report, "/audit/%s/%s (row %llu of chain %s): %s", place->org,
				place->tail, (unsigned long long)place->seq, chain ? chain + 1 : "",
				fault);
	}
}

static bool starts_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static bool take(void *ctx, const struct store_item *item)
{
	struct walk *w = ctx;
	bool is_base = starts_with(item->key, "/audit-base/");

	if (is_base || starts_with(item->key, "/audit-head/")) {
		if (!read_mark(w->report, item, is_base))
			tell(w->report, "%s is damaged", item->key);
	} else if (starts_with(item->key, "/audit-at/")) {
		take_place(w, item);
	} else if (starts_with(item->key, "/audit/")) {
		take_row(w, item);
	}
	return true;
}

static void check_ends(struct audit_report *report)
{
	for (size_t i = 0; i < report->chain_count; i++) {
		const struct audit_chain *c = &report->chains[i];

		if (c->has_head && c->seq < c->head_seq)
			tell(report,
				"chain %s ends at row %llu and not at row %llu: its last rows are "
				"missing",
				c->name, (unsigned long long)c->seq,
				(unsigned long long)c->head_seq);
		else if (c->has_head &&
			 (c->seq > c->head_seq || strcmp(c->hash, c->head_hash) != 0))
			tell(report, "the last row of chain %s is not the one that its head names",
				c->name);
		if (c->noted && !c->noted_found && c->noted_seq > c->base_seq)
			tell(report, "row %llu of chain %s, which was noted, is not there",
				(unsigned long long)c->noted_seq, c->name);
	}
}

int audit_verify(struct store *s, struct audit_report *report)
{
	__attribute__((cleanup(cleanup_walk))) struct walk w = {.report = report};
	int rc = store_walk(s, take, &w, NULL);

	if (rc)
		return rc;
	check_places(&w);
	check_ends(report);
	return 0;
}
