/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include "lib/clock.h"
#include "vand/consoles.h"

#define PIN "sha256//AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

static struct netmap_console make(const char *name)
{
	struct netmap_console c = {.pin_count = 1};

	snprintf(c.id, sizeof(c.id), "con_%s", name);
	snprintf(c.url, sizeof(c.url), "https://%s:8443", name);
	snprintf(c.pins[0], sizeof(c.pins[0]), "%s", PIN);
	return c;
}

/* Consoles a, b and so on; home is the first. */
static struct consoles list_of(size_t count)
{
	struct netmap_console list[NETMAP_CONSOLES_MAX];
	struct consoles c = {0};

	for (size_t i = 0; i < count; i++)
		list[i] = make((const char[]){(char)('a' + i), '\0'});
	consoles_set(&c, list, count, &list[0]);
	return c;
}

static const char *current(const struct consoles *c)
{
	return consoles_current(c)->id + strlen("con_");
}

static void none(void **state)
{
	struct consoles c = {0};

	(void)state;
	assert_null(consoles_current(&c));
	assert_null(consoles_for_report(&c, 1));
	assert_false(consoles_answered(&c, "https://a:8443"));
}

static void home_is_preferred(void **state)
{
	struct netmap_console list[] = {make("a"), make("b"), make("c")}, home = make("b");
	struct consoles c = {0};

	(void)state;
	home.id[0] = '\0';
	consoles_set(&c, list, 3, &home);
	assert_int_equal(c.count, 3);
	assert_string_equal(current(&c), "b");
	assert_string_equal(consoles_current(&c)->id, "con_b"); /* the list's entry, not home's */
}

/* A list that does not have it may be wrong: it is the last resort. */
static void home_is_kept(void **state)
{
	struct netmap_console list[] = {make("a"), make("b")}, home = make("home");
	struct consoles c = {0};

	(void)state;
	consoles_set(&c, list, 2, &home);
	assert_int_equal(c.count, 3);
	assert_string_equal(c.items[2].url, "https://home:8443");
	assert_string_equal(current(&c), "a");
	consoles_set(&c, NULL, 0, &home);
	assert_int_equal(c.count, 1);
	assert_string_equal(current(&c), "home");
}

static void the_longest_list(void **state)
{
	struct consoles c = list_of(NETMAP_CONSOLES_MAX);
	struct netmap_console home = make("home");

	(void)state;
	consoles_set(&c, c.items, NETMAP_CONSOLES_MAX, &home);
	assert_int_equal(c.count, CONSOLES_MAX);
}

static void the_next_takes_its_place_at_once(void **state)
{
	struct consoles c = list_of(3);
	uint64_t pause_ns, now_ns = 1000 * NS_PER_S;

	(void)state;
	assert_true(consoles_failed(&c, "https://a:8443", 0, now_ns, 499, &pause_ns));
	assert_string_equal(current(&c), "b");
	assert_true(pause_ns <= 500 * NS_PER_MS);
	/* What comes late from the one that was current changes nothing. */
	assert_false(consoles_failed(&c, "https://a:8443", 0, now_ns, 1, &pause_ns));
	assert_false(consoles_failed(&c, "https://nobody:1", 0, now_ns, 1, &pause_ns));
	assert_string_equal(current(&c), "b");
	assert_true(consoles_failed(&c, "https://b:8443", 0, now_ns, 500, &pause_ns));
	assert_string_equal(current(&c), "c");
	assert_true(pause_ns <= 500 * NS_PER_MS);
}

static void pauses_grow_round_by_round(void **state)
{
	struct consoles c = list_of(2);
	uint64_t last_ns = 0, pause_ns, now_ns = NS_PER_S;

	(void)state;
	for (unsigned int round = 0; round < 12; round++) {
		for (int i = 0; i < 2; i++) {
			consoles_failed(
				&c, consoles_current(&c)->url, 0, now_ns, UINT32_MAX, &pause_ns);
			now_ns += pause_ns;
		}
		assert_true(pause_ns >= last_ns || pause_ns > 22 * NS_PER_S);
		assert_true(pause_ns <= 38 * NS_PER_S);
		last_ns = pause_ns;
	}
	assert_true(last_ns >= 22 * NS_PER_S);
	assert_false(consoles_answered(&c, consoles_current(&c)->url));
	consoles_failed(&c, consoles_current(&c)->url, 0, now_ns, 0, &pause_ns);
	assert_true(pause_ns <= NS_PER_S);
}

static void one_alone(void **state)
{
	struct consoles c = list_of(1);
	uint64_t pause_ns;

	(void)state;
	assert_false(consoles_failed(&c, "https://a:8443", 0, 1, 0, &pause_ns));
	assert_true(pause_ns >= 375 * NS_PER_MS && pause_ns <= 625 * NS_PER_MS);
	assert_false(consoles_failed(&c, "https://a:8443", 7, 1, 0, &pause_ns));
	assert_true(pause_ns == 7 * NS_PER_S);
	assert_false(consoles_failed(&c, "https://a:8443", 1000000, 1, 0, &pause_ns));
	assert_true(pause_ns == 300 * NS_PER_S);
}

static void who_asks_for_time_gets_it(void **state)
{
	struct consoles c = list_of(3);
	uint64_t pause_ns, now_ns = NS_PER_S;

	(void)state;
	consoles_failed(&c, "https://a:8443", 60, now_ns, 0, &pause_ns);
	consoles_failed(&c, "https://b:8443", 0, now_ns, 0, &pause_ns);
	assert_string_equal(current(&c), "c");
	consoles_failed(&c, "https://c:8443", 20, now_ns, 0, &pause_ns);
	assert_string_equal(current(&c), "b"); /* a is left alone */
	consoles_failed(&c, "https://b:8443", 30, now_ns, 0, &pause_ns);
	assert_string_equal(current(&c), "c"); /* all want time: whose is up first */
	assert_true(pause_ns == 20 * NS_PER_S);
}

static void back_to_the_preferred_one(void **state)
{
	struct consoles c = list_of(2);
	uint64_t pause_ns, now_ns = NS_PER_S, tries = 0, last_ns = 0;

	(void)state;
	consoles_failed(&c, "https://a:8443", 0, now_ns, 7, &pause_ns);
	assert_string_equal(consoles_for_report(&c, now_ns)->id, "con_b");
	for (uint64_t s = 1; s <= 7200; s++) {
		now_ns = s * NS_PER_S;
		if (strcmp(consoles_for_report(&c, now_ns)->id, "con_a") != 0)
			continue;
		assert_true(now_ns - last_ns >= 7 * NS_PER_S);
		last_ns = now_ns;
		tries++;
		assert_false(
			consoles_failed(&c, "https://a:8443", 0, now_ns, (uint32_t)s, &pause_ns));
		assert_int_equal(pause_ns, 0); /* the report goes to the current one at once */
	}
	assert_true(tries >= 10 && tries <= 30);
	assert_string_equal(current(&c), "b");
	assert_true(consoles_answered(&c, "https://a:8443"));
	assert_string_equal(current(&c), "a");
	assert_false(consoles_answered(&c, "https://a:8443"));
	assert_string_equal(consoles_for_report(&c, now_ns + 10000 * NS_PER_S)->id, "con_a");
}

static void back_at_once_where_the_way_changed(void **state)
{
	struct consoles c = list_of(2);
	uint64_t pause_ns, now_ns = 1000 * NS_PER_S;

	(void)state;
	consoles_retry(&c); /* nothing to return to */
	assert_string_equal(consoles_for_report(&c, now_ns)->url, "https://a:8443");
	for (int i = 0; i < 8; i++) {
		consoles_failed(&c, "https://a:8443", 0, now_ns, 0, &pause_ns);
		assert_string_equal(current(&c), "b");
	}
	assert_string_equal(consoles_for_report(&c, now_ns)->url, "https://b:8443");
	consoles_retry(&c);
	assert_string_equal(consoles_for_report(&c, now_ns)->url, "https://a:8443");
	assert_true(consoles_answered(&c, "https://a:8443"));
	assert_string_equal(current(&c), "a");
}

static void a_new_list_keeps_what_is_known(void **state)
{
	struct consoles c = list_of(3);
	struct netmap_console list[] = {make("c"), make("b"), make("a"), make("d")}, home = list[2];
	uint64_t pause_ns;

	(void)state;
	consoles_failed(&c, "https://a:8443", 60, NS_PER_S, 0, &pause_ns);
	assert_string_equal(current(&c), "b");
	consoles_set(&c, list, 4, &home);
	assert_string_equal(current(&c), "b");
	assert_true(c.not_before_ns[2] == 61 * NS_PER_S);
	assert_string_equal(consoles_for_report(&c, 10000 * NS_PER_S)->id, "con_a");
	consoles_set(&c, list, 1, &home); /* without the current one, and without home */
	assert_string_equal(current(&c), "c");
	assert_int_equal(c.count, 2);
}

static void pins(void **state)
{
	struct consoles c = list_of(2);
	char text[CONSOLES_PINS_TEXT];
	struct netmap_console *one = &c.items[1];

	(void)state;
	consoles_pins(one, text);
	assert_string_equal(text, PIN);
	one->pin_count = NETMAP_PINS_MAX;
	for (size_t i = 0; i < NETMAP_PINS_MAX; i++)
		memcpy(one->pins[i], PIN, sizeof(PIN));
	one->pins[3][8] = 'B';
	consoles_pins(one, text);
	assert_int_equal(strlen(text), CONSOLES_PINS_TEXT - 1);
	assert_memory_equal(text, PIN ";" PIN ";", 106);
	assert_true(consoles_know_pin(&c, one->pins[3]));
	assert_false(consoles_know_pin(&c, "sha256//"));
}

static void pauses_are_bounded(void **state)
{
	(void)state;
	for (unsigned int n = 0; n < 100; n++) {
		assert_true(consoles_pause_ns(n, 0) >= 375 * NS_PER_MS);
		assert_true(consoles_pause_ns(n, UINT32_MAX) <= 37500 * NS_PER_MS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none),
		cmocka_unit_test(home_is_preferred),
		cmocka_unit_test(home_is_kept),
		cmocka_unit_test(the_longest_list),
		cmocka_unit_test(the_next_takes_its_place_at_once),
		cmocka_unit_test(pauses_grow_round_by_round),
		cmocka_unit_test(one_alone),
		cmocka_unit_test(who_asks_for_time_gets_it),
		cmocka_unit_test(back_to_the_preferred_one),
		cmocka_unit_test(back_at_once_where_the_way_changed),
		cmocka_unit_test(a_new_list_keeps_what_is_known),
		cmocka_unit_test(pins),
		cmocka_unit_test(pauses_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
