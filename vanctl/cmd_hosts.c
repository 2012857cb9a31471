// SPDX-License-Identifier: Apache-2.0
/*
 * Lines for /etc/hosts. An administrator's machine has a login and asks the console; a node usually
 * has none, and its vand knows the members of its own networks.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"
#include "vanctl/cmd.h"
#include "vanctl/local.h"
#include "vanctl/text.h"

struct host {
	struct ip ip;
	const char *name; /* borrowed from the JSON */
};

static int by_address(const void *a, const void *b)
{
	return ip_compare(&((const struct host *)a)->ip, &((const struct host *)b)->ip);
}

/* Adds a line's worth for every address of every item. */
static size_t collect(struct json_object *items, struct host *hosts, size_t room)
{
	size_t count = 0;

	for (size_t i = 0; i < json_object_array_length(items); i++) {
		struct json_object *item = json_object_array_get_idx(items, i);
		struct json_object *ips = output_member(item, "ips");
		const char *name = output_string(item, "name", NULL);

		for (size_t j = 0; name && ips && j < json_object_array_length(ips); j++) {
			const char *text =
				json_object_get_string(json_object_array_get_idx(ips, j));
			struct cidr c;

			if (!text || !cidr_parse(text, &c))
				continue;
			if (count < room)
				hosts[count] = (struct host){.ip = c.ip, .name = name};
			count++;
		}
	}
	return count;
}

static void print_hosts(const struct output *o, struct json_object *list)
{
	struct json_object *items = output_member(list, "items");
	size_t count = collect(items, NULL, 0);
	CLEANUP(free) struct host *hosts = calloc(count ? count : 1, sizeof(*hosts));

	if (!hosts)
		abort();
	collect(items, hosts, count);
	qsort(hosts, count, sizeof(*hosts), by_address);
	for (size_t i = 0; i < count; i++) {
		char address[IP_TEXT_LEN];

		ip_format(&hosts[i].ip, address);
		fprintf(o->to, "%s\t", address);
		text_clean(o->to, hosts[i].name);
		fputc('\n', o->to);
	}
}

static int ask_console(
	struct vanctl *v, struct context *context, struct json_object **ret_list, struct err *e)
{
	CLEANUP(free)
	char *path = api_path("networks", v->args->text[OPT_NETWORK], "nodes", NULL);
	CLEANUP(api) struct api api = {0};
	int rc = api_init(&api, context, v->timeout_ms, v->verbose ? v->err : NULL, e);

	if (rc) {
		context_done(context);
		return rc;
	}
	return api_list(&api, path, ret_list, e);
}

/* This node's own entry in the network, from its status. */
static int own_entry(struct json_object *status, const char *network,
	struct json_object **ret_entry, struct err *e)
{
	struct json_object *networks = output_member(status, "networks");
	size_t count = json_object_is_type(networks, json_type_array)
			       ? json_object_array_length(networks)
			       : 0;

	for (size_t i = 0; i < count; i++) {
		struct json_object *n = json_object_array_get_idx(networks, i);

		if (strcmp(output_string(n, "name", ""), network) != 0 &&
			strcmp(output_string(n, "id", ""), network) != 0)
			continue;
		*ret_entry = json_object_new_object();
		json_set_string(*ret_entry, "name",
			output_string(output_member(status, "node"), "name", "localhost"));
		json_object_object_add(*ret_entry, "ips", json_object_get(output_member(n, "ips")));
		return 0;
	}
	return err_set(e, -VAN_E_NOT_FOUND, "this node is in no network '%.64s'", network);
}

static int ask_daemon(struct vanctl *v, struct json_object **ret_list, struct err *e)
{
	const char *network = v->args->text[OPT_NETWORK];
	CLEANUP(json) struct json_object *status = NULL;
	CLEANUP(json) struct json_object *peers = NULL;
	struct json_object *arguments;
	struct json_object *items;
	CLEANUP(json) struct json_object *entry = NULL;
	int rc = local_call(v, "status", NULL, v->timeout_ms, &status, e);

	if (!rc)
		rc = own_entry(status, network, &entry, e);
	if (rc)
		return rc;
	arguments = json_object_new_object();
	json_set_string(arguments, "network", network);
	rc = local_call(v, "peers", arguments, v->timeout_ms, &peers, e);
	if (!rc)
		rc = json_get_array(peers, "", "items", &items, e);
	if (rc)
		return rc;
	json_object_array_add(items, STEAL(entry));
	*ret_list = STEAL(peers);
	return 0;
}

int cmd_hosts(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *list = NULL;
	struct context context = {0};
	bool logged_out = false;
	int rc = context_resolve(v, &context, &logged_out, e);

	if (!rc)
		rc = ask_console(v, &context, &list, e);
	else if (logged_out)
		rc = ask_daemon(v, &list, e);
	if (rc)
		return rc;
	output_with(&v->output, print_hosts, list);
	return 0;
}
