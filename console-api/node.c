/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/audit.h"
#include "console-api/events.h"
#include "console-api/form.h"
#include "console-api/member.h"
#include "console-api/presence.h"
#include "console-api/netconf.h"
#include "console-api/reservation.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/mergepatch.h"

#define SUFFIX_ROOM 6 /* "-99999" */

int node_load(struct registry *r, const char *id, struct record *ret_rec, struct problem *p)
{
	return registry_load(r, KEY("/nodes/%s", id), ret_rec, p);
}

int node_sign_key(struct registry *r, const char *id, struct node_key *ret_key, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	struct node_key key = {0};
	int rc = node_load(r, id, &rec, p);

	if (rc == -ENOENT) {
		key.gone = true;
		rc = registry_load(r, KEY("/gone/%s", id), &rec, p);
	}
	if (rc)
		return rc;
	if (!key_parse(record_text(rec.o, "sign_key"), &key.sign_public))
		return problem_from_store(p, -VAN_E_CORRUPT);
	snprintf(key.org, sizeof(key.org), "%s", record_org(rec.o));
	*ret_key = key;
	return 0;
}

int node_by_ref(struct registry *r, const char *org, const char *ref,
	char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	return registry_resolve(r, org, "node", ref, ret_id, p);
}

bool node_is_active(struct json_object *node)
{
	return !json_object_get_boolean(json_object_object_get(node, "disabled"));
}

/* -- views -- */

static void copy_member(struct json_object *to, struct json_object *from, const char *name)
{
	json_object_object_add(to, name, json_object_get(json_object_object_get(from, name)));
}

static struct json_object *labels_of(struct json_object *node)
{
	struct json_object *labels = json_object_object_get(node, "labels");

	return labels ? json_object_get(labels) : json_object_new_object();
}

/* Seconds since 1970; 0: never. */
static uint64_t seen_s(struct registry *r, const char *id, bool *ret_online)
{
	const struct soft_node *soft = soft_find(r->soft, id);
	uint64_t now_ns = clock_boottime_ns(), seen_s = 0;

	*ret_online =
		soft_online(r->soft, id, now_ns) || presence_elsewhere(r, id, now_ns, &seen_s);
	if (soft && soft->seen_wall_ns / NS_PER_S > seen_s)
		seen_s = soft->seen_wall_ns / NS_PER_S;
	return seen_s;
}

/* null when it was never seen. */
static struct json_object *last_seen(uint64_t seen_s)
{
	char text[21];

	if (!seen_s)
		return NULL;
	clock_format_rfc3339(seen_s * NS_PER_S, text);
	return json_object_new_string(text);
}

void node_view_soft(struct registry *r, struct json_object *node, struct json_object *view)
{
	bool online;
	uint64_t at_s = seen_s(r, record_text(node, "id"), &online);

	json_set_bool(view, "online", online);
	json_object_object_add(view, "last_seen", last_seen(at_s));
	copy_member(view, node, "teps");
	copy_member(view, node, "nat");
	copy_member(view, node, "version");
}

int node_glance(struct registry *r, const char *id, const char *member,
	struct json_object **ret_value, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	bool online;
	int rc;

	if (!strcmp(member, "last_seen")) {
		*ret_value = last_seen(seen_s(r, id, &online));
		return 0;
	}
	rc = node_load(r, id, &rec, p);
	if (!rc)
		*ret_value = json_object_get(json_object_object_get(rec.o, member));
	return rc;
}

static int networks_of(
	struct registry *r, const char *id, struct json_object *array, struct problem *p)
{
	CLEANUP(store_items) struct store_items nets = {0};
	int rc = store_range(r->store, KEY("/node-nets/%s/", id), NULL, 0, &nets);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < nets.count; i++) {
		const char *net_id = registry_key_tail(nets.items[i].key);
		CLEANUP(record) struct record net = {0};
		CLEANUP(record) struct record member = {0};
		struct json_object *o;

		rc = registry_load(r, KEY("/nets/%s", net_id), &net, p);
		if (!rc)
			rc = registry_load(r, KEY("/members/%s/%s", net_id, id), &member, p);
		if (rc == -ENOENT)
			continue; /* left meanwhile */
		if (rc)
			return rc;
		o = json_object_new_object();
		copy_member(o, net.o, "id");
		copy_member(o, net.o, "name");
		copy_member(o, member.o, "macs");
		copy_member(o, member.o, "ips");
		json_set_bool(o, "approved", member_is_active(member.o));
		json_object_array_add(array, o);
	}
	return 0;
}

int node_view(struct registry *r, const char *id, struct json_object **ret_view,
	uint64_t *ret_revision, struct problem *p)
{
	CLEANUP(record) struct record rec = {0};
	CLEANUP(json) struct json_object *view = json_object_new_object();
	struct json_object *networks = json_object_new_array();
	const struct soft_node *soft = soft_find(r->soft, id);
	int rc = node_load(r, id, &rec, p);

	json_object_object_add(view, "networks", networks);
	if (rc == -ENOENT)
		return problem_not_found(p, "node", id);
	if (!rc)
		rc = networks_of(r, id, networks, p);
	if (rc)
		return rc;
	copy_member(view, rec.o, "id");
	copy_member(view, rec.o, "name");
	copy_member(view, rec.o, "public_key");
	copy_member(view, rec.o, "sign_key");
	node_view_soft(r, rec.o, view);
	json_set_string(view, "applied", soft && soft->applied[0] ? soft->applied : NULL);
	json_set_int(view, "ephemeral_s", record_int(rec.o, "ephemeral_s"));
	json_set_bool(view, "disabled", !node_is_active(rec.o));
	json_object_object_add(view, "labels", labels_of(rec.o));
	copy_member(view, rec.o, "created_at");
	json_set_int(view, "revision", (int64_t)rec.mod_revision);
	if (ret_revision)
		*ret_revision = rec.mod_revision;
	*ret_view = STEAL(view);
	return 0;
}

static int view_listed(
	struct registry *r, const char *id, struct json_object **ret_view, struct problem *p)
{
	return node_view(r, id, ret_view, NULL, p);
}

static int glance_named(struct registry *r, void *ctx, const struct store_item *item,
	const char *member, struct json_object **ret_value, struct problem *p)
{
	char id[NETMAP_ID_MAX + 1];
	int rc = registry_index_value(item, id, p);

	(void)ctx;
	return rc ? rc : node_glance(r, id, member, ret_value, p);
}

int node_list(struct registry *r, const char *org, const struct page *asked,
	struct json_object **ret_list, struct problem *p)
{
	struct page page = *asked;

	page.glance = glance_named;
	return registry_list_named(r, org, "node", view_listed, &page, ret_list, p);
}

/* -- names -- */

void node_label(const char *wish, char ret_name[NETMAP_NAME_MAX + 1])
{
	size_t len = 0;

	/* The host's domain is no part of its name here. */
	for (; *wish && *wish != '.' && len < NETMAP_NAME_MAX - SUFFIX_ROOM; wish++) {
		char c = *wish;

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
			c = '-';
		if (c != '-' || (len && ret_name[len - 1] != '-'))
			ret_name[len++] = c;
	}
	while (len && ret_name[len - 1] == '-')
		len--;
	ret_name[len] = '\0';
	if (!len)
		memcpy(ret_name, "node", sizeof("node"));
}

/* The lowest n >= 2 for which BASE-n is not among the names, all of which start with "BASE-". */
static unsigned int lowest_free(const char *base, const struct store_items *names)
{
	size_t bound = names->count + 3; /* that many cannot all be taken */
	bool *taken = xcalloc(bound, sizeof(*taken));
	unsigned int n = 2;

	for (size_t i = 0; i < names->count; i++) {
		const char *name = registry_key_tail(names->items[i].key);
		const char *digits = name + strlen(base) + 1;
		char *end;
		unsigned long at = strtoul(digits, &end, 10);

		if (digits[0] >= '1' && digits[0] <= '9' && !*end && at < bound)
			taken[at] = true;
	}
	while (n < bound && taken[n])
		n++;
	free(taken);
	return n;
}

static int lowest_free_suffix(struct registry *r, const char *org, const char *base,
	unsigned int *ret_n, struct problem *p)
{
	CLEANUP(store_items) struct store_items names = {0};
	int rc = store_range(r->store, KEY("/names/%s/node/%s-", org, base), NULL, 0, &names);

	if (rc)
		return problem_from_store(p, rc);
	*ret_n = lowest_free(base, &names);
	return 0;
}

int node_build_name(struct registry *r, struct store_txn *txn, const char *org, const char *wish,
	char ret_name[NETMAP_NAME_MAX + 1], struct problem *p)
{
	char base[NETMAP_NAME_MAX + 1], id[NETMAP_ID_MAX + 1];
	unsigned int n = 0;
	int rc;

	if (netmap_name_valid(wish))
		snprintf(base, sizeof(base), "%.*s", NETMAP_NAME_MAX, wish);
	else
		node_label(wish, base);
	rc = registry_index(r, KEY("/names/%s/node/%s", org, base), id, NULL, p);
	if (!rc) {
		node_label(base, base); /* room for the suffix */
		rc = lowest_free_suffix(r, org, base, &n, p);
		if (rc)
			return rc;
		if (n > 99999)
			return problem_set(p, 409, "name_taken",
				"all names like \"%s\" are taken: choose another with --name",
				base);
		snprintf(ret_name, NETMAP_NAME_MAX + 1, "%.*s-%u", NETMAP_NAME_MAX - SUFFIX_ROOM,
			base, n);
	} else if (rc == -ENOENT) {
		snprintf(ret_name, NETMAP_NAME_MAX + 1, "%s", base);
	} else {
		return rc;
	}
	store_txn_expect(txn, KEY("/names/%s/node/%s", org, ret_name), 0);
	return 0;
}

/* In the networks that the node is in. */
static int rename_reservations(struct registry *r, struct store_txn *txn, const char *node_id,
	const char *from, const char *to, struct problem *p)
{
	CLEANUP(store_items) struct store_items nets = {0};
	int rc = store_range(r->store, KEY("/node-nets/%s/", node_id), NULL, 0, &nets);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < nets.count && !rc; i++)
		rc = reservation_build_rename(
			r, txn, registry_key_tail(nets.items[i].key), from, to, p);
	return rc;
}

int node_build_rename(struct registry *r, struct store_txn *txn, struct record *rec,
	const char *name, struct problem *p)
{
	const char *id = record_text(rec->o, "id"), *org = record_org(rec->o);
	int rc = registry_build_rename(
		r, txn, org, "node", record_text(rec->o, "name"), name, id, p);

	if (rc)
		return rc;
	store_txn_expect(txn, KEY("/nodes/%s", id), rec->mod_revision);
	rc = rename_reservations(r, txn, id, record_text(rec->o, "name"), name, p);
	if (rc)
		return rc;
	registry_event(txn, org, EVENT_INFO, "node", id, "%s is called %s now",
		record_text(rec->o, "name"), name);
	json_set_string(rec->o, "name", name);
	registry_put(txn, KEY("/nodes/%s", record_text(rec->o, "id")), rec->o);
	return registry_touch_networks_of(r, txn, record_text(rec->o, "id"), p);
}

/* -- change -- */

/* What a client may set. */
struct node_spec {
	char name[NETMAP_NAME_MAX + 1];
	bool disabled;
	struct json_object *labels; /* borrowed */
};

static struct json_object *spec_to_json(struct json_object *node)
{
	struct json_object *o = json_object_new_object();

	copy_member(o, node, "name");
	json_set_bool(o, "disabled", !node_is_active(node));
	json_object_object_add(o, "labels", labels_of(node));
	return o;
}

static int spec_from_json(struct json_object *o, struct node_spec *ret_spec, struct problem *p)
{
	struct form f;

	*ret_spec = (struct node_spec){0};
	form_init(&f, o, p);
	form_name(&f, "name", FORM_REQUIRED, ret_spec->name);
	form_bool(&f, "disabled", FORM_OPTIONAL, &ret_spec->disabled);
	form_labels(&f, "labels", &ret_spec->labels);
	return form_end(&f);
}

static int build_change(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct registry_edit *ed = ctx;
	CLEANUP(json) struct json_object *old = NULL;
	CLEANUP(json) struct json_object *merged = NULL;
	CLEANUP(record) struct record before = {0};
	CLEANUP(record) struct record after = {0};
	struct node_spec spec;
	int rc = registry_load_named(r, ed->actor->org, "node", ed, &before, p);

	if (!rc)
		rc = node_load(r, ed->id, &after, p);
	if (rc)
		return rc == -ENOENT ? problem_not_found(p, "node", ed->ref) : rc;
	old = spec_to_json(before.o);
	merged = mergepatch_apply(old, ed->body);
	rc = spec_from_json(merged, &spec, p);
	if (rc)
		return rc;
	if (strcmp(spec.name, record_text(before.o, "name")) != 0) {
		rc = node_build_rename(r, txn, &after, spec.name, p);
		if (rc)
			return rc;
	}
	json_set_bool(after.o, "disabled", spec.disabled);
	json_object_object_add(after.o, "labels",
		spec.labels ? json_object_get(spec.labels) : json_object_new_object());
	CLEANUP(json) struct json_object *new = spec_to_json(after.o);

	if (json_object_equal(old, new))
		return REGISTRY_NO_CHANGE;
	store_txn_expect(txn, KEY("/nodes/%s", ed->id), before.mod_revision);
	registry_put(txn, KEY("/nodes/%s", ed->id), after.o);
	registry_audit_change(txn, ed->actor, "node.change", "node", ed->id, before.o, after.o);
	if (node_is_active(before.o) == !spec.disabled)
		return 0;
	registry_event(txn, record_org(after.o), spec.disabled ? EVENT_WARNING : EVENT_INFO, "node",
		ed->id, "%s was %s", spec.name, spec.disabled ? "disabled" : "enabled");
	return registry_press_networks_of(r, txn, ed->id, p);
}

int node_change(struct registry *r, const struct actor *actor, const char *ref,
	struct json_object *patch, const char *if_match, char ret_id[NETMAP_ID_MAX + 1],
	struct problem *p)
{
	struct registry_edit ed = {.actor = actor, .ref = ref, .body = patch, .if_match = if_match};

	return registry_edit(r, build_change, &ed, ret_id, p);
}

/* -- other keys -- */

/* Swaps one of the node's keys: its member of the record, and the index by it. */
static int swap_key(struct registry *r, struct store_txn *txn, struct record *rec,
	const char *member, const char *index, const struct key *new, struct problem *p)
{
	char hex[2 * KEY_LEN + 1], text[KEY_TEXT_LEN], holder[NETMAP_ID_MAX + 1];
	const char *id = record_text(rec->o, "id");
	struct key old;
	int rc;

	if (key_parse(record_text(rec->o, member), &old)) {
		if (key_equal(&old, new))
			return 0;
		hash_hex(old.bytes, KEY_LEN, hex);
		store_txn_delete(txn, KEY("/%s/%s", index, hex));
	}
	hash_hex(new->bytes, KEY_LEN, hex);
	rc = registry_index(r, KEY("/%s/%s", index, hex), holder, NULL, p);
	if (!rc)
		return problem_set(p, 409, "key_taken",
			"the key is that of another node: every node needs an identity of its "
			"own, do not copy a state directory");
	if (rc != -ENOENT)
		return rc;
	store_txn_expect(txn, KEY("/%s/%s", index, hex), 0);
	registry_put_index(txn, KEY("/%s/%s", index, hex), id);
	key_format(new, text);
	json_set_string(rec->o, member, text);
	return 0;
}

int node_build_rekey(struct registry *r, struct store_txn *txn, struct record *rec,
	const struct key *public_key, const struct key *sign_key, struct problem *p)
{
	const char *id = record_text(rec->o, "id");
	int rc = swap_key(r, txn, rec, "public_key", "node-keys", public_key, p);

	if (!rc)
		rc = swap_key(r, txn, rec, "sign_key", "sign-keys", sign_key, p);
	if (rc)
		return rc;
	store_txn_expect(txn, KEY("/nodes/%s", id), rec->mod_revision);
	registry_put(txn, KEY("/nodes/%s", id), rec->o);
	return registry_press_networks_of(r, txn, id, p);
}

/* -- removal -- */

struct removal {
	struct registry_edit ed;
	const char *action;
	const char *absence_s; /* why, when nobody asked for it; or NULL */
};

static void put_tombstone(struct store_txn *txn, const char *id, struct json_object *node)
{
	CLEANUP(json) struct json_object *gone = json_object_new_object();
	char hex[2 * KEY_LEN + 1], now[21];
	struct key key;

	registry_now_text(now);
	copy_member(gone, node, "name");
	json_set_string(gone, "org", record_org(node));
	copy_member(gone, node, "public_key");
	copy_member(gone, node, "sign_key");
	json_set_string(gone, "removed_at", now);
	registry_put(txn, KEY("/gone/%s", id), gone);
	if (key_parse(record_text(node, "public_key"), &key)) {
		hash_hex(key.bytes, KEY_LEN, hex);
		registry_put_index(txn, KEY("/gone-keys/%s", hex), id);
	}
}

bool node_build_forget_gone(
	struct registry *r, struct store_txn *txn, const struct store_item *item, uint64_t wall_ns)
{
	CLEANUP(json) struct json_object *gone = NULL;
	char hex[2 * KEY_LEN + 1], before[21], id[NETMAP_ID_MAX + 1];
	struct problem p = {0};
	struct key key;

	clock_format_rfc3339(wall_ns - NODE_GONE_DAYS * 86400 * NS_PER_S, before);
	if (json_parse(item->value, strlen(item->value), &gone, NULL) ||
		strcmp(record_text(gone, "removed_at"), before) >= 0)
		return false;
	store_txn_expect(txn, item->key, item->mod_revision);
	store_txn_delete(txn, item->key);
	if (!key_parse(record_text(gone, "public_key"), &key))
		return true;
	hash_hex(key.bytes, KEY_LEN, hex);
	/* It may be that of a node that was removed later by now. */
	if (!registry_index(r, KEY("/gone-keys/%s", hex), id, NULL, &p) &&
		!strcmp(id, registry_key_tail(item->key)))
		store_txn_delete(txn, KEY("/gone-keys/%s", hex));
	return true;
}

static int build_remove(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct removal *rm = ctx;
	CLEANUP(store_items) struct store_items nets = {0};
	CLEANUP(store_item) struct store_item maprev = {0};
	CLEANUP(record) struct record rec = {0};
	char hex[2 * KEY_LEN + 1];
	struct key key;
	const char *id = rm->ed.id;
	int rc = registry_load_named(r, rm->ed.actor->org, "node", &rm->ed, &rec, p);

	if (rc)
		return rc;
	/* Who adds the node to a network meanwhile touches /maprev/node/ID. */
	rc = store_get(r->store, KEY("/maprev/node/%s", id), &maprev);
	if (!rc)
		rc = store_range(r->store, KEY("/node-nets/%s/", id), NULL, 0, &nets);
	if (rc)
		return problem_from_store(p, rc == -ENOENT ? -VAN_E_CORRUPT : rc);
	store_txn_expect(txn, KEY("/nodes/%s", id), rec.mod_revision);
	store_txn_expect(txn, KEY("/maprev/node/%s", id), maprev.mod_revision);
	for (size_t i = 0; i < nets.count; i++) {
		const char *net_id = registry_key_tail(nets.items[i].key);

		rc = member_build_remove(r, txn, net_id, id, p);
		if (!rc)
			rc = netconf_build_forget(r, txn, rm->ed.actor, net_id, id, p);
		if (rc)
			return rc == -ENOENT ? problem_from_store(p, -EBUSY) : rc;
	}
	store_txn_delete(txn, KEY("/nodes/%s", id));
	store_txn_delete(
		txn, KEY("/names/%s/node/%s", record_org(rec.o), record_text(rec.o, "name")));
	if (key_parse(record_text(rec.o, "public_key"), &key)) {
		hash_hex(key.bytes, KEY_LEN, hex);
		store_txn_delete(txn, KEY("/node-keys/%s", hex));
	}
	if (key_parse(record_text(rec.o, "sign_key"), &key)) {
		hash_hex(key.bytes, KEY_LEN, hex);
		store_txn_delete(txn, KEY("/sign-keys/%s", hex));
	}
	store_txn_delete(txn, KEY("/ephemeral/%s", id));
	store_txn_delete(txn, KEY("/maprev/node/%s", id));
	store_txn_delete(txn, KEY("/instances/%s", id));
	store_txn_delete(txn, KEY("/online/%s", id));
	put_tombstone(txn, id, rec.o);
	registry_audit_change(txn, rm->ed.actor, rm->action, "node", id, rec.o, NULL);
	if (rm->absence_s)
		registry_event(txn, record_org(rec.o), EVENT_INFO, "node", id,
			"%s, which is ephemeral, was not heard for %s s and is deleted",
			record_text(rec.o, "name"), rm->absence_s);
	else
		registry_event(txn, record_org(rec.o), EVENT_INFO, "node", id, "%s was deleted",
			record_text(rec.o, "name"));
	return 0;
}

int node_remove(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p)
{
	struct removal rm = {
		.ed = {.actor = actor, .ref = ref, .if_match = if_match}, .action = "node.delete"};
	int rc = registry_edit(r, build_remove, &rm.ed, NULL, p);

	if (!rc)
		soft_forget(r->soft, rm.ed.id);
	return rc;
}

void node_reap_ephemeral(struct registry *r, uint64_t now_ns, size_t max)
{
	CLEANUP(store_items) struct store_items marks = {0};

	if (store_range(r->store, "/ephemeral/", NULL, 0, &marks))
		return; /* logged by the store; the next turn tries again */
	for (size_t i = 0; i < marks.count && max; i++) {
		const char *id = registry_key_tail(marks.items[i].key);
		/* The value is the allowed absence in seconds. */
		uint64_t allowed_ns = strtoull(marks.items[i].value, NULL, 10) * NS_PER_S;
		struct actor actor = {.who = "console"};
		struct removal rm = {.ed = {.actor = &actor, .ref = id},
			.action = "node.expire",
			.absence_s = marks.items[i].value};
		CLEANUP(record) struct record rec = {0};
		struct soft_node *soft = soft_node(r->soft, id);
		struct problem p = {0};
		uint64_t heard_ns;

		/* After a restart of the console nobody has been heard yet: count from here; and
		 * from now while another console hears it. */
		if ((!soft->seen_ns && !soft->counted_from_ns) ||
			presence_elsewhere(r, id, now_ns, NULL))
			soft->counted_from_ns = now_ns;
		heard_ns = soft->seen_ns > soft->counted_from_ns ? soft->seen_ns
								 : soft->counted_from_ns;
		if (now_ns - heard_ns < allowed_ns)
			continue;
		max--;
		if (!node_load(r, id, &rec, &p))
			snprintf(actor.org, sizeof(actor.org), "%s", record_org(rec.o));
		if (registry_edit(r, build_remove, &rm.ed, NULL, &p)) {
			log_warn("cannot remove the ephemeral node %s: %s", id, p.detail);
			continue;
		}
		soft_forget(r->soft, id);
		log_info("removed the ephemeral node %s: not heard for %llu s", id,
			(unsigned long long)(allowed_ns / NS_PER_S));
	}
}
