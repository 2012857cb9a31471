// SPDX-License-Identifier: Apache-2.0
#include "vanctl/cmd_resource.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "vanctl/api.h"

/* -- paths -- */

char *resource_path(struct vanctl *v, const char *folder, const char *ref)
{
	CLEANUP(free) char *network = api_path("networks", v->args->text[OPT_NETWORK], NULL);
	CLEANUP(free) char *encoded = api_encode(ref ? ref : "");
	char *path;

	if (!network || !encoded ||
		asprintf(&path, "%s/%s%s%s", network, folder, ref ? "/" : "", encoded) < 0)
		return NULL;
	return path;
}

char *resource_query(char *path, const char *name, const char *value)
{
	CLEANUP(free) char *encoded = value ? api_encode(value) : NULL;
	char *longer = NULL;

	if (!path || !value)
		return path;
	if (!encoded || asprintf(&longer, "%s%c%s=%s", path, strchr(path, '?') ? '&' : '?', name,
				encoded) < 0)
		longer = NULL;
	free(path);
	return longer;
}

static int64_t whole_seconds(int64_t ms)
{
	return (ms + 999) / 1000;
}

char *resource_confirm_query(struct vanctl *v, char *path)
{
	char seconds[24];

	if (!v->args->set[OPT_CONFIRM_WITHIN])
		return path;
	snprintf(seconds, sizeof(seconds), "%lld",
		(long long)whole_seconds(v->args->number[OPT_CONFIRM_WITHIN]));
	return resource_query(path, "confirm_within_s", seconds);
}

/* Adds "MEMBER=VALUE,MEMBER=VALUE"; all labels are one parameter, as the console wants them. */
static char *filter_query(char *path, const char *filter)
{
	CLEANUP(free) char *labels = calloc(strlen(filter) + 1, 1);

	if (!labels) {
		free(path);
		return NULL;
	}
	while (*filter) {
		size_t len = strcspn(filter, ",");
		CLEANUP(free) char *one = strndup(filter, len);
		char *value = one ? strchr(one, '=') : NULL;

		filter += len + (filter[len] == ',');
		if (!value)
			continue; /* the parser let none of these through */
		*value++ = '\0';
		if (strcmp(one, "label") == 0) {
			strcat(labels, *labels ? "," : "");
			strcat(labels, value);
		} else {
			path = resource_query(path, one, value);
		}
	}
	return resource_query(path, "label", *labels ? labels : NULL);
}

/* -- calls -- */

int resource_call(struct vanctl *v, const char *method, char *path_taken, struct json_object *body,
	struct json_object **ret_object, struct err *e)
{
	CLEANUP(free) char *path = path_taken;
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	return rc ? rc : api_call(&api, method, path, body, ret_object, e);
}

int resource_list(struct vanctl *v, char *path_taken, const struct view *view, const char *none,
	struct err *e)
{
	const struct command_args *args = v->args;
	char *sorted = resource_query(
		path_taken, "sort", args->set[OPT_SORT] ? args->text[OPT_SORT] : NULL);
	CLEANUP(free)
	char *path = args->set[OPT_FILTER] ? filter_query(sorted, args->text[OPT_FILTER]) : sorted;
	CLEANUP(json) struct json_object *list = NULL;
	CLEANUP(api) struct api api = {0};
	int rc = api_open(v, &api, e);

	if (!rc)
		rc = api_list(&api, path, &list, e);
	if (rc)
		return rc;
	output_list(&v->output, view, list);
	if (!json_object_array_length(output_member(list, "items")))
		vanctl_say(v, "%s", args->set[OPT_FILTER] ? "Nothing fits the filter." : none);
	return 0;
}

int resource_show(struct vanctl *v, char *path, const struct view *view, struct err *e)
{
	CLEANUP(json) struct json_object *found = NULL;
	int rc = resource_call(v, "GET", path, NULL, &found, e);

	if (!rc)
		output_record(&v->output, view, found);
	return rc;
}

int resource_send(struct vanctl *v, const char *method, char *path, struct json_object *body,
	const struct view *view, struct err *e)
{
	CLEANUP(json) struct json_object *answer = NULL;
	int rc = resource_call(v, method, path, body, &answer, e);

	if (!rc)
		output_row(&v->output, view, answer);
	return rc;
}

int resource_delete(struct vanctl *v, char *path, struct err *e, const char *fmt, ...)
{
	int rc = resource_call(v, "DELETE", path, NULL, NULL, e);
	char text[512];
	va_list ap;

	if (rc)
		return rc;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	vanctl_say(v, "%s", text);
	return 0;
}

int resource_issue(struct vanctl *v, char *path, struct json_object *body, const char *member,
	const char *hint, struct err *e)
{
	CLEANUP(json) struct json_object *issued = NULL;
	struct json_object *secret;
	int rc = resource_call(v, "POST", path, body, &issued, e);

	if (rc)
		return rc;
	secret = output_member(issued, member);
	if (!json_object_is_type(secret, json_type_string))
		return err_set(e, -VAN_E_PROTOCOL, "the console's answer holds no %s", member);
	if (v->output.writer == &output_json)
		output_with(&v->output, NULL, issued);
	else
		fprintf(v->out, "%s\n", json_object_get_string(secret));
	vanctl_say(v, "%s", hint);
	sodium_memzero(
		(char *)json_object_get_string(secret), (size_t)json_object_get_string_len(secret));
	return 0;
}

/* -- bodies -- */

struct json_object *resource_words(const char *text)
{
	struct json_object *list = json_object_new_array();

	while (*text) {
		size_t len = strcspn(text, ",");

		json_object_array_add(list, json_object_new_string_len(text, (int)len));
		text += len + (text[len] == ',');
	}
	return list;
}

/* "env=prod,old-": {"env": "prod", "old": null}; of numbers, "a=5,b-": {"a": 5, "b": null}. */
static struct json_object *pairs_patch(const char *text, bool numbers)
{
	struct json_object *patch = json_object_new_object();

	while (*text) {
		size_t len = strcspn(text, ",");
		CLEANUP(free) char *one = strndup(text, len);
		char *value = one ? strchr(one, '=') : NULL;

		text += len + (text[len] == ',');
		if (!one)
			abort();
		if (value)
			*value++ = '\0';
		else
			one[len - 1] = '\0'; /* the parser saw the hyphen */
		if (value && numbers)
			json_set_int(patch, one, strtoll(value, NULL, 10));
		else
			json_set_string(patch, one, value);
	}
	return patch;
}

static void set_member(struct vanctl *v, struct json_object *body, const struct body_row *row)
{
	const char *text = v->args->text[row->option];
	int64_t number = v->args->number[row->option];

	switch (option_table[row->option].kind) {
	case VALUE_INT:
		json_set_int(body, row->member, number);
		break;
	case VALUE_DURATION:
		json_set_int(body, row->member, whole_seconds(number));
		break;
	case VALUE_YES_NO:
		json_set_bool(body, row->member, strcmp(text, "yes") == 0);
		break;
	case VALUE_WORDS:
		json_object_object_add(body, row->member, resource_words(text));
		break;
	case VALUE_LABELS:
	case VALUE_NUMBERS:
		json_object_object_add(body, row->member,
			pairs_patch(text, option_table[row->option].kind == VALUE_NUMBERS));
		break;
	default:
		json_set_string(body, row->member, text);
	}
}

struct json_object *resource_body(struct vanctl *v, const struct body_row *rows)
{
	struct json_object *body = json_object_new_object();

	for (; rows->option != OPT_END; rows++)
		if (v->args->set[rows->option])
			set_member(v, body, rows);
	return body;
}

/* "--name, --mtu" of those that the command takes. */
static void list_options(const struct body_row *rows, char *ret_text, size_t size)
{
	size_t len = 0;

	ret_text[0] = '\0';
	for (; rows->option != OPT_END && len < size; rows++)
		len += (size_t)snprintf(ret_text + len, size - len, "%s--%s", len ? ", " : "",
			option_table[rows->option].name);
}

/* Null for every option that --unset names. */
static int unset(
	const char *names, const struct body_row *rows, struct json_object *body, struct err *e)
{
	CLEANUP(json) struct json_object *list = resource_words(names);
	char options[256];

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(list, i));
		const struct body_row *row = rows;

		while (row->option != OPT_END && strcmp(option_table[row->option].name, name) != 0)
			row++;
		if (row->option == OPT_END) {
			list_options(rows, options, sizeof(options));
			return err_set(
				e, -VAN_E_SYNTAX, "--unset: '%.64s' is none of %s", name, options);
		}
		json_object_object_add(body, row->member, NULL);
	}
	return 0;
}

int resource_change(
	struct vanctl *v, const struct body_row *rows, struct json_object **ret_body, struct err *e)
{
	CLEANUP(json) struct json_object *body = resource_body(v, rows);
	int rc = 0;

	if (v->args->set[OPT_UNSET])
		rc = unset(v->args->text[OPT_UNSET], rows, body, e);
	if (!rc)
		*ret_body = STEAL(body);
	return rc;
}

int resource_patch(struct vanctl *v, char *path, struct json_object *body,
	const struct body_row *rows, const struct view *view, struct err *e)
{
	char options[256];

	if (json_object_object_length(body))
		return resource_send(v, "PATCH", path, body, view, e);
	free(path);
	list_options(rows, options, sizeof(options));
	return err_set(e, -VAN_E_SYNTAX, "nothing to set: give one of %s", options);
}

int resource_set(struct vanctl *v, char *path, const struct body_row *rows, const struct view *view,
	struct err *e)
{
	CLEANUP(json) struct json_object *body = NULL;
	int rc = resource_change(v, rows, &body, e);

	if (!rc)
		return resource_patch(v, path, body, rows, view, e);
	free(path);
	return rc;
}
