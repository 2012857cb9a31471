/* SPDX-License-Identifier: Apache-2.0 */
/* Files with one secret in them: API keys and join tokens. */
#ifndef VANCTL_SECRETFILE_H
#define VANCTL_SECRETFILE_H

#include "lib/err.h"
#include "vanctl/vanctl.h"

#define SECRETFILE_MAX (16u << 10)

/*
 * Reads the one line in the file ("-": v->in; of a terminal, without showing what is typed)
 * without the white space around it. `what` names it
 * in messages ("API key"). Warns when others may read the file; that is never an error. *ret_text
 * is heap, for secretfile_free(). -ENOENT, -VAN_E_INVALID for an empty file, several lines, or
 * characters that no key has.
 */
int secretfile_read(
	struct vanctl *v, const char *path, const char *what, char **ret_text, struct err *e);

/* Wipes and frees; NULL is fine. */
void secretfile_free(char *text);

static inline void cleanup_secret(char **text)
{
	secretfile_free(*text);
}

/* Warns when somebody but its owner may read the regular file. */
void secretfile_check_mode(struct vanctl *v, const char *path);

#endif
