/* SPDX-License-Identifier: Apache-2.0 */
/* What check.c and check_rules.c share. */
#ifndef CONSOLE_API_CHECK_RULES_H
#define CONSOLE_API_CHECK_RULES_H

#include <json-c/json.h>
#include "console-api/check.h"

#define CHECK_PARTS 5 /* of a key, its first one included */

struct check {
	struct store *s; /* everything, in memory */
	void (*fault)(void *ctx, const char *line);
	void *ctx;
	struct check_result result;
};

/* One key that is being looked at. */
struct check_item {
	const char *key;
	const char *part[CHECK_PARTS]; /* "nets", ID, …; "" beyond the last one */
	size_t parts;
	struct json_object *value;
};

struct check_rule {
	const char *family; /* the first part of the key */
	size_t parts;       /* how many a key has; 0: the rule knows */
	bool is_text;       /* the value is no JSON */
	void (*look)(struct check *c, const struct check_item *item); /* NULL: nothing more */
};

/* The rule for a family of keys, or NULL: nobody may put such keys. */
const struct check_rule *check_rule_find(const char *family);

void check_fault(struct check *c, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
