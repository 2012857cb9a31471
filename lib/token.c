/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/token.h"

#include <ctype.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "lib/hash.h"
#include "lib/key.h"
#include "lib/wirebuf.h"

#define PREFIX        "van1_"
#define CHECK_LEN     4
#define RAW_FIXED_LEN (32 + TOKEN_SECRET_LEN + CHECK_LEN)
#define RAW_MAX       (RAW_FIXED_LEN + TOKEN_URL_MAX)

void token_format(const struct token *t, char ret_text[TOKEN_TEXT_MAX])
{
	size_t url_len = strnlen(t->url, TOKEN_URL_MAX);
	uint8_t raw[RAW_MAX], check[HASH_LEN];
	struct wire_writer w = wire_writer(raw, sizeof(raw));

	wire_put(&w, t->pin, sizeof(t->pin));
	wire_put(&w, t->secret, sizeof(t->secret));
	wire_put(&w, t->url, url_len);
	hash_sha256(HASH_PIECES({raw, wire_written(&w)}), check);
	wire_put(&w, check, CHECK_LEN);
	memcpy(ret_text, PREFIX, sizeof(PREFIX));
	key_base64(raw, wire_written(&w), true, ret_text + strlen(PREFIX));
	sodium_memzero(raw, sizeof(raw));
}

/* "https://" and a host, printable ASCII. Not http: there would be nothing to hold the pin against.
 */
static bool url_valid(const char *url, size_t len)
{
	static const char scheme[] = "https://";

	if (len <= strlen(scheme) || strncmp(url, scheme, strlen(scheme)) != 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (url[i] <= ' ' || url[i] > '~')
			return false;
	}
	return url[strlen(scheme)] != '/';
}

static int parse_raw(const uint8_t *raw, size_t len, struct token *t, struct err *e)
{
	struct wire_reader r = wire_reader(raw, len);
	uint8_t check[HASH_LEN], found[CHECK_LEN];
	size_t url_len;

	if (len <= RAW_FIXED_LEN)
		return err_set(e, -VAN_E_SYNTAX,
			"the join token is too short: part of it is missing; paste it again");
	url_len = len - RAW_FIXED_LEN;
	hash_sha256(HASH_PIECES({raw, len - CHECK_LEN}), check);
	wire_get(&r, t->pin, sizeof(t->pin));
	wire_get(&r, t->secret, sizeof(t->secret));
	wire_get(&r, t->url, url_len);
	t->url[url_len] = '\0';
	wire_get(&r, found, sizeof(found));
	if (!wire_done(&r) || memcmp(found, check, CHECK_LEN) != 0)
		return err_set(e, -VAN_E_SYNTAX,
			"the join token is damaged (a character is missing or changed): paste it "
			"again");
	if (!url_valid(t->url, url_len))
		return err_set(e, -VAN_E_SYNTAX,
			"the join token holds no https:// address of a console: issue another, and "
			"check public_url in the console's configuration");
	return 0;
}

int token_parse(const char *text, struct token *ret_token, struct err *e)
{
	char body[TOKEN_TEXT_MAX];
	uint8_t raw[RAW_MAX];
	struct token t = {0};
	size_t len, raw_len;
	int rc;

	while (isspace((unsigned char)*text))
		text++;
	len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	if (len == 0)
		return err_set(e, -VAN_E_SYNTAX, "the join token is empty");
	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return err_set(e, -VAN_E_SYNTAX,
			"this is not a join token: one starts with \"" PREFIX "\"");
	text += strlen(PREFIX);
	len -= strlen(PREFIX);
	if (len >= sizeof(body))
		return err_set(e, -VAN_E_SYNTAX,
			"the join token is too long: is there more than one in the text?");
	memcpy(body, text, len);
	body[len] = '\0';
	rc = key_unbase64(body, true, raw, sizeof(raw), &raw_len);
	if (rc == 0)
		rc = parse_raw(raw, raw_len, &t, e);
	else if (rc == -VAN_E_SYNTAX)
		err_set(e, rc,
			"the join token is damaged (a character is missing or does not belong there): "
			"paste it again");
	else
		err_set(e, rc, "cannot read the join token: %s", err_name(rc));
	if (rc == 0)
		*ret_token = t;
	sodium_memzero(body, sizeof(body));
	sodium_memzero(raw, sizeof(raw));
	sodium_memzero(&t, sizeof(t));
	return rc;
}

void token_pin_text(const uint8_t pin[32], char ret_text[53])
{
	static const char prefix[] = "sha256//";

	memcpy(ret_text, prefix, sizeof(prefix));
	key_base64(pin, 32, false, ret_text + strlen(prefix));
}
