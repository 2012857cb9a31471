/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the commands, as the table names them. Contract: struct command, `run`. */
#ifndef VANCTL_CMD_H
#define VANCTL_CMD_H

#include "vanctl/vanctl.h"

/* cmd_login.c */
int cmd_login(struct vanctl *v, struct err *e);

/* cmd_console.c */
int cmd_console_status(struct vanctl *v, struct err *e);
int cmd_console_health(struct vanctl *v, struct err *e);
int cmd_console_ready(struct vanctl *v, struct err *e);
int cmd_console_metrics(struct vanctl *v, struct err *e);
int cmd_console_openapi(struct vanctl *v, struct err *e);
int cmd_whoami(struct vanctl *v, struct err *e);

/* cmd_access.c */
int cmd_org_list(struct vanctl *v, struct err *e);
int cmd_org_create(struct vanctl *v, struct err *e);
int cmd_org_show(struct vanctl *v, struct err *e);
int cmd_org_set(struct vanctl *v, struct err *e);
int cmd_org_delete(struct vanctl *v, struct err *e);
int cmd_user_list(struct vanctl *v, struct err *e);
int cmd_user_create(struct vanctl *v, struct err *e);
int cmd_user_show(struct vanctl *v, struct err *e);
int cmd_user_set(struct vanctl *v, struct err *e);
int cmd_user_delete(struct vanctl *v, struct err *e);
int cmd_key_list(struct vanctl *v, struct err *e);
int cmd_key_create(struct vanctl *v, struct err *e);
int cmd_key_show(struct vanctl *v, struct err *e);
int cmd_key_delete(struct vanctl *v, struct err *e);

/* cmd_stats.c */
int cmd_network_stats(struct vanctl *v, struct err *e);
int cmd_node_stats(struct vanctl *v, struct err *e);

/* cmd_event.c */
int cmd_event_list(struct vanctl *v, struct err *e);
int cmd_audit_list(struct vanctl *v, struct err *e);

/* cmd_watch.c */
int cmd_watch(struct vanctl *v, struct err *e);

/* cmd_network.c */
int cmd_network_create(struct vanctl *v, struct err *e);
int cmd_network_list(struct vanctl *v, struct err *e);
int cmd_network_show(struct vanctl *v, struct err *e);
int cmd_network_set(struct vanctl *v, struct err *e);
int cmd_network_delete(struct vanctl *v, struct err *e);

/* cmd_token.c */
int cmd_token_issue(struct vanctl *v, struct err *e);
int cmd_token_list(struct vanctl *v, struct err *e);
int cmd_token_show(struct vanctl *v, struct err *e);
int cmd_token_revoke(struct vanctl *v, struct err *e);

/* cmd_node.c */
int cmd_node_list(struct vanctl *v, struct err *e);
int cmd_node_show(struct vanctl *v, struct err *e);
int cmd_node_add(struct vanctl *v, struct err *e);
int cmd_node_set(struct vanctl *v, struct err *e);
int cmd_node_approve(struct vanctl *v, struct err *e);
int cmd_node_disable(struct vanctl *v, struct err *e);
int cmd_node_enable(struct vanctl *v, struct err *e);
int cmd_node_move(struct vanctl *v, struct err *e);
int cmd_node_rekey(struct vanctl *v, struct err *e);
int cmd_node_delete(struct vanctl *v, struct err *e);

/* cmd_reservation.c */
int cmd_reservation_list(struct vanctl *v, struct err *e);
int cmd_reservation_show(struct vanctl *v, struct err *e);
int cmd_reservation_create(struct vanctl *v, struct err *e);
int cmd_reservation_set(struct vanctl *v, struct err *e);
int cmd_reservation_delete(struct vanctl *v, struct err *e);

/* cmd_gateway.c */
int cmd_gateway_candidates(struct vanctl *v, struct err *e);
int cmd_gateway_list(struct vanctl *v, struct err *e);
int cmd_gateway_show(struct vanctl *v, struct err *e);
int cmd_gateway_add(struct vanctl *v, struct err *e);
int cmd_gateway_set(struct vanctl *v, struct err *e);
int cmd_gateway_remove(struct vanctl *v, struct err *e);

/* cmd_fip.c */
int cmd_fip_list(struct vanctl *v, struct err *e);
int cmd_fip_show(struct vanctl *v, struct err *e);
int cmd_fip_create(struct vanctl *v, struct err *e);
int cmd_fip_assign(struct vanctl *v, struct err *e);
int cmd_fip_set(struct vanctl *v, struct err *e);
int cmd_fip_delete(struct vanctl *v, struct err *e);

/* cmd_cloak.c */
int cmd_cloak_show(struct vanctl *v, struct err *e);
int cmd_cloak_on(struct vanctl *v, struct err *e);
int cmd_cloak_off(struct vanctl *v, struct err *e);
int cmd_cloak_allow(struct vanctl *v, struct err *e);
int cmd_cloak_deny(struct vanctl *v, struct err *e);
int cmd_cloak_rules(struct vanctl *v, struct err *e);
int cmd_cloak_rule(struct vanctl *v, struct err *e);
int cmd_cloak_set(struct vanctl *v, struct err *e);
int cmd_cloak_remove(struct vanctl *v, struct err *e);
int cmd_cloak_confirm(struct vanctl *v, struct err *e);

/* cmd_topology.c */
int cmd_export(struct vanctl *v, struct err *e);
int cmd_import(struct vanctl *v, struct err *e);

/* cmd_hosts.c */
int cmd_hosts(struct vanctl *v, struct err *e);

/* cmd_join.c */
int cmd_join(struct vanctl *v, struct err *e);
int cmd_leave(struct vanctl *v, struct err *e);

/* cmd_status.c */
int cmd_status(struct vanctl *v, struct err *e);

/* cmd_daemon.c */
int cmd_peers(struct vanctl *v, struct err *e);
int cmd_mac(struct vanctl *v, struct err *e);
int cmd_stats(struct vanctl *v, struct err *e);
int cmd_reload(struct vanctl *v, struct err *e);

/* cmd_ping.c */
int cmd_ping(struct vanctl *v, struct err *e);

/* cmd_help.c */
int cmd_help(struct vanctl *v, struct err *e);
int cmd_version(struct vanctl *v, struct err *e);
int cmd_completion(struct vanctl *v, struct err *e);

#endif
