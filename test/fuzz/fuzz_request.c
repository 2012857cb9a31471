/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request as the API sees it: "METHOD TARGET", headers, an empty line, the body. Everything runs
 * that strangers can reach: target, route, query, credentials, body, and the handler with all of
 * its checks, as a console administrator and (for agents' operations) as a node, on a small mesh in
 * memory. The store refuses to commit, so each input finds the same mesh. An answer must be JSON,
 * whatever it quotes.
 */
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "console-api/agent.h"
#include "console-api/console.h"
#include "console-api/idempotency.h"
#include "console-api/jointoken.h"
#include "console-api/network.h"
#include "console-api/routes.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"

#define NOW_S 1900000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct actor admin = {.who = "key:fuzz", .org = ORG_DEFAULT, .role = ROLE_CONSOLE};

struct world {
	struct console c;
	struct store_ops ops; /* of a store that takes nothing more */
	char node_id[NETMAP_ID_MAX + 1];
};

/* Ends with what did not hold. */
#define MUST(condition)                                 \
	do {                                            \
		if (!(condition)) {                     \
			fputs(#condition "\n", stderr); \
			abort();                        \
		}                                       \
	} while (0)

static int full(struct store *s, const struct store_txn *txn, uint64_t *ret_revision)
{
	(void)s;
	(void)txn;
	(void)ret_revision;
	return -ENOSPC;
}

/* A network with a node in it. */
static void furnish(struct world *w)
{
	struct registry *r = w->c.registry;
	struct network_spec spec = {.name = "blue", .mtu = 1360};
	struct jointoken_spec uses = {.uses = 1, .ttl_s = 1000000};
	struct enrolment en = {.name = "web", .version = "1"};
	struct json_object *view = NULL;
	struct token token = {0};
	struct problem p = {0};
	struct enrolled out;
	struct network net;

	MUST(cidr_parse("172.16.1.0/24", &spec.cidr));
	MUST(cidr_parse("fd00:1::/64", &spec.cidr6));
	MUST(!network_create(r, &admin, &spec, &net, &p));
	MUST(!jointoken_issue(r, &admin, "blue", &uses, &view, &p));
	MUST(!token_parse(record_text(view, "token"), &token, NULL));
	json_object_put(view);
	memcpy(en.secret, token.secret, sizeof(en.secret));
	randombytes_buf(&en.public_key, sizeof(en.public_key));
	randombytes_buf(&en.sign_key, sizeof(en.sign_key));
	MUST(!agent_enroll(r, &admin, &en, clock_wall_ns() / NS_PER_S, &out, &p));
	memcpy(w->node_id, out.node_id, sizeof(out.node_id));
}

static struct world *world_new(void)
{
	static const struct auth_rates rates = {1000000, 1000000, 1000000, 1000000, 1000000};
	struct world *w = calloc(1, sizeof(*w));
	char path[64] = "/tmp/fuzz-request-XXXXXX";
	char key_path[80];
	struct store *store;
	struct ip loopback;

	MUST(w && sodium_init() >= 0 && mkdtemp(path));
	log_init("fuzz", LOG_LEVEL_ERROR);
	snprintf(key_path, sizeof(key_path), "%s/admin.key", path);
	MUST(!store_sqlite_open(":memory:", &store, NULL));
	MUST(!registry_open(store, key_path, &w->c.registry, NULL));
	unlink(key_path);
	rmdir(path);
	w->c.registry->public_url = "https://console.test";
	w->c.config.public_url = strdup("https://console.test");
	w->c.config.max_connections = 16;
	w->c.auth = auth_new(&rates, 0);
	w->c.watch = watch_new(16);
	w->c.metrics = metrics_new();
	w->c.stats = stats_new(1 << 20);
	/* It is asked how busy it is; it serves nobody. */
	w->c.config.listen = strdup("127.0.0.1:0");
	MUST(ip_parse("127.0.0.1", &loopback));
	endpoint_from_ip(&loopback, 0, &w->c.config.listen_on);
	MUST(!httpd_new(&w->c, &w->c.httpd, NULL));
	furnish(w);
	w->ops = *store->ops;
	w->ops.commit = full;
	store->ops = &w->ops;
	return w;
}

/* -- an input as a request -- */

/* Cuts the first line off; NUL-terminated in place. */
static char *take_line(char **at)
{
	char *line = *at;
	char *end = strchr(line, '\n');

	if (end) {
		*end = '\0';
		*at = end + 1;
	} else {
		*at = line + strlen(line);
	}
	return line;
}

/* "NAME: VALUE"; false when it may not be there. */
static bool take_header(struct request *q, const char *line)
{
	size_t len = strcspn(line, ":");
	const char *value = line + len + (line[len] == ':');

	value += strspn(value, " ");
	return !request_header(q, line, len, value, strlen(value));
}

static void print(struct json_object *o)
{
	CLEANUP(json) struct json_object *again = NULL;
	const char *text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	MUST(!json_parse(text, strlen(text), &again, NULL));
}

/* Whatever is claimed, as the console would look at it. */
static void try_credentials(struct world *w, struct request *q)
{
	const struct auth_client client = {.authorization = q->authorization,
		.request_id = q->id,
		.now_ns = NS_PER_S,
		.now_s = NOW_S};
	const struct agentsig_request request = {.method = q->method_text,
		.path = q->raw_target,
		.body = q->body,
		.body_len = q->body_len};
	struct auth_node node;
	struct problem p = {0};
	struct actor actor;
	struct key key = {0};

	MUST(auth_api_key(w->c.auth, w->c.registry, &client, &actor, NULL, &p) < 0);
	MUST(auth_agent(w->c.auth, w->c.registry, &client, &request, &actor, &node, &p) < 0);
	MUST(auth_enrolment(w->c.auth, &client, &request, &key, &actor, &p) < 0);
}

static int handle(struct world *w, struct request *q)
{
	struct idem_answer answer;
	struct idem idem;
	int rc;

	q->actor = admin;
	if (!route_role(q->route))
		snprintf(q->node.id, sizeof(q->node.id), "%s", w->node_id);
	q->node.signed_s = NOW_S;
	if (q->idempotency_key && q->method == METHOD_POST) {
		const struct idem_request request = {.idempotency_key = q->idempotency_key,
			.credential = "fuzz",
			.key_id = "fuzz",
			.org = q->actor.org,
			.method = q->method_text,
			.target = q->raw_target,
			.body = q->body,
			.body_len = q->body_len};

		rc = idem_begin(w->c.registry, &request, 1, &idem, &answer, &q->problem);
		if (rc)
			return rc;
		w->c.registry->idem = &idem;
	}
	rc = request_read(q);
	if (!rc)
		rc = q->route->handler(&w->c, q);
	w->c.registry->idem = NULL;
	return rc;
}

static void serve(struct world *w, struct request *q)
{
	char allow[ROUTE_ALLOW_MAX];
	int rc = request_check_framing(q);

	request_set_id(q, q->wanted_id);
	if (rc || !target_parse(q->raw_target, &q->target))
		return;
	q->route = route_find(q->method, &q->target, q->params, allow);
	if (!q->route)
		return;
	if (q->authorization)
		try_credentials(w, q);
	rc = request_check_query(q);
	if (!rc)
		rc = handle(w, q);
	if (rc < 0) {
		CLEANUP(json) struct json_object *o = problem_to_json(&q->problem, q->id);

		MUST(q->problem.status >= 400);
		print(o);
	} else if (q->reply) {
		print(q->reply);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world *w; /* made once: it never changes */
	CLEANUP(free) char *text = calloc(1, size + 1);
	char *at = text, *method, *target, *line;
	bool sound = true;
	struct request *q;

	if (!w)
		w = world_new();
	MUST(text);
	memcpy(text, data, size);
	method = take_line(&at);
	target = strchr(method, ' ');
	if (target)
		*target++ = '\0';
	q = request_new(&w->c, NULL, target ? target : method);
	q->started_ns = NS_PER_S;
	q->method_text = method;
	q->method = route_method(method);
	while (sound && *(line = take_line(&at)))
		sound = take_header(q, line);
	q->body_len = size - (size_t)(at - text);
	q->body = calloc(1, q->body_len + 1);
	MUST(q->body);
	memcpy(q->body, at, q->body_len);
	if (sound)
		serve(w, q);
	else
		MUST(q->problem.status == 400);
	request_free(q);
	return 0;
}
