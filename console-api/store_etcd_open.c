/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the store in etcd: finds out what the cluster can take, and reads the map. */
#include <stdio.h>
#include "console-api/store_etcd_internal.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define OVERHEAD_OPS 1u /* the marker */
/* What is asked at the start is large, and nobody waits yet for something else: where the ordinary
 * time-out does not suffice, it is doubled with each try, up to so many times. */
#define PATIENCE_MAX 16u

/* Puts a generation where there is none; whoever comes first. */
static int make_generation(struct store_etcd *q, struct err *e)
{
	CLEANUP(printbuf) struct printbuf *body = text_new();
	CLEANUP(json) struct json_object *answer = NULL;
	char number[NUMBER_LEN + 1];

	etcd_txn_number(number);
	append(body, "{\"compare\":[");
	etcd_txn_compare(body, q->prefix, "generation", 0);
	append(body, "],\"success\":[");
	etcd_txn_put(body, q->prefix, "generation", number);
	append(body, "]}");
	return etcd_call_any(q->conn, "/v3/kv/txn", body->buf, &answer, e);
}

/* How many operations a transaction may have: asked with one that is never carried out. */
static int find_txn_max(struct store_etcd *q, struct err *e)
{
	static const size_t tries[] = {10000, 5000, 2048, 1024, 512, 256, 128, 64};
	int rc = -E2BIG;

	for (size_t i = 0; rc == -E2BIG && i < sizeof(tries) / sizeof(tries[0]); i++) {
		CLEANUP(printbuf) struct printbuf *body = text_new();
		CLEANUP(json) struct json_object *answer = NULL;

		append(body, "{\"compare\":[");
		etcd_txn_compare(body, q->prefix, "nothing", 1);
		append(body, "],\"success\":[");
		for (size_t j = 0; j < tries[i]; j++) {
			append(body, j ? ",{\"request_range\":{" : "{\"request_range\":{");
			etcd_put_bytes(body, "key", q->prefix, "nothing");
			append(body, "}}");
		}
		append(body, "]}");
		rc = etcd_call_any(q->conn, "/v3/kv/txn", body->buf, &answer, e);
		q->base.txn_max = tries[i] - OVERHEAD_OPS;
	}
	return rc;
}

static int load(struct store_etcd *q, bool read_only, struct err *e)
{
	struct etcd_snapshot snap = {0};
	int rc = read_only ? 0 : find_txn_max(q, e);

	if (!rc)
		rc = store_etcd_load(q->conn, q->prefix, &snap, e);
	if (!rc && !snap.generation) {
		store_close(snap.mirror);
		snap.mirror = NULL;
		if (read_only)
			return err_set(e, -ENOENT, "etcd has no store under %s", q->prefix);
		rc = make_generation(q, e);
		if (!rc)
			rc = store_etcd_load(q->conn, q->prefix, &snap, e);
		if (!rc && !snap.generation) {
			store_close(snap.mirror);
			return err_set(e, -VAN_E_CORRUPT, "the store in etcd has no generation");
		}
	}
	if (rc)
		return rc;
	q->mirror = snap.mirror;
	q->revision = snap.revision;
	q->covered = snap.covered;
	q->base.generation = snap.generation;
	store_feed_start(&q->base, q->revision);
	return 0;
}

static int load_within(struct store_etcd *q, bool read_only, unsigned int wait_ms, struct err *e)
{
	uint64_t end_ns = monotonic_ns() + wait_ms * NS_PER_MS;
	unsigned int patience = 1;
	bool told = false;
	int rc;

	for (;;) {
		etcd_conn_set_patience(q->conn, patience);
		rc = load(q, read_only, e);
		if ((rc != -ECONNREFUSED && rc != -VAN_E_TIMEOUT) || monotonic_ns() >= end_ns)
			break;
		if (!told)
			log_info("waiting for etcd: %s", e ? e->text : "no answer");
		told = true;
		if (rc == -VAN_E_TIMEOUT && patience < PATIENCE_MAX)
			patience *= 2;
		nanosleep(&(struct timespec){.tv_nsec = 200 * (long)NS_PER_MS}, NULL);
	}
	etcd_conn_set_patience(q->conn, 1);
	if (rc == -ECONNREFUSED || rc == -VAN_E_TIMEOUT)
		return err_prefix(e, -VAN_E_TIMEOUT, "the store cannot be reached");
	if (rc == -VAN_E_DENIED)
		return err_prefix(e, rc, "the store may not be used");
	return rc;
}

int store_etcd_open(const struct store_etcd_options *options, unsigned int wait_ms,
	struct store **ret_store, struct err *e)
{
	struct store_etcd *q = xcalloc(1, sizeof(*q));
	struct err own = {0};
	int rc;

	q->base.ops = &store_etcd_ops;
	snprintf(q->base.instance, sizeof(q->base.instance), "%s", options->instance);
	q->prefix = xstrdup(options->prefix);
	q->marker = xasprintf(ETCD_MARKERS "%s", options->instance);
	q->etcd = etcd_new(&options->etcd);
	q->conn = etcd_conn_new(q->etcd);
	rc = load_within(q, options->read_only, wait_ms, &own);
	if (rc) {
		store_close(&q->base);
		return err_set(e, rc, "%s", own.text);
	}
	*ret_store = &q->base;
	return 0;
}
