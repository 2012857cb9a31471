// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vand/stats.h"

static void every_counter_has_a_name_and_a_meaning(void **state)
{
	(void)state;
	assert_string_equal(stats_drop_name(DROP_runt), "runt");
	assert_string_equal(stats_event_name(STAT_pmtu_probes), "pmtu_probes");
	for (int i = 0; i < DROP__COUNT; i++) {
		assert_true(strlen(stats_drop_help((enum drop_reason)i)) > 8);
		/* Names of both kinds share one table of explanations. */
		for (int k = 0; k < STAT__COUNT; k++)
			assert_string_not_equal(stats_drop_name((enum drop_reason)i),
				stats_event_name((enum stat_event)k));
	}
	for (int i = 0; i < STAT__COUNT; i++)
		assert_true(stats_event_help((enum stat_event)i)[0]);
	assert_string_equal(stats_drop_name(DROP__COUNT), "?");
	assert_string_equal(stats_event_help(STAT__COUNT), "");
}

/* The section in the tree was made from this very table. */
static void the_manual_page_is_current(void **state)
{
	FILE *f = fopen("man/vand.8", "r");
	char *section = NULL, *page;
	size_t len;
	FILE *to;

	(void)state;
	if (!f) {
		print_message("man/vand.8 is not here: run this at the top of the tree\n");
		skip();
	}
	page = calloc(1, 1 << 20);
	assert_non_null(page);
	len = fread(page, 1, (1 << 20) - 1, f);
	fclose(f);
	assert_true(len > 0);
	to = open_memstream(&section, &len);
	assert_non_null(to);
	stats_print_man(to);
	fclose(to);
	if (!strstr(page, section))
		fail_msg("the counters in man/vand.8 are out of date: vand --print-man-counters");
	free(section);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_counter_has_a_name_and_a_meaning),
		cmocka_unit_test(the_manual_page_is_current),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
