/* SPDX-License-Identifier: Apache-2.0 */
/* A join token that is taken has one spelling only, white space around it apart. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(free) char *text = malloc(size + 1);
	char again[TOKEN_TEXT_MAX];
	struct token t;
	struct err e;
	const char *start;

	if (!text)
		abort();
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (token_parse(text, &t, &e) != 0)
		return 0;
	token_format(&t, again);
	start = text;
	while (isspace((unsigned char)*start))
		start++;
	if (strncmp(start, again, strlen(again)) != 0)
		abort();
	for (start += strlen(again); *start; start++) {
		if (!isspace((unsigned char)*start))
			abort();
	}
	return 0;
}
