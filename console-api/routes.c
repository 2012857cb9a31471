/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/routes.h"

#include <stdio.h>
#include <string.h>
#include "console-api/api.h"
#include "console-api/topology.h"

#define ENROL_BODY_MAX 8192 /* of strangers; what is in one is less than a quarter of that */

/* clang-format off */
static const struct route routes[] = {
	/* -- the console -- */
	{METHOD_GET, ACCESS_ANYBODY, "/healthz", api_healthz,
		.id = "healthz", .tag = "console", .summary = "The program answers", .reply = "Status"},
	{METHOD_GET, ACCESS_ANYBODY, "/readyz", api_readyz,
		.id = "readyz", .tag = "console", .summary = "The store answers too", .reply = "Status"},
	{METHOD_GET, ACCESS_ANYBODY, "/api/openapi.json", api_openapi,
		.id = "openapi", .tag = "console", .summary = "This document", .reply = "Any"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/console", api_console,
		.id = "getConsole", .tag = "console", .summary = "Which console this is",
		.reply = "Console"},
	{METHOD_GET, ACCESS_VIEWER, "/metrics", api_metrics,
		.media = "text/plain", .id = "metrics", .tag = "statistics",
		.summary = "Totals in the text format of Prometheus", .reply = "Metrics"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/whoami", api_whoami,
		.id = "whoami", .tag = "console",
		.summary = "What the key may do, and in which organization", .reply = "Whoami"},

	/* -- organizations, users, keys -- */
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/organizations", api_org_list,
		.sorts = "name created_at", .filters = "name",
		.id = "listOrganizations", .tag = "organizations",
		.summary = "Organizations, by name: a key of one sees its own",
		.reply = "OrganizationList"},
	{METHOD_POST, ACCESS_CONSOLE, "/api/v1/organizations", api_org_create,
		.id = "createOrganization", .tag = "organizations", .summary = "Make an organization",
		.body = "OrganizationCreate", .reply = "Organization"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/organizations/{ref}", api_org_get,
		.id = "getOrganization", .tag = "organizations", .summary = "One organization",
		.reply = "Organization"},
	{METHOD_PATCH, ACCESS_CONSOLE, "/api/v1/organizations/{ref}", api_org_change,
		.id = "changeOrganization", .tag = "organizations",
		.summary = "Change an organization: name, description, limits",
		.body = "OrganizationChange", .reply = "Organization"},
	{METHOD_DELETE, ACCESS_CONSOLE, "/api/v1/organizations/{ref}", api_org_delete,
		.id = "deleteOrganization", .tag = "organizations",
		.summary = "Remove an organization without networks and nodes, with its users and keys"},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/users", api_user_list,
		.sorts = "name created_at role", .filters = "name role disabled",
		.id = "listUsers", .tag = "users", .summary = "Users, by name", .reply = "UserList"},
	{METHOD_POST, ACCESS_ADMIN, "/api/v1/users", api_user_create,
		.id = "createUser", .tag = "users", .summary = "Make a user",
		.body = "UserCreate", .reply = "User"},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/users/{ref}", api_user_get,
		.id = "getUser", .tag = "users", .summary = "One user", .reply = "User"},
	{METHOD_PATCH, ACCESS_ADMIN, "/api/v1/users/{ref}", api_user_change,
		.id = "changeUser", .tag = "users",
		.summary = "Change a user: name, full_name, role, disabled",
		.body = "UserChange", .reply = "User"},
	{METHOD_DELETE, ACCESS_ADMIN, "/api/v1/users/{ref}", api_user_delete,
		.id = "deleteUser", .tag = "users", .summary = "Remove a user with all of its keys"},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/keys", api_key_list,
		.sorts = "name created_at expires_at", .filters = "name role user user_name state",
		.id = "listKeys", .tag = "keys", .summary = "API keys, oldest first, without their text",
		.reply = "KeyList"},
	{METHOD_POST, ACCESS_ADMIN, "/api/v1/keys", api_key_create,
		.id = "createKey", .tag = "keys", .summary = "Make an API key",
		.body = "KeyCreate", .reply = "KeyCreated"},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/keys/{id}", api_key_get,
		.id = "getKey", .tag = "keys", .summary = "One API key, without its text",
		.reply = "Key"},
	{METHOD_DELETE, ACCESS_ADMIN, "/api/v1/keys/{id}", api_key_delete,
		.id = "deleteKey", .tag = "keys",
		.summary = "Revoke an API key: from here on it opens nothing"},
	{METHOD_GET, ACCESS_ADMIN, "/api/v1/audit", api_audit_list,
		.query = "since", .sorts = "", .filters = "actor action kind id request",
		.id = "listAudit", .tag = "audit", .summary = "Who changed what, oldest first",
		.reply = "AuditList"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/events", api_event_list,
		.query = "since", .sorts = "time", .filters = "severity kind object",
		.id = "listEvents", .tag = "events", .summary = "What happened, oldest first",
		.reply = "EventList"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/watch", api_watch,
		.query = "since kind", .media = "text/event-stream", .gone = true,
		.id = "watch", .tag = "events",
		.summary = "Changes as they happen, as server-sent events", .reply = "WatchStream"},

	/* -- networks -- */
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks", api_network_list,
		.sorts = "name created_at mtu node_count",
		.filters = "name cidr encryption require_approval label",
		.id = "listNetworks", .tag = "networks", .summary = "Networks, by name",
		.reply = "NetworkList"},
	{METHOD_POST, ACCESS_OPERATOR, "/api/v1/networks", api_network_create,
		.id = "createNetwork", .tag = "networks", .summary = "Make a network",
		.body = "NetworkCreate", .reply = "Network"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}", api_network_get,
		.id = "getNetwork", .tag = "networks", .summary = "One network", .reply = "Network"},
	{METHOD_PATCH, ACCESS_OPERATOR, "/api/v1/networks/{ref}", api_network_change,
		.id = "changeNetwork", .tag = "networks",
		.summary = "Change a network: name, mtu, require_approval, labels",
		.body = "NetworkChange", .reply = "Network"},
	{METHOD_DELETE, ACCESS_OPERATOR, "/api/v1/networks/{ref}", api_network_delete,
		.id = "deleteNetwork", .tag = "networks",
		.summary = "Remove a network with its memberships and tokens"},

	/* -- join tokens -- */
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/tokens", api_token_list,
		.query = "network", .sorts = "created_at expires_at uses_left",
		.filters = "state node",
		.id = "listTokens", .tag = "tokens", .summary = "Join tokens, oldest first",
		.reply = "TokenList"},
	{METHOD_POST, ACCESS_OPERATOR, "/api/v1/networks/{ref}/tokens", api_token_issue,
		.id = "issueToken", .tag = "tokens", .summary = "Issue a join token",
		.body = "TokenIssue?", .reply = "TokenIssued"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/tokens/{id}", api_token_get,
		.id = "getToken", .tag = "tokens", .summary = "One token, without its text",
		.reply = "Token"},
	{METHOD_DELETE, ACCESS_OPERATOR, "/api/v1/tokens/{id}", api_token_revoke,
		.id = "revokeToken", .tag = "tokens",
		.summary = "Revoke a token; it stays in the list"},

	/* -- nodes -- */
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/nodes", api_node_list,
		.sorts = "name created_at last_seen version",
		.filters = "name online disabled version nat label",
		.id = "listNodes", .tag = "nodes", .summary = "Nodes, by name", .reply = "NodeList"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/nodes/{ref}", api_node_get,
		.id = "getNode", .tag = "nodes", .summary = "One node", .reply = "Node"},
	{METHOD_PATCH, ACCESS_OPERATOR, "/api/v1/nodes/{ref}", api_node_change,
		.id = "changeNode", .tag = "nodes", .summary = "Change a node: name, disabled, labels",
		.body = "NodeChange", .reply = "Node"},
	{METHOD_DELETE, ACCESS_OPERATOR, "/api/v1/nodes/{ref}", api_node_delete,
		.id = "deleteNode", .tag = "nodes", .summary = "Remove a node from the mesh"},
	{METHOD_POST, ACCESS_OPERATOR, "/api/v1/nodes/{ref}/rekey", api_node_rekey,
		.id = "rekeyNode", .tag = "nodes",
		.summary = "Issue a token by which the node may enrol again with new keys",
		.body = "NodeRekey?", .reply = "TokenIssued"},

	/* -- statistics -- */
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/stats", api_network_stats,
		.query = "resolution from to metrics", .id = "getNetworkStats", .tag = "statistics",
		.summary = "What the nodes of a network sent and received", .reply = "Stats"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/nodes/{node}/stats", api_member_stats,
		.query = "resolution from to metrics", .id = "getMemberStats", .tag = "statistics",
		.summary = "What one node sent and received in a network", .reply = "Stats"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/nodes/{ref}/stats", api_node_stats,
		.query = "resolution from to metrics include", .id = "getNodeStats",
		.tag = "statistics",
		.summary = "What a node sent, received and dropped, by network, peer and reason",
		.reply = "NodeStats"},

	/* -- members: nodes in a network -- */
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/nodes", api_member_list,
		.sorts = "name joined_at last_seen",
		.filters = "name online approved disabled nat",
		.id = "listMembers", .tag = "members", .summary = "The nodes in a network, oldest first",
		.reply = "MemberList"},
	{METHOD_POST, ACCESS_OPERATOR, "/api/v1/networks/{ref}/nodes", api_member_add,
		.id = "addMember", .tag = "members", .summary = "Add an enrolled node",
		.body = "MemberAdd", .reply = "Member"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/nodes/{node}", api_member_get,
		.id = "getMember", .tag = "members", .summary = "One node in a network",
		.reply = "Member"},
	{METHOD_PATCH, ACCESS_OPERATOR, "/api/v1/networks/{ref}/nodes/{node}", api_member_change,
		.id = "changeMember", .tag = "members",
		.summary = "Change a member's address or name, or approve it",
		.body = "MemberChange", .reply = "Member"},
	{METHOD_DELETE, ACCESS_OPERATOR, "/api/v1/networks/{ref}/nodes/{node}", api_member_remove,
		.id = "removeMember", .tag = "members", .summary = "Take a node out of a network"},

	/* -- addresses that are held, gateways, floating IPs, the cloak -- */
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/reservations", api_reservation_list,
		.sorts = "address name node_name created_at", .filters = "node node_name name",
		.id = "listReservations", .tag = "reservations", .summary = "Addresses that are not handed out, oldest first",
		.reply = "ReservationList"},
	{METHOD_POST, ACCESS_OPERATOR, "/api/v1/networks/{ref}/reservations", api_reservation_create,
		.id = "createReservation", .tag = "reservations", .summary = "Reserve an address, or exclude a range",
		.body = "ReservationCreate", .reply = "Reservation"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/reservations/{reservation}",
		api_reservation_get,
		.id = "getReservation", .tag = "reservations", .summary = "One reservation",
		.reply = "Reservation"},
	{METHOD_PATCH, ACCESS_OPERATOR, "/api/v1/networks/{ref}/reservations/{reservation}",
		api_reservation_change,
		.id = "changeReservation", .tag = "reservations", .summary = "Change a reservation",
		.body = "ReservationChange", .reply = "Reservation"},
	{METHOD_DELETE, ACCESS_OPERATOR, "/api/v1/networks/{ref}/reservations/{reservation}",
		api_reservation_delete,
		.id = "deleteReservation", .tag = "reservations", .summary = "Give the addresses back"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/gateway-candidates",
		api_gateway_candidates,
		.sorts = "node_name", .filters = "node_name online",
		.id = "listGatewayCandidates", .tag = "gateways",
		.summary = "Members that reported external networks", .reply = "GatewayCandidateList"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/gateways", api_gateway_list,
		.sorts = "name metric created_at", .filters = "name node node_name mode enabled",
		.id = "listGateways", .tag = "gateways", .summary = "Gateways, oldest first",
		.reply = "GatewayList"},
	{METHOD_POST, ACCESS_OPERATOR, "/api/v1/networks/{ref}/gateways", api_gateway_create,
		.id = "createGateway", .tag = "gateways", .summary = "Let a member offer external networks to all others",
		.body = "GatewayCreate", .reply = "Gateway"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/gateways/{gateway}",
		api_gateway_get,
		.id = "getGateway", .tag = "gateways", .summary = "One gateway",
		.reply = "Gateway"},
	{METHOD_PATCH, ACCESS_OPERATOR, "/api/v1/networks/{ref}/gateways/{gateway}",
		api_gateway_change,
		.id = "changeGateway", .tag = "gateways", .summary = "Change a gateway",
		.body = "GatewayChange", .reply = "Gateway"},
	{METHOD_DELETE, ACCESS_OPERATOR, "/api/v1/networks/{ref}/gateways/{gateway}",
		api_gateway_delete,
		.id = "deleteGateway", .tag = "gateways", .summary = "Take its routes away from all members"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/floating-ips", api_fip_list,
		.sorts = "address name created_at", .filters = "name address assigned assigned_name",
		.id = "listFloatingIps", .tag = "floating IPs", .summary = "Floating IPs, oldest first",
		.reply = "FloatingIpList"},
	{METHOD_POST, ACCESS_OPERATOR, "/api/v1/networks/{ref}/floating-ips", api_fip_create,
		.id = "createFloatingIp", .tag = "floating IPs", .summary = "Make a floating IP",
		.body = "FloatingIpCreate", .reply = "FloatingIp"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/floating-ips/{floating_ip}",
		api_fip_get,
		.id = "getFloatingIp", .tag = "floating IPs", .summary = "One floating IP",
		.reply = "FloatingIp"},
	{METHOD_PATCH, ACCESS_OPERATOR, "/api/v1/networks/{ref}/floating-ips/{floating_ip}",
		api_fip_change,
		.id = "changeFloatingIp", .tag = "floating IPs", .summary = "Change a floating IP: assign it, for example",
		.body = "FloatingIpChange", .reply = "FloatingIp"},
	{METHOD_DELETE, ACCESS_OPERATOR, "/api/v1/networks/{ref}/floating-ips/{floating_ip}",
		api_fip_delete,
		.id = "deleteFloatingIp", .tag = "floating IPs", .summary = "Remove a floating IP"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/cloak", api_cloak_get,
		.id = "getCloak", .tag = "cloak", .summary = "The packet filter of the members",
		.reply = "Cloak"},
	{METHOD_PATCH, ACCESS_OPERATOR, "/api/v1/networks/{ref}/cloak", api_cloak_change,
		.query = "confirm_within_s",
		.id = "changeCloak", .tag = "cloak", .summary = "Switch it on or off: state, scope, keep_ssh",
		.body = "CloakChange", .reply = "Cloak"},
	{METHOD_POST, ACCESS_OPERATOR, "/api/v1/networks/{ref}/cloak/confirm", api_cloak_confirm,
		.id = "confirmCloak", .tag = "cloak", .summary = "Keep the change that is pending",
		.reply = "Cloak", .status = 200},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/cloak/rules", api_cloak_rule_list,
		.sorts = "",
		.id = "listCloakRules", .tag = "cloak", .summary = "Rules, in the order that they are looked at",
		.reply = "CloakRuleList"},
	{METHOD_POST, ACCESS_OPERATOR, "/api/v1/networks/{ref}/cloak/rules", api_cloak_rule_create,
		.query = "confirm_within_s",
		.id = "createCloakRule", .tag = "cloak", .summary = "Allow or deny something",
		.body = "CloakRuleCreate", .reply = "CloakRule"},
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/cloak/rules/{id}", api_cloak_rule_get,
		.id = "getCloakRule", .tag = "cloak", .summary = "One rule", .reply = "CloakRule"},
	{METHOD_PATCH, ACCESS_OPERATOR, "/api/v1/networks/{ref}/cloak/rules/{id}",
		api_cloak_rule_change, .query = "confirm_within_s",
		.id = "changeCloakRule", .tag = "cloak", .summary = "Change a rule",
		.body = "CloakRuleChange", .reply = "CloakRule"},
	{METHOD_DELETE, ACCESS_OPERATOR, "/api/v1/networks/{ref}/cloak/rules/{id}",
		api_cloak_rule_delete, .query = "confirm_within_s",
		.id = "deleteCloakRule", .tag = "cloak", .summary = "Remove a rule"},

	/* -- topology -- */
	{METHOD_GET, ACCESS_VIEWER, "/api/v1/networks/{ref}/topology", api_topology_export,
		.id = "exportTopology", .tag = "topology",
		.summary = "The whole definition of a network as one document",
		.reply = "TopologyDocument"},
	{METHOD_POST, ACCESS_OPERATOR, "/api/v1/topologies", api_topology_import,
		.query = "dry_run name confirm_within_s", .body_max = TOPOLOGY_BODY_MAX,
		.id = "importTopology", .tag = "topology",
		.summary = "Make networks as a document says, or show what would be done",
		.body = "Topology", .reply = "TopologyResult", .status = 200},

	/* -- for the nodes themselves -- */
	{METHOD_POST, ACCESS_ENROL, "/agent/v1/enroll", api_agent_enroll,
		.body_max = ENROL_BODY_MAX, .id = "enroll", .tag = "agents", .summary = "Join by a token",
		.body = "Enrolment", .reply = "Enrolled", .also = 200},
	{METHOD_GET, ACCESS_AGENT, "/agent/v1/netmap", api_agent_netmap,
		.query = "since wait",
		.id = "getNetmap", .tag = "agents", .summary = "What the node must know of its networks",
		.reply = "Netmap", .also = 204},
	{METHOD_POST, ACCESS_AGENT, "/agent/v1/report", api_agent_report,
		.id = "report", .tag = "agents", .summary = "What the node knows of itself",
		.body = "Report", .reply = "ReportAnswer", .status = 200},
	{METHOD_DELETE, ACCESS_AGENT, "/agent/v1/networks/{id}", api_agent_leave, .no_match = true,
		.id = "leave", .tag = "agents", .summary = "Leave a network"},
};
/* clang-format on */

#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

const struct route *route_at(size_t i)
{
	return i < ROUTE_COUNT ? &routes[i] : NULL;
}

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

enum role route_role(const struct route *route)
{
	switch (route->access) {
	case ACCESS_VIEWER:
		return ROLE_VIEWER;
	case ACCESS_OPERATOR:
		return ROLE_OPERATOR;
	case ACCESS_ADMIN:
		return ROLE_ADMIN;
	case ACCESS_CONSOLE:
		return ROLE_CONSOLE;
	default:
		return ROLE_NONE;
	}
}

bool route_needs_match(const struct route *route)
{
	return (route->method == METHOD_PATCH || route->method == METHOD_DELETE) &&
	       !route->no_match;
}

bool route_has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = words; at && *at; at += strspn(at, " ")) {
		size_t n = strcspn(at, " ");

		if (n == len && !memcmp(at, word, len))
			return true;
		at += n;
	}
	return false;
}

static bool path_matches(
	const char *path, const struct target *target, const char *params[REQUEST_PARAMS_MAX])
{
	size_t param_count = 0;

	for (size_t i = 0; i < target->segment_count; i++) {
		const char *segment;
		size_t len;

		if (path[0] != '/')
			return false;
		segment = path + 1;
		len = strcspn(segment, "/");
		if (segment[0] == '{' && param_count < REQUEST_PARAMS_MAX)
			params[param_count++] = target->segments[i];
		else if (strlen(target->segments[i]) != len ||
			 memcmp(target->segments[i], segment, len) != 0)
			return false;
		path = segment + len;
	}
	return path[0] == '\0';
}

/* HEAD goes with GET. */
static void describe_methods(unsigned int methods, char ret_allow[ROUTE_ALLOW_MAX])
{
	static const char *const names[] = {[METHOD_GET] = "GET, HEAD",
		[METHOD_POST] = "POST",
		[METHOD_PATCH] = "PATCH",
		[METHOD_DELETE] = "DELETE"};
	size_t len = 0;

	ret_allow[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (methods & 1u << i)
			len += (size_t)snprintf(ret_allow + len, ROUTE_ALLOW_MAX - len, "%s%s",
				len ? ", " : "", names[i]);
}

const struct route *route_find(enum request_method method, const struct target *target,
	const char *ret_params[REQUEST_PARAMS_MAX], char ret_allow[ROUTE_ALLOW_MAX])
{
	unsigned int methods = 0;

	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		const char *params[REQUEST_PARAMS_MAX] = {NULL};

		if (!path_matches(routes[i].path, target, params))
			continue;
		if (routes[i].method == method) {
			memcpy(ret_params, params, sizeof(params));
			return &routes[i];
		}
		methods |= 1u << routes[i].method;
	}
	describe_methods(methods, ret_allow);
	return NULL;
}
