/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/agenthello.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/hash.h"
#include "lib/wirebuf.h"

#define VERSION_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+~-"

void agenthello_format(const struct agenthello *hello, char ret_text[AGENTHELLO_TEXT_MAX])
{
	snprintf(ret_text, AGENTHELLO_TEXT_MAX,
		"version=%s,protocol=%" PRIu32 ",instance=%016" PRIx64 ",start=%" PRIu64,
		hello->version, hello->protocol, hello->instance, hello->start);
}

/* Copies the value of "NAME=value" up to a comma or the end, and moves on. */
static bool take_field(const char **pos, const char *name, char *ret_value, size_t size)
{
	size_t name_len = strlen(name), len;

	if (strncmp(*pos, name, name_len) != 0)
		return false;
	*pos += name_len;
	len = strcspn(*pos, ",");
	if (!len || len >= size)
		return false;
	memcpy(ret_value, *pos, len);
	ret_value[len] = '\0';
	*pos += len + ((*pos)[len] == ',');
	return true;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *ret_value)
{
	char *end;

	errno = 0;
	*ret_value = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && !*end && !errno && *ret_value <= max;
}

int agenthello_parse(const char *text, struct agenthello *ret_hello)
{
	char protocol[12], instance_text[17], start[22];
	struct agenthello hello = {0};
	uint8_t instance[8];
	uint64_t number;

	if (!take_field(&text, "version=", hello.version, sizeof(hello.version)) ||
		!take_field(&text, "protocol=", protocol, sizeof(protocol)) ||
		!take_field(&text, "instance=", instance_text, sizeof(instance_text)) ||
		!take_field(&text, "start=", start, sizeof(start)) ||
		strspn(hello.version, VERSION_CHARS) != strlen(hello.version) ||
		!parse_number(protocol, UINT32_MAX, &number) || !number ||
		!hash_unhex(instance_text, instance, sizeof(instance)) ||
		!parse_number(start, INT64_MAX, &hello.start))
		return -VAN_E_SYNTAX;
	hello.protocol = (uint32_t)number;
	struct wire_reader r = wire_reader(instance, sizeof(instance));
	hello.instance = wire_get_be64(&r);
	if (!hello.instance)
		return -VAN_E_SYNTAX;
	*ret_hello = hello;
	return 0;
}

/* Reads "MAJOR.MINOR", whatever follows after a character that is no digit. */
static bool parse_version(const char *text, unsigned long *ret_major, unsigned long *ret_minor)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	*ret_major = strtoul(text, &end, 10);
	if (*end != '.' || end[1] < '0' || end[1] > '9')
		return false;
	*ret_minor = strtoul(end + 1, &end, 10);
	return *ret_major < 100000 && *ret_minor < 100000;
}

bool agenthello_fits(const char *a, const char *b)
{
	unsigned long major_a, minor_a, major_b, minor_b;

	return parse_version(a, &major_a, &minor_a) && parse_version(b, &major_b, &minor_b) &&
	       major_a == major_b && minor_a <= minor_b + 1 && minor_b <= minor_a + 1;
}
