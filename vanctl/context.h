/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logins. Each is a file $XDG_CONFIG_HOME/van/contexts/NAME.json (mode 0600), the name of the one
 * in use stands in $XDG_CONFIG_HOME/van/current. ~/.config stands in for an unset XDG_CONFIG_HOME.
 *
 *   { "format": 1, "console": URL, "key": KEY, "pin": PIN | null, "next_pin": PIN | null,
 *     "ca": FILE | null }
 *
 * While a console changes its TLS key it tells which one will follow. That pin is kept with the
 * login, both are good then, and it takes the place of the first once the console has changed.
 */
#ifndef VANCTL_CONTEXT_H
#define VANCTL_CONTEXT_H

#include <stdbool.h>
#include "lib/err.h"
#include "vanctl/vanctl.h"

#define CONTEXT_NAME_MAX 64

/* Every text is heap or NULL. */
struct context {
	char name[CONTEXT_NAME_MAX + 1]; /* empty: of none of the files */
	char *console;                   /* "https://HOST[:PORT]" */
	char *key;
	char *pin;
	char *next_pin; /* as the console told */
	char *ca_file;
};

/* Wipes the key. */
void context_done(struct context *c);

/* Letters, digits, '.', '_' and '-', not with a dot in front. */
bool context_name_valid(const char *name);

/* The directory (heap); it need not exist yet. -ENOENT when the user has no home. */
int context_dir(char **ret_dir, struct err *e);

/* -ENOENT when there is no such login, -VAN_E_CORRUPT when its file is none. */
int context_load(const char *dir, const char *name, struct context *ret_context, struct err *e);
/* Writes the file of c->name, atomically, and makes it the one in use. */
int context_save(const char *dir, const struct context *c, struct err *e);
/*
 * Keeps with the stored login what its console says of its keys: pin, and next_pin or NULL. A login
 * without a pin stays as it is.
 */
int context_learn(
	const char *dir, const char *name, const char *pin, const char *next_pin, struct err *e);
/* Whether the stored login has heard nothing of that for a day. */
bool context_is_stale(const char *dir, const char *name);
/* The name of the one in use: "default" when none was chosen. */
void context_current(const char *dir, char ret_name[CONTEXT_NAME_MAX + 1]);

/*
 * Which console to talk to and as whom: options and environment over the stored login. Key, pin and
 * CA of a login are used with its own console only. -VAN_E_CONFIG when there is nobody to talk to
 * (then *ret_logged_out, which may be NULL, is set), -VAN_E_NOT_FOUND for a --context that does not
 * exist.
 */
int context_resolve(
	struct vanctl *v, struct context *ret_context, bool *ret_logged_out, struct err *e);

/*
 * Checks and normalises what --console gives: https, a host, no path; a slash at the end is cut
 * off. *ret_url is heap.
 */
int context_check_url(const char *text, char **ret_url, struct err *e);
/* Checks one or several pins ("sha256//BASE64", ';' between); *ret_pin is heap, without white space
 * around it. */
int context_check_pin(const char *text, char **ret_pin, struct err *e);

#endif
