/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/load/agent.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/agenthello.h"
#include "lib/agentsig.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/mergepatch.h"
#include "lib/netmap_delta.h"

#define WAIT_S      30
#define RETRY_NS    (500 * NS_PER_MS)
#define SECONDS_MAX 30 /* of single seconds in a report, as vand has it */
#define PEERS_BUSY  4  /* with which a node has traffic */
#define PATCH_TYPE  "Accept: application/merge-patch+json, application/json\r\n"

/* Made of the text and the number: the same one in every run. */
static void seed_identity(const char *text, size_t number, struct identity *ret_id)
{
	uint8_t seeds[2][crypto_sign_SEEDBYTES], hash[crypto_generichash_BYTES_MAX];
	CLEANUP(free) char *name = NULL;

	_Static_assert(sizeof(hash) == sizeof(seeds), "two of 32 bytes");
	if (asprintf(&name, "%s-%zu", text, number) < 0)
		abort();
	crypto_generichash(hash, sizeof(hash), (const uint8_t *)name, strlen(name), NULL, 0);
	memcpy(seeds, hash, sizeof(seeds));
	memcpy(ret_id->secret.bytes, seeds[0], KEY_LEN);
	crypto_scalarmult_base(ret_id->public.bytes, ret_id->secret.bytes);
	crypto_sign_seed_keypair(ret_id->sign_public.bytes, ret_id->sign_secret, seeds[1]);
}

void agent_init(struct load *l, struct agent *a, size_t number)
{
	memset(a, 0, sizeof(*a));
	a->load = l;
	a->number = number;
	if (l->seed)
		seed_identity(l->seed, number, &a->identity);
	else
		identity_generate(&a->identity);
	while (!a->instance)
		randombytes_buf(&a->instance, sizeof(a->instance));
	conn_init(&a->poll, &l->target, (unsigned int)number, a);
	conn_init(&a->report, &l->target, (unsigned int)number, a);
	a->poll.fresh = a->report.fresh = l->fresh;
}

void agent_done(struct agent *a)
{
	conn_done_with(&a->poll);
	conn_done_with(&a->report);
	json_object_put(a->map);
	identity_wipe(&a->identity);
}

char *agent_sign(const struct agent *a, const char *node, const char *console, const char *method,
	const char *path, const char *body)
{
	const struct agentsig_request r = {.method = method,
		.path = path,
		.body = body ? body : "",
		.body_len = body ? strlen(body) : 0,
		.console_id = console};
	const struct agenthello hello = {.version = VAN_VERSION,
		.protocol = AGENTHELLO_PROTOCOL,
		.instance = a->instance,
		.start = 1};
	char header[AGENTSIG_HEADER_MAX], said[AGENTHELLO_TEXT_MAX], *line;

	agentsig_sign(&r, node, clock_wall_ns() / NS_PER_S, a->identity.sign_secret, header);
	agenthello_format(&hello, said);
	if (asprintf(&line, "Authorization: %s\r\n%s%s%s", header,
		    a->load->old ? "" : AGENTHELLO_NAME ": ", a->load->old ? "" : said,
		    a->load->old ? "" : "\r\n") < 0)
		abort();
	return line;
}

static void later(uint64_t *at_ns, uint64_t pause_ns)
{
	*at_ns = clock_boottime_ns() + pause_ns;
}

/* How long to wait after a failure; counts it. */
static uint64_t failed(struct agent *a, const struct conn_answer *answer)
{
	struct load *l = a->load;

	if (answer->status == 429 || answer->status == 503)
		l->refused++;
	else
		l->failures++;
	if (!answer->status)
		fprintf(stderr, "agentload: agent %zu: no answer: ended while %s, after %.1f s\n",
			a->number, answer->failed_in, (double)answer->failed_after_ns / NS_PER_S);
	if (answer->status && answer->status != 429 && answer->status != 503)
		fprintf(stderr, "agentload: agent %zu: HTTP status %d: %.300s\n", a->number,
			answer->status, answer->body);
	return answer->retry_after_s ? answer->retry_after_s * NS_PER_S : RETRY_NS;
}

/* -- enrolment -- */

static void on_enrolled(struct conn *c, const struct conn_answer *answer)
{
	struct agent *a = c->ctx;
	struct load *l = a->load;
	CLEANUP(json) struct json_object *o = NULL;
	const char *id = "", *net_id = "", *console = "";
	struct json_object *node, *net;

	if (answer->status != 200 && answer->status != 201) {
		later(&a->poll_at_ns, failed(a, answer));
		a->state = AGENT_NEW;
		return;
	}
	if (json_parse(answer->body, answer->body_len, &o, NULL) ||
		json_get_object(o, "", "node", &node, NULL) ||
		json_get_string(node, "", "id", 1, NETMAP_ID_MAX, &id, NULL) ||
		json_get_object(o, "", "network", &net, NULL) ||
		json_get_string(net, "", "id", 1, NETMAP_ID_MAX, &net_id, NULL) ||
		(json_get_string(o, "", "self", 1, NETMAP_ID_MAX, &console, NULL) &&
			json_get_string(o, "", "console", 1, NETMAP_ID_MAX, &console, NULL))) {
		fprintf(stderr, "agentload: no answer to an enrolment: %s\n", answer->body);
		exit(1);
	}
	snprintf(a->node_id, sizeof(a->node_id), "%s", id);
	snprintf(a->net_id, sizeof(a->net_id), "%s", net_id);
	a->up_ns = clock_boottime_ns();
	snprintf(l->console_id, sizeof(l->console_id), "%s", console);
	l->enrolled++;
	a->state = AGENT_UP;
	a->poll_at_ns = 1;
	/* Reports are spread over the interval, as those of nodes are that start at any time. */
	later(&a->report_at_ns, randombytes_uniform(l->report_s * 1000 + 1) * NS_PER_MS);
}

void agent_enroll(struct agent *a)
{
	static const char path[] = "/agent/v1/enroll";
	CLEANUP(free) char *body = NULL;
	CLEANUP(free) char *extra = NULL;
	char key[KEY_TEXT_LEN], sign_key[KEY_TEXT_LEN];

	key_format(&a->identity.public, key);
	key_format(&a->identity.sign_public, sign_key);
	if (asprintf(&body,
		    "{\"secret\":\"%s\",\"name\":\"load-%zu\",\"public_key\":\"%s\","
		    "\"sign_key\":\"%s\",\"address\":null,\"version\":\"" VAN_VERSION "\"}",
		    a->secret, a->number, key, sign_key) < 0)
		abort();
	extra = agent_sign(a, "enroll", "", "POST", path, body);
	a->state = AGENT_ENROLLING;
	a->poll_at_ns = 0;
	conn_send(&a->poll, "POST", path, extra, body, on_enrolled);
}

/* -- polling -- */

/* The value after "NAME": at its first appearance. */
static const char *find_member(const struct conn_answer *answer, const char *quoted)
{
	const char *at = memmem(answer->body, answer->body_len, quoted, strlen(quoted));

	return at ? at + strlen(quoted) : NULL;
}

static bool take_revision(struct agent *a, const struct conn_answer *answer)
{
	const char *generation = find_member(answer, "\"generation\":");
	const char *number = find_member(answer, "\"number\":");
	uint64_t had_generation = 0, had = 0, value;
	char hex[17];

	if (!number)
		return false;
	value = strtoull(number + strspn(number, " "), NULL, 10);
	if (generation) {
		snprintf(hex, sizeof(hex), "%.16s", strchr(generation, '"') + 1);
		had_generation = strtoull(hex, NULL, 16);
	} else if (!netmap_revision_parse(a->revision, &had_generation, &had)) {
		return false;
	}
	netmap_revision_format(had_generation, value, a->revision);
	return true;
}

static bool marked(const struct mark *m, const struct conn_answer *answer)
{
	const char *at;

	if (!m->text[0])
		return false;
	at = memmem(answer->body, answer->body_len, m->text, strlen(m->text));
	if (!m->gone)
		return at;
	return answer->patch ? at && !strncmp(at + strlen(m->text), "\":null", 6) : !at;
}

/* The whole work of a real agent, up to the data path. */
static void verify(struct agent *a, const struct conn_answer *answer)
{
	CLEANUP(json) struct json_object *o = NULL;
	CLEANUP(json) struct json_object *whole = NULL;
	CLEANUP(netmap) struct netmap *map = NULL;
	struct err e = {0};
	int rc = json_parse(answer->body, answer->body_len, &o, &e);

	if (!rc && answer->patch) {
		whole = a->map;
		a->map = mergepatch_apply(whole, o);
		json_object_put(STEAL(whole));
	} else if (!rc) {
		json_object_put(a->map);
		a->map = netmap_delta_keyed(o);
	}
	if (!rc && !netmap_delta_verify(a->map))
		rc = err_set(&e, -VAN_E_INVALID, "the hash is not of the map");
	if (!rc) {
		whole = netmap_delta_whole(a->map);
		rc = netmap_from_json(whole, &map, &e);
	}
	if (rc) {
		fprintf(stderr, "agentload: agent %zu got a map that is wrong: %s\n", a->number,
			e.text);
		a->load->wrong++;
		a->revision[0] = '\0'; /* ask for the whole */
	}
}

static void take_map(struct agent *a, const struct conn_answer *answer)
{
	struct load *l = a->load;

	l->changed_ns = clock_boottime_ns();
	l->map_bytes += answer->body_len;
	if (answer->patch)
		l->patches++;
	else
		l->maps++;
	if (!take_revision(a, answer)) {
		fprintf(stderr, "agentload: agent %zu got no netmap: %.200s\n", a->number,
			answer->body);
		l->wrong++;
		return;
	}
	if (!l->old && a->number < l->verify)
		verify(a, answer);
	if (!a->reached_ns && marked(&l->mark, answer)) {
		a->reached_ns = l->changed_ns;
		l->reached++;
	}
}

static void on_polled(struct conn *c, const struct conn_answer *answer)
{
	struct agent *a = c->ctx;

	a->polling = false;
	a->poll_at_ns = 1;
	a->load->polls++;
	if (answer->status == 200) {
		take_map(a, answer);
	} else if (answer->status == 410) {
		a->state = AGENT_REMOVED;
		a->reached_ns = clock_boottime_ns();
		a->load->reached++;
	} else if (answer->status != 204) {
		later(&a->poll_at_ns, failed(a, answer));
	}
	if (a->poll_at_ns == 1)
		agent_tick(a, 2);
}

static void poll_netmap(struct agent *a)
{
	CLEANUP(free) char *line = NULL;
	CLEANUP(free) char *extra = NULL;
	char path[128] = "/agent/v1/netmap";

	if (a->revision[0])
		snprintf(path, sizeof(path), "/agent/v1/netmap?since=%s&wait=%d", a->revision,
			WAIT_S);
	line = agent_sign(a, a->node_id, a->load->console_id, "GET", path, NULL);
	if (asprintf(&extra, "%s%s", line, a->load->old ? "" : PATCH_TYPE) < 0)
		abort();
	a->polling = true;
	conn_send(&a->poll, "GET", path, extra, NULL, on_polled);
}

/* -- reporting -- */

static void on_reported(struct conn *c, const struct conn_answer *answer)
{
	struct agent *a = c->ctx;
	struct load *l = a->load;

	a->reporting = false;
	if (answer->status == 200) {
		l->reports++;
		later(&a->report_at_ns, l->report_s * NS_PER_S);
	} else if (answer->status != 410) {
		later(&a->report_at_ns, failed(a, answer));
	}
}

/* Traffic in each of the last seconds, never twice the same, and the sums that go with it. */
static void print_network(struct agent *a, FILE *out)
{
	static const char *const names[] = {"rx_bytes", "tx_bytes", "rx_packets", "tx_packets"};
	unsigned int seconds = a->load->report_s < SECONDS_MAX ? a->load->report_s : SECONDS_MAX;

	fprintf(out, "{\"id\":\"%s\",\"last\":{", a->net_id);
	for (size_t m = 0; m < 4; m++) {
		fprintf(out, "%s\"%s\":[", m ? "," : "", names[m]);
		for (unsigned int i = 0; i < seconds; i++) {
			uint32_t n = randombytes_uniform(m < 2 ? 100000000 : 100000);

			fprintf(out, "%s%u", i ? "," : "", n);
			a->counted[m] += n;
		}
		fputs("]", out);
	}
	fputs("}", out);
	for (size_t m = 0; m < 4; m++)
		fprintf(out, ",\"%s\":%" PRIu64, names[m], a->counted[m]);
	fputs("}", out);
}

static void print_stats(struct agent *a, FILE *out)
{
	struct load *l = a->load;
	uint64_t tick = (clock_boottime_ns() - a->up_ns) / NS_PER_S + l->report_s;
	unsigned int seconds = l->report_s < SECONDS_MAX ? l->report_s : SECONDS_MAX;
	const char *comma = "";

	fprintf(out,
		",\"stats\":{\"instance\":\"%016" PRIx64 "\",\"tick\":%" PRIu64
		",\"seconds\":%u,\"networks\":[",
		a->instance, tick, seconds);
	print_network(a, out);
	fprintf(out, "],\"drops\":{\"bad_tag\":%" PRIu64 "},\"peers\":[", tick);
	for (size_t i = 1; i <= PEERS_BUSY; i++) {
		const struct agent *peer = &l->agents[(a->number + i) % l->count];

		if (peer == a || peer->state != AGENT_UP)
			continue;
		fprintf(out, "%s{\"id\":\"%s\",\"sent\":1,\"answered\":1,\"rtt_us\":%u}", comma,
			peer->node_id, 200 + randombytes_uniform(2000));
		comma = ",";
	}
	fputs("]}", out);
}

static char *report_body(struct agent *a)
{
	unsigned int n = (unsigned int)a->number;
	const char *quote = a->revision[0] ? "\"" : "";
	char *body = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&body, &len);

	if (!out)
		abort();
	fprintf(out,
		"{\"port\":4826,\"local\":[\"10.%u.%u.%u\"],\"advertise\":[],\"external\":[],"
		"\"applied\":%s%s%s,\"version\":\"" VAN_VERSION
		"\",\"networks\":[{\"id\":\"%s\",\"ifname\":\"vcider0\"}]",
		n >> 16 & 255, n >> 8 & 255, n & 255, quote, a->revision[0] ? a->revision : "null",
		quote, a->net_id);
	if (!a->load->old)
		print_stats(a, out);
	fputs("}", out);
	if (fclose(out))
		abort();
	return body;
}

static void report(struct agent *a)
{
	static const char path[] = "/agent/v1/report";
	CLEANUP(free) char *body = report_body(a);
	CLEANUP(free) char *extra = NULL;

	extra = agent_sign(a, a->node_id, a->load->console_id, "POST", path, body);
	a->reporting = true;
	a->report_at_ns = 0;
	conn_send(&a->report, "POST", path, extra, body, on_reported);
}

void agent_tick(struct agent *a, uint64_t now_ns)
{
	if (a->state != AGENT_UP)
		return;
	if (!a->polling && a->poll_at_ns && a->poll_at_ns <= now_ns) {
		a->poll_at_ns = 0;
		poll_netmap(a);
	}
	if (!a->reporting && a->report_at_ns && a->report_at_ns <= now_ns)
		report(a);
}
