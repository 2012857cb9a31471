/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "console-api/metrics_internal.h"
#include "console-api/routes.h"
#include "console-api/stats.h"
#include "console-api/xalloc.h"
#include "lib/clock.h"

#define ROUTES_MAX 192
#define STATUSES   16 /* different ones of one route; further ones are counted as the last */
#define BUCKETS    12

/* Upper bounds in nanoseconds; the last bucket is for all. */
static const uint64_t bounds_ns[BUCKETS - 1] = {NS_PER_MS / 2, NS_PER_MS, 2500000, 5 * NS_PER_MS,
	10 * NS_PER_MS, 25 * NS_PER_MS, 50 * NS_PER_MS, 100 * NS_PER_MS, 500 * NS_PER_MS, NS_PER_S,
	5 * NS_PER_S};

struct histogram {
	uint64_t buckets[BUCKETS];
	uint64_t sum_ns;
};

/* Long polls and streams last as long as nothing happens: they say nothing of speed. */
enum kind { KIND_API, KIND_AGENT, KIND_WAITED, KINDS };
static const char *const kind_names[KINDS] = {
	[KIND_API] = "api", [KIND_AGENT] = "agent", [KIND_WAITED] = "waited"};

enum commit { COMMIT_OK, COMMIT_CONFLICT, COMMIT_FAILED, COMMITS };
static const char *const commit_names[COMMITS] = {
	[COMMIT_OK] = "ok", [COMMIT_CONFLICT] = "conflict", [COMMIT_FAILED] = "failed"};

struct metrics {
	pthread_mutex_t lock;
	struct {
		int status;
		uint64_t count;
	} requests[ROUTES_MAX + 1][STATUSES]; /* by place in the table; the last: no such path */
	struct histogram durations[KINDS];
	uint64_t rate_limited;
	uint64_t commits[COMMITS];
	struct histogram commit_durations;
};

struct metrics *metrics_new(void)
{
	struct metrics *m = xcalloc(1, sizeof(*m));

	pthread_mutex_init(&m->lock, NULL);
	return m;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* -- counting -- */

static void observe(struct histogram *h, uint64_t duration_ns)
{
	size_t i = 0;

	while (i < BUCKETS - 1 && duration_ns > bounds_ns[i])
		i++;
	h->buckets[i]++;
	h->sum_ns += duration_ns;
}

static enum kind kind_of(const struct request *q)
{
	if (q->was_waiting || q->stream)
		return KIND_WAITED;
	return q->route && (q->route->access == ACCESS_AGENT || q->route->access == ACCESS_ENROL)
		       ? KIND_AGENT
		       : KIND_API;
}

void metrics_request(struct metrics *m, const struct request *q, int status, uint64_t now_ns)
{
	size_t route = q->route ? (size_t)(q->route - route_at(0)) : ROUTES_MAX, i = 0;

	if (route > ROUTES_MAX)
		route = ROUTES_MAX;
	pthread_mutex_lock(&m->lock);
	while (i < STATUSES - 1 && m->requests[route][i].count &&
		m->requests[route][i].status != status)
		i++;
	m->requests[route][i].status = status;
	m->requests[route][i].count++;
	m->rate_limited += status == 429;
	observe(&m->durations[kind_of(q)], now_ns - q->started_ns);
	pthread_mutex_unlock(&m->lock);
}

void metrics_commit(void *metrics, uint64_t duration_ns, int rc)
{
	struct metrics *m = metrics;

	pthread_mutex_lock(&m->lock);
	m->commits[rc == 0 ? COMMIT_OK : rc == -EAGAIN ? COMMIT_CONFLICT : COMMIT_FAILED]++;
	observe(&m->commit_durations, duration_ns);
	pthread_mutex_unlock(&m->lock);
}

/* -- printing -- */

void metrics_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_quoted(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text; text++) {
		if (*text == '\n') {
			fputs("\\n", out);
			continue;
		}
		if (*text == '"' || *text == '\\')
			putc('\\', out);
		putc(*text, out);
	}
	putc('"', out);
}

static void single(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	metrics_head(out, name, type, help);
	fprintf(out, "%s %llu\n", name, (unsigned long long)value);
}

static double seconds(uint64_t ns)
{
	return (double)ns / (double)NS_PER_S;
}

/* labels: "" or `name="value"`. */
static void print_histogram(
	FILE *out, const char *name, const char *labels, const struct histogram *h)
{
	const char *comma = *labels ? "," : "", *open = *labels ? "{" : "",
		   *close = *labels ? "}" : "";
	uint64_t count = 0;

	for (size_t i = 0; i < BUCKETS; i++) {
		count += h->buckets[i];
		if (i < BUCKETS - 1)
			fprintf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma,
				seconds(bounds_ns[i]), (unsigned long long)count);
		else
			fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
				(unsigned long long)count);
	}
	fprintf(out, "%s_sum%s%s%s %.9g\n", name, open, labels, close, seconds(h->sum_ns));
	fprintf(out, "%s_count%s%s%s %llu\n", name, open, labels, close, (unsigned long long)count);
}

static const char *method_name(enum request_method method)
{
	static const char *const names[] = {[METHOD_GET] = "GET",
		[METHOD_POST] = "POST",
		[METHOD_PATCH] = "PATCH",
		[METHOD_DELETE] = "DELETE"};

	return method < METHOD_OTHER ? names[method] : "other";
}

static void print_requests(FILE *out, const struct metrics *m)
{
	metrics_head(out, "van_http_requests_total", "counter",
		"Requests answered, by operation and status.");
	for (size_t i = 0; i <= ROUTES_MAX; i++) {
		const struct route *route = i < ROUTES_MAX ? route_at(i) : NULL;

		for (size_t k = 0; k < STATUSES && m->requests[i][k].count; k++)
			fprintf(out,
				"van_http_requests_total{method=\"%s\",path=\"%s\",status=\"%d\"} "
				"%llu\n",
				route ? method_name(route->method) : "", route ? route->path : "",
				m->requests[i][k].status,
				(unsigned long long)m->requests[i][k].count);
	}
	metrics_head(out, "van_http_request_duration_seconds", "histogram",
		"Time from the head of a request to its answer; waited: long polls and streams.");
	for (size_t i = 0; i < KINDS; i++) {
		char labels[32];

		snprintf(labels, sizeof(labels), "kind=\"%s\"", kind_names[i]);
		print_histogram(out, "van_http_request_duration_seconds", labels, &m->durations[i]);
	}
	single(out, "van_http_rate_limited_total", "counter", "Requests answered with 429.",
		m->rate_limited);
}

static void print_commits(FILE *out, const struct metrics *m)
{
	metrics_head(out, "van_store_commits_total", "counter",
		"Transactions; conflict: somebody else was faster, it is tried again.");
	for (size_t i = 0; i < COMMITS; i++)
		fprintf(out, "van_store_commits_total{result=\"%s\"} %llu\n", commit_names[i],
			(unsigned long long)m->commits[i]);
	metrics_head(out, "van_store_commit_duration_seconds", "histogram",
		"Time until a transaction is on stable storage, or has failed.");
	print_histogram(out, "van_store_commit_duration_seconds", "", &m->commit_durations);
}

/* -- the process, as Prometheus' own client libraries name it -- */

static uint64_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count > 3 ? count - 3 : 0; /* ".", ".." and the directory itself */
}

/* Field n of /proc/self/stat, counted from 1 as in proc(5), beyond the program's name; 0: none. */
static uint64_t stat_field(const char *stat, int n)
{
	const char *at = strrchr(stat, ')');

	for (int i = 2; at && i < n; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static double start_time(uint64_t ticks, uint64_t ticks_per_s)
{
	uint64_t boot_ns = clock_wall_ns() - clock_boottime_ns();

	return seconds(boot_ns) + (double)ticks / (double)ticks_per_s;
}

static void print_process(FILE *out)
{
	uint64_t ticks_per_s = (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	FILE *in = fopen("/proc/self/stat", "re");
	char stat[1024] = "";
	struct rlimit limit;
	struct rusage usage;

	if (in) {
		stat[fread(stat, 1, sizeof(stat) - 1, in)] = '\0';
		fclose(in);
	}
	getrusage(RUSAGE_SELF, &usage);
	metrics_head(out, "process_cpu_seconds_total", "counter", "CPU time, user and system.");
	fprintf(out, "process_cpu_seconds_total %.6f\n",
		(double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
			(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	single(out, "process_resident_memory_bytes", "gauge", "Memory in use.",
		stat_field(stat, 24) * page);
	single(out, "process_virtual_memory_bytes", "gauge", "Address space in use.",
		stat_field(stat, 23));
	single(out, "process_threads", "gauge", "Threads.", stat_field(stat, 20));
	metrics_head(out, "process_start_time_seconds", "gauge", "Start, in seconds since 1970.");
	fprintf(out, "process_start_time_seconds %.2f\n",
		start_time(stat_field(stat, 22), ticks_per_s));
	single(out, "process_open_fds", "gauge", "Open descriptors.", open_descriptors());
	if (!getrlimit(RLIMIT_NOFILE, &limit))
		single(out, "process_max_fds", "gauge", "Descriptors that may be open.",
			limit.rlim_cur);
}

/* -- the console -- */

struct online {
	const struct soft *soft;
	uint64_t now_ns, count;
};

static void count_online(void *ctx, struct soft_node *n)
{
	struct online *o = ctx;

	o->count += soft_online(o->soft, n->id, o->now_ns);
}

static void print_store(FILE *out, struct store *store)
{
	uint64_t value = 0;

	single(out, "van_store_up", "gauge", "1 when the store can be reached.",
		store_fresh(store) == 0);
	if (!store_revision(store, &value))
		single(out, "van_store_revision", "gauge", "Revision of the store that reads see.",
			value);
	if (!store_count(store, "/nets/", &value))
		single(out, "van_networks", "gauge", "Networks in the store.", value);
	if (!store_count(store, "/nodes/", &value))
		single(out, "van_nodes", "gauge", "Nodes in the store.", value);
}

static void print_console(FILE *out, struct console *c)
{
	struct online online = {
		.soft = c->registry->soft, .now_ns = clock_boottime_ns(), .count = 0};
	struct stats_size size;

	metrics_head(out, "van_build_info", "gauge", "1, with the version as a label.");
	fprintf(out, "van_build_info{version=\"%s\"} 1\n", VAN_VERSION);
	soft_each(c->registry->soft, count_online, &online);
	single(out, "van_agents_online", "gauge", "Nodes that this console has heard lately.",
		online.count);
	single(out, "van_http_connections", "gauge", "Open connections to the API.",
		httpd_connections(c->httpd));
	single(out, "van_http_waiting", "gauge", "Long polls and streams that wait.",
		httpd_waiting(c->httpd));
	print_store(out, c->registry->store);
	stats_lock(c->stats);
	size = stats_size(c->stats);
	stats_unlock(c->stats);
	single(out, "van_stats_series", "gauge", "Time series that are kept.", size.series);
	single(out, "van_stats_memory_bytes", "gauge", "Memory of time series.", size.bytes);
	single(out, "van_stats_memory_limit_bytes", "gauge",
		"What it may take before history is shortened.", size.limit);
}

char *metrics_text(struct console *c, bool own, const char *org, size_t *ret_len)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		abort(); /* no memory, as in xcalloc() */
	if (own) {
		print_console(out, c);
		pthread_mutex_lock(&c->metrics->lock);
		print_requests(out, c->metrics);
		print_commits(out, c->metrics);
		pthread_mutex_unlock(&c->metrics->lock);
		print_process(out);
	}
	metrics_mesh(out, c, org);
	if (fclose(out))
		abort();
	*ret_len = len;
	return text;
}
