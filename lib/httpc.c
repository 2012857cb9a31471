/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request is one easy handle with what it collects of the answer (struct httpc_call). The
 * blocking form performs it on the spot; the event form hands it to a multi handle, which asks for
 * descriptors and a timer through struct httpc_loop and is driven by httpc_on_fd() and
 * httpc_on_timer() alone.
 *
 * Who the server is: with a pin, the key in its certificate must have that hash, and the
 * certificate is otherwise not looked at unless a CA file is given too (curl checks the pin also
 * where it verifies no chain). Without a pin the chain must lead to the CA file or one of the
 * system's CAs.
 *
 * Callbacks may start and cancel requests, their own included, and may free the multi handle: while
 * results are handed out (h->busy) freeing it is put off until the end of that loop.
 */
#include "lib/httpc.h"

#include <curl/curl.h>
#include <json-c/json.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/list.h"

#define CONNECT_TIMEOUT_MS 10000L
#define DEFAULT_TIMEOUT_MS 60000L /* where the request names none */
#define HEADERS_MAX        (256u << 10)
#define IDLE_CONNECTIONS   8L

struct httpc_call {
	struct list link; /* in httpc.calls */
	CURL *easy;
	struct curl_slist *headers;
	char *url; /* server and path */
	char *server_url;
	char *body;
	char reason[CURL_ERROR_SIZE];
	struct httpc_response response;
	size_t body_room;
	size_t header_bytes;
	bool too_large;
	bool (*take)(void *ctx, const char *data, size_t len); /* a stream's; or NULL */
	void *take_ctx;
	bool taken_enough;
	bool finished; /* its callback is running: too late to cancel */
	httpc_done *done;
	void *ctx;
};

struct httpc {
	CURLM *multi;
	struct httpc_loop loop;
	struct list calls;
	bool busy;   /* callbacks are running */
	bool doomed; /* freed by one of them */
};

/* -- process-wide set-up -- */

static void global_init(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();
}

static void init_once(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, global_init);
}

/*
 * OpenSSL writes to sockets without MSG_NOSIGNAL, and curl's own remedy changes the whole process's
 * signal handling. So the thread blocks SIGPIPE around curl, and takes away what came meanwhile.
 */
struct pipe_guard {
	sigset_t old_mask;
	bool was_pending;
};

static void pipe_guard_enter(struct pipe_guard *g)
{
	sigset_t pipe_only, pending;

	sigpending(&pending);
	g->was_pending = sigismember(&pending, SIGPIPE);
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &g->old_mask);
}

static void pipe_guard_leave(const struct pipe_guard *g)
{
	const struct timespec at_once = {0};
	sigset_t pipe_only;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	while (!g->was_pending && sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR) {
	}
	pthread_sigmask(SIG_SETMASK, &g->old_mask, NULL);
}

/* -- what curl calls -- */

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct httpc_call *call = ctx;
	struct httpc_response *r = &call->response;
	size_t len = size * n;
	long status = 0;

	if (call->take)
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status == 200) {
		call->taken_enough = !call->take(call->take_ctx, data, len);
		return call->taken_enough ? 0 : len;
	}
	if (len > HTTPC_MAX_BODY - r->body_len) {
		call->too_large = true;
		return 0;
	}
	if (r->body_len + len + 1 > call->body_room) {
		size_t room = call->body_room ? call->body_room : 4096;
		char *bigger;

		while (room < r->body_len + len + 1)
			room *= 2;
		bigger = realloc(r->body, room);
		if (!bigger)
			return 0;
		r->body = bigger;
		call->body_room = room;
	}
	memcpy(r->body + r->body_len, data, len);
	r->body_len += len;
	r->body[r->body_len] = '\0';
	return len;
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
	struct httpc_call *call = ctx;

	(void)data;
	call->header_bytes += size * n;
	if (call->header_bytes > HEADERS_MAX) {
		call->too_large = true;
		return 0;
	}
	return size * n;
}

/* A daemon runs helpers: its connections are not for them to inherit. */
static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)ctx;
	(void)purpose;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* -- setting up a request -- */

void httpc_response_done(struct httpc_response *r)
{
	free(r->body);
	free(r->content_type);
	free(r->etag);
	*r = (struct httpc_response){0};
}

static void call_free(struct httpc_call *call)
{
	if (!call)
		return;
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	httpc_response_done(&call->response);
	free(call->url);
	free(call->server_url);
	free(call->body);
	free(call);
}

static void cleanup_call(struct httpc_call **call)
{
	call_free(*call);
}

static int check_server(const struct httpc_server *server, struct err *e)
{
	bool https = strncmp(server->url, "https://", 8) == 0;
	bool http = strncmp(server->url, "http://", 7) == 0;
	const char *host = server->url + (https ? 8 : http ? 7 : 0);

	if ((!https && !http) || *host == '\0' || *host == '/' || *host == ':')
		return err_set(e, -VAN_E_INVALID,
			"%s is not the address of a console: it must be like https://HOST:PORT",
			server->url);
	if (server->pin && !https)
		return err_set(e, -VAN_E_INVALID,
			"%s cannot be held against its pin: the address must start with https://",
			server->url);
	return 0;
}

static bool has_header(const struct httpc_request *request, const char *name)
{
	size_t len = strlen(name);

	for (const char *const *h = request->headers; h && *h; h++) {
		if (strncasecmp(*h, name, len) == 0 && (*h)[len] == ':')
			return true;
	}
	return false;
}

static bool add_header(struct httpc_call *call, const char *text)
{
	struct curl_slist *longer = curl_slist_append(call->headers, text);

	if (longer)
		call->headers = longer;
	return longer;
}

static bool add_headers(struct httpc_call *call, const struct httpc_request *request)
{
	/* No "Expect: 100-continue", which costs a round trip or a second's wait. */
	bool ok = add_header(call, "Expect:");

	if (!has_header(request, "Accept"))
		ok = ok && add_header(call, "Accept: application/json");
	if (request->body && !has_header(request, "Content-Type"))
		ok = ok && add_header(call, "Content-Type: application/json");
	for (const char *const *h = request->headers; h && *h; h++)
		ok = ok && add_header(call, *h);
	return ok;
}

/* Sets an option whose failure can only be one of memory or of this curl's build. */
#define SET(option, value)                                          \
	do {                                                        \
		if (rc == CURLE_OK)                                 \
			rc = curl_easy_setopt(easy, option, value); \
	} while (0)

static CURLcode set_identity(CURL *easy, const struct httpc_server *server)
{
	bool verify = server->ca_file || !server->pin;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_SSL_VERIFYPEER, verify ? 1L : 0L);
	SET(CURLOPT_SSL_VERIFYHOST, verify ? 2L : 0L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (server->pin)
		SET(CURLOPT_PINNEDPUBLICKEY, server->pin);
	if (server->ca_file) {
		SET(CURLOPT_CAINFO, server->ca_file);
		SET(CURLOPT_CAPATH, NULL);
	}
	return rc;
}

static CURLcode set_method(struct httpc_call *call, const struct httpc_request *request)
{
	CURL *easy = call->easy;
	CURLcode rc = CURLE_OK;
	bool get = strcmp(request->method, "GET") == 0;

	if (strcmp(request->method, "HEAD") == 0) {
		SET(CURLOPT_NOBODY, 1L);
		return rc;
	}
	if (request->body || (!get && strcmp(request->method, "DELETE") != 0)) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
		SET(CURLOPT_POSTFIELDS, call->body ? call->body : "");
	} else {
		SET(CURLOPT_HTTPGET, 1L);
	}
	if (!get || request->body)
		SET(CURLOPT_CUSTOMREQUEST, request->method);
	return rc;
}

static CURLcode set_options(struct httpc_call *call, const struct httpc_server *server,
	const struct httpc_request *request)
{
	long timeout_ms = request->timeout_ms ? (long)request->timeout_ms : DEFAULT_TIMEOUT_MS;
	CURL *easy = call->easy;
	CURLcode rc = set_identity(easy, server);

	if (rc == CURLE_OK)
		rc = set_method(call, request);
	SET(CURLOPT_URL, call->url);
	SET(CURLOPT_HTTPHEADER, call->headers);
	SET(CURLOPT_USERAGENT, "van/" VAN_VERSION);
	SET(CURLOPT_ERRORBUFFER, call->reason);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, call);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, call);
	SET(CURLOPT_PRIVATE, call);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, ""); /* none, whatever the environment says */
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	SET(CURLOPT_TIMEOUT_MS, request->take ? 0L : timeout_ms);
	SET(CURLOPT_LOW_SPEED_LIMIT, request->take ? 1L : 0L);
	SET(CURLOPT_LOW_SPEED_TIME, request->take ? (timeout_ms + 999) / 1000 : 0L);
	SET(CURLOPT_FRESH_CONNECT, request->fresh ? 1L : 0L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, 30L);
	SET(CURLOPT_TCP_KEEPINTVL, 10L);
	return rc;
}

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
}

static int call_new(const struct httpc_server *server, const struct httpc_request *request,
	struct httpc_call **ret_call, struct err *e)
{
	__attribute__((cleanup(cleanup_call))) struct httpc_call *call = NULL;
	size_t url_len = strlen(server->url);
	CURLcode rc;
	int valid = check_server(server, e);

	if (valid)
		return valid;
	init_once();
	call = calloc(1, sizeof(*call));
	if (!call)
		return no_memory(e);
	list_init(&call->link);
	if (url_len > 0 && server->url[url_len - 1] == '/' && request->path[0] == '/')
		url_len--;
	if (asprintf(&call->url, "%.*s%s", (int)url_len, server->url, request->path) < 0) {
		call->url = NULL;
		return no_memory(e);
	}
	call->server_url = strdup(server->url);
	call->easy = curl_easy_init();
	if (!call->server_url || !call->easy || !add_headers(call, request))
		return no_memory(e);
	if (request->body) {
		call->body = malloc(request->body_len + 1);
		if (!call->body)
			return no_memory(e);
		memcpy(call->body, request->body, request->body_len);
	}
	call->take = request->take;
	call->take_ctx = request->take_ctx;
	rc = set_options(call, server, request);
	if (rc == CURLE_OUT_OF_MEMORY)
		return no_memory(e);
	if (rc != CURLE_OK)
		return err_set(
			e, -EIO, "libcurl cannot do what is needed: %s", curl_easy_strerror(rc));
	*ret_call = STEAL(call);
	return 0;
}

/* -- its end -- */

static int tls_error(const struct httpc_call *call, CURLcode rc, struct err *e)
{
	switch (rc) {
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		return err_set(e, -VAN_E_TLS,
			"%s answers with another key than its pin says: somebody else answers there, or "
			"its key was changed; take the pin from <state_dir>/tls.pin there",
			call->server_url);
	case CURLE_SSL_CACERT_BADFILE:
		return err_set(e, -VAN_E_TLS, "the CA file for %s cannot be read: %s",
			call->server_url, call->reason);
	case CURLE_SSL_CONNECT_ERROR:
		return err_set(e, -VAN_E_UNREACHABLE,
			"the TLS handshake with %s failed (%s): is it a console that listens there?",
			call->server_url, call->reason);
	default:
		return err_set(e, -VAN_E_TLS,
			"the certificate of %s is not trusted (%s): give its pin or the file of its CA",
			call->server_url, call->reason);
	}
}

static int timeout_error(struct httpc_call *call, struct err *e)
{
	curl_off_t connected_us = 0;

	curl_easy_getinfo(call->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
	if (connected_us == 0)
		return err_set(e, -VAN_E_TIMEOUT,
			"no answer from %s in time: check the address, and that a firewall lets TCP "
			"through",
			call->server_url);
	return err_set(e, -VAN_E_TIMEOUT, "%s did not answer in time", call->server_url);
}

static int call_error(struct httpc_call *call, CURLcode rc, struct err *e)
{
	const char *url = call->server_url;

	if (call->reason[0] == '\0')
		snprintf(call->reason, sizeof(call->reason), "%s", curl_easy_strerror(rc));
	if (call->taken_enough)
		return -ECANCELED;
	if (call->too_large)
		return err_set(e, -VAN_E_PROTOCOL, "the answer of %s is larger than %u MB", url,
			HTTPC_MAX_BODY >> 20);
	switch (rc) {
	case CURLE_OUT_OF_MEMORY:
	case CURLE_WRITE_ERROR:
		return no_memory(e);
	case CURLE_URL_MALFORMAT:
		return err_set(e, -VAN_E_INVALID,
			"%s is not the address of a console: it must be like https://HOST:PORT",
			url);
	case CURLE_COULDNT_RESOLVE_HOST:
		return err_set(e, -VAN_E_UNREACHABLE,
			"the host of %s has no address: check its name, and this machine's DNS",
			url);
	case CURLE_COULDNT_CONNECT:
		return err_set(e, -VAN_E_UNREACHABLE,
			"nobody answers at %s (%s): check that console-api runs, the port, and "
			"firewalls",
			url, call->reason);
	case CURLE_OPERATION_TIMEDOUT:
		return timeout_error(call, e);
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return tls_error(call, rc, e);
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9: no status line */
	case CURLE_BAD_CONTENT_ENCODING:
		return err_set(e, -VAN_E_PROTOCOL,
			"what answers at %s does not speak HTTP (%s): check the port", url,
			call->reason);
	default:
		return err_set(e, -VAN_E_UNREACHABLE, "the connection to %s broke (%s)", url,
			call->reason);
	}
}

/* Completes the response. */
static int call_finish(struct httpc_call *call, CURLcode rc, struct err *e)
{
	struct httpc_response *r = &call->response;
	struct curl_header *etag;
	curl_off_t retry_after_s = 0;
	char *type = NULL;

	if (rc != CURLE_OK)
		return call_error(call, rc, e);
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &r->status);
	curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	if (retry_after_s > 0)
		r->retry_after_s =
			retry_after_s < UINT_MAX ? (unsigned int)retry_after_s : UINT_MAX;
	if (type)
		r->content_type = strdup(type);
	if (curl_easy_header(call->easy, "ETag", 0, CURLH_HEADER, -1, &etag) == CURLHE_OK)
		r->etag = strdup(etag->value);
	if (!r->body)
		r->body = calloc(1, 1);
	return r->body ? 0 : no_memory(e);
}

int httpc_call(const struct httpc_server *server, const struct httpc_request *request,
	struct httpc_response *ret_response, struct err *e)
{
	__attribute__((cleanup(cleanup_call))) struct httpc_call *call = NULL;
	struct pipe_guard guard;
	int rc = call_new(server, request, &call, e);

	if (rc)
		return rc;
	pipe_guard_enter(&guard);
	rc = call_finish(call, curl_easy_perform(call->easy), e);
	curl_easy_cleanup(call->easy); /* closes the connection: a write, too */
	call->easy = NULL;
	pipe_guard_leave(&guard);
	if (rc)
		return rc;
	*ret_response = call->response;
	call->response = (struct httpc_response){0};
	return 0;
}

/* -- statuses -- */

static int status_code(long status)
{
	switch (status) {
	case 401:
	case 403:
		return -VAN_E_DENIED;
	case 404:
		return -VAN_E_NOT_FOUND;
	case 409:
	case 412:
		return -VAN_E_CONFLICT;
	case 410:
		return -VAN_E_GONE;
	case 413:
	case 429:
		return -VAN_E_LIMIT;
	case 408:
	case 504:
		return -VAN_E_TIMEOUT;
	case 502:
	case 503:
		return -VAN_E_UNREACHABLE;
	default:
		return status < 500 ? -VAN_E_INVALID : -VAN_E_PROTOCOL;
	}
}

/* The first entry of the problem's "errors", as " (POINTER: DETAIL)"; nothing where there is none
 * or the detail says it already. */
static void first_member_error(
	struct json_object *problem, const char *detail, char *ret_text, size_t size)
{
	struct json_object *errors, *first;
	const char *pointer = "", *text;

	ret_text[0] = '\0';
	if (json_get_array(problem, "", "errors", &errors, NULL) ||
		json_object_array_length(errors) == 0)
		return;
	first = json_object_array_get_idx(errors, 0);
	if (json_get_string(first, "", "detail", 1, 1024, &text, NULL) || strstr(detail, text))
		return;
	json_opt_string(first, "", "pointer", 1, 256, &pointer, NULL);
	snprintf(ret_text, size, " (%s%s%s)", pointer, *pointer ? ": " : "", text);
}

int httpc_status_error(const struct httpc_response *r, struct err *e)
{
	CLEANUP(json) struct json_object *problem = NULL;
	const char *title = "", *detail = "";
	char member[256];
	int code;

	if (r->status < 400)
		return 0;
	code = status_code(r->status);
	if (!r->body || json_parse(r->body, r->body_len, &problem, NULL) != 0 ||
		!json_object_is_type(problem, json_type_object))
		return err_set(e, code, "the console answered with HTTP status %ld and no reason",
			r->status);
	json_opt_string(problem, "", "title", 1, 1024, &title, NULL);
	json_opt_string(problem, "", "detail", 1, 4096, &detail, NULL);
	if (!*title && !*detail)
		return err_set(e, code, "the console answered with HTTP status %ld and no reason",
			r->status);
	first_member_error(problem, detail, member, sizeof(member));
	return err_set(e, code, "%s%s%s%s", title, *title && *detail ? ": " : "", detail, member);
}

/* -- event-driven -- */

static int on_watch(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct httpc *h = ctx;

	(void)easy;
	(void)socket_ctx;
	h->loop.watch(h->loop.ctx, fd, what == CURL_POLL_IN || what == CURL_POLL_INOUT,
		what == CURL_POLL_OUT || what == CURL_POLL_INOUT);
	return 0;
}

static int on_set_timer(CURLM *multi, long timeout_ms, void *ctx)
{
	struct httpc *h = ctx;

	(void)multi;
	h->loop.set_timer(h->loop.ctx, timeout_ms);
	return 0;
}

int httpc_new(const struct httpc_loop *loop, struct httpc **ret_httpc)
{
	struct httpc *h;

	init_once();
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->loop = *loop;
	list_init(&h->calls);
	h->multi = curl_multi_init();
	if (!h->multi) {
		free(h);
		return -ENOMEM;
	}
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_watch);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_set_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
	*ret_httpc = h;
	return 0;
}

/* Takes the call out of the multi handle, which forgets a result of it that waits there, and closes
 * a connection that is half way through it. */
static void detach(struct httpc *h, struct httpc_call *call)
{
	struct pipe_guard guard;

	pipe_guard_enter(&guard);
	curl_multi_remove_handle(h->multi, call->easy);
	pipe_guard_leave(&guard);
	list_del(&call->link);
}

void httpc_free(struct httpc *h)
{
	struct pipe_guard guard;

	if (!h)
		return;
	list_for_each_safe (it, &h->calls) {
		struct httpc_call *call = container_of(it, struct httpc_call, link);

		detach(h, call);
		call_free(call);
	}
	if (h->busy) {
		h->doomed = true;
		return;
	}
	pipe_guard_enter(&guard);
	curl_multi_cleanup(h->multi);
	pipe_guard_leave(&guard);
	free(h);
}

int httpc_start(struct httpc *h, const struct httpc_server *server,
	const struct httpc_request *request, httpc_done *done, void *ctx,
	struct httpc_call **ret_call)
{
	struct httpc_call *call;
	CURLMcode added;
	int rc;

	if (h->doomed)
		return -ECANCELED;
	rc = call_new(server, request, &call, NULL);
	if (rc)
		return rc;
	call->done = done;
	call->ctx = ctx;
	/* Adding does no more than set the timer to now: the request starts in httpc_on_timer(). */
	added = curl_multi_add_handle(h->multi, call->easy);
	if (added != CURLM_OK) {
		call_free(call);
		return added == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO;
	}
	list_add_tail(&h->calls, &call->link);
	if (ret_call)
		*ret_call = call;
	return 0;
}

void httpc_cancel(struct httpc *h, struct httpc_call *call)
{
	if (call->finished) /* from within its own callback, which is its end anyway */
		return;
	detach(h, call);
	call_free(call);
}

/* Hands out the results that have come in. The callbacks may do as they like with h. */
static void deliver(struct httpc *h)
{
	CURLMsg *message;
	int left;

	if (h->busy)
		return;
	h->busy = true;
	while (!h->doomed && (message = curl_multi_info_read(h->multi, &left))) {
		CURLcode result = message->data.result;
		struct httpc_call *call = NULL;
		struct err e = {0};
		int rc;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		rc = call_finish(call, result, &e);
		call->finished = true;
		detach(h, call);
		call->done(call->ctx, rc, rc ? NULL : &call->response, rc ? &e : NULL);
		call_free(call);
	}
	h->busy = false;
	if (h->doomed)
		httpc_free(h);
}

static void act(struct httpc *h, curl_socket_t fd, int events)
{
	struct pipe_guard guard;
	int running;

	pipe_guard_enter(&guard);
	curl_multi_socket_action(h->multi, fd, events, &running);
	pipe_guard_leave(&guard);
	deliver(h);
}

void httpc_on_fd(struct httpc *h, int fd, bool readable, bool writable)
{
	act(h, fd, (readable ? CURL_CSELECT_IN : 0) | (writable ? CURL_CSELECT_OUT : 0));
}

void httpc_on_timer(struct httpc *h)
{
	act(h, CURL_SOCKET_TIMEOUT, 0);
}
