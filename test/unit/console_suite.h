/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the console: a temporary directory, and a registry on a fresh store in it. */
#ifndef TEST_UNIT_CONSOLE_SUITE_H
#define TEST_UNIT_CONSOLE_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <json-c/json.h>
#include <sodium.h>
#include "console-api/agent.h"
#include "console-api/jointoken.h"
#include "console-api/member.h"
#include "console-api/network.h"
#include "console-api/node.h"
#include "console-api/registry.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/token.h"

struct suite {
	char dir[64];
	char store_path[96];
	char key_path[96];
	struct registry *r;
	struct problem p;
};

static const struct actor suite_actor = {
	.who = "key:test", .org = ORG_DEFAULT, .role = ROLE_CONSOLE};

static inline void suite_open(struct suite *s)
{
	struct store *store;
	struct err e = {0};

	if (store_sqlite_open(s->store_path, &store, &e) ||
		registry_open(store, s->key_path, &s->r, &e))
		fail_msg("%s", e.text);
	if (!s->r)
		abort();
	s->r->public_url = "https://console.test:8443";
}

static inline void suite_close(struct suite *s)
{
	registry_free(s->r);
	s->r = NULL;
}

static inline void suite_remove_files(const struct suite *s)
{
	static const char *const names[] = {
		"registry.db", "registry.db-wal", "registry.db-shm", "admin.key"};
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", s->dir, names[i]);
		unlink(path);
	}
	rmdir(s->dir);
}

static inline void suite_dir(struct suite *s)
{
	*s = (struct suite){0};
	assert_true(sodium_init() >= 0);
	snprintf(s->dir, sizeof(s->dir), "%s", "/tmp/test-console-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->store_path, sizeof(s->store_path), "%s/registry.db", s->dir);
	snprintf(s->key_path, sizeof(s->key_path), "%s/admin.key", s->dir);
}

static inline int suite_setup(void **state)
{
	struct suite *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	suite_dir(s);
	suite_open(s);
	*state = s;
	return 0;
}

static inline int suite_teardown(void **state)
{
	struct suite *s = *state;

	suite_close(s);
	suite_remove_files(s);
	free(s);
	return 0;
}

/* Fails with the problem's own words. */
#define SUITE_OK(s, call)                                                            \
	do {                                                                         \
		if (call)                                                            \
			fail_msg("%s: %d %s: %s", #call, (s)->p.status, (s)->p.word, \
				(s)->p.detail);                                      \
	} while (0)

#define SUITE_PROBLEM(s, call, want_status, want_word)        \
	do {                                                  \
		(s)->p = (struct problem){0};                 \
		assert_true((call) < 0);                      \
		assert_int_equal((s)->p.status, want_status); \
		assert_string_equal((s)->p.word, want_word);  \
	} while (0)

static inline struct network suite_network(
	struct suite *s, const char *name, const char *cidr, const char *cidr6)
{
	struct network_spec spec = {.mtu = 1360};
	struct network net;

	snprintf(spec.name, sizeof(spec.name), "%s", name);
	assert_true(cidr_parse(cidr, &spec.cidr));
	if (cidr6)
		assert_true(cidr_parse(cidr6, &spec.cidr6));
	SUITE_OK(s, network_create(s->r, &suite_actor, &spec, &net, &s->p));
	return net;
}

/* Issues a token; returns its id (heap) when ret_id is not NULL. */
static inline void suite_token(struct suite *s, const char *net, const struct jointoken_spec *spec,
	uint8_t ret_secret[TOKEN_SECRET_LEN], char *ret_id)
{
	struct json_object *view;
	struct token token;

	SUITE_OK(s, jointoken_issue(s->r, &suite_actor, net, spec, &view, &s->p));
	assert_int_equal(token_parse(record_text(view, "token"), &token, NULL), 0);
	memcpy(ret_secret, token.secret, TOKEN_SECRET_LEN);
	if (ret_id)
		snprintf(ret_id, NETMAP_ID_MAX + 1, "%s", record_text(view, "id"));
	json_object_put(view);
}

/* An enrolment with fresh keys. */
static inline struct enrolment suite_enrolment(
	const uint8_t secret[TOKEN_SECRET_LEN], const char *name)
{
	struct enrolment en = {.version = "1"};

	memcpy(en.secret, secret, sizeof(en.secret));
	randombytes_buf(&en.public_key, sizeof(en.public_key));
	randombytes_buf(&en.sign_key, sizeof(en.sign_key));
	snprintf(en.name, sizeof(en.name), "%s", name);
	return en;
}

/* A node that is in the network. */
static inline struct enrolled suite_node(struct suite *s, const char *net, const char *name)
{
	const struct jointoken_spec one = {.uses = 1, .ttl_s = 60};
	uint8_t secret[TOKEN_SECRET_LEN];
	struct enrolment en;
	struct enrolled out;

	suite_token(s, net, &one, secret, NULL);
	en = suite_enrolment(secret, name);
	SUITE_OK(s, agent_enroll(s->r, &suite_actor, &en, (uint64_t)time(NULL), &out, &s->p));
	return out;
}

static inline uint64_t suite_revision(struct suite *s)
{
	uint64_t revision;

	assert_int_equal(store_revision(s->r->store, &revision), 0);
	return revision;
}

#endif
