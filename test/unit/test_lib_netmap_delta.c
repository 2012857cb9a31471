/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/jsoncanon.h"
#include "lib/mergepatch.h"
#include "lib/netmap_delta.h"

/* Things that have an id in the order of their ids, as consoles send them. */
static const char whole_text[] =
	"{\"consoles\":[{\"id\":\"c1\",\"pins\":[\"p\"],\"url\":\"https://h\"}],\"format\":1,"
	"\"networks\":[{\"id\":\"a\",\"mtu\":1360,\"peers\":[{\"id\":\"n2\",\"name\":\"b\"},"
	"{\"id\":\"n3\",\"name\":\"ü\\\"\\n\"}]},{\"id\":\"b\",\"peers\":[]}],"
	"\"node\":{\"flags\":[\"nat\"],\"id\":\"n1\"},\"number\":7}";
static const char keyed_text[] =
	"{\"consoles\":{\"c1\":{\"id\":\"c1\",\"pins\":[\"p\"],\"url\":\"https://h\"}},\"format\":1,"
	"\"networks\":{\"a\":{\"id\":\"a\",\"mtu\":1360,\"peers\":{\"n2\":{\"id\":\"n2\","
	"\"name\":\"b\"},\"n3\":{\"id\":\"n3\",\"name\":\"ü\\\"\\n\"}}},\"b\":{\"id\":\"b\","
	"\"peers\":{}}},\"node\":{\"flags\":[\"nat\"],\"id\":\"n1\"},\"number\":7}";
/* Of the above, computed by another program (Python's json and hashlib). */
#define HASH "df244dd700a1a269fe1228fbf6ffbb229343848b9d6d6fa898da1575f67547d1"

static struct json_object *parse(const char *text)
{
	struct json_object *o;
	struct err e = {0};

	if (json_parse(text, strlen(text), &o, &e))
		fail_msg("%s", e.text);
	return o;
}

static void check_text(struct json_object *o, const char *want)
{
	CLEANUP(free) char *text = o ? jsoncanon(o, NULL) : NULL;

	assert_non_null(text);
	assert_string_equal(text, want);
}

static void both_forms(void **state)
{
	CLEANUP(json) struct json_object *whole = parse(whole_text);
	CLEANUP(json) struct json_object *keyed = netmap_delta_keyed(whole);
	CLEANUP(json) struct json_object *back = netmap_delta_whole(keyed);

	(void)state;
	check_text(keyed, keyed_text);
	check_text(back, whole_text);
	check_text(whole, whole_text);
}

static void the_order_is_that_of_ids(void **state)
{
	CLEANUP(json)
	struct json_object *keyed =
		parse("{\"networks\":{\"b\":{\"id\":\"b\"},\"a\":{\"id\":\"a\"}}}");
	CLEANUP(json) struct json_object *whole = netmap_delta_whole(keyed);

	(void)state;
	check_text(whole, "{\"networks\":[{\"id\":\"a\"},{\"id\":\"b\"}]}");
}

static void what_has_no_keyed_form(void **state)
{
	static const char *const texts[] = {"[]", "1", "{\"networks\":{}}", "{\"networks\":[1]}",
		"{\"networks\":[{}]}", "{\"networks\":[{\"id\":1}]}", "{\"networks\":[null]}",
		"{\"networks\":[{\"id\":\"a\"},{\"id\":\"a\"}]}", "{\"consoles\":[{\"id\":null}]}",
		"{\"networks\":[{\"id\":\"a\",\"peers\":[{\"id\":\"n\"},{\"id\":\"n\"}]}]}",
		"{\"networks\":[{\"id\":\"a\",\"peers\":{}}]}", "{\"networks\":null}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		CLEANUP(json) struct json_object *o = parse(texts[i]);

		if (netmap_delta_keyed(o))
			fail_msg("%s", texts[i]);
	}
	assert_null(netmap_delta_keyed(NULL));
}

static void what_has_no_whole_form(void **state)
{
	static const char *const texts[] = {"[]", "{\"networks\":[]}", "{\"networks\":{\"a\":1}}",
		"{\"networks\":{\"a\":{\"peers\":[]}}}", "{\"consoles\":{\"a\":null}}",
		"{\"networks\":{\"a\":{\"peers\":{\"n\":[]}}}}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		CLEANUP(json) struct json_object *o = parse(texts[i]);

		if (netmap_delta_whole(o))
			fail_msg("%s", texts[i]);
	}
}

static void known_hash(void **state)
{
	CLEANUP(json) struct json_object *keyed = parse(keyed_text);
	char hex[2 * HASH_LEN + 1];
	uint8_t hash[HASH_LEN];

	(void)state;
	assert_false(netmap_delta_verify(keyed)); /* it has none */
	assert_true(netmap_delta_hash(keyed, hash));
	hash_hex(hash, sizeof(hash), hex);
	assert_string_equal(hex, HASH);
	json_set_string(keyed, "hash", "x");
	assert_false(netmap_delta_verify(keyed));
	json_set_string(keyed, "hash", HASH);
	assert_true(netmap_delta_verify(keyed));
	json_set_int(keyed, "number", 8);
	assert_false(netmap_delta_verify(keyed));
}

static void every_member_counts(void **state)
{
	static const char *const patches[] = {"{\"number\":8}", "{\"new\":1}", "{\"node\":null}",
		"{\"networks\":{\"b\":null}}", "{\"networks\":{\"a\":{\"mtu\":1361}}}",
		"{\"networks\":{\"a\":{\"peers\":{\"n2\":null}}}}",
		"{\"networks\":{\"a\":{\"peers\":{\"n2\":{\"name\":\"c\"}}}}}",
		"{\"networks\":{\"a\":{\"peers\":{\"n4\":{\"id\":\"n4\"}}}}}",
		"{\"networks\":{\"b\":{\"peers\":{\"n2\":{\"id\":\"n2\",\"name\":\"b\"}}}}}",
		"{\"consoles\":{\"c1\":{\"pins\":[\"p\",\"q\"]}}}", "{\"networks\":{\"c\":{}}}"};

	(void)state;
	for (size_t i = 0; i < sizeof(patches) / sizeof(patches[0]); i++) {
		CLEANUP(json) struct json_object *keyed = parse(keyed_text);
		CLEANUP(json) struct json_object *patch = parse(patches[i]);
		CLEANUP(json) struct json_object *changed = NULL;

		json_set_string(keyed, "hash", HASH);
		changed = mergepatch_apply(keyed, patch);
		assert_true(netmap_delta_verify(keyed));
		if (netmap_delta_verify(changed))
			fail_msg("%s", patches[i]);
	}
}

static void what_has_no_hash(void **state)
{
	static const char *const texts[] = {"[]", "{\"a\":null}", "{\"a\":1.5}",
		"{\"networks\":[]}", "{\"networks\":{\"a\":1}}",
		"{\"networks\":{\"a\":{\"peers\":[]}}}",
		"{\"networks\":{\"a\":{\"peers\":{\"n\":{\"x\":null}}}}}"};
	uint8_t hash[HASH_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		CLEANUP(json) struct json_object *o = parse(texts[i]);

		if (netmap_delta_hash(o, hash))
			fail_msg("%s", texts[i]);
	}
	assert_false(netmap_delta_verify(NULL));
}

static void sums(void **state)
{
	uint8_t sum[HASH_LEN], one[HASH_LEN] = {[31] = 1}, zero[HASH_LEN] = {0};
	uint8_t a[HASH_LEN], b[HASH_LEN], both[HASH_LEN];

	(void)state;
	memset(sum, 0xff, sizeof(sum));
	netmap_delta_sum_add(sum, one); /* modulo 2^256 */
	assert_memory_equal(sum, zero, sizeof(sum));
	netmap_delta_sum_take(sum, one);
	for (size_t i = 0; i < sizeof(sum); i++)
		assert_int_equal(sum[i], 0xff);
	hash_sha256(HASH_PIECES({"a", 1}), a);
	hash_sha256(HASH_PIECES({"b", 1}), b);
	memcpy(both, a, sizeof(both));
	netmap_delta_sum_add(both, b);
	memcpy(sum, b, sizeof(sum));
	netmap_delta_sum_add(sum, a);
	assert_memory_equal(sum, both, sizeof(sum));
	netmap_delta_sum_take(sum, b);
	assert_memory_equal(sum, a, sizeof(sum));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_forms),
		cmocka_unit_test(the_order_is_that_of_ids),
		cmocka_unit_test(what_has_no_keyed_form),
		cmocka_unit_test(what_has_no_whole_form),
		cmocka_unit_test(known_hash),
		cmocka_unit_test(every_member_counts),
		cmocka_unit_test(what_has_no_hash),
		cmocka_unit_test(sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
