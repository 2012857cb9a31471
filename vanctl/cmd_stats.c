// SPDX-License-Identifier: Apache-2.0
/*
 * What the console has counted, as tables: a line for each slot of time, then sums, and of a node
 * its peers and why it dropped frames. The console answers in columns; rows are made of them here.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/duration.h"
#include "vanctl/text.h"

#define SINCE_DEFAULT_S 3600
#define ROWS            60 /* that a table has at most, unless --resolution wants more */

/* The console's resolutions. */
static const struct {
	const char *name;
	int64_t step_s;
} resolutions[] = {{"1s", 1}, {"10s", 10}, {"1m", 60}, {"10m", 600}};
#define RESOLUTIONS (sizeof(resolutions) / sizeof(resolutions[0]))

/* -- tables -- */

/* A number and a unit with a power of 1000 before it: "12.3 M", "12.3 Mbit/s". */
static void print_si(FILE *to, double n, const char *unit)
{
	static const char prefixes[] = " kMGTPE";
	size_t i = 0;

	for (; n >= 999.95 && prefixes[i + 1]; i++)
		n /= 1000;
	if (i)
		fprintf(to, "%.1f %c%s", n, prefixes[i], unit);
	else
		fprintf(to, "%.0f%s%s", n, *unit ? " " : "", unit);
}

static void cell_count(const struct output *o, struct json_object *value, FILE *to)
{
	(void)o;
	if (value)
		print_si(to, json_object_get_double(value), "");
	else
		fputc('-', to);
}

static void cell_rate(const struct output *o, struct json_object *value, FILE *to)
{
	(void)o;
	if (value)
		print_si(to, json_object_get_double(value), "bit/s");
	else
		fputc('-', to);
}

static void cell_rtt(const struct output *o, struct json_object *us, FILE *to)
{
	(void)o;
	if (us)
		fprintf(to, "%.3f ms", json_object_get_double(us) / 1000);
	else
		fputc('-', to);
}

static void cell_percent(const struct output *o, struct json_object *share, FILE *to)
{
	(void)o;
	if (share)
		fprintf(to, "%.1f %%", 100 * json_object_get_double(share));
	else
		fputc('-', to);
}

static const struct view slots = {(const struct column[]){
	COLUMN("TIME", "time"),
	COLUMN("RX", "rx_rate", .cell = cell_rate, .right = true),
	COLUMN("TX", "tx_rate", .cell = cell_rate, .right = true),
	COLUMN("RX BYTES", "rx_bytes", .cell = cell_bytes, .right = true),
	COLUMN("TX BYTES", "tx_bytes", .cell = cell_bytes, .right = true),
	COLUMN("RX PACKETS", "rx_packets", .cell = cell_count, .right = true),
	COLUMN("TX PACKETS", "tx_packets", .cell = cell_count, .right = true),
	COLUMN("DROPS", "drops", .cell = cell_count, .right = true, .optional = true),
	{.title = NULL},
}};

static const struct view peers = {(const struct column[]){
	COLUMN("PEER", "name"),
	COLUMN("RTT", "rtt_us", .cell = cell_rtt, .right = true),
	COLUMN("LOSS", "loss", .cell = cell_percent, .right = true),
	COLUMN("PROBES", "probes", .right = true),
	{.title = NULL},
}};

static const struct view reasons = {(const struct column[]){
	COLUMN("DROPPED", "reason"),
	COLUMN("FRAMES", "count", .right = true),
	{.title = NULL},
}};

/* -- columns to rows -- */

/* The value of a column in a slot; NULL when it is not known. */
static struct json_object *value_at(struct json_object *columns, const char *name, size_t i)
{
	struct json_object *column = output_member(columns, name);

	return json_object_is_type(column, json_type_array) && i < json_object_array_length(column)
		       ? json_object_array_get_idx(column, i)
		       : NULL;
}

static size_t slot_count(struct json_object *columns)
{
	size_t count = 0;

	if (!json_object_is_type(columns, json_type_object))
		return 0;
	json_object_object_foreach(columns, name, column)
	{
		(void)name;
		if (json_object_is_type(column, json_type_array) &&
			json_object_array_length(column) > count)
			count = json_object_array_length(column);
	}
	return count;
}

/* The sum of what is known of a column; false when nothing is. */
static bool column_sum(struct json_object *columns, const char *name, double *ret_sum)
{
	struct json_object *column = output_member(columns, name), *value;
	bool known = false;
	double sum = 0;

	for (size_t i = 0; json_object_is_type(column, json_type_array) &&
			   i < json_object_array_length(column);
		i++) {
		value = json_object_array_get_idx(column, i);
		if (!value)
			continue;
		known = true;
		sum += json_object_get_double(value);
	}
	*ret_sum = sum;
	return known;
}

static void set_rate(struct json_object *row, const char *rate, const char *bytes, double seconds)
{
	struct json_object *value = output_member(row, bytes);

	if (value && seconds > 0)
		json_object_object_add(row, rate,
			json_object_new_double(8 * json_object_get_double(value) / seconds));
}

static struct json_object *slot_row(
	struct json_object *columns, size_t i, int64_t start_s, int64_t step_s)
{
	struct json_object *row = json_object_new_object();
	char time[21];

	clock_format_rfc3339((uint64_t)(start_s + (int64_t)i * step_s) * NS_PER_S, time);
	json_set_string(row, "time", time);
	json_object_object_foreach(columns, name, column)
	{
		(void)column;
		json_object_object_add(row, name, json_object_get(value_at(columns, name, i)));
	}
	set_rate(row, "rx_rate", "rx_bytes", (double)step_s);
	set_rate(row, "tx_rate", "tx_bytes", (double)step_s);
	return row;
}

/* The sums, and the mean rates of the time of which something is known. */
static struct json_object *sum_row(struct json_object *columns, size_t known, int64_t step_s)
{
	struct json_object *row = json_object_new_object();

	json_set_string(row, "time", "total");
	json_object_object_foreach(columns, name, column)
	{
		double sum;

		(void)column;
		if (column_sum(columns, name, &sum))
			json_object_object_add(row, name, json_object_new_double(sum));
	}
	set_rate(row, "rx_rate", "rx_bytes", (double)known * (double)step_s);
	set_rate(row, "tx_rate", "tx_bytes", (double)known * (double)step_s);
	return row;
}

static void print_slots(const struct output *o, struct json_object *stats)
{
	struct json_object *columns = output_member(stats, "columns");
	struct json_object *rows = json_object_new_array();
	int64_t start_s, step_s = json_object_get_int64(output_member(stats, "step_s"));
	size_t known = 0;

	if (!text_parse_time(output_string(stats, "start", ""), &start_s))
		start_s = 0;
	for (size_t i = 0; i < slot_count(columns); i++) {
		if (!value_at(columns, "rx_bytes", i) && !value_at(columns, "drops", i))
			continue; /* nothing is known of it */
		json_object_array_add(rows, slot_row(columns, i, start_s, step_s));
		known++;
	}
	if (known) {
		json_object_array_add(rows, sum_row(columns, known, step_s));
		o->writer->list(o, &slots, rows, stats);
	} else {
		fputs("Nothing is known of this time.\n", o->to);
	}
	json_object_put(rows);
}

static struct json_object *peer_row(struct json_object *peer)
{
	struct json_object *columns = output_member(peer, "columns");
	struct json_object *row = json_object_new_object();
	double sent = 0, answered = 0, lost = 0, rtt_us = 0;

	for (size_t i = 0; i < slot_count(columns); i++) {
		struct json_object *rtt = value_at(columns, "rtt_us", i);
		double probes = json_object_get_double(value_at(columns, "probes", i));
		double loss = json_object_get_double(value_at(columns, "loss", i)) * probes;

		sent += probes;
		lost += loss;
		if (!rtt)
			continue;
		answered += probes - loss;
		rtt_us += json_object_get_double(rtt) * (probes - loss);
	}
	json_set_string(row, "name", output_string(peer, "name", "?"));
	json_set_int(row, "probes", (int64_t)sent);
	if (sent > 0)
		json_object_object_add(row, "loss", json_object_new_double(lost / sent));
	if (answered > 0)
		json_object_object_add(row, "rtt_us", json_object_new_double(rtt_us / answered));
	return row;
}

static void print_peers(const struct output *o, struct json_object *stats)
{
	struct json_object *items = output_member(output_member(stats, "peers"), "items");
	struct json_object *rows = json_object_new_array();

	for (size_t i = 0;
		json_object_is_type(items, json_type_array) && i < json_object_array_length(items);
		i++) {
		struct json_object *row = peer_row(json_object_array_get_idx(items, i));

		if (json_object_get_int64(output_member(row, "probes")) > 0)
			json_object_array_add(rows, row);
		else
			json_object_put(row);
	}
	if (json_object_array_length(rows)) {
		fputc('\n', o->to);
		o->writer->list(o, &peers, rows, stats);
	}
	json_object_put(rows);
}

static void print_reasons(const struct output *o, struct json_object *stats)
{
	struct json_object *drops = output_member(stats, "drops");
	struct json_object *rows = json_object_new_array();

	if (json_object_is_type(drops, json_type_object)) {
		json_object_object_foreach(drops, reason, column)
		{
			struct json_object *row;
			double sum;

			(void)column;
			if (!column_sum(drops, reason, &sum) || sum <= 0)
				continue;
			row = json_object_new_object();
			json_set_string(row, "reason", reason);
			json_set_int(row, "count", (int64_t)sum);
			json_object_array_add(rows, row);
		}
	}
	if (json_object_array_length(rows)) {
		fputc('\n', o->to);
		o->writer->list(o, &reasons, rows, stats);
	}
	json_object_put(rows);
}

static void print_stats(const struct output *o, struct json_object *stats)
{
	print_slots(o, stats);
	print_peers(o, stats);
	print_reasons(o, stats);
}

/* -- asking -- */

/* From when on, of --since, and how fine. */
static int read_since(
	struct vanctl *v, int64_t *ret_from_s, const char **ret_resolution, struct err *e)
{
	const char *since = v->args->set[OPT_SINCE] ? v->args->text[OPT_SINCE] : NULL;
	int64_t now_s = v->output.now_wall_s, from_s = now_s - SINCE_DEFAULT_S, ago_ms;
	size_t i = 0;

	if (since && duration_parse(since, &ago_ms))
		from_s = now_s - ago_ms / 1000;
	else if (since && !text_parse_time(since, &from_s))
		return err_set(e, -VAN_E_SYNTAX,
			"--since: '%.64s' is no time: write 1h, or 2030-01-31T12:00:00Z", since);
	if (from_s > now_s)
		return err_set(e, -VAN_E_SYNTAX, "--since: %.64s is in the future", since);
	if (from_s < 0)
		from_s = 0;
	while (i + 1 < RESOLUTIONS && (now_s - from_s) / resolutions[i].step_s > ROWS)
		i++;
	*ret_from_s = from_s;
	*ret_resolution =
		v->args->set[OPT_RESOLUTION] ? v->args->text[OPT_RESOLUTION] : resolutions[i].name;
	return 0;
}

/* Takes the path over. */
static int show(struct vanctl *v, char *path, const char *include, struct err *e)
{
	struct json_object *stats = NULL;
	const char *resolution = NULL;
	int64_t from_s = 0;
	char from[21];
	int rc = read_since(v, &from_s, &resolution, e);

	if (rc) {
		free(path);
		return rc;
	}
	clock_format_rfc3339((uint64_t)from_s * NS_PER_S, from);
	path = resource_query(path, "resolution", resolution);
	path = resource_query(path, "from", from);
	path = resource_query(path, "include", include);
	rc = resource_call(v, "GET", path, NULL, &stats, e);
	if (rc)
		return rc;
	output_with(&v->output, print_stats, stats);
	json_object_put(stats);
	return 0;
}

int cmd_network_stats(struct vanctl *v, struct err *e)
{
	return show(v, api_path("networks", v->args->positionals[0], "stats", NULL), NULL, e);
}

int cmd_node_stats(struct vanctl *v, struct err *e)
{
	const char *node = v->args->positionals[0];

	if (v->args->set[OPT_NETWORK])
		return show(v,
			api_path("networks", v->args->text[OPT_NETWORK], "nodes", node, "stats",
				NULL),
			NULL, e);
	return show(v, api_path("nodes", node, "stats", NULL), "networks,peers,drops", e);
}
