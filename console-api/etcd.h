/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of etcd v3 through its JSON gateway (https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/):
 * every call is a POST of JSON, keys and values in base64, 64-bit numbers as strings, members that
 * are zero left out.
 *
 * One struct etcd is what is known of the cluster, for all threads; each thread that makes calls
 * has a struct etcd_conn of its own.
 */
#ifndef CONSOLE_API_ETCD_H
#define CONSOLE_API_ETCD_H

#include <curl/curl.h>
#include <json-c/json.h>
#include <json-c/printbuf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/err.h"

/* All borrowed, NULL where there is none. */
struct etcd_options {
	const char *const *endpoints; /* "http[s]://HOST:PORT" */
	size_t endpoint_count;        /* at least 1 */
	const char *ca_file;
	const char *cert_file; /* of this client, with key_file */
	const char *key_file;
	const char *user;
	const char *password;
	unsigned int timeout_ms; /* of one call to one endpoint */
};

struct etcd;
struct etcd_conn;

struct etcd *etcd_new(const struct etcd_options *options);
void etcd_free(struct etcd *etcd); /* NULL is fine; after all conns */
size_t etcd_endpoint_count(const struct etcd *etcd);
const char *etcd_endpoint(const struct etcd *etcd, size_t i);
unsigned int etcd_timeout_ms(const struct etcd *etcd);
/* The endpoint that answered last: where to call first. */
size_t etcd_preferred(const struct etcd *etcd);
void etcd_prefer(struct etcd *etcd, size_t endpoint);

struct etcd_conn *etcd_conn_new(struct etcd *etcd);
void etcd_conn_free(struct etcd_conn *c); /* NULL is fine */
/* Calls in progress and later ones of this conn end within some 100 ms; for another thread. */
void etcd_conn_abort(struct etcd_conn *c);
/* Its calls may take so many times timeout_ms from now on; 1 at first. */
void etcd_conn_set_patience(struct etcd_conn *c, unsigned int times);

/*
 * One call to one endpoint: path is "/v3/…". 0 and the answer, which is the caller's, or
 *   -ECONNREFUSED   it was not sent: nothing has happened
 *   -VAN_E_TIMEOUT  it may have been carried out, or still be: no answer, or one of a member that
 *                   does not know
 *   -E2BIG          too many operations or bytes in one request
 *   -ENOSPC         etcd's quota is used up (it may have been carried out, but is over)
 *   -VAN_E_GONE     the revision asked for was compacted
 *   -VAN_E_DENIED   user, password or certificate do not suffice
 *   -VAN_E_INVALID  any other complaint
 * The last four say that nothing is under way any more.
 */
int etcd_call(struct etcd_conn *c, size_t endpoint, const char *path, const char *body,
	struct json_object **ret_answer, struct err *e);
/* The same for what may be repeated: tries every endpoint once, the preferred one first. */
int etcd_call_any(struct etcd_conn *c, const char *path, const char *body,
	struct json_object **ret_answer, struct err *e);

/* -- for streams (watch) -- */

/* Prepares an easy handle for a POST; headers are the caller's to free after it. */
void etcd_prepare(struct etcd *etcd, CURL *easy, size_t endpoint, const char *path,
	const char *body, char *url, size_t url_size, struct curl_slist **ret_headers);
/* The code above for an error object of the gateway, {"error", "message", "code"} or its like. */
int etcd_error(struct json_object *answer, struct err *e);
/* Gets a new token where user and password are set; before a stream that was denied is tried again.
 */
int etcd_authenticate(struct etcd_conn *c, size_t endpoint, struct err *e);

/* -- texts -- */

/* Appends "name":"BASE64 of prefix and key" */
void etcd_put_bytes(struct printbuf *out, const char *name, const char *prefix, const char *key);
/* The decoded text of a member, heap, NUL-terminated; "" when it is absent; NULL when it is no
 * base64. */
char *etcd_get_bytes(struct json_object *o, const char *name);
/* A number, in a string or not; 0 when it is absent. */
uint64_t etcd_get_number(struct json_object *o, const char *name);

#endif
