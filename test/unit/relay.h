/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP relay in a thread, between a client and a server on 127.0.0.1, that can lose what passes:
 *
 *   RELAY_PASS          as if it were not there
 *   RELAY_HOLD          what clients send is kept back; it goes on when the mode is RELAY_PASS again,
 *                       also when its client has given up meanwhile
 *   RELAY_LOSE_ANSWERS  what clients send goes on, what the server answers is thrown away
 *   RELAY_SLOW          as RELAY_PASS, but answers come RELAY_SLOW_MS later
 *   RELAY_NO_WATCH      as RELAY_PASS, but what the server answers to a watch is thrown away
 *   RELAY_REFUSE        connections are closed at once, those that are open too
 */
#ifndef TEST_UNIT_RELAY_H
#define TEST_UNIT_RELAY_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include "test/unit/etcd_server.h"

enum relay_mode {
	RELAY_PASS,
	RELAY_HOLD,
	RELAY_LOSE_ANSWERS,
	RELAY_SLOW,
	RELAY_NO_WATCH,
	RELAY_REFUSE,
};

#define RELAY_PAIRS   64
#define RELAY_SLOW_MS 100

struct relay_pair {
	int client, server; /* -1: closed */
	bool watch;         /* asked for one */
	char *held;
	size_t held_len;
};

struct relay {
	unsigned int port;
	unsigned int to_port;
	int listen_fd;
	pthread_t thread;
	atomic_int mode;
	atomic_bool stopping;
	atomic_size_t held; /* bytes kept back now */
	atomic_size_t lost; /* bytes of answers thrown away */
	struct relay_pair pairs[RELAY_PAIRS];
};

static inline void relay_close(struct relay_pair *p)
{
	if (p->client >= 0)
		close(p->client);
	if (p->server >= 0)
		close(p->server);
	free(p->held);
	*p = (struct relay_pair){.client = -1, .server = -1};
}

static inline void relay_send(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static inline void relay_from_client(struct relay *r, struct relay_pair *p)
{
	char data[65536];
	ssize_t n = recv(p->client, data, sizeof(data), 0);

	if (n <= 0) {
		close(p->client);
		p->client = -1;
		if (!p->held_len)
			relay_close(p);
		return;
	}
	if (memmem(data, (size_t)n, "/v3/watch", 9))
		p->watch = true;
	if (r->mode != RELAY_HOLD) {
		relay_send(p->server, data, (size_t)n);
		return;
	}
	p->held = realloc(p->held, p->held_len + (size_t)n);
	if (!p->held)
		abort();
	memcpy(p->held + p->held_len, data, (size_t)n);
	p->held_len += (size_t)n;
	atomic_fetch_add(&r->held, (size_t)n);
}

static inline void relay_from_server(struct relay *r, struct relay_pair *p)
{
	char data[65536];
	ssize_t n = recv(p->server, data, sizeof(data), 0);

	if (r->mode == RELAY_SLOW)
		poll(NULL, 0, RELAY_SLOW_MS);
	if (n <= 0)
		relay_close(p);
	else if (r->mode == RELAY_LOSE_ANSWERS || (r->mode == RELAY_NO_WATCH && p->watch))
		atomic_fetch_add(&r->lost, (size_t)n);
	else if (p->client >= 0)
		relay_send(p->client, data, (size_t)n);
	else
		relay_close(p); /* the answer to what was held for one that is gone */
}

static inline void relay_accept(struct relay *r)
{
	int fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	for (size_t i = 0; fd >= 0 && i < RELAY_PAIRS; i++) {
		struct relay_pair *p = &r->pairs[i];

		if (p->client >= 0 || p->server >= 0)
			continue;
		p->server = etcd_server_connect(r->to_port);
		p->client = fd;
		if (p->server < 0)
			relay_close(p);
		return;
	}
	close(fd);
}

static inline void relay_apply_mode(struct relay *r, struct relay_pair *p)
{
	if (r->mode == RELAY_REFUSE) {
		relay_close(p);
	} else if (r->mode == RELAY_PASS && p->held_len) {
		relay_send(p->server, p->held, p->held_len);
		atomic_fetch_sub(&r->held, p->held_len);
		p->held_len = 0;
	}
}

static inline void *relay_main(void *arg)
{
	struct relay *r = arg;

	while (!r->stopping) {
		struct pollfd fds[1 + 2 * RELAY_PAIRS];

		fds[0] = (struct pollfd){.fd = r->listen_fd, .events = POLLIN};
		for (size_t i = 0; i < RELAY_PAIRS; i++) {
			relay_apply_mode(r, &r->pairs[i]);
			fds[1 + 2 * i] =
				(struct pollfd){.fd = r->pairs[i].client, .events = POLLIN};
			fds[2 + 2 * i] =
				(struct pollfd){.fd = r->pairs[i].server, .events = POLLIN};
		}
		poll(fds, 1 + 2 * RELAY_PAIRS, 5);
		for (size_t i = 0; i < RELAY_PAIRS; i++) {
			struct relay_pair *p = &r->pairs[i];

			if (fds[1 + 2 * i].revents && p->client >= 0)
				relay_from_client(r, p);
			if (fds[2 + 2 * i].revents && p->server >= 0)
				relay_from_server(r, p);
		}
		if (fds[0].revents)
			relay_accept(r);
	}
	return NULL;
}

static inline struct relay *relay_new(unsigned int to_port)
{
	struct relay *r = calloc(1, sizeof(*r));
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);

	if (!r)
		abort();
	r->to_port = to_port;
	for (size_t i = 0; i < RELAY_PAIRS; i++)
		r->pairs[i] = (struct relay_pair){.client = -1, .server = -1};
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	r->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(r->listen_fd, (struct sockaddr *)&in, sizeof(in)) || listen(r->listen_fd, 64) ||
		getsockname(r->listen_fd, (struct sockaddr *)&in, &len) ||
		pthread_create(&r->thread, NULL, relay_main, r))
		etcd_server_die("no relay");
	r->port = ntohs(in.sin_port);
	return r;
}

static inline void relay_free(struct relay *r)
{
	r->stopping = true;
	pthread_join(r->thread, NULL);
	for (size_t i = 0; i < RELAY_PAIRS; i++)
		relay_close(&r->pairs[i]);
	close(r->listen_fd);
	free(r);
}

#endif
