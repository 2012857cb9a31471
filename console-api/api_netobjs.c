/* SPDX-License-Identifier: Apache-2.0 */
/* Reservations, gateways and floating IPs: the same five operations on objects of a network. */
#include "console-api/api.h"

#include "console-api/console.h"
#include "console-api/fip.h"
#include "console-api/gateway.h"
#include "console-api/netobj.h"
#include "console-api/reservation.h"

static int list(struct console *c, struct request *q, const struct netobj_kind *kind)
{
	struct json_object *o;
	int rc = netobj_list(
		c->registry, kind, q->actor.org, q->params[0], &q->page, &o, &q->problem);

	return rc ? rc : request_reply(q, 200, o);
}

static int reply_object(struct console *c, struct request *q, int status,
	const struct netobj_kind *kind, const char *ref)
{
	struct json_object *o;
	int rc = netobj_view(c->registry, kind, q->actor.org, q->params[0], ref, &o, &q->problem);

	return rc ? rc : request_reply(q, status, o);
}

static int create(struct console *c, struct request *q, const struct netobj_kind *kind)
{
	char id[NETMAP_ID_MAX + 1];
	int rc =
		netobj_create(c->registry, &q->actor, kind, q->params[0], q->json, id, &q->problem);

	return rc ? rc : reply_object(c, q, 201, kind, id);
}

static int change(struct console *c, struct request *q, const struct netobj_kind *kind)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = netobj_change(c->registry, &q->actor, kind, q->params[0], q->params[1], q->json,
		q->if_match, id, &q->problem);

	return rc ? rc : reply_object(c, q, 200, kind, id);
}

static int delete (struct console *c, struct request *q, const struct netobj_kind *kind)
{
	int rc = netobj_delete(
		c->registry, &q->actor, kind, q->params[0], q->params[1], q->if_match, &q->problem);

	return rc ? rc : request_reply_none(q);
}

int api_reservation_list(struct console *c, struct request *q)
{
	return list(c, q, &reservation_kind);
}

int api_reservation_create(struct console *c, struct request *q)
{
	return create(c, q, &reservation_kind);
}

int api_reservation_get(struct console *c, struct request *q)
{
	return reply_object(c, q, 200, &reservation_kind, q->params[1]);
}

int api_reservation_change(struct console *c, struct request *q)
{
	return change(c, q, &reservation_kind);
}

int api_reservation_delete(struct console *c, struct request *q)
{
	return delete (c, q, &reservation_kind);
}

int api_gateway_list(struct console *c, struct request *q)
{
	return list(c, q, &gateway_kind);
}

int api_gateway_candidates(struct console *c, struct request *q)
{
	struct json_object *o;
	int rc = gateway_candidates(
		c->registry, q->actor.org, q->params[0], &q->page, &o, &q->problem);

	return rc ? rc : request_reply(q, 200, o);
}

int api_gateway_create(struct console *c, struct request *q)
{
	return create(c, q, &gateway_kind);
}

int api_gateway_get(struct console *c, struct request *q)
{
	return reply_object(c, q, 200, &gateway_kind, q->params[1]);
}

int api_gateway_change(struct console *c, struct request *q)
{
	return change(c, q, &gateway_kind);
}

int api_gateway_delete(struct console *c, struct request *q)
{
	return delete (c, q, &gateway_kind);
}

int api_fip_list(struct console *c, struct request *q)
{
	return list(c, q, &fip_kind);
}

int api_fip_create(struct console *c, struct request *q)
{
	return create(c, q, &fip_kind);
}

int api_fip_get(struct console *c, struct request *q)
{
	return reply_object(c, q, 200, &fip_kind, q->params[1]);
}

int api_fip_change(struct console *c, struct request *q)
{
	return change(c, q, &fip_kind);
}

int api_fip_delete(struct console *c, struct request *q)
{
	return delete (c, q, &fip_kind);
}
