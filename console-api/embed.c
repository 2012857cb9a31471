/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The assembler's .incbin puts the files in as they are; paths are relative to the top of the tree,
 * where make runs. The Makefile names them as what embed.o depends on.
 */
#include "console-api/embed.h"

#include <stdint.h>

#define EMBED(symbol, path)                                       \
	__asm__(".pushsection .rodata\n"                          \
		".global " #symbol "_start\n" #symbol "_start:\n" \
		".incbin \"" path "\"\n"                          \
		".global " #symbol "_end\n" #symbol "_end:\n"     \
		".popsection\n");                                 \
	extern const char symbol##_start[];                       \
	extern const char symbol##_end[]

#define EMBEDDED(symbol) \
	((struct embedded){symbol##_start, (uintptr_t)symbol##_end - (uintptr_t)symbol##_start})

EMBED(embedded_schema_001, "console-api/schema/001.sql");
EMBED(embedded_schema_002, "console-api/schema/002.sql");
EMBED(embedded_openapi_json, "console-api/openapi.json");

struct embedded embed_schema(unsigned int number)
{
	switch (number) {
	case 1:
		return EMBEDDED(embedded_schema_001);
	case 2:
		return EMBEDDED(embedded_schema_002);
	default:
		return (struct embedded){0};
	}
}

struct embedded embed_openapi_json(void)
{
	return EMBEDDED(embedded_openapi_json);
}
