/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Join tokens: one string to paste that says where the console is, how to know it, and the right to
 * join. "van1_" and the unpadded URL-safe base64 of
 *
 *   pin 32 (SHA-256 of the console's SubjectPublicKeyInfo) | secret 32 | URL | check 4
 *
 * where check is the start of the SHA-256 of what stands before it, so that a token that lost a
 * character says so at once.
 */
#ifndef LIB_TOKEN_H
#define LIB_TOKEN_H

#include <stddef.h>
#include <stdint.h>
#include "lib/err.h"

#define TOKEN_SECRET_LEN 32
#define TOKEN_URL_MAX    255
#define TOKEN_TEXT_MAX   512 /* with the NUL */

struct token {
	uint8_t pin[32];
	uint8_t secret[TOKEN_SECRET_LEN];
	char url[TOKEN_URL_MAX + 1];
};

void token_format(const struct token *t, char ret_text[TOKEN_TEXT_MAX]);
/* Leading and trailing white space is ignored. -VAN_E_SYNTAX with a line that says what is wrong.
 */
int token_parse(const char *text, struct token *ret_token, struct err *e);
/* The pin as curl takes it: "sha256//BASE64". ret_text holds 53 bytes. */
void token_pin_text(const uint8_t pin[32], char ret_text[53]);

#endif
