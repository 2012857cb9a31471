/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs requests as a node's agent does, for tests that speak HTTPS themselves. Reads commands from
 * standard input, one a line, and answers each with one line:
 *
 *   new                                     → INDEX PUBLIC_KEY SIGN_KEY   (a fresh identity)
 *   load FILE                               → the same of an identity file, made when there is none
 *   sign INDEX NODE CONSOLE|- TIME|now METHOD TARGET BODY|-
 *                                           → the value of the Authorization header
 *
 * BODY is the base64 of the bytes; CONSOLE is "-" for none. What is wrong ends it with a message.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/agentsig.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/key.h"

#define IDENTITIES_MAX 4096
#define WORDS_MAX      8

struct signer {
	struct identity *identities;
	size_t count;
};

static int complain(const char *what)
{
	fprintf(stderr, "agentcall: %s\n", what);
	return -1;
}

static void print_identity(const struct signer *s, size_t i)
{
	char public[KEY_TEXT_LEN], sign[KEY_TEXT_LEN];

	key_format(&s->identities[i].public, public);
	key_format(&s->identities[i].sign_public, sign);
	printf("%zu %s %s\n", i, public, sign);
}

static int add_identity(struct signer *s, const char *file)
{
	struct err e = {0};

	if (s->count == IDENTITIES_MAX)
		return complain("too many identities");
	if (!file)
		identity_generate(&s->identities[s->count]);
	else if (identity_load_or_create(file, &s->identities[s->count], &e))
		return complain(e.text);
	print_identity(s, s->count++);
	return 0;
}

static int sign(struct signer *s, char **words)
{
	struct agentsig_request r = {.method = words[5], .path = words[6]};
	size_t i = strtoul(words[1], NULL, 10);
	CLEANUP(free) char *body = NULL;
	char header[AGENTSIG_HEADER_MAX];
	uint64_t time_s = clock_wall_ns() / NS_PER_S;

	if (i >= s->count)
		return complain("no such identity");
	if (strcmp(words[4], "now") != 0)
		time_s = strtoull(words[4], NULL, 10);
	r.console_id = strcmp(words[3], "-") != 0 ? words[3] : "";
	body = malloc(strlen(words[7]) + 1);
	if (!body)
		return complain("no memory");
	if (strcmp(words[7], "-") != 0 &&
		key_unbase64(words[7], false, body, strlen(words[7]), &r.body_len))
		return complain("BODY is not base64");
	r.body = body;
	agentsig_sign(&r, words[2], time_s, s->identities[i].sign_secret, header);
	puts(header);
	return 0;
}

static int command(struct signer *s, char *line)
{
	char *words[WORDS_MAX + 1] = {0};
	char *save = NULL;
	size_t n = 0;

	line[strcspn(line, "\r\n")] = '\0';
	for (char *word = strtok_r(line, " ", &save); word && n < WORDS_MAX;
		word = strtok_r(NULL, " ", &save))
		words[n++] = word;
	if (n == 1 && !strcmp(words[0], "new"))
		return add_identity(s, NULL);
	if (n == 2 && !strcmp(words[0], "load"))
		return add_identity(s, words[1]);
	if (n == WORDS_MAX && !strcmp(words[0], "sign"))
		return sign(s, words);
	return complain("unknown command");
}

int main(void)
{
	struct signer s = {0};
	CLEANUP(free) char *line = NULL;
	size_t room = 0;
	int rc = 0;

	if (sodium_init() < 0)
		return 1;
	s.identities = calloc(IDENTITIES_MAX, sizeof(*s.identities));
	if (!s.identities)
		return 1;
	while (!rc && getline(&line, &room, stdin) > 0) {
		rc = command(&s, line);
		fflush(stdout);
	}
	sodium_memzero(s.identities, IDENTITIES_MAX * sizeof(*s.identities));
	free(s.identities);
	return rc ? 1 : 0;
}
