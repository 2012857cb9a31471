/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include "lib/agentsig.h"
#include "lib/hash.h"

#define BODY "{\"port\":4826}"

static const struct agentsig_request request = {.method = "POST",
	.path = "/agent/v1/report?x=1",
	.body = BODY,
	.body_len = sizeof(BODY) - 1,
	.console_id = "con-1"};

static struct identity make_identity(void)
{
	struct identity id;

	identity_generate(&id);
	return id;
}

static void test_sign_and_verify(void **state)
{
	struct identity id = make_identity(), other = make_identity();
	char header[AGENTSIG_HEADER_MAX], again[AGENTSIG_HEADER_MAX];
	struct agentsig sig;

	(void)state;
	agentsig_sign(&request, "node-7", 1772366400, id.sign_secret, header);
	assert_memory_equal(header, "VAN-Ed25519 node=node-7,time=1772366400,nonce=", 46);
	assert_int_equal(agentsig_parse(header, &sig), 0);
	assert_string_equal(sig.node, "node-7");
	assert_true(sig.time_s == 1772366400);
	assert_int_equal(agentsig_verify(&sig, &request, &id.sign_public), 0);
	assert_int_equal(agentsig_verify(&sig, &request, &other.sign_public), -VAN_E_UNAUTHENTIC);
	agentsig_sign(&request, "node-7", 1772366400, id.sign_secret, again);
	assert_string_not_equal(header, again); /* the nonce */
}

/* What is signed is what the header file says, made here by other means. */
static void test_signed_text(void **state)
{
	struct identity id = make_identity();
	char header[AGENTSIG_HEADER_MAX], nonce[33], hash_text[65], text[512];
	uint8_t hash[HASH_LEN];
	struct agentsig sig;

	(void)state;
	agentsig_sign(&request, "n", 5, id.sign_secret, header);
	assert_int_equal(agentsig_parse(header, &sig), 0);
	hash_sha256(HASH_PIECES({BODY, sizeof(BODY) - 1}), hash);
	hash_hex(hash, sizeof(hash), hash_text);
	hash_hex(sig.nonce, sizeof(sig.nonce), nonce);
	snprintf(text, sizeof(text), "VANagent1\nPOST\n/agent/v1/report?x=1\n%s\ncon-1\n5\n%s",
		hash_text, nonce);
	assert_int_equal(crypto_sign_verify_detached(sig.signature, (const uint8_t *)text,
				 strlen(text), id.sign_public.bytes),
		0);
}

static void expect_unauthentic(
	const struct agentsig *sig, const struct agentsig_request *r, const struct key *public)
{
	assert_int_equal(agentsig_verify(sig, r, public), -VAN_E_UNAUTHENTIC);
}

static void test_every_part_is_signed(void **state)
{
	struct identity id = make_identity();
	char header[AGENTSIG_HEADER_MAX];
	struct agentsig good, sig;
	struct agentsig_request r;

	(void)state;
	agentsig_sign(&request, "n", 1000, id.sign_secret, header);
	assert_int_equal(agentsig_parse(header, &good), 0);
	r = request, r.method = "PUT";
	expect_unauthentic(&good, &r, &id.sign_public);
	r = request, r.path = "/agent/v1/report?x=2";
	expect_unauthentic(&good, &r, &id.sign_public);
	r = request, r.body = "{\"port\":4827}";
	expect_unauthentic(&good, &r, &id.sign_public);
	r = request, r.body_len--;
	expect_unauthentic(&good, &r, &id.sign_public);
	r = request, r.body = NULL, r.body_len = 0;
	expect_unauthentic(&good, &r, &id.sign_public);
	r = request, r.console_id = "con-2";
	expect_unauthentic(&good, &r, &id.sign_public);
	sig = good, sig.time_s++;
	expect_unauthentic(&sig, &request, &id.sign_public);
	sig = good, sig.nonce[15] ^= 1;
	expect_unauthentic(&sig, &request, &id.sign_public);
	sig = good, sig.signature[0] ^= 1;
	expect_unauthentic(&sig, &request, &id.sign_public);
	assert_int_equal(agentsig_verify(&good, &request, &id.sign_public), 0);
}

/* A line break moves what belongs to one field into the next. */
static void test_fields_cannot_run_over(void **state)
{
	struct identity id = make_identity();
	struct agentsig_request r = {.method = "GET", .path = "/a\nb", .console_id = ""};
	char header[AGENTSIG_HEADER_MAX];
	struct agentsig sig;

	(void)state;
	agentsig_sign(&r, "n", 1000, id.sign_secret, header);
	assert_int_equal(agentsig_parse(header, &sig), 0);
	expect_unauthentic(&sig, &r, &id.sign_public);
}

static void test_empty_body_and_longest_node(void **state)
{
	struct identity id = make_identity();
	struct agentsig_request r = {.method = "GET", .path = "/", .console_id = ""};
	char header[AGENTSIG_HEADER_MAX], node[AGENTSIG_ID_MAX + 1];
	struct agentsig sig;

	(void)state;
	memset(node, 'n', AGENTSIG_ID_MAX);
	node[AGENTSIG_ID_MAX] = '\0';
	agentsig_sign(&r, node, UINT64_MAX, id.sign_secret, header);
	assert_true(strlen(header) < AGENTSIG_HEADER_MAX - 1);
	assert_int_equal(agentsig_parse(header, &sig), 0);
	assert_string_equal(sig.node, node);
	assert_true(sig.time_s == UINT64_MAX);
	assert_int_equal(agentsig_verify(&sig, &r, &id.sign_public), 0);
}

#define NONCE "00112233445566778899aabbccddeeff"
#define SIG \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define NODE_65 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static void test_parse_is_strict(void **state)
{
	static const char *const bad[] = {
		"",
		"VAN-Ed25519",
		"VAN-Ed25519 ",
		"Bearer abc",
		"van-ed25519 node=n,time=1,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519  node=n,time=1,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=,time=1,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=" NODE_65 ",time=1,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=a/b,time=1,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=n\n,time=1,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 time=1,node=n,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=n,time=,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=n,time=-1,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=n,time=+1,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=n,time=01,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=n,time=1x,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=n,time=18446744073709551616,nonce=" NONCE ",sig=" SIG,
		"VAN-Ed25519 node=n,time=1,nonce=" NONCE "0,sig=" SIG,
		"VAN-Ed25519 node=n,time=1,nonce=0011,sig=" SIG,
		"VAN-Ed25519 node=n,time=1,nonce=0011223344556677889 aabbccddeeff,sig=" SIG,
		"VAN-Ed25519 node=n,time=1,nonce=" NONCE,
		"VAN-Ed25519 node=n,time=1,nonce=" NONCE ",sig=",
		"VAN-Ed25519 node=n,time=1,nonce=" NONCE ",sig=AAAA",
		"VAN-Ed25519 node=n,time=1,nonce=" NONCE ",sig=" SIG "A",
		"VAN-Ed25519 node=n,time=1,nonce=" NONCE ",sig=" SIG " ",
		"VAN-Ed25519 node=n,time=1,nonce=" NONCE ",sig=" SIG ",x=1",
	};
	struct agentsig sig, untouched;

	(void)state;
	memset(&sig, 0x5a, sizeof(sig));
	untouched = sig;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (agentsig_parse(bad[i], &sig) != -VAN_E_SYNTAX)
			fail_msg("taken: %s", bad[i]);
	}
	assert_memory_equal(&sig, &untouched, sizeof(sig));
	assert_int_equal(
		agentsig_parse("VAN-Ed25519 node=n,time=0,nonce=" NONCE ",sig=" SIG, &sig), 0);
	assert_int_equal(sig.nonce[1], 0x11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sign_and_verify),
		cmocka_unit_test(test_signed_text),
		cmocka_unit_test(test_every_part_is_signed),
		cmocka_unit_test(test_fields_cannot_run_over),
		cmocka_unit_test(test_empty_body_and_longest_node),
		cmocka_unit_test(test_parse_is_strict),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
