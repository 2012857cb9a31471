// SPDX-License-Identifier: Apache-2.0
/*
 * One call to the daemon is one probe. SIGINT and SIGTERM are blocked for the whole command and
 * looked for between probes (sigtimedwait(2) is also the pause), so that the summary is printed
 * when somebody has seen enough; no handler and no global state are needed. An interrupt during a
 * probe takes effect when that probe ends, which its timeout bounds.
 */
#include <signal.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "vanctl/cmd.h"
#include "vanctl/local.h"
#include "vanctl/text.h"

#define DEFAULT_TIMEOUT_MS 5000u
#define SLACK_MS           2000u
/* Samples kept for -o json; a run without end must not eat the memory. */
#define SAMPLES_MAX 100000u

struct ping {
	const char *peer;
	unsigned int timeout_ms;
	struct json_object *samples; /* NULL: not wanted */
	unsigned int sent, received;
	double min_ms, max_ms, sum_ms;
};

static void count_reply(struct ping *p, double rtt_ms)
{
	if (!p->received || rtt_ms < p->min_ms)
		p->min_ms = rtt_ms;
	if (!p->received || rtt_ms > p->max_ms)
		p->max_ms = rtt_ms;
	p->sum_ms += rtt_ms;
	p->received++;
}

static void add_sample(struct ping *p, struct json_object *reply, const char *error)
{
	struct json_object *sample;
	struct json_object *rtt = output_member(reply, "rtt_ms");

	if (!p->samples || json_object_array_length(p->samples) >= SAMPLES_MAX)
		return;
	sample = json_object_new_object();
	json_set_int(sample, "seq", p->sent);
	json_object_object_add(sample, "rtt_ms", json_object_get(rtt));
	json_set_string(sample, "endpoint", output_string(reply, "endpoint", NULL));
	json_set_string(sample, "error", error);
	json_object_array_add(p->samples, sample);
}

static void print_reply(
	struct vanctl *v, const struct ping *p, struct json_object *reply, double rtt_ms)
{
	fputs("reply from ", v->out);
	text_clean(v->out, output_string(reply, "peer", p->peer));
	fputs(" by ", v->out);
	text_clean(v->out, output_string(reply, "endpoint", "?"));
	fprintf(v->out, ": seq=%u time=%.3f ms\n", p->sent, rtt_ms);
	fflush(v->out);
}

static void print_loss(struct vanctl *v, const struct ping *p, const struct err *why)
{
	fprintf(v->out, "no reply: seq=%u ", p->sent);
	text_clean(v->out, why->text);
	fputc('\n', v->out);
	fflush(v->out);
}

/* Does this end the run, or only count as a lost probe? */
static bool is_loss(int rc)
{
	return rc == -VAN_E_TIMEOUT || rc == -VAN_E_UNREACHABLE;
}

/* One probe: 0 whether it was answered or lost. */
static int probe(struct vanctl *v, struct ping *p, struct err *e)
{
	CLEANUP(json) struct json_object *reply = NULL;
	struct json_object *arguments = json_object_new_object();
	struct err why = {0};
	double rtt_ms;
	int rc;

	json_set_string(arguments, "peer", p->peer);
	json_set_int(arguments, "timeout_ms", p->timeout_ms);
	p->sent++;
	rc = local_call(v, "ping", arguments, p->timeout_ms + SLACK_MS, &reply, &why);
	if (is_loss(rc)) {
		add_sample(p, NULL, why.text);
		if (!p->samples)
			print_loss(v, p, &why);
		return 0;
	}
	if (rc)
		return err_set(e, rc, "%s", why.text);
	if (!output_member(reply, "rtt_ms"))
		return err_set(e, -VAN_E_PROTOCOL, "vand's answer to ping has no rtt_ms");
	rtt_ms = json_object_get_double(output_member(reply, "rtt_ms"));
	count_reply(p, rtt_ms);
	add_sample(p, reply, NULL);
	if (!p->samples)
		print_reply(v, p, reply, rtt_ms);
	return 0;
}

static void set_rounded(struct json_object *o, const char *name, bool known, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.3f", value);
	json_object_object_add(o, name, known ? json_object_new_double_s(value, text) : NULL);
}

static double loss_percent(const struct ping *p)
{
	return p->sent ? 100.0 * (p->sent - p->received) / p->sent : 0;
}

static void summary_json(struct vanctl *v, const struct ping *p)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();

	json_set_string(o, "peer", p->peer);
	json_set_int(o, "sent", p->sent);
	json_set_int(o, "received", p->received);
	set_rounded(o, "loss_percent", true, loss_percent(p));
	set_rounded(o, "min_ms", p->received, p->min_ms);
	set_rounded(o, "avg_ms", p->received, p->received ? p->sum_ms / p->received : 0);
	set_rounded(o, "max_ms", p->received, p->max_ms);
	json_object_object_add(o, "samples", json_object_get(p->samples));
	output_with(&v->output, NULL, o);
}

static void summary_text(struct vanctl *v, const struct ping *p)
{
	fputs("--- ", v->out);
	text_clean(v->out, p->peer);
	fprintf(v->out, " ---\n%u sent, %u received, %.0f%% lost\n", p->sent, p->received,
		loss_percent(p));
	if (p->received)
		fprintf(v->out, "rtt min/avg/max = %.3f/%.3f/%.3f ms\n", p->min_ms,
			p->sum_ms / p->received, p->max_ms);
}

/* Waits until due_ns; true when a signal says to stop. */
static bool interrupted(const sigset_t *signals, uint64_t due_ns)
{
	for (;;) {
		uint64_t now_ns = clock_boottime_ns();
		uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
		struct timespec ts = {
			.tv_sec = (time_t)(left_ns / NS_PER_S),
			.tv_nsec = (long)(left_ns % NS_PER_S),
		};

		if (sigtimedwait(signals, NULL, &ts) >= 0)
			return true;
		if (errno != EINTR)
			return false;
	}
}

static int run(struct vanctl *v, struct ping *p, const sigset_t *signals, struct err *e)
{
	int64_t count = v->args->number[OPT_COUNT];
	uint64_t interval_ns = (uint64_t)v->args->number[OPT_INTERVAL] * NS_PER_MS;
	uint64_t due_ns = clock_boottime_ns();

	for (;;) {
		int rc = probe(v, p, e);

		if (rc)
			return rc;
		if (count && p->sent >= count)
			return 0;
		due_ns += interval_ns;
		/* After an answer that was long in coming the pause is short, but not skipped
		 * several times over. */
		if (due_ns < clock_boottime_ns())
			due_ns = clock_boottime_ns();
		if (interrupted(signals, due_ns))
			return 0;
	}
}

int cmd_ping(struct vanctl *v, struct err *e)
{
	const struct command_args *args = v->args;
	CLEANUP(json) struct json_object *samples = NULL;
	struct ping p = {
		.peer = args->positionals[0],
		.timeout_ms = args->set[OPT_TIMEOUT] ? v->timeout_ms : DEFAULT_TIMEOUT_MS,
	};
	sigset_t signals, before;
	int rc;

	if (v->output.writer == &output_json)
		p.samples = samples = json_object_new_array();
	/* "unreachable" must mean the peer later on: is there a daemon at all? */
	rc = local_call(v, "status", NULL, p.timeout_ms + SLACK_MS, NULL, e);
	if (rc)
		return rc;
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, &before);
	rc = run(v, &p, &signals, e);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return rc;
	if (p.samples)
		summary_json(v, &p);
	else
		summary_text(v, &p);
	if (!p.received)
		return err_set(e, -EIO, "%s", "");
	return 0;
}
