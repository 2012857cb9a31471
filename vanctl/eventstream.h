/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads server-sent events (the HTML standard's event stream) as the console sends them: blocks of
 * "name: value" lines, each with at most one line of data; lines end with LF.
 */
#ifndef VANCTL_EVENTSTREAM_H
#define VANCTL_EVENTSTREAM_H

#include <stdbool.h>
#include <stddef.h>

#define EVENTSTREAM_ID_MAX   64
#define EVENTSTREAM_LINE_MAX (4u << 20)

struct eventstream {
	char id[EVENTSTREAM_ID_MAX + 1]; /* the last one that a whole block had; "": none yet */
	bool too_long;                   /* a line was; nothing is taken from then on */
	/* -- private -- */
	char *line, *data;
	size_t len, room;
	char event[16];
	char next_id[EVENTSTREAM_ID_MAX + 1];
};

/* Zeroed is ready. Frees what it holds. */
void eventstream_done(struct eventstream *s);
/* Forgets a block that was not ended: the connection is another one. */
void eventstream_restart(struct eventstream *s);

/*
 * Takes what has come. For every block that ends in it, tell() gets its event ("" unless named) and
 * data (NULL: none), after `id` was set; false from it ends the reading. False then, and when a line
 * is too long.
 */
bool eventstream_take(struct eventstream *s, const char *bytes, size_t len,
	bool (*tell)(void *ctx, const char *event, const char *data), void *ctx);

#endif
