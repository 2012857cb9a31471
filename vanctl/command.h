/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands: one row each (command_table.c), from which the parser, `--help`, the completions
 * and the manual page come. Options have a row each too and mean the same wherever they occur.
 */
#ifndef VANCTL_COMMAND_H
#define VANCTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/err.h"

struct vanctl;

enum option_id {
	OPT_END, /* ends lists of options */
	/* global: every command takes them, in front of or behind its words */
	OPT_OUTPUT,
	OPT_CONSOLE,
	OPT_KEY_FILE,
	OPT_PIN,
	OPT_CA,
	OPT_CONTEXT,
	OPT_ORG,
	OPT_IF_REVISION,
	OPT_SOCKET,
	OPT_TIMEOUT,
	OPT_QUIET,
	OPT_VERBOSE,
	OPT_NO_COLOR,
	OPT_HELP,
	OPT_LAST_GLOBAL = OPT_HELP,
	/* of single commands */
	OPT_NETWORK,
	OPT_CIDR,
	OPT_CIDR6,
	OPT_ENCRYPTION,
	OPT_MTU,
	OPT_USES,
	OPT_TTL,
	OPT_EPHEMERAL,
	OPT_TOKEN_FILE,
	OPT_LOGIN_TOKEN_FILE,
	OPT_NAME,
	OPT_NEW_NAME,
	OPT_REQUIRE_APPROVAL,
	OPT_LABELS,
	OPT_TO,
	OPT_NEW_ADDRESS,
	OPT_ADDRESS,
	OPT_IFNAME,
	OPT_WAIT,
	OPT_COUNT,
	OPT_INTERVAL,
	OPT_OBJECT_NAME,
	OPT_NOTE,
	OPT_NODE,
	OPT_FOR_NAME,
	OPT_PREFIX,
	OPT_MODE,
	OPT_METRIC,
	OPT_GATEWAY_NODE,
	OPT_HEALTH,
	OPT_HEALTH_INTERVAL,
	OPT_HEALTH_FAILURES,
	OPT_ENABLED,
	OPT_CANDIDATES,
	OPT_ASSIGN,
	OPT_VRID,
	OPT_SCOPE,
	OPT_KEEP_SSH,
	OPT_ACTION,
	OPT_FROM,
	OPT_INTERFACE,
	OPT_PRIORITY,
	OPT_CONFIRM_WITHIN,
	OPT_IMPORT_NAME,
	OPT_DRY_RUN,
	OPT_UNSET,
	OPT_SORT,
	OPT_FILTER,
	OPT_DESCRIPTION,
	OPT_LIMITS,
	OPT_FULL_NAME,
	OPT_USER_ROLE,
	OPT_DISABLED,
	OPT_KEY_ROLE,
	OPT_USER,
	OPT_KEY_TTL,
	OPT_SINCE,
	OPT_RESOLUTION,
	OPT_KIND,
	OPT_AFTER,
	OPT_EVENTS,
	OPT__MAX
};

enum value_kind {
	VALUE_FLAG,     /* no value */
	VALUE_TEXT,     /* not empty */
	VALUE_FILE,     /* a path, or - where the command says so */
	VALUE_CHOICE,   /* one of `choices` */
	VALUE_YES_NO,   /* the same, of yes and no */
	VALUE_WORDS,    /* words with commas between, none empty */
	VALUE_LABELS,   /* KEY=VALUE, or KEY- to remove it, with commas between */
	VALUE_NUMBERS,  /* KEY=NUMBER, or KEY- to remove it, with commas between */
	VALUE_FILTER,   /* MEMBER=VALUE, with commas between */
	VALUE_INT,      /* min…max */
	VALUE_DURATION, /* number = milliseconds, min…max */
	VALUE_CIDR4,    /* an IPv4 network */
	VALUE_CIDR6,    /* an IPv6 network */
	VALUE_IP,       /* an address without prefix */
	VALUE_IFNAME,   /* a name that the kernel takes for an interface */
};

struct option_row {
	const char *name; /* without the dashes */
	char letter;      /* 0: none */
	enum value_kind kind;
	const char *metavar;
	int64_t min, max;
	bool or_zero;               /* 0 as well, below min */
	const char *const *choices; /* NULL-terminated */
	const char *default_text;   /* NULL: none */
	const char *env;            /* environment variable that sets it too, or NULL */
	const char *help;
};

#define COMMAND_MAX_POSITIONALS 2
#define COMMAND_MAX_OPTIONS     12

struct command {
	const char *noun;
	const char *verb; /* NULL: the noun is the command */
	/* Placeholders as shown in the usage, "[NAME]" when optional, "a|b" for a choice. */
	const char *positionals[COMMAND_MAX_POSITIONALS];
	enum option_id required[COMMAND_MAX_OPTIONS];
	enum option_id options[COMMAND_MAX_OPTIONS];
	/* 0 or a negative code, with the reason in e; an empty text there means that all has been
	 * said. */
	int (*run)(struct vanctl *v, struct err *e);
	const char *help;            /* one line, imperative, without a full stop */
	const char *text;            /* more sentences, or NULL */
	const char *usage;           /* what stands behind the words, where it cannot be derived */
	const char *positional_hint; /* what to say to arguments where none are taken, or NULL */
	const char *example;
	bool local; /* asks the local vand, not the console */
	/* Changes or deletes one object that there is, with If-Match: takes --if-revision. */
	bool conditional;
};

/* The tables. Commands of one noun stand together; the last row has no noun. */
extern const struct command command_table[];
extern const struct option_row option_table[OPT__MAX];

/* What was typed. The texts point into argv and the environment. */
struct command_args {
	const struct command *command; /* NULL: only help is asked for */
	const char *noun;              /* of the table, or NULL */
	bool help;
	bool set[OPT__MAX];         /* typed or in the environment */
	const char *text[OPT__MAX]; /* or the default's text, or NULL */
	int64_t number[OPT__MAX];   /* VALUE_INT, VALUE_DURATION; 0 without a default */
	const char *positionals[COMMAND_MAX_POSITIONALS]; /* NULL: not given */
};

/*
 * Parses a command line. -VAN_E_SYNTAX with one line for a wrong one; then *ret_args holds noun and
 * command as far as they were known, for the hint. Not reentrant: getopt(3) is not.
 */
int command_parse(int argc, char *const argv[], struct command_args *ret_args, struct err *e);

/* The row of a command; verb may be NULL. NULL: there is none. */
const struct command *command_find(const char *noun, const char *verb);
/* The first row of a noun, or NULL. */
const struct command *command_find_noun(const char *noun);
bool command_takes(const struct command *c, enum option_id id);
bool command_positional_optional(const char *placeholder);

/* The nearest of `count` words to a mistyped one, or NULL when none is near. */
const char *command_nearest(const char *typed, const char *const *words, size_t count);

#endif
