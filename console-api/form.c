/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/form.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "lib/utf8.h"

#define NAME_SHOWN 64

/* -- errors -- */

/* RFC 6901 §3: "~" and "/" are escaped within a pointer's part. */
static void append_part(char pointer[PROBLEM_POINTER_MAX], const char *name)
{
	size_t len = strlen(pointer), shown = 0;

	if (len < PROBLEM_POINTER_MAX - 1)
		pointer[len++] = '/';
	for (; *name && len < PROBLEM_POINTER_MAX - 2 && shown < NAME_SHOWN; name++, shown++) {
		if (*name == '~' || *name == '/') {
			pointer[len++] = '~';
			pointer[len++] = *name == '~' ? '0' : '1';
		} else {
			pointer[len++] = *name;
		}
	}
	pointer[len] = '\0';
}

__attribute__((format(printf, 3, 0))) static void fail_at(
	struct form *f, const char *pointer, const char *fmt, va_list ap)
{
	char what[256];

	vsnprintf(what, sizeof(what), fmt, ap);
	f->failed = true;
	problem_invalid(f->p, pointer, "%s%s%s", pointer[0] ? pointer : "the body",
		pointer[0] ? ": " : " ", what);
}

void form_fail(struct form *f, const char *name, const char *fmt, ...)
{
	char pointer[PROBLEM_POINTER_MAX];
	va_list ap;

	memcpy(pointer, f->where, sizeof(pointer));
	if (name)
		append_part(pointer, name);
	va_start(ap, fmt);
	fail_at(f, pointer, fmt, ap);
	va_end(ap);
}

static void item_pointer(
	const struct form *f, const char *name, size_t i, char ret_pointer[PROBLEM_POINTER_MAX])
{
	char number[24];

	snprintf(number, sizeof(number), "%zu", i);
	memcpy(ret_pointer, f->where, PROBLEM_POINTER_MAX);
	append_part(ret_pointer, name);
	append_part(ret_pointer, number);
}

void form_item_fail(struct form *f, const char *name, size_t i, const char *fmt, ...)
{
	char pointer[PROBLEM_POINTER_MAX];
	va_list ap;

	item_pointer(f, name, i, pointer);
	va_start(ap, fmt);
	fail_at(f, pointer, fmt, ap);
	va_end(ap);
}

/* -- a form -- */

void form_init(struct form *f, struct json_object *o, struct problem *p)
{
	*f = (struct form){.o = o, .p = p};
	if (o && !json_object_is_type(o, json_type_object)) {
		f->o = NULL;
		form_fail(f, NULL, "must be an object");
	}
}

static bool is_known(const struct form *f, const char *name)
{
	for (size_t i = 0; i < f->known_count; i++)
		if (!strcmp(f->known[i], name))
			return true;
	return false;
}

static void list_known(const struct form *f, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < f->known_count && len < size - 1; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s", i ? ", " : "", f->known[i]);
}

int form_end(struct form *f)
{
	char allowed[160];

	if (f->o) {
		list_known(f, allowed, sizeof(allowed));
		json_object_object_foreach(f->o, name, value)
		{
			(void)value;
			if (!is_known(f, name))
				form_fail(f, name, "is not known here; allowed: %s",
					allowed[0] ? allowed : "nothing");
		}
	}
	return f->failed || f->p->error_count ? -VAN_E_INVALID : 0;
}

struct json_object *form_member(struct form *f, const char *name, enum form_need need)
{
	struct json_object *member = NULL;

	if (!is_known(f, name) && f->known_count < FORM_MEMBERS_MAX)
		f->known[f->known_count++] = name;
	if (f->o)
		json_object_object_get_ex(f->o, name, &member);
	if (!member && need == FORM_REQUIRED)
		form_fail(f, name, "is required");
	return member;
}

bool form_has(struct form *f, const char *name)
{
	return form_member(f, name, FORM_OPTIONAL) != NULL;
}

/* -- readers -- */

static bool string_within(struct json_object *o, size_t min_len, size_t max_len)
{
	size_t len = (size_t)json_object_get_string_len(o);

	return len >= min_len && len <= max_len;
}

bool form_string(struct form *f, const char *name, enum form_need need, size_t min_len,
	size_t max_len, const char **ret_text)
{
	struct json_object *member = form_member(f, name, need);

	if (!member)
		return false;
	if (!json_object_is_type(member, json_type_string)) {
		form_fail(f, name, "must be a string");
		return false;
	}
	if (!string_within(member, min_len, max_len)) {
		form_fail(f, name, "must have %zu to %zu bytes", min_len, max_len);
		return false;
	}
	*ret_text = json_object_get_string(member);
	return true;
}

static bool is_line(const char *text)
{
	size_t left = strlen(text);

	while (left) {
		size_t n = utf8_sequence_len(text, left);
		unsigned char c = (unsigned char)text[0];

		if (!n || c < ' ' || c == 0x7f || (c == 0xc2 && (unsigned char)text[1] < 0xa0))
			return false;
		text += n;
		left -= n;
	}
	return true;
}

bool form_line(struct form *f, const char *name, enum form_need need, char *ret_text, size_t size)
{
	const char *text;

	if (!form_string(f, name, need, need == FORM_REQUIRED, size - 1, &text))
		return false;
	if (!is_line(text)) {
		form_fail(f, name, "must be one line without control characters");
		return false;
	}
	snprintf(ret_text, size, "%s", text);
	return true;
}

bool form_name(
	struct form *f, const char *name, enum form_need need, char ret_name[NETMAP_NAME_MAX + 1])
{
	const char *text;

	if (!form_string(f, name, need, 0, SIZE_MAX, &text))
		return false;
	if (!netmap_name_valid(text)) {
		form_fail(f, name,
			"must be 1 to 63 characters of a-z, 0-9 and -, no hyphen at the ends");
		return false;
	}
	snprintf(ret_name, NETMAP_NAME_MAX + 1, "%s", text);
	return true;
}

bool form_int(struct form *f, const char *name, enum form_need need, int64_t min, int64_t max,
	int64_t *ret_value)
{
	struct json_object *member = form_member(f, name, need);
	int64_t value;

	if (!member)
		return false;
	if (!json_object_is_type(member, json_type_int)) {
		form_fail(f, name, "must be an integer");
		return false;
	}
	value = json_object_get_int64(member);
	if (value < min || value > max) {
		form_fail(f, name, "must be from %lld to %lld", (long long)min, (long long)max);
		return false;
	}
	*ret_value = value;
	return true;
}

bool form_bool(struct form *f, const char *name, enum form_need need, bool *ret_value)
{
	struct json_object *member = form_member(f, name, need);

	if (!member)
		return false;
	if (!json_object_is_type(member, json_type_boolean)) {
		form_fail(f, name, "must be true or false");
		return false;
	}
	*ret_value = json_object_get_boolean(member);
	return true;
}

bool form_word(struct form *f, const char *name, enum form_need need, const char *const *words,
	size_t *ret_index)
{
	char allowed[160] = "";
	const char *text;
	size_t len = 0;

	if (!form_string(f, name, need, 0, SIZE_MAX, &text))
		return false;
	for (size_t i = 0; words[i]; i++) {
		if (!strcmp(words[i], text)) {
			*ret_index = i;
			return true;
		}
		if (len < sizeof(allowed))
			len += (size_t)snprintf(allowed + len, sizeof(allowed) - len, "%s\"%s\"",
				i ? ", " : "", words[i]);
	}
	form_fail(f, name, "must be one of %s", allowed);
	return false;
}

bool form_ip(struct form *f, const char *name, enum form_need need, struct ip *ret_ip)
{
	const char *text;

	if (!form_string(f, name, need, 0, SIZE_MAX, &text))
		return false;
	if (strlen(text) < IP_TEXT_LEN && ip_parse(text, ret_ip))
		return true;
	form_fail(f, name, "must be an address without a prefix length");
	return false;
}

bool form_cidr(
	struct form *f, const char *name, enum form_need need, int family, struct cidr *ret_cidr)
{
	struct cidr cidr;
	const char *text;

	if (!form_string(f, name, need, 0, SIZE_MAX, &text))
		return false;
	if (strlen(text) < CIDR_TEXT_LEN && cidr_parse(text, &cidr) &&
		(family == AF_UNSPEC || cidr.ip.family == family)) {
		*ret_cidr = cidr;
		return true;
	}
	form_fail(f, name, "must be a network such as %s",
		family == AF_INET6 ? "fd00:1::/64" : "172.16.1.0/24");
	return false;
}

/* Days since 1970 of a date in the Gregorian calendar; March is the first month of its year. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t m = month > 2 ? month - 3 : month + 9;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

bool form_parse_time(const char *text, int64_t *ret_s)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
	int n[6] = {0};
	bool leap;

	if (strlen(text) != sizeof(shape) - 1)
		return false;
	for (size_t i = 0, at = 0; shape[i]; i++) {
		if (shape[i] != 'd') {
			if (text[i] != shape[i])
				return false;
			at++;
		} else if (text[i] >= '0' && text[i] <= '9') {
			n[at] = n[at] * 10 + text[i] - '0';
		} else {
			return false;
		}
	}
	leap = n[0] % 4 == 0 && (n[0] % 100 != 0 || n[0] % 400 == 0);
	if (n[0] < 1970 || n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > days[n[1] - 1] ||
		(n[1] == 2 && n[2] == 29 && !leap) || n[3] > 23 || n[4] > 59 || n[5] > 59)
		return false;
	*ret_s = days_of(n[0], n[1], n[2]) * 86400 + n[3] * 3600 + n[4] * 60 + n[5];
	return true;
}

bool form_time(struct form *f, const char *name, enum form_need need, int64_t *ret_s)
{
	const char *text;

	if (!form_string(f, name, need, 0, SIZE_MAX, &text))
		return false;
	if (form_parse_time(text, ret_s))
		return true;
	form_fail(f, name, "must be a time in UTC such as 2030-01-31T12:00:00Z");
	return false;
}

/* -- what is nested -- */

bool form_child(struct form *f, const char *name, enum form_need need, struct form *ret_child)
{
	struct json_object *member = form_member(f, name, need);

	if (!member)
		return false;
	if (!json_object_is_type(member, json_type_object)) {
		form_fail(f, name, "must be an object");
		return false;
	}
	*ret_child = (struct form){.o = member, .p = f->p};
	memcpy(ret_child->where, f->where, sizeof(f->where));
	append_part(ret_child->where, name);
	return true;
}

bool form_array(struct form *f, const char *name, enum form_need need, size_t max,
	struct json_object **ret_array)
{
	struct json_object *member = form_member(f, name, need);

	if (!member)
		return false;
	if (!json_object_is_type(member, json_type_array)) {
		form_fail(f, name, "must be an array");
		return false;
	}
	if (json_object_array_length(member) > max) {
		form_fail(f, name, "must have %zu items at most", max);
		return false;
	}
	*ret_array = member;
	return true;
}

static struct json_object *item_of(struct form *f, const char *name, size_t i)
{
	struct json_object *array = form_member(f, name, FORM_OPTIONAL);

	return json_object_is_type(array, json_type_array) ? json_object_array_get_idx(array, i)
							   : NULL;
}

bool form_item(struct form *f, const char *name, size_t i, struct form *ret_item)
{
	struct json_object *item = item_of(f, name, i);

	if (!json_object_is_type(item, json_type_object)) {
		form_item_fail(f, name, i, "must be an object");
		return false;
	}
	*ret_item = (struct form){.o = item, .p = f->p};
	item_pointer(f, name, i, ret_item->where);
	return true;
}

bool form_item_string(
	struct form *f, const char *name, size_t i, size_t max_len, const char **ret_text)
{
	struct json_object *item = item_of(f, name, i);

	if (!json_object_is_type(item, json_type_string) || !string_within(item, 1, max_len)) {
		form_item_fail(f, name, i, "must be a string of 1 to %zu bytes", max_len);
		return false;
	}
	*ret_text = json_object_get_string(item);
	return true;
}

/* -- labels -- */

static bool label_key_valid(const char *key)
{
	static const char inner[] = "abcdefghijklmnopqrstuvwxyz0123456789._/-";
	size_t len = strlen(key);

	return len && len <= FORM_LABEL_KEY_MAX && strspn(key, inner) == len &&
	       !strchr("._/-", key[0]) && !strchr("._/-", key[len - 1]);
}

bool form_labels(struct form *f, const char *name, struct json_object **ret_labels)
{
	struct form labels;
	bool right = true;

	if (!form_child(f, name, FORM_OPTIONAL, &labels))
		return false;
	if (json_object_object_length(labels.o) > FORM_LABELS_MAX) {
		form_fail(f, name, "must have %d members at most", FORM_LABELS_MAX);
		return false;
	}
	json_object_object_foreach(labels.o, key, value)
	{
		if (!label_key_valid(key)) {
			form_fail(&labels, key,
				"a label's key has 1 to %d of a-z, 0-9, \".\", \"_\", \"/\", \"-\", "
				"with a letter or digit at the ends",
				FORM_LABEL_KEY_MAX);
			right = false;
		} else if (!json_object_is_type(value, json_type_string) ||
			   !string_within(value, 0, FORM_LABEL_VALUE_MAX) ||
			   !is_line(json_object_get_string(value)) ||
			   strchr(json_object_get_string(value), ',')) {
			form_fail(&labels, key,
				"a label's value is a line of at most %d bytes without a comma",
				FORM_LABEL_VALUE_MAX);
			right = false;
		}
	}
	if (right)
		*ret_labels = labels.o;
	else
		f->failed = true;
	return right;
}
