/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads a console with simulated agents over real HTTPS, and measures: how fast they enrol, how
 * long a change takes until the last of them has it, what that costs the console.
 *
 *   agentload --console URL --pin PIN --key-file FILE -n 1000 --pid $(pidof console-api)
 *
 * Everything runs in one thread. Steps: networks and tokens are made through the API; all agents
 * enrol, a bounded number at a time; then they poll and report as vand does. When they have come to
 * rest, one of each network is renamed, again and again, and it is noted when each agent has got a map
 * that shows the new name; then some are removed, which all others are to see.
 */
#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/key.h"
#include "lib/token.h"
#include "test/tools/load/agent.h"
#include "test/tools/load/options.h"

#define TICK_NS (10 * NS_PER_MS)
/* Without a map for so long: at rest. The pace of netmaps (docs/agents.md) twice, and some. */
#define QUIET_NS        (200 * NS_PER_MS)
#define QUIET_MEMBER_NS (800 * 1000ull)
#define ADMIN_TRIES     100

struct round {
	double *times_ms; /* ascending, of `reached`; heap */
	size_t reached, of;
	bool removal;
};

struct usage {
	uint64_t rss_kb, peak_kb, threads, descriptors;
	double cpu_s;
};

struct run {
	struct options opt;
	struct load load;
	struct conn admin;
	char key[128];
	int admin_status; /* of the request under way; -1: none yet */
	char *admin_body; /* heap */
	uint64_t started_ns, end_ns;
	double enrol_s, settle_s, idle_cpu, changes_cpu, changes_s;
	uint64_t handshakes_enrol, threads_max, descriptors_max;
	struct usage before, rest, after;
	char secrets[NETS_MAX][64]; /* of the networks' tokens */
	struct round rounds[2 * ROUNDS_MAX];
	size_t round_count;
};

static double seconds(uint64_t ns)
{
	return (double)ns / (double)NS_PER_S;
}

__attribute__((noreturn)) static void give_up(const char *what)
{
	fprintf(stderr, "agentload: %s\n", what);
	exit(1);
}

/* -- the console's process -- */

static uint64_t count_descriptors(pid_t pid)
{
	uint64_t count = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count > 2 ? count - 2 : 0; /* "." and ".." */
}

static struct usage read_usage(pid_t pid)
{
	unsigned long long user = 0, system = 0;
	struct usage u = {0};
	char path[64], line[1024];
	const char *at;
	FILE *f;

	if (!pid)
		return u;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		give_up("the console is gone");
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "VmRSS:", 6))
			u.rss_kb = strtoull(line + 6, NULL, 10);
		else if (!strncmp(line, "VmHWM:", 6))
			u.peak_kb = strtoull(line + 6, NULL, 10);
		else if (!strncmp(line, "Threads:", 8))
			u.threads = strtoull(line + 8, NULL, 10);
	}
	fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		give_up("the console is gone");
	fclose(f);
	at = strrchr(line, ')'); /* the third field follows; 14 and 15 are the times */
	if (at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
			  &system) == 2)
		u.cpu_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
	u.descriptors = count_descriptors(pid);
	return u;
}

static struct usage usage_of(struct run *r)
{
	struct usage u = read_usage(r->opt.pid);

	if (u.threads > r->threads_max)
		r->threads_max = u.threads;
	if (u.descriptors > r->descriptors_max)
		r->descriptors_max = u.descriptors;
	return u;
}

static double own_cpu_s(void)
{
	struct rusage own;

	getrusage(RUSAGE_SELF, &own);
	return (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
	       (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
}

/* -- the loop -- */

static void turn(struct run *r)
{
	static uint64_t ticked_ns;
	uint64_t now_ns;

	conn_serve(&r->load.target, 10);
	now_ns = clock_boottime_ns();
	if (now_ns > r->end_ns)
		give_up("not done within the time limit (--limit)");
	if (now_ns < ticked_ns + TICK_NS)
		return;
	ticked_ns = now_ns;
	for (size_t i = 0; i < r->load.count; i++)
		agent_tick(&r->load.agents[i], now_ns);
}

static void run_for(struct run *r, uint64_t ns)
{
	uint64_t end_ns = clock_boottime_ns() + ns;

	while (clock_boottime_ns() < end_ns)
		turn(r);
}

/* -- the API -- */

static void on_admin(struct conn *c, const struct conn_answer *answer)
{
	struct run *r = c->ctx;

	free(r->admin_body);
	r->admin_body = strndup(answer->body ? answer->body : "", answer->body_len);
	r->admin_status = answer->status;
}

static void admin_start(struct run *r, const char *method, const char *path, const char *body)
{
	CLEANUP(free) char *extra = NULL;

	if (asprintf(&extra, "Authorization: Bearer %s\r\nIf-Match: *\r\n", r->key) < 0)
		abort();
	r->admin_status = -1;
	conn_send(&r->admin, method, path, extra, body, on_admin);
}

/* Waits for the answer; its status. Tries again while the console has no time. */
static int admin(struct run *r, const char *method, const char *path, const char *body)
{
	for (int i = 0; i < ADMIN_TRIES; i++) {
		admin_start(r, method, path, body);
		while (r->admin_status < 0)
			turn(r);
		if (r->admin_status != 0 && r->admin_status != 429 && r->admin_status != 503)
			break;
		run_for(r, 100 * NS_PER_MS);
	}
	return r->admin_status;
}

/* The name of the network number i. */
static void name_network(const struct run *r, size_t i, char ret_name[64])
{
	if (i)
		snprintf(ret_name, 64, "%s-%zu", r->opt.network, i);
	else
		snprintf(ret_name, 64, "%s", r->opt.network);
}

static void prepare_network(struct run *r, size_t i)
{
	CLEANUP(json) struct json_object *o = NULL;
	char name[64], path[128], body[512];
	struct token token;
	const char *text;
	struct err e = {0};
	int status;

	name_network(r, i, name);
	snprintf(body, sizeof(body), "{\"name\":\"%s\",\"cidr\":\"10.%zu.0.0/16\"}", name, i);
	status = admin(r, "POST", "/api/v1/networks", body);
	if (status != 201 && status != 409)
		give_up(r->admin_body);
	snprintf(path, sizeof(path), "/api/v1/networks/%s/tokens", name);
	snprintf(body, sizeof(body), "{\"uses\":%zu}", r->opt.agents);
	if (admin(r, "POST", path, body) != 201 ||
		json_parse(r->admin_body, strlen(r->admin_body), &o, &e) ||
		json_get_string(o, "", "token", 1, TOKEN_TEXT_MAX, &text, &e) ||
		token_parse(text, &token, &e))
		give_up(e.code ? e.text : r->admin_body);
	key_base64(token.secret, sizeof(token.secret), true, r->secrets[i]);
}

/* -- steps -- */

static void enrol_all(struct run *r)
{
	struct load *l = &r->load;
	uint64_t begin_ns = clock_boottime_ns();

	while (l->enrolled < l->count) {
		uint64_t now_ns = clock_boottime_ns();
		size_t busy = 0;

		for (size_t i = 0; i < l->count; i++)
			busy += l->agents[i].state == AGENT_ENROLLING;
		for (size_t i = 0; i < l->count && busy < r->opt.parallel; i++) {
			struct agent *a = &l->agents[i];

			if (a->state != AGENT_NEW || a->poll_at_ns > now_ns)
				continue;
			agent_enroll(a);
			busy++;
		}
		turn(r);
	}
	r->enrol_s = seconds(clock_boottime_ns() - begin_ns);
	r->handshakes_enrol = l->target.handshakes;
}

/* Until all have a map and none got another for a while. */
static void settle(struct run *r)
{
	const struct load *l = &r->load;

	for (;;) {
		size_t with_map = 0, up = 0;

		turn(r);
		if (clock_boottime_ns() <
			l->changed_ns + QUIET_NS + l->count / r->opt.nets * QUIET_MEMBER_NS)
			continue;
		for (size_t i = 0; i < l->count; i++) {
			if (l->agents[i].state != AGENT_UP)
				continue;
			up++;
			with_map += l->agents[i].polling && l->agents[i].revision[0];
		}
		if (with_map == up || r->opt.fresh)
			return;
	}
}

static int compare_times(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* A request of the admin's, without waiting for its answer. */
struct order {
	const char *method;
	char path[200], body[128];
};

static size_t reset_reached(struct load *l)
{
	size_t up = 0;

	for (size_t i = 0; i < l->count; i++) {
		l->agents[i].reached_ns = 0;
		up += l->agents[i].state == AGENT_UP;
	}
	l->reached = 0;
	return up;
}

/* Sends the orders one after the other, until all agents have seen what is marked. */
static void one_round(struct run *r, const struct order *orders, size_t count, bool removal)
{
	struct round *round = &r->rounds[r->round_count++];
	struct load *l = &r->load;
	uint64_t begin_ns = clock_boottime_ns();
	size_t sent = 0;

	*round = (struct round){.removal = removal, .of = reset_reached(l)};
	round->times_ms = calloc(l->count, sizeof(*round->times_ms));
	if (!round->times_ms)
		abort();
	r->admin_status = 200;
	while (l->reached < round->of || r->admin_status < 0 || sent < count) {
		if (r->admin_status >= 400 || r->admin_status == 0)
			give_up(r->admin_body);
		if (r->admin_status > 0 && sent < count) {
			const struct order *o = &orders[sent++];

			admin_start(r, o->method, o->path, o->body[0] ? o->body : NULL);
		}
		turn(r);
		if (clock_boottime_ns() > begin_ns + 30 * NS_PER_S)
			break;
	}
	l->mark.text[0] = '\0';
	for (size_t i = 0; i < l->count; i++) {
		if (l->agents[i].reached_ns)
			round->times_ms[round->reached++] =
				seconds(l->agents[i].reached_ns - begin_ns) * 1000;
	}
	qsort(round->times_ms, round->reached, sizeof(double), compare_times);
}

/* One in each network. */
static void rename_some(struct run *r, unsigned int i)
{
	struct order orders[NETS_MAX] = {0};
	struct load *l = &r->load;
	char name[64];

	snprintf(l->mark.text, sizeof(l->mark.text), "renamed-%08x-%u", randombytes_random(), i);
	l->mark.gone = false;
	for (size_t k = 0; k < r->opt.nets; k++) {
		name_network(r, k, name);
		orders[k].method = "PATCH";
		snprintf(orders[k].path, sizeof(orders[k].path), "/api/v1/networks/%s/nodes/%s",
			name, l->agents[k].node_id);
		snprintf(orders[k].body, sizeof(orders[k].body), "{\"name\":\"%s-%zu\"}",
			l->mark.text, k);
	}
	one_round(r, orders, r->opt.nets, false);
}

static void remove_one(struct run *r, unsigned int i)
{
	struct load *l = &r->load;
	const struct agent *victim = &l->agents[l->count - 1 - i];
	struct order order = {.method = "DELETE"};

	snprintf(l->mark.text, sizeof(l->mark.text), "%s", victim->node_id);
	l->mark.gone = true;
	snprintf(order.path, sizeof(order.path), "/api/v1/nodes/%s", victim->node_id);
	one_round(r, &order, 1, true);
}

/* -- the report -- */

static void add_double(struct json_object *o, const char *name, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.2f", value);
	json_object_object_add(o, name, json_object_new_double_s(value, text));
}

/* What part of an ascending list is not above. */
static double part_of(const double *times, size_t n, size_t percent)
{
	size_t at = (n * percent + 99) / 100;

	return n ? times[at ? at - 1 : 0] : 0;
}

static void add_times(struct json_object *o, double *times, size_t n)
{
	qsort(times, n, sizeof(*times), compare_times);
	add_double(o, "p50_ms", part_of(times, n, 50));
	add_double(o, "p99_ms", part_of(times, n, 99));
	add_double(o, "max_ms", part_of(times, n, 100));
}

/* Of all agents in all rounds together, and of the round with the highest p99. */
static struct json_object *rounds_object(const struct run *r, bool removal)
{
	CLEANUP(free) double *all = calloc(r->round_count + 1, r->load.count * sizeof(double));
	struct json_object *o = json_object_new_object();
	size_t reached = 0, of = 0, n = 0;
	double worst = 0;

	if (!all)
		abort();
	for (size_t i = 0; i < r->round_count; i++) {
		const struct round *round = &r->rounds[i];
		double p99 = part_of(round->times_ms, round->reached, 99);

		if (round->removal != removal)
			continue;
		n++;
		memcpy(all + reached, round->times_ms, round->reached * sizeof(double));
		reached += round->reached;
		of += round->of;
		worst = p99 > worst ? p99 : worst;
	}
	json_set_int(o, "rounds", (int64_t)n);
	json_set_int(o, "missed", (int64_t)(of - reached));
	add_times(o, all, reached);
	add_double(o, "worst_round_p99_ms", worst);
	return o;
}

static struct json_object *result(const struct run *r)
{
	struct json_object *o = json_object_new_object();
	const struct load *l = &r->load;

	json_set_int(o, "agents", (int64_t)l->count);
	json_set_string(o, "connections", r->opt.fresh ? "fresh" : "kept");
	json_set_int(o, "networks", (int64_t)r->opt.nets);
	json_set_bool(o, "deltas", !l->old);
	add_double(o, "enrol_s", r->enrol_s);
	add_double(o, "enrolments_per_s", (double)l->count / r->enrol_s);
	add_double(o, "settle_s", r->settle_s);
	json_object_object_add(o, "change", rounds_object(r, false));
	json_object_object_add(o, "removal", rounds_object(r, true));
	json_set_int(o, "handshakes", (int64_t)l->target.handshakes);
	json_set_int(o, "resumed", (int64_t)l->target.resumed);
	add_double(o, "handshakes_per_s_enrolling", (double)r->handshakes_enrol / r->enrol_s);
	json_set_int(o, "polls", (int64_t)l->polls);
	json_set_int(o, "whole_maps", (int64_t)l->maps);
	json_set_int(o, "patches", (int64_t)l->patches);
	json_set_int(o, "map_bytes", (int64_t)l->map_bytes);
	json_set_int(o, "reports", (int64_t)l->reports);
	json_set_int(o, "told_to_wait", (int64_t)l->refused);
	json_set_int(o, "failures", (int64_t)l->failures);
	json_set_int(o, "wrong_maps", (int64_t)l->wrong);
	add_double(o, "console_cpu_s", r->after.cpu_s - r->before.cpu_s);
	add_double(o, "console_cpu_idle_percent", r->idle_cpu);
	add_double(o, "console_cpu_ms_per_change",
		r->round_count ? 1000 * r->changes_cpu / (double)r->round_count : 0);
	add_double(o, "own_cpu_s", own_cpu_s());
	json_set_int(o, "console_threads_before", (int64_t)r->before.threads);
	json_set_int(o, "console_threads_max", (int64_t)r->threads_max);
	json_set_int(o, "console_descriptors_max", (int64_t)r->descriptors_max);
	json_set_int(o, "console_rss_start_kb", (int64_t)r->before.rss_kb);
	json_set_int(o, "console_rss_rest_kb", (int64_t)r->rest.rss_kb);
	json_set_int(o, "console_rss_kb", (int64_t)r->after.rss_kb);
	json_set_int(o, "console_rss_peak_kb", (int64_t)r->after.peak_kb);
	return o;
}

static void print_result(const struct run *r)
{
	CLEANUP(json) struct json_object *o = result(r);

	if (r->opt.json) {
		puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
		return;
	}
	json_object_object_foreach(o, name, value)
		printf("%-28s %s\n", name, json_object_to_json_string(value));
}

/* -- the run -- */

static void read_key(struct run *r)
{
	CLEANUP(free) char *text = NULL;
	struct err e = {0};
	size_t len;

	if (file_read(r->opt.key_file, sizeof(r->key) - 1, &text, &len, &e))
		give_up(e.text);
	text[strcspn(text, "\r\n")] = '\0';
	snprintf(r->key, sizeof(r->key), "%s", text);
	sodium_memzero(text, len);
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void measure(struct run *r)
{
	struct usage begin, end;
	uint64_t begin_ns = clock_boottime_ns();

	enrol_all(r);
	settle(r);
	r->settle_s = seconds(clock_boottime_ns() - begin_ns) - r->enrol_s;
	begin = usage_of(r);
	run_for(r, r->opt.idle_s * NS_PER_S);
	end = r->rest = usage_of(r);
	r->idle_cpu = r->opt.idle_s ? 100 * (end.cpu_s - begin.cpu_s) / r->opt.idle_s : 0;
	begin = end;
	begin_ns = clock_boottime_ns();
	for (unsigned int i = 0; i < r->opt.changes; i++) {
		settle(r);
		rename_some(r, i);
	}
	for (unsigned int i = 0; i < r->opt.removals && i + 1 < r->load.count; i++) {
		settle(r);
		remove_one(r, i);
	}
	settle(r);
	r->after = usage_of(r);
	r->changes_s = seconds(clock_boottime_ns() - begin_ns);
	/* What polls and reports cost all the time is not the changes'. */
	r->changes_cpu = r->after.cpu_s - begin.cpu_s - r->changes_s * r->idle_cpu / 100;
}

int main(int argc, char **argv)
{
	static struct run r;
	struct load *l = &r.load;

	if (sodium_init() < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	r.opt = options_read(argc, argv);
	raise_descriptor_limit();
	read_key(&r);
	if (conn_target_init(&l->target, r.opt.console, r.opt.pin))
		return 1;
	l->target.spread = r.opt.sources;
	l->target.resume = r.opt.resume;
	l->verify = r.opt.verify;
	l->report_s = r.opt.report_s;
	l->old = r.opt.old;
	l->fresh = r.opt.fresh;
	l->seed = r.opt.seed;
	r.started_ns = clock_boottime_ns();
	r.end_ns = r.started_ns + r.opt.limit_s * NS_PER_S;
	r.before = usage_of(&r);
	conn_init(&r.admin, &l->target, 0, &r);
	for (size_t i = 0; i < r.opt.nets; i++)
		prepare_network(&r, i);
	l->agents = calloc(r.opt.agents, sizeof(*l->agents));
	if (!l->agents)
		abort();
	for (size_t i = 0; i < r.opt.agents; i++) {
		agent_init(l, &l->agents[i], i);
		l->agents[i].secret = r.secrets[i % r.opt.nets];
	}
	l->count = r.opt.agents;
	measure(&r);
	print_result(&r);
	for (size_t i = 0; i < l->count; i++)
		agent_done(&l->agents[i]);
	free(l->agents);
	for (size_t i = 0; i < r.round_count; i++)
		free(r.rounds[i].times_ms);
	conn_done_with(&r.admin);
	free(r.admin_body);
	conn_target_done(&l->target);
	sodium_memzero(&r.key, sizeof(r.key));
	sodium_memzero(&r.secrets, sizeof(r.secrets));
	return l->failures || l->wrong ? 1 : 0;
}
