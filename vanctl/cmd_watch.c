// SPDX-License-Identifier: Apache-2.0
/*
 * Follows what changes, as server-sent events. A connection that breaks is made again and goes on
 * after the last event that was printed, so that nothing is missed; when the console does not
 * remember that far back it says so, and that ends the command.
 */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/eventstream.h"
#include "vanctl/text.h"

/* How far apart are the tries to connect again. */
#define RETRY_MS 500u

struct follower {
	struct vanctl *v;
	struct eventstream stream;
	int64_t left; /* events to print; -1: all */
	bool heard, cut_off;
};

/* "updated node web-1 (node_…)". */
static void print_event(const struct output *o, struct json_object *event)
{
	struct json_object *object = output_member(event, "object");
	const char *name = output_string(object, "name", output_string(object, "address", NULL));

	text_clean(o->to, output_string(event, "type", "?"));
	fputc(' ', o->to);
	text_clean(o->to, output_string(event, "kind", "?"));
	fputc(' ', o->to);
	if (name) {
		text_clean(o->to, name);
		fputs(" (", o->to);
	}
	text_clean(o->to, output_string(event, "id", "?"));
	fputs(name ? ")\n" : "\n", o->to);
}

static void print(const struct output *o, struct json_object *event)
{
	if (o->writer == &output_json) /* a line each, for programs that read as it comes */
		fprintf(o->to, "%s\n",
			json_object_to_json_string_ext(
				event, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		print_event(o, event);
	fflush(o->to);
}

static bool on_event(void *ctx, const char *name, const char *data)
{
	CLEANUP(json) struct json_object *event = NULL;
	struct follower *f = ctx;

	f->cut_off = strcmp(name, "gone") == 0;
	if (f->cut_off)
		return false;
	if (!data || json_parse(data, strlen(data), &event, NULL))
		return true;
	print(&f->v->output, event);
	if (f->left > 0)
		f->left--;
	return f->left != 0 && !ferror(f->v->out);
}

static bool on_data(void *ctx, const char *data, size_t len)
{
	struct follower *f = ctx;

	f->heard = true;
	return eventstream_take(&f->stream, data, len, on_event, f);
}

/* What is worth another try: the console is away, or it ended the stream. */
static bool may_return(int rc)
{
	return rc == -VAN_E_UNREACHABLE || rc == -VAN_E_TIMEOUT;
}

static int follow(struct api *api, const char *path, struct follower *f, struct err *e)
{
	uint64_t lost_ns = 0;
	bool was_there = false;

	for (;;) {
		int rc;

		f->heard = false;
		eventstream_restart(&f->stream);
		rc = api_follow(api, path, f->stream.id[0] ? f->stream.id : NULL, on_data, f, e);
		if (f->stream.too_long)
			return err_set(e, -VAN_E_PROTOCOL, "an event is too long");
		if (f->cut_off)
			return err_set(e, -VAN_E_GONE,
				"the console cut the watch off, for it read too slowly: list anew, "
				"and watch again");
		if (f->heard) {
			was_there = true;
			lost_ns = 0;
		}
		if (!rc || !may_return(rc) || !was_there)
			return rc;
		if (!lost_ns) {
			lost_ns = api->io->now_ns(api->io_ctx);
			vanctl_say(f->v, "The connection to the console is lost; trying again.");
		}
		if (api->io->now_ns(api->io_ctx) - lost_ns > (uint64_t)api->timeout_ms * NS_PER_MS)
			return rc;
		api->io->sleep_ms(api->io_ctx, RETRY_MS);
	}
}

int cmd_watch(struct vanctl *v, struct err *e)
{
	const struct command_args *args = v->args;
	char *with_kind = resource_query(
		api_path("watch", NULL), "kind", args->set[OPT_KIND] ? args->text[OPT_KIND] : NULL);
	CLEANUP(free) char *path = with_kind;
	struct follower f = {.v = v, .left = args->set[OPT_EVENTS] ? args->number[OPT_EVENTS] : -1};
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (rc)
		return rc;
	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	if (args->set[OPT_AFTER])
		snprintf(f.stream.id, sizeof(f.stream.id), "%s", args->text[OPT_AFTER]);
	rc = follow(&api, path, &f, e);
	if (f.stream.id[0] && v->verbose)
		vanctl_say(v, "To go on from here: vanctl watch --after %s", f.stream.id);
	eventstream_done(&f.stream);
	return rc;
}
