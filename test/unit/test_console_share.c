/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "console-api/share.h"

static struct share_holder holders[100];

static void setup(struct share *s, size_t max)
{
	share_init(s, max);
	for (size_t i = 0; i < 100; i++)
		share_holder_init(&holders[i]);
}

static void the_oldest_of_whoever_has_most(void **state)
{
	struct share s;

	(void)state;
	setup(&s, 100);
	share_take(&s, &holders[0], "few", 3, 10);
	for (size_t i = 1; i < 10; i++)
		share_take(&s, &holders[i], "many", 4, 10);
	assert_null(share_over(&s, 0));
	share_take(&s, &holders[10], "many", 4, 10);
	assert_ptr_equal(share_over(&s, 0), &holders[1]);
	share_leave(&s, &holders[1]);
	share_leave(&s, &holders[1]);
	assert_null(share_over(&s, 0));
	/* A newcomer makes whoever has most give way, not itself. */
	share_take(&s, &holders[11], "new", 3, 5);
	assert_ptr_equal(share_over(&s, 0), &holders[2]);
	share_leave(&s, &holders[2]);
	assert_null(share_over(&s, 0));
	/* It grows, and has the most then. */
	share_take(&s, &holders[11], "new", 3, 90);
	assert_ptr_equal(share_over(&s, 0), &holders[11]);
	assert_int_equal(share_of(&s, "new", 3), 95);
	share_leave(&s, &holders[11]);
	assert_int_equal(share_of(&s, "new", 3), 0);
	assert_null(share_over(&s, 0));
	assert_int_equal(s.used, 90);
}

static void few_need_not_give_way(void **state)
{
	struct share s;

	(void)state;
	setup(&s, 10);
	for (size_t i = 0; i < 100; i++)
		share_take(&s, &holders[i], &i, sizeof(i), 1);
	assert_int_equal(s.used, 100);
	assert_null(share_over(&s, 50));
	assert_non_null(share_over(&s, 1));
}

/* Whatever one does, another that holds little keeps it. */
static void a_flood_from_one_name(void **state)
{
	struct share s;

	(void)state;
	setup(&s, 1000);
	share_take(&s, &holders[0], "quiet", 5, 100);
	for (size_t i = 0; i < 10000; i++) {
		struct share_holder *h = &holders[1 + i % 99], *over;

		share_leave(&s, h);
		share_take(&s, h, "flood", 5, 300);
		while ((over = share_over(&s, 0))) {
			assert_ptr_not_equal(over, &holders[0]);
			share_leave(&s, over);
		}
		assert_true(s.used <= 1000);
	}
	assert_int_equal(share_of(&s, "quiet", 5), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_oldest_of_whoever_has_most),
		cmocka_unit_test(few_need_not_give_way),
		cmocka_unit_test(a_flood_from_one_name),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
