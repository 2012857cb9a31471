/* SPDX-License-Identifier: Apache-2.0 */
/* What the metrics*.c files share; nobody else's business. */
#ifndef CONSOLE_API_METRICS_INTERNAL_H
#define CONSOLE_API_METRICS_INTERNAL_H

#include <stdio.h>
#include "console-api/console.h"
#include "console-api/metrics.h"

/* "# HELP" and "# TYPE"; the samples of one name follow each other (format 0.0.4). */
void metrics_head(FILE *out, const char *name, const char *type, const char *help);
/* A label's value, quoted and escaped. */
void metrics_quoted(FILE *out, const char *text);

/* metrics_mesh.c: the organization's networks and nodes (NULL: all), at most metrics_nodes each. */
void metrics_mesh(FILE *out, struct console *c, const char *org);

#endif
