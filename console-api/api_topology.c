/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include <string.h>
#include "console-api/console.h"
#include "console-api/topology.h"
#include "lib/clock.h"

int api_topology_export(struct console *c, struct request *q)
{
	struct json_object *document;
	int rc = topology_export(c->registry, q->actor.org, q->params[0], &document, &q->problem);

	return rc ? rc : request_reply(q, 200, document);
}

static int read_dry_run(struct request *q, bool *ret_dry_run)
{
	const char *text = target_query(&q->target, "dry_run");

	*ret_dry_run = text && !strcmp(text, "true");
	if (!text || *ret_dry_run || !strcmp(text, "false"))
		return 0;
	return problem_set(&q->problem, 400, "invalid", "dry_run must be true or false");
}

int api_topology_import(struct console *c, struct request *q)
{
	struct topology_import im = {.actor = &q->actor,
		.name = target_query(&q->target, "name"),
		.now_s = clock_wall_ns() / NS_PER_S};
	struct json_object *result;
	int rc = read_dry_run(q, &im.dry_run);

	if (!rc)
		rc = request_confirm_within(q, &im.confirm_within_s);
	if (!rc)
		rc = topology_import(c->registry, &im, q->json, &result, &q->problem);
	return rc ? rc : request_reply(q, 200, result);
}
