// SPDX-License-Identifier: Apache-2.0
#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/cmd.h"
#include "vanctl/cmd_resource.h"
#include "vanctl/text.h"

/* "node db-1 (has yet to join)", "printer", "nobody". */
static void cell_holder(const struct output *o, struct json_object *row, FILE *to)
{
	const char *node = output_string(row, "node_name", NULL);

	(void)o;
	if (node) {
		fputs("node ", to);
		text_clean(to, node);
		if (!output_member(row, "node"))
			fputs(" (not joined)", to);
	} else {
		text_clean(to, output_string(row, "name", "nobody"));
	}
}

static const struct view reservations = {(const struct column[]){
	COLUMN("ADDRESS", "address"),
	COLUMN("FOR", NULL, .cell = cell_holder),
	COLUMN("NOTE", "note", .optional = true),
	COLUMN("CREATED", "created_at", .cell = cell_since),
	{.title = NULL},
}};

static const struct view reservation = {(const struct column[]){
	COLUMN("Address", "address"),
	COLUMN("Id", "id"),
	COLUMN("Network", "network_name"),
	COLUMN("For", NULL, .cell = cell_holder),
	COLUMN("Note", "note", .optional = true),
	COLUMN("Created", "created_at"),
	COLUMN("Revision", "revision"),
	{.title = NULL},
}};

static const struct body_row settings[] = {
	{OPT_NEW_ADDRESS, "address"},
	{OPT_NODE, "node"},
	{OPT_FOR_NAME, "name"},
	{OPT_NOTE, "note"},
	{OPT_END, NULL},
};

static char *path_of(struct vanctl *v)
{
	return resource_path(v, "reservations", v->args->positionals[0]);
}

int cmd_reservation_list(struct vanctl *v, struct err *e)
{
	const char *sort = v->args->set[OPT_SORT] ? NULL : "address";

	return resource_list(v,
		resource_query(resource_path(v, "reservations", NULL), "sort", sort), &reservations,
		"No reservations. Make one: vanctl reservation create ADDRESS -n NETWORK", e);
}

int cmd_reservation_show(struct vanctl *v, struct err *e)
{
	return resource_show(v, path_of(v), &reservation, e);
}

int cmd_reservation_create(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, settings);

	json_set_string(body, "address", v->args->positionals[0]);
	return resource_send(
		v, "POST", resource_path(v, "reservations", NULL), body, &reservations, e);
}

int cmd_reservation_set(struct vanctl *v, struct err *e)
{
	return resource_set(v, path_of(v), settings, &reservations, e);
}

int cmd_reservation_delete(struct vanctl *v, struct err *e)
{
	return resource_delete(
		v, path_of(v), e, "Reservation %s is gone.", v->args->positionals[0]);
}
