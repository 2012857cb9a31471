/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/listener.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/log.h"

#define BACKLOG 4096

int listener_open(const struct config *config, int *ret_fd, struct err *e)
{
	const struct endpoint *ep = &config->listen_on;
	int fd = socket(ep->remote.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, off = 0;

	if (fd < 0)
		return err_set(e, -errno, "cannot make a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ep->remote.sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, &ep->remote.sa, endpoint_sockaddr_len(ep)) || listen(fd, BACKLOG)) {
		int rc = err_set(e, -errno, "cannot listen on %s: %s%s", config->listen,
			strerror(errno),
			errno == EADDRINUSE ? ": another program has this port; set `listen`" : "");

		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

unsigned int listener_connections(const struct config *config)
{
	return (unsigned int)(config->max_connections + config->max_connections / 4 + 16);
}

void listener_raise_limit(const struct config *config)
{
	rlim_t wanted = (rlim_t)listener_connections(config) + 64;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur < wanted)
		log_warn("only %llu descriptors are allowed: fewer than max_connections",
			(unsigned long long)limit.rlim_cur);
}
