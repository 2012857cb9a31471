/* SPDX-License-Identifier: Apache-2.0 */
/* The plain HTTP listener of metrics_listen: one path, for programs of this machine. */
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/metrics_internal.h"
#include "console-api/xalloc.h"

#define CONNECTIONS    16
#define IDLE_TIMEOUT_S 10

struct metrics_server {
	struct console *console;
	struct MHD_Daemon *daemon;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned int status,
	const char *type, char *text, size_t len, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(len, text, mode);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned int status)
{
	static char text[] = "there is nothing but GET /metrics here\n";

	return answer(connection, status, "text/plain; charset=utf-8", text, sizeof(text) - 1,
		MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *data_len, void **con_cls)
{
	struct metrics_server *s = cls;
	size_t len;
	char *text;

	(void)version;
	(void)data;
	if (!*con_cls) { /* the head: the answer comes at the end, see httpd.c */
		*con_cls = s;
		return MHD_YES;
	}
	if (*data_len) {
		*data_len = 0;
		return MHD_YES;
	}
	if (strcmp(url, "/metrics") != 0)
		return refuse(connection, 404);
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return refuse(connection, 405);
	registry_lock(s->console->registry);
	text = metrics_text(s->console, true, NULL, &len);
	registry_unlock(s->console->registry);
	return answer(connection, 200, METRICS_CONTENT_TYPE, text, len, MHD_RESPMEM_MUST_FREE);
}

int metrics_server_start(struct console *c, const struct endpoint *on,
	struct metrics_server **ret_server, struct err *e)
{
	struct metrics_server *s = xcalloc(1, sizeof(*s));
	unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG;

	s->console = c;
	if (on->remote.sa.sa_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	errno = 0;
	s->daemon = MHD_start_daemon(flags, endpoint_port(on), NULL, NULL, on_request, s,
		MHD_OPTION_SOCK_ADDR, &on->remote.sa, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)IDLE_TIMEOUT_S, MHD_OPTION_END);
	if (!s->daemon) {
		int rc = err_set(e, -EADDRINUSE, "cannot listen on %s for metrics%s%s",
			c->config.metrics_listen, errno ? ": " : "", errno ? strerror(errno) : "");

		free(s);
		return rc;
	}
	*ret_server = s;
	return 0;
}

void metrics_server_stop(struct metrics_server *s)
{
	if (!s)
		return;
	MHD_stop_daemon(s->daemon);
	free(s);
}
