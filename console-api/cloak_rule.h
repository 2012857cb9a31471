/* SPDX-License-Identifier: Apache-2.0 */
/* The rules in the document of a cloak; what they are is in cloak.h. */
#ifndef CONSOLE_API_CLOAK_RULE_H
#define CONSOLE_API_CLOAK_RULE_H

#include <json-c/json.h>
#include <stdbool.h>
#include "console-api/network.h"

struct form;
struct netconf;

/* Reads a rule to the form's end; *ret_rule is it in canonical form, without id, owned by the
 * caller. */
int cloak_rule_settle(
	struct netconf *conf, struct form *f, struct json_object **ret_rule, struct problem *p);
/* Gives it the id and created_at of another, or fresh ones (NULL). */
void cloak_rule_name(struct json_object *rule, struct json_object *like);

bool cloak_rule_allows(struct json_object *rule);
/* The rule of a list that does the same to the same traffic, or NULL; borrowed. */
struct json_object *cloak_rule_find(struct json_object *rules, struct json_object *rule);
/* Is there one that does, at the same place in the order? */
bool cloak_rule_same_in(struct json_object *rules, struct json_object *rule);
/* The place of the rule of this id in a list, or the list's length. */
size_t cloak_rule_place(struct json_object *rules, const char *id);
/* 404 for a rule that is not there. */
int cloak_rule_missing(const struct network *net, const char *id, struct problem *p);
/* For json_object_array_sort(): the order in which rules are looked at. */
int cloak_rule_order(const void *a, const void *b);

/* One line for people: "allow tcp 443 from 192.0.2.0/24"; names: of nodes, by id. */
void cloak_rule_format(
	struct json_object *rule, struct json_object *names, char *ret_text, size_t size);
/* The API's object. */
int cloak_rule_render(struct registry *r, const struct network *net, struct json_object *rule,
	uint64_t revision, struct json_object **ret_view, struct problem *p);

#endif
