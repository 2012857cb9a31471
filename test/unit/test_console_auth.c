/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/console_suite.h"

#include "console-api/auth.h"
#include "lib/clock.h"

#define NOW_S  1900000000ull
#define NOW_NS (5000 * NS_PER_S)

static const struct auth_rates rates = {
	.requests = 100, .address = 1000, .enrolments = 100, .failures = 5, .work_ms = 200};

struct fixture {
	struct suite *s;
	struct auth *a;
	struct auth_client c;
	struct actor actor;
	struct identity id; /* of a node that is enrolled */
	char node_id[NETMAP_ID_MAX + 1];
	char header[AGENTSIG_HEADER_MAX];
};

static int setup(void **state)
{
	const struct jointoken_spec one = {.uses = 1, .ttl_s = 60};
	struct fixture *f = calloc(1, sizeof(*f));
	uint8_t secret[TOKEN_SECRET_LEN];
	struct enrolment en;
	struct enrolled out;
	void *suite;

	assert_non_null(f);
	suite_setup(&suite);
	f->s = suite;
	f->a = auth_new(&rates, NOW_S - 1000);
	f->c = (struct auth_client){.now_s = NOW_S, .now_ns = NOW_NS};
	assert_true(ip_parse("192.0.2.1", &f->c.address));
	suite_network(f->s, "blue", "172.16.1.0/24", NULL);
	suite_token(f->s, "blue", &one, secret, NULL);
	en = suite_enrolment(secret, "web");
	identity_generate(&f->id);
	en.public_key = f->id.public;
	en.sign_key = f->id.sign_public;
	SUITE_OK(f->s,
		agent_enroll(f->s->r, &suite_actor, &en, (uint64_t)time(NULL), &out, &f->s->p));
	snprintf(f->node_id, sizeof(f->node_id), "%s", out.node_id);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	void *suite = f->s;

	auth_free(f->a);
	suite_teardown(&suite);
	identity_wipe(&f->id);
	free(f);
	return 0;
}

static const struct agentsig_request netmap_request = {.method = "GET", .path = "/agent/v1/netmap"};

static void sign(struct fixture *f, const struct agentsig_request *request, uint64_t time_s)
{
	struct agentsig_request r = *request;

	if (!r.console_id)
		r.console_id = f->s->r->self_id;
	agentsig_sign(&r, f->node_id, time_s, f->id.sign_secret, f->header);
}

static int as_agent(struct fixture *f, const struct agentsig_request *request)
{
	struct auth_node node = {0};
	int rc;

	f->s->p = (struct problem){0};
	f->c.authorization = f->header;
	rc = auth_agent(f->a, f->s->r, &f->c, request, &f->actor, &node, &f->s->p);
	if (!rc) {
		assert_string_equal(node.id, f->node_id);
		assert_true(key_equal(&node.sign_key, &f->id.sign_public));
	}
	return rc;
}

/* -- API keys -- */

static int with_key(struct fixture *f, const char *authorization)
{
	f->s->p = (struct problem){0};
	f->c.authorization = authorization;
	return auth_api_key(f->a, f->s->r, &f->c, &f->actor, NULL, &f->s->p);
}

static void read_admin_header(struct fixture *f, char ret_header[128])
{
	CLEANUP(fclose) FILE *file = fopen(f->s->key_path, "re");
	char key[64];

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%63s", key), 1);
	snprintf(ret_header, 128, "Bearer %s", key);
}

static void api_keys(void **state)
{
	struct fixture *f = *state;
	static const char *const wrong[] = {
		NULL, "", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "VAN-Ed25519 node=x"};
	char header[128], longer[160];

	read_admin_header(f, header);
	SUITE_OK(f->s, with_key(f, header));
	assert_int_equal(strncmp(f->actor.who, "key:key_", 8), 0);
	assert_string_equal(f->actor.address, "192.0.2.1");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		SUITE_PROBLEM(f->s, with_key(f, wrong[i]), 401, "unauthenticated");
	snprintf(longer, sizeof(longer), "%sx", header);
	SUITE_PROBLEM(f->s, with_key(f, longer), 401, "unauthenticated");
	header[strlen(header) - 1] = '\0';
	SUITE_PROBLEM(f->s, with_key(f, header), 401, "unauthenticated");
}

static void rate_of_a_key(void **state)
{
	struct fixture *f = *state;
	char header[128];
	int passed = 0;

	read_admin_header(f, header);
	while (!with_key(f, header))
		passed++;
	assert_int_equal(passed, 200); /* twice the rate at once */
	assert_int_equal(f->s->p.status, 429);
	assert_true(f->s->p.retry_after_s >= 1);
	f->c.now_ns += NS_PER_S;
	SUITE_OK(f->s, with_key(f, header));
}

static void failures_are_refused_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	char header[128];

	read_admin_header(f, header);
	for (int i = 0; i < 50; i++)
		SUITE_PROBLEM(f->s, with_key(f, "Bearer wrong"), 401, "unauthenticated");
	SUITE_PROBLEM(f->s, with_key(f, "Bearer wrong"), 429, "too_many_requests");
	assert_true(f->s->p.retry_after_s >= 1);
	/* Who has a key, or is a node, gets through whoever else is at his address. */
	assert_int_equal(auth_gate(f->a, &f->c, &f->s->p), 0);
	SUITE_OK(f->s, with_key(f, header));
	sign(f, &netmap_request, NOW_S);
	SUITE_OK(f->s, as_agent(f, &netmap_request));
	SUITE_PROBLEM(f->s, with_key(f, "Bearer wrong"), 429, "too_many_requests");
	assert_true(ip_parse("192.0.2.2", &f->c.address));
	SUITE_PROBLEM(f->s, with_key(f, "Bearer wrong"), 401, "unauthenticated");
	assert_true(ip_parse("192.0.2.1", &f->c.address));
	f->c.now_ns += NS_PER_S;
	SUITE_PROBLEM(f->s, with_key(f, "Bearer wrong"), 401, "unauthenticated");
}

/* What its requests cost counts too: 200 ms a second, and for 10 s at once. */
static void work_of_a_key(void **state)
{
	struct fixture *f = *state;
	char header[128], hash[2 * HASH_LEN + 1];

	read_admin_header(f, header);
	f->c.authorization = header;
	SUITE_OK(f->s, auth_api_key(f->a, f->s->r, &f->c, &f->actor, hash, &f->s->p));
	for (int i = 0; i < 99; i++)
		auth_charge(f->a, hash, 20 * NS_PER_MS, f->c.now_ns);
	SUITE_OK(f->s, with_key(f, header));
	auth_charge(f->a, hash, 20 * NS_PER_MS, f->c.now_ns);
	SUITE_PROBLEM(f->s, with_key(f, header), 429, "too_many_requests");
	f->c.now_ns += NS_PER_S;
	SUITE_OK(f->s, with_key(f, header));
	/* One that was very much work is not paid off for ever. */
	auth_charge(f->a, hash, 3600 * NS_PER_S, f->c.now_ns);
	f->c.now_ns += 9 * NS_PER_S;
	SUITE_PROBLEM(f->s, with_key(f, header), 429, "too_many_requests");
	assert_int_equal(f->s->p.retry_after_s, 2);
	f->c.now_ns += 2 * NS_PER_S;
	SUITE_OK(f->s, with_key(f, header));
}

static void ipv6_hosts_are_counted_by_their_64(void **state)
{
	struct fixture *f = *state;
	char text[64];

	for (int i = 0; i < 50; i++) {
		snprintf(text, sizeof(text), "2001:db8:1:1::%x", i);
		assert_true(ip_parse(text, &f->c.address));
		with_key(f, "Bearer wrong");
	}
	SUITE_PROBLEM(f->s, with_key(f, "Bearer wrong"), 429, "too_many_requests");
	assert_true(ip_parse("2001:db8:1:2::1", &f->c.address));
	SUITE_PROBLEM(f->s, with_key(f, "Bearer wrong"), 401, "unauthenticated");
}

/* -- signatures -- */

static void good_signature(void **state)
{
	struct fixture *f = *state;

	sign(f, &netmap_request, NOW_S);
	SUITE_OK(f->s, as_agent(f, &netmap_request));
	assert_non_null(strstr(f->actor.who, f->node_id));
}

static void another_request(void **state)
{
	struct fixture *f = *state;
	const struct agentsig_request others[] = {
		{.method = "POST", .path = "/agent/v1/netmap"},
		{.method = "GET", .path = "/agent/v1/netmap?wait=1"},
		{.method = "GET", .path = "/agent/v1/netmap", .body = "x", .body_len = 1},
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		sign(f, &netmap_request, NOW_S);
		SUITE_PROBLEM(f->s, as_agent(f, &others[i]), 401, "unauthenticated");
	}
}

static void another_console(void **state)
{
	struct fixture *f = *state;
	struct agentsig_request elsewhere = netmap_request;

	elsewhere.console_id = "con_other";
	sign(f, &elsewhere, NOW_S);
	SUITE_PROBLEM(f->s, as_agent(f, &netmap_request), 401, "unauthenticated");
	/* The mesh's id is every console's, and whoever was ever a member knows it. */
	elsewhere.console_id = f->s->r->console_id;
	sign(f, &elsewhere, NOW_S);
	SUITE_PROBLEM(f->s, as_agent(f, &netmap_request), 401, "unauthenticated");
	f->s->r->mesh_signatures = true;
	SUITE_OK(f->s, as_agent(f, &netmap_request));
	sign(f, &netmap_request, NOW_S);
	SUITE_OK(f->s, as_agent(f, &netmap_request));
}

static void window(void **state)
{
	struct fixture *f = *state;
	const uint64_t good[] = {NOW_S - 300, NOW_S - 1, NOW_S + 1, NOW_S + 300};
	const uint64_t bad[] = {0, 1, NOW_S - 301, NOW_S + 301, UINT64_MAX, UINT64_MAX - 299};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		sign(f, &netmap_request, good[i]);
		SUITE_OK(f->s, as_agent(f, &netmap_request));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		sign(f, &netmap_request, bad[i]);
		SUITE_PROBLEM(f->s, as_agent(f, &netmap_request), 401, "clock_skew");
		assert_true(f->s->p.server_time_s == NOW_S);
	}
}

static void replays(void **state)
{
	struct fixture *f = *state;
	char kept[AGENTSIG_HEADER_MAX];

	sign(f, &netmap_request, NOW_S + 300);
	snprintf(kept, sizeof(kept), "%s", f->header);
	SUITE_OK(f->s, as_agent(f, &netmap_request));
	for (uint64_t later = 0; later <= 600; later += 50) {
		snprintf(f->header, sizeof(f->header), "%s", kept);
		f->c.now_s = NOW_S + later;
		f->c.now_ns += 50 * NS_PER_S;
		SUITE_PROBLEM(f->s, as_agent(f, &netmap_request), 401, "unauthenticated");
	}
	f->c.now_s = NOW_S + 601; /* forgotten, and too old */
	snprintf(f->header, sizeof(f->header), "%s", kept);
	SUITE_PROBLEM(f->s, as_agent(f, &netmap_request), 401, "clock_skew");
}

/* What one sender filled is his. */
static void others_have_room(struct fixture *f)
{
	struct agentsig_request r = {.method = "POST",
		.path = "/agent/v1/enroll",
		.body = "{}",
		.body_len = 2,
		.console_id = ""};

	f->c.authorization = f->header;
	for (unsigned int i = 0; i < 64; i++) {
		struct identity other;

		identity_generate(&other);
		agentsig_sign(&r, "enroll", NOW_S, other.sign_secret, f->header);
		f->s->p = (struct problem){0};
		SUITE_OK(f->s,
			auth_enrolment(f->a, &f->c, &r, &other.sign_public, &f->actor, &f->s->p));
	}
}

/* Filled by valid requests, the table refuses rather than forgets. */
static void nonces_are_bounded(void **state)
{
	struct fixture *f = *state;
	char first[AGENTSIG_HEADER_MAX];
	bool refused = false;

	sign(f, &netmap_request, NOW_S);
	snprintf(first, sizeof(first), "%s", f->header);
	SUITE_OK(f->s, as_agent(f, &netmap_request));
	for (unsigned int i = 0; i < 280000 && !refused; i++) {
		f->c.now_ns += 20 * NS_PER_MS; /* below the node's rate */
		sign(f, &netmap_request, NOW_S);
		if (as_agent(f, &netmap_request)) {
			assert_int_equal(f->s->p.status, 429);
			refused = true;
		}
	}
	assert_true(refused);
	others_have_room(f);
	snprintf(f->header, sizeof(f->header), "%s", first);
	f->c.authorization = f->header;
	assert_true(as_agent(f, &netmap_request) < 0);
	/* When they have run out there is room again. */
	f->c.now_s = NOW_S + 400;
	f->c.now_ns += 400 * NS_PER_S;
	sign(f, &netmap_request, NOW_S + 400);
	SUITE_OK(f->s, as_agent(f, &netmap_request));
}

static void stamped_before_the_start(void **state)
{
	struct fixture *f = *state;
	const struct agentsig_request leave = {.method = "DELETE", .path = "/agent/v1/networks/x"};

	auth_free(f->a);
	f->a = auth_new(&rates, NOW_S - 10);
	sign(f, &leave, NOW_S - 11);
	SUITE_PROBLEM(f->s, as_agent(f, &leave), 401, "clock_skew");
	assert_true(f->s->p.server_time_s == NOW_S);
	sign(f, &leave, NOW_S - 10);
	SUITE_OK(f->s, as_agent(f, &leave));
	/* Nor for later: it could be repeated after the next start. */
	sign(f, &leave, NOW_S + 2);
	SUITE_OK(f->s, as_agent(f, &leave));
	sign(f, &leave, NOW_S + 3);
	SUITE_PROBLEM(f->s, as_agent(f, &leave), 401, "clock_skew");
	sign(f, &netmap_request, NOW_S - 100);
	SUITE_OK(f->s, as_agent(f, &netmap_request));
}

/* Keys for enrolments cost nothing: it is the address that has a part of the table, and no node's. */
static void enrolments_of_one_address_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct agentsig_request r = {.method = "POST",
		.path = "/agent/v1/enroll",
		.body = "{}",
		.body_len = 2,
		.console_id = ""};
	unsigned int passed = 0;
	int rc = 0;

	f->c.authorization = f->header;
	for (unsigned int i = 0; i < 140000 && !rc; i++) {
		agentsig_sign(&r, "enroll", NOW_S, f->id.sign_secret, f->header);
		f->s->p = (struct problem){0};
		rc = auth_enrolment(f->a, &f->c, &r, &f->id.sign_public, &f->actor, &f->s->p);
		passed += !rc;
	}
	assert_int_equal(f->s->p.status, 429);
	assert_true(passed > 90000); /* 150 a second for 600 s */
	assert_true(ip_parse("192.0.2.77", &f->c.address));
	others_have_room(f);
}

static void unknown_and_removed_nodes(void **state)
{
	struct fixture *f = *state;
	char id[NETMAP_ID_MAX + 1];

	snprintf(id, sizeof(id), "%s", f->node_id);
	snprintf(f->node_id, sizeof(f->node_id), "%s", "node_0000000000000000");
	sign(f, &netmap_request, NOW_S);
	SUITE_PROBLEM(f->s, as_agent(f, &netmap_request), 401, "unauthenticated");
	snprintf(f->node_id, sizeof(f->node_id), "%s", id);
	SUITE_OK(f->s, node_remove(f->s->r, &suite_actor, id, NULL, &f->s->p));
	sign(f, &netmap_request, NOW_S);
	SUITE_PROBLEM(f->s, as_agent(f, &netmap_request), 410, "node_removed");
	identity_generate(&f->id); /* who has not the key learns nothing */
	sign(f, &netmap_request, NOW_S);
	SUITE_PROBLEM(f->s, as_agent(f, &netmap_request), 401, "unauthenticated");
}

static void strangers_do_not_spend_the_rate_of_a_node(void **state)
{
	struct fixture *f = *state;
	struct identity own = f->id;

	identity_generate(&f->id);
	for (int i = 0; i < 300; i++) {
		sign(f, &netmap_request, NOW_S);
		as_agent(f, &netmap_request);
	}
	f->id = own;
	sign(f, &netmap_request, NOW_S);
	SUITE_OK(f->s, as_agent(f, &netmap_request));
}

static void not_a_signature(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {"", "Bearer x", "VAN-Ed25519", "VAN-Ed25519 node=,time=1",
		"VAN-Ed25519 node=a/../b,time=1,nonce=00112233445566778899aabbccddeeff,sig=AAAA"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(f->header, sizeof(f->header), "%s", bad[i]);
		SUITE_PROBLEM(f->s, as_agent(f, &netmap_request), 401, "unauthenticated");
	}
}

static void enrolment_signatures(void **state)
{
	struct fixture *f = *state;
	struct agentsig_request r = {.method = "POST",
		.path = "/agent/v1/enroll",
		.body = "{}",
		.body_len = 2,
		.console_id = ""};
	struct identity other;

	identity_generate(&other);
	agentsig_sign(&r, "enroll", NOW_S, f->id.sign_secret, f->header);
	f->c.authorization = f->header;
	SUITE_PROBLEM(f->s,
		auth_enrolment(f->a, &f->c, &r, &other.sign_public, &f->actor, &f->s->p), 401,
		"unauthenticated");
	SUITE_OK(f->s, auth_enrolment(f->a, &f->c, &r, &f->id.sign_public, &f->actor, &f->s->p));
	assert_string_equal(f->actor.who, "enroll");
	SUITE_PROBLEM(f->s,
		auth_enrolment(f->a, &f->c, &r, &f->id.sign_public, &f->actor, &f->s->p), 401,
		"unauthenticated");
	agentsig_sign(&r, "node", NOW_S, f->id.sign_secret, f->header);
	SUITE_PROBLEM(f->s,
		auth_enrolment(f->a, &f->c, &r, &f->id.sign_public, &f->actor, &f->s->p), 401,
		"unauthenticated");
	agentsig_sign(&r, "enroll", NOW_S + 500, f->id.sign_secret, f->header);
	SUITE_PROBLEM(f->s,
		auth_enrolment(f->a, &f->c, &r, &f->id.sign_public, &f->actor, &f->s->p), 401,
		"clock_skew");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(api_keys),
		T(rate_of_a_key),
		T(failures_are_refused_and_nothing_else),
		T(work_of_a_key),
		T(ipv6_hosts_are_counted_by_their_64),
		T(good_signature),
		T(another_request),
		T(another_console),
		T(window),
		T(replays),
		T(nonces_are_bounded),
		T(stamped_before_the_start),
		T(enrolments_of_one_address_are_bounded),
		T(unknown_and_removed_nodes),
		T(strangers_do_not_spend_the_rate_of_a_node),
		T(not_a_signature),
		T(enrolment_signatures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
