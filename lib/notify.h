/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon tells the service manager (the datagram protocol of sd_notify(3)). */
#ifndef LIB_NOTIFY_H
#define LIB_NOTIFY_H

/*
 * Sends one datagram of newline-separated assignments ("READY=1", "STOPPING=1", "STATUS=…") to the
 * socket named by $NOTIFY_SOCKET (a path, or '@' and an abstract name). 1 when it was sent, 0 when
 * nobody asked for it, negative errno when it could not be sent; no daemon should fail for that.
 */
int notify_send(const char *state);

#endif
