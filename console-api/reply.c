/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/reply.h"

#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include "console-api/routes.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define STREAM_BLOCK 16384

static void add_headers(
	struct request *q, struct MHD_Response *response, const char *content_type, int status)
{
	char number[32];

	if (content_type)
		MHD_add_response_header(response, "Content-Type", content_type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "X-Request-Id", q->id);
	if (q->etag && status < 300) {
		snprintf(number, sizeof(number), "\"%llu\"", (unsigned long long)q->etag);
		MHD_add_response_header(response, "ETag", number);
	}
	if (q->hang_up)
		MHD_add_response_header(response, "Connection", "close");
	if (q->allow[0])
		MHD_add_response_header(response, "Allow", q->allow);
	if (status == 401)
		MHD_add_response_header(response, "WWW-Authenticate",
			q->route && !route_role(q->route) ? "VAN-Ed25519" : "Bearer");
	if (q->problem.retry_after_s) {
		snprintf(number, sizeof(number), "%u", q->problem.retry_after_s);
		MHD_add_response_header(response, "Retry-After", number);
	}
}

/* Takes the response. */
static enum MHD_Result queue(
	struct request *q, int status, const char *content_type, struct MHD_Response *response)
{
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	add_headers(q, response, content_type, status);
	result = MHD_queue_response(q->connection, (unsigned int)status, response);
	MHD_destroy_response(response);
	return result;
}

enum MHD_Result reply_problem(struct request *q)
{
	CLEANUP(json) struct json_object *o = problem_to_json(&q->problem, q->id);
	size_t len;
	const char *text = json_object_to_json_string_length(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);

	return queue(q, q->problem.status, "application/problem+json",
		MHD_create_response_from_buffer(
			len, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY));
}

/* The response holds what the pieces point into until it is sent. */
static struct MHD_Response *pieces_response(struct request *q)
{
	struct agent_answer *a = &q->reply_pieces;
	struct MHD_Response *response = MHD_create_response_from_iovec(
		(const struct MHD_IoVec *)a->pieces, (unsigned int)a->count, a->release, a->keep);

	if (response)
		a->keep = NULL;
	return response;
}

_Static_assert(sizeof(struct MHD_IoVec) == sizeof(struct iovec) &&
		       offsetof(struct MHD_IoVec, iov_len) == offsetof(struct iovec, iov_len),
	"the library's pieces are the system's");

enum MHD_Result reply_send(struct request *q, MHD_ContentReaderCallback read)
{
	if (q->stream)
		return queue(q, q->status, q->stream->content_type,
			MHD_create_response_from_callback(
				MHD_SIZE_UNKNOWN, STREAM_BLOCK, read, q, NULL));
	if (q->reply_pieces.count)
		return queue(q, q->status, q->reply_type, pieces_response(q));
	if (q->reply_text || q->reply_heap)
		return queue(q, q->status, q->reply_type ? q->reply_type : "application/json",
			MHD_create_response_from_buffer(q->reply_text_len,
				q->reply_heap ? q->reply_heap : (void *)(uintptr_t)q->reply_text,
				MHD_RESPMEM_PERSISTENT)); /* until on_completed() */
	return queue(q, q->status, NULL,
		MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT));
}

void reply_timeout(struct conn *conn)
{
	static const char body[] =
		"{\"type\":\"urn:van:error:request_timeout\",\"title\":\"The request took too long\","
		"\"status\":408,\"detail\":\"the request was not whole in time: send it at once\"}";
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	char text[512];
	int len = snprintf(text, sizeof(text),
		"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\n"
		"Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
		sizeof(body) - 1, body);

	/* Refused while the handshake is under way; whatever it takes at once is enough. */
	if (info && info->tls_session)
		gnutls_record_send(info->tls_session, text, (size_t)len);
}
