/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTPS/1.1 client connection without blocking, on epoll: one request at a time, kept alive
 * between requests. OpenSSL directly, for a load generator must cost less than what it loads.
 */
#ifndef TEST_LOAD_CONN_H
#define TEST_LOAD_CONN_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define CONN_ANSWER_MAX (64u << 20)

/* What all connections share. */
struct conn_target {
	struct sockaddr_storage address;
	socklen_t address_len;
	char host[300];      /* of the Host header */
	uint8_t pin[32];     /* SHA-256 of the server's SubjectPublicKeyInfo */
	unsigned int spread; /* loopback source addresses to use; 0: leave it to the kernel */
	bool resume;         /* TLS sessions are taken up again by new connections */
	SSL_CTX *tls;
	int epoll_fd;
	uint64_t connects, handshakes, resumed, bytes_in;
};

struct conn_answer {
	int status; /* of HTTP; 0: there was none, the connection failed */
	const char *body;
	size_t body_len;
	bool patch; /* its type is application/merge-patch+json */
	unsigned int retry_after_s;
	const char *failed_in;    /* of one with status 0: what it was at … */
	uint64_t failed_after_ns; /* … and for how long since conn_send() */
};

struct conn;
/* The answer is valid during the call, which may send the next request. */
typedef void conn_done(struct conn *c, const struct conn_answer *answer);

enum conn_state {
	CONN_CLOSED,
	CONN_CONNECTING,
	CONN_SHAKING, /* TLS handshake */
	CONN_IDLE,
	CONN_SENDING,
	CONN_RECEIVING
};

struct conn {
	struct conn_target *target;
	enum conn_state state;
	bool fresh; /* close after each answer */
	int fd;
	unsigned int source; /* number of its source address */
	SSL *ssl;
	SSL_SESSION *session;
	char *out; /* heap */
	size_t out_len, out_sent;
	char *in; /* heap, NUL-terminated */
	size_t in_len, in_room;
	uint32_t events; /* that epoll waits for */
	conn_done *done;
	uint64_t begun_ns; /* the request */
	void *ctx;
};

/* "https://HOST:PORT" and "sha256//BASE64". 0 or -errno with a message on stderr. */
int conn_target_init(struct conn_target *t, const char *url, const char *pin);
void conn_target_done(struct conn_target *t);

void conn_init(struct conn *c, struct conn_target *t, unsigned int source, void *ctx);
void conn_done_with(struct conn *c); /* closes and frees, without a callback */
/* extra: further header lines, each with its CRLF. One request at a time. */
void conn_send(struct conn *c, const char *method, const char *path, const char *extra,
	const char *body, conn_done *done);
/* Waits for up to timeout_ms and serves what is ready. */
void conn_serve(struct conn_target *t, int timeout_ms);

#endif
