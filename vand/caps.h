/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon is started as root and stays root, without root's powers. */
#ifndef VAND_CAPS_H
#define VAND_CAPS_H

#include "lib/err.h"

/*
 * Drops every capability but CAP_NET_ADMIN (TAP devices, interfaces, addresses, large socket
 * buffers) from the bounding, permitted, effective, inheritable and ambient sets, forbids new
 * privileges and core dumps. Before that it lifts the limit on locked memory as far as it may, for
 * keys that must not be swapped. Threads have capabilities of their own, so this runs before the
 * first one is started. -EPERM without CAP_NET_ADMIN: vand can do nothing then.
 */
int caps_drop(struct err *e);

#endif
