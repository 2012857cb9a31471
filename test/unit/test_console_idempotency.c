/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/console_suite.h"

#include "console-api/events.h"
#include "console-api/idempotency.h"
#include "lib/clock.h"

#define NOW_S 2000000000ull

static const struct idem_request request = {.idempotency_key = "one",
	.credential = "the key",
	.key_id = "key_1",
	.org = ORG_DEFAULT,
	.method = "POST",
	.target = "/api/v1/networks",
	.body = "{}",
	.body_len = 2};

static int begin(struct suite *s, const struct idem_request *rq, uint64_t now_s, struct idem *idem,
	struct idem_answer *answer)
{
	s->p = (struct problem){0};
	return idem_begin(s->r, rq, now_s, idem, answer, &s->p);
}

static int build(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	(void)r;
	(void)p;
	store_txn_put(txn, KEY("/done/%s", (const char *)ctx), "1");
	return 0;
}

/* A transaction on behalf of the request. */
static void work(struct suite *s, struct idem *idem, const char *what)
{
	s->r->idem = idem;
	SUITE_OK(s, registry_transact(s->r, build, (void *)(uintptr_t)what, NULL, &s->p));
	s->r->idem = NULL;
}

static uint64_t count(struct suite *s, const char *prefix)
{
	uint64_t n;

	assert_int_equal(store_count(s->r->store, prefix, &n), 0);
	return n;
}

static void once(void **state)
{
	CLEANUP(json) struct json_object *body = json_object_new_object();
	struct suite *s = *state;
	struct idem_answer answer;
	struct idem idem;

	json_set_string(body, "token", "van1_secret");
	assert_int_equal(begin(s, &request, NOW_S, &idem, &answer), 0);
	work(s, &idem, "a");
	work(s, &idem, "b"); /* a second transaction of the same request */
	assert_true(idem.marked);
	idem_done(s->r, &idem, 201, body);
	assert_int_equal(count(s, "/idem/"), 1);
	assert_int_equal(count(s, "/idem-at/"), 1);
	assert_int_equal(begin(s, &request, NOW_S + 86399, &idem, &answer), IDEM_ANSWERED);
	assert_int_equal(answer.status, 201);
	assert_true(json_object_equal(answer.body, body));
	json_object_put(answer.body);
	/* A day later the key is free. */
	assert_int_equal(begin(s, &request, NOW_S + 86400, &idem, &answer), 0);
	idem_wipe(&idem);
}

static void what_is_another_request(void **state)
{
	struct idem_request others[] = {request, request, request, request};
	struct idem_request elsewhere = request, of_another_key = request;
	struct suite *s = *state;
	struct idem_answer answer;
	struct idem idem;

	assert_int_equal(begin(s, &request, NOW_S, &idem, &answer), 0);
	work(s, &idem, "a");
	idem_done(s->r, &idem, 204, NULL);
	others[0].body = "{\"a\":1}";
	others[0].body_len = 7;
	others[1].target = "/api/v1/users";
	others[2].org = "org_2";
	others[3].method = "PATCH";
	for (size_t i = 0; i < 4; i++)
		SUITE_PROBLEM(s, begin(s, &others[i], NOW_S, &idem, &answer), 422,
			"idempotency_key_reused");
	elsewhere.idempotency_key = "two";
	assert_int_equal(begin(s, &elsewhere, NOW_S, &idem, &answer), 0);
	of_another_key.key_id = "key_2";
	assert_int_equal(begin(s, &of_another_key, NOW_S, &idem, &answer), 0);
	/* The same key id with another text cannot be: then the answer does not open. */
	of_another_key.key_id = "key_1";
	of_another_key.credential = "forged";
	SUITE_PROBLEM(s, begin(s, &of_another_key, NOW_S, &idem, &answer), 409, "answer_lost");
	assert_int_equal(begin(s, &request, NOW_S, &idem, &answer), IDEM_ANSWERED);
	assert_null(answer.body);
	assert_int_equal(answer.status, 204);
}

static void two_at_once(void **state)
{
	struct suite *s = *state;
	struct idem_answer answer;
	struct idem first, second;

	assert_int_equal(begin(s, &request, NOW_S, &first, &answer), 0);
	assert_int_equal(begin(s, &request, NOW_S, &second, &answer), 0);
	work(s, &first, "a");
	s->r->idem = &second;
	SUITE_PROBLEM(s, registry_transact(s->r, build, (void *)(uintptr_t) "b", NULL, &s->p), 409,
		"request_in_flight");
	s->r->idem = NULL;
	assert_int_equal(count(s, "/done/"), 1);
	/* The answer is not there yet, and then never comes. */
	SUITE_PROBLEM(
		s, begin(s, &request, NOW_S + 29, &second, &answer), 409, "request_in_flight");
	assert_true(s->p.retry_after_s > 0);
	SUITE_PROBLEM(s, begin(s, &request, NOW_S + 31, &second, &answer), 409, "answer_lost");
	idem_wipe(&first);
}

static void keys_that_are_none(void **state)
{
	struct idem_request rq = request;
	char longest[IDEM_KEY_MAX + 2];
	struct suite *s = *state;
	struct idem_answer answer;
	struct idem idem;
	const char *bad[] = {"", "a\nb", "caf\xc3\xa9", longest};

	memset(longest, 'x', sizeof(longest));
	longest[IDEM_KEY_MAX + 1] = '\0';
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rq.idempotency_key = bad[i];
		SUITE_PROBLEM(s, begin(s, &rq, NOW_S, &idem, &answer), 400, "invalid");
	}
	longest[IDEM_KEY_MAX] = '\0';
	rq.idempotency_key = longest;
	assert_int_equal(begin(s, &rq, NOW_S, &idem, &answer), 0);
}

static void old_rows_go(void **state)
{
	uint64_t now_s = clock_wall_ns() / NS_PER_S;
	struct idem_request rq = request;
	struct suite *s = *state;
	struct idem_answer answer;
	struct idem idem;
	char key[16];

	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		rq.idempotency_key = key;
		assert_int_equal(begin(s, &rq, now_s, &idem, &answer), 0);
		work(s, &idem, "a");
		idem_done(s->r, &idem, 204, NULL);
	}
	idem_prune(s->r, now_s + 86000);
	assert_int_equal(count(s, "/idem/"), 100);
	for (int i = 0; i < 2; i++)
		idem_prune(s->r, now_s + 86500);
	assert_int_equal(count(s, "/idem/"), 0);
	assert_int_equal(count(s, "/idem-at/"), 0);
}

static void put_marks(struct suite *s, const char *org, unsigned int n)
{
	for (unsigned int i = 0; i < n;) {
		CLEANUP(store_txn) struct store_txn txn;

		store_txn_init(&txn);
		for (; i < n && txn.op_count < 100; i++)
			store_txn_put(&txn,
				KEY("/idem-at/%s/%016llx-%08x", org,
					(unsigned long long)clock_wall_ns(), i),
				"\"key_9/0\"");
		assert_int_equal(store_commit(s->r->store, &txn, NULL), 0);
	}
}

/* What one organization does pushes out its own only. */
static void each_organization_has_its_own(void **state)
{
	uint64_t now_s = clock_wall_ns() / NS_PER_S;
	struct suite *s = *state;
	struct idem_answer answer;
	struct idem idem;

	assert_int_equal(begin(s, &request, now_s, &idem, &answer), 0);
	work(s, &idem, "a");
	idem_done(s->r, &idem, 204, NULL);
	put_marks(s, "org_1", IDEM_MAX + 1500);
	for (int i = 0; i < 3; i++)
		idem_prune(s->r, now_s);
	assert_int_equal(count(s, "/idem-at/org_1/"), IDEM_MAX);
	assert_int_equal(begin(s, &request, now_s, &idem, &answer), IDEM_ANSWERED);
}

/* A long answer takes the place of several. */
static void long_answers_count_more(void **state)
{
	CLEANUP(json) struct json_object *body = json_object_new_object();
	struct suite *s = *state;
	struct idem_answer answer;
	struct idem idem;
	char text[20000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	json_set_string(body, "text", text);
	assert_int_equal(begin(s, &request, NOW_S, &idem, &answer), 0);
	work(s, &idem, "a");
	idem_done(s->r, &idem, 201, body);
	assert_int_equal(count(s, "/idem-at/default/"), 5);
	assert_int_equal(begin(s, &request, NOW_S, &idem, &answer), IDEM_ANSWERED);
	json_object_put(answer.body);
}

static int build_event(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	(void)r;
	(void)p;
	registry_event(txn, ctx, EVENT_WARNING, "node", "node_1", "line %s", "a\nb\xff");
	return 0;
}

static void events_go_with_age(void **state)
{
	const struct page page = {.limit = 10};
	uint64_t now_ns = clock_wall_ns();
	struct json_object *list, *event;
	struct suite *s = *state;

	for (int i = 0; i < 3; i++) {
		SUITE_OK(s, registry_transact(
				    s->r, build_event, (void *)(uintptr_t) "default", NULL, &s->p));
		SUITE_OK(s, registry_transact(
				    s->r, build_event, (void *)(uintptr_t) "org_1", NULL, &s->p));
	}
	SUITE_OK(s, events_list(s->r, "org_1", &page, &list, &s->p));
	assert_int_equal(json_object_array_length(json_object_object_get(list, "items")), 3);
	event = json_object_array_get_idx(json_object_object_get(list, "items"), 0);
	assert_string_equal(record_text(event, "severity"), "warning");
	assert_string_equal(record_text(event, "text"), "line a b?");
	json_object_put(list);
	s->r->event_days = 0;
	for (int i = 0; i < 5; i++)
		events_prune(s->r, now_ns + 400 * 86400 * NS_PER_S);
	assert_int_equal(count(s, "/events/"), 6);
	s->r->event_days = 30;
	for (int i = 0; i < 5; i++)
		events_prune(s->r, now_ns + 29 * 86400 * NS_PER_S);
	assert_int_equal(count(s, "/events/"), 6);
	for (int i = 0; i < 5; i++) /* an organization a turn */
		events_prune(s->r, now_ns + 31 * 86400 * NS_PER_S);
	assert_int_equal(count(s, "/events/"), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, suite_setup, suite_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(once),
		T(what_is_another_request),
		T(two_at_once),
		T(keys_that_are_none),
		T(old_rows_go),
		T(each_organization_has_its_own),
		T(long_answers_count_more),
		T(events_go_with_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
