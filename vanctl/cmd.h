/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the commands, as the table names them. Contract: struct command, `run`. */
#ifndef VANCTL_CMD_H
#define VANCTL_CMD_H

#include "vanctl/vanctl.h"

/* cmd_login.c */
int cmd_login(struct vanctl *v, struct err *e);

/* cmd_network.c */
int cmd_network_create(struct vanctl *v, struct err *e);
int cmd_network_list(struct vanctl *v, struct err *e);
int cmd_network_show(struct vanctl *v, struct err *e);
int cmd_network_delete(struct vanctl *v, struct err *e);

/* cmd_token.c */
int cmd_token_issue(struct vanctl *v, struct err *e);
int cmd_token_list(struct vanctl *v, struct err *e);
int cmd_token_revoke(struct vanctl *v, struct err *e);

/* cmd_node.c */
int cmd_node_list(struct vanctl *v, struct err *e);
int cmd_node_show(struct vanctl *v, struct err *e);
int cmd_node_add(struct vanctl *v, struct err *e);
int cmd_node_set(struct vanctl *v, struct err *e);
int cmd_node_delete(struct vanctl *v, struct err *e);

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
