// SPDX-License-Identifier: Apache-2.0
/* What has happened: events for people, and the audit trail. */
#include <string.h>

#include "lib/clock.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/duration.h"
#include "vanctl/text.h"

static const struct view events = {(const struct column[]){
	COLUMN("TIME", "time"),
	COLUMN("SEVERITY", "severity"),
	COLUMN("KIND", "kind"),
	COLUMN("OBJECT", "object"),
	COLUMN("TEXT", "text"),
	{.title = NULL},
}};

/* "key admin", "node web-1"; what has no name, or is gone, as the row has it. */
static void cell_actor(const struct output *o, struct json_object *row, FILE *to)
{
	const char *actor = output_string(row, "actor", "-");
	const char *name = output_string(row, "actor_name", NULL);

	(void)o;
	if (!name) {
		text_clean(to, actor);
		return;
	}
	fprintf(to, "%s ", strncmp(actor, "node:", 5) == 0 ? "node" : "key");
	text_clean(to, name);
}

static const struct view rows = {(const struct column[]){
	COLUMN("TIME", "time"),
	COLUMN("ACTOR", NULL, .cell = cell_actor),
	COLUMN("FROM", "address"),
	COLUMN("ACTION", "action"),
	COLUMN("OBJECT", "object"),
	COLUMN("REQUEST", "request"),
	{.title = NULL},
}};

/* --since as a time: a duration is so long ago. */
static int list(struct vanctl *v, const char *folder, const struct view *view, const char *none,
	struct err *e)
{
	const char *since = v->args->set[OPT_SINCE] ? v->args->text[OPT_SINCE] : NULL;
	char text[21];
	int64_t ago_ms;

	if (since && duration_parse(since, &ago_ms)) {
		int64_t wall_s = v->output.now_wall_s - ago_ms / 1000;

		clock_format_rfc3339((uint64_t)(wall_s < 0 ? 0 : wall_s) * NS_PER_S, text);
		since = text;
	}
	return resource_list(
		v, resource_query(api_path(folder, NULL), "since", since), view, none, e);
}

int cmd_event_list(struct vanctl *v, struct err *e)
{
	return list(v, "events", &events, "Nothing has happened.", e);
}

int cmd_audit_list(struct vanctl *v, struct err *e)
{
	return list(v, "audit", &rows, "Nothing has been changed.", e);
}
