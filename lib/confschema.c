/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A default stands in the schema as it would stand in a file, and is read as one: there is one way
 * from text to a field. A row that is wrong in itself is a programming error and aborts at start.
 *
 * libconfig takes an integer beyond 32 bits modulo 2^32 unless it ends in "L": 4294967297 would
 * pass for port 1. So the text goes through widen_integers() first, which appends the L where it is
 * needed.
 */
#include "lib/confschema.h"

#include <ctype.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/file.h"

#define FILE_MAX_LEN (1u << 20)
#define NAME_MAX_LEN 64 /* of an option, in the table and when compared with a stranger's key */
#define TEXT_WIDTH   76 /* of comments in the example */

static void cleanup_config(config_t *c)
{
	config_destroy(c);
}

static void *field_of(const struct conf_option *o, void *config)
{
	return (char *)config + o->offset;
}

static bool has_bounds(const struct conf_option *o)
{
	return o->min != o->max;
}

/* What a value may be, as it goes on after "must be". */
static void describe(const struct conf_option *o, char *ret_text, size_t size)
{
	size_t len;

	switch (o->type) {
	case CONF_BOOL:
		snprintf(ret_text, size, "true or false");
		return;
	case CONF_INT:
		if (has_bounds(o))
			len = (size_t)snprintf(ret_text, size, "a whole number from %lld to %lld",
				(long long)o->min, (long long)o->max);
		else
			len = (size_t)snprintf(ret_text, size, "a whole number");
		if (o->word && len < size)
			snprintf(ret_text + len, size - len, ", or \"%s\"", o->word);
		return;
	case CONF_STRINGS:
		snprintf(ret_text, size, "a list of texts in quotes: [\"…\", \"…\"]");
		return;
	case CONF_STRING:
		break;
	}
	if (!o->choices) {
		if (o->max > 0)
			snprintf(ret_text, size, "a text in quotes of %lld to %lld characters",
				(long long)o->min, (long long)o->max);
		else
			snprintf(ret_text, size, "a text in quotes");
		return;
	}
	len = (size_t)snprintf(ret_text, size, "one of");
	for (size_t i = 0; o->choices[i] && len < size; i++)
		len += (size_t)snprintf(
			ret_text + len, size - len, "%s \"%s\"", i ? "," : "", o->choices[i]);
}

/* -- from a setting to a field -- */

static void free_field(const struct conf_option *o, void *config)
{
	if (o->type == CONF_STRING) {
		char **text = field_of(o, config);

		free(*text);
		*text = NULL;
	} else if (o->type == CONF_STRINGS) {
		struct conf_strings *list = field_of(o, config);

		for (size_t i = 0; i < list->count; i++)
			free(list->items[i]);
		free(list->items);
		*list = (struct conf_strings){0};
	}
}

static bool text_fits(const struct conf_option *o, const char *text)
{
	int64_t len = (int64_t)strlen(text);

	if (o->max > 0 && (len < o->min || len > o->max))
		return false;
	if (!o->choices)
		return true;
	for (size_t i = 0; o->choices[i]; i++) {
		if (strcmp(o->choices[i], text) == 0)
			return true;
	}
	return false;
}

static char *copy_text(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		abort();
	return copy;
}

static bool store_strings(
	const struct conf_option *o, const config_setting_t *setting, struct conf_strings *ret_list)
{
	int type = config_setting_type(setting);
	int count = config_setting_length(setting);
	struct conf_strings list = {0};

	if (type != CONFIG_TYPE_ARRAY && type != CONFIG_TYPE_LIST)
		return false;
	for (int i = 0; i < count; i++) {
		const config_setting_t *item = config_setting_get_elem(setting, (unsigned int)i);

		if (config_setting_type(item) != CONFIG_TYPE_STRING ||
			!text_fits(o, config_setting_get_string(item)))
			return false;
	}
	list.items = calloc((size_t)count + 1, sizeof(*list.items));
	if (!list.items)
		abort();
	for (int i = 0; i < count; i++)
		list.items[list.count++] = copy_text(config_setting_get_string_elem(setting, i));
	*ret_list = list;
	return true;
}

/* Stores the setting's value in the option's field, in place of what is there. False when it is of
 * the wrong type or out of bounds. */
static bool store(const struct conf_option *o, const config_setting_t *setting, void *config)
{
	int type = config_setting_type(setting);
	struct conf_strings list;
	int64_t number;

	switch (o->type) {
	case CONF_BOOL:
		if (type != CONFIG_TYPE_BOOL)
			return false;
		*(bool *)field_of(o, config) = config_setting_get_bool(setting);
		return true;
	case CONF_INT:
		if (o->word && type == CONFIG_TYPE_STRING &&
			strcmp(config_setting_get_string(setting), o->word) == 0) {
			*(int64_t *)field_of(o, config) = o->word_value;
			return true;
		}
		if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
			return false;
		number = type == CONFIG_TYPE_INT ? config_setting_get_int(setting)
						 : config_setting_get_int64(setting);
		if (has_bounds(o) && (number < o->min || number > o->max))
			return false;
		*(int64_t *)field_of(o, config) = number;
		return true;
	case CONF_STRING:
		if (type != CONFIG_TYPE_STRING || !text_fits(o, config_setting_get_string(setting)))
			return false;
		free_field(o, config);
		*(char **)field_of(o, config) = copy_text(config_setting_get_string(setting));
		return true;
	case CONF_STRINGS:
		if (!store_strings(o, setting, &list))
			return false;
		free_field(o, config);
		*(struct conf_strings *)field_of(o, config) = list;
		return true;
	}
	return false;
}

static void store_default(const struct conf_option *o, void *config)
{
	__attribute__((cleanup(cleanup_config))) config_t c;
	char *text;

	config_init(&c);
	if (asprintf(&text, "%s = %s;", o->name, o->default_text) < 0)
		abort();
	if (config_read_string(&c, text) != CONFIG_TRUE ||
		!store(o, config_lookup(&c, o->name), config)) {
		fprintf(stderr, "the default of option %s is wrong: %s\n", o->name,
			o->default_text);
		abort();
	}
	free(text);
}

void conf_defaults(const struct conf_schema *schema, void *ret_config)
{
	memset(ret_config, 0, schema->struct_size);
	for (const struct conf_option *o = schema->options; o->name; o++) {
		if (o->default_text)
			store_default(o, ret_config);
	}
}

void conf_free(const struct conf_schema *schema, void *config)
{
	for (const struct conf_option *o = schema->options; o->name; o++)
		free_field(o, config);
	memset(config, 0, schema->struct_size);
}

/* -- messages about keys -- */

/* How many characters must be changed, added, left out or swapped with their neighbour to make b of
 * a. */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int rows[3][NAME_MAX_LEN + 1] = {0};
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > NAME_MAX_LEN || b_len > NAME_MAX_LEN)
		return NAME_MAX_LEN;
	for (size_t i = 0; i <= a_len; i++) {
		unsigned int *now = rows[i % 3];
		const unsigned int *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

		now[0] = (unsigned int)i;
		for (size_t k = 1; k <= b_len; k++) {
			unsigned int best = i == 0 ? (unsigned int)k : last[k] + 1;

			if (i > 0) {
				unsigned int change = last[k - 1] + (a[i - 1] != b[k - 1]);

				best = change < best ? change : best;
				best = now[k - 1] + 1 < best ? now[k - 1] + 1 : best;
			}
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] &&
				before[k - 2] + 1 < best)
				best = before[k - 2] + 1;
			now[k] = best;
		}
	}
	return rows[a_len % 3][b_len];
}

static bool is_near(const char *key, const char *name)
{
	return edit_distance(key, name) <= (strlen(name) > 4 ? 2 : 1) ||
	       (strlen(key) >= 3 && (strstr(name, key) || strstr(key, name)));
}

/* The names that are near to key, or all of them where none is. */
static bool list_names(
	const struct conf_schema *schema, const char *key, char *ret_text, size_t size)
{
	bool any_near = false;
	size_t len = 0;

	for (const struct conf_option *o = schema->options; o->name; o++)
		any_near |= is_near(key, o->name);
	ret_text[0] = '\0';
	for (const struct conf_option *o = schema->options; o->name && len < size; o++) {
		if (!any_near || is_near(key, o->name))
			len += (size_t)snprintf(ret_text + len, size - len, "%s%s",
				len ? (any_near ? " or " : ", ") : "", o->name);
	}
	return any_near;
}

static int unknown_key(const struct conf_schema *schema, const char *path, unsigned int line,
	const char *key, struct err *e)
{
	char names[320];

	if (list_names(schema, key, names, sizeof(names)))
		return err_set(e, -VAN_E_CONFIG, "%s:%u: unknown key \"%.64s\": did you mean %s?",
			path, line, key, names);
	return err_set(e, -VAN_E_CONFIG, "%s:%u: unknown key \"%.64s\"; allowed are: %s", path,
		line, key, names);
}

/* -- integers beyond 32 bits -- */

/* The end of the string, comment or name that starts at p; p itself where none does. */
static const char *skip_opaque(const char *p)
{
	const char *start = p;

	if (*p == '"') {
		for (p++; *p && *p != '"'; p++) {
			if (*p == '\\' && p[1])
				p++;
		}
		return *p ? p + 1 : p;
	}
	if (*p == '#' || (*p == '/' && p[1] == '/'))
		return p + strcspn(p, "\n");
	if (*p == '/' && p[1] == '*') {
		p = strstr(p + 2, "*/");
		return p ? p + 2 : start + strlen(start);
	}
	if (isalpha((unsigned char)*p) || *p == '*') {
		while (isalnum((unsigned char)*p) || strchr("-_*", *p)) {
			if (*p == '\0')
				break;
			p++;
		}
	}
	return p;
}

/* The end of the number at p (0: none is there); *ret_wide when it is an integer that needs an "L",
 * *ret_too_wide when not even that would do. */
static size_t number_len(const char *p, bool *ret_wide, bool *ret_too_wide)
{
	size_t sign = *p == '-' || *p == '+' ? 1 : 0;
	bool hex = p[sign] == '0' && (p[sign + 1] == 'x' || p[sign + 1] == 'X');
	long long value;
	char *end;

	if (!isdigit((unsigned char)p[sign]))
		return 0;
	errno = 0;
	value = strtoll(p, &end, hex ? 16 : 10);
	*ret_too_wide = errno == ERANGE;
	*ret_wide = value > INT32_MAX || value < INT32_MIN;
	if (!hex && (*end == '.' || *end == 'e' || *end == 'E')) {
		*ret_too_wide = *ret_wide = false;
		return (size_t)(end - p) + strspn(end, "0123456789.eE+-");
	}
	if (*end == 'L') {
		*ret_wide = false;
		end += strspn(end, "L");
	}
	return (size_t)(end - p);
}

/* Copies text to *ret_text (heap) with the integers beyond 32 bits marked as such. */
static int widen_integers(const char *path, const char *text, char **ret_text, struct err *e)
{
	size_t len;
	FILE *out = open_memstream(ret_text, &len);
	unsigned int line = 1;
	int rc = 0;

	if (!out)
		return err_set(e, -ENOMEM, "%s: %s", path, err_name(-ENOMEM));
	for (const char *p = text; *p && rc == 0;) {
		bool wide = false, too_wide = false;
		const char *end = skip_opaque(p);

		if (end == p)
			end += number_len(p, &wide, &too_wide);
		if (end == p)
			end++;
		if (*p == '@')
			rc = err_set(
				e, -VAN_E_CONFIG, "%s:%u: @include is not supported", path, line);
		if (too_wide)
			rc = err_set(
				e, -VAN_E_CONFIG, "%s:%u: a number of too many digits", path, line);
		fwrite(p, 1, (size_t)(end - p), out);
		if (wide)
			fputc('L', out);
		for (; p < end; p++)
			line += *p == '\n';
	}
	if (fclose(out) != 0 && rc == 0)
		rc = err_set(e, -ENOMEM, "%s: %s", path, err_name(-ENOMEM));
	return rc;
}

/* -- files -- */

static const struct conf_option *find_option(const struct conf_schema *schema, const char *name)
{
	for (const struct conf_option *o = schema->options; o->name; o++) {
		if (strcmp(o->name, name) == 0)
			return o;
	}
	return NULL;
}

static int store_all(const struct conf_schema *schema, const char *path, const config_t *c,
	void *config, struct err *e)
{
	const config_setting_t *root = config_root_setting(c);

	for (int i = 0; i < config_setting_length(root); i++) {
		const config_setting_t *setting = config_setting_get_elem(root, (unsigned int)i);
		const char *name = config_setting_name(setting);
		unsigned int line = config_setting_source_line(setting);
		const struct conf_option *o = find_option(schema, name);
		char allowed[256];

		if (!o)
			return unknown_key(schema, path, line, name, e);
		if (store(o, setting, config))
			continue;
		describe(o, allowed, sizeof(allowed));
		return err_set(
			e, -VAN_E_CONFIG, "%s:%u: %s: must be %s", path, line, name, allowed);
	}
	for (const struct conf_option *o = schema->options; o->name; o++) {
		if (o->required && !config_setting_get_member(root, o->name))
			return err_set(e, -VAN_E_CONFIG, "%s: the key %s is required: %s", path,
				o->name, o->help);
	}
	return 0;
}

int conf_load(const struct conf_schema *schema, const char *path, void *ret_config, struct err *e)
{
	__attribute__((cleanup(cleanup_config))) config_t c;
	CLEANUP(free) char *wide_text = NULL;
	CLEANUP(free) char *text = NULL;
	size_t len;
	int rc;

	config_init(&c);
	memset(ret_config, 0, schema->struct_size);
	rc = file_read(path, FILE_MAX_LEN, &text, &len, e);
	if (rc)
		return rc;
	if (strlen(text) != len)
		return err_set(
			e, -VAN_E_CONFIG, "%s: holds a NUL character: is it a text file?", path);
	rc = widen_integers(path, text, &wide_text, e);
	if (rc)
		return rc;
	if (config_read_string(&c, wide_text) != CONFIG_TRUE)
		return err_set(e, -VAN_E_CONFIG, "%s:%d: %s (a line is: key = value;)", path,
			config_error_line(&c), config_error_text(&c));
	conf_defaults(schema, ret_config);
	rc = store_all(schema, path, &c, ret_config, e);
	if (rc)
		conf_free(schema, ret_config);
	return rc;
}

/* -- documentation -- */

/* Writes text as comment lines. */
static void print_comment(const char *text, FILE *out)
{
	size_t column = 0;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (column > 0 && column + 1 + len > TEXT_WIDTH) {
			fputc('\n', out);
			column = 0;
		}
		fprintf(out, "%s%.*s", column ? " " : "# ", (int)len, text);
		column += len + (column ? 1 : 2);
		text += len + strspn(text + len, " ");
	}
	if (column > 0)
		fputc('\n', out);
}

void conf_print_example(const struct conf_schema *schema, FILE *out)
{
	fprintf(out, "# Configuration of %s. Options that are commented out show their defaults.\n",
		schema->program);
	for (const struct conf_option *o = schema->options; o->name; o++) {
		const char *placeholder = o->type == CONF_STRING ? "\"…\""
					  : o->type == CONF_INT  ? "…"
					  : o->type == CONF_BOOL ? "false"
								 : "[]";
		char allowed[256];

		fputc('\n', out);
		print_comment(o->help, out);
		describe(o, allowed, sizeof(allowed));
		fprintf(out, "# Value: %s.%s\n", allowed, o->required ? " Required." : "");
		fprintf(out, "#%s = %s;\n", o->name,
			o->default_text ? o->default_text : placeholder);
	}
}

/* Escapes what roff would take as its own. */
static void print_roff(const char *text, FILE *out)
{
	for (const char *p = text; *p; p++) {
		if (p == text && (*p == '.' || *p == '\''))
			fputs("\\&", out);
		if (*p == '\\')
			fputs("\\e", out);
		else if (*p == '-')
			fputs("\\-", out);
		else
			fputc(*p, out);
	}
}

void conf_print_man(const struct conf_schema *schema, FILE *out)
{
	for (const struct conf_option *o = schema->options; o->name; o++) {
		char allowed[256];

		fputs(".TP\n.B ", out);
		print_roff(o->name, out);
		fputc('\n', out);
		print_roff(o->help, out);
		describe(o, allowed, sizeof(allowed));
		fputs("\nValue: ", out);
		print_roff(allowed, out);
		fputs(".\n", out);
		if (o->required)
			fputs("Required.\n", out);
		if (o->default_text) {
			fputs("Default: ", out);
			print_roff(o->default_text, out);
			fputs(".\n", out);
		}
	}
}
