/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/judge.h"

#include <netinet/in.h>
#include <string.h>
#include "console-api/conn.h"
#include "console-api/console.h"
#include "console-api/org.h"
#include "console-api/routes.h"
#include "lib/clock.h"

static enum MHD_Result take_header(void *cls, enum MHD_ValueKind kind, const char *name,
	size_t name_len, const char *value, size_t value_len)
{
	(void)kind;
	return request_header(cls, name, name_len, value ? value : "", value_len) ? MHD_NO
										  : MHD_YES;
}

static int read_headers(struct request *q)
{
	MHD_get_connection_values_n(q->connection, MHD_HEADER_KIND, take_header, q);
	return q->problem.status ? -VAN_E_INVALID : request_check_framing(q);
}

static void client_address(struct request *q)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(q->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (info && info->client_addr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)info->client_addr;

		q->client.family = AF_INET;
		memcpy(q->client.b, &in->sin_addr, 4);
	} else if (info && info->client_addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)info->client_addr;
		bool is_mapped = !memcmp(&in6->sin6_addr, mapped, sizeof(mapped));

		q->client.family = is_mapped ? AF_INET : AF_INET6;
		memcpy(q->client.b, in6->sin6_addr.s6_addr + (is_mapped ? 12 : 0),
			is_mapped ? 4 : 16);
	}
}

struct auth_client judge_client(const struct request *q)
{
	return (struct auth_client){.address = q->client,
		.authorization = q->authorization,
		.request_id = q->id,
		.now_ns = q->started_ns,
		.now_s = clock_wall_ns() / NS_PER_S};
}

static int find_route(struct request *q)
{
	if (!target_parse(q->raw_target, &q->target))
		return problem_set(&q->problem, 400, "bad_target",
			"the path or query of the request is malformed");
	q->route = route_find(q->method, &q->target, q->params, q->allow);
	if (q->route)
		return request_check_query(q);
	if (q->allow[0])
		return problem_set(&q->problem, 405, "method_not_allowed",
			"this path takes %s only", q->allow);
	return problem_set(
		&q->problem, 404, "no_such_path", "there is no such path: see /api/openapi.json");
}

/* The organization that the request is about: the key's own, or the one that it names. */
static int choose_org(struct registry *r, struct request *q)
{
	const char *header = q->organization;
	const char *query = target_query(&q->target, "organization");
	char id[NETMAP_ID_MAX + 1];
	int rc;

	if (!header && !query)
		return 0;
	if (header && query && strcmp(header, query) != 0)
		return problem_set(&q->problem, 400, "invalid",
			"VAN-Organization and ?organization= name two organizations");
	rc = org_by_ref(r, &q->actor, header ? header : query, id, &q->problem);
	if (!rc)
		memcpy(q->actor.org, id, sizeof(id));
	return rc;
}

/* vanctl of version 0.1 knows no revisions: it changes whatever there is by then, as it always did. */
static bool is_old_vanctl(struct request *q)
{
	static const char name[] = "van/0.1.";
	const char *agent =
		MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "User-Agent");

	return agent && !strncmp(agent, name, strlen(name));
}

/* With the registry's lock held. */
static int judge_key(struct console *c, struct request *q, const struct auth_client *client)
{
	enum role needed = route_role(q->route);
	int rc = store_fresh(c->registry->store);

	/* A key may have been revoked that this console still knows. */
	if (rc)
		return problem_from_store(&q->problem, rc);
	rc = auth_api_key(c->auth, c->registry, client, &q->actor, q->key_hash, &q->problem);
	if (rc)
		return rc;
	if (q->conn)
		conn_prove(q->conn, q->key_hash, strlen(q->key_hash));
	rc = choose_org(c->registry, q);
	if (rc)
		return rc;
	if (q->actor.role < needed)
		return problem_set(&q->problem, 403, "role_too_low",
			"this needs a key with the role %s; this one has %s", role_name(needed),
			role_name(q->actor.role));
	if (route_needs_match(q->route) && !q->if_match && is_old_vanctl(q))
		q->if_match = "*";
	if (route_needs_match(q->route) && !q->if_match)
		return problem_set(&q->problem, 428, "if_match_needed",
			"read the object first and send its ETag as If-Match; \"*\" means whatever it "
			"is by now");
	return 0;
}

void judge_request(struct console *c, struct request *q, const char *method)
{
	struct auth_client client;
	int rc;

	q->method_text = method;
	q->method = route_method(method);
	q->started_ns = clock_boottime_ns();
	client_address(q);
	rc = read_headers(q);
	request_set_id(q, q->wanted_id);
	client = judge_client(q);
	/* Whatever it asks for, and with whatever it shows. */
	if (rc || auth_gate(c->auth, &client, &q->problem) || find_route(q) ||
		!route_role(q->route))
		return;
	registry_lock(c->registry);
	judge_key(c, q, &client);
	registry_unlock(c->registry);
}
