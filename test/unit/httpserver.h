/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 server on loopback for tests of clients: a thread for each connection, and the
 * path says how it answers:
 *
 *   /ok        200, JSON {"path":…}, with an ETag           /echo   200, the request as it came
 *   /status/N  status N with a problem document             /redirect  302 to /ok
 *   /retry     503 with Retry-After: 7                      /empty  204
 *   /hang      nothing, until the client goes away          /short  less body than announced
 *   /close     closes without an answer                     /garbage  no HTTP
 *   /big       more body than HTTPC_MAX_BODY                /headers  headers without end
 */
#ifndef TEST_UNIT_HTTPSERVER_H
#define TEST_UNIT_HTTPSERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/httpc.h"

#define HTTPSERVER_CONNECTIONS_MAX 64
#define HTTPSERVER_REQUEST_MAX     65536

struct httpserver_connection {
	pthread_t thread;
	int fd;
	atomic_int *hanging;
};

struct httpserver {
	int listen_fd;
	char url[64];
	pthread_t thread;
	atomic_int hanging; /* requests for /hang that have come in */
	atomic_int count;   /* of connections so far */
	struct httpserver_connection connections[HTTPSERVER_CONNECTIONS_MAX];
};

static bool httpserver_send(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool httpserver_answer(
	int fd, const char *status, const char *headers, const char *body, size_t body_len)
{
	char head[1024];
	int len = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n",
		status, headers, body_len);

	return httpserver_send(fd, head, (size_t)len) && httpserver_send(fd, body, body_len);
}

/* Reads one request with its body; false at the end of the connection. */
static bool httpserver_read(int fd, char *request, size_t *ret_len)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = recv(fd, request + len, HTTPSERVER_REQUEST_MAX - 1 - len, 0);
		const char *end, *field;

		if (n <= 0)
			return false;
		len += (size_t)n;
		request[len] = '\0';
		if (request[0] == 0x16) { /* a TLS ClientHello */
			httpserver_send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
			return false;
		}
		end = strstr(request, "\r\n\r\n");
		if (!end)
			continue;
		field = strcasestr(request, "\r\ncontent-length:");
		if (len >= (size_t)(end + 4 - request) +
				   (field && field < end ? strtoul(field + 17, NULL, 10) : 0)) {
			*ret_len = len;
			return true;
		}
	}
}

static void httpserver_flood(int fd, const char *piece, size_t total)
{
	size_t len = strlen(piece);

	for (size_t sent = 0; sent < total && httpserver_send(fd, piece, len); sent += len) {
	}
}

static bool httpserver_reply_status(int fd, const char *number)
{
	char status[64], body[256];
	int len = snprintf(body, sizeof(body),
		"{\"type\":\"about:blank\",\"title\":\"Title\",\"status\":%.3s,\"detail\":\"Detail\"}",
		number);

	snprintf(status, sizeof(status), "%.3s Reason", number);
	return httpserver_answer(
		fd, status, "Content-Type: application/problem+json\r\n", body, (size_t)len);
}

/* False when the connection is to end. */
static bool httpserver_reply(
	struct httpserver_connection *c, const char *path, const char *request, size_t len)
{
	static const char short_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc";
	char body[512];
	char byte;

	if (strncmp(path, "/status/", 8) == 0)
		return httpserver_reply_status(c->fd, path + 8);
	if (strcmp(path, "/echo") == 0)
		return httpserver_answer(c->fd, "200 OK", "", request, len);
	if (strcmp(path, "/redirect") == 0)
		return httpserver_answer(c->fd, "302 Found", "Location: /ok\r\n", "", 0);
	if (strcmp(path, "/retry") == 0)
		return httpserver_answer(c->fd, "503 Wait", "Retry-After: 7\r\n", "", 0);
	if (strcmp(path, "/empty") == 0)
		return httpserver_send(c->fd, "HTTP/1.1 204 No Content\r\n\r\n", 27);
	if (strcmp(path, "/hang") == 0) {
		atomic_fetch_add(c->hanging, 1);
		while (recv(c->fd, &byte, 1, 0) > 0) {
		}
	} else if (strcmp(path, "/short") == 0) {
		httpserver_send(c->fd, short_answer, strlen(short_answer));
	} else if (strcmp(path, "/garbage") == 0) {
		httpserver_send(c->fd, "SSH-2.0-OpenSSH_9.2\r\n", 21);
	} else if (strcmp(path, "/big") == 0) {
		httpserver_send(c->fd, "HTTP/1.1 200 OK\r\n\r\n", 19);
		memset(body, 'b', sizeof(body) - 1);
		body[sizeof(body) - 1] = '\0';
		httpserver_flood(c->fd, body, (size_t)HTTPC_MAX_BODY + 4096);
	} else if (strcmp(path, "/headers") == 0) {
		httpserver_send(c->fd, "HTTP/1.1 200 OK\r\n", 17);
		httpserver_flood(c->fd, "X-More: and more and more and more\r\n", 64u << 20);
	} else if (strncmp(path, "/ok", 3) == 0) {
		int n = snprintf(body, sizeof(body), "{\"path\":\"%.400s\"}", path);

		return httpserver_answer(c->fd, "200 OK",
			"Content-Type: application/json\r\nETag: \"17\"\r\n", body, (size_t)n);
	}
	return false;
}

static void *httpserver_serve(void *ctx)
{
	struct httpserver_connection *c = ctx;
	char *request = malloc(HTTPSERVER_REQUEST_MAX);
	size_t len;

	while (request && httpserver_read(c->fd, request, &len)) {
		char path[512] = "";

		sscanf(request, "%*s %511s", path);
		if (!httpserver_reply(c, path, request, len))
			break;
	}
	shutdown(c->fd, SHUT_RDWR); /* closed by httpserver_stop(), after it joined this thread */
	free(request);
	return NULL;
}

static void *httpserver_accept(void *ctx)
{
	struct httpserver *s = ctx;

	for (int i = 0; i < HTTPSERVER_CONNECTIONS_MAX; i++) {
		struct httpserver_connection *c = &s->connections[i];

		c->fd = accept(s->listen_fd, NULL, NULL);
		if (c->fd < 0)
			break;
		c->hanging = &s->hanging;
		if (pthread_create(&c->thread, NULL, httpserver_serve, c) != 0)
			abort();
		atomic_fetch_add(&s->count, 1);
	}
	return NULL;
}

/* A socket that listens on a loopback port of the kernel's choice. */
static int httpserver_listen(int backlog, unsigned int *ret_port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, backlog) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		abort();
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void httpserver_start(struct httpserver *s)
{
	unsigned int port;

	memset(s, 0, sizeof(*s));
	s->listen_fd = httpserver_listen(32, &port);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u", port);
	if (pthread_create(&s->thread, NULL, httpserver_accept, s) != 0)
		abort();
}

static void httpserver_stop(struct httpserver *s)
{
	shutdown(s->listen_fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listen_fd);
	for (int i = 0; i < atomic_load(&s->count); i++) {
		shutdown(s->connections[i].fd, SHUT_RDWR);
		pthread_join(s->connections[i].thread, NULL);
		close(s->connections[i].fd);
	}
}

#endif
