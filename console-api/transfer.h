/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole mesh as a file: what `console-api export` writes, and `import` reads into an empty store of
 * any kind. Lines of JSON, UTF-8:
 *
 *   {"van_export":1,"program":TEXT,"created_at":TIME,"mesh":HEX,"generation":HEX16,"revision":N}
 *   {"k":KEY,"v":VALUE}            one for each key of the store, in their order
 *   {"end":true,"keys":N,"sha256":HEX}   of all bytes before this line
 *
 * Values are the texts that the store holds, byte for byte: the audit trail stays verifiable.
 * Revisions are not kept: the store that is imported into has a generation and numbers of its own.
 * Left out is what is about one console, or true for a moment only (transfer_is_soft()).
 * The file holds hashes of credentials, no credential: no less, it is nobody's business.
 */
#ifndef CONSOLE_API_TRANSFER_H
#define CONSOLE_API_TRANSFER_H

#include <stdint.h>
#include <stdio.h>
#include "console-api/store.h"

/* Present while an import into the store is unfinished: nobody may use it. */
#define TRANSFER_MARK "/importing"

/* done of all (0: not known yet). */
typedef void transfer_progress(void *ctx, uint64_t done, uint64_t all);

bool transfer_is_soft(const char *key);

int transfer_export(struct store *s, FILE *out, transfer_progress *progress, void *ctx,
	uint64_t *ret_keys, struct err *e);

/*
 * What is to be imported: an export, or the copy of an SQLite store that `backup` made. It is read
 * to its end and checked. -VAN_E_CORRUPT when it is damaged, cut off, or something else.
 */
struct transfer_source {
	char *name; /* heap; the file's, for messages */
	FILE *text; /* an export, or NULL */
	struct store *backup;
	uint64_t keys;
};
int transfer_source_open(const char *path, struct transfer_source *ret_source, struct err *e);
void transfer_source_close(struct transfer_source *source);

/*
 * Writes it into the store. -EEXIST when that is not empty (what an unfinished import left is
 * removed first). A store whose import was interrupted is refused by registry_open() until one was
 * finished.
 */
int transfer_import(struct store *s, struct transfer_source *from, transfer_progress *progress,
	void *ctx, struct err *e);

#endif
