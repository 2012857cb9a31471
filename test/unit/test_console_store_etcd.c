/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in etcd, where things go wrong: several consoles at once, answers that are lost, requests
 * that arrive late, a member that is paused or gone, history that is compacted, limits, users.
 * A store under test has two ways to the same etcd: a relay that can lose things, and a direct one.
 */
#include <curl/curl.h>
#include "console-api/store_etcd_internal.h"
#include "lib/list.h"
#include "test/unit/relay.h"
#include "test/unit/store_suite.h"

#define TIMEOUT_MS 400   /* where tests wait for it */
#define PATIENT_MS 10000 /* where they do not */

struct etcd_fixture {
	struct etcd_server *etcd;
	struct relay *relay;
	char relay_url[64];
	char prefix[32];
	unsigned int timeout_ms;
	struct store *s; /* by the relay first, then direct */
};

static struct store *open_by(struct etcd_fixture *f, const char *instance, bool relay, bool direct)
{
	const char *endpoints[2];
	struct store_etcd_options options = {
		.etcd = {.endpoints = endpoints, .timeout_ms = f->timeout_ms},
		.prefix = f->prefix,
		.instance = instance,
	};
	struct store *s;
	struct err e = {0};

	if (relay)
		endpoints[options.etcd.endpoint_count++] = f->relay_url;
	if (direct)
		endpoints[options.etcd.endpoint_count++] = f->etcd->url;
	if (store_etcd_open(&options, 10000, &s, &e) || store_start(s, &e))
		fail_msg("%s", e.text);
	return s;
}

static struct etcd_fixture *fixture_with(const char *more, unsigned int timeout_ms)
{
	struct etcd_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_true(sodium_init() >= 0);
	f->timeout_ms = timeout_ms;
	f->etcd = etcd_server_new(more);
	f->relay = relay_new(f->etcd->port);
	snprintf(f->relay_url, sizeof(f->relay_url), "http://127.0.0.1:%u", f->relay->port);
	snprintf(f->prefix, sizeof(f->prefix), "/van/");
	f->s = open_by(f, "one", true, true);
	return f;
}

static int setup(void **state)
{
	*state = fixture_with("--max-txn-ops=2000", TIMEOUT_MS);
	return 0;
}

static int setup_patient(void **state)
{
	*state = fixture_with("--max-txn-ops=2000", PATIENT_MS);
	return 0;
}

static int setup_plain(void **state)
{
	*state = fixture_with(NULL, PATIENT_MS);
	return 0;
}

static int setup_tiny(void **state)
{
	*state = fixture_with("--quota-backend-bytes=300000", PATIENT_MS);
	return 0;
}

static int teardown(void **state)
{
	struct etcd_fixture *f = *state;

	store_close(f->s);
	relay_free(f->relay);
	etcd_server_free(f->etcd);
	free(f);
	return 0;
}

static int try_put(struct store *s, const char *key, const char *value)
{
	CLEANUP(store_txn) struct store_txn txn;

	store_txn_init(&txn);
	store_txn_put(&txn, key, value);
	return store_commit(s, &txn, NULL);
}

static uint64_t now_ns(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

/* -- a client of etcd's own, for what an administrator does -- */

static size_t ignore(char *data, size_t size, size_t n, void *ctx)
{
	(void)data;
	(void)ctx;
	return size * n;
}

static void post(struct etcd_fixture *f, const char *path, const char *body)
{
	CURL *easy = curl_easy_init();
	char url[128];
	long status = 0;

	snprintf(url, sizeof(url), "%s%s", f->etcd->url, path);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
	assert_int_equal(curl_easy_perform(easy), CURLE_OK);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	assert_int_equal(status, 200);
	curl_easy_cleanup(easy);
}

/* -- several consoles -- */

static void another_console_is_heard(void **state)
{
	struct etcd_fixture *f = *state;
	struct store *other = open_by(f, "two", false, true);
	uint64_t revision = 0, seen, soonest_ns = UINT64_MAX;

	put(f->s, "/a", "1");
	UNTIL(other, has_value(other, "/a", "1"));
	assert_int_equal(other->generation, f->s->generation);
	/* Several times, for a machine may be busy now and then. */
	for (int i = 2; i < 7; i++) {
		const char value[] = {(char)('0' + i), '\0'};
		uint64_t started = now_ns();

		revision = put(other, "/a", value);
		UNTIL(f->s, has_value(f->s, "/a", value));
		if (now_ns() - started < soonest_ns)
			soonest_ns = now_ns() - started;
	}
	assert_true(soonest_ns < NS_PER_S);
	assert_int_equal(store_revision(f->s, &seen), 0);
	assert_int_equal(seen, revision);
	assert_true(store_is_shared(f->s));
	assert_true(store_poll_fd(f->s) >= 0);
	assert_int_equal(store_fresh(f->s), 0);
	store_close(other);
}

struct adder {
	struct store *s;
	unsigned int conflicts;
	bool failed;
};

#define ADDITIONS 100

static bool add_one(struct adder *a)
{
	CLEANUP(store_item) struct store_item item = {0};
	CLEANUP(store_txn) struct store_txn txn;
	char value[24];
	int rc = store_get(a->s, "/counter", &item);

	store_txn_init(&txn);
	snprintf(value, sizeof(value), "%ld", rc ? 1 : strtol(item.value, NULL, 10) + 1);
	store_txn_expect(&txn, "/counter", item.mod_revision);
	store_txn_put(&txn, "/counter", value);
	rc = store_commit(a->s, &txn, NULL);
	a->conflicts += rc == -EAGAIN;
	a->failed |= rc && rc != -EAGAIN;
	return rc == 0;
}

static void *adder_main(void *arg)
{
	struct adder *a = arg;

	for (int done = 0; done < ADDITIONS && !a->failed;)
		done += add_one(a);
	return NULL;
}

/* Nothing is added twice or lost, however they meet. The same instance twice is a mistake (a copied
 * state directory), and must not cost more than tries. */
static void consoles_write_the_same_key(struct etcd_fixture *f, const char *second)
{
	struct adder adders[2] = {{.s = f->s}, {.s = open_by(f, second, false, true)}};
	pthread_t threads[2];
	char want[16];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, adder_main, &adders[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_false(adders[0].failed || adders[1].failed);
	snprintf(want, sizeof(want), "%d", 2 * ADDITIONS);
	UNTIL(f->s, has_value(f->s, "/counter", want));
	store_close(adders[1].s);
}

static void two_consoles_write_the_same_key(void **state)
{
	consoles_write_the_same_key(*state, "two");
}

static void a_console_and_its_clone(void **state)
{
	consoles_write_the_same_key(*state, "one");
}

struct order {
	uint64_t last;
	size_t n;
};

static void take_in_order(void *ctx, const struct store_event *event)
{
	struct order *o = ctx;

	assert_true(event->revision > o->last);
	o->last = event->revision;
	o->n++;
}

static void the_feed_has_everybodys_changes_in_order(void **state)
{
	struct etcd_fixture *f = *state;
	struct store *other = open_by(f, "two", false, true);
	struct order mine = {0}, theirs = {0};
	uint64_t start, at;

	assert_int_equal(store_revision(f->s, &start), 0);
	for (int i = 0; i < 20; i++)
		put(i % 3 ? f->s : other, "/k", "v");
	put(f->s, "/last", "1");
	UNTIL(other, has_value(other, "/last", "1"));
	assert_int_equal(store_feed_since(f->s, start, 0, take_in_order, &mine, &at), 0);
	assert_int_equal(store_feed_since(other, start, 0, take_in_order, &theirs, &at), 0);
	assert_int_equal(mine.n, 21);
	assert_int_equal(theirs.n, 21);
	assert_int_equal(mine.last, theirs.last);
	store_close(other);
}

/* -- answers that are lost, requests that are late -- */

/* What happens to the relay now happens to the next call of f->s: a machine that was slow may have
 * made it turn to the other way. */
static void relay_turns(struct etcd_fixture *f, enum relay_mode mode)
{
	f->relay->mode = mode;
	etcd_prefer(container_of(f->s, struct store_etcd, base)->etcd, 0);
}

static void lost_answer_is_found_out(void **state)
{
	struct etcd_fixture *f = *state;
	uint64_t before = put(f->s, "/a", "1"), after;
	CLEANUP(store_item) struct store_item item = {0};

	relay_turns(f, RELAY_LOSE_ANSWERS);
	after = put(f->s, "/a", "2");
	assert_true(f->relay->lost > 0);
	f->relay->mode = RELAY_PASS;
	assert_int_equal(store_get(f->s, "/a", &item), 0);
	assert_string_equal(item.value, "2");
	/* Carried out once: the revision is that of the try whose answer was lost. */
	assert_int_equal(item.mod_revision, after);
	assert_true(after > before);
	put(f->s, "/a", "3");
}

static void late_request_is_carried_out_at_most_once(void **state)
{
	struct etcd_fixture *f = *state;
	uint64_t seen, revision;

	put(f->s, "/a", "1");
	relay_turns(f, RELAY_HOLD);
	/* The first try is held; the same one by the other way is answered. */
	put(f->s, "/a", "2");
	assert_true(f->relay->held > 0);
	revision = put(f->s, "/a", "3");
	f->relay->mode = RELAY_PASS;
	while (f->relay->held)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	put(f->s, "/b", "after it");
	assert_value(f->s, "/a", "3");
	assert_int_equal(store_revision(f->s, &seen), 0);
	/* The held one made no transaction: only that of /b came after. */
	assert_true(seen > revision);
	assert_int_equal(store_feed_since(f->s, revision, 0, take_in_order,
				 &(struct order){.last = revision}, &seen),
		0);
}

/* Given up and fenced: whatever arrives later, "nothing was changed" stays true. */
static void what_was_given_up_never_happens(void **state)
{
	struct etcd_fixture *f = *state;
	struct store *only = open_by(f, "two", true, false);
	struct store *watcher = f->s;
	int rc;

	assert_int_equal(try_put(only, "/a", "1"), 0);
	f->relay->mode = RELAY_HOLD;
	rc = try_put(only, "/a", "2");
	/* No way to find out. */
	assert_int_equal(rc, -EIO);
	/* Reading goes on, and refusals come at once. */
	assert_value(only, "/a", "1");
	{
		uint64_t started = now_ns();

		assert_int_equal(try_put(only, "/a", "9"), -EBUSY);
		assert_true(now_ns() - started < TIMEOUT_MS * NS_PER_MS);
	}
	/* Of the tries that were held one may be carried out now, and no more than one. */
	f->relay->mode = RELAY_PASS;
	UNTIL(only, try_put(only, "/b", "1") == 0);
	UNTIL(watcher, has_value(watcher, "/b", "1"));
	{
		CLEANUP(store_item) struct store_item first = {0};
		CLEANUP(store_item) struct store_item second = {0};

		assert_int_equal(store_get(watcher, "/a", &first), 0);
		for (int i = 0; i < 50; i++) {
			nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
			store_poll(watcher);
		}
		assert_int_equal(store_get(watcher, "/a", &second), 0);
		assert_int_equal(first.mod_revision, second.mod_revision);
	}
	store_close(only);
}

static void a_conflict_after_a_lost_try_is_the_truth(void **state)
{
	struct etcd_fixture *f = *state;
	struct store *other = open_by(f, "two", false, true);
	CLEANUP(store_txn) struct store_txn txn;

	/* Held: "/a does not exist". Then somebody makes /a, so that the second try conflicts … */
	relay_turns(f, RELAY_HOLD);
	put(other, "/a", "other's");
	store_txn_init(&txn);
	store_txn_expect(&txn, "/a", 0);
	store_txn_put(&txn, "/a", "mine");
	assert_int_equal(store_commit(f->s, &txn, NULL), -EAGAIN);
	/* … and removes it again: now the held one would be carried out, were it not fenced. */
	{
		CLEANUP(store_txn) struct store_txn gone;

		store_txn_init(&gone);
		store_txn_delete(&gone, "/a");
		assert_int_equal(store_commit(other, &gone, NULL), 0);
	}
	f->relay->mode = RELAY_PASS;
	while (f->relay->held)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	for (int i = 0; i < 20; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
		store_poll(other);
		assert_absent(other, "/a");
	}
	store_close(other);
}

/* -- members that are gone -- */

static void gone_and_back(void **state)
{
	struct etcd_fixture *f = *state;
	uint64_t started = now_ns();
	int rc;

	put(f->s, "/a", "1");
	etcd_server_kill(f->etcd);
	rc = try_put(f->s, "/a", "2");
	assert_true(rc == -EBUSY || rc == -EIO);
	assert_true(now_ns() - started < 20 * NS_PER_S);
	assert_value(f->s, "/a", "1");
	UNTIL(f->s, store_fresh(f->s) == -EBUSY);
	etcd_server_start(f->etcd);
	UNTIL(f->s, try_put(f->s, "/a", "3") == 0);
	assert_value(f->s, "/a", "3");
	UNTIL(f->s, store_fresh(f->s) == 0);
}

static void paused(void **state)
{
	struct etcd_fixture *f = *state;
	uint64_t started = now_ns(), took;
	int rc;

	put(f->s, "/a", "1");
	kill(f->etcd->pid, SIGSTOP);
	rc = try_put(f->s, "/a", "2");
	took = now_ns() - started;
	assert_int_equal(rc, -EIO);
	assert_true(took < 20 * TIMEOUT_MS * NS_PER_MS);
	started = now_ns();
	for (int i = 0; i < 100; i++)
		assert_int_equal(try_put(f->s, "/a", "2"), -EBUSY);
	/* Had each of them waited, it would have been ten times as long. */
	assert_true(now_ns() - started < 10 * TIMEOUT_MS * NS_PER_MS);
	kill(f->etcd->pid, SIGCONT);
	UNTIL(f->s, try_put(f->s, "/b", "1") == 0);
	/* What was in doubt was carried out, or not, and that is settled now. */
	assert_true(has_value(f->s, "/a", "1") || has_value(f->s, "/a", "2"));
}

/* The stream stands still, calls go on by the other way: own writes are read all the same. */
static void own_writes_are_read_when_the_stream_stands_still(void **state)
{
	struct etcd_fixture *f = *state;

	put(f->s, "/a", "1");
	relay_turns(f, RELAY_LOSE_ANSWERS);
	for (int i = 2; i < 6; i++) {
		char value[8];

		snprintf(value, sizeof(value), "%d", i);
		put(f->s, "/a", value);
		assert_value(f->s, "/a", value);
	}
}

/* Nobody writes here, so only the probe can notice. */
static void dead_stream_is_noticed(void **state)
{
	struct etcd_fixture *f = *state;
	struct store *other = open_by(f, "two", false, true);
	uint64_t started;

	put(other, "/a", "1");
	UNTIL(f->s, has_value(f->s, "/a", "1"));
	f->relay->mode = RELAY_LOSE_ANSWERS;
	started = now_ns();
	put(other, "/a", "2");
	UNTIL(f->s, has_value(f->s, "/a", "2"));
	assert_true(now_ns() - started < 20 * NS_PER_S);
	store_close(other);
}

struct resets {
	unsigned int all;
};

static void count_resets(void *ctx, uint64_t revision, const struct store_op *ops, size_t n)
{
	struct resets *r = ctx;

	(void)revision;
	(void)ops;
	r->all += n == 0;
}

static void nothing(void *ctx, const struct store_event *event)
{
	(void)ctx;
	(void)event;
}

static void compacted_history(void **state)
{
	struct etcd_fixture *f = *state;
	struct store *cut_off = open_by(f, "two", true, false);
	struct resets resets = {0};
	uint64_t before, last = 0, at;
	char body[64];

	put(f->s, "/gone-later", "1");
	before = put(f->s, "/a", "1");
	UNTIL(cut_off, has_value(cut_off, "/a", "1"));
	store_on_change(cut_off, count_resets, &resets);
	f->relay->mode = RELAY_REFUSE;
	for (int i = 0; i < 10; i++) {
		CLEANUP(store_txn) struct store_txn txn;
		char key[16];

		snprintf(key, sizeof(key), "/k/%d", i);
		store_txn_init(&txn);
		store_txn_put(&txn, key, "v");
		store_txn_delete(&txn, "/gone-later");
		assert_int_equal(store_commit(f->s, &txn, &last), 0);
	}
	snprintf(body, sizeof(body), "{\"revision\":\"%llu\"}", (unsigned long long)last);
	post(f, "/v3/kv/compaction", body);
	assert_int_equal(store_feed_since(cut_off, before, 0, nothing, NULL, &at), 0);
	f->relay->mode = RELAY_PASS;
	UNTIL(cut_off, has_value(cut_off, "/k/9", "v"));
	assert_absent(cut_off, "/gone-later");
	assert_true(resets.all >= 1);
	assert_int_equal(store_feed_since(cut_off, before, 0, nothing, NULL, &at), -VAN_E_GONE);
	put(f->s, "/a", "2");
	UNTIL(cut_off, has_value(cut_off, "/a", "2"));
	put(cut_off, "/a", "3");
	store_close(cut_off);
}

/* -- limits -- */

static void limits_of_a_plain_etcd(void **state)
{
	struct etcd_fixture *f = *state;
	CLEANUP(store_txn) struct store_txn full;
	CLEANUP(store_txn) struct store_txn more;
	char *large = malloc((2u << 20) + 1);
	char key[32];

	assert_int_equal(store_txn_max(f->s), 127);
	store_txn_init(&full);
	store_txn_init(&more);
	for (int i = 0; i < 128; i++) {
		snprintf(key, sizeof(key), "/k/%d", i);
		store_txn_put(&more, key, "v");
		if (i < 127) {
			store_txn_put(&full, key, "v");
			store_txn_expect(&full, key, 0);
		}
	}
	assert_int_equal(store_commit(f->s, &more, NULL), -E2BIG);
	assert_absent(f->s, "/k/0");
	assert_int_equal(store_commit(f->s, &full, NULL), 0);
	memset(large, 'x', 2u << 20);
	large[2u << 20] = '\0';
	assert_int_equal(try_put(f->s, "/large", large), -E2BIG);
	assert_absent(f->s, "/large");
	free(large);
	assert_int_equal(try_put(f->s, "/small", "v"), 0);
}

static void quota_is_used_up(void **state)
{
	struct etcd_fixture *f = *state;
	char value[20001], key[32];
	int rc = 0, n = 0;

	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (; n < 200 && !rc; n++) {
		snprintf(key, sizeof(key), "/k/%d", n);
		rc = try_put(f->s, key, value);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_absent(f->s, key);
	snprintf(key, sizeof(key), "/k/%d", n - 2);
	assert_value(f->s, key, value);
	assert_int_equal(try_put(f->s, "/one-more", "v"), -ENOSPC);
	assert_int_equal(store_fresh(f->s), 0);
}

/* What does not fit in one answer of etcd is read in several. */
static void many_and_large_values_are_loaded(void **state)
{
	struct etcd_fixture *f = *state;
	char *value = malloc(400001);
	struct store *other;
	uint64_t n;
	char key[32];

	memset(value, 'x', 400000);
	value[400000] = '\0';
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "/large/%d", i);
		assert_int_equal(try_put(f->s, key, value), 0);
	}
	for (int i = 0; i < 2; i++) {
		CLEANUP(store_txn) struct store_txn txn;

		store_txn_init(&txn);
		for (int j = 0; j < 1000; j++) {
			snprintf(key, sizeof(key), "/many/%d", i * 1000 + j);
			store_txn_put(&txn, key, "v");
		}
		assert_int_equal(store_commit(f->s, &txn, NULL), 0);
	}
	other = open_by(f, "two", false, true);
	assert_int_equal(store_count(other, "/", &n), 0);
	assert_int_equal(n, 2020);
	assert_value(other, "/large/19", value);
	store_close(other);
	free(value);
}

/* -- users -- */

static void user_and_password(void **state)
{
	struct etcd_fixture *f = *state;
	const char *const endpoints[] = {f->etcd->url};
	struct store_etcd_options options = {
		.etcd = {.endpoints = endpoints, .endpoint_count = 1, .timeout_ms = 2000},
		.prefix = f->prefix,
		.instance = "two",
	};
	struct store *s = NULL;
	struct err e = {0};

	post(f, "/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"secret\"}");
	post(f, "/v3/auth/user/add", "{\"name\":\"van\",\"password\":\"vans\"}");
	post(f, "/v3/auth/role/add", "{\"name\":\"root\"}");
	post(f, "/v3/auth/role/add", "{\"name\":\"van\"}");
	/* "/van/" to "/van0" */
	post(f, "/v3/auth/role/grant",
		"{\"name\":\"van\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"L3Zhbi8=\","
		"\"range_end\":\"L3ZhbjA=\"}}");
	post(f, "/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
	post(f, "/v3/auth/user/grant", "{\"user\":\"van\",\"role\":\"van\"}");
	post(f, "/v3/auth/enable", "{}");
	assert_int_equal(store_etcd_open(&options, 1000, &s, &e), -VAN_E_DENIED);
	assert_non_null(strstr(e.text, "etcd_user"));
	options.etcd.user = "van";
	options.etcd.password = "wrong";
	assert_int_equal(store_etcd_open(&options, 1000, &s, &e), -VAN_E_DENIED);
	options.etcd.password = "vans";
	options.prefix = "/other/";
	assert_int_equal(store_etcd_open(&options, 1000, &s, &e), -VAN_E_DENIED);
	options.prefix = f->prefix;
	if (store_etcd_open(&options, 1000, &s, &e) || store_start(s, &e))
		fail_msg("%s", e.text);
	put(s, "/a", "1");
	assert_value(s, "/a", "1");
	/* Tokens are kept in etcd's memory: after a restart it wants a new one. */
	etcd_server_kill(f->etcd);
	etcd_server_start(f->etcd);
	UNTIL(s, try_put(s, "/a", "2") == 0);
	assert_value(s, "/a", "2");
	store_close(s);
}

static void nobody_there(void **state)
{
	struct etcd_fixture *f = *state;
	const char *const endpoints[] = {"http://127.0.0.1:1", f->relay_url};
	const struct store_etcd_options options = {
		.etcd = {.endpoints = endpoints, .endpoint_count = 2, .timeout_ms = 200},
		.prefix = f->prefix,
		.instance = "two",
	};
	uint64_t started = now_ns();
	struct store *s = NULL;
	struct err e = {0};

	f->relay->mode = RELAY_HOLD;
	assert_int_equal(store_etcd_open(&options, 500, &s, &e), -VAN_E_TIMEOUT);
	assert_null(s);
	assert_true(now_ns() - started < 20 * NS_PER_S);
	assert_non_null(strstr(e.text, "cannot be reached"));
}

/* Where one time-out does not suffice for what is asked at the start, it gets longer. */
static void slow_at_the_start(void **state)
{
	struct etcd_fixture *f = *state;
	const char *const endpoints[] = {f->relay_url};
	const struct store_etcd_options options = {
		.etcd = {.endpoints = endpoints,
			.endpoint_count = 1,
			.timeout_ms = RELAY_SLOW_MS * 3 / 4},
		.prefix = f->prefix,
		.instance = "two",
	};
	struct store *s = NULL;
	struct err e = {0};

	put(f->s, "/a", "1");
	f->relay->mode = RELAY_SLOW;
	if (store_etcd_open(&options, 20000, &s, &e))
		fail_msg("%s", e.text);
	assert_value(s, "/a", "1");
	assert_int_equal(s->txn_max, f->s->txn_max);
	store_close(s);
	f->relay->mode = RELAY_PASS;
}

/* Done, but it cannot be read back: who is told that it was done would look and not find it. */
static void what_cannot_be_read_is_in_doubt(void **state)
{
	struct etcd_fixture *f = *state;
	struct store *s = open_by(f, "two", true, false);
	struct store *other = open_by(f, "three", false, true);

	put(s, "/a", "1");
	f->relay->mode = RELAY_NO_WATCH;
	assert_int_equal(try_put(s, "/a", "2"), -EIO);
	UNTIL(other, has_value(other, "/a", "2"));
	f->relay->mode = RELAY_PASS;
	UNTIL(s, has_value(s, "/a", "2"));
	UNTIL(s, try_put(s, "/a", "3") == 0);
	assert_value(s, "/a", "3");
	store_close(other);
	store_close(s);
}

/* An administrator who restored etcd from a snapshot draws a new generation. */
static void new_generation(void **state)
{
	struct etcd_fixture *f = *state;
	struct resets resets = {0};
	uint64_t old = f->s->generation;

	put(f->s, "/a", "1");
	store_on_change(f->s, count_resets, &resets);
	/* /van/generation = 00000000000000ff */
	post(f, "/v3/kv/put",
		"{\"key\":\"L3Zhbi9nZW5lcmF0aW9u\",\"value\":\"MDAwMDAwMDAwMDAwMDBmZg==\"}");
	UNTIL(f->s, f->s->generation != old);
	assert_int_equal(f->s->generation, 0xff);
	assert_int_equal(resets.all, 1);
	assert_value(f->s, "/a", "1");
	put(f->s, "/a", "2");
}

#define T(f)       cmocka_unit_test_setup_teardown(f, setup, teardown)
#define PATIENT(f) cmocka_unit_test_setup_teardown(f, setup_patient, teardown)
#define PLAIN(f)   cmocka_unit_test_setup_teardown(f, setup_plain, teardown)
#define TINY(f)    cmocka_unit_test_setup_teardown(f, setup_tiny, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(another_console_is_heard),
		T(two_consoles_write_the_same_key),
		T(a_console_and_its_clone),
		T(the_feed_has_everybodys_changes_in_order),
		T(lost_answer_is_found_out),
		T(late_request_is_carried_out_at_most_once),
		T(what_was_given_up_never_happens),
		T(a_conflict_after_a_lost_try_is_the_truth),
		T(gone_and_back),
		T(paused),
		T(own_writes_are_read_when_the_stream_stands_still),
		T(dead_stream_is_noticed),
		T(compacted_history),
		PLAIN(limits_of_a_plain_etcd),
		TINY(quota_is_used_up),
		PATIENT(many_and_large_values_are_loaded),
		T(user_and_password),
		T(nobody_there),
		T(slow_at_the_start),
		T(what_cannot_be_read_is_in_doubt),
		T(new_generation),
	};

	if (!etcd_server_available())
		return etcd_server_skip();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
