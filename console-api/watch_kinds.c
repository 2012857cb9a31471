/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/watch_kinds.h"

#include <stdio.h>
#include <string.h>
#include "console-api/apikey.h"
#include "console-api/cloak.h"
#include "console-api/events.h"
#include "console-api/fip.h"
#include "console-api/gateway.h"
#include "console-api/jointoken.h"
#include "console-api/member.h"
#include "console-api/network.h"
#include "console-api/node.h"
#include "console-api/org.h"
#include "console-api/reservation.h"
#include "console-api/user.h"
#include "lib/cleanup.h"
#include "lib/clock.h"

static int view_network(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return network_view(r, item->id, ret_view, p);
}

static int view_node(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return node_view(r, item->id, ret_view, NULL, p);
}

static int view_member(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return member_view(r, item->org, item->network, item->id, ret_view, NULL, p);
}

static int view_token(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return jointoken_view(r, item->org, item->id, ret_view, p);
}

static int view_key(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	struct actor actor = {.role = ROLE_CONSOLE};

	memcpy(actor.org, item->org, sizeof(actor.org));
	return apikey_view(r, &actor, item->id, ret_view, p);
}

static enum role role_of_key(struct json_object *record)
{
	enum role role = ROLE_NONE;

	role_parse(record_text(record, "role"), &role);
	return role;
}

static int view_user(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return user_view(r, item->id, ret_view, p);
}

static int view_org(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return org_view(r, item->id, ret_view, p);
}

static int view_event(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	(void)r;
	(void)p;
	*ret_view = events_view(item->key, item->record);
	return 0;
}

static int view_reservation(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return netobj_view(r, &reservation_kind, item->org, item->network, item->id, ret_view, p);
}

static int view_gateway(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return netobj_view(r, &gateway_kind, item->org, item->network, item->id, ret_view, p);
}

static int view_fip(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return netobj_view(r, &fip_kind, item->org, item->network, item->id, ret_view, p);
}

static int view_cloak(struct registry *r, const struct watch_item *item,
	struct json_object **ret_view, struct problem *p)
{
	return cloak_view(r, item->org, item->network, clock_wall_ns() / NS_PER_S, ret_view, p);
}

/* At most 32 rows. */
static const struct watch_kind kinds[] = {
	{.prefix = "/orgs/",
		.name = "organization",
		.role = ROLE_VIEWER,
		.org = WATCH_ORG_IS_ID,
		.view = view_org,
		.console_sees_all = true},
	{.prefix = "/users/", .name = "user", .role = ROLE_ADMIN, .view = view_user},
	{.prefix = "/apikeys/",
		.name = "key",
		.role = ROLE_ADMIN,
		.view = view_key,
		.role_of = role_of_key},
	{.prefix = "/nets/", .name = "network", .role = ROLE_VIEWER, .view = view_network},
	{.prefix = "/nodes/", .name = "node", .role = ROLE_VIEWER, .view = view_node},
	{.prefix = "/members/",
		.name = "member",
		.role = ROLE_VIEWER,
		.org = WATCH_ORG_OF_NETWORK,
		.view = view_member},
	{.prefix = "/reservations/",
		.name = "reservation",
		.role = ROLE_VIEWER,
		.org = WATCH_ORG_OF_NETWORK,
		.view = view_reservation},
	{.prefix = "/gateways/",
		.name = "gateway",
		.role = ROLE_VIEWER,
		.org = WATCH_ORG_OF_NETWORK,
		.view = view_gateway},
	{.prefix = "/fips/",
		.name = "floating_ip",
		.role = ROLE_VIEWER,
		.org = WATCH_ORG_OF_NETWORK,
		.view = view_fip},
	{.prefix = "/cloak/",
		.name = "cloak",
		.role = ROLE_VIEWER,
		.org = WATCH_ORG_OF_NETWORK,
		.view = view_cloak},
	{.prefix = "/tokens/", .name = "token", .role = ROLE_VIEWER, .view = view_token},
	{.prefix = "/events/",
		.name = "event",
		.role = ROLE_VIEWER,
		.org = WATCH_ORG_IN_KEY,
		.view = view_event},
};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

const struct watch_kind *watch_kind_of(const char *key)
{
	for (size_t i = 0; i < KIND_COUNT; i++)
		if (!strncmp(key, kinds[i].prefix, strlen(kinds[i].prefix)))
			return &kinds[i];
	return NULL;
}

uint32_t watch_kind_bit(const struct watch_kind *kind)
{
	return 1u << (kind - kinds);
}

int watch_kinds_parse(const char *text, uint32_t *ret_bits, struct problem *p)
{
	uint32_t bits = 0;

	while (text && *text) {
		size_t len = strcspn(text, ","), i = 0;

		while (i < KIND_COUNT &&
			(strlen(kinds[i].name) != len || memcmp(kinds[i].name, text, len) != 0))
			i++;
		if (i == KIND_COUNT)
			return problem_set(p, 400, "invalid", "kind: there is no kind \"%.*s\"",
				(int)(len < 32 ? len : 32), text);
		bits |= 1u << i;
		text += len + (text[len] == ',');
	}
	*ret_bits = bits ? bits : UINT32_MAX;
	return 0;
}

static void copy_text(char *to, size_t size, const char *from, size_t len)
{
	snprintf(to, size, "%.*s", (int)len, from);
}

static bool org_of_network(struct registry *r, const char *net_id, char ret_org[NETMAP_ID_MAX + 1])
{
	CLEANUP(record) struct record rec = {0};
	struct problem p = {0};

	if (registry_load(r, KEY("/nets/%s", net_id), &rec, &p))
		return false;
	copy_text(ret_org, NETMAP_ID_MAX + 1, record_org(rec.o), NETMAP_ID_MAX);
	return true;
}

bool watch_item_of(struct registry *r, const struct watch_kind *kind, const char *key,
	struct json_object *record, struct watch_item *ret_item)
{
	const char *tail = key + strlen(kind->prefix), *id = record_text(record, "id");
	struct watch_item item = {.key = key, .record = record};
	size_t len = strcspn(tail, "/");

	if (!id[0])
		id = registry_key_tail(key);
	copy_text(item.id, sizeof(item.id), id, strlen(id));
	switch (kind->org) {
	case WATCH_ORG_IN_RECORD:
		copy_text(item.org, sizeof(item.org), record_org(record), NETMAP_ID_MAX);
		copy_text(item.network, sizeof(item.network), record_text(record, "network"),
			NETMAP_ID_MAX);
		break;
	case WATCH_ORG_OF_NETWORK:
		copy_text(item.network, sizeof(item.network), tail, len);
		if (!org_of_network(r, item.network, item.org))
			return false;
		break;
	case WATCH_ORG_IN_KEY:
		copy_text(item.org, sizeof(item.org), tail, len);
		break;
	case WATCH_ORG_IS_ID:
		copy_text(item.org, sizeof(item.org), item.id, strlen(item.id));
		break;
	}
	*ret_item = item;
	return true;
}
