/* SPDX-License-Identifier: Apache-2.0 */
/* The unix socket for vanctl: lib/ctlproto.h's protocol, the commands of docs/control-socket.md. */
#ifndef VAND_CTL_H
#define VAND_CTL_H

#include <stdint.h>
#include "lib/err.h"

struct vand;
struct peer;
struct ctl;

/* Makes the socket's directory, replaces a stale socket (one where nobody answers), mode 0600. */
int ctl_open(struct vand *v, struct ctl **ret_ctl, struct err *e);
void ctl_close(struct ctl *c);
/* The answer to a probe came in (session_io.probed). */
void ctl_probed(struct ctl *c, struct peer *peer, uint64_t token, uint64_t rtt_ns);

#endif
