/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands for objects of the console share: a call each, and what is printed of its
 * answer. Every path is heap and taken over; NULL is -ENOMEM.
 */
#ifndef VANCTL_CMD_RESOURCE_H
#define VANCTL_CMD_RESOURCE_H

#include <json-c/json.h>
#include "vanctl/output.h"
#include "vanctl/vanctl.h"

/* "/api/v1/networks/NETWORK/FOLDER[/REF]" for the network of -n; ref NULL: the collection. The
 * folder may be several words deep: it is ours, and needs no encoding. */
char *resource_path(struct vanctl *v, const char *folder, const char *ref);
/* Adds "?NAME=VALUE" or "&NAME=VALUE" to a path, which is taken over; NULL value: nothing. */
char *resource_query(char *path, const char *name, const char *value);
/* Adds what --confirm-within asks for. */
char *resource_confirm_query(struct vanctl *v, char *path);

/* Prints a list, by --sort and --filter where the command takes them; says `none` where it is
 * empty. */
int resource_list(
	struct vanctl *v, char *path, const struct view *view, const char *none, struct err *e);
/* Prints one object, a line for each member. */
int resource_show(struct vanctl *v, char *path, const struct view *view, struct err *e);
/* One call whose answer is printed as a row; body (borrowed) may be NULL. */
int resource_send(struct vanctl *v, const char *method, char *path, struct json_object *body,
	const struct view *view, struct err *e);
/* One call whose answer is for the caller: ret_object may be NULL. */
int resource_call(struct vanctl *v, const char *method, char *path, struct json_object *body,
	struct json_object **ret_object, struct err *e);
/* Deletes, and says so. */
int resource_delete(struct vanctl *v, char *path, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Makes something with a secret: its `member` alone for people and pipes, the object with -o json;
 * then says `hint`. The secret is wiped. */
int resource_issue(struct vanctl *v, char *path, struct json_object *body, const char *member,
	const char *hint, struct err *e);

/*
 * A member of a body and the option that gives it, of the type that the option's kind has: text,
 * number, boolean, list, labels; a duration is in seconds, a part of one rounded up. Tables end
 * with OPT_END.
 */
struct body_row {
	enum option_id option;
	const char *member;
};

/* The options that are set; owned by the caller. */
struct json_object *resource_body(struct vanctl *v, const struct body_row *rows);
/* The same for a change, with null for what --unset names. */
int resource_change(struct vanctl *v, const struct body_row *rows, struct json_object **ret_body,
	struct err *e);
/* Sends a change (borrowed) and prints the answer; -VAN_E_SYNTAX with the options to choose from
 * when there is nothing in it. */
int resource_patch(struct vanctl *v, char *path, struct json_object *body,
	const struct body_row *rows, const struct view *view, struct err *e);
/* Both. */
int resource_set(struct vanctl *v, char *path, const struct body_row *rows, const struct view *view,
	struct err *e);

/* "a,b": an array of strings. */
struct json_object *resource_words(const char *text);

#endif
