// SPDX-License-Identifier: Apache-2.0
#include "vanctl/eventstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"

void eventstream_restart(struct eventstream *s)
{
	free(s->data);
	s->data = NULL;
	s->len = 0;
	s->event[0] = s->next_id[0] = '\0';
}

void eventstream_done(struct eventstream *s)
{
	eventstream_restart(s);
	free(s->line);
	*s = (struct eventstream){0};
}

/* The value of a line "NAME: VALUE", or NULL for one of another name; one space is the form's. */
static const char *value_of(const char *line, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(line, name, len) != 0 || line[len] != ':')
		return NULL;
	return line + len + 1 + (line[len + 1] == ' ');
}

static void take_field(struct eventstream *s, const char *line)
{
	const char *value = value_of(line, "id");

	if (value) {
		if (strlen(value) <= EVENTSTREAM_ID_MAX)
			strcpy(s->next_id, value);
	} else if ((value = value_of(line, "event"))) {
		snprintf(s->event, sizeof(s->event), "%s", value);
	} else if ((value = value_of(line, "data"))) {
		free(s->data);
		s->data = strdup(value);
		if (!s->data)
			abort();
	}
}

static bool end_block(struct eventstream *s,
	bool (*tell)(void *ctx, const char *event, const char *data), void *ctx)
{
	CLEANUP(free) char *data = STEAL(s->data);
	char event[sizeof(s->event)];
	bool something = data || s->event[0];

	memcpy(event, s->event, sizeof(event));
	if (s->next_id[0])
		memcpy(s->id, s->next_id, sizeof(s->id));
	s->event[0] = s->next_id[0] = '\0';
	return !something || tell(ctx, event, data);
}

/* Adds a byte to the line. */
static bool add(struct eventstream *s, char byte)
{
	if (s->len >= EVENTSTREAM_LINE_MAX) {
		s->too_long = true;
		return false;
	}
	if (s->len + 1 >= s->room) {
		s->room = s->room ? s->room * 2 : 1024;
		s->line = realloc(s->line, s->room);
		if (!s->line)
			abort();
	}
	s->line[s->len++] = byte;
	return true;
}

bool eventstream_take(struct eventstream *s, const char *bytes, size_t len,
	bool (*tell)(void *ctx, const char *event, const char *data), void *ctx)
{
	for (size_t i = 0; i < len && !s->too_long; i++) {
		if (bytes[i] != '\n') {
			add(s, bytes[i]);
		} else if (s->len == 0) {
			if (!end_block(s, tell, ctx))
				return false;
		} else {
			s->line[s->len] = '\0';
			s->len = 0;
			take_field(s, s->line);
		}
	}
	return !s->too_long;
}
