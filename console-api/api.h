/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the routes; contract in routes.h. Each reads its request, calls the registry once
 * and renders the answer. */
#ifndef CONSOLE_API_API_H
#define CONSOLE_API_API_H

#include "console-api/routes.h"

route_handler api_healthz, api_readyz, api_openapi, api_console, api_whoami;
route_handler api_org_list, api_org_create, api_org_get, api_org_change, api_org_delete;
route_handler api_user_list, api_user_create, api_user_get, api_user_change, api_user_delete;
route_handler api_key_list, api_key_create, api_key_get, api_key_delete;
route_handler api_audit_list, api_event_list, api_watch;
route_handler api_network_list, api_network_create, api_network_get, api_network_change,
	api_network_delete;
route_handler api_token_list, api_token_issue, api_token_get, api_token_revoke;
route_handler api_node_list, api_node_get, api_node_change, api_node_delete, api_node_rekey;
route_handler api_member_list, api_member_add, api_member_get, api_member_change, api_member_remove;
route_handler api_reservation_list, api_reservation_create, api_reservation_get,
	api_reservation_change, api_reservation_delete;
route_handler api_gateway_list, api_gateway_candidates, api_gateway_create, api_gateway_get,
	api_gateway_change, api_gateway_delete;
route_handler api_fip_list, api_fip_create, api_fip_get, api_fip_change, api_fip_delete;
route_handler api_cloak_get, api_cloak_change, api_cloak_confirm, api_cloak_rule_list,
	api_cloak_rule_create, api_cloak_rule_get, api_cloak_rule_change, api_cloak_rule_delete;
route_handler api_network_stats, api_member_stats, api_node_stats, api_metrics;
route_handler api_topology_export, api_topology_import;
route_handler api_agent_enroll, api_agent_netmap, api_agent_report, api_agent_leave;

/* The query parameter of whatever may change a cloak; its default when it is absent. */
int request_confirm_within(struct request *q, int64_t *ret_s);

#endif
