/* SPDX-License-Identifier: Apache-2.0 */
/* Small allocations of the control plane: they abort when there is no memory. Never for sizes that
 * a request chooses beyond its body limit. */
#ifndef CONSOLE_API_XALLOC_H
#define CONSOLE_API_XALLOC_H

#include <stddef.h>

void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n, size_t size);
char *xstrdup(const char *text);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
