/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the source tree that are part of the program. Not NUL-terminated. */
#ifndef CONSOLE_API_EMBED_H
#define CONSOLE_API_EMBED_H

#include <stddef.h>

struct embedded {
	const char *data;
	size_t len;
};

struct embedded embed_schema_001(void);
struct embedded embed_openapi_json(void);

#endif
