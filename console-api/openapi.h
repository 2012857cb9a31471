/* SPDX-License-Identifier: Apache-2.0 */
/* The document at /api/openapi.json: openapi.json of the source tree (info, tags, components) with
 * the paths made from the table of routes. */
#ifndef CONSOLE_API_OPENAPI_H
#define CONSOLE_API_OPENAPI_H

/* Heap. */
char *openapi_text(void);

#endif
