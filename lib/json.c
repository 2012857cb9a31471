/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json-c is lenient even in its strict mode: of a key that stands twice the last one wins, integers
 * out of range are clamped, a half surrogate becomes U+FFFD, and \u0000 cuts a key short. Whoever
 * signs or checks a document with another parser would then see another document. So a scanner of
 * our own goes over the text first and takes exactly RFC 8259 with those four holes closed; json-c
 * then builds the tree from text that is known to be sound.
 *
 * The scanner recurses once a level, at most JSON_MAX_DEPTH deep. For each open object it keeps the
 * keys seen in a hash table (json-c's, whose hash is seeded at random), so that a hostile document
 * costs no more than linear time.
 */
#include "lib/json.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/utf8.h"

#define NUMBER_TEXT_MAX 64 /* characters; longer ones are nobody's measure of anything */
#define NAME_SHOWN      64 /* of a stranger's key in a message */

struct scanner {
	const char *start;
	const char *pos;
	const char *end;
	struct err *e;
};

static int scan_value(struct scanner *s, unsigned int depth);

static int scan_fail(struct scanner *s, const char *at, const char *what)
{
	size_t line = 1, column = 1;

	for (const char *p = s->start; p < at; p++) {
		column++;
		if (*p == '\n') {
			line++;
			column = 1;
		}
	}
	return err_set(s->e, -VAN_E_SYNTAX, "not valid JSON at line %zu, column %zu: %s", line,
		column, what);
}

static void skip_space(struct scanner *s)
{
	while (s->pos < s->end &&
		(*s->pos == ' ' || *s->pos == '\t' || *s->pos == '\n' || *s->pos == '\r'))
		s->pos++;
}

static bool at_char(const struct scanner *s, char c)
{
	return s->pos < s->end && *s->pos == c;
}

/* The value of the four hexadecimal digits at p, -1 if they are not. */
static int hex4(const char *p, const char *end)
{
	int value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			value = value << 4 | (c - '0');
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			value = value << 4 | ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/* After a backslash. */
static int scan_escape(struct scanner *s)
{
	int unit, low;

	if (s->pos == s->end || !*s->pos || !strchr("\"\\/bfnrtu", *s->pos))
		return scan_fail(s, s->pos, "unknown escape");
	if (*s->pos++ != 'u')
		return 0;
	unit = hex4(s->pos, s->end);
	if (unit < 0)
		return scan_fail(s, s->pos, "four hexadecimal digits are expected after \\u");
	if (unit == 0)
		return scan_fail(s, s->pos, "\\u0000 is not allowed");
	s->pos += 4;
	if (unit < 0xd800 || unit > 0xdfff)
		return 0;
	/* RFC 8259 section 7: outside the basic plane, a high and a low surrogate in a row. */
	low = s->end - s->pos >= 6 && s->pos[0] == '\\' && s->pos[1] == 'u'
		      ? hex4(s->pos + 2, s->end)
		      : -1;
	if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff)
		return scan_fail(s, s->pos - 6, "half of a surrogate pair");
	s->pos += 6;
	return 0;
}

/* At the opening quote. */
static int scan_string(struct scanner *s)
{
	const char *opening = s->pos++;

	while (s->pos < s->end && *s->pos != '"') {
		size_t len = utf8_sequence_len(s->pos, (size_t)(s->end - s->pos));

		if ((unsigned char)*s->pos < 0x20)
			return scan_fail(s, s->pos, "control character in a string");
		if (len == 0)
			return scan_fail(s, s->pos, "not UTF-8");
		s->pos += len;
		if (s->pos[-1] == '\\' && len == 1) {
			int rc = scan_escape(s);

			if (rc)
				return rc;
		}
	}
	if (s->pos == s->end)
		return scan_fail(s, opening, "a string that does not end");
	s->pos++;
	return 0;
}

static size_t skip_digits(struct scanner *s)
{
	const char *start = s->pos;

	while (s->pos < s->end && *s->pos >= '0' && *s->pos <= '9')
		s->pos++;
	return (size_t)(s->pos - start);
}

static int scan_number(struct scanner *s)
{
	const char *start = s->pos;
	char text[NUMBER_TEXT_MAX + 1];
	bool integer = true;
	const char *digits;
	size_t len;

	if (at_char(s, '-'))
		s->pos++;
	digits = s->pos;
	len = skip_digits(s);
	if (len == 0 || (len > 1 && *digits == '0'))
		return scan_fail(s, start, "not a number");
	if (at_char(s, '.')) {
		integer = false;
		s->pos++;
		if (skip_digits(s) == 0)
			return scan_fail(s, start, "not a number");
	}
	if (at_char(s, 'e') || at_char(s, 'E')) {
		integer = false;
		s->pos++;
		if (at_char(s, '+') || at_char(s, '-'))
			s->pos++;
		if (skip_digits(s) == 0)
			return scan_fail(s, start, "not a number");
	}
	len = (size_t)(s->pos - start);
	if (len > NUMBER_TEXT_MAX)
		return scan_fail(s, start, "a number of too many digits");
	memcpy(text, start, len);
	text[len] = '\0';
	errno = 0;
	if (integer)
		(void)strtoll(text, NULL, 10);
	else if (!isfinite(strtod(text, NULL)))
		return scan_fail(s, start, "a number out of range");
	if (integer && errno == ERANGE)
		return scan_fail(s, start, "an integer beyond 64 bits");
	return 0;
}

static int scan_word(struct scanner *s)
{
	static const char *const words[] = {"true", "false", "null"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t len = strlen(words[i]);

		if ((size_t)(s->end - s->pos) >= len && memcmp(s->pos, words[i], len) == 0) {
			s->pos += len;
			return 0;
		}
	}
	return scan_fail(s, s->pos, s->pos == s->end ? "it ends too early" : "a value is expected");
}

static int scan_array(struct scanner *s, unsigned int depth)
{
	int rc;

	s->pos++;
	skip_space(s);
	if (at_char(s, ']')) {
		s->pos++;
		return 0;
	}
	for (;;) {
		rc = scan_value(s, depth);
		if (rc)
			return rc;
		skip_space(s);
		if (at_char(s, ']'))
			break;
		if (!at_char(s, ','))
			return scan_fail(s, s->pos, "\",\" or \"]\" is expected");
		s->pos++;
	}
	s->pos++;
	return 0;
}

/* The text of a scanned string (quotes included) without its escapes; heap, NULL without memory. */
static char *unescape(const char *quoted, size_t len)
{
	struct json_tokener *tok;
	struct json_object *o;
	char *text = NULL;

	if (!memchr(quoted, '\\', len))
		return strndup(quoted + 1, len - 2);
	tok = json_tokener_new();
	if (!tok)
		return NULL;
	o = json_tokener_parse_ex(tok, quoted, (int)len);
	if (o)
		text = strdup(json_object_get_string(o));
	json_object_put(o);
	json_tokener_free(tok);
	return text;
}

static void free_entry(struct lh_entry *entry)
{
	free(lh_entry_k(entry));
}

/* Scans one "key": value, adding the key to those of its object. */
static int scan_member(struct scanner *s, struct lh_table *keys, unsigned int depth)
{
	const char *quoted;
	char *key;
	int rc;

	skip_space(s);
	if (!at_char(s, '"'))
		return scan_fail(s, s->pos, "a key in quotes is expected");
	quoted = s->pos;
	rc = scan_string(s);
	if (rc)
		return rc;
	key = unescape(quoted, (size_t)(s->pos - quoted));
	if (!key)
		return err_set(s->e, -ENOMEM, "%s", err_name(-ENOMEM));
	if (lh_table_lookup_entry(keys, key)) {
		char what[NAME_SHOWN + 64];

		snprintf(what, sizeof(what), "the key \"%.*s\" stands twice in one object",
			NAME_SHOWN, key);
		free(key);
		return scan_fail(s, quoted, what);
	}
	if (lh_table_insert(keys, key, NULL) != 0) {
		free(key);
		return err_set(s->e, -ENOMEM, "%s", err_name(-ENOMEM));
	}
	skip_space(s);
	if (!at_char(s, ':'))
		return scan_fail(s, s->pos, "\":\" is expected");
	s->pos++;
	return scan_value(s, depth);
}

static int scan_object(struct scanner *s, unsigned int depth)
{
	struct lh_table *keys;
	int rc = 0;

	s->pos++;
	skip_space(s);
	if (at_char(s, '}')) {
		s->pos++;
		return 0;
	}
	keys = lh_kchar_table_new(16, free_entry);
	if (!keys)
		return err_set(s->e, -ENOMEM, "%s", err_name(-ENOMEM));
	for (;;) {
		rc = scan_member(s, keys, depth);
		if (rc)
			break;
		skip_space(s);
		if (at_char(s, '}')) {
			s->pos++;
			break;
		}
		if (!at_char(s, ',')) {
			rc = scan_fail(s, s->pos, "\",\" or \"}\" is expected");
			break;
		}
		s->pos++;
	}
	lh_table_free(keys);
	return rc;
}

static int scan_value(struct scanner *s, unsigned int depth)
{
	skip_space(s);
	if (at_char(s, '{') || at_char(s, '[')) {
		if (depth >= JSON_MAX_DEPTH)
			return scan_fail(s, s->pos, "nested too deep");
		return *s->pos == '{' ? scan_object(s, depth + 1) : scan_array(s, depth + 1);
	}
	if (at_char(s, '"'))
		return scan_string(s);
	if (s->pos < s->end && (*s->pos == '-' || (*s->pos >= '0' && *s->pos <= '9')))
		return scan_number(s);
	return scan_word(s);
}

int json_parse(const char *text, size_t len, struct json_object **ret_value, struct err *e)
{
	struct scanner s = {.start = text, .pos = text, .end = text + len, .e = e};
	struct json_tokener *tok;
	enum json_tokener_error reason;
	const char *start, *end;
	struct json_object *value;
	int rc;

	if (len > INT_MAX / 2)
		return err_set(e, -VAN_E_LIMIT, "a JSON text of %zu bytes is too long", len);
	skip_space(&s);
	start = s.pos;
	rc = scan_value(&s, 0);
	if (rc)
		return rc;
	end = s.pos;
	skip_space(&s);
	if (s.pos != s.end)
		return scan_fail(&s, s.pos, "text after the end of the value");

	tok = json_tokener_new_ex(
		JSON_MAX_DEPTH + 2); /* the scanner's bound is the one that tells */
	if (!tok)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	value = json_tokener_parse_ex(tok, start, (int)(end - start));
	reason = json_tokener_get_error(tok);
	if (reason == json_tokener_continue) {
		/* Of a bare number or word, json-c learns the end from the NUL only. */
		value = json_tokener_parse_ex(tok, "", 1);
		reason = json_tokener_get_error(tok);
	}
	json_tokener_free(tok);
	if (reason != json_tokener_success) {
		json_object_put(value);
		return err_set(
			e, -VAN_E_SYNTAX, "not valid JSON: %s", json_tokener_error_desc(reason));
	}
	*ret_value = value;
	return 0;
}

/* -- getters -- */

/* An error about the member `name` (NULL: the object itself) of the object at `where`. */
__attribute__((format(printf, 4, 5))) static int member_error(
	struct err *e, const char *where, const char *name, const char *fmt, ...)
{
	char pointer[256], what[256];
	size_t len = 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (!name)
		return err_set(
			e, -VAN_E_INVALID, "%s%s%s", where, *where ? ": " : "the document ", what);
	/* RFC 6901 section 3: "~" and "/" are escaped in a member's name. */
	for (const char *p = name; *p && len < NAME_SHOWN; p++) {
		if (*p == '~' || *p == '/') {
			pointer[len++] = '~';
			pointer[len++] = *p == '~' ? '0' : '1';
		} else {
			pointer[len++] = *p;
		}
	}
	pointer[len] = '\0';
	return err_set(e, -VAN_E_INVALID, "%s/%s: %s", where, pointer, what);
}

/* The member, NULL when it is absent or null. */
static int find_member(struct json_object *o, const char *where, const char *name, bool required,
	struct json_object **ret_member, struct err *e)
{
	struct json_object *member = NULL;

	if (!json_object_is_type(o, json_type_object))
		return member_error(e, where, NULL, "must be an object");
	json_object_object_get_ex(o, name, &member);
	if (!member && required)
		return member_error(e, where, name, "is required");
	*ret_member = member;
	return 0;
}

static int get_string(struct json_object *o, const char *where, const char *name, bool required,
	size_t min_len, size_t max_len, const char **ret_text, struct err *e)
{
	struct json_object *member;
	size_t len;
	int rc = find_member(o, where, name, required, &member, e);

	if (rc || !member)
		return rc;
	if (!json_object_is_type(member, json_type_string))
		return member_error(e, where, name, "must be a string");
	len = (size_t)json_object_get_string_len(member);
	if (len < min_len || len > max_len)
		return member_error(e, where, name,
			min_len == max_len ? "must have %zu characters"
					   : "must have %zu to %zu characters",
			min_len, max_len);
	*ret_text = json_object_get_string(member);
	return 0;
}

int json_get_string(struct json_object *o, const char *where, const char *name, size_t min_len,
	size_t max_len, const char **ret_text, struct err *e)
{
	return get_string(o, where, name, true, min_len, max_len, ret_text, e);
}

int json_opt_string(struct json_object *o, const char *where, const char *name, size_t min_len,
	size_t max_len, const char **ret_text, struct err *e)
{
	return get_string(o, where, name, false, min_len, max_len, ret_text, e);
}

static int get_int(struct json_object *o, const char *where, const char *name, bool required,
	int64_t min, int64_t max, int64_t *ret_value, struct err *e)
{
	struct json_object *member;
	int64_t value;
	int rc = find_member(o, where, name, required, &member, e);

	if (rc || !member)
		return rc;
	if (!json_object_is_type(member, json_type_int))
		return member_error(e, where, name, "must be an integer");
	value = json_object_get_int64(member);
	if (value < min || value > max)
		return member_error(e, where, name, "must be from %lld to %lld", (long long)min,
			(long long)max);
	*ret_value = value;
	return 0;
}

int json_get_int(struct json_object *o, const char *where, const char *name, int64_t min,
	int64_t max, int64_t *ret_value, struct err *e)
{
	return get_int(o, where, name, true, min, max, ret_value, e);
}

int json_opt_int(struct json_object *o, const char *where, const char *name, int64_t min,
	int64_t max, int64_t *ret_value, struct err *e)
{
	return get_int(o, where, name, false, min, max, ret_value, e);
}

int json_opt_bool(
	struct json_object *o, const char *where, const char *name, bool *ret_value, struct err *e)
{
	struct json_object *member;
	int rc = find_member(o, where, name, false, &member, e);

	if (rc || !member)
		return rc;
	if (!json_object_is_type(member, json_type_boolean))
		return member_error(e, where, name, "must be true or false");
	*ret_value = json_object_get_boolean(member);
	return 0;
}

static int get_container(struct json_object *o, const char *where, const char *name,
	enum json_type type, struct json_object **ret_member, struct err *e)
{
	struct json_object *member;
	int rc = find_member(o, where, name, true, &member, e);

	if (rc)
		return rc;
	if (!json_object_is_type(member, type))
		return member_error(e, where, name,
			type == json_type_object ? "must be an object" : "must be an array");
	*ret_member = member;
	return 0;
}

int json_get_object(struct json_object *o, const char *where, const char *name,
	struct json_object **ret_object, struct err *e)
{
	return get_container(o, where, name, json_type_object, ret_object, e);
}

int json_get_array(struct json_object *o, const char *where, const char *name,
	struct json_object **ret_array, struct err *e)
{
	return get_container(o, where, name, json_type_array, ret_array, e);
}

/* -- builders -- */

static void add_member(struct json_object *o, const char *name, struct json_object *value)
{
	if (json_object_object_add(o, name, value) != 0)
		abort();
}

void json_set_string(struct json_object *o, const char *name, const char *text)
{
	struct json_object *value = text ? json_object_new_string(text) : NULL;

	if (text && !value)
		abort();
	add_member(o, name, value);
}

void json_set_int(struct json_object *o, const char *name, int64_t value)
{
	struct json_object *number = json_object_new_int64(value);

	if (!number)
		abort();
	add_member(o, name, number);
}

void json_set_bool(struct json_object *o, const char *name, bool value)
{
	struct json_object *flag = json_object_new_boolean(value);

	if (!flag)
		abort();
	add_member(o, name, flag);
}
