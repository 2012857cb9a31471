/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a request goes: libmicrohttpd calls on_uri() with the request line (the struct request is
 * made there, for signatures cover the target as it was sent), then on_request() with the headers,
 * with each piece of the body, and once more at its end. Route, size and API key are judged at the
 * headers (judge.c), but an answer is given at the end only: answering early makes the library
 * close the connection, and the reset that follows may overtake the answer. A body that is too
 * large is therefore read (not kept) up to REQUEST_DISCARD_MAX.
 *
 * Waiting (waiters.h): a handler that returns HANDLER_WAIT, and a stream with nothing to tell, leave
 * their request suspended.
 *
 * One thread serves all, so work is divided by turns: what a key asks for beyond TURN_WORK_NS of one is
 * put off until the next, and others wait no longer than that for it. (What it may have in all is
 * auth_charge()'s.)
 *
 * The thread: the library only offers what it has to wait for; serve() waits, for that and for what
 * is due here. So whatever touches connections (conn.c) runs in one thread.
 */
#include "console-api/httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "console-api/conn.h"
#include "console-api/console.h"
#include "console-api/idempotency.h"
#include "console-api/judge.h"
#include "console-api/listener.h"
#include "console-api/reply.h"
#include "console-api/routes.h"
#include "console-api/waiters.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"

#define IDLE_TIMEOUT_S 30 /* of a connection that stands still */
#define WAIT_MAX_MS    5000
#define IDLE_TURNS     8 /* and then slowly: see wait_ms() */
#define IDLE_TURN_MS   10
#define STOP_GRACE_NS  NS_PER_S          /* for answers that are on their way */
#define STALL_NS       (100 * NS_PER_MS) /* of a turn: nobody has to make up for it */
/* Of all bodies whose sender is known at their end only, together: each connection could hold one
 * of REQUEST_BODY_MAX. */
#define UNPROVEN_MAX (32u << 20)
#define TURN_WORK_NS (20 * NS_PER_MS) /* for one key */
#define TURN_PLACES  1024
#define UNSENT_MAX   (64u << 20) /* of all answers that clients have not taken yet */
#define HEAD_MEMORY  (16u << 10) /* of a connection: the library writes all of it at each request */
/* X25519 first: what clients send a key share of. Any other costs a HelloRetryRequest. */
#define TLS_PRIORITIES                                                         \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-GROUP-ALL:+GROUP-X25519:" \
	"+GROUP-SECP256R1:+GROUP-SECP384R1:+GROUP-SECP521R1:%SERVER_PRECEDENCE"

struct httpd {
	struct console *console;
	struct MHD_Daemon *daemon;
	pthread_t thread;
	bool running;
	int listen_fd;
	int wake_fd;            /* readable: look at `ending`, and at what is due */
	struct waiters waiters; /* guarded by the registry's lock, like the next one */
	bool stopping;
	atomic_bool ending;
	atomic_size_t connections;          /* conns.count, for other threads */
	struct conns conns;                 /* of the server's thread alone, like the next ones */
	struct share held;                  /* bodies of unknown senders, by address */
	struct share unsent;                /* bytes of answers, by key */
	uint64_t turn_work_ns[TURN_PLACES]; /* of this turn, by key */
	uint64_t due_ns;                    /* when there is something to do, 0: never */
	size_t busy;                        /* requests that are being answered */
	size_t sending; /* answers that are on their way, those that go on not counted */
	bool moved;     /* something was called back since the last turn */
	unsigned int
		idle_turns; /* in a row, that nothing came of although the library asked for them */
};

/* -- waiting requests -- */

size_t httpd_connections(const struct httpd *h)
{
	return atomic_load(&h->connections);
}

size_t httpd_waiting(const struct httpd *h)
{
	return waiters_count(&h->waiters);
}

static void wake(const struct httpd *h)
{
	static const uint64_t one = 1;

	if (write(h->wake_fd, &one, sizeof(one)) < 0)
		log_warn("cannot wake the server's thread: %s", strerror(errno));
}

void httpd_on_change(void *httpd, uint64_t revision, const struct store_op *ops, size_t n)
{
	struct httpd *h = httpd;

	(void)revision;
	/* Perhaps in another thread than the one that waits for what is due. */
	if (waiters_on_change(&h->waiters, ops, n, clock_boottime_ns()))
		wake(h);
}

static uint64_t resume_due(struct httpd *h, uint64_t now_ns)
{
	uint64_t due_ns;

	registry_lock(h->console->registry);
	if (h->conns.any_doomed)
		waiters_resume_doomed(&h->waiters);
	h->conns.any_doomed = false;
	due_ns = waiters_resume_due(&h->waiters, now_ns);
	registry_unlock(h->console->registry);
	return due_ns;
}

/* -- the head -- */

static size_t body_max(const struct request *q)
{
	return q->route && q->route->body_max ? q->route->body_max : REQUEST_BODY_MAX;
}

static void too_large(struct request *q)
{
	if (!q->problem.status)
		problem_set(&q->problem, 413, "body_too_large",
			"the body may have %zu bytes at most", body_max(q));
}

static enum MHD_Result begin(struct httpd *h, struct request *q, const char *method)
{
	uint64_t length;

	q->begun = true;
	h->busy++;
	judge_request(h->console, q, method);
	if (q->conn)
		conn_enter(&h->conns, q->conn, CONN_BODY, q->started_ns);
	length = q->content_length ? strtoull(q->content_length, NULL, 10) : 0;
	if (length > body_max(q))
		too_large(q);
	if (q->hang_up || length > REQUEST_DISCARD_MAX)
		return reply_problem(q);
	return MHD_YES;
}

/* -- the body -- */

static void drop_body(struct httpd *h, struct request *q)
{
	share_leave(&h->held, &q->held);
	request_drop_body(q);
}

/* An API key was seen with the headers, so people get through whatever strangers do. */
static void count_body(struct httpd *h, struct request *q, size_t n)
{
	struct share_holder *over;

	if (q->problem.status || route_role(q->route))
		return;
	share_take(&h->held, &q->held, q->client.b, auth_host_len(&q->client), n);
	while ((over = share_over(&h->held, 0))) {
		struct request *other = container_of(over, struct request, held);

		problem_set(&other->problem, 503, "busy",
			"too many requests are being received: try again in a moment");
		other->problem.retry_after_s = 1;
		drop_body(h, other);
	}
}

static enum MHD_Result take_body(struct httpd *h, struct request *q, const char *data, size_t *len)
{
	size_t n = *len;

	*len = 0;
	q->received += n;
	if (q->received > REQUEST_DISCARD_MAX)
		return MHD_NO;
	if (q->received > body_max(q))
		too_large(q);
	count_body(h, q, n);
	if (q->problem.status) {
		drop_body(h, q);
		return MHD_YES;
	}
	request_add_body(q, data, n);
	return MHD_YES;
}

/* -- the answer -- */

static int authenticate_agent(struct console *c, struct request *q)
{
	struct auth_client client = judge_client(q);
	const struct agentsig_request signed_part = {.method = q->method_text,
		.path = q->raw_target,
		.body = q->body,
		.body_len = q->body_len};
	int rc = auth_agent(
		c->auth, c->registry, &client, &signed_part, &q->actor, &q->node, &q->problem);

	if (rc)
		return rc;
	soft_seen(c->registry->soft, q->node.id, client.now_ns, clock_wall_ns());
	if (q->conn)
		conn_prove(q->conn, q->node.id, strlen(q->node.id));
	return 0;
}

static int stopping(struct request *q)
{
	int rc = problem_set(&q->problem, 503, "stopping", "the console is being stopped");

	q->problem.retry_after_s = 1;
	return rc;
}

/* The API key, after "Bearer ". */
static const char *credential_of(const struct request *q)
{
	const char *text = q->authorization + strcspn(q->authorization, " ");

	return text + strspn(text, " ");
}

static int run_handler(struct console *c, struct request *q)
{
	int rc = q->was_waiting ? 0 : request_read(q);

	return rc ? rc : q->route->handler(c, q);
}

/* A POST with an Idempotency-Key: once. */
static int handle_once(struct httpd *h, struct request *q)
{
	struct registry *r = h->console->registry;
	const struct idem_request request = {.idempotency_key = q->idempotency_key,
		.credential = credential_of(q),
		.key_id = strchr(q->actor.who, ':') + 1,
		.org = q->actor.org,
		.method = q->method_text,
		.target = q->raw_target,
		.body = q->body,
		.body_len = q->body_len};
	struct idem_answer answer;
	struct idem idem;
	int rc = idem_begin(r, &request, clock_wall_ns() / NS_PER_S, &idem, &answer, &q->problem);

	if (rc == IDEM_ANSWERED)
		return request_reply(q, answer.status, answer.body);
	if (rc)
		return rc;
	r->idem = &idem;
	rc = run_handler(h->console, q);
	r->idem = NULL;
	if (!rc)
		idem_done(r, &idem, q->status, q->reply);
	idem_wipe(&idem);
	return rc;
}

/* With the registry's lock held. */
static int handle(struct httpd *h, struct request *q)
{
	const struct auth_client client = judge_client(q);
	int rc = 0;

	if (h->stopping)
		return stopping(q);
	if (q->route->access == ACCESS_AGENT && !q->was_waiting)
		rc = authenticate_agent(h->console, q);
	else if (q->route->access == ACCESS_ENROL)
		rc = auth_enrolment_rate(h->console->auth, &client, &q->problem);
	if (rc)
		return rc;
	if (q->idempotency_key && q->method == METHOD_POST && route_role(q->route))
		return handle_once(h, q);
	rc = run_handler(h->console, q);
	if (rc == HANDLER_WAIT)
		waiters_suspend(&h->waiters, q);
	return rc;
}

/* The next part of an answer that goes on. */
static ssize_t on_stream_read(void *cls, uint64_t pos, char *text, size_t max)
{
	struct request *q = cls;
	struct httpd *h = q->console->httpd;
	uint64_t now_ns = clock_boottime_ns();
	ssize_t n = -1;

	(void)pos;
	h->moved = true;
	registry_lock(q->console->registry);
	if (!h->stopping && !(q->conn && q->conn->doomed))
		n = q->stream->read(q, q->stream_ctx, text, max, now_ns, &q->deadline_ns);
	if (!n)
		waiters_suspend(&h->waiters, q);
	registry_unlock(q->console->registry);
	return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

/* What the answer is counted under until the client has it. */
static void count_answer(struct httpd *h, struct request *q)
{
	struct share_holder *over;

	if (q->conn)
		conn_enter(&h->conns, q->conn, CONN_SEND, clock_boottime_ns());
	if (!q->conn || !q->reply_heap)
		return;
	share_take(&h->unsent, &q->unsent, q->key_hash[0] ? q->key_hash : (char *)q->client.b,
		q->key_hash[0] ? strlen(q->key_hash) : auth_host_len(&q->client),
		q->reply_text_len);
	while ((over = share_over(&h->unsent, 0))) {
		struct request *other = container_of(over, struct request, unsent);

		log_info("an answer of %zu bytes is not taken: its connection is closed",
			other->reply_text_len);
		share_leave(&h->unsent, over);
		conn_doom(other->conn);
	}
}

static void log_answer(const struct request *q, int status)
{
	const char *path = q->route ? q->route->path : "(no such path)";

	if (status >= 500)
		log_warn("%s %s: %d: %s", q->method_text, path, status, q->problem.detail);
	else
		log_debug("%s %s: %d", q->method_text, path, status);
}

/* Some keys share a place. */
static uint64_t *turn_work_of(struct httpd *h, const struct request *q)
{
	char start[4] = {q->key_hash[0], q->key_hash[1], q->key_hash[2]};

	return &h->turn_work_ns[strtoul(start, NULL, 16) % TURN_PLACES];
}

static int put_off(struct httpd *h, struct request *q)
{
	bool was_waiting = q->was_waiting;

	q->deadline_ns = clock_boottime_ns();
	waiters_suspend(&h->waiters, q);
	q->was_waiting = was_waiting; /* its handler has not been called */
	return HANDLER_WAIT;
}

/* Handles it, at the expense of its key: requests are not alike. */
static int work(struct httpd *h, struct request *q)
{
	uint64_t before_ns = clock_thread_cpu_ns(), began_ns = clock_boottime_ns();
	int rc = handle(h, q);

	*turn_work_of(h, q) += clock_boottime_ns() - began_ns;

	if (q->key_hash[0])
		auth_charge(h->console->auth, q->key_hash, clock_thread_cpu_ns() - before_ns,
			clock_boottime_ns());
	return rc;
}

static enum MHD_Result finish(struct httpd *h, struct request *q)
{
	int rc = -VAN_E_INVALID;

	if (q->conn)
		conn_enter(&h->conns, q->conn, CONN_ANSWER, q->started_ns);
	if (!q->problem.status) {
		registry_lock(h->console->registry);
		rc = q->key_hash[0] && *turn_work_of(h, q) >= TURN_WORK_NS && !h->stopping
			     ? put_off(h, q)
			     : work(h, q);
		registry_unlock(h->console->registry);
	}
	if (rc == HANDLER_WAIT) {
		if (q->was_waiting)
			log_debug("%s %s: %s waits", q->method_text, q->route->path, q->node.id);
		return MHD_YES;
	}
	if (rc < 0 && !q->problem.status) {
		log_error("%s %s failed without a reason", q->method_text, q->route->path);
		problem_set(&q->problem, 500, "internal", "the console failed: its log says more");
	}
	log_answer(q, rc < 0 ? q->problem.status : q->status);
	metrics_request(h->console->metrics, q, rc < 0 ? q->problem.status : q->status,
		clock_boottime_ns());
	q->sending = rc < 0 || !q->stream;
	h->sending += q->sending;
	if (rc >= 0 && q->reply)
		request_render(q);
	if (q->sending)
		count_answer(h, q);
	return rc < 0 ? reply_problem(q) : reply_send(q, on_stream_read);
}

static void end_request(struct httpd *h, struct request *q)
{
	h->moved = true;
	if (q->begun)
		h->busy--;
	if (q->sending)
		h->sending--;
	share_leave(&h->unsent, &q->unsent);
	if (q->conn) {
		q->conn->request = NULL;
		conn_enter(&h->conns, q->conn, CONN_NEXT_HEAD, clock_boottime_ns());
	}
	drop_body(h, q);
	registry_lock(h->console->registry);
	request_free(q);
	registry_unlock(h->console->registry);
}

/* -- libmicrohttpd's callbacks -- */

static struct conn *conn_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
	enum MHD_ConnectionNotificationCode code)
{
	struct httpd *h = cls;
	const union MHD_ConnectionInfo *info;

	h->moved = true;
	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		struct conn *conn = *socket_context;

		/* The library does not complete what it gave up over its headers. */
		if (conn->request)
			end_request(h, conn->request);
		conn_close(conn);
		*socket_context = NULL;
		atomic_store(&h->connections, h->conns.count);
		return;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	*socket_context =
		conn_open(&h->conns, connection, info ? info->connect_fd : -1, clock_boottime_ns());
	atomic_store(&h->connections, h->conns.count);
}

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
	struct httpd *h = cls;
	struct request *q = request_new(h->console, connection, uri);

	q->conn = conn_of(connection);
	if (q->conn)
		q->conn->request = q;
	return q;
}

/* Each handshake asks for the certificate, so that the key can be changed while we run. The
 * library's connection is the session's pointer, and it was told to on_connection() before. */
static int on_certificate(gnutls_session_t session, const gnutls_datum_t *authorities,
	int authority_count, const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
	gnutls_pcert_st **ret_cert, unsigned int *ret_count, gnutls_privkey_t *ret_key)
{
	struct MHD_Connection *connection = gnutls_session_get_ptr(session);
	const struct conn *conn = connection ? conn_of(connection) : NULL;

	(void)authorities;
	(void)authority_count;
	(void)algorithms;
	(void)algorithm_count;
	if (!conn)
		return -1;
	tls_give(container_of(conn->conns, struct httpd, conns)->console->tls, ret_cert, ret_count,
		ret_key);
	return 0;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload_data, size_t *upload_data_size,
	void **con_cls)
{
	struct httpd *h = cls;
	struct request *q = *con_cls;
	enum MHD_Result result;

	(void)connection;
	(void)url;
	(void)version;
	h->moved = true;
	log_set_request(q->id); /* begin() gives it one */
	if (!q->begun)
		result = begin(h, q, method);
	else if (*upload_data_size)
		result = take_body(h, q, upload_data, upload_data_size);
	else
		result = finish(h, q);
	log_set_request(NULL);
	return result;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
	enum MHD_RequestTerminationCode code)
{
	struct request *q = *con_cls;

	(void)connection;
	(void)code;
	if (q)
		end_request(cls, q);
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

/* -- the thread -- */

/*
 * The library asks to be run again at once for as long as a TLS handshake waits for its client's
 * next bytes: anybody could keep a processor busy with a few of them. So when turns have come to
 * nothing again and again, and no answer is being sent (which is done in such turns), only what the
 * kernel tells of is done at once.
 */
static int wait_ms(struct httpd *h, uint64_t due_ns, uint64_t now_ns)
{
	MHD_UNSIGNED_LONG_LONG library_ms;
	uint64_t ms = WAIT_MAX_MS;

	if (MHD_get_timeout(h->daemon, &library_ms) == MHD_YES && library_ms < ms)
		ms = library_ms;
	if (!ms && h->idle_turns >= IDLE_TURNS && !h->sending)
		ms = IDLE_TURN_MS;
	if (due_ns && due_ns <= now_ns)
		ms = 0;
	else if (due_ns && (due_ns - now_ns) / NS_PER_MS < ms)
		ms = (due_ns - now_ns) / NS_PER_MS + 1;
	return (int)ms;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* What is due. The turn began at began_ns, of which it waited wait_ns at most. */
static void look_at_clock(struct httpd *h, uint64_t began_ns, uint64_t woke_ns, uint64_t wait_ns)
{
	uint64_t now_ns = clock_boottime_ns(), slept_ns = woke_ns - began_ns;
	uint64_t took_ns = now_ns - began_ns - (slept_ns < wait_ns ? slept_ns : wait_ns);

	/* A disk, another thread's work, a stopped process: what came meanwhile waits to be read. */
	if (took_ns >= STALL_NS)
		conns_stalled(&h->conns, took_ns);
	h->due_ns = conns_sweep(&h->conns, now_ns);
	h->due_ns = sooner(resume_due(h, now_ns), h->due_ns);
}

/* One round: what has come, and after that what is due, so that nobody is late whose bytes are here. */
static void turn(struct httpd *h, int epoll_fd)
{
	struct pollfd fds[] = {
		{.fd = epoll_fd, .events = POLLIN}, {.fd = h->wake_fd, .events = POLLIN}};
	uint64_t began_ns = clock_boottime_ns(), woke_ns, n;
	int ms = wait_ms(h, h->due_ns, began_ns);
	int came = poll(fds, atomic_load(&h->ending) ? 1 : 2, ms);

	woke_ns = clock_boottime_ns();
	h->idle_turns = came > 0 || h->moved ? 0 : h->idle_turns + 1;
	h->moved = false;
	if (fds[1].revents & POLLIN && read(h->wake_fd, &n, sizeof(n)) < 0)
		log_warn("eventfd: %s", strerror(errno));
	memset(h->turn_work_ns, 0, sizeof(h->turn_work_ns));
	MHD_run(h->daemon);
	look_at_clock(h, began_ns, woke_ns, (uint64_t)ms * NS_PER_MS);
}

static void *serve(void *arg)
{
	struct httpd *h = arg;
	int epoll_fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	uint64_t end_ns;

	while (!atomic_load(&h->ending))
		turn(h, epoll_fd);
	end_ns = clock_boottime_ns() + STOP_GRACE_NS;
	while (h->busy && clock_boottime_ns() < end_ns) {
		MHD_run(h->daemon);
		poll(&(struct pollfd){.fd = epoll_fd, .events = POLLIN}, 1, 10);
	}
	return NULL;
}

/* -- start and stop -- */

int httpd_new(struct console *c, struct httpd **ret_httpd, struct err *e)
{
	struct httpd *h = xcalloc(1, sizeof(*h));
	int rc;

	h->console = c;
	h->listen_fd = -1;
	waiters_init(&h->waiters);
	share_init(&h->held, UNPROVEN_MAX);
	share_init(&h->unsent, UNSENT_MAX);
	conns_init(&h->conns, (size_t)c->config.max_connections, reply_timeout);
	listener_raise_limit(&c->config);
	h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = h->wake_fd < 0 ? err_set(e, -errno, "cannot make an eventfd: %s", strerror(errno))
			    : listener_open(&c->config, &h->listen_fd, e);
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
	int rc;

	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_TLS | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
		NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, h,
		MHD_OPTION_LISTEN_SOCKET, h->listen_fd, MHD_OPTION_HTTPS_CERT_CALLBACK,
		on_certificate, MHD_OPTION_HTTPS_PRIORITIES, TLS_PRIORITIES,
		MHD_OPTION_CONNECTION_LIMIT, listener_connections(&c->config),
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_MEMORY,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_TIMEOUT_S,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, on_uri, h,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, h, MHD_OPTION_END);
	if (!h->daemon)
		return err_set(
			e, -EIO, "cannot start the HTTPS server: log_level \"debug\" says more");
	h->listen_fd = -1; /* the library's from here */
	rc = -pthread_create(&h->thread, NULL, serve, h);
	if (rc)
		return err_set(e, rc, "cannot start a thread: %s", err_name(rc));
	h->running = true;
	return 0;
}

static void stop(struct httpd *h)
{
	registry_lock(h->console->registry);
	h->stopping = true;
	waiters_resume_all(&h->waiters);
	registry_unlock(h->console->registry);
	atomic_store(&h->ending, true);
	if (h->running) {
		wake(h);
		pthread_join(h->thread, NULL);
	}
	MHD_stop_daemon(h->daemon);
}

void httpd_free(struct httpd *h)
{
	if (!h)
		return;
	if (h->daemon)
		stop(h);
	if (h->listen_fd >= 0)
		close(h->listen_fd);
	if (h->wake_fd >= 0)
		close(h->wake_fd);
	free(h);
}
