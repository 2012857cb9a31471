/* SPDX-License-Identifier: Apache-2.0 */
/* The cloak as the API shows it. */
#include <string.h>
#include "console-api/cloak.h"
#include "console-api/cloak_rule.h"
#include "console-api/network.h"
#include "console-api/page.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"

static int view_rules(struct registry *r, const struct network *net, struct json_object *doc,
	uint64_t revision, struct json_object *list, struct problem *p)
{
	struct json_object *rules = json_object_object_get(doc, "rules");

	for (size_t i = 0; i < json_object_array_length(rules); i++) {
		struct json_object *view;
		int rc = cloak_rule_render(
			r, net, json_object_array_get_idx(rules, i), revision, &view, p);

		if (rc)
			return rc;
		json_object_array_add(list, view);
	}
	return 0;
}

static int load_for_view(struct registry *r, const char *org, const char *net_ref, uint64_t now_s,
	struct network *ret_net, struct json_object **ret_doc, uint64_t *ret_revision,
	struct problem *p)
{
	int rc = network_by_ref(r, org, net_ref, ret_net, p);

	if (!rc)
		rc = cloak_load(r, ret_net->id, now_s, ret_doc, ret_revision, p);
	if (!rc && !*ret_revision)
		*ret_revision = ret_net->mod_revision; /* lower than any the document will have */
	return rc;
}

int cloak_view(struct registry *r, const char *org, const char *net_ref, uint64_t now_s,
	struct json_object **ret_view, struct problem *p)
{
	CLEANUP(json) struct json_object *doc = NULL;
	CLEANUP(json) struct json_object *view = json_object_new_object();
	struct json_object *list = json_object_new_array();
	struct network net;
	uint64_t revision;
	char due[21];
	int rc = load_for_view(r, org, net_ref, now_s, &net, &doc, &revision, p);

	json_object_object_add(view, "rules", list);
	if (!rc)
		rc = view_rules(r, &net, doc, revision, list, p);
	if (rc)
		return rc;
	json_set_string(view, "id", net.id);
	json_set_string(view, "network", net.id);
	json_set_string(view, "network_name", net.spec.name);
	json_set_string(view, "state", record_text(doc, "state"));
	json_set_string(view, "scope", record_text(doc, "scope"));
	json_object_object_add(
		view, "keep_ssh", json_object_get(json_object_object_get(doc, "keep_ssh")));
	clock_format_rfc3339((uint64_t)record_int(doc, "due_s") * NS_PER_S, due);
	json_set_string(
		view, "confirm_by", !strcmp(record_text(doc, "state"), "pending") ? due : NULL);
	json_object_object_add(
		view, "changed_at", json_object_get(json_object_object_get(doc, "changed_at")));
	json_set_string(view, "created_at", net.created_at);
	json_set_int(view, "revision", (int64_t)revision);
	*ret_view = STEAL(view);
	return 0;
}

int cloak_rule_view(struct registry *r, const char *org, const char *net_ref, const char *id,
	uint64_t now_s, struct json_object **ret_view, struct problem *p)
{
	CLEANUP(json) struct json_object *doc = NULL;
	struct network net;
	uint64_t revision;
	size_t at;
	int rc = load_for_view(r, org, net_ref, now_s, &net, &doc, &revision, p);

	if (rc)
		return rc;
	at = cloak_rule_place(json_object_object_get(doc, "rules"), id);
	if (at == json_object_array_length(json_object_object_get(doc, "rules")))
		return cloak_rule_missing(&net, id, p);
	return cloak_rule_render(r, &net,
		json_object_array_get_idx(json_object_object_get(doc, "rules"), at), revision,
		ret_view, p);
}

int cloak_rule_list(struct registry *r, const char *org, const char *net_ref, uint64_t now_s,
	const struct page *page, struct json_object **ret_list, struct problem *p)
{
	CLEANUP(json) struct json_object *doc = NULL;
	CLEANUP(json) struct json_object *items = json_object_new_array();
	struct json_object *rules, *view;
	const char *last = NULL;
	struct network net;
	uint64_t revision;
	size_t i = 0, count;
	int rc = load_for_view(r, org, net_ref, now_s, &net, &doc, &revision, p);

	if (rc)
		return rc;
	rules = json_object_object_get(doc, "rules");
	count = json_object_array_length(rules);
	if (page->after && (i = cloak_rule_place(rules, page->after)) == count)
		return problem_set(p, 400, "invalid",
			"cursor: the rules were changed meanwhile, list them from the start");
	for (i += page->after != NULL; i < count && json_object_array_length(items) < page->limit;
		i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);

		rc = cloak_rule_render(r, &net, rule, revision, &view, p);
		if (rc)
			return rc;
		last = record_text(rule, "id");
		json_object_array_add(items, view);
	}
	*ret_list = json_object_new_object();
	json_object_object_add(*ret_list, "items", STEAL(items));
	json_set_string(*ret_list, "next", i < count ? last : NULL);
	return 0;
}
