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
