/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/api.h"

#include <string.h>
#include "console-api/console.h"
#include "console-api/openapi.h"
#include "lib/json.h"
#include "lib/token.h"

static int status_ok(struct request *q)
{
	struct json_object *o = json_object_new_object();

	json_set_string(o, "status", "ok");
	return request_reply(q, 200, o);
}

int api_healthz(struct console *c, struct request *q)
{
	(void)c;
	return status_ok(q);
}

/* Ready when the store answers. */
int api_readyz(struct console *c, struct request *q)
{
	uint64_t revision;
	int rc = store_fresh(c->registry->store);

	if (!rc)
		rc = store_revision(c->registry->store, &revision);
	if (!rc)
		rc = store_writable(c->registry->store);
	return rc ? problem_from_store(&q->problem, rc) : status_ok(q);
}

int api_openapi(struct console *c, struct request *q)
{
	if (!c->openapi)
		c->openapi = openapi_text();
	q->status = 200;
	q->reply_text = c->openapi;
	q->reply_text_len = strlen(c->openapi);
	return 0;
}

int api_console(struct console *c, struct request *q)
{
	struct json_object *o = json_object_new_object();
	const uint8_t *next = tls_next_pin(c->tls);
	char pin[53], next_pin[53];

	token_pin_text(tls_pin(c->tls), pin);
	if (next)
		token_pin_text(next, next_pin);
	json_set_string(o, "id", c->registry->console_id);
	json_set_string(o, "mesh", c->registry->mesh_hex);
	json_set_string(o, "version", VAN_VERSION);
	json_set_string(o, "public_url", c->config.public_url);
	json_set_string(o, "pin", pin);
	json_set_string(o, "next_pin", next ? next_pin : NULL);
	return request_reply(q, 200, o);
}
