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

	for (int i = 0; i < UPCALL_CHANNELS; i++)
		u->worker_fd[i] = u->control_fd[i] = -1;
	for (int i = 0; i < UPCALL_CHANNELS; i++) {
		int fds[2];

		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
			int rc = -errno;

			upcall_done(u);
			return rc;
		}
		/* More than the default where we may: bursts are the rule here. */
		if (setsockopt(fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
			setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		u->worker_fd[i] = fds[0];
		u->control_fd[i] = fds[1];
	}
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void upcall_done(struct upcall *u)
{
	for (int i = 0; i < UPCALL_CHANNELS; i++) {
		close_fd(&u->worker_fd[i]);
		close_fd(&u->control_fd[i]);
	}
}

void upcall_send(
	const struct upcall *u, const struct upcall_message *message, struct counters *counters)
{
	enum upcall_channel channel =
		message->kind == UPCALL_HANDSHAKE ? UPCALL_STRANGERS : UPCALL_OWN;
	size_t size = offsetof(struct upcall_message, data) + message->len;

	if (send(u->worker_fd[channel], message, size, 0) < 0)
		stats_drop(counters, DROP_upcall_full);
}

int upcall_receive(
	const struct upcall *u, enum upcall_channel channel, struct upcall_message *ret_message)
{
	ssize_t n = recv(u->control_fd[channel], ret_message, sizeof(*ret_message), 0);

	if (n < 0)
		return -errno;
	if ((size_t)n < offsetof(struct upcall_message, data) ||
		(size_t)n != offsetof(struct upcall_message, data) + ret_message->len)
		return -EPROTO;
	return 0;
}
