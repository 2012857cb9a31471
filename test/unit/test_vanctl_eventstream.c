// SPDX-License-Identifier: Apache-2.0
#include "vanctl_support.h"

#include "vanctl/eventstream.h"

/* What was told, as "EVENT=DATA;". */
struct told {
	char text[256];
	size_t most; /* blocks until it has enough */
};

static bool tell(void *ctx, const char *event, const char *data)
{
	struct told *t = ctx;
	size_t len = strlen(t->text);

	snprintf(t->text + len, sizeof(t->text) - len, "%s=%s;", event, data ? data : "none");
	return --t->most > 0;
}

static const char stream[] = ": hello\nid: g-1\n\n"
			     "id: g-2\ndata: {\"a\":1}\n\n"
			     "\n"
			     "data:{\"b\":2}\nevent: some\n\n"
			     "unknown: x\nid: g-3\n\n"
			     "event: gone\n\n"
			     "data: cut off, id: g-9";

/* However it is cut into pieces, it is the same. */
static void in_pieces(void **state)
{
	(void)state;
	for (size_t step = 1; step <= sizeof(stream); step++) {
		struct eventstream s = {0};
		struct told t = {.most = 99};

		for (size_t at = 0; at < strlen(stream); at += step) {
			size_t n = strlen(stream) - at;

			assert_true(
				eventstream_take(&s, stream + at, n < step ? n : step, tell, &t));
		}
		assert_string_equal(t.text, "={\"a\":1};some={\"b\":2};gone=none;");
		assert_string_equal(s.id, "g-3");
		eventstream_done(&s);
	}
}

static void enough(void **state)
{
	struct eventstream s = {0};
	struct told t = {.most = 1};

	(void)state;
	assert_false(eventstream_take(&s, stream, strlen(stream), tell, &t));
	assert_string_equal(t.text, "={\"a\":1};");
	assert_string_equal(s.id, "g-2");
	eventstream_done(&s);
}

/* A block that was cut off with its connection does not become one with what comes next. */
static void a_new_connection(void **state)
{
	struct eventstream s = {0};
	struct told t = {.most = 99};

	(void)state;
	assert_true(eventstream_take(&s, "id: g-1\n\nid: g-2\ndata: x\nda", 26, tell, &t));
	eventstream_restart(&s);
	assert_string_equal(s.id, "g-1");
	assert_true(eventstream_take(&s, "data: y\n\n", 9, tell, &t));
	assert_string_equal(t.text, "=y;");
	assert_string_equal(s.id, "g-1");
	eventstream_done(&s);
}

static void too_long(void **state)
{
	static char much[65536];
	struct eventstream s = {0};
	struct told t = {.most = 99};
	size_t fed = 0;

	(void)state;
	memset(much, 'x', sizeof(much));
	while (eventstream_take(&s, much, sizeof(much), tell, &t)) {
		fed += sizeof(much);
		assert_true(fed <= EVENTSTREAM_LINE_MAX);
	}
	assert_true(s.too_long);
	assert_false(eventstream_take(&s, "\n\n", 2, tell, &t));
	assert_string_equal(t.text, "");
	eventstream_done(&s);
	/* An id that no console makes is not kept. */
	memcpy(much, "id: ", 4);
	assert_true(eventstream_take(&s, much, 200, tell, &t));
	assert_true(eventstream_take(&s, "\n\n", 2, tell, &t));
	assert_string_equal(s.id, "");
	eventstream_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_pieces),
		cmocka_unit_test(enough),
		cmocka_unit_test(a_new_connection),
		cmocka_unit_test(too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
