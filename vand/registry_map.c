/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netmaps as they come: whole, or as a patch of the one before (lib/netmap_delta.h). Patches need
 * the document that the map was read from, which may say more than this version understands; it is
 * kept as r->base, and on disk, where it is right by its hash. A patch whose result has another hash
 * than it says is thrown away, and the whole map asked for: then something went wrong on one of the
 * two sides, and the map in force stays in force until that comes.
 *
 * Networks that were left while the console was away are taken out of the map when it is applied;
 * the document keeps them for as long as the console does.
 */
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/mergepatch.h"
#include "lib/netmap_delta.h"
#include "vand/reconcile.h"
#include "vand/registry_internal.h"
#include "vand/vand.h"

static void set_base(struct registry *r, struct json_object *base)
{
	json_object_put(r->base);
	r->base = base;
}

void registry_forget_base(struct registry *r)
{
	set_base(r, NULL);
}

/* document: NULL where there is none. */
static void save(struct registry *r, const struct netmap *map, struct json_object *document)
{
	/* A map that cannot be saved is applied all the same; the state warns of it. */
	r->unsaved = state_save_netmap(r->v->state, map, document, NULL) < 0;
}

void registry_save_again(struct registry *r)
{
	const struct netmap *now = reconcile_map(r->v->reconcile);
	CLEANUP(json) struct json_object *document = NULL;

	if (!r->unsaved || !now)
		return;
	document = r->base ? netmap_delta_whole(r->base) : NULL;
	save(r, now, document);
}

static void drop_from_map(struct netmap *map, const char *network_id)
{
	for (size_t i = 0; i < map->network_count; i++) {
		if (strcmp(map->networks[i].id, network_id) != 0)
			continue;
		netmap_network_done(&map->networks[i]);
		map->network_count--;
		memmove(&map->networks[i], &map->networks[i + 1],
			(map->network_count - i) * sizeof(map->networks[0]));
		return;
	}
}

static void drop_left(const struct registry *r, struct netmap *map)
{
	const char *leaving;

	for (size_t i = 0; (leaving = state_leaving(r->v->state, i)); i++)
		drop_from_map(map, leaving);
}

void registry_drop_network(struct registry *r, const char *network_id)
{
	const struct netmap *now = reconcile_map(r->v->reconcile);
	CLEANUP(json) struct json_object *copy = NULL;
	struct netmap *map;
	struct err e = {0};

	if (!now)
		return;
	copy = netmap_to_json(now);
	if (netmap_from_json(copy, &map, &e) < 0) {
		log_error("registry: %s", e.text); /* of a map that was read once before */
		return;
	}
	drop_from_map(map, network_id);
	registry_forget_base(r);
	save(r, map, NULL);
	reconcile_apply(r->v->reconcile, map);
}

static int check_map(const struct registry *r, const struct netmap *map, struct err *e)
{
	const struct state_membership *m = state_membership(r->v->state);
	const struct netmap *now = reconcile_map(r->v->reconcile);
	const char *url = registry_url(r);

	if (memcmp(map->mesh, m->mesh, sizeof(map->mesh)) != 0 ||
		strcmp(map->node_id, m->node_id) != 0 ||
		!key_equal(&map->node_key, &r->v->identity->public))
		return err_set(e, -VAN_E_PROTOCOL,
			"the console at %s sent a netmap of another mesh or node: it is ignored",
			url);
	if (now && map->generation == now->generation && map->number < now->number)
		return err_set(e, -VAN_E_PROTOCOL,
			"the console at %s sent an older netmap than this node has: it is ignored",
			url);
	return 0;
}

static bool is_patch(const struct httpc_response *response)
{
	const char *type = response->content_type ? response->content_type : "";

	return strncmp(type, NETMAP_DELTA_TYPE, strlen(NETMAP_DELTA_TYPE)) == 0;
}

/* What the answer says, in the keyed form; NULL for a map that is no base for patches. */
static int read_document(struct registry *r, const struct httpc_response *response,
	struct json_object **ret_whole, struct json_object **ret_keyed, struct err *e)
{
	CLEANUP(json) struct json_object *o = NULL;
	CLEANUP(json) struct json_object *keyed = NULL;
	int rc = json_parse(response->body, response->body_len, &o, e);

	if (rc < 0)
		return rc;
	if (is_patch(response)) {
		keyed = r->base ? mergepatch_apply(r->base, o) : NULL;
		if (!keyed || !netmap_delta_verify(keyed))
			return err_set(e, -ESTALE,
				"the change of the netmap that %s sent does not fit: asking for the whole",
				registry_url(r));
		*ret_whole = netmap_delta_whole(keyed);
		*ret_keyed = STEAL(keyed);
		return 0;
	}
	keyed = netmap_delta_keyed(o);
	if (keyed && netmap_delta_verify(keyed))
		*ret_keyed = STEAL(keyed);
	*ret_whole = STEAL(o);
	return 0;
}

/* Another answer than this one may follow: the consoles that the map names. */
static void take_consoles(struct registry *r, const struct netmap *map)
{
	struct err e = {0};

	if (map->console_count == 0)
		return;
	if (state_set_consoles(r->v->state, map->consoles, map->console_count, &e) < 0)
		log_error("registry: %s", e.text);
	registry_read_consoles(r);
}

int registry_take_map(struct registry *r, const struct httpc_response *response, struct err *e)
{
	const struct netmap *now = reconcile_map(r->v->reconcile);
	CLEANUP(json) struct json_object *whole = NULL;
	CLEANUP(json) struct json_object *keyed = NULL;
	CLEANUP(netmap) struct netmap *map = NULL;
	bool same, patched = is_patch(response);
	int rc = read_document(r, response, &whole, &keyed, e);

	if (rc == -ESTALE) {
		registry_forget_base(r);
		return rc;
	}
	if (rc == 0)
		rc = netmap_from_json(whole, &map, e);
	if (rc < 0)
		return err_prefix(e, -VAN_E_PROTOCOL, "the netmap that the console sent");
	rc = check_map(r, map, e);
	if (rc < 0)
		return rc;
	set_base(r, STEAL(keyed));
	drop_left(r, map);
	same = now && now->generation == map->generation && now->number == map->number;
	if (!same || r->unsaved)
		save(r, map, r->base ? whole : NULL);
	if (!same)
		log_debug("registry: netmap %llu (%s, %zu bytes)", (unsigned long long)map->number,
			patched ? "a patch" : "whole", response->body_len);
	take_consoles(r, map);
	reconcile_apply(r->v->reconcile, STEAL(map));
	return 0;
}

void registry_load_map(struct registry *r)
{
	CLEANUP(json) struct json_object *document = NULL;
	CLEANUP(json) struct json_object *keyed = NULL;
	struct netmap *map;

	if (reconcile_map(r->v->reconcile))
		return;
	map = state_load_netmap(r->v->state, &document);
	if (!map)
		return;
	keyed = netmap_delta_keyed(document);
	set_base(r, keyed && netmap_delta_verify(keyed) ? STEAL(keyed) : NULL);
	drop_left(r, map);
	reconcile_apply(r->v->reconcile, map);
}
