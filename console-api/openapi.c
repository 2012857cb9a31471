/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a row of the table implies is said here once: which role, parameters and failures an
 * operation has. components/parameters/NAME describes a parameter of that name where there is one;
 * components/responses/STATUS are the failures.
 */
#include "console-api/openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/embed.h"
#include "console-api/routes.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define WORD_MAX 64

static struct json_object *reference(const char *kind, const char *name)
{
	struct json_object *o = json_object_new_object();
	char text[128];

	snprintf(text, sizeof(text), "#/components/%s/%s", kind, name);
	json_set_string(o, "$ref", text);
	return o;
}

static struct json_object *member(struct json_object *o, const char *name)
{
	struct json_object *found = json_object_object_get(o, name);

	if (!found) {
		found = json_object_new_object();
		json_object_object_add(o, name, found);
	}
	return found;
}

/* The next of a list of words; false at its end. */
static bool next_word(const char **at, char ret_word[WORD_MAX])
{
	size_t len;

	if (!*at)
		return false;
	*at += strspn(*at, " ");
	len = strcspn(*at, " ");
	if (!len || len >= WORD_MAX)
		return false;
	memcpy(ret_word, *at, len);
	ret_word[len] = '\0';
	*at += len;
	return true;
}

/* -- parameters -- */

/* Of the components. */
struct builder {
	struct json_object *parameters;
	struct json_object *schemas;
};

static struct json_object *plain_parameter(const char *name, const char *in)
{
	struct json_object *o = json_object_new_object();
	struct json_object *schema = json_object_new_object();

	json_set_string(o, "name", name);
	json_set_string(o, "in", in);
	if (!strcmp(in, "path"))
		json_set_bool(o, "required", true);
	json_set_string(schema, "type", "string");
	json_object_object_add(o, "schema", schema);
	return o;
}

static void add_parameter(
	const struct builder *b, struct json_object *array, const char *name, const char *in)
{
	struct json_object *known = json_object_object_get(b->parameters, name);

	json_object_array_add(array,
		known && !strcmp(json_object_get_string(json_object_object_get(known, "in")), in)
			? reference("parameters", name)
			: plain_parameter(name, in));
}

static void add_path_parameters(
	const struct builder *b, const struct route *route, struct json_object *array)
{
	for (const char *at = strchr(route->path, '{'); at; at = strchr(at + 1, '{')) {
		char name[WORD_MAX];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at + 1, "}"), at + 1);
		add_parameter(b, array, name, "path");
	}
}

static void add_sort(const struct route *route, struct json_object *array)
{
	struct json_object *o = plain_parameter("sort", "query");
	struct json_object *values = json_object_new_array();
	const char *at = route->sorts;
	char word[WORD_MAX], down[WORD_MAX + 1];

	while (next_word(&at, word)) {
		snprintf(down, sizeof(down), "-%s", word);
		json_object_array_add(values, json_object_new_string(word));
		json_object_array_add(values, json_object_new_string(down));
	}
	json_object_object_add(json_object_object_get(o, "schema"), "enum", values);
	json_object_array_add(array, o);
}

static struct json_object *parameters_of(const struct builder *b, const struct route *route)
{
	struct json_object *array = json_object_new_array();
	const char *at;
	char word[WORD_MAX];

	add_path_parameters(b, route, array);
	for (at = route->query; next_word(&at, word);)
		add_parameter(b, array, word, "query");
	if (route->sorts) {
		add_parameter(b, array, "limit", "query");
		add_parameter(b, array, "cursor", "query");
		if (route->sorts[0])
			add_sort(route, array);
	}
	for (at = route->filters; next_word(&at, word);)
		json_object_array_add(array, !strcmp(word, "label")
						     ? reference("parameters", "label")
						     : plain_parameter(word, "query"));
	if (route_role(route)) {
		json_object_array_add(array, reference("parameters", "organization"));
		json_object_array_add(array, reference("parameters", "VAN-Organization"));
		if (route_needs_match(route))
			json_object_array_add(array, reference("parameters", "If-Match"));
		if (route->method == METHOD_POST)
			json_object_array_add(array, reference("parameters", "Idempotency-Key"));
	}
	return array;
}

/* -- bodies and answers -- */

static void add_content(struct json_object *to, const char *media, struct json_object *schema)
{
	json_object_object_add(member(member(to, "content"), media), "schema", schema);
}

static struct json_object *request_body(const struct route *route)
{
	struct json_object *o = json_object_new_object();
	size_t len = strcspn(route->body, "?");
	char name[WORD_MAX];

	snprintf(name, sizeof(name), "%.*s", (int)len, route->body);
	json_set_bool(o, "required", !route->body[len]);
	if (route->method == METHOD_PATCH)
		add_content(o, "application/merge-patch+json", reference("schemas", name));
	add_content(o, "application/json", reference("schemas", name));
	return o;
}

static int status_of(const struct route *route)
{
	if (route->status)
		return route->status;
	if (!route->reply)
		return 204;
	return route->method == METHOD_POST ? 201 : 200;
}

/* Objects with a revision have it as their ETag. */
static bool has_revision(const struct builder *b, const char *schema)
{
	struct json_object *o = json_object_object_get(b->schemas, schema);

	return json_object_object_get(json_object_object_get(o, "properties"), "revision");
}

static void add_success(const struct builder *b, const struct route *route,
	struct json_object *responses, int status)
{
	char number[12];
	struct json_object *o;

	snprintf(number, sizeof(number), "%d", status);
	o = member(responses, number);
	json_set_string(o, "description", status == 204 ? "Done; there is nothing to say" : "Done");
	json_object_object_add(
		member(o, "headers"), "X-Request-Id", reference("headers", "X-Request-Id"));
	if (status == 204)
		return;
	if (has_revision(b, route->reply))
		json_object_object_add(member(o, "headers"), "ETag", reference("headers", "ETag"));
	add_content(o, route->media ? route->media : "application/json",
		reference("schemas", route->reply));
}

static void add_failure(struct json_object *responses, bool applies, const char *number)
{
	if (applies)
		json_object_object_add(responses, number, reference("responses", number));
}

static void add_failures(const struct route *route, struct json_object *responses)
{
	bool by_key = route_role(route) != ROLE_NONE, by_node = route->access == ACCESS_AGENT;
	bool known = route->access != ACCESS_ANYBODY, changes = route->method != METHOD_GET;
	bool enrols = route->access == ACCESS_ENROL, is_post = route->method == METHOD_POST;

	add_failure(responses, true, "400");
	add_failure(responses, known, "401");
	add_failure(responses, enrols || by_node || route_role(route) > ROLE_VIEWER, "403");
	add_failure(responses, by_key || strchr(route->path, '{'), "404");
	add_failure(responses, true, "408");
	add_failure(responses, enrols || (by_key && changes), "409");
	add_failure(responses, by_node || route->gone, "410");
	add_failure(responses, by_key && route_needs_match(route), "412");
	add_failure(responses, true, "413");
	add_failure(responses, route->body, "415");
	add_failure(responses, by_key && is_post, "422");
	add_failure(responses, by_key && route_needs_match(route), "428");
	add_failure(responses, known, "429");
	add_failure(responses, true, "503");
	add_failure(responses, changes, "507");
}

static void add_security(const struct route *route, struct json_object *operation)
{
	struct json_object *array = json_object_new_array();

	if (route_role(route)) {
		json_object_put(array); /* the document's own */
		json_set_string(operation, "x-van-role", role_name(route_role(route)));
		return;
	}
	if (route->access != ACCESS_ANYBODY) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "agentSignature", json_object_new_array());
		json_object_array_add(array, o);
	}
	json_object_object_add(operation, "security", array);
}

static struct json_object *operation_of(const struct builder *b, const struct route *route)
{
	struct json_object *o = json_object_new_object();
	struct json_object *tags = json_object_new_array();
	struct json_object *responses;

	json_set_string(o, "operationId", route->id);
	json_set_string(o, "summary", route->summary);
	json_object_array_add(tags, json_object_new_string(route->tag));
	json_object_object_add(o, "tags", tags);
	add_security(route, o);
	json_object_object_add(o, "parameters", parameters_of(b, route));
	if (route->body)
		json_object_object_add(o, "requestBody", request_body(route));
	if (route->body_max)
		json_set_int(o, "x-van-body-max", (int64_t)route->body_max);
	responses = member(o, "responses");
	add_success(b, route, responses, status_of(route));
	if (route->also)
		add_success(b, route, responses, route->also);
	add_failures(route, responses);
	return o;
}

char *openapi_text(void)
{
	static const char *const methods[] = {[METHOD_GET] = "get",
		[METHOD_POST] = "post",
		[METHOD_PATCH] = "patch",
		[METHOD_DELETE] = "delete"};
	struct embedded text = embed_openapi_json();
	CLEANUP(json) struct json_object *document = NULL;
	struct json_object *paths, *components;
	struct builder b;
	const struct route *route;

	if (json_parse(text.data, text.len, &document, NULL))
		abort(); /* a part of the program */
	components = json_object_object_get(document, "components");
	b.parameters = json_object_object_get(components, "parameters");
	b.schemas = json_object_object_get(components, "schemas");
	paths = member(document, "paths");
	for (size_t i = 0; (route = route_at(i)); i++)
		json_object_object_add(member(paths, route->path), methods[route->method],
			operation_of(&b, route));
	return xstrdup(json_object_to_json_string_ext(
		document, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}
