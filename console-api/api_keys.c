/* SPDX-License-Identifier: Apache-2.0 */
/* Users and API keys. */
#include "console-api/api.h"

#include "console-api/apikey.h"
#include "console-api/console.h"
#include "console-api/user.h"

/* -- users -- */

int api_user_list(struct console *c, struct request *q)
{
	struct json_object *list;
	int rc = user_list(c->registry, q->actor.org, &q->page, &list, &q->problem);

	return rc ? rc : request_reply(q, 200, list);
}

static int reply_user(struct console *c, struct request *q, int status, const char *id)
{
	struct json_object *view;
	int rc = user_view(c->registry, id, &view, &q->problem);

	return rc ? rc : request_reply(q, status, view);
}

int api_user_create(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = user_create(c->registry, &q->actor, q->json, id, &q->problem);

	return rc ? rc : reply_user(c, q, 201, id);
}

int api_user_get(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = user_by_ref(c->registry, q->actor.org, q->params[0], id, &q->problem);

	return rc ? rc : reply_user(c, q, 200, id);
}

int api_user_change(struct console *c, struct request *q)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = user_change(
		c->registry, &q->actor, q->params[0], q->json, q->if_match, id, &q->problem);

	return rc ? rc : reply_user(c, q, 200, id);
}

int api_user_delete(struct console *c, struct request *q)
{
	int rc = user_delete(c->registry, &q->actor, q->params[0], q->if_match, &q->problem);

	return rc ? rc : request_reply_none(q);
}

/* -- keys -- */

int api_key_list(struct console *c, struct request *q)
{
	struct json_object *list;
	int rc = apikey_list(c->registry, &q->actor, &q->page, &list, &q->problem);

	return rc ? rc : request_reply(q, 200, list);
}

int api_key_create(struct console *c, struct request *q)
{
	struct json_object *view;
	int rc = apikey_create(c->registry, &q->actor, q->json, &view, &q->problem);

	return rc ? rc : request_reply(q, 201, view);
}

int api_key_get(struct console *c, struct request *q)
{
	struct json_object *view;
	int rc = apikey_view(c->registry, &q->actor, q->params[0], &view, &q->problem);

	return rc ? rc : request_reply(q, 200, view);
}

int api_key_delete(struct console *c, struct request *q)
{
	int rc = apikey_delete(c->registry, &q->actor, q->params[0], q->if_match, &q->problem);

	return rc ? rc : request_reply_none(q);
}
