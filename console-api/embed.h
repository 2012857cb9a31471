/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the source tree that are part of the program. Not NUL-terminated. */
#ifndef CONSOLE_API_EMBED_H
#define CONSOLE_API_EMBED_H

#include <stddef.h>

struct embedded {
	const char *data;
	size_t len;
};

/* schema/NNN.sql in their order, from 1; data is NULL beyond the last one. */
struct embedded embed_schema(unsigned int number);
struct embedded embed_openapi_json(void);

#endif
