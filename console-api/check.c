/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything is read into a store in memory first, so that all of it is of one moment; then each key
 * is looked at by the rule for its kind (check_rules.c), which looks up in that store what must be
 * there besides. Rows of the audit trail, which are many, stay where they are: that they are whole is
 * a matter of their own walk.
 */
#include "console-api/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/audit.h"
#include "console-api/check_rules.h"
#include "console-api/store_sqlite.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define PROGRESS_STEP 1000u
#define KEY_TEXT_MAX  1024

void check_fault(struct check *c, const char *key, const char *fmt, ...)
{
	char line[KEY_TEXT_MAX + 512];
	int len = snprintf(line, sizeof(line), "%.*s: ", KEY_TEXT_MAX, key);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + len, sizeof(line) - (size_t)len, fmt, ap);
	va_end(ap);
	c->result.faults++;
	c->fault(c->ctx, line);
}

/* -- reading -- */

struct reading {
	struct check *c;
	transfer_progress *progress;
	void *ctx;
	uint64_t all;
	int rc;
};

static bool keep(void *ctx, const struct store_item *item)
{
	struct reading *r = ctx;

	if (++r->c->result.keys % PROGRESS_STEP == 0 && r->progress)
		r->progress(r->ctx, r->c->result.keys, r->all);
	if (!strncmp(item->key, "/audit/", strlen("/audit/")) ||
		!strncmp(item->key, "/audit-at/", strlen("/audit-at/")))
		return true;
	r->rc = store_sqlite_fill(r->c->s, item);
	return !r->rc;
}

/* -- looking -- */

/* Cuts a copy of the key at its slashes. False for one that is no key of ours. */
static bool split_key(const char *key, char *copy, size_t size, struct check_item *ret_item)
{
	struct check_item item = {.key = key, .part = {"", "", "", "", ""}};
	char *at = copy;

	if (key[0] != '/' || strlen(key) >= size)
		return false;
	memcpy(copy, key, strlen(key) + 1);
	while (at) {
		if (item.parts == CHECK_PARTS)
			return false;
		*at++ = '\0';
		item.part[item.parts++] = at;
		at = strchr(at, '/');
	}
	*ret_item = item;
	return true;
}

static bool look(void *ctx, const struct store_item *stored)
{
	struct check *c = ctx;
	CLEANUP(json) struct json_object *value = NULL;
	const struct check_rule *rule;
	struct check_item item;
	char copy[KEY_TEXT_MAX];

	if (!split_key(stored->key, copy, sizeof(copy), &item)) {
		check_fault(c, stored->key, "is no key of a registry");
		return true;
	}
	rule = check_rule_find(item.part[0]);
	if (!rule || (rule->parts && rule->parts != item.parts)) {
		check_fault(c, stored->key, "is no key of this version's registry");
		return true;
	}
	if (!rule->is_text && json_parse(stored->value, strlen(stored->value), &value, NULL)) {
		check_fault(c, stored->key, "its value is no JSON");
		return true;
	}
	item.value = value;
	if (rule->look)
		rule->look(c, &item);
	return true;
}

static void on_audit_fault(void *ctx, const char *line)
{
	check_fault(ctx, "/audit", "%s", line);
}

static void look_at_audit(struct check *c, struct store *s, struct err *e, int *rc)
{
	struct audit_report report = {.fault = on_audit_fault, .ctx = c};

	*rc = audit_verify(s, &report);
	if (*rc)
		err_set(e, *rc, "cannot read the store: %s", err_name(*rc));
	audit_report_done(&report);
}

int check_store(struct store *s, void (*fault)(void *ctx, const char *line), void *ctx,
	transfer_progress *progress, void *progress_ctx, struct check_result *ret_result,
	struct err *e)
{
	struct check c = {.fault = fault, .ctx = ctx};
	struct reading r = {.c = &c, .progress = progress, .ctx = progress_ctx};
	int rc = store_sqlite_open(":memory:", &c.s, e);

	if (rc)
		return rc;
	rc = store_count(s, "/", &r.all);
	if (!rc)
		rc = store_walk(s, keep, &r, NULL);
	if (!rc)
		rc = r.rc;
	if (rc)
		err_set(e, rc, "cannot read the store: %s", err_name(rc));
	if (!rc)
		rc = store_walk(c.s, look, &c, NULL);
	store_close(c.s);
	if (!rc)
		look_at_audit(&c, s, e, &rc);
	if (!rc)
		*ret_result = c.result;
	return rc;
}
