/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the routes; contract in routes.h. Each reads its request, calls the registry once
 * and renders the answer. */
#ifndef CONSOLE_API_API_H
#define CONSOLE_API_API_H

#include "console-api/routes.h"

route_handler api_healthz, api_readyz, api_openapi, api_console;
route_handler api_network_list, api_network_create, api_network_get, api_network_delete;
route_handler api_token_list, api_token_issue, api_token_revoke;
route_handler api_node_list, api_node_get, api_node_delete;
route_handler api_member_list, api_member_add, api_member_get, api_member_change, api_member_remove;
route_handler api_agent_enroll, api_agent_netmap, api_agent_report, api_agent_leave;

#endif
