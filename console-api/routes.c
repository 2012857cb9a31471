/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/routes.h"

#include <string.h>
#include "console-api/api.h"

static const struct route routes[] = {
	{METHOD_GET, ACCESS_ANYBODY, "/healthz", api_healthz},
	{METHOD_GET, ACCESS_ANYBODY, "/readyz", api_readyz},
	{METHOD_GET, ACCESS_ANYBODY, "/api/openapi.json", api_openapi},

	{METHOD_GET, ACCESS_ADMIN, "/api/v1/console", api_console},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/networks", api_network_list},
	{METHOD_POST, ACCESS_ADMIN, "/api/v1/networks", api_network_create},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/networks/{ref}", api_network_get},
	{METHOD_DELETE, ACCESS_ADMIN, "/api/v1/networks/{ref}", api_network_delete},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/tokens", api_token_list},
	{METHOD_POST, ACCESS_ADMIN, "/api/v1/networks/{ref}/tokens", api_token_issue},
	{METHOD_DELETE, ACCESS_ADMIN, "/api/v1/tokens/{id}", api_token_revoke},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/nodes", api_node_list},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/nodes/{ref}", api_node_get},
	{METHOD_DELETE, ACCESS_ADMIN, "/api/v1/nodes/{ref}", api_node_delete},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/networks/{ref}/nodes", api_member_list},
	{METHOD_POST, ACCESS_ADMIN, "/api/v1/networks/{ref}/nodes", api_member_add},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/networks/{ref}/nodes/{ref}", api_member_get},
	{METHOD_PATCH, ACCESS_ADMIN, "/api/v1/networks/{ref}/nodes/{ref}", api_member_change},
	{METHOD_DELETE, ACCESS_ADMIN, "/api/v1/networks/{ref}/nodes/{ref}", api_member_remove},

	{METHOD_POST, ACCESS_ENROL, "/agent/v1/enroll", api_agent_enroll},
	{METHOD_GET, ACCESS_AGENT, "/agent/v1/netmap", api_agent_netmap},
	{METHOD_POST, ACCESS_AGENT, "/agent/v1/report", api_agent_report},
	{METHOD_DELETE, ACCESS_AGENT, "/agent/v1/networks/{id}", api_agent_leave},
};

#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

/* Allow headers by the set of methods, bit 1 << method; HEAD goes with GET. */
static const char *const allow_texts[16] = {
	[1 << METHOD_GET] = "GET, HEAD",
	[1 << METHOD_POST] = "POST",
	[1 << METHOD_DELETE] = "DELETE",
	[1 << METHOD_PATCH] = "PATCH",
	[1 << METHOD_GET | 1 << METHOD_POST] = "GET, HEAD, POST",
	[1 << METHOD_GET | 1 << METHOD_DELETE] = "GET, HEAD, DELETE",
	[1 << METHOD_GET | 1 << METHOD_PATCH | 1 << METHOD_DELETE] = "GET, HEAD, PATCH, DELETE",
};

enum request_method route_method(const char *text)
{
	if (!strcmp(text, "GET") || !strcmp(text, "HEAD"))
		return METHOD_GET;
	if (!strcmp(text, "POST"))
		return METHOD_POST;
	if (!strcmp(text, "PATCH"))
		return METHOD_PATCH;
	if (!strcmp(text, "DELETE"))
		return METHOD_DELETE;
	return METHOD_OTHER;
}

static bool path_matches(const char *path, const struct target *target, const char *params[2])
{
	size_t param_count = 0;

	for (size_t i = 0; i < target->segment_count; i++) {
		const char *segment;
		size_t len;

		if (path[0] != '/')
			return false;
		segment = path + 1;
		len = strcspn(segment, "/");
		if (segment[0] == '{')
			params[param_count++] = target->segments[i];
		else if (strlen(target->segments[i]) != len ||
			 memcmp(target->segments[i], segment, len) != 0)
			return false;
		path = segment + len;
	}
	return path[0] == '\0';
}

const struct route *route_find(enum request_method method, const struct target *target,
	const char *ret_params[2], const char **ret_allow)
{
	unsigned int methods = 0;

	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		const char *params[2] = {NULL, NULL};

		if (!path_matches(routes[i].path, target, params))
			continue;
		if (routes[i].method == method) {
			memcpy(ret_params, params, sizeof(params));
			return &routes[i];
		}
		methods |= 1u << routes[i].method;
	}
	*ret_allow = methods ? allow_texts[methods] : NULL;
	return NULL;
}
