/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request from its first header to its answer. */
#ifndef CONSOLE_API_REQUEST_H
#define CONSOLE_API_REQUEST_H

#include <json-c/json.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "console-api/agent.h"
#include "console-api/auth.h"
#include "console-api/problem.h"
#include "console-api/registry.h"
#include "console-api/share.h"
#include "lib/addr.h"
#include "lib/hash.h"
#include "lib/key.h"
#include "lib/list.h"

#define REQUEST_BODY_MAX     (256u << 10)
#define REQUEST_DISCARD_MAX  (8u << 20) /* read of a body that is too large, to answer 413 */
#define REQUEST_TARGET_MAX   2048
#define REQUEST_SEGMENTS_MAX 8
#define REQUEST_QUERY_MAX    16
#define REQUEST_PARAMS_MAX   3

struct console;
struct conn;
struct route;

enum request_method { METHOD_GET, METHOD_POST, METHOD_PATCH, METHOD_DELETE, METHOD_OTHER };

/* The parts of a request target, percent-decoded; they point into text. */
struct target {
	char text[REQUEST_TARGET_MAX];
	const char *segments[REQUEST_SEGMENTS_MAX];
	size_t segment_count;
	struct {
		const char *name;
		const char *value;
	} query[REQUEST_QUERY_MAX];
	size_t query_count;
};

struct request {
	struct console *console;
	struct MHD_Connection *connection;
	const char *method_text;
	enum request_method method;
	bool begun;       /* its headers were judged */
	bool was_waiting; /* the handler is called again; see httpd.h */
	bool sending;     /* its answer is on its way, and counted */
	char *raw_target; /* heap: what the client sent, for signatures */
	struct target target;
	const struct route *route;
	const char *params[REQUEST_PARAMS_MAX]; /* what stood for {…} in the route's template */

	struct ip client;
	/* Headers, borrowed from the connection; NULL: none. */
	const char *authorization;
	const char *if_match;
	const char *content_type;
	const char *content_length;
	const char *transfer_encoding;
	const char *idempotency_key;
	const char *organization;
	const char *last_event_id;
	const char *wanted_id; /* X-Request-Id */
	bool hang_up;          /* after the answer: who knows where this request ends */

	struct conn *conn;
	char id[REQUEST_ID_MAX + 1]; /* X-Request-Id, the client's or our own */
	struct actor actor;
	char key_hash[2 * HASH_LEN + 1]; /* of the API key; "": none was shown */
	struct auth_node node;           /* of an agent */
	uint64_t started_ns;             /* CLOCK_BOOTTIME */

	char *body;               /* heap */
	struct share_holder held; /* body_len, of an unknown sender: the server's */
	size_t body_len, body_size;
	size_t received; /* of the body, kept or not */

	/* -- what request_read() made of it for the handler -- */
	struct json_object *json; /* the body; NULL: none, or the route takes none */
	struct page page;         /* of a list; borrows from the target */
	char page_start[17];      /* what its cursor points to, of a list that begins at ?since= */

	/* -- the answer: what handlers fill in -- */
	int status;
	struct json_object *reply; /* owned; NULL: no body */
	const char *reply_text; /* text that outlives the request instead, of reply_text_len … */
	char *reply_heap;       /* … or that is owned, and wiped in the end; NULL: neither */
	size_t reply_text_len;
	struct share_holder unsent;       /* of reply_heap, while it is being sent: the server's */
	const char *reply_type;           /* Content-Type of that text; NULL: application/json */
	struct agent_answer reply_pieces; /* text in pieces instead, owned; count 0: none */
	uint64_t etag;                    /* 0: none */
	char allow[32];                   /* of a 405 */
	struct problem problem;

	/* -- an answer that goes on; NULL: it does not -- */
	const struct stream *stream;
	void *stream_ctx;

	/* -- a long poll, or such an answer -- */
	struct list waiter;  /* linked while it is suspended … */
	struct list by_node; /* … and by its node, if it has one */
	uint64_t deadline_ns;
	uint64_t
		quiet_ns; /* changes of networks wake it from here on (CLOCK_BOOTTIME); 0: always */
	struct agent_scope scope; /* what is to wake it, besides changes of node.id */
};

/* An answer that goes on for as long as there is something to tell. */
struct stream {
	const char *content_type;
	/*
	 * Fills text, with the registry's lock held: more than 0 bytes; 0 when there is nothing to
	 * tell now (called again after any change of the store, and at *ret_deadline_ns at the
	 * latest); negative when it ends.
	 */
	ssize_t (*read)(struct request *q, void *ctx, char *text, size_t max, uint64_t now_ns,
		uint64_t *ret_deadline_ns);
	void (*free)(struct request *q, void *ctx); /* with the registry's lock held */
};

/* Of a request line; connection may be NULL in tests. */
struct request *request_new(
	struct console *c, struct MHD_Connection *connection, const char *raw_target);
/* With all that it owns. With the registry's lock held. */
void request_free(struct request *q);
/* Wipes and frees the body. */
void request_drop_body(struct request *q);
/* Adds a piece to the body. */
void request_add_body(struct request *q, const char *data, size_t len);
/* Makes q->reply the text that is sent, and forgets the object. */
void request_render(struct request *q);

/*
 * Splits and decodes "/a/b?c=d". False when it is too long, has too many parts, a broken escape, a
 * NUL, or an empty segment in the middle.
 */
bool target_parse(const char *raw, struct target *ret_target);
/* The value of a query parameter, or NULL. */
const char *target_query(const struct target *t, const char *name);

/* A handler's reply. Takes the object. Returns 0. Its member "revision" becomes the ETag. */
int request_reply(struct request *q, int status, struct json_object *o);
int request_reply_none(struct request *q); /* 204 */
/* 200 with text (heap, taken) of another type than JSON. */
int request_reply_text(struct request *q, const char *content_type, char *text, size_t len);
/* 200 with text in pieces, of this (static) type. Takes what the pieces point into. */
int request_reply_pieces(
	struct request *q, const char *content_type, const struct agent_answer *pieces);
/* 200 with an answer that goes on. Takes ctx. */
int request_reply_stream(struct request *q, const struct stream *stream, void *ctx);

/* -- for the framework -- */

/* Takes a header. What is there twice and may not be, or is no header at all, is a problem (400). */
int request_header(
	struct request *q, const char *name, size_t name_len, const char *value, size_t value_len);
/* After the last header: whether it is clear where the body ends (RFC 9112 §6); else 400. */
int request_check_framing(struct request *q);
/*
 * Reads what the route takes, once, before its handler: the body into q->json (400 bad_json, 415
 * where its Content-Type says that it is no JSON, or none of a merge patch, RFC 7396; 400 for members
 * where none is taken), the parameters of a list into q->page. The keys of a list with ?since= begin
 * with a time stamp (nanoseconds since 1970, 16 hexadecimal digits).
 */
int request_read(struct request *q);
/* Refuses query parameters that the route does not take. */
int request_check_query(struct request *q);
/* Takes the client's X-Request-Id when it is harmless (1 to REQUEST_ID_MAX of A-Z a-z 0-9 . _ -),
 * else makes one. */
void request_set_id(struct request *q, const char *wish);

#endif
