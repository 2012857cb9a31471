/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/console_suite.h"

static const struct jointoken_spec one_use = {.uses = 1, .ttl_s = 60};

static int enroll_at(
	struct suite *s, const struct enrolment *en, uint64_t now_s, struct enrolled *ret_out)
{
	s->p = (struct problem){0};
	return agent_enroll(s->r, &suite_actor, en, now_s, ret_out, &s->p);
}

static void assert_state(struct suite *s, const char *state_word, int64_t uses_left)
{
	const struct page page = {.limit = 10};
	struct json_object *list, *token;

	SUITE_OK(s, jointoken_list(s->r, ORG_DEFAULT, NULL, &page, &list, &s->p));
	token = json_object_array_get_idx(json_object_object_get(list, "items"), 0);
	assert_string_equal(record_text(token, "state"), state_word);
	assert_int_equal(record_int(token, "uses_left"), uses_left);
	json_object_put(list);
}

static void each_end_of_a_token_has_its_word(void **state)
{
	struct suite *s = *state;
	uint64_t now_s = (uint64_t)time(NULL);
	uint8_t secret[TOKEN_SECRET_LEN], wrong[TOKEN_SECRET_LEN] = {1};
	struct enrolment en, other;
	char id[NETMAP_ID_MAX + 1];
	struct enrolled out;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_token(s, "blue", &one_use, secret, id);
	en = suite_enrolment(wrong, "web");
	SUITE_PROBLEM(s, enroll_at(s, &en, now_s, &out), 403, "token_wrong");
	en = suite_enrolment(secret, "web");
	SUITE_PROBLEM(s, enroll_at(s, &en, now_s + 61, &out), 403, "token_expired");
	assert_state(s, "active", 1);
	assert_int_equal(enroll_at(s, &en, now_s, &out), 0);
	assert_true(out.created);
	assert_state(s, "used_up", 0);
	other = suite_enrolment(secret, "web");
	SUITE_PROBLEM(s, enroll_at(s, &other, now_s, &out), 403, "token_used_up");
	SUITE_OK(s, jointoken_revoke(s->r, &suite_actor, id, NULL, &s->p));
	SUITE_PROBLEM(s, enroll_at(s, &other, now_s, &out), 403, "token_revoked");
	assert_state(s, "revoked", 0);
	/* The node that joined by it hears the same answer again, for ever. */
	assert_int_equal(enroll_at(s, &en, now_s + 100000, &out), 0);
	assert_false(out.created);
}

static void a_failed_enrolment_spends_nothing(void **state)
{
	struct suite *s = *state;
	uint64_t now_s = (uint64_t)time(NULL), before;
	uint8_t secret[TOKEN_SECRET_LEN];
	struct enrolment en;
	struct enrolled out;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_token(s, "blue", &one_use, secret, NULL);
	en = suite_enrolment(secret, "web");
	en.has_address = true;
	assert_true(ip_parse("10.0.0.1", &en.address));
	before = suite_revision(s);
	SUITE_PROBLEM(s, enroll_at(s, &en, now_s, &out), 400, "invalid");
	assert_int_equal(suite_revision(s), before);
	assert_state(s, "active", 1);
}

/* Another console takes the last use between our read and our commit. */
struct rival {
	struct suite *s;
	const uint8_t *secret;
	const struct store_ops *ops;
	bool done;
};

static struct rival rival;

static int commit_after_rival(
	struct store *store, const struct store_txn *txn, uint64_t *ret_revision)
{
	if (!rival.done) {
		struct enrolment en = suite_enrolment(rival.secret, "rival");
		struct problem p = {0};
		struct enrolled out;

		rival.done = true;
		assert_int_equal(
			agent_enroll(rival.s->r, &suite_actor, &en, (uint64_t)time(NULL), &out, &p),
			0);
	}
	return rival.ops->commit(store, txn, ret_revision);
}

static void the_last_use_is_spent_once(void **state)
{
	struct suite *s = *state;
	struct store *store = s->r->store;
	uint8_t secret[TOKEN_SECRET_LEN];
	struct store_ops ops = *store->ops;
	struct enrolment en;
	struct enrolled out;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_token(s, "blue", &one_use, secret, NULL);
	rival = (struct rival){.s = s, .secret = secret, .ops = store->ops};
	ops.commit = commit_after_rival;
	store->ops = &ops;
	en = suite_enrolment(secret, "web");
	SUITE_PROBLEM(s, enroll_at(s, &en, (uint64_t)time(NULL), &out), 403, "token_used_up");
	store->ops = rival.ops;
	assert_true(rival.done);
	assert_state(s, "used_up", 0);
}

static int never_commits(struct store *store, const struct store_txn *txn, uint64_t *ret_revision)
{
	(void)store;
	(void)txn;
	(void)ret_revision;
	return -EAGAIN;
}

static void retries_end(void **state)
{
	struct suite *s = *state;
	struct store *store = s->r->store;
	const struct store_ops *real = store->ops;
	struct store_ops ops = *real;
	uint8_t secret[TOKEN_SECRET_LEN];
	struct enrolment en;
	struct enrolled out;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_token(s, "blue", &one_use, secret, NULL);
	ops.commit = never_commits;
	store->ops = &ops;
	en = suite_enrolment(secret, "web");
	SUITE_PROBLEM(s, enroll_at(s, &en, (uint64_t)time(NULL), &out), 503, "store_busy");
	assert_true(s->p.retry_after_s >= 1);
	store->ops = real;
}

static int disk_full(struct store *store, const struct store_txn *txn, uint64_t *ret_revision)
{
	(void)store;
	(void)txn;
	(void)ret_revision;
	return -ENOSPC;
}

static void a_full_disk_has_its_status(void **state)
{
	struct suite *s = *state;
	struct store *store = s->r->store;
	const struct store_ops *real = store->ops;
	struct store_ops ops = *real;
	struct json_object *view = NULL;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	ops.commit = disk_full;
	store->ops = &ops;
	SUITE_PROBLEM(s, jointoken_issue(s->r, &suite_actor, "blue", &one_use, &view, &s->p), 507,
		"store_full");
	assert_null(view);
	store->ops = real;
}

static void specs(void **state)
{
	struct suite *s = *state;
	static const char *const bad[] = {"{\"uses\":0}", "{\"uses\":1.5}", "{\"ttl_s\":0}",
		"{\"ephemeral_s\":29}", "{\"ephemeral_s\":-1}", "{\"x\":1}",
		"{\"uses\":null,\"x\":null}"};
	struct jointoken_spec spec;
	struct json_object *o;

	SUITE_OK(s, jointoken_spec_from_json(NULL, &spec, &s->p));
	assert_int_equal(spec.uses, 1);
	assert_int_equal(spec.ttl_s, 3600);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(json_parse(bad[i], strlen(bad[i]), &o, NULL), 0);
		SUITE_PROBLEM(s, jointoken_spec_from_json(o, &spec, &s->p), 400, "invalid");
		assert_int_equal(s->p.error_count, 1);
		json_object_put(o);
	}
}

static void tokens_go_with_their_network(void **state)
{
	struct suite *s = *state;
	struct jointoken_spec many = {.uses = 5, .ttl_s = 60};
	uint8_t secret[TOKEN_SECRET_LEN];
	struct enrolment en;
	struct enrolled out;
	uint64_t n;

	suite_network(s, "blue", "172.16.1.0/24", NULL);
	suite_token(s, "blue", &many, secret, NULL);
	en = suite_enrolment(secret, "web");
	assert_int_equal(enroll_at(s, &en, (uint64_t)time(NULL), &out), 0);
	SUITE_OK(s, network_delete(s->r, &suite_actor, "blue", NULL, &s->p));
	en = suite_enrolment(secret, "web");
	SUITE_PROBLEM(s, enroll_at(s, &en, (uint64_t)time(NULL), &out), 403, "token_wrong");
	for (size_t i = 0; i < 4; i++) {
		static const char *const prefixes[] = {
			"/tokens/", "/token-hash/", "/token-uses/", "/net-tokens/"};

		assert_int_equal(store_count(s->r->store, prefixes[i], &n), 0);
		assert_int_equal(n, 0);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_end_of_a_token_has_its_word),
		T(a_failed_enrolment_spends_nothing),
		T(the_last_use_is_spent_once),
		T(retries_end),
		T(a_full_disk_has_its_status),
		T(specs),
		T(tokens_go_with_their_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
