/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of the HTTPS server, and how long each may take: libmicrohttpd knows inactivity
 * only, so a client that sends a byte now and then would keep its place for ever. And when there
 * are too many, the oldest one that has shown no valid credentials gives way: whoever opens many
 * and sends nothing shuts nobody out. Of those that have, no more than CONN_PROVEN_PART of all places
 * are kept: beyond it the oldest one of whoever has the most gives way, unless that is no more than a
 * few (CONN_FEW). Used by the server's thread alone. Time is an argument.
 */
#ifndef CONSOLE_API_CONN_H
#define CONSOLE_API_CONN_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "console-api/share.h"
#include "lib/list.h"

struct request;

/* What a connection is doing, and how long it may. */
enum conn_phase {
	CONN_FIRST_HEAD, /* TCP is up; TLS and the first request's head: CONN_FIRST_HEAD_S in all */
	CONN_NEXT_HEAD,  /* after an answer: CONN_NEXT_HEAD_S until there is another whole head */
	CONN_BODY,       /* the body: CONN_BODY_S */
	CONN_SEND,       /* takes its answer, CONN_SEND_LEAST bytes at least in each CONN_SEND_S */
	CONN_ANSWER,     /* waits, or has an answer that goes on: for as long as it takes */
};
#define CONN_FIRST_HEAD_S 10
#define CONN_NEXT_HEAD_S  30
#define CONN_BODY_S       60
#define CONN_SEND_S       30
#define CONN_SEND_LEAST   65536
#define CONN_PROVEN_PART  3 / 4 /* of conns.max */
#define CONN_FEW          8     /* and 1/64 of conns.max */

struct conn {
	struct conns *conns; /* that it is one of */
	struct MHD_Connection *connection;
	int fd;
	struct list timed;          /* in the list of its phase, ascending by due_ns */
	struct list unproven;       /* linked until it has shown credentials, oldest first */
	struct share_holder proven; /* from then on */
	uint64_t due_ns;            /* of a clock that stood still while the server did */
	uint64_t
		acked; /* bytes that the other side had when the phase began, or when it was looked */
	enum conn_phase phase;
	bool doomed;             /* was shut down here; the library takes notice soon */
	struct request *request; /* that the server has on it, or NULL; the server's */
};

struct conns {
	size_t max, count; /* that are not doomed */
	struct list timed[CONN_ANSWER];
	struct list unproven;
	struct share proven;
	bool any_doomed;     /* since the user of this set it to false */
	uint64_t stalled_ns; /* that this server took for itself, in all */
	/* Says 408 where that is possible; may be NULL. */
	void (*say_timeout)(struct conn *conn);
};

void conns_init(struct conns *conns, size_t max, void (*say_timeout)(struct conn *conn));

/* A new connection; heap, freed by conn_close(). May make another one give way. */
struct conn *conn_open(
	struct conns *conns, struct MHD_Connection *connection, int fd, uint64_t now_ns);
void conn_close(struct conn *conn);
void conn_enter(struct conns *conns, struct conn *conn, enum conn_phase phase, uint64_t now_ns);
/* It has shown valid credentials, of this name (any bytes). May make another one give way. */
void conn_prove(struct conn *conn, const void *name, size_t len);
/* Shuts it down; the library finds it closed and lets it go. One that is suspended has to be resumed
 * for that: then any_doomed is set. */
void conn_doom(struct conn *conn);

/* The server did something else for this long, and had no eyes for what came: nobody is late by it. */
void conns_stalled(struct conns *conns, uint64_t by_ns);
/* Shuts down what is overdue. The time of the next one, 0: none. */
uint64_t conns_sweep(struct conns *conns, uint64_t now_ns);

#endif
