/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/reload.h"

#include <string.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "vand/registry.h"
#include "vand/vand.h"

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_strings(const struct conf_strings *a, const struct conf_strings *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return true;
}

static bool same_value(const struct conf_option *o, const void *a, const void *b)
{
	const char *x = (const char *)a + o->offset, *y = (const char *)b + o->offset;

	switch (o->type) {
	case CONF_STRING:
		return same_text(*(char *const *)x, *(char *const *)y);
	case CONF_INT:
		return *(const int64_t *)x == *(const int64_t *)y;
	case CONF_BOOL:
		return *(const bool *)x == *(const bool *)y;
	case CONF_STRINGS:
		return same_strings((const struct conf_strings *)x, (const struct conf_strings *)y);
	}
	return false;
}

/* Swaps one option's value: what was in force goes with `next` and is freed with it. */
static void swap_value(const struct conf_option *o, void *config, void *next)
{
	size_t len = o->type == CONF_STRING ? sizeof(char *)
		     : o->type == CONF_INT  ? sizeof(int64_t)
		     : o->type == CONF_BOOL ? sizeof(bool)
					    : sizeof(struct conf_strings);
	char *x = (char *)config + o->offset, *y = (char *)next + o->offset;
	char keep[sizeof(struct conf_strings)];

	memcpy(keep, x, len);
	memcpy(x, y, len);
	memcpy(y, keep, len);
}

static bool takes_effect(struct vand *v, const struct conf_option *o, struct vand_config *next)
{
	enum log_level level;

	if (strcmp(o->name, "log_level") == 0) {
		swap_value(o, &v->config, next);
		if (log_level_parse(v->config.log_level, &level))
			log_set_level(level);
		return true;
	}
	if (strcmp(o->name, "advertise") == 0) {
		swap_value(o, &v->config, next);
		registry_report_soon(v->registry);
		return true;
	}
	if (strcmp(o->name, "rekey_after_s") == 0) {
		swap_value(o, &v->config, next);
		if (v->dataplane.running)
			sessions_set_rekey_after(v->dataplane.sessions,
				(uint64_t)v->config.rekey_after_s * NS_PER_S);
		return true;
	}
	return false;
}

int vand_reload_listing(struct vand *v, struct json_object *ret_restart, struct err *e)
{
	struct vand_config next;
	int rc = vand_config_load(v->config_path, &next, e);

	if (rc < 0)
		return rc;
	for (const struct conf_option *o = vand_config_schema.options; o->name; o++) {
		if (same_value(o, &v->config, &next) || takes_effect(v, o, &next))
			continue;
		log_warn("reload: %s has changed; vand must be restarted for that", o->name);
		json_object_array_add(ret_restart, json_object_new_string(o->name));
	}
	conf_free(&vand_config_schema, &next);
	log_info("configuration reloaded from %s", v->config_path);
	return 0;
}

int vand_reload(struct vand *v, struct err *e)
{
	CLEANUP(json) struct json_object *restart = json_object_new_array();

	return vand_reload_listing(v, restart, e);
}
