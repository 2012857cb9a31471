/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time-outs are short, for a console serves others while it waits here: a member that is paused
 * still accepts connections, so only silence tells. Whether a request has left this machine when it
 * failed is curl's count of sent bytes. Tokens of etcd's user authentication end after some minutes
 * without use: a call that is told so gets a new one and is made once more.
 */
#include "console-api/etcd.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/key.h"

#define ANSWER_MAX (256u << 20)

struct etcd {
	char **endpoints;
	size_t endpoint_count;
	char *ca_file, *cert_file, *key_file, *user, *password;
	unsigned int timeout_ms;
	atomic_size_t preferred;
	pthread_mutex_t lock;
	char *token; /* under lock */
};

struct etcd_conn {
	struct etcd *etcd;
	CURL *easy;
	atomic_bool aborted;
	unsigned int patience;
	char *body;
	size_t len, room;
};

static void global_init(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();
}

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

struct etcd *etcd_new(const struct etcd_options *o)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct etcd *etcd = xcalloc(1, sizeof(*etcd));

	pthread_once(&once, global_init);
	etcd->endpoints = xcalloc(o->endpoint_count, sizeof(*etcd->endpoints));
	for (size_t i = 0; i < o->endpoint_count; i++)
		etcd->endpoints[i] = xstrdup(o->endpoints[i]);
	etcd->endpoint_count = o->endpoint_count;
	etcd->ca_file = copy(o->ca_file);
	etcd->cert_file = copy(o->cert_file);
	etcd->key_file = copy(o->key_file);
	etcd->user = copy(o->user);
	etcd->password = copy(o->password);
	etcd->timeout_ms = o->timeout_ms;
	pthread_mutex_init(&etcd->lock, NULL);
	return etcd;
}

static void free_secret(char *text)
{
	if (text)
		sodium_memzero(text, strlen(text));
	free(text);
}

void etcd_free(struct etcd *etcd)
{
	if (!etcd)
		return;
	for (size_t i = 0; i < etcd->endpoint_count; i++)
		free(etcd->endpoints[i]);
	free(etcd->endpoints);
	free(etcd->ca_file);
	free(etcd->cert_file);
	free(etcd->key_file);
	free(etcd->user);
	free_secret(etcd->password);
	free_secret(etcd->token);
	pthread_mutex_destroy(&etcd->lock);
	free(etcd);
}

size_t etcd_endpoint_count(const struct etcd *etcd)
{
	return etcd->endpoint_count;
}

const char *etcd_endpoint(const struct etcd *etcd, size_t i)
{
	return etcd->endpoints[i];
}

unsigned int etcd_timeout_ms(const struct etcd *etcd)
{
	return etcd->timeout_ms;
}

size_t etcd_preferred(const struct etcd *etcd)
{
	return atomic_load(&etcd->preferred);
}

void etcd_prefer(struct etcd *etcd, size_t endpoint)
{
	atomic_store(&etcd->preferred, endpoint);
}

struct etcd_conn *etcd_conn_new(struct etcd *etcd)
{
	struct etcd_conn *c = xcalloc(1, sizeof(*c));

	c->etcd = etcd;
	c->patience = 1;
	c->easy = curl_easy_init();
	if (!c->easy)
		abort();
	return c;
}

void etcd_conn_free(struct etcd_conn *c)
{
	if (!c)
		return;
	curl_easy_cleanup(c->easy);
	free(c->body);
	free(c);
}

void etcd_conn_abort(struct etcd_conn *c)
{
	atomic_store(&c->aborted, true);
}

void etcd_conn_set_patience(struct etcd_conn *c, unsigned int times)
{
	c->patience = times;
}

/* -- texts -- */

void etcd_put_bytes(struct printbuf *out, const char *name, const char *prefix, const char *key)
{
	CLEANUP(free) char *raw = xasprintf("%s%s", prefix, key);
	CLEANUP(free) char *text = xcalloc(key_base64_len(strlen(raw)), 1);

	key_base64(raw, strlen(raw), false, text);
	printbuf_memappend(out, "\"", 1);
	printbuf_memappend(out, name, (int)strlen(name));
	printbuf_memappend(out, "\":\"", 3);
	printbuf_memappend(out, text, (int)strlen(text));
	printbuf_memappend(out, "\"", 1);
}

char *etcd_get_bytes(struct json_object *o, const char *name)
{
	const char *text = json_object_get_string(json_object_object_get(o, name));
	size_t size = text ? strlen(text) : 0;
	char *raw = xcalloc(size + 1, 1);
	size_t len = 0;

	if (size && key_unbase64(text, false, raw, size, &len)) {
		free(raw);
		return NULL;
	}
	raw[len] = '\0';
	return raw;
}

uint64_t etcd_get_number(struct json_object *o, const char *name)
{
	const char *text = json_object_get_string(json_object_object_get(o, name));

	return text ? strtoull(text, NULL, 10) : 0;
}

/* -- errors -- */

/* Numbers of gRPC's status codes. */
enum {
	GRPC_INVALID = 3,
	GRPC_DENIED = 7,
	GRPC_EXHAUSTED = 8,
	GRPC_RANGE = 11,
	GRPC_UNAUTHENTICATED = 16
};

static bool wants_token(const char *said)
{
	return strstr(said, "auth token") || strstr(said, "user name is empty") ||
	       strstr(said, "auth store is old");
}

int etcd_error(struct json_object *answer, struct err *e)
{
	struct json_object *o = json_object_object_get(answer, "error");
	const char *said;
	uint64_t code;

	/* In a stream the error is an object of its own. */
	if (!json_object_is_type(o, json_type_object))
		o = answer;
	said = json_object_get_string(json_object_object_get(o, "message"));
	code = etcd_get_number(
		o, json_object_object_get_ex(o, "code", NULL) ? "code" : "grpc_code");
	if (!said)
		said = "an answer that is none";
	if (strstr(said, "too many operations") || strstr(said, "too large") ||
		strstr(said, "larger than max"))
		return err_set(e, -E2BIG, "etcd: %s", said);
	if (strstr(said, "database space exceeded"))
		return err_set(e, -ENOSPC, "etcd: %s", said);
	if (strstr(said, "has been compacted") || code == GRPC_RANGE)
		return err_set(e, -VAN_E_GONE, "etcd: %s", said);
	if (code == GRPC_DENIED || code == GRPC_UNAUTHENTICATED || wants_token(said) ||
		strstr(said, "authentication failed"))
		return err_set(e, -VAN_E_DENIED, "etcd: %s", said);
	if (code == GRPC_INVALID)
		return err_set(e, -VAN_E_INVALID, "etcd: %s", said);
	return err_set(e, -VAN_E_TIMEOUT, "etcd: %s", said);
}

/* -- calls -- */

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct etcd_conn *c = ctx;
	size_t len = size * n;

	if (len > ANSWER_MAX - c->len)
		return 0;
	if (c->len + len + 1 > c->room) {
		while (c->len + len + 1 > c->room)
			c->room = c->room ? c->room * 2 : 4096;
		c->body = xrealloc(c->body, c->room, 1);
	}
	memcpy(c->body + c->len, data, len);
	c->len += len;
	c->body[c->len] = '\0';
	return len;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	struct etcd_conn *conn = ctx;

	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return atomic_load(&conn->aborted);
}

void etcd_prepare(struct etcd *etcd, CURL *easy, size_t endpoint, const char *path,
	const char *body, char *url, size_t url_size, struct curl_slist **ret_headers)
{
	struct curl_slist *headers = NULL;

	snprintf(url, url_size, "%s%s", etcd->endpoints[endpoint], path);
	headers = curl_slist_append(headers, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:");
	pthread_mutex_lock(&etcd->lock);
	if (etcd->token) {
		CLEANUP(free) char *line = xasprintf("Authorization: %s", etcd->token);

		headers = curl_slist_append(headers, line);
	}
	pthread_mutex_unlock(&etcd->lock);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)etcd->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	if (etcd->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, etcd->ca_file);
	if (etcd->cert_file)
		curl_easy_setopt(easy, CURLOPT_SSLCERT, etcd->cert_file);
	if (etcd->key_file)
		curl_easy_setopt(easy, CURLOPT_SSLKEY, etcd->key_file);
	*ret_headers = headers;
}

static int curl_failure(struct etcd_conn *c, size_t endpoint, CURLcode code, struct err *e)
{
	long sent = 0;

	curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &sent);
	err_set(e, -VAN_E_TIMEOUT, "etcd at %s: %s", c->etcd->endpoints[endpoint],
		curl_easy_strerror(code));
	return sent > 0 ? -VAN_E_TIMEOUT : -ECONNREFUSED;
}

static int call_once(struct etcd_conn *c, size_t endpoint, const char *path, const char *body,
	struct json_object **ret_answer, struct err *e)
{
	CLEANUP(json) struct json_object *answer = NULL;
	struct curl_slist *headers;
	struct err parse = {0};
	char url[1024];
	long status = 0;
	CURLcode code;

	c->len = 0;
	etcd_prepare(c->etcd, c->easy, endpoint, path, body, url, sizeof(url), &headers);
	curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)c->etcd->timeout_ms * c->patience);
	curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(c->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c->easy, CURLOPT_XFERINFODATA, c);
	curl_easy_setopt(c->easy, CURLOPT_NOPROGRESS, 0L);
	code = curl_easy_perform(c->easy);
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	if (code != CURLE_OK)
		return curl_failure(c, endpoint, code, e);
	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	if (!c->len || json_parse(c->body, c->len, &answer, &parse))
		return err_set(e, -VAN_E_TIMEOUT, "etcd at %s: HTTP status %ld without JSON",
			c->etcd->endpoints[endpoint], status);
	if (status != 200)
		return etcd_error(answer, e);
	*ret_answer = STEAL(answer);
	return 0;
}

int etcd_authenticate(struct etcd_conn *c, size_t endpoint, struct err *e)
{
	CLEANUP(json) struct json_object *who = json_object_new_object();
	CLEANUP(json) struct json_object *answer = NULL;
	struct etcd *etcd = c->etcd;
	const char *token;
	int rc;

	if (!etcd->user)
		return err_set(e, -VAN_E_DENIED,
			"etcd asks for a user: set etcd_user and etcd_password_file");
	json_set_string(who, "name", etcd->user);
	json_set_string(who, "password", etcd->password ? etcd->password : "");
	pthread_mutex_lock(&etcd->lock);
	free_secret(etcd->token);
	etcd->token = NULL;
	pthread_mutex_unlock(&etcd->lock);
	rc = call_once(c, endpoint, "/v3/auth/authenticate",
		json_object_to_json_string_ext(who, JSON_C_TO_STRING_PLAIN), &answer, e);
	if (rc)
		return rc;
	token = json_object_get_string(json_object_object_get(answer, "token"));
	if (!token)
		return err_set(e, -VAN_E_DENIED, "etcd gave no token to user %s", etcd->user);
	pthread_mutex_lock(&etcd->lock);
	free_secret(etcd->token);
	etcd->token = xstrdup(token);
	pthread_mutex_unlock(&etcd->lock);
	return 0;
}

int etcd_call(struct etcd_conn *c, size_t endpoint, const char *path, const char *body,
	struct json_object **ret_answer, struct err *e)
{
	struct err why = {0};
	int rc = call_once(c, endpoint, path, body, ret_answer, &why);

	if (rc == -VAN_E_DENIED && wants_token(why.text)) {
		rc = etcd_authenticate(c, endpoint, &why);
		if (!rc)
			rc = call_once(c, endpoint, path, body, ret_answer, &why);
	}
	if (rc)
		return err_set(e, rc, "%s", why.text);
	return 0;
}

int etcd_call_any(struct etcd_conn *c, const char *path, const char *body,
	struct json_object **ret_answer, struct err *e)
{
	size_t first = etcd_preferred(c->etcd), n = c->etcd->endpoint_count;
	int failure = -ECONNREFUSED;

	for (size_t i = 0; i < n && !atomic_load(&c->aborted); i++) {
		size_t at = (first + i) % n;
		int rc = etcd_call(c, at, path, body, ret_answer, e);

		if (rc == -VAN_E_TIMEOUT)
			failure = rc;
		if (rc == -ECONNREFUSED || rc == -VAN_E_TIMEOUT)
			continue;
		if (i)
			etcd_prefer(c->etcd, at);
		return rc;
	}
	return failure;
}
