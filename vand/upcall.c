/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/upcall.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UPCALL_BUFFER (1 << 20)

int upcall_init(struct upcall *u)
{
	const int size = UPCALL_BUFFER;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	/* More than the default where we may: a burst of handshakes should not push out a WANT. */
	if (setsockopt(fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	u->worker_fd = fds[0];
	u->control_fd = fds[1];
	return 0;
}

void upcall_done(struct upcall *u)
{
	close(u->worker_fd);
	close(u->control_fd);
	u->worker_fd = -1;
	u->control_fd = -1;
}

void upcall_send(
	const struct upcall *u, const struct upcall_message *message, struct counters *counters)
{
	size_t size = offsetof(struct upcall_message, data) + message->len;

	if (send(u->worker_fd, message, size, 0) < 0)
		stats_drop(counters, DROP_upcall_full);
}

int upcall_receive(const struct upcall *u, struct upcall_message *ret_message)
{
	ssize_t n = recv(u->control_fd, ret_message, sizeof(*ret_message), 0);

	if (n < 0)
		return -errno;
	if ((size_t)n < offsetof(struct upcall_message, data) ||
		(size_t)n != offsetof(struct upcall_message, data) + ret_message->len)
		return -EPROTO;
	return 0;
}
