/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statistics in a node's report, from JSON to struct stats_report. Nothing of it is believed
 * further than its bounds: the node may be wrong or malicious, and what it says goes into the rings
 * of its own networks only (stats_take.c).
 */
#include "console-api/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"
#include "lib/hash.h"
#include "lib/json.h"

#define TICK_MAX   (1ll << 40)
#define SENT_MAX   100000
#define RTT_US_MAX 60000000

static bool is_id(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len <= NETMAP_ID_MAX &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static int get_id(
	struct json_object *o, const char *where, char ret_id[NETMAP_ID_MAX + 1], struct err *e)
{
	const char *id;
	int rc = json_get_string(o, where, "id", 1, NETMAP_ID_MAX, &id, e);

	if (rc)
		return rc;
	if (!is_id(id))
		return err_set(e, -VAN_E_INVALID, "%s/id: is no id", where);
	snprintf(ret_id, NETMAP_ID_MAX + 1, "%s", id);
	return 0;
}

static int get_counter(
	struct json_object *o, const char *where, const char *name, uint64_t *ret, struct err *e)
{
	int64_t value;
	int rc = json_get_int(o, where, name, 0, INT64_MAX, &value, e);

	if (!rc)
		*ret = (uint64_t)value;
	return rc;
}

/* One array of `last`; its items go to every STATS_METRICS-th place of ret_last. */
static int get_figures(struct json_object *o, const char *where, enum stats_metric metric,
	unsigned int seconds, uint64_t *ret_last, struct err *e)
{
	const char *name = stats_metric_name(metric);
	struct json_object *array = json_object_object_get(o, name);

	if (!array)
		return 0; /* nothing in all of them */
	if (!json_object_is_type(array, json_type_array) ||
		json_object_array_length(array) != seconds)
		return err_set(e, -VAN_E_INVALID, "%s/%s: must be an array of %u numbers", where,
			name, seconds);
	for (unsigned int i = 0; i < seconds; i++) {
		struct json_object *item = json_object_array_get_idx(array, i);

		if (!json_object_is_type(item, json_type_int) || json_object_get_int64(item) < 0)
			return err_set(e, -VAN_E_INVALID,
				"%s/%s/%u: must be a whole number, 0 or more", where, name, i);
		ret_last[i * STATS_METRICS + metric] = (uint64_t)json_object_get_int64(item);
	}
	return 0;
}

static int get_last(struct json_object *o, const char *network, unsigned int seconds,
	uint64_t **ret_last, struct err *e)
{
	struct json_object *last = json_object_object_get(o, "last");
	char where[64];
	uint64_t *figures;
	int rc = 0;

	if (!last || seconds == 0)
		return 0;
	if (!json_object_is_type(last, json_type_object))
		return err_set(e, -VAN_E_INVALID, "%s/last: must be an object", network);
	snprintf(where, sizeof(where), "%s/last", network);
	figures = xcalloc((size_t)seconds * STATS_METRICS, sizeof(*figures));
	for (int i = 0; i < STATS_METRICS && !rc; i++)
		rc = get_figures(last, where, (enum stats_metric)i, seconds, figures, e);
	if (rc)
		free(figures);
	else
		*ret_last = figures;
	return rc;
}

/* Each network once: what is spread over a gap is work, and a node must not multiply it. */
static bool is_listed(const struct stats_report *report, const char *id)
{
	for (size_t i = 0; i < report->network_count; i++)
		if (!strcmp(report->networks[i].id, id))
			return true;
	return false;
}

static int get_networks(struct json_object *o, struct stats_report *report, struct err *e)
{
	struct json_object *array;
	size_t count;
	int rc = json_get_array(o, "/stats", "networks", &array, e);

	if (rc)
		return rc;
	count = json_object_array_length(array);
	if (count > STATS_REPORT_NETWORKS)
		count = STATS_REPORT_NETWORKS;
	report->networks = xcalloc(count ? count : 1, sizeof(*report->networks));
	for (size_t i = 0; i < count && !rc; i++) {
		struct json_object *item = json_object_array_get_idx(array, i);
		char where[48], id[NETMAP_ID_MAX + 1];

		snprintf(where, sizeof(where), "/stats/networks/%zu", i);
		if (!json_object_is_type(item, json_type_object))
			return err_set(e, -VAN_E_INVALID, "%s: must be an object", where);
		rc = get_id(item, where, id, e);
		if (!rc && is_listed(report, id))
			rc = err_set(e, -VAN_E_INVALID, "%s/id: is listed twice", where);
		if (!rc)
			memcpy(report->networks[i].id, id, sizeof(id));
		for (int k = 0; k < STATS_METRICS && !rc; k++)
			rc = get_counter(item, where, stats_metric_name((enum stats_metric)k),
				&report->networks[i].total[k], e);
		if (!rc)
			rc = get_last(item, where, report->seconds, &report->networks[i].last, e);
		report->network_count = i + 1;
	}
	return rc;
}

static bool is_reason(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= STATS_REASON_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static int get_drops(struct json_object *o, struct stats_report *report, struct err *e)
{
	struct json_object *drops = json_object_object_get(o, "drops");

	if (!drops)
		return 0;
	if (!json_object_is_type(drops, json_type_object))
		return err_set(e, -VAN_E_INVALID, "/stats/drops: must be an object");
	json_object_object_foreach(drops, name, value)
	{
		if (report->drop_count == STATS_REASONS_MAX)
			break;
		if (!is_reason(name) || !json_object_is_type(value, json_type_int) ||
			json_object_get_int64(value) < 0)
			return err_set(e, -VAN_E_INVALID,
				"/stats/drops: must have reasons of at most %d of a-z, 0-9 and _, "
				"and whole numbers, 0 or more",
				STATS_REASON_NAME_MAX);
		snprintf(report->drops[report->drop_count].name, sizeof(report->drops[0].name),
			"%s", name);
		report->drops[report->drop_count++].total = (uint64_t)json_object_get_int64(value);
	}
	return 0;
}

static int get_peer(
	struct json_object *item, const char *where, struct stats_report *report, struct err *e)
{
	size_t i = report->peer_count;
	int64_t sent, answered, rtt_us;
	int rc;

	if (!json_object_is_type(item, json_type_object))
		return err_set(e, -VAN_E_INVALID, "%s: must be an object", where);
	if ((rc = get_id(item, where, report->peers[i].id, e)) ||
		(rc = json_get_int(item, where, "sent", 0, SENT_MAX, &sent, e)) ||
		(rc = json_get_int(item, where, "answered", 0, sent, &answered, e)) ||
		(rc = json_get_int(item, where, "rtt_us", 0, RTT_US_MAX, &rtt_us, e)))
		return rc;
	report->peers[i].sent = (uint64_t)sent;
	report->peers[i].answered = (uint64_t)answered;
	report->peers[i].rtt_us = (uint64_t)rtt_us;
	report->peer_count++;
	return 0;
}

static int get_peers(struct json_object *o, struct stats_report *report, struct err *e)
{
	struct json_object *array = json_object_object_get(o, "peers");
	size_t count;
	int rc = 0;

	if (!array)
		return 0;
	if (!json_object_is_type(array, json_type_array))
		return err_set(e, -VAN_E_INVALID, "/stats/peers: must be an array");
	count = json_object_array_length(array);
	for (size_t i = 0; i < count && i < STATS_REPORT_PEERS && !rc; i++) {
		char where[48];

		snprintf(where, sizeof(where), "/stats/peers/%zu", i);
		rc = get_peer(json_object_array_get_idx(array, i), where, report, e);
	}
	return rc;
}

static int get_head(struct json_object *o, struct stats_report *report, struct err *e)
{
	const char *instance;
	int64_t seconds = 0;
	int rc;

	if ((rc = json_get_string(o, "/stats", "instance", 16, 16, &instance, e)) ||
		(rc = get_counter(o, "/stats", "tick", &report->tick, e)) ||
		(rc = json_opt_int(o, "/stats", "seconds", 0, STATS_REPORT_SECONDS, &seconds, e)))
		return rc;
	if (!hash_unhex(instance, &report->instance, sizeof(report->instance)) || !report->instance)
		return err_set(e, -VAN_E_INVALID,
			"/stats/instance: must be 16 hexadecimal digits, not all 0");
	if (report->tick > TICK_MAX)
		return err_set(e, -VAN_E_INVALID, "/stats/tick: is too large");
	report->seconds = (unsigned int)seconds;
	return 0;
}

int stats_report_from_json(
	struct json_object *body, struct stats_report *ret_report, struct problem *p)
{
	struct json_object *o = json_object_object_get(body, "stats");
	struct stats_report report = {0};
	struct err e = {0};
	int rc;

	if (!o) {
		*ret_report = report;
		return 0;
	}
	if (!json_object_is_type(o, json_type_object))
		rc = err_set(&e, -VAN_E_INVALID, "/stats: must be an object");
	else if ((rc = get_head(o, &report, &e)) == 0 && (rc = get_networks(o, &report, &e)) == 0 &&
		 (rc = get_drops(o, &report, &e)) == 0)
		rc = get_peers(o, &report, &e);
	if (rc) {
		stats_report_done(&report);
		return problem_from_json(p, &e);
	}
	report.present = true;
	*ret_report = report;
	return 0;
}

void stats_report_done(struct stats_report *report)
{
	for (size_t i = 0; i < report->network_count; i++)
		free(report->networks[i].last);
	free(report->networks);
	report->networks = NULL;
	report->network_count = 0;
}
