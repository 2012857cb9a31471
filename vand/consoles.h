/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the mesh's consoles to talk to. The one that the node joined by is preferred; when the
 * current one does not answer, the next in the list takes its place, at once; after a round without
 * an answer, pauses grow. While another one than the preferred is current, the preferred is tried
 * again now and then. Pure: time and chance are arguments.
 */
#ifndef VAND_CONSOLES_H
#define VAND_CONSOLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/netmap.h"

#define CONSOLES_MAX       (NETMAP_CONSOLES_MAX + 1)
#define CONSOLES_PINS_TEXT (NETMAP_PINS_MAX * NETMAP_PIN_TEXT_LEN)

struct consoles {
	struct netmap_console items[CONSOLES_MAX];
	uint64_t not_before_ns[CONSOLES_MAX]; /* as they have asked for */
	size_t count;                         /* 0: nowhere to go */
	size_t preferred, current;
	unsigned int failures; /* of whichever was current, since the last answer */
	unsigned int returns;  /* tries of the preferred one that failed */
	uint64_t return_at_ns; /* when to try it again; 0: it is current */
};

/*
 * Takes the list over. home is the console by which the node joined: preferred where the list has
 * its URL, kept as the last one where it has not, for a list may be wrong. The current one stays
 * current where it still is in the list.
 */
void consoles_set(struct consoles *c, const struct netmap_console *list, size_t count,
	const struct netmap_console *home);

/* NULL when there is none. */
const struct netmap_console *consoles_current(const struct consoles *c);
/* The console to which the next report goes: now and then the preferred one, to see whether it is
 * back. */
const struct netmap_console *consoles_for_report(struct consoles *c, uint64_t now_ns);

/* Something changed on the way to the consoles: the next report tries the preferred one. */
void consoles_retry(struct consoles *c);

/* The console of this URL has answered. True when it has become current by that. */
bool consoles_answered(struct consoles *c, const char *url);
/*
 * It has not, or asks to be left alone for retry_after_s (0: it does not). chance: 32 random bits.
 * True when another one is current now. *ret_pause_ns is how long to wait before the next try.
 */
bool consoles_failed(struct consoles *c, const char *url, unsigned int retry_after_s,
	uint64_t now_ns, uint32_t chance, uint64_t *ret_pause_ns);

/* The pins as curl takes them: joined by semicolons. */
void consoles_pins(const struct netmap_console *console, char ret_text[CONSOLES_PINS_TEXT]);
/* True when a console of the list has this pin. */
bool consoles_know_pin(const struct consoles *c, const char *pin);

/* The pause before try n (from 0) after failures: doubling from half a second to half a minute, and
 * 25 % more or less, so that nodes do not march in step. */
uint64_t consoles_pause_ns(unsigned int n, uint32_t chance);

#endif
