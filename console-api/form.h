/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and checks the body of a request, member by member. What is wrong is collected in the
 * problem, with its JSON pointer, and reading goes on, so that one answer names every bad member:
 *
 *   struct form f;
 *   form_init(&f, body, p);
 *   form_name(&f, "name", FORM_REQUIRED, spec.name);
 *   form_int(&f, "mtu", FORM_OPTIONAL, 1280, 9000, &spec.mtu);
 *   return form_end(&f);
 *
 * The readers return true when the member is there and right; then *ret is set. Otherwise it is
 * untouched, so defaults are put there before. null counts as absent. form_end() names the members
 * that nobody asked for.
 */
#ifndef CONSOLE_API_FORM_H
#define CONSOLE_API_FORM_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "console-api/problem.h"
#include "lib/addr.h"
#include "lib/netmap.h"

#define FORM_MEMBERS_MAX 32

enum form_need { FORM_OPTIONAL, FORM_REQUIRED };

struct form {
	struct json_object *o; /* borrowed; NULL: an empty object */
	struct problem *p;
	char where[PROBLEM_POINTER_MAX]; /* pointer of o, "" for the root */
	const char *known[FORM_MEMBERS_MAX];
	size_t known_count;
	bool failed;
};

/* o may be NULL (no body: all defaults); anything but an object is an error. */
void form_init(struct form *f, struct json_object *o, struct problem *p);
/* 0, or -VAN_E_INVALID when something was wrong, in this form or in a child that was ended. */
int form_end(struct form *f);
/* Adds an error of the caller's own about a member (NULL: the object itself). */
void form_fail(struct form *f, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Whether the member is there and not null; it counts as asked for. */
bool form_has(struct form *f, const char *name);
/* The member as it is, NULL when absent or null; counts as asked for. Borrowed. */
struct json_object *form_member(struct form *f, const char *name, enum form_need need);

/* Any string, length in bytes. Borrowed from the body. */
bool form_string(struct form *f, const char *name, enum form_need need, size_t min_len,
	size_t max_len, const char **ret_text);
/* A line for people: no control characters. Copied; size is that of ret_text. */
bool form_line(struct form *f, const char *name, enum form_need need, char *ret_text, size_t size);
/* A DNS label, as names of networks and nodes are. */
bool form_name(
	struct form *f, const char *name, enum form_need need, char ret_name[NETMAP_NAME_MAX + 1]);
bool form_int(struct form *f, const char *name, enum form_need need, int64_t min, int64_t max,
	int64_t *ret_value);
bool form_bool(struct form *f, const char *name, enum form_need need, bool *ret_value);
/* One of the NULL-terminated words; its index. */
bool form_word(struct form *f, const char *name, enum form_need need, const char *const *words,
	size_t *ret_index);
/* An address without a prefix length. */
bool form_ip(struct form *f, const char *name, enum form_need need, struct ip *ret_ip);
/* ADDRESS/LENGTH; family AF_UNSPEC: either. Host bits are the caller's to judge. */
bool form_cidr(
	struct form *f, const char *name, enum form_need need, int family, struct cidr *ret_cidr);
/* RFC 3339 in UTC ("2026-03-01T12:00:00Z"); seconds since 1970. */
bool form_parse_time(const char *text, int64_t *ret_s);
bool form_time(struct form *f, const char *name, enum form_need need, int64_t *ret_s);

/* A member that is an object: a form of its own, to be ended before its parent. */
bool form_child(struct form *f, const char *name, enum form_need need, struct form *ret_child);
/* A member that is an array of at most max items. Borrowed. */
bool form_array(struct form *f, const char *name, enum form_need need, size_t max,
	struct json_object **ret_array);
/* Item i of such an array: an object, as a form to be ended before its parent … */
bool form_item(struct form *f, const char *name, size_t i, struct form *ret_item);
/* … or a string. */
bool form_item_string(
	struct form *f, const char *name, size_t i, size_t max_len, const char **ret_text);
/* Error about item i. */
void form_item_fail(struct form *f, const char *name, size_t i, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * labels: an object of at most FORM_LABELS_MAX members with short keys and values. Checked, and
 * borrowed; NULL when absent.
 */
#define FORM_LABELS_MAX      32
#define FORM_LABEL_KEY_MAX   63
#define FORM_LABEL_VALUE_MAX 127
bool form_labels(struct form *f, const char *name, struct json_object **ret_labels);

#endif
