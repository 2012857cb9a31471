// SPDX-License-Identifier: Apache-2.0
/*
 * Lines for /etc/hosts. An administrator's machine has a login and asks the console; a node usually
 * has none, and its vand knows the members of its own networks. The console also knows names that
 * are no nodes': of floating IPs, and of addresses that are reserved for something outside.
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

static void add_address(struct json_object *ips, const char *text)
{
	char address[IP_TEXT_LEN];
	struct cidr c;

	if (!text || !cidr_parse(text, &c))
		return; /* a reserved range */
	ip_format(&c.ip, address);
	json_object_array_add(ips, json_object_new_string(address));
}

/* Adds what has a name: a node has "ips", a reservation or floating IP one "address". */
static void add_hosts(struct json_object *hosts, struct json_object *items)
{
	for (size_t i = 0; i < json_object_array_length(items); i++) {
		struct json_object *item = json_object_array_get_idx(items, i), *o, *ips;
		struct json_object *from = output_member(item, "ips");
		const char *name = output_string(item, "name", NULL);

		if (!name)
			continue;
		ips = json_object_new_array();
		add_address(ips, output_string(item, "address", NULL));
		for (size_t k = 0; from && k < json_object_array_length(from); k++)
			add_address(
				ips, json_object_get_string(json_object_array_get_idx(from, k)));
		o = json_object_new_object();
		json_set_string(o, "name", name);
		json_object_object_add(o, "ips", ips);
		json_object_array_add(hosts, o);
	}
}

static int add_from_console(struct api *api, const char *network, const char *folder,
	struct json_object *hosts, struct err *e)
{
	CLEANUP(free) char *path = api_path("networks", network, folder, NULL);
	CLEANUP(json) struct json_object *list = NULL;
	int rc = api_list(api, path, &list, e);

	if (!rc)
		add_hosts(hosts, output_member(list, "items"));
	return rc;
}

static int ask_console(
	struct vanctl *v, struct context *context, struct json_object *hosts, struct err *e)
{
	static const char *const folders[] = {"nodes", "reservations", "floating-ips"};
	const char *network = v->args->text[OPT_NETWORK];
	CLEANUP(api) struct api api = {0};
	int rc = api_open_as(v, context, &api, e);

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && !rc; i++) {
		rc = add_from_console(&api, network, folders[i], hosts, e);
		if (i && rc == -VAN_E_NOT_FOUND)
			rc = 0; /* an older console */
	}
	return rc;
}

/* Adds this node's own entry in the network, from its status. */
static int add_own(
	struct json_object *status, const char *network, struct json_object *hosts, struct err *e)
{
	struct json_object *networks = output_member(status, "networks");
	size_t count = json_object_is_type(networks, json_type_array)
			       ? json_object_array_length(networks)
			       : 0;

	for (size_t i = 0; i < count; i++) {
		struct json_object *n = json_object_array_get_idx(networks, i);
		CLEANUP(json) struct json_object *one = NULL;
		struct json_object *entry;

		if (strcmp(output_string(n, "name", ""), network) != 0 &&
			strcmp(output_string(n, "id", ""), network) != 0)
			continue;
		one = json_object_new_array();
		entry = json_object_new_object();
		json_object_array_add(one, entry);
		json_set_string(entry, "name",
			output_string(output_member(status, "node"), "name", "localhost"));
		json_object_object_add(entry, "ips", json_object_get(output_member(n, "ips")));
		add_hosts(hosts, one);
		return 0;
	}
	return err_set(e, -VAN_E_NOT_FOUND, "this node is in no network '%.64s'", network);
}

static int ask_daemon(struct vanctl *v, struct json_object *hosts, struct err *e)
{
	const char *network = v->args->text[OPT_NETWORK];
	CLEANUP(json) struct json_object *status = NULL;
	CLEANUP(json) struct json_object *peers = NULL;
	struct json_object *arguments;
	struct json_object *items;
	int rc = local_call(v, "status", NULL, v->timeout_ms, &status, e);

	if (!rc)
		rc = add_own(status, network, hosts, e);
	if (rc)
		return rc;
	arguments = json_object_new_object();
	json_set_string(arguments, "network", network);
	rc = local_call(v, "peers", arguments, v->timeout_ms, &peers, e);
	if (!rc)
		rc = json_get_array(peers, "", "items", &items, e);
	if (!rc)
		add_hosts(hosts, items);
	return rc;
}

int cmd_hosts(struct vanctl *v, struct err *e)
{
	CLEANUP(json) struct json_object *list = json_object_new_object();
	struct json_object *hosts = json_object_new_array();
	struct context context = {0};
	bool logged_out = false;
	int rc = context_resolve(v, &context, &logged_out, e);

	json_object_object_add(list, "items", hosts);
	json_object_object_add(list, "next", NULL);
	if (!rc)
		rc = ask_console(v, &context, hosts, e);
	else if (logged_out)
		rc = ask_daemon(v, hosts, e);
	if (rc)
		return rc;
	output_with(&v->output, print_hosts, list);
	return 0;
}
