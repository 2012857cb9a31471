/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/load/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/key.h"

#define EVENTS_MAX 256

static void fail(struct conn *c);

/* -- the target -- */

static int resolve(struct conn_target *t, const char *url)
{
	const char *rest = strncmp(url, "https://", 8) ? NULL : url + 8;
	char host[256], port[8] = "443";
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	const char *colon;

	if (!rest || !*rest || strlen(rest) >= sizeof(host)) {
		fprintf(stderr, "agentload: %s is not https://HOST:PORT\n", url);
		return -EINVAL;
	}
	snprintf(t->host, sizeof(t->host), "%s", rest);
	colon = strrchr(rest, ':');
	if (colon && !strchr(colon, ']')) {
		snprintf(port, sizeof(port), "%.7s", colon + 1);
		snprintf(host, sizeof(host), "%.*s", (int)(colon - rest), rest);
	} else {
		snprintf(host, sizeof(host), "%s", rest);
	}
	if (host[0] == '[') {
		memmove(host, host + 1, strlen(host));
		host[strcspn(host, "]")] = '\0';
	}
	if (getaddrinfo(host, port, &hints, &list) || !list) {
		fprintf(stderr, "agentload: %s has no address\n", host);
		return -EINVAL;
	}
	memcpy(&t->address, list->ai_addr, list->ai_addrlen);
	t->address_len = list->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

/* One session is kept for each connection. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct conn *c = SSL_get_app_data(ssl);

	SSL_SESSION_free(c->session);
	c->session = session;
	return 1;
}

int conn_target_init(struct conn_target *t, const char *url, const char *pin)
{
	static const char prefix[] = "sha256//";
	size_t len = 0;
	int rc;

	memset(t, 0, sizeof(*t));
	rc = resolve(t, url);
	if (rc)
		return rc;
	if (strncmp(pin, prefix, strlen(prefix)) != 0 ||
		key_unbase64(pin + strlen(prefix), false, t->pin, sizeof(t->pin), &len) ||
		len != sizeof(t->pin)) {
		fprintf(stderr, "agentload: %s is no pin\n", pin);
		return -EINVAL;
	}
	t->tls = SSL_CTX_new(TLS_client_method());
	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!t->tls || t->epoll_fd < 0)
		return -ENOMEM;
	SSL_CTX_set_min_proto_version(t->tls, TLS1_2_VERSION);
	SSL_CTX_set_verify(t->tls, SSL_VERIFY_NONE, NULL); /* the pin is what is checked */
	SSL_CTX_set_mode(t->tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(t->tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(t->tls, on_session);
	return 0;
}

void conn_target_done(struct conn_target *t)
{
	SSL_CTX_free(t->tls);
	if (t->epoll_fd >= 0)
		close(t->epoll_fd);
}

/* -- a connection -- */

void conn_init(struct conn *c, struct conn_target *t, unsigned int source, void *ctx)
{
	memset(c, 0, sizeof(*c));
	c->target = t;
	c->source = source;
	c->fd = -1;
	c->ctx = ctx;
}

static void close_socket(struct conn *c)
{
	if (c->ssl && c->state >= CONN_IDLE)
		SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	c->ssl = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->events = 0;
	c->state = CONN_CLOSED;
}

void conn_done_with(struct conn *c)
{
	close_socket(c);
	SSL_SESSION_free(c->session);
	c->session = NULL;
	free(c->out);
	free(c->in);
	c->out = c->in = NULL;
}

static void watch(struct conn *c, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};

	if (events == c->events)
		return;
	if (epoll_ctl(c->target->epoll_fd, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev))
		abort();
	c->events = events;
}

static void bind_source(struct conn *c)
{
	const struct sockaddr_in *to = (const struct sockaddr_in *)&c->target->address;
	struct sockaddr_in from = {.sin_family = AF_INET};
	int on = 1;

	if (!c->target->spread || to->sin_family != AF_INET)
		return;
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + c->source % c->target->spread);
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)))
		perror("agentload: bind");
}

static void open_socket(struct conn *c)
{
	struct conn_target *t = c->target;
	int on = 1;

	c->fd = socket(t->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		fail(c);
		return;
	}
	t->connects++;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	bind_source(c);
	c->state = CONN_CONNECTING;
	if (connect(c->fd, (struct sockaddr *)&t->address, t->address_len) &&
		errno != EINPROGRESS) {
		fail(c);
		return;
	}
	watch(c, EPOLLOUT);
}

/* The callback with no answer; the request is over. */
static void fail(struct conn *c)
{
	static const char *const states[] = {[CONN_CLOSED] = "closed",
		[CONN_IDLE] = "idle",
		[CONN_CONNECTING] = "connecting",
		[CONN_SHAKING] = "shaking hands",
		[CONN_SENDING] = "sending",
		[CONN_RECEIVING] = "waiting for the answer"};
	const struct conn_answer none = {.failed_in = states[c->state],
		.failed_after_ns = clock_boottime_ns() - c->begun_ns};
	conn_done *done = c->done;

	close_socket(c);
	c->done = NULL;
	c->in_len = 0;
	if (done)
		done(c, &none);
}

static bool pin_matches(struct conn *c)
{
	X509 *cert = SSL_get1_peer_certificate(c->ssl);
	unsigned char *der = NULL;
	uint8_t hash[HASH_LEN];
	int len = cert ? i2d_PUBKEY(X509_get0_pubkey(cert), &der) : -1;
	bool same = false;

	if (len > 0) {
		hash_sha256(HASH_PIECES({der, (size_t)len}), hash);
		same = !memcmp(hash, c->target->pin, sizeof(hash));
	}
	OPENSSL_free(der);
	X509_free(cert);
	return same;
}

/* True when the TLS operation only waits for the socket. */
static bool waits(struct conn *c, int rc)
{
	int why = SSL_get_error(c->ssl, rc);

	if (why == SSL_ERROR_WANT_READ)
		watch(c, EPOLLIN);
	else if (why == SSL_ERROR_WANT_WRITE)
		watch(c, EPOLLOUT);
	else
		return false;
	return true;
}

static void shake(struct conn *c)
{
	int rc;

	if (!c->ssl) {
		c->ssl = SSL_new(c->target->tls);
		if (!c->ssl || !SSL_set_fd(c->ssl, c->fd))
			abort();
		SSL_set_app_data(c->ssl, c);
		SSL_set_connect_state(c->ssl);
		if (c->target->resume && c->session)
			SSL_set_session(c->ssl, c->session);
		c->state = CONN_SHAKING;
	}
	rc = SSL_do_handshake(c->ssl);
	if (rc != 1) {
		if (!waits(c, rc))
			fail(c);
		return;
	}
	c->target->handshakes++;
	c->target->resumed += SSL_session_reused(c->ssl) ? 1 : 0;
	if (!SSL_session_reused(c->ssl) && !pin_matches(c)) {
		fprintf(stderr, "agentload: the console has another key than the pin says\n");
		exit(1);
	}
	c->state = CONN_SENDING;
}

static void send_some(struct conn *c)
{
	while (c->out_sent < c->out_len) {
		int rc = SSL_write(c->ssl, c->out + c->out_sent, (int)(c->out_len - c->out_sent));

		if (rc <= 0) {
			if (!waits(c, rc))
				fail(c);
			return;
		}
		c->out_sent += (size_t)rc;
	}
	c->state = CONN_RECEIVING;
	watch(c, EPOLLIN);
}

/* The value of a header within the first head_len bytes, or NULL. */
static const char *header(const struct conn *c, size_t head_len, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = c->in; line < c->in + head_len;) {
		const char *end = memchr(line, '\n', (size_t)(c->in + head_len - line));

		if (!strncasecmp(line, name, len) && line[len] == ':')
			return line + len + 1 + strspn(line + len + 1, " ");
		if (!end)
			break;
		line = end + 1;
	}
	return NULL;
}

/* 1 when the answer is complete, 0 when not yet, -1 when it is none. */
static int parse(struct conn *c, struct conn_answer *a, bool *ret_close)
{
	const char *end, *text;
	size_t head_len, body_len = 0;

	end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
	if (!end)
		return c->in_len > 65536 ? -1 : 0;
	head_len = (size_t)(end - c->in) + 4;
	if (sscanf(c->in, "HTTP/1.1 %d", &a->status) != 1 ||
		header(c, head_len, "Transfer-Encoding"))
		return -1;
	text = header(c, head_len, "Content-Length");
	if (text)
		body_len = strtoul(text, NULL, 10);
	if (body_len > CONN_ANSWER_MAX)
		return -1;
	if (c->in_len < head_len + body_len)
		return 0;
	text = header(c, head_len, "Content-Type");
	a->patch = text && !strncmp(text, "application/merge-patch+json", 28);
	text = header(c, head_len, "Retry-After");
	a->retry_after_s = text ? (unsigned int)strtoul(text, NULL, 10) : 0;
	text = header(c, head_len, "Connection");
	*ret_close = text && !strncasecmp(text, "close", 5);
	a->body = c->in + head_len;
	a->body_len = body_len;
	return 1;
}

static void answered(struct conn *c, const struct conn_answer *a, bool close_it)
{
	conn_done *done = c->done;
	char *in = c->in;

	/* The callback may send the next request, so the buffer is not the connection's any more.
	 */
	c->in = NULL;
	c->in_len = c->in_room = 0;
	c->done = NULL;
	c->state = CONN_IDLE;
	if (close_it || c->fresh)
		close_socket(c);
	if (done)
		done(c, a);
	free(in);
}

static void receive_some(struct conn *c)
{
	for (;;) {
		struct conn_answer a = {0};
		bool close_it = false;
		int rc;

		if (c->in_room - c->in_len < 16385) {
			c->in_room = c->in_room ? 2 * c->in_room : 32768;
			c->in = realloc(c->in, c->in_room);
			if (!c->in)
				abort();
		}
		rc = SSL_read(c->ssl, c->in + c->in_len, (int)(c->in_room - c->in_len - 1));
		if (rc <= 0) {
			if (!waits(c, rc))
				fail(c);
			return;
		}
		c->target->bytes_in += (uint64_t)rc;
		c->in_len += (size_t)rc;
		c->in[c->in_len] = '\0';
		rc = parse(c, &a, &close_it);
		if (rc < 0) {
			fail(c);
			return;
		}
		if (rc > 0) {
			answered(c, &a, close_it);
			return;
		}
	}
}

/* Something came, or an end, while nothing was asked for: session tickets, mostly. */
static void read_idle(struct conn *c)
{
	char byte;
	int rc = SSL_read(c->ssl, &byte, 1);

	if (rc > 0 || !waits(c, rc))
		close_socket(c);
}

static void serve(struct conn *c)
{
	if (c->state == CONN_CONNECTING || c->state == CONN_SHAKING)
		shake(c);
	if (c->state == CONN_SENDING)
		send_some(c);
	else if (c->state == CONN_RECEIVING)
		receive_some(c);
	else if (c->state == CONN_IDLE)
		read_idle(c);
}

void conn_serve(struct conn_target *t, int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(t->epoll_fd, events, EVENTS_MAX, timeout_ms);

	for (int i = 0; i < n; i++)
		serve(events[i].data.ptr);
}

void conn_send(struct conn *c, const char *method, const char *path, const char *extra,
	const char *body, conn_done *done)
{
	int n;

	free(c->out);
	n = asprintf(&c->out,
		"%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: agentload\r\n%s%s"
		"Content-Length: %zu\r\n\r\n%s",
		method, path, c->target->host, extra,
		body ? "Content-Type: application/json\r\n" : "", body ? strlen(body) : 0,
		body ? body : "");
	if (n < 0)
		abort();
	c->out_len = (size_t)n;
	c->out_sent = 0;
	c->in_len = 0;
	c->done = done;
	c->begun_ns = clock_boottime_ns();
	if (c->state == CONN_IDLE) {
		c->state = CONN_SENDING;
		send_some(c);
	} else {
		open_socket(c);
	}
}
