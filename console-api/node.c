/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/member.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/log.h"

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
	*ret_key = key;
	return 0;
}

int node_by_ref(
	struct registry *r, const char *ref, char ret_id[NETMAP_ID_MAX + 1], struct problem *p)
{
	return registry_resolve(r, "node", ref, ret_id, p);
}

/* -- views -- */

static void copy_member(struct json_object *to, struct json_object *from, const char *name)
{
	json_object_object_add(to, name, json_object_get(json_object_object_get(from, name)));
}

void node_view_soft(struct registry *r, struct json_object *node, struct json_object *view)
{
	const char *id = record_text(node, "id");
	const struct soft_node *soft = soft_find(r->soft, id);
	char text[21];

	json_set_bool(view, "online", soft_online(r->soft, id, clock_boottime_ns()));
	if (soft && soft->seen_wall_ns)
		clock_format_rfc3339(soft->seen_wall_ns, text);
	json_set_string(view, "last_seen", soft && soft->seen_wall_ns ? text : NULL);
	copy_member(view, node, "teps");
	copy_member(view, node, "nat");
	copy_member(view, node, "version");
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
		return problem_set(p, 404, "not_found", "there is no node \"%s\"", id);
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
	copy_member(view, rec.o, "created_at");
	json_set_int(view, "revision", (int64_t)rec.mod_revision);
	if (ret_revision)
		*ret_revision = rec.mod_revision;
	*ret_view = STEAL(view);
	return 0;
}

int node_list(struct registry *r, const struct page *page, struct json_object **ret_list,
	struct problem *p)
{
	CLEANUP(store_items) struct store_items names = {0};
	CLEANUP(json) struct json_object *items = json_object_new_array();
	const char *last = NULL;
	int rc = store_range(r->store, "/names/node/",
		page->after ? KEY("/names/node/%.64s", page->after) : NULL, page->limit, &names);

	if (rc)
		return problem_from_store(p, rc);
	for (size_t i = 0; i < names.count; i++) {
		char id[NETMAP_ID_MAX + 1];
		struct json_object *view = NULL;

		last = registry_key_tail(names.items[i].key);
		rc = node_by_ref(r, last, id, p);
		if (!rc)
			rc = node_view(r, id, &view, NULL, p);
		if (rc == -VAN_E_NOT_FOUND)
			continue;
		if (rc)
			return rc;
		json_object_array_add(items, view);
	}
	*ret_list = page_result(STEAL(items), names.more, last);
	return 0;
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

static int lowest_free_suffix(
	struct registry *r, const char *base, unsigned int *ret_n, struct problem *p)
{
	CLEANUP(store_items) struct store_items names = {0};
	int rc = store_range(r->store, KEY("/names/node/%s-", base), NULL, 0, &names);

	if (rc)
		return problem_from_store(p, rc);
	*ret_n = lowest_free(base, &names);
	return 0;
}

int node_build_name(struct registry *r, struct store_txn *txn, const char *wish,
	char ret_name[NETMAP_NAME_MAX + 1], struct problem *p)
{
	char base[NETMAP_NAME_MAX + 1], id[NETMAP_ID_MAX + 1];
	unsigned int n = 0;
	int rc;

	if (netmap_name_valid(wish))
		snprintf(base, sizeof(base), "%.*s", NETMAP_NAME_MAX, wish);
	else
		node_label(wish, base);
	rc = registry_index(r, KEY("/names/node/%s", base), id, NULL, p);
	if (!rc) {
		node_label(base, base); /* room for the suffix */
		rc = lowest_free_suffix(r, base, &n, p);
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
	store_txn_expect(txn, KEY("/names/node/%s", ret_name), 0);
	return 0;
}

int node_build_rename(struct registry *r, struct store_txn *txn, struct record *rec,
	const char *name, struct problem *p)
{
	const char *id = record_text(rec->o, "id");
	char holder[NETMAP_ID_MAX + 1];
	int rc = registry_index(r, KEY("/names/node/%s", name), holder, NULL, p);

	if (!rc)
		return problem_set(p, 409, "name_taken",
			"there is a node \"%s\" already: choose another name", name);
	if (rc != -ENOENT)
		return rc;
	store_txn_expect(txn, KEY("/names/node/%s", name), 0);
	store_txn_expect(txn, KEY("/nodes/%s", id), rec->mod_revision);
	store_txn_delete(txn, KEY("/names/node/%s", record_text(rec->o, "name")));
	registry_put_index(txn, KEY("/names/node/%s", name), id);
	json_set_string(rec->o, "name", name);
	registry_put(txn, KEY("/nodes/%s", record_text(rec->o, "id")), rec->o);
	return registry_touch_networks_of(r, txn, record_text(rec->o, "id"), p);
}

/* -- removal -- */

struct removal {
	const struct actor *actor;
	const char *ref;
	const char *if_match;
	const char *action;
	char id[NETMAP_ID_MAX + 1];
};

static void put_tombstone(struct store_txn *txn, const char *id, struct json_object *node)
{
	CLEANUP(json) struct json_object *gone = json_object_new_object();
	char now[21];

	registry_now_text(now);
	copy_member(gone, node, "name");
	copy_member(gone, node, "sign_key");
	json_set_string(gone, "removed_at", now);
	registry_put(txn, KEY("/gone/%s", id), gone);
}

static int build_remove(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	struct removal *rm = ctx;
	CLEANUP(store_items) struct store_items nets = {0};
	CLEANUP(store_item) struct store_item maprev = {0};
	CLEANUP(record) struct record rec = {0};
	char hex[2 * KEY_LEN + 1];
	struct key key;
	int rc = node_by_ref(r, rm->ref, rm->id, p);

	if (!rc)
		rc = node_load(r, rm->id, &rec, p);
	if (rc == -ENOENT)
		return problem_set(p, 404, "not_found", "there is no node \"%.64s\"", rm->ref);
	if (!rc)
		rc = registry_match(rm->if_match, rec.mod_revision, p);
	if (rc)
		return rc;
	/* Who adds the node to a network meanwhile touches /maprev/node/ID. */
	rc = store_get(r->store, KEY("/maprev/node/%s", rm->id), &maprev);
	if (!rc)
		rc = store_range(r->store, KEY("/node-nets/%s/", rm->id), NULL, 0, &nets);
	if (rc)
		return problem_from_store(p, rc == -ENOENT ? -VAN_E_CORRUPT : rc);
	store_txn_expect(txn, KEY("/nodes/%s", rm->id), rec.mod_revision);
	store_txn_expect(txn, KEY("/maprev/node/%s", rm->id), maprev.mod_revision);
	for (size_t i = 0; i < nets.count; i++) {
		rc = member_build_remove(r, txn, registry_key_tail(nets.items[i].key), rm->id, p);
		if (rc)
			return rc == -ENOENT ? problem_from_store(p, -EBUSY) : rc;
	}
	store_txn_delete(txn, KEY("/nodes/%s", rm->id));
	store_txn_delete(txn, KEY("/names/node/%s", record_text(rec.o, "name")));
	if (key_parse(record_text(rec.o, "public_key"), &key)) {
		hash_hex(key.bytes, KEY_LEN, hex);
		store_txn_delete(txn, KEY("/node-keys/%s", hex));
	}
	if (key_parse(record_text(rec.o, "sign_key"), &key)) {
		hash_hex(key.bytes, KEY_LEN, hex);
		store_txn_delete(txn, KEY("/sign-keys/%s", hex));
	}
	store_txn_delete(txn, KEY("/ephemeral/%s", rm->id));
	store_txn_delete(txn, KEY("/maprev/node/%s", rm->id));
	put_tombstone(txn, rm->id, rec.o);
	registry_audit(
		txn, rm->actor, rm->action, "node %s (%s)", rm->id, record_text(rec.o, "name"));
	return 0;
}

int node_remove(struct registry *r, const struct actor *actor, const char *ref,
	const char *if_match, struct problem *p)
{
	struct removal rm = {
		.actor = actor, .ref = ref, .if_match = if_match, .action = "node.delete"};
	int rc = registry_transact(r, build_remove, &rm, NULL, p);

	if (!rc)
		soft_forget(r->soft, rm.id);
	return rc;
}

void node_reap_ephemeral(struct registry *r, uint64_t now_ns, size_t max)
{
	static const struct actor actor = {.who = "console"};
	CLEANUP(store_items) struct store_items marks = {0};

	if (store_range(r->store, "/ephemeral/", NULL, 0, &marks))
		return; /* logged by the store; the next turn tries again */
	for (size_t i = 0; i < marks.count && max; i++) {
		const char *id = registry_key_tail(marks.items[i].key);
		/* The value is the allowed absence in seconds. */
		uint64_t allowed_ns = strtoull(marks.items[i].value, NULL, 10) * NS_PER_S;
		struct removal rm = {.actor = &actor, .ref = id, .action = "node.expire"};
		struct soft_node *soft = soft_node(r->soft, id);
		struct problem p = {0};

		/* After a restart of the console nobody has been heard yet: count from here. */
		if (!soft->seen_ns && !soft->counted_from_ns)
			soft->counted_from_ns = now_ns;
		if (now_ns - (soft->seen_ns ? soft->seen_ns : soft->counted_from_ns) < allowed_ns)
			continue;
		max--;
		if (registry_transact(r, build_remove, &rm, NULL, &p)) {
			log_warn("cannot remove the ephemeral node %s: %s", id, p.detail);
			continue;
		}
		soft_forget(r->soft, id);
		log_info("removed the ephemeral node %s: not heard for %llu s", id,
			(unsigned long long)(allowed_ns / NS_PER_S));
	}
}
