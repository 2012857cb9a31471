/* SPDX-License-Identifier: Apache-2.0 */
/* What state.c and state_caches.c share; nobody else's business. */
#ifndef VAND_STATE_INTERNAL_H
#define VAND_STATE_INTERNAL_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "vand/state.h"

#define STATE_LEAVING_MAX 64

/* Files, for what is dirty, what failed, and what was unreadable. */
enum state_file {
	FILE_IDENTITY,
	FILE_MEMBERSHIP,
	FILE_NETMAP,
	FILE_INTERFACES,
	FILE_ENDPOINTS,
	FILE_STAMP,
	FILE_STARTS,
	FILE__COUNT
};

struct state {
	char *dir;
	int lock_fd;
	struct identity identity;
	bool member;
	struct state_membership membership;
	struct netmap_console consoles[NETMAP_CONSOLES_MAX];
	size_t console_count;
	uint64_t starts;
	uint16_t port;
	char leaving[STATE_LEAVING_MAX][NETMAP_ID_MAX + 1];
	size_t leaving_count;
	struct json_object *interfaces; /* network id → interface name */
	struct json_object *endpoints;  /* peer key → "IP:PORT" */
	uint64_t stamp_ns;              /* the last one given out */
	uint64_t stamp_ahead_ns;        /* high-water mark on disk */
	uint64_t contact_ns;            /* of the netmap file */
	bool dirty[FILE__COUNT];
	char *failed[FILE__COUNT];     /* why it cannot be written; NULL: it can */
	char *unreadable[FILE__COUNT]; /* why it was ignored at the start */
};

/* Heap. */
char *state_path(const struct state *s, enum state_file file);
/* Writes a file and remembers how it went; logs when that changes. */
int state_write(struct state *s, enum state_file file, const char *text, struct err *e);
int state_write_json(struct state *s, enum state_file file, struct json_object *o, struct err *e);
/* A JSON object from a file; NULL when there is none or it is damaged (which is reported). */
struct json_object *state_read_json(struct state *s, enum state_file file, size_t max);
/* Says, in the log and in state_warnings(), that a file is done without. */
void state_ignore(struct state *s, enum state_file file, const char *why);

/* state_caches.c */
void state_load_caches(struct state *s);
/* Writes what is dirty of the caches; the first error. */
int state_flush_caches(struct state *s, struct err *e);

#endif
