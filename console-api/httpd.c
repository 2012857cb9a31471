/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a request goes: libmicrohttpd calls on_uri() with the request line (the struct request is
 * made there, for signatures cover the target as it was sent), then on_request() with the headers,
 * with each piece of the body, and once more at its end. Route, size and API key are judged at the
 * headers, but an answer is given at the end only: answering early makes the library close the
 * connection, and the reset that follows may overtake the answer. A body that is too large is
 * therefore read (not kept) up to REQUEST_DISCARD_MAX.
 *
 * Long polls: a handler that returns HANDLER_WAIT leaves its request suspended on h->waiters.
 * Whoever takes one off that list resumes it; the library then calls on_request() again from its
 * own thread, and the handler decides anew. The list is guarded by the registry's lock. One node
 * has one waiting request: a newer one sends the older home.
 */
#include "console-api/httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include "console-api/console.h"
#include "console-api/request.h"
#include "console-api/routes.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"

#define IDLE_TIMEOUT_S  30 /* of a connection without a request, or with one that stands still */
#define BODY_TIMEOUT_NS (60 * NS_PER_S) /* for the whole of a request */
#define BACKLOG         1024
/* Of all bodies whose sender is known at their end only, together: each connection could hold one
 * of REQUEST_BODY_MAX. */
#define UNPROVEN_MAX   (32u << 20)
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

struct httpd {
	struct console *console;
	struct MHD_Daemon *daemon;
	int listen_fd;
	int timer_fd;
	struct list waiters; /* struct request; guarded by the registry's lock, like the next two */
	uint64_t armed_ns;   /* what the timer is set to; 0: not set */
	bool stopping;
	size_t unproven_len; /* bodies that are held; of the server's thread alone */
};

/* -- waiting requests -- */

static void arm_timer(struct httpd *h, uint64_t at_ns)
{
	struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / NS_PER_S),
					  .tv_nsec = (long)(at_ns % NS_PER_S)}};

	h->armed_ns = at_ns;
	timerfd_settime(h->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void resume(struct request *q)
{
	list_del(&q->waiter);
	MHD_resume_connection(q->connection);
}

static void suspend(struct httpd *h, struct request *q)
{
	list_for_each_safe (it, &h->waiters) {
		struct request *other = container_of(it, struct request, waiter);

		if (!strcmp(other->node_id, q->node_id)) {
			other->deadline_ns = 0;
			resume(other);
		}
	}
	MHD_suspend_connection(q->connection);
	q->was_waiting = true;
	list_add_tail(&h->waiters, &q->waiter);
	if (!h->armed_ns || q->deadline_ns < h->armed_ns)
		arm_timer(h, q->deadline_ns);
}

int httpd_timer_fd(const struct httpd *h)
{
	return h->timer_fd;
}

void httpd_on_timer(struct httpd *h)
{
	uint64_t expirations, now_ns, next_ns = 0;

	if (read(h->timer_fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		log_warn("timer: %s", strerror(errno));
	registry_lock(h->console->registry);
	now_ns = clock_boottime_ns();
	list_for_each_safe (it, &h->waiters) {
		struct request *q = container_of(it, struct request, waiter);

		if (q->deadline_ns <= now_ns)
			resume(q);
		else if (!next_ns || q->deadline_ns < next_ns)
			next_ns = q->deadline_ns;
	}
	arm_timer(h, next_ns);
	registry_unlock(h->console->registry);
}

static bool concerns(const struct request *q, const char *key)
{
	static const char node[] = "/maprev/node/", net[] = "/maprev/net/";

	if (!strncmp(key, node, sizeof(node) - 1))
		return !strcmp(key + sizeof(node) - 1, q->node_id);
	if (strncmp(key, net, sizeof(net) - 1) != 0)
		return false;
	if (q->scope.any)
		return true;
	for (size_t i = 0; i < q->scope.count; i++)
		if (!strcmp(key + sizeof(net) - 1, q->scope.nets[i]))
			return true;
	return false;
}

void httpd_on_change(void *httpd, uint64_t revision, const struct store_op *ops, size_t n)
{
	struct httpd *h = httpd;

	(void)revision;
	for (size_t i = 0; i < n; i++) {
		if (strncmp(ops[i].key, "/maprev/", strlen("/maprev/")) != 0)
			continue;
		list_for_each_safe (it, &h->waiters) {
			struct request *q = container_of(it, struct request, waiter);

			if (concerns(q, ops[i].key))
				resume(q);
		}
	}
}

/* -- answers -- */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
	MHD_add_response_header(response, name, value);
}

static enum MHD_Result send_text(
	struct request *q, int status, const char *content_type, const char *text, size_t len)
{
	enum MHD_ResponseMemoryMode mode =
		q->reply_text ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_COPY;
	struct MHD_Response *response =
		MHD_create_response_from_buffer(len, (void *)(uintptr_t)text, mode);
	enum MHD_Result result;
	char number[32];

	if (!response)
		return MHD_NO;
	if (content_type)
		add_header(response, "Content-Type", content_type);
	add_header(response, "Cache-Control", "no-store");
	add_header(response, "X-Content-Type-Options", "nosniff");
	if (q->etag) {
		snprintf(number, sizeof(number), "\"%llu\"", (unsigned long long)q->etag);
		add_header(response, "ETag", number);
	}
	if (q->allow)
		add_header(response, "Allow", q->allow);
	if (status == 401)
		add_header(response, "WWW-Authenticate",
			q->route && q->route->access != ACCESS_ADMIN ? "VAN-Ed25519" : "Bearer");
	if (q->problem.retry_after_s) {
		snprintf(number, sizeof(number), "%u", q->problem.retry_after_s);
		add_header(response, "Retry-After", number);
	}
	result = MHD_queue_response(q->connection, (unsigned int)status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result send_problem(struct request *q)
{
	CLEANUP(json) struct json_object *o = problem_to_json(&q->problem);
	const char *text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	return send_text(q, q->problem.status, "application/problem+json", text, strlen(text));
}

static enum MHD_Result send_reply(struct request *q)
{
	size_t len;
	const char *text;

	if (q->reply_text)
		return send_text(
			q, q->status, "application/json", q->reply_text, q->reply_text_len);
	if (!q->reply)
		return send_text(q, q->status, NULL, "", 0);
	text = json_object_to_json_string_length(
		q->reply, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	return send_text(q, q->status, "application/json", text, len);
}

/* -- judging a request at its headers -- */

static void client_address(struct request *q)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(q->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (info && info->client_addr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)info->client_addr;

		q->client.family = AF_INET;
		memcpy(q->client.b, &in->sin_addr, 4);
	} else if (info && info->client_addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)info->client_addr;
		bool is_mapped = !memcmp(&in6->sin6_addr, mapped, sizeof(mapped));

		q->client.family = is_mapped ? AF_INET : AF_INET6;
		memcpy(q->client.b, in6->sin6_addr.s6_addr + (is_mapped ? 12 : 0),
			is_mapped ? 4 : 16);
	}
}

static struct auth_client auth_client_of(const struct request *q)
{
	return (struct auth_client){.address = q->client,
		.authorization = q->authorization,
		.now_ns = q->started_ns,
		.now_s = clock_wall_ns() / NS_PER_S};
}

static int find_route(struct request *q)
{
	if (!target_parse(q->raw_target, &q->target))
		return problem_set(&q->problem, 400, "bad_target",
			"the path or query of the request is malformed");
	q->route = route_find(q->method, &q->target, q->params, &q->allow);
	if (q->route)
		return 0;
	if (q->allow)
		return problem_set(&q->problem, 405, "method_not_allowed",
			"this path takes %s only", q->allow);
	return problem_set(
		&q->problem, 404, "no_such_path", "there is no such path: see /api/openapi.json");
}

/* Fills q->problem when the request cannot succeed; its body is read all the same. */
static void judge_headers(struct httpd *h, struct request *q)
{
	struct console *c = h->console;
	struct auth_client client;
	int rc = find_route(q);

	if (rc || q->route->access == ACCESS_ANYBODY)
		return;
	client = auth_client_of(q);
	rc = auth_gate(c->auth, &client, &q->problem);
	if (!rc && q->route->access == ACCESS_ADMIN) {
		registry_lock(c->registry);
		auth_api_key(c->auth, c->registry, &client, &q->actor, &q->problem);
		registry_unlock(c->registry);
	}
}

static uint64_t declared_length(struct request *q)
{
	const char *text =
		MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "Content-Length");

	return text ? strtoull(text, NULL, 10) : 0;
}

static void too_large(struct request *q)
{
	if (!q->problem.status)
		problem_set(&q->problem, 413, "body_too_large",
			"the body may have %u bytes at most", REQUEST_BODY_MAX);
}

static enum MHD_Result begin(struct httpd *h, struct request *q, const char *method)
{
	uint64_t length;

	q->begun = true;
	q->method_text = method;
	q->method = route_method(method);
	q->started_ns = clock_boottime_ns();
	client_address(q);
	q->authorization =
		MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "Authorization");
	q->if_match = MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "If-Match");
	judge_headers(h, q);
	length = declared_length(q);
	if (length > REQUEST_BODY_MAX)
		too_large(q);
	if (length > REQUEST_DISCARD_MAX)
		return send_problem(q);
	return MHD_YES;
}

/* -- body and answer -- */

static void drop_body(struct httpd *h, struct request *q)
{
	if (q->counted)
		h->unproven_len -= q->body_len;
	if (q->body)
		sodium_memzero(q->body, q->body_len); /* perhaps a join token */
	free(q->body);
	q->body = NULL;
	q->body_len = 0;
	q->counted = false;
}

/* An API key was seen with the headers, so people get through whatever strangers do. */
static void count_body(struct httpd *h, struct request *q, size_t n)
{
	if (q->problem.status || q->route->access == ACCESS_ADMIN)
		return;
	if (h->unproven_len + n > UNPROVEN_MAX) {
		problem_set(&q->problem, 503, "busy",
			"too many requests are being received: try again in a moment");
		q->problem.retry_after_s = 1;
		return;
	}
	q->counted = true;
	h->unproven_len += n;
}

static enum MHD_Result take_body(struct httpd *h, struct request *q, const char *data, size_t *len)
{
	size_t n = *len;

	*len = 0;
	q->received += n;
	if (q->received > REQUEST_DISCARD_MAX ||
		clock_boottime_ns() - q->started_ns > BODY_TIMEOUT_NS)
		return MHD_NO;
	if (q->received > REQUEST_BODY_MAX)
		too_large(q);
	count_body(h, q, n);
	if (q->problem.status) {
		drop_body(h, q);
		return MHD_YES;
	}
	q->body = xrealloc(q->body, q->body_len + n + 1, 1);
	memcpy(q->body + q->body_len, data, n);
	q->body_len += n;
	q->body[q->body_len] = '\0';
	return MHD_YES;
}

static int authenticate_agent(struct console *c, struct request *q)
{
	struct auth_client client = auth_client_of(q);
	const struct agentsig_request signed_part = {.method = q->method_text,
		.path = q->raw_target,
		.body = q->body,
		.body_len = q->body_len};
	int rc = auth_agent(
		c->auth, c->registry, &client, &signed_part, &q->actor, q->node_id, &q->problem);

	if (!rc)
		soft_seen(c->registry->soft, q->node_id, client.now_ns, clock_wall_ns());
	return rc;
}

/* With the registry's lock held. */
static int handle(struct httpd *h, struct request *q)
{
	int rc = 0;

	if (h->stopping) {
		rc = problem_set(&q->problem, 503, "stopping", "the console is being stopped");
		q->problem.retry_after_s = 1;
		return rc;
	}
	if (q->route->access == ACCESS_AGENT && !q->was_waiting)
		rc = authenticate_agent(h->console, q);
	if (!rc)
		rc = q->route->handler(h->console, q);
	if (rc == HANDLER_WAIT)
		suspend(h, q);
	return rc;
}

static enum MHD_Result finish(struct httpd *h, struct request *q)
{
	int rc = -VAN_E_INVALID;

	if (!q->problem.status) {
		registry_lock(h->console->registry);
		rc = handle(h, q);
		registry_unlock(h->console->registry);
	}
	if (rc == HANDLER_WAIT) {
		log_debug("%s %s: %s waits", q->method_text, q->route->path, q->node_id);
		return MHD_YES;
	}
	if (rc < 0 && !q->problem.status) {
		log_error("%s %s failed without a reason", q->method_text, q->route->path);
		problem_set(&q->problem, 500, "internal", "the console failed: its log says more");
	}
	log_debug("%s %s: %d", q->method_text, q->route ? q->route->path : "(no such path)",
		rc < 0 ? q->problem.status : q->status);
	return rc < 0 ? send_problem(q) : send_reply(q);
}

/* -- libmicrohttpd's callbacks -- */

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
	struct httpd *h = cls;
	struct request *q = xcalloc(1, sizeof(*q));

	q->console = h->console;
	q->connection = connection;
	q->raw_target = xstrdup(uri);
	list_init(&q->waiter);
	return q;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload_data, size_t *upload_data_size,
	void **con_cls)
{
	struct httpd *h = cls;
	struct request *q = *con_cls;

	(void)connection;
	(void)url;
	(void)version;
	if (!q->begun)
		return begin(h, q, method);
	if (*upload_data_size)
		return take_body(h, q, upload_data, upload_data_size);
	return finish(h, q);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
	enum MHD_RequestTerminationCode code)
{
	struct httpd *h = cls;
	struct request *q = *con_cls;

	(void)connection;
	(void)code;
	if (!q)
		return;
	registry_lock(h->console->registry);
	list_del(&q->waiter);
	registry_unlock(h->console->registry);
	free(q->raw_target);
	drop_body(h, q);
	json_object_put(q->json);
	json_object_put(q->reply);
	free(q);
	*con_cls = NULL;
}

__attribute__((format(printf, 2, 0))) static void on_log(void *cls, const char *fmt, va_list ap)
{
	char line[512];

	(void)cls;
	/* Broken connections and TLS noise of strangers: of interest when debugging only. */
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\r\n")] = '\0';
	log_debug("http: %s", line);
}

/* -- start and stop -- */

static int open_socket(const struct config *config, int *ret_fd, struct err *e)
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

/* Each connection is a descriptor. */
static void raise_descriptor_limit(int64_t connections)
{
	rlim_t wanted = (rlim_t)connections + 64;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur < wanted)
		log_warn("only %llu descriptors are allowed: fewer than max_connections",
			(unsigned long long)limit.rlim_cur);
}

int httpd_new(struct console *c, struct httpd **ret_httpd, struct err *e)
{
	struct httpd *h = xcalloc(1, sizeof(*h));
	int rc;

	h->console = c;
	h->listen_fd = -1;
	list_init(&h->waiters);
	raise_descriptor_limit(c->config.max_connections);
	h->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	rc = h->timer_fd < 0 ? err_set(e, -errno, "cannot make a timer: %s", strerror(errno))
			     : open_socket(&c->config, &h->listen_fd, e);
	if (rc) {
		httpd_free(h);
		return rc;
	}
	*ret_httpd = h;
	return 0;
}

int httpd_start(struct httpd *h, struct err *e)
{
	const struct console *c = h->console;
	unsigned int connections = (unsigned int)c->config.max_connections;

	h->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS |
					     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
		0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, h,
		MHD_OPTION_LISTEN_SOCKET, h->listen_fd, MHD_OPTION_HTTPS_MEM_KEY, c->tls.key_pem,
		MHD_OPTION_HTTPS_MEM_CERT, c->tls.cert_pem, MHD_OPTION_HTTPS_PRIORITIES,
		TLS_PRIORITIES, MHD_OPTION_CONNECTION_LIMIT, connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, connections / 2, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)IDLE_TIMEOUT_S, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_URI_LOG_CALLBACK, on_uri, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
		h, MHD_OPTION_END);
	if (!h->daemon)
		return err_set(
			e, -EIO, "cannot start the HTTPS server: log_level \"debug\" says more");
	h->listen_fd = -1; /* the library's from here */
	return 0;
}

void httpd_free(struct httpd *h)
{
	if (!h)
		return;
	if (h->daemon) {
		registry_lock(h->console->registry);
		h->stopping = true;
		list_for_each_safe (it, &h->waiters)
			resume(container_of(it, struct request, waiter));
		registry_unlock(h->console->registry);
		MHD_stop_daemon(h->daemon);
	}
	if (h->listen_fd >= 0)
		close(h->listen_fd);
	if (h->timer_fd >= 0)
		close(h->timer_fd);
	free(h);
}
