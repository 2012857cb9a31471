/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/stats.h"

#include <assert.h>

static const char *const drop_names[] = {
#define X(name, text) #name,
	STATS_DROPS(X)
#undef X
};
static_assert(sizeof(drop_names) / sizeof(drop_names[0]) == DROP__COUNT, "a name for each reason");

static const char *const drop_help[] = {
#define X(name, text) text,
	STATS_DROPS(X)
#undef X
};

static const char *const event_names[] = {
#define X(name, text) #name,
	STATS_EVENTS(X)
#undef X
};
static_assert(sizeof(event_names) / sizeof(event_names[0]) == STAT__COUNT, "a name for each event");

static const char *const event_help[] = {
#define X(name, text) text,
	STATS_EVENTS(X)
#undef X
};

const char *stats_drop_name(enum drop_reason reason)
{
	return reason < DROP__COUNT ? drop_names[reason] : "?";
}

const char *stats_drop_help(enum drop_reason reason)
{
	return reason < DROP__COUNT ? drop_help[reason] : "";
}

const char *stats_event_name(enum stat_event event)
{
	return event < STAT__COUNT ? event_names[event] : "?";
}

const char *stats_event_help(enum stat_event event)
{
	return event < STAT__COUNT ? event_help[event] : "";
}

static void print_item(FILE *to, const char *name, const char *help)
{
	fprintf(to, ".TP\n.B %s\n", name);
	for (; *help; help++) {
		if (*help == '-')
			fputs("\\-", to);
		else
			fputc(*help, to);
	}
	fputs(".\n", to);
}

void stats_print_man(FILE *to)
{
	fputs(".SH COUNTERS\n.B vanctl stats\nshows what was counted since the start; all of them only "
	      "grow.\n.SS Drops\nWhy a frame or datagram went no further.\n",
		to);
	for (int i = 0; i < DROP__COUNT; i++)
		print_item(to, drop_names[i], drop_help[i]);
	fputs(".SS Frames, handshakes, offloads\n", to);
	for (int i = 0; i < STAT__COUNT; i++)
		print_item(to, event_names[i], event_help[i]);
}
