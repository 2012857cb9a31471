/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files (libconfig syntax) by schema: one row an option, from which the parser, the
 * defaults, the commented example and the manual page's option list all come.
 */
#ifndef LIB_CONFSCHEMA_H
#define LIB_CONFSCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "lib/err.h"

enum conf_type {
	CONF_STRING, /* char *, heap; NULL when absent without default */
	CONF_INT,    /* int64_t */
	CONF_BOOL,   /* bool */
	CONF_STRINGS /* struct conf_strings */
};

struct conf_strings {
	char **items; /* heap */
	size_t count;
};

struct conf_option {
	const char *name;
	enum conf_type type;
	size_t offset;    /* of the field in the configuration struct */
	int64_t min, max; /* CONF_INT: value, unless both are equal (any); CONF_STRING and the
			   * items of CONF_STRINGS: length, where max > 0 */
	const char *default_text; /* as it would stand in the file; NULL: none */
	const char *word;         /* CONF_INT: a text that may stand for word_value; NULL: none */
	int64_t word_value;
	bool required;
	const char *const
		*choices; /* CONF_STRING: NULL-terminated list of allowed values, or NULL */
	const char *help; /* one or two sentences; unit and meaning */
};

struct conf_schema {
	const char *program;               /* "vand" */
	const struct conf_option *options; /* ends with a row whose name is NULL */
	size_t struct_size;
};

/*
 * Reads the file into *ret_config (struct_size bytes, zeroed first, defaults set). Unknown keys,
 * wrong types and values out of bounds are errors that name file, line, key and what is allowed.
 * On failure *ret_config is as conf_free() leaves it.
 */
int conf_load(const struct conf_schema *schema, const char *path, void *ret_config, struct err *e);

/* The same with all defaults and no file; required options stay empty. */
void conf_defaults(const struct conf_schema *schema, void *ret_config);
void conf_free(const struct conf_schema *schema, void *config);

/* Writes a commented example file: every option with its help and default. */
void conf_print_example(const struct conf_schema *schema, FILE *out);
/* Writes the options as the body of a mdoc/man section (.TP items). */
void conf_print_man(const struct conf_schema *schema, FILE *out);

#endif
