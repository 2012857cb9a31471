/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/agent_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/agent.h"
#include "console-api/agent_map.h"
#include "console-api/agent_net.h"
#include "console-api/registry.h"
#include "console-api/soft.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/jsoncanon.h"

#define TRIES_MAX 4

/* -- slots -- */

void agent_view_slot(const struct registry *r, const char *net_id, char ret_slot[AGENT_SLOT_LEN])
{
	/* The random part is drawn at each start and leaves the process never. */
	snprintf(ret_slot, AGENT_SLOT_LEN, "@%s%s%.*s", r->slot, net_id[0] ? "." : "",
		NETMAP_ID_MAX, net_id);
}

void agent_view_walk(const struct registry *r, const char *text, const struct agent_view_walk *walk)
{
	char quoted[AGENT_SLOT_LEN + 1] = "\"", id[NETMAP_ID_MAX + 1];
	const char *at;
	size_t len;

	agent_view_slot(r, "", quoted + 1);
	len = strlen(quoted);
	while ((at = strstr(text, quoted))) {
		const char *end = strchr(at + len, '"');

		snprintf(id, sizeof(id), "%.*s", (int)(end - at - (ptrdiff_t)len),
			at[len] == '.' ? at + len + 1 : "");
		id[strcspn(id, "\"")] = '\0';
		walk->between(walk->ctx, text, (size_t)(at - text));
		walk->slot(walk->ctx, id);
		text = end + 1;
	}
	walk->between(walk->ctx, text, strlen(text));
}

/* -- making -- */

void agent_view_free(struct agent_view *v)
{
	if (!v)
		return;
	free(v->nets);
	free(v->text);
	free(v->before);
	free(v);
}

static void add(struct json_object *o, const char *name, struct json_object *value)
{
	if (json_object_object_add(o, name, value))
		abort();
}

/* The network without its peers. -ENOENT without a problem: the map does not show it. */
static int network_of(struct registry *r, const struct agent_net *net, const char *node_id,
	struct json_object **ret_network, struct problem *p)
{
	CLEANUP(json) struct json_object *o = json_object_new_object();
	char slot[AGENT_SLOT_LEN];
	int rc;

	json_object_object_foreach(net->head, name, value) add(o, name, json_object_get(value));
	rc = agent_map_own(r, net->id, node_id, o, p);
	if (rc)
		return rc;
	agent_view_slot(r, net->id, slot);
	json_set_string(o, "peers", slot);
	*ret_network = STEAL(o);
	return 0;
}

static int add_networks(struct registry *r, const char *node_id, struct agent_view *v,
	struct json_object *top, struct problem *p)
{
	CLEANUP(store_items) struct store_items items = {0};
	CLEANUP(json) struct json_object *waiting = json_object_new_array();
	struct json_object *networks = json_object_object_get(top, "networks");
	int rc = store_range(r->store, KEY("/node-nets/%s/", node_id), NULL, 0, &items);

	if (rc)
		return problem_from_store(p, rc);
	v->nets = xcalloc(items.count, sizeof(*v->nets));
	for (size_t i = 0; i < items.count; i++) {
		struct agent_view_net *out = &v->nets[v->net_count];
		struct json_object *network;
		struct agent_net *net;

		rc = agent_net_get(r, registry_key_tail(items.items[i].key), &net, p);
		if (!rc)
			rc = network_of(r, net, node_id, &network, p);
		if (rc == -ENOENT) {
			rc = agent_map_waiting(
				r, registry_key_tail(items.items[i].key), node_id, waiting, p);
			if (rc)
				return rc;
			continue;
		}
		if (rc)
			return rc;
		add(networks, net->id, network);
		memcpy(out->id, net->id, sizeof(out->id));
		out->head_changed = net->head_changed;
		v->net_count++;
	}
	if (json_object_array_length(waiting))
		add(top, "waiting", STEAL(waiting));
	return 0;
}

static int make(
	struct registry *r, const char *node_id, struct agent_view **ret_view, struct problem *p)
{
	struct agent_view *v = xcalloc(1, sizeof(*v));
	CLEANUP(json) struct json_object *top = NULL;
	char slot[AGENT_SLOT_LEN];
	bool active;
	int rc = agent_map_top(r, node_id, &top, &active, p);

	if (!rc) {
		add(top, "networks", json_object_new_object());
		agent_view_slot(r, "", slot);
		json_set_string(top, "number", slot);
		if (active)
			rc = add_networks(r, node_id, v, top, p);
	}
	if (!rc)
		v->text = jsoncanon(top, NULL);
	if (!rc && !v->text)
		rc = problem_from_store(p, -VAN_E_CORRUPT);
	if (rc) {
		agent_view_free(v);
		return rc == -ENOENT ? agent_gone(p) : rc;
	}
	*ret_view = v;
	return 0;
}

/* -- keeping -- */

static int mark_of(struct registry *r, const char *key, uint64_t *ret_mark, struct problem *p)
{
	CLEANUP(store_item) struct store_item item = {0};
	int rc = store_get(r->store, key, &item);

	if (rc && rc != -ENOENT)
		return problem_from_store(p, rc);
	*ret_mark = rc ? 0 : item.mod_revision;
	return 0;
}

/* Counts number, members and what presses. -ESTALE when the text is not right any more. */
static int check(struct registry *r, struct agent_view *v, struct problem *p)
{
	bool stale = !v->text;

	v->number = v->mark > v->consoles ? v->mark : v->consoles;
	v->members = 0;
	v->pressed = v->mark;
	for (size_t i = 0; i < v->net_count; i++) {
		struct agent_net *net;
		int rc = agent_net_get(r, v->nets[i].id, &net, p);

		if (rc == -ENOENT) {
			stale = true;
			continue;
		}
		if (rc)
			return rc;
		if (net->mark > v->number)
			v->number = net->mark;
		if (net->pressed > v->pressed)
			v->pressed = net->pressed;
		v->members += net->count - net->gone;
		stale |= net->head_changed != v->nets[i].head_changed;
	}
	return stale ? -ESTALE : 0;
}

/* Takes over what the fresh one has; what was becomes what was before. */
static void replace(struct agent_view *v, struct agent_view *fresh)
{
	v->number = fresh->number;
	v->mark = fresh->mark;
	v->consoles = fresh->consoles;
	v->members = fresh->members;
	v->pressed = fresh->pressed;
	free(v->nets);
	v->nets = STEAL(fresh->nets);
	v->net_count = fresh->net_count;
	if (!v->text || strcmp(v->text, fresh->text) != 0) {
		free(v->before);
		v->before = v->text;
		v->before_from = v->from;
		v->text = STEAL(fresh->text);
		v->from = v->number;
	}
	agent_view_free(fresh);
}

/* Makes it anew. -ESTALE when the store moved on meanwhile. */
static int renew(struct registry *r, const char *node_id, struct agent_view *v, uint64_t mark,
	uint64_t consoles, struct problem *p)
{
	struct agent_view *fresh = NULL;
	int rc = make(r, node_id, &fresh, p);

	if (rc)
		return rc;
	fresh->mark = mark;
	fresh->consoles = consoles;
	rc = check(r, fresh, p);
	if (rc) {
		agent_view_free(fresh);
		return rc;
	}
	replace(v, fresh);
	return 0;
}

/* The one that is kept and not known to be stale, or NULL. */
static struct agent_view *fresh_view(const struct registry *r, const char *node_id)
{
	const struct soft_node *soft = soft_find(r->soft, node_id);
	struct agent_view *v = soft ? soft->view : NULL;

	return v && v->text && !v->stale && v->turn == r->consoles_turn ? v : NULL;
}

/* The same, brought up to date. -ESTALE when the store moved on meanwhile. */
static int make_fresh(
	struct registry *r, const char *node_id, struct agent_view **ret_view, struct problem *p)
{
	uint64_t mark, consoles;
	struct soft_node *soft;
	struct agent_view *v;
	int rc = mark_of(r, KEY("/maprev/node/%s", node_id), &mark, p);

	if (!rc && !mark)
		return agent_gone(p);
	if (!rc)
		rc = mark_of(r, "/maprev/consoles", &consoles, p);
	if (rc)
		return rc;
	soft = soft_node(r->soft, node_id);
	if (!soft->view)
		soft->view = xcalloc(1, sizeof(*soft->view));
	v = soft->view;
	rc = v->mark == mark && v->consoles == consoles ? check(r, v, p) : -ESTALE;
	if (rc == -ESTALE)
		rc = renew(r, node_id, v, mark, consoles, p);
	if (rc)
		return rc;
	v->stale = false;
	v->turn = r->consoles_turn;
	*ret_view = v;
	return 0;
}

int agent_view_get(struct registry *r, const char *node_id, const struct agent_view **ret_view,
	struct problem *p)
{
	struct agent_view *v;
	int rc;

	agent_nets_trim(&r->nets);
	v = fresh_view(r, node_id);
	rc = v ? check(r, v, p) : -ESTALE;
	for (int i = 0; i < TRIES_MAX && rc == -ESTALE; i++)
		rc = make_fresh(r, node_id, &v, p);
	if (rc)
		return rc == -ESTALE ? problem_from_store(p, -EBUSY) : rc;
	*ret_view = v;
	return 0;
}
