/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Micro-benchmarks of the modules that cost time for each packet, and of those whose cost grows with
 * the mesh. One thread, nothing else: `micro [-j FILE] [-q] [GROUP...]`.
 *
 * Every row is warmed up, then measured in several runs, each of them long enough for the clock and
 * short enough to fit between two disturbances; minimum, median and maximum of the runs are shown.
 * The minimum says what the code costs, the others what the machine adds.
 */
#include "test/bench/micro.h"

#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <urcu-qsbr.h>

#define RUNS_MAX 21
#define RUN_NS   5000000u
#define WARM_NS  20000000u
#define BATCH    64

struct micro {
	unsigned int runs;
	uint64_t run_ns, warm_ns;
	char last_group[64];
	struct json_object *rows;
};

static const struct {
	const char *name;
	void (*run)(struct micro *m);
} groups[] = {
	{"seal", micro_seal},
	{"offload", micro_offload},
	{"fdb", micro_fdb},
	{"replay", micro_replay},
	{"netmap", micro_netmap},
};

#define GROUP_COUNT (sizeof(groups) / sizeof(groups[0]))

void micro_die(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "micro: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(1);
}

void *micro_alloc(size_t size)
{
	size_t rounded = (size + 63) / 64 * 64;
	void *p = aligned_alloc(64, rounded);

	if (!p)
		micro_die("out of memory");
	memset(p, 0, rounded);
	return p;
}

uint64_t micro_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

unsigned int micro_runs(const struct micro *m)
{
	return m->runs;
}

/* Repeats an operation until it took that long. Returns nanoseconds per operation. */
static double repeat(micro_operation *operation, void *ctx, uint64_t at_least_ns)
{
	uint64_t ns = 0, done = 0, start = micro_now_ns();

	/* The clock of the whole, too: preparing must not go on for ever. */
	while (ns < at_least_ns && micro_now_ns() - start < 20 * at_least_ns) {
		unsigned int now = 0;

		ns += operation(ctx, BATCH, &now);
		if (!now)
			micro_die("an operation did nothing");
		done += now;
	}
	return (double)ns / (double)done;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_row(struct micro *m, const struct micro_row *row, const double ns[3])
{
	if (strcmp(m->last_group, row->group) != 0)
		printf("\n%-44s %11s %11s %11s  %8s\n", row->group, "ns: min", "median", "max",
			"GB/s");
	snprintf(m->last_group, sizeof(m->last_group), "%s", row->group);
	printf("  %-42s %11.1f %11.1f %11.1f", row->name, ns[0], ns[1], ns[2]);
	if (row->bytes)
		printf("  %8.2f", (double)row->bytes / ns[1]);
	else
		printf("  %8s", "");
	if (row->parts)
		printf("  %.1f ns a %s (%zu)", ns[1] / (double)row->parts, row->part, row->parts);
	if (ns[1] >= 1e6)
		printf("; %.1f ms", ns[1] / 1e6);
	if (row->more[0])
		printf("; %s", row->more);
	printf("\n");
	fflush(stdout);
}

static void add_number(struct json_object *o, const char *name, double value)
{
	json_object_object_add(o, name, json_object_new_double(value));
}

void micro_add(
	struct micro *m, const struct micro_row *row, const double *ns_per_op, unsigned int runs)
{
	struct json_object *o = json_object_new_object(), *samples = json_object_new_array();
	double sorted[RUNS_MAX], ns[3];

	if (!runs || runs > RUNS_MAX)
		micro_die("%s: %u runs", row->name, runs);
	memcpy(sorted, ns_per_op, runs * sizeof(*sorted));
	qsort(sorted, runs, sizeof(*sorted), compare);
	ns[0] = sorted[0];
	ns[1] = (sorted[(runs - 1) / 2] + sorted[runs / 2]) / 2;
	ns[2] = sorted[runs - 1];
	print_row(m, row, ns);

	json_object_object_add(o, "group", json_object_new_string(row->group));
	json_object_object_add(o, "name", json_object_new_string(row->name));
	json_object_object_add(o, "operation", json_object_new_string(row->unit));
	json_object_object_add(o, "bytes", json_object_new_int64((int64_t)row->bytes));
	if (row->parts) {
		json_object_object_add(o, "parts", json_object_new_int64((int64_t)row->parts));
		json_object_object_add(o, "part", json_object_new_string(row->part));
	}
	add_number(o, "min_ns", ns[0]);
	add_number(o, "median_ns", ns[1]);
	add_number(o, "max_ns", ns[2]);
	if (row->bytes)
		add_number(o, "median_gb_s", (double)row->bytes / ns[1]);
	if (row->more[0])
		json_object_object_add(o, "more", json_object_new_string(row->more));
	for (unsigned int i = 0; i < runs; i++)
		json_object_array_add(samples, json_object_new_double(ns_per_op[i]));
	json_object_object_add(o, "samples_ns", samples);
	json_object_array_add(m->rows, o);
}

void micro_run(struct micro *m, const struct micro_row *row, micro_operation *operation, void *ctx)
{
	double ns[RUNS_MAX];

	repeat(operation, ctx, m->warm_ns);
	for (unsigned int i = 0; i < m->runs; i++)
		ns[i] = repeat(operation, ctx, m->run_ns);
	micro_add(m, row, ns, m->runs);
}

/* -- the program -- */

static void cpu_model(char *ret_model, size_t size)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256];

	snprintf(ret_model, size, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || !colon)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(ret_model, size, "%s", colon + 2);
		break;
	}
	if (f)
		fclose(f);
}

static void write_json(const struct micro *m, const char *path, const char *model)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "format", json_object_new_int(1));
	json_object_object_add(o, "version", json_object_new_string(VAN_VERSION));
	json_object_object_add(o, "cpu_model", json_object_new_string(model));
	json_object_object_add(o, "runs", json_object_new_int((int)m->runs));
	json_object_object_add(o, "rows", json_object_get(m->rows));
	if (json_object_to_file_ext(path, o, JSON_C_TO_STRING_PRETTY) < 0)
		micro_die("%s: %s", path, json_util_get_last_err());
	json_object_put(o);
}

static void usage(void)
{
	fprintf(stderr, "usage: micro [-j FILE] [-q] [GROUP...]\n"
			"  -j FILE  writes all figures to FILE, too\n"
			"  -q       few and short runs, to see whether it works\n"
			"groups:");
	for (size_t i = 0; i < GROUP_COUNT; i++)
		fprintf(stderr, " %s", groups[i].name);
	fprintf(stderr, "\n");
}

static bool chosen(const char *name, char **names, int count)
{
	for (int i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return count == 0;
}

/* False when one of the names is not that of a group. */
static bool names_known(char **names, int count)
{
	for (int i = 0; i < count; i++) {
		size_t g = 0;

		while (g < GROUP_COUNT && strcmp(groups[g].name, names[i]) != 0)
			g++;
		if (g == GROUP_COUNT)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct micro m = {.runs = RUNS_MAX, .run_ns = RUN_NS, .warm_ns = WARM_NS};
	const char *json_path = NULL;
	char model[128];
	int c;

	while ((c = getopt(argc, argv, "j:q")) != -1) {
		if (c == 'j') {
			json_path = optarg;
		} else if (c == 'q') {
			m.runs = 3;
			m.run_ns = m.warm_ns = 200000;
		} else {
			usage();
			return 2;
		}
	}
	if (!names_known(argv + optind, argc - optind)) {
		usage();
		return 2;
	}
	if (sodium_init() < 0)
		micro_die("libsodium does not start");
	rcu_register_thread();
	m.rows = json_object_new_array();
	cpu_model(model, sizeof(model));
	printf("%s, one thread; %u runs of each row\n", model, m.runs);
	for (size_t i = 0; i < GROUP_COUNT; i++) {
		if (chosen(groups[i].name, argv + optind, argc - optind))
			groups[i].run(&m);
	}
	if (json_path)
		write_json(&m, json_path, model);
	json_object_put(m.rows);
	rcu_unregister_thread();
	return 0;
}
